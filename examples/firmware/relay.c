/* The other end of the firmware's serial line: serves HTTP/2, passes each exchange on in frames.
 *
 *     PORT=9080 LINK=/dev/ttyUSB0 relay       a serial device, 115,200 baud, RTS and CTS
 *     PORT=9080 LINK=/tmp/firmware relay      else a socket that the emulator connects to
 *
 * Exchanges live as long as the firmware knows of them: when it starts anew, goes away, or a frame
 * is damaged, their streams are reset, and the server makes the attempts again. Requests that come
 * while it is away get 503, and those beyond what it can have at a time wait here. For POSIX
 * systems; needs nghttp2. */
#define _DEFAULT_SOURCE 1
#define _POSIX_C_SOURCE 200809L
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PEERS = 16, STREAMS = 64, HEADERS = 16 };    /* connections, exchanges of each at a time */

/* ---- Bytes ----------------------------------------------------------------------------------- */

typedef struct buffer {
    uint8_t *at;
    size_t size, room;
} buffer;

static void add(buffer *b, const void *bytes, size_t size) {
    if (b->room - b->size < size) {
        b->room = (b->size + size) * 2;
        b->at = realloc(b->at, b->room);
        if (!b->at) abort();
    }
    if (size) memcpy(b->at + b->size, bytes, size);
    b->size += size;
}

static void drop(buffer *b, size_t size) {
    b->size -= size;
    if (b->size) memmove(b->at, b->at + size, b->size);
}

static void add_text(buffer *b, const char *text) { add(b, text, strlen(text) + 1); }

static void discard(buffer *b) {
    free(b->at);
    memset(b, 0, sizeof *b);
}

/* ---- State ----------------------------------------------------------------------------------- */

/* Where an exchange is. OPEN: from LINK_OPEN until the firmware ends it, or a side resets it. */
typedef enum phase { ARRIVING, WAITING, OPEN, OVER } phase;

typedef struct exchange {
    struct exchange *next;                  /* a later one */
    struct peer *peer;
    int32_t stream;
    uint16_t number;                        /* while it is open */
    phase phase;
    buffer method, path, headers;           /* of the request */
    buffer body;                            /* while it waits */
    bool ended;                             /* the request has ended */
    size_t uncredited;                      /* bytes of it that no window was opened for */
    buffer response;
    bool answered, complete;
} exchange;

typedef struct peer {
    int fd;                                 /* -1: free */
    nghttp2_session *session;
    buffer out;
} peer;

static struct {
    peer peers[PEERS];
    exchange *exchanges;
    uint16_t last_number;
    int listener;                           /* of peers */
    int line_listener, line;                /* -1: there is none */
    bool device;                            /* `line` is one */
    unsigned room;                          /* exchanges that the firmware can have; 0: it said no
                                               HELLO yet */
    link_in in;
    buffer to_line;
} relay;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* ---- Frames to the firmware ------------------------------------------------------------------ */

static void put(void *user, uint8_t byte) {
    (void)user;
    add(&relay.to_line, &byte, 1);
}
static link_out out = { .put = put };

static void send_time(void) {
    uint8_t body[8];
    const uint64_t ms = wall_ms();
    for (int i = 0; i < 8; i++) body[i] = (uint8_t)(ms >> 8 * i);
    link_send(&out, LINK_TIME, 0, body, sizeof body);
}

static void send_data(exchange *x, const uint8_t *bytes, size_t size) {
    for (size_t n, at = 0; at < size; at += n) {
        n = size - at < LINK_BYTES ? size - at : LINK_BYTES;
        link_send(&out, LINK_DATA, x->number, bytes + at, n);
    }
}

/* ---- Responses ------------------------------------------------------------------------------- */

static ssize_t read_response(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room,
                             uint32_t *flags, nghttp2_data_source *source, void *user) {
    exchange *x = source->ptr;
    size_t n = x->response.size < room ? x->response.size : room;
    (void)session, (void)stream, (void)user;
    if (n) memcpy(to, x->response.at, n);
    drop(&x->response, n);
    if (x->complete && !x->response.size) *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (!n) return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)n;
}

static nghttp2_nv pair(const char *name, const char *value) {
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                         strlen(value), NGHTTP2_NV_FLAG_NONE };
}

