/* The explorer: finds what is wrong with handlers that lose their attempts, and finds nothing with
 * the examples, of which it loses attempts at every two places. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_WITH_TEST
#include "restate.h"
#include "test.h"
#include "support/allocator.c"
#include <ctype.h>
#include <stdlib.h>

/* The examples are programs of their own; here they share a file. */
#define main main_of_saga
#define reserve saga_reserve
#define cancel saga_cancel
#define get saga_get
#include "../examples/saga.c"
#undef main
#undef reserve
#undef cancel
#undef get
#define main main_of_signup
#define status signup_status
#include "../examples/signup.c"
#undef main
#undef status
#define main main_of_tickets
#define add tickets_add
#include "../examples/tickets.c"
#undef main
#undef add
#define main main_of_approval
#include "../examples/approval.c"
#undef main
#define main main_of_cron
#define report report_service
#include "../examples/cron.c"
#undef report
#undef main
#define main main_of_greeter
#include "../examples/greeter.c"
#undef main
#define main main_of_fan_out
#include "../examples/fan_out.c"
#undef main
#define main main_of_first_of
#include "../examples/first_of.c"
#undef main
#define main main_of_counter
#include "../examples/counter.c"
#undef main

/* ---- What goes wrong --------------------------------------------------------------------------- */

static int money, payments;
static char paid[16][40];

/* A bank: payments with the same key are one. */
static restate_status bank(restate_ctx *run, void *arg) {
    const char *key = arg;
    for (int i = 0; i < payments; i++)
        if (*key && strcmp(paid[i], key) == 0) return restate_reply(run, restate_str("1"));
    if (payments == 16) return restate_fail(run, 507, "too many payments");
    snprintf(paid[payments++], sizeof paid[0], "%s", key);
    money -= 30;
    return restate_reply(run, restate_str("1"));
}

static restate_status sold_out(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_fail(run, 410, "sold out");
}

static restate_status with_key(restate_ctx *ctx, restate_bytes input) {
    char key[40];
    (void)input;
    snprintf(key, sizeof key, "%s", restate_uuid(ctx));
    return restate_run(ctx, "pay", bank, key, NULL, NULL);
}

static restate_status without_key(restate_ctx *ctx, restate_bytes input) {
    char none[] = "";
    (void)input;
    return restate_run(ctx, "pay", bank, none, NULL, NULL);
}

/* Decides by what the process keeps, which an attempt that is lost leaves behind. */
static restate_status by_counter(restate_ctx *ctx, restate_bytes input) {
    static int calls;
    (void)input;
    if (calls++ % 2) RESTATE_TRY(restate_sleep(ctx, 5));
    return restate_run(ctx, "sell", sold_out, NULL, NULL, NULL);
}

static uint64_t ticks;                      /* a clock: it says something else each time */
static restate_status by_clock(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_set(ctx, "at", restate_json(ctx, "%llu", (unsigned long long)++ticks));
}

/* Says that it is sold before it is. */
static restate_status too_early(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    RESTATE_TRY(restate_set(ctx, "sold", restate_str("true")));
    restate_status s = restate_run(ctx, "sell", sold_out, NULL, NULL, NULL);
    if (s == RESTATE_TERMINAL) RESTATE_TRY(restate_clear(ctx, "sold"));
    return s;
}

/* Executes twice if the first time is not stored. */
static restate_status asks_to_stop(restate_ctx *run, void *arg) {
    int *n = arg;
    ++*n;
    if (restate_stop_requested(run)) return restate_retry(run, NULL, "stopped");
    return restate_reply(run, restate_json(run, "%d", money));
}

static restate_status stops(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_run(ctx, "long", asks_to_stop, &payments, NULL, NULL);
}

/* Takes a coin that is there once: who takes it and does not tell leaves nobody able to go on. */
static restate_status take_coin(restate_ctx *run, void *arg) {
    (void)arg;
    if (!money) return restate_retry(run, NULL, "no coin");
    money = 0;
    return restate_reply(run, restate_str("1"));
}

static restate_status takes(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_run(ctx, "take", take_coin, NULL, NULL, NULL);
}

