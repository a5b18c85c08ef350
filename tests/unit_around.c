/* Section >>context, what goes around a handler: hooks and map_error, numbers that are no status,
 * ids from outside, contexts on the wrong thread. */
#define _GNU_SOURCE
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "../restate.h"

#include "exchange.h"

static restate_bytes text(const char *s) { return restate_str(s); }
static restate_bytes absent(void) { return restate__b_none(); }

static int variant;

static void begins(void) {
    start(1, .complete = true, .seed = 1);
    input("in");
}

static const char *status_name(restate_status s) {
    static const char *const names[] = { "ok", "terminal", "timeout", "cancelled", "ended", "error" };
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

static restate_status say(restate_ctx *ctx, restate_status s) {
    tell("%s(%s) ", status_name(s), s == RESTATE_OK ? "" : restate_failed(ctx)->message);
    return s;
}

/* ---- Hooks --------------------------------------------------------------------------------------- */

static void on_begin(void *user, restate_ctx *ctx) {
    tell("%s:begin%s ", (const char *)user, restate_request(ctx)->replaying ? "(replaying)" : "");
}
static void on_end(void *user, restate_ctx *ctx, restate_status status) {
    RESTATE_IGNORE(restate_fail(ctx, 1, "by a hook"));      /* changes nothing */
    tell("%s:end(%s) ", (const char *)user, status_name(status));
}
static void on_run_begin(void *user, restate_ctx *run, const char *name) {
    tell("%s:run(%s of %s) ", (const char *)user, name, restate_request(run)->target.handler);
}
static void on_run_end(void *user, restate_ctx *run, const char *name, restate_status status) {
    (void)run;
    tell("%s:ran(%s %s) ", (const char *)user, name, status_name(status));
}
static const restate_pair *outbound(void *user, restate_ctx *ctx, const restate_target *to) {
    static restate_pair headers[2];
    (void)ctx;
    headers[0].name = (const char *)user;
    headers[0].value = to->handler;
    return headers;
}

#define HOOKS(name) { on_begin, on_end, on_run_begin, on_run_end, outbound, (void *)(uintptr_t)name }
static const restate_hooks inner = HOOKS("inner"), outer = HOOKS("outer");

static restate_status gives_1(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, text("1"));
}
static restate_status fails(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_fail(run, 418, "teapot");
}

/* Run, send, then what the input asks for. */
static restate_status hooked(restate_ctx *ctx, restate_bytes in) {
    const restate_target to = { .service = "G", .handler = "g" };
    const restate_pair own[] = { { "own", "1" }, { NULL, NULL } };
    const restate_call_options o = { .headers = own };
    restate_bytes value;
    RESTATE_TRY(restate_run(ctx, "one", gives_1, NULL, NULL, &value));
    restate_send(ctx, to, absent(), &o);
    switch (*in.ptr) {
    case 'f': return restate_run(ctx, "two", fails, NULL, NULL, &value);
    case 's': return restate_sleep(ctx, 1000);
    case 'n': return (restate_status)17;
    case 'm': restate_set(ctx, "k", value); return RESTATE_OK;
    default: return restate_reply(ctx, value);
    }
}

#define EACH_HOOKED EACH(RESTATE_SERVICE, .fn = hooked, .options = { .hooks = &inner })

static void run_stored(unsigned id, const char *value) {
    if (ex.version == 7) note_ack(id);
    else note_value(N_RUN, id, value);
}

/* The send of hooked(), as it is recorded. */
static void sends(void) { frame(M_SEND, "1s 2s 5(1s2s) 10u", "G", "g", "own", "1", 2); }

/* Endpoint's first at the beginning, last at the end; closures that execute, and nothing replayed. */
TEST(hooks) {
    ex.defaults.hooks = &outer;
    EACH_HOOKED {
        start(1, .complete = true); input("ok"); give();
        TOLD("outer:begin inner:begin outer:run(one of h) inner:run(one of h) inner:ran(one ok) "
             "outer:ran(one ok) ");
        drop_said();
        run_stored(1, "1"); give();
        SAYS("OneWayCall 2 \"G\" \"g\" \"own\":\"1\" \"outer\":\"g\" \"inner\":\"g\"",
             "Output value \"1\"", "End");
        TOLD("inner:end(ok) outer:end(ok) ");
    }
    EACH_HOOKED {                           /* replayed to the sleep, which suspends */
        start(4, .complete = true); input("sleep"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); give();
        TOLD("");
        sends(); give_and_end();
        TOLD("outer:begin(replaying) inner:begin(replaying) inner:end(ended) outer:end(ended) ");
        drop_said();
    }
    memset(&ex.defaults, 0, sizeof ex.defaults);
}

