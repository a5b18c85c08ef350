/* Section >>context: runs: closures, their retries, the pool's threads, their time. */
/* Has threads: runs with ThreadSanitizer, too. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/closure.c"
#include "support/operations.c"

/* ---- Runs ----------------------------------------------------------------------------------- */

static const char *to_run;                  /* what the closure does */
static restate_run_options run_options;

static restate_status runs(restate_ctx *ctx, restate_bytes in) {
    restate_bytes result = text("before");
    restate_status s;
    (void)in;
    s = restate_run(ctx, "step", closure, (void *)(uintptr_t)to_run, &run_options, &result);
    say(ctx, s, result);
    return s;
}

static const char *with_inline(int on) {
    memset(&run_options, 0, sizeof run_options);
    run_options.inline_ok = on;
    return "";
}

TEST(run_result) {
    for (int on = 0; on < 2; on++) {
        with_inline(on);
        to_run = "value";
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 value \"result\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored(1, "result"); give();
            TOLD("value ok(result) ");
            SAYS(EMPTY_OUTPUT);
        }
        to_run = "nothing";
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 value \"\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored(1, ""); give();
            TOLD("nothing ok() ");
            SAYS(EMPTY_OUTPUT);
        }
        to_run = "memory";
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 value \"{\"n\": 5, \"s\": \"6\"}\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored(1, "x"); give();
            LOG("INFO from a closure\n");
            TOLD(ex.version == 7 ? "memory ok({\"n\": 5, \"s\": \"6\"}) " : "memory ok(x) ");
            SAYS(EMPTY_OUTPUT);
        }
        EACH(RESTATE_SERVICE, .fn = runs) { /* suspends only after the closure */
            begins(); give_and_end();
            SAYS("Run 1 \"step\"", "Propose 1 value \"{\"n\": 5, \"s\": \"6\"}\" ack", "Suspension W{c:1,s:1}");
            TOLD("memory ended ");
            LOG("INFO from a closure\n");
        }
        EACH(RESTATE_SERVICE, .fn = runs) { /* replayed: not executed */
            start(3); input("in"); cmd_run(1, "step"); note_value(N_RUN, 1, "old"); give();
            TOLD("ok(old) ");
            SAYS(EMPTY_OUTPUT);
        }
        EACH(RESTATE_SERVICE, .fn = runs) {
            start(3); input("in"); cmd_run(1, "step"); note_failure(N_RUN, 1, 410, "old"); give();
            TOLD("terminal(410 old) ");
            SAYS("Output failure 410 \"old\"", "End");
        }
        EACH(RESTATE_SERVICE, .fn = runs) { /* void is recorded: there are no bytes */
            start(3); input("in"); cmd_run(1, "step"); note_void(N_RUN, 1); give();
            TOLD("ok(-) ");
            SAYS(EMPTY_OUTPUT);
        }
    }
}

static void run_stored_failure(unsigned id, unsigned code, const char *message) {
    if (ex.version == 7) note_ack(id);
    else note_failure(N_RUN, id, code, message);
}

TEST(run_fails) {
    for (int on = 0; on < 2; on++) {
        with_inline(on);
        to_run = "fail";
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 failure 409 \"conflict 7\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored_failure(1, 409, "conflict 7"); give();
            TOLD("fail terminal(409 conflict 7) ");
            SAYS("Output failure 409 \"conflict 7\"", "End");
        }
        to_run = "terminal";                /* without saying why */
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 failure 500...", "AwaitingOn W{c:1,s:1}");
            TOLD("terminal ");
        }
    }
}

TEST(run_is_retried) {
    static const struct { const char *what, *line; } cases[] = {
        { "retry", "Error 500 index:1 Run \"step\" message:\"not yet\"" },
        { "delay", "Error 503 index:1 Run \"step\" delay:2500 message:\"busy\"" },
        { "ended", "Error 500 index:1 Run \"step\" message:\"the closure returned RESTATE_ENDED, but called restate_retry() nowhere\"" },
        { "odd", "Error 500 index:1 Run \"step\" message:\"the closure returned 77, which is no restate_status\"" },
        { "retry, then ok", "Error 500 index:1 Run \"step\" message:\"sticky\"" }
    };
    for (int i = 0; i < 10; i++) {
        with_inline(i % 2);
        to_run = cases[i / 2].what;
        EACH(RESTATE_SERVICE, .fn = runs) {
            char told[64];
            STARTED();
            SAYS("Run 1 \"step\"", cases[i / 2].line);
            snprintf(told, sizeof told, "%s ended ", to_run);
            TOLD(told);
            LOG_HAS("WARN the attempt failed with ");
        }
    }
}

TEST(run_policy) {
    with_inline(1);
    to_run = "retry";
    run_options.retry.max_attempts = 3;
    run_options.retry.initial_interval_ms = 100;
    EACH(RESTATE_SERVICE, .fn = runs) {
        STARTED();
        SAYS("Run 1 \"step\"", "Error 500 index:1 Run \"step\" delay:100 message:\"not yet\"");
        invoke();
        start(2, .retries = 1); input("in"); cmd_run(1, "step"); give();
        SAYS("Error 500 index:1 Run \"step\" delay:200 message:\"not yet\"");
        TOLD("retry ended retry ended ");
        invoke();
        start(2, .retries = 2); input("in"); cmd_run(1, "step"); give();
        SAYS("Propose 1 failure 500 \"not yet\" ack", "AwaitingOn W{c:1,s:1}");
        run_stored_failure(1, 500, "not yet"); give();
        TOLD("retry terminal(500 not yet) ");
        SAYS("Output failure 500 \"not yet\"", "End");
        LOG_HAS("WARN");
    }
    to_run = "delay";                       /* the delay of the closure wins over the policy's */
    EACH(RESTATE_SERVICE, .fn = runs) {
        STARTED();
        SAYS("Run 1 \"step\"", "Error 503 index:1 Run \"step\" delay:2500 message:\"busy\"");
        TOLD("delay ended ");
        LOG_HAS("WARN");
    }
    to_run = "retry";
    run_options.retry.max_attempts = 1;
    EACH(RESTATE_SERVICE, .fn = runs) {
        STARTED();
        SAYS("Run 1 \"step\"", "Propose 1 failure 500 \"not yet\" ack", "AwaitingOn W{c:1,s:1}");
        TOLD("retry ");
    }
    run_options.retry.when_exhausted = RESTATE_EXHAUSTED_PAUSE;
    EACH(RESTATE_SERVICE, .fn = runs) {
        STARTED();
        if (ex.version < 7) SAYS("Error 573...");       /* before it is executed in vain */
        else SAYS("Run 1 \"step\"", "Error 500 index:1 Run \"step\" behavior:1 message:\"not yet\"");
        TOLD(ex.version < 7 ? "ended " : "retry ended ");
        LOG_HAS("WARN");
    }
    with_inline(1);                         /* of the handler; its own would win */
    EACH(RESTATE_SERVICE, .fn = runs, .options = { .run_retry = { .max_attempts = 1 } }) {
        STARTED();
        SAYS("Run 1 \"step\"", "Propose 1 failure 500 \"not yet\" ack", "AwaitingOn W{c:1,s:1}");
        TOLD("retry ");
    }
    run_options.retry.max_attempts = 9;
    EACH(RESTATE_SERVICE, .fn = runs, .options = { .run_retry = { .max_attempts = 1 } }) {
        STARTED();
        SAYS("Run 1 \"step\"", "Error 500 index:1 Run \"step\" delay:50 message:\"not yet\"");
        TOLD("retry ended ");
        LOG_HAS("WARN");
    }
}

