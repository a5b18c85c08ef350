/* Section >>json: the scanner, the getters, the format language, trees. */
#define _POSIX_C_SOURCE 200809L
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "../restate.h"

#include "support/context.c"

#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>

#ifdef RESTATE_VALGRIND
#  define FUZZ(n) ((n) / 20)                 /* it takes its time */
#else
#  define FUZZ(n) (n)
#endif

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

static restate_bytes bytes_of(const void *ptr, size_t len) {
    restate_bytes b;
    b.ptr = (const uint8_t *)ptr;
    b.len = len;
    return b;
}

static restate_bytes absent(void) { return bytes_of(NULL, 0); }

/* A copy of exactly that size, so that a sanitizer sees one byte read too much. */
static restate_bytes exact(const void *ptr, size_t len) {
    uint8_t *p = malloc(len ? len : 1);
    if (len) memcpy(p, ptr, len);
    return bytes_of(p, len);
}

static void drop(restate_bytes b) { free((void *)(uintptr_t)b.ptr); }

static bool is_json(const void *ptr, size_t len, bool strict) {
    restate_bytes b = exact(ptr, len);
    restate__json_scan s = restate__json_scan_of(b);
    bool well;
    s.strict = strict;
    well = restate__json_document(&s);
    if (s.at < b.ptr || s.at > b.ptr + b.len || well != (s.expected == NULL)) test_failures++,
        printf("  bad place\n");
    drop(b);
    return well;
}

static uint64_t random_state = 0x9E3779B97F4A7C15u;

static uint64_t random64(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static size_t random_below(size_t n) { return (size_t)(random64() % n); }

/* Arrays and objects in turn, `levels` of them. */
static char *nested(size_t levels) {
    char *text = malloc(levels * 8 + 1), *p = text;
    for (size_t i = 0; i < levels; i++) p += sprintf(p, "%s", i % 2 ? "{\"a\":" : "[");
    if (levels && (levels - 1) % 2) p--, p -= 3, *p = 0, *p++ = '}';         /* innermost: empty */
    for (size_t i = levels - (levels && (levels - 1) % 2); i-- > 0;) *p++ = i % 2 ? '}' : ']';
    *p = 0;
    return text;
}

/* ---- The scanner ----------------------------------------------------------------------------------------------- */

static const char *const good[] = {
    "null", "true", "false", "0", "-0", "-0.0", "1", "-1", "10", "1.5", "-1.50", "1e5", "1E5", "1e+5", "1e-5", "0e1",
    "0E+1", "1.0e10",
    "123456789012345678901234567890", "\"\"", "\"a\"", "[]", "{}", " [ ] ", "\t\r\n{ }\n", "[1]", "[1,2]",
    "[ 1 , 2 ]", "{\"a\":1}",
    "{ \"a\" : 1 , \"b\" : [ ] }", "{\"a\":{\"b\":{\"c\":[[],[{}],{}]}}}", "{\"\":0}", "{\"a\":1,\"a\":2}", "[[],[]]",
    "[{},{}]",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0020\\uABCD\\uabcd\"", "\"\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\"",
    "\"\xC3\xA9\"", "\"\x7F\"",
    "\"\xE2\x80\xA8\"", "\"\xEF\xBF\xBF\"", "\"'\"", "[null,true,false,0,\"\",[],{}]",
};
static const char *const good_but_not_for_c[] = {
    "\"\\u0000\"", "\"a\\u0000b\"", "{\"\\u0000\":1}", "\"\\ud800\"", "\"\\udc00\"", "\"\\udc00\\ud800\"",
    "\"\\ud800x\"", "\"\\ud800\\n\"",
    "\"\\ud800\\ud800\\udc00\"", "1e400", "-1e400", "[1e309]", "{\"\\uDFFF\":1}",
    "0.0000000000000000000000000000000000000000000000000000000000000001",
};
static const char *const bad[] = {
    "", " ", "\n", "01", "-01", "00", "1.", ".5", "-.5", "+1", "-", "--1", "1e", "1e+", "1E-", "1.e1", "1.5.5",
    "1e1.5", "0x10", "1a", "1 2",
    "Infinity", "-Infinity", "NaN", "nul", "nulll", "True", "TRUE", "tru", "truee", "[01]", "[1,]", "[,1]", "[,]",
    "[1 2]", "[1", "[", "]",
    "{", "}", "[}", "{]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{1:2}", "{a:1}", "{'a':1}",
    "{\"a\":1 \"b\":2}", "{\"a\" 1}",
    "{\"a\"::1}", "{null:1}", "[1]]", "{}{}", "[] []", "1,2", ",", ":", "\"", "\"a", "\"\\\"", "\"\\", "\"\\u",
    "\"\\u12\"", "\"\\u123", "\"\\x41\"",
    "\"\\'\"", "\"\\u00G0\"", "\"\\U0020\"", "\"\\a\"", "\"\t\"", "\"\n\"", "\"\x01\"", "\"\x1F\"", "'a'", "\"a\"b", "/**/1", "1//", "[1]#",
    "\xEF\xBB\xBF{}", "\"\xFF\"", "\"\x80\"", "\"\xC3\"", "\"\xC0\x80\"", "\"\xE0\x80\x80\"", "\"\xED\xA0\x80\"",
    "\"\xF4\x90\x80\x80\"",
    "\"\xF0\x9F\x98\"", "[\"\xC3\"]", "\xC2\xA0,1", "\f1", "\v1", "[\"a\",\n4\n,1,", "{\"a\":\"b\"}#{}", "\\u0031",
    "\xE5", "[\"x\"", "{\"a", "*",
};

TEST(documents) {
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        test_note = good[i];
        CHECK(is_json(good[i], strlen(good[i]), false));
        CHECK(is_json(good[i], strlen(good[i]), true));
    }
    for (size_t i = 0; i < sizeof good_but_not_for_c / sizeof *good_but_not_for_c; i++) {
        test_note = good_but_not_for_c[i];
        CHECK(is_json(test_note, strlen(test_note), false));
        CHECK(!is_json(test_note, strlen(test_note), true));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_note = bad[i];
        CHECK(!is_json(bad[i], strlen(bad[i]), false));
    }
    CHECK(!is_json("1\0", 2, false));
    CHECK(!is_json("\"\0\"", 3, false));
    CHECK(!is_json("\0", 1, false));
}

TEST(nesting) {
    for (size_t i = 1; i <= 103; i++) {
        char *text = nested(i), *open = malloc(i + 1);
        CHECK_INT(is_json(text, strlen(text), false), i <= 100);
        memset(open, '[', i);
        CHECK(!is_json(open, i, false));
        memset(open, '{', i);
        CHECK(!is_json(open, i, false));
        free(text);
        free(open);
    }
    {
        size_t n = 1000000;
        char *open = malloc(n);
        memset(open, '[', n);
        CHECK(!is_json(open, n, false));
        free(open);
    }
}

