/* Section >>endpoint: what is checked and copied, routes, discovery, refusals. A number in a name is that
 * of tests/scenarios.md. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/exchange.c"

static restate_status done(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }

/* ---- What is checked --------------------------------------------------------------------------- */

static void open_with(const restate_service *const *services) {    /* and with ex.options */
    ex.options.services = services;
    ex_worker();
    ex.endpoint = restate_endpoint_new(&ex.options);
    ex.options.services = NULL;
}

static void open_one(restate_service service) {
    const restate_service *services[2];
    services[0] = &service;
    services[1] = NULL;
    open_with(services);
}

static void expect_error(const char *file, int line, restate_service service, const char *message) {
    ex_memory();
    open_one(service);
    test_str(file, line, "restate_endpoint_error", restate_endpoint_error(ex.endpoint), message);
    CHECK_INT(ex.endpoint->invalid, *message != 0);
    ex_end();
}

#define HANDLERS(...) .handlers = (const restate_handler[]){ __VA_ARGS__, { .name = NULL } }
#define H(n) { .name = n, .fn = done }
#define SERVICE(...) ((restate_service){ .name = "S", __VA_ARGS__ })
#define NAMED(...) ((restate_service){ __VA_ARGS__ })
#define ERROR_OF(message, service) expect_error(__FILE__, __LINE__, service, message)
#define HANDLER_NAME ": the name of a handler is letters, digits and _, and begins with a letter"
#define SERVICE_NAME ": the name of a service is letters, digits, _ . and -, and begins with a letter"

static restate_service one(const char *name, const char *handler) {
    static restate_handler handlers[2];
    restate_service s = { .name = name };
    handlers[0].name = handler;
    handlers[0].fn = done;
    s.handlers = handlers;
    return s;
}

static const char *const some_keys[] = { "publickeyv1_FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF", NULL };

