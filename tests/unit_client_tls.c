/* Section >>tls: OpenSSL as restate_tls in both roles, a client of >>client and the server of support/ingress.c, with
 * certificates that are made here. */
#define RESTATE_IMPLEMENTATION
#include "tools.h"
#include "restate.h"
#include <poll.h>
#include "support/allocator.c"
#include "support/certificates.c"
#include "support/caller.c"

/* The example is a program of its own; here it shares a file. */
#define main main_of_tls
#define outcome outcome_of_tls
#include "../examples/tls.c"
#undef main
#undef outcome

/* ---- Certificates ---------------------------------------------------------------------------- */

static char trusted[64];                        /* the file that the client trusts */

static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
                     void *arg) {
    static const unsigned char h2[] = { 2, 'h', '2' };
    unsigned char *chosen;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, h2, sizeof h2, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A server whose certificate is for `names`; the client trusts it, or does not. */
typedef struct secure {
    ingress in;
    restate__tls openssl;
    restate_tls tls;
    certificate own;
} secure;

static secure *secure_new(const char *names, bool trust) {
    secure *s = calloc(1, sizeof *s);
    CHECK(restate__tls_init(&s->openssl));
    s->own = certificate_new(names, NULL);
    SSL_CTX_set_verify(s->openssl.ctx, SSL_VERIFY_NONE, NULL);
    CHECK(SSL_CTX_use_certificate(s->openssl.ctx, s->own.x) == 1);
    CHECK(SSL_CTX_use_PrivateKey(s->openssl.ctx, s->own.key) == 1);
    SSL_CTX_set_alpn_select_cb(s->openssl.ctx, choose_h2, NULL);
    if (trust) certificate_write(&s->own, trusted, NULL);
    else fclose(fopen(trusted, "w"));
    s->tls = restate__tls_by_openssl;
    s->tls.user = &s->openssl;
    s->in.tls = &s->tls;
    return s;
}

static secure *secure_begin(const char *names, bool trust) {
    secure *s = secure_new(names, trust);
    ingress_begin(&s->in);
    return s;
}

static void secure_end(secure *s) {
    ingress_stop(&s->in);
    restate__tls_free(&s->openssl);
    certificate_free(&s->own);
    free(s);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static const char *trusting(const char *url, const restate_tls *tls) {
    return first_call(url, &(restate_client_options){ .tls = tls });
}

TEST(hosts) {
    secure *s = secure_begin("DNS:localhost,IP:127.0.0.1", true);
    char url[64];
    snprintf(url, sizeof url, "https://localhost:%u", (unsigned)s->in.port);
    CHECK_STR(trusting(s->in.url, NULL), "ok(1)");
    CHECK_STR(trusting(url, NULL), "ok(1)");
    secure_end(s);
    s = secure_begin("DNS:other.example", true);
    CHECK_HAS(trusting(s->in.url, NULL), "error(0 TLS with https://127.0.0.1:");
    CHECK_HAS(trusting(s->in.url, NULL), " failed: IP address mismatch");
    snprintf(url, sizeof url, "https://localhost:%u", (unsigned)s->in.port);
    CHECK_HAS(trusting(url, NULL), " failed: hostname mismatch");
    secure_end(s);
    s = secure_begin("IP:127.0.0.1", false);
    CHECK_HAS(trusting(s->in.url, NULL), " failed: self-signed certificate");
    secure_end(s);
}

TEST(much) {
    secure *s = secure_begin("IP:127.0.0.1", true);
    restate_client *client = restate_client_new(&(restate_client_options){ .ingress = s->in.url });
    restate_ctx *ctx = restate_client_begin(client);
    size_t len = SLOW > 1 ? 300000 : 5000000;
    uint8_t *large = malloc(len);
    restate_bytes v;
    for (size_t i = 0; i < len; i++) large[i] = (uint8_t)(i * 7 / 3);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(restate_call(ctx, to("echo"), restate__b(large, len), NULL, &v), RESTATE_OK);
        CHECK(v.len == len && memcmp(v.ptr, large, len) == 0);
    }
    restate_future *calls[50];
    for (size_t i = 0; i < 50; i++)
        calls[i] = restate_call_async(ctx, to("echo"), restate__b(large, 10000), NULL);
    for (size_t i = 0; i < 50; i++) CHECK_INT(restate_await(ctx, calls[i], NULL), RESTATE_OK);
    CHECK_INT(ingress_count(&s->in, &s->in.connections), 1);
    free(large);
    restate_client_free(client);
    secure_end(s);
}

/* ---- A library of the user's ----------------------------------------------------------------- */

static unsigned opened, closed;

static void *counting_open(void *user, int fd, const char *host) {
    opened++;
    CHECK_STR(host, "127.0.0.1");
    return restate__tls_open(user, fd, host);
}

static void *failing_open(void *user, int fd, const char *host) {
    (void)user;
    (void)fd;
    (void)host;
    return NULL;
}

static void counting_close(void *user, void *conn) {
    closed++;
    restate__tls_close(user, conn);
}

TEST(own_library) {
    secure *s = secure_begin("IP:127.0.0.1", true);
    restate__tls openssl;
    CHECK(restate__tls_init_client(&openssl));
    restate_tls tls = { counting_open, restate__tls_read, restate__tls_write, counting_close, &openssl, NULL };
    opened = closed = 0;
    CHECK_STR(trusting(s->in.url, &tls), "ok(1)");
    CHECK_INT(opened, 1);
    CHECK_INT(closed, 1);
    tls.open = failing_open;
    CHECK_HAS(trusting(s->in.url, &tls), " cannot begin");
    restate__tls_free(&openssl);
    secure_end(s);
}

/* What the example prints, after its exit status. */
static const char *example(const char *url) {
    static char text[512];
    FILE *out = tmpfile();
    int kept[2] = { dup(1), dup(2) };
    setenv("INGRESS", url, 1);
    fflush(stdout);
    dup2(fileno(out), 1);
    dup2(fileno(out), 2);
    int n = snprintf(text, sizeof text, "%d ", main_of_tls());
    fflush(stdout);
    for (int i = 0; i < 2; i++) dup2(kept[i], i + 1), close(kept[i]);
    rewind(out);
    text[(size_t)n + fread(text + n, 1, sizeof text - (size_t)n - 1, out)] = 0;
    fclose(out);
    return text;
}

TEST(example_with_a_library_of_its_own) {
    secure *s = secure_begin("DNS:localhost", true);
    char url[64];
    snprintf(url, sizeof url, "https://localhost:%u", (unsigned)s->in.port);
    CHECK_STR(example(url), "0 {\"name\": \"Ada\"}\n");     /* this server echoes */
    CHECK_HAS(ingress_last(&s->in), "POST /Greeter/greet type=application/json");
    CHECK_HAS(example(s->in.url), "1 TLS with https://127.0.0.1:");
    CHECK_INT(s->in.requests, 1);                   /* nothing went to a host with another name */
    secure_end(s);
}

/* The port speaks something else. */
TEST(no_tls_there) {
    ingress in = { .raw = "HTTP/1.1 400 Bad Request\r\n\r\n" };
    char url[64];
    ingress_begin(&in);
    snprintf(url, sizeof url, "https://127.0.0.1:%u", (unsigned)in.port);
    CHECK_HAS(trusting(url, NULL), " failed: ");
    ingress_stop(&in);
}

/* ---- Servers that fail ----------------------------------------------------------------------- */

/* A call that is tried three times, if it may be. */
static const char *tried(const char *url, const restate_call_options *options) {
    static char text[512];
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = url, .retry = { .initial_interval_ms = 1, .max_attempts = 3 } });
    restate_ctx *ctx = restate_client_begin(client);
    snprintf(text, sizeof text, "%s", called(ctx, "echo", options));
    restate_client_free(client);
    return text;
}

