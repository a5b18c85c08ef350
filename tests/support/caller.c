/* Calls of a client to the server of support/ingress.c, and what came of them as text. Include it behind the
 * implementation of restate.h. */
#ifndef CALLER_C
#define CALLER_C

#include "ingress.c"

static inline restate_target to(const char *handler) {
    return (restate_target){ .service = "S", .handler = handler };
}

/* A client of `in`, which tries again after milliseconds. */
static inline restate_client *client_of(const ingress *in) {
    return restate_client_new(&(restate_client_options){
        .ingress = in->url, .admin = in->url, .retry = { .initial_interval_ms = 2, .max_attempts = 4 } });
}

#define EACH_SERVER(in, client, ctx) \
    for (ingress *in = calloc(1, sizeof *in); in; free(in), in = NULL) \
        for (restate_client *client = (ingress_begin(in), client_of(in)); client; \
             restate_client_free(client), ingress_stop(in), client = NULL) \
            for (restate_ctx *ctx = restate_client_begin(client); ctx; restate_client_end(ctx), ctx = NULL)

/* One call; what came of it, as text: "ok(value)", "terminal(418 message)", ... */
static inline const char *outcome(restate_ctx *ctx, restate_status s, restate_bytes v) {
    static const char *const names[] = { "ok", "terminal", "timeout", "cancelled", "ended", "error" };
    if (s == RESTATE_OK) return restate_text(ctx, "ok(%.*s)", (int)v.len, v.ptr ? (const char *)v.ptr : "-");
    return restate_text(ctx, "%s(%u %s)", names[s], (unsigned)restate_failed(ctx)->code, restate_failed(ctx)->message);
}

static inline const char *called(restate_ctx *ctx, const char *handler, const restate_call_options *options) {
    restate_bytes v;
    restate_status s = restate_call(ctx, to(handler), restate_str("1"), options, &v);
    return outcome(ctx, s, v);
}

static const restate_call_options once = { .idempotency_key = "k" };

/* The outcome of the first call of a client of its own, which tries once unless `more` says otherwise. */
static inline const char *first_call(const char *ingress_url, const restate_client_options *more) {
    static char text[512];
    restate_client_options o = more ? *more : (restate_client_options){ .ingress = NULL };
    o.ingress = ingress_url;
    if (!o.retry.max_attempts) o.retry.max_attempts = 1;
    restate_client *client = restate_client_new(&o);
    restate_ctx *ctx = restate_client_begin(client);
    snprintf(text, sizeof text, "%s", called(ctx, "echo", NULL));
    restate_client_free(client);
    return text;
}

#endif
