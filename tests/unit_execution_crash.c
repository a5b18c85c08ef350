/* What a handler does to its process: each case is a process of its own, whose end is looked at. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "support/child.c"
#include "support/journal.c"

#include <pthread.h>

/* Valgrind and the sanitizers see a fault first, and have stacks of their own making. */
#if defined(RESTATE__ASAN) || defined(RESTATE__TSAN)
static bool tools(void) { return true; }
#elif defined(RESTATE_VALGRIND)
static bool tools(void) { return RUNNING_ON_VALGRIND != 0; }
#else
static bool tools(void) { return false; }
#endif

#define KIB ((size_t)1024)
#define STACK (64 * KIB)

static void silence(void *user, const restate_log_record *r) { (void)user, (void)r; }

/* ---- Frames that are larger than what is left of the stack ---------------------------------------- */

static size_t frame_bytes;                  /* of the function at hand */

/* As a function with so large a frame does it that touches the low end first. Compiled code would have to
 * be told not to probe the pages in between. */
static RESTATE__NOINLINE void touch_below(size_t bytes) {
    volatile char *frame = (volatile char *)__builtin_frame_address(0) - bytes;
    frame[0] = 1;
    frame[64] = 1;
}

static restate_status deep_after_wait(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_sleep(ctx, 1000));
    touch_below(frame_bytes);
    return restate_reply(ctx, in);
}

static restate_status deep(restate_ctx *ctx, restate_bytes in) {
    touch_below(frame_bytes);
    return restate_reply(ctx, in);
}

/* The thread of the second one has its stack below that of the first one. */
static unsigned closures_begun;             /* atomic */
static restate_status deep_step(restate_ctx *run, void *arg) {
    bool first = __atomic_fetch_add(&closures_begun, 1, __ATOMIC_SEQ_CST) == 0;
    (void)arg;
    while (__atomic_load_n(&closures_begun, __ATOMIC_SEQ_CST) < 2) usleep(1000);
    if (first) touch_below(frame_bytes);
    else usleep(200000);
    return restate_reply(run, restate_str("x"));
}
static restate_status deep_closure(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_run(ctx, "deep", deep_step, NULL, NULL, NULL));
    return restate_reply(ctx, in);
}

static restate_status waits(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_sleep(ctx, 1000));
    return restate_reply(ctx, in);
}

static const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(deep_after_wait) }, { RESTATE_HANDLER(deep) }, { RESTATE_HANDLER(waits) },
    { .name = "deep_thread", .fn = deep_after_wait, .options = { .blocking = RESTATE_ON } },
    { .name = "waits_thread", .fn = waits, .options = { .blocking = RESTATE_ON } },
    { RESTATE_HANDLER(deep_closure) }) };

static restate_endpoint *endpoint(restate_endpoint_options o) {
    o.services = RESTATE_SERVICES(&service);
    o.logger.write = silence;
    return restate_endpoint_new(&o);
}

/* An exchange that got its input, and has written what it could. */
static restate_stream *invoke(restate_endpoint *ep, const char *handler) {
    char path[64];
    restate_http_request r = { "POST", path, RESTATE_PAIRS({ "content-type",
                                                             "application/vnd.restate.invocation.v6" }), false };
    restate_stream *s;
    snprintf(path, sizeof path, "/invoke/S/%s", handler);
    s = restate_stream_open(ep, &r);
    rt_script.len = 0;
    start(1, .complete = true, .seed = 1);
    input("hello");
    restate_stream_feed(s, restate__b(rt_script.at, rt_script.len));
    return s;
}

/* Takes all there is. */
static void drain(restate_stream *s) {
    restate_bytes b;
    while (restate_stream_take(s, &b, NULL, NULL) == RESTATE_OK && b.len) continue;
}

static void go_on(restate_stream *s) {
    rt_script.len = 0;
    note_sleep(1);
    restate_stream_feed(s, restate__b(rt_script.at, rt_script.len));
    drain(s);
}

/* The stack that is mapped next lies below the first one: that is whose it would be. */
static void two_invocations(void) {
    restate_endpoint *ep = endpoint((restate_endpoint_options){ .defaults.stack_bytes = STACK });
    restate_stream *first = invoke(ep, "deep_after_wait"), *second = invoke(ep, "waits");
    drain(first), drain(second);
    go_on(first);
    go_on(second);
    _exit(9);                               /* nobody noticed anything */
}