static restate_status sums(restate_ctx *run, void *arg) {
    const int *n = (const int *)arg;
    return restate_reply(run, text(restate_text(run, "%d", n[0] + n[1])));
}

static restate_status runs_copy(restate_ctx *ctx, restate_bytes in) {
    int n[2] = { 30, 4 };
    restate_bytes value;
    restate_run_options o = { .arg_bytes = sizeof n };
    restate_future *f = restate_run_async(ctx, NULL, sums, n, &o);
    (void)in;
    memset(n, 0, sizeof n);
    RESTATE_TRY(restate_await(ctx, f, &value));
    return restate_reply(ctx, value);
}

TEST(run_copies_its_argument) {
    EACH(RESTATE_SERVICE, .fn = runs_copy) {
        STARTED();
        SAYS("Run 1", "Propose 1 value \"34\" ack", "AwaitingOn W{c:1,s:1}");
        run_stored(1, "34"); give();
        SAYS("Output value \"34\"", "End");
    }
}

static restate_status runs_too_long(restate_ctx *run, void *arg) {
    (void)arg;
    CHECK(!restate_stop_requested(run) || ex.version);      /* may be slow before it gets here */
    while (!restate_stop_requested(run)) continue;
    return RESTATE_OK;
}

static restate_status runs_with_timeout(restate_ctx *ctx, restate_bytes in) {
    restate_run_options o = { .timeout_ms = 2 };
    (void)in;
    return restate_run(ctx, "slow", runs_too_long, NULL, &o, NULL);
}

TEST(run_timeout) {
    EACH(RESTATE_SERVICE, .fn = runs_with_timeout) {
        STARTED();
        SAYS("Run 1 \"slow\"", "Propose 1 value \"\" ack", "AwaitingOn W{c:1,s:1}");
        run_stored(1, ""); give();
        SAYS(EMPTY_OUTPUT);
        if (ex.log.len) LOG_HAS("WARN the closure of run \"slow\" took ");    /* not if it was 2 ms exactly */
    }
}

static restate_target greeter_for(const char *handler) {
    restate_target to = { .service = "Greeter", .handler = handler };
    return to;
}

/* The journaled calls, in a closure. */
static restate_ctx *outer;                  /* the handler's */
static restate_future *outer_future;

static void *misused[1];

