/* Section >>context: what payloads are to handlers: empty is present, absent is nothing, RESTATE_VOID has no
 * bytes, text is exact; codecs and seals. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include <cjson/cJSON.h>
#include "../build/proto/order.pb.c"
#include "support/exchange.c"
#include "support/context.c"

/* ---- Empty and absent, by every reader ------------------------------------------------------ */

static const restate_codec order = RESTATE_PROTO(Order), order_json = RESTATE_PROTOJSON(Order);

static bool is(restate_bytes b, const void *text, size_t len) {
    return b.ptr && b.len == len && memcmp(b.ptr, text, len) == 0 && b.ptr[len] == 0;
}
#define IS(bytes, literal) CHECK(is(bytes, literal, sizeof literal - 1))

static restate_status never(const restate_codec *self, restate_ctx *ctx, restate_bytes in, void *value) {
    (void)self, (void)in, (void)value;
    return restate_fail(ctx, 500, "decoded");
}

static restate_status length(const restate_codec *self, restate_ctx *ctx, restate_bytes in, void *value) {
    (void)self, (void)ctx;
    *(size_t *)value = in.len;
    return RESTATE_OK;
}

/* Every reader of JSON keeps the default; other codecs decode what is there. */
static void reads_nothing(restate_ctx *ctx, restate_bytes bytes) {
    static const char *const json_types[] = { "application/json", "Application/JSON; charset=utf-8", "application/problem+json" };
    static const restate_codec text = { .content_type = "text/plain", .decode = length };
    const char *s = "default";
    long long n = 7;
    double d = 7;
    bool b = true;
    cJSON unused, *tree = &unused;
    restate_bytes element = absent(), part = restate_str("x"), kept = restate_str("x"), copy = restate_str("x");
    Order o = { "id", 7 };
    size_t len = 7;
    for (int i = 0; i < 2; i++) {
        const char *member = i ? "member" : NULL;
        CHECK_INT(restate_json_int(ctx, bytes, member, &n), RESTATE_OK);
        CHECK_INT(restate_json_double(ctx, bytes, member, &d), RESTATE_OK);
        CHECK_INT(restate_json_bool(ctx, bytes, member, &b), RESTATE_OK);
        CHECK_INT(restate_json_string(ctx, bytes, member, &s), RESTATE_OK);
        CHECK_INT(restate_json_text(ctx, bytes, member, &kept), RESTATE_OK);
        part = restate_str("x");
        CHECK_INT(restate_json_member(ctx, bytes, member, &part), RESTATE_OK);
        CHECK(!part.ptr && !part.len);
    }
    CHECK(n == 7 && d > 6.5 && b && kept.len == 1);
    CHECK_STR(s, "default");
    CHECK(!restate_json_next(ctx, bytes, &element) && !element.ptr);
    CHECK_INT(restate_json_tree(ctx, bytes, &tree), RESTATE_OK);
    CHECK(!tree);
    tree = &unused;
    CHECK_INT(restate_decode(ctx, RESTATE_JSON, bytes, &tree), RESTATE_OK);
    CHECK_INT(restate_decode(ctx, NULL, bytes, &tree), RESTATE_OK);
    CHECK(tree == &unused);
    CHECK_INT(restate_decode(ctx, &order_json, bytes, &o), RESTATE_OK);
    CHECK(strcmp(o.id, "id") == 0 && o.cents == 7);
    for (size_t i = 0; i < sizeof json_types / sizeof *json_types; i++) {
        restate_codec codec = { .content_type = json_types[i], .decode = never };
        CHECK_INT(restate_decode(ctx, &codec, bytes, &len), RESTATE_OK);
    }
    CHECK_INT(restate_decode(ctx, RESTATE_VOID, bytes, &len), RESTATE_OK);
    CHECK_INT(len, 7);
    CHECK_INT(restate_decode(ctx, RESTATE_BYTES, bytes, &copy), RESTATE_OK);
    CHECK_INT(restate_decode(ctx, &text, bytes, &len), RESTATE_OK);
    CHECK_INT(restate_decode(ctx, &order, bytes, &o), RESTATE_OK);
    if (!bytes.ptr) {
        CHECK(copy.len == 1 && len == 7 && o.cents == 7);
    } else {
        CHECK(copy.ptr == bytes.ptr && !copy.len && len == 0);
        CHECK(!*o.id && o.cents == 0);      /* the default message has no bytes */
    }
    IS(restate_json(ctx, "[%-s,%-.*s]", (const char *)bytes.ptr, 0, (const char *)bytes.ptr), "[null,null]");
    CHECK_INT(restate_failed(ctx)->code, 0);
}

/* Says what it is, and has it read. */
static void look(restate_ctx *ctx, const char *what, restate_status s, restate_bytes bytes) {
    if (s == RESTATE_ENDED) return;
    CHECK_INT(s, RESTATE_OK);
    CHECK(!bytes.ptr || !*bytes.ptr);
    tell("%s:%s ", what, !bytes.ptr ? "absent()" : bytes.len ? "full" : "empty");
    reads_nothing(ctx, bytes);
}

static restate_status says_nothing(restate_ctx *run, void *arg) {
    reads_nothing(run, restate_str(""));
    reads_nothing(run, absent());
    return arg ? restate_reply(run, absent()) : RESTATE_OK;
}

static restate_status asks_all(restate_ctx *ctx, restate_bytes in) {
    static const restate_run_options inlined = { .inline_ok = true };
    const restate_invocation to = { .target = { .service = "W", .key = "w" } };
    restate_future *later, *settled;
    restate_bytes b;
    look(ctx, "input", RESTATE_OK, in);
    look(ctx, "body", RESTATE_OK, restate_request(ctx)->body);
    look(ctx, "inline", restate_run(ctx, "a", says_nothing, NULL, &inlined, &b), b);
    look(ctx, "run", restate_run(ctx, "b", says_nothing, ctx, NULL, &b), b);
    look(ctx, "eager", restate_get(ctx, "k", &b), b);
    look(ctx, "lazy", restate_get(ctx, "l", &b), b);
    CHECK_INT(restate_set(ctx, "m", restate_str("")), RESTATE_OK);
    look(ctx, "set", restate_get(ctx, "m", &b), b);
    CHECK_INT(restate_clear(ctx, "m"), RESTATE_OK);
    look(ctx, "cleared", restate_get(ctx, "m", &b), b);
    look(ctx, "reply", restate_call(ctx, greeter, absent(), NULL, &b), b);
    look(ctx, "attach", restate_attach(ctx, to, &b), b);
    look(ctx, "output", restate_output(ctx, to, &b), b);
    look(ctx, "not yet", restate_output(ctx, to, &b), b);
    look(ctx, "promise", restate_await(ctx, restate_promise(ctx, "p"), &b), b);
    look(ctx, "peeked", restate_promise_peek(ctx, "p", &b), b);
    look(ctx, "open", restate_promise_peek(ctx, "q", &b), b);
    look(ctx, "awakeable", restate_await(ctx, restate_awakeable(ctx, NULL), &b), b);
    look(ctx, "void awakeable", restate_await(ctx, restate_awakeable(ctx, NULL), &b), b);
    look(ctx, "signal", restate_await(ctx, restate_signal(ctx, "s"), &b), b);
    settled = restate_settled(ctx, restate_str(""), NULL);
    look(ctx, "settled", restate_await(ctx, settled, &b), b);
    look(ctx, "nothing settled", restate_await(ctx, restate_settled(ctx, absent(), NULL), &b), b);
    later = restate_race(ctx, &settled, 1);
    look(ctx, "race", restate_await(ctx, later, &b), b);
    return restate_reply(ctx, b);
}

#define ALL_OF_THEM \
    "input:empty body:empty inline:empty run:empty eager:empty lazy:empty set:empty cleared:absent() " \
    "reply:empty attach:empty output:empty not yet:absent() promise:empty peeked:empty open:absent() " \
    "awakeable:empty void awakeable:absent() signal:empty settled:empty nothing settled:absent() race:empty "

