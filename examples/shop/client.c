/* A program that calls the services of shop.proto: it has none of their handlers.
 *
 *     client receive PRODUCT PIECES CENTS     the warehouse has got something
 *     client look PRODUCT                     what is on the shelf
 *     client buy CUSTOMER CARD PRODUCT PIECES prints the number of the order
 *     client pack ORDER TRACKING              the parcel is packed
 *     client cancel ORDER REASON              the customer does not want it any more
 *     client receipt ORDER                    waits for the end of the order
 *
 * INGRESS is the address of the server (http://localhost:8080). The functions are those that a
 * handler calls, see sales.c; the context is a client's. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "shop.restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY(field, from) snprintf(field, sizeof (field), "%s", from)

/* The same key with each try, so that a request that is sent twice counts once. */
static restate_status receive(restate_ctx *ctx, char **words) {
    restate_call_options once = { .idempotency_key = restate_uuid(ctx) };
    shop_v1_Delivery delivery = shop_v1_Delivery_init_zero;
    shop_v1_Shelf shelf;
    delivery.pieces = (uint32_t)strtoul(words[1], NULL, 10);
    delivery.has_unit_cents = true;
    delivery.unit_cents = atoll(words[2]);
    RESTATE_TRY(shop_v1_Stock_Receive_call(ctx, words[0], &delivery, &once, &shelf));
    printf("%u free\n", (unsigned)shelf.free);
    return RESTATE_OK;
}

static restate_status look(restate_ctx *ctx, char **words) {
    const shop_v1_LookRequest request = shop_v1_LookRequest_init_zero;
    shop_v1_Shelf shelf;
    RESTATE_TRY(shop_v1_Stock_Look_call(ctx, words[0], &request, NULL, &shelf));
    printf("%u free, %u held\n", (unsigned)shelf.free, (unsigned)shelf.held);
    return RESTATE_OK;
}

static restate_status buy(restate_ctx *ctx, char **words) {
    restate_call_options once = { .idempotency_key = restate_uuid(ctx) };
    shop_v1_Order order = shop_v1_Order_init_zero;
    shop_v1_OrderRef bought;
    COPY(order.customer, words[0]);
    COPY(order.card, words[1]);
    order.lines_count = 1;
    COPY(order.lines[0].product, words[2]);
    order.lines[0].pieces = (uint32_t)strtoul(words[3], NULL, 10);
    RESTATE_TRY(shop_v1_Sales_Buy_call(ctx, &order, &once, &bought));
    printf("%s\n", bought.order);
    return RESTATE_OK;
}

static restate_status pack(restate_ctx *ctx, char **words) {
    shop_v1_Parcel parcel = shop_v1_Parcel_init_zero;
    COPY(parcel.tracking, words[1]);
    return shop_v1_Orders_Packed_call(ctx, words[0], &parcel, NULL, NULL);
}

static restate_status cancel(restate_ctx *ctx, char **words) {
    shop_v1_Cancellation cancellation = shop_v1_Cancellation_init_zero;
    COPY(cancellation.reason, words[1]);
    return shop_v1_Orders_Cancel_call(ctx, words[0], &cancellation, NULL, NULL);
}

static restate_status receipt(restate_ctx *ctx, char **words) {
    restate_future *order = shop_v1_Orders_Run_attach(ctx, words[0]);
    shop_v1_Receipt paid;
    RESTATE_TRY(shop_v1_Orders_Run_await(ctx, order, &paid));
    printf("%lld cents, parcel %s\n", (long long)paid.cents, paid.tracking);
    return RESTATE_OK;
}

static restate_status act(restate_ctx *ctx, int argc, char **argv) {
    static const struct {
        const char *name;
        int words;
        restate_status (*act)(restate_ctx *ctx, char **words);
    } verbs[] = { { "receive", 3, receive }, { "look", 1, look }, { "buy", 4, buy },
                  { "pack", 2, pack }, { "cancel", 2, cancel }, { "receipt", 1, receipt } };
    size_t i;
    for (i = 0; argc > 1 && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(argv[1], verbs[i].name) == 0 && argc == 2 + verbs[i].words)
            return verbs[i].act(ctx, argv + 2);
    return restate_fail(ctx, 400, "receive, look, buy, pack, cancel or receipt; see client.c");
}

int main(int argc, char **argv) {
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = getenv("INGRESS"), .timeout_ms = RESTATE_MINUTES(1) });
    restate_ctx *ctx = restate_client_begin(client);
    restate_status s = act(ctx, argc, argv);
    const restate_failure *why = restate_failed(ctx);
    if (s != RESTATE_OK) fprintf(stderr, "%s (%u)\n", why->message, (unsigned)why->code);
    restate_client_end(ctx);
    restate_client_free(client);
    return s != RESTATE_OK;
}
