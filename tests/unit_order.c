/* In which order futures settle, and who wins: the journal's order, by every way to ask for it.
 * Through the public functions only. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "exchange.h"

enum { LEAVES = 7, FUTURES = 24, LIST = 10 };               /* leaf 0 is what is awaited before */

typedef restate_future *combinator(restate_ctx *, restate_future *const *, size_t);
static combinator *const combinators[4] = { restate_race, restate_any, restate_all, restate_all_settled };

/* A program of this file: what futures there are, which are in the list, and what it waits for
 * before it asks for their order. */
typedef struct plan {
    int kinds[FUTURES], children[FUTURES][4], counts[FUTURES], made, list[LIST];    /* -1: NULL */
    bool waits;
} plan;

static plan the_plan;
static enum { SELECT, SELECTOR, LATE_SELECTOR, WAYS } way;

static void random_plan(plan *p) {
    p->made = LEAVES + 1 + (int)rt_dice(FUTURES - LEAVES - 1);
    for (int i = LEAVES; i < p->made; i++) {
        p->kinds[i] = (int)rt_dice(4);
        p->counts[i] = 1 + (int)rt_dice(4);
        for (int k = 0; k < p->counts[i]; k++) p->children[i][k] = 1 + (int)rt_dice((unsigned)i - 1);
    }
    for (int i = 0; i < LIST; i++) p->list[i] = rt_dice(6) == 0 ? -1 : 1 + (int)rt_dice((unsigned)p->made - 1);
    p->waits = rt_dice(2);
}

static void say(restate_ctx *ctx, restate_future *f) {
    restate_bytes value;
    restate_status s = restate_await(ctx, f, &value);
    tell(" %s", s != RESTATE_OK ? restate_failed(ctx)->message : value.ptr ? (const char *)value.ptr : "-");
}

/* Tells the indexes of the list in the order in which it learns that they are settled. */
static restate_status learns(restate_ctx *ctx, restate_bytes in) {
    const plan *p = &the_plan;
    restate_future *f[FUTURES], *list[LIST], *all[LIST], *early = NULL;
    restate_selector *left = NULL;
    size_t index, first = LIST, remaining = 0;
    (void)in;
    for (int i = 0; i < LEAVES; i++)
        f[i] = i < 5 ? restate_awakeable(ctx, NULL) : restate_signal(ctx, i == 5 ? "x" : "y");
    for (int i = LEAVES; i < p->made; i++) {
        restate_future *children[4];
        for (int k = 0; k < p->counts[i]; k++) children[k] = f[p->children[i][k]];
        f[i] = combinators[p->kinds[i]](ctx, children, (size_t)p->counts[i]);
    }
    for (int i = 0; i < LIST; i++) {
        list[i] = p->list[i] < 0 ? NULL : f[p->list[i]];
        remaining += list[i] != NULL;
    }
    memcpy(all, list, sizeof all);
    if (remaining) early = restate_race(ctx, list, LIST);
    if (way == SELECTOR) left = restate_selector_new(ctx, list, LIST);
    if (p->waits) RESTATE_TRY(restate_await(ctx, f[0], NULL));
    if (way == LATE_SELECTOR) left = restate_selector_new(ctx, list, LIST);
    while (remaining-- > 0) {
        if (left) RESTATE_TRY(restate_selector_next(ctx, left, &index));
        else RESTATE_TRY(restate_select(ctx, list, LIST, &index));
        CHECK(index < LIST && list[index] && restate_is_done(list[index]));
        tell("%zu ", index);
        list[index] = NULL;
        if (first == LIST) first = index;
    }
    if (!early) return RESTATE_OK;
    tell("race");
    say(ctx, all[first]);
    say(ctx, early);
    say(ctx, restate_race(ctx, all, LIST));
    say(ctx, restate_race(ctx, &all[first], 1));
    return RESTATE_OK;
}

