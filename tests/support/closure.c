/* A closure of a run that ends as its argument says. */
#ifndef SUPPORT_CLOSURE_C
#define SUPPORT_CLOSURE_C

#include "exchange.c"

static restate_status closure(restate_ctx *run, void *arg) {
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

#endif
