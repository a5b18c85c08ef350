/* Tunnels: plain at the client's end, TLS at the endpoint's. */
#ifndef SUPPORT_TUNNEL_C
#define SUPPORT_TUNNEL_C

#include "certificates.c"

#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>

typedef struct tunnel {
    struct tunnel *next;
    pthread_t thread;
    int plain, fd;
    SSL *ssl;
} tunnel;

static tunnel *tunnels;
static SSL_CTX *client_ctx;                     /* of the tunnels */
static int shake_error;                         /* of the last handshake: SSL_get_error() */
static long serial;                             /* of the certificate that was shown */
static char alpn[16];

/* Carry what one side has to the other. False: a side is over. */
static inline bool carry_out(tunnel *t) {
    uint8_t bytes[16384];
    ssize_t n = recv(t->plain, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    for (int k; (k = SSL_write(t->ssl, bytes, (int)n)) <= 0;) {
        struct pollfd p = { t->fd, POLLOUT, 0 };
        if (SSL_get_error(t->ssl, k) != SSL_ERROR_WANT_WRITE || poll(&p, 1, 60000) <= 0) return false;
    }
    return true;
}
static inline bool carry_in(tunnel *t) {
    uint8_t bytes[16384];
    int n = SSL_read(t->ssl, bytes, sizeof bytes);
    for (int at = 0; at < n;) {
        ssize_t k = send(t->plain, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (k < 0) return false;
        at += (int)k;
    }
    return n > 0 || SSL_get_error(t->ssl, n) == SSL_ERROR_WANT_READ;
}

static inline void *tunnel_run(void *arg) {
    tunnel *t = arg;
    bool on = true;
    while (on) {
        struct pollfd p[2] = { { t->plain, POLLIN, 0 }, { t->fd, POLLIN, 0 } };
        if (!SSL_pending(t->ssl) && poll(p, 2, -1) < 0) break;
        if (p[0].revents) on = carry_out(t);
        if (on && (SSL_pending(t->ssl) || p[1].revents)) on = carry_in(t);
    }
    SSL_shutdown(t->ssl);
    shutdown(t->fd, SHUT_RDWR);
    shutdown(t->plain, SHUT_RDWR);
    return NULL;
}

/* A connection that has shaken hands; NULL: it could not. `protocols` are those of ALPN; "": none. */
static inline SSL *shake(int fd, const char *protocols, const certificate *own) {
    uint8_t list[64];
    const unsigned char *chosen;
    unsigned len = 0;
    SSL *ssl = SSL_new(client_ctx);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    SSL_set_fd(ssl, fd);
    list[0] = (uint8_t)strlen(protocols);
    memcpy(list + 1, protocols, list[0]);
    if (list[0]) SSL_set_alpn_protos(ssl, list, list[0] + 1u);
    if (own) SSL_use_certificate(ssl, own->x), SSL_use_PrivateKey(ssl, own->key);
    int n = SSL_connect(ssl);
    shake_error = n == 1 ? 0 : SSL_get_error(ssl, n);
    alpn[0] = 0;
    if (n == 1) {
        X509 *x = SSL_get1_peer_certificate(ssl);
        serial = ASN1_INTEGER_get(X509_get0_serialNumber(x));
        X509_free(x);
        SSL_get0_alpn_selected(ssl, &chosen, &len);
        snprintf(alpn, sizeof alpn, "%.*s", (int)len, (const char *)chosen);
        return ssl;
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

/* The plain end of a tunnel, whose other end is a connection that has shaken hands. */
static inline int tunnel_through(SSL *ssl, int fd) {
    int ends[2];
    tunnel *t = calloc(1, sizeof *t);
    if (!t || socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) abort();
    *t = (tunnel){ .next = tunnels, .plain = ends[0], .fd = fd, .ssl = ssl };
    tunnels = t;
    fcntl(ends[1], F_SETFL, fcntl(ends[1], F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (pthread_create(&t->thread, NULL, tunnel_run, t)) abort();
    return ends[1];
}

/* All clients have hung up. */
static inline void tunnels_end(void) {
    for (tunnel *t = tunnels, *next; t; t = next) {
        next = t->next;
        pthread_join(t->thread, NULL);
        SSL_free(t->ssl);
        close(t->fd);
        close(t->plain);
        free(t);
    }
    tunnels = NULL;
}

#endif
