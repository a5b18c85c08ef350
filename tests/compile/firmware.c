/* What the manual says of firmware, as a program for a core has it: three switches, and where its board
 * has no clock_gettime, a clock. Compiled only; the program would have the six functions of the port. */
#define RESTATE_NO_SERVER
#define RESTATE_NO_CJSON
#define RESTATE_NO_THREADS
#ifdef BOARD_CLOCK
#  include <stdint.h>
extern uint64_t board_ms(int wall);
#  define RESTATE_CLOCK_MS(wall) board_ms(wall)
#endif
#define RESTATE_IMPLEMENTATION
#include "restate.h"

static restate_status measure(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_json(run, "%d", 21));
}

static restate_status report(restate_ctx *ctx, restate_bytes input) {
    restate_run_options once = { .inline_ok = true };
    restate_bytes value;
    (void)input;
    RESTATE_TRY(restate_run(ctx, "measure", measure, NULL, &once, &value));
    return restate_reply(ctx, value);
}

int main(void) {
    const restate_service sensor = { .name = "Sensor", .handlers = RESTATE_HANDLERS({ .name = "report", .fn = report }) };
    const restate_endpoint_options options = { .services = RESTATE_SERVICES(&sensor), .max_invocations = 2,
                                               .max_message_bytes = 16384, .window_bytes = 16384 };
    const restate_http_request request = { .method = "GET", .path = "/discover" };
    restate_endpoint *endpoint = restate_endpoint_new(&options);
    restate_stream *stream = restate_stream_open(endpoint, &request);
    restate_bytes out;
    restate_status s = restate_stream_take(stream, &out, NULL, NULL);
    restate_stream_free(stream);
    restate_endpoint_free(endpoint);
    return s == RESTATE_ENDED ? 0 : 1;
}
