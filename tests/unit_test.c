/* The runtime for tests, as a test uses it: what the server in memory does with invocations. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_WITH_TEST
#include "restate.h"
#include "test.h"
#include "support/allocator.c"
#include "support/test.c"

/* ---- Services --------------------------------------------------------------------------------- */

static restate_status add(restate_ctx *ctx, restate_bytes input) {
    long long n = 0, more = 0;
    restate_bytes v;
    RESTATE_TRY(restate_get(ctx, "n", &v));
    RESTATE_TRY(restate_json_int(ctx, v, NULL, &n));
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &more));
    RESTATE_TRY(restate_sleep(ctx, 1000));
    RESTATE_TRY(restate_set(ctx, "n", restate_json(ctx, "%lld", n + more)));
    return restate_reply(ctx, restate_json(ctx, "%lld", n + more));
}

static restate_status get(restate_ctx *ctx, restate_bytes input) {
    restate_bytes v;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "n", &v));
    return restate_reply(ctx, v);
}

static restate_status keys(restate_ctx *ctx, restate_bytes input) {
    const char *const *all;
    const char *text = "";
    (void)input;
    RESTATE_TRY(restate_set(ctx, "b", restate_str("2")));
    RESTATE_TRY(restate_set(ctx, "a", restate_str("1")));
    RESTATE_TRY(restate_set(ctx, "c", restate_str("3")));
    RESTATE_TRY(restate_clear(ctx, "b"));
    RESTATE_TRY(restate_sleep(ctx, 1));
    RESTATE_TRY(restate_keys(ctx, &all));
    for (; *all; all++) text = restate_text(ctx, "%s%s,", text, *all);
    return restate_reply(ctx, restate_str(text));
}

static restate_status reset(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_clear_all(ctx);
}

static const restate_service counter = { "Counter", RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(add) },
    { RESTATE_HANDLER(get), .shared = true, .input = RESTATE_VOID },
    { RESTATE_HANDLER(keys), .input = RESTATE_VOID },
    { RESTATE_HANDLER(reset), .input = RESTATE_VOID }) };

/* Answers with the JSON string of what it got. */
static restate_status echo(restate_ctx *ctx, restate_bytes input) {
    return restate_reply(ctx, input);
}

static restate_status fails(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    const restate_pair *red = RESTATE_PAIRS({ "colour", "red" });
    bool old = restate_request(ctx)->protocol_version < 6;
    return restate_fail_with(ctx, &(restate_failure){ 418, "teapot", old ? NULL : red });
}

static restate_status naps(restate_ctx *ctx, restate_bytes input) {
    long long ms = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &ms));
    return restate_sleep(ctx, (uint64_t)ms);
}

/* Waits for an awakeable of which it tells the id. */
static restate_status asks(restate_ctx *ctx, restate_bytes input) {
    const char *id;
    restate_bytes answer;
    restate_target box = { .service = "Box", .handler = "put", .key = "b" };
    restate_future *f = restate_awakeable(ctx, &id);
    (void)input;
    RESTATE_TRY(restate_call(ctx, box, restate_json(ctx, "%s", id), NULL, NULL));
    RESTATE_TRY(restate_await(ctx, f, &answer));
    return restate_reply(ctx, answer);
}

static restate_status hears(restate_ctx *ctx, restate_bytes input) {
    restate_bytes a, b;
    (void)input;
    RESTATE_TRY(restate_await(ctx, restate_signal(ctx, "one"), &a));
    RESTATE_TRY(restate_await(ctx, restate_signal(ctx, "two"), &b));
    return restate_reply(ctx, restate_json(ctx, "[%-.*s,%-.*s]", (int)a.len, (const char *)a.ptr,
                                           (int)b.len, (const char *)b.ptr));
}

/* Calls a handler that sleeps; when cancelled, says so. */
static restate_status parent(restate_ctx *ctx, restate_bytes input) {
    restate_target to = { .service = "Plain", .handler = "naps" };
    const char *id;
    restate_target box = { .service = "Box", .handler = "put", .key = "child" };
    restate_future *call = restate_call_async(ctx, to, restate_str("1000000000"), NULL);
    (void)input;
    RESTATE_TRY(restate_call_id(ctx, call, &id));
    RESTATE_TRY(restate_call(ctx, box, restate_json(ctx, "%s", id), NULL, NULL));
    restate_status s = restate_await(ctx, call, NULL);
    if (s == RESTATE_CANCELLED) return restate_reply(ctx, restate_str("\"undone\""));
    return s;
}

static int executed;
static restate_status counts(restate_ctx *run, void *arg) {
    (void)arg;
    executed++;
    return restate_reply(run, restate_json(run, "%d", executed));
}

static restate_status one_run(restate_ctx *ctx, restate_bytes input) {
    restate_bytes v;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "counts", counts, NULL, NULL, &v));
    return restate_reply(ctx, v);
}