/* What `end` is told is what became of the attempt, not what the handler hoped for. */
TEST(hooks_are_told_the_outcome) {
    EACH_HOOKED {                           /* the journal has another output */
        start(5); input("ok"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); sends();
        frame(M_OUTPUT, "14(1b)", "other", (size_t)5); give();
        SAYS("Error 570...");
        TOLD("inner:begin(replaying) inner:end(ended) ");
        LOG_HAS("570");
    }
    EACH_HOOKED {
        start(4); input("number"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); sends(); give();
        SAYS("Error 500...");
        TOLD("inner:begin(replaying) inner:end(ended) ");
        LOG_HAS("the handler returned 17, which is no restate_status");
    }
    EACH_HOOKED {
        start(4); input("fail"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); sends(); give();
        drop_said();
        TOLD("inner:begin(replaying) inner:run(two of h) inner:ran(two terminal) ");
        note_failure(N_RUN, 3, 418, "teapot"); give();
        if (ex.version == 7) { note_ack(3); give(); }
        SAYS("Output failure 418 \"teapot\"", "End");
        TOLD("inner:end(terminal) ");
    }
}

/* ---- map_error ----------------------------------------------------------------------------------- */

static bool maps(void *user, uint16_t code, const char *message, restate_failure *out) {
    tell("map(%s %u %s) ", user ? (const char *)user : "", code, message);
    out->code = 409;
    out->message = "mapped";
    return !strstr(message, "keep");
}

static restate_status wrong_in_a_closure(restate_ctx *run, void *arg) {
    restate_retry_options o = { .code = 503 };
    (void)arg;
    return variant == 2 ? (restate_status)-1 : restate_retry(run, &o, "busy");
}

static restate_status wrong(restate_ctx *ctx, restate_bytes in) {
    restate_retry_options o = { .code = 503 };
    (void)in;
    switch (variant) {
    case 0: return (restate_status)-1;
    case 1: return restate_retry(ctx, &o, "busy");
    case 2: case 3: return say(ctx, restate_run(ctx, "r", wrong_in_a_closure, NULL, NULL, NULL));
    case 4: return restate_retry(ctx, &o, "keep");
    default: restate_set(ctx, "k", text("v")); return RESTATE_OK;
    }
}

/* A retryable error of handler or closure is asked for, a misuse is not. */
TEST(map_error) {
    static const char *const told[] = {
        "map(U 500 the handler returned -1, which is no restate_status) ", "map(U 503 busy) ",
        "map(U 500 the closure returned -1, which is no restate_status) ", "map(U 503 busy) ",
        "map(U 503 keep) ", ""
    };
    static char user[] = "U";
    for (variant = 0; variant < 6; variant++)
        EACH(RESTATE_SERVICE, .fn = wrong, .options = { .map_error = maps, .user = user }) {
            begins(); give();
            TOLD(told[variant]);
            if (variant == 4) { SAYS("Error 503..."); LOG_HAS("keep"); continue; }
            if (variant == 5) { SAYS("Error 500..."); LOG_HAS("a plain service has no state"); continue; }
            if (variant == 2 || variant == 3) {
                drop_said();
                if (ex.version == 7) note_ack(1);
                else note_failure(N_RUN, 1, 409, "mapped");
                give();
                TOLD("terminal(mapped) ");
            }
            SAYS("Output failure 409 \"mapped\"", "End");
        }
}

/* ---- Ids from outside ---------------------------------------------------------------------------- */

/* ---- Ids from outside ----------------------------------------------------------------------------- */

#define ID_KEY "inv_1gdJBtdVEcM9"                   /* up to the second of the two numbers */
#define ID_AWAKEABLE "AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAE"

#define NO_INVOCATION "it does not begin with \"inv_1\""
#define NO_DIGITS "behind \"inv_1\" there are digits and letters only"
#define NO_LENGTH "it does not have 38 characters"
#define NO_NUMBER "it stands for a number that is too large"
#define NO_AWAKEABLE "it does not begin with \"sign_1\" or \"prom_1\""
#define NO_SIGN "behind its \"_1\" there are digits, letters, '-' and '_' only"
#define NO_SIGN_LENGTH "it does not have 44 characters"
#define NO_LAST "its last character is none of A, Q, g, w"

typedef struct id_from_outside {
    const char *id, *why;                           /* NULL: the server takes it */
} id_from_outside;

