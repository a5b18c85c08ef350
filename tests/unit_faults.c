/* What the system refuses: an endpoint over sockets, with pool and blocking handlers, and a client, while each
 * allocation and each system call fails, is interrupted, or does less than it was asked for (support/faults.c). The rule
 * for all of it: no crash, no hang, nothing wrong in an answer, no leak of memory or descriptors, and the next piece of
 * work is done. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "support/server.c"
#include "support/caller.c"
#include "support/faults.c"

/* ---- Plain or over TLS: unit_faults_tls.c ---------------------------------------------------- */

#ifdef RESTATE_WITH_OPENSSL
#include "support/tunnel.c"

static char cert_file[64], key_file[64];
static restate__tls_files shown = { .certificate = cert_file, .key = key_file };
static restate__tls of_ingress;
static restate_tls tls_of_ingress;

#define SECURE .certificate_file = cert_file, .key_file = key_file

/* A connection that has shaken hands; NULL: it could not. */
static client *dials(void) {
    const dialling usual = { .window = 0 };
    int fd = dial_fd(0);
    SSL *ssl = shake(fd, "h2", NULL);
    return ssl ? client_on(tunnel_through(ssl, fd), &usual) : NULL;
}

static void hangs_up_all(void) {
    hang_up_all();
    tunnels_end();
}
#else
#define SECURE .certificate_file = NULL
static client *dials(void) { return dial(); }
static void hangs_up_all(void) { hang_up_all(); }
#endif

/* ---- What fails, and how --------------------------------------------------------------------- */

#define ONCE(kind, error) { kind, error, FAULT_ONCE }
#define OFTEN(kind, error) { kind, error, FAULT_ONCE }, { kind, error, FAULT_OFTEN }
#define ON(kind, error) { kind, error, FAULT_ONCE }, { kind, error, FAULT_ON }

/* Over TLS the bytes go by recv() and send(). */
#ifdef RESTATE_WITH_OPENSSL
#define DENSE 6
#define SPARSE 200
#define IS_ABOUT(kind) ((kind) == FAULT_RECV || (kind) == FAULT_SEND || (kind) == FAULT_FOPEN || (kind) == FAULT_OPENSSL || \
                        (kind) == FAULT_MEMORY || (kind) == FAULT_EPOLL_CTL)        /* the rest has nothing to do with TLS */
#define SECURE_FAULTS ON(FAULT_FOPEN, EMFILE), ON(FAULT_OPENSSL, 0),
#define FAULTS_OF_SENDING OFTEN(FAULT_SEND, EINTR), OFTEN(FAULT_SEND, EAGAIN), ON(FAULT_SEND, FAULT_SHORT), \
    ON(FAULT_SEND, EPIPE), ONCE(FAULT_SEND, ECONNRESET), ONCE(FAULT_SEND, ENOBUFS),
#else
#define DENSE 20
#define SPARSE 30
#define IS_ABOUT(kind) true
#define SECURE_FAULTS
#define FAULTS_OF_SENDING OFTEN(FAULT_SENDMSG, EINTR), OFTEN(FAULT_SENDMSG, EAGAIN), ON(FAULT_SENDMSG, FAULT_SHORT), \
    ON(FAULT_SENDMSG, EPIPE), ONCE(FAULT_SENDMSG, ECONNRESET), ONCE(FAULT_SENDMSG, ENOBUFS),
#endif

