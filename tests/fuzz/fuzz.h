/* What the fuzz targets with an endpoint have in common: handlers that execute the bytes of their
 * input, and journals for seeds. A run has an endpoint and a clock of its own, and no threads. When
 * the endpoint is gone no memory is left. */
#ifndef FUZZ_H
#define FUZZ_H

#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_THREADS
#include "restate.h"
#include "support/allocator.c"
#include "support/journal.c"

#include "main.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* ---- Memory, clock, log ---------------------------------------------------------------------- */

static mem_counts memory;                   /* of the endpoint */

static uint64_t fixed_ms(void *user) { (void)user; return 1700000000000u; }

static void write_log(void *user, const restate_log_record *r) {
    (void)user;
    REQUIRE(strlen(r->message) < 1024);
}

/* ---- Operations: one byte says which, the next one is its argument --------------------------- */

enum { FUTURES = 8, OPERATIONS_MAX = 64 };

typedef struct machine {
    restate_ctx *ctx;
    restate_future *futures[FUTURES];       /* the newest ones; NULL: none yet */
    size_t made;
    const char *awakeable, *invocation;
    restate_bytes input;
} machine;

static const char *name_of(uint8_t a) {
    static const char *const names[] = { "a", "b", "c", "\xc3\xbc" };
    return names[a % COUNT(names)];
}

static restate_bytes bytes_of(const machine *m, uint8_t a) {
    size_t from = a < m->input.len ? a : m->input.len;
    return a % 4 ? restate_str(name_of(a)) : restate__b(m->input.ptr + from, m->input.len - from);
}

/* 0: the newest one, and so on; NULL: none was made. */
static restate_future *future_of(machine *m, uint8_t a) {
    size_t there = m->made < FUTURES ? m->made : FUTURES;
    return there ? m->futures[(m->made - 1 - a % there) % FUTURES] : NULL;
}

static restate_status made(machine *m, restate_future *f) {
    m->futures[m->made++ % FUTURES] = f;
    return RESTATE_OK;
}

static restate_failure failure_of(uint8_t a) {
    static const restate_pair metadata[] = { { "a", "1" }, { NULL, NULL } };
    restate_failure f = { (uint16_t)(400 + a), name_of(a), a & 64 ? metadata : NULL };
    return f;
}

static restate_status closure(restate_ctx *run, void *arg) {
    uint8_t a = *(uint8_t *)arg;
    restate_retry_options later = { 503, a, (a & 32) != 0 };
    restate_log(run, RESTATE_LOG_INFO, "executing %u", a);
    switch (a % 16) {
    case 0: return restate_fail(run, 400, "failed by %u", a);
    case 1: return restate_retry(run, a & 16 ? &later : NULL, "later %u", a);
    case 2: return restate_reply(run, restate_json(run, "{'a': %d}", a));
    case 3: return restate_sleep(run, 1);
    default: return restate_reply(run, restate_str("result"));
    }
}

static restate_run_options run_options(uint8_t a) {
    restate_run_options o;
    memset(&o, 0, sizeof o);
    o.arg_bytes = 1;
    o.inline_ok = a & 1;
    o.retry.max_attempts = a & 6;
    return o;
}
static restate_status do_run(machine *m, uint8_t a) {
    restate_run_options o = run_options(a);
    restate_bytes result;
    return restate_run(m->ctx, name_of(a), closure, &a, &o, &result);
}
static restate_status do_run_async(machine *m, uint8_t a) {
    restate_run_options o = run_options(a);
    return made(m, restate_run_async(m->ctx, name_of(a), closure, &a, &o));
}
static restate_status do_sleep(machine *m, uint8_t a) { return restate_sleep(m->ctx, a); }
static restate_status do_sleep_async(machine *m, uint8_t a) {
    return made(m, restate_sleep_async(m->ctx, a, a & 1 ? name_of(a) : NULL));
}
static restate_status do_now(machine *m, uint8_t a) {
    uint64_t ms;
    (void)a;
    return restate_now(m->ctx, &ms);
}
static restate_status do_random(machine *m, uint8_t a) {
    REQUIRE(strlen(restate_uuid(m->ctx)) % 36 == 0);
    restate_log(m->ctx, RESTATE_LOG_INFO, "%u", (unsigned)restate_random(m->ctx) % (a + 1u));
    return RESTATE_OK;
}

