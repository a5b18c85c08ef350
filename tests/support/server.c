/* An endpoint over real sockets, clients (client.c), and raw connections for bytes that no client would send. Part of
 * unit_server*.c. */
#ifndef SUPPORT_SERVER_C
#define SUPPORT_SERVER_C

#include "tools.h"
/* How long is waited for what does not return; users have 5 s. Where a test lets it return, that is as long as it takes
 * on a machine with other work; where it is given up, shorter(). */
static unsigned grace_ms;                   /* atomic */
#define RESTATE__GRACE_MS __atomic_load_n(&grace_ms, __ATOMIC_SEQ_CST)
#include "restate.h"

#include <dirent.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "allocator.c"
#include "client.c"
#include "frames.c"

#define RSS_COUNTS (SLOW == 1)              /* memory of the process means nothing with shadow memory */
#define PATIENCE_MS 60000                   /* then something hangs, however slow the machine is */
#define HOUR_MS 3600000u
#define MIB ((size_t)1 << 20)

/* ---- What the endpoint's threads and the test share ----------------------------------------------- */

static int bell[2];                         /* a pipe: something in here changed */
static unsigned started, ended, at_gate, progress;              /* of handlers and closures */
static unsigned errors, warnings, connections_told;             /* of the log; warnings: only some */
static bool gate_is_open;
static mem_counts memory;                   /* of the endpoint */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;        /* of what follows, and of the gate */
static pthread_cond_t gate_opened = PTHREAD_COND_INITIALIZER;
static pthread_t seen_on[16];               /* threads that handlers were on */
static size_t seen_count;
static char last_error[256];                /* of the log */
static unsigned holds_told;                 /* lines about handlers that hold their loop */
static char hold_told[400];                 /* the first of them */
static unsigned tls_lines, plain_lines, tls_failures, peer_lines, unclean, refused_lines, failed_lines, left_out;     /* lines that must not be; of a kind; counted */

#define GET(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define PUT(x, n) __atomic_store_n(&(x), n, __ATOMIC_SEQ_CST)

static inline void ring(void) {
    ssize_t n = write(bell[1], "", 1);      /* a full pipe rings, too */
    (void)n;
}
static inline void count(unsigned *what) {
    __atomic_fetch_add(what, 1, __ATOMIC_SEQ_CST);
    ring();
}

/* One line of UTF-8 that steers no terminal. */
static inline bool is_clean(const char *text) {
    const uint8_t *p = (const uint8_t *)text;
    for (; p && *p; p++)
        if (*p < 0x20 || *p == 0x7F || (*p == 0xC2 && p[1] < 0xA0)) return false;
    return !text || restate__b_utf8(restate_str(text));
}

static char told_how[200];                  /* to register the endpoint */

static inline void on_log(void *user, const restate_log_record *r) {
    unsigned n;
    (void)user;
    if (!is_clean(r->message) || !is_clean(r->invocation_id)) count(&unclean);
    if (strncmp(r->message, "refused ", 8) == 0) count(&refused_lines);
    if (strncmp(r->message, "the attempt failed", 18) == 0) count(&failed_lines);
    if (strstr(r->message, "_timeout_ms)") || strstr(r->message, "max_connections")) count(&peer_lines);
    if (strstr(r->message, "begins TLS") && strstr(r->message, "http://")) count(&tls_lines);
    if (strstr(r->message, "does not begin TLS") && strstr(r->message, "https://")) count(&plain_lines);
    if (strstr(r->message, ": TLS failed: ")) count(&tls_failures);
    if (sscanf(r->message, "%u more lines about", &n) == 1) __atomic_fetch_add(&left_out, n, __ATOMIC_SEQ_CST);
    if (strncmp(r->message, "connection from 127.0.0.1 port ", 31) == 0) count(&connections_told);
    if (strncmp(r->message, "cannot accept a connection: ", 28) == 0) count(&warnings);
    if (strncmp(r->message, "register it once: ", 18) == 0) {
        pthread_mutex_lock(&lock);
        snprintf(told_how, sizeof told_how, "%s", r->message + 18);
        pthread_mutex_unlock(&lock);
    }
    if (strncmp(r->message, "the handler holds its event loop", 32) == 0) {
        pthread_mutex_lock(&lock);
        if (!GET(holds_told))
            snprintf(hold_told, sizeof hold_told, "%s/%s %s: %s", r->service, r->handler, r->invocation_id, r->message);
        pthread_mutex_unlock(&lock);
        count(&holds_told);
    }
    if (r->level < RESTATE_LOG_ERROR) return;
    pthread_mutex_lock(&lock);
    snprintf(last_error, sizeof last_error, "%s", r->message);
    pthread_mutex_unlock(&lock);
    count(&errors);
}

