/* Sections >>tls and >>server: endpoints that serve TLS. The clients of support/client.c speak through tunnels, which
 * do TLS for them. See support/server.c. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "support/server.c"
#include "support/certificates.c"
#include "support/tunnel.c"

/* ---- Files ----------------------------------------------------------------------------------- */

static char dir[64];
static char cert_file[96], key_file[96], ca_file[96], other_file[96];
static certificate ca, shown;                   /* the CA of all, and what the endpoint shows */

static void show_new_certificate(void) {
    if (shown.x) certificate_free(&shown);
    shown = certificate_new("DNS:localhost,IP:127.0.0.1", &ca);
    certificate_write(&shown, cert_file, key_file);
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    if (!f) abort();
    fputs(text, f);
    fclose(f);
}

#define OVER_TLS .certificate_file = cert_file, .key_file = key_file

/* ---- Clients --------------------------------------------------------------------------------- */

static client *dial_tls_with(dialling d, const certificate *own) {
    int fd = dial_fd(d.rcvbuf);
    SSL *ssl = shake(fd, "h2", own);
    return ssl ? client_on(tunnel_through(ssl, fd), &d) : NULL;
}
static client *dial_tls(void) {
    dialling d = { .window = 0 };
    client *c = dial_tls_with(d, NULL);
    CHECK(c != NULL);
    return c;
}

static void down_tls(void) {
    hang_up_all();
    tunnels_end();
    down();
}

/* ---- Serving --------------------------------------------------------------------------------- */

TEST(served) {
    up(.threads = 2, OVER_TLS);
    CHECK_HAS(told_how, "https://127.0.0.1:");
    client *c = dial_tls();
    CHECK_STR(alpn, "h2");
    for (int i = 0; i < 20; i++) GOOD(c);
    client *d = dial_tls();
    GOOD(d);
    GOOD(c);
    down_tls();
}

/* What does not fit into the socket goes on, in both directions. */
TEST(much) {
    up(.threads = 1, OVER_TLS);
    size_t len = SLOW > 1 ? 300000 : 6000000;
    char *large = malloc(len + 1);
    memset(large, 'y', len);
    large[len] = 0;
    dialling d = { .rcvbuf = 4096 };
    client *c = dial_tls_with(d, NULL);
    for (int i = 0; i < 2; i++) {
        call *k = invoke(c, "echo");
        start(1);
        input(large);
        end(k);
        UNTIL(k->closed || c->gone);
        CHECK_INT(k->status, 200);
        CHECK(k->body.len > len);
        CHECK_INT(k->code, 0);
    }
    GOOD(c);
    free(large);
    down_tls();
}

TEST(protocols) {
    up(.threads = 1, OVER_TLS);
    char in[512];
    static const char probe[] = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    SSL *ssl = shake(dial_fd(0), "http/1.1", NULL);
    CHECK_STR(alpn, "http/1.1");
    int n = ssl ? SSL_write(ssl, probe, sizeof probe - 1) : 0;
    size_t len = 0;
    while (ssl && len < sizeof in - 1 && (n = SSL_read(ssl, in + len, (int)(sizeof in - 1 - len))) > 0) len += (size_t)n;
    in[len] = 0;
    CHECK_HAS(in, "HTTP/1.1 200 OK");
    CHECK_INT(ssl ? SSL_get_error(ssl, n) : 0, SSL_ERROR_ZERO_RETURN);      /* it said goodbye */
    if (ssl) close(SSL_get_fd(ssl));
    SSL_free(ssl);

    ssl = shake(dial_fd(0), "", NULL);              /* no ALPN: whatever comes is looked at */
    CHECK_INT(shake_error, 0);
    if (ssl) close(SSL_get_fd(ssl));
    SSL_free(ssl);
    CHECK(shake(dial_fd(0), "spdy/3", NULL) == NULL);
    CHECK_INT(shake_error, SSL_ERROR_SSL);
    SSL_CTX_set_max_proto_version(client_ctx, TLS1_1_VERSION);
    CHECK(shake(dial_fd(0), "h2", NULL) == NULL);
    SSL_CTX_set_max_proto_version(client_ctx, TLS1_2_VERSION);
    client *c = dial_tls();
    GOOD(c);
    SSL_CTX_set_max_proto_version(client_ctx, 0);
    down_tls();
}

