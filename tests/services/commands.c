/* VirtualObjectCommandInterpreter: ways to wait for several things, put together by the input. */
#include "services.h"
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* ---- Awakeables, known by a key of the caller's ---------------------------------------------- */

static const char *awakeable_state(restate_ctx *ctx, const char *key) {
    return restate_text(ctx, "awk-%s", key);
}

/* Makes the awakeable that a command or future names. Handlers that run beside complete it: its id
 * goes to the state at once. */
static restate_status create_awakeable(restate_ctx *ctx, restate_bytes json, restate_future **out) {
    const char *key = "", *id;
    RESTATE_TRY(restate_json_string(ctx, json, "awakeableKey", &key));
    *out = restate_awakeable(ctx, &id);
    return restate_set(ctx, awakeable_state(ctx, key), restate_json(ctx, "%s", id));
}

static restate_status find_awakeable(restate_ctx *ctx, restate_bytes json, const char **id) {
    const char *key = "";
    restate_bytes stored;
    *id = NULL;
    RESTATE_TRY(restate_json_string(ctx, json, "awakeableKey", &key));
    RESTATE_TRY(restate_get(ctx, awakeable_state(ctx, key), &stored));
    RESTATE_TRY(restate_json_string(ctx, stored, NULL, id));
    return *id ? RESTATE_OK : restate_fail(ctx, 500, "awakeable is not registered yet");
}

/* These two are handlers; commands of the same name do the same. */
static restate_status resolve_awakeable(restate_ctx *ctx, restate_bytes input) {
    const char *id, *value = "";
    RESTATE_TRY(restate_json_string(ctx, input, "value", &value));
    RESTATE_TRY(find_awakeable(ctx, input, &id));
    return restate_resolve(ctx, id, restate_json(ctx, "%s", value));
}

static restate_status reject_awakeable(restate_ctx *ctx, restate_bytes input) {
    restate_failure failure = { .message = "" };
    const char *id;
    RESTATE_TRY(restate_json_string(ctx, input, "reason", &failure.message));
    RESTATE_TRY(find_awakeable(ctx, input, &id));
    return restate_reject(ctx, id, &failure);
}

/* ---- Futures --------------------------------------------------------------------------------- */

static restate_status create_signal(restate_ctx *ctx, restate_bytes json, restate_future **out) {
    const char *name = "";
    RESTATE_TRY(restate_json_string(ctx, json, "signalName", &name));
    *out = restate_signal(ctx, name);
    return RESTATE_OK;
}

static restate_status create_timer(restate_ctx *ctx, restate_bytes json, restate_future **out) {
    uint64_t ms;
    RESTATE_TRY(read_ms(ctx, json, "timeoutMillis", &ms));
    *out = restate_sleep_async(ctx, ms, NULL);
    return RESTATE_OK;
}

static restate_status reply_text(restate_ctx *run, void *arg) {
    const char *const *value = arg;
    take_a_moment();
    return restate_reply(run, restate_json(run, "%s", *value));
}

static restate_status fail_with_text(restate_ctx *run, void *arg) {
    const char *const *reason = arg;
    return restate_fail(run, 500, "%s", *reason);
}

/* A run that lost executes on when the handler has returned, so it gets a copy of the pointer. What
 * that points to is the invocation's, which lasts until the closure has finished. */
static restate_status create_run(restate_ctx *ctx, restate_bytes json, const char *member,
                                 restate_closure *closure, restate_future **out) {
    const char *text = "";
    const restate_run_options copied = { .arg_bytes = sizeof text };
    RESTATE_TRY(restate_json_string(ctx, json, member, &text));
    *out = restate_run_async(ctx, "run", closure, &text, &copied);
    return RESTATE_OK;
}

static restate_status create_future(restate_ctx *ctx, restate_bytes json, restate_future **out) {
    const char *type = "";
    RESTATE_TRY(restate_json_string(ctx, json, "type", &type));
    if (strcmp(type, "createAwakeable") == 0) return create_awakeable(ctx, json, out);
    if (strcmp(type, "createSignal") == 0) return create_signal(ctx, json, out);
    if (strcmp(type, "sleep") == 0) return create_timer(ctx, json, out);
    if (strcmp(type, "runReturns") == 0) return create_run(ctx, json, "value", reply_text, out);
    if (strcmp(type, "runThrowTerminalException") == 0)
        return create_run(ctx, json, "reason", fail_with_text, out);
    return restate_fail(ctx, 500, "unknown type %s", type);
}

