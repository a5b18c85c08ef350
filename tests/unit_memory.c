/* What an endpoint that is warm asks of malloc: nothing, whatever the invocations are that come and go on
 * a connection. malloc is this program's own and counts; under sanitizers and valgrind, which bring
 * theirs, it only carries the same invocations, so that they see the pools in use.
 *
 * The client is nghttp2's; only what the endpoint does is counted. */
#define RESTATE_IMPLEMENTATION
#include "tools.h"
#define RESTATE__CACHE_KEEPS_FROM 1u                /* also with ASan, which other tests do without */
#include "restate.h"
#include "support/allocator.c"
#include "support/http2.c"

#if SLOW > 1 || !defined(__GLIBC__)
#  define COUNTS 0
enum { WARM_UP = 60, COUNTED = 60 };
#else
#  define COUNTS 1
enum { WARM_UP = 300, COUNTED = 1000 };
#endif

/* ---- malloc, counted -------------------------------------------------------------------------------- */

static volatile bool counting;              /* volatile: compilers know what malloc does not touch */
static pthread_t client_thread;             /* the endpoint's too, while counting */
static volatile unsigned long asked;        /* of malloc and its kind, by the endpoint */

#if COUNTS
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *old);

static void ask(void) {
    if (counting || !pthread_equal(pthread_self(), client_thread))
        __atomic_fetch_add(&asked, 1, __ATOMIC_SEQ_CST);
}

void *malloc(size_t size) {
    ask();
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    ask();
    return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    ask();
    return __libc_realloc(old, size);
}
void free(void *old) {
    if (old) ask();
    __libc_free(old);
}
#endif

/* ---- Handlers --------------------------------------------------------------------------------------- */

static restate_status echo(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }

static restate_status greet(restate_ctx *ctx, restate_bytes in) {
    const char *name = "";
    long long age = 0;
    RESTATE_TRY(restate_json_string(ctx, in, "name", &name));
    RESTATE_TRY(restate_json_int(ctx, in, "age", &age));
    return restate_reply(ctx, restate_json(ctx, "{\"hello\":%s,\"next\":%lld}", name, age + 1));
}

static restate_status count(restate_ctx *ctx, restate_bytes in) {
    restate_bytes stored, sum;
    long long n = 0;
    (void)in;
    RESTATE_TRY(restate_get(ctx, "n", &stored));
    RESTATE_TRY(restate_json_int(ctx, stored, NULL, &n));
    sum = restate_json(ctx, "%lld", n + 1);
    RESTATE_TRY(restate_set(ctx, "n", sum));
    return restate_reply(ctx, sum);
}

static restate_status one(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_str("1"));
}

static restate_status steps_with(restate_ctx *ctx, bool here) {
    const restate_run_options o = { .inline_ok = here };
    restate_bytes result;
    RESTATE_TRY(restate_run(ctx, "first", one, NULL, &o, &result));
    RESTATE_TRY(restate_run(ctx, "second", one, NULL, &o, &result));
    return restate_reply(ctx, result);
}

static restate_status steps(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return steps_with(ctx, true);
}
static restate_status steps_away(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return steps_with(ctx, false);
}

static restate_status nap(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_sleep(ctx, 1000));
    return restate_reply(ctx, in);
}

static const restate_service service = { .name = "S", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(echo) }, { RESTATE_HANDLER(greet) }, { RESTATE_HANDLER(count) },
    { RESTATE_HANDLER(steps) }, { RESTATE_HANDLER(steps_away) }, { RESTATE_HANDLER(nap) }) };

/* ---- What the runtime sends ------------------------------------------------------------------------- */

enum { PARTS = 3 };

/* Part 0 at once, each further one after one more question of the handler. */
typedef struct script {
    const char *path;
    rt_bytes part[PARTS];
    unsigned parts;
} script;

static void script_end_part(script *s) {
    s->part[s->parts++] = rt_script;
    memset(&rt_script, 0, sizeof rt_script);
}

static void script_drop(script *s) {
    while (s->parts) rt_drop(&s->part[--s->parts]);
}

static script script_of(const char *path, const char *body, const char *state) {
    script s;
    memset(&s, 0, sizeof s);
    s.path = path;
    start(1, .key = "my-key", .state = state, .complete = state != NULL);
    input(body);
    script_end_part(&s);
    return s;
}

static script script_echo(void) { return script_of("/invoke/S/echo", "some bytes", ""); }
static script script_greet(void) {
    return script_of("/invoke/S/greet", "{\"name\":\"B\\u00f6b\",\"age\":41}", "");
}
static script script_count(void) { return script_of("/invoke/S/count", "", "n=41"); }

