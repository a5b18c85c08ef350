/* Does changed code fit what is under way? A program that can check its own journals, for CI: run it
 * before a deployment that replaces code in place.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/replay_check.c -o replay_check -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * It serves (on port 9080, or on the one that PORT names) like any other program:
 *     ./replay_check
 * Register it (curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'), and start
 * an invocation, which waits for a day:
 *     curl localhost:8080/Dice/play/send --json 'null'
 * Keep what is under way, in a file. For journals that are tests this is done once:
 *     curl localhost:9070/query -H 'accept: application/json' --json @- > open.json <<END
 *     {"query": "select j.index, j.entry_type, j.raw, i.id, i.target_service_name, i.target_service_key, i.target_handler_name, i.pinned_service_protocol_version, i.created_at, i.restarted_from, i.scope, i.limit_key, i.idempotency_key from sys_journal j join sys_invocation i on i.id = j.id where i.status != 'completed' order by i.id, j.index"}
 *     END
 * Now change play() below, build again, and ask:
 *     ./replay_check check open.json
 * It says, for example,
 *     open.json: 0 fit, 1 differ, 0 unknown
 *       inv_1dWnLWeLkBYA4nT7vmHvMeX25nZOEdNPdh Dice/play, entry 1: the code took another path than
 *       the recorded execution: command 1 (run) differs (journal != code): name: "roll" != "throw"
 * and exits with 1, so that a pipeline stops; with 2 if it cannot tell, for example because a file is
 * no journal; with 0 if all fit. No closure executes meanwhile, and nothing is sent. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Dice: the services of the program ------------------------------------------------------- */

static restate_status roll(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_json(run, "%d", rand() % 6 + 1));
}

static restate_status play(restate_ctx *ctx, restate_bytes input) {
    restate_bytes dots;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "roll", roll, NULL, NULL, &dots));
    RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(24)));
    return restate_reply(ctx, dots);
}

static const restate_service dice = { .name = "Dice", .handlers = RESTATE_HANDLERS(
    { .name = "play", .fn = play }) };

/* ---- Checking journals ----------------------------------------------------------------------- */

/* 0: all fit; 1: some differ; 2: nobody can tell. */
static int say(restate_endpoint *endpoint, const char *what, restate_bytes journals) {
    size_t counts[3];
    restate_fit fit = restate_journal_check(endpoint, journals, counts);
    printf("%s: %lu fit, %lu differ, %lu unknown\n", what, (unsigned long)counts[RESTATE_FITS],
           (unsigned long)counts[RESTATE_DIFFERS], (unsigned long)counts[RESTATE_CANNOT_TELL]);
    if (fit != RESTATE_FITS) printf("  %s\n", restate_endpoint_error(endpoint));
    return fit == RESTATE_FITS ? 0 : fit == RESTATE_DIFFERS ? 1 : 2;
}

static int check_file(restate_endpoint *endpoint, const char *path) {
    FILE *f = fopen(path, "rb");
    uint8_t *text = NULL, *more;
    size_t len = 0, n = 1;
    while (f && n > 0 && (more = realloc(text, len + 65536)) != NULL) {
        text = more;
        n = fread(text + len, 1, 65536, f);
        len += n;
    }
    if (f) fclose(f);
    else perror(path);
    n = (size_t)say(endpoint, path, (restate_bytes){ text, len });
    free(text);
    return (int)n;
}

/* What differs counts more than what nobody knows. */
static int worse(int a, int b) { return a == 1 || b == 1 ? 1 : a ? a : b; }

static int check(restate_endpoint *endpoint, char **files) {
    int status = 0;
    for (; *files; files++) status = worse(status, check_file(endpoint, *files));
    return status;
}

int main(int argc, char **argv) {
    const char *port = getenv("PORT");
    const restate_endpoint_options options = { .services = RESTATE_SERVICES(&dice),
                                               .port = (uint16_t)(port ? atoi(port) : 9080) };
    restate_endpoint *endpoint;
    int status;
    if (argc < 3 || strcmp(argv[1], "check") != 0) return restate_serve(&options);
    endpoint = restate_endpoint_new(&options);
    status = check(endpoint, argv + 2);
    restate_endpoint_free(endpoint);
    return status;
}
