/* Section >>context, closures on the pool: those that wait for a thread, those beside one that fails,
 * and what their time is. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "../restate.h"

#include "exchange.h"

static restate_bytes text(const char *s) { return restate_str(s); }

static int way;
static unsigned meet;                       /* closures at the gate before one fails */

static void begins(void) {
    start(1, .complete = true, .seed = 1);
    input("in");
}

static const char *status_name(restate_status s) {
    static const char *const names[] = { "ok", "terminal", "timeout", "cancelled", "ended", "error" };
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

static restate_status say(restate_status s) {
    tell("%s ", status_name(s));
    return s;
}

/* The clock of endpoints here stands still until a test moves it. */
static uint64_t now_ms;                     /* atomic */
static uint64_t stands_still(void *user) { return __atomic_load_n((uint64_t *)user, __ATOMIC_SEQ_CST); }
static void time_passes(uint64_t ms) { __atomic_add_fetch(&now_ms, ms, __ATOMIC_SEQ_CST); }

static void log_drop(void) {
    pthread_mutex_lock(&ex.lock);
    ex.log.len = 0;
    if (ex.log.at) *ex.log.at = 0;
    pthread_mutex_unlock(&ex.lock);
}

static void run_stored(unsigned id, const char *value) {
    if (ex.version == 7) note_ack(id);
    else note_value(N_RUN, id, value);
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

/* ---- Closures that wait for a thread ----------------------------------------------------------------- */

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
    case LOST: return say(restate_await(ctx, restate_race(ctx, pair, 2), NULL));
    case NESTED:
        pair[0] = restate_any(ctx, pair, 1);
        pair[0] = restate_race(ctx, pair, 2);
        return say(restate_await(ctx, restate_any(ctx, pair, 2), NULL));
    case RETURNED:
    case MISUSED:
    case RETRIED:
        RESTATE_TRY(restate_select(ctx, pair, 2, &index));
        CHECK_INT(index, 1);
        if (way == MISUSED) return say(restate_set(ctx, "k", text("v")));
        if (way == RETRIED) return say(restate_retry(ctx, NULL, "again"));
        return say(RESTATE_OK);
    default: return say(restate_await(ctx, pair[0], NULL));
    }
}

TEST(nothing_begins_when_it_is_over) {
    static const char *const last[WAYS] = { "", "", "Error 571...", "Error 500 index:1 Run \"a\" message:\"a@-\"", "", "",
                                            "", "Error 500...", "Error 500...", "Output failure 409 \"cancelled\"" };
    ex.pool_threads = 1;
    for (way = 0; way < WAYS; way++)
        EACH(RESTATE_SERVICE, .fn = queues) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            SAYS("Run 1 \"a\"", "Run 2 \"b\"", "Run 3 \"c\"", "? AwaitingOn...");
            CHECK_INT(ex.x->attempt->executing, 3);
            switch (way) {
            case CUT: restate__x_cut(ex.x); break;
            case RELEASED: ex_release(); break;
            case VIOLATED: raw("0005000000000000"); ex_feed(); break;
            case FAILED: break;
            case CANCELLED: note_cancel(); ex_feed(); break;
            default: note_signal(17, "x"); ex_feed(); break;
            }
            handled();
            if (way != FAILED && way != RELEASED) CHECK_INT(ex.x->attempt->executing, 1);
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
    say(s);
    if (s != RESTATE_OK && s != RESTATE_CANCELLED) return s;
    if (way == 2) return say(restate_await(ctx, f[2], NULL));
    return say(restate_await(ctx, all, NULL));
}

