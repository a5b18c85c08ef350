/* The state machine: frames bit for bit, randomness, and more of state, identifiers and signals. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "restate.h"
#include "runtime.h"

static void given(unsigned known) {
    start(known);
    input("my-data");
}

static void given_complete(unsigned known, const char *state) {
    start(known, .complete = true, .state = state);
    input("my-data");
}

#define CALL(id, next) "Call " #id " " #next " \"Greeter\" \"greet\""

/* ---- Bit for bit -------------------------------------------------------------------------------------- */

TEST(golden_start) {
    EVERY(5, 7) {
        raw("000000000000000e 0a03313233120331323318012801"); raw("040000000000000b 72090a076d792d64617461"); go();
        CHECK_STR((const char *)rt.vm.id.ptr, "123");
        CHECK_STR((const char *)rt.vm.debug_id.ptr, "123");
        CHECK_INT(rt.vm.known_entries, 1);
        CHECK(rt.vm.state_partial);
        CHECK_STR((const char *)rt.input.body.ptr, "my-data");
    }
    EVERY(5, 7) {
        raw("0000000000000039 0a033132331205696e765f31180222030a016b32036f626a380340dc0b48ffffffffffffffffff01"
            "520273635a056c312f6c3262046964656d");
        input(""); cmd_get_eager("k", ""); go();
        CHECK_STR((const char *)rt.vm.debug_id.ptr, "inv_1");
        CHECK_INT(rt.vm.known_entries, 2);
        CHECK(!rt.vm.state_partial);
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
        restate__vm_error e;
        memset(&e, 0, sizeof e);
        given(1); go();
        op_run("r");
        e.code = 500;
        e.message = "e";
        e.has_delay = true;
        e.delay_ms = 1000;
        e.related = restate__vm_related_last(vm());
        restate__vm_fail(vm(), &e);
        RAW("000200000000001108f40312016520012a017230910840e807");
    }
}

/* ---- Random ---------------------------------------------------------------------------------------------- */

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

/* ---- More of state and identifiers --------------------------------------------------------------------------- */

TEST(x_completion_ids_in_order) {
    EVERY(5, 7) {
        restate__vm_target by_id = { RESTATE__BY_ID, "inv_x", NULL, NULL, NULL, NULL, NULL };
        rt_calls c;
        start(1, .state = "eager=1"); input(""); go();
        CHECK_INT(op_get("eager")->id, 1);
        CHECK_INT(op_get("lazy")->id, 2);
        CHECK_INT(op_get_keys()->id, 3);
        CHECK(op_set("a", "b") && op_clear("a") && op_complete_awakeable("sign_1x", "", false) && op_cancel("inv_x"));
        CHECK_INT(op_get_promise("p")->id, 4);
        CHECK_INT(op_peek_promise("p")->id, 5);
        CHECK_INT(op_complete_promise("p", "", false)->id, 6);
        CHECK_INT(op_awakeable()->id, 17);
        op_signal("n");
        c = op_call();
        CHECK_INT(c.id->id, 7);
        CHECK_INT(c.result->id, 8);
        CHECK_INT(op_send()->id, 9);
        CHECK_INT(op_run("")->id, 10);
        CHECK_INT(op_awakeable()->id, 18);
        CHECK_INT(op_attach(by_id)->id, 11);
        CHECK_INT(op_get_output(by_id)->id, 12);
        CHECK(op_send_signal("inv_x", "n", "v") && op_clear_all() && op_output(""));
        CHECK_INT(op_sleep("", 0)->id, 13);
        OUT("GetEagerState \"eager\" value \"1\"", "GetLazyState 2 \"lazy\"", "GetLazyStateKeys 3", "SetState \"a\" value \"b\"",
            "ClearState \"a\"", "CompleteAwakeable \"sign_1x\" value \"\"", "SendSignal \"inv_x\" index:1 void", "GetPromise 4 \"p\"",
            "PeekPromise 5 \"p\"", "CompletePromise 6 \"p\" value \"\"", CALL(7, 8), "OneWayCall 9 \"Greeter\" \"greet\"", "Run 10",
            "AttachInvocation 11 \"inv_x\"", "GetInvocationOutput 12 \"inv_x\"", "SendSignal \"inv_x\" name:\"n\" value \"v\"",
            "ClearAllState", "Output value \"\"", "Sleep 13");
    }
}

