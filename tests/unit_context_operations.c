/* Section >>context: rules that hold for every operation: waiting, replay, mismatch, misuse, which protocol and
 * which kind of handler it needs. Everything goes through the public interface. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/operations.c"

/* ---- Every operation ------------------------------------------------------------------------ */

static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }

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

static bool is_run(void) { return operation == RUN || operation == RUN_ASYNC || operation == NOW; }

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
    if (same(how, "AwaitingOn") && ex.version < 7) return NULL;
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

static bool is_call(void) {
    return operation == CALL || operation == CALL_ASYNC || operation == CALL_ID;
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

/* ---- Too old for it ------------------------------------------------------------------------- */

static int variant;                         /* what a handler is to do */

static const restate_pair one_pair[] = { { "k", "v" }, { NULL, NULL } };
static const restate_failure rich = { .code = 418, .message = "no", .metadata = one_pair };
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

/* ---- Who may do what ------------------------------------------------------------------------ */

static restate_status oversteps(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value = text("x");
    const char *what = (const char *)in.ptr;
    restate_status s = RESTATE_ENDED;
    if (same(what, "set")) s = restate_set(ctx, "k", value);
    else if (same(what, "clear")) s = restate_clear(ctx, "k");
    else if (same(what, "clear_all")) s = restate_clear_all(ctx);
    else if (same(what, "promise")) s = restate_await(ctx, restate_promise(ctx, "p"), &value);
    else if (same(what, "promise_peek")) s = restate_promise_peek(ctx, "p", &value);
    else if (same(what, "promise_resolve")) s = restate_promise_resolve(ctx, "p", value);
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

/* ---- A cancellation in the journal ---------------------------------------------------------- */

/* Ids of invocations, as the server makes them. */
#define INV INV_X

static restate_status returns_value(restate_ctx *run, void *arg) {
    return restate_reply(run, text((const char *)arg));
}
static char value_arg[] = "v";
static const restate_run_options inline_run = { .inline_ok = true };

typedef struct recorded_operation {
    const char *name;
    restate_kind kind;
    const char *result;
    void (*recorded)(void);                 /* its command in the journal; NULL: none */
    void (*answer)(void);
    restate_status (*perform)(restate_ctx *ctx, restate_bytes *value);
} recorded_operation;

static restate_status op_sleep_(restate_ctx *ctx, restate_bytes *v) {
    (void)v;
    return restate_await(ctx, restate_sleep_async(ctx, 5, "n"), NULL);
}

static restate_status op_run_(restate_ctx *ctx, restate_bytes *v) {
    return restate_run(ctx, "r", returns_value, value_arg, &inline_run, v);
}

static restate_status op_get_(restate_ctx *ctx, restate_bytes *v) {
    return restate_get(ctx, "k", v);
}

static restate_status op_keys_(restate_ctx *ctx, restate_bytes *v) {
    const char *const *keys;
    restate_status s = restate_keys(ctx, &keys);
    if (s == RESTATE_OK) *v = text(keys[0]);
    else CHECK(keys && !keys[0]);
    return s;
}

static restate_status op_call_(restate_ctx *ctx, restate_bytes *v) {
    return restate_call(ctx, greeter, text("x"), NULL, v);
}

static restate_status op_send_id_(restate_ctx *ctx, restate_bytes *v) {
    return restate_await(ctx, restate_send(ctx, greeter, text("x"), NULL), v);
}

static restate_status op_awakeable_(restate_ctx *ctx, restate_bytes *v) {
    const char *id;
    restate_future *f = restate_awakeable(ctx, &id);
    CHECK_STR(id, AWAKEABLE);
    return restate_await(ctx, f, v);
}

static restate_status op_signal_(restate_ctx *ctx, restate_bytes *v) {
    return restate_await(ctx, restate_signal(ctx, "go"), v);
}

static restate_status op_promise_(restate_ctx *ctx, restate_bytes *v) {
    return restate_await(ctx, restate_promise(ctx, "p"), v);
}

static restate_status op_peek_(restate_ctx *ctx, restate_bytes *v) {
    return restate_promise_peek(ctx, "p", v);
}

static restate_status op_promise_resolve_(restate_ctx *ctx, restate_bytes *v) {
    (void)v;
    return restate_promise_resolve(ctx, "p", text("v"));
}

static restate_status op_attach_(restate_ctx *ctx, restate_bytes *v) {
    return restate_attach(ctx, (restate_invocation){ .id = INV }, v);
}

static restate_status op_output_(restate_ctx *ctx, restate_bytes *v) {
    return restate_output(ctx, (restate_invocation){ .target = { .service = "W", .key = "k" } }, v);
}

static void rec_sleep(void) { cmd_sleep(1, "n", 9); }
static void rec_run(void) { cmd_run(1, "r"); }
static void rec_get(void) { cmd_get_lazy(1, "k"); }
static void rec_keys(void) { cmd_get_lazy_keys(1); }
static void rec_call(void) { cmd_call(1, "x"); }
static void rec_send(void) { cmd_send(1, "x"); }
static void rec_promise(void) { cmd_get_promise(1, "p"); }
static void rec_peek(void) { cmd_peek_promise(1, "p"); }
static void rec_resolve(void) { frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "v", 1); }
static void rec_attach(void) { frame(M_ATTACH, "1s 11u", INV, 1); }
static void rec_output(void) { frame(M_GET_OUTPUT, "4(1s2s) 11u", "W", "k", 1); }

static void answer_run(void) { note_value(N_RUN, 1, "v"); }
static void answer_get(void) { note_value(N_GET_LAZY, 1, "v"); }
static void answer_call(void) { note_value(N_CALL, 2, "v"); }
static void answer_promise(void) { note_value(N_GET_PROMISE, 1, "v"); }
static void answer_peek(void) { note_value(N_PEEK_PROMISE, 1, "v"); }
static void answer_attach(void) { note_value(N_ATTACH, 1, "v"); }
static void answer_output(void) { note_value(N_GET_OUTPUT, 1, "v"); }
static void answer_sleep(void) { note_sleep(1); }
static void answer_keys(void) { frame(N_GET_LAZY_KEYS, "1u 17(1s)", 1, "k"); }
static void answer_id(void) { note_id(1, INV); }
static void answer_awakeable(void) { note_signal(17, "v"); }
static void answer_signal(void) { note_named("go", "v"); }
static void answer_void(void) { note_void(N_COMPLETE_PROMISE, 1); }

static const recorded_operation recorded_operations[] = {
    { "sleep", RESTATE_SERVICE, "ok(-) ", rec_sleep, answer_sleep, op_sleep_ },
    { "run", RESTATE_SERVICE, "ok(v) ", rec_run, answer_run, op_run_ },
    { "get", RESTATE_OBJECT, "ok(v) ", rec_get, answer_get, op_get_ },
    { "keys", RESTATE_OBJECT, "ok(k) ", rec_keys, answer_keys, op_keys_ },
    { "call", RESTATE_SERVICE, "ok(v) ", rec_call, answer_call, op_call_ },
    { "send_id", RESTATE_SERVICE, "ok(" INV ") ", rec_send, answer_id, op_send_id_ },
    { "awakeable", RESTATE_SERVICE, "ok(v) ", NULL, answer_awakeable, op_awakeable_ },
    { "signal", RESTATE_SERVICE, "ok(v) ", NULL, answer_signal, op_signal_ },
    { "promise", RESTATE_WORKFLOW, "ok(v) ", rec_promise, answer_promise, op_promise_ },
    { "promise_peek", RESTATE_WORKFLOW, "ok(v) ", rec_peek, answer_peek, op_peek_ },
    { "promise_resolve", RESTATE_WORKFLOW, "ok(-) ", rec_resolve, answer_void,
      op_promise_resolve_ },
    { "attach", RESTATE_SERVICE, "ok(v) ", rec_attach, answer_attach, op_attach_ },
    { "output", RESTATE_SERVICE, "ok(v) ", rec_output, answer_output, op_output_ }
};
enum { RECORDED_OPERATIONS = sizeof recorded_operations / sizeof *recorded_operations };

static const recorded_operation *op;                 /* what a handler is to do */
static char op_where[80];

/* For each operation and each way to go through it. */
#define EACH_RECORDED \
    for (int i = 0; op = &recorded_operations[i < RECORDED_OPERATIONS ? i : 0], i < RECORDED_OPERATIONS; i++) \
        while (ex_again(op->kind, (restate_handler){ .fn = waits_cancelled }, 5, 7) && \
               (snprintf(op_where, sizeof op_where, "(%s, %s)", op->name, test_note), \
                test_note = op_where, true))

/* If it is cancelled it goes on to wait for something else. */
static restate_status waits_cancelled(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value = absent();
    restate_status s = op->perform(ctx, &value);
    (void)in;
    say(ctx, s, value);
    if (s != RESTATE_CANCELLED) return s;
    s = restate_await(ctx, restate_signal(ctx, "later"), &value);
    return say(ctx, s, value);
}

static void begin_with(unsigned known) {
    start(known, .id = OWN_ID, .seed = 1);
    input("in");
}

/* The journal went on without the result that is waited for: it was made by other code. */
TEST(waiting_where_the_journal_went_on) {
    EACH_RECORDED {
        begin_with(op->recorded ? 3 : 2);
        if (op->recorded) op->recorded();
        frame(M_CLEAR, "1s", "k"); give();
        SAYS("Error 570...");
        TOLD("ended ");
        LOG_HAS("the attempt failed with 570");
    }
}

/* The order of the journal decides whether the result or the cancellation is seen. */
TEST(cancellation_is_replayed) {
    for (int first = 0; first < 2; first++)
        EACH_RECORDED {
            bool calls = strcmp(op->name, "call") == 0;
            begin_with((op->recorded ? 4u : 3u) + (calls && first));
            if (op->recorded) op->recorded();
            if (first && calls) note_id(1, INV);
            if (first) note_cancel();
            op->answer();
            if (!first) note_cancel();
            give_and_end();
            TOLD(first ? "cancelled(409 cancelled) ended " : op->result);
            if (!first) SAYS(EMPTY_OUTPUT);
            else if (calls)
                SAYS("SendSignal \"" INV "\" index:1 void", "Suspension W{s:1,n:later}");
            else SAYS("Suspension W{s:1,n:later}");
        }
}

/* ---- Suspension and mismatch ---------------------------------------------------------------- */

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

/* Code that looks at no status: nothing is written after the suspension, whatever it returns. */
static restate_status swallows(restate_ctx *ctx, restate_bytes in) {
    static const restate_status returned[] = { RESTATE_OK, RESTATE_TERMINAL, RESTATE_CANCELLED,
                                               (restate_status)42, RESTATE_ENDED };
    (void)in;
    RESTATE_IGNORE(restate_sleep(ctx, 1));
    restate_set(ctx, "k", text("v"));
    restate_send(ctx, greeter, text("x"), NULL);
    restate_reply(ctx, text("done"));
    RESTATE_IGNORE(restate_fail(ctx, 418, "x"));
    RESTATE_IGNORE(restate_retry(ctx, NULL, "x"));
    return returned[variant];
}

TEST(suspension_cannot_be_swallowed) {
    for (variant = 0; variant < 5; variant++)
        EACH(RESTATE_OBJECT, .fn = swallows) {
            begin_with(1); give_and_end();
            SAYS("Sleep 1 wake:...", "Suspension W{c:1,s:1}");
            CHECK(ex.x->finished);
        }
}

static restate_status sets_other(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_set(ctx, "k", text("new"));
}

TEST(payload_check_switched_off) {
    EACH(RESTATE_OBJECT, .fn = sets_other, .options = { .skip_payload_check = RESTATE_ON }) {
        begin_with(2); cmd_set("k", "old"); give();
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_OBJECT, .fn = sets_other, .options = { .skip_payload_check = RESTATE_ON }) {
        begin_with(2); cmd_set("l", "old"); give();         /* the rest is compared */
        SAYS("Error 570 index:1 SetState...");
        LOG_HAS("failed with 570");
    }
}

/* ---- Misuse --------------------------------------------------------------------------------- */

static restate_target greeter_for(const char *handler) {
    restate_target to = { .service = "Greeter", .handler = handler };
    return to;
}

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
    case 13: CHECK_INT(restate_call(ctx, greeter_for("g"), value, &o, &value), RESTATE_ENDED); CHECK(!value.ptr); break;
    case 14: o.idempotency_key = NULL; o.limit_key = "l"; restate_call_async(ctx, greeter_for("g"), value, &o); break;
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
static restate_future *outer_future;

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
            restate__exchange *first;
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

static restate_status never(restate_ctx *run, void *arg) {
    (void)arg;
    tell("executed ");
    return restate_retry(run, NULL, "no");
}

static restate_status mistakes(restate_ctx *ctx, restate_bytes in) {
    restate_run_options o = { .inline_ok = true };
    const restate_target to = { .service = "G", .handler = "g" };
    const restate_pair bad[] = { { "name", "\xff" }, { NULL, NULL } };
    const restate_call_options with_bad = { .headers = bad };
    (void)in;
    switch (variant) {
    case 0: o.retry.when_exhausted = RESTATE_EXHAUSTED_PAUSE; o.retry.max_attempts = 1; break;
    case 1: o.retry.factor = 0.5; break;
    case 2: restate_sleep_async(ctx, 1, "\xff"); return RESTATE_OK;
    case 3: CHECK_INT(restate_run(ctx, "\xff", never, NULL, &o, NULL), RESTATE_ENDED); return RESTATE_OK;
    case 4: restate_send(ctx, to, text("x"), &with_bad); return RESTATE_OK;
    case 5: CHECK_INT(restate_await_for(ctx, NULL, 5, NULL), RESTATE_ENDED); return RESTATE_OK;
    default: CHECK_INT(restate_call(ctx, to, text("x"), &with_bad, NULL), RESTATE_ENDED); return RESTATE_OK;
    }
    CHECK_INT(restate_run(ctx, "r", never, NULL, &o, NULL), RESTATE_ENDED);
    return RESTATE_OK;
}

/* Nothing is recorded, nothing executed. */
TEST(mistakes_record_nothing) {
    static const char *const says[] = {
        "Error 573...", "Error 500 index:0 Input message:\"S/h: restate_run(): retry.factor is no number from 1 to 1e9\"",
        "Error 500 index:0 Input message:\"S/h: restate_sleep_async(): the name is not UTF-8\"",
        "Error 500 index:0 Input message:\"S/h: restate_run(): the name is not UTF-8\"",
        "Error 500 index:0 Input message:\"S/h: restate_send(): a header of the call is not UTF-8\"",
        "Error 500 index:0 Input message:\"S/h: restate_await_for(): the future is NULL\"",
        "Error 500 index:0 Input message:\"S/h: restate_call(): a header of the call is not UTF-8\"",
    };
    for (variant = 0; variant < 7; variant++)
        EACH_OF(5, 6, RESTATE_SERVICE, .fn = mistakes) {
            begins(); give();
            SAYS(says[variant]);
            LOG_HAS("the attempt failed with 5");
        }
}

static restate_status misuses_inside(restate_ctx *run, void *arg) {
    restate_future *f = NULL;
    restate_bytes value = text("x");
    uint64_t now = 1;
    size_t index = 3;
    (void)arg;
    switch (variant) {
    case 0: CHECK_INT(restate_now(run, &now), RESTATE_ENDED); CHECK(now == 0); break;
    case 1:
        CHECK_INT(restate_selector_next(run, restate_selector_new(run, NULL, 0), &index),
                  RESTATE_ENDED);
        break;
    case 2: f = restate_settled(run, value, NULL); break;
    case 3: f = restate_cancellation(run); break;
    case 4: CHECK_INT(restate_cancel_calls(run), RESTATE_ENDED); break;
    case 5: f = restate_promise(run, "p"); break;
    case 6:
        CHECK_INT(restate_promise_peek(run, "p", &value), RESTATE_ENDED);
        CHECK(!value.ptr);
        break;
    case 7: CHECK_INT(restate_promise_resolve(run, "p", value), RESTATE_ENDED); break;
    case 8: CHECK_INT(restate_promise_reject(run, "p", NULL), RESTATE_ENDED); break;
    case 9: f = restate_signal(run, "n"); break;
    case 10: CHECK_INT(restate_signal_resolve(run, INV, "n", value), RESTATE_ENDED); break;
    case 11: CHECK_INT(restate_signal_reject(run, INV, "n", NULL), RESTATE_ENDED); break;
    case 12:
        CHECK_INT(restate_attach(run, (restate_invocation){ .id = INV }, &value), RESTATE_ENDED);
        CHECK(!value.ptr);
        break;
    case 13: f = restate_attach_async(run, (restate_invocation){ .id = INV }); break;
    default:
        CHECK_INT(restate_output(run, (restate_invocation){ .id = INV }, &value), RESTATE_ENDED);
        CHECK(!value.ptr);
        break;
    }
    if (f) CHECK_INT(restate_await(run, f, NULL), RESTATE_ENDED);
    return RESTATE_OK;
}

static restate_status runs_misuse(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .inline_ok = *in.ptr == 'i' };
    return restate_run(ctx, "bad", misuses_inside, NULL, &o, NULL);
}

