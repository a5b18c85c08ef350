/* Section >>server, over real sockets: how it stops: what it waits for, what it cuts, what it names.
 * See support/server.c for the clients. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "support/server.c"
#include "support/child.c"

/* ---- Starting and stopping ------------------------------------------------------------------------------------ */

TEST(stop_comes_early) {
    prepare((restate_endpoint_options){ .threads = 3 });
    restate_endpoint_stop(ep);                      /* before there is anything to stop */
    CHECK_INT(restate_endpoint_run(ep), RESTATE_OK);
    CHECK_INT(restate_endpoint_run(ep), RESTATE_OK);
    freed();
    prepare((restate_endpoint_options){ .threads = 3 });
    freed();                                        /* never used */
    prepare((restate_endpoint_options){ .threads = 3 });
    CHECK(restate_endpoint_fd(ep) >= 0);
    freed();                                        /* listens, and that is all */
}

TEST(graceful_stop) {
    up(.threads = 2);
    client *idle = dial();
    GOOD(idle);
    client *silent = dial();                        /* connected, and never says a word */
    silent->deaf = true;
    client *c = dial();
    call *parked = invoke(c, "nap"), *closure = invoke(c, "steps"), *finishing = invoke(c, "blocks_on");
    given_input("x"), give(parked, rt_script.at, rt_script.len);
    give(closure, rt_script.at, rt_script.len), give(finishing, rt_script.at, rt_script.len);
    rt_script.len = 0;
    UNTIL(GET(at_gate) == 2 && frames_came(parked, 2));
    restate_endpoint_stop(ep);
    UNTIL(c->goaways == 2 && c->last_id == finishing->id);
    CHECK_INT(c->goaway_code, 0);
    UNTIL(parked->closed || parked->answered);
    SAYS(parked, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    end(parked);
    UNTIL(idle->gone);
    CHECK(idle->goaways >= 1);                      /* a client of nghttp2 does not answer the PING then */
    CHECK(!GET(run_over));                          /* waits for the closure */
    settle(c);
    open_gate();
    UNTIL(finishing->answered && closure->answered);
    SAYS(finishing, "Output value \"x\"", "End");
    SAYS(closure, "Run 1 \"step\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 value \"stepped\" ack", "? AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
    end(closure), end(finishing);
    UNTIL(c->gone);
    stopped();
}

/* Between the notice and the last GOAWAY streams are still taken, but no work. */
TEST(requests_during_a_stop) {
    wire w;
    h2_frame f;
    uint8_t ping[8] = { 0 };
    unsigned answered = 0;
    rt_bytes get = raw_headers("GET", "/health");
    up(.threads = 1);
    wire_open(&w);
    put_preface();
    put_request(1, "/invoke/S/nap", false);
    given_input("x");
    put_frame(NGHTTP2_DATA, 0, 1, rt_script.at, rt_script.len);
    rt_script.len = 0;
    wire_flush(&w);
    CHECK(wire_until(&w, NGHTTP2_DATA, 1, &f));
    restate_endpoint_stop(ep);
    CHECK(wire_until(&w, NGHTTP2_GOAWAY, 0, &f));
    CHECK(f.len >= 8 && memcmp(f.at, "\x7f\xff\xff\xff\0\0\0\0", 8) == 0);
    CHECK(wire_until(&w, NGHTTP2_PING, 0, &f));
    if (f.len == 8) memcpy(ping, f.at, 8);
    put_request(3, "/invoke/S/echo", true);
    put_frame(NGHTTP2_HEADERS, 5, 5, get.at, get.len);
    put_frame(NGHTTP2_PING, 1, 0, ping, 8);
    wire_flush(&w);
    while (wire_frame(&w, &f)) {
        if (f.type == NGHTTP2_HEADERS) CHECK_INT(f.status, f.id == 3 ? 503 : 200);
        if (f.id > 0 && f.id < 8 && (f.flags & 1)) answered |= 1u << f.id;
        if (f.type == NGHTTP2_GOAWAY) {
            CHECK(f.len >= 8 && memcmp(f.at, "\0\0\0\5\0\0\0\0", 8) == 0);
            put_request(7, "/invoke/S/echo", true); /* beyond it: ignored */
            wire_flush(&w);
        }
        if (f.type == NGHTTP2_DATA && f.id == 1 && (f.flags & 1)) {
            put_frame(NGHTTP2_DATA, 1, 1, NULL, 0);
            wire_flush(&w);
        }
    }
    CHECK(w.gone);
    CHECK_INT(answered, 1u << 1 | 1u << 3 | 1u << 5);
    CHECK_INT(GET(ended), 1);
    wire_close(&w);
    rt_drop(&get);
    stopped();
}

/* Invocations whose journal is on its way when the endpoint is stopped, cut at every kind of place. */
static unsigned begin_journals(client *c, call **calls, size_t *at, rt_bytes *body, size_t *replay) {
    unsigned n = 0, place;
    *body = nap_body(replay);
    for (place = 0; place < 9; place++) {
        size_t cuts[9] = { 0, 1, 7, 8, 9, *replay / 3, *replay / 2, *replay - 9, *replay - 1 };
        at[n] = cuts[place];
        calls[n] = invoke(c, "naps");
        give(calls[n], body->at, at[n]);
        n++;
    }
    settle(c);
    return n;
}

TEST(journal_arrives_during_a_stop) {
    call *calls[16];
    size_t at[16], replay;
    rt_bytes body;
    up(.threads = 1);
    client *c = dial();
    unsigned n = begin_journals(c, calls, at, &body, &replay);
    restate_endpoint_stop(ep);
    UNTIL(c->goaways == 2);
    pump_for(300);                                  /* nothing is held against them */
    for (unsigned i = 0; i < n; i++) CHECK(!calls[i]->answered && !calls[i]->closed && !calls[i]->body.len);
    for (unsigned i = 0; i < n; i++) {
        note("(cut at %u of %u)", (unsigned)at[i], (unsigned)replay);
        for (; at[i] < replay; at[i]++) give(calls[i], body.at + at[i], 1);
        UNTIL(calls[i]->answered);
        SAYS(calls[i], "Sleep 2 wake:...", "? AwaitingOn W{c:2,s:1}", "Suspension W{c:2,s:1}");
        calls[i]->up.over = true;
        resume(calls[i]);
        UNTIL(calls[i]->closed);
        CHECK_INT(calls[i]->code, 0);
    }
    test_note = "";
    CHECK_INT(GET(ended), n);
    rt_drop(&body);
    stopped();
}

/* When the time is over, or a second stop came, they are cut without a word. */
TEST(journal_does_not_arrive_during_a_stop) {
    for (int twice = 0; twice < 2; twice++) {
        call *calls[16];
        size_t at[16], replay;
        rt_bytes body;
        up(.threads = 1, .drain_ms = twice ? 0 : 300);
        client *c = dial();
        unsigned n = begin_journals(c, calls, at, &body, &replay);
        restate_endpoint_stop(ep);
        UNTIL(c->goaways >= 1);
        if (twice) restate_endpoint_stop(ep);
        UNTIL(c->gone);
        for (unsigned i = 0; i < n; i++) {
            CHECK_INT(calls[i]->body.len, 0);
            CHECK(!calls[i]->answered);
        }
        CHECK_INT(GET(failed_lines), 0);
        CHECK_INT(GET(started), 0);
        rt_drop(&body);
        stopped();
    }
}

/* A new connection is refused at the latest when the stop was seen. */
TEST(connections_during_a_stop) {
    up(.threads = 1);
    struct sockaddr_in at = h2_address(restate_endpoint_port(ep));
    call *k = invoke_alone("steps");
    client *c = k->on;
    UNTIL(GET(at_gate) == 1);
    restate_endpoint_stop(ep);
    UNTIL(c->goaways >= 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&at, sizeof at) == -1 && errno == ECONNREFUSED);
    close(fd);
    open_gate();
    UNTIL(k->answered);
    end(k);
    stopped();
}

/* Closures and blocking handlers that ask are told of the stop at once. */
TEST(stop_is_told) {
    up(.threads = 1);
    client *c = dial();
    call *closure = invoke(c, "steps_obediently"), *blocking = invoke(c, "blocks");
    given_input("x"), give(closure, rt_script.at, rt_script.len), send_on(blocking);
    UNTIL(GET(at_gate) == 2);
    restate_endpoint_stop(ep);
    UNTIL(closure->answered && blocking->answered);
    SAYS(closure, "Run 1 \"step\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 value \"stepped\" ack", "? AwaitingOn W{c:1,s:1}",
         "Suspension W{c:1,s:1}");
    SAYS(blocking, "Error 500 ...");
    end(closure), end(blocking);
    stopped();
}

TEST(second_stop_cuts) {
    up(.threads = 2);
    client *c = dial_to(.window = 1000, .keep_window = true);
    call *closure = invoke(c, "steps"), *blocking = invoke(c, "blocks_on"), *flooding = invoke(c, "flood");
    given_input("x"), give(closure, rt_script.at, rt_script.len), send_on(blocking);
    given_input("100 65536"), send_on(flooding);
    UNTIL(GET(at_gate) == 2);
    until_stalled();
    restate_endpoint_stop(ep);
    UNTIL(c->goaways >= 1);
    pump_for(300);
    CHECK(!GET(run_over));
    restate_endpoint_stop(ep);
    UNTIL(closure->closed && blocking->closed && flooding->closed);
    CHECK_INT(closure->code, NGHTTP2_CANCEL);
    CHECK_INT(blocking->code, NGHTTP2_CANCEL);
    CHECK_INT(flooding->code, NGHTTP2_CANCEL);
    UNTIL(c->gone);
    CHECK(!GET(run_over));                          /* handlers are waited for, a while */
    open_gate();
    UNTIL(GET(run_over));
    CHECK_INT(GET(ended), 2);                       /* the blocking one called nothing that could tell it */
    stopped();
}

TEST(drain_time_is_over) {
    up(.threads = 1, .drain_ms = 300);
    call *k = invoke_alone("steps");
    UNTIL(GET(at_gate) == 1);
    uint64_t before = now_ms();
    restate_endpoint_stop(ep);
    UNTIL(k->closed);
    CHECK_INT(k->code, NGHTTP2_CANCEL);
    open_gate();
    UNTIL(GET(run_over));
    CHECK(now_ms() - before >= 299);                /* and no hour */
    CHECK_INT(GET(ended), 1);
    stopped();
}

/* The time to drain is that of the endpoint's clock, and one that is not real time is looked at
 * while the loops wait, whether run waits or the program does. The last GOAWAY needs no time. */
TEST(drain_time_by_the_clock) {
    for (int in_a_loop = 0; in_a_loop < 2; in_a_loop++) {
        const restate_endpoint_options o = { .threads = 1, .drain_ms = RESTATE_HOURS(2),
                                             .clock = MOVED_CLOCK };
        if (in_a_loop) up_hosted_with(o);
        else up_with(o);
        client *c = dial();
        call *k = invoke(c, "steps");
        given_input("x");
        send_on(k);
        UNTIL(GET(at_gate) == 1);
        restate_endpoint_stop(ep);
        UNTIL(c->goaways == 2);                     /* the last one follows the answer to PING; the rest waits */
        later(c, HOUR_MS);
        CHECK(!k->closed && !GET(run_over));
        PUT(clock_ms, clock_ms + HOUR_MS);
        UNTIL(k->closed);
        CHECK_INT(k->code, NGHTTP2_CANCEL);
        open_gate();
        stopped();
    }
}

/* So are all times that a loop waits for. */
TEST(request_time_by_the_clock) {
    for (int in_a_loop = 0; in_a_loop < 2; in_a_loop++) {
        const restate_endpoint_options o = { .threads = 1, .request_timeout_ms = RESTATE_HOURS(2),
                                             .peer_timeout_ms = RESTATE_ZERO_MS,
                                             .clock = MOVED_CLOCK };
        if (in_a_loop) up_hosted_with(o);
        else up_with(o);
        client *c = dial();
        call *k = invoke(c, "nap");
        start(2);                           /* the input does not come */
        send_on(k);
        settle(c);
        later(c, HOUR_MS);
        CHECK(!k->closed);
        for (int i = 0; i < 8 && !k->closed; i++) later(c, HOUR_MS);    /* a late look is put off */
        CHECK(k->closed);
        CHECK_INT(k->code, NGHTTP2_CANCEL);
        down();
    }
}

/* A hundred attempts of one step, two threads for closures. When the attempts are over - the connection is
 * lost, every stream is reset, the time to drain is over, a second stop comes - no other step begins, and
 * nobody waits for one. */
TEST(steps_that_wait_for_a_thread) {
    enum { N = 100 };
    for (int way = 0; way < 4; way++) {
        call *k[N];
        test_note = (const char *const[]){ "(hang up)", "(reset)", "(drain)", "(second stop)" }[way];
        up(.threads = 1, .pool_threads = 2, .drain_ms = way == 2 ? 200 : 0);
        client *c = dial();
        for (int i = 0; i < N; i++) {
            k[i] = invoke(c, "steps");
            given_input("x");
            send_on(k[i]);
        }
        for (int i = 0; i < N; i++) UNTIL(k[i]->body.len > 0);      /* the command */
        UNTIL(GET(at_gate) == 2);
        CHECK_INT(GET(ep->invocations), N);
        if (way == 0) hang_up(c);
        for (int i = 0; way == 1 && i < N; i++) reset(k[i]);
        if (way >= 2) restate_endpoint_stop(ep);
        if (way == 3) restate_endpoint_stop(ep);
        UNTIL(GET(ep->invocations) == 2);
        CHECK_INT(GET(ended), N - 2);
        if (way < 2) {                      /* who comes now has to wait for these two only */
            client *other = dial();
            call *late = invoke(other, "steps");
            given_input("x");
            send_on(late);
            open_gate();
            UNTIL(late->body.len > 20);
            CHECK_INT(GET(at_gate), 3);
            down();
        } else {
            open_gate();
            UNTIL(GET(run_over));
            CHECK_INT(GET(at_gate), 2);
            stopped();
        }
        CHECK_INT(GET(ended), way < 2 ? N + 1 : N);
        test_note = "";
    }
}

/* A closure, or a blocking handler, that goes on and on: run gives up on it after a while and names it;
 * freeing the endpoint waits for it. */
TEST(work_outlives_run) {
    static const struct { const char *handler, *name; } ways[] = {
        { "steps", "stopped, but the closure \"step\" of S/steps (invocation 123) does not return" },
        { "blocks_on", "stopped, but the blocking handler S/blocks_on (invocation 123) does not return" }
    };
    for (int i = 0; i < (SLOW > 1 ? 2 : 4); i++) {
        note("(%s, %s)", ways[i % 2].handler, i < 2 ? "run" : "process");
        if (i < 2) up(.threads = 2, .drain_ms = RESTATE_ZERO_MS);
        else up_hosted(.threads = 1, .drain_ms = RESTATE_ZERO_MS);
        client *c = dial();
        call *k = invoke(c, ways[i % 2].handler);
        given_input("x");
        send_on(k);
        UNTIL(GET(at_gate) == 1);
        impatient();
        restate_endpoint_stop(ep);
        UNTIL(k->closed && c->gone);
        UNTIL(GET(run_over));
        CHECK_INT(GET(ended), 0);
        stopped_without(ways[i % 2].name);
        if (i % 2 == 0) CHECK_INT(GET(ended), 1);
    }
}

/* A handler that never returns is named while it holds its loop, its other connections with it; others are
 * accepted and served. In the end run says whose fault it was that it took so long. */
TEST(handler_holds_its_loop) {
    for (unsigned threads = 1; threads <= (SLOW > 1 ? 2 : 3); threads++) {
        note("(%u loops)", threads);
        up(.threads = threads, .drain_ms = 100);
        client *c = dial();
        settle(c);
        call *k = invoke(c, "holds");
        start(1, .debug_id = "inv_1gdJtdVVcM919dOBhoVBm3fUMlaIHnANr");
        input("x");
        send_on(k);
        UNTIL(GET(started) == 1);
        for (int i = 0; threads > 1 && i < 8; i++) ALIVE();     /* at once, and one after the other */
        UNTIL(GET(holds_told) >= 1);
        CHECK_HAS(hold_told, "S/holds inv_1gdJtdVVcM919dOBhoVBm3fUMlaIHnANr: the handler holds its event loop, for ");
        UNTIL(GET(holds_told) >= 2);                            /* again, and less often */
        for (int i = 0; threads > 1 && i < 8; i++) ALIVE();
        client *other = dial();                                 /* accepted, whoever serves it */
        if (threads > 1) GOOD(other);
        impatient();
        restate_endpoint_stop(ep);
        UNTIL(GET(run_over));
        CHECK_INT(GET(ended), 0);
        stopped_without("stopped, but the handler S/holds (invocation inv_1gdJtdVVcM919dOBhoVBm3fUMlaIHnANr) "
                        "does not return");
    }
}

/* All loops are held: nothing is served, but everything is named, and the stop works. */
TEST(handlers_hold_all_loops) {
    client *c[4];
    up(.threads = 3, .drain_ms = RESTATE_ZERO_MS);
    for (int i = 0; i < 4; i++) c[i] = dial();
    for (int i = 0; i < 3; i++) {
        settle(c[i]);
        call *k = invoke(c[i], "holds");
        given_input("x");
        send_on(k);
    }
    UNTIL(GET(started) == 3);
    UNTIL(GET(holds_told) >= 3);
    impatient();
    restate_endpoint_stop(ep);
    restate_endpoint_stop(ep);
    UNTIL(GET(run_over));
    stopped_without("does not return, nor do 2 others");
}

/* Connections that come as soon as a handler holds a loop, before that is known, are given to it and
 * taken back: others serve them. (What the loop had taken before waits with it.) */
TEST(connections_leave_a_held_loop) {
    client *c[12];
    up(.threads = 2);
    c[0] = dial();
    settle(c[0]);
    call *k = invoke(c[0], "holds");
    given_input("x");
    send_on(k);
    UNTIL(GET(started) == 1);
    for (int i = 1; i < 12; i++) c[i] = dial();
    for (int i = 1; i < 12; i++) GOOD(c[i]);
    CHECK(!k->closed);
    open_gate();
    UNTIL(GET(ended) == 0 && k->answered);
    end(k);
    down();
}

/* One that is late is no news once it is back. */
TEST(handler_holds_its_loop_for_a_while) {
    up(.threads = 1);
    client *c = dial();
    call *k = invoke(c, "holds");
    given_input("x");
    end(k);
    UNTIL(GET(holds_told) >= 1);
    open_gate();
    UNTIL(k->closed);
    SAYS(k, "Output value \"x\"", "End");
    GOOD(c);
    unsigned told = GET(holds_told);
    pump_for(1200);
    CHECK_INT(GET(holds_told), told);
    down();
}

/* A blocking handler holds the loop in a hook of its calls, and is named like others. */
TEST(hook_holds_its_loop) {
    up(.threads = 2);
    call *k = invoke_alone("calls");
    UNTIL(GET(holds_told) >= 1);
    CHECK_HAS(hold_told, "S/calls 123: the handler holds its event loop, for ");
    ALIVE();
    open_gate();
    UNTIL(frames_came(k, 1));
    end(k);
    UNTIL(k->closed);
    down();
}

/* Nobody lets it go: free returns all the same, and what may still be used stays. A process of its own, for
 * that is lost. */
static const char *held_in;                 /* the handler */
static void never_returns(void) {
    up(.threads = 2, .drain_ms = RESTATE_ZERO_MS);
    client *c = dial();
    call *k = invoke(c, held_in);
    given_input("x");
    send_on(k);
    UNTIL(GET(started) + GET(at_gate) == 1);
    impatient();
    restate_endpoint_stop(ep);
    UNTIL(GET(run_over));
    restate_endpoint_free(ep);
    CHECK_HAS(last_error, "the endpoint is not released");
    open_gate();                            /* it returns after all, into what was left for it */
    nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
    _exit(test_failures ? 1 : 77);
}

TEST(free_does_not_wait_for_ever) {
    static const char *const handlers[] = { "holds", "steps", "blocks_on" };
    if (SLOW > 1) return;                   /* those report what stays */
    for (int i = 0; i < 3; i++) {
        held_in = handlers[i];
        note("(%s)", held_in);
        int status = in_child(never_returns);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 77);
    }
}

