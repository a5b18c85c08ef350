/* Section >>context: a handler from its beginning to its end: its request, hooks, memory, other threads, lost
 * connections. What it asks for has units of its own: unit_context_*.c. A scripted runtime talks to the
 * endpoint, see support/exchange.c. */
/* Has threads: runs with ThreadSanitizer, too. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/closure.c"
#include "support/faults.c"

/* ---- How a handler ends --------------------------------------------------------------------- */

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

/* ---- Request, randomness, memory ------------------------------------------------------------ */

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

/* As exact arithmetic has them, by another program, from the same sequence. */
static restate_status draws_numbers(restate_ctx *ctx, restate_bytes in) {
    static const uint64_t half = 9223372036854775809u;      /* half of all are drawn again */
    static const struct { uint64_t n, drawn[4]; } below[] = {
        { 1, { 0, 0, 0, 0 } }, { 6, { 4, 4, 0, 4 } }, { 1000, { 811, 747, 100, 746 } },
        { half, { 6882635817876368235u, 3168237733809651673u, 3639362766720477220u,
                  1442046146537346141u } },
        { UINT64_MAX, { 14971601782005023386u, 13781649495232077964u, 1847458086238483743u,
                        13765271635752736469u } }
    };
    static const double parts[] = { 7310352432619640.0, 6729321042593788.0, 902079143671134.0 };
    double sum = 0;
    unsigned fives = 0;
    (void)in;
    if (variant < 5)
        for (int i = 0; i < 4; i++)
            CHECK(restate_random_below(ctx, below[variant].n) == below[variant].drawn[i]);
    if (variant == 5)
        for (int i = 0; i < 3; i++) {
            double d = restate_random_double(ctx) * 9007199254740992.0;
            CHECK(d >= parts[i] && d <= parts[i]);
        }
    if (variant == 6)
        for (int i = 0; i < 60000; i++) {
            sum += restate_random_double(ctx);
            fives += restate_random_below(ctx, 6) == 5;
        }
    if (variant == 6) CHECK(sum > 29700 && sum < 30300 && fives > 9700 && fives < 10300);
    return RESTATE_OK;
}

static restate_status draws_late(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    if (variant == 0) CHECK_INT(restate_random_below(ctx, 0), 0);
    else RESTATE_IGNORE(restate_retry(ctx, NULL, "over"));
    CHECK_INT(restate_random_below(ctx, 5), 0);
    CHECK(restate_random_double(ctx) <= 0);
    return RESTATE_OK;
}

static restate_status draws_in_closure(restate_ctx *run, void *arg) {
    (void)arg;
    if (variant == 0) CHECK_INT(restate_random_below(run, 5), 0);
    else CHECK(restate_random_double(run) <= 0);
    return restate_reply(run, text("x"));
}

static restate_status runs_draw(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_run(ctx, "r", draws_in_closure, NULL, NULL, NULL);
}

TEST(random_doubles_and_numbers_below) {
    for (variant = 0; variant < 7; variant++)
        EACH_OF(6, 7, RESTATE_SERVICE, .fn = draws_numbers) {
            start(1, .seed = 1); input(""); give();
            SAYS(EMPTY_OUTPUT);
        }
    for (variant = 0; variant < 2; variant++) {
        EACH(RESTATE_SERVICE, .fn = draws_late) {
            STARTED();
            if (variant) SAYS("Error 500 index:0 Input message:\"over\"");
            else SAYS("Error 500 index:0 Input message:\"S/h: restate_random_below(): there is no number below 0\"");
            log_drop();
        }
        EACH(RESTATE_SERVICE, .fn = runs_draw) {
            STARTED();
            drop_said();
            LOG_HAS(variant ? "restate_random_double(): would not be the same on replay in a closure"
                            : "restate_random_below(): would not be the same on replay in a closure");
        }
    }
}

