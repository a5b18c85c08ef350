/* Section >>journal: cancellation. A number in a name is that of tests/scenarios.md; x_ are
 * further cases. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/journal.c"

/* ---- Cancellation --------------------------------------------------------------------------- */

#define CALL(id, next) "Call " #id " " #next " \"Greeter\" \"greet\""
#define CANCEL(id) "SendSignal \"" id "\" index:1 void"

TEST(s108_cancel_with_known_id) {
    for (int touch = 1; touch >= 0; touch--)                /* 0: s109 */
        EVERY(5, 7) {
            rt_calls c;
            given(1); note_id(1, "my-id"); note_cancel(); eof(); go();
            c = op_call();
            if (touch) {
                AWAIT(c.id, "ANY");
                VALUE(c.id, "id \"my-id\"");
            }
            AWAIT(c.result, "CXL");
            CHECK(op_end());
            OUT(CALL(1, 2), CANCEL("my-id"), "End");
        }
}

TEST(s109_id_stays_takeable) {
    EVERY(5, 7) {
        rt_calls c;
        given(1); note_id(1, "my-id"); note_cancel(); go();
        c = op_call();
        AWAIT(c.result, "CXL");
        AWAIT(c.id, "ANY");
        VALUE(c.id, "id \"my-id\"");
        OUT(CALL(1, 2), CANCEL("my-id"));
    }
}

TEST(s110_cancel_waits_for_the_id) {
    EVERY(5, 7) {
        given(1); note_cancel(); eof(); go();
        AWAIT(op_call().result, "599");
        OUT(CALL(1, 2), "Suspension W{c:1}");
    }
}

TEST(s111_cancel_waits_for_two_ids) {
    EVERY(5, 7) {
        rt_calls a;
        given(1); note_cancel(); go();
        a = op_call();
        op_call();
        AWAIT(a.result, "WAIT(i)");
        note_id(1, "id-1");
        AWAIT(a.result, "WAIT(i)");
        note_id(3, "id-3");
        AWAIT(a.result, "CXL");
        OUT(CALL(1, 2), CALL(3, 4), "AwaitingOn W{c:1}", "AwaitingOn W{c:3}", CANCEL("id-1"), CANCEL("id-3"));
    }
}

TEST(s113_explicit_mode) {
    EVERY(5, 7) {
        rt.options.explicit_cancellation = true;
        given(1); note_cancel(); eof(); go();
        AWAIT(op_call().result, "599");
        OUT(CALL(1, 2), "Suspension W{c:2}");
    }
    EVERY(5, 7) {
        node *cancel;
        rt.options.explicit_cancellation = true;
        given(1); note_cancel(); go();
        cancel = op_cancellation();
        AWAIT(cancel, "ANY");
        VALUE(cancel, "void");
        AWAIT(op_cancellation(), "WAIT(i)");
        OUT("AwaitingOn W{s:1}");
    }
}

TEST(s114_cancel_replayed) {
    EVERY(5, 7) {
        rt_calls a, b;
        given(7); cmd_call(1, ""); note_id(1, "my-id-1"); cmd_call(3, ""); note_id(3, "my-id-2"); note_cancel();
        cmd_cancel("my-id-1"); go();
        a = op_call(), b = op_call();
        AWAIT(RACE(a.result, b.result), "CXL");
        CHECK(op_end());
        OUT(CANCEL("my-id-2"), "End");
    }
}

TEST(s115_sends_are_not_cancelled) {
    EVERY(5, 7) {
        given(1); note_id(1, "my-id"); note_cancel(); go();
        op_send();
        AWAIT(op_awakeable(), "CXL");
        OUT("OneWayCall 1 \"Greeter\" \"greet\"");
    }
    EVERY(5, 7) {                                           /* unless asked for, in the order of the calls */
        rt.options.cancel_sends = true;
        given(1); note_id(2, "call"); note_id(1, "send"); note_cancel(); go();
        op_send();
        op_call();
        AWAIT(op_awakeable(), "CXL");
        OUT("OneWayCall 1 \"Greeter\" \"greet\"", CALL(2, 3), CANCEL("send"), CANCEL("call"));
    }
}

TEST(s116_finished_calls_are_cancelled) {
    EVERY(5, 7) {
        rt_calls c;
        given(1); note_id(1, "my-id"); note_value(N_CALL, 2, "v"); go();
        c = op_call();
        AWAIT(c.result, "ANY");
        VALUE(c.result, "\"v\"");
        note_cancel();
        AWAIT(op_awakeable(), "CXL");
        OUT(CALL(1, 2), CANCEL("my-id"));
    }
}

TEST(s117_result_before_cancel) {
    EVERY(5, 7) {
        node *a, *b;
        given(1); note_signal(17, "v"); note_cancel(); go();
        a = op_awakeable(), b = op_awakeable();
        AWAIT(a, "ANY");
        AWAIT(b, "CXL");
        VALUE(a, "\"v\"");
        OUT_NOTHING();
    }
}

