/* Section >>journal: what is awaited: signals, suspension, combinators, which result counts. A number in a
 * name is that of tests/scenarios.md; x_ are further cases. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/journal.c"

/* ---- Signals, awakeables, suspension -------------------------------------------------------- */

TEST(s058_awakeable_ids) {
    EVERY(5, 7) {
        given(1); eof(); go();
        op_awakeable();
        CHECK_STR(rt.awakeable, "sign_1MTIzAAAAEQ");
        AWAIT(op_awakeable(), "599");
        CHECK_STR(rt.awakeable, "sign_1MTIzAAAAEg");
        OUT("Suspension W{s:18,1}");
    }
}

TEST(s059_three_kinds) {
    EVERY(5, 7) {
        node *a, *s, *g;
        given(1); eof(); go();
        a = op_awakeable();
        s = op_signal("abc");
        g = op_get("Personaggio");
        AWAIT(RACE(a, s, g), "599");
        OUT("GetLazyState 1 \"Personaggio\"", "Suspension W{s:1,N:[{c:1,s:17,n:abc}]}");
    }
}

TEST(s060_race_of_awakeables) {
    EVERY(5, 7) {
        node *a, *b, *race;
        given(1); go();
        a = op_awakeable();
        b = op_awakeable();
        race = RACE(a, b);
        AWAIT(race, "WAIT(i)");
        OUT("AwaitingOn W{s:1,N:[{s:17,18}]}");
        note_signal(18, "my-value"); eof();
        AWAIT(race, "ANY");
        CHECK(!completed(a) && completed(b));
        VALUE(b, "\"my-value\"");
        CHECK(op_output("my-value") && op_end());
        OUT("Output value \"my-value\"", "End");
    }
}

TEST(s061_wait_again) {
    EVERY(5, 7) {
        node *a;
        given(1); go();
        a = op_awakeable();
        AWAIT(a, "WAIT(i)");
        AWAIT(a, "WAIT(i)");
        eof();
        AWAIT(a, "599");
        OUT("AwaitingOn W{s:17,1}", "? AwaitingOn W{s:17,1}", "Suspension W{s:17,1}");
    }
}

TEST(s062_two_leaves_of_a_name) {
    EVERY(5, 7) {
        node *a, *b;
        given(1); go();
        a = op_signal("n");
        b = op_signal("n");
        note_named("n", "1");
        AWAIT(b, "ANY");
        VALUE(b, "\"1\"");
        CHECK(!completed(a));
        note_named("n", "2");
        AWAIT(a, "ANY");
        VALUE(a, "\"2\"");
        VALUE(b, "\"1\"");
        OUT_NOTHING();
    }
}

TEST(s063_signal_in_the_replay) {
    EVERY(5, 7) {
        node *a;
        given(3); cmd_sleep(1, "", 0); note_signal(17, "v"); go();
        a = op_awakeable();
        AWAIT(a, "ANY");
        CHECK_INT(rt.vm.phase, RESTATE__REPLAYING);
        VALUE(a, "\"v\"");
        CHECK_INT(rt.vm.command_index, 0);
        op_sleep("", 0);
        CHECK_INT(rt.vm.command_index, 1);
        CHECK_INT(rt.vm.phase, RESTATE__PROCESSING);
        OUT_NOTHING();
    }
}

TEST(s064_answered_twice) {
    EVERY(5, 7) {
        node *s;
        given(1); note_sleep(1); go();
        s = op_sleep("", 0);
        AWAIT(s, "ANY");
        VALUE(s, "void");
        note_sleep(1);
        AWAIT(s, "ANY");
        VALUE(s, "void");
        OUT("Sleep 1");
    }
}

TEST(s065_race_in_the_replay) {
    EVERY(5, 7) {
        node *a, *b;
        given(5); cmd_sleep(1, "", 0); cmd_sleep(2, "", 0); note_sleep(2); cmd_sleep(3, "", 0); eof(); go();
        a = op_sleep("", 0);
        b = op_sleep("", 0);
        AWAIT(RACE(a, b), "ANY");
        CHECK(!completed(a) && completed(b));
        AWAIT(op_sleep("", 0), "599");
        OUT("Suspension W{c:3,s:1}");
    }
}

TEST(s066_nothing_before_an_await) {
    EVERY(5, 7) {
        node *s;
        given(1); note_sleep(1); go();
        s = op_sleep("", 0);
        CHECK(!completed(s));
        VALUE(s, "-");
        AWAIT(s, "ANY");
        CHECK(completed(s));
        OUT("Sleep 1");
    }
}

TEST(s067_tree_shrinks) {
    EVERY(5, 7) {
        node *a, *b, *c, *all;
        given(1); go();
        a = op_awakeable(), b = op_awakeable(), c = op_awakeable();
        all = ALL_SETTLED(a, b, c);
        AWAIT(all, "WAIT(i)");
        note_signal(17, "x");
        AWAIT(all, "WAIT(i)");
        note_signal(18, "x");
        AWAIT(all, "WAIT(i)");
        eof();
        AWAIT(all, "599");
        OUT("AwaitingOn W{s:1,N:[ALL_COMPLETED{s:17,18,19}]}", "AwaitingOn W{s:1,N:[ALL_COMPLETED{s:18,19}]}",
            "AwaitingOn W{s:1,N:[ALL_COMPLETED{s:19}]}", "Suspension W{s:1,N:[ALL_COMPLETED{s:19}]}");
    }
}

TEST(s068_no_awaiting_on_in_5_and_6) {
    EVERY(5, 6) {
        node *s;
        given(1); go();
        s = op_sleep("", 0);
        AWAIT(s, "WAIT(i)");
        note_named("x", "y");
        AWAIT(s, "WAIT(i)");
        OUT("Sleep 1");
    }
}

