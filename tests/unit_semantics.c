/* What unit_features does not look at: a cancellation in the journal, combinators, whose failure it
 * is, seals, log records, requests in closures, and misuse. Through the public functions only. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "exchange.h"

#define EMPTY_OUTPUT "Output value \"\"", "End"
#define OWN_ID "0123456789abcdefghijklmn"
/* Ids of invocations, as the server makes them. */
#define INV INV_X
#define AWAKEABLE "sign_1MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAAEQ"

static const restate_pair metadata[] = { { "a", "1" }, { "b", "2" }, { NULL, NULL } };
static const restate_failure rich_failure = { .code = 410, .message = "no", .metadata = metadata };

static restate_bytes text(const char *s) { return restate_str(s); }
static restate_bytes absent(void) { return restate__b_none(); }
static restate_target greeter(void) {
    return (restate_target){ .service = "Greeter", .handler = "greet" };
}

static const char *name_of(restate_status s) {
    static const char *const names[] = {
        "ok", "terminal", "timeout", "cancelled", "ended", "error"
    };
    return (unsigned)s < 6 ? names[s] : "?";
}

/* "ok(value) ", "ok(-) " if absent, "terminal(409 why a:1) ", "ended ". */
static restate_status say(restate_ctx *ctx, restate_status s, restate_bytes value) {
    const restate_failure *f = restate_failed(ctx);
    CHECK(s == RESTATE_OK || !value.ptr);
    if (s == RESTATE_OK) tell("ok(%s) ", value.ptr ? (const char *)value.ptr : "-");
    else if (s == RESTATE_ENDED) tell("ended ");
    else {
        tell("%s(%u %s", name_of(s), f->code, f->message);
        for (const restate_pair *m = f->metadata; m->name; m++) tell(" %s:%s", m->name, m->value);
        tell(") ");
    }
    return s;
}

static restate_status returns_value(restate_ctx *run, void *arg) {
    return restate_reply(run, text((const char *)arg));
}
static char value_arg[] = "v";
static const restate_run_options inline_run = { .inline_ok = true };

/* ---- A cancellation in the journal ----------------------------------------------------------- */

static int variant;

typedef struct operation {
    const char *name;
    restate_kind kind;
    const char *result;
    void (*recorded)(void);                 /* its command in the journal; NULL: none */
    void (*answer)(void);
    restate_status (*perform)(restate_ctx *ctx, restate_bytes *value);
} operation;

static restate_status op_sleep_(restate_ctx *ctx, restate_bytes *v) {
    (void)v;
    return restate_await(ctx, restate_sleep_async(ctx, 5, "n"), NULL);
}
static restate_status op_run_(restate_ctx *ctx, restate_bytes *v) {
    return restate_run(ctx, "r", returns_value, value_arg, &inline_run, v);
}
static restate_status op_get_(restate_ctx *ctx, restate_bytes *v) {
    return restate_get(ctx, "k", v);
}
static restate_status op_keys_(restate_ctx *ctx, restate_bytes *v) {
    const char *const *keys;
    restate_status s = restate_keys(ctx, &keys);
    if (s == RESTATE_OK) *v = text(keys[0]);
    else CHECK(keys && !keys[0]);
    return s;
}
static restate_status op_call_(restate_ctx *ctx, restate_bytes *v) {
    return restate_call(ctx, greeter(), text("x"), NULL, v);
}
static restate_status op_send_id_(restate_ctx *ctx, restate_bytes *v) {
    return restate_await(ctx, restate_send(ctx, greeter(), text("x"), NULL), v);
}
static restate_status op_awakeable_(restate_ctx *ctx, restate_bytes *v) {
    const char *id;
    restate_future *f = restate_awakeable(ctx, &id);
    CHECK_STR(id, AWAKEABLE);
    return restate_await(ctx, f, v);
}
static restate_status op_signal_(restate_ctx *ctx, restate_bytes *v) {
    return restate_await(ctx, restate_signal(ctx, "go"), v);
}
static restate_status op_promise_(restate_ctx *ctx, restate_bytes *v) {
    return restate_await(ctx, restate_promise(ctx, "p"), v);
}
static restate_status op_peek_(restate_ctx *ctx, restate_bytes *v) {
    return restate_promise_peek(ctx, "p", v);
}
static restate_status op_promise_resolve_(restate_ctx *ctx, restate_bytes *v) {
    (void)v;
    return restate_promise_resolve(ctx, "p", text("v"));
}
static restate_status op_attach_(restate_ctx *ctx, restate_bytes *v) {
    return restate_attach(ctx, (restate_invocation){ .id = INV }, v);
}
static restate_status op_output_(restate_ctx *ctx, restate_bytes *v) {
    return restate_output(ctx, (restate_invocation){ .target = { .service = "W", .key = "k" } }, v);
}

static void rec_sleep(void) { cmd_sleep(1, "n", 9); }
static void rec_run(void) { cmd_run(1, "r"); }
static void rec_get(void) { cmd_get_lazy(1, "k"); }
static void rec_keys(void) { cmd_get_lazy_keys(1); }
static void rec_call(void) { cmd_call(1, "x"); }
static void rec_send(void) { cmd_send(1, "x"); }
static void rec_promise(void) { cmd_get_promise(1, "p"); }
static void rec_peek(void) { cmd_peek_promise(1, "p"); }
static void rec_resolve(void) { frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "v", 1); }
static void rec_attach(void) { frame(M_ATTACH, "1s 11u", INV, 1); }
static void rec_output(void) { frame(M_GET_OUTPUT, "4(1s2s) 11u", "W", "k", 1); }

static void answer_run(void) { note_value(N_RUN, 1, "v"); }
static void answer_get(void) { note_value(N_GET_LAZY, 1, "v"); }
static void answer_call(void) { note_value(N_CALL, 2, "v"); }
static void answer_promise(void) { note_value(N_GET_PROMISE, 1, "v"); }
static void answer_peek(void) { note_value(N_PEEK_PROMISE, 1, "v"); }
static void answer_attach(void) { note_value(N_ATTACH, 1, "v"); }
static void answer_output(void) { note_value(N_GET_OUTPUT, 1, "v"); }
static void answer_sleep(void) { note_sleep(1); }
static void answer_keys(void) { frame(N_GET_LAZY_KEYS, "1u 17(1s)", 1, "k"); }
static void answer_id(void) { note_id(1, INV); }
static void answer_awakeable(void) { note_signal(17, "v"); }
static void answer_signal(void) { note_named("go", "v"); }
static void answer_void(void) { note_void(N_COMPLETE_PROMISE, 1); }