static script script_count_lazily(void) {
    script s = script_of("/invoke/S/count", "", NULL);
    note_value(N_GET_LAZY, 1, "41");
    script_end_part(&s);
    return s;
}

static script script_steps_of(const char *path) {
    script s = script_of(path, "", "");
    note_value(N_RUN, 1, "1");
    script_end_part(&s);
    note_value(N_RUN, 2, "1");
    script_end_part(&s);
    return s;
}
static script script_steps(void) { return script_steps_of("/invoke/S/steps"); }
static script script_steps_away(void) { return script_steps_of("/invoke/S/steps_away"); }

static script script_nap(void) {
    script s = script_of("/invoke/S/nap", "x", "");
    note_sleep(1);
    script_end_part(&s);
    return s;
}

/* ---- The client ------------------------------------------------------------------------------------- */

enum { AT_ONCE = 16 };                      /* as many as the worker of streams keeps fibers for */

typedef struct call {
    const script *script;
    int32_t id;                             /* 0: there is none under way */
    unsigned part;                          /* the one that is being sent */
    h2_body up;
    unsigned status;
    uint8_t body[512];                      /* of the response */
    size_t len;
} call;

static struct {
    nghttp2_session *session;
    call calls[AT_ONCE];
    unsigned begun, done;
    uint8_t out[65536], in[65536];
    size_t out_len;
    bool broken;
} client;

/* Frames that the handler cannot go on without an answer to. */
static unsigned questions(const call *k) {
    unsigned n = 0;
    size_t at = 0;
    while (at + 8 <= k->len) {
        unsigned type = (unsigned)k->body[at] << 8 | k->body[at + 1];
        n += type == M_PROPOSE || type == M_GET_LAZY || type == M_SLEEP;
        at += 8 + ((size_t)k->body[at + 6] << 8 | k->body[at + 7]);
    }
    return n;
}

static void send_part(call *k, unsigned part) {
    const rt_bytes *bytes = &k->script->part[part];
    k->part = part;
    k->up.at = bytes->at;
    k->up.len = bytes->len;
    k->up.sent = 0;
    k->up.over = part + 1 == k->script->parts;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t len, uint8_t flags, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
    (void)flags, (void)user, (void)len;
    if (k) k->status = h2_status(name, name_len, value, k->status);
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user) {
    call *k = (call *)nghttp2_session_get_stream_user_data(s, id);
    (void)flags, (void)user;
    if (!k || len > sizeof k->body - k->len) return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(k->body + k->len, data, len);
    k->len += len;
    if (k->part + 1 < k->script->parts && k->part < questions(k)) {
        send_part(k, k->part + 1);
        h2_resume(s, id, &k->up);
    }
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user) {
    static const uint8_t end[8] = { 0, M_END };
    call *k = (call *)nghttp2_session_get_stream_user_data(s, id);
    (void)user;
    if (!k) return 0;
    CHECK_INT(code, 0);
    CHECK_INT(k->status, 200);
    CHECK(k->len >= 8 && memcmp(k->body + k->len - 8, end, 8) == 0);
    k->id = 0;
    client.done++;
    return 0;
}

static void client_begin(void) {
    const h2_options o = { on_header, on_data, NULL, on_close, .window = 65535 };
    memset(&client, 0, sizeof client);
    client.session = h2_session(&o, NULL);
}

static void invoke(call *k, const script *s) {
    char type[64], trace[64];
    const restate_pair more[] = { { "content-type", type }, { "traceparent", trace }, { NULL, NULL } };
    snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", rt.version);
    snprintf(trace, sizeof trace, "00-%032x-%016x-01", client.begun * 7919u, client.begun);
    memset(k, 0, sizeof *k);
    k->script = s;
    send_part(k, 0);
    k->id = h2_request(client.session, "POST", s->path, more, &k->up, k);
    CHECK(k->id > 0);
    client.begun++;
}

static void client_make(void) {             /* what is to be sent */
    const uint8_t *frame;
    restate__h2_ssize n;
    while (client.out_len < sizeof client.out - RESTATE__H2_FRAME_MAX &&
           (n = RESTATE__H2_V(nghttp2_session_mem_send)(client.session, &frame)) > 0) {
        memcpy(client.out + client.out_len, frame, (size_t)n);
        client.out_len += (size_t)n;
    }
}

static void client_take(const uint8_t *at, size_t len) {
    if (len && RESTATE__H2_V(nghttp2_session_mem_recv)(client.session, at, len) < 0) client.broken = true;
}

/* ---- How the bytes get there ------------------------------------------------------------------------- */

typedef struct way {
    const char *name;
    void (*begin)(void);
    void (*carry)(void);                    /* both ways, once */
    void (*end)(void);
} way;

