/* Hostile peers: what an endpoint takes while it is attacked, and what others notice of that.
 *
 *     build/hostile [--short] [-v] [PART-OF-A-NAME...]
 *
 * Each attack has an endpoint of its own, another process of this program (`build/hostile endpoint NAME`), by
 * restate_serve(). This process is the attacker, and goes on whatever the endpoint does: it comes back when its
 * connection is ended. Meanwhile a bystander, a third process, calls a handler again and again, on its connection and
 * on new ones. For each attack the table below has what it may cost at most:
 *
 *     memory        of the endpoint, in MiB: the most during the attack, above the calm before
 *     CPU           of the endpoint, in microseconds for each unit (frame, request, connection: see the table)
 *     bystander     how long its calls waited, in milliseconds of CPU time of the endpoint: what others do on the machine
 *                   does not count, what the endpoint does before it turns to the bystander does
 *
 * Besides, for each of them: every call of the bystander succeeds, the endpoint gives its descriptors and its memory
 * back, logs little, and stops as it should. The last line is "hostile: N passed, N failed". --short: with less of
 * everything, for each change; without the attacks that take seconds by their nature. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "support/client.c"
#include "support/frames.c"
#include "support/identity.c"
#include "support/process.c"
#include "support/tunnel.c"
#include "tools.h"

#include <dirent.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define MEMORY_COUNTS (SLOW == 1)           /* with a sanitizer neither means anything */
#define TIME_COUNTS (SLOW == 1)

#define GET(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define PUT(x, n) __atomic_store_n(&(x), n, __ATOMIC_SEQ_CST)

enum {
    PATIENCE_MS = 30000 * SLOW,             /* with an endpoint that makes no progress */
    PEERS = 4,                              /* connections of an attacker at a time, where nothing else is said */
    PIECE = 16384,                          /* bytes that each of them sends in its turn */
    SAMPLES = 1 << 16,
    CALLS_LEAST = 8                         /* of the bystander, before an attack, during it and after it */
};

/* ---- What an attack is --------------------------------------------------------------------------------- */

typedef struct peer {
    int fd;                                 /* -1: none */
    bool gone;                              /* the endpoint has ended the connection */
    uint32_t id;                            /* of the last stream */
    size_t sent, read;                      /* bytes */
    uint32_t tail;                          /* the last four that were read */
    bool settled;                           /* it has read its PING: the endpoint has seen what was sent before */
    bool reset;                             /* it has read a RST_STREAM */
} peer;

typedef struct attack {
    const char *name, *unit;
    void (*run)(void);                      /* NULL: floods with `fill` */
    size_t (*fill)(peer *p);                /* adds frames to raw_out; gives how many units these are; 0: this
                                               connection has done what it can, and is to come back */
    size_t units, few;                      /* in all; in the short form, 0: it is not in there */
    double memory, cpu, wait;               /* bounds: MiB, microseconds, milliseconds */
    bool deaf;                              /* its peers do not read */
    bool full;                              /* the bystander keeps its connection, as the endpoint takes no new ones */
    bool tls;                               /* the endpoint speaks TLS */
    unsigned descriptors;                   /* the endpoint has so many; 0: as many as there are */
    restate_endpoint_options o;
} attack;

/* The attack that goes on. */
static struct {
    const attack *a;
    process at;
    size_t wanted, done;                    /* units */
    size_t ended;                           /* connections that the endpoint ended */
    int descriptors;                        /* of the endpoint, before it had a connection */
    unsigned faults;
} now;

static bool short_form, verbose;
static rt_bytes nap_input;                  /* the journal of an invocation that has just begun */

static uint64_t patience_until;
static bool patient(void) { return now_ms() < patience_until; }
static void begin_patience(void) { patience_until = now_ms() + PATIENCE_MS; }

/* ---- The bystander ----------------------------------------------------------------------------------------- */

enum { CALM, ATTACKED, AFTERWARDS, PHASES };

/* What the bystander and the attacker share. */
static struct {
    bool over;
    unsigned phase;
    unsigned calls[PHASES], failed[PHASES];
    float wall[PHASES][SAMPLES], cpu[PHASES][SAMPLES];      /* milliseconds that calls took */
} *watch;
static pid_t bystander;

static const char token[] = SIGNED_TOKEN;
#define V7 "application/vnd.restate.invocation.v7"

/* NULL: it does not get in. */
static client *bystander_dial(void) {
    const dialling d = { .window = 0 };
    int fd = h2_connect(now.at.port, 0);
    if (fd < 0) return NULL;
    if (!now.a->tls) return client_on(fd, &d);
    SSL *ssl = shake(fd, "h2", NULL);
    return ssl ? client_on(tunnel_through(ssl, fd), &d) : NULL;
}

static void bystander_hang_up(void) {
    hang_up_all();
    tunnels_end();
}

static bool bystander_call(client *c) {
    const restate_pair headers[] = { { "content-type", V7 }, { "x-restate-signature-scheme", "v1" },
                                     { "x-restate-jwt-v1", token }, { NULL, NULL } };
    call *k = request_with(c, "POST", SIGNED_PATH, headers);
    start(1), input("x");
    end(k);
    begin_patience();
    while (!k->closed && !c->gone && patient()) {
        struct pollfd fds[2];
        clients_wait(fds, 0, 2);
        clients_receive();
    }
    return k->closed && k->status == 200 && k->code == 0 && k->frames > 0;
}

static void bystander_note(double wall, double cpu, bool good) {
    unsigned phase = GET(watch->phase), n = watch->calls[phase];
    if (n < SAMPLES) watch->wall[phase][n] = (float)(wall * 1000), watch->cpu[phase][n] = (float)(cpu * 1000);
    if (!good) PUT(watch->failed[phase], watch->failed[phase] + 1);
    PUT(watch->calls[phase], n + 1);
}

/* Every eighth call comes on a new connection. */
static void bystander_run(void) {
    const struct timespec pause = { 0, 1000000 };
    client *c = NULL;
    for (unsigned n = 0; !GET(watch->over); n++) {
        double wall = seconds_of(CLOCK_MONOTONIC), cpu = process_cpu(&now.at);
        bool fresh = !c || c->gone || (n % 8 == 0 && !now.a->full);
        if (fresh) bystander_hang_up(), c = bystander_dial();
        bool good = c && bystander_call(c);
        bystander_note(seconds_of(CLOCK_MONOTONIC) - wall, process_cpu(&now.at) - cpu, good);
        nanosleep(&pause, NULL);
    }
    bystander_hang_up();
}

static void bystander_start(void) {
    memset(watch, 0, offsetof(__typeof__(*watch), wall));
    bystander = fork();
    if (bystander < 0) die("fork");
    if (bystander > 0) return;
    bystander_run();
    _exit(0);
}