/* Those of e2e.c, which asks the server for each whether it is one, are the same and more. */
static const id_from_outside invocation_ids[] = {
    { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NULL }, { "inv_1000000000000000000000000000000000", NULL },
    { "inv_1lYGhA16ahyf0000000000000000000000", NULL }, { "inv_1lYGhA16ahyg0000000000000000000000", NO_NUMBER },
    { "inv_1000000000007N42dgm5tFLK9N8MT7fHC7", NULL }, { "inv_1000000000007N42dgm5tFLK9N8MT7fHC8", NO_NUMBER },
    { "inv_1lYGhA16ahyf7N42dgm5tFLK9N8MT7fHC7", NULL }, { "inv_1m0000000000000000000000000000000", NO_LENGTH },
    { "inv_1m00000000000000000000000000000000", NO_NUMBER }, { "inv_1000000000008000000000000000000000", NO_NUMBER },
    { "inv_1ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", NO_NUMBER }, { "inv_1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NO_NUMBER },
    { "x", NO_INVOCATION }, { "", NO_INVOCATION }, { "inv_", NO_INVOCATION }, { "inv_1", NO_LENGTH },
    { "inv_1short", NO_LENGTH }, { "inv_2gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION },
    { "inv_0gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION }, { "inv1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION },
    { "INV_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION }, { " inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION },
    { ID_KEY "42bjcDmb1c1khoaJe11Hbz ", NO_DIGITS }, { ID_KEY "42bjcDmb1c1khoaJe11Hbz\n", NO_DIGITS },
    { ID_KEY "42bjcDmb1c1khoaJe11Hb_", NO_DIGITS }, { ID_KEY "42bjcDmb1c1khoaJe11Hb-", NO_DIGITS },
    { ID_KEY "42bjcDmb1c1khoaJe11Hb\xC3\xA9", NO_DIGITS }, { ID_KEY "42bjcDmb1c1khoaJe11Hb", NO_LENGTH },
    { ID_KEY "42bjcDmb1c1khoaJe11Hbz0", NO_LENGTH }, { ID_KEY "042bjcDmb1c1khoaJe11Hbz", NO_LENGTH },
    { "sign_1" ID_AWAKEABLE "Q", NO_INVOCATION }, { "dp_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_INVOCATION }
};
static const id_from_outside awakeable_ids[] = {
    { "sign_1" ID_AWAKEABLE "Q", NULL }, { "prom_1" ID_AWAKEABLE "Q", NULL }, { "sign_1" ID_AWAKEABLE "A", NULL },
    { "sign_1" ID_AWAKEABLE "g", NULL }, { "prom_1" ID_AWAKEABLE "w", NULL }, { "sign_1" ID_AWAKEABLE "Q=", NULL },
    { "sign_1" ID_AWAKEABLE "Q==", NULL }, { "prom_1" ID_AWAKEABLE "Q==", NULL },
    { "sign_1_____________________________________w", NULL }, { "sign_1--------------------------------------", NO_LAST },
    { "sign_1" ID_AWAKEABLE "B", NO_LAST }, { "sign_1" ID_AWAKEABLE "R==", NO_LAST }, { "prom_1" ID_AWAKEABLE "_", NO_LAST },
    { "sign_1" ID_AWAKEABLE "Q===", NO_SIGN_LENGTH }, { "sign_1" ID_AWAKEABLE "QA", NO_SIGN_LENGTH },
    { "sign_1" ID_AWAKEABLE, NO_SIGN_LENGTH }, { "sign_1" ID_AWAKEABLE "=", NO_SIGN }, { "sign_1" ID_AWAKEABLE "Q=A", NO_SIGN_LENGTH },
    { "sign_1" ID_AWAKEABLE "=Q", NO_SIGN }, { "sign_1AZmn+yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ", NO_SIGN },
    { "sign_1AZmn/yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ", NO_SIGN }, { "sign_1" ID_AWAKEABLE "Q ", NO_SIGN },
    { " sign_1" ID_AWAKEABLE "Q", NO_AWAKEABLE }, { "sign_2" ID_AWAKEABLE "Q", NO_AWAKEABLE }, { "sign_1", NO_SIGN_LENGTH },
    { "prom_" ID_AWAKEABLE "Q", NO_AWAKEABLE }, { "SIGN_1" ID_AWAKEABLE "Q", NO_AWAKEABLE }, { "", NO_AWAKEABLE },
    { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", NO_AWAKEABLE }
};

static const id_from_outside *given_id;
static int given_call;

/* A write follows, whose place in the journal tells whether the id has got one. */
static restate_status uses_id(restate_ctx *ctx, restate_bytes in) {
    const restate_invocation of = { .id = given_id->id };
    const restate_failure no = { .message = "no" };
    restate_status s;
    (void)in;
    switch (given_call) {
    case 0: s = restate_cancel(ctx, of.id); break;
    case 1: s = restate_signal_resolve(ctx, of.id, "n", text("v")); break;
    case 2: s = restate_signal_reject(ctx, of.id, "n", &no); break;
    case 3: s = restate_attach(ctx, of, NULL); break;
    case 4: s = restate_await(ctx, restate_attach_async(ctx, of), NULL); break;
    case 5: s = restate_output(ctx, of, NULL); break;
    case 6: s = restate_resolve(ctx, of.id, text("v")); break;
    default: s = restate_reject(ctx, of.id, &no); break;
    }
    if (s == RESTATE_ENDED) return s;
    say(ctx, s);
    if (s != RESTATE_OK) CHECK_INT(restate_failed(ctx)->code, 400);
    return restate_set(ctx, "k", text("v"));
}

static void check_bad_id(bool replayed) {
    char line[200];
    snprintf(line, sizeof line, "terminal(\"%s\" is not the id of an %s: %s) ", given_id->id,
             given_call < 6 ? "invocation (inv_...)" : "awakeable (sign_1...)", given_id->why);
    EACH(RESTATE_OBJECT, .fn = uses_id) {
        start(replayed ? 2 : 1, .complete = true, .key = "k");
        input("in");
        if (replayed) cmd_set("k", "v");
        give();
        TOLD(line);
        if (replayed) SAYS("Output value \"\"", "End");
        else SAYS("SetState \"k\" value \"v\"", "Output value \"\"", "End");
    }
}

static void check_good_id(void) {
    static const char *const commands[] = {
        "SendSignal...", "SendSignal...", "SendSignal...", "AttachInvocation...", "AttachInvocation...",
        "GetInvocationOutput...", "CompleteAwakeable...", "CompleteAwakeable..."
    };
    EACH(RESTATE_OBJECT, .fn = uses_id) {
        start(1, .complete = true, .key = "k");
        input("in"); give();
        if (given_call >= 3 && given_call <= 5) {
            SAYS(commands[given_call], "? AwaitingOn...");
        } else {
            TOLD("ok() ");
            SAYS(commands[given_call], "SetState \"k\" value \"v\"", "Output value \"\"", "End");
        }
    }
}

static void check_ids(const id_from_outside *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        given_id = &ids[i];
        test_note = ids[i].id;
        if (ids[i].why) {
            check_bad_id(false);
            check_bad_id(true);
        } else {
            check_good_id();
        }
    }
}

/* What cannot be an id never reaches the server, which would refuse the attempt for ever; what can
 * be one does. Nothing is journaled for the former, so that a replay says the same. */
TEST(ids_from_outside) {
    for (given_call = 0; given_call < 8; given_call++) {
        if (given_call < 6) check_ids(invocation_ids, sizeof invocation_ids / sizeof *invocation_ids);
        else check_ids(awakeable_ids, sizeof awakeable_ids / sizeof *awakeable_ids);
    }
}

static const id_from_outside scopes[] = {
    { "a", NULL }, { "tenant-1_x.Y", NULL }, { "abcdefghijklmnopqrstuvwxyz0123456789", NULL },
    { "abcdefghijklmnopqrstuvwxyz0123456789-", "a scope has at most 36 characters" },
    { "a b", "a scope has digits, letters, '_', '.' and '-' only" }, { "a/b", "a scope has digits, letters, '_', '.' and '-' only" },
    { "\xC3\xA9", "a scope has digits, letters, '_', '.' and '-' only" }, { "a\n", "a scope has digits, letters, '_', '.' and '-' only" }
};

static restate_status uses_scope(restate_ctx *ctx, restate_bytes in) {
    restate_invocation of = { .target = { .service = "W", .key = "k", .scope = given_id->id } };
    restate_status s;
    (void)in;
    if (given_call == 1) of.target.handler = "h", of.idempotency_key = "i";
    s = given_call == 2 ? restate_output(ctx, of, NULL) : restate_attach(ctx, of, NULL);
    if (s == RESTATE_ENDED) return s;
    CHECK_INT(restate_failed(ctx)->code, 400);
    say(ctx, s);
    return RESTATE_OK;
}

/* A scope is a part of the name of an invocation, which the server refuses as it does ids. */
TEST(scopes_of_invocations) {
    char line[160];
    for (given_call = 0; given_call < 3; given_call++)
        for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
            given_id = &scopes[i];
            test_note = scopes[i].id;
            snprintf(line, sizeof line, "terminal(\"%s\" is not a scope: %s) ", scopes[i].id, scopes[i].why ? scopes[i].why : "");
            EACH_OF(7, 7, RESTATE_SERVICE, .fn = uses_scope) {
                start(1, .complete = true);
                input("in"); give();
                if (scopes[i].why) {
                    TOLD(line);
                    SAYS("Output value \"\"", "End");
                } else {
                    SAYS(given_call == 2 ? "GetInvocationOutput..." : "AttachInvocation...", "? AwaitingOn...");
                }
            }
        }
}

/* In base 62, with `width` digits; the number is big-endian. */
static void put_base62(char *to, const uint8_t *number, size_t len, size_t width) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint8_t left[32];
    memcpy(left, number, len);
    for (size_t k = width; k-- > 0;) {
        unsigned rest = 0;
        for (size_t i = 0; i < len; i++) {
            rest = rest << 8 | left[i];
            left[i] = (uint8_t)(rest / 62);
            rest %= 62;
        }
        to[k] = digits[rest];
    }
}

/* Every number that fits has an id, and no other. `over`: what is added to the byte above. */
TEST(numbers_of_ids) {
    char id[6 + 33] = "inv_1";
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 20000; round++) {
        uint8_t key[9], rest[17];
        unsigned over = (unsigned)round % 5;                    /* 0, 1: fit */
        for (size_t i = 0; i < 26; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            (i < 9 ? key : rest)[i < 9 ? i : i - 9] = round % 7 == 0 ? 0xFF : round % 7 == 1 ? 0 : (uint8_t)random;
        }
        key[0] = over == 2;                                     /* 62^11 is less than 3 * 2^64 */
        rest[0] = over == 3 ? 1 : over == 4 ? 2 : 0;            /* 62^22 is more than 7 * 2^128 */
        put_base62(id + 5, key, 9, 11);
        put_base62(id + 16, rest, 17, 22);
        id[38] = 0;
        test_note = id;
        CHECK((restate__b_invocation_id_fault(id) == NULL) == (over < 2));
    }
    test_note = "";
}