TEST(s118_cancel_before_result) {
    EVERY(5, 7) {
        node *a;
        given(1); note_cancel(); note_signal(17, "v"); go();
        a = op_awakeable();
        AWAIT(a, "CXL");
        AWAIT(a, "ANY");
        VALUE(a, "\"v\"");
        OUT_NOTHING();
    }
}

TEST(s119_cancel_amid_a_gather) {
    EVERY(5, 7) {
        node *a, *b;
        given(1); note_signal(17, "v"); note_cancel(); go();
        a = op_awakeable(), b = op_awakeable();
        AWAIT(ALL_SETTLED(a, b), "CXL");
        VALUE(a, "\"v\"");
        CHECK(!completed(b));
        OUT_NOTHING();
    }
}

TEST(s120_two_cancellations) {
    EVERY(5, 7) {
        node *a;
        given(1); note_cancel(); note_cancel(); go();
        a = op_awakeable();
        AWAIT(a, "CXL");
        AWAIT(a, "CXL");
        AWAIT(a, "WAIT(i)");
        OUT("AwaitingOn W{s:1,17}");
    }
}

TEST(s121_cancel_while_executing) {
    EVERY(5, 7) {
        node *run;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        note_cancel();
        AWAIT(run, "CXL");
        CHECK(propose_value(run, "v"));
        if (rt.version == 7) note_ack(1);
        else note_value(N_RUN, 1, "v");
        AWAIT(run, "ANY");
        VALUE(run, "\"v\"");
        OUT("Run 1 \"r\"", "Propose 1 value \"v\" ack");
    }
}

TEST(x_cancelled_once) {                                    /* tracked calls are forgotten with the cancellation */
    EVERY(5, 7) {
        node *a;
        given(1); note_id(1, "id-1"); note_cancel(); note_id(3, "id-3"); note_cancel(); go();
        op_call();
        a = op_awakeable();
        AWAIT(a, "CXL");
        op_call();
        AWAIT(a, "CXL");
        OUT(CALL(1, 2), CANCEL("id-1"), CALL(3, 4), CANCEL("id-3"));
    }
}

TEST(x_cancel_beats_what_is_ready) {
    EVERY(5, 7) {
        rt_calls c;
        node *a;
        given(1); note_cancel(); note_signal(17, "v"); go();
        c = op_call();
        a = op_awakeable();
        AWAIT(a, "WAIT(i)");                                /* the id of the call is needed first */
        CHECK(completed(a));
        note_id(1, "my-id");
        AWAIT(a, "CXL");
        AWAIT(a, "ANY");
        CHECK(completed(c.id));
        OUT(CALL(1, 2), "AwaitingOn W{c:1}", CANCEL("my-id"));
    }
}

TEST(x_cancel_not_noticed_without_await) {
    EVERY(5, 7) {
        given(1); note_cancel(); go();
        op_call();
        CHECK(op_set("k", "v") && op_output("") && op_end());
        OUT(CALL(1, 2), "SetState \"k\" value \"v\"", "Output value \"\"", "End");
    }
}

TEST(x_await_cancel_handle_repeatedly) {
    EVERY(5, 7) {
        node *a, *first, *second;
        rt.options.explicit_cancellation = true;
        given(1); note_cancel(); note_signal(17, "v"); note_cancel(); go();
        a = op_awakeable();
        first = op_cancellation();
        AWAIT(RACE(a, first), "ANY");
        CHECK(completed(first) && !completed(a));
        VALUE(first, "void");
        second = op_cancellation();
        AWAIT(a, "ANY");
        AWAIT(second, "ANY");
        VALUE(second, "void");
        OUT_NOTHING();
    }
}

TEST(x_cancel_in_the_replay_without_id) {
    EVERY(5, 7) {                                           /* the recorded execution had cancelled, so it knew the id */
        rt_calls c;
        given(4); cmd_call(1, ""); note_cancel(); cmd_cancel("my-id"); go();
        c = op_call();
        AWAIT(c.result, "570");
        OUT("Error 570...");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s108_cancel_with_known_id), T(s109_id_stays_takeable), T(s110_cancel_waits_for_the_id),
        T(s111_cancel_waits_for_two_ids), T(s113_explicit_mode), T(s114_cancel_replayed),
        T(s115_sends_are_not_cancelled), T(s116_finished_calls_are_cancelled),
        T(s117_result_before_cancel), T(s118_cancel_before_result), T(s119_cancel_amid_a_gather),
        T(s120_two_cancellations), T(s121_cancel_while_executing), T(x_cancelled_once),
        T(x_cancel_beats_what_is_ready), T(x_cancel_not_noticed_without_await),
        T(x_await_cancel_handle_repeatedly), T(x_cancel_in_the_replay_without_id),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
