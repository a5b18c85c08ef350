/* Stock: the shelf of a product, and for each order what is held for it. */
#include "restate.h"
#include "shop.restate.h"

/* Codecs serve state as well. Nothing stored yet: the message stays as it was. */
static restate_status read_shelf(restate_ctx *ctx, shop_v1_Shelf *shelf) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, "shelf", &stored));
    return restate_decode(ctx, &shop_v1_Shelf_json, stored, shelf);
}

static restate_status write_shelf(restate_ctx *ctx, const shop_v1_Shelf *shelf) {
    return restate_set(ctx, "shelf", restate_encode(ctx, &shop_v1_Shelf_json, shelf));
}

static const char *held_key(restate_ctx *ctx, const char *order) {
    return restate_text(ctx, "held-%s", order);
}

/* How many pieces are held for an order. */
static restate_status read_held(restate_ctx *ctx, const char *order, shop_v1_HoldRequest *held) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, held_key(ctx, order), &stored));
    return restate_decode(ctx, &shop_v1_HoldRequest_json, stored, held);
}

restate_status shop_v1_Stock_Receive(restate_ctx *ctx, const shop_v1_Delivery *in,
                                     shop_v1_Shelf *out) {
    RESTATE_TRY(read_shelf(ctx, out));
    if (in->pieces > UINT32_MAX - out->free - out->held)
        return restate_fail(ctx, 400, "the shelf has no room for %u pieces", (unsigned)in->pieces);
    if (in->has_unit_cents) out->unit_cents = in->unit_cents;
    out->free += in->pieces;
    return write_shelf(ctx, out);
}

restate_status shop_v1_Stock_Hold(restate_ctx *ctx, const shop_v1_HoldRequest *in,
                                  shop_v1_HoldReply *out) {
    shop_v1_Shelf shelf = shop_v1_Shelf_init_zero;
    shop_v1_HoldRequest held = shop_v1_HoldRequest_init_zero;
    const char *product = restate_key(ctx);
    RESTATE_TRY(read_shelf(ctx, &shelf));
    RESTATE_TRY(read_held(ctx, in->order, &held));
    out->cents = shelf.unit_cents * in->pieces;
    if (held.pieces) return RESTATE_OK;                 /* this order has them already */
    if (!shelf.unit_cents) return restate_fail(ctx, 404, "we do not sell '%s'", product);
    if (in->pieces > shelf.free)
        return restate_fail(ctx, 409, "%u pieces of '%s' are left", (unsigned)shelf.free, product);
    shelf.free -= in->pieces;
    shelf.held += in->pieces;
    RESTATE_TRY(restate_set(ctx, held_key(ctx, in->order),
                            restate_encode(ctx, &shop_v1_HoldRequest_json, in)));
    return write_shelf(ctx, &shelf);
}

/* Ends what Hold has begun: `back` says where the pieces go. */
static restate_status end_hold(restate_ctx *ctx, const char *order, bool back,
                               shop_v1_Shelf *shelf) {
    shop_v1_HoldRequest held = shop_v1_HoldRequest_init_zero;
    RESTATE_TRY(read_shelf(ctx, shelf));
    RESTATE_TRY(read_held(ctx, order, &held));
    if (!held.pieces) return RESTATE_OK;                /* it was not held, or has ended */
    shelf->held -= held.pieces;
    if (back) shelf->free += held.pieces;
    RESTATE_TRY(restate_clear(ctx, held_key(ctx, order)));
    return write_shelf(ctx, shelf);
}

restate_status shop_v1_Stock_Take(restate_ctx *ctx, const shop_v1_OrderRef *in,
                                  shop_v1_Shelf *out) {
    return end_hold(ctx, in->order, false, out);
}

restate_status shop_v1_Stock_PutBack(restate_ctx *ctx, const shop_v1_OrderRef *in,
                                     shop_v1_Shelf *out) {
    return end_hold(ctx, in->order, true, out);
}

restate_status shop_v1_Stock_Look(restate_ctx *ctx, const shop_v1_LookRequest *in,
                                  shop_v1_Shelf *out) {
    (void)in;
    return read_shelf(ctx, out);
}
