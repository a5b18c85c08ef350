/* One thread, and none for closures: links without pthreads. */
#define RESTATE_NO_THREADS
#define RESTATE_IMPLEMENTATION
#include "restate.h"

int main(void) {
    return restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
