/* A service that calls those of orders.proto, and has none of their handlers. */
#include "call.h"
#include "orders.restate.h"
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

const restate_service buyer = { .name = "Buyer",
    .handlers = RESTATE_HANDLERS({ .name = "buy", .fn = buy }) };
