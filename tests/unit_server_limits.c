/* Section >>server, over real sockets: peers that send what is wrong, too much or too slowly, take
 * nothing, or leave. See support/server.c for the clients. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "support/server.c"
#include "support/identity.c"

/* ---- Frames that are wrong --------------------------------------------------------------------------------- */

/* The script is answered by an error, before and after which the connection is good. */
static void fails_with(client *c, const char *handler, const char *error, const char *prelude) {
    for (int more = 0; more < 2; more++) {          /* the request ends, or goes on for a while */
        call *k = invoke(c, handler);
        give(k, rt_script.at, rt_script.len);
        if (more) {
            UNTIL(k->answered);
            given_input("this is ignored");
            give(k, rt_script.at, rt_script.len);
        }
        k->up.over = true;
        resume(k);
        UNTIL(k->closed);
        CHECK_INT(k->status, 200);
        CHECK_INT(k->code, 0);
        if (!prelude) SAYS(k, error);
        else SAYS(k, prelude, "? AwaitingOn W{c:1,s:1}", error);
        if (!more) {
            rt_bytes again = { NULL, 0, 0 };        /* GOOD has a script of its own */
            rt_add(&again, rt_script.at, rt_script.len);
            rt_script.len = 0;
            GOOD(c);
            rt_add(&rt_script, again.at, again.len);
            rt_drop(&again);
        } else {
            rt_script.len = 0;
            GOOD(c);
        }
    }
}

TEST(unknown_types_in_preflight) {
    static const struct { unsigned type, code; } cases[] = {
        { 0x0020, 500 }, { M_COMMAND_ACK, 500 }, { 0x03FF, 500 }, { 0xFC00, 571 }, { 0xFC01, 571 }, { 0xFFFF, 571 },
        { M_SUSPENSION, 571 }, { M_ERROR, 571 }, { M_END, 571 }, { M_PROPOSE, 571 }, { M_AWAITING_ON, 571 },
        { M_START, 571 }, { 0x0415, 570 }, { 0x7FFF, 570 }
    };
    up(.threads = 1);
    client *c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char error[40];
        note("(type %04X)", cases[i].type);
        snprintf(error, sizeof error, "Error %u...", cases[i].code);
        start(2);
        input("x");
        frame(cases[i].type, "");
        fails_with(c, "nap", error, NULL);
    }
    test_note = "";
    down();
}

TEST(unknown_types_later) {
    static const struct { unsigned type, code; } cases[] = {
        { 0x0020, 500 }, { M_COMMAND_ACK, 500 }, { M_SLEEP, 571 }, { 0x0415, 571 }, { 0xFC00, 571 }, { 0xFFFF, 571 },
        { M_SUSPENSION, 571 }, { M_START, 571 }, { M_ACK, 571 }
    };
    up(.threads = 1);
    client *c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char error[40];
        call *k = invoke(c, "nap");
        note("(type %04X)", cases[i].type);
        snprintf(error, sizeof error, "Error %u...", cases[i].code);
        given_input("x");
        send_on(k);
        UNTIL(frames_came(k, 2));
        SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
        frame(cases[i].type, cases[i].type == M_ACK ? "1u" : "", 7);
        send_on(k);
        UNTIL(k->answered);
        SAYS(k, error);
        end(k);
        UNTIL(k->closed);
        GOOD(c);
    }
    test_note = "";
    /* One that is not known is a notification like any other. */
    call *k = invoke(c, "nap");
    given_input("x");
    note_void(0x8020, 9);
    send_on(k);
    UNTIL(frames_came(k, 2));
    note_void(0xFB00, 10);
    note_sleep(1);
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Output value \"x\"", "End");
    down();
}

TEST(bad_protobuf) {
    static const unsigned commands[] = { M_OUTPUT, M_GET_LAZY, M_SET, M_CLEAR, M_CLEAR_ALL, M_GET_LAZY_KEYS, M_GET_EAGER,
        M_GET_EAGER_KEYS, M_GET_PROMISE, M_PEEK_PROMISE, M_COMPLETE_PROMISE, M_CALL, M_SEND, M_SEND_SIGNAL, M_RUN, M_ATTACH,
        M_GET_OUTPUT, M_COMPLETE_AWAKEABLE };
    static const unsigned notes[] = { N_GET_LAZY, N_GET_LAZY_KEYS, N_GET_PROMISE, N_PEEK_PROMISE, N_COMPLETE_PROMISE, N_SLEEP,
        N_CALL, N_CALL_ID, N_RUN, N_ATTACH, N_GET_OUTPUT, N_SIGNAL, 0x8020 };
    static const char *const bad[] = { "00000003ffffff", "0000000208ff", "0000000472000a7f" };
    up(.threads = 1);
    client *c = dial();
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        test_note = bad[b];
        if (b < 2) {
            rt_hex(&rt_script, "00000000"), rt_hex(&rt_script, bad[b]);
            fails_with(c, "nap", "Error 500...", NULL);
        }
        start(1);
        rt_hex(&rt_script, "04000000"), rt_hex(&rt_script, bad[b]);
        fails_with(c, "nap", "Error 500...", NULL);
        start(2), input("x");
        rt_hex(&rt_script, "040c0000"), rt_hex(&rt_script, bad[b]);
        if (b < 2) fails_with(c, "nap", "Error 500...", NULL);
        else rt_script.len = 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {      /* told by its type alone */
        char hex[40];
        snprintf(hex, sizeof hex, "%04x0000 00000003ffffff", commands[i]);
        note("(%s)", hex);
        start(2), input("x"), raw(hex);
        fails_with(c, "nap", "Error 570...", NULL);
    }
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        char hex[40];
        snprintf(hex, sizeof hex, "%04x0000 00000003ffffff", notes[i]);
        note("(%s)", hex);
        start(2), input("x"), raw(hex);
        fails_with(c, "nap", "Error 500...", NULL);
        given_input("x"), raw(hex);               /* behind the replay, but before the handler runs */
        fails_with(c, "nap", "Error 500...", NULL);
    }
    given_input("x"), raw("00070000 00000003 ffffff");
    fails_with(c, "nap", "Error 500...", NULL);
    test_note = "";
    down();
}

TEST(frame_of_4_gib) {
    static const uint8_t zeroes[200000];
    up(.threads = 1);
    client *c = dial();
    GOOD(c);
    PUT(memory.peak, GET(memory.live));
    size_t before = rss();
    for (int i = 0; i < 4; i++) {
        call *k = invoke(c, "nap");
        const char *const heads[] = { "00000000ffffffff", "04000000ffffffff", "800c0000ffffffff", "80200000ffffffff" };
        if (i) start(2);
        if (i > 1) input("x");
        raw(heads[i]);
        send_on(k);
        UNTIL(k->answered);                 /* nobody waits for the rest */
        SAYS(k, "Error 571...");
        give(k, zeroes, sizeof zeroes);
        end(k);
        UNTIL(k->closed);
        GOOD(c);
    }
    call *k = invoke(c, "nap");             /* and while the handler waits */
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    raw("800c0000ffffffff");
    send_on(k);
    UNTIL(k->answered);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Error 571...");
    end(k);
    UNTIL(k->closed);
    GOOD(c);
    CHECK(GET(memory.peak) < GET(memory.live) + MIB);
    if (RSS_COUNTS) CHECK(rss() < before + 8 * MIB);
    down();
}

