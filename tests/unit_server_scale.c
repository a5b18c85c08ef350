/* What `make scale` does, with a twentieth of everything. */
#define SCALE_SMALL
#include "bench/scale.c"

#define SCALES(name) TEST(name) { missed = 0; name(); CHECK_INT(missed, 0); }
SCALES(idle)
SCALES(parked)
SCALES(connections)
SCALES(journals)
SCALES(payload)
SCALES(loops)

int main(int argc, char **argv) {
    static const test_case cases[] = { T(idle), T(parked), T(connections), T(journals), T(payload), T(loops),
                                       { NULL, NULL } };
    if (argc == 3 && strcmp(argv[1], "endpoint") == 0) return be_endpoint(argv[2]);
    return test_main(argc, argv, cases);
}
