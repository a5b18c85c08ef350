/* Section >>context: handlers and closures, on an endpoint that a scripted runtime talks to. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "exchange.h"

static const char *status(restate_status s) {
    static const char *const names[] = { "ok", "terminal", "timeout", "cancelled", "ended", "error" };
    return (unsigned)s < 6 ? names[s] : "?";
}

/* A status, and what came with it: "ok(value) ", "ok() " if absent, "terminal(409 why) ". */
static restate_status say(restate_ctx *ctx, restate_status s, restate_bytes value) {
    const restate_failure *f = restate_failed(ctx);
    if (s == RESTATE_OK) tell("ok(%s) ", value.ptr ? (const char *)value.ptr : "-");
    else if (s == RESTATE_ENDED) tell("ended ");
    else tell("%s(%u %s) ", status(s), f->code, f->message);
    CHECK(s == RESTATE_OK || !value.ptr);
    return s;
}

static restate_bytes text(const char *s) { return restate_str(s); }
static restate_bytes absent(void) { return restate__b_none(); }

static int variant;                         /* what a handler is to do */
static restate_target greeter(const char *handler) {
    restate_target to = { .service = "Greeter", .handler = handler };
    return to;
}

/* Start and Input of a handler that is new. */
static void begins(void) {
    start(1, .complete = true, .seed = 1);
    input("in");
}

#define STARTED() do { begins(); give(); } while (0)
#define EMPTY_OUTPUT "Output value \"\"", "End"

/* ---- How a handler ends ---------------------------------------------------------------------- */

static const restate_pair metadata[] = { { "a", "1" }, { "b", NULL }, { NULL, NULL } };

static restate_status ends(restate_ctx *ctx, restate_bytes in) {
    static const restate_failure failure = { .code = 418, .message = "teapot" };
    static const restate_failure with_metadata = { .metadata = metadata };
    restate_retry_options o = { .code = 0 };
    char temporary[8] = "gone";
    CHECK(in.len == 2 && memcmp(in.ptr, "in", 3) == 0);
    CHECK_INT(restate_failed(ctx)->code, 0);
    CHECK_STR(restate_failed(ctx)->message, "");
    CHECK(restate_failed(ctx)->metadata && !restate_failed(ctx)->metadata->name);
    switch (variant) {
    case 0: return RESTATE_OK;
    case 1:
        CHECK_INT(restate_reply(ctx, text("first")), RESTATE_OK);
        CHECK_INT(restate_reply(ctx, text(temporary)), RESTATE_OK);
        memset(temporary, 'x', 4);
        return RESTATE_OK;
    case 2: return restate_reply(ctx, absent());
    case 3: restate_reply(ctx, text("lost")); return restate_fail(ctx, 404, "no %s here", "such thing");
    case 4: return restate_fail(ctx, 0, "%s", "");
    case 5: return restate_fail_with(ctx, &failure);
    case 6: return restate_fail_with(ctx, &with_metadata);
    case 7: RESTATE_IGNORE(restate_fail(ctx, 404, "handled")); return restate_reply(ctx, text("fine"));
    case 8: {
        const restate_failure *first;
        CHECK_INT(restate_fail(ctx, 1, "first"), RESTATE_TERMINAL);
        first = restate_failed(ctx);
        CHECK_INT(restate_fail(ctx, 2, "second"), RESTATE_TERMINAL);
        CHECK_STR(first->message, "first");
        CHECK_STR(restate_failed(ctx)->message, "second");
        return restate_fail_with(ctx, first);
    }
    case 9: RESTATE_IGNORE(restate_fail(ctx, 3, "kept")); return restate_fail_with(ctx, NULL);
    case 10: return RESTATE_TERMINAL;
    case 11: return restate_fail_with(ctx, NULL);
    case 12: return RESTATE_ENDED;
    case 13: return (restate_status)42;
    case 14: return (restate_status)-1;
    case 15: return RESTATE_ERROR;
    case 16: return restate_retry(ctx, NULL, "later %d", 1);
    case 17: o.code = 503; o.delay_ms = 1500; return restate_retry(ctx, &o, "later");
    case 18: o.delay_ms = RESTATE_ZERO_MS; return restate_retry(ctx, &o, "now");
    case 19: o.pause = true; return restate_retry(ctx, &o, "paused");
    case 20:
        RESTATE_IGNORE(restate_retry(ctx, NULL, "over"));
        CHECK_INT(restate_reply(ctx, text("x")), RESTATE_ENDED);
        CHECK_INT(restate_fail(ctx, 1, "x"), RESTATE_ENDED);
        CHECK_INT(restate_fail_with(ctx, &failure), RESTATE_ENDED);
        CHECK_INT(restate_retry(ctx, NULL, "x"), RESTATE_ENDED);
        CHECK_INT(restate_sleep(ctx, 1), RESTATE_ENDED);
        CHECK(restate_stop_requested(ctx));
        CHECK(!restate_alloc(ctx, 1));
        CHECK_STR(restate_text(ctx, "x"), "");
        CHECK_STR(restate_uuid(ctx), "");
        CHECK_INT(restate_random(ctx), 0);
        CHECK_STR(restate_request(ctx)->target.service, "S");
        CHECK_STR(restate_key(ctx), "");
        return RESTATE_OK;
    default: return RESTATE_TIMEOUT;
    }
}

TEST(handler_ends) {
    static const struct { const char *line, *line5, *log; } cases[] = {
        { "Output value \"\"", NULL, "" },
        { "Output value \"gone\"", NULL, "" },
        { "Output value \"\"", NULL, "" },
        { "Output failure 404 \"no such thing here\"", NULL, "" },
        { "Output failure 500 \"\"", NULL, "" },
        { "Output failure 418 \"teapot\"", NULL, "" },
        { "Output failure 500 \"\" \"a\":\"1\" \"b\":\"\"", "Error 573...", "" },
        { "Output value \"fine\"", NULL, "" },
        { "Output failure 1 \"first\"", NULL, "" },
        { "Output failure 3 \"kept\"", NULL, "" },
        { "Output failure 500 \"the handler failed without saying why\"", NULL, "" },
        { "Error 500 index:0 Input message:\"S/h: restate_fail_with(): nothing has failed yet: give a failure\"", NULL,
          "ERROR the attempt failed with 500: S/h: restate_fail_with(): nothing has failed yet" },
        { "Error 500 index:0 Input message:\"S/h: h(): the handler returned RESTATE_ENDED although...", NULL,
          "ERROR the attempt failed with 500: S/h: h()" },
        { "Error 500 index:0 Input message:\"S/h: h(): the handler returned 42, which is no restate_status\"", NULL,
          "ERROR the attempt failed with 500: S/h: h(): the handler returned 42" },
        { "Error 500 index:0 Input message:\"S/h: h(): the handler returned -1, which is no restate_status\"", NULL, "" },
        { "Error 500 index:0 Input message:\"S/h: h(): the handler returned 5, which is no restate_status\"", NULL, "" },
        { "Error 500 index:0 Input message:\"later 1\"", NULL, "WARN the attempt failed with 500: later 1 (try 1)\n" },
        { "Error 503 index:0 Input delay:1500 message:\"later\"", NULL, "failed with 503" },
        { "Error 500 index:0 Input delay:0 message:\"now\"", NULL, "" },
        { "Error 500 index:0 Input behavior:1 message:\"paused\"", "Error 573 index:0 Input message:...", "" },
        { "Error 500 index:0 Input message:\"over\"", NULL, "" },
        { "Output failure 500 \"the handler failed without saying why\"", NULL, "" }
    };
    for (variant = 0; variant < 22; variant++)
        EACH(RESTATE_SERVICE, .fn = ends) {
            bool older = cases[variant].line5 && ex.version < (variant == 6 ? 6 : 7);
            const char *line = older ? cases[variant].line5 : cases[variant].line;
            CHECK_INT(ex.x->status, 200);
            STARTED();
            CHECK(ex.x->finished);
            if (line[0] == 'O') SAYS(line, "End");
            else SAYS(line);
            LOG_HAS(cases[variant].log);
        }
}

/* ---- Request, log, randomness, memory -------------------------------------------------------- */

static int user_data;

static restate_status inspects(restate_ctx *ctx, restate_bytes in) {
    const restate_request_info *i = restate_request(ctx);
    CHECK(i == restate_request(ctx));
    CHECK_STR(i->invocation_id, "inv_1debug");
    CHECK_STR(i->target.service, "S");
    CHECK_STR(i->target.handler, "h");
    CHECK_INT(i->key_len, 5);
    CHECK(memcmp(i->target.key, "ke\0ey", 6) == 0);
    CHECK_STR(restate_key(ctx), "ke");
    CHECK(in.ptr && i->body.ptr == in.ptr && i->body.len == in.len);
    CHECK_STR((const char *)in.ptr, "in");
    CHECK_STR(i->headers[0].name, "x-one");
    CHECK_STR(i->headers[0].value, "1");
    CHECK_STR(i->headers[1].name, "x-two");
    CHECK_STR(i->headers[1].value, "");
    CHECK(!i->headers[2].name);
    CHECK_STR(i->attempt_headers[0].name, "content-type");
    CHECK_STR(i->attempt_headers[1].name, "traceparent");
    CHECK_STR(i->attempt_headers[1].value, "00-1-2-3");
    CHECK(!i->attempt_headers[2].name);
    CHECK_INT(i->retry_count, 7);
    CHECK_INT(i->protocol_version, ex.version);
    CHECK(i->user == &user_data);
    if (ex.version == 7) {
        CHECK_STR(i->target.scope, "sc");
        CHECK_STR(i->limit_key, "li/mit");
        CHECK_STR(i->idempotency_key, "idem");
    } else {
        CHECK(!i->target.scope && !i->limit_key && !i->idempotency_key);
    }
    tell("%s ", i->replaying ? "replays" : "new");
    restate_sleep_async(ctx, 1, NULL);
    tell("%s ", restate_request(ctx)->replaying ? "replays" : "new");
    return RESTATE_OK;
}

TEST(request_info) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_OBJECT, .fn = inspects, .options = { .user = &user_data }) {
            ex_invoke_with("traceparent", "00-1-2-3");
            frame(M_START, "1s 2s 3u 5u 6b 7u 10s 11s 12s", "id", "inv_1debug", variant + 1, 1, "ke\0ey", (size_t)5, 7, "sc", "li/mit", "idem");
            frame(M_INPUT, "1(1s2s) 1(1s2s) 14(1s)", "x-one", "1", "x-two", "", "in");
            if (variant) cmd_sleep(1, "", 5);
            give();
            TOLD(variant ? "replays new " : "new new ");
            if (variant) SAYS(EMPTY_OUTPUT);
            else SAYS("Sleep 1 wake:...", EMPTY_OUTPUT);
        }
}

static restate_status inspects_little(restate_ctx *ctx, restate_bytes in) {
    const restate_request_info *i = restate_request(ctx);
    CHECK(in.ptr && !in.len && !*in.ptr);
    CHECK(i->headers && !i->headers->name);
    CHECK(i->attempt_headers && i->attempt_headers[0].name && !i->attempt_headers[1].name);
    CHECK_STR(i->target.key, "");
    CHECK_STR(restate_key(ctx), "");
    CHECK(!i->user && !i->idempotency_key && !i->target.scope && !i->limit_key && !i->key_len && !i->retry_count);
    return RESTATE_OK;
}

TEST(request_info_of_little) {
    EACH(RESTATE_SERVICE, .fn = inspects_little) {
        start(1); input(""); give();
        SAYS(EMPTY_OUTPUT);
    }
}

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

static restate_status draws(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    if (variant == 0) {
        CHECK(restate_random(ctx) == 14971601782005023387u);
        CHECK(restate_random(ctx) == 13781649495232077965u);
        CHECK(restate_random(ctx) == 1847458086238483744u);
        CHECK(restate_random(ctx) == 13765271635752736470u);
    } else if (variant == 1) {
        CHECK_STR(restate_uuid(ctx), "9bc2036f-7fd0-45cf-8de0-3f96324142bf");
        CHECK_STR(restate_uuid(ctx), "20f5aa57-577d-4319-9656-cd059f1108bf");
        CHECK_STR(restate_uuid(ctx), "a46f1886-4b18-472f-8523-20e7ca9f2997");
    } else if (variant == 2) {
        CHECK(restate_random(ctx) == 5987356902031041503u);
        CHECK(restate_random(ctx) == 7051070477665621255u);
    } else if (variant == 3) {
        CHECK(restate_random(ctx) == 6254647548650071986u);
        CHECK(restate_random(ctx) == 16610832622747802512u);
    } else {                                /* the same in every attempt, whatever waits between */
        tell("%s ", restate_uuid(ctx));
        RESTATE_TRY(restate_sleep(ctx, 1));
        tell("%llu ", (unsigned long long)restate_random(ctx));
    }
    return RESTATE_OK;
}

TEST(random_vectors) {
    static const uint64_t seeds[] = { 1, 1, 0, UINT64_MAX };
    for (variant = 0; variant < 4; variant++)
        EACH_OF(6, 7, RESTATE_SERVICE, .fn = draws) {
            start(1, .seed = seeds[variant]); input(""); give();
            SAYS(EMPTY_OUTPUT);
        }
}

TEST(random_is_the_same_on_replay) {
    variant = 4;
    EACH(RESTATE_SERVICE, .fn = draws) {
        char first[64];
        uint64_t state[4];
        start(1, .seed = 1); input(""); give_and_end();
        SAYS("Sleep 1 wake:...", "Suspension W{c:1,s:1}");
        snprintf(first, sizeof first, "%s", ex_text(&ex.told));
        TOLD(first);
        if (ex.version > 5) CHECK_STR(first, "9bc2036f-7fd0-45cf-8de0-3f96324142bf ");
        restate__vm_random_seed(state, ex.version == 5 ? 11990170285644066717u : 1);    /* of the id "123" */
        restate__vm_random(state);
        restate__vm_random(state);
        invoke();
        start(3, .seed = 1); input(""); cmd_sleep(1, "", 5); note_sleep(1); give_and_end();
        SAYS(EMPTY_OUTPUT);
        snprintf(first + 37, sizeof first - 37, "%llu ", (unsigned long long)restate__vm_random(state));
        TOLD(first);
    }
}

static restate_status allocates(restate_ctx *ctx, restate_bytes in) {
    char *small = (char *)restate_alloc(ctx, 1), *large = (char *)restate_alloc(ctx, 100000);
    double *aligned = (double *)restate_alloc(ctx, sizeof *aligned);
    const char *long_text;
    (void)in;
    CHECK(restate_alloc(ctx, 0) != NULL);
    CHECK(small && !*small && ((uintptr_t)aligned & 15) == 0);
    for (size_t i = 0; large && i < 100000; i++) if (large[i]) { CHECK(false); break; }
    if (large) memset(large, 'x', 100000), large[99999] = 0;
    CHECK_STR(restate_text(ctx, "seat-%d", 12), "seat-12");
    CHECK_STR(restate_text(ctx, "%s", ""), "");
    long_text = restate_text(ctx, "<%s>", large);
    CHECK_INT(strlen(long_text), 100001);
    return restate_reply(ctx, text(restate_text(ctx, "%zu", strlen(long_text))));
}

