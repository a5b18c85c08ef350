/* Section >>journal: mismatches, errors, depth, lack of memory, damaged input. A number in a name is that of
 * tests/scenarios.md; x_ are further cases. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/journal.c"

#include <time.h>

/* ---- Mismatch ------------------------------------------------------------------------------- */

TEST(s122_other_state_key) {
    EVERY(5, 7) {
        given(3); cmd_get_lazy(1, "my-key"); note_value(N_GET_LAZY, 1, "v"); go();
        op_get("another-key");
        CHECK(!rt_ok);
        CHECK_ERROR(570, "key: ");
        CHECK_HAS(rt.vm.error.message, "my-key");
        CHECK_HAS(rt.vm.error.message, "!=");
        CHECK_HAS(rt.vm.error.message, "another-key");
        OUT("Error 570 index:1 GetLazyState message:...");
    }
    EVERY(5, 7) {
        given(2); cmd_get_eager("my-key", "v"); go();
        op_get("another-key");
        CHECK_ERROR(570, "key: ");
        OUT("Error 570 index:1 GetEagerState message:...");
    }
}

TEST(s123_payload_differs) {
    for (int lenient = 0; lenient < 3; lenient++)           /* strictly, checks off, unstable */
        EVERY(5, 7) {
            rt.options.skip_payload_check = lenient == 1;
            given(3); cmd_set("k", "recorded"); cmd_send(1, "recorded"); go();
            CHECK_INT(restate__vm_set(rt_op(), rt_b("k"), rt_b("other"), lenient == 2), lenient != 0);
            op_send(.parameter = rt_b("other"), .unstable = lenient == 2);
            CHECK_INT(rt_ok, lenient != 0);
            if (lenient) { OUT_NOTHING(); continue; }
            CHECK_ERROR(570, "value: ");
            OUT("Error 570 index:1 SetState message:...");
        }
    EVERY(5, 7) {
        given(2); cmd_send(1, "recorded"); go();
        op_send(.parameter = rt_b("other"));
        CHECK_ERROR(570, "parameter: ");
        OUT("Error 570 index:1 OneWayCall message:...");
    }
}

TEST(s124_checks_off) {
    EVERY(5, 7) {
        rt.options.skip_payload_check = true;
        start(5, .state = "k=today"); input(""); cmd_send(1, "a"); cmd_call(2, "b"); cmd_set("s", "c"); cmd_get_eager("k", "then"); go();
        op_send(.parameter = rt_b("1"));
        op_call(.parameter = rt_b("2"));
        CHECK(op_set("s", "3"));
        VALUE(op_get("k"), "\"then\"");
        CHECK(op_end());
        OUT("End");
    }
}

TEST(s125_unstable_payloads) {
    EVERY(5, 7) {
        restate__vm_call call;
        node id, result;
        memset(&call, 0, sizeof call);
        memset(&id, 0, sizeof id);
        memset(&result, 0, sizeof result);
        given(6); cmd_call(1, "a"); cmd_set("s", "b"); frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "c", 3);
        frame(M_COMPLETE_AWAKEABLE, "1s 2(1s)", "sign_1x", "d"); cmd_output("e"); go();
        op_call(.parameter = rt_b("1"), .unstable = true);
        CHECK(rt_ok);
        CHECK(restate__vm_set(rt_op(), rt_b("s"), rt_b("2"), true));
        op_complete_promise("p", "3", true);
        CHECK(rt_ok);
        CHECK(op_complete_awakeable("sign_1x", "4", true));
        CHECK(restate__vm_output(rt_op(), rt_b("5"), NULL, true));
        CHECK(op_end());
        OUT("End");
    }
}

TEST(s126_never_skipped) {
    for (int i = 0; i < 3; i++)
        EVERY(5, 7) {
            rt.options.skip_payload_check = true;
            given(2);
            if (i == 0) frame(M_SEND_SIGNAL, "1s 3s 5(1s)", "inv_x", "n", "recorded");
            if (i == 1) cmd_output_failure(500, "recorded");
            if (i == 2) frame(M_CALL, "1s 2s 5s 10u 11u", "Greeter", "greet", "recorded", 1, 2);
            go();
            if (i == 0) CHECK(!op_send_signal("inv_x", "n", "other"));
            if (i == 1) CHECK(!op_output_failure(500, "other"));
            if (i == 2) op_call(.key = rt_b("other")), CHECK(!rt_ok);
            CHECK_ERROR(570, "recorded");
            CHECK_HAS(rt.vm.error.message, "other");
            OUT("Error 570...");
        }
}

/* Both sides are named by what they are about. */
TEST(x_other_type_is_described) {
    static const struct { const char *recorded, *asked; } cases[] = {
        { "'set state \"k\"'", "'run \"r\"'" }, { "'call \"Greeter\" \"greet\"'", "'get state \"k\"'" },
        { "'send signal \"inv_x\" (cancel)'", "'sleep \"nap\"'" }, { "'get promise \"p\"'", "'clear all state'" },
    };
    for (int i = 0; i < 4; i++)
        EVERY(5, 7) {
            given(2);
            if (i == 0) cmd_set("k", "v");
            if (i == 1) cmd_call(1, "p");
            if (i == 2) cmd_cancel("inv_x");
            if (i == 3) cmd_get_promise(1, "p");
            go();
            if (i == 0) op_run("r");
            if (i == 1) op_get("k");
            if (i == 2) op_sleep("nap", 5);
            if (i == 3) CHECK(!op_clear_all());
            CHECK_ERROR(570, cases[i].recorded);
            CHECK_HAS(rt.vm.error.message, cases[i].asked);
            OUT("Error 570...");
        }
}

