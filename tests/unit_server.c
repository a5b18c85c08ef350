/* The endpoint over real sockets: it runs in a thread of this program (or in its event loop, by the
 * process API), and is talked to by an HTTP/2 client made of nghttp2's client session, or by bytes that no
 * client would send. One thread drives all clients, so what happens when is the test's to say. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "tools.h"
#if SLOW > 1
#  define RESTATE__GRACE_MS 2000u           /* for what does not return; users have 5 s */
#else
#  define RESTATE__GRACE_MS 600u
#endif
#include "restate.h"
#include "runtime.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define RSS_COUNTS (SLOW == 1)              /* memory of the process means nothing with shadow memory */
#define PATIENCE_MS (15000 * (SLOW > 1 ? 3 : 1))
#define HOUR_MS 3600000u
#define MIB ((size_t)1 << 20)

/* ---- What the endpoint's threads and the test share ----------------------------------------------- */

static int bell[2];                         /* a pipe: something in here changed */
static unsigned started, ended, at_gate, progress;              /* of handlers and closures */
static unsigned errors, warnings, connections_told;             /* of the log; warnings: only some */
static bool gate_is_open;
static size_t live, peak;                   /* bytes of the endpoint */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;        /* of what follows, and of the gate */
static pthread_cond_t gate_opened = PTHREAD_COND_INITIALIZER;
static pthread_t seen_on[16];               /* threads that handlers were on */
static size_t seen_count;
static char last_error[256];                /* of the log */
static unsigned holds_told;                 /* lines about handlers that hold their loop */
static char hold_told[400];                 /* the first of them */
static unsigned tls_lines, peer_lines, unclean, refused_lines, failed_lines, left_out;     /* lines that must not be; of a kind; counted */

#define GET(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define PUT(x, n) __atomic_store_n(&(x), n, __ATOMIC_SEQ_CST)

static void ring(void) {
    ssize_t n = write(bell[1], "", 1);      /* a full pipe rings, too */
    (void)n;
}
static void count(unsigned *what) {
    __atomic_fetch_add(what, 1, __ATOMIC_SEQ_CST);
    ring();
}

static void *counted_realloc(void *user, void *old, size_t old_size, size_t size) {
    void *p = realloc(old, size);
    size_t now, top;
    (void)user;
    if (!p) return NULL;
    now = __atomic_add_fetch(&live, size - (old ? old_size : 0), __ATOMIC_SEQ_CST);
    for (top = GET(peak); now > top && !__atomic_compare_exchange_n(&peak, &top, now, false, __ATOMIC_SEQ_CST,
                                                                    __ATOMIC_SEQ_CST);) continue;
    return p;
}
static void *counted_alloc(void *user, size_t size) { return counted_realloc(user, NULL, 0, size); }
static void counted_free(void *user, void *old, size_t size) {
    (void)user;
    __atomic_sub_fetch(&live, size, __ATOMIC_SEQ_CST);
    free(old);
}

/* One line of UTF-8 that steers no terminal. */
static bool is_clean(const char *text) {
    const uint8_t *p = (const uint8_t *)text;
    for (; p && *p; p++)
        if (*p < 0x20 || *p == 0x7F || (*p == 0xC2 && p[1] < 0xA0)) return false;
    return !text || restate__b_utf8(restate_str(text));
}

static char told_how[200];                  /* to register the endpoint */

static void on_log(void *user, const restate_log_record *r) {
    unsigned n;
    (void)user;
    if (!is_clean(r->message) || !is_clean(r->invocation_id)) count(&unclean);
    if (strncmp(r->message, "refused ", 8) == 0) count(&refused_lines);
    if (strncmp(r->message, "the attempt failed", 18) == 0) count(&failed_lines);
    if (strstr(r->message, "_timeout_ms)") || strstr(r->message, "max_connections")) count(&peer_lines);
    if (strstr(r->message, "it begins TLS") && strstr(r->message, "http://")) count(&tls_lines);
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
static bool gate(restate_ctx *ctx, bool obedient) {
    struct timespec until;
    bool stopped = false;
    int tries;
    count(&at_gate);
    pthread_mutex_lock(&lock);
    for (tries = 0; !gate_is_open && !stopped && tries < 6000; tries++) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 10000000;
        if (until.tv_nsec >= 1000000000) until.tv_nsec -= 1000000000, until.tv_sec++;
        pthread_cond_timedwait(&gate_opened, &lock, &until);
        stopped = obedient && restate_stop_requested(ctx);
    }
    pthread_mutex_unlock(&lock);
    return !stopped;
}

static void open_gate(void) {
    pthread_mutex_lock(&lock);
    PUT(gate_is_open, true);
    pthread_cond_broadcast(&gate_opened);
    pthread_mutex_unlock(&lock);
}

static void *open_gate_soon(void *arg) {
    struct timespec t = { 0, 100000000 };
    (void)arg;
    nanosleep(&t, NULL);
    open_gate();
    return NULL;
}

/* ---- Handlers --------------------------------------------------------------------------------------- */

static restate_status done_with(restate_status s) {
    if (s == RESTATE_ENDED) count(&ended);
    return s;
}

static restate_status echo(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }

static restate_status nap(restate_ctx *ctx, restate_bytes in) {
    restate_status s;
    count(&started);
    s = restate_sleep(ctx, HOUR_MS);
    return s == RESTATE_OK ? restate_reply(ctx, in) : done_with(s);
}

static restate_status naps(restate_ctx *ctx, restate_bytes in) {        /* two of them */
    restate_status s;
    count(&started);
    s = restate_sleep(ctx, HOUR_MS);
    if (s == RESTATE_OK) s = restate_sleep(ctx, HOUR_MS);
    return s == RESTATE_OK ? restate_reply(ctx, in) : done_with(s);
}

/* Holds its event loop, until the test lets it go. */
static restate_status holds(restate_ctx *ctx, restate_bytes in) {
    const struct timespec t = { 0, 2000000 };
    (void)ctx;
    count(&started);
    while (!GET(gate_is_open)) nanosleep(&t, NULL);
    return done_with(restate_reply(ctx, in));
}

/* The same in a hook, even of a blocking handler. */
static const restate_pair *holds_a_call(void *user, restate_ctx *ctx, const restate_target *to) {
    const struct timespec t = { 0, 2000000 };
    (void)user, (void)ctx, (void)to;
    count(&started);
    while (!GET(gate_is_open)) nanosleep(&t, NULL);
    return NULL;
}
static const restate_hooks holding = { .outbound = holds_a_call };
static restate_status calls(restate_ctx *ctx, restate_bytes in) {
    return restate_call(ctx, (restate_target){ .service = "S", .handler = "echo" }, in, NULL, NULL);
}

/* "COUNT SIZE": sends that many commands with payloads of that size, each of another byte. */
static restate_status flood(restate_ctx *ctx, restate_bytes in) {
    static const restate_target to = { .service = "S", .handler = "echo" };
    unsigned n, i, size;
    uint8_t *payload;
    if (!in.ptr || sscanf((const char *)in.ptr, "%u %u", &n, &size) != 2) return restate_fail(ctx, 400, "what?");
    count(&started);
    payload = (uint8_t *)malloc(size + 1);
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

static restate_status flood_then_nap(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(flood(ctx, in));
    return done_with(restate_sleep(ctx, HOUR_MS));
}

static restate_status step(restate_ctx *run, void *arg) {
    gate(run, arg != NULL);
    return restate_reply(run, restate_str("stepped"));
}
static restate_status steps(restate_ctx *ctx, restate_bytes in) {
    restate_bytes result;
    restate_status s = restate_run(ctx, "step", step, NULL, NULL, &result);
    (void)in;
    return s == RESTATE_OK ? restate_reply(ctx, result) : done_with(s);
}
static restate_status steps_obediently(restate_ctx *ctx, restate_bytes in) {
    restate_bytes result;
    restate_status s = restate_run(ctx, "step", step, &bell, NULL, &result);
    (void)in;
    return s == RESTATE_OK ? restate_reply(ctx, result) : done_with(s);
}

/* .blocking; the first one looks whether it is still wanted. */
static restate_status blocks(restate_ctx *ctx, restate_bytes in) {
    if (!gate(ctx, true)) return done_with(restate_retry(ctx, NULL, "no longer wanted"));
    return restate_reply(ctx, in);
}
static restate_status blocks_on(restate_ctx *ctx, restate_bytes in) {
    gate(ctx, false);
    return done_with(restate_reply(ctx, in));
}

static restate_status where(restate_ctx *ctx, restate_bytes in) {
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
    { .name = "blocks_on", .fn = blocks_on, .options.blocking = RESTATE_ON }, { .name = "where", .fn = where }) };

/* ---- Clients ------------------------------------------------------------------------------------------ */

typedef struct call {
    struct call *next;
    struct client *on;
    int32_t id;
    rt_bytes up;                            /* request body */
    size_t sent, piece;                     /* piece: the most in a DATA frame; 0: as it comes */
    bool over, waits;                       /* over: END_STREAM follows */
    int status;
    char type[80], server[40], allow[20];
    rt_bytes body;                          /* response */
    size_t seen, frames, empty, small;      /* DATA frames; empty or below 256 bytes: without END_STREAM */
    bool answered, closed;                  /* END_STREAM came; both sides are over */
    uint32_t code;                          /* closed with */
} call;

typedef struct client {
    struct client *next;
    int fd;
    nghttp2_session *session;
    rt_bytes out;
    size_t out_at;
    call *calls;
    bool deaf, gone;                        /* deaf: does not read; gone: the connection is over */
    unsigned pings, goaways;                /* answered; received */
    int32_t last_id;                        /* of the last GOAWAY */
    uint32_t goaway_code;
} client;

static client *clients;                     /* that are open */
static restate_endpoint *ep;
static int host_fd = -1;                    /* the endpoint's, while this thread runs it */
static restate_status ran;                  /* what run or process gave last */
static bool run_over, hosted;               /* hosted: this thread runs it */
static uint64_t patience_until;

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void client_send(client *c) {
    const uint8_t *data;
    restate__h2_ssize n;
    for (;;) {
        while (c->out_at < c->out.len) {
            ssize_t k = send(c->fd, c->out.at + c->out_at, c->out.len - c->out_at, MSG_NOSIGNAL);
            if (k < 0 && errno != EAGAIN) c->gone = true;
            if (k < 0) return;
            c->out_at += (size_t)k;
        }
        c->out.len = c->out_at = 0;
        while (c->out.len < 100000 && (n = RESTATE__H2_V(nghttp2_session_mem_send)(c->session, &data)) > 0)
            rt_add(&c->out, data, (size_t)n);
        if (!c->out.len) return;
    }
}

static void client_receive(client *c) {
    static uint8_t in[65536];
    ssize_t n;
    while (!c->gone && (n = recv(c->fd, in, sizeof in, 0)) != -1) {
        if (n == 0 || RESTATE__H2_V(nghttp2_session_mem_recv)(c->session, in, (size_t)n) < 0) c->gone = true;
        client_send(c);
    }
    if (!c->gone && errno != EAGAIN) c->gone = true;
    if (c->gone) shutdown(c->fd, SHUT_RDWR);
}

/* Lets everything go on until something happened, 10 ms at most; `fd` may be one more to wait for.
 * False: the time of UNTIL is up. */
static bool pump(int fd) {
    struct pollfd fds[136];
    client *c;
    nfds_t n = 0, i;
    uint8_t rings[256];
    fds[n].fd = bell[0], fds[n++].events = POLLIN;
    if (host_fd >= 0) fds[n].fd = host_fd, fds[n++].events = POLLIN;
    if (fd >= 0) fds[n].fd = fd, fds[n++].events = POLLIN;
    for (c = clients; c; c = c->next) {
        if (c->gone) continue;
        client_send(c);
        if (n == 136) abort();
        fds[n].fd = c->fd;
        fds[n++].events = (short)((c->deaf ? 0 : POLLIN) | (c->out.len ? POLLOUT : 0));
    }
    for (i = 0; i < n; i++) fds[i].revents = 0;
    poll(fds, n, 10);
    while (read(bell[0], rings, sizeof rings) == (ssize_t)sizeof rings) continue;
    if (host_fd >= 0 && fds[1].revents) {
        ran = restate_endpoint_process(ep, 0);
        if (ran != RESTATE_OK) run_over = true, host_fd = -1;
    }
    for (c = clients; c; c = c->next)
        if (!c->gone && !c->deaf) client_receive(c);
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
static void note(const char *format, ...) {
    static char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    test_note = text;
}

static void pump_for(uint64_t ms) {         /* where it is to be seen that nothing happens */
    uint64_t until = now_ms() + ms;
    patience_until = until + PATIENCE_MS;
    while (now_ms() < until) pump(-1);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t len, uint8_t flags, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
    (void)flags, (void)user;
    if (!k) return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) k->status = atoi((const char *)value);
    if (name_len == 12 && memcmp(name, "content-type", 12) == 0)
        snprintf(k->type, sizeof k->type, "%.*s", (int)len, (const char *)value);
    if (name_len == 5 && memcmp(name, "allow", 5) == 0)
        snprintf(k->allow, sizeof k->allow, "%.*s", (int)len, (const char *)value);
    if (name_len == 16 && memcmp(name, "x-restate-server", 16) == 0)
        snprintf(k->server, sizeof k->server, "%.*s", (int)len, (const char *)value);
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, id);
    (void)flags, (void)user;
    if (k) rt_add(&k->body, data, len);
    return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user) {
    client *c = (client *)user;
    call *k = (call *)nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
    bool last = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (f->hd.type == NGHTTP2_PING && (f->hd.flags & NGHTTP2_FLAG_ACK)) c->pings++;
    if (f->hd.type == NGHTTP2_GOAWAY)
        c->goaways++, c->last_id = f->goaway.last_stream_id, c->goaway_code = f->goaway.error_code;
    if (!k) return 0;
    if (f->hd.type == NGHTTP2_DATA) {
        k->frames++;
        k->empty += !last && f->hd.length == 0;
        k->small += !last && f->hd.length < 256;
    }
    if (last && (f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS)) k->answered = true;
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, id);
    (void)user;
    if (k) k->closed = true, k->code = code;
    return 0;
}

static restate__h2_ssize on_upload(nghttp2_session *s, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                                   nghttp2_data_source *source, void *user) {
    call *k = (call *)source->ptr;
    size_t n = k->up.len - k->sent;
    (void)s, (void)id, (void)user;
    if (k->piece && room > k->piece) room = k->piece;
    if (n > room) n = room;
    k->waits = n == 0 && !k->over;
    if (k->waits) return NGHTTP2_ERR_DEFERRED;
    if (n) memcpy(to, k->up.at + k->sent, n);
    k->sent += n;
    if (k->over && k->sent == k->up.len) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (restate__h2_ssize)n;
}

static int dial_fd(uint16_t port, int rcvbuf) {
    struct sockaddr_in at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (rcvbuf) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) || fcntl(fd, F_SETFL, O_NONBLOCK)) {
        perror("cannot connect");
        abort();
    }
    return fd;
}

typedef struct dialling {
    int64_t window;                         /* of a stream, in bytes; 0: 2 MiB, -1: none at all */
    bool keep_window;                       /* what was received is not given back */
    int rcvbuf;
    int32_t room;                           /* window of the connection; 0: 5 MiB */
} dialling;

static client *dial_with(dialling d) {
    client *c = (client *)calloc(1, sizeof *c);
    nghttp2_session_callbacks *calls;
    nghttp2_option *option;
    nghttp2_settings_entry window = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 2u << 20 };
    if (!c || nghttp2_session_callbacks_new(&calls) || nghttp2_option_new(&option)) abort();
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_close);
    nghttp2_option_set_no_auto_window_update(option, d.keep_window);
    if (nghttp2_session_client_new2(&c->session, calls, c, option)) abort();
    nghttp2_session_callbacks_del(calls);
    nghttp2_option_del(option);
    if (d.window) window.value = d.window < 0 ? 0 : (uint32_t)d.window;
    nghttp2_submit_settings(c->session, 0, &window, 1);
    nghttp2_session_set_local_window_size(c->session, 0, 0, d.room ? d.room : 5 << 20);
    c->fd = dial_fd(restate_endpoint_port(ep), d.rcvbuf);
    c->next = clients;
    clients = c;
    return c;
}
#define dial_to(...) dial_with((dialling){ __VA_ARGS__ })
static client *dial(void) { return dial_to(.window = 0); }

static void hang_up(client *c) {
    client **at = &clients;
    while (*at && *at != c) at = &(*at)->next;
    if (*at) *at = c->next;
    close(c->fd);
    nghttp2_session_del(c->session);
    while (c->calls) {
        call *k = c->calls;
        c->calls = k->next;
        rt_drop(&k->up);
        rt_drop(&k->body);
        free(k);
    }
    rt_drop(&c->out);
    free(c);
}

static nghttp2_nv field(const char *name, const char *value) {
    union { const char *from; uint8_t *to; } n, v;
    nghttp2_nv nv;
    n.from = name, v.from = value;
    memset(&nv, 0, sizeof nv);
    nv.name = n.to, nv.namelen = strlen(name);
    nv.value = v.to, nv.valuelen = strlen(value);
    return nv;
}