TEST(x_state_changes_count_in_the_replay) {
    EVERY(5, 7) {
        start(4, .state = "a=1;b=2"); input(""); cmd_set("a", "9"); cmd_clear("b"); cmd_get_eager("a", "9"); go();
        CHECK(op_set("a", "9") && op_clear("b"));
        VALUE(op_get("a"), "\"9\"");
        VALUE(op_get("a"), "\"9\"");
        VALUE(op_get("b"), "void");
        AWAIT(op_get("c"), "WAIT(i)");
        OUT("GetEagerState \"a\" value \"9\"", "GetEagerState \"b\" void", "GetLazyState 4 \"c\"", "AwaitingOn W{c:4,s:1}");
    }
    EVERY(5, 7) {
        start(2, .state = "a=1"); input(""); cmd_clear_all(); go();
        CHECK(op_clear_all());
        VALUE(op_get_keys(), "[]");
        VALUE(op_get("c"), "void");
        OUT("GetEagerStateKeys []", "GetEagerState \"c\" void");
    }
}

TEST(x_recorded_read_is_used_not_compared) {
    EVERY(5, 7) {
        start(3, .state = "k=now"); input(""); cmd_get_eager("k", "then"); cmd_get_lazy(2, "k"); note_value(N_GET_LAZY, 2, "lazy");
        go();
        VALUE(op_get("k"), "\"then\"");
        AWAIT(op_get("k"), "ANY");
        VALUE(op_get("k"), "\"now\"");
        OUT("GetEagerState \"k\" value \"now\"");
    }
}

TEST(x_lazy_answer_does_not_update_state) {
    EVERY(5, 7) {
        given(1); note_value(N_GET_LAZY, 1, "v"); go();
        AWAIT(op_get("k"), "ANY");
        CHECK(!completed(op_get("k")));
        OUT("GetLazyState 1 \"k\"", "GetLazyState 2 \"k\"");
    }
}

TEST(x_set_then_keys) {
    EVERY(5, 7) {
        given_complete(1, "m=1"); go();
        CHECK(op_set("z", "1") && op_set("a", "1") && op_set("m", "") && op_clear("z") && op_set("z", "2"));
        VALUE(op_get_keys(), "[a,m,z]");
        CHECK(op_clear_all() && op_set("only", ""));
        VALUE(op_get_keys(), "[only]");
        VALUE(op_get("only"), "\"\"");
        VALUE(op_get("m"), "void");
        rt.ignore_output = true;
    }
}

TEST(x_set_copies_its_bytes) {
    EVERY(5, 7) {
        char key[] = "key", value[] = "value";
        given(1); go();
        CHECK(op_set(key, value));
        memset(key, 'x', 3);
        memset(value, 'x', 5);
        VALUE(op_get("key"), "\"value\"");
        OUT("SetState \"key\" value \"value\"", "GetEagerState \"key\" value \"value\"");
    }
}

TEST(x_bytes_with_zeros) {
    EVERY(5, 7) {
        restate_bytes key = restate__b("a\0b", 3), value = restate__b("\0\xff", 2);
        node *leaf = rt_node();
        start(1); input(""); go();
        CHECK(restate__vm_set(rt_op(), key, value, false));
        CHECK(restate__vm_get(rt_op(), key, leaf));
        VALUE(leaf, "\"\\x00\\xff\"");
        OUT("SetState \"a\\x00b\" value \"\\x00\\xff\"", "GetEagerState \"a\\x00b\" value \"\\x00\\xff\"");
    }
}

TEST(x_many_state_entries) {
    EVERY(5, 7) {
        char text[4096] = "", key[16];
        const restate__value *v;
        for (int i = 199; i >= 0; i--) snprintf(text + strlen(text), sizeof text - strlen(text), "k%03d=v%d;", i, i);
        start(1, .complete = true, .state = text); input(""); go();
        for (int i = 0; i < 200; i++) {
            char want[16];
            snprintf(key, sizeof key, "k%03d", i);
            snprintf(want, sizeof want, "\"v%d\"", i);
            VALUE(op_get(key), want);
        }
        v = op_get_keys()->value;
        CHECK(v && v->is.keys);
        for (int i = 0; v && v->is.keys && i < 200; i++) {
            snprintf(key, sizeof key, "k%03d", i);
            CHECK_STR(v->is.keys[i], key);
        }
        CHECK(v && !v->is.keys[200]);
        rt.ignore_output = true;
    }
}

