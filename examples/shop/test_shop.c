/* Tests of the shop without a server and without a bank, then with a crash at every place.
 *
 *     make build/examples/shop/test_shop && build/examples/shop/test_shop
 *
 * The handlers are those of the server, in the files that it is made of. Instead of bank.c there is
 * a bank in this file. Time is virtual: three days take none. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_WITH_TEST
#include "restate.h"
#include "shop.restate.h"
#include "bank.h"
#include <stdio.h>
#include <string.h>

/* ---- A bank that can be looked at, and is down now and then ---------------------------------- */

enum { MOST_PAYMENTS = 8 };

static struct {
    struct { char id[41]; long long cents; bool back; } payments[MOST_PAYMENTS];
    int count, down;                        /* so many times it does not answer */
} bank;

static int find_payment(const char *id) {
    int i;
    for (i = 0; i < bank.count; i++) if (strcmp(bank.payments[i].id, id) == 0) return i;
    if (i == MOST_PAYMENTS) return -1;
    snprintf(bank.payments[bank.count++].id, sizeof bank.payments[0].id, "%s", id);
    return i;
}

bank_answer bank_pay(const char *payment, const char *card, long long cents) {
    int i;
    if (bank.down > 0 && bank.down--) return BANK_DOWN;
    if (strcmp(card, "empty") == 0) return BANK_DECLINED;
    i = find_payment(payment);
    if (i < 0 || bank.payments[i].back) return BANK_DECLINED;
    bank.payments[i].cents = cents;
    return BANK_DONE;
}

bank_answer bank_take_back(const char *payment) {
    int i = find_payment(payment);
    if (i < 0) return BANK_DOWN;
    bank.payments[i].back = true;
    return BANK_DONE;
}

static long long earned(void) {
    long long sum = 0;
    int i;
    for (i = 0; i < bank.count; i++) if (!bank.payments[i].back) sum += bank.payments[i].cents;
    return sum;
}

/* ---- What the tests share -------------------------------------------------------------------- */

#define EXPECT(condition) \
    do if (!(condition)) return restate_fail(ctx, 500, "line %d: %s", __LINE__, #condition); \
    while (0)

/* Each test begins with 10 pieces of tea and 2 pots. */
static restate_status stock_up(restate_ctx *ctx) {
    shop_v1_Delivery tea = { 10, true, 450 }, pots = { 2, true, 3000 };
    memset(&bank, 0, sizeof bank);
    RESTATE_TRY(shop_v1_Stock_Receive_call(ctx, "tea", &tea, NULL, NULL));
    return shop_v1_Stock_Receive_call(ctx, "pot", &pots, NULL, NULL);
}

static shop_v1_Order order_of(const char *card, uint32_t tea, uint32_t pots) {
    shop_v1_Order order = { .customer = "ada", .lines_count = 2,
                            .lines = { { "tea", tea }, { "pot", pots } } };
    snprintf(order.card, sizeof order.card, "%s", card);
    return order;
}

static restate_status look(restate_ctx *ctx, const char *product, shop_v1_Shelf *shelf) {
    const shop_v1_LookRequest request = shop_v1_LookRequest_init_zero;
    return shop_v1_Stock_Look_call(ctx, product, &request, NULL, shelf);
}

/* What is free and held of tea and pots, and what the shop has earned. */
static restate_status expect(restate_ctx *ctx, unsigned tea, unsigned pots, unsigned held,
                             long long cents) {
    shop_v1_Shelf teas, all_pots;
    RESTATE_TRY(look(ctx, "tea", &teas));
    RESTATE_TRY(look(ctx, "pot", &all_pots));
    if (teas.free != tea || all_pots.free != pots || teas.held + all_pots.held != held ||
        earned() != cents)
        return restate_fail(ctx, 500, "%u tea, %u pots free, %u held, %lld earned",
                            (unsigned)teas.free, (unsigned)all_pots.free,
                            (unsigned)(teas.held + all_pots.held), earned());
    return RESTATE_OK;
}

/* An order that has failed is undone: nothing is held, nothing earned. */
static restate_status expect_undone(restate_ctx *ctx, const char *number, unsigned code) {
    const shop_v1_StatusRequest request = shop_v1_StatusRequest_init_zero;
    shop_v1_OrderStatus status;
    EXPECT(shop_v1_Orders_Run_await(ctx, shop_v1_Orders_Run_attach(ctx, number), NULL) ==
           RESTATE_TERMINAL);
    EXPECT(restate_failed(ctx)->code == code);
    RESTATE_TRY(shop_v1_Orders_Status_call(ctx, number, &request, NULL, &status));
    EXPECT(status.stage == shop_v1_Stage_UNDONE);
    return expect(ctx, 10, 2, 0, 0);
}

/* ---- The tests ------------------------------------------------------------------------------- */

static restate_status shipped(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("card", 3, 1);
    shop_v1_Parcel parcel = { "T-1" };
    shop_v1_Cancellation late = { "too late" };
    shop_v1_OrderRef bought;
    shop_v1_Receipt receipt;
    restate_future *run;
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    bank.down = 2;
    RESTATE_TRY(shop_v1_Sales_Buy_call(ctx, &order, NULL, &bought));
    RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(1)));
    RESTATE_TRY(expect(ctx, 7, 1, 4, 4350));
    RESTATE_TRY(shop_v1_Orders_Packed_call(ctx, bought.order, &parcel, NULL, NULL));
    EXPECT(shop_v1_Orders_Cancel_call(ctx, bought.order, &late, NULL, NULL) == RESTATE_TERMINAL);
    EXPECT(restate_failed(ctx)->code == 409);
    run = shop_v1_Orders_Run_attach(ctx, bought.order);
    RESTATE_TRY(shop_v1_Orders_Run_await(ctx, run, &receipt));
    EXPECT(strcmp(receipt.tracking, "T-1") == 0 && receipt.cents == 4350);
    return expect(ctx, 7, 1, 0, 4350);
}

