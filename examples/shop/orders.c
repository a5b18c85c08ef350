/* Orders: a workflow that holds, charges, waits for a person, ships, and undoes what it did. */
#include "restate.h"
#include "shop.restate.h"
#include "bank.h"
#include <stdio.h>

/* What a person decides is in no rpc, so its codec is written by hand. */
static const restate_codec decision_json = RESTATE_PROTOJSON(shop_v1_Decision);

/* The bank takes payments with the same id once, so that closures may be repeated. */
typedef struct payment {
    const char *id, *card;
    long long cents;
} payment;

static restate_status answered(restate_ctx *run, bank_answer answer) {
    if (answer == BANK_DOWN) return restate_retry(run, NULL, "the bank does not answer");
    if (answer == BANK_DECLINED) return restate_fail(run, 402, "the card was declined");
    return RESTATE_OK;
}

static restate_status charge(restate_ctx *run, void *arg) {
    const payment *p = arg;
    return answered(run, bank_pay(p->id, p->card, p->cents));
}

static restate_status take_back(restate_ctx *run, void *arg) {
    const payment *p = arg;
    return answered(run, bank_take_back(p->id));
}

static restate_status set_stage(restate_ctx *ctx, shop_v1_Stage stage, const char *note) {
    shop_v1_OrderStatus status = { .stage = stage };
    snprintf(status.note, sizeof status.note, "%s", note);
    return restate_set(ctx, "status", restate_encode(ctx, &shop_v1_OrderStatus_json, &status));
}

static restate_status read_status(restate_ctx *ctx, shop_v1_OrderStatus *status) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, "status", &stored));
    return restate_decode(ctx, &shop_v1_OrderStatus_json, stored, status);
}

/* ---- Forwards -------------------------------------------------------------------------------- */

/* `*asked` counts the lines that may be held now, be it that the answer did not come. */
static restate_status hold_all(restate_ctx *ctx, const shop_v1_Order *order, pb_size_t *asked,
                               int64_t *cents) {
    shop_v1_HoldRequest request = shop_v1_HoldRequest_init_zero;
    shop_v1_HoldReply held;
    RESTATE_TRY(set_stage(ctx, shop_v1_Stage_RESERVING, ""));
    snprintf(request.order, sizeof request.order, "%s", restate_key(ctx));
    while (*asked < order->lines_count) {
        const shop_v1_Line *line = &order->lines[(*asked)++];
        request.pieces = line->pieces;
        RESTATE_TRY(shop_v1_Stock_Hold_call(ctx, line->product, &request, NULL, &held));
        *cents += held.cents;
    }
    return RESTATE_OK;
}

static restate_status pay(restate_ctx *ctx, payment *p) {
    const restate_run_options copied = { .arg_bytes = sizeof *p };
    RESTATE_TRY(set_stage(ctx, shop_v1_Stage_PAYING, ""));
    return restate_run(ctx, "charge", charge, p, &copied, NULL);
}

/* The first decision counts; for whoever comes second this fails with 409. */
static restate_status decide(restate_ctx *ctx, const shop_v1_Decision *decision) {
    return restate_promise_resolve(ctx, "decision", restate_encode(ctx, &decision_json, decision));
}

static restate_status decide_to_cancel(restate_ctx *ctx, const char *reason) {
    shop_v1_Decision cancelled = { .which_what = shop_v1_Decision_cancelled_tag };
    snprintf(cancelled.what.cancelled.reason, sizeof cancelled.what.cancelled.reason, "%s", reason);
    return decide(ctx, &cancelled);
}

/* When time is over, or an operator cancels the invocation, the workflow decides, unless somebody
 * else just did: a parcel that is packed is not undone. */
static restate_status await_decision(restate_ctx *ctx, restate_bytes *decided) {
    restate_future *decision = restate_promise(ctx, "decision");
    restate_status s, cancelled;
    while ((s = restate_await_for(ctx, decision, RESTATE_DAYS(3), decided)) == RESTATE_TIMEOUT ||
           s == RESTATE_CANCELLED) {
        cancelled = decide_to_cancel(ctx, s == RESTATE_TIMEOUT ? "nobody packed it" : "by us");
        if (cancelled == RESTATE_ENDED) return cancelled;
    }
    return s;
}