static restate_status args(restate_ctx *ctx, restate_bytes in) {
    restate_bytes whole = text("\"ada\""), slice = restate__b("adalbert", 3), none = in;
    CHECK_STR(restate_text(ctx, "<%.*s>", RESTATE_ARG(slice)), "<ada>");
    CHECK_STR(restate_text(ctx, "<%.*s>", RESTATE_ARG(none)), "<>");
    return restate_reply(ctx, restate_json(ctx, "[%.*s, %-.*s, %.*s, %-.*s]", RESTATE_ARG(slice),
                                           RESTATE_ARG(whole), RESTATE_ARG(none), RESTATE_ARG(none)));
}

TEST(bytes_in_formats) {
    EACH(RESTATE_SERVICE, .fn = args, .input = RESTATE_VOID) {
        start(1); input(""); give();
        SAYS("Output value \"[\"ada\", \"ada\", null, null]\"", "End");
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

static restate_status nothing(restate_ctx *ctx, restate_bytes in) {
    (void)ctx;
    (void)in;
    return RESTATE_OK;
}
static restate_status add(restate_ctx *ctx, restate_bytes in) { return nothing(ctx, in); }
static restate_status get(restate_ctx *ctx, restate_bytes in) { return nothing(ctx, in); }

/* Names out of the functions; the service's is what is set. */
TEST(handlers_named_by_functions) {
    const restate_service s = { .name = "My.Counter", .kind = RESTATE_OBJECT,
        .handlers = RESTATE_HANDLERS({ RESTATE_HANDLER(add), .output = RESTATE_VOID },
                                     { RESTATE_HANDLER(get), .shared = true,
                                       .input = RESTATE_VOID }) };
    CHECK_HAS(ex_manifest(RESTATE_SERVICES(&s)),
        "{\"name\":\"My.Counter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"add\","
        "\"ty\":\"EXCLUSIVE\",\"input\":{\"required\":true,\"contentType\":\"application/json\"},"
        "\"output\":{}},{\"name\":\"get\",\"ty\":\"SHARED\",\"input\":{},"
        "\"output\":{\"contentType\":\"application/json\"}}]}");
    ex_end();
}

#define JSON_IO "\"input\":{\"required\":true,\"contentType\":\"application/json\"}," \
                "\"output\":{\"contentType\":\"application/json\"}"

/* Kinds of services and of handlers, without and with shared ones. */
TEST(kinds) {
    const restate_service service = { .name = "Plain",
        .handlers = RESTATE_HANDLERS({ .name = "h", .fn = nothing }) };
    const restate_service object = { .name = "Object", .kind = RESTATE_OBJECT,
        .handlers = RESTATE_HANDLERS({ .name = "h", .fn = nothing },
                                     { .name = "s", .fn = nothing, .shared = true }) };
    const restate_service workflow = { .name = "Workflow", .kind = RESTATE_WORKFLOW,
        .handlers = RESTATE_HANDLERS({ .name = "run", .fn = nothing },
                                     { .name = "s", .fn = nothing, .shared = true }) };
    const char *told = ex_manifest(RESTATE_SERVICES(&service, &object, &workflow));
    CHECK_HAS(told, "{\"name\":\"Plain\",\"ty\":\"SERVICE\",\"handlers\":"
                    "[{\"name\":\"h\"," JSON_IO "}]}");
    CHECK_HAS(told, "{\"name\":\"Object\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":"
                    "[{\"name\":\"h\",\"ty\":\"EXCLUSIVE\"," JSON_IO "},"
                    "{\"name\":\"s\",\"ty\":\"SHARED\"," JSON_IO "}]}");
    CHECK_HAS(told, "{\"name\":\"Workflow\",\"ty\":\"WORKFLOW\",\"handlers\":"
                    "[{\"name\":\"run\",\"ty\":\"WORKFLOW\"," JSON_IO "},"
                    "{\"name\":\"s\",\"ty\":\"SHARED\"," JSON_IO "}]}");
    ex_end();
}
static char value_arg[] = "v";
static const restate_run_options inline_run = { .inline_ok = true };

/* The same in a closure as in the handler, and at the end of the attempt. */
static restate_status asks(restate_ctx *run, void *arg) {
    const restate_request_info *i = restate_request(run),
                               *outer = (const restate_request_info *)arg;
    CHECK_STR(i->invocation_id, outer->invocation_id);
    CHECK_STR(i->target.handler, outer->target.handler);
    CHECK_STR(i->target.key, outer->target.key);
    CHECK(i->body.ptr == outer->body.ptr && i->headers == outer->headers &&
          i->attempt_headers == outer->attempt_headers);
    CHECK(i->user == outer->user && i->user == value_arg);
    CHECK_INT(i->retry_count, 3);
    CHECK_STR(i->headers[0].value, "1");
    CHECK_STR(i->attempt_headers[1].value, "00-1");
    return restate_reply(run, text("v"));
}

static restate_status asked(restate_ctx *ctx, restate_bytes in) {
    restate_status s;
    (void)in;
    s = restate_run(ctx, "r", asks, (void *)(uintptr_t)restate_request(ctx),
                    variant ? &inline_run : NULL, NULL);
    CHECK_INT(s, RESTATE_ENDED);
    CHECK_STR(restate_request(ctx)->invocation_id, "inv_1");
    CHECK_STR(restate_request(ctx)->headers[0].name, "h");
    return s;
}

TEST(request_in_a_closure) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_OBJECT, .fn = asked, .options = { .user = value_arg }) {
            ex_invoke_with("traceparent", "00-1");
            start(1, .debug_id = "inv_1", .key = "k", .retries = 3);
            frame(M_INPUT, "1(1s2s) 14(1s)", "h", "1", "b");
            give_and_end();
            SAYS("Run 1 \"r\"", "Propose 1 value \"v\" ack", "Suspension W{c:1,s:1}");
        }
}

