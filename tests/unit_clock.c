/* The endpoint's clock is the only one: whatever the library reads a time for, a program that gives a
 * clock decides it. Nothing here waits, years pass in no time. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "exchange.h"

#include <unistd.h>

#define NOON 1900000000000u                 /* 2030-03-17T17:46:40Z */

static uint64_t wall, uptime;               /* what the clock says; closures move it on other threads */
static uint64_t get(uint64_t *of) { return __atomic_load_n(of, __ATOMIC_SEQ_CST); }
static void pass(uint64_t ms) {
    __atomic_add_fetch(&wall, ms, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&uptime, ms, __ATOMIC_SEQ_CST);
}
static uint64_t wall_ms(void *user) { return user == &ex ? get(&wall) : 0; }
static uint64_t monotonic_ms(void *user) { return user == &ex ? get(&uptime) : 0; }

/* As EACH, on that clock. */
static bool again(restate_handler handler) {
    wall = NOON, uptime = 5;
    ex.clock.wall_ms = wall_ms;
    ex.clock.monotonic_ms = monotonic_ms;
    ex.clock.user = &ex;
    return ex_again(RESTATE_SERVICE, handler, 5, 7);
}
#define EACH_CLOCKED(...) while (again((restate_handler){ __VA_ARGS__ }))
#define STARTED() do { start(1, .complete = true); input("in"); give(); } while (0)
#define EMPTY_OUTPUT "Output value \"\"", "End"

/* ---- What goes to the server ------------------------------------------------------------------- */

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

/* ---- How long something took ------------------------------------------------------------------- */

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
    __atomic_store_n(&uptime, 1, __ATOMIC_SEQ_CST);
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

/* ---- The log ----------------------------------------------------------------------------------- */

static void log_time(void *user, const restate_log_record *r) {
    (void)user;
    tell("%llu:%s ", (unsigned long long)r->time_ms, r->message);
}

static restate_status logs(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_log(ctx, RESTATE_LOG_INFO, "one");
    pass(77);
    restate_log(ctx, RESTATE_LOG_INFO, "two");
    return RESTATE_OK;
}

TEST(time_in_the_log) {
    EACH_CLOCKED(.fn = logs) {
        ex.endpoint->logger.to.write = log_time;
        STARTED();
        TOLD("1900000000000:one 1900000000077:two ");
        SAYS(EMPTY_OUTPUT);
        ex_new();                           /* the library's own lines */
        header(":method", "GET");
        header(":path", "/nowhere");
        restate__x_begin(ex.x, true);
        TOLD("1900000000077:refused GET /nowhere with 404: there is /invoke/SERVICE/HANDLER, /discover and /health, "
             "got /nowhere ");
        ex_release();
        rt.raw.len = rt.seen = 0;           /* its answer is no frames */
    }
}

TEST(time_as_text) {
    static const struct { uint64_t ms; const char *text; } cases[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { 951782399999, "2000-02-28T23:59:59.999Z" },
        { 951782400000, "2000-02-29T00:00:00.000Z" },
        { 951868800000, "2000-03-01T00:00:00.000Z" },
        { 1709164800001, "2024-02-29T00:00:00.001Z" },
        { 1735689599000, "2024-12-31T23:59:59.000Z" },
        { 1735689600000, "2025-01-01T00:00:00.000Z" },
        { NOON, "2030-03-17T17:46:40.000Z" },
        { 4107542400000, "2100-03-01T00:00:00.000Z" },      /* no leap year */
        { 4107542399999, "2100-02-28T23:59:59.999Z" },
        { 253402300799999, "9999-12-31T23:59:59.999Z" },
    };
    char text[RESTATE__CLOCK_TEXT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        restate__clock_text(cases[i].ms, text);
        CHECK_STR(text, cases[i].text);
    }
    for (uint64_t day = 0; day < 60000; day++) {            /* as the C library has it */
        time_t t = (time_t)(day * 86400 + day % 86400);
        char expected[40];
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.000Z", gmtime(&t));
        restate__clock_text((uint64_t)t * 1000, text);
        if (strcmp(text, expected) != 0) { CHECK_STR(text, expected); break; }
    }
    restate__clock_text(UINT64_MAX, text);                  /* fits */
    CHECK_HAS(text, "Z");
}

/* What the default logger writes. */
TEST(line_on_stderr) {
    const restate_logger logger = restate__log_defaults((restate_logger){ .user = NULL });
    restate_log_record r = { .level = RESTATE_LOG_WARN, .message = "one", .time_ms = NOON + 7 };
    char text[200];
    FILE *to = tmpfile();
    int saved = dup(2);
    size_t n;
    if (!to || saved < 0 || dup2(fileno(to), 2) < 0) abort();
    logger.write(NULL, &r);
    r.service = "S", r.handler = "h", r.invocation_id = "inv_1", r.message = "two";
    logger.write(NULL, &r);
    dup2(saved, 2);
    close(saved);
    rewind(to);
    n = fread(text, 1, sizeof text - 1, to);
    text[n] = 0;
    fclose(to);
    CHECK_STR(text, "2030-03-17T17:46:40.007Z restate WARN: one\n"
                    "2030-03-17T17:46:40.007Z restate WARN S/h inv_1: two\n");
}

/* ---- A line for operators: which step, which try ------------------------------------------------- */

static restate_status busy(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_retry(run, NULL, "the printer is busy");
}

static restate_status prints(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_run(ctx, "print", busy, NULL, NULL, NULL);
}

static restate_status busy_itself(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_retry(ctx, NULL, "later");
}

TEST(step_and_try) {
    EACH_CLOCKED(.fn = prints) {            /* the command is new: its first try, whatever failed before */
        start(1, .complete = true, .retries = 4);
        input("in");
        give();
        drop_said();
        LOG("WARN the attempt failed with 500: the printer is busy (step \"print\", try 1)\n");
    }
    EACH_CLOCKED(.fn = prints) {
        start(2, .complete = true, .retries = 4);
        input("in");
        cmd_run(1, "print");
        give();
        drop_said();
        LOG("WARN the attempt failed with 500: the printer is busy (step \"print\", try 5)\n");
    }
    EACH_CLOCKED(.fn = busy_itself) {
        start(1, .complete = true, .retries = 2);
        input("in");
        give();
        drop_said();
        LOG("WARN the attempt failed with 500: later (try 3)\n");
    }
}

/* ---- The endpoint's options -------------------------------------------------------------------- */

static restate_status nothing(restate_ctx *ctx, restate_bytes in) {
    (void)ctx, (void)in;
    return RESTATE_OK;
}

TEST(both_functions_or_none) {
    const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS({ .name = "h", .fn = nothing }) };
    for (int given = 0; given < 4; given++) {
        restate_endpoint_options o = { .services = RESTATE_SERVICES(&service) };
        restate_endpoint *e;
        if (given & 1) o.clock.wall_ms = wall_ms;
        if (given & 2) o.clock.monotonic_ms = monotonic_ms;
        e = restate_endpoint_new(&o);
        CHECK_STR(restate_endpoint_error(e), given == 1 || given == 2 ? ".clock: give both functions or none" : "");
        restate_endpoint_free(e);
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(what_is_due_later), T(what_now_is), T(time_of_a_closure), T(time_of_the_tries), T(time_of_a_handler),
        T(clock_goes_back), T(time_in_the_log), T(time_as_text), T(line_on_stderr), T(step_and_try), T(both_functions_or_none), {0}
    };
    return test_main(argc, argv, cases);
}
