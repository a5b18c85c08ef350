/* Part of soak.c: a process that stands between server and endpoints, and clients and server, passes bytes on, and is told to be a
 * bad network: connections are cut, at any byte; bytes come late, or in small pieces; what is sent gets
 * lost without a word. */
#include <poll.h>
#include <sys/mman.h>

enum { ROUTES = 4, BACKENDS = 3, CABLES = 256, PIPE_BYTES = 65536 };

typedef enum weather { CALM, CUT, CLOSE, LATE, CRUMBS, HOLE, STALL, WEATHERS } weather;
static const char *const weather_names[WEATHERS] = {
    "calm", "connections cut", "connections closed", "delays", "crumbs", "black holes", "stalls" };

/* What a relay is told. */
typedef struct forecast {
    weather what;
    int ms;                     /* how long it is to last, or how late bytes are to come */
    unsigned dice;              /* of every four connections, how many are hit */
} forecast;

typedef struct route {
    int port, socket;
    int backends[BACKENDS];     /* ports; 0: none */
} route;

/* One direction of a connection. */
typedef struct flow {
    size_t n;
    double due;                 /* what is there is not passed on before */
    bool ended;                 /* no more comes */
    char at[PIPE_BYTES];
} flow;

typedef struct cable {
    int ends[2];                /* the server's, the endpoint's; -1: none */
    weather what;
    double until;
    flow flows[2];              /* from that end to the other */
} cable;

/* Shared with the driver. */
typedef struct relay_counts {
    long long cables, bytes, hit[WEATHERS];
} relay_counts;

static struct relay {
    route routes[ROUTES];
    int orders;                 /* the pipe's end to read, or in the driver to write */
    pid_t pid;
    double late, late_until, crumbs_until;
    unsigned seed;
    relay_counts *counts;
    cable cables[CABLES];
} relay;

static unsigned relay_dice(unsigned sides) {
    relay.seed = relay.seed * 1103515245u + 12345u;
    return (relay.seed >> 8) % sides;
}

static int socket_on(int port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int s = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(s, (struct sockaddr *)&a, sizeof a) == 0 && listen(s, 64) == 0) return s;
    close(s);
    return -1;
}

static int connection_to(int port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&a, sizeof a) == 0) return s;
    close(s);
    return -1;
}

/* With a reset, or as if both had ended. */
static void cable_end(cable *l, bool reset) {
    struct linger now_at_once = { 1, 0 };
    for (int i = 0; i < 2; i++) {
        if (l->ends[i] < 0) continue;
        if (reset) setsockopt(l->ends[i], SOL_SOCKET, SO_LINGER, &now_at_once, sizeof now_at_once);
        close(l->ends[i]);
        l->ends[i] = -1;
    }
}

/* Any of those behind the route. */
static int relay_backend(const route *r) {
    unsigned n = 0;
    while (n < BACKENDS && r->backends[n]) n++;
    return r->backends[relay_dice(n)];
}

/* Somebody connects. If nobody is behind the route the connection is closed again. */
static void relay_accept(const route *r) {
    int from = accept(r->socket, NULL, NULL), to = -1;
    cable *l = relay.cables;
    if (from < 0) return;
    while (l < relay.cables + CABLES && l->ends[0] >= 0) l++;
    if (l < relay.cables + CABLES) to = connection_to(relay_backend(r));
    if (to < 0) {
        close(from);
        return;
    }
    l->ends[0] = from;
    l->ends[1] = to;
    for (int i = 0; i < 2; i++) {
        fcntl(l->ends[i], F_SETFL, O_NONBLOCK);
        l->flows[i].n = 0;
        l->flows[i].ended = false;
    }
    l->what = CALM;
    relay.counts->cables++;
}

/* Where something was lost nothing can come through any more: a connection never loses a part of its bytes. */
static void cable_hit(cable *l, const forecast *f) {
    if (l->what == HOLE && f->what == STALL) return;
    relay.counts->hit[f->what]++;
    l->what = f->what;
    l->until = now() + f->ms / 1000.0;
    if (f->what == CUT || f->what == CLOSE) cable_end(l, f->what == CUT);
}

static void relay_obey(const forecast *f) {
    if (f->what == CALM) relay.late_until = relay.crumbs_until = 0;
    if (f->what == LATE) {
        relay.late = f->ms / 1000.0;
        relay.late_until = now() + 1;
    }
    if (f->what == CRUMBS) relay.crumbs_until = now() + f->ms / 1000.0;
    if (f->what == LATE || f->what == CRUMBS) relay.counts->hit[f->what]++;
    for (cable *l = relay.cables; l < relay.cables + CABLES; l++) {
        if (l->ends[0] < 0) continue;
        if (f->what == CALM) l->until = 0;
        else if (f->what != LATE && f->what != CRUMBS && relay_dice(4) < f->dice) cable_hit(l, f);
    }
}