/* Which of three closures that execute together is stored first. */
static restate_status races(restate_ctx *ctx, restate_bytes input) {
    restate_future *f[3];
    size_t first;
    (void)input;
    for (int i = 0; i < 3; i++) f[i] = restate_run_async(ctx, "counts", counts, NULL, NULL);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, f, 3), NULL));
    RESTATE_TRY(restate_select(ctx, f, 3, &first));
    return restate_reply(ctx, restate_json(ctx, "%d", (int)first));
}

static restate_ctx *outside;                /* the test's */
static restate_status reaches_out(restate_ctx *run_, void *arg) {
    (void)arg;
    restate_status s = restate_sleep(outside, 1);
    return restate_reply(run_, restate_json(run_, "%s", s == RESTATE_ERROR
        ? restate_failed(outside)->message : "slept"));
}

static restate_status inside(restate_ctx *ctx, restate_bytes input) {
    restate_bytes v;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "reaches_out", reaches_out, NULL, NULL, &v));
    return restate_reply(ctx, v);
}

static restate_status bad(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    executed++;
    return restate_retry(ctx, NULL, "broken");
}

static restate_status calls_nobody(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_call(ctx, (restate_target){ .service = "Nobody", .handler = "x" }, input, NULL,
                        NULL);
}

#ifdef RESTATE_NO_THREADS
#define BLOCKING RESTATE_DEFAULT            /* it cannot be asked for */
#else
#define BLOCKING RESTATE_ON
#endif

/* Uses what only contexts of clients have. */
static void client_only_then(void *user, restate_ctx *of, restate_future *f) {
    (void)user, (void)of, (void)f;
}

static restate_status client_only(restate_ctx *of, void *arg) {
    const char *what = arg;
    restate_bytes v;
    if (strcmp(what, "request") == 0)
        return restate_await(of, restate_client_request(of, "GET", "/", (restate_bytes){ NULL, 0 }),
                             NULL);
    if (strcmp(what, "journal") == 0)
        return restate_client_journal(of, (restate_invocation){ .id = NULL }, &v);
    if (strcmp(what, "answer") == 0) CHECK_STR(restate_client_answer(of, NULL)->invocation_id, "");
    if (strcmp(what, "at") == 0) restate_client_at(of, (restate_target){ .service = "Counter" });
    if (strcmp(what, "then") == 0) return restate_client_then(of, NULL, client_only_then, NULL);
    if (strcmp(what, "end") == 0) restate_client_end(of);
    if (strcmp(what, "text") == 0) CHECK_STR(restate_test_text(of), "");
    return restate_reply(of, restate_str("\"went on\""));
}

/* Input: in which context, and what. */
static restate_status strays(restate_ctx *ctx, restate_bytes input) {
    char what[16] = "";
    restate_bytes v;
    memcpy(what, input.ptr + 1, input.len - 1);
    if (input.ptr[0] == 'h') return client_only(ctx, what);
    RESTATE_TRY(restate_run(ctx, "stray", client_only, what, NULL, &v));
    return restate_reply(ctx, v);
}

static restate_status patches(restate_ctx *ctx, restate_bytes input) {
    const char *id;
    (void)input;
    RESTATE_TRY(restate_sleep(ctx, 5));
    if (restate_patched(ctx, "counted"))
        RESTATE_TRY(restate_run(ctx, "counts", counts, NULL, NULL, NULL));
    if (restate_patched(ctx, "counted") && restate_patched(ctx, "asked"))
        RESTATE_TRY(restate_await(ctx, restate_awakeable(ctx, &id), NULL));
    return RESTATE_OK;
}

static const restate_codec with_schema = { .content_type = "application/json", .kind = RESTATE_CODEC_JSON,
                                           .json_schema = "{}" };

static const restate_service plain = { .name = "Plain", .handlers = RESTATE_HANDLERS(
    { "described", echo, .input = &with_schema },
    { RESTATE_HANDLER(echo), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(fails), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(naps) },
    { RESTATE_HANDLER(asks), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(hears), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(parent), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(one_run), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(calls_nobody), .input = RESTATE_BYTES },
    { "secret", echo, .input = RESTATE_BYTES, .options.ingress_private = RESTATE_ON },
    { "blocks", one_run, .input = RESTATE_BYTES, .options.blocking = BLOCKING },
    { RESTATE_HANDLER(bad), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(races), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(inside), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(patches), .input = RESTATE_BYTES },
    { RESTATE_HANDLER(strays), .input = RESTATE_BYTES,
      .options.retry = { .max_attempts = 1, .when_exhausted = RESTATE_EXHAUSTED_FAIL } },
    { "worse", bad, .input = RESTATE_BYTES,
      .options.retry = { .initial_interval_ms = 100, .max_interval_ms = 300, .max_attempts = 4,
                         .when_exhausted = RESTATE_EXHAUSTED_FAIL } }) };

static restate_status put(restate_ctx *ctx, restate_bytes input) {
    return restate_set(ctx, "it", input);
}

static const restate_service box = { "Box", RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(put) }) };

static restate_status run(restate_ctx *ctx, restate_bytes input) {
    restate_bytes v;
    RESTATE_TRY(restate_set(ctx, "n", input));
    RESTATE_TRY(restate_await(ctx, restate_promise(ctx, "go"), &v));
    return restate_reply(ctx, v);
}

