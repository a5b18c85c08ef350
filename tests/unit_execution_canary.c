/* Stacks without guards, as where there is no MMU: an overflow is noticed at the next switch. The allocator
 * leaves room below every block, so that what is written over is nobody's. */
#define RESTATE_IMPLEMENTATION
#define RESTATE__STACK_MMAP 0
#define RESTATE_NO_SERVER
#include "restate.h"
#include "support/allocator.c"
#include "support/journal.c"

#if RESTATE__FIBER_SWITCHES

#define ROOM ((size_t)512 << 10)
#define STACK ((size_t)64 << 10)

static mem_counts memory;                   /* with the room */
static char *left[4];                       /* blocks as large as a stack that are not given back */
static rt_bytes told;

static void *roomy_alloc(void *user, size_t size) {
    char *p = (char *)mem_alloc(&memory, ROOM + size);
    (void)user;
    for (int i = 0; p && i < 4 && size >= STACK; i++)
        if (!left[i]) {
            left[i] = p;
            break;
        }
    return p ? p + ROOM : NULL;
}
static void roomy_free(void *user, void *old, size_t size) {
    (void)user;
    for (int i = 0; i < 4; i++)
        if (left[i] == (char *)old - ROOM) left[i] = NULL;
    mem_free(&memory, (char *)old - ROOM, ROOM + size);
}
/* Contents are not moved into the room of another block, so this is not realloc(). */
static void *roomy_realloc(void *user, void *old, size_t old_size, size_t size) {
    void *p = roomy_alloc(user, size);
    if (p && old) memcpy(p, old, old_size < size ? old_size : size);
    if (p && old) roomy_free(user, old, old_size);
    return p;
}

static void tell(void *user, const restate_log_record *r) {
    (void)user;
    rt_print(&told, "%s/%s %s: %s\n", r->service, r->handler, r->invocation_id, r->message);
}

/* ---- Ways to overflow --------------------------------------------------------------------------- */

/* Writes `n` bytes at so far below the end of the handler's stack. */
static void write_below(restate_ctx *ctx, size_t far, size_t n) {
    uint8_t *low = ctx->attempt->fiber->stack;
    memset(low - far, 0x55, n);
}

static restate_status floods(restate_ctx *ctx, restate_bytes in) {      /* and has a result */
    write_below(ctx, 4096, 4096 + 128);
    return restate_reply(ctx, in);
}
static restate_status grazes(restate_ctx *ctx, restate_bytes in) {      /* one byte */
    write_below(ctx, 0, 1);
    return restate_reply(ctx, in);
}
static restate_status floods_and_waits(restate_ctx *ctx, restate_bytes in) {
    write_below(ctx, 4096, 4096 + 128);
    RESTATE_TRY(restate_sleep(ctx, 1000));
    return restate_reply(ctx, in);
}
static restate_status floods_and_fails(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    write_below(ctx, 4096, 4096 + 128);
    return restate_fail(ctx, 500, "as it happens");
}
static restate_status floods_inside(restate_ctx *run, void *arg) {
    write_below((restate_ctx *)arg, 100, 110);
    return restate_reply(run, restate_str("x"));
}
static restate_status floods_in_a_closure(restate_ctx *ctx, restate_bytes in) {
    const restate_run_options here = { .inline_ok = true };
    RESTATE_TRY(restate_run(ctx, "here", floods_inside, ctx, &here, NULL));
    return restate_reply(ctx, in);
}

/* A frame that jumps over the lowest words and waits: nothing of them has changed. */
static volatile char *volatile whole_frame;    /* known outside, so that no compiler leaves out what is not used */
static RESTATE__NOINLINE restate_status waits_below(restate_ctx *ctx) {
    volatile char local[72 * 1024 * RESTATE__STACK_FACTOR];
    restate_status s;
    local[0] = 1;
    whole_frame = local;
    s = restate_sleep(ctx, 1000);
    return local[0] == 1 ? s : RESTATE_OK;
}
static restate_status jumps(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(waits_below(ctx));
    return restate_reply(ctx, in);
}

static restate_status echo(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }
static restate_status naps(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_sleep(ctx, 1000));
    return restate_reply(ctx, in);
}

static const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(floods) }, { RESTATE_HANDLER(grazes) }, { RESTATE_HANDLER(floods_and_waits) },
    { RESTATE_HANDLER(floods_and_fails) }, { RESTATE_HANDLER(floods_in_a_closure) },
    { RESTATE_HANDLER(jumps) }, { RESTATE_HANDLER(echo) }, { RESTATE_HANDLER(naps) }) };

