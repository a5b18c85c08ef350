/* Section >>journal: handshake, input, output, random numbers; frames bit for bit. A number in a name is
 * that of tests/scenarios.md; x_ are further cases. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/journal.c"

/* ---- Handshake, input, output --------------------------------------------------------------- */

TEST(s001_s003_fresh) {
    EVERY(5, 7) {
        CHECK_INT(vm()->phase, RESTATE__WAIT_START);
        CHECK(!ready());
        OUT_NOTHING();
    }
}

TEST(s004_echo) {
    EVERY(5, 7) {
        given(1); eof(); go();
        CHECK_INT(rt.vm.phase, RESTATE__PROCESSING);
        CHECK(op_output((const char *)rt.input.body.ptr) && op_end());
        CHECK_INT(rt.vm.phase, RESTATE__CLOSED);
        OUT("Output value \"my-data\"", "End");
    }
}

TEST(s005_headers_and_empty_output) {
    EVERY(5, 7) {
        restate_pair *pairs;
        start(1); frame(M_INPUT, "1(1s2s) 1(1s2s) 14(1s)", "x-my-header", "my-value", "empty", "", "b");
        go();
        pairs = restate__vm_pairs(&rt.arena, rt.input.headers);
        CHECK(pairs);
        if (pairs) {
            CHECK_STR(pairs[0].name, "x-my-header");
            CHECK_STR(pairs[0].value, "my-value");
            CHECK_STR(pairs[1].name, "empty");
            CHECK_STR(pairs[1].value, "");
            CHECK(!pairs[2].name);
        }
        CHECK(op_output("") && op_end());
        OUT("Output value \"\"", "End");
    }
}

TEST(s006_output_replayed) {
    EVERY(5, 7) {
        given(2); cmd_output("my-data"); eof(); go();
        CHECK_INT(rt.vm.phase, RESTATE__REPLAYING);
        CHECK(op_output("my-data") && op_end());
        OUT("End");
    }
}

TEST(s007_scope_of_start) {
    EVERY(5, 7) {
        start(1, .key = "obj", .scope = "sc", .limit_key = "l1/l2", .idempotency_key = "idem", .debug_id = "inv_1");
        input(""); go();
        CHECK_STR((const char *)rt.vm.key.ptr, "obj");
        CHECK_STR((const char *)rt.vm.debug_id.ptr, "inv_1");
        CHECK(rt.input.body.ptr && rt.input.body.len == 0);
        if (rt.version == 7) {
            CHECK_STR((const char *)rt.vm.scope.ptr, "sc");
            CHECK_STR((const char *)rt.vm.limit_key.ptr, "l1/l2");
            CHECK_STR((const char *)rt.vm.idempotency_key.ptr, "idem");
        } else {
            CHECK(!rt.vm.scope.ptr && !rt.vm.limit_key.ptr && !rt.vm.idempotency_key.ptr);
        }
    }
}

TEST(s008_input_ends_in_the_replay) {
    EVERY(5, 7) {
        given(2); eof();
        CHECK(!ready());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
        cmd_sleep(1, "", 0); note_sleep(1);
        CHECK(!ready());
        CHECK(!op_input());
        OUT_NOTHING();
    }
}