static restate_status release(restate_ctx *ctx, restate_bytes input) {
    return restate_promise_resolve(ctx, "go", input);
}

static const restate_service flow = { "Flow", RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(run) },
    { RESTATE_HANDLER(release), .shared = true },
    { RESTATE_HANDLER(get), .shared = true, .input = RESTATE_VOID }) };

static const restate_service *const services[] = { &counter, &plain, &box, &flow, NULL };

/* ---- Calls and state -------------------------------------------------------------------------- */

TEST(a_call_gives_the_reply) {
    EVERY_WAY() {
        CHECK_STR(ask("Plain/echo", "\"hi\""), "\"hi\"");
        CHECK_INT(restate_client_answer(ctx, NULL)->http_status, 200);
        CHECK_HAS(restate_client_answer(ctx, NULL)->invocation_id, "inv_1");
        CHECK_STR(ask("Plain/fails", NULL), "TERMINAL 418 teapot");
        CHECK_INT(restate_client_answer(ctx, NULL)->http_status, 418);
        if (options.protocol > 5) CHECK_STR(restate_failed(ctx)->metadata[0].value, "red");
    }
}

TEST(one_exclusive_handler_at_a_time) {
    EVERY_WAY() {
        restate_future *f[5];
        for (int i = 0; i < 5; i++) f[i] = send_call("Counter/a/add", "1");
        restate_future *other = send_call("Counter/b/add", "10");
        for (int i = 0; i < 5; i++) CHECK_INT(restate_await(ctx, f[i], NULL), RESTATE_OK);
        CHECK_STR(value_of(other), "10");
        CHECK_STR(ask("Counter/a/get", NULL), "5");
        CHECK_INT(elapsed(), 5000);         /* one after the other, a second each */
    }
}

TEST(state_is_seeded_and_read) {
    EVERY_WAY() {
        restate_bytes v;
        const char *const *all;
        restate_client_at(ctx, target_of("Counter/k/"));
        CHECK_INT(restate_set(ctx, "n", restate_str("7")), RESTATE_OK);
        CHECK_STR(restate_key(ctx), "k");
        CHECK_STR(ask("Counter/k/add", "3"), "10");
        CHECK_INT(restate_get(ctx, "n", &v), RESTATE_OK);
        CHECK_STR(text_of(v), "10");
        CHECK_STR(ask("Counter/k/keys", NULL), "a,c,n,");
        CHECK_INT(restate_keys(ctx, &all), RESTATE_OK);
        CHECK(strcmp(all[0], "a") == 0 && strcmp(all[1], "c") == 0 && strcmp(all[2], "n") == 0 &&
              !all[3]);
        CHECK_INT(restate_clear(ctx, "n"), RESTATE_OK);
        CHECK_INT(restate_get(ctx, "n", &v), RESTATE_OK);
        CHECK(!v.ptr);
        CHECK_STR(ask("Counter/k/reset", NULL), "");
        CHECK_INT(restate_keys(ctx, &all), RESTATE_OK);
        CHECK(!all[0]);
        restate_client_at(ctx, target_of("Plain/"));
        CHECK_INT(restate_get(ctx, "n", &v), RESTATE_ERROR);
        CHECK_HAS(restate_failed(ctx)->message, "no state");
    }
}

/* ---- Time ------------------------------------------------------------------------------------- */

TEST(time_jumps) {
    EVERY_WAY() {
        uint64_t from = 0, to = 0;
        CHECK_INT(restate_now(ctx, &from), RESTATE_OK);
        CHECK_INT(from, 1893456000000);
        CHECK_STR(ask("Plain/naps", "2592000000"), "");
        CHECK_INT(restate_now(ctx, &to), RESTATE_OK);
        CHECK_INT(to - from, RESTATE_DAYS(30));
        CHECK_INT(restate_sleep(ctx, RESTATE_HOURS(1)), RESTATE_OK);
        CHECK_INT(elapsed(), RESTATE_DAYS(30) + RESTATE_HOURS(1));
    }
}

TEST(a_delayed_send_begins_later) {
    EVERY_WAY() {
        const restate_call_options later = { .delay_ms = 60000 };
        restate_future *f = restate_send(ctx, target_of("Counter/d/add"), restate_str("1"), &later);
        const char *id;
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        CHECK_INT(restate_sleep(ctx, 59999), RESTATE_OK);
        CHECK_STR(ask("Counter/d/get", NULL), "");
        CHECK_INT(restate_sleep(ctx, 1002), RESTATE_OK);
        CHECK_STR(ask("Counter/d/get", NULL), "1");
    }
}

TEST(a_test_does_not_go_on_for_ever) {
    options.max_ms = RESTATE_DAYS(1);
    EVERY_WAY() {
        CHECK_STR(ask("Plain/naps", "90000000"),
                  "ERROR 0 the clock of the test would exceed max_ms, which is 86400000");
        CHECK_HAS(ask("Plain/echo", "1"), "ERROR 0 the clock");
    }
    options.max_ms = 0;
    options.max_events = 10;
    EVERY_WAY() {
        for (int i = 0; i < 8; i++) ask("Plain/echo", "1");
        CHECK_STR(ask("Plain/echo", "1"),
                  "ERROR 0 the test has made 10 journal entries, its max_events");
    }
    options.max_events = 0;
}