/* Large messages that are announced and never come cost no memory, as far as the system goes along. */
TEST(large_frames_that_do_not_come) {
    up(.threads = 1);
    client *c = dial();
    GOOD(c);
    size_t before = rss();
    for (int i = 0; i < 50; i++) {
        call *k = invoke(c, "nap");
        raw("00000000 02000000 0a");
        send_on(k);
    }
    settle(c);
    GOOD(c);
    if (RSS_COUNTS) CHECK(rss() < before + 16 * MIB);
    down();
}

/* Nor the endpoint's own: what it holds grows with what has arrived, whatever was announced. */
TEST(memory_grows_with_what_arrives) {
    static const uint8_t zeroes[100000];
    static const char *const heads[] = { "00000000 04000000", "04000000 04000000", "04080000 04000000", "800c0000 04000000" };
    size_t before;
    up(.threads = 1);
    client *c = dial();
    GOOD(c);
    for (size_t sent = 0; sent <= sizeof zeroes; sent = sent ? sent * 10 : 1000)
        for (unsigned i = 0; i < 4; i++) {
            call *k = invoke(c, "nap");
            note("(%u bytes of a body, head %u)", (unsigned)sent, i);
            if (i) start(3);
            if (i > 1) input("x");
            settle(c);
            PUT(memory.peak, GET(memory.live));
            before = GET(memory.live);
            raw(heads[i]);
            send_on(k);
            settle(c);
            for (size_t at = 0; at < sent; at += 1000) give(k, zeroes, 1000), settle(c);
            CHECK(GET(memory.live) <= before + 4 * sent + 16384);       /* with what is kept for reuse */
            CHECK(GET(memory.peak) <= before + 4 * sent + 16384);
            reset(k);
            settle(c);
        }
    test_note = "";
    GOOD(c);
    down();
}

TEST(message_limit) {
    up(.threads = 1, .max_message_bytes = 1000);
    client *c = dial();
    for (unsigned size = 990; size <= 1010; size++) {
        char *text = (char *)calloc(1, size);
        call *k = invoke(c, "echo");
        memset(text, 'x', size - 1);
        given_input(text);
        size_t payload = size - 1 + 6;      /* two tags with lengths of two bytes */
        end(k);
        UNTIL(k->closed);
        if (payload <= 1000) SAYS(k, "Output value...", "End");
        else SAYS(k, "Error 571 ...");
        free(text);
    }
    GOOD(c);
    down();
}

/* ---- Peers that take their time ------------------------------------------------------------------------- */

/* A peer that says nothing and does not answer is gone, with what it held; one that answers may be idle. */
TEST(silent_peers_are_gone) {
    up(.threads = 1, .peer_timeout_ms = 600, .clock = MOVED_CLOCK);
    client *idle = dial();
    call *napping = invoke(idle, "nap");
    given_input("x");
    send_on(napping);
    client *silent = dial();
    call *k = invoke(silent, "nap");
    given_input("x");
    send_on(k);
    UNTIL(GET(started) == 2);
    settle(silent);
    silent->deaf = true;
    LATER(idle, GET(ended) == 1 && GET(ep->invocations) == 1);
    UNTIL(GET(ep->server->loops[0].conn_count) == 1);
    for (int i = 0; i < 7; i++) later(idle, 100);
    CHECK(!idle->gone && !napping->closed);
    GOOD(idle);
    CHECK(GET(peer_lines) >= 1);
    down();
}