TEST(memory_and_text) {
    EACH(RESTATE_SERVICE, .fn = allocates) {
        STARTED();
        SAYS("Output value \"100001\"", "End");
    }
}

/* ---- Runs -------------------------------------------------------------------------------------- */

static restate_status closure(restate_ctx *run, void *arg) {
    restate_retry_options o = { .code = 503, .delay_ms = 2500 };
    const char *what = (const char *)arg;
    tell("%s ", what);
    if (strcmp(what, "value") == 0) return restate_reply(run, text("result"));
    if (strcmp(what, "nothing") == 0) return RESTATE_OK;
    if (strcmp(what, "fail") == 0) return restate_fail(run, 409, "conflict %d", 7);
    if (strcmp(what, "terminal") == 0) return RESTATE_TERMINAL;
    if (strcmp(what, "retry") == 0) return restate_retry(run, NULL, "not %s", "yet");
    if (strcmp(what, "delay") == 0) return restate_retry(run, &o, "busy");
    if (strcmp(what, "ended") == 0) return RESTATE_ENDED;
    if (strcmp(what, "odd") == 0) return (restate_status)77;
    if (strcmp(what, "retry, then ok") == 0) {
        RESTATE_IGNORE(restate_retry(run, NULL, "sticky"));
        return RESTATE_OK;
    }
    if (strcmp(what, "memory") == 0) {
        const restate_request_info *i = restate_request(run);
        char *p = (char *)restate_alloc(run, 10000);
        CHECK_STR(i->target.service, "S");
        CHECK_STR(restate_key(run), "");
        restate_log(run, RESTATE_LOG_INFO, "from a closure");
        CHECK(p && !p[9999]);
        CHECK(!restate_stop_requested(run));
        CHECK_INT(restate_failed(run)->code, 0);
        return restate_reply(run, restate_json(run, "{'n': %d, 's': %s}", 5, restate_text(run, "%d", 6)));
    }
    return restate_fail(run, 1, "unknown");
}

static const char *to_run;                  /* what the closure does */
static restate_run_options run_options;

static restate_status runs(restate_ctx *ctx, restate_bytes in) {
    restate_bytes result = text("before");
    restate_status s;
    (void)in;
    s = restate_run(ctx, "step", closure, (void *)(uintptr_t)to_run, &run_options, &result);
    say(ctx, s, result);
    return s;
}

/* What the runtime answers to a proposal. */
static void run_stored(unsigned id, const char *value) {
    if (ex.version == 7) note_ack(id);
    else note_value(N_RUN, id, value);
}
static void run_stored_failure(unsigned id, unsigned code, const char *message) {
    if (ex.version == 7) note_ack(id);
    else note_failure(N_RUN, id, code, message);
}

static const char *with_inline(int on) {
    memset(&run_options, 0, sizeof run_options);
    run_options.inline_ok = on;
    return "";
}

TEST(run_result) {
    for (int on = 0; on < 2; on++) {
        with_inline(on);
        to_run = "value";
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 value \"result\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored(1, "result"); give();
            TOLD("value ok(result) ");
            SAYS(EMPTY_OUTPUT);
        }
        to_run = "nothing";
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 value \"\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored(1, ""); give();
            TOLD("nothing ok() ");
            SAYS(EMPTY_OUTPUT);
        }
        to_run = "memory";
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 value \"{\"n\": 5, \"s\": \"6\"}\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored(1, "x"); give();
            LOG("INFO from a closure\n");
            TOLD(ex.version == 7 ? "memory ok({\"n\": 5, \"s\": \"6\"}) " : "memory ok(x) ");
            SAYS(EMPTY_OUTPUT);
        }
        EACH(RESTATE_SERVICE, .fn = runs) { /* suspends only after the closure */
            begins(); give_and_end();
            SAYS("Run 1 \"step\"", "Propose 1 value \"{\"n\": 5, \"s\": \"6\"}\" ack", "Suspension W{c:1,s:1}");
            TOLD("memory ended ");
            LOG("INFO from a closure\n");
        }
        EACH(RESTATE_SERVICE, .fn = runs) { /* replayed: not executed */
            start(3); input("in"); cmd_run(1, "step"); note_value(N_RUN, 1, "old"); give();
            TOLD("ok(old) ");
            SAYS(EMPTY_OUTPUT);
        }
        EACH(RESTATE_SERVICE, .fn = runs) {
            start(3); input("in"); cmd_run(1, "step"); note_failure(N_RUN, 1, 410, "old"); give();
            TOLD("terminal(410 old) ");
            SAYS("Output failure 410 \"old\"", "End");
        }
    }
}

TEST(run_fails) {
    for (int on = 0; on < 2; on++) {
        with_inline(on);
        to_run = "fail";
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 failure 409 \"conflict 7\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored_failure(1, 409, "conflict 7"); give();
            TOLD("fail terminal(409 conflict 7) ");
            SAYS("Output failure 409 \"conflict 7\"", "End");
        }
        to_run = "terminal";                /* without saying why */
        EACH(RESTATE_SERVICE, .fn = runs) {
            STARTED();
            SAYS("Run 1 \"step\"", "Propose 1 failure 500...", "AwaitingOn W{c:1,s:1}");
            TOLD("terminal ");
        }
    }
}

TEST(run_is_retried) {
    static const struct { const char *what, *line; } cases[] = {
        { "retry", "Error 500 index:1 Run \"step\" message:\"not yet\"" },
        { "delay", "Error 503 index:1 Run \"step\" delay:2500 message:\"busy\"" },
        { "ended", "Error 500 index:1 Run \"step\" message:\"the closure returned RESTATE_ENDED, but called restate_retry() nowhere\"" },
        { "odd", "Error 500 index:1 Run \"step\" message:\"the closure returned 77, which is no restate_status\"" },
        { "retry, then ok", "Error 500 index:1 Run \"step\" message:\"sticky\"" }
    };
    for (int i = 0; i < 10; i++) {
        with_inline(i % 2);
        to_run = cases[i / 2].what;
        EACH(RESTATE_SERVICE, .fn = runs) {
            char told[64];
            STARTED();
            SAYS("Run 1 \"step\"", cases[i / 2].line);
            snprintf(told, sizeof told, "%s ended ", to_run);
            TOLD(told);
            LOG_HAS("WARN the attempt failed with ");
        }
    }
}

TEST(run_policy) {
    with_inline(1);
    to_run = "retry";
    run_options.retry.max_attempts = 3;
    run_options.retry.initial_interval_ms = 100;
    EACH(RESTATE_SERVICE, .fn = runs) {
        STARTED();
        SAYS("Run 1 \"step\"", "Error 500 index:1 Run \"step\" delay:100 message:\"not yet\"");
        invoke();
        start(2, .retries = 1); input("in"); cmd_run(1, "step"); give();
        SAYS("Error 500 index:1 Run \"step\" delay:200 message:\"not yet\"");
        TOLD("retry ended retry ended ");
        invoke();
        start(2, .retries = 2); input("in"); cmd_run(1, "step"); give();
        SAYS("Propose 1 failure 500 \"not yet\" ack", "AwaitingOn W{c:1,s:1}");
        run_stored_failure(1, 500, "not yet"); give();
        TOLD("retry terminal(500 not yet) ");
        SAYS("Output failure 500 \"not yet\"", "End");
        LOG_HAS("WARN");
    }
    to_run = "delay";                       /* the delay of the closure wins over the policy's */
    EACH(RESTATE_SERVICE, .fn = runs) {
        STARTED();
        SAYS("Run 1 \"step\"", "Error 503 index:1 Run \"step\" delay:2500 message:\"busy\"");
        TOLD("delay ended ");
        LOG_HAS("WARN");
    }
    to_run = "retry";
    run_options.retry.max_attempts = 1;
    EACH(RESTATE_SERVICE, .fn = runs) {
        STARTED();
        SAYS("Run 1 \"step\"", "Propose 1 failure 500 \"not yet\" ack", "AwaitingOn W{c:1,s:1}");
        TOLD("retry ");
    }
    run_options.retry.when_exhausted = RESTATE_EXHAUSTED_PAUSE;
    EACH(RESTATE_SERVICE, .fn = runs) {
        STARTED();
        if (ex.version < 7) SAYS("Error 573...");       /* before it is executed in vain */
        else SAYS("Run 1 \"step\"", "Error 500 index:1 Run \"step\" behavior:1 message:\"not yet\"");
        TOLD(ex.version < 7 ? "ended " : "retry ended ");
        LOG_HAS("WARN");
    }
    with_inline(1);                         /* of the handler; its own would win */
    EACH(RESTATE_SERVICE, .fn = runs, .options = { .run_retry = { .max_attempts = 1 } }) {
        STARTED();
        SAYS("Run 1 \"step\"", "Propose 1 failure 500 \"not yet\" ack", "AwaitingOn W{c:1,s:1}");
        TOLD("retry ");
    }
    run_options.retry.max_attempts = 9;
    EACH(RESTATE_SERVICE, .fn = runs, .options = { .run_retry = { .max_attempts = 1 } }) {
        STARTED();
        SAYS("Run 1 \"step\"", "Error 500 index:1 Run \"step\" delay:50 message:\"not yet\"");
        TOLD("retry ended ");
        LOG_HAS("WARN");
    }
}

static restate_status sums(restate_ctx *run, void *arg) {
    const int *n = (const int *)arg;
    return restate_reply(run, text(restate_text(run, "%d", n[0] + n[1])));
}

static restate_status waits_at_gate(restate_ctx *run, void *arg) {
    gate();
    tell(restate_stop_requested(run) ? "stop " : "go ");
    return restate_reply(run, arg ? text((const char *)arg) : absent());
}

static restate_status runs_copy(restate_ctx *ctx, restate_bytes in) {
    int n[2] = { 30, 4 };
    restate_bytes value;
    restate_run_options o = { .arg_bytes = sizeof n };
    restate_future *f = restate_run_async(ctx, NULL, sums, n, &o);
    (void)in;
    memset(n, 0, sizeof n);
    RESTATE_TRY(restate_await(ctx, f, &value));
    return restate_reply(ctx, value);
}

TEST(run_copies_its_argument) {
    EACH(RESTATE_SERVICE, .fn = runs_copy) {
        STARTED();
        SAYS("Run 1", "Propose 1 value \"34\" ack", "AwaitingOn W{c:1,s:1}");
        run_stored(1, "34"); give();
        SAYS("Output value \"34\"", "End");
    }
}

static restate_status runs_too_long(restate_ctx *run, void *arg) {
    (void)arg;
    CHECK(!restate_stop_requested(run) || ex.version);      /* may be slow before it gets here */
    while (!restate_stop_requested(run)) continue;
    return RESTATE_OK;
}

static restate_status runs_with_timeout(restate_ctx *ctx, restate_bytes in) {
    restate_run_options o = { .timeout_ms = 2 };
    (void)in;
    return restate_run(ctx, "slow", runs_too_long, NULL, &o, NULL);
}

TEST(run_timeout) {
    EACH(RESTATE_SERVICE, .fn = runs_with_timeout) {
        STARTED();
        SAYS("Run 1 \"slow\"", "Propose 1 value \"\" ack", "AwaitingOn W{c:1,s:1}");
        run_stored(1, ""); give();
        SAYS(EMPTY_OUTPUT);
        if (ex.log.len) LOG_HAS("WARN the closure of run \"slow\" took ");    /* not if it was 2 ms exactly */
    }
}

/* The journaled calls, in a closure. */
static restate_ctx *outer;                  /* the handler's */
static restate_future *outer_future;

static void *misused[1];

