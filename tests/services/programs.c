/* ObjectInterpreterL0 to L2 execute programs, which may have them call one another, layer by layer;
 * ServiceInterpreterHelper is what their commands call. */
#include "services.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Who calls whom -------------------------------------------------------------------------- */

static restate_target helper(const char *handler) {
    return (restate_target){ .service = "ServiceInterpreterHelper", .handler = handler };
}

static restate_target interpreter(restate_ctx *ctx, long long layer, const char *key) {
    return (restate_target){ .service = restate_text(ctx, "ObjectInterpreterL%lld", layer),
                             .handler = "interpret", .key = key };
}

/* The layer of this object. */
static int layer_of(restate_ctx *ctx) {
    const int *layer = restate_request(ctx)->user;
    return *layer;
}

/* What the helper needs to know to call this object back. */
static restate_bytes me(restate_ctx *ctx) {
    return restate_json(ctx, "{'layer': %d, 'key': %s}", layer_of(ctx), restate_key(ctx));
}

/* ---- What a program has started, and not yet awaited ----------------------------------------- */

typedef struct pending {
    restate_future *future;                 /* NULL: nothing */
    const char *text;                       /* the value to be expected; NULL: any */
    bool fails;                             /* a terminal failure is to be expected */
} pending;

typedef struct program {
    pending *kept;                          /* for each command */
    size_t count, at;                       /* commands, and the one that executes */
} program;

static void keep(program *p, restate_future *future, const char *text) {
    p->kept[p->at] = (pending){ future, text, false };
}

static void keep_failing(program *p, restate_future *future) {
    p->kept[p->at] = (pending){ future, NULL, true };
}

static const char *hello(restate_ctx *ctx, const program *p) {
    return restate_text(ctx, "hello-%zu", p->at);
}

static restate_status expect_text(restate_ctx *ctx, restate_bytes value, const char *expected) {
    const char *text = "";
    RESTATE_TRY(restate_json_string(ctx, value, NULL, &text));
    if (strcmp(text, expected) == 0) return RESTATE_OK;
    return restate_fail(ctx, 500, "expected %s, got %s", expected, text);
}

/* `s` is how it went. */
static restate_status expect_failure(restate_ctx *ctx, restate_status s) {
    if (s == RESTATE_TERMINAL) return RESTATE_OK;
    if (s == RESTATE_OK) return restate_fail(ctx, 500, "expected a failure");
    return s;
}

static restate_status await_pending(restate_ctx *ctx, pending what) {
    restate_bytes value;
    restate_status s = restate_await(ctx, what.future, &value);
    if (what.fails) return expect_failure(ctx, s);
    RESTATE_TRY(s);
    return what.text ? expect_text(ctx, value, what.text) : RESTATE_OK;
}

/* ---- Commands: state and time ---------------------------------------------------------------- */

static const char *state_key(restate_ctx *ctx, long long key) {
    return restate_text(ctx, "key-%lld", key);
}

static restate_status set_state(restate_ctx *ctx, program *p, restate_bytes command) {
    long long key = 0;
    (void)p;
    RESTATE_TRY(restate_json_int(ctx, command, "key", &key));
    return restate_set(ctx, state_key(ctx, key), restate_json(ctx, "'value-%lld'", key));
}

static restate_status get_state(restate_ctx *ctx, program *p, restate_bytes command) {
    long long key = 0;
    (void)p;
    RESTATE_TRY(restate_json_int(ctx, command, "key", &key));
    return restate_get(ctx, state_key(ctx, key), NULL);
}

static restate_status clear_state(restate_ctx *ctx, program *p, restate_bytes command) {
    long long key = 0;
    (void)p;
    RESTATE_TRY(restate_json_int(ctx, command, "key", &key));
    return restate_clear(ctx, state_key(ctx, key));
}

static restate_status increment(restate_ctx *ctx, program *p, restate_bytes command) {
    long long before, after;
    (void)p;
    (void)command;
    return add_int(ctx, "counter", 1, &before, &after);
}