/* What begins and does not go on: a connection is closed, a stream is reset. `how` many bytes of what. */
static void begin_slowly(wire *w, int how) {
    static const char *const hellos[] = { "", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /hea", "GET /health HTTP/1.1\r\nx: y\r\n" };
    rt_bytes get = raw_headers("GET", "/health");
    wire_open(w);
    raw_out.len = 0;
    if (how < 5) {
        rt_add(&raw_out, hellos[how], strlen(hellos[how]));
    } else {
        put_preface();
        put_frame(NGHTTP2_HEADERS, how == 5 ? 1 : 0, 1, get.at, how == 5 ? get.len : 10);   /* not the last of them */
    }
    wire_flush(w);
    rt_drop(&get);
}

TEST(slow_beginnings) {
    wire w[7];
    call *k[7];
    size_t replay;
    up(.threads = 1, .request_timeout_ms = 500, .clock = MOVED_CLOCK);
    for (int i = 0; i < 7; i++) begin_slowly(&w[i], i);
    rt_bytes body = nap_body(&replay);
    client *c = dial();
    for (int i = 0; i < 4; i++) {                   /* of a journal: nothing, a byte, half, all but a byte */
        const size_t parts[4] = { 0, 1, replay / 2, replay - 1 };
        k[i] = invoke(c, "naps");
        give(k[i], body.at, parts[i]);
    }
    k[4] = request(c, "POST", "/nope", NULL, NULL); /* refused, and its body does not end */
    k[5] = invoke(c, "naps");                       /* whose journal is there may take all the time */
    give(k[5], body.at, replay);
    k[6] = request(c, "POST", "/serdes/S/decode/empty/input", NULL, NULL);  /* a payload for the UI, half of it */
    give(k[6], "x", 1);
    settle(c);
    for (int i = 0; i < 7; i++) {
        note("(beginning %d)", i);
        LATER(c, wire_is_over(&w[i]));
        wire_close(&w[i]);
    }
    test_note = "";
    for (int i = 0; i < 5; i++) {
        LATER(c, k[i]->closed);
        CHECK_INT(k[i]->code, i < 4 ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR);
        CHECK_INT(k[i]->status, i < 4 ? 200 : 404);
        if (i < 4) CHECK_INT(k[i]->body.len, 0);
    }
    LATER(c, k[6]->closed);
    CHECK_INT(k[6]->code, NGHTTP2_CANCEL);
    CHECK_INT(k[6]->status, 0);
    for (int i = 0; i < 7; i++) later(c, 100);
    CHECK(!k[5]->closed && !c->gone);
    CHECK_INT(GET(ep->invocations), 1);
    CHECK_INT(GET(failed_lines), 0);
    CHECK(GET(peer_lines) >= 8);
    GOOD(c);
    rt_drop(&body);
    down();
}

/* A journal that arrives slowly but steadily is let arrive. */
TEST(steady_journal) {
    static char text[3000];
    up(.threads = 1, .request_timeout_ms = 500, .clock = MOVED_CLOCK);
    client *c = dial();
    call *k = invoke(c, "echo");
    memset(text, 'x', sizeof text - 1);
    given_input(text);
    for (size_t at = 0; at < rt_script.len; at += 50) {
        give(k, rt_script.at + at, rt_script.len - at < 50 ? rt_script.len - at : 50);
        later(c, 45);                               /* 50 bytes are as much as that is worth */
    }
    rt_script.len = 0;
    end(k);
    UNTIL(k->closed);
    CHECK_INT(k->code, 0);
    SAYS(k, "Output value...", "End");
    down();
}

static uint64_t slow_ms;                    /* how late it is, for the endpoint */
static unsigned verified;
static uint64_t slow_clock(void *user) {
    (void)user;
    return 1800000000000u + slow_ms;
}
static bool verify_slowly(void *user, restate_bytes key, restate_bytes message, restate_bytes signature) {
    (void)user, (void)key, (void)message, (void)signature;
    verified++, slow_ms++;
    return false;
}

/* A connection whose bytes take long is read in turns, however much it sends: others come in between. */
TEST(slow_work_is_shared) {
    static const char *const keys[] = { KEY, NULL };
    enum { REQUESTS = 200 };
    wire w;
    slow_ms = verified = 0;
    up_hosted(.identity_keys = keys, .verify = verify_slowly, .clock = { slow_clock, slow_clock, NULL });
    wire_open(&w);
    client *c = dial();
    call *k = request(c, "GET", "/health", NULL, NULL);
    k->up.over = true;
    UNTIL(k->closed);
    put_preface();
    for (uint32_t i = 0; i < REQUESTS; i++) {
        rt_bytes b = raw_headers("POST", SIGNED_PATH);
        hpack_field(&b, "x-restate-signature-scheme", "v1");
        hpack_field(&b, "x-restate-jwt-v1", SIGNED_TOKEN);
        put_frame(NGHTTP2_HEADERS, 5, 2 * i + 1, b.at, b.len);
        rt_drop(&b);
    }
    CHECK(raw_out.len > 65536 + 16384);
    wire_flush(&w);
    k = request(c, "GET", "/health", NULL, NULL);
    k->up.over = true;
    UNTIL(k->closed);
    CHECK_INT(k->status, 200);
    CHECK(verified < REQUESTS * 3 / 4);
    UNTIL(verified == REQUESTS);
    wire_close(&w);
    down();
}

/* Answers that nobody takes: of a stream, and of a connection. */
TEST(answers_that_nobody_takes) {
    call *k[4];
    up(.threads = 1, .send_timeout_ms = 500, .clock = MOVED_CLOCK);
    client *c = dial();
    client *shut = dial_to(.window = -1);
    k[0] = invoke(shut, "echo");
    given_input("x");
    end(k[0]);
    k[1] = request(shut, "GET", "/nope", NULL, NULL);
    k[1]->up.over = true;
    k[2] = invoke(shut, "flood_then_nap");          /* and one that is not at its end */
    given_input("10 100");
    send_on(k[2]);
    k[3] = invoke_as(shut, 6, "nap");                   /* takes its time, too, but says nothing */
    start(2), input("x"), cmd_sleep(1, "", 99999999999u);
    send_on(k[3]);
    client *deaf = dial_to(.rcvbuf = 4096, .window = 100 << 20, .room = 100 << 20);
    for (int i = 0; i < 8; i++) {
        call *f = invoke(deaf, "flood");
        given_input("100 60000");
        end(f);
    }
    client_send(deaf);
    deaf->deaf = true;
    for (int i = 0; i < 3; i++) {
        LATER(c, k[i]->closed);
        CHECK_INT(k[i]->code, NGHTTP2_CANCEL);
    }
    LATER(c, GET(ep->server->loops[0].conn_count) == 2);
    CHECK(!shut->gone && !k[3]->closed);
    GOOD(c);
    CHECK(GET(peer_lines) >= 4);
    down();
}

/* A refusal is kept, its request is not. */
TEST(refusals_hold_little) {
    static const struct { const char *method, *path, *type; } cases[] = {
        { "POST", "/nope", V "7" }, { "PUT", "/health", V "7" }, { "GET", "/invoke/S/echo", V "7" },
        { "POST", "/invoke/S/echo", "text/x" }, { "POST", "/invoke/S/echo", V "9" }, { "POST", "/invoke/S/nope", V "7" }, { "GET", "/discover", "x" } };
    char *large = (char *)malloc(60001);
    size_t before, n = 0;
    memset(large, 'y', 60000), large[60000] = 0;
    up(.threads = 1);
    client *c = dial_to(.window = -1);
    for (int round = 0; round < 2; round++) {
        if (round) settle(c);
        before = GET(memory.live);
        for (int i = 0; i < 70; i++) {
            char path[400];
            snprintf(path, sizeof path, "/%.300s%s", i % 2 ? large : "", cases[i % 7].path);
            call *k = request(c, cases[i % 7].method, i % 2 ? path : cases[i % 7].path, i % 3 ? "x-large" : "content-type",
                              i % 3 ? large : cases[i % 7].type);
            k->up.over = true;
            settle(c);
            n += k->status >= 400;
        }
        if (round) CHECK(GET(memory.live) - before < 70 * 1024);
    }
    CHECK_INT(n, 140);
    if (GET(memory.live) - before >= 70 * 1024) note("(%u each)", (unsigned)(GET(memory.live) - before) / 70);
    free(large);
    ALIVE();
    down();
}

TEST(connection_limit) {
    client *c[3];
    wire w;
    up(.threads = 2, .max_connections = 3);
    for (int i = 0; i < 3; i++) c[i] = dial(), GOOD(c[i]);
    for (int i = 0; i < 100; i++) {
        wire_open(&w);
        while (wire_more(&w)) continue;
        CHECK(w.gone && w.in.len == 0);
        wire_close(&w);
    }
    CHECK(GET(peer_lines) >= 1 && GET(peer_lines) <= 100);
    for (int i = 0; i < 3; i++) GOOD(c[i]);
    hang_up(c[1]);
    UNTIL(GET(ep->server->loops[0].conn_count) + GET(ep->server->loops[1].conn_count) == 2);
    c[1] = dial();
    GOOD(c[1]);
    down();
}

/* An event loop of the user's wakes for all of it, too. */
TEST(hosted_timeouts) {
    wire w;
    up_hosted(.peer_timeout_ms = 400, .request_timeout_ms = 300);
    wire_open(&w);
    while (wire_more(&w)) continue;
    CHECK(w.gone);
    wire_close(&w);
    client *silent = dial();
    GOOD(silent);
    silent->deaf = true;
    UNTIL(GET(ep->server->loops[0].conn_count) == 0);
    down();
}

/* ---- Text of a peer, and how much of it is logged ------------------------------------------------------- */

/* A stream takes any bytes, where nghttp2 would refuse some. */
static void refuse_over_stream(const char *method, const char *path, const char *type, uint16_t status) {
    const restate_pair headers[] = { { "content-type", type }, { "accept", type }, { NULL, NULL } };
    const restate_http_request r = { .method = method, .path = path, .headers = headers };
    restate_stream *s = restate_stream_open(ep, &r);
    restate_bytes body;
    uint16_t got;
    restate_stream_take(s, &body, &got, NULL);
    CHECK_INT(got, status);
    restate__json_scan scan = restate__json_scan_of(body);
    CHECK(restate__json_document(&scan));
    CHECK(restate__b_utf8(body));
    for (size_t i = 0; i < body.len; i++) CHECK(body.ptr[i] >= 0x20 && body.ptr[i] != 0x7F);
    restate_stream_free(s);
}

TEST(strange_text_is_cleaned) {
    static const char *const strange[] = { "\xff\x80", "a\x1b[31mb", "x\r\nINFO forged", "\x01\x7f\t", "\xc2\x9b" "2J",
                                           "\xe2\x80\xae", "\xe2\x81\xa6", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                           "\xc0\xaf", "\xe2\x82", "\xf0\x9f\x98", "\"\\", "%s%n" };
    static const char *const prefixes[] = { "", "/invoke/", "/invoke/S/", "/p" };
    up(.threads = 1);
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        note("(text %u)", (unsigned)i);
        for (size_t k = 0; k < sizeof prefixes / sizeof *prefixes; k++) {
            char path[80];
            snprintf(path, sizeof path, "%s%s%s", prefixes[k], strange[i], k == 1 ? "/echo" : "");
            refuse_over_stream("POST", path, V "7", 404);
        }
        refuse_over_stream(strange[i], "/invoke/S/echo", V "7", 405);
        refuse_over_stream(strange[i], "/health", V "7", 405);
        refuse_over_stream("POST", "/invoke/S/echo", strange[i], 415);
        refuse_over_stream("GET", "/discover", strange[i], 415);
    }
    refuse_over_stream("GET", "/\xe2\x82\xac", "x", 404);  /* but this is only a letter */
    test_note = "";
    down();
}

