/* The state machine: the first result wins, for every kind of future and in every order of arrival. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "runtime.h"

static void given(unsigned known) {
    start(known);
    input("my-data");
}

/* ---- Every kind of future ------------------------------------------------------------------------- */

typedef enum kind {
    SLEEP, PROMISE, PEEK, COMPLETE, CALL, CALL_ID, SEND_ID, ATTACH, OUTPUT, STATE, KEYS, RUN, AWAKEABLE, KINDS
} kind;

static const struct { unsigned type, id; bool fails; } kinds[KINDS] = {
    { N_SLEEP, 1, false }, { N_GET_PROMISE, 1, true }, { N_PEEK_PROMISE, 1, true }, { N_COMPLETE_PROMISE, 1, true },
    { N_CALL, 2, true }, { N_CALL_ID, 1, false }, { N_CALL_ID, 1, false }, { N_ATTACH, 1, true }, { N_GET_OUTPUT, 1, true },
    { N_GET_LAZY, 1, true }, { N_GET_LAZY_KEYS, 1, false }, { N_RUN, 1, true }, { N_SIGNAL, 17, true }
};

static node *ask(kind k) {
    switch (k) {
    case SLEEP: return op_sleep("", 1);
    case PROMISE: return op_get_promise("p");
    case PEEK: return op_peek_promise("p");
    case COMPLETE: return op_complete_promise("p", "v", false);
    case CALL: return op_call(.parameter = rt_b("x")).result;
    case CALL_ID: return op_call(.parameter = rt_b("x")).id;
    case SEND_ID: return op_send(.parameter = rt_b("x"));
    case ATTACH: return op_attach((restate__vm_target){ .kind = RESTATE__BY_ID, .id = "inv" });
    case OUTPUT: return op_get_output((restate__vm_target){ .kind = RESTATE__BY_ID, .id = "inv" });
    case STATE: return op_get("key");
    case KEYS: return op_get_keys();
    case RUN: return op_run("r");
    default: return op_awakeable();
    }
}

static void recorded(kind k) {                              /* its command, as an earlier attempt issued it */
    switch (k) {
    case SLEEP: cmd_sleep(1, "", 1); break;
    case PROMISE: cmd_get_promise(1, "p"); break;
    case PEEK: cmd_peek_promise(1, "p"); break;
    case COMPLETE: frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "v", 1); break;
    case CALL: case CALL_ID: cmd_call(1, "x"); break;
    case SEND_ID: cmd_send(1, "x"); break;
    case ATTACH: frame(M_ATTACH, "1s 11u", "inv", 1); break;
    case OUTPUT: frame(M_GET_OUTPUT, "1s 11u", "inv", 1); break;
    case STATE: cmd_get_lazy(1, "key"); break;
    case KEYS: cmd_get_lazy_keys(1); break;
    case RUN: cmd_run(1, "r"); break;
    default: cmd_clear("c"); break;                         /* awakeables are not recorded */
    }
}

/* A result that says `text`; `failure`: where the kind can fail, a failure that says so. */
static void answer(kind k, const char *text, bool failure) {
    unsigned type = kinds[k].type, id = kinds[k].id;
    if (k == SLEEP) note_sleep(id);
    else if (type == N_CALL_ID) note_id(id, text);
    else if (k == KEYS) frame(type, "1u 17(1s)", id, text);
    else if (k == AWAKEABLE && failure) note_signal_failure(id, 400, text);
    else if (k == AWAKEABLE) note_signal(id, text);
    else if (failure) note_failure(type, id, 400, text);
    else note_value(type, id, text);
}

static const char *expected(kind k, const char *text, bool failure) {
    static char said[64];
    const char *format = k == SLEEP ? "void" : kinds[k].type == N_CALL_ID ? "id \"%s\"" : k == KEYS ? "[%s]"
                       : failure ? "failure 400 \"%s\"" : "\"%s\"";
    snprintf(said, sizeof said, format, text);
    return said;
}

/* When the two results come. */
typedef enum when {
    BEFORE_THE_QUESTION,                                    /* both in the journal, nobody has asked */
    WITH_ANOTHER_AWAIT,                                     /* both delivered by an await of something else */
    BEFORE_THE_AWAIT,                                       /* both arrived and not delivered */
    AROUND_THE_AWAIT,                                       /* the second when the first was awaited */
    AFTER_ALL_IS_OVER,                                      /* the second by an await of something else */
    WHENS
} when;