static restate_status increment_indirectly(restate_ctx *ctx, program *p, restate_bytes command) {
    (void)p;
    (void)command;
    restate_send(ctx, helper("incrementIndirectly"), me(ctx), NULL);
    return RESTATE_OK;
}

static restate_status increment_later(restate_ctx *ctx, program *p, restate_bytes command) {
    restate_call_options later = {0};
    (void)p;
    RESTATE_TRY(read_ms(ctx, command, "duration", &later.delay_ms));
    restate_send(ctx, helper("incrementIndirectly"), me(ctx), &later);
    return RESTATE_OK;
}

static restate_status sleep_for(restate_ctx *ctx, program *p, restate_bytes command) {
    uint64_t ms;
    (void)p;
    RESTATE_TRY(read_ms(ctx, command, "duration", &ms));
    return restate_sleep(ctx, ms);
}

/* ---- Commands: runs -------------------------------------------------------------------------- */

static restate_status reply_text(restate_ctx *run, void *arg) {
    const char *const *text = arg;
    return restate_reply(run, restate_json(run, "%s", *text));
}

static restate_status run_step(restate_ctx *ctx, program *p, restate_bytes command) {
    const char *text = hello(ctx, p);
    restate_bytes result;
    (void)command;
    RESTATE_TRY(restate_run(ctx, "side effect", reply_text, &text, NULL, &result));
    return expect_text(ctx, result, text);
}

/* A closure is free to be random: its result is recorded. */
static restate_status fail_maybe(restate_ctx *run, void *arg) {
    struct timespec now;
    unsigned seed;
    (void)arg;
    clock_gettime(CLOCK_REALTIME, &now);
    seed = (unsigned)now.tv_nsec;
    if (rand_r(&seed) % 2 == 0) return restate_retry(run, NULL, "not this time");
    return RESTATE_OK;
}

static restate_status run_failing_step(restate_ctx *ctx, program *p, restate_bytes command) {
    (void)p;
    (void)command;
    return restate_run(ctx, "throwing side effect", fail_maybe, NULL, NULL, NULL);
}

static restate_status take_long(restate_ctx *run, void *arg) {
    (void)run;
    (void)arg;
    take_a_moment();
    return RESTATE_OK;
}

static restate_status run_slow_step(restate_ctx *ctx, program *p, restate_bytes command) {
    (void)p;
    (void)command;
    return restate_run(ctx, "slow side effect", take_long, NULL, NULL, NULL);
}

/* ---- Commands: calls ------------------------------------------------------------------------- */

static restate_status call_service(restate_ctx *ctx, program *p, restate_bytes command) {
    const char *text = hello(ctx, p);
    (void)command;
    keep(p, restate_call_async(ctx, helper("echo"), restate_json(ctx, "%s", text), NULL), text);
    return RESTATE_OK;
}

static restate_status call_slow_service(restate_ctx *ctx, program *p, restate_bytes command) {
    const char *text = hello(ctx, p);
    restate_bytes input;
    uint64_t ms;
    RESTATE_TRY(read_ms(ctx, command, "sleep", &ms));
    input = restate_json(ctx, "{'sleep': %lld, 'parameter': %s}", (long long)ms, text);
    keep(p, restate_call_async(ctx, helper("echoLater"), input, NULL), text);
    return RESTATE_OK;
}

static restate_status call_failing_service(restate_ctx *ctx, program *p, restate_bytes command) {
    restate_status s = restate_call(ctx, helper("terminalFailure"), (restate_bytes){0}, NULL, NULL);
    (void)p;
    (void)command;
    return expect_failure(ctx, s);
}

static restate_status call_failing_service_async(restate_ctx *ctx, program *p,
                                                 restate_bytes command) {
    (void)command;
    keep_failing(p, restate_call_async(ctx, helper("terminalFailure"), (restate_bytes){0}, NULL));
    return RESTATE_OK;
}