/* Begins a request with one more header (unless NULL); its body is what `send_on` gives it. */
static call *request(client *c, const char *method, const char *path, const char *name, const char *value) {
    RESTATE__H2_V(nghttp2_data_provider) body;
    nghttp2_nv fields[5];
    call *k = (call *)calloc(1, sizeof *k);
    if (!k) abort();
    fields[0] = field(":method", method), fields[1] = field(":scheme", "http");
    fields[2] = field(":path", path), fields[3] = field(":authority", "test");
    if (name) fields[4] = field(name, value);
    k->on = c;
    k->next = c->calls;
    c->calls = k;
    body.source.ptr = k;
    body.read_callback = on_upload;
    k->id = RESTATE__H2_V(nghttp2_submit_request)(c->session, NULL, fields, name ? 5 : 4, &body, k);
    CHECK(k->id > 0);
    return k;
}

static call *invoke_as(client *c, unsigned version, const char *handler) {
    char path[64], type[64];
    snprintf(path, sizeof path, "/invoke/S/%s", handler);
    snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", version);
    return request(c, "POST", path, "content-type", type);
}
static call *invoke(client *c, const char *handler) { return invoke_as(c, 7, handler); }

static void resume(call *k) {
    if (!k->waits) return;
    k->waits = false;
    nghttp2_session_resume_data(k->on->session, k->id);
}
static void give(call *k, const void *data, size_t len) {
    rt_add(&k->up, data, len);
    resume(k);
}
static void send_on(call *k) {              /* the script so far */
    give(k, rt_script.at, rt_script.len);
    rt_script.len = 0;
}
static void end(call *k) {                  /* with the script */
    k->over = true;
    send_on(k);
}
static void reset(call *k) { nghttp2_submit_rst_stream(k->on->session, 0, k->id, NGHTTP2_CANCEL); }

static void given_input(const char *text) { start(1); input(text); }

