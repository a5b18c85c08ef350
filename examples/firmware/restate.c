/* The implementation of restate.h. */
#define RESTATE_IMPLEMENTATION
#include "sdk.h"
