/* Section >>client: servers that fail, go away, are slow, or do not keep to HTTP/2: which status and which sentence
 * comes of it, that what was begun is not done twice, and that what was not is done. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "tools.h"
#include "restate.h"
#include <poll.h>
#include "support/allocator.c"
#include "support/caller.c"

/* A call whose input is larger than any window. */
static const char *called_with(restate_ctx *ctx, const char *handler, size_t len) {
    uint8_t *large = malloc(len);
    restate_bytes v;
    memset(large, 'y', len);
    restate_status s = restate_call(ctx, to(handler), restate__b(large, len), NULL, &v);
    free(large);
    if (s == RESTATE_OK) return restate_text(ctx, "ok, %zu bytes", v.len);
    return outcome(ctx, s, v);
}

/* ---- Answers that do not come, or not whole -------------------------------------------------- */

TEST(cut_short) {
    const struct { const char *handler, *says; } cuts[] = {
        { "2", "error(0 the server ended the request without a complete response (INTERNAL_ERROR))" },
        { "8", "error(0 the server ended the request without a complete response (CANCEL))" },
        { "0", "error(0 the server ended the request without a complete response (NO_ERROR))" },
    };
    EACH_SERVER(in, client, ctx) {
        for (size_t i = 0; i < 3; i++) {
            restate_bytes v;
            restate_target at = { .service = "S", .key = "cut", .handler = cuts[i].handler };
            ingress_again(in);
            restate_status s = restate_call(ctx, at, restate_str("1"), NULL, &v);
            CHECK_STR(outcome(ctx, s, v), cuts[i].says);
            CHECK_INT(restate_client_answer(ctx, NULL)->tries, 1);
            ingress_again(in);
            s = restate_call(ctx, at, restate_str("1"), &once, &v);
            CHECK_STR(outcome(ctx, s, v), "ok(1)");     /* and nothing of the first answer */
            CHECK_INT(restate_client_answer(ctx, NULL)->tries, 2);
        }
        CHECK_INT(ingress_count(in, &in->connections), 1);
        breaks_off(ctx, in, "torn", "error(0 the connection to http://127.0.0.1:");
    }
}

/* ---- Answers that are unusual, and whole ----------------------------------------------------- */

TEST(unusual) {
    EACH_SERVER(in, client, ctx) {
        restate_bytes v;
        CHECK_STR(called(ctx, "hints", NULL), "ok(hinted)");
        CHECK_STR(restate_client_answer(ctx, NULL)->invocation_id, "inv_1");
        CHECK_STR(called(ctx, "hints_only", NULL), "error(0 the server ended the request without a complete response (CANCEL))");
        CHECK_STR(called(ctx, "trailers", NULL), "ok(1)");
        CHECK_STR(called(ctx, "moved", &once), "error(307 the server responded with HTTP status 307)");
        CHECK_INT(restate_client_answer(ctx, NULL)->tries, 1);
        CHECK_INT(restate_call(ctx, to("nothing"), restate_str("1"), NULL, &v), RESTATE_OK);
        CHECK(v.ptr && !v.len);
        CHECK_INT(ingress_count(in, &in->connections), 1);
    }
}

/* A few bytes of HTTP/2 may stand for many bytes of headers: the first of these is remembered, and then named. */
TEST(many_headers) {
    static const char head[] = "\0\0\0\4\0\0\0\0\0" "\0\0\0\1\5\0\0\0\1" "\x88" "\x40\1x" "\x7f\xa1\x1e";
    static char raw[sizeof head + 4000 + 1000];
    EACH_SERVER(in, client, ctx) {
        restate_bytes v;
        restate_target at = { .service = "S", .key = "headers", .handler = "10" };
        CHECK_INT(restate_call(ctx, at, restate_str("1"), NULL, &v), RESTATE_OK);
        CHECK_INT(strlen(restate_client_answer(ctx, NULL)->headers[9].value), 4000);
    }
    memcpy(raw, head, sizeof head - 1);
    memset(raw + sizeof head - 1, 'h', 4000);
    const size_t again[] = { 0, 13, 1000 };
    for (size_t i = 0; i < 3; i++) {
        const size_t more = again[i];
        ingress in = { .raw = raw, .stays = true };
        in.raw_len = sizeof head - 1 + 4000 + more;
        memset(raw + in.raw_len - more, 0xbe, more);
        raw[10] = (char)((in.raw_len - 18) >> 8);
        raw[11] = (char)((in.raw_len - 18) & 255);
        ingress_begin(&in);
        CHECK_STR(first_call(in.url, NULL), more < 1000 ? "ok()" : "error(0 the headers of the response have more than 65536 bytes)");
        ingress_stop(&in);
    }
}

