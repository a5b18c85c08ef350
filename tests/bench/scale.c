/* How an endpoint does when there is much of something: invocations that are parked, connections, entries
 * of a journal, bytes of a payload, event loops.
 *
 *     build/scale [PART-OF-A-NAME...]
 *
 * prints a table, and ends with 1 if something went wrong or a bound was missed. Each case has an endpoint
 * of its own, another process of this program (`build/scale endpoint THREADS`), so that its memory and CPU
 * time can be seen from outside; this process is the runtime. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "support/http2.c"
#include "support/process.c"

#include <sys/epoll.h>
#include <sys/resource.h>

/* ---- The endpoint ------------------------------------------------------------------------------------- */

static restate_status echo(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }

static restate_status nap(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(1)));
    return restate_reply(ctx, in);
}

static restate_status one(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_str("1"));
}

static restate_status steps(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options here = { .inline_ok = true };
    long long n = 0, sum = 0;
    RESTATE_TRY(restate_json_int(ctx, in, NULL, &n));
    while (n-- > 0) {
        restate_bytes result;
        long long value = 0;
        RESTATE_TRY(restate_run(ctx, "step", one, NULL, &here, &result));
        RESTATE_TRY(restate_json_int(ctx, result, NULL, &value));
        sum += value;
    }
    return restate_reply(ctx, restate_json(ctx, "%lld", sum));
}

static const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(echo) }, { RESTATE_HANDLER(nap) },
    { RESTATE_HANDLER(steps), .options.stall_warning_ms = RESTATE_ZERO_MS }) };

/* The driver reads the port in the line that says where the endpoint listens. */
static void log_line(void *user, const restate_log_record *r) {
    (void)user;
    printf("%s\n", r->message);
    fflush(stdout);
}

static restate_endpoint *served;

static void on_term(int signal) {
    (void)signal;
    restate_endpoint_stop(served);
}

static int be_endpoint(const char *threads) {
    const restate_endpoint_options options = { .services = RESTATE_SERVICES(&service), .address = "127.0.0.1",
                                               .port = RESTATE_ANY_PORT, .threads = (uint32_t)atoi(threads),
                                               .max_message_bytes = 65 * MIB, .logger.write = log_line };
    struct sigaction term = { .sa_handler = on_term };
    restate_status s;
    served = restate_endpoint_new(&options);
    sigaction(SIGTERM, &term, NULL);
    s = restate_endpoint_run(served);
    restate_endpoint_free(served);
    return s != RESTATE_OK;
}

static process endpoint;

static size_t endpoint_rss(void) { return process_memory(&endpoint, "VmRSS"); }

/* ---- The runtime --------------------------------------------------------------------------------------- */

typedef struct conn {
    int fd;
    nghttp2_session *session;
    rt_bytes out;                           /* what the socket did not take yet */
    size_t out_at;
    bool wants_out;
} conn;

/* One invocation. */
typedef struct call {
    conn *on;
    int32_t id;
    h2_body up;
    bool closed;
    unsigned status;
    size_t got;                             /* bytes of the response, */
    uint8_t tail[8];                        /* and the last ones */
} call;

static struct {
    int epoll;
    conn *conns;
    size_t count;
    size_t answered, closed, good;          /* calls: something came; over; over with an output */
    const char *again;                      /* what a call that is over is made again with, */
    rt_bytes again_up;
    size_t left;                            /* so many times */
} runtime;

static void conn_send(conn *c) {
    const uint8_t *frame;
    restate__h2_ssize n;
    for (;;) {
        while (c->out_at < c->out.len) {
            ssize_t k = send(c->fd, c->out.at + c->out_at, c->out.len - c->out_at, MSG_NOSIGNAL);
            if (k < 0 && errno != EAGAIN) die("send");
            if (k < 0) break;
            c->out_at += (size_t)k;
        }
        if (c->out_at < c->out.len) break;
        c->out.len = c->out_at = 0;
        while (c->out.len < 65536 && (n = RESTATE__H2_V(nghttp2_session_mem_send)(c->session, &frame)) > 0)
            rt_add(&c->out, frame, (size_t)n);
        if (!c->out.len) break;
    }
    if (c->wants_out != (c->out.len != 0)) {
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
        c->wants_out = c->out.len != 0;
        if (c->wants_out) e.events |= EPOLLOUT;
        if (epoll_ctl(runtime.epoll, EPOLL_CTL_MOD, c->fd, &e)) die("epoll_ctl");
    }
}