static restate_endpoint *ep;
static restate_stream *stream;
static int fd = -1;

static void carry_begin(void) { stream = restate_stream_open(ep, NULL); }
static void carry_end(void) { restate_stream_free(stream); }

static void carry(void) {
    restate_bytes b = { NULL, 1 };
    counting = true;
    if (restate_stream_feed(stream, restate__b(client.out, client.out_len)) != RESTATE_OK) client.broken = true;
    counting = false;
    client.out_len = 0;
    while (b.len) {
        counting = true;
        if (restate_stream_take(stream, &b, NULL, NULL) != RESTATE_OK) client.broken = true;
        counting = false;
        client_take(b.ptr, b.len);
    }
}

static void sockets_begin(void) {
    if (restate_endpoint_process(ep, 0) != RESTATE_OK) abort();
    fd = h2_connect(restate_endpoint_port(ep), 0);
    if (fd < 0) abort();
}

static void sockets_carry(void) {
    ssize_t n = send(fd, client.out, client.out_len, MSG_NOSIGNAL);
    if (n < 0) n = 0;
    memmove(client.out, client.out + n, client.out_len - (size_t)n);
    client.out_len -= (size_t)n;
    counting = true;
    restate_endpoint_process(ep, 1);
    counting = false;
    while ((n = recv(fd, client.in, sizeof client.in, 0)) > 0) client_take(client.in, (size_t)n);
    if (n == 0 || errno != EAGAIN) client.broken = true;
}

static void sockets_end(void) { close(fd); }

static const way ways[] = { { "in memory", carry_begin, carry, carry_end },
                            { "over sockets", sockets_begin, sockets_carry, sockets_end } };

/* ---- The measurement --------------------------------------------------------------------------------- */

/* That many invocations, `width` of them at a time. */
static void invoke_many(const way *w, const script *s, unsigned n, unsigned width) {
    unsigned until = client.done + n, idle = 0, before;
    client.begun = client.done;
    while (client.done != until && !client.broken && idle < 1000) {
        for (unsigned i = 0; i < width && client.begun != until; i++)
            if (!client.calls[i].id) invoke(&client.calls[i], s);
        before = client.done;
        client_make();
        w->carry();
        idle = client.done == before ? idle + 1 : 0;
    }
    CHECK_INT(client.done, until);
}

static void logs_nothing(void *user, const restate_log_record *r) {
    (void)user;
    if (r->level >= RESTATE_LOG_WARN) printf("  logged: %s\n", r->message), test_failures++;
}

/* How often malloc was asked by so many invocations. What is kept grows until there were once as many of
 * everything as there can be at a time; with threads and sockets that may come late, but then it is over. */
static unsigned long ask_for_many(const way *w, const script *s, unsigned width) {
    int tries = 0;
    do {
        asked = 0;
        invoke_many(w, s, COUNTED, width);
    } while (asked && ++tries < 5);
    return asked;
}

static void measure(const way *w, script s, unsigned version) {
    static char where[96];
    restate_endpoint_options o = { .services = RESTATE_SERVICES(&service), .address = "127.0.0.1",
                                   .port = RESTATE_ANY_PORT, .pool_threads = 2,
                                   .defaults.stall_warning_ms = UINT64_MAX,     /* a slow machine is no stall */
                                   .logger.write = logs_nothing };
    snprintf(where, sizeof where, "(%s, %s, protocol %u)", s.path, w->name, version);
    test_note = where;
    rt.version = version;
    ep = restate_endpoint_new(&o);
    CHECK_STR(restate_endpoint_error(ep), "");
    client_begin();
    w->begin();
    invoke_many(w, &s, WARM_UP, AT_ONCE);   /* starts the threads of the pool, too */
    for (unsigned width = 1; width <= AT_ONCE; width += AT_ONCE - 1) {
        invoke_many(w, &s, WARM_UP, width);
        CHECK_INT(ask_for_many(w, &s, width), 0);
    }
    w->end();
    nghttp2_session_del(client.session);
    restate_endpoint_free(ep);
    script_drop(&s);
    rt_free_all();
}

static void measure_all(script (*make)(void)) {
    for (unsigned version = 6; version <= 7; version++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) measure(&ways[i], make(), version);
}

TEST(bytes) { measure_all(script_echo); }
TEST(json_scalars) { measure_all(script_greet); }
TEST(state_that_is_there) { measure_all(script_count); }
TEST(state_that_is_asked_for) { measure_all(script_count_lazily); }
TEST(runs_inline) { measure_all(script_steps); }
TEST(runs_on_threads) { measure_all(script_steps_away); }
TEST(parked) { measure_all(script_nap); }

