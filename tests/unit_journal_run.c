/* Section >>journal: runs and their retry policies. A number in a name is that of tests/scenarios.md;
 * x_ are further cases. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/journal.c"

/* ---- Runs ----------------------------------------------------------------------------------- */

TEST(s084_run) {
    EVERY(5, 7) {
        node *run;
        start(1, .complete = true); input(""); go();
        run = op_run("");
        CHECK_INT(run->run, RESTATE__RUN_TO_EXECUTE);
        AWAIT(run, "RUN 1");
        CHECK(rt_to_run == run);
        AWAIT(run, "WAIT(i,r)");
        CHECK(propose_value(run, "v"));
        AWAIT(run, "WAIT(i)");
        eof();
        AWAIT(run, "599");
        OUT("Run 1", "Propose 1 value \"v\" ack", "AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    }
}

TEST(s085_run_acknowledged) {
    EVERY(7, 7) {
        node *run;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "v"));
        VALUE(run, "-");
        note_ack(1);
        AWAIT(run, "ANY");
        VALUE(run, "\"v\"");
        CHECK(op_output("v") && op_end());
        OUT("Run 1 \"r\"", "Propose 1 value \"v\" ack", "Output value \"v\"", "End");
    }
}

TEST(s086_run_before_7) {
    EVERY(5, 6) {
        node *run;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "v"));
        AWAIT(run, "WAIT(i)");
        note_value(N_RUN, 1, "stored");
        AWAIT(run, "ANY");
        VALUE(run, "\"stored\"");
        OUT("Run 1 \"r\"", "Propose 1 value \"v\"");
    }
}

TEST(s087_run_fails) {
    EVERY(5, 7) {
        node *run;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_failure(run, rt_failure(500, "my-failure")));
        if (rt.version == 7) note_ack(1);
        else note_failure(N_RUN, 1, 500, "my-failure");
        AWAIT(run, "ANY");
        VALUE(run, "failure 500 \"my-failure\"");
        CHECK(op_output_failure(500, "my-failure") && op_end());
        OUT("Run 1 \"r\"", "Propose 1 failure 500 \"my-failure\" ack", "Output failure 500 \"my-failure\"", "End");
    }
}

TEST(s088_input_ends_while_executing) {
    EVERY(5, 7) {
        node *run;
        given(1); go();
        AWAIT((run = op_run("")), "RUN 1");
        eof();
        AWAIT(run, "WAIT(r)");
        CHECK(propose_value(run, ""));
        AWAIT(run, "599");
        OUT("Run 1", "Propose 1 value \"\" ack", "Suspension W{c:1,s:1}");
    }
}

TEST(s089_run_recorded_without_result) {
    EVERY(5, 7) {
        node *run;
        given(2); cmd_run(1, "r"); eof(); go();
        run = op_run("r");
        CHECK_INT(run->run, RESTATE__RUN_TO_EXECUTE);
        AWAIT(run, "RUN 1");
        CHECK(propose_value(run, "v"));
        AWAIT(run, "599");
        OUT("Propose 1 value \"v\" ack", "Suspension W{c:1,s:1}");
    }
}

TEST(s090_run_raced_in_the_replay) {
    EVERY(5, 7) {
        node *run, *s2, *s3, *race;
        given(5); cmd_run(1, "r"); cmd_sleep(2, "", 0); cmd_sleep(3, "", 0); note_sleep(2); eof(); go();
        run = op_run("r");
        s2 = op_sleep("", 0);
        AWAIT(RACE(run, s2), "ANY");
        CHECK_INT(rt.vm.phase, RESTATE__REPLAYING);
        s3 = op_sleep("", 0);
        CHECK_INT(rt.vm.phase, RESTATE__PROCESSING);
        race = RACE(run, s3);
        AWAIT(race, "RUN 1");
        CHECK(propose_value(run, "v"));
        AWAIT(race, "599");
        OUT("Propose 1 value \"v\" ack", "Suspension W{s:1,N:[{c:1,3}]}");
    }
}

TEST(s091_run_replayed) {
    EVERY(5, 7) {
        node *run;
        given(3); cmd_run(1, "r"); note_value(N_RUN, 1, "v"); go();
        run = op_run("r");
        CHECK_INT(run->run, RESTATE__RUN_NONE);
        AWAIT(run, "ANY");
        VALUE(run, "\"v\"");
        OUT_NOTHING();
    }
}

