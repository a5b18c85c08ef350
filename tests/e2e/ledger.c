/* The services of the soak (soak.c). Each operation adds a known amount to accounts, in a way of its own,
 * and replies with the sum of what it has added; accounts keep, for each kind of operation, how often
 * something was added and how much. So what callers were told and what services have stored can be compared.
 *
 * From the environment: PORT (9080); SERVES, one of operations (default), accounts, patched;
 * TLS_CERTIFICATE and TLS_KEY, files; and for patched the numbers of patches: from GONE on, those of
 * which old invocations may be there (up to DONE no invocation is older than the patch), up to VERSION.
 * SIGTERM drains for two seconds.
 *
 * With the argument "call" it is a client instead, of the server whose address is in INGRESS, and does what
 * lines of its input say, until it is done: "send PATH KEY BODY" (KEY: of idempotency, or -), where PATH is
 * /SERVICE/HANDLER or /SERVICE/KEY/HANDLER, and prints the id; or "attach ID", and prints a status and
 * the result. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned from_env(const char *variable, unsigned otherwise) {
    const char *text = getenv(variable);
    return text && *text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* ---- What an operation is asked for ----------------------------------------------------------------- */

enum { ACCOUNTS = 8 };

/* {"op": number, "account": 0.., "amount": 1.., "ms": milliseconds} */
typedef struct order {
    long long op, account, amount, ms;
} order;

static restate_status read_order(restate_ctx *ctx, restate_bytes input, order *o) {
    *o = (order){ 0, 0, 0, 0 };
    RESTATE_TRY(restate_json_int(ctx, input, "op", &o->op));
    RESTATE_TRY(restate_json_int(ctx, input, "account", &o->account));
    RESTATE_TRY(restate_json_int(ctx, input, "amount", &o->amount));
    return restate_json_int(ctx, input, "ms", &o->ms);
}

static restate_target handler(restate_ctx *ctx, const char *service, long long key, const char *name) {
    return (restate_target){ .service = service, .handler = name,
                             .key = key < 0 ? NULL : restate_text(ctx, "%lld", key) };
}

/* The account that is `next` places behind the order's. */
static restate_target account(restate_ctx *ctx, const order *o, int next) {
    return handler(ctx, "Account", (o->account + next) % ACCOUNTS, "add");
}

static restate_bytes entry(restate_ctx *ctx, const char *kind, long long amount) {
    return restate_json(ctx, "{'kind': %s, 'amount': %lld}", kind, amount);
}

static restate_status add(restate_ctx *ctx, const order *o, const char *kind, long long amount) {
    return restate_call(ctx, account(ctx, o, 0), entry(ctx, kind, amount), NULL, NULL);
}

static restate_status reply_number(restate_ctx *ctx, long long n) {
    return restate_reply(ctx, restate_json(ctx, "%lld", n));
}

/* ---- Account: how often, and how much, by kinds of operation ---------------------------------------------- */

/* Adds to a value of the state. */
static restate_status raise_by(restate_ctx *ctx, const char *key, long long amount) {
    restate_bytes stored;
    long long n = 0;
    RESTATE_TRY(restate_get(ctx, key, &stored));
    RESTATE_TRY(restate_json_int(ctx, stored, NULL, &n));
    return restate_set(ctx, key, restate_json(ctx, "%lld", n + amount));
}

static restate_status account_add(restate_ctx *ctx, restate_bytes input) {
    const char *kind = "";
    long long amount = 0;
    RESTATE_TRY(restate_json_string(ctx, input, "kind", &kind));
    RESTATE_TRY(restate_json_int(ctx, input, "amount", &amount));
    RESTATE_TRY(raise_by(ctx, restate_text(ctx, "%s.times", kind), 1));
    RESTATE_TRY(raise_by(ctx, restate_text(ctx, "%s.sum", kind), amount));
    return reply_number(ctx, amount);
}

static restate_status account_refuse(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_fail(ctx, 422, "not from %s", restate_key(ctx));
}

static const restate_service account_service = { .name = "Account", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "add", .fn = account_add },
    { .name = "refuse", .fn = account_refuse, .input = RESTATE_VOID }) };

/* ---- Helpers of operations, served elsewhere ------------------------------------------------------------- */

/* {"op", "amount", "awakeable": id}: completes it with an even amount, rejects it with an odd one. */
static restate_status helper_wake(restate_ctx *ctx, restate_bytes input) {
    const restate_failure odd = { .code = 417, .message = "odd" };
    const char *id = "";
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    RESTATE_TRY(restate_json_string(ctx, input, "awakeable", &id));
    if (o.amount % 2) return restate_reject(ctx, id, &odd);
    return restate_resolve(ctx, id, restate_json(ctx, "%lld", o.amount));
}

