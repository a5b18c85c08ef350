/* Section >>context: all of the state at once, its keys as a future. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/exchange.c"

static int variant;                         /* what a handler is to do */

static void keys_come(unsigned id) { frame(N_GET_LAZY_KEYS, "1u 17(1s1s1s)", id, "z", "a", "b"); }

/* ---- All of the state ------------------------------------------------------------------------ */

static restate_status gets_all(restate_ctx *ctx, restate_bytes in) {
    const restate_entry *e = NULL;
    restate_status s;
    (void)in;
    while ((s = restate_get_all(ctx, &e)) == RESTATE_CANCELLED) {
        CHECK(e && !e->key);
        tell("cancelled ");
    }
    CHECK(e && (s == RESTATE_OK || !e->key));
    for (; e->key; e++) tell("%s=%.*s ", e->key, RESTATE_ARG(e->value));
    CHECK(!e->value.ptr);
    return s;
}

static restate_status writes_then_gets_all(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_set(ctx, "b", text("")));
    RESTATE_TRY(restate_clear(ctx, "a"));
    RESTATE_TRY(gets_all(ctx, in));
    RESTATE_TRY(restate_clear_all(ctx));
    return restate_get_all(ctx, NULL);
}

TEST(all_that_came_along) {
    EACH(RESTATE_OBJECT, .fn = writes_then_gets_all) {
        start(1, .complete = true, .state = "z=26;a=1;c=3", .key = "o"); input(""); give();
        TOLD("b= c=3 z=26 ");
        SAYS("SetState \"b\" value \"\"", "ClearState \"a\"", "GetEagerStateKeys [b,c,z]",
             "GetEagerState \"b\" value \"\"", "GetEagerState \"c\" value \"3\"",
             "GetEagerState \"z\" value \"26\"", "ClearAllState", "GetEagerStateKeys []",
             EMPTY_OUTPUT);
    }
}

TEST(all_that_is_fetched) {
    EACH(RESTATE_OBJECT, .fn = gets_all, .shared = true) {
        start(1, .state = "b=2", .key = "o"); input(""); give();
        SAYS("GetLazyStateKeys 1", "AwaitingOn W{c:1,s:1}");
        keys_come(1); give();
        SAYS("GetLazyState 2 \"a\"", "GetEagerState \"b\" value \"2\"", "GetLazyState 4 \"z\"",
             "AwaitingOn W{s:1,N:[ALL_SUCCEEDED{c:2,4}]}");
        note_void(N_GET_LAZY, 2);           /* somebody deleted it meanwhile */
        note_value(N_GET_LAZY, 4, "26"); give();
        TOLD("b=2 z=26 ");
        SAYS(EMPTY_OUTPUT);
    }
}

TEST(all_replayed) {
    EACH(RESTATE_OBJECT, .fn = gets_all) {
        start(8, .state = "now=other", .key = "o"); input("");
        cmd_get_lazy_keys(1); keys_come(1);
        cmd_get_lazy(2, "a"); cmd_get_eager("b", "2"); cmd_get_lazy(4, "z");
        note_value(N_GET_LAZY, 4, "26"); note_value(N_GET_LAZY, 2, "1");
        give();
        TOLD("a=1 b=2 z=26 ");
        SAYS(EMPTY_OUTPUT);
    }
}

TEST(all_suspends_and_differs) {
    EACH(RESTATE_OBJECT, .fn = gets_all) {
        start(1, .key = "o"); input(""); give_and_end();
        SAYS("GetLazyStateKeys 1", "Suspension W{c:1,s:1}");
        invoke();
        start(4, .key = "o"); input(""); cmd_get_lazy_keys(1); keys_come(1); cmd_get_lazy(2, "b"); give();
        SAYS("Error 570 index:2 GetLazyState...");
        log_drop();
    }
}