/* Answers that are not wanted any more take no room from others on the connection. */
TEST(abandoned) {
    EACH_SERVER(in, client, ctx) {
        const char *len = SLOW > 1 ? "2000000" : "8000000";
        for (int i = 0; i < 12; i++) {
            restate_ctx *own = restate_client_begin(client);
            restate_call_async(own, (restate_target){ .service = "S", .key = "big", .handler = len }, restate_str("1"), NULL);
            CHECK_STR(called(ctx, "echo", NULL), "ok(1)");      /* the other one's answer has begun */
            restate_client_end(own);
        }
        CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
        CHECK_INT(ingress_count(in, &in->connections), 1);
    }
}

/* ---- What is not HTTP/2 any more ------------------------------------------------------------- */

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define STATUS_200 "\x88"
#define FRAMES(text) text, sizeof text - 1

TEST(bad_frames) {
    const struct { const char *raw; size_t len; const char *says; bool stays; } servers[] = {
        /* HEADERS without :status; with a status of four digits */
        { FRAMES(SETTINGS "\0\0\5\1\5\0\0\0\1\0\1x\1y"), "the response breaks the rules of HTTP (PROTOCOL_ERROR)", true },
        { FRAMES(SETTINGS "\0\0\6\1\5\0\0\0\1\x08\x04" "2000"), "the response breaks the rules of HTTP (PROTOCOL_ERROR)", true },
        /* DATA before HEADERS; less of it than content-length says, and more; 101 is not in HTTP/2 */
        { FRAMES(SETTINGS "\0\0\1\0\1\0\0\0\1x"), " violates HTTP/2", true },
        { FRAMES(SETTINGS "\0\0\5\1\4\0\0\0\1" STATUS_200 "\x0f\x0d\x01" "5" "\0\0\1\0\1\0\0\0\1x"), "(PROTOCOL_ERROR)", true },
        { FRAMES(SETTINGS "\0\0\5\1\4\0\0\0\1" STATUS_200 "\x0f\x0d\x01" "1" "\0\0\2\0\1\0\0\0\1xx"), "(PROTOCOL_ERROR)", true },
        { FRAMES(SETTINGS "\0\0\5\1\4\0\0\0\1\x08\x03" "101"), "(PROTOCOL_ERROR)", true },
        /* a frame that is too long; a push that was forbidden; headers that HPACK cannot read; an answer to a request
         * that nobody made; a window that is too large */
        { FRAMES(SETTINGS "\xff\xff\xff\1\4\0\0\0\1"), " violates HTTP/2", true },
        { FRAMES(SETTINGS "\0\0\0\4\1\0\0\0\0" "\0\0\5\5\4\0\0\0\1\0\0\0\2\x82"), " violates HTTP/2", true },
        { FRAMES(SETTINGS "\0\0\1\1\5\0\0\0\1\xff"), " violates HTTP/2", true },
        { FRAMES(SETTINGS "\0\0\1\1\5\0\0\0\x63" STATUS_200), " violates HTTP/2", true },
        { FRAMES("\0\0\6\4\0\0\0\0\0\0\4\xff\xff\xff\xff"), " violates HTTP/2", true },
        /* GOAWAY with an error, after the request was begun; no word at all: the connection is closed, or lost */
        { FRAMES(SETTINGS "\0\0\x8\7\0\0\0\0\0\0\0\0\1\0\0\0\xb"), " closed the connection", false },
        { FRAMES(SETTINGS), " closed the connection", false },
        /* a frame of a kind that nobody knows does no harm */
        { FRAMES(SETTINGS "\0\0\3\x77\xff\0\0\0\1abc" "\0\0\1\1\5\0\0\0\1" STATUS_200), "ok()", true },
    };
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        char note[32];
        ingress in = { .raw = servers[i].raw, .raw_len = servers[i].len, .stays = servers[i].stays };
        snprintf(note, sizeof note, "(server %zu)", i);
        test_note = note;
        ingress_begin(&in);
        CHECK_HAS(first_call(in.url, &(restate_client_options){ .retry = { .initial_interval_ms = 1, .max_attempts = 9 } }),
                  servers[i].says);
        CHECK_INT(ingress_count(&in, &in.connections), 1);      /* it was not sent again: it may have been done */
        ingress_stop(&in);
    }
    test_note = "";
}

