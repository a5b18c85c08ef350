/* The state machine: handshake, input and output, sleep, promises, state, calls, signals. A number in a
 * name is that of the protocol's list of scenarios; x_ are further cases. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "runtime.h"

/* The usual beginning: Start with `known` entries, Input, and what is added by the caller. */
static void given(unsigned known) {
    start(known);
    input("my-data");
}

static void given_complete(unsigned known, const char *state) {
    start(known, .complete = true, .state = state);
    input("my-data");
}

/* ---- Handshake, input, output -------------------------------------------------------------------- */

TEST(s001_s003_fresh) {
    EVERY(5, 7) {
        CHECK_INT(vm()->phase, RESTATE__WAIT_START);
        CHECK(!ready());
        OUT_NOTHING();
    }
}

TEST(s004_echo) {
    EVERY(5, 7) {
        given(1); eof(); go();
        CHECK_INT(rt.vm.phase, RESTATE__PROCESSING);
        CHECK(op_output((const char *)rt.input.body.ptr) && op_end());
        CHECK_INT(rt.vm.phase, RESTATE__CLOSED);
        OUT("Output value \"my-data\"", "End");
    }
}

TEST(s005_headers_and_empty_output) {
    EVERY(5, 7) {
        restate_pair *pairs;
        start(1); frame(M_INPUT, "1(1s2s) 1(1s2s) 14(1s)", "x-my-header", "my-value", "empty", "", "b");
        go();
        pairs = restate__vm_pairs(&rt.arena, rt.input.headers);
        CHECK(pairs);
        if (pairs) {
            CHECK_STR(pairs[0].name, "x-my-header");
            CHECK_STR(pairs[0].value, "my-value");
            CHECK_STR(pairs[1].name, "empty");
            CHECK_STR(pairs[1].value, "");
            CHECK(!pairs[2].name);
        }
        CHECK(op_output("") && op_end());
        OUT("Output value \"\"", "End");
    }
}

TEST(s006_output_replayed) {
    EVERY(5, 7) {
        given(2); cmd_output("my-data"); eof(); go();
        CHECK_INT(rt.vm.phase, RESTATE__REPLAYING);
        CHECK(op_output("my-data") && op_end());
        OUT("End");
    }
}

TEST(s007_scope_of_start) {
    EVERY(5, 7) {
        start(1, .key = "obj", .scope = "sc", .limit_key = "l1/l2", .idempotency_key = "idem", .debug_id = "inv_1");
        input(""); go();
        CHECK_STR((const char *)rt.vm.key.ptr, "obj");
        CHECK_STR((const char *)rt.vm.debug_id.ptr, "inv_1");
        CHECK(rt.input.body.ptr && rt.input.body.len == 0);
        if (rt.version == 7) {
            CHECK_STR((const char *)rt.vm.scope.ptr, "sc");
            CHECK_STR((const char *)rt.vm.limit_key.ptr, "l1/l2");
            CHECK_STR((const char *)rt.vm.idempotency_key.ptr, "idem");
        } else {
            CHECK(!rt.vm.scope.ptr && !rt.vm.limit_key.ptr && !rt.vm.idempotency_key.ptr);
        }
    }
}

TEST(s008_input_ends_in_the_replay) {
    EVERY(5, 7) {
        given(2); eof();
        CHECK(!ready());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
        cmd_sleep(1, "", 0); note_sleep(1);
        CHECK(!ready());
        CHECK(!op_input());
        OUT_NOTHING();
    }
}