/* Values without content, and with a content of no bytes: protobuf has both. */
static void note_empty(unsigned type, unsigned id, int how) {
    if (how) frame(type, "1u 5()", id);
    else frame(type, "1u 5(1s)", id, "");
}

static void run_kept(unsigned id, int how) {
    if (ex.version == 7) note_ack(id);
    else note_empty(N_RUN, id, how);
}

/* The results of all that is asked for, in its order. */
static void signals_of_all(int how) {
    frame(N_SIGNAL, how ? "2u 5()" : "2u 5(1s)", 17, "");
    frame(N_SIGNAL, "2u 4()", 18);
    frame(N_SIGNAL, how ? "3s 5()" : "3s 5(1s)", "s", "");
}

TEST(empty_is_present) {
    for (int how = 0; how < 3; how++) {
        EACH(RESTATE_WORKFLOW, .fn = asks_all) {
            static const unsigned notes[] = { N_CALL, N_ATTACH, N_GET_OUTPUT, N_GET_OUTPUT, N_GET_PROMISE, N_PEEK_PROMISE, N_PEEK_PROMISE };
            static const unsigned ids[] = { 8, 9, 10, 11, 12, 13, 14 };
            start(1, .key = "w", .state = "k=");
            frame(M_INPUT, how == 2 ? "" : how ? "14()" : "14(1s)", "");
            give();
            run_kept(1, how); give();
            run_kept(2, how); give();
            note_empty(N_GET_LAZY, 4, how); give();
            for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
                if (i == 3 || i == 6) note_void(notes[i], ids[i]);
                else note_empty(notes[i], ids[i], how);
                give();
            }
            signals_of_all(how); give();
            TOLD(ALL_OF_THEM);
            drop_said();
        }
    }
}

static void replay_all(int how) {           /* 16 entries, with those that follow */
    start(16, .key = "w", .state = "k=");
    frame(M_INPUT, how == 2 ? "" : how ? "14()" : "14(1s)", "");
    cmd_run(1, "a"); note_empty(N_RUN, 1, how);
    cmd_run(2, "b"); note_empty(N_RUN, 2, how);
    frame(M_GET_EAGER, how ? "1s 14()" : "1s 14(1s)", "k", "");
    cmd_get_lazy(4, "l"); note_empty(N_GET_LAZY, 4, how);
}

static restate_status asks_some(restate_ctx *ctx, restate_bytes in) {
    restate_bytes b;
    look(ctx, "input", RESTATE_OK, in);
    look(ctx, "run", restate_run(ctx, "a", says_nothing, NULL, NULL, &b), b);
    look(ctx, "run", restate_run(ctx, "b", says_nothing, NULL, NULL, &b), b);
    look(ctx, "eager", restate_get(ctx, "k", &b), b);
    look(ctx, "lazy", restate_get(ctx, "l", &b), b);
    look(ctx, "reply", restate_call(ctx, greeter, absent(), NULL, &b), b);
    look(ctx, "awakeable", restate_await(ctx, restate_awakeable(ctx, NULL), &b), b);
    look(ctx, "void awakeable", restate_await(ctx, restate_awakeable(ctx, NULL), &b), b);
    look(ctx, "signal", restate_await(ctx, restate_signal(ctx, "s"), &b), b);
    look(ctx, "peeked", restate_promise_peek(ctx, "p", &b), b);
    return restate_reply(ctx, b);
}

TEST(empty_is_present_on_replay) {
    for (int how = 0; how < 3; how++) {
        EACH(RESTATE_WORKFLOW, .fn = asks_some) {
            replay_all(how);
            cmd_call(5, ""); note_empty(N_CALL, 6, how);
            signals_of_all(how);
            cmd_peek_promise(7, "p"); note_empty(N_PEEK_PROMISE, 7, how);
            cmd_output("");
            give_and_end();
            TOLD("input:empty run:empty run:empty eager:empty lazy:empty reply:empty awakeable:empty "
                 "void awakeable:absent() signal:empty peeked:empty ");
            SAYS("End");
        }
    }
}

/* ---- No bytes: RESTATE_VOID ----------------------------------------------------------------- */

static const restate_codec own_void = { .content_type = "text/plain", .kind = RESTATE_CODEC_VOID };
static const char *to_reply[3];             /* NULL: the end */

static restate_status has_no_output(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    for (int i = 0; to_reply[i]; i++) CHECK_INT(restate_reply(ctx, restate_str(to_reply[i])), RESTATE_OK);
    return RESTATE_OK;
}

#define SENT_NOTHING "Output value \"\"", "End"
#define REPLY_DROPPED(n) "WARN " n " bytes of the reply (.output) were dropped, because it is RESTATE_VOID: " \
    "give .output the codec of the reply, or reply with no bytes\n"

TEST(void_output) {
    for (int i = 0; i < 2; i++) {
        const restate_codec *codec = i ? &own_void : RESTATE_VOID;
        to_reply[0] = "lost", to_reply[1] = "again";
        EACH(RESTATE_SERVICE, .fn = has_no_output, .output = codec) {
            start(1); input("x"); give();
            SAYS(SENT_NOTHING);
            LOG(REPLY_DROPPED("4"));        /* once */
        }
        EACH(RESTATE_SERVICE, .fn = has_no_output, .output = codec) {
            start(2); input("x"); cmd_output("lost"); give();   /* recorded when it was still sent */
            SAYS("End");                    /* and the log has it from then */
        }
        to_reply[0] = "", to_reply[1] = NULL;
        EACH(RESTATE_SERVICE, .fn = has_no_output, .output = codec) {
            start(1); input("x"); give();
            SAYS(SENT_NOTHING);
        }
        to_reply[0] = NULL;
        EACH(RESTATE_SERVICE, .fn = has_no_output, .output = codec) {
            start(1); input("x"); give();
            SAYS(SENT_NOTHING);
        }
    }
}

static restate_status large(restate_ctx *ctx, restate_bytes in) {
    restate_bytes b = { (const uint8_t *)restate_alloc(ctx, 100000), 100000 };
    (void)in;
    restate_reply(ctx, b);
    return restate_fail(ctx, 410, "gone");
}

TEST(void_output_of_any_size) {             /* and a failure wins over it */
    EACH(RESTATE_SERVICE, .fn = large, .output = RESTATE_VOID) {
        start(1); input("x"); give();
        SAYS("Output failure 410 \"gone\"", "End");
        LOG(REPLY_DROPPED("100000"));
    }
}

static restate_status replies_in_a_run(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_str("kept"));
}

static restate_status runs_only(restate_ctx *ctx, restate_bytes in) {
    restate_bytes b;
    (void)in;
    RESTATE_TRY(restate_run(ctx, "step", replies_in_a_run, NULL, NULL, &b));
    IS(b, "kept");
    return RESTATE_OK;
}

TEST(void_output_is_the_handlers) {
    EACH(RESTATE_SERVICE, .fn = runs_only, .output = RESTATE_VOID) {
        start(1); input("x"); give();
        SAYS("Run 1 \"step\"", "Propose 1 value \"kept\" ack", "AwaitingOn W{c:1,s:1}");
        if (ex.version == 7) note_ack(1);
        else note_value(N_RUN, 1, "kept");
        give();
        SAYS(SENT_NOTHING);
    }
}
#define INPUT_DROPPED(n) "WARN " n " bytes of the request (.input) were dropped, because it is RESTATE_VOID: " \
    "call it without any, or give .input a codec\n"

static restate_status has_no_input(restate_ctx *ctx, restate_bytes in) {
    restate_bytes body = restate_request(ctx)->body;
    CHECK(!in.ptr && !in.len);
    CHECK(body.ptr && !body.len && !*body.ptr);
    reads_nothing(ctx, in);
    CHECK_INT(restate_sleep(ctx, 1000), RESTATE_OK);
    return RESTATE_OK;
}