/* The handshake is cut off, by an end or a reset: nothing was sent, so it is tried again without a key, too. */
TEST(handshake_cut) {
    for (int reset = 0; reset < 2; reset++) {
        ingress in = { .raw = "", .resets = reset };
        char url[64];
        ingress_begin(&in);
        snprintf(url, sizeof url, "https://127.0.0.1:%u", (unsigned)in.port);
        CHECK_HAS(tried(url, NULL), "error(0 TLS with https://127.0.0.1:");
        CHECK_HAS(tried(url, NULL), " (in 3 attempts)");
        CHECK_INT(ingress_count(&in, &in.connections), 6);
        ingress_stop(&in);
    }
}

/* The handshake is done, the request is read, and then the server is gone, without a word. It may have been begun. */
TEST(gone_after_handshake) {
    for (int reset = 0; reset < 2; reset++) {
        secure *s = secure_new("IP:127.0.0.1", true);
        s->in.raw = "";
        s->in.resets = reset;
        ingress_begin(&s->in);
        CHECK_HAS(tried(s->in.url, NULL), "error(0 ");
        CHECK_INT(ingress_count(&s->in, &s->in.connections), 1);
        CHECK_HAS(tried(s->in.url, &once), " (in 3 attempts)");
        CHECK_INT(ingress_count(&s->in, &s->in.connections), 4);
        secure_end(s);
    }
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static mem_counts memory, openssl;              /* of the client; of OpenSSL on the client's thread */
static _Thread_local bool counted;              /* this is the client's thread */

static bool openssl_fails(void) { return counted && ++openssl.calls == openssl.fail_at; }

static void *openssl_malloc(size_t n, const char *file, int line) {
    (void)file, (void)line;
    return openssl_fails() ? NULL : malloc(n);
}

static void *openssl_realloc(void *old, size_t n, const char *file, int line) {
    (void)file, (void)line;
    return openssl_fails() ? NULL : realloc(old, n);
}

static void openssl_free(void *old, const char *file, int line) {
    (void)file, (void)line;
    free(old);
}

static void fails_once(ingress *in) {
    int seen = 0;
    counted = true;
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = in->url, .admin = in->url, .timeout_ms = 20000, .allocator = mem_allocator(&memory),
        .retry = { .initial_interval_ms = 1, .max_interval_ms = 2 } });
    restate_ctx *ctx = restate_client_begin(client);
    all_futures(ctx, in, &seen);
    if (!openssl.fail_at) all_verbs(ctx, in);
    /* OpenSSL may have lost a certificate that it was to trust: it does not say so. */
    CHECK(answered_at_last(ctx) || !client || restate__client_of(ctx)->peer.broken || restate__client_http_of(client)->fault ||
          !restate__client_http_of(client)->tls || (openssl.fail_at && strstr(restate_failed(ctx)->message, "TLS with ")));
    restate_client_free(client);
    counted = false;
    CHECK_INT(memory.blocks, 0);
}

