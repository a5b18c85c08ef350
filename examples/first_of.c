/* First of: a price from a cache, a service or a person, whoever is first, within five seconds.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/first_of.c -o first_of -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./first_of
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server. 7 is in the cache, 70 is not and comes from Pricing after a second,
 * 700 takes Pricing too long:
 *     curl localhost:8080/Quotes/quote --json '{"item": 7}'
 *     curl localhost:8080/Quotes/quote --json '{"item": 70}'
 *     curl localhost:8080/Quotes/quote --json '{"item": 700}'
 * Or tell the price within five seconds, to the invocationId that comes back:
 *     curl localhost:8080/Quotes/quote/send --json '{"item": 700}'
 *     curl localhost:8080/Quotes/tell --json '{"id": "ID", "price": 12}' */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdlib.h>

/* ---- Pricing: knows every price, sooner or later --------------------------------------------- */

static restate_status calculate(restate_ctx *ctx, restate_bytes input) {
    long long item = 0;
    RESTATE_TRY(restate_json_int(ctx, input, "item", &item));
    RESTATE_TRY(restate_sleep(ctx, item < 100 ? RESTATE_SECONDS(1) : RESTATE_HOURS(1)));
    return restate_reply(ctx, restate_json(ctx, "{'price': %lld, 'from': 'pricing'}", item + 1));
}

static const restate_service pricing = { .name = "Pricing", .handlers = RESTATE_HANDLERS(
    { .name = "calculate", .fn = calculate }) };

/* ---- Quotes ---------------------------------------------------------------------------------- */

static restate_status read_cache(restate_ctx *run, void *arg) {
    const long long *item = arg;
    if (*item >= 10) return restate_fail(run, 404, "%lld is not in the cache", *item);
    return restate_reply(run, restate_json(run, "{'price': %lld, 'from': 'cache'}", *item));
}

enum { CACHE, PRICING, PERSON, COUNT };

static restate_status quote(restate_ctx *ctx, restate_bytes input) {
    const restate_target service = { .service = "Pricing", .handler = "calculate" };
    restate_future *from[COUNT];
    restate_bytes price;
    restate_status s;
    const char *late;
    long long item = 0;
    RESTATE_TRY(restate_json_int(ctx, input, "item", &item));

    /* A step that loses may still execute when this function has returned: it gets a copy. */
    from[CACHE] = restate_run_async(ctx, "cache", read_cache, &item,
                                    &(restate_run_options){ .arg_bytes = sizeof item });
    from[PRICING] = restate_call_async(ctx, service, input, NULL);
    from[PERSON] = restate_signal(ctx, "price");

    /* The first that succeeds: a cache without the item only leaves the other two. */
    s = restate_await_for(ctx, restate_any(ctx, from, COUNT), RESTATE_SECONDS(5), &price);
    if (!restate_is_done(from[PRICING])) {          /* a call that lost goes on, unless stopped */
        RESTATE_TRY(restate_call_id(ctx, from[PRICING], &late));
        RESTATE_TRY(restate_cancel(ctx, late));
    }
    if (s == RESTATE_TIMEOUT) return restate_fail(ctx, 504, "no price of %lld in time", item);
    RESTATE_TRY(s);
    return restate_reply(ctx, price);
}

/* A signal goes from handler to handler; this one lets people send it. */
static restate_status tell(restate_ctx *ctx, restate_bytes input) {
    const char *id = NULL;
    long long price = 0;
    RESTATE_TRY(restate_json_string(ctx, input, "id", &id));
    RESTATE_TRY(restate_json_int(ctx, input, "price", &price));
    if (!id) return restate_fail(ctx, 400, "id is missing");
    return restate_signal_resolve(ctx, id, "price",
        restate_json(ctx, "{'price': %lld, 'from': 'a person'}", price));
}

static const restate_service quotes = { .name = "Quotes", .handlers = RESTATE_HANDLERS(
    { .name = "quote", .fn = quote },
    { .name = "tell", .fn = tell, .output = RESTATE_VOID }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&quotes, &pricing),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
