/* Section >>stream: exchanges, and connections, whose bytes the test carries. Compile it also with
 * RESTATE_NO_SERVER (then there are no connections), RESTATE_NO_THREADS (then nothing is ever on
 * another thread), and both. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "support/allocator.c"
#include "support/journal.c"

#ifndef RESTATE_NO_THREADS
#  include <pthread.h>
#endif

/* ---- Memory, log, a gate for closures: from any thread ----------------------------------------- */

#ifndef RESTATE_NO_THREADS
static pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t happened = PTHREAD_COND_INITIALIZER;
static void lock(void) { pthread_mutex_lock(&lock_); }
static void unlock(void) { pthread_mutex_unlock(&lock_); }
static void tell_all(void) { pthread_cond_broadcast(&happened); }
static bool wait_for_it(void) {             /* under the lock; false: nothing came for too long */
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    return pthread_cond_timedwait(&happened, &lock_, &until) == 0;
}
#else
static void lock(void) {}
static void unlock(void) {}
static void tell_all(void) {}
static bool wait_for_it(void) { return false; }
#endif

static struct {                             /* under the lock */
    rt_bytes log;
    unsigned begun, ended, executed, woken; /* handlers, closures, calls of wake() */
    unsigned at_gate;
    bool open;
} shared;

static mem_counts memory;

static void write_log(void *user, const restate_log_record *r) {
    (void)user;
    lock();
    rt_print(&shared.log, "%s\n", r->message);
    unlock();
}

static void add(unsigned *counter) {
    lock();
    ++*counter;
    tell_all();
    unlock();
}

static void gate(void) {                    /* without threads it is always open */
    add(&shared.at_gate);
    lock();
    while (!shared.open && wait_for_it()) continue;
    unlock();
}

static void open_gate(void) {
    lock();
    shared.open = true;
    tell_all();
    unlock();
}

/* ---- The services ------------------------------------------------------------------------------ */

#ifndef RESTATE_NO_THREADS
static pthread_t main_thread;
static bool on_main(void) { return pthread_equal(pthread_self(), main_thread) != 0; }
#elif RESTATE_FIBER <= RESTATE_FIBER_UCONTEXT
static bool on_main(void) { return true; }
#endif

static restate_status roll(restate_ctx *run, void *arg) {
    add(&shared.executed);
#ifndef RESTATE_NO_THREADS
    CHECK(!on_main() || memory.fail_at);    /* no memory for a thread: right here */
#endif
    return restate_reply(run, restate_str((const char *)arg));
}

static restate_status roll_gated(restate_ctx *run, void *arg) {
    gate();
    return roll(run, arg);
}

static restate_status leave(restate_status s) {
    if (s == RESTATE_ENDED) add(&shared.ended);
    return s;
}

/* A run, a sleep, a reply. */
static restate_status greet_with(restate_ctx *ctx, restate_bytes in, restate_closure *closure) {
    static char four[] = "4";
    char text[64];
    restate_bytes dots;
    restate_status s;
    add(&shared.begun);
#if RESTATE_FIBER <= RESTATE_FIBER_UCONTEXT
    CHECK(on_main());
#endif
    s = restate_run(ctx, "roll", closure, four, NULL, &dots);
    if (s == RESTATE_OK) s = restate_sleep(ctx, RESTATE_HOURS(1));
    if (s != RESTATE_OK) return leave(s);
    snprintf(text, sizeof text, "%s rolled %s", (const char *)in.ptr, (const char *)dots.ptr);
    return restate_reply(ctx, restate_str(text));
}
static restate_status greet(restate_ctx *ctx, restate_bytes in) { return greet_with(ctx, in, roll); }
static restate_status greet_gated(restate_ctx *ctx, restate_bytes in) {
    return greet_with(ctx, in, roll_gated);
}

static restate_status echo(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }

/* More than is held for a peer that does not read. */
enum { BIG_PARTS = 40, BIG_PART = 16384 };
static restate_status big(restate_ctx *ctx, restate_bytes in) {
    static uint8_t part[BIG_PART];
    restate_status s = RESTATE_OK;
    (void)in;
    for (int i = 0; i < BIG_PARTS && s == RESTATE_OK; i++)
        s = restate_set(ctx, "k", restate__b(part, sizeof part));
    return leave(s);
}

#ifndef RESTATE_NO_THREADS
static restate_status blocks(restate_ctx *ctx, restate_bytes in) {
    CHECK(!on_main());
    gate();                                 /* beside the thread of the streams */
    leave(restate_sleep(ctx, 1));
    gate();
    return restate_reply(ctx, in);
}

static restate_status roll_slowly(restate_ctx *run, void *arg) {
    struct timespec t = { 0, 20000000 };
    nanosleep(&t, NULL);
    return roll(run, arg);
}

static restate_status inlines(restate_ctx *ctx, restate_bytes in) {
    static char five[] = "5";
    restate_run_options o;
    memset(&o, 0, sizeof o);
    o.inline_ok = true;
    (void)in;
    return leave(restate_run(ctx, "roll", roll_slowly, five, &o, NULL));
}
#endif

static restate_endpoint_options options;    /* of the next endpoint */

static restate_endpoint *make(void) {
    static const restate_handler handlers[] = {
        { .name = "greet", .fn = greet }, { .name = "gated", .fn = greet_gated }, { .name = "echo", .fn = echo },
        { .name = "empty", .fn = echo, .input = &restate_rpc_empty_proto },
#ifndef RESTATE_NO_THREADS
        { .name = "blocks", .fn = blocks, .options = { .blocking = RESTATE_ON } },
        { .name = "inlines", .fn = inlines, .options = { .blocking = RESTATE_ON } },
#endif
        { .name = NULL }
    };
    static const restate_handler object_handlers[] = { { .name = "big", .fn = big }, { .name = NULL } };
    static const restate_service service = { .name = "S", .handlers = handlers };
    static const restate_service object = { .name = "O", .kind = RESTATE_OBJECT, .handlers = object_handlers };
    static const restate_service *const services[] = { &service, &object, NULL };
    options.services = services;
    options.pool_threads = 8;
    options.allocator = mem_allocator(&memory);
    options.logger.write = write_log;
    return restate_endpoint_new(&options);
}

static restate_endpoint *ep;

static void begin_with(void) {
    memory.calls = 0;
    shared.begun = shared.ended = shared.executed = shared.woken = shared.at_gate = 0;
    shared.open = false;
    ep = make();
    CHECK_STR(restate_endpoint_error(ep), "");
}

static void begin(void) {
    memset(&options, 0, sizeof options);
    begin_with();
}

static void end(void) {
    open_gate();
    restate_endpoint_free(ep);
    ep = NULL;
    CHECK_INT(memory.live, 0);
    memory.live = 0;
    rt_drop(&shared.log);
    rt_drop(&rt_script);
    rt_free_all();
}

static const char *logged(void) { return shared.log.at ? (const char *)shared.log.at : ""; }

/* ---- One exchange ------------------------------------------------------------------------------ */

typedef struct talk {
    restate_stream *stream;
    rt_bytes out;
    size_t seen;
    restate_status last;                    /* of take */
    uint16_t status;
    const restate_pair *headers;
} talk;

static const char *header(const talk *t, const char *name) {
    const restate_pair *h = t->headers;
    for (; h && h->name; h++)
        if (strcmp(h->name, name) == 0) return h->value;
    return "";
}

