/* No sockets and no HTTP/2: links without nghttp2. */
#define RESTATE_NO_SERVER
#define RESTATE_IMPLEMENTATION
#include "restate.h"

int main(void) {
    return restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
