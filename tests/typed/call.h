/* See call.c. */
#define RESTATE_WITH_TEST
#include "restate.h"

const restate_service *const *served(void);
extern const restate_service buyer;         /* of buyer.c */
