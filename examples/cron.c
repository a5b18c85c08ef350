/* Cron: an object that sends itself the next tick, delayed. It survives restarts of everything.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/cron.c -o cron -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./cron
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server. "nightly" is the key; each key is a schedule of its own:
 *     curl localhost:8080/Cron/nightly/start --json '{"everyMillis": 2000}'
 *     curl localhost:8080/Cron/nightly/status
 *     curl -X POST localhost:8080/Cron/nightly/stop
 *
 * A tick is an invocation that the server holds back until its time; it is sent exactly once. Ticks
 * that were missed while this program was down run when it is back. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdlib.h>

/* ---- Report: the work that is done regularly ------------------------------------------------- */

static restate_status generate(restate_ctx *ctx, restate_bytes input) {
    long long number = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &number));
    restate_log(ctx, RESTATE_LOG_INFO, "report %lld", number);
    return RESTATE_OK;
}

static const restate_service report = { .name = "Report", .handlers = RESTATE_HANDLERS(
    { .name = "generate", .fn = generate, .output = RESTATE_VOID }) };

/* ---- Cron ------------------------------------------------------------------------------------ */
/* State while a schedule runs: "everyMillis", "ticks" so far, "next": the id of the next one. */

static restate_status read_int(restate_ctx *ctx, const char *key, long long *number) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, key, &stored));
    return restate_json_int(ctx, stored, NULL, number);
}

static restate_status send_tick(restate_ctx *ctx, long long every_ms) {
    const restate_target self = { .service = "Cron", .handler = "tick", .key = restate_key(ctx) };
    const restate_call_options later = { .delay_ms = (uint64_t)every_ms };
    const char *id;
    restate_future *sent = restate_send(ctx, self, (restate_bytes){0}, &later);
    RESTATE_TRY(restate_call_id(ctx, sent, &id));
    return restate_set(ctx, "next", restate_json(ctx, "%s", id));
}

static restate_status start(restate_ctx *ctx, restate_bytes input) {
    long long every_ms = 60000, running = 0;
    RESTATE_TRY(restate_json_int(ctx, input, "everyMillis", &every_ms));
    if (every_ms < 100) return restate_fail(ctx, 400, "everyMillis is below 100");
    RESTATE_TRY(read_int(ctx, "everyMillis", &running));
    if (running) return restate_fail(ctx, 409, "%s is running already", restate_key(ctx));
    RESTATE_TRY(restate_set(ctx, "everyMillis", restate_json(ctx, "%lld", every_ms)));
    return send_tick(ctx, every_ms);
}

static restate_status tick(restate_ctx *ctx, restate_bytes input) {
    const restate_target job = { .service = "Report", .handler = "generate" };
    long long every_ms = 0, ticks = 0;
    (void)input;
    RESTATE_TRY(read_int(ctx, "everyMillis", &every_ms));
    RESTATE_TRY(read_int(ctx, "ticks", &ticks));
    if (!every_ms) return RESTATE_OK;               /* stopped */
    RESTATE_TRY(restate_set(ctx, "ticks", restate_json(ctx, "%lld", ++ticks)));
    restate_send(ctx, job, restate_json(ctx, "%lld", ticks), NULL);
    return send_tick(ctx, every_ms);
}

static restate_status stop(restate_ctx *ctx, restate_bytes input) {
    restate_bytes stored;
    const char *next = NULL;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "next", &stored));
    RESTATE_TRY(restate_json_string(ctx, stored, NULL, &next));
    if (!next) return restate_fail(ctx, 404, "%s is not running", restate_key(ctx));
    RESTATE_TRY(restate_cancel(ctx, next));
    return restate_clear_all(ctx);
}

static restate_status status(restate_ctx *ctx, restate_bytes input) {
    long long every_ms = 0, ticks = 0;
    (void)input;
    RESTATE_TRY(read_int(ctx, "everyMillis", &every_ms));
    RESTATE_TRY(read_int(ctx, "ticks", &ticks));
    return restate_reply(ctx, restate_json(ctx, "{'everyMillis': %lld, 'ticks': %lld}",
                                           every_ms, ticks));
}

static const restate_service cron = {
    .name = "Cron", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "start", .fn = start, .output = RESTATE_VOID },
        { .name = "stop", .fn = stop, .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "status", .fn = status, .shared = true, .input = RESTATE_VOID },
        { .name = "tick", .fn = tick, .input = RESTATE_VOID, .output = RESTATE_VOID,
          .options = { .ingress_private = RESTATE_ON } }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&cron, &report),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
