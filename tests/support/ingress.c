/* A server for clients, on a thread of its own: what it answers is in the name of the handler, so that each test says
 * what happens to its request. See answer(). */
#ifndef INGRESS_C
#define INGRESS_C

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/un.h>

#include "test.h"

#define INGRESS_CONNS 64

typedef struct ingress_stream {
    int32_t id;
    char method[8], path[512], type[64], key[128], authorization[64], extra[64], authority[64];
    char *body;
    size_t len, room;
    const char *answer;                         /* what is sent; a copy, or a repeated byte if `fill` */
    size_t answer_len, answer_at;
    bool fill, hold, answered;                  /* hold: no end after the answer */
    bool waits;                                 /* its next byte has to wait */
} ingress_stream;

typedef struct ingress_conn {
    struct ingress *of;
    int fd;
    nghttp2_session *session;
    bool close_soon;                            /* when all is written */
    bool reset_soon;                            /* the same, and the client is told by a reset */
    bool closing;                               /* all is said; the client has not closed yet */
    bool said;                                  /* what is raw */
    size_t limited;                             /* which limits it has told */
    int32_t last_id;                            /* what is above is not looked at; 0: all is */
    ingress_stream *drips;                      /* sends a byte now and then; or NULL */
    void *tls;
} ingress_conn;

typedef struct ingress_limits {
    uint32_t streams, window;                   /* at a time; for the body of a request */
} ingress_limits;

typedef struct ingress {
    int listener, wake[2];
    uint16_t port;
    char url[128];
    pthread_t thread;
    pthread_mutex_t lock;                       /* of what follows */
    char last[1024];                            /* the last request */
    unsigned requests, connections;
    unsigned times;                             /* how often a handler that fails at first did */
    const char *rows, *written;                 /* what queries find; what they find once state was written */
    char state[256];                            /* the last write of state */
    /* What follows is set before the start. */
    uint32_t max_streams;                       /* 0: 200 */
    const ingress_limits *limits;               /* instead; the next ones when the client knows the last */
    size_t limit_count;
    ingress_conn conns[INGRESS_CONNS];
    bool narrow;                                /* HTTP/2 lets much through, the socket little at a time */
    bool quiet;                                 /* accepts, and says nothing */
    const char *raw;                            /* says this instead of HTTP/2, and closes */
    size_t raw_len;                             /* 0: that of the text */
    bool stays;                                 /* does not close then */
    bool resets;                                /* closes by a reset */
    const restate_tls *tls;
} ingress;

static void ingress_note(ingress *in, ingress_stream *s) {
    pthread_mutex_lock(&in->lock);
    in->requests++;
    snprintf(in->last, sizeof in->last, "%s %s type=%s key=%s auth=%s extra=%s body=%.*s", s->method, s->path, s->type,
             s->key, s->authorization, s->extra, (int)(s->len < 300 ? s->len : 300), s->body ? s->body : "");
    pthread_mutex_unlock(&in->lock);
}

/* The last request; the text lives until the next call. */
static inline const char *ingress_last(ingress *in) {
    static char text[1024];
    pthread_mutex_lock(&in->lock);
    snprintf(text, sizeof text, "%s", in->last);
    pthread_mutex_unlock(&in->lock);
    return text;
}

static inline unsigned ingress_count(ingress *in, unsigned *which) {
    pthread_mutex_lock(&in->lock);
    unsigned n = *which;
    pthread_mutex_unlock(&in->lock);
    return n;
}

/* The last write of state; the text lives until the next call. */
static inline const char *ingress_state(ingress *in) {
    static char text[256];
    pthread_mutex_lock(&in->lock);
    snprintf(text, sizeof text, "%s", in->state);
    pthread_mutex_unlock(&in->lock);
    return text;
}

/* What queries find from now on, and what they find once state was written. */
static inline void ingress_rows(ingress *in, const char *rows, const char *written) {
    pthread_mutex_lock(&in->lock);
    in->rows = rows;
    in->written = written;
    in->state[0] = 0;
    pthread_mutex_unlock(&in->lock);
}

/* Handlers that fail at first do so again. */
static inline void ingress_again(ingress *in) {
    pthread_mutex_lock(&in->lock);
    in->times = 0;
    pthread_mutex_unlock(&in->lock);
}

static bool is(const ingress_stream *s, const char *part) { return strstr(s->path, part) != NULL; }

