/* Section >>client: requests to a server that is a thread of this program (support/ingress.c) and does what real ones
 * do, and what they had better not do. */
/* Has threads: runs with ThreadSanitizer, too. */
#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L
#define RESTATE_IMPLEMENTATION
#ifdef __linux__
#  include <sys/epoll.h>
static __thread unsigned looks;                 /* how often this thread has looked for events */
#  define epoll_wait(...) (looks++, epoll_wait(__VA_ARGS__))
#else
static unsigned looks;
#endif
#include "tools.h"
#include "restate.h"
#include <poll.h>
#include "support/allocator.c"
#include "support/caller.c"

/* ---- What goes out --------------------------------------------------------------------------- */

TEST(requests) {
    EACH_SERVER(in, client, ctx) {
        restate_bytes v;
        CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
        CHECK_STR(ingress_last(in), "POST /S/echo type=application/json key= auth= extra= body=1");
        const restate_answer *a = restate_client_answer(ctx, NULL);
        CHECK_INT(a->http_status, 200);
        CHECK_STR(a->invocation_id, "inv_1");
        CHECK_INT(a->tries, 1);
        CHECK_STR(a->headers[0].name, "content-type");
        CHECK_INT(restate_call(ctx, to("echo"), (restate_bytes){ NULL, 0 }, NULL, &v), RESTATE_OK);
        CHECK(v.ptr && !v.len);
        CHECK_STR(ingress_last(in), "POST /S/echo type= key= auth= extra= body=");
        CHECK_INT(restate_call(ctx, to("echo"), restate_str(""), NULL, &v), RESTATE_OK);
        CHECK_STR(ingress_last(in), "POST /S/echo type=application/json key= auth= extra= body=");
        restate_target odd = { .service = "S", .handler = "h", .key = "\xC3\xA4/b c?%.." };
        CHECK_INT(restate_call(ctx, odd, restate_str("2"), &(restate_call_options){
            .idempotency_key = "a b", .headers = RESTATE_PAIRS({ "X-Extra", "e" }, { "Content-Type", "text/csv" }) },
            &v), RESTATE_OK);
        CHECK_STR(ingress_last(in), "POST /S/%C3%A4%2Fb%20c%3F%25../h type=text/csv key=a b auth= extra=e body=2");
        odd.key = "..";
        CHECK_INT(restate_call(ctx, odd, restate_str("2"), NULL, &v), RESTATE_OK);
        CHECK_STR(ingress_last(in), "POST /S/%2E%2E/h type=application/json key= auth= extra= body=2");
        odd.scope = "sc.1";
        CHECK_INT(restate_call(ctx, odd, restate_str("2"), &(restate_call_options){ .limit_key = "a/b" }, &v), RESTATE_OK);
        CHECK_STR(ingress_last(in), "POST /restate/scope/sc.1/call/S/%2E%2E/h type=application/json key= auth= extra=a/b body=2");
    }
}

static restate_status encode(const restate_codec *codec, restate_ctx *ctx, const void *value, restate_bytes *out) {
    (void)codec;
    (void)ctx;
    *out = restate_str(value);
    return RESTATE_OK;
}

TEST(types) {
    static const restate_codec csv = { .content_type = "text/csv", .encode = encode };
    static const restate_codec any = { .encode = encode };
    const restate_bytes raw = restate_str("raw");
    EACH_SERVER(in, client, ctx) {
        CHECK_INT(restate_call(ctx, to("x"), restate_encode(ctx, &csv, "a,b"), NULL, NULL), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "type=text/csv key= auth= extra= body=a,b");
        CHECK_INT(restate_call(ctx, to("x"), restate_encode(ctx, &any, "z"), NULL, NULL), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "type=application/octet-stream");
        CHECK_INT(restate_call(ctx, to("x"), restate_encode(ctx, RESTATE_BYTES, &raw), NULL, NULL), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "type=application/octet-stream key= auth= extra= body=raw");
        CHECK_INT(restate_call(ctx, to("x"), restate_encode(ctx, RESTATE_VOID, NULL), NULL, NULL), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "type= ");
        CHECK_INT(restate_call(ctx, to("x"), restate_encode(ctx, RESTATE_JSON, restate_json_own(ctx, cJSON_CreateNumber(7))),
                               NULL, NULL), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "type=application/json key= auth= extra= body=7");
    }
}

