/* Unit tests of a service without a server: virtual time, seeded state, a golden journal.
 *
 *     make build/examples/test_seats && build/examples/test_seats
 *
 * RESTATE_WITH_TEST puts a Restate server into the program: in memory, with a clock of its own, on one
 * thread. The handlers run as they do in production, with journal, replay and suspension; which of
 * them goes on when, the seed says. In a project the service is in a file of its own, which the
 * program and this one include. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_WITH_TEST
#include "restate.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- The service: a seat is held for 15 minutes, then it is free again ----------------------- */

static restate_status mail_desk(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_retry(run, NULL, "no mail server in this example");
}

static restate_status hold(restate_ctx *ctx, restate_bytes input) {
    restate_target self = { .service = "Seats", .handler = "expire", .key = restate_key(ctx) };
    restate_bytes holder;
    RESTATE_TRY(restate_get(ctx, "holder", &holder));
    if (holder.ptr) return restate_fail(ctx, 409, "held by %.*s", (int)holder.len,
                                        (const char *)holder.ptr);
    RESTATE_TRY(restate_set(ctx, "holder", input));
    RESTATE_TRY(restate_run(ctx, "mail", mail_desk, NULL, NULL, NULL));
    restate_send(ctx, self, (restate_bytes){0},
                 &(restate_call_options){ .delay_ms = RESTATE_MINUTES(15) });
    return restate_reply(ctx, restate_json(ctx, "true"));
}

static restate_status expire(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_clear(ctx, "holder");
}

static restate_status pay(restate_ctx *ctx, restate_bytes input) {
    restate_future *paid;
    const char *id;
    (void)input;
    paid = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_set(ctx, "awaiting", restate_json(ctx, "%s", id)));
    return restate_await_for(ctx, paid, RESTATE_DAYS(30), NULL);
}

static const restate_service seats = { "Seats", RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(hold) },
    { RESTATE_HANDLER(expire), .input = RESTATE_VOID, .output = RESTATE_VOID },
    { RESTATE_HANDLER(pay), .input = RESTATE_VOID, .output = RESTATE_VOID }) };

/* ---- The tests ------------------------------------------------------------------------------- */

typedef struct post { int tried, sent; } post;

/* In place of the closures: the mail server is down twice. The retries wait in virtual time. */
static restate_status fake(void *user, restate_ctx *run, const char *name,
                           restate_closure *closure, void *arg) {
    post *p = user;
    if (strcmp(name, "mail") != 0) return closure(run, arg);
    if (++p->tried <= 2) return restate_retry(run, NULL, "down");
    p->sent++;
    return restate_reply(run, restate_json(run, "null"));
}

static restate_target seat(const char *handler) {
    return (restate_target){ .service = "Seats", .handler = handler, .key = "A1" };
}

static restate_status held_for_15_minutes(restate_ctx *ctx) {
    restate_bytes v;
    RESTATE_TRY(restate_call(ctx, seat("hold"), restate_json(ctx, "'ada'"), NULL, NULL));
    assert(restate_call(ctx, seat("hold"), restate_json(ctx, "'bob'"), NULL, NULL) ==
           RESTATE_TERMINAL);
    assert(restate_failed(ctx)->code == 409);
    RESTATE_TRY(restate_sleep(ctx, RESTATE_MINUTES(20)));       /* takes no time */
    restate_client_at(ctx, seat(NULL));
    RESTATE_TRY(restate_get(ctx, "holder", &v));
    assert(!v.ptr);
    return restate_call(ctx, seat("hold"), restate_json(ctx, "'bob'"), NULL, NULL);
}

static restate_status state_can_be_seeded(restate_ctx *ctx) {
    const char *journal, *id;
    restate_future *call;
    restate_bytes raw;
    restate_client_at(ctx, seat(NULL));
    RESTATE_TRY(restate_set(ctx, "holder", restate_json(ctx, "'eve'")));
    call = restate_call_async(ctx, seat("hold"), restate_json(ctx, "'ada'"), NULL);
    assert(restate_await(ctx, call, NULL) == RESTATE_TERMINAL);
    RESTATE_TRY(restate_call_id(ctx, call, &id));
    RESTATE_TRY(restate_client_journal(ctx, (restate_invocation){ .id = id }, &raw));
    journal = strchr(restate_journal_text(ctx, raw), '\n');     /* without the line of the id */
    assert(journal && strcmp(journal,
        "\n  0 input \"ada\""
        "\n  1 get state \"holder\" -> \"eve\""
        "\n  2 output failure 409 \"held by \\\"eve\\\"\"\n") == 0);
    return RESTATE_OK;
}

static restate_status somebody_pays(restate_ctx *ctx) {
    const char *awakeable = "";
    restate_future *paying = restate_call_async(ctx, seat("pay"), (restate_bytes){0}, NULL);
    restate_bytes v;
    RESTATE_TRY(restate_sleep(ctx, RESTATE_DAYS(29)));
    restate_client_at(ctx, seat(NULL));
    RESTATE_TRY(restate_get(ctx, "awaiting", &v));
    RESTATE_TRY(restate_json_string(ctx, v, NULL, &awakeable));
    RESTATE_TRY(restate_resolve(ctx, awakeable, (restate_bytes){0}));
    return restate_await(ctx, paying, NULL);
}

static restate_status cancelled_while_it_waits(restate_ctx *ctx) {
    restate_future *sent = restate_send(ctx, seat("pay"), (restate_bytes){0}, NULL);
    const char *id;
    RESTATE_TRY(restate_call_id(ctx, sent, &id));
    RESTATE_TRY(restate_sleep(ctx, 1));
    RESTATE_TRY(restate_cancel(ctx, id));
    assert(restate_attach(ctx, (restate_invocation){ .id = id }, NULL) == RESTATE_TERMINAL);
    assert(restate_failed(ctx)->code == 409);
    return RESTATE_OK;
}

static int test(const char *name, restate_endpoint *endpoint, restate_test_fn *fn, uint64_t seed) {
    post p = { 0, 0 };
    restate_client *runtime = restate_test_new(&(restate_test_options){
        .endpoint = endpoint, .seed = seed, .run = fake, .user = &p,
        .logger = { .level = RESTATE_LOG_ERROR } });    /* the mail server is down on purpose */
    restate_ctx *ctx = restate_client_begin(runtime);
    restate_status s = fn(ctx, NULL);
    if (s != RESTATE_OK)
        printf("not ok %s, seed %llu: %s\n%s", name, (unsigned long long)seed,
               restate_failed(ctx)->message, restate_test_text(ctx));
    restate_client_free(runtime);
    return s != RESTATE_OK;
}

#define TEST(name) \
    static restate_status test_##name(restate_ctx *ctx, void *arg) { (void)arg; return name(ctx); }
TEST(held_for_15_minutes)
TEST(state_can_be_seeded)
TEST(somebody_pays)
TEST(cancelled_while_it_waits)

int main(void) {
    restate_endpoint *endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&seats) });
    uint64_t seed;
    int failed = 0;
    for (seed = 0; seed < 100; seed++) {    /* 100 orders, ways to suspend, and of sending state */
        failed += test("held_for_15_minutes", endpoint, test_held_for_15_minutes, seed);
        failed += test("state_can_be_seeded", endpoint, test_state_can_be_seeded, seed);
        failed += test("somebody_pays", endpoint, test_somebody_pays, seed);
        failed += test("cancelled_while_it_waits", endpoint, test_cancelled_while_it_waits, seed);
    }
    restate_endpoint_free(endpoint);
    printf("%d of 400 tests failed\n", failed);
    return failed != 0;
}
