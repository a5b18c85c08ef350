/* With a clock of the program's nothing asks the system for the time. Compiled only. */
#define _DEFAULT_SOURCE 1
#include <pthread.h>
#include <sys/timerfd.h>
#include <time.h>

static unsigned long long ticks;
#define RESTATE_CLOCK_MS(wall) ((wall) ? 1900000000000u + ticks : ++ticks)
#define RESTATE_IMPLEMENTATION
#if defined(__GNUC__)
#  pragma GCC poison clock_gettime gettimeofday timespec_get
#endif
#include "restate.h"

static restate_status handler(restate_ctx *ctx, restate_bytes input) { return restate_reply(ctx, input); }

int main(void) {
    const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS({ .name = "h", .fn = handler }) };
    const restate_endpoint_options options = { .services = RESTATE_SERVICES(&service) };
    restate_endpoint *endpoint = restate_endpoint_new(&options);
    restate_stream *stream = restate_stream_open(endpoint, NULL);
    restate_endpoint_free(endpoint);
    return stream && ticks ? 0 : 1;
}