static void bystander_stop(void) {
    PUT(watch->over, true);
    waitpid(bystander, NULL, 0);
}

/* Waits until the bystander has made its calls in this phase; false: it does not come to it. */
static bool bystander_came(unsigned phase) {
    const struct timespec pause = { 0, 1000000 };
    begin_patience();
    while (GET(watch->calls[phase]) < CALLS_LEAST && patient()) nanosleep(&pause, NULL);
    return GET(watch->calls[phase]) >= CALLS_LEAST;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}
/* The calls in order: half of them, and all of them, took at most so long. */
static void bystander_sort(float *samples, unsigned phase, double *median, double *most) {
    unsigned n = watch->calls[phase] < SAMPLES ? watch->calls[phase] : SAMPLES;
    qsort(samples, n, sizeof *samples, by_size);
    *median = n ? (double)samples[n / 2] : 0;
    *most = n ? (double)samples[n - 1] : 0;
}

/* ---- Peers of the attacker --------------------------------------------------------------------------------- */

static void peer_close(peer *p) {
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
}

/* A connection without a byte yet. */
static void peer_connect(peer *p, int rcvbuf) {
    *p = (peer){ .fd = h2_connect(now.at.port, rcvbuf) };
    if (p->fd < 0) die("connect");
    p->id = UINT32_MAX;                     /* so that the next one is the first */
}

static void peer_look(peer *p, const uint8_t *in, size_t n) {
    p->read += n;
    for (; n; n--) {
        p->tail = p->tail << 8 | *in++;
        if (p->tail == 0x73746f70) p->settled = true;       /* "stop" */
        if (p->tail == 0x00000403) p->reset = true;         /* 4 bytes of type 3 */
    }
}

/* Reads what is there. */
static void peer_read(peer *p) {
    static uint8_t in[65536];
    while (!p->gone) {
        ssize_t n = recv(p->fd, in, sizeof in, MSG_DONTWAIT);
        if (n > 0) peer_look(p, in, (size_t)n);
        else if (n < 0 && errno == EINTR) continue;
        else if (n < 0 && errno == EAGAIN) return;
        else p->gone = true;
    }
}

/* Sends what is in raw_out. A peer that can send nothing for a while comes back on a new connection. */
static void peer_send(peer *p, bool deaf) {
    for (size_t at = 0; at < raw_out.len && !p->gone;) {
        struct pollfd wait = { p->fd, (short)(POLLOUT | (deaf ? 0 : POLLIN)), 0 };
        if (poll(&wait, 1, 2000) == 0) p->gone = true;
        if (!deaf && (wait.revents & POLLIN)) peer_read(p);
        ssize_t n = send(p->fd, raw_out.at + at, raw_out.len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) at += (size_t)n, p->sent += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR) p->gone = true;
    }
    raw_out.len = 0;
}

/* Reads until the endpoint has ended the connection, or, with a PING, has seen what was sent. */
static void peer_until(peer *p, bool settled) {
    if (settled) put_frame(NGHTTP2_PING, 0, 0, "fullstop", 8), peer_send(p, false);
    begin_patience();
    while (!p->gone && !(settled && p->settled) && patient()) {
        struct pollfd wait = { p->fd, POLLIN, 0 };
        poll(&wait, 1, 100);
        peer_read(p);
    }
    p->settled = false;
}

static void peers_close(peer *p, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (p[i].fd >= 0) peer_read(&p[i]);
        now.ended += p[i].gone;
        peer_close(&p[i]);
    }
}

/* The attack goes on until it has sent what it wants to, and the bystander has seen something of it. */
static bool goes_on(void) {
    return now.done < now.wanted || (GET(watch->calls[ATTACKED]) < CALLS_LEAST && patient());
}

/* A turn of a peer. */
static void peer_floods(peer *p) {
    size_t units = 0, more = 1;
    raw_out.len = 0;
    if (p->fd < 0) peer_connect(p, 0), put_preface();
    while (raw_out.len < PIECE && more) units += more = now.a->fill(p);
    peer_send(p, now.a->deaf);
    if (!p->gone) now.done += units;
    if (!more && !now.a->deaf) peer_until(p, true);
    if (p->gone || !more) now.ended += p->gone, peer_close(p);
}

/* Several connections flood in turn, and come back when they are ended. */
static void flood(void) {
    peer p[PEERS] = { { 0 } };
    for (size_t i = 0; i < PEERS; i++) p[i].fd = -1;
    begin_patience();
    for (size_t i = 0; goes_on(); i = (i + 1) % PEERS) peer_floods(&p[i]);
    peers_close(p, PEERS);
}

static uint32_t next_id(peer *p) { return p->id += 2; }

/* ---- Floods of frames ------------------------------------------------------------------------------------ */

static void put_nap(uint32_t id) {
    put_request(id, "/invoke/S/nap", false);
    put_frame(NGHTTP2_DATA, 0, id, nap_input.at, nap_input.len);
}

static void put_post(uint32_t id, const char *path, const char *name, const char *value) {
    rt_bytes b = raw_headers("POST", path);
    hpack_field(&b, "content-type", V7);
    if (name) hpack_field(&b, name, value);
    put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, b.at, b.len);
    rt_drop(&b);
}

/* The first request of a connection, which parks. */
static void put_parked(peer *p) {
    if (p->id == UINT32_MAX) put_nap(next_id(p));
}

static size_t fill_rapid_reset(peer *p) {
    put_nap(next_id(p));
    put_frame(NGHTTP2_RST_STREAM, 0, p->id, "\0\0\0\10", 4);
    return 1;
}

/* What a request violates, so that the endpoint has to reset its stream. */
static size_t fill_made_reset(peer *p) {
    uint32_t id = next_id(p);
    switch (id / 2 % 4) {
    case 0:                                 /* more bytes than announced */
        put_post(id, "/invoke/S/nap", "content-length", "1");
        put_frame(NGHTTP2_DATA, 0, id, nap_input.at, nap_input.len);
        break;
    case 1: put_post(id, "/invoke/S/nap", "Upper", "x"); break;
    case 2:                                 /* a window beyond 2^31 */
        put_nap(id);
        put_frame(NGHTTP2_WINDOW_UPDATE, 0, id, "\x7f\xff\xff\xff", 4);
        break;
    case 3: put_post(id, "/invoke/S/nap", "connection", "close"); break;
    }
    return 1;
}

/* The endpoint answers, and the request goes on until it is reset. */
static size_t fill_made_refusal(peer *p) {
    put_post(next_id(p), "/nope", NULL, NULL);
    put_frame(NGHTTP2_RST_STREAM, 0, p->id, "\0\0\0\10", 4);
    return 1;
}