TEST(names) {
    static const char *const good[] = { "S", "a", "_a", "_1", "Service_9", "A1" };
    static const char *const good_services[] = { "a.b-c", "a.", "a-", "_a.b", "x-restate", "openapis", "open", "OpenAPI2" };
    static const char *const bad[] = { "", "1a", "_", "__", "a b", "a/b", "\xC3\xA9", "a\n", "-a", ".a", "a:b", "a+" };
    static const char *const reserved[] = { "restate", "Restate", "restatefoo", "RESTATE.x", "openapi", "OpenApi" };
    char message[200];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ERROR_OF("", one(good[i], "h"));
        ERROR_OF("", one("S", good[i]));
    }
    for (size_t i = 0; i < sizeof good_services / sizeof *good_services; i++) {
        ERROR_OF("", one(good_services[i], "h"));
        if (i > 3) continue;
        snprintf(message, sizeof message, "handler S/%s" HANDLER_NAME, good_services[i]);
        ERROR_OF(message, one("S", good_services[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(message, sizeof message, "service %s" SERVICE_NAME, bad[i]);
        ERROR_OF(message, one(bad[i], "h"));
        snprintf(message, sizeof message, "handler S/%s" HANDLER_NAME, bad[i]);
        ERROR_OF(message, one("S", bad[i]));
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        snprintf(message, sizeof message, "service %s: the name is reserved", reserved[i]);
        ERROR_OF(message, one(reserved[i], "h"));
        if (!strchr(reserved[i], '.')) ERROR_OF("", one("S", reserved[i]));
    }
}

TEST(handlers) {
    static const restate_codec broken = { .content_type = "application/json", .json_schema = "{" };
    static const restate_codec fine = { .content_type = "application/json", .json_schema = " {\"type\": \"string\"} " };
    ERROR_OF("a service has no name", NAMED(HANDLERS(H("h"))));
    ERROR_OF("service S: it has no handlers", SERVICE(.handlers = NULL));
    ERROR_OF("service S: it has no handlers", SERVICE(HANDLERS({ .name = NULL })));
    ERROR_OF("handler S/h: .fn is NULL", SERVICE(HANDLERS({ .name = "h" })));
    ERROR_OF("handler S/b: there are two of that name", SERVICE(HANDLERS(H("a"), H("b"), H("c"), H("b"))));
    ERROR_OF("", SERVICE(HANDLERS(H("a"), H("A"))));
    ERROR_OF("handler S/h: .shared is for handlers of objects and workflows",
             SERVICE(HANDLERS({ .name = "h", .fn = done, .shared = true })));
    ERROR_OF("", SERVICE(.kind = RESTATE_OBJECT, HANDLERS({ .name = "h", .fn = done, .shared = true })));
    ERROR_OF("service S: a workflow has exactly one handler that is not .shared, but 0 are",
             SERVICE(.kind = RESTATE_WORKFLOW, HANDLERS({ .name = "h", .fn = done, .shared = true })));
    ERROR_OF("service S: a workflow has exactly one handler that is not .shared, but 2 are",
             SERVICE(.kind = RESTATE_WORKFLOW, HANDLERS(H("a"), { .name = "h", .fn = done, .shared = true }, H("b"))));
    ERROR_OF("", SERVICE(.kind = RESTATE_WORKFLOW, HANDLERS({ .name = "h", .fn = done, .shared = true }, H("b"))));
    ERROR_OF("handler S/h: the json_schema of its input is not JSON", SERVICE(HANDLERS({ .name = "h", .fn = done, .input = &broken })));
    ERROR_OF("handler S/h: the json_schema of its output is not JSON", SERVICE(HANDLERS({ .name = "h", .fn = done, .output = &broken })));
    ERROR_OF("", SERVICE(HANDLERS({ .name = "h", .fn = done, .input = &fine, .output = &fine })));
}

TEST(options) {
    ERROR_OF("handler S/h: idempotency_retention_ms is not for the main handler of a workflow",
             SERVICE(.kind = RESTATE_WORKFLOW, HANDLERS({ .name = "h", .fn = done, .options = { .idempotency_retention_ms = 1 } })));
    ERROR_OF("handler S/h: it cannot be public in a private service", SERVICE(.options = { .ingress_private = RESTATE_ON },
             HANDLERS({ .name = "h", .fn = done, .options = { .ingress_private = RESTATE_OFF } })));
    ERROR_OF("", SERVICE(.options = { .ingress_private = RESTATE_OFF },
             HANDLERS({ .name = "h", .fn = done, .options = { .ingress_private = RESTATE_ON } })));
    ERROR_OF("service S: retry.factor is no number from 1 to 1e9", SERVICE(.options = { .retry = { .factor = 0.5 } }, HANDLERS(H("h"))));
    ERROR_OF("service S: run_retry.factor is no number from 1 to 1e9", SERVICE(.options = { .run_retry = { .factor = -1 } }, HANDLERS(H("h"))));
    ERROR_OF("handler S/h: retry.factor is no number from 1 to 1e9",
             SERVICE(HANDLERS({ .name = "h", .fn = done, .options = { .retry = { .factor = strtod("nan", NULL) } } })));
    ERROR_OF("service S: retry.max_duration_ms is for runs only: set run_retry.max_duration_ms, or retry.max_attempts",
             SERVICE(.options = { .retry = { .max_duration_ms = 1 } }, HANDLERS(H("h"))));
    ERROR_OF("", SERVICE(.options = { .run_retry = { .max_duration_ms = 1, .factor = 1 } }, HANDLERS(H("h"))));
    ERROR_OF("handler S/h: stack_bytes is below 4096", SERVICE(HANDLERS({ .name = "h", .fn = done, .options = { .stack_bytes = 4095 } })));
    ERROR_OF("", SERVICE(HANDLERS({ .name = "h", .fn = done, .options = { .stack_bytes = 4096 } })));
    ERROR_OF("handler S/h: stack_bytes is above 1 GiB", SERVICE(HANDLERS({ .name = "h", .fn = done, .options = { .stack_bytes = SIZE_MAX } })));
    ERROR_OF("service S: .kind is none of SERVICE, OBJECT and WORKFLOW", SERVICE(.kind = (restate_kind)9, HANDLERS(H("h"))));
    ERROR_OF("service S: retry.factor is no number from 1 to 1e9", SERVICE(.options = { .retry = { .factor = strtod("inf", NULL) } }, HANDLERS(H("h"))));
    ERROR_OF("service S: inactivity_timeout_ms is more than 36500 days", SERVICE(.options = { .inactivity_timeout_ms = UINT64_MAX - 1 }, HANDLERS(H("h"))));
    ERROR_OF("", SERVICE(.options = { .inactivity_timeout_ms = RESTATE_ZERO_MS, .abort_timeout_ms = RESTATE_DAYS(36500) }, HANDLERS(H("h"))));
    ERROR_OF("service S: retry.max_interval_ms is more than 730 days", SERVICE(.options = { .retry = { .max_interval_ms = RESTATE_DAYS(731) } }, HANDLERS(H("h"))));
    ERROR_OF("service S: when_exhausted is none of RESTATE_EXHAUSTED_...", SERVICE(.options = { .retry = { .when_exhausted = (restate_exhausted)9 } }, HANDLERS(H("h"))));
    ERROR_OF("service S: on_mismatch is none of RESTATE_MISMATCH_...", SERVICE(.options = { .on_mismatch = (restate_mismatch)4 }, HANDLERS(H("h"))));
    ERROR_OF("handler S/h: its .accept is none: write it as in \"text/csv\"", SERVICE(HANDLERS({ .name = "h", .fn = done, .accept = "blah" })));
    ERROR_OF("handler S/h: its .accept is none: write it as in \"text/csv\"", SERVICE(HANDLERS({ .name = "h", .fn = done, .accept = "" })));
    ERROR_OF("handler S/h: workflow_retention_ms is for the main handler of a workflow",
             SERVICE(HANDLERS({ .name = "h", .fn = done, .options = { .workflow_retention_ms = 1 } })));
}

static void expect_options_error(const char *file, int line, const char *message) {
    open_one(one("S", "h"));
    test_str(file, line, "restate_endpoint_error", restate_endpoint_error(ex.endpoint), message);
    ex_end();
}

#define OPTIONS_ERROR(message, change) do { ex_memory(); change; expect_options_error(__FILE__, __LINE__, message); } while (0)

TEST(endpoint_options) {
    const restate_service s = one("S", "h"), t = one("T", "h");
    restate_endpoint *e;
    OPTIONS_ERROR("", (void)0);
    OPTIONS_ERROR(".threads is more than 1024", ex.options.threads = 1025);
    OPTIONS_ERROR("", ex.options.threads = 1024);
    OPTIONS_ERROR("defaults: retry.factor is no number from 1 to 1e9", ex.options.defaults.retry.factor = 0.1);
    OPTIONS_ERROR("defaults: stack_bytes is below 4096", ex.options.defaults.stack_bytes = 1);
    OPTIONS_ERROR(".closure_stack_bytes is below 16384", ex.options.closure_stack_bytes = 16383);
    OPTIONS_ERROR("", ex.options.closure_stack_bytes = 16384);
    OPTIONS_ERROR(".closure_stack_bytes is above 1 GiB", ex.options.closure_stack_bytes = SIZE_MAX);
    OPTIONS_ERROR(".identity_keys needs Ed25519: define RESTATE_WITH_OPENSSL where RESTATE_IMPLEMENTATION is (and link "
                  "-lcrypto), or give .verify", ex.options.identity_keys = some_keys);
    OPTIONS_ERROR(".allocator: give all three functions or none", ex.options.allocator.free = NULL);
    OPTIONS_ERROR(".allocator: give all three functions or none", ex.options.allocator.alloc = NULL);
    OPTIONS_ERROR(".allocator: give all three functions or none", ex.options.allocator.realloc = NULL);
    ex_memory();
    open_with((const restate_service *const[]){ &s, &t, &s, NULL });
    CHECK_STR(restate_endpoint_error(ex.endpoint), "there are two services named S");
    ex_end();
    ex_memory();
    open_with((const restate_service *const[]){ NULL });
    CHECK_HAS(restate_endpoint_error(ex.endpoint), "the endpoint has no services: set .services");
    ex_end();
    e = restate_endpoint_new(NULL);
    CHECK_HAS(restate_endpoint_error(e), "the endpoint has no services");
    restate_endpoint_free(e);
    restate_endpoint_free(NULL);
    CHECK_STR(restate_endpoint_error(NULL), "out of memory");
}

TEST(default_options) {
    ex_memory();
    ex.options.pool_threads = 0;
    open_one(one("S", "h"));
    CHECK_INT(ex.endpoint->options.pool_threads, 64);
    CHECK_INT(ex.endpoint->pool.stack_bytes, 1 << 20);
    CHECK_INT(ex.endpoint->options.max_invocations, 10000);
    CHECK_INT(ex.endpoint->options.max_message_bytes, 64 << 20);
    CHECK_INT(ex.endpoint->options.window_bytes, 1 << 20);
    ex_end();
}

TEST(out_of_memory) {
    const restate_service a = { .name = "A", .documentation = "d", .metadata = (const restate_pair[]){ { "k", "v" }, { NULL, NULL } },
        .kind = RESTATE_OBJECT, HANDLERS(H("x"), { .name = "y", .fn = done, .shared = true, .input = RESTATE_BYTES }) };
    bool enough = false;
    static char text[6000];
    size_t n;
    memset(text, 'd', sizeof text - 1);
    for (n = 1; !enough && n < 100; n++) {
        restate_service b = a;
        b.name = "B";
        b.documentation = text;
        ex_memory();
        ex.memory.fail_at = n;
        open_with((const restate_service *const[]){ &b, &a, NULL });
        enough = ex.memory.calls < n;
        CHECK_STR(restate_endpoint_error(ex.endpoint), enough ? "" : "out of memory");
        ex_end();
    }
    CHECK(enough && n > 3);
}

/* ---- Requests ------------------------------------------------------------------------------------ */

static const char *body(void) {             /* of the response; the exchange is over */
    static rt_bytes text;
    text.len = 0;
    rt_add(&text, "", 0);
    while (ex.x && ex.x->out.len) {
        restate_bytes b = restate__buf_peek(&ex.x->out);
        rt_add(&text, b.ptr, b.len);
        restate__buf_drop(&ex.x->out, b.len);
    }
    {
        char *copy = (char *)rt_alloc(text.len + 1);
        memcpy(copy, text.at, text.len);
        rt_drop(&text);
        return copy;
    }
}

static const char *response(const char *name) {
    const restate_pair *p = ex.x->response;
    for (; p && p->name; p++)
        if (strcmp(p->name, name) == 0) return p->value;
    return NULL;
}

/* The status that is known at once. NULL: without that field. */
static int request(const char *method, const char *path, const char *name, const char *value) {
    size_t changes;
    if (!ex_new()) return 0;
    if (method) header(":method", method);
    if (path) header(":path", path);
    header(":authority", "localhost:9080");
    header("user-agent", "test");
    if (value) header(name, value);
    changes = ex.changes;
    restate__exchange_begin(ex.x, false);
    CHECK(ex.changes > changes);
    CHECK_STR(response("x-restate-server"), "restate-sdk-c/0.1.0");
    return ex.x->status;
}

#define V7 "application/vnd.restate.invocation.v7"
#define MANIFEST "application/vnd.restate.endpointmanifest.v"

static int invoke_at(const char *path) { return request("POST", path, "content-type", V7); }

static void refused(int status, int wanted, const char *message) {
    char log[400];
    CHECK_INT(status, wanted);
    CHECK(ex.x->finished && !ex.x->attempt);
    CHECK_STR(response("content-type"), "application/json");
    CHECK_STR(body(), message);
    snprintf(log, sizeof log, " with %d: ", wanted);
    LOG_HAS(log);
    restate__exchange_feed(ex.x, restate_str("what still comes is dropped"));
    restate__exchange_end_input(ex.x);
    restate__exchange_drained(ex.x);
    settle();
    CHECK_STR(body(), "");
}

static void open_two(void) {
    static const restate_handler handlers[] = { H("add"), H("zero"), H("get"), { .name = NULL } };
    static const restate_service counter = { .name = "Counter", .handlers = handlers, .kind = RESTATE_OBJECT };
    restate_service s = one("S", "h");
    ex_memory();
    open_with((const restate_service *const[]){ &s, &counter, NULL });
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
}

TEST(s138_routes) {
    open_two();
    CHECK_INT(invoke_at("/invoke/S/h"), 200);
    CHECK_STR(response("content-type"), V7);
    CHECK(!ex.x->finished && ex.x->attempt && strcmp(ex.x->attempt->handler->name, "h") == 0);
    CHECK_INT(invoke_at("/p/q/invoke/Counter/zero"), 200);
    CHECK(strcmp(ex.x->attempt->handler->service, "Counter") == 0 && strcmp(ex.x->attempt->handler->name, "zero") == 0);
    CHECK_INT(invoke_at("/invoke/invoke/S/h"), 200);
    CHECK_INT(invoke_at("/discover/invoke/S/h"), 200);
    CHECK_INT(invoke_at("/invoke/S/h?x=/a/b"), 200);
    CHECK_INT(request("GET", "/discover", "accept", MANIFEST "4+json"), 200);
    CHECK(ex.x->finished && !ex.x->attempt);
    CHECK_INT(request("GET", "/p/discover", "accept", MANIFEST "4+json"), 200);
    CHECK_INT(request("GET", "/discover?q=1/health", "accept", MANIFEST "4+json"), 200);
    CHECK_STR(response("content-type"), MANIFEST "4+json");
    CHECK_INT(request("GET", "/health", NULL, NULL), 200);
    CHECK_STR(response("content-type"), "text/plain");
    CHECK_STR(body(), "ok");
    CHECK_INT(request("GET", "/a/b/c/d/health", NULL, NULL), 200);
    ex_release();
    settle();
    rt.seen = rt.raw.len;
    ex_end();
}

TEST(s138_not_found) {
    static const char *const paths[] = {
        "/invoke/S", "/", "", "/invoke", "/invoke/S/h/", "/invoke//S/h", "/INVOKE/S/h", "/invokes/S/h", "/x/S/h", "discover", "/discover/",
        "/healthy", "/xdiscover", "////", "invoke/S/h", "?/invoke/S/h"
    };
    open_two();
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char message[200];
        test_note = paths[i];
        snprintf(message, sizeof message, "{\"message\":\"there is /invoke/SERVICE/HANDLER, /discover and /health, got %s\"}", paths[i]);
        refused(invoke_at(paths[i]), 404, message);
    }
    test_note = "";
    refused(request("GET", NULL, NULL, NULL), 404, "{\"message\":\"there is /invoke/SERVICE/HANDLER, /discover and /health, got no path\"}");
    ex_end();
}

TEST(s139_unknown) {
    open_two();
    refused(invoke_at("/invoke/Nope/h"), 404, "{\"message\":\"no service Nope here\"}");
    refused(invoke_at("/invoke/s/h"), 404, "{\"message\":\"no service s here\"}");
    refused(invoke_at("/invoke/Sx/h"), 404, "{\"message\":\"no service Sx here\"}");
    refused(invoke_at("/invoke/Count/add"), 404, "{\"message\":\"no service Count here\"}");
    refused(invoke_at("/invoke//h"), 404, "{\"message\":\"no service  here\"}");
    refused(invoke_at("/invoke/S/H"), 404, "{\"message\":\"service S has no handler H\"}");
    refused(invoke_at("/invoke/Counter/"), 404, "{\"message\":\"service Counter has no handler \"}");
    refused(invoke_at("/invoke/Counter/adds"), 404, "{\"message\":\"service Counter has no handler adds\"}");
    refused(invoke_at("/invoke/Counter/ad\"d"), 404, "{\"message\":\"service Counter has no handler ad\\\"d\"}");
    refused(invoke_at("/invoke/S\x1B[2J\xFF/h"), 404, "{\"message\":\"no service S?[2J? here\"}");
    ex_end();
}

TEST(methods) {
    open_two();
    refused(request("GET", "/invoke/S/h", "content-type", V7), 405, "{\"message\":\"a handler is invoked with POST, got GET\"}");
    refused(request("post", "/invoke/S/h", "content-type", V7), 405, "{\"message\":\"a handler is invoked with POST, got post\"}");
    refused(request(NULL, "/invoke/S/h", "content-type", V7), 405, "{\"message\":\"a handler is invoked with POST, got no method\"}");
    refused(request("POST", "/discover", "accept", MANIFEST "4+json"), 405, "{\"message\":\"this is asked for with GET, got POST\"}");
    refused(request("PUT", "/health", NULL, NULL), 405, "{\"message\":\"this is asked for with GET, got PUT\"}");
    refused(request("HEAD", "/invoke/S/h", "content-type", V7), 405, "");  /* whose answer has no body */
    CHECK_INT(request("HEAD", "/health", NULL, NULL), 200);
    ex_end();
}

TEST(content_types) {
    static const char *const unsupported[] = { "v4", "v8", "v1", "v", "v77", "v7; charset=utf-8", "v07", "v7 ", "v:", "v-1" };
    static const char *const foreign[] = { "application/json", "", "application/vnd.restate.invocation", "APPLICATION/vnd.restate.invocation.v7",
                                           "application/vnd.restate.Invocation.v7" };
    open_two();
    refused(request("POST", "/invoke/S/h", NULL, NULL), 415,
            "{\"message\":\"the content type is missing: is this called directly? Call it through the Restate server's ingress\"}");
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        char type[80], message[200];
        test_note = unsupported[i];
        snprintf(type, sizeof type, "application/vnd.restate.invocation.%s", unsupported[i]);
        snprintf(message, sizeof message, "{\"message\":\"service protocol %s is not supported, only v5 to v7: register the deployment again\"}",
                 unsupported[i]);
        refused(request("POST", "/invoke/S/h", "content-type", type), 415, message);
        refused(request("POST", "/invoke/Nope/h", "content-type", type), 415, message);     /* comes before the 404 */
    }
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        char message[200];
        test_note = foreign[i];
        snprintf(message, sizeof message, "{\"message\":\"%s is not a content type of Restate: call the handler through the Restate server's ingress\"}",
                 foreign[i]);
        refused(request("POST", "/invoke/S/h", "content-type", foreign[i]), 415, message);
    }
    test_note = "";
    ex_end();
    for (unsigned version = 5; version <= 7; version++) {
        open_two();
        ex.version = version;
        CHECK(invoke());
        CHECK_INT(ex.x->status, 200);
        CHECK_INT(response("content-type")[35 + 1] - '0', version);
        start(1); input("echo"); give();
        SAYS("Output value \"echo\"", "End");
        ex_end();
    }
}

