/* Random JSON, and random messages of tests/proto in both their forms: what the public functions
 * make of them, as one number per case.
 *
 *     build/differential/now_json [--from SEED] [--cases N] [--block N] [--allow FILE]
 *     build/differential/now_json [--allow FILE] -v SEED     the transcript of one case
 *
 * tests/differential.sh compiles this file with two headers and compares what they print, as it
 * does with differential.c. A case is made of its seed alone. It is an attempt whose input is the
 * text or message; the handler hands it to the functions and says what each of them gave. What the
 * attempt sends last tells of misuse. Of the header behind the public part only the tables of
 * messages are used, to make up messages: they are in every program that has a codec. */
#define _POSIX_C_SOURCE 200809L
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"

#include "../build/proto/times.pb.c"
#include "../build/proto/kinds.pb.c"
#include "../build/proto/old.pb.c"
#include "../build/proto/names.pb.c"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* ---- Random numbers (splitmix64) ------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t splitmix(void) {
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

#ifndef CHOICES                             /* fuzz/values.c: the bytes of its input choose */
static uint64_t next(void) { return splitmix(); }
static unsigned below(size_t n) { return (unsigned)((next() >> 33) % n); }
#else
static uint64_t next(void);
static unsigned below(size_t n);
#endif
static bool percent(unsigned p) { return below(100) < p; }

/* ---- Bytes that grow ------------------------------------------------------------------------- */

typedef struct text { uint8_t *at; size_t len, room; } text;

static void add(text *to, const void *from, size_t len) {
    if (to->room - to->len < len + 1) {
        to->room = 2 * (to->len + len) + 256;
        to->at = (uint8_t *)realloc(to->at, to->room);
        if (!to->at) abort();
    }
    if (len) memcpy(to->at + to->len, from, len);
    to->len += len;
    to->at[to->len] = 0;
}

static void print(text *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print(text *to, const char *format, ...) {
    char line[2048];
    int n;
    va_list args;
    va_start(args, format);
    n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    add(to, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void put(text *to, const char *s) { add(to, s, strlen(s)); }
static void put_char(text *to, char c) { add(to, &c, 1); }

static restate_bytes bytes_of(const void *at, size_t len) {
    return (restate_bytes){ .ptr = (const uint8_t *)at, .len = len };
}

/* ---- The transcript -------------------------------------------------------------------------- */

static text told;
#define SAY(...) print(&told, __VA_ARGS__)

static void say_bytes(restate_bytes b) {
    if (!b.ptr) SAY(" absent");
    else SAY(" %lu:", (unsigned long)b.len);
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] >= 0x20 && b.ptr[i] < 0x7F) put_char(&told, (char)b.ptr[i]);
        else SAY("\\%02x", b.ptr[i]);
    }
}

static void say_status(restate_ctx *ctx, const char *what, restate_status s) {
    SAY("%s %d", what, (int)s);
    if (s == RESTATE_TERMINAL) {
        SAY(" [%u]", restate_failed(ctx)->code);
        say_bytes(restate_str(restate_failed(ctx)->message));
    }
}

/* What fuzz/values.c demands of JSON that was written, and of a message that was read. */
#ifdef CHOICES
static restate_bytes written(restate_ctx *ctx, restate_bytes json);
static void read_back(restate_ctx *ctx, const restate_codec *binary, const restate_codec *json, const void *message);
#else
static restate_bytes written(restate_ctx *ctx, restate_bytes json) { return (void)ctx, json; }
#  define read_back(ctx, binary, json, message) ((void)0)
#endif

/* ---- Values that JSON has, of all shapes ----------------------------------------------------- */

static const char *const pieces[] = {
    "a", "Z", " ", "'", "/", "~", "\x7F", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xE2\x80\xA8", "\\\"",
    "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0000", "\\u0041", "\\u00e9", "\\u20AC", "\\ud83d\\ude00",
    "\\ud83d", "\\ude00", "\\uFFFF", "\\u001f", "%", "0", "9", "-", "_", ",", ".", "=", "+", "QQ", "Ab0_",
};
static const char *const bad_pieces[] = {
    "\x01", "\n", "\xFF", "\xC0\x80", "\xED\xA0\x80", "\xE2\x82", "\x80", "\\x", "\\u12", "\\u12G4", "\\", "\xF4\x90\x80\x80", "",
};

static void put_string(text *to) {
    put_char(to, '"');
    for (size_t n = percent(10) ? below(80) : below(5); n; n--) put(to, pieces[below(COUNT(pieces))]);
    if (percent(1)) put(to, bad_pieces[below(COUNT(bad_pieces))]);
    put_char(to, '"');
}