TEST(closures_do_not_journal) {
    for (variant = 0; variant < 15; variant++)
        EACH(RESTATE_WORKFLOW, .fn = runs_misuse,
             .options = { .explicit_cancellation = RESTATE_ON }) {
            start(1); input(variant % 2 ? "inline" : "pool"); give();
            SAYS("Run 1 \"bad\"",
                 "Error 500 index:1 Run \"bad\" message:\"S/h (in a closure): restate_...");
            LOG_HAS("is journaled and cannot be used in a closure");
        }
}

static restate_status names_nothing(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    switch (variant) {
    case 0: restate_signal(ctx, NULL); break;
    case 1: restate_signal(ctx, ""); break;
    case 2: CHECK_INT(restate_signal_resolve(ctx, NULL, "n", absent()), RESTATE_ENDED); break;
    case 3: CHECK_INT(restate_signal_resolve(ctx, INV, "", absent()), RESTATE_ENDED); break;
    case 4: CHECK_INT(restate_signal_reject(ctx, INV, "\xFF", NULL), RESTATE_ENDED); break;
    case 5: restate_promise(ctx, NULL); break;
    case 6: CHECK_INT(restate_promise_peek(ctx, "", NULL), RESTATE_ENDED); break;
    default: CHECK_INT(restate_promise_resolve(ctx, NULL, absent()), RESTATE_ENDED); break;
    }
    return RESTATE_OK;
}

