/* Section >>server, over real sockets: routes, discovery, several connections and streams, the event loop of a
 * program, all at once. See support/server.c for the clients. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "support/server.c"

/* ---- Routing, content types, discovery ------------------------------------------------------------------- */

TEST(default_options) {
    const restate_handler list[] = { { .name = "h", .fn = echo }, { NULL } };
    const restate_service s = { .name = "S", .handlers = list };
    const restate_service *const services[] = { &s, NULL };
    restate_endpoint *e = restate_endpoint_new(
        &(restate_endpoint_options){ .services = services });
    CHECK_STR(restate_endpoint_error(e), "");
    CHECK_INT(e->options.port, 9080);
    CHECK_INT(e->options.max_streams, 256);
    CHECK_INT(e->options.drain_ms, 10000);
    restate_endpoint_free(e);
}

TEST(health_and_versions) {
    up(.threads = 1);
    client *c = dial();
    call *k = request(c, "GET", "/health", NULL, NULL);
    k->up.over = true;
    UNTIL(k->closed);
    CHECK_INT(k->status, 200);
    CHECK_STR(k->type, "text/plain");
    CHECK_STR((const char *)k->body.at, "ok");
    CHECK_HAS(k->server, "restate-sdk-c/");
    for (unsigned version = 5; version <= 7; version++) {
        char type[64];
        k = invoke_as(c, version, "echo");
        given_input("my-data");
        end(k);
        UNTIL(k->closed);
        CHECK_INT(k->status, 200);
        snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", version);
        CHECK_STR(k->type, type);
        SAYS(k, "Output value \"my-data\"", "End");
    }
    down();
}

TEST(refusals) {
    static const struct { const char *method, *path, *type; int status; const char *text; } cases[] = {
        { "POST", "/nope", V "7", 404, "/nope" }, { "POST", "/", V "7", 404, "/invoke" },
        { "POST", "/invoke/S", V "7", 404, "/invoke" }, { "POST", "/invoke/S/echo/", V "7", 404, "/invoke" },
        { "POST", "/invoke//echo", V "7", 404, "service" }, { "POST", "/invoke/S/", V "7", 404, "handler" },
        { "GET", "/discover/", NULL, 404, "/discover/" }, { "GET", "/healthy", NULL, 404, "/healthy" },
        { "GET", "/invoke/S/echo", V "7", 405, "POST" }, { "PUT", "/invoke/S/echo", V "7", 405, "POST" },
        { "post", "/invoke/S/echo", V "7", 405, "POST" },
        { "POST", "/discover", NULL, 405, "GET" }, { "POST", "/health", NULL, 405, "GET" },
        { "POST", "/invoke/S/echo", NULL, 415, "missing" }, { "POST", "/invoke/S/echo", "application/json", 415, "ingress" },
        { "POST", "/invoke/S/echo", "", 415, "ingress" }, { "POST", "/invoke/S/echo", "x", 415, "ingress" },
        { "POST", "/invoke/S/echo", V "4", 415, "v4" }, { "POST", "/invoke/S/echo", V "8", 415, "v8" },
        { "POST", "/invoke/S/echo", V "1", 415, "register" }, { "POST", "/invoke/S/echo", V "", 415, "v5 to v7" },
        { "POST", "/invoke/S/echo", V "77", 415, "v77" }, { "POST", "/invoke/S/echo", V "7; charset=x", 415, "v7; charset=x" },
        { "POST", "/invoke/S/echo", V "07", 415, "v07" }, { "POST", "/invoke/S/echo", V "x", 415, "vx" },
        { "POST", "/invoke/S/echo", "Application/vnd.restate.invocation.v7", 415, "ingress" },
        { "POST", "/invoke/S/echo", "application/vnd.restate.invocation.V7", 415, "ingress" },
        { "POST", "/invoke/S/echo", "APPLICATION/VND.RESTATE.INVOCATION.V7", 415, "ingress" },
        { "POST", "/invoke/T/echo", V "7", 404, "T" }, { "POST", "/invoke/s/echo", V "7", 404, "s" },
        { "POST", "/invoke/S/nope", V "7", 404, "nope" }, { "POST", "/invoke/S/Echo", V "7", 404, "Echo" },
        { "POST", "/invoke/S/echo%20", V "7", 404, "echo%20" }, { "POST", "/invoke/T/echo", V "8", 415, "v8" }
    };
    up(.threads = 1);
    client *c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int body = 0; body < 3; body++) {      /* none, there before the answer, going on after it */
            call *k = request(c, cases[i].method, cases[i].path, cases[i].type ? "content-type" : NULL, cases[i].type);
            note("(%s %s as %s, %d)", cases[i].method, cases[i].path, cases[i].type ? cases[i].type : "-", body);
            if (body == 0) k->up.over = true;
            if (body == 1) given_input("x"), end(k);
            if (body == 2) {
                UNTIL(k->answered);
                given_input("x");
                end(k);
            }
            UNTIL(k->closed);
            CHECK_INT(k->status, cases[i].status);
            CHECK_STR(k->type, "application/json");
            CHECK_STR(k->allow, k->status != 405 ? "" : strstr(cases[i].path, "invoke") ? "POST" : "GET, HEAD");
            CHECK_HAS(k->server, "restate-sdk-c/");
            CHECK_HAS((const char *)k->body.at, "{\"message\":\"");
            CHECK_HAS((const char *)k->body.at, cases[i].text);
            CHECK_INT(k->code, 0);
            if (body == 2) GOOD(c);
        }
    test_note = "";
    down();
}

