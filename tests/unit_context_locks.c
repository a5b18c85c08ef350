/* Section >>context: deadlocks of object keys that are found before they happen. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/exchange.c"

/* In base64url: S is "Uw", o "bw", A "QQ", a "YQ", Bank "QmFuaw", 1 "MQ", sc "c2M". */
#define HEADER "x-restate-held-locks"
#define OWN "Uw.bw,~Uw.h"

static restate_target target;               /* whom the handler calls */
static int variant;                         /* what a handler is to do */

static restate_status calls(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    return say(ctx, restate_call(ctx, target, in, NULL, &v), v);
}

/* A request that came with these keys; NULL: with none. */
static void comes_with(const char *held) {
    start(1, .complete = true, .key = "o");
    if (held) frame(M_INPUT, "1(1s2s) 1(1s2s) 14(1s)", "other", "header", HEADER, held, "in");
    else input("in");
    give();
}

static restate_target object(const char *service, const char *key, const char *handler) {
    return (restate_target){ .service = service, .handler = handler, .key = key };
}

#define LOCKING .options.detect_deadlocks = RESTATE_ON
static const char *line(const char *format, const char *a) {
    static char text[300];
    snprintf(text, sizeof text, format, a);
    return text;
}
#define CALLS(to, header) \
    SAYS(line("Call 1 2 " to " parameter:\"in\"%s", header), ex.version == 7 ? "AwaitingOn W{c:2,s:1}" : NULL)
#define CARRIES(held) " \"" HEADER "\":\"" held "\""

TEST(keys_travel_with_calls) {
    static const struct { restate_kind kind; bool shared; const char *came, *goes; } cases[] = {
        { RESTATE_OBJECT, false, NULL, CARRIES(OWN) },
        { RESTATE_OBJECT, false, "QQ.YQ,~QQ.add.take", CARRIES("QQ.YQ,~QQ.add.take," OWN) },
        { RESTATE_OBJECT, true, NULL, "" },
        { RESTATE_OBJECT, true, "QQ.YQ,~QQ.add", CARRIES("QQ.YQ,~QQ.add") },
        { RESTATE_SERVICE, false, NULL, "" },
        { RESTATE_SERVICE, false, "QQ.YQ", CARRIES("QQ.YQ") },
        { RESTATE_WORKFLOW, false, NULL, "" },
        { RESTATE_WORKFLOW, false, "QQ.YQ", CARRIES("QQ.YQ") }
    };
    target = greeter;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EACH(cases[i].kind, .fn = calls, .shared = cases[i].shared, LOCKING) {
            comes_with(cases[i].came);
            CALLS("\"Greeter\" \"greet\"", cases[i].goes);
            note_value(N_CALL, 2, "hi"); give();
            TOLD("ok(hi) ");
            SAYS(EMPTY_OUTPUT);
        }
    EACH(RESTATE_OBJECT, .fn = calls) {         /* not asked for */
        comes_with("QQ.YQ,~QQ.add");
        CALLS("\"Greeter\" \"greet\"", "");
    }
}

TEST(a_circle_is_not_closed) {
    static const struct { const char *came; restate_target to; const char *circle; } cases[] = {
        { NULL, { "S", "h", "o", NULL }, "S/o -> S/o" },
        { "QQ.YQ,~QQ.add", { "A", "add", "a", NULL }, "A/a -> S/o -> A/a" },
        { "QmFuaw.MQ,~QmFuaw.x,QQ.YQ,~QQ.take.add,QmFuaw.YQ,~QmFuaw.x", { "A", "add", "a", NULL }, "A/a -> Bank/a -> S/o -> A/a" },
        { "QmFuaw.MQ, ~QmFuaw.x, QQ.YQ", { "Bank", "x", "1", NULL }, "Bank/1 -> A/a -> S/o -> Bank/1" },
        { "!.!,QQ.YQ,~QQ.add", { "A", "add", "a", NULL }, "A/a -> S/o -> A/a" }
    };
    char told[400];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EACH(RESTATE_OBJECT, .fn = calls, LOCKING) {
            target = cases[i].to;
            comes_with(cases[i].came);
            snprintf(told, sizeof told, "terminal(409 calling %s of %s/%s would wait for ever, as its key is held until this "
                     "call returns: %s) ", target.handler, target.service, target.key, cases[i].circle);
            TOLD(told);
            SAYS("Output failure 409 \"calling...", "End");
        }
}

/* Another key, a handler that needs none, no key at all, one of which nobody says what needs it; what
 * only looks like an element. */
