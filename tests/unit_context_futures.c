/* Section >>context: futures: waiting, combinators, selectors, and in which order they settle: the journal's,
 * by every way to ask for it. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/exchange.c"

/* ---- Waiting -------------------------------------------------------------------------------- */

static restate_status waits_for(restate_ctx *ctx, restate_bytes in) {
    restate_future *f = restate_awakeable(ctx, NULL);
    restate_bytes value;
    (void)in;
    say(ctx, restate_await_for(ctx, f, 1000, &value), value);
    return say(ctx, restate_await_for(ctx, f, 2000, &value), value);
}

TEST(await_for) {
    EACH(RESTATE_SERVICE, .fn = waits_for) {        /* in time; then it is there, without a timer */
        STARTED();
        SAYS("Sleep 1 wake:...", "AwaitingOn W{s:1,N:[{c:1,s:17}]}");
        note_signal(17, "v"); give();
        TOLD("ok(v) ok(v) ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = waits_for) {        /* too late, then in time with a failure */
        STARTED();
        drop_said();
        note_sleep(1); give();
        TOLD("timeout(408 timed out after 1000 ms) ");
        SAYS("Sleep 2 wake:...", "AwaitingOn W{s:1,N:[{c:2,s:17}]}");
        note_signal_failure(17, 400, "bad"); give();
        TOLD("terminal(400 bad) ");
        SAYS("Output failure 400 \"bad\"", "End");
    }
    EACH(RESTATE_SERVICE, .fn = waits_for) {        /* returned as it is */
        STARTED();
        drop_said();
        note_sleep(1); note_sleep(2); give();
        TOLD("timeout(408 timed out after 1000 ms) timeout(408 timed out after 2000 ms) ");
        SAYS("Sleep 2 wake:...", "Output failure 408 \"timed out after 2000 ms\"", "End");
    }
    EACH(RESTATE_SERVICE, .fn = waits_for) {        /* the order of the journal decides */
        start(4); input(""); cmd_sleep(1, "", 5); note_sleep(1); note_signal(17, "v"); give();
        TOLD("timeout(408 timed out after 1000 ms) ok(v) ");
        SAYS("Sleep 2 wake:...", EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = waits_for) {
        start(4); input(""); cmd_sleep(1, "", 5); note_signal(17, "v"); note_sleep(1); give();
        TOLD("ok(v) ok(v) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status selects(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[4];
    size_t index = 77;
    restate_bytes value;
    (void)in;
    CHECK_INT(restate_select(ctx, NULL, 0, &index), RESTATE_OK);
    CHECK_INT(index, 0);
    f[0] = restate_awakeable(ctx, NULL);
    f[1] = NULL;
    f[2] = restate_awakeable(ctx, NULL);
    f[3] = restate_awakeable(ctx, NULL);
    for (;;) {
        RESTATE_TRY(restate_select(ctx, f, 4, &index));
        if (index == 4) break;
        CHECK(restate_is_done(f[index]));
        tell("%zu:", index);
        say(ctx, restate_await(ctx, f[index], &value), value);
        CHECK_INT(restate_select(ctx, f, 4, NULL), RESTATE_OK);     /* the same again, at once */
        f[index] = NULL;
    }
    return RESTATE_OK;
}

TEST(select_order) {
    EACH(RESTATE_SERVICE, .fn = selects) {
        STARTED();
        SAYS("AwaitingOn W{s:1,N:[{s:17,18,19}]}");
        note_signal(18, "B"); note_signal_failure(19, 5, "C"); note_signal(17, "A"); give();
        TOLD("2:ok(B) 3:terminal(5 C) 0:ok(A) ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = selects) {
        start(4); input(""); note_signal(19, "C"); note_signal(17, "A"); note_signal(18, "B"); give();
        TOLD("3:ok(C) 0:ok(A) 2:ok(B) ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = selects) {
        begins(); note_signal(19, "C"); give_and_end();
        TOLD("3:ok(C) ");
        SAYS("Suspension W{s:1,N:[{s:17,18}]}");
    }
}

/* What has come is not seen before an await. */
static restate_status polls(restate_ctx *ctx, restate_bytes in) {
    restate_future *a = restate_awakeable(ctx, NULL), *b = restate_awakeable(ctx, NULL);
    (void)in;
    for (int i = 0; i < 100; i++) CHECK(!restate_is_done(a) && !restate_is_done(b));
    RESTATE_TRY(restate_await(ctx, b, NULL));
    CHECK(restate_is_done(a) && restate_is_done(b));        /* a came first */
    return RESTATE_OK;
}

TEST(is_done) {
    EACH(RESTATE_SERVICE, .fn = polls) {
        start(3); input(""); note_signal(17, "A"); note_signal(18, "B"); give();
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status iterates(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[5];
    restate_failure no = { .code = 3, .message = "no" };
    restate_selector *left;
    restate_bytes value;
    size_t index;
    (void)in;
    for (int i = 0; i < 3; i++) f[i] = restate_awakeable(ctx, NULL);
    f[3] = NULL;
    f[4] = restate_settled(ctx, text("there"), NULL);
    CHECK(restate_is_done(f[4]));
    left = restate_selector_new(ctx, f, 5);
    while (restate_selector_remaining(left) > 0) {
        restate_status s = restate_selector_next(ctx, left, &index);
        if (s == RESTATE_CANCELLED) {
            CHECK_INT(index, 5);
            tell("cancelled ");
            continue;
        }
        RESTATE_TRY(s);
        tell("%zu:", index);
        say(ctx, restate_await(ctx, f[index], &value), value);
    }
    CHECK_INT(restate_selector_next(ctx, left, &index), RESTATE_OK);
    CHECK_INT(index, 5);
    return say(ctx, restate_await(ctx, restate_settled(ctx, text("ignored"), &no), &value), value);
}

TEST(selectors) {
    EACH(RESTATE_SERVICE, .fn = iterates) {
        STARTED();
        note_signal(18, "B"); give();
        note_cancel(); note_signal_failure(19, 5, "C"); note_signal(17, "A"); give();
        TOLD("4:ok(there) 1:ok(B) cancelled 2:terminal(5 C) 0:ok(A) terminal(3 no) ");
        SAYS("? AwaitingOn...", "? AwaitingOn...", "? AwaitingOn...", "? AwaitingOn...", "Output failure 3 \"no\"", "End");
    }
}

static restate_status races_a_promise(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    restate_bytes value;
    f[0] = restate_promise(ctx, "p");
    f[1] = restate_sleep_async(ctx, 1, NULL);
    switch (*in.ptr) {
    case 'r': return say(ctx, restate_await(ctx, restate_race(ctx, f, 2), &value), value);
    case 'f': return say(ctx, restate_await_for(ctx, f[0], 5, &value), value);
    default: {
        size_t index = 9;
        RESTATE_TRY(restate_select(ctx, f, 2, &index));
        tell("%u ", (unsigned)index);
        return say(ctx, restate_await(ctx, f[0], &value), value);
    }
    }
}

TEST(promise_in_combinators) {
    static const char *const ways[] = { "race", "for", "select" };
    for (int i = 0; i < 3; i++)
        EACH(RESTATE_WORKFLOW, .fn = races_a_promise) {
            start(1, .key = "k"); input(ways[i]); give();
            if (i == 1)
                SAYS("GetPromise 1 \"p\"", "Sleep 2 wake:...", "Sleep 3 wake:...",
                     "AwaitingOn W{s:1,N:[{c:1,3}]}");
            else SAYS("GetPromise 1 \"p\"", "Sleep 2 wake:...", "AwaitingOn W{s:1,N:[{c:1,2}]}");
            note_value(N_GET_PROMISE, 1, "v"); give();
            TOLD(i == 2 ? "0 ok(v) " : "ok(v) ");
            SAYS(EMPTY_OUTPUT);
        }
}

/* ---- Combinators ---------------------------------------------------------------------------- */

static restate_status combines_nothing(restate_ctx *ctx, restate_bytes in) {
    restate_future *none[2] = { NULL, NULL };
    restate_future *f;
    restate_bytes value = text("before");
    (void)in;
    for (int i = 0; i < 2; i++) {
        f = restate_all(ctx, none, i ? 2 : 0);
        CHECK(restate_is_done(f));
        say(ctx, restate_await(ctx, f, &value), value);
        f = restate_all_settled(ctx, i ? none : NULL, i ? 2 : 0);
        CHECK(restate_is_done(f));
        say(ctx, restate_await(ctx, f, &value), value);
        f = restate_any(ctx, none, i ? 2 : 0);
        CHECK(restate_is_done(f));
        CHECK_INT(restate_await(ctx, f, &value), RESTATE_TERMINAL);
        CHECK(!value.ptr);
        CHECK_INT(restate_failed(ctx)->code, 500);
    }
    CHECK_INT(restate_select(ctx, none, 2, NULL), RESTATE_OK);
    CHECK(!restate_is_done(NULL));
    return RESTATE_OK;
}

TEST(combinators_of_nothing) {
    EACH(RESTATE_SERVICE, .fn = combines_nothing) {
        STARTED();
        TOLD("ok(-) ok(-) ok(-) ok(-) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status combines(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3], *c, *all[2];
    restate_bytes value;
    for (int i = 0; i < 3; i++) f[i] = restate_awakeable(ctx, NULL);
    switch (in.ptr[0]) {
    case 'r': c = restate_race(ctx, f, 3); break;
    case 'y': c = restate_any(ctx, f, 3); break;
    case 'l': c = restate_all(ctx, f, 3); break;
    case 's': c = restate_all_settled(ctx, f, 3); break;
    default:                                /* nested: race(all(0,1), any(2)) */
        all[0] = restate_all(ctx, f, 2);
        all[1] = restate_any(ctx, &f[2], 1);
        c = restate_race(ctx, all, 2);
        f[0] = f[1] = f[2] = NULL;
        break;
    }
    CHECK(!restate_is_done(c));
    say(ctx, restate_await(ctx, c, &value), value);
    for (int i = 0; i < 3; i++) tell("%d", restate_is_done(f[i]));
    tell(" ");
    say(ctx, restate_await(ctx, c, &value), value);
    return RESTATE_OK;
}

TEST(combinators) {
    static const struct { const char *how; int order[3]; const char *told; } cases[] = {    /* n < 0: a failure */
        { "r", { 18, 17, 19 }, "ok(18) 010 ok(18) " },
        { "r", { -19, 17, 18 }, "terminal(19 no) 001 terminal(19 no) " },
        { "y", { -19, 17, 18 }, "ok(17) 101 ok(17) " },
        { "y", { -19, -17, -18 }, "terminal(18 no) 111 terminal(18 no) " },
        { "l", { 19, 17, 18 }, "ok(-) 111 ok(-) " },
        { "l", { 19, -17, 18 }, "terminal(17 no) 101 terminal(17 no) " },
        { "s", { 19, -17, -18 }, "ok(-) 111 ok(-) " },
        { "n", { 17, 19, 18 }, "ok(19) 000 ok(19) " },
        { "n", { 17, 18, 19 }, "ok(-) 000 ok(-) " },
        { "n", { 17, -18, 19 }, "terminal(18 no) 000 terminal(18 no) " }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int together = 0; together < 2; together++)
            EACH(RESTATE_SERVICE, .fn = combines) {
                start(1); input(cases[i].how);
                for (int k = 0; k < 3; k++) {
                    if (!together) give();
                    if (cases[i].order[k] > 0) note_signal((unsigned)cases[i].order[k], cases[i].order[k] == 17 ? "17" : cases[i].order[k] == 18 ? "18" : "19");
                    else note_signal_failure((unsigned)-cases[i].order[k], (unsigned)-cases[i].order[k], "no");
                }
                give();
                CHECK(ex.x->finished);
                TOLD(cases[i].told);
                SAYS("? AwaitingOn...", "? AwaitingOn...", "? AwaitingOn...", EMPTY_OUTPUT);
            }
}

static int variant;

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
/* Ids of invocations, as the server makes them. */
#define INV INV_X

#define GREET "\"Greeter\" \"greet\" parameter:\"x\""

static void begin_with(unsigned known) {
    start(known, .id = OWN_ID, .seed = 1);
    input("in");
}

/* Of everything that makes a future, nested: race(any(call, timer), all(awakeable, signal),
 * all_settled(attach, run)). */
static restate_status nests(restate_ctx *ctx, restate_bytes in) {
    restate_future *a[2], *b[2], *c[2], *all[3];
    restate_bytes value;
    (void)in;
    a[0] = restate_call_async(ctx, greeter, text("x"), NULL);
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

static const restate_pair two_pairs[] = { { "a", "1" }, { "b", "2" }, { NULL, NULL } };
static const restate_failure rich_failure = { .code = 410, .message = "no", .metadata = two_pairs };

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
        TOLD("ok(one) ok(v) terminal(410 no a=1 b=2) ok(one) terminal(410 no a=1 b=2) ok(-) "
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
    f[0] = restate_call_async(ctx, greeter, text("x"), NULL);
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
static const restate_run_options inline_run = { .inline_ok = true };

/* The handler's context in a closure: the attempt ends, and nothing else happens. */
static restate_ctx *handlers_ctx;
static restate_future *handlers_future;

static restate_status uses_the_other(restate_ctx *run, void *arg) {
    restate_bytes value;
    (void)arg;
    if (variant > 1) gate();                /* until the handler waits */
    tell("%s ", status_name(variant % 2 ? restate_sleep(handlers_ctx, 1)
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

static restate_status races_settled(restate_ctx *ctx, restate_bytes in) {
    const restate_failure no = { 418, "teapot", NULL };
    restate_future *f[2];
    (void)in;
    f[0] = restate_settled(ctx, text("v"), variant & 1 ? &no : NULL);
    f[1] = restate_settled(ctx, text("v"), variant & 1 ? NULL : &no);
    if (variant & 2) {                      /* where they stand is of no account */
        restate_future *first = f[0];
        f[0] = f[1];
        f[1] = first;
    }
    return say_status(ctx, restate_await(ctx, restate_race(ctx, f, 2), NULL));
}

TEST(the_first_settled_wins) {
    for (variant = 0; variant < 4; variant++)
        EACH_OF(7, 7, RESTATE_SERVICE, .fn = races_settled) {
            begins(); give();
            TOLD(variant & 1 ? "terminal(teapot) " : "ok() ");
            drop_said();
        }
}

/* ---- Their order ---------------------------------------------------------------------------- */

enum { LEAVES = 7, FUTURES = 24, LIST = 10 };               /* leaf 0 is what is awaited before */

/* A program of this file: what futures there are, which are in the list, and what it waits for
 * before it asks for their order. */
typedef struct plan {
    int kinds[FUTURES], children[FUTURES][4], counts[FUTURES], made, list[LIST];    /* -1: NULL */
    bool waits;
} plan;

static plan the_plan;
static enum { SELECT, SELECTOR, LATE_SELECTOR, WAYS } way;

static void random_plan(plan *p) {
    p->made = LEAVES + 1 + (int)rt_dice(FUTURES - LEAVES - 1);
    for (int i = LEAVES; i < p->made; i++) {
        p->kinds[i] = (int)rt_dice(4);
        p->counts[i] = 1 + (int)rt_dice(4);
        for (int k = 0; k < p->counts[i]; k++) p->children[i][k] = 1 + (int)rt_dice((unsigned)i - 1);
    }
    for (int i = 0; i < LIST; i++) p->list[i] = rt_dice(6) == 0 ? -1 : 1 + (int)rt_dice((unsigned)p->made - 1);
    p->waits = rt_dice(2);
}

static void tell_result(restate_ctx *ctx, restate_future *f) {
    restate_bytes value;
    restate_status s = restate_await(ctx, f, &value);
    tell(" %s", s != RESTATE_OK ? restate_failed(ctx)->message : value.ptr ? (const char *)value.ptr : "-");
}

/* Tells the indexes of the list in the order in which it learns that they are settled. */
static restate_status learns(restate_ctx *ctx, restate_bytes in) {
    const plan *p = &the_plan;
    restate_future *f[FUTURES], *list[LIST], *all[LIST], *early = NULL;
    restate_selector *left = NULL;
    size_t index, first = LIST, remaining = 0;
    (void)in;
    for (int i = 0; i < LEAVES; i++)
        f[i] = i < 5 ? restate_awakeable(ctx, NULL) : restate_signal(ctx, i == 5 ? "x" : "y");
    for (int i = LEAVES; i < p->made; i++) {
        restate_future *children[4];
        for (int k = 0; k < p->counts[i]; k++) children[k] = f[p->children[i][k]];
        f[i] = combinators[p->kinds[i]](ctx, children, (size_t)p->counts[i]);
    }
    for (int i = 0; i < LIST; i++) {
        list[i] = p->list[i] < 0 ? NULL : f[p->list[i]];
        remaining += list[i] != NULL;
    }
    memcpy(all, list, sizeof all);
    if (remaining) early = restate_race(ctx, list, LIST);
    if (way == SELECTOR) left = restate_selector_new(ctx, list, LIST);
    if (p->waits) RESTATE_TRY(restate_await(ctx, f[0], NULL));
    if (way == LATE_SELECTOR) left = restate_selector_new(ctx, list, LIST);
    while (remaining-- > 0) {
        if (left) RESTATE_TRY(restate_selector_next(ctx, left, &index));
        else RESTATE_TRY(restate_select(ctx, list, LIST, &index));
        CHECK(index < LIST && list[index] && restate_is_done(list[index]));
        tell("%zu ", index);
        list[index] = NULL;
        if (first == LIST) first = index;
    }
    if (!early) return RESTATE_OK;
    tell("race");
    tell_result(ctx, all[first]);
    tell_result(ctx, early);
    tell_result(ctx, restate_race(ctx, all, LIST));
    tell_result(ctx, restate_race(ctx, &all[first], 1));
    return RESTATE_OK;
}

static void random_answers(void) {
    int order[LEAVES];
    for (int i = 0; i < LEAVES; i++) order[i] = i;
    for (int i = LEAVES - 1; i > 0; i--) {
        int j = (int)rt_dice((unsigned)i + 1), t = order[i];
        order[i] = order[j], order[j] = t;
    }
    for (int i = 0; i < LEAVES; i++) {
        bool fails = rt_dice(4) == 0;
        unsigned n = (unsigned)order[i];
        char value[8];
        snprintf(value, sizeof value, "v%u", n);
        if (n < 5 && fails) note_signal_failure(17 + n, 500, value);
        else if (n < 5) note_signal(17 + n, value);
        else if (fails) frame(N_SIGNAL, "3s 6(1u 2s)", n == 5 ? "x" : "y", 500, value);
        else note_named(n == 5 ? "x" : "y", value);
    }
}

/* What a program tells when its journal comes at once, or in bytes. */
static char *told(unsigned seed, bool bytes) {
    char *copy;
    ex_begin(RESTATE_SERVICE, (restate_handler){ .fn = learns }, 6, false);
    ex.bytewise = bytes;
    rt.random = seed * 7919u;
    random_plan(&the_plan);
    invoke();
    start(1 + LEAVES); input("");
    random_answers();
    give();
    copy = strdup(ex_text(&ex.told));
    ex.told.len = 0;
    if (ex.told.at) *ex.told.at = 0;
    drop_said();
    ex_end();
    return copy;
}

/* The first of the list, a race that was there before, and one that was made when all was settled. */
static void one_winner(const char *text) {
    char winner[4][16];
    const char *at = strstr(text, "race");
    if (!at) return;
    CHECK_INT(sscanf(at, "race %15s %15s %15s %15s", winner[0], winner[1], winner[2], winner[3]), 4);
    for (int i = 1; i < 4; i++) CHECK_STR(winner[i], winner[0]);
}

TEST(select_and_selector_agree) {
    for (unsigned seed = 1; seed <= 1500; seed++) {
        char note[64], *first = NULL;
        for (int w = 0; w < WAYS; w++)
            for (int bytes = 0; bytes < 2; bytes++) {
                char *now;
                snprintf(note, sizeof note, "(seed %u, way %d, bytes %d)", seed, w, bytes);
                test_note = note;
                way = w;
                now = told(seed, bytes);
                one_winner(now);
                if (!first) first = now;
                else {
                    CHECK_STR(now, first);
                    free(now);
                }
            }
        free(first);
    }
    test_note = "";
}

static restate_status asks_late(restate_ctx *ctx, restate_bytes in) {
    static const char *const names[] = { "a", "b", "c" };
    restate_future *f[6];
    restate_selector *left = NULL;
    restate_bytes value;
    size_t index;
    (void)in;
    for (int i = 0; i < 6; i++) f[i] = restate_signal(ctx, names[i % 3]);
    RESTATE_TRY(restate_await(ctx, restate_awakeable(ctx, NULL), NULL));
    RESTATE_TRY(restate_await_for(ctx, restate_race(ctx, f, 3), 9, &value));
    tell("%s ", (const char *)value.ptr);
    if (way == SELECTOR) left = restate_selector_new(ctx, f, 6);
    for (int i = 0; i < 6; i++) {
        if (left) RESTATE_TRY(restate_selector_next(ctx, left, &index));
        else RESTATE_TRY(restate_select(ctx, f, 6, &index));
        RESTATE_TRY(restate_await(ctx, f[index], &value));
        tell("%s ", (const char *)value.ptr);
        f[index] = NULL;
    }
    return RESTATE_OK;
}

/* Signals of several names that came before anybody waited for them. */
TEST(named_signals_come_in_their_order) {
    for (int w = SELECT; w <= SELECTOR; w++)
        EACH(RESTATE_SERVICE, .fn = asks_late) {
            way = w;
            start(1); input("");
            note_named("b", "b1"); note_named("c", "c1"); note_named("c", "c2"); note_named("a", "a1"); note_named("b", "b2");
            note_named("a", "a2"); note_signal(17, "");
            give();
            TOLD("b1 b1 c1 c2 a1 b2 a2 ");
            drop_said();
        }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(await_for), T(select_order), T(is_done), T(selectors), T(promise_in_combinators),
        T(combinators_of_nothing), T(combinators), T(combinators_of_one), T(nested_combinators),
        T(winners_are_the_journals), T(settled_futures), T(futures_in_several_combinators),
        T(timeout_of_a_combinator), T(nesting_has_a_limit), T(ten_thousand_futures_are_linear),
        T(context_of_the_handler_in_a_closure), T(the_first_settled_wins),
        T(select_and_selector_agree), T(named_signals_come_in_their_order),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