/* Names that the server recorded are shown in errors, its ids in the log. */
TEST(strange_text_of_a_journal_is_cleaned) {
    up(.threads = 1);
    client *c = dial();
    call *k = invoke(c, "steps");
    start(2, .debug_id = "inv_\x1b[31m\nx"), input("x"), cmd_run(1, "a\x1b[2J\nb");
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Error 570...");
    CHECK(memchr(k->body.at, 0x1b, k->body.len) == NULL);
    down();
}

/* However often a peer makes the endpoint say it: so many lines, and the number of the others. */
TEST(log_lines_are_limited) {
    up(.threads = 1);
    client *c = dial();
    for (int i = 0; i < 1000; i++) {
        call *k = request(c, i & 1 ? "GET" : "POST", i & 1 ? "/nope" : "/health", NULL, NULL);
        k->up.over = true;
        if (i % 100 == 99) UNTIL(k->closed);
    }
    settle(c);
    CHECK(GET(refused_lines) >= 2 && GET(refused_lines) <= 200);
    for (int i = 0; i < 1000; i++) {
        call *k = invoke(c, "echo");
        raw("12340000 00000000");
        end(k);
        if (i % 100 == 99) UNTIL(k->closed);
    }
    settle(c);
    CHECK(GET(failed_lines) >= 1 && GET(failed_lines) <= 500);
    while (clients) hang_up(clients);
    UNTIL(GET(ep->invocations) == 0);
    restate_endpoint_stop(ep);
    stopped();
    CHECK_INT(GET(refused_lines) + GET(failed_lines) + GET(left_out), 2000);
}

/* ---- Where the input ends --------------------------------------------------------------------------------- */

TEST(input_ends_at_every_byte) {
    size_t replay;
    up(.threads = 1);
    client *c = dial();
    rt_bytes all = nap_body(&replay);
    for (int apart = 0; apart < 2; apart++)         /* END_STREAM with the last bytes, or in an empty frame */
        for (size_t n = 0; n <= all.len; n++) {
            call *k = invoke(c, "naps");
            note("(%u of %u bytes, %d)", (unsigned)n, (unsigned)all.len, apart);
            give(k, all.at, n);
            if (apart) settle(c);
            end(k);
            UNTIL(k->closed);
            CHECK_INT(k->status, 200);
            CHECK_INT(k->code, 0);
            CHECK_INT(k->empty, 0);
            if (n < replay) SAYS(k, "Error 571...");
            else if (n < all.len) SAYS(k, "Sleep 2 wake:...", "? AwaitingOn W{c:2,s:1}", "Suspension W{c:2,s:1}");
            else SAYS(k, "Sleep 2 wake:...", "? AwaitingOn W{c:2,s:1}", "Output value \"x\"", "End");
        }
    test_note = "";
    GOOD(c);
    rt_drop(&all);
    down();
}

/* The input stops at any byte, stays open, and goes on: all at the same time, on one connection. */
TEST(input_pauses_at_every_byte) {
    size_t replay;
    call *k[256];
    up(.threads = 1);
    client *c = dial();
    rt_bytes all = nap_body(&replay);
    CHECK(all.len < 200);
    for (size_t n = 0; n <= all.len; n++) {
        k[n] = invoke(c, "naps");
        give(k[n], all.at, n);
    }
    settle(c);
    GOOD(c);
    CHECK_INT(GET(started), all.len + 1 - replay);
    for (size_t n = 0; n <= all.len; n++) {
        CHECK_INT(k[n]->status, 200);               /* the head comes before the journal is complete */
        CHECK_INT(k[n]->answered, n == all.len);
        if (n < replay) CHECK_INT(k[n]->body.len, 0);
        else if (n < all.len) SAYS(k[n], "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
    }
    for (size_t n = 0; n <= all.len; n++) {
        give(k[n], all.at + n, all.len - n);
        if (n % 2) end(k[n]);
    }
    for (size_t n = 0; n <= all.len; n++) {
        UNTIL(k[n]->answered);
        if (!(n % 2)) end(k[n]);
        UNTIL(k[n]->closed);
        if (n < replay || n == all.len) SAYS(k[n], "Sleep 2 wake:...", "? AwaitingOn W{c:2,s:1}", "Output value \"x\"", "End");
        else SAYS(k[n], "Output value \"x\"", "End");
        CHECK_INT(k[n]->empty, 0);
    }
    CHECK_INT(GET(ended), 0);
    rt_drop(&all);
    down();
}

TEST(reset_at_every_byte) {
    size_t replay;
    up(.threads = 1);
    client *c = dial();
    rt_bytes all = nap_body(&replay);
    for (int pause = 0; pause < 2; pause++)
        for (size_t n = 0; n <= all.len; n++) {
            call *k = invoke(c, "naps");
            give(k, all.at, n);
            client_send(c);
            if (pause) settle(c);
            reset(k);
            if (n % 16 == 0) GOOD(c);
        }
    settle(c);
    UNTIL(GET(ep->invocations) == 0);
    CHECK(GET(started) >= all.len + 1 - replay);
    CHECK(GET(started) - GET(ended) <= 2);          /* those that had all of it */
    GOOD(c);
    rt_drop(&all);
    down();
}

TEST(disconnects_at_every_byte) {
    size_t replay;
    up(.threads = 1);
    rt_bytes all = nap_body(&replay);
    for (size_t n = 0; n <= all.len; n += SLOW > 4 ? 5 : 1) {
        client *c = dial();
        call *k = invoke(c, "naps");
        give(k, all.at, n);
        if (n % 2) settle(c);
        else client_send(c);
        hang_up(c);
    }
    ALIVE();
    UNTIL(GET(ep->invocations) == 0);
    UNTIL(GET(ep->server->loops[0].conn_count) == 0);
    CHECK(GET(ended) <= GET(started));
    rt_drop(&all);
    down();
}

TEST(bytewise) {
    up(.threads = 1);
    client *c = dial();
    for (size_t piece = 1; piece < 20; piece += 2) {
        call *k = invoke(c, "nap");
        k->up.piece = piece;
        start(3, .key = "k", .state = "a=1;b=22"), input("some-more-data"), cmd_sleep(1, "", 9), note_sleep(1);
        end(k);
        UNTIL(k->closed);
        SAYS(k, "Output value \"some-more-data\"", "End");
        CHECK_INT(k->frames, 1);
    }
    down();
}

/* Every byte of a connection in a write of its own, preface and headers included. */
TEST(connection_in_single_bytes) {
    wire w;
    h2_frame f;
    up(.threads = 1);
    wire_open(&w);
    put_preface();
    put_request(1, "/invoke/S/echo", false);
    given_input("tiny");
    for (size_t i = 0; i < rt_script.len; i++) put_frame(NGHTTP2_DATA, i + 1 == rt_script.len, 1, rt_script.at + i, 1);
    for (size_t i = 0; i < raw_out.len; i++) CHECK(wire_send(&w, raw_out.at + i, 1));
    CHECK(wire_until(&w, NGHTTP2_HEADERS, 1, &f));
    CHECK_INT(f.status, 200);
    CHECK(wire_until(&w, NGHTTP2_DATA, 1, &f));
    CHECK_INT(f.flags, 1);
    CHECK(f.len > 8 && memcmp(f.at, "\x04\x01", 2) == 0);
    wire_close(&w);
    down();
}

/* ---- Flow control ------------------------------------------------------------------------------------------ */

TEST(small_windows) {
    static const struct { int window; const char *what; unsigned n, size; } cases[] = {
        { 1, "6 10", 6, 10 }, { 100, "100 100", 100, 100 }, { 1000, "20 5000", 20, 5000 }, { 70000, "100 20000", 100, 20000 }
    };
    up(.threads = 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client *c = dial_to(.window = cases[i].window);
        call *a = invoke(c, "flood"), *b;
        given_input(cases[i].what);
        send_on(a);
        b = invoke(c, "flood");
        given_input(cases[i].what);
        send_on(b);
        UNTIL(a->answered && b->answered);
        check_flood(a, cases[i].n, cases[i].size, M_OUTPUT);
        check_flood(b, cases[i].n, cases[i].size, M_OUTPUT);
        SAYS(a, "Output value \"\"", "End");
        CHECK_INT(a->empty + b->empty, 0);
        hang_up(c);
    }
    down();
}

TEST(closed_window) {
    nghttp2_settings_entry open_it = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 };
    call *k[20];
    up(.threads = 1);
    client *c = dial_to(.window = -1);
    for (int i = 0; i < 20; i++) {
        k[i] = invoke(c, i % 2 ? "echo" : "flood");
        given_input("500 1000");
        send_on(k[i]);
    }
    settle(c);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(k[i]->status, 200);
        CHECK_INT(k[i]->body.len, 0);
    }
    CHECK_INT(GET(ep->invocations) >= 10, 1);
    CHECK(GET(memory.peak) < 10 * 400000 + MIB);           /* 256 KiB each, whatever they write */
    nghttp2_submit_settings(c->session, 0, &open_it, 1);
    for (int i = 0; i < 20; i++) {
        UNTIL(k[i]->answered);
        if (i % 2) SAYS(k[i], "Output value \"500 1000\"", "End");
        else check_flood(k[i], 500, 1000, M_OUTPUT);
        CHECK_INT(k[i]->empty, 0);
    }
    down();
}