TEST(s092_run_replayed_later) {
    EVERY(5, 7) {
        node *run;
        given(4); cmd_run(1, "r"); cmd_sleep(2, "", 0); note_value(N_RUN, 1, "v"); go();
        run = op_run("r");
        CHECK_INT(run->run, RESTATE__RUN_NONE);
        CHECK_INT(rt.vm.phase, RESTATE__REPLAYING);
        op_sleep("", 0);
        CHECK_INT(rt.vm.phase, RESTATE__PROCESSING);
        AWAIT(run, "ANY");
        OUT_NOTHING();
    }
}

TEST(s093_error_after_run) {
    EVERY(5, 7) {
        restate__vm_error e = { .code = 500, .message = "boom" };
        given(1); go();
        op_run("r");
        restate__vm_fail(rt_op(), &e);
        OUT("Run 1 \"r\"", "Error 500 message:\"boom\"");
    }
}

TEST(s094_bad_acks) {
    EVERY(5, 7) { given(1); go(); note_ack(99); feed(); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { given(2); note_ack(1); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(7, 7) {
        node *run;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "v"));
        note_ack(1); note_ack(1); feed();
        CHECK_ERROR(571, "");
        OUT("Run 1 \"r\"", "Propose 1 value \"v\" ack", "Error 571...");
    }
    EVERY(5, 7) {                                           /* nothing was proposed; before 7 nothing is acknowledged */
        node *run;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        if (rt.version < 7) CHECK(propose_value(run, "v"));
        note_ack(1); feed();
        CHECK_ERROR(571, "");
        rt.ignore_output = true;
    }
}

TEST(s095_full_completion_in_7) {
    EVERY(7, 7) {
        node *run;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "mine"));
        note_value(N_RUN, 1, "stored");
        AWAIT(run, "ANY");
        VALUE(run, "\"stored\"");
        OUT("Run 1 \"r\"", "Propose 1 value \"mine\" ack");
    }
}

TEST(s096_three_runs) {
    EVERY(5, 7) {
        node *a, *b, *c, *all;
        given(1); go();
        a = op_run("a"), b = op_run("b"), c = op_run("c");
        all = ALL_SETTLED(b, RACE(c), a);
        AWAIT(all, "RUN 2");
        AWAIT(all, "RUN 3");
        AWAIT(all, "RUN 1");
        AWAIT(all, "WAIT(i,r)");
        OUT("Run 1 \"a\"", "Run 2 \"b\"", "Run 3 \"c\"");
    }
}

TEST(s097_run_beside_a_sleep) {
    for (int closed = 0; closed < 2; closed++)
        EVERY(5, 7) {
            node *run, *sleep;
            given(1); go();
            run = op_run("r");
            sleep = op_sleep("", 0);
            AWAIT(run, "RUN 1");
            if (closed) eof();
            AWAIT(sleep, closed ? "WAIT(r)" : "WAIT(i,r)");
            OUT("Run 1 \"r\"", "Sleep 2");
            CHECK(propose_value(run, "v"));
            AWAIT(sleep, closed ? "599" : "WAIT(i)");
            OUT(rt.version < 7 ? "Propose 1 value \"v\"" : "Propose 1 value \"v\" ack",
                closed ? "Suspension W{c:2,s:1}" : "AwaitingOn W{c:2,s:1}");
        }
}

TEST(s098_propose_in_the_replay) {
    EVERY(5, 7) {
        node *run;
        given(3); cmd_run(1, "r"); cmd_sleep(2, "", 0); go();
        run = op_run("r");
        CHECK(propose_value(run, "v"));
        OUT_NOTHING();
        op_sleep("", 0);
        AWAIT(run, "RUN 1");
        CHECK(propose_value(run, "v"));
        OUT("Propose 1 value \"v\" ack");
    }
}

/* ---- Retry policies ------------------------------------------------------------------------- */

static restate__policy attempts(restate__policy p, unsigned max) {
    p.has_max_attempts = true;
    p.max_attempts = max;
    return p;
}

