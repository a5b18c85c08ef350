/* The example's firmware without its relay, in the emulator: what it does with recorded journals and without memory, what
 * RAM it takes, and how deep each function goes on the stack. The figures are limits: more fails.
 *
 *     make firmware-check
 *
 * Compiled as the image is: -Os, RESTATE_SMALL, 64 KB of RAM. */
#define RESTATE_IMPLEMENTATION
#include "../examples/firmware/sdk.h"
#include "../examples/firmware/services.h"
#include "../examples/firmware/tasks.h"
#include "support/journal.c"

#include <malloc.h>

/* ---- Limits, in bytes ------------------------------------------------------------------------- */

enum {
    ENDPOINT_MOST = 4096,                   /* RAM of an endpoint, without an invocation */
    CLOSURE_MOST = 440,                     /* stack between a handler and the closure of its run */
    STACK_MOST = 1400,                      /* what the example's handlers use of their stacks */
    INVOCATION_MOST = 10240                 /* what one invocation takes of the heap, its stack included */
};

/* ---- Memory: what is in use, headers of blocks included ---------------------------------------- */

static mem_counts memory;
static size_t most;                         /* bytes of the heap in use, since heap_begin() */

static size_t heap_used(void) { return (size_t)mallinfo().uordblks; }

static void heap_look(void) {
    if (heap_used() > most) most = heap_used();
}
static void *heap_realloc(void *user, void *old, size_t old_size, size_t size) {
    void *p = mem_realloc(user, old, old_size, size);
    heap_look();
    return p;
}
static void *heap_alloc(void *user, size_t size) { return heap_realloc(user, NULL, 0, size); }

/* The port takes tasks and signals from malloc() and calloc(). The linker has them here (--wrap), so that those of the
 * library's calls fail as those of its allocator do; those of the test never do. */
extern void *__real_malloc(size_t size), *__real_calloc(size_t count, size_t size);
extern void *__wrap_malloc(size_t size), *__wrap_calloc(size_t count, size_t size);
static bool in_library;
static size_t port_calls;

static bool port_refuses(void) {
    if (!in_library) return false;
    port_calls++;
    size_t call = ++memory.calls;
    return memory.fail_at && (memory.fail_on ? call >= memory.fail_at : call == memory.fail_at);
}
void *__wrap_malloc(size_t size) { return port_refuses() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return port_refuses() ? NULL : __real_calloc(count, size); }

/* ---- One exchange ------------------------------------------------------------------------------ */

static restate_endpoint *endpoint;
static restate_stream *stream;
static char said[4096];                     /* frames as text, or the body of another response */
static uint16_t status;
static restate_status last;
static restate_endpoint_options options;

static bool begin_endpoint(void) {
    options.allocator = (restate_allocator){ .alloc = heap_alloc, .realloc = heap_realloc, .free = mem_free, .user = &memory };
    if (!options.services) options.services = services;
    options.max_invocations = 3;
    options.max_message_bytes = options.window_bytes = 8192;
    options.defaults.inactivity_timeout_ms = RESTATE_ZERO_MS;
    if (!options.defaults.stack_bytes) options.defaults.stack_bytes = 4096;
    endpoint = restate_endpoint_new(&options);
    return endpoint != NULL;
}

static void end_endpoint(void) {
    restate_endpoint_free(endpoint);
    endpoint = NULL;
    options = (restate_endpoint_options){ .port = 0 };
    CHECK_INT(memory.live, 0);
}

static bool open_stream(const char *method, const char *path, const char *name, const char *value) {
    const restate_pair headers[] = { { name, value }, { NULL, NULL } };
    stream = restate_stream_open(endpoint, &(restate_http_request){ method, path, headers, false });
    return stream != NULL;
}

/* Takes until there is nothing. What was sent is in `said`: frames as lines, if they are some. */
static void take(bool frames) {
    size_t len = 0;
    restate_bytes b;
    static uint8_t bytes[2048];
    do {
        last = restate_stream_take(stream, &b, &status, NULL);
        if (last != RESTATE_ERROR && len + b.len <= sizeof bytes) memcpy(bytes + len, b.ptr ? b.ptr : bytes, b.len), len += b.len;
    } while (last == RESTATE_OK && b.len);
    rt_bytes text = { NULL, 0, 0 };
    if (!frames) rt_add(&text, bytes, len);
    for (size_t at = 0, n; frames && at < len; at += n) {
        n = rt_show_frame(&text, bytes + at, len - at);
        if (!n) n = len - at;
    }
    snprintf(said, sizeof said, "%s", text.at ? (const char *)text.at : "");
    rt_drop(&text);
}

