/* What peers and handlers can fill costs O(n log n) at most.
 *
 * Ten times as much may take thirty times as long, in time of this process's CPU; a quadratic structure
 * takes a hundred times. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/exchange.c"

#include <time.h>

#ifdef RESTATE_VALGRIND
enum { FEW = 300 };                         /* slow, and not judged */
#else
enum { FEW = 10000 };
#endif

/* ---- Time ----------------------------------------------------------------------------------------- */

static clock_t began, spent;
static void measure(void) { feed(); began = clock(); }
static void measured(void) { feed(); spent += clock() - began; }

static double seconds(void (*scenario)(unsigned n), unsigned n, unsigned version) {
    double best = 1e9;
    for (int i = 0; i < (n > FEW ? 1 : 3); i++) {
        rt_begin(version, RT_WHOLE);
        rt.ignore_output = true;
        spent = 0;
        scenario(n);
        rt_end();
        if ((double)spent / CLOCKS_PER_SEC < best) best = (double)spent / CLOCKS_PER_SEC;
    }
    if (getenv("GROWTH")) printf("    %u: %.4f s\n", n, best);
    return best;
}

static void grows(const char *file, int line, const char *what, void (*scenario)(unsigned n), unsigned version) {
    double few = seconds(scenario, FEW, version), many;
    if (few < 0.01) few = 0.01;             /* below it caches count; a quadratic one takes seconds */
    for (int tries = 0; tries < 2; tries++) {
        many = seconds(scenario, 10 * FEW, version);
        if (many < 30 * few) return;
    }
#ifndef RESTATE_VALGRIND
    test_failures++;
    printf("  %s:%d: %s: %u take %.4f s, %u take %.4f s (protocol %u)\n", file, line, what, FEW, few, 10 * FEW, many, version);
#else
    (void)file, (void)line, (void)what;
#endif
}
#define GROWS(scenario) grows(__FILE__, __LINE__, #scenario, scenario, 7)

static const char *key_of(unsigned i) {
    static char key[16];
    snprintf(key, sizeof key, "k%08u", i);
    return key;
}

/* 0 to n - 1 in an order of its own. */
static unsigned shuffled(unsigned i, unsigned n) { return (unsigned)((uint64_t)i * 7919u % n); }
static unsigned backwards(unsigned i, unsigned n) { return n - 1 - i; }

/* ---- State ---------------------------------------------------------------------------------------- */

static void state_arrives(unsigned n, unsigned (*order)(unsigned, unsigned)) {
    rt_bytes p = { NULL, 0, 0 };
    rt_put(&p, 1, "123", 3), rt_put(&p, 2, "123", 3);
    rt_varint(&p, 3 << 3), rt_varint(&p, 1);
    for (unsigned i = 0; i < n; i++) {
        rt_bytes entry = { NULL, 0, 0 };
        rt_put(&entry, 1, key_of(order(i, n)), 9);
        rt_put(&entry, 2, "v", 1);
        rt_put(&p, 4, entry.at, entry.len);
        rt_drop(&entry);
    }
    rt_frame(&rt_script, M_START, 0, p.at, p.len);
    rt_drop(&p);
    vm();
    began = clock();
    measured();                             /* feeds */
    input("");
    CHECK(ready() && op_input());
    measure();
    for (unsigned i = 0; i < n; i += 10) {
        node leaf;
        memset(&leaf, 0, sizeof leaf);
        restate__vm_get(vm(), rt_b(key_of(i)), &leaf);
        CHECK(leaf.state == RESTATE__SUCCEEDED && leaf.value.kind == RESTATE__VALUE);
    }
    CHECK(op_get_keys()->value.is.keys[n - 1] != NULL);
    measured();
}
static void state_arrives_backwards(unsigned n) { state_arrives(n, backwards); }
static void state_arrives_shuffled(unsigned n) { state_arrives(n, shuffled); }

static void state_is_written(unsigned n, unsigned (*order)(unsigned, unsigned)) {
    start(1, .complete = true); input(""); go();
    measure();
    for (unsigned round = 0; round < 2; round++) {
        const char *const *keys;
        for (unsigned i = 0; i < n; i++) CHECK(restate__vm_set(vm(), rt_b(key_of(order(i, n))), rt_b("v"), false));
        keys = op_get_keys()->value.is.keys;
        for (unsigned i = 0; i < n; i++)
            if (strcmp(keys[i], key_of(i)) != 0) { CHECK_STR(keys[i], key_of(i)); return; }
        CHECK(keys[n] == NULL);
        CHECK(op_clear_all());
        CHECK(op_get_keys()->value.is.keys[0] == NULL);
    }
    measured();
}
static void state_is_written_backwards(unsigned n) { state_is_written(n, backwards); }
static void state_is_written_shuffled(unsigned n) { state_is_written(n, shuffled); }

TEST(state) {
    GROWS(state_arrives_backwards);
    GROWS(state_arrives_shuffled);
    GROWS(state_is_written_backwards);
    GROWS(state_is_written_shuffled);
}