/* Waits until the test opens the gate, or until nobody wants the work any more. */
static inline bool gate(restate_ctx *ctx, bool obedient) {
    struct timespec until;
    bool stopped = false;
    count(&at_gate);
    pthread_mutex_lock(&lock);
    for (int tries = 0; !gate_is_open && !stopped && tries < 6000; tries++) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 10000000;
        if (until.tv_nsec >= 1000000000) until.tv_nsec -= 1000000000, until.tv_sec++;
        pthread_cond_timedwait(&gate_opened, &lock, &until);
        stopped = obedient && restate_stop_requested(ctx);
    }
    pthread_mutex_unlock(&lock);
    return !stopped;
}

static inline void open_gate(void) {
    pthread_mutex_lock(&lock);
    PUT(gate_is_open, true);
    pthread_cond_broadcast(&gate_opened);
    pthread_mutex_unlock(&lock);
}

static inline void *open_gate_soon(void *arg) {
    struct timespec t = { 0, 100000000 };
    (void)arg;
    nanosleep(&t, NULL);
    open_gate();
    return NULL;
}

/* ---- Handlers --------------------------------------------------------------------------------------- */

static inline restate_status done_with(restate_status s) {
    if (s == RESTATE_ENDED) count(&ended);
    return s;
}

static inline restate_status echo(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }

static inline restate_status nap(restate_ctx *ctx, restate_bytes in) {
    count(&started);
    restate_status s = restate_sleep(ctx, HOUR_MS);
    return s == RESTATE_OK ? restate_reply(ctx, in) : done_with(s);
}

static inline restate_status naps(restate_ctx *ctx, restate_bytes in) {        /* two of them */
    restate_status s;
    count(&started);
    s = restate_sleep(ctx, HOUR_MS);
    if (s == RESTATE_OK) s = restate_sleep(ctx, HOUR_MS);
    return s == RESTATE_OK ? restate_reply(ctx, in) : done_with(s);
}

/* Holds its event loop, until the test lets it go. */
static inline restate_status holds(restate_ctx *ctx, restate_bytes in) {
    const struct timespec t = { 0, 2000000 };
    (void)ctx;
    count(&started);
    while (!GET(gate_is_open)) nanosleep(&t, NULL);
    return done_with(restate_reply(ctx, in));
}

/* The same in a hook, even of a blocking handler. */
static inline const restate_pair *holds_a_call(void *user, restate_ctx *ctx, const restate_target *to) {
    const struct timespec t = { 0, 2000000 };
    (void)user, (void)ctx, (void)to;
    count(&started);
    while (!GET(gate_is_open)) nanosleep(&t, NULL);
    return NULL;
}
static const restate_hooks holding = { .outbound = holds_a_call };
static inline restate_status calls(restate_ctx *ctx, restate_bytes in) {
    return restate_call(ctx, (restate_target){ .service = "S", .handler = "echo" }, in, NULL, NULL);
}

/* "COUNT SIZE": sends that many commands with payloads of that size, each of another byte. */
static inline restate_status flood(restate_ctx *ctx, restate_bytes in) {
    static const restate_target to = { .service = "S", .handler = "echo" };
    unsigned n, i, size;
    if (!in.ptr || sscanf((const char *)in.ptr, "%u %u", &n, &size) != 2) return restate_fail(ctx, 400, "what?");
    count(&started);
    uint8_t *payload = (uint8_t *)malloc(size + 1);
    if (!payload) return restate_fail(ctx, 500, "no memory");
    for (i = 0; i < n; i++) {
        memset(payload, 'a' + (int)(i % 26), size);
        restate_send(ctx, to, (restate_bytes){ payload, size }, NULL);
        if (restate_stop_requested(ctx)) break;
        if (size >= 1000) count(&progress);
    }
    free(payload);
    return i < n ? done_with(restate_retry(ctx, NULL, "no longer wanted")) : RESTATE_OK;
}