/* `at` to `end`: names and values. */
static void respond(exchange *x, unsigned status, const uint8_t *at, const uint8_t *end) {
    nghttp2_nv headers[HEADERS];
    nghttp2_data_provider body = { .source = { .ptr = x }, .read_callback = read_response };
    char code[16];
    size_t n = 0;
    snprintf(code, sizeof code, "%u", status);
    headers[n++] = pair(":status", code);
    while (n < HEADERS) {
        const char *name = link_text(&at, end), *value = link_text(&at, end);
        if (!name || !value) break;
        headers[n++] = pair(name, value);
    }
    x->answered = true;
    if (nghttp2_submit_response(x->peer->session, x->stream, headers, n, &body) != 0) abort();
}

static void refuse(exchange *x, unsigned status, const char *why) {
    add(&x->response, why, strlen(why));
    x->complete = true;
    respond(x, status, NULL, NULL);
}

static void reset(exchange *x) {
    x->phase = OVER;
    nghttp2_submit_rst_stream(x->peer->session, NGHTTP2_FLAG_NONE, x->stream,
                              NGHTTP2_INTERNAL_ERROR);
}

/* The firmware knows of no exchange any more. */
static void reset_all(void) {
    relay.room = 0;
    for (exchange *x = relay.exchanges; x; x = x->next)
        if (x->phase == WAITING || x->phase == OPEN) reset(x);
}

static void open_exchange(exchange *x) {
    buffer head = { NULL, 0, 0 };
    add(&head, x->method.at, x->method.size);
    add(&head, x->path.at, x->path.size);
    add(&head, x->headers.at, x->headers.size);
    if (head.size > LINK_BYTES) {
        x->phase = OVER;
        refuse(x, 431, "too many headers for the firmware");
    } else {
        x->phase = OPEN;
        x->number = ++relay.last_number;
        link_send(&out, LINK_OPEN, x->number, head.at, head.size);
        send_data(x, x->body.at, x->body.size);
        if (x->ended) link_send(&out, LINK_FIN, x->number, NULL, 0);
    }
    discard(&head);
}

/* As many as the firmware can have, the oldest first. */
static void open_exchanges(void) {
    unsigned count = 0;
    for (const exchange *x = relay.exchanges; x; x = x->next) count += x->phase == OPEN;
    for (exchange *x = relay.exchanges; x && count < relay.room; x = x->next) {
        if (x->phase != WAITING) continue;
        open_exchange(x);
        count += x->phase == OPEN;
    }
}

/* ---- Frames from the firmware ---------------------------------------------------------------- */

static exchange *find(uint16_t number) {
    for (exchange *x = relay.exchanges; x; x = x->next)
        if (x->phase == OPEN && x->number == number) return x;
    return NULL;
}

static void on_frame(void) {
    const uint8_t *body = link_in_body(&relay.in), *end = body + link_in_size(&relay.in);
    const link_type type = link_in_type(&relay.in);
    exchange *x = find(link_in_number(&relay.in));
    if (type == LINK_HELLO) {
        reset_all();
        if (end - body == 1) relay.room = *body;
        send_time();
        printf("relay: the firmware is ready for %u exchanges at a time\n", relay.room);
    }
    if (!x) return;
    if (type == LINK_OPEN && !x->answered && end - body >= 2)
        respond(x, body[0] | (unsigned)body[1] << 8, body + 2, end);
    if (type == LINK_DATA) add(&x->response, body, (size_t)(end - body));
    if (type == LINK_FIN) x->complete = true, x->phase = OVER;
    if (type == LINK_RESET) reset(x);
    if (x->answered && (type == LINK_DATA || type == LINK_FIN))
        nghttp2_session_resume_data(x->peer->session, x->stream);
}

/* What the line held is of no use. */
static void begin_anew(void) {
    reset_all();
    relay.to_line.size = 0;
    link_next(&relay.in);
    link_send(&out, LINK_RESTART, 0, NULL, 0);
}

static void on_byte(uint8_t byte) {
    link_got got = link_feed(&relay.in, byte);
    if (got == LINK_FRAME) on_frame();
    if (got == LINK_DAMAGED) begin_anew();
    if (got != LINK_MORE) link_next(&relay.in);
}

