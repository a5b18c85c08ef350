/* Section >>record: journals as text, and how they are read. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#define RESTATE_NO_THREADS
#define RESTATE_WITH_TEST
#include "restate.h"
#include "support/context.c"
#include "support/record.c"

/* What a journal is for people; lives until the next one. */
static const char *text_of(restate_bytes journal) {
    static char copy[65536];
    size_t before = memory.blocks;
    restate_ctx *ctx = test_ctx();
    const char *text = restate_journal_text(ctx, journal);
    CHECK(!restate__ctx_is_over(ctx));
    CHECK_INT(text + strlen(text) <= copy + sizeof copy ? 0 : strlen(text) >= sizeof copy, 0);
    snprintf(copy, sizeof copy, "%s", text);
    test_ctx_free(ctx);
    CHECK_INT(memory.blocks, before);
    return copy;
}

/* The script as the journal of S/h, without its first line. */
static const char *lines(void) {
    rows((about){ 0 });
    const char *text = text_of(rows_json()), *first = strchr(text, '\n');
    return first ? first + 1 : text;
}

static void end_script(void) {
    rows_free();
    rt_free_all();
}

/* ---- Lines ------------------------------------------------------------------------------------- */

TEST(example) {                             /* of >>api-journal */
    input("\"ada\"");
    cmd_get_eager("holder", NULL);
    cmd_set("holder", "\"ada\"");
    cmd_run(1, "mail");
    frame(M_CALL, "1s 2s 3s 10u 11u", "Pay", "charge", "{\"seat\": \"A1\"}", 2, 3);
    note_id(2, "inv_10vAeS0kdXwE2rdHEvl06vOP0AOXFKnSIH");
    note_value(N_CALL, 3, "true");
    frame(M_SEND, "1s 2s 4U 6s 10u", "Seats", "expire", (uint64_t)1893456900000u, "A1", 4);
    note_id(4, "inv_1bMRA1oXbedv28z3P0syegQaTgEe5x");
    note_signal(17, "\"yes\"");
    note_value(N_RUN, 1, "null");
    cmd_output("true");
    rows((about){ .service = "Seats", .key = "A1", .handler = "hold", .id = "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61" });
    CHECK_STR(text_of(rows_json()),
              "Seats/A1/hold inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61\n"
              "  0 input \"ada\"\n"
              "  1 get state \"holder\" -> void\n"
              "  2 set state \"holder\" \"ada\"\n"
              "  3 run \"mail\" -> null\n"
              "  4 call Pay/charge {\"seat\": \"A1\"} as inv_10vAeS0kdXwE2rdHEvl06vOP0AOXFKnSIH -> true\n"
              "  5 send Seats/A1/expire at 2030-01-01T00:15:00.000Z -> inv_1bMRA1oXbedv28z3P0syegQaTgEe5x\n"
              "  6 output true\n"
              "  came: 4, signal 17 -> \"yes\", 3\n");
    end_script();
}