TEST(limits) {
    static const restate_service *services[2];
    restate_service s = one("S", "h");
    restate__exchange *first;
    char *large = (char *)malloc(70000);
    services[0] = &s;
    ex_memory();
    ex.options.max_invocations = 1;
    open_with(services);
    CHECK_INT(invoke_at("/invoke/S/h"), 200);
    CHECK_INT(ex.endpoint->invocations, 1);
    first = ex.x;
    ex.x = NULL;
    refused(invoke_at("/invoke/S/h"), 503, "{\"message\":\"the endpoint has max_invocations under way\"}");
    CHECK_INT(request("GET", "/health", NULL, NULL), 200);
    CHECK_STR(body(), "ok");
    ex_release();
    CHECK_INT(ex.endpoint->invocations, 1);
    ex.x = first;
    ex.version = 7;
    start(1); input(""); give();
    SAYS("Output value \"\"", "End");
    CHECK_INT(ex.endpoint->invocations, 1);
    ex_release();
    CHECK_INT(ex.endpoint->invocations, 0);
    CHECK_INT(invoke_at("/invoke/S/h"), 200);
    ex_release();
    settle();
    __atomic_store_n(&ex.endpoint->stops, 1, __ATOMIC_RELAXED);
    refused(invoke_at("/invoke/S/h"), 503, "{\"message\":\"the endpoint is stopping\"}");
    __atomic_store_n(&ex.endpoint->stops, 0, __ATOMIC_RELAXED);
    memset(large, 'x', 69999);
    large[69999] = 0;
    refused(request("POST", "/invoke/S/h", "x-large", large), 431, "{\"message\":\"the headers are larger than 65536 bytes\"}");
    large[60000] = 0;
    CHECK_INT(request("GET", "/health", "x-large", large), 200);
    CHECK(!header("x-more", large));
    body();
    ex_new();                               /* many small ones */
    for (int i = 0; i < 3000; i++) header("a", "b");
    restate__exchange_begin(ex.x, false);
    refused(ex.x->status, 431, "{\"message\":\"the headers are larger than 65536 bytes\"}");
    free(large);
    ex_end();
}

TEST(attempt_headers) {
    open_two();
    CHECK(ex_new());
    header(":method", "POST");
    header(":path", "/invoke/S/h");
    for (int i = 0; i < 100; i++) {
        char name[16], value[16];
        snprintf(name, sizeof name, "h%d", i);
        snprintf(value, sizeof value, "v%d", i);
        CHECK(header(name, value));
        if (i == 50) header("content-type", V7);
    }
    restate__exchange_begin(ex.x, false);
    CHECK_INT(ex.x->status, 200);
    CHECK_STR(ex.x->attempt->request.attempt_headers[0].name, "h0");
    CHECK_STR(ex.x->attempt->request.attempt_headers[100].value, "v99");
    CHECK(!ex.x->attempt->request.attempt_headers[101].name);
    ex_end();
}

TEST(s147_preflight_error) {
    for (int i = 0; i < 4; i++) {
        open_two();
        ex.version = 7;
        CHECK_INT(invoke_at("/invoke/S/h"), 200);
        switch (i) {
        case 0: end_of_input(); break;
        case 1: start(0); give(); break;
        case 2: note_sleep(1); give(); break;
        default: start(2); input("x"); give(); CHECK(!ex.x->finished); end_of_input(); break;
        }
        CHECK_INT(ex.x->status, 200);
        CHECK(ex.x->finished);
        SAYS(i == 1 ? "Error 500..." : "Error 571...");
        LOG_HAS("WARN the attempt failed with 5");
        ex_end();
    }
}

/* A request, and the response that it gets when there is memory. */
typedef struct asked {
    const char *method, *path, *name, *value;   /* a header; or NULL */
    const char *input;
    uint32_t status;
    const char *output;                     /* NULL: anything */
} asked;

/* An exchange for it. False: there was no memory for one. */
static bool ask(const asked *a) {
    if (!ex_new()) return false;
    header(":method", a->method);
    header(":path", a->path);
    if (a->name) header(a->name, a->value);
    restate__exchange_begin(ex.x, false);
    for (const char *p = a->input; p && *p; p++) restate__exchange_feed(ex.x, restate__b(p, 1));
    if (a->input) restate__exchange_end_input(ex.x);
    return true;
}

/* Asks each of them with the n-th allocation failing, and with `on` all behind it, until there are so many that none
 * fails. The response is the good one, a refusal, or cut off. */
static void ask_without_memory(const asked *list, size_t count, bool on, void (*begin)(void)) {
    size_t n = 1;
    for (bool enough = false; !enough && n < 100; n++) {
        begin();
        enough = true;
        for (size_t i = 0; i < count; i++) {
            (on ? mem_fail_from : mem_fail)(&ex.memory, n);
            bool asked_it = ask(&list[i]);
            enough = enough && ex.memory.calls < n;
            mem_fail(&ex.memory, 0);
            if (asked_it) {
                bool cut = ex.x->out.failed, good = ex.x->status == list[i].status;
                CHECK(good || ex.x->status == 500 || ex.x->status == 503);
                if (cut || list[i].input) CHECK(ex.x->finished);
                if (enough) CHECK(good && !cut);
                const char *output = body();
                if (good && !cut && list[i].output) CHECK_STR(output, list[i].output);
            }
            ex_release();
            settle();
        }
        ex.log.len = 0;
        if (ex.log.at) *ex.log.at = 0;
        ex_end();
    }
    CHECK(n > 3 && n < 100);
}

TEST(exchange_out_of_memory) {
    static const char accept[] = MANIFEST "4+json";
    static const asked list[] = {
        { "GET", "/discover", "accept", accept, NULL, 200, NULL }, { "GET", "/health", "accept", accept, NULL, 200, NULL },
        { "POST", "/invoke/S/h", "content-type", V7, NULL, 200, NULL }, { "GET", "/x", "accept", accept, NULL, 404, NULL }
    };
    ask_without_memory(list, 4, false, open_two);
}

/* ---- Discovery ------------------------------------------------------------------------------------ */

TEST(s140_versions) {
    static const struct { const char *accept; int version; } cases[] = {
        { MANIFEST "1+json, " MANIFEST "2+json, " MANIFEST "3+json, " MANIFEST "4+json", 4 },
        { MANIFEST "1+json, " MANIFEST "2+json, " MANIFEST "3+json, " MANIFEST "4+json, " MANIFEST "5+json", 5 },
        { MANIFEST "2+json", 2 }, { MANIFEST "3+json", 3 },
        { MANIFEST "4+json," MANIFEST "2+json", 4 }, { MANIFEST "3+json ,\t" MANIFEST "2+json\t", 3 },
        { MANIFEST "6+json, " MANIFEST "2+json", 2 }, { "application/json, " MANIFEST "3+json", 3 },
        { "application/json", 0 }, { NULL, 0 }, { "", 0 }, { ",,", 0 }, { MANIFEST "1+json", 0 }, { MANIFEST "6+json", 0 }, { MANIFEST "5+json", 5 },
        { MANIFEST "4+jsonx", 0 }, { MANIFEST "44+json", 0 }, { MANIFEST "4+JSON", 0 }, { MANIFEST "4+json;q=1", 0 }, { "*/*", 0 },
        { MANIFEST, 0 }, { MANIFEST "4", 0 }, { "x" MANIFEST "4+json", 0 }
    };
    open_two();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = request("GET", "/discover", "accept", cases[i].accept);
        test_note = cases[i].accept ? cases[i].accept : "no accept";
        if (cases[i].version) {
            char type[80];
            snprintf(type, sizeof type, MANIFEST "%d+json", cases[i].version);
            CHECK_INT(status, 200);
            CHECK_STR(response("content-type"), type);
            CHECK(ex.x->finished);
            CHECK_HAS(body(), "\"minProtocolVersion\":5,\"maxProtocolVersion\":7,");
        } else {
            char message[300];
            snprintf(message, sizeof message, "{\"message\":\"discovery needs an accept header with application/vnd.restate.endpointmanifest."
                     "v2+json to v5+json, got: %s\"}", cases[i].accept ? cases[i].accept : "none");
            refused(status, 415, message);
        }
    }
    test_note = "";
    ex_end();
}