TEST(x_signals_wait_in_order) {
    EVERY(5, 7) {
        node *a, *b, *other;
        given(1); note_named("n", "1"); note_named("n", "2"); note_signal(17, "x"); go();
        other = op_awakeable();
        AWAIT(other, "ANY");                                /* both of n are delivered by now, to nobody */
        a = op_signal("n");
        AWAIT(a, "ANY");
        VALUE(a, "\"1\"");
        b = op_signal("n");
        AWAIT(b, "ANY");
        VALUE(b, "\"2\"");
        AWAIT(op_signal("n"), "WAIT(i)");
        OUT("AwaitingOn W{s:1,n:n}");
    }
}

TEST(x_early_answers_are_kept) {
    EVERY(5, 7) {
        node *nodes[40];
        given(1); go();
        for (unsigned i = 40; i >= 1; i--) note_value(N_GET_PROMISE, i, "v");
        for (unsigned i = 0; i < 40; i++) nodes[i] = op_get_promise("p");
        AWAIT(rt_combine(RESTATE__ALL, nodes, 40), "ANY");
        for (unsigned i = 0; i < 40; i++) VALUE(nodes[i], "\"v\"");
        drop_output();
    }
}

TEST(x_reserved_signals_are_harmless) {
    EVERY(5, 7) {
        node *a;
        given(1);
        for (unsigned i = 2; i <= 16; i++) note_signal(i, "x");
        note_signal(0, "x"); note_signal(17, "v"); go();
        AWAIT((a = op_awakeable()), "ANY");
        VALUE(a, "\"v\"");
    }
}

/* ---- Combinators: leaf i is awakeable i, signal 17 + i -------------------------------------- */

enum { LEAVES = 6 };
static node *leaf[LEAVES];

static void make_leaves(void) {
    for (int i = 0; i < LEAVES; i++) leaf[i] = op_awakeable();
}

/* "all(0,race(1,2))" */
static node *tree(const char **text) {
    static const struct { const char *name; restate__node_kind kind; } kinds[] = {
        { "allSettled", RESTATE__ALL_SETTLED }, { "all", RESTATE__ALL }, { "any", RESTATE__ANY }, { "race", RESTATE__RACE }
    };
    node *children[16];
    size_t len = strcspn(*text, "("), k = 0, n = 0;
    if (**text >= '0' && **text <= '9') return leaf[*(*text)++ - '0'];
    while (k < 3 && (strlen(kinds[k].name) != len || memcmp(kinds[k].name, *text, len) != 0)) k++;
    for (*text += len + 1; **text != ')'; *text += **text == ',') children[n++] = tree(text);
    ++*text;
    return rt_combine(kinds[k].kind, children, n);
}

static node *tree_of(const char *text) { return tree(&text); }

/* "f0,1": awakeable 0 fails, awakeable 1 gets a value. */
static void notify(const char *text) {
    for (; *text; text++) {
        if (*text == 'f') note_signal_failure(17u + (unsigned)(*++text - '0'), 500, "no");
        else if (*text != ',') note_signal(17u + (unsigned)(*text - '0'), "v");
    }
}

static const char *completed_leaves(void) {                 /* "0,2" */
    static char text[2 * LEAVES];
    size_t n = 0;
    for (int i = 0; i < LEAVES; i++)
        if (completed(leaf[i])) n += (size_t)snprintf(text + n, sizeof text - n, "%s%d", n ? "," : "", i);
    text[n] = 0;
    return text;
}

static node *combinator_root;

static void begin_combinator(const char *what) {
    rt.options.explicit_cancellation = true;
    given(1); go();
    make_leaves();
    combinator_root = tree_of(what);
}

static void combinator_settles(const char *what, const char *notes, const char *done) {
    EVERY(5, 7) {
        begin_combinator(what);
        notify(notes);
        AWAIT(combinator_root, "ANY");
        CHECK_STR(completed_leaves(), done);
        OUT_NOTHING();
    }
}

TEST(s069_race) {
    combinator_settles("race(0,1)", "1,0", "1");
    combinator_settles("race(0,1)", "f0", "0");
}

/* `remaining` is what is still waited for after all of the notifications, which come at once or one by one. */
static void combinator_waits(const char *what, const char *notes, const char *remaining) {
    char awaiting[128], suspension[128];
    snprintf(awaiting, sizeof awaiting, "AwaitingOn %s", remaining);
    snprintf(suspension, sizeof suspension, "Suspension %s", remaining);
    for (int split = 0; split < 2; split++)
        EVERY(5, 7) {
            begin_combinator(what);
            for (const char *at = notes; *at; at += strspn(at, ",")) {
                char one[4] = "";
                memcpy(one, at, strcspn(at, ","));
                at += strlen(one);
                notify(one);
                drop_output();
                if (split) AWAIT(combinator_root, "WAIT(i)");
            }
            if (!split) AWAIT(combinator_root, "WAIT(i)");
            OUT(awaiting);
            eof();
            AWAIT(combinator_root, "599");
            OUT(suspension);
        }
}

TEST(s070_all_settled) { combinator_waits("allSettled(0,1)", "1", "ALL_COMPLETED{s:17}"); }

TEST(s071_any_after_a_failure) { combinator_waits("any(0,1,2)", "f0", "FIRST_SUCCEEDED{s:18,19}"); }

TEST(s072_any_all_failed) { combinator_settles("any(0,1)", "f0,f1", "0,1"); }

TEST(s073_any_succeeds) { combinator_settles("any(0,1,2)", "f0,2,1", "0,2"); }