/* Servers of HTTP/1 that answer with a page alone, in a status line of their own, or not at all. */
TEST(other_protocols) {
    const struct { const char *raw, *says; } servers[] = {
        { "HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n", " uses HTTP/1, not HTTP/2 with prior knowledge" },
        { "<!DOCTYPE HTML>\n<html><p>Invalid HTTP version (2.0)</html>", " violates HTTP/2" },
        { "<", " connection" },
        { "SSH-2.0-OpenSSH_9.2\r\n", " violates HTTP/2" },
    };
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        ingress in = { .raw = servers[i].raw };
        ingress_begin(&in);
        CHECK_HAS(first_call(in.url, NULL), servers[i].says);
        ingress_stop(&in);
    }
}

/* ---- Servers that go away -------------------------------------------------------------------- */

/* GOAWAY says what was begun. That is answered, or not; it is not sent again. The rest is, on another connection. */
TEST(goaway) {
    EACH_SERVER(in, client, ctx) {
        restate_future *calls[4];
        const char *const handlers[] = { "last", "last_words" };
        for (size_t round = 0; round < 2; round++) {
            unsigned requests = ingress_count(in, &in->requests);
            restate_bytes v;
            ingress_again(in);
            calls[0] = restate_call_async(ctx, to(handlers[round]), restate_str("0"), NULL);
            for (size_t i = 1; i < 4; i++) calls[i] = restate_call_async(ctx, to("echo"), restate_json(ctx, "%zu", i), NULL);
            for (size_t i = 1; i < 4; i++) {
                restate_status s = restate_await(ctx, calls[i], &v);
                CHECK_STR(outcome(ctx, s, v), restate_text(ctx, "ok(%zu)", i));
                CHECK_INT(restate_client_answer(ctx, calls[i])->tries, 2);
            }
            restate_status s = restate_await(ctx, calls[0], &v);
            if (round) CHECK_HAS(outcome(ctx, s, v), "error(0 http://127.0.0.1:");
            else CHECK_STR(outcome(ctx, s, v), "ok(the last one)");
            CHECK_INT(restate_client_answer(ctx, calls[0])->tries, 1);
            CHECK_INT(ingress_count(in, &in->requests) - requests, 4);
        }
        CHECK_INT(ingress_count(in, &in->connections), 3);
    }
}

/* A server that is about to go says so, and still answers what is under way. */
TEST(leaving) {
    EACH_SERVER(in, client, ctx) {
        CHECK_STR(called(ctx, "leaving", NULL), "ok(still here)");
        CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
        CHECK_INT(restate_client_answer(ctx, NULL)->tries, 1);
        CHECK_INT(ingress_count(in, &in->connections), 2);
    }
}