static inline restate_status flood_then_nap(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(flood(ctx, in));
    return done_with(restate_sleep(ctx, HOUR_MS));
}

static inline restate_status step(restate_ctx *run, void *arg) {
    gate(run, arg != NULL);
    return restate_reply(run, restate_str("stepped"));
}
static inline restate_status steps(restate_ctx *ctx, restate_bytes in) {
    restate_bytes result;
    restate_status s = restate_run(ctx, "step", step, NULL, NULL, &result);
    (void)in;
    return s == RESTATE_OK ? restate_reply(ctx, result) : done_with(s);
}
static inline restate_status steps_obediently(restate_ctx *ctx, restate_bytes in) {
    restate_bytes result;
    restate_status s = restate_run(ctx, "step", step, &bell, NULL, &result);
    (void)in;
    return s == RESTATE_OK ? restate_reply(ctx, result) : done_with(s);
}

/* .blocking; the first one looks whether it is still wanted. */
static inline restate_status blocks(restate_ctx *ctx, restate_bytes in) {
    if (!gate(ctx, true)) return done_with(restate_retry(ctx, NULL, "no longer wanted"));
    return restate_reply(ctx, in);
}
static inline restate_status blocks_on(restate_ctx *ctx, restate_bytes in) {
    gate(ctx, false);
    return done_with(restate_reply(ctx, in));
}

static inline restate_status where(restate_ctx *ctx, restate_bytes in) {
    size_t i;
    pthread_mutex_lock(&lock);
    for (i = 0; i < seen_count && !pthread_equal(seen_on[i], pthread_self()); i++) continue;
    if (i == seen_count && i < 16) seen_on[seen_count++] = pthread_self();
    pthread_mutex_unlock(&lock);
    (void)in;
    return restate_reply(ctx, restate_str(restate_text(ctx, "%u", (unsigned)i)));
}

static const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS(
    { .name = "echo", .fn = echo }, { .name = "nap", .fn = nap }, { .name = "naps", .fn = naps },
    { .name = "flood", .fn = flood, .options.stall_warning_ms = RESTATE_ZERO_MS },
    { .name = "flood_then_nap", .fn = flood_then_nap }, { .name = "steps", .fn = steps },
    { .name = "steps_obediently", .fn = steps_obediently },
    { .name = "blocks", .fn = blocks, .options.blocking = RESTATE_ON },
    { .name = "holds", .fn = holds, .options.stall_warning_ms = 100 },
    { .name = "calls", .fn = calls, .options = { .blocking = RESTATE_ON, .stall_warning_ms = 100, .hooks = &holding } },
    { .name = "blocks_on", .fn = blocks_on, .options.blocking = RESTATE_ON }, { .name = "where", .fn = where },
    { .name = "empty", .fn = echo, .input = &restate_rpc_empty_proto }) };

/* ---- Clients ------------------------------------------------------------------------------------------ */

static restate_endpoint *ep;
static int host_fd = -1;                    /* the endpoint's, while this thread runs it */
static restate_status ran;                  /* what run or process gave last */
static bool run_over, hosted;               /* hosted: this thread runs it */
static uint64_t patience_until;

/* Lets everything go on until something happened, 10 ms at most; `fd` may be one more to wait for.
 * False: the time of UNTIL is up. */
static inline bool pump(int fd) {
    struct pollfd fds[136];
    nfds_t n = 0;
    uint8_t rings[256];
    fds[n].fd = bell[0], fds[n++].events = POLLIN;
    if (host_fd >= 0) fds[n].fd = host_fd, fds[n++].events = POLLIN;
    if (fd >= 0) fds[n].fd = fd, fds[n++].events = POLLIN;
    clients_wait(fds, n, 136);
    while (read(bell[0], rings, sizeof rings) == (ssize_t)sizeof rings) continue;
    if (host_fd >= 0 && fds[1].revents) {
        ran = restate_endpoint_process(ep, 0);
        if (ran != RESTATE_OK) run_over = true, host_fd = -1;
    }
    clients_receive();
    return now_ms() < patience_until;
}

