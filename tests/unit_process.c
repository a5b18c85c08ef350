/* The process that serves: signals, the programs that user code starts, several processes on one port.
 * Each case has restate_serve() run in a process of its own and talks to it over sockets. What the endpoint
 * logs arrives here line by line, so the cases wait for events and never for a time. Called as
 * `unit_process --signals` the program says which signals it was started with. */
/* Has threads: runs with ThreadSanitizer, too. */
#include "tools.h"
/* How long is waited for what does not return; users have 5 s. In most cases it returns, however slow the machine is. */
#define RESTATE__GRACE_MS grace_ms
static unsigned grace_ms = 3600000;         /* set before processes begin */
#define RESTATE_IMPLEMENTATION
#include "restate.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#ifdef __GLIBC__
#  include <malloc.h>
#endif

#include "support/child.c"
#include "support/client.c"
#include "support/faults.c"

#define PATIENCE_MS 60000                   /* then something hangs, however slow the machine is */
#define HOUR_MS 3600000u

extern char **environ;
static const char *self;                    /* this program */

/* ---- Programs that handlers and closures start -------------------------------------------------------- */

/* `unit_process --signals`: "blocked: 10 12; ignored: 2;". */
static int tell_signals(void) {
    sigset_t mask;
    int i;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    printf("blocked:");
    for (i = 1; i < 32; i++) if (sigismember(&mask, i) == 1) printf(" %d", i);
    printf("; ignored:");
    for (i = 1; i < 32; i++) {
        struct sigaction act;
        if (sigaction(i, NULL, &act) == 0 && act.sa_handler == SIG_IGN) printf(" %d", i);
    }
    printf(";\n");
    return 0;
}