/* ---- Numbers -------------------------------------------------------------------------------------- */

static void wild_completions(unsigned n) {
    given(1); go();
    for (unsigned i = 0; i < n; i++) note_sleep(4000000000u - 41u * shuffled(i, n));
    for (unsigned i = 0; i < n; i++) note_signal(4000000000u - 41u * shuffled(i, n), "v");
    measure();
    await(op_sleep("", 1));
    measured();
    CHECK_INT(vm()->phase, RESTATE__PROCESSING);
}

/* Calls are cancelled while their ids come one after the other. */
static void cancelled_calls(unsigned n) {
    node *wait;
    given(1); go();
    for (unsigned i = 0; i < n; i++) op_call(.parameter = rt_b("x"));
    wait = op_awakeable();
    note_cancel();
    measure();
    for (unsigned i = 0; i < n; i++) {
        AWAIT(wait, "WAIT(i)");
        note_id(2 * i + 1, "inv");
    }
    AWAIT(wait, "CXL");
    measured();
}

TEST(numbers) {
    GROWS(wild_completions);
    GROWS(cancelled_calls);
}

/* ---- Signals -------------------------------------------------------------------------------------- */

static void signal_of(const char *name) { note_named(name, "v"); }

/* n awaits of something else; a fresh race each time, or a leaf. */
static void awaits(unsigned n, bool races, node *beside) {
    for (unsigned i = 0; i < n; i++) {
        node *a = op_awakeable();
        note_signal(vm()->next_signal - 1, "v");
        if (beside) AWAIT(RACE(a, beside), "ANY");
        else if (races) AWAIT(RACE(a, op_signal("never")), "ANY");
        else AWAIT(a, "ANY");
    }
}

static void nobody_claims(unsigned n, bool asked, bool races) {
    given(1); go();
    for (unsigned i = 0; i < n; i++) {
        signal_of(key_of(i));
        if (asked) op_signal(key_of(shuffled(i, n)));
    }
    measure();
    awaits(n, races, NULL);
    measured();
}
static void signals_nobody_asked_for(unsigned n) { nobody_claims(n, false, false); }
static void signals_nobody_asked_for_raced(unsigned n) { nobody_claims(n, false, true); }
static void signals_nobody_awaits(unsigned n) { nobody_claims(n, true, false); }
static void signals_nobody_awaits_raced(unsigned n) { nobody_claims(n, true, true); }

static void signals_of_one_name(unsigned n) {
    given(1); go();
    for (unsigned i = 0; i < n; i++) signal_of("x");
    measure();
    for (unsigned i = 0; i < n; i++) {
        node *leaf = op_signal("x");
        AWAIT(i % 2 ? leaf : RACE(leaf, op_awakeable()), "ANY");
    }
    measured();
}

/* Futures of one name that lost their races, and then signals that come while others are awaited. */
static void given_up_futures(unsigned n) {
    given(1); go();
    measure();
    for (unsigned i = 0; i < n; i++) {
        node *sleep = op_sleep("", 1);
        note_sleep(sleep->id);
        AWAIT(RACE(ALL(op_signal("x"), op_awakeable()), op_signal("x"), sleep), "ANY");
    }
    for (unsigned i = 0; i < n; i++) {
        node *leaf = op_signal("x"), *race = RACE(leaf, op_awakeable());
        AWAIT(race, "WAIT(i)");
        signal_of("x");
        AWAIT(race, "ANY");
        CHECK(leaf->state == RESTATE__SUCCEEDED);
    }
    measured();
}

/* One future, raced in a loop, whose signal is there while others are awaited. */
static void raced_in_a_loop(unsigned n) {
    node *f;
    given(1); go();
    f = op_signal("f");
    measure();
    awaits(n, true, f);
    signal_of("f");
    awaits(n, false, NULL);
    awaits(n, true, NULL);
    AWAIT(f, "ANY");
    measured();
}

/* An iterator over many, and other awaits between its steps. */
static void selected_signals(unsigned n) {
    node select, **leaves = (node **)rt_alloc(n * sizeof *leaves);
    size_t *indexes = (size_t *)rt_alloc(n * sizeof *indexes);
    given(1); go();
    for (unsigned i = 0; i < n; i++) {
        signal_of(key_of(i));
        leaves[i] = op_signal(key_of(shuffled(i, n)));
        indexes[i] = i;
    }
    memset(&select, 0, sizeof select);
    CHECK(restate__vm_select(rt_op(), &select, leaves, indexes, n));
    measure();
    for (unsigned i = 0; i < n; i++) {
        AWAIT(&select, "ANY");
        CHECK_INT(shuffled((unsigned)restate__vm_selected(&select), n), i);     /* the journal's order */
        if (i % 4 == 0) awaits(1, true, NULL);
    }
    measured();
}