TEST(void_input) {
    for (int i = 0; i < 2; i++) {
        const restate_codec *codec = i ? &own_void : RESTATE_VOID;
        EACH(RESTATE_SERVICE, .fn = has_no_input, .input = codec) {
            start(1); input("body"); give();
            LOG(INPUT_DROPPED("4"));
            note_sleep(1); give();
            SAYS("Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", SENT_NOTHING);
        }
        EACH(RESTATE_SERVICE, .fn = has_no_input, .input = codec) {
            start(2); input("body"); cmd_sleep(1, "", 5); note_sleep(1); give();    /* said before */
            SAYS(SENT_NOTHING);
        }
        EACH(RESTATE_SERVICE, .fn = has_no_input, .input = codec) {
            start(1); input(""); note_sleep(1); give();
            SAYS("Sleep 1 wake:...", SENT_NOTHING);
        }
    }
}

/* Seals make bytes of nothing: these are no payload, and the other side of VOID makes none. */
static restate_status seal_void(void *user, restate_ctx *ctx, restate_bytes plain, restate_bytes *sealed) {
    (void)user;
    *sealed = restate_str(restate_text(ctx, "sealed(%s)", (const char *)plain.ptr));
    return RESTATE_OK;
}

static restate_status open_void(void *user, restate_ctx *ctx, restate_bytes sealed, restate_bytes *plain) {
    size_t n = sealed.len;
    (void)user;
    if (n < 8 || memcmp(sealed.ptr, "sealed(", 7) != 0) return restate_fail(ctx, 500, "no seal");
    *plain = restate_str(restate_text(ctx, "%.*s", (int)(n - 8), (const char *)sealed.ptr + 7));
    return RESTATE_OK;
}

static restate_status replies_nothing(restate_ctx *ctx, restate_bytes in) {
    CHECK(!in.ptr);
    return restate_reply(ctx, absent());
}

TEST(void_under_a_seal) {
    static const restate_seal both = { .seal = seal_void, .open = open_void };
    EACH(RESTATE_SERVICE, .fn = replies_nothing, .input = RESTATE_VOID, .output = RESTATE_VOID, .options = { .seal = &both }) {
        start(1); input("sealed()"); give();
        SAYS(SENT_NOTHING);
    }
    EACH(RESTATE_SERVICE, .fn = replies_nothing, .input = RESTATE_VOID, .output = RESTATE_VOID, .options = { .seal = &both }) {
        start(1); input("sealed(body)"); give();
        SAYS(SENT_NOTHING);
        LOG(INPUT_DROPPED("4"));
    }
}

static restate_target greeter_of(const char *key) {
    return (restate_target){ .service = "Greeter", .handler = "greet", .key = key };
}

static restate_status void_everywhere(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    CHECK(in.ptr && !in.len);
    CHECK(restate_encode(ctx, RESTATE_VOID, NULL).len == 0);
    CHECK_INT(restate_decode(ctx, RESTATE_VOID, restate_str("ignored"), NULL), RESTATE_OK);
    RESTATE_TRY(restate_call(ctx, greeter_of(NULL), absent(), NULL, NULL));
    restate_send(ctx, greeter_of(NULL), absent(), NULL);
    f = restate_awakeable(ctx, NULL);
    RESTATE_TRY(restate_await(ctx, f, NULL));
    return restate_reply(ctx, absent());
}

TEST(void_sends_nothing_and_ignores_all) {
    EACH(RESTATE_SERVICE, .fn = void_everywhere) {
        start(1); input(""); give();
        SAYS("Call 1 2 \"Greeter\" \"greet\"", "AwaitingOn W{c:2,s:1}");
        note_value(N_CALL, 2, "a body"); give();
        SAYS("OneWayCall 3 \"Greeter\" \"greet\"", "AwaitingOn W{s:1,17}");
        note_signal(17, "another"); give();
        SAYS(EMPTY_OUTPUT);
    }
}

/* ---- Text of any characters ----------------------------------------------------------------- */

/* Reads it from the input, writes it, reads that. */
static restate_status copies_text(restate_ctx *ctx, restate_bytes in) {
    restate_bytes text = absent(), again = absent(), json;
    const char *s = "default";
    RESTATE_TRY(restate_json_text(ctx, in, "t", &text));
    CHECK(text.ptr && !text.ptr[text.len]);
    json = restate_json(ctx, "{'t': %-s}", (const char *)restate_json_quote(ctx, text).ptr);
    CHECK_INT(restate_json_text(ctx, json, "t", &again), RESTATE_OK);
    CHECK(restate__b_equal(text, again));
    if (!memchr(text.ptr, 0, text.len + 1) || strlen((const char *)text.ptr) == text.len) {
        CHECK_INT(restate_json_string(ctx, json, "t", &s), RESTATE_OK);
        CHECK_STR(s, (const char *)text.ptr);
    } else {
        CHECK_INT(restate_json_string(ctx, json, "t", &s), RESTATE_TERMINAL);
        CHECK_HAS(restate_failed(ctx)->message, "restate_json_text()");
        CHECK_INT(restate_failed(ctx)->code, 500);
        CHECK_STR(s, "");
    }
    return restate_reply(ctx, text);
}

TEST(text_is_exact) {
    static const struct { const char *json, *text; size_t len; } same[] = {
#define SAME(json, text) { json, text, sizeof text - 1 }
        SAME("{\"t\":\"a\\u0000b\"}", "a\0b"), SAME("{\"t\":\"\\u0000\"}", "\0"), SAME("{\"t\":\"\\u0000\\u0000x\"}", "\0\0x"),
        SAME("{\"t\":\"\"}", ""), SAME("{\"a\\u0000b\":\"no\",\"t\\u0000\":1,\"t\":\"plain\"}", "plain"),
        SAME("{\"t\":\"\\u00e9\\u0000\\ud83d\\ude00\\uffff\"}", "\xC3\xA9\0\xF0\x9F\x98\x80\xEF\xBF\xBF"),
        SAME("{\"t\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"}", "\"\\/\b\f\n\r\t\x01\x1f\x7f"),
        SAME("{\"t\":\"x\xC3\xA9\\u0000\"}", "x\xC3\xA9\0"),
#undef SAME
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        EACH(RESTATE_SERVICE, .fn = copies_text) {
            rt_bytes text;
            bool found;
            start(1); input(same[i].json); give();
            ex_collect();
            /* Output value: 14(1s) */
            found = false;
            for (size_t at = 0; at + same[i].len <= rt.raw.len; at++)
                if (memcmp(rt.raw.at + at, same[i].text, same[i].len) == 0) found = true;
            CHECK(found);
            text = rt_lines();
            CHECK_HAS((const char *)text.at, "Output value");
            rt_drop(&text);
            drop_said();
        }
    }
}

static restate_status reads_text(restate_ctx *ctx, restate_bytes in) {
    restate_bytes text = restate_str("default");
    restate_status s = restate_json_text(ctx, in, "t", &text);
    if (s == RESTATE_OK) tell("%.*s", (int)text.len, (const char *)text.ptr);
    CHECK(s == RESTATE_OK || (!text.ptr && !text.len));
    CHECK_INT(restate_json_text(ctx, in, "t", NULL), s);
    return s;
}

