/* What processes have used, children included, for the benchmarks.
 *
 *     build/bench-usage PID...
 *
 * prints a line for each: nanoseconds of CPU, and peak resident memory in KiB. Threads that have
 * ended count, children that have ended do not. Linux only: children and memory are in /proc. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

typedef struct usage {
    double cpu_ns;
    unsigned long peak_kib;
} usage;

static void add_own(usage *to, pid_t pid) {
    char path[64], line[256];
    unsigned long kib;
    struct timespec t;
    clockid_t clock;
    FILE *status;
    /* This clock counts on while a thread executes; what /proc tells is as old as the last tick. */
    if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &t) == 0)
        to->cpu_ns += (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    status = fopen(path, "r");
    if (!status) return;
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %lu", &kib) == 1) to->peak_kib += kib;
    fclose(status);
}

static void add(usage *to, pid_t pid) {
    char path[64];
    struct dirent *thread;
    long child;
    DIR *threads;
    FILE *children;
    add_own(to, pid);
    snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    threads = opendir(path);
    while (threads && (thread = readdir(threads)) != NULL) {
        snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)pid,
                 strtol(thread->d_name, NULL, 10));
        children = fopen(path, "r");
        if (!children) continue;
        while (fscanf(children, "%ld", &child) == 1) add(to, (pid_t)child);
        fclose(children);
    }
    if (threads) closedir(threads);
}

int main(int argc, char **argv) {
    int i;
    for (i = 1; i < argc; i++) {
        usage all = { 0, 0 };
        add(&all, (pid_t)strtol(argv[i], NULL, 10));
        printf("%.0f %lu\n", all.cpu_ns, all.peak_kib);
    }
    return argc < 2;
}