static const restate_pair service_metadata[] = { { "team", "a \"b\"" }, { "empty", NULL }, { NULL, NULL } };
static const restate_codec xml = { .content_type = "text/xml" };
static const restate_codec schema = { .content_type = "application/json", .json_schema = "{\"type\": \"object\"}", .optional = true };
static const restate_codec unknown = { .optional = true };

/* A codec that makes its schema, from what it is of. */
static size_t describe(const restate_codec *self, char *out, size_t room) {
    return (size_t)snprintf(out, room, "{\"type\": \"%s\"}", (const char *)self->type);
}
static const restate_codec describing = { .content_type = "application/json", .type = "object", .describe = describe };

/* Much of what can be configured; sorted by name in the end. */
static void open_rich(int version) {
    static restate_handler handlers[6], workflow_handlers[3];
    static restate_service object, workflow, plain;
    memset(handlers, 0, sizeof handlers);
    memset(workflow_handlers, 0, sizeof workflow_handlers);
    handlers[0] = (restate_handler){ .name = "zebra", .fn = done };
    handlers[1] = (restate_handler){ .name = "bytes", .fn = done, .shared = true, .input = RESTATE_BYTES, .output = RESTATE_BYTES };
    handlers[2] = (restate_handler){ .name = "empty", .fn = done, .input = RESTATE_VOID, .output = RESTATE_VOID };
    handlers[3] = (restate_handler){ .name = "types", .fn = done, .input = &xml, .output = &unknown, .accept = "text/*" };
    handlers[4] = (restate_handler){ .name = "described", .fn = done, .input = &schema, .output = &describing };
    workflow_handlers[0] = (restate_handler){ .name = "run", .fn = done };
    workflow_handlers[1] = (restate_handler){ .name = "ask", .fn = done, .shared = true };
    object = (restate_service){ .name = "b.Object", .kind = RESTATE_OBJECT, .handlers = handlers };
    workflow = (restate_service){ .name = "Workflow", .kind = RESTATE_WORKFLOW, .handlers = workflow_handlers };
    plain = one("a_plain", "h");
    if (version >= 2) {
        object.documentation = "What it does";
        object.metadata = service_metadata;
        handlers[4].documentation = "de\nscribed";
        handlers[4].metadata = service_metadata;
    }
    if (version >= 3) {
        object.options.inactivity_timeout_ms = 60000;
        object.options.abort_timeout_ms = RESTATE_ZERO_MS;
        object.options.journal_retention_ms = 3;
        object.options.idempotency_retention_ms = 4;
        object.options.workflow_retention_ms = 9;
        object.options.lazy_state = RESTATE_OFF;
        object.options.ingress_private = RESTATE_ON;
        handlers[0].options.lazy_state = RESTATE_ON;
        handlers[0].options.inactivity_timeout_ms = 1;
        workflow.options.workflow_retention_ms = 86400000;
    }
    if (version >= 4) {
        object.options.retry.max_attempts = 5;
        object.options.retry.when_exhausted = RESTATE_EXHAUSTED_PAUSE;
        handlers[0].options.retry.factor = 1.5;
        handlers[0].options.retry.initial_interval_ms = RESTATE_ZERO_MS;
        handlers[0].options.retry.max_interval_ms = 777;
        handlers[0].options.retry.when_exhausted = RESTATE_EXHAUSTED_FAIL;
    }
    ex_memory();
    open_with((const restate_service *const[]){ &plain, &object, &workflow, NULL });
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
    memset(&object, 0x55, sizeof object);   /* everything was copied */
    memset(&workflow, 0x55, sizeof workflow);
    memset(&plain, 0x55, sizeof plain);
    memset(handlers, 0x55, sizeof handlers);
    memset(workflow_handlers, 0x55, sizeof workflow_handlers);
}

#define JSON_IO "\"input\":{\"required\":true,\"contentType\":\"application/json\"},\"output\":{\"contentType\":\"application/json\"}"

static const char *rich(int version) {
    rt_bytes b = { NULL, 0, 0 };
    char *copy;
    const char *meta = version >= 2 ? ",\"documentation\":\"de\\nscribed\",\"metadata\":{\"team\":\"a \\\"b\\\"\",\"empty\":\"\"}" : "";
    rt_print(&b, "{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"services\":["
             "{\"name\":\"Workflow\",\"ty\":\"WORKFLOW\",\"handlers\":["
             "{\"name\":\"ask\",\"ty\":\"SHARED\"," JSON_IO "},"
             "{\"name\":\"run\",\"ty\":\"WORKFLOW\"," JSON_IO "%s}]},"
             "{\"name\":\"a_plain\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\"," JSON_IO "}]},",
             version >= 3 ? ",\"workflowCompletionRetention\":86400000" : "");
    rt_print(&b, "{\"name\":\"b.Object\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":["
             "{\"name\":\"bytes\",\"ty\":\"SHARED\",\"input\":{\"required\":false,\"contentType\":\"*/*\"},"
             "\"output\":{\"contentType\":\"application/octet-stream\",\"setContentTypeIfEmpty\":true}},"
             "{\"name\":\"described\",\"ty\":\"EXCLUSIVE\",\"input\":{\"required\":false,\"contentType\":\"application/json\","
             "\"jsonSchema\":{\"type\": \"object\"}},\"output\":{\"contentType\":\"application/json\",\"jsonSchema\":{\"type\": \"object\"}}%s},"
             "{\"name\":\"empty\",\"ty\":\"EXCLUSIVE\",\"input\":{},\"output\":{}},"
             "{\"name\":\"types\",\"ty\":\"EXCLUSIVE\",\"input\":{\"required\":true,\"contentType\":\"text/*\"},"
             "\"output\":{\"contentType\":\"application/octet-stream\",\"setContentTypeIfEmpty\":true}},", meta);
    rt_print(&b, "{\"name\":\"zebra\",\"ty\":\"EXCLUSIVE\"," JSON_IO "%s%s}]",
             version >= 3 ? ",\"inactivityTimeout\":1,\"enableLazyState\":true" : "",
             version >= 4 ? ",\"retryPolicyInitialInterval\":0,\"retryPolicyMaxInterval\":777,\"retryPolicyExponentiationFactor\":1.5,"
             "\"retryPolicyOnMaxAttempts\":\"KILL\"" : "");
    rt_print(&b, "%s%s%s}]}",
             version >= 2 ? ",\"documentation\":\"What it does\",\"metadata\":{\"team\":\"a \\\"b\\\"\",\"empty\":\"\"}" : "",
             version >= 3 ? ",\"inactivityTimeout\":60000,\"abortTimeout\":0,\"journalRetention\":3,\"idempotencyRetention\":4,"
             "\"enableLazyState\":false,\"ingressPrivate\":true" : "",
             version >= 4 ? ",\"retryPolicyInitialInterval\":50,\"retryPolicyMaxInterval\":10000,\"retryPolicyExponentiationFactor\":2,"
             "\"retryPolicyMaxAttempts\":5,\"retryPolicyOnMaxAttempts\":\"PAUSE\"" : "");
    copy = (char *)rt_alloc(b.len + 1);
    memcpy(copy, b.at, b.len);
    rt_drop(&b);
    return copy;
}

/* The schema of the manifest: what may be where, and since when. */
typedef struct schema_key { const char *on, *name; int since; char type; } schema_key;  /* s n i(nteger) b a o * */

static const schema_key keys[] = {
    { "r", "protocolMode", 1, 's' }, { "r", "minProtocolVersion", 1, 'i' }, { "r", "maxProtocolVersion", 1, 'i' }, { "r", "services", 1, 'a' },
    { "sh", "name", 1, 's' }, { "sh", "ty", 1, 's' }, { "s", "handlers", 1, 'a' }, { "h", "input", 1, 'o' }, { "h", "output", 1, 'o' },
    { "i", "required", 1, 'b' }, { "io", "contentType", 1, 's' }, { "io", "jsonSchema", 1, '*' }, { "o", "setContentTypeIfEmpty", 1, 'b' },
    { "sh", "documentation", 2, 's' }, { "sh", "metadata", 2, 'o' },
    { "sh", "inactivityTimeout", 3, 'i' }, { "sh", "abortTimeout", 3, 'i' }, { "sh", "journalRetention", 3, 'i' },
    { "sh", "idempotencyRetention", 3, 'i' }, { "sh", "enableLazyState", 3, 'b' }, { "sh", "ingressPrivate", 3, 'b' },
    { "h", "workflowCompletionRetention", 3, 'i' },
    { "sh", "retryPolicyInitialInterval", 4, 'i' }, { "sh", "retryPolicyMaxInterval", 4, 'i' }, { "sh", "retryPolicyMaxAttempts", 4, 'i' },
    { "sh", "retryPolicyExponentiationFactor", 4, 'n' }, { "sh", "retryPolicyOnMaxAttempts", 4, 's' },
    { "sh", "eagerStateKeysWhitelist", 5, 'a' }, { NULL, NULL, 0, 0 }
};

static bool fits(const cJSON *value, char type) {
    switch (type) {
    case 's': return cJSON_IsString(value);
    case 'n': return cJSON_IsNumber(value);
    case 'i': return cJSON_IsNumber(value) && value->valuedouble >= 0 && value->valuedouble < 1e15 && value->valuedouble == (double)(int64_t)value->valuedouble;
    case 'b': return cJSON_IsBool(value);
    case 'a': return cJSON_IsArray(value);
    case 'o': return cJSON_IsObject(value);
    default: return true;
    }
}

static void check_keys(const cJSON *object, char on, int version) {
    for (const cJSON *c = object->child; c; c = c->next) {
        const schema_key *k = keys;
        while (k->name && !(strchr(k->on, on) && strcmp(k->name, c->string) == 0)) k++;
        if (!k->name || k->since > version || !fits(c, k->type)) {
            test_failures++;
            printf("  manifest version %d: %s does not belong in there (%c)\n", version, c->string, on);
            continue;
        }
        if (strcmp(c->string, "input") == 0) check_keys(c, 'i', version);
        if (strcmp(c->string, "output") == 0) check_keys(c, 'o', version);
        if (strcmp(c->string, "services") == 0 || strcmp(c->string, "handlers") == 0)
            for (const cJSON *one_ = c->child; one_; one_ = one_->next) check_keys(one_, *c->string, version);
        if (strcmp(c->string, "metadata") == 0)
            for (const cJSON *m = c->child; m; m = m->next) CHECK(cJSON_IsString(m));
    }
}

TEST(s142_manifest) {
    for (int version = 2; version <= 5; version++) {
        char accept[80];
        const char *text;
        cJSON *tree, *service, *handler;
        open_rich(version);
        snprintf(accept, sizeof accept, MANIFEST "%d+json", version);
        CHECK_INT(request("GET", "/discover", "accept", accept), 200);
        text = body();
        CHECK_STR(text, rich(version));
        tree = cJSON_Parse(text);
        CHECK(tree != NULL);
        if (tree) {
            check_keys(tree, 'r', version);
            cJSON_ArrayForEach(service, cJSON_GetObjectItem(tree, "services")) {
                bool keyed = strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(service, "ty")), "SERVICE") != 0;
                cJSON_ArrayForEach(handler, cJSON_GetObjectItem(service, "handlers"))
                    CHECK_INT(cJSON_HasObjectItem(handler, "ty"), keyed);
            }
        }
        cJSON_Delete(tree);
        ex_end();
    }
}

