/* One exchange with an endpoint, without sockets: what a carrier does, done by a test.
 *
 *     TEST(sleeps) {
 *         EACH(RESTATE_SERVICE, .fn = handler) {   // protocols 5 to 7, blocking and not
 *             start(1); input("x"); give();        // what the runtime sends; the handler goes on
 *             SAYS("Sleep 1 wake:...", "AwaitingOn W{c:1,s:1}");
 *             note_sleep(1); give();
 *             SAYS("Output value \"\"", "End");
 *         }
 *     }
 *
 * Frames are written and read as in journal.c. EACH makes an endpoint with one handler, S/h, and an
 * exchange with it. When its block ends everything is released, and it is checked that no memory is
 * left, that all of the output was looked at, and that the log has nothing but what was. */
#ifndef SUPPORT_EXCHANGE_C
#define SUPPORT_EXCHANGE_C

#include "journal.c"

#include <pthread.h>
#include <time.h>

/* Ids of invocations, as the server makes them. */
#define INV_A "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn"
#define INV_B "inv_1i38pzuBc7Un030IOErvhBLoIdQKXzGtbd"
#define INV_X "inv_1jZDvXD5UlKd030uJPOFTQpYiQ6NE8HltP"
#define INV_Y "inv_19bPOjenmCZY030HUTaLqXZgYPlnDZDX2L"

typedef struct ex_state {
    restate_endpoint *endpoint;
    restate__worker worker;
    restate__exchange *x;                          /* NULL: there is none, or it was released */
    restate_options defaults;               /* of endpoints from now on, as is the clock */
    restate_clock clock;
    uint32_t pool_threads;                  /* of endpoints from now on; 0: 8 */
    size_t closure_stack_bytes;
    restate_endpoint_options options;       /* for the next endpoint */
    restate_service service;
    restate_handler handlers[3];
    unsigned version;
    int round;
    bool bytewise;                          /* input in single bytes */
    bool keep_output;                       /* it is not fetched */
    size_t changes;                         /* how often the exchange said that it changed */

    pthread_mutex_t lock;                   /* of what follows */
    pthread_cond_t happened;
    bool awake;                             /* the worker was woken */
    unsigned reached;                       /* closures at the gate */
    bool open;                              /* they may go on */
    rt_bytes log;                           /* "LEVEL message" lines */
    bool by_library;                        /* who said the last one */
    rt_bytes told;                          /* by the code under test, see tell() */
    mem_counts memory;
} ex_state;

static ex_state ex = { .lock = PTHREAD_MUTEX_INITIALIZER, .happened = PTHREAD_COND_INITIALIZER };

/* ---- Log, what handlers tell: from any thread ------------------------------------------------ */

static inline void ex_log(void *user, const restate_log_record *r) {
    static const char *const levels[] = { "", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF" };
    (void)user;
    pthread_mutex_lock(&ex.lock);
    ex.by_library = r->of_library;
    rt_print(&ex.log, "%s %s%s\n", levels[r->level], r->replaying ? "(replaying) " : "", r->message);
    pthread_mutex_unlock(&ex.lock);
}

/* Text that a test can look at; handlers and closures use it. */
static inline void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void tell(const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&ex.lock);
    rt_print(&ex.told, "%s", text);
    pthread_mutex_unlock(&ex.lock);
}

static inline const char *ex_text(const rt_bytes *b) { return b->at ? (const char *)b->at : ""; }

/* What was told since the last TOLD. */
#define TOLD(text) do { CHECK_STR(ex_text(&ex.told), text); ex.told.len = 0; if (ex.told.at) *ex.told.at = 0; } while (0)
/* The log since the last one; LOG_HAS: at least this. */
#define LOG(text) do { CHECK_STR(ex_text(&ex.log), text); ex.log.len = 0; if (ex.log.at) *ex.log.at = 0; } while (0)
#define LOG_HAS(text) do { CHECK_HAS(ex_text(&ex.log), text); ex.log.len = 0; if (ex.log.at) *ex.log.at = 0; } while (0)

/* ---- Waiting without sleeping ------------------------------------------------------------------ */

static inline bool ex_wait(void) {          /* under the lock; false: nothing came for too long */
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    return pthread_cond_timedwait(&ex.happened, &ex.lock, &until) == 0;
}

static inline void ex_wake(void *user) {
    (void)user;
    pthread_mutex_lock(&ex.lock);
    ex.awake = true;
    pthread_cond_broadcast(&ex.happened);
    pthread_mutex_unlock(&ex.lock);
}