/* An attempt at `path` with the journal of rt_script. */
static void attempt(const char *path) {
    most = 0;
    *said = 0;
    status = 0;
    in_library = true;
    if (open_stream("POST", path, "content-type", "application/vnd.restate.invocation.v6")) {
        last = restate_stream_feed(stream, restate__b(rt_script.at, rt_script.len));
        if (last == RESTATE_OK) last = restate_stream_feed(stream, restate__b_none());
        in_library = false;
        if (last != RESTATE_ERROR) take(true);
    } else {
        last = RESTATE_ERROR;
    }
    in_library = false;
    rt_script.len = 0;
}

static void hang_up(void) {
    restate_stream_free(stream);
    stream = NULL;
    rt_drop(&rt_script);
    rt_free_all();
}

/* ---- What it does ------------------------------------------------------------------------------ */

TEST(discovery) {
    CHECK(begin_endpoint());
    CHECK(open_stream("GET", "/discover", "accept", "application/vnd.restate.endpointmanifest.v4+json"));
    take(false);
    CHECK_INT(status, 200);
    CHECK_HAS(said, "\"name\":\"Sensor\"");
    hang_up();
    end_endpoint();
}

static void sample_begins(unsigned known) {
    start(known, .complete = true, .key = "roof", .state = "count=41", .seed = 1);
    frame(M_INPUT, "14()");
}

TEST(a_run_suspends) {
    CHECK(begin_endpoint());
    sample_begins(1);
    attempt("/invoke/Sensor/sample");
    CHECK_HAS(said, "GetEagerState \"count\" value \"41\"\nRun 2 \"adc\"\nPropose 2 value");
    CHECK_HAS(said, "\nSuspension {c:2,s:1}\n");
    hang_up();
    end_endpoint();
}

TEST(a_recorded_journal_is_replayed) {
    CHECK(begin_endpoint());
    sample_begins(4);
    cmd_get_eager("count", "41");
    cmd_run(2, "adc");
    note_value(N_RUN, 2, "2048");
    attempt("/invoke/Sensor/sample");
    CHECK_STR(said, "SetState \"count\" value \"42\"\nOutput value \"{\"count\": 42, \"mV\": 1650}\"\nEnd\n");
    CHECK_INT(last, RESTATE_ENDED);
    hang_up();
    end_endpoint();
}

static void report_sleeps(unsigned known) {
    start(known, .complete = true, .seed = 1);
    frame(M_INPUT, "14(1s)", "{\"sensor\":\"roof\",\"samples\":2,\"pauseMs\":100}");
    cmd_run(1, "now");
    note_value(N_RUN, 1, "1700000000000");
    frame(M_CALL, "1s 2s 3n 5s 10u 11u", "Sensor", "sample", "", "roof", 2, 3);
    note_id(2, "inv_1");
    note_value(N_CALL, 3, "{\"count\":1,\"mV\":1650}");
}

TEST(calls_and_sleeps_are_replayed) {
    CHECK(begin_endpoint());
    report_sleeps(5);
    attempt("/invoke/Station/report");
    CHECK_HAS(said, "Sleep 4 wake:");
    CHECK_HAS(said, "Suspension {c:4,s:1}");
    hang_up();
    end_endpoint();
}

TEST(other_code_than_recorded) {
    CHECK(begin_endpoint());
    sample_begins(2);
    cmd_set("count", "41");
    attempt("/invoke/Sensor/sample");
    CHECK_HAS(said, "Error 570 ");
    hang_up();
    end_endpoint();
}

/* ---- Without memory ----------------------------------------------------------------------------- */

/* Each allocation fails once, and each with all after it, those of the port included: the attempt ends with an error, the
 * next one has what it needs, and in the end the heap is as it was. */