static restate__h2_ssize ingress_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                                      nghttp2_data_source *source, void *user) {
    ingress_stream *s = source->ptr;
    size_t n = s->answer_len - s->answer_at;
    (void)user;
    if ((!n && s->hold) || s->waits) return NGHTTP2_ERR_DEFERRED;
    if (n > room) n = room;
    if (is(s, "/drip/")) {
        n = 1;
        s->waits = true;
    }
    if (s->fill) memset(to, 'x', n);
    else if (n) memcpy(to, s->answer + s->answer_at, n);
    s->answer_at += n;
    if (s->answer_at == s->answer_len && !s->hold) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (is(s, "/trailers")) {
            nghttp2_nv trailer;
            restate__h2_field(&trailer, "x-trailer", "t");
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(session, id, &trailer, 1);
        }
    }
    return (restate__h2_ssize)n;
}

/* Headers are pairs behind the status, up to NULL. */
static void ingress_respond(ingress_conn *c, ingress_stream *s, const char *status, const char *const *headers) {
    nghttp2_nv nv[16];
    size_t n = 0;
    RESTATE__H2_V(nghttp2_data_provider) body = { .source = { .ptr = s }, .read_callback = ingress_read };
    restate__h2_field(&nv[n++], ":status", status);
    restate__h2_field(&nv[n++], "content-type", "application/json");
    for (; headers && *headers; headers += 2) restate__h2_field(&nv[n++], headers[0], headers[1]);
    s->answered = true;
    RESTATE__H2_V(nghttp2_submit_response)(c->session, s->id, nv, n, &body);
}

static void ingress_say(ingress_conn *c, ingress_stream *s, const char *status, const char *const *headers,
                        const char *body) {
    s->answer = body;
    s->answer_len = strlen(body);
    ingress_respond(c, s, status, headers);
}

#define HEADERS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define ID "x-restate-id", "inv_1"

/* Whether a handler that fails at first has failed often enough. */
static bool ingress_enough(ingress *in, unsigned times) {
    pthread_mutex_lock(&in->lock);
    bool enough = in->times++ >= times;
    pthread_mutex_unlock(&in->lock);
    return enough;
}

static void answer_echo(ingress_conn *c, ingress_stream *s) {
    s->answer = s->body;
    s->answer_len = s->len;
    ingress_respond(c, s, "200", HEADERS(ID));
}

/* Failures of invocations, by each way in which servers tell them. */
static bool answer_failure(ingress_conn *c, ingress_stream *s) {
    if (is(s, "/fail_of_200"))
        ingress_say(c, s, "200", HEADERS(ID, "x-restate-error-source", "invocation"), "{\"message\":\"odd\"}");
    else if (is(s, "/fail_of_number"))
        ingress_say(c, s, "500", HEADERS(ID, "x-restate-error-source", "invocation"),
                    "{\"code\":1234,\"message\":\"a number\"}");
    else if (is(s, "/fail_in_body"))
        ingress_say(c, s, "503", NULL, "{\"code\":503,\"message\":\"busy\",\"source\":\"invocation\"}");
    else if (is(s, "/fail_of_old"))
        ingress_say(c, s, "503", HEADERS(ID), "{\"code\":503,\"message\":\"older\"}");
    else if (is(s, "/fail"))
        ingress_say(c, s, "418", HEADERS(ID, "x-restate-error-source", "invocation"),
                    "{\"code\":418,\"message\":\"tea\\npot\",\"metadata\":{\"a\":\"1\",\"b\":{\"c\":2},\"d\":\"\\u00e4\"}}");
    else
        return false;
    return true;
}

/* What the ingress says itself. */
static bool answer_refusal(ingress_conn *c, ingress_stream *s) {
    static const char busy[] = "{\"code\":503,\"message\":\"routing\",\"source\":\"ingress\"}";
    if (is(s, "/refuse"))
        ingress_say(c, s, "404", HEADERS("x-restate-error-source", "ingress"), "{\"message\":\"no such service\"}");
    else if (is(s, "/proxy"))
        ingress_say(c, s, "502", NULL, "<html>\nbad gateway");
    else if (is(s, "/empty_error"))
        ingress_say(c, s, "500", NULL, "");
    else if (is(s, "/busy") && !ingress_enough(c->of, 2))
        ingress_say(c, s, "503", NULL, busy);
    else if (is(s, "/later") && !ingress_enough(c->of, 1))
        ingress_say(c, s, "429", HEADERS("retry-after", "1"), busy);
    else if (strstr(s->path, "/status_"))
        ingress_say(c, s, strstr(s->path, "/status_") + 8, NULL, "{}");
    else if (is(s, "/not_ready"))
        ingress_say(c, s, "470", NULL, "{}");
    else
        return false;
    return true;
}