TEST(other_requests) {
    static const char inv[] = "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61";
    static const char awakeable[] = "sign_1AZ7G_x3a8HYBmPaFLZ8AUjV0QVkbmbVmAAAAEQ";
    EACH_SERVER(in, client, ctx) {
        const char *id;
        restate_bytes v;
        restate_target w = { .service = "W", .key = "a b" }, o = { .service = "O", .handler = "h", .key = "k" };
        restate_future *sent = restate_send(ctx, to("x"), restate_str("1"), NULL);
        CHECK_INT(restate_call_id(ctx, sent, &id), RESTATE_OK);
        CHECK_STR(id, "inv_2");
        CHECK(!restate_client_answer(ctx, sent)->previously_accepted);
        CHECK_HAS(ingress_last(in), "POST /S/x/send type=application/json");
        sent = restate_send(ctx, to("again"), restate_str("1"), &(restate_call_options){ .delay_ms = RESTATE_DAYS(1) });
        CHECK_INT(restate_call_id(ctx, sent, &id), RESTATE_OK);
        CHECK(restate_client_answer(ctx, sent)->previously_accepted);
        CHECK_HAS(ingress_last(in), "POST /S/again/send?delay=86");      /* some ms less than a day */
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .id = inv }, &v), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "GET /restate/invocation/inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61/attach type= ");
        CHECK_INT(restate_output(ctx, (restate_invocation){ .target = w }, &v), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "GET /restate/workflow/W/a%20b/output type= ");
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .target = o, .idempotency_key = "i-1" }, &v), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "GET /restate/invocation/O/k/h/i-1/attach type= ");
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .target = o, .idempotency_key = "i/\"1" }, &v), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "POST /restate/attach type=application/json key= auth= extra= body={\"target\":"
                  "\"idempotentInvocation\",\"service\":\"O\",\"key\":\"k\",\"handler\":\"h\",\"idempotencyKey\":\"i/\\\"1\"}");
        w.scope = "s";
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .target = w }, &v), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "body={\"target\":\"workflow\",\"workflowName\":\"W\",\"workflowKey\":\"a b\",\"scope\":\"s\"}");
        CHECK_INT(restate_output(ctx, (restate_invocation){ .target = { .service = "not_ready", .key = "k" } }, &v), RESTATE_OK);
        CHECK(!v.ptr);
        CHECK_INT(restate_resolve(ctx, awakeable, restate_str("[1]")), RESTATE_OK);
        CHECK_STR(ingress_last(in), restate_text(ctx, "POST /restate/awakeables/%s/resolve type=application/json key= auth= extra= body=[1]", awakeable));
        CHECK_INT(restate_reject(ctx, awakeable, &(restate_failure){ .code = 1, .message = "no" }), RESTATE_OK);
        CHECK_STR(ingress_last(in), restate_text(ctx, "POST /restate/awakeables/%s/reject type=text/plain key= auth= extra= body=no", awakeable));
        CHECK_INT(restate_cancel(ctx, inv), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "PATCH /invocations/inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61/cancel type= ");
        CHECK_INT(restate_await(ctx, restate_client_request(ctx, "DELETE", "/deployments/d?force=true", (restate_bytes){ NULL, 0 }), &v), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "DELETE /deployments/d?force=true type= ");
        CHECK_INT(restate_await(ctx, restate_client_request(ctx, "POST", "/refuse", restate_str("{}")), &v), RESTATE_ERROR);
        CHECK_INT(restate_failed(ctx)->code, 404);
        CHECK_INT(restate_await(ctx, restate_client_request(ctx, "GET", "no slash", v), &v), RESTATE_ERROR);
        CHECK_INT(restate_await(ctx, restate_client_request(ctx, "GET", "/a b", v), &v), RESTATE_ERROR);
    }
}

/* An attach of a context comes behind its earlier sends, whatever overtakes whatever. */
TEST(attach_follows_sends) {
    EACH_SERVER(in, client, ctx) {
        restate_target w = { .service = "W", .handler = "run", .key = "k" };
        for (int i = 0; i < 20; i++) {
            restate_send(ctx, w, restate_str("1"), NULL);
            CHECK_INT(restate_attach(ctx, (restate_invocation){ .target = { .service = "W", .key = "k" } }, NULL), RESTATE_OK);
            CHECK_HAS(ingress_last(in), "/attach");
        }
        w.handler = "reset";                            /* also behind one that fails */
        restate_send(ctx, w, restate_str("1"), NULL);
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .target = { .service = "W", .key = "k" } }, NULL), RESTATE_OK);
    }
}