typedef struct futures {
    restate_future **list;
    size_t count;
} futures;

/* Starts all futures of a command, in the order of the list. */
static restate_status create_futures(restate_ctx *ctx, restate_bytes command, futures *f) {
    restate_bytes list, e = {0};
    size_t i = 0;
    f->count = 0;
    RESTATE_TRY(restate_json_member(ctx, command, "commands", &list));
    while (restate_json_next(ctx, list, &e)) f->count++;
    f->list = restate_alloc(ctx, (f->count + 1) * sizeof *f->list);
    if (!f->list) return RESTATE_ENDED;
    while (restate_json_next(ctx, list, &e)) RESTATE_TRY(create_future(ctx, e, &f->list[i++]));
    return RESTATE_OK;
}

/* Of all futures only timers have no value. */
static restate_status await_text(restate_ctx *ctx, restate_future *future, const char **text) {
    restate_bytes value;
    *text = "sleep";
    RESTATE_TRY(restate_await(ctx, future, &value));
    return restate_json_string(ctx, value, NULL, text);
}

static const char *join(restate_ctx *ctx, const char *const *texts, size_t count) {
    size_t size = 1, i;
    char *joined, *at;
    for (i = 0; i < count; i++) size += strlen(texts[i]) + 1;
    joined = at = restate_alloc(ctx, size);
    if (!joined) return "";
    for (i = 0; i < count; i++) {
        size_t len = strlen(texts[i]);
        if (i > 0) *at++ = '|';
        memcpy(at, texts[i], len);
        at += len;
    }
    return joined;
}

/* ---- Commands that wait ---------------------------------------------------------------------- */

static restate_status await_one(restate_ctx *ctx, restate_bytes command, const char **result) {
    restate_future *future;
    restate_bytes json;
    RESTATE_TRY(restate_json_member(ctx, command, "command", &json));
    RESTATE_TRY(create_future(ctx, json, &future));
    return await_text(ctx, future, result);
}

static restate_status await_any(restate_ctx *ctx, restate_bytes command, const char **result) {
    futures f;
    RESTATE_TRY(create_futures(ctx, command, &f));
    if (f.count == 0) return restate_fail(ctx, 500, "there is nothing to wait for");
    return await_text(ctx, restate_race(ctx, f.list, f.count), result);
}

static restate_status await_any_success(restate_ctx *ctx, restate_bytes command,
                                        const char **result) {
    futures f;
    RESTATE_TRY(create_futures(ctx, command, &f));
    return await_text(ctx, restate_any(ctx, f.list, f.count), result);
}

static restate_status await_all(restate_ctx *ctx, restate_bytes command, const char **result) {
    const char **texts;
    futures f;
    size_t i;
    RESTATE_TRY(create_futures(ctx, command, &f));
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, f.list, f.count), NULL));
    texts = restate_alloc(ctx, (f.count + 1) * sizeof *texts);
    if (!texts) return RESTATE_ENDED;
    for (i = 0; i < f.count; i++) RESTATE_TRY(await_text(ctx, f.list[i], &texts[i]));
    *result = join(ctx, texts, f.count);
    return RESTATE_OK;
}

/* What became of a future. */
static restate_status describe(restate_ctx *ctx, restate_future *future, const char **text) {
    restate_status s = await_text(ctx, future, text);
    if (s == RESTATE_TERMINAL) {
        *text = restate_text(ctx, "err:%s", restate_failed(ctx)->message);
        return RESTATE_OK;
    }
    *text = restate_text(ctx, "ok:%s", *text);
    return s;
}

static restate_status await_all_completed(restate_ctx *ctx, restate_bytes command,
                                          const char **result) {
    const char **texts;
    futures f;
    size_t i;
    RESTATE_TRY(create_futures(ctx, command, &f));
    RESTATE_TRY(restate_await(ctx, restate_all_settled(ctx, f.list, f.count), NULL));
    texts = restate_alloc(ctx, (f.count + 1) * sizeof *texts);
    if (!texts) return RESTATE_ENDED;
    for (i = 0; i < f.count; i++) RESTATE_TRY(describe(ctx, f.list[i], &texts[i]));
    *result = join(ctx, texts, f.count);
    return RESTATE_OK;
}