static void write_names(void *user, const restate_log_record *r) {
    (void)user;
    tell("%s %s/%s %s\n", r->invocation_id, r->service, r->handler, r->message);
}

static restate_status looks_around(restate_ctx *run, void *arg) {
    const restate_request_info *i = restate_request(run);
    (void)arg;
    CHECK_STR(restate_key(run), "ada");
    CHECK_STR(i->invocation_id, "inv_1own");
    CHECK_STR((const char *)i->body.ptr, "in");
    CHECK_STR(i->headers[0].name, "x-one");
    CHECK_STR(i->attempt_headers[0].name, "content-type");
    restate_log(run, RESTATE_LOG_WARN, "in the closure");
    return RESTATE_OK;
}

static restate_status lets_look_around(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    CHECK_STR(restate_key(ctx), "ada");
    restate_log(ctx, RESTATE_LOG_INFO, "in the %s", "handler");
    return restate_run(ctx, "look", looks_around, NULL, NULL, NULL);
}

TEST(closures_see_the_request) {
    EACH(RESTATE_OBJECT, .fn = lets_look_around, .shared = true) {
        ex.endpoint->logger.to.write = write_names;
        start(1, .key = "ada", .debug_id = "inv_1own");
        frame(M_INPUT, "1(1s2s) 14(1s)", "x-one", "1", "in"); give();
        TOLD("inv_1own S/h in the handler\ninv_1own S/h in the closure\n");
        SAYS("Run 1 \"look\"", "Propose 1 value \"\" ack", "AwaitingOn W{c:1,s:1}");
    }
}

/* ---- Hooks ---------------------------------------------------------------------------------- */

static void on_begin(void *user, restate_ctx *ctx) {
    tell("%s:begin%s ", (const char *)user, restate_request(ctx)->replaying ? "(replaying)" : "");
}

static void on_end(void *user, restate_ctx *ctx, restate_status status) {
    RESTATE_IGNORE(restate_fail(ctx, 1, "by a hook"));      /* changes nothing */
    tell("%s:end(%s) ", (const char *)user, status_name(status));
}

static void on_run_begin(void *user, restate_ctx *run, const char *name) {
    tell("%s:run(%s of %s) ", (const char *)user, name, restate_request(run)->target.handler);
}

static void on_run_end(void *user, restate_ctx *run, const char *name, restate_status status) {
    (void)run;
    tell("%s:ran(%s %s) ", (const char *)user, name, status_name(status));
}

