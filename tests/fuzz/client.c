/* Fuzz target: what a server sends to a client, on sockets. Program and server are one thread: while
 * the client waits, the server gives the next piece, and when there is none it ends the connection.
 * The client's time goes on only then.
 *
 * The bytes in front choose: the size of the pieces (0: all at once); how many allocations work
 * before one fails (0: all do); the options; how many bytes of what follows are the program of
 * execute(). The rest is what the connections get; MARK separates one from the next. */
#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L
#include <sys/epoll.h>
#include <time.h>

static int wait_for_events(int epoll, struct epoll_event *events, int most, int ms);
static int read_clock(clockid_t which, struct timespec *now);
#define epoll_wait wait_for_events
#define clock_gettime read_clock
#include "fuzz.h"
#undef epoll_wait
#undef clock_gettime
#include "frames.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD = 4, CONNS = 16, DIR_FD = 200, RETRIES = 1, SMALL = 2, SEALED = 4, WAITS = 1 << 20 };

static const uint8_t mark[4] = { 0xFF, 0xFF, 0xFF, 0xFF };

static char dir[] = "/tmp/fuzz-client-XXXXXX";

/* ---- The server ------------------------------------------------------------------------------ */

static struct {
    int listener;
    struct sockaddr_un at;
    uint8_t piece;
    restate_bytes input;                    /* of the connections that are still to come */
    struct { int fd; restate_bytes left; } conns[CONNS];
    size_t count;
    uint64_t now_ms;
    unsigned waits;
} server;

static int read_clock(clockid_t which, struct timespec *now) {
    (void)which;
    now->tv_sec = 1700000000 + (time_t)(server.now_ms / 1000);
    now->tv_nsec = (long)(server.now_ms % 1000) * 1000000;
    return 0;
}

static void remove_socket(void) {
    unlink(server.at.sun_path);
    rmdir(dir);
}

/* Under the same name in all programs: it is in messages, and libFuzzer sees what is compared. */
static void listen_once(void) {
    if (server.listener) return;
    REQUIRE(mkdtemp(dir));
    REQUIRE(dup2(open(dir, O_RDONLY | O_DIRECTORY), DIR_FD) == DIR_FD);
    server.at.sun_family = AF_UNIX;
    snprintf(server.at.sun_path, sizeof server.at.sun_path, "/proc/self/fd/%d/s", DIR_FD);
    server.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(bind(server.listener, (struct sockaddr *)&server.at, sizeof server.at) == 0);
    REQUIRE(listen(server.listener, CONNS) == 0);
    REQUIRE(fcntl(server.listener, F_SETFL, O_NONBLOCK) == 0);
    atexit(remove_socket);
}

/* Up to the next mark; the last one is for all that come later. */
static restate_bytes next_input(void) {
    restate_bytes all = server.input, part = all;
    for (size_t i = 0; i + sizeof mark <= all.len; i++) {
        if (memcmp(all.ptr + i, mark, sizeof mark) != 0) continue;
        part.len = i;
        server.input = restate__b(all.ptr + i + sizeof mark, all.len - i - sizeof mark);
        break;
    }
    return part;
}