static void ask(talk *t, const char *method, const char *path, const char *name, const char *value, bool whole) {
    char n[64], v[128], m[16], p[64];       /* gone afterwards */
    restate_pair headers[3] = { { "x-one", "1" }, { n, v }, { NULL, NULL } };
    restate_http_request r = { m, p, headers, whole };
    snprintf(n, sizeof n, "%s", name ? name : "x-two");
    snprintf(v, sizeof v, "%s", value ? value : "2");
    snprintf(m, sizeof m, "%s", method);
    snprintf(p, sizeof p, "%s", path);
    memset(t, 0, sizeof *t);
    t->stream = restate_stream_open(ep, &r);
    memset(n, 'x', sizeof n), memset(v, 'x', sizeof v), memset(m, 'x', sizeof m), memset(p, 'x', sizeof p);
}

static void invoke(talk *t, const char *path, unsigned version, bool whole) {
    char type[64];
    snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", version);
    rt.version = version;
    ask(t, "POST", path, "content-type", type, whole);
}

/* From memory that is gone afterwards. */
static restate_status feed_bytes(talk *t, const void *at, size_t len) {
    restate_status s;
    uint8_t *copy = (uint8_t *)malloc(len ? len : 1);
    if (!copy) abort();
    if (len) memcpy(copy, at, len);
    s = restate_stream_feed(t->stream, restate__b(copy, len));
    free(copy);
    return s;
}

static void feed_script(talk *t) {          /* cut as rt.mode says */
    size_t at = 0, n;
    for (; at < rt_script.len; at += n) {
        n = rt_script.len - at;
        if (rt.mode == RT_BYTES) n = 1;
        if (rt.mode == RT_PIECES && n > 1) n = 1 + rt_dice((unsigned)(n < 40 ? n : 40));
        CHECK_INT(feed_bytes(t, rt_script.at + at, n), RESTATE_OK);
    }
    rt_script.len = 0;
}

static restate_status feed_end(talk *t) { return restate_stream_feed(t->stream, restate__b_none()); }

static size_t take_once(talk *t) {
    restate_bytes b;
    t->last = restate_stream_take(t->stream, &b, &t->status, &t->headers);
    CHECK(b.ptr || !b.len);
    rt_add(&t->out, b.ptr, b.len);
    return b.len;
}

static void take_all(talk *t) {             /* until there is nothing */
    while (take_once(t) && t->last == RESTATE_OK) continue;
}

/* The plain loop of the comment in restate.h, which never goes round for nothing. */
static void take_to_end(talk *t) {
    size_t n;
    do {
        n = take_once(t);
        CHECK(n || t->last != RESTATE_OK);
    } while (n && t->last == RESTATE_OK);
    CHECK_INT(t->last, RESTATE_ENDED);
}

static void say_check(talk *t, const char *file, int line, const char *const *expected) {
    rt_bytes text = { NULL, 0, 0 };
    rt_add(&text, "", 0);
    while (t->seen < t->out.len) {
        size_t n = rt_show_frame(&text, t->out.at + t->seen, t->out.len - t->seen);
        if (!n) rt_print(&text, "PARTIAL FRAME\n"), n = t->out.len - t->seen;
        t->seen += n;
    }
    rt_compare(file, line, (const char *)text.at, expected, rt.version);
    rt_drop(&text);
}
#define SAYS(t, ...) say_check(t, __FILE__, __LINE__, (const char *const[]){ __VA_ARGS__, NULL })

static void hang_up(talk *t) {
    restate_stream_free(t->stream);
    rt_drop(&t->out);
    memset(t, 0, sizeof *t);
}

/* All versions, all ways to cut the input. */
static int round_;
static bool again(void) {
    static char where[64];
    if (round_ == 9) {
        round_ = 0;
        test_note = "";
        return false;
    }
    rt.version = 5 + (unsigned)round_ / 3;
    rt.mode = (rt_mode)(round_ % 3);
    rt.random = (uint64_t)round_;
    snprintf(where, sizeof where, "(protocol %u, %s)", rt.version, rt_modes[rt.mode]);
    test_note = where;
    round_++;
    return true;
}

static void script_new(void) { start(1, .complete = true, .seed = 1); input("Ada"); }
static void script_rolled(void) {
    start(3, .complete = true, .seed = 1);
    input("Ada");
    cmd_run(1, "roll");
    note_value(N_RUN, 1, "4");
}
static void script_slept(void) {
    start(5, .complete = true, .seed = 1);
    input("Ada");
    cmd_run(1, "roll");
    note_value(N_RUN, 1, "4");
    cmd_sleep(2, "", 9);
    note_sleep(2);
}

static void whole_exchange(talk *t, const char *path, void (*script)(void)) {
    invoke(t, path, rt.version, true);
    script();
    feed_script(t);
    CHECK_INT(feed_end(t), RESTATE_OK);
    take_to_end(t);
    CHECK_INT(t->status, 200);
}

TEST(whole_exchanges_suspend_and_replay) {
    while (again()) {
        talk t;
        char type[64];
        begin();
        snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", rt.version);
        whole_exchange(&t, "/invoke/S/greet", script_new);
        CHECK_STR(header(&t, "content-type"), type);
        SAYS(&t, "Run 1 \"roll\"", "Propose 1 value \"4\" ack", "Suspension W{c:1,s:1}");
        CHECK_INT(take_once(&t), 0);        /* and nothing follows */
        CHECK_INT(t.last, RESTATE_ENDED);
        CHECK_INT(t.status, 200);
        hang_up(&t);
        CHECK_INT(shared.ended, 1);
        whole_exchange(&t, "/prefix/invoke/S/greet?a=b", script_rolled);
        SAYS(&t, "Sleep 2 wake:...", "Suspension W{c:2,s:1}");
        hang_up(&t);
        whole_exchange(&t, "/invoke/S/greet", script_slept);
        SAYS(&t, "Output value \"Ada rolled 4\"", "End");
        CHECK_INT(feed_bytes(&t, "x", 1), RESTATE_ENDED);
        CHECK_INT(feed_end(&t), RESTATE_ENDED);
        hang_up(&t);
        CHECK_INT(shared.executed, 1);
        CHECK_INT(shared.begun, 3);
        CHECK_STR(logged(), "");
        end();
    }
}

/* A whole request is not looked at before it is all there. */
TEST(whole_exchanges_begin_late) {
    while (again()) {
        talk t;
        begin();
        invoke(&t, "/invoke/S/greet", rt.version, true);
        CHECK_INT(take_once(&t), 0);
        CHECK_INT(t.last, RESTATE_OK);
        CHECK_INT(t.status, 200);           /* the head may be sent */
        script_new();
        feed_script(&t);
        CHECK_INT(take_once(&t), 0);
        CHECK_INT(t.last, RESTATE_OK);
        CHECK_INT(feed_bytes(&t, "", 0), RESTATE_OK);   /* empty is not absent */
        CHECK_INT(take_once(&t), 0);
        CHECK_INT(shared.begun, 0);
        CHECK_INT(feed_end(&t), RESTATE_OK);
        CHECK_INT(shared.begun, 1);
        take_to_end(&t);
        SAYS(&t, "Run 1 \"roll\"", "Propose 1 value \"4\" ack", "Suspension W{c:1,s:1}");
        hang_up(&t);
        end();
    }
}

/* Absent bytes before the journal is complete: the peer's own doing is an error; while the endpoint stops it
 * is the carrier's, and the exchange is cut, as by a lost connection. */
