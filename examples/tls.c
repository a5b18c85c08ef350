/* https with a TLS library of your own; here OpenSSL, which RESTATE_WITH_OPENSSL would do, too, and
 * without a line of this.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/tls.c -o tls -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread \
 *         -lssl -lcrypto
 * Run it; INGRESS is the address of the server, which has to be https:
 *     INGRESS=https://restate.example.com ./tls
 * It greets Ada, so examples/greeter.c has to be registered there. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static int outcome(SSL *ssl, int n) {
    if (n > 0) return n;
    switch (SSL_get_error(ssl, n)) {
    case SSL_ERROR_ZERO_RETURN: return RESTATE_IO_END;
    case SSL_ERROR_WANT_READ: return RESTATE_IO_READ;
    case SSL_ERROR_WANT_WRITE: return RESTATE_IO_WRITE;
    default: return RESTATE_IO_ERROR;
    }
}

static int at_most(size_t len) { return len > 1 << 20 ? 1 << 20 : (int)len; }

/* The library hands over a socket that is connected and does not block. `host` would be NULL for a
 * server's connection. */
static void *tls_open(void *user, int fd, const char *host) {
    static const unsigned char h2[] = "\x02h2";
    char name[256];
    SSL *ssl = SSL_new(user);
    if (!ssl) return NULL;
    snprintf(name, sizeof name, "%s", host);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    if (SSL_set_tlsext_host_name(ssl, name) && SSL_set1_host(ssl, host) &&
        SSL_set_alpn_protos(ssl, h2, 3) == 0)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

static int tls_read(void *user, void *conn, void *to, size_t len) {
    (void)user;
    ERR_clear_error();
    return outcome(conn, SSL_read(conn, to, at_most(len)));
}

static int tls_write(void *user, void *conn, const void *from, size_t len) {
    (void)user;
    ERR_clear_error();
    return outcome(conn, SSL_write(conn, from, at_most(len)));
}

static void tls_close(void *user, void *conn) {
    (void)user;
    SSL_shutdown(conn);
    SSL_free(conn);
}

int main(void) {
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    const restate_tls with = { .open = tls_open, .read = tls_read, .write = tls_write,
                               .close = tls_close, .user = tls };
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = getenv("INGRESS"), .token = getenv("TOKEN"), .tls = &with });
    restate_ctx *ctx = restate_client_begin(client);
    restate_target greeter = { .service = "Greeter", .handler = "greet" };
    restate_bytes reply;
    restate_status s;
    signal(SIGPIPE, SIG_IGN);               /* OpenSSL writes to sockets that were closed */
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_verify_paths(tls);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    s = restate_call(ctx, greeter, restate_json(ctx, "{'name': 'Ada'}"), NULL, &reply);
    if (s == RESTATE_OK) printf("%s\n", reply.ptr ? (const char *)reply.ptr : "");
    else fprintf(stderr, "%s\n", restate_failed(ctx)->message);
    restate_client_free(client);            /* ends ctx, too */
    SSL_CTX_free(tls);
    return s != RESTATE_OK;
}
