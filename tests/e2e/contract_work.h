/* Cases of contract.c. */
#define WORK_CASES