/* Each allocation fails once, of OpenSSL only each `step`-th: it makes thousands for a handshake. */
static size_t fail_each(ingress *in, mem_counts *which, size_t step) {
    size_t all = 1;
    for (size_t i = 0; i <= all; i += i ? step : 1) {
        char note[64];
        snprintf(note, sizeof note, "(allocation %zu)", i);
        test_note = note;
        mem_fail(which, i);
        fails_once(in);
        if (!i) all = which->calls;
    }
    test_note = "";
    mem_fail(which, 0);
    return all;
}

TEST(every_allocation) {
    secure *s = secure_begin("IP:127.0.0.1", true);
    CHECK(fail_each(&s->in, &memory, SLOW > 4 ? 13 : 1) > 20);
    secure_end(s);
}

TEST(allocations_of_openssl) {
    secure *s = secure_begin("IP:127.0.0.1", true);
    CHECK(fail_each(&s->in, &openssl, 97 * SLOW) > 1000);
    secure_end(s);
}

int main(int argc, char **argv) {
    static const test_case cases[] = { T(hosts), T(much), T(own_library),
                                       T(example_with_a_library_of_its_own), T(no_tls_there), T(handshake_cut),
                                       T(gone_after_handshake), T(every_allocation),
                                       T(allocations_of_openssl), { 0 } };
    if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free)) return 2;
    snprintf(trusted, sizeof trusted, "/tmp/restate-unit-tls-%ld", (long)getpid());
    setenv("SSL_CERT_FILE", trusted, 1);
    int status = test_main(argc, argv, cases);
    unlink(trusted);
    return status;
}