TEST(names_that_are_none) {
    for (variant = 0; variant < 8; variant++)
        EACH(RESTATE_WORKFLOW, .fn = names_nothing) {
            begin_with(1); give();
            SAYS("Error 500 index:0 Input message:\"S/h: restate_...");
            LOG_HAS(variant == 4 ? "is not UTF-8" : "is empty");
        }
}

/* The server takes no text that is not UTF-8, in whichever part of a target it is. */
static restate_status names_no_text(restate_ctx *ctx, restate_bytes in) {
    const char *bad = variant / 3 % 2 ? "a\xED\xA0\x80" : "\xFF";
    restate_invocation to = { .target = { .service = "A", .handler = "h", .key = "k" }, .idempotency_key = "i" };
    restate_bytes value;
    (void)in;
    switch (variant / 6) {
    case 0: to.target.service = bad; break;
    case 1: to.target.handler = bad; break;
    case 2: to.target.key = bad; break;
    case 3: to.idempotency_key = bad; break;
    default: to = (restate_invocation){ .target = { .service = "W", .key = bad } }; break;
    }
    if (variant % 3 == 0) CHECK_INT(restate_attach(ctx, to, &value), RESTATE_ENDED);
    else if (variant % 3 == 1) CHECK_INT(restate_output(ctx, to, &value), RESTATE_ENDED);
    else restate_attach_async(ctx, to);
    return RESTATE_OK;
}

