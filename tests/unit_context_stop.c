/* Section >>context: closures that are told to stop, by a descriptor; the time they have left. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "support/exchange.c"

#include <poll.h>

static int variant;                         /* what a handler is to do */

/* What a turn of a loop does besides. */
static uint64_t look(void) { return restate__watch_all(&ex.worker, ex_monotonic_ms(&ex)); }

static bool readable(int fd, int wait_ms) {
    struct pollfd p = { fd, POLLIN, 0 };
    return poll(&p, 1, wait_ms) == 1 && (p.revents & POLLIN);
}

/* ---- What tells it ---------------------------------------------------------------------------- */

static int asked_fd;                        /* by the closure; read when it is at the gate */

/* Shows its descriptor to the test, then waits for it. */
static restate_status waits_for_stop(restate_ctx *run, void *arg) {
    int fd = restate_stop_fd(run);
    (void)arg;
    CHECK(fd >= 0 && restate_stop_fd(run) == fd);
    CHECK(!readable(fd, 0) && !restate_stop_requested(run));
    asked_fd = fd;
    gate();
    CHECK(readable(fd, 60000) && restate_stop_requested(run));
    CHECK_INT(restate_time_left_ms(run), 0);
    CHECK_INT(restate_stop_fd(run), fd);
    tell("stopped ");
    return restate_reply(run, text("late"));
}

static restate_status runs_it(restate_ctx *ctx, restate_bytes in) {
    static const restate_run_options o = { .timeout_ms = 500 };
    restate_future *f[2];
    restate_status s;
    (void)in;
    f[0] = restate_run_async(ctx, "r", waits_for_stop, NULL, variant == 0 ? &o : NULL);
    f[1] = restate_sleep_async(ctx, 1, NULL);
    if (variant == 1) RESTATE_TRY(restate_await(ctx, restate_race(ctx, f, 2), NULL));
    s = variant == 1 ? RESTATE_OK : restate_await(ctx, f[0], NULL);
    if (s == RESTATE_CANCELLED) tell("cancelled ");
    return s;
}

/* Its time is over; its race is lost; cancelled; the input broke off; the endpoint stops. */
TEST(told_by_a_descriptor) {
    for (variant = 0; variant < 5; variant++)
        EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = runs_it) {
            if (variant == 4) ex.x->attempt->stops = &ex.endpoint->stops;
            start(1); input(""); ex_feed();
            gate_reached(1);
            turn();
            (void)look();
            CHECK(!readable(asked_fd, 0));
            switch (variant) {
            case 0:
                CHECK_INT(look(), ex_uptime + 500);
                pass(499);
                CHECK_INT(look(), ex_uptime + 1);
                CHECK(!readable(asked_fd, 0));
                pass(1);
                break;
            case 1: note_sleep(2); ex_feed(); turn(); break;
            case 2: note_cancel(); ex_feed(); turn(); break;
            case 3: restate__exchange_cut(ex.x); turn(); break;
            default: __atomic_store_n(&ex.endpoint->stops, 1, __ATOMIC_RELAXED); break;
            }
            CHECK(look() == UINT64_MAX);
            CHECK(readable(asked_fd, 0));
            gate_open();
            settle();
            CHECK(!ex.worker.watched);
            drop_said();
            log_drop();
            CHECK_HAS(ex_text(&ex.told), "stopped ");
            ex.told.len = 0;
            *ex.told.at = 0;
        }
}

/* ---- Time -------------------------------------------------------------------------------------- */

static restate_status tells_time(restate_ctx *run, void *arg) {
    (void)arg;
    tell("%lld ", (long long)restate_time_left_ms(run));
    pass(30);
    tell("%lld ", (long long)restate_time_left_ms(run));
    pass(70);
    tell("%lld ", (long long)restate_time_left_ms(run));
    CHECK_INT(restate_stop_requested(run), variant != 1);
    return restate_reply(run, text("x"));
}

static restate_status runs_for_a_time(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .timeout_ms = variant == 0 ? 100 : variant == 1 ? 0 : RESTATE_ZERO_MS,
                                    .inline_ok = true };
    (void)in;
    return restate_run(ctx, "r", tells_time, NULL, &o, NULL);
}

TEST(time_left) {
    static const char *const told[] = { "100 70 0 ", "-1 -1 -1 ", "0 0 0 " };
    for (variant = 0; variant < 3; variant++)
        EACH_CLOCKED(.fn = runs_for_a_time) {
            start(1); input(""); give();
            TOLD(told[variant]);
            drop_said();
            run_stored(1, "x"); give();
            SAYS(EMPTY_OUTPUT);
            log_drop();
        }
}

/* A run beside it failed: half a minute is left, if its own time is longer. */
static restate_status fails(restate_ctx *run, void *arg) {
    (void)arg;
    pthread_mutex_lock(&ex.lock);           /* when the other one has begun */
    while (!ex.reached && ex_wait()) continue;
    pthread_mutex_unlock(&ex.lock);
    return restate_retry(run, NULL, "not yet");
}