TEST(s127_other_type) {
    EVERY(5, 7) {
        given(2); cmd_sleep(1, "", 0); go();
        op_run("my-run");
        CHECK(!rt_ok);
        CHECK_ERROR(570, "command 1 is recorded as 'sleep', but the code asks for 'run \"my-run\"'");
        OUT("Error 570 index:1 Run \"my-run\" message:...");
    }
}

TEST(s128_await_run_in_the_replay) {
    EVERY(5, 7) {
        node *run;
        given(4); cmd_run(1, "my-run"); cmd_sleep(2, "", 0); note_sleep(2); go();
        run = op_run("my-run");
        AWAIT(run, "570");
        CHECK_HAS(rt.vm.error.message, "run \"my-run\"");
        CHECK_HAS(rt.vm.error.message, "cancellation");
        OUT("Error 570 index:1 Run \"my-run\" message:...");
    }
}

TEST(s129_await_sleep_in_the_replay) {
    EVERY(5, 7) {
        node *sleep;
        given(4); cmd_sleep(1, "", 0); cmd_sleep(2, "", 0); note_sleep(2); go();
        sleep = op_sleep("", 0);
        AWAIT(sleep, "570");
        CHECK_HAS(rt.vm.error.message, "completion 1");
        CHECK_HAS(rt.vm.error.message, "cancellation");
        OUT("Error 570...");
    }
}

TEST(s130_await_awakeable_in_the_replay) {
    for (int explicit = 0; explicit < 2; explicit++)
        EVERY(5, 7) {
            rt.options.explicit_cancellation = explicit;
            given(3); cmd_sleep(2, "", 0); note_sleep(2); go();
            AWAIT(op_awakeable(), "570");
            CHECK_HAS(rt.vm.error.message, "sign_1MTIzAAAAEQ");
            CHECK_INT(strstr(rt.vm.error.message, "cancellation") != NULL, !explicit);
            OUT("Error 570...");
        }
}

TEST(s131_behaviour_of_mismatches) {
    static const restate__behavior behaviors[] = { RESTATE__PAUSE, RESTATE__FAIL, RESTATE__RETRY };
    for (int i = 0; i < 3; i++)
        EVERY(5, 7) {
            rt.options.on_mismatch = behaviors[i];
            given(2); cmd_sleep(1, "a", 0); go();
            op_sleep("b", 0);
            CHECK_ERROR(570, "");
            if (rt.version < 7 || i == 2) OUT("Error 570 index:1 Sleep \"b\" message:...");
            else OUT(i ? "Error 570 index:1 Sleep \"b\" behavior:2 message:..." : "Error 570 index:1 Sleep \"b\" behavior:1 message:...");
        }
}

/* ---- Fields that are compared --------------------------------------------------------------- */

static const restate_pair metadata[] = { { "k", "v" }, { NULL, NULL } };

static unsigned outcome(bool ok) { return ok ? 0 : vm()->error.code; }

#define DIFFERS(recorded, operation, code) EVERY(5, 7) { \
        given(2); recorded; go(); \
        rt_ok = true; \
        operation; \
        CHECK_INT(outcome(rt_ok), code); \
        if (code) OUT("Error " #code "..."); \
        else OUT_NOTHING(); \
    }

