/* Code that is changed in place, while invocations are open that began with the old code.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/patched.c -o patched -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run version 1 (on port 9080, or on the one that the environment variable PORT names):
 *     VERSION=1 ./patched
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Order something; "17" is the key. The order waits for its payment, maybe for weeks:
 *     curl -X POST localhost:8080/Order/17/run/send
 * Meanwhile the program gets better. Stop it, start version 2, and pay:
 *     VERSION=2 ./patched
 *     curl -X POST localhost:8080/Order/17/pay
 *     curl localhost:8080/restate/workflow/Order/17/attach
 *
 * Version 1 reserves, waits and ships. Version 2 checks the address instead of reserving, and mails
 * before it ships. Order 17 keeps its reservation, which it has, and gets the mail, which was still
 * to come: ["reserved","mailed","shipped"]. Orders that begin now are checked.
 *
 * Only programs that are replaced in place need this. The usual way is to run the new version beside
 * the old one, at an address of its own, and to register that: then every order stays with the
 * version that it began on. Real programs have one of the functions below, not three. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdlib.h>

/* Stands for what takes time and may fail: reserving, checking, mailing, shipping. */
static restate_status do_it(restate_ctx *run, void *arg) {
    return restate_reply(run, restate_json(run, "%s", (const char *)arg));
}

static char reserved[] = "reserved", checked[] = "checked", mailed[] = "mailed", shipped[] = "shipped";

static restate_status paid(restate_ctx *ctx) {
    return restate_await(ctx, restate_promise(ctx, "paid"), NULL);
}

/* Version 1. */
static restate_status order_1(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    RESTATE_TRY(restate_run(ctx, "reserve", do_it, reserved, NULL, NULL));
    RESTATE_TRY(paid(ctx));
    RESTATE_TRY(restate_run(ctx, "ship", do_it, shipped, NULL, NULL));
    return restate_reply(ctx, restate_json(ctx, "['reserved','shipped']"));
}

/* Version 2. The first patch is asked for on the first line, so it tells whether the order began
 * with this version; the second one where the mail belongs, so orders that wait get it, too. */
static restate_status order_2(restate_ctx *ctx, restate_bytes input) {
    bool check = restate_patched(ctx, "check-address"), mail;
    (void)input;
    if (check) RESTATE_TRY(restate_run(ctx, "check", do_it, checked, NULL, NULL));
    else RESTATE_TRY(restate_run(ctx, "reserve", do_it, reserved, NULL, NULL));
    RESTATE_TRY(paid(ctx));
    mail = restate_patched(ctx, "mail");
    if (mail) RESTATE_TRY(restate_run(ctx, "mail", do_it, mailed, NULL, NULL));
    RESTATE_TRY(restate_run(ctx, "ship", do_it, shipped, NULL, NULL));
    return restate_reply(ctx, restate_json(ctx, mail ? "[%s,'mailed','shipped']" : "[%s,'shipped']",
                                           check ? checked : reserved));
}

/* Version 3, when no order of version 1 is left: the old branches are gone. When none of version 2
 * is left the two lines with patch_done can go. */
static restate_status order_3(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    restate_patch_done(ctx, "check-address");
    RESTATE_TRY(restate_run(ctx, "check", do_it, checked, NULL, NULL));
    RESTATE_TRY(paid(ctx));
    restate_patch_done(ctx, "mail");
    RESTATE_TRY(restate_run(ctx, "mail", do_it, mailed, NULL, NULL));
    RESTATE_TRY(restate_run(ctx, "ship", do_it, shipped, NULL, NULL));
    return restate_reply(ctx, restate_json(ctx, "['checked','mailed','shipped']"));
}

static restate_status pay(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_promise_resolve(ctx, "paid", restate_str(""));
}

int main(void) {
    static restate_handler_fn *const versions[] = { order_1, order_2, order_3 };
    const char *port = getenv("PORT"), *version = getenv("VERSION");
    const restate_service order = { .name = "Order", .kind = RESTATE_WORKFLOW,
        .handlers = RESTATE_HANDLERS(
            { .name = "run", .fn = versions[version ? (unsigned)(atoi(version) - 1) % 3 : 1],
              .input = RESTATE_VOID },
            { RESTATE_HANDLER(pay), .shared = true, .input = RESTATE_VOID,
              .output = RESTATE_VOID }) };
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&order), .stop_on_signals = RESTATE_ON,
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