/* ---- The wrong thread ---------------------------------------------------------------------------- */

static restate_ctx *stolen;

/* One call each; nothing of the attempt may be touched. */
static void *steals(void *arg) {
    restate_bytes value = text("x");
    const char *const *keys;
    (void)arg;
    switch (variant) {
    case 0: CHECK_INT(restate_sleep(stolen, 1), RESTATE_ENDED); break;
    case 1: CHECK_INT(restate_reply(stolen, value), RESTATE_ENDED); break;
    case 2: CHECK_INT(restate_fail(stolen, 1, "x"), RESTATE_ENDED); break;
    case 3: CHECK_INT(restate_retry(stolen, NULL, "x"), RESTATE_ENDED); break;
    case 4: CHECK_INT(restate_random(stolen), 0); break;
    case 5: CHECK_STR(restate_uuid(stolen), ""); break;
    case 6: CHECK_INT(restate_get(stolen, "k", &value), RESTATE_ENDED); break;
    case 7: CHECK_INT(restate_keys(stolen, &keys), RESTATE_ENDED); break;
    case 8: CHECK_INT(restate_set(stolen, "k", value), RESTATE_ENDED); break;
    case 9: CHECK_INT(restate_await(stolen, restate_awakeable(stolen, NULL), NULL), RESTATE_ENDED); break;
    case 10: CHECK_INT(restate_selector_remaining(restate_selector_new(stolen, NULL, 0)), 0); break;
    default: CHECK_INT(restate_run(stolen, "r", gives_1, NULL, NULL, &value), RESTATE_ENDED); break;
    }
    return NULL;
}

