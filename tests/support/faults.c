/* System calls that fail, are interrupted, or do less than they were asked for. The linker has the calls of this program
 * come here (--wrap: see FAULTS in the Makefile), so restate.h is compiled as ever. Only threads that were chosen get
 * faults, and the threads that these start: a test's own clients and servers do not.
 *
 *     fault_arm(&(fault){ FAULT_RECV, ECONNRESET, FAULT_ONCE }, 3);       // the third recv() fails
 *     fault_here(true); ... restate_client_new(&options) ...; fault_here(false);
 *     if (!fault_disarm()) ...                                            // there was no third one
 *
 * Include it behind the implementation of restate.h. */
#ifndef SUPPORT_FAULTS_C
#define SUPPORT_FAULTS_C

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools.h"
#include "allocator.c"

typedef enum fault_kind {
    FAULT_NONE, FAULT_MEMORY,               /* memory: an allocator's, see fault_memory */
    FAULT_ACCEPT, FAULT_RECV, FAULT_SEND, FAULT_SENDMSG, FAULT_RECVMSG, FAULT_READ, FAULT_WRITE, FAULT_EPOLL_CREATE,
    FAULT_EPOLL_CTL, FAULT_EPOLL_WAIT, FAULT_EVENTFD, FAULT_TIMERFD, FAULT_SOCKET, FAULT_SOCKETPAIR, FAULT_BIND,
    FAULT_LISTEN, FAULT_CONNECT, FAULT_SHUTDOWN, FAULT_CLOSE, FAULT_GETSOCKOPT, FAULT_SETSOCKOPT, FAULT_GETSOCKNAME,
    FAULT_GETPEERNAME, FAULT_GETADDRINFO, FAULT_FCNTL, FAULT_OPEN, FAULT_FOPEN, FAULT_MMAP, FAULT_MPROTECT, FAULT_THREAD,
    FAULT_POLL, FAULT_PIPE, FAULT_ATTR, FAULT_MUTEX, FAULT_COND, FAULT_KEY, FAULT_FORK, FAULT_WAITPID, FAULT_OPENSSL,
    FAULT_KINDS
} fault_kind;

static const char *const fault_names[FAULT_KINDS] = {
    "none", "memory", "accept", "recv", "send", "sendmsg", "recvmsg", "read", "write", "epoll_create1", "epoll_ctl",
    "epoll_wait", "eventfd", "timerfd_create", "socket", "socketpair", "bind", "listen", "connect", "shutdown", "close",
    "getsockopt", "setsockopt", "getsockname", "getpeername", "getaddrinfo", "fcntl", "open", "fopen", "mmap", "mprotect",
    "pthread_create", "poll", "pipe", "pthread_attr_init", "pthread_mutex_init", "pthread_cond_init",
    "pthread_key_create", "fork", "waitpid", "malloc of OpenSSL"
};

/* Instead of an errno. */
enum { FAULT_SHORT = -100, FAULT_END };     /* one byte, one event, or without its descriptor; the end of the input */

typedef enum fault_how {
    FAULT_ONCE, FAULT_ON,                   /* this call; and all after it */
    FAULT_OFTEN                             /* this call, and every other one after it: what may be tried for ever */
} fault_how;

typedef struct fault {
    fault_kind kind;
    int error;                              /* an errno, what getaddrinfo() gives, or see above */
    fault_how how;
} fault;

typedef struct fault_state {                /* atomic */
    int kind, error, how;
    size_t at, calls, hits;
} fault_state;
static fault_state fault_own, *fault_now = &fault_own;
static unsigned long fault_total[FAULT_KINDS];      /* those that were injected; atomic */
void *__real_mmap(void *at, size_t len, int allowed, int flags, int fd, off_t offset);
static mem_counts fault_no_memory, *fault_memory = &fault_no_memory;       /* whose calls FAULT_MEMORY is about */
static size_t fault_interruptions;          /* of waits, by signals; atomic */
static _Thread_local bool fault_chosen;

/* From here on processes that are forked count their calls together. */
static inline void fault_share(void) {
    if (fault_now != &fault_own) return;
    void *shared = __real_mmap(NULL, sizeof *fault_now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) abort();
    fault_now = (fault_state *)shared;
}

/* Whether this thread gets faults. */
static inline void fault_here(bool on) { fault_chosen = on; }

