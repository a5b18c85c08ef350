/* Orders at an exchange: acks and fills as signals, cancel and replace on a timeout, a kill switch, exact positions.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/trading.c -o trading -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./trading
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Send 200 orders, and see how long order-to-ack took; INGRESS is the address of the server:
 *     ./trading 200
 * A single order (a negative quantity sells; the market is at 1000, so it rests in the book), and the kill switch:
 *     curl localhost:8080/Orders/A-1/run/send --json '{"desk": "north", "symbol": "ACME", "quantity": 100,
 *         "price": 900, "patienceMillis": 60000}'
 *     curl localhost:8080/Desks/north/kill -X POST
 *     curl localhost:8080/Positions/ACME/get
 *
 * What survives what. Kill this program with -9 in the middle, as often as you like, and start it again: no
 * order is sent twice, no fill is lost or counted twice, a timeout is as long as it was, a kill switch that was
 * pressed reaches every order that was open then. Positions/ACME/get is always what the orders report as filled,
 * and what the exchange has traded. A position may be some ms behind; it is never wrong for good.
 * Times of acks are recorded as they were seen: those of a crash contain the outage. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MARKET = 1000, MOST_LEGS = 6 };

static restate_status read_int(restate_ctx *ctx, const char *key, long long *number) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, key, &stored));
    return restate_json_int(ctx, stored, NULL, number);
}

/* ---- Positions: an object for each symbol -------------------------------------------------------------------- */

static restate_status add(restate_ctx *ctx, restate_bytes input) {
    long long position = 0, change = 0;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &change));
    RESTATE_TRY(read_int(ctx, "position", &position));
    return restate_set(ctx, "position", restate_json(ctx, "%lld", position + change));
}

static restate_status get(restate_ctx *ctx, restate_bytes input) {
    long long position = 0;
    (void)input;
    RESTATE_TRY(read_int(ctx, "position", &position));
    return restate_reply(ctx, restate_json(ctx, "%lld", position));
}

static const restate_service positions = { .name = "Positions", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(add), .output = RESTATE_VOID },
    { RESTATE_HANDLER(get), .shared = true, .input = RESTATE_VOID }) };

/* ---- Exchange: simulated. An object for each symbol; its state is the book, and what was traded -------------- */

/* What the exchange is asked: an order is worked as one leg after the other. */
typedef struct leg {
    const char *id, *order;                             /* `order` is an invocation, which gets the reports */
    long long number, quantity, price;
} leg;

static restate_status read_leg(restate_ctx *ctx, restate_bytes json, leg *l) {
    RESTATE_TRY(restate_json_string(ctx, json, "id", &l->id));
    RESTATE_TRY(restate_json_string(ctx, json, "order", &l->order));
    RESTATE_TRY(restate_json_int(ctx, json, "number", &l->number));
    RESTATE_TRY(restate_json_int(ctx, json, "quantity", &l->quantity));
    return restate_json_int(ctx, json, "price", &l->price);
}

static restate_bytes write_leg(restate_ctx *ctx, const leg *l) {
    return restate_json(ctx, "{'id': %s, 'order': %s, 'number': %lld, 'quantity': %lld, 'price': %lld}",
                        l->id, l->order, l->number, l->quantity, l->price);
}

static restate_status report(restate_ctx *ctx, const leg *l, const char *type, long long quantity) {
    return restate_signal_resolve(ctx, l->order, "report", restate_json(ctx,
        "{'type': %s, 'leg': %lld, 'quantity': %lld}", type, l->number, quantity));
}

static restate_status execute(restate_ctx *ctx, leg *l, long long quantity) {
    RESTATE_TRY(add(ctx, restate_json(ctx, "%lld", quantity)));
    l->quantity -= quantity;
    RESTATE_TRY(l->quantity ? restate_set(ctx, l->id, write_leg(ctx, l)) : restate_clear(ctx, l->id));
    return report(ctx, l, "fill", quantity);
}