static const fault faults_of_server[] = {
    ON(FAULT_KEY, EAGAIN),                  /* first, as there is one in the life of a process */
    OFTEN(FAULT_ACCEPT, EINTR), OFTEN(FAULT_ACCEPT, EAGAIN), OFTEN(FAULT_ACCEPT, ECONNABORTED), ONCE(FAULT_ACCEPT, EPROTO),
    OFTEN(FAULT_ACCEPT, EMFILE), ONCE(FAULT_ACCEPT, ENFILE), ONCE(FAULT_ACCEPT, ENOBUFS), ONCE(FAULT_ACCEPT, ENOMEM),
    OFTEN(FAULT_RECV, EINTR), OFTEN(FAULT_RECV, EAGAIN), ON(FAULT_RECV, FAULT_SHORT), ON(FAULT_RECV, ECONNRESET),
    ONCE(FAULT_RECV, ETIMEDOUT), ONCE(FAULT_RECV, FAULT_END), ONCE(FAULT_RECV, ENOMEM),
    FAULTS_OF_SENDING
    OFTEN(FAULT_READ, EINTR), OFTEN(FAULT_READ, EAGAIN), OFTEN(FAULT_WRITE, EINTR),
    OFTEN(FAULT_EPOLL_WAIT, EINTR), ON(FAULT_EPOLL_WAIT, FAULT_SHORT),
    ON(FAULT_EPOLL_CTL, ENOMEM), ONCE(FAULT_EPOLL_CTL, ENOSPC),
    ON(FAULT_EPOLL_CREATE, EMFILE), ON(FAULT_EVENTFD, EMFILE), ONCE(FAULT_EVENTFD, ENOMEM),
    ON(FAULT_SOCKET, EMFILE), ON(FAULT_SOCKET, ENOBUFS), ON(FAULT_BIND, EADDRINUSE), ON(FAULT_LISTEN, EADDRINUSE),
    ON(FAULT_GETADDRINFO, EAI_MEMORY), ON(FAULT_GETADDRINFO, EAI_SYSTEM), ON(FAULT_GETSOCKNAME, ENOBUFS),
    ON(FAULT_GETPEERNAME, ENOTCONN), ON(FAULT_SETSOCKOPT, ENOMEM), ON(FAULT_FCNTL, EPERM), ON(FAULT_SHUTDOWN, ENOTCONN),
    ON(FAULT_CLOSE, EINTR),
    ON(FAULT_MMAP, ENOMEM), ON(FAULT_MPROTECT, ENOMEM), ON(FAULT_THREAD, EAGAIN), ON(FAULT_ATTR, ENOMEM),
    ON(FAULT_MUTEX, ENOMEM), ON(FAULT_COND, EAGAIN),
    ON(FAULT_MEMORY, 0), SECURE_FAULTS
    { FAULT_NONE, 0, FAULT_ONCE }
};

/* What changes nothing but how often a call is made, or is not needed. */
static bool is_harmless(const fault *f) {
    switch (f->kind) {
    case FAULT_MEMORY: case FAULT_OPENSSL: case FAULT_THREAD: case FAULT_COND: case FAULT_KEY: case FAULT_GETADDRINFO:
        return f->kind == FAULT_KEY;
    case FAULT_SETSOCKOPT: case FAULT_GETPEERNAME: case FAULT_CLOSE:
        return true;
    default:
        return f->error == EINTR || f->error == EAGAIN || f->error == FAULT_SHORT;
    }
}

static void walk(const char *scenario, const fault *faults, void (*step)(const fault *, size_t)) {
    for (const fault *first = faults; faults->kind; faults++) {
        if (!IS_ABOUT(faults->kind) || (SLOW > 4 && (faults - first) % 3)) continue;
        size_t stride = faults->kind == FAULT_OPENSSL ? 211 * SLOW : SLOW > 4 ? SPARSE : 7;  /* a handshake makes thousands */
        size_t dense = SLOW > 4 ? 2 : faults->kind == FAULT_MEMORY && SLOW == 1 ? 200 : DENSE;
        fault_walk(scenario, step, faults, dense, stride);
    }
}

/* ---- An endpoint ----------------------------------------------------------------------------- */

/* After each accept() that failed it is later, so that nobody waits until accepting goes on. */
static uint64_t later_ms(void *user) {
    (void)user;
    return now_ms() + 1000 * (MEM_GET(fault_now->kind) == FAULT_ACCEPT ? MEM_GET(fault_now->hits) : 0);
}