/* A cancelled order is a failure like any other: what was done is undone. */
static restate_status wait_for_parcel(restate_ctx *ctx, shop_v1_Receipt *receipt) {
    shop_v1_Decision decision = shop_v1_Decision_init_zero;
    restate_bytes decided;
    RESTATE_TRY(set_stage(ctx, shop_v1_Stage_PACKING, ""));
    RESTATE_TRY(await_decision(ctx, &decided));
    RESTATE_TRY(restate_decode(ctx, &decision_json, decided, &decision));
    if (decision.which_what == shop_v1_Decision_cancelled_tag)
        return restate_fail(ctx, 410, "cancelled: %s", decision.what.cancelled.reason);
    snprintf(receipt->tracking, sizeof receipt->tracking, "%s", decision.what.packed.tracking);
    return RESTATE_OK;
}

/* ---- To the end, which nobody can stop ------------------------------------------------------- */

typedef restate_status stock_rpc(restate_ctx *ctx, const char *key, const shop_v1_OrderRef *in,
                                 const restate_call_options *options, shop_v1_Shelf *out);

/* If somebody cancels the invocation meanwhile it goes on: half done would be worse. */
static restate_status end_holds(restate_ctx *ctx, const shop_v1_Order *order, pb_size_t lines,
                                stock_rpc *rpc) {
    shop_v1_OrderRef ref = shop_v1_OrderRef_init_zero;
    restate_status s;
    snprintf(ref.order, sizeof ref.order, "%s", restate_key(ctx));
    while (lines > 0) {
        s = rpc(ctx, order->lines[lines - 1].product, &ref, NULL, NULL);
        if (s == RESTATE_CANCELLED) continue;
        RESTATE_TRY(s);
        lines--;
    }
    return RESTATE_OK;
}

static restate_status undo(restate_ctx *ctx, const shop_v1_Order *order, pb_size_t lines,
                           payment *p) {
    const restate_run_options copied = { .arg_bytes = sizeof *p };
    const restate_failure *why = restate_failed(ctx);   /* keep it, there may be others */
    restate_status s;
    do s = p->cents ? restate_run(ctx, "take back", take_back, p, &copied, NULL) : RESTATE_OK;
    while (s == RESTATE_CANCELLED);
    RESTATE_TRY(s);
    RESTATE_TRY(end_holds(ctx, order, lines, shop_v1_Stock_PutBack_call));
    RESTATE_TRY(set_stage(ctx, shop_v1_Stage_UNDONE, why->message));
    return restate_fail_with(ctx, why);
}

/* ---- The handlers ---------------------------------------------------------------------------- */

restate_status shop_v1_Orders_Run(restate_ctx *ctx, const shop_v1_Order *in, shop_v1_Receipt *out) {
    payment p = { restate_uuid(ctx), in->card, 0 };
    pb_size_t asked = 0;
    restate_status s = hold_all(ctx, in, &asked, &out->cents);
    if (s == RESTATE_OK) {
        p.cents = out->cents;
        s = pay(ctx, &p);
    }
    if (s == RESTATE_OK) s = wait_for_parcel(ctx, out);
    if (s == RESTATE_ENDED) return s;                   /* goes on in another attempt */
    if (s != RESTATE_OK) return undo(ctx, in, asked, &p);
    RESTATE_TRY(end_holds(ctx, in, in->lines_count, shop_v1_Stock_Take_call));
    snprintf(out->payment, sizeof out->payment, "%s", p.id);
    return set_stage(ctx, shop_v1_Stage_SHIPPED, out->tracking);
}

restate_status shop_v1_Orders_Packed(restate_ctx *ctx, const shop_v1_Parcel *in,
                                     shop_v1_PackedReply *out) {
    shop_v1_Decision packed = { .which_what = shop_v1_Decision_packed_tag, .what.packed = *in };
    shop_v1_OrderStatus status = shop_v1_OrderStatus_init_zero;
    (void)out;
    RESTATE_TRY(read_status(ctx, &status));
    if (status.stage != shop_v1_Stage_PACKING)
        return restate_fail(ctx, 409, "there is nothing to pack");
    return decide(ctx, &packed);
}

restate_status shop_v1_Orders_Cancel(restate_ctx *ctx, const shop_v1_Cancellation *in,
                                     shop_v1_CancelReply *out) {
    (void)out;
    return decide_to_cancel(ctx, in->reason);
}

restate_status shop_v1_Orders_Status(restate_ctx *ctx, const shop_v1_StatusRequest *in,
                                     shop_v1_OrderStatus *out) {
    (void)in;
    return read_status(ctx, out);
}