static size_t fill_continuation(peer *p) {
    rt_bytes b = raw_headers("POST", "/invoke/S/nap");
    if (p->id == UINT32_MAX) put_frame(NGHTTP2_HEADERS, 0, next_id(p), b.at, b.len);
    rt_drop(&b);
    put_frame(NGHTTP2_CONTINUATION, 0, p->id, "\0\1x\1y", 5);
    return 1;
}
static size_t fill_empty_continuation(peer *p) {
    if (p->id == UINT32_MAX) put_frame(NGHTTP2_HEADERS, 0, next_id(p), NULL, 0);
    put_frame(NGHTTP2_CONTINUATION, 0, p->id, NULL, 0);
    return 1;
}

static size_t fill_settings(peer *p) {
    (void)p;
    put_frame(NGHTTP2_SETTINGS, 0, 0, "\0\4\0\1\0\0", 6);
    return 1;
}
static size_t fill_ping(peer *p) {
    (void)p;
    put_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
    return 1;
}
static size_t fill_empty_data(peer *p) {
    put_parked(p);
    put_frame(NGHTTP2_DATA, 0, p->id, NULL, 0);
    return 1;
}
static size_t fill_padding(peer *p) {
    static const uint8_t padded[256] = { 255 };
    put_parked(p);
    put_frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, p->id, padded, sizeof padded);
    return 1;
}
static size_t fill_window_update(peer *p) {
    put_parked(p);
    put_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
    put_frame(NGHTTP2_WINDOW_UPDATE, 0, p->id, "\0\0\0\1", 4);
    return 2;
}
/* A chain of streams that nobody has opened, each in front of all before it. */
static size_t fill_priority(peer *p) {
    uint32_t id = next_id(p);
    uint8_t on[5] = { 0x80 | (uint8_t)((id - 2) >> 24), (uint8_t)((id - 2) >> 16), (uint8_t)((id - 2) >> 8), (uint8_t)(id - 2), 15 };
    if (id == 1) memset(on, 0, 4);
    put_frame(NGHTTP2_PRIORITY, 0, id, on, sizeof on);
    return 1;
}
static size_t fill_unknown(peer *p) {
    static const uint8_t nothing[100];
    (void)p;
    put_frame(0xfa, 0xff, 3, nothing, sizeof nothing);
    return 1;
}
static size_t fill_trailers(peer *p) {      /* a request that is over at once, and another one */
    rt_bytes b = { NULL, 0, 0 };
    put_nap(next_id(p));
    hpack_field(&b, "x-trailer", "y");
    put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, p->id, b.at, b.len);
    rt_drop(&b);
    return 1;
}

static size_t fill_refused(peer *p) {
    static const char *const paths[] = { "/nope", "/invoke/S/nope", "/discover", "/health" };
    put_request(next_id(p), paths[p->id / 2 % 4], true);
    return 1;
}
static size_t fill_garbage_journal(peer *p) {
    static const uint8_t garbage[] = { 0, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff };
    put_request(next_id(p), "/invoke/S/nap", false);
    put_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, p->id, garbage, sizeof garbage);
    return 1;
}

/* ---- HPACK ------------------------------------------------------------------------------------------------- */

/* A large field goes to the table once, and is named again by one byte. `times` 15: as many as a request may have. */
static size_t put_bomb(peer *p, unsigned times, const char *path) {
    static char large[3900];
    rt_bytes b = raw_headers("POST", path);
    bool first = p->id == UINT32_MAX;
    hpack_field(&b, "content-type", V7);
    if (first) {
        memset(large, 'x', sizeof large);
        rt_add(&b, "\x40\1x", 3);
        hpack_text(&b, large, sizeof large);
    }
    for (unsigned i = first; i < times; i++) rt_add(&b, "\xbe", 1);
    put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, next_id(p), b.at, b.len);
    rt_drop(&b);
    return 1;
}
static size_t fill_bomb(peer *p) {          /* as many streams as there may be, then again */
    if (p->id != UINT32_MAX && p->id > 500) return 0;
    return put_bomb(p, 15, "/invoke/S/nap");
}
static size_t fill_big_bomb(peer *p) { return put_bomb(p, 12000, "/invoke/S/nap"); }

/* Its table, 4,096 bytes and none, again and again. */
static size_t fill_table_sizes(peer *p) {
    rt_bytes b = { NULL, 0, 0 }, rest = raw_headers("GET", "/health");
    for (int i = 0; i < 3000; i++) rt_add(&b, "\x20\x3f\xe1\x1f", 4);
    rt_add(&b, rest.at, rest.len);
    put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, next_id(p), b.at, b.len);
    rt_drop(&b);
    rt_drop(&rest);
    return 3000;
}

/* ---- Windows ------------------------------------------------------------------------------------------------- */

static void put_window(uint32_t bytes) {
    uint8_t entry[6] = { 0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16),
                         (uint8_t)(bytes >> 8), (uint8_t)bytes };
    put_frame(NGHTTP2_SETTINGS, 0, 0, entry, sizeof entry);
}

/* 250 answers wait, while the windows of all go up and down. */
static size_t fill_flips(peer *p) {
    if (p->id == UINT32_MAX) {
        put_window(0);
        while (next_id(p) < 500) {
            put_request(p->id, "/invoke/S/gush", false);
            put_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, p->id, nap_input.at, nap_input.len);
        }
    }
    put_window(1 << 20);
    put_window(0);
    return 2;
}

/* They never get a window; the endpoint has to do with that. */
static size_t fill_no_window(peer *p) {
    if (p->id == UINT32_MAX) put_window(0);
    if (p->id != UINT32_MAX && p->id > 500) return 0;
    put_request(next_id(p), "/invoke/S/gush", false);
    put_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, p->id, nap_input.at, nap_input.len);
    return 1;
}

/* Answers byte by byte. */
static size_t fill_one_byte(peer *p) {
    if (p->id == UINT32_MAX) {
        put_window(0);
        put_request(next_id(p), "/invoke/S/gush", false);
        put_frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, p->id, nap_input.at, nap_input.len);
    }
    put_frame(NGHTTP2_WINDOW_UPDATE, 0, p->id, "\0\0\0\1", 4);
    return 1;
}

/* ---- Connections ----------------------------------------------------------------------------------------------- */

static peer *peers_new(size_t count) {
    peer *p = (peer *)calloc(count, sizeof *p);
    if (!p) die("memory");
    for (size_t i = 0; i < count; i++) p[i].fd = -1;
    return p;
}

static void peers_free(peer *p, size_t count) {
    peers_close(p, count);
    free(p);
}