/* Each side of a misunderstanding is told. */
TEST(plain_on_tls) {
    static const struct { const char *sent, *got; } cases[] = {
        { "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 400 Bad Request" },
        { "POST /invoke/S/echo HTTP/1.1\r\n\r\n", "This port speaks TLS: use https" },
        { "GET /health HTTP/1.1\r\n\r\n", "400" },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", NULL }, { "\r\n", NULL }, { "SSH-2.0-x\r\n\r\n", "400" }
    };
    up(.threads = 1, OVER_TLS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire w;
        wire_open(&w);
        PUT(plain_lines, 0);
        wire_send(&w, cases[i].sent, i == 3 ? 33 : strlen(cases[i].sent));
        while (wire_more(&w)) continue;
        CHECK(w.gone);
        rt_add(&w.in, "", 1);
        note("(%zu)", i);
        if (cases[i].got) CHECK_HAS((const char *)w.in.at, cases[i].got);
        CHECK_INT(GET(plain_lines), 1);
        wire_close(&w);
    }
    test_note = "";
    client *c = dial_tls();
    GOOD(c);
    down_tls();
}

/* ---- Deadlines and ends ---------------------------------------------------------------------- */

TEST(slow_handshakes) {
    static const char *const begun[] = { "", "\x16", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" };
    up(.threads = 1, OVER_TLS, .request_timeout_ms = 300, .clock = MOVED_CLOCK);
    client *other = dial_tls();
    settle(other);
    for (size_t i = 0; i < 3; i++) {
        wire w;
        wire_open(&w);
        wire_send(&w, begun[i], strlen(begun[i]));
        LATER(other, wire_is_over(&w));
        wire_close(&w);
    }
    CHECK_INT(GET(peer_lines), 3);
    SSL *ssl = shake(dial_fd(0), "h2", NULL);       /* and one that shakes hands, and then says nothing */
    char in[16];
    LATER(other, GET(peer_lines) == 4);
    CHECK(ssl && SSL_read(ssl, in, sizeof in) <= 0);
    if (ssl) close(SSL_get_fd(ssl));
    SSL_free(ssl);
    down_tls();
}

TEST(garbage) {
    up(.threads = 1, OVER_TLS);
    wire w;
    wire_open(&w);
    wire_send(&w, "\x16\x03\x01\x00\x05hello", 10);
    while (wire_more(&w)) continue;
    wire_close(&w);
    CHECK_INT(GET(tls_failures), 1);
    for (int i = 0; i < 20; i++) {                  /* nobody complains of a port scan */
        wire_open(&w);
        wire_close(&w);
    }
    client *c = dial_tls();
    GOOD(c);
    CHECK_INT(GET(tls_failures), 1);
    down_tls();
}

/* A stop drains over TLS, too. */
TEST(drains) {
    up(.threads = 1, OVER_TLS);
    client *c = dial_tls();
    call *k = invoke(c, "nap");
    given_input("x");
    send_on(k);
    UNTIL(GET(started) == 1);
    restate_endpoint_stop(ep);
    UNTIL(k->answered);
    end(k);
    UNTIL(k->closed && c->gone);
    hang_up_all();
    tunnels_end();
    stopped();
}

/* ---- Records that carry nothing ---------------------------------------------------------------- */

/* A server's connection and a client, at the ends of a socket pair, which have shaken hands. */
static SSL *shake_pair(restate__tls *t, int ends[2], void **conn) {
    uint8_t byte;
    int done = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends)) abort();
    *conn = restate__tls_open(t, ends[0], NULL);
    SSL *ssl = SSL_new(client_ctx);
    SSL_set_fd(ssl, ends[1]);
    for (int i = 0; done != 1 && i < 100; i++) {
        done = SSL_connect(ssl);
        CHECK_INT(restate__tls_read(t, *conn, &byte, 1), RESTATE_IO_READ);
    }
    CHECK_INT(done, 1);
    return ssl;
}

/* New keys, again and again, do not hold the loop: the connection gets a little of its turn for each, and then says
 * that it waits. What follows arrives. */