/* The `n`-th call of that kind from now on fails. */
static inline void fault_arm(const fault *f, size_t n) {
    MEM_PUT(fault_now->kind, FAULT_NONE);
    MEM_PUT(fault_now->error, f->error);
    MEM_PUT(fault_now->how, (int)f->how);
    MEM_PUT(fault_now->at, n);
    MEM_PUT(fault_now->calls, 0);
    MEM_PUT(fault_now->hits, 0);
    MEM_PUT(fault_now->kind, (int)f->kind);
    if (f->kind == FAULT_MEMORY && f->how == FAULT_ON) mem_fail_from(fault_memory, n);
    else if (f->kind == FAULT_MEMORY) mem_fail(fault_memory, n);
}

/* No more faults. How many there were since fault_arm(). */
static inline size_t fault_disarm(void) {
    int kind = MEM_GET(fault_now->kind);
    size_t at = MEM_GET(fault_now->at), calls;
    if (kind == FAULT_MEMORY) {
        calls = MEM_GET(fault_memory->calls);
        mem_fail(fault_memory, 0);
        if (calls >= at) MEM_PUT(fault_now->hits, MEM_GET(fault_now->how) == FAULT_ONCE ? 1 : calls - at + 1);
    }
    MEM_PUT(fault_now->kind, FAULT_NONE);
    if (kind != FAULT_NONE) MEM_ADD(fault_total[kind], MEM_GET(fault_now->hits));
    return MEM_GET(fault_now->hits);
}

/* Counts a call; true: it is to fail. */
static inline bool fault_hit(fault_kind kind) {
    size_t n, at;
    int how;
    if (!fault_chosen || MEM_GET(fault_now->kind) != (int)kind) return false;
    n = MEM_ADD(fault_now->calls, 1);
    at = MEM_GET(fault_now->at);
    how = MEM_GET(fault_now->how);
    if (n < at || (how == FAULT_ONCE && n != at) || (how == FAULT_OFTEN && (n - at) % 2)) return false;
    MEM_ADD(fault_now->hits, 1);
    return true;
}

static inline int fault_error(void) { return MEM_GET(fault_now->error); }
static inline int fault_set_errno(void) {
    errno = fault_error();
    return -1;
}

/* ---- The calls ----------------------------------------------------------------------------------------------- */

#define FAULT_CALL(type, name, parameters) \
    type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters

/* One that fails with an errno, and does nothing then. */
#define FAULT_PLAIN(type, kind, name, parameters, arguments) \
    FAULT_CALL(type, name, parameters) { return fault_hit(kind) ? fault_set_errno() : __real_##name arguments; }
/* One that gives an errno. */
#define FAULT_GIVEN(kind, name, parameters, arguments) \
    FAULT_CALL(int, name, parameters) { return fault_hit(kind) ? fault_error() : __real_##name arguments; }

FAULT_PLAIN(int, FAULT_EPOLL_CREATE, epoll_create1, (int flags), (flags))
FAULT_PLAIN(int, FAULT_EVENTFD, eventfd, (unsigned n, int flags), (n, flags))
FAULT_PLAIN(int, FAULT_TIMERFD, timerfd_create, (clockid_t clock, int flags), (clock, flags))
FAULT_PLAIN(int, FAULT_SOCKET, socket, (int family, int type, int protocol), (family, type, protocol))
FAULT_PLAIN(int, FAULT_SOCKETPAIR, socketpair, (int family, int type, int protocol, int ends[2]),
            (family, type, protocol, ends))
FAULT_PLAIN(int, FAULT_PIPE, pipe, (int ends[2]), (ends))
FAULT_PLAIN(int, FAULT_POLL, poll, (struct pollfd *fds, nfds_t n, int timeout), (fds, n, timeout))
FAULT_PLAIN(int, FAULT_BIND, bind, (int fd, const struct sockaddr *at, socklen_t len), (fd, at, len))
FAULT_PLAIN(int, FAULT_LISTEN, listen, (int fd, int n), (fd, n))
FAULT_PLAIN(int, FAULT_SHUTDOWN, shutdown, (int fd, int how), (fd, how))
FAULT_PLAIN(int, FAULT_GETSOCKOPT, getsockopt, (int fd, int level, int name, void *value, socklen_t *len),
            (fd, level, name, value, len))
FAULT_PLAIN(int, FAULT_SETSOCKOPT, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
            (fd, level, name, value, len))
FAULT_PLAIN(int, FAULT_GETSOCKNAME, getsockname, (int fd, struct sockaddr *at, socklen_t *len), (fd, at, len))
FAULT_PLAIN(int, FAULT_GETPEERNAME, getpeername, (int fd, struct sockaddr *at, socklen_t *len), (fd, at, len))
FAULT_PLAIN(int, FAULT_MPROTECT, mprotect, (void *at, size_t len, int allowed), (at, len, allowed))
FAULT_PLAIN(pid_t, FAULT_FORK, fork, (void), ())
FAULT_PLAIN(pid_t, FAULT_WAITPID, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags))
FAULT_PLAIN(ssize_t, FAULT_WRITE, write, (int fd, const void *from, size_t len), (fd, from, len))
FAULT_GIVEN(FAULT_ATTR, pthread_attr_init, (pthread_attr_t *attr), (attr))
FAULT_GIVEN(FAULT_MUTEX, pthread_mutex_init, (pthread_mutex_t *lock, const pthread_mutexattr_t *attr), (lock, attr))
FAULT_GIVEN(FAULT_COND, pthread_cond_init, (pthread_cond_t *cond, const pthread_condattr_t *attr), (cond, attr))
FAULT_GIVEN(FAULT_KEY, pthread_key_create, (pthread_key_t *key, void (*drop)(void *)), (key, drop))

/* Some errors are those of a connection that was waiting, and is gone then. */
FAULT_CALL(int, accept, (int fd, struct sockaddr *from, socklen_t *len)) {
    int conn, error;
    if (!fault_hit(FAULT_ACCEPT)) return __real_accept(fd, from, len);
    error = fault_error();
    if (error == ECONNABORTED || error == EPROTO || error == EPERM) {
        conn = __real_accept(fd, from, len);
        if (conn < 0) return conn;
        close(conn);
    }
    return fault_set_errno();
}

/* For reading. */
static inline bool fault_input(fault_kind kind, size_t *len, ssize_t *n) {
    if (!fault_hit(kind)) return false;
    if (fault_error() == FAULT_SHORT && *len) *len = 1;
    if (fault_error() == FAULT_SHORT) return false;
    *n = fault_error() == FAULT_END ? 0 : fault_set_errno();
    return true;
}
FAULT_CALL(ssize_t, recv, (int fd, void *to, size_t len, int flags)) {
    ssize_t n;
    return fault_input(FAULT_RECV, &len, &n) ? n : __real_recv(fd, to, len, flags);
}
FAULT_CALL(ssize_t, read, (int fd, void *to, size_t len)) {
    ssize_t n;
    return fault_input(FAULT_READ, &len, &n) ? n : __real_read(fd, to, len);
}

/* Short: the descriptor that comes with the bytes is lost, as there is no number for it. */
FAULT_CALL(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags)) {
    bool hit = fault_hit(FAULT_RECVMSG);
    if (hit && fault_error() != FAULT_SHORT) return fault_error() == FAULT_END ? 0 : fault_set_errno();
    if (hit) m->msg_controllen = 0;
    return __real_recvmsg(fd, m, flags);
}

FAULT_CALL(ssize_t, send, (int fd, const void *from, size_t len, int flags)) {
    bool hit = fault_hit(FAULT_SEND);
    if (hit && fault_error() != FAULT_SHORT) return fault_set_errno();
    return __real_send(fd, from, hit && len ? 1 : len, flags);
}
FAULT_CALL(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags)) {
    struct msghdr some = *m;
    struct iovec byte;
    if (!fault_hit(FAULT_SENDMSG)) return __real_sendmsg(fd, m, flags);
    if (fault_error() != FAULT_SHORT) return fault_set_errno();
    for (byte.iov_len = 0; some.msg_iovlen && !byte.iov_len; some.msg_iovlen--) byte = *some.msg_iov++;
    if (byte.iov_len) byte.iov_len = 1;
    some.msg_iov = &byte;
    some.msg_iovlen = 1;
    return __real_sendmsg(fd, &some, flags);
}