TEST(state) {
    EACH_SERVER(in, client, ctx) {
        const char *const *keys;
        restate_bytes v;
        restate_client_at(ctx, (restate_target){ .service = "O'", .key = "it's" });
        CHECK_INT(restate_get(ctx, "a'", &v), RESTATE_OK);
        CHECK_HAS(ingress_last(in), "body={\"query\":\"select key, value from state where service_name = 'O''' and "
                  "service_key = 'it''s' and key = 'a'''\"}");
        CHECK_INT(restate_keys(ctx, &keys), RESTATE_OK);
        CHECK_STR(keys[0], "a");
        CHECK_STR(keys[1], "b");
    }
}

/* As the server's own tests have them. */
TEST(state_versions) {
    EACH_SERVER(in, client, ctx) {
        restate__client_entry one[] = { { restate_str("name"), restate_str("bob") } };
        restate__client_entry two[] = { { restate_str("a"), restate_str("aaa") }, { restate_str("b"), restate_str("bbb") } };
        restate__arena *arena = restate__ctx_arena(ctx);
        CHECK_STR(restate__client_version(arena, &(restate__client_state){ one, 1 }),
                  "tDqA04Lj3_qJ-PgNPTecXDGZgpwy6jm2Ni2BYqJIthM");
        CHECK_STR(restate__client_version(arena, &(restate__client_state){ two, 2 }),
                  "RVM17P6x18Wp-JnzQ01BzmqCvhAunTOQI_az6Px3Zyk");
        CHECK_STR(restate__client_version(arena, &(restate__client_state){ NULL, 0 }),
                  "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    }
}

/* A write replaces all of the state, if it is what was read; then it is waited for. */
TEST(state_writes) {
    static const char old[] = "{\"rows\":[{\"key\":\"b\",\"value\":\"3432\"},{\"key\":\"a\\\"\",\"value\":\"\"}]}";
    static const char set[] = "{\"rows\":[{\"key\":\"c\",\"value\":\"ff78\"},{\"key\":\"a\\\"\",\"value\":\"\"},"
                              "{\"key\":\"b\",\"value\":\"3432\"}]}";
    static const char other[] = "{\"rows\":[{\"key\":\"b\",\"value\":\"3433\"}]}", none[] = "{\"rows\":[]}";
    EACH_SERVER(in, client, ctx) {
        restate_client_at(ctx, (restate_target){ .service = "O'", .key = "it's" });
        ingress_rows(in, old, set);
        CHECK_INT(restate_set(ctx, "c", restate__b("\xffx", 2)), RESTATE_OK);
        CHECK_HAS(ingress_state(in), "/services/O%27/state {\"object_key\":\"it's\",\"version\":\"");
        CHECK_HAS(ingress_state(in), "\",\"new_state\":{\"a\\\"\":[],\"b\":[52,50],\"c\":[255,120]}}");
        ingress_rows(in, set, old);
        CHECK_INT(restate_clear(ctx, "c"), RESTATE_OK);
        CHECK_HAS(ingress_state(in), "\"new_state\":{\"a\\\"\":[],\"b\":[52,50]}}");
        ingress_rows(in, old, none);
        CHECK_INT(restate_clear_all(ctx), RESTATE_OK);
        CHECK_HAS(ingress_state(in), "\"new_state\":{}}");
        ingress_rows(in, none, old);
        CHECK_INT(restate_clear(ctx, "c"), RESTATE_OK);     /* it is not there: nothing is written */
        CHECK_STR(ingress_state(in), "");
        ingress_rows(in, old, other);                       /* somebody else was quicker */
        CHECK_INT(restate_set(ctx, "c", restate_str("x")), RESTATE_ERROR);
        CHECK_HAS(restate_failed(ctx)->message, "the state was not written: somebody else wrote meanwhile");
        CHECK_INT(restate_failed(ctx)->code, 409);
        ingress_rows(in, "[]", NULL);
        CHECK_INT(restate_set(ctx, "c", restate_str("x")), RESTATE_ERROR);
        CHECK_HAS(restate_failed(ctx)->message, "the response to a query cannot be read");
    }
}

/* ---- Who failed ------------------------------------------------------------------------------ */

TEST(who_failed) {
    EACH_SERVER(in, client, ctx) {
        const char *id;
        CHECK_STR(called(ctx, "fail", &once), "terminal(418 tea\npot)");
        CHECK_STR(restate_failed(ctx)->metadata[0].name, "a");
        CHECK_STR(restate_failed(ctx)->metadata[1].name, "d");  /* what is no string is left out */
        CHECK_STR(restate_failed(ctx)->metadata[1].value, "\xC3\xA4");
        CHECK_STR(called(ctx, "fail_of_200", &once), "terminal(200 odd)");
        CHECK_STR(called(ctx, "fail_of_number", &once), "terminal(1234 a number)");
        CHECK_STR(called(ctx, "fail_in_body", &once), "terminal(503 busy)");
        CHECK_STR(called(ctx, "fail_of_old", &once), "terminal(503 older)");
        CHECK_INT(ingress_count(in, &in->requests), 5);                     /* none was tried again */
        CHECK_STR(called(ctx, "refuse", &once), "error(404 no such service)");
        CHECK_INT(restate_client_answer(ctx, NULL)->http_status, 404);
        CHECK_INT(restate_call_id(ctx, restate_call_async(ctx, to("fail"), restate_str("1"), NULL), &id), RESTATE_OK);
        CHECK_STR(id, "inv_1");
        CHECK_INT(restate_call_id(ctx, restate_send(ctx, to("refuse"), restate_str("1"), NULL), &id), RESTATE_ERROR);
        CHECK_STR(called(ctx, "empty_error", NULL), "error(500 the server responded with HTTP status 500)");
        CHECK_STR(called(ctx, "proxy", NULL), "error(502 <html>\nbad gateway)");
        CHECK_STR(called(ctx, "echo", NULL), "ok(1)");  /* nothing sticks */
    }
}

/* A request that may be repeated, and how often it is. */
TEST(statuses_that_may_pass) {
    static const struct { unsigned status, tries; } rows[] = {
        { 400, 1 }, { 401, 1 }, { 404, 1 }, { 407, 1 }, { 408, 4 }, { 409, 1 }, { 424, 1 }, { 425, 4 }, { 428, 1 },
        { 429, 4 }, { 499, 1 }, { 500, 4 }, { 501, 4 }, { 599, 4 } };
    EACH_SERVER(in, client, ctx) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const char *name = restate_text(ctx, "status_%u", rows[i].status);
            CHECK_HAS(called(ctx, name, &once), restate_text(ctx, "error(%u ", rows[i].status));
            CHECK_INT(restate_client_answer(ctx, NULL)->tries, rows[i].tries);
            called(ctx, name, NULL);
            CHECK_INT(restate_client_answer(ctx, NULL)->tries, 1);
        }
    }
}