/* -- state -- */

static restate_status do_get(machine *m, uint8_t a) {
    restate_bytes value;
    return restate_get(m->ctx, name_of(a), &value);
}
static restate_status do_get_async(machine *m, uint8_t a) {
    return made(m, restate_get_async(m->ctx, name_of(a)));
}
static restate_status do_keys(machine *m, uint8_t a) {
    const char *const *keys;
    restate_status s = restate_keys(m->ctx, &keys);
    (void)a;
    while (*keys) REQUIRE(strlen(*keys++) < 100000);
    return s;
}
static restate_status do_set(machine *m, uint8_t a) {
    return restate_set(m->ctx, name_of(a >> 2), bytes_of(m, a));
}
static restate_status do_clear(machine *m, uint8_t a) { return restate_clear(m->ctx, name_of(a)); }
static restate_status do_clear_all(machine *m, uint8_t a) {
    (void)a;
    return restate_clear_all(m->ctx);
}

/* -- calls -- */

static restate_target target_of(uint8_t a) {
    restate_target t = { "Greeter", "greet", a & 1 ? "key" : NULL, a & 2 ? "scope" : NULL };
    return t;
}
static restate_call_options call_options(uint8_t a) {
    static const restate_pair headers[] = { { "x", "1" }, { "y", "2" }, { NULL, NULL } };
    restate_call_options o = { a & 4 ? "once" : NULL, a & 8 ? headers : NULL, 0, NULL, NULL };
    if ((a & 18) == 18) o.limit_key = "a/b";
    if (a & 32) o.name = name_of(a);
    return o;
}
static restate_status do_call(machine *m, uint8_t a) {
    restate_call_options o = call_options(a);
    restate_bytes reply;
    return restate_call(m->ctx, target_of(a), bytes_of(m, a), &o, &reply);
}
static restate_status do_call_async(machine *m, uint8_t a) {
    restate_call_options o = call_options(a);
    return made(m, restate_call_async(m->ctx, target_of(a), bytes_of(m, a), &o));
}
static restate_status do_send(machine *m, uint8_t a) {
    restate_call_options o = call_options(a);
    o.delay_ms = a & 64 ? a : 0;
    return made(m, restate_send(m->ctx, target_of(a), bytes_of(m, a), &o));
}
static restate_status do_call_id(machine *m, uint8_t a) {
    return restate_call_id(m->ctx, future_of(m, a), &m->invocation);
}
static restate_status do_cancel(machine *m, uint8_t a) {
    (void)a;
    return restate_cancel(m->ctx, m->invocation);
}
static restate_invocation invocation_of(const machine *m, uint8_t a) {
    restate_invocation i;
    memset(&i, 0, sizeof i);
    if (a & 1) i.id = m->invocation;
    else i.target = target_of(a >> 1);
    if (a & 64) i.idempotency_key = "once";
    else i.target.handler = NULL;
    return i;
}
static restate_status do_attach(machine *m, uint8_t a) {
    restate_bytes reply;
    return restate_attach(m->ctx, invocation_of(m, a), &reply);
}
static restate_status do_attach_async(machine *m, uint8_t a) {
    return made(m, restate_attach_async(m->ctx, invocation_of(m, a)));
}
static restate_status do_output(machine *m, uint8_t a) {
    restate_bytes reply;
    return restate_output(m->ctx, invocation_of(m, a), &reply);
}

/* -- awakeables, signals, promises -- */

