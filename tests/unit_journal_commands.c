/* Section >>journal: commands and what they are answered with: sleep, promises, calls, other invocations,
 * signals that are sent. A number in a name is that of tests/scenarios.md; x_ are further
 * cases. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/journal.c"

/* ---- Sleep, promises ------------------------------------------------------------------------ */

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

/* ---- Calls ---------------------------------------------------------------------------------- */

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

/* ---- Identifiers, other invocations --------------------------------------------------------- */

TEST(x_completion_ids_in_order) {
    EVERY(5, 7) {
        restate__vm_target by_id = { RESTATE__BY_ID, "inv_x", NULL, NULL, NULL, NULL, NULL };
        rt_calls c;
        start(1, .state = "eager=1"); input(""); go();
        CHECK_INT(op_get("eager")->id, 1);
        CHECK_INT(op_get("lazy")->id, 2);
        CHECK_INT(op_get_keys()->id, 3);
        CHECK(op_set("a", "b") && op_clear("a") && op_complete_awakeable("sign_1x", "", false) && op_cancel("inv_x"));
        CHECK_INT(op_get_promise("p")->id, 4);
        CHECK_INT(op_peek_promise("p")->id, 5);
        CHECK_INT(op_complete_promise("p", "", false)->id, 6);
        CHECK_INT(op_awakeable()->id, 17);
        op_signal("n");
        c = op_call();
        CHECK_INT(c.id->id, 7);
        CHECK_INT(c.result->id, 8);
        CHECK_INT(op_send()->id, 9);
        CHECK_INT(op_run("")->id, 10);
        CHECK_INT(op_awakeable()->id, 18);
        CHECK_INT(op_attach(by_id)->id, 11);
        CHECK_INT(op_get_output(by_id)->id, 12);
        CHECK(op_send_signal("inv_x", "n", "v") && op_clear_all() && op_output(""));
        CHECK_INT(op_sleep("", 0)->id, 13);
        OUT("GetEagerState \"eager\" value \"1\"", "GetLazyState 2 \"lazy\"", "GetLazyStateKeys 3", "SetState \"a\" value \"b\"",
            "ClearState \"a\"", "CompleteAwakeable \"sign_1x\" value \"\"", "SendSignal \"inv_x\" index:1 void", "GetPromise 4 \"p\"",
            "PeekPromise 5 \"p\"", "CompletePromise 6 \"p\" value \"\"", CALL(7, 8), "OneWayCall 9 \"Greeter\" \"greet\"", "Run 10",
            "AttachInvocation 11 \"inv_x\"", "GetInvocationOutput 12 \"inv_x\"", "SendSignal \"inv_x\" name:\"n\" value \"v\"",
            "ClearAllState", "Output value \"\"", "Sleep 13");
    }
}

TEST(x_attach_targets) {
    EVERY(5, 7) {
        restate__vm_target workflow, request;
        memset(&workflow, 0, sizeof workflow);
        memset(&request, 0, sizeof request);
        workflow.kind = RESTATE__BY_WORKFLOW;
        workflow.service = "W", workflow.key = "k";
        request.kind = RESTATE__BY_IDEMPOTENCY_KEY;
        request.service = "S", request.handler = "h", request.idempotency_key = "i";
        given(1); go();
        op_attach(workflow);
        op_get_output(request);
        request.key = "";
        op_attach(request);
        OUT("AttachInvocation 1 workflow:( \"W\" \"k\" )", "GetInvocationOutput 2 idempotent:( \"S\" \"h\" \"i\" )",
            "AttachInvocation 3 idempotent:( \"S\" key:\"\" \"h\" \"i\" )");
        workflow.scope = "sc";
        op_attach(workflow);
        if (rt.version == 7) {
            OUT("AttachInvocation 4 workflow:( \"W\" \"k\" scope:\"sc\" )");
            request.scope = "";
            op_attach(request);
            CHECK_ERROR(500, "");
            OUT("Error 500...");
        } else {
            CHECK(!rt_ok);
            CHECK_ERROR(573, "");
            OUT("Error 573...");
        }
    }
}

TEST(x_attach_replayed) {
    for (int i = 0; i < 3; i++)
        EVERY(5, 7) {
            restate__vm_target workflow;
            node *leaf;
            memset(&workflow, 0, sizeof workflow);
            workflow.kind = RESTATE__BY_WORKFLOW;
            workflow.service = "W";
            workflow.key = i == 1 ? "other" : "k";
            given(3); frame(i == 2 ? M_GET_OUTPUT : M_ATTACH, "4(1s2s) 11u", "W", "k", 1); note_value(N_ATTACH, 1, "v"); go();
            leaf = op_attach(workflow);
            if (i == 0) {
                AWAIT(leaf, "ANY");
                VALUE(leaf, "\"v\"");
                OUT_NOTHING();
            } else {
                CHECK_ERROR(570, "");
                OUT("Error 570 index:1 AttachInvocation message:...");
            }
        }
}

TEST(x_get_output_not_ready) {
    EVERY(5, 7) {
        restate__vm_target by_id = { RESTATE__BY_ID, "inv_x", NULL, NULL, NULL, NULL, NULL };
        node *leaf;
        given(1); note_void(N_GET_OUTPUT, 1); go();
        leaf = op_get_output(by_id);
        AWAIT(leaf, "ANY");
        VALUE(leaf, "void");
        OUT("GetInvocationOutput 1 \"inv_x\"");
    }
}

TEST(x_send_signal_variants) {
    EVERY(5, 7) {
        restate_failure f = rt_failure(400, "no");
        given(1); go();
        CHECK(op_send_signal("inv_x", "n", ""));
        CHECK(restate__vm_send_signal(rt_op(), "inv_x", rt_b("n"), restate__b_none(), &f, false));
        OUT("SendSignal \"inv_x\" name:\"n\" value \"\"", "SendSignal \"inv_x\" name:\"n\" failure 400 \"no\"");
    }
}

TEST(x_names_only_where_they_belong) {
    EVERY(5, 7) {
        given(1); go();
        op_sleep("a", 1);
        op_call(.name = "b");
        op_send(.name = "c");
        op_run("d");
        OUT("Sleep 1 wake:1 name:\"a\"", "Call 2 3 \"Greeter\" \"greet\" name:\"b\"", "OneWayCall 4 \"Greeter\" \"greet\" name:\"c\"",
            "Run 5 \"d\"");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s023_sleep_suspends), T(s024_sleep_replayed), T(s025_sleep_recorded_not_over),
        T(s026_sleep_of_other_length), T(s027_sleep_of_other_name), T(s028_get_promise),
        T(s029_peek_promise), T(s030_complete_promise), T(s049_call_and_leave),
        T(s050_cancel_a_call), T(s051_cancel_a_send), T(s052_scope_and_limit),
        T(s053_await_second_call), T(s054_two_calls_any_order), T(s055_only_second_answered),
        T(s056_send_at_another_time), T(s057_header_order), T(x_completion_ids_in_order),
        T(x_attach_targets), T(x_attach_replayed), T(x_get_output_not_ready),
        T(x_send_signal_variants), T(x_names_only_where_they_belong),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