static const char *const words[] = {
    "0", "-0", "1", "-1", "127", "128", "-128", "-129", "255", "256", "32767", "32768", "65535", "65536", "2147483647",
    "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296", "9007199254740992", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
    "18446744073709551615", "18446744073709551616", "0.1", "1.5", "-2.50", "1e2", "1E+2", "120e-1", "1e-400", "1e308",
    "1e309", "-1e400", "3.4028235e38", "3.4028236e38", "0.30000000000000004", "1e22", "1e23", "123456789012345678",
    "0.000000000000000000000000000000000000000000000000000000000000000000000001", "5e-324", "0e99999999999999999999",
    "1e99999999999999999999", "1e-99999999999999999999", "100000000000000000000000000000000000000000000000000000000000000000",
    "4.35", "0.1e1", "10.0", "1.0000000000000000000000000000000000000000000000001",
};

static void put_number(text *to) {
    if (percent(40)) {
        put(to, words[below(COUNT(words))]);
        return;
    }
    if (percent(30)) put_char(to, '-');
    if (percent(20)) put_char(to, '0');
    else {
        put_char(to, (char)('1' + below(9)));
        for (size_t n = below(percent(10) ? 70 : 20); n; n--) put_char(to, (char)('0' + below(10)));
    }
    if (percent(40)) {
        put_char(to, '.');
        for (size_t n = 1 + below(percent(10) ? 40 : 6); n; n--) put_char(to, (char)('0' + below(10)));
    }
    if (percent(25)) print(to, "%s%s%u", percent(50) ? "e" : "E", percent(50) ? "" : percent(50) ? "+" : "-", below(percent(20) ? 400 : 30));
}

static void put_space(text *to) {
    static const char *const spaces[] = { " ", "\n", "\t", "\r", "  ", "\f" };
    if (percent(6)) put(to, spaces[below(percent(2) ? COUNT(spaces) : COUNT(spaces) - 1)]);
}

static const char *const names[] = { "a", "b", "id", "\xC3\xA9", "", "nope", "a b", "\"", "ab" };

static void put_name(text *to) {
    static const char *const escaped[] = { "\"a\"", "\"b\"", "\"id\"", "\"\\u0061\"", "\"\xC3\xA9\"", "\"\\u00e9\"",
        "\"\"", "\"i\\u0064\"", "\"a b\"", "\"\\\"\"", "\"\\ud83d\\ude00\"", "\"ab\"", "\"\\ud800\"" };
    if (percent(95)) put(to, escaped[below(COUNT(escaped))]);
    else put_string(to);
}

static void put_json(text *to, unsigned depth) {
    unsigned what = below(depth ? 11 : 7);
    bool object = what < 9;
    put_space(to);
    if (what < 2) put_string(to);
    else if (what < 4) put_number(to);
    else if (what < 7) put(to, what == 4 ? "true" : what == 5 ? "false" : "null");
    else {
        put_char(to, object ? '{' : '[');
        put_space(to);
        for (size_t n = below(5), i = 0; i < n; i++) {
            if (i) put_char(to, ',');
            put_space(to);
            if (object) {
                put_name(to);
                put_space(to);
                put_char(to, ':');
            }
            put_json(to, depth - 1);
        }
        put_char(to, object ? '}' : ']');
    }
    put_space(to);
}

static void put_deep(text *to) {
    size_t n = 95 + below(10);
    uint64_t kinds = next();
    for (size_t i = 0; i < n; i++) put(to, kinds >> i % 64 & 1 ? "[" : "{\"a\":");
    put(to, percent(50) ? "1" : percent(50) ? "[]" : "{}");
    for (size_t i = n; i-- > 0;) put(to, kinds >> i % 64 & 1 ? "]" : "}");
}