static restate_status submit(restate_ctx *ctx, restate_bytes input) {
    const restate_call_options later = { .delay_ms = 20 };
    restate_target self = { .service = "Exchange", .handler = "match", .key = restate_key(ctx) };
    uint64_t luck = restate_random_below(ctx, 100);
    leg l = { "", "", 0, 0, 0 };
    RESTATE_TRY(read_leg(ctx, input, &l));
    if (luck < 4) return RESTATE_OK;                    /* lost on the way */
    if (luck < 8) return report(ctx, &l, "rejected", 0);
    RESTATE_TRY(report(ctx, &l, "ack", 0));
    RESTATE_TRY(restate_set(ctx, l.id, input));
    if (l.quantity > 0 ? l.price < MARKET : l.price > MARKET) return RESTATE_OK;     /* it rests in the book */
    if (luck < 60) return execute(ctx, &l, l.quantity);
    if (luck < 80) RESTATE_TRY(execute(ctx, &l, l.quantity / 2));
    if (luck < 90) restate_send(ctx, self, restate_json(ctx, "%s", l.id), &later);
    return RESTATE_OK;
}

/* What rested in the book meets somebody; or it has been cancelled before. */
static restate_status match(restate_ctx *ctx, restate_bytes input) {
    leg l = { "", "", 0, 0, 0 };
    restate_bytes resting;
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &l.id));
    RESTATE_TRY(restate_get(ctx, l.id, &resting));
    if (!resting.ptr) return RESTATE_OK;
    RESTATE_TRY(read_leg(ctx, resting, &l));
    return execute(ctx, &l, l.quantity);
}

static restate_status cancel(restate_ctx *ctx, restate_bytes input) {
    leg l = { "", "", 0, 0, 0 };
    RESTATE_TRY(read_leg(ctx, input, &l));
    RESTATE_TRY(restate_clear(ctx, l.id));
    return report(ctx, &l, "cancelled", 0);             /* fills from before have been reported before */
}

static const restate_service exchange = { .name = "Exchange", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(submit), .output = RESTATE_VOID },
    { RESTATE_HANDLER(cancel), .output = RESTATE_VOID },
    { RESTATE_HANDLER(match), .output = RESTATE_VOID },
    { RESTATE_HANDLER(get), .shared = true, .input = RESTATE_VOID }) };

/* ---- Desks: who may trade. State: "killed", and "order/ID" for each open order: its invocation ---------------- */

static restate_status admit(restate_ctx *ctx, restate_bytes input) {
    const char *order = "", *invocation = "";
    restate_bytes killed;
    RESTATE_TRY(restate_get(ctx, "killed", &killed));
    if (killed.ptr) return restate_fail(ctx, 403, "%s: trading is stopped", restate_key(ctx));
    RESTATE_TRY(restate_json_string(ctx, input, "order", &order));
    RESTATE_TRY(restate_json_string(ctx, input, "invocation", &invocation));
    return restate_set(ctx, restate_text(ctx, "order/%s", order), restate_json(ctx, "%s", invocation));
}

static restate_status release(restate_ctx *ctx, restate_bytes input) {
    const char *order = "";
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &order));
    return restate_clear(ctx, restate_text(ctx, "order/%s", order));
}

/* The desk is an object: an order was either admitted before this, and gets the signal, or is refused after it. */
static restate_status kill_switch(restate_ctx *ctx, restate_bytes input) {
    const restate_entry *e;
    (void)input;
    RESTATE_TRY(restate_get_all(ctx, &e));
    RESTATE_TRY(restate_set(ctx, "killed", restate_json(ctx, "true")));
    for (; e->key; e++) {
        const char *invocation = "";
        if (strncmp(e->key, "order/", 6) != 0) continue;
        RESTATE_TRY(restate_json_string(ctx, e->value, NULL, &invocation));
        RESTATE_TRY(restate_signal_resolve(ctx, invocation, "kill", (restate_bytes){0}));
    }
    return RESTATE_OK;
}

static restate_status resume(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return restate_clear(ctx, "killed");
}

static const restate_service desks = { .name = "Desks", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(admit), .output = RESTATE_VOID },
    { RESTATE_HANDLER(release), .output = RESTATE_VOID },
    { .name = "kill", .fn = kill_switch, .input = RESTATE_VOID, .output = RESTATE_VOID },
    { RESTATE_HANDLER(resume), .input = RESTATE_VOID, .output = RESTATE_VOID }) };

/* ---- Orders: a workflow for each, so the same id is never sent twice ----------------------------------------- */

enum { REPORT, PATIENCE, KILL, CANCEL, EVENTS };

