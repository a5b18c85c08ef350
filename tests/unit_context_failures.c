/* Section >>context: failures and cancellation: codes, metadata, how an error is mapped, what a cancellation
 * reaches. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/closure.c"

/* ---- Codes and metadata that callers, and the server, could not take ------------------------ */

static restate_target greeter_for(const char *handler) {
    restate_target to = { .service = "Greeter", .handler = handler };
    return to;
}
#define OWN_AWAKEABLE(last) "sign_1MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAA" last

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
    if (strcmp(failure_way, "callee") == 0) return restate_call(ctx, greeter_for("h"), absent(), NULL, NULL);
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
    restate_future *f = variant == 2 ? restate_send(ctx, greeter_for("h"), in, &o) : restate_call_async(ctx, greeter_for("h"), in, &o);
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
    restate_status s = restate_call(ctx, greeter_for("h"), absent(), NULL, &value);
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

/* ---- Codes of errors ------------------------------------------------------------------------ */

static restate_target greeter_of(const char *key) {
    return (restate_target){ .service = "Greeter", .handler = "greet", .key = key };
}

static restate_status fails(restate_ctx *run, void *arg) {
    if (*(const char *)arg == 'r') return restate_retry(run, NULL, "busy");
    return restate_fail(run, 0, "no");
}

static restate_status meets_errors(restate_ctx *ctx, restate_bytes in) {
    const restate_failure own = { .message = "kept" };
    restate_bytes value;
    char how = (char)*in.ptr;
    restate_status s = restate_run(ctx, "step", fails, &how, NULL, NULL);
    if (s == RESTATE_ENDED) tell("retried ");
    else say(ctx, s, absent());
    RESTATE_TRY(s == RESTATE_TERMINAL ? RESTATE_OK : s);
    say(ctx, restate_call(ctx, greeter_of(NULL), absent(), NULL, &value), value);
    CHECK_INT(restate_fail(ctx, 0, "%d of %s", 3, "them"), RESTATE_TERMINAL);
    tell("%u ", restate_failed(ctx)->code);
    CHECK_INT(restate_fail_with(ctx, &own), RESTATE_TERMINAL);
    tell("%u ", restate_failed(ctx)->code);
    return restate_fail(ctx, 404, "%d of %s", 3, "them");
}

/* A code that nobody gave is 500; an error to be retried is none that the handler could see. */
TEST(codes_of_errors) {
    EACH(RESTATE_SERVICE, .fn = meets_errors) {
        start(1); input("fail"); give();
        SAYS("Run 1 \"step\"", "Propose 1 failure 500 \"no\" ack", "AwaitingOn W{c:1,s:1}");
        if (ex.version == 7) note_ack(1);
        else note_failure(N_RUN, 1, 500, "no");
        note_failure(N_CALL, 3, 418, "teapot"); give();
        TOLD("terminal(500 no) terminal(418 teapot) 500 500 ");
        SAYS("Call 2 3 \"Greeter\" \"greet\"", "Output failure 404 \"3 of them\"", "End");
    }
    EACH(RESTATE_SERVICE, .fn = meets_errors) {
        start(1); input("retry"); give();
        TOLD("retried ");
        SAYS("Run 1 \"step\"", "Error 500 index:1 Run \"step\" message:\"busy\"");
        LOG_HAS("WARN the attempt failed with ");
    }
}

/* ---- Errors that are mapped ----------------------------------------------------------------- */

static restate_retry_options retry_options;

static restate_status tries_again(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_retry(run, &retry_options, "again");
}

static bool maps(void *user, uint16_t code, const char *message, restate_failure *out) {
    CHECK(user == &variant);
    CHECK_STR(message, "again");
    if (code != 503) return false;
    out->code = 410;
    out->message = "gone";
    return true;
}

static restate_status is_mapped(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value;
    restate_status s;
    if (*in.ptr == 'h') return restate_retry(ctx, &retry_options, "again");
    s = restate_run(ctx, "r", tries_again, NULL, NULL, &value);
    return say(ctx, s, value);
}