/* Runs the endpoint on a thread. False: it could not begin. */
static bool serves(void) {
    PUT(run_over, false);
    if (fault_thread_start(&runner, NULL, run_it, ep)) abort();
    while (!restate_endpoint_port(ep) && !GET(run_over)) sched_yield();
    if (GET(run_over)) pthread_join(runner, NULL);
    return !GET(run_over);
}

static bool has_frame(const call *k, unsigned type) {
    for (size_t at = 0; at + 8 <= k->body.len; at += 8 + ((size_t)k->body.at[at + 6] << 8 | k->body.at[at + 7]))
        if ((unsigned)(k->body.at[at] << 8 | k->body.at[at + 1]) == type) return true;
    return false;
}

typedef enum expectation { ANYTHING, ALL_OR_GONE, ALL } expectation;

/* An answer that came to its end is the right one, or tells of an error where that may be. */
#define ANSWERS(k, how, ...) do { \
        bool over = (k)->answered && (k)->status == 200 && (k)->code == 0; \
        if ((how) == ALL || ((how) == ALL_OR_GONE && !(k)->on->gone)) CHECK(over); \
        if (over && ((how) != ANYTHING || !has_frame(k, M_ERROR))) SAYS(k, __VA_ARGS__); \
    } while (0)

/* One invocation of each kind: of a handler that returns at once, one with a closure in the pool, and one that is in
 * the pool itself. */
static void visit(client *c, expectation how) {
    if (!c) {
        CHECK(how == ANYTHING);
        return;
    }
    call *plain = invoke(c, "echo"), *closure = invoke(c, "steps"), *blocking = invoke(c, "blocks");
    given_input("x");
    give(plain, rt_script.at, rt_script.len), give(closure, rt_script.at, rt_script.len);
    end(blocking), end(plain);
    UNTIL(closure->closed || c->gone || has_frame(closure, M_PROPOSE) || has_frame(closure, M_ERROR));
    note_ack(1);
    end(closure);
    UNTIL((plain->closed && closure->closed && blocking->closed) || c->gone);
    if (how == ALL) CHECK(!c->gone);
    ANSWERS(plain, how, "Output value \"x\"", "End");
    ANSWERS(blocking, how, "Output value \"x\"", "End");
    ANSWERS(closure, how, "Run 1 \"step\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 value \"stepped\" ack",
            "? AwaitingOn W{c:1,s:1}", "Output value \"stepped\"", "End");
}

/* A health check by HTTP/1: the endpoint closes this connection itself, and says why if it expects TLS. */
static void probe(expectation how) {
    static const char get[] = "GET /health HTTP/1.1\r\n\r\n";
    wire w;
    wire_open(&w);
    if (wire_send(&w, get, sizeof get - 1))
        while (wire_more(&w)) continue;
    if (how != ANYTHING) CHECK_HAS(w.in.at ? (const char *)w.in.at : "", ep->options.certificate_file ? " 400 " : " 200 OK\r\n");
    wire_close(&w);
}

static void begin_with(const restate_clock *clock) {
    forget();
    gate_is_open = true;
    fault_here(true);
    ep = endpoint_of((restate_endpoint_options){ .threads = 2, .pool_threads = 2, .clock = *clock,
                                                 .log_connections = RESTATE_ON, SECURE });
    fault_here(false);
}

/* It could not begin. What was missing is there again: it begins, or if not even the options could be read, another one
 * does. */
static void begin_again(const restate_clock *clock) {
    CHECK_INT(ran, RESTATE_ERROR);
    if (ep) CHECK(*restate_endpoint_error(ep));
    CHECK_INT(restate_endpoint_port(ep), 0);            /* nobody waits for it in vain */
    if (!ep || ep->invalid) {
        restate_endpoint_free(ep);
        begin_with(clock);
    }
    CHECK(serves());
}

