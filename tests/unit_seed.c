/* What users of the Go SDK count on, where no other test has it: see tests/features/seed.md. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include <cjson/cJSON.h>
#include "../build/proto/order.pb.c"
#include "exchange.h"

/* A status, and what came with it: "ok(value) ", "ok(-) " if absent, "terminal(409 why) ". */
static restate_status say(restate_ctx *ctx, restate_status s, restate_bytes value) {
    static const char *const names[] = { "ok", "terminal", "timeout", "cancelled", "ended" };
    const restate_failure *f = restate_failed(ctx);
    if (s == RESTATE_OK) tell("ok(%s) ", value.ptr ? (const char *)value.ptr : "-");
    else if (s == RESTATE_ENDED) tell("ended ");
    else tell("%s(%u %s) ", names[s], f->code, f->message);
    return s;
}

static const restate_bytes absent;
static int variant;                         /* what a handler is to do */

static restate_target greeter(const char *key) {
    return (restate_target){ .service = "Greeter", .handler = "greet", .key = key };
}

/* A line of expected output. */
static const char *line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *line(const char *format, ...) {
    static char ring[8][200];
    static unsigned at;
    char *to = ring[at++ % 8];
    va_list args;
    va_start(args, format);
    vsnprintf(to, sizeof ring[0], format, args);
    va_end(args);
    return to;
}

#define OWN_ID "0123456789abcdefghijklmn"
#define OWN_AWAKEABLE "sign_1MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAAEQ"
#define EMPTY_OUTPUT "Output value \"\"", "End"

/* ---- Codecs ---------------------------------------------------------------------------------- */

static restate_status slash_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                                   restate_bytes *out) {
    const Total *t = (const Total *)value;
    (void)self;
    if (t->orders < 0) return restate_fail(ctx, 418, "%d orders", (int)t->orders);
    *out = restate_str(restate_text(ctx, "%d/%d", (int)t->cents, (int)t->orders));
    return RESTATE_OK;
}

static restate_status slash_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                   void *value) {
    int cents, orders;
    Total *t = (Total *)value;
    (void)self;
    if (sscanf((const char *)in.ptr, "%d/%d", &cents, &orders) != 2)
        return restate_fail(ctx, 418, "no slash");
    t->cents = cents;
    t->orders = orders;
    return RESTATE_OK;
}

static const restate_codec slash = { .content_type = "text/x-slash", .encode = slash_encode,
                                     .decode = slash_decode };
static const restate_codec proto = RESTATE_PROTO(Total);
static const restate_codec protojson = RESTATE_PROTOJSON(Total);

enum { JSON, BYTES, PROTO, PROTOJSON, CUSTOM, FORMS };
static const struct {
    const restate_codec *codec;
    const char *wire, *shown;               /* 5 cents in 2 orders; the same as SAYS shows it */
    const char *bad;                        /* NULL: anything can be decoded */
    const char *input, *output;             /* in the manifest */
} forms[FORMS] = {
    { RESTATE_JSON, "{\"cents\":5,\"orders\":2}", NULL, "{5",
      "true,\"contentType\":\"application/json\"", "\"contentType\":\"application/json\"" },
    { RESTATE_BYTES, "5 2", NULL, NULL, "false,\"contentType\":\"*/*\"",
      "\"contentType\":\"application/octet-stream\",\"setContentTypeIfEmpty\":true" },
    { &proto, "\x08\x05\x10\x02", "\\x08\\x05\\x10\\x02", "\x08",
      "true,\"contentType\":\"application/proto\"",
      "\"contentType\":\"application/proto\",\"setContentTypeIfEmpty\":true" },
    { &protojson, "{\"cents\":\"5\",\"orders\":2}", NULL, "{\"cents\":true}",
      "true,\"contentType\":\"application/json\"", "\"contentType\":\"application/json\"" },
    { &slash, "5/2", NULL, "52", "true,\"contentType\":\"text/x-slash\"",
      "\"contentType\":\"text/x-slash\",\"setContentTypeIfEmpty\":true" },
};

