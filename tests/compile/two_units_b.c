/* ... and the others have the declarations. */
#include "restate.h"

int main(void) {
    restate_endpoint_free(NULL);
    return restate_version() == RESTATE_VERSION && restate_str("abc").len == 3 ? 0 : 1;
}
