/* An endpoint with one handler, and a connection to it, for programs that need just that. Include it behind
 * restate.h. */
static restate_status handler(restate_ctx *ctx, restate_bytes input) { return restate_reply(ctx, input); }

static const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS({ .name = "h", .fn = handler }) };

static restate_stream *connection(restate_endpoint **endpoint) {
    const restate_endpoint_options options = { .services = RESTATE_SERVICES(&service) };
    *endpoint = restate_endpoint_new(&options);
    return restate_stream_open(*endpoint, NULL);
}