/* For closures: waits until the test opens the gate. */
static inline void gate(void) {
    pthread_mutex_lock(&ex.lock);
    ex.reached++;
    pthread_cond_broadcast(&ex.happened);
    while (!ex.open && ex_wait()) continue;
    pthread_mutex_unlock(&ex.lock);
}

static inline void gate_open(void) {
    pthread_mutex_lock(&ex.lock);
    ex.open = true;
    pthread_cond_broadcast(&ex.happened);
    pthread_mutex_unlock(&ex.lock);
}

/* ---- The exchange ------------------------------------------------------------------------------ */

static inline void ex_changed(restate__exchange *x) {
    (void)x;
    ex.changes++;
}

/* What was written when memory ran out is of no use: a carrier resets the stream. */
static inline void ex_collect(void) {
    if (!ex.x || ex.keep_output || ex.x->out.failed) return;
    while (ex.x->out.len) {
        restate_bytes b = restate__buf_peek(&ex.x->out);
        rt_add(&rt.raw, b.ptr, b.len);
        restate__buf_drop(&ex.x->out, b.len);
        restate__exchange_drained(ex.x);
    }
}

/* Whether other threads work on attempts. */
static inline bool ex_busy(void) {
    const restate__attempt *a;
    if (!ex.x) return __atomic_load_n(&ex.endpoint->invocations, __ATOMIC_RELAXED) != 0;
    a = ex.x->attempt;
    return a && (a->closures.executing || a->state == RESTATE__ATTEMPT_DETACHED || a->state == RESTATE__ATTEMPT_RUNNING);
}

static inline void turn(void) {             /* what can be done now */
    do {
        while (restate__worker_turn(&ex.worker)) continue;
        ex_collect();
    } while (ex.worker.first);
}

static inline void settle(void) {           /* until nothing happens any more */
    for (;;) {
        bool came;
        turn();
        if (!ex_busy()) return;
        pthread_mutex_lock(&ex.lock);
        for (came = true; came && !ex.awake;) came = ex_wait();
        ex.awake = false;
        pthread_mutex_unlock(&ex.lock);
        if (came) continue;
        test_failures++;
        printf("  nothing happens %s\n", test_note);
        return;
    }
}

/* Waits until that many closures are at the gate; handlers go on meanwhile. */
static inline void gate_reached(unsigned count) {
    for (;;) {
        bool there, came = true;
        turn();
        pthread_mutex_lock(&ex.lock);
        while (came && !ex.awake && ex.reached < count) came = ex_wait();
        ex.awake = false;
        there = ex.reached >= count;
        if (!came) CHECK_INT(ex.reached, count);
        pthread_mutex_unlock(&ex.lock);
        if (there || !came) return;
    }
}

/* From memory that is gone afterwards. */
static inline void ex_feed(void) {
    size_t at = 0, n;
    for (; ex.x && at < rt_script.len; at += n) {
        uint8_t *copy;
        n = ex.bytewise ? 1 : rt_script.len - at;
        copy = (uint8_t *)malloc(n);
        if (!copy) abort();
        memcpy(copy, rt_script.at + at, n);
        restate__exchange_feed(ex.x, restate__b(copy, n));
        free(copy);
    }
    rt_script.len = 0;
}

static inline void give(void) { ex_feed(); settle(); }      /* the script so far */
static inline void give_and_end(void) { ex_feed(); restate__exchange_end_input(ex.x); settle(); }
static inline void end_of_input(void) { restate__exchange_end_input(ex.x); settle(); }

static inline bool header(const char *name, const char *value) {
    return restate__exchange_header(ex.x, restate_str(name), restate_str(value));
}

static inline void ex_release(void) {
    if (!ex.x) return;
    ex_collect();
    if (!ex.x->finished) restate__exchange_cut(ex.x);
    restate__exchange_release(ex.x);
    ex.x = NULL;
}

static inline bool ex_new(void) {           /* false: out of memory */
    ex_release();
    ex.x = restate__exchange_new(ex.endpoint, &ex.worker, ex_changed, NULL);
    return ex.x != NULL;
}

/* A request for S/h, of the version of this round. */
static inline bool ex_invoke_with(const char *name, const char *value) {
    char type[64];
    snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", ex.version);
    if (!ex_new()) return false;
    header(":method", "POST");
    header(":scheme", "http");
    header(":path", "/invoke/S/h");
    header("content-type", type);
    if (name) header(name, value);
    restate__exchange_begin(ex.x, false);
    return true;
}
static inline bool invoke(void) { return ex_invoke_with(NULL, NULL); }

static inline void ex_says(const char *file, int line, const char *const *expected) {
    rt_bytes text;
    ex_collect();
    text = rt_lines();
    rt_compare(file, line, (const char *)text.at, expected, ex.version);
    rt_drop(&text);
}