/* Takes what has come to one end. In a hole it is taken, too, and gone. */
static void cable_read(cable *l, int end) {
    flow *f = &l->flows[end];
    ssize_t n = read(l->ends[end], f->at + f->n, sizeof f->at - f->n);
    if (n == 0 && f->n < sizeof f->at) f->ended = true;
    if (n < 0 && errno != EAGAIN && errno != EINTR) cable_end(l, true);
    if (n <= 0 || l->what == HOLE) return;
    if (f->n == 0) f->due = now() < relay.late_until ? now() + relay.late : 0;
    f->n += (size_t)n;
    relay.counts->bytes += n;
}

static void cable_write(cable *l, int end) {
    flow *f = &l->flows[!end];
    size_t most = now() < relay.crumbs_until ? 1 + relay_dice(30) : f->n;
    ssize_t n = send(l->ends[end], f->at, most < f->n ? most : f->n, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) cable_end(l, true);
    if (n <= 0) return;
    f->n -= (size_t)n;
    memmove(f->at, f->at + n, f->n);
}

/* What there is to wait for. A hole ends with its connection, a stall with everything as it was. */
static void cable_poll(cable *l, struct pollfd p[2]) {
    if (l->what == HOLE && now() >= l->until) cable_end(l, true);
    if (l->what == STALL && now() >= l->until) l->what = CALM;
    for (int i = 0; i < 2; i++) {
        const flow *in = &l->flows[i], *out = &l->flows[!i];
        p[i].fd = l->ends[i];
        p[i].events = 0;
        if (l->what == STALL) p[i].fd = -1;
        else if (in->n < sizeof in->at && !in->ended) p[i].events |= POLLIN;
        if (l->what != HOLE && out->n > 0 && now() >= out->due) p[i].events |= POLLOUT;
        if (!p[i].events) p[i].fd = -1;
        if (l->ends[0] >= 0 && l->what == CALM && in->ended && in->n == 0) cable_end(l, false);
    }
}

static void relay_turn(void) {
    static struct pollfd p[1 + ROUTES + 2 * CABLES];
    forecast f;
    p[0] = (struct pollfd){ relay.orders, POLLIN, 0 };
    for (int i = 0; i < ROUTES; i++) p[1 + i] = (struct pollfd){ relay.routes[i].socket, POLLIN, 0 };
    for (int i = 0; i < CABLES; i++) cable_poll(&relay.cables[i], p + 1 + ROUTES + 2 * i);
    poll(p, sizeof p / sizeof *p, now() < relay.crumbs_until || now() < relay.late_until ? 2 : 20);
    for (int i = 0; i < CABLES; i++)
        for (int end = 0; end < 2; end++) {
            const struct pollfd *q = p + 1 + ROUTES + 2 * i + end;
            if (relay.cables[i].ends[end] < 0 || q->fd < 0) continue;
            if (q->revents & POLLOUT) cable_write(&relay.cables[i], end);
            if (relay.cables[i].ends[end] >= 0 && q->revents & (POLLIN | POLLHUP | POLLERR)) cable_read(&relay.cables[i], end);
        }
    for (int i = 0; i < ROUTES; i++)
        if (p[1 + i].revents) relay_accept(&relay.routes[i]);
    if (!p[0].revents) return;
    if (read(relay.orders, &f, sizeof f) != sizeof f) _exit(0);
    relay_obey(&f);
}

/* Routes with their backends are in place; they get ports to connect to. */
static bool relay_start(unsigned seed) {
    int ends[2];
    if (pipe(ends) != 0) return false;
    relay.counts = (relay_counts *)mmap(NULL, sizeof *relay.counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    relay.seed = seed;
    for (int i = 0; i < CABLES; i++) relay.cables[i].ends[0] = relay.cables[i].ends[1] = -1;
    for (int i = 0; i < ROUTES; i++) {
        relay.routes[i].port = free_port();
        relay.routes[i].socket = socket_on(relay.routes[i].port);
        if (relay.routes[i].socket < 0) return false;
    }
    fflush(stdout);
    relay.pid = fork();
    if (relay.pid == 0) {
        child_of_driver();
        close(ends[1]);
        relay.orders = ends[0];
        for (;;) relay_turn();
    }
    close(ends[0]);
    relay.orders = ends[1];
    for (int i = 0; i < ROUTES; i++) close(relay.routes[i].socket);
    return relay.pid > 0;
}

static void relay_tell(weather what, int ms, unsigned dice) {
    const forecast f = { what, ms, dice };
    CHECK(write(relay.orders, &f, sizeof f) == sizeof f);
}

static void relay_stop(void) {
    if (relay.pid <= 0) return;
    kill(relay.pid, SIGKILL);
    waitpid(relay.pid, NULL, 0);
    close(relay.orders);
    relay.pid = 0;
}