/* Many answers that nobody reads: each may hold less of them, and all of them arrive when they are read. */
TEST(closed_windows_of_many) {
    enum { PER_CONN = 250, ALL = PER_CONN * 4 };
    static call *k[ALL];
    nghttp2_settings_entry open_it = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 };
    client *c[4];
    up(.threads = 1);
    for (int i = 0; i < 4; i++) {
        c[i] = dial_to(.window = -1, .room = 100 << 20);
        settle(c[i]);                                       /* so that it knows how many there may be */
        for (int j = 0; j < PER_CONN; j++) {
            k[i * PER_CONN + j] = invoke(c[i], "flood");
            given_input("16 20000");
            send_on(k[i * PER_CONN + j]);
        }
        settle(c[i]);
    }
    CHECK_INT(GET(ep->invocations), ALL);
    CHECK(GET(memory.peak) < 100 * MIB);                    /* instead of 250 */
    for (int i = 0; i < 4; i++) nghttp2_submit_settings(c[i]->session, 0, &open_it, 1);
    for (int i = 0; i < ALL; i++) {
        UNTIL(k[i]->answered);
        check_flood(k[i], 16, 20000, M_OUTPUT);
    }
    down();
}

/* One stream whose window is used up holds back nobody else. */
TEST(window_of_one_stream) {
    up(.threads = 1);
    client *c = dial_to(.window = 65535, .keep_window = true, .room = INT32_MAX);
    call *a = invoke(c, "flood");
    given_input("200 10000");
    send_on(a);
    UNTIL(a->body.len == 65535);
    for (int i = 0; i < 20; i++) GOOD(c);
    call *b = invoke(c, "nap");
    given_input("b");
    send_on(b);
    UNTIL(frames_came(b, 2));
    CHECK_INT(a->body.len, 65535);
    CHECK(GET(memory.peak) < 2 * MIB);
    nghttp2_submit_window_update(c->session, 0, a->id, 1);
    UNTIL(a->body.len == 65536);
    settle(c);
    CHECK_INT(a->body.len, 65536);
    nghttp2_submit_window_update(c->session, 0, a->id, 100 << 20);
    UNTIL(a->answered);
    check_flood(a, 200, 10000, M_OUTPUT);
    note_sleep(1);
    end(b);
    UNTIL(b->closed);
    SAYS(b, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Output value \"b\"", "End");
    down();
}

/* The window of the connection is used up: nothing more comes, and what is sent is still read. */
TEST(window_of_the_connection) {
    up(.threads = 1);
    client *c = dial_to(.window = INT32_MAX, .keep_window = true, .room = 65535);
    call *a = invoke(c, "flood");
    given_input("200 10000");
    send_on(a);
    UNTIL(a->body.len == 65535);
    call *b = invoke(c, "nap");
    given_input("b");
    send_on(b);
    UNTIL(GET(started) == 2);
    note_sleep(1);
    send_on(b);
    settle(c);
    CHECK_INT(b->body.len, 0);
    CHECK(GET(memory.peak) < 2 * MIB);
    nghttp2_submit_window_update(c->session, 0, 0, 100 << 20);
    UNTIL(a->answered && b->answered);
    check_flood(a, 200, 10000, M_OUTPUT);
    SAYS(b, "Sleep 1 wake:...", "? AwaitingOn W{c:1,s:1}", "Output value \"b\"", "End");
    down();
}

TEST(peer_that_does_not_read) {
    enum { N = SLOW > 4 ? 2 : 4, PIECES = SLOW > 4 ? 80 : 160, SIZE = 65536 };
    call *k[N];
    char what[32];
    snprintf(what, sizeof what, "%d %d", (int)PIECES, (int)SIZE);       /* 10 MiB */
    up(.threads = 1);
    client *other = dial();
    GOOD(other);
    client *c = dial_to(.window = INT32_MAX, .room = INT32_MAX, .rcvbuf = 4096);
    settle(c);
    PUT(memory.peak, GET(memory.live));
    size_t before = rss();
    c->deaf = true;
    for (int i = 0; i < N; i++) {
        k[i] = invoke(c, "flood");
        given_input(what);
        end(k[i]);
    }
    until_stalled();
    CHECK(GET(progress) < N * PIECES);
    CHECK(GET(memory.peak) < GET(memory.live) + N * MIB);
    CHECK(GET(memory.peak) < N * 512 * 1024 + MIB + 2 * RESTATE__CACHE_LARGE_BYTES);    /* what the pools keep */
    if (RSS_COUNTS) CHECK(rss() < before + N * MIB + 2 * MIB);
    GOOD(other);
    c->deaf = false;
    for (int i = 0; i < N; i++) {
        UNTIL(k[i]->closed);
        check_flood(k[i], PIECES, SIZE, M_OUTPUT);
        CHECK_INT(k[i]->empty, 0);
    }
    CHECK(GET(memory.peak) < N * 512 * 1024 + MIB + 2 * RESTATE__CACHE_LARGE_BYTES);    /* what the pools keep */
    GOOD(c);
    down();
}

TEST(peer_that_does_not_read_and_leaves) {
    up(.threads = 1);
    client *c = dial_to(.window = INT32_MAX, .room = INT32_MAX, .rcvbuf = 4096);
    settle(c);
    c->deaf = true;
    for (int i = 0; i < 5; i++) {
        call *k = invoke(c, "flood");
        given_input("1000 65536");
        send_on(k);
    }
    until_stalled();
    hang_up(c);
    UNTIL(GET(ended) == 5);
    UNTIL(GET(ep->invocations) == 0);
    ALIVE();
    down();
}

/* A stream is reset while its handler is held back by the window. */
TEST(reset_while_held_back) {
    call *k[10];
    up(.threads = 1);
    client *c = dial_to(.window = 100, .keep_window = true);
    for (int i = 0; i < 10; i++) {
        k[i] = invoke(c, "flood");
        given_input("1000 65536");
        send_on(k[i]);
    }
    until_stalled();
    for (int i = 0; i < 10; i++) reset(k[i]);
    UNTIL(GET(ended) == 10);
    settle(c);
    CHECK_INT(GET(ep->invocations), 0);
    GOOD(c);
    down();
}