static restate_status cancelled(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("card", 10, 2);
    shop_v1_Cancellation reason = { "found it cheaper" };
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    shop_v1_Orders_Run_send(ctx, "A-1", &order, NULL);
    RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(1)));
    RESTATE_TRY(expect(ctx, 0, 0, 12, 10500));
    RESTATE_TRY(shop_v1_Orders_Cancel_call(ctx, "A-1", &reason, NULL, NULL));
    return expect_undone(ctx, "A-1", 410);
}

/* By an operator, while the bank is down: the payment may have come, so it is taken back. */
static restate_status stopped(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("card", 1, 1);
    const char *id;
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    bank.down = 1000;
    RESTATE_TRY(restate_call_id(ctx, shop_v1_Orders_Run_send(ctx, "A-2", &order, NULL), &id));
    RESTATE_TRY(restate_sleep(ctx, RESTATE_SECONDS(1)));
    RESTATE_TRY(restate_cancel(ctx, id));
    bank.down = 0;
    return expect_undone(ctx, "A-2", 409);
}

/* By an operator, at once: what was asked of the shelves may have happened, or not. */
static restate_status stopped_early(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("card", 1, 1);
    const char *id;
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    RESTATE_TRY(restate_call_id(ctx, shop_v1_Orders_Run_send(ctx, "A-8", &order, NULL), &id));
    RESTATE_TRY(restate_cancel(ctx, id));
    EXPECT(shop_v1_Orders_Run_await(ctx, shop_v1_Orders_Run_attach(ctx, "A-8"), NULL) ==
           RESTATE_TERMINAL);
    RESTATE_TRY(restate_sleep(ctx, RESTATE_SECONDS(1)));
    return expect(ctx, 10, 2, 0, 0);
}

/* By an operator, just before the parcel is packed: either is fine, half of both is not. */
static restate_status stopped_late(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("card", 1, 1);
    shop_v1_Parcel parcel = { "T-7" };
    restate_status packed;
    const char *id;
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    RESTATE_TRY(restate_call_id(ctx, shop_v1_Orders_Run_send(ctx, "A-7", &order, NULL), &id));
    RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(1)));
    RESTATE_TRY(restate_cancel(ctx, id));
    packed = shop_v1_Orders_Packed_call(ctx, "A-7", &parcel, NULL, NULL);
    if (packed != RESTATE_OK) return expect_undone(ctx, "A-7", 410);
    RESTATE_TRY(shop_v1_Orders_Run_await(ctx, shop_v1_Orders_Run_attach(ctx, "A-7"), NULL));
    return expect(ctx, 9, 1, 0, 3450);
}

static restate_status nobody_packs(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("card", 1, 0);
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    order.lines_count = 1;
    shop_v1_Orders_Run_send(ctx, "A-3", &order, NULL);
    return expect_undone(ctx, "A-3", 410);
}

static restate_status declined(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("empty", 1, 1);
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    shop_v1_Orders_Run_send(ctx, "A-4", &order, NULL);
    return expect_undone(ctx, "A-4", 402);
}

