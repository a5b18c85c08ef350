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
#include "connection.h"

int main(void) {
    restate_endpoint *endpoint;
    restate_stream *stream = connection(&endpoint);
    restate_endpoint_free(endpoint);
    return stream && ticks ? 0 : 1;
}
