/* No trees of JSON: links without cJSON. */
#define RESTATE_NO_CJSON
#define RESTATE_IMPLEMENTATION
#include "restate.h"

int main(void) {
    return restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