static restate_bytes total_out(restate_ctx *ctx) {
    Total t = { 5, 2 };
    if (variant == JSON) {
        cJSON *tree = restate_json_own(ctx, cJSON_CreateObject());
        cJSON_AddNumberToObject(tree, "cents", (double)t.cents);
        cJSON_AddNumberToObject(tree, "orders", t.orders);
        return restate_encode(ctx, RESTATE_JSON, tree);
    }
    if (variant == BYTES) {
        restate_bytes text = restate_str(restate_text(ctx, "%d %d", (int)t.cents, (int)t.orders));
        return restate_encode(ctx, RESTATE_BYTES, &text);
    }
    return restate_encode(ctx, forms[variant].codec, &t);
}

static restate_status total_in(restate_ctx *ctx, restate_bytes bytes) {
    Total t = { 5, 2 };
    if (variant == JSON) {
        cJSON *tree = NULL;
        RESTATE_TRY(restate_decode(ctx, RESTATE_JSON, bytes, &tree));
        t.cents = (int64_t)cJSON_GetNumberValue(cJSON_GetObjectItem(tree, "cents"));
        t.orders = (int32_t)cJSON_GetNumberValue(cJSON_GetObjectItem(tree, "orders"));
    } else if (variant == BYTES) {
        restate_bytes text = { NULL, 0 };
        RESTATE_TRY(restate_decode(ctx, RESTATE_BYTES, bytes, &text));
        CHECK(text.len == 3 && memcmp(text.ptr, "5 2", 3) == 0);
    } else {
        t = (Total)Total_init_zero;
        RESTATE_TRY(restate_decode(ctx, forms[variant].codec, bytes, &t));
    }
    tell("%d/%d ", (int)t.cents, (int)t.orders);
    return RESTATE_OK;
}

static restate_status total_step(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, total_out(run));
}

/* Out and in again, through everything that takes a value. */
static restate_status carries(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    restate_bytes b;
    const char *id;
    RESTATE_TRY(total_in(ctx, in));
    RESTATE_TRY(restate_set(ctx, "k", total_out(ctx)));
    RESTATE_TRY(restate_get(ctx, "k", &b));
    RESTATE_TRY(total_in(ctx, b));
    RESTATE_TRY(restate_run(ctx, "step", total_step, NULL, NULL, &b));
    RESTATE_TRY(total_in(ctx, b));
    RESTATE_TRY(restate_call(ctx, greeter(NULL), total_out(ctx), NULL, &b));
    RESTATE_TRY(total_in(ctx, b));
    restate_send(ctx, greeter(NULL), total_out(ctx), NULL);
    f = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_resolve(ctx, id, total_out(ctx)));
    RESTATE_TRY(restate_await(ctx, f, &b));
    RESTATE_TRY(total_in(ctx, b));
    f = restate_promise(ctx, "p");
    RESTATE_TRY(restate_promise_resolve(ctx, "p", total_out(ctx)));
    RESTATE_TRY(restate_await(ctx, f, &b));
    RESTATE_TRY(total_in(ctx, b));
    return restate_reply(ctx, total_out(ctx));
}

TEST(codecs_of_operations) {
    for (variant = 0; variant < FORMS; variant++)
        EACH(RESTATE_WORKFLOW, .fn = carries) {
            const char *w = forms[variant].wire;
            const char *v = forms[variant].shown ? forms[variant].shown : w;
            start(1, .complete = true, .id = OWN_ID, .key = "k"); input(w); give();
            SAYS(line("SetState \"k\" value \"%s\"", v),
                 line("GetEagerState \"k\" value \"%s\"", v), "Run 2 \"step\"",
                 line("Propose 2 value \"%s\" ack", v), "AwaitingOn W{c:2,s:1}");
            if (ex.version == 7) note_ack(2);
            else note_value(N_RUN, 2, w);
            give();
            SAYS(line("Call 3 4 \"Greeter\" \"greet\" parameter:\"%s\"", v),
                 "AwaitingOn W{c:4,s:1}");
            note_value(N_CALL, 4, w); give();
            SAYS(line("OneWayCall 5 \"Greeter\" \"greet\" parameter:\"%s\"", v),
                 line("CompleteAwakeable \"" OWN_AWAKEABLE "\" value \"%s\"", v),
                 "AwaitingOn W{s:1,17}");
            note_signal(17, w); give();
            SAYS("GetPromise 6 \"p\"", line("CompletePromise 7 \"p\" value \"%s\"", v),
                 "AwaitingOn W{c:7,s:1}");
            note_void(N_COMPLETE_PROMISE, 7); note_value(N_GET_PROMISE, 6, w); give();
            TOLD("5/2 5/2 5/2 5/2 5/2 5/2 ");
            SAYS(line("Output value \"%s\"", v), "End");
        }
}