typedef struct order {
    const char *desk, *symbol;
    leg now;                                            /* its quantity is what is still to be filled */
    long long filled, patience_ms, sent_us;
    restate_future *events[EVENTS];                     /* NULL: not waited for */
    const char *acks;                                   /* how long they took, as the inside of a JSON array */
} order;

static restate_status read_clock(restate_ctx *run, void *arg) {
    struct timespec t;
    (void)arg;
    clock_gettime(CLOCK_REALTIME, &t);
    return restate_reply(run, restate_json(run, "%lld", (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000));
}

/* restate_now() in microseconds. */
static restate_status stamp(restate_ctx *ctx, long long *us) {
    const restate_run_options quick = { .inline_ok = true };
    restate_bytes recorded;
    RESTATE_TRY(restate_run(ctx, "clock", read_clock, NULL, &quick, &recorded));
    return restate_json_int(ctx, recorded, NULL, us);
}

static void to_exchange(restate_ctx *ctx, const order *o, const char *handler) {
    const restate_target to = { .service = "Exchange", .handler = handler, .key = o->symbol };
    restate_send(ctx, to, write_leg(ctx, &o->now), NULL);
}

static void filled(restate_ctx *ctx, order *o, long long quantity) {
    const restate_target to = { .service = "Positions", .handler = "add", .key = o->symbol };
    restate_send(ctx, to, restate_json(ctx, "%lld", quantity), NULL);
    o->filled += quantity;
    o->now.quantity -= quantity;
}

/* `*open`: whether the leg is still in the market. */
static restate_status reported(restate_ctx *ctx, order *o, bool *open) {
    const char *type = "";
    long long number = 0, quantity = 0, us = 0;
    restate_bytes message;
    RESTATE_TRY(restate_await(ctx, o->events[REPORT], &message));
    o->events[REPORT] = restate_signal(ctx, "report");  /* the one after it */
    RESTATE_TRY(restate_json_string(ctx, message, "type", &type));
    RESTATE_TRY(restate_json_int(ctx, message, "leg", &number));
    RESTATE_TRY(restate_json_int(ctx, message, "quantity", &quantity));
    if (number != o->now.number) return RESTATE_OK;     /* a leg that was rejected and cancelled, too */
    if (strcmp(type, "ack") == 0) {
        RESTATE_TRY(stamp(ctx, &us));
        o->acks = restate_text(ctx, "%s%s%lld", o->acks, o->acks[0] ? ", " : "", us - o->sent_us);
        return RESTATE_OK;
    }
    if (quantity) filled(ctx, o, quantity);
    *open = quantity && o->now.quantity;                /* else it is filled, rejected or cancelled */
    return RESTATE_OK;
}

/* One leg, until the exchange says that it is over. Who wants it cancelled only asks: a fill may have been faster. */
static restate_status work_leg(restate_ctx *ctx, order *o) {
    bool open = true;
    size_t which;
    o->now.number++;
    o->now.id = restate_text(ctx, "%s/%lld", restate_key(ctx), o->now.number);
    RESTATE_TRY(stamp(ctx, &o->sent_us));
    to_exchange(ctx, o, "submit");
    o->events[PATIENCE] = restate_sleep_async(ctx, (uint64_t)o->patience_ms, "patience");
    while (open) {
        RESTATE_TRY(restate_select(ctx, o->events, EVENTS, &which));
        if (which == REPORT) RESTATE_TRY(reported(ctx, o, &open));
        else {
            to_exchange(ctx, o, "cancel");
            o->events[PATIENCE] = o->events[KILL] = o->events[CANCEL] = NULL;
        }
    }
    return RESTATE_OK;
}

/* Explicit cancellation: no await point returns RESTATE_CANCELLED, so an order never ends while it is in the market. */
static restate_status run(restate_ctx *ctx, restate_bytes input) {
    order o = { .desk = "", .symbol = "", .now = { "", restate_request(ctx)->invocation_id, 0, 0, MARKET },
                .patience_ms = 100, .acks = "" };
    restate_future *kill = restate_signal(ctx, "kill"), *cancelled = restate_cancellation(ctx);
    restate_target desk = { .service = "Desks", .handler = "admit" };
    RESTATE_TRY(restate_json_string(ctx, input, "desk", &o.desk));
    RESTATE_TRY(restate_json_string(ctx, input, "symbol", &o.symbol));
    RESTATE_TRY(restate_json_int(ctx, input, "quantity", &o.now.quantity));
    RESTATE_TRY(restate_json_int(ctx, input, "price", &o.now.price));
    RESTATE_TRY(restate_json_int(ctx, input, "patienceMillis", &o.patience_ms));
    if (!o.desk[0] || !o.symbol[0] || !o.now.quantity) return restate_fail(ctx, 400, "which desk trades what?");
    desk.key = o.desk;
    RESTATE_TRY(restate_call(ctx, desk, restate_json(ctx, "{'order': %s, 'invocation': %s}", restate_key(ctx),
                                                     o.now.order), NULL, NULL));
    o.events[REPORT] = restate_signal(ctx, "report");
    while (o.now.quantity && o.now.number < MOST_LEGS && !restate_is_done(kill) && !restate_is_done(cancelled)) {
        o.events[KILL] = kill;
        o.events[CANCEL] = cancelled;
        RESTATE_TRY(work_leg(ctx, &o));
        o.now.price += o.now.quantity > 0 ? 1 : -1;     /* the next leg is a tick better for others */
    }
    desk.handler = "release";
    restate_send(ctx, desk, restate_json(ctx, "%s", restate_key(ctx)), NULL);
    return restate_reply(ctx, restate_json(ctx, "{'filled': %lld, 'open': %lld, 'legs': %lld, 'ackMicros': %-s}",
        o.filled, o.now.quantity, o.now.number, restate_text(ctx, "[%s]", o.acks)));
}

static const restate_service orders = { .name = "Orders", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
    { RESTATE_HANDLER(run), .options = { .explicit_cancellation = RESTATE_ON } }) };