/* Asks something else the next time, as random() would. */
static restate_status by_chance(restate_ctx *ctx, restate_bytes input) {
    static unsigned drawn;
    char coin[] = "coin";
    (void)input;
    return restate_run(ctx, drawn++ % 2 ? "heads" : "tails", bank, coin, NULL, NULL);
}

/* Closures in the order of a table of addresses, which are others in every attempt. */
static restate_status by_address(restate_ctx *ctx, restate_bytes input) {
    static unsigned attempts;
    static const char *const names[] = { "left", "right" };
    size_t first = attempts++ & 1;
    restate_future *f[2];
    (void)input;
    for (size_t i = 0; i < 2; i++)
        f[i] = restate_run_async(ctx, names[i ^ first], bank, (void *)(uintptr_t)names[i], NULL);
    return restate_await(ctx, restate_all(ctx, f, 2), NULL);
}

/* Asks only if nobody knows the id yet: the next attempt waits for another answer. */
static char asked[64];
static restate_status keeps_id(restate_ctx *ctx, restate_bytes input) {
    const char *id;
    restate_future *answer = restate_awakeable(ctx, &id);
    char key[] = "ask";
    (void)input;
    if (*asked) answer = restate_awakeable(ctx, &id);
    snprintf(asked, sizeof asked, "%s", id);
    RESTATE_TRY(restate_run(ctx, "ask", bank, key, NULL, NULL));
    return restate_await(ctx, answer, NULL);
}

/* An effect beside the closures. */
static restate_status beside(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    RESTATE_TRY(restate_sleep(ctx, 5));
    money--;
    return restate_sleep(ctx, 5);
}

/* What is changed stays so when the attempt is another: no fault. */
static restate_status patches(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    RESTATE_TRY(restate_sleep(ctx, 5));
    char fees[] = "fees";
    const char *name = restate_patched(ctx, "fees") ? "with fees" : "without";
    RESTATE_TRY(restate_run(ctx, name, bank, fees, NULL, NULL));
    if (restate_patched(ctx, "rests")) RESTATE_TRY(restate_sleep(ctx, 5));
    return restate_reply(ctx, restate_str(name));
}

static restate_status is_sold(restate_ctx *ctx, restate_bytes input) {
    restate_bytes v;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "sold", &v));
    return restate_reply(ctx, v);
}

static const restate_service wrong = { "Bad", RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(with_key) }, { RESTATE_HANDLER(without_key) },
    { RESTATE_HANDLER(by_counter) }, { RESTATE_HANDLER(by_clock) },
    { RESTATE_HANDLER(too_early) }, { RESTATE_HANDLER(stops) },
    { RESTATE_HANDLER(takes) }, { RESTATE_HANDLER(by_chance) },
    { RESTATE_HANDLER(by_address) }, { RESTATE_HANDLER(keeps_id) },
    { RESTATE_HANDLER(beside) }, { RESTATE_HANDLER(patches) },
    { .name = "sold", .fn = is_sold, .shared = true, .input = RESTATE_VOID }) };

/* ---- Exploring ---------------------------------------------------------------------------------- */

static restate_endpoint *endpoint;
static char report[1 << 16];                /* what was logged, a line each */

static void keep(void *user, const restate_log_record *r) {
    size_t n = strlen(report);
    (void)user;
    snprintf(report + n, sizeof report - n, "%s\n", r->message);
}

static restate_test_options options(void) {
    report[0] = 0;
    return (restate_test_options){ .endpoint = endpoint, .logger.write = keep,
                                   .logger.level = RESTATE_LOG_ERROR };
}

static restate_target to(const char *service, const char *handler, const char *key) {
    return (restate_target){ .service = service, .handler = handler, .key = key };
}

static const restate_bytes nothing = { NULL, 0 };

/* Calls the handler of Bad that `arg` names, and replies with what the bank has. */
static restate_status calls_bad(restate_ctx *ctx, void *arg) {
    money = 100;
    payments = 0;
    RESTATE_IGNORE(restate_call(ctx, to("Bad", arg, "k"), restate_str("1"), NULL, NULL));
    return restate_reply(ctx, restate_json(ctx, "%d", money));
}

static restate_status explore(const char *handler, restate_test_fn *test, uint32_t *runs) {
    restate_test_options o = options();
    restate_explore_options how = { .pairs = true, .runs = runs };
    char name[32];
    snprintf(name, sizeof name, "%s", handler);
    return restate_test_explore(&o, test, name, &how);
}