static restate_status misuses_in_closure(restate_ctx *run, void *arg) {
    const char *id = "x", *const *keys = NULL;
    restate_bytes value = text("x");
    size_t index = 9;
    restate_future *f = NULL;
    (void)arg;
    misused[0] = NULL;
    switch (variant) {
    case 0: CHECK_INT(restate_sleep(run, 1), RESTATE_ENDED); break;
    case 1: CHECK_INT(restate_run(run, "x", closure, NULL, NULL, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 2: f = restate_run_async(run, "x", closure, NULL, NULL); break;
    case 3: f = restate_sleep_async(run, 1, NULL); break;
    case 4: CHECK_INT(restate_get(run, "k", &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 5: f = restate_get_async(run, "k"); break;
    case 6: CHECK_INT(restate_keys(run, &keys), RESTATE_ENDED); CHECK(keys && !*keys); break;
    case 7: CHECK_INT(restate_set(run, "k", value), RESTATE_ENDED); break;
    case 8: CHECK_INT(restate_clear(run, "k"), RESTATE_ENDED); break;
    case 9: CHECK_INT(restate_clear_all(run), RESTATE_ENDED); break;
    case 10: CHECK_INT(restate_call(run, greeter_for("greet"), value, NULL, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 11: f = restate_call_async(run, greeter_for("greet"), value, NULL); break;
    case 12: f = restate_send(run, greeter_for("greet"), value, NULL); break;
    case 13: CHECK_INT(restate_call_id(run, outer_future, &id), RESTATE_ENDED); CHECK_STR(id, ""); break;
    case 14: CHECK_INT(restate_cancel(run, INV_A), RESTATE_ENDED); break;
    case 15: f = restate_awakeable(run, &id); CHECK_STR(id, ""); break;
    case 16: CHECK_INT(restate_resolve(run, "x", value), RESTATE_ENDED); break;
    case 17: CHECK_INT(restate_reject(run, "x", NULL), RESTATE_ENDED); break;
    case 18: CHECK_INT(restate_await(run, outer_future, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 19: CHECK_INT(restate_await_for(run, outer_future, 5, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 20: CHECK_INT(restate_select(run, &outer_future, 1, &index), RESTATE_ENDED); CHECK_INT(index, 1); break;
    case 21: f = restate_race(run, &outer_future, 1); break;
    case 22: f = restate_any(run, &outer_future, 1); break;
    case 23: f = restate_all(run, &outer_future, 1); break;
    case 24: f = restate_all_settled(run, &outer_future, 1); break;
    case 25: CHECK_INT(restate_random(run), 0); break;
    default: CHECK_STR(restate_uuid(run), ""); break;
    }
    if (f) {
        CHECK(!restate_is_done(f));
        CHECK_INT(restate_await(run, f, &value), RESTATE_ENDED);
    }
    CHECK(restate_stop_requested(run));
    CHECK_INT(restate_reply(run, text("lost")), RESTATE_ENDED);
    return RESTATE_OK;
}

static restate_status runs_misuse(restate_ctx *ctx, restate_bytes in) {
    restate_run_options o = { .inline_ok = *in.ptr == 'i' };
    restate_status s;
    outer = ctx;
    outer_future = restate_awakeable(ctx, NULL);
    s = restate_run(ctx, "bad", misuses_in_closure, NULL, &o, NULL);
    CHECK_INT(s, RESTATE_ENDED);
    return s;
}

TEST(run_misuse_inside) {
    static const char *const names[] = {
        "sleep", "run", "run_async", "sleep_async", "get", "get_async", "keys", "set", "clear", "clear_all", "call", "call_async",
        "send", "call_id", "cancel", "awakeable", "resolve", "reject", "await", "await_for", "select", "race", "any", "all",
        "all_settled", "random", "uuid"
    };
    for (variant = 0; variant < 27; variant++)
        EACH(RESTATE_OBJECT, .fn = runs_misuse) {
            char line[160];
            start(1); input(variant % 2 ? "inline" : "pool"); give();
            snprintf(line, sizeof line, "Error 500 index:1 Run \"bad\" message:\"S/h (in a closure): restate_%s(): %s...", names[variant],
                     variant < 25 ? "is journaled and cannot be used in a closure" : "would not be the same on replay");
            if (variant == 19) SAYS("Run 1 \"bad\"", "Error 500 index:1 Run \"bad\" message:\"S/h (in a closure): restate_...");
            else SAYS("Run 1 \"bad\"", line);
            LOG_HAS("ERROR the attempt failed with 500: S/h (in a closure): restate_");
        }
}

/* Several at a time. */
static restate_status runs_three(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3], *c;
    restate_bytes value;
    restate_status s = RESTATE_OK;
    f[0] = restate_run_async(ctx, "a", waits_at_gate, (void *)(uintptr_t)"A", NULL);
    f[1] = restate_run_async(ctx, "b", waits_at_gate, (void *)(uintptr_t)"B", NULL);
    f[2] = restate_run_async(ctx, "c", waits_at_gate, (void *)(uintptr_t)"C", NULL);
    switch (*in.ptr) {
    case 'l': c = restate_all(ctx, f, 3); break;
    case 'y': c = restate_any(ctx, f, 3); break;
    case 'r': c = restate_race(ctx, f, 3); break;
    case 's': c = restate_all_settled(ctx, f, 3); break;
    default: c = NULL; break;
    }
    if (c) {
        s = restate_await(ctx, c, &value);
        say(ctx, s, value);
        RESTATE_TRY(s);
        CHECK(restate_is_done(c));
    }
    for (size_t n = 0; !c && n < 3; n++) {
        size_t index = 99;
        RESTATE_TRY(restate_select(ctx, f, 3, &index));
        tell("%c ", "abc?"[index < 3 ? index : 3]);
        RESTATE_TRY(restate_await(ctx, f[index], NULL));
        f[index] = NULL;
    }
    for (size_t i = 0; c && i < 3; i++) tell("%d", restate_is_done(f[i]));
    return RESTATE_OK;
}

TEST(runs_in_parallel) {
    static const struct { const char *how, *told, *tree; } cases[] = {
        { "l", "ok(-) 111", "N:[ALL_SUCCEEDED{" },
        { "y", "ok(B) 010", "" },
        { "r", "ok(B) 010", "" },
        { "s", "ok(-) 111", "" },
        { "-", "b c a ", "" }
    };
    for (size_t i = 0; i < 5; i++)
        EACH(RESTATE_SERVICE, .fn = runs_three) {
            start(1); input(cases[i].how); ex_feed(); turn();
            gate_reached(3);
            gate_open();
            settle();
            drop_said();
            TOLD("go go go ");
            CHECK(!ex.x->finished);
            run_stored(2, "B"); give();
            run_stored(3, "C"); give();
            run_stored(1, "A"); give();
            CHECK(ex.x->finished);
            TOLD(cases[i].told);
            SAYS("? AwaitingOn...", "? AwaitingOn...", EMPTY_OUTPUT);
        }
}

static restate_status never_awaits(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_run_async(ctx, "a", closure, (void *)(uintptr_t)"value", NULL);
    return RESTATE_OK;
}

TEST(run_never_awaited) {
    EACH(RESTATE_SERVICE, .fn = never_awaits) {
        STARTED();
        SAYS("Run 1 \"a\"", EMPTY_OUTPUT);
        TOLD("");
    }
}

/* A closure that lost a race goes on, and the memory of its attempt stays as long. */
static restate_status leaves_a_run(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    (void)in;
    f[0] = restate_run_async(ctx, "slow", waits_at_gate, restate_alloc(ctx, 100), NULL);
    f[1] = restate_awakeable(ctx, NULL);
    return restate_await(ctx, restate_race(ctx, f, 2), NULL);
}

TEST(run_outlives_its_handler) {
    for (int release = 0; release < 2; release++)
        EACH(RESTATE_SERVICE, .fn = leaves_a_run) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            note_signal(17, "x"); ex_feed();
            if (ex.handlers[0].options.blocking) while (!ex.x->finished) turn();
            else turn();
            SAYS("Run 1 \"slow\"", EMPTY_OUTPUT);
            CHECK(ex.x->finished);
            CHECK_INT(ex.endpoint->invocations, 1);
            if (release) ex_release();
            turn();
            gate_open();
            settle();
            TOLD("stop ");
        }
}

/* Every operation that is journaled, with the context of a closure. */
static restate_future *of_the_handler;               /* of the handler */

static restate_status misuses(restate_ctx *run, void *arg) {
    restate_bytes value = absent();
    (void)arg;
    if (operation < OPERATIONS) {
        restate_status s = perform(run, &value);
        CHECK_INT(s, operation == SEND ? RESTATE_OK : RESTATE_ENDED);
    } else if (operation == OPERATIONS) {
        CHECK_INT(restate_await(run, restate_cancellation(run), NULL), RESTATE_ENDED);
    } else if (operation == OPERATIONS + 1) {
        CHECK_INT(restate_cancel_calls(run), RESTATE_ENDED);
    } else {
        size_t index;
        CHECK_INT(restate_selector_next(run, restate_selector_new(run, &of_the_handler, 1), &index),
                  RESTATE_ENDED);
    }
    CHECK(!value.ptr);
    CHECK(restate_stop_requested(run));
    return RESTATE_OK;
}

static restate_status runs_guarded(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .inline_ok = *in.ptr == 'i' };
    restate_status s;
    of_the_handler = restate_awakeable(ctx, NULL);
    s = restate_run(ctx, "bad", misuses, NULL, &o, NULL);
    CHECK_INT(s, RESTATE_ENDED);
    return s;
}

TEST(guard_in_closures) {
    for (operation = 0; operation < OPERATIONS + 3; operation++)
        EACH(RESTATE_WORKFLOW, .fn = runs_guarded) {
            start(1, .complete = true); input(operation % 2 ? "inline" : "pool"); give();
            SAYS("Run 1 \"bad\"",
                 "Error 500 index:1 Run \"bad\" message:\"S/h (in a closure): restate_...");
            LOG_HAS("ERROR the attempt failed with 500: S/h (in a closure): restate_");
        }
}

/* ---- Tries ---------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }
static restate_retry_options retry_options;

static restate_status tries_again(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_retry(run, &retry_options, "again");
}

static restate_status runs_trying(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value;
    restate_status s = restate_run(ctx, "r", tries_again, NULL, &run_options, &value);
    (void)in;
    return say(ctx, s, value);
}

/* A try of a run fails after `retries` others that took `duration` ms in all. */
static void fails_after(unsigned retries, uint64_t duration) {
    start(2, .retries = retries, .duration_ms = duration); input("");
    cmd_run(1, "r");
    give();
    if (ex.told.len) ex.told.len = 0, *ex.told.at = 0;
    if (ex.log.len) ex.log.len = 0, *ex.log.at = 0;
}

#define RETRY_AFTER(ms) "Error 500 index:1 Run \"r\" delay:" #ms " message:\"again\""
#define GIVE_UP "Propose 1 failure 500 \"again\" ack"

TEST(waits_between_tries) {
    static const struct {
        restate_retry_policy policy;
        unsigned retries;
        uint64_t duration;
        const char *line;
    } cases[] = {
        { { .max_attempts = 100 }, 0, 0, RETRY_AFTER(50) },
        { { .max_attempts = 100 }, 1, 0, RETRY_AFTER(100) },
        { { .max_attempts = 100 }, 7, 0, RETRY_AFTER(6400) },
        { { .max_attempts = 100 }, 8, 0, RETRY_AFTER(10000) },
        { { .max_attempts = 100 }, 98, 0, RETRY_AFTER(10000) },
        { { .max_attempts = 100 }, 99, 0, GIVE_UP },
        { { .initial_interval_ms = 100 }, 3, 0, RETRY_AFTER(800) },
        { { .initial_interval_ms = RESTATE_ZERO_MS }, 3, 0, RETRY_AFTER(0) },
        { { .factor = 3 }, 2, 0, RETRY_AFTER(450) },
        { { .factor = 1 }, 9, 0, RETRY_AFTER(50) },
        { { .max_interval_ms = 120 }, 1, 0, RETRY_AFTER(100) },
        { { .max_interval_ms = 120 }, 2, 0, RETRY_AFTER(120) },
        { { .max_duration_ms = 60000 }, 1, 100, RETRY_AFTER(100) },
        { { .max_duration_ms = 60000 }, 1, 60000, GIVE_UP },
        { { .max_duration_ms = 60000 }, 0, 60000, RETRY_AFTER(50) },
        { { .initial_interval_ms = 0 }, 3, 60000, "Error 500 index:1 Run \"r\" message:\"again\"" }
    };
    memset(&retry_options, 0, sizeof retry_options);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int at_service = 0; at_service < 2; at_service++) {
            restate_options options = { .user = NULL };
            memset(&run_options, 0, sizeof run_options);
            *(at_service ? &options.run_retry : &run_options.retry) = cases[i].policy;
            EACH(RESTATE_SERVICE, .fn = runs_trying, .options = options) {
                fails_after(cases[i].retries, cases[i].duration);
                SAYS(cases[i].line, same(cases[i].line, GIVE_UP) ? "? AwaitingOn..." : "? none");
            }
        }
}

/* The closure's own delay goes before the policy's; its limits stay. */
TEST(own_delay_of_a_closure) {
    static const struct {
        restate_retry_policy policy;
        unsigned retries;
        uint64_t duration;
        bool over;
    } cases[] = { { { .initial_interval_ms = 0 }, 0, 0, false },
                  { { .initial_interval_ms = 5, .max_interval_ms = 9 }, 3, 0, false },
                  { { .max_attempts = 3 }, 1, 0, false },
                  { { .max_attempts = 3 }, 2, 0, true },
                  { { .max_duration_ms = 60000 }, 1, 100, false },
                  { { .max_duration_ms = 60000 }, 1, 60000, true } };
    memset(&retry_options, 0, sizeof retry_options);
    retry_options.code = 503;
    retry_options.delay_ms = 77;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&run_options, 0, sizeof run_options);
        run_options.retry = cases[i].policy;
        EACH(RESTATE_SERVICE, .fn = runs_trying) {
            fails_after(cases[i].retries, cases[i].duration);
            if (cases[i].over) SAYS("Propose 1 failure 503 \"again\" ack", "? AwaitingOn...");
            else SAYS("Error 503 index:1 Run \"r\" delay:77 message:\"again\"");
        }
    }
}

TEST(closure_asks_for_a_pause) {
    memset(&run_options, 0, sizeof run_options);
    memset(&retry_options, 0, sizeof retry_options);
    retry_options.pause = true;
    for (int limited = 0; limited < 2; limited++) {
        run_options.retry.max_attempts = limited ? 9 : 0;
        EACH(RESTATE_SERVICE, .fn = runs_trying) {
            fails_after(0, 0);
            if (ex.version == 7) SAYS("Error 500 index:1 Run \"r\" behavior:1 message:\"again\"");
            else SAYS("Error 573...");
        }
    }
}

/* ---- Closures that wait for a thread -------------------------------------------------------- */

static int way;
static unsigned meet;                       /* closures at the gate before one fails */

static restate_status say_only(restate_status s) {
    tell("%s ", status_name(s));
    return s;
}

static size_t times(const char *in, const char *what) {
    size_t n = 0;
    for (; (in = strstr(in, what)) != NULL; in += strlen(what)) n++;
    return n;
}

static size_t told(const char *what) {
    size_t n;
    pthread_mutex_lock(&ex.lock);
    n = times(ex_text(&ex.told), what);
    pthread_mutex_unlock(&ex.lock);
    return n;
}

/* How many lines of the output since the last look begin with this; SAYS comes after it. */
static size_t said(const char *what) {
    rt_bytes all;
    size_t seen = rt.seen, n;
    ex_collect();
    all = rt_lines();
    rt.seen = seen;
    n = times(ex_text(&all), what);
    rt_drop(&all);
    return n;
}

/* The handler did what it can do now; a closure is at the gate meanwhile. */
static void handled(void) {
    turn();
    if (!ex.handlers[0].options.blocking) return;
    while (ex.x && ex.x->attempt->state == RESTATE__ATTEMPT_DETACHED) turn();
}

/* Tells its name, then does what the rest of the name says:
 *   @  waits at the gate          ?  tells whether it is to stop
 *   -  fails retryably            !  fails for good
 *   =  asks for a pause           +  fails when `meet` closures are at the gate, as the two before */
static restate_status works(restate_ctx *run, void *arg) {
    static const restate_retry_options pause = { .pause = true };
    const char *name = (const char *)arg;
    tell("<%c> ", *name);
    if (strchr(name, '+')) {
        pthread_mutex_lock(&ex.lock);
        while (ex.reached < meet && ex_wait()) continue;
        pthread_mutex_unlock(&ex.lock);
    }
    if (strchr(name, '@')) gate();
    if (strchr(name, '?')) tell(restate_stop_requested(run) ? "stop " : "go ");
    if (strchr(name, '!')) return restate_fail(run, 409, "%s", name);
    if (strchr(name, '=')) return restate_retry(run, &pause, "%s", name);
    if (strchr(name, '-')) return restate_retry(run, NULL, "%s", name);
    return restate_reply(run, text(name));
}

static restate_future *work(restate_ctx *ctx, const char *name) {
    char one[2] = { *name, 0 };
    return restate_run_async(ctx, one, works, (void *)(uintptr_t)name, NULL);
}

enum { CUT, RELEASED, VIOLATED, FAILED, LOST, NESTED, RETURNED, MISUSED, RETRIED, CANCELLED, WAYS };

/* One closure executes, two wait for the only thread; then the attempt is over, or they are not wanted. */
static restate_status queues(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3], *pair[2];
    size_t index;
    (void)in;
    f[0] = work(ctx, way == FAILED ? "a@-" : "a@");
    f[1] = work(ctx, "b");
    f[2] = work(ctx, "c");
    pair[0] = restate_all(ctx, f, 3);
    pair[1] = restate_awakeable(ctx, NULL);
    switch (way) {
    case LOST: return say_only(restate_await(ctx, restate_race(ctx, pair, 2), NULL));
    case NESTED:
        pair[0] = restate_any(ctx, pair, 1);
        pair[0] = restate_race(ctx, pair, 2);
        return say_only(restate_await(ctx, restate_any(ctx, pair, 2), NULL));
    case RETURNED:
    case MISUSED:
    case RETRIED:
        RESTATE_TRY(restate_select(ctx, pair, 2, &index));
        CHECK_INT(index, 1);
        if (way == MISUSED) return say_only(restate_set(ctx, "k", text("v")));
        if (way == RETRIED) return say_only(restate_retry(ctx, NULL, "again"));
        return say_only(RESTATE_OK);
    default: return say_only(restate_await(ctx, pair[0], NULL));
    }
}

TEST(nothing_begins_when_it_is_over) {
    static const char *const last[WAYS] = { "", "", "Error 571...", "Error 500 index:1 Run \"a\" message:\"a@-\"", "", "",
                                            "", "Error 500...", "Error 500...", "Output failure 409 \"cancelled\"" };
    ex.pool_threads = 1;
    for (way = 0; way < WAYS; way++)
        EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = queues) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            SAYS("Run 1 \"a\"", "Run 2 \"b\"", "Run 3 \"c\"", "? AwaitingOn...");
            CHECK_INT(ex.x->attempt->closures.executing, 3);
            switch (way) {
            case CUT: restate__exchange_cut(ex.x); break;
            case RELEASED: ex_release(); break;
            case VIOLATED: raw("0005000000000000"); ex_feed(); break;
            case FAILED: break;
            case CANCELLED: note_cancel(); ex_feed(); break;
            default: note_signal(17, "x"); ex_feed(); break;
            }
            handled();
            if (way != FAILED && way != RELEASED) CHECK_INT(ex.x->attempt->closures.executing, 1);
            CHECK(!ex.endpoint->pool.first || way == FAILED);
            gate_open();
            settle();
            CHECK_INT(told("<b>") + told("<c>"), 0);
            CHECK_INT(told("<a>"), 1);
            ex.told.len = 0;
            if (ex.told.at) *ex.told.at = 0;
            if (*last[way]) CHECK_INT(said(way == CANCELLED ? "Output failure 409" : "Error 5"), 1);
            drop_said();
            log_drop();
        }
    ex.pool_threads = 0;
}

static const char *names[8];                /* of the runs of runs_all(); the last is NULL */

/* What left the queue is queued again by the next await that wants it; also below combinators that are
 * open, whose search had come past it. */
static restate_status wants_again(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3], *pair[2], *all;
    restate_status s;
    (void)in;
    f[0] = work(ctx, "a@");
    f[1] = work(ctx, "b?");
    f[2] = work(ctx, "c?");
    pair[0] = all = restate_all(ctx, f, 3);
    pair[1] = restate_awakeable(ctx, NULL);
    s = restate_await(ctx, restate_race(ctx, pair, 2), NULL);
    say_only(s);
    if (s != RESTATE_OK && s != RESTATE_CANCELLED) return s;
    if (way == 2) return say_only(restate_await(ctx, f[2], NULL));
    return say_only(restate_await(ctx, all, NULL));
}

