/* Section >>bytes: what is UTF-8, what can be shown, base64, ids of the server, a map, a heap of deadlines. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "test.h"

#include <stdlib.h>

/* ---- Texts ------------------------------------------------------------------------------------ */

/* The first and last characters of each length, and around the surrogates. */
TEST(utf8_is_what_rfc_3629_says) {
    static const char *const good[] = { "", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF",
                                        "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF" };
    static const char *const bad[] = { "\x80", "\xBF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
                                       "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC2", "\xE1\x80",
                                       "\xF1\x80\x80", "\xC2\x41", "\xE1\x80\x41", "\xF1\x80\x80\x41", "a\xFF" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        test_note = good[i];
        CHECK(restate__b_utf8(restate_str(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_note = bad[i];
        CHECK(!restate__b_utf8(restate_str(bad[i])));
    }
}

static const char *cleaned(const char *text, const char *also) {
    static char copy[64];
    size_t len = strlen(text);
    memcpy(copy, text, len + 1);
    restate__b_clean(copy, len, also);
    CHECK_INT(restate__b_is_clean(restate_str(text), also), strcmp(copy, text) == 0);
    CHECK(restate__b_is_clean(restate_str(copy), also));
    return copy;
}

TEST(what_controls_a_terminal_is_not_shown) {
    CHECK_STR(cleaned("a\x1B[2Jb\x7F", ""), "a?[2Jb?");
    CHECK_STR(cleaned("a\nb\tc\r", "\n\t"), "a\nb\tc?");
    CHECK_STR(cleaned("a\xC2\x9Bz\xC3\xA9", ""), "a??z\xC3\xA9");       /* a control character of two bytes */
}

TEST(what_changes_the_direction_of_a_text_or_ends_its_line_is_not_shown) {
    static const char *const turns[] = { "\xE2\x80\x8E", "\xE2\x80\x8F", "\xE2\x80\xA8", "\xE2\x80\xAA", "\xE2\x80\xAE",
                                         "\xE2\x81\xA6", "\xE2\x81\xA9" };
    static const char *const stays[] = { "\xE2\x80\x8D", "\xE2\x80\xA7", "\xE2\x80\xAF", "\xE2\x81\xA5",
                                         "\xE2\x81\xAA" };
    CHECK_STR(cleaned("a\xD8\x9C", ""), "a??");
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) CHECK_STR(cleaned(turns[i], ""), "???");
    for (size_t i = 0; i < sizeof stays / sizeof *stays; i++) CHECK_STR(cleaned(stays[i], ""), stays[i]);
    CHECK_STR(cleaned(turns[3], NULL), turns[3]);
}

TEST(bytes_that_are_not_utf8_are_replaced_one_by_one) {
    CHECK_STR(cleaned("a\xFF\xFE\xE2\x80z", ""), "a????z");
    CHECK_STR(cleaned("\x1B\xC3", NULL), "\x1B?");
}

/* ---- Base64 ----------------------------------------------------------------------------------- */

static size_t decoded(const char *text, bool strict) {
    uint8_t to[64];
    return restate__b_base64_read(restate_str(text), strict, to, sizeof to);
}

TEST(base64_has_one_form_where_it_is_signed) {
    CHECK_INT(decoded("QUI", true), 2);
    CHECK(decoded("QUJ", true) == SIZE_MAX);                /* bits behind the last byte */
    CHECK(decoded("QUJ", false) == 2);
    CHECK(decoded("QR", true) == SIZE_MAX && decoded("QQ", true) == 1);
    CHECK(decoded("+/+/", true) == SIZE_MAX && decoded("+/+/", false) == 3 && decoded("-_-_", true) == 3);
    CHECK(decoded("QUJDR", false) == SIZE_MAX);             /* a digit alone is no byte */
    CHECK(decoded("QUI=", false) == SIZE_MAX);
}

TEST(base64_that_is_written_is_read) {
    for (size_t n = 0; n < 10; n++) {
        uint8_t from[10], back[10];
        char text[20];
        for (size_t i = 0; i < n; i++) from[i] = (uint8_t)(251 * i + 63 * n);
        size_t len = (size_t)(restate__b_base64(text, restate__b(from, n), true) - text);
        CHECK_INT(restate__b_base64_read(restate__b((uint8_t *)text, len), true, back, n), n);
        CHECK(memcmp(from, back, n) == 0);
        if (n) CHECK_INT(restate__b_base64_read(restate__b((uint8_t *)text, len), true, back, n - 1), n);
        CHECK_INT(restate__b_base64(text, restate__b(from, n), false) - text, (n + 2) / 3 * 4);
    }
}

/* ---- Ids -------------------------------------------------------------------------------------- */

TEST(ids_of_awakeables_are_those_that_the_server_decodes) {
    static const char digits[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";      /* all but the last */
    static const struct { const char *begin, *end; bool good; } ids[] = {
        { "sign_1", "A", true }, { "prom_1", "Q", true }, { "sign_1", "g", true }, { "sign_1", "w=", true },
        { "sign_1", "w==", true }, { "sign_1", "w===", false }, { "sign_1", "B", false }, { "sign_1", "E", false },
        { "sign_1", "I", false }, { "sign_1", "AA", false }, { "sign_1", "A=A", false }, { "sign_1", "=", false },
        { "sign_1", "", false }, { "sign_2", "A", false }, { "inv_1", "A", false } };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char id[64];
        snprintf(id, sizeof id, "%s%s%s", ids[i].begin, digits, ids[i].end);
        test_note = id;
        CHECK_INT(!restate__b_awakeable_id_fault(id), ids[i].good);
        test_note = "";
    }
}

TEST(scopes_have_few_characters_of_few_kinds) {
    CHECK(!restate__b_scope_fault("A.b-c_9"));
    CHECK(!restate__b_scope_fault("123456789012345678901234567890123456"));
    CHECK_HAS(restate__b_scope_fault("1234567890123456789012345678901234567"), "36");
    CHECK_HAS(restate__b_scope_fault("a b"), "digits");
}

/* ---- A map ------------------------------------------------------------------------------------ */

enum { KEYS = 5000 };
static struct { restate__map_node node; char key[8]; } nodes[KEYS];
static restate__map_node *top;

static unsigned depth_of(const restate__map_node *n) {
    if (!n) return 0;
    unsigned left = depth_of(n->left), right = depth_of(n->right);
    return 1 + (left > right ? left : right);
}

static void add_key(unsigned i) {
    snprintf(nodes[i].key, sizeof nodes[i].key, "%06u", i);
    restate__map_add(&top, &nodes[i].node, restate_str(nodes[i].key));
}

/* 2 log2(5001) is 24. */
static void check_map(void) {
    const restate__map_node *n = NULL;
    unsigned i = 0;
    CHECK(depth_of(top) <= 24);
    for (; (n = restate__map_next(top, n)) != NULL; i++) CHECK(i < KEYS && n == &nodes[i].node);
    CHECK_INT(i, KEYS);
    for (i = 0; i < KEYS; i++) CHECK(restate__map_find(top, restate_str(nodes[i].key)) == &nodes[i].node);
    CHECK(!restate__map_find(top, restate_str("000")) && !restate__map_find(top, restate_str("0000010")));
    memset(nodes, 0, sizeof nodes);
    top = NULL;
}

TEST(a_map_is_in_order_and_not_deep_in_whatever_order_keys_come) {
    for (unsigned i = 0; i < KEYS; i++) add_key(i);
    check_map();
    for (unsigned i = KEYS; i-- > 0;) add_key(i);
    check_map();
    for (unsigned i = 0; i < KEYS; i++) add_key(i * 1237 % KEYS);
    check_map();
}

/* ---- Deadlines -------------------------------------------------------------------------------- */

enum { DUES = 200 };

TEST(deadlines_come_in_order_and_of_one_time_the_first_that_was_set) {
    static restate__due dues[DUES], *all[DUES + 1], *first;
    restate__due_heap heap = { all, 0 };
    uint64_t before = 0, order = 0;
    for (size_t i = 0; i < DUES; i++) {
        dues[i] = (restate__due){ .at_ms = i * 77 % 20, .order = i };
        restate__due_set(&heap, &dues[i]);
    }
    for (size_t i = 0; i < DUES; i += 10) restate__due_remove(&heap, &dues[i]);
    dues[7].at_ms = 30;
    restate__due_set(&heap, &dues[7]);
    CHECK(!restate__due_first(&heap, 0) || all[1]->at_ms == 0);
    for (size_t n = DUES - DUES / 10; n; n--) {
        first = restate__due_first(&heap, UINT64_MAX);
        CHECK(first && (first->at_ms > before || (first->at_ms == before && first->order >= order)));
        if (!first) break;
        before = first->at_ms, order = first->order;
        restate__due_remove(&heap, first);
        CHECK_INT(first->place, 0);
    }
    CHECK(!restate__due_first(&heap, UINT64_MAX) && before == 30);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(utf8_is_what_rfc_3629_says), T(what_controls_a_terminal_is_not_shown),
        T(what_changes_the_direction_of_a_text_or_ends_its_line_is_not_shown),
        T(bytes_that_are_not_utf8_are_replaced_one_by_one), T(base64_has_one_form_where_it_is_signed),
        T(base64_that_is_written_is_read), T(ids_of_awakeables_are_those_that_the_server_decodes),
        T(scopes_have_few_characters_of_few_kinds), T(a_map_is_in_order_and_not_deep_in_whatever_order_keys_come),
        T(deadlines_come_in_order_and_of_one_time_the_first_that_was_set), {0}
    };
    return test_main(argc, argv, cases);
}
