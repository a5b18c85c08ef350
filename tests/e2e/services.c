/* The services that the end-to-end tests (e2e.c) invoke, beside the examples.
 *
 * PORT (9080) and THREADS (all cores) come from the environment. TRACE names a file that steps
 * of Worker append a line to, each time they execute. SIGTERM stops the endpoint and the program then
 * ends with status 0, so that leak checkers have their say. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- Tally: a number per key ------------------------------------------------------------------ */

static restate_status read_number(restate_ctx *ctx, const char *key, long long *number) {
    restate_bytes stored;
    *number = 0;
    RESTATE_TRY(restate_get(ctx, key, &stored));
    return restate_json_int(ctx, stored, NULL, number);
}

/* Adds to the state value `key`, and tells the sum. */
static restate_status add_number(restate_ctx *ctx, const char *key, long long amount, long long *sum) {
    RESTATE_TRY(read_number(ctx, key, sum));
    *sum += amount;
    return restate_set(ctx, key, restate_json(ctx, "%lld", *sum));
}

static restate_status tally_add(restate_ctx *ctx, restate_bytes input) {
    long long amount = 0, sum;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &amount));
    RESTATE_TRY(add_number(ctx, "sum", amount, &sum));
    return restate_reply(ctx, restate_json(ctx, "%lld", sum));
}

static restate_status tally_get(restate_ctx *ctx, restate_bytes input) {
    long long sum;
    (void)input;
    RESTATE_TRY(read_number(ctx, "sum", &sum));
    return restate_reply(ctx, restate_json(ctx, "%lld", sum));
}

/* ---- Order -> Pricing -> Tally: a chain of calls ------------------------------------------------ */

static restate_status reserve(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_str("7"));
}

/* {"amount": n} -> {"customer": key, "reserved": 7, "total": twice what the customer ordered so far} */
static restate_status order_place(restate_ctx *ctx, restate_bytes input) {
    const restate_target pricing = { .service = "Pricing", .handler = "quote" };
    const char *customer = restate_key(ctx);
    restate_bytes reserved, quote;
    long long amount = 0, seats = 0, total = 0;
    RESTATE_TRY(restate_json_int(ctx, input, "amount", &amount));
    RESTATE_TRY(restate_run(ctx, "reserve", reserve, NULL, NULL, &reserved));
    RESTATE_TRY(restate_json_int(ctx, reserved, NULL, &seats));
    RESTATE_TRY(restate_call(ctx, pricing,
        restate_json(ctx, "{'customer': %s, 'amount': %lld}", customer, amount), NULL, &quote));
    RESTATE_TRY(restate_json_int(ctx, quote, "total", &total));
    RESTATE_TRY(restate_set(ctx, "total", restate_json(ctx, "%lld", total)));
    return restate_reply(ctx, restate_json(ctx, "{'customer': %s, 'reserved': %lld, 'total': %lld}",
                                           customer, seats, total));
}

static restate_status pricing_quote(restate_ctx *ctx, restate_bytes input) {
    restate_target tally = { .service = "Tally", .handler = "add" };
    restate_bytes sum;
    long long amount = 0, total = 0;
    RESTATE_TRY(restate_json_string(ctx, input, "customer", &tally.key));
    RESTATE_TRY(restate_json_int(ctx, input, "amount", &amount));
    if (amount < 0) return restate_fail(ctx, 422, "no order of %lld", amount);
    RESTATE_TRY(restate_call(ctx, tally, restate_json(ctx, "%lld", amount), NULL, &sum));
    RESTATE_TRY(restate_json_int(ctx, sum, NULL, &total));
    return restate_reply(ctx, restate_json(ctx, "{'total': %lld}", 2 * total));
}

/* ---- Later: a delayed one-way call --------------------------------------------------------------- */

