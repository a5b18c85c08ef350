/* Fuzz target: texts with rules of their own: ids, keys, tokens, base64, content types and what a
 * peer accepts, paths, addresses, percent-encoding, UTF-8. Where there is a second way to come to a
 * result, they must agree.
 *
 * The first byte chooses a rule, the second one how many allocations work (0: all do). */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_THREADS
#include "restate.h"
#include "support/allocator.c"

#include "main.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

enum { HEAD = 2, MOST = 4096 };

static mem_counts memory;

/* A text, in memory that ends behind its zero byte, and where what is made of it goes. */
typedef struct given {
    restate_bytes bytes;
    const char *text;
    restate__arena arena;
} given;

/* ---- Base 64, 62 and 58 ---------------------------------------------------------------------- */

/* What can be read strictly has one form only. */
static void try_base64(given *g) {
    uint8_t back[MOST];
    char form[2 * MOST];
    for (int url = 0; url < 2; url++) {
        size_t n = (size_t)(restate__b_base64(form, g->bytes, url != 0) - form);
        while (n && form[n - 1] == '=') n--;
        restate_bytes of = restate__b((const uint8_t *)form, n);
        REQUIRE(restate__b_base64_read(of, url != 0, back, sizeof back) == g->bytes.len);
        REQUIRE(!g->bytes.len || !memcmp(back, g->bytes.ptr, g->bytes.len));
    }
    size_t n = restate__b_base64_read(g->bytes, true, back, sizeof back);
    if (n == SIZE_MAX) return;
    REQUIRE(n == g->bytes.len * 3 / 4);
    REQUIRE(restate__b_base64(form, restate__b(back, n), true) == form + g->bytes.len);
    REQUIRE(!g->bytes.len || !memcmp(form, g->bytes.ptr, g->bytes.len));
}

static void try_base64_room(given *g) {
    uint8_t back[MOST];
    size_t all = restate__b_base64_read(g->bytes, false, back, sizeof back);
    for (size_t room = 0; room < 40; room++) {
        uint8_t *exactly = (uint8_t *)malloc(room ? room : 1);
        REQUIRE(exactly);
        size_t n = restate__b_base64_read(g->bytes, false, exactly, room);
        if (all != SIZE_MAX) REQUIRE(n == (all <= room ? all : room + 1));
        else REQUIRE(n == SIZE_MAX || n == room + 1);
        free(exactly);
    }
}

/* Whether a number of this base fits into so many bits; all characters are digits. */
static bool fits(const char *digits, size_t n, unsigned bits) {
    uint8_t number[40] = { 0 };
    for (size_t i = 0; i < n; i++) {
        unsigned carry = restate__b_base62_digit(digits[i]);
        for (size_t k = 0; k < sizeof number; k++, carry >>= 8)
            number[k] = (uint8_t)(carry += number[k] * 62u);
    }
    for (size_t k = bits / 8; k < sizeof number; k++)
        if (number[k]) return false;
    return true;
}