static restate_status is_stolen_from(restate_ctx *ctx, restate_bytes in) {
    pthread_t thief;
    stolen = ctx;
    if (pthread_create(&thief, NULL, steals, NULL) != 0) abort();
    pthread_join(thief, NULL);
    if (*in.ptr == 'n') CHECK_INT(restate_set(ctx, "k", text("v")), RESTATE_ENDED);
    return restate_reply(ctx, text("lost"));
}

/* Found out at the handler's next call, or when it returns. */
TEST(another_thread) {
    for (variant = 0; variant < 12; variant++)
        for (int last = 0; last < 2; last++)
            EACH_OF(7, 7, RESTATE_OBJECT, .fn = is_stolen_from) {
                start(1, .complete = true); input(last ? "last" : "next"); give();
                SAYS("Error 500 index:0 Input message:\"S/h: ...");
                LOG_HAS("the handler's context was used in a closure, or by another thread");
            }
}

/* ---- Keys ---------------------------------------------------------------------------------------- */

static restate_status reads_keys(restate_ctx *ctx, restate_bytes in) {
    const char *const *keys;
    (void)in;
    RESTATE_TRY(restate_keys(ctx, &keys));
    for (; *keys; keys++) tell("%s ", *keys);
    return RESTATE_OK;
}

TEST(fetched_keys_are_sorted) {
    EACH(RESTATE_OBJECT, .fn = reads_keys) {
        start(1); input("in"); give();
        drop_said();
        frame(N_GET_LAZY_KEYS, "1u 17(1s1s1s1s)", 1, "b", "a", "", "ab"); give();
        TOLD(" a ab b ");
        drop_said();
    }
}

/* ---- Closures that are still wanted --------------------------------------------------------------- */

static restate_ctx *at_gate;

static restate_status waits(restate_ctx *run, void *arg) {
    (void)arg;
    at_gate = run;
    gate();
    tell("%s ", restate_stop_requested(run) ? "stop" : "go on");
    return restate_reply(run, text("ran"));
}