TEST(s074_all_waits) { combinator_waits("all(0,1,2)", "0", "ALL_SUCCEEDED{s:18,19}"); }

TEST(s075_all_fails) { combinator_settles("all(0,1,2)", "f1,0", "1"); }

TEST(s076_settled_race_and_settled) {
    EVERY(5, 7) {
        begin_combinator("allSettled(race(0,1),allSettled(0,1,2))");
        notify("1,0,2");
        AWAIT(combinator_root, "ANY");
        CHECK_STR(completed_leaves(), "1");
        VALUE(leaf[1], "\"v\"");
        AWAIT(combinator_root, "ANY");
        CHECK_STR(completed_leaves(), "0,1,2");
        CHECK_INT(combinator_root->state, RESTATE__SUCCEEDED);
        OUT_NOTHING();
    }
}

TEST(s077_settled_of_two_races) {
    EVERY(5, 7) {
        begin_combinator("allSettled(race(0,1),race(2,1))");
        notify("2,1");
        AWAIT(combinator_root, "ANY");
        CHECK_STR(completed_leaves(), "2");
        VALUE(leaf[2], "\"v\"");
        AWAIT(combinator_root, "ANY");
        CHECK_STR(completed_leaves(), "1,2");
        OUT_NOTHING();
    }
}

TEST(s078_failures_inside_settled) {
    combinator_waits("all(allSettled(0,1),allSettled(2,3))", "f1,f0", "ALL_SUCCEEDED{N:[ALL_COMPLETED{s:19,20}]}");
}

TEST(s081_duplicates) {
    combinator_settles("allSettled(1,1)", "1", "1");
    combinator_settles("any(1,1)", "1", "1");
    combinator_settles("race(1,1,2)", "1", "1");
    combinator_settles("all(1,1)", "1", "1");
    combinator_settles("any(1,1)", "f1", "1");
    combinator_waits("all(1,1,0)", "1", "ALL_SUCCEEDED{s:17}");
    combinator_settles("allSettled(all(1,2),any(1,1),race(2,2))", "f2,1", "2");
}

TEST(s082_await_again_without_take) {
    EVERY(5, 7) {
        begin_combinator("race(0,1)");
        notify("1");
        for (int i = 0; i < 3; i++) AWAIT(combinator_root, "ANY");
        AWAIT(leaf[1], "ANY");
        AWAIT(leaf[1], "ANY");
        OUT_NOTHING();
    }
}

TEST(s083_empty) {
    static const restate__node_kind kinds[] = { RESTATE__ALL, RESTATE__ALL_SETTLED, RESTATE__ANY };
    for (size_t i = 0; i < 3; i++)
        EVERY(5, 7) {
            node *empty;
            given(1); go();
            empty = rt_combine(kinds[i], NULL, 0);
            AWAIT(empty, "ANY");
            CHECK_INT(empty->state, kinds[i] == RESTATE__ANY ? RESTATE__FAILED : RESTATE__SUCCEEDED);
            OUT_NOTHING();
        }
    for (int explicit = 0; explicit < 2; explicit++)
        EVERY(5, 7) {                                       /* never, and nothing empty reaches the wire */
            node *empty;
            rt.options.explicit_cancellation = explicit;
            given(1); eof(); go();
            empty = rt_combine(RESTATE__RACE, NULL, 0);
            CHECK_INT(empty->state, RESTATE__PENDING);
            CHECK_STR(await(empty), explicit ? "500" : "599");
            if (explicit) OUT("Error 500...");
            else OUT("Suspension W{s:1}");
        }
}

TEST(x_empty_branches_are_pruned) {
    EVERY(5, 7) {
        node *empty, *also, *all;
        given(1); eof(); go();
        make_leaves();
        empty = rt_combine(RESTATE__RACE, NULL, 0);
        also = RACE(empty);
        all = ALL(leaf[0], also, RACE(empty, leaf[1]));
        AWAIT(all, "599");
        OUT("Suspension W{s:1,N:[ALL_SUCCEEDED{s:17,N:[W{s:18}]}]}");
    }
}

TEST(x_combine_what_is_settled) {
    EVERY(5, 7) {
        node *settled, *all, *any, *race, *any2;
        given(1); note_signal(17, "v"); note_signal_failure(18, 500, "no"); go();
        make_leaves();
        AWAIT(leaf[1], "ANY");
        settled = ALL_SETTLED(leaf[0], leaf[1]);
        CHECK_INT(settled->state, RESTATE__SUCCEEDED);
        all = ALL(leaf[0], leaf[1], leaf[2]);
        CHECK_INT(all->state, RESTATE__FAILED);
        any = ANY(leaf[1], leaf[0], leaf[2]);
        CHECK_INT(any->state, RESTATE__SUCCEEDED);
        race = RACE(leaf[2], leaf[1]);
        CHECK_INT(race->state, RESTATE__FAILED);
        any2 = ANY(leaf[1], leaf[2]);
        CHECK_INT(any2->state, RESTATE__PENDING);
        AWAIT(all, "ANY");
        AWAIT(race, "ANY");
        AWAIT(any2, "WAIT(i)");
        OUT("AwaitingOn W{s:1,N:[FIRST_SUCCEEDED{s:19}]}");
    }
}

/* Random trees against the definition of what settles what. */

typedef struct model { restate__node_kind kind; int leaf; struct model *children[4]; int count; restate__node_state state; node *real; } model;

