// The declarations in C++17, linked with an implementation compiled as C.
#include "restate.h"
#include "restate.h"

static restate_status handler(restate_ctx *ctx, restate_bytes input) {
    RESTATE_TRY(restate_sleep(ctx, RESTATE_SECONDS(1)));
    return restate_reply(ctx, input);
}

int main() {
    restate_handler handlers[2] = {};
    handlers[0].name = "first";
    handlers[0].fn = handler;
    handlers[0].input = RESTATE_JSON;
    restate_service service = {};
    service.name = "S";
    service.handlers = handlers;
    return service.name && restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
