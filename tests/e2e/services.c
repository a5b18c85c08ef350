/* The services that the end-to-end tests (e2e.c) invoke, beside the examples.
 *
 * PORT (9080), THREADS (all cores), and KINDS_CHANGE (0), which changes the code of Kinds, come from the environment. TRACE names a file that steps
 * of Worker append a line to, each time they execute. SIGTERM stops the endpoint and the program then
 * ends with status 0, so that leak checkers have their say. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "support/check.c"
#include "support/kinds.c"

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
    const char *id, *by = "nobody";         /* stays, if the answer is empty */
    restate_bytes answer;
    restate_future *opened = restate_awakeable(ctx, &id);
    (void)input;
    RESTATE_TRY(restate_set(ctx, "awakeable", restate_json(ctx, "%s", id)));
    RESTATE_TRY(restate_await(ctx, opened, &answer));
    RESTATE_TRY(restate_clear(ctx, "awakeable"));
    RESTATE_TRY(restate_json_string(ctx, answer, "by", &by));
    if (!answer.len && strcmp(by, "nobody") != 0) return restate_fail(ctx, 500, "opened by %s", by);
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

static int inside, meetings;                /* atomic: handlers that wait for others; how often enough were there */

/* Returns when so many are there at the same time, or, not to be in the way of other tests, after a minute. */
static restate_status block_meet(restate_ctx *ctx, restate_bytes input) {
    long long count = 0;
    int before = __atomic_load_n(&meetings, __ATOMIC_SEQ_CST), met = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &count));
    if (__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) >= count) __atomic_add_fetch(&meetings, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 60000 && !met; i++) {
        met = __atomic_load_n(&meetings, __ATOMIC_SEQ_CST) != before;
        if (!met) block(1);
    }
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    return restate_reply(ctx, restate_json(ctx, "%d", met ? (int)count : 0));
}

/* ---- Flow: a workflow that waits for a promise --------------------------------------------------- */

static restate_status flow_run(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_await(ctx, restate_promise(ctx, "go"), &value));
    return restate_reply(ctx, restate_json(ctx, "{'went': %-s}", (const char *)value.ptr));
}

static restate_status flow_peek(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_promise_peek(ctx, "go", &value));
    return restate_reply(ctx, value.ptr ? value : restate_json(ctx, "'not yet'"));
}

static restate_status flow_resolve(restate_ctx *ctx, restate_bytes input) {
    return restate_promise_resolve(ctx, "go", input);
}

/* The input is the message of the failure. */
static restate_status flow_reject(restate_ctx *ctx, restate_bytes input) {
    restate_failure why = { .code = 418 };
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &why.message));
    return restate_promise_reject(ctx, "go", &why);
}

/* ---- Ear: listens to signals --------------------------------------------------------------------- */

/* n -> what came with the signal "begin" and n signals "word" */
static restate_status ear_listen(restate_ctx *ctx, restate_bytes input) {
    long long words = 0;
    const char *heard;
    restate_bytes value;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &words));
    RESTATE_TRY(restate_await(ctx, restate_signal(ctx, "begin"), &value));
    heard = restate_text(ctx, "%.*s", (int)value.len, (const char *)value.ptr);
    for (; words > 0; words--) {
        restate_status s = restate_await(ctx, restate_signal(ctx, "word"), &value);
        if (s == RESTATE_TERMINAL) {
            heard = restate_text(ctx, "%s, %d %s", heard, restate_failed(ctx)->code, restate_failed(ctx)->message);
            continue;
        }
        RESTATE_TRY(s);
        heard = restate_text(ctx, "%s, %.*s", heard, (int)value.len, (const char *)value.ptr);
    }
    return restate_reply(ctx, restate_json(ctx, "%s", heard));
}

/* {"id", "name", "value": anything} or {"id", "name", "failure": message} */
static restate_status ear_tell(restate_ctx *ctx, restate_bytes input) {
    const char *id = "", *name = "";
    restate_failure failure = { .code = 406 };
    restate_bytes value;
    RESTATE_TRY(restate_json_string(ctx, input, "id", &id));
    RESTATE_TRY(restate_json_string(ctx, input, "name", &name));
    RESTATE_TRY(restate_json_string(ctx, input, "failure", &failure.message));
    RESTATE_TRY(restate_json_member(ctx, input, "value", &value));
    if (failure.message) return restate_signal_reject(ctx, id, name, &failure);
    return restate_signal_resolve(ctx, id, name, value);
}

/* ---- Desk: asks for the results of invocations --------------------------------------------------- */

/* {"idempotencyKey", "millis"}: starts Load.nap, or, with "tally": key, Tally.add; replies with the id */
static restate_status desk_start(restate_ctx *ctx, restate_bytes input) {
    restate_target nap = { .service = "Load", .handler = "nap" };
    restate_call_options options = { 0 };
    const char *id;
    long long ms = 0;
    RESTATE_TRY(restate_json_string(ctx, input, "tally", &nap.key));
    if (nap.key) nap.service = "Tally", nap.handler = "add";
    RESTATE_TRY(restate_json_string(ctx, input, "idempotencyKey", &options.idempotency_key));
    RESTATE_TRY(restate_json_int(ctx, input, "millis", &ms));
    RESTATE_TRY(restate_call_id(ctx, restate_send(ctx, nap, restate_json(ctx, "%lld", ms), &options), &id));
    return restate_reply(ctx, restate_json(ctx, "%s", id));
}

/* What to ask for: {"id"}, {"flow": key}, {"idempotencyKey"} or {"tally": key, "idempotencyKey"} */
static restate_status read_invocation(restate_ctx *ctx, restate_bytes input, restate_invocation *of) {
    const char *tally = NULL;
    *of = (restate_invocation){ 0 };
    RESTATE_TRY(restate_json_string(ctx, input, "id", &of->id));
    RESTATE_TRY(restate_json_string(ctx, input, "flow", &of->target.key));
    RESTATE_TRY(restate_json_string(ctx, input, "idempotencyKey", &of->idempotency_key));
    if (of->target.key) of->target.service = "Flow";
    if (of->idempotency_key) of->target = (restate_target){ .service = "Load", .handler = "nap" };
    RESTATE_TRY(restate_json_string(ctx, input, "tally", &tally));
    if (tally) of->target = (restate_target){ .service = "Tally", .handler = "add", .key = tally };
    return RESTATE_OK;
}

static restate_status desk_attach(restate_ctx *ctx, restate_bytes input) {
    restate_invocation to;
    restate_bytes reply;
    RESTATE_TRY(read_invocation(ctx, input, &to));
    RESTATE_TRY(restate_attach(ctx, to, &reply));
    return restate_reply(ctx, reply);
}

/* As a future. {"waitMillis": n} -> the result, or "still busy" */
static restate_status desk_attach_for(restate_ctx *ctx, restate_bytes input) {
    restate_invocation to;
    restate_bytes reply;
    restate_status s;
    long long ms = 0;
    RESTATE_TRY(restate_json_int(ctx, input, "waitMillis", &ms));
    RESTATE_TRY(read_invocation(ctx, input, &to));
    s = restate_await_for(ctx, restate_attach_async(ctx, to), (uint64_t)ms, &reply);
    if (s == RESTATE_TIMEOUT) return restate_reply(ctx, restate_json(ctx, "'still busy'"));
    RESTATE_TRY(s);
    return restate_reply(ctx, reply);
}

static restate_status desk_output(restate_ctx *ctx, restate_bytes input) {
    restate_invocation of;
    restate_bytes reply;
    RESTATE_TRY(read_invocation(ctx, input, &of));
    RESTATE_TRY(restate_output(ctx, of, &reply));
    return restate_reply(ctx, reply.ptr ? reply : restate_json(ctx, "'not yet'"));
}

/* ---- Many: futures in numbers ----------------------------------------------------------------------- */

/* The first attempt that gets here fails. */
static restate_status fail_once(restate_ctx *ctx) {
    if (restate_request(ctx)->retry_count > 0) return RESTATE_OK;
    return restate_retry(ctx, NULL, "once more");
}

static restate_status echo_number(restate_ctx *run, void *arg) {
    return restate_reply(run, restate_json(run, "%lld", *(const long long *)arg));
}

static restate_status echo_text(restate_ctx *run, void *arg) {
    return restate_reply(run, restate_json(run, "%s", *(const char **)arg));
}

/* n -> the order in which n timers, steps, calls and awakeables settled, which has to be the same
 * in the attempt after. */
static restate_status many_order(restate_ctx *ctx, restate_bytes input) {
    const restate_target nap = { .service = "Load", .handler = "nap" };
    const restate_run_options copied = { .arg_bytes = sizeof(long long) };
    long long count = 0, i;
    restate_future **futures;
    restate_selector *left;
    const char *order = "", *recorded = "", *id;
    restate_bytes value;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &count));
    futures = restate_alloc(ctx, (size_t)count * sizeof *futures);
    if (!futures) return RESTATE_ENDED;
    for (i = 0; i < count; i++) {
        uint64_t ms = restate_random(ctx) % 100;
        switch (i % 5) {
        case 0: futures[i] = restate_sleep_async(ctx, ms, NULL); break;
        case 1: futures[i] = restate_run_async(ctx, "echo", echo_number, &i, &copied); break;
        case 2: futures[i] = restate_call_async(ctx, nap, restate_json(ctx, "%llu", (unsigned long long)ms), NULL); break;
        case 3:
            futures[i] = restate_awakeable(ctx, &id);
            RESTATE_TRY(restate_resolve(ctx, id, restate_json(ctx, "%lld", i)));
            break;
        default: futures[i] = restate_settled(ctx, restate_json(ctx, "%lld", i), NULL);
        }
    }
    left = restate_selector_new(ctx, futures, (size_t)count);
    while (restate_selector_remaining(left) > 0) {
        size_t which;
        long long number = -1;
        RESTATE_TRY(restate_selector_next(ctx, left, &which));
        if (!restate_is_done(futures[which])) return restate_fail(ctx, 500, "%zu is not done", which);
        RESTATE_TRY(restate_await(ctx, futures[which], &value));
        order = restate_text(ctx, "%s%zu ", order, which);
        if (which % 5 == 0 || which % 5 == 2) continue;
        RESTATE_TRY(restate_json_int(ctx, value, NULL, &number));
        if (number != (long long)which) return restate_fail(ctx, 500, "%zu gave %lld", which, number);
    }
    RESTATE_TRY(restate_run(ctx, "order", echo_text, &order, NULL, &value));
    RESTATE_TRY(fail_once(ctx));
    RESTATE_TRY(restate_json_string(ctx, value, NULL, &recorded));
    if (strcmp(order, recorded) != 0) return restate_fail(ctx, 500, "now %s", order);
    return restate_reply(ctx, value);
}

/* {"count", "millis"} -> count, after so many timers at the same time */
static restate_status many_sleeps(restate_ctx *ctx, restate_bytes input) {
    long long count = 0, ms = 0, i;
    restate_future **timers;
    RESTATE_TRY(restate_json_int(ctx, input, "count", &count));
    RESTATE_TRY(restate_json_int(ctx, input, "millis", &ms));
    timers = restate_alloc(ctx, (size_t)count * sizeof *timers);
    if (!timers) return RESTATE_ENDED;
    for (i = 0; i < count; i++) timers[i] = restate_sleep_async(ctx, (uint64_t)(ms + i % 50), NULL);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, timers, (size_t)count), NULL));
    return restate_reply(ctx, restate_json(ctx, "%lld", count));
}

/* n -> n, by as many calls, each made by the one before */
static restate_status many_deep(restate_ctx *ctx, restate_bytes input) {
    const restate_target self = { .service = "Many", .handler = "deep" };
    long long depth = 0, below = 0;
    restate_bytes reply;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &depth));
    if (depth == 0) return restate_reply(ctx, input);
    RESTATE_TRY(restate_call(ctx, self, restate_json(ctx, "%lld", depth - 1), NULL, &reply));
    RESTATE_TRY(restate_json_int(ctx, reply, NULL, &below));
    return restate_reply(ctx, restate_json(ctx, "%lld", below + 1));
}

/* ---- Small: one thing each ---------------------------------------------------------------------------- */

/* -> two times, of which the first is the same in every attempt */
static restate_status small_now(restate_ctx *ctx, restate_bytes input) {
    uint64_t first, then;
    long long number, recorded = 0;
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_now(ctx, &first));
    number = (long long)first;
    RESTATE_TRY(restate_run(ctx, "first", echo_number, &number, NULL, &value));
    RESTATE_TRY(restate_sleep(ctx, 30));
    RESTATE_TRY(fail_once(ctx));
    RESTATE_TRY(restate_now(ctx, &then));
    RESTATE_TRY(restate_json_int(ctx, value, NULL, &recorded));
    if (recorded != number) return restate_fail(ctx, 500, "%lld was %lld", number, recorded);
    return restate_reply(ctx, restate_json(ctx, "{'first': %lld, 'then': %lld}", number, (long long)then));
}