/* As many as there may be, which say something to begin with, or nothing. */
static void run_many(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < now.wanted + 100) {
        now.wanted = files.rlim_cur - 100;
        printf("  %s: %lu, as this process may not have more descriptors\n", now.a->name, (unsigned long)now.wanted);
    }
    peer *p = peers_new(now.wanted);
    for (size_t i = 0; i < now.wanted; i++) {
        peer_connect(&p[i], 0);
        if (i % 2) put_preface(), peer_send(&p[i], false);
        now.done++;
    }
    begin_patience();
    while (goes_on()) poll(NULL, 0, 1);
    peers_free(p, now.wanted);
}

/* There are as many already: others come, and are turned away. */
static void run_beyond(void) {
    const size_t places = now.a->o.max_connections - 1;
    peer *p = peers_new(places), more;
    for (size_t i = 0; i < places; i++) peer_connect(&p[i], 0);
    begin_patience();
    while (goes_on()) {
        peer_connect(&more, 0);
        peer_until(&more, false);
        peers_close(&more, 1);
        now.done++;
    }
    peers_free(p, places);
}

/* They speak HTTP/1, or nothing at all that is known, and stay when they were answered. */
static void run_lingering(void) {
    enum { STAY = 400 };
    static const char *const hellos[] = { "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "POST /x HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" };
    peer *p = peers_new(STAY);
    begin_patience();
    for (size_t i = 0; goes_on(); i++) {
        peers_close(&p[i % STAY], 1);
        peer_connect(&p[i % STAY], 0);
        raw_out.len = 0;
        rt_add(&raw_out, hellos[i % 3], strlen(hellos[i % 3]));
        peer_send(&p[i % STAY], false);
        now.done++;
    }
    peers_free(p, STAY);
}

/* Bytes of a beginning, one at a time, as slowly as it goes: of the preface, of HTTP/1, of headers, of a journal. */
static rt_bytes beginning(size_t how) {
    static const char *const hellos[] = { "PRI * HTTP/2.0\r\n\r\nSM\r\n", "GET /health HTTP/1.1\r\nx-long: yyyyyyyyyyyyyyyyyyyyyyyyyyy" };
    rt_bytes b = { NULL, 0, 0 };
    raw_out.len = 0;
    if (how < 2) rt_add(&raw_out, hellos[how], strlen(hellos[how]));
    else put_preface();
    if (how == 2) put_post(1, "/invoke/S/nap", NULL, NULL);
    if (how == 3) put_nap(1);
    rt_add(&b, raw_out.at, raw_out.len);
    b.len--;                                /* the last one never comes */
    return b;
}

static void slow_turn(peer *p, const rt_bytes *b) {
    raw_out.len = 0;
    if (p->sent < b->len) rt_add(&raw_out, b->at + p->sent, 1);
    peer_send(p, false);
    peer_read(p);
}

/* They are all ended, or reset. */
static void run_slow(void) {
    rt_bytes b[4];
    size_t left = now.wanted;
    peer *p = peers_new(now.wanted);
    for (size_t i = 0; i < 4; i++) b[i] = beginning(i);
    for (size_t i = 0; i < now.wanted; i++) peer_connect(&p[i], 0);
    now.done = now.wanted;
    begin_patience();
    while ((left || goes_on()) && patient()) {
        poll(NULL, 0, 20);
        for (size_t i = left = 0; i < now.wanted; i++) {
            if (!p[i].gone && !p[i].reset) slow_turn(&p[i], &b[i % 4]), left++;
        }
    }
    if (left) printf("  %s: %lu of them go on\n", now.a->name, (unsigned long)left), now.faults++;
    for (size_t i = 0; i < 4; i++) rt_drop(&b[i]);
    peers_free(p, now.wanted);
}

/* Hosts that are not there any more: whatever comes for them is dropped, and nothing is acknowledged. */
static void vanish(peer *p) {
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog filter = { 1, &drop };
    if (setsockopt(p->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter)) die("SO_ATTACH_FILTER");
}

static int descriptors_of(const process *at);

/* Half of them wait, half of them are being sent to. */
static void run_vanished(void) {
    peer *p = peers_new(now.wanted);
    for (size_t i = 0; i < now.wanted; i++) {
        peer_connect(&p[i], 4096);
        put_preface();
        put_request(next_id(&p[i]), i % 2 ? "/invoke/S/gush" : "/invoke/S/nap", false);
        put_frame(NGHTTP2_DATA, 0, p[i].id, nap_input.at, nap_input.len);
        peer_send(&p[i], false);
        peer_until(&p[i], true);
        vanish(&p[i]);
    }
    now.done = now.wanted;
    begin_patience();
    while ((goes_on() || descriptors_of(&now.at) > now.descriptors + 4) && patient()) poll(NULL, 0, 20);
    if (descriptors_of(&now.at) > now.descriptors + 4) printf("  %s: they stay\n", now.a->name), now.faults++;
    peers_free(p, now.wanted);
}

/* A peer asks for /health, and gets it, maybe later. */
static void ask(peer *p) {
    peer_connect(p, 0);
    put_preface();
    put_request(next_id(p), "/nope", true);
    peer_send(p, false);
}

/* More connections than descriptors: they wait, which takes nothing, and get in when others have left. */
static void run_descriptors(void) {
    size_t left = now.wanted;
    peer *p = peers_new(now.wanted);
    for (size_t i = 0; i < now.wanted; i++) ask(&p[i]);
    now.done = now.wanted;
    uint64_t hold = now_ms() + 1000;        /* so long nobody leaves */
    begin_patience();
    while ((left || goes_on()) && patient()) {
        poll(NULL, 0, 20);
        for (size_t i = left = 0; i < now.wanted; i++) {
            if (p[i].fd < 0) continue;
            left++;
            peer_read(&p[i]);
            if (p[i].gone || (now_ms() > hold && p[i].read > 100)) peers_close(&p[i], 1);
        }
    }
    if (left) printf("  %s: %lu got no answer\n", now.a->name, (unsigned long)left), now.faults++;
    peers_free(p, now.wanted);
}

/* ---- Journals ---------------------------------------------------------------------------------------------------- */

/* Bodies of 1 MiB of the same messages, again and again, as fast as the endpoint takes them. Each is a unit of KiB. */
static void run_endless_with(const char *path, const rt_bytes *piece) {
    const dialling d = { .window = 0 };
    const restate_pair type[] = { { "content-type", V7 }, { NULL, NULL } };
    client *c = NULL;
    call *k = NULL;
    begin_patience();
    while (goes_on()) {
        struct pollfd fds[2];
        if (!c || c->gone) {
            hang_up_all();
            c = client_on(h2_connect(now.at.port, 0), &d);
            k = NULL;
        }
        if (!k || k->closed) {
            k = request_with(c, "POST", path, type);
            give(k, nap_input.at, nap_input.len);
        } else if (k->up.sent == k->up.len) {
            k->up.at = piece->at, k->up.len = piece->len, k->up.sent = 0;
            resume(k);
            now.done += piece->len / 1024;
        }
        clients_wait(fds, 0, 2);
        clients_receive();
    }
    hang_up_all();
}

static rt_bytes pieces_of(void (*put)(void)) {
    rt_bytes b;
    rt_script.len = 0;
    while (rt_script.len < MIB) put();
    b = rt_script;
    memset(&rt_script, 0, sizeof rt_script);
    return b;
}
static void put_signal(void) { note_named("s", "x"); }
static void put_unknown_note(void) { note_void(0xFB00, 10); }

static void run_endless(void (*put)(void), const char *path) {
    rt_bytes piece = pieces_of(put);
    run_endless_with(path, &piece);
    rt_drop(&piece);
}
static void run_endless_signals(void) { run_endless(put_signal, "/invoke/S/nap"); }
static void run_endless_completions(void) { run_endless(put_unknown_note, "/invoke/S/nap"); }
static void run_endless_after_all(void) { run_endless(put_signal, "/nope"); }

/* Messages of 64 MiB are announced, and do not come. */
static size_t fill_announced(peer *p) {
    static const uint8_t head[] = { 0, 0, 0, 0, 4, 0, 0, 0, 10 }, start_[] = { 0, 0, 0, 0, 0, 0, 0, 6, 10, 1, 120, 18, 1, 120 };
    if (p->id != UINT32_MAX && p->id > 500) return 0;
    put_request(next_id(p), "/invoke/S/nap", false);
    if (p->id & 2) put_frame(NGHTTP2_DATA, 0, p->id, start_, sizeof start_);
    put_frame(NGHTTP2_DATA, 0, p->id, head, sizeof head);
    return 1;
}

/* Frames of HTTP/2 that are announced with 16 MiB. */
static size_t fill_huge_frames(peer *p) {
    (void)p;
    rt_add(&raw_out, "\xff\xff\xff\0\0\0\0\0\1", 9);
    return 1;
}

/* Each byte comes alone. */
static void run_bytewise(void) {
    peer p;
    begin_patience();
    while (goes_on()) {
        rt_bytes all = { NULL, 0, 0 };
        peer_connect(&p, 0);
        put_preface();
        for (int i = 0; i < 50; i++) put_request(next_id(&p), "/nope", true);
        rt_add(&all, raw_out.at, raw_out.len);
        for (size_t i = 0; i < all.len && !p.gone; i++, now.done++) {
            raw_out.len = 0;
            rt_add(&raw_out, all.at + i, 1);
            peer_send(&p, false);
        }
        rt_drop(&all);
        peers_close(&p, 1);
    }
}

/* ---- Identity ------------------------------------------------------------------------------------------------------- */

static void put_signed(uint32_t id, const char *name, const char *value, size_t times) {
    rt_bytes b = raw_headers("POST", SIGNED_PATH);
    hpack_field(&b, "content-type", V7);
    hpack_field(&b, "x-restate-signature-scheme", "v1");
    for (size_t i = 0; i < times; i++) hpack_field(&b, name, value);
    put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id, b.at, b.len);
    rt_drop(&b);
}
#define JWT "x-restate-jwt-v1"