/* Bytes in a path or a type that JSON has to escape, or that are no UTF-8. */
TEST(refusals_of_strange_bytes) {
    up(.threads = 1);
    client *c = dial();
    call *k = request(c, "POST", "/invoke/S/echo", "content-type", "\"quoted\" \xff\x80 text");
    end(k);
    UNTIL(k->closed || c->gone);
    CHECK_INT(k->status, 415);
    CHECK_HAS((const char *)k->body.at, "{\"message\":\"");
    GOOD(c);
    k = request(c, "POST", "/invoke/S/%22\xc3\xa9", "content-type", V "7");
    end(k);
    UNTIL(k->closed || c->gone);
    CHECK(k->status == 404 || k->code != 0);
    GOOD(c);
    down();
}

TEST(paths) {
    static const struct { const char *method, *path; int status; } cases[] = {     /* scenario 138 */
        { "POST", "/invoke/S/echo", 200 }, { "POST", "/p/q/invoke/S/echo", 200 }, { "POST", "/invoke/S/echo?x=/a/b", 200 },
        { "POST", "/invoke/invoke/S/echo", 200 }, { "GET", "/discover", 200 }, { "GET", "/p/discover?x", 200 },
        { "GET", "/health", 200 }, { "GET", "/a/b/c/d/health", 200 }, { "GET", "//health", 200 }
    };
    up(.threads = 1);
    client *c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool get = cases[i].method[0] == 'G';
        call *k = request(c, cases[i].method, cases[i].path, get ? "accept" : "content-type",
                          get ? "application/vnd.restate.endpointmanifest.v4+json" : V "7");
        test_note = cases[i].path;
        if (!get) given_input("p");
        end(k);
        UNTIL(k->closed);
        CHECK_INT(k->status, cases[i].status);
        if (!get) SAYS(k, "Output value \"p\"", "End");
    }
    test_note = "";
    GOOD(c);
    down();
}

/* An answer to HEAD has no body, whatever its status. */
TEST(head_request) {
    up(.threads = 1);
    client *c = dial();
    for (int i = 0; i < 2; i++) {
        call *k = request(c, "HEAD", i ? "/nope" : "/health", NULL, NULL);
        k->up.over = true;
        UNTIL(k->closed || c->gone);
        CHECK_INT(k->status, i ? 404 : 200);
        CHECK_INT(k->body.len, 0);
        CHECK_INT(k->code, 0);
        GOOD(c);
    }
    down();
}

#define M "application/vnd.restate.endpointmanifest.v"