/* ---- Requests: callbacks of nghttp2 ---------------------------------------------------------- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    exchange *x, **last = &relay.exchanges;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    x = calloc(1, sizeof *x);
    if (!x) return NGHTTP2_ERR_CALLBACK_FAILURE;
    x->peer = user;
    x->stream = frame->hd.stream_id;
    while (*last) last = &(*last)->next;
    *last = x;
    return nghttp2_session_set_stream_user_data(session, x->stream, x);
}

/* What an endpoint reads; the line is slow. */
static bool wanted(const char *name) {
    return strcmp(name, "accept") == 0 || strcmp(name, "content-type") == 0 ||
           strncmp(name, "x-restate-", 10) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t size, uint8_t flags,
                     void *user) {
    exchange *x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)name_size, (void)size, (void)flags, (void)user;
    if (!x || x->phase != ARRIVING) return 0;
    if (strcmp((const char *)name, ":method") == 0) add_text(&x->method, (const char *)value);
    else if (strcmp((const char *)name, ":path") == 0) add_text(&x->path, (const char *)value);
    else if (wanted((const char *)name)) {
        add_text(&x->headers, (const char *)name);
        add_text(&x->headers, (const char *)value);
    }
    return 0;
}

/* Its headers are there. */
static void headers_arrived(exchange *x) {
    if (relay.room) {
        x->phase = WAITING;
        return;
    }
    x->phase = OVER;
    refuse(x, 503, "the firmware is not connected");
}

static void request_ended(exchange *x) {
    x->ended = true;
    if (x->phase == OPEN) link_send(&out, LINK_FIN, x->number, NULL, 0);
}

static int on_frame_of_peer(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    exchange *x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)user;
    if (!x) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        headers_arrived(x);
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        request_ended(x);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t size, void *user) {
    exchange *x = nghttp2_session_get_stream_user_data(session, stream);
    (void)flags, (void)user;
    if (!x || x->phase == OVER) return nghttp2_session_consume(session, stream, size);
    if (x->phase == OPEN) send_data(x, bytes, size);
    else add(&x->body, bytes, size);
    x->uncredited += size;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user) {
    exchange *x = nghttp2_session_get_stream_user_data(session, stream), **at = &relay.exchanges;
    (void)code, (void)user;
    if (!x) return 0;
    if (x->phase == OPEN) link_send(&out, LINK_RESET, x->number, NULL, 0);
    if (x->uncredited) nghttp2_session_consume_connection(session, x->uncredited);
    while (*at != x) at = &(*at)->next;
    *at = x->next;
    discard(&x->method);
    discard(&x->path);
    discard(&x->headers);
    discard(&x->body);
    discard(&x->response);
    free(x);
    return 0;
}

/* ---- Peers ----------------------------------------------------------------------------------- */

static nghttp2_session *new_session(peer *p) {
    nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS } };
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session *session;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_of_peer);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option_set_no_auto_window_update(option, 1);    /* the line may be slow */
    if (nghttp2_session_server_new2(&session, callbacks, p, option) != 0 ||
        nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 1) != 0) abort();
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return session;
}

static void peer_accept(void) {
    int fd = accept(relay.listener, NULL, NULL);
    if (fd < 0) return;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (peer *p = relay.peers; p < relay.peers + PEERS; p++) {
        if (p->fd >= 0) continue;
        p->fd = fd;
        p->session = new_session(p);
        return;
    }
    close(fd);
}

/* nghttp2_session_del() closes no streams by itself. */
static void peer_drop(peer *p) {
    for (exchange *x = relay.exchanges, *next; x; x = next) {
        next = x->next;
        if (x->peer == p) on_close(p->session, x->stream, 0, p);
    }
    nghttp2_session_del(p->session);
    discard(&p->out);
    close(p->fd);
    p->fd = -1;
}

/* False: the connection is over. */
static bool peer_read(peer *p) {
    uint8_t bytes[16384];
    ssize_t n = read(p->fd, bytes, sizeof bytes);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    return n > 0 && nghttp2_session_mem_recv(p->session, bytes, (size_t)n) == n;
}

static bool peer_write(peer *p) {
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(p->session, &bytes)) > 0) add(&p->out, bytes, (size_t)n);
    if (n < 0) return false;
    if (p->out.size) {
        n = send(p->fd, p->out.at, p->out.size, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (n > 0) drop(&p->out, (size_t)n);
    }
    return p->out.size || nghttp2_session_want_read(p->session) ||
           nghttp2_session_want_write(p->session);
}

/* What is on the line needs no room here any more. */
static void open_windows(void) {
    for (exchange *x = relay.exchanges; x; x = x->next) {
        if (x->phase == WAITING) continue;
        nghttp2_session_consume(x->peer->session, x->stream, x->uncredited);
        x->uncredited = 0;
    }
}