TEST(what_is_wanted_again_is_queued_again) {
    ex.pool_threads = 1;
    for (way = 0; way < 6; way++) {
        bool cancelled = way >= 3;
        int given = way;
        way %= 3;
        EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = wants_again) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            TOLD("<a> ");
            if (cancelled) note_cancel();
            else note_signal(17, "x");
            ex_feed();
            handled();
            TOLD(cancelled ? "cancelled " : "ok ");
            CHECK_INT(ex.x->attempt->closures.executing, way == 2 ? 2 : 3);
            gate_open();
            settle();
            TOLD(way == 2 ? "<c> go " : "<b> go <c> go ");
            run_stored(1, "A"); run_stored(2, "B"); run_stored(3, "C");
            if (way == 2) {
                rt_script.len = 0;
                run_stored(1, "A"); run_stored(3, "C");
            }
            give();
            TOLD("ok ");
            drop_said();
        }
        way = given;
    }
    ex.pool_threads = 0;
}

/* A select or a timeout decides nothing: what waits goes on waiting, in its place. */
static restate_status looks_on(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3];
    size_t index;
    (void)in;
    f[0] = work(ctx, "a@");
    f[1] = work(ctx, "b");
    f[2] = restate_awakeable(ctx, NULL);
    if (way) say_only(restate_await_for(ctx, f[1], 10, NULL));
    else say_only(restate_select(ctx, f, 3, &index));
    return say_only(restate_await(ctx, restate_all(ctx, f, 3), NULL));
}