/* A server that was restarted while nobody called: the next call goes to the new one, though it may not be repeated. */
static void restart_idle(uint32_t connections) {
    ingress *in = calloc(1, sizeof *in);
    ingress_begin(in);
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = in->url, .connections = connections, .retry = { .initial_interval_ms = 2 } });
    restate_ctx *ctx = restate_client_begin(client);
    for (int round = 0; round < 4; round++) {
        uint16_t port = in->port;
        CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
        CHECK_INT(restate_client_answer(ctx, NULL)->tries, 1);
        ingress_stop(in);
        *in = (ingress){ .port = port };
        ingress_listen(in, port);
        ingress_begin(in);
    }
    restate_client_free(client);
    ingress_stop(in);
    free(in);
}

TEST(restarted_while_idle) {
    restart_idle(16);
    restart_idle(1);
}

/* ---- Servers that let nothing through, or slowly --------------------------------------------- */

static const char *call_of_limits(const ingress_limits *limits, size_t count, restate_client_options *o, size_t len) {
    static char text[300];
    ingress in = { .limits = limits, .limit_count = count };
    ingress_begin(&in);
    o->ingress = in.url;
    o->retry.initial_interval_ms = 1;
    restate_client *client = restate_client_new(o);
    restate_ctx *ctx = restate_client_begin(client);
    snprintf(text, sizeof text, "%s", called_with(ctx, "echo", len));
    restate_client_free(client);
    CHECK(ingress_count(&in, &in.connections) <= 2);
    ingress_stop(&in);
    return text;
}

TEST(limits) {
    const ingress_limits full[] = { { 0, 65535 }, { 0, 65535 }, { 1, 65535 } };
    const ingress_limits starved[] = { { 200, 0 }, { 200, 1 }, { 200, 0 }, { 200, 7 }, { 200, 100000 } };
    restate_client_options patient = { .connections = 2 }, timed = { .timeout_ms = 60, .connections = 2 };
    CHECK_STR(call_of_limits(full, 1, &timed, 1), "timeout(408 no response within 60 ms)");
    CHECK_STR(call_of_limits(full, 3, &patient, 1), "ok, 1 bytes");
    CHECK_STR(call_of_limits(starved, 1, &timed, 100000), "timeout(408 no response within 60 ms)");
    CHECK_STR(call_of_limits(starved, 5, &patient, 3), "ok, 3 bytes");
    CHECK_STR(call_of_limits(starved, 5, &patient, 200000), "ok, 200000 bytes");
}

/* The socket takes less than HTTP/2 would let through: what is left is sent when it takes more, in order. */
TEST(narrow) {
    ingress in = { .narrow = true };
    size_t len = SLOW > 1 ? 1000000 : 6000000;
    uint8_t *large = malloc(len);
    restate_future *calls[3];
    restate_bytes v;
    ingress_begin(&in);
    restate_client *client = client_of(&in);
    restate_ctx *ctx = restate_client_begin(client);
    CHECK_STR(called(ctx, "echo", NULL), "ok(1)");      /* so that it knows the windows */
    for (size_t i = 0; i < len; i++) large[i] = (uint8_t)(i * 7 / 3);
    for (size_t i = 0; i < 3; i++) calls[i] = restate_call_async(ctx, to("echo"), restate__b(large, len - i), NULL);
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(restate_await(ctx, calls[i], &v), RESTATE_OK);
        CHECK(v.len == len - i && memcmp(v.ptr, large, len - i) == 0);
    }
    CHECK_INT(ingress_count(&in, &in.connections), 1);
    free(large);
    restate_client_free(client);
    ingress_stop(&in);
}

/* One at a time: the others wait, and none is lost. */
TEST(one_at_a_time) {
    ingress in = { .max_streams = 1 };
    restate_future *calls[40];
    ingress_begin(&in);
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = in.url, .connections = 1, .retry = { .initial_interval_ms = 1 } });
    restate_ctx *ctx = restate_client_begin(client);
    for (size_t i = 0; i < 40; i++) calls[i] = restate_call_async(ctx, to("echo"), restate_json(ctx, "%zu", i), NULL);
    for (size_t i = 0; i < 40; i++) {
        restate_bytes v;
        restate_status s = restate_await(ctx, calls[i], &v);
        CHECK_STR(outcome(ctx, s, v), restate_text(ctx, "ok(%zu)", i));
    }
    CHECK_INT(ingress_count(&in, &in.requests), 40);
    CHECK_INT(ingress_count(&in, &in.connections), 1);
    restate_client_free(client);
    ingress_stop(&in);
}