static void read_all(int fd, char *text, size_t room) {
    size_t len = 0;
    ssize_t n;
    while (len + 1 < room && ((n = read(fd, text + len, room - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0) len += (size_t)n;
    text[len] = 0;
    if (len && text[len - 1] == '\n') text[len - 1] = 0;
}

/* What a program says of its signals that is started by posix_spawn, by popen, and by fork and exec; then
 * what becomes of one of each that sends itself SIGTERM, and of a child that is only forked. */
static void look_at_children(char *text, size_t room) {
    char *say[] = { NULL, NULL, NULL }, *end[] = { NULL, NULL, NULL, NULL }, said[3][200], line[300];
    int ends[2], status[3];
    pid_t pid;
    FILE *f;
    union { const char *from; char *to; } u;
    u.from = self, say[0] = u.to;
    u.from = "--signals", say[1] = u.to;
    u.from = "/bin/sh", end[0] = u.to;
    u.from = "-c", end[1] = u.to;
    u.from = "kill -TERM $$; exit 7", end[2] = u.to;
    for (int i = 0; i < 2; i++) {
        posix_spawn_file_actions_t io;
        if (pipe(ends)) abort();
        if (i == 0) {
            posix_spawn_file_actions_init(&io);
            posix_spawn_file_actions_adddup2(&io, ends[1], 1);
            if (posix_spawn(&pid, self, &io, NULL, say, environ)) abort();
            posix_spawn_file_actions_destroy(&io);
        } else if ((pid = fork()) == 0) {
            dup2(ends[1], 1);
            execv(self, say);
            _exit(127);
        }
        close(ends[1]);
        read_all(ends[0], said[i], sizeof said[i]);
        close(ends[0]);
        wait_for(pid);
    }
    snprintf(line, sizeof line, "'%s' --signals", self);
    f = popen(line, "r");
    if (!f || !fgets(said[2], sizeof said[2], f)) snprintf(said[2], sizeof said[2], "popen failed");
    said[2][strcspn(said[2], "\n")] = 0;
    if (f) pclose(f);
    if (posix_spawn(&pid, end[0], NULL, NULL, end, environ)) abort();
    status[0] = wait_for(pid);
    status[1] = system("kill -TERM $$; exit 7");
    if ((pid = fork()) == 0) {
#if TSAN                                    /* delivers no signals to the child of a process with threads */
        signal(SIGTERM, SIG_DFL);
#endif
        raise(SIGTERM);
        _exit(7);
    }
    status[2] = wait_for(pid);
    snprintf(text, room, "spawn %s fork %s popen %s", said[0], said[1], said[2]);
    for (int i = 0; i < 3; i++) {
        size_t len = strlen(text);
        snprintf(text + len, room - len, " %s %d", WIFSIGNALED(status[i]) ? "signal" : "exit",
                 WIFSIGNALED(status[i]) ? WTERMSIG(status[i]) : WEXITSTATUS(status[i]));
    }
}

/* ---- Handlers ------------------------------------------------------------------------------------------- */

static restate_status children(restate_ctx *ctx) {
    char text[1000];
    look_at_children(text, sizeof text);
    return restate_reply(ctx, restate_str(restate_text(ctx, "%s", text)));
}
static restate_status children_step(restate_ctx *run, void *arg) {
    (void)arg;
    return children(run);
}
static restate_status of_handler(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return children(ctx);
}
static restate_status of_closure(restate_ctx *ctx, restate_bytes in) {
    restate_bytes text;
    (void)in;
    RESTATE_TRY(restate_run(ctx, "step", children_step, NULL, NULL, &text));
    return restate_reply(ctx, text);
}
static restate_status of_inline(restate_ctx *ctx, restate_bytes in) {
    restate_bytes text;
    restate_run_options options = { .inline_ok = true };
    (void)in;
    RESTATE_TRY(restate_run(ctx, "step", children_step, NULL, &options, &text));
    return restate_reply(ctx, text);
}

static bool server_is_here;                 /* an address */

static restate_status echo(restate_ctx *ctx, restate_bytes in) { return restate_reply(ctx, in); }
static restate_status twice_step(restate_ctx *run, void *arg) {
    const char *text = restate_text(run, "%s", (const char *)arg);
    restate_log(run, RESTATE_LOG_DEBUG, "twice");
    return restate_reply(run, restate_str(restate_text(run, "%s%s", text, text)));
}
static restate_status twice(restate_ctx *ctx, restate_bytes in) {
    union { const uint8_t *from; void *to; } u;
    restate_bytes out;
    u.from = in.ptr;
    RESTATE_TRY(restate_run(ctx, "step", twice_step, u.to, NULL, &out));
    return restate_reply(ctx, out);
}

static restate_status pid_of(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_reply(ctx, restate_json(ctx, "%ld", (long)getpid()));
}
/* From now on this process has no number for another descriptor. */
static restate_status starve(restate_ctx *ctx, restate_bytes in) {
    struct rlimit few;
    int next = dup(0);
    getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = (rlim_t)next;
    close(next);
    return next < 0 || setrlimit(RLIMIT_NOFILE, &few) ? restate_fail(ctx, 500, "no limit") : restate_reply(ctx, in);
}
static restate_status nap(restate_ctx *ctx, restate_bytes in) {
    RESTATE_TRY(restate_sleep(ctx, HOUR_MS));
    return restate_reply(ctx, in);
}

/* Works until nobody wants it any more, or (for "deaf") for ever. */
static restate_status work_step(restate_ctx *run, void *arg) {
    restate_log(run, RESTATE_LOG_INFO, "work has begun");
    for (;;) {
        struct timespec t = { 0, 5000000 };
        nanosleep(&t, NULL);
        if (!arg && restate_stop_requested(run)) return restate_retry(run, NULL, "no longer wanted");
    }
}
static restate_status work(restate_ctx *ctx, restate_bytes in) {
    return restate_run(ctx, "work", work_step, strcmp((const char *)in.ptr, "deaf") ? NULL : &server_is_here, NULL, NULL);
}

/* Holds its loop for ever. */
static restate_status hold(restate_ctx *ctx, restate_bytes in) {
    const struct timespec t = { 0, 5000000 };
    restate_log(ctx, RESTATE_LOG_INFO, "holds its loop");
    while (in.ptr) nanosleep(&t, NULL);
    return RESTATE_OK;
}

static uint64_t cpu_ms(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 + (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1000;
}
/* Once the process is to stop, tells whether it computes all the time while it has nothing to do. */
static restate_status idle_step(restate_ctx *run, void *arg) {
    struct timespec t = { 0, 5000000 };
    uint64_t begun, used;
    (void)arg;
    restate_log(run, RESTATE_LOG_INFO, "waits for a stop");
    while (!restate_stop_requested(run)) nanosleep(&t, NULL);
    t.tv_nsec = 100000000;
    nanosleep(&t, NULL);                    /* what a stop begins with is over */
    begun = now_ms(), used = cpu_ms();
    while (now_ms() - begun < 400) nanosleep(&t, NULL);
    begun = now_ms() - begun, used = cpu_ms() - used;
    restate_log(run, RESTATE_LOG_INFO, "idle: %s", used < begun / 4 ? "yes" : "no");
    return RESTATE_OK;
}
static restate_status idle(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_run(ctx, "idle", idle_step, NULL, NULL, NULL);
}

static volatile char *volatile wild = (volatile char *)16;
#if defined(__x86_64__) && defined(__linux__)
static volatile char *volatile smashed = (volatile char *)0x4141414141414141;  /* no pointer can have that */
#endif
static __attribute__((noinline)) int deep(int n) {
    volatile char frame[512];
    frame[0] = (char)n;
    return n ? deep(n - 1) + frame[0] : 0;
}


/* Ends its process in one of several ways. */
static restate_status fatal(restate_ctx *ctx, restate_bytes in) {
    const char *how = (const char *)in.ptr;
    (void)ctx;
    if (strcmp(how, "segv") == 0) raise(SIGSEGV);
    if (strcmp(how, "fpe") == 0) raise(SIGFPE);
    if (strcmp(how, "wild") == 0) *wild = 1;
#if defined(__x86_64__) && defined(__linux__)
    if (strcmp(how, "smashed") == 0) *smashed = 1;
#endif
    if (strcmp(how, "overflow") == 0) deep(1 << 24);
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "kill") == 0) kill(getpid(), SIGKILL);
    if (strcmp(how, "term") == 0) signal(SIGTERM, SIG_DFL), raise(SIGTERM);
    if (strcmp(how, "exit 0") == 0) exit(0);
    if (strcmp(how, "exit 3") == 0) exit(3);
    if (strcmp(how, "_exit 0") == 0) _exit(0);
    if (strcmp(how, "_exit 4") == 0) _exit(4);
    return restate_fail(ctx, 400, "still here");
}
static restate_status fatal_step(restate_ctx *run, void *arg) {
    restate_bytes how = restate_str((const char *)arg);
    return fatal(run, how);
}
static restate_status fatal_in_closure(restate_ctx *ctx, restate_bytes in) {
    union { const uint8_t *from; void *to; } u;
    u.from = in.ptr;
    return restate_run(ctx, "step", fatal_step, u.to, NULL, NULL);
}

#ifdef RESTATE_NO_THREADS
#  define BLOCKING RESTATE_DEFAULT
#else
#  define BLOCKING RESTATE_ON
#endif
#ifdef RESTATE_NO_THREADS
#  define THREADS 1
#else
#  define THREADS 2
#endif
#define LARGE 262144                        /* they start programs, and print */
static const restate_service service = { .name = "S", .handlers = RESTATE_HANDLERS(
    { .name = "of_handler", .fn = of_handler, .options.stack_bytes = LARGE },
    { .name = "of_closure", .fn = of_closure },
    { .name = "of_inline", .fn = of_inline, .options.stack_bytes = LARGE },
    { .name = "of_blocking", .fn = of_handler, .options = { .blocking = BLOCKING, .stack_bytes = LARGE } },
    { .name = "of_closure_of_blocking", .fn = of_closure, .options.blocking = BLOCKING },
    { .name = "echo", .fn = echo }, { .name = "starve", .fn = starve }, { .name = "pid_of", .fn = pid_of }, { .name = "nap", .fn = nap },
    { .name = "work", .fn = work }, { .name = "hold", .fn = hold }, { .name = "idle", .fn = idle }, { .name = "fatal", .fn = fatal }, { .name = "twice", .fn = twice },
    { .name = "fatal_in_closure", .fn = fatal_in_closure },
    { .name = "fatal_blocking", .fn = fatal, .options.blocking = BLOCKING },
    { .name = "twice_blocking", .fn = twice, .options.blocking = BLOCKING }) };

/* ---- The process that serves ---------------------------------------------------------------------------- */

static pid_t server;
static uint16_t port;
static int log_fd[2] = { -1, -1 };
static rt_bytes log_text;                   /* "PID message" per line */
static int server_status;                   /* of waitpid; -1: it still runs */

static void log_to_pipe(void *user, const restate_log_record *r) {
    char line[1200];
    int n = snprintf(line, sizeof line, "%ld %s\n", (long)getpid(), r->message);
    (void)user;
    while (write(log_fd[1], line, (size_t)n) < 0 && errno == EINTR) continue;
}

static int (*afterwards)(int status);       /* in that process, when restate_serve() has returned */

/* Begins to serve; `prepare` is called in the process before. */
static void up_with(restate_endpoint_options o, void (*prepare)(void)) {
    if (pipe(log_fd)) abort();
    log_text.len = 0;
    rt_add(&log_text, "", 0);
    server_status = -1;
    port = o.port ? o.port : h2_free_port();
    fflush(NULL);
    server = fork();
    if (server < 0) abort();
    if (server > 0) {
        close(log_fd[1]);
        fcntl(log_fd[0], F_SETFL, O_NONBLOCK);
        return;
    }
    close(log_fd[0]);
    if (prepare) prepare();
    if (!o.drain_ms) o.drain_ms = HOUR_MS;  /* a stop ends because nothing is left */
    o.services = RESTATE_SERVICES(&service);
    o.address = "127.0.0.1";
    o.port = port;
    o.logger.write = log_to_pipe;
    o.logger.level = RESTATE_LOG_DEBUG;
    {
        int status = restate_serve(&o);
        exit(afterwards ? afterwards(status) : status);
    }
}
#define up(...) up_with((restate_endpoint_options){ __VA_ARGS__ }, NULL)

/* ---- Clients ---------------------------------------------------------------------------------------------- */

static bool log_is_over;                    /* all processes that had it are gone */
static void read_log(void) {
    char text[4096];
    ssize_t n;
    while ((n = read(log_fd[0], text, sizeof text)) > 0) rt_add(&log_text, text, (size_t)n);
    log_is_over = n == 0;
}

/* How often the log has `part`; its last line with it is left in `last_said`. */
static char last_said[600];
static unsigned said(const char *part) {
    const char *at;
    unsigned n = 0;
    read_log();
    for (at = (const char *)log_text.at; (at = strstr(at, part)) != NULL; at += strlen(part), n++) {
        const char *begin = at;
        while (begin > (const char *)log_text.at && begin[-1] != '\n') begin--;
        snprintf(last_said, sizeof last_said, "%.*s", (int)strcspn(begin, "\n"), begin);
    }
    return n;
}

static bool server_is_gone(void) {
    if (server_status == -1 && waitpid(server, &server_status, WNOHANG) != server) server_status = -1;
    return server_status != -1;
}

/* Lets things go on until something happened, 10 ms at most. False: the time of UNTIL is up. */
static bool pump(uint64_t until) {
    struct pollfd fds[64];
    fds[0].fd = log_fd[0], fds[0].events = POLLIN;
    clients_wait(fds, 1, 64);
    read_log();
    clients_receive();
    return now_ms() < until;
}
#define UNTIL(condition) do { \
        uint64_t until_ = now_ms() + PATIENCE_MS; \
        while (!(condition) && pump(until_)) continue; \
        if (!(condition)) printf("  the log: %s\n", (const char *)log_text.at); \
        CHECK(condition); \
    } while (0)

static bool connecting_fails(void) {
    int fd = h2_connect(port, 0);
    if (fd >= 0) close(fd);
    return fd < 0;
}

/* Connects, once somebody listens. */
static client *dial(void) {
    const dialling usual = { .window = 0 };
    uint64_t until = now_ms() + PATIENCE_MS;
    int fd;
    while ((fd = h2_connect(port, 0)) < 0 && !server_is_gone() && pump(until)) continue;
    CHECK(fd >= 0);
    return client_on(fd, &usual);
}

/* Begins an invocation; `whole`: nothing follows its input, so it suspends where it would wait. */
static call *invoke(client *c, const char *handler, const char *in, bool whole) {
    call *k = invoke_as(c, 6, handler);
    k->up.over = whole;
    start(1, .debug_id = in);
    input(in);
    send_on(k);
    return k;
}

/* The frames of its response as text, one per line. */
static const char *text_of(const call *k) {
    static rt_bytes text;
    size_t at = 0, n;
    text.len = 0;
    rt_add(&text, "", 0);
    while (at < k->body.len && (n = rt_show_frame(&text, k->body.at + at, k->body.len - at)) > 0) at += n;
    return (const char *)text.at;
}

static bool parked(const call *k) { return strstr(text_of(k), "Sleep") != NULL; }

/* The process ends by itself, with this status. */
#define ENDS_WITH(number) do { \
        UNTIL(server_is_gone()); \
        CHECK(WIFEXITED(server_status)); \
        CHECK_INT(WEXITSTATUS(server_status), number); \
    } while (0)