TEST(text_refused) {
    static const char *const wrong[][2] = {
        { "{\"t\":\"\\ud800\"}", "Output failure 400 \"json: member 't': expected a pair of surrogates, found \\ud800 at byte 6\"" },
        { "{\"t\":\"a\\udc00\"}", "Output failure 400 \"json: member 't': expected a pair of surrogates, found \\udc00 at byte 7\"" },
        { "{\"t\":5}", "Output failure 400 \"json: member 't': expected a string, found 5 at byte 5\"" },
        { "{\"t\":\"a", "Output failure 400 \"json: member 't': expected a closing quotation mark, found the end at byte 7\"" },
        { "[]", "Output failure 400 \"json: member 't': expected an object, found array at byte 0\"" } };
    static const char *const kept[] = { "", "{}", "null", "{\"t\":null}", "{\"t\\u0000\":\"x\"}" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        EACH(RESTATE_SERVICE, .fn = reads_text) {
            start(1); input(wrong[i][0]); give();
            SAYS(wrong[i][1], "End");
        }
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        EACH(RESTATE_SERVICE, .fn = reads_text) {
            start(1); input(kept[i]); give();
            TOLD("default");
            SAYS(SENT_NOTHING);
        }
}

static restate_status quotes(restate_ctx *ctx, restate_bytes in) {
    IS(restate_json_quote(ctx, absent()), "null");
    IS(restate_json_quote(ctx, restate_str("")), "\"\"");
    IS(restate_json_quote(ctx, restate__b("a\0\"\\\n\xC3\xA9", 7)), "\"a\\u0000\\\"\\\\\\n\xC3\xA9\"");
    return restate_reply(ctx, restate_json_quote(ctx, in));
}

TEST(text_quoted) {
    EACH(RESTATE_SERVICE, .fn = quotes) {
        start(1); input("it's \"in\""); give();
        SAYS("Output value \"\"it's \\\"in\\\"\"\"", "End");
    }
    EACH(RESTATE_SERVICE, .fn = quotes) {
        start(1); input("no\xFF"); give();
        SAYS("Error 500 index:0 Input message:\"S/h: restate_json_quote(): the text is not UTF-8\"...");
        LOG_HAS("ERROR the attempt failed with 500: S/h: restate_json_quote()");
    }
}

/* ---- Input that is no array ----------------------------------------------------------------- */

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

/* ---- Codecs --------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }

static restate_status reverse(restate_ctx *ctx, const char *from, size_t n, char **to) {
    *to = (char *)restate_alloc(ctx, n + 1);
    for (size_t i = 0; *to && i < n; i++) (*to)[i] = from[n - 1 - i];
    return *to ? RESTATE_OK : RESTATE_ENDED;
}

static restate_status reverse_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                                     restate_bytes *out) {
    const char *string = (const char *)value;
    char *made = NULL;
    (void)self;
    if (same(string, "bad")) return restate_fail(ctx, 400, "cannot write that");
    RESTATE_TRY(reverse(ctx, string, strlen(string), &made));
    *out = text(made);
    return RESTATE_OK;
}

static restate_status reverse_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                     void *value) {
    (void)self;
    if (in.len && *in.ptr == '?') return restate_fail(ctx, 418, "cannot read that");
    return reverse(ctx, (const char *)in.ptr, in.len, (char **)value);
}

static const restate_codec reversed = { .content_type = "text/x-reversed",
                                        .encode = reverse_encode,
                                        .decode = reverse_decode };

static restate_status decoded(restate_ctx *ctx, restate_status s, restate_bytes bytes) {
    char *value = (char *)(uintptr_t)"untouched";
    RESTATE_TRY(s);
    RESTATE_TRY(restate_decode(ctx, &reversed, bytes, &value));
    tell("%s ", value);
    return RESTATE_OK;
}

static restate_status encodes_in_run(restate_ctx *run, void *arg) {
    return restate_reply(run, restate_encode(run, &reversed, arg));
}

static restate_status codes_everything(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v = absent();
    restate_status s;
    RESTATE_TRY(decoded(ctx, RESTATE_OK, in));
    RESTATE_TRY(decoded(ctx, RESTATE_OK, absent()));        /* leaves a default as it is */
    RESTATE_TRY(restate_set(ctx, "k", restate_encode(ctx, &reversed, "state")));
    s = restate_get(ctx, "k", &v);
    RESTATE_TRY(decoded(ctx, s, v));
    s = restate_run(ctx, "r", encodes_in_run, (void *)(uintptr_t)"run", NULL, &v);
    RESTATE_TRY(decoded(ctx, s, v));
    s = restate_call(ctx, greeter, restate_encode(ctx, &reversed, "call"), NULL, &v);
    RESTATE_TRY(decoded(ctx, s, v));
    restate_send(ctx, greeter, restate_encode(ctx, &reversed, "send"), NULL);
    RESTATE_TRY(restate_resolve(ctx, AWAKEABLE, restate_encode(ctx, &reversed, "resolve")));
    s = restate_await(ctx, restate_awakeable(ctx, NULL), &v);
    RESTATE_TRY(decoded(ctx, s, v));
    s = restate_promise_resolve(ctx, "p", restate_encode(ctx, &reversed, "promise"));
    RESTATE_TRY(s);
    s = restate_await(ctx, restate_promise(ctx, "p"), &v);
    RESTATE_TRY(decoded(ctx, s, v));
    return restate_reply(ctx, restate_encode(ctx, &reversed, "reply"));
}

TEST(codec_per_operation) {
    EACH(RESTATE_WORKFLOW, .fn = codes_everything, .input = &reversed, .output = &reversed) {
        start(1, .complete = true); input("tupni"); give();
        SAYS("SetState \"k\" value \"etats\"", "GetEagerState \"k\" value \"etats\"", "Run 2 \"r\"",
             "Propose 2 value \"nur\" ack", "AwaitingOn W{c:2,s:1}");
        run_stored(2, "nur"); give();
        SAYS("Call 3 4 \"Greeter\" \"greet\" parameter:\"llac\"", "AwaitingOn W{c:4,s:1}");
        note_value(N_CALL, 4, "ylper"); give();
        SAYS("OneWayCall 5 \"Greeter\" \"greet\" parameter:\"dnes\"",
             "CompleteAwakeable \"" AWAKEABLE "\" value \"evloser\"", "AwaitingOn W{s:1,17}");
        note_signal(17, "elbaekawa"); give();
        SAYS("CompletePromise 6 \"p\" value \"esimorp\"", "AwaitingOn W{c:6,s:1}");
        note_void(N_COMPLETE_PROMISE, 6); give();
        SAYS("GetPromise 7 \"p\"", "AwaitingOn W{c:7,s:1}");
        note_value(N_GET_PROMISE, 7, "esimorp"); give();
        TOLD("input untouched state run reply awakeable promise ");
        SAYS("Output value \"ylper\"", "End");
    }
}

static int variant;                         /* what a handler is to do */

/* What cannot be encoded is tried again; what cannot be decoded is a failure. */
static restate_status codes_badly(restate_ctx *ctx, restate_bytes in) {
    char *value;
    switch (variant) {
    case 0: return restate_reply(ctx, restate_encode(ctx, &reversed, "bad"));
    case 1: return restate_run(ctx, "r", encodes_in_run, (void *)(uintptr_t)"bad", NULL, NULL);
    case 2: return restate_decode(ctx, &reversed, in, &value);
    default: return restate_decode(ctx, &reversed, text("?state"), &value);
    }
}

TEST(codec_fails) {
    static const char *const lines[] = { "Error 500 index:0 Input...",
                                         "Error 500 index:1 Run \"r\"...", "Output failure 400...",
                                         "Output failure 500..." };
    for (variant = 0; variant < 4; variant++)
        EACH(RESTATE_SERVICE, .fn = codes_badly) {
            start(1); input("?input"); give();
            SAYS("? Run 1 \"r\"", lines[variant], variant < 2 ? "? none" : "End");
            if (variant < 2) LOG_HAS("failed with");
        }
}
static const restate_codec loose = { .content_type = "text/x-reversed",
                                     .encode = reverse_encode,
                                     .decode = reverse_decode,
                                     .unstable = true };

