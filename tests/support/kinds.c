/* Services whose journals have entries of all kinds, 20 of commands and 12 of notifications, and ten
 * ways to change their code, of which a check of such journals has to find each. Public functions
 * only: the end-to-end services have them, too. */
#ifndef SUPPORT_KINDS_C
#define SUPPORT_KINDS_C

static int kinds_change;                    /* what is different from the code that was recorded; 0: nothing */

enum {
    KINDS_RENAMED_RUN = 1, KINDS_ADDED_RUN, KINDS_LOST_RUN, KINDS_OTHER_KEY, KINDS_OTHER_VALUE,
    KINDS_OTHER_TARGET, KINDS_SEND_FOR_CALL, KINDS_SWAPPED, KINDS_EARLY_AWAIT, KINDS_EARLY_RETURN,
    KINDS_CHANGES = KINDS_EARLY_RETURN
};

static unsigned kinds_executed;             /* closures: a check executes none */

static inline int kinds_is(int change) { return kinds_change == change; }

static inline restate_status kinds_roll(restate_ctx *run, void *arg) {
    (void)arg;
    kinds_executed++;
    return restate_reply(run, restate_json(run, "{'x': %d}", 7));
}

static inline restate_status kinds_teapot(restate_ctx *run, void *arg) {
    (void)arg;
    kinds_executed++;
    return restate_fail(run, 418, "teapot");
}

/* A failure is as good as a result; the end of the attempt is not. */
#define KINDS_TRY(call) \
    do { \
        restate_status kinds_s = (call); \
        if (kinds_s != RESTATE_OK && kinds_s != RESTATE_TERMINAL && kinds_s != RESTATE_TIMEOUT) return kinds_s; \
    } while (0)

static inline restate_status kinds_state(restate_ctx *ctx) {
    const char *const *keys;
    restate_bytes v;
    RESTATE_TRY(restate_get(ctx, kinds_is(KINDS_OTHER_KEY) ? "b" : "a", &v));
    RESTATE_TRY(restate_set(ctx, "a", restate_json(ctx, "%d", kinds_is(KINDS_OTHER_VALUE) ? 2 : 1)));
    RESTATE_TRY(restate_get(ctx, "a", &v));
    RESTATE_TRY(restate_keys(ctx, &keys));
    RESTATE_TRY(restate_clear(ctx, "a"));
    return restate_clear_all(ctx);
}

static inline restate_status kinds_calls(restate_ctx *ctx, restate_bytes in) {
    const restate_target echo = { .service = "KindsEcho", .handler = kinds_is(KINDS_OTHER_TARGET) ? "fail" : "echo" };
    const restate_target fail = { .service = "KindsEcho", .handler = "fail" };
    const restate_call_options options = { .headers = RESTATE_PAIRS({ "h", "v" }), .name = "nm" };
    const restate_call_options later = { .delay_ms = 100 };
    const char *id;
    restate_bytes v;
    restate_future *sent;
    if (kinds_is(KINDS_SEND_FOR_CALL)) restate_send(ctx, echo, in, &options);
    else RESTATE_TRY(restate_call(ctx, echo, in, &options, &v));
    KINDS_TRY(restate_call(ctx, fail, in, NULL, &v));
    sent = restate_send(ctx, echo, in, &later);
    RESTATE_TRY(restate_call_id(ctx, sent, &id));
    RESTATE_TRY(restate_attach(ctx, (restate_invocation){ .id = id }, &v));
    RESTATE_TRY(restate_output(ctx, (restate_invocation){ .id = id }, &v));
    RESTATE_TRY(restate_cancel(ctx, id));
    return restate_signal_resolve(ctx, id, "sig", restate_str("1"));
}

