/* Closures of runs, and handlers around them, that several units have. */
#ifndef SUPPORT_CLOSURE_C
#define SUPPORT_CLOSURE_C

#include "exchange.c"

/* Ends as its argument says. */
static inline restate_status closure(restate_ctx *run, void *arg) {
    restate_retry_options o = { .code = 503, .delay_ms = 2500 };
    const char *what = (const char *)arg;
    tell("%s ", what);
    if (strcmp(what, "value") == 0) return restate_reply(run, text("result"));
    if (strcmp(what, "nothing") == 0) return RESTATE_OK;
    if (strcmp(what, "fail") == 0) return restate_fail(run, 409, "conflict %d", 7);
    if (strcmp(what, "terminal") == 0) return RESTATE_TERMINAL;
    if (strcmp(what, "retry") == 0) return restate_retry(run, NULL, "not %s", "yet");
    if (strcmp(what, "delay") == 0) return restate_retry(run, &o, "busy");
    if (strcmp(what, "ended") == 0) return RESTATE_ENDED;
    if (strcmp(what, "odd") == 0) return (restate_status)77;
    if (strcmp(what, "retry, then ok") == 0) {
        RESTATE_IGNORE(restate_retry(run, NULL, "sticky"));
        return RESTATE_OK;
    }
    if (strcmp(what, "memory") == 0) {
        const restate_request_info *i = restate_request(run);
        char *p = (char *)restate_alloc(run, 10000);
        CHECK_STR(i->target.service, "S");
        CHECK_STR(restate_key(run), "");
        restate_log(run, RESTATE_LOG_INFO, "from a closure");
        CHECK(p && !p[9999]);
        CHECK(!restate_stop_requested(run));
        CHECK_INT(restate_failed(run)->code, 0);
        return restate_reply(run, restate_json(run, "{'n': %d, 's': %s}", 5, restate_text(run, "%d", 6)));
    }
    return restate_fail(run, 1, "unknown");
}

/* ---- Closures that wait for the test -------------------------------------------------------------- */

static inline restate_status waits_at_gate(restate_ctx *run, void *arg) {
    gate();
    tell(restate_stop_requested(run) ? "stop " : "go ");
    return restate_reply(run, arg ? text((const char *)arg) : absent());
}

/* A handler that is cut or cancelled while its closure runs. The closure is told, not interrupted. */
static inline restate_status runs_at_gate(restate_ctx *ctx, restate_bytes in) {
    char here[] = "on the stack";
    restate_bytes value;
    (void)in;
    return say(ctx, restate_run(ctx, "slow", waits_at_gate, here, NULL, &value), value);
}

/* ---- Handlers that are wrong ----------------------------------------------------------------------- */

static int variant;                         /* what a handler is to do */

static inline restate_status wrong_in_a_closure(restate_ctx *run, void *arg) {
    restate_retry_options o = { .code = 503 };
    (void)arg;
    return variant == 2 ? (restate_status)-1 : restate_retry(run, &o, "busy");
}

static inline restate_status wrong(restate_ctx *ctx, restate_bytes in) {
    restate_retry_options o = { .code = 503 };
    (void)in;
    switch (variant) {
    case 0: return (restate_status)-1;
    case 1: return restate_retry(ctx, &o, "busy");
    case 2: case 3: return say_status(ctx, restate_run(ctx, "r", wrong_in_a_closure, NULL, NULL, NULL));
    case 4: return restate_retry(ctx, &o, "keep");
    default: restate_set(ctx, "k", text("v")); return RESTATE_OK;
    }
}

#endif