static const restate_pair *outbound(void *user, restate_ctx *ctx, const restate_target *to) {
    static restate_pair headers[2];
    (void)ctx;
    headers[0].name = (const char *)user;
    headers[0].value = to->handler;
    return headers;
}

#define HOOKS(name) { on_begin, on_end, on_run_begin, on_run_end, outbound, (void *)(uintptr_t)name }
static const restate_hooks inner = HOOKS("inner"), outer = HOOKS("outer");

static restate_status gives_1(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, text("1"));
}

static restate_status fails(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_fail(run, 418, "teapot");
}

/* Run, send, then what the input asks for. */
static restate_status hooked(restate_ctx *ctx, restate_bytes in) {
    const restate_target to = { .service = "G", .handler = "g" };
    const restate_pair own[] = { { "own", "1" }, { NULL, NULL } };
    const restate_call_options o = { .headers = own };
    restate_bytes value;
    RESTATE_TRY(restate_run(ctx, "one", gives_1, NULL, NULL, &value));
    restate_send(ctx, to, absent(), &o);
    switch (*in.ptr) {
    case 'f': return restate_run(ctx, "two", fails, NULL, NULL, &value);
    case 's': return restate_sleep(ctx, 1000);
    case 'n': return (restate_status)17;
    case 'm': restate_set(ctx, "k", value); return RESTATE_OK;
    default: return restate_reply(ctx, value);
    }
}

#define EACH_HOOKED EACH(RESTATE_SERVICE, .fn = hooked, .options = { .hooks = &inner })

/* The send of hooked(), as it is recorded. */
static void sends(void) { frame(M_SEND, "1s 2s 5(1s2s) 10u", "G", "g", "own", "1", 2); }

/* Endpoint's first at the beginning, last at the end; closures that execute, and nothing replayed. */
TEST(hooks) {
    ex.defaults.hooks = &outer;
    EACH_HOOKED {
        start(1, .complete = true); input("ok"); give();
        TOLD("outer:begin inner:begin outer:run(one of h) inner:run(one of h) inner:ran(one ok) "
             "outer:ran(one ok) ");
        drop_said();
        run_stored(1, "1"); give();
        SAYS("OneWayCall 2 \"G\" \"g\" \"own\":\"1\" \"outer\":\"g\" \"inner\":\"g\"",
             "Output value \"1\"", "End");
        TOLD("inner:end(ok) outer:end(ok) ");
    }
    EACH_HOOKED {                           /* replayed to the sleep, which suspends */
        start(4, .complete = true); input("sleep"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); give();
        TOLD("");
        sends(); give_and_end();
        TOLD("outer:begin(replaying) inner:begin(replaying) inner:end(ended) outer:end(ended) ");
        drop_said();
    }
    memset(&ex.defaults, 0, sizeof ex.defaults);
}

/* What `end` is told is what became of the attempt, not what the handler hoped for. */
TEST(hooks_are_told_the_outcome) {
    EACH_HOOKED {                           /* the journal has another output */
        start(5); input("ok"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); sends();
        frame(M_OUTPUT, "14(1b)", "other", (size_t)5); give();
        SAYS("Error 570...");
        TOLD("inner:begin(replaying) inner:end(ended) ");
        LOG_HAS("570");
    }
    EACH_HOOKED {
        start(4); input("number"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); sends(); give();
        SAYS("Error 500...");
        TOLD("inner:begin(replaying) inner:end(ended) ");
        LOG_HAS("the handler returned 17, which is no restate_status");
    }
    EACH_HOOKED {
        start(4); input("fail"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); sends(); give();
        drop_said();
        TOLD("inner:begin(replaying) inner:run(two of h) inner:ran(two terminal) ");
        note_failure(N_RUN, 3, 418, "teapot"); give();
        if (ex.version == 7) { note_ack(3); give(); }
        SAYS("Output failure 418 \"teapot\"", "End");
        TOLD("inner:end(terminal) ");
    }
}