/* {"key": k, "delayMillis": n}: adds 1 to Tally k after n ms; replies with the invocation's id. */
static restate_status later_add(restate_ctx *ctx, restate_bytes input) {
    restate_target tally = { .service = "Tally", .handler = "add" };
    restate_call_options options = { 0 };
    const char *id = "";
    long long delay = 0;
    RESTATE_TRY(restate_json_string(ctx, input, "key", &tally.key));
    RESTATE_TRY(restate_json_int(ctx, input, "delayMillis", &delay));
    options.delay_ms = (uint64_t)delay;
    RESTATE_TRY(restate_call_id(ctx, restate_send(ctx, tally, restate_str("1"), &options), &id));
    return restate_reply(ctx, restate_json(ctx, "%s", id));
}

/* ---- Gate: waits for somebody ------------------------------------------------------------------- */

static restate_status gate_wait(restate_ctx *ctx, restate_bytes input) {
    const char *id;
    restate_bytes answer;
    restate_future *opened = restate_awakeable(ctx, &id);
    (void)input;
    RESTATE_TRY(restate_set(ctx, "awakeable", restate_json(ctx, "%s", id)));
    RESTATE_TRY(restate_await(ctx, opened, &answer));
    RESTATE_TRY(restate_clear(ctx, "awakeable"));
    return restate_reply(ctx, answer);
}

/* ---- Worker: many recorded steps, and steps that fail -------------------------------------------- */

typedef struct step {
    const char *key;
    long long number;
} step;

static restate_status execute_step(restate_ctx *run, void *arg) {
    const step *s = (const step *)arg;
    const char *path = getenv("TRACE");
    FILE *trace = path ? fopen(path, "a") : NULL;
    if (path && !trace) return restate_retry(run, NULL, "cannot open %s", path);
    if (trace) {
        fprintf(trace, "%s %lld\n", s->key, s->number);
        fclose(trace);
    }
    return restate_reply(run, restate_json(run, "%lld", s->number));
}

/* {"steps": n, "pauseMillis": m} -> n, counted in the state */
static restate_status worker_work(restate_ctx *ctx, restate_bytes input) {
    step s = { restate_key(ctx), 0 };
    long long steps = 0, pause = 0, done = 0;
    RESTATE_TRY(restate_json_int(ctx, input, "steps", &steps));
    RESTATE_TRY(restate_json_int(ctx, input, "pauseMillis", &pause));
    for (s.number = 0; s.number < steps; s.number++) {
        restate_bytes result;
        long long recorded = -1;
        RESTATE_TRY(restate_run(ctx, restate_text(ctx, "step-%lld", s.number), execute_step, &s, NULL, &result));
        RESTATE_TRY(restate_json_int(ctx, result, NULL, &recorded));
        if (recorded != s.number) return restate_fail(ctx, 500, "step %lld gave %lld", s.number, recorded);
        RESTATE_TRY(add_number(ctx, "done", 1, &done));
        if (pause > 0) RESTATE_TRY(restate_sleep(ctx, (uint64_t)pause));
    }
    return restate_reply(ctx, restate_json(ctx, "%lld", done));
}

static long long flaky_tries;               /* of all invocations: atomic */

static restate_status fail_at_first(restate_ctx *run, void *arg) {
    const long long *failures = (const long long *)arg;
    long long tries = __atomic_add_fetch(&flaky_tries, 1, __ATOMIC_RELAXED);
    if (tries <= *failures) return restate_retry(run, NULL, "try %lld", tries);
    __atomic_store_n(&flaky_tries, 0, __ATOMIC_RELAXED);
    return restate_reply(run, restate_json(run, "%lld", tries));
}

/* n -> n + 1, after a step that failed n times */
static restate_status worker_flaky(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options soon = { .retry = { .initial_interval_ms = 10, .factor = 1 } };
    restate_bytes result;
    long long failures = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &failures));
    RESTATE_TRY(restate_run(ctx, "flaky", fail_at_first, &failures, &soon, &result));
    return restate_reply(ctx, result);
}

/* n -> the failure of a step that may be tried n times and never succeeds */
static restate_status give_up(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_retry(run, NULL, "still raining");
}