TEST(s009_input_ends_before_start) {
    EVERY(5, 7) {
        eof();
        CHECK(!ready());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

TEST(s010_no_known_entries) {
    EVERY(5, 7) {
        start(0);
        CHECK(!ready());
        CHECK_ERROR(500, "");
        OUT("Error 500...");
    }
}

TEST(s011_other_first_frame) {
    EVERY(5, 7) { note_sleep(1); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { input("x"); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { note_ack(1); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
}

TEST(s012_command_after_replay) {
    EVERY(5, 7) { given(1); cmd_sleep(1, "", 0); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) {
        given(1); go();
        cmd_sleep(1, "", 0); feed();
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

TEST(s013_unknown_and_foreign_types) {
    static const struct { unsigned type; unsigned code; } cases[] = {
        { 0x0020, 500 }, { M_COMMAND_ACK, 500 }, { 0x03FF, 500 }, { 0xFC01, 571 }, { 0xFFFF, 571 }, { 0xFC00, 571 },
        { M_SUSPENSION, 571 }, { M_ERROR, 571 }, { M_END, 571 }, { M_PROPOSE, 571 }, { M_AWAITING_ON, 571 }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EVERY(5, 7) {
            given(2); frame(cases[i].type, "");
            CHECK(!ready());
            CHECK_ERROR(cases[i].code, "");
            if (cases[i].code == 500) {
                char hex[8];
                snprintf(hex, sizeof hex, "%04X", cases[i].type);
                CHECK_HAS(rt.vm.error.message, hex);
            }
            OUT(cases[i].code == 500 ? "Error 500..." : "Error 571...");
        }
}

TEST(s014_unknown_command) {
    EVERY(5, 7) {
        given(2); frame(0x0415, "1s", "opaque"); go();
        CHECK(!op_sleep("", 1)->kind || !rt_ok);
        CHECK(!rt_ok);
        CHECK_ERROR(570, "");
        OUT("Error 570 index:1 Sleep message:...");
    }
}

TEST(s015_unknown_notification) {
    EVERY(5, 7) {
        node *sleep;
        given(2); note_void(0x8020, 1); go();
        sleep = op_sleep("", 0);
        AWAIT(sleep, "ANY");
        VALUE(sleep, "void");
        OUT("Sleep 1");
    }
}

TEST(s016_bad_notifications) {
    EVERY(5, 7) { given(2); frame(N_SLEEP, "1u", 1); CHECK(!ready()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(5, 7) { given(2); frame(N_SLEEP, "4()"); CHECK(!ready()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(5, 7) { given(2); raw("800c0000 00000003 ffffff"); CHECK(!ready()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
    EVERY(5, 7) { given(2); raw("800c0000 00000000"); CHECK(!ready()); CHECK_ERROR(500, ""); OUT("Error 500..."); }
}

TEST(s017_no_command_at_all) {
    EVERY(5, 7) {
        start(1); note_signal(17, "x");
        CHECK(ready());
        CHECK(!op_input());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

TEST(s018_first_command_is_not_input) {
    EVERY(5, 7) {
        start(1); cmd_sleep(1, "", 0);
        CHECK(ready());
        CHECK(!op_input());
        CHECK_ERROR(570, "");
        OUT("Error 570 index:0 Input message:...");
    }
}

/* Any cut into two pieces gives the same. */
TEST(s019_cut_anywhere) {
    size_t at = 0, len = 1;
    for (; at <= len; at++) {
        node *sleep, *named;
        uint8_t *copy;
        rt_begin(7, RT_WHOLE);
        start(4, .state = "k=v"); input("my-data"); cmd_sleep(1, "nap", 5); note_sleep(1); frame(M_CLEAR_ALL, "");
        note_named("abc", "value");
        len = rt_script.len;
        copy = (uint8_t *)rt_alloc(len);
        memcpy(copy, rt_script.at, len);
        rt_script.len = 0;
        rt_feed_piece(copy, at);
        rt_feed_piece(copy + at, len - at);
        go();
        sleep = op_sleep("nap", 7);
        AWAIT(sleep, "ANY");
        CHECK(op_clear_all());
        named = op_signal("abc");
        AWAIT(named, "ANY");
        VALUE(named, "\"value\"");
        CHECK(op_output("") && op_end());
        OUT("Output value \"\"", "End");
        rt_end();
    }
    CHECK(len > 80);
}

TEST(s020_end_and_after) {
    EVERY(5, 7) {
        given(1); go();
        CHECK(op_end());
        CHECK(op_end());
        op_sleep("", 1);
        CHECK(!rt_ok);
        CHECK_ERROR(598, "");
        CHECK(!op_end());
        CHECK_ERROR(598, "");
        OUT("End");
    }
}

TEST(s021_end_in_the_replay) {
    EVERY(5, 7) {
        given(2); cmd_sleep(1, "", 0); go();
        CHECK(!op_end());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

TEST(s022_output_then_more_recorded) {
    EVERY(5, 7) {
        given(3); cmd_output("out"); cmd_sleep(1, "", 0); go();
        CHECK(op_output("out"));
        CHECK(!op_end());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
}

/* ---- Bit for bit ---------------------------------------------------------------------------- */

TEST(golden_start) {
    EVERY(5, 7) {
        raw("000000000000000e 0a03313233120331323318012801"); raw("040000000000000b 72090a076d792d64617461"); go();
        CHECK_STR((const char *)rt.vm.id.ptr, "123");
        CHECK_STR((const char *)rt.vm.debug_id.ptr, "123");
        CHECK_INT(rt.vm.journal.known, 1);
        CHECK(rt.vm.state.partial);
        CHECK_STR((const char *)rt.input.body.ptr, "my-data");
    }
    EVERY(5, 7) {
        raw("0000000000000039 0a033132331205696e765f31180222030a016b32036f626a380340dc0b48ffffffffffffffffff01"
            "520273635a056c312f6c3262046964656d");
        input(""); cmd_get_eager("k", ""); go();
        CHECK_STR((const char *)rt.vm.debug_id.ptr, "inv_1");
        CHECK_INT(rt.vm.journal.known, 2);
        CHECK(!rt.vm.state.partial);
        CHECK_STR((const char *)rt.vm.key.ptr, "obj");
        CHECK_INT(rt.vm.retry_count, 3);
        CHECK_INT(rt.vm.retry_ms, 1500);
        CHECK(restate__vm_seed(&rt.vm) == (rt.version == 5 ? 0xa665a45920422f9du : UINT64_MAX));
        VALUE(op_get("k"), "\"\"");
        VALUE(op_get("k"), "\"\"");
        OUT("GetEagerState \"k\" value \"\"");
        if (rt.version == 7) CHECK_STR((const char *)rt.vm.scope.ptr, "sc");
    }
}

#define CALL(id, next) "Call " #id " " #next " \"Greeter\" \"greet\""

TEST(golden_notifications) {
    EVERY(5, 7) {
        node *sleep, *keys, *abc;
        rt_calls c;
        given(1);
        raw("800c000000000004 08012200"); raw("800d000000000011 0802320d089903120863616e63656c6564");
        raw("800600000000000b 08038a01060a01610a0162"); raw("fbff00000000000a 1a036162632a030a0176"); go();
        sleep = op_sleep("", 0);
        AWAIT(sleep, "ANY");
        VALUE(sleep, "void");
        c.result = op_get_promise("p");
        AWAIT(c.result, "ANY");
        VALUE(c.result, "failure 409 \"canceled\"");
        keys = op_get_keys();
        AWAIT(keys, "ANY");
        VALUE(keys, "[a,b]");
        AWAIT((abc = op_signal("abc")), "ANY");
        VALUE(abc, "\"v\"");
        raw("fbff000000000004 10012200");
        AWAIT(op_signal("abc"), "CXL");
        OUT("Sleep 1", "GetPromise 2 \"p\"", "GetLazyStateKeys 3");
    }
    EVERY(5, 7) {
        rt_calls c;
        given(1); raw("800e00000000000a 08018201056d792d6964"); go();
        c = op_call();
        AWAIT(c.id, "ANY");
        VALUE(c.id, "id \"my-id\"");
        OUT(CALL(1, 2));
    }
    EVERY(7, 7) {
        node *run;
        given(1); go();
        run = op_run("r");
        AWAIT(run, "RUN 1");
        CHECK(propose_value(run, "ok"));
        raw("0007000000000002 0801");
        AWAIT(run, "ANY");
        VALUE(run, "\"ok\"");
        OUT("Run 1 \"r\"", "Propose 1 value \"ok\" ack");
    }
}

TEST(golden_output) {
    EVERY(5, 7) {
        given_complete(1, NULL); go();
        op_get("k");
        RAW("04070000000000050a016b6a00");
        op_get_keys();
        RAW("04080000000000027200");
        CHECK(op_output("out"));
        RAW("040100000000000772050a036f7574");
        CHECK(op_output(""));
        RAW("04010000000000027200");
        CHECK(op_end());
        RAW("0003000000000000");
    }
}

TEST(golden_run) {
    EVERY(5, 7) {
        node *run;
        given(1); go();
        for (int i = 1; i < 10; i++) op_sleep("", 1);
        run = op_run("r");
        RAW("0411000000000005580a620172");
        AWAIT(run, "RUN 10");
        CHECK(propose_value(run, "ok"));
        RAW(rt.version == 7 ? "0005800000000006080a72026f6b" : "0005000000000006080a72026f6b");
    }
}

TEST(golden_calls) {
    static const restate_pair headers[] = { { "h", "v" }, { NULL, NULL } };
    EVERY(5, 7) {
        given(1); go();
        op_call(.key = rt_b("k1"), .parameter = rt_b("hi"), .headers = headers, .idempotency_key = "idem");
        RAW("040d00000000002a0a0747726565746572120567726565741a02686922060a01681201762a026b3132046964656d50015802");
        op_send(.key = rt_b(""));
        RAW("040e0000000000120a0747726565746572120567726565745003");
        CHECK(op_cancel("inv_x"));
        RAW("041000000000000b0a05696e765f7810012200");
    }
}

TEST(golden_complete_promise) {
    static const restate_pair metadata[] = { { "a", "b" }, { NULL, NULL } };
    EVERY(6, 7) {
        restate_failure f = rt_failure(500, "m");
        f.metadata = metadata;
        given(1); go();
        for (int i = 1; i < 9; i++) op_sleep("", 1);
        op_reject_promise("p", &f);
        RAW("040b0000000000150a01701a0e08f40312016d1a060a01611201625809");
    }
}

TEST(golden_awaiting) {
    EVERY(5, 7) {
        node *s;
        given(1); go();
        s = op_sleep("", 0);
        AWAIT(s, "WAIT(i)");
        if (rt.version == 7) RAW("000600000000000a0a080a01011201012801");
        eof();
        AWAIT(s, "599");
        RAW(rt.version == 7 ? "000100000000000a22080a01011201012801" : "00010000000000060a0101120101");
    }
    EVERY(7, 7) {
        node *s, *a, *b, *n;
        rt.options.explicit_cancellation = true;
        given(1); eof(); go();
        s = op_sleep("", 0);
        a = op_awakeable();
        b = op_awakeable();
        n = op_signal("abc");
        AWAIT(ALL(s, RACE(a, n), ANY(b)), "599");
        RAW("000100000000001a22180a0101220a1201111a036162632801220512011228032804");
    }
}

TEST(golden_error) {
    EVERY(5, 7) {
        restate__vm_error e = { .code = 500, .message = "e", .has_delay = true, .delay_ms = 1000 };
        given(1); go();
        op_run("r");
        e.related = restate__vm_related_last(vm());
        restate__vm_fail(vm(), &e);
        RAW("000200000000001108f40312016520012a017230910840e807");
    }
}

/* ---- Random numbers ------------------------------------------------------------------------- */

TEST(random_numbers) {
    uint64_t s[4];
    restate__vm_random_seed(s, 1);
    CHECK(s[0] == 0x910a2dec89025cc1u && s[1] == 0xbeeb8da1658eec67u && s[2] == 0xf893a2eefb32555eu && s[3] == 0x71c18690ee42c90bu);
    CHECK(restate__vm_random(s) == 14971601782005023387u);
    CHECK(restate__vm_random(s) == 13781649495232077965u);
    CHECK(restate__vm_random(s) == 1847458086238483744u);
    CHECK(restate__vm_random(s) == 13765271635752736470u);
    restate__vm_random_seed(s, 0);
    CHECK(restate__vm_random(s) == 5987356902031041503u);
    CHECK(restate__vm_random(s) == 7051070477665621255u);
    restate__vm_random_seed(s, UINT64_MAX);
    CHECK(restate__vm_random(s) == 6254647548650071986u);
    CHECK(restate__vm_random(s) == 16610832622747802512u);
}

TEST(random_uuids) {
    uint64_t s[4];
    char text[37];
    restate__vm_random_seed(s, 1);
    restate__vm_uuid(s, text);
    CHECK_STR(text, "9bc2036f-7fd0-45cf-8de0-3f96324142bf");
    restate__vm_uuid(s, text);
    CHECK_STR(text, "20f5aa57-577d-4319-9656-cd059f1108bf");
    restate__vm_uuid(s, text);
    CHECK_STR(text, "a46f1886-4b18-472f-8523-20e7ca9f2997");
    for (unsigned i = 0; i < 4; i++) s[i] = i + 1;
    restate__vm_uuid(s, text);
    CHECK_STR(text, "01008002-0000-4000-a700-800300000000");
}

TEST(random_seed_of_an_invocation) {
    EVERY(5, 7) {
        start(1, .seed = 42); input(""); go();
        CHECK(restate__vm_seed(&rt.vm) == (rt.version == 5 ? 11990170285644066717u : 42u));
    }
    EVERY(5, 7) {                                           /* zero is a seed, too */
        given(1); go();
        CHECK(restate__vm_seed(&rt.vm) == (rt.version == 5 ? 11990170285644066717u : 0u));
    }
}

TEST(random_seed_of_a_long_id) {
    EVERY(5, 5) {                                           /* two blocks of SHA-256 */
        start(1, .id = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"); input(""); go();
        CHECK(restate__vm_seed(&rt.vm) == 0x248d6a61d20638b8u);
    }
}

/* ---- Input that is unusual ------------------------------------------------------------------ */

TEST(x_completion_before_its_command_in_the_replay) {
    EVERY(5, 7) {
        rt_calls a;
        node *s;
        given(5); note_sleep(3); note_value(N_CALL, 2, "v"); cmd_call(1, ""); cmd_sleep(3, "", 0); go();
        a = op_call();
        s = op_sleep("", 0);
        AWAIT(RACE(a.result, s), "ANY");
        CHECK(completed(s) && !completed(a.result));
        AWAIT(a.result, "ANY");
        VALUE(a.result, "\"v\"");
        OUT_NOTHING();
    }
}

TEST(x_large_values) {
    EVERY(5, 7) {
        size_t len = (size_t)300000;
        char *big = (char *)rt_alloc(len + 1);
        memset(big, 'x', len);
        start(1); input(big); go();
        CHECK_INT(rt.input.body.len, len);
        CHECK(memcmp(rt.input.body.ptr, big, len) == 0);
        CHECK(op_output(big) && op_end());
        rt_collect();
        CHECK_INT(rt.raw.len, 8 + 4 + 4 + len + 8);
        CHECK(memcmp(rt.raw.at + 16, big, len) == 0);
        rt.ignore_output = true;
    }
}

TEST(x_flags_are_ignored) {
    EVERY(5, 7) {
        node *sleep;
        raw("00007fff 0000000e 0a03313233120331323318012801"); raw("0400ffff 0000000b 72090a076d792d64617461");
        raw("800c8001 00000004 08012200"); go();
        sleep = op_sleep("", 0);
        AWAIT(sleep, "ANY");
        OUT("Sleep 1");
    }
}

TEST(x_unknown_fields_are_skipped) {
    EVERY(5, 7) {
        node *sleep, *run;
        rt_bytes payload = { NULL, 0, 0 };
        rt_hex(&payload, "0a03313233 1203313233 1803 2801 9a0603616263 a006ffffffff0f ad0601020304 b1060102030405060708");
        rt_frame(&rt_script, M_START, 0, payload.at, payload.len);
        rt_drop(&payload);
        frame(M_INPUT, "14(1s 2s 9u) 99s", "my-data", "x", 1, "y"); frame(M_SLEEP, "98u 1u 11u 99(1s)", 7, 1, 1, "z");
        frame(N_SLEEP, "1u 99s 4() 98u", 1, "x", 5); go();
        sleep = op_sleep("", 0);
        AWAIT(sleep, "ANY");
        frame(N_RUN, "99s 5(1s 7u) 1u", "x", "v", 9, 2);
        run = op_run("r");
        AWAIT(run, "ANY");
        VALUE(run, "\"v\"");
        OUT("Run 2 \"r\"");
    }
}

TEST(x_last_member_wins) {
    EVERY(5, 7) {
        node *a, *b;
        given(1); frame(N_SLEEP, "2u 3s 1u 4() 6(1u) 5(1s)", 17, "n", 1, 500, "last"); frame(N_SLEEP, "5(1s) 1u 1u 4()", "x", 9, 2); go();
        a = op_get_promise("p");
        b = op_get_promise("q");
        AWAIT(a, "ANY");
        VALUE(a, "\"last\"");
        AWAIT(b, "ANY");
        VALUE(b, "void");
        drop_output();
    }
}

TEST(x_bad_payloads) {
    static const char *const bad[] = {
        "800c0000 00000003 0801 22",                        /* cut in a field */
        "800c0000 00000005 0801 220500",                    /* a length beyond the end */
        "800c0000 00000005 0801 2f2200",                    /* wire type 7 */
        "800c0000 0000000c 08ffffffffffffffffffff 7f",      /* a number without end */
        "800c0000 00000006 0a0101 220000",                  /* an id of another wire type */
        "800d0000 00000006 0801 32021201",                  /* bad inside the failure */
        "800e0000 00000006 0801 820101ff",                  /* an invocation id that is not UTF-8 */
        "fbff0000 00000005 1a01ff 2200",                    /* a name that is not */
        "800d0000 00000009 0801 32051203ffffff"             /* a message that is not */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EVERY(5, 7) {
            rt_bytes bytes = { NULL, 0, 0 };
            given(2);
            rt_hex(&bytes, bad[i]);
            if (i == 4) bytes.at[7] = (uint8_t)(bytes.len - 8);
            bytes.at[7] = (uint8_t)(bytes.len - 8);
            rt_add(&rt_script, bytes.at, bytes.len);
            rt_drop(&bytes);
            if (ready()) {
                test_failures++;
                printf("  accepted: %s %s\n", bad[i], test_note);
                drop_output();
                continue;
            }
            CHECK_ERROR(500, "");
            OUT("Error 500...");
        }
}

TEST(x_bad_starts) {
    static const char *const bad[] = {
        "00000000 00000002 1203", "00000000 00000009 0a0131 1201ff 1801", "00000000 00000004 1801 3201", "00000000 00000005 1801 2201ff",
        "00000000 00000009 0a0131 3201fe 1801"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EVERY(5, 7) {
            rt_bytes bytes = { NULL, 0, 0 };
            rt_hex(&bytes, bad[i]);
            bytes.at[7] = (uint8_t)(bytes.len - 8);
            rt_add(&rt_script, bytes.at, bytes.len);
            rt_drop(&bytes);
            input("");
            if (ready()) {
                test_failures++;
                printf("  accepted: %s %s\n", bad[i], test_note);
                continue;
            }
            CHECK_ERROR(500, "");
            OUT("Error 500...");
        }
}

TEST(x_empty_feed) {
    EVERY(5, 7) {
        rt_feed_piece(NULL, 0);
        restate__vm_feed(vm(), restate__b_none());
        given(1); feed();
        rt_feed_piece(NULL, 0);
        go();
        CHECK(op_end());
        OUT("End");
    }
}

TEST(x_message_limit) {
    EVERY(5, 7) {
        rt.options.max_message_bytes = 100;
        start(1); input("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456");
        CHECK(!ready());
        CHECK_ERROR(571, "");
        OUT("Error 571...");
    }
    EVERY(5, 7) {                                           /* exactly as much as is allowed */
        rt.options.max_message_bytes = 100;
        start(1); input("012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345");
        CHECK_INT(rt_script.at[rt_script.len - 101], 100);
        go();
        CHECK_INT(rt.input.body.len, 96);
    }
    EVERY(5, 7) {                                           /* by default 64 MiB; no memory for what is announced only */
        raw("00000000 04000001");
        CHECK(!ready());
        CHECK_ERROR(571, "");
        CHECK(rt.memory.peak < 100000);
        OUT("Error 571...");
    }
    EVERY(5, 7) { raw("00000000 ffffffff"); CHECK(!ready()); CHECK_ERROR(571, ""); OUT("Error 571..."); }
    EVERY(5, 7) { raw("00000000 04000000"); CHECK(!ready()); CHECK_INT(rt.vm.phase, RESTATE__WAIT_START); }
}

TEST(x_wild_ids_cost_no_memory) {
    EVERY(5, 7) {
        node *sleep;
        given(7); note_sleep(4294967295u); note_sleep(4294967294u); note_signal(4294967295u, "x"); note_signal(0, "x");
        note_sleep(0); note_sleep(1000000000u); go();
        note_sleep(1);
        sleep = op_sleep("", 0);
        AWAIT(sleep, "ANY");
        CHECK(rt.memory.peak < 65536);
        OUT("Sleep 1");
    }
    EVERY(7, 7) { given(1); go(); note_ack(4294967295u); feed(); CHECK_ERROR(571, ""); CHECK(rt.memory.peak < 65536); OUT("Error 571..."); }
    EVERY(5, 5) {
        given(1); go();
        for (unsigned i = 1; i <= 2000; i++) note_sleep(i * 2000000u);
        note_sleep(1);
        AWAIT(op_sleep("", 0), "ANY");
        CHECK(rt.memory.peak < 2000 * 500);
        OUT("Sleep 1");
    }
}

/* Bodies around 255 bytes have another head, those from 4096 on are kept where they arrived. */
TEST(x_results_of_every_length) {
    static const unsigned lengths[] = { 0, 1, 110, 117, 118, 119, 120, 121, 122, 127, 128, 240, 244, 245, 246, 247, 248, 249, 250,
                                        251, 252, 253, 254, 255, 256, 257, 4080, 4085, 4086, 4087, 4088, 4096, 20000 };
    enum { COUNT = sizeof lengths / sizeof *lengths };
    for (unsigned by_await = 0; by_await < 2; by_await++)
        EVERY(5, 7) {
            char *text = (char *)rt_alloc(20001);
            given(1 + 2 * COUNT);
            for (unsigned i = 0; i < COUNT; i++) {
                memset(text, 'a' + (int)i % 26, lengths[i]);
                text[lengths[i]] = 0;
                cmd_run(i + 1, text);
                note_value(N_RUN, i + 1, text);
            }
            go();
            for (unsigned i = 0; i < COUNT; i++) {
                restate__value v;
                memset(text, 'a' + (int)i % 26, lengths[i]);
                text[lengths[i]] = 0;
                if (by_await) {
                    node *run = op_run(text);
                    AWAIT(run, "ANY");
                    v = run->value;
                } else if (!restate__vm_run_recorded(rt_op(), text, &v)) {
                    CHECK(lengths[i] > 127);                /* only short names are compared like that */
                    AWAIT(op_run(text), "ANY");
                    continue;
                }
                CHECK(v.kind == RESTATE__VALUE && v.is.bytes.len == lengths[i]);
                CHECK_STR((const char *)v.is.bytes.ptr, text);
            }
            CHECK(op_end());
            OUT("End");
        }
}

/* Ids of one to three bytes, found on pages and, asked for backwards, before that. */
TEST(x_ids_of_every_length) {
    EVERY(6, 6) {
        enum { COUNT = 17000 };                             /* whose last ids have three bytes */
        node *first, *last;
        given(1 + 2 * COUNT);
        for (unsigned i = 1; i <= COUNT; i++) cmd_sleep(i, "", 9);
        for (unsigned i = COUNT; i >= 1; i--) note_sleep(i);
        go();
        first = op_sleep("", 9);
        for (unsigned i = 2; i < COUNT; i++) op_sleep("", 9);
        last = op_sleep("", 9);
        CHECK(!completed(last));
        AWAIT(last, "ANY");
        CHECK(!completed(first));
        AWAIT(first, "ANY");
        CHECK(op_end());
        CHECK(rt.memory.peak < 2 * COUNT * 32);                /* their bytes, and slots: nothing is allocated for an entry */
        OUT("End");
    }
}

TEST(x_known_entries_cost_no_memory) {
    EVERY(5, 7) {
        start(4294967295u); input(""); eof();
        CHECK(!ready());
        CHECK_ERROR(571, "");
        CHECK(rt.memory.peak < 65536);
        OUT("Error 571...");
    }
}

TEST(x_input_that_ends_is_no_event) {
    EVERY(5, 7) {
        node *sleep;
        given(1); go();
        sleep = op_sleep("", 0);
        note_sleep(1); eof(); eof();
        CHECK(op_set("k", "v"));
        AWAIT(sleep, "ANY");
        CHECK(op_output("") && op_end());
        OUT("Sleep 1", "SetState \"k\" value \"v\"", "Output value \"\"", "End");
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(s001_s003_fresh), T(s004_echo), T(s005_headers_and_empty_output), T(s006_output_replayed),
        T(s007_scope_of_start), T(s008_input_ends_in_the_replay), T(s009_input_ends_before_start),
        T(s010_no_known_entries), T(s011_other_first_frame), T(s012_command_after_replay),
        T(s013_unknown_and_foreign_types), T(s014_unknown_command), T(s015_unknown_notification),
        T(s016_bad_notifications), T(s017_no_command_at_all), T(s018_first_command_is_not_input),
        T(s019_cut_anywhere), T(s020_end_and_after), T(s021_end_in_the_replay),
        T(s022_output_then_more_recorded), T(golden_start), T(golden_notifications),
        T(golden_output), T(golden_run), T(golden_calls), T(golden_complete_promise),
        T(golden_awaiting), T(golden_error), T(random_numbers), T(random_uuids),
        T(random_seed_of_an_invocation), T(random_seed_of_a_long_id),
        T(x_completion_before_its_command_in_the_replay), T(x_large_values), T(x_flags_are_ignored),
        T(x_unknown_fields_are_skipped), T(x_last_member_wins), T(x_bad_payloads), T(x_bad_starts),
        T(x_empty_feed), T(x_message_limit), T(x_wild_ids_cost_no_memory),
        T(x_results_of_every_length), T(x_ids_of_every_length),
        T(x_known_entries_cost_no_memory), T(x_input_that_ends_is_no_event),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