TEST(what_may_be_wanted_stays_in_the_queue) {
    ex.pool_threads = 1;
    for (way = 0; way < 2; way++)
        EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = looks_on) {
            begins(); ex_feed(); turn();
            if (way) {                      /* b is awaited first, and executes */
                settle();
                TOLD("<b> ");
                note_sleep(3); ex_feed(); handled();
                gate_reached(1);
                TOLD("timeout <a> ");
            } else {
                gate_reached(1);
                note_signal(17, "x"); ex_feed(); handled();
                TOLD("<a> ok ");
                CHECK_INT(ex.x->attempt->closures.executing, 2);
            }
            gate_open();
            settle();
            TOLD(way ? "" : "<b> ");
            drop_said();
        }
    ex.pool_threads = 0;
}

/* Who comes later does not wait behind the dead: of 200 attempts that are cut none begins. */
TEST(new_attempts_do_not_wait_behind_dead_ones) {
    ex.pool_threads = 1;
    way = CUT;
    EACH_CLOCKED_OF(7, 7, RESTATE_SERVICE, .fn = queues) {
        begins(); ex_feed(); turn();
        gate_reached(1);
        drop_said();
        TOLD("<a> ");
        for (int i = 0; i < 200; i++) {
            invoke();                       /* which releases the one before */
            begins(); ex_feed(); handled();
            drop_said();
        }
        CHECK_INT(ex.x->attempt->closures.executing, 3);
        CHECK(ex.endpoint->pool.first && ex.endpoint->pool.first->next && ex.endpoint->pool.first->next->next
              && !ex.endpoint->pool.first->next->next->next);
        gate_open();
        settle();
        CHECK_INT(told("<a>"), 1);
        CHECK_INT(told("<b>"), 1);
        CHECK_INT(told("<c>"), 1);
        ex.told.len = 0;
        *ex.told.at = 0;
        drop_said();
    }
    ex.pool_threads = 0;
}

/* n races of a closure that waits and an awakeable, decided one after the other, backwards. */
static restate_status races_many(restate_ctx *ctx, restate_bytes in) {
    size_t n = (size_t)atoi((const char *)in.ptr), index;
    restate_future **f = (restate_future **)restate_alloc(ctx, n * sizeof *f), *pair[2];
    restate_selector *left;
    if (!f) return RESTATE_ENDED;
    for (size_t i = 0; i < n; i++) {
        pair[0] = work(ctx, i ? "b" : "a@");
        pair[1] = restate_awakeable(ctx, NULL);
        f[i] = restate_race(ctx, pair, 2);
    }
    left = restate_selector_new(ctx, f, n);
    for (size_t i = 0; i < n; i++) {
        RESTATE_TRY(restate_selector_next(ctx, left, &index));
        CHECK_INT(index, n - 1 - i);
        CHECK_INT(ctx->attempt->closures.executing, n - 1 - i ? n - 1 - i : 1);  /* the first one has begun */
    }
    return RESTATE_OK;
}

static double seconds_for(unsigned n) {
    char count[16];
    double best = 1e9, took;
    for (int i = 0; i < 3; i++) {
        clock_t began;
        ex.bytewise = false;
        test_note = "(many)";
        ex_begin(RESTATE_SERVICE, (restate_handler){ .fn = races_many }, 7, false);
        invoke();
        snprintf(count, sizeof count, "%u", n);
        start(1); input(count); ex_feed();
        gate_reached(1);
        drop_said();
        for (unsigned k = n; k > 0; k--) note_signal(16 + k, "x");
        began = clock();
        ex_feed(); turn();
        took = (double)(clock() - began) / CLOCKS_PER_SEC;
        if (took < best) best = took;
        CHECK(ex.x->finished);
        gate_open();
        settle();
        CHECK_STR(ex_text(&ex.told), "<a> ");
        ex.told.len = 0;
        *ex.told.at = 0;
        drop_said();
        ex_end();
        test_note = "";
    }
    return best;
}

TEST(leaving_the_queue_is_linear) {
    char where[80];
    double few, many;
    ex.pool_threads = 1;
    few = seconds_for(1000), many = seconds_for(10000);
    snprintf(where, sizeof where, "(%.2f ms, then %.2f ms)", few * 1e3, many * 1e3);
    test_note = where;
    CHECK(many < few * 30 + 0.01);
    test_note = "";
    ex.pool_threads = 0;
}

/* ---- Closures beside one that fails --------------------------------------------------------- */

/* One closure is done when another one fails: its result is kept, and it is not executed again. */
static restate_status needs_a_second_try(restate_ctx *run, void *arg) {
    (void)arg;
    tell("b ");
    if (restate_request(run)->retry_count == 0) return restate_retry(run, NULL, "not yet");
    return restate_reply(run, text("B"));
}

static restate_status runs_two(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .inline_ok = true };     /* in this order */
    restate_future *f[2];
    restate_bytes value;
    (void)in;
    f[0] = restate_run_async(ctx, "a", executes, (void *)(uintptr_t)"A", &o);
    f[1] = restate_run_async(ctx, "b", needs_a_second_try, NULL, &o);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, f, 2), NULL));
    for (int i = 0; i < 2; i++) RESTATE_TRY(say(ctx, restate_await(ctx, f[i], &value), value));
    return RESTATE_OK;
}

