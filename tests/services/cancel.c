/* CancelTest..., KillTest...: call trees that hang until somebody cancels or kills them. */
#include "services.h"
#include <string.h>

/* A handler of the object with the key of this one. */
static restate_target beside(restate_ctx *ctx, const char *service, const char *handler) {
    return (restate_target){ .service = service, .handler = handler, .key = restate_key(ctx) };
}

static restate_status nothing(restate_ctx *ctx, restate_bytes input) {
    (void)ctx;
    (void)input;
    return RESTATE_OK;
}

/* ---- CancelTestRunner, CancelTestBlockingService --------------------------------------------- */

/* 409 comes from the callee, or is the cancellation of this invocation. */
static restate_status runner_start_test(restate_ctx *ctx, restate_bytes input) {
    const restate_target block = beside(ctx, "CancelTestBlockingService", "block");
    restate_status s = restate_call(ctx, block, input, NULL, NULL);
    if (s != RESTATE_TERMINAL && s != RESTATE_CANCELLED) return s;
    if (restate_failed(ctx)->code != 409) return s;
    return restate_set(ctx, "canceled", restate_json(ctx, "true"));
}

static restate_status runner_verify_test(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return reply_state(ctx, "canceled", "false");
}

static restate_status blocking_block(restate_ctx *ctx, restate_bytes input) {
    const restate_target hold = beside(ctx, "AwakeableHolder", "hold");
    const restate_target self = beside(ctx, "CancelTestBlockingService", "block");
    const char *operation = "", *id;
    restate_future *held = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &operation));
    RESTATE_TRY(restate_call(ctx, hold, restate_json(ctx, "%s", id), NULL, NULL));
    RESTATE_TRY(restate_await(ctx, held, NULL));
    if (strcmp(operation, "CALL") == 0) return restate_call(ctx, self, input, NULL, NULL);
    if (strcmp(operation, "SLEEP") == 0) return restate_sleep(ctx, RESTATE_DAYS(1024));
    if (strcmp(operation, "AWAKEABLE") == 0)
        return restate_await(ctx, restate_awakeable(ctx, NULL), NULL);
    return restate_fail(ctx, 500, "unknown operation %s", operation);
}

/* ---- KillTestRunner, KillTestSingleton ------------------------------------------------------- */

static restate_status runner_start_call_tree(restate_ctx *ctx, restate_bytes input) {
    const restate_target call = beside(ctx, "KillTestSingleton", "recursiveCall");
    (void)input;
    return restate_call(ctx, call, (restate_bytes){0}, NULL, NULL);
}

static restate_status singleton_recursive_call(restate_ctx *ctx, restate_bytes input) {
    const restate_target hold = beside(ctx, "AwakeableHolder", "hold");
    const restate_target self = beside(ctx, "KillTestSingleton", "recursiveCall");
    const char *id;
    restate_future *held = restate_awakeable(ctx, &id);
    (void)input;
    restate_send(ctx, hold, restate_json(ctx, "%s", id), NULL);
    RESTATE_TRY(restate_await(ctx, held, NULL));
    return restate_call(ctx, self, (restate_bytes){0}, NULL, NULL);
}

const restate_service cancel_test_runner = {
    .name = "CancelTestRunner", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "startTest", .fn = runner_start_test, .output = RESTATE_VOID },
        { .name = "verifyTest", .fn = runner_verify_test, .input = RESTATE_VOID }) };

const restate_service cancel_test_blocking = {
    .name = "CancelTestBlockingService", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "block", .fn = blocking_block, .output = RESTATE_VOID },
        { .name = "isUnlocked", .fn = nothing, .input = RESTATE_VOID, .output = RESTATE_VOID }) };

const restate_service kill_test_runner = {
    .name = "KillTestRunner", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "startCallTree", .fn = runner_start_call_tree,
          .input = RESTATE_VOID, .output = RESTATE_VOID }) };

const restate_service kill_test_singleton = {
    .name = "KillTestSingleton", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "recursiveCall", .fn = singleton_recursive_call,
          .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "isUnlocked", .fn = nothing, .input = RESTATE_VOID, .output = RESTATE_VOID }) };