static void try_invocation_id(given *g) {
    const char *id = g->text;
    bool good = strlen(id) == 38 && !strncmp(id, "inv_1", 5) &&
                strspn(id + 5, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == 33;
    good = good && fits(id + 5, 11, 64) && fits(id + 16, 22, 128);
    REQUIRE(good == !restate__b_invocation_id_fault(id));
}

static void try_awakeable_id(given *g) {
    uint8_t bytes[28];
    size_t len = strlen(g->text);
    if (restate__b_awakeable_id_fault(g->text)) return;
    REQUIRE(len >= 44 && len <= 46);
    restate_bytes digits = restate__b((const uint8_t *)g->text + 6, 38);
    REQUIRE(restate__b_base64_read(digits, true, bytes, sizeof bytes) == sizeof bytes);
}

/* Writes a key as its text. */
static void put_key(const uint8_t *key, char *to) {
    static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    uint8_t left[RESTATE__ID_KEY_BYTES];
    char text[64];
    size_t n = 0, zeros = 0;
    memcpy(left, key, sizeof left);
    while (zeros < sizeof left && !left[zeros]) zeros++;
    for (size_t from = zeros; from < sizeof left;) {
        unsigned rest = 0;
        for (size_t i = from; i < sizeof left; i++) {
            rest = rest << 8 | left[i];
            left[i] = (uint8_t)(rest / 58), rest %= 58;
        }
        text[n++] = digits[rest];
        while (from < sizeof left && !left[from]) from++;
    }
    to += sprintf(to, RESTATE__ID_KEY_START);
    while (zeros--) *to++ = '1';
    while (n) *to++ = text[--n];
    *to = 0;
}

static void try_key(given *g) {
    uint8_t key[RESTATE__ID_KEY_BYTES] = { 0 }, back[RESTATE__ID_KEY_BYTES];
    char text[128];
    if (!restate__id_key(g->text, key)) {
        put_key(key, text);
        REQUIRE(!strcmp(text, g->text));
    }
    memcpy(key, g->bytes.ptr, g->bytes.len < sizeof key ? g->bytes.len : sizeof key);
    put_key(key, text);
    REQUIRE(!restate__id_key(text, back) && !memcmp(key, back, sizeof key));
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static bool believe(void *user, restate_bytes key, restate_bytes message, restate_bytes signature) {
    (void)user;
    REQUIRE(key.len == RESTATE__ID_KEY_BYTES && signature.len == RESTATE__ID_SIGNATURE_BYTES);
    REQUIRE(memchr(message.ptr, '.', message.len));
    return true;
}

/* As it is, or with dots and base64 put around it: a token, a space, a path. */
static void try_token(given *g) {
    static const uint8_t key[RESTATE__ID_KEY_BYTES];
    const restate__id_signers signers = { key, 1, believe, NULL };
    char *token = (char *)restate__arena_text(&g->arena, g->bytes);
    size_t n = strcspn(token, " ");
    const char *path = token[n] ? token + n + 1 : "/discover";
    if (g->arena.failed) return;
    token[n] = 0;
    (void)restate__id_token(&g->arena, token, path, 1700000000, &signers);
}

static void try_claims(given *g) {
    char token[3 * MOST], *at = token;
    restate_bytes head = restate_str("{\"alg\":\"EdDSA\"}");
    static const uint8_t signature[RESTATE__ID_SIGNATURE_BYTES], key[RESTATE__ID_KEY_BYTES];
    const restate__id_signers signers = { key, 1, believe, NULL };
    at = restate__b_base64(at, head, true);
    *at++ = '.';
    at = restate__b_base64(at, g->bytes, true);
    *at++ = '.';
    at = restate__b_base64(at, restate__b(signature, sizeof signature), true);
    *at = 0;
    (void)restate__id_token(&g->arena, token, "/x/invoke/S/h?q", 1700000000, &signers);
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static void try_accept(given *g) {
    int version = restate__ep_manifest_version(g->text);
    char type[100];
    REQUIRE(!version || (version >= RESTATE__MANIFEST_MIN && version <= RESTATE__MANIFEST_MAX));
    sprintf(type, "%s.v%d+json", "application/vnd.restate.endpointmanifest", version);
    REQUIRE(!version || strstr(g->text, type));
}

static void try_type(given *g) {
    size_t n = restate__ep_type_len(g->text);
    REQUIRE(n <= strlen(g->text));
    REQUIRE(!n || (memchr(g->text, '/', n) && strcspn(g->text, " \t;\"") >= n));
    REQUIRE(restate__ep_token(g->text) <= strlen(g->text));
}

static void hold_segment(const given *g, restate_bytes name) {
    REQUIRE(!memchr(name.ptr, '/', name.len) && !memchr(name.ptr, '?', name.len));
    REQUIRE(name.ptr >= g->bytes.ptr && name.ptr + name.len <= g->bytes.ptr + strlen(g->text));
}

static void try_path(given *g) {
    restate__ep_names names;
    restate__route route = restate__ep_route(g->text, &names);
    const char *signed_ = restate__id_path(&g->arena, g->text);
    if (route == RESTATE__ROUTE_INVOKE || route == RESTATE__ROUTE_SHOW) {
        hold_segment(g, names.service);
        hold_segment(g, names.handler);
    }
    if (route == RESTATE__ROUTE_SHOW) {
        hold_segment(g, names.way);
        hold_segment(g, names.payload);
    }
    REQUIRE(!strchr(signed_, '?'));
    if (g->arena.failed) return;
    REQUIRE(route != RESTATE__ROUTE_INVOKE || !strncmp(signed_, "/invoke/", 8));
    REQUIRE(route != RESTATE__ROUTE_DISCOVER || !strcmp(signed_, "/discover"));
}

static void try_address(given *g) {
    restate__client_address a;
    memset(&a, 0, sizeof a);
    a.url = g->text;
    if (restate__client_read_url(&g->arena, &a) || g->arena.failed) return;
    REQUIRE(*a.host && *a.authority);
    REQUIRE(a.path || (atoi(a.port) > 0 && atoi(a.port) < 65536));
    REQUIRE(a.path || !strpbrk(a.prefix, "?# "));
}

/* A segment of a path comes back, and is one segment. */
static void try_segment(given *g) {
    restate__json_out o = restate__json_out_on(&g->arena);
    restate__client_segment(&o, g->bytes);
    restate_bytes path = restate__json_finish(&o);
    uint8_t back[MOST];
    size_t n = 0;
    if (!path.ptr) return;
    REQUIRE(path.len && *path.ptr == '/');
    for (size_t i = 1; i < path.len; i++) {
        uint8_t c = path.ptr[i];
        REQUIRE(c > ' ' && c < 127 && !strchr("/?#&+:;", c));
        if (c == '%') {
            REQUIRE(i + 2 < path.len);
            c = (uint8_t)(restate__b_hex_digit(path.ptr[i + 1]) << 4 |
                          restate__b_hex_digit(path.ptr[i + 2]));
            i += 2;
        }
        back[n++] = c;
    }
    REQUIRE(n == g->bytes.len && (!n || !memcmp(back, g->bytes.ptr, n)));
    REQUIRE(strcmp((const char *)path.ptr, "/.") && strcmp((const char *)path.ptr, "/.."));
}

/* ---- The others ------------------------------------------------------------------------------ */

static void try_scope(given *g) {
    bool good = !restate__b_scope_fault(g->text);
    REQUIRE(!good || (strlen(g->text) <= 36 && !strpbrk(g->text, "/ %")));
}

/* What was cleaned is clean, as long as it was, and what was clean is as it was. */
static void try_utf8(given *g) {
    static const char *const also[] = { NULL, "", "\n", "\n\t" };
    for (size_t i = 0; i < COUNT(also); i++) {
        char copy[MOST];
        bool clean = restate__b_is_clean(g->bytes, also[i]);
        memcpy(copy, g->bytes.ptr, g->bytes.len);
        restate__b_clean(copy, g->bytes.len, also[i]);
        REQUIRE(restate__b_is_clean(restate__b((const uint8_t *)copy, g->bytes.len), also[i]));
        REQUIRE(!clean || !memcmp(copy, g->bytes.ptr, g->bytes.len));
        REQUIRE(also[i] || clean == restate__b_utf8(g->bytes));
    }
}

static void try_locks(given *g) {
    const restate_target to = { "S", "h", "key", NULL };
    size_t len = 0, all = 0;
    for (const char *at = g->text; (at = restate__locks_next(at, &len)) != NULL; all += len)
        REQUIRE(len && at + len <= g->text + strlen(g->text));
    REQUIRE(all <= strlen(g->text));
    (void)restate__locks_takes(&g->arena, g->text, &to);
    const char *found = restate__locks_find(g->text, "Uw.a2V5");
    if (found) REQUIRE(strlen(restate__locks_circle(&g->arena, found, &to)) < 100000);
}

static const struct rule {
    void (*hold)(given *g);
    const char *seeds[4];
} rules[] = {
    { try_base64, { "YWJj", "YWI", "-_-_", "+/==" } },
    { try_base64_room, { "YWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJj", "", "a", NULL } },
    { try_invocation_id, { "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn",
                           "inv_1lYGhA16ahyf7N42dgm5tFLK9N8MT7fHC7",
                           "inv_1i38pzuBc7Un030IOErvhBLoIdQKXzGtbd", "inv_1" } },
    { try_awakeable_id, { "sign_1NMyOAvDK2CcBjUH4Rmb7eGBp0DNNDnmsAAAAEQ",
                          "prom_1NMyOAvDK2CcBjUH4Rmb7eGBp0DNNDnmsAAAAAQ==", "sign_1", NULL } },
    { try_key, { "publickeyv1_w7YHemBctH5Ck2nQRQ47iBBqhNHy4FV7t2Usbye2A6f",
                 "publickeyv1_11111111111111111111111111111111", "publickeyv1_0", NULL } },
    { try_token, { "eyJhbGciOiJFZERTQSJ9.eyJhdWQiOiIvZGlzY292ZXIifQ."
                   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                   "AAAAAA /discover", "a.b.c", "..", " " } },
    { try_claims, { "{\"aud\":\"/invoke/S/h\",\"exp\":1700000001,\"nbf\":1}",
                    "{\"aud\":[\"/x\",\"\\u002finvoke/S/h\"],\"exp\":1.7e9,\"nbf\":-1}",
                    "{\"aud\":null}", "[]" } },
    { try_accept, { "application/vnd.restate.endpointmanifest.v4+json, text/plain",
                    "application/vnd.restate.endpointmanifest.v9+json",
                    " ,\tapplication/vnd.restate.endpointmanifest.v2+json ,", "*/*" } },
    { try_type, { "text/csv; a=b; c=\"d\\\"\"", "*/*", "text/*", "a/b;" } },
    { try_path, { "/a/invoke/S/h?b/c", "/discover", "/invoke//", "/x/serdes/S/encode/h/input" } },
    { try_address, { "http://[::1]:8080/a/", "https://h", "unix:/a", "http://h:0" } },
    { try_segment, { "a/b c", "..", "\xc3\xbc%", "." } },
    { try_scope, { "a_b.c-d", "0123456789012345678901234567890123456", "/", "" } },
    { try_utf8, { "a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                  "\n\x1b\xe2\x80\xae" } },
    { try_locks, { "Uw.a2V5,~Uw.h.i, T.eA", "~", "Uw.a2V5", ",,." } },
};

/* ---- Runs and seeds -------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    const restate_allocator allocator = mem_allocator(&memory);
    restate__cache cache;
    given g;
    uint8_t *copy;
    if (len < HEAD || len - HEAD >= MOST) return 0;
    copy = (uint8_t *)malloc(len - HEAD + 1);
    REQUIRE(copy);
    memcpy(copy, at + HEAD, len - HEAD);
    copy[len - HEAD] = 0;
    g.bytes = restate__b(copy, len - HEAD);
    g.text = (const char *)copy;
    restate__cache_init(&cache, &allocator, NULL, 0);
    restate__arena_init(&g.arena, &cache);
    mem_fail(&memory, at[1]);
    rules[at[0] % COUNT(rules)].hold(&g);
    mem_fail(&memory, 0);
    restate__arena_free(&g.arena);
    restate__cache_free(&cache);
    REQUIRE(memory.live == 0);
    free(copy);
    return 0;
}

void each_seed(fuzz_use *use) {
    for (size_t i = 0; i < COUNT(rules); i++)
        for (size_t k = 0; k < COUNT(rules[i].seeds) && rules[i].seeds[k]; k++)
            for (uint8_t fails = 0; fails < 2; fails++) {
                uint8_t seed[300] = { (uint8_t)i, fails };
                size_t len = strlen(rules[i].seeds[k]);
                memcpy(seed + HEAD, rules[i].seeds[k], len);
                use(seed, HEAD + len);
            }
}