TEST(ended_before_the_journal_is_there) {
    while (again()) {
        for (int i = 0; i < 8; i++) {
            bool stops = (i & 1) != 0, whole = (i & 2) != 0, some = (i & 4) != 0;
            size_t n;
            talk t;
#ifdef RESTATE_NO_SERVER
            if (stops) continue;            /* there is no restate_endpoint_stop() */
#endif
            begin();
            invoke(&t, "/invoke/S/greet", rt.version, whole);
            script_new();
            n = rt_script.len;
            rt_script.len = some ? n - 1 : 0;
            feed_script(&t);
#ifndef RESTATE_NO_SERVER
            if (stops) restate_endpoint_stop(ep);
#endif
            CHECK_INT(feed_end(&t), RESTATE_OK);
            take_all(&t);
            CHECK_INT(t.last, stops ? RESTATE_ERROR : RESTATE_ENDED);
            if (stops) CHECK_INT(t.out.len, 0);
            else SAYS(&t, "Error 571...");
            CHECK_INT(shared.begun, 0);
            if (stops) CHECK_STR(logged(), "");
            hang_up(&t);
            end();
        }
    }
}

TEST(streamed_exchange) {
    while (again()) {
        talk t;
        begin();
        invoke(&t, "/invoke/S/greet", rt.version, false);
        script_new();
        feed_script(&t);
        take_all(&t);                       /* waits for the closure */
        CHECK_INT(t.last, RESTATE_OK);
        take_all(&t);
        SAYS(&t, "Run 1 \"roll\"", "? AwaitingOn W{c:1,s:1} executing", "Propose 1 value \"4\" ack",
             "? AwaitingOn W{c:1,s:1}");
        note_value(N_RUN, 1, "4");
        feed_script(&t);
        take_all(&t);
        SAYS(&t, "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
        CHECK_INT(t.last, RESTATE_OK);
        note_sleep(2);
        feed_script(&t);
        take_all(&t);
        CHECK_INT(t.last, RESTATE_ENDED);
        SAYS(&t, "Output value \"Ada rolled 4\"", "End");
        CHECK_INT(feed_bytes(&t, "", 0), RESTATE_ENDED);
        hang_up(&t);
        CHECK_STR(logged(), "");
        end();
    }
}

/* The input of a streamed exchange ends while it waits. */
TEST(streamed_exchange_suspends) {
    while (again()) {
        talk t;
        begin();
        invoke(&t, "/invoke/S/greet", rt.version, false);
        script_rolled();
        feed_script(&t);
        take_all(&t);
        CHECK_INT(t.last, RESTATE_OK);
        SAYS(&t, "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
        CHECK_INT(feed_end(&t), RESTATE_OK);
        CHECK_INT(shared.ended, 1);
        take_all(&t);
        CHECK_INT(t.last, RESTATE_ENDED);
        SAYS(&t, "Suspension W{c:2,s:1}");
        hang_up(&t);
        end();
    }
}

TEST(input_that_ends_too_early) {
    while (again()) {
        talk t;
        begin();
        invoke(&t, "/invoke/S/greet", rt.version, round_ & 1);
        start(2);
        input("Ada");
        feed_script(&t);
        CHECK_INT(feed_end(&t), RESTATE_OK);
        take_to_end(&t);
        SAYS(&t, "Error ...");
        CHECK_HAS(logged(), "the attempt failed");
        hang_up(&t);
        end();
    }
}

TEST(more_output_than_is_held) {
    while (again()) {
        talk t;
        size_t most = 0, calls = 0;
        begin();
        invoke(&t, "/invoke/O/big", rt.version, round_ % 2);
        start(1, .complete = true, .key = "k");
        input("");
        feed_script(&t);
        feed_end(&t);
        do {
            size_t n = take_once(&t);
            if (n > most) most = n;
            calls++;
            if (calls == 1) CHECK(t.stream->exchange->out.len < BIG_PARTS * BIG_PART);     /* the handler waits */
        } while (t.last == RESTATE_OK && calls < 10000);
        CHECK_INT(t.last, RESTATE_ENDED);
        CHECK(t.out.len > BIG_PARTS * BIG_PART && calls > 2);
        CHECK(most <= BIG_PART + 1024);
        CHECK_INT(shared.ended, 0);
        hang_up(&t);
        end();
    }
}

/* ---- Closures and blocking handlers on other threads --------------------------------------------- */

#ifndef RESTATE_NO_THREADS

static void reached(const unsigned *counter, unsigned count) {
    lock();
    while (*counter < count && wait_for_it()) continue;
    CHECK(*counter >= count);
    unlock();
}

static void wake(void *user) {
    CHECK(user == &shared);
    add(&shared.woken);
}

static unsigned wakes(void) {
    unsigned n;
    lock();
    n = shared.woken;
    unlock();
    return n;
}

TEST(wake_instead_of_waiting) {
    while (again()) {
        talk t;
        memset(&options, 0, sizeof options);
        options.stream_wake = wake;
        options.stream_user = &shared;
        begin_with();
        invoke(&t, "/invoke/S/gated", rt.version, true);
        script_new();
        feed_script(&t);
        CHECK_INT(feed_end(&t), RESTATE_OK);
        take_all(&t);
        CHECK_INT(t.last, RESTATE_OK);      /* nothing now, but there will be more */
        SAYS(&t, "Run 1 \"roll\"", "? AwaitingOn W{c:1,s:1} executing");
        CHECK_INT(take_once(&t), 0);
        CHECK_INT(t.last, RESTATE_OK);
        CHECK_INT(wakes(), 0);
        open_gate();
        reached(&shared.woken, 1);
        take_all(&t);
        CHECK_INT(t.last, RESTATE_ENDED);
        SAYS(&t, "Propose 1 value \"4\" ack", "Suspension W{c:1,s:1}");
        hang_up(&t);
        end();
    }
}

TEST(waits_for_blocking_handlers) {
    while (again()) {
        talk t;
        begin();
        open_gate();
        invoke(&t, "/invoke/S/blocks", rt.version, true);
        script_new();
        feed_script(&t);
        feed_end(&t);
        take_to_end(&t);
        CHECK_INT(t.last, RESTATE_ENDED);
        SAYS(&t, "Sleep 1 wake:...", "Suspension W{c:1,s:1}");
        hang_up(&t);
        whole_exchange(&t, "/invoke/S/inlines", script_new);    /* a closure on the handler's thread */
        SAYS(&t, "Run 1 \"roll\"", "Propose 1 value \"5\" ack", "Suspension W{c:1,s:1}");
        hang_up(&t);
        end();
    }
}

TEST(wakes_for_blocking_handlers) {
    while (again()) {
        talk t;
        memset(&options, 0, sizeof options);
        options.stream_wake = wake;
        options.stream_user = &shared;
        begin_with();
        invoke(&t, "/invoke/S/blocks", rt.version, false);
        script_new();
        feed_script(&t);
        reached(&shared.at_gate, 1);
        CHECK_INT(take_once(&t), 0);
        open_gate();
        reached(&shared.woken, 1);
        note_sleep(1);
        feed_script(&t);
        do {
            unsigned before = wakes();
            take_all(&t);
            if (t.last == RESTATE_OK) reached(&shared.woken, before + 1);
        } while (t.last == RESTATE_OK);
        SAYS(&t, "Sleep 1 wake:...", "? AwaitingOn W{c:1,s:1}", "Output value \"Ada\"", "End");
        hang_up(&t);
        end();
    }
}

/* While one take waits, the others go on. */
TEST(waiting_lets_others_go_on) {
    while (again()) {
        talk a, b;
        begin();
        invoke(&a, "/invoke/S/gated", rt.version, true);
        script_new();
        feed_script(&a);
        feed_end(&a);
        take_once(&a);                      /* Run */
        reached(&shared.at_gate, 1);
        invoke(&b, "/invoke/S/greet", rt.version, true);
        script_new();
        feed_script(&b);
        feed_end(&b);
        take_to_end(&b);
        SAYS(&b, "Run 1 \"roll\"", "Propose 1 value \"4\" ack", "Suspension W{c:1,s:1}");
        open_gate();
        take_to_end(&a);
        SAYS(&a, "Run 1 \"roll\"", "? AwaitingOn W{c:1,s:1} executing", "Propose 1 value \"4\" ack",
             "Suspension W{c:1,s:1}");
        hang_up(&a);
        hang_up(&b);
        end();
    }
}

/* What a closure uses outlives the stream. */
TEST(free_while_a_closure_executes) {
    for (int way = 0; way < 4; way++) {
        talk t;
        begin();
        rt.mode = RT_WHOLE;
        invoke(&t, way < 2 ? "/invoke/S/gated" : "/invoke/S/blocks", 7, way % 2);
        script_new();
        feed_script(&t);
        feed_end(&t);
        reached(&shared.at_gate, 1);
        if (way % 2) hang_up(&t);
        else rt_drop(&t.out);               /* the endpoint frees it */
        CHECK_INT(ep->invocations, 1);
        if (way == 1) {                     /* a later call on another one releases it */
            open_gate();
            while (__atomic_load_n(&ep->streams->worker.inbox, __ATOMIC_ACQUIRE) == NULL) continue;
            ask(&t, "GET", "/health", NULL, NULL, true);
            hang_up(&t);
            CHECK_INT(ep->invocations, 0);
        }
        end();
        CHECK_INT(shared.ended, 1);
    }
}

/* One that waits for a thread is not begun when the stream is freed, and nobody waits for it. */
TEST(free_while_a_closure_waits) {
    enum { THREADS = 8, N = 20 };           /* see make() */
    for (int way = 0; way < 2; way++) {
        talk t[N];
        begin();
        rt.mode = RT_WHOLE;
        for (int i = 0; i < N; i++) {
            invoke(&t[i], "/invoke/S/gated", 7, false);
            script_new();
            feed_script(&t[i]);
        }
        reached(&shared.at_gate, THREADS);
        for (int i = 0; i < N; i++) {
            if (way == 0) hang_up(&t[N - 1 - i]);
            else rt_drop(&t[i].out);        /* the endpoint frees it */
        }
        if (way == 0) {
            restate__stream_turn(ep->streams);
            CHECK_INT(ep->invocations, THREADS);
        }
        end();                              /* opens the gate */
        CHECK_INT(shared.ended, N);
        if (way == 0) CHECK_INT(shared.executed, THREADS);
    }
}

/* Endpoints share nothing, so that each thread may have its own. */
static void *thread_of_its_own(void *arg) {
    restate_endpoint *mine;
    static const restate_handler handlers[] = { { .name = "echo", .fn = echo }, { .name = NULL } };
    static const restate_service service = { .name = "S", .handlers = handlers };
    static const restate_service *const services[] = { &service, NULL };
    static const restate_pair type[] = { { "content-type", "application/vnd.restate.invocation.v7" }, { NULL, NULL } };
    static const restate_http_request request = { "POST", "/invoke/S/echo", type, true };
    const rt_bytes *script = (const rt_bytes *)arg;
    restate_endpoint_options o;
    size_t total = 0;
    memset(&o, 0, sizeof o);
    o.services = services;
    mine = restate_endpoint_new(&o);
    for (int i = 0; i < 200; i++) {
        restate_stream *s = restate_stream_open(mine, &request);
        restate_bytes b;
        restate_stream_feed(s, restate__b(script->at, script->len));
        restate_stream_feed(s, restate__b_none());
        while (restate_stream_take(s, &b, NULL, NULL) == RESTATE_OK) total += b.len;
        total += b.len;
        restate_stream_free(s);
    }
    restate_endpoint_free(mine);
    return (void *)(uintptr_t)total;
}

TEST(an_endpoint_per_thread) {
    pthread_t threads[4];
    void *total;
    script_new();
    for (int i = 0; i < 4; i++) CHECK_INT(pthread_create(&threads[i], NULL, thread_of_its_own, &rt_script), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &total);
        CHECK_INT((uintptr_t)total, 200 * (8 + 2 + 2 + 3 + 8));
    }
    rt_drop(&rt_script);
}

#endif

/* ---- Answers without a handler -------------------------------------------------------------------- */

static void answer(const char *method, const char *path, const char *name, const char *value, bool whole,
                   unsigned status, const char *type, const char *part) {
    talk t;
    ask(&t, method, path, name, value, whole);
    CHECK(t.stream != NULL);
    take_all(&t);                           /* before the request is complete */
    CHECK_INT(t.last, RESTATE_ENDED);
    CHECK_INT(t.status, status);
    CHECK_STR(header(&t, "content-type"), type);
    CHECK_STR(header(&t, "x-restate-server"), RESTATE__SERVER_NAME);
    CHECK_HAS(t.out.at ? (const char *)t.out.at : "", part);
    CHECK_INT(feed_bytes(&t, "x", 1), RESTATE_ENDED);
    CHECK_INT(feed_end(&t), RESTATE_ENDED);
    hang_up(&t);
}

TEST(discovery_and_health) {
    static const char v4[] = "application/vnd.restate.endpointmanifest.v4+json";
    begin();
    answer("GET", "/health", NULL, NULL, true, 200, "text/plain", "ok");
    answer("GET", "/a/b/discover", "accept", v4, true, 200, v4, "{\"protocolMode\":\"REQUEST_RESPONSE\",");
    answer("GET", "/discover", "accept", v4, false, 200, v4, "{\"protocolMode\":\"BIDI_STREAM\",");
    CHECK_STR(logged(), "");
    end();
}

/* The response follows the request, which is all there before. */
TEST(payloads_for_the_ui) {
    begin();
    for (int whole = 0; whole < 2; whole++) {
        talk t;
        ask(&t, "POST", "/serdes/S/decode/empty/input", NULL, NULL, whole);
        take_all(&t);
        CHECK_INT(t.last, RESTATE_OK);
        CHECK_INT(t.status, 0);
        for (int i = 0; i < 3; i++) CHECK_INT(feed_bytes(&t, "x", 1), RESTATE_OK);
        take_all(&t);
        CHECK_INT(t.status, 0);
        CHECK_INT(feed_end(&t), RESTATE_OK);
        take_all(&t);
        CHECK_INT(t.last, RESTATE_ENDED);
        CHECK_INT(t.status, 200);
        CHECK_STR(header(&t, "content-type"), "application/json");
        CHECK_STR((const char *)t.out.at, "{}");
        CHECK_INT(feed_bytes(&t, "x", 1), RESTATE_ENDED);
        hang_up(&t);
        ask(&t, "POST", "/serdes/S/encode/empty/input", NULL, NULL, whole);
        CHECK_INT(feed_bytes(&t, "{", 1), RESTATE_OK);
        hang_up(&t);                        /* in the middle */
    }
    CHECK_STR(logged(), "");
    end();
}

TEST(error_statuses) {
    static const char json[] = "application/json", v7[] = "application/vnd.restate.invocation.v7";
    static char large[70000];
    restate_pair headers[] = { { "x", large }, { NULL, NULL } };
    restate_http_request r = { "GET", "/health", headers, true };
    talk t, held;
    memset(&options, 0, sizeof options);
    options.max_invocations = 1;
    begin_with();
    for (int whole = 0; whole < 2; whole++) {
        answer("GET", "/discover", NULL, NULL, whole, 415, json, "accept header");
        answer("GET", "/nothing", NULL, NULL, whole, 404, json, "/invoke/SERVICE/HANDLER");
        answer("POST", "/health", NULL, NULL, whole, 405, json, "GET");
        answer("POST", "/invoke/S/none", "content-type", v7, whole, 404, json, "no handler none");
        answer("POST", "/invoke/none/greet", "content-type", v7, whole, 404, json, "no service none");
        answer("POST", "/invoke/S/greet", NULL, NULL, whole, 415, json, "content type is missing");
        answer("POST", "/invoke/S/greet", "content-type", "application/vnd.restate.invocation.v4", whole, 415, json,
               "v5 to v7");
        answer("GET", "/invoke/S/greet", "content-type", v7, whole, 405, json, "POST");
        answer("POST", "/serdes/S/encode/greet/input", NULL, NULL, whole, 404, json, "has no .to_json");
        invoke(&held, "/invoke/S/greet", 7, whole);
        answer("POST", "/invoke/S/greet", "content-type", v7, whole, 503, json, "max_invocations");
        hang_up(&held);
    }
    r.method = r.path = NULL;
    r.headers = NULL;
    memset(&t, 0, sizeof t);
    t.stream = restate_stream_open(ep, &r);
    take_all(&t);
    CHECK_INT(t.status, 404);
    hang_up(&t);
    memset(large, 'x', sizeof large - 1);
    r.headers = headers;
    t.stream = restate_stream_open(ep, &r);
    take_all(&t);
    CHECK_INT(t.status, 431);
    hang_up(&t);
#ifndef RESTATE_NO_SERVER
    restate_endpoint_stop(ep);
    answer("POST", "/invoke/S/greet", "content-type", v7, true, 503, json, "stopping");
#endif
    end();
}

TEST(misuse) {
    restate_http_request r = { "GET", "/health", NULL, true };
    restate_bytes b = restate__b("x", 1);
    const restate_pair *headers = (const restate_pair *)(void *)&r;
    uint16_t status = 9;
    talk t;
    CHECK(!restate_stream_open(NULL, &r));
    CHECK(!restate_stream_open(NULL, NULL));
    CHECK_INT(restate_stream_feed(NULL, b), RESTATE_ERROR);
    CHECK_INT(restate_stream_take(NULL, &b, &status, &headers), RESTATE_ERROR);
    CHECK(!b.ptr && !b.len && status == 0 && !headers);
    CHECK_INT(restate_stream_take(NULL, NULL, NULL, NULL), RESTATE_ERROR);
    restate_stream_free(NULL);
    memset(&options, 0, sizeof options);
    options.defaults.stack_bytes = 1;
    ep = make();
    CHECK(!restate_stream_open(ep, &r));
    CHECK(!restate_stream_open(ep, NULL));
    CHECK_HAS(restate_endpoint_error(ep), "stack_bytes");
    end();
    begin();
    memset(&t, 0, sizeof t);
    t.stream = restate_stream_open(ep, &r);
    CHECK_INT(restate_stream_take(t.stream, NULL, &status, NULL), RESTATE_ERROR);   /* nothing is lost */
    CHECK_INT(status, 200);
    CHECK_INT(restate_stream_take(t.stream, &b, NULL, NULL), RESTATE_ENDED);
    CHECK_INT(b.len, 2);
    hang_up(&t);
    CHECK(!restate_stream_open(ep, &(restate_http_request){ .method = "GET", .path = "/health", .headers = RESTATE_PAIRS({ "a", "1" }, { NULL, "2" }) }));
    CHECK_HAS(restate_endpoint_error(ep), "a header of the request has a value, but no name");
#ifdef RESTATE_NO_SERVER
    CHECK(!restate_stream_open(ep, NULL));
    CHECK_HAS(restate_endpoint_error(ep), "RESTATE_NO_SERVER");
#endif
    end();
}

/* ---- Many at a time ------------------------------------------------------------------------------- */

/* A streamed greeting in steps: feeding a piece of what is due, or taking once. True: it is over. */
typedef struct greeting {
    talk t;
    rt_bytes due;
    size_t fed;
    int stage;
} greeting;

static void greeting_due(greeting *g) {
    rt_script.len = 0;
    if (g->stage == 0) script_new();
    if (g->stage == 1) note_value(N_RUN, 1, "4");
    if (g->stage == 2) note_sleep(2);
    g->due.len = g->fed = 0;
    rt_add(&g->due, rt_script.at, rt_script.len);
    rt_script.len = 0;
    g->stage++;
}

/* What the runtime has stored so far: frames that the output ends with. */
static bool has_frame(const rt_bytes *out, unsigned type) {
    size_t at = 0;
    while (at + 8 <= out->len) {
        if ((unsigned)(out->at[at] << 8 | out->at[at + 1]) == type) return true;
        at += 8 + ((size_t)out->at[at + 6] << 8 | out->at[at + 7]);
    }
    return false;
}

static bool greeting_step(greeting *g) {
    size_t left = g->due.len - g->fed, n;
    if (rt_dice(2) && left) {
        n = 1 + rt_dice((unsigned)left);
        CHECK_INT(feed_bytes(&g->t, g->due.at + g->fed, n), RESTATE_OK);
        g->fed += n;
        return false;
    }
    take_once(&g->t);
    if (g->t.last != RESTATE_OK) return true;
    if (!left && g->stage < 3 && has_frame(&g->t.out, g->stage == 1 ? M_PROPOSE : M_SLEEP)) greeting_due(g);
    return false;
}

TEST(interleaved) {
    enum { MANY = 24 };
    while (again()) {
        greeting all[MANY];
        int open = MANY;
        begin();
        memset(all, 0, sizeof all);
        for (int i = 0; i < MANY; i++) {
            invoke(&all[i].t, "/invoke/S/greet", rt.version, false);
            greeting_due(&all[i]);
        }
        while (open) {
            greeting *g = &all[rt_dice(MANY)];
            if (!g->t.stream || !greeting_step(g)) continue;
            CHECK_INT(g->t.last, RESTATE_ENDED);
            SAYS(&g->t, "Run 1 \"roll\"", "? AwaitingOn W{c:1,s:1} executing", "Propose 1 value \"4\" ack",
                 "? AwaitingOn W{c:1,s:1}", "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}",
                 "Output value \"Ada rolled 4\"", "End");
            hang_up(&g->t);
            rt_drop(&g->due);
            open--;
        }
        CHECK_INT(shared.executed, MANY);
        CHECK_INT(ep->invocations, 0);
        CHECK_STR(logged(), "");
        end();
    }
}

/* Freed after any number of steps, by its owner or with the endpoint. */
TEST(free_in_the_middle) {
    for (int steps = 0; steps < 60; steps++) {
        greeting g[2];
        begin();
        rt.random = (uint64_t)steps * 31;
        memset(g, 0, sizeof g);
        for (int i = 0; i < 2; i++) {
            invoke(&g[i].t, "/invoke/S/greet", 5 + (unsigned)steps % 3, false);
            greeting_due(&g[i]);
        }
        for (int i = 0; i < steps; i++)
            for (int k = 0; k < 2; k++)
                if (g[k].t.last == RESTATE_OK) greeting_step(&g[k]);
        hang_up(&g[steps & 1].t);
        rt_drop(&g[0].t.out), rt_drop(&g[1].t.out);
        rt_drop(&g[0].due), rt_drop(&g[1].due);
        end();
        CHECK_INT(memory.live, 0);
    }
}

/* Every allocation fails once, and every one and all that follow. */
static bool oom_again(void) {
    static size_t n, needed;
    static char where[64];
    if (!n) needed = SIZE_MAX;
    if (n && !memory.fail_on && memory.calls < memory.fail_at) needed = n;
    if (n >= needed && memory.fail_on) {
        CHECK(n > 10);
        n = memory.fail_at = 0;
        memory.fail_on = false;
        test_note = "";
        return false;
    }
    if (!n || memory.fail_on) n++, memory.fail_on = false;
    else memory.fail_on = true;
    memory.fail_at = n;
    memory.calls = 0;
    snprintf(where, sizeof where, "(allocation %lu fails%s)", (unsigned long)n,
             memory.fail_on ? ", and all after it" : "");
    test_note = where;
    return true;
}

static void oom_begin(void) {
    shared.begun = shared.ended = shared.executed = shared.at_gate = 0;
    shared.open = true;
    memset(&options, 0, sizeof options);
    ep = make();
}

static int oom_cut;                         /* answers that were begun and could not go on */

static void oom_exchange(const char *method, const char *path, void (*script)(void)) {
    talk t;
    if (*method == 'G') ask(&t, method, path, "accept", "application/vnd.restate.endpointmanifest.v4+json", true);
    else invoke(&t, path, 7, true);
    rt_script.len = 0;
    if (script) script();
    if (rt_script.len) feed_bytes(&t, rt_script.at, rt_script.len);
    feed_end(&t);
    for (int i = 0; i < 1000; i++) {
        take_once(&t);
        if (t.last != RESTATE_OK) break;
    }
    CHECK(t.last == RESTATE_ENDED || t.last == RESTATE_ERROR);
    if (t.last == RESTATE_ERROR) CHECK_HAS(restate_endpoint_error(ep), "memory");
    if (t.last == RESTATE_ERROR && t.stream) oom_cut++;
    hang_up(&t);
}

TEST(out_of_memory) {
    while (oom_again()) {
        oom_begin();
        oom_exchange("POST", "/invoke/S/greet", script_new);
        oom_exchange("POST", "/invoke/S/greet", script_slept);
        oom_exchange("GET", "/discover", NULL);
        oom_exchange("POST", "/invoke/O/big", script_new);
        oom_exchange("GET", "/nothing", NULL);
        end();
    }
    CHECK(oom_cut > 0);
}

/* ---- One HTTP/2 connection -------------------------------------------------------------------------- */

#ifndef RESTATE_NO_SERVER
#include "support/http2.c"

/* One request of the client. Its body comes as `due` grows. */
typedef struct request {
    struct client *client;
    int32_t id;
    rt_bytes due, answer;
    h2_body up;                             /* of `due`, as far as it is sent */
    bool closed;
    unsigned status;
    uint32_t error;
    int stage;
} request;

enum { REQUESTS = 24 };
typedef struct client {
    nghttp2_session *session;
    restate_stream *stream;
    request requests[REQUESTS];
    size_t count;
    rt_bytes to_peer, from_peer;            /* on the wire */
    restate_status last;                    /* of take */
    restate_status fed;
    bool goaway, broken;
} client;

static int client_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                            const uint8_t *value, size_t value_len, uint8_t flags, void *user) {
    request *r = (request *)nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags, (void)user, (void)value_len;
    if (r) r->status = h2_status(name, name_len, value, r->status);
    return 0;
}