/* ---- A connection that nothing comes on ------------------------------------------------------ */

static uint64_t leap(void *user) { return *(uint64_t *)user; }

/* A PING of the client has no answer yet. */
static bool waits_for_pong(restate_client *client) {
    const restate__client_conn *conn = restate__client_http_of(client)->ingress.conns;
    for (; conn; conn = conn->next)
        if (conn->asked_ms) return true;
    return false;
}

/* How much of the body has arrived, of the only request. */
static size_t arrived_of(restate_client *client) {
    const restate__client_conn *conn = restate__client_http_of(client)->ingress.conns;
    return conn && conn->requests ? conn->requests->arrived.len : 0;
}

/* Turns until `f` is settled, each a second after the one before. Gives how many; 200: it never was. A server that is
 * `alive` has as much real time for its PONG as it needs. */
static int turns(restate_client *client, restate_future *f, uint64_t *now, bool alive) {
    int n = 0;
    for (; n < 200 && !restate_is_done(f); n++) {
        *now += 1000;
        do CHECK_INT(restate_client_process(client, 1), RESTATE_OK);
        while (alive && waits_for_pong(client));
    }
    return n;
}

/* A client whose clock only says what the test lets it say. */
static restate_ctx *begin_at(const ingress *in, uint64_t *now, uint64_t timeout_ms) {
    restate_client *client = restate_client_new(&(restate_client_options){ .ingress = in->url, .timeout_ms = timeout_ms,
                                                                           .retry = { .max_attempts = 1 } });
    client->clock = (restate_clock){ leap, leap, now };
    return restate_client_begin(client);
}

TEST(silence) {
    uint64_t now = 1000000;
    ingress quiet = { .quiet = true }, in = { .port = 0 };
    ingress_begin(&quiet);
    ingress_begin(&in);
    restate_ctx *ctx = begin_at(&quiet, &now, 0);
    restate_future *f = restate_call_async(ctx, to("echo"), restate_str("1"), &once);
    int n = turns(restate__client_of(ctx)->client, f, &now, false);
    CHECK(n >= 39 && n < 50);                           /* 30 seconds, then 10 for an answer to a question */
    restate_status s = restate_await(ctx, f, NULL);
    CHECK_HAS(outcome(ctx, s, restate__b_none()), " does not answer PING any more)");
    restate_client_free(restate__client_of(ctx)->client);
    /* One that says that it is there may take its time with the answer. */
    ctx = begin_at(&in, &now, 0);
    f = restate_call_async(ctx, to("mute"), restate_str("1"), NULL);
    CHECK_INT(turns(restate__client_of(ctx)->client, f, &now, true), 200);
    CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
    CHECK_INT(ingress_count(&in, &in.connections), 1);
    restate_client_free(restate__client_of(ctx)->client);
    ingress_stop(&quiet);
    ingress_stop(&in);
}

/* Bytes that come now and then do not make a request live longer. */
TEST(drips) {
    enum { LIMIT_MS = 1000, STEP_MS = 100 };
    uint64_t now = 1000000;
    ingress in = { .port = 0 };
    ingress_begin(&in);
    restate_ctx *ctx = begin_at(&in, &now, LIMIT_MS);
    restate_client *client = restate__client_of(ctx)->client;
    restate_target slow = { .service = "S", .key = "drip", .handler = "4" };
    restate_bytes v;
    restate_status s = restate_call(ctx, slow, restate_str("1"), NULL, &v);
    CHECK_STR(outcome(ctx, s, v), "ok(xxxx)");
    slow.handler = "1000000";
    restate_future *f = restate_call_async(ctx, slow, restate_str("1"), NULL);
    size_t had = 0;
    int steps = 0;
    for (; steps < 100 && !restate_is_done(f); steps++) {
        do CHECK_INT(restate_client_process(client, 1), RESTATE_OK);
        while (!restate_is_done(f) && arrived_of(client) == had);
        had = arrived_of(client);
        now += STEP_MS;
    }
    CHECK_INT(steps, LIMIT_MS / STEP_MS + 1);           /* one byte at least came in each */
    s = restate_await(ctx, f, &v);
    CHECK_STR(outcome(ctx, s, v), "timeout(408 no response within 1000 ms)");
    CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
    CHECK_INT(ingress_count(&in, &in.connections), 1);
    restate_client_free(client);
    ingress_stop(&in);
}