TEST(one_closure_fails_beside_another) {
    EACH(RESTATE_SERVICE, .fn = runs_two) {
        STARTED();
        SAYS("Run 1 \"a\"", "Run 2 \"b\"", "Propose 1 value \"A\" ack",
             "Error 500 index:2 Run \"b\" message:\"not yet\"");
        TOLD("executed b ");
        LOG_HAS("not yet");
        invoke();
        start(4, .retries = 1);
        input("in");
        cmd_run(1, "a");
        cmd_run(2, "b");
        note_value(N_RUN, 1, "A");
        give();
        SAYS("Propose 2 value \"B\" ack", "AwaitingOn W{s:1,N:[ALL_SUCCEEDED{c:2}]}");
        run_stored(2, "B"); give();
        TOLD("b ok(A) ok(B) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status runs_all(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[8];
    size_t n = 0;
    (void)in;
    for (; names[n]; n++) f[n] = work(ctx, names[n]);
    return say_only(restate_await(ctx, restate_all(ctx, f, n), NULL));
}

/* Five of six succeed: each executes once. */
TEST(siblings_of_a_failed_run_execute_once) {
    static const char *const six[] = { "a@?", "b@?", "c@?", "d+-", "e@?", "f@?" };
    char name[2] = "a";
    EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = runs_all) {
        memset(names, 0, sizeof names);
        memcpy(names, six, sizeof six);
        meet = 5;
        begins(); ex_feed(); turn();
        gate_reached(5);
        while (ex.x->attempt->closures.executing > 5) turn();
        turn();
        CHECK(!ex.x->finished && ex.x->attempt->vm.failing);
        CHECK_INT(said("Error") + said("Propose"), 0);
        LOG_HAS("INFO a run failed with 500: d+-; the attempt ends with that when the closures that execute have finished, 5 yet");
        gate_open();
        settle();
        CHECK(ex.x->finished);
        CHECK_INT(said("Propose"), 5);
        CHECK_INT(said("Error 500 index:4 Run \"d\" message:\"d+-\""), 1);
        drop_said();
        LOG_HAS("the attempt failed with 500: d+-");
        CHECK_INT(told("go "), 5);
        invoke();                           /* the next attempt: the results are there */
        names[3] = "d";
        start(12, .retries = 1); input("in");
        for (*name = 'a'; *name <= 'f'; ++*name) cmd_run((unsigned)(*name - 'a' + 1), name);
        for (unsigned id = 1; id <= 6; id++)
            if (id != 4) note_value(N_RUN, id, "x");
        give();
        run_stored(4, "D"); give();
        SAYS("Propose 4 value \"d\" ack", "? AwaitingOn...", "Output value \"\"", "End");
        for (*name = 'a'; *name <= 'f'; ++*name) {
            char begun[4] = { '<', *name, '>', 0 };
            CHECK_INT(told(begun), *name == 'd' ? 2 : 1);
        }
        ex.told.len = 0;
        *ex.told.at = 0;
    }
}

static void run_names(const char *a, const char *b, const char *c) {
    memset(names, 0, sizeof names);
    names[0] = a, names[1] = b, names[2] = c;
}

/* What becomes of a sibling: its failure is stored, a second error is not told, but a pause is. */
TEST(what_siblings_come_to) {
    static const struct { const char *second, *line; } cases[] = {
        { "b@", "Propose 2 value \"b@\" ack" }, { "b@!", "Propose 2 failure 409 \"b@!\" ack" }, { "b@-", "" }, { "b@=", "" }
    };
    meet = 1;
    for (int i = 0; i < 4; i++)
        for (int pause = 0; pause < 2; pause++)
            EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = runs_all) {
                bool v7 = ex.version == 7, second = v7 && i == 3 && !pause;
                const char *error = pause && !v7 ? "Error 573..." : pause
                    ? "Error 500 index:1 Run \"a\" behavior:1 message:\"a+=\"" : second
                    ? "Error 500 index:2 Run \"b\" behavior:1 message:\"b@=\"" : "Error 500 index:1 Run \"a\" message:\"a+-\"";
                run_names(pause ? "a+=" : "a+-", cases[i].second, NULL);
                begins(); ex_feed(); turn();
                gate_reached(1);
                while (ex.x->attempt->closures.executing > 1) turn();
                turn();
                SAYS("Run 1 \"a\"", "Run 2 \"b\"");
                gate_open();
                settle();
                if (*cases[i].line) SAYS(cases[i].line, error);
                else SAYS(error);
                log_drop();
                TOLD(ex_text(&ex.told)[1] == 'a' ? "<a> <b> ended " : "<b> <a> ended ");
            }
}

/* The tries of the second are used up: that is a result. */
static restate_status runs_bounded(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options once = { .retry = { .max_attempts = 1 } };
    restate_future *f[2];
    (void)in;
    f[0] = work(ctx, "a+-");
    f[1] = restate_run_async(ctx, "b", works, (void *)(uintptr_t)"b@-", &once);
    if (way) f[0] = restate_run_async(ctx, "c", works, (void *)(uintptr_t)"c+-", &once);
    return say_only(restate_await(ctx, restate_all(ctx, f, 2), NULL));
}

TEST(tries_that_are_used_up_beside_a_failure) {
    meet = 1;
    for (way = 0; way < 2; way++)
        EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = runs_bounded) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            while (ex.x->attempt->closures.executing > 1) turn();
            turn();
            if (!way) SAYS("Run 1 \"a\"", "Run 2 \"b\"");
            else SAYS("Run 1 \"a\"", "Run 2 \"b\"", "Run 3 \"c\"", "Propose 3 failure 500 \"c+-\" ack", "? AwaitingOn...");
            gate_open();
            settle();
            if (!way) SAYS("Propose 2 failure 500 \"b@-\" ack", "Error 500 index:1 Run \"a\" message:\"a+-\"");
            else SAYS("Propose 2 failure 500 \"b@-\" ack", "? AwaitingOn...");
            ex.told.len = 0;
            *ex.told.at = 0;
            log_drop();
        }
}

/* Those that wait for a thread are not begun. */
TEST(siblings_that_wait_are_not_begun) {
    ex.pool_threads = 2;
    meet = 1;
    EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = runs_all) {
        run_names("a@", "b+-", "c");
        names[3] = "d";
        begins(); ex_feed(); turn();
        gate_reached(1);
        while (!ex.x->finished && (!ex.x->attempt->vm.failing || ex.x->attempt->closures.executing > 1)) turn();
        CHECK_INT(ex.x->attempt->closures.executing, 1);
        gate_open();
        settle();
        drop_said();
        log_drop();
        CHECK_INT(told("<c>") + told("<d>"), 0);
        ex.told.len = 0;
        *ex.told.at = 0;
    }
    ex.pool_threads = 0;
}

/* The connection ends the waiting, input that ends does not; closures that ask are told late. */
TEST(waiting_for_siblings_has_an_end) {
    meet = 1;
    for (way = 0; way < 4; way++)
        EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = runs_all) {
            run_names("a@?", "b+-", NULL);
            begins(); ex_feed(); turn();
            gate_reached(1);
            while (ex.x->attempt->closures.executing > 1) turn();
            turn();
            drop_said();
            log_drop();
            if (way == 0) restate__exchange_cut(ex.x);
            if (way == 1) restate__exchange_end_input(ex.x);
            if (way == 2) pass(30000);
            if (way == 3) pass(29999);
            turn();
            SAYS_NOTHING();
            gate_open();
            settle();
            if (way) SAYS("Propose 1 value \"a@?\" ack", "Error 500 index:2 Run \"b\" message:\"b+-\"");
            else SAYS_NOTHING();
            CHECK_INT(told("stop "), way == 0 || way == 2);
            CHECK_INT(told("ended "), 1);
            ex.told.len = 0;
            *ex.told.at = 0;
            log_drop();
        }
}