/* ---- Who is called ---------------------------------------------------------------------------- */

TEST(a_workflow_runs_once) {
    EVERY_WAY() {
        const char *id, *again;
        restate_bytes v;
        restate_future *f = restate_send(ctx, target_of("Flow/w/run"), restate_str("5"), NULL);
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        f = restate_send(ctx, target_of("Flow/w/run"), restate_str("6"), NULL);
        CHECK_INT(restate_call_id(ctx, f, &again), RESTATE_OK);
        CHECK_STR(again, id);
        CHECK_INT(restate_client_answer(ctx, f)->http_status, 202);
        CHECK(restate_client_answer(ctx, f)->previously_accepted);
        CHECK_STR(ask("Flow/w/run", "7"), "TERMINAL 409 the workflow method was already invoked");
        CHECK_INT(restate_output(ctx, (restate_invocation){ .target = target_of("Flow/w/") }, &v),
                  RESTATE_OK);
        CHECK(!v.ptr);
        CHECK_INT(restate_sleep(ctx, 1), RESTATE_OK);   /* it has begun */
        CHECK_STR(ask("Flow/w/get", NULL), "5");
        CHECK_STR(ask("Flow/w/release", "\"go\""), "");
        CHECK_HAS(ask("Flow/w/release", "\"go\""), "TERMINAL 409");
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .target = target_of("Flow/w/") }, &v),
                  RESTATE_OK);
        CHECK_STR(text_of(v), "\"go\"");
        CHECK_INT(restate_sleep(ctx, RESTATE_HOURS(25)), RESTATE_OK);
        CHECK_STR(ask("Flow/w/get", NULL), "");         /* forgotten, with its state */
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .target = target_of("Flow/w/") }, &v),
                  RESTATE_TERMINAL);
        CHECK_INT(restate_failed(ctx)->code, 404);
    }
}

TEST(promises_from_outside) {
    EVERY_WAY() {
        restate_bytes v;
        restate_future *f = send_call("Flow/p/run", "5");
        restate_client_at(ctx, target_of("Flow/p/"));
        CHECK_INT(restate_promise_peek(ctx, "go", &v), RESTATE_OK);
        CHECK(!v.ptr);
        CHECK_INT(restate_promise_resolve(ctx, "go", restate_str("9")), RESTATE_OK);
        CHECK_INT(restate_promise_reject(ctx, "go", NULL), RESTATE_TERMINAL);
        CHECK_INT(restate_failed(ctx)->code, 409);
        CHECK_STR(value_of(f), "9");
        f = send_call("Flow/q/run", "5");
        restate_client_at(ctx, target_of("Flow/q/"));
        CHECK_INT(restate_promise_reject(ctx, "go", &(restate_failure){ 404, "none", NULL }),
                  RESTATE_OK);
        CHECK_STR(value_of(f), "TERMINAL 404 none");
    }
}

TEST(an_idempotency_key_makes_one_of_two) {
    EVERY_WAY() {
        const restate_call_options once = { .idempotency_key = "k" };
        restate_bytes v;
        executed = 0;
        for (int i = 0; i < 3; i++) {
            CHECK_INT(restate_call(ctx, target_of("Plain/one_run"), restate_str("1"), &once, &v),
                      RESTATE_OK);
            CHECK_STR(text_of(v), "1");
        }
        restate_invocation by_key = { .target = target_of("Plain/one_run"), .idempotency_key = "k" };
        CHECK_INT(restate_output(ctx, by_key, &v), RESTATE_OK);
        CHECK_STR(text_of(v), "1");
        CHECK_INT(restate_sleep(ctx, RESTATE_HOURS(24)), RESTATE_OK);
        CHECK_INT(restate_output(ctx, by_key, &v), RESTATE_TERMINAL);
        CHECK_INT(restate_call(ctx, target_of("Plain/one_run"), restate_str("1"), &once, &v),
                  RESTATE_OK);
        CHECK_STR(text_of(v), "2");
    }
}

TEST(what_is_not_there_is_refused) {
    EVERY_WAY() {
        CHECK_STR(ask("Nobody/x", "1"), "ERROR 404 the service 'Nobody' was not found");
        CHECK_STR(ask("Plain/x", "1"), "ERROR 404 the handler 'Plain/x' was not found");
        CHECK_HAS(ask("Plain/secret", "1"), "ERROR 400 ");
        CHECK_STR(ask("Plain/naps", NULL), "ERROR 400 the handler needs an input, and its content-type");
        CHECK_STR(ask("Plain/described", ""), "ERROR 400 input validation error: Empty body not allowed");
        CHECK_STR(ask("Plain/described", "1"), "1");
        CHECK_STR(ask("Plain/naps", ""), "");
        CHECK_HAS(ask("Counter/a/get", "1"), "ERROR 400 expected the body to be empty");
        CHECK_INT(restate_client_answer(ctx, NULL)->http_status, 400);
        CHECK_INT(restate_cancel(ctx, "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61"), RESTATE_ERROR);
        CHECK_INT(restate_failed(ctx)->code, 404);
        CHECK_STR(ask("Plain/echo", "1"), "1");         /* nothing sticks */
    }
}

