/* Cases of contract.c. */
#define FAULT_CASES
