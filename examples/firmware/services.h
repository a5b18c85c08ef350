/* The services of this firmware. */
#ifndef SERVICES_H
#define SERVICES_H

#include "sdk.h"

extern const restate_service *const services[];

#endif