/* ---- Awakeables and signals ------------------------------------------------------------------- */

static const char *boxed(const char *key) {
    const char *id = "";
    restate_bytes v;
    restate_client_at(ctx, target_of(restate_text(ctx, "Box/%s/", key)));
    CHECK_INT(restate_get(ctx, "it", &v), RESTATE_OK);
    CHECK_INT(restate_json_string(ctx, v, NULL, &id), RESTATE_OK);
    return id;
}

TEST(awakeables) {
    EVERY_WAY() {
        restate_future *f = send_call("Plain/asks", NULL);
        CHECK_INT(restate_sleep(ctx, 1), RESTATE_OK);
        const char *id = boxed("b");
        CHECK_HAS(id, "sign_1");
        CHECK_INT(restate_resolve(ctx, id, restate_str("\"yes\"")), RESTATE_OK);
        CHECK_INT(restate_resolve(ctx, id, restate_str("\"no\"")), RESTATE_OK);
        CHECK_STR(value_of(f), "\"yes\"");
        f = send_call("Plain/asks", NULL);
        CHECK_INT(restate_sleep(ctx, 1), RESTATE_OK);
        CHECK_INT(restate_reject(ctx, boxed("b"), &(restate_failure){ 500, "no", NULL }),
                  RESTATE_OK);
        CHECK_STR(value_of(f), "TERMINAL 500 no");
    }
}

TEST(signals) {
    EVERY_WAY() {
        const char *id;
        restate_future *f = send_call("Plain/hears", NULL);
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        CHECK_INT(restate_signal_resolve(ctx, id, "two", restate_str("2")), RESTATE_OK);
        CHECK_INT(restate_sleep(ctx, 10), RESTATE_OK);
        CHECK_INT(restate_signal_resolve(ctx, id, "one", restate_str("1")), RESTATE_OK);
        CHECK_STR(value_of(f), "[1,2]");
    }
}

/* ---- Cancelling, killing, holding -------------------------------------------------------------- */

TEST(a_cancellation_reaches_children) {
    EVERY_WAY() {
        const char *id;
        restate_future *f = send_call("Plain/parent", NULL);
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        CHECK_INT(restate_sleep(ctx, 5), RESTATE_OK);
        CHECK_INT(restate_cancel(ctx, id), RESTATE_OK);
        CHECK_STR(value_of(f), "\"undone\"");
        restate_status s = restate_attach(ctx, (restate_invocation){ .id = boxed("child") }, NULL);
        CHECK_INT(s, RESTATE_TERMINAL);
        CHECK_INT(restate_failed(ctx)->code, 409);
        CHECK(elapsed() < 1000);
        CHECK_INT(restate_cancel(ctx, id), RESTATE_ERROR);      /* it is over */
        CHECK_INT(restate_failed(ctx)->code, 409);
    }
}

TEST(who_has_not_begun_is_cancelled_at_once) {
    EVERY_WAY() {
        const restate_call_options later = { .delay_ms = 60000 };
        const char *id;
        restate_future *f = restate_send(ctx, target_of("Counter/e/add"), restate_str("1"), &later);
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        CHECK_INT(restate_cancel(ctx, id), RESTATE_OK);
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .id = id }, NULL), RESTATE_TERMINAL);
        CHECK_INT(restate_failed(ctx)->code, 409);
        CHECK_INT(elapsed(), 0);
    }
}

TEST(killing_takes_the_children_along) {
    EVERY_WAY() {
        const char *id;
        restate_future *f = send_call("Plain/parent", NULL);
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        CHECK_INT(restate_sleep(ctx, 5), RESTATE_OK);
        CHECK_INT(patch(id, "kill"), 200);
        CHECK_STR(value_of(f), "TERMINAL 409 killed");
        restate_status s = restate_attach(ctx, (restate_invocation){ .id = boxed("child") }, NULL);
        CHECK_INT(s, RESTATE_TERMINAL);
        CHECK_STR(restate_failed(ctx)->message, "killed");
        CHECK_INT(patch(id, "kill"), 409);
        CHECK_INT(patch(id, "purge"), 200);
        CHECK_INT(patch(id, "purge"), 404);
        CHECK_INT(patch(id, "fly"), 400);
    }
}

TEST(pause_and_resume) {
    EVERY_WAY() {
        const char *id;
        restate_future *f = send_call("Plain/naps", "1000");
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        CHECK_INT(restate_sleep(ctx, 5), RESTATE_OK);
        CHECK_INT(patch(id, "pause"), 202);
        CHECK_INT(restate_sleep(ctx, 5000), RESTATE_OK);
        CHECK(!restate_is_done(f));
        CHECK_HAS(restate_test_text(ctx), "paused");
        CHECK_INT(patch(id, "resume"), 200);
        CHECK_INT(restate_await(ctx, f, NULL), RESTATE_OK);
        CHECK_INT(elapsed(), 5005);
    }
}

