/* What a program of services does instead of serving: `PROGRAM --check FILE` tells whether journals
 * that were recorded fit its code, in one line, and by its exit status. Public functions only. */
#ifndef SUPPORT_CHECK_C
#define SUPPORT_CHECK_C

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The file's name; NULL: to serve is what is asked for. */
static inline const char *journals_to_check(int argc, char **argv) {
    return argc == 3 && strcmp(argv[1], "--check") == 0 ? argv[2] : NULL;
}

static inline int check_journals(restate_endpoint *endpoint, const char *path) {
    FILE *f = fopen(path, "rb");
    uint8_t *text = NULL;
    size_t len = 0, n = 1, counts[3];
    while (f && n > 0) {
        uint8_t *more = realloc(text, len + 65536);
        if (!more) break;
        text = more;
        n = fread(text + len, 1, 65536, f);
        len += n;
    }
    if (f) fclose(f);
    restate_fit fit = restate_journal_check(endpoint, (restate_bytes){ text, len }, counts);
    printf("%lu fit, %lu differ, %lu unknown; %s\n", (unsigned long)counts[RESTATE_FITS],
           (unsigned long)counts[RESTATE_DIFFERS], (unsigned long)counts[RESTATE_CANNOT_TELL],
           restate_endpoint_error(endpoint));
    free(text);
    return (int)fit;
}

#endif