/* Futures that are settled already, alone and in combinators. */
static restate_status small_settled(restate_ctx *ctx, restate_bytes input) {
    const restate_failure no = { .code = 402, .message = "no" };
    restate_future *good = restate_settled(ctx, restate_str("\"yes\""), NULL);
    restate_future *bad = restate_settled(ctx, (restate_bytes){0}, &no);
    restate_future *late = restate_settled(ctx, restate_str("\"late\""), NULL);
    restate_future *both[] = { bad, good }, *later[] = { late, bad };
    restate_bytes value, any, race;
    restate_status s;
    (void)input;
    if (!restate_is_done(good) || !restate_is_done(bad)) return restate_fail(ctx, 500, "not done");
    RESTATE_TRY(restate_await(ctx, good, &value));
    RESTATE_TRY(restate_await(ctx, restate_any(ctx, both, 2), &any));
    RESTATE_TRY(restate_await(ctx, restate_all_settled(ctx, both, 2), NULL));
    s = restate_await(ctx, bad, NULL);
    if (s != RESTATE_TERMINAL) return s == RESTATE_OK ? restate_fail(ctx, 500, "no failure") : s;
    if (restate_await(ctx, restate_all(ctx, both, 2), NULL) != RESTATE_TERMINAL) return restate_fail(ctx, 500, "all");
    RESTATE_TRY(restate_await(ctx, restate_race(ctx, both, 2), &race));        /* good was settled first, then bad */
    if (restate_await(ctx, restate_race(ctx, later, 2), NULL) != RESTATE_TERMINAL) return restate_fail(ctx, 500, "race");
    return restate_reply(ctx, restate_json(ctx, "[%-s, %-s, %-s, %d, %s]", (const char *)value.ptr, (const char *)any.ptr,
                                           (const char *)race.ptr, restate_failed(ctx)->code, restate_failed(ctx)->message));
}

/* n -> how it went to wait n times for 40 ms for a call that takes 300, and then for as long as it takes */
static restate_status small_patience(restate_ctx *ctx, restate_bytes input) {
    const restate_target nap = { .service = "Load", .handler = "nap" };
    restate_future *slow = restate_call_async(ctx, nap, restate_str("300"), NULL);
    const char *story = "";
    restate_bytes value;
    long long tries = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &tries));
    for (; tries > 0; tries--) {
        restate_status s = restate_await_for(ctx, slow, 40, NULL);
        if (s != RESTATE_TIMEOUT) return s == RESTATE_OK ? restate_fail(ctx, 500, "too early") : s;
        story = restate_text(ctx, "%s%d ", story, restate_failed(ctx)->code);
    }
    RESTATE_TRY(restate_await(ctx, slow, &value));
    RESTATE_TRY(restate_await_for(ctx, slow, 40, &value));         /* settled: at once */
    return restate_reply(ctx, restate_json(ctx, "%s", restate_text(ctx, "%s%s", story, (const char *)value.ptr)));
}

/* Nobody comes: the timeout is the result. */
static restate_status small_impatience(restate_ctx *ctx, restate_bytes input) {
    const char *id;
    (void)input;
    return restate_await_for(ctx, restate_awakeable(ctx, &id), 20, NULL);
}

/* {"name"} -> the request header of that name */
static restate_status small_header(restate_ctx *ctx, restate_bytes input) {
    const restate_pair *h = restate_request(ctx)->headers;
    const char *name = "";
    RESTATE_TRY(restate_json_string(ctx, input, "name", &name));
    while (h->name && strcmp(h->name, name) != 0) h++;
    return restate_reply(ctx, restate_json(ctx, "%s", h->name ? h->value : NULL));
}

/* Fails with metadata. */
static restate_status small_fail(restate_ctx *ctx, restate_bytes input) {
    const restate_failure why = { .code = 451, .message = "not here", .metadata = RESTATE_PAIRS({ "law", "42" }, { "empty", "" }, { "god", "1" }) };
    (void)input;
    return restate_fail_with(ctx, &why);
}

/* -> what small_fail looks like to its caller */
static restate_status small_relay(restate_ctx *ctx, restate_bytes input) {
    const restate_target fails = { .service = "Small", .handler = "fail" };
    restate_status s = restate_call(ctx, fails, (restate_bytes){0}, NULL, NULL);
    const restate_failure *f = restate_failed(ctx);
    const char *list = "";
    (void)input;
    if (s != RESTATE_TERMINAL) return s;
    for (const restate_pair *m = f->metadata; m->name; m++) list = restate_text(ctx, "%s, %s=%s", list, m->name, m->value);
    return restate_reply(ctx, restate_json(ctx, "%s", restate_text(ctx, "%d %s%s", f->code, f->message, list)));
}

/* Fails an awakeable and a signal of its own, with metadata; the attempt after compares that. */
static restate_status small_reject(restate_ctx *ctx, restate_bytes input) {
    const restate_failure why = { .code = 403, .message = "no", .metadata = RESTATE_PAIRS({ "c", "1" }, { "a", "2" }, { "b", "3" }) };
    const char *id, *list = "";
    restate_future *two[] = { restate_awakeable(ctx, &id), restate_signal(ctx, "mine") };
    (void)input;
    RESTATE_TRY(restate_reject(ctx, id, &why));
    RESTATE_TRY(restate_signal_reject(ctx, restate_request(ctx)->invocation_id, "mine", &why));
    RESTATE_TRY(restate_sleep(ctx, 5));
    RESTATE_TRY(fail_once(ctx));
    for (int i = 0; i < 2; i++) {
        restate_status s = restate_await(ctx, two[i], NULL);
        if (s != RESTATE_TERMINAL) return s;
        for (const restate_pair *m = restate_failed(ctx)->metadata; m->name; m++) list = restate_text(ctx, "%s%s=%s ", list, m->name, m->value);
    }
    return restate_reply(ctx, restate_json(ctx, "%s", list));
}

/* Sends signals to itself: the second is there before it is asked for. */
static restate_status small_myself(restate_ctx *ctx, restate_bytes input) {
    const char *me = restate_request(ctx)->invocation_id;
    restate_future *first = restate_signal(ctx, "note"), *second;
    restate_bytes one, two;
    (void)input;
    RESTATE_TRY(restate_signal_resolve(ctx, me, "note", restate_str("1")));
    RESTATE_TRY(restate_signal_resolve(ctx, me, "note", restate_str("2")));
    RESTATE_TRY(restate_await(ctx, first, &one));
    second = restate_signal(ctx, "note");
    RESTATE_TRY(restate_await(ctx, second, &two));
    return restate_reply(ctx, restate_json(ctx, "[%-s, %-s]", (const char *)one.ptr, (const char *)two.ptr));
}

/* A JSON string of n letters, in a step and through a call -> n */
static restate_status make_letters(restate_ctx *run, void *arg) {
    const long long *n = (const long long *)arg;
    char *letters = restate_alloc(run, (size_t)*n + 1);
    if (!letters) return RESTATE_ENDED;
    for (long long i = 0; i < *n; i++) letters[i] = (char)('a' + i % 26);
    return restate_reply(run, restate_json(run, "%s", letters));
}

static restate_status small_large(restate_ctx *ctx, restate_bytes input) {
    const restate_target echo = { .service = "Small", .handler = "echo" };
    long long n = 0;
    restate_bytes letters, echoed;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &n));
    RESTATE_TRY(restate_run(ctx, "letters", make_letters, &n, NULL, &letters));
    RESTATE_TRY(restate_call(ctx, echo, letters, NULL, &echoed));
    RESTATE_TRY(restate_sleep(ctx, 10));
    if (letters.len != echoed.len || memcmp(letters.ptr, echoed.ptr, letters.len) != 0)
        return restate_fail(ctx, 500, "%zu letters came back as %zu", letters.len, echoed.len);
    return restate_reply(ctx, restate_json(ctx, "%zu", echoed.len - 2));
}

static restate_status small_echo(restate_ctx *ctx, restate_bytes input) { return restate_reply(ctx, input); }

/* Asks for an operator, in the handler and in a step. Since protocol 7. */
static long long pauses, paused_tries;      /* atomic */

static restate_status small_pause(restate_ctx *ctx, restate_bytes input) {
    const restate_retry_options wait = { .pause = true };
    if (__atomic_fetch_xor(&pauses, 1, __ATOMIC_RELAXED) == 0) return restate_retry(ctx, &wait, "look at this");
    return restate_reply(ctx, input);
}

static restate_status fail_first(restate_ctx *run, void *arg) {
    (void)arg;
    if (__atomic_fetch_add(&paused_tries, 1, __ATOMIC_RELAXED) < 2) return restate_retry(run, NULL, "look at that");
    __atomic_store_n(&paused_tries, 0, __ATOMIC_RELAXED);
    return restate_reply(run, restate_str("3"));
}

static restate_status small_pause_step(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options options = { .retry = { .initial_interval_ms = 10, .max_attempts = 2, .when_exhausted = RESTATE_EXHAUSTED_PAUSE } };
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "pause", fail_first, NULL, &options, &value));
    return restate_reply(ctx, value);
}

/* A step that lost is still executing when the handler has returned. */
static restate_status nap_in_step(restate_ctx *run, void *arg) {
    const struct timespec t = { 0, 1000000 };
    long long left = *(const long long *)arg;
    for (; left > 0 && !restate_stop_requested(run); left--) nanosleep(&t, NULL);
    return restate_reply(run, restate_json(run, "%lld", *(const long long *)arg));
}

static restate_status small_loser(restate_ctx *ctx, restate_bytes input) {
    long long soon = 5, late = 400;
    const restate_run_options copied = { .arg_bytes = sizeof soon };
    restate_future *both[] = { restate_run_async(ctx, "late", nap_in_step, &late, &copied),
                               restate_run_async(ctx, "soon", nap_in_step, &soon, &copied) };
    restate_bytes winner;
    (void)input;
    RESTATE_TRY(restate_await(ctx, restate_race(ctx, both, 2), &winner));
    return restate_reply(ctx, winner);
}

/* ---- Paper, List: payloads of every kind ----------------------------------------------------------- */

/* Codec of a list of numbers, which `type` separates. */
typedef struct numbers {
    size_t count;
    long values[8];
} numbers;

static restate_status csv_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                                 restate_bytes *out) {
    const numbers *n = (const numbers *)value;
    const char *list = "";
    if (n->count == 0) return restate_fail(ctx, 500, "an empty list");
    for (size_t i = 0; i < n->count; i++)
        list = restate_text(ctx, "%s%s%ld", list, i ? (const char *)self->type : "", n->values[i]);
    *out = restate_str(list);
    return RESTATE_OK;
}

static restate_status csv_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                 void *value) {
    numbers *n = (numbers *)value;
    const char *at = (const char *)in.ptr;
    char *end;
    for (n->count = 0; n->count < 8; at = end + 1) {
        n->values[n->count++] = strtol(at, &end, 10);
        if (end == at) break;
        if (!*end) return RESTATE_OK;
        if (*end != *(const char *)self->type) break;
    }
    return restate_fail(ctx, 500, "no list of numbers: %s", (const char *)in.ptr);
}

static const restate_codec csv = {
    .content_type = "text/csv", .encode = csv_encode, .decode = csv_decode, .type = ","
};
static const restate_codec described = { .content_type = "application/json",
                                         .json_schema =
                                             "{\"type\": \"integer\", \"title\": \"a number\"}" };

static restate_status paper_echo(restate_ctx *ctx, restate_bytes input) {
    return restate_reply(ctx, input);
}

static restate_status paper_void(restate_ctx *ctx, restate_bytes input) {
    return input.ptr ? restate_fail(ctx, 500, "there is an input")
                     : restate_reply(ctx, restate_encode(ctx, RESTATE_VOID, NULL));
}

/* Backwards, through the state. */
static restate_status paper_csv(restate_ctx *ctx, restate_bytes input) {
    numbers n, stored, back;
    restate_bytes bytes;
    RESTATE_TRY(restate_decode(ctx, &csv, input, &n));
    RESTATE_TRY(restate_set(ctx, "list", restate_encode(ctx, &csv, &n)));
    RESTATE_TRY(restate_sleep(ctx, 5));
    RESTATE_TRY(restate_get(ctx, "list", &bytes));
    RESTATE_TRY(restate_decode(ctx, &csv, bytes, &stored));
    back.count = stored.count;
    for (size_t i = 0; i < stored.count; i++) back.values[i] = stored.values[stored.count - 1 - i];
    return restate_reply(ctx, restate_encode(ctx, &csv, &back));
}

/* A stored value that nobody can read fails; one that cannot be written is tried again. */
static restate_status paper_unreadable(restate_ctx *ctx, restate_bytes input) {
    numbers n;
    restate_bytes bytes;
    RESTATE_TRY(restate_set(ctx, "list", input));
    RESTATE_TRY(restate_sleep(ctx, 5));
    RESTATE_TRY(restate_get(ctx, "list", &bytes));
    return restate_decode(ctx, &csv, bytes, &n);
}
static restate_status paper_unwritable(restate_ctx *ctx, restate_bytes input) {
    numbers n = { restate_request(ctx)->retry_count > 0, { 7 } };
    (void)input;
    return restate_reply(ctx, restate_encode(ctx, &csv, &n));
}

/* ---- Vault: all that leaves it is sealed ----------------------------------------------------- */

static unsigned char vault_nonce;           /* atomic */

/* Every letter exclusive-or with 0x55, behind a byte that is another one each time. */
static restate_status vault_seal(void *user, restate_ctx *ctx, restate_bytes plain,
                                 restate_bytes *sealed) {
    uint8_t *bytes = (uint8_t *)restate_alloc(ctx, plain.len + 1);
    if (!bytes) return RESTATE_ENDED;
    bytes[0] = (uint8_t)('a' + __atomic_fetch_add(&vault_nonce, 1, __ATOMIC_RELAXED) % 26);
    for (size_t i = 0; i < plain.len; i++)
        bytes[i + 1] = (uint8_t)(plain.ptr[i] ^ *(const uint8_t *)user);
    *sealed = (restate_bytes){ bytes, plain.len + 1 };
    return RESTATE_OK;
}

