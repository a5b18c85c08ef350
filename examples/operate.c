/* A tool for operators: what the admin API can do, with nothing but requests and queries.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/operate.c -o operate -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it; ADMIN is the address of the admin API (http://localhost:9070):
 *     ./operate stuck SERVICE              who waits for an operator, and why
 *     ./operate resume SERVICE             lets them all go on, on the newest deployment
 *     ./operate cancel ID, ./operate kill ID
 *     ./operate set SERVICE KEY NAME JSON  repairs a state value */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static restate_status paused(restate_ctx *ctx, const char *service, restate_bytes *rows) {
    restate_bytes answer;
    RESTATE_TRY(restate_await(ctx, restate_client_request(ctx, "POST", "/query",
        restate_json(ctx, "{'query': %s}", restate_text(ctx, "select id, last_failure from "
            "sys_invocation where status = 'paused' and target_service_name = '%s'", service))),
        &answer));
    return restate_json_member(ctx, answer, "rows", rows);
}

static restate_status stuck(restate_ctx *ctx, const char *service, bool resume) {
    restate_bytes rows, row = { NULL, 0 };
    RESTATE_TRY(paused(ctx, service, &rows));
    while (restate_json_next(ctx, rows, &row)) {
        const char *id = "", *why = "";
        RESTATE_TRY(restate_json_string(ctx, row, "id", &id));
        RESTATE_TRY(restate_json_string(ctx, row, "last_failure", &why));
        printf("%s  %s\n", id, why);
        if (resume)
            RESTATE_TRY(restate_await(ctx, restate_client_request(ctx, "PATCH",
                restate_text(ctx, "/invocations/%s/resume?deployment=latest", id),
                (restate_bytes){0}), NULL));
    }
    return RESTATE_OK;
}

static restate_status act(restate_ctx *ctx, int argc, char **argv) {
    const char *verb = argc > 2 ? argv[1] : "";
    if (strcmp(verb, "stuck") == 0) return stuck(ctx, argv[2], false);
    if (strcmp(verb, "resume") == 0) return stuck(ctx, argv[2], true);
    if (strcmp(verb, "cancel") == 0) return restate_cancel(ctx, argv[2]);
    if (strcmp(verb, "kill") == 0)
        return restate_await(ctx, restate_client_request(ctx, "PATCH",
            restate_text(ctx, "/invocations/%s/kill", argv[2]), (restate_bytes){0}), NULL);
    if (strcmp(verb, "set") == 0 && argc == 6) {
        restate_client_at(ctx, (restate_target){ .service = argv[2], .key = argv[3] });
        return restate_set(ctx, argv[4], restate_json(ctx, "%-s", argv[5]));
    }
    return restate_fail(ctx, 400, "stuck, resume, cancel, kill, set");
}

int main(int argc, char **argv) {
    restate_client *client = restate_client_new(&(restate_client_options){
        .admin = getenv("ADMIN") ? getenv("ADMIN") : "http://127.0.0.1:9070" });
    restate_ctx *ctx = restate_client_begin(client);
    restate_status s = act(ctx, argc, argv);
    if (s != RESTATE_OK) fprintf(stderr, "%s\n", restate_failed(ctx)->message);
    restate_client_free(client);
    return s != RESTATE_OK;
}
