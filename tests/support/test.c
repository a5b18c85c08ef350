/* A test of the runtime for tests: an endpoint, a runtime and a context, which `ctx` is.
 *
 *     TEST(it_answers) {
 *         EVERY_WAY() CHECK_STR(ask("Plain/echo", "1"), "1");
 *     }
 *     int main(int argc, char **argv) { ... return test_with(services, argc, argv, cases); }
 *
 * EVERY_WAY repeats its block with many seeds, in every protocol, each with a runtime of its own. */
#ifndef SUPPORT_TEST_C
#define SUPPORT_TEST_C

static restate_endpoint *endpoint;
static restate_test_options options;        /* of the runtimes that are made from here on */
static restate_client *runtime;
static restate_ctx *ctx;

enum { WAYS = 24 };
#define EVERY_WAY() for (int way = 0; way < WAYS && next_way(way); close_way(way), way++)

static inline void test_open(void) {
    runtime = restate_test_new(&options);
    ctx = restate_client_begin(runtime);
}

static inline void test_close(void) { restate_client_free(runtime); }

static inline int next_way(int way) {
    static char note[64];
    snprintf(note, sizeof note, "(way %d: seed %d, protocol %d)", way, way / 3, 5 + way % 3);
    test_note = note;
    options.seed = (uint64_t)(way / 3);
    options.protocol = 5 + (uint32_t)way % 3;
    test_open();
    return 1;
}

static inline void close_way(int way) {
    test_close();
    if (way == WAYS - 1) {
        options.seed = options.protocol = 0;
        test_note = "";
    }
}

static inline const char *text_of(restate_bytes b) {
    return b.ptr ? restate_text(ctx, "%.*s", (int)b.len, (const char *)b.ptr) : "";
}

/* SERVICE/HANDLER, SERVICE/KEY/HANDLER, or without the handler SERVICE/KEY/. */
static inline restate_target target_of(const char *path) {
    const char *key = strchr(path, '/'), *handler = strrchr(path, '/');
    restate_target t = { .service = restate_text(ctx, "%.*s", (int)(key - path), path) };
    if (handler[1]) t.handler = restate_text(ctx, "%s", handler + 1);
    if (handler != key) t.key = restate_text(ctx, "%.*s", (int)(handler - key - 1), key + 1);
    return t;
}

static inline restate_future *send_call(const char *path, const char *input) {
    return restate_call_async(ctx, target_of(path), restate_str(input), NULL);
}

/* What a future gives: its value, or STATUS CODE MESSAGE. */
static inline const char *value_of(restate_future *f) {
    static const char *const names[] = { "OK", "TERMINAL", "TIMEOUT", "CANCELLED", "ENDED", "ERROR" };
    restate_bytes v;
    restate_status s = restate_await(ctx, f, &v);
    if (s == RESTATE_OK) return text_of(v);
    return restate_text(ctx, "%s %d %s", names[s], restate_failed(ctx)->code,
                        restate_failed(ctx)->message);
}

static inline const char *ask(const char *path, const char *input) {
    return value_of(send_call(path, input));
}

/* The status of PATCH /invocations/ID/VERB. */
static inline int patch(const char *id, const char *verb) {
    restate_future *f = restate_client_request(
        ctx, "PATCH", restate_text(ctx, "/invocations/%s/%s", id, verb), (restate_bytes){ NULL, 0 });
    RESTATE_IGNORE(restate_await(ctx, f, NULL));
    return restate_client_answer(ctx, f)->http_status;
}

/* How long the test has taken by its clock. */
static inline uint64_t elapsed(void) {
    uint64_t ms = 0;
    RESTATE_IGNORE(restate_now(ctx, &ms));
    return ms - UINT64_C(1893456000000);
}

static inline int test_with(const restate_service *const *services_, int argc, char **argv,
                            const test_case *cases) {
    endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = services_, .logger.level = RESTATE_LOG_OFF });
    options = (restate_test_options){ .endpoint = endpoint, .logger.level = RESTATE_LOG_OFF };
    int failed = test_main(argc, argv, cases);
    restate_endpoint_free(endpoint);
    return failed;
}

#endif
