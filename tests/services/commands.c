/* VirtualObjectCommandInterpreter: ways to wait for several things, put together by the input. */
#include "services.h"
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
    const char *id;
    restate_bytes value;
    RESTATE_TRY(read_text(ctx, input, "value", &value));
    RESTATE_TRY(find_awakeable(ctx, input, &id));
    return restate_resolve(ctx, id, restate_json_quote(ctx, value));
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
    const restate_bytes *value = arg;
    take_a_moment();
    return restate_reply(run, restate_json_quote(run, *value));
}

static restate_status fail_with_text(restate_ctx *run, void *arg) {
    const restate_bytes *reason = arg;
    return restate_fail(run, 500, "%s", (const char *)reason->ptr);
}

/* A run that lost executes on when the handler has returned, so it gets a copy of the bytes. What
 * these point to is the invocation's, which lasts until the closure has finished. */
static restate_status create_run(restate_ctx *ctx, restate_bytes json, const char *member,
                                 restate_closure *closure, restate_future **out) {
    restate_bytes text;
    const restate_run_options copied = { .arg_bytes = sizeof text };
    RESTATE_TRY(read_text(ctx, json, member, &text));
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
static restate_status await_text(restate_ctx *ctx, restate_future *future, restate_bytes *text) {
    restate_bytes value;
    *text = restate_str("sleep");
    RESTATE_TRY(restate_await(ctx, future, &value));
    return restate_json_text(ctx, value, NULL, text);
}

static restate_bytes join(restate_ctx *ctx, const char *between, const restate_bytes *texts,
                          size_t count) {
    restate_bytes joined = {0};
    size_t size = 1, gap = strlen(between), i;
    uint8_t *at;
    for (i = 0; i < count; i++) size += texts[i].len + gap;
    joined.ptr = at = restate_alloc(ctx, size);
    if (!at) return joined;
    for (i = 0; i < count; i++) {
        if (i > 0 && gap) memcpy(at, between, gap), at += gap;
        if (texts[i].len) memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
    }
    joined.len = (size_t)(at - joined.ptr);
    return joined;
}

/* ---- Commands that wait ---------------------------------------------------------------------- */

static restate_status await_one(restate_ctx *ctx, restate_bytes command, restate_bytes *result) {
    restate_future *future;
    restate_bytes json;
    RESTATE_TRY(restate_json_member(ctx, command, "command", &json));
    RESTATE_TRY(create_future(ctx, json, &future));
    return await_text(ctx, future, result);
}

static restate_status await_any(restate_ctx *ctx, restate_bytes command, restate_bytes *result) {
    futures f;
    RESTATE_TRY(create_futures(ctx, command, &f));
    if (f.count == 0) return restate_fail(ctx, 500, "there is nothing to wait for");
    return await_text(ctx, restate_race(ctx, f.list, f.count), result);
}

static restate_status await_any_success(restate_ctx *ctx, restate_bytes command,
                                        restate_bytes *result) {
    futures f;
    RESTATE_TRY(create_futures(ctx, command, &f));
    return await_text(ctx, restate_any(ctx, f.list, f.count), result);
}

static restate_status await_all(restate_ctx *ctx, restate_bytes command, restate_bytes *result) {
    restate_bytes *texts;
    futures f;
    size_t i;
    RESTATE_TRY(create_futures(ctx, command, &f));
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, f.list, f.count), NULL));
    texts = restate_alloc(ctx, (f.count + 1) * sizeof *texts);
    if (!texts) return RESTATE_ENDED;
    for (i = 0; i < f.count; i++) RESTATE_TRY(await_text(ctx, f.list[i], &texts[i]));
    *result = join(ctx, "|", texts, f.count);
    return RESTATE_OK;
}

/* What became of a future. */
static restate_status describe(restate_ctx *ctx, restate_future *future, restate_bytes *text) {
    restate_bytes parts[2] = { restate_str("ok:"), {0} };
    restate_status s = await_text(ctx, future, &parts[1]);
    if (s == RESTATE_TERMINAL) {
        parts[0] = restate_str("err:");
        parts[1] = restate_str(restate_failed(ctx)->message);
        s = RESTATE_OK;
    }
    *text = join(ctx, "", parts, 2);
    return s;
}

static restate_status await_all_completed(restate_ctx *ctx, restate_bytes command,
                                          restate_bytes *result) {
    restate_bytes *texts;
    futures f;
    size_t i;
    RESTATE_TRY(create_futures(ctx, command, &f));
    RESTATE_TRY(restate_await(ctx, restate_all_settled(ctx, f.list, f.count), NULL));
    texts = restate_alloc(ctx, (f.count + 1) * sizeof *texts);
    if (!texts) return RESTATE_ENDED;
    for (i = 0; i < f.count; i++) RESTATE_TRY(describe(ctx, f.list[i], &texts[i]));
    *result = join(ctx, "|", texts, f.count);
    return RESTATE_OK;
}

static restate_status await_awakeable_or_timeout(restate_ctx *ctx, restate_bytes command,
                                                 restate_bytes *result) {
    restate_future *awakeable;
    restate_bytes value;
    restate_status s;
    uint64_t ms;
    RESTATE_TRY(read_ms(ctx, command, "timeoutMillis", &ms));
    RESTATE_TRY(create_awakeable(ctx, command, &awakeable));
    s = restate_await_for(ctx, awakeable, ms, &value);
    if (s == RESTATE_TIMEOUT) return restate_fail(ctx, 500, "await-timeout");
    RESTATE_TRY(s);
    return read_text(ctx, value, NULL, result);
}

/* ---- Commands that do not -------------------------------------------------------------------- */

static restate_status command_resolve(restate_ctx *ctx, restate_bytes command,
                                      restate_bytes *result) {
    (void)result;
    return resolve_awakeable(ctx, command);
}

static restate_status command_reject(restate_ctx *ctx, restate_bytes command, restate_bytes *result) {
    (void)result;
    return reject_awakeable(ctx, command);
}

static restate_status read_variable(restate_ctx *run, void *arg) {
    const char *const *name = arg;
    const char *value = getenv(*name);
    return restate_reply(run, restate_json(run, "%s", value ? value : ""));
}

static restate_status get_variable(restate_ctx *ctx, restate_bytes command, restate_bytes *result) {
    const char *name = "";
    restate_bytes value;
    RESTATE_TRY(restate_json_string(ctx, command, "envName", &name));
    RESTATE_TRY(restate_run(ctx, "getenv", read_variable, &name, NULL, &value));
    return read_text(ctx, value, NULL, result);
}

/* ---- The interpreter ------------------------------------------------------------------------- */

typedef restate_status command_fn(restate_ctx *ctx, restate_bytes command, restate_bytes *result);

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

static restate_status execute(restate_ctx *ctx, restate_bytes command, restate_bytes *result) {
    const char *type = "";
    size_t i;
    *result = restate_str("");
    RESTATE_TRY(restate_json_string(ctx, command, "type", &type));
    for (i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(type, commands[i].type) == 0) return commands[i].execute(ctx, command, result);
    return restate_fail(ctx, 500, "unknown type %s", type);
}

static restate_status interpret_commands(restate_ctx *ctx, restate_bytes input) {
    restate_bytes list, result = restate_str(""), e = {0};
    RESTATE_TRY(restate_json_member(ctx, input, "commands", &list));
    while (restate_json_next(ctx, list, &e)) {
        RESTATE_TRY(execute(ctx, e, &result));
        RESTATE_TRY(append_text(ctx, "results", result));
    }
    return restate_reply(ctx, restate_json_quote(ctx, result));
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
