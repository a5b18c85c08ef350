/* A virtual object: one number per key, changed by one handler at a time.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/counter.c -o counter -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./counter
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server; "ada" is the key, each key has a count of its own:
 *     curl localhost:8080/Counter/ada/add --json '5'
 *     curl localhost:8080/Counter/ada/get
 *     curl -X POST localhost:8080/Counter/ada/reset
 *
 * The number lives in the Restate server: kill and restart this program as you like. Calls of `add`
 * for one key wait for each other, so nothing is lost between reading and writing; `get` is shared
 * and does not wait. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdlib.h>

static restate_status read_count(restate_ctx *ctx, long long *count) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, "count", &stored));
    return restate_json_int(ctx, stored, NULL, count);      /* no value yet: stays what it was */
}

static restate_status add(restate_ctx *ctx, restate_bytes input) {
    long long old = 0, step = 1;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &step));
    RESTATE_TRY(read_count(ctx, &old));
    RESTATE_TRY(restate_set(ctx, "count", restate_json(ctx, "%lld", old + step)));
    return restate_reply(ctx, restate_json(ctx, "{'oldValue': %lld, 'newValue': %lld}",
                                           old, old + step));
}

static restate_status get(restate_ctx *ctx, restate_bytes input) {
    long long count = 0;
    (void)input;
    RESTATE_TRY(read_count(ctx, &count));
    return restate_reply(ctx, restate_json(ctx, "%lld", count));
}

static restate_status reset(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_clear(ctx, "count");
}

static const restate_service counter = {
    .name = "Counter", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "add", .fn = add },
        { .name = "get", .fn = get, .shared = true, .input = RESTATE_VOID },
        { .name = "reset", .fn = reset, .input = RESTATE_VOID, .output = RESTATE_VOID }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&counter),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
