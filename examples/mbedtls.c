/* An endpoint behind TLS by mbedTLS 2.28 or 3, which firmware has more often than OpenSSL. (With
 * OpenSSL no such code is needed: define RESTATE_WITH_OPENSSL, set .certificate_file, .key_file.)
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/mbedtls.c -o mbedtls -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread \
 *         -lmbedtls -lmbedx509 -lmbedcrypto
 * Run it with a certificate and its key, in PEM:
 *     CERTIFICATE=cert.pem KEY=key.pem ./mbedtls
 * Register it with a server that trusts the CA of this certificate:
 *     restate deployments register https://localhost:9080
 *     curl localhost:8080/Vault/whisper --json '"Ada"' */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <errno.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static restate_status whisper(restate_ctx *ctx, restate_bytes input) {
    const char *name = "stranger";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &name));
    return restate_reply(ctx, restate_json(ctx, "%s", restate_text(ctx, "psst, %s", name)));
}

static const restate_service vault = { .name = "Vault", .handlers = RESTATE_HANDLERS(
    { .name = "whisper", .fn = whisper }) };

/* ---- mbedTLS as restate_tls ------------------------------------------------------------------ */

typedef struct session {
    mbedtls_ssl_context ssl;
    int fd;
    size_t blocked;                         /* bytes of a write that has to be repeated */
} session;

static int socket_result(ssize_t n, int again) {
    if (n >= 0) return (int)n;
    return errno == EAGAIN || errno == EINTR ? again : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int socket_send(void *user, const unsigned char *from, size_t len) {
    session *s = user;
    return socket_result(send(s->fd, from, len, MSG_NOSIGNAL), MBEDTLS_ERR_SSL_WANT_WRITE);
}

static int socket_recv(void *user, unsigned char *to, size_t len) {
    session *s = user;
    return socket_result(recv(s->fd, to, len, 0), MBEDTLS_ERR_SSL_WANT_READ);
}

static void *vault_open(void *user, int fd, const char *host) {
    session *s = calloc(1, sizeof *s);
    (void)host;                             /* NULL: the server's side */
    if (!s) return NULL;
    s->fd = fd;
    mbedtls_ssl_init(&s->ssl);
    mbedtls_ssl_set_bio(&s->ssl, s, socket_send, socket_recv, NULL);
    if (mbedtls_ssl_setup(&s->ssl, user) == 0) return s;
    mbedtls_ssl_free(&s->ssl);
    free(s);
    return NULL;
}

static int outcome(int n) {
    if (n > 0) return n;
    switch (n) {
    case 0:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY: return RESTATE_IO_END;
    case MBEDTLS_ERR_SSL_WANT_READ: return RESTATE_IO_READ;
    case MBEDTLS_ERR_SSL_WANT_WRITE: return RESTATE_IO_WRITE;
    default: return RESTATE_IO_ERROR;
    }
}

static int vault_read(void *user, void *conn, void *to, size_t len) {
    session *s = conn;
    (void)user;
    return outcome(mbedtls_ssl_read(&s->ssl, to, len));     /* it shakes hands, too */
}

/* A repeated write may have more bytes than the one before, but mbedTLS still counts as many as it
 * was given: so it gets only those that it has encrypted already. */
static int vault_write(void *user, void *conn, const void *from, size_t len) {
    session *s = conn;
    (void)user;
    if (s->blocked && s->blocked < len) len = s->blocked;
    int n = mbedtls_ssl_write(&s->ssl, from, len);
    s->blocked = n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_WANT_WRITE ? len : 0;
    return outcome(n);
}

static void vault_close(void *user, void *conn) {
    session *s = conn;
    (void)user;
    mbedtls_ssl_close_notify(&s->ssl);
    mbedtls_ssl_free(&s->ssl);
    free(s);
}

/* ---- Certificate, random numbers ------------------------------------------------------------- */

typedef struct setup {
    mbedtls_ssl_config config;
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
} setup;

static int load_key(setup *s, const char *path) {
#if MBEDTLS_VERSION_MAJOR >= 3
    return mbedtls_pk_parse_keyfile(&s->key, path, NULL, mbedtls_ctr_drbg_random, &s->random);
#else
    return mbedtls_pk_parse_keyfile(&s->key, path, NULL);
#endif
}

/* 0, or what mbedTLS says. */
static int setup_init(setup *s, const char *certificate, const char *key) {
    static const char *protocols[] = { "h2", "http/1.1", NULL };     /* ALPN */
    int error;
    mbedtls_ssl_config_init(&s->config);
    mbedtls_x509_crt_init(&s->certificate);
    mbedtls_pk_init(&s->key);
    mbedtls_entropy_init(&s->entropy);
    mbedtls_ctr_drbg_init(&s->random);
    if ((error = mbedtls_ctr_drbg_seed(&s->random, mbedtls_entropy_func, &s->entropy, NULL, 0)) ||
        (error = mbedtls_x509_crt_parse_file(&s->certificate, certificate)) ||
        (error = load_key(s, key)) ||
        (error = mbedtls_ssl_config_defaults(&s->config, MBEDTLS_SSL_IS_SERVER,
                                             MBEDTLS_SSL_TRANSPORT_STREAM,
                                             MBEDTLS_SSL_PRESET_DEFAULT)) ||
        (error = mbedtls_ssl_conf_alpn_protocols(&s->config, protocols)))
        return error;
    mbedtls_ssl_conf_rng(&s->config, mbedtls_ctr_drbg_random, &s->random);
    return mbedtls_ssl_conf_own_cert(&s->config, &s->certificate, &s->key);
}

static void setup_free(setup *s) {
    mbedtls_ssl_config_free(&s->config);
    mbedtls_x509_crt_free(&s->certificate);
    mbedtls_pk_free(&s->key);
    mbedtls_ctr_drbg_free(&s->random);
    mbedtls_entropy_free(&s->entropy);
}

int main(void) {
    static setup tls;
    const char *certificate = getenv("CERTIFICATE"), *key = getenv("KEY"), *port = getenv("PORT");
    int error = setup_init(&tls, certificate ? certificate : "cert.pem", key ? key : "key.pem");
    int status = 1;
    if (error)
        fprintf(stderr, "mbedtls: certificate or key: error -0x%04x\n", (unsigned)-error);
    else
        status = restate_serve(&(restate_endpoint_options){
            .services = RESTATE_SERVICES(&vault),
            .port = (uint16_t)(port ? atoi(port) : 9080),
            .threads = 1,                   /* all connections share the random numbers */
            .stop_on_signals = RESTATE_ON,
            .tls = &(restate_tls){ .open = vault_open, .read = vault_read, .write = vault_write,
                                   .close = vault_close, .user = &tls.config } });
    setup_free(&tls);
    return status;
}
