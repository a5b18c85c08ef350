/* What HTTP/2 clients of the tests have in common: a connection, a session of nghttp2, a request and its body.
 * Include it behind the implementation of restate.h. */
#ifndef SUPPORT_HTTP2_C
#define SUPPORT_HTTP2_C

#include "journal.c"

#include <arpa/inet.h>

static inline struct sockaddr_in h2_address(uint16_t port) {    /* of 127.0.0.1 */
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

/* A socket with a port that nobody else has. */
static inline int h2_bound(uint16_t *port) {
    struct sockaddr_in at = h2_address(0);
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || getsockname(fd, (struct sockaddr *)&at, &len)) abort();
    *port = ntohs(at.sin_port);
    return fd;
}
static inline uint16_t h2_free_port(void) {
    uint16_t port;
    close(h2_bound(&port));
    return port;
}

/* Connects to a port of 127.0.0.1. -1: it cannot. `rcvbuf`: of the socket, unless 0. */
static inline int h2_connect(uint16_t port, int rcvbuf) {
    struct sockaddr_in at = h2_address(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0) return -1;
    if (rcvbuf) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0) return fd;
    close(fd);
    return -1;
}

typedef struct h2_options {
    nghttp2_on_header_callback on_header;
    nghttp2_on_data_chunk_recv_callback on_data;
    nghttp2_on_frame_recv_callback on_frame;
    nghttp2_on_stream_close_callback on_close;
    uint32_t window;                        /* of a stream, in bytes */
    int32_t room;                           /* window of the connection; 0: nghttp2's default */
    bool keep_window;                       /* what was received is not given back */
} h2_options;

static inline nghttp2_session *h2_session(const h2_options *o, void *user) {
    nghttp2_session *session;
    nghttp2_session_callbacks *calls;
    nghttp2_option *option;
    nghttp2_settings_entry window = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, o->window };
    if (nghttp2_session_callbacks_new(&calls) || nghttp2_option_new(&option)) abort();
    nghttp2_session_callbacks_set_on_header_callback(calls, o->on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, o->on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, o->on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, o->on_close);
    nghttp2_option_set_no_auto_window_update(option, o->keep_window);
    if (nghttp2_session_client_new2(&session, calls, user, option)) abort();
    nghttp2_session_callbacks_del(calls);
    nghttp2_option_del(option);
    nghttp2_submit_settings(session, 0, &window, 1);
    if (o->room) nghttp2_session_set_local_window_size(session, 0, 0, o->room);
    return session;
}

/* The status of a response, if the header is that; else `before`. */
static inline unsigned h2_status(const uint8_t *name, size_t name_len, const uint8_t *value, unsigned before) {
    if (name_len != 7 || memcmp(name, ":status", 7) != 0) return before;
    return (unsigned)strtoul((const char *)value, NULL, 10);
}

/* The body of a request, as far as it is known. */
typedef struct h2_body {
    const uint8_t *at;
    size_t len, sent;
    size_t piece;                           /* the most in a DATA frame; 0: as it comes */
    bool diced;                             /* any number of bytes in a DATA frame */
    bool over;                              /* END_STREAM follows */
    bool waits;                             /* for more; then h2_resume() */
} h2_body;

static inline restate__h2_ssize h2_on_upload(nghttp2_session *s, int32_t id, uint8_t *to, size_t room,
                                             uint32_t *flags, nghttp2_data_source *source, void *user) {
    h2_body *body = (h2_body *)source->ptr;
    size_t n = body->len - body->sent;
    (void)s, (void)id, (void)user;
    if (body->piece && room > body->piece) room = body->piece;
    if (n > room) n = room;
    if (body->diced && n > 1 && rt_dice(2)) n = 1 + rt_dice((unsigned)n);
    body->waits = n == 0 && !body->over;
    if (body->waits) return NGHTTP2_ERR_DEFERRED;
    if (n) memcpy(to, body->at + body->sent, n);
    body->sent += n;
    if (body->over && body->sent == body->len) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (restate__h2_ssize)n;
}

static inline void h2_resume(nghttp2_session *s, int32_t id, h2_body *body) {
    if (body->waits) nghttp2_session_resume_data(s, id);
    body->waits = false;
}

/* Begins a request with up to four more headers; `body` NULL: without one. Gives its id; callbacks find `call` as the
 * stream's. */
static inline int32_t h2_request(nghttp2_session *s, const char *method, const char *path, const restate_pair *more,
                                 h2_body *body, void *call) {
    RESTATE__H2_V(nghttp2_data_provider) provider;
    const restate_pair first[] = { { ":method", method }, { ":scheme", "http" }, { ":path", path },
                                   { ":authority", "test" } };
    nghttp2_nv fields[8];
    size_t n = 0;
    while (n < 4) restate__h2_field(&fields[n], first[n].name, first[n].value), n++;
    for (; more && more->name; more++) restate__h2_field(&fields[n++], more->name, more->value);
    for (size_t i = 0; i < n; i++) fields[i].flags = NGHTTP2_NV_FLAG_NONE;     /* nghttp2 copies them */
    provider.source.ptr = body;
    provider.read_callback = h2_on_upload;
    return RESTATE__H2_V(nghttp2_submit_request)(s, NULL, fields, n, body ? &provider : NULL, call);
}

#endif