TEST(accept_headers_are_one_list) {
    static const char *const lists[][2] = { { MANIFEST "4+json", MANIFEST "2+json" }, { MANIFEST "4+json", "*/*" },
                                            { MANIFEST "3+json, " MANIFEST "2+json", MANIFEST "4+json" } };
    open_two();
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (!ex_new()) return;
        header(":method", "GET");
        header(":path", "/discover");
        header("accept", lists[i][0]);
        header("accept", lists[i][1]);
        restate__exchange_begin(ex.x, false);
        CHECK_INT(ex.x->status, 200);
        CHECK_STR(response("content-type"), MANIFEST "4+json");
        (void)body();
    }
    ex_end();
}

TEST(protocol_mode) {
    open_two();
    CHECK(ex_new());
    header(":method", "GET");
    header(":path", "/discover");
    header("accept", MANIFEST "4+json");
    restate__exchange_begin(ex.x, true);
    CHECK_HAS(body(), "{\"protocolMode\":\"REQUEST_RESPONSE\",");
    ex_end();
}

/* What the asked for version does not know is an error, not left out. */
TEST(s141_too_new) {
    static const struct { int configured, asked; const char *message; } cases[] = {
        { 4, 3, "{\"message\":\"retryPolicyInitialInterval needs discovery version 4, but the server asks for 3: upgrade the server, or do not set it\"}" },
        { 4, 2, "needs discovery version " },
        { 3, 2, "needs discovery version 3, but the server asks for 2" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char accept[80];
        const char *text;
        open_rich(cases[i].configured);
        snprintf(accept, sizeof accept, MANIFEST "%d+json", cases[i].asked);
        CHECK_INT(request("GET", "/discover", "accept", accept), 500);
        CHECK_STR(response("content-type"), "application/json");
        text = body();
        CHECK_HAS(text, cases[i].message);
        CHECK(!strstr(text, "services"));
        LOG_HAS("with 500");
        ex_end();
    }
}

/* Options are told where they were set; those of the endpoint with every service. */
TEST(defaults_are_told) {
    ex_memory();
    ex.options.defaults.abort_timeout_ms = 1234;
    ex.options.defaults.run_retry.max_attempts = 7;
    ex.options.defaults.user = &ex;
    open_one(one("S", "h"));
    CHECK_INT(request("GET", "/discover", "accept", MANIFEST "4+json"), 200);
    CHECK_STR(body(), "{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"services\":["
              "{\"name\":\"S\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\"," JSON_IO "}],\"abortTimeout\":1234}]}");
    CHECK(ex.endpoint->services[0].handlers[0].options.user == &ex);
    CHECK_INT(ex.endpoint->services[0].handlers[0].run_policy.max_attempts, 7);
    ex_end();
}

/* ---- State that is sent along ------------------------------------------------------------------- */

#define KEYS(...) ((const char *const[]){ __VA_ARGS__, NULL })
static const char *const no_keys[] = { NULL };

/* What the server is told of one handler, and of its service, behind their payloads. */
static void told_of_state(int asked, restate_kind kind, restate_options service, restate_options handler,
                          const char *want) {
    char accept[80];
    restate_handler handlers[] = { { .name = "h", .fn = done, .options = handler }, { .name = NULL } };
    open_one((restate_service){ .name = "S", .kind = kind, .handlers = handlers, .options = service });
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
    snprintf(accept, sizeof accept, MANIFEST "%d+json", asked);
    CHECK_INT(request("GET", "/discover", "accept", accept), *want == 'p' ? 500 : 200);
    if (ex.x->status == 500) {
        CHECK_HAS(body(), want);
        log_drop();
    } else {
        const char *text = body(), *from = strstr(text, "\"output\":{\"contentType\":\"application/json\"}");
        char got[300] = "";
        CHECK(from != NULL);
        if (from) snprintf(got, sizeof got, "%s", strchr(from, '}') + 1);
        if (strstr(got, "]}")) strstr(got, "]}")[strlen(strstr(got, "]}")) - 3] = 0;     /* of the service, the list and all */
        CHECK_STR(got, want);
    }
    ex_end();
}

TEST(preloaded_keys_are_told) {
    const restate_options none = { .user = NULL }, two = { .preload_keys = KEYS("b", "a \"x\"", "b") },
        empty = { .preload_keys = no_keys }, lazy = { .lazy_state = RESTATE_ON }, eager = { .lazy_state = RESTATE_OFF },
        lazy_two = { .lazy_state = RESTATE_ON, .preload_keys = KEYS("b") };
#define LIST ",\"eagerStateKeysWhitelist\":[\"b\",\"a \\\"x\\\"\"]"
#define TOLD_OF(asked, service, handler, want) do { ex_memory(); told_of_state(asked, RESTATE_OBJECT, service, handler, want); } while (0)
    TOLD_OF(5, none, none, "}]");
    TOLD_OF(5, none, two, ",\"enableLazyState\":true" LIST "}]");
    TOLD_OF(5, two, none, "}],\"enableLazyState\":true" LIST);
    TOLD_OF(5, two, eager, ",\"enableLazyState\":false}],\"enableLazyState\":true" LIST);
    TOLD_OF(5, eager, two, ",\"enableLazyState\":true" LIST "}],\"enableLazyState\":false");
    TOLD_OF(5, lazy_two, lazy, ",\"enableLazyState\":true}],\"enableLazyState\":true,\"eagerStateKeysWhitelist\":[\"b\"]");
    TOLD_OF(3, none, empty, ",\"enableLazyState\":true}]");
    TOLD_OF(3, none, eager, ",\"enableLazyState\":false}]");
    TOLD_OF(4, two, none, "preload_keys needs discovery version 5, but the server asks for 4");
    TOLD_OF(3, none, two, "preload_keys needs discovery version 5, but the server asks for 3");
    for (int i = 0; i < 3; i++) {           /* of the endpoint: not for a plain service; a nearer list wins */
        ex_memory();
        ex.options.defaults.preload_keys = KEYS("z");
        if (i == 1) ex.options.defaults.lazy_state = RESTATE_ON;
        told_of_state(5, i == 0 ? RESTATE_SERVICE : RESTATE_OBJECT, i == 2 ? lazy_two : none, none,
                      i == 0   ? "}]"
                      : i == 1 ? "}],\"enableLazyState\":true,\"eagerStateKeysWhitelist\":[\"z\"]"
                               : "}],\"enableLazyState\":true,\"eagerStateKeysWhitelist\":[\"b\"]");
    }
    ex_memory();
    ex.options.defaults.lazy_state = RESTATE_OFF;
    told_of_state(5, RESTATE_OBJECT, two, none, "}],\"enableLazyState\":true" LIST);
}

TEST(preloaded_keys_that_are_wrong) {
    ERROR_OF("service S: a key of preload_keys is empty", SERVICE(.kind = RESTATE_OBJECT, .options.preload_keys = KEYS("a", ""), HANDLERS(H("h"))));
    ERROR_OF("handler S/h: its preload_keys is not UTF-8",
             SERVICE(.kind = RESTATE_OBJECT, HANDLERS({ .name = "h", .fn = done, .options.preload_keys = KEYS("\xFF") })));
    ERROR_OF("service S: preload_keys fetches state by key, but lazy_state is RESTATE_OFF",
             SERVICE(.kind = RESTATE_OBJECT, .options = { .preload_keys = KEYS("a"), .lazy_state = RESTATE_OFF }, HANDLERS(H("h"))));
    ERROR_OF("service S: preload_keys is for objects and workflows: a plain service has no state",
             SERVICE(.options.preload_keys = no_keys, HANDLERS(H("h"))));
    ERROR_OF("handler S/h: preload_keys is for objects and workflows: a plain service has no state",
             SERVICE(HANDLERS({ .name = "h", .fn = done, .options.preload_keys = KEYS("a") })));
    OPTIONS_ERROR("defaults: a key of preload_keys is empty", ex.options.defaults.preload_keys = KEYS(""));
}

static int users[3];

TEST(levels) {
    static const struct { restate_options endpoint, service, handler; int user; uint64_t stall; uint32_t attempts; restate_switch lazy; } cases[] = {
        { { .user = &users[0], .stall_warning_ms = 1, .run_retry = { .max_attempts = 1 } }, { .user = NULL }, { .user = NULL }, 0, 1, 1, RESTATE_DEFAULT },
        { { .user = &users[0], .stall_warning_ms = 1, .run_retry = { .max_attempts = 1 }, .lazy_state = RESTATE_ON },
          { .user = &users[1], .run_retry = { .initial_interval_ms = 5 } }, { .lazy_state = RESTATE_OFF }, 1, 1, 0, RESTATE_OFF },
        { { .user = &users[0], .stall_warning_ms = 1 }, { .user = &users[1], .stall_warning_ms = 2, .run_retry = { .max_attempts = 1 } },
          { .user = &users[2], .stall_warning_ms = 3, .run_retry = { .max_attempts = 3 } }, 2, 3, 3, RESTATE_DEFAULT }
    };
    for (size_t i = 0; i < 3; i++) {
        restate_handler handlers[2] = { { .name = "h", .fn = done, .options = cases[i].handler }, { .name = NULL } };
        const restate__handler *h;
        ex_memory();
        ex.options.defaults = cases[i].endpoint;
        open_one((restate_service){ .name = "S", .handlers = handlers, .options = cases[i].service });
        h = ex.endpoint->services[0].handlers;
        CHECK(h->options.user == &users[cases[i].user]);
        CHECK_INT(h->options.stall_warning_ms, cases[i].stall);
        CHECK_INT(h->options.run_retry.max_attempts, cases[i].attempts);
        CHECK_INT(h->options.lazy_state, cases[i].lazy);
        ex_end();
    }
}

/* Texts that discovery could not send are found when the endpoint is made. */
TEST(texts_are_utf8) {
    static const restate_pair bad_value[] = { { "k", "\xFF" }, { NULL, NULL } }, bad_name[] = { { "\xFF", "v" }, { NULL, NULL } };
    static const restate_codec bad_type = { .content_type = "\xFF" };
    const restate_service services[] = {
        { .name = "S", .documentation = "\xFF", HANDLERS(H("h")) },
        { .name = "S", .metadata = bad_value, HANDLERS(H("h")) },
        { .name = "S", .metadata = bad_name, HANDLERS(H("h")) },
        { .name = "S", HANDLERS({ .name = "h", .fn = done, .documentation = "\xFF" }) },
        { .name = "S", HANDLERS({ .name = "h", .fn = done, .metadata = bad_value }) },
        { .name = "S", HANDLERS({ .name = "h", .fn = done, .accept = "\xFF" }) },
        { .name = "S", HANDLERS({ .name = "h", .fn = done, .input = &bad_type }) },
        { .name = "S", HANDLERS({ .name = "h", .fn = done, .output = &bad_type }) }
    };
    for (size_t i = 0; i < sizeof services / sizeof *services; i++) {
        ex_memory();
        open_one(services[i]);
        CHECK_HAS(restate_endpoint_error(ex.endpoint), i < 5 ? "UTF-8" : "write it as in \"text/csv\"");
        ex_end();
    }
}

/* ---- Lists that do not end where they seem to ------------------------------------------------- */

#define END ": a list ends with an element that is all zero, and with no other"

TEST(lists_end_with_zeros) {
    static const restate_pair good[] = { { "a", NULL }, { "b", "" }, { "", "c" }, { NULL, NULL } };
    static const restate_pair nameless[] = { { "a", "1" }, { NULL, "2" }, { "c", "3" }, { NULL, NULL } };
    static const restate_pair twice[] = { { "a", "1" }, { "team", "2" }, { "b", "1" }, { "team", "2" }, { NULL, NULL } };
    static const restate_codec codec = { .content_type = "text/csv" };
    static const restate_seal seal = { NULL, NULL, NULL, false };
    static const restate_hooks hooks = { .user = NULL };
    const restate_handler holes[] = {       /* each has something, but no name */
        { .fn = done }, { .shared = true }, { .input = &codec }, { .output = &codec }, { .accept = "text/csv" },
        { .documentation = "" }, { .metadata = good }, { .options = { .user = &ex } },
        { .options = { .inactivity_timeout_ms = 1 } }, { .options = { .workflow_retention_ms = 1 } },
        { .options = { .lazy_state = RESTATE_OFF } }, { .options = { .retry = { .max_attempts = 1 } } },
        { .options = { .run_retry = { .factor = 2 } } }, { .options = { .blocking = RESTATE_ON } },
        { .options = { .stack_bytes = 4096 } }, { .options = { .seal = &seal } }, { .options = { .hooks = &hooks } },
        { .options = { .codec = &codec } }, { .options = { .preload_keys = no_keys } },
        { .options = { .detect_deadlocks = RESTATE_OFF } } };
    for (size_t i = 0; i < sizeof holes / sizeof *holes; i++) {
        ERROR_OF("service S: its handler no. 2 has no name" END, SERVICE(HANDLERS(H("a"), holes[i], H("c"))));
        ERROR_OF("service S: its handler no. 3 has no name" END, SERVICE(HANDLERS(H("a"), H("b"), holes[i])));
        ERROR_OF("service S: its handler no. 1 has no name" END, SERVICE(HANDLERS(holes[i])));
    }
    ERROR_OF("handler S/" HANDLER_NAME, SERVICE(HANDLERS(H("a"), H(""), H("c"))));
    ERROR_OF("service S: its metadata has a value, but no name" END, SERVICE(.metadata = nameless, HANDLERS(H("a"))));
    ERROR_OF("handler S/a: its metadata has a value, but no name" END, SERVICE(HANDLERS({ .name = "a", .fn = done, .metadata = nameless })));
    ERROR_OF("service S: its metadata has \"team\" twice", SERVICE(.metadata = twice, HANDLERS(H("a"))));
    ERROR_OF("handler S/a: its metadata has \"team\" twice", SERVICE(HANDLERS({ .name = "a", .fn = done, .metadata = twice })));
    ERROR_OF("", SERVICE(.metadata = good, HANDLERS({ .name = "a", .fn = done, .metadata = good }, H("b"))));
}

/* ---- What the server is told of content types -------------------------------------------------- */

static const char *told(const restate_codec *codec, const char *accept, const restate_codec *output) {
    static char part[300];
    const char *from, *to;
    ex_memory();
    open_one(SERVICE(HANDLERS({ .name = "h", .fn = done, .input = codec, .accept = accept, .output = output })));
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
    CHECK_INT(request("GET", "/discover", "accept", MANIFEST "4+json"), 200);
    from = strstr(body(), "\"input\"");
    to = from ? strstr(from, "}]}") : NULL;
    CHECK(to != NULL);
    snprintf(part, sizeof part, "%.*s", to ? (int)(to - from) : 0, from);
    ex_end();
    return part;
}

/* The server compares with all that it is told, letter by letter: what it is told has no parameters, and
 * no capitals. A reply has what was given. */
TEST(types_that_requests_have) {
    static const char *const types[][2] = {
        { "text/plain", "text/plain" }, { "text/plain; charset=utf-8", "text/plain" }, { "text/plain;charset=utf-8", "text/plain" },
        { "Text/PLAIN", "text/plain" }, { "application/JSON; charset=UTF-8", "application/json" },
        { "multipart/mixed; boundary=\"a; \\\"b\"; x=y", "multipart/mixed" }, { "application/vnd.a-b+json", "application/vnd.a-b+json" },
        { "text/csv ; header=present\t;\tx=1", "text/csv" } };
    static const char *const patterns[][2] = { { "text/*", "text/*" }, { "*/*", "*/*" }, { "Text/*; q=1", "text/*" } };
    char want[300], type[100];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        restate_codec codec = { .content_type = types[i][0] };
        const char *at;
        size_t n = 0;
        for (at = types[i][0]; *at; at++) {     /* as JSON writes it */
            if (*at == '"' || *at == '\\') type[n++] = '\\';
            if (*at == '\t') type[n++] = '\\', type[n++] = 't';
            else type[n++] = *at;
        }
        type[n] = 0;
        test_note = types[i][0];
        snprintf(want, sizeof want, "\"input\":{\"required\":true,\"contentType\":\"%s\"},\"output\":{\"contentType\":\"%s\"%s}",
                 types[i][1], type, strstr(types[i][1], "json") ? "" : ",\"setContentTypeIfEmpty\":true");
        CHECK_STR(told(&codec, NULL, &codec), want);
        snprintf(want, sizeof want, "\"input\":{\"required\":true,\"contentType\":\"%s\"},\"output\":{\"contentType\":\"application/json\"}", types[i][1]);
        CHECK_STR(told(NULL, types[i][0], NULL), want);
    }
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        restate_codec codec = { .content_type = patterns[i][0] };
        snprintf(want, sizeof want, "\"input\":{\"required\":true,\"contentType\":\"%s\"}", patterns[i][1]);
        CHECK_HAS(told(&codec, NULL, NULL), want);
        CHECK_HAS(told(NULL, patterns[i][0], NULL), want);
    }
    CHECK_HAS(told(RESTATE_BYTES, NULL, NULL), "\"input\":{\"required\":false,\"contentType\":\"*/*\"}");
    CHECK_HAS(told(RESTATE_VOID, NULL, RESTATE_VOID), "\"input\":{},\"output\":{}");
    test_note = "";
}