static inline restate_status kinds_runs(restate_ctx *ctx, uint64_t *now_ms) {
    restate_bytes v;
    restate_future *last;
    if (kinds_is(KINDS_ADDED_RUN)) RESTATE_TRY(restate_run(ctx, "new", kinds_roll, NULL, NULL, &v));
    RESTATE_TRY(restate_run(ctx, kinds_is(KINDS_RENAMED_RUN) ? "two" : "one", kinds_roll, NULL, NULL, &v));
    if (!kinds_is(KINDS_LOST_RUN)) KINDS_TRY(restate_run(ctx, "bad", kinds_teapot, NULL, NULL, &v));
    if (kinds_is(KINDS_SWAPPED)) RESTATE_TRY(restate_sleep(ctx, 20));
    RESTATE_TRY(restate_now(ctx, now_ms));
    if (kinds_is(KINDS_EARLY_RETURN)) return restate_reply(ctx, restate_str("early"));
    last = restate_sleep_async(ctx, 20, NULL);
    RESTATE_TRY(restate_await(ctx, last, NULL));
    return RESTATE_OK;
}

static inline restate_status kinds_all(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    const char *id;
    uint64_t now_ms = 0;
    restate_future *awakeable = restate_awakeable(ctx, &id);
    RESTATE_TRY(kinds_runs(ctx, &now_ms));
    if (kinds_is(KINDS_EARLY_RETURN)) return RESTATE_OK;
    RESTATE_TRY(kinds_state(ctx));
    RESTATE_TRY(kinds_calls(ctx, in));
    if (kinds_is(KINDS_EARLY_AWAIT)) RESTATE_TRY(restate_await(ctx, restate_signal(ctx, "never"), &v));
    RESTATE_TRY(restate_resolve(ctx, id, restate_json(ctx, "'aw'")));
    RESTATE_TRY(restate_await(ctx, awakeable, &v));
    KINDS_TRY(restate_await_for(ctx, restate_signal(ctx, "x"), 30, &v));
    return restate_reply(ctx, restate_json(ctx, "{'now': %llu, 'r': %d}", (unsigned long long)now_ms,
                                           (int)(restate_random(ctx) % 1000)));
}

/* The same state, fetched. */
static inline restate_status kinds_lazy(restate_ctx *ctx, restate_bytes in) {
    const char *const *keys;
    restate_bytes v;
    (void)in;
    RESTATE_TRY(restate_get(ctx, "a", &v));
    RESTATE_TRY(restate_keys(ctx, &keys));
    return restate_reply(ctx, v);
}

/* Is under way for a long time. */
static inline restate_status kinds_slow(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    uint64_t now_ms = 0;
    RESTATE_TRY(kinds_runs(ctx, &now_ms));
    if (kinds_is(KINDS_EARLY_RETURN)) return RESTATE_OK;
    RESTATE_TRY(restate_set(ctx, "q", in));
    RESTATE_TRY(restate_await(ctx, restate_signal(ctx, "go on"), &v));
    return restate_reply(ctx, v);
}

static inline restate_status kinds_echo(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }

static inline restate_status kinds_fail(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_fail_with(ctx, &(restate_failure){ .code = 409, .message = "no", .metadata = RESTATE_PAIRS({ "why", "because" }) });
}

static inline restate_status kinds_flow(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    (void)in;
    RESTATE_TRY(restate_promise_peek(ctx, "p", &v));
    RESTATE_TRY(restate_promise_resolve(ctx, "p", restate_str("5")));
    RESTATE_TRY(restate_await(ctx, restate_promise(ctx, "p"), &v));
    return restate_reply(ctx, v);
}

static const restate_service kinds_service = { .name = "Kinds", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "all", .fn = kinds_all },
    { .name = "lazy", .fn = kinds_lazy, .options.lazy_state = RESTATE_ON },
    { .name = "slow", .fn = kinds_slow }) };
static const restate_service kinds_echo_service = { .name = "KindsEcho", .handlers = RESTATE_HANDLERS(
    { .name = "echo", .fn = kinds_echo }, { .name = "fail", .fn = kinds_fail }) };
static const restate_service kinds_flow_service = { .name = "KindsFlow", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
    { .name = "run", .fn = kinds_flow }) };

#endif