static bool accept_all(void) {
    bool some = false;
    for (int fd; (fd = accept(server.listener, NULL, NULL)) >= 0; some = true) {
        if (server.count == CONNS) {
            close(fd);
            continue;
        }
        REQUIRE(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
        server.conns[server.count].fd = fd;
        server.conns[server.count++].left = next_input();
    }
    return some;
}

static void close_conn(size_t i) {
    close(server.conns[i].fd);
    server.conns[i].fd = -1;
}

/* Reads what there is, and gives a piece. False: nothing happened. */
static bool serve(size_t i) {
    static uint8_t in[65536];
    restate_bytes *left = &server.conns[i].left;
    size_t n = server.piece && server.piece < left->len ? server.piece : left->len;
    int fd = server.conns[i].fd;
    ssize_t got;
    if (fd < 0) return false;
    while ((got = recv(fd, in, sizeof in, 0)) > 0) continue;
    ssize_t sent = n ? send(fd, left->ptr, n, MSG_NOSIGNAL) : 0;
    if (!n || got == 0 || (sent < 0 && errno != EAGAIN)) close_conn(i);
    else if (sent > 0) left->ptr += sent, left->len -= (size_t)sent;
    return true;
}

static bool serve_all(void) {
    bool some = accept_all();
    for (size_t i = 0; i < server.count; i++) some = serve(i) || some;
    return some;
}

/* Nothing happens any more: then it is later. Requests must end, whatever the server does. */
static int wait_for_events(int epoll, struct epoll_event *events, int most, int ms) {
    int n;
    bool some = ms && serve_all();
    n = epoll_wait(epoll, events, most, 0);
    REQUIRE(server.waits++ < WAITS);
    if (n || some || !ms) return n;
    REQUIRE(ms > 0 || server.count < CONNS);
    server.now_ms += ms > 0 ? (uint64_t)ms : 0;
    return 0;
}

/* ---- The client ------------------------------------------------------------------------------ */

static restate_client *client_new(unsigned options) {
    static const restate_seal sealing = { copy_bytes, copy_bytes, NULL, false };
    static char url[120];
    restate_client_options o;
    memset(&o, 0, sizeof o);
    snprintf(url, sizeof url, "unix:%s", server.at.sun_path);
    o.ingress = o.admin = url;
    o.retry.max_attempts = options & RETRIES ? 3 : 1;
    o.max_message_bytes = options & SMALL ? 1000 : 100000;
    o.connections = 1 + (options >> 3) % 3;
    o.timeout_ms = 60000;
    if (options & SEALED) o.seal = &sealing;
    o.allocator = mem_allocator(&memory);
    o.logger = (restate_logger){ write_log, NULL, RESTATE_LOG_TRACE, true };
    restate_client *client = restate_client_new(&o);
    for (size_t i = 0; client && i < 4; i++) restate__client_http_of(client)->random[i] = i + 1;
    return client;
}

static void settled(void *user, restate_ctx *ctx, restate_future *future) {
    restate_bytes value;
    ++*(unsigned *)user;
    REQUIRE(restate_is_done(future) || memory.fail_at);  /* without memory there is none */
    RESTATE_IGNORE(restate_await(ctx, future, &value));
    REQUIRE(restate_client_answer(ctx, future));
}

/* Requests in parallel, then the program. */
static void use_client(restate_client *client, restate_bytes program) {
    const restate_target object = { "O", "h", "key", NULL };
    const restate_invocation invocation = { .id = "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn" };
    restate_ctx *ctx = restate_client_begin(client);
    restate_bytes one = restate_str("1"), value;
    unsigned calls = 0;
    restate_client_at(ctx, object);
    restate_future *f[] = {
        restate_call_async(ctx, object, one, NULL), restate_send(ctx, object, one, NULL),
        restate_attach_async(ctx, invocation), restate_get_async(ctx, "a"),
        restate_client_request(ctx, "GET", "/deployments", restate__b_none()),
        restate_client_request(ctx, "POST", "/restate/lookup", one)
    };
    for (size_t i = 0; i < COUNT(f); i++)
        REQUIRE(restate_client_then(ctx, f[i], settled, &calls) == RESTATE_OK);
    for (size_t i = 0; i < COUNT(f); i++) {
        restate_status s = restate_await(ctx, f[i], &value);
        REQUIRE(s != RESTATE_OK || restate_is_done(f[i]));
        REQUIRE(restate_client_answer(ctx, f[i])->tries <= 3);
    }
    REQUIRE(calls <= COUNT(f));
    RESTATE_IGNORE(execute(ctx, program));
    restate_client_end(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    restate_client *client;
    size_t program;
    if (len < HEAD) return 0;
    listen_once();
    program = at[3] < len - HEAD ? at[3] : len - HEAD;
    server.piece = at[0];
    server.input = restate__b(at + HEAD + program, len - HEAD - program);
    server.count = server.waits = 0;
    server.now_ms = 0;
    mem_fail(&memory, at[1]);
    client = client_new(at[2]);
    if (client) use_client(client, restate__b(at + HEAD, program));
    mem_fail(&memory, 0);
    restate_client_free(client);
    accept_all();
    for (size_t i = 0; i < server.count; i++)
        if (server.conns[i].fd >= 0) close_conn(i);
    REQUIRE(memory.live == 0);
    return 0;
}

/* ---- Seeds ----------------------------------------------------------------------------------- */

static void put_response(rt_bytes *to, unsigned id, const char *status, const char *type,
                         const char *body) {
    rt_bytes headers = { NULL, 0, 0 };
    size_t half = strlen(body) / 2;
    put_header(&headers, ":status", status);
    put_header(&headers, "content-type", type);
    put_header(&headers, "x-restate-id", "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn");
    put_frame(to, NGHTTP2_HEADERS, END_HEADERS | (half ? 0 : END_STREAM), id, headers.at,
              headers.len);
    if (half) put_frame(to, NGHTTP2_DATA, 0, id, body, half);
    if (half) put_frame(to, NGHTTP2_DATA, END_STREAM, id, body + half, strlen(body) - half);
    rt_drop(&headers);
}

static const struct { const char *status, *type, *body; } responses[] = {
    { "200", "application/json", "\"done\"" },
    { "202", "application/json",
      "{\"invocationId\":\"inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn\",\"status\":\"Accepted\"}" },
    { "200", "application/json", "{\"rows\":[{\"key\":\"a\",\"value\":\"31\",\"value_utf8\":\"1\"}]}" },
    { "404", "application/json", "{\"message\":\"not found\",\"code\":404}" },
    { "500", "application/json", "{\"message\":\"no\",\"code\":500,\"metadata\":{\"a\":\"1\"}}" },
    { "429", "text/plain", "later" }, { "204", "application/octet-stream", "" },
    { "470", "application/json", "{}" }, { "100", "text/plain", "" },
};

static void put_connection(rt_bytes *to, size_t n) {
    static const uint8_t settings[] = { 0, 3, 0, 0, 0, 4 }, goaway[8] = { 0, 0, 0, 5 };
    put_frame(to, NGHTTP2_SETTINGS, 0, 0, settings, n % 3 ? 0 : sizeof settings);
    put_frame(to, NGHTTP2_SETTINGS, 1, 0, NULL, 0);
    for (unsigned id = 0; id < 12; id++) {
        size_t which = (n + id * (1 + n / COUNT(responses))) % COUNT(responses);
        put_response(to, 2 * id + 1, responses[which].status, responses[which].type,
                     responses[which].body);
        if (n % 5 == 1) put_frame(to, NGHTTP2_PING, 0, 0, "12345678", 8);
        if (n % 7 == 2 && id == 3) put_frame(to, NGHTTP2_RST_STREAM, 0, 9, goaway, 4);
    }
    if (n % 4 == 3) put_frame(to, NGHTTP2_GOAWAY, 0, 0, goaway, sizeof goaway);
}

void each_seed(fuzz_use *use) {
    for (size_t n = 0; n < 120; n++) {
        rt_bytes seed = { NULL, 0, 0 }, program = { NULL, 0, 0 };
        add_program(&program, n, n * 7);
        uint8_t head[HEAD] = { (uint8_t)(n % 6 ? n % 50 : 0), (uint8_t)(n % 10 == 9 ? n : 0),
                               (uint8_t)(n % 32), (uint8_t)program.len };
        rt_add(&seed, head, sizeof head);
        rt_add(&seed, program.at, program.len);
        for (size_t conn = 0; conn < 3; conn++) {
            if (conn) rt_add(&seed, mark, sizeof mark);
            put_connection(&seed, n + conn);
        }
        use(seed.at, seed.len);
        rt_drop(&seed), rt_drop(&program);
    }
}