TEST(types_that_nothing_has) {
    static const char *const none[] = { "", "/", "text", "text/", "/plain", "text/a/b", "text /plain", "text/ plain", " text/plain", "text/plain ",
        "text/p lain", "text/plain, text/csv", "text/plain;", "text/plain; charset", "text/plain; charset=", "text/plain; =utf-8",
        "text/plain; a=b c", "text/plain; a=\"b", "text/plain; a=\"b\"c", "text/plain; a=\"\n\"", "text/plain\r\nx: y", "text/\xC3\xA9", "te;xt/plain" };
    static const char *const stars[] = { "*/plain", "*/json", "text/pl*", "text/*+json", "te*t/plain", "**/*", "*/**", "text/**", "te*t/*" };
    char want[200];
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        restate_codec codec = { .content_type = none[i] };
        test_note = none[i];
        ERROR_OF("handler S/h: its content type is none: write it as in \"text/csv\"", SERVICE(HANDLERS({ .name = "h", .fn = done, .input = &codec })));
        ERROR_OF("handler S/h: its content type is none: write it as in \"text/csv\"", SERVICE(HANDLERS({ .name = "h", .fn = done, .output = &codec })));
        ERROR_OF("handler S/h: its .accept is none: write it as in \"text/csv\"", SERVICE(HANDLERS({ .name = "h", .fn = done, .accept = none[i] })));
    }
    for (size_t i = 0; i < sizeof stars / sizeof *stars; i++) {
        restate_codec codec = { .content_type = stars[i] };
        test_note = stars[i];
        snprintf(want, sizeof want, "handler S/h: its content type \"%s\" has a star, but there is only \"*/*\", and as in \"text/*\"", stars[i]);
        ERROR_OF(want, SERVICE(HANDLERS({ .name = "h", .fn = done, .input = &codec })));
        snprintf(want, sizeof want, "handler S/h: its .accept \"%s\" has a star, but there is only \"*/*\", and as in \"text/*\"", stars[i]);
        ERROR_OF(want, SERVICE(HANDLERS({ .name = "h", .fn = done, .accept = stars[i] })));
    }
    for (size_t i = 0; i < 2; i++) {
        restate_codec codec = { .content_type = i ? "text/*" : "*/*" };
        test_note = codec.content_type;
        snprintf(want, sizeof want, "handler S/h: its content type \"%s\" has a star, but a reply has one content type", codec.content_type);
        ERROR_OF(want, SERVICE(HANDLERS({ .name = "h", .fn = done, .output = &codec })));
    }
    test_note = "";
    ERROR_OF("handler S/h: its .accept lets a body in, but its .input is RESTATE_VOID",
             SERVICE(HANDLERS({ .name = "h", .fn = done, .input = RESTATE_VOID, .accept = "text/csv" })));
    ERROR_OF("handler S/h: its .accept lets a body in, but its .input is RESTATE_VOID",
             SERVICE(.options.codec = RESTATE_VOID, HANDLERS({ .name = "h", .fn = done, .accept = "text/csv" })));
    ERROR_OF("handler S/h: its .accept lets a body in, but its .input is RESTATE_VOID",
             SERVICE(HANDLERS({ .name = "h", .fn = done, .accept = "text/csv", .options.codec = RESTATE_VOID })));
    ERROR_OF("", SERVICE(.options.codec = RESTATE_VOID, HANDLERS({ .name = "h", .fn = done, .accept = "text/csv", .input = RESTATE_BYTES })));
}

