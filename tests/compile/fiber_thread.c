/* A thread per handler. */
#define RESTATE_FIBER RESTATE_FIBER_THREAD
#define RESTATE_IMPLEMENTATION
#include "restate.h"

int main(void) {
    return restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