static void conn_receive(conn *c) {
    static uint8_t in[262144];
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    if (n == 0) errno = ECONNRESET;
    if (n <= 0 && errno != EAGAIN) die("recv");
    if (n > 0 && RESTATE__H2_V(nghttp2_session_mem_recv)(c->session, in, (size_t)n) < 0) die("not HTTP/2");
}

static void pump(void) {
    struct epoll_event ready[64];
    int i, n = epoll_wait(runtime.epoll, ready, 64, 20000);
    if (n == 0) errno = ETIMEDOUT;
    if (n <= 0) die("the endpoint");
    for (i = 0; i < n; i++) {
        conn *c = (conn *)ready[i].data.ptr;
        if (ready[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) conn_receive(c);
        conn_send(c);
    }
}

#define UNTIL(condition) while (!(condition)) pump()

static void invoke(call *k, conn *c, const char *handler, const uint8_t *up, size_t len, bool over) {
    static const restate_pair more[] = { { "content-type", "application/vnd.restate.invocation.v7" }, { NULL, NULL } };
    char path[64];
    snprintf(path, sizeof path, "/invoke/S/%s", handler);
    memset(k, 0, sizeof *k);
    k->on = c;
    k->up.at = up;
    k->up.len = len;
    k->up.over = over;
    k->id = h2_request(c->session, "POST", path, more, &k->up, k);
    if (k->id < 0) die("nghttp2_submit_request");
}

/* The rest of the request. */
static void finish(call *k, const uint8_t *up, size_t len) {
    k->up.at = up;
    k->up.len = len;
    k->up.sent = 0;
    k->up.over = true;
    h2_resume(k->on->session, k->id, &k->up);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t len, uint8_t flags, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
    (void)flags, (void)user, (void)len;
    if (k) k->status = h2_status(name, name_len, value, k->status);
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, id);
    size_t kept = len < 8 ? 8 - len : 0;
    (void)flags, (void)user;
    if (!k || !len) return 0;
    if (!k->got) runtime.answered++;
    k->got += len;
    memmove(k->tail, k->tail + 8 - kept, kept);
    memcpy(k->tail + kept, data + len - (8 - kept), 8 - kept);
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
    static const uint8_t end[8] = { 0, M_END };
    call *k = (call *)nghttp2_session_get_stream_user_data(s, id);
    (void)user;
    if (!k) return 0;
    k->closed = true;
    runtime.closed++;
    if (code == 0 && k->status == 200 && memcmp(k->tail, end, 8) == 0) runtime.good++;
    if (!runtime.left) return 0;
    runtime.left--;
    invoke(k, k->on, runtime.again, runtime.again_up.at, runtime.again_up.len, true);
    return 0;
}

static void conn_open(conn *c) {
    const h2_options o = { on_header, on_data, NULL, on_close, .window = 8u << 20, .room = 8 << 20 };
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
    memset(c, 0, sizeof *c);
    c->fd = h2_connect(endpoint.port, 0);
    if (c->fd < 0) die("connect");
    c->session = h2_session(&o, c);
    if (epoll_ctl(runtime.epoll, EPOLL_CTL_ADD, c->fd, &e)) die("epoll_ctl");
}

static void connect_all(size_t count) {
    size_t i;
    memset(&runtime, 0, sizeof runtime);
    runtime.epoll = epoll_create1(0);
    runtime.conns = (conn *)calloc(count, sizeof *runtime.conns);
    if (runtime.epoll < 0 || !runtime.conns) die("memory");
    for (runtime.count = count, i = 0; i < count; i++) conn_open(&runtime.conns[i]);
}