/* An invocation of `handler` is answered, with `part` in its response. */
static void answers(client *c, const char *handler, const char *in, const char *part) {
    call *k = invoke(c, handler, in, true);
    UNTIL(k->closed || c->gone);
    CHECK_HAS(text_of(k), part);
}

/* The process is gone, or goes now. */
static void down(void) {
    hang_up_all();
    afterwards = NULL;
    if (!server_is_gone()) {
        kill(server, SIGKILL);
        wait_for(server);
    }
    close(log_fd[0]);
    log_fd[0] = log_fd[1] = -1;
}

/* ---- Programs that user code starts have the signals that they would have without the library ------------- */

static const char *const places[] = { "of_handler", "of_closure", "of_inline", "of_blocking", "of_closure_of_blocking" };

static void signals_usual(void) {}
static void signals_some_blocked(void) {
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigaddset(&some, SIGQUIT);
    sigprocmask(SIG_BLOCK, &some, NULL);
}
static void signals_ignored(void) {
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}
static void signals_mixed(void) {
    signals_some_blocked();
    signals_ignored();
}
static void (*const settings[])(void) = { signals_usual, signals_some_blocked, signals_ignored, signals_mixed };

/* What children say that are started from a process without the library. */
static void expected_of(void (*prepare)(void), char *text, size_t room) {
    int ends[2];
    pid_t pid;
    if (pipe(ends)) abort();
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        char said_there[1000];
        prepare();
        look_at_children(said_there, sizeof said_there);
        if (write(ends[1], said_there, strlen(said_there)) < 0) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    read_all(ends[0], text, room);
    close(ends[0]);
    wait_for(pid);
}

static void same_signals(restate_endpoint_options o) {
    for (size_t s = SLOW == 20 ? 3 : 0; s < sizeof settings / sizeof *settings; s++) {
        char expected[1000], note[100];
        client *c[2];                       /* one per loop */
        expected_of(settings[s], expected, sizeof expected);
        CHECK_HAS(expected, "signal 15 signal 15 signal 15");
        up_with(o, settings[s]);
        for (int i = 0; i < 2; i++) c[i] = dial();
        for (size_t p = 0; p < 2 * sizeof places / sizeof *places; p++) {
            call *k = invoke(c[p % 2], places[p / 2], "x", true);
            snprintf(note, sizeof note, "(setting %d, %s, connection %d)", (int)s, places[p / 2], (int)(p % 2));
            test_note = note;
            UNTIL(k->closed || k->on->gone);
            CHECK_HAS(text_of(k), expected);
        }
        test_note = "";
        down();
    }
}

TEST(children_have_the_signals_of_the_program) { same_signals((restate_endpoint_options){ .threads = THREADS }); }

TEST(children_while_signals_stop_it) {
    same_signals((restate_endpoint_options){ .threads = THREADS, .stop_on_signals = RESTATE_ON });
}
TEST(children_of_workers) { same_signals((restate_endpoint_options){ .threads = THREADS, .processes = 2 }); }

/* ---- Signals interrupt threads of the library ------------------------------------------------------------- */