TEST(out_of_memory) {
    size_t needed = 0, refused = 0;
    CHECK(begin_endpoint());                /* so that the test itself has what it keeps */
    sample_begins(1);
    port_calls = 0;
    attempt("/invoke/Sensor/sample");
    hang_up();
    end_endpoint();
    CHECK(port_calls >= 5);                 /* a stack, its task, signals */
    const size_t before = heap_used();
    for (size_t n = 1; !needed || n <= needed; n++)
        for (int all = 0; all < 2; all++) {
            char where[32];
            snprintf(where, sizeof where, "allocation %u", (unsigned)n);
            test_note = where;
            if (all) mem_fail_from(&memory, n);
            else mem_fail(&memory, n);
            if (!begin_endpoint()) {
                refused++;
            } else {
                sample_begins(1);
                attempt("/invoke/Sensor/sample");
                CHECK(last == RESTATE_ERROR || status == 503 || strstr(said, "Suspension") || strstr(said, "Error 500 "));
                refused += last == RESTATE_ERROR || !strstr(said, "Suspension");
                hang_up();
            }
            if (memory.calls < n && !needed) needed = n;
            memory.fail_at = 0;
            if (endpoint) {
                sample_begins(1);
                attempt("/invoke/Sensor/sample");
                if (!*restate_endpoint_error(endpoint)) CHECK_HAS(said, "\nSuspension {c:2,s:1}\n");
                hang_up();
            }
            end_endpoint();
            CHECK_INT(heap_used(), before);
        }
    test_note = "";
    CHECK(needed > 8);
    CHECK_INT(refused, 2 * (needed - 1));   /* none is tolerated, none goes unnoticed */
}

/* The heap has no room for a stack; then it has. */
TEST(no_room_for_a_stack) {
    options.defaults.stack_bytes = 60 * 1024;
    CHECK(begin_endpoint());
    sample_begins(1);
    attempt("/invoke/Sensor/sample");
    CHECK(status == 503 || strstr(said, "Error 500 "));
    hang_up();
    end_endpoint();
    CHECK(begin_endpoint());
    sample_begins(1);
    attempt("/invoke/Sensor/sample");
    CHECK_HAS(said, "\nSuspension {c:2,s:1}\n");
    hang_up();
    end_endpoint();
}

/* ---- How much RAM ------------------------------------------------------------------------------- */

static void at_most(const char *what, size_t bytes, size_t limit) {
    printf("  %-34s %6u bytes, at most %u\n", what, (unsigned)bytes, (unsigned)limit);
    test_note = what;
    CHECK(bytes > 0 && bytes <= limit);
    test_note = "";
}

/* What an attempt takes of the heap, on an endpoint that has had none. */
static size_t heap_of(const char *path, void (*script)(unsigned known), unsigned known) {
    CHECK(begin_endpoint());
    script(known);
    size_t before = heap_used();
    attempt(path);
    size_t taken = most - before;
    hang_up();
    end_endpoint();
    return taken;
}

TEST(memory_fits) {
    size_t before = heap_used();
    CHECK(begin_endpoint());
    at_most("endpoint", heap_used() - before, ENDPOINT_MOST);
    end_endpoint();
    at_most("invocation of Sensor/sample", heap_of("/invoke/Sensor/sample", sample_begins, 1), INVOCATION_MOST);
    at_most("invocation of Station/report", heap_of("/invoke/Station/report", report_sleeps, 5), INVOCATION_MOST);
    at_most("of that stack", tasks_deepest(), STACK_MOST);
}

/* ---- How deep functions go ---------------------------------------------------------------------- */

#define PAINT 0xA5A5A5A5u

/* Paints what is below, without a call, which would be in it. */
static volatile uint32_t *depth_began;      /* the stack pointer then */
#define DEPTH_BEGIN() \
    volatile uint32_t *depth_sp, *depth_low = tasks_stack_low(); \
    __asm__ volatile("mov %0, sp" : "=r"(depth_sp)); \
    depth_began = depth_sp; \
    for (volatile uint32_t *p_ = depth_low; p_ < depth_sp; p_++) *p_ = PAINT
#define DEPTH_END() depth_of(depth_low, depth_sp)
static size_t depth_of(volatile uint32_t *low, volatile uint32_t *sp) {
    while (low < sp && *low == PAINT) low++;
    return (size_t)(sp - low) * sizeof *low;
}

/* The interrupts of the clock are put on the stack that they meet. */
static void stop_clock(bool stop) { *(volatile uint32_t *)0xE000E010u = stop ? 0 : 7; }