/* The endpoint gives the windows of large requests back while it reads. The last frame of a response is
 * sent from where its bytes lie, when the exchange is over. */
TEST(large_messages_both_ways) {
    size_t size = (SLOW > 4 ? 3 * MIB : 10 * MIB) + 9000;
    char *text = (char *)malloc(size + 1);
    memset(text, 'z', size);
    text[size] = 0;
    up(.threads = 1);
    client *c = dial();
    call *a = invoke(c, "echo"), *b = invoke(c, "echo");
    start(1), input(text);
    b->up.piece = 1000;
    give(b, rt_script.at, rt_script.len);
    end(a);
    UNTIL(a->closed);
    end(b);
    UNTIL(b->closed);
    for (int i = 0; i < 2; i++) {
        call *k = i ? b : a;
        CHECK(k->body.len > size + 16 && k->body.len < size + 64);
        CHECK(k->body.len > size + 16 && memcmp(k->body.at + 20, text, size - 20) == 0);
        CHECK_INT(k->empty, 0);
    }
    GOOD(c);
    free(text);
    down();
}

/* ---- Peers that misbehave ------------------------------------------------------------------------------------ */

TEST(header_flood) {
    wire w;
    h2_frame f;
    rt_bytes block;
    char value[20001];
    up(.threads = 1);
    memset(value, 'v', 20000);
    value[20000] = 0;
    for (int fields = 1; fields <= 6; fields++) {   /* of 20 KB each: 64 KiB are the limit */
        wire_open(&w);
        put_preface();
        block = raw_headers("GET", "/health");
        for (int i = 0; i < fields; i++) hpack_field(&block, "x-flood", value);
        for (size_t at = 0; at < block.len; at += 16384) {
            size_t n = block.len - at < 16384 ? block.len - at : 16384;
            put_frame(at ? NGHTTP2_CONTINUATION : NGHTTP2_HEADERS, (at ? 0u : 1u) | (at + n == block.len ? 4u : 0u), 1, block.at + at, n);
        }
        wire_flush(&w);
        CHECK(wire_until(&w, NGHTTP2_HEADERS, 1, &f));
        CHECK_INT(f.status, fields <= 3 ? 200 : 431);
        rt_drop(&block);
        block = raw_headers("GET", "/health");      /* the connection is good for more */
        put_frame(NGHTTP2_HEADERS, 5, 3, block.at, block.len);
        wire_flush(&w);
        CHECK(wire_until(&w, NGHTTP2_HEADERS, 3, &f));
        CHECK_INT(f.status, 200);
        rt_drop(&block);
        wire_close(&w);
    }
    wire_open(&w);                                  /* a header block without an end */
    put_preface();
    block = raw_headers("GET", "/health");
    put_frame(NGHTTP2_HEADERS, 1, 1, block.at, block.len);
    for (int i = 0; i < 1000; i++) put_frame(NGHTTP2_CONTINUATION, 0, 1, "", 0);
    wire_flush(&w);
    while (wire_frame(&w, &f)) CHECK(f.type != NGHTTP2_HEADERS);
    CHECK(w.gone);
    wire_close(&w);
    rt_drop(&block);
    client *c = dial();
    GOOD(c);
    down();
}

/* A block that names a field of the table again and again, by a byte each time. */
static rt_bytes bomb(rt_bytes block, bool first, int times) {
    static char value[4000];
    if (first) {
        memset(value, 'v', sizeof value);
        rt_add(&block, "\x40", 1), hpack_text(&block, "x-bomb", 6), hpack_text(&block, value, sizeof value);
    }
    for (int i = first; i < times; i++) rt_add(&block, "\xbe", 1);
    return block;
}

/* Small blocks that unpack to much. Those that unpack to very much are not looked at to their end: the stream is
 * reset. So it is with trailers. */
TEST(header_bombs) {
    static const struct { int times, status; } cases[] = { { 16, 200 }, { 17, 431 }, { 60, 431 }, { 90, 0 }, { 15000, 0 } };
    uint32_t id = 1;
    wire w;
    h2_frame f;
    up(.threads = 1);
    wire_open(&w);
    put_preface();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++, id += 2) {
        rt_bytes block = bomb(raw_headers("GET", "/health"), i == 0, cases[i].times);
        note("(%d times)", cases[i].times);
        put_frame(NGHTTP2_HEADERS, 5, id, block.at, block.len);
        rt_drop(&block);
        PUT(memory.peak, GET(memory.live));
        wire_flush(&w);
        CHECK(wire_until(&w, cases[i].status ? NGHTTP2_HEADERS : NGHTTP2_RST_STREAM, id, &f));
        CHECK_INT(f.status, cases[i].status);
        CHECK(GET(memory.peak) < GET(memory.live) + MIB);
    }
    for (int i = 0; i < 2; i++, id += 2) {          /* trailers of a request that parks, and of one that is refused */
        rt_bytes none = { NULL, 0, 0 }, block = bomb(none, false, 15000);
        note("(trailers %d)", i);
        put_request(id, i ? "/nope" : "/invoke/S/nap", false);
        put_frame(NGHTTP2_HEADERS, 5, id, block.at, block.len);
        wire_flush(&w);
        CHECK(wire_until(&w, NGHTTP2_RST_STREAM, id, &f));
        rt_drop(&block);
    }
    test_note = "";
    wire_close(&w);
    ALIVE();
    down();
}

