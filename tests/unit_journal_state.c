/* Section >>journal: state, eager and lazy. A number in a name is that of tests/scenarios.md;
 * x_ are further cases. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/journal.c"

/* ---- Scenarios ------------------------------------------------------------------------------ */

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

/* ---- More of state -------------------------------------------------------------------------- */

TEST(x_state_changes_count_in_the_replay) {
    EVERY(5, 7) {
        start(4, .state = "a=1;b=2"); input(""); cmd_set("a", "9"); cmd_clear("b"); cmd_get_eager("a", "9"); go();
        CHECK(op_set("a", "9") && op_clear("b"));
        VALUE(op_get("a"), "\"9\"");
        VALUE(op_get("a"), "\"9\"");
        VALUE(op_get("b"), "void");
        AWAIT(op_get("c"), "WAIT(i)");
        OUT("GetEagerState \"a\" value \"9\"", "GetEagerState \"b\" void", "GetLazyState 4 \"c\"", "AwaitingOn W{c:4,s:1}");
    }
    EVERY(5, 7) {
        start(2, .state = "a=1"); input(""); cmd_clear_all(); go();
        CHECK(op_clear_all());
        VALUE(op_get_keys(), "[]");
        VALUE(op_get("c"), "void");
        OUT("GetEagerStateKeys []", "GetEagerState \"c\" void");
    }
}

TEST(x_recorded_read_is_used_not_compared) {
    EVERY(5, 7) {
        start(3, .state = "k=now"); input(""); cmd_get_eager("k", "then"); cmd_get_lazy(2, "k"); note_value(N_GET_LAZY, 2, "lazy");
        go();
        VALUE(op_get("k"), "\"then\"");
        AWAIT(op_get("k"), "ANY");
        VALUE(op_get("k"), "\"now\"");
        OUT("GetEagerState \"k\" value \"now\"");
    }
}

TEST(x_lazy_answer_does_not_update_state) {
    EVERY(5, 7) {
        given(1); note_value(N_GET_LAZY, 1, "v"); go();
        AWAIT(op_get("k"), "ANY");
        CHECK(!completed(op_get("k")));
        OUT("GetLazyState 1 \"k\"", "GetLazyState 2 \"k\"");
    }
}

TEST(x_set_then_keys) {
    EVERY(5, 7) {
        given_complete(1, "m=1"); go();
        CHECK(op_set("z", "1") && op_set("a", "1") && op_set("m", "") && op_clear("z") && op_set("z", "2"));
        VALUE(op_get_keys(), "[a,m,z]");
        CHECK(op_clear_all() && op_set("only", ""));
        VALUE(op_get_keys(), "[only]");
        VALUE(op_get("only"), "\"\"");
        VALUE(op_get("m"), "void");
        rt.ignore_output = true;
    }
}

TEST(x_set_copies_its_bytes) {
    EVERY(5, 7) {
        char key[] = "key", value[] = "value";
        given(1); go();
        CHECK(op_set(key, value));
        memset(key, 'x', 3);
        memset(value, 'x', 5);
        VALUE(op_get("key"), "\"value\"");
        OUT("SetState \"key\" value \"value\"", "GetEagerState \"key\" value \"value\"");
    }
}

TEST(x_bytes_with_zeros) {
    EVERY(5, 7) {
        restate_bytes key = restate__b("a\0b", 3), value = restate__b("\0\xff", 2);
        node *leaf = rt_node();
        start(1); input(""); go();
        CHECK(restate__vm_set(rt_op(), key, value, false));
        CHECK(restate__vm_get(rt_op(), key, leaf));
        VALUE(leaf, "\"\\x00\\xff\"");
        OUT("SetState \"a\\x00b\" value \"\\x00\\xff\"", "GetEagerState \"a\\x00b\" value \"\\x00\\xff\"");
    }
}

TEST(x_many_state_entries) {
    EVERY(5, 7) {
        char text[4096] = "", key[16];
        const restate__value *v;
        for (int i = 199; i >= 0; i--) snprintf(text + strlen(text), sizeof text - strlen(text), "k%03d=v%d;", i, i);
        start(1, .complete = true, .state = text); input(""); go();
        for (int i = 0; i < 200; i++) {
            char want[16];
            snprintf(key, sizeof key, "k%03d", i);
            snprintf(want, sizeof want, "\"v%d\"", i);
            VALUE(op_get(key), want);
        }
        v = &op_get_keys()->value;
        CHECK(v && v->is.keys);
        for (int i = 0; v && v->is.keys && i < 200; i++) {
            snprintf(key, sizeof key, "k%03d", i);
            CHECK_STR(v->is.keys[i], key);
        }
        CHECK(v && !v->is.keys[200]);
        rt.ignore_output = true;
    }
}

