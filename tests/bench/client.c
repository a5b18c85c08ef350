/* Calls one handler through the client of restate.h, so many at a time, and tells what that takes.
 *
 *     build/bench-client INGRESS PATH COUNT CONCURRENCY [KEYS | plain]
 *
 * PATH is /Service/handler, or with KEYS /Object/handler for keys 0 to KEYS - 1. Input is 1. Each call has an
 * idempotency key of its own, so that it is done once, however often it is sent: the server may be killed meanwhile.
 * `plain`: without that; all requests are the same, as h2load's are (tests/bench/client.sh compares the two).
 * "at N" is said ten times; at the end, in one line, how many were answered and what it cost. Exit status 1: one call
 * got no answer, or a failure. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct bench {
    restate_client *client;
    restate_target target;
    long count, begun, answered, failed, tries, keys, run;
    bool plain;                                 /* no idempotency keys */
} bench;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void begin(bench *b);

static void answered(void *user, restate_ctx *ctx, restate_future *future) {
    bench *b = user;
    restate_status s = restate_await(ctx, future, NULL);
    b->tries += restate_client_answer(ctx, future)->tries;
    if (s != RESTATE_OK) {
        const restate_failure *why = restate_failed(ctx);
        if (b->failed++ < 3) fprintf(stderr, "status %d, %u: %s\n", (int)s, (unsigned)why->code, why->message);
    }
    restate_client_end(ctx);
    if (++b->answered % (b->count / 10 ? b->count / 10 : 1) == 0) {
        printf("at %ld\n", b->answered);
        fflush(stdout);
    }
    if (b->begun < b->count) begin(b);
}

/* A context for each call, as in a daemon: its memory goes when it is answered. */
static void begin(bench *b) {
    restate_ctx *ctx = restate_client_begin(b->client);
    restate_target to = b->target;
    restate_call_options once = { .idempotency_key = NULL };
    if (!b->plain) once.idempotency_key = restate_text(ctx, "bench-%ld-%ld", b->run, b->begun);
    if (b->keys) to.key = restate_text(ctx, "%ld", b->begun % b->keys);
    b->begun++;
    restate_future *call = restate_call_async(ctx, to, restate_str("1"), &once);
    if (restate_client_then(ctx, call, answered, b) == RESTATE_OK) return;
    fprintf(stderr, "%s\n", restate_failed(ctx)->message);
    exit(1);
}

int main(int argc, char **argv) {
    bench b = { .count = 0 };
    char path[256];
    if (argc < 5) return fprintf(stderr, "bench-client INGRESS PATH COUNT CONCURRENCY [KEYS | plain]\n"), 2;
    snprintf(path, sizeof path, "%s", argv[2]);
    char *handler = strrchr(path, '/');
    if (path[0] != '/' || handler == path) return fprintf(stderr, "PATH is /Service/handler\n"), 2;
    *handler++ = 0;
    b.client = restate_client_new(&(restate_client_options){
        .ingress = argv[1], .retry = { .max_attempts = 100, .max_duration_ms = RESTATE_MINUTES(5) } });
    b.target = (restate_target){ .service = path + 1, .handler = handler };
    b.count = atol(argv[3]);
    b.plain = argc > 5 && strcmp(argv[5], "plain") == 0;
    b.keys = argc > 5 && !b.plain ? atol(argv[5]) : 0;
    b.run = (long)time(NULL);
    double start = now(), start_cpu = cpu();
    for (long i = 0; i < atol(argv[4]) && b.begun < b.count; i++) begin(&b);
    while (b.answered < b.count)
        if (restate_client_process(b.client, 1000) != RESTATE_OK) return 1;
    double took = now() - start;
    printf("%ld answered, %ld failed, %ld tries, %.0f calls/s, %.1f us of CPU per call\n", b.answered, b.failed, b.tries,
           (double)b.count / took, (cpu() - start_cpu) * 1e6 / (double)b.count);
    restate_client_free(b.client);
    return b.failed != 0;
}