/* What came out since the last SAYS: all frames, nothing else. */
#define SAYS(...) ex_says(__FILE__, __LINE__, (const char *const[]){ __VA_ARGS__, NULL })
#define SAYS_NOTHING() ex_says(__FILE__, __LINE__, (const char *const[]){ NULL })

static inline void drop_said(void) {
    ex_collect();
    rt.seen = rt.raw.len;
}

/* ---- Rounds ------------------------------------------------------------------------------------ */

static inline void ex_memory(void) {        /* before the first allocation of a round */
    memset(&ex.options, 0, sizeof ex.options);
    ex.options.defaults = ex.defaults;
    ex.options.clock = ex.clock;
    ex.options.pool_threads = ex.pool_threads ? ex.pool_threads : 8;
    ex.options.closure_stack_bytes = ex.closure_stack_bytes;
    ex.options.allocator = mem_allocator(&ex.memory);
    ex.options.logger.write = ex_log;
    ex.memory.peak = 0;
    mem_fail(&ex.memory, 0);
    ex.keep_output = ex.open = ex.awake = false;
    ex.reached = 0;
    rt.raw.len = rt.seen = 0;
    rt_script.len = 0;
}

static inline void ex_worker(void) {
    restate__worker_init(&ex.worker, &ex.options.allocator, 0, 2);
    ex.worker.wake = ex_wake;
}

static inline void ex_begin(restate_kind kind, restate_handler handler, unsigned version, bool blocking) {
    const restate_service *services[2] = { &ex.service, NULL };
    ex_memory();
    ex.version = version;
    memset(&ex.service, 0, sizeof ex.service);
    memset(ex.handlers, 0, sizeof ex.handlers);
    handler.name = "h";
    if (blocking) handler.options.blocking = RESTATE_ON;
    if (!handler.options.stall_warning_ms) handler.options.stall_warning_ms = RESTATE_ZERO_MS;     /* on a slow machine */
    ex.handlers[0] = handler;
    if (kind == RESTATE_WORKFLOW && handler.shared) {       /* it has one that is not */
        ex.handlers[1] = handler;
        ex.handlers[1].name = "main";
        ex.handlers[1].shared = false;
    }
    ex.service.name = "S";
    ex.service.kind = kind;
    ex.service.handlers = ex.handlers;
    ex.options.services = services;
    ex_worker();
    ex.endpoint = restate_endpoint_new(&ex.options);
    ex.options.services = NULL;
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
}

static inline void ex_close(void) {
    ex_release();
    if (ex.endpoint) settle();
    CHECK_INT(ex.endpoint ? ex.endpoint->invocations : 0, 0);
    restate_endpoint_free(ex.endpoint);
    ex.endpoint = NULL;
    restate__worker_free(&ex.worker);
}

static inline void ex_end(void) {
    TOLD("");
    ex_close();
    ex.told.len = 0;                        /* how handlers took it that they were cut */
    if (rt.seen != rt.raw.len) {
        rt_bytes text = rt_lines();
        test_failures++;
        printf("  not expected, but in the output:\n%.3000s   %s\n", (const char *)text.at, test_note);
        rt_drop(&text);
    }
    LOG("");
    if (ex.memory.live || ex.memory.blocks) {
        test_failures++;
        printf("  %lu bytes were not freed %s\n", (unsigned long)ex.memory.live, test_note);
        ex.memory.live = ex.memory.blocks = 0;
    }
    rt_free_all();
    rt_drop(&rt.raw);
    rt_drop(&rt_script);
    rt_drop(&ex.log);
    rt_drop(&ex.told);
}

/* Rounds go through the versions, each with the handler on a fiber and as a blocking one, the input
 * at once and in bytes. */
static inline bool ex_again(restate_kind kind, restate_handler handler, unsigned from, unsigned to) {
    static char where[64];
    bool blocking;
    if (ex.round) ex_end();
    if (ex.round == (int)(to - from + 1) * 3) {
        ex.round = 0;
        test_note = "";
        return false;
    }
    blocking = ex.round % 3 == 1;
    ex.bytewise = ex.round % 3 == 2;
    snprintf(where, sizeof where, "(protocol %u%s%s)", from + (unsigned)ex.round / 3, blocking ? ", blocking" : "",
             ex.bytewise ? ", bytewise" : "");
    test_note = where;
    ex_begin(kind, handler, from + (unsigned)ex.round / 3, blocking);
    ex.round++;
    invoke();
    return true;
}

#define EACH_OF(from, to, kind, ...) while (ex_again(kind, (restate_handler){ __VA_ARGS__ }, from, to))
#define EACH(kind, ...) EACH_OF(5, 7, kind, __VA_ARGS__)

