/* A program that only calls services: it has none of their handlers, and links. The generated functions
 * are called in a handler (buyer.c) and here. */
#include "call.h"
#include "orders.restate.h"
#include <stdio.h>
#include <string.h>

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