static restate_status await_awakeable_or_timeout(restate_ctx *ctx, restate_bytes command,
                                                 const char **result) {
    restate_future *awakeable;
    restate_bytes value;
    restate_status s;
    uint64_t ms;
    RESTATE_TRY(read_ms(ctx, command, "timeoutMillis", &ms));
    RESTATE_TRY(create_awakeable(ctx, command, &awakeable));
    s = restate_await_for(ctx, awakeable, ms, &value);
    if (s == RESTATE_TIMEOUT) return restate_fail(ctx, 500, "await-timeout");
    RESTATE_TRY(s);
    return restate_json_string(ctx, value, NULL, result);
}

/* ---- Commands that do not -------------------------------------------------------------------- */

static restate_status command_resolve(restate_ctx *ctx, restate_bytes command,
                                      const char **result) {
    (void)result;
    return resolve_awakeable(ctx, command);
}

static restate_status command_reject(restate_ctx *ctx, restate_bytes command, const char **result) {
    (void)result;
    return reject_awakeable(ctx, command);
}

static restate_status read_variable(restate_ctx *run, void *arg) {
    const char *const *name = arg;
    const char *value = getenv(*name);
    return restate_reply(run, restate_json(run, "%s", value ? value : ""));
}

static restate_status get_variable(restate_ctx *ctx, restate_bytes command, const char **result) {
    const char *name = "";
    restate_bytes value;
    RESTATE_TRY(restate_json_string(ctx, command, "envName", &name));
    RESTATE_TRY(restate_run(ctx, "getenv", read_variable, &name, NULL, &value));
    return restate_json_string(ctx, value, NULL, result);
}

/* ---- The interpreter ------------------------------------------------------------------------- */

typedef restate_status command_fn(restate_ctx *ctx, restate_bytes command, const char **result);

static const struct { const char *type; command_fn *execute; } commands[] = {
    { "awaitOne", await_one },
    { "awaitAny", await_any },
    { "awaitFirstCompleted", await_any },
    { "awaitAnySuccessful", await_any_success },
    { "awaitFirstSucceededOrAllFailed", await_any_success },
    { "awaitAllSucceededOrFirstFailed", await_all },
    { "awaitAllCompleted", await_all_completed },
    { "awaitAwakeableOrTimeout", await_awakeable_or_timeout },
    { "resolveAwakeable", command_resolve },
    { "rejectAwakeable", command_reject },
    { "getEnvVariable", get_variable } };

static restate_status execute(restate_ctx *ctx, restate_bytes command, const char **result) {
    const char *type = "";
    size_t i;
    *result = "";
    RESTATE_TRY(restate_json_string(ctx, command, "type", &type));
    for (i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(type, commands[i].type) == 0) return commands[i].execute(ctx, command, result);
    return restate_fail(ctx, 500, "unknown type %s", type);
}

static restate_status interpret_commands(restate_ctx *ctx, restate_bytes input) {
    restate_bytes list, e = {0};
    const char *result = "";
    cJSON *results;
    RESTATE_TRY(restate_json_member(ctx, input, "commands", &list));
    RESTATE_TRY(get_list(ctx, "results", &results));        /* nobody else writes it meanwhile */
    while (restate_json_next(ctx, list, &e)) {
        RESTATE_TRY(execute(ctx, e, &result));
        cJSON_AddItemToArray(results, cJSON_CreateString(result));
        RESTATE_TRY(restate_set(ctx, "results", restate_json_print(ctx, results)));
    }
    return restate_reply(ctx, restate_json(ctx, "%s", result));
}

static restate_status has_awakeable(restate_ctx *ctx, restate_bytes input) {
    const char *key = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &key));
    return reply_has_state(ctx, awakeable_state(ctx, key));
}

static restate_status get_results(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return reply_state(ctx, "results", "[]");
}

const restate_service command_interpreter = {
    .name = "VirtualObjectCommandInterpreter", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "interpretCommands", .fn = interpret_commands },
        { .name = "resolveAwakeable", .fn = resolve_awakeable, .shared = true,
          .output = RESTATE_VOID },
        { .name = "rejectAwakeable", .fn = reject_awakeable, .shared = true,
          .output = RESTATE_VOID },
        { .name = "hasAwakeable", .fn = has_awakeable, .shared = true },
        { .name = "getResults", .fn = get_results, .shared = true, .input = RESTATE_VOID }) };