/* Answers that HTTP allows, though no ingress gives them. */
static bool answer_oddly(ingress_conn *c, ingress_stream *s) {
    nghttp2_nv nv[2];
    if (is(s, "/hints")) {
        restate__h2_field(&nv[0], ":status", "103");
        restate__h2_field(&nv[1], "x-restate-error-source", "invocation");      /* that is not about the answer */
        for (int i = 0; i < 3; i++) nghttp2_submit_headers(c->session, NGHTTP2_FLAG_NONE, s->id, NULL, nv, 2, NULL);
        if (is(s, "/hints_only")) nghttp2_submit_rst_stream(c->session, 0, s->id, NGHTTP2_CANCEL);
        else ingress_say(c, s, "200", HEADERS(ID), "hinted");
    } else if (is(s, "/moved")) {
        ingress_say(c, s, "307", HEADERS("location", "/elsewhere"), "");
    } else if (is(s, "/nothing")) {
        restate__h2_field(&nv[0], ":status", "204");
        s->answered = true;
        nghttp2_submit_response(c->session, s->id, nv, 1, NULL);
    } else if (is(s, "/headers/")) {
        size_t n = (size_t)atol(strstr(s->path, "/headers/") + 9);
        nghttp2_nv *many = calloc(n + 1, sizeof *many);
        char *large = calloc(1, 4001);
        memset(large, 'h', 4000);
        restate__h2_field(&many[0], ":status", "200");
        for (size_t i = 1; i <= n; i++) restate__h2_field(&many[i], "x", large);
        for (size_t i = 0; i <= n; i++) many[i].flags = NGHTTP2_NV_FLAG_NONE;
        s->answered = true;
        nghttp2_submit_response(c->session, s->id, many, n + 1, NULL);
        free(large);
        free(many);
    } else if (is(s, "/drip/")) {
        s->answer_len = (size_t)atol(strstr(s->path, "/drip/") + 6);
        s->fill = true;
        c->drips = s;
        ingress_respond(c, s, "200", HEADERS(ID));
    } else {
        return false;
    }
    return true;
}

/* The server goes away: what it has begun it answers (/last), or not (/last_words), the rest is for another one. */
static void answer_last(ingress_conn *c, ingress_stream *s) {
    c->last_id = s->id;
    c->close_soon = is(s, "/last_words");
    nghttp2_submit_goaway(c->session, 0, s->id, NGHTTP2_NO_ERROR, NULL, 0);
    if (!c->close_soon) ingress_say(c, s, "200", HEADERS(ID), "the last one");
}