enum { SIGNALS = 3 };

/* {"amount", "ms", "invocation": id}: sends a few signals, with a pause before each. */
static restate_status helper_tell(restate_ctx *ctx, restate_bytes input) {
    const char *id = "";
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    RESTATE_TRY(restate_json_string(ctx, input, "invocation", &id));
    for (int i = 0; i < SIGNALS; i++) {
        RESTATE_TRY(restate_sleep(ctx, (uint64_t)o.ms / SIGNALS));
        RESTATE_TRY(restate_signal_resolve(ctx, id, "word", restate_json(ctx, "%lld", o.amount)));
    }
    return RESTATE_OK;
}

/* {"invocation": id} */
static restate_status helper_cancel(restate_ctx *ctx, restate_bytes input) {
    const char *id = "";
    RESTATE_TRY(restate_json_string(ctx, input, "invocation", &id));
    return restate_cancel(ctx, id);
}

/* Waits until it is cancelled, and counts that. */
static restate_status helper_hang(restate_ctx *ctx, restate_bytes input) {
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    restate_status s = restate_sleep(ctx, RESTATE_HOURS(1));
    if (s == RESTATE_OK) return restate_fail(ctx, 500, "nobody has cancelled it");
    if (s != RESTATE_CANCELLED) return s;
    RESTATE_TRY(add(ctx, &o, "cancel", o.amount));
    return restate_fail(ctx, 409, "cancelled");
}

static const restate_service helper_service = { .name = "Helper", .handlers = RESTATE_HANDLERS(
    { .name = "wake", .fn = helper_wake, .output = RESTATE_VOID },
    { .name = "tell", .fn = helper_tell, .output = RESTATE_VOID },
    { .name = "cancel", .fn = helper_cancel, .output = RESTATE_VOID },
    { .name = "hang", .fn = helper_hang }) };

/* ---- Flow: a workflow per operation ----------------------------------------------------------------------- */

static restate_status flow_run(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    long long amount = 0;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    RESTATE_TRY(restate_await(ctx, restate_promise(ctx, "go"), &value));
    RESTATE_TRY(restate_json_int(ctx, value, NULL, &amount));
    RESTATE_TRY(restate_set(ctx, "amount", value));
    RESTATE_TRY(restate_sleep(ctx, (uint64_t)o.ms / 4));
    RESTATE_TRY(add(ctx, &o, "workflow", amount));
    return reply_number(ctx, amount);
}

/* Only the first one counts. */
static restate_status flow_go(restate_ctx *ctx, restate_bytes input) {
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    return restate_promise_resolve(ctx, "go", restate_json(ctx, "%lld", o.amount));
}

static const restate_service flow_service = { .name = "Flow", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
    { .name = "run", .fn = flow_run },
    { .name = "go", .fn = flow_go, .shared = true, .output = RESTATE_VOID }) };

/* ---- Gate: waits for somebody outside ----------------------------------------------------------------------- */

/* The id of its awakeable is in the state until somebody has completed it. */
static restate_status gate_wait(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    long long amount = 0;
    const char *id;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    restate_future *opened = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_set(ctx, "awakeable", restate_json(ctx, "%s", id)));
    RESTATE_TRY(restate_await(ctx, opened, &value));
    RESTATE_TRY(restate_clear(ctx, "awakeable"));
    RESTATE_TRY(restate_json_int(ctx, value, NULL, &amount));
    RESTATE_TRY(add(ctx, &o, "outside", amount * o.amount));
    return reply_number(ctx, amount * o.amount);
}

static const restate_service gate_service = { .name = "Gate", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "wait", .fn = gate_wait }) };

/* ---- Operations ------------------------------------------------------------------------------------------------- */

/* One call alone, then two at the same time. */
static restate_status operate_call(restate_ctx *ctx, restate_bytes input) {
    restate_future *two[2];
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    RESTATE_TRY(add(ctx, &o, "call", o.amount));
    for (int i = 0; i < 2; i++) two[i] = restate_call_async(ctx, account(ctx, &o, 1 + i), entry(ctx, "call", o.amount), NULL);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, two, 2), NULL));
    return reply_number(ctx, 3 * o.amount);
}

static restate_status operate_send(restate_ctx *ctx, restate_bytes input) {
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    for (int i = 0; i < 2; i++) restate_send(ctx, account(ctx, &o, i), entry(ctx, "send", o.amount), NULL);
    return reply_number(ctx, 2 * o.amount);
}