/* Bytes of an unstable codec are not compared, others are. */
static restate_status encodes_loosely(restate_ctx *ctx, restate_bytes in) {
    const restate_codec *codec = *in.ptr == 'l' ? &loose : &reversed;
    restate_bytes v = restate_encode(ctx, codec, "today");
    switch (variant) {
    case 0: return restate_set(ctx, "k", v);
    case 1: restate_send(ctx, greeter, v, NULL); return RESTATE_OK;
    case 2: restate_call_async(ctx, greeter, v, NULL); return RESTATE_OK;
    case 3: return restate_resolve(ctx, AWAKEABLE, v);
    default: return restate_promise_resolve(ctx, "p", v);
    }
}

TEST(unstable_codec) {
    for (int unstable = 0; unstable < 2; unstable++)
        for (variant = 0; variant < 5; variant++)
            EACH(RESTATE_WORKFLOW, .fn = encodes_loosely) {
                start(variant == 4 ? 3 : 2, .complete = true); input(unstable ? "loose" : "strict");
                switch (variant) {
                case 0: cmd_set("k", "then"); break;
                case 1: cmd_send(1, "then"); break;
                case 2: cmd_call(1, "then"); break;
                case 3: frame(M_COMPLETE_AWAKEABLE, "1s 2(1s)", AWAKEABLE, "then"); break;
                default:
                    frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "then", 1);
                    note_void(N_COMPLETE_PROMISE, 1);
                }
                give();
                if (unstable) { SAYS(EMPTY_OUTPUT); continue; }
                SAYS("Error 570 index:1 ...");
                LOG_HAS("failed with 570");
            }
}

static restate_status uses_all_codecs(restate_ctx *ctx, restate_bytes in) {
    restate_bytes copy = absent(), bytes = text("b\x01");
    struct cJSON *tree = NULL;
    RESTATE_TRY(restate_decode(ctx, RESTATE_BYTES, in, &copy));
    CHECK(copy.ptr == in.ptr && copy.len == in.len);
    RESTATE_TRY(restate_decode(ctx, RESTATE_JSON, in, &tree));
    RESTATE_TRY(restate_decode(ctx, RESTATE_VOID, in, NULL));
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(tree, "a")), "x");
    RESTATE_TRY(restate_set(ctx, "bytes", restate_encode(ctx, RESTATE_BYTES, &bytes)));
    RESTATE_TRY(restate_set(ctx, "void", restate_encode(ctx, RESTATE_VOID, NULL)));
    return restate_reply(ctx, restate_encode(ctx, NULL, tree));     /* JSON is the default */
}

TEST(ready_made_codecs) {
    EACH(RESTATE_OBJECT, .fn = uses_all_codecs) {
        start(1, .complete = true); input("{ \"a\": \"x\" }"); give();
        SAYS("SetState \"bytes\" value \"b\\x01\"", "SetState \"void\" value \"\"",
             "Output value \"{\"a\":\"x\"}\"", "End");
    }
}

/* A line of expected output. */
static const char *line(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *line(const char *format, ...) {
    static char ring[8][300];
    static unsigned at;
    char *to = ring[at++ % 8];
    va_list args;
    va_start(args, format);
    vsnprintf(to, sizeof ring[0], format, args);
    va_end(args);
    return to;
}

static restate_status slash_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                                   restate_bytes *out) {
    const Total *t = (const Total *)value;
    (void)self;
    if (t->orders < 0) return restate_fail(ctx, 418, "%d orders", (int)t->orders);
    *out = restate_str(restate_text(ctx, "%d/%d", (int)t->cents, (int)t->orders));
    return RESTATE_OK;
}

static restate_status slash_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                   void *value) {
    int cents, orders;
    Total *t = (Total *)value;
    (void)self;
    if (sscanf((const char *)in.ptr, "%d/%d", &cents, &orders) != 2)
        return restate_fail(ctx, 418, "no slash");
    t->cents = cents;
    t->orders = orders;
    return RESTATE_OK;
}

static const restate_codec slash = { .content_type = "text/x-slash", .encode = slash_encode,
                                     .decode = slash_decode };
static const restate_codec proto = RESTATE_PROTO(Total);
static const restate_codec protojson = RESTATE_PROTOJSON(Total);

enum { JSON, BYTES, PROTO, PROTOJSON, CUSTOM, FORMS };

/* What discovery says of the message, made of nanopb's descriptor. */
#define TOTAL_SCHEMA ",\"jsonSchema\":{\"type\":\"object\",\"title\":\"Total\",\"properties\":{\"cents\":{\"type\":" \
    "[\"string\",\"integer\"],\"format\":\"int64\"},\"orders\":{\"type\":\"integer\"}},\"additionalProperties\":false}"

static const struct {
    const restate_codec *codec;
    const char *wire, *shown;               /* 5 cents in 2 orders; the same as SAYS shows it */
    const char *bad;                        /* NULL: anything can be decoded */
    const char *input, *output;             /* in the manifest */
} forms[FORMS] = {
    { RESTATE_JSON, "{\"cents\":5,\"orders\":2}", NULL, "{5",
      "true,\"contentType\":\"application/json\"", "\"contentType\":\"application/json\"" },
    { RESTATE_BYTES, "5 2", NULL, NULL, "false,\"contentType\":\"*/*\"",
      "\"contentType\":\"application/octet-stream\",\"setContentTypeIfEmpty\":true" },
    { &proto, "\x08\x05\x10\x02", "\\x08\\x05\\x10\\x02", "\x08",
      "true,\"contentType\":\"application/proto\"",
      "\"contentType\":\"application/proto\",\"setContentTypeIfEmpty\":true" TOTAL_SCHEMA },
    { &protojson, "{\"cents\":\"5\",\"orders\":2}", NULL, "{\"cents\":true}",
      "true,\"contentType\":\"application/json\"" TOTAL_SCHEMA, "\"contentType\":\"application/json\"" TOTAL_SCHEMA },
    { &slash, "5/2", NULL, "52", "true,\"contentType\":\"text/x-slash\"",
      "\"contentType\":\"text/x-slash\",\"setContentTypeIfEmpty\":true" },
};

static restate_bytes total_out(restate_ctx *ctx) {
    Total t = { 5, 2 };
    if (variant == JSON) {
        cJSON *tree = restate_json_own(ctx, cJSON_CreateObject());
        cJSON_AddNumberToObject(tree, "cents", (double)t.cents);
        cJSON_AddNumberToObject(tree, "orders", t.orders);
        return restate_encode(ctx, RESTATE_JSON, tree);
    }
    if (variant == BYTES) {
        restate_bytes text = restate_str(restate_text(ctx, "%d %d", (int)t.cents, (int)t.orders));
        return restate_encode(ctx, RESTATE_BYTES, &text);
    }
    return restate_encode(ctx, forms[variant].codec, &t);
}

static restate_status total_in(restate_ctx *ctx, restate_bytes bytes) {
    Total t = { 5, 2 };
    if (variant == JSON) {
        cJSON *tree = NULL;
        RESTATE_TRY(restate_decode(ctx, RESTATE_JSON, bytes, &tree));
        t.cents = (int64_t)cJSON_GetNumberValue(cJSON_GetObjectItem(tree, "cents"));
        t.orders = (int32_t)cJSON_GetNumberValue(cJSON_GetObjectItem(tree, "orders"));
    } else if (variant == BYTES) {
        restate_bytes text = { NULL, 0 };
        RESTATE_TRY(restate_decode(ctx, RESTATE_BYTES, bytes, &text));
        CHECK(text.len == 3 && memcmp(text.ptr, "5 2", 3) == 0);
    } else {
        t = (Total)Total_init_zero;
        RESTATE_TRY(restate_decode(ctx, forms[variant].codec, bytes, &t));
    }
    tell("%d/%d ", (int)t.cents, (int)t.orders);
    return RESTATE_OK;
}

static restate_status total_step(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, total_out(run));
}