static size_t deepest[48];

#define MEASURED(at, call) do { \
        DEPTH_BEGIN(); \
        (void)(call); \
        size_t depth_ = DEPTH_END(); \
        if (depth_ > deepest[at]) deepest[at] = depth_; \
    } while (0)

static size_t closure_depth;                /* where a closure begins, below the handler */

static restate_status replies(restate_ctx *run, void *arg) {
    volatile uint32_t *sp;
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    closure_depth = (size_t)(depth_began - sp) * sizeof *sp;
    (void)arg;
    return restate_reply(run, restate_str("1"));
}

static const restate_target roof = { .service = "Sensor", .key = "roof", .handler = "sample" };
#define ID "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn"
#define AWAKEABLE "sign_1NMyOAvDK2CcBjUH4Rmb7eGBp0DNNDnmsAAAAEQ"

/* Functions of handlers, the limit of each, and the call. `v`, `n`, `d`, `t`, `i`: variables for results. */
#define FUNCTIONS(X) \
    X(restate_get, 940, restate_get(ctx, "count", &v)) \
    X(restate_get_all, 1020, restate_get_all(ctx, &entries)) \
    X(restate_keys, 980, restate_keys(ctx, &keys)) \
    X(restate_set, 860, restate_set(ctx, "count", restate_str("2"))) \
    X(restate_clear, 680, restate_clear(ctx, "count")) \
    X(restate_clear_all, 500, restate_clear_all(ctx)) \
    X(restate_run, 1040, restate_run(ctx, "adc", replies, NULL, NULL, &v)) \
    X(restate_sleep, 900, restate_sleep(ctx, 1000)) \
    X(restate_now, 1120, restate_now(ctx, &t)) \
    X(restate_call, 1000, restate_call(ctx, roof, restate_str("1"), NULL, &v)) \
    X(restate_call_async, 980, restate_call_async(ctx, roof, restate_str("1"), NULL)) \
    X(restate_send, 980, restate_send(ctx, roof, restate_str("1"), NULL)) \
    X(restate_attach, 980, restate_attach(ctx, (restate_invocation){ .id = ID }, &v)) \
    X(restate_cancel, 740, restate_cancel(ctx, ID)) \
    X(restate_awakeable, 320, restate_awakeable(ctx, &text)) \
    X(restate_resolve, 940, restate_resolve(ctx, AWAKEABLE, restate_str("1"))) \
    X(restate_signal, 560, restate_signal(ctx, "go")) \
    X(restate_await, 800, restate_await(ctx, restate_sleep_async(ctx, 1000, NULL), &v)) \
    X(restate_all, 800, restate_await(ctx, restate_all(ctx, two, 2), &v)) \
    X(restate_random, 520, restate_random(ctx)) \
    X(restate_uuid, 540, restate_uuid(ctx)) \
    X(restate_json, 440, restate_json(ctx, "{'a': %d, 'b': %s, 'c': [%g, %lld]}", 1, "text", 0.25, 1LL << 40)) \
    X(restate_json_int, 400, restate_json_int(ctx, restate_str("{\"a\":17}"), "a", &n)) \
    X(restate_json_double, 400, restate_json_double(ctx, restate_str("{\"a\":1.5}"), "a", &d)) \
    X(restate_json_string, 480, restate_json_string(ctx, restate_str("{\"a\":\"b\"}"), "a", &text)) \
    X(restate_text, 560, restate_text(ctx, "%d %s", 1, "x")) \
    X(restate_log, 1020, restate_log(ctx, RESTATE_LOG_INFO, "%d %s", 1, "x")) \
    X(restate_alloc, 60, restate_alloc(ctx, 100)) \
    X(restate_reply, 100, restate_reply(ctx, restate_str("1"))) \
    X(restate_fail, 560, restate_fail(ctx, 400, "no %d", 1)) \
    X(restate_retry, 620, restate_retry(ctx, NULL, "later %d", 1))

enum {
#define X(name, limit, call) AT_##name,
    FUNCTIONS(X)
#undef X
    FUNCTIONS_COUNT, AT_OPEN = FUNCTIONS_COUNT, AT_FEED, AT_TAKE, AT_FREE, AT_NEW
};