TEST(targets_that_are_no_text) {
    for (variant = 0; variant < 30; variant++)
        EACH(RESTATE_SERVICE, .fn = names_no_text) {
            begin_with(1); give();
            SAYS("Error 500 index:0 Input message:\"S/h: restate_...");
            LOG_HAS("is not UTF-8");
        }
}

static restate_status names_an_empty_key(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_attach_async(ctx, (restate_invocation){ .target = { .service = "A", .handler = "h", .key = "" },
                                                    .idempotency_key = "i" });
    return RESTATE_OK;
}

TEST(an_empty_key_is_a_key) {
    EACH(RESTATE_SERVICE, .fn = names_an_empty_key) {
        begin_with(1); give();
        SAYS("AttachInvocation 1 idempotent:( \"A\" key:\"\" \"h\" \"i\" )", "Output value \"\"", "End");
    }
}

/* ---- Answers of another kind ---------------------------------------------------------------- */

static restate_status asks(restate_ctx *ctx, restate_bytes in) {
    const restate_target to = { .service = "G", .handler = "g" };
    const char *const *keys, *id;
    restate_bytes value;
    (void)in;
    switch (variant) {
    case 0: return restate_keys(ctx, &keys);
    case 1: return restate_get(ctx, "k", &value);
    case 2: return restate_call_id(ctx, restate_call_async(ctx, to, absent(), NULL), &id);
    case 3: return restate_call_id(ctx, restate_send(ctx, to, absent(), NULL), &id);
    case 4: return restate_await(ctx, restate_send(ctx, to, absent(), NULL), &value);
    case 5: return restate_sleep(ctx, 1);
    default: return restate_await(ctx, restate_awakeable(ctx, NULL), &value);
    }
}