TEST(discovery) {
    static const struct { const char *accept; int status; const char *type; } cases[] = {   /* scenario 140 */
        { M "1+json, " M "2+json, " M "3+json, " M "4+json", 200, M "4+json" }, { M "2+json", 200, M "2+json" },
        { M "3+json", 200, M "3+json" }, { M "4+json," M "2+json", 200, M "4+json" },
        { M "2+json \t,\t " M "3+json", 200, M "3+json" }, { "text/html, " M "3+json", 200, M "3+json" },
        { M "9+json, " M "4+json", 200, M "4+json" }, { M "1+json", 415, NULL }, { M "5+json", 200, M "5+json" },
        { M "6+json", 415, NULL },
        { "application/json", 415, NULL }, { "*/*", 415, NULL }, { "", 415, NULL }, { ",,,", 415, NULL },
        { M "4", 415, NULL }, { M "4+jsonx", 415, NULL }, { NULL, 415, NULL }
    };
    up(.threads = 1);
    client *c = dial();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        call *k = request(c, "GET", "/discover", cases[i].accept ? "accept" : NULL, cases[i].accept);
        test_note = cases[i].accept ? cases[i].accept : "no accept";
        k->up.over = true;
        UNTIL(k->closed);
        CHECK_INT(k->status, cases[i].status);
        CHECK_STR(k->type, cases[i].type ? cases[i].type : "application/json");
        CHECK_HAS(k->server, "restate-sdk-c/");
        if (cases[i].type) {
            CHECK_HAS((const char *)k->body.at, "{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,");
            CHECK_HAS((const char *)k->body.at, "\"name\":\"S\"");
        }
        GOOD(c);
    }
    test_note = "";
    down();
}

/* Options that a manifest version does not have: 500 there, told in a newer one. */
TEST(discovery_needs_newer_version) {
    const restate_service retries = { .name = "R", .options.retry.max_attempts = 3,
                                             .handlers = RESTATE_HANDLERS({ .name = "echo", .fn = echo }) };
    up(.threads = 1, .services = RESTATE_SERVICES(&retries));
    client *c = dial();
    for (unsigned version = 2; version <= 4; version++) {
        char accept[80];
        snprintf(accept, sizeof accept, M "%u+json", version);
        call *k = request(c, "GET", "/discover", "accept", accept);
        k->up.over = true;
        UNTIL(k->closed);
        CHECK_INT(k->status, version < 4 ? 500 : 200);
        CHECK_HAS((const char *)k->body.at, version < 4 ? "upgrade the server" : "retryPolicyMaxAttempts");
    }
    down();
}

/* ---- Several at a time ------------------------------------------------------------------------------------- */

TEST(interleaved) {
    enum { N = 12 };
    call *k[N];
    rt_bytes body[N];
    size_t longest = 0;
    up(.threads = 1);
    client *c = dial();
    for (unsigned i = 0; i < N; i++) {
        char text[80];
        memset(text, 'a' + (int)i, sizeof text);
        text[5 * i + 1] = 0;
        k[i] = invoke_as(c, 5 + i % 3, "echo");
        given_input(text);
        body[i] = rt_script;
        memset(&rt_script, 0, sizeof rt_script);
        if (body[i].len > longest) longest = body[i].len;
    }
    for (size_t at = 0; at < longest; at++) {
        for (unsigned i = 0; i < N; i++)
            if (at < body[i].len) give(k[i], body[i].at + at, 1);
        client_send(c);
        if (at % 10 == 0) settle(c);
    }
    for (unsigned i = 0; i < N; i++) {
        char want[120];
        UNTIL(k[i]->answered);
        end(k[i]);
        UNTIL(k[i]->closed);
        snprintf(want, sizeof want, "Output value \"%.*s\"", (int)(5 * i + 1), (const char *)body[i].at + body[i].len - 5 * i - 1);
        SAYS(k[i], want, "End");
        rt_drop(&body[i]);
    }
    down();
}

