/* The six functions of RESTATE_FIBER_CUSTOM without an RTOS: tasks that switch when they wait.
 *
 * Each handler is a task with a stack of its own. A task and its owner alternate, so there is
 * nothing to schedule: whoever takes a signal that was not given goes on with the next task that
 * can run. */
#include "sdk.h"
#include "tasks.h"

#include <stdlib.h>

typedef struct signal { bool given; } signal;

typedef struct task {
    uint32_t *sp;                           /* while another one runs */
    uint32_t *stack, *top;
    void (*run)(void *arg);
    void *arg;
    const signal *waits;                    /* what it cannot go on without; NULL: it can */
    bool done;
    struct task *next;
} task;

static task first;                          /* main() */
static task *current = &first;
static task *all = &first;
static size_t deepest;

/* Leaves the registers that a call keeps on the stack, and goes on where `to` was left. With a
 * floating-point unit (-mfloat-abi=hard or softfp) s16 to s31 belong to them. */
__attribute__((naked, noinline)) static void switch_to(uint32_t **from, uint32_t *to) {
    (void)from, (void)to;
    __asm__("push {r4-r7, lr}\n"
            "mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r4-r7}\n"
            "mov r2, sp\n str r2, [r0]\n mov sp, r1\n"
            "pop {r4-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"
            "pop {r4-r7, pc}\n");
}
enum { SWITCH_WORDS = 9 };                  /* that it pops; the last one is where it goes */

static bool can_run(const task *t) { return !t->done && (!t->waits || t->waits->given); }

/* Until this task can run again. */
static void wait(void) {
    task *from = current, *to = from;
    do {
        to = to->next ? to->next : all;
        if (to == from && !can_run(to)) abort();        /* all wait for each other */
    } while (!can_run(to));
    current = to;
    if (to != from) switch_to(&from->sp, to->sp);
}

void *restate_port_signal_new(void) { return calloc(1, sizeof(signal)); }
void restate_port_signal_give(void *s) { ((signal *)s)->given = true; }
void restate_port_signal_free(void *s) { free(s); }

void restate_port_signal_take(void *s) {
    current->waits = s;
    if (!can_run(current)) wait();
    current->waits = NULL;
    ((signal *)s)->given = false;
}

static void begin(void) {
    current->run(current->arg);
    current->done = true;
    wait();                                 /* for good */
}

/* Stacks are aligned to 8 bytes, as the ABI wants it: else printf() prints wrong 64-bit numbers. */
void *restate_port_task_new(void (*run)(void *arg), void *arg, size_t stack_bytes) {
    size_t words = (stack_bytes + 7u) / 8u * 2u;
    task *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->stack = malloc(words * sizeof *t->stack);
    if (!t->stack) {
        free(t);
        return NULL;
    }
    t->top = t->stack + words;
    board_paint(t->stack, t->top);
    t->run = run;
    t->arg = arg;
    t->sp = t->top - SWITCH_WORDS;
    t->sp[SWITCH_WORDS - 1] = (uint32_t)(uintptr_t)begin;
    t->next = all->next;
    all->next = t;
    return t;
}

void restate_port_task_join(void *joined) {
    task *t = joined, *before = all;
    while (!t->done) wait();
    while (before->next != t) before = before->next;
    before->next = t->next;
    size_t used = board_unpainted(t->stack, t->top);
    if (used > deepest) deepest = used;
    free(t->stack);
    free(t);
}

void *tasks_stack_low(void) { return current == &first ? board_stack_low : current->stack; }
size_t tasks_deepest(void) { return deepest; }