static restate_status do_awakeable(machine *m, uint8_t a) {
    (void)a;
    return made(m, restate_awakeable(m->ctx, &m->awakeable));
}
static restate_status do_resolve(machine *m, uint8_t a) {
    return restate_resolve(m->ctx, m->awakeable, bytes_of(m, a));
}
static restate_status do_reject(machine *m, uint8_t a) {
    restate_failure f = failure_of(a);
    return restate_reject(m->ctx, m->awakeable, &f);
}
static restate_status do_signal(machine *m, uint8_t a) {
    return made(m, restate_signal(m->ctx, name_of(a)));
}
static restate_status do_signal_resolve(machine *m, uint8_t a) {
    return restate_signal_resolve(m->ctx, m->invocation, name_of(a), bytes_of(m, a));
}
static restate_status do_signal_reject(machine *m, uint8_t a) {
    restate_failure f = failure_of(a);
    return restate_signal_reject(m->ctx, m->invocation, name_of(a), &f);
}
static restate_status do_promise(machine *m, uint8_t a) {
    return made(m, restate_promise(m->ctx, name_of(a)));
}
static restate_status do_promise_peek(machine *m, uint8_t a) {
    restate_bytes value;
    return restate_promise_peek(m->ctx, name_of(a), &value);
}
static restate_status do_promise_resolve(machine *m, uint8_t a) {
    return restate_promise_resolve(m->ctx, name_of(a), bytes_of(m, a));
}
static restate_status do_promise_reject(machine *m, uint8_t a) {
    restate_failure f = failure_of(a);
    return restate_promise_reject(m->ctx, name_of(a), &f);
}

/* -- futures -- */

static restate_status do_await(machine *m, uint8_t a) {
    restate_future *f = future_of(m, a);
    restate_bytes value;
    restate_status s = f ? restate_await(m->ctx, f, &value) : RESTATE_OK;
    REQUIRE(!f || s != RESTATE_OK || restate_is_done(f));
    return s;
}
static restate_status do_await_for(machine *m, uint8_t a) {
    restate_bytes value;
    return restate_await_for(m->ctx, future_of(m, a), a, &value);
}
static restate_status do_select(machine *m, uint8_t a) {
    size_t i, n = a % (FUTURES + 1);
    restate_status s = restate_select(m->ctx, m->futures, n, &i);
    REQUIRE(s == RESTATE_OK ? i <= n : i == n);
    return s;
}
static restate_status do_selector(machine *m, uint8_t a) {
    restate_selector *left = restate_selector_new(m->ctx, m->futures, a % (FUTURES + 1));
    restate_status s = RESTATE_OK;
    size_t i;
    while (s == RESTATE_OK && restate_selector_remaining(left))
        s = restate_selector_next(m->ctx, left, &i);
    return s;
}
static restate_status do_combine(machine *m, uint8_t a) {
    size_t n = (a >> 2) % (FUTURES + 1);
    switch (a % 4) {
    case 0: return made(m, restate_race(m->ctx, m->futures, n));
    case 1: return made(m, restate_any(m->ctx, m->futures, n));
    case 2: return made(m, restate_all(m->ctx, m->futures, n));
    default: return made(m, restate_all_settled(m->ctx, m->futures, n));
    }
}
static restate_status do_settled(machine *m, uint8_t a) {
    restate_failure f = failure_of(a);
    return made(m, restate_settled(m->ctx, bytes_of(m, a), a & 128 ? &f : NULL));
}
static restate_status do_cancellation(machine *m, uint8_t a) {
    (void)a;
    return made(m, restate_cancellation(m->ctx));
}
static restate_status do_cancel_calls(machine *m, uint8_t a) {
    (void)a;
    return restate_cancel_calls(m->ctx);
}

/* -- JSON, and the end -- */

static restate_status do_json(machine *m, uint8_t a) {
    restate_bytes json = bytes_of(m, a), text = restate__b_none();
    const char *string = "";
    cJSON *tree;
    RESTATE_IGNORE(restate_json_string(m->ctx, json, name_of(a), &string));
    RESTATE_IGNORE(restate_json_text(m->ctx, json, NULL, &text));
    return restate_json_tree(m->ctx, json, &tree);
}
static restate_status do_reply(machine *m, uint8_t a) {
    return restate_reply(m->ctx, bytes_of(m, a));
}
static restate_status do_end(machine *m, uint8_t a) {
    restate_failure f = failure_of(a);
    if (a % 3 == 0) RESTATE_IGNORE(restate_retry(m->ctx, NULL, "later"));
    if (a % 3 == 1) RESTATE_IGNORE(restate_fail_with(m->ctx, &f));
    return RESTATE_ENDED;
}