TEST(restart_as_new) {
    EVERY_WAY() {
        const char *id;
        restate_bytes v;
        executed = 0;
        restate_future *f = send_call("Plain/one_run", NULL);
        CHECK_STR(value_of(f), "1");
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        f = restate_client_request(ctx, "PATCH", restate_text(ctx, "/invocations/%s/restart-as-new", id),
                                   (restate_bytes){ NULL, 0 });
        CHECK_INT(restate_await(ctx, f, &v), RESTATE_OK);
        CHECK_INT(restate_json_string(ctx, v, "new_invocation_id", &id), RESTATE_OK);
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .id = id }, &v), RESTATE_OK);
        CHECK_STR(text_of(v), "2");
    }
}

/* ---- Failures and retries ---------------------------------------------------------------------- */

TEST(retries_follow_the_policy_of_the_handler) {
    EVERY_WAY() {
        executed = 0;
        CHECK_STR(ask("Plain/worse", NULL), "TERMINAL 500 broken");
        CHECK_INT(executed, 4);
        CHECK_INT(elapsed(), 100 + 200 + 300);
    }
}

TEST(the_servers_policy_pauses_after_70_attempts) {
    EVERY_WAY() {
        executed = 0;
        const char *why = ask("Plain/bad", NULL);
        CHECK_INT(executed, 70);
        CHECK_HAS(why, "ERROR 0 nothing can run, and no timer is due: Plain/bad inv_1");
        CHECK_HAS(why, "is paused after 70 attempts, 500: broken");
    }
}

TEST(a_call_of_nobody_is_tried_again) {
    EVERY_WAY() {
        const char *why = ask("Plain/calls_nobody", NULL);
        CHECK_HAS(why, "is paused after 70 attempts, 404: the service 'Nobody' was not found");
    }
}

TEST(nothing_can_run) {
    EVERY_WAY() {
        send_call("Counter/z/add", "1");
        restate_future *f = send_call("Plain/parent", NULL);
        const char *id;
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        CHECK_HAS(ask("Flow/s/run", "1"), "ERROR 0 nothing can run, and no timer is due: Flow/s/run inv_");
        CHECK_HAS(restate_failed(ctx)->message, "waits for command 2 (get promise go)");
        CHECK_HAS(ask("Plain/hears", NULL), "Plain/hears inv_");
    }
}

/* ---- Loss -------------------------------------------------------------------------------------- */

TEST(crashes_do_not_change_what_comes_out) {
    options.crashes = 100;
    EVERY_WAY() {
        restate_future *f[3];
        for (int i = 0; i < 3; i++) f[i] = send_call("Counter/a/add", "1");
        restate_future *p = send_call("Plain/parent", NULL);
        const char *id;
        CHECK_INT(restate_call_id(ctx, p, &id), RESTATE_OK);
        for (int i = 0; i < 3; i++) CHECK_INT(restate_await(ctx, f[i], NULL), RESTATE_OK);
        CHECK_STR(ask("Counter/a/get", NULL), "3");
        CHECK_INT(restate_cancel(ctx, id), RESTATE_OK);
        CHECK_STR(value_of(p), "\"undone\"");
    }
    options.crashes = 0;
}

TEST(the_same_seed_gives_the_same_run) {
    static char first[1 << 16];
    bool differs = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int again = 0; again < 2; again++) {
            options.seed = seed;
            options.crashes = seed % 2 ? 50 : 0;
            test_open();
            executed = 0;
            for (int i = 0; i < 3; i++) send_call("Counter/a/add", "1");
            send_call("Plain/asks", NULL);
            send_call("Plain/one_run", NULL);
            CHECK_INT(restate_sleep(ctx, 2000), RESTATE_OK);
            const char *all = restate_test_text(ctx);
            if (again) CHECK_STR(all, first);
            else if (strcmp(all + 40, first + 40) != 0) differs = true;
            snprintf(first, sizeof first, "%s", all);
            test_close();
        }
    }
    CHECK(differs);
    options.seed = options.crashes = 0;
}

/* ---- Closures ----------------------------------------------------------------------------------- */

static restate_status fake(void *user, restate_ctx *run_, const char *name,
                           restate_closure *closure, void *arg) {
    int *calls = user;
    if (strcmp(name, "counts") != 0) return closure(run_, arg);
    if (++*calls < 3) return restate_retry(run_, NULL, "not yet");
    return restate_reply(run_, restate_str("\"fake\""));
}

TEST(fakes_stand_in_for_closures) {
    int calls = 0;
    options.run = fake;
    options.user = &calls;
    EVERY_WAY() {
        calls = executed = 0;
        CHECK_STR(ask("Plain/one_run", NULL), "\"fake\"");
        CHECK_INT(calls, 3);
        CHECK_INT(executed, 0);
        CHECK_INT(elapsed(), 1500);
    }
    options.run = NULL;
}

TEST(closures_finish_in_any_order) {
    unsigned seen = 0;
    EVERY_WAY() seen |= 1u << atoi(ask("Plain/races", NULL));
    CHECK_INT(seen, 7);
}