static restate_status call_object(restate_ctx *ctx, program *p, restate_bytes command) {
    restate_target next;
    restate_bytes program_of_next;
    long long key = 0;
    RESTATE_TRY(restate_json_int(ctx, command, "key", &key));
    RESTATE_TRY(restate_json_member(ctx, command, "program", &program_of_next));
    next = interpreter(ctx, layer_of(ctx) + 1, restate_text(ctx, "%lld", key));
    keep(p, restate_call_async(ctx, next, program_of_next, NULL), NULL);
    return RESTATE_OK;
}

static restate_status await_kept(restate_ctx *ctx, program *p, restate_bytes command) {
    long long index = -1;
    pending what = {0};
    RESTATE_TRY(restate_json_int(ctx, command, "index", &index));
    if (index >= 0 && (unsigned long long)index < p->count) {
        what = p->kept[index];
        p->kept[index].future = NULL;
    }
    if (what.future) return await_pending(ctx, what);
    return restate_fail(ctx, 500, "ObjectInterpreterL%d: can not find a promise for the id %lld.",
                        layer_of(ctx), index);
}

/* ---- Commands: awakeables -------------------------------------------------------------------- */

static restate_status have_awakeable_resolved(restate_ctx *ctx, program *p, restate_bytes command) {
    const char *id;
    (void)command;
    keep(p, restate_awakeable(ctx, &id), "ok");
    restate_send(ctx, helper("resolveAwakeable"), restate_json(ctx, "%s", id), NULL);
    return RESTATE_OK;
}

static restate_status have_awakeable_rejected(restate_ctx *ctx, program *p, restate_bytes command) {
    const char *id;
    (void)command;
    keep_failing(p, restate_awakeable(ctx, &id));
    restate_send(ctx, helper("rejectAwakeable"), restate_json(ctx, "%s", id), NULL);
    return RESTATE_OK;
}

/* The helper completes this awakeable with the id of one of its own, and goes on when that is
 * completed. */
static restate_status increment_by_awakeables(restate_ctx *ctx, program *p, restate_bytes command) {
    const char *id, *answer = "";
    restate_future *answered = restate_awakeable(ctx, &id);
    restate_bytes value;
    (void)p;
    (void)command;
    restate_send(ctx, helper("incrementViaAwakeableDance"),
        restate_json(ctx, "{'interpreter': {'layer': %d, 'key': %s}, 'txPromiseId': %s}",
                     layer_of(ctx), restate_key(ctx), id), NULL);
    RESTATE_TRY(restate_await(ctx, answered, &value));
    RESTATE_TRY(restate_json_string(ctx, value, NULL, &answer));
    return restate_resolve(ctx, answer, restate_json(ctx, "'ok'"));
}

/* ---- ObjectInterpreterL0 to L2 --------------------------------------------------------------- */

typedef restate_status command_fn(restate_ctx *ctx, program *p, restate_bytes command);

static command_fn *const commands[] = {
    [1] = set_state,
    [2] = get_state,
    [3] = clear_state,
    [4] = increment,
    [5] = increment_indirectly,
    [6] = sleep_for,
    [7] = call_service,
    [8] = call_slow_service,
    [9] = increment_later,
    [10] = run_step,
    [11] = run_failing_step,
    [12] = run_slow_step,
    [13] = call_failing_service,
    [14] = call_failing_service_async,
    [15] = await_kept,
    [16] = have_awakeable_resolved,
    [17] = have_awakeable_rejected,
    [18] = increment_by_awakeables,
    [19] = call_object };

static restate_status execute(restate_ctx *ctx, program *p, restate_bytes command) {
    const long long kinds = (long long)(sizeof commands / sizeof *commands);
    long long kind = 0;
    RESTATE_TRY(restate_json_int(ctx, command, "kind", &kind));
    if (kind < 1 || kind >= kinds) return restate_fail(ctx, 500, "unknown command %lld", kind);
    return commands[kind](ctx, p, command);
}

static restate_status interpret(restate_ctx *ctx, restate_bytes input) {
    program p = {0};
    restate_bytes list, e = {0};
    RESTATE_TRY(restate_json_member(ctx, input, "commands", &list));
    while (restate_json_next(ctx, list, &e)) p.count++;
    p.kept = restate_alloc(ctx, (p.count + 1) * sizeof *p.kept);
    if (!p.kept) return RESTATE_ENDED;
    for (; restate_json_next(ctx, list, &e); p.at++) RESTATE_TRY(execute(ctx, &p, e));
    return RESTATE_OK;
}