/* What goes wrong below HTTP. */
static bool answer_badly(ingress_conn *c, ingress_stream *s) {
    if (is(s, "/mute")) return true;
    if (is(s, "/reset")) {
        nghttp2_submit_rst_stream(c->session, 0, s->id, NGHTTP2_INTERNAL_ERROR);
    } else if (is(s, "/unstarted") && !ingress_enough(c->of, 1)) {
        nghttp2_submit_rst_stream(c->session, 0, s->id, NGHTTP2_REFUSED_STREAM);
    } else if (is(s, "/goaway") && !ingress_enough(c->of, 1)) {
        nghttp2_submit_goaway(c->session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
        c->close_soon = true;
    } else if (is(s, "/hang_up") && !ingress_enough(c->of, 1)) {
        c->close_soon = true;
    } else if ((is(s, "/half") || is(s, "/torn")) && !ingress_enough(c->of, 1)) {
        s->hold = true;
        c->close_soon = true;
        c->reset_soon = is(s, "/torn");
        ingress_say(c, s, "200", HEADERS(ID), "only a par");
    } else if (is(s, "/cut/") && !ingress_enough(c->of, 1)) {
        s->hold = true;                         /* the reset comes when this was sent */
        ingress_say(c, s, "200", HEADERS(ID), "only a par");
    } else if (is(s, "/last") && !ingress_enough(c->of, 1)) {
        answer_last(c, s);
    } else if (is(s, "/leaving") && !ingress_enough(c->of, 1)) {
        nghttp2_submit_shutdown_notice(c->session);
        ingress_say(c, s, "200", HEADERS(ID), "still here");
    } else if (is(s, "/big/")) {
        s->fill = true;
        s->answer_len = (size_t)atol(strstr(s->path, "/big/") + 5);
        ingress_respond(c, s, "200", HEADERS(ID));
    } else {
        return false;
    }
    return true;
}

/* The admin API: state is what the test says. */
static bool answer_state(ingress_conn *c, ingress_stream *s) {
    ingress *in = c->of;
    bool write = is(s, "/state"), query = is(s, "/query");
    pthread_mutex_lock(&in->lock);
    if (write) {
        snprintf(in->state, sizeof in->state, "%.100s %.*s", s->path, (int)s->len, s->body ? s->body : "");
        if (in->written) in->rows = in->written;
    }
    const char *rows = in->rows ? in->rows : "{\"rows\":[{\"key\":\"b\",\"value\":\"3432\"},{\"key\":\"a\",\"value\":\"\"}]}";
    pthread_mutex_unlock(&in->lock);
    if (write) ingress_say(c, s, "202", NULL, "");
    else if (query) ingress_say(c, s, "200", NULL, rows);
    return write || query;
}

static void answer(ingress_conn *c, ingress_stream *s) {
    ingress_note(c->of, s);
    if (answer_failure(c, s) || answer_refusal(c, s) || answer_badly(c, s) || answer_oddly(c, s)) return;
    if (is(s, "/send"))
        ingress_say(c, s, "202", NULL, is(s, "/again/") ? "{\"invocationId\":\"inv_2\",\"status\":\"PreviouslyAccepted\"}"
                                                        : "{\"invocationId\":\"inv_2\",\"status\":\"Accepted\"}");
    else if (!answer_state(c, s))
        answer_echo(c, s);
}

static int ingress_on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    ingress_stream *s = calloc(1, sizeof *s);
    (void)user;
    s->id = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

static void ingress_copy(char *to, size_t room, const uint8_t *value, size_t len) {
    snprintf(to, room, "%.*s", (int)len, (const char *)value);
}

static int ingress_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                             const uint8_t *value, size_t len, uint8_t flags, void *user) {
    ingress_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    const struct { const char *name; char *to; size_t room; } known[] = {
        { ":method", s->method, sizeof s->method }, { ":path", s->path, sizeof s->path },
        { ":authority", s->authority, sizeof s->authority }, { "content-type", s->type, sizeof s->type },
        { "idempotency-key", s->key, sizeof s->key },
        { "authorization", s->authorization, sizeof s->authorization }, { "x-extra", s->extra, sizeof s->extra },
        { "x-restate-limit-key", s->extra, sizeof s->extra }
    };
    (void)flags;
    (void)user;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == name_len && memcmp(known[i].name, name, name_len) == 0)
            ingress_copy(known[i].to, known[i].room, value, len);
    return 0;
}

static int ingress_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                           void *user) {
    ingress_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)flags;
    (void)user;
    if (!s) return 0;
    if (s->len + len > s->room) {
        s->room = 2 * (s->len + len);
        s->body = realloc(s->body, s->room);
    }
    memcpy(s->body + s->len, data, len);
    s->len += len;
    return 0;
}

/* Tells the next limits, if there are any. */
static void ingress_limit(ingress_conn *c) {
    const ingress *in = c->of;
    ingress_limits now = { in->max_streams ? in->max_streams : 200, 65535 };
    if (in->limits && c->limited == in->limit_count) return;
    if (!in->limits && c->limited) return;
    if (in->limits) now = in->limits[c->limited];
    if (in->narrow) now.window = 1u << 30;
    if (in->narrow) nghttp2_session_set_local_window_size(c->session, 0, 0, 1 << 30);
    c->limited++;
    const nghttp2_settings_entry set[] = { { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, now.streams },
                                           { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, now.window } };
    nghttp2_submit_settings(c->session, 0, set, 2);
}

static int ingress_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    ingress_conn *c = user;
    if (frame->hd.type == NGHTTP2_SETTINGS && frame->hd.flags & NGHTTP2_FLAG_ACK) ingress_limit(c);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    if (c->last_id && frame->hd.stream_id > c->last_id) return 0;
    ingress_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s) return 0;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!end && !s->answered && is(s, "/early")) {      /* a whole answer, while the request goes on */
        ingress_note(c->of, s);
        ingress_say(c, s, "413", HEADERS("x-restate-error-source", "ingress"), "{\"message\":\"too large\"}");
    }
    if (end && !s->answered) answer(c, s);
    return 0;
}