static void call_says(const char *file, int line, call *k, const char *const *expected) {
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
static bool frames_came(const call *k, unsigned n) {
    size_t at = k->seen;
    for (; n && at + 8 <= k->body.len; n--)
        at += 8 + ((size_t)k->body.at[at + 4] << 24 | (size_t)k->body.at[at + 5] << 16 |
                   (size_t)k->body.at[at + 6] << 8 | k->body.at[at + 7]);
    return n == 0 && at <= k->body.len;
}

/* Waits until the endpoint has seen all that was sent, and what it says at once is here. */
static void settle(client *c) {
    unsigned before = c->pings;
    client_send(c);
    nghttp2_submit_ping(c->session, 0, (const uint8_t *)"settling");
    UNTIL(c->pings > before || c->gone);
    CHECK(!c->gone);
}

/* The connection is good for an invocation. */
static void good_at(int line, client *c) {
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

static int open_fds(void) {
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    if (!d) return 0;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static size_t rss(void) {                   /* of the process, in bytes */
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long all, resident = 0;
    if (f && fscanf(f, "%lu %lu", &all, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static restate_endpoint *endpoint_of(restate_endpoint_options o) {
    static const restate_service *const services[] = { &service, NULL };
    if (!o.services) o.services = services;
    if (!o.port) o.port = RESTATE_ANY_PORT;
    if (!o.address) o.address = "127.0.0.1";
    o.allocator.alloc = counted_alloc;
    o.allocator.realloc = counted_realloc;
    o.allocator.free = counted_free;
    o.logger.write = on_log;
    return restate_endpoint_new(&o);
}

static void *run_it(void *arg) {
    ran = restate_endpoint_run((restate_endpoint *)arg);
    PUT(run_over, true);
    ring();
    return NULL;
}

static void prepare(restate_endpoint_options o) {
    PUT(started, 0), PUT(ended, 0), PUT(at_gate, 0), PUT(progress, 0), PUT(errors, 0), PUT(run_over, false);
    PUT(warnings, 0), PUT(connections_told, 0), PUT(unclean, 0), PUT(refused_lines, 0), PUT(failed_lines, 0);
    PUT(left_out, 0), PUT(tls_lines, 0), PUT(peer_lines, 0);
    gate_is_open = hosted = false;
    PUT(holds_told, 0), hold_told[0] = 0;
    seen_count = 0;
    rt_script.len = 0;
    fds_before = open_fds();
    ep = endpoint_of(o);
    CHECK_STR(restate_endpoint_error(ep), "");
    PUT(peak, GET(live));
}

static void up_with(restate_endpoint_options o) {
    prepare(o);
    if (pthread_create(&runner, NULL, run_it, ep)) abort();
    UNTIL(restate_endpoint_port(ep) || GET(run_over));
    PUT(peak, GET(live));
}
#define up(...) up_with((restate_endpoint_options){ __VA_ARGS__ })

static void up_hosted_with(restate_endpoint_options o) {
    prepare(o);
    hosted = true;
    host_fd = restate_endpoint_fd(ep);
    CHECK(host_fd >= 0);
    CHECK_INT(restate_endpoint_fd(ep), host_fd);
}
#define up_hosted(...) up_hosted_with((restate_endpoint_options){ __VA_ARGS__ })

/* Frees the endpoint; nothing of it is left. */
static void freed(void) {
    while (clients) hang_up(clients);
    restate_endpoint_free(ep);
    ep = NULL;
    host_fd = -1;
    CHECK_INT(GET(live), 0);
    CHECK_INT(open_fds(), fds_before);
    if (GET(errors)) CHECK_STR(last_error, "");
    CHECK_INT(GET(unclean), 0);
    rt_free_all();
    rt_drop(&rt_script);
}

/* After a stop: run has returned. */
static void stopped(void) {
    UNTIL(GET(run_over));
    if (!hosted) pthread_join(runner, NULL);
    CHECK_INT(ran, hosted ? RESTATE_ENDED : RESTATE_OK);
    freed();
}

/* Run has returned although something did not: it and the log name that. Then it is let go. */
static void stopped_without(const char *name) {
    pthread_t opener;
    UNTIL(GET(run_over));
    if (!hosted) pthread_join(runner, NULL);
    CHECK_INT(ran, RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(ep), name);
    CHECK_INT(hosted ? restate_endpoint_process(ep, 0) : restate_endpoint_run(ep), RESTATE_ERROR);
    CHECK(GET(errors) > 0);
    CHECK_HAS(last_error, "does not return");
    PUT(errors, 0);
    if (pthread_create(&opener, NULL, open_gate_soon, NULL)) abort();
    freed();
    pthread_join(opener, NULL);
}

/* Everybody hangs up, then the endpoint is stopped; it must find nothing to wait for. */
static void down(void) {
    uint64_t before;
    while (clients) hang_up(clients);
    UNTIL(GET(ep->invocations) == 0);
    before = now_ms();
    restate_endpoint_stop(ep);
    stopped();
    CHECK(now_ms() - before < 1000 * SLOW);
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

static void wire_open(wire *w) {
    memset(w, 0, sizeof *w);
    w->fd = dial_fd(restate_endpoint_port(ep), 0);
    if (nghttp2_hd_inflate_new(&w->inflater)) abort();
}

static void wire_close(wire *w) {
    close(w->fd);
    nghttp2_hd_inflate_del(w->inflater);
    rt_drop(&w->in);
}

/* More bytes are here; false: none will come. */
static bool wire_more(wire *w) {
    uint8_t in[16384];
    struct pollfd p;
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
    (void)p;
    return false;
}

/* True: all was taken. The endpoint may hang up meanwhile. */
static bool wire_send(wire *w, const void *data, size_t len) {
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

static size_t wire_status(wire *w, const uint8_t *at, size_t len, int *status) {
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
static bool wire_frame(wire *w, h2_frame *f) {
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
static bool wire_until(wire *w, unsigned type, int32_t id, h2_frame *f) {
    while (wire_frame(w, f))
        if (f->type == type && (!id || f->id == id)) return true;
    return false;
}

static rt_bytes raw_out;                    /* frames to be sent */

static void put_frame(unsigned type, unsigned flags, uint32_t id, const void *payload, size_t len) {
    uint8_t head[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)type, (uint8_t)flags,
                        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id };
    rt_add(&raw_out, head, 9);
    rt_add(&raw_out, payload, len);
}

static void hpack_text(rt_bytes *b, const char *text, size_t len) {
    uint8_t byte = (uint8_t)(len < 127 ? len : 127);
    size_t n = len - byte;
    rt_add(b, &byte, 1);
    for (; len >= 127; n >>= 7) {
        byte = (uint8_t)((n & 127) | (n > 127 ? 128 : 0));
        rt_add(b, &byte, 1);
        if (n <= 127) break;
    }
    rt_add(b, text, len);
}

static void hpack_field(rt_bytes *b, const char *name, const char *value) {
    rt_add(b, "", 1);
    hpack_text(b, name, strlen(name));
    hpack_text(b, value, strlen(value));
}

static rt_bytes raw_headers(const char *method, const char *path) {
    rt_bytes b = { NULL, 0, 0 };
    hpack_field(&b, ":method", method);
    hpack_field(&b, ":scheme", "http");
    hpack_field(&b, ":path", path);
    hpack_field(&b, ":authority", "test");
    return b;
}

static void put_request(uint32_t id, const char *path, bool over) {
    rt_bytes b = raw_headers("POST", path);
    hpack_field(&b, "content-type", "application/vnd.restate.invocation.v7");
    put_frame(NGHTTP2_HEADERS, over ? 5 : 4, id, b.at, b.len);
    rt_drop(&b);
}

static void put_preface(void) {
    raw_out.len = 0;
    rt_add(&raw_out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static bool wire_flush(wire *w) {
    bool all = wire_send(w, raw_out.at, raw_out.len);
    raw_out.len = 0;
    return all;
}

/* A new connection works, whatever happened to others. */
static void alive_at(int line) {
    client *c = dial();
    good_at(line, c);
    hang_up(c);
}
#define ALIVE() alive_at(__LINE__)

/* ---- Routing, content types, discovery ------------------------------------------------------------------- */

TEST(health_and_versions) {
    client *c;
    up(.threads = 1);
    c = dial();
    call *k = request(c, "GET", "/health", NULL, NULL);
    k->over = true;
    UNTIL(k->closed);
    CHECK_INT(k->status, 200);
    CHECK_STR(k->type, "text/plain");
    CHECK_STR((const char *)k->body.at, "ok");
    CHECK_HAS(k->server, "restate-sdk-c/");
    for (unsigned version = 5; version <= 7; version++) {
        char type[64];
        k = invoke_as(c, version, "echo");
        given_input("my-data");
        end(k);
        UNTIL(k->closed);
        CHECK_INT(k->status, 200);
        snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", version);
        CHECK_STR(k->type, type);
        SAYS(k, "Output value \"my-data\"", "End");
    }
    down();
}

#define V "application/vnd.restate.invocation.v"

TEST(refusals) {
    static const struct { const char *method, *path, *type; int status; const char *text; } cases[] = {
        { "POST", "/nope", V "7", 404, "/nope" }, { "POST", "/", V "7", 404, "/invoke" },
        { "POST", "/invoke/S", V "7", 404, "/invoke" }, { "POST", "/invoke/S/echo/", V "7", 404, "/invoke" },
        { "POST", "/invoke//echo", V "7", 404, "service" }, { "POST", "/invoke/S/", V "7", 404, "handler" },
        { "GET", "/discover/", NULL, 404, "/discover/" }, { "GET", "/healthy", NULL, 404, "/healthy" },
        { "GET", "/invoke/S/echo", V "7", 405, "POST" }, { "PUT", "/invoke/S/echo", V "7", 405, "POST" },
        { "post", "/invoke/S/echo", V "7", 405, "POST" },
        { "POST", "/discover", NULL, 405, "GET" }, { "POST", "/health", NULL, 405, "GET" },
        { "POST", "/invoke/S/echo", NULL, 415, "missing" }, { "POST", "/invoke/S/echo", "application/json", 415, "ingress" },
        { "POST", "/invoke/S/echo", "", 415, "ingress" }, { "POST", "/invoke/S/echo", "x", 415, "ingress" },
        { "POST", "/invoke/S/echo", V "4", 415, "v4" }, { "POST", "/invoke/S/echo", V "8", 415, "v8" },
        { "POST", "/invoke/S/echo", V "1", 415, "register" }, { "POST", "/invoke/S/echo", V "", 415, "v5 to v7" },
        { "POST", "/invoke/S/echo", V "77", 415, "v77" }, { "POST", "/invoke/S/echo", V "7; charset=x", 415, "v7; charset=x" },
        { "POST", "/invoke/S/echo", V "07", 415, "v07" }, { "POST", "/invoke/S/echo", V "x", 415, "vx" },
        { "POST", "/invoke/S/echo", "Application/vnd.restate.invocation.v7", 415, "ingress" },
        { "POST", "/invoke/S/echo", "application/vnd.restate.invocation.V7", 415, "ingress" },
        { "POST", "/invoke/S/echo", "APPLICATION/VND.RESTATE.INVOCATION.V7", 415, "ingress" },
        { "POST", "/invoke/T/echo", V "7", 404, "T" }, { "POST", "/invoke/s/echo", V "7", 404, "s" },
        { "POST", "/invoke/S/nope", V "7", 404, "nope" }, { "POST", "/invoke/S/Echo", V "7", 404, "Echo" },
        { "POST", "/invoke/S/echo%20", V "7", 404, "echo%20" }, { "POST", "/invoke/T/echo", V "8", 415, "v8" }
    };
    client *c;
    up(.threads = 1);
    c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int body = 0; body < 3; body++) {      /* none, there before the answer, going on after it */
            call *k = request(c, cases[i].method, cases[i].path, cases[i].type ? "content-type" : NULL, cases[i].type);
            note("(%s %s as %s, %d)", cases[i].method, cases[i].path, cases[i].type ? cases[i].type : "-", body);
            if (body == 0) k->over = true;
            if (body == 1) given_input("x"), end(k);
            if (body == 2) {
                UNTIL(k->answered);
                given_input("x");
                end(k);
            }
            UNTIL(k->closed);
            CHECK_INT(k->status, cases[i].status);
            CHECK_STR(k->type, "application/json");
            CHECK_STR(k->allow, k->status != 405 ? "" : strstr(cases[i].path, "invoke") ? "POST" : "GET, HEAD");
            CHECK_HAS(k->server, "restate-sdk-c/");
            CHECK_HAS((const char *)k->body.at, "{\"message\":\"");
            CHECK_HAS((const char *)k->body.at, cases[i].text);
            CHECK_INT(k->code, 0);
            if (body == 2) GOOD(c);
        }
    test_note = "";
    down();
}

/* Bytes in a path or a type that JSON has to escape, or that are no UTF-8. */
TEST(refusals_of_strange_bytes) {
    client *c;
    up(.threads = 1);
    c = dial();
    call *k = request(c, "POST", "/invoke/S/echo", "content-type", "\"quoted\" \xff\x80 text");
    end(k);
    UNTIL(k->closed || c->gone);
    CHECK_INT(k->status, 415);
    CHECK_HAS((const char *)k->body.at, "{\"message\":\"");
    GOOD(c);
    k = request(c, "POST", "/invoke/S/%22\xc3\xa9", "content-type", V "7");
    end(k);
    UNTIL(k->closed || c->gone);
    CHECK(k->status == 404 || k->code != 0);
    GOOD(c);
    down();
}

TEST(paths) {
    static const struct { const char *method, *path; int status; } cases[] = {     /* scenario 138 */
        { "POST", "/invoke/S/echo", 200 }, { "POST", "/p/q/invoke/S/echo", 200 }, { "POST", "/invoke/S/echo?x=/a/b", 200 },
        { "POST", "/invoke/invoke/S/echo", 200 }, { "GET", "/discover", 200 }, { "GET", "/p/discover?x", 200 },
        { "GET", "/health", 200 }, { "GET", "/a/b/c/d/health", 200 }, { "GET", "//health", 200 }
    };
    client *c;
    up(.threads = 1);
    c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool get = cases[i].method[0] == 'G';
        call *k = request(c, cases[i].method, cases[i].path, get ? "accept" : "content-type",
                          get ? "application/vnd.restate.endpointmanifest.v4+json" : V "7");
        test_note = cases[i].path;
        if (!get) given_input("p");
        end(k);
        UNTIL(k->closed);
        CHECK_INT(k->status, cases[i].status);
        if (!get) SAYS(k, "Output value \"p\"", "End");
    }
    test_note = "";
    GOOD(c);
    down();
}

/* An answer to HEAD has no body, whatever its status. */
TEST(head_request) {
    client *c;
    up(.threads = 1);
    c = dial();
    for (int i = 0; i < 2; i++) {
        call *k = request(c, "HEAD", i ? "/nope" : "/health", NULL, NULL);
        k->over = true;
        UNTIL(k->closed || c->gone);
        CHECK_INT(k->status, i ? 404 : 200);
        CHECK_INT(k->body.len, 0);
        CHECK_INT(k->code, 0);
        GOOD(c);
    }
    down();
}

#define M "application/vnd.restate.endpointmanifest.v"

TEST(discovery) {
    static const struct { const char *accept; int status; const char *type; } cases[] = {   /* scenario 140 */
        { M "1+json, " M "2+json, " M "3+json, " M "4+json", 200, M "4+json" }, { M "2+json", 200, M "2+json" },
        { M "3+json", 200, M "3+json" }, { M "4+json," M "2+json", 200, M "4+json" },
        { M "2+json \t,\t " M "3+json", 200, M "3+json" }, { "text/html, " M "3+json", 200, M "3+json" },
        { M "9+json, " M "4+json", 200, M "4+json" }, { M "1+json", 415, NULL }, { M "5+json", 415, NULL },
        { "application/json", 415, NULL }, { "*/*", 415, NULL }, { "", 415, NULL }, { ",,,", 415, NULL },
        { M "4", 415, NULL }, { M "4+jsonx", 415, NULL }, { NULL, 415, NULL }
    };
    client *c;
    up(.threads = 1);
    c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        call *k = request(c, "GET", "/discover", cases[i].accept ? "accept" : NULL, cases[i].accept);
        test_note = cases[i].accept ? cases[i].accept : "no accept";
        k->over = true;
        UNTIL(k->closed);
        CHECK_INT(k->status, cases[i].status);
        CHECK_STR(k->type, cases[i].type ? cases[i].type : "application/json");
        CHECK_HAS(k->server, "restate-sdk-c/");
        if (cases[i].type) {
            CHECK_HAS((const char *)k->body.at, "{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,");
            CHECK_HAS((const char *)k->body.at, "\"name\":\"S\"");
        }
        GOOD(c);
    }
    test_note = "";
    down();
}

/* Options that a manifest version does not have: 500 there, told in a newer one. */
TEST(discovery_needs_newer_version) {
    const restate_service retries = { .name = "R", .options.retry.max_attempts = 3,
                                             .handlers = RESTATE_HANDLERS({ .name = "echo", .fn = echo }) };
    client *c;
    up(.threads = 1, .services = RESTATE_SERVICES(&retries));
    c = dial();
    for (unsigned version = 2; version <= 4; version++) {
        char accept[80];
        call *k;
        snprintf(accept, sizeof accept, M "%u+json", version);
        k = request(c, "GET", "/discover", "accept", accept);
        k->over = true;
        UNTIL(k->closed);
        CHECK_INT(k->status, version < 4 ? 500 : 200);
        CHECK_HAS((const char *)k->body.at, version < 4 ? "upgrade the server" : "retryPolicyMaxAttempts");
    }
    down();
}

/* ---- Frames that are wrong --------------------------------------------------------------------------------- */

/* The script is answered by an error, before and after which the connection is good. */
static void fails_with(client *c, const char *handler, const char *error, const char *prelude) {
    for (int more = 0; more < 2; more++) {          /* the request ends, or goes on for a while */
        call *k = invoke(c, handler);
        give(k, rt_script.at, rt_script.len);
        if (more) {
            UNTIL(k->answered);
            given_input("this is ignored");
            give(k, rt_script.at, rt_script.len);
        }
        k->over = true;
        resume(k);
        UNTIL(k->closed);
        CHECK_INT(k->status, 200);
        CHECK_INT(k->code, 0);
        if (!prelude) SAYS(k, error);
        else SAYS(k, prelude, "? AwaitingOn W{c:1,s:1}", error);
        if (!more) {
            rt_bytes again = { NULL, 0, 0 };        /* GOOD has a script of its own */
            rt_add(&again, rt_script.at, rt_script.len);
            rt_script.len = 0;
            GOOD(c);
            rt_add(&rt_script, again.at, again.len);
            rt_drop(&again);
        } else {
            rt_script.len = 0;
            GOOD(c);
        }
    }
}

TEST(unknown_types_in_preflight) {
    static const struct { unsigned type, code; } cases[] = {
        { 0x0020, 500 }, { M_COMMAND_ACK, 500 }, { 0x03FF, 500 }, { 0xFC00, 571 }, { 0xFC01, 571 }, { 0xFFFF, 571 },
        { M_SUSPENSION, 571 }, { M_ERROR, 571 }, { M_END, 571 }, { M_PROPOSE, 571 }, { M_AWAITING_ON, 571 },
        { M_START, 571 }, { 0x0415, 570 }, { 0x7FFF, 570 }
    };
    client *c;
    up(.threads = 1);
    c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char error[40];
        note("(type %04X)", cases[i].type);
        snprintf(error, sizeof error, "Error %u...", cases[i].code);
        start(2);
        input("x");
        frame(cases[i].type, "");
        fails_with(c, "nap", error, NULL);
    }
    test_note = "";
    down();
}

TEST(unknown_types_later) {
    static const struct { unsigned type, code; } cases[] = {
        { 0x0020, 500 }, { M_COMMAND_ACK, 500 }, { M_SLEEP, 571 }, { 0x0415, 571 }, { 0xFC00, 571 }, { 0xFFFF, 571 },
        { M_SUSPENSION, 571 }, { M_START, 571 }, { M_ACK, 571 }
    };
    client *c;
    up(.threads = 1);
    c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char error[40];
        call *k = invoke(c, "nap");
        note("(type %04X)", cases[i].type);
        snprintf(error, sizeof error, "Error %u...", cases[i].code);
        given_input("x");
        send_on(k);
        UNTIL(frames_came(k, 2));
        SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
        frame(cases[i].type, cases[i].type == M_ACK ? "1u" : "", 7);
        send_on(k);
        UNTIL(k->answered);
        SAYS(k, error);
        end(k);
        UNTIL(k->closed);
        GOOD(c);
    }
    test_note = "";
    /* One that is not known is a notification like any other. */
    call *k = invoke(c, "nap");
    given_input("x");
    note_void(0x8020, 9);
    send_on(k);
    UNTIL(frames_came(k, 2));
    note_void(0xFB00, 10);
    note_sleep(1);
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Output value \"x\"", "End");
    down();
}

TEST(bad_protobuf) {
    static const unsigned commands[] = { M_OUTPUT, M_GET_LAZY, M_SET, M_CLEAR, M_CLEAR_ALL, M_GET_LAZY_KEYS, M_GET_EAGER,
        M_GET_EAGER_KEYS, M_GET_PROMISE, M_PEEK_PROMISE, M_COMPLETE_PROMISE, M_CALL, M_SEND, M_SEND_SIGNAL, M_RUN, M_ATTACH,
        M_GET_OUTPUT, M_COMPLETE_AWAKEABLE };
    static const unsigned notes[] = { N_GET_LAZY, N_GET_LAZY_KEYS, N_GET_PROMISE, N_PEEK_PROMISE, N_COMPLETE_PROMISE, N_SLEEP,
        N_CALL, N_CALL_ID, N_RUN, N_ATTACH, N_GET_OUTPUT, N_SIGNAL, 0x8020 };
    static const char *const bad[] = { "00000003ffffff", "0000000208ff", "0000000472000a7f" };
    client *c;
    up(.threads = 1);
    c = dial();
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        test_note = bad[b];
        if (b < 2) {
            rt_hex(&rt_script, "00000000"), rt_hex(&rt_script, bad[b]);
            fails_with(c, "nap", "Error 500...", NULL);
        }
        start(1);
        rt_hex(&rt_script, "04000000"), rt_hex(&rt_script, bad[b]);
        fails_with(c, "nap", "Error 500...", NULL);
        start(2), input("x");
        rt_hex(&rt_script, "040c0000"), rt_hex(&rt_script, bad[b]);
        if (b < 2) fails_with(c, "nap", "Error 500...", NULL);
        else rt_script.len = 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {      /* told by its type alone */
        char hex[40];
        snprintf(hex, sizeof hex, "%04x0000 00000003ffffff", commands[i]);
        note("(%s)", hex);
        start(2), input("x"), raw(hex);
        fails_with(c, "nap", "Error 570...", NULL);
    }
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        char hex[40];
        snprintf(hex, sizeof hex, "%04x0000 00000003ffffff", notes[i]);
        note("(%s)", hex);
        start(2), input("x"), raw(hex);
        fails_with(c, "nap", "Error 500...", NULL);
        given_input("x"), raw(hex);               /* behind the replay, but before the handler runs */
        fails_with(c, "nap", "Error 500...", NULL);
    }
    given_input("x"), raw("00070000 00000003 ffffff");
    fails_with(c, "nap", "Error 500...", NULL);
    test_note = "";
    down();
}

TEST(frame_of_4_gib) {
    static const uint8_t zeroes[200000];
    client *c;
    size_t before;
    up(.threads = 1);
    c = dial();
    GOOD(c);
    PUT(peak, GET(live));
    before = rss();
    for (int i = 0; i < 4; i++) {
        call *k = invoke(c, "nap");
        const char *const heads[] = { "00000000ffffffff", "04000000ffffffff", "800c0000ffffffff", "80200000ffffffff" };
        if (i) start(2);
        if (i > 1) input("x");
        raw(heads[i]);
        send_on(k);
        UNTIL(k->answered);                 /* nobody waits for the rest */
        SAYS(k, "Error 571...");
        give(k, zeroes, sizeof zeroes);
        end(k);
        UNTIL(k->closed);
        GOOD(c);
    }
    call *k = invoke(c, "nap");             /* and while the handler waits */
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    raw("800c0000ffffffff");
    send_on(k);
    UNTIL(k->answered);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Error 571...");
    end(k);
    UNTIL(k->closed);
    GOOD(c);
    CHECK(GET(peak) < GET(live) + MIB);
    if (RSS_COUNTS) CHECK(rss() < before + 8 * MIB);
    down();
}

/* Large messages that are announced and never come cost no memory, as far as the system goes along. */
TEST(large_frames_that_do_not_come) {
    client *c;
    size_t before;
    up(.threads = 1);
    c = dial();
    GOOD(c);
    before = rss();
    for (int i = 0; i < 50; i++) {
        call *k = invoke(c, "nap");
        raw("00000000 02000000 0a");
        send_on(k);
    }
    settle(c);
    GOOD(c);
    if (RSS_COUNTS) CHECK(rss() < before + 16 * MIB);
    down();
}

/* Nor the endpoint's own: what it holds grows with what has arrived, whatever was announced. */
TEST(memory_grows_with_what_arrives) {
    static const uint8_t zeroes[100000];
    static const char *const heads[] = { "00000000 04000000", "04000000 04000000", "04080000 04000000", "800c0000 04000000" };
    client *c;
    size_t before;
    up(.threads = 1);
    c = dial();
    GOOD(c);
    for (size_t sent = 0; sent <= sizeof zeroes; sent = sent ? sent * 10 : 1000)
        for (unsigned i = 0; i < 4; i++) {
            call *k = invoke(c, "nap");
            note("(%u bytes of a body, head %u)", (unsigned)sent, i);
            if (i) start(3);
            if (i > 1) input("x");
            settle(c);
            PUT(peak, GET(live));
            before = GET(live);
            raw(heads[i]);
            send_on(k);
            settle(c);
            for (size_t at = 0; at < sent; at += 1000) give(k, zeroes, 1000), settle(c);
            CHECK(GET(live) <= before + 4 * sent + 16384);       /* with what is kept for reuse */
            CHECK(GET(peak) <= before + 4 * sent + 16384);
            reset(k);
            settle(c);
        }
    test_note = "";
    GOOD(c);
    down();
}

TEST(message_limit) {
    client *c;
    up(.threads = 1, .max_message_bytes = 1000);
    c = dial();
    for (unsigned size = 990; size <= 1010; size++) {
        char *text = (char *)calloc(1, size);
        call *k = invoke(c, "echo");
        size_t payload;
        memset(text, 'x', size - 1);
        given_input(text);
        payload = size - 1 + 6;             /* two tags with lengths of two bytes */
        end(k);
        UNTIL(k->closed);
        if (payload <= 1000) SAYS(k, "Output value...", "End");
        else SAYS(k, "Error 571 ...");
        free(text);
    }
    GOOD(c);
    down();
}

/* A request for naps(): the first sleep is replayed, the second one is completed live. */
static rt_bytes nap_body(size_t *replay) {
    rt_bytes b;
    rt_script.len = 0;
    start(3), input("x"), cmd_sleep(1, "", 5), note_sleep(1);
    *replay = rt_script.len;
    note_sleep(2);
    b = rt_script;
    memset(&rt_script, 0, sizeof rt_script);
    return b;
}

/* ---- Peers that take their time ------------------------------------------------------------------------- */

/* A peer that says nothing and does not answer is gone, with what it held; one that answers may be idle. */
TEST(silent_peers_are_gone) {
    client *idle, *silent;
    call *k, *napping;
    up(.threads = 1, .peer_timeout_ms = 600);
    idle = dial();
    napping = invoke(idle, "nap");
    given_input("x");
    send_on(napping);
    silent = dial();
    k = invoke(silent, "nap");
    given_input("x");
    send_on(k);
    UNTIL(GET(started) == 2);
    settle(silent);
    silent->deaf = true;
    UNTIL(GET(ended) == 1 && GET(ep->invocations) == 1);
    UNTIL(GET(ep->server->loops[0].conn_count) == 1);
    pump_for(700);
    CHECK(!idle->gone && !napping->closed);
    GOOD(idle);
    CHECK(GET(peer_lines) >= 1);
    down();
}

/* What begins and does not go on: a connection is closed, a stream is reset. `how` many bytes of what. */
static void begin_slowly(wire *w, int how) {
    static const char *const hellos[] = { "", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /hea", "GET /health HTTP/1.1\r\nx: y\r\n" };
    rt_bytes get = raw_headers("GET", "/health");
    wire_open(w);
    raw_out.len = 0;
    if (how < 5) {
        rt_add(&raw_out, hellos[how], strlen(hellos[how]));
    } else {
        put_preface();
        put_frame(NGHTTP2_HEADERS, how == 5 ? 1 : 0, 1, get.at, how == 5 ? get.len : 10);   /* not the last of them */
    }
    wire_flush(w);
    rt_drop(&get);
}

TEST(slow_beginnings) {
    wire w[7];
    call *k[6];
    client *c;
    rt_bytes body;
    size_t replay;
    up(.threads = 1, .request_timeout_ms = 500);
    for (int i = 0; i < 7; i++) begin_slowly(&w[i], i);
    body = nap_body(&replay);
    c = dial();
    for (int i = 0; i < 4; i++) {                   /* of a journal: nothing, a byte, half, all but a byte */
        const size_t parts[4] = { 0, 1, replay / 2, replay - 1 };
        k[i] = invoke(c, "naps");
        give(k[i], body.at, parts[i]);
    }
    k[4] = request(c, "POST", "/nope", NULL, NULL); /* refused, and its body does not end */
    k[5] = invoke(c, "naps");                       /* whose journal is there may take all the time */
    give(k[5], body.at, replay);
    for (int i = 0; i < 7; i++) {
        note("(beginning %d)", i);
        while (wire_more(&w[i])) continue;
        CHECK(w[i].gone);
        wire_close(&w[i]);
    }
    test_note = "";
    for (int i = 0; i < 5; i++) {
        UNTIL(k[i]->closed);
        CHECK_INT(k[i]->code, i < 4 ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR);
        CHECK_INT(k[i]->status, i < 4 ? 200 : 404);
        if (i < 4) CHECK_INT(k[i]->body.len, 0);
    }
    pump_for(300);
    CHECK(!k[5]->closed && !c->gone);
    CHECK_INT(GET(ep->invocations), 1);
    CHECK_INT(GET(failed_lines), 0);
    CHECK(GET(peer_lines) >= 8);
    GOOD(c);
    rt_drop(&body);
    down();
}

/* A journal that arrives slowly but steadily is let arrive. */
TEST(steady_journal) {
    static char text[3000];
    client *c;
    call *k;
    up(.threads = 1, .request_timeout_ms = 500);
    c = dial();
    k = invoke(c, "echo");
    memset(text, 'x', sizeof text - 1);
    given_input(text);
    for (size_t at = 0; at < rt_script.len; at += 50) {
        give(k, rt_script.at + at, rt_script.len - at < 50 ? rt_script.len - at : 50);
        pump_for(25);
    }
    rt_script.len = 0;
    end(k);
    UNTIL(k->closed);
    CHECK_INT(k->code, 0);
    SAYS(k, "Output value...", "End");
    down();
}

/* Answers that nobody takes: of a stream, and of a connection. */
TEST(answers_that_nobody_takes) {
    client *shut, *deaf, *c;
    call *k[4];
    up(.threads = 1, .send_timeout_ms = 500);
    c = dial();
    shut = dial_to(.window = -1);
    k[0] = invoke(shut, "echo");
    given_input("x");
    end(k[0]);
    k[1] = request(shut, "GET", "/nope", NULL, NULL);
    k[1]->over = true;
    k[2] = invoke(shut, "flood_then_nap");          /* and one that is not at its end */
    given_input("10 100");
    send_on(k[2]);
    k[3] = invoke_as(shut, 6, "nap");                   /* takes its time, too, but says nothing */
    start(2), input("x"), cmd_sleep(1, "", 99999999999u);
    send_on(k[3]);
    deaf = dial_to(.rcvbuf = 4096, .window = 100 << 20, .room = 100 << 20);
    for (int i = 0; i < 8; i++) {
        call *f = invoke(deaf, "flood");
        given_input("100 60000");
        end(f);
    }
    client_send(deaf);
    deaf->deaf = true;
    for (int i = 0; i < 3; i++) {
        UNTIL(k[i]->closed);
        CHECK_INT(k[i]->code, NGHTTP2_CANCEL);
    }
    UNTIL(GET(ep->server->loops[0].conn_count) == 2);
    CHECK(!shut->gone && !k[3]->closed);
    GOOD(c);
    CHECK(GET(peer_lines) >= 4);
    down();
}

/* A refusal is kept, its request is not. */
TEST(refusals_hold_little) {
    static const struct { const char *method, *path, *type; } cases[] = {
        { "POST", "/nope", V "7" }, { "PUT", "/health", V "7" }, { "GET", "/invoke/S/echo", V "7" },
        { "POST", "/invoke/S/echo", "text/x" }, { "POST", "/invoke/S/echo", V "9" }, { "POST", "/invoke/S/nope", V "7" }, { "GET", "/discover", "x" } };
    char *large = (char *)malloc(60001);
    client *c;
    size_t before, n = 0;
    memset(large, 'y', 60000), large[60000] = 0;
    up(.threads = 1);
    c = dial_to(.window = -1);
    for (int round = 0; round < 2; round++) {
        if (round) settle(c);
        before = GET(live);
        for (int i = 0; i < 70; i++) {
            char path[400];
            call *k;
            snprintf(path, sizeof path, "/%.300s%s", i % 2 ? large : "", cases[i % 7].path);
            k = request(c, cases[i % 7].method, i % 2 ? path : cases[i % 7].path, i % 3 ? "x-large" : "content-type",
                        i % 3 ? large : cases[i % 7].type);
            k->over = true;
            settle(c);
            n += k->status >= 400;
        }
        if (round) CHECK(GET(live) - before < 70 * 1024);
    }
    CHECK_INT(n, 140);
    if (GET(live) - before >= 70 * 1024) note("(%u each)", (unsigned)(GET(live) - before) / 70);
    free(large);
    ALIVE();
    down();
}

TEST(connection_limit) {
    client *c[3];
    wire w;
    up(.threads = 2, .max_connections = 3);
    for (int i = 0; i < 3; i++) c[i] = dial(), GOOD(c[i]);
    for (int i = 0; i < 100; i++) {
        wire_open(&w);
        while (wire_more(&w)) continue;
        CHECK(w.gone && w.in.len == 0);
        wire_close(&w);
    }
    CHECK(GET(peer_lines) >= 1 && GET(peer_lines) <= 100);
    for (int i = 0; i < 3; i++) GOOD(c[i]);
    hang_up(c[1]);
    UNTIL(GET(ep->server->loops[0].conn_count) + GET(ep->server->loops[1].conn_count) == 2);
    c[1] = dial();
    GOOD(c[1]);
    down();
}

/* An event loop of the user's wakes for all of it, too. */
TEST(hosted_timeouts) {
    client *silent;
    wire w;
    up_hosted(.peer_timeout_ms = 400, .request_timeout_ms = 300);
    wire_open(&w);
    while (wire_more(&w)) continue;
    CHECK(w.gone);
    wire_close(&w);
    silent = dial();
    GOOD(silent);
    silent->deaf = true;
    UNTIL(GET(ep->server->loops[0].conn_count) == 0);
    down();
}

/* ---- Text of a peer, and how much of it is logged ------------------------------------------------------- */

/* A stream takes any bytes, where nghttp2 would refuse some. */
static void refuse_over_stream(const char *method, const char *path, const char *type, uint16_t status) {
    const restate_pair headers[] = { { "content-type", type }, { "accept", type }, { NULL, NULL } };
    const restate_http_request r = { .method = method, .path = path, .headers = headers };
    restate_stream *s = restate_stream_open(ep, &r);
    restate__json_scan scan;
    restate_bytes body;
    uint16_t got;
    restate_stream_take(s, &body, &got, NULL);
    CHECK_INT(got, status);
    scan = restate__json_scan_of(body);
    CHECK(restate__json_document(&scan));
    CHECK(restate__b_utf8(body));
    for (size_t i = 0; i < body.len; i++) CHECK(body.ptr[i] >= 0x20 && body.ptr[i] != 0x7F);
    restate_stream_free(s);
}

TEST(strange_text_is_cleaned) {
    static const char *const strange[] = { "\xff\x80", "a\x1b[31mb", "x\r\nINFO forged", "\x01\x7f\t", "\xc2\x9b" "2J",
                                           "\xe2\x80\xae", "\xe2\x81\xa6", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                           "\xc0\xaf", "\xe2\x82", "\xf0\x9f\x98", "\"\\", "%s%n" };
    static const char *const prefixes[] = { "", "/invoke/", "/invoke/S/", "/p" };
    up(.threads = 1);
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        note("(text %u)", (unsigned)i);
        for (size_t k = 0; k < sizeof prefixes / sizeof *prefixes; k++) {
            char path[80];
            snprintf(path, sizeof path, "%s%s%s", prefixes[k], strange[i], k == 1 ? "/echo" : "");
            refuse_over_stream("POST", path, V "7", 404);
        }
        refuse_over_stream(strange[i], "/invoke/S/echo", V "7", 405);
        refuse_over_stream(strange[i], "/health", V "7", 405);
        refuse_over_stream("POST", "/invoke/S/echo", strange[i], 415);
        refuse_over_stream("GET", "/discover", strange[i], 415);
    }
    refuse_over_stream("GET", "/\xe2\x82\xac", "x", 404);  /* but this is only a letter */
    test_note = "";
    down();
}

/* Names that the server recorded are shown in errors, its ids in the log. */
TEST(strange_text_of_a_journal_is_cleaned) {
    client *c;
    call *k;
    up(.threads = 1);
    c = dial();
    k = invoke(c, "steps");
    start(2, .debug_id = "inv_\x1b[31m\nx"), input("x"), cmd_run(1, "a\x1b[2J\nb");
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Error 570...");
    CHECK(memchr(k->body.at, 0x1b, k->body.len) == NULL);
    down();
}

/* However often a peer makes the endpoint say it: so many lines, and the number of the others. */
TEST(log_lines_are_limited) {
    client *c;
    up(.threads = 1);
    c = dial();
    for (int i = 0; i < 1000; i++) {
        call *k = request(c, i & 1 ? "GET" : "POST", i & 1 ? "/nope" : "/health", NULL, NULL);
        k->over = true;
        if (i % 100 == 99) UNTIL(k->closed);
    }
    settle(c);
    CHECK(GET(refused_lines) >= 2 && GET(refused_lines) <= 200);
    for (int i = 0; i < 1000; i++) {
        call *k = invoke(c, "echo");
        raw("12340000 00000000");
        end(k);
        if (i % 100 == 99) UNTIL(k->closed);
    }
    settle(c);
    CHECK(GET(failed_lines) >= 1 && GET(failed_lines) <= 500);
    while (clients) hang_up(clients);
    UNTIL(GET(ep->invocations) == 0);
    restate_endpoint_stop(ep);
    stopped();
    CHECK_INT(GET(refused_lines) + GET(failed_lines) + GET(left_out), 2000);
}

/* ---- Where the input ends --------------------------------------------------------------------------------- */

TEST(input_ends_at_every_byte) {
    size_t replay, n;
    rt_bytes all;
    client *c;
    up(.threads = 1);
    c = dial();
    all = nap_body(&replay);
    for (int apart = 0; apart < 2; apart++)         /* END_STREAM with the last bytes, or in an empty frame */
        for (n = 0; n <= all.len; n++) {
            call *k = invoke(c, "naps");
            note("(%u of %u bytes, %d)", (unsigned)n, (unsigned)all.len, apart);
            give(k, all.at, n);
            if (apart) settle(c);
            end(k);
            UNTIL(k->closed);
            CHECK_INT(k->status, 200);
            CHECK_INT(k->code, 0);
            CHECK_INT(k->empty, 0);
            if (n < replay) SAYS(k, "Error 571...");
            else if (n < all.len) SAYS(k, "Sleep 2 wake:...", "? AwaitingOn W{c:2,s:1}", "Suspension W{c:2,s:1}");
            else SAYS(k, "Sleep 2 wake:...", "? AwaitingOn W{c:2,s:1}", "Output value \"x\"", "End");
        }
    test_note = "";
    GOOD(c);
    rt_drop(&all);
    down();
}

/* The input stops at any byte, stays open, and goes on: all at the same time, on one connection. */
TEST(input_pauses_at_every_byte) {
    size_t replay, n;
    rt_bytes all;
    call *k[256];
    client *c;
    up(.threads = 1);
    c = dial();
    all = nap_body(&replay);
    CHECK(all.len < 200);
    for (n = 0; n <= all.len; n++) {
        k[n] = invoke(c, "naps");
        give(k[n], all.at, n);
    }
    settle(c);
    GOOD(c);
    CHECK_INT(GET(started), all.len + 1 - replay);
    for (n = 0; n <= all.len; n++) {
        CHECK_INT(k[n]->status, 200);               /* the head comes before the journal is complete */
        CHECK_INT(k[n]->answered, n == all.len);
        if (n < replay) CHECK_INT(k[n]->body.len, 0);
        else if (n < all.len) SAYS(k[n], "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
    }
    for (n = 0; n <= all.len; n++) {
        give(k[n], all.at + n, all.len - n);
        if (n % 2) end(k[n]);
    }
    for (n = 0; n <= all.len; n++) {
        UNTIL(k[n]->answered);
        if (!(n % 2)) end(k[n]);
        UNTIL(k[n]->closed);
        if (n < replay || n == all.len) SAYS(k[n], "Sleep 2 wake:...", "? AwaitingOn W{c:2,s:1}", "Output value \"x\"", "End");
        else SAYS(k[n], "Output value \"x\"", "End");
        CHECK_INT(k[n]->empty, 0);
    }
    CHECK_INT(GET(ended), 0);
    rt_drop(&all);
    down();
}

TEST(reset_at_every_byte) {
    size_t replay, n;
    rt_bytes all;
    client *c;
    up(.threads = 1);
    c = dial();
    all = nap_body(&replay);
    for (int pause = 0; pause < 2; pause++)
        for (n = 0; n <= all.len; n++) {
            call *k = invoke(c, "naps");
            give(k, all.at, n);
            client_send(c);
            if (pause) settle(c);
            reset(k);
            if (n % 16 == 0) GOOD(c);
        }
    settle(c);
    UNTIL(GET(ep->invocations) == 0);
    CHECK(GET(started) >= all.len + 1 - replay);
    CHECK(GET(started) - GET(ended) <= 2);          /* those that had all of it */
    GOOD(c);
    rt_drop(&all);
    down();
}

TEST(disconnects_at_every_byte) {
    size_t replay, n;
    rt_bytes all;
    up(.threads = 1);
    all = nap_body(&replay);
    for (n = 0; n <= all.len; n += SLOW > 4 ? 5 : 1) {
        client *c = dial();
        call *k = invoke(c, "naps");
        give(k, all.at, n);
        if (n % 2) settle(c);
        else client_send(c);
        hang_up(c);
    }
    ALIVE();
    UNTIL(GET(ep->invocations) == 0);
    UNTIL(GET(ep->server->loops[0].conn_count) == 0);
    CHECK(GET(ended) <= GET(started));
    rt_drop(&all);
    down();
}

TEST(bytewise) {
    client *c;
    up(.threads = 1);
    c = dial();
    for (size_t piece = 1; piece < 20; piece += 2) {
        call *k = invoke(c, "nap");
        k->piece = piece;
        start(3, .key = "k", .state = "a=1;b=22"), input("some-more-data"), cmd_sleep(1, "", 9), note_sleep(1);
        end(k);
        UNTIL(k->closed);
        SAYS(k, "Output value \"some-more-data\"", "End");
        CHECK_INT(k->frames, 1);
    }
    down();
}

/* Every byte of a connection in a write of its own, preface and headers included. */
TEST(connection_in_single_bytes) {
    wire w;
    h2_frame f;
    up(.threads = 1);
    wire_open(&w);
    put_preface();
    put_request(1, "/invoke/S/echo", false);
    given_input("tiny");
    for (size_t i = 0; i < rt_script.len; i++) put_frame(NGHTTP2_DATA, i + 1 == rt_script.len, 1, rt_script.at + i, 1);
    for (size_t i = 0; i < raw_out.len; i++) CHECK(wire_send(&w, raw_out.at + i, 1));
    CHECK(wire_until(&w, NGHTTP2_HEADERS, 1, &f));
    CHECK_INT(f.status, 200);
    CHECK(wire_until(&w, NGHTTP2_DATA, 1, &f));
    CHECK_INT(f.flags, 1);
    CHECK(f.len > 8 && memcmp(f.at, "\x04\x01", 2) == 0);
    wire_close(&w);
    down();
}

/* ---- Several at a time ------------------------------------------------------------------------------------- */

TEST(interleaved) {
    enum { N = 12 };
    call *k[N];
    rt_bytes body[N];
    client *c;
    size_t longest = 0;
    up(.threads = 1);
    c = dial();
    for (unsigned i = 0; i < N; i++) {
        char text[80];
        memset(text, 'a' + (int)i, sizeof text);
        text[5 * i + 1] = 0;
        k[i] = invoke_as(c, 5 + i % 3, "echo");
        given_input(text);
        body[i] = rt_script;
        memset(&rt_script, 0, sizeof rt_script);
        if (body[i].len > longest) longest = body[i].len;
    }
    for (size_t at = 0; at < longest; at++) {
        for (unsigned i = 0; i < N; i++)
            if (at < body[i].len) give(k[i], body[i].at + at, 1);
        client_send(c);
        if (at % 10 == 0) settle(c);
    }
    for (unsigned i = 0; i < N; i++) {
        char want[120];
        UNTIL(k[i]->answered);
        end(k[i]);
        UNTIL(k[i]->closed);
        snprintf(want, sizeof want, "Output value \"%.*s\"", (int)(5 * i + 1), (const char *)body[i].at + body[i].len - 5 * i - 1);
        SAYS(k[i], want, "End");
        rt_drop(&body[i]);
    }
    down();
}

TEST(hundred_streams) {
    enum { N = 100 };
    call *k[N];
    client *c;
    up(.threads = 1);
    c = dial();
    for (unsigned i = 0; i < N; i++) {
        char text[8];
        k[i] = invoke(c, "nap");
        snprintf(text, sizeof text, "%u", i);
        given_input(text);
        send_on(k[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        UNTIL(frames_came(k[i], 2));
        SAYS(k[i], "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
    }
    CHECK_INT(GET(ep->invocations), N);
    for (unsigned i = N; i-- > 0;) {
        char want[40];
        note_sleep(1);
        end(k[i]);
        UNTIL(k[i]->closed);
        snprintf(want, sizeof want, "Output value \"%u\"", i);
        SAYS(k[i], want, "End");
        CHECK_INT(k[i]->empty, 0);
    }
    GOOD(c);
    down();
}

TEST(streams_beyond_the_limit) {
    call *k[12];
    unsigned refused = 0, waiting = 0;
    wire w;
    h2_frame f;
    client *c;
    up(.threads = 1, .max_streams = 10);
    wire_open(&w);                          /* all at once, before the limit is known */
    put_preface();
    for (uint32_t i = 0; i < 14; i++) {
        put_request(2 * i + 1, "/invoke/S/nap", false);
        given_input("x");
        put_frame(NGHTTP2_DATA, 0, 2 * i + 1, rt_script.at, rt_script.len);
        rt_script.len = 0;
    }
    wire_flush(&w);
    for (unsigned taken = 0; taken + refused < 14;) {
        CHECK(wire_frame(&w, &f));
        if (w.gone) break;
        taken += f.type == NGHTTP2_HEADERS;
        refused += f.type == NGHTTP2_RST_STREAM && f.at[3] == NGHTTP2_REFUSED_STREAM;
    }
    CHECK_INT(refused, 4);
    UNTIL(GET(started) == 10);
    wire_close(&w);
    UNTIL(GET(ended) == 10);
    c = dial();                             /* a client that knows it has the others wait */
    settle(c);
    for (unsigned i = 0; i < 12; i++) {
        k[i] = invoke(c, "nap");
        given_input("x");
        send_on(k[i]);
    }
    for (unsigned i = 0; i < 10; i++) UNTIL(frames_came(k[i], 2));
    settle(c);
    for (unsigned i = 0; i < 12; i++) waiting += !k[i]->status;
    CHECK_INT(waiting, 2);
    for (unsigned i = 0; i < 12; i++) {
        UNTIL(frames_came(k[i], 2));
        note_sleep(1);
        end(k[i]);
        UNTIL(k[i]->closed);
        SAYS(k[i], "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Output value \"x\"", "End");
    }
    down();
}

TEST(too_many_invocations) {
    call *k[3], *extra;
    client *c;
    up(.threads = 1, .max_invocations = 3);
    c = dial();
    for (int i = 0; i < 3; i++) {
        k[i] = invoke(c, "nap");
        given_input("x");
        send_on(k[i]);
        UNTIL(frames_came(k[i], 2));
    }
    for (int i = 0; i < 3; i++) {
        extra = invoke(c, "echo");
        given_input("x");
        end(extra);
        UNTIL(extra->closed);
        CHECK_INT(extra->status, 503);
        CHECK_HAS((const char *)extra->body.at, "max_invocations");
        CHECK_INT(extra->code, 0);
    }
    extra = request(c, "GET", "/health", NULL, NULL);
    end(extra);
    UNTIL(extra->closed);
    CHECK_INT(extra->status, 200);
    note_sleep(1);
    end(k[1]);
    UNTIL(k[1]->closed);
    GOOD(c);
    reset(k[0]);
    settle(c);
    GOOD(c), GOOD(c);
    down();
}

TEST(loops_share_the_connections) {
    enum { N = 12 };
    client *c[N];
    unsigned on[16] = { 0 };
    up(.threads = 4);
    for (int i = 0; i < N; i++) {
        c[i] = dial();
        settle(c[i]);
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < N; i++) {
            call *k = invoke(c[i], "where");
            unsigned thread = 99;
            given_input("?");
            end(k);
            UNTIL(k->closed);
            if (k->body.len > 12) thread = k->body.at[12] - (unsigned)'0';
            CHECK(thread < 4);
            if (thread < 16) on[thread]++;
        }
    CHECK_INT(seen_count, 4);
    for (int i = 0; i < 4; i++) CHECK_INT(on[i], 2 * N / 4);
    for (int i = 0; i < N; i++) {
        call *k = invoke(c[i], "nap");
        given_input("?");
        send_on(k);
    }
    UNTIL(GET(started) == N);
    for (int i = 0; i < N; i++) hang_up(c[i]);
    UNTIL(GET(ended) == N);
    down();
}

/* ---- Flow control ------------------------------------------------------------------------------------------ */

/* The commands of flood(), all of them, in their order, and what follows them. */
static void check_flood(call *k, unsigned n, unsigned size, unsigned last) {
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

TEST(small_windows) {
    static const struct { int window; const char *what; unsigned n, size; } cases[] = {
        { 1, "6 10", 6, 10 }, { 100, "100 100", 100, 100 }, { 1000, "20 5000", 20, 5000 }, { 70000, "100 20000", 100, 20000 }
    };
    up(.threads = 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client *c = dial_to(.window = cases[i].window);
        call *a = invoke(c, "flood"), *b;
        given_input(cases[i].what);
        send_on(a);
        b = invoke(c, "flood");
        given_input(cases[i].what);
        send_on(b);
        UNTIL(a->answered && b->answered);
        check_flood(a, cases[i].n, cases[i].size, M_OUTPUT);
        check_flood(b, cases[i].n, cases[i].size, M_OUTPUT);
        SAYS(a, "Output value \"\"", "End");
        CHECK_INT(a->empty + b->empty, 0);
        hang_up(c);
    }
    down();
}

TEST(closed_window) {
    nghttp2_settings_entry open_it = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 };
    client *c;
    call *k[20];
    up(.threads = 1);
    c = dial_to(.window = -1);
    for (int i = 0; i < 20; i++) {
        k[i] = invoke(c, i % 2 ? "echo" : "flood");
        given_input("500 1000");
        send_on(k[i]);
    }
    settle(c);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(k[i]->status, 200);
        CHECK_INT(k[i]->body.len, 0);
    }
    CHECK_INT(GET(ep->invocations) >= 10, 1);
    CHECK(GET(peak) < 10 * 400000 + MIB);           /* 256 KiB each, whatever they write */
    nghttp2_submit_settings(c->session, 0, &open_it, 1);
    for (int i = 0; i < 20; i++) {
        UNTIL(k[i]->answered);
        if (i % 2) SAYS(k[i], "Output value \"500 1000\"", "End");
        else check_flood(k[i], 500, 1000, M_OUTPUT);
        CHECK_INT(k[i]->empty, 0);
    }
    down();
}

/* One stream whose window is used up holds back nobody else. */
TEST(window_of_one_stream) {
    client *c;
    call *a, *b;
    up(.threads = 1);
    c = dial_to(.window = 65535, .keep_window = true, .room = INT32_MAX);
    a = invoke(c, "flood");
    given_input("200 10000");
    send_on(a);
    UNTIL(a->body.len == 65535);
    for (int i = 0; i < 20; i++) GOOD(c);
    b = invoke(c, "nap");
    given_input("b");
    send_on(b);
    UNTIL(frames_came(b, 2));
    CHECK_INT(a->body.len, 65535);
    CHECK(GET(peak) < 2 * MIB);
    nghttp2_submit_window_update(c->session, 0, a->id, 1);
    UNTIL(a->body.len == 65536);
    settle(c);
    CHECK_INT(a->body.len, 65536);
    nghttp2_submit_window_update(c->session, 0, a->id, 100 << 20);
    UNTIL(a->answered);
    check_flood(a, 200, 10000, M_OUTPUT);
    note_sleep(1);
    end(b);
    UNTIL(b->closed);
    SAYS(b, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Output value \"b\"", "End");
    down();
}

/* The window of the connection is used up: nothing more comes, and what is sent is still read. */
TEST(window_of_the_connection) {
    client *c;
    call *a, *b;
    up(.threads = 1);
    c = dial_to(.window = INT32_MAX, .keep_window = true, .room = 65535);
    a = invoke(c, "flood");
    given_input("200 10000");
    send_on(a);
    UNTIL(a->body.len == 65535);
    b = invoke(c, "nap");
    given_input("b");
    send_on(b);
    UNTIL(GET(started) == 2);
    note_sleep(1);
    send_on(b);
    settle(c);
    CHECK_INT(b->body.len, 0);
    CHECK(GET(peak) < 2 * MIB);
    nghttp2_submit_window_update(c->session, 0, 0, 100 << 20);
    UNTIL(a->answered && b->answered);
    check_flood(a, 200, 10000, M_OUTPUT);
    SAYS(b, "Sleep 1 wake:...", "? AwaitingOn W{c:1,s:1}", "Output value \"b\"", "End");
    down();
}

/* Waits until handlers wrote all they can. */
static void until_stalled(void) {
    unsigned before;
    UNTIL(GET(progress) > 0);
    do {
        before = GET(progress);
        pump_for(60 * SLOW);
    } while (GET(progress) != before);
}

TEST(peer_that_does_not_read) {
    enum { N = SLOW > 4 ? 2 : 4, PIECES = SLOW > 4 ? 80 : 160, SIZE = 65536 };
    call *k[N];
    client *c, *other;
    size_t before;
    char what[32];
    snprintf(what, sizeof what, "%d %d", (int)PIECES, (int)SIZE);       /* 10 MiB */
    up(.threads = 1);
    other = dial();
    GOOD(other);
    c = dial_to(.window = INT32_MAX, .room = INT32_MAX, .rcvbuf = 4096);
    settle(c);
    PUT(peak, GET(live));
    before = rss();
    c->deaf = true;
    for (int i = 0; i < N; i++) {
        k[i] = invoke(c, "flood");
        given_input(what);
        end(k[i]);
    }
    until_stalled();
    CHECK(GET(progress) < N * PIECES);
    CHECK(GET(peak) < GET(live) + N * MIB);
    CHECK(GET(peak) < N * 512 * 1024 + MIB + 2 * RESTATE__CACHE_LARGE_BYTES);    /* what the pools keep */
    if (RSS_COUNTS) CHECK(rss() < before + N * MIB + 2 * MIB);
    GOOD(other);
    c->deaf = false;
    for (int i = 0; i < N; i++) {
        UNTIL(k[i]->closed);
        check_flood(k[i], PIECES, SIZE, M_OUTPUT);
        CHECK_INT(k[i]->empty, 0);
    }
    CHECK(GET(peak) < N * 512 * 1024 + MIB + 2 * RESTATE__CACHE_LARGE_BYTES);    /* what the pools keep */
    GOOD(c);
    down();
}

TEST(peer_that_does_not_read_and_leaves) {
    client *c;
    up(.threads = 1);
    c = dial_to(.window = INT32_MAX, .room = INT32_MAX, .rcvbuf = 4096);
    settle(c);
    c->deaf = true;
    for (int i = 0; i < 5; i++) {
        call *k = invoke(c, "flood");
        given_input("1000 65536");
        send_on(k);
    }
    until_stalled();
    hang_up(c);
    UNTIL(GET(ended) == 5);
    UNTIL(GET(ep->invocations) == 0);
    ALIVE();
    down();
}

/* A stream is reset while its handler is held back by the window. */
TEST(reset_while_held_back) {
    client *c;
    call *k[10];
    up(.threads = 1);
    c = dial_to(.window = 100, .keep_window = true);
    for (int i = 0; i < 10; i++) {
        k[i] = invoke(c, "flood");
        given_input("1000 65536");
        send_on(k[i]);
    }
    until_stalled();
    for (int i = 0; i < 10; i++) reset(k[i]);
    UNTIL(GET(ended) == 10);
    settle(c);
    CHECK_INT(GET(ep->invocations), 0);
    GOOD(c);
    down();
}

/* The endpoint gives the windows of large requests back while it reads. The last frame of a response is
 * sent from where its bytes lie, when the exchange is over. */
TEST(large_messages_both_ways) {
    size_t size = (SLOW > 4 ? 3 * MIB : 10 * MIB) + 9000;
    char *text = (char *)malloc(size + 1);
    client *c;
    call *a, *b;
    memset(text, 'z', size);
    text[size] = 0;
    up(.threads = 1);
    c = dial();
    a = invoke(c, "echo"), b = invoke(c, "echo");
    start(1), input(text);
    b->piece = 1000;
    give(b, rt_script.at, rt_script.len);
    end(a);
    UNTIL(a->closed);
    end(b);
    UNTIL(b->closed);
    for (int i = 0; i < 2; i++) {
        call *k = i ? b : a;
        CHECK(k->body.len > size + 16 && k->body.len < size + 64);
        CHECK(k->body.len > size + 16 && memcmp(k->body.at + 20, text, size - 20) == 0);
        CHECK_INT(k->empty, 0);
    }
    GOOD(c);
    free(text);
    down();
}

/* ---- What goes when over the wire --------------------------------------------------------------------------- */

TEST(full_duplex) {
    client *c;
    call *k;
    up(.threads = 1);
    c = dial();
    k = invoke(c, "naps");
    client_send(c);
    UNTIL(k->status == 200);                        /* before there is any body */
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
    note_sleep(1);
    send_on(k);
    UNTIL(frames_came(k, 2));
    SAYS(k, "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
    CHECK(!k->answered);
    note_sleep(2);
    send_on(k);
    UNTIL(k->answered);
    CHECK(!k->closed);
    SAYS(k, "Output value \"x\"", "End");
    CHECK_INT(k->empty, 0);
    CHECK_INT(k->frames, 3);
    note_void(0x8020, 5);                           /* nobody minds */
    end(k);
    UNTIL(k->closed);
    CHECK_INT(k->code, 0);
    down();
}

TEST(inactivity) {
    client *c;
    call *k;
    up(.threads = 1);
    c = dial();
    k = invoke(c, "nap");
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    CHECK_INT(GET(ended), 1);
    k = invoke(c, "nap");                           /* request and response */
    given_input("x");
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Sleep 1 wake:...", "Suspension W{c:1,s:1}");
    CHECK_INT(k->frames, 1);
    CHECK_INT(k->empty, 0);
    CHECK_INT(GET(ended), 2);
    down();
}

TEST(trailers_end_the_input) {
    wire w;
    h2_frame f;
    rt_bytes b = { NULL, 0, 0 };
    up(.threads = 1);
    wire_open(&w);
    put_preface();
    put_request(1, "/invoke/S/nap", false);
    given_input("x");
    put_frame(NGHTTP2_DATA, 0, 1, rt_script.at, rt_script.len);
    hpack_field(&b, "x-trailer", "1");
    put_frame(NGHTTP2_HEADERS, 5, 1, b.at, b.len);
    wire_flush(&w);
    do CHECK(wire_frame(&w, &f));
    while (!w.gone && !(f.type == NGHTTP2_DATA && (f.flags & 1)));
    CHECK_INT(GET(ended), 1);
    rt_drop(&b);
    wire_close(&w);
    down();
}

TEST(pings) {
    client *c;
    call *parked, *closure, *blocking;
    uint64_t before;
    up(.threads = 1);
    c = dial();
    parked = invoke(c, "nap"), closure = invoke(c, "steps"), blocking = invoke(c, "blocks");
    given_input("x"), give(parked, rt_script.at, rt_script.len);
    give(closure, rt_script.at, rt_script.len), give(blocking, rt_script.at, rt_script.len);
    rt_script.len = 0;
    UNTIL(GET(at_gate) == 2 && GET(started) == 1);
    before = now_ms();
    for (int i = 0; i < 10; i++) settle(c);
    CHECK(now_ms() - before < 500 * SLOW);
    GOOD(c);
    open_gate();
    UNTIL(blocking->answered);
    SAYS(blocking, "Output value \"x\"", "End");
    UNTIL(frames_came(closure, 3));
    SAYS(closure, "Run 1 \"step\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 value \"stepped\" ack", "? AwaitingOn W{c:1,s:1}");
    note_ack(1);
    end(closure);
    UNTIL(closure->answered);
    SAYS(closure, "? AwaitingOn W{c:1,s:1}", "Output value \"stepped\"", "End");
    down();
}

TEST(blocking_handlers) {
    enum { N = 20 };
    client *c;
    call *k[N];
    up(.threads = 1);
    c = dial();
    for (int i = 0; i < N; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        k[i] = invoke(c, "blocks");
        given_input(text);
        send_on(k[i]);
    }
    UNTIL(GET(at_gate) == N);
    for (int i = 0; i < 10; i++) GOOD(c);
    for (int i = 0; i < N / 2; i++) reset(k[i]);    /* is seen by restate_stop_requested */
    UNTIL(GET(ended) == N / 2);
    GOOD(c);
    open_gate();
    for (int i = N / 2; i < N; i++) {
        char want[40];
        UNTIL(k[i]->answered);
        snprintf(want, sizeof want, "Output value \"%d\"", i);
        SAYS(k[i], want, "End");
    }
    down();
}

TEST(data_frames) {
    client *c;
    call *k;
    up(.threads = 1);
    c = dial();
    for (int i = 0; i < 6; i++) {
        k = invoke_as(c, 5 + (unsigned)i % 3, "echo");
        if (i < 3) settle(c);                       /* the head goes first */
        given_input("x");
        if (i % 2) send_on(k);
        else end(k);
        UNTIL(k->answered);
        CHECK_INT(k->frames, 1);
        CHECK_INT(k->empty, 0);
        SAYS(k, "Output value \"x\"", "End");
        end(k);
    }
    down();
}

TEST(s148_small_commands) {
    enum { N = 10000 };
    client *c;
    call *k;
    size_t bytes;
    up(.threads = 1);
    c = dial();
    k = invoke(c, "flood_then_nap");
    given_input("10000 3");
    send_on(k);
    UNTIL(frames_came(k, N + 2));
    CHECK(GET(peak) < 4 * MIB);
    bytes = k->body.len;
    check_flood(k, N, 3, M_SLEEP);
    SAYS(k, "Sleep 10001 wake:...", "AwaitingOn W{c:10001,s:1}");
    CHECK(bytes > 20 * N);
    CHECK_INT(k->empty, 0);
    CHECK(k->frames <= bytes / 16384 + 8);
    CHECK(k->small <= 2);
    note_sleep(10001);
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Output value \"\"", "End");
    down();
}

/* ---- Peers that misbehave ------------------------------------------------------------------------------------ */

TEST(header_flood) {
    client *c;
    wire w;
    h2_frame f;
    rt_bytes block;
    char value[20001];
    up(.threads = 1);
    memset(value, 'v', 20000);
    value[20000] = 0;
    for (int fields = 1; fields <= 6; fields++) {   /* of 20 KB each: 64 KiB are the limit */
        wire_open(&w);
        put_preface();
        block = raw_headers("GET", "/health");
        for (int i = 0; i < fields; i++) hpack_field(&block, "x-flood", value);
        for (size_t at = 0; at < block.len; at += 16384) {
            size_t n = block.len - at < 16384 ? block.len - at : 16384;
            put_frame(at ? NGHTTP2_CONTINUATION : NGHTTP2_HEADERS, (at ? 0u : 1u) | (at + n == block.len ? 4u : 0u), 1, block.at + at, n);
        }
        wire_flush(&w);
        CHECK(wire_until(&w, NGHTTP2_HEADERS, 1, &f));
        CHECK_INT(f.status, fields <= 3 ? 200 : 431);
        rt_drop(&block);
        block = raw_headers("GET", "/health");      /* the connection is good for more */
        put_frame(NGHTTP2_HEADERS, 5, 3, block.at, block.len);
        wire_flush(&w);
        CHECK(wire_until(&w, NGHTTP2_HEADERS, 3, &f));
        CHECK_INT(f.status, 200);
        rt_drop(&block);
        wire_close(&w);
    }
    wire_open(&w);                                  /* a header block without an end */
    put_preface();
    block = raw_headers("GET", "/health");
    put_frame(NGHTTP2_HEADERS, 1, 1, block.at, block.len);
    for (int i = 0; i < 1000; i++) put_frame(NGHTTP2_CONTINUATION, 0, 1, "", 0);
    wire_flush(&w);
    while (wire_frame(&w, &f)) CHECK(f.type != NGHTTP2_HEADERS);
    CHECK(w.gone);
    wire_close(&w);
    rt_drop(&block);
    wire_open(&w);                                  /* a small block that unpacks to 64 MB */
    put_preface();
    block = raw_headers("GET", "/health");
    rt_add(&block, "\x40", 1), hpack_text(&block, "x-bomb", 6), hpack_text(&block, value, 4000);
    while (block.len < 16000) rt_add(&block, "\xbe", 1);
    put_frame(NGHTTP2_HEADERS, 5, 1, block.at, block.len);
    PUT(peak, GET(live));
    wire_flush(&w);
    CHECK(wire_until(&w, NGHTTP2_HEADERS, 1, &f));
    CHECK_INT(f.status, 431);
    CHECK(GET(peak) < GET(live) + MIB);
    wire_close(&w);
    rt_drop(&block);
    c = dial();
    GOOD(c);
    down();
}

TEST(not_http2) {
    static const struct { const char *bytes; size_t len; const char *answer; } cases[] = {
        { "GET / HTTP/1.1\r\nhost: x\r\n\r\n", 0, "HTTP/1.1 505 " },
        { "POST /invoke/S/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", 0, "HTTP/1.1 505 " },
        { "PRI * HTTP/1.1\r\n\r\n", 0, "HTTP/1.1 505 " }, { "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 0, "HTTP/1.1 505 " },
        { "HELLO", 0, "HTTP/1.1 505 " }, { "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, "" },
        { "hello\n", 0, "" }, { "\0\0\0\0", 4, "" }, { "\r\n", 0, "" }
    };
    wire w;
    up(.threads = 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = cases[i].len ? cases[i].len : strlen(cases[i].bytes);
        test_note = cases[i].bytes;
        wire_open(&w);
        wire_send(&w, cases[i].bytes, len);
        while (wire_more(&w)) continue;
        CHECK(w.gone);
        CHECK_HAS(w.in.at ? (const char *)w.in.at : "", cases[i].answer);
        if (!*cases[i].answer) CHECK_INT(w.in.len, 0);
        else CHECK_HAS((const char *)w.in.at, "HTTP/2");
        wire_close(&w);
    }
    test_note = "";
    wire_open(&w);                                  /* a long one: the answer is not lost in a reset */
    {
        rt_bytes b = { NULL, 0, 0 };
        rt_print(&b, "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n");
        while (b.len < 300000) rt_add(&b, "some more of it ", 16);
        wire_send(&w, b.at, b.len);
        rt_drop(&b);
    }
    while (wire_more(&w)) continue;
    CHECK_HAS((const char *)w.in.at, "HTTP/1.1 505 ");
    CHECK_HAS((const char *)w.in.at, "without upgrade.\n");
    wire_close(&w);
    wire_open(&w);                                  /* half a preface, then nothing: leaves with it */
    wire_send(&w, "PRI * HT", 8);
    wire_close(&w);
    ALIVE();
    UNTIL(GET(ep->server->loops[0].conn_count) == 0);
    down();
}

/* Probes that speak HTTP/1 are answered, also if their request comes in pieces; nothing else is. */
TEST(health_over_http1) {
    static const struct { const char *bytes, *answer, *end; } cases[] = {
        { "GET /health HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nUser-Agent: kube-probe/1.30\r\n\r\n", "200 OK", "\nok" },
        { "GET /a/b/health?x=1 HTTP/1.0\r\n\r\n", "200 OK", "\nok" }, { "GET /health HTTP/1.1\nhost: x\n\n", "200 OK", "\nok" },
        { "HEAD /health HTTP/1.1\r\nhost: x\r\n\r\n", "200 OK", "2\r\n\r\n" },
        { "GET /healthy HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "GET /discover HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "GETS /health HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "HEADER /health HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "POST /health HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" }, { "GET /health\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "GET \r\n\r\n", "505 HTTP", "upgrade.\n" }, { "PUT /x\xff\x1b[31m HTTP/1.1\r\n\r\n", "505 HTTP", "upgrade.\n" }
    };
    up(.threads = 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            size_t len = strlen(cases[i].bytes), at;
            wire w;
            note("(%s%s)", bytewise ? "byte by byte " : "", cases[i].bytes);
            wire_open(&w);
            if (!bytewise) wire_send(&w, cases[i].bytes, len);
            for (at = 0; bytewise && at < len; at++) {
                struct timespec t = { 0, 200000 };  /* so that each comes alone; nothing depends on it */
                if (!wire_send(&w, cases[i].bytes + at, 1)) break;
                nanosleep(&t, NULL);
            }
            while (wire_more(&w)) continue;
            CHECK(w.gone);
            rt_add(&w.in, "", 1);
            CHECK_HAS((const char *)w.in.at, "HTTP/1.1 ");
            CHECK_HAS((const char *)w.in.at, cases[i].answer);
            CHECK_HAS((const char *)w.in.at, "connection: close\r\n");
            CHECK(w.in.len > strlen(cases[i].end) &&
                  strcmp((const char *)w.in.at + w.in.len - 1 - strlen(cases[i].end), cases[i].end) == 0);
            wire_close(&w);
        }
    test_note = "";
    ALIVE();
    down();
}

/* The operator is told what to do, and not once per connection. */
TEST(tls_is_named) {
    up(.threads = 1);
    for (int i = 0; i < 120; i++) {
        wire w;
        wire_open(&w);
        wire_send(&w, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", i % 11 + 1);
        while (wire_more(&w)) continue;
        CHECK(w.gone);
        wire_close(&w);
        if (i == 0) CHECK_INT(GET(tls_lines), 1);
    }
    CHECK(GET(tls_lines) <= 100);
    restate_endpoint_stop(ep);
    stopped();
    CHECK_INT(GET(tls_lines) + GET(left_out), 120);
}

TEST(violations) {
    rt_bytes get = raw_headers("GET", "/health"), post;
    wire w;
    h2_frame f;
    up(.threads = 1);
    for (int i = 0; i < 12; i++) {
        bool told = false;
        note("(%d)", i);
        wire_open(&w);
        put_preface();
        switch (i) {
        case 0: put_frame(NGHTTP2_DATA, 1, 1, "x", 1); break;                   /* of a stream that is not */
        case 1: put_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\0", 4); break;   /* by nothing */
        case 2: put_frame(NGHTTP2_SETTINGS, 0, 0, "x", 1); break;
        case 3: put_frame(NGHTTP2_CONTINUATION, 4, 1, NULL, 0); break;
        case 4: put_frame(NGHTTP2_HEADERS, 5, 2, get.at, get.len); break;       /* a server's number */
        case 5: rt_add(&raw_out, "\xff\xff\xff\0\0\0\0\0\0", 9); break;         /* a DATA frame of 16 MiB */
        case 6: put_frame(NGHTTP2_PING, 0, 1, "12345678", 8); break;
        case 7: put_frame(NGHTTP2_PUSH_PROMISE, 4, 1, "\0\0\0\2", 4); break;
        case 8: put_frame(NGHTTP2_HEADERS, 5, 1, "\xff\xff\xff\xff\xff", 5); break;
        case 9: put_frame(NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\0", 4); break;      /* idle */
        case 10: put_frame(NGHTTP2_SETTINGS, 0, 0, "\0\4\xff\xff\xff\xff", 6); break;
        case 11:                                                                /* a window beyond 2^31 */
            put_request(1, "/invoke/S/nap", false);
            put_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff", 4);
            break;
        }
        wire_flush(&w);
        while (wire_frame(&w, &f)) told = told || f.type == NGHTTP2_GOAWAY;
        CHECK(told && w.gone);
        wire_close(&w);
    }
    test_note = "";
    wire_open(&w);                                  /* what concerns a stream ends that stream */
    put_preface();
    post = raw_headers("POST", "/invoke/S/echo");
    hpack_field(&post, "Upper", "x");
    put_frame(NGHTTP2_HEADERS, 5, 1, post.at, post.len);
    rt_drop(&post);
    post = raw_headers("POST", "/invoke/S/nap");
    hpack_field(&post, "content-type", V "7");
    hpack_field(&post, "content-length", "3");
    put_frame(NGHTTP2_HEADERS, 4, 3, post.at, post.len);
    put_frame(NGHTTP2_DATA, 1, 3, "abcdef", 6);
    rt_drop(&post);
    post = raw_headers("POST", "/invoke/S/nap");
    hpack_field(&post, "connection", "close");
    put_frame(NGHTTP2_HEADERS, 5, 5, post.at, post.len);
    rt_drop(&post);
    put_frame(0xfa, 0xff, 0, "unknown frames are ignored", 26);
    put_frame(0xbb, 1, 3, "xyz", 3);
    put_frame(NGHTTP2_HEADERS, 5, 7, get.at, get.len);
    wire_flush(&w);
    {
        unsigned resets = 0;
        while (wire_frame(&w, &f) && !(f.type == NGHTTP2_DATA && f.id == 7)) resets += f.type == NGHTTP2_RST_STREAM;
        CHECK_INT(resets, 3);
        CHECK_INT(f.id, 7);
    }
    wire_close(&w);
    rt_drop(&get);
    ALIVE();
    down();
}

TEST(rapid_reset) {
    for (int how = 0; how < 2; how++) {             /* by the peer, or made to be done by the endpoint */
        wire w;
        h2_frame f;
        bool sent = true, told = false;
        uint32_t id = 1;
        test_note = how ? "(ours)" : "(theirs)";
        up(.threads = 1);
        wire_open(&w);
        put_preface();
        PUT(peak, GET(live));
        for (; sent && id < 12000; id += 2) {
            rt_bytes b = raw_headers("POST", "/invoke/S/nap");
            hpack_field(&b, "content-type", V "7");
            if (how) hpack_field(&b, "content-length", "1");
            put_frame(NGHTTP2_HEADERS, 4, id, b.at, b.len);
            rt_drop(&b);
            given_input("x");
            put_frame(NGHTTP2_DATA, 0, id, rt_script.at, rt_script.len);
            rt_script.len = 0;
            if (!how) put_frame(NGHTTP2_RST_STREAM, 0, id, "\0\0\0\10", 4);
            if (raw_out.len > 30000) sent = wire_flush(&w);
        }
        wire_flush(&w);
        while (wire_frame(&w, &f)) told = told || f.type == NGHTTP2_GOAWAY;
        CHECK(w.gone);
        CHECK(told || !sent);                       /* the GOAWAY may be lost in a reset of TCP */
        CHECK(GET(peak) < 8 * MIB);
        wire_close(&w);
        ALIVE();
        CHECK_INT(GET(started), GET(ended));
        down();
    }
    test_note = "";
}

TEST(floods_without_reading) {
    for (int how = 0; how < 3; how++) {
        wire w;
        bool sent = true;
        size_t bytes = 0;
        test_note = how == 0 ? "(PING)" : how == 1 ? "(SETTINGS)" : "(404)";
        up(.threads = 1);
        wire_open(&w);
        put_preface();
        PUT(peak, GET(live));
        for (uint32_t id = 1; sent && bytes < 200 * MIB; ) {
            while (raw_out.len < 60000) {
                if (how == 0) put_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
                if (how == 1) put_frame(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
                if (how == 2) put_request(id, "/nope", true), id += 2;
            }
            bytes += raw_out.len;
            if (how == 2 && id > 20000) break;
            sent = wire_flush(&w);
        }
        raw_out.len = 0;
        if (how < 2) CHECK(!sent);                  /* was stopped */
        CHECK(GET(peak) < 8 * MIB);
        ALIVE();
        wire_close(&w);
        down();
    }
    test_note = "";
}

/* ---- Peers that leave ---------------------------------------------------------------------------------------- */

TEST(leaves_in_the_middle_of_everything) {
    for (int how = 0; how < 3; how++) {             /* by FIN, by RST, by a reset of each stream */
        client *c;
        call *k[6];
        struct linger hard = { 1, 0 };
        test_note = how == 0 ? "(FIN)" : how == 1 ? "(RST)" : "(streams)";
        up(.threads = 1);
        c = dial_to(.window = 1000, .keep_window = true);
        k[0] = invoke(c, "nap"), k[1] = invoke(c, "flood"), k[2] = invoke(c, "steps_obediently");
        k[3] = invoke(c, "blocks"), k[4] = invoke(c, "nap"), k[5] = invoke(c, "nap");
        given_input("x"), give(k[0], rt_script.at, rt_script.len), give(k[2], rt_script.at, rt_script.len);
        give(k[3], rt_script.at, rt_script.len), give(k[4], rt_script.at, rt_script.len - 1), rt_script.len = 0;
        given_input("1000 65536"), send_on(k[1]);
        UNTIL(GET(at_gate) == 2 && GET(started) == 2);
        settle(c);
        if (how == 2) for (int i = 0; i < 6; i++) reset(k[i]);
        if (how == 1) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        if (how < 2) hang_up(c);
        UNTIL(GET(ended) == 4);
        UNTIL(GET(ep->invocations) == 0);
        if (how == 2) GOOD(c);
        ALIVE();
        down();
    }
    test_note = "";
}

/* The client closes its side and reads on; TCP knows no difference to leaving, but nothing breaks. */
TEST(half_closed_connection) {
    client *c;
    call *k;
    up(.threads = 1);
    c = dial();
    k = invoke(c, "nap");
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    shutdown(c->fd, SHUT_WR);
    UNTIL(c->gone);
    UNTIL(GET(ended) == 1);
    down();
}

TEST(goaway_of_the_peer) {
    client *c;
    call *k;
    up(.threads = 1);
    c = dial();
    k = invoke(c, "nap");
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    nghttp2_submit_goaway(c->session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
    settle(c);
    note_sleep(1);
    end(k);
    UNTIL(k->closed || c->gone);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Output value \"x\"", "End");
    UNTIL(c->gone);
    down();
}

/* ---- Starting and stopping ------------------------------------------------------------------------------------ */

TEST(cannot_listen) {
    restate_endpoint *other;
    client *c;
    up(.threads = 1);
    other = endpoint_of((restate_endpoint_options){ .port = restate_endpoint_port(ep) });
    CHECK_INT(restate_endpoint_port(other), 0);
    CHECK_INT(restate_endpoint_run(other), RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(other), "cannot listen on 127.0.0.1:");
    CHECK_HAS(restate_endpoint_error(other), "choose another .port");
    CHECK_INT(restate_endpoint_port(other), 0);
    CHECK_INT(restate_endpoint_fd(other), -1);
    CHECK_INT(restate_endpoint_process(other, 0), RESTATE_ERROR);
    restate_endpoint_free(other);
    other = endpoint_of((restate_endpoint_options){ .address = "localhost" });
    CHECK_INT(restate_endpoint_run(other), RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(other), "not an IP address");
    restate_endpoint_free(other);
    other = endpoint_of((restate_endpoint_options){ .address = "192.0.2.1" });
    CHECK_INT(restate_endpoint_run(other), RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(other), "choose another .address");
    restate_endpoint_free(other);
    {
        restate_endpoint_options o = { .services = RESTATE_SERVICES(&service), .address = "127.0.0.1" };
        o.port = restate_endpoint_port(ep);
        o.logger.write = on_log;
        CHECK_INT(restate_serve(&o), 1);
        CHECK_INT(GET(errors), 1);
        CHECK_HAS(last_error, "cannot listen on 127.0.0.1:");
        PUT(errors, 0);
    }
    c = dial();
    GOOD(c);
    down();
}

/* Connections wait until there is a descriptor for them again; that is said once. */
TEST(out_of_descriptors) {
    struct rlimit before, few;
    struct sockaddr_in at;
    rt_bytes get = raw_headers("GET", "/health");
    wire w[3];
    h2_frame f;
    if (SLOW > 4) {                                 /* valgrind closes what it has no number for */
        rt_drop(&get);
        return;
    }
    up(.threads = 2);
    memset(w, 0, sizeof w);
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_port = htons(restate_endpoint_port(ep));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 3; i++) {
        w[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        nghttp2_hd_inflate_new(&w[i].inflater);
    }
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)dup(0);
    close((int)few.rlim_cur);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(connect(w[i].fd, (struct sockaddr *)&at, sizeof at), 0);
        fcntl(w[i].fd, F_SETFL, O_NONBLOCK);
        put_preface();
        put_frame(NGHTTP2_HEADERS, 5, 1, get.at, get.len);
        wire_flush(&w[i]);
    }
    UNTIL(GET(warnings) == 1);
    pump_for(700);                                  /* it has tried again, and said nothing */
    CHECK_INT(GET(warnings), 1);
    setrlimit(RLIMIT_NOFILE, &before);
    for (int i = 0; i < 3; i++) {
        CHECK(wire_until(&w[i], NGHTTP2_HEADERS, 1, &f));
        CHECK_INT(f.status, 200);
        wire_close(&w[i]);
    }
    rt_drop(&get);
    ALIVE();
    down();
}

TEST(connections_are_logged) {
    up(.threads = 2, .log_connections = RESTATE_ON);
    ALIVE(), ALIVE(), ALIVE();
    UNTIL(GET(connections_told) == 6);
    down();
}

TEST(options_that_are_wrong) {
    restate_endpoint *e = endpoint_of((restate_endpoint_options){ .threads = 5000 });
    CHECK_INT(restate_endpoint_run(e), RESTATE_ERROR);
    CHECK_INT(restate_endpoint_fd(e), -1);
    CHECK_INT(restate_endpoint_process(e, 0), RESTATE_ERROR);
    CHECK_INT(restate_endpoint_port(e), 0);
    CHECK_HAS(restate_endpoint_error(e), ".threads");
    restate_endpoint_stop(e);
    restate_endpoint_free(e);
    CHECK_INT(restate_endpoint_run(NULL), RESTATE_ERROR);
    CHECK_INT(restate_endpoint_fd(NULL), -1);
    CHECK_INT(restate_endpoint_port(NULL), 0);
    CHECK_INT(restate_endpoint_process(NULL, 0), RESTATE_ERROR);
    restate_endpoint_stop(NULL);
    restate_endpoint_free(NULL);
    CHECK_INT(GET(live), 0);
}

TEST(stop_comes_early) {
    prepare((restate_endpoint_options){ .threads = 3 });
    restate_endpoint_stop(ep);                      /* before there is anything to stop */
    CHECK_INT(restate_endpoint_run(ep), RESTATE_OK);
    CHECK_INT(restate_endpoint_run(ep), RESTATE_OK);
    freed();
    prepare((restate_endpoint_options){ .threads = 3 });
    freed();                                        /* never used */
    prepare((restate_endpoint_options){ .threads = 3 });
    CHECK(restate_endpoint_fd(ep) >= 0);
    freed();                                        /* listens, and that is all */
}

TEST(every_interface) {
    prepare((restate_endpoint_options){ .threads = 1, .address = NULL });
    restate_endpoint_free(ep);
    {
        restate_endpoint_options o = { .services = RESTATE_SERVICES(&service), .port = RESTATE_ANY_PORT, .threads = 1 };
        o.logger.write = on_log;
        ep = restate_endpoint_new(&o);
    }
    if (pthread_create(&runner, NULL, run_it, ep)) abort();
    UNTIL(restate_endpoint_port(ep) || GET(run_over));
    ALIVE();
    down();
}

TEST(graceful_stop) {
    client *c, *idle, *silent;
    call *parked, *closure, *finishing;
    uint64_t before;
    up(.threads = 2, .drain_ms = 30000);
    idle = dial();
    GOOD(idle);
    silent = dial();                                /* connected, and never says a word */
    silent->deaf = true;
    c = dial();
    parked = invoke(c, "nap"), closure = invoke(c, "steps"), finishing = invoke(c, "blocks_on");
    given_input("x"), give(parked, rt_script.at, rt_script.len);
    give(closure, rt_script.at, rt_script.len), give(finishing, rt_script.at, rt_script.len);
    rt_script.len = 0;
    UNTIL(GET(at_gate) == 2 && frames_came(parked, 2));
    before = now_ms();
    restate_endpoint_stop(ep);
    UNTIL(c->goaways == 2 && c->last_id == finishing->id);
    CHECK_INT(c->goaway_code, 0);
    UNTIL(parked->closed || parked->answered);
    SAYS(parked, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    end(parked);
    UNTIL(idle->gone);
    CHECK(idle->goaways >= 1);                      /* a client of nghttp2 does not answer the PING then */
    CHECK(!GET(run_over));                          /* waits for the closure */
    settle(c);
    open_gate();
    UNTIL(finishing->answered && closure->answered);
    SAYS(finishing, "Output value \"x\"", "End");
    SAYS(closure, "Run 1 \"step\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 value \"stepped\" ack", "? AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    end(closure), end(finishing);
    UNTIL(c->gone);
    UNTIL(GET(run_over));
    CHECK(now_ms() - before < 4000 * SLOW);
    stopped();
}

/* Between the notice and the last GOAWAY streams are still taken, but no work. */
TEST(requests_during_a_stop) {
    wire w;
    h2_frame f;
    uint8_t ping[8];
    unsigned answered = 0;
    rt_bytes get = raw_headers("GET", "/health");
    up(.threads = 1);
    wire_open(&w);
    put_preface();
    put_request(1, "/invoke/S/nap", false);
    given_input("x");
    put_frame(NGHTTP2_DATA, 0, 1, rt_script.at, rt_script.len);
    rt_script.len = 0;
    wire_flush(&w);
    CHECK(wire_until(&w, NGHTTP2_DATA, 1, &f));
    restate_endpoint_stop(ep);
    CHECK(wire_until(&w, NGHTTP2_GOAWAY, 0, &f));
    CHECK(f.len >= 8 && memcmp(f.at, "\x7f\xff\xff\xff\0\0\0\0", 8) == 0);
    CHECK(wire_until(&w, NGHTTP2_PING, 0, &f));
    if (f.len == 8) memcpy(ping, f.at, 8);
    put_request(3, "/invoke/S/echo", true);
    put_frame(NGHTTP2_HEADERS, 5, 5, get.at, get.len);
    put_frame(NGHTTP2_PING, 1, 0, ping, 8);
    wire_flush(&w);
    while (wire_frame(&w, &f)) {
        if (f.type == NGHTTP2_HEADERS) CHECK_INT(f.status, f.id == 3 ? 503 : 200);
        if (f.id > 0 && f.id < 8 && (f.flags & 1)) answered |= 1u << f.id;
        if (f.type == NGHTTP2_GOAWAY) {
            CHECK(f.len >= 8 && memcmp(f.at, "\0\0\0\5\0\0\0\0", 8) == 0);
            put_request(7, "/invoke/S/echo", true); /* beyond it: ignored */
            wire_flush(&w);
        }
        if (f.type == NGHTTP2_DATA && f.id == 1 && (f.flags & 1)) {
            put_frame(NGHTTP2_DATA, 1, 1, NULL, 0);
            wire_flush(&w);
        }
    }
    CHECK(w.gone);
    CHECK_INT(answered, 1u << 1 | 1u << 3 | 1u << 5);
    CHECK_INT(GET(ended), 1);
    wire_close(&w);
    rt_drop(&get);
    stopped();
}

/* Invocations whose journal is on its way when the endpoint is stopped, cut at every kind of place. */
static unsigned begin_journals(client *c, call **calls, size_t *at, rt_bytes *body, size_t *replay) {
    unsigned n = 0, place;
    *body = nap_body(replay);
    for (place = 0; place < 9; place++) {
        size_t cuts[9] = { 0, 1, 7, 8, 9, *replay / 3, *replay / 2, *replay - 9, *replay - 1 };
        at[n] = cuts[place];
        calls[n] = invoke(c, "naps");
        give(calls[n], body->at, at[n]);
        n++;
    }
    settle(c);
    return n;
}

TEST(journal_arrives_during_a_stop) {
    call *calls[16];
    size_t at[16], replay;
    rt_bytes body;
    client *c;
    unsigned n, i;
    up(.threads = 1);
    c = dial();
    n = begin_journals(c, calls, at, &body, &replay);
    restate_endpoint_stop(ep);
    UNTIL(c->goaways == 2);
    pump_for(300);                                  /* nothing is held against them */
    for (i = 0; i < n; i++) CHECK(!calls[i]->answered && !calls[i]->closed && !calls[i]->body.len);
    for (i = 0; i < n; i++) {
        note("(cut at %u of %u)", (unsigned)at[i], (unsigned)replay);
        for (; at[i] < replay; at[i]++) give(calls[i], body.at + at[i], 1);
        UNTIL(calls[i]->answered);
        SAYS(calls[i], "Sleep 2 wake:...", "? AwaitingOn W{c:2,s:1}", "Suspension W{c:2,s:1}");
        calls[i]->over = true;
        resume(calls[i]);
        UNTIL(calls[i]->closed);
        CHECK_INT(calls[i]->code, 0);
    }
    test_note = "";
    CHECK_INT(GET(ended), n);
    rt_drop(&body);
    stopped();
}

/* When the time is over, or a second stop came, they are cut without a word. */
TEST(journal_does_not_arrive_during_a_stop) {
    for (int twice = 0; twice < 2; twice++) {
        call *calls[16];
        size_t at[16], replay;
        rt_bytes body;
        client *c;
        unsigned n, i;
        up(.threads = 1, .drain_ms = twice ? 60000 : 300);
        c = dial();
        n = begin_journals(c, calls, at, &body, &replay);
        restate_endpoint_stop(ep);
        UNTIL(c->goaways >= 1);
        if (twice) restate_endpoint_stop(ep);
        UNTIL(c->gone);
        for (i = 0; i < n; i++) {
            CHECK_INT(calls[i]->body.len, 0);
            CHECK(!calls[i]->answered);
        }
        CHECK_INT(GET(failed_lines), 0);
        CHECK_INT(GET(started), 0);
        rt_drop(&body);
        stopped();
    }
}

/* A new connection is refused at the latest when the stop was seen. */
TEST(connections_during_a_stop) {
    client *c;
    call *k;
    struct sockaddr_in at;
    int fd;
    up(.threads = 1, .drain_ms = 30000);
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_port = htons(restate_endpoint_port(ep));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c = dial();
    k = invoke(c, "steps");
    given_input("x");
    send_on(k);
    UNTIL(GET(at_gate) == 1);
    restate_endpoint_stop(ep);
    UNTIL(c->goaways >= 1);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&at, sizeof at) == -1 && errno == ECONNREFUSED);
    close(fd);
    open_gate();
    UNTIL(k->answered);
    end(k);
    stopped();
}

/* Closures and blocking handlers that ask are told of the stop at once. */
TEST(stop_is_told) {
    client *c;
    call *closure, *blocking;
    uint64_t before;
    up(.threads = 1, .drain_ms = 60000);
    c = dial();
    closure = invoke(c, "steps_obediently"), blocking = invoke(c, "blocks");
    given_input("x"), give(closure, rt_script.at, rt_script.len), send_on(blocking);
    UNTIL(GET(at_gate) == 2);
    before = now_ms();
    restate_endpoint_stop(ep);
    UNTIL(closure->answered && blocking->answered);
    SAYS(closure, "Run 1 \"step\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 value \"stepped\" ack", "? AwaitingOn W{c:1,s:1}",
         "Suspension W{c:1,s:1}");
    SAYS(blocking, "Error 500 ...");
    end(closure), end(blocking);
    UNTIL(GET(run_over));
    CHECK(now_ms() - before < 2000 * SLOW);
    stopped();
}

TEST(second_stop_cuts) {
    client *c;
    call *closure, *blocking, *flooding;
    uint64_t before;
    up(.threads = 2, .drain_ms = 60000);
    c = dial_to(.window = 1000, .keep_window = true);
    closure = invoke(c, "steps"), blocking = invoke(c, "blocks_on"), flooding = invoke(c, "flood");
    given_input("x"), give(closure, rt_script.at, rt_script.len), send_on(blocking);
    given_input("100 65536"), send_on(flooding);
    UNTIL(GET(at_gate) == 2);
    until_stalled();
    restate_endpoint_stop(ep);
    UNTIL(c->goaways >= 1);
    pump_for(300);
    CHECK(!GET(run_over));
    before = now_ms();
    restate_endpoint_stop(ep);
    UNTIL(closure->closed && blocking->closed && flooding->closed);
    CHECK_INT(closure->code, NGHTTP2_CANCEL);
    CHECK_INT(blocking->code, NGHTTP2_CANCEL);
    CHECK_INT(flooding->code, NGHTTP2_CANCEL);
    UNTIL(c->gone);
    CHECK(!GET(run_over));                          /* handlers are waited for, a while */
    open_gate();
    UNTIL(GET(run_over));
    CHECK_INT(GET(ended), 2);                       /* the blocking one called nothing that could tell it */
    CHECK(now_ms() - before < 2000 * SLOW);
    stopped();
}

TEST(drain_time_is_over) {
    client *c;
    call *k;
    uint64_t before, took;
    up(.threads = 1, .drain_ms = 300);
    c = dial();
    k = invoke(c, "steps");
    given_input("x");
    send_on(k);
    UNTIL(GET(at_gate) == 1);
    before = now_ms();
    restate_endpoint_stop(ep);
    UNTIL(k->closed);
    CHECK_INT(k->code, NGHTTP2_CANCEL);
    open_gate();
    UNTIL(GET(run_over));
    took = now_ms() - before;
    CHECK(took >= 299 && took < 2000 * SLOW);
    CHECK_INT(GET(ended), 1);
    stopped();
}

static unsigned hours;                      /* of a clock that a test moves */
static uint64_t by_the_hour(void *user) { return user == &hours ? (uint64_t)GET(hours) * 3600000u + 1 : 0; }

/* The time to drain is that of the endpoint's clock, and one that is not real time is looked at
 * while the loops wait, whether run waits or the program does. */
TEST(drain_time_by_the_clock) {
    for (int in_a_loop = 0; in_a_loop < 2; in_a_loop++) {
        client *c;
        call *k;
        const restate_endpoint_options o = { .threads = 1, .drain_ms = RESTATE_HOURS(2),
                                             .clock = { by_the_hour, by_the_hour, &hours } };
        hours = 0;
        if (in_a_loop) up_hosted_with(o);
        else up_with(o);
        c = dial();
        k = invoke(c, "steps");
        given_input("x");
        send_on(k);
        UNTIL(GET(at_gate) == 1);
        restate_endpoint_stop(ep);
        UNTIL(c->goaways >= 1);                     /* the notice, the rest waits for the clock */
        count(&hours);
        pump_for(60);
        CHECK(!k->closed && !GET(run_over));
        count(&hours);
        UNTIL(k->closed);
        CHECK_INT(k->code, NGHTTP2_CANCEL);
        open_gate();
        stopped();
    }
}

/* So are all times that a loop waits for. */
TEST(request_time_by_the_clock) {
    for (int in_a_loop = 0; in_a_loop < 2; in_a_loop++) {
        client *c;
        call *k;
        const restate_endpoint_options o = { .threads = 1, .request_timeout_ms = RESTATE_HOURS(2),
                                             .peer_timeout_ms = RESTATE_ZERO_MS,
                                             .clock = { by_the_hour, by_the_hour, &hours } };
        hours = 0;
        if (in_a_loop) up_hosted_with(o);
        else up_with(o);
        c = dial();
        k = invoke(c, "nap");
        start(2);                           /* the input does not come */
        send_on(k);
        settle(c);
        count(&hours);
        pump_for(60);
        CHECK(!k->closed);
        for (int i = 0; i < 8 && !k->closed; i++) count(&hours), pump_for(30);   /* a late look is put off */
        CHECK(k->closed);
        CHECK_INT(k->code, NGHTTP2_CANCEL);
        down();
    }
}

/* A hundred attempts of one step, two threads for closures. When the attempts are over - the connection is
 * lost, every stream is reset, the time to drain is over, a second stop comes - no other step begins, and
 * nobody waits for one. */
TEST(steps_that_wait_for_a_thread) {
    enum { N = 100 };
    for (int way = 0; way < 4; way++) {
        client *c;
        call *k[N];
        uint64_t before;
        test_note = (const char *const[]){ "(hang up)", "(reset)", "(drain)", "(second stop)" }[way];
        up(.threads = 1, .pool_threads = 2, .drain_ms = way == 2 ? 200 : 60000);
        c = dial();
        for (int i = 0; i < N; i++) {
            k[i] = invoke(c, "steps");
            given_input("x");
            send_on(k[i]);
        }
        for (int i = 0; i < N; i++) UNTIL(k[i]->body.len > 0);      /* the command */
        UNTIL(GET(at_gate) == 2);
        CHECK_INT(GET(ep->invocations), N);
        before = now_ms();
        if (way == 0) hang_up(c);
        for (int i = 0; way == 1 && i < N; i++) reset(k[i]);
        if (way >= 2) restate_endpoint_stop(ep);
        if (way == 3) restate_endpoint_stop(ep);
        UNTIL(GET(ep->invocations) == 2);
        CHECK_INT(GET(ended), N - 2);
        if (way < 2) {                      /* who comes now has to wait for these two only */
            client *other = dial();
            call *late = invoke(other, "steps");
            given_input("x");
            send_on(late);
            open_gate();
            UNTIL(late->body.len > 20);
            CHECK_INT(GET(at_gate), 3);
            down();
        } else {
            open_gate();
            UNTIL(GET(run_over));
            CHECK(now_ms() - before < 2000 * SLOW);
            CHECK_INT(GET(at_gate), 2);
            stopped();
        }
        CHECK_INT(GET(ended), way < 2 ? N + 1 : N);
        test_note = "";
    }
}

/* A closure, or a blocking handler, that goes on and on: run gives up on it after a while and names it;
 * freeing the endpoint waits for it. */
TEST(work_outlives_run) {
    static const struct { const char *handler, *name; } ways[] = {
        { "steps", "stopped, but the closure \"step\" of S/steps (invocation 123) does not return" },
        { "blocks_on", "stopped, but the blocking handler S/blocks_on (invocation 123) does not return" }
    };
    for (int i = 0; i < (SLOW > 1 ? 2 : 4); i++) {
        client *c;
        call *k;
        note("(%s, %s)", ways[i % 2].handler, i < 2 ? "run" : "process");
        if (i < 2) up(.threads = 2, .drain_ms = RESTATE_ZERO_MS);
        else up_hosted(.threads = 1, .drain_ms = RESTATE_ZERO_MS);
        c = dial();
        k = invoke(c, ways[i % 2].handler);
        given_input("x");
        send_on(k);
        UNTIL(GET(at_gate) == 1);
        restate_endpoint_stop(ep);
        UNTIL(k->closed && c->gone);
        UNTIL(GET(run_over));
        CHECK_INT(GET(ended), 0);
        stopped_without(ways[i % 2].name);
        if (i % 2 == 0) CHECK_INT(GET(ended), 1);
    }
}

/* A handler that never returns is named while it holds its loop, its other connections with it; others are
 * accepted and served. In the end run says whose fault it was that it took so long. */
TEST(handler_holds_its_loop) {
    for (unsigned threads = 1; threads <= (SLOW > 1 ? 2 : 3); threads++) {
        client *c, *other;
        call *k;
        uint64_t before;
        note("(%u loops)", threads);
        up(.threads = threads, .drain_ms = 100);
        c = dial();
        settle(c);
        k = invoke(c, "holds");
        start(1, .debug_id = "inv_1gdJtdVVcM919dOBhoVBm3fUMlaIHnANr");
        input("x");
        send_on(k);
        UNTIL(GET(started) == 1);
        for (int i = 0; threads > 1 && i < 8; i++) ALIVE();     /* at once, and one after the other */
        UNTIL(GET(holds_told) >= 1);
        CHECK_HAS(hold_told, "S/holds inv_1gdJtdVVcM919dOBhoVBm3fUMlaIHnANr: the handler holds its event loop, for ");
        UNTIL(GET(holds_told) >= 2);                            /* again, and less often */
        for (int i = 0; threads > 1 && i < 8; i++) ALIVE();
        other = dial();                                         /* accepted, whoever serves it */
        if (threads > 1) GOOD(other);
        before = now_ms();
        restate_endpoint_stop(ep);
        UNTIL(GET(run_over));
        CHECK(now_ms() - before < 100 + RESTATE__GRACE_MS + 1000 * SLOW);
        CHECK_INT(GET(ended), 0);
        stopped_without("stopped, but the handler S/holds (invocation inv_1gdJtdVVcM919dOBhoVBm3fUMlaIHnANr) "
                        "does not return");
    }
}

/* All loops are held: nothing is served, but everything is named, and the stop works. */
TEST(handlers_hold_all_loops) {
    client *c[4];
    up(.threads = 3, .drain_ms = RESTATE_ZERO_MS);
    for (int i = 0; i < 4; i++) c[i] = dial();
    for (int i = 0; i < 3; i++) {
        call *k;
        settle(c[i]);
        k = invoke(c[i], "holds");
        given_input("x");
        send_on(k);
    }
    UNTIL(GET(started) == 3);
    UNTIL(GET(holds_told) >= 3);
    restate_endpoint_stop(ep);
    restate_endpoint_stop(ep);
    UNTIL(GET(run_over));
    stopped_without("does not return, nor do 2 others");
}

/* Connections that come as soon as a handler holds a loop, before that is known, are given to it and
 * taken back: others serve them. (What the loop had taken before waits with it.) */
TEST(connections_leave_a_held_loop) {
    client *c[12];
    call *k;
    up(.threads = 2);
    c[0] = dial();
    settle(c[0]);
    k = invoke(c[0], "holds");
    given_input("x");
    send_on(k);
    UNTIL(GET(started) == 1);
    for (int i = 1; i < 12; i++) c[i] = dial();
    for (int i = 1; i < 12; i++) GOOD(c[i]);
    CHECK(!k->closed);
    open_gate();
    UNTIL(GET(ended) == 0 && k->answered);
    end(k);
    down();
}

/* One that is late is no news once it is back. */
TEST(handler_holds_its_loop_for_a_while) {
    client *c;
    call *k;
    up(.threads = 1);
    c = dial();
    k = invoke(c, "holds");
    given_input("x");
    end(k);
    UNTIL(GET(holds_told) == 1);
    open_gate();
    UNTIL(k->closed);
    SAYS(k, "Output value \"x\"", "End");
    GOOD(c);
    pump_for(1200);
    CHECK(GET(holds_told) <= 2);
    down();
}

/* A blocking handler holds the loop in a hook of its calls, and is named like others. */
TEST(hook_holds_its_loop) {
    client *c;
    call *k;
    up(.threads = 2);
    c = dial();
    k = invoke(c, "calls");
    given_input("x");
    send_on(k);
    UNTIL(GET(holds_told) == 1);
    CHECK_HAS(hold_told, "S/calls 123: the handler holds its event loop, for ");
    ALIVE();
    open_gate();
    UNTIL(frames_came(k, 1));
    end(k);
    UNTIL(k->closed);
    down();
}

/* Nobody lets it go: free returns all the same, and what may still be used stays. A process of its own, for
 * that is lost. */
static void never_returns(const char *handler) {
    client *c;
    call *k;
    alarm(60);
    up(.threads = 2, .drain_ms = RESTATE_ZERO_MS);
    c = dial();
    k = invoke(c, handler);
    given_input("x");
    send_on(k);
    UNTIL(GET(started) + GET(at_gate) == 1);
    restate_endpoint_stop(ep);
    UNTIL(GET(run_over));
    restate_endpoint_free(ep);
    CHECK_HAS(last_error, "the endpoint is not released");
    open_gate();                            /* it returns after all, into what was left for it */
    nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
    _exit(test_failures ? 1 : 77);
}

TEST(free_does_not_wait_for_ever) {
    static const char *const handlers[] = { "holds", "steps", "blocks_on" };
    if (SLOW > 1) return;                   /* those report what stays */
    for (int i = 0; i < 3; i++) {
        int status = 0;
        pid_t child = fork();
        note("(%s)", handlers[i]);
        if (child == 0) never_returns(handlers[i]);
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 77);
    }
}

/* Without any time to drain, with clients that do not react, on several loops. */
TEST(stop_without_a_drain) {
    uint64_t before;
    up(.threads = 4, .drain_ms = RESTATE_ZERO_MS);
    for (int i = 0; i < 8; i++) {
        client *c = dial();
        call *k = invoke(c, i % 2 ? "nap" : "flood");
        given_input(i % 2 ? "x" : "1000 65536");
        send_on(k);
        client_send(c);
        c->deaf = i % 3 != 0;
    }
    UNTIL(GET(started) == 8);
    before = now_ms();
    restate_endpoint_stop(ep);
    UNTIL(GET(run_over));
    CHECK(now_ms() - before < 1500 * SLOW);
    stopped();
}

static void on_signal(int number) {
    (void)number;
    restate_endpoint_stop(ep);
}

TEST(stop_from_a_signal_handler) {
    client *c;
    call *k;
    struct sigaction act;
    up(.threads = 2);
    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal;
    sigaction(SIGUSR1, &act, NULL);
    c = dial();
    k = invoke(c, "nap");
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    raise(SIGUSR1);
    UNTIL(k->answered);
    end(k);
    UNTIL(GET(run_over));
    stopped();
}

TEST(stop_under_load) {
    client *c[6];
    unsigned asked = 0, good = 0, refused = 0, cut = 0;
    up(.threads = 3, .drain_ms = 3000);
    for (int i = 0; i < 6; i++) c[i] = dial();
    for (int round = 0; round < 30; round++) {
        if (round == 15) {
            call *first = c[0]->calls;
            while (first && first->next) first = first->next;
            UNTIL(!first || first->answered);
            restate_endpoint_stop(ep);
        }
        for (int i = 0; i < 6; i++) {
            call *k;
            if (c[i]->goaways || c[i]->gone) continue;
            k = invoke(c[i], round % 3 ? "echo" : "nap");
            given_input("x");
            end(k);
            client_send(c[i]);
            asked++;
        }
        pump(-1);
    }
    UNTIL(c[0]->gone && c[1]->gone && c[2]->gone && c[3]->gone && c[4]->gone && c[5]->gone);
    for (int i = 0; i < 6; i++)
        for (call *k = c[i]->calls; k; k = k->next) {
            if (k->status == 200 && k->answered) good++;
            else if (k->status == 503) refused++;
            else cut++;
        }
    CHECK_INT(good + refused + cut, asked);
    CHECK(good > 0);
    for (int i = 0; i < 6; i++)                     /* whoever was taken was answered */
        for (call *k = c[i]->calls; k; k = k->next)
            CHECK(k->answered || k->id > c[i]->last_id);
    stopped();
}

/* ---- In the event loop of the program ------------------------------------------------------------------------- */

TEST(hosted) {
    client *c;
    call *k, *closure;
    up_hosted(.drain_ms = 5000);
    CHECK(restate_endpoint_port(ep) != 0);
    c = dial();
    GOOD(c);
    k = invoke(c, "nap"), closure = invoke(c, "steps");
    given_input("x"), give(k, rt_script.at, rt_script.len), send_on(closure);
    UNTIL(GET(at_gate) == 1 && frames_came(k, 2));
    GOOD(c);
    open_gate();
    UNTIL(frames_came(closure, 3));
    note_ack(1);
    end(closure);
    UNTIL(closure->closed);
    restate_endpoint_stop(ep);                      /* timers included: nobody else calls process */
    UNTIL(k->answered);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    end(k);
    UNTIL(run_over);
    CHECK_INT(ran, RESTATE_ENDED);
    CHECK_INT(restate_endpoint_process(ep, 1000), RESTATE_ENDED);
    CHECK_INT(restate_endpoint_run(ep), RESTATE_OK);
    freed();
}

/* More than one turn can do: the descriptor stays readable, nothing else wakes the loop. */
TEST(hosted_and_busy) {
    client *c;
    call *k;
    up_hosted(.threads = 1);
    c = dial_to(.window = INT32_MAX, .room = INT32_MAX);
    k = invoke(c, "flood");
    given_input("100 65536");
    end(k);
    UNTIL(k->closed);
    check_flood(k, 100, 65536, M_OUTPUT);
    down();
}

/* What it listens on is not always what a server can be told. */
TEST(how_to_register) {
    static const struct { const char *address, *url, *after; } cases[] = {
        { "::", "http://localhost:", " (for a server in a container: host.docker.internal)" },
        { "0.0.0.0", "http://localhost:", " (for a server in a container: host.docker.internal)" },
        { "127.0.0.1", "http://127.0.0.1:", "" },
        { "::1", "http://[::1]:", "" },
        { "::0", "http://localhost:", " (for a server in a container: host.docker.internal)" },
        { "0:0:0:0:0:0:0:1", "http://[::1]:", "" },
        { "0", "http://localhost:", " (for a server in a container: host.docker.internal)" },
        { "127.1", "http://127.0.0.1:", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[200];
        prepare((restate_endpoint_options){ .address = cases[i].address });
        hosted = true;
        if (restate_endpoint_fd(ep) >= 0) {
            snprintf(expected, sizeof expected, "restate deployments register %s%u%s", cases[i].url,
                     restate_endpoint_port(ep), cases[i].after);
            CHECK_STR(told_how, expected);
        } else {
            CHECK(strchr(cases[i].address, ':'));       /* no IPv6 here */
        }
        freed();
    }
}

TEST(process_waits_no_longer_than_told) {
    uint64_t before;
    up_hosted(.threads = 1);
    host_fd = -1;
    before = now_ms();
    for (int i = 0; i < 50; i++) CHECK_INT(restate_endpoint_process(ep, 0), RESTATE_OK);
    CHECK(now_ms() - before < 100 * SLOW);
    before = now_ms();
    CHECK_INT(restate_endpoint_process(ep, 50), RESTATE_OK);
    CHECK(now_ms() - before >= 49 && now_ms() - before < 1000 * SLOW);
    restate_endpoint_stop(ep);
    before = now_ms();
    CHECK_INT(restate_endpoint_process(ep, 10000), RESTATE_ENDED);
    CHECK(now_ms() - before < 1000 * SLOW);
    freed();
}

/* An idle endpoint leaves its descriptor quiet. */
TEST(hosted_and_idle) {
    client *c;
    struct pollfd p;
    call *k;
    up_hosted(.threads = 1);
    c = dial();
    GOOD(c);
    k = invoke(c, "nap");
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    pump_for(20);
    p.fd = host_fd, p.events = POLLIN, p.revents = 0;
    CHECK_INT(poll(&p, 1, 150), 0);
    hang_up(c);
    CHECK_INT(poll(&p, 1, PATIENCE_MS), 1);
    UNTIL(GET(ended) == 1);
    pump_for(20);
    CHECK_INT(poll(&p, 1, 50), 0);
    down();
}

TEST(freed_while_all_is_running) {
    for (int threads = 0; threads < 2; threads++) {
        client *c;
        call *k[6];
        up_hosted(.threads = 1);
        c = dial_to(.window = 1000, .keep_window = true);
        k[0] = invoke(c, "nap"), k[1] = invoke(c, "flood"), k[2] = invoke(c, "steps_obediently");
        k[3] = invoke(c, "blocks"), k[4] = invoke(c, "nap"), k[5] = invoke(c, "nap");
        given_input("x"), give(k[0], rt_script.at, rt_script.len), give(k[2], rt_script.at, rt_script.len);
        give(k[3], rt_script.at, rt_script.len), give(k[4], rt_script.at, rt_script.len - 1), rt_script.len = 0;
        given_input("1000 65536"), send_on(k[1]);
        UNTIL(GET(at_gate) == 2 && GET(started) == 2);
        if (threads) restate_endpoint_stop(ep), pump_for(300);
        host_fd = -1;
        restate_endpoint_free(ep);
        ep = NULL;
        CHECK_INT(GET(ended), 4);
        CHECK_INT(GET(live), 0);
        UNTIL(c->gone);
        hang_up(c);
        CHECK_INT(open_fds(), fds_before);
        rt_free_all();
    }
}

/* ---- Everything at once ----------------------------------------------------------------------------------------- */

static unsigned dice(unsigned sides) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)(state >> 20) % sides;
}

TEST(chaos) {
    static const char *const handlers[] = { "echo", "nap", "naps", "flood", "steps_obediently", "blocks", "where", "nope" };
    uint64_t until;
    client *c[6] = { NULL };
    up(.threads = 2, .pool_threads = 8);
    until = now_ms() + 1000;
    while (now_ms() < until) {
        unsigned i = dice(6);
        if (c[i] && (c[i]->gone || dice(40) == 0)) {
            if (dice(2)) client_send(c[i]);
            hang_up(c[i]);
            c[i] = NULL;
        }
        if (!c[i]) c[i] = dial_to(.window = dice(3) ? 0 : 1 + dice(2000), .keep_window = dice(4) == 0);
        if (dice(3)) {
            call *k = invoke_as(c[i], 4 + dice(4), handlers[dice(8)]);
            if (k->id < 0) break;
            start(1 + dice(2));
            input(dice(2) ? "30 5000" : "3 7");
            if (dice(2)) cmd_sleep(1, "", 5), note_sleep(1);
            if (dice(4) == 0) note_sleep(2);
            if (dice(8) == 0) rt_script.at[dice((unsigned)rt_script.len)] ^= (uint8_t)(1 + dice(255));
            k->piece = dice(3) ? 0 : 1 + dice(20);
            if (dice(2)) end(k);
            else send_on(k);
            if (dice(5) == 0) client_send(c[i]), reset(k);
        }
        if (dice(10) == 0) nghttp2_submit_ping(c[i]->session, 0, NULL);
        if (dice(300) == 0) open_gate();
        if (dice(4) == 0) patience_until = until + PATIENCE_MS, pump(-1);
    }
    open_gate();
    ALIVE();
    PUT(errors, 0);
    down();
}

/* The same requests with bytes turned over, at any place behind the preface. */
TEST(mutated_connections) {
    up(.threads = 1);
    for (int i = 0; i < (SLOW > 4 ? 60 : 400); i++) {
        wire w;
        uint8_t in[4096];
        struct pollfd p;
        wire_open(&w);
        put_preface();
        put_request(1, "/invoke/S/naps", false);
        given_input("x");
        put_frame(NGHTTP2_DATA, 0, 1, rt_script.at, rt_script.len);
        rt_script.len = 0;
        put_frame(NGHTTP2_WINDOW_UPDATE, 0, 1, "\0\0\1\0", 4);
        note_sleep(1);
        put_frame(NGHTTP2_DATA, 1, 1, rt_script.at, rt_script.len);
        rt_script.len = 0;
        put_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
        for (unsigned n = 1 + dice(5); n; n--) raw_out.at[24 + dice((unsigned)raw_out.len - 24)] = (uint8_t)dice(256);
        wire_flush(&w);
        p.fd = w.fd, p.events = POLLIN, p.revents = 0;
        if (dice(2) && poll(&p, 1, 2) > 0) {
            ssize_t n = recv(w.fd, in, sizeof in, 0);
            (void)n;
        }
        wire_close(&w);
    }
    ALIVE();
    down();
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(health_and_versions), T(refusals), T(refusals_of_strange_bytes), T(paths), T(head_request), T(discovery),
        T(discovery_needs_newer_version), T(unknown_types_in_preflight), T(unknown_types_later), T(bad_protobuf),
        T(frame_of_4_gib), T(large_frames_that_do_not_come), T(memory_grows_with_what_arrives), T(message_limit), T(input_ends_at_every_byte),
        T(input_pauses_at_every_byte), T(reset_at_every_byte), T(disconnects_at_every_byte), T(bytewise),
        T(connection_in_single_bytes), T(interleaved), T(hundred_streams), T(streams_beyond_the_limit),
        T(too_many_invocations), T(loops_share_the_connections), T(small_windows), T(closed_window),
        T(window_of_one_stream), T(window_of_the_connection), T(peer_that_does_not_read),
        T(peer_that_does_not_read_and_leaves), T(reset_while_held_back), T(large_messages_both_ways), T(full_duplex),
        T(inactivity), T(trailers_end_the_input), T(pings), T(blocking_handlers), T(data_frames), T(s148_small_commands),
        T(header_flood), T(not_http2), T(health_over_http1), T(tls_is_named), T(violations), T(rapid_reset), T(floods_without_reading),
        T(leaves_in_the_middle_of_everything), T(half_closed_connection), T(goaway_of_the_peer), T(cannot_listen), T(out_of_descriptors), T(connections_are_logged),
        T(options_that_are_wrong), T(stop_comes_early), T(every_interface), T(graceful_stop), T(requests_during_a_stop),
        T(connections_during_a_stop), T(stop_is_told), T(second_stop_cuts), T(work_outlives_run), T(handler_holds_its_loop), T(handlers_hold_all_loops),
        T(connections_leave_a_held_loop), T(handler_holds_its_loop_for_a_while), T(hook_holds_its_loop), T(free_does_not_wait_for_ever), T(drain_time_is_over), T(drain_time_by_the_clock), T(request_time_by_the_clock), T(stop_without_a_drain),
        T(steps_that_wait_for_a_thread),
        T(stop_from_a_signal_handler), T(stop_under_load), T(hosted), T(hosted_and_busy), T(how_to_register), T(process_waits_no_longer_than_told), T(hosted_and_idle),
        T(journal_arrives_during_a_stop), T(journal_does_not_arrive_during_a_stop), T(silent_peers_are_gone), T(slow_beginnings),
        T(steady_journal), T(answers_that_nobody_takes), T(refusals_hold_little), T(connection_limit), T(hosted_timeouts),
        T(strange_text_is_cleaned), T(strange_text_of_a_journal_is_cleaned), T(log_lines_are_limited),
        T(freed_while_all_is_running), T(chaos), T(mutated_connections), { NULL, NULL }
    };
    int status;
    if (pipe(bell) || fcntl(bell[0], F_SETFL, O_NONBLOCK) || fcntl(bell[1], F_SETFL, O_NONBLOCK)) return 1;
    status = test_main(argc, argv, cases);
    rt_drop(&raw_out);
    return status;
}
