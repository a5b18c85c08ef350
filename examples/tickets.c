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
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- Carts: one object per customer, a list of seats ----------------------------------------- */

static restate_status read_cart(restate_ctx *ctx, cJSON **cart) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, "seats", &stored));
    RESTATE_TRY(restate_json_tree(ctx, stored, cart));
    if (!*cart) *cart = restate_json_own(ctx, cJSON_CreateArray());
    return RESTATE_OK;
}

static restate_status add(restate_ctx *ctx, restate_bytes input) {
    const restate_target self = { .service = "Carts", .handler = "expire", .key = restate_key(ctx) };
    const restate_call_options later = { .delay_ms = RESTATE_MINUTES(15) };
    restate_target seat = { .service = "Seats", .handler = "reserve" };
    restate_bytes reply;
    bool reserved = false;
    cJSON *cart;
    RESTATE_TRY(restate_json_string(ctx, input, "seat", &seat.key));
    if (!seat.key) return restate_fail(ctx, 400, "seat is missing");
    RESTATE_TRY(restate_call(ctx, seat, (restate_bytes){0}, NULL, &reply));
    RESTATE_TRY(restate_json_bool(ctx, reply, NULL, &reserved));
    if (reserved) {
        RESTATE_TRY(read_cart(ctx, &cart));
        cJSON_AddItemToArray(cart, cJSON_CreateString(seat.key));
        RESTATE_TRY(restate_set(ctx, "seats", restate_json_print(ctx, cart)));
        restate_send(ctx, self, restate_json(ctx, "%s", seat.key), &later);
    }
    return restate_reply(ctx, reply);
}

/* Comes when the time of a seat is over; if it was bought meanwhile it is not in the cart. */
static restate_status expire(restate_ctx *ctx, restate_bytes input) {
    restate_target seat = { .service = "Seats", .handler = "release" };
    cJSON *cart;
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &seat.key));
    if (!seat.key) return restate_fail(ctx, 400, "which seat?");
    RESTATE_TRY(read_cart(ctx, &cart));
    for (int i = 0; i < cJSON_GetArraySize(cart); i++) {
        if (strcmp(cJSON_GetArrayItem(cart, i)->valuestring, seat.key) != 0) continue;
        cJSON_DeleteItemFromArray(cart, i);
        restate_send(ctx, seat, (restate_bytes){0}, NULL);
        return restate_set(ctx, "seats", restate_json_print(ctx, cart));
    }
    return RESTATE_OK;
}

static restate_status check_out(restate_ctx *ctx, restate_bytes input) {
    const restate_target desk = { .service = "Checkout", .handler = "pay" };
    restate_bytes paid;
    cJSON *cart;
    (void)input;
    RESTATE_TRY(read_cart(ctx, &cart));
    if (cJSON_GetArraySize(cart) == 0) return restate_fail(ctx, 409, "the cart is empty");
    RESTATE_TRY(restate_call(ctx, desk, restate_json_print(ctx, cart), NULL, &paid));
    RESTATE_TRY(restate_clear(ctx, "seats"));
    return restate_reply(ctx, paid);
}

/* ---- Checkout -------------------------------------------------------------------------------- */

static restate_status charge(restate_ctx *run, void *arg) {
    const char *const *payment = arg;
    printf("The bank is asked for payment %s\n", *payment);
    fflush(stdout);
    return restate_reply(run, restate_json(run, "{'payment': %s}", *payment));
}

static restate_status pay(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options few = { .retry = { .max_attempts = 5, .max_interval_ms = 2000 } };
    const char *payment = restate_uuid(ctx);    /* the same in every try: the bank sees one */
    restate_bytes paid;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "charge", charge, &payment, &few, &paid));
    return restate_reply(ctx, paid);
}

/* ---- The endpoint ---------------------------------------------------------------------------- */

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