static restate_status seal_x(void *user, restate_ctx *ctx, restate_bytes plain, restate_bytes *sealed) {
    (void)user;
    *sealed = restate_str(restate_text(ctx, "x%s", (const char *)plain.ptr));
    return RESTATE_OK;
}

static restate_status open_x(void *user, restate_ctx *ctx, restate_bytes sealed, restate_bytes *plain) {
    (void)user;
    tell("sealed(%s) ", (const char *)restate_request(ctx)->body.ptr);
    if (*sealed.ptr != 'x') return restate_fail(ctx, 400, "not sealed");
    *plain = restate_str(restate_text(ctx, "%s", (const char *)sealed.ptr + 1));
    return RESTATE_OK;
}
static const restate_seal with_x = { seal_x, open_x, NULL, false };

static void looks(void *user, restate_ctx *ctx) {
    (void)user;
    tell("begin(%s) ", (const char *)restate_request(ctx)->body.ptr);
}
static const restate_hooks looking = { .begin = looks };

static restate_status looks_live(restate_ctx *run, void *arg) {
    (void)arg;
    tell("closure(%s%s) ", (const char *)restate_request(run)->body.ptr, restate_request(run)->replaying ? " replaying" : "");
    return RESTATE_OK;
}

static restate_status sealed(restate_ctx *ctx, restate_bytes in) {
    tell("handler(%s %s%s) ", (const char *)in.ptr, (const char *)restate_request(ctx)->body.ptr,
         restate_request(ctx)->replaying ? " replaying" : "");
    RESTATE_TRY(restate_sleep(ctx, 1));
    return restate_run(ctx, "r", looks_live, NULL, NULL, NULL);
}

TEST(requests_are_opened) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = sealed, .options = { .seal = &with_x, .hooks = &looking }) {
        start(3); input("xin"); cmd_sleep(1, "", 5); note_void(N_SLEEP, 1); give();
        TOLD("sealed(xin) begin(in) handler(in in replaying) closure(in) ");
        drop_said();
    }
}

/* ---- The loop: the same result with and without suspensions --------------------------------- */

static restate_target greeter_for(const char *handler) {
    restate_target to = { .service = "Greeter", .handler = handler };
    return to;
}

static restate_status sums(restate_ctx *run, void *arg) {
    const int *n = (const int *)arg;
    return restate_reply(run, text(restate_text(run, "%d", n[0] + n[1])));
}
#define OWN_AWAKEABLE(last) "sign_1MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAA" last

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
    say(ctx, restate_call(ctx, greeter_for("fail"), text("x"), NULL, &v), v);
    f[0] = restate_call_async(ctx, greeter_for("echo"), text("one"), NULL);
    f[1] = restate_call_async(ctx, greeter_for("never"), text("two"), NULL);
    f[2] = restate_call_async(ctx, greeter_for("echo"), text("three"), NULL);
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
    restate_send(ctx, greeter_for("later"), text("s"), NULL);
    RESTATE_TRY(restate_keys(ctx, &keys));
    RESTATE_TRY(restate_get_all(ctx, NULL));
    if (!restate_patched(ctx, "p") || !restate_patched(ctx, "p")) return RESTATE_ENDED;
    restate_patch_done(ctx, "q");
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

static char payload[6001], large_payload[100001];

/* Answers in the other order while it runs: what settled first is what the replay has, too. */
static restate_status orders(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3];
    size_t index;
    (void)in;
    for (int i = 0; i < 3; i++) f[i] = restate_call_async(ctx, greeter_for("echo"), text(restate_text(ctx, "%d", i)), NULL);
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

static restate_status flaky(restate_ctx *run, void *arg) {
    const unsigned *tries = (const unsigned *)arg;
    if (*tries < 2) return restate_retry(run, NULL, "try %u", *tries);
    return restate_reply(run, text("at last"));
}

static unsigned flaky_tries;

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