static restate_status operate_delayed(restate_ctx *ctx, restate_bytes input) {
    restate_call_options later = { 0 };
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    for (int i = 0; i < 2; i++) {
        later.delay_ms = (uint64_t)(o.ms * (i + 1));
        restate_send(ctx, account(ctx, &o, i), entry(ctx, "delayed", o.amount), &later);
    }
    return reply_number(ctx, 2 * o.amount);
}

/* The clocks of server and endpoint are the same here. */
static restate_status operate_sleep(restate_ctx *ctx, restate_bytes input) {
    uint64_t before, after;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    RESTATE_TRY(restate_now(ctx, &before));
    RESTATE_TRY(restate_sleep(ctx, (uint64_t)o.ms));
    RESTATE_TRY(restate_now(ctx, &after));
    if (after + 5 < before + (uint64_t)o.ms) return restate_fail(ctx, 500, "it slept for %d ms", (int)(after - before));
    RESTATE_TRY(add(ctx, &o, "sleep", o.amount));
    return reply_number(ctx, o.amount);
}

/* Another number each time it is executed; sometimes it has to be tried again. */
static restate_status draw(restate_ctx *run, void *arg) {
    struct timespec t;
    (void)arg;
    clock_gettime(CLOCK_MONOTONIC, &t);
    long long number = t.tv_nsec / 64 % 1000 + 1;
    if (number % 5 == 0) return restate_retry(run, NULL, "%lld", number);
    return reply_number(run, number);
}

/* What was recorded first is what counts. */
static restate_status operate_run(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options soon = { .retry = { .initial_interval_ms = 5, .factor = 1 } };
    restate_bytes drawn;
    long long sum = 0, number = 0;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    for (int i = 0; i < 3; i++) {
        RESTATE_TRY(restate_run(ctx, "draw", draw, NULL, &soon, &drawn));
        RESTATE_TRY(restate_json_int(ctx, drawn, NULL, &number));
        sum += number;
    }
    RESTATE_TRY(add(ctx, &o, restate_request(ctx)->target.handler, sum));
    return reply_number(ctx, sum);
}

static restate_status operate_awakeable(restate_ctx *ctx, restate_bytes input) {
    restate_call_options later = { 0 };
    restate_bytes value;
    long long amount = 0;
    const char *id;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    restate_future *woken = restate_awakeable(ctx, &id);
    later.delay_ms = (uint64_t)o.ms;
    restate_send(ctx, handler(ctx, "Helper", -1, "wake"),
                 restate_json(ctx, "{'amount': %lld, 'awakeable': %s}", o.amount, id), &later);
    restate_status s = restate_await(ctx, woken, &value);
    if (s == RESTATE_TERMINAL && restate_failed(ctx)->code == 417) amount = o.amount;
    else RESTATE_TRY(s);
    if (s == RESTATE_OK) RESTATE_TRY(restate_json_int(ctx, value, NULL, &amount));
    if ((s == RESTATE_TERMINAL) != (o.amount % 2 == 1)) return restate_fail(ctx, 500, "what came was meant for another");
    RESTATE_TRY(add(ctx, &o, "awakeable", amount));
    return reply_number(ctx, amount);
}

/* Two give the word to a workflow, and both wait for what it says. */
static restate_status operate_promise(restate_ctx *ctx, restate_bytes input) {
    restate_call_options later = { 0 };
    restate_bytes value;
    long long amount = 0;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    later.delay_ms = (uint64_t)o.ms;
    restate_send(ctx, handler(ctx, "Flow", o.op, "run"), input, NULL);
    for (int i = 0; i < 2; i++) restate_send(ctx, handler(ctx, "Flow", o.op, "go"), input, &later);
    const restate_invocation flow = { .target = handler(ctx, "Flow", o.op, NULL) };
    RESTATE_TRY(restate_attach(ctx, flow, &value));
    RESTATE_TRY(restate_json_int(ctx, value, NULL, &amount));
    RESTATE_TRY(add(ctx, &o, "promise", amount));
    return reply_number(ctx, amount);
}

static restate_status operate_signal(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    long long sum = 0, amount = 0;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    restate_send(ctx, handler(ctx, "Helper", -1, "tell"),
                 restate_json(ctx, "{'amount': %lld, 'ms': %lld, 'invocation': %s}", o.amount, o.ms,
                              restate_request(ctx)->invocation_id), NULL);
    for (int i = 0; i < SIGNALS; i++) {
        RESTATE_TRY(restate_await(ctx, restate_signal(ctx, "word"), &value));
        RESTATE_TRY(restate_json_int(ctx, value, NULL, &amount));
        sum += amount;
    }
    RESTATE_TRY(add(ctx, &o, "signal", sum));
    return reply_number(ctx, sum);
}