/* ---- The trader: sends many orders, and looks at the results --------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    const long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

static restate_status trade(restate_ctx *ctx, size_t count) {
    static const char *const symbols[] = { "ACME", "BOLT", "CORK" };
    restate_target to = { .service = "Orders", .handler = "run" };
    restate_future **calls = restate_alloc(ctx, count * sizeof *calls);
    long long *us = restate_alloc(ctx, count * MOST_LEGS * sizeof *us);
    const char *batch = restate_uuid(ctx);
    size_t i, full = 0, acks = 0;
    if (!calls || !us) return RESTATE_ERROR;
    for (i = 0; i < count; i++) {
        to.key = restate_text(ctx, "%s-%zu", batch, i);
        calls[i] = restate_call_async(ctx, to, restate_json(ctx, "{'desk': 'trader', 'symbol': %s, 'quantity': %d}",
                                                            symbols[i % 3], i % 5 ? 70 : -100), NULL);
    }
    for (i = 0; i < count; i++) {
        long long open = 0;
        restate_bytes result, list, one = { NULL, 0 };
        RESTATE_TRY(restate_await(ctx, calls[i], &result));
        RESTATE_TRY(restate_json_int(ctx, result, "open", &open));
        RESTATE_TRY(restate_json_member(ctx, result, "ackMicros", &list));
        while (restate_json_next(ctx, list, &one)) RESTATE_TRY(restate_json_int(ctx, one, NULL, &us[acks++]));
        full += open == 0;
    }
    qsort(us, acks, sizeof *us, ascending);
    printf("%zu orders, %zu filled; %zu acks", count, full, acks);
    if (acks) printf(", p50 %.1f ms, p99 %.1f ms", (double)us[acks / 2] / 1e3, (double)us[acks * 99 / 100] / 1e3);
    printf("\n");
    return RESTATE_OK;
}

int main(int argc, char **argv) {
    const char *port = getenv("PORT");
    restate_client *client;
    restate_ctx *ctx;
    restate_status s;
    if (argc < 2)
        return restate_serve(&(restate_endpoint_options){
            .services = RESTATE_SERVICES(&orders, &desks, &positions, &exchange),
            .port = (uint16_t)(port ? atoi(port) : 9080) });
    client = restate_client_new(&(restate_client_options){ .ingress = getenv("INGRESS") });
    ctx = restate_client_begin(client);
    s = trade(ctx, (size_t)atoi(argv[1]));
    if (s != RESTATE_OK) fprintf(stderr, "%s\n", restate_failed(ctx)->message);
    restate_client_end(ctx);
    restate_client_free(client);
    return s != RESTATE_OK;
}
