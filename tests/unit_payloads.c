/* What payloads are to handlers: empty is present, absent is nothing, RESTATE_VOID has no bytes, text is
 * exact. Sections >>context and >>json, on an endpoint that a scripted runtime talks to. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include <cjson/cJSON.h>
#include "../build/proto/order.pb.c"
#include "exchange.h"

static const restate_bytes absent;
static const restate_target greeter = { .service = "Greeter", .handler = "greet" };
static const restate_codec order = RESTATE_PROTO(Order), order_json = RESTATE_PROTOJSON(Order);

static bool is(restate_bytes b, const void *text, size_t len) {
    return b.ptr && b.len == len && memcmp(b.ptr, text, len) == 0 && b.ptr[len] == 0;
}
#define IS(bytes, literal) CHECK(is(bytes, literal, sizeof literal - 1))

/* ---- Empty and absent, by every reader -------------------------------------------------------- */

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
    restate_bytes element = absent, part = restate_str("x"), kept = restate_str("x"), copy = restate_str("x");
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
    tell("%s:%s ", what, !bytes.ptr ? "absent" : bytes.len ? "full" : "empty");
    reads_nothing(ctx, bytes);
}

static restate_status says_nothing(restate_ctx *run, void *arg) {
    reads_nothing(run, restate_str(""));
    reads_nothing(run, absent);
    return arg ? restate_reply(run, absent) : RESTATE_OK;
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
    look(ctx, "reply", restate_call(ctx, greeter, absent, NULL, &b), b);
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
    look(ctx, "nothing settled", restate_await(ctx, restate_settled(ctx, absent, NULL), &b), b);
    later = restate_race(ctx, &settled, 1);
    look(ctx, "race", restate_await(ctx, later, &b), b);
    return restate_reply(ctx, b);
}

#define ALL_OF_THEM \
    "input:empty body:empty inline:empty run:empty eager:empty lazy:empty set:empty cleared:absent " \
    "reply:empty attach:empty output:empty not yet:absent promise:empty peeked:empty open:absent " \
    "awakeable:empty void awakeable:absent signal:empty settled:empty nothing settled:absent race:empty "

/* Values without content, and with a content of no bytes: protobuf has both. */
static void note_empty(unsigned type, unsigned id, int how) {
    if (how) frame(type, "1u 5()", id);
    else frame(type, "1u 5(1s)", id, "");
}

static void run_stored(unsigned id, int how) {
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
            run_stored(1, how); give();
            run_stored(2, how); give();
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
    look(ctx, "reply", restate_call(ctx, greeter, absent, NULL, &b), b);
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
                 "void awakeable:absent signal:empty peeked:empty ");
            SAYS("End");
        }
    }
}

/* ---- No bytes: RESTATE_VOID ------------------------------------------------------------------- */

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
#define INPUT_DROPPED(n) "WARN " n " bytes of the request (.input) were dropped, because it is RESTATE_VOID: " \
    "call it without any, or give .input a codec\n"

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
static restate_status seal(void *user, restate_ctx *ctx, restate_bytes plain, restate_bytes *sealed) {
    (void)user;
    *sealed = restate_str(restate_text(ctx, "sealed(%s)", (const char *)plain.ptr));
    return RESTATE_OK;
}
static restate_status open_seal(void *user, restate_ctx *ctx, restate_bytes sealed, restate_bytes *plain) {
    size_t n = sealed.len;
    (void)user;
    if (n < 8 || memcmp(sealed.ptr, "sealed(", 7) != 0) return restate_fail(ctx, 500, "no seal");
    *plain = restate_str(restate_text(ctx, "%.*s", (int)(n - 8), (const char *)sealed.ptr + 7));
    return RESTATE_OK;
}

static restate_status replies_nothing(restate_ctx *ctx, restate_bytes in) {
    CHECK(!in.ptr);
    return restate_reply(ctx, absent);
}

TEST(void_under_a_seal) {
    static const restate_seal both = { .seal = seal, .open = open_seal };
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

/* ---- Text of any characters ------------------------------------------------------------------- */

/* Reads it from the input, writes it, reads that. */
static restate_status copies_text(restate_ctx *ctx, restate_bytes in) {
    restate_bytes text = absent, again = absent, json;
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
    IS(restate_json_quote(ctx, absent), "null");
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

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(empty_is_present), T(empty_is_present_on_replay), T(void_output), T(void_output_of_any_size),
        T(void_output_is_the_handlers), T(void_input), T(void_under_a_seal), T(text_is_exact), T(text_refused),
        T(text_quoted),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