/* One that is named for all is for replies, too. */
TEST(codecs_for_all) {
    static const restate_codec star = { .content_type = "text/*" }, odd = { .kind = (restate_codec_kind)9 },
                               broken = { .json_schema = "{" };
    ERROR_OF("service S: its content type \"text/*\" has a star, but a reply has one content type",
             SERVICE(.options.codec = &star, HANDLERS(H("h"))));
    ERROR_OF("handler S/h: the kind of its codec is none of RESTATE_CODEC_...",
             SERVICE(HANDLERS({ .name = "h", .fn = done, .options.codec = &odd })));
    OPTIONS_ERROR("defaults: the json_schema of its codec is not JSON", ex.options.defaults.codec = &broken);
    OPTIONS_ERROR("", ex.options.defaults.codec = RESTATE_BYTES);
}

/* ---- Payloads for the server's UI ------------------------------------------------------------------ */

/* Payloads are texts in angle brackets; their JSON is the text. */
static restate_status angle_to_json(const restate_codec *self, restate_ctx *ctx, restate_bytes in, restate_bytes *json) {
    CHECK_STR((const char *)self->type, "angle");
    CHECK(in.ptr && in.ptr[in.len] == 0);
    if (in.len < 2 || in.ptr[0] != '<' || in.ptr[in.len - 1] != '>') return restate_fail(ctx, 4711, "no brackets around \"%s\"", (const char *)in.ptr);
    *json = restate_json(ctx, "%.*s", (int)in.len - 2, (const char *)in.ptr + 1);
    return RESTATE_OK;
}
static restate_status angle_from_json(const restate_codec *self, restate_ctx *ctx, restate_bytes json, restate_bytes *out) {
    const char *text;
    CHECK_STR((const char *)self->type, "angle");
    CHECK(json.ptr && json.ptr[json.len] == 0);
    restate_log(ctx, RESTATE_LOG_INFO, "entered %s", (const char *)json.ptr);
    RESTATE_TRY(restate_json_string(ctx, json, NULL, &text));
    *out = restate_str(restate_text(ctx, "<%s>", text));
    return RESTATE_OK;
}
#define ANGLE .type = "angle", .to_json = angle_to_json, .from_json = angle_from_json
static const restate_codec angle = { .content_type = "text/x-angle", ANGLE }, angle_untyped = { ANGLE },
                           half = { .to_json = angle_to_json }, other_half = { .from_json = angle_from_json };

/* What a codec should not do. */
static restate_status naps(const restate_codec *self, restate_ctx *ctx, restate_bytes in, restate_bytes *out) {
    (void)self; (void)in;
    *out = restate_str("x");
    return restate_sleep(ctx, 1);
}
static restate_status tries_again(const restate_codec *self, restate_ctx *ctx, restate_bytes in, restate_bytes *out) {
    (void)self; (void)in; (void)out;
    return restate_retry(ctx, NULL, "not today");
}
static restate_status gives_a_number(const restate_codec *self, restate_ctx *ctx, restate_bytes in, restate_bytes *out) {
    (void)self; (void)ctx; (void)in; (void)out;
    return (restate_status)77;
}
static restate_status gives_nothing(const restate_codec *self, restate_ctx *ctx, restate_bytes in, restate_bytes *out) {
    const restate_request_info *r = restate_request(ctx);
    (void)self; (void)in; (void)out;
    CHECK(!r->retry_count);
    return RESTATE_OK;
}
static const restate_codec napping = { .to_json = naps, .from_json = tries_again }, odd_one = { .to_json = gives_a_number, .from_json = gives_nothing };
static restate_status seal_nothing(void *user, restate_ctx *ctx, restate_bytes in, restate_bytes *out) {
    (void)user; (void)ctx;
    *out = in;
    return RESTATE_OK;
}
static const restate_seal seal_of_all = { .seal = seal_nothing, .open = seal_nothing };

static void open_shown(const restate_options *options) {
    static const restate_pair given[] = { { "team", "a" }, { NULL, NULL } };
    const restate_handler handlers[] = {
        { .name = "both", .fn = done, .input = &angle, .output = &angle_untyped },
        { .name = "input", .fn = done, .input = &angle },
        { .name = "empty", .fn = done, .input = &restate_rpc_empty_proto, .output = &restate_rpc_empty_json },
        { .name = "sealed", .fn = done, .input = &angle, .output = &angle, .options.seal = &seal_of_all },
        { .name = "json", .fn = done },
        { .name = "naps", .fn = done, .input = &napping, .output = &odd_one },
        { .name = NULL }
    };
    const restate_service shows = { .name = "a.Shows", .handlers = handlers, .metadata = given };
    const restate_service defaults = { .name = "Default", .options.codec = &angle, HANDLERS(H("h")) };
    const restate_service plain = { .name = "Plain", .metadata = given, HANDLERS(H("h")) };
    ex_memory();
    if (options) ex.options.defaults = *options;
    open_with((const restate_service *const[]){ &shows, &defaults, &plain, NULL });
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
}

/* Asks in pieces of so many bytes; gives the status. */
static int convert(const char *path, const char *payload, size_t piece) {
    size_t len = strlen(payload), changes;
    if (!ex_new()) return 0;
    header(":method", "POST");
    header(":path", path);
    restate__exchange_begin(ex.x, false);
    for (size_t at = 0; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        uint8_t *copy = (uint8_t *)malloc(n);
        memcpy(copy, payload + at, n);
        if (!ex.x->finished) CHECK(!ex.x->status && restate__exchange_arriving(ex.x) && restate__exchange_begun(ex.x));
        restate__exchange_feed(ex.x, restate__b(copy, n));
        free(copy);
    }
    changes = ex.changes;
    restate__exchange_end_input(ex.x);
    CHECK(ex.changes > changes || !ex.x->finished || ex.x->status >= 400);
    CHECK(ex.x->finished && !ex.x->attempt && !restate__exchange_may_suspend(ex.x));
    CHECK_STR(response("x-restate-server"), "restate-sdk-c/0.1.0");
    return ex.x->status;
}

static void converts(const char *path, const char *payload, const char *type, const char *result) {
    test_note = path;
    for (size_t piece = 1; piece < 1000; piece *= 5) {
        CHECK_INT(convert(path, payload, piece), 200);
        CHECK_STR(response("content-type"), type);
        CHECK_STR(body(), result);
        ex_release();
        CHECK_INT(ex.endpoint->invocations, 0);
    }
    test_note = "";
}

static void does_not_convert(const char *path, const char *payload, int status, const char *message) {
    test_note = path;
    refused(convert(path, payload, 100), status, message);
    ex_release();
    CHECK_INT(ex.endpoint->invocations, 0);
    test_note = "";
}

