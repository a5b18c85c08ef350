/* A process of a test's own, for what a process does not survive. */
#ifndef SUPPORT_CHILD_C
#define SUPPORT_CHILD_C

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static inline int wait_for(pid_t pid) {
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

/* Runs `body` in a process, and gives its status. What it writes to standard error is dropped. */
static inline int in_child(void (*body)(void)) {
    pid_t child;
    fflush(stdout);
    child = fork();
    if (child < 0) abort();
    if (child == 0) {
        const struct rlimit none = { 0, 0 };
        int nowhere = open("/dev/null", O_WRONLY);
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        dup2(nowhere, 2);
        alarm(60);
        body();
        _exit(0);
    }
    return wait_for(child);
}

static inline bool faulted(int status) {
    return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

#endif