/* All is over, and nothing is left. */
static void ends(void) {
    PUT(errors, 0);
    hangs_up_all();
    fault_here(true);
    stopped();
    fault_here(false);
}

/* A life of an endpoint: faults from the first allocation on until it has served several connections. */
static void serve(const fault *f, size_t n) {
    static const restate_clock usual, leaps = { later_ms, later_ms, NULL };
    const restate_clock *clock = f->kind == FAULT_ACCEPT ? &leaps : &usual;
    fault_arm(f, n);
    begin_with(clock);
    client *first = NULL;
    expectation how = is_harmless(f) ? ALL : ANYTHING;
    bool begun = serves();
    if (begun) {
        first = dials();
        visit(first, how);
        client *second = dials();
        visit(second, how);
        if (second) hang_up(second);
        probe(how);
        UNTIL(restate__srv_conns(ep->server) <= 1);
        CHECK(!GET(run_over));
    }
    fault_disarm();
    if (!begun) begin_again(clock);
    else if (first && !first->gone) visit(first, ALL_OR_GONE);
    visit(dials(), ALL);
    probe(ALL);
    restate_endpoint_stop(ep);
    ends();
}

/* It has its response, or was reset, as where there was no memory for one. */
static bool has_ended(const call *k) { return k->answered || k->closed; }

/* The end of one with handlers and closures under way: it drains, or is cut off. */
static void stop(const fault *f, size_t n, bool drains) {
    static const restate_clock usual;
    begin_with(&usual);
    gate_is_open = false;
    CHECK(serves());
    client *c = dials();
    call *parked = invoke(c, "nap"), *closure = invoke(c, "steps_obediently"), *blocking = invoke(c, "blocks");
    given_input("x"), give(parked, rt_script.at, rt_script.len);
    give(closure, rt_script.at, rt_script.len), send_on(blocking);
    UNTIL(GET(at_gate) == 2 && frames_came(parked, 2));
    fault_arm(f, n);
    for (int stops = drains ? 1 : 2; stops; stops--) restate_endpoint_stop(ep);
    if (drains) open_gate();
    UNTIL((has_ended(parked) && has_ended(closure) && has_ended(blocking)) || c->gone);
    end(parked), end(closure), end(blocking);
    UNTIL(GET(run_over));
    ends();
    fault_disarm();
}
static void drain(const fault *f, size_t n) { stop(f, n, true); }
static void cut(const fault *f, size_t n) { stop(f, n, false); }

/* ---- A client -------------------------------------------------------------------------------- */

static const fault faults_of_client[] = {
    OFTEN(FAULT_RECV, EINTR), OFTEN(FAULT_RECV, EAGAIN), ON(FAULT_RECV, FAULT_SHORT), ON(FAULT_RECV, ECONNRESET),
    ONCE(FAULT_RECV, ETIMEDOUT), ON(FAULT_RECV, FAULT_END), ONCE(FAULT_RECV, ENOMEM),
    OFTEN(FAULT_SEND, EINTR), OFTEN(FAULT_SEND, EAGAIN), ON(FAULT_SEND, FAULT_SHORT), ON(FAULT_SEND, EPIPE),
    ONCE(FAULT_SEND, ECONNRESET), ONCE(FAULT_SEND, ENOBUFS),
    OFTEN(FAULT_READ, EINTR), ON(FAULT_OPEN, EMFILE),
    OFTEN(FAULT_WRITE, EINTR),
    OFTEN(FAULT_EPOLL_WAIT, EINTR), ON(FAULT_EPOLL_WAIT, FAULT_SHORT),
    ON(FAULT_EPOLL_CTL, ENOMEM), ONCE(FAULT_EPOLL_CTL, ENOSPC), ON(FAULT_EPOLL_CREATE, EMFILE),
    ON(FAULT_EVENTFD, EMFILE), ON(FAULT_TIMERFD, EMFILE),
    ON(FAULT_SOCKET, EMFILE), ONCE(FAULT_SOCKET, ENOBUFS), ON(FAULT_FCNTL, EPERM), ON(FAULT_SETSOCKOPT, ENOMEM),
    OFTEN(FAULT_CONNECT, EINTR), ON(FAULT_CONNECT, ECONNREFUSED), ON(FAULT_CONNECT, ENETUNREACH),
    ON(FAULT_CONNECT, EADDRNOTAVAIL), ON(FAULT_GETSOCKOPT, ENOBUFS), ON(FAULT_GETSOCKNAME, ENOBUFS),
    ON(FAULT_GETADDRINFO, EAI_AGAIN), ON(FAULT_GETADDRINFO, EAI_SYSTEM), ON(FAULT_GETADDRINFO, EAI_MEMORY),
    ON(FAULT_CLOSE, EINTR), ON(FAULT_MEMORY, 0), SECURE_FAULTS
    { FAULT_NONE, 0, FAULT_ONCE }
};

