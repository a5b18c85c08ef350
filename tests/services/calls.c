/* Proxy calls whatever it is told to, TestUtilsService answers, counts, cancels and signals. */
#include "services.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

/* ---- Proxy: bytes, as JSON arrays of integers ------------------------------------------------ */

static restate_status read_bytes(restate_ctx *ctx, restate_bytes array, restate_bytes *out) {
    uint8_t *raw = restate_alloc(ctx, array.len + 1);       /* never more than its text is long */
    size_t n = 0;
    restate_bytes e = {0};
    if (!raw) return RESTATE_ENDED;
    while (restate_json_next(ctx, array, &e)) {
        long long byte = 0;
        RESTATE_TRY(restate_json_int(ctx, e, NULL, &byte));
        raw[n++] = (uint8_t)byte;
    }
    *out = (restate_bytes){ raw, n };
    return RESTATE_OK;
}

static restate_bytes print_bytes(restate_ctx *ctx, restate_bytes raw) {
    char *text = restate_alloc(ctx, 4 * raw.len + 3), *at = text;       /* "[255,255]" */
    size_t i;
    if (!text) return (restate_bytes){0};
    *at++ = '[';
    for (i = 0; i < raw.len; i++) at += snprintf(at, 5, "%s%d", i ? "," : "", raw.ptr[i]);
    *at++ = ']';
    return (restate_bytes){ (const uint8_t *)text, (size_t)(at - text) };
}

/* ---- Proxy ----------------------------------------------------------------------------------- */

typedef struct proxy_request {
    restate_target to;
    restate_bytes message;
    restate_call_options options;           /* without the delay, which calls do not have */
    uint64_t delay_ms;
} proxy_request;

static restate_status read_request(restate_ctx *ctx, restate_bytes json, proxy_request *r) {
    restate_bytes message;
    *r = (proxy_request){0};
    RESTATE_TRY(restate_json_string(ctx, json, "serviceName", &r->to.service));
    RESTATE_TRY(restate_json_string(ctx, json, "virtualObjectKey", &r->to.key));
    RESTATE_TRY(restate_json_string(ctx, json, "handlerName", &r->to.handler));
    RESTATE_TRY(restate_json_string(ctx, json, "scope", &r->to.scope));
    RESTATE_TRY(restate_json_string(ctx, json, "limitKey", &r->options.limit_key));
    RESTATE_TRY(restate_json_string(ctx, json, "idempotencyKey", &r->options.idempotency_key));
    RESTATE_TRY(read_ms(ctx, json, "delayMillis", &r->delay_ms));
    RESTATE_TRY(restate_json_member(ctx, json, "message", &message));
    return read_bytes(ctx, message, &r->message);
}

static restate_future *start_call(restate_ctx *ctx, const proxy_request *r) {
    return restate_call_async(ctx, r->to, r->message, &r->options);
}

static restate_future *start_send(restate_ctx *ctx, const proxy_request *r) {
    restate_call_options options = r->options;
    options.delay_ms = r->delay_ms;
    return restate_send(ctx, r->to, r->message, &options);
}

static restate_status proxy_call(restate_ctx *ctx, restate_bytes input) {
    proxy_request request;
    restate_bytes reply;
    RESTATE_TRY(read_request(ctx, input, &request));
    RESTATE_TRY(restate_await(ctx, start_call(ctx, &request), &reply));
    return restate_reply(ctx, print_bytes(ctx, reply));
}

static restate_status proxy_one_way_call(restate_ctx *ctx, restate_bytes input) {
    proxy_request request;
    const char *id;
    RESTATE_TRY(read_request(ctx, input, &request));
    RESTATE_TRY(restate_call_id(ctx, start_send(ctx, &request), &id));
    return restate_reply(ctx, restate_json(ctx, "%s", id));
}

/* Starts one of many; `*call` is what has to be waited for, NULL if nothing has. */
static restate_status start_one(restate_ctx *ctx, restate_bytes json, restate_future **call) {
    proxy_request request;
    restate_future *started;
    restate_bytes inner;
    bool one_way = false, awaited = false;
    RESTATE_TRY(restate_json_bool(ctx, json, "oneWayCall", &one_way));
    RESTATE_TRY(restate_json_bool(ctx, json, "awaitAtTheEnd", &awaited));
    RESTATE_TRY(restate_json_member(ctx, json, "proxyRequest", &inner));
    RESTATE_TRY(read_request(ctx, inner, &request));
    started = one_way ? start_send(ctx, &request) : start_call(ctx, &request);
    *call = awaited && !one_way ? started : NULL;
    return RESTATE_OK;
}