static restate_status (*const operations[])(machine *m, uint8_t a) = {
    do_await,                               /* the first one: seeds know it */
    do_run, do_run_async, do_sleep, do_sleep_async, do_now, do_random,
    do_get, do_get_async, do_keys, do_set, do_clear, do_clear_all,
    do_call, do_call_async, do_send, do_call_id, do_cancel, do_attach, do_attach_async, do_output,
    do_awakeable, do_resolve, do_reject, do_signal, do_signal_resolve, do_signal_reject,
    do_promise, do_promise_peek, do_promise_resolve, do_promise_reject,
    do_await_for, do_select, do_selector, do_combine, do_settled,
    do_cancellation, do_cancel_calls, do_json, do_reply, do_end
};

/* After a failure it goes on: what a program may do then is as much to be tried. */
static restate_status execute(restate_ctx *ctx, restate_bytes input) {
    machine m = { ctx, { NULL }, 0, "sign_1", "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn", input };
    restate_status s = RESTATE_OK;
    for (size_t i = 0; i + 1 < input.len && i < 2 * OPERATIONS_MAX && s != RESTATE_ENDED; i += 2)
        s = operations[input.ptr[i] % COUNT(operations)](&m, input.ptr[i + 1]);
    return s;
}

/* ---- The endpoint ---------------------------------------------------------------------------- */

static restate_status copy_bytes(void *user, restate_ctx *ctx, restate_bytes from,
                                 restate_bytes *to) {
    uint8_t *copy = (uint8_t *)restate_alloc(ctx, from.len);
    (void)user;
    if (!copy) return RESTATE_ENDED;
    if (from.len) memcpy(copy, from.ptr, from.len);
    *to = restate__b(copy, from.len);
    return RESTATE_OK;
}
static const restate_seal copying = { copy_bytes, copy_bytes, NULL, false };

static const char *const paths[] = {
    "/invoke/S/plain", "/invoke/S/explicit", "/invoke/S/sealed", "/invoke/O/plain",
    "/invoke/O/lazy", "/invoke/O/shared", "/invoke/W/plain", "/invoke/W/shared"
};

static restate_endpoint *begin(void) {
    static const restate_handler of_service[] = {
        { .name = "plain", .fn = execute },
        { .name = "explicit", .fn = execute, .options = { .explicit_cancellation = RESTATE_ON } },
        { .name = "sealed", .fn = execute, .options = { .seal = &copying } }, { .name = NULL } };
    static const restate_handler of_object[] = {
        { .name = "plain", .fn = execute },
        { .name = "lazy", .fn = execute, .options = { .lazy_state = RESTATE_ON } },
        { .name = "shared", .fn = execute, .shared = true }, { .name = NULL } };
    static const restate_handler of_workflow[] = {
        { .name = "plain", .fn = execute, .options = { .cancel_sends = RESTATE_ON } },
        { .name = "shared", .fn = execute, .shared = true }, { .name = NULL } };
    static const restate_service service = { .name = "S", .handlers = of_service };
    static const restate_service object = { .name = "O", .kind = RESTATE_OBJECT,
                                            .handlers = of_object };
    static const restate_service workflow = { .name = "W", .kind = RESTATE_WORKFLOW,
                                              .handlers = of_workflow };
    static const restate_service *const services[] = { &service, &object, &workflow, NULL };
    restate_endpoint_options o;
    restate_endpoint *ep;
    memset(&o, 0, sizeof o);
    o.services = services;
    o.max_message_bytes = 1 << 20;
    o.defaults.stall_warning_ms = RESTATE_ZERO_MS;
    o.allocator = mem_allocator(&memory);
    o.clock = (restate_clock){ fixed_ms, fixed_ms, NULL };
    o.logger = (restate_logger){ write_log, NULL, RESTATE_LOG_TRACE, true };
    ep = restate_endpoint_new(&o);
    REQUIRE(ep && !*restate_endpoint_error(ep));
    return ep;
}

static void end(restate_endpoint *ep) {
    mem_fail(&memory, 0);
    restate_endpoint_free(ep);
    REQUIRE(memory.live == 0);
}