TEST(a_closure_must_not_use_the_test) {
    EVERY_WAY() {
        outside = ctx;
        CHECK_HAS(ask("Plain/inside", NULL), "must not use a context of the test");
    }
}

TEST(blocking_handlers_run_on_this_thread) {
    EVERY_WAY() {
        executed = 0;
        CHECK_STR(ask("Plain/blocks", NULL), "1");
    }
}

/* ---- Journals ----------------------------------------------------------------------------------- */

TEST(journals_are_the_same_in_every_way) {
    EVERY_WAY() {
        restate_bytes journal;
        const char *id;
        restate_client_at(ctx, target_of("Counter/j/"));
        CHECK_INT(restate_set(ctx, "n", restate_str("1")), RESTATE_OK);
        restate_future *f = send_call("Counter/j/add", "2");
        CHECK_STR(value_of(f), "3");
        CHECK_INT(restate_call_id(ctx, f, &id), RESTATE_OK);
        CHECK_INT(restate_client_journal(ctx, (restate_invocation){ .id = id }, &journal),
                  RESTATE_OK);
        const char *text = strchr(restate_journal_text(ctx, journal), '\n');
        CHECK_STR(text, "\n  0 input 2"
                        "\n  1 get state \"n\" -> 1"
                        "\n  2 sleep until 2030-01-01T00:00:01.000Z -> void"
                        "\n  3 set state \"n\" 3"
                        "\n  4 output 3\n");
        CHECK_INT(restate_journal_check(endpoint, journal, NULL), RESTATE_FITS);
        CHECK_INT(restate_client_journal(ctx, (restate_invocation){ .id = "inv_nonsense" },
                                         &journal),
                  RESTATE_ERROR);           /* at once: a server answers with 500, time and again */
        CHECK_HAS(restate_failed(ctx)->message, "the id of the invocation is none: ");
    }
}

TEST(journals_of_what_is_open) {
    EVERY_WAY() {
        restate_bytes journal;
        send_call("Plain/naps", "1000");
        send_call("Counter/j/add", "2");
        ask("Plain/echo", "1");
        restate_invocation of = { .target = { .service = "Counter", .key = "j" } };
        CHECK_INT(restate_sleep(ctx, 1), RESTATE_OK);
        CHECK_INT(restate_client_journal(ctx, of, &journal), RESTATE_OK);
        const char *text = restate_journal_text(ctx, journal);
        CHECK_HAS(text, "Counter/j/add inv_1");
        CHECK(!strstr(text, "Plain"));
        of.target = (restate_target){ NULL, NULL, NULL, NULL };
        CHECK_INT(restate_client_journal(ctx, of, &journal), RESTATE_OK);
        text = restate_journal_text(ctx, journal);
        CHECK_HAS(text, "Counter/j/add inv_1");
        CHECK_HAS(text, "Plain/naps inv_1");
        CHECK(!strstr(text, "echo"));
        of.target.service = "Flow";
        CHECK_INT(restate_client_journal(ctx, of, &journal), RESTATE_OK);
        CHECK_STR(restate_journal_text(ctx, journal), "");
    }
}

#ifndef RESTATE_NO_CLIENT

/* ---- A loop of one's own ------------------------------------------------------------------------ */

static int called;
static void is_called(void *user, restate_ctx *on, restate_future *future) {
    restate_bytes v;
    CHECK_INT(restate_await(on, future, &v), RESTATE_OK);
    called += *(int *)user;
}

TEST(functions_are_called) {
    EVERY_WAY() {
        int one = 1, ten = 10;
        called = 0;
        CHECK_INT(restate_client_then(ctx, send_call("Plain/echo", "1"), is_called, &one), RESTATE_OK);
        CHECK_INT(restate_client_then(ctx, send_call("Counter/t/add", "1"), is_called, &ten), RESTATE_OK);
        CHECK_INT(restate_client_process(runtime, 0), RESTATE_OK);
        CHECK_INT(called, 1);
        for (int i = 0; i < 3 && called != 11; i++)
            CHECK_INT(restate_client_process(runtime, 600), RESTATE_OK);
        CHECK_INT(called, 11);
        CHECK(elapsed() >= 1000 && elapsed() <= 1800);
    }
}

#endif

TEST(a_context_that_is_gone) {
    EVERY_WAY() {
        restate_ctx *test = ctx;
        ctx = restate_client_begin(runtime);
        send_call("Counter/g/add", "1");
        restate_client_end(ctx);
        ctx = test;
        CHECK_INT(restate_sleep(ctx, 2000), RESTATE_OK);
        CHECK_STR(ask("Counter/g/get", NULL), "1");
    }
}

/* They are runs that nobody waits for. */
TEST(markers_of_patches) {
    EVERY_WAY() {
        executed = 0;
        const char *got = ask("Plain/patches", "1"), *text = restate_test_text(ctx);
        CHECK_HAS(got, "ERROR 0 nothing can run, and no timer is due: Plain/patches inv_");
        CHECK(strstr(got, " is suspended, waits for awakeable 17") ||
              strstr(got, " is running, waits for an awakeable or a signal"));
        CHECK_HAS(text, "\n  2 run \"restate.patch counted\"\n  3 run \"counts\" -> 1\n"
                        "  4 run \"restate.patch asked\"\n");
        CHECK(!strstr(text, "570"));
        CHECK_INT(executed, 1);
    }
}

