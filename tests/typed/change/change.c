/* A handler that decodes its input, calls with a message that it makes, decodes the reply, and waits.
 *
 *     PROGRAM write SERVICE NOTE        its journal while it waits, as the server would give it
 *     PROGRAM check <JOURNAL            "fits", or "differs: ...", or "unknown: ..." */
#define RESTATE_WITH_TEST
#include "restate.h"
#include "change.restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields that not all versions of the messages have. */
static void put_place(change_Stock *stock) {
#ifdef change_Stock_place_tag
    strcpy(stock->place, "A1");
#else
    (void)stock;
#endif
}
static void put_note(change_Order *order, const char *note) {
#ifdef change_Order_note_tag
    strncpy(order->note, note, sizeof order->note - 1);
#else
    (void)order, (void)note;
#endif
}

static restate_status reserve(change_Stock *out) {
    put_place(out);
    out->left = 7;
    return RESTATE_OK;
}

/* The same services in both encodings. */
#define SERVICES(Form) \
    restate_status change_Flow##Form##_Start(restate_ctx *ctx, const change_Order *in, \
                                             change_Stock *out) { \
        change_Part part = change_Part_init_zero; \
        strcpy(part.item, in->item); \
        part.pieces = (int32_t)in->pieces; \
        RESTATE_TRY(change_Depot##Form##_Reserve_call(ctx, &part, NULL, out)); \
        if (out->left != 7) return restate_fail(ctx, 500, "%d are left", (int)out->left); \
        return restate_sleep(ctx, RESTATE_DAYS(1)); \
    } \
    restate_status change_Depot##Form##_Reserve(restate_ctx *ctx, const change_Part *in, \
                                                change_Stock *out) { \
        (void)ctx, (void)in; \
        return reserve(out); \
    }
SERVICES(Json)
SERVICES(Binary)

static restate_endpoint *endpoint(void) {
    const restate_service *services[] = { change_FlowJson_service(), change_DepotJson_service(),
                                          change_FlowBinary_service(), change_DepotBinary_service(),
                                          NULL };
    return restate_endpoint_new(&(restate_endpoint_options){ .services = services });
}

/* ---- Writing and checking journals --------------------------------------------------------------- */

static int write_journal(const char *service, const char *note) {
    restate_endpoint *e = endpoint();
    restate_client *client = restate_test_new(&(restate_test_options){ .endpoint = e });
    restate_ctx *ctx = restate_client_begin(client);
    const restate_rpc *rpc = strcmp(service, change_FlowJson_Start_rpc.service) == 0
                                 ? &change_FlowJson_Start_rpc : &change_FlowBinary_Start_rpc;
    change_Order order = change_Order_init_zero;
    restate_bytes journal;
    restate_status s;
    strcpy(order.item, "tea");
    order.pieces = 3;
    put_note(&order, note);
    restate_rpc_send(ctx, rpc, NULL, &order, NULL);
    s = restate_sleep(ctx, 1000);
    if (s == RESTATE_OK)
        s = restate_client_journal(ctx, (restate_invocation){ .target = { .service = service } },
                                   &journal);
    if (s == RESTATE_OK) fwrite(journal.ptr, 1, journal.len, stdout);
    restate_client_end(ctx);
    restate_client_free(client);
    restate_endpoint_free(e);
    return s != RESTATE_OK;
}

static int check_journal(void) {
    static uint8_t journal[65536];
    size_t len = fread(journal, 1, sizeof journal, stdin), counts[3];
    restate_endpoint *e = endpoint();
    restate_fit fit = restate_journal_check(e, (restate_bytes){ journal, len }, counts);
    if (fit == RESTATE_FITS && counts[RESTATE_FITS] == 1) puts("fits");
    else printf("%s: %s\n", fit == RESTATE_DIFFERS ? "differs" : "unknown", restate_endpoint_error(e));
    restate_endpoint_free(e);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "write") == 0) return write_journal(argv[2], argv[3]);
    return argc == 2 && strcmp(argv[1], "check") == 0 ? check_journal() : 2;
}