TEST(commands) {
    input("in");
    cmd_get_lazy(1, "k"); note_value(N_GET_LAZY, 1, "v");
    cmd_get_lazy(2, "k"); note_void(N_GET_LAZY, 2);
    cmd_get_eager("k", "v");
    cmd_get_lazy_keys(3); frame(N_GET_LAZY_KEYS, "1u 17(1s 1s)", 3, "a", "b");
    frame(M_GET_EAGER_KEYS, "14(1s)", "a");
    frame(M_GET_EAGER_KEYS, "14()");
    cmd_set("k", "");
    cmd_clear("k"); cmd_clear_all();
    cmd_get_promise(4, "p"); note_value(N_GET_PROMISE, 4, "5");
    cmd_peek_promise(5, "p"); note_void(N_PEEK_PROMISE, 5);
    frame(M_COMPLETE_PROMISE, "1s 2(1s) 11u", "p", "5", 6); note_void(N_COMPLETE_PROMISE, 6);
    frame(M_COMPLETE_PROMISE, "1s 3(1u 2s) 11u", "p", 409, "no", 7); note_failure(N_COMPLETE_PROMISE, 7, 410, "gone");
    cmd_sleep(8, "", 1893456900123u); note_sleep(8);
    cmd_sleep(9, "nap", 1893456900123u);
    CHECK_STR(lines(),
              "  0 input in\n"
              "  1 get state \"k\" -> v\n"
              "  2 get state \"k\" -> void\n"
              "  3 get state \"k\" -> v\n"
              "  4 get state keys -> [\"a\", \"b\"]\n"
              "  5 get state keys -> [\"a\"]\n"
              "  6 get state keys -> []\n"
              "  7 set state \"k\" empty\n"
              "  8 clear state \"k\"\n"
              "  9 clear all state\n"
              "  10 get promise \"p\" -> 5\n"
              "  11 peek promise \"p\" -> void\n"
              "  12 complete promise \"p\" 5 -> void\n"
              "  13 complete promise \"p\" failure 409 \"no\" -> failure 410 \"gone\"\n"
              "  14 sleep until 2030-01-01T00:15:00.123Z -> void\n"
              "  15 sleep until 2030-01-01T00:15:00.123Z named \"nap\"\n");
    end_script();
}

TEST(commands_to_others) {
    input("");
    frame(M_CALL, "1s 2s 3s 4(1s 2s) 4(1s 2s) 5s 6s 7s 8s 10u 11u 12s", "S", "h", "x", "a", "1", "b", "2", "k",
          "once", "scope", "limit", 1, 2, "name");
    frame(M_CALL, "1s 2s 10u 11u", "S", "h", 3, 4); note_id(3, "inv_1a"); note_failure(N_CALL, 4, 409, "say \"no\"");
    frame(M_SEND, "1s 2s 3s 5(1s 2s) 6s 7s 8s 9s 10u 12s", "S", "h", "x", "a", "1", "k", "once", "scope", "limit", 5, "name");
    frame(M_SEND_SIGNAL, "1s 2u 4()", "inv_1a", 1);
    frame(M_SEND_SIGNAL, "1s 2u 5(1s)", "inv_1a", 17, "v");
    frame(M_SEND_SIGNAL, "1s 3s 5(1s)", "inv_1a", "go", "v");
    frame(M_SEND_SIGNAL, "1s 3s 6(1u 2s)", "inv_1a", "go", 400, "bad");
    frame(M_ATTACH, "1s 11u", "inv_1a", 6); note_value(N_ATTACH, 6, "r");
    frame(M_ATTACH, "4(1s 2s 3s) 11u", "Flow", "k", "s", 7);
    frame(M_GET_OUTPUT, "3(1s 2s 3s 4s) 11u", "S", "k", "h", "once", 8); note_void(N_GET_OUTPUT, 8);
    frame(M_COMPLETE_AWAKEABLE, "1s 2(1s)", "sign_1a", "v");
    frame(M_COMPLETE_AWAKEABLE, "1s 3(1u 2s 3(1s 2s) 3(1s 2s))", "sign_1a", 409, "no", "why", "so", "x", "y");
    cmd_output_failure(500, "");
    CHECK_STR(lines(),
              "  0 input empty\n"
              "  1 call S/k/h x idempotency key \"once\" scope \"scope\" limit key \"limit\" headers {\"a\": \"1\", \"b\": \"2\"} named \"name\"\n"
              "  2 call S/h as inv_1a -> failure 409 \"say \\\"no\\\"\"\n"
              "  3 send S/k/h x idempotency key \"once\" scope \"scope\" limit key \"limit\" headers {\"a\": \"1\"} named \"name\"\n"
              "  4 send signal (cancel) to inv_1a\n"
              "  5 send signal 17 to inv_1a v\n"
              "  6 send signal \"go\" to inv_1a v\n"
              "  7 send signal \"go\" to inv_1a failure 400 \"bad\"\n"
              "  8 attach invocation inv_1a -> r\n"
              "  9 attach invocation Flow/k scope \"s\"\n"
              "  10 get invocation output S/k/h idempotency key \"once\" -> void\n"
              "  11 complete awakeable sign_1a v\n"
              "  12 complete awakeable sign_1a failure 409 \"no\" {\"why\": \"so\", \"x\": \"y\"}\n"
              "  13 output failure 500 \"\"\n");
    end_script();
}

