/* A command-line tool that calls services: the other side of examples/tickets.c and signup.c.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/call.c -o call -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it; INGRESS is the address of the server (http://localhost:8080), TOKEN one that it asks for:
 *     ./call add ada A1           a call, with an idempotency key: safe to repeat
 *     ./call remind ada           a send that starts in a day; prints its id
 *     ./call signup ada MAIL      runs a workflow, or attaches to the run there is
 *     ./call result ID            what became of an invocation: a value, a failure, or not ready
 *     ./call approve ID           resolves an awakeable
 *
 * These are the functions of a handler, on a context that restate_client_begin() gives. But nothing
 * is journaled here: what has to survive the end of this program is the server's, and its id or an
 * idempotency key finds it again. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text(restate_bytes bytes) { return bytes.ptr ? (const char *)bytes.ptr : ""; }

/* With the key the client may try again after an error; the server does it once all the same. */
static restate_status add(restate_ctx *ctx, const char *user, const char *seat) {
    restate_target cart = { .service = "Carts", .handler = "add", .key = user };
    restate_call_options once = { .idempotency_key = restate_uuid(ctx) };
    bool reserved = false;
    restate_bytes reply;
    RESTATE_TRY(restate_call(ctx, cart, restate_json(ctx, "{'seat': %s}", seat), &once, &reply));
    RESTATE_TRY(restate_json_bool(ctx, reply, NULL, &reserved));
    printf("%s\n", reserved ? "yours for 15 minutes" : "taken");
    return RESTATE_OK;
}

static restate_status remind(restate_ctx *ctx, const char *user) {
    restate_target cart = { .service = "Carts", .handler = "checkout", .key = user };
    restate_call_options later = { .delay_ms = RESTATE_DAYS(1),
                                   .idempotency_key = restate_text(ctx, "remind-%s", user) };
    restate_future *sent = restate_send(ctx, cart, (restate_bytes){0}, &later);
    const char *id;
    RESTATE_TRY(restate_call_id(ctx, sent, &id));
    printf("%s%s\n", id,
           restate_client_answer(ctx, sent)->previously_accepted ? " (was there already)" : "");
    return RESTATE_OK;
}

/* A send to a workflow that runs already is accepted and does nothing, so that this is "run it, or
 * attach to the run there is". The attach waits until the send was accepted. */
static restate_status sign_up(restate_ctx *ctx, const char *user, const char *mail) {
    restate_target workflow = { .service = "SignUp", .handler = "run", .key = user };
    restate_future *attached;
    restate_bytes result;
    restate_send(ctx, workflow, restate_json(ctx, "{'email': %s}", mail), NULL);
    workflow.handler = NULL;
    attached = restate_attach_async(ctx, (restate_invocation){ .target = workflow });
    RESTATE_TRY(restate_await_for(ctx, attached, RESTATE_MINUTES(5), &result));
    printf("%s\n", text(result));
    return RESTATE_OK;
}

static restate_status result(restate_ctx *ctx, const char *id) {
    restate_bytes reply;
    RESTATE_TRY(restate_output(ctx, (restate_invocation){ .id = id }, &reply));
    printf("%s\n", reply.ptr ? text(reply) : "not ready");
    return RESTATE_OK;
}

static restate_status act(restate_ctx *ctx, int argc, char **argv) {
    const char *verb = argc > 2 ? argv[1] : "";
    if (strcmp(verb, "add") == 0 && argc == 4) return add(ctx, argv[2], argv[3]);
    if (strcmp(verb, "remind") == 0) return remind(ctx, argv[2]);
    if (strcmp(verb, "signup") == 0 && argc == 4) return sign_up(ctx, argv[2], argv[3]);
    if (strcmp(verb, "result") == 0) return result(ctx, argv[2]);
    if (strcmp(verb, "approve") == 0)
        return restate_resolve(ctx, argv[2], restate_json(ctx, "{'approved': true}"));
    return restate_fail(ctx, 400, "add USER SEAT, remind USER, signup USER MAIL, result ID, "
                                  "approve ID");
}

int main(int argc, char **argv) {
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = getenv("INGRESS"), .token = getenv("TOKEN"),
        .timeout_ms = RESTATE_MINUTES(1) });
    restate_ctx *ctx = restate_client_begin(client);
    restate_status s = act(ctx, argc, argv);
    const restate_failure *why = restate_failed(ctx);
    if (s == RESTATE_TERMINAL) fprintf(stderr, "failed: %s (%u)\n", why->message, why->code);
    if (s == RESTATE_TIMEOUT) fprintf(stderr, "no answer yet, it goes on\n");
    if (s == RESTATE_ERROR) fprintf(stderr, "not done: %s (%u)\n", why->message, why->code);
    restate_client_end(ctx);
    restate_client_free(client);
    return s == RESTATE_OK ? 0 : 1;
}