/* In handlers and closures they are misuse, which says so. */
TEST(handlers_are_no_clients) {
    static const char *const all[] = { "journal", "request", "answer", "at", "then", "end" };
    EVERY_WAY() {
        for (size_t i = 0; i < 12; i++) {
            const char *what = all[i / 2], *got = ask("Plain/strays", restate_text(ctx, "%c%s",
                                                                       i % 2 ? 'c' : 'h', what));
            CHECK_HAS(got, "TERMINAL 500 Plain/strays");
            CHECK_HAS(got, restate_text(ctx, "restate_client_%s(): ", what));
            CHECK_HAS(got, i % 2 && i < 4 ? "cannot be used in a closure" : "context of a client");
        }
        CHECK_STR(ask("Plain/strays", "htext"), "\"went on\"");
    }
}

/* ---- What is wrong ------------------------------------------------------------------------------ */

TEST(wrong_options_come_out_of_the_first_function) {
    static const struct { restate_test_options o; const char *why; } rows[] = {
        { { .endpoint = NULL }, "the options of the test name no endpoint" },
        { { .protocol = 4 }, "protocol has to be 5, 6 or 7" }
    };
    for (size_t i = 0; i < 2; i++) {
        options = rows[i].o;
        if (i) options.endpoint = endpoint;
        test_open();
        CHECK_HAS(ask("Plain/echo", "1"), rows[i].why);
        test_close();
    }
    options = (restate_test_options){ .endpoint = endpoint,
                                      .logger.level = RESTATE_LOG_OFF };
    restate_client_free(restate_test_new(NULL));
}

/* ---- Memory ------------------------------------------------------------------------------------- */

/* A bit of everything; true: all of it went well. */
static bool tour(void) {
    const char *id;
    restate_bytes journal;
    restate_future *f[3];
    test_open();
    for (int i = 0; i < 3; i++) f[i] = send_call("Counter/a/add", "1");
    bool good = restate_await(ctx, f[2], NULL) == RESTATE_OK;
    restate_send(ctx, target_of("Flow/f/run"), restate_str("1"), NULL);
    restate_client_at(ctx, target_of("Flow/f/"));
    good &= restate_sleep(ctx, 1) == RESTATE_OK;
    good &= restate_promise_resolve(ctx, "go", restate_str("2")) == RESTATE_OK;
    good &= restate_call_id(ctx, f[0], &id) == RESTATE_OK;
    good &= restate_client_journal(ctx, (restate_invocation){ .id = id }, &journal) == RESTATE_OK;
    good &= restate_test_text(ctx)[0] != 0;
    good &= patch(id, "restart-as-new") == 200;
    test_close();
    return good;
}

TEST(every_allocation_may_fail) {
    static mem_counts memory;
    options.allocator = mem_allocator(&memory);
    options.suspend = RESTATE_ON;
    CHECK(tour());
    CHECK_INT(memory.blocks, 0);
    for (size_t n = memory.calls, at = 1; at <= n && !test_failures; at++) {
        mem_fail(&memory, at);
        (void)tour();
        CHECK_INT(memory.blocks, 0);
    }
    options.allocator = (restate_allocator){ NULL, NULL, NULL, NULL };
    options.suspend = RESTATE_DEFAULT;
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(a_call_gives_the_reply), T(one_exclusive_handler_at_a_time), T(state_is_seeded_and_read),
        T(time_jumps), T(a_delayed_send_begins_later), T(a_test_does_not_go_on_for_ever),
        T(a_workflow_runs_once), T(promises_from_outside), T(an_idempotency_key_makes_one_of_two),
        T(what_is_not_there_is_refused), T(awakeables), T(signals),
        T(a_cancellation_reaches_children), T(who_has_not_begun_is_cancelled_at_once),
        T(killing_takes_the_children_along), T(pause_and_resume), T(restart_as_new),
        T(retries_follow_the_policy_of_the_handler),
        T(the_servers_policy_pauses_after_70_attempts), T(a_call_of_nobody_is_tried_again),
        T(nothing_can_run), T(crashes_do_not_change_what_comes_out),
        T(the_same_seed_gives_the_same_run), T(fakes_stand_in_for_closures),
        T(closures_finish_in_any_order), T(a_closure_must_not_use_the_test),
        T(handlers_are_no_clients), T(markers_of_patches),
        T(blocking_handlers_run_on_this_thread), T(journals_are_the_same_in_every_way),
        T(journals_of_what_is_open), T(a_context_that_is_gone),
#ifndef RESTATE_NO_CLIENT
        T(functions_are_called),
#endif
       
        T(wrong_options_come_out_of_the_first_function), T(every_allocation_may_fail), {0}
    };
    return test_with(services, argc, argv, cases);
}
