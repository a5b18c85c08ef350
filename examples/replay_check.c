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
 * Now change play() below, build again, and ask about all that is under way on the server whose
 * admin API ADMIN names (http://127.0.0.1:9070):
 *     ./replay_check check
 * It says, for example,
 *     Dice: 0 fit, 1 differ, 0 unknown
 *       inv_1dWnLWeLkBYA4nT7vmHvMeX25nZOEdNPdh Dice/play, entry 1: the code took another path than
 *       the recorded execution: command 1 (run) differs (journal != code): name: "roll" != "throw"
 * and exits with 1, so that a pipeline stops; with 2 if it cannot tell, for example because a file is
 * no journal; with 0 if all fit. No closure executes meanwhile, and nothing is sent.
 *
 * Journals can be kept: `fetch ID` writes that of an invocation for programs, and, on the standard
 * error, for people. In files they are tests that need no server:
 *     ./replay_check fetch inv_1dWnLWeLkBYA4nT7vmHvMeX25nZOEdNPdh > played.json
 *     ./replay_check check played.json */
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

static const restate_service *const services[] = { &dice, NULL };

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

static int check_files(restate_endpoint *endpoint, char **files) {
    int status = 0;
    for (; *files; files++) status = worse(status, check_file(endpoint, *files));
    return status;
}

/* ---- Fetching them --------------------------------------------------------------------------- */

static restate_client *server(void) {
    const char *admin = getenv("ADMIN");
    return restate_client_new(&(restate_client_options){
        .admin = admin ? admin : "http://127.0.0.1:9070", .max_message_bytes = (size_t)1 << 30 });
}

/* Of all invocations of our services that are not finished. A service that the program has no more
 * is not asked for: `.target = { 0 }` would be about all that the server has. */
static int check_server(restate_endpoint *endpoint) {
    restate_client *client = server();
    restate_ctx *ctx = restate_client_begin(client);
    int status = 0;
    for (size_t i = 0; services[i]; i++) {
        const restate_invocation open = { .target = { .service = services[i]->name } };
        restate_bytes journals;
        if (restate_client_journal(ctx, open, &journals) == RESTATE_OK) {
            status = worse(status, say(endpoint, services[i]->name, journals));
        } else {
            printf("%s: %s\n", services[i]->name, restate_failed(ctx)->message);
            status = worse(status, 2);
        }
    }
    restate_client_free(client);
    return status;
}

static int fetch(const char *id) {
    restate_client *client = server();
    restate_ctx *ctx = restate_client_begin(client);
    restate_bytes journal;
    int failed = restate_client_journal(ctx, (restate_invocation){ .id = id }, &journal) !=
                 RESTATE_OK;
    if (failed) fprintf(stderr, "%s\n", restate_failed(ctx)->message);
    else fwrite(journal.ptr, 1, journal.len, stdout);
    if (!failed) fputs(restate_journal_text(ctx, journal), stderr);
    restate_client_free(client);
    return failed ? 2 : 0;
}

static int check(char **files) {
    restate_endpoint *endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = services });
    int status = *files ? check_files(endpoint, files) : check_server(endpoint);
    restate_endpoint_free(endpoint);
    return status;
}

int main(int argc, char **argv) {
    const char *port = getenv("PORT");
    if (argc >= 2 && strcmp(argv[1], "check") == 0) return check(argv + 2);
    if (argc == 3 && strcmp(argv[1], "fetch") == 0) return fetch(argv[2]);
    return restate_serve(&(restate_endpoint_options){
        .services = services, .port = (uint16_t)(port ? atoi(port) : 9080) });
}