/* Told once, wherever it waits; what was asked for then is asked for again. */
TEST(all_cancelled) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_OBJECT, .fn = gets_all) {
            start(1, .key = "o"); input(""); give();
            drop_said();
            if (variant) keys_come(1), note_cancel();
            else note_cancel();
            give();
            TOLD("cancelled ");
            if (!variant) {
                SAYS("GetLazyStateKeys 2", "AwaitingOn W{c:2,s:1}");
                keys_come(1);
                keys_come(2); give();
                drop_said();
                note_value(N_GET_LAZY, 3, "1"); note_value(N_GET_LAZY, 4, "2"); note_value(N_GET_LAZY, 5, "3");
            } else {
                SAYS("GetLazyState 2 \"a\"", "GetLazyState 3 \"b\"", "GetLazyState 4 \"z\"", "GetLazyStateKeys 5",
                     "AwaitingOn W{c:5,s:1}");
                keys_come(5); give();
                drop_said();
                note_value(N_GET_LAZY, 6, "1"); note_value(N_GET_LAZY, 7, "2"); note_value(N_GET_LAZY, 8, "3");
            }
            give();
            TOLD("a=1 b=2 z=3 ");
            SAYS(EMPTY_OUTPUT);
        }
}

static restate_status closure_gets_all(restate_ctx *run, void *arg) {
    const restate_entry *e = NULL;
    (void)arg;
    CHECK_INT(restate_get_all(run, &e), RESTATE_ENDED);
    CHECK(e && !e->key);
    return RESTATE_OK;
}

static restate_status runs_get_all(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_run(ctx, "r", closure_gets_all, NULL, NULL, NULL);
}

TEST(all_misused) {
    EACH(RESTATE_SERVICE, .fn = gets_all) {
        STARTED();
        SAYS("Error 500 index:0 Input message:\"S/h: restate_get_all(): a plain service has no state...");
        log_drop();
    }
    EACH(RESTATE_OBJECT, .fn = runs_get_all) {
        STARTED();
        drop_said();
        LOG_HAS("restate_get_all(): is journaled and cannot be used in a closure");
    }
}

/* ---- Sealed, one of them broken ---------------------------------------------------------------- */

static restate_status seals(void *user, restate_ctx *ctx, restate_bytes plain, restate_bytes *sealed) {
    (void)user;
    *sealed = text(restate_text(ctx, "<%.*s>", RESTATE_ARG(plain)));
    return RESTATE_OK;
}

static restate_status opens(void *user, restate_ctx *ctx, restate_bytes sealed, restate_bytes *plain) {
    (void)user;
    if (sealed.len < 2 || *sealed.ptr != '<') return restate_fail(ctx, 400, "no bracket");
    *plain = text(restate_text(ctx, "%.*s", (int)sealed.len - 2, (const char *)sealed.ptr + 1));
    return RESTATE_OK;
}

TEST(all_sealed) {
    static const restate_seal seal = { .seal = seals, .open = opens };
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_OBJECT, .fn = gets_all, .options.seal = &seal) {
            start(1, .complete = true, .state = variant ? "a=<1>;b=2" : "a=<1>;b=<2>", .key = "o");
            input("<in>"); give();
            if (variant)
                SAYS("GetEagerStateKeys [a,b]", "GetEagerState \"a\" value \"<1>\"", "GetEagerState \"b\" value \"2\"",
                     "Output failure 500 \"a sealed payload could not be opened: no bracket\"", "End");
            else
                SAYS("GetEagerStateKeys [a,b]", "GetEagerState \"a\" value \"<1>\"", "GetEagerState \"b\" value \"<2>\"",
                     EMPTY_OUTPUT);
            TOLD(variant ? "" : "a=1 b=2 ");
        }
}

/* ---- Keys as a future ------------------------------------------------------------------------ */

static restate_status keys_in_a_race(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2];
    const char *const *keys;
    restate_bytes none = text("x");
    size_t which;
    (void)in;
    f[0] = restate_keys_async(ctx);
    f[1] = restate_sleep_async(ctx, 5, NULL);
    RESTATE_TRY(restate_select(ctx, f, 2, &which));
    tell("%d ", (int)which);
    RESTATE_TRY(restate_await_keys(ctx, f[0], &keys));
    for (; *keys; keys++) tell("%s ", *keys);
    RESTATE_TRY(restate_await(ctx, f[0], &none));
    CHECK(!none.ptr);
    return restate_await_keys(ctx, f[0], NULL);
}