static restate_status vault_open(void *user, restate_ctx *ctx, restate_bytes sealed,
                                 restate_bytes *plain) {
    uint8_t *bytes = (uint8_t *)restate_alloc(ctx, sealed.len);
    if (!bytes) return RESTATE_ENDED;
    if (sealed.ptr[0] < 'a' || sealed.ptr[0] > 'z') return restate_fail(ctx, 500, "no nonce");
    for (size_t i = 1; i < sealed.len; i++)
        bytes[i - 1] = (uint8_t)(sealed.ptr[i] ^ *(const uint8_t *)user);
    *plain = (restate_bytes){ bytes, sealed.len - 1 };
    return RESTATE_OK;
}

static uint8_t vault_key = 0x55;
static const restate_seal vault_seals = { vault_seal, vault_open, &vault_key, true };

static restate_status tells_secret(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_str("\"top secret\""));
}

/* Through the state, a step, a call, an awakeable and a signal, and over a failed attempt. */
static restate_status vault_keep(restate_ctx *ctx, restate_bytes input) {
    const restate_target echo = { .service = "Vault",
                                  .handler = "echo",
                                  .key = restate_text(ctx, "%s-2", restate_key(ctx)) };
    const char *id;
    restate_future *f[2] = { restate_awakeable(ctx, &id), restate_signal(ctx, "mine") };
    restate_bytes v[5];
    (void)input;
    RESTATE_TRY(restate_run(ctx, "secret", tells_secret, NULL, NULL, &v[0]));
    RESTATE_TRY(restate_set(ctx, "secret", v[0]));
    RESTATE_TRY(restate_sleep(ctx, 5));
    RESTATE_TRY(restate_get(ctx, "secret", &v[1]));
    RESTATE_TRY(restate_call(ctx, echo, v[1], NULL, &v[2]));
    RESTATE_TRY(restate_resolve(ctx, id, v[2]));
    RESTATE_TRY(restate_signal_resolve(ctx, restate_request(ctx)->invocation_id, "mine", v[2]));
    RESTATE_TRY(restate_await(ctx, f[0], &v[3]));
    RESTATE_TRY(restate_await(ctx, f[1], &v[4]));
    RESTATE_TRY(fail_once(ctx));
    for (int i = 1; i < 5; i++)
        if (v[i].len != v[0].len || memcmp(v[i].ptr, v[0].ptr, v[0].len) != 0)
            return restate_fail(ctx, 500, "secret %d is lost", i);
    return restate_reply(ctx, v[4]);
}

/* ---- Asker: what it knows of its request ----------------------------------------------------- */

static int asker_user;

static const char *find_pair(const restate_pair *p, const char *name) {
    while (p->name && strcmp(p->name, name) != 0) p++;
    return p->name ? p->value : "";
}

/* Looked at in a closure, where it is the same. */
static restate_status asks_in_step(restate_ctx *run, void *arg) {
    const restate_request_info *i = restate_request(run);
    restate_log(run, RESTATE_LOG_INFO, "asked in a step");
    return restate_reply(run,
                         restate_json(run, "[%s, %s, %s, %s]", i->invocation_id, i->target.handler,
                                      (const char *)arg, find_pair(i->headers, "x-asked")));
}

/* -> [[id, handler, uuid, header], key, body, tries, whether the rest is as it should be] */
static restate_status asker_ask(restate_ctx *ctx, restate_bytes input) {
    const char *uuid = restate_uuid(ctx), *type;
    const restate_request_info *i;
    restate_bytes asked;
    bool good;
    restate_log(ctx, RESTATE_LOG_INFO, "asked before");
    RESTATE_TRY(restate_run(ctx, "ask", asks_in_step, (void *)(uintptr_t)uuid, NULL, &asked));
    RESTATE_TRY(restate_sleep(ctx, 5));
    i = restate_request(ctx);
    if (i->retry_count == 0)
        return restate_retry(ctx, NULL, "once more, of protocol %u", i->protocol_version);
    restate_log(ctx, RESTATE_LOG_INFO, "asked behind");
    type = find_pair(i->attempt_headers, "content-type");
    good = i->body.ptr == input.ptr && i->user == &asker_user && !i->replaying &&
           !i->target.scope && !i->limit_key && strcmp(i->target.service, "Asker") == 0 &&
           strstr(type, "application/vnd.restate.invocation.v") != NULL &&
           strstr((const char *)asked.ptr, uuid) != NULL; /* that of the first attempt */
    return restate_reply(ctx, restate_json(ctx, "[%-s, %s, %-s, %u, %hhd]", (const char *)asked.ptr,
                                           restate_key(ctx), (const char *)input.ptr,
                                           i->retry_count, good));
}

/* ---- Nest: combinators of everything, and code that does not look ---------------------------- */

static restate_status fails_at_once(restate_ctx *run, void *arg) {
    (void)run;
    return restate_fail(run, (uint16_t)*(const int *)arg, "step");
}

/* "0 2 418 ..." over many suspensions; the attempt after a failed one has to tell the same. */
static restate_status nest_all(restate_ctx *ctx, restate_bytes input) {
    const restate_target nap = { .service = "Load", .handler = "nap" },
                         fails = { .service = "Small", .handler = "fail" };
    const restate_run_options copied = { .arg_bytes = sizeof(long long) };
    long long one = 1;
    int code = 418;
    const char *story = "", *id, *recorded = "";
    restate_future *f[6], *in[3], *c;
    restate_bytes value;
    restate_status s;
    size_t index;
    (void)input;
    f[0] = restate_call_async(ctx, nap, restate_str("150"), NULL);
    f[1] = restate_sleep_async(ctx, 60, NULL);
    f[2] = restate_call_async(ctx, fails, (restate_bytes){ 0 }, NULL);
    f[3] = restate_awakeable(ctx, &id);
    f[4] = restate_run_async(ctx, "one", echo_number, &one, &copied);
    f[5] = restate_run_async(ctx, "fails", fails_at_once, &code,
                             &(restate_run_options){ .arg_bytes = sizeof code });

    in[0] = restate_all(ctx, f, 2); /* the call is later than the timer */
    in[1] = restate_any(ctx, (restate_future *[]){ f[2], f[4] }, 2);
    in[2] = restate_all_settled(ctx, (restate_future *[]){ f[5], f[2] }, 2);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, in, 3), NULL));
    for (int i = 0; i < 6; i++) story = restate_text(ctx, "%s%d", story, restate_is_done(f[i]));
    RESTATE_TRY(restate_await(ctx, in[1], &value));
    story = restate_text(ctx, "%s %s", story, (const char *)value.ptr);

    s = restate_await(ctx, restate_all(ctx, f, 6),
                      NULL); /* the first failure, though one is open */
    if (s != RESTATE_TERMINAL) return s == RESTATE_OK ? restate_fail(ctx, 500, "all succeeded") : s;
    story = restate_text(
        ctx, "%s %s", story,
        restate_failed(ctx)->code == 418 || restate_failed(ctx)->code == 451 ? "failed" : "?");
    s = restate_await(ctx, restate_any(ctx, (restate_future *[]){ f[2], f[5] }, 2), NULL);
    if (s != RESTATE_TERMINAL) return s;
    s = restate_await_for(ctx, restate_race(ctx, &f[3], 1), 20, NULL);
    if (s != RESTATE_TIMEOUT) return s;
    story = restate_text(ctx, "%s %d", story, restate_failed(ctx)->code);
    RESTATE_TRY(restate_resolve(ctx, id, restate_str("\"opened\"")));
    RESTATE_TRY(restate_await(ctx, restate_race(ctx, &f[3], 1), &value));
    story = restate_text(ctx, "%s %s", story, (const char *)value.ptr);

    RESTATE_TRY(restate_await(ctx, restate_all(ctx, NULL, 0), NULL));           /* of nothing */
    RESTATE_TRY(restate_await(ctx, restate_all_settled(ctx, NULL, 0), NULL));
    if (restate_await(ctx, restate_any(ctx, NULL, 0), NULL) != RESTATE_TERMINAL)
        return RESTATE_ENDED;
    story = restate_text(ctx, "%s %d", story, restate_failed(ctx)->code);
    RESTATE_TRY(restate_select(ctx, NULL, 0, &index));
    for (c = f[4], index = 0; index < 50; index++)
        c = index % 2 ? restate_race(ctx, &c, 1) : restate_any(ctx, &c, 1);
    RESTATE_TRY(restate_await(ctx, c, &value));

    RESTATE_TRY(restate_run(ctx, "story", echo_text, &story, NULL, &value));
    RESTATE_TRY(fail_once(ctx));
    RESTATE_TRY(restate_json_string(ctx, value, NULL, &recorded));
    if (strcmp(story, recorded) != 0) return restate_fail(ctx, 500, "now %s", story);
    return restate_reply(ctx, value);
}

/* Nothing it calls is looked at, though each call may suspend. */
static restate_status nest_blind(restate_ctx *ctx, restate_bytes input) {
    const restate_target next = { .service = "Load", .handler = "next" };
    restate_bytes reply;
    RESTATE_IGNORE(restate_sleep(ctx, 5));
    RESTATE_IGNORE(restate_call(ctx, next, input, NULL, &reply));
    RESTATE_IGNORE(restate_sleep(ctx, 5));
    restate_reply(ctx, reply);
    return RESTATE_OK;
}

static const char *status_name(restate_status s) {
    static const char *const names[] = {
        "ok", "terminal", "timeout", "cancelled", "ended", "error"
    };
    return names[s];
}

/* code -> how a callee's failure with that code is seen, and the code */
static restate_status nest_fail(restate_ctx *ctx, restate_bytes input) {
    long long code = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &code));
    return restate_fail(ctx, (uint16_t)code, "as asked for");
}
static restate_status nest_callee(restate_ctx *ctx, restate_bytes input) {
    const restate_target fail = { .service = "Nest", .handler = "fail" };
    restate_status s = restate_call(ctx, fail, input, NULL, NULL), t;
    if (s == RESTATE_ENDED) return s;
    t = restate_await_for(ctx, restate_call_async(ctx, fail, input, NULL), RESTATE_HOURS(1), NULL);
    if (t == RESTATE_ENDED) return t;
    return restate_reply(ctx, restate_json(ctx, "[%s, %s, %d]", status_name(s), status_name(t),
                                           restate_failed(ctx)->code));
}

/* -> [scope, limit key, idempotency key], as a callee sees them; of a call within a scope */
static restate_status nest_place(restate_ctx *ctx, restate_bytes input) {
    const restate_request_info *i = restate_request(ctx);
    (void)input;
    return restate_reply(ctx, restate_json(ctx, "[%s, %s, %s]", i->target.scope, i->limit_key,
                                           i->idempotency_key));
}
static restate_status nest_scoped(restate_ctx *ctx, restate_bytes input) {
    const restate_target place = { .service = "Nest", .handler = "place", .scope = "nest.scope" };
    const restate_call_options options = { .limit_key = "tenant/user",
                                           .idempotency_key = restate_uuid(ctx) };
    restate_bytes reply, expected = restate_json(ctx, "['nest.scope', 'tenant/user', %s]",
                                                 options.idempotency_key);
    (void)input;
    RESTATE_TRY(restate_call(ctx, place, (restate_bytes){ 0 }, &options, &reply));
    if (reply.len != expected.len || memcmp(reply.ptr, expected.ptr, reply.len) != 0)
        return restate_fail(ctx, 500, "not %s", (const char *)expected.ptr);
    return restate_reply(ctx, reply);
}

/* ms -> ms, after an attempt that asked for that much time, and one that returned a wrong number */
static restate_status nest_later(restate_ctx *ctx, restate_bytes input) {
    restate_retry_options wait = { .code = 599 };
    long long ms = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &ms));
    wait.delay_ms = (uint64_t)ms;
    if (restate_request(ctx)->retry_count == 0) return restate_retry(ctx, &wait, "please wait");
    if (restate_request(ctx)->retry_count == 1) return (restate_status)42;
    return restate_reply(ctx, input);
}

/* ---- Child, Parent: who is cancelled ------------------------------------------------------------------ */

static restate_status child_hang(restate_ctx *ctx, restate_bytes input) {
    restate_status s;
    (void)input;
    RESTATE_TRY(restate_set(ctx, "state", restate_json(ctx, "'hangs'")));
    s = restate_sleep(ctx, RESTATE_HOURS(1));
    if (s == RESTATE_CANCELLED) RESTATE_TRY(restate_set(ctx, "state", restate_json(ctx, "'cancelled'")));
    return s;
}

static restate_status child_state(restate_ctx *ctx, restate_bytes input) {
    restate_bytes state;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "state", &state));
    return restate_reply(ctx, state.ptr ? state : restate_json(ctx, "'new'"));
}

static restate_target child(restate_ctx *ctx, const char *name) {
    return (restate_target){ .service = "Child", .handler = "hang", .key = restate_text(ctx, "%s-%s", restate_key(ctx), name) };
}

/* Two calls and a send. When it is cancelled it counts that in Tally, and waits for one of the calls
 * again. */
