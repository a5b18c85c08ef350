/* The services of orders.proto and mail.proto, and an object that calls the first ones. */
#include "call.h"
#include "orders.restate.h"
#include "mail.restate.h"
#include <string.h>

/* State is a message, too: the reply of Total, by the codec that its rpc has. */
static restate_status read_total(restate_ctx *ctx, shop_v1_TotalReply *total) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, "total", &stored));
    return restate_decode(ctx, &shop_v1_TotalReply_json, stored, total);
}

restate_status shop_v1_Orders_Place(restate_ctx *ctx, const shop_v1_PlaceRequest *in,
                                    shop_v1_PlaceReply *out) {
    shop_v1_TotalReply total = shop_v1_TotalReply_init_zero;
    pb_size_t i;
    if (!in->lines_count) return restate_fail(ctx, 400, "order '%s' has no lines", in->order_id);
    if (in->has_note) restate_log(ctx, RESTATE_LOG_INFO, "%s: %s", in->order_id, in->note);
    RESTATE_TRY(read_total(ctx, &total));
    for (i = 0; i < in->lines_count; i++)
        total.cents += in->lines[i].unit_cents * in->lines[i].pieces;
    total.orders++;
    RESTATE_TRY(restate_set(ctx, "total", restate_encode(ctx, &shop_v1_TotalReply_json, &total)));
    out->total_cents = total.cents;
    return RESTATE_OK;
}

restate_status shop_v1_Orders_Total(restate_ctx *ctx, const shop_v1_TotalRequest *in,
                                    shop_v1_TotalReply *out) {
    (void)in;
    return read_total(ctx, out);
}

/* Waits for the money, then places the order and asks for the total, both by typed clients. */
restate_status shop_v1_Checkout_Run(restate_ctx *ctx, const shop_v1_CheckoutRequest *in,
                                    shop_v1_CheckoutReply *out) {
    shop_v1_PlaceReply placed;
    shop_v1_TotalReply total;
    shop_v1_TotalRequest nothing = shop_v1_TotalRequest_init_zero;
    restate_future *asked;
    restate_bytes receipt;
    const char *number = "";
    RESTATE_TRY(restate_await(ctx, restate_promise(ctx, "paid"), &receipt));
    RESTATE_TRY(restate_json_string(ctx, receipt, NULL, &number));
    RESTATE_TRY(shop_v1_Orders_Place_call(ctx, in->customer, &in->order, NULL, &placed));
    asked = shop_v1_Orders_Total_call_async(ctx, in->customer, &nothing, NULL);
    RESTATE_TRY(shop_v1_Orders_Total_await(ctx, asked, &total));
    if (total.cents < placed.total_cents) return restate_fail(ctx, 500, "the total has shrunk");
    strncpy(out->receipt, number, sizeof out->receipt - 1);
    out->total_cents = total.cents;
    return RESTATE_OK;
}

restate_status shop_v1_Checkout_Paid(restate_ctx *ctx, const shop_v1_PaidRequest *in,
                                     shop_v1_PaidReply *out) {
    (void)out;
    return restate_promise_resolve(ctx, "paid", restate_json(ctx, "%s", in->receipt));
}

static void write_letter(Letter *out) {
    out->has_to = true;
    strcpy(out->to.name, "Ada \"A.\"");
    strcpy(out->to.street_and_number, "St. James's Sq. 12");
    out->priority = Letter_Priority_URGENT;
    out->headers_count = 1;
    strcpy(out->headers[0].key, "x");
    strcpy(out->headers[0].value, "y");
    out->which_content = Letter_text_tag;
    strcpy(out->content.text, "Dear Ada");
}

restate_status Mail_Send(restate_ctx *ctx, const Letter *in) {
    return in->has_to ? RESTATE_OK : restate_fail(ctx, 422, "to whom?");
}

restate_status Mail_Ping(restate_ctx *ctx) {
    (void)ctx;
    return RESTATE_OK;
}

restate_status Mail_Last(restate_ctx *ctx, Letter *out) {
    (void)ctx;
    write_letter(out);
    return RESTATE_OK;
}

restate_status MailJson_Send(restate_ctx *ctx, const Letter *in) {
    return in->has_to ? Mail_Send_call(ctx, in, NULL) : restate_fail(ctx, 422, "to whom?");
}

/* What Mail gives in binary form is given on in JSON. */
restate_status MailJson_Last(restate_ctx *ctx, Letter *out) {
    RESTATE_TRY(Mail_Ping_call(ctx, NULL));
    Mail_Ping_send(ctx, &(restate_call_options){ .delay_ms = 10 });
    return Mail_Last_await(ctx, Mail_Last_call_async(ctx, NULL), out);
}

const restate_service *const *served(void) {
    /* Options of a service and of one handler: on copies of what was generated. */
    static restate_service orders;
    static restate_handler handlers[shop_v1_Orders_COUNT + 1];
    orders = *shop_v1_Orders_service();
    memcpy(handlers, orders.handlers, sizeof handlers);
    handlers[shop_v1_Orders_Place_INDEX].options.abort_timeout_ms = RESTATE_MINUTES(2);
    orders.handlers = handlers;
    orders.options.lazy_state = RESTATE_ON;
    static const restate_service *services[6];
    services[0] = &orders;
    services[1] = shop_v1_Checkout_service();
    services[2] = &buyer;
    services[3] = Mail_service();
    services[4] = MailJson_service();
    return services;
}
