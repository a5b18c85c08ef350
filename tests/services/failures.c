/* Failing: terminal failures that come through, retryable ones that do not. */
#include "services.h"
#include <cjson/cJSON.h>

/* Process counters: all invocations share them, from any thread. They are lost with the process,
 * and meant to be. */
static long long call_tries, succeeding_tries, failing_tries;

static long long count_try(long long *tries) {
    return __atomic_add_fetch(tries, 1, __ATOMIC_SEQ_CST);
}

static void forget_tries(long long *tries) { __atomic_store_n(tries, 0, __ATOMIC_SEQ_CST); }

/* ---- Terminal failures ----------------------------------------------------------------------- */

/* {"errorMessage": string, "metadata": {string: string}} */
static restate_status read_failure(restate_ctx *ctx, restate_bytes json, restate_failure *failure) {
    restate_bytes metadata;
    restate_pair *pairs;
    cJSON *tree;
    const cJSON *e;
    size_t n = 0;
    *failure = (restate_failure){ .message = "" };
    RESTATE_TRY(restate_json_string(ctx, json, "errorMessage", &failure->message));
    RESTATE_TRY(restate_json_member(ctx, json, "metadata", &metadata));
    RESTATE_TRY(restate_json_tree(ctx, metadata, &tree));
    pairs = restate_alloc(ctx, ((size_t)cJSON_GetArraySize(tree) + 1) * sizeof *pairs);
    if (!pairs) return RESTATE_ENDED;
    cJSON_ArrayForEach(e, tree) {
        if (!e->string || !cJSON_IsString(e))
            return restate_fail(ctx, 500, "metadata has to be a map from string to string");
        if (e != cJSON_GetObjectItemCaseSensitive(tree, e->string)) continue;   /* a second one */
        pairs[n++] = (restate_pair){ e->string, e->valuestring };
    }
    failure->metadata = pairs;
    return RESTATE_OK;
}

static restate_status failing_terminally(restate_ctx *ctx, restate_bytes input) {
    restate_failure failure;
    RESTATE_TRY(read_failure(ctx, input, &failure));
    return restate_fail_with(ctx, &failure);
}

static restate_status failing_call_terminally(restate_ctx *ctx, restate_bytes input) {
    const restate_target other = { .service = "Failing", .handler = "terminallyFailingCall",
                                   .key = restate_uuid(ctx) };
    return restate_call(ctx, other, input, NULL, NULL);
}

static restate_status fail_as_told(restate_ctx *run, void *arg) {
    return restate_fail_with(run, arg);
}

static restate_status failing_run_terminally(restate_ctx *ctx, restate_bytes input) {
    restate_failure failure;
    RESTATE_TRY(read_failure(ctx, input, &failure));
    return restate_run(ctx, "fail", fail_as_told, &failure, NULL, NULL);
}

/* ---- Retryable failures ---------------------------------------------------------------------- */

static restate_status failing_call_for_a_while(restate_ctx *ctx, restate_bytes input) {
    long long n = count_try(&call_tries);
    (void)input;
    if (n < 4) return restate_retry(ctx, NULL, "Failed at attempt: %lld", n);
    forget_tries(&call_tries);
    return restate_reply(ctx, restate_json(ctx, "%lld", n));
}

static restate_status fail_for_a_while(restate_ctx *run, void *arg) {
    const long long *enough = arg;
    long long n = count_try(&succeeding_tries);
    if (n < *enough) return restate_retry(run, NULL, "Failed at attempt: %lld", n);
    forget_tries(&succeeding_tries);
    return restate_reply(run, restate_json(run, "%lld", n));
}

static restate_status failing_run_for_a_while(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options soon = { .retry = { .initial_interval_ms = 10, .factor = 1 } };
    long long enough = 0;
    restate_bytes result;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &enough));
    RESTATE_TRY(restate_run(ctx, "fail for a while", fail_for_a_while, &enough, &soon, &result));
    return restate_reply(ctx, result);
}

static restate_status fail_always(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_retry(run, NULL, "Failed at attempt: %lld", count_try(&failing_tries));
}

static restate_status failing_run_until_given_up(restate_ctx *ctx, restate_bytes input) {
    restate_run_options few = { .retry = { .initial_interval_ms = 10, .factor = 1 } };
    long long most = 1;
    restate_status s;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &most));
    few.retry.max_attempts = (uint32_t)(most > 1 ? most : 1);   /* 0 would be no limit */
    s = restate_run(ctx, "fail always", fail_always, NULL, &few, NULL);
    if (s != RESTATE_TERMINAL) return s;
    return restate_reply(ctx, restate_json(ctx, "%lld",
                                           __atomic_load_n(&failing_tries, __ATOMIC_SEQ_CST)));
}

const restate_service failing = {
    .name = "Failing", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "terminallyFailingCall", .fn = failing_terminally, .output = RESTATE_VOID },
        { .name = "callTerminallyFailingCall", .fn = failing_call_terminally },
        { .name = "failingCallWithEventualSuccess", .fn = failing_call_for_a_while,
          .input = RESTATE_VOID },
        { .name = "terminallyFailingSideEffect", .fn = failing_run_terminally,
          .output = RESTATE_VOID },
        { .name = "sideEffectSucceedsAfterGivenAttempts", .fn = failing_run_for_a_while },
        { .name = "sideEffectFailsAfterGivenAttempts", .fn = failing_run_until_given_up }) };