static void send_all(void) {
    size_t i;
    for (i = 0; i < runtime.count; i++) conn_send(&runtime.conns[i]);
}

static void disconnect_all(void) {
    size_t i;
    for (i = 0; i < runtime.count; i++) {
        nghttp2_session_del(runtime.conns[i].session);
        close(runtime.conns[i].fd);
        rt_drop(&runtime.conns[i].out);
    }
    free(runtime.conns);
    close(runtime.epoll);
}

static call *calls_new(size_t count) {
    call *k = (call *)calloc(count, sizeof *k);
    if (!k) die("memory");
    return k;
}

/* The script so far; the caller's. */
static rt_bytes script_take(void) {
    rt_bytes b = rt_script;
    memset(&rt_script, 0, sizeof rt_script);
    return b;
}

static rt_bytes script_of(unsigned known, const char *body) {
    start(known, .complete = true);
    input(body);
    return script_take();
}

/* ---- The table ----------------------------------------------------------------------------------------- */

/* A twentieth of everything, without a table, and bounds on memory alone: for tests/unit_server_scale.c. */
#ifdef SCALE_SMALL
static const size_t part = 20;
#else
static const size_t part = 1;
#endif

#ifndef __has_feature
#  define __has_feature(x) 0
#endif
#if defined(RESTATE_VALGRIND) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
static const bool memory_counts = false;
#else
static const bool memory_counts = true;
#endif

static unsigned missed;

