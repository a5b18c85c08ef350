/* What the journal costs, without sockets: prepared requests are fed to an endpoint again and again.
 *
 *     build/bench-journal [LOOPS [OPERATION]]
 *
 * prints nanoseconds for each operation. With a number of loops and an operation it only does that,
 * for tests/bench/budget.sh, which counts instructions. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"

#include <time.h>

/* ---- The handlers ---------------------------------------------------------------------------- */

static restate_status one(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_str("1"));
}

static restate_status greet(restate_ctx *ctx, restate_bytes input) {
    const char *name = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &name));
    return restate_reply(ctx, restate_json(ctx, "%s", restate_text(ctx, "Hello %s!", name)));
}

static restate_status runs(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options here = { .inline_ok = true };
    long long steps = 0;
    restate_bytes result;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &steps));
    while (steps-- > 0) RESTATE_TRY(restate_run(ctx, "step", one, NULL, &here, &result));
    return RESTATE_OK;
}

static restate_status sleeps(restate_ctx *ctx, restate_bytes input) {
    long long steps = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &steps));
    while (steps-- > 0) RESTATE_TRY(restate_sleep(ctx, 1));
    return RESTATE_OK;
}

static restate_status sets(restate_ctx *ctx, restate_bytes input) {
    long long steps = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &steps));
    while (steps-- > 0) RESTATE_TRY(restate_set(ctx, "key", input));
    return RESTATE_OK;
}

static restate_status gets(restate_ctx *ctx, restate_bytes input) {
    long long steps = 0;
    restate_bytes value;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &steps));
    while (steps-- > 0) RESTATE_TRY(restate_get(ctx, "key", &value));
    return RESTATE_OK;
}

static restate_status gathers(restate_ctx *ctx, restate_bytes input) {
    long long steps = 0, i;
    restate_future **all;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &steps));
    all = (restate_future **)restate_alloc(ctx, (size_t)steps * sizeof *all);
    if (!all) return RESTATE_ENDED;
    for (i = 0; i < steps; i++) all[i] = restate_sleep_async(ctx, 1, NULL);
    return restate_await(ctx, restate_all(ctx, all, (size_t)steps), NULL);
}

static const restate_service bench = { .name = "B", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(greet) }, { RESTATE_HANDLER(runs) }, { RESTATE_HANDLER(sleeps) },
    { RESTATE_HANDLER(sets) }, { RESTATE_HANDLER(gets) }, { RESTATE_HANDLER(gathers) }) };

/* ---- The requests ---------------------------------------------------------------------------- */

static restate_allocator heap;
static restate__cache chunks;
static restate__worker worker;
static restate_endpoint *endpoint;

typedef enum answer { NO_ANSWER, RUN, SLEEP } answer;

typedef struct operation {
    const char *name, *path;
    unsigned entries;                       /* of this operation in a journal */
    bool replayed;                          /* they are recorded; else the handler makes them anew */
    answer answer;
    unsigned loops;                         /* for a second or so */
} operation;

static const operation operations[] = {
    { "invocation", "/invoke/B/greet", 1, false, NO_ANSWER, 300000 },
    { "replayed run, of 100", "/invoke/B/runs", 100, true, RUN, 20000 },
    { "replayed run, of 10,000", "/invoke/B/runs", 10000, true, RUN, 200 },
    { "replayed sleep, of 1,000", "/invoke/B/sleeps", 1000, true, SLEEP, 2000 },
    { "replayed sleep, gathered", "/invoke/B/gathers", 1000, true, SLEEP, 2000 },
    { "new set state, of 1,000", "/invoke/B/sets", 1000, false, NO_ANSWER, 2000 },
    { "new get state, of 1,000", "/invoke/B/gets", 1000, false, NO_ANSWER, 2000 },
};

static void put_answer(restate__buf *to, const operation *o, uint32_t id) {
    restate_wire_NotificationTemplate n;
    memset(&n, 0, sizeof n);
    n.which_id = restate_wire_NotificationTemplate_completion_id_tag;
    n.id.completion_id = id;
    if (o->answer == RUN) {
        n.which_result = restate_wire_NotificationTemplate_value_tag;
        n.result.value.content = restate_str("1");
    } else {
        n.which_result = restate_wire_NotificationTemplate_void_value_tag;
    }
    restate__wire_put(to, o->answer == RUN ? restate_wire_MSG_RUN_COMPLETION
                                           : restate_wire_MSG_SLEEP_COMPLETION,
                      0, restate_wire_NotificationTemplate_fields, &n);
}