/* The counter does count. */
TEST(counter) {
    void *volatile p;
    asked = 0;
    counting = true;
    p = malloc(1);
    free(p);
    p = calloc(1, 1);
    p = realloc(p, 100);
    free(p);
    counting = false;
    CHECK_INT(asked, COUNTS ? 5 : 0);
}

/* ---- The pool by itself ------------------------------------------------------------------------------ */

static mem_counts memory;                   /* of the pool */

enum { CACHE_BYTES = 1 << 20 };

static bool filled(const void *p, size_t size, int byte) {
    const uint8_t *at = (const uint8_t *)p;
    while (size && at[size - 1] == (uint8_t)byte) size--;
    return size == 0;
}

TEST(blocks) {
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 100, 1007, 1008, 1009, 5000 };
    const size_t count = sizeof sizes / sizeof *sizes;
    restate_allocator a = mem_allocator(&memory);
    restate__chunk *kept[RESTATE__CACHE_CLASSES] = { NULL };
    restate__cache pool;
    restate__cache_init(&pool, &a, kept, CACHE_BYTES);
    for (size_t i = 0; i < count * count; i++) {
        size_t from = sizes[i / count], to = sizes[i % count];
        void *p = restate__h2_malloc(from, &pool), *other = restate__h2_malloc(from, &pool), *zero;
        CHECK((uintptr_t)p % (2 * sizeof p) == 0);
        memset(p, 'p', from);
        memset(other, 'o', from);
        CHECK(!restate__h2_realloc(p, SIZE_MAX, &pool));
        p = restate__h2_realloc(p, to, &pool);
        CHECK(filled(p, from < to ? from : to, 'p'));
        memset(p, 'q', to);
        CHECK(filled(other, from, 'o'));
        restate__h2_free(p, &pool);
        zero = restate__h2_calloc(to, 1, &pool);
        CHECK(filled(zero, to, 0));
        restate__h2_free(zero, &pool);
        restate__h2_free(other, &pool);
    }
    CHECK(!restate__h2_malloc(SIZE_MAX, &pool));
    CHECK(!restate__h2_calloc(SIZE_MAX / 2, 3, &pool));
    restate__h2_free(NULL, &pool);
    restate__cache_free(&pool);
    CHECK_INT(memory.live, 0);
}

/* What is kept is used again, but not all is kept. */
TEST(blocks_are_bounded) {
    enum { MANY = 20000 };
    static void *all[MANY];
    restate_allocator a = mem_allocator(&memory);
    restate__chunk *kept[RESTATE__CACHE_CLASSES] = { NULL };
    restate__cache pool;
    restate__cache_init(&pool, &a, kept, CACHE_BYTES);
    for (size_t i = 0; i < MANY; i++) all[i] = restate__h2_malloc(i % 1000, &pool);
    CHECK(memory.live > 5 * (size_t)CACHE_BYTES);
    for (size_t i = 0; i < MANY; i++) restate__h2_free(all[i], &pool);
    CHECK(memory.live <= CACHE_BYTES && memory.live > CACHE_BYTES - RESTATE__CACHE_SMALL);
    for (size_t i = 0; i < 100; i++) restate__h2_free(restate__h2_malloc(i * 10, &pool), &pool);
    CHECK(memory.live <= CACHE_BYTES);
    restate__cache_free(&pool);
    CHECK_INT(memory.live, 0);
}

/* A kept block is used for what is smaller, but not for what leaves more than half of it unused. */
TEST(blocks_are_used_for_at_least_half_of_them) {
    static const size_t large = 60000;
    restate_allocator a = mem_allocator(&memory);
    restate__chunk *kept[RESTATE__CACHE_CLASSES] = { NULL }, *block, *half, *less;
    restate__cache pool;
    restate__cache_init(&pool, &a, kept, CACHE_BYTES);
    block = restate__cache_take(&pool, large);
    restate__cache_give(&pool, block);
    half = restate__cache_take(&pool, large / 2);
    CHECK(half == block);
    restate__cache_give(&pool, half);
    less = restate__cache_take(&pool, large / 3);
    CHECK(less != block && less->size < large);
    restate__cache_give(&pool, less);
    restate__cache_free(&pool);
    CHECK_INT(memory.live, 0);
}

int main(int argc, char **argv) {
    static const test_case cases[] = { T(counter), T(bytes), T(json_scalars), T(state_that_is_there),
                                       T(state_that_is_asked_for), T(runs_inline), T(runs_on_threads),
                                       T(parked), T(blocks), T(blocks_are_bounded),
                                       T(blocks_are_used_for_at_least_half_of_them), { NULL, NULL } };
    client_thread = pthread_self();
    return test_main(argc, argv, cases);
}