static int client_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                          void *user) {
    request *r = (request *)nghttp2_session_get_stream_user_data(session, id);
    (void)flags, (void)user;
    if (r) rt_add(&r->answer, data, len);
    return 0;
}

static int client_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    request *r = (request *)nghttp2_session_get_stream_user_data(session, id);
    (void)user;
    if (r) r->closed = true, r->error = code;
    return 0;
}

static int client_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY) ((client *)user)->goaway = true;
    return 0;
}

static void client_begin(client *c) {
    const h2_options o = { client_on_header, client_on_data, client_on_frame, client_on_close, .window = 20000 };
    memset(c, 0, sizeof *c);
    c->session = h2_session(&o, c);
    c->stream = restate_stream_open(ep, NULL);
}

static request *client_ask(client *c, const char *method, const char *path, const char *name, const char *value) {
    const restate_pair more[] = { { name, value }, { NULL, NULL } };
    request *r = &c->requests[c->count++];
    memset(r, 0, sizeof *r);
    r->client = c;
    r->up.diced = true;
    r->id = h2_request(c->session, method, path, more, *method == 'P' ? &r->up : NULL, r);
    CHECK(r->id > 0);
    return r;
}

static void client_goes_on(request *r) {
    r->up.at = r->due.at;
    r->up.len = r->due.len;
    if (!r->closed) h2_resume(r->client->session, r->id, &r->up);
}

