/* Tasks: the six restate_port_ functions that restate.h declares, and what they tell of stacks. */
#ifndef TASKS_H
#define TASKS_H

#include <stddef.h>

void *tasks_stack_low(void);                /* the end of the stack that this is called on */
size_t tasks_deepest(void);                 /* bytes of stack that a task has used, at most */

#endif
