/* The rules that hold for every operation, and what else the table of capabilities (tests/features)
 * asks for and no other test looks at. Everything goes through the public interface. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "exchange.h"

static const char *status(restate_status s) {
    static const char *const names[] = {
        "ok", "terminal", "timeout", "cancelled", "ended", "error"
    };
    return (unsigned)s < 6 ? names[s] : "?";
}

static restate_bytes text(const char *s) { return restate_str(s); }
static restate_bytes absent(void) { return restate__b_none(); }

/* A status, and what came with it: "ok(value) ", "ok(-) " if absent, "terminal(409 why k=v) ". */
static restate_status say(restate_ctx *ctx, restate_status s, restate_bytes value) {
    const restate_failure *f = restate_failed(ctx);
    if (s == RESTATE_OK) tell("ok(%s) ", value.ptr ? (const char *)value.ptr : "-");
    else if (s == RESTATE_ENDED) tell("ended ");
    else {
        tell("%s(%u %s", status(s), f->code, f->message);
        for (const restate_pair *p = f->metadata; p->name; p++) tell(" %s=%s", p->name, p->value);
        tell(") ");
    }
    return s;
}

static int variant;                         /* what a handler is to do */
static const restate_target greeter = { .service = "Greeter", .handler = "greet" };

#define STARTED() do { start(1, .complete = true); input("in"); give(); } while (0)
#define EMPTY_OUTPUT "Output value \"\"", "End"
#define AWAKEABLE "sign_1MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAAEQ"

static bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* What the runtime answers to the proposal of a run. */
static void run_stored(unsigned id, const char *value) {
    if (ex.version == 7) note_ack(id);
    else note_value(N_RUN, id, value);
}

static restate_status closure(restate_ctx *run, void *arg) {
    tell("executed ");
    return restate_reply(run, text((const char *)arg));
}

/* ---- Every operation ------------------------------------------------------------------------- */

enum {
    RUN, RUN_ASYNC, NOW, SLEEP, TIMER, GET, GET_ASYNC, KEYS, CALL, CALL_ASYNC, CALL_ID, SEND_ID,
    ATTACH, ATTACH_ASYNC, OUTPUT, PROMISE, PEEK, RESOLVE_PROMISE, REJECT_PROMISE, AWAIT_AWAKEABLE,
    SIGNAL,
    WAITING,                                /* so far: await points; from here on: at once */
    SET = WAITING, CLEAR, CLEAR_ALL, EAGER_GET, EAGER_KEYS, SEND, RESOLVE, REJECT, TELL,
    TELL_FAILURE, CANCEL,
    OPERATIONS
};

static const struct { const char *command, *proposes, *awaited; } of[OPERATIONS] = {
    [RUN] = { "Run 1 \"r\"", "Propose 1 value \"new\" ack", "c:1" },
    [RUN_ASYNC] = { "Run 1 \"r\"", "Propose 1 value \"new\" ack", "c:1" },
    [NOW] = { "Run 1 \"now\"", "Propose 1 value \"...", "c:1" },
    [SLEEP] = { "Sleep 1 wake:...", NULL, "c:1" },
    [TIMER] = { "Sleep 1 wake:...", NULL, "c:1" },
    [GET] = { "GetLazyState 1 \"k\"", NULL, "c:1" },
    [GET_ASYNC] = { "GetLazyState 1 \"k\"", NULL, "c:1" },
    [KEYS] = { "GetLazyStateKeys 1", NULL, "c:1" },
    [CALL] = { "Call 1 2 \"Greeter\" \"greet\" parameter:\"x\"", NULL, "c:2" },
    [CALL_ASYNC] = { "Call 1 2 \"Greeter\" \"greet\" parameter:\"x\"", NULL, "c:2" },
    [CALL_ID] = { "Call 1 2 \"Greeter\" \"greet\" parameter:\"x\"", NULL, "c:1" },
    [SEND_ID] = { "OneWayCall 1 \"Greeter\" \"greet\" parameter:\"x\"", NULL, "c:1" },
    [ATTACH] = { "AttachInvocation 1 \"" INV_X "\"", NULL, "c:1" },
    [ATTACH_ASYNC] = { "AttachInvocation 1 \"" INV_X "\"", NULL, "c:1" },
    [OUTPUT] = { "GetInvocationOutput 1 \"" INV_X "\"", NULL, "c:1" },
    [PROMISE] = { "GetPromise 1 \"p\"", NULL, "c:1" },
    [PEEK] = { "PeekPromise 1 \"p\"", NULL, "c:1" },
    [RESOLVE_PROMISE] = { "CompletePromise 1 \"p\" value \"v\"", NULL, "c:1" },
    [REJECT_PROMISE] = { "CompletePromise 1 \"p\" failure 418 \"no\"", NULL, "c:1" },
    [AWAIT_AWAKEABLE] = { NULL, NULL, "s:17" },
    [SIGNAL] = { NULL, NULL, "n:n" },
    [SET] = { "SetState \"k\" value \"v\"", NULL, NULL },
    [CLEAR] = { "ClearState \"k\"", NULL, NULL },
    [CLEAR_ALL] = { "ClearAllState", NULL, NULL },
    [EAGER_GET] = { "GetEagerState \"a\" value \"1\"", NULL, NULL },
    [EAGER_KEYS] = { "GetEagerStateKeys [a]", NULL, NULL },
    [SEND] = { "OneWayCall 1 \"Greeter\" \"greet\" parameter:\"x\"", NULL, NULL },
    [RESOLVE] = { "CompleteAwakeable \"" AWAKEABLE "\" value \"v\"", NULL, NULL },
    [REJECT] = { "CompleteAwakeable \"" AWAKEABLE "\" failure 418 \"no\"", NULL, NULL },
    [TELL] = { "SendSignal \"" INV_X "\" name:\"n\" value \"v\"", NULL, NULL },
    [TELL_FAILURE] = { "SendSignal \"" INV_X "\" name:\"n\" failure 418 \"no\"", NULL, NULL },
    [CANCEL] = { "SendSignal \"" INV_X "\" index:1 void", NULL, NULL }
};

static int operation;

static bool is_run(void) { return operation == RUN || operation == RUN_ASYNC || operation == NOW; }
static bool is_call(void) {
    return operation == CALL || operation == CALL_ASYNC || operation == CALL_ID;
}

static restate_status first_key(restate_ctx *ctx, restate_bytes *value) {
    const char *const *keys = NULL;
    restate_status s = restate_keys(ctx, &keys);
    CHECK(keys != NULL);
    if (s == RESTATE_OK && *keys) *value = text(*keys);
    return s;
}