/* A run, and something else that is settled first; in between the handler is told of it. */
static restate_status races(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[2], *outer_, *inner_;
    restate_selector *left;
    restate_bytes value;
    size_t i;
    (void)in;
    f[0] = restate_run_async(ctx, "run", waits, NULL, NULL);
    f[1] = restate_sleep_async(ctx, 1000, NULL);
    switch (variant) {
    case 0: RESTATE_TRY(restate_select(ctx, f, 2, &i)); CHECK_INT(i, 1); break;
    case 1:
        left = restate_selector_new(ctx, f, 2);
        RESTATE_TRY(restate_selector_next(ctx, left, &i));
        CHECK_INT(i, 1);
        break;
    case 2: CHECK_INT(restate_await_for(ctx, f[0], 500, NULL), RESTATE_TIMEOUT); break;
    case 3: RESTATE_TRY(restate_await(ctx, restate_race(ctx, f, 2), NULL)); break;
    case 4:                                 /* in an all that is in a decided race */
        inner_ = restate_all(ctx, f, 1);
        f[0] = inner_;
        outer_ = restate_race(ctx, f, 2);
        RESTATE_TRY(restate_await(ctx, outer_, NULL));
        return restate_sleep(ctx, 1);
    default:                                /* in two races, one of them open */
        outer_ = restate_race(ctx, f, 1);
        RESTATE_TRY(restate_await(ctx, restate_race(ctx, f, 2), NULL));
        return restate_await(ctx, outer_, NULL);
    }
    tell("told ");
    return restate_await(ctx, f[0], &value);
}

TEST(closures_still_wanted) {
    for (variant = 0; variant < 6; variant++)
        EACH_OF(7, 7, RESTATE_SERVICE, .fn = races) {
            bool lost = variant == 3 || variant == 4;
            begins(); ex_feed(); turn();
            gate_reached(1);
            note_void(N_SLEEP, variant == 2 ? 3 : 2); ex_feed(); turn();
            if (ex.handlers[0].options.blocking)
                while (ex.x->attempt->state != RESTATE__ATTEMPT_PARKED) turn();
            if (variant < 4) TOLD("told ");
            gate_open();
            settle();
            TOLD(lost ? "stop " : "go on ");
            drop_said();
        }
}

/* ---- What a request is inside of closures and hooks ------------------------------------------------ */

static restate_status seal_x(void *user, restate_ctx *ctx, restate_bytes plain, restate_bytes *sealed) {
    (void)user;
    *sealed = restate_str(restate_text(ctx, "x%s", (const char *)plain.ptr));
    return RESTATE_OK;
}
static restate_status open_x(void *user, restate_ctx *ctx, restate_bytes sealed, restate_bytes *plain) {
    (void)user;
    tell("sealed(%s) ", (const char *)restate_request(ctx)->body.ptr);
    if (*sealed.ptr != 'x') return restate_fail(ctx, 400, "not sealed");
    *plain = restate_str(restate_text(ctx, "%s", (const char *)sealed.ptr + 1));
    return RESTATE_OK;
}
static const restate_seal with_x = { seal_x, open_x, NULL, false };

static void looks(void *user, restate_ctx *ctx) {
    (void)user;
    tell("begin(%s) ", (const char *)restate_request(ctx)->body.ptr);
}
static const restate_hooks looking = { .begin = looks };

static restate_status looks_live(restate_ctx *run, void *arg) {
    (void)arg;
    tell("closure(%s%s) ", (const char *)restate_request(run)->body.ptr, restate_request(run)->replaying ? " replaying" : "");
    return RESTATE_OK;
}

static restate_status sealed(restate_ctx *ctx, restate_bytes in) {
    tell("handler(%s %s%s) ", (const char *)in.ptr, (const char *)restate_request(ctx)->body.ptr,
         restate_request(ctx)->replaying ? " replaying" : "");
    RESTATE_TRY(restate_sleep(ctx, 1));
    return restate_run(ctx, "r", looks_live, NULL, NULL, NULL);
}

TEST(requests_are_opened) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = sealed, .options = { .seal = &with_x, .hooks = &looking }) {
        start(3); input("xin"); cmd_sleep(1, "", 5); note_void(N_SLEEP, 1); give();
        TOLD("sealed(xin) begin(in) handler(in in replaying) closure(in) ");
        drop_said();
    }
}

/* ---- Small mistakes -------------------------------------------------------------------------------- */

static restate_status never(restate_ctx *run, void *arg) {
    (void)arg;
    tell("executed ");
    return restate_retry(run, NULL, "no");
}

static restate_status mistakes(restate_ctx *ctx, restate_bytes in) {
    restate_run_options o = { .inline_ok = true };
    const restate_target to = { .service = "G", .handler = "g" };
    const restate_pair bad[] = { { "name", "\xff" }, { NULL, NULL } };
    const restate_call_options with_bad = { .headers = bad };
    (void)in;
    switch (variant) {
    case 0: o.retry.when_exhausted = RESTATE_EXHAUSTED_PAUSE; o.retry.max_attempts = 1; break;
    case 1: o.retry.factor = 0.5; break;
    case 2: restate_sleep_async(ctx, 1, "\xff"); return RESTATE_OK;
    case 3: CHECK_INT(restate_run(ctx, "\xff", never, NULL, &o, NULL), RESTATE_ENDED); return RESTATE_OK;
    case 4: restate_send(ctx, to, text("x"), &with_bad); return RESTATE_OK;
    case 5: CHECK_INT(restate_await_for(ctx, NULL, 5, NULL), RESTATE_ENDED); return RESTATE_OK;
    default: CHECK_INT(restate_call(ctx, to, text("x"), &with_bad, NULL), RESTATE_ENDED); return RESTATE_OK;
    }
    CHECK_INT(restate_run(ctx, "r", never, NULL, &o, NULL), RESTATE_ENDED);
    return RESTATE_OK;
}