static void set_bytes(const void *at, size_t len) { frame(M_SET, "1s 3(1b)", "k", at, len); }

TEST(payloads) {
    char long_text[401], expected[1024];
    memset(long_text, 'x', 400), long_text[400] = 0;
    input("{\n\t\"a\": 1\r\n}");
    set_bytes("\0\xff\x10", 3);
    set_bytes("\x1b[31m", 5);               /* it would steer a terminal */
    set_bytes("a\xe2\x80\xae" "b", 5);       /* and this would turn its text around */
    set_bytes("gr\xc3\xbc\xc3\x9f", 6);
    set_bytes(long_text, 200);
    set_bytes(long_text, 201);
    memcpy(long_text + 199, "\xc3\xbc", 2);
    set_bytes(long_text, 300);              /* cut before the character */
    long_text[0] = 1;
    set_bytes(long_text, 101);
    snprintf(expected, sizeof expected,
             "  0 input {\\n\\t\"a\": 1\\r\\n}\n"
             "  1 set state \"k\" 0x00ff10\n"
             "  2 set state \"k\" 0x1b5b33316d\n"
             "  3 set state \"k\" 0x61e280ae62\n"
             "  4 set state \"k\" gr\xc3\xbc\xc3\x9f\n"
             "  5 set state \"k\" %.200s\n"
             "  6 set state \"k\" %.200s... (201 bytes)\n", "", "");
    {
        const char *got = lines(), *six = strstr(got, "  6 "), *seven = strstr(got, "  7 "), *eight = strstr(got, "  8 ");
        char want[600];
        memset(long_text, 'x', 400);
        CHECK(strncmp(got, expected, (size_t)(strstr(expected, "  5 ") - expected)) == 0);
        snprintf(want, sizeof want, "  6 set state \"k\" %.200s... (201 bytes)\n", long_text);
        CHECK(six && strncmp(six, want, strlen(want)) == 0);
        snprintf(want, sizeof want, "  7 set state \"k\" %.199s... (300 bytes)\n", long_text);
        CHECK(seven && strncmp(seven, want, strlen(want)) == 0);
        CHECK(eight && strncmp(eight, "  8 set state \"k\" 0x017878", 26) == 0);
        CHECK_HAS(eight, "78... (101 bytes)\n");
        CHECK_INT(eight ? strlen(eight) : 0, 18 + 2 + 200 + strlen("... (101 bytes)\n"));
    }
    end_script();
}

TEST(names_that_are_no_text) {
    input("x");
    frame(M_SET, "1b 3(1s)", "\xff\xfe", (size_t)2, "v");
    frame(M_SET, "1b 3(1s)", "a\"\n", (size_t)3, "v");
    CHECK_STR(lines(), "  0 input x\n  1 set state 0xfffe v\n  2 set state \"a\\\"\\n\" v\n");
    end_script();
}

/* ---- What came in which order ------------------------------------------------------------------- */

static void runs(unsigned count) {
    input("x");
    for (unsigned id = 1; id <= count; id++) cmd_run(id, "r");
}
static void ran(unsigned id) { note_value(N_RUN, id, "1"); }

/* The last line. */
static const char *came(void) {
    const char *text = lines(), *last = strstr(text, "  came: ");
    return last ? last : "";
}

TEST(came_in_order) {
    runs(3); ran(1); ran(2); ran(3);
    CHECK_STR(came(), "");
    runs(3); ran(1); ran(3);                /* one has no result */
    CHECK_STR(came(), "");
    input("x");                             /* ids of calls come before results */
    frame(M_CALL, "1s 2s 10u 11u", "S", "h", 1, 2); frame(M_CALL, "1s 2s 10u 11u", "S", "h", 3, 4);
    note_id(1, "inv_1a"); note_id(3, "inv_1b"); note_value(N_CALL, 2, "a"); note_value(N_CALL, 4, "b");
    CHECK_STR(came(), "");
    runs(2); ran(1); ran(1); ran(2);        /* a second result is none */
    CHECK_STR(came(), "");
    end_script();
}