/* The way servers end a request that they do not want to read on: after the answer, without an error. And how they
 * end it when they cannot go on with the answer. */
static int ingress_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)user;
    if (frame->hd.type != NGHTTP2_DATA) return 0;
    ingress_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s && s->hold && is(s, "/cut/"))
        nghttp2_submit_rst_stream(session, 0, s->id, (uint32_t)atol(strstr(s->path, "/cut/") + 5));
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    if (s && is(s, "/early")) nghttp2_submit_rst_stream(session, 0, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int ingress_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    ingress_stream *s = nghttp2_session_get_stream_user_data(session, id);
    ingress_conn *c = user;
    (void)code;
    if (c->drips == s) c->drips = NULL;
    if (s) free(s->body);
    free(s);
    return 0;
}

static void ingress_open(ingress_conn *c) {
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, ingress_on_begin);
    nghttp2_session_callbacks_set_on_header_callback(cb, ingress_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, ingress_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, ingress_on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, ingress_on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, ingress_on_close);
    nghttp2_session_server_new(&c->session, cb, c);
    nghttp2_session_callbacks_del(cb);
    ingress_limit(c);
}

/* A socket that is closed while it has bytes to be read sends a reset, which may overtake what was said before. So what
 * the client still sends is read until it closes, too. */
static void ingress_close(ingress_conn *c) {
    if (c->session) nghttp2_session_del(c->session);    /* streams that were open leak nothing: see below */
    if (c->tls) c->of->tls->close(c->of->tls->user, c->tls);
    c->session = NULL;
    c->drips = NULL;
    c->tls = NULL;
    c->closing = !c->reset_soon && !c->closing && shutdown(c->fd, SHUT_WR) == 0;
    if (c->closing) return;
    if (c->reset_soon) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    close(c->fd);
    c->fd = -1;
}

/* Streams are freed before their session: nghttp2 does not close them when that is deleted. */
static void ingress_end(ingress_conn *c) {
    for (int32_t id = 1; c->session && id < 20000; id += 2) {
        ingress_stream *s = nghttp2_session_get_stream_user_data(c->session, id);
        if (!s) continue;
        nghttp2_session_set_stream_user_data(c->session, id, NULL);
        free(s->body);
        free(s);
    }
    ingress_close(c);
}

/* The TLS of a connection has neither data nor an end: it wants to be called again. */
static bool ingress_again_soon(const ingress_conn *c, ssize_t n) {
    return c->tls && (n == RESTATE_IO_READ || n == RESTATE_IO_WRITE);
}

static int ingress_recv(ingress_conn *c, uint8_t *to, size_t room) {
    if (c->tls) return c->of->tls->read(c->of->tls->user, c->tls, to, room);
    return (int)recv(c->fd, to, room, 0);
}

static void ingress_write(ingress_conn *c) {
    const uint8_t *data;
    restate__h2_ssize n;
    while (c->session && (n = RESTATE__H2_V(nghttp2_session_mem_send)(c->session, &data)) > 0)
        for (size_t at = 0; at < (size_t)n;) {
            ssize_t k = c->tls ? c->of->tls->write(c->of->tls->user, c->tls, data + at, (size_t)n - at)
                               : send(c->fd, data + at, (size_t)n - at, MSG_NOSIGNAL);
            if (ingress_again_soon(c, k)) continue;     /* the socket blocks: at once */
            if (k <= 0) {
                ingress_end(c);
                return;
            }
            at += (size_t)k;
        }
    if (c->close_soon) ingress_end(c);
}

static void ingress_ready(ingress_conn *c) {
    static _Thread_local uint8_t in[65536];
    int n = ingress_recv(c, in, sizeof in);
    if (ingress_again_soon(c, n)) return;               /* after many small records */
    if ((c->of->quiet || c->closing) && n > 0) return;
    if (c->of->raw && n > 0) {
        size_t len = c->of->raw_len ? c->of->raw_len : strlen(c->of->raw);
        ssize_t sent = c->said ? 0 : send(c->fd, c->of->raw, len, MSG_NOSIGNAL);
        (void)sent;
        c->said = true;
        c->reset_soon = c->of->resets;
        if (c->of->stays) return;
        n = 0;
    }
    if (n <= 0 || RESTATE__H2_V(nghttp2_session_mem_recv)(c->session, in, (size_t)n) < 0) ingress_end(c);
    else ingress_write(c);
}