/* Nothing is recorded, nothing executed. */
TEST(mistakes_record_nothing) {
    static const char *const says[] = {
        "Error 573...", "Error 500 index:0 Input message:\"S/h: restate_run(): retry.factor is no number from 1 to 1e9\"",
        "Error 500 index:0 Input message:\"S/h: restate_sleep_async(): the name is not UTF-8\"",
        "Error 500 index:0 Input message:\"S/h: restate_run(): the name is not UTF-8\"",
        "Error 500 index:0 Input message:\"S/h: restate_send(): a header of the call is not UTF-8\"",
        "Error 500 index:0 Input message:\"S/h: restate_await_for(): the future is NULL\"",
        "Error 500 index:0 Input message:\"S/h: restate_call(): a header of the call is not UTF-8\"",
    };
    for (variant = 0; variant < 7; variant++)
        EACH_OF(5, 6, RESTATE_SERVICE, .fn = mistakes) {
            begins(); give();
            SAYS(says[variant]);
            LOG_HAS("the attempt failed with 5");
        }
}

/* ---- Log levels, timeouts --------------------------------------------------------------------------- */

static restate_status logs(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_log(ctx, RESTATE_LOG_DEFAULT, "default");
    restate_log(ctx, RESTATE_LOG_OFF, "off");
    restate_log(ctx, RESTATE_LOG_DEBUG, "debug");
    return RESTATE_OK;
}

TEST(log_levels) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = logs) {
        begins(); give();
        LOG("INFO default\n");
        CHECK(!ex.by_library);
        drop_said();
    }
    variant = 0;
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = wrong) {
        begins(); give();
        LOG_HAS("returned -1");
        CHECK(ex.by_library);
        drop_said();
    }
}

/* ---- Answers of another kind ------------------------------------------------------------------------- */

static restate_status asks(restate_ctx *ctx, restate_bytes in) {
    const restate_target to = { .service = "G", .handler = "g" };
    const char *const *keys, *id;
    restate_bytes value;
    (void)in;
    switch (variant) {
    case 0: return restate_keys(ctx, &keys);
    case 1: return restate_get(ctx, "k", &value);
    case 2: return restate_call_id(ctx, restate_call_async(ctx, to, absent(), NULL), &id);
    case 3: return restate_call_id(ctx, restate_send(ctx, to, absent(), NULL), &id);
    case 4: return restate_await(ctx, restate_send(ctx, to, absent(), NULL), &value);
    case 5: return restate_sleep(ctx, 1);
    default: return restate_await(ctx, restate_awakeable(ctx, NULL), &value);
    }
}

/* What a peer sends is looked at before it is used: kinds of results are 0 void, 1 value, 2 failure,
 * 3 id, 4 keys; `right` has those that fit. */
TEST(answers_of_another_kind) {
    static const unsigned types[] = { N_GET_LAZY_KEYS, N_GET_LAZY, N_CALL_ID, N_CALL_ID, N_CALL_ID, N_SLEEP, N_SIGNAL };
    static const char *const right[] = { "4", "012", "3", "3", "3", "012", "012" };
    for (variant = 0; variant < 7; variant++)
        for (int kind = 0; kind < 5; kind++)
            for (int replayed = 0; replayed < 2; replayed++)
                EACH(RESTATE_OBJECT, .fn = asks) {
                    unsigned number = variant == 6 ? 17 : 1;
                    bool fits = strchr(right[variant], '0' + kind) != NULL;
                    start(replayed ? 2 : 1); input("in");
                    if (!replayed) give();
                    if (kind == 0) frame(types[variant], variant == 6 ? "2u 4()" : "1u 4()", number);
                    if (kind == 1) frame(types[variant], variant == 6 ? "2u 5(1s)" : "1u 5(1s)", number, "a text longer than a pointer");
                    if (kind == 2) frame(types[variant], variant == 6 ? "2u 6(1u2s)" : "1u 6(1u2s)", number, 418, "teapot");
                    if (kind == 3) frame(types[variant], variant == 6 ? "2u 16s" : "1u 16s", number, INV_X);
                    if (kind == 4) frame(types[variant], variant == 6 ? "2u 17(1s)" : "1u 17(1s)", number, "k");
                    give();
                    ex_collect();
                    CHECK_INT(ex.x->attempt->vm.phase == RESTATE__ERRORED, !fits);
                    drop_said();
                    if (!fits) LOG_HAS("failed with 571: the answer with number");
                }
}