/* Out and in again, through everything that takes a value. */
static restate_status carries(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    restate_bytes b;
    const char *id;
    RESTATE_TRY(total_in(ctx, in));
    RESTATE_TRY(restate_set(ctx, "k", total_out(ctx)));
    RESTATE_TRY(restate_get(ctx, "k", &b));
    RESTATE_TRY(total_in(ctx, b));
    RESTATE_TRY(restate_run(ctx, "step", total_step, NULL, NULL, &b));
    RESTATE_TRY(total_in(ctx, b));
    RESTATE_TRY(restate_call(ctx, greeter_of(NULL), total_out(ctx), NULL, &b));
    RESTATE_TRY(total_in(ctx, b));
    restate_send(ctx, greeter_of(NULL), total_out(ctx), NULL);
    f = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_resolve(ctx, id, total_out(ctx)));
    RESTATE_TRY(restate_await(ctx, f, &b));
    RESTATE_TRY(total_in(ctx, b));
    f = restate_promise(ctx, "p");
    RESTATE_TRY(restate_promise_resolve(ctx, "p", total_out(ctx)));
    RESTATE_TRY(restate_await(ctx, f, &b));
    RESTATE_TRY(total_in(ctx, b));
    return restate_reply(ctx, total_out(ctx));
}

TEST(codecs_of_operations) {
    for (variant = 0; variant < FORMS; variant++)
        EACH(RESTATE_WORKFLOW, .fn = carries) {
            const char *w = forms[variant].wire;
            const char *v = forms[variant].shown ? forms[variant].shown : w;
            start(1, .complete = true, .id = OWN_ID, .key = "k"); input(w); give();
            SAYS(line("SetState \"k\" value \"%s\"", v),
                 line("GetEagerState \"k\" value \"%s\"", v), "Run 2 \"step\"",
                 line("Propose 2 value \"%s\" ack", v), "AwaitingOn W{c:2,s:1}");
            if (ex.version == 7) note_ack(2);
            else note_value(N_RUN, 2, w);
            give();
            SAYS(line("Call 3 4 \"Greeter\" \"greet\" parameter:\"%s\"", v),
                 "AwaitingOn W{c:4,s:1}");
            note_value(N_CALL, 4, w); give();
            SAYS(line("OneWayCall 5 \"Greeter\" \"greet\" parameter:\"%s\"", v),
                 line("CompleteAwakeable \"" AWAKEABLE "\" value \"%s\"", v),
                 "AwaitingOn W{s:1,17}");
            note_signal(17, w); give();
            SAYS("GetPromise 6 \"p\"", line("CompletePromise 7 \"p\" value \"%s\"", v),
                 "AwaitingOn W{c:7,s:1}");
            note_void(N_COMPLETE_PROMISE, 7); note_value(N_GET_PROMISE, 6, w); give();
            TOLD("5/2 5/2 5/2 5/2 5/2 5/2 ");
            SAYS(line("Output value \"%s\"", v), "End");
        }
}

static restate_status reads_input(restate_ctx *ctx, restate_bytes in) { return total_in(ctx, in); }

TEST(undecodable_input_is_400) {
    for (variant = 0; variant < FORMS; variant++)
        if (forms[variant].bad)
            EACH(RESTATE_SERVICE, .fn = reads_input) {
                start(1); input(forms[variant].bad); give();
                SAYS("Output failure 400 \"...", "End");
            }
}

static restate_status reads_state(restate_ctx *ctx, restate_bytes in) {
    restate_bytes stored;
    (void)in;
    RESTATE_TRY(restate_get(ctx, "k", &stored));
    return total_in(ctx, stored);
}

TEST(undecodable_state_is_500) {
    for (variant = 0; variant < FORMS; variant++)
        if (forms[variant].bad)
            EACH(RESTATE_OBJECT, .fn = reads_state) {
                start(1, .complete = true, .key = "o", .state = line("k=%s", forms[variant].bad));
                input("in"); give();
                SAYS("GetEagerState \"k\" value \"...", "Output failure 500 \"...", "End");
            }
}

static restate_status cannot_encode(restate_ctx *ctx, restate_bytes in) {
    const Total t = { 1, -1 };
    (void)in;
    CHECK(!restate_encode(ctx, &slash, &t).ptr);
    return restate_reply(ctx, restate_encode(ctx, &slash, &t));
}

/* The value may be right in a later version of the program. */
TEST(unencodable_is_retried) {
    EACH(RESTATE_SERVICE, .fn = cannot_encode) {
        start(1); input("in"); give();
        SAYS("Error 500 index:0 Input message:\"S/h: restate_encode(): -1 orders\"");
        LOG_HAS("ERROR the attempt failed with 500: S/h: restate_encode(): -1 orders");
    }
}

static restate_status nothing(restate_ctx *ctx, restate_bytes in) {
    (void)ctx;
    (void)in;
    return RESTATE_OK;
}

TEST(payload_codecs_are_told) {
    for (int i = 0; i < FORMS; i++) {
        const restate_service s = { .name = "S", .handlers = RESTATE_HANDLERS(
            { .name = "h", .fn = nothing, .input = forms[i].codec, .output = forms[i].codec }) };
        const char *told = ex_manifest(RESTATE_SERVICES(&s));
        CHECK_HAS(told, line("\"input\":{\"required\":%s}", forms[i].input));
        CHECK_HAS(told, line("\"output\":{%s}", forms[i].output));
        ex_end();
    }
}

/* ---- A codec that is named once --------------------------------------------------------------- */

/* Texts behind a letter that tells which codec it was: '1' to '3'. '!' cannot be decoded. */
static restate_status lettered_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                                      restate_bytes *out) {
    if (strcmp((const char *)value, "bad") == 0) return restate_fail(ctx, 1, "not that");
    *out = text(restate_text(ctx, "%s%s", (const char *)self->type, (const char *)value));
    return RESTATE_OK;
}

static restate_status lettered_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                      void *value) {
    if (in.len && in.ptr[0] == '!') return restate_fail(ctx, 1, "not \"%.*s\"", RESTATE_ARG(in));
    *(const char **)value = restate_text(ctx, "%s(%s)%.*s", (const char *)self->type,
                                         self->content_type, RESTATE_ARG(in));
    return RESTATE_OK;
}

#define LETTERED(letter, content) \
    { .content_type = content, .encode = lettered_encode, .decode = lettered_decode, .type = letter }
static const restate_codec lettered[] = { LETTERED("1", "Text/One; a=b"), LETTERED("2", "text/two"),
                                          LETTERED("3", "text/three"), LETTERED("4", "text/four") };

static restate_status closure_codes(restate_ctx *run, void *arg) {
    const char *value = "default";
    if (arg) {
        CHECK_INT(variant ? restate_reply_value(run, "x") : restate_input(run, &value), RESTATE_ENDED);
        CHECK_STR(value, "default");
    }
    return restate_reply(run, restate_encode(run, NULL, "run"));
}

static restate_status named_once(restate_ctx *ctx, restate_bytes in) {
    const char *value = "default", *stored = "default";
    restate_bytes v;
    (void)in;
    RESTATE_TRY(restate_input(ctx, &value));
    RESTATE_TRY(restate_set(ctx, "k", restate_encode(ctx, NULL, "state")));
    RESTATE_TRY(restate_get(ctx, "k", &v));
    RESTATE_TRY(restate_decode(ctx, NULL, v, &stored));
    RESTATE_TRY(restate_run(ctx, "r", closure_codes, NULL, NULL, NULL));
    tell("%s %s ", value, stored);
    return restate_reply_value(ctx, "reply");
}

