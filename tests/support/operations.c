/* Each operation of a handler, chosen by number, for tests of what holds for all of them. */
#ifndef SUPPORT_OPERATIONS_C
#define SUPPORT_OPERATIONS_C

#include "exchange.c"

static restate_status executes(restate_ctx *run, void *arg) {
    tell("executed ");
    return restate_reply(run, text((const char *)arg));
}

enum {
    RUN, RUN_ASYNC, NOW, SLEEP, TIMER, GET, GET_ASYNC, KEYS, CALL, CALL_ASYNC, CALL_ID, SEND_ID,
    ATTACH, ATTACH_ASYNC, OUTPUT, PROMISE, PEEK, RESOLVE_PROMISE, REJECT_PROMISE, AWAIT_AWAKEABLE,
    SIGNAL,
    WAITING,                                /* so far: await points; from here on: at once */
    SET = WAITING, CLEAR, CLEAR_ALL, EAGER_GET, EAGER_KEYS, SEND, RESOLVE, REJECT, TELL,
    TELL_FAILURE, CANCEL,
    OPERATIONS
};

static int operation;

static restate_status first_key(restate_ctx *ctx, restate_bytes *value) {
    const char *const *keys = NULL;
    restate_status s = restate_keys(ctx, &keys);
    CHECK(keys != NULL);
    if (s == RESTATE_OK && *keys) *value = text(*keys);
    return s;
}

static restate_status id_of(restate_ctx *ctx, restate_future *call, restate_bytes *value) {
    const char *id;
    restate_status s = restate_call_id(ctx, call, &id);
    if (s == RESTATE_OK) *value = text(id);
    else CHECK_STR(id, "");
    return s;
}

static restate_status perform(restate_ctx *ctx, restate_bytes *value) {
    static const restate_failure no = { .code = 418, .message = "no" };
    const restate_invocation other = { .id = INV_X };
    void *result = (void *)(uintptr_t)"new";
    restate_status s;
    uint64_t ms;
    switch (operation) {
    case RUN: return restate_run(ctx, "r", executes, result, NULL, value);
    case RUN_ASYNC:
        return restate_await(ctx, restate_run_async(ctx, "r", executes, result, NULL), value);
    case NOW:
        s = restate_now(ctx, &ms);
        if (s == RESTATE_OK) *value = text(restate_text(ctx, "%llu", (unsigned long long)ms));
        return s;
    case SLEEP: return restate_sleep(ctx, 5);
    case TIMER: return restate_await(ctx, restate_sleep_async(ctx, 5, "t"), value);
    case GET: return restate_get(ctx, "k", value);
    case GET_ASYNC: return restate_await(ctx, restate_get_async(ctx, "k"), value);
    case KEYS: case EAGER_KEYS: return first_key(ctx, value);
    case CALL: return restate_call(ctx, greeter, text("x"), NULL, value);
    case CALL_ASYNC:
        return restate_await(ctx, restate_call_async(ctx, greeter, text("x"), NULL), value);
    case CALL_ID: return id_of(ctx, restate_call_async(ctx, greeter, text("x"), NULL), value);
    case SEND_ID: return id_of(ctx, restate_send(ctx, greeter, text("x"), NULL), value);
    case ATTACH: return restate_attach(ctx, other, value);
    case ATTACH_ASYNC: return restate_await(ctx, restate_attach_async(ctx, other), value);
    case OUTPUT: return restate_output(ctx, other, value);
    case PROMISE: return restate_await(ctx, restate_promise(ctx, "p"), value);
    case PEEK: return restate_promise_peek(ctx, "p", value);
    case RESOLVE_PROMISE: return restate_promise_resolve(ctx, "p", text("v"));
    case REJECT_PROMISE: return restate_promise_reject(ctx, "p", &no);
    case AWAIT_AWAKEABLE: return restate_await(ctx, restate_awakeable(ctx, NULL), value);
    case SIGNAL: return restate_await(ctx, restate_signal(ctx, "n"), value);
    case SET: return restate_set(ctx, "k", text("v"));
    case CLEAR: return restate_clear(ctx, "k");
    case CLEAR_ALL: return restate_clear_all(ctx);
    case EAGER_GET: return restate_get(ctx, "a", value);
    case SEND: restate_send(ctx, greeter, text("x"), NULL); return RESTATE_OK;
    case RESOLVE: return restate_resolve(ctx, AWAKEABLE, text("v"));
    case REJECT: return restate_reject(ctx, AWAKEABLE, &no);
    case TELL: return restate_signal_resolve(ctx, INV_X, "n", text("v"));
    case TELL_FAILURE: return restate_signal_reject(ctx, INV_X, "n", &no);
    default: return restate_cancel(ctx, INV_X);
    }
}

#endif