static restate_status id_of(restate_ctx *ctx, restate_future *call, restate_bytes *value) {
    const char *id;
    restate_status s = restate_call_id(ctx, call, &id);
    if (s == RESTATE_OK) *value = text(id);
    else CHECK_STR(id, "");
    return s;
}

static restate_status perform(restate_ctx *ctx, restate_bytes *value) {
    static const restate_failure no = { .code = 418, .message = "no" };
    const restate_invocation other = { .id = INV_X };
    void *result = (void *)(uintptr_t)"new";
    restate_status s;
    uint64_t ms;
    switch (operation) {
    case RUN: return restate_run(ctx, "r", closure, result, NULL, value);
    case RUN_ASYNC:
        return restate_await(ctx, restate_run_async(ctx, "r", closure, result, NULL), value);
    case NOW:
        s = restate_now(ctx, &ms);
        if (s == RESTATE_OK) *value = text(restate_text(ctx, "%llu", (unsigned long long)ms));
        return s;
    case SLEEP: return restate_sleep(ctx, 5);
    case TIMER: return restate_await(ctx, restate_sleep_async(ctx, 5, "t"), value);
    case GET: return restate_get(ctx, "k", value);
    case GET_ASYNC: return restate_await(ctx, restate_get_async(ctx, "k"), value);
    case KEYS: case EAGER_KEYS: return first_key(ctx, value);
    case CALL: return restate_call(ctx, greeter, text("x"), NULL, value);
    case CALL_ASYNC:
        return restate_await(ctx, restate_call_async(ctx, greeter, text("x"), NULL), value);
    case CALL_ID: return id_of(ctx, restate_call_async(ctx, greeter, text("x"), NULL), value);
    case SEND_ID: return id_of(ctx, restate_send(ctx, greeter, text("x"), NULL), value);
    case ATTACH: return restate_attach(ctx, other, value);
    case ATTACH_ASYNC: return restate_await(ctx, restate_attach_async(ctx, other), value);
    case OUTPUT: return restate_output(ctx, other, value);
    case PROMISE: return restate_await(ctx, restate_promise(ctx, "p"), value);
    case PEEK: return restate_promise_peek(ctx, "p", value);
    case RESOLVE_PROMISE: return restate_promise_resolve(ctx, "p", text("v"));
    case REJECT_PROMISE: return restate_promise_reject(ctx, "p", &no);
    case AWAIT_AWAKEABLE: return restate_await(ctx, restate_awakeable(ctx, NULL), value);
    case SIGNAL: return restate_await(ctx, restate_signal(ctx, "n"), value);
    case SET: return restate_set(ctx, "k", text("v"));
    case CLEAR: return restate_clear(ctx, "k");
    case CLEAR_ALL: return restate_clear_all(ctx);
    case EAGER_GET: return restate_get(ctx, "a", value);
    case SEND: restate_send(ctx, greeter, text("x"), NULL); return RESTATE_OK;
    case RESOLVE: return restate_resolve(ctx, AWAKEABLE, text("v"));
    case REJECT: return restate_reject(ctx, AWAKEABLE, &no);
    case TELL: return restate_signal_resolve(ctx, INV_X, "n", text("v"));
    case TELL_FAILURE: return restate_signal_reject(ctx, INV_X, "n", &no);
    default: return restate_cancel(ctx, INV_X);
    }
}

/* The command as the journal has it; `other`: of the same type, with another parameter. False:
 * there is none, or none that could differ. */
static bool record(bool other) {
    const char *v = other ? "w" : "v", *key = other ? "other" : "k";
    switch (operation) {
    case RUN: case RUN_ASYNC: cmd_run(1, other ? "other" : "r"); return true;
    case NOW: cmd_run(1, other ? "other" : "now"); return true;
    case SLEEP: cmd_sleep(1, "", 5); return !other;
    case TIMER: cmd_sleep(1, other ? "other" : "t", 5); return true;
    case GET: case GET_ASYNC: cmd_get_lazy(1, key); return true;
    case KEYS: cmd_get_lazy_keys(1); return !other;
    case CALL: case CALL_ASYNC: case CALL_ID: cmd_call(1, other ? "y" : "x"); return true;
    case SEND_ID: case SEND: cmd_send(1, other ? "y" : "x"); return true;
    case ATTACH:
    case ATTACH_ASYNC: frame(M_ATTACH, "1s 11u", other ? INV_Y : INV_X, 1); return true;
    case OUTPUT: frame(M_GET_OUTPUT, "1s 11u", other ? INV_Y : INV_X, 1); return true;
    case PROMISE: cmd_get_promise(1, other ? "other" : "p"); return true;
    case PEEK: cmd_peek_promise(1, other ? "other" : "p"); return true;
    case RESOLVE_PROMISE: frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", v, 1); return true;
    case REJECT_PROMISE:
        frame(M_COMPLETE_PROMISE, "1s 3(1u2s) 11u", "p", other ? 419 : 418, "no", 1);
        return true;
    case SET: cmd_set("k", v); return true;
    case CLEAR: cmd_clear(key); return true;
    case CLEAR_ALL: cmd_clear_all(); return !other;
    case EAGER_GET: cmd_get_eager(other ? "b" : "a", "1"); return true;
    case EAGER_KEYS: frame(M_GET_EAGER_KEYS, "14(1s)", "a"); return !other;
    case RESOLVE: frame(M_COMPLETE_AWAKEABLE, "1s 2(1s)", AWAKEABLE, v); return true;
    case REJECT:
        frame(M_COMPLETE_AWAKEABLE, "1s 3(1u2s)", AWAKEABLE, 418, other ? "yes" : "no");
        return true;
    case TELL: frame(M_SEND_SIGNAL, "1s 3s 5(1s)", INV_X, "n", v); return true;
    case TELL_FAILURE:
        frame(M_SEND_SIGNAL, "1s 3s 6(1u2s)", INV_X, "n", other ? 419 : 418, "no");
        return true;
    case CANCEL: cmd_cancel(other ? INV_Y : INV_X); return true;
    default: return false;
    }
}

static unsigned notification(void) {
    switch (operation) {
    case RUN: case RUN_ASYNC: case NOW: return N_RUN;
    case GET: case GET_ASYNC: return N_GET_LAZY;
    case CALL: case CALL_ASYNC: return N_CALL;
    case ATTACH: case ATTACH_ASYNC: return N_ATTACH;
    case OUTPUT: return N_GET_OUTPUT;
    case PROMISE: return N_GET_PROMISE;
    case PEEK: return N_PEEK_PROMISE;
    case RESOLVE_PROMISE: case REJECT_PROMISE: return N_COMPLETE_PROMISE;
    default: return 0;
    }
}