TEST(x_what_is_compared) {
    restate__vm_target request;
    memset(&request, 0, sizeof request);
    request.kind = RESTATE__BY_IDEMPOTENCY_KEY;
    request.service = "S", request.handler = "h", request.idempotency_key = "i";
    DIFFERS(cmd_get_lazy(1, "k"), op_get("k"), 0);
    DIFFERS(cmd_get_lazy(2, "k"), op_get("k"), 570);
    DIFFERS(frame(M_GET_LAZY, "1s 11u 12s", "k", 1, "named"), op_get("k"), 570);
    DIFFERS(frame(M_GET_EAGER, "1s 13() 12s", "k", "named"), op_get("k"), 570);
    DIFFERS(cmd_get_lazy_keys(1), op_get_keys(), 0);
    DIFFERS(cmd_get_lazy_keys(2), op_get_keys(), 570);
    DIFFERS(frame(M_GET_EAGER_KEYS, "14() 12s", "named"), op_get_keys(), 570);
    DIFFERS(frame(M_GET_EAGER_KEYS, ""), op_get_keys(), 571);
    DIFFERS(cmd_clear("k"), op_get("k"), 570);
    DIFFERS(cmd_clear("k"), rt_ok = op_clear("other"), 570);
    DIFFERS(frame(M_CLEAR, "1s 12s", "k", "named"), rt_ok = op_clear("k"), 570);
    DIFFERS(cmd_clear_all(), rt_ok = op_clear_all(), 0);
    DIFFERS(frame(M_CLEAR_ALL, "12s", "named"), rt_ok = op_clear_all(), 570);
    DIFFERS(cmd_set("k", "v"), rt_ok = op_set("other", "v"), 570);
    DIFFERS(cmd_set("k", ""), rt_ok = op_set("k", ""), 0);
    DIFFERS(frame(M_SET, "1s", "k"), rt_ok = op_set("k", ""), 570);
    DIFFERS(cmd_get_promise(1, "p"), op_get_promise("p"), 0);
    DIFFERS(cmd_get_promise(1, "p"), op_get_promise("other"), 570);
    DIFFERS(cmd_get_promise(2, "p"), op_get_promise("p"), 570);
    DIFFERS(cmd_peek_promise(1, "p"), op_get_promise("p"), 570);
    DIFFERS(frame(M_COMPLETE_PROMISE, "1s 2() 11u", "p", 1), op_complete_promise("p", "", false), 0);
    DIFFERS(frame(M_COMPLETE_PROMISE, "1s 3(1u2s) 11u", "p", 500, "x", 1), op_complete_promise("p", "x", true), 570);
    DIFFERS(frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "x", 7), op_complete_promise("p", "x", false), 570);
    DIFFERS(cmd_run(1, "r"), op_run("r"), 0);
    DIFFERS(cmd_run(1, "r"), op_run("other"), 570);
    DIFFERS(cmd_run(2, "r"), op_run("r"), 570);
    DIFFERS(cmd_call(1, "x"), op_call(.parameter = rt_b("x")), 0);
    DIFFERS(cmd_call(2, "x"), op_call(.parameter = rt_b("x")), 570);
    DIFFERS(cmd_call(1, ""), op_call(.handler = "other"), 570);
    DIFFERS(cmd_call(1, ""), op_call(.name = "named"), 570);
    DIFFERS(cmd_call(1, ""), op_call(.idempotency_key = "i"), 570);
    DIFFERS(cmd_call(1, ""), op_call(.headers = metadata), 570);
    DIFFERS(frame(M_CALL, "1s 2s 4(1s2s) 10u 11u", "Greeter", "greet", "k", "v", 1, 2), op_call(.headers = metadata), 0);
    DIFFERS(frame(M_CALL, "1s 2s 4(1s2s) 10u 11u", "Greeter", "greet", "k", "v", 1, 2), op_call(), 570);
    DIFFERS(frame(M_CALL, "1s 2s 6s 10u 11u", "Greeter", "greet", "i", 1, 2), op_call(.idempotency_key = "i"), 0);
    DIFFERS(frame(M_CALL, "1s 2s 6s 10u 11u", "Greeter", "greet", "", 1, 2), op_call(), 570);
    DIFFERS(cmd_send(1, "x"), op_send(.parameter = rt_b("x")), 0);
    DIFFERS(cmd_send(2, ""), op_send(), 570);
    DIFFERS(cmd_send(1, ""), op_send(.key = rt_b("k")), 570);
    DIFFERS(cmd_send(1, ""), op_call(), 570);
    DIFFERS(cmd_cancel("inv_x"), rt_ok = op_cancel("inv_x"), 0);
    DIFFERS(cmd_cancel("inv_x"), rt_ok = op_cancel("inv_y"), 570);
    DIFFERS(frame(M_SEND_SIGNAL, "1s 2u 4()", "inv_x", 2), rt_ok = op_cancel("inv_x"), 570);
    DIFFERS(frame(M_SEND_SIGNAL, "1s 3s 4()", "inv_x", "n"), rt_ok = op_send_signal("inv_x", "n", ""), 570);
    DIFFERS(frame(M_SEND_SIGNAL, "1s 3s 5()", "inv_x", "n"), rt_ok = op_send_signal("inv_x", "n", ""), 0);
    DIFFERS(frame(M_ATTACH, "3(1s 3s 4s) 11u", "S", "h", "i", 1), op_attach(request), 0);
    DIFFERS(frame(M_ATTACH, "3(1s 2s 3s 4s) 11u", "S", "", "h", "i", 1), op_attach(request), 570);
    DIFFERS(frame(M_ATTACH, "3(1s 3s 4s) 11u", "S", "h", "j", 1), op_attach(request), 570);
    DIFFERS(frame(M_ATTACH, "1s 11u", "inv_x", 1), op_attach(request), 570);
    DIFFERS(frame(M_GET_OUTPUT, "3(1s 3s 4s) 11u", "S", "h", "i", 2), op_get_output(request), 570);
    DIFFERS(frame(M_COMPLETE_AWAKEABLE, "1s 2(1s)", "a", "v"), rt_ok = op_complete_awakeable("a", "v", false), 0);
    DIFFERS(frame(M_COMPLETE_AWAKEABLE, "1s 2(1s)", "a", "v"), rt_ok = op_complete_awakeable("b", "v", false), 570);
    DIFFERS(frame(M_COMPLETE_AWAKEABLE, "1s 3(1u)", "a", 500), rt_ok = op_complete_awakeable("a", "", true), 570);
    DIFFERS(cmd_output("v"), rt_ok = op_output("w"), 570);
    DIFFERS(cmd_output(""), rt_ok = op_output_failure(500, ""), 570);
    DIFFERS(cmd_output_failure(500, "m"), rt_ok = op_output_failure(500, "m"), 0);
    DIFFERS(cmd_output_failure(500, "m"), rt_ok = op_output_failure(501, "m"), 570);
    DIFFERS(frame(M_OUTPUT, "14(1s) 12s", "v", "named"), rt_ok = op_output("v"), 570);
}

static restate_failure failure_with_metadata(void) {
    restate_failure f = rt_failure(500, "m");
    f.metadata = metadata;
    return f;
}

TEST(x_metadata_is_compared) {
    for (int i = 0; i < 3; i++)
        EVERY(6, 7) {
            restate_failure f = failure_with_metadata();
            given(2);
            if (i == 0) frame(M_OUTPUT, "15(1u 2s 3(1s2s))", 500, "m", "k", "v");
            if (i == 1) frame(M_OUTPUT, "15(1u 2s 3(1s2s))", 500, "m", "k", "w");
            if (i == 2) cmd_output_failure(500, "m");
            go();
            CHECK_INT(restate__vm_output(rt_op(), restate__b_none(), &f, false), i == 0);
            if (i) CHECK_ERROR(570, "");
            drop_output();
        }
}