TEST(came_otherwise) {
    runs(2); ran(2); ran(1);
    CHECK_STR(came(), "  came: 2, 1\n");
    runs(6); ran(1); ran(2); ran(3); ran(5); ran(4); ran(6);
    CHECK_STR(came(), "  came: 1 to 3, 5, 4, 6\n");
    runs(6); ran(4); ran(5); ran(6); ran(1); ran(2);
    CHECK_STR(came(), "  came: 4 to 6, 1, 2\n");
    runs(2); ran(2); ran(2); ran(1); ran(1);
    CHECK_STR(came(), "  came: 2, 1\n");
    runs(2); ran(1); ran(9); ran(2);        /* of no command */
    CHECK_STR(came(), "  came: 1, completion 9 -> 1, 2\n");
    end_script();
}

TEST(came_signals) {
    runs(4); ran(1); note_signal(17, "a"); ran(2); ran(3); note_cancel(); ran(4); note_named("go", "b");
    note_named("go", "c"); note_signal_failure(18, 409, "no"); note_cancel(); note_signal(17, "again");
    CHECK_STR(came(), "  came: 1, signal 17 -> a, 2, 3, cancel, 4, signal \"go\" -> b, signal \"go\" -> c, "
                      "signal 18 -> failure 409 \"no\", cancel\n");
    runs(1); note_signal(1u << 31, "a"); frame(N_SIGNAL, "2u 4()", 17);
    CHECK_STR(came(), "  came: signal 2147483648 -> a, signal 17 -> void\n");
    end_script();
}

TEST(damaged_entries) {                     /* shown as they are */
    input("x");
    frame(M_RUN, "11s", "no number");
    rt_frame(&rt_script, M_SET, 0, "\x0a\xff", 2);
    frame(N_RUN, "1u", 1);                  /* without a result */
    frame(N_RUN, "1s 5(1s)", "x", "y");
    frame(M_OUTPUT, "15(1u 2b)", 409, "\xff", (size_t)1);
    cmd_output("last");
    CHECK_STR(lines(),
              "  0 input x\n"
              "  1 run (cannot be read) Z\\tno number\n"
              "  2 set state (cannot be read) 0x0aff\n"
              "  3 output (cannot be read) 0x7a06089903" "1201ff\n"
              "  4 output last\n");
    end_script();
}

/* ---- Journals ------------------------------------------------------------------------------------ */

TEST(many_invocations) {
    input("x"); rows((about){ .service = "A", .id = "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61" });
    cmd_run(1, "r"); rows((about){ .service = "B", .key = "k/1", .id = "inv_1bMRA1oXbedv28z3P0syegQaTgEe5xQNnE", .more = ",\"scope\":\"eu\"" });
    CHECK_STR(text_of(rows_json()),
              "A/h inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61\n"
              "  0 input x\n"
              "B/k/1/h inv_1bMRA1oXbedv28z3P0syegQaTgEe5xQNnE scope \"eu\"\n"
              "  0 input x\n"
              "  1 run \"r\"\n");
    CHECK_STR(text_of(rows_json()), "");    /* none */
    end_script();
}

/* Columns in any order, null, of other kinds, unknown, escaped, twice. */
TEST(columns) {
    row("{ \"scope\" : null , \"raw\": \"72030A0178\", \"more\": {\"id\": [1, \"]}\", {}]}, \"i\\u0064\": \"" RECORD_ID "\","
        "\"entry_type\":\"Command: Input\",\"target_service_name\":\"S\\u00fc\\\"\",\"target_handler_name\":\"h\","
        "\"target_service_key\":true,\"pinned_service_protocol_version\": 6 ,\n\"created_at\":1795864414274,\"index\":\"0\" }");
    CHECK_STR(text_of(rows_json()), "S\xc3\xbc\"/h " RECORD_ID "\n  0 input x\n");
    CHECK_STR(text_of(restate_str("{\"rows\":[ ],\"rows\":7}")), "");
    end_script();
}