static restate_status beside_a_failed_one(restate_ctx *run, void *arg) {
    const uint64_t *own = (const uint64_t *)arg;
    int fd = restate_stop_fd(run);
    gate();
    CHECK_INT(restate_time_left_ms(run), *own ? *own : RESTATE__SIBLINGS_MS);
    CHECK(!readable(fd, 0));
    pass(*own ? *own : RESTATE__SIBLINGS_MS);
    tell("waits ");
    ex_wake(NULL);                          /* the worker is to look at the clock */
    CHECK(readable(fd, 60000));
    return restate_reply(run, text("x"));
}

static restate_status runs_two(restate_ctx *ctx, restate_bytes in) {
    static const uint64_t own[] = { 0, 29000 };
    const restate_run_options o = { .timeout_ms = own[variant] };
    restate_future *f[2];
    (void)in;
    f[0] = restate_run_async(ctx, "slow", beside_a_failed_one, (void *)(uintptr_t)&own[variant], &o);
    f[1] = restate_run_async(ctx, "fails", fails, NULL, NULL);
    return restate_await(ctx, restate_all(ctx, f, 2), NULL);
}

static bool failed(void) { return ex.x->attempt->closures.failed_at != 0; }
static bool quiet(void) { return !ex_busy(); }

/* Turns, again whenever the worker is woken. */
static void turn_until(bool (*done)(void)) {
    for (;;) {
        turn();
        (void)look();
        if (done()) return;
        pthread_mutex_lock(&ex.lock);
        while (!ex.awake && ex_wait()) continue;
        ex.awake = false;
        pthread_mutex_unlock(&ex.lock);
    }
}

TEST(time_left_beside_a_failed_run) {
    for (variant = 0; variant < 2; variant++)
        EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, .fn = runs_two) {
            start(1); input(""); ex_feed();
            gate_reached(1);
            turn_until(failed);
            gate_open();
            turn_until(quiet);
            TOLD("waits ");
            drop_said();
            log_drop();
        }
}

/* ---- Where there is none ------------------------------------------------------------------------ */

static restate_status asks_inline(restate_ctx *run, void *arg) {
    (void)arg;
    tell("%d ", restate_stop_fd(run));
    return restate_reply(run, text("x"));
}

static restate_status asks_after_retry(restate_ctx *run, void *arg) {
    (void)arg;
    RESTATE_IGNORE(restate_retry(run, NULL, "over"));
    tell("%d %d ", restate_stop_fd(run), (int)restate_time_left_ms(run));
    return RESTATE_OK;
}

static restate_status asks(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    if (variant == 2) tell("%d ", restate_stop_fd(ctx));
    if (variant == 3) tell("%d ", (int)restate_time_left_ms(ctx));
    return restate_run(ctx, "r", variant ? asks_after_retry : asks_inline, NULL,
                       &(restate_run_options){ .inline_ok = variant == 0 }, NULL);
}

TEST(no_descriptor) {
    static const char *const told[] = { "-1 ", "-1 0 ", "-1 ", "0 " };
    static const char *const why[] = { "", "over", "restate_stop_fd(): only a closure has one",
                                       "restate_time_left_ms(): only a closure has a time" };
    for (variant = 0; variant < 4; variant++)
        EACH(RESTATE_SERVICE, .fn = asks) {
            STARTED();
            TOLD(told[variant]);
            drop_said();
            LOG_HAS(why[variant]);
        }
}

/* ---- In streams, by the time of this machine ------------------------------------------------------ */

static restate_status polls(restate_ctx *run, void *arg) {
    (void)arg;
    CHECK(restate_time_left_ms(run) <= 30);
    CHECK(readable(restate_stop_fd(run), 60000));
    return restate_reply(run, text("x"));
}

static restate_status runs_in_a_stream(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_run(ctx, "r", polls, NULL, &(restate_run_options){ .timeout_ms = 30 }, NULL);
}

/* Take waits no longer than until the closure is to be told. */
TEST(told_in_a_stream) {
    static const restate_pair headers[] = { { "content-type", "application/vnd.restate.invocation.v7" }, { NULL, NULL } };
    const restate_http_request request = { .method = "POST", .path = "/invoke/S/h", .headers = headers };
    restate_status s;
    size_t bytes = 0;
    ex_begin(RESTATE_SERVICE, (restate_handler){ .fn = runs_in_a_stream }, 7, false);
    restate_stream *stream = restate_stream_open(ex.endpoint, &request);
    start(1); input("");
    CHECK_INT(restate_stream_feed(stream, restate__b(rt_script.at, rt_script.len)), RESTATE_OK);
    rt_script.len = 0;
    for (int i = 0; i < 3; i++) {           /* the command, then its result, which only polling can bring */
        restate_bytes out;
        s = restate_stream_take(stream, &out, NULL, NULL);
        CHECK_INT(s, RESTATE_OK);
        bytes += out.len;
    }
    CHECK(bytes > 30);
    restate_stream_free(stream);
    log_drop();
    ex_end();
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(told_by_a_descriptor), T(time_left), T(time_left_beside_a_failed_run), T(no_descriptor),
        T(told_in_a_stream),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
