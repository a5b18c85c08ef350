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

/* The server breaks off the first call of `handler` after each ingress_again(). Without a key the call fails with `says`,
 * for it might be done twice; with one it is repeated. */
static inline void breaks_off(restate_ctx *ctx, ingress *in, const char *handler, const char *says) {
    ingress_again(in);
    CHECK_HAS(called(ctx, handler, NULL), says);
    ingress_again(in);
    CHECK_STR(called(ctx, handler, &once), "ok(1)");
}

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

/* Whether two requests found memory, of which one may have had to tell of an earlier failure. */
static inline bool answered_at_last(restate_ctx *ctx) {
    restate_status s = restate_call(ctx, to("echo"), restate_str("1"), &once, NULL);
    return s == RESTATE_OK || restate_call(ctx, to("echo"), restate_str("1"), &once, NULL) == RESTATE_OK;
}

static inline void counts(void *user, restate_ctx *ctx, restate_future *future) {
    RESTATE_IGNORE(restate_await(ctx, future, NULL));
    ++*(int *)user;
}

/* Calls of every kind at a time; one of them makes the server hang up. */
static inline void all_futures(restate_ctx *ctx, ingress *in, int *counted) {
    static const char inv[] = "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61";
    restate_target w = { .service = "W", .key = "k", .handler = "h", .scope = "s" };
    restate_future *f[9];
    size_t index;
    ingress_again(in);
    f[0] = restate_call_async(ctx, to("echo"), restate_json(ctx, "{'a': %d}", 1), &once);
    f[1] = restate_call_async(ctx, to("fail"), restate_encode(ctx, RESTATE_BYTES, &(restate_bytes){ NULL, 0 }), &once);
    f[2] = restate_call_async(ctx, w, restate_str("1"), &(restate_call_options){
        .limit_key = "l", .headers = RESTATE_PAIRS({ "X-Extra", "e" }, { "content-type", "text/csv" }) });
    f[3] = restate_call_async(ctx, to("hang_up"), restate_str("1"), &once);
    f[4] = restate_send(ctx, to("x"), restate_str("1"), &(restate_call_options){ .idempotency_key = "k", .delay_ms = 5 });
    f[5] = restate_attach_async(ctx, (restate_invocation){ .target = { .service = "W", .key = "k" } });
    f[6] = restate_attach_async(ctx, (restate_invocation){ .id = inv });
    f[7] = restate_client_request(ctx, "GET", "/deployments", (restate_bytes){ NULL, 0 });
    f[8] = restate_sleep_async(ctx, 1, NULL);
    restate_client_then(ctx, f[0], counts, counted);
    restate_selector *left = restate_selector_new(ctx, f, 9);
    while (restate_selector_remaining(left) && restate_selector_next(ctx, left, &index) == RESTATE_OK) {
        RESTATE_IGNORE(restate_await(ctx, f[index], NULL));
        (void)restate_client_answer(ctx, f[index]);
    }
}

/* Every function that makes a request, one after another. */
static inline void all_verbs(restate_ctx *ctx, ingress *in) {
    static const char inv[] = "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61";
    static const char awakeable[] = "sign_1AZ7G_x3a8HYBmPaFLZ8AUjV0QVkbmbVmAAAAEQ";
    static const char none[] = "{\"rows\":[]}", one[] = "{\"rows\":[{\"key\":\"c\",\"value\":\"78\"}]}";
    const char *const *keys, *id;
    const restate_entry *entries;
    restate_bytes v;
    RESTATE_IGNORE(restate_call_id(ctx, restate_send(ctx, to("x"), restate_str("1"), NULL), &id));
    RESTATE_IGNORE(restate_output(ctx, (restate_invocation){ .target = { .service = "O", .handler = "h", .key = "k" },
                                                             .idempotency_key = "i/1" }, &v));
    RESTATE_IGNORE(restate_resolve(ctx, awakeable, restate_str("[1]")));
    RESTATE_IGNORE(restate_reject(ctx, awakeable, &(restate_failure){ .code = 1, .message = "no" }));
    RESTATE_IGNORE(restate_cancel(ctx, inv));
    restate_client_at(ctx, (restate_target){ .service = "O", .key = "k" });
    ingress_rows(in, none, one);
    RESTATE_IGNORE(restate_set(ctx, "c", restate_str("x")));
    RESTATE_IGNORE(restate_get(ctx, "c", &v));
    RESTATE_IGNORE(restate_keys(ctx, &keys));
    RESTATE_IGNORE(restate_get_all(ctx, &entries));
    ingress_rows(in, one, none);
    RESTATE_IGNORE(restate_clear(ctx, "c"));
    ingress_rows(in, one, none);
    RESTATE_IGNORE(restate_clear_all(ctx));
    RESTATE_IGNORE(restate_sleep(ctx, 1));
}

#endif