static void on_alarm(int number) { (void)number; }
static void alarms(void) {                  /* without SA_RESTART: system calls say EINTR where they can */
    struct itimerval often = { { 0, 500 * SLOW }, { 0, 500 * SLOW } };
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_alarm;
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

TEST(interrupted_calls_are_made_again) {
    static const char *const handlers[] = { "echo", "twice", "twice_blocking" };
    static char in[100001];
    client *c[2];
    up_with((restate_endpoint_options){ .threads = THREADS }, alarms);
    for (int i = 0; i < 2; i++) c[i] = dial();
    memset(in, 'x', sizeof in - 1);
    for (int round = 0; round < 20; round++) {
        call *k[6];
        for (int i = 0; i < 6; i++) k[i] = invoke(c[i % 2], handlers[i % 3], in + (round % 5 ? 99900 : 70000), true);
        for (int i = 0; i < 6; i++) {
            UNTIL(k[i]->closed || k[i]->on->gone);
            CHECK_HAS(text_of(k[i]), i % 3 ? "Propose 1 value" : "Output value");
            if (!k[i]->closed) round = 20;
        }
    }
    down();
}

/* ---- Memory ------------------------------------------------------------------------------------------------ */

/* Memory that the server's process has for itself, in bytes: not what it shares with this one, its parent. */
static size_t resident(void) {
    char name[64], line[256];
    unsigned long kib, all = 0;
    FILE *f;
    snprintf(name, sizeof name, "/proc/%ld/smaps_rollup", (long)server);
    f = fopen(name, "r");
    if (!f) abort();
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Private_Dirty: %lu", &kib) == 1 || sscanf(line, "Private_Clean: %lu", &kib) == 1) all += kib;
    fclose(f);
    return (size_t)all << 10;
}

enum { FLOOD_PARKED, FLOOD_LARGE, FLOOD_REFUSED, FLOOD_CONNECTIONS, FLOODS };

/* One connection's part of a flood. */
static void flood_one(client *c, int kind) {
    static char large[1500000];
    int i, n = kind == FLOOD_PARKED ? 100 : kind == FLOOD_LARGE ? 2 : kind == FLOOD_REFUSED ? 200 : 1;
    size_t size = kind == FLOOD_PARKED ? 20000 : kind == FLOOD_LARGE ? sizeof large - 1 : 1;
    memset(large, 'x', sizeof large - 1);
    large[size] = 0;
    for (i = 0; i < n; i++)
        (void)invoke(c, kind == FLOOD_PARKED ? "nap" : kind == FLOOD_REFUSED ? "nobody" : "echo", large, kind != FLOOD_PARKED);
}

static bool flood_is_here(int kind) {
    client *c;
    call *k;
    for (c = clients; c; c = c->next)
        for (k = c->calls; k; k = k->next)
            if (!k->closed && (kind != FLOOD_PARKED || !parked(k))) return false;
    return true;
}

/* After a flood the process is nearly as small as before, soon. */
TEST(memory_goes_back_after_a_flood) {
    int kind, i;
    static char about[32];
    if (SLOW > 1) return;                   /* tools keep what is freed */
    for (kind = 0; kind < FLOODS; kind++) {
        size_t idle, peak;
        snprintf(about, sizeof about, "(flood %d)", kind);
        test_note = about;
#ifdef __GLIBC__
        malloc_trim(0);                     /* what this process has the server's has as well, at first */
#endif
        up(.threads = 2);
        answers(dial(), "echo", "x", "End");
        idle = resident();
        for (i = 0; i < (kind == FLOOD_CONNECTIONS ? 60 : 20); i++) flood_one(dial(), kind);
        UNTIL(flood_is_here(kind));
        peak = resident();
        hang_up_all();
        CHECK(kind != FLOOD_PARKED || peak > idle + (32u << 20));   /* others may be over by now */
        UNTIL(resident() <= 2 * idle + (8u << 20));
        answers(dial(), "echo", "x", "End");
        down();
    }
    test_note = "";
}

/* ---- Stops by signals --------------------------------------------------------------------------------------- */

TEST(signals_stop_it) {
    static const int numbers[] = { SIGTERM, SIGINT };
    for (int i = 0; i < 2; i++) {
        call *k;
        up(.threads = THREADS, .stop_on_signals = RESTATE_ON);
        k = invoke(dial(), "nap", "x", false);
        UNTIL(parked(k));
        kill(server, numbers[i]);
        UNTIL(strstr(text_of(k), "Suspension"));
        end(k);
        ENDS_WITH(0);
        down();
    }
}

#ifndef RESTATE_NO_THREADS                  /* a closure would hold the only loop */
TEST(the_second_signal_cuts) {
    for (int i = 0; i < 2; i++) {           /* workers are told by their supervisor */
        client *c;
        call *k;
        up(.threads = THREADS, .stop_on_signals = RESTATE_ON, .processes = i ? 2 : 0, .drain_ms = HOUR_MS);
        c = dial();
        k = invoke(c, "work", "x", false);
        UNTIL(said("work has begun"));
        kill(server, SIGTERM);
        UNTIL(connecting_fails());
        CHECK(!server_is_gone() && !k->closed);
        kill(server, SIGINT);
        ENDS_WITH(0);
        CHECK(!strstr(text_of(k), "Propose"));
        down();
    }
}
#endif

TEST(signals_end_it_unless_asked) {
    for (int i = 0; i < 2; i++) {
        up(.threads = THREADS, .stop_on_signals = i ? RESTATE_OFF : RESTATE_DEFAULT);
        answers(dial(), "echo", "x", "Output value \"x\"");
        kill(server, SIGTERM);
        UNTIL(server_is_gone());
        CHECK(WIFSIGNALED(server_status) && WTERMSIG(server_status) == SIGTERM);
        down();
    }
}

static void own_group(void) { setpgid(0, 0); }
static void int_ignored(void) { signal(SIGINT, SIG_IGN); }
TEST(ignored_signals_stay_ignored) {
    for (int i = 0; i < 2; i++) {
        client *c;
        up_with((restate_endpoint_options){ .threads = THREADS, .stop_on_signals = RESTATE_ON, .processes = i ? 2 : 0 }, int_ignored);
        c = dial();
        answers(c, "echo", "x", "Output value \"x\"");
        kill(server, SIGINT);
        answers(dial(), "echo", "y", "Output value \"y\"");
        CHECK(!server_is_gone());
        hang_up_all();
        kill(server, SIGTERM);
        ENDS_WITH(0);
        down();
    }
}

static void on_other(int number) { (void)number; }
static void other_handlers(void) {
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_other;
    act.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    sigaddset(&act.sa_mask, SIGUSR2);
    sigaction(SIGTERM, &act, NULL);
    signals_some_blocked();
}
/* 0: handlers and mask are as other_handlers() left them. */
static int handlers_are_back(int status) {
    struct sigaction term, intr;
    sigset_t mask;
    sigaction(SIGTERM, NULL, &term);
    sigaction(SIGINT, NULL, &intr);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    if (status) return 10;
    if (term.sa_handler != on_other || !(term.sa_flags & SA_NOCLDSTOP) || sigismember(&term.sa_mask, SIGUSR2) != 1) return 11;
    if (intr.sa_handler != SIG_DFL) return 12;
    if (sigismember(&mask, SIGUSR1) != 1 || sigismember(&mask, SIGTERM) || sigismember(&mask, SIGINT)) return 13;
    return 0;
}
TEST(handlers_are_put_back) {
    for (int i = 0; i < 2; i++) {
        afterwards = handlers_are_back;
        up_with((restate_endpoint_options){ .threads = THREADS, .stop_on_signals = RESTATE_ON, .processes = i ? 2 : 0 }, other_handlers);
        answers(dial(), "echo", "x", "Output value \"x\"");
        hang_up_all();
        kill(server, i ? SIGINT : SIGTERM);
        ENDS_WITH(0);
        down();
    }
}

static void term_blocked(void) {
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigprocmask(SIG_BLOCK, &some, NULL);
}
TEST(a_blocked_signal_is_told) {
    up_with((restate_endpoint_options){ .threads = THREADS, .stop_on_signals = RESTATE_ON }, term_blocked);
    UNTIL(said("SIGTERM is blocked in the thread that serves"));
    answers(dial(), "echo", "x", "Output value \"x\"");
    hang_up_all();
    kill(server, SIGINT);                   /* is not */
    ENDS_WITH(0);
    down();
    up_with((restate_endpoint_options){ .threads = THREADS, .processes = 2 }, term_blocked);
    answers(dial(), "echo", "x", "Output value \"x\"");
    hang_up_all();
    kill(server, SIGTERM);                  /* the supervisor lets it in */
    ENDS_WITH(0);
    CHECK(!said("SIGTERM is blocked"));
    down();
}

#ifndef RESTATE_NO_THREADS
static pthread_t second;
static int second_status;
static void *serve_second(void *arg) {
    restate_endpoint_options o = { .threads = 2, .stop_on_signals = RESTATE_ON, .services = RESTATE_SERVICES(&service),
                                   .address = "127.0.0.1", .port = RESTATE_ANY_PORT, .logger.write = log_to_pipe };
    (void)arg;
    second_status = restate_serve(&o);
    return NULL;
}
static void begin_second(void) { pthread_create(&second, NULL, serve_second, NULL); }
static int join_second(int status) {
    struct sigaction act;
    pthread_join(second, NULL);
    sigaction(SIGTERM, NULL, &act);
    return status + second_status * 10 + (act.sa_handler == SIG_DFL ? 0 : 100);
}
TEST(two_in_one_process_stop_together) {
    afterwards = join_second;
    up_with((restate_endpoint_options){ .threads = 1, .stop_on_signals = RESTATE_ON }, begin_second);
    UNTIL(said("listening on") == 2);
    answers(dial(), "echo", "x", "Output value \"x\"");
    hang_up_all();
    kill(server, SIGTERM);
    ENDS_WITH(0);
    down();
}
#endif

TEST(only_restate_serve_knows_signals_and_processes) {
    for (int i = 0; i < 2; i++) {
        restate_endpoint_options o = { .services = RESTATE_SERVICES(&service), .port = RESTATE_ANY_PORT };
        restate_endpoint *e;
        if (i) o.stop_on_signals = RESTATE_ON;
        else o.processes = 2;
        e = restate_endpoint_new(&o);
        CHECK_INT(restate_endpoint_run(e), RESTATE_ERROR);
        CHECK_STR(restate_endpoint_error(e), ".processes and .stop_on_signals need restate_serve()");
        restate_endpoint_free(e);
    }
}

/* ---- Several processes ---------------------------------------------------------------------------------------- */

/* The process that has the connection; 0: none answers. */
static long pid_behind(client *c) {
    call *k = invoke(c, "pid_of", "", true);
    const char *at;
    UNTIL(k->closed || c->gone);
    at = strstr(text_of(k), "value \"");
    return at ? atol(at + 7) : 0;
}

TEST(connections_are_shared_out) {
    enum { PROCESSES = 3 };
    long pids[PROCESSES] = { 0 };
    unsigned of[PROCESSES] = { 0 };
    up(.threads = THREADS, .processes = PROCESSES);
    UNTIL(said("has started") == PROCESSES);
    for (int i = 0; i < 3 * PROCESSES; i++) {
        long pid = pid_behind(dial());
        int k = 0;
        while (k < PROCESSES - 1 && pids[k] && pids[k] != pid) k++;
        pids[k] = pid;
        of[k]++;
        CHECK(pid > 0 && pid != server);
    }
    for (int k = 0; k < PROCESSES; k++) CHECK_INT(of[k], 3);
    CHECK_INT(said("listening on"), 1);
    hang_up_all();
    kill(server, SIGTERM);
    ENDS_WITH(0);
    down();
}

static size_t descriptors_of(long pid) {
    char name[64];
    size_t n = 0;
    snprintf(name, sizeof name, "/proc/%ld/fd", pid);
    DIR *d = opendir(name);
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

/* A supervisor that does not read for a while learns later how many connections are over, so that it goes on to share
 * them out evenly. Its channel has room for some hundred messages. */
TEST(a_supervisor_that_does_not_read) {
    enum { MANY = 700, FEW = 20 };
    int fds[MANY];
    long pids[MANY], first;
    uint64_t until;
    unsigned of_first;
    bool even;
    up(.threads = 1, .processes = 2);
    UNTIL(said("has started") == 2);
    for (int i = 0; i < MANY; i++) {
        client *c = dial();
        pids[i] = pid_behind(c);
        fds[i] = dup(c->fd);                /* it stays connected, without a client */
        hang_up(c);
    }
    first = pids[0];
    kill(server, SIGSTOP);
    for (int i = 0; i < MANY; i++)
        if (pids[i] == first) close(fds[i]);
    UNTIL(descriptors_of(first) < 100);
    kill(server, SIGCONT);
    for (int i = 0; i < MANY; i++)
        if (pids[i] != first) close(fds[i]);
    for (int i = 0; i < MANY; i++)
        if (pids[i] != first) UNTIL(descriptors_of(pids[i]) < 100);
    until = now_ms() + PATIENCE_MS;
    do {                                    /* what was told late may still come */
        of_first = 0;
        for (int i = 0; i < FEW; i++) of_first += pid_behind(dial()) == first;
        hang_up_all();
        even = of_first >= FEW / 4 && of_first <= FEW - FEW / 4;
    } while (!even && now_ms() < until);
    CHECK(even);
    kill(server, SIGTERM);
    ENDS_WITH(0);
    down();
}

#ifndef RESTATE_NO_THREADS
/* While a handler holds the only loop of a worker, the other one gets the connections, also those that come
 * before that is known. */
TEST(connections_leave_a_held_worker) {
    client *first, *c[8];
    long held;
    up(.threads = 1, .processes = 2, .drain_ms = HOUR_MS);
    UNTIL(said("has started") == 2);
    first = dial();
    held = pid_behind(first);
    invoke(first, "hold", "", false);
    UNTIL(said("holds its loop"));
    for (int i = 0; i < 8; i++) c[i] = dial();
    for (int i = 0; i < 8; i++) {
        long pid = pid_behind(c[i]);
        CHECK(pid > 0 && pid != held);
    }
    CHECK(!first->gone);
    for (int i = 0; i < 3; i++) {
        kill(server, SIGTERM);
        UNTIL(i || connecting_fails());
        pump(now_ms() + 1);
        if (i == 1) UNTIL(c[0]->gone);
    }
    ENDS_WITH(1);
    down();
}
#endif

TEST(each_worker_has_max_connections) {
    enum { PROCESSES = 2, EACH = 2, MORE = 3 };
    client *first;
    long pid = 0;
    up(.threads = THREADS, .processes = PROCESSES, .max_connections = EACH);
    UNTIL(said("has started") == PROCESSES);
    first = dial();
    CHECK(pid_behind(first) > 0);
    for (int i = 1; i < PROCESSES * EACH; i++) CHECK(pid_behind(dial()) > 0);
    for (int i = 0; i < MORE; i++) {
        client *c = dial();
        UNTIL(c->gone);
    }
    CHECK_INT(said("max_connections (2) are open"), MORE);
    shutdown(first->fd, SHUT_RDWR);         /* there is room again */
    UNTIL(first->gone);
    for (int i = 0; i < 20 && pid == 0; i++) {      /* as soon as that is known */
        pid = pid_behind(dial());
        if (pid == 0) pump(0);
    }
    CHECK(pid > 0);
    hang_up_all();
    kill(server, SIGTERM);
    ENDS_WITH(0);
    down();
}

#if SLOW == 4
#  define SEGV_TEXT "called exit("          /* a sanitizer catches it */
#else
#  define SEGV_TEXT "was killed by signal 11 (Segmentation fault"
#endif

/* ---- Crash reports ---- */

#if SLOW == 1
static void stderr_to_log(void) { dup2(log_fd[1], 2); }
static void on_segv(int number) {
    (void)number;
    if (write(2, "own handler\n", 12) < 0) _exit(9);
    _exit(8);
}
static void with_own_handler(void) {
    stderr_to_log();
    signal(SIGSEGV, on_segv);
    signal(SIGFPE, on_segv);
}

TEST(a_crash_says_in_which_handler) {
    static const struct { const char *how, *text; int number; } cases[] = {
        { "segv", "restate: signal 11 (SIGSEGV) in handler S/", SIGSEGV },
        { "fpe", "restate: signal 8 (SIGFPE) in handler S/", SIGFPE },
        { "abort", "restate: signal 6 (SIGABRT) in handler S/", SIGABRT },
        { "wild", "restate: signal 11 (SIGSEGV) at address 0x10 in handler S/", SIGSEGV },
#if defined(__x86_64__) && defined(__linux__)
        { "smashed", "restate: signal 11 (SIGSEGV) at an address that the system does not tell in handler S/", SIGSEGV },
#endif
        { "overflow", "stack overflow: raise ", SIGSEGV },
        { "exit 3", "restate: exit() was called in handler S/", 0 }
    };
    static const char *const handlers[] = { "fatal", "fatal_in_closure", "fatal_blocking" };
    for (size_t i = 0; i < 3 * sizeof cases / sizeof *cases; i++) {
        const char *how = cases[i / 3].how, *handler = handlers[i % 3];
        char who[100];
        up_with((restate_endpoint_options){ .threads = THREADS, .crash_report = RESTATE_ON }, stderr_to_log);
        invoke(dial(), handler, how, true);
        UNTIL(server_is_gone());
        CHECK_INT(WIFSIGNALED(server_status) ? WTERMSIG(server_status) : 0, cases[i / 3].number);
        if (!cases[i / 3].number) CHECK_INT(WEXITSTATUS(server_status), 3);
        UNTIL(said(cases[i / 3].text) == 1);
        snprintf(who, sizeof who, "in handler S/%s, invocation %s%s", handler, how,
                 i % 3 == 1 ? ", closure step" : "");
        UNTIL(said(who) == 1);
        CHECK_INT(said("stack overflow"), strcmp(how, "overflow") == 0);
        if (strcmp(how, "overflow") == 0)
            CHECK_INT(said(i % 3 && THREADS > 1 ? "raise closure_stack_bytes (now " : "raise stack_bytes (now "), 1);
        down();
    }
}

TEST(a_handler_of_the_program_gets_the_signal_after_the_report) {
    static const char *const hows[] = { "wild", "fpe" };
    for (int i = 0; i < 2; i++) {
        up_with((restate_endpoint_options){ .threads = THREADS, .crash_report = RESTATE_ON }, with_own_handler);
        invoke(dial(), "fatal", hows[i], true);
        ENDS_WITH(8);
        UNTIL(said("own handler") == 1);
        CHECK_INT(said("restate: signal"), 1);
        down();
    }
}

TEST(crashes_are_reported_only_where_asked_for) {
    for (int i = 0; i < 2; i++) {
        up_with((restate_endpoint_options){ .threads = THREADS, .crash_report = i ? RESTATE_OFF : RESTATE_DEFAULT },
                stderr_to_log);
        invoke(dial(), "fatal", "segv", true);
        UNTIL(server_is_gone());
        CHECK(WIFSIGNALED(server_status));
        CHECK_INT(said("restate: signal"), 0);
        down();
    }
    for (int i = 0; i < 2; i++) {
        up_with((restate_endpoint_options){ .threads = THREADS, .processes = 2,
                                            .crash_report = i ? RESTATE_OFF : RESTATE_DEFAULT }, stderr_to_log);
        invoke(dial(), "fatal", "segv", true);
        UNTIL(said("was killed by signal 11") == 1);
        CHECK_INT(said("restate: signal 11 (SIGSEGV) in handler S/fatal, invocation segv"), !i);
        invoke(dial(), "fatal_in_closure", "exit 0", true);
        UNTIL(said("called exit(0)") == 1);
        CHECK_INT(said("restate: exit() was called in handler S/fatal_in_closure, invocation exit 0, closure step"), !i);
        down();
    }
}

TEST(the_last_endpoint_puts_the_dispositions_back) {
    restate_endpoint_options o = { .services = RESTATE_SERVICES(&service), .crash_report = RESTATE_ON };
    struct sigaction before, now;
    restate_endpoint *one, *two;
    sigaction(SIGSEGV, NULL, &before);
    one = restate_endpoint_new(&o);
    two = restate_endpoint_new(&o);
    restate_endpoint_free(one);
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_handler != before.sa_handler);
    restate_endpoint_free(two);
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_handler == before.sa_handler);
}
#endif