/* The script is due, too. */
static void client_gives(request *r) {
    rt_add(&r->due, rt_script.at, rt_script.len);
    rt_script.len = 0;
    client_goes_on(r);
}

/* A run that is proposed is stored, a sleep passes at once. */
static void client_runtime(request *r) {
    static const unsigned until[] = { M_PROPOSE, M_SLEEP };
    if (r->stage < 1 || r->stage > 2 || !has_frame(&r->answer, until[r->stage - 1])) return;
    rt_script.len = 0;
    if (r->stage == 1) note_value(N_RUN, 1, "4");
    else note_sleep(2);
    r->stage++;
    client_gives(r);
}

static request *client_greet(client *c, unsigned version) {
    char type[64];
    request *r;
    snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", version);
    r = client_ask(c, "POST", "/invoke/S/greet", "content-type", type);
    rt_script.len = 0;
    script_new();
    client_gives(r);
    r->stage = 1;
    return r;
}

static request *client_big(client *c) {
    request *r = client_ask(c, "POST", "/invoke/O/big", "content-type", "application/vnd.restate.invocation.v7");
    rt_script.len = 0;
    start(1, .complete = true, .key = "k");
    input("");
    client_gives(r);
    return r;
}

static size_t piece_of(size_t len) {        /* how much of it goes at once */
    return rt.mode == RT_WHOLE ? len : rt.mode == RT_BYTES ? 1 : 1 + rt_dice((unsigned)len);
}