static restate_status proxy_many_calls(restate_ctx *ctx, restate_bytes input) {
    restate_future **calls;
    size_t count = 0, i = 0;
    restate_bytes e = {0};
    while (restate_json_next(ctx, input, &e)) count++;
    calls = restate_alloc(ctx, (count + 1) * sizeof *calls);
    if (!calls) return RESTATE_ENDED;
    while (restate_json_next(ctx, input, &e)) RESTATE_TRY(start_one(ctx, e, &calls[i++]));
    return restate_await(ctx, restate_all(ctx, calls, count), NULL);    /* skips what is NULL */
}

/* ---- TestUtilsService ------------------------------------------------------------------------ */

static restate_status utils_echo(restate_ctx *ctx, restate_bytes input) {
    return restate_reply(ctx, input);
}

static restate_status utils_uppercase_echo(restate_ctx *ctx, restate_bytes input) {
    restate_bytes text, upper;
    uint8_t *to;
    size_t i;
    RESTATE_TRY(read_text(ctx, input, NULL, &text));
    to = restate_alloc(ctx, text.len);
    if (!to) return RESTATE_ENDED;
    for (i = 0; i < text.len; i++)
        to[i] = (uint8_t)(text.ptr[i] >= 'a' && text.ptr[i] <= 'z' ? text.ptr[i] - 'a' + 'A'
                                                                   : text.ptr[i]);
    upper.ptr = to;
    upper.len = text.len;
    return restate_reply(ctx, restate_json_quote(ctx, upper));
}

static restate_status utils_echo_headers(restate_ctx *ctx, restate_bytes input) {
    const restate_pair *h = restate_request(ctx)->headers;
    cJSON *object = restate_json_own(ctx, cJSON_CreateObject());
    (void)input;
    for (; h->name; h++) cJSON_AddStringToObject(object, h->name, h->value);
    return restate_reply(ctx, restate_json_print(ctx, object));
}

static restate_status count_execution(restate_ctx *run, void *arg) {
    long long *executed = arg;
    (void)run;
    ++*executed;
    return RESTATE_OK;
}

/* The variable starts at 0 in every attempt and replayed runs do not execute, so it tells how many
 * runs the last attempt executed. The closure may touch it: this function waits meanwhile. */
static restate_status utils_count_executed(restate_ctx *ctx, restate_bytes input) {
    long long times = 0, executed = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &times));
    for (; times > 0; times--)
        RESTATE_TRY(restate_run(ctx, "count", count_execution, &executed, NULL, NULL));
    return restate_reply(ctx, restate_json(ctx, "%lld", executed));
}

static restate_status utils_cancel(restate_ctx *ctx, restate_bytes input) {
    const char *id = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &id));
    return restate_cancel(ctx, id);
}

/* A signal to an invocation. */
typedef struct signal_request {
    const char *id, *name;
} signal_request;

static restate_status read_signal(restate_ctx *ctx, restate_bytes json, signal_request *r) {
    *r = (signal_request){ "", "" };
    RESTATE_TRY(restate_json_string(ctx, json, "invocationId", &r->id));
    return restate_json_string(ctx, json, "signalName", &r->name);
}

static restate_status utils_resolve_signal(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    signal_request r;
    RESTATE_TRY(read_signal(ctx, input, &r));
    RESTATE_TRY(read_text(ctx, input, "value", &value));
    return restate_signal_resolve(ctx, r.id, r.name, restate_json_quote(ctx, value));
}

static restate_status utils_reject_signal(restate_ctx *ctx, restate_bytes input) {
    restate_failure failure = { .message = "" };
    signal_request r;
    RESTATE_TRY(read_signal(ctx, input, &r));
    RESTATE_TRY(restate_json_string(ctx, input, "reason", &failure.message));
    return restate_signal_reject(ctx, r.id, r.name, &failure);
}

const restate_service proxy = { .name = "Proxy", .handlers = RESTATE_HANDLERS(
    { .name = "call", .fn = proxy_call },
    { .name = "oneWayCall", .fn = proxy_one_way_call },
    { .name = "manyCalls", .fn = proxy_many_calls, .output = RESTATE_VOID }) };

const restate_service test_utils = { .name = "TestUtilsService", .handlers = RESTATE_HANDLERS(
    { .name = "echo", .fn = utils_echo },
    { .name = "uppercaseEcho", .fn = utils_uppercase_echo },
    { .name = "echoHeaders", .fn = utils_echo_headers, .input = RESTATE_VOID },
    { .name = "rawEcho", .fn = utils_echo, .input = RESTATE_BYTES, .output = RESTATE_BYTES },
    { .name = "countExecutedSideEffects", .fn = utils_count_executed },
    { .name = "cancelInvocation", .fn = utils_cancel, .output = RESTATE_VOID },
    { .name = "resolveSignal", .fn = utils_resolve_signal, .output = RESTATE_VOID },
    { .name = "rejectSignal", .fn = utils_reject_signal, .output = RESTATE_VOID }) };
