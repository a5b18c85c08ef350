/* The endpoint inside a program that has an event loop, an allocator and a log of its own.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/own_loop.c -o own_loop -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./own_loop
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server:
 *     curl localhost:8080/Echo/ping --json '"hello"'
 * Meanwhile the program answers "stats" on standard input. "stop", Ctrl-C and SIGTERM end it. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static restate_endpoint *endpoint;                  /* global only for the signal handler */

static void on_signal(int number) {
    (void)number;
    restate_endpoint_stop(endpoint);
}

/* An allocator that counts. It may be called from any thread of the endpoint; here that is the
 * main thread alone: one event loop, and no handler has a closure (those execute on a pool). */
typedef struct heap {
    size_t used, peak;
} heap;

static void *heap_realloc(void *user, void *old, size_t old_size, size_t size) {
    heap *h = user;
    void *p = realloc(old, size);
    if (p) h->used = h->used - old_size + size;
    if (h->used > h->peak) h->peak = h->used;
    return p;
}

static void *heap_alloc(void *user, size_t size) { return heap_realloc(user, NULL, 0, size); }

static void heap_free(void *user, void *old, size_t size) {
    heap *h = user;
    h->used -= size;
    free(old);
}

static void write_log(void *user, const restate_log_record *r) {
    FILE *to = user;
    fprintf(to, "[%d] %s: %s\n", (int)r->level, r->invocation_id ? r->invocation_id : "endpoint",
            r->message);
}

static restate_status ping(restate_ctx *ctx, restate_bytes input) {
    restate_log(ctx, RESTATE_LOG_INFO, "%zu bytes", input.len);
    return restate_reply(ctx, input);
}

static const restate_service echo = { .name = "Echo", .handlers = RESTATE_HANDLERS(
    { .name = "ping", .fn = ping, .input = RESTATE_BYTES, .output = RESTATE_BYTES }) };

/* What the host has to do besides. At the end of the input it listens no longer. */
static void read_command(struct pollfd *from, const heap *h) {
    char line[64];
    ssize_t n = read(from->fd, line, sizeof line - 1);
    if (n <= 0) {
        from->fd = -1;
        return;
    }
    line[n] = 0;
    if (strncmp(line, "stats", 5) == 0) printf("%zu bytes, at most %zu\n", h->used, h->peak);
    if (strncmp(line, "stop", 4) == 0) restate_endpoint_stop(endpoint);
}

int main(void) {
    const char *port = getenv("PORT");
    heap h = { 0, 0 };
    struct pollfd fds[] = { { .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
    restate_status s = RESTATE_OK;
    endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&echo),
        .port = (uint16_t)(port ? atoi(port) : 9080),
        .allocator = { heap_alloc, heap_realloc, heap_free, &h },
        .logger = { .write = write_log, .user = stderr } });
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);

    fds[0].fd = restate_endpoint_fd(endpoint);      /* -1, which poll skips: process() says why */
    while (s == RESTATE_OK) {
        if (fds[0].fd >= 0) poll(fds, 2, -1);
        if (fds[1].revents) read_command(&fds[1], &h);
        s = restate_endpoint_process(endpoint, 0);
    }
    if (s == RESTATE_ERROR) fprintf(stderr, "own_loop: %s\n", restate_endpoint_error(endpoint));
    signal(SIGINT, SIG_IGN);                        /* there is nothing to stop any more */
    signal(SIGTERM, SIG_IGN);
    restate_endpoint_free(endpoint);
    if (h.used) fprintf(stderr, "own_loop: %zu bytes were not given back\n", h.used);
    return s == RESTATE_ERROR;
}