static void one_deep(void) {
    restate_endpoint *ep = endpoint((restate_endpoint_options){ .defaults.stack_bytes = STACK });
    drain(invoke(ep, "deep"));
    _exit(9);
}

static void two_threads(void) {
    restate_endpoint *ep = endpoint((restate_endpoint_options){ .defaults.stack_bytes = STACK });
    restate_stream *first = invoke(ep, "deep_thread"), *second = invoke(ep, "waits_thread");
    drain(first), drain(second);
    go_on(first);
    go_on(second);
    _exit(9);
}

static void two_closures(void) {
    restate_endpoint *ep = endpoint((restate_endpoint_options){ .pool_threads = 2, .closure_stack_bytes = STACK });
    restate_stream *first = invoke(ep, "deep_closure"), *second = invoke(ep, "deep_closure");
    drain(first), drain(second);
    _exit(9);
}

/* From just past the end of the stack to almost a guard below it: in per cent of the guard, which is smaller where
 * address space is scarce. */
static const size_t below[] = { 0, 10, 20, 50, 75 };
static size_t bytes_below(size_t i) { return 8 * KIB + RESTATE__STACK_GUARD / 100 * below[i]; }

TEST(large_frames_reach_no_other_stack) {
    if (tools()) return;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        frame_bytes = STACK + bytes_below(i);
        CHECK(faulted(in_child(two_invocations)));
        CHECK(faulted(in_child(one_deep)));
    }
}

/* Threads have them, too. They have up to 48 KiB more than was asked for, and the C library keeps things at the top. */
TEST(large_frames_of_threads) {
    if (tools()) return;
    for (size_t i = 1; i < sizeof below / sizeof *below; i++) {
        frame_bytes = STACK + 48 * KIB + bytes_below(i) * 3 / 4;
        CHECK(faulted(in_child(two_threads)));
        CHECK(faulted(in_child(two_closures)));
    }
}

/* What fits is no overflow, in ten thousand parked handlers; nor is address space memory. */
static void crowd(void) {
    enum { N = 10000 };
    static restate_stream *s[N];
    restate_endpoint *ep = endpoint((restate_endpoint_options){ .defaults.stack_bytes = STACK });
    frame_bytes = STACK - 8 * KIB;
    for (int i = 0; i < N; i++) s[i] = invoke(ep, "deep_after_wait");
    for (int i = 0; i < N; i++) drain(s[i]);
    for (int i = 0; i < N; i += 100) go_on(s[i]);
    restate_endpoint_free(ep);
    _exit(3);
}

TEST(ten_thousand_guards) {
    int status;
    if (tools()) return;
    status = in_child(crowd);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 3);
}

/* No address space is lack of memory: a retryable error, and the next one works. There is some for 200 stacks and
 * what else there is. */
static void cramped(void) {
    enum { N = 400 };
    static restate_stream *s[N];
    struct rlimit limit;
    restate_endpoint *ep = endpoint((restate_endpoint_options){ .defaults.stack_bytes = STACK });
    size_t refused = 0;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = (rlim_t)(200 * (RESTATE__STACK_GUARD + STACK) + ((size_t)16 << 20));
    if (setrlimit(RLIMIT_AS, &limit)) _exit(4);
    for (int i = 0; i < N; i++) {
        restate_bytes b;
        s[i] = invoke(ep, "waits");
        /* an error message, or no memory for one either */
        refused += restate_stream_take(s[i], &b, NULL, NULL) == RESTATE_ERROR || (b.len > 1 && b.ptr[0] == 0 && b.ptr[1] == 2);
    }
    if (refused == 0 || refused == N) _exit(5);
    for (int i = 0; i < N; i++) restate_stream_free(s[i]);
    drain(invoke(ep, "waits"));
    restate_endpoint_free(ep);
    _exit(3);
}

TEST(no_address_space) {
    int status;
    if (tools()) return;
    status = in_child(cramped);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 3);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(large_frames_reach_no_other_stack), T(large_frames_of_threads), T(ten_thousand_guards), T(no_address_space),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