TEST(mapped_errors) {
    static const struct { const char *where; uint16_t code; const char *line; } cases[] = {
        { "handler", 503, "Output failure 410 \"gone\"" },
        { "handler", 500, "Error 500 index:0 Input message:\"again\"" },
        { "run", 503, "Propose 1 failure 410 \"gone\" ack" },
        { "run", 500, "Error 500 index:1 Run \"r\" message:\"again\"" }
    };
    memset(&retry_options, 0, sizeof retry_options);
    for (int i = 0; i < 4; i++)
        EACH(RESTATE_SERVICE, .fn = is_mapped, .options = { .map_error = maps, .user = &variant }) {
            retry_options.code = cases[i].code;
            start(1); input(cases[i].where); give();
            SAYS("? Run 1 \"r\"", cases[i].line, "? AwaitingOn...", i == 0 ? "End" : "? none");
            if (i == 2) {
                if (ex.version == 7) note_ack(1);
                else note_failure(N_RUN, 1, 410, "gone");
                give();
                TOLD("terminal(410 gone) ");
                SAYS("Output failure 410 \"gone\"", "End");
            }
            if (i == 3) TOLD("ended ");
            if (i % 2) LOG_HAS("failed with 500");
        }
}

static bool maps_wrong(void *user, uint16_t code, const char *message, restate_failure *out) {
    tell("map(%s %u %s) ", user ? (const char *)user : "", code, message);
    out->code = 409;
    out->message = "mapped";
    return !strstr(message, "keep");
}

/* A retryable error of handler or closure is asked for, a misuse is not. */
TEST(map_error) {
    static const char *const told[] = {
        "map(U 500 the handler returned -1, which is no restate_status) ", "map(U 503 busy) ",
        "map(U 500 the closure returned -1, which is no restate_status) ", "map(U 503 busy) ",
        "map(U 503 keep) ", ""
    };
    static char user[] = "U";
    for (variant = 0; variant < 6; variant++)
        EACH(RESTATE_SERVICE, .fn = wrong, .options = { .map_error = maps_wrong, .user = user }) {
            begins(); give();
            TOLD(told[variant]);
            if (variant == 4) { SAYS("Error 503..."); LOG_HAS("keep"); continue; }
            if (variant == 5) { SAYS("Error 500..."); LOG_HAS("a plain service has no state"); continue; }
            if (variant == 2 || variant == 3) {
                drop_said();
                if (ex.version == 7) note_ack(1);
                else note_failure(N_RUN, 1, 409, "mapped");
                give();
                TOLD("terminal(mapped) ");
            }
            SAYS("Output failure 409 \"mapped\"", "End");
        }
}

/* ---- Failures of others, and on the way ----------------------------------------------------- */

static const restate_pair two_pairs[] = { { "a", "1" }, { "b", "2" }, { NULL, NULL } };
static const restate_failure rich_failure = { .code = 410, .message = "no", .metadata = two_pairs };
static const restate_run_options inline_run = { .inline_ok = true };

static restate_status rejects_run(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_fail_with(run, &rich_failure);
}

/* Through functions that know nothing of it: what arrives is what was made. */
static restate_status deep_down(restate_ctx *ctx, int depth) {
    if (depth == 0) return restate_call(ctx, greeter, text("x"), NULL, NULL);
    RESTATE_TRY(deep_down(ctx, depth - 1));
    return RESTATE_OK;
}

static restate_status cleans_up(restate_ctx *ctx, restate_bytes in) {
    restate_status s = deep_down(ctx, 5);
    const restate_failure *why = restate_failed(ctx);
    (void)in;
    if (s != RESTATE_TERMINAL) return s;
    s = restate_run(ctx, "undo", rejects_run, NULL, &inline_run, NULL);
    CHECK(s == RESTATE_ENDED || restate_failed(ctx) != why);
    return restate_fail_with(ctx, why);
}

TEST(failures_come_through) {
    EACH(RESTATE_SERVICE, .fn = cleans_up) {
        if (ex.version == 5) { drop_said(); continue; }     /* no metadata */
        start(4);
        input("x");
        cmd_call(1, "x");
        frame(N_CALL, "1u 6(1u 2s 3(1s2s))", 2, 418, "teapot", "k", "v");
        cmd_run(3, "undo"); give_and_end();
        SAYS("Propose 3 failure 410 \"no\" \"a\":\"1\" \"b\":\"2\" ack", "Suspension W{c:3,s:1}");
        invoke();
        start(5);
        input("x");
        cmd_call(1, "x");
        frame(N_CALL, "1u 6(1u 2s 3(1s2s))", 2, 418, "teapot", "k", "v");
        cmd_run(3, "undo"); note_failure(N_RUN, 3, 410, "no"); give_and_end();
        SAYS("Output failure 418 \"teapot\" \"k\":\"v\"", "End");
    }
}

/* ---- Cancellation --------------------------------------------------------------------------- */