/* It has itself cancelled, while it waits for a call, which is cancelled with it. Everybody counts. */
static restate_status operate_cancel(restate_ctx *ctx, restate_bytes input) {
    restate_call_options later = { 0 };
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    RESTATE_TRY(add(ctx, &o, "cancel", o.amount));
    later.delay_ms = (uint64_t)o.ms;
    restate_send(ctx, handler(ctx, "Helper", -1, "cancel"),
                 restate_json(ctx, "{'invocation': %s}", restate_request(ctx)->invocation_id), &later);
    restate_status s = restate_call(ctx, handler(ctx, "Helper", -1, "hang"), input, NULL, NULL);
    if (s == RESTATE_OK) return restate_fail(ctx, 500, "nobody has cancelled it");
    if (s != RESTATE_CANCELLED) return s;
    RESTATE_TRY(add(ctx, &o, "cancel", o.amount));
    return reply_number(ctx, 3 * o.amount);
}

/* A failure that comes to the caller, who makes up for it and passes it on. */
static restate_status operate_fail(restate_ctx *ctx, restate_bytes input) {
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    restate_status s = restate_call(ctx, handler(ctx, "Account", o.account, "refuse"), (restate_bytes){ 0 }, NULL, NULL);
    if (s == RESTATE_OK) return restate_fail(ctx, 500, "it was not refused");
    if (s != RESTATE_TERMINAL || restate_failed(ctx)->code != 422) return s;
    RESTATE_TRY(add(ctx, &o, "fail", o.amount));
    return restate_fail(ctx, 418, "%lld", o.amount);
}

/* Timers, steps, calls and an awakeable at the same time, taken as they come. */
static restate_status operate_futures(restate_ctx *ctx, restate_bytes input) {
    restate_future *all[8];
    const char *id;
    size_t which;
    long long calls = 0;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    for (int i = 0; i < 7; i++) {
        if (i % 3 == 0) all[i] = restate_call_async(ctx, account(ctx, &o, i), entry(ctx, "futures", o.amount), NULL);
        else if (i % 3 == 1) all[i] = restate_run_async(ctx, "draw", draw, NULL, NULL);
        else all[i] = restate_sleep_async(ctx, (uint64_t)(o.ms * i / 8), NULL);
    }
    all[7] = restate_awakeable(ctx, &id);
    restate_selector *left = restate_selector_new(ctx, all, 8);
    while (restate_selector_remaining(left) > 0) {
        RESTATE_TRY(restate_selector_next(ctx, left, &which));
        RESTATE_TRY(restate_await(ctx, all[which], NULL));
        if (which % 3 == 0) calls++;
        if (calls == 1 && which % 3 == 0) RESTATE_TRY(restate_resolve(ctx, id, restate_str("1")));
    }
    return reply_number(ctx, calls * o.amount);
}

/* Two sends with one idempotency key are one. */
static restate_status operate_attach(restate_ctx *ctx, restate_bytes input) {
    restate_call_options named = { 0 };
    restate_invocation sent = { 0 };
    restate_bytes value;
    long long amount = 0;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    named.idempotency_key = sent.idempotency_key = restate_text(ctx, "attach-%lld", o.op);
    sent.target = account(ctx, &o, 0);
    for (int i = 0; i < 2; i++) restate_send(ctx, sent.target, entry(ctx, "attach", o.amount), &named);
    RESTATE_TRY(restate_attach(ctx, sent, &value));
    RESTATE_TRY(restate_json_int(ctx, value, NULL, &amount));
    return reply_number(ctx, amount);
}

static const restate_service operate_service = { .name = "Operate", .handlers = RESTATE_HANDLERS(
    { .name = "call", .fn = operate_call },
    { .name = "send", .fn = operate_send },
    { .name = "delayed", .fn = operate_delayed },
    { .name = "sleep", .fn = operate_sleep },
    { .name = "run", .fn = operate_run },
    { .name = "blocking", .fn = operate_run, .options = { .blocking = RESTATE_ON } },
    { .name = "awakeable", .fn = operate_awakeable },
    { .name = "promise", .fn = operate_promise },
    { .name = "signal", .fn = operate_signal },
    { .name = "cancel", .fn = operate_cancel },
    { .name = "fail", .fn = operate_fail },
    { .name = "futures", .fn = operate_futures },
    { .name = "attach", .fn = operate_attach }) };

/* ---- Patched: code that is changed in place --------------------------------------------------------------- */