static model *random_model(int depth) {
    model *m = (model *)rt_alloc(sizeof *m);
    if (depth == 0 || rt_dice(4) == 0) {
        m->kind = RESTATE__LEAF;
        m->leaf = (int)rt_dice(LEAVES);
        m->real = leaf[m->leaf];
        return m;
    }
    m->kind = (restate__node_kind)(1 + rt_dice(4));
    m->count = 1 + (int)rt_dice(4);
    {
        node *children[4];
        for (int i = 0; i < m->count; i++) {
            m->children[i] = random_model(depth - 1);
            children[i] = m->children[i]->real;
        }
        m->real = rt_combine(m->kind, children, (size_t)m->count);
    }
    return m;
}

static bool model_unclear;                                  /* one leaf settled children of a race in both ways */

/* What the children of a combinator mean for it. */
static restate__node_state model_state(const model *m) {
    int pending = 0, failed = 0, succeeded = 0;
    for (int i = 0; i < m->count; i++) {
        restate__node_state s = m->children[i]->state;
        pending += s == RESTATE__PENDING;
        failed += s == RESTATE__FAILED;
        succeeded += s == RESTATE__SUCCEEDED;
    }
    switch (m->kind) {
    case RESTATE__ALL_SETTLED: return pending ? RESTATE__PENDING : RESTATE__SUCCEEDED;
    case RESTATE__ANY: return succeeded ? RESTATE__SUCCEEDED : pending ? RESTATE__PENDING : RESTATE__FAILED;
    case RESTATE__ALL: return failed ? RESTATE__FAILED : pending ? RESTATE__PENDING : RESTATE__SUCCEEDED;
    default:
        if (failed && succeeded) model_unclear = true;
        return failed ? RESTATE__FAILED : succeeded ? RESTATE__SUCCEEDED : RESTATE__PENDING;
    }
}

/* Updates from the leaves up. True if there is something to look at: a combinator was decided by one
 * child while others may go on; not if it is below one that was settled before (`gone`). */
static bool model_update(model *m, const restate__node_state *leaves, bool gone) {
    bool stop = false;
    if (m->kind == RESTATE__LEAF) {
        m->state = leaves[m->leaf];
        return false;
    }
    gone = gone || m->state != RESTATE__PENDING;
    for (int i = 0; i < m->count; i++) stop |= model_update(m->children[i], leaves, gone);
    if (m->state != RESTATE__PENDING) return stop;
    m->state = model_state(m);
    if (m->state == RESTATE__PENDING || gone) return stop;
    return stop || m->kind == RESTATE__RACE ||
           (m->kind == RESTATE__ANY && m->state == RESTATE__SUCCEEDED) || (m->kind == RESTATE__ALL && m->state == RESTATE__FAILED);
}

static void model_print(rt_bytes *to, const model *m) {
    static const char *const names[] = { "", "race", "allSettled", "any", "all" };
    if (m->kind == RESTATE__LEAF) rt_print(to, "%d", m->leaf);
    else rt_print(to, "%s(", names[m->kind]);
    for (int i = 0; i < m->count; i++) {
        if (i) rt_print(to, ",");
        model_print(to, m->children[i]);
    }
    if (m->kind != RESTATE__LEAF) rt_print(to, ")");
}

TEST(x_random_trees) {
    for (unsigned seed = 1; seed <= 3000; seed++) {
        restate__node_state states[LEAVES] = { RESTATE__PENDING };
        int order[LEAVES];
        bool fails[LEAVES];
        model *root;
        rt_bytes text = { NULL, 0, 0 };
        rt_begin(7, RT_WHOLE);
        model_unclear = false;
        rt.random = seed * 7919u;
        rt.ignore_output = true;
        rt.options.explicit_cancellation = true;
        given(1); go();
        make_leaves();
        root = random_model(1 + (int)rt_dice(3));
        for (int i = 0; i < LEAVES; i++) order[i] = i, fails[i] = rt_dice(2);
        for (int i = LEAVES - 1; i > 0; i--) {
            int j = (int)rt_dice((unsigned)i + 1), t = order[i];
            order[i] = order[j], order[j] = t;
        }
        model_print(&text, root);
        for (int i = 0; i < LEAVES; i++) rt_print(&text, " %s%d", fails[order[i]] ? "f" : "", order[i]);
        test_note = (const char *)text.at;
        for (int i = 0; i < LEAVES; i++) {
            if (fails[order[i]]) note_signal_failure(17u + (unsigned)order[i], 500, "no");
            else note_signal(17u + (unsigned)order[i], "v");
        }
        for (int i = 0; i < LEAVES && root->state == RESTATE__PENDING; i++) {
            bool stop;
            states[order[i]] = fails[order[i]] ? RESTATE__FAILED : RESTATE__SUCCEEDED;
            stop = model_update(root, states, false);
            if (model_unclear) break;
            if (!stop && root->state == RESTATE__PENDING) continue;
            AWAIT(root->real, "ANY");
            CHECK_INT(root->real->state != RESTATE__PENDING, root->state != RESTATE__PENDING);
            for (int k = 0; k < LEAVES; k++) CHECK_INT(leaf[k]->state, states[k]);      /* not one notification too many */
        }
        rt_end();
        test_note = "";
        rt_drop(&text);
        if (test_failures) break;
    }
    rt_drop(&rt.raw);
    rt_drop(&rt_script);
}

/* ---- What is said of graphs ----------------------------------------------------------------- */

static size_t said_bytes(void) { drop_output(); return rt.raw.len; }

