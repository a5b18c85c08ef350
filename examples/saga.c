/* A saga: book a flight, a car and a hotel; if one fails, or somebody cancels, undo the others.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/saga.c -o saga -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./saga
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server. The first call works, in the second the hotel is fully booked:
 *     curl localhost:8080/Trips/book --json '{}'
 *     curl localhost:8080/Trips/book --json '{"soldOut": "Hotels"}'
 * Or start one whose hotel takes a minute to confirm, and cancel it by the invocationId:
 *     curl localhost:8080/Trips/book/send --json '{"slow": "Hotels"}'
 *     curl -X PATCH localhost:9070/invocations/ID/cancel
 * What is booked now, by the id of the trip that the program prints:
 *     curl localhost:8080/Flights/TRIP/get
 *
 * What is undone includes the booking that failed, or was interrupted: nobody can know how far it
 * had got. Bookings are objects, so a `cancel` waits until the `reserve` of that trip has ended. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Flights, Cars and Hotels: the same three handlers, the key is the trip ------------------ */

static restate_status reserve(restate_ctx *ctx, restate_bytes input) {
    const char *me = restate_request(ctx)->target.service, *sold_out = "", *slow = "";
    RESTATE_TRY(restate_json_string(ctx, input, "soldOut", &sold_out));
    RESTATE_TRY(restate_json_string(ctx, input, "slow", &slow));
    RESTATE_TRY(restate_set(ctx, "booked", restate_json(ctx, "true")));
    if (strcmp(slow, me) == 0) RESTATE_TRY(restate_sleep(ctx, RESTATE_MINUTES(1)));
    if (strcmp(sold_out, me) == 0) return restate_fail(ctx, 409, "%s: none left", me);
    return RESTATE_OK;
}

static restate_status cancel(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    restate_log(ctx, RESTATE_LOG_INFO, "trip %s is undone", restate_key(ctx));
    return restate_clear(ctx, "booked");            /* fine, too, if nothing was booked */
}

static restate_status get(restate_ctx *ctx, restate_bytes input) {
    restate_bytes booked;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "booked", &booked));
    return restate_reply(ctx, booked.ptr ? booked : restate_json(ctx, "false"));
}

#define BOOKINGS RESTATE_HANDLERS( \
    { .name = "reserve", .fn = reserve, .output = RESTATE_VOID }, \
    { .name = "cancel", .fn = cancel, .input = RESTATE_VOID, .output = RESTATE_VOID }, \
    { .name = "get", .fn = get, .shared = true, .input = RESTATE_VOID })

static const restate_service flights = { "Flights", RESTATE_OBJECT, .handlers = BOOKINGS };
static const restate_service cars = { "Cars", RESTATE_OBJECT, .handlers = BOOKINGS };
static const restate_service hotels = { "Hotels", RESTATE_OBJECT, .handlers = BOOKINGS };

/* ---- Trips ----------------------------------------------------------------------------------- */

static restate_target part(int number, const char *trip, const char *handler) {
    static const char *const parts[] = { "Flights", "Cars", "Hotels" };
    return (restate_target){ .service = parts[number], .handler = handler, .key = trip };
}

static restate_status book(restate_ctx *ctx, restate_bytes input) {
    const char *trip = restate_uuid(ctx);
    const restate_failure *why;
    restate_status s = RESTATE_OK;
    int tried = 0;
    restate_log(ctx, RESTATE_LOG_INFO, "booking trip %s", trip);
    while (tried < 3 && s == RESTATE_OK)
        s = restate_call(ctx, part(tried++, trip, "reserve"), input, NULL, NULL);
    if (s == RESTATE_OK) return restate_reply(ctx, restate_json(ctx, "{'trip': %s}", trip));

    why = restate_failed(ctx);                      /* keep it, there may be others */
    while (tried > 0) {                             /* last first */
        s = restate_call(ctx, part(tried - 1, trip, "cancel"), (restate_bytes){0}, NULL, NULL);
        if (s == RESTATE_CANCELLED) continue;       /* again: impatience must not stop this */
        RESTATE_TRY(s);                             /* RESTATE_ENDED: goes on in another attempt */
        tried--;
    }
    return restate_fail_with(ctx, why);
}

static const restate_service trips = { .name = "Trips", .handlers = RESTATE_HANDLERS(
    { .name = "book", .fn = book }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&trips, &flights, &cars, &hotels),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