TEST(tried_again) {
    EACH_SERVER(in, client, ctx) {
        CHECK_STR(called(ctx, "busy", &once), "ok(1)");
        CHECK_INT(restate_client_answer(ctx, NULL)->tries, 3);
        CHECK_STR(called(ctx, "proxy", &once), "error(502 <html>\nbad gateway)");
        CHECK_INT(restate_client_answer(ctx, NULL)->tries, 4);
        ingress_again(in);
        CHECK_STR(called(ctx, "busy", NULL), "error(503 routing)");     /* it might be done twice */
        CHECK_INT(restate_client_answer(ctx, NULL)->tries, 1);
        ingress_again(in);
        uint64_t now = restate__clock_ms(&restate__clock_default);
        CHECK_STR(called(ctx, "later", &once), "ok(1)");
        CHECK(restate__clock_ms(&restate__clock_default) - now >= 1000);
    }
}

/* Below HTTP: what certainly was not begun is tried again, also without a key. */
TEST(streams_that_end) {
    EACH_SERVER(in, client, ctx) {
        CHECK_STR(called(ctx, "unstarted", NULL), "ok(1)");
        CHECK_INT(restate_client_answer(ctx, NULL)->tries, 2);
        ingress_again(in);
        CHECK_STR(called(ctx, "goaway", NULL), "ok(1)");
        CHECK_INT(restate_client_answer(ctx, NULL)->tries, 2);
        CHECK_INT(ingress_count(in, &in->connections), 2);
        ingress_again(in);
        CHECK_STR(called(ctx, "reset", NULL), "error(0 the server ended the request without a complete response (INTERNAL_ERROR))");
        CHECK_HAS(called(ctx, "reset", &once), "(INTERNAL_ERROR) (in 4 attempts))");
        breaks_off(ctx, in, "hang_up", " closed the connection)");
        breaks_off(ctx, in, "half", " closed the connection)");
    }
}

/* The answer is there before the request is: it counts, although the stream is reset then. */
TEST(early_refusal) {
    EACH_SERVER(in, client, ctx) {
        size_t len = 3u << 20;
        uint8_t *large = malloc(len);
        memset(large, 'y', len);
        for (int i = 0; i < 20; i++) {
            restate_status s = restate_call(ctx, to("early"), restate__b(large, len), NULL, NULL);
            CHECK_STR(outcome(ctx, s, restate__b_none()), "error(413 too large)");
        }
        CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
        CHECK_INT(ingress_count(in, &in->connections), 1);
        restate_bytes v;
        CHECK_INT(restate_call(ctx, to("echo"), restate__b(large, len), NULL, &v), RESTATE_OK);
        CHECK(v.len == len && memcmp(v.ptr, large, len) == 0);
        free(large);
    }
}

