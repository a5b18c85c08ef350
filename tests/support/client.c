/* A client of endpoints: calls over HTTP/2, on connections that one thread drives, so that what happens when is
 * the test's to say. Include it behind the implementation of restate.h. */
#ifndef SUPPORT_CLIENT_C
#define SUPPORT_CLIENT_C

#include "http2.c"

#include <poll.h>

typedef struct call {
    struct call *next;
    struct client *on;
    int32_t id;
    rt_bytes request;
    h2_body up;                             /* the request, as far as it is known */
    unsigned status;
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

static inline uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline void client_send(client *c) {
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

static inline void client_receive(client *c) {
    static uint8_t in[65536];
    ssize_t n;
    while (!c->gone && (n = recv(c->fd, in, sizeof in, 0)) != -1) {
        if (n == 0 || RESTATE__H2_V(nghttp2_session_mem_recv)(c->session, in, (size_t)n) < 0) c->gone = true;
        client_send(c);
    }
    if (!c->gone && errno != EAGAIN) c->gone = true;
    if (c->gone) shutdown(c->fd, SHUT_RDWR);
}

/* Waits until something came for a client, 10 ms at most; `fds` has `n` of the test's own to wait for, and room for
 * those of the clients. */
static inline void clients_wait(struct pollfd *fds, nfds_t n, nfds_t room) {
    for (client *c = clients; c; c = c->next) {
        if (c->gone) continue;
        client_send(c);
        if (n == room) abort();
        fds[n].fd = c->fd;
        fds[n++].events = (short)((c->deaf ? 0 : POLLIN) | (c->out.len ? POLLOUT : 0));
    }
    for (nfds_t i = 0; i < n; i++) fds[i].revents = 0;
    poll(fds, n, 10);
}

static inline void clients_receive(void) {
    for (client *c = clients; c; c = c->next)
        if (!c->gone && !c->deaf) client_receive(c);
}

static inline int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len,
                            const uint8_t *value, size_t len, uint8_t flags, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
    (void)flags, (void)user;
    if (!k) return 0;
    k->status = h2_status(name, name_len, value, k->status);
    if (name_len == 12 && memcmp(name, "content-type", 12) == 0)
        snprintf(k->type, sizeof k->type, "%.*s", (int)len, (const char *)value);
    if (name_len == 5 && memcmp(name, "allow", 5) == 0)
        snprintf(k->allow, sizeof k->allow, "%.*s", (int)len, (const char *)value);
    if (name_len == 16 && memcmp(name, "x-restate-server", 16) == 0)
        snprintf(k->server, sizeof k->server, "%.*s", (int)len, (const char *)value);
    return 0;
}

static inline int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, id);
    (void)flags, (void)user;
    if (k) rt_add(&k->body, data, len);
    return 0;
}

static inline int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user) {
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

static inline int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, id);
    (void)user;
    if (k) k->closed = true, k->code = code;
    return 0;
}

typedef struct dialling {
    int64_t window;                         /* of a stream, in bytes; 0: 2 MiB, -1: none at all */
    bool keep_window;                       /* what was received is not given back */
    int rcvbuf;
    int32_t room;                           /* window of the connection; 0: 5 MiB */
} dialling;

/* A client on a connected socket. */
static inline client *client_on(int fd, const dialling *d) {
    h2_options o = { on_header, on_data, on_frame, on_close, .room = d->room ? d->room : 5 << 20,
                     .keep_window = d->keep_window };
    client *c = (client *)calloc(1, sizeof *c);
    if (!c) abort();
    o.window = d->window < 0 ? 0 : d->window ? (uint32_t)d->window : 2u << 20;
    c->session = h2_session(&o, c);
    c->fd = fd;
    c->gone = fd < 0;
    c->next = clients;
    clients = c;
    return c;
}

static inline void hang_up(client *c) {
    client **at = &clients;
    while (*at && *at != c) at = &(*at)->next;
    if (*at) *at = c->next;
    if (c->fd >= 0) close(c->fd);
    nghttp2_session_del(c->session);
    while (c->calls) {
        call *k = c->calls;
        c->calls = k->next;
        rt_drop(&k->request);
        rt_drop(&k->body);
        free(k);
    }
    rt_drop(&c->out);
    free(c);
}

static inline void hang_up_all(void) {
    while (clients) hang_up(clients);
}

/* Begins a request with up to four more headers; its body is what `send_on` gives it. */
static inline call *request_with(client *c, const char *method, const char *path, const restate_pair *more) {
    call *k = (call *)calloc(1, sizeof *k);
    if (!k) abort();
    rt_add(&k->body, "", 0);
    k->on = c;
    k->next = c->calls;
    c->calls = k;
    k->id = h2_request(c->session, method, path, more, &k->up, k);
    CHECK(k->id > 0);
    return k;
}

/* The same with one more header, or none (NULL). */
static inline call *request(client *c, const char *method, const char *path, const char *name, const char *value) {
    const restate_pair more[] = { { name, value }, { NULL, NULL } };
    return request_with(c, method, path, more);
}

static inline call *invoke_as(client *c, unsigned version, const char *handler) {
    char path[64], type[64];
    snprintf(path, sizeof path, "/invoke/S/%s", handler);
    snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", version);
    return request(c, "POST", path, "content-type", type);
}

static inline void resume(call *k) { h2_resume(k->on->session, k->id, &k->up); }

static inline void give(call *k, const void *data, size_t len) {
    rt_add(&k->request, data, len);
    k->up.at = k->request.at;
    k->up.len = k->request.len;
    resume(k);
}
static inline void send_on(call *k) {              /* the script so far */
    give(k, rt_script.at, rt_script.len);
    rt_script.len = 0;
}
static inline void end(call *k) {                  /* with the script */
    k->up.over = true;
    send_on(k);
}
static inline void reset(call *k) { nghttp2_submit_rst_stream(k->on->session, 0, k->id, NGHTTP2_CANCEL); }

#endif