/* ---- The line -------------------------------------------------------------------------------- */

static void line_open_device(const char *path) {
    struct termios t;
    relay.device = true;
    relay.line = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (relay.line < 0 || tcgetattr(relay.line, &t) != 0) fail(path);
    t.c_iflag = t.c_oflag = t.c_lflag = 0;
    t.c_cflag = CS8 | CREAD | CLOCAL | CRTSCTS;
    cfsetispeed(&t, B115200);
    cfsetospeed(&t, B115200);
    if (tcsetattr(relay.line, TCSANOW, &t) != 0) fail(path);
    begin_anew();
}

static void line_listen(const char *path) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof a.sun_path) errno = ENAMETOOLONG, fail(path);
    memcpy(a.sun_path, path, strlen(path) + 1);
    unlink(path);
    relay.line_listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(relay.line_listener, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(relay.line_listener, 4) != 0) fail(path);
}

static void line_open(const char *path) {
    struct stat st;
    relay.line = relay.line_listener = -1;
    if (stat(path, &st) == 0 && S_ISCHR(st.st_mode)) line_open_device(path);
    else line_listen(path);
}

static void line_close(void) {
    if (relay.device) fail("the serial line");
    close(relay.line);
    relay.line = -1;
    relay.to_line.size = 0;
    reset_all();
    puts("relay: the firmware went away");
}

/* An emulator that is started anew says HELLO itself. */
static void line_accept(void) {
    if (relay.line >= 0) line_close();
    relay.line = accept(relay.line_listener, NULL, NULL);
    if (relay.line < 0) return;
    fcntl(relay.line, F_SETFL, O_NONBLOCK);
    begin_anew();
}

static void line_read(void) {
    uint8_t bytes[4096];
    ssize_t n = read(relay.line, bytes, sizeof bytes);
    for (ssize_t i = 0; i < n; i++) on_byte(bytes[i]);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) line_close();
}

static void line_write(void) {
    ssize_t n = write(relay.line, relay.to_line.at, relay.to_line.size);
    if (n > 0) drop(&relay.to_line, (size_t)n);
    if (n < 0 && errno != EAGAIN && errno != EINTR) line_close();
    if (!relay.to_line.size) open_windows();
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void serve_port(const char *port) {
    struct sockaddr_in a = { .sin_family = AF_INET };
    const int on = 1;
    a.sin_port = htons((uint16_t)atoi(port));
    a.sin_addr.s_addr = htonl(INADDR_ANY);
    relay.listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(relay.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(relay.listener, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(relay.listener, 64) != 0) fail("PORT");
}

static short events(const buffer *to_send) {
    return (short)(to_send->size ? POLLIN | POLLOUT : POLLIN);
}

static void turn(void) {
    struct pollfd p[3 + PEERS] = { { relay.listener, POLLIN, 0 },
                                   { relay.line_listener, POLLIN, 0 },
                                   { relay.line, events(&relay.to_line), 0 } };
    for (int i = 0; i < PEERS; i++)
        p[3 + i] = (struct pollfd){ relay.peers[i].fd, events(&relay.peers[i].out), 0 };
    if (poll(p, 3 + PEERS, -1) < 0 && errno != EINTR) fail("poll");
    for (int i = 0; i < PEERS; i++)
        if (p[3 + i].fd >= 0 && (p[3 + i].revents & ~POLLOUT) && !peer_read(&relay.peers[i]))
            peer_drop(&relay.peers[i]);
    if (relay.line >= 0 && (p[2].revents & ~POLLOUT)) line_read();
    if (relay.line >= 0 && relay.to_line.size) line_write();
    if (p[0].revents) peer_accept();
    if (p[1].revents) line_accept();
    open_exchanges();
    for (int i = 0; i < PEERS; i++)
        if (relay.peers[i].fd >= 0 && !peer_write(&relay.peers[i])) peer_drop(&relay.peers[i]);
}

int main(void) {
    const char *port = getenv("PORT"), *path = getenv("LINK");
    if (!path) {
        fputs("relay: LINK is missing, a serial device or the place of a socket\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < PEERS; i++) relay.peers[i].fd = -1;
    relay.last_number = (uint16_t)wall_ms();
    line_open(path);
    serve_port(port ? port : "9080");
    for (;;) turn();
}
