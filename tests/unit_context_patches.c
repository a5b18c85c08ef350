/* Section >>context: patches, by which code is changed under open invocations. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/exchange.c"

/* ---- All journals that old and new code can make of one another ------------------------------- */

/* Three versions of one handler, whose commands are runs that nobody awaits: so each journal is a
 * list of names, and an attempt goes to its end at once. */
static restate_status never(restate_ctx *run, void *arg) {
    (void)run, (void)arg;
    CHECK(!"executed");
    return RESTATE_OK;
}
#define STEP(name) restate_run_async(ctx, name, never, NULL, NULL)

static void old_code(restate_ctx *ctx) {
    STEP("reserve");
    STEP("sleep");
    for (int i = 0; i < 2; i++) STEP("round");
    STEP("ship");
}

static void new_code(restate_ctx *ctx) {
    STEP(restate_patched(ctx, "check") ? "check" : "reserve");
    STEP("sleep");
    for (int i = 0; i < 2; i++) {
        if (restate_patched(ctx, restate_text(ctx, "audit %d", i))) STEP("audit");
        STEP("round");
    }
    if (restate_patched(ctx, "check")) STEP("stamp");       /* again: the same answer */
    if (restate_patched(ctx, "mail")) STEP("mail");
    STEP("ship");
}

static void newest_code(restate_ctx *ctx) {
    restate_patch_done(ctx, "check");
    STEP("check");
    STEP("sleep");
    for (int i = 0; i < 2; i++) {
        restate_patch_done(ctx, restate_text(ctx, "audit %d", i));
        STEP("audit");
        STEP("round");
    }
    STEP("stamp");
    restate_patch_done(ctx, "mail");
    STEP("mail");
    STEP("ship");
}

typedef void code(restate_ctx *ctx);
static code *current;

static restate_status executes_code(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    current(ctx);
    return RESTATE_OK;
}

enum { STEPS = 16, JOURNALS = 100 };

typedef struct journal {
    size_t count;
    char names[STEPS][24];                  /* "" is the end */
} journal;

static bool equal(const journal *a, const journal *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = strcmp(a->names[i], b->names[i]) == 0;
    return same;
}

/* The commands of an output, put behind those of the journal. False: it is an error. */
static bool takes(journal *j, const char *lines) {
    unsigned id;
    char name[24];
    for (; *lines; lines += strcspn(lines, "\n") + 1) {
        if (strncmp(lines, "Error", 5) == 0) return false;
        if (strncmp(lines, "End", 3) == 0) continue;
        if (strncmp(lines, "Output", 6) == 0) {
            j->names[j->count++][0] = 0;
            continue;
        }
        CHECK_INT(sscanf(lines, "Run %u \"%23[^\"]\"", &id, name), 2);
        CHECK_INT(id, j->count + 1);
        strcpy(j->names[j->count++], name);
    }
    return true;
}

/* An attempt of that code with a journal; `after` is what it comes to. False: error 570. */
static bool attempt(code *of, const journal *before, journal *after) {
    rt_bytes lines;
    bool fits;
    current = of;
    *after = *before;
    invoke();
    start((unsigned)before->count + 1);
    input("in");
    for (unsigned i = 0; i < before->count; i++)
        if (*before->names[i]) cmd_run(i + 1, before->names[i]);
        else cmd_output("");
    give();
    ex_collect();
    lines = rt_lines();
    fits = takes(after, (const char *)lines.at);
    CHECK(ex.x->finished);
    if (!fits) LOG_HAS("WARN the attempt failed with 570");
    rt_drop(&lines);
    return fits;
}

typedef struct all_journals {
    journal list[JOURNALS];
    size_t count, old_misfits;
} all_journals;

static void add(all_journals *all, const journal *j) {
    for (size_t i = 0; i < all->count; i++)
        if (equal(&all->list[i], j)) return;
    if (all->count < JOURNALS) all->list[all->count++] = *j;
    else CHECK(!"so many journals");
}

/* A crash after every command that is new: such a journal is one, too, and its replay by the same
 * code comes to the same. */
static void crash_everywhere(all_journals *all, code *of, const journal *before, const journal *after) {
    for (size_t n = before->count; n <= after->count; n++) {
        journal stored = *after, again;
        stored.count = n;
        add(all, &stored);
        CHECK(attempt(of, &stored, &again));
        CHECK(equal(&again, after));
    }
}

static void explore(all_journals *all, bool with_old) {
    all->count = all->old_misfits = 0;
    add(all, &(journal){ .count = 0 });
    for (size_t i = 0; i < all->count; i++) {
        journal before = all->list[i], after;
        if (attempt(new_code, &before, &after)) crash_everywhere(all, new_code, &before, &after);
        else CHECK(!"new code fits every journal");
        if (!with_old) continue;
        if (attempt(old_code, &before, &after)) crash_everywhere(all, old_code, &before, &after);
        else all->old_misfits++;
    }
}

TEST(all_journals_of_old_and_new_code) {
    static all_journals all;
    for (unsigned version = 5; version <= 7; version++) {
        ex_begin(RESTATE_SERVICE, (restate_handler){ .fn = executes_code }, version, false);
        explore(&all, true);
        CHECK_INT(all.count, 42);           /* so many finds a model of this, too */
        CHECK(all.old_misfits > 0);         /* old code cannot know the markers */
        explore(&all, false);
        CHECK_INT(all.count, 15);
        for (size_t i = 0; i < all.count; i++) {
            journal after;
            CHECK(attempt(newest_code, &all.list[i], &after));
        }
        ex_end();
    }
}

/* ---- One by one -------------------------------------------------------------------------------- */

static int variant;