TEST(x_state_keys_not_utf8) {
    EVERY(5, 7) {
        node *keys;
        given(1); frame(N_GET_LAZY_KEYS, "1u 17(1s1s1s)", 1, "a\xff" "b", "", "z"); go();
        AWAIT((keys = op_get_keys()), "ANY");
        CHECK(keys->value.is.keys && keys->value.is.keys[0]);
        drop_output();
    }
}

#define RETRY(delay) "Error 500 index:1 Run \"my-run\" delay:" #delay " message:\"my-error\""

TEST(x_eager_read_is_a_new_entry) {
    EVERY(5, 7) {
        node *run;
        rt.policy = exponential(100, 2);
        start(2, .retries = 3, .complete = true); input(""); cmd_run(1, "my-run"); go();
        run = op_run("my-run");
        op_get("k");
        AWAIT(run, "RUN 1");
        CHECK(!propose_error(run, 0));
        OUT("GetEagerState \"k\" void", RETRY(100));
    }
}

/* ---- Names of operations ----------------------------------------------------------------------- */

/* Frames by another implementation. */
TEST(named_operations_golden) {
    EVERY(5, 7) {
        given(1); go();
        vm()->naming = rt_b("get-a"); op_get("A");
        RAW("040200000000000c0a0141580162056765742d61");
        vm()->naming = rt_b("set-a"); CHECK(op_set("A", "x"));
        RAW("040300000000000f0a01411a030a017862057365742d61");
        vm()->naming = rt_b("clear-a"); CHECK(op_clear("A"));
        RAW("040400000000000c0a01416207636c6561722d61");
        vm()->naming = rt_b("clear-all"); CHECK(op_clear_all());
        RAW("040500000000000b6209636c6561722d616c6c");
        vm()->naming = rt_b("keys"); op_get_keys();
        RAW("040800000000000862046b6579737200");
        vm()->naming = rt_b("late"); op_get("A");
        RAW("040700000000000b0a014162046c6174656a00");
        CHECK(op_set("A", "x"));            /* a name is for one */
        OUT("SetState \"A\" value \"x\"");
    }
}

/* The recorded one and the one of the code; NULL: none. */
TEST(names_are_compared) {
    static const char *const pairs[][2] = { { "n", "n" }, { "n", NULL }, { NULL, "n" }, { "n", "m" }, { NULL, NULL } };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int which = 0; which < 4; which++)
            EVERY(5, 7) {
                const char *was = pairs[i][0] ? pairs[i][0] : "", *is = pairs[i][1];
                bool same = strcmp(was, is ? is : "") == 0;
                rt.options.skip_payload_check = which == 3;     /* they are all the same */
                given(2);
                if (which == 0) frame(M_GET_LAZY, "1n 11u 12s", "k", 1, was);
                else if (which == 1) frame(M_GET_EAGER, "1n 12s 13()", "k", was);
                else frame(M_SET, "1n 3(1n) 12s", "k", "v", was);
                go();
                if (is) vm()->naming = rt_b(is);
                if (which < 2) op_get("k");
                else rt_ok = op_set("k", "v");
                CHECK_INT(rt_ok, same);
                if (!same) CHECK_HAS(vm()->error.message, i == 3 ? "name: \"n\" != \"m\"" : "name: ");
                if (!same) OUT(which == 0 ? "Error 570 index:1 GetLazyState..." : which == 1 ? "Error 570 index:1 GetEagerState..."
                                                                                             : "Error 570 index:1 SetState...");
            }
}

/* A key that differs is shown beside a name that does. */
TEST(key_and_name_differ) {
    EVERY(5, 7) {
        given(2); frame(M_GET_EAGER, "1n 12s 13()", "c", "renamed"); go();
        op_get("key");
        CHECK(!rt_ok);
        CHECK_HAS(vm()->error.message, "key: \"c\" != \"key\"\n  name: \"renamed\" != \"\"");
        OUT("Error 570 index:1 GetEagerState...");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s031_lazy_state_replayed), T(s032_lazy_state_suspends), T(s033_lazy_state_answered_early),
        T(s034_eager_state_absent), T(s035_eager_state_present), T(s036_eager_state_replayed),
        T(s037_state_is_updated), T(s038_set_after_lazy_read), T(s039_clear_after_lazy_read),
        T(s040_clear_all), T(s041_eager_replayed_then_written), T(s042_keys_replayed),
        T(s043_keys_lazy), T(s044_keys_eager_are_sorted), T(s045_keys_without_cleared),
        T(s046_empty_value_is_not_absent), T(s047_eager_without_result), T(s048_state_key_not_utf8),
        T(x_state_changes_count_in_the_replay), T(x_recorded_read_is_used_not_compared),
        T(x_lazy_answer_does_not_update_state), T(x_set_then_keys), T(x_set_copies_its_bytes),
        T(x_bytes_with_zeros), T(x_many_state_entries), T(x_state_keys_not_utf8),
        T(x_eager_read_is_a_new_entry), T(named_operations_golden), T(names_are_compared), T(key_and_name_differ),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