/* From memory that is gone afterwards. */
static restate_status feed_copy(restate_stream *stream, const uint8_t *at, size_t len) {
    uint8_t *copy = (uint8_t *)malloc(len ? len : 1);
    restate_status s;
    if (!copy) abort();
    memcpy(copy, at, len);
    s = restate_stream_feed(stream, restate__b(copy, len));
    free(copy);
    return s;
}

/* What there is to send, up to the last of it. */
static restate_status take(restate_stream *stream, rt_bytes *out, uint16_t *status) {
    restate_status s;
    restate_bytes b;
    do {
        s = restate_stream_take(stream, &b, status, NULL);
        rt_add(out, b.ptr, b.len);
    } while (s == RESTATE_OK && b.len);
    return s;
}

/* Feeds pieces of a size (0: all at once), takes after each, and goes on as long as that works. */
static restate_status talk(restate_stream *stream, restate_bytes in, size_t piece, rt_bytes *out,
                           uint16_t *status) {
    restate_status s = take(stream, out, status);
    if (!piece) piece = in.len;
    for (size_t n; in.len && s == RESTATE_OK; in.ptr += n, in.len -= n) {
        n = in.len < piece ? in.len : piece;
        s = feed_copy(stream, in.ptr, n);
        if (s == RESTATE_OK) s = take(stream, out, status);
    }
    return s;
}

/* The length of the first message of an exchange; all, if it is not complete. */
static size_t frame_of(restate_bytes in) {
    size_t len = in.len < 8 ? in.len : 8 + (size_t)restate__b_get32(in.ptr + 4);
    return len < in.len ? len : in.len;
}

/* Takes out what is sent as often as something arrives. */
static inline void drop_awaiting(rt_bytes *out) {
    size_t to = 0, len;
    for (size_t at = 0; at + 8 <= out->len; at += len) {
        len = frame_of(restate__b(out->at + at, out->len - at));
        if (out->at[at] || out->at[at + 1] != M_AWAITING_ON) {
            memmove(out->at + to, out->at + at, len);
            to += len;
        }
    }
    out->len = to;
}

static restate_stream *open_exchange(restate_endpoint *ep, const char *path, unsigned version,
                                     bool whole) {
    static const char *const types[] = { "application/vnd.restate.invocation.v5",
        "application/vnd.restate.invocation.v6", "application/vnd.restate.invocation.v7" };
    const restate_pair headers[] = { { "content-type", types[version - 5] }, { NULL, NULL } };
    restate_http_request request = { "POST", path, headers, whole };
    return restate_stream_open(ep, &request);
}

/* ---- Seeds: journals as they are when a program has been executed to its end ----------------- */

typedef struct seed_journal { rt_bytes entries, results; unsigned count; } seed_journal;

static void add_entry(seed_journal *j, bool result) {
    rt_add(&j->entries, rt_script.at, rt_script.len);
    if (result) rt_add(&j->results, rt_script.at, rt_script.len);
    rt_script.len = 0;
    j->count++;
}

static void add_result(seed_journal *j, unsigned command, unsigned id) {
    unsigned type = 0x8000 | (command & 0xFF);
    if (type == N_SLEEP || type == N_COMPLETE_PROMISE) note_void(type, id);
    else if (type == N_GET_LAZY_KEYS) frame(type, "1u 17(1s1s)", id, "a", "b");
    else if (id % 5 == 4) note_failure(type, id, 404, "none");
    else note_value(type, id, "3");
    add_entry(j, true);
}

/* A command of the handler is stored, and gets its results (fields 10 and 11) at once; so does a
 * run when its result is proposed. False: the handler has ended. */
static bool store(seed_journal *j, unsigned type, const uint8_t *at, size_t len) {
    const uint8_t *p = at;
    rt_field f;
    if (type >= M_INPUT) {
        rt_frame(&rt_script, type, 0, at, len);
        add_entry(j, false);
    }
    while (rt_next_field(&p, at + len, &f) == 1) {
        if (type == M_PROPOSE && f.number == 1) add_result(j, N_RUN, (unsigned)f.n);
        if ((type == M_CALL || type == M_SEND) && f.number == 10) {
            note_id((unsigned)f.n, "inv_1i38pzuBc7Un030IOErvhBLoIdQKXzGtbd");
            add_entry(j, true);
        }
        if (type >= M_INPUT && type != M_RUN && f.number == 11) add_result(j, type, (unsigned)f.n);
    }
    return type != M_END && type != M_ERROR;
}