TEST(an_idempotent_payment_passes) {
    uint32_t runs = 0;
    CHECK_INT(explore("with_key", calls_bad, &runs), RESTATE_OK);
    CHECK_STR(report, "");
    CHECK(runs > 30);
}

TEST(the_missing_key_is_found) {
    uint32_t runs = 0;
    CHECK_INT(explore("without_key", calls_bad, &runs), RESTATE_ERROR);
    CHECK_HAS(report, "a fault, when attempts break at place 1: Bad/without_key inv_1");
    CHECK_HAS(report, "without breaks: the test returned RESTATE_OK, and replied 70");
    CHECK_HAS(report, "with this:      the test returned RESTATE_OK, and replied 40");
    CHECK_HAS(report, "to repeat it: seed 0, .only = (const uint32_t[]){ 1, 0, 0 }");
    CHECK_HAS(report, "|   1 run \"pay\" -> 1");
    CHECK_INT(runs, 4);
}

TEST(the_counter_is_found) {
    CHECK_INT(explore("by_counter", calls_bad, NULL), RESTATE_ERROR);
    CHECK_HAS(report, "a fault, ");
    CHECK_HAS(report, "Bad/by_counter inv_");
}

TEST(the_clock_is_found) {
    CHECK_INT(explore("by_clock", calls_bad, NULL), RESTATE_ERROR);
    CHECK_HAS(report, "a fault, ");
    CHECK_HAS(report, "set state");
}

/* Sells, and looks meanwhile. */
static restate_status looks(restate_ctx *ctx, void *arg) {
    restate_future *sale = restate_call_async(ctx, to("Bad", arg, "k"), restate_str("1"), NULL);
    restate_future *look = restate_call_async(ctx, to("Bad", "sold", "k"), nothing, NULL);
    restate_bytes v;
    money = 100;
    RESTATE_TRY(restate_await(ctx, look, &v));
    if (restate_await(ctx, sale, NULL) != RESTATE_TERMINAL) return restate_fail(ctx, 500, "sold");
    return restate_reply(ctx, v);
}

TEST(state_that_is_written_too_early_is_found) {
    CHECK_INT(explore("too_early", looks, NULL), RESTATE_ERROR);
    CHECK_HAS(report, "without breaks: the test returned RESTATE_OK, and replied true");
    CHECK_HAS(report, "with this:      the test returned RESTATE_OK, and replied empty");
}

TEST(an_invocation_that_nobody_finishes_is_found) {
    CHECK_INT(explore("takes", calls_bad, NULL), RESTATE_ERROR);
    CHECK_HAS(report, "Bad/k/takes inv_14TQt8btz1NX0Ci7JuWuSP8cD1g0uK9NXq is paused");
    CHECK_HAS(report, "|   paused after 71 attempts, 500: no coin");
}

/* Both journals, and what differs. */
TEST(chance_is_found) {
    CHECK_INT(explore("by_chance", calls_bad, NULL), RESTATE_ERROR);
    CHECK_HAS(report, "a fault, when it suspends at every wait\nBad/by_chance inv_");
    CHECK_HAS(report, "command 1 (run) differs (journal != code):   name: \"heads\" != \"tails\"");
    CHECK_HAS(report, "the test server without breaks:\n");
    CHECK_HAS(report, "|   1 run \"tails\" -> 1\n");
    CHECK_HAS(report, "the test server with this:\n");
    CHECK_HAS(report, "|   1 run \"heads\" -> 1\n");
}

TEST(an_order_by_address_is_found) {
    CHECK_INT(explore("by_address", calls_bad, NULL), RESTATE_ERROR);
    CHECK_HAS(report, "the code took another path than the recorded execution");
    CHECK_HAS(report, "command 1 (run) differs (journal != code):   name: \"right\" != \"left\"");
}

static restate_status answers(restate_ctx *ctx, void *arg) {
    restate_future *call;
    money = payments = 0;
    *asked = 0;
    call = restate_call_async(ctx, to("Bad", arg, "k"), restate_str("1"), NULL);
    RESTATE_TRY(restate_sleep(ctx, 10));
    RESTATE_TRY(restate_resolve(ctx, asked, restate_str("1")));
    return restate_await(ctx, call, NULL);
}