/* ---- Looping on what makes futures, after the end ------------------------------------------------------ */

static restate_status spins(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    RESTATE_IGNORE(restate_retry(ctx, NULL, "over"));
    while (restate_awakeable(ctx, NULL)) continue;
    return RESTATE_OK;
}

TEST(spinning_on_futures) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = spins) {
        begins(); give();
        SAYS("Error 500...");
        LOG_HAS("and is cut off");
    }
}

/* ---- Input that is no array --------------------------------------------------------------------------- */

static restate_status sums(restate_ctx *ctx, restate_bytes in) {
    restate_bytes list, e = { 0 };
    long long n, sum = 0;
    RESTATE_TRY(restate_json_member(ctx, in, "list", &list));
    while (restate_json_next(ctx, list, &e)) {
        RESTATE_TRY(restate_json_int(ctx, e, NULL, &n));
        sum += n;
    }
    tell("%s ", restate_stop_requested(ctx) ? "over" : "fine");
    return restate_reply(ctx, restate_json(ctx, "%lld", sum));
}

/* A request from outside ends its invocation; it is not tried for ever. */
TEST(input_that_is_no_array) {
    static const struct { const char *in, *told, *says; } cases[] = {
        { "{\"list\":[1,2]}", "fine ", "Output value \"3\"" },
        { "{}", "fine ", "Output value \"0\"" },
        { "{\"list\":5}", "over ", "Output failure 400 \"json: expected an array, found 5 at byte 0\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EACH(RESTATE_SERVICE, .fn = sums) {
            start(1); input(cases[i].in); give();
            TOLD(cases[i].told);
            SAYS(cases[i].says, "End");
        }
}

/* ---- Combinators of what is settled --------------------------------------------------------------- */

static restate_status races_settled(restate_ctx *ctx, restate_bytes in) {
    const restate_failure no = { 418, "teapot", NULL };
    restate_future *f[2];
    (void)in;
    f[0] = restate_settled(ctx, text("v"), variant & 1 ? &no : NULL);
    f[1] = restate_settled(ctx, text("v"), variant & 1 ? NULL : &no);
    if (variant & 2) {                      /* where they stand is of no account */
        restate_future *first = f[0];
        f[0] = f[1];
        f[1] = first;
    }
    return say(ctx, restate_await(ctx, restate_race(ctx, f, 2), NULL));
}

TEST(the_first_settled_wins) {
    for (variant = 0; variant < 4; variant++)
        EACH_OF(7, 7, RESTATE_SERVICE, .fn = races_settled) {
            begins(); give();
            TOLD(variant & 1 ? "terminal(teapot) " : "ok() ");
            drop_said();
        }
}

/* ---- Delays ------------------------------------------------------------------------------------------ */

static uint64_t delay;

static restate_status delays(restate_ctx *ctx, restate_bytes in) {
    const restate_retry_options o = { .delay_ms = delay };
    (void)in;
    return restate_retry(ctx, &o, "later");
}

/* A server loses a partition over what is too long. */
TEST(delays_in_bounds) {
    static const struct { uint64_t ms; const char *says; } cases[] = {
        { 5, "Error 500 index:0 Input delay:5 message:\"later\"" },
        { RESTATE_ZERO_MS, "Error 500 index:0 Input delay:0 message:\"later\"" },
        { (uint64_t)-1000, "Error 500 index:0 Input delay:0 message:\"later\"" },
        { RESTATE_DAYS(36500), "Error 500 index:0 Input delay:63072000000 message:\"later\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        delay = cases[i].ms;
        EACH_OF(7, 7, RESTATE_SERVICE, .fn = delays) {
            begins(); give();
            SAYS(cases[i].says);
            LOG_HAS("later");
        }
    }
}

static restate_status asks_at_once(restate_ctx *run, void *arg) {
    (void)arg;
    tell("%s ", restate_stop_requested(run) ? "stop" : "go on");
    return RESTATE_OK;
}

static restate_status timed(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options o = { .timeout_ms = RESTATE_ZERO_MS, .inline_ok = true };
    (void)in;
    return restate_run(ctx, "r", asks_at_once, NULL, &o, NULL);
}

TEST(no_time_at_all) {
    EACH_OF(7, 7, RESTATE_SERVICE, .fn = timed) {
        begins(); give();
        TOLD("stop ");
        drop_said();
        ex.log.len = 0;                     /* whether it took a millisecond */
        if (ex.log.at) *ex.log.at = 0;
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(hooks), T(hooks_are_told_the_outcome), T(map_error), T(ids_from_outside), T(scopes_of_invocations), T(numbers_of_ids),
        T(another_thread), T(fetched_keys_are_sorted), T(closures_still_wanted),
        T(requests_are_opened), T(mistakes_record_nothing), T(input_that_is_no_array), T(the_first_settled_wins), T(answers_of_another_kind), T(spinning_on_futures), T(log_levels), T(delays_in_bounds), T(no_time_at_all),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