static ingress *server;                     /* of the clients */

/* What is to happen to one request of several, when it fails: it is tried again, as it may be. */
static bool is_passing(const fault *f) {
    return f->how == FAULT_ONCE && f->kind != FAULT_MEMORY && f->kind != FAULT_OPENSSL;
}

/* Waits on the program's own descriptor until a call is answered. */
static void wait_outside(restate_client *client, restate_ctx *ctx) {
    struct pollfd fd = { .fd = restate_client_fd(client), .events = POLLIN };
    restate_future *f = restate_call_async(ctx, to("echo"), restate_str("1"), &once);
    while (!restate_is_done(f)) {
        if (fd.fd >= 0) poll(&fd, 1, 100);
        CHECK_INT(restate_client_process(client, fd.fd < 0 ? 100 : 0), RESTATE_OK);
    }
}

static restate_client *connects(void) {
    return restate_client_new(&(restate_client_options){
        .ingress = server->url, .admin = server->url, .timeout_ms = 20000, .allocator = mem_allocator(&memory),
        .retry = { .initial_interval_ms = 1, .max_interval_ms = 2, .max_attempts = 3 } });
}

/* A life of a client: every request that there is, and one of a program with a loop of its own. */
static void request_all(const fault *f, size_t n) {
    int before = open_fds(), seen = 0;
    fault_arm(f, n);
    fault_here(true);
    restate_client *client = connects();
    restate_ctx *ctx = restate_client_begin(client);
    bool broken = !client || restate__client_http_of(client)->fault;
    if (is_harmless(f)) CHECK(!broken);
    if (!broken && (is_passing(f) || is_harmless(f))) CHECK_STR(called(ctx, "echo", &once), "ok(1)");
    all_futures(ctx, server, &seen);
    all_verbs(ctx, server);
    if (client) wait_outside(client, ctx);
    fault_disarm();
    if (broken || f->kind == FAULT_OPENSSL) {       /* which may have lost whom it was to trust, and does not say so */
        restate_client_free(client);
        client = connects();
        ctx = restate_client_begin(client);
    }
    CHECK(answered_at_last(ctx) || restate__client_of(ctx)->peer.broken);
    restate_client_free(client);
    fault_here(false);
    CHECK_INT(memory.blocks, 0);
    patience_until = now_ms() + PATIENCE_MS;        /* the server closes its end when it sees that of the client */
    while (open_fds() != before && now_ms() < patience_until) sched_yield();
    CHECK_INT(open_fds(), before);
}

static void server_begin(void) {
    server = calloc(1, sizeof *server);
#ifdef RESTATE_WITH_OPENSSL
    server->tls = &tls_of_ingress;
#endif
    ingress_begin(server);
}

static void server_end(void) {
    ingress_stop(server);
    free(server);
}

