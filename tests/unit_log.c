/* Section >>log: records, levels, what a line says and when it is said. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/closure.c"

#include <unistd.h>

/* ---- Records and levels --------------------------------------------------------------------- */

static restate_status logs(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_log(ctx, RESTATE_LOG_INFO, "one %d", 1);
    restate_sleep_async(ctx, 1, NULL);
    restate_log(ctx, RESTATE_LOG_WARN, "two");
    restate_log(ctx, RESTATE_LOG_DEBUG, "never");
    restate_sleep_async(ctx, 1, NULL);
    restate_log(ctx, RESTATE_LOG_ERROR, "three");
    return RESTATE_OK;
}

TEST(log_on_replay) {
    EACH(RESTATE_SERVICE, .fn = logs) {
        STARTED();
        LOG("INFO one 1\nWARN two\nERROR three\n");
        SAYS("Sleep 1 wake:...", "Sleep 2 wake:...", EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = logs) {
        start(2); input(""); cmd_sleep(1, "", 5); give();
        LOG("WARN two\nERROR three\n");
        SAYS("Sleep 2 wake:...", EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = logs) {
        ex.endpoint->logger.to.with_replay = true;
        ex.endpoint->logger.to.level = RESTATE_LOG_TRACE;
        start(2); input(""); cmd_sleep(1, "", 5); give();
        LOG("INFO (replaying) one 1\nWARN two\nDEBUG never\nERROR three\n");
        SAYS("Sleep 2 wake:...", EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = logs) {
        ex.endpoint->logger.to.level = RESTATE_LOG_OFF;
        STARTED();
        drop_said();
    }
}
static char value_arg[] = "v";

static void keep_record(void *user, const restate_log_record *r) {
    CHECK(user == value_arg);
    tell("%d%s[%s/%s %s]%s ", (int)r->level, r->replaying ? "r" : "", r->service ? r->service : "-",
         r->handler ? r->handler : "-", r->invocation_id ? r->invocation_id : "-", r->message);
}

static restate_status logs_in_run(restate_ctx *run, void *arg) {
    (void)arg;
    restate_log(run, RESTATE_LOG_WARN, "in\nside");
    return restate_reply(run, text("v"));
}

static restate_status logs_records(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    CHECK_INT(restate_request(ctx)->replaying, variant);
    restate_log(ctx, RESTATE_LOG_INFO, "one");
    RESTATE_TRY(restate_run(ctx, "r", logs_in_run, NULL, NULL, NULL));
    CHECK(!restate_request(ctx)->replaying);
    restate_log(ctx, RESTATE_LOG_ERROR, "two");
    return RESTATE_OK;
}

TEST(log_records) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_SERVICE, .fn = logs_records) {
            ex.endpoint->logger.to.write = keep_record;
            ex.endpoint->logger.to.user = value_arg;
            start(variant ? 3 : 1, .debug_id = "inv_1"); input("");
            if (variant) cmd_run(1, "r"), note_value(N_RUN, 1, "v");
            give_and_end();
            TOLD(variant ? "5[S/h inv_1]two " : "3[S/h inv_1]one 4[S/h inv_1]in side ");
            if (variant) SAYS(EMPTY_OUTPUT);
            else SAYS("Run 1 \"r\"", "Propose 1 value \"v\" ack", "Suspension W{c:1,s:1}");
            ex.endpoint->logger.to.write = ex_log;
        }
}

static restate_status logs_at_all_levels(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_log(ctx, RESTATE_LOG_DEFAULT, "default");
    restate_log(ctx, RESTATE_LOG_OFF, "off");
    restate_log(ctx, RESTATE_LOG_DEBUG, "debug");
    return RESTATE_OK;
}

TEST(log_levels) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = logs_at_all_levels) {
        begins(); give();
        LOG("INFO default\n");
        CHECK(!ex.by_library);
        drop_said();
    }
    variant = 0;
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = wrong) {
        begins(); give();
        LOG_HAS("returned -1");
        CHECK(ex.by_library);
        drop_said();
    }
}

/* ---- Time in the log ------------------------------------------------------------------------ */

static void log_time(void *user, const restate_log_record *r) {
    (void)user;
    tell("%llu:%s ", (unsigned long long)r->time_ms, r->message);
}

static restate_status logs_the_time(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_log(ctx, RESTATE_LOG_INFO, "one");
    pass(77);
    restate_log(ctx, RESTATE_LOG_INFO, "two");
    return RESTATE_OK;
}

TEST(time_in_the_log) {
    EACH_CLOCKED(.fn = logs_the_time) {
        ex.endpoint->logger.to.write = log_time;
        STARTED();
        TOLD("1900000000000:one 1900000000077:two ");
        SAYS(EMPTY_OUTPUT);
        ex_new();                           /* the library's own lines */
        header(":method", "GET");
        header(":path", "/nowhere");
        restate__exchange_begin(ex.x, true);
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
        if (day > INT32_MAX / 86400 - 1 && sizeof(time_t) == 4) break;
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

/* ---- A line for operators: which step, which try -------------------------------------------- */

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

/* ---- Lines that peers cause ------------------------------------------------------------------ */

static uint64_t no_time(void *user) {
    (void)user;
    return 0;
}
static unsigned told;
static char told_last[200];
static void tell_of(void *user, const restate_log_record *r) {
    (void)user;
    told++;
    snprintf(told_last, sizeof told_last, "%s", r->message);
}

TEST(of_one_kind_a_window_of_time_has_room_for_so_many_lines) {
    const restate_clock clock = { .wall_ms = no_time, .monotonic_ms = no_time };
    const restate__logger logger = { { .write = tell_of, .level = RESTATE_LOG_INFO }, &clock };
    restate__log_limit limit = { .about = "apples", .most = 3 };
    told = 0;
    for (int window = 0; window < 2; window++) {
        uint64_t now = (uint64_t)window * RESTATE__LOG_WINDOW_MS;
        for (int i = 0; i < 3; i++) CHECK(restate__log_may(&limit, &logger, now));
        for (int i = 0; i < 2; i++) CHECK(!restate__log_may(&limit, &logger, now + RESTATE__LOG_WINDOW_MS - 1));
        CHECK_INT(told, window);
    }
    restate__log_left_out(&limit, &logger);
    restate__log_left_out(&limit, &logger);
    CHECK_INT(told, 2);
    CHECK_STR(told_last, "2 more lines about apples were left out of the log");
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(log_on_replay), T(log_records), T(log_levels), T(time_in_the_log), T(time_as_text),
        T(line_on_stderr), T(step_and_try),
        T(of_one_kind_a_window_of_time_has_room_for_so_many_lines),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