TEST(large_answers) {
    EACH_SERVER(in, client, ctx) {
        restate_bytes v;
        const char *at_most = "67108864", *above = "67108865";
        if (SLOW > 1) at_most = "1048576";
        restate_status s = restate_call(ctx, to("big"), v = (restate_bytes){ NULL, 0 }, NULL, &v);
        CHECK_INT(s, RESTATE_OK);
        s = restate_call(ctx, (restate_target){ .service = "S", .handler = at_most, .key = "big" }, restate_str("1"), NULL, &v);
        CHECK_INT(s, RESTATE_OK);
        CHECK_INT((long long)v.len, atol(at_most));
        CHECK(v.ptr && v.ptr[0] == 'x' && v.ptr[v.len - 1] == 'x');
        s = restate_call(ctx, (restate_target){ .service = "S", .handler = above, .key = "big" }, restate_str("1"), NULL, &v);
        CHECK_STR(outcome(ctx, s, v), "error(0 the response exceeds 67108864 bytes: raise max_message_bytes)");
        CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

TEST(timeouts) {
    ingress in = { .port = 0 };
    ingress_begin(&in);
    restate_client *client = restate_client_new(&(restate_client_options){ .ingress = in.url, .timeout_ms = 30 });
    restate_ctx *ctx = restate_client_begin(client);
    CHECK_STR(called(ctx, "mute", &once), "timeout(408 no response within 30 ms)");
    restate_client_free(client);
    client = restate_client_new(&(restate_client_options){ .ingress = in.url });
    ctx = restate_client_begin(client);
    CHECK_INT(restate_await_for(ctx, restate_call_async(ctx, to("mute"), restate_str("1"), NULL), 5, NULL), RESTATE_TIMEOUT);
    CHECK_HAS(restate_failed(ctx)->message, "timed out after 5 ms");
    CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
    uint64_t began, now;
    CHECK_INT(restate_now(ctx, &began), RESTATE_OK);
    CHECK_INT(restate_sleep(ctx, 20), RESTATE_OK);
    CHECK_INT(restate_now(ctx, &now), RESTATE_OK);
    CHECK(now - began >= 19);
    restate_client_free(client);
    ingress_stop(&in);
}

/* ---- Wrong addresses ------------------------------------------------------------------------- */

TEST(wrong_options) {
    CHECK_HAS(first_call("ftp://x", NULL), "error(0 the address of the ingress, \"ftp://x\": it begins with none of http://");
    CHECK_HAS(first_call("http://", NULL), "it has no host");
    CHECK_HAS(first_call("http://a:0", NULL), "its port is no number from 1 to 65535");
    CHECK_HAS(first_call("http://a:x/", NULL), "its port is no number");
    CHECK_HAS(first_call("http://a@b", NULL), "more than a host, a port and a path");
    CHECK_HAS(first_call("http://[::1", NULL), "the ] of an IPv6 address");
    CHECK_HAS(first_call("http://a/b?c", NULL), "its path has a query");
    CHECK_HAS(first_call("unix:", NULL), "it has no path");
    CHECK_HAS(first_call("https://localhost", NULL), "https needs restate_client_options.tls");
    CHECK_HAS(first_call("http://127.0.0.1", &(restate_client_options){ .token = "a\nb" }), "the token has characters");
    CHECK_HAS(first_call("http://127.0.0.1", &(restate_client_options){ .headers = RESTATE_PAIRS({ "a b", "c" }) }),
              "a header in the options");
    CHECK_HAS(first_call("http://127.0.0.1", &(restate_client_options){ .retry = { .factor = 0.5 } }), "retry.factor");
    restate_client *client = restate_client_new(NULL);
    restate_ctx *ctx = restate_client_begin(client);
    CHECK_INT(restate_cancel(ctx, "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61"), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "restate_client_options.admin");
    restate_client_free(client);
}

TEST(nobody_there) {
    ingress in = { .port = 0 };
    ingress_listen(&in, 0);
    close(in.listener);                                 /* its port refuses now */
    CHECK_HAS(first_call(in.url, NULL), ": Connection refused)");
    CHECK_HAS(first_call(in.url, &(restate_client_options){ .retry = { .initial_interval_ms = 1, .max_attempts = 3 } }),
              ": Connection refused (in 3 attempts))");
    CHECK_HAS(first_call("unix:/nowhere/socket", NULL), "error(0 cannot connect to unix:/nowhere/socket: No such file");
    CHECK_HAS(first_call("http://no.such.host.invalid", NULL), "error(0 cannot find http://no.such.host.invalid: ");
}

/* A socket that is bound to a port and connects to it is connected to itself, as may happen to clients whose server is
 * away. */
TEST(itself) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    CHECK_INT(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    CHECK(restate__client_to_itself(fd));
    close(fd);
}

/* A queue that is full takes no more connections: the packets of the next one are dropped. */
TEST(unreachable) {
    ingress in = { .port = 0 };
    int fill[4];
    ingress_listen(&in, 0);
    listen(in.listener, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(in.port) };
    for (size_t i = 0; i < 4; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM, 0);
        fcntl(fill[i], F_SETFL, O_NONBLOCK);
        (void)connect(fill[i], (struct sockaddr *)&at, sizeof at);
    }
    CHECK_HAS(first_call(in.url, &(restate_client_options){ .connect_timeout_ms = 50 }), " within 50 ms)");
    CHECK_HAS(first_call(in.url, &(restate_client_options){ .timeout_ms = 40 }), "timeout(408 no response within 40 ms)");
    for (size_t i = 0; i < 4; i++) close(fill[i]);
    close(in.listener);
}

TEST(not_http2) {
    const struct { const char *raw, *says; } servers[] = {
        { "HTTP/1.1 400 Bad Request\r\n\r\n", " uses HTTP/1, not HTTP/2 with prior knowledge: is it the right port?)" },
        { "\x15\x03\x03\x01\x02\x02\x46", " uses TLS, not HTTP/2" },
        { "220 mail.example.com ESMTP\r\n", " violates HTTP/2" },
    };
    for (size_t i = 0; i < 3; i++) {
        ingress in = { .raw = servers[i].raw };
        ingress_begin(&in);
        CHECK_HAS(first_call(in.url, &(restate_client_options){ .retry = { .initial_interval_ms = 1, .max_attempts = i < 2 ? 9 : 1 } }),
                  servers[i].says);
        CHECK_INT(ingress_count(&in, &in.connections), 1);
        ingress_stop(&in);
    }
    ingress quiet = { .quiet = true };
    ingress_begin(&quiet);
    CHECK_HAS(first_call(quiet.url, &(restate_client_options){ .timeout_ms = 30 }), "timeout(408 ");
    ingress_stop(&quiet);
}

/* ---- Addresses and options ------------------------------------------------------------------- */

TEST(options) {
    ingress in = { .port = 0 };
    ingress_begin(&in);
    char url[160];
    snprintf(url, sizeof url, "http://localhost:%u/base/", (unsigned)in.port);     /* ::1 refuses, 127.0.0.1 does not */
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = url, .token = "t0k", .headers = RESTATE_PAIRS({ "X-Extra", "all" }) });
    restate_ctx *ctx = restate_client_begin(client);
    CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
    CHECK_STR(ingress_last(&in), "POST /base/S/echo type=application/json key= auth=Bearer t0k extra=all body=1");
    restate_client_free(client);
    ingress_stop(&in);
}

