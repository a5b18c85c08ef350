/* An order service in three services of shop.proto: an object, a workflow, a plain service.
 *
 * Build, in the directory of restate.h (Debian's packages protobuf-compiler and nanopb):
 *     make build/examples/shop/server build/examples/shop/client
 * Run it (on port 9080, or on the one that the environment variable PORT names), and register it:
 *     build/examples/shop/server
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Then be the warehouse, a customer, and the warehouse again:
 *     build/examples/shop/client receive tea 100 450
 *     build/examples/shop/client buy ada card-17 tea 3
 *     build/examples/shop/client pack ORDER TRACKING
 *     build/examples/shop/client receipt ORDER
 * Without a program:
 *     curl localhost:8080/shop.v1.Stock/tea/Look
 *
 * The handlers are in stock.c, orders.c and sales.c, their tests in test_shop.c. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "shop.restate.h"
#include <stdlib.h>

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(shop_v1_Stock_service(), shop_v1_Orders_service(),
                                     shop_v1_Sales_service()),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