/* The token, but for its signature. */
static size_t fill_wrong_signature(peer *p) {
    char wrong[sizeof token];
    memcpy(wrong, token, sizeof token);
    wrong[sizeof token - 20] = (char)('A' + p->id / 2 % 26);
    put_signed(next_id(p), JWT, wrong, 1);
    return 1;
}
static size_t fill_large_token(peer *p) {
    static char large[16001];
    memset(large, 'e', p->id & 2 ? 8100 : 16000);
    large[p->id & 2 ? 8100 : 16000] = 0;
    large[36] = '.', large[8000] = '.';
    put_signed(next_id(p), JWT, large, 1);
    return 1;
}
static size_t fill_many_tokens(peer *p) {
    put_signed(next_id(p), JWT, token, 30);
    return 1;
}
/* Claims of 4,000 arrays, one in the other. */
static size_t fill_deep_token(peer *p) {
    static char deep[7000];
    rt_bytes b = { NULL, 0, 0 };
    if (!*deep) memset(deep, 'W', 6000);    /* W1tb: [[[ */
    for (size_t i = 0; i + 4 <= 6000; i += 4) memcpy(deep + i, "W1tb", 4);
    rt_add(&b, token, strcspn(token, ".") + 1);
    rt_add(&b, deep, strlen(deep));
    rt_add(&b, strrchr(token, '.'), strlen(strrchr(token, '.')) + 1);
    put_signed(next_id(p), JWT, (const char *)b.at, 1);
    rt_drop(&b);
    return 1;
}

/* ---- TLS ---------------------------------------------------------------------------------------------------------------- */

static void run_handshakes(void) {
    begin_patience();
    while (goes_on()) {
        SSL *ssl = shake(h2_connect(now.at.port, 0), "h2", NULL);
        if (ssl) {
            int fd = SSL_get_fd(ssl);
            SSL_free(ssl);
            close(fd);
            now.done++;
        }
    }
}