TEST(shown) {
    open_shown(NULL);
    converts("/serdes/a.Shows/decode/both/input", "<hello \"you\">", "application/json", "\"hello \\\"you\\\"\"");
    converts("/serdes/a.Shows/encode/both/input", "\"hello\"", "text/x-angle", "<hello>");
    LOG_HAS("INFO entered \"hello\"");
    converts("/serdes/a.Shows/encode/both/output", " \"\\u0041\" ", "application/octet-stream", "<A>");
    converts("/serdes/a.Shows/decode/both/output", "<>", "application/json", "\"\"");
    converts("/prefix/serdes/a.Shows/decode/both/output?x=/1", "<>", "application/json", "\"\"");
    converts("/serdes/serdes/serdes/a.Shows/decode/input/input", "<>", "application/json", "\"\"");
    converts("/serdes/Default/decode/h/output", "<x>", "application/json", "\"x\"");
    converts("/serdes/a.Shows/decode/empty/input", "", "application/json", "{}");
    converts("/serdes/a.Shows/decode/empty/input", "what an old caller sends", "application/json", "{}");
    converts("/serdes/a.Shows/encode/empty/input", "{}", "application/proto", "");
    LOG_HAS("");
    ex_end();
}

TEST(not_shown) {
    open_shown(NULL);
    does_not_convert("/serdes/Nope/encode/both/input", "", 404, "{\"message\":\"no service Nope here\"}");
    does_not_convert("/serdes/a.Shows/encode/nope/input", "", 404, "{\"message\":\"service a.Shows has no handler nope\"}");
    does_not_convert("/serdes/a.Shows/encode//input", "", 404, "{\"message\":\"service a.Shows has no handler \"}");
    does_not_convert("/serdes/a.Shows/encode/both/nope", "", 404, "{\"message\":\"there is input and output, got nope\"}");
    does_not_convert("/serdes/a.Shows/recode/both/input", "", 404, "{\"message\":\"there is encode and decode, got recode\"}");
    does_not_convert("/serdes/a.Shows/encode/json/input", "1", 404, "{\"message\":\"handler a.Shows/json: its input has no .to_json, or is sealed\"}");
    does_not_convert("/serdes/a.Shows/decode/input/output", "1", 404, "{\"message\":\"handler a.Shows/input: its output has no .to_json, or is sealed\"}");
    does_not_convert("/serdes/a.Shows/decode/sealed/output", "<>", 404, "{\"message\":\"handler a.Shows/sealed: its output has no .to_json, or is sealed\"}");
    does_not_convert("/serdes/a.Shows/decode/empty/output", "", 404, "{\"message\":\"handler a.Shows/empty: its output has no .to_json, or is sealed\"}");
    does_not_convert("/serdes/a.Shows/decode/both/input", "<", 422, "{\"message\":\"no brackets around \\\"<\\\"\"}");
    does_not_convert("/serdes/a.Shows/decode/both/input", "", 422, "{\"message\":\"no brackets around \\\"\\\"\"}");
    does_not_convert("/serdes/a.Shows/decode/both/input", "\xff", 422, "{\"message\":\"no brackets around \\\"?\\\"\"}");
    does_not_convert("/serdes/a.Shows/encode/both/input", "{}", 422, "{\"message\":\"json: expected a string, found object at byte 0\"}");
    does_not_convert("/serdes/a.Shows/encode/both/input", "\"x", 422, "{\"message\":\"json: expected a closing quotation mark, found the end at byte 2\"}");
    does_not_convert("/serdes/a.Shows/decode/naps/input", "", 500, "{\"message\":\"a.Shows/naps (in a closure): restate_sleep(): is journaled "
                     "and cannot be used in a closure: use it in the handler, before or after the run\"}");
    does_not_convert("/serdes/a.Shows/decode/both/input", "<\xff>", 500, "{\"message\":\"a.Shows/both (in a closure): restate_json(): argument 2 behind the "
                     "format is not UTF-8\"}");       /* though the codec returns RESTATE_OK */
    does_not_convert("/serdes/a.Shows/encode/naps/input", "", 500, "{\"message\":\"not today\"}");
    does_not_convert("/serdes/a.Shows/decode/naps/output", "", 500, "{\"message\":\"the codec returned 77: it is RESTATE_OK or restate_fail()\"}");
    converts("/serdes/a.Shows/encode/naps/output", "1", "application/octet-stream", "");
    refused(request("GET", "/serdes/a.Shows/encode/both/input", NULL, NULL), 405, "{\"message\":\"payloads are converted with POST, got GET\"}");
    CHECK_STR(response("allow"), "POST");
    refused(request("HEAD", "/serdes/a.Shows/encode/both/input", NULL, NULL), 405, "");
    refused(invoke_at("/serdes/a.Shows/encode/both"), 404,
            "{\"message\":\"there is /invoke/SERVICE/HANDLER, /discover and /health, got /serdes/a.Shows/encode/both\"}");
    refused(invoke_at("/serdes/a.Shows/encode/both/input/"), 404,
            "{\"message\":\"there is /invoke/SERVICE/HANDLER, /discover and /health, got /serdes/a.Shows/encode/both/input/\"}");
    ex_end();
}

/* Payloads that are too large, too many, or come while the endpoint stops; and one that is cut off. */
TEST(limits_of_shown) {
    restate__exchange *first;
    char *large;
    open_shown(NULL);
    ex.endpoint->options.max_message_bytes = 1000;
    large = (char *)malloc(2002);
    memset(large, 'x', 1002);
    large[0] = '<', large[999] = '>', large[1000] = 0;
    CHECK_INT(convert("/serdes/a.Shows/decode/both/input", large, 100), 200);
    CHECK_INT(strlen(body()), 1000);
    large[1000] = 'x', large[1001] = 0;
    for (size_t piece = 1; piece < 2000; piece *= 11)
        refused(convert("/serdes/a.Shows/decode/both/input", large, piece), 413,
                "{\"message\":\"the payload is larger than max_message_bytes, 1000 bytes\"}");
    free(large);
    ex.endpoint->options.max_invocations = 1;
    CHECK(ex_new());
    header(":method", "POST");
    header(":path", "/serdes/a.Shows/decode/both/input");
    restate__exchange_begin(ex.x, false);
    restate__exchange_feed(ex.x, restate_str("<hal"));
    CHECK_INT(ex.endpoint->invocations, 1);
    first = ex.x;
    ex.x = NULL;
    refused(request("POST", "/serdes/a.Shows/decode/both/input", NULL, NULL), 503, "{\"message\":\"the endpoint has max_invocations under way\"}");
    ex_release();
    ex.x = first;
    ex_release();                           /* before its body has arrived */
    CHECK_INT(ex.endpoint->invocations, 0);
    CHECK_INT(convert("/serdes/a.Shows/decode/both/input", "<>", 1), 200);
    CHECK_STR(body(), "\"\"");
    ex_release();
    __atomic_store_n(&ex.endpoint->stops, 1, __ATOMIC_RELAXED);
    refused(invoke_at("/serdes/a.Shows/decode/both/input"), 503, "{\"message\":\"the endpoint is stopping\"}");
    __atomic_store_n(&ex.endpoint->stops, 0, __ATOMIC_RELAXED);
    ex_end();
}

static void open_shown_plainly(void) { open_shown(NULL); }

TEST(shown_without_memory) {
    static const asked list[] = {
        { "POST", "/serdes/a.Shows/decode/both/input", NULL, NULL, "<0123456789012345678901234567890123456789>", 200,
          "\"0123456789012345678901234567890123456789\"" },
        { "POST", "/serdes/a.Shows/encode/both/input", NULL, NULL, "\"x\"", 200, "<x>" }
    };
    ask_without_memory(list, 2, true, open_shown_plainly);
}

/* The UI is told by metadata of the service which payloads it can ask for. */
TEST(shown_is_told) {
    const restate_options sealed = { .seal = &seal_of_all };
    const char *told;
    open_shown(NULL);
    CHECK_INT(request("GET", "/discover", "accept", MANIFEST "2+json"), 200);
    told = body();
    CHECK_HAS(told, "\"metadata\":{\"team\":\"a\",\"dev.restate.serde.preview.both/input\":\"true\",\"dev.restate.serde.preview.both/output\":\"true\","
              "\"dev.restate.serde.preview.empty/input\":\"true\",\"dev.restate.serde.preview.input/input\":\"true\","
              "\"dev.restate.serde.preview.naps/input\":\"true\",\"dev.restate.serde.preview.naps/output\":\"true\"}");
    CHECK_HAS(told, "\"metadata\":{\"dev.restate.serde.preview.h/input\":\"true\",\"dev.restate.serde.preview.h/output\":\"true\"}");
    CHECK_HAS(told, "\"metadata\":{\"team\":\"a\"}");
    ex_end();
    open_shown(&sealed);                    /* all of it */
    CHECK_INT(request("GET", "/discover", "accept", MANIFEST "2+json"), 200);
    CHECK(!strstr(body(), "preview"));
    ex_end();
    ERROR_OF("handler S/h: its input has one of .to_json and .from_json: give both or none", SERVICE(HANDLERS({ .name = "h", .fn = done, .input = &half })));
    ERROR_OF("handler S/h: its output has one of .to_json and .from_json: give both or none", SERVICE(HANDLERS({ .name = "h", .fn = done, .output = &other_half })));
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(names), T(handlers), T(options), T(endpoint_options), T(default_options),
        T(out_of_memory), T(s138_routes), T(s138_not_found), T(s139_unknown), T(methods),
        T(content_types), T(limits), T(attempt_headers), T(s147_preflight_error),
        T(exchange_out_of_memory), T(s140_versions), T(s142_manifest), T(accept_headers_are_one_list), T(protocol_mode),
        T(s141_too_new), T(defaults_are_told), T(levels), T(texts_are_utf8),
        T(lists_end_with_zeros), T(types_that_requests_have), T(types_that_nothing_has),
        T(codecs_for_all), T(preloaded_keys_are_told), T(preloaded_keys_that_are_wrong),
        T(shown), T(not_shown), T(limits_of_shown), T(shown_without_memory), T(shown_is_told),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