/* What a reader sees at each point of an order. */
static void twice(kind k, when w, bool first_fails, bool second_fails, bool replay) {
    node *leaf, *other, *all, *race;
    bool early = w == BEFORE_THE_QUESTION || w == WITH_ANOTHER_AWAIT;
    char want[64];
    snprintf(want, sizeof want, "%s", expected(k, "one", first_fails));
    rt.ignore_output = true;
    given(replay ? 4 + (early || w == BEFORE_THE_AWAIT ? 2 : 0) : 1);
    if (replay) recorded(k);
    if (replay) cmd_sleep(kinds[k].id == 17 ? 1 : k == CALL || k == CALL_ID ? 3 : 2, "", 9), cmd_clear("end");
    if (early || (replay && w == BEFORE_THE_AWAIT)) answer(k, "one", first_fails), answer(k, "two", second_fails);
    go();
    leaf = ask(k);
    if (k == AWAKEABLE && replay) op_clear("c");
    CHECK(leaf->state == RESTATE__PENDING);
    other = op_sleep("", 9);
    if (replay) CHECK(op_clear("end"));
    all = ALL(leaf, other);
    race = RACE(leaf, other);
    if (w == WITH_ANOTHER_AWAIT) {
        note_sleep(other->id);
        AWAIT(other, "ANY");
        VALUE(leaf, want);
    }
    if (!early && !(replay && w == BEFORE_THE_AWAIT)) {
        answer(k, "one", first_fails);
        if (w == BEFORE_THE_AWAIT) answer(k, "two", second_fails);
    }
    AWAIT(leaf, "ANY");
    VALUE(leaf, want);
    CHECK_INT(race->state, first_fails ? RESTATE__FAILED : RESTATE__SUCCEEDED);
    if (w == AROUND_THE_AWAIT) {
        answer(k, "two", second_fails);
        AWAIT(leaf, "ANY");
        VALUE(leaf, want);
    }
    if (w == AFTER_ALL_IS_OVER) answer(k, "two", second_fails);
    if (w != WITH_ANOTHER_AWAIT) note_sleep(other->id);
    AWAIT(other, "ANY");
    AWAIT(leaf, "ANY");
    VALUE(leaf, want);
    CHECK_INT(leaf->state, first_fails ? RESTATE__FAILED : RESTATE__SUCCEEDED);
    CHECK_INT(all->state, first_fails ? RESTATE__FAILED : RESTATE__SUCCEEDED);
    CHECK(race->of.all.decided == leaf);
    CHECK_INT(vm()->phase, RESTATE__PROCESSING);            /* no order is an error */
}

TEST(the_first_result_wins) {
    for (int replay = 0; replay < 2; replay++)
        for (int k = 0; k < KINDS; k++)
            for (int w = 0; w < WHENS; w++)
                for (int f = 0; f < (kinds[k].fails ? 4 : 1); f++)
                    EVERY(5, 7) {
                        char note[160];
                        snprintf(note, sizeof note, "(kind %d, order %d, failures %d, replay %d) %s", k, w, f, replay, rt_where);
                        test_note = note;
                        twice((kind)k, (when)w, f & 1, f & 2, replay);
                    }
}

/* A second result of another kind than what was asked for is dropped like any other. */
TEST(a_second_result_of_a_wrong_kind) {
    EVERY(5, 7) {
        node *id, *state;
        rt.ignore_output = true;
        given(1); note_id(1, "one"); note_value(N_CALL_ID, 1, "two"); go();
        id = op_call(.parameter = rt_b("x")).id;
        AWAIT(id, "ANY");
        VALUE(id, "id \"one\"");
        state = op_get("key");
        note_value(N_GET_LAZY, 3, "one");
        AWAIT(state, "ANY");
        note_id(3, "two");
        AWAIT(op_sleep("", 1), "WAIT(i)");
        VALUE(state, "\"one\"");
    }
}

/* What this attempt answered by itself is not replaced either. */
TEST(an_eager_read_stays) {
    EVERY(5, 7) {
        node *state;
        rt.ignore_output = true;
        start(1, .state = "key=mine"); input(""); note_value(N_GET_LAZY, 1, "theirs"); go();
        state = op_get("key");
        note_value(N_GET_LAZY, 1, "later");
        AWAIT(op_sleep("", 1), "WAIT(i)");
        AWAIT(state, "ANY");
        VALUE(state, "\"mine\"");
    }
}

/* ---- Runs ----------------------------------------------------------------------------------------- */