/* Its result; gives how the handler tells it. */
static const char *answer(void) {
    switch (operation) {
    case SLEEP: case TIMER: note_sleep(1); return "ok(-) ";
    case KEYS: frame(N_GET_LAZY_KEYS, "1u 17(1s)", 1, "key"); return "ok(key) ";
    case CALL_ID: case SEND_ID: note_id(1, INV_X); return "ok(" INV_X ") ";
    case RESOLVE_PROMISE: case REJECT_PROMISE: note_void(N_COMPLETE_PROMISE, 1); return "ok(-) ";
    case AWAIT_AWAKEABLE: note_signal(17, "v"); return "ok(v) ";
    case SIGNAL: note_named("n", "v"); return "ok(v) ";
    case NOW: note_value(N_RUN, 1, "1700000000000"); return "ok(1700000000000) ";
    default:
        note_value(notification(), operation == CALL || operation == CALL_ASYNC ? 2 : 1, "old");
        return "ok(old) ";
    }
}

static void note_failure_of(unsigned code, const char *message) {
    const char *k = "k", *v = "v";
    switch (operation) {
    case AWAIT_AWAKEABLE: frame(N_SIGNAL, "2u 6(1u2s3(1s2s))", 17, code, message, k, v); break;
    case SIGNAL: frame(N_SIGNAL, "3s 6(1u2s3(1s2s))", "n", code, message, k, v); break;
    default:
        frame(notification(), "1u 6(1u2s3(1s2s))",
              operation == CALL || operation == CALL_ASYNC ? 2 : 1, code, message, k, v);
    }
}

static restate_status operates(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value = absent();
    restate_status s = perform(ctx, &value);
    (void)in;
    return say(ctx, s, value);
}

/* Goes through the operations from..to-1, and says which one it is. */
#define EACH_OPERATION(from, to) \
    for (operation = (from); operation < (to); operation++) \
        EACH(RESTATE_WORKFLOW, .fn = operates)

static const char *waits(const char *how) {
    static char line[2][64];
    static int at;
    at = !at;
    if (is(how, "AwaitingOn") && ex.version < 7) return NULL;
    snprintf(line[at], sizeof line[at],
             operation == AWAIT_AWAKEABLE ? "%s W{s:1,17}"
             : operation == SIGNAL        ? "%s W{s:1,n:n}"
                                          : "%s W{%s,s:1}",
             how, of[operation].awaited);
    return line[at];
}

/* What came out, NULL lines left out: the command (once it is new), a proposal, how it waits, the
 * end. */
static void says(bool is_new, bool proposes, const char *waiting, bool ends) {
    const char *lines[6];
    size_t n = 0;
    if (is_new && of[operation].command) lines[n++] = of[operation].command;
    if (proposes && of[operation].proposes) lines[n++] = of[operation].proposes;
    if (waiting) lines[n++] = waiting;
    if (ends) lines[n++] = "Output value \"\"", lines[n++] = "End";
    lines[n] = NULL;
    ex_says(of[operation].command ? of[operation].command : "awakeable or signal", operation,
            lines);
}

static void told_result(const char *result) {
    char line[64];
    snprintf(line, sizeof line, "%s%s",
             operation == RUN || operation == RUN_ASYNC ? "executed " : "", result);
    TOLD(line);
}

/* The first time: the command goes out, nothing is known before the answer. */
TEST(waiting_first_time) {
    EACH_OPERATION(0, WAITING) {
        const char *result;
        start(1); input(""); give();
        says(true, true, waits("AwaitingOn"), false);
        CHECK(!ex.x->finished);
        if (is_run() && ex.version == 7) note_ack(1), result = operation == NOW ? NULL : "ok(new) ";
        else result = answer();
        give();
        if (result) told_result(result);
        else CHECK_HAS(ex_text(&ex.told), "ok("), ex.told.len = 0, *ex.told.at = 0;
        says(false, false, NULL, true);
    }
}

/* With the result in the journal nothing goes out, and no closure executes. */
TEST(waiting_replayed) {
    EACH_OPERATION(0, WAITING) {
        const char *result;
        start(of[operation].command ? 3 : 2); input("");
        record(false);
        result = answer();
        give();
        TOLD(result);
        says(false, false, NULL, true);
    }
}

/* Without one it waits as if it were new; the command does not go out again. */
TEST(waiting_replayed_without_result) {
    for (int closed = 0; closed < 2; closed++)
        EACH_OPERATION(0, WAITING) {
            const char *result;
            start(of[operation].command ? 2 : 1); input("");
            record(false);
            if (closed) give_and_end();
            else give();
            says(false, true, waits(closed ? "Suspension" : "AwaitingOn"), false);
            CHECK(ex.x->finished == (closed == 1));
            if (!closed) {
                result = answer();
                give();
                if (is_run() && ex.version == 7)
                    result = NULL; /* a value of 7 is the proposed one */
                if (result) told_result(result);
                says(false, false, NULL, true);
            }
            ex.told.len = 0;
            if (ex.told.at) *ex.told.at = 0;
        }
}

/* An input that is closed from the beginning, as in request/response mode. */
TEST(waiting_suspends_on_closed_input) {
    EACH_OPERATION(0, WAITING) {
        start(1); input(""); give_and_end();
        says(true, true, waits("Suspension"), false);
        CHECK(ex.x->finished);
        told_result("ended ");
    }
}

static bool can_fail(void) {                /* state, times and ids just come */
    if (operation == GET || operation == GET_ASYNC || operation == NOW) return false;
    return notification() || operation == AWAIT_AWAKEABLE || operation == SIGNAL;
}

TEST(waiting_fails) {
    EACH_OPERATION(0, WAITING) {
        if (!can_fail()) continue;
        start(of[operation].command ? 3 : 2); input("");
        record(false);
        note_failure_of(451, "not here");
        give();
        TOLD("terminal(451 not here k=v) ");
        if (ex.version > 5) {
            SAYS("Output failure 451 \"not here\" \"k\":\"v\"", "End");
            continue;
        }
        SAYS("Error 573...");
        LOG_HAS("573");
    }
}

/* Another type of command is recorded, or the same with another parameter. */
TEST(replay_differs) {
    for (int same_type = 0; same_type < 2; same_type++)
        EACH_OPERATION(0, OPERATIONS) {
            if (!of[operation].command) continue;
            start(2, .complete = operation >= WAITING,
                  .state = operation >= WAITING ? "a=1" : NULL);
            input("");
            if (same_type && !record(true)) { rt_script.len = 0; continue; }
            if (!same_type && operation == CLEAR_ALL) cmd_sleep(1, "", 5);
            else if (!same_type) cmd_clear_all();
            give();
            SAYS("Error 570 index:1 ...");
            CHECK(ex.x->finished);
            TOLD(operation == SEND ? "ok(-) " : "ended ");  /* a future tells it later */
            LOG_HAS("failed with 570");
        }
}

