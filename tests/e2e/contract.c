/* End-to-end tests: the services that every SDK is tested with (tests/services), against real servers
 * in every mode. See harness.c. */
#include "harness.c"

static endpoint contract = { .program = "test-services", .log = "test-services" };

#include "contract_work.c"
#include "contract_faults.c"

int main(int argc, char **argv) {
    static const e2e_case cases[] = {
        WORK_CASES FAULT_CASES
        { NULL, NULL, 0, false }
    };
    return harness_main(argc, argv, cases, "default,suspend,lazy,v7,single,cluster", "default,suspend");
}
