/* An endpoint in a process of its own: another run of the same program, `PROGRAM endpoint WHAT`. So its memory and its
 * CPU time can be seen from outside. It says on standard output where it listens. */
#ifndef SUPPORT_PROCESS_C
#define SUPPORT_PROCESS_C

#include <fcntl.h>
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

#define PROCESS_WORKERS 4

typedef struct process {
    pid_t pid;
    pid_t workers[PROCESS_WORKERS];         /* its own processes, as process_find_workers() has found them */
    size_t worker_count;
    FILE *says;
    uint16_t port;
} process;

static inline void die(const char *what) {
    perror(what);
    exit(2);
}

/* In the process itself, with its standard output and its standard error there. */
static inline void process_become(int out, int err, const char *what) {
    char program[1024];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    if (len < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) die("the endpoint");
    close(out);
    program[len] = 0;
    execl(program, program, "endpoint", what, (char *)NULL);
    die("exec");
}

/* Returns when it listens. `err`: its standard error. */
static inline void process_start(process *p, const char *what, int err) {
    char line[256];
    const char *port = NULL;
    int ends[2];
    if (pipe(ends) || fcntl(ends[0], F_SETFD, FD_CLOEXEC)) die("the endpoint");
    p->pid = fork();
    if (p->pid < 0) die("fork");
    if (p->pid == 0) {
        close(ends[0]);
        process_become(ends[1], err, what);
    }
    close(ends[1]);
    p->says = fdopen(ends[0], "r");
    p->worker_count = 0;
    if (!p->says) die("the endpoint");
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

static inline void process_find_workers(process *p) {
    char path[64];
    int pid;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)p->pid, (int)p->pid);
    FILE *f = fopen(path, "r");
    if (!f) die(path);
    for (p->worker_count = 0; p->worker_count < PROCESS_WORKERS && fscanf(f, "%d", &pid) == 1; p->worker_count++)
        p->workers[p->worker_count] = (pid_t)pid;
    fclose(f);
}

/* The i-th of its processes; 0: there are not so many. */
static inline pid_t process_at(const process *p, size_t i) {
    return i == 0 ? p->pid : i <= p->worker_count ? p->workers[i - 1] : 0;
}

/* A line of /proc/PID/status, in bytes; 0: the process is gone. */
static inline size_t process_status(pid_t pid, const char *name) {
    char path[64], line[256];
    size_t kib = 0, len = strlen(name);
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, len) == 0 && line[len] == ':') kib = strtoul(line + len + 1, NULL, 10);
    if (f) fclose(f);
    return kib * 1024;
}
static inline size_t process_memory(const process *p, const char *name) {
    size_t sum = 0;
    for (size_t i = 0; process_at(p, i); i++) sum += process_status(process_at(p, i), name);
    return sum;
}

static inline double seconds_of(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The CPU time that it has used so far, in seconds. */
static inline double process_cpu(const process *p) {
    clockid_t clock;
    double sum = 0;
    for (size_t i = 0; process_at(p, i); i++)
        if (clock_getcpuclockid(process_at(p, i), &clock) == 0) sum += seconds_of(clock);
    return sum;
}

#endif