/* The first bytes of a handshake. */
static rt_bytes hello_of_tls(void) {
    rt_bytes b = { NULL, 0, 0 };
    char *bytes;
    SSL *ssl = SSL_new(client_ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_connect(ssl);
    long n = BIO_get_mem_data(SSL_get_wbio(ssl), &bytes);
    rt_add(&b, bytes, n > 0 ? (size_t)n : 0);
    SSL_free(ssl);
    return b;
}

/* They begin and do not go on, after nothing, a byte, half of a hello, and all of it. */
static void run_slow_handshakes(void) {
    rt_bytes hello = hello_of_tls();
    const size_t parts[] = { 0, 1, hello.len / 2, hello.len };
    peer *p = peers_new(now.wanted);
    for (size_t i = 0; i < now.wanted; i++) {
        peer_connect(&p[i], 0);
        raw_out.len = 0;
        rt_add(&raw_out, hello.at, parts[i % 4]);
        peer_send(&p[i], false);
    }
    now.done = now.wanted;
    for (size_t i = 0; i < now.wanted; i++) peer_until(&p[i], false);
    begin_patience();
    while (goes_on()) poll(NULL, 0, 1);
    rt_drop(&hello);
    peers_free(p, now.wanted);
}

/* What no TLS is, what it is not any more, and what is none. */
static void run_garbage_tls(void) {
    rt_bytes hello = hello_of_tls();
    peer p;
    begin_patience();
    while (goes_on()) {
        peer_connect(&p, 0);
        raw_out.len = 0;
        if (now.done % 4 == 3) put_preface();
        else rt_add(&raw_out, hello.at, hello.len);
        if (now.done % 4 < 3) raw_out.at[now.done % 4 ? 6 + now.done / 4 % (hello.len - 6) : 3] ^= 0x55;
        if (now.done % 4 == 2) for (int i = 0; i < 500; i++) rt_add(&raw_out, hello.at, hello.len);
        peer_send(&p, false);
        shutdown(p.fd, SHUT_WR);
        peer_until(&p, false);
        peers_close(&p, 1);
        now.done++;
    }
    rt_drop(&hello);
}

/* Records that change the keys and carry nothing, in TLS 1.3: `n` of them, as bytes. */
static rt_bytes key_updates(SSL *ssl, int n) {
    rt_bytes b = { NULL, 0, 0 };
    char *bytes;
    SSL_set0_wbio(ssl, BIO_new(BIO_s_mem()));
    while (n-- > 0 && SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1) SSL_do_handshake(ssl);
    long len = BIO_get_mem_data(SSL_get_wbio(ssl), &bytes);
    rt_add(&b, bytes, len > 0 ? (size_t)len : 0);
    return b;
}

static void run_key_updates(void) {
    begin_patience();
    while (goes_on()) {
        SSL *ssl = shake(h2_connect(now.at.port, 0), "h2", NULL);
        if (!ssl) continue;
        peer p = { .fd = SSL_get_fd(ssl) };
        rt_bytes b = key_updates(ssl, 20000);
        raw_out.len = 0;
        rt_add(&raw_out, b.at, b.len);
        peer_send(&p, false);
        if (!p.gone) now.done += 20000;
        rt_drop(&b);
        SSL_free(ssl);
        peers_close(&p, 1);
    }
}

/* ---- The table ------------------------------------------------------------------------------------------------ */

#define ONE_LOOP .o.threads = 1

static const char *const keys[] = { OTHER_KEY, KEY, NULL };

static const attack attacks[] = {
    { "rapid-reset", "stream", NULL, fill_rapid_reset, 200000, 4000, 24, 40, 150, ONE_LOOP },
    { "made-you-reset", "stream", NULL, fill_made_reset, 200000, 4000, 24, 40, 150, ONE_LOOP },
    { "reset-of-refusals", "stream", NULL, fill_made_refusal, 200000, 4000, 8, 40, 150, ONE_LOOP },
    { "continuation", "frame", NULL, fill_continuation, 1000000, 20000, 8, 5, 150, ONE_LOOP },
    { "continuation-empty", "frame", NULL, fill_empty_continuation, 1000000, 20000, 8, 5, 150, ONE_LOOP },
    { "settings", "frame", NULL, fill_settings, 1000000, 20000, 8, 5, 150, ONE_LOOP },
    { "settings-deaf", "frame", NULL, fill_settings, 1000000, 20000, 8, 5, 150, .deaf = true, ONE_LOOP },
    { "ping", "frame", NULL, fill_ping, 1000000, 20000, 8, 5, 150, ONE_LOOP },
    { "ping-deaf", "frame", NULL, fill_ping, 1000000, 20000, 8, 5, 150, .deaf = true, ONE_LOOP },
    { "data-empty", "frame", NULL, fill_empty_data, 2000000, 40000, 8, 5, 150, ONE_LOOP },
    { "data-padding", "frame", NULL, fill_padding, 1000000, 20000, 8, 5, 150, ONE_LOOP },
    { "window-update", "frame", NULL, fill_window_update, 2000000, 40000, 8, 5, 150, ONE_LOOP },
    { "priority", "frame", NULL, fill_priority, 1000000, 20000, 8, 5, 150, ONE_LOOP },
    { "unknown-frames", "frame", NULL, fill_unknown, 1000000, 20000, 8, 5, 150, ONE_LOOP },
    { "trailers", "stream", NULL, fill_trailers, 200000, 4000, 24, 40, 150, ONE_LOOP },
    { "refusals", "request", NULL, fill_refused, 200000, 4000, 8, 40, 150, ONE_LOOP },
    { "refusals-deaf", "request", NULL, fill_refused, 200000, 4000, 8, 40, 150, .deaf = true, ONE_LOOP },
    { "journals-garbage", "request", NULL, fill_garbage_journal, 200000, 4000, 24, 40, 150, ONE_LOOP },
    { "header-bomb", "request", NULL, fill_bomb, 100000, 4000, 120, 300, 400, ONE_LOOP },
    { "header-bomb-big", "request", NULL, fill_big_bomb, 4000, 100, 8, 1000, 400, ONE_LOOP },
    { "table-sizes", "update", NULL, fill_table_sizes, 3000000, 150000, 8, 1, 150, ONE_LOOP },
    { "window-flips", "frame", NULL, fill_flips, 20000, 1000, 100, 1000, 200, ONE_LOOP },
    { "window-flips-deaf", "frame", NULL, fill_flips, 20000, 1000, 100, 1000, 200, .deaf = true, ONE_LOOP },
    { "window-zero", "request", NULL, fill_no_window, 20000, 2000, 100, 1000, 200, ONE_LOOP },
    { "window-one-byte", "byte", NULL, fill_one_byte, 500000, 20000, 8, 40, 150, ONE_LOOP },
    { "announced", "request", NULL, fill_announced, 50000, 2000, 24, 150, 60, ONE_LOOP },
    { "huge-frames", "frame", NULL, fill_huge_frames, 500000, 20000, 8, 5, 150, ONE_LOOP },
    { "endless-signals", "KiB", run_endless_signals, NULL, 64 * 1024, 4 * 1024, 500, 200, 150, ONE_LOOP },
    { "endless-completions", "KiB", run_endless_completions, NULL, 64 * 1024, 4 * 1024, 500, 200, 150, ONE_LOOP },
    { "endless-after-all", "KiB", run_endless_after_all, NULL, 64 * 1024, 4 * 1024, 8, 100, 150, ONE_LOOP },
    { "bytewise", "byte", run_bytewise, NULL, 200000, 5000, 8, 200, 150, ONE_LOOP },

    { "connections", "conn", run_many, NULL, 10000, 1000, 120, 200, 150, .o = { .threads = 2, .max_connections = 20000 } },
    { "connections-beyond", "conn", run_beyond, NULL, 10000, 300, 8, 400, 150, .full = true, .o = { .threads = 1, .max_connections = 50 } },
    { "connections-lingering", "conn", run_lingering, NULL, 20000, 1000, 16, 400, 150, ONE_LOOP },
    { "slow", "conn", run_slow, NULL, 400, 0, 16, 20000, 150, .o = { .threads = 1, .request_timeout_ms = 1000 } },
    { "vanished", "conn", run_vanished, NULL, 200, 0, 80, 20000, 150, .o = { .threads = 2, .peer_timeout_ms = 1000 } },
    { "descriptors", "conn", run_descriptors, NULL, 200, 100, 8, 5000, 150, .full = true, .descriptors = 40, .o.threads = 2 },
    { "descriptors-of-workers", "conn", run_descriptors, NULL, 200, 0, 8, 2000, 150, .full = true, .descriptors = 30, .o.processes = 2 },

    { "signature-wrong", "request", NULL, fill_wrong_signature, 20000, 500, 8, 1500, 600, .o = { .threads = 1, .identity_keys = keys } },
    { "token-large", "request", NULL, fill_large_token, 20000, 500, 8, 300, 150, .o = { .threads = 1, .identity_keys = keys } },
    { "tokens-many", "request", NULL, fill_many_tokens, 20000, 500, 8, 1500, 100, .o = { .threads = 1, .identity_keys = keys } },
    { "token-deep", "request", NULL, fill_deep_token, 20000, 500, 8, 300, 150, .o = { .threads = 1, .identity_keys = keys } },

    { "tls-handshakes", "conn", run_handshakes, NULL, 2000, 50, 8, 10000, 150, .tls = true, ONE_LOOP },
    { "tls-slow", "conn", run_slow_handshakes, NULL, 400, 0, 40, 10000, 150, .tls = true, .o = { .threads = 1, .request_timeout_ms = 1000 } },
    { "tls-garbage", "conn", run_garbage_tls, NULL, 4000, 100, 8, 10000, 200, .tls = true, ONE_LOOP },
    { "tls-key-updates", "record", run_key_updates, NULL, 400000, 20000, 8, 100, 150, .tls = true, ONE_LOOP },
    { NULL }
};

static const attack *attack_of(const char *name) {
    const attack *a = attacks;
    while (a->name && strcmp(a->name, name) != 0) a++;
    return a->name ? a : NULL;
}

/* ---- The endpoint ---------------------------------------------------------------------------------------------- */

static restate_status greet(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }

static restate_status nap(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(1)));
    return restate_reply(ctx, in);
}

