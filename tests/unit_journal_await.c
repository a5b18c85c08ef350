/* The state machine: combinators and cancellation. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "runtime.h"

static void given(unsigned known) {
    start(known);
    input("my-data");
}

/* ---- Combinators: leaf i is awakeable i, signal 17 + i -------------------------------------------------- */

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

TEST(s069_race) {
    combinator_settles("race(0,1)", "1,0", "1");
    combinator_settles("race(0,1)", "f0", "0");
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
    m->kind = (restate__node_kind)rt_dice(5);
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

/* ---- Cancellation ----------------------------------------------------------------------------------------------- */

#define CALL(id, next) "Call " #id " " #next " \"Greeter\" \"greet\""
#define CANCEL(id) "SendSignal \"" id "\" index:1 void"

TEST(s108_cancel_with_known_id) {
    for (int touch = 1; touch >= 0; touch--)                /* 0: s109 */
        EVERY(5, 7) {
            rt_calls c;
            given(1); note_id(1, "my-id"); note_cancel(); eof(); go();
            c = op_call();
            if (touch) {
                AWAIT(c.id, "ANY");
                VALUE(c.id, "id \"my-id\"");
            }
            AWAIT(c.result, "CXL");
            CHECK(op_end());
            OUT(CALL(1, 2), CANCEL("my-id"), "End");
        }
}

TEST(s109_id_stays_takeable) {
    EVERY(5, 7) {
        rt_calls c;
        given(1); note_id(1, "my-id"); note_cancel(); go();
        c = op_call();
        AWAIT(c.result, "CXL");
        AWAIT(c.id, "ANY");
        VALUE(c.id, "id \"my-id\"");
        OUT(CALL(1, 2), CANCEL("my-id"));
    }
}

TEST(s110_cancel_waits_for_the_id) {
    EVERY(5, 7) {
        given(1); note_cancel(); eof(); go();
        AWAIT(op_call().result, "599");
        OUT(CALL(1, 2), "Suspension W{c:1}");
    }
}

TEST(s111_cancel_waits_for_two_ids) {
    EVERY(5, 7) {
        rt_calls a;
        given(1); note_cancel(); go();
        a = op_call();
        op_call();
        AWAIT(a.result, "WAIT(i)");
        note_id(1, "id-1");
        AWAIT(a.result, "WAIT(i)");
        note_id(3, "id-3");
        AWAIT(a.result, "CXL");
        OUT(CALL(1, 2), CALL(3, 4), "AwaitingOn W{c:1}", "AwaitingOn W{c:3}", CANCEL("id-1"), CANCEL("id-3"));
    }
}

TEST(s113_explicit_mode) {
    EVERY(5, 7) {
        rt.options.explicit_cancellation = true;
        given(1); note_cancel(); eof(); go();
        AWAIT(op_call().result, "599");
        OUT(CALL(1, 2), "Suspension W{c:2}");
    }
    EVERY(5, 7) {
        node *cancel;
        rt.options.explicit_cancellation = true;
        given(1); note_cancel(); go();
        cancel = op_cancellation();
        AWAIT(cancel, "ANY");
        VALUE(cancel, "void");
        AWAIT(op_cancellation(), "WAIT(i)");
        OUT("AwaitingOn W{s:1}");
    }
}

TEST(s114_cancel_replayed) {
    EVERY(5, 7) {
        rt_calls a, b;
        given(7); cmd_call(1, ""); note_id(1, "my-id-1"); cmd_call(3, ""); note_id(3, "my-id-2"); note_cancel();
        cmd_cancel("my-id-1"); go();
        a = op_call(), b = op_call();
        AWAIT(RACE(a.result, b.result), "CXL");
        CHECK(op_end());
        OUT(CANCEL("my-id-2"), "End");
    }
}

TEST(s115_sends_are_not_cancelled) {
    EVERY(5, 7) {
        given(1); note_id(1, "my-id"); note_cancel(); go();
        op_send();
        AWAIT(op_awakeable(), "CXL");
        OUT("OneWayCall 1 \"Greeter\" \"greet\"");
    }
    EVERY(5, 7) {                                           /* unless asked for, in the order of the calls */
        rt.options.cancel_sends = true;
        given(1); note_id(2, "call"); note_id(1, "send"); note_cancel(); go();
        op_send();
        op_call();
        AWAIT(op_awakeable(), "CXL");
        OUT("OneWayCall 1 \"Greeter\" \"greet\"", CALL(2, 3), CANCEL("send"), CANCEL("call"));
    }
}

TEST(s116_finished_calls_are_cancelled) {
    EVERY(5, 7) {
        rt_calls c;
        given(1); note_id(1, "my-id"); note_value(N_CALL, 2, "v"); go();
        c = op_call();
        AWAIT(c.result, "ANY");
        VALUE(c.result, "\"v\"");
        note_cancel();
        AWAIT(op_awakeable(), "CXL");
        OUT(CALL(1, 2), CANCEL("my-id"));
    }
}

TEST(s117_result_before_cancel) {
    EVERY(5, 7) {
        node *a, *b;
        given(1); note_signal(17, "v"); note_cancel(); go();
        a = op_awakeable(), b = op_awakeable();
        AWAIT(a, "ANY");
        AWAIT(b, "CXL");
        VALUE(a, "\"v\"");
        OUT_NOTHING();
    }
}

TEST(s118_cancel_before_result) {
    EVERY(5, 7) {
        node *a;
        given(1); note_cancel(); note_signal(17, "v"); go();
        a = op_awakeable();
        AWAIT(a, "CXL");
        AWAIT(a, "ANY");
        VALUE(a, "\"v\"");
        OUT_NOTHING();
    }
}

TEST(s119_cancel_amid_a_gather) {
    EVERY(5, 7) {
        node *a, *b;
        given(1); note_signal(17, "v"); note_cancel(); go();
        a = op_awakeable(), b = op_awakeable();
        AWAIT(ALL_SETTLED(a, b), "CXL");
        VALUE(a, "\"v\"");
        CHECK(!completed(b));
        OUT_NOTHING();
    }
}

TEST(s120_two_cancellations) {
    EVERY(5, 7) {
        node *a;
        given(1); note_cancel(); note_cancel(); go();
        a = op_awakeable();
        AWAIT(a, "CXL");
        AWAIT(a, "CXL");
        AWAIT(a, "WAIT(i)");
        OUT("AwaitingOn W{s:1,17}");
    }
}

TEST(s121_cancel_while_executing) {
    EVERY(5, 7) {
        node *run;
        given(1); go();
        AWAIT((run = op_run("r")), "RUN 1");
        note_cancel();
        AWAIT(run, "CXL");
        CHECK(propose_value(run, "v"));
        if (rt.version == 7) note_ack(1);
        else note_value(N_RUN, 1, "v");
        AWAIT(run, "ANY");
        VALUE(run, "\"v\"");
        OUT("Run 1 \"r\"", "Propose 1 value \"v\" ack");
    }
}

TEST(x_cancelled_once) {                                    /* tracked calls are forgotten with the cancellation */
    EVERY(5, 7) {
        node *a;
        given(1); note_id(1, "id-1"); note_cancel(); note_id(3, "id-3"); note_cancel(); go();
        op_call();
        a = op_awakeable();
        AWAIT(a, "CXL");
        op_call();
        AWAIT(a, "CXL");
        OUT(CALL(1, 2), CANCEL("id-1"), CALL(3, 4), CANCEL("id-3"));
    }
}

TEST(x_cancel_beats_what_is_ready) {
    EVERY(5, 7) {
        rt_calls c;
        node *a;
        given(1); note_cancel(); note_signal(17, "v"); go();
        c = op_call();
        a = op_awakeable();
        AWAIT(a, "WAIT(i)");                                /* the id of the call is needed first */
        CHECK(completed(a));
        note_id(1, "my-id");
        AWAIT(a, "CXL");
        AWAIT(a, "ANY");
        CHECK(completed(c.id));
        OUT(CALL(1, 2), "AwaitingOn W{c:1}", CANCEL("my-id"));
    }
}

TEST(x_cancel_not_noticed_without_await) {
    EVERY(5, 7) {
        given(1); note_cancel(); go();
        op_call();
        CHECK(op_set("k", "v") && op_output("") && op_end());
        OUT(CALL(1, 2), "SetState \"k\" value \"v\"", "Output value \"\"", "End");
    }
}

TEST(x_await_cancel_handle_repeatedly) {
    EVERY(5, 7) {
        node *a, *first, *second;
        rt.options.explicit_cancellation = true;
        given(1); note_cancel(); note_signal(17, "v"); note_cancel(); go();
        a = op_awakeable();
        first = op_cancellation();
        AWAIT(RACE(a, first), "ANY");
        CHECK(completed(first) && !completed(a));
        VALUE(first, "void");
        second = op_cancellation();
        AWAIT(a, "ANY");
        AWAIT(second, "ANY");
        VALUE(second, "void");
        OUT_NOTHING();
    }
}

/* ---- What is said of graphs ----------------------------------------------------------------------- */

static size_t last_frame(void) {                            /* its place in the output */
    size_t at = 0, last = 0;
    drop_output();
    for (; at < rt.raw.len; at += 8 + restate__b_get32(rt.raw.at + at + 4)) last = at;
    return last;
}

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
                live = rt.live;
                for (int i = 0; i < 60; i++) {
                    two = shape == 0 ? f : shape == 1 ? before : ALL_SETTLED(f, before);
                    before = f;
                    f = rt_combine(kinds[k], (node *const[]){ f, two }, 2);
                }
                AWAIT(f, "WAIT(i)");
                eof();
                AWAIT(f, "599");
                CHECK(said_bytes() < 2000);
                CHECK(rt.live - live < 200000);
            }
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

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s069_race), T(s070_all_settled), T(s071_any_after_a_failure), T(s072_any_all_failed), T(s073_any_succeeds),
        T(s074_all_waits), T(s075_all_fails), T(s076_settled_race_and_settled), T(s077_settled_of_two_races),
        T(s078_failures_inside_settled),
        T(s081_duplicates), T(s082_await_again_without_take), T(s083_empty), T(x_empty_branches_are_pruned),
        T(x_combine_what_is_settled), T(x_random_trees), T(s108_cancel_with_known_id), T(s109_id_stays_takeable),
        T(s110_cancel_waits_for_the_id), T(s111_cancel_waits_for_two_ids),
        T(s113_explicit_mode), T(s114_cancel_replayed), T(s115_sends_are_not_cancelled),
        T(s116_finished_calls_are_cancelled), T(s117_result_before_cancel), T(s118_cancel_before_result),
        T(s119_cancel_amid_a_gather), T(s120_two_cancellations), T(s121_cancel_while_executing), T(x_cancelled_once),
        T(x_cancel_beats_what_is_ready), T(x_cancel_not_noticed_without_await), T(x_await_cancel_handle_repeatedly),
        T(shared_children_are_said_once), T(shared_leaves_are_said_once), T(nothing_is_said_too_late),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