TEST(a_worker_that_dies_is_named_and_replaced) {
    static const struct { const char *how, *text; } cases[] = {
        { "segv", SEGV_TEXT }, { "abort", "was killed by signal 6 (Aborted" },
        { "kill", "was killed by signal 9 (Killed)" }, { "term", "was killed by signal 15 (Terminated)" },
        { "exit 0", "called exit(0)" }, { "exit 3", "called exit(3)" },
        { "_exit 0", "called exit(0)" }, { "_exit 4", "called exit(4)" }
    };
    static const char *const handlers[] = { "fatal", "fatal_in_closure", "fatal_blocking" };
    enum { OF_ONE = 4 };                    /* deaths of one worker: the pause before the next one doubles */
    client *calm = NULL;
    call *waits = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client *c;
        char text[100];
        long pid;
        call *k;
        test_note = cases[i].how;
        if (i % OF_ONE == 0) {
            up(.threads = THREADS, .processes = 2);
            calm = dial();                  /* its worker has nothing to do with it */
            waits = invoke(calm, "nap", "still here", false);
            UNTIL(parked(waits));
        }
        c = dial();
        pid = pid_behind(c);
        CHECK(pid != pid_behind(calm));
        k = invoke(c, handlers[i % 3], cases[i].how, false);
        UNTIL(c->gone);
        CHECK(!strstr(text_of(k), "still here"));
        snprintf(text, sizeof text, " worker process %ld ", pid);
        UNTIL(said(text) == 2);
        CHECK_HAS(last_said, cases[i].text);
        snprintf(text, sizeof text, "another one starts in %d ms", 100 << i % OF_ONE);
        CHECK_HAS(last_said, text);
        UNTIL(said("has started") == 3 + i % OF_ONE);
        CHECK(!calm->gone && !waits->closed);
        if (i % OF_ONE != OF_ONE - 1) continue;
        note_sleep(1);
        send_on(waits);
        end(waits);
        UNTIL(strstr(text_of(waits), "Output value \"still here\""));
        hang_up_all();
        kill(server, SIGTERM);
        ENDS_WITH(0);
        down();
    }
}