/* A closure that nobody wants any more is not waited for. */
static restate_status fails_after_a_race(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    (void)in;
    f[0] = work(ctx, "a@");
    f[1] = restate_awakeable(ctx, NULL);
    RESTATE_TRY(restate_await(ctx, restate_race(ctx, f, 2), NULL));
    return say_only(restate_await(ctx, work(ctx, "b-"), NULL));
}

TEST(what_has_lost_is_not_waited_for) {
    EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = fails_after_a_race) {
        begins(); ex_feed(); turn();
        gate_reached(1);
        note_signal(17, "x"); ex_feed();
        while (!ex.x->finished) turn();
        SAYS("Run 1 \"a\"", "Run 2 \"b\"", "Error 500 index:2 Run \"b\" message:\"b-\"");
        gate_open();
        settle();
        LOG_HAS("the attempt failed with 500: b-");
        TOLD("<a> <b> ended ");
    }
}

static bool may_leave;                      /* under ex.lock */

static restate_status stays(restate_ctx *run, void *arg) {
    (void)run, (void)arg;
    pthread_mutex_lock(&ex.lock);
    ex.reached++;
    pthread_cond_broadcast(&ex.happened);
    while (!may_leave && ex_wait()) continue;
    pthread_mutex_unlock(&ex.lock);
    tell("own ");
    return RESTATE_OK;
}

static restate_status runs_beside_another(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    (void)in;
    f[0] = work(ctx, "a@");
    f[1] = restate_awakeable(ctx, NULL);
    RESTATE_TRY(restate_await(ctx, restate_race(ctx, f, 2), NULL));
    return say_only(restate_run(ctx, "own", stays, NULL, NULL, NULL));
}

/* restate_run() of an attempt that is over returns when its closure has finished, whether the stream
 * is there or not, and whatever else executes. */
TEST(the_end_waits_for_the_own_closure_only) {
    for (int cut = 0; cut < 2; cut++)
        EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = runs_beside_another) {
            may_leave = false;
            begins(); ex_feed(); turn();
            gate_reached(1);
            note_signal(17, "x"); ex_feed();
            gate_reached(2);
            drop_said();
            raw("800c0000 00000003 ffffff"); ex_feed(); turn();
            SAYS("Error 500...");
            log_drop();
            if (cut) restate__exchange_cut(ex.x);
            turn();
            TOLD("<a> ");
            pthread_mutex_lock(&ex.lock);
            may_leave = true;
            pthread_cond_broadcast(&ex.happened);
            pthread_mutex_unlock(&ex.lock);
            while (ex.x->attempt->closures.executing > 1) turn();
            handled();
            TOLD("own ended ");
            gate_open();
            settle();
        }
}

/* The handler does not go on while closures are waited for, whatever it does next. */
static restate_status goes_on(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3];
    size_t index;
    f[0] = work(ctx, "a@");
    f[1] = work(ctx, "b+-");
    f[2] = restate_awakeable(ctx, NULL);
    if (way < 2) {
        RESTATE_TRY(restate_select(ctx, f, 3, &index));
        if (way == 0) say_only(restate_set(ctx, "k", in));
        return RESTATE_OK;
    }
    RESTATE_TRY(restate_select(ctx, f, 3, &index));     /* the awakeable: its own thread is busy now */
    CHECK_INT(index, 2);
    gate();
    CHECK(restate_stop_requested(ctx));
    switch (way) {
    case 2: return say_only(restate_set(ctx, "k", in));
    case 3: return say_only(restate_retry(ctx, NULL, "mine"));
    case 4: return say_only(restate_promise_resolve(ctx, "misuse", in));
    case 5: restate_json_next(ctx, in, &in); return RESTATE_ENDED;
    default: return restate_reply(ctx, in);
    }
}

TEST(handlers_stand_still_meanwhile) {
    for (way = 0; way < 7; way++)
        EACH_CLOCKED_OF(5, 7, RESTATE_OBJECT, .fn = goes_on) {
            if (way >= 2 && !ex.handlers[0].options.blocking) continue;
            meet = way < 2 ? 1 : 2;
            begins(); ex_feed(); turn();
            gate_reached(1);
            if (way >= 2) {
                note_signal(17, "x"); ex_feed();
                gate_reached(2);
            }
            while (!ex.x->finished && !ex.x->attempt->vm.failing) turn();
            drop_said();
            if (way < 2) note_signal(17, "x"), ex_feed(), turn();
            SAYS_NOTHING();
            CHECK(!ex.x->finished);
            gate_open();
            settle();
            SAYS("Propose 1 value \"a@\" ack", "Error 500 index:2 Run \"b\" message:\"b+-\"");
            ex.told.len = 0;
            *ex.told.at = 0;
            log_drop();
        }
}

/* ---- Closures that are still wanted --------------------------------------------------------- */

static restate_ctx *at_gate;

static restate_status waits(restate_ctx *run, void *arg) {
    (void)arg;
    at_gate = run;
    gate();
    tell("%s ", restate_stop_requested(run) ? "stop" : "go on");
    return restate_reply(run, text("ran"));
}

/* A run, and something else that is settled first; in between the handler is told of it. */
static restate_status races(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2], *outer_, *inner_;
    restate_selector *left;
    restate_bytes value;
    size_t i;
    (void)in;
    f[0] = restate_run_async(ctx, "run", waits, NULL, NULL);
    f[1] = restate_sleep_async(ctx, 1000, NULL);
    switch (variant) {
    case 0: RESTATE_TRY(restate_select(ctx, f, 2, &i)); CHECK_INT(i, 1); break;
    case 1:
        left = restate_selector_new(ctx, f, 2);
        RESTATE_TRY(restate_selector_next(ctx, left, &i));
        CHECK_INT(i, 1);
        break;
    case 2: CHECK_INT(restate_await_for(ctx, f[0], 500, NULL), RESTATE_TIMEOUT); break;
    case 3: RESTATE_TRY(restate_await(ctx, restate_race(ctx, f, 2), NULL)); break;
    case 4:                                 /* in an all that is in a decided race */
        inner_ = restate_all(ctx, f, 1);
        f[0] = inner_;
        outer_ = restate_race(ctx, f, 2);
        RESTATE_TRY(restate_await(ctx, outer_, NULL));
        return restate_sleep(ctx, 1);
    default:                                /* in two races, one of them open */
        outer_ = restate_race(ctx, f, 1);
        RESTATE_TRY(restate_await(ctx, restate_race(ctx, f, 2), NULL));
        return restate_await(ctx, outer_, NULL);
    }
    tell("told ");
    return restate_await(ctx, f[0], &value);
}

TEST(closures_still_wanted) {
    for (variant = 0; variant < 6; variant++)
        EACH_OF(7, 7, RESTATE_SERVICE, .fn = races) {
            bool lost = variant == 3 || variant == 4;
            begins(); ex_feed(); turn();
            gate_reached(1);
            note_void(N_SLEEP, variant == 2 ? 3 : 2); ex_feed(); turn();
            if (ex.handlers[0].options.blocking)
                while (ex.x->attempt->state != RESTATE__ATTEMPT_PARKED) turn();
            if (variant < 4) TOLD("told ");
            gate_open();
            settle();
            TOLD(lost ? "stop " : "go on ");
            drop_said();
        }
}