static bool patch(restate_ctx *ctx, unsigned number) {
    const char *name = restate_text(ctx, "patch-%u", number);
    if (number > from_env("DONE", 0)) return restate_patched(ctx, name);
    restate_patch_done(ctx, name);
    return true;
}

/* Each patch adds 1. */
static restate_status patched_run(restate_ctx *ctx, restate_bytes input) {
    long long sum = 0;
    order o;
    RESTATE_TRY(read_order(ctx, input, &o));
    for (unsigned i = from_env("GONE", 0) + 1; i <= from_env("VERSION", 0); i++)
        if (patch(ctx, i)) {
            RESTATE_TRY(restate_sleep(ctx, (uint64_t)o.ms / 4));
            RESTATE_TRY(add(ctx, &o, "patched", 1));
            sum++;
        }
    RESTATE_TRY(restate_sleep(ctx, (uint64_t)o.ms));
    RESTATE_TRY(add(ctx, &o, "patched", 0));
    return reply_number(ctx, sum);
}

static const restate_service patched_service = { .name = "Patched", .handlers = RESTATE_HANDLERS(
    { .name = "run", .fn = patched_run }) };

/* ---- The client --------------------------------------------------------------------------------------------- */

/* Cuts the path to pieces. */
static restate_target target_of(char *path) {
    restate_target to = { .service = path + 1 };
    char *slash = strchr(path + 1, '/'), *last = strrchr(path, '/');
    if (!slash) return to;
    *slash = *last = 0;
    if (last != slash) to.key = slash + 1;
    to.handler = last + 1;
    return to;
}

static restate_status send_line(restate_ctx *ctx, char *path, const char *key, const char *body) {
    restate_call_options named = { 0 };
    const char *id;
    if (strcmp(key, "-") != 0) named.idempotency_key = key;
    restate_future *sent = restate_send(ctx, target_of(path), restate_str(body), &named);
    RESTATE_TRY(restate_call_id(ctx, sent, &id));
    printf("%s\n", id);
    return RESTATE_OK;
}

static restate_status attach_line(restate_ctx *ctx, const char *id) {
    restate_bytes result;
    restate_status s = restate_attach(ctx, (restate_invocation){ .id = id }, &result);
    if (s == RESTATE_OK) printf("200 %.*s\n", RESTATE_ARG(result));
    else if (s == RESTATE_TERMINAL) printf("%u %.200s\n", restate_failed(ctx)->code, restate_failed(ctx)->message);
    else return s;
    return RESTATE_OK;
}

/* False: the server is to be asked again. */
static bool obey(restate_client *client, const char *line) {
    char word[8] = "", path[128] = "", key[128] = "", body[512] = "";
    restate_ctx *ctx = restate_client_begin(client);
    int n = sscanf(line, "%7s %127s %127s %511[^\n]", word, path, key, body);
    restate_status s = n == 2 ? attach_line(ctx, path) : send_line(ctx, path, key, body);
    if (s != RESTATE_OK) fprintf(stderr, "%.60s: %d, %u %s\n", line, (int)s, restate_failed(ctx)->code, restate_failed(ctx)->message);
    restate_client_end(ctx);
    return s == RESTATE_OK;
}

static int obey_lines(void) {
    char line[1024];
    restate_client *client = restate_client_new(&(restate_client_options){ .ingress = getenv("INGRESS"), .timeout_ms = RESTATE_SECONDS(10),
        .retry = { .initial_interval_ms = 50, .max_interval_ms = 500 } });
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin))
        while (!obey(client, line)) nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
    restate_client_free(client);
    return 0;
}

/* ---- The program ---------------------------------------------------------------------------------------------- */

static const restate_service *const operations[] = { &operate_service, NULL };
static const restate_service *const accounts[] = { &account_service, &helper_service, &flow_service, &gate_service, NULL };
static const restate_service *const patched[] = { &patched_service, NULL };

int main(int argc, char **argv) {
    const char *serves = getenv("SERVES"), *tls = getenv("TLS_CERTIFICATE");
    restate_endpoint_options options = { .address = "127.0.0.1", .port = (uint16_t)from_env("PORT", 9080), .threads = 2,
                                         .drain_ms = 2000, .stop_on_signals = RESTATE_ON };
    if (argc > 1 && strcmp(argv[1], "call") == 0) return obey_lines();
    options.services = operations;
    if (serves && strcmp(serves, "accounts") == 0) options.services = accounts;
    if (serves && strcmp(serves, "patched") == 0) options.services = patched;
    if (tls && *tls) {
        options.certificate_file = tls;
        options.key_file = getenv("TLS_KEY");
    }
    return restate_serve(&options);
}