/* Pumps until `condition` holds; a failure if that takes too long. */
#define UNTIL(condition) do { \
        patience_until = now_ms() + PATIENCE_MS; \
        while (!(condition) && pump(-1)) continue; \
        CHECK(condition); \
    } while (0)

/* Sets what is shown with failures from here on. */
static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void note(const char *format, ...) {
    static char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    test_note = text;
}

static inline void impatient(void) { PUT(grace_ms, 600); }     /* until the next endpoint */

static inline void pump_for(uint64_t ms) {         /* where it is to be seen that nothing happens */
    uint64_t until = now_ms() + ms;
    patience_until = until + PATIENCE_MS;
    while (now_ms() < until) pump(-1);
}

static inline int dial_fd(int rcvbuf) {
    int fd = h2_connect(restate_endpoint_port(ep), rcvbuf);
    if (fd < 0) perror("cannot connect"), abort();
    return fd;
}

static inline client *dial_with(dialling d) { return client_on(dial_fd(d.rcvbuf), &d); }
#define dial_to(...) dial_with((dialling){ __VA_ARGS__ })
static inline client *dial(void) { return dial_to(.window = 0); }

static inline call *invoke(client *c, const char *handler) { return invoke_as(c, 7, handler); }

static inline void given_input(const char *text) { start(1); input(text); }

/* An invocation on a connection of its own, whose request has its input, "x", so far. */
static inline call *invoke_alone(const char *handler) {
    call *k = invoke(dial(), handler);
    given_input("x");
    send_on(k);
    return k;
}

static inline void call_says(const char *file, int line, call *k, const char *const *expected) {
    rt_bytes text = { NULL, 0, 0 };
    rt_add(&text, "", 0);
    while (k->seen < k->body.len) {
        size_t n = rt_show_frame(&text, k->body.at + k->seen, k->body.len - k->seen);
        if (!n) rt_print(&text, "PARTIAL FRAME\n"), n = k->body.len - k->seen;
        k->seen += n;
    }
    rt_compare(file, line, (const char *)text.at, expected, 7);
    rt_drop(&text);
}
/* What came since the last SAYS. */
#define SAYS(k, ...) call_says(__FILE__, __LINE__, k, (const char *const[]){ __VA_ARGS__, NULL })
#define SAYS_NOTHING(k) call_says(__FILE__, __LINE__, k, (const char *const[]){ NULL })

/* Whether `count` frames came since the last SAYS. */
static inline bool frames_came(const call *k, unsigned n) {
    size_t at = k->seen;
    for (; n && at + 8 <= k->body.len; n--)
        at += 8 + ((size_t)k->body.at[at + 4] << 24 | (size_t)k->body.at[at + 5] << 16 |
                   (size_t)k->body.at[at + 6] << 8 | k->body.at[at + 7]);
    return n == 0 && at <= k->body.len;
}

/* Waits until the endpoint has seen all that was sent, and what it says at once is here. */
static inline void settle(client *c) {
    unsigned before = c->pings;
    client_send(c);
    nghttp2_submit_ping(c->session, 0, (const uint8_t *)"settling");
    UNTIL(c->pings > before || c->gone);
    CHECK(!c->gone);
}

/* The clock of an endpoint that is moved by its test only, and so looks the same to it on any machine. */
static uint64_t clock_ms;
static inline uint64_t clock_now(void *user) { (void)user; return GET(clock_ms); }
#define MOVED_CLOCK { clock_now, clock_now, NULL }

/* It is later, and the loop of `c` has looked at what is due. */
static inline void later(client *c, uint64_t ms) {
    __atomic_fetch_add(&clock_ms, ms, __ATOMIC_SEQ_CST);
    settle(c);
}
/* UNTIL, for what takes its time by the clock: in steps that are no late looks. */
#define LATER(c, condition) do { \
        for (int steps_ = 0; !(condition) && !(c)->gone && steps_ < 1000; steps_++) later(c, 100); \
        CHECK(condition); \
    } while (0)