TEST(an_id_that_is_kept_is_found) {
    CHECK_INT(explore("keeps_id", answers, NULL), RESTATE_ERROR);
    CHECK_HAS(report, "a fault, when ");
    CHECK_HAS(report, "nothing can run, and no timer is due: Bad/k/keeps_id inv_");
    CHECK_HAS(report, "waits for an awakeable or a signal\n");
}

TEST(an_effect_beside_closures_is_found) {
    CHECK_INT(explore("beside", calls_bad, NULL), RESTATE_ERROR);
    CHECK_HAS(report, "without breaks: the test returned RESTATE_OK, and replied 99");
    CHECK_HAS(report, "with this:      the test returned RESTATE_OK, and replied 98");
}

TEST(patches_are_no_fault) {
    uint32_t runs = 0;
    CHECK_INT(explore("patches", calls_bad, &runs), RESTATE_OK);
    CHECK_STR(report, "");
    CHECK(runs > 50);
}

TEST(closures_are_told_to_stop) {
    uint32_t runs = 0;
    CHECK_INT(explore("stops", calls_bad, &runs), RESTATE_OK);
    CHECK(runs > 30);
    CHECK(payments >= 1);
}

static restate_status does_not_pass(restate_ctx *ctx, void *arg) {
    (void)arg;
    return restate_fail(ctx, 418, "never");
}

TEST(a_test_that_does_not_pass) {
    uint32_t runs = 0;
    CHECK_INT(explore("", does_not_pass, &runs), RESTATE_ERROR);
    CHECK_HAS(report, "a fault, without any break\nthe outcome:\n| the test returned RESTATE_TERMINAL: "
                      "418 \"never\", and replied");
    CHECK_INT(runs, 1);
    restate_test_options o = options();
    CHECK_INT(restate_test_explore(&o, NULL, NULL, NULL), RESTATE_ERROR);
    CHECK_INT(restate_test_explore(NULL, does_not_pass, NULL, NULL), RESTATE_ERROR);
}

TEST(one_run_is_repeated) {
    static const uint32_t place[] = { 1, 0 }, last[] = { 100000, 0 };
    restate_test_options o = options();
    uint32_t runs = 0;
    restate_explore_options how = { .only = place, .runs = &runs };
    char name[] = "without_key";
    CHECK_INT(restate_test_explore(&o, calls_bad, name, &how), RESTATE_ERROR);
    CHECK_INT(runs, 2);
    CHECK_HAS(report, "place 1:");
    how.only = last;
    CHECK_INT(restate_test_explore(&o, calls_bad, name, &how), RESTATE_OK);
}

TEST(runs_are_bounded) {
    restate_test_options o = options();
    uint32_t runs = 0;
    restate_explore_options how = { .pairs = true, .runs = &runs, .max_runs = 10 };
    char name[] = "with_key";
    CHECK_INT(restate_test_explore(&o, calls_bad, name, &how), RESTATE_OK);
    CHECK_INT(runs, 10);
    how.max_runs = 50;
    CHECK_INT(restate_test_explore(&o, calls_bad, name, &how), RESTATE_OK);
    CHECK(runs <= 50);
}

TEST(every_allocation_may_fail) {
    static mem_counts memory;
    restate_test_options o = options();
    restate_explore_options how = { .max_runs = 5 };
    char name[] = "with_key";
    o.allocator = mem_allocator(&memory);
    CHECK_INT(restate_test_explore(&o, calls_bad, name, &how), RESTATE_OK);
    for (size_t n = memory.calls, at = 1; at <= n && !test_failures; at++) {
        mem_fail(&memory, at);
        (void)restate_test_explore(&o, calls_bad, name, &how);
        CHECK_INT(memory.blocks, 0);
    }
}

/* ---- The project's examples ---------------------------------------------------------------------- */

static char secret[64], awakeable[64];      /* what fakes have seen */