static void seed_start(unsigned known, bool whole_state) {
    start(known, .id = "0123456789abcdefghijklmn", .key = "key", .state = "a=1;c=2", .complete = whole_state, .seed = 7);
}

/* One attempt: what it sends is added. */
static bool seed_attempt(seed_journal *j, const char *path, unsigned version) {
    restate_endpoint *ep = begin();
    restate_stream *stream = open_exchange(ep, path, version, true);
    rt_bytes out = { NULL, 0, 0 };
    uint16_t status;
    bool goes_on = true;
    seed_start(j->count, version != 6);
    rt_add(&rt_script, j->entries.at, j->entries.len);
    talk(stream, restate__b(rt_script.at, rt_script.len), 0, &out, &status);
    rt_script.len = 0;
    restate_stream_feed(stream, restate__b_none());
    take(stream, &out, &status);
    for (size_t at = 0, len; at + 8 <= out.len; at += 8 + len) {
        const uint8_t *p = out.at + at;
        len = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
        goes_on = store(j, (unsigned)(p[0] << 8 | p[1]), p + 8, len) && goes_on;
    }
    restate_stream_free(stream);
    end(ep);
    rt_drop(&out);
    return goes_on;
}

/* Where it waits for nothing but signals they come. */
static seed_journal seed_execute(const char *path, unsigned version, restate_bytes program) {
    seed_journal j = { { NULL, 0, 0 }, { NULL, 0, 0 }, 0 };
    frame(M_INPUT, "14(1b)", (const void *)program.ptr, program.len);
    add_entry(&j, false);
    for (unsigned attempts = 0, before = j.count; attempts < 20; attempts++, before = j.count) {
        if (!seed_attempt(&j, path, version)) break;
        if (j.count != before) continue;
        note_signal(17 + attempts % 3, "4");
        add_entry(&j, true);
        note_named(name_of((uint8_t)attempts), "5");
        add_entry(&j, true);
    }
    return j;
}

/* Made of the bodies of each_journal(). */
typedef void fuzz_body(fuzz_use *use, size_t path, unsigned version, restate_bytes body);

enum { EACH = 4 };

static void add_program(rt_bytes *to, size_t first, size_t salt) {
    for (size_t i = 0; i < EACH; i++) {
        uint8_t four[4] = { (uint8_t)(first + i), (uint8_t)(salt + 16 * i), 0, 0 };
        rt_add(to, four, sizeof four);      /* with an await behind it */
    }
}

/* The journal as it is replayed, then its results as they come to a handler that is new. */
static void each_body(fuzz_use *use, fuzz_body *body, size_t path, unsigned version,
                      restate_bytes program) {
    seed_journal j = seed_execute(paths[path], version, program);
    seed_start(j.count, version != 6);
    rt_add(&rt_script, j.entries.at, j.entries.len);
    body(use, path, version, restate__b(rt_script.at, rt_script.len));
    rt_script.len = 0;
    seed_start(1, version != 6);
    frame(M_INPUT, "14(1b)", (const void *)program.ptr, program.len);
    rt_add(&rt_script, j.results.at, j.results.len);
    body(use, path, version, restate__b(rt_script.at, rt_script.len));
    rt_script.len = 0;
    rt_drop(&j.entries), rt_drop(&j.results);
}

/* Operations that follow each other in the table, for each handler. */
static inline void each_journal(fuzz_use *use, fuzz_body *body) {    /* not of every target */
    for (size_t first = 1, n = 0; first < COUNT(operations); first += EACH) {
        for (size_t path = 0; path < COUNT(paths); path++, n++) {
            rt_bytes program = { NULL, 0, 0 };
            add_program(&program, first, n);
            each_body(use, body, path, 5 + (unsigned)(n % 3), restate__b(program.at, program.len));
            rt_drop(&program);
        }
    }
    rt_drop(&rt_script);
}

#endif