/* What is not waited for any more can always be told. */
FAULT_CALL(int, epoll_ctl, (int epoll, int what, int fd, struct epoll_event *e)) {
    if (what != EPOLL_CTL_DEL && fault_hit(FAULT_EPOLL_CTL)) return fault_set_errno();
    return __real_epoll_ctl(epoll, what, fd, e);
}
FAULT_CALL(int, epoll_wait, (int epoll, struct epoll_event *ready, int n, int timeout)) {
    bool hit = fault_hit(FAULT_EPOLL_WAIT);
    if (hit && fault_error() != FAULT_SHORT) return fault_set_errno();
    n = __real_epoll_wait(epoll, ready, hit ? 1 : n, timeout);
    if (n < 0 && errno == EINTR) MEM_ADD(fault_interruptions, 1);
    return n;
}

/* One that is interrupted goes on. */
FAULT_CALL(int, connect, (int fd, const struct sockaddr *to, socklen_t len)) {
    if (!fault_hit(FAULT_CONNECT)) return __real_connect(fd, to, len);
    if (fault_error() == EINTR && __real_connect(fd, to, len) && errno != EINPROGRESS) return -1;
    return fault_set_errno();
}

/* So is this: the descriptor is closed all the same, as on Linux. */
FAULT_CALL(int, close, (int fd)) {
    int n = __real_close(fd);
    return fault_hit(FAULT_CLOSE) ? fault_set_errno() : n;
}

FAULT_CALL(int, getaddrinfo, (const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)) {
    if (!fault_hit(FAULT_GETADDRINFO)) return __real_getaddrinfo(host, port, hints, found);
    errno = EMFILE;                         /* the reason for EAI_SYSTEM */
    return fault_error();
}

FAULT_CALL(int, fcntl, (int fd, int command, ...)) {
    va_list rest;
    int n = 0;
    va_start(rest, command);
    if (command != F_GETFL && command != F_GETFD) n = va_arg(rest, int);
    va_end(rest);
    return fault_hit(FAULT_FCNTL) ? fault_set_errno() : __real_fcntl(fd, command, n);
}

FAULT_CALL(int, open, (const char *path, int flags, ...)) {
    va_list rest;
    mode_t mode = 0;
    va_start(rest, flags);
    if (flags & O_CREAT) mode = va_arg(rest, mode_t);
    va_end(rest);
    return fault_hit(FAULT_OPEN) ? fault_set_errno() : __real_open(path, flags, mode);
}

FAULT_CALL(FILE *, fopen, (const char *path, const char *how)) {
    if (!fault_hit(FAULT_FOPEN)) return __real_fopen(path, how);
    fault_set_errno();
    return NULL;
}

FAULT_CALL(void *, mmap, (void *at, size_t len, int allowed, int flags, int fd, off_t offset)) {
    if (!fault_hit(FAULT_MMAP)) return __real_mmap(at, len, allowed, flags, fd, offset);
    fault_set_errno();
    return MAP_FAILED;
}

/* ---- Threads that were chosen -------------------------------------------------------------------------------- */

typedef struct fault_thread {
    struct fault_thread *next, **link;
    pthread_t id;
    void *(*run)(void *);
    void *arg;
} fault_thread;

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static fault_thread *fault_threads;         /* under the lock: those that run */

static void *fault_thread_run(void *arg) {
    fault_thread *t = (fault_thread *)arg;
    void *result;
    pthread_mutex_lock(&fault_lock);
    t->id = pthread_self();
    t->next = fault_threads;
    t->link = &fault_threads;
    if (t->next) t->next->link = &t->next;
    fault_threads = t;
    pthread_mutex_unlock(&fault_lock);
    fault_chosen = true;
    result = t->run(t->arg);
    pthread_mutex_lock(&fault_lock);
    *t->link = t->next;
    if (t->next) t->next->link = t->link;
    pthread_mutex_unlock(&fault_lock);
    free(t);
    return result;
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

/* Starts one that is chosen. */
static inline int fault_thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg) {
    fault_thread *t = (fault_thread *)malloc(sizeof *t);
    int error;
    if (!t) abort();
    t->run = run;
    t->arg = arg;
    error = __real_pthread_create(thread, attr, fault_thread_run, t);
    if (error) free(t);
    return error;
}

FAULT_CALL(int, pthread_create, (pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)) {
    if (!fault_chosen) return __real_pthread_create(thread, attr, run, arg);
    return fault_hit(FAULT_THREAD) ? fault_error() : fault_thread_start(thread, attr, run, arg);
}