TEST(not_http2) {
    static const struct { const char *bytes; size_t len; const char *answer; } cases[] = {
        { "GET / HTTP/1.1\r\nhost: x\r\n\r\n", 0, "HTTP/1.1 505 " },
        { "POST /invoke/S/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", 0, "HTTP/1.1 505 " },
        { "PRI * HTTP/1.1\r\n\r\n", 0, "HTTP/1.1 505 " }, { "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 0, "HTTP/1.1 505 " },
        { "HELLO", 0, "HTTP/1.1 505 " }, { "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, "" },
        { "hello\n", 0, "" }, { "\0\0\0\0", 4, "" }, { "\r\n", 0, "" }
    };
    wire w;
    up(.threads = 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = cases[i].len ? cases[i].len : strlen(cases[i].bytes);
        test_note = cases[i].bytes;
        wire_open(&w);
        wire_send(&w, cases[i].bytes, len);
        while (wire_more(&w)) continue;
        CHECK(w.gone);
        CHECK_HAS(w.in.at ? (const char *)w.in.at : "", cases[i].answer);
        if (!*cases[i].answer) CHECK_INT(w.in.len, 0);
        else CHECK_HAS((const char *)w.in.at, "HTTP/2");
        wire_close(&w);
    }
    test_note = "";
    wire_open(&w);                                  /* a long one: the answer is not lost in a reset */
    {
        rt_bytes b = { NULL, 0, 0 };
        rt_print(&b, "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n");
        while (b.len < 300000) rt_add(&b, "some more of it ", 16);
        wire_send(&w, b.at, b.len);
        rt_drop(&b);
    }
    while (wire_more(&w)) continue;
    CHECK_HAS((const char *)w.in.at, "HTTP/1.1 505 ");
    CHECK_HAS((const char *)w.in.at, "without upgrade.\n");
    wire_close(&w);
    wire_open(&w);                                  /* half a preface, then nothing: leaves with it */
    wire_send(&w, "PRI * HT", 8);
    wire_close(&w);
    ALIVE();
    UNTIL(GET(ep->server->loops[0].conn_count) == 0);
    down();
}

/* Probes that speak HTTP/1 are answered, also if their request comes in pieces; nothing else is. */
TEST(health_over_http1) {
    static const struct { const char *bytes, *answer, *end; } cases[] = {
        { "GET /health HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nUser-Agent: kube-probe/1.30\r\n\r\n", "200 OK", "\nok" },
        { "GET /a/b/health?x=1 HTTP/1.0\r\n\r\n", "200 OK", "\nok" }, { "GET /health HTTP/1.1\nhost: x\n\n", "200 OK", "\nok" },
        { "HEAD /health HTTP/1.1\r\nhost: x\r\n\r\n", "200 OK", "2\r\n\r\n" },
        { "GET /healthy HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "GET /discover HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "GETS /health HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "HEADER /health HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "POST /health HTTP/1.1\r\nhost: x\r\n\r\n", "505 HTTP", "upgrade.\n" }, { "GET /health\r\n\r\n", "505 HTTP", "upgrade.\n" },
        { "GET \r\n\r\n", "505 HTTP", "upgrade.\n" }, { "PUT /x\xff\x1b[31m HTTP/1.1\r\n\r\n", "505 HTTP", "upgrade.\n" }
    };
    up(.threads = 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            size_t len = strlen(cases[i].bytes), at;
            wire w;
            note("(%s%s)", bytewise ? "byte by byte " : "", cases[i].bytes);
            wire_open(&w);
            if (!bytewise) wire_send(&w, cases[i].bytes, len);
            for (at = 0; bytewise && at < len; at++) {
                struct timespec t = { 0, 200000 };  /* so that each comes alone; nothing depends on it */
                if (!wire_send(&w, cases[i].bytes + at, 1)) break;
                nanosleep(&t, NULL);
            }
            while (wire_more(&w)) continue;
            CHECK(w.gone);
            rt_add(&w.in, "", 1);
            CHECK_HAS((const char *)w.in.at, "HTTP/1.1 ");
            CHECK_HAS((const char *)w.in.at, cases[i].answer);
            CHECK_HAS((const char *)w.in.at, "connection: close\r\n");
            CHECK(w.in.len > strlen(cases[i].end) &&
                  strcmp((const char *)w.in.at + w.in.len - 1 - strlen(cases[i].end), cases[i].end) == 0);
            wire_close(&w);
        }
    test_note = "";
    ALIVE();
    down();
}

/* A health check whose head does not end gets a response all the same. */
TEST(head_of_http1_is_limited) {
    static const char field[] = "x-more: of what nobody reads, again and again\r\n";
    wire w;
    up(.threads = 1);
    wire_open(&w);
    wire_send(&w, "GET /health HTTP/1.1\r\n", 22);
    for (size_t n = 0; n <= RESTATE__LOOP_HEAD; n += sizeof field - 1)
        if (!wire_send(&w, field, sizeof field - 1)) break;
    while (wire_more(&w)) continue;
    rt_add(&w.in, "", 1);
    CHECK(w.gone);
    CHECK_HAS((const char *)w.in.at, "HTTP/1.1 200 OK");
    wire_close(&w);
    ALIVE();
    down();
}

/* The operator is told what to do, and not once per connection. */
TEST(tls_is_named) {
    up(.threads = 1);
    for (int i = 0; i < 120; i++) {
        wire w;
        wire_open(&w);
        wire_send(&w, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", i % 11 + 1);
        while (wire_more(&w)) continue;
        CHECK(w.gone);
        wire_close(&w);
        if (i == 0) CHECK_INT(GET(tls_lines), 1);
    }
    CHECK(GET(tls_lines) <= 100);
    restate_endpoint_stop(ep);
    stopped();
    CHECK_INT(GET(tls_lines) + GET(left_out), 120);
}

TEST(violations) {
    rt_bytes get = raw_headers("GET", "/health"), post;
    wire w;
    h2_frame f;
    up(.threads = 1);
    for (int i = 0; i < 12; i++) {
        bool told = false;
        note("(%d)", i);
        wire_open(&w);
        put_preface();
        switch (i) {
        case 0: put_frame(NGHTTP2_DATA, 1, 1, "x", 1); break;                   /* of a stream that is not */
        case 1: put_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\0", 4); break;   /* by nothing */
        case 2: put_frame(NGHTTP2_SETTINGS, 0, 0, "x", 1); break;
        case 3: put_frame(NGHTTP2_CONTINUATION, 4, 1, NULL, 0); break;
        case 4: put_frame(NGHTTP2_HEADERS, 5, 2, get.at, get.len); break;       /* a server's number */
        case 5: rt_add(&raw_out, "\xff\xff\xff\0\0\0\0\0\0", 9); break;         /* a DATA frame of 16 MiB */
        case 6: put_frame(NGHTTP2_PING, 0, 1, "12345678", 8); break;
        case 7: put_frame(NGHTTP2_PUSH_PROMISE, 4, 1, "\0\0\0\2", 4); break;
        case 8: put_frame(NGHTTP2_HEADERS, 5, 1, "\xff\xff\xff\xff\xff", 5); break;
        case 9: put_frame(NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\0", 4); break;      /* idle */
        case 10: put_frame(NGHTTP2_SETTINGS, 0, 0, "\0\4\xff\xff\xff\xff", 6); break;
        case 11:                                                                /* a window beyond 2^31 */
            put_request(1, "/invoke/S/nap", false);
            put_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff", 4);
            break;
        }
        wire_flush(&w);
        while (wire_frame(&w, &f)) told = told || f.type == NGHTTP2_GOAWAY;
        CHECK(told && w.gone);
        wire_close(&w);
    }
    test_note = "";
    wire_open(&w);                                  /* what concerns a stream ends that stream */
    put_preface();
    post = raw_headers("POST", "/invoke/S/echo");
    hpack_field(&post, "Upper", "x");
    put_frame(NGHTTP2_HEADERS, 5, 1, post.at, post.len);
    rt_drop(&post);
    post = raw_headers("POST", "/invoke/S/nap");
    hpack_field(&post, "content-type", V "7");
    hpack_field(&post, "content-length", "3");
    put_frame(NGHTTP2_HEADERS, 4, 3, post.at, post.len);
    put_frame(NGHTTP2_DATA, 1, 3, "abcdef", 6);
    rt_drop(&post);
    post = raw_headers("POST", "/invoke/S/nap");
    hpack_field(&post, "connection", "close");
    put_frame(NGHTTP2_HEADERS, 5, 5, post.at, post.len);
    rt_drop(&post);
    put_frame(0xfa, 0xff, 0, "unknown frames are ignored", 26);
    put_frame(0xbb, 1, 3, "xyz", 3);
    put_frame(NGHTTP2_HEADERS, 5, 7, get.at, get.len);
    wire_flush(&w);
    {
        unsigned resets = 0;
        while (wire_frame(&w, &f) && !(f.type == NGHTTP2_DATA && f.id == 7)) resets += f.type == NGHTTP2_RST_STREAM;
        CHECK_INT(resets, 3);
        CHECK_INT(f.id, 7);
    }
    wire_close(&w);
    rt_drop(&get);
    ALIVE();
    down();
}

TEST(rapid_reset) {
    for (int how = 0; how < 2; how++) {             /* by the peer, or made to be done by the endpoint */
        wire w;
        h2_frame f;
        bool sent = true, told = false;
        uint32_t id = 1;
        test_note = how ? "(ours)" : "(theirs)";
        up(.threads = 1);
        wire_open(&w);
        put_preface();
        PUT(memory.peak, GET(memory.live));
        for (; sent && id < 12000; id += 2) {
            rt_bytes b = raw_headers("POST", "/invoke/S/nap");
            hpack_field(&b, "content-type", V "7");
            if (how) hpack_field(&b, "content-length", "1");
            put_frame(NGHTTP2_HEADERS, 4, id, b.at, b.len);
            rt_drop(&b);
            given_input("x");
            put_frame(NGHTTP2_DATA, 0, id, rt_script.at, rt_script.len);
            rt_script.len = 0;
            if (!how) put_frame(NGHTTP2_RST_STREAM, 0, id, "\0\0\0\10", 4);
            if (raw_out.len > 30000) sent = wire_flush(&w);
        }
        wire_flush(&w);
        while (wire_frame(&w, &f)) told = told || f.type == NGHTTP2_GOAWAY;
        CHECK(w.gone);
        CHECK(told || !sent);                       /* the GOAWAY may be lost in a reset of TCP */
        CHECK(GET(memory.peak) < 8 * MIB);
        wire_close(&w);
        ALIVE();
        CHECK_INT(GET(started), GET(ended));
        down();
    }
    test_note = "";
}

TEST(floods_without_reading) {
    for (int how = 0; how < 3; how++) {
        wire w;
        bool sent = true;
        size_t bytes = 0;
        test_note = how == 0 ? "(PING)" : how == 1 ? "(SETTINGS)" : "(404)";
        up(.threads = 1);
        wire_open(&w);
        put_preface();
        PUT(memory.peak, GET(memory.live));
        for (uint32_t id = 1; sent && bytes < 200 * MIB; ) {
            while (raw_out.len < 60000) {
                if (how == 0) put_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
                if (how == 1) put_frame(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
                if (how == 2) put_request(id, "/nope", true), id += 2;
            }
            bytes += raw_out.len;
            if (how == 2 && id > 20000) break;
            sent = wire_flush(&w);
        }
        raw_out.len = 0;
        if (how < 2) CHECK(!sent);                  /* was stopped */
        CHECK(GET(memory.peak) < 8 * MIB);
        ALIVE();
        wire_close(&w);
        down();
    }
    test_note = "";
}

/* ---- Peers that leave ---------------------------------------------------------------------------------------- */

TEST(leaves_in_the_middle_of_everything) {
    for (int how = 0; how < 3; how++) {             /* by FIN, by RST, by a reset of each stream */
        call *k[6];
        struct linger hard = { 1, 0 };
        test_note = how == 0 ? "(FIN)" : how == 1 ? "(RST)" : "(streams)";
        up(.threads = 1);
        client *c = dial_to(.window = 1000, .keep_window = true);
        k[0] = invoke(c, "nap"), k[1] = invoke(c, "flood"), k[2] = invoke(c, "steps_obediently");
        k[3] = invoke(c, "blocks"), k[4] = invoke(c, "nap"), k[5] = invoke(c, "nap");
        given_input("x"), give(k[0], rt_script.at, rt_script.len), give(k[2], rt_script.at, rt_script.len);
        give(k[3], rt_script.at, rt_script.len), give(k[4], rt_script.at, rt_script.len - 1), rt_script.len = 0;
        given_input("1000 65536"), send_on(k[1]);
        UNTIL(GET(at_gate) == 2 && GET(started) == 2);
        settle(c);
        if (how == 2) for (int i = 0; i < 6; i++) reset(k[i]);
        if (how == 1) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        if (how < 2) hang_up(c);
        UNTIL(GET(ended) == 4);
        UNTIL(GET(ep->invocations) == 0);
        if (how == 2) GOOD(c);
        ALIVE();
        down();
    }
    test_note = "";
}

/* The client closes its side and reads on; TCP knows no difference to leaving, but nothing breaks. */
TEST(half_closed_connection) {
    up(.threads = 1);
    call *k = invoke_alone("nap");
    client *c = k->on;
    UNTIL(frames_came(k, 2));
    shutdown(c->fd, SHUT_WR);
    UNTIL(c->gone);
    UNTIL(GET(ended) == 1);
    down();
}

TEST(goaway_of_the_peer) {
    up(.threads = 1);
    call *k = invoke_alone("nap");
    client *c = k->on;
    UNTIL(frames_came(k, 2));
    nghttp2_submit_goaway(c->session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
    settle(c);
    note_sleep(1);
    end(k);
    UNTIL(k->closed || c->gone);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Output value \"x\"", "End");
    UNTIL(c->gone);
    down();
}

/* ---- Starting and stopping ------------------------------------------------------------------------------------ */

/* Connections wait until there is a descriptor for them again; that is said once. */
TEST(out_of_descriptors) {
    struct rlimit before;
    rt_bytes get = raw_headers("GET", "/health");
    wire w[3];
    h2_frame f;
    if (SLOW > 4) {                                 /* valgrind closes what it has no number for */
        rt_drop(&get);
        return;
    }
    up(.threads = 2);
    memset(w, 0, sizeof w);
    struct sockaddr_in at = h2_address(restate_endpoint_port(ep));
    for (int i = 0; i < 3; i++) {
        w[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        nghttp2_hd_inflate_new(&w[i].inflater);
    }
    getrlimit(RLIMIT_NOFILE, &before);
    struct rlimit few = before;
    few.rlim_cur = (rlim_t)dup(0);
    close((int)few.rlim_cur);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(connect(w[i].fd, (struct sockaddr *)&at, sizeof at), 0);
        fcntl(w[i].fd, F_SETFL, O_NONBLOCK);
        put_preface();
        put_frame(NGHTTP2_HEADERS, 5, 1, get.at, get.len);
        wire_flush(&w[i]);
    }
    UNTIL(GET(warnings) == 1);
    pump_for(700);                                  /* it has tried again, and said nothing */
    CHECK_INT(GET(warnings), 1);
    setrlimit(RLIMIT_NOFILE, &before);
    for (int i = 0; i < 3; i++) {
        CHECK(wire_until(&w[i], NGHTTP2_HEADERS, 1, &f));
        CHECK_INT(f.status, 200);
        wire_close(&w[i]);
    }
    rt_drop(&get);
    ALIVE();
    down();
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(unknown_types_in_preflight), T(unknown_types_later), T(bad_protobuf), T(frame_of_4_gib),
        T(large_frames_that_do_not_come), T(memory_grows_with_what_arrives), T(message_limit),
        T(input_ends_at_every_byte), T(input_pauses_at_every_byte), T(reset_at_every_byte),
        T(disconnects_at_every_byte), T(bytewise), T(connection_in_single_bytes), T(small_windows),
        T(closed_window), T(closed_windows_of_many), T(window_of_one_stream), T(window_of_the_connection),
        T(peer_that_does_not_read), T(peer_that_does_not_read_and_leaves), T(reset_while_held_back),
        T(large_messages_both_ways), T(header_flood), T(header_bombs), T(not_http2), T(health_over_http1), T(head_of_http1_is_limited),
        T(tls_is_named), T(violations), T(rapid_reset), T(floods_without_reading),
        T(leaves_in_the_middle_of_everything), T(half_closed_connection), T(goaway_of_the_peer),
        T(out_of_descriptors), T(silent_peers_are_gone), T(slow_beginnings), T(steady_journal),
        T(slow_work_is_shared), T(answers_that_nobody_takes), T(refusals_hold_little), T(connection_limit),
        T(hosted_timeouts), T(strange_text_is_cleaned), T(strange_text_of_a_journal_is_cleaned),
        T(log_lines_are_limited),
        { NULL, NULL }
    };
    return server_main(argc, argv, cases);
}