TEST(keys_beside_a_timer) {
    EACH(RESTATE_OBJECT, .fn = keys_in_a_race) {
        start(1, .key = "o"); input(""); give();
        SAYS("GetLazyStateKeys 1", "Sleep 2 wake:...", "AwaitingOn W{s:1,N:[FIRST_COMPLETED{c:1,2}]}");
        note_sleep(2); give();
        TOLD("1 ");
        SAYS("AwaitingOn W{c:1,s:1}");
        keys_come(1); give();
        TOLD("a b z ");
        SAYS(EMPTY_OUTPUT);
    }
    EACH(RESTATE_OBJECT, .fn = keys_in_a_race) {
        start(1, .complete = true, .state = "b=1;a=2", .key = "o"); input(""); give();
        TOLD("0 a b ");
        SAYS("GetEagerStateKeys [a,b]", "Sleep 2 wake:...", EMPTY_OUTPUT);
    }
}

static restate_status keys_misused(restate_ctx *ctx, restate_bytes in) {
    const char *const *keys = NULL;
    (void)in;
    CHECK_INT(restate_await_keys(ctx, variant ? NULL : restate_sleep_async(ctx, 5, NULL), &keys), RESTATE_ENDED);
    CHECK(keys && !*keys);
    CHECK_INT(restate_await_keys(ctx, restate_keys_async(ctx), &keys), RESTATE_ENDED);
    return RESTATE_OK;
}

TEST(keys_of_another_future) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_OBJECT, .fn = keys_misused) {
            STARTED();
            drop_said();
            LOG_HAS(variant ? "restate_await_keys(): the future is NULL"
                            : "restate_await_keys(): the future is not of restate_keys_async()");
        }
}

/* ---- Names ----------------------------------------------------------------------------------- */

static restate_status names_all(restate_ctx *ctx, restate_bytes in) {
    char name[] = "set";
    restate_bytes v;
    (void)in;
    CHECK(restate_named(ctx, name) == ctx);
    memset(name, 'x', 3);                   /* it was copied */
    RESTATE_TRY(restate_set(ctx, "a", text("1")));
    RESTATE_TRY(restate_get(restate_named(ctx, "get"), "a", &v));
    RESTATE_TRY(restate_get(ctx, "a", &v));
    restate_named(ctx, "keys");
    RESTATE_TRY(restate_sleep(ctx, 1));     /* has none */
    RESTATE_TRY(restate_get_all(ctx, NULL));
    RESTATE_TRY(restate_clear(restate_named(ctx, "clear"), "a"));
    return restate_clear_all(restate_named(ctx, "all"));
}

TEST(named_operations) {
    EACH(RESTATE_OBJECT, .fn = names_all) {
        start(1, .complete = true, .key = "o"); input("in"); give();
        SAYS("SetState \"a\" value \"1\" name:\"set\"", "GetEagerState \"a\" value \"1\" name:\"get\"",
             "GetEagerState \"a\" value \"1\"", "Sleep 3 wake:...", ex.version == 7 ? "AwaitingOn W{c:3,s:1}" : NULL);
        note_sleep(3); give();
        SAYS("GetEagerStateKeys [a] name:\"keys\"", "GetEagerState \"a\" value \"1\"", "ClearState \"a\" name:\"clear\"",
             "ClearAllState name:\"all\"", EMPTY_OUTPUT);
    }
}

static restate_status names_badly(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    CHECK(restate_named(ctx, variant == 0 ? NULL : variant == 1 ? "" : "n") == ctx);
    return restate_set(ctx, "k", text("v"));
}

TEST(names_misused) {
    for (variant = 0; variant < 3; variant++)
        EACH(variant == 2 ? RESTATE_SERVICE : RESTATE_OBJECT, .fn = names_badly) {
            STARTED();
            SAYS(variant == 2 ? "Error 500 index:0 Input message:\"S/h: restate_named(): a plain service has no state..."
                              : "Error 500 index:0 Input message:\"S/h: restate_named(): the name is empty\"");
            log_drop();
        }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(all_that_came_along), T(all_that_is_fetched), T(all_replayed), T(all_suspends_and_differs),
        T(all_cancelled), T(all_misused), T(all_sealed), T(keys_beside_a_timer), T(keys_of_another_future),
        T(named_operations), T(names_misused),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