/* f = all(f, f) and the like: nodes are few, paths are not. */
TEST(shared_children_are_said_once) {
    static const restate__node_kind kinds[] = { RESTATE__RACE, RESTATE__ALL_SETTLED, RESTATE__ANY, RESTATE__ALL };
    for (size_t k = 0; k < 4; k++)
        for (int shape = 0; shape < 3; shape++)
            EVERY(5, 7) {
                node *f, *before, *two;
                size_t live;
                rt.options.explicit_cancellation = k % 2;
                given(1); go();
                f = before = op_awakeable();
                live = rt.memory.live;
                for (int i = 0; i < 60; i++) {
                    two = shape == 0 ? f : shape == 1 ? before : ALL_SETTLED(f, before);
                    before = f;
                    f = rt_combine(kinds[k], (node *const[]){ f, two }, 2);
                }
                AWAIT(f, "WAIT(i)");
                eof();
                AWAIT(f, "599");
                CHECK(said_bytes() < 2000);
                CHECK(rt.memory.live - live < 200000);
            }
}

static size_t last_frame(void) {                            /* its place in the output */
    size_t at = 0, last = 0;
    drop_output();
    for (; at < rt.raw.len; at += 8 + restate__b_get32(rt.raw.at + at + 4)) last = at;
    return last;
}

TEST(shared_leaves_are_said_once) {
    EVERY(5, 7) {                                           /* beside the tree, and not within */
        node *a, *b, *c, *n;
        given(1); eof(); go();
        a = op_awakeable(), b = op_awakeable(), c = op_awakeable(), n = op_signal("n");
        AWAIT(ALL(RACE(a, b, n), RACE(a, c, op_signal("n"))), "599");
        OUT("Suspension W{s:1,17,n:n,N:[ALL_SUCCEEDED{N:[W{s:18},W{s:19}]}]}");
        CHECK_INT(last_frame(), 0);
        CHECK_INT(rt.raw.len, rt.version < 7 ? 8 + 2 + 4 + 3 : 8 + 2 + 2 + 3 + 4 + 2 + 2 * 7 + 2 + 2 - 2);
    }
    EVERY(5, 7) {                                           /* so for a combinator, with a top of its own */
        node *a, *b, *c, *both;
        rt.options.explicit_cancellation = true;
        given(1); eof(); go();
        a = op_awakeable(), b = op_awakeable(), c = op_awakeable();
        both = ALL_SETTLED(a, b);
        AWAIT(ALL(RACE(both, c), ANY(both, op_sleep("", 1))), "599");
        OUT("Sleep 1 wake:1", "Suspension W{N:[ALL_SUCCEEDED{N:[W{s:19},FIRST_SUCCEEDED{c:1}]},ALL_COMPLETED{s:17,18}]}");
    }
    EVERY(5, 7) {                                           /* twice in one combinator is no sharing */
        node *a, *b;
        given(1); eof(); go();
        a = op_awakeable(), b = RACE(op_awakeable(), a);
        AWAIT(ALL(b, b, b), "599");
        OUT("Suspension W{s:1,N:[ALL_SUCCEEDED{N:[W{s:17,18}]}]}");
    }
}

/* Before protocol 7 the lists have what a combinator itself waits for, then what those below it do. */
TEST(lists_have_the_order_of_the_tree) {
    EVERY(5, 6) {
        node *shared, *below, *f;
        rt.options.explicit_cancellation = true;
        given(1); eof(); go();
        shared = ALL_SETTLED(op_awakeable(), op_awakeable());
        below = ANY(shared, ANY(op_awakeable()));
        f = ALL(below, op_awakeable(), shared);
        AWAIT(f, "599");
        CHECK_STR(rt_last_hex(), "0001000000000006" "1204" "14111213");
        drop_output();
    }
}

/* Whether what was said is decided by the answers so far: bits of awakeables. */
static int decided(const rt_tree *t, unsigned there, unsigned failed) {     /* 0 pending, 1 succeeded, 2 failed */
    size_t pending = 0, good = 0, bad = 0;
    for (size_t i = 0; i < t->count[1]; i++) {
        unsigned bit = 1u << (t->ids[1][i] - 17);
        if (!(there & bit)) pending++;
        else if (failed & bit) bad++;
        else good++;
    }
    for (size_t i = 0; i < t->nested_count; i++) {
        int d = decided(t->nested[i], there, failed);
        if (d == 0) pending++;
        else if (d == 1) good++;
        else bad++;
    }
    switch (t->kind) {
    case RESTATE__ALL_SETTLED: return pending ? 0 : 1;
    case RESTATE__ANY: return good ? 1 : pending ? 0 : 2;
    case RESTATE__ALL: return bad ? 2 : pending ? 0 : 1;
    default: return good ? 1 : bad ? 2 : 0;
    }
}

/* The runtime resumes as soon as what was said is decided. Whatever is shared, that is never later than
 * the handler could go on. */