TEST(no_circle) {
    static const struct { const char *came; restate_target to; } cases[] = {
        { "QQ.YQ,~QQ.add", { "A", "add", "b", NULL } }, { "QQ.YQ,~QQ.add", { "A", "get", "a", NULL } },
        { "QQ.YQ,~QQ.add", { "A", "ad", "a", NULL } }, { "QQ.YQ,~QQ.add", { "A", "adds", "a", NULL } },
        { "QQ.YQ,~QQ.add", { "A", "add", NULL, NULL } }, { "QQ.YQ,~QQ.add", { "AA", "add", "a", NULL } },
        { "QQ.YQ", { "A", "add", "a", NULL } }, { "QQ.YQ,~QmFuaw.add", { "A", "add", "a", NULL } },
        { "QQ.YQ,~Q.add,~,~QQ,~QQadd,.,..,add", { "A", "add", "a", NULL } },
        { "QQ,YQ,~QQ.add", { "A", "add", "a", NULL } }, { "QQ.YQ.c2M,~QQ.add", { "A", "add", "a", NULL } },
        { ",, ,", { "A", "add", "a", NULL } }, { "~QQ.add", { "A", "add", "", NULL } }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EACH(RESTATE_OBJECT, .fn = calls, LOCKING) {
            target = cases[i].to;
            comes_with(cases[i].came);
            SAYS("Call 1 2 ...", ex.version == 7 ? "AwaitingOn W{c:2,s:1}" : NULL);
        }
}

TEST(keys_in_a_scope) {
    EACH_OF(7, 7, RESTATE_OBJECT, .fn = calls, LOCKING) {
        target = (restate_target){ "A", "add", "a", "sc" };
        comes_with("QQ.YQ.c2M,~QQ.add");
        CHECK_HAS(ex_text(&ex.told), "terminal(409 ");
        ex.told.len = 0, *ex.told.at = 0;
        drop_said();
    }
    EACH_OF(7, 7, RESTATE_OBJECT, .fn = calls, LOCKING) {
        target = greeter;
        start(1, .key = "o", .scope = "sc"); input("in"); give();
        CALLS("\"Greeter\" \"greet\"", CARRIES("Uw.bw.c2M,~Uw.h"));
    }
}

/* ---- The other forms of a call ------------------------------------------------------------------- */

static restate_status calls_in_other_ways(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    const char *id = "x";
    restate_bytes v;
    restate_status s;
    (void)in;
    restate_send(ctx, target, text("x"), NULL);         /* nobody waits */
    f = restate_call_async(ctx, target, text("x"), NULL);
    CHECK(restate_is_done(f));
    s = restate_call_id(ctx, f, &id);
    CHECK_STR(id, "");
    say(ctx, s, absent());
    s = restate_await(ctx, f, &v);
    say(ctx, s, v);
    s = restate_await(ctx, restate_any(ctx, (restate_future *[]){ f, restate_settled(ctx, text("b"), NULL) }, 2), &v);
    return say(ctx, s, v);
}

TEST(circles_of_other_forms) {
    EACH(RESTATE_OBJECT, .fn = calls_in_other_ways, LOCKING) {
        target = object("S", "o", "h");
        comes_with(NULL);
        CHECK_HAS(ex_text(&ex.told), "terminal(409 calling h of S/o would wait for ever, as its key is held until this call "
                                     "returns: S/o -> S/o) terminal(409 ");
        CHECK_HAS(ex_text(&ex.told), "S/o -> S/o) ok(b) ");
        ex.told.len = 0, *ex.told.at = 0;
        SAYS("OneWayCall 1 \"S\" \"h\" key:\"o\" parameter:\"x\"", EMPTY_OUTPUT);
    }
}

static restate_status calls_with_headers(restate_ctx *ctx, restate_bytes in) {
    const restate_pair own[] = { { "a", "1" }, { HEADER, "stale" }, { NULL, NULL } };
    const restate_call_options o = { .headers = own };
    return restate_call(ctx, target, in, &o, NULL);
}

/* Those of the program come first, the last one counts. */
TEST(keys_beside_other_headers) {
    target = greeter;
    EACH(RESTATE_OBJECT, .fn = calls_with_headers, LOCKING) {
        start(1, .key = "o");
        frame(M_INPUT, "1(1s2s) 1(1s2s) 14(1s)", HEADER, "stale", HEADER, "QQ.YQ", "in"); give();
        CALLS("\"Greeter\" \"greet\"", " \"a\":\"1\"" CARRIES("stale") CARRIES("QQ.YQ," OWN));
    }
}

/* ---- Replay ---------------------------------------------------------------------------------------- */

static restate_status circle_then_call(restate_ctx *ctx, restate_bytes in) {
    restate_status s = restate_call(ctx, object("S", "o", "h"), in, NULL, NULL);
    CHECK_INT(s, RESTATE_TERMINAL);
    RESTATE_TRY(restate_call(ctx, greeter, in, NULL, NULL));
    return RESTATE_OK;
}

/* What failed left nothing in the journal; a call fits whatever keys it was recorded with. */
TEST(circles_replayed) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_OBJECT, .fn = circle_then_call, LOCKING) {
            start(3, .key = "o"); input("in");
            if (variant) frame(M_CALL, "1s 2s 3n 4(1s2s) 10u 11u", "Greeter", "greet", "in", HEADER, "other", 1, 2);
            else frame(M_CALL, "1s 2s 3n 10u 11u", "Greeter", "greet", "in", 1, 2);
            note_value(N_CALL, 2, "hi"); give();
            SAYS(EMPTY_OUTPUT);
        }
}

/* ---- Without memory -------------------------------------------------------------------------------- */

TEST(keys_without_memory) {
    target = object("A", "add", "a");
    for (variant = 0; variant < 2; variant++) {
        bool enough = false;
        for (size_t n = 1; !enough && n < 200; n++) {
            restate_handler handler = { .fn = calls, LOCKING };
            ex_begin(RESTATE_OBJECT, handler, 7, false);
            if (!invoke()) CHECK(false);
            mem_fail(&ex.memory, n);
            start(1, .key = "o");
            if (variant) target.handler = "get";
            frame(M_INPUT, "1(1s2s) 14(1s)", HEADER, "QQ.YQ,~QQ.add", "in"); give();
            enough = ex.memory.calls < n;
            mem_fail(&ex.memory, 0);
            drop_said();
            log_drop();
            ex.told.len = 0;
            if (ex.told.at) *ex.told.at = 0;
            ex_end();
        }
        CHECK(enough);
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(keys_travel_with_calls), T(a_circle_is_not_closed), T(no_circle), T(keys_in_a_scope),
        T(circles_of_other_forms), T(keys_beside_other_headers), T(circles_replayed), T(keys_without_memory),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