static restate_status get_counter(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return reply_state(ctx, "counter", "0");
}

/* ---- ServiceInterpreterHelper ---------------------------------------------------------------- */

static restate_status helper_ping(restate_ctx *ctx, restate_bytes input) {
    (void)ctx;
    (void)input;
    return RESTATE_OK;
}

static restate_status helper_echo(restate_ctx *ctx, restate_bytes input) {
    return restate_reply(ctx, input);
}

static restate_status helper_echo_later(restate_ctx *ctx, restate_bytes input) {
    restate_bytes parameter;
    uint64_t ms;
    RESTATE_TRY(read_ms(ctx, input, "sleep", &ms));
    RESTATE_TRY(restate_json_member(ctx, input, "parameter", &parameter));
    RESTATE_TRY(restate_sleep(ctx, ms));
    return restate_reply(ctx, parameter);
}

static restate_status helper_terminal_failure(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_fail(ctx, 500, "bye");
}

/* Has the interpreter that {"layer", "key"} names add 1 to its counter. */
static restate_status helper_increment(restate_ctx *ctx, restate_bytes input) {
    long long layer = 0;
    const char *key = "";
    RESTATE_TRY(restate_json_int(ctx, input, "layer", &layer));
    RESTATE_TRY(restate_json_string(ctx, input, "key", &key));
    restate_send(ctx, interpreter(ctx, layer, key),
                 restate_json(ctx, "{'commands': [{'kind': 4}]}"), NULL);
    return RESTATE_OK;
}

static restate_status helper_resolve(restate_ctx *ctx, restate_bytes input) {
    const char *id = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &id));
    return restate_resolve(ctx, id, restate_json(ctx, "'ok'"));
}

static restate_status helper_reject(restate_ctx *ctx, restate_bytes input) {
    const restate_failure error = { .message = "error" };
    const char *id = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &id));
    return restate_reject(ctx, id, &error);
}

static restate_status helper_dance(restate_ctx *ctx, restate_bytes input) {
    const char *id, *partner = "";
    restate_future *answered = restate_awakeable(ctx, &id);
    restate_bytes whom;
    RESTATE_TRY(restate_json_string(ctx, input, "txPromiseId", &partner));
    RESTATE_TRY(restate_json_member(ctx, input, "interpreter", &whom));
    RESTATE_TRY(restate_resolve(ctx, partner, restate_json(ctx, "%s", id)));
    RESTATE_TRY(restate_await(ctx, answered, NULL));
    return helper_increment(ctx, whom);
}

/* The handlers are the same, and find their layer in the options of the service. */
#define OBJECT_INTERPRETER(n) \
    { .name = "ObjectInterpreterL" #n, .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS( \
        { .name = "counter", .fn = get_counter, .shared = true, .input = RESTATE_VOID }, \
        { .name = "interpret", .fn = interpret, .output = RESTATE_VOID }), \
      .options = { .user = &layers[n] } }

static int layers[] = { 0, 1, 2 };

const restate_service object_interpreters[3] = {
    OBJECT_INTERPRETER(0), OBJECT_INTERPRETER(1), OBJECT_INTERPRETER(2) };

const restate_service interpreter_helper = {
    .name = "ServiceInterpreterHelper", .handlers = RESTATE_HANDLERS(
        { .name = "ping", .fn = helper_ping, .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "echo", .fn = helper_echo },
        { .name = "echoLater", .fn = helper_echo_later },
        { .name = "terminalFailure", .fn = helper_terminal_failure,
          .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "incrementIndirectly", .fn = helper_increment, .output = RESTATE_VOID },
        { .name = "resolveAwakeable", .fn = helper_resolve, .output = RESTATE_VOID },
        { .name = "rejectAwakeable", .fn = helper_reject, .output = RESTATE_VOID },
        { .name = "incrementViaAwakeableDance", .fn = helper_dance, .output = RESTATE_VOID }) };
