/* No client: TLS is linked for identities only, and nothing of clients is there. */
#define RESTATE_NO_CLIENT
#define RESTATE_IMPLEMENTATION
#include "restate.h"

int main(void) {
    return restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
