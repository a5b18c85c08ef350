/* A context without an exchange, for what only needs memory and a place for failures: the attempt
 * it belongs to has not begun. Include it behind the implementation. */
#ifndef SUPPORT_CONTEXT_C
#define SUPPORT_CONTEXT_C

#include "allocator.c"
#include "test.h"

#include <stdlib.h>

static mem_counts memory;                   /* of all contexts */

typedef struct test_host {
    restate__attempt attempt;               /* first: its context is the host's address */
    restate__worker worker;
    restate__arena arena;
    restate__buf out;
    restate_allocator allocator;
} test_host;

static inline void test_no_log(void *user, const restate_log_record *record) {
    (void)user;
    (void)record;
}

static inline restate_ctx *test_ctx(void) {
    static const restate__logger logger = { { test_no_log, NULL, RESTATE_LOG_TRACE, false },
                                            &restate__clock_default };
    static restate__handler handler;
    restate__vm_options options;
    test_host *h = (test_host *)calloc(1, sizeof *h);
    if (!h) abort();
    handler.service = "S";
    handler.name = "h";
    h->allocator = mem_allocator(&memory);
    restate__worker_init(&h->worker, &h->allocator, 0, 0);
    restate__arena_init(&h->arena, &h->worker.cache);
    restate__buf_init(&h->out, &h->worker.cache);
    memset(&options, 0, sizeof options);
    options.version = 7;
    h->attempt.handler = &handler;
    h->attempt.logger = &logger;
    h->attempt.arena = &h->arena;
    restate__attempt_init(&h->attempt, &h->worker, &options, &h->out);
    h->attempt.thread = restate__thread_this();
    h->attempt.state = RESTATE__ATTEMPT_RUNNING;    /* as if its handler called */
    return &h->attempt.ctx;
}

static inline void test_ctx_free(restate_ctx *ctx) {
    test_host *h = (test_host *)(void *)ctx;
    restate__attempt_free(&h->attempt);
    restate__buf_free(&h->out);
    restate__arena_free(&h->arena);
    restate__worker_free(&h->worker);
    free(h);
}

static inline const char *last_failure(restate_ctx *ctx) { return restate_failed(ctx)->message; }
static inline int last_code(restate_ctx *ctx) { return restate_failed(ctx)->code; }
static inline const char *last_misuse(restate_ctx *ctx) {   /* "": the attempt has not ended */
    return restate__ctx_is_over(ctx) ? ctx->attempt->vm.error.message : "";
}
static inline void set_input(restate_ctx *ctx, restate_bytes input) {
    ctx->attempt->request.input.body = input;
}

#endif