static void shift(rt_bytes *b, size_t n) {
    memmove(b->at, b->at + n, b->len - n);
    b->len -= n;
}

/* One step in one direction. False: nothing moved. */
static bool client_step(client *c, bool up) {
    size_t n;
    if (up) {
        for (;;) {
            const uint8_t *frame;
            restate__h2_ssize made = RESTATE__H2_V(nghttp2_session_mem_send)(c->session, &frame);
            if (made <= 0) break;
            rt_add(&c->to_peer, frame, (size_t)made);
        }
        if (!c->to_peer.len || c->fed != RESTATE_OK) return false;
        n = piece_of(c->to_peer.len);
        {
            talk t = { .stream = c->stream };
            c->fed = feed_bytes(&t, c->to_peer.at, n);
        }
        shift(&c->to_peer, n);
        return true;
    }
    if (c->last == RESTATE_OK) {
        restate_bytes b;
        uint16_t status = 9;
        const restate_pair *headers = (const restate_pair *)(void *)c;
        c->last = restate_stream_take(c->stream, &b, &status, &headers);
        CHECK(status == 0 && !headers);
        rt_add(&c->from_peer, b.ptr, b.len);
    }
    if (!c->from_peer.len) return false;
    n = piece_of(c->from_peer.len);
    if (!c->broken) c->broken = RESTATE__H2_V(nghttp2_session_mem_recv)(c->session, c->from_peer.at, n) < 0;
    shift(&c->from_peer, n);
    for (size_t i = 0; i < c->count; i++) client_runtime(&c->requests[i]);
    return true;
}

static void client_settle(client *c) {      /* until nothing moves */
    int idle = 0;
    while (idle < 4)
        idle = client_step(c, rt_dice(2)) || client_step(c, true) || client_step(c, false) ? 0 : idle + 1;
}