static void random_answers(void) {
    int order[LEAVES];
    for (int i = 0; i < LEAVES; i++) order[i] = i;
    for (int i = LEAVES - 1; i > 0; i--) {
        int j = (int)rt_dice((unsigned)i + 1), t = order[i];
        order[i] = order[j], order[j] = t;
    }
    for (int i = 0; i < LEAVES; i++) {
        bool fails = rt_dice(4) == 0;
        unsigned n = (unsigned)order[i];
        char value[8];
        snprintf(value, sizeof value, "v%u", n);
        if (n < 5 && fails) note_signal_failure(17 + n, 500, value);
        else if (n < 5) note_signal(17 + n, value);
        else if (fails) frame(N_SIGNAL, "3s 6(1u 2s)", n == 5 ? "x" : "y", 500, value);
        else note_named(n == 5 ? "x" : "y", value);
    }
}

/* What a program tells when its journal comes at once, or in bytes. */
static char *told(unsigned seed, bool bytes) {
    char *copy;
    ex_begin(RESTATE_SERVICE, (restate_handler){ .fn = learns }, 6, false);
    ex.bytewise = bytes;
    rt.random = seed * 7919u;
    random_plan(&the_plan);
    invoke();
    start(1 + LEAVES); input("");
    random_answers();
    give();
    copy = strdup(ex_text(&ex.told));
    ex.told.len = 0;
    if (ex.told.at) *ex.told.at = 0;
    drop_said();
    ex_end();
    return copy;
}

/* The first of the list, a race that was there before, and one that was made when all was settled. */
static void one_winner(const char *text) {
    char winner[4][16];
    const char *at = strstr(text, "race");
    if (!at) return;
    CHECK_INT(sscanf(at, "race %15s %15s %15s %15s", winner[0], winner[1], winner[2], winner[3]), 4);
    for (int i = 1; i < 4; i++) CHECK_STR(winner[i], winner[0]);
}

TEST(select_and_selector_agree) {
    for (unsigned seed = 1; seed <= 1500; seed++) {
        char note[64], *first = NULL;
        for (int w = 0; w < WAYS; w++)
            for (int bytes = 0; bytes < 2; bytes++) {
                char *now;
                snprintf(note, sizeof note, "(seed %u, way %d, bytes %d)", seed, w, bytes);
                test_note = note;
                way = w;
                now = told(seed, bytes);
                one_winner(now);
                if (!first) first = now;
                else {
                    CHECK_STR(now, first);
                    free(now);
                }
            }
        free(first);
    }
    test_note = "";
}

static restate_status asks_late(restate_ctx *ctx, restate_bytes in) {
    static const char *const names[] = { "a", "b", "c" };
    restate_future *f[6];
    restate_selector *left = NULL;
    restate_bytes value;
    size_t index;
    (void)in;
    for (int i = 0; i < 6; i++) f[i] = restate_signal(ctx, names[i % 3]);
    RESTATE_TRY(restate_await(ctx, restate_awakeable(ctx, NULL), NULL));
    RESTATE_TRY(restate_await_for(ctx, restate_race(ctx, f, 3), 9, &value));
    tell("%s ", (const char *)value.ptr);
    if (way == SELECTOR) left = restate_selector_new(ctx, f, 6);
    for (int i = 0; i < 6; i++) {
        if (left) RESTATE_TRY(restate_selector_next(ctx, left, &index));
        else RESTATE_TRY(restate_select(ctx, f, 6, &index));
        RESTATE_TRY(restate_await(ctx, f[index], &value));
        tell("%s ", (const char *)value.ptr);
        f[index] = NULL;
    }
    return RESTATE_OK;
}

/* Signals of several names that came before anybody waited for them. */
TEST(named_signals_come_in_their_order) {
    for (int w = SELECT; w <= SELECTOR; w++)
        EACH(RESTATE_SERVICE, .fn = asks_late) {
            way = w;
            start(1); input("");
            note_named("b", "b1"); note_named("c", "c1"); note_named("c", "c2"); note_named("a", "a1"); note_named("b", "b2");
            note_named("a", "a2"); note_signal(17, "");
            give();
            TOLD("b1 b1 c1 c2 a1 b2 a2 ");
            drop_said();
        }
}

int main(int argc, char **argv) {
    static const test_case cases[] = { T(select_and_selector_agree), T(named_signals_come_in_their_order), { NULL, NULL } };
    return test_main(argc, argv, cases);
}