static void gathered_signals(unsigned n) {
    node **leaves = (node **)rt_alloc(n * sizeof *leaves), *all;
    given(1); go();
    for (unsigned i = 0; i < n; i++) leaves[i] = op_signal(i % 2 ? "x" : key_of(i));
    all = rt_combine(RESTATE__ALL, leaves, n);
    measure();
    AWAIT(all, "WAIT(i)");
    for (unsigned i = n; i-- > 0;) signal_of(i % 2 ? "x" : key_of(i));
    AWAIT(all, "ANY");
    measured();
}

TEST(signals) {
    GROWS(signals_nobody_asked_for);
    GROWS(signals_nobody_asked_for_raced);
    GROWS(signals_nobody_awaits);
    GROWS(signals_nobody_awaits_raced);
    GROWS(signals_of_one_name);
    GROWS(given_up_futures);
    GROWS(raced_in_a_loop);
    GROWS(selected_signals);
    GROWS(gathered_signals);
}

/* ---- Graphs --------------------------------------------------------------------------------------- */

static void parallel_runs(unsigned n) {
    node **runs = (node **)rt_alloc(n * sizeof *runs), *all;
    given(1); go();
    for (unsigned i = 0; i < n; i++) runs[i] = op_run("r");
    all = rt_combine(RESTATE__ALL, runs, n);
    measure();
    for (unsigned i = 0; i < n; i++) CHECK(restate__vm_await(vm(), all).run == runs[i]);
    for (unsigned i = 0; i < n; i++) CHECK(propose_value(runs[i], "v"));
    measured();
}

/* One node has many combinators above it, of which each is awaited. */
static void many_parents(unsigned n) {
    node *f, **races = (node **)rt_alloc(n * sizeof *races), *all;
    given(1); go();
    f = op_awakeable();
    measure();
    for (unsigned i = 0; i < n; i++) races[i] = RACE(f, op_awakeable());
    all = rt_combine(RESTATE__ALL, races, n);
    AWAIT(all, "WAIT(i)");
    note_signal(17, "v");
    AWAIT(all, "ANY");
    measured();
}

/* Replayed code waits for what is not recorded: the message names a few. */
static void unreplayable(unsigned n) {
    node **leaves = (node **)rt_alloc(n * sizeof *leaves);
    given(2); cmd_clear("k"); go();
    for (unsigned i = 0; i < n; i++) leaves[i] = op_awakeable();
    measure();
    AWAIT(rt_combine(RESTATE__ALL, leaves, n), "570");
    measured();
    CHECK_HAS(vm()->error.message, " more");
    CHECK(strlen(vm()->error.message) < 4000);
}

TEST(graphs) {
    GROWS(parallel_runs);
    GROWS(many_parents);
    GROWS(unreplayable);
}

/* ---- What a context keeps ------------------------------------------------------------------------- */

static unsigned handler_n;

static restate_status encode_text(const restate_codec *self, restate_ctx *ctx, const void *value, restate_bytes *out) {
    (void)self;
    *out = restate_str(restate_text(ctx, "%s", (const char *)value));
    return RESTATE_OK;
}

static const restate_codec unstable_codec = { .content_type = "text/plain", .unstable = true, .encode = encode_text };

/* Many values of a codec that is not stable, the oldest used first; many failures, each told again. */
static restate_status keeps_much(restate_ctx *ctx, restate_bytes in) {
    restate_bytes *values = (restate_bytes *)restate_alloc(ctx, handler_n * sizeof *values);
    restate_failure own = { .code = 400, .message = "own" };
    (void)in;
    if (!values) return RESTATE_ENDED;
    for (unsigned i = 0; i < handler_n; i++) values[i] = restate_encode(ctx, &unstable_codec, "value");
    for (unsigned i = 0; i < handler_n; i++) RESTATE_TRY(restate_set(ctx, "key", values[i]));
    for (unsigned i = 0; i < handler_n; i++) {
        CHECK_INT(restate_fail(ctx, 500, "made"), RESTATE_TERMINAL);
        CHECK_INT(restate_fail_with(ctx, &own), RESTATE_TERMINAL);
        CHECK_STR(restate_failed(ctx)->message, "own");
    }
    return RESTATE_OK;
}

static double kept_seconds(unsigned n) {
    clock_t start_;
    handler_n = n;
    ex_begin(RESTATE_OBJECT, (restate_handler){ .fn = keeps_much }, 7, false);
    ex.bytewise = false;
    invoke();
    start(1, .key = "k"); input("");
    start_ = clock();
    give();
    start_ = clock() - start_;
    drop_said();
    ex_end();
    return (double)start_ / CLOCKS_PER_SEC;
}

TEST(context) {
    double few = kept_seconds(FEW), many;
    if (few < 0.02) few = 0.02;
    many = kept_seconds(10 * FEW);
#ifndef RESTATE_VALGRIND
    if (many >= 30 * few) CHECK(many < 30 * kept_seconds(FEW));
#endif
    if (getenv("GROWTH")) printf("    %u: %.4f s\n    %u: %.4f s\n", FEW, few, 10 * FEW, many);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(state), T(numbers), T(signals), T(graphs), T(context), { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
