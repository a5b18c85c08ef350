/* What firmware leaves: links with nanopb alone. */
#define RESTATE_NO_SERVER
#define RESTATE_NO_CJSON
#define RESTATE_NO_THREADS
#define RESTATE_IMPLEMENTATION
#include "restate.h"

int main(void) {
    return restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