/* ---- Rounds on a clock that only a test moves --------------------------------------------------- */

#define NOON 1900000000000u                 /* 2030-03-17T17:46:40Z */

static uint64_t ex_wall, ex_uptime;         /* what the clock says; closures move it on other threads */

static inline void pass(uint64_t ms) {
    __atomic_add_fetch(&ex_wall, ms, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&ex_uptime, ms, __ATOMIC_SEQ_CST);
}
static inline uint64_t ex_wall_ms(void *user) {
    return user == &ex ? __atomic_load_n(&ex_wall, __ATOMIC_SEQ_CST) : 0;
}
static inline uint64_t ex_monotonic_ms(void *user) {
    return user == &ex ? __atomic_load_n(&ex_uptime, __ATOMIC_SEQ_CST) : 0;
}

static inline bool ex_clocked(restate_kind kind, restate_handler handler, unsigned from, unsigned to) {
    static const restate_clock none;
    bool more;
    ex_wall = NOON, ex_uptime = 5;
    ex.clock.wall_ms = ex_wall_ms;
    ex.clock.monotonic_ms = ex_monotonic_ms;
    ex.clock.user = &ex;
    more = ex_again(kind, handler, from, to);
    if (!more) ex.clock = none;
    return more;
}

#define EACH_CLOCKED_OF(from, to, kind, ...) while (ex_clocked(kind, (restate_handler){ __VA_ARGS__ }, from, to))
#define EACH_CLOCKED(...) EACH_CLOCKED_OF(5, 7, RESTATE_SERVICE, __VA_ARGS__)

/* ---- What most handlers and their tests need ---------------------------------------------------- */

#define OWN_ID "0123456789abcdefghijklmn"   /* what AWAKEABLE is the first of */
#define AWAKEABLE "sign_1MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1uAAAAEQ"
#define EMPTY_OUTPUT "Output value \"\"", "End"

static const restate_target greeter = { .service = "Greeter", .handler = "greet" };

static inline restate_bytes text(const char *s) { return restate_str(s); }
static inline restate_bytes absent(void) { return restate__b_none(); }

static inline const char *status_name(restate_status s) {
    static const char *const names[] = { "ok", "terminal", "timeout", "cancelled", "ended", "error" };
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

/* A status, and what came with it: "ok(value) ", "ok(-) " if absent, "terminal(409 why k=v) ", "ended ". */
static inline restate_status say(restate_ctx *ctx, restate_status s, restate_bytes value) {
    const restate_failure *f = restate_failed(ctx);
    CHECK(s == RESTATE_OK || !value.ptr);
    if (s == RESTATE_OK) tell("ok(%s) ", value.ptr ? (const char *)value.ptr : "-");
    else if (s == RESTATE_ENDED) tell("ended ");
    else {
        tell("%s(%u %s", status_name(s), f->code, f->message);
        for (const restate_pair *p = f->metadata; p->name; p++) tell(" %s=%s", p->name, p->value);
        tell(") ");
    }
    return s;
}

static inline restate_status say_status(restate_ctx *ctx, restate_status s) {
    tell("%s(%s) ", status_name(s), s == RESTATE_OK ? "" : restate_failed(ctx)->message);
    return s;
}

/* Start and Input of a handler that is new; STARTED: and it runs. */
static inline void begins(void) {
    start(1, .complete = true, .seed = 1);
    input("in");
}
#define STARTED() do { begins(); give(); } while (0)

/* What the server answers to the proposal of a run. */
static inline void run_stored(unsigned id, const char *value) {
    if (ex.version == 7) note_ack(id);
    else note_value(N_RUN, id, value);
}

static inline void log_drop(void) {
    pthread_mutex_lock(&ex.lock);
    ex.log.len = 0;
    if (ex.log.at) *ex.log.at = 0;
    pthread_mutex_unlock(&ex.lock);
}

/* Opens an endpoint, and gives what it tells the server. */
static inline const char *ex_manifest(const restate_service *const *services) {
    ex_memory();
    ex_worker();
    ex.options.services = services;
    ex.endpoint = restate_endpoint_new(&ex.options);
    ex.options.services = NULL;
    CHECK_STR(restate_endpoint_error(ex.endpoint), "");
    ex_new();
    header(":method", "GET");
    header(":path", "/discover");
    header("accept", "application/vnd.restate.endpointmanifest.v4+json");
    restate__exchange_begin(ex.x, false);
    CHECK_INT(ex.x->status, 200);
    ex_collect();
    rt.seen = rt.raw.len;
    return ex_text(&rt.raw);
}

#endif