/* No document but a number stays one when its end is cut off. */
TEST(truncated) {
    static const char text[] =
        " {\"a\" : [1, -2.5e+3, true,false , null, \"x\\u00e9\\ud83d\\ude00\xC3\xA9\xF0\x9F\x98\x80\\n\"], \"b\":{\"c\":{}, \"d\":[[]]}}";
    restate_ctx *ctx = test_ctx();
    long long n;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        restate_bytes cut = exact(text, i);
        CHECK(!is_json(text, i, false));
        CHECK_INT(restate_json_int(ctx, cut, "b", &n), i ? RESTATE_TERMINAL : RESTATE_OK);
        if (i) CHECK_HAS(last_failure(ctx), "json: member 'b': expected ");
        drop(cut);
    }
    CHECK(is_json(text, sizeof text - 1, true));
    test_ctx_free(ctx);
}

/* ---- Getters --------------------------------------------------------------------------------------------------- */

TEST(ints) {
    static const struct { const char *text; long long value; } same[] = {
        {"0", 0}, {"-0", 0}, {"42", 42}, {" 42\n", 42}, {"3.0", 3}, {"3e0", 3}, {"-3.000", -3}, {"30e-1", 3},
        {"0.3e1", 3}, {"1.5e1", 15},
        {"1500e-2", 15}, {"9223372036854775807", LLONG_MAX}, {"-9223372036854775808", LLONG_MIN},
        {"9007199254740993", 9007199254740993},
        {"-9007199254740993", -9007199254740993}, {"922337203685477580.7e1", LLONG_MAX}, {"9223372036854775807000e-3",
        LLONG_MAX},
        {"0e999999999999999999999999", 0}, {"0.000e-99999999999999999999", 0}, {"1e18", 1000000000000000000},
        {"-1.0E+1", -10}, {"0.0", 0},
        {"10000000000000000000000000000000000000000e-40", 1}, {"0.0000000000000000000000000000001e31", 1},
        {"-9.223372036854775808e18", LLONG_MIN},
    };
    static const struct { const char *text, *part; } wrong[] = {
        {"3.5", "json: expected an integer, found 3.5 at byte 0"},
        {" -0.1", "expected an integer, found -0.1 at byte 1"},
        {"1e-1", "an integer, found 1e-1"},
        {"9223372036854775808", "an integer of 64 bits, found 9223372036854775808"},
        {"-9223372036854775809", "of 64 bits"}, {"1e19", "of 64 bits"}, {"1e99999999999999999999", "of 64 bits"},
        {"1e-99999999999999999999", "an integer"},
        {"\"12\"", "expected an integer, found string at byte 0"}, {"true", "found boolean"}, {"[1]", "found array"},
        {"{}", "found object"},
        {"1 2", "json: expected the end, found '2' at byte 2"},
        {" ", "json: expected a value, found the end at byte 1"},
        {"012", "expected no leading zero, found '0' at byte 0"}, {"+1", "expected a value, found '+' at byte 0"},
        {"1.", "expected a digit, found the end at byte 2"},
        {"99999999999999999999999999999999999999999999999999",
        "found 9999999999999999999999999999999999999999 at byte 0"},
    };
    restate_ctx *ctx = test_ctx();
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        long long n = 77;
        test_note = same[i].text;
        CHECK_INT(restate_json_int(ctx, restate_str(same[i].text), NULL, &n), RESTATE_OK);
        CHECK_INT(n, same[i].value);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        long long n = 77;
        test_note = wrong[i].text;
        CHECK_INT(restate_json_int(ctx, restate_str(wrong[i].text), NULL, &n), RESTATE_TERMINAL);
        CHECK_HAS(last_failure(ctx), wrong[i].part);
        CHECK_INT(n, 77);
    }
    test_ctx_free(ctx);
}