TEST(nothing_is_said_too_late) {
    unsigned shared = 0;
    for (unsigned seed = 1; seed <= 3000; seed++) {
        enum { AWAKEABLES = 6, NODES = 14 };
        node *n[NODES];
        rt_tree *said;
        unsigned there = 0, failed = 0, order[AWAKEABLES];
        char note[32];
        size_t at;
        rt_field f = { 0, 0, 0, NULL, 0 };
        const uint8_t *p;
        snprintf(note, sizeof note, "(seed %u)", seed);
        test_note = note;
        rt_begin(7, RT_WHOLE);
        rt.ignore_output = true;
        rt.options.explicit_cancellation = true;
        rt.random = seed * 7919u;
        given(1); go();
        for (unsigned i = 0; i < AWAKEABLES; i++) n[i] = op_awakeable();
        for (unsigned i = AWAKEABLES; i < NODES; i++) {
            node *children[4];
            unsigned count = 1 + rt_dice(4);
            for (unsigned k = 0; k < count; k++) children[k] = n[i == NODES - 1 && !k ? i - 1 : rt_dice(i)];
            n[i] = rt_combine((restate__node_kind)(1 + rt_dice(4)), children, count);
        }
        AWAIT(n[NODES - 1], "WAIT(i)");
        at = last_frame();
        p = rt.raw.at + at + 8;
        CHECK(rt_next_field(&p, rt.raw.at + rt.raw.len, &f) == 1 && f.number == 1);
        said = rt_tree_read(f.at, f.len);
        {                                                   /* each id once */
            rt_tree *flat = (rt_tree *)rt_alloc(sizeof *flat);
            unsigned seen = 0;
            rt_tree_flatten(flat, said);
            for (size_t i = 0; i < flat->count[1]; i++) {
                CHECK(!(seen >> (flat->ids[1][i] - 17) & 1));
                seen |= 1u << (flat->ids[1][i] - 17);
            }
            shared += said->nested_count > 1;
        }
        for (unsigned i = 0; i < AWAKEABLES; i++) order[i] = i;
        for (unsigned i = AWAKEABLES - 1; i > 0; i--) {
            unsigned j = rt_dice(i + 1), t = order[i];
            order[i] = order[j], order[j] = t;
        }
        for (unsigned i = 0; i < AWAKEABLES; i++) {
            if (rt_dice(2)) {
                note_signal_failure(17 + order[i], 500, "no");
                failed |= 1u << order[i];
            } else {
                note_signal(17 + order[i], "v");
            }
            there |= 1u << order[i];
            await(n[NODES - 1]);
            if (n[NODES - 1]->state == RESTATE__PENDING) continue;
            CHECK(decided(said, there, failed));
            break;
        }
        rt_end();
        rt_drop(&rt.raw);
    }
    CHECK(shared > 300);                                    /* the graphs are of the kind that is meant */
    test_note = "";
}

/* ---- The first result of every kind of future ----------------------------------------------- */

typedef enum kind {
    SLEEP, PROMISE, PEEK, COMPLETE, CALL, CALL_ID, SEND_ID, ATTACH, OUTPUT, STATE, KEYS, RUN, AWAKEABLE, KINDS
} kind;

static const struct { unsigned type, id; bool fails; } kinds[KINDS] = {
    { N_SLEEP, 1, false }, { N_GET_PROMISE, 1, true }, { N_PEEK_PROMISE, 1, true }, { N_COMPLETE_PROMISE, 1, true },
    { N_CALL, 2, true }, { N_CALL_ID, 1, false }, { N_CALL_ID, 1, false }, { N_ATTACH, 1, true }, { N_GET_OUTPUT, 1, true },
    { N_GET_LAZY, 1, true }, { N_GET_LAZY_KEYS, 1, false }, { N_RUN, 1, true }, { N_SIGNAL, 17, true }
};

static node *ask(kind k) {
    switch (k) {
    case SLEEP: return op_sleep("", 1);
    case PROMISE: return op_get_promise("p");
    case PEEK: return op_peek_promise("p");
    case COMPLETE: return op_complete_promise("p", "v", false);
    case CALL: return op_call(.parameter = rt_b("x")).result;
    case CALL_ID: return op_call(.parameter = rt_b("x")).id;
    case SEND_ID: return op_send(.parameter = rt_b("x"));
    case ATTACH: return op_attach((restate__vm_target){ .kind = RESTATE__BY_ID, .id = "inv" });
    case OUTPUT: return op_get_output((restate__vm_target){ .kind = RESTATE__BY_ID, .id = "inv" });
    case STATE: return op_get("key");
    case KEYS: return op_get_keys();
    case RUN: return op_run("r");
    default: return op_awakeable();
    }
}

static void recorded(kind k) {                              /* its command, as an earlier attempt issued it */
    switch (k) {
    case SLEEP: cmd_sleep(1, "", 1); break;
    case PROMISE: cmd_get_promise(1, "p"); break;
    case PEEK: cmd_peek_promise(1, "p"); break;
    case COMPLETE: frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "v", 1); break;
    case CALL: case CALL_ID: cmd_call(1, "x"); break;
    case SEND_ID: cmd_send(1, "x"); break;
    case ATTACH: frame(M_ATTACH, "1s 11u", "inv", 1); break;
    case OUTPUT: frame(M_GET_OUTPUT, "1s 11u", "inv", 1); break;
    case STATE: cmd_get_lazy(1, "key"); break;
    case KEYS: cmd_get_lazy_keys(1); break;
    case RUN: cmd_run(1, "r"); break;
    default: cmd_clear("c"); break;                         /* awakeables are not recorded */
    }
}

/* A result that says `text`; `failure`: where the kind can fail, a failure that says so. */
static void answer(kind k, const char *text, bool failure) {
    unsigned type = kinds[k].type, id = kinds[k].id;
    if (k == SLEEP) note_sleep(id);
    else if (type == N_CALL_ID) note_id(id, text);
    else if (k == KEYS) frame(type, "1u 17(1s)", id, text);
    else if (k == AWAKEABLE && failure) note_signal_failure(id, 400, text);
    else if (k == AWAKEABLE) note_signal(id, text);
    else if (failure) note_failure(type, id, 400, text);
    else note_value(type, id, text);
}

static const char *expected(kind k, const char *text, bool failure) {
    static char said[64];
    const char *format = k == SLEEP ? "void" : kinds[k].type == N_CALL_ID ? "id \"%s\"" : k == KEYS ? "[%s]"
                       : failure ? "failure 400 \"%s\"" : "\"%s\"";
    snprintf(said, sizeof said, format, text);
    return said;
}

/* When the two results come. */
typedef enum when {
    BEFORE_THE_QUESTION,                                    /* both in the journal, nobody has asked */
    WITH_ANOTHER_AWAIT,                                     /* both delivered by an await of something else */
    BEFORE_THE_AWAIT,                                       /* both arrived and not delivered */
    AROUND_THE_AWAIT,                                       /* the second when the first was awaited */
    AFTER_ALL_IS_OVER,                                      /* the second by an await of something else */
    WHENS
} when;