static restate_status measures(restate_ctx *ctx, restate_bytes input) {
    restate_bytes v;
    long long n = 0;
    double d = 0;
    uint64_t t = 0;
    const char *text = "";
    const char *const *keys;
    const restate_entry *entries;
    long long which = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &which));
    restate_future *two[2] = { NULL, NULL };
    if (which == AT_restate_all) two[0] = restate_sleep_async(ctx, 1, NULL), two[1] = restate_sleep_async(ctx, 2, NULL);
    switch (which) {
#define X(name, limit, call) case AT_##name: MEASURED(AT_##name, call); break;
    FUNCTIONS(X)
#undef X
    default: break;
    }
    (void)v, (void)n, (void)d, (void)t, (void)text, (void)keys, (void)entries;
    return RESTATE_OK;
}

static const restate_service depths = { .name = "Depths", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "measures", .fn = measures }) };
static const restate_service *const measured[] = { &depths, NULL };

static char misused[128];                   /* the first error that was logged */
static void keep_errors(void *user, const restate_log_record *r) {
    (void)user;
    if (r->level == RESTATE_LOG_ERROR && !*misused) snprintf(misused, sizeof misused, "%s", r->message);
}

/* Has one function called by an attempt; `recorded` adds the entries that it made before. */
static void measure(unsigned which, unsigned entries, void (*recorded)(void)) {
    char number[8];
    restate_bytes b;
    snprintf(number, sizeof number, "%u", which);
    start(1 + entries, .complete = true, .key = "roof", .state = "count=41", .seed = 1);
    frame(M_INPUT, "14(1s)", number);
    if (recorded) recorded();
    MEASURED(AT_OPEN, open_stream("POST", "/invoke/Depths/measures", "content-type", "application/vnd.restate.invocation.v6"));
    MEASURED(AT_FEED, restate_stream_feed(stream, restate__b(rt_script.at, rt_script.len)));
    MEASURED(AT_FEED, restate_stream_feed(stream, restate__b_none()));
    MEASURED(AT_TAKE, restate_stream_take(stream, &b, &status, NULL));
    CHECK_INT(status, 200);
    MEASURED(AT_FREE, (restate_stream_free(stream), 0));
    stream = NULL;
    hang_up();
}

static void has_got(void) { cmd_get_eager("count", "41"); }
static void has_set(void) { cmd_set("count", "2"); }
static void has_run(void) { cmd_run(1, "adc"), note_value(N_RUN, 1, "1"); }
static void has_slept(void) { cmd_sleep(1, "", 1), note_sleep(1); }
static void has_called(void) {
    frame(M_CALL, "1s 2s 3n 5s 10u 11u", "Sensor", "sample", "1", "roof", 1, 2);
    note_id(1, ID);
    note_value(N_CALL, 2, "1");
}

TEST(stacks_suffice) {
    static const struct { const char *name; size_t limit; } functions[] = {
#define X(name, limit, call) { #name, limit },
        FUNCTIONS(X)
#undef X
        { "restate_stream_open", 420 }, { "restate_stream_feed", 1120 }, { "restate_stream_take", 100 },
        { "restate_stream_free", 120 }, { "restate_endpoint_new", 360 },
    };
    options.services = measured;
    options.logger.write = keep_errors;
    stop_clock(true);
    MEASURED(AT_NEW, begin_endpoint());
    for (unsigned i = 0; i < FUNCTIONS_COUNT; i++) measure(i, 0, NULL);
    measure(AT_restate_get, 1, has_got);
    measure(AT_restate_set, 1, has_set);
    measure(AT_restate_run, 2, has_run);
    measure(AT_restate_sleep, 2, has_slept);
    measure(AT_restate_call, 3, has_called);
    stop_clock(false);
    for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++) at_most(functions[i].name, deepest[i], functions[i].limit);
    at_most("to a closure of restate_run()", closure_depth, CLOSURE_MOST);
    CHECK_STR(misused, "");
    end_endpoint();
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(discovery), T(a_run_suspends), T(a_recorded_journal_is_replayed), T(calls_and_sleeps_are_replayed),
        T(other_code_than_recorded), T(out_of_memory), T(no_room_for_a_stack), T(memory_fits), T(stacks_suffice), {0}
    };
    return test_main(argc, argv, cases);
}