TEST(no_journal) {
    static const char *const texts[] = {
        "", " ", "[]", "null", "{}", "{\"rows\":{}}", "{\"rows\":null}", "{\"rows\":[", "{\"message\":\"no such column\"}",
        "{\"rows\":[7]}", "{\"rows\":[[]]}", "{\"rows\":[{}]}", "{\"rows\":[{\"id\":\"\"}]}", "<html>", "{\"rows\":[]} x"
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        test_note = texts[i];
        CHECK_STR(text_of(exactly(texts[i], strlen(texts[i]))), "");
    }
    test_note = "";
    CHECK_STR(text_of(restate__b(NULL, 0)), "");
    end_script();
}

/* What can be read is shown. */
TEST(faults) {
    static const struct { const char *entry, *fault; } cases[] = {
        { "\"index\":2,\"entry_type\":\"Command: Run\"", "entry 1 is missing, or comes too late: order by i.id, j.index" },
        { "\"index\":0,\"entry_type\":\"Command: Run\"", "entry 1 is missing, or comes too late: order by i.id, j.index" },
        { "\"entry_type\":\"Command: Run\"", "an entry has no index" },
        { "\"index\":-1,\"entry_type\":\"Command: Run\"", "an entry has no index" },
        { "\"index\":1.5,\"entry_type\":\"Command: Run\"", "an entry has no index" },
        { "\"index\":99999999999999999999,\"entry_type\":\"Command: Run\"", "an entry has no index" },
        { "\"index\":1,\"entry_type\":\"Run\"", "entry 1 is a \"Run\", which is not known here" },
        { "\"index\":1,\"entry_type\":\"Event: X\\u001b\"", "entry 1 is a \"Event: X?\", which is not known here" },
        { "\"index\":1", "entry 1 is a \"\", which is not known here" },
        { "\"index\":1,\"entry_type\":\"Command: Run\",\"raw\":\"0\"", "entry 1: its raw is not hex" },
        { "\"index\":1,\"entry_type\":\"Command: Run\",\"raw\":\"0g\"", "entry 1: its raw is not hex" },
    };
    char line[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_note = cases[i].entry;
        input("x");
        rows((about){ 0 });
        snprintf(line, sizeof line, "{%s,\"id\":\"" RECORD_ID "\"}", cases[i].entry);
        row(line);
        row("{\"index\":2,\"entry_type\":\"Command: Run\",\"raw\":\"5801\",\"id\":\"" RECORD_ID "\"}");
        snprintf(line, sizeof line, "S/h " RECORD_ID "\n  0 input x\n  the rest cannot be read: %s\n", cases[i].fault);
        CHECK_STR(text_of(rows_json()), line);
    }
    test_note = "";
    cmd_run(1, "r");
    rows((about){ 0 });
    CHECK_STR(text_of(rows_json()), "S/h " RECORD_ID "\n  the rest cannot be read: entry 0 is not the input\n");
    end_script();
}

/* A real server's, with entries of all kinds. */
static char *file(const char *path, size_t *len) {
    FILE *f = fopen(path, "rb");
    char *text = (char *)calloc(1, 1 << 20);
    if (!f || !text) {
        CHECK(!"the tests run in the project's directory");
        if (f) fclose(f);
        *len = 0;
        return text;
    }
    *len = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    return text;
}

TEST(of_a_server) {
    size_t len, expected_len;
    char *journal = file("tests/journals/kinds.json", &len), *expected = file("tests/journals/kinds.txt", &expected_len);
    CHECK_STR(text_of(exactly(journal, len)), expected);
    free(journal);
    free(expected);
    end_script();
}