/* ---- Freed at every moment ------------------------------------------------------------------- */

static mem_counts memory;

static void begins_much(restate_ctx *ctx, const uint8_t *large, size_t len) {
    const restate_target drip = { .service = "S", .key = "drip", .handler = "1000000" };
    const restate_target big = { .service = "S", .key = "big", .handler = "300000" };
    restate_call_async(ctx, to("mute"), restate_str("1"), NULL);
    restate_call_async(ctx, to("echo"), restate__b(large, len), NULL);
    restate_call_async(ctx, drip, restate_str("1"), NULL);
    restate_call_async(ctx, big, restate_str("1"), NULL);
    restate_call_async(ctx, to("hang_up"), restate_str("1"), &once);
    restate_send(ctx, to("x"), restate_str("1"), NULL);
    restate_attach_async(ctx, (restate_invocation){ .target = { .service = "W", .key = "k" } });
    restate_client_request(ctx, "GET", "/deployments", restate__b_none());
    restate_sleep_async(ctx, RESTATE_HOURS(1), NULL);
    (void)restate_race(ctx, (restate_future *[]){ restate_sleep_async(ctx, RESTATE_HOURS(1), NULL), NULL }, 1);
}

/* Requests of all kinds are open, in two contexts, when their client is freed after so many turns; one context may have
 * ended before. The server goes on. */
static void free_after(ingress *in, int turns, bool ended, const uint8_t *large, size_t len) {
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = in->url, .admin = in->url, .connections = 2, .retry = { .initial_interval_ms = 1 },
        .allocator = mem_allocator(&memory) });
    restate_ctx *a = restate_client_begin(client), *b = restate_client_begin(client);
    begins_much(a, large, len);
    begins_much(b, large, len);
    for (int i = 0; i < turns; i++) CHECK_INT(restate_client_process(client, 1), RESTATE_OK);
    if (ended) restate_client_end(a);
    restate_client_free(client);
    CHECK_INT(memory.blocks, 0);
}

static int next_fd(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

TEST(freed_at_every_moment) {
    enum { LEN = 200000 };
    static const char *const names[] = { "usual", "narrow", "quiet", "no HTTP/2" };
    uint8_t *large = malloc(LEN);
    int fd = next_fd();
    memset(large, 'y', LEN);
    for (int kind = 0; kind < 4; kind++) {
        ingress in = { .narrow = kind == 1, .quiet = kind == 2, .raw = kind == 3 ? "220 hello\r\n" : NULL };
        ingress_begin(&in);
        for (int turns = 0; turns < (kind < 2 && SLOW == 1 ? 60 : 8); turns++) {
            char note[80];
            snprintf(note, sizeof note, "(%s, %d turns)", names[kind], turns);
            test_note = note;
            ingress_again(&in);
            free_after(&in, turns, turns % 2, large, LEN);
            test_note = "";
        }
        restate_client *client = client_of(&in);
        if (kind < 2) CHECK_STR(called(restate_client_begin(client), "echo", NULL), "ok(1)");
        restate_client_free(client);
        ingress_stop(&in);
    }
    free(large);
    CHECK_INT(next_fd(), fd);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(cut_short), T(unusual), T(many_headers), T(abandoned), T(bad_frames), T(other_protocols), T(goaway), T(leaving),
        T(restarted_while_idle), T(limits), T(narrow), T(one_at_a_time), T(silence), T(drips), T(freed_at_every_moment), { 0 }
    };
    return test_main(argc, argv, cases);
}