TEST(unix_sockets) {
    char path[64];
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    ingress in = { .port = 1 };
    snprintf(path, sizeof path, "/tmp/restate-unit-%ld", (long)getpid());
    unlink(path);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    in.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_INT(bind(in.listener, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_INT(listen(in.listener, 8), 0);
    ingress_begin(&in);
    snprintf(in.url, sizeof in.url, "unix:%s", path);
    CHECK_STR(first_call(in.url, NULL), "ok(1)");
    ingress_stop(&in);
    unlink(path);
}

/* What fails at once, before anything is waited for, is over at once. */
TEST(nobody_at_a_unix_socket) {
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = "unix:/nonexistent", .admin = "unix:/nonexistent", .retry = { .max_attempts = 1 } });
    restate_ctx *ctx = restate_client_begin(client);
    alarm(60);
    CHECK_HAS(called(ctx, "echo", NULL), "error(0 cannot connect to unix:/nonexistent: ");
    restate_client_at(ctx, (restate_target){ .service = "O", .key = "k" });
    restate_status s = restate_set(ctx, "c", restate_str("1"));
    CHECK_HAS(outcome(ctx, s, (restate_bytes){ NULL, 0 }), "error(0 cannot connect to unix:/nonexistent: ");
    alarm(0);
    restate_client_free(client);
}

/* ---- Many ------------------------------------------------------------------------------------ */