TEST(what_is_wanted_again_is_queued_again) {
    ex.pool_threads = 1;
    for (way = 0; way < 6; way++) {
        bool cancelled = way >= 3;
        int given = way;
        way %= 3;
        EACH(RESTATE_SERVICE, .fn = wants_again) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            TOLD("<a> ");
            if (cancelled) note_cancel();
            else note_signal(17, "x");
            ex_feed();
            handled();
            TOLD(cancelled ? "cancelled " : "ok ");
            CHECK_INT(ex.x->attempt->executing, way == 2 ? 2 : 3);
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
    if (way) say(restate_await_for(ctx, f[1], 10, NULL));
    else say(restate_select(ctx, f, 3, &index));
    return say(restate_await(ctx, restate_all(ctx, f, 3), NULL));
}

TEST(what_may_be_wanted_stays_in_the_queue) {
    ex.pool_threads = 1;
    for (way = 0; way < 2; way++)
        EACH(RESTATE_SERVICE, .fn = looks_on) {
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
                CHECK_INT(ex.x->attempt->executing, 2);
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
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = queues) {
        begins(); ex_feed(); turn();
        gate_reached(1);
        drop_said();
        TOLD("<a> ");
        for (int i = 0; i < 200; i++) {
            invoke();                       /* which releases the one before */
            begins(); ex_feed(); handled();
            drop_said();
        }
        CHECK_INT(ex.x->attempt->executing, 3);
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
        CHECK_INT(ctx->attempt->executing, n - 1 - i ? n - 1 - i : 1);  /* the first one has begun */
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

/* ---- Closures beside one that fails -------------------------------------------------------------------- */

static const char *names[8];                /* of the runs of runs_all(); the last is NULL */

static restate_status runs_all(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[8];
    size_t n = 0;
    (void)in;
    for (; names[n]; n++) f[n] = work(ctx, names[n]);
    return say(restate_await(ctx, restate_all(ctx, f, n), NULL));
}

static void run_names(const char *a, const char *b, const char *c) {
    memset(names, 0, sizeof names);
    names[0] = a, names[1] = b, names[2] = c;
}

/* Five of six succeed: each executes once. */
TEST(siblings_of_a_failed_run_execute_once) {
    static const char *const six[] = { "a@?", "b@?", "c@?", "d+-", "e@?", "f@?" };
    char name[2] = "a";
    EACH(RESTATE_SERVICE, .fn = runs_all) {
        memset(names, 0, sizeof names);
        memcpy(names, six, sizeof six);
        meet = 5;
        begins(); ex_feed(); turn();
        gate_reached(5);
        while (ex.x->attempt->executing > 5) turn();
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

/* What becomes of a sibling: its failure is stored, a second error is not told, but a pause is. */
TEST(what_siblings_come_to) {
    static const struct { const char *second, *line; } cases[] = {
        { "b@", "Propose 2 value \"b@\" ack" }, { "b@!", "Propose 2 failure 409 \"b@!\" ack" }, { "b@-", "" }, { "b@=", "" }
    };
    meet = 1;
    for (int i = 0; i < 4; i++)
        for (int pause = 0; pause < 2; pause++)
            EACH(RESTATE_SERVICE, .fn = runs_all) {
                bool v7 = ex.version == 7, second = v7 && i == 3 && !pause;
                const char *error = pause && !v7 ? "Error 573..." : pause
                    ? "Error 500 index:1 Run \"a\" behavior:1 message:\"a+=\"" : second
                    ? "Error 500 index:2 Run \"b\" behavior:1 message:\"b@=\"" : "Error 500 index:1 Run \"a\" message:\"a+-\"";
                run_names(pause ? "a+=" : "a+-", cases[i].second, NULL);
                begins(); ex_feed(); turn();
                gate_reached(1);
                while (ex.x->attempt->executing > 1) turn();
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
    return say(restate_await(ctx, restate_all(ctx, f, 2), NULL));
}

TEST(tries_that_are_used_up_beside_a_failure) {
    meet = 1;
    for (way = 0; way < 2; way++)
        EACH(RESTATE_SERVICE, .fn = runs_bounded) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            while (ex.x->attempt->executing > 1) turn();
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
    EACH(RESTATE_SERVICE, .fn = runs_all) {
        run_names("a@", "b+-", "c");
        names[3] = "d";
        begins(); ex_feed(); turn();
        gate_reached(1);
        while (!ex.x->finished && (!ex.x->attempt->vm.failing || ex.x->attempt->executing > 1)) turn();
        CHECK_INT(ex.x->attempt->executing, 1);
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
        EACH(RESTATE_SERVICE, .fn = runs_all) {
            run_names("a@?", "b+-", NULL);
            begins(); ex_feed(); turn();
            gate_reached(1);
            while (ex.x->attempt->executing > 1) turn();
            turn();
            drop_said();
            log_drop();
            if (way == 0) restate__x_cut(ex.x);
            if (way == 1) restate__x_end_input(ex.x);
            if (way == 2) time_passes(30000);
            if (way == 3) time_passes(29999);
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
    return say(restate_await(ctx, work(ctx, "b-"), NULL));
}

TEST(what_has_lost_is_not_waited_for) {
    EACH(RESTATE_SERVICE, .fn = fails_after_a_race) {
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

/* The handler does not go on while closures are waited for, whatever it does next. */
static restate_status goes_on(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3];
    size_t index;
    f[0] = work(ctx, "a@");
    f[1] = work(ctx, "b+-");
    f[2] = restate_awakeable(ctx, NULL);
    if (way < 2) {
        RESTATE_TRY(restate_select(ctx, f, 3, &index));
        if (way == 0) say(restate_set(ctx, "k", in));
        return RESTATE_OK;
    }
    RESTATE_TRY(restate_select(ctx, f, 3, &index));     /* the awakeable: its own thread is busy now */
    CHECK_INT(index, 2);
    gate();
    CHECK(restate_stop_requested(ctx));
    switch (way) {
    case 2: return say(restate_set(ctx, "k", in));
    case 3: return say(restate_retry(ctx, NULL, "mine"));
    case 4: return say(restate_promise_resolve(ctx, "misuse", in));
    case 5: restate_json_next(ctx, in, &in); return RESTATE_ENDED;
    default: return restate_reply(ctx, in);
    }
}

TEST(handlers_stand_still_meanwhile) {
    for (way = 0; way < 7; way++)
        EACH(RESTATE_OBJECT, .fn = goes_on) {
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

/* ---- Their time -------------------------------------------------------------------------------------- */

enum { LIMIT_MS = 200, WAIT_MS = 200 };

static restate_status quick(restate_ctx *run, void *arg) {
    tell(restate_stop_requested(run) ? "stop " : "go ");
    if (way >= 6) time_passes(WAIT_MS + 1);
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
    return say(restate_await(ctx, restate_all(ctx, f, 2), NULL));
}

static void begins_slowly(void *user, restate_ctx *run, const char *name) {
    (void)user;
    if (*name != 'q') return;
    CHECK(!restate_stop_requested(run));
    time_passes(WAIT_MS);
    CHECK(!restate_stop_requested(run));
}
static const restate_hooks slow = { .run_begin = begins_slowly };

/* It waits for a thread (0, 1), its worker is busy when it has finished (2, 3), a hook takes long (4, 5):
 * nothing of that is its time. What it takes itself is (6, 7). */
TEST(time_counts_from_the_first_instruction) {
    for (way = 0; way < 8; way++) {
        ex.pool_threads = way < 2 ? 1 : 0;
        EACH_OF(7, 7, RESTATE_SERVICE, .fn = runs_quick, .options.hooks = way / 2 == 2 ? &slow : NULL) {
            if (way >= 2 && ex.handlers[0].options.blocking) continue;
            begins(); ex_feed(); turn();
            if (way < 2) gate_reached(1);
            if (way < 2) while (ex.x->attempt->executing < 2) turn();
            if (way >= 2 && way < 4) while (!told("go ")) nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
            if (way < 4) time_passes(WAIT_MS);
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

/* ---- Their stacks ------------------------------------------------------------------------------------ */

/* Uses that much of the stack, and tells how much there is. */
static size_t use_stack(size_t bytes) {
    pthread_attr_t attr;
    size_t size = 0;
    volatile uint8_t room[1024];
    room[0] = room[1023] = (uint8_t)bytes;
    if (bytes > sizeof room) return use_stack(bytes - sizeof room) + (size_t)(room[0] - room[1023]);
    if (pthread_getattr_np(pthread_self(), &attr)) return 0;
    pthread_attr_getstacksize(&attr, &size);
    pthread_attr_destroy(&attr);
    return size;
}

static restate_status digs(restate_ctx *run, void *arg) {
    size_t bytes = *(const size_t *)arg;
    CHECK(use_stack(bytes - bytes / 8) >= bytes);
    return restate_reply(run, text("dug"));
}

static restate_status digs_itself(restate_ctx *ctx, restate_bytes in) {
    size_t bytes = ctx->attempt->handler->options.stack_bytes;
    if (!bytes) bytes = ex.closure_stack_bytes ? ex.closure_stack_bytes : (size_t)1 << 20;
    if (ctx->attempt->blocking) CHECK(use_stack(bytes - bytes / 8) >= bytes);
    (void)in;
    bytes = ex.closure_stack_bytes ? ex.closure_stack_bytes : (size_t)1 << 20;
    return restate_run(ctx, "dig", digs, &bytes, NULL, NULL);
}

TEST(stacks_of_closures_and_blocking_handlers) {
    static const size_t sizes[] = { 0, 16384, 8 << 20 };
    for (size_t i = 0; i < 3; i++)
        for (size_t own = 0; own < 2; own++) {
            ex.closure_stack_bytes = sizes[i];
            EACH_OF(7, 7, RESTATE_SERVICE, .fn = digs_itself, .options.stack_bytes = own ? 512 << 10 : 0) {
                begins(); give();
                SAYS("Run 1 \"dig\"", "Propose 1 value \"dug\" ack", "? AwaitingOn...");
                run_stored(1, ""); give();
                SAYS("Output value \"\"", "End");
            }
        }
    ex.closure_stack_bytes = 0;
}

int main(int argc, char **argv) {
    static const restate_clock clock_ = { stands_still, stands_still, &now_ms };
    static const test_case cases[] = {
        T(nothing_begins_when_it_is_over), T(what_is_wanted_again_is_queued_again),
        T(what_may_be_wanted_stays_in_the_queue), T(new_attempts_do_not_wait_behind_dead_ones),
        T(leaving_the_queue_is_linear), T(siblings_of_a_failed_run_execute_once), T(what_siblings_come_to),
        T(tries_that_are_used_up_beside_a_failure), T(siblings_that_wait_are_not_begun),
        T(waiting_for_siblings_has_an_end), T(what_has_lost_is_not_waited_for),
        T(handlers_stand_still_meanwhile), T(time_counts_from_the_first_instruction),
        T(stacks_of_closures_and_blocking_handlers),
        { NULL, NULL }
    };
    ex.clock = clock_;
    return test_main(argc, argv, cases);
}