#define GREET "\"Greeter\" \"greet\" parameter:\"x\""
static const operation operations[] = {
    { "sleep", RESTATE_SERVICE, "ok(-) ", rec_sleep, answer_sleep, op_sleep_ },
    { "run", RESTATE_SERVICE, "ok(v) ", rec_run, answer_run, op_run_ },
    { "get", RESTATE_OBJECT, "ok(v) ", rec_get, answer_get, op_get_ },
    { "keys", RESTATE_OBJECT, "ok(k) ", rec_keys, answer_keys, op_keys_ },
    { "call", RESTATE_SERVICE, "ok(v) ", rec_call, answer_call, op_call_ },
    { "send_id", RESTATE_SERVICE, "ok(" INV ") ", rec_send, answer_id, op_send_id_ },
    { "awakeable", RESTATE_SERVICE, "ok(v) ", NULL, answer_awakeable, op_awakeable_ },
    { "signal", RESTATE_SERVICE, "ok(v) ", NULL, answer_signal, op_signal_ },
    { "promise", RESTATE_WORKFLOW, "ok(v) ", rec_promise, answer_promise, op_promise_ },
    { "promise_peek", RESTATE_WORKFLOW, "ok(v) ", rec_peek, answer_peek, op_peek_ },
    { "promise_resolve", RESTATE_WORKFLOW, "ok(-) ", rec_resolve, answer_void,
      op_promise_resolve_ },
    { "attach", RESTATE_SERVICE, "ok(v) ", rec_attach, answer_attach, op_attach_ },
    { "output", RESTATE_SERVICE, "ok(v) ", rec_output, answer_output, op_output_ }
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static const operation *op;                 /* what a handler is to do */
static char op_where[80];

/* For each operation and each way to go through it. */
#define EACH_OPERATION \
    for (int i = 0; op = &operations[i < OPERATIONS ? i : 0], i < OPERATIONS; i++) \
        while (ex_again(op->kind, (restate_handler){ .fn = waits_cancelled }, 5, 7) && \
               (snprintf(op_where, sizeof op_where, "(%s, %s)", op->name, test_note), \
                test_note = op_where, true))

/* If it is cancelled it goes on to wait for something else. */
static restate_status waits_cancelled(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value = absent();
    restate_status s = op->perform(ctx, &value);
    (void)in;
    say(ctx, s, value);
    if (s != RESTATE_CANCELLED) return s;
    s = restate_await(ctx, restate_signal(ctx, "later"), &value);
    return say(ctx, s, value);
}

static void begin_with(unsigned known) {
    start(known, .id = OWN_ID, .seed = 1);
    input("in");
}

/* The journal went on without the result that is waited for: it was made by other code. */
TEST(waiting_where_the_journal_went_on) {
    EACH_OPERATION {
        begin_with(op->recorded ? 3 : 2);
        if (op->recorded) op->recorded();
        frame(M_CLEAR, "1s", "k"); give();
        SAYS("Error 570...");
        TOLD("ended ");
        LOG_HAS("the attempt failed with 570");
    }
}

/* The order of the journal decides whether the result or the cancellation is seen. */
TEST(cancellation_is_replayed) {
    for (int first = 0; first < 2; first++)
        EACH_OPERATION {
            bool calls = strcmp(op->name, "call") == 0;
            begin_with((op->recorded ? 4u : 3u) + (calls && first));
            if (op->recorded) op->recorded();
            if (first && calls) note_id(1, INV);
            if (first) note_cancel();
            op->answer();
            if (!first) note_cancel();
            give_and_end();
            TOLD(first ? "cancelled(409 cancelled) ended " : op->result);
            if (!first) SAYS(EMPTY_OUTPUT);
            else if (calls)
                SAYS("SendSignal \"" INV "\" index:1 void", "Suspension W{s:1,n:later}");
            else SAYS("Suspension W{s:1,n:later}");
        }
}

static restate_status rejects_run(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_fail_with(run, &rich_failure);
}

/* ---- Futures --------------------------------------------------------------------------------- */

typedef restate_future *combinator(restate_ctx *ctx, restate_future *const *futures, size_t count);
static combinator *const combinators[] = { restate_race, restate_any, restate_all,
                                           restate_all_settled };

static restate_status combines_one(restate_ctx *ctx, restate_bytes in) {
    restate_future *f = restate_awakeable(ctx, NULL), *three[3] = { NULL, f, NULL }, *c;
    restate_bytes value;
    c = combinators[variant](ctx, *in.ptr == 'n' ? three : &f, *in.ptr == 'n' ? 3 : 1);
    say(ctx, restate_await(ctx, c, &value), value);
    return say(ctx, restate_await(ctx, f, &value), value);
}

TEST(combinators_of_one) {
    static const char *const good[] = { "ok(v) ok(v) ", "ok(v) ok(v) ", "ok(-) ok(v) ",
                                        "ok(-) ok(v) " };
    for (variant = 0; variant < 4; variant++)
        for (int nulls = 0; nulls < 2; nulls++)
            for (int fails = 0; fails < 2; fails++)
                EACH(RESTATE_SERVICE, .fn = combines_one) {
                    start(1); input(nulls ? "nulls" : "one"); give();
                    SAYS("? AwaitingOn...");
                    if (fails) note_signal_failure(17, 418, "no");
                    else note_signal(17, "v");
                    give();
                    if (!fails) TOLD(good[variant]);
                    else
                        TOLD(variant == 3 ? "ok(-) terminal(418 no) "
                                          : "terminal(418 no) terminal(418 no) ");
                    if (fails) SAYS("Output failure 418 \"no\"", "End");
                    else SAYS(EMPTY_OUTPUT);
                }
}

/* Of everything that makes a future, nested: race(any(call, timer), all(awakeable, signal),
 * all_settled(attach, run)). */
static restate_status nests(restate_ctx *ctx, restate_bytes in) {
    restate_future *a[2], *b[2], *c[2], *all[3];
    restate_bytes value;
    (void)in;
    a[0] = restate_call_async(ctx, greeter(), text("x"), NULL);
    a[1] = restate_sleep_async(ctx, 5, NULL);
    b[0] = restate_awakeable(ctx, NULL);
    b[1] = restate_signal(ctx, "go");
    c[0] = restate_attach_async(ctx, (restate_invocation){ .id = INV });
    c[1] = restate_get_async(ctx, "k");
    all[0] = restate_any(ctx, a, 2);
    all[1] = restate_all(ctx, b, 2);
    all[2] = restate_all_settled(ctx, c, 2);
    say(ctx, restate_await(ctx, restate_race(ctx, all, 3), &value), value);
    for (int i = 0; i < 3; i++) tell("%d", restate_is_done(all[i]));
    return RESTATE_OK;
}

static void nests_recorded(unsigned notes) {
    start(5 + notes); input("");
    cmd_call(1, "x"); cmd_sleep(3, "", 1); frame(M_ATTACH, "1s 11u", INV, 4); cmd_get_lazy(5, "k");
}

TEST(nested_combinators) {
    EACH(RESTATE_OBJECT, .fn = nests) {
        begin_with(1); give();
        SAYS("Call 1 2 " GREET, "Sleep 3 wake:...", "AttachInvocation 4 \"" INV "\"",
             "GetLazyState 5 \"k\"",
             "AwaitingOn "
             "W{s:1,N:[W{N:[FIRST_SUCCEEDED{c:2,3},ALL_SUCCEEDED{s:17,n:go},ALL_COMPLETED{c:4,5}]}]"
             "}");
        note_failure(N_CALL, 2, 418, "no"); note_void(N_GET_LAZY, 5); give();
        SAYS("AwaitingOn "
             "W{s:1,N:[W{N:[FIRST_SUCCEEDED{c:3},ALL_SUCCEEDED{s:17,n:go},ALL_COMPLETED{c:4}]}]}");
        TOLD("");
        note_signal(17, "v"); end_of_input();   /* not fed yet */
        SAYS("Suspension "
             "W{s:1,N:[W{N:[FIRST_SUCCEEDED{c:3},ALL_SUCCEEDED{s:17,n:go},ALL_COMPLETED{c:4}]}]}");
        TOLD("ended 000");
        rt_script.len = 0;
    }
    EACH(RESTATE_OBJECT, .fn = nests) {     /* each branch can win */
        nests_recorded(3);
        note_failure(N_CALL, 2, 418, "no");
        note_signal(17, "v");
        note_sleep(3);
        give();
        TOLD("ok(-) 100");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_OBJECT, .fn = nests) {
        nests_recorded(4);
        note_failure(N_CALL, 2, 418, "no");
        note_signal(17, "v");
        note_named("go", "w");
        note_sleep(3);
        give();
        TOLD("ok(-) 010");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_OBJECT, .fn = nests) {
        nests_recorded(3);
        note_failure(N_ATTACH, 4, 500, "x");
        note_value(N_GET_LAZY, 5, "s");
        note_value(N_CALL, 2, "c");
        give();
        TOLD("ok(-) 001");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_OBJECT, .fn = nests) {     /* a failure is a result of the race */
        nests_recorded(2); note_failure(N_SIGNAL, 17, 0, ""); rt_script.len = 0;
        nests_recorded(2); note_signal_failure(17, 403, "b"); note_value(N_CALL, 2, "c"); give();
        TOLD("terminal(403 b) 010");
        SAYS(EMPTY_OUTPUT);
    }
}

/* Who won is in the journal: however the notifications lie there, the handler sees that order. */
static restate_status picks(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3];
    restate_bytes value;
    size_t index;
    (void)in;
    for (int i = 0; i < 3; i++) f[i] = restate_awakeable(ctx, NULL);
    RESTATE_TRY(restate_select(ctx, f, 3, &index));
    tell("%zu ", index);
    say(ctx, restate_await(ctx, restate_race(ctx, f, 3), &value), value);
    say(ctx, restate_await(ctx, restate_any(ctx, f, 3), &value), value);
    say(ctx, restate_await(ctx, restate_all(ctx, f, 3), &value), value);
    return RESTATE_OK;
}

