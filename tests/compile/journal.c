/* The journal by itself, with the operations that examples/firmware uses: how large that is in an
 * image (make firmware-size). Linked only. */
#define RESTATE_IMPLEMENTATION
#include "examples/firmware/sdk.h"

#define OPERATIONS(X) \
    X(init) X(feed) X(end_input) X(ready) X(fail) X(fail_now) X(related_last) X(forget) X(await) X(keep_failure) \
    X(pairs) X(input) X(output) X(end) X(get) X(set) X(sleep) X(call_invocation) X(run) X(propose)

typedef void operation(void);
#define X(name) (operation *)restate__vm_##name,
static operation *const volatile operations[] = { OPERATIONS(X) };
#undef X

int main(void) {
    operations[0]();
    return 0;
}