static restate_status parent_wait(restate_ctx *ctx, restate_bytes input) {
    const restate_target tally = { .service = "Tally", .handler = "add", .key = restate_text(ctx, "undone-%s", restate_key(ctx)) };
    const restate_failure *why;
    restate_future *a;
    restate_status s;
    (void)input;
    restate_send(ctx, child(ctx, "sent"), (restate_bytes){0}, NULL);
    a = restate_call_async(ctx, child(ctx, "a"), (restate_bytes){0}, NULL);
    s = restate_call(ctx, child(ctx, "b"), (restate_bytes){0}, NULL, NULL);
    if (s != RESTATE_CANCELLED) return s;
    why = restate_failed(ctx);
    RESTATE_TRY(restate_call(ctx, tally, restate_str("1"), NULL, NULL));
    s = restate_await(ctx, a, NULL);
    if (s == RESTATE_OK) return restate_fail(ctx, 500, "the child has finished");
    if (s != RESTATE_TERMINAL) return s;
    if (restate_failed(ctx)->code != 409) return s;
    return restate_fail_with(ctx, why);
}

/* With explicit_cancellation. The first cancellation stops the calls, the second one the rest. */
static restate_status parent_explicit(restate_ctx *ctx, restate_bytes input) {
    restate_future *f[3];
    size_t first;
    int codes[2];
    (void)input;
    f[0] = restate_call_async(ctx, child(ctx, "a"), (restate_bytes){0}, NULL);
    f[1] = restate_call_async(ctx, child(ctx, "b"), (restate_bytes){0}, NULL);
    f[2] = restate_cancellation(ctx);
    RESTATE_TRY(restate_select(ctx, f, 3, &first));
    RESTATE_TRY(restate_await(ctx, f[2], NULL));
    RESTATE_TRY(restate_cancel_calls(ctx));
    RESTATE_TRY(restate_await(ctx, restate_all_settled(ctx, f, 2), NULL));
    for (int i = 0; i < 2; i++) {
        restate_status s = restate_await(ctx, f[i], NULL);
        if (s == RESTATE_ENDED) return s;
        codes[i] = s == RESTATE_TERMINAL ? restate_failed(ctx)->code : 0;
    }
    RESTATE_TRY(restate_sleep(ctx, 10));
    RESTATE_TRY(restate_await(ctx, restate_cancellation(ctx), NULL));
    return restate_reply(ctx, restate_json(ctx, "[%zu, %d, %d]", first, codes[0], codes[1]));
}

/* "select", "attach" ...: where a cancellation finds it. It comes once, and futures stay good. */
static restate_status parent_point(restate_ctx *ctx, restate_bytes input) {
    const char *where = "", *id, *child_id;
    restate_status s = RESTATE_OK;
    restate_future *never, *sent;
    restate_selector *selector;
    restate_bytes value;
    long long ms = 150;
    size_t which;
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &where));
    never = restate_awakeable(ctx, &id);
    selector = restate_selector_new(ctx, &never, 1);
    sent = restate_send(ctx, child(ctx, "sent"), (restate_bytes){0}, NULL);
    RESTATE_TRY(restate_call_id(ctx, sent, &child_id));
    RESTATE_TRY(restate_set(ctx, "state", restate_json(ctx, "'waits'")));
    if (strcmp(where, "await") == 0) s = restate_await(ctx, never, &value);
    else if (strcmp(where, "awaitFor") == 0) s = restate_await_for(ctx, never, RESTATE_HOURS(1), &value);
    else if (strcmp(where, "select") == 0) s = restate_select(ctx, &never, 1, &which);
    else if (strcmp(where, "selector") == 0) s = restate_selector_next(ctx, selector, &which);
    else if (strcmp(where, "all") == 0) s = restate_await(ctx, restate_all(ctx, &never, 1), NULL);
    else if (strcmp(where, "signal") == 0) s = restate_await(ctx, restate_signal(ctx, "never"), NULL);
    else if (strcmp(where, "attach") == 0) s = restate_attach(ctx, (restate_invocation){ .id = child_id }, NULL);
    else if (strcmp(where, "run") == 0) {               /* the step is over first */
        s = restate_run(ctx, "nap", nap_in_step, &ms, NULL, &value);
        if (s == RESTATE_OK) s = restate_sleep(ctx, RESTATE_HOURS(1));
    } else return restate_fail(ctx, 400, "where?");
    if (s == RESTATE_OK) return restate_fail(ctx, 500, "it went on");
    if (s != RESTATE_CANCELLED) return s;
    if (restate_failed(ctx)->code != 409) return restate_fail(ctx, 500, "%d", restate_failed(ctx)->code);
    RESTATE_TRY(restate_sleep(ctx, 20));
    if (restate_selector_remaining(selector) != 1) return restate_fail(ctx, 500, "the selector is empty");
    RESTATE_TRY(restate_resolve(ctx, id, input));
    RESTATE_TRY(restate_selector_next(ctx, selector, &which));
    RESTATE_TRY(restate_await(ctx, never, &value));
    return restate_reply(ctx, value);
}

/* ---- Hooked: counts what hooks see --------------------------------------------------------------------- */

enum { BEGIN, END, END_OK, RUN_BEGIN, RUN_END, OUTBOUND, COUNTERS };
static long long seen[COUNTERS];            /* atomic */

static void see(int what) { __atomic_add_fetch(&seen[what], 1, __ATOMIC_RELAXED); }

static void hook_begin(void *user, restate_ctx *ctx) {
    (void)user;
    if (strcmp(restate_request(ctx)->target.service, "Hooked") == 0) see(BEGIN);
}
static void hook_end(void *user, restate_ctx *ctx, restate_status status) {
    (void)user;
    (void)ctx;
    see(END);
    if (status == RESTATE_OK) see(END_OK);
}
static void hook_run_begin(void *user, restate_ctx *run, const char *name) {
    (void)user;
    if (restate_request(run)->target.service && strcmp(name, "next") == 0) see(RUN_BEGIN);
}
static void hook_run_end(void *user, restate_ctx *run, const char *name, restate_status status) {
    (void)user;
    (void)run;
    if (status == RESTATE_OK && strcmp(name, "next") == 0) see(RUN_END);
}
static const restate_pair *hook_outbound(void *user, restate_ctx *ctx, const restate_target *to) {
    static const restate_pair headers[] = { { "x-from", "a hook" }, { NULL, NULL } };
    (void)user;
    (void)ctx;
    if (strcmp(to->handler, "header") == 0) see(OUTBOUND);
    return headers;
}
static const restate_hooks hooks = { hook_begin, hook_end, hook_run_begin, hook_run_end, hook_outbound, NULL };

/* -> [what the hook's header was at the callee, what our own was] */
static restate_status hooked_work(restate_ctx *ctx, restate_bytes input) {
    const restate_target header = { .service = "Small", .handler = "header" };
    const restate_call_options options = { .headers = RESTATE_PAIRS({ "x-mine", "a handler" }) };
    long long number = 1;
    restate_bytes from, mine;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "next", next_number, &number, NULL, NULL));
    RESTATE_TRY(restate_call(ctx, header, restate_json(ctx, "{'name': 'x-from'}"), NULL, &from));
    RESTATE_TRY(restate_sleep(ctx, 10));
    RESTATE_TRY(fail_once(ctx));
    RESTATE_TRY(restate_call(ctx, header, restate_json(ctx, "{'name': 'x-mine'}"), &options, &mine));
    return restate_reply(ctx, restate_json(ctx, "[%-s, %-s]", (const char *)from.ptr, (const char *)mine.ptr));
}

/* -> the counters, which start again then */
static restate_status hooked_counts(restate_ctx *ctx, restate_bytes input) {
    long long n[COUNTERS];
    (void)input;
    for (int i = 0; i < COUNTERS; i++) n[i] = __atomic_exchange_n(&seen[i], 0, __ATOMIC_RELAXED);
    return restate_reply(ctx, restate_json(ctx,
        "{'begin': %lld, 'end': %lld, 'ok': %lld, 'runBegin': %lld, 'runEnd': %lld, 'outbound': %lld}",
        n[BEGIN], n[END], n[END_OK], n[RUN_BEGIN], n[RUN_END], n[OUTBOUND]));
}

/* ---- Mapped: 503 is for ever ---------------------------------------------------------------------------- */

static bool map_error(void *user, uint16_t code, const char *message, restate_failure *out) {
    (void)user;
    if (code != 503) return false;
    out->code = 410;
    out->message = message;
    return true;
}

static restate_status mapped_handler(restate_ctx *ctx, restate_bytes input) {
    const restate_retry_options closed = { .code = 503 };
    (void)input;
    return restate_retry(ctx, &closed, "the shop is closed");
}

static restate_status find_closed(restate_ctx *run, void *arg) {
    const restate_retry_options closed = { .code = 503 };
    (void)arg;
    return restate_retry(run, &closed, "the bank is closed");
}

/* -> the code of the step */
static restate_status mapped_step(restate_ctx *ctx, restate_bytes input) {
    restate_status s = restate_run(ctx, "closed", find_closed, NULL, NULL, NULL);
    (void)input;
    if (s != RESTATE_TERMINAL) return s;
    return restate_reply(ctx, restate_json(ctx, "[%d, %s]", restate_failed(ctx)->code, restate_failed(ctx)->message));
}

/* Another code: tried again. */
static restate_status mapped_other(restate_ctx *ctx, restate_bytes input) {
    RESTATE_TRY(fail_once(ctx));
    return restate_reply(ctx, input);
}

/* ---- Rationed: steps have three tries, or so much time --------------------------------------------------- */

static long long rationed_tries;            /* atomic */

static restate_status try_in_vain(restate_ctx *run, void *arg) {
    const restate_retry_options dry = { .code = 507 };
    (void)arg;
    return restate_retry(run, &dry, "dry, %lld", __atomic_add_fetch(&rationed_tries, 1, __ATOMIC_RELAXED));
}

static restate_status ration(restate_ctx *ctx, const restate_run_options *options) {
    restate_status s = restate_run(ctx, "in vain", try_in_vain, NULL, options, NULL);
    if (s != RESTATE_TERMINAL) return s;
    __atomic_store_n(&rationed_tries, 0, __ATOMIC_RELAXED);
    return restate_reply(ctx, restate_json(ctx, "[%d, %s]", restate_failed(ctx)->code, restate_failed(ctx)->message));
}

static restate_status rationed_count(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return ration(ctx, NULL);               /* the policy of the service */
}

static restate_status rationed_time(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options short_time = { .retry = { .initial_interval_ms = 20, .factor = 1, .max_duration_ms = 150 } };
    (void)input;
    return ration(ctx, &short_time);
}

/* ---- Store: state under many keys --------------------------------------------------------------------------- */

static restate_status reply_keys(restate_ctx *ctx) {
    const char *const *keys;
    const char *list = "";
    RESTATE_TRY(restate_keys(ctx, &keys));
    for (; *keys; keys++) list = restate_text(ctx, "%s%s ", list, *keys);
    return restate_reply(ctx, restate_json(ctx, "%s", list));
}

/* n -> the keys, after n values were written */
static restate_status store_fill(restate_ctx *ctx, restate_bytes input) {
    long long n = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &n));
    for (long long i = n; i > 0; i--)
        RESTATE_TRY(restate_set(ctx, restate_text(ctx, "k%lld", i), restate_json(ctx, "%lld", i)));
    return reply_keys(ctx);
}

/* The key to delete -> the keys that are left */
static restate_status store_drop(restate_ctx *ctx, restate_bytes input) {
    const char *key = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &key));
    RESTATE_TRY(restate_clear(ctx, key));
    return reply_keys(ctx);
}

/* Deletes everything but a value that is written afterwards. */
static restate_status store_wipe(restate_ctx *ctx, restate_bytes input) {
    restate_bytes gone;
    (void)input;
    RESTATE_TRY(restate_clear_all(ctx));
    RESTATE_TRY(restate_get(ctx, "k1", &gone));
    if (gone.ptr) return restate_fail(ctx, 500, "k1 is still there");
    RESTATE_TRY(restate_set(ctx, "after", restate_str("")));
    RESTATE_TRY(restate_get(ctx, "after", &gone));
    if (!gone.ptr) return restate_fail(ctx, 500, "the empty value is absent");
    return reply_keys(ctx);
}

static restate_status store_keys(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return reply_keys(ctx);
}

/* Two values as futures -> their sum */
static restate_status store_sum(restate_ctx *ctx, restate_bytes input) {
    restate_future *two[] = { restate_get_async(ctx, "k1"), restate_get_async(ctx, "k2") };
    long long sum = 0;
    (void)input;
    for (int i = 0; i < 2; i++) {
        long long number = 0;
        restate_bytes value;
        RESTATE_TRY(restate_await(ctx, two[i], &value));
        RESTATE_TRY(restate_json_int(ctx, value, NULL, &number));
        sum += number;
    }
    return restate_reply(ctx, restate_json(ctx, "%lld", sum));
}

/* All of the state, twice: before a wait and, so replayed, after it -> "k=v k=v " */
static restate_status store_all(restate_ctx *ctx, restate_bytes input) {
    restate_future *keys = restate_keys_async(ctx);
    const char *const *names;
    const char *list = "";
    const restate_entry *e;
    (void)input;
    RESTATE_TRY(restate_get_all(restate_named(ctx, "everything"), &e));
    RESTATE_TRY(restate_sleep(ctx, 1));
    RESTATE_TRY(restate_await_keys(ctx, keys, &names));
    for (; e->key; e++, names++) {
        if (!*names || strcmp(*names, e->key) != 0) return restate_fail(ctx, 500, "other keys");
        list = restate_text(ctx, "%s%s=%.*s ", list, e->key, RESTATE_ARG(e->value));
    }
    return restate_reply(ctx, restate_json(ctx, "%s", list));
}

