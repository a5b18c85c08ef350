/* Counter, ListObject, MapObject: state of virtual objects. */
#include "services.h"

/* ---- Counter --------------------------------------------------------------------------------- */

static restate_status counter_add(restate_ctx *ctx, restate_bytes input) {
    long long number = 0, before, after;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &number));
    RESTATE_TRY(add_int(ctx, "counter", number, &before, &after));
    return restate_reply(ctx, restate_json(ctx, "{'oldValue': %lld, 'newValue': %lld}",
                                           before, after));
}

/* A terminal failure takes nothing back: what was written before it stays. */
static restate_status counter_add_then_fail(restate_ctx *ctx, restate_bytes input) {
    RESTATE_TRY(counter_add(ctx, input));
    return restate_fail(ctx, 500, "%s", restate_key(ctx));
}

static restate_status counter_get(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return reply_state(ctx, "counter", "0");
}

static restate_status counter_reset(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_clear(ctx, "counter");
}

/* ---- ListObject ------------------------------------------------------------------------------ */

static restate_status list_append(restate_ctx *ctx, restate_bytes input) {
    restate_bytes text;
    RESTATE_TRY(read_text(ctx, input, NULL, &text));
    return append_text(ctx, "list", text);
}

static restate_status list_get(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return reply_state(ctx, "list", "[]");
}

static restate_status list_clear(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    RESTATE_TRY(reply_state(ctx, "list", "[]"));
    return restate_clear(ctx, "list");
}

/* ---- MapObject: each entry is a state value of its own --------------------------------------- */

static restate_status map_set(restate_ctx *ctx, restate_bytes input) {
    const char *key = "";
    restate_bytes value;
    RESTATE_TRY(restate_json_string(ctx, input, "key", &key));
    RESTATE_TRY(read_text(ctx, input, "value", &value));
    return restate_set(ctx, key, restate_json_quote(ctx, value));
}

static restate_status map_get(restate_ctx *ctx, restate_bytes input) {
    const char *key = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &key));
    return reply_state(ctx, key, "\"\"");
}

static restate_status map_clear_all(restate_ctx *ctx, restate_bytes input) {
    restate_bytes entries = restate_str("[]"), stored;
    const char *const *keys;
    (void)input;
    RESTATE_TRY(restate_keys(ctx, &keys));
    for (; *keys; keys++) {
        RESTATE_TRY(restate_get(ctx, *keys, &stored));
        entries = append_json(ctx, entries, restate_json(ctx, "{'key':%s,'value':%-s}", *keys,
                                                         (const char *)stored.ptr));
    }
    RESTATE_TRY(restate_clear_all(ctx));
    return restate_reply(ctx, entries);
}

const restate_service counter_service = {
    .name = "Counter", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "add", .fn = counter_add },
        { .name = "addThenFail", .fn = counter_add_then_fail, .output = RESTATE_VOID },
        { .name = "get", .fn = counter_get, .shared = true, .input = RESTATE_VOID },
        { .name = "reset", .fn = counter_reset, .input = RESTATE_VOID, .output = RESTATE_VOID }) };

const restate_service list_object = {
    .name = "ListObject", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "append", .fn = list_append, .output = RESTATE_VOID },
        { .name = "get", .fn = list_get, .input = RESTATE_VOID },
        { .name = "clear", .fn = list_clear, .input = RESTATE_VOID }) };

const restate_service map_object = {
    .name = "MapObject", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "set", .fn = map_set, .output = RESTATE_VOID },
        { .name = "get", .fn = map_get },
        { .name = "clearAll", .fn = map_clear_all, .input = RESTATE_VOID }) };
