/* Sales: handlers that are clients of the other two services, by the functions made for them. */
#include "restate.h"
#include "shop.restate.h"
#include <stdio.h>

enum { MOST_LINES = sizeof ((shop_v1_Order *)0)->lines / sizeof(shop_v1_Line) };

static restate_status check(restate_ctx *ctx, const shop_v1_Order *order) {
    pb_size_t i;
    if (!order->lines_count) return restate_fail(ctx, 400, "an order of what?");
    for (i = 0; i < order->lines_count; i++)
        if (!order->lines[i].pieces)
            return restate_fail(ctx, 400, "how many of '%s'?", order->lines[i].product);
    return RESTATE_OK;
}

/* Looks at all shelves at once, then waits for one after the other. */
restate_status shop_v1_Sales_Quote(restate_ctx *ctx, const shop_v1_Order *in,
                                   shop_v1_QuoteReply *out) {
    const shop_v1_LookRequest look = shop_v1_LookRequest_init_zero;
    restate_future *looks[MOST_LINES];
    shop_v1_Shelf shelf;
    pb_size_t i;
    RESTATE_TRY(check(ctx, in));
    for (i = 0; i < in->lines_count; i++)
        looks[i] = shop_v1_Stock_Look_call_async(ctx, in->lines[i].product, &look, NULL);
    out->in_stock = true;
    for (i = 0; i < in->lines_count; i++) {
        RESTATE_TRY(shop_v1_Stock_Look_await(ctx, looks[i], &shelf));
        out->cents += shelf.unit_cents * in->lines[i].pieces;
        if (shelf.free < in->lines[i].pieces) out->in_stock = false;
    }
    return RESTATE_OK;
}

restate_status shop_v1_Sales_Buy(restate_ctx *ctx, const shop_v1_Order *in,
                                 shop_v1_OrderRef *out) {
    shop_v1_QuoteReply quote = shop_v1_QuoteReply_init_zero;
    RESTATE_TRY(shop_v1_Sales_Quote(ctx, in, &quote));  /* a handler is a function like any other */
    if (!quote.in_stock) return restate_fail(ctx, 409, "not everything is in stock");
    snprintf(out->order, sizeof out->order, "%s", restate_uuid(ctx));
    shop_v1_Orders_Run_send(ctx, out->order, in, NULL);
    return RESTATE_OK;
}