TEST(members) {
    static const char text[] = "{\"age\": \"old\", \"n\" : 5 , \"none\":null,\"in\":{\"n\":6},\"list\":[{\"x\":1}],\"n\":7,\"\":8,\"\\u00e9\\n\\ud83d\\ude00\":9,"
                               "\"a\\\\b\":10,\"nn\":11}";
    restate_ctx *ctx = test_ctx();
    restate_bytes json = restate_str(text), part;
    long long n = 0;
    const char *s = "default";
    double d = 1.5;
    bool b = true;
    CHECK_INT(restate_json_int(ctx, json, "n", &n), RESTATE_OK);
    CHECK_INT(n, 5);                                              /* of two members the first counts */
    CHECK_INT(restate_json_int(ctx, json, "nn", &n), RESTATE_OK);
    CHECK_INT(n, 11);
    CHECK_INT(restate_json_int(ctx, json, "", &n), RESTATE_OK);
    CHECK_INT(n, 8);
    CHECK_INT(restate_json_int(ctx, json, "\xC3\xA9\n\xF0\x9F\x98\x80", &n), RESTATE_OK);
    CHECK_INT(n, 9);
    CHECK_INT(restate_json_int(ctx, json, "a\\b", &n), RESTATE_OK);
    CHECK_INT(n, 10);
    CHECK_INT(restate_json_int(ctx, json, "a\\\\b", &n), RESTATE_OK);
    CHECK_INT(n, 10);                                             /* no such member: unchanged */
    CHECK_INT(restate_json_int(ctx, json, "x", &n), RESTATE_OK);  /* of an inner object */
    CHECK_INT(restate_json_int(ctx, json, "N", &n), RESTATE_OK);
    CHECK_INT(restate_json_int(ctx, json, "none", &n), RESTATE_OK);
    CHECK_INT(n, 10);
    CHECK_INT(restate_json_string(ctx, json, "none", &s), RESTATE_OK);
    CHECK_INT(restate_json_double(ctx, json, "none", &d), RESTATE_OK);
    CHECK_INT(restate_json_bool(ctx, json, "none", &b), RESTATE_OK);
    CHECK_INT(restate_json_string(ctx, absent(), "name", &s), RESTATE_OK);
    CHECK_INT(restate_json_string(ctx, absent(), NULL, &s), RESTATE_OK);
    CHECK_INT(restate_json_string(ctx, restate_str("null"), "name", &s), RESTATE_OK);
    CHECK_STR(s, "default");
    CHECK(d > 1.4 && d < 1.6 && b);

    CHECK_INT(restate_json_int(ctx, json, "age", &n), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: member 'age': expected an integer, found string at byte 8");
    CHECK_INT(last_code(ctx), 500);
    set_input(ctx, json);
    CHECK_INT(restate_json_bool(ctx, json, "n", &b), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: member 'n': expected a boolean, found 5 at byte 21");
    CHECK_INT(last_code(ctx), 400);
    CHECK_INT(restate_json_bool(ctx, restate__b(json.ptr + json.len - 1, 1), NULL, &b), RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 400);                               /* the last byte of the input */
    set_input(ctx, restate__b(json.ptr, json.len - 1));
    CHECK_INT(restate_json_bool(ctx, restate__b(json.ptr + json.len - 1, 1), NULL, &b), RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 500);                               /* what begins behind it is not of it */
    set_input(ctx, json);
    CHECK_INT(restate_json_int(ctx, restate_str("[1]"), "n", &n), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: member 'n': expected an object, found array at byte 0");
    CHECK_INT(restate_json_int(ctx, restate_str("{\"n\":1,}"), "n", &n), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: member 'n': expected a member's name, found '}' at byte 7");
    CHECK_INT(restate_json_int(ctx, restate_str("{\"n\":\"\x01\"}"), NULL, &n), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: expected an escape for a control character, found byte 0x01 at byte 6");
    CHECK_INT(restate_json_int(ctx, restate_str("[\"ab\xC3\xA9\xFF\"]"), NULL, &n), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: expected UTF-8, found byte 0xFF at byte 6");
    CHECK_INT(restate_json_int(ctx, restate_str("[1 2]"), NULL, &n), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: expected ',' or ']', found '2' at byte 3");

    CHECK_INT(restate_json_member(ctx, json, "in", &part), RESTATE_OK);
    CHECK(restate__b_is(part, "{\"n\":6}") && part.ptr == (const uint8_t *)strstr(text, "{\"n\":6"));
    CHECK_INT(restate_json_member(ctx, json, "n", &part), RESTATE_OK);
    CHECK(restate__b_is(part, "5"));
    CHECK_INT(restate_json_member(ctx, restate_str(" [1, 2]\t"), NULL, &part), RESTATE_OK);
    CHECK(restate__b_is(part, "[1, 2]"));
    CHECK_INT(restate_json_member(ctx, json, "none", &part), RESTATE_OK);
    CHECK(!part.ptr);
    part = json;
    CHECK_INT(restate_json_member(ctx, json, "nothing", &part), RESTATE_OK);
    CHECK(!part.ptr && !part.len);
    part = json;
    CHECK_INT(restate_json_member(ctx, restate_str("{"), "nothing", &part), RESTATE_TERMINAL);
    CHECK(!part.ptr);
    CHECK_INT(restate_json_int(ctx, json, "n", NULL), RESTATE_OK);
    CHECK_INT(restate_json_double(ctx, json, "n", NULL), RESTATE_OK);
    CHECK_INT(restate_json_string(ctx, json, "age", NULL), RESTATE_OK);
    CHECK_INT(restate_json_bool(ctx, restate_str("true"), NULL, NULL), RESTATE_OK);
    CHECK_INT(restate_json_member(ctx, json, "n", NULL), RESTATE_OK);
    CHECK_STR(last_misuse(ctx), "");
    test_ctx_free(ctx);
}

TEST(doubles) {
    static const char *const texts[] = {
        "0", "-0.0", "1", "0.1", "3.14159", "-2.5e-3", "1e22", "1e23", "123456789012345678", "9007199254740993",
        "1.7976931348623157e308", "5e-324",
        "2.2250738585072011e-308", "1e-400", "4.35", "0.3", "1e-22", "123456789.123456789", "6.02214076e23",
        "8.41e21", "9.5367431640625e-7",
        "179769313486231570000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
        "0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001234567890123456789",
    };
    restate_ctx *ctx = test_ctx();
    double d;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double want = strtod(texts[i], NULL);
        test_note = texts[i];
        CHECK_INT(restate_json_double(ctx, restate_str(texts[i]), NULL, &d), RESTATE_OK);
        CHECK(memcmp(&d, &want, sizeof d) == 0);
    }
    for (int i = 0; i < FUZZ(200000); i++) {
        char text[40];
        restate_bytes b;
        double x, want;
        uint64_t bits = random64();
        memcpy(&x, &bits, sizeof x);
        if (!(x - x == 0)) continue;
        if (i % 2) sprintf(text, "%.*e", (int)random_below(20), x);
        else sprintf(text, "%.*f", (int)random_below(8),
            (double)(int64_t)bits / (double)((uint64_t)1 << random_below(60)));
        want = strtod(text, NULL);
        if (!(want - want == 0)) continue;
        b = exact(text, strlen(text));
        CHECK_INT(restate_json_double(ctx, b, NULL, &d), RESTATE_OK);
        CHECK(memcmp(&d, &want, sizeof d) == 0);
        drop(b);
    }
    d = 7;
    CHECK_INT(restate_json_double(ctx, restate_str("{\"x\":1e400}"), "x", &d), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: member 'x': expected a number in the range of double, found 1e400 at byte 5");
    CHECK_INT(restate_json_double(ctx, restate_str("\"1\""), NULL, &d), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: expected a number, found string at byte 0");
    CHECK(d > 6.9 && d < 7.1);
    test_ctx_free(ctx);
}

TEST(strings) {
    static const struct { const char *text, *value; } same[] = {
        {"\"\"", ""}, {"\"a\"", "a"}, {" \"a b\" ", "a b"}, {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20AC\"", "A\xC3\xA9\xE2\x82\xAC"},
        {"\"\\ud83d\\ude00!\"", "\xF0\x9F\x98\x80!"}, {"\"\\uDBFF\\uDFFF\"", "\xF4\x8F\xBF\xBF"},
        {"\"\\uD800\\uDC00\"", "\xF0\x90\x80\x80"}, {"\"\\u0001\\u007f\"", "\x01\x7F"},
        {"\"\xC3\xA9'\"", "\xC3\xA9'"}, {"\"\\uFFFF\"", "\xEF\xBF\xBF"}, {"\"\\u007f\\u0080\\u07ff\\u0800\"",
        "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80"},
    };
    static const struct { const char *text, *part; } wrong[] = {
        {"\"a\\u0000\"", "json: expected a string without a zero character (which restate_json_text() reads), found \\u0000 at byte 2"},
        {"\"\\ud800\"", "json: expected a pair of surrogates, found \\ud800 at byte 1"},
        {"\"x\\udc00\"", "a pair of surrogates, found \\udc00 at byte 2"},
        {"\"\\ud800\\u0041\"", "a pair of surrogates"},
        {"\"\\q\"", "expected an escape of JSON, found \\q at byte 1"},
        {"\"\\u12\"", "expected an escape of JSON, found \\u12\" at byte 1"},
        {"\"a", "expected a closing quotation mark, found the end at byte 2"},
        {"12", "expected a string, found 12 at byte 0"}, {"false", "found boolean"},
    };
    restate_ctx *ctx = test_ctx();
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const char *s = NULL;
        test_note = same[i].text;
        CHECK_INT(restate_json_string(ctx, restate_str(same[i].text), NULL, &s), RESTATE_OK);
        CHECK_STR(s, same[i].value);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *s = "default";
        test_note = wrong[i].text;
        CHECK_INT(restate_json_string(ctx, restate_str(wrong[i].text), NULL, &s), RESTATE_TERMINAL);
        CHECK_HAS(last_failure(ctx), wrong[i].part);
        CHECK_STR(s, "");
    }
    test_ctx_free(ctx);
}

TEST(next) {
    restate_ctx *ctx = test_ctx();
    restate_bytes array = restate_str(" [1 , [2,{}], \"],\" ,{\"a\":[3]} , null ] "), e = {0, 0};
    static const char *const parts[] = {"1", "[2,{}]", "\"],\"", "{\"a\":[3]}", "null"};
    size_t n = 0;
    for (int twice = 0; twice < 2; twice++, n = 0) {
        for (; restate_json_next(ctx, array, &e); n++) CHECK(n < 5 && restate__b_is(e, parts[n]));
        CHECK_INT(n, 5);
        CHECK(!e.ptr && !e.len);
    }
    CHECK(!restate_json_next(ctx, restate_str("[]"), &e));
    CHECK(!restate_json_next(ctx, restate_str(" [ \n] "), &e));
    CHECK(!restate_json_next(ctx, restate_str("null"), &e));
    CHECK(!restate_json_next(ctx, absent(), &e));
    CHECK_STR(last_misuse(ctx), "");
    test_ctx_free(ctx);
}

TEST(next_misuse) {
    static const struct { const char *text, *part; } wrong[] = {
        {"{}", "restate_json_next(): expected an array, found object at byte 0"},
        {" 12", "expected an array, found 12 at byte 1"}, {"\"[]\"", "found string"},
        {"\n", "expected a value, found the end"}, {"[1,2", "expected ',' or ']', found the end at byte 4"},
        {"[1,]", "expected a value, found ']' at byte 3"},
        {"[1] 2", "expected the end, found '2'"}, {"[", "expected a value, found the end"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        restate_ctx *ctx = test_ctx();
        restate_bytes e = {0, 0}, json = exact(wrong[i].text, strlen(wrong[i].text));
        test_note = wrong[i].text;
        CHECK(!restate_json_next(ctx, json, &e));
        CHECK(!e.ptr);
        CHECK_HAS(last_misuse(ctx), wrong[i].part);
        drop(json);
        test_ctx_free(ctx);
    }
    {
        restate_ctx *ctx = test_ctx();
        restate_bytes e = restate_str("elsewhere");
        CHECK(!restate_json_next(ctx, restate_str("[1,2]"), &e));
        CHECK_HAS(last_misuse(ctx), "expected an element of it, or absent bytes");
        test_ctx_free(ctx);
        ctx = test_ctx();
        CHECK(!restate_json_next(ctx, restate_str("[1,2]"), NULL));
        CHECK_HAS(last_misuse(ctx), "`element` is NULL");
        test_ctx_free(ctx);
    }
}

/* ---- restate_json ---------------------------------------------------------------------------------------------- */

#define GIVES(want, ...) do { \
        restate_ctx *ctx_ = test_ctx(); \
        restate_bytes got_ = restate_json(ctx_, __VA_ARGS__); \
        CHECK_STR(last_misuse(ctx_), ""); \
        CHECK_STR((const char *)got_.ptr, want); \
        CHECK(got_.ptr && got_.len == strlen(want) && is_json(got_.ptr, got_.len, false)); \
        test_ctx_free(ctx_); \
    } while (0)
#define REFUSES(part, ...) do { \
        restate_ctx *ctx_ = test_ctx(); \
        restate_bytes got_ = restate_json(ctx_, __VA_ARGS__); \
        CHECK(!got_.ptr && !got_.len); \
        CHECK_HAS(last_misuse(ctx_), part); \
        test_ctx_free(ctx_); \
    } while (0)

/* Formats that no compiler lets pass. */
static const char *any_format(const char *text) {
    const char *volatile hidden = text;
    return hidden;
}

TEST(format) {
    const char *nothing = NULL;
    bool yes = true, no = false;
    GIVES("{\"name\": \"Ada\", \"age\": 36}", "{'name': %s, 'age': %d}", "Ada", 36);
    GIVES("{\"name\":\"x\"}", "{\"name\":%s}", "x");
    GIVES("null", any_format("%s"), nothing);
    GIVES("null", any_format("%-s"), nothing);
    GIVES("[null]", any_format("[%-.*s]"), 3, nothing);
    GIVES("\"ab\"", "%.*s", 2, "abc");
    GIVES("\"abc\"", "%.*s", 7, "abc");
    GIVES("\"abc\"", "%.*s", -1, "abc");
    GIVES("\"\"", "%.0s", "abc");
    GIVES("\"a\"", "%.1s", "abc");
    GIVES("{\"a\": [1,2]}", "{'a': %-s}", "[1,2]");
    GIVES("[ {\"b\":1} ]", "[%-.*s]", 9, " {\"b\":1} junk");
    GIVES("[true,false,true]", "[%hhd,%hhd,%hhi]", yes, no, yes);
    GIVES("[1,-2,3,4,5,-6]", "[%d,%i,%u,%ld,%lld,%jd]", 1, -2, 3u, 4L, 5LL, (intmax_t)-6);
    GIVES("[7,8,9,10,-11,12,255]", "[%zu,%lu,%llu,%ju,%td,%hu,%hhu]", (size_t)7, 8ul, 9ull, (uintmax_t)10,
        (ptrdiff_t)-11, (unsigned short)12, (unsigned char)255);
    GIVES("[-9223372036854775808,9223372036854775807,18446744073709551615,0]", "[%lld,%lld,%llu,%u]", LLONG_MIN,
        LLONG_MAX, ULLONG_MAX, 0u);
    GIVES("[-2147483648,4294967295,-3]", "[%d,%u,%hd]", INT_MIN, UINT_MAX, (short)-3);
    GIVES("[\"seat-7\",\"007\",\"+7\",\"   7\",\"7   \",\"-007\",\" 7\"]",
        "['seat-%d','%03d','%+d','%4d','%-4d','%.3d','% d']", 7, 7, 7, 7, 7, -7, 7);
    GIVES("\"2026-01-02 3.50\"", "'%04d-%02d-%02d %.2f'", 2026, 1, 2, 3.5);
    GIVES("\"    7\"", "'%*d'", 5, 7);
    GIVES("\"7    \"", "'%*d'", -5, 7);
    GIVES("\"-0007\"", "'%05d'", -7);
    GIVES("[   7]", "[%4d]", 7);
    GIVES("\"100%\"", "'%d%%'", 100);
    GIVES("\"100%d\"", "'100%%d'");
    GIVES("\"\\u0027 \\\" \\n\"", "'\\u0027 \\' \\n'");
    GIVES("{\"a\": {\"b\": []}}", "{'a': {'b': []}}");
    GIVES("{\"k\": 1}", "{%s: 1}", "k");
    GIVES("\"\xC3\xA9 \xF0\x9F\x98\x80\"", "%s", "\xC3\xA9 \xF0\x9F\x98\x80");
    GIVES("true", "true");
    GIVES(" 1 ", " %d ", 1);
}

TEST(format_doubles) {
    GIVES("[0,1,-1,0.5,0.1,36.6,-2.25]", "[%g,%f,%e,%g,%g,%g,%g]", 0.0, 1.0, -1.0, 0.5, 0.1, 36.6, -2.25);
    GIVES("[1e+300,4.94065645841247e-324,1.7976931348623157e+308]", "[%g,%g,%f]", 1e300, 5e-324,
        1.7976931348623157e308);
    GIVES("[9007199254740992,9007199254740994,4503599627370499,-1000000000000000000]", "[%g,%g,%g,%g]",
        9007199254740992.0, 9007199254740994.0,
          4503599627370499.0, -1e18);
    GIVES("[9223372036854775807,9.223372036854776e+18]", "[%lld,%g]", LLONG_MAX, 9223372036854775808.0);
    GIVES("[0.30000000000000004,0.3333333333333333,1e-05,0.0001]", "[%g,%g,%g,%g]", 0.30000000000000004, 1.0 / 3, 1e-5, 1e-4);
    GIVES("[-0,3.14,3.1,1.5e+00,\"  3.14\",\"003.14\",\"3.14  \",\"+3.1\"]",
        "[%g,%.2f,%.2g,%.1e,'%6.2f','%06.2f','%-6.2f','%+.1f']", -0.0, 3.14159, 3.1,
          1.5, 3.14, 3.14, 3.14, 3.1);
    GIVES("[1.25,\"  1.5\"]", "[%lg,'%5g']", 1.25, 1.5);
    REFUSES("restate_json(): argument 1 behind the format is NaN or infinite", "%g", strtod("nan", NULL));
    REFUSES("argument 3 behind the format is NaN or infinite", "[%d,%s,%f]", 1, "a", -strtod("inf", NULL));
    {
        restate_ctx *ctx = test_ctx();
        size_t shown = 0;
        for (int i = 0; i < FUZZ(200000); i++) {
            char want[40];
            uint64_t bits = random64();
            double x, back = 0;
            restate_bytes b;
            int k = 15;
            memcpy(&x, &bits, sizeof x);
            if (i % 4 == 1) x = (double)(int64_t)(bits >> 20) / 100;
            if (i % 4 == 2) x = (double)(bits % 100000) / 1000;
            if (i % 4 == 3) x = (double)(int64_t)bits / 1e6;
            if (!(x - x == 0)) continue;
            b = restate_json(ctx, "%g", x);
            CHECK_STR(last_misuse(ctx), "");
            if (!b.ptr) break;
            CHECK_INT(restate_json_double(ctx, b, NULL, &back), RESTATE_OK);
            CHECK(memcmp(&x, &back, sizeof x) == 0);
            if ((x < 0 ? -x : x) < 1e15) {                       /* the shortest of %.15g %.16g %.17g */
                do sprintf(want, "%.*g", k, x);
                while (k++ < 17 && strtod(want, NULL) != x);
                if (strcmp((const char *)b.ptr, want) != 0 && shown++ < 5) CHECK_STR((const char *)b.ptr, want);
            }
            if (i % 1000 == 0) test_ctx_free(ctx), ctx = test_ctx();
        }
        CHECK_INT(shown, 0);
        test_ctx_free(ctx);
    }
}

TEST(format_misuse) {
    bool yes = true;
    REFUSES("restate_json(): '%x' at byte 0 of the format: not for JSON", "%x", 1u);
    REFUSES("'%c' at byte 1 of the format: not for JSON", "[%c]", 'a');
    REFUSES("'%o'", "%o", 1u);
    REFUSES("'%p'", "%p", (void *)0);
    REFUSES("'%a'", "%a", 1.0);
    REFUSES("'%X'", "%X", 1u);
    REFUSES("'%#'", any_format("%#x"), 1u);
    REFUSES("'%''", any_format("%'d"), 1);
    REFUSES("'%Lg'", any_format("%Lg"), 1.0L);
    REFUSES("'%ls'", "%ls", L"a");
    REFUSES("'%1$'", any_format("%1$d"), 1);
    REFUSES("'%n'", any_format("%n"), 1);
    REFUSES("'%' at byte 0", any_format("%"), 0);
    REFUSES("'%5.' at byte 1", any_format("[%5."), 0);
    REFUSES("'%'", any_format("%\xC3\xA9"), 0);
    REFUSES("'%s' at byte 6 of the format: only numbers can be inside '...'; make the whole string with restate_text()", "'seat-%s'", "a");
    REFUSES("'%-s' at byte 1 of the format: only numbers can be inside", any_format("'%-s'"), "a");
    REFUSES("'%hhd' at byte 1 of the format: only numbers can be inside", "'%hhd'", yes);
    REFUSES("'%5s' at byte 0 of the format: a string has no width", "%5s", "a");
    REFUSES("'%-5s' at byte 0 of the format: a string has no width", "%-5s", "a");
    REFUSES("wider than 1000 columns", "%2000d", 1);
    REFUSES("wider than 1000 columns", any_format("%*d"), INT_MIN, 1);
    REFUSES("wider than 1000 columns", any_format("%.*f"), INT_MAX, 1.0);
    REFUSES("wider than 1000 columns", any_format("%99999999999999999999d"), 1);
    REFUSES("argument 2 behind the format is not UTF-8", "[%s,%s]", "\xC3\xA9", "a\xFF");
    REFUSES("argument 2 behind the format is not UTF-8", "%.*s", 1, "\xC3\xA9");
    REFUSES("argument 1 behind the format is not JSON: expected the end, found ',' at byte 1", "{'a': %-s}",
        "1, \"admin\": true");
    REFUSES("argument 3 behind the format is not JSON: expected a value, found the end at byte 1", "[%s,%-.*s]", "a",
        1, " 1");
    REFUSES("argument 1 behind the format is not JSON: expected a value, found byte 0xC3 at byte 0", "%-s",
        "\xC3\xA9");
    REFUSES("what came out is not JSON: expected a value, found the end at byte 0 of ", any_format(""), 0);
    REFUSES("what came out is not JSON: expected ',' or '}', found '\"' at byte 8 of {\"a\": 1 \"b\": 2}",
        "{'a': %d 'b': %d}", 1, 2);
    REFUSES("expected a closing quotation mark, found the end at byte 4 of \"abc", "'abc");
    REFUSES("expected no leading zero, found '0' at byte 0 of 007", "%03d", 7);
    REFUSES("expected a value, found '+' at byte 0 of +7", "%+d", 7);
    REFUSES("expected UTF-8, found byte 0xFF at byte 1 of ...", "'\xFF'");
    REFUSES("expected the end, found '1' at byte 102 of ...",
        "'%099d' 1 'and a long tail that is not shown as a whole because messages are short, is it not?'", 1);
    REFUSES("the format is NULL", any_format(NULL), 0);
    REFUSES("expected ':', found ',' at byte 4", "{'a',1}");
}

TEST(format_escapes) {
    restate_ctx *ctx = test_ctx();
    for (int c = 1; c < 0x80; c++) {
        char text[4] = {'a', (char)c, 'b', 0}, want[16];
        const char *back = NULL, *names = "\b\f\n\r\t", *at = strchr(names, c);
        restate_bytes json = restate_json(ctx, "%s", text);
        if (at) sprintf(want, "\"a\\%cb\"", "bfnrt"[at - names]);
        else if (c == '"' || c == '\\') sprintf(want, "\"a\\%cb\"", c);
        else if (c < 0x20) sprintf(want, "\"a\\u%04xb\"", (unsigned)c);
        else sprintf(want, "\"a%cb\"", c);
        CHECK_STR((const char *)json.ptr, want);
        CHECK_INT(restate_json_string(ctx, json, NULL, &back), RESTATE_OK);
        CHECK_STR(back, text);
    }
    test_ctx_free(ctx);
}

TEST(huge) {
    restate_ctx *ctx = test_ctx();
    size_t n = 3 * 1000 * 1000;
    char *text = malloc(n + 1);
    const char *back = NULL;
    restate_bytes json;
    for (int kind = 0; kind < 3; kind++) {
        for (size_t i = 0; i < n; i++) text[i] = kind == 0 ? 'x' : kind == 1 ? '\x01' : (char)(1 + random_below(127));
        text[n] = 0;
        json = restate_json(ctx, "{'before': %d, 'text': %s}", 1, text);
        CHECK(json.ptr && json.ptr[json.len] == 0);
        CHECK_INT(restate_json_string(ctx, json, "text", &back), RESTATE_OK);
        CHECK(back && strcmp(back, text) == 0);
        json = restate_json(ctx, "[%-.*s]", (int)json.len, (const char *)json.ptr);
        CHECK(json.ptr != NULL);
    }
    /* All lengths around the chunk's size. */
    for (size_t i = 3900; i < 4300; i++) {
        memset(text, 'y', i);
        text[i] = 0;
        test_ctx_free(ctx);
        ctx = test_ctx();
        restate_json(ctx, "%d", 12);
        json = restate_json(ctx, "[%s]", text);
        CHECK(json.len == i + 4 && json.ptr[json.len] == 0 && json.ptr[json.len - 1] == ']' && json.ptr[1] == '"');
        CHECK(restate_json(ctx, "%s", "after").len == 7 && json.ptr[json.len] == 0);
    }
    free(text);
    test_ctx_free(ctx);
}

/* ---- Trees ----------------------------------------------------------------------------------------------------- */

TEST(tree) {
    restate_ctx *ctx = test_ctx();
    cJSON *tree = NULL, *list;
    restate_bytes json;
    double one_third = 1.0 / 3;
    CHECK_INT(restate_json_tree(ctx, restate_str(" {\"a\":[1,2.5,\"x\\n\\u00e9\",true,false,null,{},[]],\"b\":{\"c\":-0.0}} "), &tree), RESTATE_OK);
    json = restate_json_print(ctx, tree);
    CHECK_STR((const char *)json.ptr, "{\"a\":[1,2.5,\"x\\n\xC3\xA9\",true,false,null,{},[]],\"b\":{\"c\":-0}}");
    json = restate_json_print(ctx, cJSON_GetObjectItemCaseSensitive(tree, "a"));     /* has a name and a sibling */
    CHECK_STR((const char *)json.ptr, "[1,2.5,\"x\\n\xC3\xA9\",true,false,null,{},[]]");

    list = restate_json_own(ctx, cJSON_CreateArray());
    cJSON_AddItemToArray(list, cJSON_CreateNumber(4503599627370499.0));
    cJSON_AddItemToArray(list, cJSON_CreateNumber(9007199254740991.0));
    cJSON_AddItemToArray(list, cJSON_CreateNumber(one_third));
    cJSON_AddItemToArray(list, cJSON_CreateNumber(1e300));
    cJSON_AddItemToArray(list, cJSON_CreateNumber(-1));
    cJSON_AddItemToArray(list, cJSON_CreateRaw("9223372036854775807"));
    cJSON_AddItemToArray(list, cJSON_CreateRaw("{\"raw\": [ ]}"));
    cJSON_AddItemToArray(list, cJSON_CreateStringReference(NULL));
    json = restate_json_print(ctx, list);
    CHECK_STR((const char *)json.ptr, "[4503599627370499,9007199254740991,0.3333333333333333,1e+300,-1,9223372036854775807,{\"raw\": [ ]},\"\"]");

    tree = list;
    CHECK_INT(restate_json_tree(ctx, absent(), &tree), RESTATE_OK);
    CHECK(!tree);
    CHECK_INT(restate_json_tree(ctx, restate_str("null"), &tree), RESTATE_OK);
    CHECK(cJSON_IsNull(tree));
    CHECK_INT(restate_json_tree(ctx, restate_str("[1,]"), &tree), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "json: expected a value, found ']' at byte 3");
    CHECK(!tree);
    CHECK_INT(restate_json_tree(ctx, restate_str("1"), NULL), RESTATE_OK);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        test_note = good[i];
        CHECK_INT(restate_json_tree(ctx, restate_str(good[i]), &tree), RESTATE_OK);
        CHECK(tree != NULL);
    }
    for (size_t i = 0; i < sizeof good_but_not_for_c / sizeof *good_but_not_for_c; i++) {
        test_note = good_but_not_for_c[i];
        CHECK_INT(restate_json_tree(ctx, restate_str(test_note), &tree), RESTATE_TERMINAL);
        CHECK(!tree);
    }
    CHECK_STR(last_misuse(ctx), "");
    test_ctx_free(ctx);
}

TEST(print_levels) {
    for (size_t levels = 98; levels <= 103; levels++) {
        restate_ctx *ctx = test_ctx();
        cJSON *tree = restate_json_own(ctx, cJSON_CreateArray()), *at = tree;
        restate_bytes json;
        for (size_t i = 1; i < levels; i++) {
            cJSON *inner = i % 2 ? cJSON_CreateObject() : cJSON_CreateArray();
            if (cJSON_IsObject(at)) cJSON_AddItemToObject(at, "a", inner);
            else cJSON_AddItemToArray(at, inner);
            at = inner;
        }
        json = restate_json_print(ctx, tree);
        CHECK_INT(json.ptr != NULL, levels <= 100);
        CHECK_STR(last_misuse(ctx), levels <= 100 ? "" : "S/h: restate_json_print(): found more than 100 levels at member 'a'");
        if (json.ptr) {
            char *want = nested(levels);
            CHECK_STR((const char *)json.ptr, want);
            free(want);
        }
        test_ctx_free(ctx);
    }
    for (int i = 0; i < 2; i++) {                                /* raw text counts as well */
        restate_ctx *ctx = test_ctx();
        char *inner = nested(i ? 100 : 99);
        cJSON *tree = restate_json_own(ctx, cJSON_CreateArray());
        cJSON_AddItemToArray(tree, cJSON_CreateRaw(inner));
        CHECK_INT(restate_json_print(ctx, tree).ptr == NULL, i);
        free(inner);
        test_ctx_free(ctx);
    }
}

static void refuses_tree(cJSON *item, const char *message) {
    restate_ctx *ctx = test_ctx();
    cJSON *tree = restate_json_own(ctx, cJSON_CreateObject());
    restate_bytes json;
    cJSON_AddItemToObject(tree, "fine", cJSON_CreateTrue());
    cJSON_AddItemToObject(tree, "m", item);
    json = restate_json_print(ctx, tree);
    CHECK(!json.ptr && !json.len);
    CHECK_STR(last_misuse(ctx), message);
    test_ctx_free(ctx);
}

TEST(print_misuse) {
    restate_ctx *ctx = test_ctx();
    cJSON *odd = cJSON_CreateNull();
    odd->type = cJSON_Invalid;
    refuses_tree(odd, "S/h: restate_json_print(): found an item without a valid type at member 'm'");
    refuses_tree(cJSON_CreateNumber(strtod("inf", NULL)),
        "S/h: restate_json_print(): found a number that is NaN or infinite at member 'm'");
    refuses_tree(cJSON_CreateNumber(strtod("nan", NULL)),
        "S/h: restate_json_print(): found a number that is NaN or infinite at member 'm'");
    refuses_tree(cJSON_CreateString("\xFF"), "S/h: restate_json_print(): found a string that is not UTF-8 at member 'm'");
    refuses_tree(cJSON_CreateRaw("1,2"), "S/h: restate_json_print(): found raw text that is not JSON at member 'm'");
    refuses_tree(cJSON_CreateRaw(""), "S/h: restate_json_print(): found raw text that is not JSON at member 'm'");
    CHECK(!restate_json_print(ctx, NULL).ptr);
    CHECK_STR(last_misuse(ctx), "S/h: restate_json_print(): found NULL instead of a tree");
    test_ctx_free(ctx);
    ctx = test_ctx();
    odd = restate_json_own(ctx, cJSON_CreateObject());
    cJSON_AddItemToObject(odd, "\xFF", cJSON_CreateNull());
    CHECK(!restate_json_print(ctx, odd).ptr);
    CHECK_STR(last_misuse(ctx), "S/h: restate_json_print(): found a name that is not UTF-8");
    test_ctx_free(ctx);
}

/* ---- The attempt is over --------------------------------------------------------------------------------------- */

TEST(over) {
    restate_ctx *ctx = test_ctx();
    restate_bytes part = restate_str("x"), e = {0, 0}, json = restate_str("{\"a\":1}");
    long long n = 7;
    double d = 7;
    bool b = true;
    const char *s = "default";
    cJSON *tree = (cJSON *)(uintptr_t)1, *mine;
    char kept[256];
    CHECK(!restate_json(ctx, "[").ptr);
    strcpy(kept, last_misuse(ctx));
    CHECK_HAS(kept, "not JSON");
    CHECK(!restate_json(ctx, "1").ptr);
    CHECK_INT(restate_json_int(ctx, json, "a", &n), RESTATE_ENDED);
    CHECK_INT(restate_json_double(ctx, json, "a", &d), RESTATE_ENDED);
    CHECK_INT(restate_json_bool(ctx, json, "a", &b), RESTATE_ENDED);
    CHECK_INT(restate_json_string(ctx, json, "a", &s), RESTATE_ENDED);
    CHECK_STR(s, "");
    CHECK_INT(restate_json_member(ctx, json, "a", &part), RESTATE_ENDED);
    CHECK(!part.ptr && n == 7 && d > 6 && b);
    CHECK(!restate_json_next(ctx, restate_str("[1]"), &e));
    CHECK_INT(restate_json_tree(ctx, json, &tree), RESTATE_ENDED);
    CHECK(!tree);
    mine = cJSON_CreateArray();
    CHECK(restate_json_own(ctx, mine) == mine);                  /* still deleted with the invocation */
    CHECK(!restate_json_own(ctx, NULL));
    CHECK(!restate_json_print(ctx, mine).ptr);
    CHECK_STR(last_misuse(ctx), kept);
    test_ctx_free(ctx);
}

/* ---- Out of memory --------------------------------------------------------------------------------------------- */

static char long_text[6000];

static bool everything(restate_ctx *ctx) {
    cJSON *tree = NULL;
    restate_bytes json, other;
    const char *s = "default";
    double d = 0;
    json = restate_json(ctx, "{'a': %s, 'b': %.300f, 'c': [%*d], 'd': %s}", "x\ny", 1e200, 900, 7, long_text);
    other = restate_json(ctx, "[%-.*s,%s]", (int)json.len, (const char *)json.ptr, long_text);
    if (json.ptr && !is_json(json.ptr, json.len, false)) return false;
    if (restate_json_string(ctx, json, "d", &s) == RESTATE_OK && json.ptr && strcmp(s, long_text) != 0) return false;
    if (restate_json_double(ctx, restate_str("0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001"), NULL, &d)
        == RESTATE_OK && !(d > 0 && d < 1e-80)) return false;
    RESTATE_IGNORE(restate_json_tree(ctx, restate_str("{\"x\":[1,2,3]}"), &tree));
    if (tree) restate_json_print(ctx, tree);
    tree = restate_json_own(ctx, cJSON_CreateString(long_text));
    if (tree) other = restate_json_print(ctx, tree);
    return other.ptr != NULL;
}

TEST(out_of_memory) {
    bool done = false;
    size_t n;
    memset(long_text, '"', sizeof long_text - 1);
    for (n = 1; n < 200 && !done; n++) {
        restate_ctx *ctx = test_ctx();
        mem_fail_from(&memory, n);
        done = everything(ctx);
        mem_fail(&memory, 0);
        CHECK_STR(last_misuse(ctx), done ? "" : "out of memory");
        CHECK_STR(last_failure(ctx), "");
        test_ctx_free(ctx);
        CHECK_INT(memory.blocks, 0);
    }
    CHECK(done && n > 5);
}

static long hook_left;
static void *hook_malloc(size_t size) { return hook_left-- > 0 ? malloc(size) : NULL; }

TEST(out_of_memory_in_cjson) {
    cJSON_Hooks hooks;
    bool done = false;
    hooks.malloc_fn = hook_malloc;
    hooks.free_fn = free;
    cJSON_InitHooks(&hooks);
    for (long n = 0; n < 50 && !done; n++) {
        restate_ctx *ctx = test_ctx();
        cJSON *tree = NULL;
        hook_left = n;
        done = restate_json_tree(ctx, restate_str("{\"a\":[1,\"x\"],\"b\":null}"), &tree) == RESTATE_OK;
        CHECK_INT(tree != NULL, done);
        CHECK_STR(last_misuse(ctx), done ? "" : "out of memory");
        test_ctx_free(ctx);
    }
    CHECK(done);
    {
        restate_ctx *ctx = test_ctx();
        hook_left = 0;
        CHECK(!restate_json_own(ctx, cJSON_CreateArray()));
        CHECK_STR(last_misuse(ctx), "out of memory");
        test_ctx_free(ctx);
    }
    cJSON_InitHooks(NULL);
}

/* ---- Locale ---------------------------------------------------------------------------------------------------- */

TEST(decimal_comma) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8",
        "ps_AF.UTF-8", "ps_AF", "ps_AF.utf8"};
    size_t tried = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        restate_ctx *ctx;
        double d = 0;
        cJSON *tree = NULL;
        if (!setlocale(LC_ALL, names[i]) || strcmp(localeconv()->decimal_point, ".") == 0) continue;    /* as musl */
        test_note = names[i];
        tried++;
        ctx = test_ctx();
        CHECK_STR((const char *)restate_json(ctx, "[%g,%g,%g,%.2f,%.3e]", 0.5, 1.0 / 3, 1.5e300, 1234.5, 1.5).ptr,
                  "[0.5,0.3333333333333333,1.5e+300,1234.50,1.500e+00]");
        CHECK_STR((const char *)restate_json(ctx, "'%8.2f'", 3.25).ptr, "\"    3.25\"");
        CHECK_INT(restate_json_double(ctx, restate_str("1.5"), NULL, &d), RESTATE_OK);
        CHECK(d > 1.499 && d < 1.501);
        CHECK_INT(restate_json_double(ctx, restate_str("0.33333333333333331483"), NULL, &d), RESTATE_OK);
        CHECK(d > 0.333333 && d < 0.333334);
        CHECK_INT(restate_json_double(ctx, restate_str("1.5e300"), NULL, &d), RESTATE_OK);
        CHECK(d > 1.49e300 && d < 1.51e300);
        CHECK_INT(restate_json_double(ctx, restate_str("1,5"), NULL, &d), RESTATE_TERMINAL);
        if (strlen(localeconv()->decimal_point) == 1) {          /* cJSON itself knows points of one byte */
            CHECK_INT(restate_json_tree(ctx, restate_str("[1.5,0.25]"), &tree), RESTATE_OK);
            CHECK_STR((const char *)restate_json_print(ctx, tree).ptr, "[1.5,0.25]");
        }
        CHECK_STR(last_misuse(ctx), "");
        test_ctx_free(ctx);
    }
    setlocale(LC_ALL, "C");
    if (!tried) printf("  (no locale with a decimal comma here: not tried)\n");
}

/* ---- Fuzz ------------------------------------------------------------------------------------------------------ */

static const char *const seeds[] = {
    "{\"name\":\"Ada\",\"age\":36,\"tags\":[\"a\",\"b\\n\",\"\\u00e9\"],\"in\":{\"x\":-1.5e3,\"y\":null}}",
    "[true,false,null,0,-0,1e5,1E-5,0.1,\"\\ud83d\\ude00\",\"\xC3\xA9\xF0\x9F\x98\x80\",{},[],[[]],[{}]]",
    "  {\t\"a\" :\r\n [ 1 , 2 , { \"b\" : \"c\\\\\\\"\" } ] }  ",
    "[[[[[[[[[[1]]]]]]]]]]",
    "123456789.5e-3",
    "\"\\b\\f\\n\\r\\t\\/\"",
    "{\"a\":1,\"a\":2,\"\":3,\"\\u0061\":4}",
};

static size_t mutate(char *text, size_t len, size_t room) {
    static const char pieces[] = "{}[],:\"\\u0123456789abcdefnrtE+-. \t\n\x01\x80\xC3\xFF";
    size_t at = random_below(len + 1), n = 1 + random_below(4), from;
    switch (random_below(6)) {
    case 0:
        if (at < len) text[at] = (char)random64();
        break;
    case 1:
        if (at < len) text[at] = pieces[random_below(sizeof pieces - 1)];
        break;
    case 2:
        if (len == room) break;
        memmove(text + at + 1, text + at, len - at);
        text[at] = pieces[random_below(sizeof pieces - 1)];
        len++;
        break;
    case 3:
        if (n > len - at) n = len - at;
        memmove(text + at, text + at + n, len - at - n);
        len -= n;
        break;
    case 4:
        from = random_below(len + 1);
        if (n > len - from) n = len - from;
        if (len + n > room || n == 0) break;
        memmove(text + at + n, text + at, len - at);
        memmove(text + at, text + (from < at ? from : from + n), from + n <= at || from >= at ? n : 0);
        len += n;
        break;
    default: len = at; break;
    }
    return len;
}

/* What the gate lets in cJSON takes, prints the same again, and every getter agrees that it is JSON. */
static void fuzz_one(restate_bytes json, size_t counts[2]) {
    restate_ctx *ctx = test_ctx();
    bool loose = is_json(json.ptr, json.len, false), strict = is_json(json.ptr, json.len, true), array, b;
    cJSON *tree = NULL, *again = NULL, *parsed;
    restate_bytes printed, part, e = {0, 0};
    long long n;
    double d;
    const char *s;
    counts[strict]++;
    CHECK(loose || !strict);
    parsed = cJSON_ParseWithLengthOpts((const char *)json.ptr, json.len, NULL, 0);
    CHECK(parsed || !strict);
    cJSON_Delete(parsed);
    loose = loose || !json.len;                 /* empty counts as absent */
    CHECK_INT(restate_json_tree(ctx, json, &tree), strict || !json.len ? RESTATE_OK : RESTATE_TERMINAL);
    CHECK_INT(restate_json_member(ctx, json, NULL, &part), loose ? RESTATE_OK : RESTATE_TERMINAL);
    RESTATE_IGNORE(restate_json_int(ctx, json, "a", &n));
    RESTATE_IGNORE(restate_json_double(ctx, json, "age", &d));
    RESTATE_IGNORE(restate_json_bool(ctx, json, NULL, &b));
    RESTATE_IGNORE(restate_json_string(ctx, json, "name", &s));
    RESTATE_IGNORE(restate_json_double(ctx, json, NULL, &d));
    RESTATE_IGNORE(restate_json_int(ctx, json, NULL, &n));
    if (tree) {
        printed = restate_json_print(ctx, tree);
        CHECK(printed.ptr && is_json(printed.ptr, printed.len, true));
        CHECK_INT(restate_json_tree(ctx, printed, &again), RESTATE_OK);
        part = restate_json_print(ctx, again);
        CHECK(restate__b_equal(part, printed));
    }
    CHECK_STR(last_misuse(ctx), "");
    array = cJSON_IsArray(tree);
    part = restate_json(ctx, "%-.*s", (int)json.len, (const char *)json.ptr);
    CHECK_INT(part.ptr == NULL, last_misuse(ctx)[0] != 0);
    CHECK(part.ptr || !loose);
    CHECK(!part.ptr || loose || memchr(json.ptr, 0, json.len));  /* %-.*s ends at a zero byte, as in printf */
    test_ctx_free(ctx);
    ctx = test_ctx();
    while (restate_json_next(ctx, json, &e)) CHECK(e.len > 0 && is_json(e.ptr, e.len, false));
    if (array) CHECK_STR(last_misuse(ctx), "");
    test_ctx_free(ctx);
}

TEST(fuzz) {
    size_t counts[2] = {0, 0};
    random_state = 42;
    for (int i = 0; i < FUZZ(60000); i++) {
        char text[256];
        size_t len, n = 1 + random_below(5);
        restate_bytes json;
        len = strlen(seeds[(size_t)i % (sizeof seeds / sizeof *seeds)]);
        memcpy(text, seeds[(size_t)i % (sizeof seeds / sizeof *seeds)], len);
        while (n--) len = mutate(text, len, sizeof text);
        json = exact(text, len);
        fuzz_one(json, counts);
        drop(json);
    }
    CHECK(counts[0] > FUZZ(10000) && counts[1] > FUZZ(3000));
}

/* Random formats and arguments: nothing but JSON ever comes out. */
TEST(fuzz_formats) {
    static const char *const parts[] = {"{", "}", "[", "]", ",", ":", "'", "'a'", "%d", "%5d", "%-3d", "%05d", "%.3d",
        "%hhd", "\\", " ", "%%", "1", "-", "%+d", "%u", "%i", "null",
                                        "\xC3", "\xA9", "%q", "%*d", "%.*d"};
    for (int i = 0; i < FUZZ(100000); i++) {
        char format[80] = "";
        restate_ctx *ctx = test_ctx();
        restate_bytes json;
        for (size_t n = 1 + random_below(8); n > 0; n--) strcat(format,
            parts[random_below(sizeof parts / sizeof *parts)]);
        json = restate_json(ctx, any_format(format), 1, -2, 3, 0, -5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
        CHECK_INT(json.ptr == NULL, last_misuse(ctx)[0] != 0);
        if (json.ptr) CHECK(is_json(json.ptr, json.len, false));
        test_ctx_free(ctx);
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(documents), T(nesting), T(truncated), T(ints), T(members), T(doubles), T(strings), T(next), T(next_misuse),
            T(format), T(format_doubles),
        T(format_misuse), T(format_escapes), T(huge), T(tree), T(print_levels), T(print_misuse), T(over),
            T(out_of_memory), T(out_of_memory_in_cjson),
        T(decimal_comma), T(fuzz), T(fuzz_formats), {0, 0}};
    return test_main(argc, argv, cases);
}