/* Misuse: this handler is shared. */
static restate_status store_misuse(restate_ctx *ctx, restate_bytes input) {
    return restate_set(ctx, "k1", input);
}

/* ---- Fickle: has other ideas in the second attempt ----------------------------------------------------------- */

static restate_status fickle_change(restate_ctx *ctx, restate_bytes input) {
    const char *name = restate_request(ctx)->retry_count == 0 ? "alpha" : "beta";
    long long number = 1;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "same", next_number, &number, NULL, NULL));
    RESTATE_TRY(restate_run(ctx, name, next_number, &number, NULL, NULL));
    return fail_once(ctx);
}

/* ---- Steps: runs, one matter each ------------------------------------------------------------ */

/* Whether this is one of the first `failures` tries; counted per call site. */
static bool still_fails(long long *tries, long long failures) {
    if (__atomic_add_fetch(tries, 1, __ATOMIC_RELAXED) <= failures) return true;
    __atomic_store_n(tries, 0, __ATOMIC_RELAXED);
    return false;
}

static restate_status say_nothing(restate_ctx *run, void *arg) {
    (void)run;
    (void)arg;
    return RESTATE_OK;
}

/* -> whether there is a value, and its length */
static restate_status steps_nothing(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "nothing", say_nothing, NULL, NULL, &value));
    RESTATE_TRY(restate_sleep(ctx, 10));
    return restate_reply(ctx, restate_json(ctx, "[%d, %zu]", value.ptr != NULL, value.len));
}

static long long ghosts, plain_tries, slow_tries, pause_tries, pair_tries, cut_tries,
    firsts; /* atomic */

static restate_status haunt(restate_ctx *run, void *arg) {
    (void)arg;
    __atomic_add_fetch(&ghosts, 1, __ATOMIC_RELAXED);
    return restate_reply(run, restate_str("1"));
}

/* -> how often a step was executed that nobody waited for; another one is between the two waits. */
static restate_status steps_ghost(restate_ctx *ctx, restate_bytes input) {
    long long number = 1;
    (void)input;
    restate_run_async(ctx, "ghost", haunt, NULL, NULL);
    RESTATE_TRY(restate_sleep(ctx, 10));
    RESTATE_TRY(restate_run(ctx, "next", next_number, &number, NULL, NULL));
    RESTATE_TRY(restate_sleep(ctx, 10));
    return restate_reply(ctx,
                         restate_json(ctx, "%lld", __atomic_load_n(&ghosts, __ATOMIC_RELAXED)));
}

/* No policy: the server's decides. */
static restate_status fail_twice(restate_ctx *run, void *arg) {
    (void)arg;
    if (still_fails(&plain_tries, 2)) return restate_retry(run, NULL, "not yet");
    return restate_reply(run, restate_str("\"third time\""));
}

static restate_status steps_plain(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "plain", fail_twice, NULL, NULL, &value));
    return restate_reply(ctx, value);
}

/* The step knows best when to come back: the policy says 60 s. */
static restate_status come_back_later(restate_ctx *run, void *arg) {
    const restate_retry_options later = { .delay_ms = 300 };
    (void)arg;
    if (still_fails(&slow_tries, 1)) return restate_retry(run, &later, "later");
    return restate_reply(run, restate_str("\"later\""));
}

static restate_status steps_later(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options slow = { .retry = { .initial_interval_ms = 60000,
                                                  .max_interval_ms = 60000 } };
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "later", come_back_later, NULL, &slow, &value));
    return restate_reply(ctx, value);
}

/* Waits 50 ms, then twice 100 at most, where the policy would grow to more than an hour. */
static long long capped_tries;              /* atomic */

static restate_status fail_thrice(restate_ctx *run, void *arg) {
    (void)arg;
    if (still_fails(&capped_tries, 3)) return restate_retry(run, NULL, "not yet");
    return restate_reply(run, restate_str("\"capped\""));
}

static restate_status steps_capped(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options fast = {
        .retry = { .initial_interval_ms = 50, .factor = 100000, .max_interval_ms = 100 }
    };
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "capped", fail_thrice, NULL, &fast, &value));
    return restate_reply(ctx, value);
}

static restate_status ask_for_help(restate_ctx *run, void *arg) {
    const restate_retry_options wait = { .pause = true };
    (void)arg;
    if (still_fails(&pause_tries, 1)) return restate_retry(run, &wait, "help");
    return restate_reply(run, restate_str("\"helped\""));
}

static restate_status steps_help(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "help", ask_for_help, NULL, NULL, &value));
    return restate_reply(ctx, value);
}

/* -> how often the first of two steps was executed, whose second one failed once */
static restate_status count_me(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(
        run, restate_json(run, "%lld", __atomic_add_fetch(&firsts, 1, __ATOMIC_RELAXED)));
}

static restate_status fail_beside(restate_ctx *run, void *arg) {
    (void)arg;
    if (still_fails(&pair_tries, 1)) return restate_retry(run, NULL, "beside");
    return restate_reply(run, restate_str("2"));
}

static restate_status steps_pair(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options in_order = { .inline_ok = true };
    restate_future *two[] = { restate_run_async(ctx, "first", count_me, NULL, &in_order),
                              restate_run_async(ctx, "second", fail_beside, NULL, &in_order) };
    restate_bytes first;
    (void)input;
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, two, 2), NULL));
    RESTATE_TRY(restate_await(ctx, two[0], &first));
    if (__atomic_exchange_n(&firsts, 0, __ATOMIC_RELAXED) > 1)
        return restate_fail(ctx, 500, "executed twice");
    return restate_reply(ctx, first);
}

static restate_status sleep_inside(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_sleep(run, 1);
}

static restate_status steps_misuse(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_run(ctx, "misuse", sleep_inside, NULL, NULL, NULL);
}

/* Until the server gives the attempt up, which the step is told, and tries again. */
static restate_status wait_for_the_cut(restate_ctx *run, void *arg) {
    const struct timespec t = { 0, 1000000 };
    (void)arg;
    if (!still_fails(&cut_tries, 1)) return restate_reply(run, restate_str("\"cut\""));
    for (int i = 0; i < 20000 && !restate_stop_requested(run); i++) nanosleep(&t, NULL);
    return restate_reply(run, restate_stop_requested(run) ? restate_str("\"told\"")
                                                          : restate_str("\"not told\""));
}

static restate_status steps_cut(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "cut", wait_for_the_cut, NULL, NULL, &value));
    return restate_reply(ctx, value);
}

/* Five steps that succeed, and one that fails once they execute; -> how often each was executed, the
 * one that failed last. */
enum { SIX = 6 };
static long long six_executed[SIX];         /* atomic */

/* Until the first `count` of them were executed so often, all together. */
static void await_six(int count, long long times) {
    const struct timespec t = { 0, 1000000 };
    for (int i = 0; i < 20000; i++) {
        long long sum = 0;
        for (int k = 0; k < count; k++) sum += __atomic_load_n(&six_executed[k], __ATOMIC_SEQ_CST);
        if (sum >= times) return;
        nanosleep(&t, NULL);
    }
}

static restate_status one_of_six(restate_ctx *run, void *arg) {
    const struct timespec t = { 0, 100000000 };
    const int which = *(const int *)arg;
    long long times = __atomic_add_fetch(&six_executed[which], 1, __ATOMIC_SEQ_CST);
    if (which == SIX - 1 && times == 1) {
        await_six(SIX, SIX);
        return restate_retry(run, NULL, "while five others execute");
    }
    if (which < SIX - 1) nanosleep(&t, NULL);
    return restate_reply(run, restate_json(run, "%d", which));
}

static restate_status steps_six(restate_ctx *ctx, restate_bytes input) {
    restate_future *six[SIX];
    long long n[SIX];
    (void)input;
    for (int i = 0; i < SIX; i++) {
        const restate_run_options copy = { .arg_bytes = sizeof i };
        six[i] = restate_run_async(ctx, restate_text(ctx, "six-%d", i), one_of_six, &i, &copy);
    }
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, six, SIX), NULL));
    for (int i = 0; i < SIX; i++) n[i] = __atomic_exchange_n(&six_executed[i], 0, __ATOMIC_SEQ_CST);
    return restate_reply(ctx, restate_json(ctx, "[%lld,%lld,%lld,%lld,%lld,%lld]", n[0], n[1], n[2],
                                           n[3], n[4], n[5]));
}

/* The tries of a step are counted although results of others are stored between them. Each time one
 * more of the others succeeds beside it. -> how often each was executed */
static restate_status hopeless_beside(restate_ctx *run, void *arg) {
    static const long long together[] = { 0, 4, 4 + 3, 4 + 3 + 2 };
    const int which = *(const int *)arg;
    long long times = __atomic_add_fetch(&six_executed[which], 1, __ATOMIC_SEQ_CST);
    if (times < 4) await_six(4, together[times]);
    if (which == 0 || times < which) return restate_retry(run, NULL, "%d", which);
    return restate_reply(run, restate_str("1"));
}

static restate_status steps_hopeless(restate_ctx *ctx, restate_bytes input) {
    restate_run_options few = { .arg_bytes = sizeof(int),
                                .retry = { .max_attempts = 3, .initial_interval_ms = 1 } };
    restate_future *f[4];
    long long n[4];
    restate_status s;
    (void)input;
    for (int i = 0; i < 4; i++) f[i] = restate_run_async(ctx, "hopeless", hopeless_beside, &i, &few);
    RESTATE_TRY(restate_await(ctx, restate_all_settled(ctx, f, 4), NULL));
    s = restate_await(ctx, f[0], NULL);
    if (s != RESTATE_TERMINAL) return s == RESTATE_OK ? restate_fail(ctx, 500, "it succeeded") : s;
    for (int i = 0; i < 4; i++) n[i] = __atomic_exchange_n(&six_executed[i], 0, __ATOMIC_SEQ_CST);
    return restate_reply(ctx, restate_json(ctx, "[%lld,%lld,%lld,%lld]", n[0], n[1], n[2], n[3]));
}

/* As many steps as there are threads in the pool, and one that waits for a thread longer than it may
 * take itself, by its own limits. It is tried twice. */
enum { CROWD = 64, CROWD_MS = 500 };
static long long crowd_tries;               /* atomic */

static restate_status stand_around(restate_ctx *run, void *arg) {
    const struct timespec t = { 0, CROWD_MS * 1000000 };
    (void)run;
    (void)arg;
    nanosleep(&t, NULL);
    return RESTATE_OK;
}

static restate_status be_quick(restate_ctx *run, void *arg) {
    (void)arg;
    if (restate_stop_requested(run)) return restate_fail(run, 500, "late before it began");
    if (still_fails(&crowd_tries, 1)) return restate_retry(run, NULL, "once more");
    return restate_reply(run, restate_str("\"in time\""));
}

static restate_status steps_crowd(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options quick = { .timeout_ms = CROWD_MS / 2,
                                        .retry = { .max_duration_ms = CROWD_MS / 2 } };
    restate_future *all[CROWD + 1];
    restate_bytes value;
    (void)input;
    for (int i = 0; i < CROWD; i++) all[i] = restate_run_async(ctx, "crowd", stand_around, NULL, NULL);
    all[CROWD] = restate_run_async(ctx, "quick", be_quick, NULL, &quick);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, all, CROWD + 1), NULL));
    RESTATE_TRY(restate_await(ctx, all[CROWD], &value));
    return restate_reply(ctx, value);
}

/* ---- Coded: values through a codec of our own ------------------------------------------------ */

static restate_status negate_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                                    restate_bytes *out) {
    const long long *n = (const long long *)value;
    (void)self;
    if (*n == 0) return restate_fail(ctx, 400, "nothing to negate");
    *out = restate_str(restate_text(ctx, "%lld", -*n));
    return RESTATE_OK;
}

static restate_status negate_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                    void *value) {
    char *end;
    (void)self;
    *(long long *)value = -strtoll((const char *)in.ptr, &end, 10);
    return *end ? restate_fail(ctx, 400, "no number") : RESTATE_OK;
}

static const restate_codec negated = { .content_type = "text/x-negated",
                                       .encode = negate_encode,
                                       .decode = negate_decode };

static restate_status encode_in_step(restate_ctx *run, void *arg) {
    return restate_reply(run, restate_encode(run, &negated, arg));
}

static restate_status coded_echo(restate_ctx *ctx, restate_bytes input) {
    long long n = 0;
    RESTATE_TRY(restate_decode(ctx, &negated, input, &n));
    return restate_reply(ctx, restate_encode(ctx, &negated, &n));
}