static restate_status reads_input(restate_ctx *ctx, restate_bytes in) { return total_in(ctx, in); }

static restate_status reads_state(restate_ctx *ctx, restate_bytes in) {
    restate_bytes stored;
    (void)in;
    RESTATE_TRY(restate_get(ctx, "k", &stored));
    return total_in(ctx, stored);
}

TEST(undecodable_input_is_400) {
    for (variant = 0; variant < FORMS; variant++)
        if (forms[variant].bad)
            EACH(RESTATE_SERVICE, .fn = reads_input) {
                start(1); input(forms[variant].bad); give();
                SAYS("Output failure 400 \"...", "End");
            }
}

TEST(undecodable_state_is_500) {
    for (variant = 0; variant < FORMS; variant++)
        if (forms[variant].bad)
            EACH(RESTATE_OBJECT, .fn = reads_state) {
                start(1, .complete = true, .key = "o", .state = line("k=%s", forms[variant].bad));
                input("in"); give();
                SAYS("GetEagerState \"k\" value \"...", "Output failure 500 \"...", "End");
            }
}

static restate_status cannot_encode(restate_ctx *ctx, restate_bytes in) {
    const Total t = { 1, -1 };
    (void)in;
    CHECK(!restate_encode(ctx, &slash, &t).ptr);
    return restate_reply(ctx, restate_encode(ctx, &slash, &t));
}

/* The value may be right in a later version of the program. */
TEST(unencodable_is_retried) {
    EACH(RESTATE_SERVICE, .fn = cannot_encode) {
        start(1); input("in"); give();
        SAYS("Error 500 index:0 Input message:\"S/h: restate_encode(): -1 orders\"");
        LOG_HAS("ERROR the attempt failed with 500: S/h: restate_encode(): -1 orders");
    }
}

/* ---- Definitions ----------------------------------------------------------------------------- */

static restate_status nothing(restate_ctx *ctx, restate_bytes in) {
    (void)ctx;
    (void)in;
    return RESTATE_OK;
}
static restate_status add(restate_ctx *ctx, restate_bytes in) { return nothing(ctx, in); }
static restate_status get(restate_ctx *ctx, restate_bytes in) { return nothing(ctx, in); }

/* Opens an endpoint, and gives what it tells the server. */
static const char *manifest(const restate_service *const *services) {
    ex_memory();
    ex_worker();
    ex.options.services = services;
    ex.endpoint = restate_endpoint_new(&ex.options);
    ex.options.services = NULL;
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
    ex_new();
    header(":method", "GET");
    header(":path", "/discover");
    header("accept", "application/vnd.restate.endpointmanifest.v4+json");
    restate__x_begin(ex.x, false);
    CHECK_INT(ex.x->status, 200);
    ex_collect();
    rt.seen = rt.raw.len;
    return ex_text(&rt.raw);
}

