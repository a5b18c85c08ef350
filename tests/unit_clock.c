/* Section >>clock: the endpoint's clock is the only one: whatever the library reads a time for, a program that
 * gives a clock decides it. Nothing here waits, years pass in no time. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/exchange.c"

/* ---- What goes to the server ---------------------------------------------------------------- */

static restate_status later(restate_ctx *ctx, restate_bytes in) {
    static const restate_target to = { .service = "Greeter", .handler = "greet" };
    restate_future *timer = restate_sleep_async(ctx, 1000, NULL);
    restate_send(ctx, to, in, &(restate_call_options){ .delay_ms = 5000 });
    pass(RESTATE_DAYS(1));
    (void)timer;
    return restate_sleep(ctx, 250);
}

TEST(what_is_due_later) {
    EACH_CLOCKED(.fn = later) {
        STARTED();
        SAYS("Sleep 1 wake:1900000001000", "OneWayCall 2 \"Greeter\" \"greet\" parameter:\"in\" at:1900000005000",
             "Sleep 3 wake:1900086400250", "AwaitingOn W{c:3,s:1}");
        ex_release();
    }
}

static restate_status asks_the_time(restate_ctx *ctx, restate_bytes in) {
    uint64_t now;
    (void)in;
    RESTATE_TRY(restate_now(ctx, &now));
    tell("%llu ", (unsigned long long)now);
    return RESTATE_OK;
}

TEST(what_now_is) {
    EACH_CLOCKED(.fn = asks_the_time) {
        STARTED();
        SAYS("Run 1 \"now\"", "Propose 1 value \"1900000000000\" ack", "AwaitingOn W{c:1,s:1}");
        if (ex.version == 7) note_ack(1);
        else note_value(N_RUN, 1, "1900000000000");
        give();
        TOLD("1900000000000 ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* ---- How long something took ---------------------------------------------------------------- */

static restate_status takes_years(restate_ctx *run, void *arg) {
    (void)arg;
    tell("%d ", restate_stop_requested(run));
    pass(2000);
    tell("%d ", restate_stop_requested(run));
    pass(1);
    tell("%d ", restate_stop_requested(run));
    pass(RESTATE_DAYS(365));
    return RESTATE_OK;
}

static restate_status steps(restate_ctx *ctx, restate_bytes in) {
    restate_run_options o = { .timeout_ms = 2001 };
    (void)in;
    return restate_run(ctx, "long", takes_years, NULL, &o, NULL);
}

TEST(time_of_a_closure) {
    EACH_CLOCKED(.fn = steps) {
        STARTED();
        drop_said();
        TOLD("0 0 1 ");
        LOG_HAS("31536002001 ms");
        ex_release();
    }
}

static restate_status fails_after_a_day(restate_ctx *run, void *arg) {
    (void)arg;
    pass(RESTATE_DAYS(1));
    return restate_retry(run, NULL, "not today");
}

static restate_status tries_for(uint64_t ms, restate_ctx *ctx) {
    restate_run_options o = { .retry = { .max_duration_ms = ms } };
    return restate_run(ctx, "try", fails_after_a_day, NULL, &o, NULL);
}

static restate_status tries_for_a_day(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return tries_for(RESTATE_DAYS(1), ctx);
}

static restate_status tries_for_two(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return tries_for(RESTATE_DAYS(2), ctx);
}

TEST(time_of_the_tries) {
    EACH_CLOCKED(.fn = tries_for_a_day) {
        STARTED();
        SAYS("Run 1 \"try\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 failure 500 \"not today\" ack",
             "? AwaitingOn W{c:1,s:1}");
        ex_release();
    }
    EACH_CLOCKED(.fn = tries_for_two) {
        STARTED();
        LOG_HAS("not today");
        SAYS("Run 1 \"try\"", "? AwaitingOn W{c:1,s:1}", "Error 500 ...");
    }
}

static restate_status holds(restate_ctx *ctx, restate_bytes in) {
    pass(in.len == 2 ? 1234 : 0);
    return restate_sleep(ctx, 1);
}

TEST(time_of_a_handler) {
    EACH_CLOCKED(.fn = holds, .options = { .stall_warning_ms = 1234 }) {
        STARTED();
        drop_said();
        if (ex.handlers[0].options.blocking) LOG("");
        else LOG_HAS("WARN the handler held its event loop for 1234 ms");
        ex_release();
    }
    EACH_CLOCKED(.fn = holds, .options = { .stall_warning_ms = 1235 }) {
        STARTED();
        drop_said();
        LOG("");
        ex_release();
    }
}

static restate_status goes_back(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    __atomic_store_n(&ex_uptime, 1, __ATOMIC_SEQ_CST);
    return restate_sleep(ctx, 1);
}

/* It must not, but if it does nothing seems to have taken an age. */
TEST(clock_goes_back) {
    EACH_CLOCKED(.fn = goes_back, .options = { .stall_warning_ms = 1 }) {
        STARTED();
        drop_said();
        LOG("");
        ex_release();
    }
}

/* ---- The endpoint's options ----------------------------------------------------------------- */

static restate_status nothing(restate_ctx *ctx, restate_bytes in) {
    (void)ctx, (void)in;
    return RESTATE_OK;
}

TEST(both_functions_or_none) {
    const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS({ .name = "h", .fn = nothing }) };
    for (int given = 0; given < 4; given++) {
        restate_endpoint_options o = { .services = RESTATE_SERVICES(&service) };
        restate_endpoint *e;
        if (given & 1) o.clock.wall_ms = ex_wall_ms;
        if (given & 2) o.clock.monotonic_ms = ex_monotonic_ms;
        e = restate_endpoint_new(&o);
        CHECK_STR(restate_endpoint_error(e), given == 1 || given == 2 ? ".clock: give both functions or none" : "");
        restate_endpoint_free(e);
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(what_is_due_later), T(what_now_is), T(time_of_a_closure), T(time_of_the_tries),
        T(time_of_a_handler), T(clock_goes_back), T(both_functions_or_none),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