TEST(the_pause_between_deaths_is_bounded) {
    static const unsigned expected[] = { 100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000 };
    restate__proc_worker w;
    uint64_t now = 5000000;
    memset(&w, 0, sizeof w);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 9; i++) {
            w.started_ms = now;
            now += i ? RESTATE__PROC_LASTS_MS - 1 : RESTATE__PROC_LASTS_MS;     /* the first one lived long */
            CHECK_INT(restate__proc_failed(&w, now), expected[i]);
            CHECK_INT(w.start_at_ms, now + expected[i]);
        }
    }
    w.failures = UINT_MAX - 1;
    w.started_ms = now;
    CHECK_INT(restate__proc_failed(&w, now), 1000);
}

TEST(connections_wait_for_a_worker) {
    client *c[2], *later;
    call *k;
    up(.threads = THREADS, .processes = 2);
    for (int round = 0; round < 2; round++) {
        c[0] = dial();                      /* that one is over is told with a delay, */
        do c[1] = dial();                   /* so the first connections may go to the same worker */
        while (pid_behind(c[0]) == pid_behind(c[1]));
        for (int i = 0; i < 2; i++) invoke(c[i], "fatal", "kill", false);
        UNTIL(c[0]->gone && c[1]->gone && said("another one starts in") == 2u + 2u * (unsigned)round);
        later = dial();                     /* nobody is there */
        k = invoke(later, "echo", "patient", true);
        UNTIL(k->closed || later->gone);
        CHECK_HAS(text_of(k), "Output value \"patient\"");
        hang_up_all();
        UNTIL(said("has started") == 4u + 2u * (unsigned)round);
    }
    hang_up_all();
    kill(server, SIGTERM);
    ENDS_WITH(0);
    down();
}