/* A run that was recorded as the last command, or is new (`fresh`), fails after `duration`; Start told
 * `retries` and `stored`. */
static void failing(bool fresh, restate__policy policy, unsigned retries, uint64_t stored, uint64_t duration, bool ok) {
    node *run;
    rt.policy = policy;
    start(fresh ? 1 : 2, .retries = retries, .duration_ms = stored); input("");
    if (!fresh) cmd_run(1, "my-run");
    go();
    run = op_run("my-run");
    AWAIT(run, "RUN 1");
    CHECK_INT(propose_error(run, duration), ok);
    if (!ok) CHECK_ERROR(500, "my-error");
}
#define GIVE_UP "Propose 1 failure 500 \"my-error\" ack"

TEST(s099_exhausted) {
    static const unsigned cases[][2] = { { 0, 0 }, { 0, 1 }, { 1, 2 }, { 2, 2 }, { 2, 1 }, { 2, 0 }, { 99, 100 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EVERY(5, 7) {
            failing(false, attempts(exponential(1000, 1), cases[i][1]), cases[i][0], 0, 0, true);
            OUT(GIVE_UP);
        }
}

#define RETRY(delay) "Error 500 index:1 Run \"my-run\" delay:" #delay " message:\"my-error\""

TEST(s100_not_exhausted) {
    static const unsigned cases[][2] = { { 0, 2 }, { 1, 3 }, { 99, 101 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        EVERY(5, 7) { failing(true, attempts(exponential(1000, 1), cases[i][1]), cases[i][0], 0, 0, false); OUT("Run 1 \"my-run\"", RETRY(1000)); }
        EVERY(5, 7) { failing(false, attempts(exponential(1000, 1), cases[i][1]), cases[i][0], 0, 0, false); OUT(RETRY(1000)); }
    }
}

TEST(s101_counts_of_start) {
    EVERY(5, 7) { failing(false, exponential(100, 2), 3, 0, 0, false); OUT(RETRY(800)); }
    EVERY(5, 7) { failing(true, exponential(100, 2), 3, 0, 0, false); OUT("Run 1 \"my-run\"", RETRY(100)); }
    EVERY(5, 7) {
        node *run;
        rt.policy = exponential(100, 2);
        start(2, .retries = 3); input(""); cmd_run(1, "my-run"); go();
        run = op_run("my-run");
        AWAIT(run, "RUN 1");
        CHECK(op_set("k", "v"));
        CHECK(!propose_error(run, 0));
        OUT("SetState \"k\" value \"v\"", RETRY(100));
    }
}

static restate__policy lasting(restate__policy p, uint64_t max_ms) {
    p.has_max_duration = true;
    p.max_duration_ms = max_ms;
    return p;
}

TEST(s102_backoff) {
    restate__policy p = lasting(exponential(100, 2), 10000);
    p.max_interval_ms = 500;
    EVERY(5, 7) { failing(false, p, 1, 0, 1000, false); OUT(RETRY(200)); }
    EVERY(5, 7) { failing(false, p, 2, 0, 1000, false); OUT(RETRY(400)); }
    EVERY(5, 7) { failing(false, p, 3, 0, 1000, false); OUT(RETRY(500)); }
    EVERY(5, 7) { failing(false, p, 3, 0, 10000, true); OUT(GIVE_UP); }
    EVERY(5, 7) { failing(false, p, 3, 9000, 1000, true); OUT(GIVE_UP); }
}

static restate__policy fixed(uint64_t interval_ms) {
    return exponential(interval_ms, 1);
}

TEST(s103_max_duration) {
    EVERY(5, 7) { failing(false, lasting(fixed(5), 1000), 0, 0, 1000, true); OUT(GIVE_UP); }
    EVERY(5, 7) { failing(false, lasting(fixed(5), 2000), 1, 1000, 1000, true); OUT(GIVE_UP); }
    EVERY(5, 7) { failing(false, lasting(fixed(5), 2001), 1, 1000, 1000, false); OUT(RETRY(5)); }
    EVERY(5, 7) { failing(false, lasting(fixed(5), 2000), 0, 990000, 1000, false); OUT(RETRY(5)); }
}
#define RETRY_PLAIN "Error 500 index:1 Run \"my-run\" message:\"my-error\""

TEST(s104_infinite_and_none) {
    restate__policy p;
    memset(&p, 0, sizeof p);
    EVERY(5, 7) { failing(false, p, 7, 7, 7, false); OUT(RETRY_PLAIN); }
    EVERY(5, 7) { failing(false, attempts(fixed(5), 1), 0, 0, 0, true); OUT(GIVE_UP); }
}

TEST(s105_counters_start_from_zero) {
    EVERY(5, 7) {
        node *run;
        rt.policy = lasting(attempts(fixed(1000), 2), 100);
        start(1, .retries = 10, .duration_ms = 10000); input(""); go();
        op_sleep("", 0);
        AWAIT((run = op_run("my-run")), "RUN 2");
        CHECK(!propose_error(run, 99));
        OUT("Sleep 1", "Run 2 \"my-run\"", "Error 500 index:2 Run \"my-run\" delay:1000 message:\"my-error\"...");
    }
}

static restate__policy pausing(restate__policy p) {
    p.pause = true;
    return p;
}
#define PAUSE "Error 500 index:1 Run \"my-run\" behavior:1 message:\"my-error\""

TEST(s106_pause_when_exhausted) {
    EVERY(7, 7) { failing(false, pausing(attempts(fixed(1000), 2)), 1, 0, 0, false); OUT(PAUSE); }
    EVERY(7, 7) { failing(false, pausing(lasting(fixed(1000), 100)), 0, 0, 100, false); OUT(PAUSE); }
    EVERY(7, 7) { failing(false, pausing(attempts(exponential(1000, 2), 0)), 0, 0, 0, false); OUT(PAUSE); }
    EVERY(7, 7) { failing(false, pausing(attempts(fixed(1000), 2)), 0, 0, 0, false); OUT(RETRY(1000)); }
    for (int i = 0; i < 3; i++)                             /* before 7, whatever the outcome */
        EVERY(5, 6) {
            node *run;
            rt.policy = pausing(attempts(fixed(1), 9));
            given(1); go();
            AWAIT((run = op_run("r")), "RUN 1");
            CHECK(!(i == 0 ? propose_error(run, 0) : i == 1 ? propose_value(run, "v") : propose_failure(run, rt_failure(1, ""))));
            CHECK_ERROR(573, "");
            OUT("Run 1 \"r\"", "Error 573...");
        }
}

TEST(s107_two_runs_one_error) {
    EVERY(5, 7) {
        node *a, *b, *all;
        given(1); go();
        a = op_run("a"), b = op_run("b");
        all = ALL(a, b);
        AWAIT(all, "RUN 1");
        AWAIT(all, "RUN 2");
        CHECK(!propose_error(a, 0));
        CHECK_ERROR(500, "my-error");
        CHECK(!propose_value(b, "v"));
        CHECK_ERROR(500, "my-error");
        OUT("Run 1 \"a\"", "Run 2 \"b\"", "Error 500 index:1 Run \"a\" message:\"my-error\"...");
    }
}

TEST(x_policy_limits) {
    EVERY(5, 7) { failing(false, fixed(0), 5, 0, 0, false); OUT(RETRY(0)); }
    EVERY(5, 7) { failing(false, exponential(1, 1e300), 5, 0, 0, false); OUT("Error 500 index:1 Run \"my-run\" delay:..."); }
    EVERY(5, 7) { failing(false, exponential(1000, 2), 4000000000u, 0, 0, false); OUT("Error 500 index:1 Run \"my-run\" delay:..."); }
    EVERY(5, 7) { failing(false, exponential(UINT64_MAX, 2), 3, 0, 0, false); OUT("Error 500 index:1 Run \"my-run\" delay:..."); }
    EVERY(5, 7) { failing(false, attempts(fixed(1), UINT32_MAX), UINT32_MAX, 0, 0, true); OUT(GIVE_UP); }
    EVERY(5, 7) { failing(false, lasting(fixed(1), UINT64_MAX), 1, UINT64_MAX, 5, true); OUT(GIVE_UP); }
    EVERY(5, 7) { failing(false, exponential(100, 1.5), 3, 0, 0, false); OUT(RETRY(337)); }
}

TEST(x_own_delay_wins) {
    EVERY(5, 7) {
        node *run;
        restate__outcome o;
        memset(&o, 0, sizeof o);
        o.kind = RESTATE__RETRYABLE;
        o.error.code = 503;
        o.error.message = "later";
        o.error.has_delay = true;
        o.error.delay_ms = 77;
        rt.policy = fixed(1000);
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(!rt_propose(run, &o));
        OUT("Run 1 \"r\"", "Error 503 index:1 Run \"r\" delay:77 message:\"later\"");
    }
}

TEST(x_run_error_asks_for_pause) {
    EVERY(5, 7) {
        node *run;
        restate__outcome o;
        memset(&o, 0, sizeof o);
        o.kind = RESTATE__RETRYABLE;
        o.error.code = 500;
        o.error.message = "stop";
        o.error.behavior = RESTATE__PAUSE;
        rt.policy = fixed(1000);
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(!rt_propose(run, &o));
        OUT("Run 1 \"r\"", rt.version == 7 ? "Error 500 index:1 Run \"r\" behavior:1 message:\"stop\"" : "Error 573...");
    }
}

TEST(x_counters_survive_proposals_and_awakeables) {
    EVERY(5, 7) {
        node *a, *b;
        rt.policy = exponential(100, 2);
        start(3, .retries = 3); input(""); cmd_run(1, "a"); cmd_run(2, "b"); go();
        a = op_run("a"), b = op_run("b");
        op_awakeable();
        op_signal("s");
        AWAIT(a, "RUN 1");
        AWAIT(b, "RUN 2");
        CHECK(propose_value(a, "v"));
        CHECK(!propose_error(b, 0));
        OUT("Propose 1 value \"v\" ack", "Error 500 index:2 Run \"b\" delay:800 message:...");
    }
}

/* ---- More of runs --------------------------------------------------------------------------- */

TEST(x_position_of_the_ack_decides) {
    for (int sleep_first = 0; sleep_first < 2; sleep_first++)
        EVERY(5, 7) {
            node *run, *sleep, *race;
            given(1); go();
            run = op_run("r");
            sleep = op_sleep("", 0);
            race = RACE(run, sleep);
            AWAIT(race, "RUN 1");
            CHECK(propose_value(run, "v"));
            if (sleep_first) note_sleep(2);
            if (rt.version == 7) note_ack(1);
            else note_value(N_RUN, 1, "v");
            if (!sleep_first) note_sleep(2);
            AWAIT(race, "ANY");
            CHECK_INT(completed(run), !sleep_first);
            CHECK_INT(completed(sleep), sleep_first);
            OUT("Run 1 \"r\"", "Sleep 2", "Propose 1 value \"v\" ack");
        }
}

TEST(x_acks_in_another_order) {
    EVERY(7, 7) {
        node *a, *b, *all;
        given(1); go();
        a = op_run("a"), b = op_run("b");
        all = ALL(a, b);
        AWAIT(all, "RUN 1");
        AWAIT(all, "RUN 2");
        CHECK(propose_value(b, "B"));
        AWAIT(all, "WAIT(i,r)");
        CHECK(propose_value(a, "A"));
        note_ack(2);
        AWAIT(all, "WAIT(i)");
        note_ack(1);
        AWAIT(all, "ANY");
        VALUE(a, "\"A\"");
        VALUE(b, "\"B\"");
        OUT("Run 1 \"a\"", "Run 2 \"b\"", "Propose 2 value \"B\" ack", "Propose 1 value \"A\" ack",
            "AwaitingOn W{s:1,N:[ALL_SUCCEEDED{c:1}]}");
    }
}

TEST(x_run_not_awaited_is_not_executed) {
    EVERY(5, 7) {
        node *sleep;
        given(1); note_sleep(2); go();
        op_run("r");
        sleep = op_sleep("", 0);
        AWAIT(sleep, "ANY");
        CHECK(op_output("") && op_end());
        OUT("Run 1 \"r\"", "Sleep 2", "Output value \"\"", "End");
    }
}

TEST(x_settled_race_does_not_execute) {
    EVERY(5, 7) {
        node *run, *sleep;
        given(1); note_sleep(2); go();
        run = op_run("r");
        sleep = op_sleep("", 0);
        AWAIT(RACE(run, sleep), "ANY");
        AWAIT(ALL_SETTLED(sleep, RACE(sleep, run)), "ANY");
        OUT("Run 1 \"r\"", "Sleep 2");
    }
}

TEST(x_same_run_twice_in_a_tree) {
    EVERY(5, 7) {
        node *run, *all;
        given(1); go();
        run = op_run("r");
        all = ALL(run, RACE(run), run);
        AWAIT(all, "RUN 1");
        AWAIT(all, "WAIT(i,r)");
        AWAIT(run, "WAIT(i,r)");
        CHECK(propose_value(run, "v"));
        if (rt.version == 7) note_ack(1);
        else note_value(N_RUN, 1, "v");
        AWAIT(all, "ANY");
        AWAIT(all, "ANY");
        CHECK_INT(all->state, RESTATE__SUCCEEDED);
        OUT("Run 1 \"r\"", "Propose 1 value \"v\" ack");
    }
}

TEST(x_proposed_value_is_copied) {
    EVERY(7, 7) {
        char value[] = "value", message[] = "message";
        node *a, *b, *all;
        given(1); go();
        a = op_run("a"), b = op_run("b");
        all = ALL_SETTLED(a, b);
        AWAIT(all, "RUN 1");
        AWAIT(all, "RUN 2");
        CHECK(propose_value(a, value) && propose_failure(b, rt_failure(400, message)));
        memset(value, 'x', 5);
        memset(message, 'x', 7);
        note_ack(1); note_ack(2);
        AWAIT(all, "ANY");
        VALUE(a, "\"value\"");
        VALUE(b, "failure 400 \"message\"");
        rt.ignore_output = true;
    }
}

/* What is awaited is said while only input is waited for. */
TEST(x_awaiting_on_beside_a_run) {
    EVERY(7, 7) {
        node *run, *sleep;
        given(1); go();
        run = op_run("r");
        sleep = op_sleep("", 0);
        AWAIT(run, "RUN 1");
        AWAIT(run, "WAIT(i,r)");
        AWAIT(sleep, "WAIT(i,r)");
        CHECK(propose_value(run, "v"));
        AWAIT(run, "WAIT(i)");
        OUT("Run 1 \"r\"", "Sleep 2", "Propose 1 value \"v\" ack", "AwaitingOn W{c:1,s:1}");
    }
}

TEST(x_awaiting_on_again_after_input) {
    EVERY(7, 7) {
        node *sleep;
        given(1); go();
        sleep = op_sleep("", 0);
        AWAIT(sleep, "WAIT(i)");
        note_named("other", "v");
        AWAIT(sleep, "WAIT(i)");
        CHECK(op_set("k", "v"));
        AWAIT(sleep, "WAIT(i)");
        OUT("Sleep 1", "AwaitingOn W{c:1,s:1}", "AwaitingOn W{c:1,s:1}", "SetState \"k\" value \"v\"", "AwaitingOn W{c:1,s:1}");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s084_run), T(s085_run_acknowledged), T(s086_run_before_7), T(s087_run_fails),
        T(s088_input_ends_while_executing), T(s089_run_recorded_without_result),
        T(s090_run_raced_in_the_replay), T(s091_run_replayed), T(s092_run_replayed_later),
        T(s093_error_after_run), T(s094_bad_acks), T(s095_full_completion_in_7), T(s096_three_runs),
        T(s097_run_beside_a_sleep), T(s098_propose_in_the_replay), T(s099_exhausted),
        T(s100_not_exhausted), T(s101_counts_of_start), T(s102_backoff), T(s103_max_duration),
        T(s104_infinite_and_none), T(s105_counters_start_from_zero), T(s106_pause_when_exhausted),
        T(s107_two_runs_one_error), T(x_policy_limits), T(x_own_delay_wins),
        T(x_run_error_asks_for_pause), T(x_counters_survive_proposals_and_awakeables),
        T(x_position_of_the_ack_decides), T(x_acks_in_another_order),
        T(x_run_not_awaited_is_not_executed), T(x_settled_race_does_not_execute),
        T(x_same_run_twice_in_a_tree), T(x_proposed_value_is_copied), T(x_awaiting_on_beside_a_run),
        T(x_awaiting_on_again_after_input),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
