/* Firmware roll-out to thousands of devices: canaries first, a bounded number at a time, halt on errors.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/rollout.c -o rollout -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./rollout
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Roll a version out to 10,000 devices, which are simulated; "spring" is the name of this roll-out:
 *     curl localhost:8080/Rollouts/spring/run/send --json '{"version": "2.1.0", "devices": 10000}'
 *     curl localhost:8080/Rollouts/spring/status
 *     curl localhost:8080/Rollouts/spring/halt --json '"the update server is on fire"'
 * Every 25th device does not boot with any new version, and every third not with one that ends in "-bad": with
 * that one the roll-out ends after its canaries.
 *
 * What survives what. Kill this program with -9 whenever you like, and start it again: every device gets
 * the version exactly once, and the numbers come out the same. A device whose transfer was cut off gets it
 * again; one that was rebooting is not told to reboot once more. Kill the server: it is the same. A roll-out
 * that was halted does nothing more; under another name, devices that have the version already are skipped.
 *
 * Journals stay small, because nobody makes 10,000 calls: the roll-out has four entries for each site (the call,
 * its id, its result, the new progress), a site has three for each of its devices. None has more than 410 in all.
 *
 * Limits that hold for all roll-outs together. The numbers in the input bound one roll-out. If several may run at
 * a time, let the server count: with protocol 7 and virtual queues it limits by scope and limit key. A call to
 * site 7 has the limit key sites/7; the scope is that of the input:
 *     curl -X PUT localhost:9070/limits/rules --json '[{"pattern": "fleet/sites", "limits": {"concurrency": 8}}]'
 *     curl localhost:8080/Rollouts/summer/run/send --json '{"version": "2.2.0", "devices": 10000, "scope": "fleet"}'
 * Without a scope in the input nothing of this is asked for, and any server will do. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdlib.h>
#include <string.h>

/* ---- Bounded fan-out: copy it, it needs nothing else of this file ---------------------------------------------- */

typedef restate_future *start_fn(restate_ctx *ctx, void *arg);          /* the next call; NULL: no more */
typedef restate_status finished_fn(restate_ctx *ctx, void *arg, restate_future *call);

/* Makes calls, at most `width` (1 or more) at a time, and hands each to `finished` when it is settled, well or not:
 * restate_await() of it does not wait. As soon as one has finished, the next one starts. A cancellation reaches the
 * calls that are open, and is returned. After a failure of `finished` the open calls go on without you.
 * The order in which they finish is the journal's, so `start` may decide by what `finished` has counted. */
static restate_status fan_out(restate_ctx *ctx, size_t width, start_fn *start, finished_fn *finished, void *arg) {
    restate_future **open = restate_alloc(ctx, width * sizeof *open);
    size_t i;
    if (!open) return RESTATE_ENDED;
    for (i = 0; i < width; i++) open[i] = start(ctx, arg);
    for (;;) {
        RESTATE_TRY(restate_select(ctx, open, width, &i));
        if (i == width) return RESTATE_OK;                              /* none is open */
        RESTATE_TRY(finished(ctx, arg, open[i]));
        open[i] = start(ctx, arg);
    }
}

/* ---- Devices: an object each, so that two roll-outs never write to the same flash at a time -------------------- */

typedef struct image {
    int device;
    const char *version;
} image;

/* The link is bad: one in ten does not answer the first time. (A closure may look at the number of tries, as its
 * result is recorded; a handler must not.) It is idempotent: the device writes to the half that it does not run. */
static restate_status transfer(restate_ctx *run, void *arg) {
    const image *i = arg;
    if (i->device % 10 == 7 && restate_request(run)->retry_count == 0)
        return restate_retry(run, NULL, "device %d does not answer", i->device);
    return RESTATE_OK;
}

static restate_status check(restate_ctx *run, void *arg) {
    const image *i = arg;
    size_t len = strlen(i->version);
    bool bad = len > 4 && strcmp(i->version + len - 4, "-bad") == 0;
    if (i->device % 25 == 24 || (bad && i->device % 3 == 2))
        return restate_fail(run, 422, "device %d is back with its old version", i->device);
    return RESTATE_OK;
}