TEST(a_stop_drains_all_workers) {
    call *k[2];
    up(.threads = THREADS, .processes = 2);
    for (int i = 0; i < 2; i++) k[i] = invoke(dial(), "nap", "x", false);
    UNTIL(parked(k[0]) && parked(k[1]));
    CHECK(pid_behind(k[0]->on) != pid_behind(k[1]->on));
    kill(server, SIGINT);
    for (int i = 0; i < 2; i++) {
        UNTIL(strstr(text_of(k[i]), "Suspension"));
        end(k[i]);
    }
    ENDS_WITH(0);
    CHECK_INT(said("another one starts"), 0);
    down();
}

TEST(a_signal_to_a_group_drains) {          /* as Ctrl-C in a terminal: nobody takes it for two */
    call *k[2];
    up_with((restate_endpoint_options){ .threads = THREADS, .processes = 2 }, own_group);
    for (int i = 0; i < 2; i++) k[i] = invoke(dial(), "nap", "x", false);
    UNTIL(parked(k[0]) && parked(k[1]));
    kill(-server, SIGINT);
    for (int i = 0; i < 2; i++) {
        UNTIL(strstr(text_of(k[i]), "Suspension"));
        end(k[i]);
    }
    ENDS_WITH(0);
    down();
}

TEST(a_worker_that_is_told_to_stop_is_replaced) {
    client *c;
    call *k;
    long pid;
    up(.threads = THREADS, .processes = 2);
    c = dial();
    pid = pid_behind(c);
    k = invoke(c, "nap", "x", false);
    UNTIL(parked(k));
    kill((pid_t)pid, SIGTERM);
    UNTIL(strstr(text_of(k), "Suspension"));
    end(k);
    UNTIL(said("has stopped; another one starts") == 1 && said("has started") == 3);
    for (int i = 0; i < 4; i++) CHECK(pid_behind(dial()) != pid);
    hang_up_all();
    kill(server, SIGTERM);
    ENDS_WITH(0);
    down();
}

TEST(stops_before_there_is_a_worker) {      /* whoever is told that it listens may stop it */
    for (int i = 0; i < 8; i++) {
        up(.threads = 1, .processes = 2);
        while (!said("listening on")) poll(&(struct pollfd){ .fd = log_fd[0], .events = POLLIN }, 1, 1000);
        kill(server, i & 1 ? SIGINT : SIGTERM);
        ENDS_WITH(0);
        down();
    }
}

#ifndef RESTATE_NO_THREADS
/* A worker that could not wait any longer for a closure ends by itself, and has said whose it is. */
TEST(what_a_stop_did_not_wait_for_is_named) {
    grace_ms = 2000;
    up(.threads = THREADS, .processes = 2, .drain_ms = RESTATE_ZERO_MS);
    grace_ms = HOUR_MS;
    invoke(dial(), "work", "deaf", false);
    UNTIL(said("work has begun"));
    kill(server, SIGTERM);
    ENDS_WITH(1);
    CHECK(said("stopped, but the closure \"work\" of S/work (invocation deaf) does not return") == 1);
    CHECK(said("could not stop in time") == 1);
    CHECK_INT(said("it is killed"), 0);
    down();
}
#endif

TEST(the_third_signal_kills) {
    up(.threads = THREADS, .processes = 2, .drain_ms = HOUR_MS);
    invoke(dial(), "work", "deaf", false);
    UNTIL(said("work has begun"));
    for (int i = 0; i < 3; i++) {
        kill(server, SIGTERM);
        UNTIL(i || connecting_fails());
        CHECK(!server_is_gone());
        pump(now_ms() + 1);
        if (i == 1) UNTIL(clients->gone);
    }
    ENDS_WITH(1);
    CHECK(said("does not end: it is killed") >= 1);
    down();
}

TEST(workers_end_with_their_supervisor) {
    call *k;
    up(.threads = THREADS, .processes = 2);
    k = invoke(dial(), "nap", "x", false);
    UNTIL(parked(k));
    kill(server, SIGKILL);
    UNTIL(server_is_gone() && strstr(text_of(k), "Suspension"));
    end(k);
    UNTIL(log_is_over);
    down();
}

TEST(draining_costs_nothing) {
    for (int i = 0; i < 2; i++) {
        client *c;
        up(.threads = THREADS, .processes = 2);
        invoke(c = dial(), "idle", "x", false);
        UNTIL(said("waits for a stop"));
        kill(server, i ? SIGTERM : SIGKILL);        /* told by the supervisor, or by its end */
        UNTIL(said("idle: "));
        CHECK_HAS(last_said, "idle: yes");
        hang_up_all();
        UNTIL(log_is_over);
        down();
    }
}

static void children_ignored(void) { signal(SIGCHLD, SIG_IGN); }
TEST(a_death_is_noticed_with_sigchld_ignored) {
    client *c;
    up_with((restate_endpoint_options){ .threads = THREADS, .processes = 2 }, children_ignored);
    c = dial();
    CHECK(pid_behind(c) > 0);
    invoke(c, "fatal", "kill", false);
    UNTIL(said("with SIGCHLD ignored") == 1 && said("has started") == 3);
    answers(dial(), "echo", "x", "Output value \"x\"");
    hang_up_all();
    kill(server, SIGTERM);
    ENDS_WITH(0);
    down();
}