static restate_status worker_hopeless(restate_ctx *ctx, restate_bytes input) {
    restate_run_options few = { .retry = { .initial_interval_ms = 10 } };
    long long tries = 1;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &tries));
    few.retry.max_attempts = (uint32_t)tries;
    return restate_run(ctx, "hopeless", give_up, NULL, &few, NULL);
}

/* ---- Load: the least, many times ------------------------------------------------------------------- */

static restate_status load_next(restate_ctx *ctx, restate_bytes input) {
    long long number = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &number));
    return restate_reply(ctx, restate_json(ctx, "%lld", number + 1));
}

static restate_status next_number(restate_ctx *run, void *arg) {
    return restate_reply(run, restate_json(run, "%lld", *(const long long *)arg + 1));
}

/* The same in a step. */
static restate_status load_step(restate_ctx *ctx, restate_bytes input) {
    restate_bytes result;
    long long number = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &number));
    RESTATE_TRY(restate_run(ctx, "next", next_number, &number, NULL, &result));
    return restate_reply(ctx, result);
}

static restate_status load_nap(restate_ctx *ctx, restate_bytes input) {
    long long ms = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &ms));
    RESTATE_TRY(restate_sleep(ctx, (uint64_t)ms));
    return restate_reply(ctx, input);
}

/* ---- Block: a handler that blocks its thread ------------------------------------------------------ */

static void block(long long ms) {
    struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
    nanosleep(&t, NULL);
}

static restate_status block_nap(restate_ctx *ctx, restate_bytes input) {
    restate_bytes result;
    long long ms = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &ms));
    block(ms);
    RESTATE_TRY(restate_run(ctx, "next", next_number, &ms, NULL, &result));
    RESTATE_TRY(restate_sleep(ctx, 10));
    block(ms);
    return restate_reply(ctx, result);
}

/* ---- The endpoint ----------------------------------------------------------------------------------- */

static const restate_service tally = { .name = "Tally", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "add", .fn = tally_add },
    { .name = "get", .fn = tally_get, .shared = true, .input = RESTATE_VOID }) };
static const restate_service order = { .name = "Order", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "place", .fn = order_place }) };
static const restate_service pricing = { .name = "Pricing", .handlers = RESTATE_HANDLERS(
    { .name = "quote", .fn = pricing_quote }) };
static const restate_service later = { .name = "Later", .handlers = RESTATE_HANDLERS(
    { .name = "add", .fn = later_add }) };
static const restate_service gate = { .name = "Gate", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "wait", .fn = gate_wait, .input = RESTATE_VOID }) };
static const restate_service worker = { .name = "Worker", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "work", .fn = worker_work },
    { .name = "flaky", .fn = worker_flaky },
    { .name = "hopeless", .fn = worker_hopeless }) };
static const restate_service load = { .name = "Load", .handlers = RESTATE_HANDLERS(
    { .name = "next", .fn = load_next },
    { .name = "step", .fn = load_step },
    { .name = "nap", .fn = load_nap }) };

static const restate_service blocking = { .name = "Block", .handlers = RESTATE_HANDLERS(
    { .name = "nap", .fn = block_nap, .options = { .blocking = RESTATE_ON } }) };

static restate_endpoint *endpoint;                  /* for the signal handler */

static void on_term(int number) {
    (void)number;
    restate_endpoint_stop(endpoint);
}

static unsigned long from_env(const char *variable, unsigned long otherwise) {
    const char *text = getenv(variable);
    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

int main(void) {
    endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&tally, &order, &pricing, &later, &gate, &worker, &load, &blocking),
        .address = "127.0.0.1",
        .port = (uint16_t)from_env("PORT", 9080),
        .threads = (uint32_t)from_env("THREADS", 0),
        .drain_ms = 2000 });
    signal(SIGTERM, on_term);
    int failed = restate_endpoint_run(endpoint) != RESTATE_OK;
    if (failed) fprintf(stderr, "e2e-services: %s\n", restate_endpoint_error(endpoint));
    restate_endpoint_free(endpoint);
    return failed;
}