/* Rows that are written are read as what they were: those of the server, too. */
TEST(rows_written) {
    size_t len;
    char *journal = file("tests/journals/kinds.json", &len);
    restate_ctx *ctx = test_ctx();
    restate__record_reader r;
    restate__json_out o = restate__json_out_on(ctx->memory);
    bool more = false;
    restate__json_put_text(&o, "{\"rows\":[");
    CHECK(restate__record_open(&r, &((test_host *)(void *)ctx)->allocator, restate__b(journal, len)));
    for (; restate__record_next(&r); more = true) restate__record_put_rows(&o, &r.record, more);
    restate__record_close(&r);
    restate__json_put_text(&o, "]}");
    restate_bytes written = restate__json_finish(&o);
    char *first = strdup(text_of(written));
    CHECK_STR(first, text_of(restate__b(journal, len)));
    CHECK_HAS(first, "Kinds/k1/all");
    free(first);
    test_ctx_free(ctx);
    free(journal);
    end_script();
}

/* ---- Ids, seeds, times --------------------------------------------------------------------------- */

static const char *hex_of(const uint8_t *at, size_t len) {
    static char text[64];
    for (size_t i = 0; i < len; i++) snprintf(text + 2 * i, 3, "%02x", at[i]);
    return text;
}

TEST(ids_and_seeds) {                       /* as captured from servers */
    uint8_t id[RESTATE__RECORD_ID];
    CHECK(!restate__record_id(restate_str(RECORD_ID), id));
    CHECK_STR(hex_of(id, sizeof id), "548ae3cba54055b3abeb0d723f870a2f4a8afb8c59036c41");
    CHECK(restate__record_seed(id) == UINT64_C(0xefb4460eb10263df));
    CHECK(restate__record_unique_seed(id, 1795864414274) == UINT64_C(0xcfa7f3cf81951a92));
    CHECK(!restate__record_id(restate_str("inv_10SHxgluLUdD3r9oua1mKD15HgnlYujQ3U"), id));
    CHECK(restate__record_seed(id) == UINT64_C(0x10fd2268c1a7c5d));
    CHECK(restate__record_unique_seed(id, 1795864414274) == UINT64_C(0x84729d26dbe8c8b6));
    CHECK_STR(restate__record_id(restate_str("inv_1foAirY4KKzi1ZrRwNJaEprfuE5in9mca"), id), "it does not have 38 characters");
    CHECK_STR(restate__record_id(restate_str("inv_2foAirY4KKzi1ZrRwNJaEprfuE5in9mcaf"), id), "it does not begin with \"inv_1\"");
    CHECK(restate__record_id(restate_str("inv_1lYGhA16ahyg1ZrRwNJaEprfuE5in9mcaf"), id));
    CHECK(restate__record_id(restate__b("inv_1foAirY4KKzi1ZrRwNJaEprfuE5in9m\0af", 38), id));
}

TEST(times) {
    CHECK(restate__record_time(restate_str("1795864414274")) == 1795864414274u);
    CHECK(restate__record_time(restate_str("2026-11-28T11:13:34.274Z\"")) == 0);
    CHECK(restate__record_time(restate__b("2026-11-28T11:13:34.274Z\"", 24)) == 1795864414274u);
    CHECK(restate__record_time(restate__b("2026-11-28T12:13:34.274999+01:00\"", 32)) == 1795864414274u);
    CHECK(restate__record_time(restate__b("1969-11-28T11:13:34Z\"", 20)) == 0);
    CHECK(restate__record_time(restate__b("yesterday\"", 9)) == 0);
    CHECK(restate__record_time(restate__b("", 0)) == 0);
}

/* ---- The query ------------------------------------------------------------------------------------ */

static const char *where(restate_invocation of) {
    static char copy[1024];
    restate_ctx *ctx = test_ctx();
    restate_bytes sql = restate__b_none();
    CHECK_INT(restate_json_text(ctx, restate__record_query(ctx->memory, of), "query", &sql), RESTATE_OK);
    snprintf(copy, sizeof copy, "%.*s", (int)sql.len, (const char *)sql.ptr);
    test_ctx_free(ctx);
    return strstr(copy, " where ") ? strstr(copy, " where ") + 7 : copy;
}