TEST(s009_input_ends_before_start) {
    EVERY(5, 7) {
        eof();
        CHECK(!ready());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

TEST(s010_no_known_entries) {
    EVERY(5, 7) {
        start(0);
        CHECK(!ready());
        CHECK_ERROR(500, "");
        OUT("Error 500...");
    }
}

TEST(s011_other_first_frame) {
    EVERY(5, 7) { note_sleep(1); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { input("x"); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { note_ack(1); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
}

TEST(s012_command_after_replay) {
    EVERY(5, 7) { given(1); cmd_sleep(1, "", 0); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) {
        given(1); go();
        cmd_sleep(1, "", 0); feed();
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

TEST(s013_unknown_and_foreign_types) {
    static const struct { unsigned type; unsigned code; } cases[] = {
        { 0x0020, 500 }, { M_COMMAND_ACK, 500 }, { 0x03FF, 500 }, { 0xFC01, 571 }, { 0xFFFF, 571 }, { 0xFC00, 571 },
        { M_SUSPENSION, 571 }, { M_ERROR, 571 }, { M_END, 571 }, { M_PROPOSE, 571 }, { M_AWAITING_ON, 571 }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EVERY(5, 7) {
            given(2); frame(cases[i].type, "");
            CHECK(!ready());
            CHECK_ERROR(cases[i].code, "");
            if (cases[i].code == 500) {
                char hex[8];
                snprintf(hex, sizeof hex, "%04X", cases[i].type);
                CHECK_HAS(rt.vm.error.message, hex);
            }
            OUT(cases[i].code == 500 ? "Error 500..." : "Error 571...");
        }
}

TEST(s014_unknown_command) {
    EVERY(5, 7) {
        given(2); frame(0x0415, "1s", "opaque"); go();
        CHECK(!op_sleep("", 1)->kind || !rt_ok);
        CHECK(!rt_ok);
        CHECK_ERROR(570, "");
        OUT("Error 570 index:1 Sleep message:...");
    }
}

TEST(s015_unknown_notification) {
    EVERY(5, 7) {
        node *sleep;
        given(2); note_void(0x8020, 1); go();
        sleep = op_sleep("", 0);
        AWAIT(sleep, "ANY");
        VALUE(sleep, "void");
        OUT("Sleep 1");
    }
}

TEST(s016_bad_notifications) {
    EVERY(5, 7) { given(2); frame(N_SLEEP, "1u", 1); CHECK(!ready()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(5, 7) { given(2); frame(N_SLEEP, "4()"); CHECK(!ready()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(5, 7) { given(2); raw("800c0000 00000003 ffffff"); CHECK(!ready()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(5, 7) { given(2); raw("800c0000 00000000"); CHECK(!ready()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
}

TEST(s017_no_command_at_all) {
    EVERY(5, 7) {
        start(1); note_signal(17, "x");
        CHECK(ready());
        CHECK(!op_input());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

TEST(s018_first_command_is_not_input) {
    EVERY(5, 7) {
        start(1); cmd_sleep(1, "", 0);
        CHECK(ready());
        CHECK(!op_input());
        CHECK_ERROR(570, "");
        OUT("Error 570 index:0 Input message:...");
    }
}

/* Any cut into two pieces gives the same. */
TEST(s019_cut_anywhere) {
    size_t at = 0, len = 1;
    for (; at <= len; at++) {
        node *sleep, *named;
        uint8_t *copy;
        rt_begin(7, RT_WHOLE);
        start(4, .state = "k=v"); input("my-data"); cmd_sleep(1, "nap", 5); note_sleep(1); frame(M_CLEAR_ALL, "");
        note_named("abc", "value");
        len = rt_script.len;
        copy = (uint8_t *)rt_alloc(len);
        memcpy(copy, rt_script.at, len);
        rt_script.len = 0;
        rt_feed_piece(copy, at);
        rt_feed_piece(copy + at, len - at);
        go();
        sleep = op_sleep("nap", 7);
        AWAIT(sleep, "ANY");
        CHECK(op_clear_all());
        named = op_signal("abc");
        AWAIT(named, "ANY");
        VALUE(named, "\"value\"");
        CHECK(op_output("") && op_end());
        OUT("Output value \"\"", "End");
        rt_end();
    }
    CHECK(len > 80);
}

TEST(s020_end_and_after) {
    EVERY(5, 7) {
        given(1); go();
        CHECK(op_end());
        CHECK(op_end());
        op_sleep("", 1);
        CHECK(!rt_ok);
        CHECK_ERROR(598, "");
        CHECK(!op_end());
        CHECK_ERROR(598, "");
        OUT("End");
    }
}

TEST(s021_end_in_the_replay) {
    EVERY(5, 7) {
        given(2); cmd_sleep(1, "", 0); go();
        CHECK(!op_end());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

TEST(s022_output_then_more_recorded) {
    EVERY(5, 7) {
        given(3); cmd_output("out"); cmd_sleep(1, "", 0); go();
        CHECK(op_output("out"));
        CHECK(!op_end());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

/* ---- Sleep, promises, state ----------------------------------------------------------------------- */

TEST(s023_sleep_suspends) {
    EVERY(5, 7) {
        node *sleep;
        given(1); eof(); go();
        sleep = op_sleep("", 9);
        AWAIT(sleep, "599");
        VALUE(sleep, "-");
        OUT("Sleep 1 wake:9", "Suspension W{c:1,s:1}");
        AWAIT(sleep, "598");
    }
}

TEST(s024_sleep_replayed) {
    EVERY(5, 7) {
        node *sleep;
        given(3); cmd_sleep(1, "", 9); note_sleep(1); eof(); go();
        sleep = op_sleep("", 9);
        AWAIT(sleep, "ANY");
        VALUE(sleep, "void");
        CHECK(op_output("") && op_end());
        OUT("Output value \"\"", "End");
    }
}

TEST(s025_sleep_recorded_not_over) {
    EVERY(5, 7) {
        given(2); cmd_sleep(1, "", 9); eof(); go();
        AWAIT(op_sleep("", 9), "599");
        OUT("Suspension W{c:1,s:1}");
    }
}

TEST(s026_sleep_of_other_length) {
    EVERY(5, 7) {
        given(2); cmd_sleep(7, "", 9); go();
        CHECK_INT(op_sleep("", 1234)->id, 1);
        CHECK(rt_ok);
        OUT_NOTHING();
    }
}

TEST(s027_sleep_of_other_name) {
    EVERY(5, 7) {
        given(2); cmd_sleep(1, "a", 9); go();
        op_sleep("b", 9);
        CHECK(!rt_ok);
        CHECK_ERROR(570, "name: ");
        CHECK_HAS(rt.vm.error.message, "!=");
        OUT("Error 570 index:1 Sleep \"b\" message:...");
    }
}

TEST(s028_get_promise) {
    EVERY(5, 7) {
        node *p;
        given(1); note_value(N_GET_PROMISE, 1, "my-value"); eof(); go();
        AWAIT((p = op_get_promise("my-prom")), "ANY");
        VALUE(p, "\"my-value\"");
        CHECK(op_output("my-value") && op_end());
        OUT("GetPromise 1 \"my-prom\"", "Output value \"my-value\"", "End");
    }
    EVERY(5, 7) {
        node *p;
        given(1); note_failure(N_GET_PROMISE, 1, 500, "no"); eof(); go();
        AWAIT((p = op_get_promise("my-prom")), "ANY");
        VALUE(p, "failure 500 \"no\"");
        CHECK(op_output_failure(500, "no") && op_end());
        OUT("GetPromise 1 \"my-prom\"", "Output failure 500 \"no\"", "End");
    }
}

TEST(s029_peek_promise) {
    static const char *const want[] = { "void", "\"v\"", "failure 500 \"no\"" };
    for (int i = 0; i < 3; i++)
        EVERY(5, 7) {
            node *p;
            given(1);
            if (i == 0) note_void(N_PEEK_PROMISE, 1);
            if (i == 1) note_value(N_PEEK_PROMISE, 1, "v");
            if (i == 2) note_failure(N_PEEK_PROMISE, 1, 500, "no");
            eof(); go();
            AWAIT((p = op_peek_promise("my-prom")), "ANY");
            VALUE(p, want[i]);
            OUT("PeekPromise 1 \"my-prom\"");
        }
}

TEST(s030_complete_promise) {
    EVERY(5, 7) {
        node *p;
        given(1); note_void(N_COMPLETE_PROMISE, 1); eof(); go();
        AWAIT((p = op_complete_promise("my-prom", "v", false)), "ANY");
        VALUE(p, "void");
        OUT("CompletePromise 1 \"my-prom\" value \"v\"");
    }
    EVERY(5, 7) {
        node *p;
        restate_failure f = rt_failure(500, "my-failure");
        given(1); note_failure(N_COMPLETE_PROMISE, 1, 500, "done already"); eof(); go();
        AWAIT((p = op_reject_promise("my-prom", &f)), "ANY");
        VALUE(p, "failure 500 \"done already\"");
        OUT("CompletePromise 1 \"my-prom\" failure 500 \"my-failure\"");
    }
}

TEST(s031_lazy_state_replayed) {
    EVERY(5, 7) {
        node *s;
        given(3); cmd_get_lazy(1, "STATE"); note_value(N_GET_LAZY, 1, "Francesco"); go();
        AWAIT((s = op_get("STATE")), "ANY");
        VALUE(s, "\"Francesco\"");
        CHECK(op_output("Francesco") && op_end());
        OUT("Output value \"Francesco\"", "End");
    }
    EVERY(5, 7) {
        node *s;
        given(3); cmd_get_lazy(1, "STATE"); note_void(N_GET_LAZY, 1); go();
        AWAIT((s = op_get("STATE")), "ANY");
        VALUE(s, "void");
        OUT_NOTHING();
    }
}

TEST(s032_lazy_state_suspends) {
    EVERY(5, 7) {
        given(1); eof(); go();
        AWAIT(op_get("STATE"), "599");
        OUT("GetLazyState 1 \"STATE\"", "Suspension W{c:1,s:1}");
    }
}

TEST(s033_lazy_state_answered_early) {
    EVERY(5, 7) {
        node *s;
        given(1); note_value(N_GET_LAZY, 1, "Francesco"); eof(); go();
        AWAIT((s = op_get("STATE")), "ANY");
        VALUE(s, "\"Francesco\"");
        CHECK(op_output("Francesco") && op_end());
        OUT("GetLazyState 1 \"STATE\"", "Output value \"Francesco\"", "End");
    }
}

TEST(s034_eager_state_absent) {
    EVERY(5, 7) {
        node *s;
        given_complete(1, NULL); eof(); go();
        s = op_get("STATE");
        CHECK(completed(s));
        AWAIT(s, "ANY");
        VALUE(s, "void");
        OUT("GetEagerState \"STATE\" void");
    }
}

TEST(s035_eager_state_present) {
    for (int complete = 0; complete < 2; complete++)
        EVERY(5, 7) {
            node *s;
            start(1, .complete = complete, .state = "STATE=Francesco"); input("x"); go();
            s = op_get("STATE");
            CHECK(completed(s));
            VALUE(s, "\"Francesco\"");
            OUT("GetEagerState \"STATE\" value \"Francesco\"");
        }
}

TEST(s036_eager_state_replayed) {
    EVERY(5, 7) {
        given(2); cmd_get_eager("STATE", NULL); go();
        VALUE(op_get("STATE"), "void");
        OUT_NOTHING();
    }
}

TEST(s037_state_is_updated) {
    EVERY(5, 7) {
        start(1, .state = "STATE=Francesco"); input("Till"); go();
        VALUE(op_get("STATE"), "\"Francesco\"");
        CHECK(op_set("STATE", "FrancescoTill"));
        VALUE(op_get("STATE"), "\"FrancescoTill\"");
        CHECK(op_output("FrancescoTill") && op_end());
        OUT("GetEagerState \"STATE\" value \"Francesco\"", "SetState \"STATE\" value \"FrancescoTill\"",
            "GetEagerState \"STATE\" value \"FrancescoTill\"", "Output value \"FrancescoTill\"", "End");
    }
}

TEST(s038_set_after_lazy_read) {
    EVERY(5, 7) {
        node *s;
        given(1); go();
        s = op_get("STATE");
        note_value(N_GET_LAZY, 1, "Francesco");
        AWAIT(s, "ANY");
        CHECK(op_set("STATE", "Till"));
        VALUE(op_get("STATE"), "\"Till\"");
        OUT("GetLazyState 1 \"STATE\"", "SetState \"STATE\" value \"Till\"", "GetEagerState \"STATE\" value \"Till\"");
    }
}

TEST(s039_clear_after_lazy_read) {
    EVERY(5, 7) {
        given(1); note_value(N_GET_LAZY, 1, "Francesco"); go();
        AWAIT(op_get("STATE"), "ANY");
        CHECK(op_clear("STATE"));
        VALUE(op_get("STATE"), "void");
        OUT("GetLazyState 1 \"STATE\"", "ClearState \"STATE\"", "GetEagerState \"STATE\" void");
    }
}

TEST(s040_clear_all) {
    EVERY(5, 7) {
        start(1, .state = "STATE=Francesco;ANOTHER_STATE=x"); input(""); go();
        VALUE(op_get("STATE"), "\"Francesco\"");
        CHECK(op_clear_all());
        VALUE(op_get("STATE"), "void");
        VALUE(op_get("ANOTHER_STATE"), "void");
        VALUE(op_get("never-seen"), "void");
        OUT("GetEagerState \"STATE\" value \"Francesco\"", "ClearAllState", "GetEagerState \"STATE\" void",
            "GetEagerState \"ANOTHER_STATE\" void", "GetEagerState \"never-seen\" void");
    }
}

TEST(s041_eager_replayed_then_written) {
    EVERY(5, 7) {
        start(2, .complete = true); input(""); cmd_get_eager("key-0", NULL); go();
        VALUE(op_get("key-0"), "void");
        OUT_NOTHING();
        VALUE(op_get("key-0"), "void");
        OUT("GetEagerState \"key-0\" void");
    }
}

TEST(s042_keys_replayed) {
    EVERY(5, 7) {
        given(2); frame(M_GET_EAGER_KEYS, "14(1s1s)", "ANOTHER-STATE", "MY-STATE"); go();
        VALUE(op_get_keys(), "[ANOTHER-STATE,MY-STATE]");
        OUT_NOTHING();
    }
    EVERY(5, 7) {                                           /* as recorded, sorted or not */
        given(2); frame(M_GET_EAGER_KEYS, "14(1s1s)", "b", "a"); go();
        VALUE(op_get_keys(), "[b,a]");
    }
}

TEST(s043_keys_lazy) {
    EVERY(5, 7) {
        given(1); eof(); go();
        AWAIT(op_get_keys(), "599");
        OUT("GetLazyStateKeys 1", "Suspension W{c:1,s:1}");
    }
    EVERY(5, 7) {
        node *keys;
        given(1); frame(N_GET_LAZY_KEYS, "1u 17(1s1s)", 1, "b", "a"); go();
        AWAIT((keys = op_get_keys()), "ANY");
        VALUE(keys, "[b,a]");
        OUT("GetLazyStateKeys 1");
    }
}

TEST(s044_keys_eager_are_sorted) {
    EVERY(5, 7) {
        given_complete(1, "MY-STATE=1;ANOTHER-STATE=2"); go();
        VALUE(op_get_keys(), "[ANOTHER-STATE,MY-STATE]");
        OUT("GetEagerStateKeys [ANOTHER-STATE,MY-STATE]");
    }
}

TEST(s045_keys_without_cleared) {
    EVERY(5, 7) {
        given_complete(1, "a=1;b=2"); go();
        CHECK(op_clear("a"));
        VALUE(op_get_keys(), "[b]");
        OUT("ClearState \"a\"", "GetEagerStateKeys [b]");
    }
}

TEST(s046_empty_value_is_not_absent) {
    EVERY(5, 7) {
        given_complete(1, "b="); go();
        VALUE(op_get("b"), "\"\"");
        VALUE(op_get("nope"), "void");
        CHECK_INT(op_sleep("", 0)->id, 3);
        OUT("GetEagerState \"b\" value \"\"", "GetEagerState \"nope\" void", "Sleep 3");
    }
}

TEST(s047_eager_without_result) {
    EVERY(5, 7) {
        given(2); frame(M_GET_EAGER, "1s", "k"); go();
        op_get("k");
        CHECK(!rt_ok);
        CHECK_ERROR(571, "");
        OUT("Error 571 index:1 GetEagerState message:...");
    }
}

TEST(s048_state_key_not_utf8) {
    EVERY(5, 7) {
        start(1, .state = "\xff=1"); input("");
        CHECK(!ready());
        CHECK_ERROR(500, "");
        OUT("Error 500...");
    }
}

/* ---- Calls, signals, awakeables, suspension --------------------------------------------------------- */

TEST(s049_call_and_leave) {
    for (int open = 0; open < 2; open++)
        EVERY(5, 7) {
            rt_calls c;
            given(1);
            if (!open) eof();
            go();
            c = op_call(.parameter = rt_b("Francesco"));
            CHECK_INT(c.id->id, 1);
            CHECK_INT(c.result->id, 2);
            CHECK(op_output("") && op_end());
            OUT("Call 1 2 \"Greeter\" \"greet\" parameter:\"Francesco\"", "Output value \"\"", "End");
        }
}

TEST(s050_cancel_a_call) {
    EVERY(5, 7) {
        rt_calls c;
        given(1); note_id(1, "my-id"); go();
        c = op_call(.key = rt_b("k"));
        AWAIT(c.id, "ANY");
        VALUE(c.id, "id \"my-id\"");
        CHECK(op_cancel("my-id") && op_end());
        OUT("Call 1 2 \"Greeter\" \"greet\" key:\"k\"", "SendSignal \"my-id\" index:1 void", "End");
    }
}

TEST(s051_cancel_a_send) {
    EVERY(5, 7) {
        node *id;
        given(1); note_id(1, "my-id"); go();
        AWAIT((id = op_send(.invoke_time_ms = 5)), "ANY");
        VALUE(id, "id \"my-id\"");
        CHECK(op_cancel("my-id") && op_end());
        OUT("OneWayCall 1 \"Greeter\" \"greet\" at:5", "SendSignal \"my-id\" index:1 void", "End");
    }
}

TEST(s052_scope_and_limit) {
    EVERY(7, 7) {
        given(1); go();
        op_call(.scope = "sc", .limit_key = "l");
        op_send(.scope = "sc", .limit_key = "l");
        OUT("Call 1 2 \"Greeter\" \"greet\" scope:\"sc\" limit:\"l\"", "OneWayCall 3 \"Greeter\" \"greet\" scope:\"sc\" limit:\"l\"");
    }
    EVERY(5, 6) { given(1); go(); op_call(.scope = "sc"); CHECK(!rt_ok); CHECK_ERROR(573, ""); OUT("Error 573..."); }
    EVERY(5, 6) { given(1); go(); op_call(.limit_key = "l"); CHECK(!rt_ok); CHECK_ERROR(573, ""); OUT("Error 573..."); }
    EVERY(5, 6) { given(1); go(); op_send(.scope = "sc"); CHECK(!rt_ok); CHECK_ERROR(573, ""); OUT("Error 573..."); }
    EVERY(7, 7) { given(1); go(); op_call(.scope = ""); CHECK(!rt_ok); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(7, 7) { given(1); go(); op_send(.scope = "s", .limit_key = ""); CHECK(!rt_ok); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(5, 7) { given(1); go(); op_call(.idempotency_key = ""); CHECK(!rt_ok); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(5, 7) { given(1); go(); op_send(.idempotency_key = ""); CHECK(!rt_ok); CHECK_ERROR(500, ""); OUT("Error 500..."); }
}

#define CALL(id, next) "Call " #id " " #next " \"Greeter\" \"greet\""

TEST(s053_await_second_call) {
    EVERY(5, 7) {
        given(1); eof(); go();
        op_call();
        AWAIT(op_call().result, "599");
        OUT(CALL(1, 2), CALL(3, 4), "Suspension W{c:4,s:1}");
    }
}

TEST(s054_two_calls_any_order) {
    for (int order = 0; order < 2; order++)
        EVERY(5, 7) {
            rt_calls a, b;
            given(1); note_id(1, "i1"); note_id(3, "i3");
            note_value(N_CALL, order ? 2 : 4, order ? "1" : "2"); note_value(N_CALL, order ? 4 : 2, order ? "2" : "1");
            eof(); go();
            a = op_call();
            b = op_call();
            AWAIT(b.result, "ANY");
            VALUE(b.result, "\"2\"");
            CHECK(op_set("k", "v"));
            AWAIT(a.result, "ANY");
            VALUE(a.result, "\"1\"");
            CHECK(op_output("1-2") && op_end());
            OUT(CALL(1, 2), CALL(3, 4), "SetState \"k\" value \"v\"", "Output value \"1-2\"", "End");
        }
}

TEST(s055_only_second_answered) {
    EVERY(5, 7) {
        rt_calls a, b;
        given(1); note_value(N_CALL, 4, "2"); eof(); go();
        a = op_call();
        b = op_call();
        AWAIT(b.result, "ANY");
        CHECK(op_set("k", "v"));
        AWAIT(a.result, "599");
        OUT(CALL(1, 2), CALL(3, 4), "SetState \"k\" value \"v\"", "Suspension W{c:2,s:1}");
    }
}

TEST(s056_send_at_another_time) {
    EVERY(5, 7) {
        given(2); frame(M_SEND, "1s 2s 4u 10u", "Greeter", "greet", 5, 1); go();
        op_send(.invoke_time_ms = 77);
        CHECK(rt_ok);
        OUT_NOTHING();
    }
}

TEST(s057_header_order) {
    static const restate_pair same[] = { { "a", "b" }, { "c", "d" }, { NULL, NULL } };
    static const restate_pair other[] = { { "c", "d" }, { "a", "b" }, { NULL, NULL } };
    for (int i = 0; i < 2; i++)
        EVERY(5, 7) {
            given(2); frame(M_CALL, "1s 2s 4(1s2s) 4(1s2s) 10u 11u", "Greeter", "greet", "a", "b", "c", "d", 1, 2); go();
            op_call(.headers = i ? other : same);
            CHECK_INT(rt_ok, !i);
            if (!i) { OUT_NOTHING(); continue; }
            CHECK_ERROR(570, "headers");
            OUT("Error 570 index:1 Call message:...");
        }
}

TEST(s058_awakeable_ids) {
    EVERY(5, 7) {
        given(1); eof(); go();
        op_awakeable();
        CHECK_STR(rt.awakeable, "sign_1MTIzAAAAEQ");
        AWAIT(op_awakeable(), "599");
        CHECK_STR(rt.awakeable, "sign_1MTIzAAAAEg");
        OUT("Suspension W{s:18,1}");
    }
}

TEST(s059_three_kinds) {
    EVERY(5, 7) {
        node *a, *s, *g;
        given(1); eof(); go();
        a = op_awakeable();
        s = op_signal("abc");
        g = op_get("Personaggio");
        AWAIT(RACE(a, s, g), "599");
        OUT("GetLazyState 1 \"Personaggio\"", "Suspension W{s:1,N:[{c:1,s:17,n:abc}]}");
    }
}

TEST(s060_race_of_awakeables) {
    EVERY(5, 7) {
        node *a, *b, *race;
        given(1); go();
        a = op_awakeable();
        b = op_awakeable();
        race = RACE(a, b);
        AWAIT(race, "WAIT(i)");
        OUT("AwaitingOn W{s:1,N:[{s:17,18}]}");
        note_signal(18, "my-value"); eof();
        AWAIT(race, "ANY");
        CHECK(!completed(a) && completed(b));
        VALUE(b, "\"my-value\"");
        CHECK(op_output("my-value") && op_end());
        OUT("Output value \"my-value\"", "End");
    }
}

TEST(s061_wait_again) {
    EVERY(5, 7) {
        node *a;
        given(1); go();
        a = op_awakeable();
        AWAIT(a, "WAIT(i)");
        AWAIT(a, "WAIT(i)");
        eof();
        AWAIT(a, "599");
        OUT("AwaitingOn W{s:17,1}", "? AwaitingOn W{s:17,1}", "Suspension W{s:17,1}");
    }
}

TEST(s062_two_leaves_of_a_name) {
    EVERY(5, 7) {
        node *a, *b;
        given(1); go();
        a = op_signal("n");
        b = op_signal("n");
        note_named("n", "1");
        AWAIT(b, "ANY");
        VALUE(b, "\"1\"");
        CHECK(!completed(a));
        note_named("n", "2");
        AWAIT(a, "ANY");
        VALUE(a, "\"2\"");
        VALUE(b, "\"1\"");
        OUT_NOTHING();
    }
}

TEST(s063_signal_in_the_replay) {
    EVERY(5, 7) {
        node *a;
        given(3); cmd_sleep(1, "", 0); note_signal(17, "v"); go();
        a = op_awakeable();
        AWAIT(a, "ANY");
        CHECK_INT(rt.vm.phase, RESTATE__REPLAYING);
        VALUE(a, "\"v\"");
        CHECK_INT(rt.vm.command_index, 0);
        op_sleep("", 0);
        CHECK_INT(rt.vm.command_index, 1);
        CHECK_INT(rt.vm.phase, RESTATE__PROCESSING);
        OUT_NOTHING();
    }
}

TEST(s064_answered_twice) {
    EVERY(5, 7) {
        node *s;
        given(1); note_sleep(1); go();
        s = op_sleep("", 0);
        AWAIT(s, "ANY");
        VALUE(s, "void");
        note_sleep(1);
        AWAIT(s, "ANY");
        VALUE(s, "void");
        OUT("Sleep 1");
    }
}

TEST(s065_race_in_the_replay) {
    EVERY(5, 7) {
        node *a, *b;
        given(5); cmd_sleep(1, "", 0); cmd_sleep(2, "", 0); note_sleep(2); cmd_sleep(3, "", 0); eof(); go();
        a = op_sleep("", 0);
        b = op_sleep("", 0);
        AWAIT(RACE(a, b), "ANY");
        CHECK(!completed(a) && completed(b));
        AWAIT(op_sleep("", 0), "599");
        OUT("Suspension W{c:3,s:1}");
    }
}

TEST(s066_nothing_before_an_await) {
    EVERY(5, 7) {
        node *s;
        given(1); note_sleep(1); go();
        s = op_sleep("", 0);
        CHECK(!completed(s));
        VALUE(s, "-");
        AWAIT(s, "ANY");
        CHECK(completed(s));
        OUT("Sleep 1");
    }
}

TEST(s067_tree_shrinks) {
    EVERY(5, 7) {
        node *a, *b, *c, *all;
        given(1); go();
        a = op_awakeable(), b = op_awakeable(), c = op_awakeable();
        all = ALL_SETTLED(a, b, c);
        AWAIT(all, "WAIT(i)");
        note_signal(17, "x");
        AWAIT(all, "WAIT(i)");
        note_signal(18, "x");
        AWAIT(all, "WAIT(i)");
        eof();
        AWAIT(all, "599");
        OUT("AwaitingOn W{s:1,N:[ALL_COMPLETED{s:17,18,19}]}", "AwaitingOn W{s:1,N:[ALL_COMPLETED{s:18,19}]}",
            "AwaitingOn W{s:1,N:[ALL_COMPLETED{s:19}]}", "Suspension W{s:1,N:[ALL_COMPLETED{s:19}]}");
    }
}

TEST(s068_no_awaiting_on_in_5_and_6) {
    EVERY(5, 6) {
        node *s;
        given(1); go();
        s = op_sleep("", 0);
        AWAIT(s, "WAIT(i)");
        note_named("x", "y");
        AWAIT(s, "WAIT(i)");
        OUT("Sleep 1");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s001_s003_fresh), T(s004_echo), T(s005_headers_and_empty_output), T(s006_output_replayed),
        T(s007_scope_of_start), T(s008_input_ends_in_the_replay), T(s009_input_ends_before_start),
        T(s010_no_known_entries), T(s011_other_first_frame), T(s012_command_after_replay),
        T(s013_unknown_and_foreign_types), T(s014_unknown_command), T(s015_unknown_notification),
        T(s016_bad_notifications), T(s017_no_command_at_all), T(s018_first_command_is_not_input),
        T(s019_cut_anywhere), T(s020_end_and_after), T(s021_end_in_the_replay), T(s022_output_then_more_recorded),
        T(s023_sleep_suspends), T(s024_sleep_replayed), T(s025_sleep_recorded_not_over),
        T(s026_sleep_of_other_length), T(s027_sleep_of_other_name), T(s028_get_promise), T(s029_peek_promise),
        T(s030_complete_promise), T(s031_lazy_state_replayed), T(s032_lazy_state_suspends),
        T(s033_lazy_state_answered_early), T(s034_eager_state_absent), T(s035_eager_state_present),
        T(s036_eager_state_replayed), T(s037_state_is_updated), T(s038_set_after_lazy_read),
        T(s039_clear_after_lazy_read), T(s040_clear_all), T(s041_eager_replayed_then_written), T(s042_keys_replayed),
        T(s043_keys_lazy), T(s044_keys_eager_are_sorted), T(s045_keys_without_cleared),
        T(s046_empty_value_is_not_absent), T(s047_eager_without_result), T(s048_state_key_not_utf8),
        T(s049_call_and_leave), T(s050_cancel_a_call), T(s051_cancel_a_send), T(s052_scope_and_limit),
        T(s053_await_second_call), T(s054_two_calls_any_order), T(s055_only_second_answered),
        T(s056_send_at_another_time), T(s057_header_order), T(s058_awakeable_ids), T(s059_three_kinds),
        T(s060_race_of_awakeables), T(s061_wait_again), T(s062_two_leaves_of_a_name), T(s063_signal_in_the_replay),
        T(s064_answered_twice), T(s065_race_in_the_replay), T(s066_nothing_before_an_await), T(s067_tree_shrinks),
        T(s068_no_awaiting_on_in_5_and_6), { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
