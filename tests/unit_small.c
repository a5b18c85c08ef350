/* RESTATE_SMALL, which implies RESTATE_TERSE: what it leaves out is refused, texts are places, and an
 * invocation is what it is without. Handlers of an image of firmware are tested by unit_stream. */
#define RESTATE_SMALL
#define RESTATE_NO_SERVER
#define RESTATE_NO_CJSON
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "support/allocator.c"
#include "support/journal.c"

static rt_bytes log_lines;

static void write_log(void *user, const restate_log_record *r) {
    (void)user;
    rt_print(&log_lines, "%s\n", r->message);
}

static const char *logged(void) {
    rt_add(&log_lines, "", 0);
    log_lines.len = 0;
    return (const char *)log_lines.at;
}

static restate_status counts(restate_ctx *ctx, restate_bytes input) {
    long long n = 0;
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "n", &value));
    RESTATE_TRY(restate_json_int(ctx, value, NULL, &n));
    if (n == 7) return restate_fail(ctx, 400, "seven");
    if (n == 8) return restate_set(ctx, NULL, value);
    RESTATE_TRY(restate_set(ctx, "n", restate_json(ctx, "%d", (int)n + 1)));
    return restate_reply(ctx, restate_json(ctx, "{'n': %d}", (int)n + 1));
}

/* An endpoint with the object S and its handler `counts`; `options` are the handler's. */
static restate_endpoint *made(restate_endpoint_options options, restate_options handlers) {
    static const restate_pair metadata[] = { { "team", "blue" }, { NULL, NULL } };
    const restate_handler list[] = {
        { RESTATE_HANDLER(counts), .options = handlers, .documentation = "counts", .metadata = metadata },
        { NULL }
    };
    const restate_service s = { .name = "S", .kind = RESTATE_OBJECT, .handlers = list,
                                .documentation = "a counter", .metadata = metadata };
    const restate_service *const services[] = { &s, NULL };
    options.services = services;
    return restate_endpoint_new(&options);
}

static const restate_options none;

/* ---- Exchanges --------------------------------------------------------------------------------- */

static rt_bytes body;

static unsigned exchange(restate_endpoint *e, const char *method, const char *path) {
    const restate_pair headers[] = {
        { "content-type", "application/vnd.restate.invocation.v7" },
        { "accept", "application/vnd.restate.endpointmanifest.v4+json" }, { NULL, NULL }
    };
    const restate_http_request request = { method, path, headers, true };
    restate_stream *s = restate_stream_open(e, &request);
    restate_bytes b;
    uint16_t status = 0;
    const restate_pair *response;
    restate_status last;
    body.len = 0;
    if (rt_script.len)
        CHECK_INT(restate_stream_feed(s, restate__b(rt_script.at, rt_script.len)), RESTATE_OK);
    RESTATE_IGNORE(restate_stream_feed(s, restate__b_none()));  /* it may be refused already */
    do {
        last = restate_stream_take(s, &b, &status, &response);
        rt_add(&body, b.ptr, b.len);
    } while (last == RESTATE_OK && b.len);
    restate_stream_free(s);
    rt_script.len = 0;
    return status;
}

static void says(const char *const *expected) {
    rt_bytes text = { NULL, 0, 0 };
    rt_add(&text, "", 0);
    for (size_t at = 0, n = 1; n && at < body.len; at += n)
        n = rt_show_frame(&text, body.at + at, body.len - at);
    rt_compare(__FILE__, __LINE__, (const char *)text.at, expected, 7);
    rt_drop(&text);
}
#define SAYS(...) says((const char *const[]){ __VA_ARGS__, NULL })

static void frames_have(const char *part) {
    rt_bytes text = { NULL, 0, 0 };
    rt_add(&text, "", 0);
    for (size_t at = 0, n = 1; n && at < body.len; at += n)
        n = rt_show_frame(&text, body.at + at, body.len - at);
    CHECK_HAS((const char *)text.at, part);
    rt_drop(&text);
}

/* ---- Cases ------------------------------------------------------------------------------------- */

TEST(an_invocation) {
    restate_endpoint *e = made((restate_endpoint_options){ .port = 0 }, none);
    CHECK_STR(restate_endpoint_error(e), "");
    start(1, .complete = true, .state = "n=4", .key = "k");
    input("");
    CHECK_INT(exchange(e, "POST", "/invoke/S/counts"), 200);
    SAYS("GetEagerState \"n\" value \"4\"", "SetState \"n\" value \"5\"", "Output value \"{\"n\": 5}\"", "End");
    start(2, .complete = true, .state = "n=4", .key = "k");
    input("");
    cmd_get_eager("n", "4");
    CHECK_INT(exchange(e, "POST", "/invoke/S/counts"), 200);
    SAYS("SetState \"n\" value \"5\"", "Output value \"{\"n\": 5}\"", "End");
    restate_endpoint_free(e);
}