TEST(hundred_streams) {
    enum { N = 100 };
    call *k[N];
    up(.threads = 1);
    client *c = dial();
    for (unsigned i = 0; i < N; i++) {
        char text[8];
        k[i] = invoke(c, "nap");
        snprintf(text, sizeof text, "%u", i);
        given_input(text);
        send_on(k[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        UNTIL(frames_came(k[i], 2));
        SAYS(k[i], "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
    }
    CHECK_INT(GET(ep->invocations), N);
    for (unsigned i = N; i-- > 0;) {
        char want[40];
        note_sleep(1);
        end(k[i]);
        UNTIL(k[i]->closed);
        snprintf(want, sizeof want, "Output value \"%u\"", i);
        SAYS(k[i], want, "End");
        CHECK_INT(k[i]->empty, 0);
    }
    GOOD(c);
    down();
}

TEST(streams_beyond_the_limit) {
    call *k[12];
    unsigned refused = 0, waiting = 0;
    wire w;
    h2_frame f;
    up(.threads = 1, .max_streams = 10);
    wire_open(&w);                          /* all at once, before the limit is known */
    put_preface();
    for (uint32_t i = 0; i < 14; i++) {
        put_request(2 * i + 1, "/invoke/S/nap", false);
        given_input("x");
        put_frame(NGHTTP2_DATA, 0, 2 * i + 1, rt_script.at, rt_script.len);
        rt_script.len = 0;
    }
    wire_flush(&w);
    for (unsigned taken = 0; taken + refused < 14;) {
        CHECK(wire_frame(&w, &f));
        if (w.gone) break;
        taken += f.type == NGHTTP2_HEADERS;
        refused += f.type == NGHTTP2_RST_STREAM && f.at[3] == NGHTTP2_REFUSED_STREAM;
    }
    CHECK_INT(refused, 4);
    UNTIL(GET(started) == 10);
    wire_close(&w);
    UNTIL(GET(ended) == 10);
    client *c = dial();                     /* a client that knows it has the others wait */
    settle(c);
    for (unsigned i = 0; i < 12; i++) {
        k[i] = invoke(c, "nap");
        given_input("x");
        send_on(k[i]);
    }
    for (unsigned i = 0; i < 10; i++) UNTIL(frames_came(k[i], 2));
    settle(c);
    for (unsigned i = 0; i < 12; i++) waiting += !k[i]->status;
    CHECK_INT(waiting, 2);
    for (unsigned i = 0; i < 12; i++) {
        UNTIL(frames_came(k[i], 2));
        note_sleep(1);
        end(k[i]);
        UNTIL(k[i]->closed);
        SAYS(k[i], "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Output value \"x\"", "End");
    }
    down();
}

TEST(too_many_invocations) {
    call *k[3], *extra;
    up(.threads = 1, .max_invocations = 3);
    client *c = dial();
    for (int i = 0; i < 3; i++) {
        k[i] = invoke(c, "nap");
        given_input("x");
        send_on(k[i]);
        UNTIL(frames_came(k[i], 2));
    }
    for (int i = 0; i < 3; i++) {
        extra = invoke(c, "echo");
        given_input("x");
        end(extra);
        UNTIL(extra->closed);
        CHECK_INT(extra->status, 503);
        CHECK_HAS((const char *)extra->body.at, "max_invocations");
        CHECK_INT(extra->code, 0);
    }
    extra = request(c, "GET", "/health", NULL, NULL);
    end(extra);
    UNTIL(extra->closed);
    CHECK_INT(extra->status, 200);
    note_sleep(1);
    end(k[1]);
    UNTIL(k[1]->closed);
    GOOD(c);
    reset(k[0]);
    settle(c);
    GOOD(c), GOOD(c);
    down();
}

TEST(loops_share_the_connections) {
    enum { N = 12 };
    client *c[N];
    unsigned on[16] = { 0 };
    up(.threads = 4);
    for (int i = 0; i < N; i++) {
        c[i] = dial();
        settle(c[i]);
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < N; i++) {
            call *k = invoke(c[i], "where");
            unsigned thread = 99;
            given_input("?");
            end(k);
            UNTIL(k->closed);
            if (k->body.len > 12) thread = k->body.at[12] - (unsigned)'0';
            CHECK(thread < 4);
            if (thread < 16) on[thread]++;
        }
    CHECK_INT(seen_count, 4);
    for (int i = 0; i < 4; i++) CHECK_INT(on[i], 2 * N / 4);
    for (int i = 0; i < N; i++) {
        call *k = invoke(c[i], "nap");
        given_input("?");
        send_on(k);
    }
    UNTIL(GET(started) == N);
    for (int i = 0; i < N; i++) hang_up(c[i]);
    UNTIL(GET(ended) == N);
    down();
}

/* ---- What goes when over the wire --------------------------------------------------------------------------- */

TEST(full_duplex) {
    up(.threads = 1);
    client *c = dial();
    call *k = invoke(c, "naps");
    client_send(c);
    UNTIL(k->status == 200);                        /* before there is any body */
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
    note_sleep(1);
    send_on(k);
    UNTIL(frames_came(k, 2));
    SAYS(k, "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
    CHECK(!k->answered);
    note_sleep(2);
    send_on(k);
    UNTIL(k->answered);
    CHECK(!k->closed);
    SAYS(k, "Output value \"x\"", "End");
    CHECK_INT(k->empty, 0);
    CHECK_INT(k->frames, 3);
    note_void(0x8020, 5);                           /* nobody minds */
    end(k);
    UNTIL(k->closed);
    CHECK_INT(k->code, 0);
    down();
}

TEST(inactivity) {
    up(.threads = 1);
    call *k = invoke_alone("nap");
    client *c = k->on;
    UNTIL(frames_came(k, 2));
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    CHECK_INT(GET(ended), 1);
    k = invoke(c, "nap");                           /* request and response */
    given_input("x");
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Sleep 1 wake:...", "Suspension W{c:1,s:1}");
    CHECK_INT(k->frames, 1);
    CHECK_INT(k->empty, 0);
    CHECK_INT(GET(ended), 2);
    down();
}

TEST(trailers_end_the_input) {
    wire w;
    h2_frame f;
    rt_bytes b = { NULL, 0, 0 };
    up(.threads = 1);
    wire_open(&w);
    put_preface();
    put_request(1, "/invoke/S/nap", false);
    given_input("x");
    put_frame(NGHTTP2_DATA, 0, 1, rt_script.at, rt_script.len);
    hpack_field(&b, "x-trailer", "1");
    put_frame(NGHTTP2_HEADERS, 5, 1, b.at, b.len);
    wire_flush(&w);
    do CHECK(wire_frame(&w, &f));
    while (!w.gone && !(f.type == NGHTTP2_DATA && (f.flags & 1)));
    CHECK_INT(GET(ended), 1);
    rt_drop(&b);
    wire_close(&w);
    down();
}

TEST(pings) {
    up(.threads = 1);
    client *c = dial();
    call *parked = invoke(c, "nap"), *closure = invoke(c, "steps"), *blocking = invoke(c, "blocks");
    given_input("x"), give(parked, rt_script.at, rt_script.len);
    give(closure, rt_script.at, rt_script.len), give(blocking, rt_script.at, rt_script.len);
    rt_script.len = 0;
    UNTIL(GET(at_gate) == 2 && GET(started) == 1);
    for (int i = 0; i < 10; i++) settle(c);         /* while they wait */
    CHECK(!closure->closed && !blocking->answered);
    GOOD(c);
    open_gate();
    UNTIL(blocking->answered);
    SAYS(blocking, "Output value \"x\"", "End");
    UNTIL(frames_came(closure, 3));
    SAYS(closure, "Run 1 \"step\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 value \"stepped\" ack", "? AwaitingOn W{c:1,s:1}");
    note_ack(1);
    end(closure);
    UNTIL(closure->answered);
    SAYS(closure, "? AwaitingOn W{c:1,s:1}", "Output value \"stepped\"", "End");
    down();
}

TEST(blocking_handlers) {
    enum { N = 20 };
    call *k[N];
    up(.threads = 1);
    client *c = dial();
    for (int i = 0; i < N; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        k[i] = invoke(c, "blocks");
        given_input(text);
        send_on(k[i]);
    }
    UNTIL(GET(at_gate) == N);
    for (int i = 0; i < 10; i++) GOOD(c);
    for (int i = 0; i < N / 2; i++) reset(k[i]);    /* is seen by restate_stop_requested */
    UNTIL(GET(ended) == N / 2);
    GOOD(c);
    open_gate();
    for (int i = N / 2; i < N; i++) {
        char want[40];
        UNTIL(k[i]->answered);
        snprintf(want, sizeof want, "Output value \"%d\"", i);
        SAYS(k[i], want, "End");
    }
    down();
}

TEST(data_frames) {
    call *k;
    up(.threads = 1);
    client *c = dial();
    for (int i = 0; i < 6; i++) {
        k = invoke_as(c, 5 + (unsigned)i % 3, "echo");
        if (i < 3) settle(c);                       /* the head goes first */
        given_input("x");
        if (i % 2) send_on(k);
        else end(k);
        UNTIL(k->answered);
        CHECK_INT(k->frames, 1);
        CHECK_INT(k->empty, 0);
        SAYS(k, "Output value \"x\"", "End");
        end(k);
    }
    down();
}

TEST(s148_small_commands) {
    enum { N = 10000 };
    up(.threads = 1);
    client *c = dial();
    call *k = invoke(c, "flood_then_nap");
    given_input("10000 3");
    send_on(k);
    UNTIL(frames_came(k, N + 2));
    CHECK(GET(memory.peak) < 4 * MIB);
    size_t bytes = k->body.len;
    check_flood(k, N, 3, M_SLEEP);
    SAYS(k, "Sleep 10001 wake:...", "AwaitingOn W{c:10001,s:1}");
    CHECK(bytes > 20 * N);
    CHECK_INT(k->empty, 0);
    CHECK(k->frames <= bytes / 16384 + 8);
    CHECK(k->small <= 2);
    note_sleep(10001);
    end(k);
    UNTIL(k->closed);
    SAYS(k, "Output value \"\"", "End");
    down();
}

/* ---- Starting and stopping ------------------------------------------------------------------------------------ */

TEST(cannot_listen) {
    up(.threads = 1);
    restate_endpoint *other = endpoint_of((restate_endpoint_options){ .port = restate_endpoint_port(ep) });
    CHECK_INT(restate_endpoint_port(other), 0);
    CHECK_INT(restate_endpoint_run(other), RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(other), "cannot listen on 127.0.0.1:");
    CHECK_HAS(restate_endpoint_error(other), "choose another .port");
    CHECK_INT(restate_endpoint_port(other), 0);
    CHECK_INT(restate_endpoint_fd(other), -1);
    CHECK_INT(restate_endpoint_process(other, 0), RESTATE_ERROR);
    restate_endpoint_free(other);
    other = endpoint_of((restate_endpoint_options){ .address = "localhost" });
    CHECK_INT(restate_endpoint_run(other), RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(other), "not an IP address");
    restate_endpoint_free(other);
    other = endpoint_of((restate_endpoint_options){ .address = "192.0.2.1" });
    CHECK_INT(restate_endpoint_run(other), RESTATE_ERROR);
    CHECK_HAS(restate_endpoint_error(other), "choose another .address");
    restate_endpoint_free(other);
    {
        restate_endpoint_options o = { .services = RESTATE_SERVICES(&service), .address = "127.0.0.1" };
        o.port = restate_endpoint_port(ep);
        o.logger.write = on_log;
        CHECK_INT(restate_serve(&o), 1);
        CHECK_INT(GET(errors), 1);
        CHECK_HAS(last_error, "cannot listen on 127.0.0.1:");
        PUT(errors, 0);
    }
    client *c = dial();
    GOOD(c);
    down();
}

TEST(connections_are_logged) {
    up(.threads = 2, .log_connections = RESTATE_ON);
    ALIVE(), ALIVE(), ALIVE();
    UNTIL(GET(connections_told) == 6);
    down();
}

TEST(options_that_are_wrong) {
    restate_endpoint *e = endpoint_of((restate_endpoint_options){ .threads = 5000 });
    CHECK_INT(restate_endpoint_run(e), RESTATE_ERROR);
    CHECK_INT(restate_endpoint_fd(e), -1);
    CHECK_INT(restate_endpoint_process(e, 0), RESTATE_ERROR);
    CHECK_INT(restate_endpoint_port(e), 0);
    CHECK_HAS(restate_endpoint_error(e), ".threads");
    restate_endpoint_stop(e);
    restate_endpoint_free(e);
    CHECK_INT(restate_endpoint_run(NULL), RESTATE_ERROR);
    CHECK_INT(restate_endpoint_fd(NULL), -1);
    CHECK_INT(restate_endpoint_port(NULL), 0);
    CHECK_INT(restate_endpoint_process(NULL, 0), RESTATE_ERROR);
    restate_endpoint_stop(NULL);
    restate_endpoint_free(NULL);
    CHECK_INT(GET(memory.live), 0);
}

TEST(every_interface) {
    prepare((restate_endpoint_options){ .threads = 1, .address = NULL });
    restate_endpoint_free(ep);
    {
        restate_endpoint_options o = { .services = RESTATE_SERVICES(&service), .port = RESTATE_ANY_PORT, .threads = 1 };
        o.logger.write = on_log;
        ep = restate_endpoint_new(&o);
    }
    if (pthread_create(&runner, NULL, run_it, ep)) abort();
    UNTIL(restate_endpoint_port(ep) || GET(run_over));
    ALIVE();
    down();
}

/* ---- In the event loop of the program ------------------------------------------------------------------------- */

TEST(hosted) {
    up_hosted(.threads = 0);
    CHECK(restate_endpoint_port(ep) != 0);
    client *c = dial();
    GOOD(c);
    call *k = invoke(c, "nap"), *closure = invoke(c, "steps");
    given_input("x"), give(k, rt_script.at, rt_script.len), send_on(closure);
    UNTIL(GET(at_gate) == 1 && frames_came(k, 2));
    GOOD(c);
    open_gate();
    UNTIL(frames_came(closure, 3));
    note_ack(1);
    end(closure);
    UNTIL(closure->closed);
    restate_endpoint_stop(ep);                      /* timers included: nobody else calls process */
    UNTIL(k->answered);
    SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    end(k);
    UNTIL(run_over);
    CHECK_INT(ran, RESTATE_ENDED);
    CHECK_INT(restate_endpoint_process(ep, 1000), RESTATE_ENDED);
    CHECK_INT(restate_endpoint_run(ep), RESTATE_OK);
    freed();
}

/* More than one turn can do: the descriptor stays readable, nothing else wakes the loop. */
TEST(hosted_and_busy) {
    up_hosted(.threads = 1);
    client *c = dial_to(.window = INT32_MAX, .room = INT32_MAX);
    call *k = invoke(c, "flood");
    given_input("100 65536");
    end(k);
    UNTIL(k->closed);
    check_flood(k, 100, 65536, M_OUTPUT);
    down();
}

/* What it listens on is not always what a server can be told. */
TEST(how_to_register) {
    static const struct { const char *address, *url, *after; } cases[] = {
        { "::", "http://localhost:", " (for a server in a container: host.docker.internal)" },
        { "0.0.0.0", "http://localhost:", " (for a server in a container: host.docker.internal)" },
        { "127.0.0.1", "http://127.0.0.1:", "" },
        { "::1", "http://[::1]:", "" },
        { "::0", "http://localhost:", " (for a server in a container: host.docker.internal)" },
        { "0:0:0:0:0:0:0:1", "http://[::1]:", "" },
        { "0", "http://localhost:", " (for a server in a container: host.docker.internal)" },
        { "127.1", "http://127.0.0.1:", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[200];
        prepare((restate_endpoint_options){ .address = cases[i].address });
        hosted = true;
        if (restate_endpoint_fd(ep) >= 0) {
            snprintf(expected, sizeof expected, "restate deployments register %s%u%s", cases[i].url,
                     restate_endpoint_port(ep), cases[i].after);
            CHECK_STR(told_how, expected);
        } else {
            CHECK(strchr(cases[i].address, ':'));       /* no IPv6 here */
        }
        freed();
    }
}

/* Nothing else is due here: what waited longer than it was told would wait for ever. */
TEST(process_waits_as_long_as_told) {
    up_hosted(.threads = 1);
    host_fd = -1;
    for (int i = 0; i < 50; i++) CHECK_INT(restate_endpoint_process(ep, 0), RESTATE_OK);
    uint64_t before = now_ms();
    CHECK_INT(restate_endpoint_process(ep, 50), RESTATE_OK);
    CHECK(now_ms() - before >= 49);
    restate_endpoint_stop(ep);
    CHECK_INT(restate_endpoint_process(ep, HOUR_MS), RESTATE_ENDED);
    freed();
}

/* An idle endpoint leaves its descriptor quiet. */
TEST(hosted_and_idle) {
    struct pollfd p;
    up_hosted(.threads = 1);
    client *c = dial();
    GOOD(c);
    call *k = invoke(c, "nap");
    given_input("x");
    send_on(k);
    UNTIL(frames_came(k, 2));
    settle(c);
    p.fd = host_fd, p.events = POLLIN, p.revents = 0;
    CHECK_INT(poll(&p, 1, 150), 0);
    hang_up(c);
    CHECK_INT(poll(&p, 1, PATIENCE_MS), 1);
    UNTIL(GET(ended) == 1 && GET(ep->server->loops[0].conn_count) == 0);
    CHECK_INT(poll(&p, 1, 50), 0);
    down();
}

TEST(freed_while_all_is_running) {
    for (int threads = 0; threads < 2; threads++) {
        call *k[6];
        up_hosted(.threads = 1);
        client *c = dial_to(.window = 1000, .keep_window = true);
        k[0] = invoke(c, "nap"), k[1] = invoke(c, "flood"), k[2] = invoke(c, "steps_obediently");
        k[3] = invoke(c, "blocks"), k[4] = invoke(c, "nap"), k[5] = invoke(c, "nap");
        given_input("x"), give(k[0], rt_script.at, rt_script.len), give(k[2], rt_script.at, rt_script.len);
        give(k[3], rt_script.at, rt_script.len), give(k[4], rt_script.at, rt_script.len - 1), rt_script.len = 0;
        given_input("1000 65536"), send_on(k[1]);
        UNTIL(GET(at_gate) == 2 && GET(started) == 2);
        if (threads) restate_endpoint_stop(ep), pump_for(300);
        host_fd = -1;
        restate_endpoint_free(ep);
        ep = NULL;
        CHECK_INT(GET(ended), 4);
        CHECK_INT(GET(memory.live), 0);
        UNTIL(c->gone);
        hang_up(c);
        CHECK_INT(open_fds(), fds_before);
        rt_free_all();
    }
}

/* ---- Everything at once ----------------------------------------------------------------------------------------- */

static unsigned dice(unsigned sides) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)(state >> 20) % sides;
}

TEST(chaos) {
    static const char *const handlers[] = { "echo", "nap", "naps", "flood", "steps_obediently", "blocks", "where", "nope" };
    client *c[6] = { NULL };
    up(.threads = 2, .pool_threads = 8);
    uint64_t until = now_ms() + 1000;
    while (now_ms() < until) {
        unsigned i = dice(6);
        if (c[i] && (c[i]->gone || dice(40) == 0)) {
            if (dice(2)) client_send(c[i]);
            hang_up(c[i]);
            c[i] = NULL;
        }
        if (!c[i]) c[i] = dial_to(.window = dice(3) ? 0 : 1 + dice(2000), .keep_window = dice(4) == 0);
        if (dice(3)) {
            call *k = invoke_as(c[i], 4 + dice(4), handlers[dice(8)]);
            if (k->id < 0) break;
            start(1 + dice(2));
            input(dice(2) ? "30 5000" : "3 7");
            if (dice(2)) cmd_sleep(1, "", 5), note_sleep(1);
            if (dice(4) == 0) note_sleep(2);
            if (dice(8) == 0) rt_script.at[dice((unsigned)rt_script.len)] ^= (uint8_t)(1 + dice(255));
            k->up.piece = dice(3) ? 0 : 1 + dice(20);
            if (dice(2)) end(k);
            else send_on(k);
            if (dice(5) == 0) client_send(c[i]), reset(k);
        }
        if (dice(10) == 0) nghttp2_submit_ping(c[i]->session, 0, NULL);
        if (dice(300) == 0) open_gate();
        if (dice(4) == 0) patience_until = until + PATIENCE_MS, pump(-1);
    }
    open_gate();
    ALIVE();
    PUT(errors, 0);
    down();
}

/* The same requests with bytes turned over, at any place behind the preface. */
TEST(mutated_connections) {
    up(.threads = 1);
    for (int i = 0; i < (SLOW > 4 ? 60 : 400); i++) {
        wire w;
        uint8_t in[4096];
        struct pollfd p;
        wire_open(&w);
        put_preface();
        put_request(1, "/invoke/S/naps", false);
        given_input("x");
        put_frame(NGHTTP2_DATA, 0, 1, rt_script.at, rt_script.len);
        rt_script.len = 0;
        put_frame(NGHTTP2_WINDOW_UPDATE, 0, 1, "\0\0\1\0", 4);
        note_sleep(1);
        put_frame(NGHTTP2_DATA, 1, 1, rt_script.at, rt_script.len);
        rt_script.len = 0;
        put_frame(NGHTTP2_PING, 0, 0, "12345678", 8);
        for (unsigned n = 1 + dice(5); n; n--) raw_out.at[24 + dice((unsigned)raw_out.len - 24)] = (uint8_t)dice(256);
        wire_flush(&w);
        p.fd = w.fd, p.events = POLLIN, p.revents = 0;
        if (dice(2) && poll(&p, 1, 2) > 0) {
            ssize_t n = recv(w.fd, in, sizeof in, 0);
            (void)n;
        }
        wire_close(&w);
    }
    ALIVE();
    down();
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(default_options), T(health_and_versions), T(refusals), T(refusals_of_strange_bytes), T(paths),
        T(head_request), T(discovery), T(discovery_needs_newer_version), T(interleaved),
        T(hundred_streams), T(streams_beyond_the_limit), T(too_many_invocations),
        T(loops_share_the_connections), T(full_duplex), T(inactivity), T(trailers_end_the_input),
        T(pings), T(blocking_handlers), T(data_frames), T(s148_small_commands), T(cannot_listen),
        T(connections_are_logged), T(options_that_are_wrong), T(every_interface), T(hosted),
        T(hosted_and_busy), T(how_to_register), T(process_waits_as_long_as_told),
        T(hosted_and_idle), T(freed_while_all_is_running), T(chaos), T(mutated_connections),
        { NULL, NULL }
    };
    return server_main(argc, argv, cases);
}