/* What a peer sends is looked at before it is used: kinds of results are 0 void, 1 value, 2 failure,
 * 3 id, 4 keys; `right` has those that fit. */
TEST(answers_of_another_kind) {
    static const unsigned types[] = { N_GET_LAZY_KEYS, N_GET_LAZY, N_CALL_ID, N_CALL_ID, N_CALL_ID, N_SLEEP, N_SIGNAL };
    static const char *const right[] = { "4", "012", "3", "3", "3", "012", "012" };
    for (variant = 0; variant < 7; variant++)
        for (int kind = 0; kind < 5; kind++)
            for (int replayed = 0; replayed < 2; replayed++)
                EACH(RESTATE_OBJECT, .fn = asks) {
                    unsigned number = variant == 6 ? 17 : 1;
                    bool fits = strchr(right[variant], '0' + kind) != NULL;
                    start(replayed ? 2 : 1); input("in");
                    if (!replayed) give();
                    if (kind == 0) frame(types[variant], variant == 6 ? "2u 4()" : "1u 4()", number);
                    if (kind == 1) frame(types[variant], variant == 6 ? "2u 5(1s)" : "1u 5(1s)", number, "a text longer than a pointer");
                    if (kind == 2) frame(types[variant], variant == 6 ? "2u 6(1u2s)" : "1u 6(1u2s)", number, 418, "teapot");
                    if (kind == 3) frame(types[variant], variant == 6 ? "2u 16s" : "1u 16s", number, INV_X);
                    if (kind == 4) frame(types[variant], variant == 6 ? "2u 17(1s)" : "1u 17(1s)", number, "k");
                    give();
                    ex_collect();
                    CHECK_INT(ex.x->attempt->vm.phase == RESTATE__ERRORED, !fits);
                    drop_said();
                    if (!fits) LOG_HAS("failed with 571: the answer with number");
                }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(waiting_first_time), T(waiting_replayed), T(waiting_replayed_without_result),
        T(waiting_suspends_on_closed_input), T(waiting_fails), T(replay_differs),
        T(waiting_is_cancelled), T(immediate_first_time_and_replayed), T(too_old_for_it),
        T(who_writes_and_who_promises), T(shared_in_a_workflow),
        T(waiting_where_the_journal_went_on), T(cancellation_is_replayed),
        T(what_a_mismatch_asks_for), T(parameters_of_calls_are_compared),
        T(suspension_cannot_be_swallowed), T(payload_check_switched_off), T(misuse),
        T(future_of_another_invocation), T(mistakes_record_nothing), T(closures_do_not_journal),
        T(names_that_are_none), T(targets_that_are_no_text), T(an_empty_key_is_a_key),
        T(answers_of_another_kind),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