TEST(x_recorded_but_not_decodable) {
    EVERY(5, 7) {
        given(2); raw("040c0000 00000002 ffff"); go();
        op_sleep("", 0);
        CHECK(!rt_ok);
        CHECK_ERROR(500, "");
        OUT("Error 500 index:1 Sleep message:...");
    }
    EVERY(5, 7) {
        given(2); raw("04070000 00000002 ffff"); go();
        op_get("k");
        CHECK_ERROR(500, "");
        OUT("Error 500...");
    }
    static const char *const keys[] = { /* a number where keys, or a name, might be */
        "04080000 00000007 72030a0161 7002", "04080000 00000007 72030a0161 6001"
    };
    for (size_t i = 0; i < 2; i++)
        EVERY(5, 7) {
            given(2); raw(keys[i]); go();
            op_get_keys();
            CHECK_ERROR(500, "cannot decode the recorded command 1 (get state keys)");
            OUT("Error 500 index:1 GetEagerStateKeys message:...");
        }
    EVERY(5, 7) { start(1); raw("04000000 00000002 72ff"); CHECK(!op_input()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
}

/* Values that are not compared are looked at all the same. */
TEST(x_not_decodable_where_nothing_is_compared) {
    EVERY(5, 7) {                           /* a payload that may differ is a number */
        given(2); raw("04010000 00000002 7000"); go();
        CHECK(!restate__vm_output(rt_op(), rt_b("5"), NULL, true));
        CHECK_ERROR(500, "");
        OUT("Error 500...");
    }
}

/* Completions of a form that has a short way, but for one length. */
TEST(x_lengths_of_notifications) {
    static const char *const bad[] = {
        "800c0000 00000002 0801", "800c0000 00000003 080122", "800c0000 00000004 08012201",
        "800c0000 00000004 08012280", "80110000 00000004 08012a01", "80110000 00000006 08012a010a00",
        "80110000 00000006 08012a020a01", "80110000 00000005 08012a020a"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EVERY(5, 7) {
            given(1); go();
            rt.ignore_output = true;
            if (bad[i][2] == '0') op_sleep("", 0);
            else op_run("");
            raw(bad[i]); feed();
            CHECK_ERROR(500, "cannot decode notification");
        }
}

/* ---- Errors --------------------------------------------------------------------------------- */

TEST(s133_error_that_pauses) {
    EVERY(5, 7) {
        restate__vm_error e = { .code = 500, .message = "stop", .behavior = RESTATE__PAUSE, .has_delay = true, .delay_ms = 10 };
        given(1); go();
        restate__vm_fail(rt_op(), &e);
        OUT(rt.version == 7 ? "Error 500 behavior:1 message:\"stop\"" : "Error 573 message:...");
        CHECK_INT(rt.vm.error.code, rt.version == 7 ? 500 : 573);
    }
}

TEST(s134_metadata) {
    for (int i = 0; i < 5; i++)
        EVERY(5, 7) {
            restate_failure f = failure_with_metadata();
            node *run;
            bool ok = false;
            given(1); go();
            if (i == 0) ok = restate__vm_output(rt_op(), restate__b_none(), &f, false);
            if (i == 1) ok = op_reject_promise("p", &f) && rt_ok;
            if (i == 2) ok = op_reject_awakeable("sign_1x", &f);
            if (i == 3) ok = restate__vm_send_signal(rt_op(), "inv_x", rt_b("n"), restate__b_none(), &f, false);
            if (i == 4) {
                run = op_run("");
                AWAIT(run, "RUN 1");
                ok = propose_failure(run, f);
            }
            CHECK_INT(ok, rt.version > 5);
            if (rt.version == 5) {
                CHECK_ERROR(573, "");
                if (i == 4) OUT("Run 1", "Error 573...");
                else OUT("Error 573...");
                continue;
            }
            if (i == 0) OUT("Output failure 500 \"m\" \"k\":\"v\"");
            if (i == 1) OUT("CompletePromise 1 \"p\" failure 500 \"m\" \"k\":\"v\"");
            if (i == 2) OUT("CompleteAwakeable \"sign_1x\" failure 500 \"m\" \"k\":\"v\"");
            if (i == 3) OUT("SendSignal \"inv_x\" name:\"n\" failure 500 \"m\" \"k\":\"v\"");
            if (i == 4) OUT("Run 1", "Propose 1 failure 500 \"m\" \"k\":\"v\" ack");
        }
}

TEST(s135_after_suspension) {
    EVERY(5, 7) {
        given(1); eof(); go();
        AWAIT(op_sleep("", 0), "599");
        note_sleep(1); note_ack(1); feed();
        CHECK_INT(rt.vm.phase, RESTATE__CLOSED);
        CHECK(op_end());
        OUT("Sleep 1", "Suspension W{c:1,s:1}");
    }
}

TEST(s136_after_an_error) {
    EVERY(5, 7) {
        given(1); go();
        op_fail(777, "first");
        op_sleep("", 0);
        CHECK(!rt_ok);
        CHECK_ERROR(777, "first");
        CHECK(!op_end());
        CHECK_ERROR(777, "first");
        op_fail(500, "second");
        CHECK_ERROR(777, "first");
        OUT("Error 777 message:\"first\"");
    }
}

TEST(s137_input_ends_amid_a_frame) {
    EVERY(5, 7) {
        given(1); go();
        raw("800c0000 00000004 0801"); eof();
        AWAIT(op_sleep("", 0), "599");
        OUT("Sleep 1", "Suspension W{c:1,s:1}");
    }
    EVERY(5, 7) { given(2); raw("800c0000 00000004 0801"); eof(); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { given(2); raw("800c00"); eof(); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
}

/* Every operation meets the first error, and writes nothing. `code`: of that error. */
static void every_operation_fails(node *leaf, unsigned code) {
    restate__vm_target by_id = { RESTATE__BY_ID, "inv_x", NULL, NULL, NULL, NULL, NULL };
    restate_failure f = rt_failure(500, "x");
#define FAILS(call) do { call; CHECK(!rt_ok); CHECK_ERROR(code, ""); rt_ok = true; } while (0)
    FAILS(rt_ok = op_input());
    FAILS(op_sleep("", 0));
    FAILS(op_get("k"));
    FAILS(op_get_keys());
    FAILS(rt_ok = op_set("k", "v"));
    FAILS(rt_ok = op_clear("k"));
    FAILS(rt_ok = op_clear_all());
    FAILS(op_call());
    FAILS(op_send());
    FAILS(op_run("r"));
    FAILS(op_awakeable());
    FAILS(op_signal("n"));
    FAILS(op_cancellation());
    FAILS(op_get_promise("p"));
    FAILS(op_peek_promise("p"));
    FAILS(op_complete_promise("p", "v", false));
    FAILS(op_reject_promise("p", &f));
    FAILS(op_attach(by_id));
    FAILS(op_get_output(by_id));
    FAILS(rt_ok = op_output("x"));
    FAILS(rt_ok = op_output_failure(500, "x"));
    FAILS(rt_ok = op_cancel("inv_x"));
    FAILS(rt_ok = op_send_signal("inv_x", "n", "v"));
    FAILS(rt_ok = op_complete_awakeable("sign_1x", "v", false));
    FAILS(rt_ok = op_reject_awakeable("sign_1x", &f));
    FAILS(rt_ok = op_end());
    FAILS(rt_ok = propose_value(leaf, "v"));
    {
        char want[8];
        snprintf(want, sizeof want, "%u", code);
        AWAIT(leaf, want);
    }
    op_fail(1, "later");
    CHECK_ERROR(code, "");
    note_sleep(1); eof();
    CHECK_ERROR(code, "");
#undef FAILS
}

TEST(x_errors_are_sticky) {
    EVERY(5, 7) {
        node *run;
        given(1); go();
        run = op_run("");
        AWAIT(run, "RUN 1");
        op_fail(501, "first");
        OUT("Run 1", "Error 501 message:\"first\"");
        every_operation_fails(run, 501);
        OUT_NOTHING();
    }
}

TEST(x_closed_stays_closed) {
    for (int suspended = 0; suspended < 2; suspended++)
        EVERY(5, 7) {
            node *sleep;
            given(1); eof(); go();
            sleep = op_sleep("", 0);
            if (suspended) AWAIT(sleep, "599");
            else CHECK(op_end());
            CHECK(propose_value(sleep, "v"));               /* ignored */
            CHECK_INT(rt.vm.phase, RESTATE__CLOSED);
            OUT("Sleep 1", suspended ? "Suspension W{c:1,s:1}" : "End");
            op_fail(500, "ignored");
            CHECK_INT(rt.vm.phase, RESTATE__CLOSED);
            op_set("k", "v");
            CHECK_ERROR(598, "");
            every_operation_fails(sleep, 598);
            OUT_NOTHING();
        }
}

/* What is refused for its arguments fails like any other operation then: with a code, and a text. */
TEST(x_refused_when_closed) {
    EVERY(5, 7) {
        given(1); go();
        CHECK(op_end());
        op_call(.idempotency_key = "");
        CHECK(!rt_ok);
        CHECK_ERROR(500, "the idempotency key is empty");
        OUT("End");
    }
    EVERY(5, 6) {
        given(1); go();
        CHECK(op_end());
        op_send(.scope = "s");
        CHECK(!rt_ok);
        CHECK_ERROR(573, "scope needs");
        OUT("End");
    }
}

TEST(x_error_before_start) {
    EVERY(5, 7) {
        op_fail(500, "preflight");
        OUT("Error 500 message:\"preflight\"");
        given(1);
        CHECK(!ready());
        OUT_NOTHING();
    }
}

TEST(x_operations_before_their_time) {
    EVERY(5, 7) { op_sleep("", 0); CHECK(!rt_ok); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { start(1); op_get("k"); CHECK(!rt_ok); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { start(1); AWAIT(rt_node(), "571"); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { start(1); CHECK(!op_end()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { start(2); input(""); CHECK(!op_input()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { given(1); op_sleep("", 0); CHECK(!rt_ok); CHECK_ERROR(570, ""); OUT("Error 570 index:0 Sleep message:..."); }
    EVERY(5, 7) { given(1); go(); CHECK(!op_input()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
}

TEST(x_second_start) {
    EVERY(5, 7) { start(1); start(1); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { given(2); start(1); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { given(1); go(); start(1); feed(); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) {
        given(1); go();
        CHECK(op_end());
        start(1); input(""); feed();
        CHECK_INT(rt.vm.phase, RESTATE__CLOSED);
        CHECK(op_end());
        OUT("End");
    }
}

TEST(x_command_after_end) {
    EVERY(5, 7) {
        given(1); go();
        CHECK(op_end());
        cmd_sleep(1, "", 0); feed();
        OUT("End");
    }
}

TEST(x_failure_codes) {
    EVERY(5, 7) {
        node *p;
        given(1); frame(N_GET_PROMISE, "1u 6(1u 2s 3(1s2s) 3(1s2s))", 1, 409, "m", "a", "b", "c", ""); go();
        AWAIT((p = op_get_promise("p")), "ANY");
        VALUE(p, "failure 409 \"m\" a:b c:");
        drop_output();
    }
    EVERY(5, 7) {                                           /* does not fit: no crash, still a failure */
        node *p;
        given(1); note_failure(N_GET_PROMISE, 1, 4294967295u, ""); go();
        AWAIT((p = op_get_promise("p")), "ANY");
        CHECK_INT(p->state, RESTATE__FAILED);
        CHECK(strncmp(value_of(p), "failure ", 8) == 0);
        drop_output();
    }
    EVERY(5, 7) {                                           /* nothing in it */
        node *p;
        given(1); frame(N_GET_PROMISE, "1u 6()", 1); go();
        AWAIT((p = op_get_promise("p")), "ANY");
        VALUE(p, "failure 0 \"\"");
        drop_output();
    }
}

/* ---- Many and deep -------------------------------------------------------------------------- */

static node *chain(unsigned depth, node *leaf) {
    for (; depth; depth--) {
        leaf = depth % 2 ? RACE(leaf) : ALL(leaf);
        if (!rt_ok) return NULL;
    }
    return leaf;
}

TEST(x_nesting) {
    EVERY(5, 7) {
        node *sleep, *deep;
        given(1); go();
        sleep = op_sleep("", 0);
        deep = chain(1000, sleep);
        CHECK(deep);
        if (!deep) continue;
        AWAIT(deep, "WAIT(i)");
        note_sleep(1);
        AWAIT(deep, "ANY");
        AWAIT(deep, "ANY");
        CHECK_INT(deep->state, RESTATE__SUCCEEDED);
        drop_output();
    }
    EVERY(5, 7) {
        rt_bytes text;
        const char *at;
        size_t nested = 0;
        given(1); eof(); go();
        AWAIT(chain(1000, op_sleep("", 0)), "599");
        text = rt_lines();
        for (at = (const char *)text.at; *at; at++) nested += *at == '[';
        CHECK_INT(nested, rt.version == 7 ? 1000 : 0);
        CHECK_HAS((const char *)text.at, rt.version == 7 ? "\nSuspension W{s:1,N:[W{N:[ALL_SUCCEEDED{N:[" : "\nSuspension {c:1,s:1}");
        rt_drop(&text);
    }
    EVERY(5, 7) {
        given(1); go();
        CHECK(!chain(1001, op_sleep("", 0)));
        CHECK_INT(rt.vm.phase, RESTATE__ERRORED);
        OUT("Sleep 1", "Error 500...");
    }
}

static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

enum { SLEEPS, RUNS, BACKWARDS, CHAINED, CALLS, STATES, NAMES, ONE_NAME, NAMES_UNCLAIMED, KINDS };
static const char *const kind_names[] = { "sleeps", "runs", "backwards", "chained", "calls", "state", "names", "one name", "nobody's signals" };

static void many(int kind, unsigned n) {
    node **nodes = (node **)rt_alloc(n * sizeof *nodes), *all;
    char text[32];
    given(1); go();
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof text, "n%u", i);
        if (kind == NAMES) nodes[i] = op_signal(text);
        else if (kind == ONE_NAME) nodes[i] = op_signal("n");
        else if (kind == RUNS) nodes[i] = op_run("r");
        else if (kind == CALLS) nodes[i] = op_call().result;
        else nodes[i] = op_sleep("", 0);
        if (kind == CHAINED && i) nodes[i] = i % 900 ? RACE(nodes[i], nodes[i - 1]) : nodes[i];
        if (kind == STATES) op_set(text, text);
    }
    all = rt_combine(kind == CHAINED ? RESTATE__RACE : RESTATE__ALL, nodes, n);
    for (unsigned i = 0; kind == RUNS && i < n; i++) {
        CHECK(restate__vm_await(vm(), all).kind == RESTATE__EXECUTE);
        propose_value(nodes[i], "v");
    }
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof text, "n%u", i);
        if (kind == NAMES) note_named(text, "v");
        else if (kind == ONE_NAME || kind == NAMES_UNCLAIMED) note_named("n", "v");
        else if (kind == RUNS) note_value(N_RUN, i + 1, "v");
        else if (kind == CALLS) note_id(2 * i + 1, text), note_value(N_CALL, 2 * i + 2, "v");
        else note_sleep(kind == BACKWARDS ? n - i : i + 1);
        if (kind == SLEEPS && i + 1 < n) CHECK(restate__vm_await(rt_op(), all).kind == RESTATE__WAIT);
        if (kind == NAMES_UNCLAIMED && i + 1 == n) for (unsigned k = 1; k <= n; k++) note_sleep(k);
    }
    AWAIT(all, "ANY");
    if (kind != CHAINED) CHECK_INT(all->state, RESTATE__SUCCEEDED);
}

static double time_of(int kind, unsigned n) {
    double best = 1e9, began, took;
    for (int i = 0; i < 3; i++) {
        rt_begin(6, RT_WHOLE);
        rt.ignore_output = true;
        began = seconds();
        many(kind, n);
        took = seconds() - began;
        rt_end();
        if (took < best) best = took;
    }
    return best;
}

static void linear(int first, int end) {
    for (int kind = first; kind < end; kind++) {
        double small = time_of(kind, 1000), large = time_of(kind, 10000);
        static char where[64];
        snprintf(where, sizeof where, "(%s: %.2f ms, then %.2f ms)", kind_names[kind], small * 1e3, large * 1e3);
        test_note = where;
        CHECK(large < small * 30 + 0.005);
        test_note = "";
    }
    rt_drop(&rt.raw);
    rt_drop(&rt_script);
}

TEST(x_ten_thousand_futures) { linear(SLEEPS, NAMES); }

TEST(x_ten_thousand_named_signals) { linear(NAMES, KINDS); }

TEST(x_waiting_costs_no_memory) {
    node *nodes[500], *all;
    size_t before;
    rt_begin(7, RT_WHOLE);
    rt.ignore_output = true;
    given(1); go();
    for (unsigned i = 0; i < 500; i++) nodes[i] = op_sleep("", 0);
    all = rt_combine(RESTATE__ALL, nodes, 500);
    rt_collect();
    before = rt.memory.live;
    for (int i = 0; i < 2000; i++) {
        AWAIT(all, "WAIT(i)");
        rt_collect();
    }
    {
        static char where[80];
        snprintf(where, sizeof where, "(%lu bytes for awaiting the same 2000 times)", (unsigned long)(rt.memory.live - before));
        test_note = where;
    }
    CHECK(rt.memory.live - before < 200000);
    rt_end();
    test_note = "";
    rt_drop(&rt.raw);
    rt_drop(&rt_script);
}

/* ---- Out of memory -------------------------------------------------------------------------- */

static void oom_state(void) {
    node *lazy;
    start(3, .state = "a=1;b=22;c=333;d=4;e=5;f=6;g=7;h=8;i=9;j=10", .key = "k"); frame(M_INPUT, "1(1s2s) 14(1s)", "h", "v", "body");
    cmd_set("z", "1"); note_value(N_GET_LAZY, 3, "late");
    if (!ready() || !op_input()) return;
    restate__vm_pairs(&rt.arena, rt.input.headers);
    op_set("z", "1");
    op_get("a");
    op_get_keys();
    lazy = op_get("unknown");
    await(lazy);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i);
        op_set(key, "value");
    }
    op_clear("a");
    op_clear_all();
    op_get_keys();
    op_output("done");
    op_end();
}

static void oom_calls(void) {
    static const restate_pair headers[] = { { "h", "v" }, { NULL, NULL } };
    rt_calls a, b;
    node *send, *race;
    given(1); note_id(1, "id-1"); note_failure(N_CALL, 4, 500, "no"); note_named("n", "v"); note_cancel();
    go();
    a = op_call(.headers = headers, .parameter = rt_b("x"));
    b = op_call(.idempotency_key = "i", .name = "name");
    send = op_send(.key = rt_b("k"));
    race = RACE(a.result, op_awakeable(), op_signal("n"), ALL(send, b.result));
    await(race);
    await(race);
    note_id(3, "id-3"); note_id(5, "id-5");
    await(race);
    await(race);
    eof();
    await(race);
    op_end();
}

static void oom_runs(void) {
    node *a, *b, *all;
    restate_failure f = failure_with_metadata();
    given(2); cmd_run(1, "a"); go();
    a = op_run("a"), b = op_run("b");
    all = ALL_SETTLED(a, b);
    await(all);
    await(all);
    await(all);
    propose_value(a, "A");
    propose_failure(b, f);
    if (rt.version == 7) note_ack(2), note_ack(1);
    else note_value(N_RUN, 1, "A"), frame(N_RUN, "1u 6(1u 2s 3(1s2s))", 2, 500, "m", "k", "v");
    await(all);
    eof();
    await(op_get_promise("p"));
    op_end();
}

static void oom_mismatch(void) {
    static const restate_pair headers[] = { { "h", "v" }, { NULL, NULL } };
    given(2); frame(M_CALL, "1s 2s 3s 4(1s2s) 10u 11u", "Other", "handler", "parameter", "a", "b", 1, 2); go();
    op_call(.headers = headers, .parameter = rt_b("x"));
    op_end();
}

static void oom_unreplayable(void) {
    given(2); cmd_sleep(1, "", 0); go();
    await(RACE(op_awakeable(), op_signal("name")));
    op_end();
}

static void oom_large(void) {
    size_t len = 5000;
    char *big = (char *)rt_alloc(len + 1);
    node *p[12], *all;
    memset(big, 'x', len);
    start(1, .id = "0123456789012345678901234"); input(big); go();
    for (unsigned i = 0; i < 12; i++) {
        p[i] = op_get_promise(big);
        note_value(N_GET_PROMISE, 12 - i, big);
    }
    all = rt_combine(RESTATE__ALL, p, 12);
    await(all);
    for (unsigned i = 0; i < 12; i++) value_of(p[i]);
    op_output(big);
    eof();
    await(op_signal("never"));
}

/* Whole frames only, each of them also in the complete output, but for an Error at the end. */
static bool sane_output(const rt_bytes *complete) {
    const uint8_t *p = rt.raw.at;
    size_t at = 0, n;
    for (; at < rt.raw.len; at += n, p += n) {
        if (rt.raw.len - at < 8) return false;
        n = 8 + ((size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7]);
        if (n > rt.raw.len - at) return false;
        if (p[0] == 0 && p[1] == M_ERROR) return at + n == rt.raw.len;
        if (at + n > complete->len || memcmp(p, complete->at + at, n) != 0) return false;
    }
    return true;
}

static size_t oom_round(void (*scenario)(void), unsigned version, rt_mode mode, size_t fail_at, bool on) {
    rt_begin(version, mode);
    rt.ignore_output = true;
    rt.thin = mode == RT_WHOLE;
    rt.memory.fail_at = fail_at;
    rt.memory.fail_on = on;
    scenario();
    rt_collect();
    rt.memory.fail_at = 0;
    rt.thin = false;
    return rt.memory.calls;
}

static void out_of_memory(const char *name, void (*scenario)(void)) {
    static char where[80];
    for (unsigned version = 5; version <= 7; version += 2) {
        rt_bytes complete = { NULL, 0, 0 };
        size_t total = oom_round(scenario, version, RT_WHOLE, 0, false);
        rt_add(&complete, rt.raw.at, rt.raw.len);
        rt_end();
        for (size_t n = 1; n <= total; n++)
            for (int on = 0; on < 2; on++) {
                snprintf(where, sizeof where, "(%s, protocol %u, allocation %lu of %lu%s)", name, version, (unsigned long)n,
                         (unsigned long)total, on ? " and all after it" : "");
                test_note = where;
                oom_round(scenario, version, RT_WHOLE, n, on);
                if (!rt.out.failed) CHECK(sane_output(&complete));
                if (!rt.out.failed && rt.vm.phase != RESTATE__ERRORED)
                    CHECK(rt.raw.len == complete.len && (!complete.len || memcmp(rt.raw.at, complete.at, complete.len) == 0));
                if (rt.vm.phase == RESTATE__ERRORED) CHECK(rt.vm.error.message && rt.vm.error.code);
                rt_end();
                if (test_failures > 20) return;
            }
        rt_drop(&complete);
        test_note = "";
    }
}

TEST(x_out_of_memory) {
    out_of_memory("state", oom_state);
    out_of_memory("calls", oom_calls);
    out_of_memory("runs", oom_runs);
    out_of_memory("mismatch", oom_mismatch);
    out_of_memory("unreplayable", oom_unreplayable);
    out_of_memory("large", oom_large);
    rt_drop(&rt.raw);
    rt_drop(&rt_script);
}

/* A header of the request that cannot be read is not left out in silence. */
TEST(x_damaged_headers) {
    EVERY(5, 7) {
        start(1); frame(M_INPUT, "1(1s2s) 1b 14(1s)", "h", "v", "\x0a\x05k", (size_t)3, "body");
        CHECK(ready() && !op_input());
        CHECK_ERROR(500, "cannot decode the recorded command 0");
        OUT("Error 500 index:0 Input...");
    }
}

/* Damaged bytes: any answer is fine, but nothing else. */
TEST(x_damaged_input) {
    rt_bytes script = { NULL, 0, 0 };
    rt_begin(7, RT_WHOLE);
    start(8, .state = "a=1;b=2", .key = "k", .scope = "s"); frame(M_INPUT, "1(1s2s) 14(1s)", "h", "v", "body"); cmd_call(1, "x");
    cmd_get_eager("a", "1"); frame(M_GET_EAGER_KEYS, "14(1s1s)", "a", "b"); note_id(1, "my-id");
    note_failure(N_CALL, 2, 500, "no"); frame(N_GET_LAZY_KEYS, "1u 17(1s1s)", 5, "a", "b"); note_named("n", "v"); note_signal(17, "x");
    note_cancel();
    rt_add(&script, rt_script.at, rt_script.len);
    rt_end();
    for (unsigned round = 0; round < 20000; round++) {
        rt_calls c;
        node *nodes[6];
        rt_begin(5 + round % 3, RT_WHOLE);
        rt.ignore_output = true;
        rt.random = round;
        rt_add(&rt_script, script.at, script.len);
        for (unsigned i = 0, n = 1 + rt_dice(4); i < n; i++) {
            size_t at = rt_dice((unsigned)rt_script.len);
            if (rt_dice(2)) rt_script.at[at] = (uint8_t)rt_dice(256);
            else rt_script.at[at] ^= (uint8_t)(1u << rt_dice(8));
        }
        if (rt_dice(4) == 0) rt_script.len = rt_dice((unsigned)rt_script.len);
        rt.options.max_message_bytes = 100000;
        if (ready() && op_input()) {
            restate__vm_pairs(&rt.arena, rt.input.headers);
            c = op_call(.parameter = rt_b("x"));
            nodes[0] = c.id, nodes[1] = c.result, nodes[2] = op_get("a"), nodes[3] = op_get_keys(), nodes[4] = op_get_keys();
            nodes[5] = op_signal("n");
            if (rt_ok) {
                for (int i = 0; i < 8 && rt_ok; i++) await(rt_combine(RESTATE__ALL_SETTLED, nodes, 6));
                for (int i = 0; i < 6; i++) value_of(nodes[i]);
                eof();
                await(op_awakeable());
            }
        }
        rt_end();
    }
    rt_drop(&script);
    rt_drop(&rt.raw);
    rt_drop(&rt_script);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s122_other_state_key), T(s123_payload_differs), T(s124_checks_off),
        T(s125_unstable_payloads), T(s126_never_skipped), T(x_other_type_is_described),
        T(s127_other_type), T(s128_await_run_in_the_replay), T(s129_await_sleep_in_the_replay),
        T(s130_await_awakeable_in_the_replay), T(s131_behaviour_of_mismatches),
        T(x_what_is_compared), T(x_metadata_is_compared), T(x_recorded_but_not_decodable),
        T(x_not_decodable_where_nothing_is_compared), T(x_lengths_of_notifications),
        T(s133_error_that_pauses), T(s134_metadata), T(s135_after_suspension),
        T(s136_after_an_error), T(s137_input_ends_amid_a_frame), T(x_errors_are_sticky),
        T(x_closed_stays_closed), T(x_refused_when_closed), T(x_error_before_start), T(x_operations_before_their_time),
        T(x_second_start), T(x_command_after_end), T(x_failure_codes), T(x_nesting),
        T(x_ten_thousand_futures), T(x_ten_thousand_named_signals), T(x_waiting_costs_no_memory),
        T(x_out_of_memory), T(x_damaged_headers), T(x_damaged_input),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