static void put_entry(restate__buf *to, const operation *o, uint32_t id) {
    restate_wire_RunCommandMessage run;
    restate_wire_SleepCommandMessage sleep;
    memset(&run, 0, sizeof run);
    memset(&sleep, 0, sizeof sleep);
    run.name = restate_str("step");
    run.result_completion_id = sleep.result_completion_id = id;
    sleep.wake_up_time = 1700000000000u;
    if (o->answer == RUN)
        restate__wire_put(to, restate_wire_MSG_RUN_COMMAND, 0, restate_wire_RunCommandMessage_fields, &run);
    else
        restate__wire_put(to, restate_wire_MSG_SLEEP_COMMAND, 0, restate_wire_SleepCommandMessage_fields, &sleep);
}

/* Start, Input and what is recorded, in one piece. */
static restate_bytes make_request(const operation *o) {
    restate__buf buf;
    restate_wire_StartMessage start;
    restate_wire_InputCommandMessage input;
    restate_bytes all, piece;
    char number[16];
    uint8_t *to;
    uint32_t i;
    restate__buf_init(&buf, &chunks);
    memset(&start, 0, sizeof start);
    memset(&input, 0, sizeof input);
    snprintf(number, sizeof number, strstr(o->path, "greet") ? "\"bench\"" : "%u", o->entries);
    start.id = restate_str("an invocation's id, raw.");
    start.debug_id = restate_str("inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn");
    start.key = restate_str("key");
    start.known_entries = 1 + (o->replayed ? 2 * o->entries : 0);
    restate__wire_put(&buf, restate_wire_MSG_START, 0, restate_wire_StartMessage_fields, &start);
    input.has_value = true;
    input.value.content = restate_str(number);
    restate__wire_put(&buf, restate_wire_MSG_INPUT_COMMAND, 0, restate_wire_InputCommandMessage_fields, &input);
    for (i = 1; o->replayed && i <= o->entries; i++) {
        put_entry(&buf, o, i);
        put_answer(&buf, o, i);
    }
    to = (uint8_t *)malloc(buf.len);
    if (!to) abort();
    all = restate__b(to, 0);
    while (buf.len) {
        piece = restate__buf_peek(&buf);
        memcpy(to + all.len, piece.ptr, piece.len);
        all.len += piece.len;
        restate__buf_drop(&buf, piece.len);
    }
    return all;
}

static void changed(restate__exchange *x) { (void)x; }

static void drain(restate__exchange *x) {
    while (x->out.len) restate__buf_drop(&x->out, restate__buf_peek(&x->out).len);
    restate__exchange_drained(x);
}

static void serve(const operation *o, restate_bytes request) {
    restate__exchange *x = restate__exchange_new(endpoint, &worker, changed, NULL);
    if (!x) abort();
    restate__exchange_header(x, restate_str(":method"), restate_str("POST"));
    restate__exchange_header(x, restate_str(":path"), restate_str(o->path));
    restate__exchange_header(x, restate_str("content-type"),
                             restate_str("application/vnd.restate.invocation.v6"));
    restate__exchange_begin(x, false);
    restate__exchange_feed(x, request);
    do {
        while (restate__worker_turn(&worker)) continue;
        drain(x);
    } while (worker.first);
    if (!x->finished || x->attempt->vm.phase != RESTATE__CLOSED) abort();
    restate__exchange_release(x);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const operation *o) {
    restate_bytes request = make_request(o);
    double rounds[5];
    unsigned i, k;
    for (i = 0; i < 5; i++) {
        double start = now_ns();
        for (k = 0; k < o->loops / 5; k++) serve(o, request);
        rounds[i] = (now_ns() - start) / (o->loops / 5) / o->entries;
    }
    qsort(rounds, 5, sizeof *rounds, compare);
    printf("%-28s %8.1f ns\n", o->name, rounds[2]);
    free((void *)(uintptr_t)request.ptr);
}

int main(int argc, char **argv) {
    restate_endpoint_options options = { .services = RESTATE_SERVICES(&bench) };
    size_t i;
    heap = restate__mem_defaults(heap);
    restate__cache_init(&chunks, &heap, NULL, 0);
    restate__worker_init(&worker, &heap, 16u << 20, 16);
    endpoint = restate_endpoint_new(&options);
    if (*restate_endpoint_error(endpoint)) return 1;
    for (i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (argc > 2 && strcmp(argv[2], operations[i].name) == 0) {
            restate_bytes request = make_request(&operations[i]);
            long loops;
            for (loops = atol(argv[1]); loops > 0; loops--) serve(&operations[i], request);
        } else if (argc <= 2) {
            measure(&operations[i]);
        }
    }
    restate_endpoint_free(endpoint);
    restate__worker_free(&worker);
    return 0;
}
