/* Many requests in flight from one thread: first blocking, then in an event loop of the program's.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/fan_in.c -o fan_in -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it beside examples/fan_out.c and greeter.c; INGRESS is the address of the server:
 *     ./fan_in 500        has 500 texts translated, in at most 60 s, and adds up their lengths
 *     ./fan_in            greets the names on standard input (a terminal, a pipe) as they come */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- Blocking: futures and combinators as in a handler --------------------------------------- */

/* Every translation takes a second; all of them together take little more. */
static restate_status translate_all(restate_ctx *ctx, int n, size_t *sum) {
    const restate_target translator = { .service = "Translator", .handler = "translate" };
    restate_future **futures = restate_alloc(ctx, (size_t)n * sizeof *futures);
    restate_selector *left;
    int i;
    if (!futures) return RESTATE_ERROR;
    for (i = 0; i < n; i++)
        futures[i] = restate_call_async(ctx, translator, restate_json(ctx, "'text %d'", i), NULL);
    left = restate_selector_new(ctx, futures, (size_t)n);
    while (restate_selector_remaining(left) > 0) {
        const char *loud = "";
        restate_bytes reply;
        size_t which;
        RESTATE_TRY(restate_selector_next(ctx, left, &which));      /* the next that is there */
        RESTATE_TRY(restate_await(ctx, futures[which], &reply));
        RESTATE_TRY(restate_json_string(ctx, reply, NULL, &loud));
        *sum += strlen(loud);
    }
    return RESTATE_OK;
}

/* ---- In a loop: a context per request -------------------------------------------------------- */

/* Called by restate_client_process() when the greeting is there. Nothing may wait in here. */
static void answered(void *user, restate_ctx *ctx, restate_future *future) {
    int *open = user;
    restate_bytes reply;
    if (restate_await(ctx, future, &reply) == RESTATE_OK)
        printf("%s\n", reply.ptr ? (const char *)reply.ptr : "");
    else printf("%s\n", restate_failed(ctx)->message);
    restate_client_end(ctx);
    --*open;
}

static void greet(restate_client *client, char *line, int *open) {
    restate_ctx *ctx = restate_client_begin(client);
    restate_target greeter = { .service = "Greeter", .handler = "greet" };
    line[strcspn(line, "\n")] = 0;
    restate_future *call = restate_call_async(ctx, greeter, restate_json(ctx, "{'name': %s}", line), NULL);
    ++*open;
    if (restate_client_then(ctx, call, answered, open) == RESTATE_OK) return;
    printf("%s\n", restate_failed(ctx)->message);
    restate_client_end(ctx);
    --*open;
}

static int loop(restate_client *client) {
    int epoll = epoll_create1(0), open = 0;
    struct epoll_event event = { .events = EPOLLIN };
    bool more = true;
    char line[256];
    setvbuf(stdin, NULL, _IONBF, 0);        /* or epoll would not know of lines that were read */
    event.data.fd = restate_client_fd(client);      /* -1 where there is no epoll */
    epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
    event.data.fd = STDIN_FILENO;
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    while (more || open > 0) {
        if (epoll_wait(epoll, &event, 1, -1) < 1) continue;
        if (event.data.fd == STDIN_FILENO) {
            more = fgets(line, sizeof line, stdin) != NULL;
            if (more) greet(client, line, &open);
            else epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        }
        if (restate_client_process(client, 0) != RESTATE_OK) return 1;
    }
    close(epoll);
    return 0;
}

int main(int argc, char **argv) {
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = getenv("INGRESS"), .timeout_ms = RESTATE_SECONDS(60) });
    size_t sum = 0;
    int status = 0;
    if (argc < 2) status = loop(client);
    else {
        restate_ctx *ctx = restate_client_begin(client);
        status = translate_all(ctx, atoi(argv[1]), &sum) != RESTATE_OK;
        if (status) fprintf(stderr, "%s\n", restate_failed(ctx)->message);
        else printf("%lu\n", (unsigned long)sum);
    }
    restate_client_free(client);
    return status;
}