/* What a reader sees at each point of an order. */
static void twice(kind k, when w, bool first_fails, bool second_fails, bool replay) {
    node *leaf, *other, *all, *race;
    bool early = w == BEFORE_THE_QUESTION || w == WITH_ANOTHER_AWAIT;
    char want[64];
    snprintf(want, sizeof want, "%s", expected(k, "one", first_fails));
    rt.ignore_output = true;
    given(replay ? 4 + (early || w == BEFORE_THE_AWAIT ? 2 : 0) : 1);
    if (replay) recorded(k);
    if (replay) cmd_sleep(kinds[k].id == 17 ? 1 : k == CALL || k == CALL_ID ? 3 : 2, "", 9), cmd_clear("end");
    if (early || (replay && w == BEFORE_THE_AWAIT)) answer(k, "one", first_fails), answer(k, "two", second_fails);
    go();
    leaf = ask(k);
    if (k == AWAKEABLE && replay) op_clear("c");
    CHECK(leaf->state == RESTATE__PENDING);
    other = op_sleep("", 9);
    if (replay) CHECK(op_clear("end"));
    all = ALL(leaf, other);
    race = RACE(leaf, other);
    if (w == WITH_ANOTHER_AWAIT) {
        note_sleep(other->id);
        AWAIT(other, "ANY");
        VALUE(leaf, want);
    }
    if (!early && !(replay && w == BEFORE_THE_AWAIT)) {
        answer(k, "one", first_fails);
        if (w == BEFORE_THE_AWAIT) answer(k, "two", second_fails);
    }
    AWAIT(leaf, "ANY");
    VALUE(leaf, want);
    CHECK_INT(race->state, first_fails ? RESTATE__FAILED : RESTATE__SUCCEEDED);
    if (w == AROUND_THE_AWAIT) {
        answer(k, "two", second_fails);
        AWAIT(leaf, "ANY");
        VALUE(leaf, want);
    }
    if (w == AFTER_ALL_IS_OVER) answer(k, "two", second_fails);
    if (w != WITH_ANOTHER_AWAIT) note_sleep(other->id);
    AWAIT(other, "ANY");
    AWAIT(leaf, "ANY");
    VALUE(leaf, want);
    CHECK_INT(leaf->state, first_fails ? RESTATE__FAILED : RESTATE__SUCCEEDED);
    CHECK_INT(all->state, first_fails ? RESTATE__FAILED : RESTATE__SUCCEEDED);
    CHECK(race->of.all.decided == leaf);
    CHECK_INT(vm()->phase, RESTATE__PROCESSING);            /* no order is an error */
}

TEST(the_first_result_wins) {
    for (int replay = 0; replay < 2; replay++)
        for (int k = 0; k < KINDS; k++)
            for (int w = 0; w < WHENS; w++)
                for (int f = 0; f < (kinds[k].fails ? 4 : 1); f++)
                    EVERY(5, 7) {
                        char note[160];
                        snprintf(note, sizeof note, "(kind %d, order %d, failures %d, replay %d) %s", k, w, f, replay, rt_where);
                        test_note = note;
                        twice((kind)k, (when)w, f & 1, f & 2, replay);
                    }
}

/* A second result of another kind than what was asked for is dropped like any other. */
TEST(a_second_result_of_a_wrong_kind) {
    EVERY(5, 7) {
        node *id, *state;
        rt.ignore_output = true;
        given(1); note_id(1, "one"); note_value(N_CALL_ID, 1, "two"); go();
        id = op_call(.parameter = rt_b("x")).id;
        AWAIT(id, "ANY");
        VALUE(id, "id \"one\"");
        state = op_get("key");
        note_value(N_GET_LAZY, 3, "one");
        AWAIT(state, "ANY");
        note_id(3, "two");
        AWAIT(op_sleep("", 1), "WAIT(i)");
        VALUE(state, "\"one\"");
    }
}

/* What this attempt answered by itself is not replaced either. */
TEST(an_eager_read_stays) {
    EVERY(5, 7) {
        node *state;
        rt.ignore_output = true;
        start(1, .state = "key=mine"); input(""); note_value(N_GET_LAZY, 1, "theirs"); go();
        state = op_get("key");
        note_value(N_GET_LAZY, 1, "later");
        AWAIT(op_sleep("", 1), "WAIT(i)");
        AWAIT(state, "ANY");
        VALUE(state, "\"mine\"");
    }
}

/* ---- The first result of runs --------------------------------------------------------------- */

TEST(a_result_beside_the_proposed_one) {
    EVERY(7, 7) {                                           /* theirs before the acknowledgement */
        node *run;
        rt.ignore_output = true;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "mine"));
        note_value(N_RUN, 1, "theirs"); note_ack(1);
        AWAIT(run, "ANY");
        VALUE(run, "\"theirs\"");
        restate__vm_forget(vm(), run);                      /* as a call that waited does */
        AWAIT(op_sleep("", 1), "WAIT(i)");                  /* the acknowledgement is no error */
        note_ack(1);
        AWAIT(op_sleep("", 1), "571");
    }
    EVERY(7, 7) {                                           /* which the leaf has to wait for */
        node *run;
        rt.ignore_output = true;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "mine"));
        note_value(N_RUN, 1, "theirs");
        AWAIT(run, "ANY");
        CHECK(!restate__vm_forget(vm(), run));
        note_ack(1);
        AWAIT(op_sleep("", 1), "WAIT(i)");
        note_ack(1);
        AWAIT(op_sleep("", 1), "571");
    }
    EVERY(7, 7) {                                           /* theirs after it */
        node *run;
        rt.ignore_output = true;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        CHECK(propose_value(run, "mine"));
        note_ack(1); note_value(N_RUN, 1, "theirs");
        AWAIT(run, "ANY");
        VALUE(run, "\"mine\"");
        AWAIT(op_sleep("", 1), "WAIT(i)");
        VALUE(run, "\"mine\"");
    }
}