/* Cancelled: once, at the next await; the same await works afterwards, and calls are cancelled. */
static restate_status survives(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value = absent();
    restate_status s = perform(ctx, &value);
    (void)in;
    CHECK(!value.ptr);
    if (say(ctx, s, value) != RESTATE_CANCELLED) return s;
    CHECK(!restate_stop_requested(ctx));
    s = restate_await(ctx, restate_signal(ctx, "after"), &value);
    return say(ctx, s, value);
}

TEST(waiting_is_cancelled) {
    for (operation = 0; operation < WAITING; operation++)
        EACH(RESTATE_WORKFLOW, .fn = survives) {
            start(1); input(""); give();
            drop_said();
            note_cancel(); give();
            if (is_call()) {
                SAYS(operation == CALL_ID ? "? AwaitingOn W{c:1}" : "AwaitingOn W{c:1}");
                note_id(1, "inv_callee"); give();
                SAYS("SendSignal \"inv_callee\" index:1 void", "AwaitingOn W{s:1,n:after}");
            } else SAYS("AwaitingOn W{s:1,n:after}");
            told_result("cancelled(409 cancelled) ");
            note_named("after", "works"); give();
            TOLD("ok(works) ");
            SAYS(EMPTY_OUTPUT);
        }
}

/* What does not wait: out it goes, the first time only, whether or not there is a cancellation. */
TEST(immediate_first_time_and_replayed) {
    for (int replayed = 0; replayed < 2; replayed++)
        for (int cancelled = 0; cancelled < 2; cancelled++)
            EACH_OPERATION(WAITING, OPERATIONS) {
                start(1 + (unsigned)(replayed + cancelled), .complete = true, .state = "a=1");
                input("");
                if (cancelled) note_cancel();
                if (replayed) record(false);
                give_and_end();
                TOLD(operation == EAGER_GET    ? "ok(1) "
                     : operation == EAGER_KEYS ? "ok(a) "
                                               : "ok(-) ");
                says(!replayed, false, NULL, true);
            }
}

/* ---- Too old for it -------------------------------------------------------------------------- */

static const restate_pair metadata[] = { { "k", "v" }, { NULL, NULL } };
static const restate_failure rich = { .code = 418, .message = "no", .metadata = metadata };
static const restate_retry_options pausing = { .pause = true };

static restate_status fails_richly(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_fail_with(run, &rich);
}

static restate_status is_modern(restate_ctx *ctx, restate_bytes in) {
    const restate_target scoped = { .service = "Greeter", .handler = "greet", .scope = "s" };
    const restate_invocation workflow = { .target = { .service = "W", .key = "k", .scope = "s" } };
    (void)in;
    switch (variant) {
    case 0: restate_call_async(ctx, scoped, text("x"), NULL); break;
    case 1: restate_send(ctx, scoped, text("x"), NULL); break;
    case 2: restate_attach_async(ctx, workflow); break;
    case 3: return restate_output(ctx, workflow, NULL);
    case 4: return restate_retry(ctx, &pausing, "wait");
    case 5: return restate_fail_with(ctx, &rich);
    case 6: return restate_reject(ctx, AWAKEABLE, &rich);
    case 7: return restate_promise_reject(ctx, "p", &rich);
    case 8: return restate_signal_reject(ctx, INV_X, "n", &rich);
    default: return restate_run(ctx, "r", fails_richly, NULL, NULL, NULL);
    }
    return RESTATE_OK;
}

TEST(too_old_for_it) {
    static const unsigned since[] = { 7, 7, 7, 7, 7, 6, 6, 6, 6, 6 };
    for (variant = 0; variant < (int)(sizeof since / sizeof *since); variant++)
        EACH(RESTATE_WORKFLOW, .fn = is_modern) {
            STARTED();
            if (ex.version < since[variant]) {
                SAYS("? Run...", "Error 573...");
                CHECK(ex.x->finished);
                LOG_HAS("failed with 573");
                continue;
            }
            drop_said();
            CHECK(!strstr(ex_text(&ex.log), "573"));
            ex.log.len = 0;
            if (ex.log.at) *ex.log.at = 0;
        }
}

/* ---- Who may do what ------------------------------------------------------------------------- */

static restate_status oversteps(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value = text("x");
    const char *what = (const char *)in.ptr;
    restate_status s = RESTATE_ENDED;
    if (is(what, "set")) s = restate_set(ctx, "k", value);
    else if (is(what, "clear")) s = restate_clear(ctx, "k");
    else if (is(what, "clear_all")) s = restate_clear_all(ctx);
    else if (is(what, "promise")) s = restate_await(ctx, restate_promise(ctx, "p"), &value);
    else if (is(what, "promise_peek")) s = restate_promise_peek(ctx, "p", &value);
    else if (is(what, "promise_resolve")) s = restate_promise_resolve(ctx, "p", value);
    else s = restate_promise_reject(ctx, "p", NULL);
    CHECK_INT(s, RESTATE_ENDED);
    CHECK(restate_stop_requested(ctx));
    return s;
}

static void refuses(restate_kind kind, bool shared, const char *const *what, const char *why) {
    for (; *what; what++)
        EACH(kind, .fn = oversteps, .shared = shared) {
            char line[128];
            start(1, .complete = true); input(*what); give();
            snprintf(line, sizeof line,
                     "Error 500 index:0 Input message:\"S/h: restate_%s(): %s...", *what, why);
            SAYS(line);
            LOG_HAS(why);
        }
}

TEST(who_writes_and_who_promises) {
    static const char *const writes[] = { "set", "clear", "clear_all", NULL };
    static const char *const promises[] = { "promise", "promise_peek", "promise_resolve",
                                            "promise_reject", NULL };
    refuses(RESTATE_SERVICE, false, writes, "a plain service has no state");
    refuses(RESTATE_OBJECT, true, writes, "a shared handler cannot write state");
    refuses(RESTATE_WORKFLOW, true, writes, "a shared handler cannot write state");
    refuses(RESTATE_SERVICE, false, promises, "");
    refuses(RESTATE_OBJECT, false, promises, "");
}

/* A shared handler of a workflow has promises, and reads state. */
static restate_status shares(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value;
    (void)in;
    RESTATE_TRY(say(ctx, restate_get(ctx, "a", &value), value));
    return say(ctx, restate_promise_resolve(ctx, "p", text("v")), absent());
}

TEST(shared_in_a_workflow) {
    EACH(RESTATE_WORKFLOW, .fn = shares, .shared = true) {
        start(1, .complete = true, .state = "a=1", .key = "k"); input(""); give();
        SAYS("GetEagerState \"a\" value \"1\"", "CompletePromise 2 \"p\" value \"v\"",
             "AwaitingOn W{c:2,s:1}");
        note_void(N_COMPLETE_PROMISE, 2); give();
        TOLD("ok(1) ok(-) ");
        SAYS(EMPTY_OUTPUT);
    }
}