/* Two orders in which the pots are too few for both: one of them fails, nothing else does. */
static restate_status scarce(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("card", 1, 2);
    shop_v1_Parcel parcel = { "T-2" };
    restate_future *runs[2];
    int i, failed = 0;
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    runs[0] = shop_v1_Orders_Run_call_async(ctx, "A-5", &order, NULL);
    runs[1] = shop_v1_Orders_Run_call_async(ctx, "A-6", &order, NULL);
    RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(1)));
    for (i = 0; i < 2; i++)
        if (shop_v1_Orders_Packed_call(ctx, i ? "A-6" : "A-5", &parcel, NULL, NULL) != RESTATE_OK)
            failed++;
    EXPECT(failed == 1);
    for (i = 0; i < 2; i++)
        if (shop_v1_Orders_Run_await(ctx, runs[i], NULL) != RESTATE_OK) failed++;
    EXPECT(failed == 2);
    return expect(ctx, 9, 0, 0, 6450);
}

/* Whoever does not know whether a request has arrived may send it again. */
static restate_status repeated(restate_ctx *ctx, void *arg) {
    const shop_v1_HoldRequest hold[2] = { { "A-9", 4 }, { "A-10", 3 } };
    const shop_v1_OrderRef first = { "A-9" }, second = { "A-10" };
    int i;
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    for (i = 0; i < 4; i++)
        RESTATE_TRY(shop_v1_Stock_Hold_call(ctx, "tea", &hold[i % 2], NULL, NULL));
    RESTATE_TRY(expect(ctx, 3, 2, 7, 0));
    for (i = 0; i < 2; i++) RESTATE_TRY(shop_v1_Stock_Take_call(ctx, "tea", &first, NULL, NULL));
    for (i = 0; i < 2; i++)
        RESTATE_TRY(shop_v1_Stock_PutBack_call(ctx, "tea", &second, NULL, NULL));
    return expect(ctx, 6, 2, 0, 0);
}

static restate_status quoted(restate_ctx *ctx, void *arg) {
    shop_v1_Order order = order_of("card", 2, 3);
    shop_v1_QuoteReply quote;
    (void)arg;
    RESTATE_TRY(stock_up(ctx));
    RESTATE_TRY(shop_v1_Sales_Quote_call(ctx, &order, NULL, &quote));
    EXPECT(quote.cents == 9900 && !quote.in_stock);
    EXPECT(shop_v1_Sales_Buy_call(ctx, &order, NULL, NULL) == RESTATE_TERMINAL);
    EXPECT(restate_failed(ctx)->code == 409);
    order.lines_count = 0;
    EXPECT(shop_v1_Sales_Quote_call(ctx, &order, NULL, &quote) == RESTATE_TERMINAL);
    EXPECT(restate_failed(ctx)->code == 400);
    return expect(ctx, 10, 2, 0, 0);
}

/* ---- All of them ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    restate_test_fn *fn;
} tests[] = { { "shipped", shipped }, { "cancelled", cancelled }, { "stopped", stopped },
              { "stopped_early", stopped_early }, { "stopped_late", stopped_late },
              { "nobody_packs", nobody_packs }, { "declined", declined }, { "scarce", scarce },
              { "repeated", repeated }, { "quoted", quoted } };

static int run_seed(restate_endpoint *endpoint, size_t i, uint64_t seed) {
    restate_client *runtime = restate_test_new(&(restate_test_options){
        .endpoint = endpoint, .seed = seed, .logger = { .level = RESTATE_LOG_ERROR } });
    restate_ctx *ctx = restate_client_begin(runtime);
    restate_status s = tests[i].fn(ctx, NULL);
    if (s != RESTATE_OK)
        printf("not ok %s, seed %llu: %s\n%s", tests[i].name, (unsigned long long)seed,
               restate_failed(ctx)->message, restate_test_text(ctx));
    restate_client_free(runtime);
    return s != RESTATE_OK;
}

/* One run for each place where an attempt can break, as when the program is killed there. */
static int explore(restate_endpoint *endpoint, size_t i, uint32_t *runs) {
    uint32_t now = 0;
    restate_status s = restate_test_explore(&(restate_test_options){ .endpoint = endpoint,
        .logger = { .level = RESTATE_LOG_ERROR } }, tests[i].fn, NULL,
        &(restate_explore_options){ .reply_only = true, .runs = &now });
    *runs += now;
    if (s != RESTATE_OK) printf("not ok %s, when it crashes\n", tests[i].name);
    return s != RESTATE_OK;
}

int main(void) {
    restate_endpoint *endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(shop_v1_Stock_service(), shop_v1_Orders_service(),
                                     shop_v1_Sales_service()) });
    uint32_t runs = 0;
    uint64_t seed;
    size_t i;
    int failed = 0;
    for (i = 0; i < sizeof tests / sizeof *tests; i++) {
        for (seed = 0; seed < 20; seed++) failed += run_seed(endpoint, i, seed);
        failed += explore(endpoint, i, &runs);
    }
    restate_endpoint_free(endpoint);
    printf("%d failed; %u runs with a crash\n", failed, (unsigned)runs);
    return failed != 0;
}
