/* Section >>identity: keys, tokens, which requests they let in. Tokens are signed here with OpenSSL
 * and the private key whose bytes are 00 to 1f. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "../restate.h"

#include "support/exchange.c"
#include "support/identity.c"

#include <openssl/evp.h>

#define HEAD "{\"typ\":\"JWT\",\"alg\":\"EdDSA\",\"kid\":\"" KEY "\"}"
#define PATH "/invoke/S/h"

static const char vector[] = SIGNED_TOKEN;

/* ---- Signing ------------------------------------------------------------------------------------- */

static void put_base64(rt_bytes *to, const void *from, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *p = (const uint8_t *)from;
    size_t i, k;
    for (i = 0; i < len; i += 3) {
        uint32_t bits = 0, n = len - i < 3 ? (uint32_t)(len - i) : 3;
        for (k = 0; k < 3; k++) bits = bits << 8 | (k < n ? p[i + k] : 0u);
        for (k = 0; k <= n; k++) rt_print(to, "%c", digits[bits >> (18 - 6 * k) & 63]);
    }
}

static void sign(const char *message, uint8_t signature[64]) {
    uint8_t seed[32];
    size_t i, len = 64;
    EVP_PKEY *key;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    for (i = 0; i < 32; i++) seed[i] = (uint8_t)i;
    key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    CHECK_INT(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key), 1);
    CHECK_INT(EVP_DigestSign(ctx, signature, &len, (const uint8_t *)message, strlen(message)), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* A token of these parts; valid until the next call. */
static const char *token_of(const char *head, const char *claims) {
    static rt_bytes text;
    uint8_t signature[64];
    text.len = 0;
    put_base64(&text, head, strlen(head));
    rt_print(&text, ".");
    put_base64(&text, claims, strlen(claims));
    sign((const char *)text.at, signature);
    rt_print(&text, ".");
    put_base64(&text, signature, sizeof signature);
    return (const char *)text.at;
}

/* ---- Keys ---------------------------------------------------------------------------------------- */

static restate_status nothing(restate_ctx *ctx, restate_bytes in) {
    (void)ctx;
    (void)in;
    return RESTATE_OK;
}

static const restate_handler handlers[] = { { .name = "h", .fn = nothing }, { .name = NULL } };
static const restate_service service = { .name = "S", .handlers = handlers };
static const restate_service *const services[] = { &service, NULL };

static const char *const *given_keys;
static bool (*given_verify)(void *, restate_bytes, restate_bytes, restate_bytes);

static void make_endpoint(void) {
    ex_memory();
    ex.version = 7;
    ex.options.services = services;
    ex.options.identity_keys = given_keys;
    ex.options.verify = given_verify;
    ex.options.verify_user = (void *)(uintptr_t)"user";
    ex_worker();
    ex.endpoint = restate_endpoint_new(&ex.options);
    ex.options.services = NULL;
}

TEST(keys) {
    static const struct { const char *key, *error; } cases[] = {
        { KEY, "" },
        { OTHER_KEY, "" },
        { "publickeyv1_11111111111111111111111111111111", "" },
        { "FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF",
          ".identity_keys[1], \"FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF\", does not start with publickeyv1_" },
        { "publickeyv2_FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF",
          ".identity_keys[1], \"publickeyv2_FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF\", does not start with" },
        { "", ".identity_keys[1], \"\", does not start with" },
        { "publickeyv1_", "does not hold 32 bytes" },
        { "publickeyv1_0Ae4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF", "is not in base 58" },
        { "publickeyv1_lAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF", "is not in base 58" },
        { "publickeyv1_FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhi F", "is not in base 58" },
        { "publickeyv1_FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiFFF", "holds more than 32 bytes" },
        { "publickeyv1_Ae4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhi", "does not hold 32 bytes" },
        { "publickeyv1_1FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF", "does not hold 32 bytes" },
        { "publickeyv1_1111111111111111111111111111111111", "does not hold 32 bytes" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const keys[] = { KEY, cases[i].key, NULL };
        given_keys = keys;
        test_note = cases[i].key;
        make_endpoint();
        if (*cases[i].error) CHECK_HAS(restate_endpoint_error(ex.endpoint), cases[i].error);
        else CHECK_STR(restate_endpoint_error(ex.endpoint), "");
        ex_end();
    }
    test_note = "";
    given_keys = (const char *const[]){ NULL };
    make_endpoint();
    CHECK_HAS(restate_endpoint_error(ex.endpoint), ".identity_keys is empty");
    ex_end();
}

TEST(paths) {
    static const struct { const char *path, *signed_as; } cases[] = {
        { "/invoke/a/b", "/invoke/a/b" }, { "/foo/bar/invoke/a/b", "/invoke/a/b" },
        { "foo/invoke/a/b", "/invoke/a/b" }, { "foo/discover", "/discover" }, { "/discover", "/discover" },
        { "/foo/invoke/a", "/foo/invoke/a" }, { "/invoke", "/invoke" }, { "", "" }, { "////", "////" },
        { "discover", "discover" }, { "/invoke/a/b?q=/x/y", "/invoke/a/b" }, { "/x/discover?a", "/discover" },
        { "/invoke/a/b/", "/invoke/a/b/" }, { "/Invoke/a/b", "/Invoke/a/b" },
        { "/serdes/a/encode/b/input", "/serdes/a/encode/b/input" }, { "/x/y/serdes/a/decode/b/output?q=1/2", "/serdes/a/decode/b/output" },
        { "serdes/a/encode/b/input", "serdes/a/encode/b/input" }, { "/x/serdes/a/encode/b", "/x/serdes/a/encode/b" },
        { "/x/Serdes/a/encode/b/c", "/x/Serdes/a/encode/b/c" }, { "/serdes/invoke/a/b", "/invoke/a/b" },
    };
    restate_allocator allocator;
    restate__cache chunks;
    restate__arena arena;
    memset(&allocator, 0, sizeof allocator);
    allocator = restate__mem_defaults(allocator);
    restate__cache_init(&chunks, &allocator, NULL, 0);
    restate__arena_init(&arena, &chunks);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_STR(restate__id_path(&arena, cases[i].path), cases[i].signed_as);
    restate__arena_free(&arena);
}

/* ---- Requests ------------------------------------------------------------------------------------ */

static void drop_body(void) {
    if (ex.x->out.len) restate__buf_drop(&ex.x->out, ex.x->out.len);
}

/* The status of a request with these headers; NULL: without. */
static int ask(const char *method, const char *path, const char *scheme, const char *token) {
    int status;
    CHECK(ex_new());
    header(":method", method);
    header(":path", path);
    header("accept", "application/vnd.restate.endpointmanifest.v4+json");
    header("content-type", "application/vnd.restate.invocation.v7");
    if (scheme) header("x-restate-signature-scheme", scheme);
    if (token) header("x-restate-jwt-v1", token);
    restate__exchange_begin(ex.x, false);
    status = ex.x->status;
    if (status == 401) {                    /* nothing for whoever tries */
        restate_bytes body = restate__buf_peek(&ex.x->out);
        CHECK(restate__b_is(body, "{\"message\":\"Unauthorized\"}"));
        CHECK(ex.x->finished && !ex.x->attempt);
    }
    drop_body();
    ex_release();
    settle();
    return status;
}

static void begin_with(const char *const *keys) {
    given_keys = keys;
    make_endpoint();
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
}

static const char *const one_key[] = { KEY, NULL };
static const char *const two_keys[] = { OTHER_KEY, KEY, NULL };
static const char *const wrong_key[] = { OTHER_KEY, NULL };

#define REFUSED(status, why) do { CHECK_INT(status, 401); LOG_HAS(why); } while (0)

/* Scenario 143. */
TEST(token_of_another_library) {
    begin_with(one_key);
    CHECK_INT(ask("POST", "/invoke/Greeter/greet", "v1", vector), 404);     /* let in: no such service */
    CHECK_INT(ask("POST", "/a/b/invoke/Greeter/greet", "v1", vector), 404);
    LOG_HAS("404: no service Greeter");
    REFUSED(ask("POST", "/invoke/Greeter/greeu", "v1", vector), "for another path");
    ex_end();
}

/* Row 144. */
TEST(headers) {
    const char *good = token_of(HEAD, "{\"aud\":\"" PATH "\",\"exp\":4102444800,\"nbf\":0,\"iat\":0}");
    begin_with(one_key);
    CHECK_INT(ask("POST", PATH, "v1", good), 200);
    REFUSED(ask("POST", PATH, NULL, good), "401: the request is not signed");
    REFUSED(ask("POST", PATH, "unsigned", good), "the server does not sign");
    REFUSED(ask("POST", PATH, "V1", good), "the signature scheme is not v1");
    REFUSED(ask("POST", PATH, "", good), "the signature scheme is not v1");
    REFUSED(ask("POST", PATH, "v1", NULL), "the request is not signed");
    CHECK(ex_new());
    header(":method", "POST");
    header(":path", PATH);
    header("content-type", "application/vnd.restate.invocation.v7");
    header("x-restate-signature-scheme", "v1");
    header("x-restate-signature-scheme", "v1");
    header("x-restate-jwt-v1", good);
    restate__exchange_begin(ex.x, false);
    CHECK_INT(ex.x->status, 401);
    drop_body();
    ex_release();
    LOG_HAS("a header of the signature is there twice");
    ex_end();
}

/* What is guarded, and in which order: path, identity, everything else. */
TEST(routes) {
    const char *good = token_of(HEAD, "{\"aud\":\"/discover\",\"exp\":4102444800,\"nbf\":0}");
    begin_with(one_key);
    CHECK_INT(ask("GET", "/health", NULL, NULL), 200);
    CHECK_INT(ask("GET", "/nowhere", NULL, NULL), 404);
    LOG_HAS("404");
    CHECK_INT(ask("GET", "/discover", "v1", good), 200);
    CHECK_INT(ask("GET", "/prefix/discover", "v1", good), 200);
    REFUSED(ask("GET", "/discover", NULL, NULL), "not signed");
    REFUSED(ask("PUT", "/discover", NULL, NULL), "not signed");
    REFUSED(ask("POST", "/invoke/S/nowhere", NULL, NULL), "not signed");
    REFUSED(ask("POST", PATH, "v1", good), "for another path");
    REFUSED(ask("POST", "/serdes/S/decode/h/input", NULL, NULL), "not signed");
    REFUSED(ask("POST", "/serdes/none/decode/h/input", NULL, NULL), "not signed");
    REFUSED(ask("GET", "/x/serdes/S/decode/h/input", "v1", good), "for another path");
    good = token_of(HEAD, "{\"aud\":\"/serdes/S/decode/h/input\",\"exp\":4102444800,\"nbf\":0}");
    CHECK_INT(ask("POST", "/serdes/S/decode/h/input", "v1", good), 404);    /* it is JSON */
    LOG_HAS("its input has no .to_json");
    CHECK_INT(ask("POST", "/x/serdes/S/decode/h/input", "v1", good), 404);
    LOG_HAS("its input has no .to_json");
    ex_end();
}

/* Row 145. N in claims is now in seconds, P and M five seconds later and earlier. */
TEST(claims) {
    static const struct { const char *claims; int status; const char *why; } cases[] = {
        { "{\"aud\":\"" PATH "\",\"exp\":P,\"nbf\":M,\"iat\":N,\"sub\":\"x\"}", 200, NULL },
        { "{\"aud\":\"" PATH "\",\"exp\":P,\"nbf\":M}", 200, NULL },
        { "{\"aud\":[\"/a\",\"" PATH "\"],\"exp\":P,\"nbf\":M}", 200, NULL },
        { "{\"aud\":[ 1, [\"x\"], \"\\/invoke/S/\\u0068\" ],\"exp\":P,\"nbf\":M}", 200, NULL },
        { "{\"aud\":\"" PATH "\",\"exp\":P.5,\"nbf\":M.5}", 200, NULL },
        { "{\"aud\":\"" PATH "\",\"exp\":1e11,\"nbf\":-1}", 200, NULL },
        { "{\"aud\":\"/invoke/S/other\",\"exp\":P,\"nbf\":M}", 401, "another path (aud)" },
        { "{\"aud\":\"/x/invoke/S/h\",\"exp\":P,\"nbf\":M}", 401, "another path (aud)" },
        { "{\"aud\":[],\"exp\":P,\"nbf\":M}", 401, "another path (aud)" },
        { "{\"aud\":[[\"" PATH "\"]],\"exp\":P,\"nbf\":M}", 401, "another path (aud)" },
        { "{\"aud\":null,\"exp\":P,\"nbf\":M}", 401, "another path (aud)" },
        { "{\"aud\":{\"" PATH "\":1},\"exp\":P,\"nbf\":M}", 401, "another path (aud)" },
        { "{\"exp\":P,\"nbf\":M}", 401, "another path (aud)" },
        { "{\"aud\":\"" PATH "\",\"exp\":M,\"nbf\":M}", 401, "expired" },
        { "{\"aud\":\"" PATH "\",\"exp\":P,\"nbf\":P}", 401, "not valid yet" },
        { "{\"aud\":\"" PATH "\",\"nbf\":M}", 401, "no exp" },
        { "{\"aud\":\"" PATH "\",\"exp\":\"P\",\"nbf\":M}", 401, "no exp" },
        { "{\"aud\":\"" PATH "\",\"exp\":null,\"nbf\":M}", 401, "no exp" },
        { "{\"aud\":\"" PATH "\",\"exp\":1e999,\"nbf\":M}", 401, "no exp" },
        { "{\"aud\":\"" PATH "\",\"exp\":P}", 401, "no nbf" },
        { "{\"aud\":\"" PATH "\",\"exp\":P,\"nbf\":\"0\"}", 401, "no nbf" },
        { "[\"aud\",\"exp\",\"nbf\"]", 401, "another path (aud)" },
        { "{\"aud\":\"" PATH "\",\"exp\":P,\"nbf\":M", 401, "another path (aud)" },
        { "", 401, "is no JSON Web Token" },
    };
    begin_with(one_key);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char claims[256], *to = claims;
        uint64_t now = restate__clock_wall_ms(&restate__clock_default) / 1000;
        const char *p = cases[i].claims;
        for (; *p; p++) {
            bool number = (*p == 'P' || *p == 'M' || *p == 'N') && p > cases[i].claims && strchr(":\"", p[-1]);
            if (number) to += sprintf(to, "%llu", (unsigned long long)(*p == 'P' ? now + 5 : *p == 'M' ? now - 5 : now));
            else *to++ = *p;
        }
        *to = 0;
        test_note = cases[i].claims;
        CHECK_INT(ask("POST", PATH, "v1", token_of(HEAD, claims)), cases[i].status);
        if (cases[i].why) LOG_HAS(cases[i].why);
        else LOG("");
    }
    test_note = "";
    ex_end();
}

static uint64_t long_ago(void *user) {
    (void)user;
    return 1000000000;                      /* 1970-01-12 */
}

/* It is the endpoint's clock that says whether a token is too old. */
TEST(times_by_the_clock) {
    static const char claims[] = "{\"aud\":\"" PATH "\",\"exp\":1000005,\"nbf\":999995}";
    for (int virtual_ = 0; virtual_ < 2; virtual_++) {
        ex.clock.wall_ms = virtual_ ? long_ago : NULL;
        ex.clock.monotonic_ms = virtual_ ? long_ago : NULL;
        begin_with(one_key);
        CHECK_INT(ask("POST", PATH, "v1", token_of(HEAD, claims)), virtual_ ? 200 : 401);
        if (!virtual_) LOG_HAS("expired");
        ex_end();
    }
    memset(&ex.clock, 0, sizeof ex.clock);
}

/* Both ends of the time belong to it. */
TEST(times_to_the_second) {
    restate_allocator allocator;
    restate__cache chunks;
    restate__arena arena;
    const restate_bytes claims = restate_str("{\"aud\":\"/p\",\"exp\":1000,\"nbf\":900}");
    memset(&allocator, 0, sizeof allocator);
    allocator = restate__mem_defaults(allocator);
    restate__cache_init(&chunks, &allocator, NULL, 0);
    restate__arena_init(&arena, &chunks);
    CHECK_HAS(restate__id_claims(&arena, claims, "/p", 899), "nbf");
    CHECK(!restate__id_claims(&arena, claims, "/p", 900));
    CHECK(!restate__id_claims(&arena, claims, "/p", 1000));
    CHECK_HAS(restate__id_claims(&arena, claims, "/p", 1001), "exp");
    restate__arena_free(&arena);
}

/* Ten seconds later each time: the log leaves out no line of those that peers can cause. */
static uint64_t in_a_hurry(void *user) { return *(uint64_t *)user += 10000; }

#define CLAIMS "{\"aud\":\"" PATH "\",\"exp\":4102444800,\"nbf\":0}"

TEST(signatures) {
    char token[1024], *dot;
    uint64_t time = 1000000000000;
    ex.clock.wall_ms = ex.clock.monotonic_ms = in_a_hurry;
    ex.clock.user = &time;
    ex.defaults.stall_warning_ms = RESTATE_ZERO_MS;
    begin_with(one_key);
    CHECK_INT(ask("POST", PATH, "v1", token_of("{\"alg\":\"EdDSA\"}", CLAIMS)), 200);
    CHECK_INT(ask("POST", PATH, "v1", token_of("{\"alg\":\"EdDSA\",\"kid\":\"wrong\"}", CLAIMS)), 200);
    REFUSED(ask("POST", PATH, "v1", token_of("{\"alg\":\"none\"}", CLAIMS)), "alg is not EdDSA");
    REFUSED(ask("POST", PATH, "v1", token_of("{\"alg\":\"HS256\"}", CLAIMS)), "alg is not EdDSA");
    REFUSED(ask("POST", PATH, "v1", token_of("{\"alg\":\"eddsa\"}", CLAIMS)), "alg is not EdDSA");
    REFUSED(ask("POST", PATH, "v1", token_of("{}", CLAIMS)), "alg is not EdDSA");
    REFUSED(ask("POST", PATH, "v1", token_of("x", CLAIMS)), "alg is not EdDSA");
    for (size_t at = 0;; at += 3) {         /* any character changed, anywhere */
        strcpy(token, token_of(HEAD, CLAIMS));
        if (at >= strlen(token)) break;
        token[at] = token[at] == 'A' ? 'B' : 'A';
        CHECK_INT(ask("POST", PATH, "v1", token), 401);
    }
    LOG_HAS("401");
    strcpy(token, token_of(HEAD, CLAIMS));  /* cut anywhere */
    for (size_t len = strlen(token); len-- > 0;) {
        token[len] = 0;
        CHECK_INT(ask("POST", PATH, "v1", token), 401);
    }
    LOG_HAS("401");
    strcpy(token, token_of(HEAD, CLAIMS));
    dot = strrchr(token, '.');
    strcpy(dot, ".");
    REFUSED(ask("POST", PATH, "v1", token), "is no JSON Web Token");
    strcpy(token, token_of(HEAD, CLAIMS));
    strcat(token, ".x");
    REFUSED(ask("POST", PATH, "v1", token), "is no JSON Web Token");
    strcpy(token, token_of(HEAD, CLAIMS));
    strcat(token, "=");
    REFUSED(ask("POST", PATH, "v1", token), "signature is cut");
    ex_end();
    begin_with(two_keys);
    CHECK_INT(ask("POST", PATH, "v1", token_of(HEAD, CLAIMS)), 200);
    ex_end();
    begin_with(wrong_key);
    REFUSED(ask("POST", PATH, "v1", token_of(HEAD, CLAIMS)), "signed with none of identity_keys");
    ex_end();
    memset(&ex.clock, 0, sizeof ex.clock);
    memset(&ex.defaults, 0, sizeof ex.defaults);
}

/* ---- Another library ----------------------------------------------------------------------------- */

static bool fake_fits;
static uint8_t fake_key[32];

static bool fake_verify(void *user, restate_bytes key, restate_bytes message, restate_bytes signature) {
    CHECK_STR((const char *)user, "user");
    CHECK_INT(key.len, 32);
    CHECK_INT(signature.len, 64);
    CHECK(memchr(message.ptr, '.', message.len) != NULL);
    tell("asked ");
    return fake_fits && key.ptr[0] == fake_key[0] && key.ptr[31] == fake_key[31];
}

TEST(verify_of_the_user) {
    given_verify = fake_verify;
    begin_with(two_keys);
    CHECK(!restate__id_key(KEY, fake_key));
    fake_fits = true;
    CHECK_INT(ask("POST", PATH, "v1", token_of(HEAD, CLAIMS)), 200);
    TOLD("asked asked ");
    fake_fits = false;
    REFUSED(ask("POST", PATH, "v1", token_of(HEAD, CLAIMS)), "signed with none of identity_keys");
    TOLD("asked asked ");
    ex_end();
    given_verify = NULL;
}

TEST(out_of_memory) {
    for (size_t at = 1; at < 40; at++) {
        const char *token = token_of(HEAD, CLAIMS);
        int status = 0;
        begin_with(one_key);
        ex.memory.fail_at = ex.memory.calls + at;
        if (ex_new()) {
            header(":method", "POST");
            header(":path", PATH);
            header("content-type", "application/vnd.restate.invocation.v7");
            header("x-restate-signature-scheme", "v1");
            header("x-restate-jwt-v1", token);
            restate__exchange_begin(ex.x, false);
            status = ex.x->status;
            CHECK(status == 200 || status == 401 || status == 500);
            drop_body();
            ex_release();
            settle();
        }
        ex.memory.fail_at = 0;
        ex.log.len = 0;
        if (ex.log.at) *ex.log.at = 0;
        ex_end();
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(keys), T(paths), T(token_of_another_library), T(headers), T(routes), T(claims),
        T(times_by_the_clock), T(times_to_the_second), T(signatures), T(verify_of_the_user), T(out_of_memory),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