/* Without any time to drain, with clients that do not react, on several loops. */
TEST(stop_without_a_drain) {
    up(.threads = 4, .drain_ms = RESTATE_ZERO_MS);
    for (int i = 0; i < 8; i++) {
        client *c = dial();
        call *k = invoke(c, i % 2 ? "nap" : "flood");
        given_input(i % 2 ? "x" : "1000 65536");
        send_on(k);
        client_send(c);
        c->deaf = i % 3 != 0;
    }
    UNTIL(GET(started) == 8);
    restate_endpoint_stop(ep);
    stopped();
}

static void on_signal(int number) {
    (void)number;
    restate_endpoint_stop(ep);
}

TEST(stop_from_a_signal_handler) {
    struct sigaction act;
    up(.threads = 2);
    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal;
    sigaction(SIGUSR1, &act, NULL);
    call *k = invoke_alone("nap");
    UNTIL(frames_came(k, 2));
    raise(SIGUSR1);
    UNTIL(k->answered);
    end(k);
    UNTIL(GET(run_over));
    stopped();
}

TEST(stop_under_load) {
    client *c[6];
    unsigned asked = 0, good = 0, refused = 0, cut = 0;
    up(.threads = 3);
    for (int i = 0; i < 6; i++) c[i] = dial();
    for (int round = 0; round < 30; round++) {
        if (round == 15) {
            call *first = c[0]->calls;
            while (first && first->next) first = first->next;
            UNTIL(!first || first->answered);
            restate_endpoint_stop(ep);
        }
        for (int i = 0; i < 6; i++) {
            if (c[i]->goaways || c[i]->gone) continue;
            call *k = invoke(c[i], round % 3 ? "echo" : "nap");
            given_input("x");
            end(k);
            client_send(c[i]);
            asked++;
        }
        pump(-1);
    }
    UNTIL(c[0]->gone && c[1]->gone && c[2]->gone && c[3]->gone && c[4]->gone && c[5]->gone);
    for (int i = 0; i < 6; i++)
        for (call *k = c[i]->calls; k; k = k->next) {
            if (k->status == 200 && k->answered) good++;
            else if (k->status == 503) refused++;
            else cut++;
        }
    CHECK_INT(good + refused + cut, asked);
    CHECK(good > 0);
    for (int i = 0; i < 6; i++)                     /* whoever was taken was answered */
        for (call *k = c[i]->calls; k; k = k->next)
            CHECK(k->answered || k->id > c[i]->last_id);
    stopped();
}

