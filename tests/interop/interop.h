/* The messages of the cases, as C has them; see interop.c. */
#include "interop.restate.h"

typedef struct interop_case {
    const char *name;                           /* of the file cases/NAME.txt */
    void (*fill)(interop_v1_All *all);          /* what is in it, into a struct of zeros */
} interop_case;

extern const interop_case interop_cases[];      /* ends with a name that is NULL */