/* n -> n, n times five, through state, a step, a call and an awakeable; 0 cannot be encoded. */
static restate_status coded_all(restate_ctx *ctx, restate_bytes input) {
    const restate_target echo = { .service = "Coded", .handler = "echo", .key = "echo" };
    long long n = 0, part[5] = { 0, 0, 0, 0, 7 }, sum = 0;
    const char *id;
    restate_bytes v;
    restate_future *own;
    RESTATE_TRY(restate_decode(ctx, &negated, input, &n));
    RESTATE_TRY(restate_run(ctx, "coded", encode_in_step, &n, NULL, &v));
    RESTATE_TRY(restate_decode(ctx, &negated, v, &part[0]));
    RESTATE_TRY(restate_set(ctx, "n", restate_encode(ctx, &negated, &n)));
    RESTATE_TRY(restate_get(ctx, "n", &v));
    RESTATE_TRY(restate_decode(ctx, &negated, v, &part[1]));
    RESTATE_TRY(restate_call(ctx, echo, restate_encode(ctx, &negated, &n), NULL, &v));
    RESTATE_TRY(restate_decode(ctx, &negated, v, &part[2]));
    own = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_resolve(ctx, id, restate_encode(ctx, &negated, &n)));
    RESTATE_TRY(restate_await(ctx, own, &v));
    RESTATE_TRY(restate_decode(ctx, &negated, v, &part[3]));
    RESTATE_TRY(restate_get(ctx, "never", &v));             /* absent: the 7 stays */
    RESTATE_TRY(restate_decode(ctx, &negated, v, &part[4]));
    for (int i = 0; i < 5; i++) sum += part[i];
    return restate_reply(ctx, restate_encode(ctx, &negated, &sum));
}

/* ---- Rows: calls, times and state, one matter each ------------------------------------------- */

static restate_status append(restate_ctx *ctx, restate_bytes input) {
    restate_bytes list;
    RESTATE_TRY(restate_get(ctx, "list", &list));
    return restate_set(
        ctx, "list",
        restate_str(restate_text(ctx, "%s%.*s ", list.ptr ? (const char *)list.ptr : "",
                                 (int)input.len, (const char *)input.ptr)));
}

static restate_status list(restate_ctx *ctx, restate_bytes input) {
    restate_bytes list;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "list", &list));
    return restate_reply(ctx, restate_json(ctx, "%s", list.ptr ? (const char *)list.ptr : ""));
}

/* The key of a Log, to which it sends 0 to 19; every other one is called, and not waited for
 * either. */
static restate_status rows_send(restate_ctx *ctx, restate_bytes input) {
    restate_target log = { .service = "Log", .handler = "append" };
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &log.key));
    for (int i = 0; i < 20; i++) {
        const restate_bytes number = restate_json(ctx, "%d", i);
        if (i % 2) restate_call_async(ctx, log, number, NULL);
        else restate_send(ctx, log, number, NULL);
    }
    return RESTATE_OK;
}

/* The key of a Flow -> what its run gives to a caller, or [code] */
static restate_status rows_call_flow(restate_ctx *ctx, restate_bytes input) {
    restate_target flow = { .service = "Flow", .handler = "run" };
    restate_bytes reply;
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &flow.key));
    restate_status s = restate_call(ctx, flow, (restate_bytes){0}, NULL, &reply);
    if (s == RESTATE_TERMINAL)
        return restate_reply(ctx, restate_json(ctx, "[%d]", restate_failed(ctx)->code));
    RESTATE_TRY(s);
    return restate_reply(ctx, reply);
}

/* A timer, a call, a send and a step, with names. */
static restate_status rows_names(restate_ctx *ctx, restate_bytes input) {
    const restate_target next = { .service = "Load", .handler = "next" };
    const restate_call_options asks = { .name = "asks" }, tells = { .name = "tells" };
    long long number = 1;
    (void)input;
    restate_send(ctx, next, restate_str("1"), &tells);
    RESTATE_TRY(restate_await(ctx, restate_sleep_async(ctx, 1, "naps"), NULL));
    RESTATE_TRY(restate_run(ctx, "steps", next_number, &number, NULL, NULL));
    return restate_call(ctx, next, restate_str("1"), &asks, NULL);
}

static restate_status rows_no_time(restate_ctx *ctx, restate_bytes input) {
    const restate_target next = { .service = "Load", .handler = "next" };
    const restate_call_options now = { .delay_ms = RESTATE_ZERO_MS };
    const char *id;
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_sleep(ctx, 0));
    RESTATE_TRY(restate_sleep(ctx, RESTATE_ZERO_MS));
    RESTATE_TRY(restate_call_id(ctx, restate_send(ctx, next, restate_str("1"), &now), &id));
    RESTATE_TRY(restate_attach(ctx, (restate_invocation){ .id = id }, &value));
    return restate_reply(ctx, value);
}

/* Completed by itself, more than once: the first one counts, also if all were delivered (`late`)
 * before it was awaited, and a signal that was sent twice comes twice. An awakeable of nobody
 * disturbs nobody. */
static restate_status rows_twice(restate_ctx *ctx, restate_bytes input) {
    const char *id, *late_id, *me = restate_request(ctx)->invocation_id;
    restate_future *own = restate_awakeable(ctx, &id), *late = restate_awakeable(ctx, &late_id);
    restate_future *all = restate_all(ctx, (restate_future *[]){ own, late }, 2);
    restate_bytes value, again, first, second;
    bool delivered = false;
    RESTATE_TRY(restate_json_bool(ctx, input, NULL, &delivered));
    RESTATE_TRY(restate_resolve(ctx, id, restate_str("1")));
    RESTATE_TRY(restate_resolve(ctx, id, restate_str("2")));
    RESTATE_TRY(restate_reject(ctx, id, NULL));
    RESTATE_TRY(restate_signal_resolve(ctx, me, "row", restate_str("3")));
    RESTATE_TRY(restate_signal_resolve(ctx, me, "row", restate_str("4")));
    RESTATE_TRY(
        restate_resolve(ctx, "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ", restate_str("3")));
    RESTATE_TRY(restate_resolve(ctx, late_id, restate_str("0")));
    if (delivered) RESTATE_TRY(restate_await(ctx, late, NULL));
    RESTATE_TRY(restate_await(ctx, own, &value));
    RESTATE_TRY(restate_reject(ctx, id, NULL));
    RESTATE_TRY(restate_sleep(ctx, 10));
    RESTATE_TRY(restate_await(ctx, all, NULL));
    RESTATE_TRY(restate_await(ctx, own, &again));
    RESTATE_TRY(restate_await(ctx, restate_signal(ctx, "row"), &first));
    RESTATE_TRY(restate_await(ctx, restate_signal(ctx, "row"), &second));
    return restate_reply(
        ctx, restate_json(ctx, "[%-s, %-s, %-s, %-s]", (const char *)value.ptr,
                          (const char *)again.ptr, (const char *)first.ptr,
                          (const char *)second.ptr));
}

/* What each function that takes an id says of one: 0, or the code of the failure. */
static restate_status rows_ids(restate_ctx *ctx, restate_bytes input) {
    const char *id = "";
    int codes[6];
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &id));
    const restate_invocation of = { .id = id };
    const restate_status said[6] = {
        restate_cancel(ctx, id),
        restate_signal_resolve(ctx, id, "nobody-waits", restate_str("1")),
        restate_signal_reject(ctx, id, "nobody-waits", NULL),
        restate_resolve(ctx, id, restate_str("1")),
        restate_reject(ctx, id, NULL),
        restate_attach(ctx, of, NULL)
    };
    codes[5] = said[5] == RESTATE_TERMINAL ? restate_failed(ctx)->code : 0;
    restate_status last = restate_output(ctx, of, NULL);
    int output = last == RESTATE_TERMINAL ? restate_failed(ctx)->code : 0;
    for (int i = 0; i < 5; i++) codes[i] = said[i] == RESTATE_TERMINAL ? 400 : (int)said[i];
    return restate_reply(ctx, restate_json(ctx, "'%d %d %d %d %d %d %d'", codes[0], codes[1],
                                           codes[2], codes[3], codes[4], codes[5], output));
}

/* Bytes of every value, in a step and through a call. */
static restate_status all_bytes(restate_ctx *run, void *arg) {
    char *bytes = restate_alloc(run, 256);
    (void)arg;
    if (!bytes) return RESTATE_ENDED;
    for (int i = 0; i < 256; i++) bytes[i] = (char)i;
    return restate_reply(run, (restate_bytes){ (const uint8_t *)bytes, 256 });
}

static restate_status rows_bytes(restate_ctx *ctx, restate_bytes input) {
    const restate_target echo = { .service = "Payload", .handler = "bytes" };
    restate_bytes bytes, echoed;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "bytes", all_bytes, NULL, NULL, &bytes));
    RESTATE_TRY(restate_call(ctx, echo, bytes, NULL, &echoed));
    RESTATE_TRY(restate_sleep(ctx, 10));
    if (bytes.len != 256 || echoed.len != 256 || memcmp(bytes.ptr, echoed.ptr, 256) != 0)
        return restate_fail(ctx, 500, "%zu, %zu", bytes.len, echoed.len);
    return restate_reply(ctx, restate_str("256"));
}

/* A parameter of a command changes in the second attempt: "call", "send" or "set". */
static restate_status rows_drift(restate_ctx *ctx, restate_bytes input) {
    const restate_target next = { .service = "Load", .handler = "next" };
    const restate_bytes n = restate_str(restate_request(ctx)->retry_count == 0 ? "1" : "2");
    const char *what = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &what));
    if (strcmp(what, "call") == 0) restate_call_async(ctx, next, n, NULL);
    else if (strcmp(what, "send") == 0) restate_send(ctx, next, n, NULL);
    else RESTATE_TRY(restate_set(ctx, "n", n));
    return fail_once(ctx);
}

/* Since protocol 7. -> the result of a call in a scope */
static restate_status rows_scope(restate_ctx *ctx, restate_bytes input) {
    const restate_target next = { .service = "Load", .handler = "next", .scope = "row.scope" };
    const restate_call_options limit = { .limit_key = "tenant/user" };
    restate_bytes reply;
    RESTATE_TRY(restate_call(ctx, next, input, &limit, &reply));
    return restate_reply(ctx, reply);
}

/* Since protocol 7. -> the code that a scope gives where no invocation is in it */
static restate_status rows_in_scope(restate_ctx *ctx, restate_bytes input) {
    restate_invocation nobody = { .target = { .service = "Race", .key = "nobody" } };
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &nobody.target.scope));
    restate_status s = restate_attach(ctx, nobody, NULL);
    return s == RESTATE_TERMINAL
               ? restate_reply(ctx, restate_json(ctx, "%d", (int)restate_failed(ctx)->code))
               : s;
}

/* -> the attempt it is; each wait ends one (see its options) */
static long long awake_tries;               /* atomic */

static restate_status rows_awake(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    __atomic_add_fetch(&awake_tries, 1, __ATOMIC_RELAXED);
    RESTATE_TRY(restate_sleep(ctx, 300));
    return restate_reply(
        ctx, restate_json(ctx, "%lld", __atomic_exchange_n(&awake_tries, 0, __ATOMIC_RELAXED)));
}

/* ---- Lazy: state is never sent along --------------------------------------------------------- */

static restate_status lazy_read(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "k", &value));
    RESTATE_TRY(restate_keys(ctx, NULL));
    return restate_set(ctx, "k", restate_str("1"));
}

/* Cancels itself and reads until that has come: "get" or "keys". -> the code */
static restate_status lazy_cancelled(restate_ctx *ctx, restate_bytes input) {
    restate_status s = restate_cancel(ctx, restate_request(ctx)->invocation_id);
    const char *how = "";
    RESTATE_TRY(s);
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &how));
    for (int i = 0; s == RESTATE_OK && i < 1000; i++)
        s = strcmp(how, "get") == 0 ? restate_get(ctx, "k", NULL) : restate_keys(ctx, NULL);
    if (s == RESTATE_OK) return restate_fail(ctx, 500, "it never came");
    if (s != RESTATE_CANCELLED) return s;
    RESTATE_TRY(restate_get(ctx, "k", NULL));               /* works again */
    return restate_reply(ctx, restate_json(ctx, "%d", restate_failed(ctx)->code));
}

/* ---- Race: a promise beside a timer ---------------------------------------------------------- */

static restate_status race_run(restate_ctx *ctx, restate_bytes input) {
    restate_future *two[] = { restate_promise(ctx, "go"),
                              restate_sleep_async(ctx, RESTATE_HOURS(1), NULL) };
    restate_bytes value;
    size_t first = 9;
    (void)input;
    RESTATE_TRY(restate_select(ctx, two, 2, &first));
    RESTATE_TRY(restate_await(ctx, restate_race(ctx, two, 2), &value));
    return restate_reply(ctx, restate_json(ctx, "[%zu, %-s]", first, (const char *)value.ptr));
}

static restate_status race_go(restate_ctx *ctx, restate_bytes input) {
    RESTATE_TRY(restate_promise_resolve(ctx, "go", input));
    return restate_reply(ctx, input);
}

static restate_status say_no_more(restate_ctx *ctx, restate_bytes input) {
    return input.ptr ? restate_fail(ctx, 500, "there was something") : RESTATE_OK;
}

/* What handlers are given by those that give nothing, and by those that should not: "[n, n, n, n]" with n
 * bytes, -1 for absent ones; the readers of JSON keep their defaults. */
static restate_status says_nothing(restate_ctx *ctx, restate_bytes input) {
    (void)ctx, (void)input;
    return RESTATE_OK;
}

static restate_status length_of(restate_ctx *ctx, restate_bytes input) {
    return restate_reply(ctx, restate_json(ctx, "%d", input.ptr ? (int)input.len : -1));
}

