/* Section >>context: what a handler asks the server for: sleep, time, state, promises, calls, other
 * invocations, awakeables, signals. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/operations.c"

/* ---- Sleep and time ------------------------------------------------------------------------- */

static int variant;                         /* what a handler is to do */

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

static restate_status asks_for_time(restate_ctx *ctx, restate_bytes in) {
    uint64_t now = 7;
    restate_status s = restate_now(ctx, &now);
    (void)in;
    tell("%s %d ", status_name(s), now == 1700000000123u ? 1 : now == 0 ? 0 : now > 1700000000123u ? 2 : 3);
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

static restate_status waits_in_turn(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    restate_bytes value;
    size_t index;
    (void)in;
    f[0] = restate_sleep_async(ctx, 1000, NULL);
    f[1] = restate_awakeable(ctx, NULL);
    RESTATE_TRY(restate_select(ctx, f, 2, &index));
    tell("%zu ", index);
    CHECK(restate_is_done(f[0]));
    say(ctx, restate_await(ctx, f[0], &value), value);
    say(ctx, restate_await(ctx, f[1], &value), value);
    say(ctx, restate_sleep(ctx, 1), absent());
    return say(ctx, restate_sleep(ctx, 1), absent());
}

/* A cancellation comes once, at the wait that it meets, and settles nothing. */
TEST(timers) {
    EACH(RESTATE_SERVICE, .fn = waits_in_turn) {
        start(1); input(""); give();
        SAYS("Sleep 1 wake:...", "AwaitingOn W{s:1,N:[{c:1,s:17}]}");
        note_sleep(1); give();
        TOLD("0 ok(-) ");
        SAYS("AwaitingOn W{s:1,17}");
        note_cancel(); give();
        TOLD("cancelled(409 cancelled) ");
        SAYS("Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
        note_sleep(2); give();
        SAYS("Sleep 3 wake:...", "AwaitingOn W{c:3,s:1}");
        note_cancel(); give();
        TOLD("ok(-) cancelled(409 cancelled) ");
        SAYS("Output failure 409 \"cancelled\"", "End");
    }
}

static restate_status delays(restate_ctx *ctx, restate_bytes in) {
    const restate_retry_options o = { .delay_ms = delay };
    (void)in;
    return restate_retry(ctx, &o, "later");
}

/* A server loses a partition over what is too long. */
TEST(delays_in_bounds) {
    static const struct { uint64_t ms; const char *says; } cases[] = {
        { 5, "Error 500 index:0 Input delay:5 message:\"later\"" },
        { RESTATE_ZERO_MS, "Error 500 index:0 Input delay:0 message:\"later\"" },
        { (uint64_t)-1000, "Error 500 index:0 Input delay:0 message:\"later\"" },
        { RESTATE_DAYS(36500), "Error 500 index:0 Input delay:63072000000 message:\"later\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        delay = cases[i].ms;
        EACH_OF(7, 7, RESTATE_SERVICE, .fn = delays) {
            begins(); give();
            SAYS(cases[i].says);
            LOG_HAS("later");
        }
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

/* ---- State ---------------------------------------------------------------------------------- */

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

static restate_status reads_keys(restate_ctx *ctx, restate_bytes in) {
    const char *const *keys;
    (void)in;
    RESTATE_TRY(restate_keys(ctx, &keys));
    for (; *keys; keys++) tell("%s ", *keys);
    return RESTATE_OK;
}

TEST(fetched_keys_are_sorted) {
    EACH(RESTATE_OBJECT, .fn = reads_keys) {
        start(1); input("in"); give();
        drop_said();
        frame(N_GET_LAZY_KEYS, "1u 17(1s1s1s1s)", 1, "b", "a", "", "ab"); give();
        TOLD(" a ab b ");
        drop_said();
    }
}

/* ---- Calls and sends ------------------------------------------------------------------------ */

static restate_target greeter_for(const char *handler) {
    restate_target to = { .service = "Greeter", .handler = handler };
    return to;
}

static restate_status calls(restate_ctx *ctx, restate_bytes in) {
    static const restate_pair headers[] = { { "h1", "v1" }, { "h2", "v2" }, { NULL, NULL } };
    restate_call_options o = { .idempotency_key = "idem", .headers = headers, .name = "named" };
    restate_target to = { .service = "Greeter", .handler = "greet", .key = "key" };
    restate_bytes reply = text("before");
    restate_future *f;
    const char *id = "before";
    (void)in;
    say(ctx, restate_call(ctx, greeter_for("greet"), text("one"), NULL, &reply), reply);
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
    restate_future *f = restate_send(ctx, greeter_for("greet"), text("x"), &o);
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

static restate_status calls_all_kinds(restate_ctx *ctx, restate_bytes in) {
    const restate_pair headers[] = { { "b", "2" }, { "a", "1" }, { NULL, NULL } };
    const restate_call_options with_headers = { .headers = headers };
    const restate_call_options later = { .headers = headers, .delay_ms = 60000 };
    const restate_target service = { .service = "Plain", .handler = "h" };
    const restate_target object = { .service = "Object", .handler = "h", .key = "o" };
    const restate_target workflow = { .service = "Workflow", .handler = "run", .key = "w" };
    restate_future *reply;
    restate_bytes value;
    restate_call_async(ctx, service, in, NULL);
    restate_call_async(ctx, object, in, &with_headers);
    reply = restate_call_async(ctx, workflow, in, NULL);
    restate_send(ctx, service, in, NULL);
    restate_send(ctx, object, in, &with_headers);
    restate_send(ctx, workflow, in, &later);
    return say(ctx, restate_await(ctx, reply, &value), value);
}

TEST(clients_of_all_kinds) {
    EACH(RESTATE_SERVICE, .fn = calls_all_kinds) {
        start(1); input("in"); give();
        SAYS("Call 1 2 \"Plain\" \"h\" parameter:\"in\"",
             "Call 3 4 \"Object\" \"h\" key:\"o\" parameter:\"in\" \"b\":\"2\" \"a\":\"1\"",
             "Call 5 6 \"Workflow\" \"run\" key:\"w\" parameter:\"in\"",
             "OneWayCall 7 \"Plain\" \"h\" parameter:\"in\"",
             "OneWayCall 8 \"Object\" \"h\" key:\"o\" parameter:\"in\" \"b\":\"2\" \"a\":\"1\"",
             "OneWayCall 9 \"Workflow\" \"run\" key:\"w\" parameter:\"in\" at:...",
             "AwaitingOn W{c:6,s:1}");
        note_value(N_CALL, 6, "done"); give();
        TOLD("ok(done) ");
        SAYS(EMPTY_OUTPUT);
    }
}

/* ---- Awakeables, promises, signals ---------------------------------------------------------- */

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

static const restate_pair metadata[] = { { "a", "1" }, { "b", NULL }, { NULL, NULL } };

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

static restate_status operates(restate_ctx *ctx, restate_bytes in) {
    restate_bytes value = absent();
    restate_status s = perform(ctx, &value);
    (void)in;
    return say(ctx, s, value);
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

/* ---- Other invocations, and ids from outside ------------------------------------------------ */

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

#define ID_KEY "inv_1gdJBtdVEcM9"                   /* up to the second of the two numbers */
#define ID_AWAKEABLE "AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAE"

#define NO_INVOCATION "it does not begin with \"inv_1\""
#define NO_DIGITS "behind \"inv_1\" there are digits and letters only"
#define NO_LENGTH "it does not have 38 characters"
#define NO_NUMBER "it stands for a number that is too large"
#define NO_AWAKEABLE "it does not begin with \"sign_1\" or \"prom_1\""
#define NO_SIGN "behind its \"_1\" there are digits, letters, '-' and '_' only"
#define NO_SIGN_LENGTH "it does not have 44 characters"
#define NO_LAST "its last character is none of A, Q, g, w"

typedef struct id_from_outside {
    const char *id, *why;                           /* NULL: the server takes it */
} id_from_outside;

/* Those of e2e.c, which asks the server for each whether it is one, are the same and more. */
static const id_from_outside invocation_ids[] = {
    { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NULL }, { "inv_1000000000000000000000000000000000", NULL },
    { "inv_1lYGhA16ahyf0000000000000000000000", NULL }, { "inv_1lYGhA16ahyg0000000000000000000000", NO_NUMBER },
    { "inv_1000000000007N42dgm5tFLK9N8MT7fHC7", NULL }, { "inv_1000000000007N42dgm5tFLK9N8MT7fHC8", NO_NUMBER },
    { "inv_1lYGhA16ahyf7N42dgm5tFLK9N8MT7fHC7", NULL }, { "inv_1m0000000000000000000000000000000", NO_LENGTH },
    { "inv_1m00000000000000000000000000000000", NO_NUMBER }, { "inv_1000000000008000000000000000000000", NO_NUMBER },
    { "inv_1ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", NO_NUMBER }, { "inv_1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NO_NUMBER },
    { "x", NO_INVOCATION }, { "", NO_INVOCATION }, { "inv_", NO_INVOCATION }, { "inv_1", NO_LENGTH },
    { "inv_1short", NO_LENGTH }, { "inv_2gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION },
    { "inv_0gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION }, { "inv1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION },
    { "INV_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION }, { " inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION },
    { ID_KEY "42bjcDmb1c1khoaJe11Hbz ", NO_DIGITS }, { ID_KEY "42bjcDmb1c1khoaJe11Hbz\n", NO_DIGITS },
    { ID_KEY "42bjcDmb1c1khoaJe11Hb_", NO_DIGITS }, { ID_KEY "42bjcDmb1c1khoaJe11Hb-", NO_DIGITS },
    { ID_KEY "42bjcDmb1c1khoaJe11Hb\xC3\xA9", NO_DIGITS }, { ID_KEY "42bjcDmb1c1khoaJe11Hb", NO_LENGTH },
    { ID_KEY "42bjcDmb1c1khoaJe11Hbz0", NO_LENGTH }, { ID_KEY "042bjcDmb1c1khoaJe11Hbz", NO_LENGTH },
    { "sign_1" ID_AWAKEABLE "Q", NO_INVOCATION }, { "dp_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION }
};

static const id_from_outside awakeable_ids[] = {
    { "sign_1" ID_AWAKEABLE "Q", NULL }, { "prom_1" ID_AWAKEABLE "Q", NULL }, { "sign_1" ID_AWAKEABLE "A", NULL },
    { "sign_1" ID_AWAKEABLE "g", NULL }, { "prom_1" ID_AWAKEABLE "w", NULL }, { "sign_1" ID_AWAKEABLE "Q=", NULL },
    { "sign_1" ID_AWAKEABLE "Q==", NULL }, { "prom_1" ID_AWAKEABLE "Q==", NULL },
    { "sign_1_____________________________________w", NULL }, { "sign_1--------------------------------------", NO_LAST },
    { "sign_1" ID_AWAKEABLE "B", NO_LAST }, { "sign_1" ID_AWAKEABLE "R==", NO_LAST }, { "prom_1" ID_AWAKEABLE "_", NO_LAST },
    { "sign_1" ID_AWAKEABLE "Q===", NO_SIGN_LENGTH }, { "sign_1" ID_AWAKEABLE "QA", NO_SIGN_LENGTH },
    { "sign_1" ID_AWAKEABLE, NO_SIGN_LENGTH }, { "sign_1" ID_AWAKEABLE "=", NO_SIGN }, { "sign_1" ID_AWAKEABLE "Q=A", NO_SIGN_LENGTH },
    { "sign_1" ID_AWAKEABLE "=Q", NO_SIGN }, { "sign_1AZmn+yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ", NO_SIGN },
    { "sign_1AZmn/yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ", NO_SIGN }, { "sign_1" ID_AWAKEABLE "Q ", NO_SIGN },
    { " sign_1" ID_AWAKEABLE "Q", NO_AWAKEABLE }, { "sign_2" ID_AWAKEABLE "Q", NO_AWAKEABLE }, { "sign_1", NO_SIGN_LENGTH },
    { "prom_" ID_AWAKEABLE "Q", NO_AWAKEABLE }, { "SIGN_1" ID_AWAKEABLE "Q", NO_AWAKEABLE }, { "", NO_AWAKEABLE },
    { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_AWAKEABLE }
};

static const id_from_outside *given_id;
static int given_call;

/* A write follows, whose place in the journal tells whether the id has got one. */
static restate_status uses_id(restate_ctx *ctx, restate_bytes in) {
    const restate_invocation of = { .id = given_id->id };
    const restate_failure no = { .message = "no" };
    restate_status s;
    (void)in;
    switch (given_call) {
    case 0: s = restate_cancel(ctx, of.id); break;
    case 1: s = restate_signal_resolve(ctx, of.id, "n", text("v")); break;
    case 2: s = restate_signal_reject(ctx, of.id, "n", &no); break;
    case 3: s = restate_attach(ctx, of, NULL); break;
    case 4: s = restate_await(ctx, restate_attach_async(ctx, of), NULL); break;
    case 5: s = restate_output(ctx, of, NULL); break;
    case 6: s = restate_resolve(ctx, of.id, text("v")); break;
    default: s = restate_reject(ctx, of.id, &no); break;
    }
    if (s == RESTATE_ENDED) return s;
    say_status(ctx, s);
    if (s != RESTATE_OK) CHECK_INT(restate_failed(ctx)->code, 400);
    return restate_set(ctx, "k", text("v"));
}

static void check_bad_id(bool replayed) {
    char line[200];
    snprintf(line, sizeof line, "terminal(\"%s\" is not the id of an %s: %s) ", given_id->id,
             given_call < 6 ? "invocation (inv_...)" : "awakeable (sign_1...)", given_id->why);
    EACH(RESTATE_OBJECT, .fn = uses_id) {
        start(replayed ? 2 : 1, .complete = true, .key = "k");
        input("in");
        if (replayed) cmd_set("k", "v");
        give();
        TOLD(line);
        if (replayed) SAYS("Output value \"\"", "End");
        else SAYS("SetState \"k\" value \"v\"", "Output value \"\"", "End");
    }
}

static void check_good_id(void) {
    static const char *const commands[] = {
        "SendSignal...", "SendSignal...", "SendSignal...", "AttachInvocation...", "AttachInvocation...",
        "GetInvocationOutput...", "CompleteAwakeable...", "CompleteAwakeable..."
    };
    EACH(RESTATE_OBJECT, .fn = uses_id) {
        start(1, .complete = true, .key = "k");
        input("in"); give();
        if (given_call >= 3 && given_call <= 5) {
            SAYS(commands[given_call], "? AwaitingOn...");
        } else {
            TOLD("ok() ");
            SAYS(commands[given_call], "SetState \"k\" value \"v\"", "Output value \"\"", "End");
        }
    }
}

static void check_ids(const id_from_outside *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        given_id = &ids[i];
        test_note = ids[i].id;
        if (ids[i].why) {
            check_bad_id(false);
            check_bad_id(true);
        } else {
            check_good_id();
        }
    }
}

/* What cannot be an id never reaches the server, which would refuse the attempt for ever; what can
 * be one does. Nothing is journaled for the former, so that a replay says the same. */
TEST(ids_from_outside) {
    for (given_call = 0; given_call < 8; given_call++) {
        if (given_call < 6) check_ids(invocation_ids, sizeof invocation_ids / sizeof *invocation_ids);
        else check_ids(awakeable_ids, sizeof awakeable_ids / sizeof *awakeable_ids);
    }
}

static const id_from_outside scopes[] = {
    { "a", NULL }, { "tenant-1_x.Y", NULL }, { "abcdefghijklmnopqrstuvwxyz0123456789", NULL },
    { "abcdefghijklmnopqrstuvwxyz0123456789-", "a scope has at most 36 characters" },
    { "a b", "a scope has digits, letters, '_', '.' and '-' only" }, { "a/b", "a scope has digits, letters, '_', '.' and '-' only" },
    { "\xC3\xA9", "a scope has digits, letters, '_', '.' and '-' only" }, { "a\n", "a scope has digits, letters, '_', '.' and '-' only" }
};

static restate_status uses_scope(restate_ctx *ctx, restate_bytes in) {
    restate_invocation of = { .target = { .service = "W", .key = "k", .scope = given_id->id } };
    restate_status s;
    (void)in;
    if (given_call == 1) of.target.handler = "h", of.idempotency_key = "i";
    s = given_call == 2 ? restate_output(ctx, of, NULL) : restate_attach(ctx, of, NULL);
    if (s == RESTATE_ENDED) return s;
    CHECK_INT(restate_failed(ctx)->code, 400);
    say_status(ctx, s);
    return RESTATE_OK;
}

/* A scope is a part of the name of an invocation, which the server refuses as it does ids. */
TEST(scopes_of_invocations) {
    char line[160];
    for (given_call = 0; given_call < 3; given_call++)
        for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
            given_id = &scopes[i];
            test_note = scopes[i].id;
            snprintf(line, sizeof line, "terminal(\"%s\" is not a scope: %s) ", scopes[i].id, scopes[i].why ? scopes[i].why : "");
            EACH_OF(7, 7, RESTATE_SERVICE, .fn = uses_scope) {
                start(1, .complete = true);
                input("in"); give();
                if (scopes[i].why) {
                    TOLD(line);
                    SAYS("Output value \"\"", "End");
                } else {
                    SAYS(given_call == 2 ? "GetInvocationOutput..." : "AttachInvocation...", "? AwaitingOn...");
                }
            }
        }
}

/* In base 62, with `width` digits; the number is big-endian. */
static void put_base62(char *to, const uint8_t *number, size_t len, size_t width) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint8_t left[32];
    memcpy(left, number, len);
    for (size_t k = width; k-- > 0;) {
        unsigned rest = 0;
        for (size_t i = 0; i < len; i++) {
            rest = rest << 8 | left[i];
            left[i] = (uint8_t)(rest / 62);
            rest %= 62;
        }
        to[k] = digits[rest];
    }
}

/* Every number that fits has an id, and no other. `over`: what is added to the byte above. */
TEST(numbers_of_ids) {
    char id[6 + 33] = "inv_1";
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 20000; round++) {
        uint8_t key[9], rest[17];
        unsigned over = (unsigned)round % 5;                    /* 0, 1: fit */
        for (size_t i = 0; i < 26; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            (i < 9 ? key : rest)[i < 9 ? i : i - 9] = round % 7 == 0 ? 0xFF : round % 7 == 1 ? 0 : (uint8_t)random;
        }
        key[0] = over == 2;                                     /* 62^11 is less than 3 * 2^64 */
        rest[0] = over == 3 ? 1 : over == 4 ? 2 : 0;            /* 62^22 is more than 7 * 2^128 */
        put_base62(id + 5, key, 9, 11);
        put_base62(id + 16, rest, 17, 22);
        id[38] = 0;
        test_note = id;
        CHECK((restate__b_invocation_id_fault(id) == NULL) == (over < 2));
    }
    test_note = "";
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(sleep_time), T(now), T(timers), T(delays_in_bounds), T(times_and_names), T(state_eager),
        T(state_lazy), T(state_in_parallel), T(partial_state), T(fetched_keys_are_sorted),
        T(calls_and_replies), T(call_scope), T(sends_and_ids), T(clients_of_all_kinds),
        T(awakeables), T(completes_awakeables), T(bad_awakeable_ids), T(promises_of_workflows),
        T(named_signals), T(awakeable_without_a_value), T(other_invocations), T(attach_misuse),
        T(ids_from_outside), T(scopes_of_invocations), T(numbers_of_ids),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