/* In place of mails, banks and cards. */
static restate_status fake(void *user, restate_ctx *run, const char *name,
                           restate_closure *closure, void *arg) {
    (void)user;
    if (strcmp(name, "mail") == 0)
        snprintf(secret, sizeof secret, "%s", ((const letter *)arg)->secret);
    else if (strcmp(name, "notify") == 0)
        snprintf(awakeable, sizeof awakeable, "%s", ((const notice *)arg)->id);
    else if (strcmp(name, "charge") == 0)
        return bank(run, (void *)(uintptr_t)((const payment *)arg)->id);
    else if (strcmp(name, "draw") != 0)
        return closure(run, arg);
    return restate_reply(run, restate_str("7"));
}

static restate_status trip(restate_ctx *ctx, void *arg) {
    restate_bytes v;
    (void)arg;
    RESTATE_TRY(restate_call(ctx, to("Trips", "book", NULL), restate_str("{}"), NULL, &v));
    restate_status s = restate_call(ctx, to("Trips", "book", NULL),
                                    restate_json(ctx, "{'soldOut': 'Hotels', 'slow': 'Cars'}"),
                                    NULL, NULL);
    if (s != RESTATE_TERMINAL) return restate_fail(ctx, 500, "booked");
    return restate_reply(ctx, restate_str(restate_failed(ctx)->message));
}

static restate_status sign(restate_ctx *ctx, void *arg) {
    restate_target ada = to("SignUp", "run", "ada");
    restate_bytes v;
    (void)arg;
    restate_send(ctx, ada, restate_json(ctx, "{'email': 'ada@example.com'}"), NULL);
    RESTATE_TRY(restate_sleep(ctx, 1000));
    RESTATE_TRY(restate_call(ctx, to("SignUp", "status", "ada"), nothing, NULL, &v));
    if (strncmp((const char *)v.ptr, "\"mail sent\"", v.len) != 0)
        return restate_fail(ctx, 500, "no mail");
    RESTATE_TRY(restate_call(ctx, to("SignUp", "click", "ada"), restate_json(ctx, "%s", secret),
                             NULL, NULL));
    ada.handler = NULL;
    RESTATE_TRY(restate_attach(ctx, (restate_invocation){ .target = ada }, &v));
    return restate_reply(ctx, v);
}

static restate_status buy_tickets(restate_ctx *ctx, void *arg) {
    restate_bytes a, b;
    (void)arg;
    money = 100;
    payments = 0;
    RESTATE_TRY(restate_call(ctx, to("Carts", "add", "ada"), restate_json(ctx, "{'seat': 'A1'}"),
                             NULL, &a));
    RESTATE_TRY(restate_call(ctx, to("Carts", "add", "bob"), restate_json(ctx, "{'seat': 'A1'}"),
                             NULL, &b));
    RESTATE_TRY(restate_call(ctx, to("Carts", "add", "bob"), restate_json(ctx, "{'seat': 'A2'}"),
                             NULL, NULL));
    RESTATE_TRY(restate_call(ctx, to("Carts", "checkout", "ada"), nothing, NULL, NULL));
    RESTATE_TRY(restate_sleep(ctx, RESTATE_MINUTES(20)));
    restate_client_at(ctx, to("Seats", NULL, "A2"));
    restate_bytes taken;
    RESTATE_TRY(restate_get(ctx, "taken", &taken));
    if (taken.ptr) return restate_fail(ctx, 500, "bob has kept his seat");
    return restate_reply(ctx, restate_json(ctx, "{'ada': %-.*s, 'bob': %-.*s, 'money': %d}",
                                           (int)a.len, (const char *)a.ptr, (int)b.len,
                                           (const char *)b.ptr, money));
}

static restate_status approve_it(restate_ctx *ctx, void *arg) {
    restate_future *call = restate_call_async(ctx, to("Approvals", "approve", NULL),
                                              restate_json(ctx, "{'what': 'a holiday'}"), NULL);
    restate_bytes v;
    (void)arg;
    RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(30)));
    RESTATE_TRY(restate_resolve(ctx, awakeable, restate_json(ctx, "{'approved': true}")));
    RESTATE_TRY(restate_await(ctx, call, &v));
    return restate_reply(ctx, v);
}