/* Sends more than a peer takes. */
static restate_status gush(restate_ctx *ctx, restate_bytes in) {
    static const uint8_t drop[16384];
    (void)in;
    for (int i = 0; i < 640 && !restate_stop_requested(ctx); i++)
        restate_send(ctx, (restate_target){ .service = "S", .handler = "nap" }, (restate_bytes){ drop, sizeof drop }, NULL);
    return RESTATE_OK;
}

static const restate_service greeter = { .name = "Greeter", .handlers = RESTATE_HANDLERS({ .name = "greet", .fn = greet }) };
static const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS(
    { .name = "nap", .fn = nap }, { .name = "gush", .fn = gush, .options.stall_warning_ms = RESTATE_ZERO_MS }) };

/* All to standard error, which is a file; where it listens, to the attacker. */
static void log_line(void *user, const restate_log_record *r) {
    (void)user;
    fprintf(stderr, "%s\n", r->message);
    if (strncmp(r->message, "listening on", 12) != 0) return;
    printf("%s\n", r->message);
    fflush(stdout);
}

static int be_endpoint(const char *name) {
    static const restate_service *const services[] = { &greeter, &service, NULL };
    const attack *a = attack_of(name);
    struct rlimit files;
    if (!a) return 2;
    restate_endpoint_options o = a->o;
    o.services = services;
    o.address = "127.0.0.1";
    o.port = RESTATE_ANY_PORT;
    o.stop_on_signals = RESTATE_ON;
    o.drain_ms = 500;
    o.logger.write = log_line;
    if (a->tls) o.certificate_file = getenv("HOSTILE_CERTIFICATE"), o.key_file = getenv("HOSTILE_KEY");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = a->descriptors ? a->descriptors : files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    return restate_serve(&o);
}

/* ---- Measuring -------------------------------------------------------------------------------------------------- */

/* What an attack took. Its endpoint stays until all attacks are over: it may give memory back after a while. */
typedef struct result {
    const attack *a;
    process at;
    FILE *log;
    int descriptors;                        /* before it had a connection */
    size_t calm, most, left;                /* memory: before, at most, when everything is over */
    double cpu;                             /* seconds, of the attack */
    size_t done, ended;
    unsigned calls;
    double median[PHASES], wait[PHASES];    /* of the bystander: as time, median; as CPU, the most; milliseconds */
    unsigned faults;
} result;

static void fault(result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fault(result *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("  %s: ", r->a->name);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    r->faults++;
}

/* Descriptors of the endpoint. */
static int descriptors_of(const process *at) {
    int n = 0;
    for (size_t i = 0; process_at(at, i); i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/fd", (int)process_at(at, i));
        DIR *d = opendir(path);
        while (d && readdir(d)) n++;
        if (d) closedir(d);
    }
    return n;
}

/* From now on VmHWM is the most since now. */
static void reset_most(const process *at) {
    for (size_t i = 0; process_at(at, i); i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)process_at(at, i));
        FILE *f = fopen(path, "w");
        if (!f || fputs("5", f) < 0 || fclose(f)) die(path);
    }
}

static void phase_of_bystander(result *r, unsigned phase) {
    double ignored;
    unsigned n = watch->calls[phase];
    if (n < CALLS_LEAST) fault(r, "the bystander made %u calls in phase %u", n, phase);
    if (watch->failed[phase]) fault(r, "%u of %u calls of the bystander failed in phase %u", watch->failed[phase], n, phase);
    bystander_sort(watch->wall[phase], phase, &r->median[phase], &ignored);
    bystander_sort(watch->cpu[phase], phase, &ignored, &r->wait[phase]);
    if (phase == ATTACKED) r->calls = n;
}

static void attack_run(result *r) {
    double cpu;
    r->descriptors = now.descriptors = descriptors_of(&r->at);
    bystander_start();
    bystander_came(CALM);
    if (r->a->o.processes > 1) process_find_workers(&r->at);
    r->calm = process_memory(&r->at, "VmRSS");
    if (r->a->o.processes > 1) r->descriptors = now.descriptors = descriptors_of(&r->at);
    reset_most(&r->at);
    PUT(watch->phase, ATTACKED);
    cpu = process_cpu(&r->at);
    if (r->a->run) r->a->run();
    else flood();
    r->cpu = process_cpu(&r->at) - cpu;
    r->most = process_memory(&r->at, "VmHWM");
    r->done = now.done, r->ended = now.ended, r->faults += now.faults;
    PUT(watch->phase, AFTERWARDS);
    bystander_came(AFTERWARDS);
    bystander_stop();
    for (unsigned i = 0; i < PHASES; i++) phase_of_bystander(r, i);
}