static void client_end(client *c) {
    restate_stream_free(c->stream);
    nghttp2_session_del(c->session);
    for (size_t i = 0; i < c->count; i++) rt_drop(&c->requests[i].due), rt_drop(&c->requests[i].answer);
    rt_drop(&c->to_peer);
    rt_drop(&c->from_peer);
}

/* The end of a connection is not that of its requests: those whose journal is not there are reset, the others
 * suspend. */
TEST(connection_ended_before_journals_are_there) {
    for (int stops = 0; stops < 2; stops++) {
        client c;
        request *r[3];
        begin();
        client_begin(&c);
        for (int i = 0; i < 3; i++) {
            r[i] = client_greet(&c, 7);
            if (i < 2) r[i]->up.len -= i ? 1 : r[i]->up.len;
            r[i]->stage = 2;                /* the result of the run is not confirmed */
        }
        client_settle(&c);
        if (stops) restate_endpoint_stop(ep);
        CHECK_INT(restate_stream_feed(c.stream, restate__b_none()), RESTATE_OK);
        c.fed = RESTATE_ENDED;
        client_settle(&c);
        for (int i = 0; i < 2; i++) {
            CHECK(r[i]->closed);
            CHECK_INT(r[i]->error, NGHTTP2_CANCEL);
            CHECK_INT(r[i]->answer.len, 0);
        }
        CHECK_INT(has_frame(&r[2]->answer, M_SUSPENSION), true);
        CHECK_STR(logged(), "");
        client_end(&c);
        end();
    }
}

#define ANSWERS(r, ...) do { \
        talk answered = { .out = (r)->answer }; \
        SAYS(&answered, __VA_ARGS__); \
    } while (0)

static void client_greeted(const request *r) {
    CHECK_INT(r->status, 200);
    CHECK(r->closed);
    CHECK_INT(r->error, 0);
    ANSWERS(r, "Run 1 \"roll\"", "? AwaitingOn W{c:1,s:1} executing", "Propose 1 value \"4\" ack",
            "? AwaitingOn W{c:1,s:1}", "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}",
            "Output value \"Ada rolled 4\"", "End");
}

/* The client ends its requests once they are answered. */
static void client_over(client *c) {
    for (size_t i = 0; i < c->count; i++) {
        c->requests[i].up.over = true;
        client_goes_on(&c->requests[i]);
    }
    client_settle(c);
}

TEST(h2_exchanges) {
    static const char v3[] = "application/vnd.restate.endpointmanifest.v3+json";
    while (again()) {
        client c;
        request *greet_[12], *health, *manifest, *none, *large, *shown;
        begin();
        client_begin(&c);
        for (int i = 0; i < 12; i++) greet_[i] = client_greet(&c, rt.version);
        health = client_ask(&c, "GET", "/health", "x", "y");
        manifest = client_ask(&c, "GET", "/discover", "accept", v3);
        none = client_ask(&c, "POST", "/none", "x", "y");
        shown = client_ask(&c, "POST", "/serdes/S/decode/empty/input", "x", "y");
        rt_add(&shown->due, "some", 4);
        shown->up.over = true;
        client_goes_on(shown);
        large = rt.mode == RT_BYTES ? NULL : client_big(&c);
        client_settle(&c);
        client_over(&c);
        for (int i = 0; i < 12; i++) client_greeted(greet_[i]);
        CHECK_INT(health->status, 200);
        CHECK_STR((const char *)health->answer.at, "ok");
        CHECK_INT(manifest->status, 200);
        CHECK_HAS((const char *)manifest->answer.at, "\"protocolMode\":\"BIDI_STREAM\"");
        CHECK_INT(none->status, 404);
        CHECK_INT(shown->status, 200);
        CHECK_STR((const char *)shown->answer.at, "{}");
        if (large) {
            CHECK_INT(large->status, 200);
            CHECK(large->closed && large->error == 0 && large->answer.len > BIG_PARTS * BIG_PART);
        }
        CHECK_INT(c.last, RESTATE_OK);
        nghttp2_session_terminate_session(c.session, NGHTTP2_NO_ERROR);
        client_settle(&c);
        CHECK_INT(c.last, RESTATE_ENDED);
        client_end(&c);
        end();
    }
}

