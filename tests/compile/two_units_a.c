/* One file of a program has the implementation ... */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