TEST(a_failure_has_its_text) {
    restate_endpoint *e = made((restate_endpoint_options){ .port = 0 }, none);
    start(1, .complete = true, .state = "n=7", .key = "k");
    input("");
    CHECK_INT(exchange(e, "POST", "/invoke/S/counts"), 200);
    SAYS("GetEagerState \"n\" value \"7\"", "Output failure 400 \"seven\"", "End");
    restate_endpoint_free(e);
}

/* Each of a mismatch, misuse and a refused request is a place in restate.h, and its code stays. */
TEST(errors_are_places) {
    restate_endpoint *e = made((restate_endpoint_options){ .logger = { .write = write_log } },
                               none);
    start(2, .complete = true, .state = "n=4", .key = "k");
    input("");
    cmd_sleep(1, "", 9);
    CHECK_INT(exchange(e, "POST", "/invoke/S/counts"), 200);
    frames_have("Error 570 index:1 GetLazyState message:\"restate.h:");
    CHECK_HAS(logged(), "the attempt failed with 570: restate.h:");
    start(1, .complete = true, .state = "n=8", .key = "k");
    input("");
    CHECK_INT(exchange(e, "POST", "/invoke/S/counts"), 200);
    frames_have("Error 500 index:1 GetEagerState message:\"restate.h:");
    CHECK_HAS(logged(), "the attempt failed with 500: restate.h:");
    CHECK_INT(exchange(e, "POST", "/invoke/S/nowhere"), 404);
    CHECK_HAS(logged(), "refused POST /invoke/S/nowhere with 404: restate.h:");
    restate_endpoint_free(e);
}

TEST(the_log_is_not_limited) {
    restate_endpoint *e = made((restate_endpoint_options){ .logger = { .write = write_log } },
                               none);
    for (int i = 0; i < 300; i++) {
        CHECK_INT(exchange(e, "GET", "/nowhere"), 404);
        CHECK_HAS(logged(), "refused GET /nowhere with 404: restate.h:");
    }
    restate_endpoint_free(e);
    CHECK_STR(logged(), "");
}

static bool map_error(void *user, uint16_t code, const char *message, restate_failure *out) {
    (void)user, (void)code, (void)message, (void)out;
    return false;
}

TEST(discovery_has_what_the_server_needs) {
    restate_endpoint *e = made((restate_endpoint_options){ .port = 0 },
                               (restate_options){ .inactivity_timeout_ms = 5 });
    CHECK_INT(exchange(e, "GET", "/discover"), 200);
    rt_add(&body, "", 1);
    CHECK_STR((const char *)body.at,
              "{\"protocolMode\":\"REQUEST_RESPONSE\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,"
              "\"services\":[{\"name\":\"S\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"counts\","
              "\"ty\":\"EXCLUSIVE\",\"input\":{\"required\":true,\"contentType\":\"application/json\"},"
              "\"output\":{\"contentType\":\"application/json\"},\"inactivityTimeout\":5}]}]}");
    restate_endpoint_free(e);
}

TEST(what_is_left_out_is_refused) {
    static const restate_hooks hooks;
    static const restate_seal seal;
    static const char *const keys[] = { "publickeyv1_x", NULL };
    const restate_options asked[] = {
        { .hooks = &hooks }, { .seal = &seal }, { .map_error = map_error }
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        for (int of_all = 0; of_all < 2; of_all++) {
            restate_endpoint *e = made(
                (restate_endpoint_options){ .defaults = of_all ? asked[i] : none },
                of_all ? none : asked[i]);
            CHECK_HAS(restate_endpoint_error(e), "restate.h:");
            restate_endpoint_free(e);
        }
    restate_endpoint *e = made((restate_endpoint_options){ .identity_keys = keys }, none);
    CHECK_HAS(restate_endpoint_error(e), "restate.h:");
    restate_endpoint_free(e);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(an_invocation), T(a_failure_has_its_text), T(errors_are_places), T(the_log_is_not_limited), T(discovery_has_what_the_server_needs),
        T(what_is_left_out_is_refused), { NULL, NULL }
    };
    int failed = test_main(argc, argv, cases);
    rt_drop(&log_lines);
    rt_drop(&body);
    rt_drop(&rt_script);
    return failed;
}