/* ---- Handlers that do not behave ------------------------------------------------------------ */

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
        case 4: RESTATE_IGNORE(restate_call(ctx, greeter_for("x"), absent(), NULL, &v)); break;
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
            CHECK(restate__attempt_may_free(ex.x->attempt));
            CHECK(ex.memory.peak < 1000000);
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
        CHECK(!restate__attempt_may_free(ex.x->attempt));
        if (ex.handlers[0].options.blocking != RESTATE_ON) {
            CHECK_INT(ex.x->attempt->ctx.life, RESTATE__LIFE_DONE);
            restate__exchange_cut(ex.x);    /* what was reached is not undone */
            CHECK_INT(ex.x->attempt->ctx.life, RESTATE__LIFE_DONE);
        }
        gate_open();
        settle();
        CHECK_INT(ex.x->attempt->ctx.life, RESTATE__LIFE_DONE);
        drop_said();
        ex.log.len = 0;
        if (ex.log.at) *ex.log.at = 0;
    }
}

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
        restate__exchange_drained(ex.x);               /* nothing left: nothing happens */
        turn();
        TOLD("");
        restate__buf_drop(&ex.x->out, restate__buf_peek(&ex.x->out).len);
        restate__exchange_drained(ex.x);               /* not enough left */
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
        restate__exchange_cut(ex.x);
        settle();
        CHECK(restate__attempt_may_free(ex.x->attempt));
        CHECK_STR(ex_text(&ex.told) , ".!");
        ex.told.len = 0;
        *ex.told.at = 0;
    }
}

static restate_status spins_on_futures(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    RESTATE_IGNORE(restate_retry(ctx, NULL, "over"));
    while (restate_awakeable(ctx, NULL)) continue;
    return RESTATE_OK;
}

TEST(spinning_on_futures) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = spins_on_futures) {
        begins(); give();
        SAYS("Error 500...");
        LOG_HAS("and is cut off");
    }
}

/* ---- The connection is lost ----------------------------------------------------------------- */

static restate_status parks(restate_ctx *ctx, restate_bytes in) {
    restate_status s = restate_await(ctx, restate_awakeable(ctx, NULL), NULL);
    (void)in;
    tell("%s ", status_name(s));
    CHECK_INT(ctx->life, RESTATE__LIFE_OVER);
    CHECK(restate_stop_requested(ctx));
    CHECK_INT(restate_sleep(ctx, 1), RESTATE_ENDED);
    return s;
}

TEST(cut_while_parked) {
    for (int release = 0; release < 3; release++)
        EACH(RESTATE_SERVICE, .fn = parks) {
            STARTED();
            drop_said();
            CHECK_INT(ex.x->attempt->ctx.life, RESTATE__LIFE_OPEN);
            restate__exchange_cut(ex.x);
            if (release == 1) restate__exchange_cut(ex.x);
            CHECK_INT(ex.x->attempt->ctx.life, RESTATE__LIFE_CUT);
            if (release == 2) ex_release();
            settle();
            TOLD("ended ");
            if (release != 2) CHECK_INT(ex.x->attempt->ctx.life, RESTATE__LIFE_DONE);
            CHECK_INT(ex.endpoint->invocations, release == 2 ? 0 : 1);
        }
}

TEST(cut_before_start) {
    for (int at = 0; at < 3; at++)
        EACH(RESTATE_SERVICE, .fn = parks) {
            if (at) start(2), input("x");
            if (at == 2) cmd_sleep(1, "", 1);
            ex_feed();
            restate__exchange_cut(ex.x);
            settle();
            TOLD("");
            CHECK(restate__attempt_may_free(ex.x->attempt));
        }
}

