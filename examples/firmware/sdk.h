/* restate.h, as firmware needs it: included in the place of restate.h, so that all files agree. */
#ifndef SDK_H
#define SDK_H

#include "board.h"

#define RESTATE_NO_SERVER
#define RESTATE_NO_CJSON
#define RESTATE_NO_THREADS
#ifndef NOT_SMALL                           /* unit tests look at texts that it leaves out */
#define RESTATE_SMALL
#endif
#define RESTATE_CLOCK_MS(wall) board_ms(wall)
#include "../../restate.h"

#endif