/* ---- Stopped from inside, and by many ------------------------------------------------------------------------- */

static restate_status stops(restate_ctx *ctx, restate_bytes in) {
    restate_endpoint_stop(ep);
    return restate_reply(ctx, in);
}

static restate_status stops_and_naps(restate_ctx *ctx, restate_bytes in) {
    restate_endpoint_stop(ep);
    return nap(ctx, in);
}

static restate_status step_stops(restate_ctx *run, void *arg) {
    (void)arg;
    restate_endpoint_stop(ep);
    return restate_reply(run, restate_str("stopped"));
}
static restate_status steps_and_stops(restate_ctx *ctx, restate_bytes in) {
    restate_bytes result;
    (void)in;
    RESTATE_TRY(restate_run(ctx, "step", step_stops, NULL, NULL, &result));
    return restate_reply(ctx, result);
}
static restate_status steps_here_and_stops(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options here = { .inline_ok = true };
    restate_bytes result;
    (void)in;
    RESTATE_TRY(restate_run(ctx, "step", step_stops, NULL, &here, &result));
    return restate_reply(ctx, result);
}

static void stops_while(void *user, restate_ctx *ctx) {
    (void)user, (void)ctx;
    restate_endpoint_stop(ep);
}
static const restate_hooks stopping = { .begin = stops_while };

