/* A connection is opened and says its settings: what that takes of nghttp2 is there, or done without. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"

static restate_status handler(restate_ctx *ctx, restate_bytes input) { return restate_reply(ctx, input); }

int main(void) {
    const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS({ .name = "h", .fn = handler }) };
    const restate_endpoint_options options = { .services = RESTATE_SERVICES(&service) };
    restate_endpoint *endpoint = restate_endpoint_new(&options);
    restate_stream *stream = restate_stream_open(endpoint, NULL);
    restate_bytes out;
    bool said = restate_stream_take(stream, &out, NULL, NULL) == RESTATE_OK && out.len >= 9 && out.ptr[3] == 4;
    restate_endpoint_free(endpoint);
    return said ? 0 : 1;
}