static restate_status misuses_in_closure(restate_ctx *run, void *arg) {
    const char *id = "x", *const *keys = NULL;
    restate_bytes value = text("x");
    size_t index = 9;
    restate_future *f = NULL;
    (void)arg;
    misused[0] = NULL;
    switch (variant) {
    case 0: CHECK_INT(restate_sleep(run, 1), RESTATE_ENDED); break;
    case 1: CHECK_INT(restate_run(run, "x", closure, NULL, NULL, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 2: f = restate_run_async(run, "x", closure, NULL, NULL); break;
    case 3: f = restate_sleep_async(run, 1, NULL); break;
    case 4: CHECK_INT(restate_get(run, "k", &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 5: f = restate_get_async(run, "k"); break;
    case 6: CHECK_INT(restate_keys(run, &keys), RESTATE_ENDED); CHECK(keys && !*keys); break;
    case 7: CHECK_INT(restate_set(run, "k", value), RESTATE_ENDED); break;
    case 8: CHECK_INT(restate_clear(run, "k"), RESTATE_ENDED); break;
    case 9: CHECK_INT(restate_clear_all(run), RESTATE_ENDED); break;
    case 10: CHECK_INT(restate_call(run, greeter("greet"), value, NULL, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 11: f = restate_call_async(run, greeter("greet"), value, NULL); break;
    case 12: f = restate_send(run, greeter("greet"), value, NULL); break;
    case 13: CHECK_INT(restate_call_id(run, outer_future, &id), RESTATE_ENDED); CHECK_STR(id, ""); break;
    case 14: CHECK_INT(restate_cancel(run, INV_A), RESTATE_ENDED); break;
    case 15: f = restate_awakeable(run, &id); CHECK_STR(id, ""); break;
    case 16: CHECK_INT(restate_resolve(run, "x", value), RESTATE_ENDED); break;
    case 17: CHECK_INT(restate_reject(run, "x", NULL), RESTATE_ENDED); break;
    case 18: CHECK_INT(restate_await(run, outer_future, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 19: CHECK_INT(restate_await_for(run, outer_future, 5, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 20: CHECK_INT(restate_select(run, &outer_future, 1, &index), RESTATE_ENDED); CHECK_INT(index, 1); break;
    case 21: f = restate_race(run, &outer_future, 1); break;
    case 22: f = restate_any(run, &outer_future, 1); break;
    case 23: f = restate_all(run, &outer_future, 1); break;
    case 24: f = restate_all_settled(run, &outer_future, 1); break;
    case 25: CHECK_INT(restate_random(run), 0); break;
    default: CHECK_STR(restate_uuid(run), ""); break;
    }
    if (f) {
        CHECK(!restate_is_done(f));
        CHECK_INT(restate_await(run, f, &value), RESTATE_ENDED);
    }
    CHECK(restate_stop_requested(run));
    CHECK_INT(restate_reply(run, text("lost")), RESTATE_ENDED);
    return RESTATE_OK;
}

static restate_status runs_misuse(restate_ctx *ctx, restate_bytes in) {
    restate_run_options o = { .inline_ok = *in.ptr == 'i' };
    restate_status s;
    outer = ctx;
    outer_future = restate_awakeable(ctx, NULL);
    s = restate_run(ctx, "bad", misuses_in_closure, NULL, &o, NULL);
    CHECK_INT(s, RESTATE_ENDED);
    return s;
}

TEST(run_misuse_inside) {
    static const char *const names[] = {
        "sleep", "run", "run_async", "sleep_async", "get", "get_async", "keys", "set", "clear", "clear_all", "call", "call_async",
        "send", "call_id", "cancel", "awakeable", "resolve", "reject", "await", "await_for", "select", "race", "any", "all",
        "all_settled", "random", "uuid"
    };
    for (variant = 0; variant < 27; variant++)
        EACH(RESTATE_OBJECT, .fn = runs_misuse) {
            char line[160];
            start(1); input(variant % 2 ? "inline" : "pool"); give();
            snprintf(line, sizeof line, "Error 500 index:1 Run \"bad\" message:\"S/h (in a closure): restate_%s(): %s...", names[variant],
                     variant < 25 ? "is journaled and cannot be used in a closure" : "would not be the same on replay");
            if (variant == 19) SAYS("Run 1 \"bad\"", "Error 500 index:1 Run \"bad\" message:\"S/h (in a closure): restate_...");
            else SAYS("Run 1 \"bad\"", line);
            LOG_HAS("ERROR the attempt failed with 500: S/h (in a closure): restate_");
        }
}

/* Several at a time. */
static restate_status runs_three(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3], *c;
    restate_bytes value;
    restate_status s = RESTATE_OK;
    f[0] = restate_run_async(ctx, "a", waits_at_gate, (void *)(uintptr_t)"A", NULL);
    f[1] = restate_run_async(ctx, "b", waits_at_gate, (void *)(uintptr_t)"B", NULL);
    f[2] = restate_run_async(ctx, "c", waits_at_gate, (void *)(uintptr_t)"C", NULL);
    switch (*in.ptr) {
    case 'l': c = restate_all(ctx, f, 3); break;
    case 'y': c = restate_any(ctx, f, 3); break;
    case 'r': c = restate_race(ctx, f, 3); break;
    case 's': c = restate_all_settled(ctx, f, 3); break;
    default: c = NULL; break;
    }
    if (c) {
        s = restate_await(ctx, c, &value);
        say(ctx, s, value);
        RESTATE_TRY(s);
        CHECK(restate_is_done(c));
    }
    for (size_t n = 0; !c && n < 3; n++) {
        size_t index = 99;
        RESTATE_TRY(restate_select(ctx, f, 3, &index));
        tell("%c ", "abc?"[index < 3 ? index : 3]);
        RESTATE_TRY(restate_await(ctx, f[index], NULL));
        f[index] = NULL;
    }
    for (size_t i = 0; c && i < 3; i++) tell("%d", restate_is_done(f[i]));
    return RESTATE_OK;
}

TEST(runs_in_parallel) {
    static const struct { const char *how, *told, *tree; } cases[] = {
        { "l", "ok(-) 111", "N:[ALL_SUCCEEDED{" },
        { "y", "ok(B) 010", "" },
        { "r", "ok(B) 010", "" },
        { "s", "ok(-) 111", "" },
        { "-", "b c a ", "" }
    };
    for (size_t i = 0; i < 5; i++)
        EACH(RESTATE_SERVICE, .fn = runs_three) {
            start(1); input(cases[i].how); ex_feed(); turn();
            gate_reached(3);
            gate_open();
            settle();
            drop_said();
            TOLD("go go go ");
            CHECK(!ex.x->finished);
            run_stored(2, "B"); give();
            run_stored(3, "C"); give();
            run_stored(1, "A"); give();
            CHECK(ex.x->finished);
            TOLD(cases[i].told);
            SAYS("? AwaitingOn...", "? AwaitingOn...", EMPTY_OUTPUT);
        }
}

static restate_status never_awaits(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_run_async(ctx, "a", closure, (void *)(uintptr_t)"value", NULL);
    return RESTATE_OK;
}

TEST(run_never_awaited) {
    EACH(RESTATE_SERVICE, .fn = never_awaits) {
        STARTED();
        SAYS("Run 1 \"a\"", EMPTY_OUTPUT);
        TOLD("");
    }
}

/* A closure that lost a race goes on, and the memory of its attempt stays as long. */
static restate_status leaves_a_run(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    (void)in;
    f[0] = restate_run_async(ctx, "slow", waits_at_gate, restate_alloc(ctx, 100), NULL);
    f[1] = restate_awakeable(ctx, NULL);
    return restate_await(ctx, restate_race(ctx, f, 2), NULL);
}

TEST(run_outlives_its_handler) {
    for (int release = 0; release < 2; release++)
        EACH(RESTATE_SERVICE, .fn = leaves_a_run) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            note_signal(17, "x"); ex_feed();
            if (ex.handlers[0].options.blocking) while (!ex.x->finished) turn();
            else turn();
            SAYS("Run 1 \"slow\"", EMPTY_OUTPUT);
            CHECK(ex.x->finished);
            CHECK_INT(ex.endpoint->invocations, 1);
            if (release) ex_release();
            turn();
            gate_open();
            settle();
            TOLD("stop ");
        }
}

/* ---- Sleep and state --------------------------------------------------------------------------- */

static uint64_t delay;

static restate_status sleeps(restate_ctx *ctx, restate_bytes in) {
    restate_status s;
    (void)in;
    if (variant) return say(ctx, restate_await(ctx, restate_sleep_async(ctx, delay, "nap"), NULL), absent());
    s = restate_sleep(ctx, delay);
    return say(ctx, s, absent());
}

static uint64_t wake_up(void) {             /* of the Sleep command that came last, at the start of the output */
    rt_field f;
    const uint8_t *p = rt.raw.at + 8;
    while (rt_next_field(&p, rt.raw.at + 8 + rt.raw.at[7], &f) == 1)
        if (f.number == 1) return f.n;
    return 0;
}

TEST(sleep_time) {
    static const uint64_t delays[] = { 0, 1, 86400000, RESTATE_ZERO_MS, (uint64_t)-1000, (uint64_t)INT64_MIN, INT64_MAX };
    for (size_t i = 0; i < 7; i++)
        EACH(RESTATE_SERVICE, .fn = sleeps) {
            uint64_t before = restate__clock_wall_ms(&restate__clock_default), wake;
            delay = delays[i];
            variant = i % 2;
            STARTED();
            ex_collect();
            wake = wake_up();
            if (i < 3) CHECK(wake >= before + delay && wake <= restate__clock_wall_ms(&restate__clock_default) + delay);
            if (i > 2 && i < 6) CHECK(wake >= before && wake <= restate__clock_wall_ms(&restate__clock_default));
            if (i == 6) CHECK(wake == (uint64_t)INT64_MAX);
            SAYS("Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
            note_sleep(1); give();
            SAYS(EMPTY_OUTPUT);
            TOLD("ok(-) ");
        }
}

static restate_status keeps_state(restate_ctx *ctx, restate_bytes in) {
    const char *const *keys;
    restate_bytes value, other;
    (void)in;
    RESTATE_TRY(say(ctx, restate_get(ctx, "a", &value), value));
    RESTATE_TRY(restate_set(ctx, "b", text("new")));
    RESTATE_TRY(restate_set(ctx, "", text("")));
    RESTATE_TRY(restate_get(ctx, "b", &other));
    CHECK_STR((const char *)other.ptr, "new");
    CHECK(value.ptr == NULL || strcmp((const char *)value.ptr, "1") == 0);      /* still there */
    RESTATE_TRY(restate_clear(ctx, "a"));
    RESTATE_TRY(restate_get(ctx, "a", NULL));
    RESTATE_TRY(restate_get(ctx, "", &value));
    CHECK(value.ptr && value.len == 0);
    RESTATE_TRY(restate_await(ctx, restate_get_async(ctx, "never"), &value));
    CHECK(!value.ptr);
    RESTATE_TRY(restate_keys(ctx, &keys));
    for (; *keys; keys++) tell("[%s]", *keys);
    RESTATE_TRY(restate_clear_all(ctx));
    RESTATE_TRY(restate_keys(ctx, &keys));
    CHECK(keys && !*keys);
    return restate_keys(ctx, NULL);
}

TEST(state_eager) {
    EACH(RESTATE_OBJECT, .fn = keeps_state) {
        start(1, .complete = true, .state = "a=1;z=26", .key = "k"); input(""); give();
        TOLD("ok(1) [][b][z]");
        SAYS("GetEagerState \"a\" value \"1\"", "SetState \"b\" value \"new\"", "SetState value \"\"", "GetEagerState \"b\" value \"new\"",
             "ClearState \"a\"", "GetEagerState \"a\" void", "GetEagerState value \"\"", "GetEagerState \"never\" void",
             "GetEagerStateKeys [,b,z]", "ClearAllState", "GetEagerStateKeys []", "GetEagerStateKeys []", EMPTY_OUTPUT);
    }
}

TEST(state_lazy) {
    EACH(RESTATE_WORKFLOW, .fn = keeps_state) {
        start(1, .key = "k"); input(""); give();
        SAYS("GetLazyState 1 \"a\"", "AwaitingOn W{c:1,s:1}");
        note_void(N_GET_LAZY, 1); give();
        SAYS("SetState \"b\" value \"new\"", "SetState value \"\"", "GetEagerState \"b\" value \"new\"", "ClearState \"a\"",
             "GetEagerState \"a\" void", "GetEagerState value \"\"", "GetLazyState 5 \"never\"", "AwaitingOn W{c:5,s:1}");
        note_void(N_GET_LAZY, 5); give();
        SAYS("GetLazyStateKeys 6", "AwaitingOn W{c:6,s:1}");
        frame(N_GET_LAZY_KEYS, "1u 17(1s1s)", 6, "b", "z"); give();
        TOLD("ok(-) [b][z]");
        SAYS("ClearAllState", "GetEagerStateKeys []", "GetEagerStateKeys []", EMPTY_OUTPUT);
    }
}

static restate_status fetches_in_parallel(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    restate_bytes value;
    (void)in;
    f[0] = restate_get_async(ctx, "a");
    f[1] = restate_get_async(ctx, "b");
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, f, 2), NULL));
    for (int i = 0; i < 2; i++) RESTATE_TRY(say(ctx, restate_await(ctx, f[i], &value), value));
    return RESTATE_OK;
}

TEST(state_in_parallel) {
    EACH(RESTATE_OBJECT, .fn = fetches_in_parallel, .shared = true) {
        start(1, .key = "k"); input(""); give();
        SAYS("GetLazyState 1 \"a\"", "GetLazyState 2 \"b\"", "AwaitingOn W{s:1,N:[ALL_SUCCEEDED{c:1,2}]}");
        note_value(N_GET_LAZY, 2, "B"); give();
        SAYS("AwaitingOn W{s:1,N:[ALL_SUCCEEDED{c:1}]}");
        note_value(N_GET_LAZY, 1, "A"); give();
        TOLD("ok(A) ok(B) ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* ---- Misuse ------------------------------------------------------------------------------------- */

static restate_status misuses(restate_ctx *ctx, restate_bytes in) {
    static restate_future *no_futures[2];
    restate_bytes value = text("x");
    const char *const *keys, *id = "x";
    restate_target to = { .handler = "h" };
    restate_call_options o = { .idempotency_key = "" };
    size_t index = 7;
    (void)in;
    switch (variant) {
    case 0: CHECK_INT(restate_get(ctx, "k", &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 1: CHECK(!restate_is_done(restate_get_async(ctx, "k"))); break;
    case 2: CHECK_INT(restate_keys(ctx, &keys), RESTATE_ENDED); CHECK(!*keys); break;
    case 3: CHECK_INT(restate_set(ctx, "k", value), RESTATE_ENDED); break;
    case 4: CHECK_INT(restate_clear(ctx, "k"), RESTATE_ENDED); break;
    case 5: CHECK_INT(restate_clear_all(ctx), RESTATE_ENDED); break;
    case 6: CHECK_INT(restate_get(ctx, NULL, NULL), RESTATE_ENDED); break;
    case 7: CHECK_INT(restate_set(ctx, NULL, value), RESTATE_ENDED); break;
    case 8: CHECK_INT(restate_set(ctx, "k", absent()), RESTATE_ENDED); break;
    case 9: CHECK_INT(restate_clear(ctx, NULL), RESTATE_ENDED); break;
    case 10: CHECK_INT(restate_set(ctx, "\xC3", value), RESTATE_ENDED); break;
    case 11: CHECK_INT(restate_call(ctx, to, value, NULL, &value), RESTATE_ENDED); break;
    case 12: to.service = "S"; to.handler = ""; restate_send(ctx, to, value, NULL); break;
    case 13: CHECK_INT(restate_call(ctx, greeter("g"), value, &o, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 14: o.idempotency_key = NULL; o.limit_key = "l"; restate_call_async(ctx, greeter("g"), value, &o); break;
    case 15: CHECK_INT(restate_cancel(ctx, NULL), RESTATE_ENDED); break;
    case 16: CHECK_INT(restate_signal_resolve(ctx, NULL, "n", value), RESTATE_ENDED); break;
    case 17: CHECK_INT(restate_await(ctx, NULL, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 18: CHECK_INT(restate_await_for(ctx, NULL, 1, &value), RESTATE_ENDED); break;
    case 19: CHECK_INT(restate_select(ctx, NULL, 2, &index), RESTATE_ENDED); CHECK_INT(index, 2); break;
    case 20: CHECK_INT(restate_await(ctx, restate_race(ctx, NULL, 0), &value), RESTATE_ENDED); break;
    case 21: CHECK_INT(restate_await(ctx, restate_race(ctx, no_futures, 2), &value), RESTATE_ENDED); break;
    case 22: CHECK_INT(restate_await(ctx, restate_all(ctx, NULL, 1), &value), RESTATE_ENDED); break;
    case 23: CHECK_INT(restate_run(ctx, "x", NULL, NULL, NULL, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 24: restate_run_async(ctx, "x", NULL, NULL, NULL); break;
    case 25: CHECK_INT(restate_call_id(ctx, restate_awakeable(ctx, NULL), &id), RESTATE_ENDED); CHECK_STR(id, ""); break;
    case 26: CHECK_INT(restate_call_id(ctx, NULL, &id), RESTATE_ENDED); break;
    default: CHECK(!restate_json(ctx, "{").ptr); break;
    }
    CHECK(restate_stop_requested(ctx));
    return RESTATE_OK;
}

TEST(misuse) {
    static const struct { restate_kind kind; bool shared; const char *message; } cases[] = {
        { RESTATE_SERVICE, false, "restate_get(): a plain service has no state: make it a RESTATE_OBJECT or a RESTATE_WORKFLOW" },
        { RESTATE_SERVICE, false, "restate_get_async(): a plain service has no state" },
        { RESTATE_SERVICE, false, "restate_keys(): a plain service has no state" },
        { RESTATE_OBJECT, true, "restate_set(): a shared handler cannot write state: register it with .shared = false" },
        { RESTATE_OBJECT, true, "restate_clear(): a shared handler cannot write state" },
        { RESTATE_OBJECT, true, "restate_clear_all(): a shared handler cannot write state" },
        { RESTATE_OBJECT, false, "restate_get(): the key is NULL" },
        { RESTATE_OBJECT, false, "restate_set(): the key is NULL" },
        { RESTATE_OBJECT, false, "restate_set(): the value of \"k\" is absent: use restate_clear() to delete it" },
        { RESTATE_OBJECT, false, "restate_clear(): the key is NULL" },
        { RESTATE_OBJECT, false, "restate_set(): the key is not UTF-8" },
        { RESTATE_SERVICE, false, "restate_call(): the target has no service" },
        { RESTATE_SERVICE, false, "restate_send(): the target has no handler" },
        { RESTATE_SERVICE, false, "restate_call(): the idempotency key of a call to Greeter/g is empty" },
        { RESTATE_SERVICE, false, "restate_call_async(): a limit key needs a scope" },
        { RESTATE_SERVICE, false, "restate_cancel(): the invocation id is empty" },
        { RESTATE_SERVICE, false, "restate_signal_resolve(): the invocation id is empty" },
        { RESTATE_SERVICE, false, "restate_await(): the future is NULL" },
        { RESTATE_SERVICE, false, "restate_await_for(): the future is NULL" },
        { RESTATE_SERVICE, false, "restate_select(): the array of futures is NULL" },
        { RESTATE_SERVICE, false, "restate_race(): a race of no futures never ends" },
        { RESTATE_SERVICE, false, "restate_race(): a race of no futures never ends" },
        { RESTATE_SERVICE, false, "restate_all(): the array of futures is NULL" },
        { RESTATE_SERVICE, false, "restate_run(): the closure is NULL" },
        { RESTATE_SERVICE, false, "restate_run_async(): the closure is NULL" },
        { RESTATE_SERVICE, false, "restate_call_id(): the future is not of restate_call_async() or restate_send()" },
        { RESTATE_SERVICE, false, "restate_call_id(): the future is NULL" },
        { RESTATE_SERVICE, false, "restate_json(): " }
    };
    for (variant = 0; variant < (int)(sizeof cases / sizeof *cases); variant++) {
        const restate_handler handler = { .fn = misuses, .shared = cases[variant].shared };
        while (ex_again(cases[variant].kind, handler, 5, 7)) {
            char line[200];
            snprintf(line, sizeof line, "Error 500 index:0 Input message:\"S/h: %s", cases[variant].message);
            start(1, .complete = true); input("in"); give();
            for (char *p = line; *p; p++) if (*p == '\xC3') *p = '?';
            strcat(line, "...");
            SAYS(line);
            LOG_HAS(cases[variant].message);
        }
    }
}

static restate_status leaks_its_future(restate_ctx *ctx, restate_bytes in) {
    restate_future *own;
    restate_status s;
    if (*in.ptr == '1') {
        outer_future = restate_awakeable(ctx, NULL);
        return restate_await(ctx, outer_future, NULL);
    }
    own = restate_awakeable(ctx, NULL);
    {
        restate_future *both[2] = { own, outer_future };
        size_t index;
        if (*in.ptr == 'a') s = restate_await(ctx, outer_future, NULL);
        else if (*in.ptr == 's') s = restate_select(ctx, both, 2, &index), CHECK_INT(index, 2);
        else s = restate_await(ctx, restate_all(ctx, both, 2), NULL);
    }
    CHECK_INT(s, RESTATE_ENDED);
    return s;
}

TEST(future_of_another_invocation) {
    static const char *const ways[] = { "a", "s", "c" };
    for (int i = 0; i < 3; i++)
        EACH(RESTATE_SERVICE, .fn = leaks_its_future) {
            restate__x *first;
            start(1); input("1"); give();
            drop_said();
            first = ex.x;
            ex.x = NULL;
            invoke();
            start(1); input(ways[i]); give();
            SAYS(i == 0 ? "Error 500 index:0 Input message:\"S/h: restate_await(): the future belongs to another invocation..."
                 : i == 1 ? "Error 500 index:0 Input message:\"S/h: restate_select(): the future belongs to another invocation..."
                 : "Error 500 index:0 Input message:\"S/h: restate_all(): the future belongs to another invocation...");
            LOG_HAS("ERROR the attempt failed with 500: S/h: restate_");
            ex_release();
            ex.x = first;
        }
}

/* ---- Calls, sends, awakeables ----------------------------------------------------------------- */

static restate_status calls(restate_ctx *ctx, restate_bytes in) {
    static const restate_pair headers[] = { { "h1", "v1" }, { "h2", "v2" }, { NULL, NULL } };
    restate_call_options o = { .idempotency_key = "idem", .headers = headers, .name = "named" };
    restate_target to = { .service = "Greeter", .handler = "greet", .key = "key" };
    restate_bytes reply = text("before");
    restate_future *f;
    const char *id = "before";
    (void)in;
    say(ctx, restate_call(ctx, greeter("greet"), text("one"), NULL, &reply), reply);
    f = restate_call_async(ctx, to, absent(), &o);
    RESTATE_TRY(restate_call_id(ctx, f, &id));
    tell("%s ", id);
    say(ctx, restate_await(ctx, f, &reply), reply);
    say(ctx, restate_await(ctx, f, &reply), reply);         /* twice */
    RESTATE_TRY(restate_call_id(ctx, f, &id));
    tell("%s ", id);
    return restate_cancel(ctx, id);
}

TEST(calls_and_replies) {
    EACH(RESTATE_SERVICE, .fn = calls) {
        STARTED();
        SAYS("Call 1 2 \"Greeter\" \"greet\" parameter:\"one\"", "AwaitingOn W{c:2,s:1}");
        note_id(1, INV_A); note_value(N_CALL, 2, "hello"); give();
        SAYS("Call 3 4 \"Greeter\" \"greet\" key:\"key\" \"h1\":\"v1\" \"h2\":\"v2\" idempotency:\"idem\" name:\"named\"",
             "AwaitingOn W{c:3,s:1}");
        note_id(3, INV_B); give();
        SAYS("AwaitingOn W{c:4,s:1}");
        note_failure(N_CALL, 4, 418, "teapot"); give();
        TOLD("ok(hello) " INV_B " terminal(418 teapot) terminal(418 teapot) " INV_B " ");
        SAYS("SendSignal \"" INV_B "\" index:1 void", EMPTY_OUTPUT);
    }
}

static restate_status calls_scoped(restate_ctx *ctx, restate_bytes in) {
    restate_target to = { .service = "Greeter", .handler = "greet", .scope = "sc" };
    restate_call_options o = { .limit_key = "li/mit" };
    (void)in;
    restate_call_async(ctx, to, text("x"), &o);
    restate_send(ctx, to, text("x"), &o);
    return RESTATE_OK;
}

TEST(call_scope) {
    EACH(RESTATE_SERVICE, .fn = calls_scoped) {
        STARTED();
        if (ex.version < 7) { SAYS("Error 573..."); LOG_HAS("needs service protocol V7"); continue; }
        SAYS("Call 1 2 \"Greeter\" \"greet\" parameter:\"x\" scope:\"sc\" limit:\"li/mit\"",
             "OneWayCall 3 \"Greeter\" \"greet\" parameter:\"x\" scope:\"sc\" limit:\"li/mit\"", EMPTY_OUTPUT);
    }
}

static restate_status sends(restate_ctx *ctx, restate_bytes in) {
    restate_call_options o = { .delay_ms = delay };
    const char *id;
    restate_future *f = restate_send(ctx, greeter("greet"), text("x"), &o);
    restate_bytes value;
    (void)in;
    RESTATE_TRY(restate_call_id(ctx, f, &id));
    CHECK(restate_is_done(f));
    RESTATE_TRY(say(ctx, restate_await(ctx, f, &value), value));
    return restate_reply(ctx, text(id));
}

TEST(sends_and_ids) {
    static const uint64_t delays[] = { 0, 60000, RESTATE_ZERO_MS };
    for (int i = 0; i < 3; i++)
        EACH(RESTATE_SERVICE, .fn = sends) {
            delay = delays[i];
            STARTED();
            SAYS(i ? "OneWayCall 1 \"Greeter\" \"greet\" parameter:\"x\" at:..." : "OneWayCall 1 \"Greeter\" \"greet\" parameter:\"x\"",
                 "AwaitingOn W{c:1,s:1}");
            note_id(1, INV_X); give();
            TOLD("ok(" INV_X ") ");
            SAYS("Output value \"" INV_X "\"", "End");
        }
}

#define OWN_ID "0123456789abcdefghijklmn"
#define OWN_AWAKEABLE(last) "sign_1MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAA" last

static restate_status awaits_awakeables(restate_ctx *ctx, restate_bytes in) {
    const char *id[2];
    restate_future *f[2];
    restate_bytes value;
    (void)in;
    f[0] = restate_awakeable(ctx, &id[0]);
    f[1] = restate_awakeable(ctx, &id[1]);
    CHECK_STR(id[0], OWN_AWAKEABLE("EQ"));
    CHECK_STR(id[1], OWN_AWAKEABLE("Eg"));
    say(ctx, restate_await(ctx, f[1], &value), value);
    return say(ctx, restate_await(ctx, f[0], &value), value);
}

TEST(awakeables) {
    EACH(RESTATE_SERVICE, .fn = awaits_awakeables) {
        start(1, .id = OWN_ID); input("in"); give();
        SAYS("AwaitingOn W{s:1,18}");
        note_signal(18, "eighteen"); note_signal_failure(17, 500, "rejected"); give();
        TOLD("ok(eighteen) terminal(500 rejected) ");
        SAYS("Output failure 500 \"rejected\"", "End");
    }
}

static restate_status completes(restate_ctx *ctx, restate_bytes in) {
    static const restate_failure failure = { .message = "no" };
    static const restate_failure with_metadata = { .code = 409, .message = "no", .metadata = metadata };
    const char *id = OWN_AWAKEABLE("EQ");
    (void)in;
    if (variant == 1) return restate_reject(ctx, id, &with_metadata);
    RESTATE_TRY(restate_resolve(ctx, id, text("v")));
    RESTATE_TRY(restate_resolve(ctx, id, text("")));
    RESTATE_TRY(restate_resolve(ctx, id, absent()));
    RESTATE_TRY(restate_resolve(ctx, OWN_AWAKEABLE("EQ=="), text("v")));
    RESTATE_TRY(restate_reject(ctx, id, &failure));
    RESTATE_TRY(restate_reject(ctx, id, NULL));
    return RESTATE_OK;
}

TEST(completes_awakeables) {
    variant = 0;
    EACH(RESTATE_SERVICE, .fn = completes) {
        STARTED();
        SAYS("CompleteAwakeable \"" OWN_AWAKEABLE("EQ") "\" value \"v\"", "CompleteAwakeable \"" OWN_AWAKEABLE("EQ") "\" value \"\"",
             "CompleteAwakeable \"" OWN_AWAKEABLE("EQ") "\" value \"\"", "CompleteAwakeable \"" OWN_AWAKEABLE("EQ==") "\" value \"v\"",
             "CompleteAwakeable \"" OWN_AWAKEABLE("EQ") "\" failure 500 \"no\"",
             "CompleteAwakeable \"" OWN_AWAKEABLE("EQ") "\" failure 500 \"rejected\"", EMPTY_OUTPUT);
    }
    variant = 1;
    EACH(RESTATE_SERVICE, .fn = completes) {
        STARTED();
        if (ex.version == 5) { SAYS("Error 573..."); LOG_HAS("WARN"); continue; }
        SAYS("CompleteAwakeable \"" OWN_AWAKEABLE("EQ") "\" failure 409 \"no\" \"a\":\"1\" \"b\":\"\"", EMPTY_OUTPUT);
    }
}

static restate_status completes_nothing(restate_ctx *ctx, restate_bytes in) {
    static const char *const wrong[] = {
        NULL, "", "x", "sign_1", "sign_1short", "sign_2MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAAEQ", OWN_AWAKEABLE("E"), OWN_AWAKEABLE("EQQ"),
        OWN_AWAKEABLE("E!"), OWN_AWAKEABLE("EB"), OWN_AWAKEABLE("EQ==="), "SIGN_1MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAAEQ"
    };
    size_t i;
    (void)in;
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_INT(i % 2 ? restate_resolve(ctx, wrong[i], text("v")) : restate_reject(ctx, wrong[i], NULL), RESTATE_TERMINAL);
        CHECK_INT(restate_failed(ctx)->code, 400);
        CHECK_HAS(restate_failed(ctx)->message, "is not the id of an awakeable");
    }
    return restate_reply(ctx, text("fine"));
}

TEST(bad_awakeable_ids) {
    EACH(RESTATE_SERVICE, .fn = completes_nothing) {
        STARTED();
        SAYS("Output value \"fine\"", "End");
    }
}

/* ---- Futures ------------------------------------------------------------------------------------ */

static restate_status waits_for(restate_ctx *ctx, restate_bytes in) {
    restate_future *f = restate_awakeable(ctx, NULL);
    restate_bytes value;
    (void)in;
    say(ctx, restate_await_for(ctx, f, 1000, &value), value);
    return say(ctx, restate_await_for(ctx, f, 2000, &value), value);
}

TEST(await_for) {
    EACH(RESTATE_SERVICE, .fn = waits_for) {        /* in time; then it is there, without a timer */
        STARTED();
        SAYS("Sleep 1 wake:...", "AwaitingOn W{s:1,N:[{c:1,s:17}]}");
        note_signal(17, "v"); give();
        TOLD("ok(v) ok(v) ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = waits_for) {        /* too late, then in time with a failure */
        STARTED();
        drop_said();
        note_sleep(1); give();
        TOLD("timeout(408 timed out after 1000 ms) ");
        SAYS("Sleep 2 wake:...", "AwaitingOn W{s:1,N:[{c:2,s:17}]}");
        note_signal_failure(17, 400, "bad"); give();
        TOLD("terminal(400 bad) ");
        SAYS("Output failure 400 \"bad\"", "End");
    }
    EACH(RESTATE_SERVICE, .fn = waits_for) {        /* returned as it is */
        STARTED();
        drop_said();
        note_sleep(1); note_sleep(2); give();
        TOLD("timeout(408 timed out after 1000 ms) timeout(408 timed out after 2000 ms) ");
        SAYS("Sleep 2 wake:...", "Output failure 408 \"timed out after 2000 ms\"", "End");
    }
    EACH(RESTATE_SERVICE, .fn = waits_for) {        /* the order of the journal decides */
        start(4); input(""); cmd_sleep(1, "", 5); note_sleep(1); note_signal(17, "v"); give();
        TOLD("timeout(408 timed out after 1000 ms) ok(v) ");
        SAYS("Sleep 2 wake:...", EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = waits_for) {
        start(4); input(""); cmd_sleep(1, "", 5); note_signal(17, "v"); note_sleep(1); give();
        TOLD("ok(v) ok(v) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status selects(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[4];
    size_t index = 77;
    restate_bytes value;
    (void)in;
    CHECK_INT(restate_select(ctx, NULL, 0, &index), RESTATE_OK);
    CHECK_INT(index, 0);
    f[0] = restate_awakeable(ctx, NULL);
    f[1] = NULL;
    f[2] = restate_awakeable(ctx, NULL);
    f[3] = restate_awakeable(ctx, NULL);
    for (;;) {
        RESTATE_TRY(restate_select(ctx, f, 4, &index));
        if (index == 4) break;
        CHECK(restate_is_done(f[index]));
        tell("%zu:", index);
        say(ctx, restate_await(ctx, f[index], &value), value);
        CHECK_INT(restate_select(ctx, f, 4, NULL), RESTATE_OK);     /* the same again, at once */
        f[index] = NULL;
    }
    return RESTATE_OK;
}

TEST(select_order) {
    EACH(RESTATE_SERVICE, .fn = selects) {
        STARTED();
        SAYS("AwaitingOn W{s:1,N:[{s:17,18,19}]}");
        note_signal(18, "B"); note_signal_failure(19, 5, "C"); note_signal(17, "A"); give();
        TOLD("2:ok(B) 3:terminal(5 C) 0:ok(A) ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = selects) {
        start(4); input(""); note_signal(19, "C"); note_signal(17, "A"); note_signal(18, "B"); give();
        TOLD("3:ok(C) 0:ok(A) 2:ok(B) ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = selects) {
        begins(); note_signal(19, "C"); give_and_end();
        TOLD("3:ok(C) ");
        SAYS("Suspension W{s:1,N:[{s:17,18}]}");
    }
}

static restate_status combines_nothing(restate_ctx *ctx, restate_bytes in) {
    restate_future *none[2] = { NULL, NULL };
    restate_future *f;
    restate_bytes value = text("before");
    (void)in;
    for (int i = 0; i < 2; i++) {
        f = restate_all(ctx, none, i ? 2 : 0);
        CHECK(restate_is_done(f));
        say(ctx, restate_await(ctx, f, &value), value);
        f = restate_all_settled(ctx, i ? none : NULL, i ? 2 : 0);
        CHECK(restate_is_done(f));
        say(ctx, restate_await(ctx, f, &value), value);
        f = restate_any(ctx, none, i ? 2 : 0);
        CHECK(restate_is_done(f));
        CHECK_INT(restate_await(ctx, f, &value), RESTATE_TERMINAL);
        CHECK(!value.ptr);
        CHECK_INT(restate_failed(ctx)->code, 500);
    }
    CHECK_INT(restate_select(ctx, none, 2, NULL), RESTATE_OK);
    CHECK(!restate_is_done(NULL));
    return RESTATE_OK;
}

TEST(combinators_of_nothing) {
    EACH(RESTATE_SERVICE, .fn = combines_nothing) {
        STARTED();
        TOLD("ok(-) ok(-) ok(-) ok(-) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status combines(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3], *c, *all[2];
    restate_bytes value;
    for (int i = 0; i < 3; i++) f[i] = restate_awakeable(ctx, NULL);
    switch (in.ptr[0]) {
    case 'r': c = restate_race(ctx, f, 3); break;
    case 'y': c = restate_any(ctx, f, 3); break;
    case 'l': c = restate_all(ctx, f, 3); break;
    case 's': c = restate_all_settled(ctx, f, 3); break;
    default:                                /* nested: race(all(0,1), any(2)) */
        all[0] = restate_all(ctx, f, 2);
        all[1] = restate_any(ctx, &f[2], 1);
        c = restate_race(ctx, all, 2);
        f[0] = f[1] = f[2] = NULL;
        break;
    }
    CHECK(!restate_is_done(c));
    say(ctx, restate_await(ctx, c, &value), value);
    for (int i = 0; i < 3; i++) tell("%d", restate_is_done(f[i]));
    tell(" ");
    say(ctx, restate_await(ctx, c, &value), value);
    return RESTATE_OK;
}

TEST(combinators) {
    static const struct { const char *how; int order[3]; const char *told; } cases[] = {    /* n < 0: a failure */
        { "r", { 18, 17, 19 }, "ok(18) 010 ok(18) " },
        { "r", { -19, 17, 18 }, "terminal(19 no) 001 terminal(19 no) " },
        { "y", { -19, 17, 18 }, "ok(17) 101 ok(17) " },
        { "y", { -19, -17, -18 }, "terminal(18 no) 111 terminal(18 no) " },
        { "l", { 19, 17, 18 }, "ok(-) 111 ok(-) " },
        { "l", { 19, -17, 18 }, "terminal(17 no) 101 terminal(17 no) " },
        { "s", { 19, -17, -18 }, "ok(-) 111 ok(-) " },
        { "n", { 17, 19, 18 }, "ok(19) 000 ok(19) " },
        { "n", { 17, 18, 19 }, "ok(-) 000 ok(-) " },
        { "n", { 17, -18, 19 }, "terminal(18 no) 000 terminal(18 no) " }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int together = 0; together < 2; together++)
            EACH(RESTATE_SERVICE, .fn = combines) {
                start(1); input(cases[i].how);
                for (int k = 0; k < 3; k++) {
                    if (!together) give();
                    if (cases[i].order[k] > 0) note_signal((unsigned)cases[i].order[k], cases[i].order[k] == 17 ? "17" : cases[i].order[k] == 18 ? "18" : "19");
                    else note_signal_failure((unsigned)-cases[i].order[k], (unsigned)-cases[i].order[k], "no");
                }
                give();
                CHECK(ex.x->finished);
                TOLD(cases[i].told);
                SAYS("? AwaitingOn...", "? AwaitingOn...", "? AwaitingOn...", EMPTY_OUTPUT);
            }
}

/* What has come is not seen before an await. */
static restate_status polls(restate_ctx *ctx, restate_bytes in) {
    restate_future *a = restate_awakeable(ctx, NULL), *b = restate_awakeable(ctx, NULL);
    (void)in;
    for (int i = 0; i < 100; i++) CHECK(!restate_is_done(a) && !restate_is_done(b));
    RESTATE_TRY(restate_await(ctx, b, NULL));
    CHECK(restate_is_done(a) && restate_is_done(b));        /* a came first */
    return RESTATE_OK;
}

TEST(is_done) {
    EACH(RESTATE_SERVICE, .fn = polls) {
        start(3); input(""); note_signal(17, "A"); note_signal(18, "B"); give();
        SAYS(EMPTY_OUTPUT);
    }
}

/* ---- Cancellation ------------------------------------------------------------------------------ */

static restate_status is_cancelled(restate_ctx *ctx, restate_bytes in) {
    restate_future *f = restate_awakeable(ctx, NULL);
    const restate_failure *kept;
    restate_bytes value;
    restate_status s;
    restate_send(ctx, greeter("sent"), text("s"), NULL);
    s = restate_call(ctx, greeter("called"), text("c"), NULL, &value);
    say(ctx, s, value);
    if (s != RESTATE_CANCELLED) return s;
    CHECK(!restate_stop_requested(ctx));
    CHECK_INT(restate_failed(ctx)->code, 409);
    kept = restate_failed(ctx);
    if (*in.ptr == 'i') return s;
    say(ctx, restate_run(ctx, "undo", closure, (void *)(uintptr_t)"fail", NULL, &value), value);
    CHECK(restate_failed(ctx) != kept);
    say(ctx, restate_await(ctx, f, &value), value);         /* the future is as good as before */
    return restate_fail_with(ctx, kept);
}

TEST(cancellation) {
    EACH(RESTATE_SERVICE, .fn = is_cancelled) {
        STARTED();
        SAYS("OneWayCall 1 \"Greeter\" \"sent\" parameter:\"s\"", "Call 2 3 \"Greeter\" \"called\" parameter:\"c\"", "AwaitingOn W{c:3,s:1}");
        note_cancel(); give();              /* the id of the call is not known yet */
        SAYS("AwaitingOn W{c:2}");
        note_id(2, "inv_called"); give();
        SAYS("SendSignal \"inv_called\" index:1 void", "Output failure 409 \"cancelled\"", "End");
        TOLD("cancelled(409 cancelled) ");
    }
    EACH(RESTATE_SERVICE, .fn = is_cancelled, .options = { .cancel_sends = RESTATE_ON }) {
        begins(); note_id(1, "inv_sent"); note_id(2, "inv_called"); note_cancel(); give();
        SAYS("OneWayCall 1 \"Greeter\" \"sent\" parameter:\"s\"", "Call 2 3 \"Greeter\" \"called\" parameter:\"c\"",
             "SendSignal \"inv_sent\" index:1 void", "SendSignal \"inv_called\" index:1 void", "Output failure 409 \"cancelled\"", "End");
        TOLD("cancelled(409 cancelled) ");
    }
}

TEST(compensation) {
    EACH(RESTATE_SERVICE, .fn = is_cancelled) {
        start(1); input("undo"); note_id(2, "inv_called"); note_cancel(); give();
        SAYS("OneWayCall 1 \"Greeter\" \"sent\" parameter:\"s\"", "Call 2 3 \"Greeter\" \"called\" parameter:\"c\"",
             "SendSignal \"inv_called\" index:1 void", "Run 4 \"undo\"", "Propose 4 failure 409 \"conflict 7\" ack", "AwaitingOn W{c:4,s:1}");
        run_stored_failure(4, 409, "conflict 7"); give();
        SAYS("AwaitingOn W{s:1,17}");
        note_signal(17, "late"); give();
        SAYS("Output failure 409 \"cancelled\"", "End");
        TOLD("cancelled(409 cancelled) fail terminal(409 conflict 7) ok(late) ");
    }
}

/* Cancelled while a closure runs: it is told, not interrupted, and its result is stored. */
static restate_status runs_at_gate(restate_ctx *ctx, restate_bytes in) {
    char here[] = "on the stack";
    restate_bytes value;
    (void)in;
    return say(ctx, restate_run(ctx, "slow", waits_at_gate, here, NULL, &value), value);
}

TEST(cancelled_in_a_closure) {
    EACH(RESTATE_SERVICE, .fn = runs_at_gate) {
        begins(); ex_feed(); turn();
        gate_reached(1);
        SAYS("Run 1 \"slow\"");
        note_cancel(); ex_feed(); turn();
        SAYS_NOTHING();
        gate_open();
        settle();
        TOLD("stop cancelled(409 cancelled) ");
        SAYS("Propose 1 value \"on the stack\" ack", "Output failure 409 \"cancelled\"", "End");
    }
}

/* ---- A runtime that keeps a journal, and handlers that go to their end ------------------------- */

/* It stores what the handler records and answers it: sleeps end, calls of "fail" fail, others echo,
 * state is as in `state`, awakeables of the handler itself are completed. An attempt that suspends or
 * fails is followed by another one, from the journal. */
typedef struct sim_answer { rt_bytes wire, stored; } sim_answer;    /* what is sent, what the journal has */

typedef struct sim_state {
    bool stream;                            /* answers come while the attempt runs; else it suspends */
    bool backwards;                         /* the latest answer first */
    unsigned attempts_max;
    const char *state;
    rt_bytes journal;
    unsigned entries, attempts, failures, retries;
    sim_answer answers[64];
    size_t first, count;
    bool suspended, failed, ended;
    rt_bytes commands;                      /* all there were, as text */
} sim_state;

static sim_state sim;

static void sim_drop(void) {
    for (size_t i = sim.first; i < sim.count; i++) {
        rt_drop(&sim.answers[i].wire);
        rt_drop(&sim.answers[i].stored);
    }
    rt_drop(&sim.journal);
    rt_drop(&sim.commands);
    memset(&sim, 0, sizeof sim);
}

/* What was just added to the script becomes an answer. `stored`: how the journal has it, if otherwise. */
static void sim_answer_is(rt_bytes stored) {
    sim_answer *a = &sim.answers[sim.count];
    if (sim.count == 64) abort();
    sim.count++;
    a->wire = rt_script;
    memset(&rt_script, 0, sizeof rt_script);
    a->stored = stored;
}
static void sim_answered(void) {
    rt_bytes none = { NULL, 0, 0 };
    sim_answer_is(none);
}

typedef struct sim_fields { uint64_t n[18]; const uint8_t *at[18]; size_t len[18]; bool has[18]; } sim_fields;

static sim_fields sim_read(const uint8_t *p, size_t len) {
    sim_fields f;
    rt_field one;
    const uint8_t *end = p + len;
    memset(&f, 0, sizeof f);
    while (rt_next_field(&p, end, &one) == 1)
        if (one.number < 18) {
            f.n[one.number] = one.n;
            f.at[one.number] = one.at;
            f.len[one.number] = one.len;
            f.has[one.number] = true;
        }
    return f;
}

static const char *sim_text(const sim_fields *f, int n) {
    char *text = (char *)rt_alloc(f->len[n] + 1);
    if (f->len[n]) memcpy(text, f->at[n], f->len[n]);
    return text;
}

static const char *sim_state_of(const char *key) {          /* of "a=1;b=2" */
    const char *at = sim.state;
    size_t k = strlen(key);
    while (at && *at) {
        size_t len = strcspn(at, ";");
        if (strncmp(at, key, k) == 0 && at[k] == '=') {
            char *text = (char *)rt_alloc(len);
            memcpy(text, at + k + 1, len - k - 1);
            return text;
        }
        at += len + (at[len] == ';');
    }
    return NULL;
}

static void sim_call(const sim_fields *f) {
    const char *handler = sim_text(f, 2);
    char id[48];
    snprintf(id, sizeof id, "inv_1%033u", (unsigned)f->n[10]);
    note_id((unsigned)f->n[10], id);
    sim_answered();
    if (strcmp(handler, "fail") == 0) note_failure(N_CALL, (unsigned)f->n[11], 418, "teapot");
    else if (strcmp(handler, "never") == 0) return;
    else note_value(N_CALL, (unsigned)f->n[11], sim_text(f, 3));
    sim_answered();
}

static void sim_command(unsigned type, const uint8_t *payload, size_t len) {
    sim_fields f = sim_read(payload, len);
    const char *text;
    rt_show_frame(&sim.commands, payload - 8, len + 8);
    rt_frame(&sim.journal, type, 0, payload, len);
    sim.entries++;
    sim.retries = 0;
    switch (type) {
    case M_SLEEP: note_sleep((unsigned)f.n[11]); sim_answered(); break;
    case M_CALL: sim_call(&f); break;
    case M_SEND: note_id((unsigned)f.n[10], "inv_sent"); sim_answered(); break;
    case M_GET_LAZY:
        text = sim_state_of(sim_text(&f, 1));
        if (text) note_value(N_GET_LAZY, (unsigned)f.n[11], text);
        else note_void(N_GET_LAZY, (unsigned)f.n[11]);
        sim_answered();
        break;
    case M_GET_LAZY_KEYS: frame(N_GET_LAZY_KEYS, "1u 17(1s1s)", (unsigned)f.n[11], "a", "b"); sim_answered(); break;
    case M_COMPLETE_AWAKEABLE:
        text = sim_text(&f, 1);
        if (f.has[2]) note_signal(strcmp(text, OWN_AWAKEABLE("EQ")) == 0 ? 17 : 18, "resolved");
        else note_signal_failure(strcmp(text, OWN_AWAKEABLE("EQ")) == 0 ? 17 : 18, 400, "rejected");
        sim_answered();
        break;
    default: break;
    }
}

static void sim_proposal(const sim_fields *f, bool acknowledge) {
    rt_bytes stored = { NULL, 0, 0 }, rest = rt_script;
    memset(&rt_script, 0, sizeof rt_script);
    if (f->has[14]) frame(N_RUN, "1u 5(1b)", (unsigned)f->n[1], f->at[14], f->len[14]);
    else frame(N_RUN, "1u 6b", (unsigned)f->n[1], f->at[15], f->len[15]);
    if (acknowledge) {
        stored = rt_script;
        memset(&rt_script, 0, sizeof rt_script);
        note_ack((unsigned)f->n[1]);
    }
    sim_answer_is(stored);
    rt_drop(&rt_script);
    rt_script = rest;
}

static void sim_read_output(void) {
    ex_collect();
    while (rt.seen + 8 <= rt.raw.len) {
        const uint8_t *at = rt.raw.at + rt.seen;
        unsigned type = (unsigned)(at[0] << 8 | at[1]);
        size_t len = (size_t)at[4] << 24 | (size_t)at[5] << 16 | (size_t)at[6] << 8 | at[7];
        sim_fields f;
        if (rt.seen + 8 + len > rt.raw.len) return;
        CHECK(!sim.suspended && !sim.failed && !sim.ended);         /* nothing follows those */
        f = sim_read(at + 8, len);
        rt.seen += 8 + len;
        if (type == M_SUSPENSION) sim.suspended = true;
        else if (type == M_ERROR) sim.failed = true;
        else if (type == M_END) sim.ended = true;
        else if (type == M_PROPOSE) sim_proposal(&f, at[2] & 0x80);
        else if (type != M_AWAITING_ON) sim_command(type, at + 8, len);
    }
}

/* The next answer happens; `send`: the attempt is told. False: there is none. */
static bool sim_next(bool send) {
    sim_answer *a;
    if (sim.first == sim.count) return false;
    if (sim.backwards) a = &sim.answers[--sim.count];
    else a = &sim.answers[sim.first++];
    rt_add(&sim.journal, a->stored.at ? a->stored.at : a->wire.at, a->stored.at ? a->stored.len : a->wire.len);
    sim.entries++;
    if (send) rt_add(&rt_script, a->wire.at, a->wire.len);
    rt_drop(&a->wire);
    rt_drop(&a->stored);
    if (sim.first == sim.count) sim.first = sim.count = 0;
    return true;
}

/* One attempt, to its end. */
static void sim_attempt(void) {
    rt_start s = { .known = sim.entries, .id = OWN_ID, .seed = 1, .state = sim.stream ? NULL : sim.state, .key = "k",
                   .retries = sim.retries };
    sim.suspended = sim.failed = false;
    sim.attempts++;
    rt_script.len = 0;
    ex.told.len = 0;
    if (ex.told.at) *ex.told.at = 0;
    if (!invoke()) { sim.failed = true; return; }
    rt_add_start(&s);
    rt_add(&rt_script, sim.journal.at, sim.journal.len);
    if (sim.stream) give();
    else give_and_end();
    sim_read_output();
    while (ex.x->status == 200 && !ex.x->finished && !ex.x->out.failed && sim_next(true)) {
        give();
        sim_read_output();
    }
    if (ex.x->status == 200 && !ex.x->finished && !ex.x->out.failed) {
        end_of_input();
        sim_read_output();
    }
    CHECK(ex.x->finished || ex.x->out.failed);
    sim.failed |= !sim.suspended && !sim.ended;     /* the stream just ended */
}

/* From the input to the end of the invocation. */
static void sim_run(const char *body) {
    input(body);
    rt_add(&sim.journal, rt_script.at, rt_script.len);
    rt_script.len = 0;
    sim.entries = 1;
    while (!sim.ended && sim.attempts < (sim.attempts_max ? sim.attempts_max : 300)) {
        sim_attempt();
        if (sim.suspended && !sim_next(false)) break;       /* nothing will ever happen */
        if (sim.failed) sim.failures++, sim.retries++;
    }
    rt.seen = rt.raw.len;
}

/* ---- The loop: the same result with and without suspensions ------------------------------------ */

static restate_status flaky(restate_ctx *run, void *arg) {
    const unsigned *tries = (const unsigned *)arg;
    if (*tries < 2) return restate_retry(run, NULL, "try %u", *tries);
    return restate_reply(run, text("at last"));
}

static unsigned flaky_tries;

static restate_status everything(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[4];
    restate_bytes v = absent();
    const char *const *keys, *id;
    size_t index;
    RESTATE_TRY(say(ctx, restate_get(ctx, "a", &v), v));
    RESTATE_TRY(restate_set(ctx, "c", in));
    RESTATE_TRY(say(ctx, restate_get(ctx, "c", &v), v));
    RESTATE_TRY(restate_clear(ctx, "a"));
    RESTATE_TRY(say(ctx, restate_get(ctx, "a", &v), v));
    tell("%s ", restate_uuid(ctx));
    f[0] = restate_run_async(ctx, "sum", closure, restate_alloc(ctx, 1), NULL);     /* never awaited */
    RESTATE_TRY(say(ctx, restate_run(ctx, "inline", sums, (int[2]){ 1, 2 },
                                     &(restate_run_options){ .inline_ok = true }, &v), v));
    for (int i = 0; i < 3; i++) {
        int n[2] = { i, 10 };
        f[i] = restate_run_async(ctx, restate_text(ctx, "r%d", i), sums, n, &(restate_run_options){ .arg_bytes = sizeof n });
    }
    RESTATE_TRY(say(ctx, restate_await(ctx, restate_all(ctx, f, 3), &v), v));
    for (int i = 0; i < 3; i++) RESTATE_TRY(say(ctx, restate_await(ctx, f[i], &v), v));
    RESTATE_TRY(say(ctx, restate_sleep(ctx, 5), absent()));
    say(ctx, restate_call(ctx, greeter("fail"), text("x"), NULL, &v), v);
    f[0] = restate_call_async(ctx, greeter("echo"), text("one"), NULL);
    f[1] = restate_call_async(ctx, greeter("never"), text("two"), NULL);
    f[2] = restate_call_async(ctx, greeter("echo"), text("three"), NULL);
    RESTATE_TRY(restate_call_id(ctx, f[1], &id));
    tell("%s ", id);
    RESTATE_TRY(say(ctx, restate_await(ctx, restate_all(ctx, (restate_future *[]){ f[0], f[2] }, 2), &v), v));
    RESTATE_TRY(restate_cancel(ctx, id));
    say(ctx, restate_await_for(ctx, f[1], 10, &v), v);
    f[0] = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_resolve(ctx, id, text("own")));
    f[1] = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_reject(ctx, id, NULL));
    for (int n = 0; n < 2; n++) {
        RESTATE_TRY(restate_select(ctx, f, 2, &index));
        say(ctx, restate_await(ctx, f[index], &v), v);
        f[index] = NULL;
    }
    restate_send(ctx, greeter("later"), text("s"), NULL);
    RESTATE_TRY(restate_keys(ctx, &keys));
    RESTATE_TRY(restate_clear_all(ctx));
    return restate_reply(ctx, text(restate_text(ctx, "done %s", (const char *)in.ptr)));
}


TEST(to_the_end) {
    for (int mode = 0; mode < 3; mode++)
        EACH(RESTATE_OBJECT, .fn = everything) {
            char told[700];
            sim.stream = mode == 1;
            sim.backwards = mode == 2;
            sim.state = "a=1;b=2";
            sim_run("body");
            CHECK(sim.ended);
            CHECK_INT(sim.failures, 0);
            if (mode == 1) CHECK_INT(sim.attempts, 1);
            else CHECK(sim.attempts > 10);
            snprintf(told, sizeof told, "ok(1) ok(body) ok(-) %s ok(3) ok(-) ok(10) ok(11) ok(12) ok(-) terminal(418 teapot) inv_1%033d "
                     "ok(-) timeout(408 timed out after 10 ms) %s ",
                     ex.version == 5 ? "84d2e1b2-b72d-4c77-a9bb-a51eb9c34ebb" : "9bc2036f-7fd0-45cf-8de0-3f96324142bf", 14,
                     mode == 2 ? "terminal(400 rejected) ok(resolved)" : "ok(resolved) terminal(400 rejected)");
            TOLD(told);
            CHECK_HAS(ex_text(&sim.commands), "ClearAllState\nOutput value \"done body\"\n");
            sim_drop();
        }
}

/* Answers in the other order while it runs: what settled first is what the replay has, too. */
static restate_status orders(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3];
    size_t index;
    (void)in;
    for (int i = 0; i < 3; i++) f[i] = restate_call_async(ctx, greeter("echo"), text(restate_text(ctx, "%d", i)), NULL);
    for (;;) {
        RESTATE_TRY(restate_select(ctx, f, 3, &index));
        if (index == 3) break;
        tell("%zu", index);
        f[index] = NULL;
        RESTATE_TRY(restate_sleep(ctx, 1));
    }
    return RESTATE_OK;
}

TEST(order_is_the_journals) {
    for (int mode = 0; mode < 4; mode++)
        EACH(RESTATE_SERVICE, .fn = orders) {
            sim.stream = mode & 1;
            sim.backwards = mode & 2;
            sim_run("");
            CHECK(sim.ended);
            TOLD(sim.backwards ? "210" : "012");
            sim_drop();
        }
}

static restate_status is_flaky(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    restate_status s;
    unsigned *tries = (unsigned *)restate_alloc(ctx, sizeof *tries);
    if (!tries) return RESTATE_ENDED;
    *tries = flaky_tries++;
    s = restate_run(ctx, "flaky", flaky, tries, *in.ptr == 'b' ? &(restate_run_options){ .retry = { .max_attempts = 2 } } : NULL, &v);
    if (s == RESTATE_ENDED) return s;
    return say(ctx, s, v);
}

TEST(retried_to_the_end) {
    for (int bounded = 0; bounded < 2; bounded++)
        EACH(RESTATE_SERVICE, .fn = is_flaky) {
            sim.stream = true;
            flaky_tries = 0;
            sim_run(bounded ? "bounded" : "unbounded");
            CHECK(sim.ended);
            CHECK_INT(sim.failures, bounded ? 1 : 2);
            CHECK_INT(sim.attempts, bounded ? 2 : 3);
            TOLD(bounded ? "terminal(500 try 1) " : "ok(at last) ");
            LOG_HAS("WARN");
            sim_drop();
        }
}

/* ---- Handlers that do not behave ---------------------------------------------------------------- */

static unsigned spins;

static restate_status spins_on(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    (void)in;
    RESTATE_IGNORE(restate_retry(ctx, NULL, "over"));
    for (spins = 0;; spins++) {
        switch (variant) {
        case 0: RESTATE_IGNORE(restate_sleep(ctx, 1)); break;
        case 1: RESTATE_IGNORE(restate_get(ctx, "k", &v)); break;
        case 2: RESTATE_IGNORE(restate_await(ctx, restate_awakeable(ctx, NULL), &v)); break;
        case 3: RESTATE_IGNORE(restate_run(ctx, "x", closure, NULL, NULL, &v)); break;
        case 4: RESTATE_IGNORE(restate_call(ctx, greeter("x"), absent(), NULL, &v)); break;
        case 5: restate_text(ctx, "x"); break;
        case 6: restate_random(ctx); break;
        default: RESTATE_IGNORE(restate_await(ctx, restate_all(ctx, NULL, 0), NULL)); break;
        }
    }
    return RESTATE_OK;
}

TEST(spinning) {
    for (variant = 0; variant < 8; variant++)
        EACH_OF(7, 7, RESTATE_OBJECT, .fn = spins_on) {
            STARTED();
            SAYS("Error 500...");
            LOG_HAS("ERROR the handler made 100000 calls after RESTATE_ENDED and is cut off");
            CHECK(spins >= 49000 && spins <= 100000);
            CHECK(restate__attempt_over(ex.x->attempt));
            CHECK(ex.peak < 1000000);
        }
}

/* Spinning while a closure uses what lies on the stack that will be dropped. */
static restate_status reads_at_gate(restate_ctx *run, void *arg) {
    gate();
    return restate_reply(run, text((const char *)arg));
}

static restate_status spins_beside_closure(restate_ctx *ctx, restate_bytes in) {
    char here[64] = "still there";
    restate_future *f[2];
    (void)in;
    f[0] = restate_run_async(ctx, "r", reads_at_gate, here, NULL);
    f[1] = restate_awakeable(ctx, NULL);
    if (restate_await(ctx, restate_race(ctx, f, 2), NULL) != RESTATE_OK) return RESTATE_ENDED;
    RESTATE_IGNORE(restate_retry(ctx, NULL, "over"));
    for (;;) RESTATE_IGNORE(restate_sleep(ctx, 1));
    return here[0] ? RESTATE_OK : RESTATE_ENDED;
}

TEST(spinning_beside_a_closure) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = spins_beside_closure) {
        begins(); ex_feed(); turn();
        gate_reached(1);
        note_signal(17, "x"); ex_feed(); turn();
        drop_said();
        gate_open();
        settle();
        drop_said();
        ex.log.len = 0;
        if (ex.log.at) *ex.log.at = 0;
    }
}

static char payload[6001], large_payload[100001];

static restate_status writes_much(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    for (int i = 0; i < 20; i++) {
        restate_status s = restate_set(ctx, "k", text(large_payload));
        tell(s == RESTATE_OK ? "." : "!");
        RESTATE_TRY(s);
    }
    return RESTATE_OK;
}

TEST(output_holds_back) {
    memset(large_payload, 'p', sizeof large_payload - 1);
    EACH(RESTATE_OBJECT, .fn = writes_much) {
        ex.keep_output = true;
        start(1, .complete = true); input(""); ex_feed();
        while (!ex.x->attempt->fiber || ex.x->attempt->state != RESTATE__ATTEMPT_PARKED) turn();
        TOLD("..");
        CHECK(ex.x->out.len > 256 << 10 && ex.x->out.len < 400 << 10);
        restate__x_drained(ex.x);               /* nothing left: nothing happens */
        turn();
        TOLD("");
        restate__buf_drop(&ex.x->out, restate__buf_peek(&ex.x->out).len);
        restate__x_drained(ex.x);               /* not enough left */
        turn();
        TOLD("");
        ex.keep_output = false;
        give();
        TOLD("..................");
        CHECK(ex.x->finished);
        drop_said();
    }
}

TEST(output_held_back_is_cut) {
    EACH(RESTATE_OBJECT, .fn = writes_much) {
        ex.keep_output = true;
        start(1, .complete = true); input(""); ex_feed();
        while (!ex.x->attempt->fiber || ex.x->attempt->state != RESTATE__ATTEMPT_PARKED) turn();
        TOLD("..");
        restate__x_cut(ex.x);
        settle();
        CHECK(restate__attempt_over(ex.x->attempt));
        CHECK_STR(ex_text(&ex.told) , ".!");
        ex.told.len = 0;
        *ex.told.at = 0;
    }
}

/* ---- The connection is lost -------------------------------------------------------------------- */

static restate_status parks(restate_ctx *ctx, restate_bytes in) {
    restate_status s = restate_await(ctx, restate_awakeable(ctx, NULL), NULL);
    (void)in;
    tell("%s ", status(s));
    CHECK(restate_stop_requested(ctx));
    CHECK_INT(restate_sleep(ctx, 1), RESTATE_ENDED);
    return s;
}

TEST(cut_while_parked) {
    for (int release = 0; release < 3; release++)
        EACH(RESTATE_SERVICE, .fn = parks) {
            STARTED();
            drop_said();
            restate__x_cut(ex.x);
            if (release == 1) restate__x_cut(ex.x);
            if (release == 2) ex_release();
            settle();
            TOLD("ended ");
            CHECK_INT(ex.endpoint->invocations, release == 2 ? 0 : 1);
        }
}

TEST(cut_before_start) {
    for (int at = 0; at < 3; at++)
        EACH(RESTATE_SERVICE, .fn = parks) {
            if (at) start(2), input("x");
            if (at == 2) cmd_sleep(1, "", 1);
            ex_feed();
            restate__x_cut(ex.x);
            settle();
            TOLD("");
            CHECK(restate__attempt_over(ex.x->attempt));
        }
}

TEST(cut_in_a_closure) {
    for (int release = 0; release < 2; release++)
        EACH(RESTATE_SERVICE, .fn = runs_at_gate) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            SAYS("Run 1 \"slow\"");
            restate__x_cut(ex.x);
            if (release) ex_release();
            turn();
            TOLD("");                       /* the handler goes on only when the closure has finished */
            CHECK_INT(ex.endpoint->invocations, 1);
            gate_open();
            settle();
            TOLD("stop ended ");
            if (!release) SAYS_NOTHING();
        }
}

static restate_status works_at_gate(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    gate();
    while (!restate_stop_requested(ctx)) continue;
    tell("stop ");
    tell("%s ", status(restate_sleep(ctx, 1)));
    return RESTATE_OK;
}

TEST(cut_while_detached) {
    for (int release = 0; release < 2; release++)
        EACH(RESTATE_SERVICE, .fn = works_at_gate) {
            if (!ex.handlers[0].options.blocking) continue;
            begins(); ex_feed(); turn();
            gate_reached(1);
            CHECK_INT(ex.x->attempt->state, RESTATE__ATTEMPT_DETACHED);
            restate__x_cut(ex.x);
            if (release) ex_release();
            turn();
            gate_open();
            settle();
            TOLD("stop ended ");
        }
}

/* A frame that nobody can read arrives while the handler's own thread is busy. */
static restate_status misuses_at_gate(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    gate();
    restate_json(ctx, "{");
    restate_json(ctx, "{");
    return RESTATE_OK;
}

TEST(broken_while_detached) {
    EACH(RESTATE_SERVICE, .fn = misuses_at_gate) {
        if (!ex.handlers[0].options.blocking) continue;
        begins(); ex_feed(); turn();
        gate_reached(1);
        gate_open();
        raw("800c0000 00000003 ffffff"); ex_feed();
        settle();
        SAYS("Error 500...");
        ex.log.len = 0;
        if (ex.log.at) *ex.log.at = 0;
    }
}

/* A frame that nobody can read arrives while a closure executes. */
TEST(broken_in_a_closure) {
    EACH(RESTATE_SERVICE, .fn = runs_at_gate) {
        begins(); ex_feed(); turn();
        gate_reached(1);
        SAYS("Run 1 \"slow\"");
        raw("800c0000 00000003 ffffff"); ex_feed(); turn();
        SAYS("Error 500...");
        TOLD("");                           /* the closure uses the handler's stack */
        gate_open();
        settle();
        TOLD("stop ended ");
        LOG_HAS("WARN the attempt failed with 500");
    }
}

TEST(input_ends_after_the_end) {
    for (int release = 0; release < 2; release++)
        EACH(RESTATE_SERVICE, .fn = never_awaits) {
            STARTED();
            SAYS("Run 1 \"a\"", EMPTY_OUTPUT);
            restate__x_end_input(ex.x);
            restate__x_cut(ex.x);
            if (release) ex_release();
            settle();
        }
}

static restate_status stays_long(restate_ctx *ctx, restate_bytes in) {
    uint64_t until = restate__clock_ms(&restate__clock_default) + 3;
    (void)in;
    while (restate__clock_ms(&restate__clock_default) < until) continue;
    return restate_sleep(ctx, 1);
}

TEST(stall_warning) {
    EACH(RESTATE_SERVICE, .fn = stays_long, .options = { .stall_warning_ms = 2 }) {
        STARTED();
        drop_said();
        if (ex.handlers[0].options.blocking) LOG("");
        else LOG_HAS("WARN the handler held its event loop for ");
    }
    EACH(RESTATE_SERVICE, .fn = stays_long, .options = { .stall_warning_ms = RESTATE_ZERO_MS }) {
        STARTED();
        drop_said();
        LOG("");
    }
}

/* ---- Out of memory ------------------------------------------------------------------------------ */

static restate_status careless(restate_ctx *ctx, restate_bytes in) {     /* checks nothing */
    restate_future *f[3];
    restate_bytes v;
    const char *id;
    f[0] = restate_awakeable(ctx, &id);
    f[1] = restate_call_async(ctx, greeter("echo"), text(payload), NULL);
    f[2] = restate_sleep_async(ctx, 1, NULL);
    RESTATE_IGNORE(restate_await(ctx, restate_all_settled(ctx, &f[1], 2), &v));
    RESTATE_IGNORE(restate_await(ctx, f[1], &v));
    CHECK(!v.ptr || v.len == sizeof payload - 1);
    RESTATE_IGNORE(restate_call_id(ctx, f[1], &id));
    RESTATE_IGNORE(restate_fail(ctx, 404, "%s", payload));
    RESTATE_IGNORE(restate_fail_with(ctx, NULL));
    RESTATE_IGNORE(restate_retry(ctx, NULL, "%s", restate_text(ctx, "%s", payload)));
    restate_set(ctx, restate_uuid(ctx), in);
    return restate_reply(ctx, v);
}

static restate_status in_closures(restate_ctx *run, void *arg) {
    char *p = (char *)restate_alloc(run, 5000);
    (void)arg;
    return restate_reply(run, restate_json(run, "[%s, %s]", restate_text(run, "%d", p != NULL), payload));
}

static restate_status many_runs(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[5];
    restate_run_options o = { .inline_ok = true };
    restate_bytes v;
    (void)in;
    for (int i = 0; i < 5; i++) f[i] = restate_run_async(ctx, "r", in_closures, NULL, i % 2 ? &o : NULL);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, f, 5), NULL));
    for (int i = 0; i < 5; i++) {
        RESTATE_TRY(restate_await(ctx, f[i], &v));
        RESTATE_TRY(restate_reply(ctx, v));
    }
    return restate_set(ctx, "k", v);
}

/* Whatever allocation fails: no crash, no leak, the attempt fails or ends well; the next one ends well. */
static void out_of_memory(restate_handler_fn *fn, bool on, bool stream) {
    static char where[64];
    memset(payload, 'p', sizeof payload - 1);
    for (unsigned version = 5; version <= 7; version += 2)
        for (int blocking = 0; blocking < 2; blocking++) {
            bool enough = false;
            size_t n;
            for (n = 1; !enough && n < 4000; n++) {
                restate_handler handler = { .fn = fn };
                snprintf(where, sizeof where, "(protocol %u%s, allocation %lu fails)", version, blocking ? ", blocking" : "",
                         (unsigned long)n);
                test_note = where;
                ex.bytewise = false;
                ex_begin(RESTATE_OBJECT, handler, version, blocking);
                sim.state = "a=1;b=2";
                sim.stream = stream;
                sim.attempts_max = fn == careless ? 3 : 40;
                ex.allocations = 0;
                ex.fail_at = n;
                ex.fail_on = on;
                if (on) sim.attempts_max = 1;
                sim_run("body");
                enough = ex.allocations < n;
                if (!on && fn != careless) CHECK(sim.ended);
                sim_drop();
                ex.fail_at = 0;
                ex.told.len = ex.log.len = 0;
                if (ex.told.at) *ex.told.at = 0;
                if (ex.log.at) *ex.log.at = 0;
                ex_end();
            }
            CHECK(enough && n > 5);
        }
    test_note = "";
}

TEST(out_of_memory_everything) { out_of_memory(everything, false, true); }
TEST(out_of_memory_from_then_on) { out_of_memory(everything, true, true); }
TEST(out_of_memory_careless) { out_of_memory(careless, false, true); out_of_memory(careless, true, true); }
TEST(out_of_memory_in_runs) { out_of_memory(many_runs, false, true); out_of_memory(many_runs, true, true); }

/* ---- Time, promises, signals, other invocations ------------------------------------------------ */

static restate_status asks_for_time(restate_ctx *ctx, restate_bytes in) {
    uint64_t now = 7;
    restate_status s = restate_now(ctx, &now);
    (void)in;
    tell("%s %d ", status(s), now == 1700000000123u ? 1 : now == 0 ? 0 : now > 1700000000123u ? 2 : 3);
    RESTATE_TRY(s);
    return restate_now(ctx, NULL);
}

TEST(now) {
    EACH(RESTATE_SERVICE, .fn = asks_for_time) {
        STARTED();
        SAYS("Run 1 \"now\"", "Propose 1 value \"...", "AwaitingOn W{c:1,s:1}");
        run_stored(1, "1700000000123"); give();
        TOLD(ex.version == 7 ? "ok 2 " : "ok 1 ");
        SAYS("Run 2 \"now\"", "Propose 2 value \"...", "AwaitingOn W{c:2,s:1}");
        run_stored(2, "1"); give();
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = asks_for_time) {
        start(4); input(""); cmd_run(1, "now"); note_value(N_RUN, 1, "1700000000123"); cmd_run(2, "now"); give_and_end();
        TOLD("ok 1 ");
        SAYS("Propose 2 value \"...", "Suspension W{c:2,s:1}");
    }
    EACH(RESTATE_SERVICE, .fn = asks_for_time) {
        STARTED();
        drop_said();
        note_cancel(); give();
        TOLD("cancelled 0 ");
        SAYS("Output failure 409 \"cancelled\"", "End");
    }
}

static restate_status promises(restate_ctx *ctx, restate_bytes in) {
    restate_future *f = restate_promise(ctx, "p");
    restate_bytes value;
    (void)in;
    RESTATE_TRY(say(ctx, restate_promise_peek(ctx, "p", &value), value));
    RESTATE_TRY(restate_promise_resolve(ctx, "p", text("mine")));
    say(ctx, restate_promise_reject(ctx, "p", NULL), absent());
    return say(ctx, restate_await(ctx, f, &value), value);
}

TEST(promises_of_workflows) {
    EACH(RESTATE_WORKFLOW, .fn = promises) {
        STARTED();
        SAYS("GetPromise 1 \"p\"", "PeekPromise 2 \"p\"", "AwaitingOn W{c:2,s:1}");
        note_void(N_PEEK_PROMISE, 2); give();
        SAYS("CompletePromise 3 \"p\" value \"mine\"", "AwaitingOn W{c:3,s:1}");
        note_void(N_COMPLETE_PROMISE, 3); give();
        SAYS("CompletePromise 4 \"p\" failure 500 \"rejected\"", "AwaitingOn W{c:4,s:1}");
        note_failure(N_COMPLETE_PROMISE, 4, 409, "done already"); give();
        SAYS("AwaitingOn W{c:1,s:1}");
        note_value(N_GET_PROMISE, 1, "mine"); give();
        TOLD("ok(-) terminal(409 done already) ok(mine) ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_OBJECT, .fn = promises) {
        STARTED();
        SAYS("Error 500 index:0 Input message:\"S/h: restate_promise(): ...");
        LOG_HAS("ERROR the attempt failed with 500: S/h: restate_promise()");
        TOLD("ended ");
    }
}

static restate_status signals(restate_ctx *ctx, restate_bytes in) {
    static const restate_failure no = { .code = 410, .message = "no" };
    restate_future *f = restate_signal(ctx, "go");
    restate_bytes value;
    (void)in;
    RESTATE_TRY(restate_signal_resolve(ctx, INV_X, "their", text("v")));
    RESTATE_TRY(restate_signal_reject(ctx, INV_X, "their", &no));
    say(ctx, restate_await(ctx, f, &value), value);
    return say(ctx, restate_await(ctx, restate_signal(ctx, "go"), &value), value);
}

TEST(named_signals) {
    EACH(RESTATE_SERVICE, .fn = signals) {
        STARTED();
        SAYS("SendSignal \"" INV_X "\" name:\"their\" value \"v\"", "SendSignal \"" INV_X "\" name:\"their\" failure 410 \"no\"",
             "AwaitingOn W{s:1,n:go}");
        note_named("go", "first"); give();
        SAYS("AwaitingOn W{s:1,n:go}");
        note_named("go", "second"); give();
        TOLD("ok(first) ok(second) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status attaches(restate_ctx *ctx, restate_bytes in) {
    const restate_invocation by_id = { .id = INV_X };
    const restate_invocation workflow = { .target = { .service = "W", .key = "k" } };
    const restate_invocation idempotent = { .target = { .service = "G", .handler = "g" }, .idempotency_key = "i" };
    restate_bytes value;
    (void)in;
    say(ctx, restate_attach(ctx, by_id, &value), value);
    say(ctx, restate_output(ctx, workflow, &value), value);
    return say(ctx, restate_await(ctx, restate_attach_async(ctx, idempotent), &value), value);
}

TEST(other_invocations) {
    EACH(RESTATE_SERVICE, .fn = attaches) {
        STARTED();
        SAYS("AttachInvocation 1 \"" INV_X "\"", "AwaitingOn W{c:1,s:1}");
        note_failure(N_ATTACH, 1, 404, "not found"); give();
        SAYS("GetInvocationOutput 2 workflow:( \"W\" \"k\" )", "AwaitingOn W{c:2,s:1}");
        note_void(N_GET_OUTPUT, 2); give();
        SAYS("AttachInvocation 3 idempotent:(...", "AwaitingOn W{c:3,s:1}");
        note_value(N_ATTACH, 3, "v"); give();
        TOLD("terminal(404 not found) ok(-) ok(v) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status attaches_wrongly(restate_ctx *ctx, restate_bytes in) {
    restate_invocation to = { .id = NULL };
    (void)in;
    if (variant == 1) to.target.service = "S";
    if (variant == 2) to.idempotency_key = "i";
    CHECK_INT(variant % 2 ? restate_output(ctx, to, NULL) : restate_attach(ctx, to, NULL), RESTATE_ENDED);
    return RESTATE_ENDED;
}

TEST(attach_misuse) {
    for (variant = 0; variant < 3; variant++)
        EACH(RESTATE_SERVICE, .fn = attaches_wrongly) {
            STARTED();
            SAYS("Error 500 index:0 Input message:\"S/h: restate_...");
            LOG_HAS("ERROR the attempt failed with 500: S/h: restate_");
        }
}

/* ---- Iterators, settled futures, cancellation as a future ------------------------------------- */

static restate_status iterates(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[5];
    restate_failure no = { .code = 3, .message = "no" };
    restate_selector *left;
    restate_bytes value;
    size_t index;
    (void)in;
    for (int i = 0; i < 3; i++) f[i] = restate_awakeable(ctx, NULL);
    f[3] = NULL;
    f[4] = restate_settled(ctx, text("there"), NULL);
    CHECK(restate_is_done(f[4]));
    left = restate_selector_new(ctx, f, 5);
    while (restate_selector_remaining(left) > 0) {
        restate_status s = restate_selector_next(ctx, left, &index);
        if (s == RESTATE_CANCELLED) {
            CHECK_INT(index, 5);
            tell("cancelled ");
            continue;
        }
        RESTATE_TRY(s);
        tell("%zu:", index);
        say(ctx, restate_await(ctx, f[index], &value), value);
    }
    CHECK_INT(restate_selector_next(ctx, left, &index), RESTATE_OK);
    CHECK_INT(index, 5);
    return say(ctx, restate_await(ctx, restate_settled(ctx, text("ignored"), &no), &value), value);
}

TEST(selectors) {
    EACH(RESTATE_SERVICE, .fn = iterates) {
        STARTED();
        note_signal(18, "B"); give();
        note_cancel(); note_signal_failure(19, 5, "C"); note_signal(17, "A"); give();
        TOLD("4:ok(there) 1:ok(B) cancelled 2:terminal(5 C) 0:ok(A) terminal(3 no) ");
        SAYS("? AwaitingOn...", "? AwaitingOn...", "? AwaitingOn...", "? AwaitingOn...", "Output failure 3 \"no\"", "End");
    }
}

static restate_status sees_cancellation(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    size_t index;
    (void)in;
    f[0] = restate_call_async(ctx, greeter("called"), text("c"), NULL);
    f[1] = restate_cancellation(ctx);
    RESTATE_TRY(restate_select(ctx, f, 2, &index));
    tell("%zu ", index);
    RESTATE_TRY(restate_await(ctx, f[1], NULL));
    RESTATE_TRY(restate_cancel_calls(ctx));
    RESTATE_TRY(restate_cancel_calls(ctx));
    return restate_sleep(ctx, 1);
}

TEST(explicit_cancellation) {
    EACH(RESTATE_SERVICE, .fn = sees_cancellation, .options = { .explicit_cancellation = RESTATE_ON }) {
        STARTED();
        drop_said();
        note_cancel(); give();
        TOLD("1 ");
        SAYS("AwaitingOn W{c:1}");
        note_id(1, "inv_called"); give();
        SAYS("SendSignal \"inv_called\" index:1 void", "Sleep 3 wake:...", "AwaitingOn W{c:3}");
        note_cancel(); note_sleep(3); give();   /* nobody asks for the second one */
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = sees_cancellation) {
        STARTED();
        SAYS("Call 1 2 \"Greeter\" \"called\" parameter:\"c\"", "Error 500 index:1 Call message:\"S/h: restate_cancellation(): ...");
        LOG_HAS("ERROR the attempt failed with 500: S/h: restate_cancellation()");
    }
}

/* ---- Codes and metadata that callers, and the server, could not take ---------------------------- */

static const uint16_t no_codes[] = { 100, 101, 102, 199, 200, 201, 204, 206, 299, 300, 301, 302, 304, 399 };
static const uint16_t codes[] = { 1, 42, 99, 400, 404, 409, 499, 500, 503, 599, 600, 999, 1000, 65535 };
enum { NO_CODES = sizeof no_codes / sizeof *no_codes, CODES = sizeof codes / sizeof *codes };

#define MADE_500 "WARN a failure with code %u was made one with 500, because callers of the ingress get the code as " \
    "HTTP status, and no failure has 100 to 399\n"

static unsigned failure_code;               /* that handlers and closures fail with */
static const char *failure_way;

static restate_status fails_with_code(restate_ctx *ctx) {
    const restate_failure failure = { .code = (uint16_t)failure_code, .message = "m" };
    restate_status s = strcmp(failure_way, "fail") == 0 ? restate_fail(ctx, (uint16_t)failure_code, "m") : restate_fail_with(ctx, &failure);
    CHECK_INT(s, RESTATE_TERMINAL);
    CHECK_INT(restate_failed(ctx)->code, failure_code >= 100 && failure_code < 400 ? 500 : failure_code);
    return s;
}

static restate_status run_with_code(restate_ctx *run, void *arg) {
    (void)arg;
    return fails_with_code(run);
}

static restate_status retries_with_code(restate_ctx *run, void *arg) {
    const restate_retry_options o = { .code = (uint16_t)failure_code };
    (void)arg;
    return restate_retry(run, &o, "m");
}

static restate_status fails_in_many_ways(restate_ctx *ctx, restate_bytes in) {
    static const restate_run_options once = { .retry = { .max_attempts = 1 } };
    const restate_failure failure = { .code = (uint16_t)failure_code, .message = "m" };
    const restate_retry_options o = { .code = (uint16_t)failure_code };
    (void)in;
    if (strcmp(failure_way, "run") == 0) return restate_run(ctx, "r", run_with_code, NULL, NULL, NULL);
    if (strcmp(failure_way, "tries") == 0) return restate_run(ctx, "r", retries_with_code, NULL, &once, NULL);
    if (strcmp(failure_way, "retry") == 0) return restate_retry(ctx, &o, "m");
    if (strcmp(failure_way, "reject") == 0) return restate_reject(ctx, OWN_AWAKEABLE("EQ"), &failure);
    if (strcmp(failure_way, "promise") == 0) return restate_promise_reject(ctx, "p", &failure);
    if (strcmp(failure_way, "signal") == 0) return restate_signal_reject(ctx, INV_A, "s", &failure);
    if (strcmp(failure_way, "settled") == 0) return restate_await(ctx, restate_settled(ctx, absent(), &failure), NULL);
    if (strcmp(failure_way, "callee") == 0) return restate_call(ctx, greeter("h"), absent(), NULL, NULL);
    return fails_with_code(ctx);
}

static void failed_with(unsigned code, const char *way, const char *line, const char *end) {
    char want[200], log[300];
    failure_code = code;
    failure_way = way;
    snprintf(want, sizeof want, line, code >= 100 && code < 400 ? 500 : code);
    snprintf(log, sizeof log, MADE_500, code);
    EACH(RESTATE_WORKFLOW, .fn = fails_in_many_ways) {
        STARTED();
        if (strcmp(way, "run") == 0 || strcmp(way, "tries") == 0) SAYS("Run 1 \"r\"", want, end);
        else if (!strcmp(way, "reject") || !strcmp(way, "signal")) SAYS(want, EMPTY_OUTPUT);
        else if (end) SAYS(want, end);
        else SAYS(want);
        if (code >= 100 && code < 400) LOG_HAS(log);
        else if (strcmp(way, "retry") == 0) LOG_HAS("WARN the attempt failed with ");
    }
}

TEST(codes_of_failures) {
    for (int i = 0; i < NO_CODES + CODES; i++) {
        unsigned code = i < NO_CODES ? no_codes[i] : codes[i - NO_CODES];
        failed_with(code, "fail", "Output failure %u \"m\"", "End");
        if (i % 7 == 3) {                   /* the other ways, for some */
            failed_with(code, "fail_with", "Output failure %u \"m\"", "End");
            failed_with(code, "settled", "Output failure %u \"m\"", "End");
            failed_with(code, "run", "Propose 1 failure %u \"m\" ack", "AwaitingOn W{c:1,s:1}");
            failed_with(code, "tries", "Propose 1 failure %u \"m\" ack", "AwaitingOn W{c:1,s:1}");
            failed_with(code, "retry", "Error %u...", NULL);
            failed_with(code, "reject", "CompleteAwakeable \"" OWN_AWAKEABLE("EQ") "\" failure %u \"m\"", NULL);
            failed_with(code, "signal", "SendSignal \"" INV_A "\" name:\"s\" failure %u \"m\"", NULL);
            failed_with(code, "promise", "CompletePromise 1 \"p\" failure %u \"m\"", "AwaitingOn W{c:1,s:1}");
        }
    }
}

/* What another program's handler failed with is shown as it is, and handed on as a failure. A failure
 * that was recorded before there was this rule is the same one. */
TEST(codes_of_others) {
    for (size_t i = 0; i < NO_CODES; i++) {
        char log[300];
        snprintf(log, sizeof log, MADE_500, (unsigned)no_codes[i]);
        failure_way = "callee";
        EACH(RESTATE_WORKFLOW, .fn = fails_in_many_ways) {
            STARTED();
            drop_said();
            note_failure(N_CALL, 2, no_codes[i], "theirs"); give();
            SAYS("Output failure 500 \"theirs\"", "End");
            LOG(log);
        }
        failure_code = no_codes[i];
        failure_way = "fail";
        EACH(RESTATE_WORKFLOW, .fn = fails_in_many_ways) {
            start(2); input("in"); cmd_output_failure(no_codes[i], "m"); give();
            SAYS("End");
        }
    }
    failure_code = 404;                     /* but a code that was sent is compared */
    failure_way = "fail";
    EACH(RESTATE_WORKFLOW, .fn = fails_in_many_ways) {
        start(2); input("in"); cmd_output_failure(405, "m"); give();
        SAYS("Error 570...");
        LOG_HAS("failed with 570");
    }
}

/* A server does not survive a failure whose metadata has a name twice, so none is sent. */
static const restate_pair twice[] = { { "b", "1" }, { "a", "2" }, { "b", "3" }, { NULL, NULL } };
static const restate_pair nameless[] = { { "b", "1" }, { NULL, "2" }, { NULL, NULL } };
static const restate_failure bad_failure[] = { { 410, "m", twice }, { 410, "m", nameless } };

static restate_status run_with_metadata(restate_ctx *run, void *arg) { return restate_fail_with(run, arg); }

static bool maps_to_bad(void *user, uint16_t code, const char *message, restate_failure *out) {
    (void)user, (void)code, (void)message;
    *out = bad_failure[variant % 2];
    return true;
}

static restate_status fails_badly(restate_ctx *ctx, restate_bytes in) {
    const restate_failure *bad = &bad_failure[variant % 2];
    (void)in;
    switch (variant / 2) {
    case 0: return restate_fail_with(ctx, bad);
    case 1: return restate_reject(ctx, OWN_AWAKEABLE("EQ"), bad);
    case 2: return restate_signal_reject(ctx, INV_A, "s", bad);
    case 3: return restate_promise_reject(ctx, "p", bad);
    case 4: return restate_await(ctx, restate_settled(ctx, absent(), bad), NULL);
    case 5: return restate_retry(ctx, NULL, "mapped");
    default: return restate_run(ctx, "r", run_with_metadata, (void *)(uintptr_t)bad, NULL, NULL);
    }
}

TEST(metadata_of_failures) {
    static const char *const functions[] = { "restate_fail_with", "restate_reject", "restate_signal_reject", "restate_promise_reject",
                                             "restate_settled", "restate_fail_with", "restate_fail_with" };
    char log[300];
    for (variant = 0; variant < 14; variant++)
        EACH_OF(6, 7, RESTATE_WORKFLOW, .fn = fails_badly, .options = { .map_error = variant / 2 == 5 ? maps_to_bad : NULL }) {
            STARTED();
            if (variant / 2 == 6) SAYS("Run 1 \"r\"", "Error 500...");
            else SAYS("Error 500 index:0 Input message:\"S/h: ...");
            snprintf(log, sizeof log, "%s(): the metadata of the failure has %s", functions[variant / 2],
                     variant % 2 ? "a value, but no name" : "\"b\" twice");
            LOG_HAS(log);
        }
    variant = 0;
}

/* Headers may be there twice, but have a name. */
static const restate_pair *adds_nameless(void *user, restate_ctx *ctx, const restate_target *to) {
    (void)user, (void)ctx, (void)to;
    return nameless;
}

static restate_status sends_headers(restate_ctx *ctx, restate_bytes in) {
    const restate_call_options o = { .headers = variant == 1 ? nameless : twice };
    restate_future *f = variant == 2 ? restate_send(ctx, greeter("h"), in, &o) : restate_call_async(ctx, greeter("h"), in, &o);
    return restate_await(ctx, f, NULL);
}

TEST(headers_have_names) {
    static const restate_hooks hooks = { .outbound = adds_nameless };
    for (variant = 0; variant < 3; variant++)
        EACH(RESTATE_SERVICE, .fn = sends_headers, .options = { .hooks = variant == 2 ? &hooks : NULL }) {
            STARTED();
            if (variant == 0) {
                SAYS("Call 1 2 \"Greeter\" \"h\" parameter:\"in\" \"b\":\"1\" \"a\":\"2\" \"b\":\"3\"", "AwaitingOn W{c:2,s:1}");
            } else {
                SAYS("Error 500 index:0 Input message:\"S/h: ...");
                LOG_HAS(variant == 1 ? "restate_call_async(): a header of the call has a value, but no name: a list ends"
                                     : "outbound(): a header of the call has a value, but no name: a list ends");
            }
        }
    variant = 0;
}

/* A failure that came with a name twice is handed on without; the first entry stays. */
static restate_status hands_on_metadata(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value;
    restate_status s = restate_call(ctx, greeter("h"), absent(), NULL, &value);
    const restate_pair *p;
    (void)in;
    for (p = restate_failed(ctx)->metadata; p->name; p++) tell("%s=%s ", p->name, p->value);
    return s;
}

TEST(metadata_of_others) {
    EACH_OF(6, 7, RESTATE_SERVICE, .fn = hands_on_metadata) {
        STARTED();
        drop_said();
        frame(N_CALL, "1u 6(1u2s 3(1s2s) 3(1s2s) 3(1s2s) 3(1s2s) 3(1s2s))", 2, 410, "m", "b", "1", "a", "2", "b", "3", "c", "4", "a", "5");
        give();
        TOLD("b=1 a=2 c=4 ");
        SAYS("Output failure 410 \"m\" \"b\":\"1\" \"a\":\"2\" \"c\":\"4\"", "End");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(handler_ends), T(request_info), T(request_info_of_little), T(log_on_replay),
        T(random_vectors), T(random_is_the_same_on_replay), T(memory_and_text), T(run_result),
        T(run_fails), T(run_is_retried), T(run_policy), T(run_copies_its_argument), T(run_timeout),
        T(run_misuse_inside), T(runs_in_parallel), T(run_never_awaited),
        T(run_outlives_its_handler), T(sleep_time), T(state_eager), T(state_lazy),
        T(state_in_parallel), T(misuse), T(future_of_another_invocation), T(calls_and_replies),
        T(call_scope), T(sends_and_ids), T(awakeables), T(completes_awakeables),
        T(bad_awakeable_ids), T(await_for), T(select_order), T(combinators_of_nothing),
        T(combinators), T(is_done), T(cancellation), T(compensation), T(cancelled_in_a_closure),
        T(to_the_end), T(order_is_the_journals), T(retried_to_the_end), T(spinning),
        T(spinning_beside_a_closure), T(output_holds_back), T(output_held_back_is_cut),
        T(cut_while_parked), T(cut_before_start), T(cut_in_a_closure), T(cut_while_detached),
        T(broken_while_detached), T(broken_in_a_closure), T(input_ends_after_the_end),
        T(stall_warning), T(out_of_memory_everything), T(out_of_memory_from_then_on),
        T(out_of_memory_careless), T(out_of_memory_in_runs), T(now), T(promises_of_workflows),
        T(named_signals), T(other_invocations), T(attach_misuse), T(selectors),
        T(explicit_cancellation), T(codes_of_failures), T(codes_of_others),
        T(metadata_of_failures), T(headers_have_names),
        T(metadata_of_others),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