/* More than a connection takes: more connections, and what is more waits. */
TEST(many) {
    ingress in = { .max_streams = 10 };
    restate_future *calls[300];
    size_t index, n = 0;
    ingress_begin(&in);
    restate_client *client = restate_client_new(&(restate_client_options){ .ingress = in.url, .connections = 3 });
    restate_ctx *ctx = restate_client_begin(client);
    for (size_t i = 0; i < 300; i++) calls[i] = restate_call_async(ctx, to("echo"), restate_json(ctx, "%zu", i), NULL);
    restate_selector *left = restate_selector_new(ctx, calls, 300);
    while (restate_selector_remaining(left) && restate_selector_next(ctx, left, &index) == RESTATE_OK) {
        restate_bytes v;
        long long number = -1;
        CHECK_INT(restate_await(ctx, calls[index], &v), RESTATE_OK);
        CHECK_INT(restate_json_int(ctx, v, NULL, &number), RESTATE_OK);
        CHECK_INT(number, (long long)index);
        n++;
    }
    CHECK_INT(n, 300);
    CHECK(ingress_count(&in, &in.connections) <= 3);
    restate_client_free(client);
    ingress_stop(&in);
}

/* The server goes away and comes back, on the same port, again and again. Every call is answered. */
TEST(restarts) {
    ingress *in = calloc(1, sizeof *in);
    restate_future *calls[40];
    ingress_begin(in);
    restate_client *client = client_of(in);
    restate_ctx *ctx = restate_client_begin(client);
    for (int round = 0; round < 5; round++) {
        size_t index, n = 0;
        for (size_t i = 0; i < 40; i++)
            calls[i] = restate_call_async(ctx, to(i % 2 ? "echo" : "hang_up"), restate_json(ctx, "%zu", i), &once);
        restate_selector *left = restate_selector_new(ctx, calls, 40);
        while (restate_selector_remaining(left) && restate_selector_next(ctx, left, &index) == RESTATE_OK)
            n += restate_await(ctx, calls[index], NULL) == RESTATE_OK;
        CHECK_INT(n, 40);
        uint16_t port = in->port;
        ingress_stop(in);
        *in = (ingress){ .port = port };
        ingress_listen(in, port);
        ingress_begin(in);
    }
    restate_client_free(client);
    ingress_stop(in);
    free(in);
}

/* ---- Loops of the program's ------------------------------------------------------------------ */

static int answers;

static void answered(void *user, restate_ctx *ctx, restate_future *future) {
    restate_bytes v;
    (void)user;
    CHECK_INT(restate_await(ctx, future, &v), RESTATE_OK);
    answers++;
    restate_client_end(ctx);
}

TEST(own_loop) {
    EACH_SERVER(in, client, ctx) {
        answers = 0;
        for (int i = 0; i < 5; i++) {
            restate_ctx *own = restate_client_begin(client);
            restate_future *call = restate_call_async(own, to(i ? "echo" : "busy"), restate_str("1"), &once);
            CHECK_INT(restate_client_then(own, call, answered, NULL), RESTATE_OK);
        }
        struct pollfd fd = { .fd = restate_client_fd(client), .events = POLLIN };
        int rounds = 0;
        while (answers < 5 && rounds++ < 500) {
            if (fd.fd >= 0) CHECK_INT(poll(&fd, 1, 60000), 1);   /* it says so, for timers and new requests, too */
            CHECK_INT(restate_client_process(client, fd.fd < 0 ? 1000 : 0), RESTATE_OK);
        }
        CHECK_INT(answers, 5);
        CHECK(rounds < 100);
        restate_ctx *cut = restate_client_begin(client);        /* ended with a request under way */
        restate_call_async(cut, to("mute"), restate_str("1"), NULL);
        CHECK_INT(restate_client_process(client, 0), RESTATE_OK);
        restate_client_end(cut);
        CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
    }
}

static restate_status nothing_comes(restate_ctx *ctx) {
    restate_future *f = restate_sleep_async(ctx, 1, NULL);
    RESTATE_TRY(restate_await(ctx, f, NULL));
    return restate_await(ctx, restate_race(ctx, &f, 1), NULL);
}

TEST(waits) {
    EACH_SERVER(in, client, ctx) {
        CHECK_INT(nothing_comes(ctx), RESTATE_OK);
        CHECK_INT(restate_select(ctx, NULL, 0, NULL), RESTATE_OK);
    }
}

/* A function that waits for a request of its own does not go round while a future is settled that nobody looks at. */
TEST(waits_beside_a_settled_future) {
    ingress in = { .port = 0 }, mute = { .quiet = true };
    ingress_begin(&in);
    ingress_begin(&mute);
    restate_client *client = restate_client_new(&(restate_client_options){ .ingress = in.url, .admin = mute.url,
                                                                           .timeout_ms = 300 });
    restate_ctx *ctx = restate_client_begin(client);
    restate_future *echo = restate_call_async(ctx, to("echo"), restate_str("1"), NULL);
    looks = 0;
    CHECK_INT(restate_cancel(ctx, "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn"), RESTATE_TIMEOUT);
    CHECK(looks < 50);
    CHECK(restate_is_done(echo));
    restate_client_free(client);
    ingress_stop(&in);
    ingress_stop(&mute);
}