static restate_status reports(restate_ctx *ctx, void *arg) {
    restate_bytes v;
    (void)arg;
    RESTATE_TRY(restate_call(ctx, to("Cron", "start", "c"),
                             restate_json(ctx, "{'everyMillis': 1000}"), NULL, NULL));
    RESTATE_TRY(restate_sleep(ctx, 3500));
    RESTATE_TRY(restate_call(ctx, to("Cron", "status", "c"), nothing, NULL, &v));
    RESTATE_TRY(restate_call(ctx, to("Cron", "stop", "c"), nothing, NULL, NULL));
    RESTATE_TRY(restate_sleep(ctx, 5000));
    return restate_reply(ctx, v);
}

static restate_status greets(restate_ctx *ctx, void *arg) {
    restate_bytes v;
    (void)arg;
    RESTATE_TRY(restate_call(ctx, to("Greeter", "greet", NULL), restate_json(ctx, "{'name': 'Ada'}"),
                             NULL, &v));
    return restate_reply(ctx, v);
}

static restate_status fans_out(restate_ctx *ctx, void *arg) {
    restate_bytes v;
    (void)arg;
    RESTATE_TRY(restate_call(ctx, to("FanOut", "process", NULL),
                             restate_json(ctx, "['one', 'two three']"), NULL, &v));
    return restate_reply(ctx, v);
}

static restate_status prices(restate_ctx *ctx, void *arg) {
    restate_bytes a, b;
    (void)arg;
    RESTATE_TRY(restate_call(ctx, to("Quotes", "quote", NULL), restate_json(ctx, "{'item': 50}"),
                             NULL, &a));
    restate_status s = restate_call(ctx, to("Quotes", "quote", NULL),
                                    restate_json(ctx, "{'item': 700}"), NULL, &b);
    if (s != RESTATE_TERMINAL) return restate_fail(ctx, 500, "it has a price");
    return restate_reply(ctx, a);
}

static restate_status adds(restate_ctx *ctx, void *arg) {
    restate_bytes v;
    (void)arg;
    for (int i = 0; i < 3; i++)
        RESTATE_TRY(restate_call(ctx, to("Counter", "add", "c"), restate_str("5"), NULL, &v));
    return restate_reply(ctx, v);
}

/* No fault with an example, and what it replies. */
static void explores(restate_test_fn *test, uint32_t at_least) {
    restate_test_options o = options();
    uint32_t runs = 0;
    restate_explore_options how = { .pairs = true, .runs = &runs };
    o.run = fake;
    CHECK_INT(restate_test_explore(&o, test, NULL, &how), RESTATE_OK);
    CHECK_STR(report, "");
    CHECK(runs >= at_least);
    if (runs < at_least) printf("  %u runs\n", (unsigned)runs);
}

TEST(saga) { explores(trip, 1000); }
TEST(sign_up_) { explores(sign, 200); }
TEST(tickets) { explores(buy_tickets, 1000); }
TEST(approval) { explores(approve_it, 200); }
TEST(cron_) { explores(reports, 500); }
TEST(greeter_) { explores(greets, 50); }
TEST(fan_out) { explores(fans_out, 200); }
TEST(first_of) { explores(prices, 200); }
TEST(counter_) { explores(adds, 200); }

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(an_idempotent_payment_passes), T(the_missing_key_is_found), T(the_counter_is_found),
        T(the_clock_is_found), T(state_that_is_written_too_early_is_found),
        T(an_invocation_that_nobody_finishes_is_found), T(chance_is_found),
        T(an_order_by_address_is_found), T(an_id_that_is_kept_is_found), T(an_effect_beside_closures_is_found),
        T(patches_are_no_fault), T(closures_are_told_to_stop),
        T(a_test_that_does_not_pass), T(one_run_is_repeated), T(runs_are_bounded), T(every_allocation_may_fail),
        T(saga), T(sign_up_), T(tickets), T(approval), T(cron_), T(greeter_), T(fan_out),
        T(first_of), T(counter_), {0}
    };
    endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&wrong, &trips, &flights, &cars, &hotels, &workflow, &carts, &seats,
                                     &checkout, &approvals, &cron, &report_service, &greeter, &fan,
                                     &translator, &quotes, &pricing, &counter),
        .logger.level = RESTATE_LOG_OFF });
    int failed = test_main(argc, argv, cases);
    restate_endpoint_free(endpoint);
    return failed;
}
