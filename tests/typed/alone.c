/* A program that only calls services: it has none of their handlers, and links. Two calls of the same
 * generated functions, in a handler and in a program. */
#include "call.h"
#include "orders.restate.h"
#include <stdio.h>
#include <string.h>

/* Starts a checkout, tells it that the money is there, and waits for it as anybody could. */
static restate_status buy(restate_ctx *ctx, restate_bytes input) {
    shop_v1_CheckoutRequest *order = (shop_v1_CheckoutRequest *)restate_alloc(ctx, sizeof *order);
    shop_v1_PaidRequest paid = shop_v1_PaidRequest_init_zero;
    shop_v1_CheckoutReply reply;
    const char *customer = "ada", *key = restate_uuid(ctx);
    if (!order) return RESTATE_ENDED;
    RESTATE_TRY(restate_json_string(ctx, input, "customer", &customer));
    strncpy(order->customer, customer, sizeof order->customer - 1);
    order->has_order = true;
    strncpy(order->order.order_id, key, sizeof order->order.order_id - 1);
    order->order.lines_count = 1;
    strcpy(order->order.lines[0].article, "tea");
    order->order.lines[0].pieces = 3;
    order->order.lines[0].unit_cents = 450;
    order->order.currency = shop_v1_Currency_EUR;
    shop_v1_Checkout_Run_send(ctx, key, order, NULL);
    strcpy(paid.receipt, "R-1");
    RESTATE_TRY(shop_v1_Checkout_Paid_call(ctx, key, &paid,
                                           &(restate_call_options){ .name = "pay" }, NULL));
    RESTATE_TRY(shop_v1_Checkout_Run_await(ctx, shop_v1_Checkout_Run_attach(ctx, key), &reply));
    return restate_reply(ctx, restate_json(ctx, "{'receipt': %s, 'cents': %lld}", reply.receipt,
                                           (long long)reply.total_cents));
}

static const restate_service buyer = { .name = "Buyer",
    .handlers = RESTATE_HANDLERS({ .name = "buy", .fn = buy }) };

int main(void) {
    restate_client *client = restate_client_new(NULL);
    restate_ctx *ctx = restate_client_begin(client);
    shop_v1_PlaceRequest order = shop_v1_PlaceRequest_init_zero;
    shop_v1_PlaceReply placed;
    restate_status s;
    strcpy(order.order_id, "A-1");
    order.lines_count = 1;
    s = shop_v1_Orders_Place_call(ctx, buyer.name, &order,
                                  &(restate_call_options){ .idempotency_key = "A-1" }, &placed);
    if (s == RESTATE_OK) printf("%lld\n", (long long)placed.total_cents);
    restate_client_end(ctx);
    restate_client_free(client);
    return s != RESTATE_OK;
}
