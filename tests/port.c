/* A port as a program for an RTOS has it, for RESTATE_FIBER_CUSTOM: here over POSIX threads. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "restate.h"

extern int port_alive;
int port_alive;                             /* signals and tasks that were not freed; atomic */

static void *counted(void *p) {
    if (p) __atomic_add_fetch(&port_alive, 1, __ATOMIC_SEQ_CST);
    return p;
}

static void uncounted(void *p) {
    free(p);
    __atomic_sub_fetch(&port_alive, 1, __ATOMIC_SEQ_CST);
}

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool given;
} binary;

typedef struct {
    pthread_t thread;
    void (*run)(void *arg);
    void *arg;
} task;

void *restate_port_signal_new(void) {
    binary *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    return counted(b);
}

void restate_port_signal_give(void *signal) {
    binary *b = signal;
    pthread_mutex_lock(&b->lock);
    b->given = true;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

void restate_port_signal_take(void *signal) {
    binary *b = signal;
    pthread_mutex_lock(&b->lock);
    while (!b->given) pthread_cond_wait(&b->changed, &b->lock);
    b->given = false;
    pthread_mutex_unlock(&b->lock);
}

void restate_port_signal_free(void *signal) {
    binary *b = signal;
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    uncounted(b);
}

static void *start(void *arg) {
    task *t = arg;
    t->run(t->arg);
    return NULL;
}

void *restate_port_task_new(void (*run)(void *arg), void *arg, size_t stack_bytes) {
    task *t = calloc(1, sizeof *t);
    pthread_attr_t attr;
    if (!t) return NULL;
    t->run = run;
    t->arg = arg;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, stack_bytes * 4 + 65536);
    bool ok = pthread_create(&t->thread, &attr, start, t) == 0;
    pthread_attr_destroy(&attr);
    if (ok) return counted(t);
    free(t);
    return NULL;
}

void restate_port_task_join(void *thread) {
    task *t = thread;
    pthread_join(t->thread, NULL);
    uncounted(t);
}
