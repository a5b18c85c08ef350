/* Loses the attempt at every place of a saga, one after the other, and then at every two.
 *
 *     make build/examples/explore && build/examples/explore
 *
 * The saga pays and then ships; if it cannot ship it pays back. It passes. Without the idempotency
 * key (make it "" below) the explorer finds the place at which ada pays twice: when the closure has
 * returned and its result is not stored. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_WITH_TEST
#include "restate.h"
#include <stdio.h>
#include <string.h>

/* ---- The service ----------------------------------------------------------------------------- */

typedef struct transfer {
    const char *key;                        /* payments with the same one are one payment */
    long long amount;
} transfer;

static restate_status bank(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_fail(run, 500, "there is no bank in this example");
}

static restate_status ship(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_fail(run, 410, "sold out");
}

static restate_status buy(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options copied = { .arg_bytes = sizeof(transfer) };
    transfer there = { restate_uuid(ctx), 0 }, back;
    const restate_failure *why;
    restate_status s;
    RESTATE_TRY(restate_json_int(ctx, input, "amount", &there.amount));
    RESTATE_TRY(restate_run(ctx, "pay", bank, &there, &copied, NULL));
    s = restate_run(ctx, "ship", ship, NULL, NULL, NULL);
    if (s == RESTATE_OK) return RESTATE_OK;
    if (s == RESTATE_ENDED) return s;
    why = restate_failed(ctx);
    back = (transfer){ restate_uuid(ctx), -there.amount };
    RESTATE_TRY(restate_run(ctx, "pay", bank, &back, &copied, NULL));
    return restate_fail_with(ctx, why);
}

static const restate_service shop = { .name = "Shop", .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(buy) }) };

/* ---- What the closures do in the test: a bank of three lines --------------------------------- */

typedef struct account {
    long long balance;
    int payments;
    char keys[16][40];
} account;

static restate_status fake(void *user, restate_ctx *run, const char *name,
                           restate_closure *closure, void *arg) {
    account *a = user;
    const transfer *t = arg;
    int i;
    if (strcmp(name, "pay") != 0) return closure(run, arg);
    for (i = 0; i < a->payments; i++)
        if (*t->key && strcmp(a->keys[i], t->key) == 0) return restate_reply(run, restate_str("1"));
    if (a->payments == 16) return restate_fail(run, 507, "too many payments for this test");
    snprintf(a->keys[a->payments++], sizeof a->keys[0], "%s", t->key);
    a->balance -= t->amount;
    return restate_reply(run, restate_str("1"));
}

/* ---- The test -------------------------------------------------------------------------------- */

static restate_status sold_out(restate_ctx *ctx, void *arg) {
    const restate_target shop_buy = { .service = "Shop", .handler = "buy" };
    account *a = arg;
    *a = (account){ .balance = 100 };
    if (restate_call(ctx, shop_buy, restate_json(ctx, "{'amount': 30}"), NULL, NULL) !=
        RESTATE_TERMINAL)
        return restate_fail(ctx, 500, "it should have been sold out");
    return restate_reply(ctx, restate_json(ctx, "{'balance': %lld, 'why': %s}", a->balance,
                                           restate_failed(ctx)->message));
}

int main(int argc, char **argv) {
    account a;
    uint32_t runs = 0, only[2] = { 0, 0 };
    restate_explore_options how = { .pairs = true, .runs = &runs };
    restate_endpoint *endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&shop) });
    restate_status s;
    if (argc > 1 && sscanf(argv[1], "%u", &only[0]) == 1) how.only = only;      /* to debug */
    s = restate_test_explore(&(restate_test_options){ .endpoint = endpoint, .run = fake,
        .user = &a }, sold_out, &a, &how);
    printf("%s after %u runs\n", s == RESTATE_OK ? "passed" : "failed", (unsigned)runs);
    restate_endpoint_free(endpoint);
    return s != RESTATE_OK;
}