TEST(h2_settings_tell_the_limits) {
    client c;
    begin();
    rt.mode = RT_WHOLE;
    client_begin(&c);
    client_settle(&c);
    CHECK_INT(nghttp2_session_get_remote_settings(c.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
              ep->options.max_streams);
    CHECK_INT(nghttp2_session_get_remote_settings(c.session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE), 1 << 20);
    CHECK_INT(nghttp2_session_get_remote_settings(c.session, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE),
              RESTATE__HEADER_BYTES_MAX);
    client_end(&c);
    end();
}

/* Of each stream less than window_bytes, of all of them more than the window of the connection. */
TEST(h2_data_behind_a_response_opens_the_window_again) {
    static uint8_t much[900000];
    client c;
    request *r;
    begin();
    rt.version = 7;
    rt.mode = RT_WHOLE;
    client_begin(&c);
    for (int i = 0; i < 6; i++) {
        r = client_ask(&c, "POST", "/none", "x", "y");
        client_settle(&c);
        CHECK_INT(r->status, 404);
        rt_add(&r->due, much, sizeof much);
        client_goes_on(r);
        client_settle(&c);
        CHECK_INT(r->up.sent, sizeof much);
    }
    r = client_greet(&c, rt.version);
    client_settle(&c);
    client_over(&c);
    client_greeted(r);
    client_end(&c);
    end();
}

TEST(h2_data_behind_a_response_is_limited) {
    static uint8_t much[1300000];
    client c;
    request *r;
    begin();
    rt.mode = RT_WHOLE;
    client_begin(&c);
    r = client_ask(&c, "POST", "/none", "x", "y");
    rt_add(&r->due, much, sizeof much);
    client_goes_on(r);
    client_settle(&c);
    CHECK_INT(r->status, 404);
    CHECK(r->closed && r->error == NGHTTP2_NO_ERROR);
    CHECK(!c.goaway);
    client_end(&c);
    end();
}

/* Absent bytes: handlers suspend, then it is over. */
TEST(h2_input_ends) {
    while (again()) {
        client c;
        request *r, *late;
        talk t;
        begin();
        client_begin(&c);
        r = client_greet(&c, rt.version);
        r->stage = 2;                       /* the result of the run is not confirmed */
        client_settle(&c);
        memset(&t, 0, sizeof t);
        t.stream = c.stream;
        CHECK_INT(feed_end(&t), RESTATE_OK);
        CHECK_INT(feed_end(&t), RESTATE_ENDED);
        late = client_greet(&c, rt.version);
        client_settle(&c);
        CHECK_INT(c.last, RESTATE_ENDED);
        CHECK(c.goaway);
        CHECK(!late->status);
        ANSWERS(r, "Run 1 \"roll\"", "? AwaitingOn W{c:1,s:1} executing", "Propose 1 value \"4\" ack",
                "? AwaitingOn W{c:1,s:1}", "Suspension W{c:1,s:1}");
        CHECK_INT(shared.ended, 1);
        client_end(&c);
        end();
    }
}

/* The peer is gone and its window is shut: that is the end, too. */
TEST(h2_ends_without_room) {
    client c;
    talk t;
    int calls = 0;
    begin();
    rt.mode = RT_WHOLE;
    client_begin(&c);
    client_big(&c);
    client_step(&c, true);
    memset(&t, 0, sizeof t);
    t.stream = c.stream;
    CHECK_INT(feed_end(&t), RESTATE_OK);
    do take_once(&t);
    while (t.last == RESTATE_OK && ++calls < 1000);
    CHECK_INT(t.last, RESTATE_ENDED);
    CHECK(t.out.len > 20000 && t.out.len < 30000);
    rt_drop(&t.out);
    client_end(&c);
    end();
    CHECK_INT(shared.ended, 1);
}

TEST(h2_garbage) {
    static const char *const first[] = { "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "\x16\x03\x01\x02",
                                         "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxx" };
    for (int i = 0; i < 3; i++) {
        talk t;
        restate_status s;
        begin();
        memset(&t, 0, sizeof t);
        t.stream = restate_stream_open(ep, NULL);
        s = feed_bytes(&t, first[i], strlen(first[i]));
        take_all(&t);
        if (i < 2) {
            CHECK_INT(s, RESTATE_ERROR);
            CHECK_INT(t.last, RESTATE_ERROR);
            CHECK_HAS(restate_endpoint_error(ep), "magic");
            CHECK_INT(feed_bytes(&t, "x", 1), RESTATE_ERROR);
        } else {
            CHECK_INT(t.last, RESTATE_ENDED);       /* after GOAWAY */
            CHECK_INT(feed_bytes(&t, "x", 1), RESTATE_ENDED);
        }
        hang_up(&t);
        end();
    }
    for (int i = 0; i < 300; i++) {         /* and behind a good beginning */
        talk t;
        uint8_t noise[200];
        begin();
        rt.random = (uint64_t)i;
        memset(&t, 0, sizeof t);
        t.stream = restate_stream_open(ep, NULL);
        feed_bytes(&t, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
        for (size_t k = 0; k < sizeof noise; k++) noise[k] = (uint8_t)(k % 9 < 2 ? 0 : rt_dice(k % 9 == 3 ? 10 : 256));
        feed_bytes(&t, noise, 1 + rt_dice(sizeof noise));
        if (i & 1) feed_end(&t);
        take_all(&t);
        hang_up(&t);
        end();
    }
}

/* Freed in any state, together with exchanges, by the owner or with the endpoint. */
TEST(h2_free_in_the_middle) {
    for (int steps = 0; steps < 120; steps++) {
        client c[2];
        talk t;
        begin();
        rt.random = (uint64_t)steps * 7;
        rt.mode = steps % 3 ? RT_PIECES : RT_WHOLE;
        for (int k = 0; k < 2; k++) {
            client_begin(&c[k]);
            for (int i = 0; i < 5; i++) client_greet(&c[k], 5 + (unsigned)i % 3);
            client_ask(&c[k], "GET", "/health", "x", "y");
        }
        invoke(&t, "/invoke/S/greet", 7, false);
        rt.mode = RT_WHOLE;
        script_new();
        feed_script(&t);
        rt.mode = steps % 3 ? RT_PIECES : RT_WHOLE;
        for (int i = 0; i < steps; i++) client_step(&c[rt_dice(2)], rt_dice(2));
        client_end(&c[0]);
        if (steps & 1) {
            restate_stream_free(c[1].stream);
            take_all(&t);
            hang_up(&t);
        }
        rt_drop(&t.out);
        c[1].stream = NULL;
        restate_endpoint_free(ep);
        ep = NULL;
        client_end(&c[1]);
        end();
    }
}

#ifndef RESTATE_NO_THREADS
/* With a closure under way a stream of the connection is reset, or all of it freed. */
TEST(h2_free_while_a_closure_executes) {
    for (int way = 0; way < 3; way++) {
        client c;
        request *r;
        memset(&options, 0, sizeof options);
        options.stream_wake = wake;
        options.stream_user = &shared;
        begin_with();
        rt.mode = RT_WHOLE;
        client_begin(&c);
        r = client_ask(&c, "POST", "/invoke/S/gated", "content-type", "application/vnd.restate.invocation.v7");
        script_new();
        client_gives(r);
        client_settle(&c);
        reached(&shared.at_gate, 1);
        if (way == 0) nghttp2_submit_rst_stream(c.session, 0, r->id, NGHTTP2_CANCEL);
        if (way == 1) restate_stream_free(c.stream), c.stream = NULL;
        if (way == 0) client_settle(&c);
        if (way == 2) {
            restate_bytes none = restate__b_none();
            CHECK_INT(restate_stream_feed(c.stream, none), RESTATE_OK);
            client_settle(&c);
            CHECK_INT(c.last, RESTATE_OK);  /* there is more to come */
            open_gate();
            reached(&shared.woken, 1);
            client_settle(&c);
            CHECK_INT(c.last, RESTATE_ENDED);
            rt.version = 7;
            ANSWERS(r, "Run 1 \"roll\"", "? AwaitingOn W{c:1,s:1} executing", "Propose 1 value \"4\" ack",
                    "Suspension W{c:1,s:1}");
        } else {
            CHECK_INT(ep->invocations, 1);
        }
        client_end(&c);
        end();
        CHECK_INT(shared.ended, 1);
    }
}
#endif

TEST(h2_out_of_memory) {
    rt.mode = RT_WHOLE;
    while (oom_again()) {
        client c;
        oom_begin();
        client_begin(&c);
        client_greet(&c, 7);
        client_ask(&c, "GET", "/health", "x", "y");
        client_settle(&c);
        client_over(&c);
        if (c.last == RESTATE_ERROR) CHECK_HAS(restate_endpoint_error(ep), "emory");
        client_end(&c);
        end();
    }
}

/* The endpoint listens as well; what is open on both sides ends with it. */
TEST(beside_a_server) {
    talk t;
    memset(&options, 0, sizeof options);
    options.port = RESTATE_ANY_PORT;
    options.address = "127.0.0.1";
    begin_with();
    CHECK_INT(restate_endpoint_process(ep, 0), RESTATE_OK);
    rt.mode = RT_WHOLE;
    invoke(&t, "/invoke/S/greet", 7, false);
    script_rolled();
    feed_script(&t);
    CHECK_INT(restate_endpoint_process(ep, 0), RESTATE_OK);
    take_all(&t);
    SAYS(&t, "Sleep 2 wake:...", "AwaitingOn W{c:2,s:1}");
    rt_drop(&t.out);
    end();
    CHECK_INT(shared.ended, 1);
}

#endif

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(whole_exchanges_suspend_and_replay), T(whole_exchanges_begin_late), T(ended_before_the_journal_is_there), T(streamed_exchange),
        T(streamed_exchange_suspends), T(input_that_ends_too_early), T(more_output_than_is_held),
#ifndef RESTATE_NO_THREADS
        T(wake_instead_of_waiting), T(waits_for_blocking_handlers), T(wakes_for_blocking_handlers),
        T(waiting_lets_others_go_on), T(free_while_a_closure_executes),
        T(free_while_a_closure_waits), T(an_endpoint_per_thread),
#endif
        T(discovery_and_health), T(payloads_for_the_ui), T(error_statuses), T(misuse), T(interleaved), T(free_in_the_middle), T(out_of_memory),
#ifndef RESTATE_NO_SERVER
        T(h2_exchanges), T(h2_settings_tell_the_limits), T(h2_data_behind_a_response_opens_the_window_again),
        T(h2_data_behind_a_response_is_limited),
        T(connection_ended_before_journals_are_there), T(h2_input_ends), T(h2_ends_without_room),
        T(h2_garbage), T(h2_free_in_the_middle),
#  ifndef RESTATE_NO_THREADS
        T(h2_free_while_a_closure_executes),
#  endif
        T(h2_out_of_memory), T(beside_a_server),
#endif
        { NULL, NULL }
    };
#ifndef RESTATE_NO_THREADS
    main_thread = pthread_self();
#endif
    return test_main(argc, argv, cases);
}