/* ---- Threads: a client each ------------------------------------------------------------------ */

static void *works(void *arg) {
    ingress *in = arg;
    restate_client *client = client_of(in);
    restate_ctx *ctx = restate_client_begin(client);
    for (int i = 0; i < 20; i++) {
        restate_status s = restate_call(ctx, to("echo"), restate_str("1"), &once, NULL);
        if (s != RESTATE_OK) return "failed";
    }
    restate_client_free(client);
    return NULL;
}

TEST(threads) {
    ingress in = { .port = 0 };
    pthread_t threads[4];
    ingress_begin(&in);
    for (size_t i = 0; i < 4; i++) CHECK_INT(pthread_create(&threads[i], NULL, works, &in), 0);
    for (size_t i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        CHECK(!failed);
    }
    CHECK_INT(ingress_count(&in, &in.requests), 80);
    ingress_stop(&in);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static mem_counts memory, http2;                /* of a client; what nghttp2 asks the client for */

static void *http2_malloc(size_t size, void *user) { return http2.fail_at == ++http2.calls ? NULL : restate__h2_malloc(size, user); }
static void *http2_calloc(size_t n, size_t size, void *user) { return http2.fail_at == ++http2.calls ? NULL : restate__h2_calloc(n, size, user); }
static void *http2_realloc(void *old, size_t size, void *user) {
    return http2.fail_at == ++http2.calls ? NULL : restate__h2_realloc(old, size, user);
}

/* `offset`: so that chunks of memory end somewhere else. */
static void fails_once(ingress *in, size_t offset) {
    int counted = 0;
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = in->url, .admin = in->url, .token = "t", .headers = RESTATE_PAIRS({ "x-extra", "v" }),
        .retry = { .initial_interval_ms = 1, .max_interval_ms = 2 }, .timeout_ms = 20000,
        .allocator = mem_allocator(&memory) });
    if (client) {
        nghttp2_mem *m = &restate__client_http_of(client)->mem;
        m->malloc = http2_malloc;
        m->calloc = http2_calloc;
        m->realloc = http2_realloc;
    }
    restate_ctx *ctx = restate_client_begin(client);
    (void)restate_alloc(ctx, offset);
    all_futures(ctx, in, &counted);
    all_verbs(ctx, in);
    CHECK(answered_at_last(ctx) || !client || restate__client_of(ctx)->peer.broken || restate__client_http_of(client)->fault);
    restate_client_free(client);
    CHECK_INT(memory.blocks, 0);
}

/* Each one of `which` fails once. Gives how many there are. */
static size_t fail_each(ingress *in, mem_counts *which, size_t offset) {
    size_t all = 1;
    for (size_t i = 0; i <= all; i += i && SLOW > 4 ? 7 : 1) {       /* under valgrind some of them */
        char note[64];
        snprintf(note, sizeof note, "(allocation %zu, offset %zu)", i, offset);
        test_note = note;
        mem_fail(which, i);
        fails_once(in, offset);
        if (!i) all = which->calls;
    }
    test_note = "";
    mem_fail(which, 0);
    return all;
}

TEST(every_allocation) {
    ingress in = { .port = 0 };
    ingress_begin(&in);
    for (size_t offset = 0; offset < (SLOW > 1 ? 1 : 3000); offset += 1500) CHECK(fail_each(&in, &memory, offset) > 20);
    ingress_stop(&in);
}

TEST(every_allocation_of_http2) {
    ingress in = { .port = 0 };
    ingress_begin(&in);
    CHECK(fail_each(&in, &http2, 0) > 100);
    ingress_stop(&in);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(requests), T(types), T(other_requests), T(attach_follows_sends), T(state), T(state_versions), T(state_writes), T(who_failed),
        T(statuses_that_may_pass), T(tried_again), T(streams_that_end), T(early_refusal), T(large_answers), T(timeouts), T(wrong_options),
        T(nobody_there), T(itself), T(unreachable), T(not_http2), T(options), T(unix_sockets), T(nobody_at_a_unix_socket), T(many), T(restarts), T(own_loop),
        T(waits), T(waits_beside_a_settled_future), T(threads), T(every_allocation),
        T(every_allocation_of_http2), { 0 }
    };
    return test_main(argc, argv, cases);
}