static const restate_service from_inside = { .name = "S", .handlers = RESTATE_HANDLERS(
    { .name = "stops", .fn = stops }, { .name = "stops_blocking", .fn = stops, .options.blocking = RESTATE_ON },
    { .name = "stops_in_a_hook", .fn = echo, .options.hooks = &stopping },
    { .name = "stops_and_naps", .fn = stops_and_naps }, { .name = "steps_and_stops", .fn = steps_and_stops },
    { .name = "steps_here_and_stops", .fn = steps_here_and_stops }) };

/* What a handler, a closure or a hook does that stops its own endpoint is done to the end; a closure's
 * result is sent, and the attempt suspends. */
TEST(stop_from_inside) {
    for (size_t i = 0; i < 12; i++) {
        const restate_handler *h = &from_inside.handlers[i / 2];
        note("(%s, %s)", h->name, i % 2 ? "process" : "run");
        if (i % 2) up_hosted(.threads = 1, .services = RESTATE_SERVICES(&from_inside));
        else up(.threads = 2, .services = RESTATE_SERVICES(&from_inside));
        call *k = invoke_alone(h->name);
        UNTIL(k->answered);
        if (h->fn == stops_and_naps)
            SAYS(k, "Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
        else if (i < 8) SAYS(k, "Output value \"x\"", "End");
        else SAYS(k, "Run 1 \"step\"", "? AwaitingOn W{c:1,s:1}", "Propose 1 value \"stopped\" ack",
                  "? AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
        end(k);
        stopped();
        test_note = "";
    }
}

static void *stops_it(void *arg) {
    restate_endpoint_stop(ep);
    return arg;
}

/* Many threads at once, while it serves: one of them is the first, all others are a second stop. */
TEST(stopped_by_many_threads) {
    pthread_t threads[8];
    up(.threads = 2);
    call *k = invoke_alone("nap"), *closure = invoke_alone("steps_obediently");
    UNTIL(GET(at_gate) == 1 && GET(started) == 1);
    for (int i = 0; i < 8; i++) if (pthread_create(&threads[i], NULL, stops_it, NULL)) abort();
    UNTIL(GET(run_over));
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    UNTIL(k->on->gone && closure->on->gone);
    CHECK_INT(GET(ended), 2);
    stopped();
}

/* ---- At every moment of a busy life ---------------------------------------------------------------------------- */

enum { BUSY = 7 };
static const char *const busy_handlers[BUSY] = { "echo", "nap", "naps", "steps_obediently", "blocks",
                                                 "flood", "nowhere" };

typedef struct life {
    client *reads, *deaf;                   /* the second one lets what it is sent lie, for now */
    call *calls[BUSY];
    rt_bytes body[BUSY];
    size_t given[BUSY];
} life;

static void life_begin(life *l) {
    size_t replay;
    memset(l, 0, sizeof *l);
    l->reads = dial();
    l->deaf = dial_to(.rcvbuf = 4096);
    for (int i = 0; i < BUSY; i++) {
        l->calls[i] = invoke(i == 5 ? l->deaf : l->reads, busy_handlers[i]);
        l->body[i] = nap_body(&replay);
        l->body[i].len = replay;
        if (i == 2) continue;
        given_input(i == 5 ? "60 20000" : "x");
        l->body[i].len = 0;
        rt_add(&l->body[i], rt_script.at, rt_script.len);
        rt_script.len = 0;
    }
}

/* Some more bytes of all requests, and whatever follows from those before. */
static void life_turn(life *l) {
    for (int i = 0; i < BUSY; i++) {
        size_t left = l->body[i].len - l->given[i], n = left < 8 ? left : 8;
        if (n) give(l->calls[i], l->body[i].at + l->given[i], n);
        l->given[i] += n;
    }
    l->deaf->deaf = true;
    pump(-1);
}

/* What was open comes to its end. */
static void life_ends(life *l) {
    l->deaf->deaf = false;
    for (int i = 0; i < BUSY; i++) {
        give(l->calls[i], l->body[i].at + l->given[i], l->body[i].len - l->given[i]);
        end(l->calls[i]);
    }
    open_gate();
}

static void life_drop(life *l) {
    for (int i = 0; i < BUSY; i++) rt_drop(&l->body[i]);
}

/* After any number of turns: freed without a word; freed when it has just been told to stop; drained, which answers
 * whoever it took; cut by a second stop; freed in the middle of the drain. */
TEST(stop_at_every_moment) {
    enum { FREED, FREED_AFTER_STOP, DRAINED, CUT, FREED_IN_DRAIN, WAYS };
    static const char *const names[WAYS] = { "freed", "freed after a stop", "drained", "cut", "freed while it drains" };
    for (int moment = 0; moment < (SLOW > 1 ? 50 : 100); moment++) {
        life l;
        int way = moment % WAYS, turns = moment / WAYS;
        note("(%s after %d turns)", names[way], turns);
        up_hosted(.threads = 1, .pool_threads = 2);
        life_begin(&l);
        for (int i = 0; i < turns; i++) life_turn(&l);
        if (way != FREED) restate_endpoint_stop(ep);
        if (way == CUT) life_turn(&l), restate_endpoint_stop(ep);
        if (way == FREED_IN_DRAIN) for (int i = 0; i < 3; i++) life_turn(&l);
        if (way == DRAINED) {
            life_ends(&l);
            UNTIL(run_over);
            for (int i = 0; i < BUSY; i++) CHECK(l.calls[i]->answered || l.calls[i]->id > l.calls[i]->on->last_id);
        }
        if (way == CUT) UNTIL(run_over);
        if (run_over) CHECK_INT(ran, RESTATE_ENDED);
        restate_endpoint_free(ep);
        ep = NULL, host_fd = -1;
        CHECK_INT(GET(memory.live), 0);
        hang_up_all();
        CHECK_INT(open_fds(), fds_before);
        life_drop(&l);
        rt_free_all();
    }
    test_note = "";
}

/* Connections that have begun something when it is stopped, as far as that is: nothing of it holds up the end. */
TEST(stop_while_connections_begin) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    wire w[sizeof preface];
    for (int twice = 0; twice < 2; twice++) {
        up(.threads = 2);
        for (size_t i = 0; i < sizeof preface; i++) {
            wire_open(&w[i]);
            wire_send(&w[i], preface, i);
        }
        ALIVE();
        restate_endpoint_stop(ep);
        if (twice) restate_endpoint_stop(ep);
        UNTIL(GET(run_over));
        for (size_t i = 0; i < sizeof preface; i++) {
            while (wire_more(&w[i])) continue;
            wire_close(&w[i]);
        }
        stopped();
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(stop_comes_early), T(graceful_stop), T(requests_during_a_stop),
        T(connections_during_a_stop), T(stop_is_told), T(second_stop_cuts), T(work_outlives_run),
        T(handler_holds_its_loop), T(handlers_hold_all_loops), T(connections_leave_a_held_loop),
        T(handler_holds_its_loop_for_a_while), T(hook_holds_its_loop),
        T(free_does_not_wait_for_ever), T(drain_time_is_over), T(drain_time_by_the_clock),
        T(request_time_by_the_clock), T(stop_without_a_drain), T(steps_that_wait_for_a_thread),
        T(stop_from_a_signal_handler), T(stop_under_load), T(journal_arrives_during_a_stop),
        T(journal_does_not_arrive_during_a_stop), T(stop_from_inside), T(stopped_by_many_threads),
        T(stop_at_every_moment), T(stop_while_connections_begin),
        { NULL, NULL }
    };
    return server_main(argc, argv, cases);
}