TEST(client) {
    server_begin();
    walk("client", faults_of_client, request_all);
    server_end();
}

TEST(served) { walk("served", faults_of_server, serve); }
TEST(drained) { walk("drained", faults_of_server, drain); }
TEST(cut_off) { walk("cut off", faults_of_server, cut); }

/* ---- Signals --------------------------------------------------------------------------------- */

/* So many times, and until waits were interrupted indeed. */
static bool goes_on(int i, int times, size_t before) {
    return i <= times / SLOW || (i < 100000 && MEM_GET(fault_interruptions) == before);
}

/* Threads that are interrupted all the time do what others do. */
TEST(interrupted) {
    static const restate_clock usual;
    size_t before = MEM_GET(fault_interruptions);
    fault_interrupter interrupter;
    begin_with(&usual);
    CHECK(serves());
    fault_interrupts_begin(&interrupter, runner);
    client *c = dials();
    for (int i = 0; goes_on(i, 40, before); i++) visit(c, ALL);
    for (int i = 0; i < 10 / SLOW + 1; i++) visit(dials(), ALL);
    restate_endpoint_stop(ep);
    UNTIL(GET(run_over));
    fault_interrupts_end(&interrupter);
    CHECK(MEM_GET(fault_interruptions) > before);
    ends();
}

TEST(interrupted_client) {
    size_t before = MEM_GET(fault_interruptions);
    fault_interrupter interrupter;
    server_begin();
    fault_interrupts_begin(&interrupter, pthread_self());
    restate_client *client = connects();
    restate_ctx *ctx = restate_client_begin(client);
    for (int i = 0; goes_on(i, 100, before); i++) CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
    all_verbs(ctx, server);
    wait_outside(client, ctx);
    CHECK_STR(called(ctx, "echo", NULL), "ok(1)");
    restate_client_free(client);
    fault_interrupts_end(&interrupter);
    CHECK(MEM_GET(fault_interruptions) > before);
    CHECK_INT(memory.blocks, 0);
    server_end();
}

static void report(void) {
    for (int i = 1; i < FAULT_KINDS; i++)
        if (fault_total[i]) printf("    %s: %lu\n", fault_names[i], fault_total[i]);
}

#ifdef RESTATE_WITH_OPENSSL
static bool secure_begin(void) {
    char text[RESTATE__SRV_TLS_TEXT];
    snprintf(cert_file, sizeof cert_file, "/tmp/restate-unit-faults-%ld.pem", (long)getpid());
    snprintf(key_file, sizeof key_file, "/tmp/restate-unit-faults-%ld.key", (long)getpid());
    if (!fault_openssl()) return false;
    certificate own = certificate_new("DNS:localhost,IP:127.0.0.1", NULL);
    certificate_write(&own, cert_file, key_file);
    certificate_free(&own);
    setenv("SSL_CERT_FILE", cert_file, 1);
    signal(SIGPIPE, SIG_IGN);                       /* of the tunnels */
    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_locations(client_ctx, cert_file, NULL);
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    tls_of_ingress = restate__tls_by_openssl;
    tls_of_ingress.user = &of_ingress;
    return restate__tls_init(&of_ingress) && restate__tls_show(&of_ingress, &shown, text, sizeof text);
}

static void secure_end(void) {
    restate__tls_free(&of_ingress);
    SSL_CTX_free(client_ctx);
    unlink(cert_file), unlink(key_file);
}
#else
static bool secure_begin(void) { return true; }
static void secure_end(void) {}
#endif

int main(int argc, char **argv) {
    static const test_case cases[] = { T(served), T(drained), T(cut_off), T(client), T(interrupted), T(interrupted_client),
                                       { 0 } };
    fault_memory = &memory;
    if (!secure_begin()) return 2;
    int status = server_main(argc, argv, cases);
    if (argc > 1 && strcmp(argv[1], "-v") == 0) report();
    secure_end();
    return status;
}