static void attack_begin(result *r, const attack *a) {
    *r = (result){ .a = a, .log = tmpfile() };
    if (!r->log || fcntl(fileno(r->log), F_SETFD, FD_CLOEXEC)) die("tmpfile");
    process_start(&r->at, a->name, fileno(r->log));
    now.a = a;
    now.at = r->at;
    now.wanted = short_form ? a->few : a->units;
    now.done = now.ended = now.faults = 0;
    attack_run(r);
}

static double mib(size_t bytes) { return (double)bytes / (double)MIB; }
static size_t above(size_t bytes, size_t calm) { return bytes > calm ? bytes - calm : 0; }

enum { LEFT_MIB = 6, LOG_KIB = 128 };

/* All is over: waits until the endpoint has given its descriptors and its memory back. */
static void attack_settle(result *r) {
    const struct timespec pause = { 0, 20000000 };
    struct stat log;
    begin_patience();
    do {
        r->left = above(process_memory(&r->at, "VmRSS"), r->calm);
        if ((mib(r->left) < LEFT_MIB || !MEMORY_COUNTS) && descriptors_of(&r->at) <= r->descriptors) break;
        nanosleep(&pause, NULL);
    } while (patient());
    if (descriptors_of(&r->at) > r->descriptors) fault(r, "%d descriptors are left", descriptors_of(&r->at));
    if (MEMORY_COUNTS && mib(r->left) >= LEFT_MIB) fault(r, "%.1f MiB are left", mib(r->left));
    if (!process_stop(&r->at)) fault(r, "the endpoint did not end well");
    if (fstat(fileno(r->log), &log)) die("fstat");
    if (log.st_size > LOG_KIB * 1024) fault(r, "the log has %ld bytes", (long)log.st_size);
}

static void bound(result *r, const char *what, double got, double most) {
    if (!(got < most)) fault(r, "%s: %.2f is not below %g", what, got, most);
}

static void attack_judge(result *r) {
    double memory = mib(above(r->most, r->calm)), cpu = r->cpu * 1e6 / (double)(r->done ? r->done : 1);
    if (MEMORY_COUNTS) bound(r, "memory (MiB)", memory, r->a->memory);
    if (TIME_COUNTS) bound(r, "CPU for each unit (us)", cpu, r->a->cpu);
    if (TIME_COUNTS) bound(r, "wait of the bystander (ms of CPU)", r->wait[ATTACKED], r->a->wait);
    printf("%-20s %9lu %-8s %6lu %7.1f %5g %9.2f %6g %6.1f %5g %7u %7.2f %7.2f %5.1f  %s\n", r->a->name, (unsigned long)r->done,
           r->a->unit, (unsigned long)r->ended, memory, r->a->memory, cpu, r->a->cpu, r->wait[ATTACKED], r->a->wait, r->calls,
           r->median[CALM], r->median[ATTACKED], mib(r->left), r->faults ? "FAILED" : "ok");
}

/* The log, without lines that say the same as the one before. */
static void show_log(const result *r) {
    char line[400], last[400] = "";
    unsigned shown = 0;
    rewind(r->log);
    while (fgets(line, sizeof line, r->log) && shown < 40) {
        if (strcmp(line, last) != 0) printf("    %s", line), shown++;
        memcpy(last, line, sizeof last);
    }
}

static void show_heading(void) {
    printf("%-20s %9s %-8s %6s %13s %16s %12s %7s %15s %5s\n", "", "", "", "ended", "memory, MiB", "CPU, us for each",
           "waits, ms", "calls", "median, ms", "left,");
    printf("%-20s %9s %-8s %6s %7s %5s %9s %6s %6s %5s %7s %7s %7s %5s\n", "attack", "units", "", "conns", "most", "bound",
           "unit", "bound", "most", "bound", "", "calm", "then", "MiB");
}

/* ---- All of them -------------------------------------------------------------------------------------------------- */

static bool wanted(int argc, char **argv, const attack *a) {
    return (!short_form || a->few) && test_wanted(argc, argv, a->name);
}

static char dir[64], cert_file[96], key_file[96];

static void make_certificate(void) {
    certificate ca = certificate_new(NULL, NULL), shown = certificate_new("IP:127.0.0.1", &ca);
    snprintf(dir, sizeof dir, "/tmp/restate-hostile.XXXXXX");
    if (!mkdtemp(dir)) die(dir);
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", dir);
    snprintf(key_file, sizeof key_file, "%s/key.pem", dir);
    certificate_write(&shown, cert_file, key_file);
    setenv("HOSTILE_CERTIFICATE", cert_file, 1);
    setenv("HOSTILE_KEY", key_file, 1);
    certificate_free(&shown);
    certificate_free(&ca);
    client_ctx = SSL_CTX_new(TLS_client_method());
}

static void tidy(void) {
    SSL_CTX_free(client_ctx);
    unlink(cert_file), unlink(key_file), rmdir(dir);
    rt_drop(&nap_input), rt_drop(&raw_out);
}

static void prepare(void) {
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);               /* OpenSSL's sockets raise it */
    make_certificate();
    setvbuf(stdout, NULL, _IOLBF, 0);
    start(1), input("x");
    nap_input = rt_script;
    memset(&rt_script, 0, sizeof rt_script);
    watch = mmap(NULL, sizeof *watch, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (watch == MAP_FAILED) die("mmap");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static unsigned conclude(result *all, size_t count) {
    unsigned failed = 0;
    for (size_t i = 0; i < count; i++) attack_settle(&all[i]);
    show_heading();
    for (size_t i = 0; i < count; i++) {
        attack_judge(&all[i]);
        failed += all[i].faults != 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (all[i].faults || verbose) printf("%s said:\n", all[i].a->name), show_log(&all[i]);
        fclose(all[i].log);
    }
    return failed;
}

int main(int argc, char **argv) {
    static result all[sizeof attacks / sizeof *attacks];
    size_t count = 0;
    if (argc == 3 && strcmp(argv[1], "endpoint") == 0) return be_endpoint(argv[2]);
    for (int i = 1; i < argc; i++) {
        short_form = short_form || strcmp(argv[i], "--short") == 0;
        verbose = verbose || strcmp(argv[i], "-v") == 0;
    }
    prepare();
    for (const attack *a = attacks; a->name; a++) {
        if (!wanted(argc, argv, a)) continue;
        if (verbose) printf("%s\n", a->name);
        attack_begin(&all[count++], a);
    }
    unsigned failed = conclude(all, count);
    tidy();
    printf("hostile: %u passed, %u failed\n", (unsigned)count - failed, failed);
    return failed != 0;
}