static restate_status ask_payload(restate_ctx *ctx, const char *handler, restate_bytes body, int *length) {
    const restate_target to = { .service = "Payload", .handler = handler };
    struct cJSON *tree = NULL;
    long long n = 7;
    restate_bytes reply;
    RESTATE_TRY(restate_call(ctx, to, body, NULL, &reply));
    RESTATE_TRY(restate_json_int(ctx, reply, NULL, &n));
    RESTATE_TRY(restate_decode(ctx, RESTATE_JSON, reply, &tree));
    *length = !reply.ptr ? -1 : (int)reply.len;
    return n == 7 ? RESTATE_OK : restate_fail(ctx, 500, "%s gave %lld", handler, n);
}

static restate_status asks_payloads(restate_ctx *ctx, restate_bytes input) {
    const restate_target to = { .service = "Payload", .handler = "length" }, none = { .service = "Payload", .handler = "lengthOfNone" };
    int silent, hush, nothing;
    restate_bytes empty, dropped;
    RESTATE_TRY(ask_payload(ctx, "silent", input, &silent));
    RESTATE_TRY(ask_payload(ctx, "hush", input, &hush));
    RESTATE_TRY(ask_payload(ctx, "nothing", input, &nothing));
    RESTATE_TRY(restate_call(ctx, to, (restate_bytes){0}, NULL, &empty));
    RESTATE_TRY(restate_call(ctx, none, input, NULL, &dropped));
    return restate_reply(ctx, restate_json(ctx, "[%d, %d, %d, %-s, %-s]", silent, hush, nothing, (const char *)empty.ptr, (const char *)dropped.ptr));
}

/* Text, whatever its characters, there and back. */
static restate_status letters(restate_ctx *ctx, restate_bytes input) {
    restate_bytes text = {0};
    RESTATE_TRY(restate_json_text(ctx, input, "text", &text));
    return restate_reply(ctx, restate_json(ctx, "{'text': %-s, 'bytes': %zu}", (const char *)restate_json_quote(ctx, text).ptr, text.len));
}

static restate_status fails_with(restate_ctx *ctx, restate_bytes input) {
    long long code = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &code));
    return restate_fail(ctx, (uint16_t)code, "code %lld", code);
}

static restate_status retries_with(restate_ctx *ctx, restate_bytes input) {
    restate_retry_options o = { .code = 0 };
    long long code = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &code));
    o.code = (uint16_t)code;
    return restate_retry(ctx, &o, "code %lld", code);
}

static restate_status fails_doubly(restate_ctx *ctx, restate_bytes input) {
    const restate_failure failure = { 410, "gone", RESTATE_PAIRS({ "a", "1" }, { "a", "2" }) };
    (void)input;
    return restate_fail_with(ctx, &failure);
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
    { .name = "nap", .fn = block_nap, .options = { .blocking = RESTATE_ON } },
    { .name = "meet", .fn = block_meet, .options = { .blocking = RESTATE_ON } }) };

static const restate_service flow = { .name = "Flow", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
    { .name = "run", .fn = flow_run, .input = RESTATE_VOID },
    { .name = "peek", .fn = flow_peek, .shared = true, .input = RESTATE_VOID },
    { .name = "resolve", .fn = flow_resolve, .shared = true, .output = RESTATE_VOID },
    { .name = "reject", .fn = flow_reject, .shared = true, .output = RESTATE_VOID }) };
static const restate_service ear = { .name = "Ear", .handlers = RESTATE_HANDLERS(
    { .name = "listen", .fn = ear_listen },
    { .name = "tell", .fn = ear_tell, .output = RESTATE_VOID }) };
static const restate_service desk = { .name = "Desk", .handlers = RESTATE_HANDLERS(
    { .name = "start", .fn = desk_start },
    { .name = "attach", .fn = desk_attach },
    { .name = "attachFor", .fn = desk_attach_for },
    { .name = "output", .fn = desk_output }) };
static const restate_service many = { .name = "Many", .handlers = RESTATE_HANDLERS(
    { .name = "order", .fn = many_order },
    { .name = "orderBlocking", .fn = many_order, .options = { .blocking = RESTATE_ON } },
    { .name = "sleeps", .fn = many_sleeps },
    { .name = "deep", .fn = many_deep }) };
static const restate_service small = { .name = "Small", .handlers = RESTATE_HANDLERS(
    { .name = "now", .fn = small_now, .input = RESTATE_VOID },
    { .name = "settled", .fn = small_settled, .input = RESTATE_VOID },
    { .name = "patience", .fn = small_patience },
    { .name = "impatience", .fn = small_impatience, .input = RESTATE_VOID },
    { .name = "fail", .fn = small_fail, .input = RESTATE_VOID },
    { .name = "relay", .fn = small_relay, .input = RESTATE_VOID },
    { .name = "reject", .fn = small_reject, .input = RESTATE_VOID },
    { .name = "myself", .fn = small_myself, .input = RESTATE_VOID },
    { .name = "large", .fn = small_large },
    { .name = "echo", .fn = small_echo },
    { .name = "pause", .fn = small_pause },
    { .name = "pauseStep", .fn = small_pause_step, .input = RESTATE_VOID },
    { .name = "loser", .fn = small_loser, .input = RESTATE_VOID },
    { .name = "header", .fn = small_header }) };
static const restate_service paper = { .name = "Paper", .handlers = RESTATE_HANDLERS(
    { .name = "bytes", .fn = paper_echo, .input = RESTATE_BYTES, .output = RESTATE_BYTES },
    { .name = "nothing", .fn = paper_void, .input = RESTATE_VOID, .output = RESTATE_VOID },
    { .name = "described", .fn = paper_echo, .input = &described, .output = &described }) };
static const restate_service lists = {
    .name = "List",
    .kind = RESTATE_OBJECT,
    .handlers = RESTATE_HANDLERS(
        { .name = "backwards", .fn = paper_csv, .input = &csv, .output = &csv, .accept = "text/*" },
        { .name = "unreadable", .fn = paper_unreadable },
        { .name = "unwritable", .fn = paper_unwritable, .input = RESTATE_VOID, .output = &csv })
};
static const restate_service vault = {
    .name = "Vault",
    .kind = RESTATE_OBJECT,
    .options = { .seal = &vault_seals },
    .handlers = RESTATE_HANDLERS(
        { .name = "keep", .fn = vault_keep, .input = RESTATE_VOID },
        { .name = "echo", .fn = paper_echo, .input = RESTATE_BYTES, .output = RESTATE_BYTES })
};
static const restate_service asker = { .name = "Asker",
                                       .kind = RESTATE_OBJECT,
                                       .options = { .user = &asker_user },
                                       .handlers =
                                           RESTATE_HANDLERS({ .name = "ask", .fn = asker_ask }) };
static const restate_service nest = { .name = "Nest", .handlers = RESTATE_HANDLERS(
    { .name = "all", .fn = nest_all, .input = RESTATE_VOID },
    { .name = "blind", .fn = nest_blind },
    { .name = "fail", .fn = nest_fail },
    { .name = "callee", .fn = nest_callee },
    { .name = "place", .fn = nest_place, .input = RESTATE_VOID },
    { .name = "scoped", .fn = nest_scoped, .input = RESTATE_VOID },
    { .name = "later", .fn = nest_later }) };
static const restate_service children = { .name = "Child", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "hang", .fn = child_hang, .input = RESTATE_VOID },
    { .name = "state", .fn = child_state, .shared = true, .input = RESTATE_VOID }) };
static const restate_service parent = { .name = "Parent", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "point", .fn = parent_point },
    { .name = "state", .fn = child_state, .shared = true, .input = RESTATE_VOID },
    { .name = "wait", .fn = parent_wait, .input = RESTATE_VOID },
    { .name = "waitForAll", .fn = parent_wait, .input = RESTATE_VOID, .options = { .cancel_sends = RESTATE_ON } },
    { .name = "explicit", .fn = parent_explicit, .input = RESTATE_VOID, .options = { .explicit_cancellation = RESTATE_ON } }) };
static const restate_service hooked = { .name = "Hooked", .options = { .hooks = &hooks }, .handlers = RESTATE_HANDLERS(
    { .name = "work", .fn = hooked_work, .input = RESTATE_VOID }) };
static const restate_service watch = { .name = "Watch", .handlers = RESTATE_HANDLERS(
    { .name = "counts", .fn = hooked_counts, .input = RESTATE_VOID }) };
static const restate_service mapped = { .name = "Mapped", .options = { .map_error = map_error }, .handlers = RESTATE_HANDLERS(
    { .name = "handler", .fn = mapped_handler, .input = RESTATE_VOID },
    { .name = "step", .fn = mapped_step, .input = RESTATE_VOID },
    { .name = "other", .fn = mapped_other }) };
static const restate_service rationed = { .name = "Rationed", .handlers = RESTATE_HANDLERS(
        { .name = "count", .fn = rationed_count, .input = RESTATE_VOID },
        { .name = "time", .fn = rationed_time, .input = RESTATE_VOID }),
    .options = { .run_retry = { .initial_interval_ms = 10, .max_attempts = 3 } } };
static const restate_service store = { .name = "Store", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "fill", .fn = store_fill },
        { .name = "drop", .fn = store_drop },
        { .name = "wipe", .fn = store_wipe, .input = RESTATE_VOID },
        { .name = "keys", .fn = store_keys, .shared = true, .input = RESTATE_VOID },
        { .name = "sum", .fn = store_sum, .shared = true, .input = RESTATE_VOID },
        { .name = "all", .fn = store_all, .shared = true, .input = RESTATE_VOID },
        { .name = "misuse", .fn = store_misuse, .shared = true }),
    .options = { .retry = { .initial_interval_ms = 10, .max_attempts = 2, .when_exhausted = RESTATE_EXHAUSTED_FAIL } } };
static const restate_service fickle = { .name = "Fickle", .handlers = RESTATE_HANDLERS(
        { .name = "change", .fn = fickle_change, .input = RESTATE_VOID },
        { .name = "changeAndFail", .fn = fickle_change, .input = RESTATE_VOID, .options = { .on_mismatch = RESTATE_MISMATCH_FAIL } }),
    .options = { .retry = { .initial_interval_ms = 10, .factor = 30, .max_attempts = 3, .when_exhausted = RESTATE_EXHAUSTED_PAUSE } } };

/* What the rows of the table of capabilities need besides (tests/features). */
#define ONE_TRY .retry = { .max_attempts = 1, .when_exhausted = RESTATE_EXHAUSTED_FAIL }
#define THREE_TRIES \
    .retry = { .initial_interval_ms = 10, \
               .max_attempts = 3, \
               .when_exhausted = RESTATE_EXHAUSTED_FAIL }
static const restate_service steps = { .name = "Steps", .handlers = RESTATE_HANDLERS(
    { .name = "nothing", .fn = steps_nothing, .input = RESTATE_VOID },
    { .name = "ghost", .fn = steps_ghost, .input = RESTATE_VOID },
    { .name = "plain", .fn = steps_plain, .input = RESTATE_VOID },
    { .name = "later", .fn = steps_later, .input = RESTATE_VOID },
    { .name = "capped", .fn = steps_capped, .input = RESTATE_VOID },
    { .name = "help", .fn = steps_help, .input = RESTATE_VOID },
    { .name = "pair", .fn = steps_pair, .input = RESTATE_VOID },
    { .name = "six", .fn = steps_six, .input = RESTATE_VOID },
    { .name = "crowd", .fn = steps_crowd, .input = RESTATE_VOID },
    { .name = "hopeless", .fn = steps_hopeless, .input = RESTATE_VOID },
    { .name = "misuse", .fn = steps_misuse, .input = RESTATE_VOID, .options = { ONE_TRY } },
    { .name = "cut", .fn = steps_cut, .input = RESTATE_VOID,
      .options = { .inactivity_timeout_ms = 50, .abort_timeout_ms = 200 } }) };
static const restate_service coded = {
    .name = "Coded",
    .kind = RESTATE_OBJECT,
    .handlers = RESTATE_HANDLERS(
        { .name = "echo", .fn = coded_echo, .input = &negated, .output = &negated },
        { .name = "all",
          .fn = coded_all,
          .input = &negated,
          .output = &negated,
          .options = { ONE_TRY } })
};
static const restate_service append_log = {
    .name = "Log",
    .kind = RESTATE_OBJECT,
    .handlers =
        RESTATE_HANDLERS({ RESTATE_HANDLER(append), .output = RESTATE_VOID },
                         { RESTATE_HANDLER(list), .shared = true, .input = RESTATE_VOID })
};
static const restate_service rows = {
    .name = "Rows",
    .kind = RESTATE_OBJECT,
    .handlers = RESTATE_HANDLERS(
        { .name = "send", .fn = rows_send, .output = RESTATE_VOID },
        { .name = "callFlow", .fn = rows_call_flow },
        { .name = "names", .fn = rows_names, .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "noTime", .fn = rows_no_time, .input = RESTATE_VOID },
        { .name = "twice", .fn = rows_twice },
        { .name = "ids", .fn = rows_ids, .options = { ONE_TRY } },
        { .name = "bytes", .fn = rows_bytes, .input = RESTATE_VOID },
        { .name = "drift", .fn = rows_drift, .output = RESTATE_VOID, .options = { THREE_TRIES } },
        { .name = "driftAndPause",
          .fn = rows_drift,
          .output = RESTATE_VOID,
          .options = { THREE_TRIES, .on_mismatch = RESTATE_MISMATCH_PAUSE } },
        { .name = "scope", .fn = rows_scope, .options = { ONE_TRY } },
        { .name = "inScope", .fn = rows_in_scope, .options = { ONE_TRY } },
        { .name = "awake",
          .fn = rows_awake,
          .input = RESTATE_VOID,
          .options = { .inactivity_timeout_ms = RESTATE_ZERO_MS } })
};
static const restate_service lazy = {
    .name = "Lazy",
    .kind = RESTATE_OBJECT,
    .handlers = RESTATE_HANDLERS(
        { .name = "read", .fn = lazy_read, .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "cancelled", .fn = lazy_cancelled }),
    .options = { .lazy_state = RESTATE_ON }
};
static const restate_service race = { .name = "Race",
                                      .kind = RESTATE_WORKFLOW,
                                      .handlers = RESTATE_HANDLERS(
                                          { .name = "run", .fn = race_run, .input = RESTATE_VOID },
                                          { .name = "go", .fn = race_go, .shared = true }) };
