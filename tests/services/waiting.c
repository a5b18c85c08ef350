/* AwakeableHolder and BlockAndWaitWorkflow: waiting for somebody else. */
#include "services.h"

/* ---- AwakeableHolder: keeps the id of an awakeable until somebody unlocks it ----------------- */

static restate_status holder_hold(restate_ctx *ctx, restate_bytes input) {
    return restate_set(ctx, "id", input);
}

static restate_status holder_has_awakeable(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return reply_has_state(ctx, "id");
}

static restate_status holder_unlock(restate_ctx *ctx, restate_bytes input) {
    const char *id = NULL;
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, "id", &stored));
    RESTATE_TRY(restate_json_string(ctx, stored, NULL, &id));
    if (!id) return restate_fail(ctx, 500, "No awakeable registered");
    RESTATE_TRY(restate_resolve(ctx, id, input));
    return restate_clear(ctx, "id");
}

/* ---- BlockAndWaitWorkflow -------------------------------------------------------------------- */

static restate_status workflow_run(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value, peeked;
    RESTATE_TRY(restate_set(ctx, "my-state", input));
    RESTATE_TRY(restate_await(ctx, restate_promise(ctx, "durable-promise"), &value));
    RESTATE_TRY(restate_promise_peek(ctx, "durable-promise", &peeked));
    if (!peeked.ptr) return restate_fail(ctx, 500, "Durable promise should be completed");
    return restate_reply(ctx, value);
}

static restate_status workflow_unblock(restate_ctx *ctx, restate_bytes input) {
    return restate_promise_resolve(ctx, "durable-promise", input);
}

static restate_status workflow_get_state(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return reply_state(ctx, "my-state", "null");
}

const restate_service awakeable_holder = {
    .name = "AwakeableHolder", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "hold", .fn = holder_hold, .output = RESTATE_VOID },
        { .name = "hasAwakeable", .fn = holder_has_awakeable, .input = RESTATE_VOID },
        { .name = "unlock", .fn = holder_unlock, .output = RESTATE_VOID }) };

const restate_service block_and_wait = {
    .name = "BlockAndWaitWorkflow", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
        { .name = "run", .fn = workflow_run },
        { .name = "unblock", .fn = workflow_unblock, .shared = true, .output = RESTATE_VOID },
        { .name = "getState", .fn = workflow_get_state, .shared = true, .input = RESTATE_VOID }) };