static restate_status is_cancelled(restate_ctx *ctx, restate_bytes in) {
    restate_future *f = restate_awakeable(ctx, NULL);
    const restate_failure *kept;
    restate_bytes value;
    restate_status s;
    restate_send(ctx, greeter_for("sent"), text("s"), NULL);
    s = restate_call(ctx, greeter_for("called"), text("c"), NULL, &value);
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

static void run_stored_failure(unsigned id, unsigned code, const char *message) {
    if (ex.version == 7) note_ack(id);
    else note_failure(N_RUN, id, code, message);
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

static restate_status sees_cancellation(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    size_t index;
    (void)in;
    f[0] = restate_call_async(ctx, greeter_for("called"), text("c"), NULL);
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

#define GREET "\"Greeter\" \"greet\" parameter:\"x\""

static void begin_with(unsigned known) {
    start(known, .id = OWN_ID, .seed = 1);
    input("in");
}

/* A failure of a callee is never taken for our own cancellation or timeout. */
static restate_status calls_callee(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value;
    (void)in;
    say(ctx, restate_call(ctx, greeter, text("x"), NULL, &value), value);
    say(ctx,
        restate_await_for(ctx, restate_call_async(ctx, greeter, text("x"), NULL), 60000, &value),
        value);
    return RESTATE_OK;
}

TEST(callee_that_was_cancelled) {
    EACH(RESTATE_SERVICE, .fn = calls_callee) {
        begin_with(1);
        note_failure(N_CALL, 2, 409, "cancelled");
        note_failure(N_CALL, 4, 408, "timed out after 60000 ms");
        give();
        TOLD("terminal(409 cancelled) terminal(408 timed out after 60000 ms) ");
        SAYS("Call 1 2 " GREET, "Call 3 4 " GREET, "Sleep 5 wake:...", EMPTY_OUTPUT);
    }
}

/* Calls since the last cancellation are cancelled, finished ones too, sends not; then they are
 * forgotten. */
static restate_status has_children(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    restate_bytes value;
    (void)in;
    RESTATE_TRY(say(ctx, restate_call(ctx, greeter, text("x"), NULL, &value), value));
    restate_send(ctx, greeter, text("x"), NULL);
    f = restate_call_async(ctx, greeter, text("x"), NULL);
    say(ctx, restate_await(ctx, f, &value), value);
    say(ctx, restate_await(ctx, restate_call_async(ctx, greeter, text("x"), NULL), &value),
        value);
    return say(ctx, restate_await(ctx, f, &value), value);  /* as good as before: not sticky */
}

TEST(children_are_cancelled_once) {
    EACH(RESTATE_SERVICE, .fn = has_children) {
        begin_with(1); note_id(1, "inv_1"); note_value(N_CALL, 2, "one"); give();
        SAYS("Call 1 2 " GREET, "OneWayCall 3 " GREET, "Call 4 5 " GREET, "AwaitingOn W{c:5,s:1}");
        note_id(3, "inv_3"); note_cancel(); give();
        SAYS("? AwaitingOn W{c:5,s:1}", "AwaitingOn W{c:4}");
        note_id(4, "inv_4"); give();
        SAYS("SendSignal \"inv_1\" index:1 void", "SendSignal \"inv_4\" index:1 void",
             "Call 6 7 " GREET, "AwaitingOn W{c:7,s:1}");
        note_id(6, "inv_6"); note_cancel(); give();
        SAYS("? AwaitingOn W{c:7,s:1}", "SendSignal \"inv_6\" index:1 void",
             "AwaitingOn W{c:5,s:1}");
        note_value(N_CALL, 5, "late"); give();
        TOLD("ok(one) cancelled(409 cancelled) cancelled(409 cancelled) ok(late) ");
        SAYS(EMPTY_OUTPUT);
    }
}

typedef restate_future *combinator(restate_ctx *ctx, restate_future *const *futures, size_t count);
static combinator *const combinators[] = { restate_race, restate_any, restate_all,
                                           restate_all_settled };

/* At everything that waits for several. */
static restate_status waits_for_several(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    restate_selector *left;
    restate_bytes value = absent();
    restate_status s;
    size_t index = 9;
    (void)in;
    f[0] = restate_awakeable(ctx, NULL);
    f[1] = restate_awakeable(ctx, NULL);
    left = restate_selector_new(ctx, f, 2);
    switch (variant) {
    case 0: s = restate_select(ctx, f, 2, &index); CHECK_INT(index, 2); break;
    case 1: s = restate_selector_next(ctx, left, &index); CHECK_INT(index, 2); break;
    case 2: s = restate_await_for(ctx, f[0], 1000, &value); break;
    default: s = restate_await(ctx, combinators[variant - 3](ctx, f, 2), &value); break;
    }
    say(ctx, s, value);
    CHECK(!restate_is_done(f[0]) && !restate_is_done(f[1]));
    CHECK_INT(restate_selector_remaining(left), 2);
    RESTATE_TRY(restate_selector_next(ctx, left, &index));
    tell("%zu ", index);
    return RESTATE_OK;
}

TEST(cancelled_while_waiting_for_several) {
    for (variant = 0; variant < 7; variant++)
        EACH(RESTATE_SERVICE, .fn = waits_for_several) {
            begin_with(1); give();
            drop_said();
            note_cancel(); give();
            TOLD("cancelled(409 cancelled) ");
            note_signal(18, "v"); give();
            TOLD("1 ");
            SAYS("AwaitingOn W{s:1,N:[W{s:17,18}]}", "? AwaitingOn...", EMPTY_OUTPUT);
        }
}

/* Explicit: awaits know nothing of it, the future does, and there is another one after it. */
static restate_status watches(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    restate_bytes value;
    size_t index;
    (void)in;
    f[0] = restate_awakeable(ctx, NULL);
    say(ctx, restate_await(ctx, f[0], &value), value);
    for (int i = 0; i < 2; i++) {
        f[0] = restate_awakeable(ctx, NULL);
        f[1] = restate_cancellation(ctx);
        RESTATE_TRY(restate_select(ctx, f, 2, &index));
        tell("%zu ", index);
        say(ctx, restate_await(ctx, f[index], &value), value);
    }
    return RESTATE_OK;
}

TEST(explicit_cancellation_renews) {
    EACH(RESTATE_SERVICE, .fn = watches, .options = { .explicit_cancellation = RESTATE_ON }) {
        begin_with(1); note_cancel(); give();
        TOLD("");
        SAYS("AwaitingOn W{s:17}");
        note_signal(17, "v"); give();
        TOLD("ok(v) 1 ok(-) ");
        note_cancel(); give();
        TOLD("1 ok(-) ");
        SAYS("? AwaitingOn...", "? AwaitingOn...", EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = watches,
         .options = { .explicit_cancellation = RESTATE_ON }) { /* and on replay */
        start(5, .id = OWN_ID);
        input("in");
        note_signal(17, "v");
        note_cancel();
        note_signal(19, "w");
        note_cancel();
        give();
        TOLD("ok(v) 1 ok(-) 0 ok(w) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status reads(restate_ctx *ctx, restate_bytes in) {
    const char *const *keys;
    restate_bytes value;
    if (*in.ptr == 'k') {
        say(ctx, restate_keys(ctx, &keys), absent());
        CHECK(keys && !*keys);
    } else {
        say(ctx, restate_get(ctx, "a", &value), value);
    }
    RESTATE_TRY(restate_set(ctx, "b", in));
    return say(ctx, restate_sleep(ctx, 1), absent());
}

/* State that has come along is read without waiting, so no cancellation is met there. */
TEST(cancelled_while_reading_state) {
    EACH(RESTATE_OBJECT, .fn = reads) {
        start(1, .key = "o"); input("get"); give();
        SAYS("GetLazyState 1 \"a\"", "AwaitingOn W{c:1,s:1}");
        note_cancel(); give();
        TOLD("cancelled(409 cancelled) ");
        SAYS("SetState \"b\" value \"get\"", "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
    }
    EACH(RESTATE_OBJECT, .fn = reads) {
        start(1, .key = "o"); input("keys"); give();
        SAYS("GetLazyStateKeys 1", "AwaitingOn W{c:1,s:1}");
        note_cancel(); give();
        TOLD("cancelled(409 cancelled) ");
        SAYS("SetState \"b\" value \"keys\"", "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
    }
    EACH(RESTATE_OBJECT, .fn = reads) {
        start(1, .key = "o", .complete = true, .state = "a=1"); input("get"); note_cancel(); give();
        TOLD("ok(1) cancelled(409 cancelled) ");
        SAYS("GetEagerState \"a\" value \"1\"", "SetState \"b\" value \"get\"", "Sleep 2 wake:...",
             "Output failure 409 \"cancelled\"", "End");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(codes_of_failures), T(codes_of_others), T(metadata_of_failures), T(headers_have_names),
        T(metadata_of_others), T(codes_of_errors), T(mapped_errors), T(map_error),
        T(failures_come_through), T(cancellation), T(compensation), T(cancelled_in_a_closure),
        T(explicit_cancellation), T(callee_that_was_cancelled), T(children_are_cancelled_once),
        T(cancelled_while_waiting_for_several), T(explicit_cancellation_renews),
        T(cancelled_while_reading_state),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