static const restate_codec xml = { .content_type = "text/xml",
                                   .json_schema = "{\"type\": \"string\"}" };
static const restate_codec plain_text = { .content_type = "text/plain; charset=utf-8" };
static const restate_codec maybe_json = { .content_type = "application/json", .optional = true };
static const restate_service payload = { .name = "Payload", .handlers = RESTATE_HANDLERS(
    { .name = "json", .fn = small_echo },
    { .name = "maybe", .fn = small_echo, .input = &maybe_json },
    { .name = "bytes", .fn = small_echo, .input = RESTATE_BYTES, .output = RESTATE_BYTES },
    { .name = "xml", .fn = small_echo, .input = &xml, .output = &xml },
    { .name = "text", .fn = small_echo, .accept = "text/*" },
    { .name = "plain", .fn = small_echo, .input = &plain_text, .output = &plain_text },
    { .name = "capitals", .fn = small_echo, .accept = "Text/CSV; header=absent" },
    { .name = "silent", .fn = says_nothing },
    { .name = "hush", .fn = small_echo, .output = RESTATE_VOID },
    { .name = "length", .fn = length_of },
    { .name = "lengthOfNone", .fn = length_of, .input = RESTATE_VOID },
    { .name = "asks", .fn = asks_payloads },
    { .name = "letters", .fn = letters },
    { .name = "fail", .fn = fails_with },
    { .name = "retry", .fn = retries_with, .options = { .retry = { .max_attempts = 1, .when_exhausted = RESTATE_EXHAUSTED_FAIL } } },
    { .name = "doubly", .fn = fails_doubly, .options = { .retry = { .max_attempts = 1, .when_exhausted = RESTATE_EXHAUSTED_FAIL } } },
    { .name = "nothing", .fn = say_no_more, .input = RESTATE_VOID, .output = RESTATE_VOID }) };
static const restate_service rich = {
    .name = "Rich",
    .kind = RESTATE_OBJECT,
    .handlers = RESTATE_HANDLERS(
        { .name = "echo",
          .fn = small_echo,
          .documentation = "Says it again.",
          .metadata = RESTATE_PAIRS({ "team", "echo" }),
          .options = { .inactivity_timeout_ms = 51000 } },
        { .name = "forget",
          .fn = small_echo,
          .options = { .journal_retention_ms = RESTATE_ZERO_MS } },
        { .name = "secret", .fn = small_echo, .options = { .ingress_private = RESTATE_ON } }),
    .documentation = "All there is to configure.",
    .metadata = RESTATE_PAIRS({ "team", "all" }),
    .options = { .inactivity_timeout_ms = 61000,
                 .abort_timeout_ms = 62000,
                 .journal_retention_ms = 63000,
                 .idempotency_retention_ms = 64000,
                 .lazy_state = RESTATE_ON,
                 .retry = { .initial_interval_ms = 70,
                            .factor = 3,
                            .max_interval_ms = 7000,
                            .max_attempts = 7,
                            .when_exhausted = RESTATE_EXHAUSTED_FAIL } }
};
static const restate_service rich_flow = {
    .name = "RichFlow",
    .kind = RESTATE_WORKFLOW,
    .handlers = RESTATE_HANDLERS(
        { .name = "run", .fn = small_echo, .options = { .workflow_retention_ms = 65000 } })
};

/* ---- What several processes serve (PROCESSES) ------------------------------------------------------------------ */

static restate_status poison(restate_ctx *ctx, restate_bytes input) {
    bool leave = false;
    RESTATE_TRY(restate_json_bool(ctx, input, "leave", &leave));
    if (leave) exit(3);
    kill(getpid(), SIGKILL);
    return RESTATE_OK;
}

static restate_status calm_step(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_json(run, "%d", 1));
}
static restate_status calm(restate_ctx *ctx, restate_bytes input) {
    long long ms = 0;
    restate_bytes one;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &ms));
    RESTATE_TRY(restate_run(ctx, "step", calm_step, NULL, NULL, &one));
    RESTATE_TRY(restate_sleep(ctx, (uint64_t)ms));
    return restate_reply(ctx, input);
}

static const restate_service risky = { .name = "Risky",
    .handlers = RESTATE_HANDLERS({ .name = "poison", .fn = poison,
        .options.retry = { .initial_interval_ms = 200, .factor = 2, .max_interval_ms = 5000 } }, { .name = "calm", .fn = calm }) };

/* A till that counts what it took; each booking takes some round trips, so that a process that dies has some. */
static restate_status till_step(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_json(run, "%d", (int)getpid()));
}
/* amount -> [all so far, the process that executed the step] */
static restate_status till_book(restate_ctx *ctx, restate_bytes input) {
    long long amount = 0, all, pid = 0;
    restate_bytes by;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &amount));
    RESTATE_TRY(restate_run(ctx, "step", till_step, NULL, NULL, &by));
    RESTATE_TRY(restate_sleep(ctx, 5));
    RESTATE_TRY(add_number(ctx, "all", amount, &all));
    RESTATE_TRY(restate_json_int(ctx, by, NULL, &pid));
    return restate_reply(ctx, restate_json(ctx, "[%lld, %lld]", all, pid));
}
static restate_status till_all(restate_ctx *ctx, restate_bytes input) {
    long long all;
    (void)input;
    RESTATE_TRY(read_number(ctx, "all", &all));
    return restate_reply(ctx, restate_json(ctx, "%lld", all));
}

static const restate_service till = { .name = "Till", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "book", .fn = till_book, .options.retry = { .initial_interval_ms = 20, .factor = 1, .max_interval_ms = 20 } },
    { .name = "all", .fn = till_all, .input = RESTATE_VOID }) };

/* ---- Locker: keys that wait for each other ------------------------------------------------------------------- */

/* ["KEY/HANDLER", ...] -> what the first of them says to the rest, or its failure */
static restate_status locker_go(restate_ctx *ctx, restate_bytes input) {
    restate_bytes next = { NULL, 0 }, said = restate_json(ctx, "'end'");
    const char *path = NULL, *rest = "[", *slash;
    if (!restate_json_next(ctx, input, &next)) return restate_reply(ctx, said);
    RESTATE_TRY(restate_json_string(ctx, next, NULL, &path));
    while (restate_json_next(ctx, input, &next))
        rest = restate_text(ctx, "%s%s%.*s", rest, rest[1] ? "," : "", RESTATE_ARG(next));
    slash = path ? strchr(path, '/') : NULL;
    if (!slash) return restate_fail(ctx, 400, "it is KEY/HANDLER");
    restate_target to = { .service = "Locker", .handler = slash + 1,
                          .key = restate_text(ctx, "%.*s", (int)(slash - path), path) };
    RESTATE_TRY(restate_sleep(ctx, 1));
    RESTATE_TRY(restate_call(ctx, to, restate_str(restate_text(ctx, "%s]", rest)), NULL, &said));
    return restate_reply(ctx, said);
}

static const restate_service locker = { .name = "Locker", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "go", .fn = locker_go }, { .name = "look", .fn = locker_go, .shared = true }),
    .options.detect_deadlocks = RESTATE_ON };

/* ---- Told: a closure that waits for its descriptor ----------------------------------------------------------- */

static int told_how;                                /* 1: the descriptor was readable, 2: and the time over */

static restate_status wait_to_be_told(restate_ctx *run, void *arg) {
    struct pollfd p = { restate_stop_fd(run), POLLIN, 0 };
    (void)arg;
    int ready = poll(&p, 1, 20000);
    __atomic_store_n(&told_how, (ready == 1 && restate_stop_requested(run)) + (restate_time_left_ms(run) == 0), __ATOMIC_SEQ_CST);
    return restate_reply(run, restate_json(run, "null"));
}

/* timeout_ms, or null -> whether it was told, and how the run ended */
static restate_status told_run(restate_ctx *ctx, restate_bytes input) {
    long long ms = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &ms));
    restate_status s = restate_run(ctx, "told", wait_to_be_told, NULL,
                                   &(restate_run_options){ .timeout_ms = (uint64_t)ms }, NULL);
    if (s != RESTATE_OK && s != RESTATE_CANCELLED) return s;
    return restate_reply(ctx, restate_json(ctx, "[%d, %s]", __atomic_load_n(&told_how, __ATOMIC_SEQ_CST),
                                           s == RESTATE_OK ? "done" : "cancelled"));
}

static const restate_service told = { .name = "Told", .handlers = RESTATE_HANDLERS({ .name = "run", .fn = told_run }) };

/* ---- Patched: code that is changed in place, and dies where it is told to (PATCHED, DIES) -------------------- */

static unsigned long from_env(const char *variable, unsigned long otherwise) {
    const char *text = getenv(variable);
    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

/* The process dies at this place of the code, whoever gets there first. */
static void place(unsigned long n) {
    if (from_env("DIES", 0) == n) kill(getpid(), SIGKILL);
}

static restate_status patched_step(restate_ctx *ctx, const char **done, const char *name) {
    RESTATE_TRY(restate_run(ctx, name, calm_step, NULL, NULL, NULL));
    *done = restate_text(ctx, "%s%s ", *done, name);
    return RESTATE_OK;
}

/* 1: the old code; 2: patched; 3: the old code is gone; 4: and the patches. */
static bool patch(restate_ctx *ctx, const char *name) {
    unsigned long version = from_env("PATCHED", 0);
    if (version == 2) return restate_patched(ctx, name);
    if (version == 3) restate_patch_done(ctx, name);
    return version > 2;
}

/* -> the steps that were taken */
static restate_status patched_run(restate_ctx *ctx, restate_bytes input) {
    const char *done = "";
    bool check, mail;
    (void)input;
    place(1);
    check = patch(ctx, "check");
    place(2);
    RESTATE_TRY(patched_step(ctx, &done, check ? "check" : "reserve"));
    place(3);
    RESTATE_TRY(restate_await(ctx, restate_promise(ctx, "go"), NULL));
    place(4);
    mail = patch(ctx, "mail");
    place(5);
    if (mail) RESTATE_TRY(patched_step(ctx, &done, "mail"));
    place(6);
    RESTATE_TRY(patched_step(ctx, &done, "ship"));
    place(7);
    RESTATE_TRY(restate_sleep(ctx, 1));
    place(8);
    return restate_reply(ctx, restate_json(ctx, "%s", done));
}

static restate_status patched_go(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_promise_resolve(ctx, "go", restate_str(""));
}

static const restate_service patched = { .name = "Patched", .kind = RESTATE_WORKFLOW,
    .handlers = RESTATE_HANDLERS({ .name = "run", .fn = patched_run, .input = RESTATE_VOID },
        { .name = "go", .fn = patched_go, .shared = true, .input = RESTATE_VOID }),
    .options.retry = { .initial_interval_ms = 20, .factor = 1, .max_interval_ms = 20 } };

static restate_endpoint *endpoint;                  /* for the signal handler */

static void on_term(int number) {
    (void)number;
    restate_endpoint_stop(endpoint);
}

int main(int argc, char **argv) {
    const char *journals = journals_to_check(argc, argv);
    kinds_change = (int)from_env("KINDS_CHANGE", 0);
    if (getenv("PATCHED"))
        return restate_serve(&(restate_endpoint_options){ .services = RESTATE_SERVICES(&patched), .address = "127.0.0.1",
            .port = (uint16_t)from_env("PORT", 9080), .threads = 1 });
    if (getenv("PROCESSES"))
        return restate_serve(&(restate_endpoint_options){ .services = RESTATE_SERVICES(&risky, &till), .address = "127.0.0.1",
            .port = (uint16_t)from_env("PORT", 9080), .threads = 2, .drain_ms = 2000,
            .processes = (uint32_t)from_env("PROCESSES", 0) });
    endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&tally, &order, &pricing, &later, &gate, &worker, &load, &blocking,
            &flow, &ear, &desk, &many, &small, &children, &parent, &hooked, &watch, &mapped, &rationed,
            &paper, &lists, &vault, &asker, &nest, &store, &fickle,
            &told, &locker, &steps, &coded, &append_log, &rows, &lazy, &race, &payload, &rich, &rich_flow, &kinds_service,
            &kinds_echo_service, &kinds_flow_service),
        .address = "127.0.0.1",
        .port = (uint16_t)from_env("PORT", 9080),
        .threads = (uint32_t)from_env("THREADS", 0),
        .drain_ms = 2000,
        .defaults = { .abort_timeout_ms = 601000 } });
    signal(SIGTERM, on_term);
    int failed = journals ? check_journals(endpoint, journals) : restate_endpoint_run(endpoint) != RESTATE_OK;
    if (failed && !journals) fprintf(stderr, "e2e-services: %s\n", restate_endpoint_error(endpoint));
    restate_endpoint_free(endpoint);
    return failed;
}