static restate_status reads_key(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, text(restate_key(run)));
}

static restate_status has_key(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .inline_ok = *in.ptr == 'i' };
    restate_bytes value;
    CHECK_STR(restate_key(ctx), "Ada");
    return say(ctx, restate_run(ctx, "r", reads_key, NULL, &o, &value), value);
}

TEST(key_in_a_closure) {
    for (int i = 0; i < 2; i++)
        EACH(RESTATE_OBJECT, .fn = has_key) {
            start(1, .key = "Ada"); input(i ? "inline" : "pool"); give();
            SAYS("Run 1 \"r\"", "Propose 1 value \"Ada\" ack", "AwaitingOn W{c:1,s:1}");
            run_stored(1, "Ada"); give();
            TOLD("ok(Ada) ");
            SAYS(EMPTY_OUTPUT);
        }
}

static restate_status named_like_this(restate_ctx *ctx, restate_bytes in) {
    return restate_reply(ctx, in);
}

TEST(named_by_its_function) {
    static const restate_handler h = { RESTATE_HANDLER(named_like_this), .shared = true };
    CHECK_STR(h.name, "named_like_this");
    CHECK(h.fn == named_like_this);
    CHECK(h.shared);
}
/* ---- Mismatch -------------------------------------------------------------------------------- */

TEST(what_a_mismatch_asks_for) {
    static const restate_mismatch options[] = { RESTATE_MISMATCH_DEFAULT, RESTATE_MISMATCH_RETRY,
                                                RESTATE_MISMATCH_PAUSE, RESTATE_MISMATCH_FAIL };
    static const char *const lines[] = { "message:...", "message:...", "behavior:1 message:...",
                                         "behavior:2 message:..." };
    operation = TIMER;
    for (int i = 0; i < 4; i++)
        EACH(RESTATE_WORKFLOW, .fn = operates, .options = { .on_mismatch = options[i] }) {
            char line[80];
            start(2); input(""); record(true); give();
            snprintf(line, sizeof line, "Error 570 index:1 Sleep \"t\" %s",
                     lines[ex.version < 7 ? 0 : i]);
            SAYS(line);
            TOLD("ended ");
            LOG_HAS("failed with 570");
        }
}

/* Each parameter of a call, as it was recorded and otherwise. */
static restate_status calls_with_all(restate_ctx *ctx, restate_bytes in) {
    restate_target to = { "Greeter", "greet", "key", NULL };
    restate_pair headers[3] = { { "a", "1" }, { "b", "2" }, { NULL, NULL } };
    restate_call_options o = { .idempotency_key = "i", .headers = headers, .name = "n" };
    restate_bytes value = text("x");
    restate_future *f;
    if (ex.version == 7) to.scope = "s", o.limit_key = "l";
    switch (variant) {
    case 1: to.service = "Other"; break;
    case 2: to.handler = "other"; break;
    case 3: to.key = "other"; break;
    case 4: to.key = NULL; break;
    case 5: value = text("y"); break;
    case 6: headers[1].value = "3"; break;
    case 7: headers[1] = headers[2]; break;
    case 8: o.idempotency_key = "j"; break;
    case 9: o.idempotency_key = NULL; break;
    case 10: o.name = NULL; break;
    case 11: to.scope = "other"; break;
    case 12: o.limit_key = "other"; break;
    case 13: o.limit_key = NULL; break;
    default: break;
    }
    f = *in.ptr == 's' ? restate_send(ctx, to, value, &o) : restate_call_async(ctx, to, value, &o);
    CHECK_INT(restate_await(ctx, f, NULL), variant ? RESTATE_ENDED : RESTATE_OK);
    return RESTATE_OK;
}

/* Fields 7 and 8 of a call, 8 and 9 of a send, are scope and limit key, since 7. */
static void record_call(bool send) {
    const char *scope = ex.version == 7 ? "s" : NULL, *limit = ex.version == 7 ? "l" : NULL;
    if (send)
        frame(M_SEND, "1s 2s 3s 5(1s2s) 5(1s2s) 6s 7s 8s 9s 10u 12s", "Greeter", "greet", "x", "a",
              "1", "b", "2", "key", "i", scope, limit, 1, "n");
    else
        frame(M_CALL, "1s 2s 3s 4(1s2s) 4(1s2s) 5s 6s 7s 8s 10u 11u 12s", "Greeter", "greet", "x",
              "a", "1", "b", "2", "key", "i", scope, limit, 1, 2, "n");
}

TEST(parameters_of_calls_are_compared) {
    for (int send = 0; send < 2; send++)
        for (variant = 0; variant < 14; variant++)
            EACH_OF(variant > 10 ? 7 : 5, 7, RESTATE_SERVICE, .fn = calls_with_all) {
                start(3); input(send ? "send" : "call");
                record_call(send);
                if (send) note_id(1, INV_X);
                else note_value(N_CALL, 2, "v");
                give();
                if (variant == 0) { SAYS(EMPTY_OUTPUT); continue; }
                SAYS(send ? "Error 570 index:1 OneWayCall..." : "Error 570 index:1 Call...");
                LOG_HAS("failed with 570");
            }
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static restate_run_options run_options;
static restate_retry_options retry_options;

static restate_status tries_again(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_retry(run, &retry_options, "again");
}

static restate_status runs(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value;
    restate_status s = restate_run(ctx, "r", tries_again, NULL, &run_options, &value);
    (void)in;
    return say(ctx, s, value);
}

/* A try of a run fails after `retries` others that took `duration` ms in all. */
static void fails_after(unsigned retries, uint64_t duration) {
    start(2, .retries = retries, .duration_ms = duration); input("");
    cmd_run(1, "r");
    give();
    if (ex.told.len) ex.told.len = 0, *ex.told.at = 0;
    if (ex.log.len) ex.log.len = 0, *ex.log.at = 0;
}

#define RETRY_AFTER(ms) "Error 500 index:1 Run \"r\" delay:" #ms " message:\"again\""
#define GIVE_UP "Propose 1 failure 500 \"again\" ack"

TEST(waits_between_tries) {
    static const struct {
        restate_retry_policy policy;
        unsigned retries;
        uint64_t duration;
        const char *line;
    } cases[] = {
        { { .max_attempts = 100 }, 0, 0, RETRY_AFTER(50) },
        { { .max_attempts = 100 }, 1, 0, RETRY_AFTER(100) },
        { { .max_attempts = 100 }, 7, 0, RETRY_AFTER(6400) },
        { { .max_attempts = 100 }, 8, 0, RETRY_AFTER(10000) },
        { { .max_attempts = 100 }, 98, 0, RETRY_AFTER(10000) },
        { { .max_attempts = 100 }, 99, 0, GIVE_UP },
        { { .initial_interval_ms = 100 }, 3, 0, RETRY_AFTER(800) },
        { { .initial_interval_ms = RESTATE_ZERO_MS }, 3, 0, RETRY_AFTER(0) },
        { { .factor = 3 }, 2, 0, RETRY_AFTER(450) },
        { { .factor = 1 }, 9, 0, RETRY_AFTER(50) },
        { { .max_interval_ms = 120 }, 1, 0, RETRY_AFTER(100) },
        { { .max_interval_ms = 120 }, 2, 0, RETRY_AFTER(120) },
        { { .max_duration_ms = 60000 }, 1, 100, RETRY_AFTER(100) },
        { { .max_duration_ms = 60000 }, 1, 60000, GIVE_UP },
        { { .max_duration_ms = 60000 }, 0, 60000, RETRY_AFTER(50) },
        { { .initial_interval_ms = 0 }, 3, 60000, "Error 500 index:1 Run \"r\" message:\"again\"" }
    };
    memset(&retry_options, 0, sizeof retry_options);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int at_service = 0; at_service < 2; at_service++) {
            restate_options options = { .user = NULL };
            memset(&run_options, 0, sizeof run_options);
            *(at_service ? &options.run_retry : &run_options.retry) = cases[i].policy;
            EACH(RESTATE_SERVICE, .fn = runs, .options = options) {
                fails_after(cases[i].retries, cases[i].duration);
                SAYS(cases[i].line, is(cases[i].line, GIVE_UP) ? "? AwaitingOn..." : "? none");
            }
        }
}