/* A closure that finishes when its result is there has nothing to say, be it a failed try. */
TEST(a_result_before_the_closure_has_finished) {
    for (int delivered = 0; delivered < 2; delivered++)
        for (int outcome = 0; outcome < 3; outcome++)
            EVERY(5, 7) {
                node *run;
                given(1); go();
                AWAIT((run = op_run("r")), "RUN 1");
                note_value(N_RUN, 1, "theirs"); feed();
                if (delivered) AWAIT(run, "ANY");
                CHECK(outcome == 0 ? propose_value(run, "mine")
                      : outcome == 1 ? propose_failure(run, rt_failure(400, "mine")) : propose_error(run, 1));
                AWAIT(run, "ANY");
                VALUE(run, "\"theirs\"");
                OUT("Run 1 \"r\"");
            }
}

/* ---- Signals: each counts ------------------------------------------------------------------- */

TEST(named_signals_queue) {
    for (int failure = 0; failure < 2; failure++)
        EVERY(5, 7) {
            node *leaf, *all;
            given(1); note_named("n", "1");
            if (failure) frame(N_SIGNAL, "3s 6(1u 2s)", "n", 400, "2");
            else note_named("n", "2");
            note_signal(17, "other"); note_named("n", "3"); go();
            AWAIT(op_awakeable(), "ANY");
            AWAIT((leaf = op_signal("n")), "ANY");
            VALUE(leaf, "\"1\"");
            AWAIT((leaf = op_signal("n")), "ANY");
            VALUE(leaf, failure ? "failure 400 \"2\"" : "\"2\"");
            all = ALL(op_signal("n"), op_awakeable());
            AWAIT(all, "WAIT(i)");
            note_named("n", "4"); note_signal(18, "");
            AWAIT(all, "ANY");
            AWAIT((leaf = op_signal("n")), "ANY");
            VALUE(leaf, "\"4\"");
            OUT("? AwaitingOn W{s:1,N:[ALL_SUCCEEDED{s:18}]}");
        }
}

TEST(cancellations_queue) {
    EVERY(5, 7) {                                           /* both delivered while an id is waited for */
        node *wait;
        given(1); note_cancel(); note_cancel(); go();
        op_call(.parameter = rt_b("x"));
        wait = op_awakeable();
        AWAIT(wait, "WAIT(i)");
        note_id(1, "inv_x");
        AWAIT(wait, "CXL");
        AWAIT(wait, "CXL");
        AWAIT(wait, "WAIT(i)");
        CHECK_INT(vm()->cancel_arrived, 0);
        OUT("Call 1 2 \"Greeter\" \"greet\" parameter:\"x\"", "? AwaitingOn W{c:1}", "SendSignal \"inv_x\" index:1 void", "? AwaitingOn W{s:17,1}");
    }
    EVERY(5, 7) {                                           /* one before, two after the id */
        node *wait;
        rt.ignore_output = true;
        given(1); note_cancel(); note_id(1, "inv_x"); note_cancel(); note_cancel(); go();
        op_call(.parameter = rt_b("x"));
        wait = op_awakeable();
        for (int i = 0; i < 3; i++) AWAIT(wait, "CXL");
        AWAIT(wait, "WAIT(i)");
    }
    EVERY(5, 7) {                                           /* explicit: one future takes one */
        node *other, *first, *second, *third;
        rt.options.explicit_cancellation = true;
        rt.ignore_output = true;
        given(1); note_cancel(); note_cancel(); note_signal(17, "x"); go();
        AWAIT((other = op_awakeable()), "ANY");
        AWAIT((first = op_cancellation()), "ANY");
        AWAIT((second = op_cancellation()), "ANY");
        VALUE(first, "void");
        VALUE(second, "void");
        AWAIT((third = op_cancellation()), "WAIT(i)");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s058_awakeable_ids), T(s059_three_kinds), T(s060_race_of_awakeables), T(s061_wait_again),
        T(s062_two_leaves_of_a_name), T(s063_signal_in_the_replay), T(s064_answered_twice),
        T(s065_race_in_the_replay), T(s066_nothing_before_an_await), T(s067_tree_shrinks),
        T(s068_no_awaiting_on_in_5_and_6), T(x_signals_wait_in_order), T(x_early_answers_are_kept),
        T(x_reserved_signals_are_harmless), T(s069_race), T(s070_all_settled),
        T(s071_any_after_a_failure), T(s072_any_all_failed), T(s073_any_succeeds),
        T(s074_all_waits), T(s075_all_fails), T(s076_settled_race_and_settled),
        T(s077_settled_of_two_races), T(s078_failures_inside_settled), T(s081_duplicates),
        T(s082_await_again_without_take), T(s083_empty), T(x_empty_branches_are_pruned),
        T(x_combine_what_is_settled), T(x_random_trees), T(shared_children_are_said_once),
        T(shared_leaves_are_said_once), T(lists_have_the_order_of_the_tree),
        T(nothing_is_said_too_late), T(the_first_result_wins),
        T(a_second_result_of_a_wrong_kind), T(an_eager_read_stays),
        T(a_result_beside_the_proposed_one), T(a_result_before_the_closure_has_finished),
        T(named_signals_queue), T(cancellations_queue),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