TEST(x_attach_targets) {
    EVERY(5, 7) {
        restate__vm_target workflow, request;
        memset(&workflow, 0, sizeof workflow);
        memset(&request, 0, sizeof request);
        workflow.kind = RESTATE__BY_WORKFLOW;
        workflow.service = "W", workflow.key = "k";
        request.kind = RESTATE__BY_IDEMPOTENCY_KEY;
        request.service = "S", request.handler = "h", request.idempotency_key = "i";
        given(1); go();
        op_attach(workflow);
        op_get_output(request);
        request.key = "";
        op_attach(request);
        OUT("AttachInvocation 1 workflow:( \"W\" \"k\" )", "GetInvocationOutput 2 idempotent:( \"S\" \"h\" \"i\" )",
            "AttachInvocation 3 idempotent:( \"S\" key:\"\" \"h\" \"i\" )");
        workflow.scope = "sc";
        op_attach(workflow);
        if (rt.version == 7) {
            OUT("AttachInvocation 4 workflow:( \"W\" \"k\" scope:\"sc\" )");
            request.scope = "";
            op_attach(request);
            CHECK_ERROR(500, "");
            OUT("Error 500...");
        } else {
            CHECK(!rt_ok);
            CHECK_ERROR(573, "");
            OUT("Error 573...");
        }
    }
}

TEST(x_attach_replayed) {
    for (int i = 0; i < 3; i++)
        EVERY(5, 7) {
            restate__vm_target workflow;
            node *leaf;
            memset(&workflow, 0, sizeof workflow);
            workflow.kind = RESTATE__BY_WORKFLOW;
            workflow.service = "W";
            workflow.key = i == 1 ? "other" : "k";
            given(3); frame(i == 2 ? M_GET_OUTPUT : M_ATTACH, "4(1s2s) 11u", "W", "k", 1); note_value(N_ATTACH, 1, "v"); go();
            leaf = op_attach(workflow);
            if (i == 0) {
                AWAIT(leaf, "ANY");
                VALUE(leaf, "\"v\"");
                OUT_NOTHING();
            } else {
                CHECK_ERROR(570, "");
                OUT("Error 570 index:1 AttachInvocation message:...");
            }
        }
}

TEST(x_get_output_not_ready) {
    EVERY(5, 7) {
        restate__vm_target by_id = { RESTATE__BY_ID, "inv_x", NULL, NULL, NULL, NULL, NULL };
        node *leaf;
        given(1); note_void(N_GET_OUTPUT, 1); go();
        leaf = op_get_output(by_id);
        AWAIT(leaf, "ANY");
        VALUE(leaf, "void");
        OUT("GetInvocationOutput 1 \"inv_x\"");
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

TEST(x_send_signal_variants) {
    EVERY(5, 7) {
        restate_failure f = rt_failure(400, "no");
        given(1); go();
        CHECK(op_send_signal("inv_x", "n", ""));
        CHECK(restate__vm_send_signal(rt_op(), "inv_x", rt_b("n"), restate__b_none(), &f, false));
        OUT("SendSignal \"inv_x\" name:\"n\" value \"\"", "SendSignal \"inv_x\" name:\"n\" failure 400 \"no\"");
    }
}

TEST(x_names_only_where_they_belong) {
    EVERY(5, 7) {
        given(1); go();
        op_sleep("a", 1);
        op_call(.name = "b");
        op_send(.name = "c");
        op_run("d");
        OUT("Sleep 1 wake:1 name:\"a\"", "Call 2 3 \"Greeter\" \"greet\" name:\"b\"", "OneWayCall 4 \"Greeter\" \"greet\" name:\"c\"",
            "Run 5 \"d\"");
    }
}

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

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(golden_start), T(golden_notifications), T(golden_output), T(golden_run), T(golden_calls),
        T(golden_complete_promise), T(golden_awaiting), T(golden_error), T(random_numbers), T(random_uuids),
        T(random_seed_of_an_invocation), T(random_seed_of_a_long_id), T(x_completion_ids_in_order), T(x_state_changes_count_in_the_replay),
        T(x_recorded_read_is_used_not_compared), T(x_lazy_answer_does_not_update_state), T(x_set_then_keys),
        T(x_set_copies_its_bytes), T(x_bytes_with_zeros), T(x_many_state_entries), T(x_attach_targets),
        T(x_attach_replayed), T(x_get_output_not_ready), T(x_signals_wait_in_order), T(x_send_signal_variants),
        T(x_names_only_where_they_belong), T(x_completion_before_its_command_in_the_replay), T(x_large_values),
        { NULL, NULL }
    };
    return test_main(argc, argv, cases);
}
