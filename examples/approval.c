/* A person decides: hand out the id of an awakeable, wait for three days, remind once a day.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/approval.c -o approval -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./approval
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server. The call waits for the decision; with /send behind it does not:
 *     curl localhost:8080/Approvals/approve --json '{"what": "a new chair"}'
 * The program prints how to decide. ID is what it printed:
 *     curl localhost:8080/restate/awakeables/ID/resolve --json '{"approved": true}'
 *     curl localhost:8080/restate/awakeables/ID/reject --data 'too expensive'
 *
 * No need to keep the program running for three days: the wait is the server's. For a try in less
 * time, add "remindMillis": 5000 to the call. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct notice {
    const char *what, *id;
    int day;
} notice;

/* Stands for an e-mail. A closure, so that nobody is told twice when the handler is replayed. */
static restate_status notify(restate_ctx *run, void *arg) {
    const notice *n = arg;
    printf("Day %d: may we have %s? Answer with\n"
           "    curl localhost:8080/restate/awakeables/%s/resolve --json '{\"approved\": true}'\n",
           n->day, n->what, n->id);
    fflush(stdout);
    return restate_reply(run, restate_json(run, "null"));
}

static restate_status approve(restate_ctx *ctx, restate_bytes input) {
    notice n = { "something", NULL, 1 };
    long long remind_ms = (long long)RESTATE_DAYS(1);
    bool approved = false;
    restate_status s = RESTATE_TIMEOUT;
    restate_bytes answer;
    restate_future *decision;
    RESTATE_TRY(restate_json_string(ctx, input, "what", &n.what));
    RESTATE_TRY(restate_json_int(ctx, input, "remindMillis", &remind_ms));
    if (remind_ms < 0) return restate_fail(ctx, 400, "remindMillis is %lld", remind_ms);

    decision = restate_awakeable(ctx, &n.id);
    for (n.day = 1; n.day <= 3 && s == RESTATE_TIMEOUT; n.day++) {
        RESTATE_TRY(restate_run(ctx, "notify", notify, &n, NULL, NULL));
        s = restate_await_for(ctx, decision, (uint64_t)remind_ms, &answer);
    }
    if (s == RESTATE_TERMINAL)      /* rejected: the reason is the message of the failure */
        return restate_reply(ctx, restate_json(ctx, "{'approved': false, 'why': %s}",
                                               restate_failed(ctx)->message));
    RESTATE_TRY(s);                 /* the third timeout: the invocation fails with it, code 408 */

    RESTATE_TRY(restate_json_bool(ctx, answer, "approved", &approved));
    return restate_reply(ctx, restate_json(ctx, "{'approved': %hhd}", approved));
}

static const restate_service approvals = { .name = "Approvals", .handlers = RESTATE_HANDLERS(
    { .name = "approve", .fn = approve }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&approvals),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