static restate_status one_patch(restate_ctx *ctx, restate_bytes in) {
    bool first = restate_patched(ctx, "a");
    restate_status s;
    (void)in;
    tell("%d", first);
    if (first) s = restate_sleep(ctx, 1);
    else s = restate_set(ctx, "k", text("v"));
    if (s == RESTATE_ENDED) return s;
    if (s == RESTATE_CANCELLED) tell(" cancelled ");
    tell("%d", restate_patched(ctx, "a"));
    tell("%d", restate_patched(ctx, "b"));
    return RESTATE_OK;
}

TEST(patched_first_time) {
    EACH(RESTATE_OBJECT, .fn = one_patch) {
        start(1, .key = "o"); input(""); give();
        SAYS("Run 1 \"restate.patch a\"", "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
        note_sleep(2); give();
        TOLD("111");
        SAYS("Run 3 \"restate.patch b\"", EMPTY_OUTPUT);
    }
}

TEST(patched_replayed) {
    EACH(RESTATE_OBJECT, .fn = one_patch) {
        start(4, .key = "o"); input(""); cmd_run(1, "restate.patch a"); cmd_sleep(2, "", 5); note_sleep(2); give();
        TOLD("111");
        SAYS("Run 3 \"restate.patch b\"", EMPTY_OUTPUT);
    }
    EACH(RESTATE_OBJECT, .fn = one_patch) {     /* the marker alone was stored, with others behind it */
        start(2, .key = "o"); input(""); cmd_run(1, "restate.patch a"); give_and_end();
        TOLD("1");
        SAYS("Sleep 2 wake:...", "Suspension W{c:2,s:1}");
    }
    EACH(RESTATE_OBJECT, .fn = one_patch) {     /* of old code */
        start(3, .key = "o"); input(""); cmd_set("k", "v"); cmd_run(1, "restate.patch b"); give();
        TOLD("001");
        SAYS(EMPTY_OUTPUT);
    }
}

TEST(patched_beside_other_runs) {
    static const char *const others[] = { "restate.patch", "restate.patch ", "restate.patch ab", "a", "" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        EACH(RESTATE_OBJECT, .fn = one_patch) {
            start(2, .key = "o"); input(""); cmd_run(1, others[i]); give();
            TOLD("0");
            SAYS("Error 570 index:1 SetState...");
            log_drop();
        }
}

/* A name of any length is compared to its end. */
static restate_status long_patch(restate_ctx *ctx, restate_bytes in) {
    char name[300];
    (void)in;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    tell("%d", restate_patched(ctx, name));
    name[sizeof name - 2] = 'm';
    tell("%d", restate_patched(ctx, name));
    return RESTATE_OK;
}

TEST(patched_with_a_long_name) {
    char name[320] = "restate.patch ";
    memset(name + strlen(name), 'n', 299);
    EACH(RESTATE_SERVICE, .fn = long_patch) {
        start(2); input(""); cmd_run(1, name); give();
        TOLD("11");
        SAYS("Run 2 \"...", EMPTY_OUTPUT);
    }
}

TEST(patched_and_cancelled) {
    EACH(RESTATE_OBJECT, .fn = one_patch) {
        start(1, .key = "o"); input(""); note_cancel(); give();
        TOLD("1 cancelled 11");
        SAYS("Run 1 \"restate.patch a\"", "Sleep 2 wake:...", "Run 3 \"restate.patch b\"", EMPTY_OUTPUT);
    }
}

static restate_status closure_asks(restate_ctx *run, void *arg) {
    (void)arg;
    CHECK(!restate_patched(run, "a"));
    return RESTATE_OK;
}

static restate_status misuses(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    switch (variant) {
    case 0: CHECK(!restate_patched(ctx, NULL)); break;
    case 1: CHECK(!restate_patched(ctx, "")); break;
    case 2: CHECK(!restate_patched(ctx, "\xFF")); break;
    case 3: restate_patch_done(ctx, NULL); break;
    case 4: return restate_run(ctx, "r", closure_asks, NULL, NULL, NULL);
    default: RESTATE_IGNORE(restate_retry(ctx, NULL, "over")); restate_patch_done(ctx, "a"); break;
    }
    CHECK(!restate_patched(ctx, "a"));
    return RESTATE_OK;
}

TEST(patches_misused) {
    static const char *const why[] = { "restate_patched(): the name of the patch is empty", "restate_patched(): the name of the patch is empty",
        "restate_patched(): the name of the patch is not UTF-8", "restate_patch_done(): the name of the patch is empty",
        "restate_patched(): is journaled and cannot be used in a closure", "over" };
    for (variant = 0; variant < 6; variant++)
        EACH(RESTATE_SERVICE, .fn = misuses) {
            STARTED();
            drop_said();
            LOG_HAS(why[variant]);
        }
}

static restate_status passes_over(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_patch_done(ctx, "a");
    RESTATE_TRY(restate_sleep(ctx, 1));
    restate_patch_done(ctx, "b");
    return RESTATE_OK;
}

TEST(patch_done) {
    EACH(RESTATE_SERVICE, .fn = passes_over) {
        start(1); input(""); give();
        SAYS("Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
        note_sleep(1); give();
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = passes_over) {      /* ids go on behind the markers */
        start(5); input(""); cmd_run(1, "restate.patch a"); cmd_sleep(2, "", 5); note_sleep(2); cmd_run(3, "restate.patch b"); give();
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_SERVICE, .fn = passes_over) {      /* another one is not passed over */
        start(2); input(""); cmd_run(1, "restate.patch b"); give();
        SAYS("Error 570 index:1 Sleep...");
        log_drop();
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(all_journals_of_old_and_new_code), T(patched_first_time), T(patched_replayed),
        T(patched_beside_other_runs), T(patched_with_a_long_name), T(patched_and_cancelled),
        T(patches_misused), T(patch_done),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
