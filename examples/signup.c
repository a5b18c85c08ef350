/* A workflow: sign somebody up, mail a secret, wait a day for the click on it.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/signup.c -o signup -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./signup
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Start the workflow through the server; "ada" is its key, and it runs once per key:
 *     curl localhost:8080/SignUp/ada/run/send --json '{"email": "ada@example.com"}'
 * The program prints the mail, with a SECRET in it. Click on it, and ask how things are, meanwhile
 * and afterwards:
 *     curl localhost:8080/SignUp/ada/click --json '"SECRET"'
 *     curl localhost:8080/SignUp/ada/status
 * The result of the workflow, for whoever wants it (waits until there is one):
 *     curl localhost:8080/restate/workflow/SignUp/ada/attach
 *
 * The click is a durable promise: completed by one handler of the workflow, awaited by another, and
 * kept by the server. It may well come while this program is not running. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct letter {
    const char *email, *secret;
} letter;

/* Drawn in a step, so the journal keeps it. (Who knows an invocation's id can compute its
 * restate_uuid(): that is no secret.) */
static restate_status draw_secret(restate_ctx *run, void *arg) {
    unsigned char drawn[16];
    char text[2 * sizeof drawn + 1];
    FILE *f = fopen("/dev/urandom", "rb");
    size_t n = f ? fread(drawn, 1, sizeof drawn, f) : 0;
    (void)arg;
    if (f) fclose(f);
    if (n != sizeof drawn) return restate_retry(run, NULL, "there is no /dev/urandom to read");
    for (size_t i = 0; i < sizeof drawn; i++) snprintf(text + 2 * i, 3, "%02x", drawn[i]);
    return restate_reply(run, restate_json(run, "%s", text));
}

/* Stands for a mail server. A closure, so that a replay of the handler sends no second mail. */
static restate_status send_mail(restate_ctx *run, void *arg) {
    const letter *mail = arg;
    printf("To %s: is that you? Then\n"
           "    curl localhost:8080/SignUp/KEY/click --json '\"%s\"'\n", mail->email, mail->secret);
    fflush(stdout);
    return restate_reply(run, restate_json(run, "null"));
}

static restate_status set_status(restate_ctx *ctx, const char *text) {
    return restate_set(ctx, "status", restate_json(ctx, "%s", text));
}

static restate_status sign_up(restate_ctx *ctx, restate_bytes input) {
    letter mail = { NULL, NULL };
    const char *clicked = "";
    restate_bytes secret, answer;
    restate_status s;
    bool verified;
    RESTATE_TRY(restate_json_string(ctx, input, "email", &mail.email));
    if (!mail.email) return restate_fail(ctx, 400, "email is missing");

    RESTATE_TRY(restate_run(ctx, "secret", draw_secret, NULL, NULL, &secret));
    RESTATE_TRY(restate_json_string(ctx, secret, NULL, &mail.secret));
    RESTATE_TRY(restate_run(ctx, "mail", send_mail, &mail, NULL, NULL));
    RESTATE_TRY(set_status(ctx, "mail sent"));

    s = restate_await_for(ctx, restate_promise(ctx, "clicked"), RESTATE_DAYS(1), &answer);
    if (s == RESTATE_TIMEOUT) return restate_fail(ctx, 410, "nobody clicked within a day");
    RESTATE_TRY(s);

    RESTATE_TRY(restate_json_string(ctx, answer, NULL, &clicked));
    verified = strcmp(clicked, mail.secret) == 0;
    RESTATE_TRY(set_status(ctx, verified ? "verified" : "refused"));
    return restate_reply(ctx, restate_json(ctx, "{'verified': %hhd}", verified));
}

static restate_status click(restate_ctx *ctx, restate_bytes input) {
    return restate_promise_resolve(ctx, "clicked", input);      /* a second click fails with 409 */
}

static restate_status status(restate_ctx *ctx, restate_bytes input) {
    restate_bytes stored;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "status", &stored));
    return restate_reply(ctx, stored.ptr ? stored : restate_json(ctx, "'unknown'"));
}

static const restate_service workflow = {
    .name = "SignUp", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
        { .name = "run", .fn = sign_up, .options = { .workflow_retention_ms = RESTATE_DAYS(7) } },
        { .name = "click", .fn = click, .shared = true, .output = RESTATE_VOID },
        { .name = "status", .fn = status, .shared = true, .input = RESTATE_VOID }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&workflow),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
