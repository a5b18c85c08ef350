/* What is in cases/NAME.txt, written once more: Go reads the files, C has these. */
#include "interop.h"
#include <float.h>
#include <math.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Sets a repeated field, all its elements at once. */
#define SET(field, count, type, ...)                              \
    do {                                                          \
        static const type values[] = { __VA_ARGS__ };             \
        memcpy((field), values, sizeof values);                   \
        (count) = (pb_size_t)COUNT(values);                       \
    } while (0)

static interop_v1_Point point(int32_t x, int32_t y, const char *label) {
    interop_v1_Point p = interop_v1_Point_init_zero;
    p.x = x;
    p.y = y;
    strcpy(p.label, label);
    return p;
}

static void time_of(interop_v1_All *all, int64_t seconds, int32_t nanos) {
    all->has_at = true;
    all->at.seconds = seconds;
    all->at.nanos = nanos;
}

static void lasting(interop_v1_All *all, int64_t seconds, int32_t nanos) {
    all->has_lasts = true;
    all->lasts.seconds = seconds;
    all->lasts.nanos = nanos;
}

static void add_number(interop_v1_All *all, int64_t key, interop_v1_Point value) {
    interop_v1_All_ByNumberEntry *entry = &all->by_number[all->by_number_count++];
    entry->key = key;
    entry->has_value = true;
    entry->value = value;
}

static void add_text(interop_v1_All *all, const char *key, int64_t value) {
    interop_v1_All_ByTextEntry *entry = &all->by_text[all->by_text_count++];
    strcpy(entry->key, key);
    entry->value = value;
}

static void fill_empty(interop_v1_All *all) { (void)all; }

static void fill_scalars(interop_v1_All *all) {
    static const unsigned char raw[] = { 0, 1, 0xfe, 0xff, '?', '>' };
    all->flag = true;
    all->i32 = 12;
    all->i64 = -34;
    all->u32 = 56;
    all->u64 = 78;
    all->s32 = -90;
    all->s64 = 123456;
    all->f32 = 7;
    all->f64 = 8;
    all->sf32 = -9;
    all->sf64 = -10;
    all->single = 0.1f;
    all->double_wide = 0.1;
    strcpy(all->text, "Gr\303\274\303\237e, \"Ada\"\\ \t\n\r \001\177 </script> \342\202\254 "
                      "\360\235\204\236 \342\200\250");
    memcpy(all->raw.bytes, raw, sizeof raw);
    all->raw.size = sizeof raw;
    all->colour = interop_v1_Colour_DEEP_BLUE;
    all->size = interop_v1_All_Size_LARGE;
    all->far_field = 4;
}

static void fill_largest(interop_v1_All *all) {
    all->i32 = all->s32 = all->sf32 = all->far_field = INT32_MAX;
    all->i64 = all->s64 = all->sf64 = INT64_MAX;
    all->u32 = all->f32 = UINT32_MAX;
    all->u64 = all->f64 = UINT64_MAX;
    all->single = FLT_MAX;
    all->double_wide = DBL_MAX;
    all->colour = interop_v1_Colour_LAST;
    time_of(all, 253402300799, 999999999);
    lasting(all, 315576000000, 999999999);
}

static void fill_least(interop_v1_All *all) {
    all->i32 = all->s32 = all->sf32 = all->far_field = INT32_MIN;
    all->i64 = all->s64 = all->sf64 = INT64_MIN;
    all->single = 1e-45f;
    all->double_wide = 5e-324;
    all->colour = interop_v1_Colour_INFRA;
    time_of(all, -62135596800, 0);
    lasting(all, -315576000000, -999999999);
}

static void fill_beyond(interop_v1_All *all) {
    all->i64 = 9007199254740993;
    all->u64 = 9007199254740995;
    all->s64 = -9007199254740993;
    all->f64 = 9007199254740997;
    all->sf64 = -9007199254740995;
    SET(all->numbers, all->numbers_count, int64_t, 9007199254740993, -9007199254740993, INT64_MAX,
        INT64_MIN, 0);
    add_text(all, "2^53+1", 9007199254740993);
    add_number(all, 9007199254740993, point(1, 0, ""));
    add_number(all, INT64_MIN, point(0, -1, ""));
    all->has_maybe_number = true;
    all->maybe_number = -9007199254740997;
    all->which_choice = interop_v1_All_one_number_tag;
    all->choice.one_number = UINT64_MAX;
    all->has_inner = all->inner.has_deep = true;
    all->inner.deep.n = 9007199254740993;
    all->inner.deeper_count = 1;
    all->inner.deeper[0].n = -9007199254740993;
}

static void fill_floats(interop_v1_All *all) {
    static const double doubles[] = { 0, -0.0, 1e21, 1e-7, 123456789.125, 9007199254740992.0,
        2.2250738585072014e-308, HUGE_VAL, -HUGE_VAL, 0, 100, -1.5 };
    all->single = -0.0f;
    all->double_wide = -HUGE_VAL;
    memcpy(all->doubles, doubles, sizeof doubles);
    all->doubles[9] = NAN;
    all->doubles_count = (pb_size_t)COUNT(doubles);
    all->which_other = interop_v1_All_other_double_tag;
    all->other.other_double = NAN;
}