static restate_status install(restate_ctx *ctx, restate_bytes input) {
    const restate_run_options tries = { .retry = { .initial_interval_ms = 100, .max_attempts = 5 } };
    image i = { atoi(restate_key(ctx)), "" };
    const char *now = "";
    long long installs = 0;
    restate_bytes stored;
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &i.version));
    RESTATE_TRY(restate_get(ctx, "version", &stored));
    RESTATE_TRY(restate_json_string(ctx, stored, NULL, &now));
    if (strcmp(now, i.version) == 0) return RESTATE_OK;                 /* of an earlier roll-out */
    RESTATE_TRY(restate_run(ctx, "transfer", transfer, &i, &tries, NULL));
    RESTATE_TRY(restate_sleep(ctx, 100));                               /* it reboots */
    RESTATE_TRY(restate_run(ctx, "check", check, &i, &tries, NULL));
    RESTATE_TRY(restate_get(ctx, "installs", &stored));
    RESTATE_TRY(restate_json_int(ctx, stored, NULL, &installs));
    RESTATE_TRY(restate_set(ctx, "installs", restate_json(ctx, "%lld", installs + 1)));
    return restate_set(ctx, "version", input);
}

static const restate_service devices = { .name = "Devices", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(install), .output = RESTATE_VOID }) };

/* ---- Sites: the devices behind one gateway, in an invocation of its own ---------------------------------------- */

typedef struct counts {
    long long updated, failed;
} counts;

typedef struct site {
    long long next, until;
    restate_bytes version;                                              /* as JSON */
    counts n;
} site;

static restate_future *start_device(restate_ctx *ctx, void *arg) {
    site *s = arg;
    restate_target device = { .service = "Devices", .handler = "install" };
    if (s->next == s->until) return NULL;
    device.key = restate_text(ctx, "%lld", s->next++);
    return restate_call_async(ctx, device, s->version, NULL);
}

static restate_status device_finished(restate_ctx *ctx, void *arg, restate_future *call) {
    site *s = arg;
    restate_status status = restate_await(ctx, call, NULL);
    if (status == RESTATE_OK) s->n.updated++;
    else if (status != RESTATE_TERMINAL) return status;
    else {
        s->n.failed++;
        restate_log(ctx, RESTATE_LOG_WARN, "%s", restate_failed(ctx)->message);
    }
    return RESTATE_OK;
}

static restate_status update(restate_ctx *ctx, restate_bytes input) {
    site s = { 0 };
    long long at_a_time = 1;
    RESTATE_TRY(restate_json_int(ctx, input, "first", &s.next));
    RESTATE_TRY(restate_json_int(ctx, input, "until", &s.until));
    RESTATE_TRY(restate_json_int(ctx, input, "atATime", &at_a_time));
    RESTATE_TRY(restate_json_member(ctx, input, "version", &s.version));
    RESTATE_TRY(fan_out(ctx, (size_t)at_a_time, start_device, device_finished, &s));
    return restate_reply(ctx, restate_json(ctx, "{'updated': %lld, 'failed': %lld}", s.n.updated, s.n.failed));
}

static const restate_service sites = { .name = "Sites", .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(update), .options = { .ingress_private = RESTATE_ON } }) };

/* ---- Rollouts: a workflow each. The devices of the first site are the canaries --------------------------------- */

typedef struct rollout {
    const char *version, *scope;
    long long devices, per_site, sites_at_a_time, devices_at_a_time, max_percent;
    long long next, until;                                              /* sites */
    counts n;
    restate_future *halt;                                               /* a promise */
    const char *stage;
} rollout;

static restate_status read_plan(restate_ctx *ctx, restate_bytes input, rollout *r) {
    RESTATE_TRY(restate_json_string(ctx, input, "version", &r->version));
    RESTATE_TRY(restate_json_string(ctx, input, "scope", &r->scope));
    RESTATE_TRY(restate_json_int(ctx, input, "devices", &r->devices));
    RESTATE_TRY(restate_json_int(ctx, input, "perSite", &r->per_site));
    RESTATE_TRY(restate_json_int(ctx, input, "sitesAtATime", &r->sites_at_a_time));
    RESTATE_TRY(restate_json_int(ctx, input, "devicesAtATime", &r->devices_at_a_time));
    RESTATE_TRY(restate_json_int(ctx, input, "maxPercent", &r->max_percent));
    if (!r->version[0] || r->devices < 1 || r->per_site < 1 || r->sites_at_a_time < 1 || r->sites_at_a_time > 1000 ||
        r->devices_at_a_time < 1 || r->devices_at_a_time > 1000)
        return restate_fail(ctx, 400, "a version, some devices, and 1 to 1,000 at a time");
    return RESTATE_OK;
}