/* The closure's own delay goes before the policy's; its limits stay. */
TEST(own_delay_of_a_closure) {
    static const struct {
        restate_retry_policy policy;
        unsigned retries;
        uint64_t duration;
        bool over;
    } cases[] = { { { .initial_interval_ms = 0 }, 0, 0, false },
                  { { .initial_interval_ms = 5, .max_interval_ms = 9 }, 3, 0, false },
                  { { .max_attempts = 3 }, 1, 0, false },
                  { { .max_attempts = 3 }, 2, 0, true },
                  { { .max_duration_ms = 60000 }, 1, 100, false },
                  { { .max_duration_ms = 60000 }, 1, 60000, true } };
    memset(&retry_options, 0, sizeof retry_options);
    retry_options.code = 503;
    retry_options.delay_ms = 77;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&run_options, 0, sizeof run_options);
        run_options.retry = cases[i].policy;
        EACH(RESTATE_SERVICE, .fn = runs) {
            fails_after(cases[i].retries, cases[i].duration);
            if (cases[i].over) SAYS("Propose 1 failure 503 \"again\" ack", "? AwaitingOn...");
            else SAYS("Error 503 index:1 Run \"r\" delay:77 message:\"again\"");
        }
    }
}

TEST(closure_asks_for_a_pause) {
    memset(&run_options, 0, sizeof run_options);
    memset(&retry_options, 0, sizeof retry_options);
    retry_options.pause = true;
    for (int limited = 0; limited < 2; limited++) {
        run_options.retry.max_attempts = limited ? 9 : 0;
        EACH(RESTATE_SERVICE, .fn = runs) {
            fails_after(0, 0);
            if (ex.version == 7) SAYS("Error 500 index:1 Run \"r\" behavior:1 message:\"again\"");
            else SAYS("Error 573...");
        }
    }
}

/* One closure is done when another one fails: its result is kept, and it is not executed again. */
static restate_status needs_a_second_try(restate_ctx *run, void *arg) {
    (void)arg;
    tell("b ");
    if (restate_request(run)->retry_count == 0) return restate_retry(run, NULL, "not yet");
    return restate_reply(run, text("B"));
}

static restate_status runs_two(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .inline_ok = true };     /* in this order */
    restate_future *f[2];
    restate_bytes value;
    (void)in;
    f[0] = restate_run_async(ctx, "a", closure, (void *)(uintptr_t)"A", &o);
    f[1] = restate_run_async(ctx, "b", needs_a_second_try, NULL, &o);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, f, 2), NULL));
    for (int i = 0; i < 2; i++) RESTATE_TRY(say(ctx, restate_await(ctx, f[i], &value), value));
    return RESTATE_OK;
}

TEST(one_closure_fails_beside_another) {
    EACH(RESTATE_SERVICE, .fn = runs_two) {
        STARTED();
        SAYS("Run 1 \"a\"", "Run 2 \"b\"", "Propose 1 value \"A\" ack",
             "Error 500 index:2 Run \"b\" message:\"not yet\"");
        TOLD("executed b ");
        LOG_HAS("not yet");
        invoke();
        start(4, .retries = 1);
        input("in");
        cmd_run(1, "a");
        cmd_run(2, "b");
        note_value(N_RUN, 1, "A");
        give();
        SAYS("Propose 2 value \"B\" ack", "AwaitingOn W{s:1,N:[ALL_SUCCEEDED{c:2}]}");
        run_stored(2, "B"); give();
        TOLD("b ok(A) ok(B) ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* Every operation that is journaled, with the context of a closure. */
static restate_future *outer;               /* of the handler */

static restate_status misuses(restate_ctx *run, void *arg) {
    restate_bytes value = absent();
    (void)arg;
    if (operation < OPERATIONS) {
        restate_status s = perform(run, &value);
        CHECK_INT(s, operation == SEND ? RESTATE_OK : RESTATE_ENDED);
    } else if (operation == OPERATIONS) {
        CHECK_INT(restate_await(run, restate_cancellation(run), NULL), RESTATE_ENDED);
    } else if (operation == OPERATIONS + 1) {
        CHECK_INT(restate_cancel_calls(run), RESTATE_ENDED);
    } else {
        size_t index;
        CHECK_INT(restate_selector_next(run, restate_selector_new(run, &outer, 1), &index),
                  RESTATE_ENDED);
    }
    CHECK(!value.ptr);
    CHECK(restate_stop_requested(run));
    return RESTATE_OK;
}

static restate_status runs_misuse(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .inline_ok = *in.ptr == 'i' };
    restate_status s;
    outer = restate_awakeable(ctx, NULL);
    s = restate_run(ctx, "bad", misuses, NULL, &o, NULL);
    CHECK_INT(s, RESTATE_ENDED);
    return s;
}

TEST(guard_in_closures) {
    for (operation = 0; operation < OPERATIONS + 3; operation++)
        EACH(RESTATE_WORKFLOW, .fn = runs_misuse) {
            start(1, .complete = true); input(operation % 2 ? "inline" : "pool"); give();
            SAYS("Run 1 \"bad\"",
                 "Error 500 index:1 Run \"bad\" message:\"S/h (in a closure): restate_...");
            LOG_HAS("ERROR the attempt failed with 500: S/h (in a closure): restate_");
        }
}

/* ---- Errors that are mapped ------------------------------------------------------------------ */

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

/* ---- Codecs ---------------------------------------------------------------------------------- */

static restate_status reverse(restate_ctx *ctx, const char *from, size_t n, char **to) {
    *to = (char *)restate_alloc(ctx, n + 1);
    for (size_t i = 0; *to && i < n; i++) (*to)[i] = from[n - 1 - i];
    return *to ? RESTATE_OK : RESTATE_ENDED;
}

static restate_status reverse_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                                     restate_bytes *out) {
    const char *string = (const char *)value;
    char *made = NULL;
    (void)self;
    if (is(string, "bad")) return restate_fail(ctx, 400, "cannot write that");
    RESTATE_TRY(reverse(ctx, string, strlen(string), &made));
    *out = text(made);
    return RESTATE_OK;
}

static restate_status reverse_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                     void *value) {
    (void)self;
    if (in.len && *in.ptr == '?') return restate_fail(ctx, 418, "cannot read that");
    return reverse(ctx, (const char *)in.ptr, in.len, (char **)value);
}

