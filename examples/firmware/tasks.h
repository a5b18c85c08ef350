/* Tasks: what restate.h asks a port for is declared there. */
#ifndef TASKS_H
#define TASKS_H

#include <stddef.h>

extern void *restate_port_signal_new(void);
extern void restate_port_signal_give(void *signal);
extern void restate_port_signal_take(void *signal);
extern void restate_port_signal_free(void *signal);
extern void *restate_port_task_new(void (*run)(void *arg), void *arg, size_t stack_bytes);
extern void restate_port_task_join(void *task);

size_t tasks_deepest(void);                 /* bytes of stack that a task has used, at most */

#endif