static void fill_nested(interop_v1_All *all) {
    interop_v1_All_Inner *inner = &all->inner;
    all->has_point = true;
    all->point = point(INT32_MIN, INT32_MAX, "corner");
    all->has_inner = inner->has_deep = true;
    inner->deep.n = 1;
    inner->deep.colour = interop_v1_Colour_RED;
    inner->deep.words_count = 3;
    strcpy(inner->deep.words[0], "a");
    strcpy(inner->deep.words[2], "c");
    inner->size = interop_v1_All_Size_LARGE;
    inner->deeper_count = 3;
    inner->deeper[0].n = 2;
    inner->deeper[2].colour = interop_v1_Colour_INFRA;
    inner->deeper[2].words_count = 1;
    strcpy(inner->deeper[2].words[0], "last");
    all->has_nothing = true;
    all->which_other = interop_v1_All_other_inner_tag;
    all->other.other_inner.has_deep = true;
}

static void fill_hollow(interop_v1_All *all) {
    all->has_point = all->has_inner = all->inner.has_deep = all->has_nothing = true;
    all->inner.deeper_count = 1;
    all->points_count = 2;
    all->has_maybe_point = true;
    all->which_choice = interop_v1_All_one_nothing_tag;
    all->which_other = interop_v1_All_other_inner_tag;
    all->has_at = all->has_lasts = true;
}

static void fill_repeated(interop_v1_All *all) {
    SET(all->numbers, all->numbers_count, int64_t, 0, 1, -1, 127, 128, 16384);
    SET(all->unpacked, all->unpacked_count, int32_t, 0, -1, 1, INT32_MAX, INT32_MIN);
    SET(all->doubles, all->doubles_count, double, 0.5);
    SET(all->flags, all->flags_count, bool, true, false, true);
    all->words_count = 4;
    strcpy(all->words[1], "two");
    strcpy(all->words[2], "two");
    strcpy(all->words[3], "\303\234n\303\257c\303\266d\303\251");
    all->raws_count = 3;
    all->raws[1].size = 1;
    all->raws[2].size = 2;
    memcpy(all->raws[2].bytes, "\377\376", 2);
    SET(all->colours, all->colours_count, interop_v1_Colour, interop_v1_Colour_RED,
        interop_v1_Colour_COLOUR_NONE, interop_v1_Colour_INFRA, interop_v1_Colour_LAST,
        interop_v1_Colour_RED);
    all->points_count = 2;
    all->points[0] = point(1, 0, "");
    all->points[1] = point(0, 2, "second");
}

static void fill_maps(interop_v1_All *all) {
    add_text(all, "", 0);
    add_text(all, "a \"quoted\" key", 1);
    add_text(all, "\303\237", -2);
    add_number(all, 0, point(0, 0, ""));
    add_number(all, -1, point(3, 0, "minus one"));
    all->by_flag_count = 2;
    all->by_flag[1].key = true;
    all->by_flag[1].value = interop_v1_Colour_DEEP_BLUE;
}

static void fill_optional(interop_v1_All *all) {
    all->has_maybe_number = all->has_maybe_text = all->has_maybe_raw = true;
    all->has_maybe_flag = all->has_maybe_colour = all->has_maybe_point = true;
}

static void fill_set(interop_v1_All *all) {
    fill_optional(all);
    all->maybe_number = -5;
    strcpy(all->maybe_text, "here");
    all->maybe_raw.size = 1;
    all->maybe_raw.bytes[0] = 1;
    all->maybe_flag = true;
    all->maybe_colour = interop_v1_Colour_LAST;
    all->maybe_point = point(6, -7, "p");
    time_of(all, 1764360000, 120000000);
    lasting(all, -1, -500000000);
}

static void fill_one_text(interop_v1_All *all) {
    all->which_choice = interop_v1_All_one_text_tag;
    strcpy(all->choice.one_text, "chosen");
}

static void fill_one_text_zero(interop_v1_All *all) {
    all->which_choice = interop_v1_All_one_text_tag;
}

static void fill_one_raw(interop_v1_All *all) {
    all->which_choice = interop_v1_All_one_raw_tag;
    all->choice.one_raw.size = 2;
    all->choice.one_raw.bytes[1] = 0xff;
}

static void fill_one_number_zero(interop_v1_All *all) {
    all->which_choice = interop_v1_All_one_number_tag;
}

static void fill_one_flag_zero(interop_v1_All *all) {
    all->which_choice = interop_v1_All_one_flag_tag;
    all->which_other = interop_v1_All_other_double_tag;
}

static void fill_one_colour(interop_v1_All *all) {
    all->which_choice = interop_v1_All_one_colour_tag;
    all->choice.one_colour = interop_v1_Colour_INFRA;
}

static void fill_one_point(interop_v1_All *all) {
    all->which_choice = interop_v1_All_one_point_tag;
    all->choice.one_point = point(-1, 0, "in a oneof");
}

static void fill_unnamed(interop_v1_All *all) {
    all->colour = (interop_v1_Colour)77;
    all->colours_count = 2;
    all->colours[0] = (interop_v1_Colour)3;
    all->colours[1] = interop_v1_Colour_RED;
    all->size = (interop_v1_All_Size)9;
}

#define CASE(name) { #name, fill_##name }
const interop_case interop_cases[] = {
    CASE(beyond), CASE(empty), CASE(floats), CASE(hollow), CASE(largest), CASE(least), CASE(maps),
    CASE(nested), CASE(one_colour), CASE(one_flag_zero), CASE(one_number_zero), CASE(one_point),
    CASE(one_raw), CASE(one_text), CASE(one_text_zero), CASE(optional), CASE(repeated),
    CASE(scalars), CASE(set), CASE(unnamed), { NULL, NULL }
};