static const restate_codec reversed = { .content_type = "text/x-reversed",
                                        .encode = reverse_encode,
                                        .decode = reverse_decode };
static const restate_codec loose = { .content_type = "text/x-reversed",
                                     .encode = reverse_encode,
                                     .decode = reverse_decode,
                                     .unstable = true };

static restate_status decoded(restate_ctx *ctx, restate_status s, restate_bytes bytes) {
    char *value = (char *)(uintptr_t)"untouched";
    RESTATE_TRY(s);
    RESTATE_TRY(restate_decode(ctx, &reversed, bytes, &value));
    tell("%s ", value);
    return RESTATE_OK;
}

static restate_status encodes_in_run(restate_ctx *run, void *arg) {
    return restate_reply(run, restate_encode(run, &reversed, arg));
}

static restate_status codes_everything(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v = absent();
    restate_status s;
    RESTATE_TRY(decoded(ctx, RESTATE_OK, in));
    RESTATE_TRY(decoded(ctx, RESTATE_OK, absent()));        /* leaves a default as it is */
    RESTATE_TRY(restate_set(ctx, "k", restate_encode(ctx, &reversed, "state")));
    s = restate_get(ctx, "k", &v);
    RESTATE_TRY(decoded(ctx, s, v));
    s = restate_run(ctx, "r", encodes_in_run, (void *)(uintptr_t)"run", NULL, &v);
    RESTATE_TRY(decoded(ctx, s, v));
    s = restate_call(ctx, greeter, restate_encode(ctx, &reversed, "call"), NULL, &v);
    RESTATE_TRY(decoded(ctx, s, v));
    restate_send(ctx, greeter, restate_encode(ctx, &reversed, "send"), NULL);
    RESTATE_TRY(restate_resolve(ctx, AWAKEABLE, restate_encode(ctx, &reversed, "resolve")));
    s = restate_await(ctx, restate_awakeable(ctx, NULL), &v);
    RESTATE_TRY(decoded(ctx, s, v));
    s = restate_promise_resolve(ctx, "p", restate_encode(ctx, &reversed, "promise"));
    RESTATE_TRY(s);
    s = restate_await(ctx, restate_promise(ctx, "p"), &v);
    RESTATE_TRY(decoded(ctx, s, v));
    return restate_reply(ctx, restate_encode(ctx, &reversed, "reply"));
}

TEST(codec_per_operation) {
    EACH(RESTATE_WORKFLOW, .fn = codes_everything, .input = &reversed, .output = &reversed) {
        start(1, .complete = true); input("tupni"); give();
        SAYS("SetState \"k\" value \"etats\"", "GetEagerState \"k\" value \"etats\"", "Run 2 \"r\"",
             "Propose 2 value \"nur\" ack", "AwaitingOn W{c:2,s:1}");
        run_stored(2, "nur"); give();
        SAYS("Call 3 4 \"Greeter\" \"greet\" parameter:\"llac\"", "AwaitingOn W{c:4,s:1}");
        note_value(N_CALL, 4, "ylper"); give();
        SAYS("OneWayCall 5 \"Greeter\" \"greet\" parameter:\"dnes\"",
             "CompleteAwakeable \"" AWAKEABLE "\" value \"evloser\"", "AwaitingOn W{s:1,17}");
        note_signal(17, "elbaekawa"); give();
        SAYS("CompletePromise 6 \"p\" value \"esimorp\"", "AwaitingOn W{c:6,s:1}");
        note_void(N_COMPLETE_PROMISE, 6); give();
        SAYS("GetPromise 7 \"p\"", "AwaitingOn W{c:7,s:1}");
        note_value(N_GET_PROMISE, 7, "esimorp"); give();
        TOLD("input untouched state run reply awakeable promise ");
        SAYS("Output value \"ylper\"", "End");
    }
}

/* What cannot be encoded is tried again; what cannot be decoded is a failure. */
static restate_status codes_badly(restate_ctx *ctx, restate_bytes in) {
    char *value;
    switch (variant) {
    case 0: return restate_reply(ctx, restate_encode(ctx, &reversed, "bad"));
    case 1: return restate_run(ctx, "r", encodes_in_run, (void *)(uintptr_t)"bad", NULL, NULL);
    case 2: return restate_decode(ctx, &reversed, in, &value);
    default: return restate_decode(ctx, &reversed, text("?state"), &value);
    }
}

TEST(codec_fails) {
    static const char *const lines[] = { "Error 500 index:0 Input...",
                                         "Error 500 index:1 Run \"r\"...", "Output failure 400...",
                                         "Output failure 500..." };
    for (variant = 0; variant < 4; variant++)
        EACH(RESTATE_SERVICE, .fn = codes_badly) {
            start(1); input("?input"); give();
            SAYS("? Run 1 \"r\"", lines[variant], variant < 2 ? "? none" : "End");
            if (variant < 2) LOG_HAS("failed with");
        }
}

/* Bytes of an unstable codec are not compared, others are. */
static restate_status encodes_loosely(restate_ctx *ctx, restate_bytes in) {
    const restate_codec *codec = *in.ptr == 'l' ? &loose : &reversed;
    restate_bytes v = restate_encode(ctx, codec, "today");
    switch (variant) {
    case 0: return restate_set(ctx, "k", v);
    case 1: restate_send(ctx, greeter, v, NULL); return RESTATE_OK;
    case 2: restate_call_async(ctx, greeter, v, NULL); return RESTATE_OK;
    case 3: return restate_resolve(ctx, AWAKEABLE, v);
    default: return restate_promise_resolve(ctx, "p", v);
    }
}

