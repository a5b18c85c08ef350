/* The endpoint of the benchmarks: handlers that do as little as their names allow.
 * PORT (9080) and THREADS (1) come from the environment. Closures run where the handler runs; with
 * CLOSURES=pool on the threads for closures, as they do where nothing is said about it. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdlib.h>

static restate_status greet(restate_ctx *ctx, restate_bytes input) {
    const char *name = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &name));
    return restate_reply(ctx, restate_json(ctx, "%s", restate_text(ctx, "Hello %s!", name)));
}

static restate_status one(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_str("1"));
}

static bool closures_on_pool;

static restate_status replay(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options here = { .inline_ok = !closures_on_pool };
    long long steps = 0, sum = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &steps));
    for (long long i = 0; i < steps; i++) {
        restate_bytes result;
        long long value = 0;
        RESTATE_TRY(restate_run(ctx, "step", one, NULL, &here, &result));
        RESTATE_TRY(restate_json_int(ctx, result, NULL, &value));
        sum += value;
    }
    return restate_reply(ctx, restate_json(ctx, "%lld", sum));
}

static restate_status nap(restate_ctx *ctx, restate_bytes input) {
    long long ms = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &ms));
    RESTATE_TRY(restate_sleep(ctx, ms > 0 ? (uint64_t)ms : 0));
    return restate_reply(ctx, restate_json(ctx, "%lld", ms));
}

static restate_status echo(restate_ctx *ctx, restate_bytes input) {
    return restate_reply(ctx, input);
}

static restate_status add(restate_ctx *ctx, restate_bytes input) {
    restate_bytes stored, sum;
    long long count = 0, step = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &step));
    RESTATE_TRY(restate_get(ctx, "count", &stored));
    RESTATE_TRY(restate_json_int(ctx, stored, NULL, &count));
    sum = restate_json(ctx, "%lld", count + step);
    RESTATE_TRY(restate_set(ctx, "count", sum));
    return restate_reply(ctx, sum);
}

static const restate_service bench = { .name = "Bench", .handlers = RESTATE_HANDLERS(
    { .name = "greet", .fn = greet },
    { .name = "replay", .fn = replay },
    { .name = "sleep", .fn = nap },
    { .name = "echo", .fn = echo }) };

static const restate_service counter = { .name = "BenchCounter", .kind = RESTATE_OBJECT,
    .handlers = RESTATE_HANDLERS({ .name = "add", .fn = add }) };

static unsigned long number(const char *variable, unsigned long otherwise) {
    const char *text = getenv(variable);
    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

int main(void) {
    const char *closures = getenv("CLOSURES");
    closures_on_pool = closures && strcmp(closures, "pool") == 0;
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&bench, &counter),
        .address = "127.0.0.1",
        .port = (uint16_t)number("PORT", 9080),
        .threads = (uint32_t)number("THREADS", 1) });
}