/* ---- Their time ----------------------------------------------------------------------------- */

enum { LIMIT_MS = 200, WAIT_MS = 200 };

static restate_status quick(restate_ctx *run, void *arg) {
    tell(restate_stop_requested(run) ? "stop " : "go ");
    if (way >= 6) pass(WAIT_MS + 1);
    if (way >= 6) CHECK(restate_stop_requested(run));
    if (arg) return restate_retry(run, NULL, "not yet");
    return RESTATE_OK;
}

static restate_status runs_quick(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .timeout_ms = LIMIT_MS,
                                    .retry = { .max_duration_ms = LIMIT_MS, .initial_interval_ms = 1 } };
    static int some;
    restate_future *f[2];
    (void)in;
    f[0] = work(ctx, way < 2 ? "a@" : "a");
    f[1] = restate_run_async(ctx, "q", quick, way % 2 ? &some : NULL, &o);
    return say_only(restate_await(ctx, restate_all(ctx, f, 2), NULL));
}

static void begins_slowly(void *user, restate_ctx *run, const char *name) {
    (void)user;
    if (*name != 'q') return;
    CHECK(!restate_stop_requested(run));
    pass(WAIT_MS);
    CHECK(!restate_stop_requested(run));
}
static void has_ended(void *user, restate_ctx *run, const char *name, restate_status status) {
    (void)user, (void)run, (void)status;
    if (*name == 'q') tell("end ");
}
static const restate_hooks slow = { .run_begin = begins_slowly }, ends = { .run_end = has_ended };

/* It waits for a thread (0, 1), its worker is busy when it has finished (2, 3), a hook takes long (4, 5):
 * nothing of that is its time. What it takes itself is (6, 7). */
TEST(time_counts_from_the_first_instruction) {
    for (way = 0; way < 8; way++) {
        ex.pool_threads = way < 2 ? 1 : 0;
        EACH_CLOCKED_OF(7, 7, RESTATE_SERVICE, .fn = runs_quick,
                        .options.hooks = way / 2 == 2 ? &slow : way / 2 == 1 ? &ends : NULL) {
            if (way >= 2 && ex.handlers[0].options.blocking) continue;
            begins(); ex_feed(); turn();
            if (way < 2) gate_reached(1);
            if (way < 2) while (ex.x->attempt->closures.executing < 2) turn();
            if (way >= 2 && way < 4) while (!told("end ")) nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
            if (way < 4) pass(WAIT_MS);
            gate_open();
            settle();
            if (way == 7) CHECK_INT(said("Propose 2 failure 500 \"not yet\""), 1);
            else if (way % 2) CHECK_INT(said("Error 500 index:2 Run \"q\" delay:1 message:\"not yet\""), 1);
            else CHECK_INT(said("Propose 2 value"), 1);
            drop_said();
            CHECK_INT(told("go "), 1);
            ex.told.len = 0;
            *ex.told.at = 0;
            if (way >= 6) LOG_HAS("WARN the closure of run \"q\" took 201 ms, its timeout_ms is 200");
            else if (way % 2) LOG_HAS("the attempt failed with 500: not yet");
            else LOG("");
        }
    }
    ex.pool_threads = 0;
}

static restate_status asks_at_once(restate_ctx *run, void *arg) {
    (void)arg;
    tell("%s ", restate_stop_requested(run) ? "stop" : "go on");
    return RESTATE_OK;
}

static restate_status timed(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .timeout_ms = RESTATE_ZERO_MS, .inline_ok = true };
    (void)in;
    return restate_run(ctx, "r", asks_at_once, NULL, &o, NULL);
}

TEST(no_time_at_all) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = timed) {
        begins(); give();
        TOLD("stop ");
        drop_said();
        ex.log.len = 0;                     /* whether it took a millisecond */
        if (ex.log.at) *ex.log.at = 0;
    }
}

/* ---- Their stacks --------------------------------------------------------------------------- */

/* Uses that much of the stack below `top`, and tells how much there is. (What a frame takes besides its variables
 * depends on the processor.) */
static size_t use_stack(const char *top, size_t bytes) {
    pthread_attr_t attr;
    size_t size = 0;
    volatile uint8_t room[1024];
    room[0] = room[1023] = (uint8_t)bytes;
    if ((size_t)(top - (const char *)__builtin_frame_address(0)) < bytes)
        return use_stack(top, bytes) + (size_t)(room[0] - room[1023]);
    if (pthread_getattr_np(pthread_self(), &attr)) return 0;
    pthread_attr_getstacksize(&attr, &size);
    pthread_attr_destroy(&attr);
    return size;
}

static restate_status digs(restate_ctx *run, void *arg) {
    size_t bytes = *(const size_t *)arg;
    CHECK(use_stack(__builtin_frame_address(0), bytes - bytes / 8) >= bytes);
    return restate_reply(run, text("dug"));
}

static restate_status digs_itself(restate_ctx *ctx, restate_bytes in) {
    size_t bytes = ctx->attempt->handler->options.stack_bytes;
    if (!bytes) bytes = ex.closure_stack_bytes ? ex.closure_stack_bytes : (size_t)1 << 20;
    if (ctx->attempt->blocking) CHECK(use_stack(__builtin_frame_address(0), bytes - bytes / 8) >= bytes);
    (void)in;
    bytes = ex.closure_stack_bytes ? ex.closure_stack_bytes : (size_t)1 << 20;
    return restate_run(ctx, "dig", digs, &bytes, NULL, NULL);
}

TEST(stacks_of_closures_and_blocking_handlers) {
    static const size_t sizes[] = { 0, 16384, 8 << 20 };
    for (size_t i = 0; i < 3; i++)
        for (size_t own = 0; own < 2; own++) {
            ex.closure_stack_bytes = sizes[i];
            EACH_CLOCKED_OF(7, 7, RESTATE_SERVICE, .fn = digs_itself, .options.stack_bytes = own ? 512 << 10 : 0) {
                begins(); give();
                SAYS("Run 1 \"dig\"", "Propose 1 value \"dug\" ack", "? AwaitingOn...");
                run_stored(1, ""); give();
                SAYS("Output value \"\"", "End");
            }
        }
    ex.closure_stack_bytes = 0;
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(run_result), T(run_fails), T(run_is_retried), T(run_policy), T(run_copies_its_argument),
        T(run_timeout), T(run_misuse_inside), T(runs_in_parallel), T(run_never_awaited),
        T(run_outlives_its_handler), T(guard_in_closures), T(waits_between_tries),
        T(own_delay_of_a_closure), T(closure_asks_for_a_pause), T(nothing_begins_when_it_is_over),
        T(what_is_wanted_again_is_queued_again), T(what_may_be_wanted_stays_in_the_queue),
        T(new_attempts_do_not_wait_behind_dead_ones), T(leaving_the_queue_is_linear),
        T(one_closure_fails_beside_another), T(siblings_of_a_failed_run_execute_once),
        T(what_siblings_come_to), T(tries_that_are_used_up_beside_a_failure),
        T(siblings_that_wait_are_not_begun), T(waiting_for_siblings_has_an_end),
        T(what_has_lost_is_not_waited_for), T(the_end_waits_for_the_own_closure_only),
        T(handlers_stand_still_meanwhile),
        T(closures_still_wanted), T(time_counts_from_the_first_instruction), T(no_time_at_all),
        T(stacks_of_closures_and_blocking_handlers),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
