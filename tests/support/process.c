/* An endpoint in a process of its own: another run of the same program, `PROGRAM endpoint WHAT`. So its memory and its
 * CPU time can be seen from outside. It says on standard output where it listens. */
#ifndef SUPPORT_PROCESS_C
#define SUPPORT_PROCESS_C

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

typedef struct process {
    pid_t pid;
    clockid_t cpu;
    FILE *says;
    uint16_t port;
} process;

static inline void die(const char *what) {
    perror(what);
    exit(2);
}

/* In the process itself, with its standard output at `out`. */
static inline void process_become(int out, const char *what) {
    char program[1024];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    if (len < 0 || dup2(out, 1) < 0) die("the endpoint");
    program[len] = 0;
    execl(program, program, "endpoint", what, (char *)NULL);
    die("exec");
}

/* Returns when it listens. */
static inline void process_start(process *p, const char *what) {
    char line[256];
    const char *port = NULL;
    int ends[2];
    if (pipe(ends)) die("the endpoint");
    p->pid = fork();
    if (p->pid < 0) die("fork");
    if (p->pid == 0) {
        close(ends[0]);
        process_become(ends[1], what);
    }
    close(ends[1]);
    p->says = fdopen(ends[0], "r");
    if (!p->says || clock_getcpuclockid(p->pid, &p->cpu)) die("the endpoint");
    while (!port && fgets(line, sizeof line, p->says)) {
        port = strstr(line, "listening on 127.0.0.1:");
        if (port) p->port = (uint16_t)atoi(port + 23);
    }
    if (!port) die("the endpoint does not listen");
}

/* False: it did not end well. */
static inline bool process_stop(process *p) {
    int status = 1;
    char line[256];
    kill(p->pid, SIGTERM);
    while (fgets(line, sizeof line, p->says)) printf("    the endpoint said: %s", line);
    waitpid(p->pid, &status, 0);
    fclose(p->says);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A line of /proc/PID/status, in bytes. */
static inline size_t process_memory(const process *p, const char *name) {
    char path[64], line[256];
    size_t kib = 0, len = strlen(name);
    FILE *f;
    snprintf(path, sizeof path, "/proc/%d/status", (int)p->pid);
    f = fopen(path, "r");
    if (!f) die(path);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, len) == 0 && line[len] == ':') kib = strtoul(line + len + 1, NULL, 10);
    fclose(f);
    return kib * 1024;
}

static inline double seconds_of(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) die("clock_gettime");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