TEST(a_result_beside_the_proposed_one) {
    EVERY(7, 7) {                                           /* theirs before the acknowledgement */
        node *run;
        rt.ignore_output = true;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "mine"));
        note_value(N_RUN, 1, "theirs"); note_ack(1);
        AWAIT(run, "ANY");
        VALUE(run, "\"theirs\"");
        restate__vm_forget(vm(), run);                      /* as a call that waited does */
        AWAIT(op_sleep("", 1), "WAIT(i)");                  /* the acknowledgement is no error */
        note_ack(1);
        AWAIT(op_sleep("", 1), "571");
    }
    EVERY(7, 7) {                                           /* the same, the leaf gone when it comes */
        node *run;
        rt.ignore_output = true;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "mine"));
        note_value(N_RUN, 1, "theirs");
        AWAIT(run, "ANY");
        restate__vm_forget(vm(), run);
        memset(run, 0xff, sizeof *run);
        note_ack(1);
        AWAIT(op_sleep("", 1), "WAIT(i)");
        note_ack(1);
        AWAIT(op_sleep("", 1), "571");
    }
    EVERY(7, 7) {                                           /* theirs after it */
        node *run;
        rt.ignore_output = true;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "mine"));
        note_ack(1); note_value(N_RUN, 1, "theirs");
        AWAIT(run, "ANY");
        VALUE(run, "\"mine\"");
        AWAIT(op_sleep("", 1), "WAIT(i)");
        VALUE(run, "\"mine\"");
    }
}

/* A closure that finishes when its result is there has nothing to say, be it a failed try. */
TEST(a_result_before_the_closure_has_finished) {
    for (int delivered = 0; delivered < 2; delivered++)
        for (int outcome = 0; outcome < 3; outcome++)
            EVERY(5, 7) {
                node *run;
                given(1); go();
                AWAIT((run = op_run("r")), "RUN 1");
                note_value(N_RUN, 1, "theirs"); feed();
                if (delivered) AWAIT(run, "ANY");
                CHECK(outcome == 0 ? propose_value(run, "mine")
                      : outcome == 1 ? propose_failure(run, rt_failure(400, "mine")) : propose_error(run, 1));
                AWAIT(run, "ANY");
                VALUE(run, "\"theirs\"");
                OUT("Run 1 \"r\"");
            }
}

/* ---- Signals: each counts --------------------------------------------------------------------------- */

TEST(named_signals_queue) {
    for (int failure = 0; failure < 2; failure++)
        EVERY(5, 7) {
            node *leaf, *all;
            given(1); note_named("n", "1");
            if (failure) frame(N_SIGNAL, "3s 6(1u 2s)", "n", 400, "2");
            else note_named("n", "2");
            note_signal(17, "other"); note_named("n", "3"); go();
            AWAIT(op_awakeable(), "ANY");
            AWAIT((leaf = op_signal("n")), "ANY");
            VALUE(leaf, "\"1\"");
            AWAIT((leaf = op_signal("n")), "ANY");
            VALUE(leaf, failure ? "failure 400 \"2\"" : "\"2\"");
            all = ALL(op_signal("n"), op_awakeable());
            AWAIT(all, "WAIT(i)");
            note_named("n", "4"); note_signal(18, "");
            AWAIT(all, "ANY");
            AWAIT((leaf = op_signal("n")), "ANY");
            VALUE(leaf, "\"4\"");
            OUT("? AwaitingOn W{s:1,N:[ALL_SUCCEEDED{s:18}]}");
        }
}

TEST(cancellations_queue) {
    EVERY(5, 7) {                                           /* both delivered while an id is waited for */
        node *wait;
        given(1); note_cancel(); note_cancel(); go();
        op_call(.parameter = rt_b("x"));
        wait = op_awakeable();
        AWAIT(wait, "WAIT(i)");
        note_id(1, "inv_x");
        AWAIT(wait, "CXL");
        AWAIT(wait, "CXL");
        AWAIT(wait, "WAIT(i)");
        CHECK_INT(vm()->cancel_arrived, 0);
        OUT("Call 1 2 \"Greeter\" \"greet\" parameter:\"x\"", "? AwaitingOn W{c:1}", "SendSignal \"inv_x\" index:1 void", "? AwaitingOn W{s:17,1}");
    }
    EVERY(5, 7) {                                           /* one before, two after the id */
        node *wait;
        rt.ignore_output = true;
        given(1); note_cancel(); note_id(1, "inv_x"); note_cancel(); note_cancel(); go();
        op_call(.parameter = rt_b("x"));
        wait = op_awakeable();
        for (int i = 0; i < 3; i++) AWAIT(wait, "CXL");
        AWAIT(wait, "WAIT(i)");
    }
    EVERY(5, 7) {                                           /* explicit: one future takes one */
        node *other, *first, *second, *third;
        rt.options.explicit_cancellation = true;
        rt.ignore_output = true;
        given(1); note_cancel(); note_cancel(); note_signal(17, "x"); go();
        AWAIT((other = op_awakeable()), "ANY");
        AWAIT((first = op_cancellation()), "ANY");
        AWAIT((second = op_cancellation()), "ANY");
        VALUE(first, "void");
        VALUE(second, "void");
        AWAIT((third = op_cancellation()), "WAIT(i)");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(the_first_result_wins), T(a_second_result_of_a_wrong_kind), T(an_eager_read_stays),
        T(a_result_beside_the_proposed_one), T(a_result_before_the_closure_has_finished), T(named_signals_queue),
        T(cancellations_queue), { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