TEST(new_keys_again_and_again) {
    enum { KEYS = 200 };                    /* as many as a socket takes */
    restate__tls t;
    restate__tls_files files = { .certificate = cert_file, .key = key_file };
    char text[RESTATE__SRV_TLS_TEXT];
    uint8_t in[8];
    int ends[2], waits = 0, n;
    void *conn;
    CHECK(restate__tls_init(&t) && restate__tls_show(&t, &files, text, sizeof text));
    SSL *ssl = shake_pair(&t, ends, &conn);
    for (int i = 0; i < KEYS; i++) {
        CHECK_INT(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        CHECK_INT(SSL_do_handshake(ssl), 1);
    }
    CHECK_INT(SSL_write(ssl, "here", 4), 4);
    while ((n = restate__tls_read(&t, conn, in, sizeof in)) == RESTATE_IO_READ && waits < 2 * KEYS) waits++;
    CHECK_INT(n, 4);
    CHECK(waits >= KEYS / 40);
    restate__tls_close(&t, conn);
    SSL_free(ssl);
    close(ends[0]), close(ends[1]);
    restate__tls_free(&t);
}

/* ---- Certificates of clients ----------------------------------------------------------------- */

/* With TLS 1.3 a client learns of the refusal when it reads. */
static bool is_let_in(const certificate *own) {
    char in[64];
    SSL *ssl = shake(dial_fd(0), "h2", own);
    int n = ssl ? SSL_read(ssl, in, sizeof in) : 0;     /* the endpoint says nothing first */
    if (ssl) close(SSL_get_fd(ssl));
    SSL_free(ssl);
    return n > 0;
}

TEST(client_certificates) {
    certificate right = certificate_new("DNS:client", &ca), wrong_ca = certificate_new(NULL, NULL),
                wrong = certificate_new("DNS:client", &wrong_ca);
    dialling d = { .window = 0 };
    up(.threads = 1, OVER_TLS, .client_ca_file = ca_file);
    CHECK(!is_let_in(NULL));
    UNTIL(GET(tls_failures) == 1);
    CHECK(!is_let_in(&wrong));
    UNTIL(GET(tls_failures) == 2);
    client *c = dial_tls_with(d, &right);
    CHECK(c != NULL);
    GOOD(c);
    down_tls();
    certificate_free(&right);
    certificate_free(&wrong);
    certificate_free(&wrong_ca);
}

/* ---- New certificates without a restart ------------------------------------------------------ */

/* The files are looked at again a second after the last time. */
static long serial_shown(void) {
    SSL *ssl = shake(dial_fd(0), "h2", NULL);
    if (ssl) close(SSL_get_fd(ssl));
    SSL_free(ssl);
    return ssl ? serial : -1;
}
#define OWN_SERIAL ASN1_INTEGER_get(X509_get0_serialNumber(shown.x))

TEST(replaced) {
    show_new_certificate();
    up(.threads = 1, OVER_TLS);
    client *c = dial_tls();
    long first = OWN_SERIAL;
    CHECK_INT(serial, first);
    show_new_certificate();
    CHECK(OWN_SERIAL != first);
    UNTIL(serial_shown() == OWN_SERIAL);
    GOOD(c);                                        /* the old connection goes on */
    client *d = dial_tls();
    GOOD(d);

    long second = OWN_SERIAL;
    certificate other = certificate_new("DNS:localhost", &ca);
    certificate_write(&other, cert_file, NULL);     /* its key is still to come */
    UNTIL(serial_shown() && GET(errors) > 0);
    CHECK_HAS(last_error, "the previous certificate stays in use: ");
    CHECK_HAS(last_error, key_file);
    CHECK_INT(serial_shown(), second);
    certificate_write(&other, NULL, key_file);
    UNTIL(serial_shown() != second);
    CHECK_INT(serial, ASN1_INTEGER_get(X509_get0_serialNumber(other.x)));
    PUT(errors, 0);
    certificate_free(&other);
    down_tls();
    show_new_certificate();
}

/* ---- Options --------------------------------------------------------------------------------- */

/* What restate_endpoint_run() says of them. */
static void fails(const char *expected, const char *file, restate_endpoint_options o) {
    ep = endpoint_of(o);
    CHECK_INT(restate_endpoint_run(ep), RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(ep), expected);
    if (file) CHECK_HAS(restate_endpoint_error(ep), file);
    restate_endpoint_free(ep);
    ep = NULL;
    CHECK_INT(GET(memory.live), 0);
}
#define FAILS(expected, file, ...) fails(expected, file, (restate_endpoint_options){ __VA_ARGS__ })

TEST(options) {
    static const restate_tls half = { restate__tls_open, restate__tls_read, NULL, restate__tls_close, NULL, NULL };
    certificate other = certificate_new("DNS:localhost", &ca);
    FAILS(".certificate_file and .key_file: give both or none", NULL, .certificate_file = cert_file);
    FAILS(".certificate_file and .key_file: give both or none", NULL, .key_file = key_file);
    FAILS(".client_ca_file needs .certificate_file", NULL, .client_ca_file = ca_file);
    FAILS(".tls and .certificate_file: give one of them", NULL, .tls = &restate__tls_by_openssl, OVER_TLS);
    FAILS(".tls: give .open, .read, .write and .close", NULL, .tls = &half);
    FAILS("No such file or directory", "/nowhere.pem", .certificate_file = "/nowhere.pem", .key_file = key_file);
    FAILS("No such file or directory", "/nowhere.key", .certificate_file = cert_file, .key_file = "/nowhere.key");
    FAILS("No such file or directory", "/nowhere.ca", OVER_TLS, .client_ca_file = "/nowhere.ca");
    certificate_write(&other, NULL, other_file);
    FAILS("key values mismatch", other_file, .certificate_file = cert_file, .key_file = other_file);
    FAILS("no start line", key_file, .certificate_file = key_file, .key_file = key_file);
    write_text(other_file, "");
    FAILS("no start line", other_file, .certificate_file = other_file, .key_file = key_file);
    FAILS("cannot serve TLS: ", other_file, OVER_TLS, .client_ca_file = other_file);
    FILE *f = fopen(other_file, "w");               /* a key with a passphrase: nobody is asked for it */
    PEM_write_PrivateKey(f, shown.key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
    fclose(f);
    FAILS("cannot serve TLS: ", other_file, .certificate_file = cert_file, .key_file = other_file);
    certificate_free(&other);
}

/* ---- Worker processes ------------------------------------------------------------------------ */

static restate_endpoint_options by_processes(const char *cert, uint16_t port) {
    static const restate_service *const services[] = { &service, NULL };
    return (restate_endpoint_options){ .services = services, .address = "127.0.0.1", .port = port, .processes = 2,
                                       .threads = 1, .certificate_file = cert, .key_file = key_file,
                                       .logger.write = on_log };
}

TEST(processes) {
    restate_endpoint_options o = by_processes("/nowhere.pem", RESTATE_ANY_PORT);
    PUT(errors, 0);
    CHECK_INT(restate_serve(&o), 1);
    CHECK_HAS(last_error, "cannot serve TLS: /nowhere.pem: No such file");
    uint16_t port = h2_free_port();
    o = by_processes(cert_file, port);
    pid_t child = fork();
    if (child == 0) _exit(restate_serve(&o));
    for (int i = 0; i < 6; i++) {
        int fd;
        for (uint64_t until = now_ms() + PATIENCE_MS; (fd = h2_connect(port, 0)) < 0 && now_ms() < until;) poll(NULL, 0, 5);
        SSL *ssl = fd < 0 ? NULL : shake(fd, "h2", NULL);
        CHECK(ssl != NULL);
        CHECK_INT(serial, ASN1_INTEGER_get(X509_get0_serialNumber(shown.x)));
        if (ssl) close(SSL_get_fd(ssl));
        SSL_free(ssl);
    }
    int status = -1;
    kill(child, SIGTERM);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    PUT(errors, 0);
}

/* ---- A library of the user's ----------------------------------------------------------------- */

static unsigned opened, closed;
static restate__tls library;

static void *counting_open(void *user, int fd, const char *host) {
    CHECK(host == NULL);
    if (GET(opened) == 3) return NULL;
    count(&opened);
    return restate__tls_open(user, fd, host);
}
static void counting_close(void *user, void *conn) {
    count(&closed);
    restate__tls_close(user, conn);
}

TEST(own_library) {
    restate__tls_files files = { .certificate = cert_file, .key = key_file };
    restate_tls tls = { counting_open, restate__tls_read, restate__tls_write, counting_close, &library, NULL };
    char text[100];
    CHECK(restate__tls_init(&library) && restate__tls_show(&library, &files, text, sizeof text));
    opened = closed = 0;
    up(.threads = 1, .tls = &tls);
    memset(&tls, 0, sizeof tls);                    /* it was copied */
    client *c = dial_tls();
    GOOD(c);
    wire w;
    wire_open(&w);
    wire_send(&w, "GET / HTTP/1.1\r\n\r\n", 18);
    while (wire_more(&w)) continue;
    wire_close(&w);
    wire_open(&w);
    wire_send(&w, "\x16\x03\x01\x00\x05hello", 10);
    while (wire_more(&w)) continue;
    wire_close(&w);
    CHECK(shake(dial_fd(0), "h2", NULL) == NULL);   /* it could not begin */
    down_tls();
    CHECK_INT(GET(opened), 3);
    CHECK_INT(GET(closed), 3);
    restate__tls_free(&library);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(served), T(new_keys_again_and_again), T(much), T(protocols), T(plain_on_tls), T(slow_handshakes), T(garbage), T(drains),
        T(client_certificates), T(replaced), T(options), T(processes), T(own_library), { 0 } };
    snprintf(dir, sizeof dir, "/tmp/restate-unit-tls.XXXXXX");
    if (!mkdtemp(dir)) return 1;
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", dir);
    snprintf(key_file, sizeof key_file, "%s/key.pem", dir);
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    snprintf(other_file, sizeof other_file, "%s/other.pem", dir);
    signal(SIGPIPE, SIG_IGN);                       /* of the tunnels */
    ca = certificate_new(NULL, NULL);
    certificate_write(&ca, ca_file, NULL);
    show_new_certificate();
    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_load_verify_locations(client_ctx, ca_file, NULL);
    int status = server_main(argc, argv, cases);
    SSL_CTX_free(client_ctx);
    certificate_free(&shown);
    certificate_free(&ca);
    unlink(cert_file), unlink(key_file), unlink(ca_file), unlink(other_file), rmdir(dir);
    return status;
}