static void miss(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void miss(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("  MISSED: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    missed++;
}

static void say(const char *what) {
    if (part == 1) printf("  %s\n", what);
}

static void row(const char *what, double measured, const char *unit) {
    if (part == 1) printf("  %-56s %12.2f %s\n", what, measured, unit);
    fflush(stdout);
}

static void row_below(double bound, const char *what, double measured, const char *unit) {
    char text[64];
    snprintf(text, sizeof text, "%s, below %g: %s", unit, bound, measured < bound ? "ok" : "MISSED");
    row(what, measured, text);
    if (!(measured < bound)) miss("%s: %.2f %s is not below %g", what, measured, unit, bound);
}

static void memory_below(double bound, const char *what, double measured, const char *unit) {
    if (memory_counts) row_below(bound, what, measured, unit);
    else row(what, measured, unit);
}

static double in_mib(size_t bytes) { return (double)bytes / (double)MIB; }

static void all_good(size_t calls) {
    if (runtime.good != calls || runtime.closed != calls)
        miss("%lu of %lu invocations ended well", (unsigned long)runtime.good, (unsigned long)calls);
}

static void over(void) {
    disconnect_all();
    if (!process_stop(&endpoint)) miss("the endpoint did not end well");
}

/* ---- The cases ------------------------------------------------------------------------------------------ */

/* Starts an endpoint that has served one invocation on each connection. */
static void begin(unsigned threads, size_t conns) {
    rt_bytes up = script_of(1, "x");
    call *calls = calls_new(conns);
    char text[16];
    size_t i;
    snprintf(text, sizeof text, "%u", threads);
    process_start(&endpoint, text, 2);
    connect_all(conns);
    for (i = 0; i < conns; i++) invoke(&calls[i], &runtime.conns[i], "echo", up.at, up.len, true);
    send_all();
    UNTIL(runtime.closed == conns);
    all_good(conns);
    runtime.answered = runtime.closed = runtime.good = 0;
    free(calls);
    rt_drop(&up);
}

static void idle(void) {
    begin(1, 1);
    memory_below(4, "resident, idle, 1 loop", (double)endpoint_rss() / 1e6, "MB");
    over();
    begin(2, 1);
    memory_below(4, "resident, idle, 2 loops", (double)endpoint_rss() / 1e6, "MB");
    over();
}

/* Parks the calls from `from` on, as the server does it: 128 streams for each connection. Gives what is
 * resident then. */
enum { WIDTH = 128 };
static size_t park(call *calls, size_t from, size_t to, const rt_bytes *up) {
    size_t i;
    for (i = from; i < to; i++) invoke(&calls[i], &runtime.conns[i / WIDTH], "nap", up->at, up->len, false);
    send_all();
    UNTIL(runtime.answered == to);
    return endpoint_rss();
}

/* What one more takes is told from the second half alone: the first half also pays for what is there once,
 * pages of code that were not resident before among it, and how many those are differs from machine to
 * machine. */
static void parked(void) {
    const size_t count = 10000 / part, conns = (count + WIDTH - 1) / WIDTH;
    rt_bytes up = script_of(1, "x"), rest;
    call *calls = calls_new(count);
    size_t i, before, half, there;
    double began;
    note_sleep(1);
    rest = script_take();
    begin(2, conns);
    before = endpoint_rss();
    began = seconds_of(CLOCK_MONOTONIC);
    half = park(calls, 0, count / 2, &up);
    there = park(calls, count / 2, count, &up);
    row("10,000 invocations begin and park in", seconds_of(CLOCK_MONOTONIC) - began, "s");
    row("resident before, with their connections", (double)before / 1e6, "MB");
    memory_below(160, "resident with 10,000 parked", (double)there / 1e6, "MB");
    memory_below(12 * 1024, "for each of the second 5,000", (double)(there - half) / (double)(count - count / 2),
                 "bytes");
    for (i = 0; i < count; i++) finish(&calls[i], rest.at, rest.len);
    send_all();
    UNTIL(runtime.closed == count);
    all_good(count);
    row("resident when all have ended", (double)endpoint_rss() / 1e6, "MB");
    over();
    free(calls);
    rt_drop(&up);
    rt_drop(&rest);
}

static void connections(void) {
    const size_t count = 1000 / part;
    size_t few, many;
    double began;
    begin(2, 1);
    few = endpoint_rss();
    over();
    began = seconds_of(CLOCK_MONOTONIC);
    begin(2, count);
    row("1,000 connections, an invocation on each, in", seconds_of(CLOCK_MONOTONIC) - began, "s");
    many = endpoint_rss();
    row("resident", (double)many / 1e6, "MB");
    row("for each connection", (double)(many - few) / (double)count, "bytes");
    over();
}

/* As many commands and notifications, of runs that have results. */
static rt_bytes journal(size_t entries) {
    char body[16];
    unsigned i, n = (unsigned)entries / 2;
    snprintf(body, sizeof body, "%u", n);
    start(1 + 2 * n, .complete = true);
    input(body);
    for (i = 1; i <= n; i++) cmd_run(i, "step"), note_value(N_RUN, i, "1");
    return script_take();
}

/* CPU time of the endpoint for one entry, in ns: the least of some rounds. */
static double entry_cost(size_t entries) {
    rt_bytes up = journal(entries);
    size_t count = 100000 / part / entries, i;
    int round;
    double least = 0;
    call k;
    for (round = 0; round < 8; round++) {
        double began = process_cpu(&endpoint), took;
        runtime.closed = runtime.good = 0;
        for (i = 0; i < count; i++) {
            invoke(&k, runtime.conns, "steps", up.at, up.len, true);
            send_all();
            UNTIL(k.closed);
        }
        took = process_cpu(&endpoint) - began;
        all_good(count);
        if (!round || took < least) least = took;
    }
    rt_drop(&up);
    return least / (double)(count * entries) * 1e9;
}

/* That of 100 includes its part of a request; so does what is asked of 10,000, and more is asked of the
 * longest one. */
static void journals(void) {
    double small, middle, large;
    begin(1, 1);
    small = entry_cost(100);
    middle = entry_cost(10000 / part);
    large = entry_cost(100000 / part);
    row("CPU for an entry of a journal of 100", small, "ns");
    row("CPU for an entry of a journal of 10,000", middle, "ns");
    row("CPU for an entry of a journal of 100,000", large, "ns");
    if (part == 1) {
        row_below(1.2, "10,000 over 100", middle / small, "times");
        row_below(1.5, "100,000 over 10,000", large / middle, "times");
    }
    row("resident at most", (double)process_memory(&endpoint, "VmHWM") / 1e6, "MB");
    over();
}

static rt_bytes request_of(size_t bytes) {
    rt_bytes up;
    char *body = (char *)malloc(bytes + 1);
    if (!body) die("memory");
    memset(body, 'x', bytes);
    body[bytes] = 0;
    up = script_of(1, body);
    free(body);
    return up;
}

static void payload(void) {
    const size_t bytes = 64 * MIB / part;
    rt_bytes up = request_of(bytes);
    double began, cpu;
    call k;
    begin(1, 1);
    began = seconds_of(CLOCK_MONOTONIC);
    cpu = process_cpu(&endpoint);
    invoke(&k, runtime.conns, "echo", up.at, up.len, true);
    send_all();
    UNTIL(k.closed);
    all_good(1);
    if (k.got <= bytes) miss("only %lu bytes came", (unsigned long)k.got);
    row("64 MiB in and out in", seconds_of(CLOCK_MONOTONIC) - began, "s");
    row("CPU", process_cpu(&endpoint) - cpu, "s");
    memory_below(in_mib(bytes) + 8, "resident at most", in_mib(process_memory(&endpoint, "VmHWM")), "MiB");
    row("resident afterwards", in_mib(endpoint_rss()), "MiB");
    over();
    rt_drop(&up);
}

/* That many invocations, some on each of 8 connections. Returns how many there were in a second. */
static double rate(unsigned threads, const char *handler, rt_bytes up, size_t all) {
    const size_t conns = 8, width = 32, count = conns * width;
    call *calls = calls_new(count);
    double began, took, cpu;
    size_t i;
    begin(threads, conns);
    runtime.again = handler;
    runtime.again_up = up;
    runtime.left = all - count;
    began = seconds_of(CLOCK_MONOTONIC);
    cpu = process_cpu(&endpoint);
    for (i = 0; i < count; i++) invoke(&calls[i], &runtime.conns[i / width], handler, up.at, up.len, true);
    send_all();
    UNTIL(runtime.closed == all);
    took = seconds_of(CLOCK_MONOTONIC) - began;
    cpu = process_cpu(&endpoint) - cpu;
    all_good(all);
    row(threads == 1 ? "invocations per second, 1 loop" : "invocations per second, 2 loops", (double)all / took, "");
    row("CPU for each", cpu / (double)all * 1e6, "us");
    row("cores in use by the endpoint", cpu / took, "");
    over();
    free(calls);
    return (double)all / took;
}

/* The echo is as much work for this process as for the endpoint, which therefore waits on a machine with
 * few cores; the journal is not. */
static void loops(void) {
    rt_bytes up = script_of(1, "some bytes that come back");
    double alone;
    say("an echo:");
    alone = rate(1, "echo", up, 100000 / part);
    row("2 loops over 1", rate(2, "echo", up, 100000 / part) / alone, "times");
    rt_drop(&up);
    say("a journal of 1,000 entries:");
    up = journal(1000);
    alone = rate(1, "steps", up, 20000 / part);
    row("2 loops over 1", rate(2, "steps", up, 20000 / part) / alone, "times");
    rt_drop(&up);
}

#ifndef SCALE_SMALL
int main(int argc, char **argv) {
    static const struct { const char *name; void (*run)(void); } cases[] = {
        { "idle", idle }, { "parked", parked }, { "connections", connections },
        { "journals", journals }, { "payload", payload }, { "loops", loops }
    };
    size_t i;
    if (argc == 3 && strcmp(argv[1], "endpoint") == 0) return be_endpoint(argv[2]);
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!test_wanted(argc, argv, cases[i].name)) continue;
        printf("%s\n", cases[i].name);
        cases[i].run();
    }
    return missed != 0;
}
#endif
