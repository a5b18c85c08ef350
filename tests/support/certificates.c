/* Certificates that tests make themselves, by OpenSSL. */
#ifndef SUPPORT_CERTIFICATES_C
#define SUPPORT_CERTIFICATES_C

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* A certificate and its key. `names` as in "DNS:localhost,IP:127.0.0.1"; NULL: that of a CA. */
typedef struct certificate {
    X509 *x;
    EVP_PKEY *key;
} certificate;

static inline void certificate_extend(const certificate *c, const certificate *issuer, int what, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer->x, c->x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, what, (char *)(uintptr_t)value);
    X509_add_ext(c->x, e, -1);
    X509_EXTENSION_free(e);
}

/* Signed by `issuer`; NULL: by itself. */
static inline certificate certificate_new(const char *names, const certificate *issuer) {
    static long serial;
    certificate c = { X509_new(), EVP_EC_gen("P-256") };
    if (!issuer) issuer = &c;
    X509_set_version(c.x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c.x), -60);
    X509_gmtime_adj(X509_getm_notAfter(c.x), 3600);
    X509_set_pubkey(c.x, c.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x), "CN", MBSTRING_ASC,
                               (const unsigned char *)(names ? "unit" : "unit CA"), -1, -1, 0);
    X509_set_issuer_name(c.x, X509_get_subject_name(issuer->x));
    if (names) certificate_extend(&c, issuer, NID_subject_alt_name, names);
    else certificate_extend(&c, issuer, NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(c.x, issuer->key, EVP_sha256());
    return c;
}

static inline void certificate_free(certificate *c) {
    X509_free(c->x);
    EVP_PKEY_free(c->key);
}

/* As PEM, each to a file; NULL: not. */
static inline void certificate_write(const certificate *c, const char *path, const char *key_path) {
    FILE *f = path ? fopen(path, "w") : NULL, *k = key_path ? fopen(key_path, "w") : NULL;
    if (f) PEM_write_X509(f, c->x), fclose(f);
    if (k) PEM_write_PrivateKey(k, c->key, NULL, NULL, 0, NULL, NULL), fclose(k);
}

#endif