/* Interrupts each of them, and another one that was chosen, again and again, from a thread of its own. */
typedef struct fault_interrupter {
    pthread_t thread, other;
    bool over;                              /* atomic */
} fault_interrupter;

static void fault_on_interrupt(int number) { (void)number; }

static void *fault_interrupt(void *arg) {
    fault_interrupter *i = (fault_interrupter *)arg;
    while (!__atomic_load_n(&i->over, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&fault_lock);
        for (fault_thread *t = fault_threads; t; t = t->next) pthread_kill(t->id, SIGUSR1);
        pthread_mutex_unlock(&fault_lock);
        pthread_kill(i->other, SIGUSR1);
        sched_yield();
    }
    return NULL;
}

/* Calls are not begun again by the system. */
static inline void fault_interrupts_begin(fault_interrupter *i, pthread_t other) {
    struct sigaction on;
    memset(&on, 0, sizeof on);
    on.sa_handler = fault_on_interrupt;
    sigaction(SIGUSR1, &on, NULL);
    *i = (fault_interrupter){ .other = other };
    if (__real_pthread_create(&i->thread, NULL, fault_interrupt, i)) abort();
}
static inline void fault_interrupts_end(fault_interrupter *i) {
    __atomic_store_n(&i->over, true, __ATOMIC_SEQ_CST);
    pthread_join(i->thread, NULL);
}

/* ---- OpenSSL's memory ---------------------------------------------------------------------------------------- */

#ifdef RESTATE_WITH_OPENSSL
#include <openssl/crypto.h>

static void *fault_openssl_malloc(size_t n, const char *file, int line) {
    (void)file, (void)line;
    return fault_hit(FAULT_OPENSSL) ? NULL : malloc(n);
}
static void *fault_openssl_realloc(void *old, size_t n, const char *file, int line) {
    (void)file, (void)line;
    return fault_hit(FAULT_OPENSSL) ? NULL : realloc(old, n);
}
static void fault_openssl_free(void *old, const char *file, int line) {
    (void)file, (void)line;
    free(old);
}

/* Before OpenSSL allocates anything. False: it has. */
static inline bool fault_openssl(void) {
    return CRYPTO_set_mem_functions(fault_openssl_malloc, fault_openssl_realloc, fault_openssl_free) == 1;
}
#endif

/* ---- Walking through all faults ------------------------------------------------------------------------------ */

static char fault_text[160];                /* what is being injected; the note of a failure, and of a hang */

static void fault_on_alarm(int number) {
    static const char head[] = "  this hangs: ";
    (void)number;
    ssize_t n = __real_write(1, head, sizeof head - 1) + __real_write(1, fault_text, strlen(fault_text)) + __real_write(1, "\n", 1);
    _exit(n > 0 ? 3 : 4);
}

static inline const char *fault_error_name(const fault *f) {
    static const char *const hows[] = { "once", "from then on", "every other time" };
    static char text[100];
    const char *what = f->kind == FAULT_GETADDRINFO ? gai_strerror(f->error) : strerror(f->error);
    if (f->error == FAULT_SHORT) what = "short";
    if (f->error == FAULT_END) what = "the end";
    snprintf(text, sizeof text, "%s, %s", what, hows[f->how]);
    return text;
}

/* Does `step`, which arms the fault when it likes, with the first call of this kind failing, then with the second one,
 * until there are not so many. The first `dense` calls are all taken, then each `stride`-th, and ever fewer. A step that
 * takes longer than it does on any machine hangs. Gives the number of steps in which there was a fault. */
static inline size_t fault_walk(const char *scenario, void (*step)(const fault *, size_t), const fault *f, size_t dense,
                                size_t stride) {
    size_t reached = 0, hits = 1;
    signal(SIGALRM, fault_on_alarm);
    for (size_t n = 1; hits; n += n < dense ? 1 : stride + n / 8) {
        snprintf(fault_text, sizeof fault_text, "(%s: %s %zu: %s)", scenario, fault_names[f->kind], n, fault_error_name(f));
        test_note = fault_text;
        alarm(20 * (SLOW > 1 ? 6 : 2));
        step(f, n);
        hits = fault_disarm();
        reached += hits > 0;
    }
    alarm(0);
    test_note = "";
    return reached;
}

#endif
