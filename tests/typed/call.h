/* See call.c. */
#define RESTATE_WITH_TEST
#include "restate.h"

const restate_service *const *served(void);
