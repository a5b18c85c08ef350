/* The same over TLS, by OpenSSL, whose allocations fail, too: see unit_faults.c. */
/* Has threads: runs with ThreadSanitizer, too. */
#include "unit_faults.c"