TEST(queries) {
    CHECK_STR(where((restate_invocation){ .id = "inv_1a" }), "i.id = 'inv_1a' order by i.id, j.index");
    CHECK_STR(where((restate_invocation){ .idempotency_key = NULL }), "i.status != 'completed' order by i.id, j.index");
    CHECK_STR(where((restate_invocation){ .target = { .service = "S" } }),
              "i.status != 'completed' and i.target_service_name = 'S' order by i.id, j.index");
    CHECK_STR(where((restate_invocation){ .target = { .service = "S", .handler = "h", .key = "it's \"k\"\n'", .scope = "eu" },
                                          .idempotency_key = "once" }),
              "i.status != 'completed' and i.target_service_name = 'S' and i.target_handler_name = 'h' and "
              "i.target_service_key = 'it''s \"k\"\n''' and i.scope = 'eu' and i.idempotency_key = 'once' "
              "order by i.id, j.index");
}

/* The columns that the manual names are those that are asked for. */
TEST(query_is_the_manual_s) {
    restate_ctx *ctx = test_ctx();
    const char *query = (const char *)restate__record_query(ctx->memory, (restate_invocation){ .id = "x" }).ptr;
    CHECK_HAS(query, "select j.index, j.entry_type, j.raw, i.id, i.target_service_name, i.target_service_key, "
                     "i.target_handler_name, i.pinned_service_protocol_version, i.created_at, "
                     "i.restarted_from, i.scope, i.limit_key, i.idempotency_key "
                     "from sys_journal j join sys_invocation i on i.id = j.id where ");
    test_ctx_free(ctx);
}

/* ---- Size, memory, noise ----------------------------------------------------------------------------- */

TEST(long_journals) {                       /* 10,000 entries, the last result first */
    restate_ctx *ctx = test_ctx();
    const char *text;
    runs(5000);
    ran(5000);
    for (unsigned i = 1; i < 5000; i++) ran(i);
    rows((about){ 0 });
    text = restate_journal_text(ctx, rows_json());
    CHECK_HAS(text, "  4999 run \"r\" -> 1\n  5000 run \"r\" -> 1\n  came: 5000, 1 to 4999\n");
    test_ctx_free(ctx);
    end_script();
}

TEST(no_memory) {
    static const char large[5000];
    restate_bytes journal;
    runs(3); ran(2); ran(1); note_signal(17, "x");
    for (int i = 0; i < 50; i++) cmd_set("k", "0123456789012345678901234567890123456789");
    for (int i = 0; i < 3; i++) set_bytes(large, sizeof large);
    rows((about){ .service = "\\u0053", .key = "k" });
    journal = rows_json();
    for (long n = 0; n < 10000; n++) {
        restate_ctx *ctx = test_ctx();
        mem_fail_from(&memory, (size_t)n + 1);
        const char *text = restate_journal_text(ctx, journal);
        mem_fail(&memory, 0);
        bool done = *text != 0;
        CHECK(restate__ctx_is_over(ctx) != done);
        if (!done) CHECK_STR(last_misuse(ctx), "out of memory");
        test_ctx_free(ctx);
        CHECK_INT(memory.blocks, 0);
        if (!done) continue;
        CHECK(n > 5);
        end_script();
        return;
    }
    CHECK(!"it never had enough");
}

TEST(over) {                                /* the attempt has ended */
    restate_ctx *ctx = test_ctx();
    ctx->life = RESTATE__LIFE_OVER;
    input("x"); rows((about){ 0 });
    CHECK_STR(restate_journal_text(ctx, rows_json()), "");
    test_ctx_free(ctx);
    end_script();
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(example), T(commands), T(commands_to_others), T(payloads), T(names_that_are_no_text), T(came_in_order),
        T(came_otherwise), T(came_signals), T(damaged_entries), T(many_invocations), T(columns), T(no_journal),
        T(faults), T(of_a_server), T(rows_written), T(ids_and_seeds), T(times), T(queries), T(query_is_the_manual_s),
        T(long_journals), T(no_memory), T(over), {0}
    };
    return test_main(argc, argv, cases);
}
