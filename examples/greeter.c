/* The smallest service: one recorded step, one durable pause, one reply.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/greeter.c -o greeter -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./greeter
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server:
 *     curl localhost:8080/Greeter/greet --json '{"name": "Ada"}'
 *
 * To see what durable means, kill the program while it sleeps and start it again:
 *     GREETER_TRACE=/tmp/trace ./greeter
 *     curl localhost:8080/Greeter/greet --json '{"name": "Ada", "sleepMillis": 20000}'
 * The call gets its answer all the same, and /tmp/trace has one line: no second card was drawn. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>

/* A step: what has to happen once, such as I/O, randomness, the clock. Its reply is recorded. */
static restate_status draw_card(restate_ctx *run, void *arg) {
    const char *const *name = arg;
    const char *trace = getenv("GREETER_TRACE");
    int card = rand() % 52;
    if (trace) {
        FILE *file = fopen(trace, "a");
        if (!file) return restate_retry(run, NULL, "cannot write to %s", trace);
        fprintf(file, "%s draws card %d\n", *name, card);
        fclose(file);
    }
    return restate_reply(run, restate_json(run, "%d", card));
}

static restate_status greet(restate_ctx *ctx, restate_bytes input) {
    const char *name = "stranger";
    long long sleep_ms = 1000, card = 0;
    restate_bytes drawn;
    RESTATE_TRY(restate_json_string(ctx, input, "name", &name));
    RESTATE_TRY(restate_json_int(ctx, input, "sleepMillis", &sleep_ms));
    if (sleep_ms < 0) return restate_fail(ctx, 400, "sleepMillis is %lld", sleep_ms);

    RESTATE_TRY(restate_run(ctx, "draw", draw_card, &name, NULL, &drawn));
    RESTATE_TRY(restate_sleep(ctx, (uint64_t)sleep_ms));

    RESTATE_TRY(restate_json_int(ctx, drawn, NULL, &card));
    return restate_reply(ctx, restate_json(ctx, "%s",
                                           restate_text(ctx, "Hello %s, card %lld", name, card)));
}

static const restate_service greeter = { .name = "Greeter", .handlers = RESTATE_HANDLERS(
    { .name = "greet", .fn = greet, .documentation = "Says hello, with a card" }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&greeter),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
