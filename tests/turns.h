/* Threads that take turns: pthreads without chance, for tests that have to come out the same twice.
 *
 * Include it before restate.h. Threads are coroutines then; one executes until it waits, ends or
 * calls turns_yield(), and which is next is for the test to say (turns.next). The main thread, when it
 * waits, lets the others go on. Locks need no more than that: nobody yields while holding one. */
#ifndef TURNS_H
#define TURNS_H

#ifndef _DEFAULT_SOURCE
#  define _DEFAULT_SOURCE 1
#endif
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

enum { TURNS_THREADS = 512, TURNS_STACK_BYTES = 128 * 1024 };

typedef struct turns_thread {
    ucontext_t context;
    void *stack;                            /* NULL: there is no such thread */
    void *(*run)(void *);
    void *arg;
    const void *waits_for;                  /* a condition; NULL: it can go on */
    bool done;
} turns_thread;

static struct {
    turns_thread all[TURNS_THREADS];        /* the first one is the main thread */
    size_t count, now;
    unsigned (*next)(size_t ready);         /* which of those that can go on does; the first one */
} turns = { .count = 1 };

static bool turns_ready(const turns_thread *t) { return t->stack && !t->done && !t->waits_for; }

/* How many threads but the main one can go on. */
static size_t turns_ready_count(void) {
    size_t n = 0;
    for (size_t i = 1; i < turns.count; i++) n += turns_ready(&turns.all[i]);
    return n;
}

static void turns_switch(size_t to) {
    turns_thread *from = &turns.all[turns.now];
    turns.now = to;
    swapcontext(&from->context, &turns.all[to].context);
}

/* Lets one other thread go on, until it gives the turn back. false: none can. For the main one. */
static bool turns_take(void) {
    size_t ready = turns_ready_count(), chosen, i;
    if (!ready) return false;
    chosen = turns.next ? turns.next(ready) : 0;
    for (i = 1; !turns_ready(&turns.all[i]) || chosen--; i++) continue;
    turns_switch(i);
    return true;
}

/* For the others; in the main thread nothing. */
static void turns_yield(void) {
    if (turns.now) turns_switch(0);
}

static void turns_begin(void) {
    turns_thread *t = &turns.all[turns.now];
    t->run(t->arg);
    t->done = true;
    turns_switch(0);
}

static size_t turns_free_place(void) {
    size_t i = 1;
    while (i < turns.count && turns.all[i].stack) i++;
    if (i == TURNS_THREADS) abort();
    if (i == turns.count) turns.count++;
    return i;
}

static int turns_create(pthread_t *thread, void *(*run)(void *), void *arg) {
    turns_thread *t;
    *thread = (pthread_t)turns_free_place();
    t = &turns.all[(size_t)*thread];
    t->stack = malloc(TURNS_STACK_BYTES);
    if (!t->stack || getcontext(&t->context) != 0) abort();
    t->context.uc_stack.ss_sp = t->stack;
    t->context.uc_stack.ss_size = TURNS_STACK_BYTES;
    t->context.uc_link = NULL;
    t->run = run;
    t->arg = arg;
    t->waits_for = NULL;
    t->done = false;
    makecontext(&t->context, turns_begin, 0);
    return 0;
}

static int turns_join(pthread_t thread) {
    turns_thread *t = &turns.all[(size_t)thread];
    while (!t->done)
        if (!turns_take()) abort();         /* it waits for nobody */
    free(t->stack);
    t->stack = NULL;
    return 0;
}

static int turns_wait(const void *condition) {
    turns_thread *t = &turns.all[turns.now];
    t->waits_for = condition;
    if (turns.now) turns_switch(0);
    while (t->waits_for)
        if (!turns_take()) abort();
    return 0;
}

static int turns_signal(const void *condition, bool all) {
    for (size_t i = 0; i < turns.count; i++) {
        if (turns.all[i].waits_for != condition) continue;
        turns.all[i].waits_for = NULL;
        if (!all) break;
    }
    return 0;
}

static int turns_nothing(const void *of) {
    (void)of;
    return 0;
}

static pthread_t turns_self(void) { return (pthread_t)turns.now; }

#define pthread_create(thread, attr, run, arg) ((void)(attr), turns_create(thread, run, arg))
#define pthread_join(thread, result) turns_join(thread)
#define pthread_detach(thread) turns_nothing(&(thread))
#define pthread_self() turns_self()
#define pthread_equal(a, b) ((a) == (b))
#define pthread_mutex_init(lock, attr) turns_nothing(lock)
#define pthread_mutex_destroy(lock) turns_nothing(lock)
#define pthread_mutex_lock(lock) turns_nothing(lock)
#define pthread_mutex_unlock(lock) turns_nothing(lock)
#define pthread_cond_init(condition, attr) turns_nothing(condition)
#define pthread_cond_destroy(condition) turns_nothing(condition)
#define pthread_cond_wait(condition, lock) ((void)(lock), turns_wait(condition))
#define pthread_cond_signal(condition) turns_signal(condition, false)
#define pthread_cond_broadcast(condition) turns_signal(condition, true)

#endif