/* The connection is good for an invocation. */
static inline void good_at(int line, client *c) {
    char text[300];
    const char *before = test_note;
    call *k = invoke(c, "echo");
    snprintf(text, sizeof text, "(good call in line %d) %s", line, before);
    test_note = text;
    given_input("good");
    end(k);
    UNTIL(k->closed || c->gone);
    CHECK_INT(k->status, 200);
    CHECK_STR(k->type, "application/vnd.restate.invocation.v7");
    CHECK_HAS(k->server, "restate-sdk-c/");
    SAYS(k, "Output value \"good\"", "End");
    CHECK_INT(k->frames, 1);
    CHECK_INT(k->code, 0);
    test_note = before;
}
#define GOOD(c) good_at(__LINE__, c)

/* ---- Endpoints -------------------------------------------------------------------------------------------- */

static pthread_t runner;
static int fds_before;

static inline int open_fds(void) {
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    if (!d) return 0;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static inline size_t rss(void) {                   /* of the process, in bytes */
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long all, resident = 0;
    if (f && fscanf(f, "%lu %lu", &all, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static inline restate_endpoint *endpoint_of(restate_endpoint_options o) {
    static const restate_service *const services[] = { &service, NULL };
    if (!o.services) o.services = services;
    if (!o.drain_ms) o.drain_ms = HOUR_MS;              /* a stop ends because nothing is left */
    if (!o.port) o.port = RESTATE_ANY_PORT;
    if (!o.address) o.address = "127.0.0.1";
    o.allocator = mem_allocator(&memory);
    o.logger.write = on_log;
    return restate_endpoint_new(&o);
}

static inline void *run_it(void *arg) {
    ran = restate_endpoint_run((restate_endpoint *)arg);
    PUT(run_over, true);
    ring();
    return NULL;
}

/* Forgets what was before. */
static inline void forget(void) {
    PUT(started, 0), PUT(ended, 0), PUT(at_gate, 0), PUT(progress, 0), PUT(errors, 0), PUT(run_over, false);
    PUT(warnings, 0), PUT(connections_told, 0), PUT(unclean, 0), PUT(refused_lines, 0), PUT(failed_lines, 0);
    PUT(left_out, 0), PUT(tls_lines, 0), PUT(plain_lines, 0), PUT(tls_failures, 0), PUT(peer_lines, 0);
    gate_is_open = hosted = false;
    PUT(grace_ms, HOUR_MS), PUT(clock_ms, 1000000);
    PUT(holds_told, 0), hold_told[0] = 0;
    seen_count = 0;
    rt_script.len = 0;
    fds_before = open_fds();
}

static inline void prepare(restate_endpoint_options o) {
    forget();
    ep = endpoint_of(o);
    CHECK_STR(restate_endpoint_error(ep), "");
    PUT(memory.peak, GET(memory.live));
}

static inline void up_with(restate_endpoint_options o) {
    prepare(o);
    if (pthread_create(&runner, NULL, run_it, ep)) abort();
    UNTIL(restate_endpoint_port(ep) || GET(run_over));
    PUT(memory.peak, GET(memory.live));
}
#define up(...) up_with((restate_endpoint_options){ __VA_ARGS__ })

static inline void up_hosted_with(restate_endpoint_options o) {
    prepare(o);
    hosted = true;
    host_fd = restate_endpoint_fd(ep);
    CHECK(host_fd >= 0);
    CHECK_INT(restate_endpoint_fd(ep), host_fd);
}
#define up_hosted(...) up_hosted_with((restate_endpoint_options){ __VA_ARGS__ })

/* Frees the endpoint; nothing of it is left. */
static inline void freed(void) {
    hang_up_all();
    restate_endpoint_free(ep);
    ep = NULL;
    host_fd = -1;
    CHECK_INT(GET(memory.live), 0);
    CHECK_INT(open_fds(), fds_before);
    if (GET(errors)) CHECK_STR(last_error, "");
    CHECK_INT(GET(unclean), 0);
    rt_free_all();
    rt_drop(&rt_script);
}

/* After a stop: run has returned. */
static inline void stopped(void) {
    UNTIL(GET(run_over));
    if (!hosted) pthread_join(runner, NULL);
    CHECK_INT(ran, hosted ? RESTATE_ENDED : RESTATE_OK);
    freed();
}

/* Run has returned although something did not: it and the log name that. Then it is let go. */
static inline void stopped_without(const char *name) {
    pthread_t opener;
    UNTIL(GET(run_over));
    if (!hosted) pthread_join(runner, NULL);
    CHECK_INT(ran, RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(ep), name);
    CHECK_INT(hosted ? restate_endpoint_process(ep, 0) : restate_endpoint_run(ep), RESTATE_ERROR);
    CHECK(GET(errors) > 0);
    CHECK_HAS(last_error, "does not return");
    PUT(errors, 0), PUT(grace_ms, HOUR_MS);
    if (pthread_create(&opener, NULL, open_gate_soon, NULL)) abort();
    freed();
    pthread_join(opener, NULL);
}

/* Everybody hangs up, then the endpoint is stopped; it must find nothing to wait for. */
static inline void down(void) {
    hang_up_all();
    UNTIL(GET(ep->invocations) == 0);
    restate_endpoint_stop(ep);
    stopped();
}

/* ---- Raw connections ------------------------------------------------------------------------------------- */

typedef struct wire {
    int fd;
    rt_bytes in;
    size_t at;
    bool gone;                              /* closed by the endpoint */
    nghttp2_hd_inflater *inflater;
} wire;

typedef struct h2_frame {
    unsigned type, flags;
    int32_t id;
    const uint8_t *at;                      /* until the next one is read */
    size_t len;
    int status;                             /* of HEADERS */
} h2_frame;

static inline void wire_open(wire *w) {
    memset(w, 0, sizeof *w);
    w->fd = dial_fd(0);
    if (nghttp2_hd_inflate_new(&w->inflater)) abort();
}

static inline void wire_close(wire *w) {
    close(w->fd);
    nghttp2_hd_inflate_del(w->inflater);
    rt_drop(&w->in);
}

/* More bytes are here; false: none will come. */
static inline bool wire_more(wire *w) {
    uint8_t in[16384];
    patience_until = now_ms() + PATIENCE_MS;
    while (!w->gone) {
        ssize_t n = recv(w->fd, in, sizeof in, 0);
        if (n > 0) {
            rt_add(&w->in, in, (size_t)n);
            return true;
        }
        if (n == 0 || errno != EAGAIN) w->gone = true;
        else if (!pump(w->fd)) break;
    }
    return false;
}

/* Whether the endpoint has closed it, as far as is known now. */
static inline bool wire_is_over(wire *w) {
    uint8_t in[4096];
    ssize_t n;
    while ((n = recv(w->fd, in, sizeof in, 0)) > 0) continue;
    return n == 0 || errno != EAGAIN;
}

/* True: all was taken. The endpoint may hang up meanwhile. */
static inline bool wire_send(wire *w, const void *data, size_t len) {
    const uint8_t *from = (const uint8_t *)data;
    patience_until = now_ms() + PATIENCE_MS;
    while (len) {
        struct pollfd p = { w->fd, POLLOUT, 0 };
        ssize_t n = send(w->fd, from, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n > 0) {
            from += n, len -= (size_t)n;
            continue;
        }
        if (poll(&p, 1, 100) < 0 || now_ms() > patience_until) return false;
    }
    return true;
}

static inline size_t wire_status(wire *w, const uint8_t *at, size_t len, int *status) {
    nghttp2_nv nv;
    int flags = 0;
    size_t done = 0;
    while (done < len || !(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        ssize_t n = nghttp2_hd_inflate_hd2(w->inflater, &nv, &flags, at + done, len - done, 1);
        if (n < 0) break;
        done += (size_t)n;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) && nv.namelen == 7 && memcmp(nv.name, ":status", 7) == 0)
            *status = atoi((const char *)nv.value);
        if (!(flags & (NGHTTP2_HD_INFLATE_EMIT | NGHTTP2_HD_INFLATE_FINAL)) && done == len) break;
    }
    nghttp2_hd_inflate_end_headers(w->inflater);
    return done;
}

/* The next frame; false: there is none any more. */
static inline bool wire_frame(wire *w, h2_frame *f) {
    const uint8_t *p;
    memset(f, 0, sizeof *f);
    for (;;) {
        p = w->in.at ? w->in.at + w->at : NULL;
        f->len = w->in.len - w->at >= 9 ? (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2] : 0;
        if (w->in.len - w->at >= 9 + f->len) break;
        if (!wire_more(w)) return false;
    }
    f->type = p[3], f->flags = p[4];
    f->id = (int32_t)(((uint32_t)p[5] & 127u) << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8]);
    f->at = p + 9;
    w->at += 9 + f->len;
    if (f->type == NGHTTP2_HEADERS) wire_status(w, f->at, f->len, &f->status);
    return true;
}

/* Reads on up to a frame of this type (of this stream unless 0). */
static inline bool wire_until(wire *w, unsigned type, int32_t id, h2_frame *f) {
    while (wire_frame(w, f))
        if (f->type == type && (!id || f->id == id)) return true;
    return false;
}

static inline bool wire_flush(wire *w) {
    bool all = wire_send(w, raw_out.at, raw_out.len);
    raw_out.len = 0;
    return all;
}

/* A new connection works, whatever happened to others. */
static inline void alive_at(int line) {
    client *c = dial();
    good_at(line, c);
    hang_up(c);
}
#define ALIVE() alive_at(__LINE__)

/* ---- Routing, content types, discovery ------------------------------------------------------------------- */

#define V "application/vnd.restate.invocation.v"

/* ---- Frames that are wrong --------------------------------------------------------------------------------- */

/* A request for naps(): the first sleep is replayed, the second one is completed live. */
static inline rt_bytes nap_body(size_t *replay) {
    rt_script.len = 0;
    start(3), input("x"), cmd_sleep(1, "", 5), note_sleep(1);
    *replay = rt_script.len;
    note_sleep(2);
    rt_bytes b = rt_script;
    memset(&rt_script, 0, sizeof rt_script);
    return b;
}

/* ---- Flow control ------------------------------------------------------------------------------------------ */

/* The commands of flood(), all of them, in their order, and what follows them. */
static inline void check_flood(call *k, unsigned n, unsigned size, unsigned last) {
    size_t at = 0;
    unsigned i, bad = 0;
    for (i = 0; i < n && at + 8 <= k->body.len; i++) {
        const uint8_t *p = k->body.at + at, *payload = p + 8, *end_of;
        size_t len = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7], at_byte;
        rt_field f;
        uint64_t id = 0, filled = 0;
        if ((unsigned)(p[0] << 8 | p[1]) != M_SEND || at + 8 + len > k->body.len) break;
        for (end_of = payload + len; rt_next_field(&payload, end_of, &f) == 1;) {
            if (f.number == 10) id = f.n;
            if (f.number != 3) continue;
            for (at_byte = 0; at_byte < f.len && f.at[at_byte] == 'a' + (int)(i % 26); at_byte++) continue;
            filled = at_byte;
        }
        bad += id != i + 1 || filled != size;
        at += 8 + len;
    }
    CHECK_INT(i, n);
    CHECK_INT(bad, 0);
    CHECK(at + 8 <= k->body.len && (unsigned)(k->body.at[at] << 8 | k->body.at[at + 1]) == last);
    k->seen = at;
}

/* Waits until handlers wrote all they can. */
static inline void until_stalled(void) {
    unsigned before;
    UNTIL(GET(progress) > 0);
    do {
        before = GET(progress);
        pump_for(60 * SLOW);
    } while (GET(progress) != before);
}

static inline int server_main(int argc, char **argv, const test_case *cases) {
    if (pipe(bell) || fcntl(bell[0], F_SETFL, O_NONBLOCK) || fcntl(bell[1], F_SETFL, O_NONBLOCK)) return 1;
    int status = test_main(argc, argv, cases);
    rt_drop(&raw_out);
    return status;
}

#endif