/* Breaks a text a little. */
static void mutate(text *t) {
    static const char *const odd[] = { "null", "true", "\"\"", "{}", "[]", "0", "-", ",", ":", "]", "}", "\"", "\\",
        "\"NaN\"", "1e9", " ", "\xFF", ".", "e", "\"-Infinity\"", "\"1s\"", "\"QQ==\"", "99999999999999999999" };
    uint8_t tail[64];
    size_t at = below(t->len + 1), n = t->len - at < sizeof tail ? t->len - at : sizeof tail;
    switch (below(5)) {
    case 0: if (at < t->len) t->at[at] ^= (uint8_t)(1u << below(8)); break;
    case 1: if (at < t->len) t->at[at] = (uint8_t)next(); break;
    case 2: t->len = at; break;
    case 3:
        n = below(t->len - at + 1);
        memmove(t->at + at, t->at + at + n, t->len - at - n);
        t->len -= n;
        break;
    default:
        memcpy(tail, t->at + at, n);
        t->len = at;
        put(t, odd[below(COUNT(odd))]);
        add(t, tail, n);
    }
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void read_all(restate_ctx *ctx, restate_bytes json, const char *member) {
    long long n = -77;
    double x = -77;
    bool yes = true;
    const char *string = "default";
    restate_bytes b = bytes_of("default", 7);
    SAY("\n member %s: ", member ? member : "NULL");
    say_status(ctx, "int", restate_json_int(ctx, json, member, percent(5) ? NULL : &n));
    SAY(" %lld ", n);
    say_status(ctx, "double", restate_json_double(ctx, json, member, &x));
    SAY(" %.17g ", x);
    say_status(ctx, "bool", restate_json_bool(ctx, json, member, &yes));
    SAY(" %d ", yes);
    say_status(ctx, "string", restate_json_string(ctx, json, member, &string));
    say_bytes(restate_str(string));
    say_status(ctx, " text", restate_json_text(ctx, json, member, &b));
    say_bytes(b);
    if (b.ptr) say_bytes(written(ctx, restate_json_quote(ctx, b)));
    say_status(ctx, " member", restate_json_member(ctx, json, member, &b));
    say_bytes(b);
    if (b.len && *b.ptr == '[') {
        restate_bytes e = { 0, 0 };
        while (restate_json_next(ctx, b, &e)) say_bytes(e);
    }
}

static void read_tree(restate_ctx *ctx, restate_bytes json) {
    struct cJSON *tree = NULL;
    say_status(ctx, "\n tree", restate_json_tree(ctx, json, &tree));
    if (tree) say_bytes(written(ctx, restate_json_print(ctx, tree)));
}

static void step(restate_ctx *ctx, restate_bytes json) {
    restate_bytes e = { 0, 0 };
    if (percent(10) && json.len) e = bytes_of(json.ptr + below(json.len), below(json.len + 2));
    SAY("\n next");
    while (restate_json_next(ctx, json, &e)) say_bytes(e);
    say_bytes(e);
}

static void make_document(text *to) {
    if (percent(2)) put_deep(to);
    else put_json(to, percent(15) ? 0 : 1 + below(5));
    if (percent(25))
        for (size_t n = 1 + below(3); n; n--) mutate(to);
}

static void case_document(restate_ctx *ctx, restate_bytes json) {
    if (percent(3)) json = bytes_of(NULL, 0);
    read_all(ctx, json, NULL);
    for (size_t n = below(4); n; n--) read_all(ctx, json, names[below(COUNT(names))]);
    read_tree(ctx, json);
    step(ctx, json);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static double random_double(void) {
    double x;
    uint64_t bits = next();
    switch (below(5)) {
    case 0: memcpy(&x, &bits, sizeof x); return x;
    case 1: return (double)(int64_t)bits / 1e9;
    case 2: return (double)(below(2000000)) / (percent(50) ? 100 : 1000) - 500;
    case 3: return (double)(int64_t)(bits >> below(60));
    default: return strtod(words[below(COUNT(words))], NULL);
    }
}

static const char *random_string(void) {
    static text t;
    t.len = 0;
    if (percent(2)) return NULL;
    if (percent(40)) put_json(&t, 2);
    else for (size_t n = below(8); n; n--) put(&t, pieces[below(COUNT(pieces))]);
    if (percent(2)) put(&t, bad_pieces[below(COUNT(bad_pieces))]);
    add(&t, "", 0);
    return (const char *)t.at;
}

/* One conversion, and nothing else that takes an argument. */
static void make_spec(text *to, char *length, char *conversion) {
    static const char *const flags[] = { "-", "0", "+", " ", "+0", "- ", "-0", "#" };
    static const char conversions[] = "dddddiuuuuufffeeggggssssssxcpnaX";
    static const char lengths[] = "hHlqjztL";
    put_char(to, '%');
    if (percent(30)) put(to, flags[below(percent(5) ? 8 : 7)]);
    if (percent(25)) print(to, "%u", below(percent(5) ? 1200 : 12));
    if (percent(25)) print(to, ".%u", below(percent(5) ? 1200 : 12));
    *conversion = conversions[below(percent(97) ? 27 : sizeof conversions - 1)];
    *length = 0;
    if (percent(50) && strchr("diu", *conversion)) *length = lengths[below(percent(97) ? 7 : 8)];
    if (*length == 'H') put(to, "hh");
    else if (*length == 'q') put(to, "ll");
    else if (*length) put_char(to, *length);
    put_char(to, *conversion);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
static restate_bytes formatted(restate_ctx *ctx, const char *format, char length, char conversion) {
    uint64_t bits = next() >> below(64);
    if (conversion == 's') return restate_json(ctx, format, random_string());
    if (strchr("feg", conversion)) return restate_json(ctx, format, random_double());
    switch (length) {
    case 'l': return restate_json(ctx, format, (long)bits);
    case 'q': return restate_json(ctx, format, (long long)bits);
    case 'j': return restate_json(ctx, format, (intmax_t)bits);
    case 'z': return restate_json(ctx, format, (size_t)bits);
    case 't': return restate_json(ctx, format, (ptrdiff_t)bits);
    default: return restate_json(ctx, format, (int)(unsigned)bits);
    }
}
#pragma GCC diagnostic pop

static char conversion_of(const char *format) {
    const char *p = format;
    while (*p && (*p != '%' || p[1] == '%')) p += *p == '%' ? 2 : 1;
    if (*p) p++;
    return p[strspn(p, "-+ #0123456789.hlqjztL")];
}

static void case_format(restate_ctx *ctx) {
    static const char *const before[] = { "", "", "[", "{'a':", "'x-", "[1,{'b\\u00e9':[", "['%%',", "{'\\'':", "['\\\\'," };
    static const char *const after[] = { "", "", "]", "}", "-y'", "]}]", "]", "}", "]" };
    size_t i = below(COUNT(before)), j = percent(95) ? i : below(COUNT(after));
    text f = { 0, 0, 0 };
    char length, conversion;
    put(&f, before[i]);
    make_spec(&f, &length, &conversion);
    put(&f, after[j]);
    if (percent(5)) mutate(&f);
    f.at[f.len] = 0;
    for (size_t k = 0, specs = 0; k < f.len; k++)           /* mutations make no second conversion */
        if (f.at[k] == '%' && f.at[k + 1] == '%') k++;
        else if (f.at[k] == '%' && ++specs > 1) f.at[k] = '1';
        else if (f.at[k] == '*' || !f.at[k]) f.at[k] = '2';
    SAY("\n format");
    say_bytes(bytes_of(f.at, f.len));
    if (conversion_of((const char *)f.at) == conversion)    /* the argument is what it takes */
        say_bytes(written(ctx, formatted(ctx, (const char *)f.at, length, conversion)));
    free(f.at);
}

/* Several arguments, in literals, as programs have them. */
static void case_formats(restate_ctx *ctx) {
    const char *s = random_string();
    char copy[2000] = "x";
    if (s) snprintf(copy, sizeof copy, "%s", s);
    SAY("\n formats");
    say_bytes(written(ctx, restate_json(ctx, "{'a':%s,'b':%d,'c':[%g,%g,%.3f]}", copy, (int)next(),
                           random_double(), (double)below(1000) / 10, (double)below(1000) / 7)));
    say_bytes(written(ctx, restate_json(ctx, "{'a':%hhd,'b':'%03d-%u','c':%.*s,'d':%*d}", (signed char)below(2),
                           (int)below(2000), (unsigned)next(), (int)below(5) - 1, copy,
                           (int)below(20) - 10, (int)below(100))));
    say_bytes(written(ctx, restate_json(ctx, "[%lld,%llu,%+d,% d,%-5d,%05d]", (long long)next(),
                           (unsigned long long)next(), (int)next(), (int)below(9), 7, -7)));
    say_bytes(written(ctx, restate_json(ctx, "[%-s,%-.*s]", percent(50) ? "{}" : copy, (int)below(6), "[12,3]")));
    say_bytes(written(ctx, restate_json_quote(ctx, restate_str(copy))));
}

static struct cJSON *random_tree(unsigned depth) {
    struct cJSON *t;
    unsigned what = below(depth ? 9 : 6);
    char copy[300] = "";
    const char *s;
    switch (what) {
    case 0: return cJSON_CreateNumber(random_double());
    case 1: case 2:
        s = random_string();
        if (s) snprintf(copy, sizeof copy, "%s", s);
        return what == 1 ? cJSON_CreateString(copy) : percent(30) ? cJSON_CreateRaw(copy) : cJSON_CreateNull();
    case 3: return cJSON_CreateBool(percent(50));
    case 4: return cJSON_CreateNumber((double)below(100000) / 100);
    case 5: t = cJSON_CreateNull(); if (percent(1)) t->type = 0; return t;
    default: break;
    }
    t = what < 8 ? cJSON_CreateObject() : cJSON_CreateArray();
    for (size_t n = below(4); n; n--) {
        if (what == 8) cJSON_AddItemToArray(t, random_tree(depth - 1));
        else cJSON_AddItemToObject(t, percent(1) ? "\xFF" : names[below(COUNT(names))], random_tree(depth - 1));
    }
    return t;
}

static void case_tree(restate_ctx *ctx) {
    struct cJSON *t = random_tree(percent(1) ? 102 : 4);
    SAY("\n print");
    say_bytes(written(ctx, restate_json_print(ctx, t)));
    cJSON_Delete(t);
}

/* ---- Messages -------------------------------------------------------------------------------- */

#define pn_Listed_VALUES RESTATE_PROTO_ENUM_VALUES(pn_Listed_LISTED_NONE, pn_Listed_LISTED_FAR, pn_Listed_LISTED_LEAST)

typedef union any_message {
    pt_Scalars a; pt_Maybe b; pt_Lists c; pt_Choice d; pt_Maps e; pt_Times f; pt_Names g; pt_Nothing h; pt_D1 i;
    pt_Money j; old_Required k; pn_Enums l; pn_Masks m; pn_Nulls n;
} any_message;

#define CODECS(Type) { RESTATE_PROTO(Type), RESTATE_PROTOJSON(Type), sizeof(Type), false }
static const struct codecs {
    restate_codec binary, json;
    size_t size;
    bool slow;                              /* looks for names of enums that are wide */
} all_codecs[] = {
    CODECS(pt_Scalars), CODECS(pt_Maybe), CODECS(pt_Lists), CODECS(pt_Choice), CODECS(pt_Maps), CODECS(pt_Times),
    CODECS(pt_Names), CODECS(pt_Nothing), CODECS(pt_D1), CODECS(pt_Money), CODECS(old_Required), CODECS(pn_Masks),
    CODECS(pn_Nulls), CODECS(pn_Enums),
};

static bool once_in(unsigned n) { return below(n) == 0; }

/* A value that fits most of the time, whatever the field is, a string of each kind among them. */
static void put_scalar(text *to, const restate__proto_field *field) {
    static const char *const enums[] = { "\"RED\"", "\"GREEN\"", "\"DARK\"", "\"COLOR_UNSPECIFIED\"", "\"WIDE_NONE\"", "\"WIDE_FAR\"", "7",
        "-3", "\"ON\"", "\"OFF\"", "null", "\"LISTED_FAR\"", "\"LISTED_LEAST\"", "\"NARROW_MOST\"", "\"HUGE_NEAR\"", "\"HUGE_NONE\"" };
    static const char *const floats[] = { "\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "\"1.5\"", "\"x\"", "\"\"" };
    switch (field->kind) {
    case RESTATE__PROTO_KIND_BOOL: put(to, percent(50) ? "true" : "false"); return;
    case RESTATE__PROTO_KIND_FLOAT:
        if (percent(20)) put(to, floats[below(COUNT(floats))]);
        else put_number(to);
        return;
    case RESTATE__PROTO_KIND_STRING: put_string(to); return;
    case RESTATE__PROTO_KIND_BYTES: case RESTATE__PROTO_KIND_FIXED_LENGTH_BYTES: {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
        size_t n = percent(30) ? 6 : below(26);
        put_char(to, '"');
        for (size_t i = 0; i < n; i++) put_char(to, digits[below(sizeof digits - 1)]);
        for (size_t i = percent(80) ? n % 4 ? 4 - n % 4 : 0 : below(4); i; i--) put_char(to, '=');
        put_char(to, '"');
        return;
    }
    case RESTATE__PROTO_KIND_ENUM: put(to, enums[below(COUNT(enums))]); return;
    default:
        if (percent(60)) print(to, "%d", (int)below(300) - 20);
        else if (percent(50)) put_number(to);
        else {
            put_char(to, '"');
            put_number(to);
            put_char(to, '"');
        }
    }
}

static void put_time(text *to, bool duration) {
    static const char *const zones[] = { "Z", "+01:00", "-23:59", "+00:00", "z", "", "+1:00", "-24:00" };
    put_char(to, '"');
    if (duration) print(to, "%s%llu", percent(30) ? "-" : "", (unsigned long long)(next() >> (25 + below(39))));
    else print(to, "%04u-%02u-%02uT%02u:%02u:%02u", 1 + below(percent(10) ? 10010 : 2500), 1 + below(percent(3) ? 14 : 12),
               1 + below(percent(10) ? 32 : 28), below(percent(3) ? 26 : 24), below(percent(3) ? 62 : 60), below(60));
    if (percent(50)) {
        put_char(to, '.');
        for (size_t n = 1 + below(percent(5) ? 11 : 9); n; n--) put_char(to, (char)('0' + below(10)));
    }
    put(to, duration ? "s" : zones[below(percent(10) ? 8 : 4)]);
    put_char(to, '"');
}

static void put_mask(text *to) {
    static const char *const paths[] = { "a", "unitPrice", "a.bC", "lines.sku", "A", "a_b", "", "abcdefghijklmnopqrstuvw", "\\u0061" };
    put_char(to, '"');
    for (size_t n = below(percent(5) ? 5 : 4), i = 0; i < n; i++) {
        if (i) put_char(to, ',');
        put(to, paths[below(percent(10) ? COUNT(paths) : 4)]);
    }
    put_char(to, '"');
}

/* "unit_price" is "unitPrice". */
static void put_field_name(text *to, const char *name) {
    bool upper = false;
    if (percent(15)) {
        print(to, "\"%s\"", name);
        return;
    }
    put_char(to, '"');
    if (once_in(200)) put_string(to);
    for (; *name; name++) {
        if (*name == '_') { upper = true; continue; }
        if (percent(2)) print(to, "\\u%04x", upper && *name >= 'a' && *name <= 'z' ? *name - 32 : *name);
        else put_char(to, upper && *name >= 'a' && *name <= 'z' ? (char)(*name - 32) : *name);
        upper = false;
    }
    put_char(to, '"');
}

static void put_message(text *to, const restate__proto_type *type, unsigned depth);

static void put_value(text *to, const restate__proto_field *field, unsigned depth) {
    const char *of = field->type ? field->type->name : "";
    if (once_in(60)) put_json(to, 1);
    else if (!strcmp(of, "google_protobuf_Timestamp")) put_time(to, false);
    else if (!strcmp(of, "google_protobuf_Duration")) put_time(to, true);
    else if (!strcmp(of, "google_protobuf_FieldMask")) put_mask(to);
    else if (strstr(of, "Value") && field->type->message) put_scalar(to, &field->type->fields[0]);
    else if (field->kind == RESTATE__PROTO_KIND_MESSAGE) put_message(to, field->type, depth + 1);
    else put_scalar(to, field);
}

/* An object of a map, or an array. */
static void put_list(text *to, const restate__proto_field *field, bool exactly, unsigned depth) {
    bool map = field->type && field->type->message && strstr(field->type->name, "Entry");
    put_char(to, map ? '{' : '[');
    for (size_t n = exactly && percent(90) ? 3 : below(percent(5) ? 6 : 4), i = 0; i < n; i++) {
        if (i) put_char(to, ',');
        put_space(to);
        if (map) {
            text key = { 0, 0, 0 };
            put_value(&key, &field->type->fields[0], depth);
            print(to, *key.at == '"' ? "%s:" : "\"%s\":", (const char *)key.at);
            free(key.at);
        }
        put_value(to, map ? &field->type->fields[1] : field, depth);
        put_space(to);
    }
    put_char(to, map ? '}' : ']');
}

static void put_message(text *to, const restate__proto_type *type, unsigned depth) {
    pb_field_iter_t i;
    bool first = true, one = false;
    any_message room;
    put_char(to, '{');
    if (!pb_field_iter_begin(&i, type->message, &room)) { put_char(to, '}'); return; }
    do {
        const restate__proto_field *field = &type->fields[i.index];
        bool must = PB_HTYPE(i.type) == PB_HTYPE_REQUIRED || i.pSize == &i.array_size;
        if (PB_HTYPE(i.type) == PB_HTYPE_ONEOF && one && !once_in(50)) continue;
        if (!percent(depth > 10 ? 0 : must ? 97 : depth ? 60 : 40)) continue;
        one = one || PB_HTYPE(i.type) == PB_HTYPE_ONEOF;
        if (!first) put_char(to, ',');
        first = false;
        put_space(to);
        put_field_name(to, field->name);
        put_space(to);
        put_char(to, ':');
        put_space(to);
        if (once_in(30)) put(to, "null");
        else if (PB_HTYPE(i.type) == PB_HTYPE_REPEATED && !once_in(60))
            put_list(to, field, i.pSize == &i.array_size, depth);
        else put_value(to, field, depth);
        put_space(to);
    } while (pb_field_iter_next(&i) || once_in(100));
    put_char(to, '}');
}

static void put_varint(text *to, uint64_t n) {
    for (; n > 127; n >>= 7) put_char(to, (char)(n | 128));
    put_char(to, (char)n);
}

static void put_binary(text *to, const restate__proto_type *type, unsigned depth);

static void put_binary_scalar(text *to, pb_type_t type, const restate__proto_field *field, size_t most) {
    text inner = { 0, 0, 0 };
    size_t n;
    switch (PB_LTYPE(type)) {
    case PB_LTYPE_FIXED32: for (n = 0; n < 4; n++) put_char(to, (char)(percent(30) ? next() : 0)); return;
    case PB_LTYPE_FIXED64: for (n = 0; n < 8; n++) put_char(to, (char)(percent(30) ? next() : 0)); return;
    case PB_LTYPE_BOOL: put_varint(to, below(2)); return;
    case PB_LTYPE_VARINT: case PB_LTYPE_UVARINT: case PB_LTYPE_SVARINT:
        put_varint(to, percent(70) ? below(120) : next() >> below(64));
        return;
    default: break;
    }
    if (field->kind == RESTATE__PROTO_KIND_MESSAGE) {
        put_binary(&inner, field->type, 1);
    } else {
        n = field->kind == RESTATE__PROTO_KIND_FIXED_LENGTH_BYTES && percent(95) ? 4 : below(most + (percent(3) ? 4 : 0));
        for (; n; n--) put_char(&inner, (char)(once_in(80) ? next() : 'a' + next() % 26));
    }
    put_varint(to, inner.len);
    add(to, inner.at, inner.len);
    free(inner.at);
}

static void put_binary_field(text *to, const pb_field_iter_t *i, const restate__proto_field *field) {
    static const unsigned wires[] = { 0, 0, 0, 0, 5, 1, 2, 2, 2, 2, 2, 2, 2 };
    unsigned wire = wires[PB_LTYPE(i->type) % COUNT(wires)];
    size_t most = i->data_size < 30 ? i->data_size : 30;
    text packed = { 0, 0, 0 };
    if (once_in(300)) wire = below(8);
    if (PB_LTYPE(i->type) > PB_LTYPE_LAST_PACKABLE || PB_HTYPE(i->type) != PB_HTYPE_REPEATED || percent(20)) {
        put_varint(to, (uint64_t)i->tag << 3 | wire);
        put_binary_scalar(to, i->type, field, most);
        return;
    }
    for (size_t n = i->pSize == &i->array_size && percent(90) ? 3 : below(5); n; n--)
        put_binary_scalar(&packed, i->type, field, most);
    put_varint(to, (uint64_t)i->tag << 3 | 2);
    put_varint(to, packed.len);
    add(to, packed.at, packed.len);
    free(packed.at);
}

static void put_binary(text *to, const restate__proto_type *type, unsigned depth) {
    pb_field_iter_t i;
    any_message room;
    if (!pb_field_iter_begin(&i, type->message, &room)) return;
    do {
        bool must = PB_HTYPE(i.type) == PB_HTYPE_REQUIRED || i.pSize == &i.array_size;
        bool list = PB_HTYPE(i.type) == PB_HTYPE_REPEATED && PB_LTYPE(i.type) > PB_LTYPE_LAST_PACKABLE;
        if (!percent(must ? 95 : depth ? 60 : 40)) continue;
        for (size_t n = list ? below(3) + once_in(10) : 1u + once_in(40); n; n--)
            put_binary_field(to, &i, &type->fields[i.index]);
    } while (pb_field_iter_next(&i));
    if (once_in(50)) put(to, "\x98\x06\x05");                 /* a field that nobody knows */
}

static void say_encoded(restate_ctx *ctx, const restate_codec *codec, const void *message) {
    restate_bytes out = { 0, 0 };
    restate_status s = codec->encode(codec, ctx, message, &out);
    say_status(ctx, " out", s);
    say_bytes(out);
}

/* In, in one form, and out in both; then the struct is damaged, and out again. */
static void case_message(restate_ctx *ctx, const struct codecs *c, bool json, restate_bytes in) {
    any_message *m = (any_message *)calloc(1, sizeof *m);
    restate_status s;
    if (!m) abort();
    memset(m, 0xAA, sizeof *m);
    s = restate_decode(ctx, json ? &c->json : &c->binary, in, m);
    SAY("\n %s of %s:", json ? "JSON" : "binary", ((const restate__proto_type *)c->json.type)->name);
    say_status(ctx, " in", s);
    if (s == RESTATE_OK) {
        say_encoded(ctx, &c->json, m);
        say_encoded(ctx, &c->binary, m);
        read_back(ctx, &c->binary, &c->json, m);
        for (size_t n = below(4); n; n--) ((uint8_t *)m)[below(c->size)] ^= (uint8_t)(1u << below(8));
        say_encoded(ctx, &c->json, m);
        say_encoded(ctx, &c->binary, m);
    }
    free(m);
}

/* ---- A case ---------------------------------------------------------------------------------- */

static struct { unsigned kind; const struct codecs *codecs; bool other; } it;

static void make_some(text *to) {
    const restate__proto_type *type = (const restate__proto_type *)it.codecs->json.type;
    if (it.kind < 6) make_document(to);
    else if (it.kind < 12) put_message(to, type, 0);
    else if (it.kind < 16) put_binary(to, type, 0);
    if (it.kind >= 6 && it.kind < 16 && percent(20))
        for (size_t n = 1 + below(2); n; n--) mutate(to);
}

static restate_status handle(restate_ctx *ctx, restate_bytes in) {
    uint8_t *copy = (uint8_t *)malloc(in.len + 1);
    if (!copy) abort();
    if (it.other) {                         /* what is wrong with it is not the caller's fault */
        if (in.len) memcpy(copy, in.ptr, in.len);
        in.ptr = copy;
    }
    if (it.kind < 6) case_document(ctx, in);
    else if (it.kind < 12) case_message(ctx, it.codecs, true, in);
    else if (it.kind < 16) case_message(ctx, it.codecs, false, in);
    else if (it.kind == 16) case_tree(ctx);
    else if (it.kind == 17) case_formats(ctx);
    else case_format(ctx);
    free(copy);
    SAY("\n");
    return RESTATE_OK;
}

static void put_frame(text *to, unsigned type, const text *payload) {
    uint8_t head[8] = { (uint8_t)(type >> 8), (uint8_t)type, 0, 0, (uint8_t)(payload->len >> 24),
        (uint8_t)(payload->len >> 16), (uint8_t)(payload->len >> 8), (uint8_t)payload->len };
    add(to, head, sizeof head);
    add(to, payload->at, payload->len);
}

static void put_field(text *to, unsigned tag, const void *at, size_t len) {
    put_varint(to, tag << 3 | 2);
    put_varint(to, len);
    add(to, at, len);
}

/* Start, and the command that has the input. */
static void put_journal(text *to, const text *input) {
    text start = { 0, 0, 0 }, value = { 0, 0, 0 }, command = { 0, 0, 0 };
    put_field(&start, 1, "id", 2);
    put_field(&start, 2, "inv_1", 5);
    put(&start, "\x18\x01");                /* one entry is known */
    put_frame(to, 0, &start);
    if (input->len) put_field(&value, 1, input->at, input->len);
    put_field(&command, 14, value.at, value.len);
    put_frame(to, 0x0400, &command);
    free(start.at), free(value.at), free(command.at);
}

static void run_input(restate_endpoint *endpoint, const text *input) {
    static text journal;
    restate_pair headers[] = { { "content-type", "application/vnd.restate.invocation.v5" }, { NULL, NULL } };
    restate_http_request request = { "POST", "/invoke/S/h", headers, false };
    restate_stream *s;
    restate_bytes out;
    uint16_t status;
    say_bytes(bytes_of(input->at, input->len));
    journal.len = 0;
    put_journal(&journal, input);
    s = restate_stream_open(endpoint, &request);
    restate_stream_feed(s, bytes_of(journal.at, journal.len));
    restate_stream_feed(s, bytes_of(NULL, 0));
    for (restate_status more = RESTATE_OK; more == RESTATE_OK;) {
        more = restate_stream_take(s, &out, &status, NULL);
        SAY("< %u %d", status, (int)more);
        say_bytes(out);
        SAY("\n");
        if (!out.len && more == RESTATE_OK) break;
    }
    restate_stream_free(s);
}

static void no_log(void *user, const restate_log_record *r) { (void)user, (void)r; }

static restate_endpoint *endpoint_new(restate_endpoint_options o) {
    static const restate_handler handlers[] = {
        { .name = "h", .fn = handle, .input = RESTATE_BYTES, .output = RESTATE_BYTES }, { .name = NULL } };
    static const restate_service service = { .name = "S", .handlers = handlers };
    static const restate_service *const services[] = { &service, NULL };
    restate_endpoint *endpoint;
    o.services = services;
    o.logger.write = no_log;
    o.defaults.stall_warning_ms = RESTATE_ZERO_MS;
    endpoint = restate_endpoint_new(&o);
    if (!*restate_endpoint_error(endpoint)) return endpoint;
    fprintf(stderr, "differential: %s\n", restate_endpoint_error(endpoint));
    exit(2);
}

#ifndef CHOICES

static void make_input(text *to) {
    it.kind = below(20);
    it.other = percent(30);
    it.codecs = &all_codecs[below(once_in(20) ? COUNT(all_codecs) : COUNT(all_codecs) - 1)];
    make_some(to);
}

static void run_case(restate_endpoint *endpoint, uint64_t seed) {
    static text input;
    random_state = seed * 0xD1342543DE82EF95u;
    told.len = input.len = 0;
    make_input(&input);
    SAY("case %llu:", (unsigned long long)seed);
    run_input(endpoint, &input);
}

static text allowed;                        /* old, zero, new, zero, ... */

static void read_allowed(const char *path) {
    char line[4096], *tab;
    FILE *f = fopen(path, "r");
    if (!f) exit((perror(path), 2));
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        tab = strchr(line, '\t');
        if (strchr("#@", *line) || !tab) continue;
        *tab = 0;
        add(&allowed, line, strlen(line) + 1);
        add(&allowed, tab + 1, strlen(tab + 1) + 1);
    }
    fclose(f);
}

/* Puts the new text wherever the old one is. */
static void normalise(void) {
    for (size_t k = 0; k < allowed.len;) {
        const char *from = (const char *)allowed.at + k, *to = from + strlen(from) + 1, *at;
        static text whole;
        k += strlen(from) + strlen(to) + 2;
        while ((at = strstr((const char *)told.at, from)) != NULL) {
            size_t n = (size_t)(at - (const char *)told.at);
            whole.len = 0;
            add(&whole, told.at, n);
            put(&whole, to);
            add(&whole, told.at + n + strlen(from), told.len - n - strlen(from));
            told.len = 0;
            add(&told, whole.at, whole.len);
        }
    }
}

int main(int argc, char **argv) {
    restate_endpoint_options o = { .services = NULL };
    restate_endpoint *endpoint;
    uint64_t from = 1, cases = 1000, block = 1000, hash = 14695981039346656037u, in_block = 0;
    bool verbose = false;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--from")) from = value;
        else if (!strcmp(argv[i], "--cases")) cases = value;
        else if (!strcmp(argv[i], "--block")) block = value ? value : 1;
        else if (!strcmp(argv[i], "--allow")) read_allowed(argv[i + 1]);
        else if (!strcmp(argv[i], "-v")) from = value, cases = 1, verbose = true;
        else return fprintf(stderr, "differential: what is %s?\n", argv[i]), 2;
    }
    endpoint = endpoint_new(o);
    for (uint64_t seed = from; seed < from + cases; seed++) {
        run_case(endpoint, seed);
        normalise();
        if (verbose) fwrite(told.at, 1, told.len, stdout);
        for (size_t i = 0; i < told.len; i++) hash = (hash ^ told.at[i]) * 1099511628211u;
        if (++in_block < block && seed + 1 < from + cases) continue;
        if (!verbose) printf("%llu %llu %016llx\n", (unsigned long long)(seed + 1 - in_block), (unsigned long long)in_block, (unsigned long long)hash);
        hash = 14695981039346656037u, in_block = 0;
    }
    restate_endpoint_free(endpoint);
    return 0;
}

#endif
