/* A very small test harness: cases by name, checks that say what they saw, one closing line.
 *
 *     TEST(adds) { CHECK_INT(1 + 1, 2); }
 *     int main(int argc, char **argv) {
 *         static const test_case cases[] = { T(adds), {0} };
 *         return test_main(argc, argv, cases);
 *     }
 *
 * Arguments choose cases by a part of their name; -v names each one, -1 ends with the first that fails. The last line
 * is "NAME: N passed, N failed".
 *
 * TEST_EMULATED is defined for a processor that is emulated: what something takes is not judged there.
 *
 * Where a test goes:
 *
 *     unit_SECTION.c              what that section of restate.h does (its banner is "// >>SECTION")
 *     unit_SECTION_CONCEPT.c      the same, where a section has too many tests for one file, or where they
 *                                 need another way to compile the header
 *     journal                     the journal by hand (support/journal.c), with _state, _commands (what a
 *                                 handler asks for), _await (signals, combinators, which result counts), _cancel,
 *                                 _run, _errors (mismatch, memory, damaged input), _growth (costs)
 *     context                     public functions in a handler (support/exchange.c): its life and its request,
 *                                 with _operations (rules for every operation), _calls, _runs, _futures,
 *                                 _failures (and cancellation), _payloads (codecs, seals), _state (all of it at once), _patches,
 *                                 _stop (descriptors that tell closures to stop), _locks (deadlocks)
 *     client                      programs that call services (support/ingress.c is their server), with _context
 *                                 (what its contexts can do, whatever the server is), _faults
 *                                 (servers that fail, or violate HTTP/2), _closures (clients of closures) and _tls
 *     stream, server, process     whole endpoints: without sockets; with them, and with _limits (peers that send
 *                                 too much, or what is wrong) and _stop; in processes of their own
 *     faults                      endpoints and clients whose system calls and allocations fail (support/faults.c);
 *                                 with _tls: the same over TLS
 *     small                       RESTATE_SMALL: what it leaves out, and that the rest is as ever
 *     record                      journals of servers: as text, and how they are read; with _check (against code)
 *     test                        the runtime for tests (support/test.c): what its server does; with _explore:
 *                                 what the explorer finds, and that it finds nothing with the examples
 *     support/                    what several units share. It looks inside restate.h, so units include these files
 *                                 behind it, and they are not compiled by themselves
 *     fuzz/                       what is to hold whatever arrives (make fuzz); dialogs and values are those of
 *                                 differential.c and differential_json.c
 *     oracle/                     random journals, beside the reference (make oracle)
 *     compile/                    ways to include the header
 *     journals/                   recorded by a real server, and what they are as text
 *     e2e/                        with a real server; memory.c: the contract's cases without one; soak.c: while
 *                                 processes die and connections break
 *     features/, scenarios.md     which test looks at which capability, and at which scenario of the protocol
 */
#ifndef TEST_H
#define TEST_H

#include <stdio.h>
#include <string.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

#define TEST(name) static void test_##name(void)
#define T(name) { #name, test_##name }

static int test_failures;           /* of the case that runs */
static const char *test_note = "";  /* what a loop inside a case is at, shown with a failure */

#define CHECK(x) \
    ((x) ? (void)0 : (void)(test_failures++, \
        printf("  %s:%d: %s %s\n", __FILE__, __LINE__, #x, test_note)))
#define CHECK_INT(got, want) test_int(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
#define CHECK_STR(got, want) test_str(__FILE__, __LINE__, #got, got, want)
#define CHECK_HAS(got, part) test_has(__FILE__, __LINE__, #got, got, part)

static inline void test_int(const char *file, int line, const char *what, long long got, long long want) {
    if (got == want) return;
    test_failures++;
    printf("  %s:%d: %s is %lld, not %lld %s\n", file, line, what, got, want, test_note);
}

static inline void test_str(const char *file, int line, const char *what, const char *got, const char *want) {
    if (got && want ? strcmp(got, want) == 0 : got == want) return;
    test_failures++;
    printf("  %s:%d: %s is\n    «%s», not\n    «%s» %s\n", file, line, what, got ? got : "NULL", want ? want : "NULL", test_note);
}

static inline void test_has(const char *file, int line, const char *what, const char *got, const char *part) {
    if (got && strstr(got, part)) return;
    test_failures++;
    printf("  %s:%d: %s is\n    «%s», without\n    «%s» %s\n", file, line, what, got ? got : "NULL", part, test_note);
}

static inline int test_wanted(int argc, char **argv, const char *name) {
    int any = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') continue;
        any = 1;
        if (strstr(name, argv[i])) return 1;
    }
    return !any;
}

static inline int test_option(int argc, char **argv, const char *option) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], option) == 0) return 1;
    return 0;
}

static inline int test_main(int argc, char **argv, const test_case *cases) {
    int passed = 0, failed = 0, verbose = test_option(argc, argv, "-v"), first = test_option(argc, argv, "-1");
    const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (const test_case *c = cases; c->name && !(first && failed); c++) {
        if (!test_wanted(argc, argv, c->name)) continue;
        if (verbose) printf("%s\n", c->name);
        test_failures = 0;
        test_note = "";
        c->run();
        if (test_failures) failed++, printf("FAILED %s %s\n", program, c->name);
        else passed++;
    }
    printf("%s: %d passed, %d failed\n", program, passed, failed);
    return failed != 0;
}

#endif
