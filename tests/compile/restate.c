/* The declarations alone, twice, in C99: no implementation and no library behind it. */
#include "restate.h"
#include "restate.h"

static restate_status handler(restate_ctx *ctx, restate_bytes input) {
    restate_run_options run = { .retry = { .max_attempts = 3 }, .inline_ok = true };
    (void)run;
    (void)ctx;
    (void)input;
    return RESTATE_OK;
}

static const restate_service service = { .name = "S", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "first", .fn = handler, .input = NULL },
    { .name = "second", .fn = handler, .shared = true, .metadata = RESTATE_PAIRS({ "a", "b" }) }) };

int main(void) {
    const restate_endpoint_options options = { .services = RESTATE_SERVICES(&service), .port = RESTATE_ANY_PORT };
    return options.services[0] == &service && service.handlers[2].name == NULL && RESTATE_VERSION != 0 ? 0 : 1;
}