TEST(payload_codecs_are_told) {
    for (int i = 0; i < FORMS; i++) {
        const restate_service s = { .name = "S", .handlers = RESTATE_HANDLERS(
            { .name = "h", .fn = nothing, .input = forms[i].codec, .output = forms[i].codec }) };
        const char *told = manifest(RESTATE_SERVICES(&s));
        CHECK_HAS(told, line("\"input\":{\"required\":%s}", forms[i].input));
        CHECK_HAS(told, line("\"output\":{%s}", forms[i].output));
        ex_end();
    }
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
    const char *told = manifest(RESTATE_SERVICES(&service, &object, &workflow));
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

/* Names out of the functions; the service's is what is set. */
TEST(handlers_named_by_functions) {
    const restate_service s = { .name = "My.Counter", .kind = RESTATE_OBJECT,
        .handlers = RESTATE_HANDLERS({ RESTATE_HANDLER(add), .output = RESTATE_VOID },
                                     { RESTATE_HANDLER(get), .shared = true,
                                       .input = RESTATE_VOID }) };
    CHECK_HAS(manifest(RESTATE_SERVICES(&s)),
        "{\"name\":\"My.Counter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"add\","
        "\"ty\":\"EXCLUSIVE\",\"input\":{\"required\":true,\"contentType\":\"application/json\"},"
        "\"output\":{}},{\"name\":\"get\",\"ty\":\"SHARED\",\"input\":{},"
        "\"output\":{\"contentType\":\"application/json\"}}]}");
    ex_end();
}

/* ---- Void ------------------------------------------------------------------------------------ */

static restate_status void_everywhere(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    CHECK(in.ptr && !in.len);
    CHECK(restate_encode(ctx, RESTATE_VOID, NULL).len == 0);
    CHECK_INT(restate_decode(ctx, RESTATE_VOID, restate_str("ignored"), NULL), RESTATE_OK);
    RESTATE_TRY(restate_call(ctx, greeter(NULL), absent, NULL, NULL));
    restate_send(ctx, greeter(NULL), absent, NULL);
    f = restate_awakeable(ctx, NULL);
    RESTATE_TRY(restate_await(ctx, f, NULL));
    return restate_reply(ctx, absent);
}

TEST(void_sends_nothing_and_ignores_all) {
    EACH(RESTATE_SERVICE, .fn = void_everywhere) {
        start(1); input(""); give();
        SAYS("Call 1 2 \"Greeter\" \"greet\"", "AwaitingOn W{c:2,s:1}");
        note_value(N_CALL, 2, "a body"); give();
        SAYS("OneWayCall 3 \"Greeter\" \"greet\"", "AwaitingOn W{s:1,17}");
        note_signal(17, "another"); give();
        SAYS(EMPTY_OUTPUT);
    }
}

/* ---- Clients --------------------------------------------------------------------------------- */

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

/* ---- Timers and cancellation ----------------------------------------------------------------- */

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
    say(ctx, restate_sleep(ctx, 1), absent);
    return say(ctx, restate_sleep(ctx, 1), absent);
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

static restate_status reads(restate_ctx *ctx, restate_bytes in) {
    const char *const *keys;
    restate_bytes value;
    if (*in.ptr == 'k') {
        say(ctx, restate_keys(ctx, &keys), absent);
        CHECK(keys && !*keys);
    } else {
        say(ctx, restate_get(ctx, "a", &value), value);
    }
    RESTATE_TRY(restate_set(ctx, "b", in));
    return say(ctx, restate_sleep(ctx, 1), absent);
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

/* ---- Errors ---------------------------------------------------------------------------------- */

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
    else say(ctx, s, absent);
    RESTATE_TRY(s == RESTATE_TERMINAL ? RESTATE_OK : s);
    say(ctx, restate_call(ctx, greeter(NULL), absent, NULL, &value), value);
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

/* ---- What a closure may use ------------------------------------------------------------------ */

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

static restate_status asks(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    CHECK_STR(restate_key(ctx), "ada");
    restate_log(ctx, RESTATE_LOG_INFO, "in the %s", "handler");
    return restate_run(ctx, "look", looks_around, NULL, NULL, NULL);
}

TEST(closures_see_the_request) {
    EACH(RESTATE_OBJECT, .fn = asks, .shared = true) {
        ex.endpoint->logger.to.write = write_names;
        start(1, .key = "ada", .debug_id = "inv_1own");
        frame(M_INPUT, "1(1s2s) 14(1s)", "x-one", "1", "in"); give();
        TOLD("inv_1own S/h in the handler\ninv_1own S/h in the closure\n");
        SAYS("Run 1 \"look\"", "Propose 1 value \"\" ack", "AwaitingOn W{c:1,s:1}");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(codecs_of_operations), T(undecodable_input_is_400), T(undecodable_state_is_500),
        T(unencodable_is_retried), T(payload_codecs_are_told), T(kinds),
        T(handlers_named_by_functions), T(void_sends_nothing_and_ignores_all),
        T(clients_of_all_kinds), T(timers), T(cancelled_while_reading_state),
        T(codes_of_errors), T(closures_see_the_request), { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