TEST(cut_in_a_closure) {
    for (int release = 0; release < 2; release++)
        EACH(RESTATE_SERVICE, .fn = runs_at_gate) {
            begins(); ex_feed(); turn();
            gate_reached(1);
            SAYS("Run 1 \"slow\"");
            restate__exchange_cut(ex.x);
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
    tell("%s ", status_name(restate_sleep(ctx, 1)));
    return RESTATE_OK;
}

TEST(cut_while_detached) {
    for (int release = 0; release < 2; release++)
        EACH(RESTATE_SERVICE, .fn = works_at_gate) {
            if (!ex.handlers[0].options.blocking) continue;
            begins(); ex_feed(); turn();
            gate_reached(1);
            CHECK_INT(ex.x->attempt->state, RESTATE__ATTEMPT_DETACHED);
            restate__exchange_cut(ex.x);
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

static restate_status never_awaits(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_run_async(ctx, "a", closure, (void *)(uintptr_t)"value", NULL);
    return RESTATE_OK;
}

TEST(input_ends_after_the_end) {
    for (int release = 0; release < 2; release++)
        EACH(RESTATE_SERVICE, .fn = never_awaits) {
            STARTED();
            SAYS("Run 1 \"a\"", EMPTY_OUTPUT);
            restate__exchange_end_input(ex.x);
            restate__exchange_cut(ex.x);
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

/* ---- The wrong thread ----------------------------------------------------------------------- */

static restate_ctx *stolen;

/* One call each; nothing of the attempt may be touched. */
static void *steals(void *arg) {
    restate_bytes value = text("x");
    const char *const *keys;
    (void)arg;
    switch (variant) {
    case 0: CHECK_INT(restate_sleep(stolen, 1), RESTATE_ENDED); break;
    case 1: CHECK_INT(restate_reply(stolen, value), RESTATE_ENDED); break;
    case 2: CHECK_INT(restate_fail(stolen, 1, "x"), RESTATE_ENDED); break;
    case 3: CHECK_INT(restate_retry(stolen, NULL, "x"), RESTATE_ENDED); break;
    case 4: CHECK_INT(restate_random(stolen), 0); break;
    case 5: CHECK_STR(restate_uuid(stolen), ""); break;
    case 6: CHECK_INT(restate_get(stolen, "k", &value), RESTATE_ENDED); break;
    case 7: CHECK_INT(restate_keys(stolen, &keys), RESTATE_ENDED); break;
    case 8: CHECK_INT(restate_set(stolen, "k", value), RESTATE_ENDED); break;
    case 9: CHECK_INT(restate_await(stolen, restate_awakeable(stolen, NULL), NULL), RESTATE_ENDED); break;
    case 10: CHECK_INT(restate_selector_remaining(restate_selector_new(stolen, NULL, 0)), 0); break;
    default: CHECK_INT(restate_run(stolen, "r", gives_1, NULL, NULL, &value), RESTATE_ENDED); break;
    }
    return NULL;
}

static restate_status is_stolen_from(restate_ctx *ctx, restate_bytes in) {
    pthread_t thief;
    stolen = ctx;
    if (pthread_create(&thief, NULL, steals, NULL) != 0) abort();
    pthread_join(thief, NULL);
    if (*in.ptr == 'n') CHECK_INT(restate_set(ctx, "k", text("v")), RESTATE_ENDED);
    return restate_reply(ctx, text("lost"));
}

/* Found out at the handler's next call, or when it returns. */
TEST(another_thread) {
    for (variant = 0; variant < 12; variant++)
        for (int last = 0; last < 2; last++)
            EACH_OF(7, 7, RESTATE_OBJECT, .fn = is_stolen_from) {
                start(1, .complete = true); input(last ? "last" : "next"); give();
                SAYS("Error 500 index:0 Input message:\"S/h: ...");
                LOG_HAS("the handler's context was used in a closure, or by another thread");
            }
}

/* ---- Out of memory -------------------------------------------------------------------------- */

static restate_status careless(restate_ctx *ctx, restate_bytes in) {     /* checks nothing */
    restate_future *f[3];
    restate_bytes v;
    const char *id;
    f[0] = restate_awakeable(ctx, &id);
    f[1] = restate_call_async(ctx, greeter_for("echo"), text(payload), NULL);
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

/* Whatever fails: no crash, no leak, the attempt fails or ends well; the next one ends well. */
static void refuse(restate_handler_fn *fn, const fault *f, size_t least) {
    static char where[100];
    bool on = f->how == FAULT_ON;
    fault_memory = &ex.memory;
    fault_here(true);
    memset(payload, 'p', sizeof payload - 1);
    for (unsigned version = 5; version <= 7; version += 2)
        for (int blocking = 0; blocking < 2; blocking++) {
            bool enough = false;
            size_t n;
            for (n = 1; !enough && n < 4000; n++) {
                restate_handler handler = { .fn = fn };
                snprintf(where, sizeof where, "(protocol %u%s, %s %lu fails)", version, blocking ? ", blocking" : "",
                         fault_names[f->kind], (unsigned long)n);
                test_note = where;
                ex.bytewise = false;
                ex_begin(RESTATE_OBJECT, handler, version, blocking);
                sim.state = "a=1;b=2";
                sim.stream = true;
                sim.attempts_max = fn == careless ? 3 : 40;
                fault_arm(f, n);
                if (on) sim.attempts_max = 1;
                sim_run("body");
                enough = !fault_disarm();
                if (!on && fn != careless) CHECK(sim.ended);
                sim_drop();
                ex.told.len = ex.log.len = 0;
                if (ex.told.at) *ex.told.at = 0;
                if (ex.log.at) *ex.log.at = 0;
                ex_end();
            }
            CHECK(enough && n > least);
        }
    fault_here(false);
    test_note = "";
}

static void out_of_memory(restate_handler_fn *fn, bool on) {
    refuse(fn, &(fault){ FAULT_MEMORY, 0, on ? FAULT_ON : FAULT_ONCE }, 5);
}

TEST(out_of_memory_everything) { out_of_memory(everything, false); }

TEST(out_of_memory_from_then_on) { out_of_memory(everything, true); }

TEST(out_of_memory_careless) { out_of_memory(careless, false); out_of_memory(careless, true); }

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

TEST(out_of_memory_in_runs) { out_of_memory(many_runs, false); out_of_memory(many_runs, true); }

/* Nor is there room for stacks, or another thread. */
TEST(out_of_threads_and_stacks) {
    static const fault faults[] = {
        { FAULT_MMAP, ENOMEM, FAULT_ONCE }, { FAULT_MMAP, ENOMEM, FAULT_ON }, { FAULT_MPROTECT, ENOMEM, FAULT_ONCE },
        { FAULT_MPROTECT, ENOMEM, FAULT_ON }, { FAULT_THREAD, EAGAIN, FAULT_ONCE }, { FAULT_THREAD, EAGAIN, FAULT_ON },
        { FAULT_ATTR, ENOMEM, FAULT_ONCE }, { FAULT_MUTEX, ENOMEM, FAULT_ONCE }, { FAULT_COND, EAGAIN, FAULT_ONCE },
        { FAULT_COND, EAGAIN, FAULT_ON }
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        unsigned long before = fault_total[faults[i].kind];
        refuse(everything, &faults[i], 0);
        refuse(many_runs, &faults[i], 0);
        CHECK(fault_total[faults[i].kind] > before);
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(handler_ends), T(request_info), T(request_info_of_little), T(random_vectors),
        T(random_doubles_and_numbers_below), T(bytes_in_formats),
        T(random_is_the_same_on_replay), T(memory_and_text), T(key_in_a_closure),
        T(named_by_its_function), T(handlers_named_by_functions), T(kinds), T(request_in_a_closure),
        T(closures_see_the_request), T(hooks), T(hooks_are_told_the_outcome),
        T(requests_are_opened), T(to_the_end), T(order_is_the_journals), T(retried_to_the_end),
        T(spinning), T(spinning_beside_a_closure), T(output_holds_back), T(output_held_back_is_cut),
        T(spinning_on_futures), T(cut_while_parked), T(cut_before_start), T(cut_in_a_closure),
        T(cut_while_detached), T(broken_while_detached), T(broken_in_a_closure),
        T(input_ends_after_the_end), T(stall_warning), T(another_thread),
        T(out_of_memory_everything), T(out_of_memory_from_then_on), T(out_of_memory_careless),
        T(out_of_memory_in_runs), T(out_of_threads_and_stacks),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