/* The nearest level wins, what a handler names wins over it; NULL is the nearest level's. */
TEST(a_codec_for_all) {
    static const struct {
        int endpoint, service, handler, input, output;
        const char *run, *state, *told, *reply;
    } cases[] = {
        { 1, 0, 0, 0, 0, "1run", "1state", "1(Text/One; a=b)in 1(Text/One; a=b)1state ", "1reply" },
        { 1, 2, 0, 0, 0, "2run", "2state", "2(text/two)in 2(text/two)2state ", "2reply" },
        { 1, 2, 3, 0, 0, "3run", "3state", "3(text/three)in 3(text/three)3state ", "3reply" },
        { 1, 2, 0, 4, 0, "2run", "2state", "4(text/four)in 2(text/two)2state ", "2reply" },
        { 1, 0, 0, 0, 4, "1run", "1state", "1(Text/One; a=b)in 1(Text/One; a=b)1state ", "4reply" },
        { 0, 0, 3, 1, 2, "3run", "3state", "1(Text/One; a=b)in 3(text/three)3state ", "2reply" }
    };
#define CODEC(n) ((n) ? &lettered[(n) - 1] : NULL)
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (ex.version = 5; ex.version <= 7; ex.version++) {
            restate_service s = { .name = "S", .kind = RESTATE_OBJECT, .options.codec = CODEC(cases[i].service),
                .handlers = RESTATE_HANDLERS({ .name = "h", .fn = named_once, .options.codec = CODEC(cases[i].handler),
                    .input = CODEC(cases[i].input), .output = CODEC(cases[i].output) }) };
            ex.defaults.codec = CODEC(cases[i].endpoint);
            (void)ex_manifest(RESTATE_SERVICES(&s));
            ex.defaults.codec = NULL;
            CHECK(invoke());
            start(1, .complete = true, .key = "o"); input("in"); give();
            SAYS(line("SetState \"k\" value \"%s\"", cases[i].state),
                 line("GetEagerState \"k\" value \"%s\"", cases[i].state), "Run 2 \"r\"",
                 line("Propose 2 value \"%s\" ack", cases[i].run), ex.version == 7 ? "AwaitingOn W{c:2,s:1}" : NULL);
            run_stored(2, cases[i].run); give();
            TOLD(cases[i].told);
            SAYS(line("Output value \"%s\"", cases[i].reply), "End");
            ex_end();
        }
#undef CODEC
}

TEST(a_codec_for_all_is_told) {
    const restate_service s = { .name = "S", .options.codec = &lettered[1], .handlers = RESTATE_HANDLERS(
        { .name = "a", .fn = nothing }, { .name = "b", .fn = nothing, .input = RESTATE_BYTES },
        { .name = "c", .fn = nothing, .options.codec = RESTATE_VOID },
        { .name = "d", .fn = nothing, .options.codec = &lettered[0], .accept = "text/*" },
        { .name = "e", .fn = nothing, .options.codec = &lettered[0] }) };
    const char *told = ex_manifest(RESTATE_SERVICES(&s));
    CHECK_HAS(told, "\"name\":\"a\",\"input\":{\"required\":true,\"contentType\":\"text/two\"},"
                    "\"output\":{\"contentType\":\"text/two\",\"setContentTypeIfEmpty\":true}");
    CHECK_HAS(told, "\"name\":\"b\",\"input\":{\"required\":false,\"contentType\":\"*/*\"}");
    CHECK_HAS(told, "\"name\":\"c\",\"input\":{},\"output\":{}");
    CHECK_HAS(told, "\"name\":\"d\",\"input\":{\"required\":true,\"contentType\":\"text/*\"},"
                    "\"output\":{\"contentType\":\"Text/One; a=b\"");
    CHECK_HAS(told, "\"name\":\"e\",\"input\":{\"required\":true,\"contentType\":\"text/one\"},"
                    "\"output\":{\"contentType\":\"Text/One; a=b\"");
    ex_end();
}

static restate_status codes_values(restate_ctx *ctx, restate_bytes in) {
    const char *value = "default";
    (void)in;
    if (variant == 2) return restate_reply_value(ctx, "bad");
    if (variant > 2) RESTATE_TRY(restate_input(ctx, &value));
    if (variant > 2) return restate_reply_value(ctx, value);
    return restate_run(ctx, "r", closure_codes, ctx, NULL, NULL);
}

/* In closures they are misuse; what cannot be decoded is the caller's fault; bytes and nothing. */
TEST(values_of_handlers) {
    for (variant = 0; variant < 4; variant++)
        EACH(RESTATE_SERVICE, .fn = codes_values, .input = &lettered[1], .output = &lettered[1]) {
            start(1, .complete = true, .seed = 1); input(variant == 3 ? "!in" : "in"); give();
            if (variant < 2) {
                drop_said();
                LOG_HAS(variant ? "S/h (in a closure): restate_reply_value(): it is the handler's reply that has a codec"
                                : "S/h (in a closure): restate_input(): a closure has no input");
            } else if (variant == 2) {
                SAYS("Error 500 index:0 Input message:\"S/h: restate_encode(): not that\"");
                log_drop();
            } else {
                SAYS("Output failure 400 \"not \"!in\"\"", "End");
            }
        }
}

static restate_status passes_bytes(restate_ctx *ctx, restate_bytes in) {
    restate_bytes b = absent();
    RESTATE_TRY(restate_input(ctx, &b));
    CHECK(variant ? !b.ptr && !in.ptr : b.ptr == in.ptr && b.len == in.len);
    return restate_reply_value(ctx, &b);
}

TEST(values_that_are_bytes_or_nothing) {
    for (variant = 0; variant < 2; variant++)
        EACH(RESTATE_SERVICE, .fn = passes_bytes, .options.codec = variant ? RESTATE_VOID : RESTATE_BYTES) {
            start(1); input(variant ? "" : "in"); give();
            SAYS(variant ? "Output value \"\"" : "Output value \"in\"", "End");
        }
}

/* Without a handler there are no payloads to be coded. */
TEST(values_without_a_handler) {
    restate_ctx *ctx = test_ctx();
    const char *value = "default";
    CHECK_INT(restate_input(ctx, &value), RESTATE_ENDED);
    CHECK_STR(value, "default");
    CHECK_HAS(last_misuse(ctx), "restate_input(): only a handler has payloads of its own");
    test_ctx_free(ctx);
}

/* ---- Seals ---------------------------------------------------------------------------------- */

/* Ids of invocations, as the server makes them. */
#define INV INV_X

static restate_status returns_value(restate_ctx *run, void *arg) {
    return restate_reply(run, text((const char *)arg));
}
static char value_arg[] = "v";
static const restate_run_options inline_run = { .inline_ok = true };

static int nonces;

/* "<text>": or, unstable, "<text>N". "!" cannot be sealed; what is not in brackets cannot be
 * opened. */
static restate_status seals(void *user, restate_ctx *ctx, restate_bytes plain,
                            restate_bytes *sealed) {
    if (plain.len && *plain.ptr == '!') return restate_fail(ctx, 422, "too dangerous");
    if (variant)
        *sealed = text(restate_text(ctx, "%s%.*s>%d", (const char *)user, (int)plain.len,
                                    (const char *)plain.ptr, nonces++));
    else
        *sealed = text(restate_text(ctx, "%s%.*s>", (const char *)user, (int)plain.len,
                                    (const char *)plain.ptr));
    return sealed->len ? RESTATE_OK : RESTATE_ENDED;
}

static restate_status opens(void *user, restate_ctx *ctx, restate_bytes sealed,
                            restate_bytes *plain) {
    const uint8_t *end = (const uint8_t *)memchr(sealed.ptr, '>', sealed.len);
    (void)user;
    if (!end || *sealed.ptr != '<') return restate_fail(ctx, 422, "not sealed");
    *plain =
        text(restate_text(ctx, "%.*s", (int)(end - sealed.ptr) - 1, (const char *)sealed.ptr + 1));
    return RESTATE_OK;
}

static char bracket[] = "<";
static const restate_seal seal = { seals, opens, bracket, false };