TEST(unstable_codec) {
    for (int unstable = 0; unstable < 2; unstable++)
        for (variant = 0; variant < 5; variant++)
            EACH(RESTATE_WORKFLOW, .fn = encodes_loosely) {
                start(variant == 4 ? 3 : 2, .complete = true); input(unstable ? "loose" : "strict");
                switch (variant) {
                case 0: cmd_set("k", "then"); break;
                case 1: cmd_send(1, "then"); break;
                case 2: cmd_call(1, "then"); break;
                case 3: frame(M_COMPLETE_AWAKEABLE, "1s 2(1s)", AWAKEABLE, "then"); break;
                default:
                    frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "then", 1);
                    note_void(N_COMPLETE_PROMISE, 1);
                }
                give();
                if (unstable) { SAYS(EMPTY_OUTPUT); continue; }
                SAYS("Error 570 index:1 ...");
                LOG_HAS("failed with 570");
            }
}

/* ---- The rest -------------------------------------------------------------------------------- */

/* Some of the state came along: that is read at once, the rest is fetched. */
static restate_status reads_a_part(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value;
    (void)in;
    RESTATE_TRY(say(ctx, restate_get(ctx, "a", &value), value));
    RESTATE_TRY(say(ctx, restate_get(ctx, "b", &value), value));
    RESTATE_TRY(restate_keys(ctx, NULL));
    RESTATE_TRY(restate_clear_all(ctx));
    RESTATE_TRY(say(ctx, restate_get(ctx, "b", &value), value));        /* now all of it is known */
    return restate_keys(ctx, NULL);
}

TEST(partial_state) {
    EACH(RESTATE_OBJECT, .fn = reads_a_part) {
        start(1, .state = "a=1"); input(""); give();
        SAYS("GetEagerState \"a\" value \"1\"", "GetLazyState 2 \"b\"", "AwaitingOn W{c:2,s:1}");
        note_value(N_GET_LAZY, 2, "2"); give();
        SAYS("GetLazyStateKeys 3", "AwaitingOn W{c:3,s:1}");
        frame(N_GET_LAZY_KEYS, "1u 17(1s1s)", 3, "a", "b"); give();
        TOLD("ok(1) ok(2) ok(-) ");
        SAYS("ClearAllState", "GetEagerState \"b\" void", "GetEagerStateKeys []", EMPTY_OUTPUT);
    }
}

TEST(awakeable_without_a_value) {
    operation = AWAIT_AWAKEABLE;
    for (int empty = 0; empty < 2; empty++)
        EACH(RESTATE_SERVICE, .fn = operates) {
            STARTED();
            drop_said();
            if (empty) note_signal(17, "");
            else frame(N_SIGNAL, "2u 4()", 17);
            give();
            TOLD(empty ? "ok() " : "ok(-) ");
            SAYS(EMPTY_OUTPUT);
        }
}

static restate_status races_a_promise(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    restate_bytes value;
    f[0] = restate_promise(ctx, "p");
    f[1] = restate_sleep_async(ctx, 1, NULL);
    switch (*in.ptr) {
    case 'r': return say(ctx, restate_await(ctx, restate_race(ctx, f, 2), &value), value);
    case 'f': return say(ctx, restate_await_for(ctx, f[0], 5, &value), value);
    default: {
        size_t index = 9;
        RESTATE_TRY(restate_select(ctx, f, 2, &index));
        tell("%u ", (unsigned)index);
        return say(ctx, restate_await(ctx, f[0], &value), value);
    }
    }
}

TEST(promise_in_combinators) {
    static const char *const ways[] = { "race", "for", "select" };
    for (int i = 0; i < 3; i++)
        EACH(RESTATE_WORKFLOW, .fn = races_a_promise) {
            start(1, .key = "k"); input(ways[i]); give();
            if (i == 1)
                SAYS("GetPromise 1 \"p\"", "Sleep 2 wake:...", "Sleep 3 wake:...",
                     "AwaitingOn W{s:1,N:[{c:1,3}]}");
            else SAYS("GetPromise 1 \"p\"", "Sleep 2 wake:...", "AwaitingOn W{s:1,N:[{c:1,2}]}");
            note_value(N_GET_PROMISE, 1, "v"); give();
            TOLD(i == 2 ? "0 ok(v) " : "ok(v) ");
            SAYS(EMPTY_OUTPUT);
        }
}

/* The time at which a send starts, and the name of a timer, out of the line that holds them. */
static restate_status sends_later(restate_ctx *ctx, restate_bytes in) {
    restate_call_options o = { .delay_ms = *in.ptr == 'z' ? RESTATE_ZERO_MS : 60000 };
    restate_send(ctx, greeter, text("x"), &o);
    restate_sleep_async(ctx, 60000, "nap");
    return RESTATE_OK;
}

TEST(times_and_names) {
    for (int zero = 0; zero < 2; zero++)
        EACH(RESTATE_SERVICE, .fn = sends_later) {
            uint64_t before = restate__clock_wall_ms(&restate__clock_default), after, delay = zero ? 0 : 60000;
            unsigned long long at = 0, wake = 0;
            const char *send, *sleep;
            rt_bytes out;
            start(1); input(zero ? "zero" : "minute"); give();
            after = restate__clock_wall_ms(&restate__clock_default);
            out = rt_lines();
            send = strstr((const char *)out.at, " at:");
            sleep = strstr((const char *)out.at, " wake:");
            CHECK(send && sscanf(send, " at:%llu", &at) == 1);
            CHECK(sleep && sscanf(sleep, " wake:%llu", &wake) == 1);
            CHECK(at >= before + delay && at <= after + delay);
            CHECK(wake >= before + 60000 && wake <= after + 60000);
            CHECK_HAS(sleep, " name:\"nap\"\n");
            rt_drop(&out);
        }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(waiting_first_time), T(waiting_replayed), T(waiting_replayed_without_result),
        T(waiting_suspends_on_closed_input), T(waiting_fails), T(replay_differs),
        T(waiting_is_cancelled), T(immediate_first_time_and_replayed), T(too_old_for_it),
        T(who_writes_and_who_promises), T(shared_in_a_workflow), T(key_in_a_closure),
        T(named_by_its_function), T(what_a_mismatch_asks_for), T(parameters_of_calls_are_compared),
        T(waits_between_tries), T(own_delay_of_a_closure), T(closure_asks_for_a_pause),
        T(one_closure_fails_beside_another), T(guard_in_closures), T(mapped_errors),
        T(codec_per_operation), T(codec_fails), T(unstable_codec), T(partial_state),
        T(awakeable_without_a_value), T(promise_in_combinators), T(times_and_names),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