TEST(workers_share_a_free_port) {
    long first;
    up(.threads = THREADS, .processes = 2, .port = RESTATE_ANY_PORT);
    UNTIL(said("listening on 127.0.0.1:"));
    port = (uint16_t)atoi(strstr(last_said, "127.0.0.1:") + 10);
    CHECK(port != 0 && port != RESTATE_ANY_PORT);
    first = pid_behind(dial());
    CHECK(first > 0 && first != pid_behind(dial()));
    hang_up_all();
    kill(server, SIGTERM);
    ENDS_WITH(0);
    down();
}

TEST(what_cannot_be_served_by_several) {
    uint16_t number;
    int taken = h2_bound(&number);
    CHECK_INT(listen(taken, 1), 0);
    up(.threads = THREADS, .processes = 2, .port = number);
    ENDS_WITH(1);
    CHECK(said("cannot listen on 127.0.0.1"));
    CHECK_INT(said("has started"), 0);
    down();
    close(taken);
    up(.threads = THREADS, .processes = 1025);
    ENDS_WITH(1);
    CHECK(said(".processes is more than 1024"));
    down();
}

/* ---- What the system refuses to a supervisor and its workers -------------------------------------------- */

/* A worker that has no number for descriptors gets no more connections than it takes to notice that. */
TEST(worker_out_of_descriptors) {
    enum { CONNECTIONS = 20 };
    if (SLOW > 4) return;                           /* valgrind closes what it has no number for */
    up(.processes = 2, .threads = 1);
    answers(dial(), "starve", "x", "Output value \"x\"");
    uint64_t begun = now_ms();
    unsigned lost = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        client *c = dial();
        call *k = invoke(c, "echo", "x", true);
        UNTIL(k->closed || c->gone);
        lost += strstr(text_of(k), "Output") == NULL;
    }
    CHECK(lost <= 2 + (now_ms() - begun) / 1000);   /* it is tried again each second */
    down();
}

static void with_faults(void) { fault_here(true); }

/* Connects and calls until there is an answer, or no process any more. */
static bool answers_at_last(void) {
    const dialling usual = { .window = 0 };
    uint64_t until = now_ms() + PATIENCE_MS;
    bool good = false;
    while (!good && !server_is_gone() && pump(until)) {
        int fd = h2_connect(port, 0);
        if (fd < 0) continue;
        client *c = client_on(fd, &usual);
        call *k = invoke(c, "echo", "x", true);
        UNTIL(k->closed || c->gone);
        good = strstr(text_of(k), "Output value \"x\"") != NULL;
        hang_up(c);
    }
    return good;
}

/* A supervisor and two workers, whose calls are counted together: one fails, and then they serve, or they have said why
 * they cannot begin. */
static void supervise(const fault *f, size_t n) {
    fault_arm(f, n);
    up_with((restate_endpoint_options){ .processes = 2, .threads = 1 }, with_faults);
    bool good = answers_at_last();
    CHECK(good || server_is_gone());
    if (good) kill(server, SIGTERM);
    UNTIL(server_is_gone());
    CHECK(WIFEXITED(server_status) && (good || WEXITSTATUS(server_status) == 1));
    if (!good) CHECK(said("cannot ") || said("out of memory"));
    fault_disarm();
    down();
}

TEST(refused_by_the_system) {
    static const fault faults[] = {
        { FAULT_SOCKETPAIR, EMFILE, FAULT_ONCE }, { FAULT_FORK, EAGAIN, FAULT_ONCE }, { FAULT_WAITPID, EINTR, FAULT_OFTEN },
        { FAULT_SENDMSG, EINTR, FAULT_OFTEN }, { FAULT_SENDMSG, ENOBUFS, FAULT_ONCE }, { FAULT_SENDMSG, EAGAIN, FAULT_ONCE },
        { FAULT_RECVMSG, EINTR, FAULT_OFTEN }, { FAULT_RECVMSG, EAGAIN, FAULT_ONCE }, { FAULT_RECVMSG, FAULT_SHORT, FAULT_ONCE },
        { FAULT_RECVMSG, ENOMEM, FAULT_ONCE }, { FAULT_ACCEPT, EMFILE, FAULT_ONCE }, { FAULT_ACCEPT, EINTR, FAULT_OFTEN },
        { FAULT_EPOLL_CTL, ENOMEM, FAULT_ONCE }, { FAULT_EPOLL_WAIT, EINTR, FAULT_OFTEN }, { FAULT_FCNTL, EPERM, FAULT_ONCE },
        { FAULT_EPOLL_CREATE, EMFILE, FAULT_ONCE }, { FAULT_EVENTFD, EMFILE, FAULT_ONCE },
        { FAULT_PIPE, EMFILE, FAULT_ONCE }, { FAULT_POLL, EINTR, FAULT_OFTEN },     /* without epoll */
        { FAULT_THREAD, EAGAIN, FAULT_ONCE }, { FAULT_READ, EINTR, FAULT_OFTEN }, { FAULT_WRITE, EINTR, FAULT_OFTEN },
        { FAULT_LISTEN, EADDRINUSE, FAULT_ONCE }
    };
    fault_share();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i += SLOW > 4 ? 4 : 1)
        fault_walk("supervised", supervise, &faults[i], 1, SLOW > 1 ? 20 : 2);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(children_have_the_signals_of_the_program), T(children_while_signals_stop_it), T(children_of_workers),
        T(interrupted_calls_are_made_again), T(memory_goes_back_after_a_flood), T(signals_stop_it),
        T(signals_end_it_unless_asked), T(ignored_signals_stay_ignored), T(handlers_are_put_back),
        T(a_blocked_signal_is_told),
#ifndef RESTATE_NO_THREADS
        T(the_second_signal_cuts), T(what_a_stop_did_not_wait_for_is_named), T(two_in_one_process_stop_together),
        T(connections_leave_a_held_worker),
#endif
        T(worker_out_of_descriptors), T(refused_by_the_system),
        T(only_restate_serve_knows_signals_and_processes), T(connections_are_shared_out), T(a_supervisor_that_does_not_read), T(each_worker_has_max_connections),
#if SLOW == 1
        T(a_crash_says_in_which_handler),
        T(a_handler_of_the_program_gets_the_signal_after_the_report),
        T(crashes_are_reported_only_where_asked_for),
        T(the_last_endpoint_puts_the_dispositions_back),
#endif
        T(a_worker_that_dies_is_named_and_replaced), T(the_pause_between_deaths_is_bounded),
        T(connections_wait_for_a_worker), T(a_stop_drains_all_workers), T(a_signal_to_a_group_drains),
        T(a_worker_that_is_told_to_stop_is_replaced), T(stops_before_there_is_a_worker), T(the_third_signal_kills),
        T(workers_end_with_their_supervisor),
        T(draining_costs_nothing), T(a_death_is_noticed_with_sigchld_ignored),
        T(workers_share_a_free_port), T(what_cannot_be_served_by_several), {0}
    };
    if (argc > 1 && strcmp(argv[1], "--signals") == 0) return tell_signals();
    self = argv[0];
    return test_main(argc, argv, cases);
}
