/* A ticket shop of three services: seats and carts are objects, the checkout is a plain service.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/tickets.c -o tickets -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./tickets
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server; "ada" is the key of a cart:
 *     curl localhost:8080/Carts/ada/add --json '{"seat": "A1"}'
 *     curl localhost:8080/Carts/ada/checkout -X POST
 * The first call says true: the seat is ada's for 15 minutes, in which everybody else gets false.
 * Or until this, which the cart sends to itself, delayed, for then:
 *     curl localhost:8080/Carts/ada/expire --json '"A1"' */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- Seats: one object per seat, so nobody sells it twice ------------------------------------ */

static restate_status reserve(restate_ctx *ctx, restate_bytes input) {
    restate_bytes taken;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "taken", &taken));
    if (taken.ptr) return restate_reply(ctx, restate_json(ctx, "false"));
    RESTATE_TRY(restate_set(ctx, "taken", restate_json(ctx, "true")));
    return restate_reply(ctx, restate_json(ctx, "true"));
}

static restate_status release(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_clear(ctx, "taken");
}

/* ---- Carts: one object per customer, a state value for each seat in it ----------------------- */

static restate_status add(restate_ctx *ctx, restate_bytes input) {
    restate_target seat = { .service = "Seats", .handler = "reserve" };
    restate_target self = { .service = "Carts", .handler = "expire", .key = restate_key(ctx) };
    const restate_call_options later = { .delay_ms = RESTATE_MINUTES(15) };
    restate_bytes reply;
    bool reserved = false;
    RESTATE_TRY(restate_json_string(ctx, input, "seat", &seat.key));
    if (!seat.key) return restate_fail(ctx, 400, "seat is missing");
    RESTATE_TRY(restate_call(ctx, seat, (restate_bytes){0}, NULL, &reply));
    RESTATE_TRY(restate_json_bool(ctx, reply, NULL, &reserved));
    if (reserved) {
        RESTATE_TRY(restate_set(ctx, seat.key, restate_json(ctx, "'reserved'")));
        restate_send(ctx, self, restate_json(ctx, "%s", seat.key), &later);
    }
    return restate_reply(ctx, reply);
}

/* Comes when the time of a seat is over. One that was bought is not in the cart any more. */
static restate_status expire(restate_ctx *ctx, restate_bytes input) {
    restate_target seat = { .service = "Seats", .handler = "release" };
    restate_bytes held;
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &seat.key));
    if (!seat.key) return restate_fail(ctx, 400, "which seat?");
    RESTATE_TRY(restate_get(ctx, seat.key, &held));
    if (!held.ptr) return RESTATE_OK;
    restate_send(ctx, seat, (restate_bytes){0}, NULL);
    return restate_clear(ctx, seat.key);
}

static restate_status check_out(restate_ctx *ctx, restate_bytes input) {
    const restate_target desk = { .service = "Checkout", .handler = "pay" };
    const char *const *seats;
    restate_bytes paid;
    int count = 0;
    (void)input;
    RESTATE_TRY(restate_keys(ctx, &seats));
    while (seats[count]) count++;
    if (count == 0) return restate_fail(ctx, 409, "the cart is empty");
    RESTATE_TRY(restate_call(ctx, desk, restate_json(ctx, "%d", 25 * count), NULL, &paid));
    RESTATE_TRY(restate_clear_all(ctx));
    return restate_reply(ctx, paid);
}

/* ---- Checkout -------------------------------------------------------------------------------- */

typedef struct payment {
    const char *id;
    long long amount;
} payment;

static restate_status charge(restate_ctx *run, void *arg) {
    const payment *p = arg;
    printf("The bank is asked for %lld euro, payment %s\n", p->amount, p->id);
    fflush(stdout);
    return restate_reply(run, restate_json(run, "{'payment': %s, 'euro': %lld}", p->id, p->amount));
}

static restate_status pay(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options few = { .retry = { .max_attempts = 5, .max_interval_ms = 2000 } };
    payment p = { restate_uuid(ctx), 0 };   /* the same in every try: the bank sees one payment */
    restate_bytes paid;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &p.amount));
    RESTATE_TRY(restate_run(ctx, "charge", charge, &p, &few, &paid));
    return restate_reply(ctx, paid);
}

static const restate_service seats = { "Seats", RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "reserve", .fn = reserve, .input = RESTATE_VOID },
    { .name = "release", .fn = release, .input = RESTATE_VOID, .output = RESTATE_VOID }) };
static const restate_service carts = { "Carts", RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "add", .fn = add },
    { .name = "expire", .fn = expire, .output = RESTATE_VOID },
    { .name = "checkout", .fn = check_out, .input = RESTATE_VOID }) };
static const restate_service checkout = { .name = "Checkout", .handlers = RESTATE_HANDLERS(
    { .name = "pay", .fn = pay, .options = { .ingress_private = RESTATE_ON } }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&seats, &carts, &checkout),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
