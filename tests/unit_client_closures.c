/* Section >>client: closures of runs that have a client of their own, on the threads of the pool, several at a time;
 * the server that they call is another thread. */
/* Has threads: runs with ThreadSanitizer, too. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#include "tools.h"
#include "restate.h"
#include <poll.h>
#include "support/closure.c"
#include "support/caller.c"

enum { CLOSURES = 4, CALLS = 10 };

static int right_ones;                          /* closures whose calls all came out right */

/* Calls one after another and all at a time, then a service that is not there. */
static restate_status calls_out(restate_ctx *run, void *arg) {
    const ingress *in = arg;
    restate_client *client = client_of(in);
    restate_ctx *ctx = restate_client_begin(client);
    restate_future *calls[CALLS];
    int right = 0;
    restate_bytes v;
    for (int i = 0; i < CALLS; i++) {
        restate_status s = restate_call(ctx, to("echo"), restate_json(ctx, "%d", i), &once, &v);
        right += s == RESTATE_OK && v.len == 1 && v.ptr[0] == '0' + i;
    }
    for (int i = 0; i < CALLS; i++) calls[i] = restate_call_async(ctx, to("echo"), restate_json(ctx, "%d", i), NULL);
    for (int i = 0; i < CALLS; i++)
        right += restate_await(ctx, calls[i], &v) == RESTATE_OK && v.len == 1 && v.ptr[0] == '0' + i;
    right += strcmp(called(ctx, "refuse", NULL), "error(404 no such service)") == 0;
    restate_client_free(client);
    __atomic_add_fetch(&right_ones, right == 2 * CALLS + 1, __ATOMIC_SEQ_CST);
    return restate_reply(run, restate_json(run, "%d", right));
}

static ingress *server;

static restate_status runs_clients(restate_ctx *ctx, restate_bytes input) {
    restate_future *f[CLOSURES];
    restate_bytes v;
    (void)input;
    for (int i = 0; i < CLOSURES; i++) f[i] = restate_run_async(ctx, "calls", calls_out, server, NULL);
    for (int i = 0; i < CLOSURES; i++) {
        RESTATE_TRY(restate_await(ctx, f[i], &v));
        tell("%.*s ", (int)v.len, (const char *)v.ptr);
    }
    return RESTATE_OK;
}

TEST(in_the_pool) {
    server = calloc(1, sizeof *server);
    ingress_begin(server);
    ex.pool_threads = CLOSURES;
    EACH(RESTATE_SERVICE, .fn = runs_clients) {
        unsigned before = ingress_count(server, &server->connections);
        right_ones = 0;
        start(1); input("x"); ex_feed();
        settle();
        CHECK(!ex.x->finished);
        for (unsigned i = 1; i <= CLOSURES; i++) run_stored(i, "21"), give();
        CHECK(ex.x->finished);
        TOLD("21 21 21 21 ");
        CHECK_INT(__atomic_load_n(&right_ones, __ATOMIC_SEQ_CST), CLOSURES);
        CHECK_INT(ingress_count(server, &server->connections) - before, CLOSURES);
        drop_said();
    }
    ex.pool_threads = 0;
    ingress_stop(server);
    free(server);
}

int main(int argc, char **argv) {
    static const test_case cases[] = { T(in_the_pool), { NULL, NULL } };
    return test_main(argc, argv, cases);
}