/* ---- Exchanges ---------------------------------------------------------------------------------- */

static restate_endpoint *ep;
static rt_bytes out;

static void up(void) {
    restate_endpoint_options o = { .services = RESTATE_SERVICES(&service), .defaults.stack_bytes = STACK,
                                   .allocator = { roomy_alloc, roomy_realloc, roomy_free, NULL },
                                   .logger = { .write = tell } };
    memory = (mem_counts){ .live = 0 };
    ep = restate_endpoint_new(&o);
    CHECK_STR(restate_endpoint_error(ep), "");
    told.len = 0;
}

static void hand_in(restate_stream *s) {
    restate_stream_feed(s, restate__b(rt_script.at, rt_script.len));
    rt_script.len = 0;
}

static restate_stream *invoke(const char *handler) {
    char path[64];
    const restate_pair headers[] = { { "content-type", "application/vnd.restate.invocation.v6" }, { NULL, NULL } };
    restate_http_request r = { "POST", path, headers, false };
    restate_stream *s;
    snprintf(path, sizeof path, "/invoke/S/%s", handler);
    s = restate_stream_open(ep, &r);
    start(1, .complete = true, .seed = 1);
    input("hello");
    hand_in(s);
    return s;
}

/* What it says as text, after all was taken; gives the last status. */
static const char *says(restate_stream *s, restate_status *last) {
    static rt_bytes text;
    restate_bytes b;
    size_t at = 0, n;
    out.len = text.len = 0;
    rt_add(&text, "", 0);
    do {
        *last = restate_stream_take(s, &b, NULL, NULL);
        rt_add(&out, b.ptr, b.len);
    } while (*last == RESTATE_OK && b.len);
    for (; at < out.len && (n = rt_show_frame(&text, out.at + at, out.len - at)) != 0; at += n) continue;
    return (const char *)text.at;
}

/* It is noticed, named and not answered; the others and those that come are as if nothing had been. */
TEST(overflows_are_noticed) {
    static const char *const ways[] = { "floods", "grazes", "floods_and_waits", "floods_and_fails",
                                        "floods_in_a_closure", "jumps" };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        restate_stream *other, *s;
        restate_status last;
        const char *text;
        char name[64];
        test_note = ways[i];
#ifdef RESTATE_VALGRIND                     /* it would take the jump for one to another stack */
        if (RUNNING_ON_VALGRIND && strcmp(ways[i], "jumps") == 0) continue;
#endif
        up();
        other = invoke("naps");
        says(other, &last);
        s = invoke(ways[i]);
        text = says(s, &last);
        CHECK(!strstr(text, "Output"));
        CHECK(last == RESTATE_ERROR || strstr(text, "stack overflow: raise stack_bytes"));
        rt_print(&told, "%s", "");
        snprintf(name, sizeof name, "S/%s ", ways[i]);
        CHECK_HAS((const char *)told.at, name);
        CHECK_HAS((const char *)told.at, "stack overflow: raise stack_bytes, which is 65536");
        restate_stream_free(s);
        note_sleep(1);
        hand_in(other);
        CHECK_HAS(says(other, &last), "Output value \"hello\"");
        CHECK_INT(last, RESTATE_ENDED);
        restate_stream_free(other);
        for (int k = 0; k < 3; k++) {
            s = invoke("echo");
            CHECK_HAS(says(s, &last), "Output value \"hello\"");
            restate_stream_free(s);
        }
        restate_endpoint_free(ep);
        CHECK((memory.live - ROOM) / RESTATE__STACK_FACTOR / STACK == 1);    /* the stack that overflowed is never given back */
        for (int k = 0; k < 4; k++) free(left[k]), left[k] = NULL;
    }
    test_note = "";
    rt_free_all();
}

/* Those that do not overflow leave nothing. */
TEST(nothing_is_left) {
    for (int i = 0; i < 20; i++) {
        restate_stream *s;
        restate_status last;
        up();
        s = invoke(i % 2 ? "echo" : "naps");
        says(s, &last);
        restate_stream_free(s);
        restate_endpoint_free(ep);
        CHECK_INT(memory.live, 0);
        CHECK_INT(told.len, 0);
    }
}

int main(int argc, char **argv) {
    static const test_case cases[] = { T(overflows_are_noticed), T(nothing_is_left), { NULL, NULL } };
    return test_main(argc, argv, cases);
}

#else
int main(void) {
    puts("unit_execution_canary: 0 passed, 0 failed");
    return 0;
}
#endif