/* What TLS has read already, poll() does not show. */
static bool ingress_has_more(const ingress_conn *c) {
#ifdef RESTATE_WITH_OPENSSL
    return c->fd >= 0 && c->tls && SSL_pending(c->tls) > 0;
#else
    (void)c;
    return false;
#endif
}

/* Frames are sent one by one. They must not wait until the client acknowledges the one before: that is 40 ms each. */
static void ingress_accept(ingress *in) {
    int fd = accept(in->listener, NULL, NULL), on = 1;
    if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);      /* no use to a UNIX socket, nor harm */
    for (size_t i = 0; fd >= 0 && i < INGRESS_CONNS; i++) {
        ingress_conn *c = &in->conns[i];
        if (c->fd >= 0) continue;
        *c = (ingress_conn){ .of = in, .fd = fd };
        if (in->tls) c->tls = in->tls->open(in->tls->user, fd, NULL);
        pthread_mutex_lock(&in->lock);
        in->connections++;
        pthread_mutex_unlock(&in->lock);
        if (!in->quiet && !in->raw) {
            ingress_open(c);
            ingress_write(c);
        }
        return;
    }
    if (fd >= 0) close(fd);
}

/* One byte more of each answer that comes slowly. True: there are such. */
static bool ingress_drip(ingress *in, bool now) {
    bool any = false;
    for (size_t i = 0; i < INGRESS_CONNS; i++) {
        ingress_conn *c = &in->conns[i];
        if (c->fd < 0 || !c->drips) continue;
        any = true;
        if (!now) continue;
        c->drips->waits = false;
        nghttp2_session_resume_data(c->session, c->drips->id);
        ingress_write(c);
    }
    return any;
}

static void *ingress_run(void *arg) {
    ingress *in = arg;
    for (;;) {
        struct pollfd fds[INGRESS_CONNS + 2] = { { .fd = in->wake[0], .events = POLLIN },
                                                 { .fd = in->listener, .events = POLLIN } };
        for (size_t i = 0; i < INGRESS_CONNS; i++)
            fds[i + 2] = (struct pollfd){ .fd = in->conns[i].fd, .events = POLLIN };
        int ready = poll(fds, INGRESS_CONNS + 2, ingress_drip(in, false) ? 2 : -1);
        if (ready < 0) continue;
        if (!ready) ingress_drip(in, true);
        if (fds[0].revents) return NULL;
        for (size_t i = 0; i < INGRESS_CONNS; i++)
            if (fds[i + 2].revents && in->conns[i].fd >= 0) {
                do ingress_ready(&in->conns[i]);
                while (ingress_has_more(&in->conns[i]));
            }
        if (fds[1].revents) ingress_accept(in);
    }
}

/* On a port that is free, or on that one (to begin again where one has ended). */
static void ingress_listen(ingress *in, uint16_t port) {
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
    socklen_t len = sizeof at;
    int on = 1;
    in->listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(in->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (in->narrow) setsockopt(in->listener, SOL_SOCKET, SO_RCVBUF, &(int){ 8192 }, sizeof(int));
    CHECK_INT(bind(in->listener, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_INT(listen(in->listener, 64), 0);
    CHECK_INT(getsockname(in->listener, (struct sockaddr *)&at, &len), 0);
    in->port = ntohs(at.sin_port);
    snprintf(in->url, sizeof in->url, "%s://127.0.0.1:%u", in->tls ? "https" : "http", (unsigned)in->port);
}

static void ingress_begin(ingress *in) {
    if (!in->port) ingress_listen(in, 0);
    for (size_t i = 0; i < INGRESS_CONNS; i++) in->conns[i].fd = -1;
    pthread_mutex_init(&in->lock, NULL);
    CHECK_INT(pipe(in->wake), 0);
    CHECK_INT(pthread_create(&in->thread, NULL, ingress_run, in), 0);
}

static void ingress_stop(ingress *in) {
    ssize_t n = write(in->wake[1], "x", 1);
    (void)n;
    pthread_join(in->thread, NULL);
    for (size_t i = 0; i < INGRESS_CONNS; i++)
        while (in->conns[i].fd >= 0) ingress_end(&in->conns[i]);
    close(in->listener);
    close(in->wake[0]);
    close(in->wake[1]);
    pthread_mutex_destroy(&in->lock);
}

#endif