static restate_status keeps_secrets(restate_ctx *ctx, restate_bytes in) {
    restate_future *f;
    restate_bytes v;
    const char *id;
    tell("(%s) ", (const char *)in.ptr);
    CHECK(restate_request(ctx)->body.len == in.len &&
          memcmp(restate_request(ctx)->body.ptr, in.ptr, in.len) == 0);
    RESTATE_TRY(say(ctx, restate_get(ctx, "a", &v), v));
    RESTATE_TRY(restate_set(ctx, "b", text("state")));
    RESTATE_TRY(say(ctx, restate_get(ctx, "b", &v), v));
    RESTATE_TRY(say(ctx, restate_run(ctx, "r", returns_value, value_arg, &inline_run, &v), v));
    RESTATE_TRY(say(ctx, restate_call(ctx, greeter, text("x"), NULL, &v), v));
    restate_send(ctx, greeter, text("y"), NULL);
    f = restate_awakeable(ctx, &id);
    RESTATE_TRY(restate_resolve(ctx, id, text("z")));
    RESTATE_TRY(say(ctx, restate_await(ctx, f, &v), v));
    RESTATE_TRY(say(ctx, restate_await(ctx, f, &v), v));    /* opened once */
    RESTATE_TRY(restate_signal_resolve(ctx, INV, "n", text("s")));
    RESTATE_TRY(say(ctx, restate_await(ctx, restate_signal(ctx, "m"), &v), v));
    RESTATE_TRY(restate_promise_resolve(ctx, "p", text("promised")));
    RESTATE_TRY(say(ctx, restate_await(ctx, restate_promise(ctx, "p"), &v), v));
    RESTATE_TRY(say(ctx, restate_attach(ctx, (restate_invocation){ .id = INV }, &v), v));
    RESTATE_TRY(say(ctx, restate_await(ctx, restate_settled(ctx, text("here"), NULL), &v), v));
    RESTATE_TRY(say(ctx, restate_call(ctx, greeter, absent(), NULL, &v),
                    v)); /* nothing is sealed as empty */
    return restate_reply(ctx, text("out"));
}

static void answers_with_secrets(void) {
    if (ex.version == 7) note_ack(3);
    else note_value(N_RUN, 3, variant ? "<v>0" : "<v>");
    note_id(4, "inv_4");
    note_value(N_CALL, 5, "<c>");
    note_id(6, "inv_6");
    note_signal(17, "<aw>");
    note_named("m", "<si>");
    note_void(N_COMPLETE_PROMISE, 7);
    note_value(N_GET_PROMISE, 8, "<pr>");
    note_value(N_ATTACH, 9, "<at>");
    note_id(10, "inv_10"); note_value(N_CALL, 11, "");
}

#define SECRETS \
    "(in) ok(secret) ok(state) ok(v) ok(c) ok(aw) ok(aw) ok(si) ok(pr) ok(at) ok(here) ok() "

/* Hooks see the request as the handler does. */
static void looks_at_body(void *user, restate_ctx *ctx) {
    (void)user;
    tell("[%s] ", (const char *)restate_request(ctx)->body.ptr);
}
static const restate_hooks looking = { .begin = looks_at_body };

TEST(seal_covers_all_payloads) {
    variant = 0;
    EACH(RESTATE_WORKFLOW, .fn = keeps_secrets, .options = { .seal = &seal, .hooks = &looking }) {
        start(1, .complete = true, .state = "a=<secret>", .id = OWN_ID); input("<in>"); give();
        SAYS("GetEagerState \"a\" value \"<secret>\"", "SetState \"b\" value \"<state>\"",
             "GetEagerState \"b\" value \"<state>\"", "Run 3 \"r\"", "Propose 3 value \"<v>\" ack",
             "AwaitingOn W{c:3,s:1}");
        answers_with_secrets(); give();
        TOLD("[in] " SECRETS);
        SAYS("Call 4 5 \"Greeter\" \"greet\" parameter:\"<x>\"", "? AwaitingOn...",
             "OneWayCall 6 \"Greeter\" \"greet\" parameter:\"<y>\"",
             "CompleteAwakeable \"" AWAKEABLE "\" value \"<z>\"", "? AwaitingOn...",
             "SendSignal \"" INV "\" name:\"n\" value \"<s>\"", "? AwaitingOn...",
             "CompletePromise 7 \"p\" value \"<promised>\"", "? AwaitingOn...",
             "GetPromise 8 \"p\"", "? AwaitingOn...", "AttachInvocation 9 \"" INV "\"",
             "? AwaitingOn...", "Call 10 11 \"Greeter\" \"greet\" parameter:\"<>\"",
             "? AwaitingOn...", "Output value \"<out>\"", "End");
    }
}
static const restate_seal nonce_seal = { seals, opens, bracket, true };

static restate_status sends_and_sets(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    RESTATE_TRY(restate_set(ctx, "k", text("v")));
    restate_send(ctx, greeter, text("x"), NULL);
    return restate_reply(ctx, text("out"));
}

TEST(seal_with_a_nonce_is_not_compared) {
    variant = 1;
    for (int unstable = 0; unstable < 2; unstable++)
        EACH(RESTATE_OBJECT, .fn = sends_and_sets,
             .options = { .seal = unstable ? &nonce_seal : &seal }) {
            nonces = 5;
            start(4, .complete = true);
            input("<in>0");
            cmd_set("k", "<v>0");
            cmd_send(1, "<x>1");
            cmd_output("<out>2");
            give();
            if (unstable) SAYS("End");
            else SAYS("Error 570...");
            if (!unstable) LOG_HAS("570");
        }
    variant = 0;
}

static restate_status seals_badly(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    if (*in.ptr == 's') return restate_set(ctx, "k", text("!"));
    if (*in.ptr == 'r') return restate_reply(ctx, text("!"));
    return say(ctx, restate_get(ctx, "a", &v), v);
}

TEST(seal_failures) {
    variant = 0;
    EACH(RESTATE_OBJECT, .fn = seals_badly, .options = { .seal = &seal }) {     /* the input: 400 */
        start(1, .complete = true); input("open"); give();
        SAYS("Output failure 400 \"a sealed payload could not be opened: not sealed\"", "End");
    }
    EACH(RESTATE_OBJECT, .fn = seals_badly, .options = { .seal = &seal }) { /* anything else: 500 */
        start(1, .complete = true, .state = "a=open"); input("<get>"); give();
        TOLD("terminal(500 a sealed payload could not be opened: not sealed) ");
        SAYS("GetEagerState \"a\" value \"open\"",
             "Output failure 500 \"a sealed payload could not be opened: not sealed\"", "End");
    }
    for (int i = 0; i < 2; i++)                                                 /* tried again */
        EACH(RESTATE_OBJECT, .fn = seals_badly, .options = { .seal = &seal }) {
            start(1, .complete = true); input(i ? "<r>" : "<s>"); give();
            SAYS("Error 500 index:0 Input message:\"S/h: seal(): a payload could not be sealed: "
                 "too dangerous\"");
            LOG_HAS("too dangerous");
        }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(empty_is_present), T(empty_is_present_on_replay), T(void_output),
        T(void_output_of_any_size), T(void_output_is_the_handlers), T(void_input),
        T(void_under_a_seal), T(void_sends_nothing_and_ignores_all), T(text_is_exact),
        T(text_refused), T(text_quoted), T(input_that_is_no_array), T(codec_per_operation),
        T(codec_fails), T(unstable_codec), T(ready_made_codecs), T(codecs_of_operations),
        T(undecodable_input_is_400), T(undecodable_state_is_500), T(unencodable_is_retried),
        T(payload_codecs_are_told), T(a_codec_for_all), T(a_codec_for_all_is_told),
        T(values_of_handlers), T(values_that_are_bytes_or_nothing), T(values_without_a_handler), T(seal_covers_all_payloads),
        T(seal_with_a_nonce_is_not_compared), T(seal_failures),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