static bool too_many_failed(const rollout *r) {
    return r->n.failed * 100 > r->max_percent * (r->n.updated + r->n.failed);
}

static restate_bytes progress(restate_ctx *ctx, const rollout *r) {
    return restate_json(ctx, "{'stage': %s, 'updated': %lld, 'failed': %lld}", r->stage, r->n.updated, r->n.failed);
}

/* Whether somebody has called `halt` is known at every await point: no command is needed to ask for it. */
static restate_future *start_site(restate_ctx *ctx, void *arg) {
    rollout *r = arg;
    const restate_target to = { .service = "Sites", .handler = "update", .scope = r->scope };
    restate_call_options limits = { 0 };
    long long first = r->next * r->per_site, until = first + r->per_site;
    restate_bytes input;
    if (r->next == r->until || too_many_failed(r) || restate_is_done(r->halt)) return NULL;
    if (r->scope) limits.limit_key = restate_text(ctx, "sites/%lld", r->next);
    r->next++;
    if (until > r->devices) until = r->devices;
    input = restate_json(ctx, "{'version': %s, 'first': %lld, 'until': %lld, 'atATime': %lld}", r->version, first,
                         until, r->devices_at_a_time);
    return restate_call_async(ctx, to, input, &limits);
}

static restate_status site_finished(restate_ctx *ctx, void *arg, restate_future *call) {
    rollout *r = arg;
    restate_bytes reply;
    counts n = { 0, 0 };
    RESTATE_TRY(restate_await(ctx, call, &reply));
    RESTATE_TRY(restate_json_int(ctx, reply, "updated", &n.updated));
    RESTATE_TRY(restate_json_int(ctx, reply, "failed", &n.failed));
    r->n.updated += n.updated;
    r->n.failed += n.failed;
    return restate_set(ctx, "progress", progress(ctx, r));
}

static restate_status roll_out(restate_ctx *ctx, restate_bytes input) {
    rollout r = { .version = "", .per_site = 100, .sites_at_a_time = 4, .devices_at_a_time = 25, .max_percent = 10 };
    long long all;
    RESTATE_TRY(read_plan(ctx, input, &r));
    r.halt = restate_promise(ctx, "halt");
    all = (r.devices + r.per_site - 1) / r.per_site;

    r.stage = "canaries";
    r.until = 1;
    RESTATE_TRY(restate_set(ctx, "progress", progress(ctx, &r)));
    RESTATE_TRY(fan_out(ctx, 1, start_site, site_finished, &r));
    r.stage = "rolling out";
    r.until = all;
    RESTATE_TRY(fan_out(ctx, (size_t)r.sites_at_a_time, start_site, site_finished, &r));

    r.stage = too_many_failed(&r) || r.next < all ? "halted" : "done";
    RESTATE_TRY(restate_set(ctx, "progress", progress(ctx, &r)));
    return restate_reply(ctx, progress(ctx, &r));
}

static restate_status status(restate_ctx *ctx, restate_bytes input) {
    restate_bytes stored;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "progress", &stored));
    return restate_reply(ctx, stored.ptr ? stored : restate_json(ctx, "null"));
}

/* Sites that are at work finish; no other one begins. (To stop at once, cancel the invocation.) */
static restate_status halt(restate_ctx *ctx, restate_bytes input) {
    return restate_promise_resolve(ctx, "halt", input);
}

static const restate_service rollouts = { .name = "Rollouts", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
    { .name = "run", .fn = roll_out },
    { RESTATE_HANDLER(status), .shared = true, .input = RESTATE_VOID },
    { RESTATE_HANDLER(halt), .shared = true, .output = RESTATE_VOID }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&rollouts, &sites, &devices),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
