/* Everything static: nothing is exported, and nobody warns of what is not used. */
#define RESTATE_STATIC
#define RESTATE_IMPLEMENTATION
#include "restate.h"

int main(void) {
    return restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