TEST(winners_are_the_journals) {
    static const int orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                      { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    for (int o = 0; o < 6; o++)
        for (int fails = 0; fails < 2; fails++)             /* the first one */
            for (int replayed = 0; replayed < 2; replayed++)
                EACH(RESTATE_SERVICE, .fn = picks) {
                    char told[120];
                    const int *at = orders[o];
                    start(replayed ? 4 : 1); input("x");
                    if (!replayed) give();
                    for (int i = 0; i < 3; i++) {
                        char value[2] = { (char)('0' + at[i]), 0 };
                        if (fails && i == 0) note_signal_failure(17u + (unsigned)at[i], 418, value);
                        else note_signal(17u + (unsigned)at[i], value);
                        if (!replayed) give();
                    }
                    give();
                    drop_said();
                    if (fails)
                        snprintf(told, sizeof told, "%d terminal(418 %d) ok(%d) terminal(418 %d) ",
                                 at[0], at[0], at[1], at[0]);
                    else
                        snprintf(told, sizeof told, "%d ok(%d) ok(%d) ok(-) ", at[0], at[0], at[0]);
                    TOLD(told);
                }
}

/* Settled ones have an order, too: that of their making, and later than what was settled before. */
static restate_status settles(restate_ctx *ctx, restate_bytes in) {
    restate_future *late = restate_awakeable(ctx, NULL), *f[3];
    restate_bytes value;
    char gone[] = "one";
    size_t index;
    (void)in;
    RESTATE_TRY(restate_await(ctx, late, NULL));
    f[1] = restate_settled(ctx, text(gone), NULL);
    memset(gone, 'x', 3);
    f[0] = restate_settled(ctx, absent(), &rich_failure);
    f[2] = late;
    say(ctx, restate_await(ctx, restate_race(ctx, f, 2), &value), value);
    say(ctx, restate_await(ctx, restate_race(ctx, f, 3), &value), value);
    say(ctx, restate_await(ctx, restate_any(ctx, f, 1), &value), value);
    say(ctx, restate_await(ctx, restate_any(ctx, f, 2), &value), value);
    say(ctx, restate_await(ctx, restate_all(ctx, f, 3), &value), value);
    say(ctx, restate_await(ctx, restate_all_settled(ctx, f, 3), &value), value);
    say(ctx, restate_await_for(ctx, f[1], 5, &value), value);   /* no timer for what is there */
    say(ctx, restate_await(ctx, restate_settled(ctx, absent(), NULL), &value), value);
    RESTATE_TRY(restate_select(ctx, f, 3, &index));
    tell("%zu ", index);
    return RESTATE_OK;
}

TEST(settled_futures) {
    EACH(RESTATE_SERVICE, .fn = settles) {
        start(2); input(""); note_signal(17, "v"); give_and_end();
        TOLD("ok(one) ok(v) terminal(410 no a:1 b:2) ok(one) terminal(410 no a:1 b:2) ok(-) "
             "ok(one) ok(-) 2 ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* A future in several combinators, and twice in one. */
static restate_status shares(restate_ctx *ctx, restate_bytes in) {
    restate_future *a = restate_awakeable(ctx, NULL), *b = restate_awakeable(ctx, NULL), *twice[3],
                   *c[2];
    restate_bytes value;
    (void)in;
    twice[0] = twice[1] = a;
    twice[2] = b;
    c[0] = restate_all(ctx, twice, 3);
    c[1] = restate_race(ctx, twice, 3);
    say(ctx, restate_await(ctx, c[1], &value), value);
    tell("%d%d ", restate_is_done(c[0]), restate_is_done(c[1]));
    say(ctx, restate_await(ctx, c[0], &value), value);
    say(ctx, restate_await(ctx, restate_all(ctx, c, 2), &value), value);
    return RESTATE_OK;
}

TEST(futures_in_several_combinators) {
    EACH(RESTATE_SERVICE, .fn = shares) {
        begin_with(1); give();
        SAYS("AwaitingOn W{s:1,N:[W{s:17,18}]}");
        note_signal(17, "a"); give();
        TOLD("ok(a) 01 ");
        SAYS("AwaitingOn W{s:1,N:[ALL_SUCCEEDED{s:18}]}");
        note_signal(18, "b"); give();
        TOLD("ok(-) ok(-) ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* A timeout around a combinator: what is inside goes on. */
static restate_status times_out(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2], *all;
    restate_bytes value;
    (void)in;
    f[0] = restate_call_async(ctx, greeter(), text("x"), NULL);
    f[1] = restate_awakeable(ctx, NULL);
    all = restate_all(ctx, f, 2);
    say(ctx, restate_await_for(ctx, all, 10, &value), value);
    tell("%d%d%d ", restate_is_done(f[0]), restate_is_done(f[1]), restate_is_done(all));
    say(ctx, restate_await(ctx, all, &value), value);
    return say(ctx, restate_await(ctx, f[0], &value), value);
}

TEST(timeout_of_a_combinator) {
    EACH(RESTATE_SERVICE, .fn = times_out) {
        begin_with(1); give();
        SAYS("Call 1 2 " GREET, "Sleep 3 wake:...",
             "AwaitingOn W{s:1,N:[W{c:3,N:[ALL_SUCCEEDED{c:2,s:17}]}]}");
        note_signal(17, "a"); note_sleep(3); give();
        TOLD("timeout(408 timed out after 10 ms) 010 ");
        SAYS("? AwaitingOn...", "? AwaitingOn...");
        note_value(N_CALL, 2, "c"); give();
        TOLD("ok(-) ok(c) ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* n futures, answered backwards, gone through by a selector and all kinds of combinators. */
static restate_status has_many(restate_ctx *ctx, restate_bytes in) {
    size_t n = (size_t)atoi((const char *)in.ptr), index;
    restate_future **f = (restate_future **)restate_alloc(ctx, n * sizeof *f), *c[4];
    restate_selector *left;
    restate_bytes value;
    if (!f) return RESTATE_ENDED;
    for (size_t i = 0; i < n; i++) f[i] = restate_awakeable(ctx, NULL);
    for (int i = 0; i < 4; i++) c[i] = combinators[i](ctx, f, n);
    left = restate_selector_new(ctx, f, n);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(restate_selector_remaining(left), n - i);
        RESTATE_TRY(restate_selector_next(ctx, left, &index));
        CHECK_INT(index, n - 1 - i);
        RESTATE_TRY(restate_await(ctx, f[index], &value));
        CHECK_INT(atoi((const char *)value.ptr), index);
    }
    CHECK_INT(restate_selector_remaining(left), 0);
    for (int i = 0; i < 4; i++) {
        CHECK(restate_is_done(c[i]));
        RESTATE_TRY(restate_await(ctx, c[i], &value));
        CHECK(i < 2 ? atoi((const char *)value.ptr) == (int)n - 1 : !value.ptr);
    }
    return RESTATE_OK;
}

static double seconds_for(unsigned n) {
    char count[16];
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        clock_t began;
        ex.bytewise = false;
        test_note = "(many)";
        ex_begin(RESTATE_SERVICE, (restate_handler){ .fn = has_many }, 7, false);
        invoke();
        snprintf(count, sizeof count, "%u", n);
        start(1); input(count);
        for (unsigned k = n; k > 0; k--) {
            snprintf(count, sizeof count, "%u", k - 1);
            note_signal(16 + k, count);
        }
        began = clock();
        give();
        if ((double)(clock() - began) / CLOCKS_PER_SEC < best)
            best = (double)(clock() - began) / CLOCKS_PER_SEC;
        SAYS("? AwaitingOn...", EMPTY_OUTPUT);
        ex_end();
        test_note = "";
    }
    return best;
}

TEST(ten_thousand_futures_are_linear) {
    double few = seconds_for(1000), many = seconds_for(10000);
    char where[80];
    snprintf(where, sizeof where, "(%.2f ms, then %.2f ms)", few * 1e3, many * 1e3);
    test_note = where;
    CHECK(many < few * 30 + 0.01);
    test_note = "";
}

static restate_status nests_deep(restate_ctx *ctx, restate_bytes in) {
    int depth = atoi((const char *)in.ptr);
    restate_future *f = restate_awakeable(ctx, NULL);
    restate_bytes value;
    for (; depth > 0; depth--)
        f = combinators[depth % 2](ctx, &f, 1); /* race and any hand the value up */
    return say(ctx, restate_await(ctx, f, &value), value);
}

TEST(nesting_has_a_limit) {
    EACH(RESTATE_SERVICE, .fn = nests_deep) {
        start(1); input("1000"); note_signal(17, "v"); give();
        TOLD("ok(v) ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = nests_deep) {
        start(1); input("1001"); note_signal(17, "v"); give();
        TOLD("ended ");
        SAYS("Error 500...");
        LOG_HAS("failed with 500");
    }
}

/* The handler's context in a closure: the attempt ends, and nothing else happens. */
static restate_ctx *handlers_ctx;
static restate_future *handlers_future;

static restate_status uses_the_other(restate_ctx *run, void *arg) {
    restate_bytes value;
    (void)arg;
    if (variant > 1) gate();                /* until the handler waits */
    tell("%s ", name_of(variant % 2 ? restate_sleep(handlers_ctx, 1)
                                    : restate_await(handlers_ctx, handlers_future, &value)));
    return restate_reply(run, text("v"));
}

static restate_status lends_its_context(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    handlers_ctx = ctx;
    handlers_future = restate_awakeable(ctx, NULL);
    return restate_run(ctx, "r", uses_the_other, NULL, variant < 2 ? &inline_run : NULL, NULL);
}

TEST(context_of_the_handler_in_a_closure) {
    for (variant = 0; variant < 4; variant++)
        EACH(RESTATE_SERVICE, .fn = lends_its_context) {
            begin_with(1); ex_feed(); turn();
            if (variant > 1) gate_reached(1);
            gate_open();
            settle();
            SAYS("Run 1 \"r\"", "Error 500 index:1 Run \"r\" message:\"S/h (in a closure): ...");
            TOLD("ended ");
            LOG_HAS("the handler's context was used in a closure");
        }
}

/* ---- Suspension and mismatch ----------------------------------------------------------------- */

/* Code that looks at no status: nothing is written after the suspension, whatever it returns. */
static restate_status swallows(restate_ctx *ctx, restate_bytes in) {
    static const restate_status returned[] = { RESTATE_OK, RESTATE_TERMINAL, RESTATE_CANCELLED,
                                               (restate_status)42, RESTATE_ENDED };
    (void)in;
    RESTATE_IGNORE(restate_sleep(ctx, 1));
    restate_set(ctx, "k", text("v"));
    restate_send(ctx, greeter(), text("x"), NULL);
    restate_reply(ctx, text("done"));
    RESTATE_IGNORE(restate_fail(ctx, 418, "x"));
    RESTATE_IGNORE(restate_retry(ctx, NULL, "x"));
    return returned[variant];
}

TEST(suspension_cannot_be_swallowed) {
    for (variant = 0; variant < 5; variant++)
        EACH(RESTATE_OBJECT, .fn = swallows) {
            begin_with(1); give_and_end();
            SAYS("Sleep 1 wake:...", "Suspension W{c:1,s:1}");
            CHECK(ex.x->finished);
        }
}

static restate_status sets_other(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_set(ctx, "k", text("new"));
}

TEST(payload_check_switched_off) {
    EACH(RESTATE_OBJECT, .fn = sets_other, .options = { .skip_payload_check = RESTATE_ON }) {
        begin_with(2); cmd_set("k", "old"); give();
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_OBJECT, .fn = sets_other, .options = { .skip_payload_check = RESTATE_ON }) {
        begin_with(2); cmd_set("l", "old"); give();         /* the rest is compared */
        SAYS("Error 570 index:1 SetState...");
        LOG_HAS("failed with 570");
    }
}

/* ---- Cancellation ---------------------------------------------------------------------------- */

/* A failure of a callee is never taken for our own cancellation or timeout. */
static restate_status calls_callee(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value;
    (void)in;
    say(ctx, restate_call(ctx, greeter(), text("x"), NULL, &value), value);
    say(ctx,
        restate_await_for(ctx, restate_call_async(ctx, greeter(), text("x"), NULL), 60000, &value),
        value);
    return RESTATE_OK;
}

TEST(callee_that_was_cancelled) {
    EACH(RESTATE_SERVICE, .fn = calls_callee) {
        begin_with(1);
        note_failure(N_CALL, 2, 409, "cancelled");
        note_failure(N_CALL, 4, 408, "timed out after 60000 ms");
        give();
        TOLD("terminal(409 cancelled) terminal(408 timed out after 60000 ms) ");
        SAYS("Call 1 2 " GREET, "Call 3 4 " GREET, "Sleep 5 wake:...", EMPTY_OUTPUT);
    }
}

/* Calls since the last cancellation are cancelled, finished ones too, sends not; then they are
 * forgotten. */
static restate_status has_children(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    restate_bytes value;
    (void)in;
    RESTATE_TRY(say(ctx, restate_call(ctx, greeter(), text("x"), NULL, &value), value));
    restate_send(ctx, greeter(), text("x"), NULL);
    f = restate_call_async(ctx, greeter(), text("x"), NULL);
    say(ctx, restate_await(ctx, f, &value), value);
    say(ctx, restate_await(ctx, restate_call_async(ctx, greeter(), text("x"), NULL), &value),
        value);
    return say(ctx, restate_await(ctx, f, &value), value);  /* as good as before: not sticky */
}

TEST(children_are_cancelled_once) {
    EACH(RESTATE_SERVICE, .fn = has_children) {
        begin_with(1); note_id(1, "inv_1"); note_value(N_CALL, 2, "one"); give();
        SAYS("Call 1 2 " GREET, "OneWayCall 3 " GREET, "Call 4 5 " GREET, "AwaitingOn W{c:5,s:1}");
        note_id(3, "inv_3"); note_cancel(); give();
        SAYS("? AwaitingOn W{c:5,s:1}", "AwaitingOn W{c:4}");
        note_id(4, "inv_4"); give();
        SAYS("SendSignal \"inv_1\" index:1 void", "SendSignal \"inv_4\" index:1 void",
             "Call 6 7 " GREET, "AwaitingOn W{c:7,s:1}");
        note_id(6, "inv_6"); note_cancel(); give();
        SAYS("? AwaitingOn W{c:7,s:1}", "SendSignal \"inv_6\" index:1 void",
             "AwaitingOn W{c:5,s:1}");
        note_value(N_CALL, 5, "late"); give();
        TOLD("ok(one) cancelled(409 cancelled) cancelled(409 cancelled) ok(late) ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* At everything that waits for several. */
static restate_status waits_for_several(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    restate_selector *left;
    restate_bytes value = absent();
    restate_status s;
    size_t index = 9;
    (void)in;
    f[0] = restate_awakeable(ctx, NULL);
    f[1] = restate_awakeable(ctx, NULL);
    left = restate_selector_new(ctx, f, 2);
    switch (variant) {
    case 0: s = restate_select(ctx, f, 2, &index); CHECK_INT(index, 2); break;
    case 1: s = restate_selector_next(ctx, left, &index); CHECK_INT(index, 2); break;
    case 2: s = restate_await_for(ctx, f[0], 1000, &value); break;
    default: s = restate_await(ctx, combinators[variant - 3](ctx, f, 2), &value); break;
    }
    say(ctx, s, value);
    CHECK(!restate_is_done(f[0]) && !restate_is_done(f[1]));
    CHECK_INT(restate_selector_remaining(left), 2);
    RESTATE_TRY(restate_selector_next(ctx, left, &index));
    tell("%zu ", index);
    return RESTATE_OK;
}

TEST(cancelled_while_waiting_for_several) {
    for (variant = 0; variant < 7; variant++)
        EACH(RESTATE_SERVICE, .fn = waits_for_several) {
            begin_with(1); give();
            drop_said();
            note_cancel(); give();
            TOLD("cancelled(409 cancelled) ");
            note_signal(18, "v"); give();
            TOLD("1 ");
            SAYS("AwaitingOn W{s:1,N:[W{s:17,18}]}", "? AwaitingOn...", EMPTY_OUTPUT);
        }
}

/* Explicit: awaits know nothing of it, the future does, and there is another one after it. */
static restate_status watches(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    restate_bytes value;
    size_t index;
    (void)in;
    f[0] = restate_awakeable(ctx, NULL);
    say(ctx, restate_await(ctx, f[0], &value), value);
    for (int i = 0; i < 2; i++) {
        f[0] = restate_awakeable(ctx, NULL);
        f[1] = restate_cancellation(ctx);
        RESTATE_TRY(restate_select(ctx, f, 2, &index));
        tell("%zu ", index);
        say(ctx, restate_await(ctx, f[index], &value), value);
    }
    return RESTATE_OK;
}

TEST(explicit_cancellation_renews) {
    EACH(RESTATE_SERVICE, .fn = watches, .options = { .explicit_cancellation = RESTATE_ON }) {
        begin_with(1); note_cancel(); give();
        TOLD("");
        SAYS("AwaitingOn W{s:17}");
        note_signal(17, "v"); give();
        TOLD("ok(v) 1 ok(-) ");
        note_cancel(); give();
        TOLD("1 ok(-) ");
        SAYS("? AwaitingOn...", "? AwaitingOn...", EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = watches,
         .options = { .explicit_cancellation = RESTATE_ON }) { /* and on replay */
        start(5, .id = OWN_ID);
        input("in");
        note_signal(17, "v");
        note_cancel();
        note_signal(19, "w");
        note_cancel();
        give();
        TOLD("ok(v) 1 ok(-) 0 ok(w) ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* ---- Failures -------------------------------------------------------------------------------- */

/* Through functions that know nothing of it: what arrives is what was made. */
static restate_status deep_down(restate_ctx *ctx, int depth) {
    if (depth == 0) return restate_call(ctx, greeter(), text("x"), NULL, NULL);
    RESTATE_TRY(deep_down(ctx, depth - 1));
    return RESTATE_OK;
}

static restate_status cleans_up(restate_ctx *ctx, restate_bytes in) {
    restate_status s = deep_down(ctx, 5);
    const restate_failure *why = restate_failed(ctx);
    (void)in;
    if (s != RESTATE_TERMINAL) return s;
    s = restate_run(ctx, "undo", rejects_run, NULL, &inline_run, NULL);
    CHECK(s == RESTATE_ENDED || restate_failed(ctx) != why);
    return restate_fail_with(ctx, why);
}

TEST(failures_come_through) {
    EACH(RESTATE_SERVICE, .fn = cleans_up) {
        if (ex.version == 5) { drop_said(); continue; }     /* no metadata */
        start(4);
        input("x");
        cmd_call(1, "x");
        frame(N_CALL, "1u 6(1u 2s 3(1s2s))", 2, 418, "teapot", "k", "v");
        cmd_run(3, "undo"); give_and_end();
        SAYS("Propose 3 failure 410 \"no\" \"a\":\"1\" \"b\":\"2\" ack", "Suspension W{c:3,s:1}");
        invoke();
        start(5);
        input("x");
        cmd_call(1, "x");
        frame(N_CALL, "1u 6(1u 2s 3(1s2s))", 2, 418, "teapot", "k", "v");
        cmd_run(3, "undo"); note_failure(N_RUN, 3, 410, "no"); give_and_end();
        SAYS("Output failure 418 \"teapot\" \"k\":\"v\"", "End");
    }
}

/* ---- Codecs ---------------------------------------------------------------------------------- */

static restate_status uses_all_codecs(restate_ctx *ctx, restate_bytes in) {
    restate_bytes copy = absent(), bytes = text("b\x01");
    struct cJSON *tree = NULL;
    RESTATE_TRY(restate_decode(ctx, RESTATE_BYTES, in, &copy));
    CHECK(copy.ptr == in.ptr && copy.len == in.len);
    RESTATE_TRY(restate_decode(ctx, RESTATE_JSON, in, &tree));
    RESTATE_TRY(restate_decode(ctx, RESTATE_VOID, in, NULL));
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(tree, "a")), "x");
    RESTATE_TRY(restate_set(ctx, "bytes", restate_encode(ctx, RESTATE_BYTES, &bytes)));
    RESTATE_TRY(restate_set(ctx, "void", restate_encode(ctx, RESTATE_VOID, NULL)));
    return restate_reply(ctx, restate_encode(ctx, NULL, tree));     /* JSON is the default */
}

TEST(ready_made_codecs) {
    EACH(RESTATE_OBJECT, .fn = uses_all_codecs) {
        start(1, .complete = true); input("{ \"a\": \"x\" }"); give();
        SAYS("SetState \"bytes\" value \"b\\x01\"", "SetState \"void\" value \"\"",
             "Output value \"{\"a\":\"x\"}\"", "End");
    }
}

/* ---- Seals ----------------------------------------------------------------------------------- */

static int nonces;

/* "<text>": or, unstable, "<text>N". "!" cannot be sealed; what is not in brackets cannot be
 * opened. */
static restate_status seals(void *user, restate_ctx *ctx, restate_bytes plain,
                            restate_bytes *sealed) {
    if (plain.len && *plain.ptr == '!') return restate_fail(ctx, 422, "too dangerous");
    if (variant)
        *sealed = text(restate_text(ctx, "%s%.*s>%d", (const char *)user, (int)plain.len,
                                    (const char *)plain.ptr, nonces++));
    else
        *sealed = text(restate_text(ctx, "%s%.*s>", (const char *)user, (int)plain.len,
                                    (const char *)plain.ptr));
    return sealed->len ? RESTATE_OK : RESTATE_ENDED;
}

static restate_status opens(void *user, restate_ctx *ctx, restate_bytes sealed,
                            restate_bytes *plain) {
    const uint8_t *end = (const uint8_t *)memchr(sealed.ptr, '>', sealed.len);
    (void)user;
    if (!end || *sealed.ptr != '<') return restate_fail(ctx, 422, "not sealed");
    *plain =
        text(restate_text(ctx, "%.*s", (int)(end - sealed.ptr) - 1, (const char *)sealed.ptr + 1));
    return RESTATE_OK;
}

static char bracket[] = "<";
static const restate_seal seal = { seals, opens, bracket, false };
static const restate_seal nonce_seal = { seals, opens, bracket, true };

static restate_status keeps_secrets(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    restate_bytes v;
    const char *id;
    tell("(%s) ", (const char *)in.ptr);
    CHECK(restate_request(ctx)->body.len == in.len &&
          memcmp(restate_request(ctx)->body.ptr, in.ptr, in.len) == 0);
    RESTATE_TRY(say(ctx, restate_get(ctx, "a", &v), v));
    RESTATE_TRY(restate_set(ctx, "b", text("state")));
    RESTATE_TRY(say(ctx, restate_get(ctx, "b", &v), v));
    RESTATE_TRY(say(ctx, restate_run(ctx, "r", returns_value, value_arg, &inline_run, &v), v));
    RESTATE_TRY(say(ctx, restate_call(ctx, greeter(), text("x"), NULL, &v), v));
    restate_send(ctx, greeter(), text("y"), NULL);
    f = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_resolve(ctx, id, text("z")));
    RESTATE_TRY(say(ctx, restate_await(ctx, f, &v), v));
    RESTATE_TRY(say(ctx, restate_await(ctx, f, &v), v));    /* opened once */
    RESTATE_TRY(restate_signal_resolve(ctx, INV, "n", text("s")));
    RESTATE_TRY(say(ctx, restate_await(ctx, restate_signal(ctx, "m"), &v), v));
    RESTATE_TRY(restate_promise_resolve(ctx, "p", text("promised")));
    RESTATE_TRY(say(ctx, restate_await(ctx, restate_promise(ctx, "p"), &v), v));
    RESTATE_TRY(say(ctx, restate_attach(ctx, (restate_invocation){ .id = INV }, &v), v));
    RESTATE_TRY(say(ctx, restate_await(ctx, restate_settled(ctx, text("here"), NULL), &v), v));
    RESTATE_TRY(say(ctx, restate_call(ctx, greeter(), absent(), NULL, &v),
                    v)); /* nothing is sealed as empty */
    return restate_reply(ctx, text("out"));
}

static void answers_with_secrets(void) {
    if (ex.version == 7) note_ack(3);
    else note_value(N_RUN, 3, variant ? "<v>0" : "<v>");
    note_id(4, "inv_4");
    note_value(N_CALL, 5, "<c>");
    note_id(6, "inv_6");
    note_signal(17, "<aw>");
    note_named("m", "<si>");
    note_void(N_COMPLETE_PROMISE, 7);
    note_value(N_GET_PROMISE, 8, "<pr>");
    note_value(N_ATTACH, 9, "<at>");
    note_id(10, "inv_10"); note_value(N_CALL, 11, "");
}

#define SECRETS \
    "(in) ok(secret) ok(state) ok(v) ok(c) ok(aw) ok(aw) ok(si) ok(pr) ok(at) ok(here) ok() "

/* Hooks see the request as the handler does. */
static void looks_at_body(void *user, restate_ctx *ctx) {
    (void)user;
    tell("[%s] ", (const char *)restate_request(ctx)->body.ptr);
}
static const restate_hooks looking = { .begin = looks_at_body };

TEST(seal_covers_all_payloads) {
    variant = 0;
    EACH(RESTATE_WORKFLOW, .fn = keeps_secrets, .options = { .seal = &seal, .hooks = &looking }) {
        start(1, .complete = true, .state = "a=<secret>", .id = OWN_ID); input("<in>"); give();
        SAYS("GetEagerState \"a\" value \"<secret>\"", "SetState \"b\" value \"<state>\"",
             "GetEagerState \"b\" value \"<state>\"", "Run 3 \"r\"", "Propose 3 value \"<v>\" ack",
             "AwaitingOn W{c:3,s:1}");
        answers_with_secrets(); give();
        TOLD("[in] " SECRETS);
        SAYS("Call 4 5 \"Greeter\" \"greet\" parameter:\"<x>\"", "? AwaitingOn...",
             "OneWayCall 6 \"Greeter\" \"greet\" parameter:\"<y>\"",
             "CompleteAwakeable \"" AWAKEABLE "\" value \"<z>\"", "? AwaitingOn...",
             "SendSignal \"" INV "\" name:\"n\" value \"<s>\"", "? AwaitingOn...",
             "CompletePromise 7 \"p\" value \"<promised>\"", "? AwaitingOn...",
             "GetPromise 8 \"p\"", "? AwaitingOn...", "AttachInvocation 9 \"" INV "\"",
             "? AwaitingOn...", "Call 10 11 \"Greeter\" \"greet\" parameter:\"<>\"",
             "? AwaitingOn...", "Output value \"<out>\"", "End");
    }
}

static restate_status sends_and_sets(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    RESTATE_TRY(restate_set(ctx, "k", text("v")));
    restate_send(ctx, greeter(), text("x"), NULL);
    return restate_reply(ctx, text("out"));
}

TEST(seal_with_a_nonce_is_not_compared) {
    variant = 1;
    for (int unstable = 0; unstable < 2; unstable++)
        EACH(RESTATE_OBJECT, .fn = sends_and_sets,
             .options = { .seal = unstable ? &nonce_seal : &seal }) {
            nonces = 5;
            start(4, .complete = true);
            input("<in>0");
            cmd_set("k", "<v>0");
            cmd_send(1, "<x>1");
            cmd_output("<out>2");
            give();
            if (unstable) SAYS("End");
            else SAYS("Error 570...");
            if (!unstable) LOG_HAS("570");
        }
    variant = 0;
}

static restate_status seals_badly(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    if (*in.ptr == 's') return restate_set(ctx, "k", text("!"));
    if (*in.ptr == 'r') return restate_reply(ctx, text("!"));
    return say(ctx, restate_get(ctx, "a", &v), v);
}

TEST(seal_failures) {
    variant = 0;
    EACH(RESTATE_OBJECT, .fn = seals_badly, .options = { .seal = &seal }) {     /* the input: 400 */
        start(1, .complete = true); input("open"); give();
        SAYS("Output failure 400 \"a sealed payload could not be opened: not sealed\"", "End");
    }
    EACH(RESTATE_OBJECT, .fn = seals_badly, .options = { .seal = &seal }) { /* anything else: 500 */
        start(1, .complete = true, .state = "a=open"); input("<get>"); give();
        TOLD("terminal(500 a sealed payload could not be opened: not sealed) ");
        SAYS("GetEagerState \"a\" value \"open\"",
             "Output failure 500 \"a sealed payload could not be opened: not sealed\"", "End");
    }
    for (int i = 0; i < 2; i++)                                                 /* tried again */
        EACH(RESTATE_OBJECT, .fn = seals_badly, .options = { .seal = &seal }) {
            start(1, .complete = true); input(i ? "<r>" : "<s>"); give();
            SAYS("Error 500 index:0 Input message:\"S/h: seal(): a payload could not be sealed: "
                 "too dangerous\"");
            LOG_HAS("too dangerous");
        }
}

/* ---- Logs and requests ----------------------------------------------------------------------- */

static void keep_record(void *user, const restate_log_record *r) {
    CHECK(user == value_arg);
    tell("%d%s[%s/%s %s]%s ", (int)r->level, r->replaying ? "r" : "", r->service ? r->service : "-",
         r->handler ? r->handler : "-", r->invocation_id ? r->invocation_id : "-", r->message);
}

static restate_status logs_in_run(restate_ctx *run, void *arg) {
    (void)arg;
    restate_log(run, RESTATE_LOG_WARN, "in\nside");
    return restate_reply(run, text("v"));
}

static restate_status logs(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    CHECK_INT(restate_request(ctx)->replaying, variant);
    restate_log(ctx, RESTATE_LOG_INFO, "one");
    RESTATE_TRY(restate_run(ctx, "r", logs_in_run, NULL, NULL, NULL));
    CHECK(!restate_request(ctx)->replaying);
    restate_log(ctx, RESTATE_LOG_ERROR, "two");
    return RESTATE_OK;
}

TEST(log_records) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_SERVICE, .fn = logs) {
            ex.endpoint->logger.to.write = keep_record;
            ex.endpoint->logger.to.user = value_arg;
            start(variant ? 3 : 1, .debug_id = "inv_1"); input("");
            if (variant) cmd_run(1, "r"), note_value(N_RUN, 1, "v");
            give_and_end();
            TOLD(variant ? "5[S/h inv_1]two " : "3[S/h inv_1]one 4[S/h inv_1]in side ");
            if (variant) SAYS(EMPTY_OUTPUT);
            else SAYS("Run 1 \"r\"", "Propose 1 value \"v\" ack", "Suspension W{c:1,s:1}");
            ex.endpoint->logger.to.write = ex_log;
        }
}

/* The same in a closure as in the handler, and at the end of the attempt. */
static restate_status asks(restate_ctx *run, void *arg) {
    const restate_request_info *i = restate_request(run),
                               *outer = (const restate_request_info *)arg;
    CHECK_STR(i->invocation_id, outer->invocation_id);
    CHECK_STR(i->target.handler, outer->target.handler);
    CHECK_STR(i->target.key, outer->target.key);
    CHECK(i->body.ptr == outer->body.ptr && i->headers == outer->headers &&
          i->attempt_headers == outer->attempt_headers);
    CHECK(i->user == outer->user && i->user == value_arg);
    CHECK_INT(i->retry_count, 3);
    CHECK_STR(i->headers[0].value, "1");
    CHECK_STR(i->attempt_headers[1].value, "00-1");
    return restate_reply(run, text("v"));
}

static restate_status asked(restate_ctx *ctx, restate_bytes in) {
    restate_status s;
    (void)in;
    s = restate_run(ctx, "r", asks, (void *)(uintptr_t)restate_request(ctx),
                    variant ? &inline_run : NULL, NULL);
    CHECK_INT(s, RESTATE_ENDED);
    CHECK_STR(restate_request(ctx)->invocation_id, "inv_1");
    CHECK_STR(restate_request(ctx)->headers[0].name, "h");
    return s;
}

TEST(request_in_a_closure) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_OBJECT, .fn = asked, .options = { .user = value_arg }) {
            ex_invoke_with("traceparent", "00-1");
            start(1, .debug_id = "inv_1", .key = "k", .retries = 3);
            frame(M_INPUT, "1(1s2s) 14(1s)", "h", "1", "b");
            give_and_end();
            SAYS("Run 1 \"r\"", "Propose 1 value \"v\" ack", "Suspension W{c:1,s:1}");
        }
}

/* ---- What closures must not do, and names that are none -------------------------------------- */

static restate_status misuses_inside(restate_ctx *run, void *arg) {
    restate_future *f = NULL;
    restate_bytes value = text("x");
    uint64_t now = 1;
    size_t index = 3;
    (void)arg;
    switch (variant) {
    case 0: CHECK_INT(restate_now(run, &now), RESTATE_ENDED); CHECK(now == 0); break;
    case 1:
        CHECK_INT(restate_selector_next(run, restate_selector_new(run, NULL, 0), &index),
                  RESTATE_ENDED);
        break;
    case 2: f = restate_settled(run, value, NULL); break;
    case 3: f = restate_cancellation(run); break;
    case 4: CHECK_INT(restate_cancel_calls(run), RESTATE_ENDED); break;
    case 5: f = restate_promise(run, "p"); break;
    case 6:
        CHECK_INT(restate_promise_peek(run, "p", &value), RESTATE_ENDED);
        CHECK(!value.ptr);
        break;
    case 7: CHECK_INT(restate_promise_resolve(run, "p", value), RESTATE_ENDED); break;
    case 8: CHECK_INT(restate_promise_reject(run, "p", NULL), RESTATE_ENDED); break;
    case 9: f = restate_signal(run, "n"); break;
    case 10: CHECK_INT(restate_signal_resolve(run, INV, "n", value), RESTATE_ENDED); break;
    case 11: CHECK_INT(restate_signal_reject(run, INV, "n", NULL), RESTATE_ENDED); break;
    case 12:
        CHECK_INT(restate_attach(run, (restate_invocation){ .id = INV }, &value), RESTATE_ENDED);
        CHECK(!value.ptr);
        break;
    case 13: f = restate_attach_async(run, (restate_invocation){ .id = INV }); break;
    default:
        CHECK_INT(restate_output(run, (restate_invocation){ .id = INV }, &value), RESTATE_ENDED);
        CHECK(!value.ptr);
        break;
    }
    if (f) CHECK_INT(restate_await(run, f, NULL), RESTATE_ENDED);
    return RESTATE_OK;
}

static restate_status runs_misuse(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .inline_ok = *in.ptr == 'i' };
    return restate_run(ctx, "bad", misuses_inside, NULL, &o, NULL);
}

TEST(closures_do_not_journal) {
    for (variant = 0; variant < 15; variant++)
        EACH(RESTATE_WORKFLOW, .fn = runs_misuse,
             .options = { .explicit_cancellation = RESTATE_ON }) {
            start(1); input(variant % 2 ? "inline" : "pool"); give();
            SAYS("Run 1 \"bad\"",
                 "Error 500 index:1 Run \"bad\" message:\"S/h (in a closure): restate_...");
            LOG_HAS("is journaled and cannot be used in a closure");
        }
}

static restate_status names_nothing(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    switch (variant) {
    case 0: restate_signal(ctx, NULL); break;
    case 1: restate_signal(ctx, ""); break;
    case 2: CHECK_INT(restate_signal_resolve(ctx, NULL, "n", absent()), RESTATE_ENDED); break;
    case 3: CHECK_INT(restate_signal_resolve(ctx, INV, "", absent()), RESTATE_ENDED); break;
    case 4: CHECK_INT(restate_signal_reject(ctx, INV, "\xFF", NULL), RESTATE_ENDED); break;
    case 5: restate_promise(ctx, NULL); break;
    case 6: CHECK_INT(restate_promise_peek(ctx, "", NULL), RESTATE_ENDED); break;
    default: CHECK_INT(restate_promise_resolve(ctx, NULL, absent()), RESTATE_ENDED); break;
    }
    return RESTATE_OK;
}

TEST(names_that_are_none) {
    for (variant = 0; variant < 8; variant++)
        EACH(RESTATE_WORKFLOW, .fn = names_nothing) {
            begin_with(1); give();
            SAYS("Error 500 index:0 Input message:\"S/h: restate_...");
            LOG_HAS(variant == 4 ? "is not UTF-8" : "is empty");
        }
}

/* The server takes no text that is not UTF-8, in whichever part of a target it is. */
static restate_status names_no_text(restate_ctx *ctx, restate_bytes in) {
    const char *bad = variant / 3 % 2 ? "a\xED\xA0\x80" : "\xFF";
    restate_invocation to = { .target = { .service = "A", .handler = "h", .key = "k" }, .idempotency_key = "i" };
    restate_bytes value;
    (void)in;
    switch (variant / 6) {
    case 0: to.target.service = bad; break;
    case 1: to.target.handler = bad; break;
    case 2: to.target.key = bad; break;
    case 3: to.idempotency_key = bad; break;
    default: to = (restate_invocation){ .target = { .service = "W", .key = bad } }; break;
    }
    if (variant % 3 == 0) CHECK_INT(restate_attach(ctx, to, &value), RESTATE_ENDED);
    else if (variant % 3 == 1) CHECK_INT(restate_output(ctx, to, &value), RESTATE_ENDED);
    else restate_attach_async(ctx, to);
    return RESTATE_OK;
}

TEST(targets_that_are_no_text) {
    for (variant = 0; variant < 30; variant++)
        EACH(RESTATE_SERVICE, .fn = names_no_text) {
            begin_with(1); give();
            SAYS("Error 500 index:0 Input message:\"S/h: restate_...");
            LOG_HAS("is not UTF-8");
        }
}

static restate_status names_an_empty_key(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_attach_async(ctx, (restate_invocation){ .target = { .service = "A", .handler = "h", .key = "" },
                                                    .idempotency_key = "i" });
    return RESTATE_OK;
}

TEST(an_empty_key_is_a_key) {
    EACH(RESTATE_SERVICE, .fn = names_an_empty_key) {
        begin_with(1); give();
        SAYS("AttachInvocation 1 idempotent:( \"A\" key:\"\" \"h\" \"i\" )", "Output value \"\"", "End");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(waiting_where_the_journal_went_on),
        T(cancellation_is_replayed),
        T(combinators_of_one), T(nested_combinators),
        T(winners_are_the_journals), T(settled_futures), T(futures_in_several_combinators),
        T(timeout_of_a_combinator), T(ten_thousand_futures_are_linear), T(nesting_has_a_limit),
        T(context_of_the_handler_in_a_closure), T(suspension_cannot_be_swallowed),
        T(payload_check_switched_off), T(callee_that_was_cancelled),
        T(children_are_cancelled_once), T(cancelled_while_waiting_for_several),
        T(explicit_cancellation_renews), T(failures_come_through), T(ready_made_codecs),
        T(seal_covers_all_payloads), T(seal_with_a_nonce_is_not_compared), T(seal_failures),
        T(log_records),
        T(request_in_a_closure), T(closures_do_not_journal), T(names_that_are_none),
        T(targets_that_are_no_text), T(an_empty_key_is_a_key),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
