/* Protobuf: payloads and state as messages that nanopb has generated from order.proto.
 *
 * Build, in the directory of restate.h (nanopb_generator.py is in Debian's package nanopb):
 *     nanopb_generator.py -D . -I examples examples/order.proto
 *     cc -I. examples/protobuf.c order.pb.c -o protobuf \
 *         -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./protobuf
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server; "ada" is the key, each customer has a total of her own:
 *     curl localhost:8080/Customers/ada/placeJson --json '{"id": "A-17", "cents": 450}'
 *     curl localhost:8080/Customers/ada/total
 * The same order in protobuf's binary form, made and read by protoc:
 *     echo 'id: "A-18" cents: 550' | protoc --encode=Order examples/order.proto |
 *         curl localhost:8080/Customers/ada/place -H 'content-type: application/proto' \
 *         --data-binary @- | protoc --decode=Total examples/order.proto
 *
 * A codec is what makes bytes of a C struct, and back. The server tells callers by its content type
 * what to send, and refuses anything else; restate_encode() and restate_decode() do the work. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "order.pb.h"
#include <stdlib.h>

/* The same messages in two forms: compact, and readable without protobuf. */
static const restate_codec order_codec = RESTATE_PROTO(Order);
static const restate_codec total_codec = RESTATE_PROTO(Total);
static const restate_codec order_json = RESTATE_PROTOJSON(Order);
static const restate_codec total_json = RESTATE_PROTOJSON(Total);

static restate_status read_total(restate_ctx *ctx, Total *total) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, "total", &stored));
    return restate_decode(ctx, &total_codec, stored, total);    /* none yet: stays what it was */
}

static restate_status add_up(restate_ctx *ctx, const Order *order, Total *total) {
    if (order->cents < 1 || order->cents > 1000000)
        return restate_fail(ctx, 400, "order '%s': no order costs that", order->id);
    RESTATE_TRY(read_total(ctx, total));
    total->cents += order->cents;
    total->orders++;
    return restate_set(ctx, "total", restate_encode(ctx, &total_codec, total));
}

static restate_status place(restate_ctx *ctx, restate_bytes input) {
    Order order = Order_init_zero;
    Total total = Total_init_zero;
    RESTATE_TRY(restate_decode(ctx, &order_codec, input, &order));  /* not an Order: fails, 400 */
    RESTATE_TRY(add_up(ctx, &order, &total));
    return restate_reply(ctx, restate_encode(ctx, &total_codec, &total));
}

static restate_status place_json(restate_ctx *ctx, restate_bytes input) {
    Order order = Order_init_zero;
    Total total = Total_init_zero;
    RESTATE_TRY(restate_decode(ctx, &order_json, input, &order));
    RESTATE_TRY(add_up(ctx, &order, &total));
    return restate_reply(ctx, restate_encode(ctx, &total_json, &total));
}

static restate_status total(restate_ctx *ctx, restate_bytes input) {
    Total sum = Total_init_zero;
    (void)input;
    RESTATE_TRY(read_total(ctx, &sum));
    return restate_reply(ctx, restate_encode(ctx, &total_json, &sum));
}

static const restate_service customers = {
    .name = "Customers", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "place", .fn = place, .input = &order_codec, .output = &total_codec },
        { .name = "placeJson", .fn = place_json, .input = &order_json, .output = &total_json },
        { .name = "total", .fn = total, .shared = true, .input = RESTATE_VOID,
          .output = &total_json }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&customers),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
