/* restate.h - durable execution for C.
 *
 * A handler is a C function that looks blocking: it calls other services, sleeps for a month, waits
 * for a person. Whatever it does through its `restate_ctx` is written to a journal that the Restate
 * server keeps. After a crash, a deployment or a long wait the function is called again from its
 * first line, and every step that is in the journal gives back its recorded result at once.
 *
 * MIT license; its text is at the end of this file.
 *
 * ---- Do this in one file -----------------------------------------------------------------------
 *
 *     #define RESTATE_IMPLEMENTATION
 *     #include "restate.h"                  // before the system headers: it asks them for POSIX
 *
 * and only `#include "restate.h"` in the others. restate_wire.h has to lie beside restate.h.
 * Link with -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread. C99 or later, C++17 or later.
 *
 * ---- The smallest service ----------------------------------------------------------------------
 *
 *     #define RESTATE_IMPLEMENTATION
 *     #include "restate.h"
 *     #include <stdlib.h>
 *
 *     static restate_status roll(restate_ctx *run, void *arg) {           // executed once
 *         (void)arg;
 *         return restate_reply(run, restate_json(run, "%d", rand() % 6 + 1));
 *     }
 *
 *     static restate_status play(restate_ctx *ctx, restate_bytes input) {
 *         const char *name = "stranger";
 *         restate_bytes dots;
 *         RESTATE_TRY(restate_json_string(ctx, input, "name", &name));
 *         RESTATE_TRY(restate_run(ctx, "roll", roll, NULL, NULL, &dots));  // recorded
 *         RESTATE_TRY(restate_sleep(ctx, RESTATE_HOURS(1)));               // survives a restart
 *         return restate_reply(ctx, restate_json(ctx, "{'name': %s, 'dots': %-s}",
 *                                                name, (const char *)dots.ptr));
 *     }
 *
 *     static const restate_service dice = { .name = "Dice",
 *         .handlers = RESTATE_HANDLERS({ .name = "play", .fn = play }) };
 *
 *     int main(void) {
 *         return restate_serve(&(restate_endpoint_options){
 *             .services = RESTATE_SERVICES(&dice) });
 *     }
 *
 * It listens on port 9080. Tell the server once, then call it through the server:
 *
 *     restate deployments register http://localhost:9080
 *     curl localhost:8080/Dice/play --json '{"name": "Ada"}'
 *
 * ---- Table of contents (search for the tag) ----------------------------------------------------
 *
 *   >>api-base      What everything else is expressed in.
 *   >>api-service   How a program describes the services it offers.
 *   >>api-context   What a handler and a closure may do.
 *   >>api-endpoint  How the services come onto the network.
 *   >>api-client    Calls services from programs that are no handlers, by the same functions.
 *   >>api-journal   Journals of real invocations: fetch, print, check today's code against them.
 *   >>api-test      A Restate server in memory, with a clock of its own and with crashes.
 *   >>platform      What the rest may rely on: attributes, asserts, atomics.
 *   >>bytes         Views on memory that somebody else owns.
 *   >>memory        An invocation's memory is a list of chunks that go back to a cache when it is
 *                   over.
 *   >>clock         Reads the endpoint's clock. The system's clock is read here and nowhere else.
 *   >>log           From a message to the logger.
 *   >>wire          Messages are restate_wire_ structs (restate_wire.h) coded by nanopb; hot paths
 *                   read by field.
 *   >>journal       Replays what is recorded, records what is new. No I/O, no clock, no threads.
 *   >>execution     Where handlers and closures execute: stacks that can be left and entered, and
 *                   threads.
 *   >>context       The blocking calls of a handler, made of journal and stack.
 *   >>json          RFC 8259 exactly, without recursion. cJSON gets only what the scanner has
 *                   accepted.
 *   >>proto         Codes structs by nanopb's descriptors. The codec has what these lack: names and
 *                   types.
 *   >>identity      Tells requests of the server from those of anybody else.
 *   >>endpoint      Routes requests to handlers and tells the server what there is.
 *   >>http2         Carries exchanges in an nghttp2 session: bytes in through _feed, bytes out
 *                   through _take.
 *   >>stream        Hands the bytes of a foreign transport to exchanges, and lets handlers run
 *                   meanwhile.
 *   >>server        Gives each connection to one loop, each loop to one thread, and stops without
 *                   losing work.
 *   >>process       Serves until a signal comes, in one process or in several that are supervised.
 *   >>client        Turns the commands of a context without a handler into requests of the ingress.
 *   >>record        Reads, prints and replays journals that a server has kept.
 *   >>test          Plays the server, in memory and in virtual time.
 *
 * ---- The model ---------------------------------------------------------------------------------
 *
 * Invocation. Callers do not talk to your program. They send a request to the Restate server (its
 * ingress is on port 8080), which stores it and from then on owns it: one invocation, with an id
 * (inv_...), that ends exactly once, with a value or with a failure. To get it done the server
 * calls your program, which is an HTTP/2 server, the endpoint. Registering the endpoint makes the
 * server ask which services and handlers there are ("discovery").
 *
 * Attempt. One such HTTP request is one attempt to get the invocation done. It may end without a
 * result: the process is killed, the connection breaks, the handler asks to be tried again, or it
 * has to wait long. Then there will be another attempt, on this process or on another one that
 * offers the service. A `restate_ctx` is one attempt. When it is over while the handler still runs,
 * every call on the context says so (RESTATE_ENDED) and does nothing, and the handler returns.
 *
 * Journal. During an attempt the handler sends the server a list of commands, in the order in which
 * it issues them: run a step, sleep until, call a service, set a state value. The server stores
 * each; this list with its results is the journal of the invocation.
 *
 * Completion, signal, notification. Results come back from the server as notifications, and are
 * stored in the journal too. A completion answers one command: the sleep is over, the callee has
 * replied, the result of the step is stored. A signal answers no command: an awakeable that
 * somebody completed, or the request to cancel. A handler sees notifications in the order of the
 * journal and in no other, so that "which of the two came first" has the same answer in every
 * attempt.
 *
 * Replay. A later attempt begins with the journal. The handler is called from its first line, with
 * the same input, and issues the same commands again; each is compared with the recorded one and
 * gets the recorded result. Nothing is sent, called or executed a second time. When the recorded
 * commands are used up the attempt goes on live, in the middle of the handler.
 *
 * This works only if the handler is deterministic: between two commands it may compute whatever it
 * likes, but from nothing except its input and what the context gave it. The clock, random numbers,
 * files, sockets, other threads and global variables may say something else the next time. Read and
 * write those in a step: a closure that restate_run() executes once, whose result is recorded. If
 * the commands differ from the journal (usually because the code was changed while invocations were
 * open) the attempt ends with error 570, which names the recorded and the new command. The server
 * keeps sending an invocation to the deployment it began on, so register changed code as a new one.
 *
 *      handler                      journal, first attempt      second attempt, after a crash
 *      restate_run("roll")   ---->  0 input                     0 input       recorded
 *      restate_sleep(1 h)    ---->  1 run "roll"   -> 5         1 run "roll"  -> 5, not executed
 *      [crash]                      2 sleep                     2 sleep       the rest of the hour
 *      restate_reply()       ---->                              3 output      live
 *
 * Suspension. If a result has been missing for a while (the inactivity timeout, a minute) the
 * server closes its side of the stream. The attempt is then given up on purpose: the library says
 * what it waits for, the call returns RESTATE_ENDED, the stack and memory of the handler are freed.
 * When the result is there the server begins the next attempt. So a handler may wait for months and
 * occupies nothing meanwhile. An attempt never suspends while one of its closures executes.
 *
 * Cancellation. Anybody may ask an invocation to stop. It learns of it once, at the call where it
 * waits (an "await point"), which returns RESTATE_CANCELLED; the calls it has made are cancelled
 * too. The handler then does what has to be undone, with every function of this interface, and
 * returns. Computing code and closures are not interrupted.
 *
 * Services are of three kinds. A plain service has handlers and nothing else; any number of its
 * invocations run at a time. A virtual object has state under a key, and lets one exclusive handler
 * at a time run per key, the others queue up. A workflow has a main handler that runs once per key.
 *
 * ---- Ownership ---------------------------------------------------------------------------------
 *
 * Users free only endpoints and streams. There are three lifetimes, and comments use these words:
 *
 *   call        Borrowed while the call runs. All arguments, strings and arrays inside of structs
 *               included, unless the comment says otherwise.
 *   invocation  Until the handler has returned and the closures it started have finished, that is,
 *               for this attempt. All that a context function gives, and the input of the handler.
 *               Kept past it, for instance in a global variable, it is a dangling pointer.
 *   endpoint    Until restate_endpoint_free() has returned.
 *
 * Services and options are copied by restate_endpoint_new(), strings and lists included. Functions,
 * seals, hooks, the `type` of codecs, `user` pointers and what these point to are not: they have to
 * live as long as the endpoint.
 * What a handler acquires itself (files, malloc) it releases itself, also when a call returned
 * RESTATE_ENDED: no frame is ever jumped over. (One exception, see rule 2.)
 *
 * ---- Errors ------------------------------------------------------------------------------------
 *
 *   Status              Meaning                                 What a handler does
 *   RESTATE_OK          Done.                                   Goes on.
 *   RESTATE_TERMINAL    The operation failed, and will for      Deals with it, or returns it: then
 *                       ever: see restate_failed().             the invocation fails with it.
 *   RESTATE_TIMEOUT     restate_await_for() ran out (408).      The same.
 *   RESTATE_CANCELLED   This invocation was cancelled (409).    Undoes what it did, returns it.
 *   RESTATE_ENDED       This attempt is over: suspended, to be  Releases what it holds, returns it.
 *                       retried, disconnected, or misused.
 *   RESTATE_ERROR       Endpoints, streams: it did not work.    (Not seen in a handler.)
 *
 * A terminal failure is a result: it is stored, callers get it, nothing is retried. Make one with
 * restate_fail(). A retryable error is the end of an attempt: the server waits and tries again
 * (after 0.5 s, then twice as long each time, at most 60 s; after 70 attempts it pauses the
 * invocation for an operator). Make one with restate_retry(). Crashing, being killed and losing the
 * connection count as that too. Returning any other number from a handler also does: a wrong
 * `return -1` loses nothing.
 *
 * A retryable error inside of a closure ends the attempt of the whole handler, when other closures
 * that execute have finished (see restate_run_async()); the code behind restate_run() does not see
 * it. Bound the tries (restate_run_options.retry) to get RESTATE_TERMINAL there. Codes of the
 * library itself, shown to operators: 570 the code does not fit the journal, 571 the protocol was
 * violated (as by a message beyond max_message_bytes), 573 something needs a newer protocol, 500
 * misuse, lack of memory and the rest.
 *
 * ---- Threads -----------------------------------------------------------------------------------
 *
 * An endpoint has `threads` event loops, each a thread; the thread in restate_endpoint_run()
 * accepts connections, watches the loops and stops them. A handler runs on the thread of the loop
 * that has its connection, on a stack of its own, and gives the thread up wherever it waits; it
 * never changes thread. So it must not block otherwise: no sleep(), no slow system calls, no locks
 * that are held across a call on the context. A handler that holds its loop for longer than
 * `stall_warning_ms` is named in the log while it does, and new connections go to other loops.
 * Blocking work goes into closures, which execute on a pool of threads, or into a handler with
 * `.blocking = RESTATE_ON`, which has a thread of its own.
 *
 * Who may call what: a context, and futures made from it, only the handler or closure it was given
 * to; from another thread it is a data race (rule 4 says what is noticed). An endpoint, one thread
 * at a time. restate_endpoint_stop(), any thread and signal handlers. Loggers, clocks and
 * allocators are called from any thread of the endpoint. The library keeps no global state (but
 * what it needs for signals, if asked), raises no SIGPIPE and never exits the process that called
 * it. A "Threads:" line in a comment says what differs.
 *
 * Signals. The library installs no signal handlers (unless asked: `stop_on_signals`, `processes`,
 * `crash_report`), and none stays blocked. Its threads have the signal mask of the thread that
 * calls restate_serve() or restate_endpoint_run(), and so have programs that a handler or closure
 * starts. A signal handler of yours may therefore run on any thread and, unless it has SA_ONSTACK
 * and that thread a stack for it, on the stack of a handler. If that must not be, or if a thread of
 * yours waits for signals with sigwait(), block them before you serve. Handlers and closures that
 * change the mask put it back before they return or call the library.
 * With crash_report, SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT write one line to stderr: in which
 * handler, invocation and closure, at which address, and which option to raise if a stack
 * overflowed. Then what was installed before (by default the end, with a core dump) is put back and
 * gets the signal. A call of exit() in a handler or closure is named, too. Each thread that
 * executes these gets an alternate signal stack, unless it has one, and keeps it until it ends.
 *
 * ---- Stacks ------------------------------------------------------------------------------------
 *
 * A handler has stack_bytes of stack, a closure has closure_stack_bytes (with inline_ok it executes
 * on the stack of its handler). Functions that an event loop calls (loggers, allocators, verify)
 * have 256 KiB. Only what is used becomes memory. Below every stack lies 1 MiB of address space
 * (64 KiB on 32-bit systems) that nobody can touch: what needs more ends the process by SIGSEGV
 * instead of writing into what another invocation has there.
 * A function whose own variables take more than that could jump over it: compile your code with
 * -fstack-clash-protection (gcc, and clang on most processors), and it cannot. A limit of address
 * space (ulimit -v) has to leave room for max_invocations stacks with what lies below them; where
 * there is none the attempt is tried again.
 *
 * Where there is no mmap(), stacks come from the allocator and have no guard. An overflow is
 * noticed when the handler waits or returns, unless it jumped over the lowest 128 bytes and has
 * returned from there. Memory is broken then. The log says whose fault it was, the attempt ends
 * with an error 500, the stack is not used again; restart the process. (Stacks of
 * RESTATE_FIBER_CUSTOM are those of your RTOS, and are guarded as it guards them.)
 *
 * ---- Configuration macros ----------------------------------------------------------------------
 *
 * All are optional. Define them before the include, the same in every file.
 *
 *   RESTATE_IMPLEMENTATION       Emit the implementation too; in exactly one file.
 *   RESTATE_STATIC               Make all functions static; then every file that includes restate.h
 *                                needs RESTATE_IMPLEMENTATION.
 *   RESTATE_API                  Your own linkage of public functions (default: extern).
 *   RESTATE_ASSERT(x)            Checks of the library's own invariants (default: assert(x),
 *                                nothing under NDEBUG). Mistakes of users never get there.
 *   RESTATE_MALLOC(size), RESTATE_REALLOC(old, size), RESTATE_FREE(old)
 *                                Behind restate_allocator; all three or none (default: libc).
 *   RESTATE_WITH_OPENSSL         Request identity (identity_keys) with OpenSSL's Ed25519; link
 *                                -lcrypto.
 *   RESTATE_NO_SERVER            No sockets, no event loops, no nghttp2; what needs them is gone.
 *   RESTATE_NO_CJSON             No cJSON, and no restate_json_tree(), _own() and _print(); all
 *                                other JSON functions stay. Encoding and decoding with
 *                                RESTATE_JSON is misuse then.
 *   RESTATE_CLOCK_MS(wall)       The time, where it is not clock_gettime that tells it: a uint64_t
 *                                of milliseconds, since 1970 (UTC) if `wall` is true, else since
 *                                any fixed time, never going back. Default: clock_gettime; where
 *                                there is none restate_endpoint_options.clock has to be given.
 *   RESTATE_ATOMIC_LOAD(ptr), RESTATE_ATOMIC_STORE(ptr, value), RESTATE_ATOMIC_ADD(ptr, n),
 *   RESTATE_ATOMIC_OR(ptr, bits), RESTATE_ATOMIC_AND(ptr, bits),
 *   RESTATE_ATOMIC_EXCHANGE(ptr, value), RESTATE_ATOMIC_CAS(ptr, expected, value)
 *                                Atomic operations on bool, int, unsigned and pointers, each
 *                                sequentially consistent. EXCHANGE and ADD give what was there
 *                                before; CAS is true if it stored `value`, else it stores what is
 *                                there in `*expected`. Default: those of gcc and clang; with
 *                                RESTATE_NO_THREADS, on cores that have none, plain ones.
 *   RESTATE_NO_THREADS           No pthreads: one event loop, closures execute on it as if
 *                                inline_ok were set; threads > 1 and .blocking are wrong options.
 *   RESTATE_FIBER                How stacks are switched: RESTATE_FIBER_ASM (x86-64 and AArch64),
 *                                RESTATE_FIBER_UCONTEXT, RESTATE_FIBER_THREAD (a thread per
 *                                handler) or RESTATE_FIBER_CUSTOM (tasks of your RTOS, by six
 *                                functions that >>execution names). Default: the best there is.
 *   RESTATE_STACK_BYTES          Default stack of a handler (default: 65536).
 *   RESTATE_VALGRIND             Tell valgrind about stacks.
 *
 * ---- Firmware ----------------------------------------------------------------------------------
 *
 * Everything above >>server uses no sockets and, the default logger aside, no files.
 * RESTATE_NO_SERVER, RESTATE_NO_CJSON and RESTATE_NO_THREADS together leave C99 code that needs
 * nanopb, an allocator, a clock (RESTATE_CLOCK_MS, or the endpoint's .clock) and a way to switch
 * stacks (RESTATE_FIBER); `make firmware` compiles it for Cortex-M0, M3, M4 and M33.
 * restate_stream_open() attaches a transport of your own to it. The memory of an invocation comes
 * from the endpoint's allocator, in pieces of 4 KiB, and in larger ones for larger messages. Every
 * allocation may fail, which costs the attempt and nothing else. Set RESTATE_STACK_BYTES, or
 * stack_bytes per handler, to what the call depth needs. Bound max_invocations, max_message_bytes
 * and window_bytes.
 *
 * ---- Eight rules -------------------------------------------------------------------------------
 *
 * They hold for every function below, unless its comment says otherwise.
 *
 *  1. Zero is the default of every option field; NULL is the default of every options pointer.
 *  2. Statuses are those of the table above. RESTATE_ENDED is sticky: once an attempt is over,
 *     every later call on the context returns it at once and does nothing, so a forgotten check
 *     does no harm, and what the handler returns is ignored. A handler that goes on calling after
 *     RESTATE_ENDED is cut off after 100,000 calls: its stack is dropped as it stands, which leaks
 *     what it holds, and the log names it.
 *     A failure is not sticky: where nobody looks at RESTATE_TERMINAL, _TIMEOUT or _CANCELLED the
 *     handler goes on as if it had gone well, with absent bytes, 0 or "" for the value: it ships
 *     what was not paid, and a cancellation, told once, is lost. So gcc and clang warn if the
 *     status of a function that can return one of these is not looked at. RESTATE_TRY(call) hands
 *     it on, RESTATE_IGNORE(call) says that it is meant.
 *  3. A function that makes a future, bytes or a string returns it and never returns NULL. If it
 *     cannot, the attempt ends (rule 2), and what it returned is empty but safe to pass on, so
 *     calls can be nested without a check. A future of an attempt that is over gives RESTATE_ENDED.
 *  4. Misuse (a bad argument, a state write in a shared handler, a function that closures must not
 *     use) ends the attempt with an error 500 that names service, handler, function and remedy.
 *     Like any retryable error it is tried again, so a fixed program picks the work up. A handler's
 *     context in its closure, or on another thread, is noticed by functions that record, wait, end,
 *     draw random numbers or make a future; by others not.
 *  5. Lifetimes: arguments are `call`, what a context function gives is `invocation`. Only what
 *     restate_endpoint_new() and restate_stream_open() gave is released by its user.
 *  6. Bytes: `ptr == NULL` is absent, `len == 0` with a pointer is empty. An empty payload is
 *     present, whatever it came as: input, reply, result of a run, state value, awakeable, signal,
 *     promise. Absent is only what a comment calls so: there is no value. JSON has no empty
 *     document, so all that reads JSON (readers, trees, %-s, codecs whose content type is JSON)
 *     takes empty bytes for absent ones, and your default stays; other codecs decode them.
 *     Bytes that the library gives are followed by a zero byte that is not counted, unless they are
 *     called a slice or come from a seal or codec of yours.
 *     Out-parameters may be NULL; otherwise they are always written, on failure to absent bytes,
 *     "", NULL or zero. (The readers of JSON values differ: they keep the default you put there.)
 *  7. Lists (handlers, services, headers, metadata, keys) end with an all-zero element; NULL is an
 *     empty list. An element that has something, but no name, ends none: it is an error.
 *  8. Durations are uint64_t milliseconds, named `_ms`. As an argument, or as a delay, a number
 *     that is negative as int64_t (the time to a deadline that has passed) is zero. Strings are
 *     UTF-8 and end with a zero byte; others are misuse, or the server refuses them, and with them
 *     the attempt.
 *
 * A closure may end, look at the request, log, ask restate_stop_requested(), and use memory, JSON
 * and codecs (headings and comments say so); everything else on its context is misuse.
 *
 * In comments, "Journal:" names the command that a function records: issued on first execution; on
 * replay the call must be the recorded one (else error 570) and does nothing but give its recorded
 * result. Names, targets, keys, headers and payload bytes are compared. A function without that
 * line records nothing. "Await point" means that it may wait, may suspend (R8: it then returns
 * RESTATE_ENDED, and the handler starts again later), and is where a cancellation arrives
 * (RESTATE_CANCELLED, once). Whichever of a result and a cancellation comes first in the journal is
 * returned, and the other later. A function without it does not wait and is not affected by a
 * cancellation. "Returns:" gives each status with its cause; RESTATE_ENDED, that the attempt is
 * over, can come from every function with a context and is not repeated there. "Since:" names the
 * protocol that is needed, 5 if there is no such line. The server chooses the protocol when an
 * invocation begins (server 1.7: 6, or 7 with its experimental switch); what needs a newer one ends
 * the attempt with error 573. It refuses messages above 32 MiB (its message-size-limit), and with
 * them the attempt: keep larger payloads elsewhere. */

/* The implementation calls POSIX functions that strict C modes (-std=c99) hide otherwise. */
#if defined(RESTATE_IMPLEMENTATION)
#  ifndef _DEFAULT_SOURCE
#    define _DEFAULT_SOURCE 1
#  endif
#  ifndef _POSIX_C_SOURCE
#    define _POSIX_C_SOURCE 200809L
#  endif
#endif

#ifndef RESTATE_H
#define RESTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#  define RESTATE__PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#  define RESTATE__UNUSED __attribute__((unused))
#  define RESTATE__CHECKED __attribute__((warn_unused_result))
#else
#  define RESTATE__PRINTF(fmt, args)
#  define RESTATE__UNUSED
#  define RESTATE__CHECKED
#endif

#ifndef RESTATE_API
#  ifdef RESTATE_STATIC
#    define RESTATE_API RESTATE__UNUSED static
#  else
#    define RESTATE_API extern
#  endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct pb_msgdesc_s;
struct cJSON;

/* ================================================================================================
// >>api-base  version, bytes, statuses, failures, allocator, clock, log
// What everything else is expressed in.
================================================================================================ */

#define RESTATE_VERSION 0x000100u           /* 0.1.0: major << 16 | minor << 8 | patch */

/* The RESTATE_VERSION that the implementation was compiled with.
 *
 * Differs from the macro if restate.h came as a compiled library and the header is another one.
 * Threads:   any. */
RESTATE_API uint32_t restate_version(void);

typedef struct restate_ctx restate_ctx;             /* one attempt of an invocation, or a closure */
typedef struct restate_future restate_future;       /* a result that may come later; invocation */
typedef struct restate_selector restate_selector;   /* futures as they settle; invocation */
typedef struct restate_endpoint restate_endpoint;   /* the services that a process offers */
typedef struct restate_stream restate_stream;       /* one exchange with an endpoint */
typedef struct restate_client restate_client;       /* connections to a server, or a test */

/* A view on bytes that somebody else owns. (restate_wire.h has the same, to stand alone.) */
#ifndef RESTATE_BYTES_DEFINED
#define RESTATE_BYTES_DEFINED
typedef struct restate_bytes {
    const uint8_t *ptr;                     /* NULL: absent */
    size_t len;
} restate_bytes;
#endif

/* The bytes of a C string, without its zero; NULL gives absent bytes.
 *
 * Lifetime:  that of `text`, nothing is copied.
 * Threads:   any. */
RESTATE_API restate_bytes restate_str(const char *text);

/* And back: the two arguments that %.*s takes, for bytes of any kind, slices included:
 *     restate_fail(ctx, 400, "no seat %.*s", RESTATE_ARG(seat))
 *     restate_json(ctx, "{'paid': %-.*s}", RESTATE_ARG(paid))
 * Evaluates `b` twice. For absent bytes printf prints nothing, restate_json() null. */
#define RESTATE_ARG(b) (int)(b).len, (const char *)(b).ptr

typedef enum restate_status {
    RESTATE_OK = 0,
    RESTATE_TERMINAL,       /* it failed for good, see restate_failed(): handle it, or return it */
    RESTATE_TIMEOUT,        /* a terminal failure (408) of restate_await_for(), never of a callee */
    RESTATE_CANCELLED,      /* this invocation was cancelled (terminal, 409): undo, and return it;
                               never a callee's 409, so look at the status and not at codes */
    RESTATE_ENDED,          /* the attempt is over: release what you hold, and return it */
    RESTATE_ERROR           /* outside of handlers: it did not work, see restate_endpoint_error() */
} restate_status;

/* Leaves the calling function with the status of `call` unless that is RESTATE_OK. */
#define RESTATE_TRY(call) \
    do { \
        restate_status restate__s = (call); \
        if (restate__s != RESTATE_OK) return restate__s; \
    } while (0)

/* Says that the status of `call` is not looked at on purpose (rule 2); in gcc a cast to void does
 * not. */
#define RESTATE_IGNORE(call) \
    do { \
        restate_status restate__ignored = (call); \
        (void)restate__ignored; \
    } while (0)

#define RESTATE_SECONDS(n) ((uint64_t)(n) * 1000u)
#define RESTATE_MINUTES(n) ((uint64_t)(n) * 60000u)
#define RESTATE_HOURS(n)   ((uint64_t)(n) * 3600000u)
#define RESTATE_DAYS(n)    ((uint64_t)(n) * 86400000u)
#define RESTATE_ZERO_MS    UINT64_MAX       /* in an option: zero milliseconds; 0 means "not set" */

/* A yes or no that is inherited where it is not set. */
typedef enum restate_switch { RESTATE_DEFAULT = 0, RESTATE_ON, RESTATE_OFF } restate_switch;

/* A header, or an entry of metadata. Lists of them end with {0}; their order counts on replay. */
typedef struct restate_pair {
    const char *name;
    const char *value;
} restate_pair;

/* A terminal failure: what a call, a run or an invocation failed with for good. */
typedef struct restate_failure {
    uint16_t code;                          /* as in HTTP; 0, and 100 to 399, which mean no failure
                                               there: 500, and the log names the other one. The
                                               ingress answers with it as status; with 500 to what
                                               is none (1 to 99, 1,000 and more: numbers of yours),
                                               and the code is in the body */
    const char *message;                    /* NULL: "" */
    const restate_pair *metadata;           /* ends with {0}; no name twice (misuse); NULL: none;
                                               sent since protocol 6; a callee's arrives sorted by
                                               name */
} restate_failure;

/* Where the memory of an endpoint comes from; cJSON's trees, threads, tables of nghttp2 and, where
 * the system can map memory, the stacks of handlers do not. Give all three functions or none; none:
 * RESTATE_MALLOC and its family. Sizes are those that were asked for; memory has to be aligned as
 * malloc's is. A function may return NULL: the attempt or the call then fails, nothing crashes.
 * The endpoint keeps some memory for reuse. Two seconds after much work event loops free that, and
 * call glibc's malloc_trim(), which works on the whole process (not with an allocator or a
 * RESTATE_MALLOC of yours).
 * Threads:   called from any thread of the endpoint. */
typedef struct restate_allocator {
    void *(*alloc)(void *user, size_t size);
    void *(*realloc)(void *user, void *old, size_t old_size, size_t size);
    void (*free)(void *user, void *old, size_t size);
    void *user;
} restate_allocator;

/* Where the time of an endpoint comes from. Give both functions or none; none: RESTATE_CLOCK_MS,
 * or else that of the system.
 *
 * All of the library's time is this: restate_now(), when sleeps, timeouts and delayed calls are
 * due, how long closures and handlers take, drains and other deadlines, the age of signed requests,
 * and the time in the log. (The Restate server waits for what is due by a clock of its own.) Event
 * loops that wait for such a time wait in real time, as long as this clock says at the beginning;
 * for a clock that was given here they look at it again every 20 ms. So one that stands still is
 * fine, but then no peer is too slow, a drain ends by a second restate_endpoint_stop() only, and
 * restate_serve() replaces no worker that died.
 * Threads:   called from any thread of the endpoint, often; they must not call the library. */
typedef struct restate_clock {
    uint64_t (*wall_ms)(void *user);        /* since 1970 (UTC) */
    uint64_t (*monotonic_ms)(void *user);   /* since any fixed time; never goes back */
    void *user;
} restate_clock;

typedef enum restate_log_level {
    RESTATE_LOG_DEFAULT = 0,                /* INFO */
    RESTATE_LOG_TRACE,
    RESTATE_LOG_DEBUG,
    RESTATE_LOG_INFO,
    RESTATE_LOG_WARN,
    RESTATE_LOG_ERROR,
    RESTATE_LOG_OFF
} restate_log_level;

/* What a logger gets. Lifetime: call. */
typedef struct restate_log_record {
    restate_log_level level;
    bool of_library;                        /* the library says it; false: restate_log() */
    const char *message;                    /* one line without its end, at most 1,023 bytes; what
                                               is not UTF-8 or steers terminals became '?' */
    const char *service, *handler, *invocation_id;  /* NULL outside of an invocation */
    bool replaying;                         /* the handler has said this before */
    uint64_t time_ms;                       /* since 1970 (UTC), by the endpoint's clock */
} restate_log_record;

/* What a peer can cause at will (refused requests, failed attempts, connections that are ended) is
 * said 50 to 200 times in 10 s, by kind; a line tells how often it was left out.
 * Threads: `write` is called from any thread of the endpoint, by several at a time. */
typedef struct restate_logger {
    void (*write)(void *user, const restate_log_record *record);    /* NULL: to standard error, a
                                                                       line with time and level */
    void *user;
    restate_log_level level;                /* what is below is dropped; INFO */
    bool with_replay;                       /* pass on also what handlers log while they replay */
} restate_logger;

/* ================================================================================================
// >>api-service  payload types, options, handlers, services
// How a program describes the services it offers.
================================================================================================ */

/* What kind of payload a restate_codec stands for. */
typedef enum restate_codec_kind {
    RESTATE_CODEC_CONTENT = 0,              /* what `content_type` says */
    RESTATE_CODEC_JSON,
    RESTATE_CODEC_BYTES,
    RESTATE_CODEC_VOID
} restate_codec_kind;

/* How a C value becomes bytes, and what the server is told of the payloads of a handler.
 *
 * Handlers get and give plain bytes; a codec is for restate_encode() and restate_decode(), and for
 * restate_input() and restate_reply_value(), which use that of the handler. The
 * server's ingress lets in only requests whose content type fits; it does not look into the
 * payload, and calls from handlers have no content type: they come in with whatever they carry,
 * also with nothing. Replies get the content type of the output; without bytes, too, unless it is
 * JSON.
 *
 *     static const restate_codec csv = { .content_type = "text/csv",
 *                                        .encode = csv_encode, .decode = csv_decode };
 *
 * The three below are objects of each file that includes this one, and the library goes by `kind`,
 * never by their address: so they are constant initialisers under every linkage, and in C++.
 *
 *   RESTATE_JSON    values are cJSON: const cJSON * to encode, cJSON ** to decode
 *   RESTATE_BYTES   values are restate_bytes
 *   RESTATE_VOID    no value
 *
 * Lifetime:  endpoint where a handler or restate_options name it (it is copied, see Ownership),
 *            else call. */
typedef struct restate_codec restate_codec;
struct restate_codec {
    const char *content_type;               /* NULL: application/octet-stream; parameters (as in
                                               "text/csv; charset=utf-8") are for replies: requests
                                               are let in with any */
    const char *json_schema;                /* for documents, checked by nobody; NULL: none */
    bool optional;                          /* input: no body and no content type is let in too */
    restate_codec_kind kind;
    /* For CONTENT. Both return RESTATE_OK or restate_fail(), of which the message counts, not the
     * code; they may use restate_alloc() and nothing that is journaled. `*value` and `*out` are
     * invocation. On the thread of whoever encodes or decodes. */
    restate_status (*encode)(const restate_codec *self, restate_ctx *ctx, const void *value,
                             restate_bytes *out);
    restate_status (*decode)(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                             void *value);
    const void *type;                       /* the codec's own: a message descriptor, a key, ... */
    bool unstable;                          /* equal values may give different bytes: replay does
                                               not compare what restate_encode() gave and is handed
                                               on whole; parts and copies of it need
                                               skip_payload_check */
};

RESTATE__UNUSED static const restate_codec restate_codec_json =
    { "application/json", NULL, false, RESTATE_CODEC_JSON, NULL, NULL, NULL, false };
RESTATE__UNUSED static const restate_codec restate_codec_bytes =
    { "application/octet-stream", NULL, true, RESTATE_CODEC_BYTES, NULL, NULL, NULL, false };
RESTATE__UNUSED static const restate_codec restate_codec_void =
    { NULL, NULL, true, RESTATE_CODEC_VOID, NULL, NULL, NULL, false };

#define RESTATE_JSON  (&restate_codec_json)     /* application/json, required */
#define RESTATE_BYTES (&restate_codec_bytes)    /* input: anything goes; output: octet-stream */
#define RESTATE_VOID  (&restate_codec_void)     /* no body at all, neither let in nor sent: the
                                                   ingress refuses one (400); of a call from a
                                                   handler, and of a reply, it is dropped, and the
                                                   log says so */

/* The type of a payload that is a nanopb message; its values are Type structs. At file scope:
 *     static const restate_codec order_codec = RESTATE_PROTO(Order);
 *
 * _PROTO is protobuf's binary form, _PROTOJSON its JSON mapping. What JSON needs is in the .options
 * file: max_size or max_count for every string, bytes and repeated field, and, where there are
 * enums, the line `* enum_to_string:true`. A field that cannot be done does not compile, and the
 * error names it; a message inside of itself does not either, others nest 32 levels deep. Oneofs
 * and maps are done, and of google.protobuf Timestamp, Duration, FieldMask and the wrappers. Its
 * Any, Struct, Value and ListValue, and a mask with a path such as a_1 or aB, have no JSON here.
 * Unknown members of JSON are a failure, unknown fields of the binary form are skipped. Decoding
 * overwrites the struct, on failure with nothing of use; pb_callback_t members (binary only) are
 * left alone and called as nanopb calls them.
 *
 * A message is the same in both forms. What a struct, or the other form, could not hold is a
 * failure that names the field, when it is decoded and when it is encoded: a string that has a zero
 * byte in it or is not UTF-8, a time or an enum out of its range, more bytes or elements than there
 * is room for, a required field that is missing.
 *
 * nanopb does not tell, so JSON does not have: `json_name` (a name in JSON is made of the field's
 * name), and a value of an enum that is named "unknown" (it is a number).
 *
 * Enums are written by name. A name that is read is found by trying values: all of them if they are
 * less than 1,048,576 apart, else those near zero, the least and the most one, and round numbers.
 * An enum that has others lists its values before the codec (all of them: no other is tried then);
 * a name that is not found is a failure that says so, and the number can be given instead.
 *     #define Area_VALUES RESTATE_PROTO_ENUM_VALUES(Area_NONE, Area_NORTH, Area_SOUTH) */
#define RESTATE_PROTO(Type) \
    { "application/proto", NULL, false, RESTATE_CODEC_CONTENT, restate__proto_encode, \
      restate__proto_decode, RESTATE__PROTO_EVAL(RESTATE__PROTO_TYPE(Type, BINARY)), false }
#define RESTATE_PROTOJSON(Type) \
    { "application/json", NULL, false, RESTATE_CODEC_CONTENT, restate__protojson_encode, \
      restate__protojson_decode, RESTATE__PROTO_EVAL(RESTATE__PROTO_TYPE(Type, JSON)), false }
#define RESTATE_PROTO_ENUM_VALUES(...) \
    0, RESTATE__PROTO_OPEN(int64_t) __VA_ARGS__, INT64_MIN RESTATE__PROTO_CLOSE

/* What nanopb's descriptors leave out. It is read from the macros of the .pb.h file. */
typedef enum restate__proto_kind {
    RESTATE__PROTO_KIND_BOOL,
    RESTATE__PROTO_KIND_INT32,
    RESTATE__PROTO_KIND_SINT32 = RESTATE__PROTO_KIND_INT32,
    RESTATE__PROTO_KIND_SFIXED32 = RESTATE__PROTO_KIND_INT32,
    RESTATE__PROTO_KIND_INT64,
    RESTATE__PROTO_KIND_SINT64 = RESTATE__PROTO_KIND_INT64,
    RESTATE__PROTO_KIND_SFIXED64 = RESTATE__PROTO_KIND_INT64,
    RESTATE__PROTO_KIND_UINT32,
    RESTATE__PROTO_KIND_FIXED32 = RESTATE__PROTO_KIND_UINT32,
    RESTATE__PROTO_KIND_UINT64,
    RESTATE__PROTO_KIND_FIXED64 = RESTATE__PROTO_KIND_UINT64,
    RESTATE__PROTO_KIND_ENUM,
    RESTATE__PROTO_KIND_UENUM = RESTATE__PROTO_KIND_ENUM,
    RESTATE__PROTO_KIND_FLOAT,
    RESTATE__PROTO_KIND_DOUBLE = RESTATE__PROTO_KIND_FLOAT,
    RESTATE__PROTO_KIND_STRING,
    RESTATE__PROTO_KIND_BYTES,
    RESTATE__PROTO_KIND_FIXED_LENGTH_BYTES,
    RESTATE__PROTO_KIND_MESSAGE,
    RESTATE__PROTO_KIND_MSG_W_CB = RESTATE__PROTO_KIND_MESSAGE,
    RESTATE__PROTO_KIND_EXTENSION
} restate__proto_kind;
typedef struct restate__proto_field {
    const char *name;                       /* as in the .proto file; NULL: the end */
    uint8_t kind;
    const struct restate__proto_type *type; /* of messages, and of enums in JSON */
} restate__proto_field;
typedef struct restate__proto_type {
    const char *name;                       /* of the C type */
    const struct pb_msgdesc_s *message;     /* NULL: an enum */
    const restate__proto_field *fields;     /* of a message, in the descriptor's order */
    void (*value_name)(void);               /* of an enum: what enum_to_string makes */
    size_t size;                            /* of an enum; 0: value_name takes int32_t */
    int32_t least, most;                    /* values of an enum */
    const int64_t *values;                  /* of an enum; ends with INT64_MIN; NULL: not listed */
} restate__proto_type;

/* Tables inside of an initialiser. */
#ifdef __cplusplus
#  define RESTATE__PROTO_OPEN(type) ([]() -> const type * { static const type table[] = {
#  define RESTATE__PROTO_CLOSE      }; return table; }())
#  define RESTATE__PROTO_NAMER(E) \
    (void (*)(void))(const char *(*)(int32_t))[](int32_t n) { return E##_name((E)n); }, 0
#else
#  define RESTATE__PROTO_OPEN(type) ((const type[]){
#  define RESTATE__PROTO_CLOSE      })
#  define RESTATE__PROTO_NAMER(E)   (void (*)(void))E##_name, sizeof(E)
#endif

/* No macro expands itself: a message inside of a message leaves _AGAIN behind, and each of the
 * scans that _EVAL makes goes one level deeper. What is too deep does not compile. */
#define RESTATE__PROTO_EVAL(...)   RESTATE__PROTO_EVAL_1(RESTATE__PROTO_EVAL_1(__VA_ARGS__))
#define RESTATE__PROTO_EVAL_1(...) RESTATE__PROTO_EVAL_2(RESTATE__PROTO_EVAL_2(__VA_ARGS__))
#define RESTATE__PROTO_EVAL_2(...) RESTATE__PROTO_EVAL_3(RESTATE__PROTO_EVAL_3(__VA_ARGS__))
#define RESTATE__PROTO_EVAL_3(...) RESTATE__PROTO_EVAL_4(RESTATE__PROTO_EVAL_4(__VA_ARGS__))
#define RESTATE__PROTO_EVAL_4(...) __VA_ARGS__
#define RESTATE__PROTO_AGAIN()     RESTATE__PROTO_TYPE
#define RESTATE__PROTO_NOTHING

#define RESTATE__PROTO_TYPE(T, form) RESTATE__PROTO_TYPE_1(T, form)
#define RESTATE__PROTO_TYPE_1(T, form) \
    RESTATE__PROTO_OPEN(restate__proto_type) \
        { #T, &T##_msg, RESTATE__PROTO_OPEN(restate__proto_field) \
          T##_FIELDLIST(RESTATE__PROTO_##form, T) { NULL, 0, NULL } \
          RESTATE__PROTO_CLOSE, NULL, 0, 0, 0, NULL } \
    RESTATE__PROTO_CLOSE

/* The X of FIELDLIST. A oneof's name is (oneof, member, path), for macros it is oneof_member. */
#define RESTATE__PROTO_JSON(T, atype, htype, ltype, name, tag) \
    RESTATE__PROTO_JSON_##atype(T, RESTATE__PROTO_ID_##htype(name), JSON, \
                                RESTATE__PROTO_KIND_##ltype, RESTATE__PROTO_MORE_##ltype)
#define RESTATE__PROTO_BINARY(T, atype, htype, ltype, name, tag) \
    RESTATE__PROTO_BINARY_##atype(T, RESTATE__PROTO_ID_##htype(name), BINARY, \
                                  RESTATE__PROTO_KIND_##ltype, RESTATE__PROTO_MORE_##ltype)
#define RESTATE__PROTO_ID_REQUIRED(name) name, name
#define RESTATE__PROTO_ID_OPTIONAL(name) name, name
#define RESTATE__PROTO_ID_SINGULAR(name) name, name
#define RESTATE__PROTO_ID_REPEATED(name) name, name
#define RESTATE__PROTO_ID_FIXARRAY(name) name, name
#define RESTATE__PROTO_ID_ONEOF(names)   RESTATE__PROTO_ID_MEMBER names
#define RESTATE__PROTO_ID_MEMBER(oneof, member, path) oneof##_##member, member

#define RESTATE__PROTO_JSON_STATIC(...)     RESTATE__PROTO_ENTRY(__VA_ARGS__)
#define RESTATE__PROTO_JSON_POINTER(...)    RESTATE__PROTO_POINTER(__VA_ARGS__)
#define RESTATE__PROTO_JSON_CALLBACK(...)   RESTATE__PROTO_CALLBACK(__VA_ARGS__)
#define RESTATE__PROTO_BINARY_STATIC(...)   RESTATE__PROTO_ENTRY(__VA_ARGS__)
#define RESTATE__PROTO_BINARY_POINTER(...)  RESTATE__PROTO_POINTER(__VA_ARGS__)
#define RESTATE__PROTO_BINARY_CALLBACK(...) RESTATE__PROTO_OPAQUE(__VA_ARGS__)
#define RESTATE__PROTO_ENTRY(T, id, member, form, kind, ...) \
    { #member, kind, RESTATE__PROTO_PICK(__VA_ARGS__, RESTATE__PROTO_LEAF, 0)(T##_##id, form) },
#define RESTATE__PROTO_OPAQUE(T, id, member, form, kind, ...) { #member, kind, NULL },
#define RESTATE__PROTO_CALLBACK(T, id, member, form, kind, ...) \
    { RESTATE_PROTOJSON_needs_max_size_or_max_count_for_##T##_##id, 0, NULL },
#define RESTATE__PROTO_POINTER(T, id, member, form, kind, ...) \
    { RESTATE_PROTO_does_not_do_pointers_such_as_##T##_##id, 0, NULL },

/* The second argument: only a name of _MORE_ that is a macro brings one before _LEAF. */
#define RESTATE__PROTO_PICK(...)           RESTATE__PROTO_PICK_1(__VA_ARGS__)
#define RESTATE__PROTO_PICK_1(a, b, ...)   b
#define RESTATE__PROTO_MORE_MESSAGE        0, RESTATE__PROTO_MESSAGE
#define RESTATE__PROTO_MORE_MSG_W_CB       0, RESTATE__PROTO_MESSAGE
#define RESTATE__PROTO_MORE_ENUM           0, RESTATE__PROTO_ENUM
#define RESTATE__PROTO_MORE_UENUM          0, RESTATE__PROTO_ENUM
#define RESTATE__PROTO_LEAF(id, form)      NULL
#define RESTATE__PROTO_MESSAGE(id, form)   \
    RESTATE__PROTO_AGAIN RESTATE__PROTO_NOTHING () (id##_MSGTYPE, form)
#define RESTATE__PROTO_ENUM(id, form)      RESTATE__PROTO_ENUM_##form(id##_ENUMTYPE)
#define RESTATE__PROTO_ENUM_BINARY(E)      NULL
#define RESTATE__PROTO_ENUM_JSON(E)        RESTATE__PROTO_ENUM_1(E)
#define RESTATE__PROTO_ENUM_1(E) \
    RESTATE__PROTO_OPEN(restate__proto_type) \
        { #E, NULL, NULL, RESTATE__PROTO_NAMER(E), _##E##_MIN, _##E##_MAX, \
          RESTATE__PROTO_SECOND(E##_VALUES, NULL, 0) } \
    RESTATE__PROTO_CLOSE
#define RESTATE__PROTO_SECOND(...)         RESTATE__PROTO_SECOND_1(__VA_ARGS__)
#define RESTATE__PROTO_SECOND_1(a, b, ...) b

RESTATE_API restate_status restate__proto_encode(const restate_codec *codec, restate_ctx *ctx,
                                                 const void *value, restate_bytes *out);
RESTATE_API restate_status restate__proto_decode(const restate_codec *codec, restate_ctx *ctx,
                                                 restate_bytes in, void *value);
RESTATE_API restate_status restate__protojson_encode(const restate_codec *codec, restate_ctx *ctx,
                                                     const void *value, restate_bytes *out);
RESTATE_API restate_status restate__protojson_decode(const restate_codec *codec, restate_ctx *ctx,
                                                     restate_bytes in, void *value);

/* What happens when the last try has failed. */
typedef enum restate_exhausted {
    RESTATE_EXHAUSTED_DEFAULT = 0,          /* runs: FAIL; invocations: what the server says */
    RESTATE_EXHAUSTED_FAIL,                 /* runs: RESTATE_TERMINAL; invocations: killed */
    RESTATE_EXHAUSTED_PAUSE                 /* wait for an operator; for runs since protocol 7 */
} restate_exhausted;

/* How often, and how fast, something is tried again.
 *
 * The wait after try n is min(max_interval, initial_interval * factor^(n-1)). All zero: the
 * server's policy (500 ms, x 2, at most 60 s, 70 attempts, then pause). As soon as one field is set
 * the others have the defaults noted here (those of the SDKs for Python, Ruby and TypeScript).
 * The server counts the tries of a run from the last new command of its invocation on. One that is
 * recorded in between, an operator who resumes it, and a restart of the server begin the count and
 * max_duration_ms again. A try takes the time that its closure executes, not the time that it waits
 * for a thread of the pool; but what passed before a later try is the server's to say, who counts
 * from when it stored the run. */
typedef struct restate_retry_policy {
    uint64_t initial_interval_ms;           /* 50 */
    double factor;                          /* 2; at least 1 */
    uint64_t max_interval_ms;               /* 10,000 */
    uint32_t max_attempts;                  /* the first try counts; runs: no limit, invocations:
                                               what the server says */
    uint64_t max_duration_ms;               /* runs only: tries and the time between them; no
                                               limit */
    restate_exhausted when_exhausted;
} restate_retry_policy;

/* What the server is to do after a mismatch: the code no longer fits the journal, error 570. Rule
 * (R9) of >>journal has what counts as one and what its text holds. */
typedef enum restate_mismatch {
    RESTATE_MISMATCH_DEFAULT = 0,           /* RETRY */
    RESTATE_MISMATCH_RETRY,                 /* try again, as after any error */
    RESTATE_MISMATCH_PAUSE,                 /* wait for an operator; before protocol 7 as RETRY */
    RESTATE_MISMATCH_FAIL                   /* fail the invocation; before protocol 7 as RETRY */
} restate_mismatch;

/* Whom to call. By value, so literals read well: (restate_target){ .service = "Greeter", ... } */
typedef struct restate_target {
    const char *service;
    const char *handler;
    const char *key;                        /* of an object or workflow; NULL: a plain service */
    const char *scope;                      /* NULL: none; "" is misuse; since protocol 7 */
} restate_target;

/* A transformation of all payload bytes below the codecs, such as encryption or compression:
 * inputs, outputs, state values, results of runs, calls, promises, awakeables and signals. Not of
 * names, keys, headers and failures.
 *
 * Give both functions or none. Absent bytes are sealed as empty ones; an empty payload that comes
 * in was not sealed, and is not opened. Callers that do not seal, at the ingress for instance, are
 * not understood.
 * Lifetime:  endpoint; `*sealed` and `*plain` come from restate_alloc(). The library puts no zero
 *            byte behind `*plain`.
 * Threads:   that of the handler, or of the closure.
 * Returns:   (both) RESTATE_OK; restate_fail(). What cannot be sealed ends the attempt with a
 *            retryable error; what cannot be opened is RESTATE_TERMINAL (500) for the call that
 *            gives the value. An input that cannot be opened fails the invocation with 400, and the
 *            handler is not called. */
typedef struct restate_seal {
    restate_status (*seal)(void *user, restate_ctx *ctx, restate_bytes plain,
                           restate_bytes *sealed);
    restate_status (*open)(void *user, restate_ctx *ctx, restate_bytes sealed,
                           restate_bytes *plain);
    void *user;
    bool unstable;                          /* sealing twice gives different bytes (a nonce) */
} restate_seal;

/* What to call around handlers, closures and outgoing calls, for tracing and metrics.
 *
 * Members may be NULL. On replay none is called but `begin` and `end`, which surround every
 * attempt (but there is no `end` for a handler that was cut off by rule 2). They must not use
 * anything that is journaled. restate_now() counts as a run. The headers of `outbound` come behind
 * those of the call; where there is an `outbound`, replay compares no headers of calls. It must not
 * block: it holds the handler's event loop, that of a blocking handler, too.
 * Lifetime:  endpoint. What `outbound` returns is read before the next call of it. */
typedef struct restate_hooks {
    void (*begin)(void *user, restate_ctx *ctx);
    void (*end)(void *user, restate_ctx *ctx, restate_status status);   /* what it returned;
                                                                           RESTATE_ENDED: suspended,
                                                                           or to be retried */
    void (*run_begin)(void *user, restate_ctx *run, const char *name);  /* the closure's thread */
    void (*run_end)(void *user, restate_ctx *run, const char *name, restate_status status);
    const restate_pair *(*outbound)(void *user, restate_ctx *ctx,
                                    const restate_target *to);          /* headers to add */
    void *user;
} restate_hooks;

/* Options that exist at three levels: a field that is set at the handler wins over the service's,
 * and that over the one in restate_endpoint_options.defaults. What a comment calls the server's is
 * told to the server, and may be configured there as well. */
typedef struct restate_options {
    void *user;                             /* yours: restate_request()->user; NULL */
    uint64_t inactivity_timeout_ms;         /* silence before an attempt suspends; server: 60 s;
                                               RESTATE_ZERO_MS: suspend at every wait */
    uint64_t abort_timeout_ms;              /* then, until it is cut off; server: 600 s; longer than
                                               the longest closure takes: there is no heartbeat */
    uint64_t journal_retention_ms;          /* of finished invocations; server: 24 h */
    uint64_t idempotency_retention_ms;      /* server: 24 h; not for main handlers of workflows */
    uint64_t workflow_retention_ms;         /* server: 24 h; only for those */
    restate_switch lazy_state;              /* OFF; ON: state is fetched by key, not sent along */
    restate_switch ingress_private;         /* OFF; ON: only other handlers may call */
    restate_retry_policy retry;             /* of whole invocations; the server's */
    restate_retry_policy run_retry;         /* of closures that give none themselves */
    restate_mismatch on_mismatch;           /* RETRY */
    restate_switch skip_payload_check;      /* OFF; ON: replay does not compare payload bytes, but
                                               those of signals */
    restate_switch explicit_cancellation;   /* OFF; ON: see restate_cancellation() */
    restate_switch cancel_sends;            /* OFF; ON: a cancellation also reaches one-way calls */
    restate_switch detect_deadlocks;        /* OFF; ON: a call that waits for itself fails: see
                                               "Calls" */
    restate_switch blocking;                /* OFF; ON: a thread of its own, that may block */
    size_t stack_bytes;                     /* RESTATE_STACK_BYTES, if blocking the endpoint's
                                               closure_stack_bytes; at least 4,096; what needs more
                                               ends the process by SIGSEGV (see Stacks) */
    uint64_t stall_warning_ms;              /* 1,000: a handler that holds its loop for longer is
                                               named in the log, while it does with
                                               restate_endpoint_run(), afterwards where your own
                                               thread is the loop; RESTATE_ZERO_MS: none is */
    const restate_seal *seal;               /* none */
    const restate_hooks *hooks;             /* none; those of all three levels are called, the
                                               endpoint's first */
    /* Turns a retryable error of a handler or closure into a terminal one: fill `out`, return
     * true. Gets `user` above. It is asked for restate_retry() and for a returned number that is
     * no status; not for misuse, lack of memory and what the library finds wrong. Lifetime:
     * `message` is call, and so is what `out` refers to. Threads: that of the handler, or of the
     * closure. */
    bool (*map_error)(void *user, uint16_t code, const char *message, restate_failure *out);
    const restate_codec *codec;             /* where none is named: for input and output of
                                               handlers, and for restate_encode() and
                                               restate_decode() with NULL; RESTATE_JSON */
    const char *const *preload_keys;        /* objects and workflows: fetch state by key, as by
                                               lazy_state, but send the values of these along; ends
                                               with NULL, and an empty list sends none. A handler
                                               without a list has that of its service. Manifest 5,
                                               which server 1.7 does not know yet; none */
} restate_options;

/* A handler: reads `input`, uses `ctx`, replies, returns.
 *
 * `input` is the payload of the request, the same in every attempt; empty if there was none, absent
 * if `.input` is RESTATE_VOID.
 * Lifetime:  `input` is invocation, and so is `ctx`.
 * Returns:   RESTATE_OK: the invocation completes with what restate_reply() got, or an empty value.
 *            RESTATE_TERMINAL, RESTATE_TIMEOUT, RESTATE_CANCELLED: it fails with restate_failed()
 *            (with 500 if nothing failed).
 *            RESTATE_ENDED: nothing more is sent; whatever ended the attempt decides. Misuse if
 *            nothing did.
 *            Anything else: a retryable error that names the number. */
typedef restate_status restate_handler_fn(restate_ctx *ctx, restate_bytes input);

typedef struct restate_handler {
    const char *name;                       /* letters, digits, _; no digit first; only in the
                                               element that ends the list NULL */
    restate_handler_fn *fn;
    bool shared;                            /* objects: runs beside the exclusive one, only reads;
                                               workflows: every handler but the main one */
    const restate_codec *input, *output;    /* what the server is told of them; NULL: the nearest
                                               restate_options.codec, so RESTATE_JSON */
    const char *accept;                     /* content type let in, if not that of `input`; a star
                                               may stand for what is behind the slash, or for both
                                               parts; not with RESTATE_VOID */
    const char *documentation;              /* NULL: none */
    const restate_pair *metadata;           /* shown by the server; NULL: none */
    restate_options options;
} restate_handler;

typedef enum restate_kind {
    RESTATE_SERVICE = 0,                    /* no key, no state */
    RESTATE_OBJECT,                         /* state per key; one handler at a time per key, but
                                               for the shared ones */
    RESTATE_WORKFLOW                        /* state per key; its main (unshared) handler runs once
                                               per key: calling it again is a failure (409) */
} restate_kind;

typedef struct restate_service {
    const char *name;                       /* letters, digits, _ . and -, a letter (or _ and a
                                               letter or digit) first; not restate... or openapi */
    restate_kind kind;
    const restate_handler *handlers;        /* ends with {0} */
    const char *documentation;              /* NULL: none */
    const restate_pair *metadata;           /* shown by the server; NULL: none */
    restate_options options;
} restate_service;

/* The first two fields of a handler whose name is that of its function; others may follow:
 *     .handlers = RESTATE_HANDLERS({ RESTATE_HANDLER(add) },
 *                                  { RESTATE_HANDLER(get), .shared = true })
 * (so there is no such macro for shared ones). C, and C++20. */
#define RESTATE_HANDLER(function) .name = #function, .fn = function

/* The lists of rule 7, end included, as compound literals. At file scope they last as long as the
 * program, in a function until its block ends:
 *     .handlers = RESTATE_HANDLERS({ .name = "add", .fn = add },
 *                                  { .name = "get", .fn = get, .shared = true })
 * C only; in C++ write an array and end it with {}, or nullptr for services. */
#ifndef __cplusplus
#define RESTATE_HANDLERS(...) ((const restate_handler[]){ __VA_ARGS__, {0} })
#define RESTATE_SERVICES(...) ((const restate_service *const[]){ __VA_ARGS__, NULL })
#define RESTATE_PAIRS(...)    ((const restate_pair[]){ __VA_ARGS__, {0} })
#define RESTATE_KEYS(...)     ((const char *const[]){ __VA_ARGS__, NULL })
#endif

/* ================================================================================================
// >>api-context  ending, request, memory, JSON, runs, time, state, calls, awakeables, futures
// What a handler and a closure may do.
================================================================================================ */

/* ---- How a handler or a closure ends (both) -------------------------------------------------- */
/* Nothing of this waits, and it is the same on first execution, on replay and when cancelled. What
 * a handler sends at its end is compared with a recorded end, if there is one. */

/* Sets the value that the handler (or the closure) completes with. `return restate_reply(ctx, v);`
 *
 * The last reply counts; a failure that is returned afterwards wins over it. Absent bytes are sent
 * as an empty value, and so is every reply of a handler whose `.output` is RESTATE_VOID.
 * Journal:   output (value), when the handler has returned; in a closure: nothing.
 * Lifetime:  `value` is copied; but 4 KiB and more of invocation memory are not, and must not be
 *            changed any more.
 * Returns:   RESTATE_OK. */
RESTATE_API restate_status restate_reply(restate_ctx *ctx, restate_bytes value);

/* Makes a terminal failure, its message by printf. `return restate_fail(ctx, 404, "%s", why);`
 *
 * It takes effect when it is returned. From a handler: the invocation fails for good, its caller
 * gets code and message. From a closure: the run does, and its caller gets RESTATE_TERMINAL.
 * `code` is as in restate_failure. In the message a question mark stands for each byte that is not
 * UTF-8.
 * Journal:   output (failure), when the handler has returned; in a closure: nothing.
 * Returns:   RESTATE_TERMINAL. */
RESTATE_API restate_status restate_fail(restate_ctx *ctx, uint16_t code, const char *format, ...)
    RESTATE__PRINTF(3, 4) RESTATE__CHECKED;

/* The same from a struct: with metadata, or to pass on a failure that was kept from before, as a
 * saga does after it has compensated. NULL is restate_failed(), and misuse if nothing has failed.
 *
 * Journal:   as restate_fail().
 * Lifetime:  `failure` is copied, unless it came from restate_failed().
 * Returns:   the status that `failure` came with if it is from restate_failed(), else
 *            RESTATE_TERMINAL.
 * Since:     protocol 6 if there is metadata. */
RESTATE_API restate_status restate_fail_with(restate_ctx *ctx, const restate_failure *failure)
    RESTATE__CHECKED;

typedef struct restate_retry_options {
    uint16_t code;                          /* shown to operators; 500; becomes the failure's when
                                               no try is left, so 100 to 399 are 500 here, too */
    uint64_t delay_ms;                      /* until the next try, at most two years; as the retry
                                               policy says */
    bool pause;                             /* wait for an operator instead, however many tries are
                                               left; since protocol 7 */
} restate_retry_options;

/* Ends this try with a printf-style message for operators; the handler, or the closure, is tried
 * again later. `return restate_retry(ctx, NULL, "printer: %s", why);`
 *
 * From a handler the attempt is over at once. The server's policy counts it, except if delay_ms is
 * set: then the next attempt comes after just that time. From a closure the policy of the run
 * counts the try in any case, and when its tries are used up the caller of restate_run() gets
 * RESTATE_TERMINAL with this code and message. Until then that caller sees nothing: a retryable
 * error of a closure ends the attempt of the whole handler.
 * Returns:   RESTATE_ENDED; RESTATE_TERMINAL if restate_options.map_error made a failure of it. */
RESTATE_API restate_status restate_retry(restate_ctx *ctx, const restate_retry_options *options,
                                         const char *format, ...) RESTATE__PRINTF(3, 4)
    RESTATE__CHECKED;

/* The failure that the last RESTATE_TERMINAL, RESTATE_TIMEOUT or RESTATE_CANCELLED on this context
 * stands for.
 *
 * The struct never changes, a later failure makes a new one: keep the pointer before you
 * compensate. Awaiting a failed future again makes its failure the last one again.
 * Returns:   never NULL; code 0 if nothing failed yet. */
RESTATE_API const restate_failure *restate_failed(restate_ctx *ctx);

/* ---- Request, log, randomness ---------------------------------------------------------------- */
/* Nothing of this waits or notices a cancellation, but restate_now(). */

typedef struct restate_request_info {
    const char *invocation_id;              /* inv_... */
    restate_target target;                  /* service, handler, key and scope of this invocation;
                                               in a plain service the key is "" */
    size_t key_len;                         /* a key may hold zero bytes, and target.key look cut */
    const char *idempotency_key;            /* NULL: none; since protocol 7 */
    const char *limit_key;                  /* NULL: none; since protocol 7 */
    restate_bytes body;                     /* as given to the handler; empty, not absent, also for
                                               RESTATE_VOID */
    const restate_pair *headers;            /* of the invocation: the same in every attempt; names
                                               as the calling handler wrote them, from the ingress
                                               in lower case */
    const restate_pair *attempt_headers;    /* of this HTTP request: NOT the same; for tracing */
    uint32_t retry_count;                   /* failed attempts since the last new command, a resume
                                               by an operator or a restart of the server: NOT the
                                               same in every attempt */
    uint32_t protocol_version;              /* 5 to 7; NOT the same in every attempt */
    bool replaying;                         /* the next command will be replayed; live, so ask
                                               again; of no use in closures */
    void *user;                             /* the nearest restate_options.user */
} restate_request_info;

/* What is known about this invocation. Also inside of closures, and when the attempt is over.
 *
 * Lifetime:  invocation; in a handler `replaying` changes with every call of this.
 * Decide nothing by the fields marked NOT: the handler would no longer be deterministic.
 * Returns:   never NULL. */
RESTATE_API const restate_request_info *restate_request(restate_ctx *ctx);

/* The key of the object or workflow, "" in a plain service: restate_request(ctx)->target.key. Also
 * inside of closures, and when the attempt is over. */
RESTATE_API const char *restate_key(restate_ctx *ctx);

/* Logs a printf-style message with invocation id, service and handler. Also inside of closures.
 *
 * Silent on replay, so that a line appears once (restate_logger.with_replay changes that). A line
 * can still appear twice: if the attempt ended before the next command was stored. Cut at 1,023
 * bytes; line ends become spaces. OFF says nothing. */
RESTATE_API void restate_log(restate_ctx *ctx, restate_log_level level, const char *format, ...)
    RESTATE__PRINTF(3, 4);

/* True once the work is no longer wanted: the attempt ended, the invocation was cancelled, the
 * endpoint stops, or (in a closure) its timeout_ms has passed since its first instruction, or
 * another run of the attempt failed retryably 30 s ago, or its future lost: every race, any or all
 * that it was given to is decided.
 *
 * For long closures to poll. Not deterministic: in a handler only good for giving up with
 * restate_retry(). Works after RESTATE_ENDED.
 * Threads:   that of the closure or handler whose context it is. */
RESTATE_API bool restate_stop_requested(restate_ctx *ctx);

/* How long it will be before restate_stop_requested() turns true because of the time, for a closure
 * that hands a timeout to another library: 0 if it is true already, UINT64_MAX if no time is set,
 * by timeout_ms or by a failed run beside it. In handlers misuse, which gives 0.
 *
 * Threads:   that of the closure. */
RESTATE_API uint64_t restate_time_left_ms(restate_ctx *run);

/* A descriptor that becomes readable when restate_stop_requested() turns true, for a closure that
 * waits in poll() or hands it to another library:
 *
 *     struct pollfd fds[] = { { socket, POLLIN, 0 }, { restate_stop_fd(run), POLLIN, 0 } };
 *     if (poll(fds, 2, -1) < 0 || fds[1].revents) return restate_retry(run, NULL, "stopped");
 * Made when first asked for; the same one later. Do not read, write or close it. The event loop of
 * the handler makes it readable, so not while a handler holds that; where you carry the bytes of
 * exchanges, it happens in the functions of streams. In handlers misuse, which gives -1.
 * Lifetime:  until the closure has returned.
 * Threads:   that of the closure.
 * Returns:   -1 if there is none: where the closure executes on the handler's stack (inline_ok,
 *            RESTATE_NO_THREADS), with RESTATE_NO_SERVER, and when the system has no more of them.
 *            (poll() passes over it.) Then ask restate_stop_requested() now and then. */
RESTATE_API int restate_stop_fd(restate_ctx *run);

/* The next number of a pseudo-random sequence, all 64 bits of it.
 *
 * The sequence is seeded per invocation and starts again with every attempt, so it is the same on
 * replay without being recorded. Not for secrets. In closures misuse: on replay they draw nothing.
 * It is xoshiro256++ (as in the SDKs for Go and TypeScript), filled by splitmix64 from the server's
 * seed, under protocol 5 from the first 8 bytes of the SHA-256 of the invocation's id.
 * Returns:   0 when the attempt is over. */
RESTATE_API uint64_t restate_random(restate_ctx *ctx);

/* A version 4 UUID from that sequence, 36 characters long: the same in every attempt, and so a
 * good idempotency key for a side effect. In closures misuse: make it before. "" when the attempt
 * is over. */
RESTATE_API const char *restate_uuid(restate_ctx *ctx);

/* From the same sequence: a number in [0, 1), all 53 bits of it random; and one of 0 to n - 1, each
 * as likely as the others. n == 0, and closures, are misuse; 0 when the attempt is over.
 *
 * The first takes one number of the sequence, the second as many as it needs. Which, is a promise,
 * for a later version must not give other numbers on replay: (x >> 11) * 2^-53; and the high half
 * of the 128 bits of x * n, where x is drawn again while the low half is below 2^64 mod n. */
RESTATE_API double restate_random_double(restate_ctx *ctx);
RESTATE_API uint64_t restate_random_below(restate_ctx *ctx, uint64_t n);

/* The wall-clock time in milliseconds since 1970, recorded: the same in every attempt.
 *
 * A restate_run() whose closure reads the clock on the handler's stack; retried as that is.
 * Journal:   run (named "now").
 * Await point.
 * Returns:   RESTATE_OK; RESTATE_CANCELLED. Unless RESTATE_OK, *epoch_ms == 0. */
RESTATE_API restate_status restate_now(restate_ctx *ctx, uint64_t *epoch_ms) RESTATE__CHECKED;

/* ---- Memory and text (handlers and closures) ------------------------------------------------- */

/* Zeroed memory for any type (aligned to 16 bytes), released by the library. 0 bytes are not NULL.
 *
 * Lifetime:  invocation, also if a closure asked for it.
 * Returns:   NULL when out of memory, or when the attempt is over (an exception to rule 3); the
 *            attempt is over in both cases: return RESTATE_ENDED. */
RESTATE_API void *restate_alloc(restate_ctx *ctx, size_t size);

/* sprintf into memory of the invocation: `restate_text(ctx, "seat-%d", n)`. "" when out of memory
 * or when the attempt is over. */
RESTATE_API const char *restate_text(restate_ctx *ctx, const char *format, ...)
    RESTATE__PRINTF(2, 3);

/* ---- JSON (handlers and closures) ------------------------------------------------------------ */
/* JSON is what RFC 8259 says, at most 100 levels deep. A reader checks the whole document first. Of
 * several members of one name the first counts. */

/* JSON by format: `restate_json(ctx, "{'name': %s, 'age': %d}", name, age)`.
 *
 * gcc and clang check the arguments as for printf, but what comes out is JSON:
 *   '                 in the format: a quotation mark
 *   %s, %.*s          a string, quoted and escaped; NULL: null
 *   %-s, %-.*s        text that is one JSON value already, inserted as it is; NULL, "": null
 *   %hhd              true or false; any int but 0 is true (clang warns of an argument such as !x)
 *   %d %u %lld %zu... integers, as in printf
 *   %g %f %e          a double, without a precision so that it reads back the same
 *   %%                a percent sign
 * Between two apostrophes only numbers may be formatted: 'seat-%d'. Numbers take the widths and
 * precisions of printf, up to 1,000. The result is checked to be one JSON document, in one pass
 * more over it. Misuse: it is none; any other conversion; NaN and infinity; strings that are not
 * UTF-8, or, for %-s, not JSON.
 * Lifetime:  the result is invocation; absent bytes on failure. */
RESTATE_API restate_bytes restate_json(restate_ctx *ctx, const char *format, ...)
    RESTATE__PRINTF(2, 3);

/* Reads a number, boolean or string of a JSON document: the document itself (`member` NULL), or a
 * member of it if it is an object.
 *
 * Absent or empty bytes, an absent member and null leave `*out` as it was: initialise it with the
 * default. A failure does so, too, except that a string becomes "". Integers are exact over 64
 * bits; 3.0 and 3e0 count as 3. Strings are unescaped copies; one with \u0000 in it is refused, as
 * C would cut it there (restate_json_text() reads it), and so is one with half a surrogate pair,
 * which UTF-8 cannot say. Takes time linear in the document.
 * Lifetime:  `*out` of a string is invocation, if it was written.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL if it is no JSON, or not of that type, or out of range
 *            (code 400 if `json` is from the handler's input, else 500). */
RESTATE_API restate_status restate_json_int(restate_ctx *ctx, restate_bytes json,
                                            const char *member, long long *out) RESTATE__CHECKED;
RESTATE_API restate_status restate_json_double(restate_ctx *ctx, restate_bytes json,
                                               const char *member, double *out) RESTATE__CHECKED;
RESTATE_API restate_status restate_json_bool(restate_ctx *ctx, restate_bytes json,
                                             const char *member, bool *out) RESTATE__CHECKED;
RESTATE_API restate_status restate_json_string(restate_ctx *ctx, restate_bytes json,
                                               const char *member, const char **out)
    RESTATE__CHECKED;

/* The same for a string of any characters, \u0000 included: unescaped, its exact bytes.
 *
 * What leaves the default leaves it here, too; a failure makes absent bytes of it.
 * Lifetime:  `*out` is invocation, if it was written.
 * Returns:   as above. */
RESTATE_API restate_status restate_json_text(restate_ctx *ctx, restate_bytes json,
                                             const char *member, restate_bytes *out)
    RESTATE__CHECKED;

/* And back: text as a JSON string, quoted and escaped, zero bytes included (%s and %.*s of
 * restate_json() end at them, as in printf); absent bytes: null. To be inserted with %-s:
 *     restate_json(ctx, "{'text': %-s}", (const char *)restate_json_quote(ctx, text).ptr)
 *
 * Misuse: text that is not UTF-8.
 * Lifetime:  the result is invocation; absent bytes on failure. */
RESTATE_API restate_bytes restate_json_quote(restate_ctx *ctx, restate_bytes text);

/* The JSON text of a member, whatever its type; `member` NULL: of the document, without the white
 * space around it. No document, an absent member, or null: absent bytes.
 *
 * Lifetime:  `*out` is a slice of `json`: as long as that, and no zero byte follows.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL if `json` is no JSON, or no object (code as above). */
RESTATE_API restate_status restate_json_member(restate_ctx *ctx, restate_bytes json,
                                               const char *member, restate_bytes *out)
    RESTATE__CHECKED;

/* Steps through an array: `restate_bytes e = {0}; while (restate_json_next(ctx, array, &e)) ...`
 *
 * `*element` says where it is: absent at the start, then a slice of `array`, absent again at the
 * end. The whole array is checked before its first element is given.
 * Returns:   false at the end, and for absent or empty bytes and null. If `array` is anything else:
 *            false, and the attempt is over, as no failure can be returned here: the invocation
 *            fails with 400 if `array` is from the handler's input, otherwise, and in closures, it
 *            is misuse. */
RESTATE_API bool restate_json_next(restate_ctx *ctx, restate_bytes array, restate_bytes *element);

#ifndef RESTATE_NO_CJSON

/* Parses with cJSON, for documents that are read through and through. Absent or empty bytes:
 * *tree == NULL.
 *
 * cJSON's numbers are doubles: integers beyond 2^53 need restate_json_int(). The memory is
 * malloc's, not that of the endpoint's allocator. Refused, because cJSON would change them: numbers
 * of more than 63 characters, strings with \u0000 (see restate_json_text()) or half a surrogate
 * pair in them.
 * Lifetime:  `*tree` is invocation, in a closure until that has returned; you may change it and
 *            take parts out, do not cJSON_Delete() it.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL if it is no JSON, or refused (code as above). */
RESTATE_API restate_status restate_json_tree(restate_ctx *ctx, restate_bytes json,
                                             struct cJSON **tree) RESTATE__CHECKED;

/* Gives a tree that you made to the invocation: `restate_json_own(ctx, cJSON_CreateArray())`.
 *
 * Not for what is, or will be, part of another tree: it would be deleted twice.
 * Lifetime:  `tree` is invocation from here on, in a closure until that has returned, also if this
 *            fails.
 * Returns:   `tree`; NULL if it is NULL (cJSON is out of memory): the attempt is then over. cJSON's
 *            functions accept NULL. */
RESTATE_API struct cJSON *restate_json_own(restate_ctx *ctx, struct cJSON *tree);

/* Prints a tree, without white space and with numbers that read back the same.
 *
 * Misuse: NULL (which cJSON gives when out of memory), NaN and infinity, strings that are not
 * UTF-8, raw text that is not JSON, more than 100 levels.
 * Lifetime:  `tree` stays yours, or the invocation's; the result is invocation. */
RESTATE_API restate_bytes restate_json_print(restate_ctx *ctx, const struct cJSON *tree);

#endif /* RESTATE_NO_CJSON */

/* ---- Codecs (handlers and closures) ---------------------------------------------------------- */

/* A value through a codec; NULL is the nearest restate_options.codec, so RESTATE_JSON. One that
 * cannot be encoded ends the attempt with a retryable error (500), so a fixed program picks the
 * work up.
 *
 * Lifetime:  `value` is call, the result invocation; RESTATE_BYTES gives the bytes in `value` as
 *            they are, not a copy. */
RESTATE_API restate_bytes restate_encode(restate_ctx *ctx, const restate_codec *codec,
                                         const void *value);

/* And back. Absent bytes leave `*value` as it was, and so do empty ones where the codec is one of
 * JSON. To other codecs empty bytes are a value: RESTATE_PROTO makes the default message of them.
 *
 * A stored value that cannot be decoded is a failure like any other, for the handler to deal with;
 * to wait for a fixed program instead, return restate_retry().
 * Lifetime:  what `*value` refers to is invocation (a tree: see restate_json_tree()); RESTATE_BYTES
 *            gives `bytes` as they are.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL if the bytes cannot be decoded (code 400 if they are from
 *            the handler's input, else 500, whatever the codec said). */
RESTATE_API restate_status restate_decode(restate_ctx *ctx, const restate_codec *codec,
                                          restate_bytes bytes, void *value) RESTATE__CHECKED;

/* The input of this invocation through the codec of restate_handler.input, and a reply through that
 * of .output: restate_decode() of the body, and restate_reply() of restate_encode(). The type of
 * `value` is that codec's; no compiler checks it. In closures misuse.
 *
 *     static restate_status mix(restate_ctx *ctx, restate_bytes input) {
 *         color c = { 0, 0, 0 };
 *         (void)input;
 *         RESTATE_TRY(restate_input(ctx, &c));
 *         ...
 *         return restate_reply_value(ctx, &c);
 *     }
 * The same in every attempt, cancelled or not.
 * Journal:   nothing; as restate_reply().
 * Lifetime:  what `*value` refers to is as for restate_decode(); `value` of a reply is call.
 * Returns:   as restate_decode(). */
RESTATE_API restate_status restate_input(restate_ctx *ctx, void *value) RESTATE__CHECKED;

/* See restate_input().
 *
 * Returns:   RESTATE_OK. */
RESTATE_API restate_status restate_reply_value(restate_ctx *ctx, const void *value);

/* ---- Side effects and time ------------------------------------------------------------------- */

/* A step with side effects: may block, read the clock, use the network, and fail.
 *
 * `run` is a context of a kind of its own: it replies, fails, retries, logs, allocates and makes
 * JSON; everything that is journaled is misuse. The context of the handler must not be used in
 * here. Executed until it succeeds or fails terminally, so normally once; but if the process or the
 * connection is lost before the result is stored, again. Make it idempotent. After restate_retry(),
 * misuse or lack of memory `run` is over (rule 2), and this try has failed whatever is returned.
 * Threads:   one of the pool (see restate_run_options.inline_ok); the handler's if the system gives
 *            the pool no thread at all.
 * Returns:   RESTATE_OK: the result is what restate_reply() got, or an empty value.
 *            RESTATE_TERMINAL, RESTATE_TIMEOUT, RESTATE_CANCELLED: the run fails with
 *            restate_failed(run).
 *            RESTATE_ENDED: it is tried again, with what restate_retry() said.
 *            Anything else: a retryable error that names the number. */
typedef restate_status restate_closure(restate_ctx *run, void *arg);

typedef struct restate_run_options {
    restate_retry_policy retry;             /* the nearest run_retry, then the server's policy */
    size_t arg_bytes;                       /* copy that much of `arg` now; 0: pass the pointer
                                               (its size cannot be known here) */
    uint64_t timeout_ms;                    /* a try that takes longer, from the closure's first
                                               instruction on, is logged when it has finished, and
                                               restate_stop_requested() is true in it; it is not
                                               interrupted; none */
    bool inline_ok;                         /* it never blocks: execute it on the handler's stack,
                                               without a thread, which is faster; no two of these
                                               execute at a time */
} restate_run_options;

/* Executes `closure` until it has a result, and gives that.
 *
 * First time: executed on a thread of the pool, then its result is stored, then this returns. While
 * all threads of the pool are busy it waits for one; that time counts nowhere. On replay: the
 * recorded result, nothing is executed; if none is recorded yet, executed (again). A retryable
 * error does not come back here: it ends the attempt, and the closure is tried again in the next
 * one. Bound the tries in `options` to get RESTATE_TERMINAL instead. A NULL closure is misuse.
 * Journal:   run (name; not the closure). `name` is shown to operators and need not be unique.
 * Await point, but it never suspends while a closure executes, and neither a cancellation nor the
 *            end of the attempt interrupts one: this returns when it has finished, and its result
 *            is stored if it still can be. With RESTATE_CANCELLED the result is not given; if the
 *            cancellation was there before the closure began nothing is executed. Long closures
 *            ask restate_stop_requested().
 * Lifetime:  `arg` is borrowed until this returns; `*result` is invocation.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (what the closure failed with, or the last error when its
 *            tries are used up); RESTATE_CANCELLED.
 * Since:     protocol 7 for RESTATE_EXHAUSTED_PAUSE. */
RESTATE_API restate_status restate_run(restate_ctx *ctx, const char *name, restate_closure *closure,
                                       void *arg, const restate_run_options *options,
                                       restate_bytes *result) RESTATE__CHECKED;

/* The same as a future.
 *
 * The closure starts when the future is first awaited, alone or in a combinator; several that are
 * awaited together execute in parallel, as far as there are pool threads. One that is never awaited
 * never executes. One that still waits for a thread when its race is decided, or when the handler
 * is told of a cancellation, does not start, unless it is awaited later: then it waits for a thread
 * again. Nothing starts when the attempt is over.
 *
 * If one fails retryably, the attempt ends when those that execute have finished and their results
 * are sent to be stored: the next attempt does not execute them again. Those that wait for a thread
 * do not start, and those that restate_stop_requested() had told to stop are not waited for. It
 * tells the others 30 s after the failure; one that does not ask is waited for until it returns, as
 * if nothing had failed: at most until the server gives the attempt up (inactivity_timeout_ms and
 * abort_timeout_ms), drain_ms of a stop are over, or the connection is lost. The first error is the
 * one that is told, unless another one asks for a pause.
 * Journal:   run (name), now.
 * Lifetime:  `arg` must stay as it is until the closure has finished, even if the future lost a
 *            race and the handler returned: set arg_bytes, or take it from restate_alloc(). */
RESTATE_API restate_future *restate_run_async(restate_ctx *ctx, const char *name,
                                              restate_closure *closure, void *arg,
                                              const restate_run_options *options);

/* Waits, for a second or for months. A long wait suspends the handler and costs nothing.
 *
 * On replay the recorded end of the sleep counts: what is left of it is waited for, if anything. 0,
 * and RESTATE_ZERO_MS, end at once. The time of the end is taken from the endpoint's clock.
 * Journal:   sleep (the time of its end, set once; the duration is not compared).
 * Await point.
 * Returns:   RESTATE_OK; RESTATE_CANCELLED. */
RESTATE_API restate_status restate_sleep(restate_ctx *ctx, uint64_t duration_ms) RESTATE__CHECKED;

/* A timer as a future, for combinators. It runs from now on; its value is absent. One that lost a
 * race goes on and does no harm.
 *
 * `name` is for operators and compared on replay; NULL: none.
 * Journal:   sleep (name; the time of its end, set once). */
RESTATE_API restate_future *restate_sleep_async(restate_ctx *ctx, uint64_t duration_ms,
                                                const char *name);

/* ---- State (objects and workflows; in plain services misuse) --------------------------------- */
/* A key that is NULL is misuse. */

/* Reads a state value; absent bytes if there is none.
 *
 * Usually answered at once: from what the server sent along when the attempt began, and what this
 * handler wrote since. On replay: the recorded value, whatever is stored now.
 * Journal:   get state (key).
 * Await point only if the value has to be fetched: lazy_state, or more state than the server sends.
 * Returns:   RESTATE_OK; RESTATE_CANCELLED. */
RESTATE_API restate_status restate_get(restate_ctx *ctx, const char *key, restate_bytes *value)
    RESTATE__CHECKED;

/* The same as a future: several fetches go in parallel.
 *
 * Journal:   get state (key), now. */
RESTATE_API restate_future *restate_get_async(restate_ctx *ctx, const char *key);

/* The keys of all state values, sorted by their bytes, as a list of strings that ends with NULL.
 *
 * On replay: the recorded keys.
 * Journal:   get state keys.
 * Await point only if they have to be fetched.
 * Lifetime:  `*keys` is invocation; on failure it is an empty list, not NULL.
 * Returns:   RESTATE_OK; RESTATE_CANCELLED. */
RESTATE_API restate_status restate_keys(restate_ctx *ctx, const char *const **keys)
    RESTATE__CHECKED;

/* The same as a future, and what it gave: restate_await() of it gives no bytes, as a list is none,
 * so wait in combinators, or by restate_await_keys(). Another kind of future is misuse there.
 *
 * Journal:   get state keys, now; nothing.
 * Await point (restate_await_keys()), if it is not settled.
 * Lifetime:  as restate_keys().
 * Returns:   as restate_keys(). */
RESTATE_API restate_future *restate_keys_async(restate_ctx *ctx);
RESTATE_API restate_status restate_await_keys(restate_ctx *ctx, restate_future *future,
                                              const char *const **keys) RESTATE__CHECKED;

typedef struct restate_entry {
    const char *key;
    restate_bytes value;
} restate_entry;

/* All state values with their keys, sorted by the bytes of these, as a list that ends with {0}.
 *
 * It is restate_keys(), then restate_get_async() of each: what has to be fetched is fetched in two
 * round trips, all values in parallel. On replay: what was recorded. In a shared handler a value
 * that is deleted between the two is left out.
 * Journal:   get state keys; get state (key), for each.
 * Await point only if something has to be fetched.
 * Lifetime:  `*entries` is invocation; on failure it is an empty list, not NULL.
 * Returns:   RESTATE_OK; RESTATE_CANCELLED. */
RESTATE_API restate_status restate_get_all(restate_ctx *ctx, const restate_entry **entries)
    RESTATE__CHECKED;

/* Write a state value, delete one, delete all. State after clear_all: rule (R10) of >>journal.
 *
 * They go to the server without waiting for an answer, and stay written if the handler fails later
 * or is cancelled. Reads of this handler see them at once, other handlers of the key as soon as the
 * server has stored them. Absent bytes are misuse, use restate_clear(); empty ones are a value. In
 * a shared handler misuse.
 * Journal:   set state (key, value); clear state (key); clear all state.
 * Returns:   RESTATE_OK. */
RESTATE_API restate_status restate_set(restate_ctx *ctx, const char *key, restate_bytes value);
RESTATE_API restate_status restate_clear(restate_ctx *ctx, const char *key);
RESTATE_API restate_status restate_clear_all(restate_ctx *ctx);

/* Names the next operation on state, for operators, who see the name in the journal:
 *     RESTATE_TRY(restate_set(restate_named(ctx, "reserve the seat"), "seat", seat));
 *
 * The name holds for the first function of this heading that is called on the context then, and for
 * its first command. No such function may be called in the other arguments. Other operations have a
 * name of their own. NULL and "" are misuse.
 * Journal:   nothing; the command it names is recorded with it, and compared on replay: one that
 *            gets a name, or loses it, is another one (570).
 * Returns:   `ctx`. */
RESTATE_API restate_ctx *restate_named(restate_ctx *ctx, const char *name);

/* ---- Calls ----------------------------------------------------------------------------------- */
/* Misuse: a target without service or handler; an empty idempotency key, scope or limit key; a
 * limit key without a scope. What the server finds wrong (no such service or handler, a key for a
 * plain service, no key for an object, a scope or limit key with other characters than digits,
 * letters, '_', '.' and '-', or with more than 36) ends the attempt, which is tried again until it
 * is right. */

typedef struct restate_call_options {
    const char *idempotency_key;            /* calls with the same one are one invocation; NULL:
                                               none; "" is misuse; not for main handlers of
                                               workflows */
    const restate_pair *headers;            /* for restate_request() of the callee, as written here;
                                               ends with {0} */
    uint64_t delay_ms;                      /* only for sends: start this much later */
    const char *limit_key;                  /* needs target.scope; "a" or "a/b"; since protocol 7 */
    const char *name;                       /* for operators; compared on replay; NULL: none */
} restate_call_options;

/* Deadlocks. An exclusive handler holds the key of its object until it is over. If it calls an
 * exclusive handler of the same key, itself or through others that it waits for, that waits for
 * ever. Where all services on the way have `.detect_deadlocks = RESTATE_ON` the call that would
 * close the circle is not made: it fails, on replay too, with RESTATE_TERMINAL, 409 and a message
 * that names the keys of the circle.
 * The keys that are held travel with calls in the header "x-restate-held-locks", in which services
 * of the SDK for Ruby take part. Sends are not told, as nobody waits for them. A call counts as
 * waited for, awaited or not: send what you do not wait for. Replay compares no headers of calls
 * that carry keys. Not found are waits for what is no call (restate_attach(), awakeables, signals,
 * promises, calls with an idempotency key that join an earlier one), and two invocations that hold
 * one key each and call for the other's: bound such waits with restate_await_for(). */

/* Calls a handler and waits for its reply, for however long.
 *
 * First time: the server stores the call and starts it. On replay: the recorded reply, or waiting
 * for the call that runs. If this invocation is cancelled meanwhile the callee is cancelled too,
 * and this returns without waiting for it; so is the callee of every other call made since the last
 * cancellation. Absent input is sent as an empty one.
 * Journal:   call (target, input, headers, keys, name).
 * Await point.
 * Lifetime:  `to`, `input` and `options` are call, as everywhere.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (what the callee failed with; 409 with detect_deadlocks:
 *            it would never end); RESTATE_CANCELLED.
 * Since:     protocol 7 for scope and limit_key. */
RESTATE_API restate_status restate_call(restate_ctx *ctx, restate_target to, restate_bytes input,
                                        const restate_call_options *options, restate_bytes *reply)
    RESTATE__CHECKED;

/* The same as a future. The call goes out now, in program order, awaited or not.
 *
 * Journal:   call, now. */
RESTATE_API restate_future *restate_call_async(restate_ctx *ctx, restate_target to,
                                               restate_bytes input,
                                               const restate_call_options *options);

/* Starts a handler without waiting for it, now or after delay_ms; what becomes of it is not told.
 *
 * Sends to one key keep their order. The returned future may be ignored; awaiting it waits for a
 * round trip, and its value is the id of the invocation. Not cancelled with this invocation (see
 * restate_options.cancel_sends).
 * Journal:   send (target, input, headers, keys, name; the time of the start is set once).
 * Since:     protocol 7 for scope and limit_key. */
RESTATE_API restate_future *restate_send(restate_ctx *ctx, restate_target to, restate_bytes input,
                                         const restate_call_options *options);

/* The id (inv_...) of the invocation behind a future of restate_call_async() or restate_send().
 *
 * Await point, for a round trip; not for the callee.
 * Lifetime:  `*id` is invocation; "" on failure. Another kind of future is misuse.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (409: detect_deadlocks kept the call from being made);
 *            RESTATE_CANCELLED. */
RESTATE_API restate_status restate_call_id(restate_ctx *ctx, restate_future *call, const char **id)
    RESTATE__CHECKED;

/* Cancels another invocation. Does not wait for it, and does not report what becomes of it.
 *
 * It is told at its next await point; one that is finished, or unknown, is not disturbed. NULL is
 * misuse. A text that the server could not decode is told here, as the server would refuse the
 * whole attempt for it; so it is wherever an id is asked for.
 * Journal:   cancel (invocation_id).
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (400: the text cannot be the id of an invocation; nothing
 *            is recorded). */
RESTATE_API restate_status restate_cancel(restate_ctx *ctx, const char *invocation_id)
    RESTATE__CHECKED;

/* An invocation, in one of three ways: `id`; service and key of a workflow; service, handler, key
 * (of an object) and idempotency key. With an `id` nothing else is looked at. Less than that, a
 * handler without idempotency key, and text that is not UTF-8 are misuse. */
typedef struct restate_invocation {
    const char *id;                         /* its id, or NULL */
    restate_target target;                  /* a workflow (handler NULL), or, with the next, any
                                               handler */
    const char *idempotency_key;
} restate_invocation;

/* Waits for the result of an invocation that somebody started. It is not cancelled with this one.
 *
 * Journal:   attach (id, or target and key).
 * Await point.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (what it failed with; 404: there is none, or no longer;
 *            400: the text cannot be the id of an invocation, or a scope; nothing is
 *            recorded);
 *            RESTATE_CANCELLED.
 * Since:     protocol 7 for target.scope. */
RESTATE_API restate_status restate_attach(restate_ctx *ctx, restate_invocation to,
                                          restate_bytes *reply) RESTATE__CHECKED;

/* The same as a future.
 *
 * Journal:   attach, now. */
RESTATE_API restate_future *restate_attach_async(restate_ctx *ctx, restate_invocation to);

/* Its result if it is finished; absent bytes if not. On replay: what was recorded, even if it has
 * finished since.
 *
 * Journal:   get output (id, or target and key).
 * Await point, for a round trip.
 * Returns:   as restate_attach().
 * Since:     as restate_attach(). */
RESTATE_API restate_status restate_output(restate_ctx *ctx, restate_invocation of,
                                          restate_bytes *reply) RESTATE__CHECKED;

/* ---- Waiting for the outside ----------------------------------------------------------------- */

/* A future that whoever knows its id completes, once: a handler with restate_resolve(), or anybody
 * with an HTTP request to the ingress:
 *     POST /restate/awakeables/ID/resolve      the body is the value; no body: an empty value
 *     POST /restate/awakeables/ID/reject       the body is the message of the failure, code 500
 * A completion without a value, which the protocol also knows, is absent bytes.
 *
 * Journal:   nothing, but ids are counted: the order of creation must not change.
 * Lifetime:  `*id` is invocation; it is the same in every attempt and may be given to anybody, in a
 *            run or a call. "" on failure. */
RESTATE_API restate_future *restate_awakeable(restate_ctx *ctx, const char **id);

/* Completes an awakeable, of any invocation, with a value or with a failure.
 *
 * Does not wait. The first completion counts, whenever it is awaited; later ones and unknown ids
 * are ignored. Ids begin with sign_1, or, from old servers, prom_1. Absent bytes are sent as an
 * empty value, NULL as the failure 500 "rejected".
 * Journal:   complete awakeable (id, value or failure).
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (400: the text cannot be the id of an awakeable; nothing
 *            is recorded).
 * Since:     protocol 6 for a failure with metadata. */
RESTATE_API restate_status restate_resolve(restate_ctx *ctx, const char *awakeable_id,
                                           restate_bytes value) RESTATE__CHECKED;
RESTATE_API restate_status restate_reject(restate_ctx *ctx, const char *awakeable_id,
                                          const restate_failure *failure) RESTATE__CHECKED;

/* A future completed by the next signal of that name sent to this invocation.
 *
 * The signal may have come before it is asked for. Ask again for the one after it: signals of one
 * name are kept in their order, and none replaces another. Of several futures of one name the
 * oldest of those that are awaited gets it. Its value is as an awakeable's. NULL and "" are misuse.
 * Journal:   nothing.
 * Since:     server 1.7. */
RESTATE_API restate_future *restate_signal(restate_ctx *ctx, const char *name);

/* Sends a signal to an invocation: a value, or a failure. Does not wait; nothing tells whether it
 * was received. Only handlers can: the ingress has no path for signals.
 *
 * Values and failures are as in restate_resolve() and restate_reject(). NULL as an id and an empty
 * name are misuse.
 * Journal:   send signal (id, name, value or failure).
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (400: the text cannot be the id of an invocation; nothing
 *            is recorded).
 * Since:     server 1.7; protocol 6 for a failure with metadata. */
RESTATE_API restate_status restate_signal_resolve(restate_ctx *ctx, const char *invocation_id,
                                                  const char *name, restate_bytes value)
    RESTATE__CHECKED;
RESTATE_API restate_status restate_signal_reject(restate_ctx *ctx, const char *invocation_id,
                                                 const char *name,
                                                 const restate_failure *failure) RESTATE__CHECKED;

/* The durable promise of that name of this workflow run, as a future: settled once somebody
 * completes it. Only in workflows, else misuse, as an empty name is; so for the functions below.
 *
 * Journal:   get promise (name), now, awaited or not. */
RESTATE_API restate_future *restate_promise(restate_ctx *ctx, const char *name);

/* Its value if it is completed; absent bytes if not.
 *
 * Journal:   peek promise (name).
 * Await point, for a round trip.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (it was rejected); RESTATE_CANCELLED. */
RESTATE_API restate_status restate_promise_peek(restate_ctx *ctx, const char *name,
                                                restate_bytes *value) RESTATE__CHECKED;

/* Completes it, with a value or with a failure; absent bytes and NULL as in restate_resolve().
 *
 * Journal:   complete promise (name, value or failure).
 * Await point, for a round trip.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (409: somebody was first); RESTATE_CANCELLED.
 * Since:     protocol 6 for a failure with metadata. */
RESTATE_API restate_status restate_promise_resolve(restate_ctx *ctx, const char *name,
                                                   restate_bytes value) RESTATE__CHECKED;
RESTATE_API restate_status restate_promise_reject(restate_ctx *ctx, const char *name,
                                                  const restate_failure *failure) RESTATE__CHECKED;

/* ---- Futures --------------------------------------------------------------------------------- */
/* All futures are of one type, whatever made them. They belong to the context they were made from,
 * in another one they are misuse. Nobody frees them. In closures misuse: results go in by `arg`.
 * NULL is misuse where one future is taken. Combinators nest 1,000 deep; deeper is misuse. */

/* Waits until a future is settled, and gives its value or failure.
 *
 * A settled future can be awaited again: the same result, at no cost, and no cancellation is told
 * there. What settled it stays its result, whatever else may come for it. A cancellation does not
 * settle it: `future` stays good and can be awaited during compensation.
 * Journal:   nothing; which results had come by then is known from the order of notifications.
 * Await point.
 * Lifetime:  `*value` is invocation.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (its failure); RESTATE_CANCELLED. */
RESTATE_API restate_status restate_await(restate_ctx *ctx, restate_future *future,
                                         restate_bytes *value) RESTATE__CHECKED;

/* The same for at most `timeout_ms`. Then the future goes on: nothing is cancelled, and it can be
 * awaited again.
 *
 * Which of time, result and cancellation came first is the journal's to say, the same on replay,
 * also if all of them are there when it is asked.
 * Journal:   sleep (as restate_sleep()); nothing if the future is settled already.
 * Await point.
 * Lifetime:  `*value` is invocation.
 * Returns:   RESTATE_OK; RESTATE_TERMINAL (its failure); RESTATE_TIMEOUT (restate_failed() has code
 *            408); RESTATE_CANCELLED. */
RESTATE_API restate_status restate_await_for(restate_ctx *ctx, restate_future *future,
                                             uint64_t timeout_ms, restate_bytes *value)
    RESTATE__CHECKED;

/* Waits until one of several futures is settled, well or not, and tells which.
 *
 * Does not read it: restate_await(ctx, futures[*index], ...) does, and does not wait then. NULL
 * elements are skipped, so setting futures[*index] = NULL goes through all of them in the order in
 * which they settle. That order is the journal's, the same on replay. With none left, or count 0:
 * RESTATE_OK and *index == count, at once.
 * Journal:   nothing, as restate_await().
 * Await point. A cancellation settles none of them.
 * Returns:   RESTATE_OK; RESTATE_CANCELLED. Unless RESTATE_OK, *index == count. */
RESTATE_API restate_status restate_select(restate_ctx *ctx, restate_future *const *futures,
                                          size_t count, size_t *index) RESTATE__CHECKED;

/* An iterator over futures in the order in which they settle, for many of them: linear in all,
 * where restate_select() is linear each time.
 *
 *     restate_selector *left = restate_selector_new(ctx, futures, n);
 *     while (restate_selector_remaining(left) > 0) {
 *         size_t i;
 *         RESTATE_TRY(restate_selector_next(ctx, left, &i));
 *         RESTATE_TRY(restate_await(ctx, futures[i], &value));
 *     }
 * There are exactly as many results as there were futures; NULL elements are skipped. The order is
 * the journal's, as with restate_select().
 * Journal:   nothing.
 * Lifetime:  the array is copied; the iterator is invocation, nobody frees it. */
RESTATE_API restate_selector *restate_selector_new(restate_ctx *ctx,
                                                   restate_future *const *futures, size_t count);

/* Waits for the next one and tells its index in the array that was given. None remaining:
 * RESTATE_OK and *index == count, at once.
 *
 * Journal:   nothing.
 * Await point. A cancellation uses up none of them.
 * Returns:   RESTATE_OK; RESTATE_CANCELLED. Unless RESTATE_OK, *index == count. */
RESTATE_API restate_status restate_selector_next(restate_ctx *ctx, restate_selector *selector,
                                                 size_t *index) RESTATE__CHECKED;

/* How many have not been given out yet; 0 when the attempt is over. */
RESTATE_API size_t restate_selector_remaining(const restate_selector *selector);

/* Futures made of futures, named as in JavaScript. They nest; restate_await() waits for them.
 *
 *                 settled by                                    count 0, or only NULL elements
 *   race          the first one that settles, well or not       misuse
 *   any           the first success; all failed: last failure   settled: terminal failure, code 500
 *   all           the last success; or the first failure        settled: value absent
 *   all_settled   the last one that settles; never fails        settled: value absent
 *
 * Of children that are settled already the one that settled first wins, wherever it stands.
 * The value of race and any is the winner's, that of the others is absent. Read the results from
 * the children, which are settled after all and all_settled, or ask restate_is_done() after race
 * and any. Losers go on; cancel a call by restate_call_id() and restate_cancel(). A cancellation of
 * this invocation settles none of them.
 * Journal:   nothing.
 * Lifetime:  the array is copied; values are invocation. */
RESTATE_API restate_future *restate_race(restate_ctx *ctx, restate_future *const *futures,
                                         size_t count);
RESTATE_API restate_future *restate_any(restate_ctx *ctx, restate_future *const *futures,
                                        size_t count);
RESTATE_API restate_future *restate_all(restate_ctx *ctx, restate_future *const *futures,
                                        size_t count);
RESTATE_API restate_future *restate_all_settled(restate_ctx *ctx, restate_future *const *futures,
                                                size_t count);

/* A future that is settled already: with `failure`, or, if that is NULL, with `value`, which may be
 * absent.
 *
 * Journal:   nothing.
 * Lifetime:  both are copied. */
RESTATE_API restate_future *restate_settled(restate_ctx *ctx, restate_bytes value,
                                            const restate_failure *failure);

/* True if awaiting it would return its result without waiting.
 *
 * The same in every attempt: it changes at await points only, never between them, even if the
 * result has reached the process. So polling it in a loop does not wait for anything. False for
 * NULL and for futures that could not be made. */
RESTATE_API bool restate_is_done(const restate_future *future);

/* The next cancellation as a future (value absent), with explicit_cancellation; without: misuse.
 *
 * No await point returns RESTATE_CANCELLED then, and calls go on until restate_cancel_calls(). Ask
 * again for the cancellation after it. Closures are told by restate_stop_requested() all the same.
 * Journal:   nothing. */
RESTATE_API restate_future *restate_cancellation(restate_ctx *ctx);

/* Cancels the calls that a cancellation reaches, see rule (R11) of >>journal: those made since the
 * last time (with cancel_sends the sends, too), as happens by
 * itself without explicit_cancellation; without it: misuse. Does not wait for the callees; calls
 * that are finished are not disturbed.
 *
 * Journal:   cancel, for each.
 * Await point, for ids that are not known yet.
 * Returns:   RESTATE_OK. */
RESTATE_API restate_status restate_cancel_calls(restate_ctx *ctx);

/* ---- Patches --------------------------------------------------------------------------------- */

/* Changes code under open invocations: true where the new code is to be taken, false in an
 * invocation that went past this place with the old code.
 *
 *     if (restate_patched(ctx, "check-first")) RESTATE_TRY(check(ctx));    // new
 *     RESTATE_TRY(reserve(ctx));
 * Only for code that is replaced in place. A change that is registered as a new deployment needs no
 * patch: its invocations stay with the code they began on.
 *
 * The first call with a name decides, later ones of the invocation give the same, whatever is
 * recorded there:
 *
 *   next recorded command         gives    records
 *   the marker of this name       true     nothing: it is replayed
 *   any other command             false    nothing
 *   none, the attempt is live     true     the marker
 *
 * So an invocation that waits exactly here goes on with the new code. To ask whether it began
 * before the change, call this on the handler's first line and keep the answer. A loop in which
 * each round is to decide for itself gives each round its own name. As long as processes with the
 * old code serve beside new ones, an invocation with a marker may come to an old one, fails there
 * with 570, and is tried again.
 * To remove a patch: when no invocation from before the change is open, delete the old branch and
 * put restate_patch_done() where the call was; when none with a marker is open, delete that too.
 * Whether it is time for either, restate_journal_check() of the code after it says. To go back from
 * restate_patch_done() to restate_patched() is not safe: what began meanwhile has no marker.
 * Not affected by a cancellation. In closures misuse, as are NULL and "": pass the answer in `arg`.
 * Runs of your own must not be named "restate.patch ...".
 * Journal:   run (named "restate.patch NAME"), which has no closure and no result; or nothing.
 * Returns:   false when the attempt is over. */
RESTATE_API bool restate_patched(restate_ctx *ctx, const char *name);

/* Passes over the marker of a patch that was removed, if it is the next recorded command. Records
 * none. Misuse as above.
 *
 * Journal:   nothing. */
RESTATE_API void restate_patch_done(restate_ctx *ctx, const char *name);

/* ================================================================================================
// >>api-endpoint  endpoint
// How the services come onto the network.
================================================================================================ */

/* What an endpoint answers, below any prefix of the path:
 *
 *   GET, HEAD .../health                 200, over HTTP/1 too
 *   GET, HEAD .../discover               200; 415 unless `accept` names a manifest of version 2 to
 *                                        5; 500 if an option is set that the newest one named there
 *                                        does not know: nothing is left out in silence
 *   POST .../invoke/SERVICE/HANDLER      200; 415 for protocols other than 5 to 7; 404 for a name
 *                                        that is not here; 503 at max_invocations and when stopping
 *   any                                  404 other paths; 405 other methods, with `allow`; 431
 *                                        headers of more than 64 KiB; 500 or 503 out of memory;
 *                                        505 all other HTTP/1
 * Who may ask is for `identity_keys` to say; without them whoever reaches the port can invoke
 * handlers. */
typedef struct restate_endpoint_options {
    const restate_service *const *services; /* ends with NULL; copied */
    const char *address;                    /* IP address to listen on; every interface */
    uint16_t port;                          /* 9080; RESTATE_ANY_PORT: one that is free */
    restate_options defaults;               /* for all services */
    uint32_t threads;                       /* event loops; one per core (divided by `processes`),
                                               1 with restate_endpoint_process(); at most 1,024 */
    uint32_t pool_threads;                  /* for closures, at most; 64, started when needed */
    size_t closure_stack_bytes;             /* of each of these threads, and of blocking handlers
                                               that set no stack_bytes; 1 MiB, of which the system
                                               commits what is used; at least 16,384 */
    uint32_t max_invocations;               /* at a time; 10,000; more are refused with 503, which
                                               the server takes for a rate limit (RT0023) and tries
                                               again by its retry policy */
    uint32_t max_streams;                   /* per connection; 256 */
    size_t max_message_bytes;               /* of what arrives; 64 MiB; larger ones end the
                                               attempt */
    size_t window_bytes;                    /* HTTP/2 window of a stream; 1 MiB */
    uint64_t drain_ms;                      /* how long a stop waits for invocations; 10,000;
                                               RESTATE_ZERO_MS: not at all */
    /* Limits of what a peer may hold, for endpoints that listen; where you carry the bytes they are
     * for you to set. RESTATE_ZERO_MS: no limit of time. */
    uint32_t max_connections;               /* at a time; 1,000; more are closed at once */
    uint64_t peer_timeout_ms;               /* 40,000; a peer that says nothing is asked (PING)
                                               after half of it, and gone with its attempts after
                                               all of it; one that answers may be idle for months */
    uint64_t request_timeout_ms;            /* 60,000; for a connection to begin, and a request to
                                               arrive, with the journal of an invocation; a second
                                               more for each 1,000 bytes of it that came */
    uint64_t send_timeout_ms;               /* 60,000; for a peer that takes nothing of what it is
                                               sent, on a connection or a stream */
    restate_switch log_connections;         /* OFF */
    restate_switch stop_on_signals;         /* OFF; ON: SIGTERM and SIGINT stop restate_serve() */
    restate_switch crash_report;            /* OFF, in workers of `processes` ON: a crash or exit()
                                               says on stderr in which handler; see "Signals" */
    uint32_t processes;                     /* that restate_serve() serves with; at most 1,024; 0
                                               and 1: with the calling one alone */
    /* Public keys (publickeyv1_...) of the Restate servers that may send requests, as the server
     * prints them when it starts with a signing key; ends with NULL. Requests that are signed with
     * none of them get 401 and go no further, discovery included; /health stays open. None: whoever
     * reaches the port may invoke handlers. Needs RESTATE_WITH_OPENSSL or `verify`. */
    const char *const *identity_keys;
    /* Another library's Ed25519: whether `signature` (64 bytes) is that of `message` under the
     * public key `key` (32 bytes). Gets `verify_user`. Threads: every event loop's. */
    bool (*verify)(void *user, restate_bytes key, restate_bytes message, restate_bytes signature);
    void *verify_user;                      /* none: OpenSSL's */
    restate_allocator allocator;            /* RESTATE_MALLOC and its family */
    restate_clock clock;                    /* the system's */
    restate_logger logger;                  /* standard error, INFO */
    /* Says that restate_stream_take() may give more now. Gets `stream_user`. Threads: any; it must
     * not call the library, but write to a descriptor or give a semaphore, for instance. */
    void (*stream_wake)(void *user);        /* none: restate_stream_take() waits instead */
    void *stream_user;
} restate_endpoint_options;
#define RESTATE_ANY_PORT UINT16_MAX         /* restate_endpoint_port() tells which it became */

/* Makes an endpoint and checks its services and options.
 *
 * It does not listen yet. Wrong options do not give NULL: the reason is in
 * restate_endpoint_error(), and every function that returns a status returns RESTATE_ERROR. Wrong
 * are: no services; names that are bad, reserved or there twice; a service without handlers, a
 * handler without function; `shared` in a plain service; a workflow without exactly one handler
 * that is not shared; a public handler in a private service; metadata with a name twice;
 * content types that no request or reply can have; idempotency_retention_ms at the main
 * handler of a workflow; texts that are not UTF-8, a json_schema that is not JSON; half a seal,
 * allocator or clock; and what the comments on the fields exclude.
 * Lifetime:  everything in `options` is copied (see Ownership). Release the endpoint with
 *            restate_endpoint_free().
 * Returns:   NULL only when out of memory; the functions below accept it (RESTATE_ERROR, -1, 0). */
RESTATE_API restate_endpoint *restate_endpoint_new(const restate_endpoint_options *options);

/* What went wrong last, as a sentence; "" if nothing did.
 *
 * Lifetime:  until the next call on the endpoint. NULL gives "out of memory". */
RESTATE_API const char *restate_endpoint_error(const restate_endpoint *endpoint);

/* Stops at once, waits for what executes, and releases everything. NULL is fine.
 *
 * Open attempts are cut off, and tried again by the server; their handlers return with
 * RESTATE_ENDED first. Open streams are freed, too. Handlers and closures that do not return are
 * waited for 5 s; then the log names them, and this returns without releasing what they may still
 * use: the endpoint, its pool and their event loops stay in memory for good, and what `options`
 * referred to has to stay with them. Not from a handler or a closure, and not before
 * restate_endpoint_run() has returned. */
RESTATE_API void restate_endpoint_free(restate_endpoint *endpoint);

/* ---- A transport of your own ----------------------------------------------------------------- */

typedef struct restate_http_request {
    const char *method, *path;
    const restate_pair *headers;            /* names in lower case; ends with {0} */
    bool whole;                             /* the handler starts when all of the request is there,
                                               and suspends where it would wait (HTTP/1.1, functions
                                               as a service); discovery says so */
} restate_http_request;

/* One HTTP exchange over a transport of your own, or (`request` NULL) one HTTP/2 connection whose
 * bytes you carry, inside TLS for instance; not with RESTATE_NO_SERVER.
 *
 *     restate_stream *s = restate_stream_open(endpoint, &request);     // a whole exchange
 *     restate_stream_feed(s, body);
 *     restate_stream_feed(s, (restate_bytes){0});
 *     do {
 *         more = restate_stream_take(s, &bytes, &status, &headers);
 *         append(&response, bytes);
 *     } while (more == RESTATE_OK);
 *     restate_stream_free(s);
 * No sockets, and no threads but those of the pool and of blocking handlers: other handlers run
 * inside of these functions, and every call lets those of all streams of the endpoint go on. Many
 * may be open. Paths and statuses are those of restate_endpoint_options. restate_endpoint_stop()
 * only has new exchanges refused; feed absent bytes to open ones: they suspend where they would
 * wait. One whose journal has not arrived yet cannot: give it time for the rest, or take gives
 * RESTATE_ERROR, and its transport is to be broken off. A test without a server can feed a recorded
 * journal; a runtime in memory is not part of this header.
 * Lifetime:  `request` is copied; the stream, until restate_stream_free(), or the endpoint's end.
 * Threads:   all streams of an endpoint on the same one; not from handlers and closures.
 * Returns:   NULL on failure, see restate_endpoint_error(); the functions below accept it
 *            (RESTATE_ERROR). A request that is refused is no failure: take gives the answer. */
RESTATE_API restate_stream *restate_stream_open(restate_endpoint *endpoint,
                                                const restate_http_request *request);

/* Takes bytes that arrived, of any length; absent bytes: the peer sends no more.
 *
 * After absent bytes handlers suspend where they would wait, and a connection takes no more
 * exchanges: so it ends gracefully. Free one that broke.
 * Lifetime:  `arrived` is call.
 * Returns:   RESTATE_OK; RESTATE_ENDED (it takes no more, this was ignored); RESTATE_ERROR (out of
 *            memory, or not HTTP/2). */
RESTATE_API restate_status restate_stream_feed(restate_stream *stream, restate_bytes arrived);

/* Gives what is to be sent; absent bytes if there is nothing now. Call it until there is nothing,
 * after every feed, and on all streams when `stream_wake` (restate_endpoint_options) tells that a
 * closure or a blocking handler went on. Without stream_wake it waits for these itself, and gives
 * nothing only while more has to arrive: enough for whole exchanges. Closures that wait for another
 * exchange with the same endpoint need stream_wake.
 *
 * Also gives `*status` and `*headers` of the response, from the first call on (both may be NULL; 0
 * and NULL for a connection).
 * Lifetime:  until the next call on the stream.
 * Returns:   RESTATE_OK; RESTATE_ENDED (nothing follows these bytes); RESTATE_ERROR (out of memory,
 *            or ended by a stop before its journal had arrived: what was given is incomplete; or
 *            `to_send` is NULL). */
RESTATE_API restate_status restate_stream_take(restate_stream *stream, restate_bytes *to_send,
                                               uint16_t *status, const restate_pair **headers);

/* Cuts off what is still open, and releases it. NULL is fine.
 *
 * The handler gets RESTATE_ENDED. What a closure still uses is released by a later call on any
 * stream, or with the endpoint. */
RESTATE_API void restate_stream_free(restate_stream *stream);

#ifndef RESTATE_NO_SERVER

/* Makes an endpoint, serves, and gives an exit status: 1 and a line in the log if it could not.
 * `int main(void) { return restate_serve(&options); }`
 *
 * SIGTERM ends the process as it is: what was under way is tried again. With `stop_on_signals`,
 * SIGTERM and SIGINT stop it as restate_endpoint_stop() does: the first one drains, a second one
 * cuts off; the status is then 0. A handler for the two is installed meanwhile, for which the
 * library keeps a global, and what was there before is put back. A signal that was ignored stays
 * ignored, and one that all threads block stops nothing. Several restate_serve() in threads of one
 * process are stopped together.
 *
 * With `processes` = N, N worker processes serve the port, and the calling one supervises them. A
 * worker that is killed, or in which a handler crashes or calls exit(), is named in the log with
 * what ended it (the worker itself says on stderr in which handler, unless crash_report is OFF),
 * and another one takes its place: after 100 ms, then twice as long each time, at most 1 s, until
 * one has lasted for 10 s. What the others execute goes on; the invocations of
 * the dead one are tried again. Connections go to the worker that has the fewest. max_connections,
 * max_invocations, pool_threads and threads are those of each worker.
 *   SIGTERM and SIGINT stop all, as if stop_on_signals were ON (unless it is OFF), and a third one
 * kills. Sent to a worker alone they replace it, once it has drained. A worker with something that
 * does not return names it and ends 5 s after drain_ms, or is killed 5 s later; the status is then
 * 1. If the supervisor dies the workers drain and end. They are made by fork(), so call this before
 * there are threads; each ends by exit().
 * Returns:   in the calling process only. */
RESTATE_API int restate_serve(const restate_endpoint_options *options);

/* Listens and serves until it is stopped; then drains (see restate_endpoint_stop()).
 *
 * HTTP/2 with prior knowledge, no TLS. Probes of its health may speak HTTP/1; who asks for anything
 * else in it is told so (505), and who begins TLS is named in the log. A stop that came before
 * counts. An endpoint that was stopped does not serve again.
 * Threads:   the calling one accepts, watches and stops; each event loop has a thread of its own,
 *            so that no handler that does not return holds that up. (With RESTATE_NO_THREADS the
 *            calling thread is the event loop.)
 * Returns:   RESTATE_OK (stopped); RESTATE_ERROR (wrong options, out of memory, the address or port
 *            cannot be had, or a handler or closure did not return 5 s after the stop had cut it
 *            off: restate_endpoint_error() says which). */
RESTATE_API restate_status restate_endpoint_run(restate_endpoint *endpoint);

/* Asks the endpoint to stop, and returns at once.
 *
 * No new work is taken. Handlers suspend where they would wait; drain_ms is there for journals that
 * are on their way to arrive, and for what executes to finish, then the rest is cut off: its
 * handlers get RESTATE_ENDED, the server goes on with it elsewhere, or here after a restart.
 * Closures that still wait for a thread are not begun then. What does not return is waited for 5 s;
 * then restate_endpoint_run() returns RESTATE_ERROR and names it, and restate_endpoint_free() does
 * not release what it may still use. Called twice: cut off now.
 * Threads:   any, and signal handlers; not once the endpoint is being freed. NULL is fine. */
RESTATE_API void restate_endpoint_stop(restate_endpoint *endpoint);

/* For an event loop of your own: listens, and gives a descriptor to poll for reading, which is
 * readable whenever restate_endpoint_process() has something to do, timers included.
 *
 * It is an epoll descriptor. On systems without epoll there is none that covers all: it is -1, and
 * restate_endpoint_process() with a wait does the same.
 * Lifetime:  the descriptor is the endpoint's: do not read, write or close it.
 * Returns:   -1 on failure (see restate_endpoint_error()). */
RESTATE_API int restate_endpoint_fd(restate_endpoint *endpoint);

/* Does what there is to do, handlers included, after waiting at most `wait_ms` for something.
 *
 * 0 does not wait. Instead of restate_endpoint_run(), not beside it. The first call listens.
 * Threads:   always the same one. It is the event loop: while a handler holds it nothing is
 *            accepted, and nobody watches.
 * Returns:   RESTATE_OK; RESTATE_ENDED once a stop has finished; RESTATE_ERROR (as run). */
RESTATE_API restate_status restate_endpoint_process(restate_endpoint *endpoint, uint64_t wait_ms);

/* The port that is listened on; 0: none yet.
 *
 * Threads:   any, while the endpoint exists. */
RESTATE_API uint16_t restate_endpoint_port(const restate_endpoint *endpoint);

#endif /* RESTATE_NO_SERVER */

/* ================================================================================================
// >>api-client  client, contexts of it, answers, requests, own loop
// Calls services from programs that are no handlers, by the same functions.
================================================================================================ */

/* A main(), a daemon or a test calls services by restate_call() and its relatives, on a context
 * that restate_client_begin() gives:
 *
 *     restate_client *client = restate_client_new(NULL);          // http://127.0.0.1:8080
 *     restate_ctx *ctx = restate_client_begin(client);
 *     restate_bytes greeting;
 *     restate_status s = restate_call(ctx, (restate_target){ .service = "Greeter",
 *         .handler = "greet" }, restate_json(ctx, "%s", "Ada"), NULL, &greeting);
 *     ...
 *     restate_client_end(ctx);
 *     restate_client_free(client);
 *
 * Nothing is journaled: when the program dies, what it waited for goes on in the server, and nobody
 * waits for it. In handlers use the handler's context, which survives that; closures may have a
 * client of their own.
 *
 *   Works by           Functions on such a context
 *   the ingress        restate_call, _call_async, _send, _call_id, _attach, _attach_async, _output,
 *                      _resolve, _reject (of a failure only the message is sent)
 *   the admin API      restate_cancel; of the object that restate_client_at() names: restate_get,
 *                      _get_async, _get_all, _keys, _set, _clear, _clear_all
 *   this machine       restate_sleep, _sleep_async, _now; restate_random, _random_..., _uuid (of
 *                      the system's randomness); all of "Futures" but cancellations; memory, text,
 *                      JSON, codecs, restate_log, _key, _fail, _fail_with, _failed
 *   nothing            all others are misuse; the ingress has no path for signals and promises
 *
 * A workflow that may have been started before, run or attached to (in handlers just so):
 *     restate_target signup = { .service = "SignUp", .handler = "run", .key = "ada" };
 *     restate_send(ctx, signup, input, NULL);
 *     signup.handler = NULL;
 *     s = restate_attach(ctx, (restate_invocation){ .target = signup }, &result);
 *
 *   Status             Meaning on a context of a client        restate_failed()
 *   RESTATE_OK         Done.
 *   RESTATE_TERMINAL   The invocation failed.                  its code, message and metadata
 *   RESTATE_TIMEOUT    The time was over, timeout_ms or        408
 *                      restate_await_for(). It may go on.
 *   RESTATE_ERROR      No invocation answered. The request     the HTTP status, 0 if there was no
 *                      was refused, or got no answer, or was   answer; the server's message, or a
 *                      misuse of this library.                 sentence
 *
 * No error sticks: the next call is a fresh one. Where a function returns no status (rule 3), its
 * error comes out of the next one that does, which does nothing else: restate_call() with the input
 * that restate_json() could not make returns RESTATE_ERROR, and sends nothing.
 *
 * What is tried again. By retry, a request that got no answer, or 408, 425, 429 or 5xx of the
 * ingress, if doing it twice does no harm: calls and sends with an idempotency key, sends to a
 * workflow's main handler, attach, output, resolve, reject, cancel, reads. Others only if they
 * certainly did not reach the server. restate_uuid() makes a good key. What an invocation failed
 * with is never tried again.
 *
 * Keys, names and scopes are percent-encoded. Input goes out as application/json; what
 * restate_encode() made, as its codec says; absent input without a content type. A header
 * "content-type" in the options wins. */

/* TLS by a library of yours, for https addresses. The client connects the socket, makes it
 * nonblocking, and waits for it.
 *
 * Threads:   that of the client. */
typedef struct restate_tls {
    /* Begins a connection over `fd`; the handshake may go on in read and write. It has to verify
     * `host` and to offer "h2" by ALPN. NULL: it could not. */
    void *(*open)(void *user, int fd, const char *host);
    int (*read)(void *user, void *conn, void *to, size_t len);  /* bytes, or a RESTATE_IO_... */
    int (*write)(void *user, void *conn, const void *from, size_t len);     /* the same */
    void (*close)(void *user, void *conn);  /* the client closes `fd` afterwards */
    void *user;
} restate_tls;

enum {
    RESTATE_IO_END = 0,                     /* the peer sends no more */
    RESTATE_IO_READ = -1,                   /* again, when the socket is readable */
    RESTATE_IO_WRITE = -2,                  /* again, when it is writable */
    RESTATE_IO_ERROR = -3
};

typedef struct restate_client_options {
    const char *ingress;                    /* http://127.0.0.1:8080; also https://..., and
                                               unix:/path of a socket; may end in a path */
    const char *admin;                      /* the same for the admin API (port 9070); none: what
                                               needs it is RESTATE_ERROR */
    const char *token;                      /* sent to both as "authorization: Bearer ..."; none */
    const restate_pair *headers;            /* sent with every request; none */
    uint64_t timeout_ms;                    /* of a request, all its tries together; none */
    uint64_t connect_timeout_ms;            /* 10,000 */
    restate_retry_policy retry;             /* what is 0: 250 ms, x 2, at most 3 s, 6 tries, 60 s
                                               in all; max_attempts 1: none; `retry-after` of an
                                               answer is honoured */
    uint32_t connections;                   /* per address at most, opened when needed; 16. Each
                                               carries as many requests at a time as the server
                                               lets it (200); what is more waits */
    size_t max_message_bytes;               /* of an answer; 64 MiB; a larger one is an error */
    const restate_codec *codec;             /* where NULL is given as codec; RESTATE_JSON */
    const restate_seal *seal;               /* none; has to be that of the services called */
    const restate_tls *tls;                 /* OpenSSL's with RESTATE_WITH_OPENSSL; else https is a
                                               wrong option */
    restate_allocator allocator;            /* RESTATE_MALLOC and its family */
    restate_logger logger;                  /* standard error, INFO */
} restate_client_options;

#if !defined(RESTATE_NO_CLIENT) && !defined(RESTATE_NO_SERVER)

/* Makes a client. It does not connect yet: wrong options, too, come out of the first request, as
 * RESTATE_ERROR.
 *
 * HTTP/2 with prior knowledge, or by ALPN with https; HTTP/1 is not spoken. Connections stay open
 * and are made anew when needed.
 * Lifetime:  everything in `options` is copied, but for codec, seal, tls and `user` pointers, which
 *            have to live as long as the client. Release it with restate_client_free().
 * Threads:   a client and its contexts are for one thread at a time. Not in handlers, which must
 *            not block.
 * Returns:   NULL only when out of memory; the functions below accept it. */
RESTATE_API restate_client *restate_client_new(const restate_client_options *options);

/* For an event loop of your own: a descriptor to poll for reading, which is readable whenever
 * restate_client_process() has something to do, timers included. As restate_endpoint_fd() in all
 * else; -1 for the clients of tests. */
RESTATE_API int restate_client_fd(restate_client *client);

/* Sends and receives what it can, after waiting at most `wait_ms` for something, and calls what
 * restate_client_then() noted.
 *
 * Requests make progress in here, and inside of every function that waits; nowhere else.
 * Returns:   RESTATE_OK; RESTATE_ERROR (out of memory). Failures of requests are theirs. */
RESTATE_API restate_status restate_client_process(restate_client *client, uint64_t wait_ms);

#endif /* RESTATE_NO_CLIENT */

#if !defined(RESTATE_NO_CLIENT) || defined(RESTATE_WITH_TEST)

/* Cuts off what is under way, ends all contexts, releases everything. NULL is fine. */
RESTATE_API void restate_client_free(restate_client *client);

/* A context for a piece of work: a request, a batch, a test. Many may be open.
 *
 * Lifetime:  what comments call `invocation` lasts until restate_client_end().
 * Returns:   never NULL; out of memory, a context on which everything is RESTATE_ERROR. */
RESTATE_API restate_ctx *restate_client_begin(restate_client *client);

/* Releases the context with its futures and memory; inside of a function of restate_client_then()
 * when that has returned. Its requests are cut off; what the server has accepted goes on. */
RESTATE_API void restate_client_end(restate_ctx *ctx);

/* From here on the state functions of this context, restate_key() and, in tests, those of promises
 * are about this object or workflow (its handler is not looked at). Before the first call they are
 * misuse.
 *
 * State of a server is read by a query, and written by replacing all of it if nobody wrote since
 * that (else RESTATE_ERROR), some ms later: for repairs and tests, not for work.
 * Lifetime:  `object` is copied. */
RESTATE_API void restate_client_at(restate_ctx *ctx, restate_target object);

/* What is known of an HTTP answer. */
typedef struct restate_answer {
    uint16_t http_status;                   /* 0: no answer, or none yet */
    const char *invocation_id;              /* "": it names none */
    bool previously_accepted;               /* a send met an invocation that was there already */
    uint32_t tries;                         /* how often it was sent */
    const restate_pair *headers;            /* names in lower case; ends with {0} */
} restate_answer;

/* The answer behind a future of restate_call_async(), restate_send(), restate_attach_async() or
 * restate_client_request(); NULL: the last answer that a function returned on this context.
 *
 * Does not wait. On other futures all is zero.
 * Returns:   never NULL. */
RESTATE_API const restate_answer *restate_client_answer(restate_ctx *ctx, restate_future *request);

/* Sends any request, to the admin API unless `path` begins with /restate/, and gives the answer as
 * a future, which fails (RESTATE_ERROR) with statuses from 400 on. For what has no function:
 *
 *   PATCH  /invocations/ID/kill                          end it now; the handler is not told
 *   PATCH  /invocations/ID/pause, .../resume             hold it; let it go on, or end its back-off
 *   PATCH  /invocations/ID/restart-as-new                again, as a new one
 *   PATCH  /invocations/ID/purge                         forget a finished one
 *   POST   /query           {'query': 'select ...'}      SQL; the answer is {"rows": [...]}
 *   POST   /deployments     {'uri': ..., 'force': true}  register an endpoint
 *   POST   /restate/lookup  {'target': ...}              the id that an invocation has, or would
 *
 * In tests there are the PATCHes. `body` is JSON; absent: none. Tried again only if it is a GET or
 * a query.
 * Lifetime:  the value is invocation. */
RESTATE_API restate_future *restate_client_request(restate_ctx *ctx, const char *method,
                                                   const char *path, restate_bytes body);

typedef void restate_client_fn(void *user, restate_ctx *ctx, restate_future *future);

/* Calls `fn` once `future` is settled, or soon if it is already.
 *
 * In `fn` restate_await() of that future gives its result and does not wait; functions that would
 * wait are misuse. Without it, ask restate_is_done() after restate_client_process().
 * Threads:   that of the client, inside of restate_client_process() and of functions that wait. */
RESTATE_API void restate_client_then(restate_ctx *ctx, restate_future *future,
                                     restate_client_fn *fn, void *user);

#endif

/* ================================================================================================
// >>api-journal  fetch, print, check
// Journals of real invocations: fetch, print, check today's code against them.
================================================================================================ */

/* A journal, for these functions, is the answer of the admin API to
 *
 *     select j.index, j.entry_type, j.raw, i.id, i.target_service_name, i.target_service_key,
 *            i.target_handler_name, i.pinned_service_protocol_version, i.created_at,
 *            i.restarted_from, i.scope, i.limit_key, i.idempotency_key
 *     from sys_journal j join sys_invocation i on i.id = j.id
 *     where ... order by i.id, j.index
 *
 * as JSON, so curl makes one as well as restate_client_journal(), and it can hold the journals of
 * many invocations. In `raw` are the bytes that the server sends on replay; the rest of what it
 * sends follows from these columns. Finished invocations have a journal as long as
 * journal_retention_ms says.
 * Since:     server 1.7 (older ones were not tried). */

#if !defined(RESTATE_NO_CLIENT) || defined(RESTATE_WITH_TEST)

/* The journal of one invocation, by `id`; or those of all that are not finished of a service, of
 * one of its handlers, of a key: what `target` leaves out counts as any. Nothing given: of all.
 *
 * Lifetime:  `*journal` is invocation.
 * Returns:   RESTATE_OK, also if there is none; RESTATE_ERROR; RESTATE_TIMEOUT. */
RESTATE_API restate_status restate_client_journal(restate_ctx *ctx, restate_invocation of,
                                                  restate_bytes *journal);

#endif

/* A journal for people, and for files that tests compare with: a line per command, on any context.
 *
 *     Seats/A1/hold inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61
 *       0 input "ada"
 *       1 get state "holder" -> void
 *       2 set state "holder" "ada"
 *       3 run "mail" -> null
 *       4 send Seats/A1/expire at 2030-01-01T00:15:00.000Z -> inv_1bMRA1oXbedv28z3P0syegQaTgEe5x
 *       5 output true
 * Numbers are those of error messages. `->` is followed by the result, by nothing if there is none
 * yet. Signals, and results that came in another order than that of their commands, are in a line
 * behind: "came: 3, signal 17, 1". State that was fetched looks like state that was sent along.
 * Failures are `failure 409 "taken"`; payloads that are no text are hex, long ones are cut at 200
 * bytes.
 * Returns:   "" if it is no journal. */
RESTATE_API const char *restate_journal_text(restate_ctx *ctx, restate_bytes journal);

typedef enum restate_fit {
    RESTATE_FITS = 0,                       /* every recorded command was asked for, in order */
    RESTATE_DIFFERS,                        /* this code would end with 570 */
    RESTATE_CANNOT_TELL                     /* no journal, or a service that is not here, ... */
} restate_fit;

/* Replays journals with the handlers of this endpoint, without effects: each handler is ended where
 * its journal ends, no closure executes, nothing is sent. For a test before a deployment.
 *
 * RESTATE_DIFFERS is a fact. RESTATE_FITS says nothing of handlers and paths that no journal here
 * took. Code before the first command of a handler, and between commands, does run. Seals need the
 * keys that were used. Hooks are not called; the log is that of the endpoint.
 * A handler that draws random numbers is tried with the two seeds that the server can have given it
 * (experimental-enable-unique-random-seeds); that of one that was restarted from a prefix is not
 * always known: then RESTATE_CANNOT_TELL instead of RESTATE_DIFFERS.
 * Lifetime:  `journal` is call. The endpoint need not run, and must not be running.
 * Threads:   the calling one, also for .blocking handlers.
 * Returns:   the worst of all. restate_endpoint_error() then names the first such invocation, the
 *            entry, and both sides; "" if all fit. */
RESTATE_API restate_fit restate_journal_check(restate_endpoint *endpoint, restate_bytes journal);

#ifdef RESTATE_WITH_TEST

/* ================================================================================================
// >>api-test  a runtime in memory, its text, exploring crashes
// A Restate server in memory, with a clock of its own and with crashes.
================================================================================================ */

/* The runtime is a client whose server is inside of it. The services are those of an endpoint, and
 * are called, cancelled, looked at as through any client; what a context of a client can do, and:
 *
 *   restate_sleep                       lets time pass: sleeping 30 days takes none
 *   restate_now                         the clock of the runtime
 *   restate_random, _uuid, ...          from the seed
 *   restate_signal_resolve, _reject     work, unlike with a server; so do restate_promise_peek,
 *                                       _resolve and _reject, of what restate_client_at() names
 *   restate_reply                       sets what restate_test_explore() compares
 *
 * One thread does everything: handlers and closures execute inside of functions that wait, one at a
 * time, closures on the handler's stack; `.blocking` handlers, too. The clock stands still while
 * anything can run. When nothing can it jumps to the next timer, sleep, delayed send or retry. If
 * there is none either, what waits gets RESTATE_ERROR, and the message says who waits for what; so
 * does a test that runs too far (max_ms, max_events). Retries follow the policies, and 70 failed
 * attempts take no time.
 * The same seed gives the same run, byte for byte, if closures do: give them fakes (`run`).
 * Keys, one exclusive handler at a time, workflows that run once, idempotency keys, retention,
 * delays, cancelling, killing, pausing, ingress_private: as the server does it. Scopes and limit
 * keys are passed on, but limit nothing; there are no size limits and no SQL. */
typedef struct restate_test_options {
    restate_endpoint *endpoint;             /* whose services there are; must not run or be freed
                                               meanwhile; required */
    uint64_t seed;                          /* of ids, of random numbers, of the order of what can
                                               run at a time, and of the next two; 0 is one, too */
    restate_switch suspend;                 /* as the seed has it; ON: at every wait, so each is
                                               followed by a replay; OFF: never */
    restate_switch lazy_state;              /* as the seed has it; ON: state is fetched by key; OFF:
                                               all of it is sent along */
    uint32_t crashes;                       /* of 1,000 places where an attempt can be lost (see
                                               restate_test_explore()) it is lost at so many; 0 */
    uint32_t protocol;                      /* 5 to 7; 6, as servers do if not told otherwise */
    uint64_t start_ms;                      /* the clock at first, since 1970; 2030-01-01 */
    uint64_t max_ms;                        /* how far it may go; 10 years */
    uint32_t max_events;                    /* how many journal entries may be made; 1,000,000 */
    /* Executes a closure: `return closure(run, arg)`, or something else that replies, fails or
     * retries in its place. Gets `user`. */
    restate_status (*run)(void *user, restate_ctx *run, const char *name, restate_closure *closure,
                          void *arg);
    void *user;                             /* none: closures are just called */
    restate_allocator allocator;            /* RESTATE_MALLOC and its family */
    restate_logger logger;                  /* standard error, WARN */
} restate_test_options;

/* Makes a runtime. It has no state and no invocations; restate_client_at() and restate_set() seed
 * state.
 *
 * Lifetime:  `options` are copied, `user` and endpoint are not; restate_client_free() releases it.
 * Returns:   NULL only when out of memory; wrong options come out as RESTATE_ERROR. */
RESTATE_API restate_client *restate_test_new(const restate_test_options *options);

/* All that the runtime has, as text: invocations in the order in which they came, each with status
 * and journal (see restate_journal_text()); state; what waits for what; the clock. */
RESTATE_API const char *restate_test_text(restate_ctx *ctx);

/* A test: what it returns, its failure, and what it gives to restate_reply(), are its outcome. It
 * is called many times, each time with a new runtime: set what fakes keep back at its beginning. */
typedef restate_status restate_test_fn(restate_ctx *ctx, void *arg);

typedef struct restate_explore_options {
    bool pairs;                             /* then also lose two attempts per run */
    bool reply_only;                        /* compare only the outcome of the test itself: where
                                               results rightly depend on who comes first */
    uint32_t max_runs;                      /* 10,000; of more pairs than that, so many at random */
    const uint32_t *only;                   /* one run: lose attempts at just these places, which
                                               end with 0; to debug what a report names; none */
    uint32_t *runs;                         /* out: how many there were; may be NULL */
} restate_explore_options;

/* Runs a test again and again, and loses an attempt at another place each time, until it was lost
 * at every one; first, without losses, never suspending, always suspending, and with lazy state.
 *
 * Places, numbered from 1 in the order of the first run: when the endpoint has sent an entry and
 * the server has not stored it; when it has stored it and the endpoint does not know; before a
 * notification is delivered; before a closure executes; at each restate_stop_requested() in it,
 * which says true; and when it has returned and its result is not stored. Losing an attempt is
 * losing the connection: the handler gets RESTATE_ENDED where it waits, and is started again at
 * once, the clock standing still. (Memory outside of the invocation survives, as it does not in a
 * process that is killed.)
 *
 * Every run has to end with the same outcome: of the test, of every invocation, and of all state.
 * No attempt may differ from its journal (570), no closure may execute whose result is stored, and
 * no invocation may be left that nobody can finish. So it finds handlers that are not
 * deterministic, effects outside of closures, and closures that are not idempotent, if the test's
 * fakes count what these do and reply it.
 * The first fault is logged at ERROR: the places, the seed, both outcomes, both journals.
 * Lifetime:  `options`, `arg` and `how` (which may be NULL) are call.
 * Returns:   RESTATE_OK; RESTATE_ERROR (a fault; or the test does not even pass without losses). */
RESTATE_API restate_status restate_test_explore(const restate_test_options *options,
                                                restate_test_fn *test, void *arg,
                                                const restate_explore_options *how);

#endif /* RESTATE_WITH_TEST */

#ifdef __cplusplus
}

/* C++ has no compound literals: restate_opt(restate_call_options{.idempotency_key = "k"}) gives the
 * address of a temporary that lives until the end of the full expression. */
template <class T> inline const T *restate_opt(const T &options) { return &options; }
#endif

#endif /* RESTATE_H */

#if defined(RESTATE_IMPLEMENTATION) && !defined(RESTATE__IMPLEMENTED)
#define RESTATE__IMPLEMENTED

/* What the implementation cannot do without. If something is missing one sentence says so and what
 * to do, and nothing is compiled: what would not fit is hundreds of lines. */
#include <time.h>
#if !defined(CLOCK_MONOTONIC) || (defined(__GLIBC__) && !defined(__USE_XOPEN2K8))
#  if defined(RESTATE_NO_SERVER) && defined(RESTATE_NO_THREADS) && defined(RESTATE_CLOCK_MS)
#  elif defined(__unix__) || defined(__APPLE__)
#    define RESTATE__POSIX_HIDDEN 1
#  elif !defined(RESTATE_NO_SERVER) || !defined(RESTATE_NO_THREADS)
#    define RESTATE__POSIX_MISSING 1
#  endif
#endif
#if !defined(PB_C99_STATIC_ASSERT) && \
    (!defined(__STDC_VERSION__) || __STDC_VERSION__ < 201112L)
#  define PB_C99_STATIC_ASSERT 1            /* else nanopb asserts with what C99 has not */
#endif
#include <pb.h>
#ifndef RESTATE_NO_CJSON
#  include <cjson/cJSON.h>
#endif
#ifndef RESTATE_NO_SERVER
#  include <nghttp2/nghttp2.h>
#endif

#if defined(__cplusplus)
#  error "restate.h: the implementation is C: define RESTATE_IMPLEMENTATION in a .c file, and \
include restate.h without it in C++ files"
#elif defined(RESTATE__POSIX_HIDDEN)
#  error "restate.h: a system header came first and hides POSIX: include restate.h before all of \
them, or compile with -D_DEFAULT_SOURCE"
#elif defined(RESTATE__POSIX_MISSING)
#  error "restate.h: this system is not POSIX: define RESTATE_NO_SERVER and RESTATE_NO_THREADS"
#elif !defined(RESTATE_NO_THREADS) && !defined(RESTATE_ATOMIC_LOAD) && \
    !defined(__GCC_ATOMIC_INT_LOCK_FREE)
#  error "restate.h: this compiler has not the atomic functions of gcc and clang: define \
RESTATE_NO_THREADS, or RESTATE_ATOMIC_LOAD and its family"
#elif !defined(PB_PROTO_HEADER_VERSION) || PB_PROTO_HEADER_VERSION != 40 || \
    !defined(PB_GEN_LARGEST_TAG)
#  error "restate.h: <pb.h> is not of nanopb 0.4.3 or a later 0.4: install such a one"
#elif !defined(RESTATE_NO_CJSON) && CJSON_VERSION_MAJOR * 10000 + CJSON_VERSION_MINOR * 100 + \
    CJSON_VERSION_PATCH < 10713
#  error "restate.h: cJSON is older than 1.7.13: install a newer one, or define RESTATE_NO_CJSON"
#elif !defined(RESTATE_NO_SERVER) && NGHTTP2_VERSION_NUM < 0x012900
#  error "restate.h: nghttp2 is older than 1.41.0: install a newer one, or define RESTATE_NO_SERVER"
#else
#  define RESTATE__EMIT 1
#endif
#endif

#ifdef RESTATE__EMIT
#undef RESTATE__EMIT

/* ================================================================================================
// >>platform  compiler, defaults of macros, atomic operations                           [restate__]
// What the rest may rely on: attributes, asserts, atomics.
================================================================================================ */

#include <stdarg.h>
#include <string.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__GNUC__)
#  define RESTATE__PRIVATE static __attribute__((unused))
#  define RESTATE__LIKELY(x) __builtin_expect(!!(x), 1)
#  define RESTATE__UNLIKELY(x) __builtin_expect(!!(x), 0)
#  define RESTATE__NOINLINE __attribute__((noinline))
#else
#  define RESTATE__PRIVATE static
#  define RESTATE__LIKELY(x) (x)
#  define RESTATE__UNLIKELY(x) (x)
#  define RESTATE__NOINLINE
#endif
#define RESTATE__STATIC_ASSERT(name, x) typedef char restate__assert_##name[(x) ? 1 : -1]

#ifndef RESTATE_ASSERT
#  ifdef NDEBUG
#    define RESTATE_ASSERT(x) ((void)0)
#  else
#    include <assert.h>
#    define RESTATE_ASSERT(x) assert(x)
#  endif
#endif

#if defined(RESTATE_MALLOC) != defined(RESTATE_REALLOC) || \
    defined(RESTATE_MALLOC) != defined(RESTATE_FREE)
#    error "restate.h: define all of RESTATE_MALLOC, RESTATE_REALLOC and RESTATE_FREE, or none"
#endif
#ifndef RESTATE_MALLOC
#  if defined(__GLIBC__)
#    include <malloc.h>
#    define RESTATE__MALLOC_TRIM() ((void)malloc_trim(0))
#  endif
#  define RESTATE_MALLOC(size) malloc(size)
#  define RESTATE_REALLOC(old, size) realloc(old, size)
#  define RESTATE_FREE(old) free(old)
#endif

RESTATE__STATIC_ASSERT(size, sizeof(size_t) >= 4);

/* Atomic operations on bool, int, unsigned and pointers; the order is one of gcc's. EXCHANGE names
 * the type of the value, because plain C needs one function for each type. */
#if defined(RESTATE_ATOMIC_LOAD)
#  if !defined(RESTATE_ATOMIC_STORE) || !defined(RESTATE_ATOMIC_EXCHANGE) || \
    !defined(RESTATE_ATOMIC_ADD) || !defined(RESTATE_ATOMIC_OR) || \
    !defined(RESTATE_ATOMIC_AND) || !defined(RESTATE_ATOMIC_CAS)
#    error "restate.h: define all of RESTATE_ATOMIC_LOAD, _STORE, _EXCHANGE, _ADD, _OR, _AND, _CAS"
#  endif
#  define RESTATE__LOAD(ptr, order) RESTATE_ATOMIC_LOAD(ptr)
#  define RESTATE__STORE(ptr, value, order) RESTATE_ATOMIC_STORE(ptr, value)
#  define RESTATE__EXCHANGE(type, ptr, value, order) RESTATE_ATOMIC_EXCHANGE(ptr, value)
#  define RESTATE__ADD(ptr, n, order) RESTATE_ATOMIC_ADD(ptr, n)
#  define RESTATE__SUB(ptr, n, order) RESTATE_ATOMIC_ADD(ptr, 0u - (n))
#  define RESTATE__OR(ptr, bits, order) RESTATE_ATOMIC_OR(ptr, bits)
#  define RESTATE__AND(ptr, bits, order) RESTATE_ATOMIC_AND(ptr, bits)
#  define RESTATE__CAS(ptr, expected, value) RESTATE_ATOMIC_CAS(ptr, expected, value)
#elif defined(__GCC_ATOMIC_INT_LOCK_FREE) && \
    (!defined(RESTATE_NO_THREADS) || (__GCC_ATOMIC_INT_LOCK_FREE == 2 && \
     __GCC_ATOMIC_BOOL_LOCK_FREE == 2 && __GCC_ATOMIC_POINTER_LOCK_FREE == 2))
#  define RESTATE__LOAD(ptr, order) __atomic_load_n(ptr, __ATOMIC_##order)
#  define RESTATE__STORE(ptr, value, order) __atomic_store_n(ptr, value, __ATOMIC_##order)
#  define RESTATE__EXCHANGE(type, ptr, value, order) \
    __atomic_exchange_n(ptr, value, __ATOMIC_##order)
#  define RESTATE__ADD(ptr, n, order) __atomic_fetch_add(ptr, n, __ATOMIC_##order)
#  define RESTATE__SUB(ptr, n, order) __atomic_fetch_sub(ptr, n, __ATOMIC_##order)
#  define RESTATE__OR(ptr, bits, order) __atomic_fetch_or(ptr, bits, __ATOMIC_##order)
#  define RESTATE__AND(ptr, bits, order) __atomic_fetch_and(ptr, bits, __ATOMIC_##order)
#  define RESTATE__CAS(ptr, expected, value) \
    __atomic_compare_exchange_n(ptr, expected, value, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)
#elif defined(RESTATE_NO_THREADS)           /* one thread: plain operations do */
#  define RESTATE__LOAD(ptr, order) (*(ptr))
#  define RESTATE__STORE(ptr, value, order) ((void)(*(ptr) = (value)))
#  define RESTATE__EXCHANGE(type, ptr, value, order) restate__plain_swap_##type(ptr, value)
#  define RESTATE__ADD(ptr, n, order) restate__plain_add(ptr, n)
#  define RESTATE__SUB(ptr, n, order) restate__plain_add(ptr, 0u - (n))
#  define RESTATE__OR(ptr, bits, order) ((void)(*(ptr) |= (bits)))
#  define RESTATE__AND(ptr, bits, order) ((void)(*(ptr) &= (bits)))
#  define RESTATE__CAS(ptr, expected, value) (*(ptr) = (value), true)

RESTATE__PRIVATE void *restate__plain_swap_pointer(void *at, void *value) {
    void *before;
    memcpy(&before, at, sizeof before);
    memcpy(at, &value, sizeof value);
    return before;
}

RESTATE__PRIVATE bool restate__plain_swap_bool(bool *at, bool value) {
    bool before = *at;
    *at = value;
    return before;
}

RESTATE__PRIVATE unsigned restate__plain_swap_unsigned(unsigned *at, unsigned value) {
    unsigned before = *at;
    *at = value;
    return before;
}

RESTATE__PRIVATE unsigned restate__plain_add(unsigned *at, unsigned n) {
    return (*at += n) - n;
}
#endif

RESTATE_API uint32_t restate_version(void) { return RESTATE_VERSION; }

/* ================================================================================================
// >>bytes  slices, numbers, UTF-8, base64, ids, an ordered map         [restate__b_ restate__map_]
// Views on memory that somebody else owns.
================================================================================================ */

static restate_bytes restate__b(const void *ptr, size_t len) {
    return (restate_bytes){ .ptr = ptr, .len = len };
}

RESTATE__PRIVATE restate_bytes restate__b_none(void) { return restate__b(NULL, 0); }

RESTATE_API restate_bytes restate_str(const char *text) {
    return text ? restate__b(text, strlen(text)) : restate__b_none();
}

RESTATE__PRIVATE bool restate__b_equal(restate_bytes a, restate_bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Orders by the bytes; of two where one is the beginning of the other, the shorter is first. */
RESTATE__PRIVATE int restate__b_compare(restate_bytes a, restate_bytes b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

RESTATE__PRIVATE bool restate__b_is(restate_bytes a, const char *text) {
    return restate__b_equal(a, restate_str(text));
}

RESTATE__PRIVATE void restate__b_put32(uint8_t *to, uint32_t n) {
    to[0] = (uint8_t)(n >> 24);
    to[1] = (uint8_t)(n >> 16);
    to[2] = (uint8_t)(n >> 8);
    to[3] = (uint8_t)n;
}

RESTATE__PRIVATE uint32_t restate__b_get32(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

#define RESTATE__END "a list ends with an element that is all zero, and with no other"

/* How many pairs a list has; NULL is an empty one. */
RESTATE__PRIVATE size_t restate__b_pairs(const restate_pair *pairs) {
    size_t n = 0;
    while (pairs && pairs[n].name) n++;
    return n;
}

/* Whether a text is well-formed UTF-8: no overlong forms, no surrogates, at most U+10FFFF. */
RESTATE__PRIVATE bool restate__b_utf8(restate_bytes text) {
    const uint8_t *p = text.ptr, *end = text.len ? p + text.len : p;
    while (p < end) {
        uint32_t first = *p++, more, low = 0x80, high = 0xBF;
        if (RESTATE__LIKELY(first < 0x80)) continue;
        if (first >= 0xC2 && first <= 0xDF) more = 1;
        else if (first >= 0xE0 && first <= 0xEF) more = 2;
        else if (first >= 0xF0 && first <= 0xF4) more = 3;
        else return false;
        if (first == 0xE0) low = 0xA0;
        if (first == 0xED) high = 0x9F;
        if (first == 0xF0) low = 0x90;
        if (first == 0xF4) high = 0x8F;
        if ((size_t)(end - p) < more) return false;
        for (; more; more--, low = 0x80, high = 0xBF, p++)
            if (*p < low || *p > high) return false;
    }
    return true;
}

/* How many bytes the first character has; 0: it is not UTF-8. */
static size_t restate__b_character(restate_bytes text) {
    size_t n = 1, most = text.len < 4 ? text.len : 4;
    while (n < most && !restate__b_utf8(restate__b(text.ptr, n))) n++;
    return restate__b_utf8(restate__b(text.ptr, n)) ? n : 0;
}

/* Whether a character of `n` bytes can be shown as it is: it does not control a terminal, does not
 * begin a line, and does not change the direction of the text. Those in `also` can, too. */
static bool restate__b_harmless(const uint8_t *at, size_t n, const char *also) {
    if (n == 1) return (*at >= 0x20 && *at != 0x7F) || (*at && strchr(also, *at));
    if (n == 2) return !(at[0] == 0xC2 && at[1] < 0xA0) && !(at[0] == 0xD8 && at[1] == 0x9C);
    if (n != 3 || at[0] != 0xE2) return n != 0;
    if (at[1] == 0x80) return !(at[2] == 0x8E || at[2] == 0x8F || (at[2] >= 0xA8 && at[2] <= 0xAE));
    return !(at[1] == 0x81 && at[2] >= 0xA6 && at[2] <= 0xA9);
}

/* Whether restate__b_clean() would change nothing. */
RESTATE__PRIVATE bool restate__b_is_clean(restate_bytes text, const char *also) {
    while (text.len) {
        size_t n = *text.ptr < 0x80 ? 1 : restate__b_character(text);
        if (!n || (also && !restate__b_harmless(text.ptr, n, also))) return false;
        text.ptr += n;
        text.len -= n;
    }
    return true;
}

/* Cleans in place a text that a peer may have written. Bytes that are not UTF-8 become question
 * marks, and so do characters that are not harmless, unless `also` is NULL.
 *
 * The rule: log lines, refusals and errors for the server are cleaned as a whole where they leave
 * the library (restate__log_line(), restate__exchange_refuse(), restate__vm_fail()). So the functions
 * that format these texts need not care which part of them came from a peer. */
RESTATE__PRIVATE void restate__b_clean(char *text, size_t len, const char *also) {
    while (len) {
        restate_bytes rest = restate__b(text, len);
        size_t n = restate__b_character(rest), used = n ? n : 1;
        if (!n || (also && !restate__b_harmless(rest.ptr, n, also))) memset(text, '?', used);
        text += used;
        len -= used;
    }
}

/* The value of a digit of base64, in the common alphabet or in that of base64url; 64: no digit. */
RESTATE__PRIVATE uint32_t restate__b_base64_digit(uint8_t c, bool url) {
    if (c >= 'A' && c <= 'Z') return c - 'A' + 0u;
    if (c >= 'a' && c <= 'z') return c - 'a' + 26u;
    if (c >= '0' && c <= '9') return c - '0' + 52u;
    if (c == (url ? '-' : '+')) return 62;
    return c == (url ? '_' : '/') ? 63 : 64;
}

/* Writes base64, or base64url, which has no padding. Returns the end; no zero byte follows. */
RESTATE__PRIVATE char *restate__b_base64(char *to, restate_bytes from, bool url) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < from.len; i += 3) {
        size_t n = from.len - i < 3 ? from.len - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++) bits = bits << 8 | (k < n ? from.ptr[i + k] : 0u);
        for (size_t k = 0; k < 4 && (k <= n || !url); k++) {
            uint32_t digit = bits >> (18 - 6 * k) & 63;
            *to++ = k > n ? '=' : digit < 62 ? digits[digit] : (url ? "-_" : "+/")[digit - 62];
        }
    }
    return to;
}

/* Reads base64 without padding, in either alphabet. `strict`: only in that of base64url, and the
 * unused bits of the last digit have to be zero. Returns how many bytes it read, room + 1 if there
 * are more than `room`, SIZE_MAX if the text is not base64. */
RESTATE__PRIVATE size_t restate__b_base64_read(restate_bytes text, bool strict, uint8_t *to,
                                               size_t room) {
    uint32_t bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint32_t digit = restate__b_base64_digit(text.ptr[i], true);
        if (digit == 64 && !strict) digit = restate__b_base64_digit(text.ptr[i], false);
        if (digit == 64) return SIZE_MAX;
        bits = bits << 6 | digit;
        if (i % 4 == 0) continue;
        if (n == room) return n + 1;
        to[n++] = (uint8_t)(bits >> (6 - i % 4 * 2));
    }
    if (text.len % 4 == 1 || (strict && bits & ((1u << text.len % 4 * 6 % 8) - 1u)))
        return SIZE_MAX;
    return n;
}

/* ---- Ids ------------------------------------------------------------------------------------- */
/* The server decodes the ids in commands. If it cannot decode one, it refuses the whole attempt,
 * and the next attempt sends the same id again. So these functions have all rules of the server's
 * decoder, with the bounds of the numbers: they accept an id exactly if the server does. */

/* The value of a digit of base 62; 62: no digit. */
static unsigned restate__b_base62_digit(char c) {
    if (c >= '0' && c <= '9') return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'z') return (unsigned)(c - 'a') + 10u;
    return c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A') + 36u : 62u;
}

/* Whether `digits` are a larger number than `most`, which has as many digits. */
static bool restate__b_base62_above(const char *digits, const char *most) {
    for (; *most; digits++, most++)
        if (*digits != *most)
            return restate__b_base62_digit(*digits) > restate__b_base62_digit(*most);
    return false;
}

/* Why a text is not the id of an invocation; NULL: it is one. An id is "inv_", version 1, and two
 * numbers in base 62: one of 64 bits (the partition's key) and one of 128. */
RESTATE__PRIVATE const char *restate__b_invocation_id_fault(const char *id) {
    static const char most_64[] = "lYGhA16ahyf", most_128[] = "7N42dgm5tFLK9N8MT7fHC7";
    size_t n = strlen(id);
    if (strncmp(id, "inv_1", 5) != 0) return "it does not begin with \"inv_1\"";
    for (size_t i = 5; i < n; i++)
        if (restate__b_base62_digit(id[i]) == 62)
            return "behind \"inv_1\" there are digits and letters only";
    if (n != 5 + sizeof most_64 - 1 + sizeof most_128 - 1) return "it does not have 38 characters";
    if (restate__b_base62_above(id + 5, most_64) ||
        restate__b_base62_above(id + 5 + sizeof most_64 - 1, most_128))
        return "it stands for a number that is too large";
    return NULL;
}

/* Why a text is not the name of a scope; NULL: it is one. */
RESTATE__PRIVATE const char *restate__b_scope_fault(const char *scope) {
    size_t n;
    for (n = 0; scope[n]; n++)
        if (restate__b_base62_digit(scope[n]) == 62 && !strchr("_.-", scope[n]))
            return "a scope has digits, letters, '_', '.' and '-' only";
    return n > 36 ? "a scope has at most 36 characters" : NULL;
}

/* Why a text is not the id of an awakeable; NULL: it is one. An id is "sign_" (from old servers:
 * "prom_"), version 1, and base64url of the 24 bytes of an invocation's id and 4 of a number. None,
 * one or two characters of padding follow. The four unused bits of the last digit are zero. */
RESTATE__PRIVATE const char *restate__b_awakeable_id_fault(const char *id) {
    size_t i, n = strlen(id), digits = 6 + 38;
    if (strncmp(id, "sign_1", 6) != 0 && strncmp(id, "prom_1", 6) != 0)
        return "it does not begin with \"sign_1\" or \"prom_1\"";
    for (i = 6; i < n && (i < digits || id[i] != '='); i++)
        if (restate__b_base64_digit((uint8_t)id[i], true) == 64)
            return "behind its \"_1\" there are digits, letters, '-' and '_' only";
    if (i != digits || n > digits + 2 || strspn(id + i, "=") != n - i)
        return "it does not have 44 characters";
    if (restate__b_base64_digit((uint8_t)id[digits - 1], true) % 16)
        return "its last character is none of A, Q, g, w";
    return NULL;
}

/* ---- An ordered map -------------------------------------------------------------------------- */

/* The first member of a struct that is found by a key. A map is a pointer to its top node. Nodes
 * and keys belong to the caller and have to stay. Nodes cannot be removed.
 *
 * An AA tree: a left child is one level below its parent; a right child is on its parent's level or
 * one below; two right children in a row are never both on their parent's level. So a map of n keys
 * is at most 2 log2(n + 1) deep, for all keys in every order. That matters because peers choose the
 * keys: they could make a sorted array slow, and a hash table whose function is known. */
typedef struct restate__map_node {
    struct restate__map_node *left, *right;
    restate_bytes key;
    uint32_t level;                         /* 1 without children */
} restate__map_node;

#define RESTATE__MAP_DEPTH_MAX 64u

RESTATE__PRIVATE restate__map_node *restate__map_find(restate__map_node *top, restate_bytes key) {
    while (top) {
        int c = restate__b_compare(key, top->key);
        if (c == 0) break;
        top = c < 0 ? top->left : top->right;
    }
    return top;
}

static restate__map_node *restate__map_balance(restate__map_node *n) {
    restate__map_node *l = n->left, *r;
    if (l && l->level == n->level) {
        n->left = l->right;
        l->right = n;
        n = l;
    }
    r = n->right;
    if (r && r->right && r->right->level == n->level) {
        n->right = r->left;
        r->left = n;
        r->level++;
        n = r;
    }
    return n;
}

/* Adds a zeroed node under a key that is not there. */
RESTATE__PRIVATE void restate__map_add(restate__map_node **top, restate__map_node *node,
                                       restate_bytes key) {
    restate__map_node **path[RESTATE__MAP_DEPTH_MAX], **at = top;
    size_t n = 0;
    while (*at) {
        path[n++] = at;
        at = restate__b_compare(key, (*at)->key) < 0 ? &(*at)->left : &(*at)->right;
    }
    node->key = key;
    node->level = 1;
    *at = node;
    while (n-- > 0) *path[n] = restate__map_balance(*path[n]);
}

/* The node that follows `before` in the order of the keys; the first one if that is NULL. Returns
 * NULL if there is none. */
RESTATE__PRIVATE restate__map_node *restate__map_next(restate__map_node *top,
                                                      const restate__map_node *before) {
    restate__map_node *found = NULL;
    while (top) {
        if (!before || restate__b_compare(before->key, top->key) < 0) {
            found = top;
            top = top->left;
        } else {
            top = top->right;
        }
    }
    return found;
}

/* ================================================================================================
// >>memory  allocator, cache of blocks, arena, output buffer
//                                     [restate__mem_ restate__cache_ restate__arena_ restate__buf_]
// An invocation's memory is a list of chunks that go back to a cache when it is over.
================================================================================================ */

static void *restate__mem_default_alloc(void *user, size_t size) {
    (void)user;
    return RESTATE_MALLOC(size);
}

static void *restate__mem_default_realloc(void *user, void *old, size_t old_size, size_t size) {
    (void)user;
    (void)old_size;
    return RESTATE_REALLOC(old, size);
}

static void restate__mem_default_free(void *user, void *old, size_t size) {
    (void)user;
    (void)size;
    RESTATE_FREE(old);
}

/* `a`, or the functions of RESTATE_MALLOC unless `a` has all three. */
RESTATE__PRIVATE restate_allocator restate__mem_defaults(restate_allocator a) {
    if (a.alloc && a.realloc && a.free) return a;
    return (restate_allocator){ .alloc = restate__mem_default_alloc,
                                .realloc = restate__mem_default_realloc,
                                .free = restate__mem_default_free };
}

/* Uninitialised; NULL when out of memory. */
RESTATE__PRIVATE void *restate__mem_alloc(const restate_allocator *a, size_t size) {
    return a->alloc(a->user, size ? size : 1);
}

/* Zeroed; NULL when out of memory. */
RESTATE__PRIVATE void *restate__mem_zalloc(const restate_allocator *a, size_t size) {
    void *p = restate__mem_alloc(a, size);
    if (p) memset(p, 0, size);
    return p;
}

RESTATE__PRIVATE void restate__mem_free(const restate_allocator *a, void *old, size_t size) {
    if (old) a->free(a->user, old, size ? size : 1);
}

/* Gives freed memory back to the system: glibc's malloc keeps memory that lies below blocks in use.
 * This walks through all free memory, so call it only when much was just freed. */
RESTATE__PRIVATE void restate__mem_trim(const restate_allocator *a) {
#if defined(RESTATE__MALLOC_TRIM)
    if (a->alloc == restate__mem_default_alloc) RESTATE__MALLOC_TRIM();
#else
    (void)a;
#endif
}

/* ---- The cache ------------------------------------------------------------------------------- */
/* Keeps blocks for reuse by their size: chunks, and blocks that nghttp2 asks for. Streams and
 * invocations come and go, and each takes the same few sizes. A cache belongs to one thread. */

/* The head of a block; its bytes follow. A chunk of a buffer may also refer to bytes elsewhere. The
 * bytes of nghttp2's blocks begin where that reference would be. */
typedef struct restate__chunk {
    struct restate__chunk *next;
    size_t size;                            /* all of it, this head included */
    const uint8_t *elsewhere;               /* a reference: to `elsewhere_len` bytes; else NULL */
    size_t elsewhere_len;
} restate__chunk;

#define RESTATE__CHUNK_BYTES 4096u
#define RESTATE__CACHE_STEP 32u             /* sizes of small blocks are multiples of it */
#define RESTATE__CACHE_SMALL 1024u          /* the largest small block */
#define RESTATE__CACHE_CHUNKS (RESTATE__CACHE_SMALL / RESTATE__CACHE_STEP)  /* class of chunks */
#define RESTATE__CACHE_CLASSES (RESTATE__CACHE_CHUNKS + 10u)    /* large ones: up to 8 KiB, ... */
#define RESTATE__CACHE_LOOKS 4u             /* how many blocks of a class are looked at */
#define RESTATE__CACHE_LARGE_BYTES (4u << 20)   /* how much is kept in large blocks */

#ifndef RESTATE__CACHE_KEEPS_SMALL          /* 0: for tools that watch every block */
#  if defined(RESTATE__ASAN) || defined(RESTATE_VALGRIND)
#    define RESTATE__CACHE_KEEPS_SMALL 0
#  else
#    define RESTATE__CACHE_KEEPS_SMALL 1
#  endif
#endif

typedef struct restate__cache {
    const restate_allocator *allocator;
    restate__chunk **kept;                  /* by class; NULL: nothing is kept */
    size_t kept_bytes, kept_max;            /* of blocks up to a chunk's size */
    size_t large_bytes;                     /* kept in larger ones */
    size_t freed_bytes;                     /* that were not kept, since its owner set it to 0 */
} restate__cache;

/* `kept` has RESTATE__CACHE_CLASSES places, all NULL; or it is NULL. */
RESTATE__PRIVATE void restate__cache_init(restate__cache *cache, const restate_allocator *allocator,
                                          restate__chunk **kept, size_t kept_max) {
    *cache = (restate__cache){ .allocator = allocator, .kept = kept, .kept_max = kept_max };
}

/* The class of a block: small ones by their exact size, chunks, and large ones by their highest
 * bit. Blocks between small ones and chunks are in the first class of large ones. */
static uint32_t restate__cache_class(size_t size) {
    uint32_t i = RESTATE__CACHE_CHUNKS + 1;
    if (size == RESTATE__CHUNK_BYTES) return RESTATE__CACHE_CHUNKS;
    if (size <= RESTATE__CACHE_SMALL) return (uint32_t)((size - 1) / RESTATE__CACHE_STEP);
    while (i + 1 < RESTATE__CACHE_CLASSES && (size >>= 1) >= RESTATE__CHUNK_BYTES) i++;
    return i;
}

/* What points to a kept block of `size` bytes or up to twice as many. A larger one is better than
 * none, so the order in which sizes come matters little. NULL: none was found. */
static restate__chunk **restate__cache_find(restate__cache *cache, size_t size) {
    if (!cache->kept || size > SIZE_MAX / 2) return NULL;
    restate__chunk **at = &cache->kept[RESTATE__CACHE_CHUNKS];
    if (size == RESTATE__CHUNK_BYTES) return *at ? at : NULL;
    uint32_t class_ = restate__cache_class(size), last = restate__cache_class(2 * size);
    if (size <= RESTATE__CACHE_SMALL && last >= RESTATE__CACHE_CHUNKS)
        last = RESTATE__CACHE_CHUNKS - 1;
    for (; class_ <= last; class_++) {
        at = &cache->kept[class_];
        for (unsigned looks = 0; *at && looks < RESTATE__CACHE_LOOKS; looks++, at = &(*at)->next)
            if ((*at)->size >= size && (*at)->size / 2 <= size) return at;
    }
    return NULL;
}

static size_t *restate__cache_count(restate__cache *cache, size_t size) {
    return size > RESTATE__CHUNK_BYTES ? &cache->large_bytes : &cache->kept_bytes;
}

/* A block of at least `size` bytes; only its head is initialised. NULL: out of memory. */
static restate__chunk *restate__cache_take(restate__cache *cache, size_t size) {
    if (size <= RESTATE__CACHE_SMALL)
        size = (size + RESTATE__CACHE_STEP - 1) / RESTATE__CACHE_STEP * RESTATE__CACHE_STEP;
    restate__chunk **at = restate__cache_find(cache, size);
    restate__chunk *b = at ? *at : NULL;
    if (b) {
        *at = b->next;
        *restate__cache_count(cache, b->size) -= b->size;
    } else {
        b = restate__mem_alloc(cache->allocator, size);
        if (!b) return NULL;
        b->size = size;
    }
    b->next = NULL;
    return b;
}

RESTATE__PRIVATE void restate__cache_give(restate__cache *cache, restate__chunk *b) {
    bool large = b->size > RESTATE__CHUNK_BYTES;
    size_t *count = restate__cache_count(cache, b->size);
    size_t max = large ? RESTATE__CACHE_LARGE_BYTES : cache->kept_max;
    if (b->size <= RESTATE__CACHE_SMALL && !RESTATE__CACHE_KEEPS_SMALL) max = 0;
    if (!cache->kept || *count + b->size > max) {
        cache->freed_bytes += b->size;
        restate__mem_free(cache->allocator, b, b->size);
        return;
    }
    restate__chunk **at = &cache->kept[restate__cache_class(b->size)];
    b->next = *at;
    *at = b;
    *count += b->size;
}

/* Frees what is kept for reuse. */
RESTATE__PRIVATE void restate__cache_free(restate__cache *cache) {
    for (uint32_t i = 0; cache->kept && i < RESTATE__CACHE_CLASSES; i++)
        while (cache->kept[i]) {
            restate__chunk *b = cache->kept[i];
            cache->kept[i] = b->next;
            restate__mem_free(cache->allocator, b, b->size);
        }
    cache->kept_bytes = cache->large_bytes = 0;
}

/* ---- Chunks of memory ------------------------------------------------------------------------ */

#define RESTATE__CHUNK_HEAD ((sizeof(restate__chunk) + 15u) & ~(size_t)15u)

static uint8_t *restate__chunk_data(restate__chunk *c) {
    return (uint8_t *)c + RESTATE__CHUNK_HEAD;
}

/* A chunk with room for `need` bytes: of the usual size if they fit. NULL: out of memory. */
RESTATE__PRIVATE restate__chunk *restate__cache_chunk(restate__cache *cache, size_t need) {
    size_t size = RESTATE__CHUNK_BYTES;
    if (need > SIZE_MAX - RESTATE__CHUNK_HEAD) return NULL;
    if (need + RESTATE__CHUNK_HEAD > size) size = need + RESTATE__CHUNK_HEAD;
    restate__chunk *c = restate__cache_take(cache, size);
    if (c) c->elsewhere = NULL;
    return c;
}

static void restate__cache_give_all(restate__cache *cache, restate__chunk *c) {
    while (c) {
        restate__chunk *next = c->next;
        restate__cache_give(cache, c);
        c = next;
    }
}

/* ---- The arena ------------------------------------------------------------------------------- */

/* Memory that is freed all at once.
 *
 * Invariant: [at, end) is free in the first chunk. `failed` is sticky, so a caller can check it
 * once after many allocations. */
typedef struct restate__arena {
    restate__cache *cache;
    restate__chunk *chunks;
    uint8_t *at, *end;
    bool failed;
} restate__arena;

RESTATE__PRIVATE void restate__arena_init(restate__arena *arena, restate__cache *cache) {
    *arena = (restate__arena){ .cache = cache };
}

RESTATE__PRIVATE void restate__arena_free(restate__arena *arena) {
    restate__cache_give_all(arena->cache, arena->chunks);
    arena->chunks = NULL;
    arena->at = arena->end = NULL;
}

/* A large request gets a chunk of its own behind the first one, whose rest stays usable. Nothing
 * else lies in such a chunk, so restate__arena_more() can give it back. */
RESTATE__PRIVATE RESTATE__NOINLINE void *restate__arena_grow(restate__arena *arena, size_t size) {
    restate__chunk *c = restate__cache_chunk(arena->cache, size);
    if (!c) {
        arena->failed = true;
        return NULL;
    }
    uint8_t *data = restate__chunk_data(c);
    if (c->size != RESTATE__CHUNK_BYTES) {
        restate__chunk **at = arena->chunks ? &arena->chunks->next : &arena->chunks;
        c->next = *at;
        *at = c;
        return data;
    }
    c->next = arena->chunks;
    arena->chunks = c;
    arena->at = data + size;
    arena->end = (uint8_t *)c + c->size;
    return data;
}

/* Uninitialised bytes without alignment; NULL when out of memory. */
RESTATE__PRIVATE uint8_t *restate__arena_bytes(restate__arena *arena, size_t size) {
    uint8_t *p = arena->at;
    if (RESTATE__UNLIKELY(size > (size_t)(arena->end - p) || !p))
        return restate__arena_grow(arena, size);
    arena->at = p + size;
    return p;
}

/* Whether the cache keeps a chunk that `size` bytes would get for themselves. */
RESTATE__PRIVATE bool restate__arena_has(const restate__arena *arena, size_t size) {
    return size > RESTATE__CHUNK_BYTES && size < SIZE_MAX - RESTATE__CHUNK_HEAD &&
           restate__cache_find(arena->cache, size + RESTATE__CHUNK_HEAD);
}

/* Moves the first `used` bytes of `old` to a place with room for `size` bytes. `old` had room for
 * `old_size` bytes and may no longer be used. NULL when out of memory. */
RESTATE__PRIVATE uint8_t *restate__arena_more(restate__arena *arena, uint8_t *old, size_t old_size,
                                              size_t used, size_t size) {
    uint8_t *p = restate__arena_bytes(arena, size);
    if (!p) return NULL;
    if (used) memcpy(p, old, used);
    if (old_size + RESTATE__CHUNK_HEAD <= RESTATE__CHUNK_BYTES) return p;
    restate__chunk **at = &arena->chunks;
    while (*at && restate__chunk_data(*at) != old) at = &(*at)->next;
    restate__chunk *c = *at;
    if (c) {
        *at = c->next;
        restate__cache_give(arena->cache, c);
    }
    return p;
}

/* Zeroed, aligned to 16; NULL when out of memory. */
RESTATE__PRIVATE void *restate__arena_alloc(restate__arena *arena, size_t size) {
    size_t pad = (size_t)(-(uintptr_t)arena->at & 15u), left = (size_t)(arena->end - arena->at);
    void *p;
    if (RESTATE__LIKELY(arena->at && left >= pad && left - pad >= size)) {
        p = arena->at + pad;
        arena->at += pad + size;
    } else {
        p = restate__arena_grow(arena, size);
    }
    if (p) memset(p, 0, size);
    return p;
}

#define RESTATE__ARENA_LOOKS 64u

/* Whether these bytes are in one of the arena's newest chunks; false for bytes of older ones. */
RESTATE__PRIVATE bool restate__arena_contains(const restate__arena *arena, const void *data,
                                           size_t len) {
    const uint8_t *p = data;
    restate__chunk *c = arena->chunks;
    for (unsigned looks = 0; c && looks < RESTATE__ARENA_LOOKS; c = c->next, looks++) {
        const uint8_t *end = (const uint8_t *)c + c->size;
        if (p >= restate__chunk_data(c) && p <= end) return len <= (size_t)(end - p);
    }
    return false;
}

/* A copy, followed by a zero byte that is not counted. Absent bytes for absent ones, or when out of
 * memory. */
RESTATE__PRIVATE restate_bytes restate__arena_copy(restate__arena *arena, restate_bytes from) {
    if (!from.ptr || from.len == SIZE_MAX) return restate__b_none();
    uint8_t *p = restate__arena_bytes(arena, from.len + 1);
    if (!p) return restate__b_none();
    if (from.len) memcpy(p, from.ptr, from.len);
    p[from.len] = 0;
    return restate__b(p, from.len);
}

/* A copy as a C string; "" for absent bytes, or when out of memory (then `failed` is set). */
RESTATE__PRIVATE const char *restate__arena_text(restate__arena *arena, restate_bytes from) {
    restate_bytes copy = restate__arena_copy(arena, from);
    return copy.ptr ? (const char *)copy.ptr : "";
}

/* `text` if it is clean, else a clean copy; see restate__b_clean(). With NULL for `also` only bytes
 * that are not UTF-8 are replaced: the server would refuse those, but takes all characters. */
RESTATE__PRIVATE const char *restate__arena_clean(restate__arena *arena, const char *text,
                                                  const char *also) {
    restate_bytes all = restate_str(text);
    if (restate__b_is_clean(all, also)) return text;
    char *copy = (char *)restate__arena_bytes(arena, all.len + 1);
    if (!copy) return "";
    memcpy(copy, text, all.len + 1);
    restate__b_clean(copy, all.len, also);
    return copy;
}

/* vsnprintf() into the arena; "" when out of memory or when the format is bad. */
RESTATE__PRIVATE const char *restate__arena_vprintf(restate__arena *arena, const char *format,
                                                    va_list args) {
    size_t room = arena->at ? (size_t)(arena->end - arena->at) : 0;
    char *text = (char *)arena->at;
    va_list again;
    va_copy(again, args);
    int n = format ? vsnprintf(text, room, format, args) : -1;
    if (n >= 0 && (size_t)n < room) {
        arena->at += (size_t)n + 1;
    } else if (n >= 0) {
        text = (char *)restate__arena_bytes(arena, (size_t)n + 1);
        if (text) vsnprintf(text, (size_t)n + 1, format, again);
    }
    va_end(again);
    return n >= 0 && text ? text : "";
}

RESTATE__PRIVATE const char *restate__arena_printf(restate__arena *arena, const char *format, ...)
    RESTATE__PRINTF(2, 3);
RESTATE__PRIVATE const char *restate__arena_printf(restate__arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = restate__arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

/* ---- The output buffer ----------------------------------------------------------------------- */

/* Bytes on their way out: written at the end, read and dropped at the front.
 *
 * Bytes that lie in `stable` are not copied if they are many: the buffer refers to them. That arena
 * outlives the buffer, and nobody changes bytes in it that were written to the buffer.
 * Invariant: `len` bytes lie between `read_at` in the first chunk and `write_at` in the last. */
typedef struct restate__buf {
    restate__cache *cache;
    const restate__arena *stable;           /* NULL: everything is copied */
    restate__chunk *first, *last;
    size_t read_at, write_at;               /* offsets behind the chunk's head */
    size_t len;
    bool failed;                            /* out of memory: output is incomplete; sticky */
} restate__buf;

RESTATE__PRIVATE void restate__buf_init(restate__buf *buf, restate__cache *cache) {
    *buf = (restate__buf){ .cache = cache };
}

/* Drops everything; the buffer can be written again. */
RESTATE__PRIVATE void restate__buf_free(restate__buf *buf) {
    restate__cache_give_all(buf->cache, buf->first);
    buf->first = buf->last = NULL;
    buf->read_at = buf->write_at = buf->len = 0;
}

/* The bytes of a chunk of a buffer. */
static restate_bytes restate__buf_chunk(const restate__chunk *c) {
    if (c->elsewhere) return restate__b(c->elsewhere, c->elsewhere_len);
    return restate__b((const uint8_t *)c + RESTATE__CHUNK_HEAD, c->size - RESTATE__CHUNK_HEAD);
}

static size_t restate__buf_room(const restate__buf *buf) {
    return buf->last ? restate__buf_chunk(buf->last).len - buf->write_at : 0;
}

static restate__chunk *restate__buf_append(restate__buf *buf, size_t need) {
    restate__chunk *c = restate__cache_chunk(buf->cache, need);
    if (!c) {
        buf->failed = true;
        return NULL;
    }
    *(buf->last ? &buf->last->next : &buf->first) = c;
    buf->last = c;
    buf->write_at = 0;
    return c;
}

/* Appends a reference to `data`. The rest of the last chunk stays unused: it is cut off. */
static bool restate__buf_refer(restate__buf *buf, const void *data, size_t len) {
    restate__chunk *c = buf->last;
    if (c && !c->elsewhere && restate__buf_room(buf)) {
        c->elsewhere = restate__chunk_data(c);
        c->elsewhere_len = buf->write_at;
    }
    c = restate__buf_append(buf, 0);
    if (!c) return false;
    c->elsewhere = data;
    c->elsewhere_len = buf->write_at = len;
    buf->len += len;
    return true;
}

/* Where up to `*room` bytes can be written in place; restate__buf_wrote() then counts them. NULL:
 * nowhere. */
static uint8_t *restate__buf_space(restate__buf *buf, size_t *room) {
    if (buf->failed || (!buf->last && !restate__buf_append(buf, 0))) return NULL;
    *room = restate__buf_room(buf);
    return *room ? restate__chunk_data(buf->last) + buf->write_at : NULL;
}

static void restate__buf_wrote(restate__buf *buf, size_t len) {
    buf->write_at += len;
    buf->len += len;
}

RESTATE__PRIVATE bool restate__buf_write(restate__buf *buf, const void *data, size_t len) {
    const uint8_t *from = data;
    if (len >= RESTATE__CHUNK_BYTES && buf->stable && !buf->failed &&
        restate__arena_contains(buf->stable, data, len))
        return restate__buf_refer(buf, data, len);
    while (len && !buf->failed) {
        size_t n = restate__buf_room(buf);
        if (n == 0) {
            restate__buf_append(buf, len);
            continue;
        }
        if (n > len) n = len;
        memcpy(restate__chunk_data(buf->last) + buf->write_at, from, n);
        restate__buf_wrote(buf, n);
        from += n;
        len -= n;
    }
    return !buf->failed;
}

/* The first bytes that lie next to each other; absent when the buffer is empty. */
RESTATE__PRIVATE restate_bytes restate__buf_peek(const restate__buf *buf) {
    if (!buf->len) return restate__b_none();
    restate_bytes b = restate__buf_chunk(buf->first);
    if (buf->first == buf->last) b.len = buf->write_at;
    return restate__b(b.ptr + buf->read_at, b.len - buf->read_at);
}

/* Removes the first `n` bytes, at most as many as the last peek showed. Returns their chunk if no
 * bytes are left in it: the caller gives it back to the cache. */
static restate__chunk *restate__buf_shift(restate__buf *buf, size_t n) {
    restate__chunk *c = buf->first;
    size_t end = c == buf->last ? buf->write_at : restate__buf_chunk(c).len;
    RESTATE_ASSERT(n <= end - buf->read_at);
    buf->read_at += n;
    buf->len -= n;
    if (buf->read_at < end) return NULL;
    buf->first = c->next;
    if (!buf->first) {
        buf->last = NULL;
        buf->write_at = 0;
    }
    buf->read_at = 0;
    return c;
}

RESTATE__PRIVATE void restate__buf_drop(restate__buf *buf, size_t n) {
    restate__chunk *c = restate__buf_shift(buf, n);
    if (c) restate__cache_give(buf->cache, c);
}

/* ================================================================================================
// >>clock  what the time is, as a number and as text                              [restate__clock_]
// Reads the endpoint's clock. The system's clock is read here and nowhere else.
================================================================================================ */

#if defined(RESTATE_CLOCK_MS)
#  define RESTATE__CLOCK_SYSTEM 0
#elif !defined(CLOCK_MONOTONIC)
#  define RESTATE__CLOCK_SYSTEM 0
#  define RESTATE__CLOCK_NONE 1
#  define RESTATE_CLOCK_MS(wall) 0u
#else
#  define RESTATE__CLOCK_SYSTEM 1
#  define RESTATE_CLOCK_MS(wall) restate__clock_read((wall) ? CLOCK_REALTIME : CLOCK_MONOTONIC)

static uint64_t restate__clock_read(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}
#endif

static uint64_t restate__clock_default_wall(void *user) {
    (void)user;
    return RESTATE_CLOCK_MS(true);
}

static uint64_t restate__clock_default_monotonic(void *user) {
    (void)user;
    return RESTATE_CLOCK_MS(false);
}

RESTATE__UNUSED static const restate_clock restate__clock_default = {
    .wall_ms = restate__clock_default_wall, .monotonic_ms = restate__clock_default_monotonic };

RESTATE__PRIVATE bool restate__clock_given(const restate_clock *clock) {
    return clock->wall_ms && clock->monotonic_ms;
}

/* Whether the system's waits (poll() and the like) take as long by this clock. A clock of the
 * program may run at any speed. */
RESTATE__PRIVATE bool restate__clock_is_system(const restate_clock *clock) {
    return RESTATE__CLOCK_SYSTEM && clock->monotonic_ms == restate__clock_default_monotonic;
}

/* Milliseconds since some fixed time; never goes back. */
RESTATE__PRIVATE uint64_t restate__clock_ms(const restate_clock *clock) {
    return clock->monotonic_ms(clock->user);
}

/* Milliseconds since `from_ms`, an earlier result of restate__clock_ms(). */
RESTATE__PRIVATE uint64_t restate__clock_since(const restate_clock *clock, uint64_t from_ms) {
    uint64_t now = restate__clock_ms(clock);
    return now > from_ms ? now - from_ms : 0;
}

/* Milliseconds since 1970. */
RESTATE__PRIVATE uint64_t restate__clock_wall_ms(const restate_clock *clock) {
    return clock->wall_ms(clock->user);
}

#define RESTATE__CLOCK_TEXT 40u

/* Writes seconds since 1970 (years from 1 on) in ISO 8601, UTC: 2030-03-17T17:46:40. The years of
 * the computation begin in March, so that a leap day is the last of its year. */
RESTATE__PRIVATE const char *restate__clock_date(int64_t seconds, char *text) {
    uint64_t since = (uint64_t)(seconds + INT64_C(719468) * 86400), days = since / 86400u;
    uint64_t era = days / 146097u, year;
    unsigned day = (unsigned)(days % 146097u), second = (unsigned)(since % 86400u), month;
    year = (day - day / 1460u + day / 36524u - day / 146096u) / 365u;
    day -= (unsigned)(365u * year + year / 4u - year / 100u);
    month = (5u * day + 2u) / 153u;
    day -= (153u * month + 2u) / 5u;
    month = month < 10u ? month + 3u : month - 9u;
    year += era * 400u + (month < 3u ? 1u : 0u);
    snprintf(text, RESTATE__CLOCK_TEXT, "%04lu-%02u-%02uT%02u:%02u:%02u", (unsigned long)year,
             month, day + 1u, second / 3600u, second / 60u % 60u, second % 60u);
    return text;
}

/* Writes a result of restate__clock_wall_ms(): 2030-03-17T17:46:40.000Z. */
RESTATE__PRIVATE void restate__clock_text(uint64_t wall_ms, char *text) {
    size_t n = strlen(restate__clock_date((int64_t)(wall_ms / 1000u), text));
    snprintf(text + n, RESTATE__CLOCK_TEXT - n, ".%03uZ", (unsigned)(wall_ms % 1000u));
}

/* ================================================================================================
// >>log  levels, the default logger, limits of what peers cause                     [restate__log_]
// From a message to the logger.
================================================================================================ */

/* A logger, and the clock for the times of its records. */
typedef struct restate__logger {
    restate_logger to;
    const restate_clock *clock;
} restate__logger;

static void restate__log_stderr(void *user, const restate_log_record *r) {
    static const char *const levels[] = { "", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF" };
    char time[RESTATE__CLOCK_TEXT];
    (void)user;
    restate__clock_text(r->time_ms, time);
    if (r->invocation_id)
        fprintf(stderr, "%s restate %s %s/%s %s: %s\n", time, levels[r->level], r->service,
                r->handler, r->invocation_id, r->message);
    else
        fprintf(stderr, "%s restate %s: %s\n", time, levels[r->level], r->message);
}

/* `logger`, with defaults for what is zero. */
RESTATE__PRIVATE restate_logger restate__log_defaults(restate_logger logger) {
    if (!logger.write) logger.write = restate__log_stderr;
    if (logger.level == RESTATE_LOG_DEFAULT) logger.level = RESTATE_LOG_INFO;
    return logger;
}

RESTATE__PRIVATE bool restate__log_wanted(const restate__logger *logger, restate_log_level level) {
    return level >= logger->to.level && level < RESTATE_LOG_OFF;
}

/* Sets the time of a record and writes it. */
RESTATE__PRIVATE void restate__log_write(const restate__logger *logger,
                                         restate_log_record *record) {
    record->time_ms = restate__clock_wall_ms(logger->clock);
    logger->to.write(logger->to.user, record);
}

/* Makes a text one clean line, in place. */
RESTATE__PRIVATE void restate__log_line(char *text) {
    char *p;
    for (p = text; *p; p++)
        if (*p == '\n' || *p == '\r' || *p == '\t') *p = ' ';
    restate__b_clean(text, (size_t)(p - text), "");
}

/* Lines that a peer can cause at will are limited: each kind has a number of lines in a window of
 * time. Further lines are left out and counted. The count is logged with the next line of that
 * kind, or when its owner sees that the window is over. Any thread may use a limit; two at once may
 * log one line too many. */
typedef struct restate__log_limit {
    const char *about;                      /* what the lines are about, in the plural */
    unsigned most;                          /* lines in a window */
    unsigned window;                        /* its number, beginning with 1; atomic, as the next */
    unsigned lines, left_out;
} restate__log_limit;

#define RESTATE__LOG_WINDOW_MS 10000u

RESTATE__PRIVATE void restate__log(const restate__logger *logger, restate_log_level level,
                                   const char *format, ...) RESTATE__PRINTF(3, 4);

/* Logs how many lines were left out. */
RESTATE__PRIVATE void restate__log_left_out(restate__log_limit *limit,
                                            const restate__logger *logger) {
    unsigned n = RESTATE__EXCHANGE(unsigned, &limit->left_out, 0u, RELAXED);
    if (n)
        restate__log(logger, RESTATE_LOG_WARN, "%u more lines about %s were left out of the log",
                     n, limit->about);
}

static unsigned restate__log_window(uint64_t now_ms) {
    return (unsigned)(now_ms / RESTATE__LOG_WINDOW_MS) + 1u;
}

/* Whether the window of the last line is over. */
static bool restate__log_window_over(restate__log_limit *limit, uint64_t now_ms) {
    return RESTATE__LOAD(&limit->window, RELAXED) != restate__log_window(now_ms);
}

RESTATE__PRIVATE uint64_t restate__log_window_end(uint64_t now_ms) {
    return (now_ms / RESTATE__LOG_WINDOW_MS + 1) * RESTATE__LOG_WINDOW_MS;
}

/* Whether a line of that kind may be logged now; counts it. */
RESTATE__PRIVATE bool restate__log_may(restate__log_limit *limit, const restate__logger *logger,
                                       uint64_t now_ms) {
    if (restate__log_window_over(limit, now_ms)) {
        RESTATE__STORE(&limit->window, restate__log_window(now_ms), RELAXED);
        RESTATE__STORE(&limit->lines, 0u, RELAXED);
        restate__log_left_out(limit, logger);
    }
    if (RESTATE__ADD(&limit->lines, 1u, RELAXED) < limit->most) return true;
    RESTATE__ADD(&limit->left_out, 1u, RELAXED);
    return false;
}

static void restate__log_text(const restate__logger *logger, restate_log_record *record,
                              const char *format, va_list args) {
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    restate__log_line(text);
    record->of_library = true;
    record->message = text;
    restate__log_write(logger, record);
}

/* A message of the library itself, outside of invocations. */
RESTATE__PRIVATE void restate__log(const restate__logger *logger, restate_log_level level,
                                   const char *format, ...) {
    restate_log_record record = { .level = level };
    va_list args;
    if (!restate__log_wanted(logger, level)) return;
    va_start(args, format);
    restate__log_text(logger, &record, format, args);
    va_end(args);
}

/* A message of the library about an invocation, from code that has no access to its context. */
RESTATE__PRIVATE void restate__log_about(const restate__logger *logger, restate_log_level level,
                                         const char *service, const char *handler, const char *id,
                                         const char *format, ...) RESTATE__PRINTF(6, 7);
RESTATE__PRIVATE void restate__log_about(const restate__logger *logger, restate_log_level level,
                                         const char *service, const char *handler, const char *id,
                                         const char *format, ...) {
    restate_log_record record = { .level = level, .service = service, .handler = handler,
                                  .invocation_id = id };
    va_list args;
    if (!restate__log_wanted(logger, level)) return;
    va_start(args, format);
    restate__log_text(logger, &record, format, args);
    va_end(args);
}

#include "restate_wire.h"
/* ================================================================================================
// >>wire  protobuf in and out, frames                                              [restate__wire_]
// Messages are restate_wire_ structs (restate_wire.h) coded by nanopb; hot paths read by field.
================================================================================================ */

#include <pb_decode.h>
#include <pb_encode.h>

/* What stands before each message: u16 type (restate_wire_MSG_...), u16 flags, u32 length. */
#define RESTATE__WIRE_HEAD 8u
#define RESTATE__WIRE_ACK 0x8000u           /* flag: acknowledge when it is stored */

RESTATE__PRIVATE void restate__wire_put_head(uint8_t *to, uint16_t type, uint16_t flags,
                                             uint32_t len) {
    restate__b_put32(to, (uint32_t)type << 16 | flags);
    restate__b_put32(to + 4, len);
}

/* --- By field -----------------------------------------------------------------------------------
 * The reader takes a message apart without knowing what it is:
 *
 *     restate__wire_reader r = restate__wire_read(payload);
 *     restate__wire_item item;
 *     while (restate__wire_next(&r, &item)) ...
 *     if (r.bad) ...
 */
typedef struct restate__wire_reader {
    const uint8_t *at, *end;
    bool bad;                               /* what was read is not protobuf; sticky */
} restate__wire_reader;

enum {
    RESTATE__WIRE_NUMBER = 0,
    RESTATE__WIRE_64BIT = 1,
    RESTATE__WIRE_BYTES = 2,
    RESTATE__WIRE_32BIT = 5
};

#define RESTATE__WIRE_KEY(tag, wire) ((tag) << 3 | (wire))  /* what stands before a field */

#define RESTATE__X(field, wire) RESTATE__WIRE_KEY(restate_wire_##field##_tag, RESTATE__WIRE_##wire)
enum {                                      /* keys of one byte, for restate__wire_expect() */
    RESTATE__KEY_COMPLETION_ID = RESTATE__X(NotificationTemplate_completion_id, NUMBER),
    RESTATE__KEY_VOID = RESTATE__X(NotificationTemplate_void_value, BYTES),
    RESTATE__KEY_VALUE = RESTATE__X(NotificationTemplate_value, BYTES),
    RESTATE__KEY_CONTENT = RESTATE__X(Value_content, BYTES),
    RESTATE__KEY_RUN_ID = RESTATE__X(RunCommandMessage_result_completion_id, NUMBER),
    RESTATE__KEY_RUN_NAME = RESTATE__X(RunCommandMessage_name, BYTES)
};
#undef RESTATE__X

typedef struct restate__wire_item {
    uint32_t tag;
    uint8_t wire;                           /* one of the four above */
    uint64_t number;                        /* 0 for RESTATE__WIRE_BYTES */
    restate_bytes bytes;                    /* points into the message; absent for numbers */
} restate__wire_item;

RESTATE__PRIVATE restate__wire_reader restate__wire_read(restate_bytes message) {
    const uint8_t *end = message.len ? message.ptr + message.len : message.ptr;
    return (restate__wire_reader){ .at = message.ptr, .end = end };
}

static bool restate__wire_bad(restate__wire_reader *r) {
    r->bad = true;
    r->at = r->end;
    return false;
}

/* At most ten bytes, and of the tenth only the bit that still fits. */
RESTATE__PRIVATE RESTATE__NOINLINE bool restate__wire_varint_long(restate__wire_reader *r,
                                                                  uint64_t *number) {
    uint64_t n = 0;
    const uint8_t *p = r->at;
    for (unsigned shift = 0; shift < 70 && p < r->end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) break;
        n |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            r->at = p;
            *number = n;
            return true;
        }
    }
    return restate__wire_bad(r);
}

static inline bool restate__wire_varint(restate__wire_reader *r, uint64_t *number) {
    if (RESTATE__LIKELY(r->at < r->end && *r->at < 0x80)) {
        *number = *r->at++;
        return true;
    }
    if (RESTATE__LIKELY(r->end - r->at > 1 && r->at[1] < 0x80)) {
        *number = (uint64_t)(r->at[0] & 0x7Fu) | (uint64_t)r->at[1] << 7;
        r->at += 2;
        return true;
    }
    return restate__wire_varint_long(r, number);
}

/* The fast path, for fields that are expected in an order: long replays consist of such messages.
 * If the next field has this key of one byte, gives its number, or the length of the bytes behind
 * it, and where that ends. NULL: another key, or the number has more than two bytes; then
 * restate__wire_next() has to read the message. What it saves (make budget): a replayed run
 * takes 710 instructions, and 1,580 without; a replayed sleep 1,560, and 2,320. */
static inline const uint8_t *restate__wire_expect(const uint8_t *at, const uint8_t *end,
                                                  uint8_t key, uint32_t *number) {
    if (end - at < 2 || at[0] != key) return NULL;
    *number = at[1];
    if (RESTATE__LIKELY(at[1] < 0x80)) return at + 2;
    if (end - at == 2 || at[2] >= 0x80) return NULL;
    *number = (at[1] & 0x7Fu) | (uint32_t)at[2] << 7;
    return at + 3;
}

/* Little-endian, `size` bytes. */
static bool restate__wire_fixed(restate__wire_reader *r, unsigned size, uint64_t *number) {
    uint64_t n = 0;
    if ((size_t)(r->end - r->at) < size) return restate__wire_bad(r);
    for (unsigned i = 0; i < size; i++) n |= (uint64_t)r->at[i] << (8 * i);
    r->at += size;
    *number = n;
    return true;
}

/* The next field. false at the end, and when there is none to be read: then `bad` is set (tag 0 or
 * above 29 bits, a group, a length beyond the end, a number beyond 64 bits). */
RESTATE__PRIVATE bool restate__wire_next(restate__wire_reader *r, restate__wire_item *item) {
    uint64_t key;
    if (r->at == r->end || !restate__wire_varint(r, &key)) return false;
    if (RESTATE__UNLIKELY(key < 8 || key > UINT32_MAX)) return restate__wire_bad(r);
    item->tag = (uint32_t)key >> 3;
    item->wire = (uint8_t)(key & 7);
    item->bytes.ptr = NULL;
    item->bytes.len = 0;
    if (item->wire == RESTATE__WIRE_NUMBER) return restate__wire_varint(r, &item->number);
    if (RESTATE__LIKELY(item->wire == RESTATE__WIRE_BYTES)) {
        uint64_t len;
        item->number = 0;
        if (!restate__wire_varint(r, &len)) return false;
        if (RESTATE__UNLIKELY(len > (uint64_t)(r->end - r->at))) return restate__wire_bad(r);
        item->bytes.ptr = r->at;
        item->bytes.len = (size_t)len;
        r->at += len;
        return true;
    }
    if (item->wire == RESTATE__WIRE_64BIT) return restate__wire_fixed(r, 8, &item->number);
    if (item->wire == RESTATE__WIRE_32BIT) return restate__wire_fixed(r, 4, &item->number);
    return restate__wire_bad(r);
}

/* Takes the next number out of an item of a repeated number field, packed or not. false: there is
 * none left; if `item->bytes` is not empty by then, the rest is malformed. */
RESTATE__PRIVATE bool restate__wire_number(restate__wire_item *item, uint64_t *number) {
    restate__wire_reader r = restate__wire_read(item->bytes);
    if (item->wire == RESTATE__WIRE_NUMBER) {
        *number = item->number;
        item->wire = RESTATE__WIRE_BYTES;
        return true;
    }
    if (r.at == r.end || !restate__wire_varint(&r, number)) return false;
    item->bytes = restate__b(r.at, (size_t)(r.end - r.at));
    return true;
}

/* --- As structs, in -------------------------------------------------------------------------- */

/* The state of our input streams: nanopb counts what is left, here is where it is. */
typedef struct restate__wire_cursor {
    const uint8_t *at;
} restate__wire_cursor;

static bool restate__wire_source(pb_istream_t *in, pb_byte_t *to, size_t len) {
    restate__wire_cursor *cursor = in->state;
    const uint8_t *from = cursor->at;
    cursor->at += len;
    if (RESTATE__LIKELY(to && len == 1)) *to = *from;       /* each byte of each number */
    else if (to) memcpy(to, from, len);
    return true;
}

static void restate__wire_list_add(restate_wire_list *list, uint32_t tag, restate_bytes element) {
    if (!list->count) {
        list->tag = tag;
        list->ptr = element.ptr;
        list->first = element.len;
    }
    list->len = (size_t)(element.ptr - list->ptr) + element.len;
    list->count++;
}

/* Lists of numbers are not kept, only looked at. A single one is a number for sure. */
static bool restate__wire_numbers_in(const pb_istream_t *in) {
    const restate__wire_cursor *cursor = in->state;
    uint64_t number;
    if (in->callback != restate__wire_source) return true;
    restate__wire_reader r = restate__wire_read(restate__b(cursor->at, in->bytes_left));
    while (r.at != r.end && restate__wire_varint(&r, &number)) continue;
    return !r.bad;
}

/* A field of the message that is decoded: all that is left in `in`.
 *
 * When the field comes as a number, contrary to its type, nanopb passes a stream over a copy on its
 * stack, which a slice would outlive: such a stream is not ours and the message is bad. */
static bool restate__wire_field_in(pb_istream_t *in, const pb_field_t *field) {
    bool repeated = PB_HTYPE(field->type) == PB_HTYPE_REPEATED;
    if (repeated && PB_LTYPE(field->type) <= PB_LTYPE_LAST_PACKABLE)
        return restate__wire_numbers_in(in);
    if (in->callback != restate__wire_source) return false;
    restate__wire_cursor *cursor = in->state;
    restate_bytes content = restate__b(cursor->at, in->bytes_left);
    if (PB_LTYPE(field->type) == PB_LTYPE_STRING && !restate__b_utf8(content)) return false;
    cursor->at += content.len;
    in->bytes_left = 0;
    if (repeated) {
        restate__wire_list_add(field->pData, field->tag, content);
        return true;
    }
    *(restate_bytes *)field->pData = content;
    /* nanopb leaves this to the callback, where a member of a oneof has one. */
    if (PB_HTYPE(field->type) == PB_HTYPE_ONEOF) *(pb_size_t *)field->pSize = field->tag;
    return true;
}

/* Decodes `payload`, into which the message will point. The message is zeroed first. false if it is
 * not protobuf, has a field of another wire type than it should, or a string that is not UTF-8; its
 * fields mean nothing then. Elements of lists are not looked into. */
RESTATE__PRIVATE bool restate__wire_decode(const pb_msgdesc_t *type, void *message,
                                           size_t message_size, restate_bytes payload) {
    restate__wire_cursor cursor = { payload.ptr };
    pb_istream_t in = { .callback = restate__wire_source, .state = &cursor,
                        .bytes_left = payload.len };
    memset(message, 0, message_size);
    return pb_decode_ex(&in, type, message, PB_DECODE_NOINIT);
}

/* Takes the next element out of a decoded list (of anything but numbers). */
RESTATE__PRIVATE bool restate__wire_each(restate_wire_list *list, restate_bytes *element) {
    restate__wire_item item;
    if (!list->count) return false;
    list->count--;
    if (list->first != SIZE_MAX) {
        *element = restate__b(list->ptr, list->first);
        list->ptr += list->first;
        list->len -= list->first;
        list->first = SIZE_MAX;
        return true;
    }
    restate__wire_reader r = restate__wire_read(restate__b(list->ptr, list->len));
    while (restate__wire_next(&r, &item)) {
        if (item.tag != list->tag || item.wire != RESTATE__WIRE_BYTES) continue;
        *element = item.bytes;
        list->ptr = r.at;
        list->len = (size_t)(r.end - r.at);
        return true;
    }
    list->count = 0;
    return false;
}

/* Reads an element {1: key, 2: value}: Header, FailureMetadata (both are strings, `text`) or
 * StateEntry (both are bytes). What is not there is empty, not absent. false: malformed. */
RESTATE__PRIVATE bool restate__wire_entry(restate_bytes element, bool text, restate_bytes *key,
                                          restate_bytes *value) {
    restate__wire_reader r = restate__wire_read(element);
    restate__wire_item item;
    *key = *value = restate__b(element.ptr, 0);
    while (restate__wire_next(&r, &item)) {
        if (item.tag != 1 && item.tag != 2) continue;
        if (item.wire != RESTATE__WIRE_BYTES) return false;
        if (text && !restate__b_utf8(item.bytes)) return false;
        *(item.tag == 1 ? key : value) = item.bytes;
    }
    return !r.bad;
}

/* --- As structs, out ------------------------------------------------------------------------- */

/* Whether an empty field is written: members of oneofs, messages, and what is `optional`. */
static bool restate__wire_explicit(const pb_field_t *field) {
    if (PB_HTYPE(field->type) == PB_HTYPE_ONEOF || PB_LTYPE_IS_SUBMSG(field->type)) return true;
    for (const struct restate__wire_optional *o = restate__wire_optionals; o->message; o++)
        if (o->message == field->descriptor && o->tag == field->tag) return true;
    return false;
}

/* nanopb asks for the chosen member of a oneof only, which is written even if it is absent: without
 * it the message would have another meaning. */
static bool restate__wire_field_out(pb_ostream_t *out, const pb_field_t *field) {
    const restate_bytes *content = field->pData;
    if (PB_HTYPE(field->type) == PB_HTYPE_REPEATED) {
        const restate_wire_list *list = field->pData;
        return !list->put || list->put(out, field, list->items, list->count);
    }
    if (!content->ptr && PB_HTYPE(field->type) != PB_HTYPE_ONEOF) return true;
    if (!content->len && !restate__wire_explicit(field)) return true;
    return pb_encode_tag_for_field(out, field) && pb_encode_string(out, content->ptr, content->len);
}

static bool restate__wire_field(pb_istream_t *in, pb_ostream_t *out, const pb_field_t *field) {
    return in ? restate__wire_field_in(in, field) : restate__wire_field_out(out, field);
}

static size_t restate__wire_varint_size(uint64_t number) {
    size_t n = 1;
    while (number >>= 7) n++;
    return n;
}

static bool restate__wire_put_text(pb_ostream_t *out, uint32_t tag, restate_bytes text) {
    if (!text.len) return true;
    return pb_encode_tag(out, PB_WT_STRING, tag) && pb_encode_string(out, text.ptr, text.len);
}

static size_t restate__wire_text_size(restate_bytes text) {
    return text.len ? 1 + restate__wire_varint_size(text.len) + text.len : 0;
}

/* `put` of a list of messages {1: name, 2: value}; `items` are restate_pairs that end with {0},
 * `count` is not looked at. */
RESTATE__PRIVATE bool restate__wire_put_pairs(pb_ostream_t *out, const pb_field_t *field,
                                              const void *items, size_t count) {
    const restate_pair *pair = items;
    (void)count;
    for (; pair && (pair->name || pair->value); pair++) {
        restate_bytes name = restate_str(pair->name), value = restate_str(pair->value);
        size_t size = restate__wire_text_size(name) + restate__wire_text_size(value);
        if (!pb_encode_tag(out, PB_WT_STRING, field->tag)) return false;
        if (!pb_encode_varint(out, size)) return false;
        if (!restate__wire_put_text(out, 1, name)) return false;
        if (!restate__wire_put_text(out, 2, value)) return false;
    }
    return true;
}

/* `put` of a list of bytes, strings or encoded messages; `items` are `count` restate_bytes. */
RESTATE__PRIVATE bool restate__wire_put_bytes(pb_ostream_t *out, const pb_field_t *field,
                                              const void *items, size_t count) {
    const restate_bytes *b = items, *end = b + count;
    for (; b != end; b++)
        if (!pb_encode_tag(out, PB_WT_STRING, field->tag) || !pb_encode_string(out, b->ptr, b->len))
            return false;
    return true;
}

/* `put` of a list of numbers, packed; `items` are `count` uint32_t. */
RESTATE__PRIVATE bool restate__wire_put_numbers(pb_ostream_t *out, const pb_field_t *field,
                                                const void *items, size_t count) {
    const uint32_t *numbers = items;
    size_t size = 0;
    if (!count) return true;
    for (size_t i = 0; i < count; i++) size += restate__wire_varint_size(numbers[i]);
    if (!pb_encode_tag(out, PB_WT_STRING, field->tag) || !pb_encode_varint(out, size)) return false;
    for (size_t i = 0; i < count; i++)
        if (!pb_encode_varint(out, numbers[i])) return false;
    return true;
}

/* Messages within messages to any depth are written from the last byte to the first: each length is
 * known where it is written, and nothing is measured before. `*at` is where the message begins so
 * far; there is room before it. */
static void restate__wire_before_number(uint8_t **at, uint64_t number) {
    size_t size = restate__wire_varint_size(number);
    pb_ostream_t out = pb_ostream_from_buffer(*at -= size, size);
    pb_encode_varint(&out, number);
}

static void restate__wire_before_key(uint8_t **at, uint32_t tag, uint32_t wire) {
    restate__wire_before_number(at, RESTATE__WIRE_KEY(tag, wire));
}

/* Makes what was written since `end` the content of a field. */
static void restate__wire_before_content(uint8_t **at, uint32_t tag, const uint8_t *end) {
    restate__wire_before_number(at, (uint64_t)(end - *at));
    restate__wire_before_key(at, tag, RESTATE__WIRE_BYTES);
}

static void restate__wire_before_bytes(uint8_t **at, uint32_t tag, restate_bytes bytes) {
    const uint8_t *end = *at;
    *at -= bytes.len;
    if (bytes.len) memcpy(*at, bytes.ptr, bytes.len);
    restate__wire_before_content(at, tag, end);
}

/* A list to encode, of the `count` things at `items`, which must live until then. */
RESTATE__PRIVATE restate_wire_list restate__wire_list(restate_wire_writer *put, const void *items,
                                                      size_t count) {
    return (restate_wire_list){ .put = put, .items = items, .count = count };
}

static bool restate__wire_sink(pb_ostream_t *out, const pb_byte_t *data, size_t len) {
    return restate__buf_write(out->state, data, len);
}

/* Writes `len` into the header that starts `at` bytes into `chunk` and may end in the next one. */
static void restate__wire_patch(restate__chunk *chunk, size_t at, uint32_t len) {
    uint8_t bytes[4];
    restate__b_put32(bytes, len);
    at += RESTATE__WIRE_HEAD - sizeof bytes;
    for (size_t i = 0; i < sizeof bytes; i++, at++) {
        while (at >= restate__buf_chunk(chunk).len) {
            at -= restate__buf_chunk(chunk).len;
            chunk = chunk->next;
        }
        ((uint8_t *)chunk)[RESTATE__CHUNK_HEAD + at] = bytes[i];
    }
}

/* Takes back what was written since `last` was the last chunk, filled to `write_at`. */
static void restate__wire_take_back(restate__buf *out, restate__chunk *last, size_t write_at,
                                    size_t len) {
    if (!last) {
        restate__buf_free(out);
        return;
    }
    while (last->next) {
        restate__chunk *c = last->next;
        last->next = c->next;
        restate__cache_give(out->cache, c);
    }
    out->last = last;
    out->write_at = write_at;
    out->len = len;
}

/* Writes a small frame where it is sent from. false: it has to be written in pieces. */
static bool restate__wire_put_whole(restate__buf *out, uint16_t type, uint16_t flags,
                                    const pb_msgdesc_t *desc, const void *message) {
    size_t room = 0;
    uint8_t *at = restate__buf_space(out, &room);
    if (!at || room <= RESTATE__WIRE_HEAD) return false;
    /* What is larger may be referred to, restate__buf_write() knows. */
    if (room > RESTATE__CHUNK_BYTES) room = RESTATE__CHUNK_BYTES;
    room -= RESTATE__WIRE_HEAD;
    pb_ostream_t stream = pb_ostream_from_buffer(at + RESTATE__WIRE_HEAD, room);
    if (!pb_encode(&stream, desc, message)) return false;
    restate__wire_put_head(at, type, flags, (uint32_t)stream.bytes_written);
    restate__buf_wrote(out, RESTATE__WIRE_HEAD + stream.bytes_written);
    return true;
}

/* Writes a frame, straight into `out`. In pieces, its length is known when they are written, and
 * put into the header then. If it fails `out->failed` is set, and nothing of it stays: half a frame
 * would read as a whole one. */
RESTATE__PRIVATE void restate__wire_put(restate__buf *out, uint16_t type, uint16_t flags,
                                        const pb_msgdesc_t *desc, const void *message) {
    uint8_t head[RESTATE__WIRE_HEAD];
    restate__chunk *before = out->last;
    size_t at = before ? out->write_at : 0, len = out->len;
    if (restate__wire_put_whole(out, type, flags, desc, message)) return;
    pb_ostream_t stream = { .callback = restate__wire_sink, .state = out, .max_size = UINT32_MAX };
    restate__wire_put_head(head, type, flags, 0);
    if (!restate__buf_write(out, head, sizeof head) || !pb_encode(&stream, desc, message)) {
        out->failed = true;
        restate__wire_take_back(out, before, at, len);
        return;
    }
    restate__wire_patch(before ? before : out->first, at, (uint32_t)stream.bytes_written);
}

/* Encodes a message into the arena. false: out of memory, or a list could not be written; `*out` is
 * absent then. */
RESTATE__PRIVATE bool restate__wire_encode(restate__arena *arena, const pb_msgdesc_t *desc,
                                           const void *message, restate_bytes *out) {
    size_t size;
    *out = restate__b_none();
    if (!pb_get_encoded_size(&size, desc, message)) return false;
    uint8_t *to = restate__arena_bytes(arena, size);
    if (!to) return false;
    pb_ostream_t stream = pb_ostream_from_buffer(to, size);
    if (!pb_encode(&stream, desc, message)) return false;
    *out = restate__b(to, stream.bytes_written);
    return true;
}

/* --- As tables ---------------------------------------------------------------------------------
 * restate_wire.h is the one description of a message. Its FIELDLISTs make nanopb's
 * descriptors, and these tables: replay compares recorded messages by them, and shows them. */

typedef enum restate__row_kind {
    RESTATE__OF_UINT32, RESTATE__OF_BYTES, RESTATE__OF_STRING, RESTATE__OF_MESSAGE
} restate__row_kind;
#define RESTATE__OF_UINT64 RESTATE__OF_UINT32   /* numbers, to all that looks at encoded ones */
#define RESTATE__OF_BOOL RESTATE__OF_UINT32
#define RESTATE__OF_UENUM RESTATE__OF_UINT32

typedef struct restate__row {
    const char *name;                       /* NULL: the table ends */
    uint8_t tag, kind;
    bool repeated;
    bool optional;                          /* an empty one is no absent one */
    uint16_t at, has;                       /* in the struct; has: whether `optional` is set */
    const struct restate__row *oneof;       /* of a member of a oneof: the rows of its message */
    const struct restate__table *table;     /* of a message */
} restate__row;

typedef struct restate__table {
    const pb_msgdesc_t *desc;
    const restate__row *rows;
} restate__table;

/* Rows of a FIELDLIST. That of a oneof has names (group, member, path). */
#define RESTATE__ROW(a, atype, htype, ltype, field, tag) \
    RESTATE__ROW_##htype(a, atype, RESTATE__OF_##ltype, RESTATE__TABLE_##ltype, field, tag),
#define RESTATE__ROW_SINGULAR(a, atype, kind, table, field, tag) \
    { #field, tag, kind, false, false, offsetof(a, field), 0, NULL, table(a##_##field##_MSGTYPE) }
#define RESTATE__ROW_OPTIONAL(a, atype, kind, table, field, tag) \
    { #field, tag, kind, false, true, offsetof(a, field), RESTATE__ROW_HAS_##atype(a, field), \
      NULL, table(a##_##field##_MSGTYPE) }
#define RESTATE__ROW_HAS_STATIC(a, field) offsetof(a, has_##field)
#define RESTATE__ROW_HAS_CALLBACK(a, field) offsetof(a, field)
#define RESTATE__ROW_REPEATED(a, atype, kind, table, field, tag) \
    { #field, tag, kind, true, false, offsetof(a, field), 0, NULL, table(a##_##field##_MSGTYPE) }
#define RESTATE__ROW_ONEOF(a, atype, kind, table, names, tag) \
    RESTATE__ROW_MEMBER(a, kind, table, RESTATE__ROW_NAMES names, tag)
#define RESTATE__ROW_NAMES(group, member, path) group, member, path
#define RESTATE__ROW_MEMBER(a, kind, table, names, tag) \
    RESTATE__ROW_OF_GROUP(a, kind, table, names, tag)
#define RESTATE__ROW_OF_GROUP(a, kind, table, group, member, path, tag) \
    { #member, tag, kind, false, true, offsetof(a, path), offsetof(a, which_##group), \
      restate__rows_##a, table(a##_##group##_##member##_MSGTYPE) }
#define RESTATE__TABLE_UINT32(type) NULL
#define RESTATE__TABLE_UINT64(type) NULL
#define RESTATE__TABLE_BOOL(type) NULL
#define RESTATE__TABLE_UENUM(type) NULL
#define RESTATE__TABLE_BYTES(type) NULL
#define RESTATE__TABLE_STRING(type) NULL
#define RESTATE__TABLE_MESSAGE(type) RESTATE__TABLE_OF(type)
#define RESTATE__TABLE_OF(type) &restate__table_##type

#define RESTATE__TABLE(type) \
    static const restate__row restate__rows_##type[] = { \
        type##_FIELDLIST(RESTATE__ROW, type) { NULL, 0, 0, false, false, 0, 0, NULL, NULL } \
    }; \
    static const restate__table restate__table_##type = { &type##_msg, restate__rows_##type };

RESTATE__TABLE(restate_wire_Void)
RESTATE__TABLE(restate_wire_Value)
RESTATE__TABLE(restate_wire_FailureMetadata)
RESTATE__TABLE(restate_wire_Failure)
RESTATE__TABLE(restate_wire_Header)
RESTATE__TABLE(restate_wire_StateKeys)
RESTATE__TABLE(restate_wire_WorkflowTarget)
RESTATE__TABLE(restate_wire_IdempotentRequestTarget)

static const restate__row *restate__row_of(const restate__row *rows, uint32_t tag) {
    while (rows->name && rows->tag != tag) rows++;
    return rows->name ? rows : NULL;
}

/* Whether `tag` is of the same oneof. */
static bool restate__row_ousts(const restate__row *row, uint32_t tag) {
    const restate__row *other = row->oneof ? restate__row_of(row->oneof, tag) : NULL;
    return other && other->oneof && other->has == row->has;
}

/* The n-th of a repeated field; of another field the last one, which counts. false: there is none,
 * or it is empty, where that is the same. */
static bool restate__row_get(const restate__row *row, restate_bytes message, size_t n,
                             restate__wire_item *found) {
    restate__wire_reader r = restate__wire_read(message);
    restate__wire_item item;
    bool any = false;
    while (restate__wire_next(&r, &item)) {
        if (item.tag != row->tag) {
            if (any && restate__row_ousts(row, item.tag)) any = false;
            continue;
        }
        if (row->repeated && n-- > 0) continue;
        *found = item;
        any = true;
        if (row->repeated) return true;
    }
    return any && (row->optional || found->number || found->bytes.len);
}

static uint32_t restate__row_wire(const restate__row *row) {
    return row->kind == RESTATE__OF_UINT32 ? RESTATE__WIRE_NUMBER : RESTATE__WIRE_BYTES;
}

/* Whether a message can be decoded: fields that are known have their types, texts are UTF-8. Like
 * nanopb it does not look into lists. */
static bool restate__table_decodes(const restate__table *table, restate_bytes message) {
    restate__wire_reader r = restate__wire_read(message);
    restate__wire_item item;
    while (restate__wire_next(&r, &item)) {
        const restate__row *row = restate__row_of(table->rows, item.tag);
        if (!row) continue;
        if (item.wire != restate__row_wire(row)) return false;
        if (row->kind == RESTATE__OF_STRING && !restate__b_utf8(item.bytes)) return false;
        if (row->table && !row->repeated && !restate__table_decodes(row->table, item.bytes))
            return false;
    }
    return !r.bad;
}

/* The code that a failure is sent with. The ingress replies with it as the HTTP status, so that a
 * caller would take 2xx for success, 3xx for a redirect (304 has no body, either), and get an empty
 * 500, or a broken connection, for 1xx. Numbers that are no status at all are 500 to it, with the
 * code in the body, and 600 to 999 are statuses that no client takes for success: these stay. */
static uint32_t restate__wire_code(uint32_t code) {
    return !code || (code >= 100 && code < 400) ? 500u : code;
}

/* Whether two messages that decode differ in a field. `loose`: whether it is there is all that
 * counts. Codes of failures are compared as they are sent today. */
static bool restate__row_differs(const restate__row *row, restate_bytes a, restate_bytes b,
                                 bool loose) {
    bool code = row == restate__rows_restate_wire_Failure;
    if (loose && !row->optional) return false;
    for (size_t n = 0;; n++) {
        restate__wire_item x = { .number = 0 }, y = { .number = 0 };
        bool has_x = restate__row_get(row, a, n, &x);
        bool has_y = restate__row_get(row, b, n, &y);
        if (code)
            return restate__wire_code((uint32_t)x.number) != restate__wire_code((uint32_t)y.number);
        if (has_x != has_y) return true;
        if (!has_x) return false;
        if (!loose && !row->table && (x.number != y.number || !restate__b_equal(x.bytes, y.bytes)))
            return true;
        for (const restate__row *part = row->table ? row->table->rows : NULL;
             part && part->name && !loose; part++)
            if (restate__row_differs(part, x.bytes, y.bytes, false)) return true;
        if (!row->repeated) return false;
    }
}

/* What a person is shown of bytes. */
static const char *restate__wire_show_bytes(restate__arena *arena, restate_bytes b) {
    if (b.len > 256) return restate__arena_printf(arena, "<%lu bytes>", (unsigned long)b.len);
    if (restate__b_utf8(b))
        return restate__arena_printf(arena, "\"%.*s\"", (int)b.len,
                                     b.len ? (const char *)b.ptr : "");
    const char *text = "[";
    for (size_t i = 0; i < b.len; i++)
        text = restate__arena_printf(arena, i ? "%s, %u" : "%s%u", text, b.ptr[i]);
    return restate__arena_printf(arena, "%s]", text);
}

static const char *restate__row_show(restate__arena *arena, const restate__row *row,
                                     restate_bytes message);

/* A message for a person: "void", its only field, NAME: VALUE of a header or of metadata, or all
 * of its fields. NULL: such a pair is malformed. */
static const char *restate__table_show(restate__arena *arena, const restate__table *table,
                                       restate_bytes message) {
    const restate__row *rows = table->rows;
    if (!rows->name) return "void";
    if (!rows[1].name) return restate__row_show(arena, rows, message);
    if (table == &restate__table_restate_wire_Header ||
        table == &restate__table_restate_wire_FailureMetadata) {
        restate_bytes key, value;
        if (!restate__wire_entry(message, true, &key, &value)) return NULL;
        return restate__arena_printf(arena, "%.*s: %.*s", (int)key.len, (const char *)key.ptr,
                                     (int)value.len, (const char *)value.ptr);
    }
    if (table == &restate__table_restate_wire_Failure)
        return restate__arena_printf(arena, "failure %s %s {%s}",
                                     restate__row_show(arena, &rows[0], message),
                                     restate__row_show(arena, &rows[1], message),
                                     restate__row_show(arena, &rows[2], message));
    const char *text = "";
    for (; rows->name; rows++)
        text = restate__arena_printf(arena, "%s%s%s: %s", text, *text ? ", " : "", rows->name,
                                     restate__row_show(arena, rows, message));
    return text;
}

#define RESTATE__SHOWN_MAX 20u              /* elements of a list that a person is shown */

/* A field of a message for a person. */
static const char *restate__row_show(restate__arena *arena, const restate__row *row,
                                     restate_bytes message) {
    restate__wire_item item = { .number = 0 };
    const char *text = "";
    size_t n = 0;
    for (; restate__row_get(row, message, n, &item); n++) {
        const char *part = "...";
        if (n == RESTATE__SHOWN_MAX) return restate__arena_printf(arena, "%s, %s", text, part);
        if (row->kind == RESTATE__OF_UINT32)
            part = restate__arena_printf(arena, "%lu", (unsigned long)item.number);
        else if (row->table) part = restate__table_show(arena, row->table, item.bytes);
        else part = restate__wire_show_bytes(arena, item.bytes);
        if (!part) return "<empty>";        /* a malformed list */
        if (!row->repeated) return part;
        text = restate__arena_printf(arena, "%s%s%s", text, n ? ", " : "", part);
    }
    if (n) return text;
    if (row->optional || row->repeated) return "<empty>";
    return row->kind == RESTATE__OF_UINT32 ? "0" : "\"\"";
}

/* ================================================================================================
// >>journal  the state machine of one attempt: bytes in, bytes out    [restate__vm_ restate__node_]
// Replays what is recorded, records what is new. No I/O, no clock, no threads.
================================================================================================ */

/* The rules of the journal
 *
 * The server keeps a journal of each invocation: *commands*, which the handler issued, and
 * *notifications*, which have their results. An attempt is one request: the server sends Start
 * and the journal so far, the handler runs from its first line, and what it does beyond the journal
 * goes back in the response. This section is the machine between the two. It takes bytes and gives
 * bytes; it knows no clock, no sockets and no threads. The code refers to these rules by number.
 *
 * (R1) Phases. An attempt passes them in this order:
 *
 *     WAIT_START --Start--> WAIT_REPLAY --all known entries--> REPLAYING
 *                                                                 |  the last recorded command
 *                                                                 v  is taken
 *         CLOSED <-------------End, or Suspension (R8)------- PROCESSING
 *
 *         ERRORED <-- from any of them but CLOSED, by the first error (R12)
 *
 *     The handler starts in REPLAYING: when as many entries as Start announced have arrived.
 *
 * (R2) Replay. Each operation of the handler takes the next command. In REPLAYING it is compared
 *     with the recorded one (R9) and nothing is sent; in PROCESSING it is sent. The phase changes
 *     when the last recorded command is taken, however many notifications are unread:
 *
 *     journal:  Input   Run 1   <1: "x">   Sleep 2  |  nothing yet
 *     code:     input   run 1   await 1    sleep 2  |  await 2   set "k"
 *               ---- compared, nothing is sent ---->|  --- sent, or suspended (R8) --->
 *
 * (R3) Numbers. A command that will be completed carries a completion id, counted from 1 in the
 *     order of the code, so that a replay gives the same ids. A call takes two: for the id of the
 *     new invocation, and for its result. Awakeables have signal numbers from 17 on, signal 1 is
 *     the cancellation. A notification names its number and nothing else. It may lie in the journal
 *     long before the code asks: the slot of the number keeps the place of the one, and the leaf of
 *     the other, whichever comes first.
 *
 * (R4) Delivery. Notifications are kept as they arrive. An await delivers one after the other, in
 *     the order of the journal, and stops as soon as it has what it waits for. So which of two
 *     results was first is decided by the journal, in every attempt alike, and never by the speed
 *     of the network:
 *
 *     journal:  <2: "b">   <1: "a">   <3: "c">
 *     code:     race(1, 2) delivers <2> and has "b"; then await(3) delivers <1> and <3>
 *
 *     An await also returns when a race below it, or an any or all that one child decided, is
 *     settled: code may look at that combinator before it waits for the rest.
 *
 * (R5) A second result. The first result of a completion id or of an awakeable's number is its
 *     result for ever. A later one is dropped where it arrives, before anything can depend on it,
 *     whether the code has asked by then or not.
 *
 * (R6) Named signals are results of nothing: each is kept, and one future gets it. Of the signals
 *     that futures below the awaited one can have the oldest comes first, and of the futures of
 *     its name the oldest gets it. A future that nobody awaits any more, as after a race that
 *     another won, gets none.
 *
 * (R7) Runs. A closure is executed when an await comes to its future and the journal has no result
 *     for it, delivered or not. What it comes to is proposed to the server. It counts when the
 *     server has stored it: from protocol 7 on at the place of its acknowledgement among the
 *     notifications, before at that of the completion that the server sends. If another result was
 *     there first, that one counts (R5).
 *
 * (R8) When an attempt may suspend: when an await is not settled by all that has arrived, and
 *     nothing can arrive any more, because the input has ended and no closure executes. One
 *     function decides that, restate__vm_may_suspend(). Until then the await waits; from protocol
 *     7 on it announces what it waits for (AwaitingOn) while no closure executes. Both messages
 *     have the tree of what is awaited; before protocol 7 suspensions have lists of its leaves.
 *     The cancellation (R11) is among them, unless explicit_cancellation is on.
 *
 * (R9) Mismatch: its code, and what its text holds. A handler must issue the recorded commands.
 *     Where it does not, the error is 570 (RESTATE__E_MISMATCH), with the behavior that the option
 *     on_mismatch asks for. Its text names the number of the command, and:
 *       - another kind of command: both kinds with what they are about, their key or target
 *       - another content: each field that differs, "name: journal != code"
 *       - an await that the journal does not settle while commands are left: what is awaited
 *     A value of more than 256 bytes is shown by its length, and of a list 20 elements at most. Not
 *     compared are payloads, if skip_payload_check is on or their bytes are not stable, and times.
 *     The text ends with what to do. A handler that returns while commands are left has 571
 *     (RESTATE__E_PROTOCOL), the code of what violates the protocol.
 *
 * (R10) State, and the state after clear_all. Start brings all of the state or a part. A key that
 *     came along, or was set or cleared by this attempt, is known. A read of it has its value at
 *     once, and an eager command records it; other keys of partial state are read lazily, by
 *     asking the server. After clear_all all of the state is known: there is nothing, until
 *     something is set. In a replay a read is done as it was recorded: the value in an eager one
 *     is used, not compared.
 *
 * (R11) Cancellation, and which calls a cancellation reaches. It comes to the handler at its next
 *     await, once for each that was sent. Before the handler it reaches the calls that the attempt
 *     has issued since the last cancellation: all of them, finished or not, in the order of their
 *     issue, each by a signal to its invocation. If the id of one has not arrived the await goes
 *     on waiting for it. Sends are reached if cancel_sends is on; attached invocations,
 *     awakeables, timers and runs are not. With explicit_cancellation neither happens by itself: a
 *     cancellation is kept like a named signal (R6), and the handler has the calls cancelled by
 *     restate_cancel_calls().
 *
 * (R12) Errors. The first error ends the attempt: it is sent, with the command that it is about,
 *     and is what each later operation meets. The error of a run waits until closures that execute
 *     have finished, so that their results are stored; of several, the first is sent, but one that
 *     asks for a pause goes before it. An operation after CLOSED has the error 598
 *     (RESTATE__E_CLOSED), which is not sent. */

#define RESTATE__VERSION_MIN 5u
#define RESTATE__VERSION_MAX 7u
#define RESTATE__SIGNAL_CANCEL 1u
#define RESTATE__SIGNAL_FIRST 17u           /* 2 to 16 are reserved */
#define RESTATE__DEPTH_MAX 1000u            /* of combinators; the server's own limit */
#define RESTATE__DELAY_MS_MAX 63072000000u  /* two years; above 2^36 server 1.7 loses a partition */
#define RESTATE__AWAITING_BYTES_LARGE 2048u /* longer AwaitingOn are not repeated as they shrink */

enum {                                      /* error codes of the protocol itself */
    RESTATE__E_INTERNAL = 500,
    RESTATE__E_MISMATCH = 570,
    RESTATE__E_PROTOCOL = 571,
    RESTATE__E_UNSUPPORTED = 573,
    RESTATE__E_CLOSED = 598
};

typedef enum restate__phase {
    RESTATE__WAIT_START, RESTATE__WAIT_REPLAY, RESTATE__REPLAYING, RESTATE__PROCESSING,
    RESTATE__CLOSED, RESTATE__ERRORED
} restate__phase;

typedef enum restate__behavior { RESTATE__RETRY, RESTATE__PAUSE, RESTATE__FAIL } restate__behavior;

/* Which command an error is about. */
typedef struct restate__related {
    bool known;
    uint32_t index;
    uint16_t type;
    restate_bytes name;                     /* empty: not sent */
} restate__related;

typedef struct restate__vm_error {
    uint32_t code;
    const char *message;
    restate__behavior behavior;
    bool has_delay;
    uint64_t delay_ms;
    restate__related related;
    bool misuse;                            /* for the log: the program is wrong */
    uint32_t step_try;                      /* for the log: of the run that failed; 0: none did */
} restate__vm_error;

/* A recorded command. */
typedef struct restate__command {
    restate_bytes payload;                  /* a zero byte follows */
    uint16_t type;
} restate__command;

typedef enum restate__value_kind {
    RESTATE__VOID, RESTATE__VALUE, RESTATE__FAILURE, RESTATE__INVOCATION_ID, RESTATE__STATE_KEYS
} restate__value_kind;

/* A result, as it is recorded. */
typedef struct restate__value {
    restate__value_kind kind;
    union {
        restate_bytes bytes;                /* VALUE, INVOCATION_ID; a zero byte follows */
        const restate_failure *failure;     /* FAILURE */
        const char *const *keys;            /* STATE_KEYS: ends with NULL */
    } is;
} restate__value;

/* A notification, taken apart. */
typedef struct restate__notification {
    restate_bytes name;                     /* of a named signal; absent: of the number */
    restate_bytes result;                   /* a value's content, else what is in the field */
    uint32_t tag;                           /* of the result's field */
    uint32_t id;
    bool signal;                            /* `id` is a signal's, else a completion's */
} restate__notification;

/* ---- Rooms ----------------------------------------------------------------------------------- */

/* The parts of the machine come first, each with its functions, which use neither the other parts
 * nor the machine: the journal, the frame reader, the graph of what is awaited with its
 * encoding, named signals, and state. */

/* Grows an array of the arena's until it has an element `at`; new ones are zero. NULL: out of
 * memory. */
static void *restate__grow(restate__arena *arena, void *array, uint32_t at, uint32_t *room,
                           size_t size) {
    if (at < *room) return array;
    uint32_t more = *room ? *room : 4;
    while (more <= at) more *= 2;
    void *to = restate__arena_alloc(arena, more * size);
    if (!to) return NULL;
    if (*room) memcpy(to, array, *room * size);
    *room = more;
    return to;
}

/* ---- Nodes: what can be awaited -------------------------------------------------------------- */

typedef enum restate__node_kind {           /* the first four have the numbers of CombinatorType */
    RESTATE__RACE = 1,
    RESTATE__ALL_SETTLED = 2,
    RESTATE__ANY = 3,
    RESTATE__ALL = 4,
    RESTATE__SELECT,                        /* gives out one settled child after the other */
    RESTATE__LEAF,
    RESTATE__LEAF_SIGNAL,
    RESTATE__LEAF_NAME
} restate__node_kind;

typedef enum restate__node_state {
    RESTATE__PENDING,
    RESTATE__SUCCEEDED,
    RESTATE__FAILED
} restate__node_state;

enum {                                      /* the kind of result that a leaf has */
    RESTATE__EXPECTS_RESULT,                /* void, a value or a failure */
    RESTATE__EXPECTS_ID,
    RESTATE__EXPECTS_KEYS
};

typedef enum restate__run_state {
    RESTATE__RUN_NONE, RESTATE__RUN_TO_EXECUTE, RESTATE__RUN_EXECUTING,
    RESTATE__RUN_PROPOSED                   /* protocol 7: to be confirmed */
} restate__run_state;

typedef struct restate__edge {
    struct restate__edge *next;
    struct restate__node *parent;
    struct restate__edge *ready;            /* of a SELECT: the next settled one */
    size_t index;                           /* of a SELECT: of the child */
} restate__edge;

/* What can be awaited: leaves, which are completions and signals, and combinators of nodes. A
 * delivered notification settles its leaf, which may settle combinators above it; each edge is
 * walked once, so that gathering n results costs O(n).
 *
 * Zeroed memory of the caller's that outlives the state machine, or is settled and forgotten.
 * Invariant: a combinator that is pending has exactly `pending` edges from pending children. */
typedef struct restate__node {
    uint8_t kind;                           /* restate__node_kind */
    uint8_t state;                          /* restate__node_state */
    uint8_t run;                            /* restate__run_state */
    uint8_t expects;                        /* of a leaf: the kind of its result */
    bool listed;                            /* a combinator on the list `decided` */
    uint16_t depth;                         /* of a combinator: of combinators below it */
    uint32_t order;                         /* of settling, from 1: the journal's order */
    uint32_t mark;                          /* the last walk that passed here */
    uint32_t id;                            /* completion id or signal number of a leaf; of a
                                               combinator: its item, while a tree is encoded */
    restate__edge *parents;
    restate__value value;                   /* of a settled leaf */
    struct restate__node *work; /* next on the work list of a walk, or its way back up; in a tree
                                   that is encoded: the combinator that has it */
    struct restate__node *next;             /* leaves of one name; closures that execute;
                                               combinators that were decided */
    union {
        struct {
            struct restate__node **children;
            struct restate__node
                *decided; /* the child that settled it; NULL: all of them, or none */
            uint32_t count, pending;
            uint32_t cursor;                /* no child before it has a closure to execute */
            uint32_t looked_at;             /* 0: not awaited yet; else no named signal before the
                                               one with this number is for a leaf below it */
            restate__edge *ready, *ready_last;  /* of a SELECT: settled and not given out */
        } all;                              /* of a combinator */
        struct {
            const restate__value *proposed; /* protocol 7: what is to be confirmed */
            restate_bytes name;
            struct restate__node **back;    /* what points to it on the list `executing` */
            uint32_t command;
        } closure;                          /* of a run that is not replayed */
        struct {
            struct restate__signal_name *name;
            struct restate__node *previous; /* of the leaves of the name that are listed */
            uint32_t place;                 /* among them, ascending */
            bool listed;
        } named;                            /* of a named signal */
    } of;
} restate__node;

/* ---- The journal: entries as the bytes they came as ------------------------------------------ */

typedef struct restate__message {
    uint16_t type;
    restate_bytes body;
    uint8_t *kept;                          /* the body's memory, to be taken over; or NULL */
} restate__message;

/* What is known under a completion id or signal number. */
typedef struct restate__slot {
    restate__node *leaf;                    /* NULL: the code has not asked yet */
    const uint8_t *entry;                   /* the first result; NULL: none has arrived */
} restate__slot;

#define RESTATE__SLOTS_PAGE 16u             /* slots: one page is enough for most handlers */

/* Slots by number. Numbers are dense where they come from a program; what does not look so goes to
 * a map, so that a large number in the input costs no memory. */
typedef struct restate__slots {
    restate__slot **pages;                  /* NULL: not needed yet */
    uint32_t room;                          /* of `pages` */
    uint32_t used;                          /* how often one was looked for, which bounds `room` */
    restate__map_node *far;                 /* of restate__far_slot; stale where there is a page */
} restate__slots;

typedef struct restate__far_slot {
    restate__map_node node;                 /* first */
    uint8_t id[4];                          /* big-endian: its key */
    restate__slot slot;
} restate__far_slot;

/* Entries lie in pages one behind the other, in the order in which they arrived:
 *
 *     | type, 2 bytes | length, 1 byte, or 255 and 4 bytes | body | 0 |
 *
 * The zero makes a string of what stands at the end of a body. The type of a command is that of its
 * message. A notification's is 0x80 or 0x81, and in the second byte how its result is read. */
#define RESTATE__ENTRY_HEAD 3u
#define RESTATE__ENTRY_HEAD_LONG 7u
#define RESTATE__ENTRY_NOTIFICATION 0x8000u
#define RESTATE__ENTRY_CONFIRMED 0x8100u    /* the body is a completion id, of four bytes: what was
                                               proposed for it is stored */
#define RESTATE__ENTRY_DELIVERED 0x40u      /* added to the first byte of a notification's type */
#define RESTATE__PAGE_BYTES 256u            /* of the first page; the next are twice as large */
#define RESTATE__PAGE_BYTES_MAX 16384u

enum {                                      /* how the result of a notification is read */
    RESTATE__FORM_ANY,
    RESTATE__FORM_VOID                      /* above: where in the body a value's content begins */
};

typedef struct restate__page {
    struct restate__page *next;
    uint8_t *begin, *end;
} restate__page;

typedef struct restate__cursor {
    const restate__page *page;
    uint8_t *at;
    uint32_t left;                          /* entries of its kind ahead */
} restate__cursor;

/* Commands are taken by one cursor and notifications by another, each skips the other's. */
typedef struct restate__journal {
    restate__arena *arena;
    restate__page none, *last;              /* an empty one, and those behind it */
    size_t left, next_room;                 /* on the last page; of one more */
    restate__cursor commands, notifications;
    uint32_t known, entries;                /* announced by Start; arrived */
    restate__command taken;                 /* the command that was taken last */
    restate__slots completions, signals;
} restate__journal;

/* --- Slots: what is known by number ----------------------------------------------------------- */

static restate__slot *restate__slot_find_far(const restate__slots *s, uint32_t id) {
    uint8_t key[4];
    restate__b_put32(key, id);
    restate__map_node *n = restate__map_find(s->far, restate__b(key, sizeof key));
    return n ? &((restate__far_slot *)n)->slot : NULL;
}

static restate__slot *restate__slot_new_far(restate__arena *arena, restate__slots *s, uint32_t id) {
    restate__far_slot *f = restate__arena_alloc(arena, sizeof *f);
    if (!f) return NULL;
    restate__b_put32(f->id, id);
    restate__map_add(&s->far, &f->node, restate__b(f->id, sizeof f->id));
    return &f->slot;
}

static restate__slot *restate__slot_new_page(restate__arena *arena, restate__slots *s,
                                             uint32_t number) {
    restate__slot **pages = restate__grow(arena, s->pages, number, &s->room, sizeof *s->pages);
    if (!pages) return NULL;
    s->pages = pages;
    restate__slot *page = restate__arena_alloc(arena, RESTATE__SLOTS_PAGE * sizeof *page);
    for (uint32_t i = 0; page && s->far && i < RESTATE__SLOTS_PAGE; i++) {
        const restate__slot *far = restate__slot_find_far(s, number * RESTATE__SLOTS_PAGE + i);
        if (far) page[i] = *far;
    }
    return pages[number] = page;
}

/* A slot that is on no page (yet).
 *
 * A program's numbers are at most twice its commands, so whatever is far above four times of what
 * was seen comes from elsewhere and goes to the map. */
static RESTATE__NOINLINE restate__slot *restate__slot_far(restate__journal *j, restate__slots *s,
                                                          uint32_t id) {
    restate__slot *slot = s->far ? restate__slot_find_far(s, id) : NULL;
    if (slot) return slot;
    if (id / 4 >= (uint64_t)s->used + j->entries + 16u)
        return restate__slot_new_far(j->arena, s, id);
    slot = restate__slot_new_page(j->arena, s, id / RESTATE__SLOTS_PAGE);
    return slot ? &slot[id % RESTATE__SLOTS_PAGE] : NULL;
}

/* The slot of a completion id or signal number, made when it is new. NULL: out of memory. Valid
 * until the next call. */
static inline restate__slot *restate__slot_of(restate__journal *j, bool signal, uint32_t id) {
    restate__slots *s = signal ? &j->signals : &j->completions;
    uint32_t page = id / RESTATE__SLOTS_PAGE;
    s->used++;
    if (RESTATE__LIKELY(page < s->room && s->pages[page]))
        return &s->pages[page][id % RESTATE__SLOTS_PAGE];
    return restate__slot_far(j, s, id);
}

/* --- Entries ---------------------------------------------------------------------------------- */

static uint16_t restate__entry_type(const uint8_t *entry) {
    return (uint16_t)(entry[0] << 8 | entry[1]);
}

static restate_bytes restate__entry_body(const uint8_t *entry) {
    if (RESTATE__LIKELY(entry[2] < 255)) return restate__b(entry + RESTATE__ENTRY_HEAD, entry[2]);
    return restate__b(entry + RESTATE__ENTRY_HEAD_LONG,
                      restate__b_get32(entry + RESTATE__ENTRY_HEAD));
}

/* Begins a page; `at` NULL: in new memory. false: out of memory. */
static bool restate__journal_page(restate__journal *j, uint8_t *at, size_t room) {
    restate__page *p = restate__arena_alloc(j->arena, sizeof *p);
    if (!at) at = restate__arena_bytes(j->arena, room);
    if (!p || !at) return false;
    p->begin = p->end = at;
    j->last = j->last->next = p;
    j->left = room;
    return true;
}

static uint8_t *restate__journal_begin_entry(restate__journal *j, uint16_t type, size_t size) {
    uint8_t *entry = j->last->end;
    j->last->end += size;
    j->left -= size;
    j->entries++;
    (type < RESTATE__ENTRY_NOTIFICATION ? &j->commands : &j->notifications)->left++;
    entry[0] = (uint8_t)(type >> 8);
    entry[1] = (uint8_t)type;
    entry[size - 1] = 0;
    return entry;
}

static RESTATE__NOINLINE uint8_t *restate__journal_add_any(restate__journal *j, uint16_t type,
                                                           const restate__message *m) {
    bool small = m->body.len < 255;
    size_t head = small ? RESTATE__ENTRY_HEAD : RESTATE__ENTRY_HEAD_LONG;
    size_t size = head + m->body.len + 1;
    if (m->kept) {
        if (!restate__journal_page(j, m->kept, size)) return NULL;
    } else if (j->left < size) {
        size_t room = j->next_room > size ? j->next_room : size;
        if (j->next_room < RESTATE__PAGE_BYTES_MAX) j->next_room *= 2;
        if (!restate__journal_page(j, NULL, room)) return NULL;
    }
    uint8_t *entry = restate__journal_begin_entry(j, type, size);
    entry[2] = (uint8_t)(small ? m->body.len : 255);
    if (!small) restate__b_put32(entry + RESTATE__ENTRY_HEAD, (uint32_t)m->body.len);
    if (!m->kept && m->body.len) memcpy(entry + head, m->body.ptr, m->body.len);
    return entry;
}

/* Puts an entry at the end. NULL: out of memory. */
static inline uint8_t *restate__journal_add(restate__journal *j, uint16_t type,
                                            const restate__message *m) {
    size_t len = m->body.len, size = RESTATE__ENTRY_HEAD + len + 1;
    if (RESTATE__UNLIKELY(len >= 255 || j->left < size))
        return restate__journal_add_any(j, type, m);
    uint8_t *entry = restate__journal_begin_entry(j, type, size);
    entry[2] = (uint8_t)len;
    if (len) memcpy(entry + RESTATE__ENTRY_HEAD, m->body.ptr, len);
    return entry;
}

static size_t restate__entry_size(const uint8_t *entry) {
    if (RESTATE__LIKELY(entry[2] < 255)) return RESTATE__ENTRY_HEAD + entry[2] + 1u;
    return (size_t)RESTATE__ENTRY_HEAD_LONG + restate__b_get32(entry + RESTATE__ENTRY_HEAD) + 1u;
}

/* The next entry of the kind that `c` takes, of which some are left. */
static uint8_t *restate__journal_peek(const restate__journal *j, restate__cursor *c) {
    const unsigned kind = c == &j->notifications ? RESTATE__ENTRY_NOTIFICATION >> 8 : 0;
    for (;;) {
        const uint8_t *end = c->page->end;
        for (; c->at != end; c->at += restate__entry_size(c->at))
            if ((*c->at & 0x80u) == kind) return c->at;
        c->page = c->page->next;
        c->at = c->page->begin;
    }
}

/* Goes past the entry that restate__journal_peek() gave. */
static void restate__journal_pass(restate__cursor *c) {
    c->at += restate__entry_size(c->at);
    c->left--;
}

/* ---- The frame reader: from bytes that are cut anywhere to messages -------------------------- */

#define RESTATE__BODY_ROOM 256u             /* of a body that begins to arrive */
#define RESTATE__BODY_USUAL (2u << 20)      /* memory for larger ones grows as they arrive */

typedef struct restate__frames {
    restate__arena *arena;
    size_t max;                             /* larger bodies are refused */
    uint8_t head[RESTATE__WIRE_HEAD];       /* of the frame that arrives in pieces */
    size_t head_len, len, at;               /* `len`, `at`: of its body, and what is here */
    uint8_t *body;                          /* room for an entry's head, `room` bytes, and a zero */
    size_t room;
} restate__frames;

static bool restate__frames_too_large(const restate__frames *f) { return f->len > f->max; }

/* Whether all of a body gets its room now: of a usual size, and enough of it is here. */
static bool restate__frames_trusted(const restate__frames *f, size_t room) {
    return f->len <= RESTATE__BODY_USUAL && room >= f->len / 3;
}

/* Makes room for `more` bytes of a body. The announced length may be wrong: memory grows with
 * what arrives, to at most three times as much (nine times if the body is no larger than usual),
 * and not beyond what was announced. But a chunk that is kept for reuse and holds all of it costs
 * nothing. */
static bool restate__frames_grow(restate__frames *f, size_t more) {
    const size_t around = RESTATE__ENTRY_HEAD_LONG + 1;
    if (more > f->len - f->at) more = f->len - f->at;
    if (f->body && f->at + more <= f->room) return true;
    size_t room = 3 * (f->at + more);
    if (room < RESTATE__BODY_ROOM) room = RESTATE__BODY_ROOM;
    if (room > f->len || restate__frames_trusted(f, room) ||
        restate__arena_has(f->arena, f->len + around))
        room = f->len;
    f->body = restate__arena_more(f->arena, f->body, f->body ? f->room + around : 0,
                                  f->at ? RESTATE__ENTRY_HEAD_LONG + f->at : 0, room + around);
    f->room = f->body ? room : 0;
    return f->body != NULL;
}

static size_t restate__frames_fill(uint8_t *to, size_t *have, size_t want, restate_bytes *from) {
    size_t n = want - *have;
    if (n > from->len) n = from->len;
    if (n) memcpy(to + *have, from->ptr, n);
    *have += n;
    from->ptr += n;
    from->len -= n;
    return want - *have;
}

static uint16_t restate__frames_type(const uint8_t *head) {
    return (uint16_t)(head[0] << 8 | head[1]);
}

/* A frame that arrives in pieces. The memory of a large body becomes a page of the journal. */
static bool restate__frames_piece(restate__frames *f, restate_bytes *bytes, restate__message *m) {
    if (f->head_len < RESTATE__WIRE_HEAD) {
        if (restate__frames_fill(f->head, &f->head_len, RESTATE__WIRE_HEAD, bytes)) return false;
        f->len = restate__b_get32(f->head + 4);
        f->at = 0;
    }
    if (restate__frames_too_large(f) || !restate__frames_grow(f, bytes->len)) return false;
    uint8_t *body = f->body + RESTATE__ENTRY_HEAD_LONG;
    if (restate__frames_fill(body, &f->at, f->len, bytes)) return false;
    f->head_len = 0;
    m->type = restate__frames_type(f->head);
    m->body = restate__b(body, f->len);
    m->kept = f->len < RESTATE__CHUNK_BYTES ? NULL : f->body;
    if (m->kept) f->body = NULL;
    return true;
}

/* Takes the next message from the front of `bytes`. False: there is no whole one, a body is too
 * large, or there is no memory. */
static bool restate__frames_next(restate__frames *f, restate_bytes *bytes, restate__message *m) {
    if (RESTATE__LIKELY(!f->head_len && bytes->len >= RESTATE__WIRE_HEAD)) {
        const uint8_t *head = bytes->ptr;
        size_t len = restate__b_get32(head + 4), size = RESTATE__WIRE_HEAD + len;
        if (RESTATE__LIKELY(len <= f->max && len <= bytes->len - RESTATE__WIRE_HEAD)) {
            m->type = restate__frames_type(head);
            m->body = restate__b(head + RESTATE__WIRE_HEAD, len);
            m->kept = NULL;
            bytes->ptr += size;
            bytes->len -= size;
            return true;
        }
    }
    return bytes->len && restate__frames_piece(f, bytes, m);
}

/* ---- The graph: what is awaited -------------------------------------------------------------- */

/* A name of signals; without a key, cancellations, where code asks for them. */
typedef struct restate__signal_name {
    restate__map_node node;                 /* first */
    restate__node *leaves, *leaves_last;    /* pending ones, oldest first: restate__vm_claim() */
    uint32_t delivered, delivered_last;     /* signals without a leaf, oldest first; 0: none */
    uint32_t mark;                          /* the last walk that came to one of its leaves */
    uint32_t signal;                        /* of this walk: for the next leaf; 0: none */
    restate__node *leaf;                    /* of this walk: the oldest, or the first */
} restate__signal_name;

/* A named signal that was delivered. Its place among all of them, from 1, is its number. */
typedef struct restate__named_signal {
    restate__signal_name *name;
    const uint8_t *entry;
    uint32_t next;                          /* of this name; 0: none */
    bool claimed;
} restate__named_signal;

/* Signals that go by a name. */
typedef struct restate__named {
    restate__arena *arena;
    restate__map_node *names;               /* of restate__signal_name */
    restate__signal_name cancels;           /* cancellations, with explicit_cancellation */
    restate__named_signal *signals;         /* delivered, in their order */
    uint32_t count, room;
    uint32_t unclaimed;                     /* of these */
    uint32_t places, unlisted;              /* of leaves of names: given out; not on the list */
    uint32_t *claims;                       /* numbers of signals; of one walk */
    uint32_t claims_count, claims_room;
} restate__named;

/* The name that a leaf waits for; NULL: it waits for a number. */
static restate__signal_name *restate__node_name(const restate__node *leaf) {
    bool named = leaf->kind == RESTATE__LEAF_NAME ||
                 (leaf->kind == RESTATE__LEAF_SIGNAL && leaf->id == RESTATE__SIGNAL_CANCEL);
    return named ? leaf->of.named.name : NULL;
}

typedef struct restate__item {              /* of the tree that is encoded */
    restate__node *node;
    uint32_t last, previous;                /* combinator below it, and of its parent; 0: none */
} restate__item;

typedef struct restate__step {              /* of a walk down */
    restate__node *node;
    uint32_t next;                          /* child, or item */
    uint8_t *end;                           /* of its message, which is written backwards */
} restate__step;

/* What is awaited, and how closures below it stand. */
typedef struct restate__graph {
    restate__arena *arena;
    restate__edge *edges;                   /* to be used again */
    uint32_t mark, settled;                 /* the last walk; how many nodes are settled */
    const restate__node *awaited;           /* of the await that runs: where to stop */
    bool stopped;
    restate__node *executing;               /* closures handed out */
    uint32_t to_execute;
    restate__node *decided;                 /* combinators, while closures are handed out */
    restate__step *path;                    /* of a walk down */
    restate__item *items;                   /* of the tree that is encoded */
    uint32_t path_room, items_room;
} restate__graph;

static bool restate__node_is_leaf(const restate__node *n) { return n->kind >= RESTATE__LEAF; }

static restate__edge *restate__graph_edge(restate__graph *g) {
    restate__edge *e = g->edges;
    if (!e) return restate__arena_alloc(g->arena, sizeof *e);
    g->edges = e->next;
    return e;
}

static void restate__graph_free_edge(restate__graph *g, restate__edge *e) {
    e->next = g->edges;
    g->edges = e;
}

/* Gives back edges to combinators that were decided, up to the settling number `since`: a future
 * that is raced in a loop would be walked longer each time. One of them stays: it shows that the
 * node was part of something. */
static void restate__graph_prune(restate__graph *g, restate__node *n, uint32_t since) {
    restate__edge **at = &n->parents, *e;
    bool one = false;
    while ((e = *at) != NULL) {
        const restate__node *p = e->parent;
        bool over = p->state != RESTATE__PENDING && p->kind != RESTATE__SELECT && p->order <= since;
        if (over && one) {
            *at = e->next;
            restate__graph_free_edge(g, e);
        } else {
            one = one || over;
            at = &e->next;
        }
    }
}

/* Whether `root` is `node` or above it, by way of combinators that are pending or were settled
 * after the settling number `since`. What was passed since `g->mark` was counted on is not passed
 * again. `*awaited`: some of it was awaited itself.
 *
 * Without `root`: whether anything that the node is part of is still open. That is a combinator
 * that is part of nothing, or an iterator, which wants every node. */
static bool restate__graph_above(restate__graph *g, restate__node *node, const restate__node *root,
                                 uint32_t since, bool *awaited) {
    restate__node *work = node;
    node->work = NULL;
    while (work) {
        restate__node *n = work;
        work = n->work;
        if (root ? n == root : !n->parents) return true;
        restate__graph_prune(g, n, since);
        for (restate__edge *e = n->parents; e; e = e->next) {
            restate__node *p = e->parent;
            if (root ? p == root : p->kind == RESTATE__SELECT) return true;
            if (p->mark == g->mark || (p->state != RESTATE__PENDING && p->order <= since)) continue;
            *awaited = *awaited || p->of.all.looked_at;
            p->mark = g->mark;
            p->work = work;
            work = p;
        }
    }
    return false;
}

static bool restate__graph_wanted(restate__graph *g, restate__node *node) {
    bool awaited = false;
    g->mark++;
    return restate__graph_above(g, node, NULL, UINT32_MAX, &awaited);
}

/* A combinator was decided, or nobody wants it any more: its pending children may be unwanted, too.
 * */
static void restate__graph_decided(restate__graph *g, restate__node *n) {
    if (!g->executing || n->listed) return;
    n->listed = true;
    n->next = g->decided;
    g->decided = n;
}

/* Has `lose` called for the closures handed out that nobody wants any more because of what was
 * decided since the last time: every race, any and all that they are part of is. A combinator is
 * looked at once when it is decided, and once when it is lost itself. */
static void restate__graph_losers(restate__graph *g, void (*lose)(restate__node *run)) {
    while (g->decided) {
        restate__node *n = g->decided;
        g->decided = n->next;
        n->listed = false;
        for (uint32_t i = 0; i < n->of.all.count; i++) {
            restate__node *c = n->of.all.children[i];
            bool leaf = restate__node_is_leaf(c);
            if (c->state != RESTATE__PENDING || (leaf && c->run != RESTATE__RUN_EXECUTING) ||
                restate__graph_wanted(g, c))
                continue;
            if (leaf) lose(c);
            else restate__graph_decided(g, c);
        }
    }
}

/* What a settled child means for its parent by the edge `e`: for an iterator that it can give out
 * one more, for a combinator that it may be decided. */
static void restate__node_child_settled(restate__node *parent, restate__node *child,
                                        restate__edge *e) {
    if (parent->kind == RESTATE__SELECT) {
        e->ready = NULL;
        *(parent->of.all.ready ? &parent->of.all.ready_last->ready : &parent->of.all.ready) = e;
        parent->of.all.ready_last = e;
        parent->state = RESTATE__SUCCEEDED;
        return;
    }
    bool last = --parent->of.all.pending == 0;
    bool decided = parent->kind == RESTATE__RACE ||
                   (parent->kind == RESTATE__ANY && (last || child->state == RESTATE__SUCCEEDED)) ||
                   (parent->kind == RESTATE__ALL && child->state == RESTATE__FAILED);
    if (decided) {
        parent->state = child->state;
        parent->of.all.decided = child;
    } else if (last) {
        parent->state = RESTATE__SUCCEEDED;
    }
}

/* Whether the caller has something to look at in a combinator that was settled inside a larger
 * tree: it was decided by one child while others go on. */
static bool restate__node_stops(const restate__node *n) {
    return n->kind == RESTATE__RACE ||
           (n->kind == RESTATE__ANY && n->state == RESTATE__SUCCEEDED) ||
           (n->kind == RESTATE__ALL && n->state == RESTATE__FAILED);
}

/* Settles what follows from a node that has just been settled. */
static void restate__graph_propagate(restate__graph *g, restate__node *settled) {
    restate__node *work = settled, *stops = NULL;
    uint32_t before = g->settled;
    bool awaited = false;
    settled->work = NULL;
    while (work) {
        restate__node *n = work;
        work = n->work;
        n->order = ++g->settled;
        for (restate__edge *e = n->parents; e; e = e->next) {
            restate__node *p = e->parent;
            if (p->kind != RESTATE__SELECT && p->state != RESTATE__PENDING) continue;
            restate__node_child_settled(p, n, e);
            if (p->kind == RESTATE__SELECT || p->state == RESTATE__PENDING) continue;
            p->work = work;
            work = p;
            if (!restate__node_stops(p)) continue;
            p->next = stops;
            stops = p;
        }
    }
    g->mark++;
    while (stops) {
        restate__node *p = stops;
        stops = p->next;
        if (g->awaited && !g->stopped)
            g->stopped = restate__graph_above(g, p, g->awaited, before, &awaited);
        restate__graph_decided(g, p);
    }
}

/* Whether `x` was settled before `y`, which the journal decides (R4). */
static bool restate__node_earlier(const restate__node *x, const restate__node *y) {
    return x->order < y->order;
}

/* For qsort(): edges in the order of settling; those of one future, which is in a list twice, by
 * their places. */
static int restate__edge_order(const void *a, const void *b) {
    const restate__edge *x = *(restate__edge *const *)a, *y = *(restate__edge *const *)b;
    if (x->parent == y->parent) return x->index > y->index ? 1 : -1;
    return restate__node_earlier(x->parent, y->parent) ? -1 : 1;
}

/* Children that were settled before come first, in the order in which that happened. Their edges
 * lead to themselves until here, for the sort. */
static void restate__graph_join_settled(restate__graph *g, restate__node *node,
                                        restate__edge **settled, size_t count) {
    if (count > 1) qsort((void *)settled, count, sizeof *settled, restate__edge_order);
    for (size_t i = 0; i < count; i++) {
        restate__edge *e = settled[i];
        if (node->kind == RESTATE__SELECT || node->state == RESTATE__PENDING)
            restate__node_child_settled(node, e->parent, e);
        if (node->kind != RESTATE__SELECT) restate__graph_free_edge(g, e);
    }
}

static void restate__graph_join(restate__node *node, restate__node *child, restate__edge *e) {
    e->parent = node;
    e->next = child->parents;
    child->parents = e;
    if (!restate__node_is_leaf(child) && child->depth >= node->depth)
        node->depth = (uint16_t)(child->depth + 1);
}

/* Makes a zeroed node a combinator of `children`, an array that has to stay. `indexes`: what an
 * iterator gives out for them. False: out of memory. */
static bool restate__graph_combine(restate__graph *g, restate__node *node, restate__node **children,
                                   const size_t *indexes, size_t count) {
    size_t settled_count = 0;
    restate__edge **settled = NULL;
    node->of.all.children = children;
    node->of.all.count = node->of.all.pending = (uint32_t)count;
    if (!count && node->kind <= RESTATE__ALL && node->kind != RESTATE__RACE)
        node->state = node->kind == RESTATE__ANY ? RESTATE__FAILED : RESTATE__SUCCEEDED;
    for (size_t i = count; i-- > 0;) {      /* the edges of one child come out by their indexes */
        restate__edge *e = restate__graph_edge(g);
        if (!e) return false;
        e->index = indexes ? indexes[i] : i;
        if (children[i]->state == RESTATE__PENDING) {
            restate__graph_join(node, children[i], e);
            continue;
        }
        if (!settled) settled = restate__arena_alloc(g->arena, (i + 1) * sizeof *settled);
        if (!settled) return false;
        e->parent = children[i];
        settled[settled_count++] = e;
    }
    restate__graph_join_settled(g, node, settled, settled_count);
    if (node->state == RESTATE__PENDING || node->kind == RESTATE__SELECT) return true;
    node->order = ++g->settled;
    restate__graph_decided(g, node);
    return true;
}

/* Undoes a combination that was made for one await. Its edges are the first of their children's,
 * because nothing was combined in between. */
static void restate__graph_dissolve(restate__graph *g, restate__node *node) {
    restate__node **at = &g->decided;
    while (node->listed && *at != node) at = &(*at)->next;
    if (node->listed) *at = node->next;
    for (size_t i = node->of.all.count; i-- > 0;) {
        restate__edge *e = node->of.all.children[i]->parents;
        if (!e || e->parent != node) continue;
        node->of.all.children[i]->parents = e->next;
        restate__graph_free_edge(g, e);
    }
}

/* --- Closures to execute ---------------------------------------------------------------------- */

/* The first closure to execute below `root`, in the order of the tree. Cursors make all searches
 * together linear. */
static restate__node *restate__graph_next_run(restate__node *root) {
    restate__node *n = root;
    if (restate__node_is_leaf(root)) return root->run == RESTATE__RUN_TO_EXECUTE ? root : NULL;
    root->work = NULL;
    while (n) {
        if (n->of.all.cursor == n->of.all.count) {
            n = n->work;
            if (n) n->of.all.cursor++;
            continue;
        }
        restate__node *child = n->of.all.children[n->of.all.cursor];
        bool pending = child->state == RESTATE__PENDING;
        if (pending && child->run == RESTATE__RUN_TO_EXECUTE) return child;
        if (pending && !restate__node_is_leaf(child) &&
            child->of.all.cursor < child->of.all.count) {
            child->work = n;
            n = child;
        } else {
            n->of.all.cursor++;
        }
    }
    return NULL;
}

static void restate__graph_hand_out(restate__graph *g, restate__node *run) {
    run->run = RESTATE__RUN_EXECUTING;
    g->to_execute--;
    run->next = g->executing;
    run->of.closure.back = &g->executing;
    if (run->next) run->next->of.closure.back = &run->next;
    g->executing = run;
}

static void restate__graph_run_over(restate__graph *g, restate__node *run) {
    if (run->run == RESTATE__RUN_TO_EXECUTE) g->to_execute--;
    if (run->run == RESTATE__RUN_EXECUTING) {
        *run->of.closure.back = run->next;
        if (run->next) run->next->of.closure.back = run->of.closure.back;
    }
    run->next = NULL;
    run->run = RESTATE__RUN_NONE;
}

/* Cursors above a run that is to be found again. Where one is at its start, so are those above, or
 * they have not come past it. */
static void restate__graph_rewind(restate__node *run) {
    restate__node *work = run;
    run->work = NULL;
    while (work) {
        restate__node *n = work;
        work = n->work;
        for (restate__edge *e = n->parents; e; e = e->next) {
            restate__node *p = e->parent;
            if (!p->of.all.cursor) continue;
            p->of.all.cursor = 0;
            p->work = work;
            work = p;
        }
    }
}

static void restate__graph_take_back(restate__graph *g, restate__node *run) {
    if (run->run != RESTATE__RUN_EXECUTING) return;
    restate__graph_run_over(g, run);
    if (run->state != RESTATE__PENDING) return;
    run->run = RESTATE__RUN_TO_EXECUTE;
    g->to_execute++;
    restate__graph_rewind(run);
}

/* ---- Encoding what is awaited, for AwaitingOn and Suspension --------------------------------- */

/* The tree of what is awaited: the awaited node, with the cancellation beside it (R8).
 *
 *     Future { 1: completion ids, 2: signal numbers, 3: names, 4: nested Futures, 5: combinator }
 *
 * What several combinators have cannot stand in each of them: a graph may have any number of
 * paths. It stands once, at the top, and is left out below: the server resumes the invocation when
 * the rest of the tree is decided or any of it is there, so never too late.
 *
 * One walk lists what is pending in `graph->items`, each node once, with `work` as the combinator
 * that has it: behind a combinator its leaves, then the combinators below it. A second walk writes
 * the message from its end to its beginning, so that each length is known when it is written. */
typedef struct restate__tree {
    restate__graph *graph;
    restate__node *root;                    /* of the message */
    uint32_t mark;                          /* of nodes listed; + 1: of several combinators */
    bool shared, failed;                    /* some are of several; out of memory */
    uint32_t count, leaves, depth;          /* of items; of these, leaves; of the walk's path */
    size_t most;                            /* bytes that the message can have at most */
    uint8_t *at;                            /* where the message begins so far */
    restate__node top, cancel, *pair[2];
} restate__tree;

enum { RESTATE__LEAF_KINDS = 3 };

#define RESTATE__TREE_NUMBER_MOST 5u        /* bytes of an id; of all but a name; of a combinator */
#define RESTATE__TREE_NAME_MOST 6u
#define RESTATE__TREE_NODE_MOST 20u

static size_t restate__tree_most(const restate__node *n) {
    if (!restate__node_is_leaf(n)) return RESTATE__TREE_NODE_MOST;
    if (n->kind != RESTATE__LEAF_NAME) return RESTATE__TREE_NUMBER_MOST;
    return RESTATE__TREE_NAME_MOST + n->of.named.name->node.key.len;
}

static void restate__tree_list(restate__tree *t, restate__node *parent, restate__node *n) {
    restate__graph *g = t->graph;
    restate__item *items =
        restate__grow(g->arena, g->items, t->count, &g->items_room, sizeof *items);
    if (!items) {
        t->failed = true;
        return;
    }
    g->items = items;
    n->mark = t->mark;
    n->work = parent;
    items[t->count] = (restate__item){ .node = n };
    if (restate__node_is_leaf(n)) {
        t->leaves++;
    } else if (parent) {
        items[t->count].previous = items[parent->id].last;
        items[parent->id].last = n->id = t->count;
    }
    t->count++;
    t->most += restate__tree_most(n);
}

/* `parent` has a pending `n`. True: it is new. Twice in one combinator is nothing special. */
static bool restate__tree_note(restate__tree *t, restate__node *parent, restate__node *n) {
    if (n->mark < t->mark) {
        restate__tree_list(t, parent, n);
        return true;
    }
    if (n->work == parent) return false;
    n->mark = t->mark + 1;
    t->shared = true;
    return false;
}

/* Leaves of one name are one. */
static void restate__tree_note_leaves(restate__tree *t, restate__node *n) {
    for (uint32_t i = 0; i < n->of.all.count; i++) {
        restate__node *c = n->of.all.children[i];
        if (c->state != RESTATE__PENDING || !restate__node_is_leaf(c)) continue;
        restate__signal_name *name = restate__node_name(c);
        if (name && name->mark != t->mark) {
            name->mark = t->mark;
            name->leaf = c;
        }
        restate__tree_note(t, n, name ? name->leaf : c);
    }
}

static void restate__tree_enter(restate__tree *t, restate__node *n, uint32_t next) {
    restate__graph *g = t->graph;
    restate__step *path = restate__grow(g->arena, g->path, t->depth, &g->path_room, sizeof *path);
    if (!path) {
        t->failed = true;
        return;
    }
    g->path = path;
    path[t->depth++] = (restate__step){ .node = n, .next = next, .end = t->at };
}

/* Lists what is pending below the top. False: out of memory. */
static bool restate__tree_init(restate__tree *t, restate__graph *g, restate__node *root,
                               bool with_cancel) {
    *t = (restate__tree){ .graph = g, .root = root, .mark = g->mark + 1 };
    g->mark += 2;
    t->pair[0] = root;
    t->pair[1] = &t->cancel;
    t->cancel.kind = RESTATE__LEAF_SIGNAL;
    t->cancel.id = RESTATE__SIGNAL_CANCEL;
    t->top.kind = RESTATE__RACE;
    t->top.of.all.children = t->pair;
    t->top.of.all.count = with_cancel ? 2 : 1;
    restate__tree_list(t, NULL, &t->top);
    restate__tree_enter(t, &t->top, 0);
    while (t->depth && !t->failed) {
        restate__step *step = &g->path[t->depth - 1];
        restate__node *n = step->node, *below = NULL;
        if (!step->next) restate__tree_note_leaves(t, n);
        while (!below && step->next < n->of.all.count) {
            restate__node *c = n->of.all.children[step->next++];
            if (c->state == RESTATE__PENDING && !restate__node_is_leaf(c) &&
                restate__tree_note(t, n, c))
                below = c;
        }
        if (below) restate__tree_enter(t, below, 0);
        else t->depth--;
    }
    bool race = root->kind == RESTATE__RACE || root->kind == RESTATE__SELECT;
    if (with_cancel || restate__node_is_leaf(root) || (t->shared && !race)) t->root = &t->top;
    return !t->failed;
}

static void restate__tree_put_leaf(restate__tree *t, const restate__node *n, unsigned kind,
                                   uint32_t mark) {
    if (n->kind != RESTATE__LEAF + kind || n->mark != mark) return;
    if (n->kind != RESTATE__LEAF_NAME) restate__wire_before_number(&t->at, n->id);
    else
        restate__wire_before_bytes(&t->at, restate_wire_Future_waiting_named_signals_tag,
                                   n->of.named.name->node.key);
}

/* The leaves of one kind that a combinator has; at the top, behind these, those of several. */
static void restate__tree_put_leaves(restate__tree *t, const restate__node *parent,
                                     unsigned kind) {
    const restate__item *items = t->graph->items;
    uint32_t i;
    if (parent == t->root && t->shared)
        for (i = t->count; i-- > 0;)
            restate__tree_put_leaf(t, items[i].node, kind, t->mark + 1);
    for (i = parent->id + 1; i < t->count && restate__node_is_leaf(items[i].node);) i++;
    while (i-- > parent->id + 1) restate__tree_put_leaf(t, items[i].node, kind, t->mark);
}

/* The combinator before `step->next` that is its node's alone, or at the top of several. */
static restate__node *restate__tree_before(const restate__tree *t, restate__step *step) {
    const restate__item *items = t->graph->items;
    bool top = step->node == t->root;
    while (step->next) {
        uint32_t i = step->next;
        restate__node *n = items[i].node;
        bool several = n->mark != t->mark;
        step->next = top ? i - 1 : items[i].previous;
        if (!restate__node_is_leaf(n) && (top ? several || n->work == step->node : !several))
            return n;
    }
    return NULL;
}

static void restate__tree_open(restate__tree *t, restate__node *n) {
    restate__tree_enter(t, n, n == t->root ? t->count - 1 : t->graph->items[n->id].last);
    restate__wire_before_number(&t->at, n->kind == RESTATE__SELECT ? RESTATE__RACE : n->kind);
    restate__wire_before_key(&t->at, restate_wire_Future_combinator_type_tag,
                             RESTATE__WIRE_NUMBER);
}

/* A combinator without anything is left out. */
static void restate__tree_close(restate__tree *t) {
    restate__step step = t->graph->path[--t->depth];
    for (unsigned kind = RESTATE__LEAF_KINDS; kind-- > 0;) {
        const uint8_t *end = t->at;
        restate__tree_put_leaves(t, step.node, kind);
        if (kind + RESTATE__LEAF != RESTATE__LEAF_NAME && t->at != end)
            restate__wire_before_content(&t->at, kind + 1, end);
    }
    if (t->at == step.end - 2) t->at = step.end;
    else if (t->depth)
        restate__wire_before_content(&t->at, restate_wire_Future_nested_futures_tag, step.end);
}

/* The tree as a Future message, in `to`, which has room for `most` bytes. */
static restate_bytes restate__tree_encode(restate__tree *t, uint8_t *to) {
    uint8_t *end = t->at = to + t->most;
    t->depth = 0;
    restate__tree_open(t, t->root);
    while (t->depth) {
        restate__node *below = restate__tree_before(t, &t->graph->path[t->depth - 1]);
        if (below) restate__tree_open(t, below);
        else restate__tree_close(t);
    }
    return restate__b(t->at, (size_t)(end - t->at));
}

/* Before protocol 7: all ids in three lists. They have the field numbers of a Future's own lists.
 * False: out of memory. */
static bool restate__tree_flat(const restate__tree *t, restate_wire_SuspensionMessage *m) {
    size_t n = t->count, completions = 0, signals = 0, names = 0;
    uint32_t *ids = restate__arena_alloc(t->graph->arena, (2 * n + 1) * sizeof *ids);
    restate_bytes *texts = restate__arena_alloc(t->graph->arena, (n + 1) * sizeof *texts);
    if (!ids || !texts) return false;
    for (size_t i = 0; i < n; i++) {
        const restate__node *c = t->graph->items[i].node;
        if (c->kind == RESTATE__LEAF) ids[completions++] = c->id;
        else if (c->kind == RESTATE__LEAF_SIGNAL) ids[n + signals++] = c->id;
        else if (c->kind == RESTATE__LEAF_NAME) texts[names++] = c->of.named.name->node.key;
    }
    m->waiting_completions = restate__wire_list(restate__wire_put_numbers, ids, completions);
    m->waiting_signals = restate__wire_list(restate__wire_put_numbers, ids + n, signals);
    m->waiting_named_signals = restate__wire_list(restate__wire_put_bytes, texts, names);
    return true;
}

/* ---- Named signals: those that leaves may claim ---------------------------------------------- */

static void restate__named_list(restate__named *s, restate__node *leaf) {
    restate__signal_name *name = leaf->of.named.name;
    leaf->of.named.listed = true;
    leaf->of.named.place = ++s->places;
    leaf->of.named.previous = name->leaves_last;
    leaf->next = NULL;
    *(name->leaves ? &name->leaves_last->next : &name->leaves) = leaf;
    name->leaves_last = leaf;
}

static void restate__named_unlist(restate__node *leaf) {
    restate__signal_name *name = leaf->of.named.name;
    restate__node *previous = leaf->of.named.previous;
    *(previous ? &previous->next : &name->leaves) = leaf->next;
    *(leaf->next ? &leaf->next->of.named.previous : &name->leaves_last) = previous;
    leaf->of.named.listed = false;
}

/* A walk down has come to a leaf of a name: a signal that is there may be for it. False: out of
 * memory. */
static bool restate__named_may_claim(restate__named *s, restate__node *leaf, uint32_t mark) {
    restate__signal_name *name = leaf->of.named.name;
    if (!leaf->of.named.listed) {
        restate__named_list(s, leaf);
        s->unlisted--;
    }
    if (name->mark != mark) {
        name->mark = mark;
        name->leaf = leaf;
        name->signal = name->delivered;
    } else if (leaf->of.named.place < name->leaf->of.named.place) {
        name->leaf = leaf;
    }
    if (!name->signal) return true;
    uint32_t *claims =
        restate__grow(s->arena, s->claims, s->claims_count, &s->claims_room, sizeof *claims);
    if (!claims) return false;
    s->claims = claims;
    claims[s->claims_count++] = name->signal;
    name->signal = s->signals[name->signal - 1].next;
    return true;
}

static int restate__vm_by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Collects the signals that leaves below `root` may claim, each node once. */
static bool restate__named_collect(restate__named *s, restate__node *root, uint32_t mark) {
    restate__node *work = root;
    root->work = NULL;
    s->claims_count = 0;
    while (work) {
        restate__node *n = work;
        work = n->work;
        for (uint32_t i = 0; i < n->of.all.count; i++) {
            restate__node *c = n->of.all.children[i];
            if (c->state != RESTATE__PENDING || c->mark == mark) continue;
            c->mark = mark;
            if (!restate__node_is_leaf(c)) {
                c->work = work;
                work = c;
            } else if (restate__node_name(c) && !restate__named_may_claim(s, c, mark)) {
                return false;
            }
        }
    }
    if (s->claims_count > 1)
        qsort(s->claims, s->claims_count, sizeof *s->claims, restate__vm_by_number);
    return true;
}

/* What was announced to be awaited: Future messages, the one being made and the last one. */
typedef struct restate__awaiting {
    uint8_t *scratch[2];
    size_t room[2];
    unsigned turn;                          /* of `scratch`: for the next one */
    restate_bytes last;                     /* absent: something else was sent or came since */
    const restate__node *large;             /* what was awaited, if that was a large one */
} restate__awaiting;

/* ---- State: what is known of it (R10) -------------------------------------------------------- */

typedef struct restate__state_entry {
    restate__map_node node;                 /* first */
    restate_bytes value;                    /* absent: cleared */
} restate__state_entry;

typedef struct restate__state {
    restate__map_node *entries;             /* of restate__state_entry */
    size_t count;
    bool partial;                           /* keys without an entry may have values, too */
} restate__state;

static restate__state_entry *restate__state_find(const restate__state *s, restate_bytes key) {
    return (restate__state_entry *)restate__map_find(s->entries, key);
}

/* The entry of a key; a new one, cleared, when there is none. NULL: out of memory. The key is
 * copied unless it is `kept` for us. */
static restate__state_entry *restate__state_make(restate__state *s, restate__arena *arena,
                                                 restate_bytes key, bool kept) {
    restate__state_entry *e = restate__state_find(s, key);
    if (e) return e;
    e = restate__arena_alloc(arena, sizeof *e);
    if (!key.ptr) key = restate__b("", 0);
    if (!kept) key = restate__arena_copy(arena, key);
    if (!e || !key.ptr) return NULL;
    restate__map_add(&s->entries, &e->node, key);
    s->count++;
    return e;
}

/* Absent bytes clear. False: out of memory. */
static bool restate__state_change(restate__state *s, restate__arena *arena, restate_bytes key,
                                  restate_bytes value) {
    restate__state_entry *e = restate__state_make(s, arena, key, false);
    if (e) e->value = restate__arena_copy(arena, value);
    return e && !arena->failed;
}

/* Afterwards all of the state is known: there is none. */
static void restate__state_clear_all(restate__state *s) {
    s->entries = NULL;
    s->count = 0;
    s->partial = false;
}

/* ---- The state machine ----------------------------------------------------------------------- */

typedef struct restate__vm_options {
    uint32_t version;                       /* 5 to 7 */
    bool skip_payload_check;
    bool explicit_cancellation;             /* no implicit CANCEL at awaits, nothing tracked */
    bool cancel_sends;                      /* a cancellation reaches one-way calls, too */
    restate__behavior on_mismatch;
    size_t max_message_bytes;               /* 0: 64 MiB */
} restate__vm_options;

typedef struct restate__tracked {           /* a call that a cancellation reaches */
    struct restate__tracked *next;
    restate__node *id;                      /* leaf of its invocation id */
} restate__tracked;

typedef struct restate__vm {
    restate__vm_options options;
    restate__arena *arena;                  /* everything it keeps */
    restate__buf *out;                      /* everything it sends */
    restate__phase phase;
    restate__vm_error error;                /* of phase ERRORED, and while `failing` */
    bool failing;                           /* `error` is a run's and not sent yet (R12) */
    bool input_closed;
    bool first_new_entry_pending;           /* nothing was written since PROCESSING began */

    restate__frames frames;
    restate__journal journal;
    restate_bytes id, debug_id, key;        /* of Start; a zero byte follows */
    restate_bytes scope, limit_key, idempotency_key;
    uint64_t random_seed;
    uint32_t retry_count;
    uint64_t retry_ms;                      /* since the last stored entry */

    uint32_t command_index;                 /* UINT32_MAX before the first */
    restate__related current;
    uint32_t next_completion, next_signal;
    restate__graph graph;
    restate__named *named;                  /* NULL: there was none yet */
    restate__awaiting awaiting;
    uint32_t cancel_arrived;                /* cancellations that the code does not have */
    uint32_t cancel_delivered;              /* of these: delivered, without explicit_cancellation */
    restate__tracked *tracked, **tracked_end;
    restate__tracked *cancelling;           /* the first whose id a cancellation still waits for */
    restate__state state;
    restate_bytes naming;                   /* the next state operation; as long as the arena */
} restate__vm;

typedef enum restate__wait_kind {
    RESTATE__READY,     /* the node is settled, or something inside it is */
    RESTATE__EXECUTE,   /* `run`: execute its closure, then propose */
    RESTATE__CANCEL,    /* a cancellation came; consumed */
    RESTATE__WAIT,      /* come back when there is input or a closure has finished */
    RESTATE__SUSPENDED, /* the attempt is over, a Suspension was written */
    RESTATE__BROKEN     /* the attempt is over, see `error` */
} restate__wait_kind;

typedef struct restate__wait {
    restate__wait_kind kind;
    restate__node *run;
} restate__wait;

typedef struct restate__vm_input_data {
    restate_bytes body;                     /* never absent; a zero byte follows */
    restate_wire_list headers;
} restate__vm_input_data;

typedef struct restate__vm_call {
    const char *service, *handler;
    restate_bytes key;                      /* empty: none */
    const char *idempotency_key;            /* NULL: none */
    const char *scope, *limit_key;          /* NULL: none; protocol 7 */
    const restate_pair *headers;
    restate_bytes parameter;
    const char *name;
    uint64_t invoke_time_ms;                /* sends: since 1970; 0: now */
    bool unstable;                          /* equal parameters may have different bytes */
    bool loose_headers;                     /* replay does not compare them */
} restate__vm_call;

typedef enum restate__target_kind {
    RESTATE__BY_ID,
    RESTATE__BY_WORKFLOW,
    RESTATE__BY_IDEMPOTENCY_KEY
} restate__target_kind;

typedef struct restate__vm_target {         /* an invocation to attach to */
    restate__target_kind kind;
    const char *id;
    const char *service, *key, *handler, *idempotency_key;  /* key NULL: none */
    const char *scope;                      /* NULL: none; protocol 7 */
} restate__vm_target;

typedef struct restate__policy {
    bool own;                               /* else all is left to the server, without end */
    bool has_max_attempts, has_max_duration, pause;
    uint64_t interval_ms, max_interval_ms, max_duration_ms;
    uint32_t max_attempts;
    double factor;
} restate__policy;

typedef enum restate__outcome_kind {
    RESTATE__DONE,
    RESTATE__TERMINAL,
    RESTATE__RETRYABLE
} restate__outcome_kind;

typedef struct restate__outcome {           /* of a closure */
    restate__outcome_kind kind;
    restate_bytes value;                    /* DONE */
    restate_failure failure;                /* TERMINAL */
    restate__vm_error error; /* RETRYABLE; its delay, if any, replaces the policy's */
    uint64_t duration_ms;                   /* RETRYABLE: of this execution */
} restate__outcome;

/* ---- Errors ---------------------------------------------------------------------------------- */

/* Whether the attempt is over (R1): nothing is sent any more, and what comes is not looked at. */
static bool restate__vm_over(const restate__vm *vm) { return vm->phase >= RESTATE__CLOSED; }

/* Whether the handler may run. */
RESTATE__PRIVATE bool restate__vm_ready(const restate__vm *vm) {
    return vm->phase == RESTATE__REPLAYING || vm->phase == RESTATE__PROCESSING;
}

/* Ends the attempt with an error that is not sent. */
static void restate__vm_break(restate__vm *vm, uint32_t code, const char *message) {
    vm->phase = RESTATE__ERRORED;
    vm->error = (restate__vm_error){ .code = code, .message = message };
}

static void restate__vm_put(restate__vm *vm, uint16_t type, uint16_t flags,
                            const pb_msgdesc_t *desc, const void *message) {
    vm->awaiting.last = restate__b_none();
    restate__wire_put(vm->out, type, flags, desc, message);
    if (RESTATE__UNLIKELY(vm->out->failed))
        restate__vm_break(vm, RESTATE__E_INTERNAL, "out of memory");
}

/* Sends the error of the attempt, which ends with it (R12). */
static void restate__vm_put_error(restate__vm *vm) {
    const restate__vm_error *e = &vm->error;
    bool delay = e->has_delay && e->behavior == RESTATE__RETRY;
    restate_wire_ErrorMessage m = {
        .code = e->code,
        .message = restate_str(e->message),
        .has_next_retry_delay = delay,
        .next_retry_delay = delay ? e->delay_ms : 0,
        .behavior = (restate_wire_ErrorBehavior)e->behavior,
    };
    if (e->related.known) {
        m.has_related_command_index = m.has_related_command_type = true;
        m.related_command_index = e->related.index;
        m.related_command_type = e->related.type;
        if (e->related.name.len) m.related_command_name = e->related.name;
    }
    vm->phase = RESTATE__ERRORED;
    restate__vm_put(vm, restate_wire_MSG_ERROR, 0, restate_wire_ErrorMessage_fields, &m);
}

static const char *restate__vm_unsupported(restate__vm *vm, const char *feature, uint32_t needed) {
    return restate__arena_printf(vm->arena,
                                 "%s needs service protocol V%u, but this invocation runs with "
                                 "V%u: upgrade the Restate server, "
                                 "or do without",
                                 feature, (unsigned)needed, (unsigned)vm->options.version);
}

/* Makes `error` that of the attempt. */
static void restate__vm_set_error(restate__vm *vm, const restate__vm_error *error) {
    restate__vm_error *e = &vm->error;
    *e = *error;
    if (e->delay_ms > RESTATE__DELAY_MS_MAX) e->delay_ms = RESTATE__DELAY_MS_MAX;
    e->message = restate__arena_clean(vm->arena, error->message, "\n\t");
    if (error->behavior == RESTATE__RETRY || vm->options.version >= 7) return;
    e->code = RESTATE__E_UNSUPPORTED;
    e->behavior = RESTATE__RETRY;
    e->has_delay = false;
    e->message = restate__vm_unsupported(vm, "pausing or failing an invocation with an error", 7);
}

/* Ends the attempt with an error, unless it is over already. */
RESTATE__PRIVATE void restate__vm_fail(restate__vm *vm, const restate__vm_error *error) {
    if (restate__vm_over(vm)) return;
    restate__vm_set_error(vm, error);
    vm->failing = false;
    restate__vm_put_error(vm);
}

/* The error of a run. restate__vm_fail_now() sends it; until then results of closures are stored as
 * ever. Of several the first counts, but one that asks for a pause goes before it (R12). Returns
 * false, for `return`. */
static bool restate__vm_fail_run(restate__vm *vm, const restate__vm_error *error) {
    bool first = !vm->failing, pause = error->behavior == RESTATE__PAUSE &&
                                       vm->error.behavior == RESTATE__RETRY &&
                                       vm->options.version >= 7;
    if (restate__vm_over(vm) || (!first && !pause)) return false;
    restate__vm_set_error(vm, error);
    vm->failing = true;
    return false;
}

/* Sends the error of a run, if there is one. Closures that execute have finished. */
RESTATE__PRIVATE void restate__vm_fail_now(restate__vm *vm) {
    bool failing = vm->failing;
    vm->failing = false;
    if (failing && !restate__vm_over(vm)) restate__vm_put_error(vm);
}

/* Fails with `message`, about the current command if there is one. Returns false, for `return`. */
static bool restate__vm_raise_text(restate__vm *vm, uint32_t code, const char *message) {
    restate__vm_error e = { .code = code, .message = message, .related = vm->current };
    if (code == RESTATE__E_MISMATCH && vm->options.version >= 7)
        e.behavior = vm->options.on_mismatch;
    restate__vm_fail(vm, &e);
    return false;
}

static bool restate__vm_raise(restate__vm *vm, uint32_t code, const char *format, ...)
    RESTATE__PRINTF(3, 4);
static bool restate__vm_raise(restate__vm *vm, uint32_t code, const char *format, ...) {
    va_list args;
    if (restate__vm_over(vm)) return false;
    va_start(args, format);
    const char *message = restate__arena_vprintf(vm->arena, format, args);
    va_end(args);
    return restate__vm_raise_text(vm, code, message);
}

static bool restate__vm_nomem(restate__vm *vm) {
    return restate__vm_raise_text(vm, RESTATE__E_INTERNAL, "out of memory");
}

static bool restate__vm_needs(restate__vm *vm, const char *feature, uint32_t version) {
    if (vm->options.version >= version) return true;
    return restate__vm_raise_text(vm, RESTATE__E_UNSUPPORTED,
                                  restate__vm_unsupported(vm, feature, version));
}

RESTATE__PRIVATE restate__related restate__vm_related_last(const restate__vm *vm) {
    return vm->current;
}

/* ---- Leaves and combinators of the machine --------------------------------------------------- */

/* Whether a value is of the kind that a leaf stands for; if not, the protocol was violated and the
 * attempt is over. Functions that read a value rely on this. */
static bool restate__vm_value_valid(restate__vm *vm, const restate__node *leaf) {
    restate__value_kind kind = leaf->value.kind;
    if (leaf->expects == RESTATE__EXPECTS_RESULT ? kind <= RESTATE__FAILURE
        : leaf->expects == RESTATE__EXPECTS_ID   ? kind == RESTATE__INVOCATION_ID
                                                 : kind == RESTATE__STATE_KEYS)
        return true;
    return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                             "the answer with number %u is not of the kind that was asked for",
                             (unsigned)leaf->id);
}

/* A leaf has got its value. */
static void restate__vm_settled(restate__vm *vm, restate__node *leaf) {
    if (!restate__vm_value_valid(vm, leaf)) return;
    leaf->state = leaf->value.kind == RESTATE__FAILURE ? RESTATE__FAILED : RESTATE__SUCCEEDED;
    restate__graph_propagate(&vm->graph, leaf);
}

static void restate__vm_settle(restate__vm *vm, restate__node *leaf, const restate__value *value) {
    leaf->value = *value;
    restate__vm_settled(vm, leaf);
}

static void restate__vm_settle_by(restate__vm *vm, restate__node *leaf, const uint8_t *entry);

/* Makes `leaf` stand for a completion or signal number. It is settled at once when the notification
 * was delivered before the code asks (R3). NULL: out of memory. */
static restate__slot *restate__vm_leaf_slot(restate__vm *vm, restate__node *leaf,
                                            restate__node_kind kind, uint32_t id) {
    restate__slot *slot = restate__slot_of(&vm->journal, kind == RESTATE__LEAF_SIGNAL, id);
    if (!slot) {
        restate__vm_nomem(vm);
        return NULL;
    }
    leaf->kind = (uint8_t)kind;
    leaf->id = id;
    slot->leaf = leaf;
    if (slot->entry && slot->entry[0] & RESTATE__ENTRY_DELIVERED)
        restate__vm_settle_by(vm, leaf, slot->entry);
    return slot;
}

static bool restate__vm_leaf(restate__vm *vm, restate__node *leaf, restate__node_kind kind,
                             uint32_t id) {
    return restate__vm_leaf_slot(vm, leaf, kind, id) != NULL;
}

/* Makes `node` a combinator of `array`, which stays the caller's and must stay. */
RESTATE__PRIVATE bool restate__vm_combine(restate__vm *vm, restate__node *node,
                                          restate__node_kind kind, restate__node **array,
                                          size_t count) {
    node->kind = (uint8_t)kind;
    if (!restate__graph_combine(&vm->graph, node, array, NULL, count)) return restate__vm_nomem(vm);
    if (node->depth < RESTATE__DEPTH_MAX) return true;
    return restate__vm_raise(
        vm, RESTATE__E_INTERNAL,
        "futures are nested more than %u deep: combine them side by side instead",
        RESTATE__DEPTH_MAX);
}

/* Makes `node` an iterator over `array`, without NULLs, which must stay; `indexes` are what
 * restate__vm_selected() gives for them. */
RESTATE__PRIVATE bool restate__vm_select(restate__vm *vm, restate__node *node,
                                         restate__node **array, const size_t *indexes,
                                         size_t count) {
    node->kind = RESTATE__SELECT;
    return restate__graph_combine(&vm->graph, node, array, indexes, count) || restate__vm_nomem(vm);
}

/* The next settled child of an iterator that is not pending: its index. */
RESTATE__PRIVATE size_t restate__vm_selected(restate__node *node) {
    restate__edge *e = node->of.all.ready;
    node->of.all.ready = e->ready;
    node->of.all.pending--;
    if (!e->ready) node->state = RESTATE__PENDING;
    return e->index;
}

/* Undoes restate__vm_combine() for a combinator that was made for one await. */
RESTATE__PRIVATE void restate__vm_dissolve(restate__vm *vm, restate__node *node) {
    restate__graph_dissolve(&vm->graph, node);
    if (vm->awaiting.large == node) vm->awaiting.large = NULL;  /* its memory is used again */
}

/* Lets go of a settled leaf of a completion that nobody awaits any more: its memory is the caller's
 * again. But a proposed result that is to be confirmed needs it; false then. */
RESTATE__PRIVATE bool restate__vm_forget(restate__vm *vm, const restate__node *leaf) {
    if (leaf->run == RESTATE__RUN_PROPOSED) return false;
    restate__slot *slot = restate__slot_of(&vm->journal, false, leaf->id);
    if (slot && slot->leaf == leaf) slot->leaf = NULL;
    return true;
}

/* ---- Input: frames, Start, entries ----------------------------------------------------------- */

/* `slice` of a message, followed by a zero byte: as it is at the message's end, else copied. */
static restate_bytes restate__vm_terminated(restate__vm *vm, restate_bytes slice,
                                            const uint8_t *end) {
    if (!slice.ptr || slice.ptr + slice.len == end) return slice;
    return restate__arena_copy(vm->arena, slice);
}

/* The pairs of a decoded list of {1: name, 2: value} messages, which are Headers or
 * FailureMetadata. NULL: out of memory, or malformed. */
RESTATE__PRIVATE restate_pair *restate__vm_pairs(restate__arena *arena, restate_wire_list list) {
    restate_pair *pairs = restate__arena_alloc(arena, (list.count + 1) * sizeof *pairs);
    restate_bytes element, name, value;
    for (restate_pair *p = pairs; pairs && restate__wire_each(&list, &element); p++) {
        if (!restate__wire_entry(element, true, &name, &value)) return NULL;
        p->name = restate__arena_text(arena, name);
        p->value = restate__arena_text(arena, value);
    }
    return pairs;
}

static int restate__vm_order_names(const void *a, const void *b) {
    const restate_pair *x = *(const restate_pair *const *)a, *y = *(const restate_pair *const *)b;
    int c = strcmp(x->name, y->name);
    return c ? c : (x > y) - (x < y);
}

/* Takes out of the metadata of a failure what has the name of an earlier entry, and gives one such
 * name; NULL: there is none, or (`failed` of the arena) no memory. Servers keep metadata in a map:
 * version 1.7 does not survive that a handler ends with a name twice, and neither does the
 * partition that it is stored in. So no failure that is made or read here has one. */
static const char *restate__vm_unique(restate__arena *arena, restate_pair *pairs) {
    size_t n = restate__b_pairs(pairs);
    if (n < 2) return NULL;
    restate_pair **sorted = restate__arena_alloc(arena, n * sizeof *sorted), *to = pairs;
    if (!sorted) return NULL;
    for (size_t i = 0; i < n; i++) sorted[i] = &pairs[i];
    qsort((void *)sorted, n, sizeof *sorted, restate__vm_order_names);
    const char *last = sorted[0]->name, *twice = NULL;
    for (size_t i = 1; i < n; i++) {
        if (strcmp(sorted[i]->name, last) != 0) {
            last = sorted[i]->name;
        } else {
            twice = last;
            sorted[i]->name = NULL;
        }
    }
    if (!twice) return NULL;
    for (const restate_pair *from = pairs; from < pairs + n; from++)
        if (from->name) *to++ = *from;
    to->name = to->value = NULL;
    return twice;
}

static const restate_failure *restate__vm_failure(restate__vm *vm, restate_bytes payload) {
    restate_failure *f = restate__arena_alloc(vm->arena, sizeof *f);
    restate_wire_Failure m;
    if (!f || !restate__wire_decode(restate_wire_Failure_fields, &m, sizeof m, payload))
        return NULL;
    f->code = m.code > UINT16_MAX ? UINT16_MAX : (uint16_t)m.code;
    f->message = restate__arena_text(vm->arena, m.message);
    restate_pair *metadata = restate__vm_pairs(vm->arena, m.metadata);
    if (metadata) restate__vm_unique(vm->arena, metadata);
    f->metadata = metadata;
    return metadata && !vm->arena->failed ? f : NULL;
}

static bool restate__failure_valid(restate_bytes payload) {
    restate_wire_Failure m;
    restate_bytes element, name, value;
    if (!restate__wire_decode(restate_wire_Failure_fields, &m, sizeof m, payload)) return false;
    while (restate__wire_each(&m.metadata, &element))
        if (!restate__wire_entry(element, true, &name, &value)) return false;
    return true;
}

/* The names in a StateKeys message, ending with NULL. NULL: malformed, or out of memory. */
static const char *const *restate__vm_keys(restate__vm *vm, restate_bytes payload) {
    restate__wire_reader r = restate__wire_read(payload);
    restate__wire_item item;
    size_t n = 0;
    while (restate__wire_next(&r, &item)) n += item.tag == 1;
    const char **keys = restate__arena_alloc(vm->arena, (n + 1) * sizeof *keys);
    if (r.bad || !keys) return NULL;
    r = restate__wire_read(payload);
    for (n = 0; restate__wire_next(&r, &item);)
        if (item.tag == 1 && item.wire == RESTATE__WIRE_BYTES)
            keys[n++] = restate__arena_text(vm->arena, item.bytes);
    return keys;
}

static bool restate__keys_valid(restate_bytes payload) {
    restate__wire_reader r = restate__wire_read(payload);
    restate__wire_item item;
    while (restate__wire_next(&r, &item)) continue;
    return !r.bad;
}

/* The content of a Value message; absent when malformed, never absent otherwise. */
static restate_bytes restate__vm_content(restate_bytes payload) {
    restate__wire_reader r = restate__wire_read(payload);
    restate__wire_item item;
    restate_bytes content = restate__b(payload.ptr + payload.len, 0);
    while (restate__wire_next(&r, &item)) {
        if (item.tag != 1) continue;
        if (item.wire != RESTATE__WIRE_BYTES) return restate__b_none();
        content = item.bytes;
    }
    return r.bad ? restate__b_none() : content;
}

/* Whether the result of a notification can be read. It is looked at when it arrives, so that later
 * only memory can be missing. */
static bool restate__notification_valid(const restate__notification *n) {
    switch (n->tag) {
    case restate_wire_NotificationTemplate_failure_tag:
        return restate__failure_valid(n->result);
    case restate_wire_NotificationTemplate_invocation_id_tag:
        return restate__b_utf8(n->result);
    case restate_wire_NotificationTemplate_state_keys_tag:
        return restate__keys_valid(n->result);
    default:
        return true;
    }
}

/* Reads the result of a valid notification whose body ends at `end`. False: out of memory. */
static bool restate__vm_read_result(restate__vm *vm, restate__value *v,
                                    const restate__notification *n, const uint8_t *end) {
    *v = (restate__value){ 0 };
    switch (n->tag) {
    case restate_wire_NotificationTemplate_void_value_tag:
        v->kind = RESTATE__VOID;
        return true;
    case restate_wire_NotificationTemplate_failure_tag:
        v->kind = RESTATE__FAILURE;
        v->is.failure = restate__vm_failure(vm, n->result);
        return v->is.failure != NULL;
    case restate_wire_NotificationTemplate_state_keys_tag:
        v->kind = RESTATE__STATE_KEYS;
        v->is.keys = restate__vm_keys(vm, n->result);
        return v->is.keys != NULL;
    default:
        v->kind = n->tag == restate_wire_NotificationTemplate_value_tag ? RESTATE__VALUE
                                                                        : RESTATE__INVOCATION_ID;
        v->is.bytes = restate__vm_terminated(vm, n->result, end);
        return v->is.bytes.ptr != NULL;
    }
}

/* Which part of a notification a field is: 1 the id, 2 the result, 0 neither; -1: malformed. */
static int restate__vm_notification_part(const restate__wire_item *item) {
    bool bytes = item->wire == RESTATE__WIRE_BYTES;
    switch (item->tag) {
    case restate_wire_NotificationTemplate_completion_id_tag:
    case restate_wire_NotificationTemplate_signal_id_tag:
        return item->wire == RESTATE__WIRE_NUMBER ? 1 : -1;
    case restate_wire_NotificationTemplate_signal_name_tag:
        return bytes && restate__b_utf8(item->bytes) ? 1 : -1;
    case restate_wire_NotificationTemplate_void_value_tag:
    case restate_wire_NotificationTemplate_value_tag:
    case restate_wire_NotificationTemplate_failure_tag:
    case restate_wire_NotificationTemplate_invocation_id_tag:
    case restate_wire_NotificationTemplate_state_keys_tag:
        return bytes ? 2 : -1;
    default:
        return 0;
    }
}

/* The form of a notification, which nearly all have: a completion id, then void or a value, and
 * nothing else. When its result is read, its fields need not be looked at again. */
static inline unsigned restate__form_of(restate_bytes body, uint32_t *id) {
    const uint8_t *end = body.ptr + body.len, *at;
    uint32_t len = 0;
    const uint8_t *result = restate__wire_expect(body.ptr, end, RESTATE__KEY_COMPLETION_ID, id);
    if (!result) return RESTATE__FORM_ANY;
    at = restate__wire_expect(result, end, RESTATE__KEY_VALUE, &len);
    if (at && len == end - at) {
        at = restate__wire_expect(at, end, RESTATE__KEY_CONTENT, &len);
        return at && len == end - at ? (unsigned)(at - body.ptr) : RESTATE__FORM_ANY;
    }
    at = restate__wire_expect(result, end, RESTATE__KEY_VOID, &len);
    return at && !len && at == end ? RESTATE__FORM_VOID : RESTATE__FORM_ANY;
}

/* Takes a notification apart. Of several ids or results the last one counts. False: malformed. */
static bool restate__notification_read(restate__notification *n, restate_bytes payload) {
    *n = (restate__notification){ 0 };
    restate__wire_reader r = restate__wire_read(payload);
    restate__wire_item item, id = { 0 }, result = { 0 };
    while (restate__wire_next(&r, &item)) {
        int part = restate__vm_notification_part(&item);
        if (part < 0) return false;
        if (part == 1) id = item;
        if (part == 2) result = item;
    }
    if (r.bad || !id.tag || !result.tag) return false;
    n->id = (uint32_t)id.number;
    n->signal = id.tag == restate_wire_NotificationTemplate_signal_id_tag;
    if (id.tag == restate_wire_NotificationTemplate_signal_name_tag) n->name = id.bytes;
    n->tag = result.tag;
    n->result = result.tag == restate_wire_NotificationTemplate_value_tag
              ? restate__vm_content(result.bytes) : result.bytes;
    return n->result.ptr != NULL;
}

/* A result of a completion id or of an awakeable's number. A second one is dropped here (R5). */
static bool restate__vm_arrived(restate__vm *vm, bool signal, uint32_t id, uint16_t type,
                                const restate__message *m) {
    restate__slot *slot = restate__slot_of(&vm->journal, signal, id);
    if (!slot) return restate__vm_nomem(vm);
    if (slot->entry) {
        vm->journal.entries++;
        return true;
    }
    slot->entry = restate__journal_add(&vm->journal, type, m);
    return slot->entry ? true : restate__vm_nomem(vm);
}

/* A notification without a form. Named signals and cancellations are kept each (R6). */
static RESTATE__NOINLINE bool restate__vm_arrived_any(restate__vm *vm, const restate__message *m) {
    restate__notification n;
    if (!restate__notification_read(&n, m->body) || !restate__notification_valid(&n))
        return restate__vm_raise(vm, RESTATE__E_INTERNAL,
                                 "cannot decode notification 0x%04X: it is not valid protobuf, "
                                 "or has no id or no result",
                                 (unsigned)m->type);
    bool cancel = n.signal && n.id == RESTATE__SIGNAL_CANCEL;
    if (!cancel && !n.name.ptr)
        return restate__vm_arrived(vm, n.signal, n.id, RESTATE__ENTRY_NOTIFICATION, m);
    vm->cancel_arrived += cancel;
    return restate__journal_add(&vm->journal, RESTATE__ENTRY_NOTIFICATION, m)
         ? true : restate__vm_nomem(vm);
}

static bool restate__vm_on_notification(restate__vm *vm, const restate__message *m) {
    uint32_t id;
    unsigned form = restate__form_of(m->body, &id);
    if (RESTATE__UNLIKELY(form == RESTATE__FORM_ANY)) return restate__vm_arrived_any(vm, m);
    return restate__vm_arrived(vm, false, id,
                               (uint16_t)(RESTATE__ENTRY_NOTIFICATION | form), m);
}

/* Entries count until the handler starts (R1); later only notifications come. */
static bool restate__vm_on_entry(restate__vm *vm, const restate__message *m) {
    bool command = m->type < 0x8000;
    if (vm->phase == RESTATE__WAIT_START || (command && vm->phase != RESTATE__WAIT_REPLAY))
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                                 "unexpected %s 0x%04X: recorded entries come after Start and "
                                 "before the handler runs",
                                 command ? "command" : "notification", (unsigned)m->type);
    if (command && !restate__journal_add(&vm->journal, m->type, m)) return restate__vm_nomem(vm);
    if (!command && !restate__vm_on_notification(vm, m)) return false;
    if (vm->phase == RESTATE__WAIT_REPLAY && vm->journal.entries == vm->journal.known)
        vm->phase = RESTATE__REPLAYING;
    return true;
}

static bool restate__vm_read_state(restate__vm *vm, restate_wire_list map) {
    restate_bytes element;
    while (restate__wire_each(&map, &element)) {
        restate_bytes key, value;
        if (!restate__wire_entry(element, false, &key, &value) || !restate__b_utf8(key))
            return restate__vm_raise(vm, RESTATE__E_INTERNAL,
                                     "a state key sent by the server is not UTF-8");
        restate__state_entry *e = restate__state_make(&vm->state, vm->arena, key, true);
        if (!e) return restate__vm_nomem(vm);
        e->value = value;
    }
    return true;
}

static bool restate__vm_on_start(restate__vm *vm, const restate__message *message) {
    restate_wire_StartMessage m;
    if (vm->phase != RESTATE__WAIT_START)
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL, "a second Start message");
    if (!restate__wire_decode(restate_wire_StartMessage_fields, &m, sizeof m, message->body))
        return restate__vm_raise(vm, RESTATE__E_INTERNAL,
                                 "cannot decode Start: it is not valid protobuf");
    if (m.known_entries == 0)
        return restate__vm_raise(vm, RESTATE__E_INTERNAL, "known entries is zero in Start");
    vm->id = restate__arena_copy(vm->arena, m.id);
    vm->debug_id = restate__arena_copy(vm->arena, m.debug_id);
    vm->key = restate__arena_copy(vm->arena, m.key);
    if (vm->options.version >= 7) {
        vm->scope = restate__arena_copy(vm->arena, m.scope);
        vm->limit_key = restate__arena_copy(vm->arena, m.limit_key);
        vm->idempotency_key = restate__arena_copy(vm->arena, m.idempotency_key);
    }
    vm->random_seed = m.random_seed;
    vm->journal.known = m.known_entries;
    vm->retry_count = m.retry_count_since_last_stored_entry;
    vm->retry_ms = m.duration_since_last_stored_entry;
    vm->state.partial = m.partial_state;
    if (m.state_map.count && !message->kept)    /* the state points into it */
        m.state_map.ptr =
            restate__arena_copy(vm->arena, restate__b(m.state_map.ptr, m.state_map.len)).ptr;
    if (vm->arena->failed) return restate__vm_nomem(vm);
    vm->phase = RESTATE__WAIT_REPLAY;
    return restate__vm_read_state(vm, m.state_map);
}

/* Protocol 7: the server has stored a proposed result. Its place among the notifications is here
 * (R7). */
static bool restate__vm_on_ack(restate__vm *vm, restate_bytes payload) {
    restate_wire_ProposeRunCompletionAckMessage m;
    if (!restate__wire_decode(restate_wire_ProposeRunCompletionAckMessage_fields, &m, sizeof m,
                              payload))
        return restate__vm_raise(vm, RESTATE__E_INTERNAL, "cannot decode ProposeRunCompletionAck");
    restate__slot *slot = vm->phase == RESTATE__PROCESSING && m.completion_id < vm->next_completion
                        ? restate__slot_of(&vm->journal, false, m.completion_id) : NULL;
    if (!slot || !slot->leaf || slot->leaf->run != RESTATE__RUN_PROPOSED)
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                                 "unexpected acknowledgement of run completion %u",
                                 (unsigned)m.completion_id);
    slot->leaf->run = RESTATE__RUN_NONE;
    if (slot->entry) return true;           /* another result was first */
    uint8_t id[4];
    restate__b_put32(id, m.completion_id);
    slot->entry = restate__journal_add(
        &vm->journal, RESTATE__ENTRY_CONFIRMED,
        &(restate__message){ .body = restate__b(id, sizeof id) });
    return slot->entry ? true : restate__vm_nomem(vm);
}

static bool restate__vm_on_message(restate__vm *vm, const restate__message *m) {
    unsigned type = m->type;
    vm->awaiting.last = restate__b_none();
    if (type >= 0x0400 && type <= 0xFBFF) return restate__vm_on_entry(vm, m);
    switch (type) {
    case restate_wire_MSG_START:
        return restate__vm_on_start(vm, m);
    case restate_wire_MSG_PROPOSE_RUN_COMPLETION_ACK:
        return restate__vm_on_ack(vm, m->body);
    case restate_wire_MSG_SUSPENSION:
    case restate_wire_MSG_ERROR:
    case restate_wire_MSG_END:
    case restate_wire_MSG_PROPOSE_RUN_COMPLETION:
    case restate_wire_MSG_AWAITING_ON:
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                                 "message 0x%04X comes from an SDK only, expected an entry", type);
    default:
        break;
    }
    if (type >= 0xFC00)
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                                 "custom entry 0x%04X is not supported, expected an entry", type);
    return restate__vm_raise(vm, RESTATE__E_INTERNAL, "unknown message type 0x%04X", type);
}

/* Takes bytes of the request body, cut anywhere. Errors show in `phase`. What comes when the
 * attempt is over is ignored. */
RESTATE__PRIVATE void restate__vm_feed(restate__vm *vm, restate_bytes bytes) {
    restate__message m;
    while (!restate__vm_over(vm) && restate__frames_next(&vm->frames, &bytes, &m))
        restate__vm_on_message(vm, &m);
    if (vm->arena->failed) {
        restate__vm_nomem(vm);
    } else if (restate__frames_too_large(&vm->frames)) {
        restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                          "a message of %lu bytes was announced, the limit is %lu",
                          (unsigned long)vm->frames.len, (unsigned long)vm->frames.max);
    }
}

/* The request body has ended: nothing will arrive any more. */
RESTATE__PRIVATE void restate__vm_end_input(restate__vm *vm) {
    vm->input_closed = true;
    if (vm->phase == RESTATE__WAIT_START || vm->phase == RESTATE__WAIT_REPLAY)
        restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                          "the input was closed before the whole journal had arrived: "
                          "%u of %u entries",
                          (unsigned)vm->journal.entries, (unsigned)vm->journal.known);
}

RESTATE__PRIVATE void restate__vm_init(restate__vm *vm, const restate__vm_options *options,
                                       restate__arena *arena, restate__buf *out) {
    *vm = (restate__vm){ .options = *options, .arena = arena, .out = out };
    vm->frames.arena = vm->journal.arena = vm->graph.arena = arena;
    vm->frames.max = options->max_message_bytes ? options->max_message_bytes : (size_t)64 << 20;
    vm->journal.next_room = RESTATE__PAGE_BYTES;
    vm->journal.last = &vm->journal.none;
    vm->journal.commands.page = vm->journal.notifications.page = &vm->journal.none;
    vm->tracked_end = &vm->tracked;
    vm->command_index = UINT32_MAX;
    vm->current.type = restate_wire_MSG_START;
    vm->next_completion = 1;
    vm->next_signal = RESTATE__SIGNAL_FIRST;
    vm->state.partial = true;
}

/* ---- Named signals: which leaf gets which ---------------------------------------------------- */

/* The entry of a signal's name, made when it is new; absent bytes: of cancellations. NULL: out of
 * memory. */
static restate__signal_name *restate__vm_name(restate__vm *vm, restate_bytes name) {
    restate__named *s = vm->named;
    if (!s) {
        s = vm->named = restate__arena_alloc(vm->arena, sizeof *s);
        if (!s) return NULL;
        s->arena = vm->arena;
    }
    if (!name.ptr) return &s->cancels;
    restate__map_node *n = restate__map_find(s->names, name);
    if (n) return (restate__signal_name *)n;
    n = restate__arena_alloc(s->arena, sizeof(restate__signal_name));
    name = restate__arena_copy(s->arena, name);
    if (!n || !name.ptr) return NULL;
    restate__map_add(&s->names, n, name);
    return (restate__signal_name *)n;
}

/* Gives the oldest delivered signal of its name to a leaf. */
static void restate__vm_claim_by(restate__vm *vm, restate__node *leaf) {
    restate__named *s = vm->named;
    restate__signal_name *name = leaf->of.named.name;
    restate__named_signal *signal = &s->signals[name->delivered - 1];
    if (leaf->of.named.listed) restate__named_unlist(leaf);
    else s->unlisted--;
    name->delivered = signal->next;
    signal->claimed = true;
    s->unclaimed--;
    if (name == &s->cancels) vm->cancel_arrived--;
    restate__vm_settle_by(vm, leaf, signal->entry);
}

/* Gives it to the oldest leaf of the name that is below `root`. A leaf that is below nothing that
 * was ever awaited, as after a race that another won, leaves the list until something above it is.
 * */
static void restate__vm_claim_below(restate__vm *vm, restate__signal_name *name,
                                    const restate__node *root) {
    for (restate__node *leaf = name->leaves, *next; leaf; leaf = next) {
        bool awaited = false;
        next = leaf->next;
        vm->graph.mark++;
        if (restate__graph_above(&vm->graph, leaf, root, UINT32_MAX, &awaited)) {
            restate__vm_claim_by(vm, leaf);
            return;
        }
        if (awaited) continue;
        restate__named_unlist(leaf);
        vm->named->unlisted++;
    }
}

/* Signals that were there before `root` is awaited for the first time. */
static void restate__vm_claim_first(restate__vm *vm, restate__node *root) {
    restate__named *s = vm->named;
    if (!restate__named_collect(s, root, ++vm->graph.mark)) {
        restate__vm_nomem(vm);
        return;
    }
    for (uint32_t i = 0; i < s->claims_count && root->state == RESTATE__PENDING; i++) {
        restate__signal_name *name = s->signals[s->claims[i] - 1].name;
        restate__node *leaf = name->leaf;
        bool awaited = false;
        name->leaf = NULL;
        vm->graph.mark++;
        if (leaf && restate__graph_above(&vm->graph, leaf, root, UINT32_MAX, &awaited))
            restate__vm_claim_by(vm, leaf);
        else
            restate__vm_claim_below(vm, name, root);
        if (root->state != RESTATE__PENDING) root->of.all.looked_at = s->claims[i] + 1;
    }
}

/* Gives signals to leaves below `root` (R6).
 *
 * What this costs: the first await of a combinator is a walk over what is below it. Later ones look
 * at each signal that came meanwhile once, and at the leaves of its name that are awaited.
 */
static void restate__vm_claim(restate__vm *vm, restate__node *root) {
    restate__named *s = vm->named;
    if (restate__node_is_leaf(root)) {
        const restate__signal_name *name = restate__node_name(root);
        if (name && name->delivered && root->state == RESTATE__PENDING)
            restate__vm_claim_by(vm, root);
        return;
    }
    uint32_t i = root->of.all.looked_at;
    root->of.all.looked_at = s ? s->count + 1 : 1;
    if (!s) return;
    if (!i) {
        if (s->unclaimed || s->unlisted) restate__vm_claim_first(vm, root);
        return;
    }
    for (; i <= s->count && root->state == RESTATE__PENDING; i++)
        if (!s->signals[i - 1].claimed) restate__vm_claim_below(vm, s->signals[i - 1].name, root);
    root->of.all.looked_at = i;
}

/* ---- Delivery: from the journal to the leaves ------------------------------------------------ */

/* A signal that goes by a name; absent bytes: a cancellation. */
static void restate__vm_deliver_name(restate__vm *vm, const uint8_t *entry, restate_bytes name) {
    restate__signal_name *to = restate__vm_name(vm, name);
    restate__named *s = vm->named;
    restate__named_signal *signals = NULL;
    if (to)
        signals = restate__grow(s->arena, s->signals, s->count, &s->room, sizeof *signals);
    if (!signals) {
        restate__vm_nomem(vm);
        return;
    }
    s->signals = signals;
    signals[s->count++] = (restate__named_signal){ .name = to, .entry = entry };
    *(to->delivered ? &signals[to->delivered_last - 1].next : &to->delivered) = s->count;
    to->delivered_last = s->count;
    s->unclaimed++;
}

/* Reads the result in an entry. False: out of memory. */
static inline bool restate__vm_read_entry(restate__vm *vm, restate__value *v,
                                          const uint8_t *entry) {
    restate_bytes body = restate__entry_body(entry);
    if (RESTATE__LIKELY(entry[1] != RESTATE__FORM_ANY)) {
        bool none = entry[1] == RESTATE__FORM_VOID;
        v->kind = none ? RESTATE__VOID : RESTATE__VALUE;
        v->is.bytes = none ? restate__b_none()
                           : restate__b(body.ptr + entry[1], body.len - entry[1]);
        return true;
    }
    restate__notification n;
    restate__notification_read(&n, body);   /* it was valid when it arrived */
    return restate__vm_read_result(vm, v, &n, body.ptr + body.len);
}

static void restate__vm_settle_by(restate__vm *vm, restate__node *leaf, const uint8_t *entry) {
    if (restate__vm_read_entry(vm, &leaf->value, entry)) restate__vm_settled(vm, leaf);
    else restate__vm_nomem(vm);
}

/* The result that was proposed for a run is stored: its place among the notifications is here. */
static void restate__vm_deliver_confirmed(restate__vm *vm, const uint8_t *entry) {
    uint32_t id = restate__b_get32(restate__entry_body(entry).ptr);
    restate__node *run = restate__slot_of(&vm->journal, false, id)->leaf;
    restate__vm_settle(vm, run, run->of.closure.proposed);
}

/* A notification without a form. True: it was a signal. */
static RESTATE__NOINLINE bool restate__vm_deliver_any(restate__vm *vm, const uint8_t *entry) {
    restate__notification n;
    restate__notification_read(&n, restate__entry_body(entry));
    if (n.name.ptr) {
        restate__vm_deliver_name(vm, entry, n.name);
    } else if (!n.signal || n.id != RESTATE__SIGNAL_CANCEL) {
        restate__node *leaf = restate__slot_of(&vm->journal, n.signal, n.id)->leaf;
        if (leaf) restate__vm_settle_by(vm, leaf, entry);
    } else if (vm->options.explicit_cancellation) {
        restate__vm_deliver_name(vm, entry, restate__b_none());
    } else {
        vm->cancel_delivered++;             /* each counts, also if they came together */
    }
    return n.signal || n.name.ptr;
}

/* Delivers the next notification to whom it is for. True: it was a signal. */
static bool restate__vm_deliver(restate__vm *vm) {
    uint8_t *entry = restate__journal_peek(&vm->journal, &vm->journal.notifications);
    bool confirmed = entry[0] == RESTATE__ENTRY_CONFIRMED >> 8;
    restate__journal_pass(&vm->journal.notifications);
    entry[0] |= RESTATE__ENTRY_DELIVERED;
    if (RESTATE__LIKELY(entry[1] != RESTATE__FORM_ANY)) {
        restate_bytes body = restate__entry_body(entry);
        uint32_t id = 0;
        restate__wire_expect(body.ptr, body.ptr + body.len, RESTATE__KEY_COMPLETION_ID, &id);
        restate__node *leaf = restate__slot_of(&vm->journal, false, id)->leaf;
        if (leaf) restate__vm_settle_by(vm, leaf, entry);
        return false;
    }
    if (!confirmed) return restate__vm_deliver_any(vm, entry);
    restate__vm_deliver_confirmed(vm, entry);
    return false;
}

/* Delivers as few notifications as it takes (R4) until `root` is settled, something inside it calls
 * for attention, or (with_cancel) a cancellation is there. False: not enough has arrived. */
static bool restate__vm_resolve(restate__vm *vm, restate__node *root, bool with_cancel) {
    bool found = false, named = true;
    vm->graph.awaited = root;
    vm->graph.stopped = false;
    for (;;) {
        if (named) restate__vm_claim(vm, root);
        found = vm->graph.stopped || root->state != RESTATE__PENDING ||
                (with_cancel && vm->cancel_delivered);
        if (found || !vm->journal.notifications.left || vm->phase == RESTATE__ERRORED) break;
        named = restate__vm_deliver(vm);
    }
    vm->graph.awaited = NULL;
    return found;
}

/* ---- Await ----------------------------------------------------------------------------------- */

static restate__wait restate__vm_wait(restate__vm *vm, restate__wait_kind kind) {
    return (restate__wait){ .kind = vm->phase == RESTATE__ERRORED ? RESTATE__BROKEN : kind };
}

static const char *restate__vm_awakeable_id(restate__vm *vm, uint32_t signal);

/* One thing that was awaited, for a person. */
static const char *restate__vm_describe(restate__vm *vm, const restate__node *n) {
    if (n->kind == RESTATE__LEAF_NAME)
        return restate__arena_printf(vm->arena, "signal \"%s\"",
                                     (const char *)n->of.named.name->node.key.ptr);
    if (n->kind == RESTATE__LEAF_SIGNAL)
        return restate__arena_printf(vm->arena, "awakeable %s",
                                     restate__vm_awakeable_id(vm, n->id));
    if (n->run != RESTATE__RUN_NONE)
        return restate__arena_printf(vm->arena, "run \"%s\"", (const char *)n->of.closure.name.ptr);
    return restate__arena_printf(vm->arena, "completion %u", (unsigned)n->id);
}

/* What is awaited, for a person: by kinds, 20 at most, the cancellation last. `*run` becomes the
 * first run. */
static const char *restate__vm_describe_all(restate__vm *vm, const restate__tree *tree,
                                            const restate__node **run) {
    static const restate__node_kind order[] = { RESTATE__LEAF, RESTATE__LEAF_NAME,
                                                RESTATE__LEAF_SIGNAL };
    const char *text = "", *comma = "";
    size_t shown = 0;
    bool cancel = false;
    for (size_t k = 0; k < RESTATE__LEAF_KINDS; k++) {
        for (size_t i = 0; i < tree->count; i++) {
            const restate__node *n = vm->graph.items[i].node;
            if (n->kind != order[k]) continue;
            if (!*run && n->kind == RESTATE__LEAF && n->run != RESTATE__RUN_NONE) *run = n;
            if (n->kind == RESTATE__LEAF_SIGNAL && n->id == RESTATE__SIGNAL_CANCEL) {
                cancel = true;
            } else if (shown++ < RESTATE__SHOWN_MAX) {
                text = restate__arena_printf(vm->arena, "%s%s%s", text, comma,
                                             restate__vm_describe(vm, n));
                comma = ", ";
            }
        }
    }
    if (shown > RESTATE__SHOWN_MAX)
        text = restate__arena_printf(vm->arena, "%s, and %lu more", text,
                                     (unsigned long)(shown - RESTATE__SHOWN_MAX));
    return cancel ? restate__arena_printf(vm->arena, "%s%scancellation", text, comma) : text;
}

/* In a replay, an await that the journal does not settle while commands are left: the code waits
 * where the recorded execution did not (R9). */
static void restate__vm_unreplayable(restate__vm *vm, const restate__tree *tree) {
    const restate__node *run = NULL;
    const char *text = restate__vm_describe_all(vm, tree, &run);
    if (run) {
        vm->current.index = run->of.closure.command;
        vm->current.type = restate_wire_MSG_RUN_COMMAND;
        vm->current.name = run->of.closure.name;
    }
    restate__vm_raise(vm, RESTATE__E_MISMATCH,
                      "the code took another path than the recorded execution: after "
                      "command %u it waits for [%s], which the journal does "
                      "not answer, while further commands are recorded. An await was added, "
                      "or what is awaited was changed",
                      (unsigned)vm->command_index, text);
}

/* The tree as a Future message, beside the last one that was announced. Absent: out of memory. */
static restate_bytes restate__awaiting_encode(restate__awaiting *a, restate__arena *arena,
                                              restate__tree *tree) {
    unsigned i = a->turn;
    if (tree->most > a->room[i]) {
        size_t room = tree->most + tree->most / 2;
        a->scratch[i] = restate__arena_bytes(arena, room);
        a->room[i] = a->scratch[i] ? room : 0;
    }
    return a->scratch[i] ? restate__tree_encode(tree, a->scratch[i]) : restate__b_none();
}

/* Announces what is awaited, unless that was the last thing that was sent. */
static void restate__vm_announce(restate__vm *vm, restate__tree *tree, const restate__node *root) {
    restate__awaiting *a = &vm->awaiting;
    restate_bytes future = restate__awaiting_encode(a, vm->arena, tree);
    if (!future.ptr) {
        restate__vm_nomem(vm);
        return;
    }
    if (a->last.ptr && restate__b_equal(a->last, future)) return;
    a->large = future.len > RESTATE__AWAITING_BYTES_LARGE ? root : NULL;
    restate__vm_put(vm, restate_wire_MSG_AWAITING_ON, 0, restate_wire_AwaitingOnMessage_fields,
                    &(restate_wire_AwaitingOnMessage){ .awaiting_on = future });
    a->last = future;
    a->turn = !a->turn;
}

static restate__wait restate__vm_suspend(restate__vm *vm, restate__tree *tree) {
    restate_wire_SuspensionMessage m = { 0 };
    if (!tree->leaves)
        restate__vm_raise(vm, RESTATE__E_INTERNAL,
                          "awaiting nothing: there is no result left that could come");
    else if (vm->options.version >= 7)
        m.awaiting_on = restate__awaiting_encode(&vm->awaiting, vm->arena, tree);
    else
        restate__tree_flat(tree, &m);
    if (vm->arena->failed) restate__vm_nomem(vm);
    if (vm->phase == RESTATE__ERRORED) return restate__vm_wait(vm, RESTATE__BROKEN);
    restate__vm_put(vm, restate_wire_MSG_SUSPENSION, 0, restate_wire_SuspensionMessage_fields, &m);
    vm->phase = RESTATE__CLOSED;
    return restate__vm_wait(vm, RESTATE__SUSPENDED);
}

/* Whether an await that is not settled may suspend (R8). */
static bool restate__vm_may_suspend(const restate__vm *vm) {
    return vm->input_closed && !vm->graph.executing;
}

/* Nothing that arrived settles what is awaited: execute a closure, wait, or suspend. */
static restate__wait restate__vm_unresolved(restate__vm *vm, restate__node *root,
                                            bool with_cancel) {
    restate__tree tree;
    bool replaying = vm->phase == RESTATE__REPLAYING, suspend = restate__vm_may_suspend(vm);
    if (vm->phase == RESTATE__ERRORED) return restate__vm_wait(vm, RESTATE__BROKEN);
    restate__node *run = vm->graph.to_execute && !replaying ? restate__graph_next_run(root) : NULL;
    if (run) {
        restate__graph_hand_out(&vm->graph, run);
        return (restate__wait){ .kind = RESTATE__EXECUTE, .run = run };
    }
    /* What is awaited is announced while only input is waited for. A large tree shrinks step by
     * step: once is enough. */
    if (!replaying && !suspend &&
        (vm->options.version < 7 || vm->graph.executing || vm->awaiting.large == root))
        return restate__vm_wait(vm, RESTATE__WAIT);
    if (!restate__tree_init(&tree, &vm->graph, root, with_cancel)) restate__vm_nomem(vm);
    else if (replaying) restate__vm_unreplayable(vm, &tree);
    else if (suspend) return restate__vm_suspend(vm, &tree);
    else restate__vm_announce(vm, &tree, root);
    return restate__vm_wait(vm, RESTATE__WAIT);
}

/* A closure that was handed out is not begun after all. The next await that wants it hands it out
 * again. */
RESTATE__PRIVATE void restate__vm_take_back(restate__vm *vm, restate__node *run) {
    restate__graph_take_back(&vm->graph, run);
}

static RESTATE__NOINLINE bool restate__vm_not_executable(restate__vm *vm, const char *operation) {
    if (vm->phase == RESTATE__ERRORED) return false;
    if (vm->phase != RESTATE__CLOSED)
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL, "%s before the journal has arrived",
                                 operation);
    restate__vm_break(vm, RESTATE__E_CLOSED,
                      restate__arena_printf(vm->arena,
                                            "the attempt is over, but the code went on with %s",
                                            operation));
    return false;
}

static inline bool restate__vm_executable(restate__vm *vm, const char *operation) {
    return RESTATE__LIKELY(restate__vm_ready(vm)) || restate__vm_not_executable(vm, operation);
}

static bool restate__vm_cancel_call(restate__vm *vm, restate_bytes invocation_id);

/* Cancels the calls that a cancellation reaches (R11). If the id of one has to be waited for, the
 * next call goes on from here. READY: done. */
RESTATE__PRIVATE restate__wait restate__vm_cancel_calls(restate__vm *vm) {
    restate__tracked *t = vm->cancelling ? vm->cancelling : vm->tracked;
    if (!restate__vm_executable(vm, "cancelling calls"))
        return restate__vm_wait(vm, RESTATE__BROKEN);
    for (; t; t = t->next) {
        vm->cancelling = t;
        if (t->id->state == RESTATE__PENDING && !restate__vm_resolve(vm, t->id, false))
            return restate__vm_unresolved(vm, t->id, false);
    }
    for (t = vm->tracked; t; t = t->next)
        if (t->id->state == RESTATE__SUCCEEDED &&
            !restate__vm_cancel_call(vm, t->id->value.is.bytes))
            return restate__vm_wait(vm, RESTATE__BROKEN);
    vm->tracked = vm->cancelling = NULL;
    vm->tracked_end = &vm->tracked;
    return restate__vm_wait(vm, RESTATE__READY);
}

/* A cancellation was delivered: calls first, then the handler (R11). */
static restate__wait restate__vm_cancelled(restate__vm *vm) {
    restate__wait w = restate__vm_cancel_calls(vm);
    if (w.kind != RESTATE__READY) return w;
    vm->cancel_delivered--;
    vm->cancel_arrived--;
    return restate__vm_wait(vm, RESTATE__CANCEL);
}

/* AWAIT: waits for `root`. READY also when a race, or an any or all decided early, was settled
 * inside the tree: it may be looked at before the caller awaits the rest with the same call. */
RESTATE__PRIVATE restate__wait restate__vm_await(restate__vm *vm, restate__node *root) {
    bool with_cancel = !vm->options.explicit_cancellation;
    if (!restate__vm_executable(vm, "await")) return restate__vm_wait(vm, RESTATE__BROKEN);
    if (!restate__vm_resolve(vm, root, with_cancel))
        return restate__vm_unresolved(vm, root, with_cancel);
    if (with_cancel && vm->cancel_delivered) return restate__vm_cancelled(vm);
    return restate__vm_wait(vm, RESTATE__READY);
}

/* ---- Commands: replayed or written ----------------------------------------------------------- */

/* The kinds of commands: number in the protocol, message, what a person calls it, the fields that
 * replay ignores, and those that are a payload, which options and unstable codecs exempt. */
#define RESTATE__COMMANDS(X) \
    X(INPUT, Input, "handler input", 0, 0) \
    X(OUTPUT, Output, "handler return", 0, RESTATE__TAG(Output, value)) \
    X(GET_LAZY_STATE, GetLazyState, "get state", 0, 0) \
    X(GET_EAGER_STATE, GetEagerState, "get state", \
      RESTATE__TAG(GetEagerState, void_value) | RESTATE__TAG(GetEagerState, value), 0) \
    X(GET_LAZY_STATE_KEYS, GetLazyStateKeys, "get state keys", 0, 0) \
    X(GET_EAGER_STATE_KEYS, GetEagerStateKeys, "get state keys", \
      RESTATE__TAG(GetEagerStateKeys, value), 0) \
    X(SET_STATE, SetState, "set state", 0, RESTATE__TAG(SetState, value)) \
    X(CLEAR_STATE, ClearState, "clear state", 0, 0) \
    X(CLEAR_ALL_STATE, ClearAllState, "clear all state", 0, 0) \
    X(GET_PROMISE, GetPromise, "get promise", 0, 0) \
    X(PEEK_PROMISE, PeekPromise, "peek promise", 0, 0) \
    X(COMPLETE_PROMISE, CompletePromise, "complete promise", 0, \
      RESTATE__TAG(CompletePromise, completion_value)) \
    X(SLEEP, Sleep, "sleep", \
      RESTATE__TAG(Sleep, wake_up_time) | RESTATE__TAG(Sleep, result_completion_id), 0) \
    X(CALL, Call, "call", 0, RESTATE__TAG(Call, parameter)) \
    X(ONE_WAY_CALL, OneWayCall, "send", RESTATE__TAG(OneWayCall, invoke_time), \
      RESTATE__TAG(OneWayCall, parameter)) \
    X(SEND_SIGNAL, SendSignal, "send signal", 0, RESTATE__TAG(SendSignal, value)) \
    X(RUN, Run, "run", 0, 0) \
    X(ATTACH_INVOCATION, AttachInvocation, "attach invocation", 0, 0) \
    X(GET_INVOCATION_OUTPUT, GetInvocationOutput, "get invocation output", 0, 0) \
    X(COMPLETE_AWAKEABLE, CompleteAwakeable, "complete awakeable", 0, \
      RESTATE__TAG(CompleteAwakeable, value))
#define RESTATE__TAG(message, field) (1u << restate_wire_##message##CommandMessage_##field##_tag)

#define RESTATE__X(NAME, Name, text, ignored, payload) \
    RESTATE__TABLE(restate_wire_##Name##CommandMessage)
RESTATE__COMMANDS(RESTATE__X)
#undef RESTATE__X

#define RESTATE__X(NAME, Name, text, ignored, payload) RESTATE__##NAME,
enum { RESTATE__COMMANDS(RESTATE__X) RESTATE__COMMAND_KINDS };
#undef RESTATE__X

typedef struct restate__command_kind {
    uint16_t type;
    const char *name;
    const restate__table *table;
    uint32_t ignored, payload;              /* bits of tags */
} restate__command_kind;

static const restate__command_kind restate__vm_kinds[] = {
#define RESTATE__X(NAME, Name, text, ignored, payload) \
    { restate_wire_MSG_##NAME##_COMMAND, text, \
      &restate__table_restate_wire_##Name##CommandMessage, ignored, payload },
    RESTATE__COMMANDS(RESTATE__X)
#undef RESTATE__X
    { 0, "unknown command", &restate__table_restate_wire_ClearStateCommandMessage, 0, 0 }
};

static const restate__command_kind *restate__vm_kind(uint16_t type) {
    size_t i = 0;
    while (i < RESTATE__COMMAND_KINDS && restate__vm_kinds[i].type != type) i++;
    return &restate__vm_kinds[i];
}

/* A command that has just been issued: numbers it. False: the attempt is over. */
static bool restate__vm_begin(restate__vm *vm, const restate__command_kind *kind,
                              restate_bytes name) {
    if (!restate__vm_executable(vm, kind->name)) return false;
    vm->command_index++;
    vm->current.known = true;
    vm->current.index = vm->command_index;
    vm->current.type = kind->type;
    vm->current.name = name;                /* as long as the call: see restate__vm_command() */
    return true;
}

/* Takes the recorded command that is next. Behind the last one everything is new (R2). */
static const restate__command *restate__vm_take(restate__vm *vm, const uint8_t *entry) {
    restate__journal *j = &vm->journal;
    restate__journal_pass(&j->commands);
    j->taken.type = restate__entry_type(entry);
    j->taken.payload = restate__entry_body(entry);
    if (!j->commands.left) {
        vm->phase = RESTATE__PROCESSING;
        vm->first_new_entry_pending = true;
    }
    return &j->taken;
}

/* The recorded command that the one just begun must be. NULL: failed. */
static const restate__command *restate__vm_recorded(restate__vm *vm,
                                                   const restate__command_kind *kind) {
    restate__journal *j = &vm->journal;
    if (j->commands.left) return restate__vm_take(vm, restate__journal_peek(j, &j->commands));
    restate__vm_raise(vm, RESTATE__E_PROTOCOL, "the replay ended unexpectedly, expected %s",
                      kind->name);
    return NULL;
}

#define RESTATE__MISMATCH "the code took another path than the recorded execution: command %u "
#define RESTATE__MISMATCH_WHY \
    "Code that is not deterministic, or changed while the invocation was under way, does this: " \
    "register changed code as a new deployment"

/* A command for a person: its kind, and what it is about. */
static const char *restate__vm_sketch(restate__vm *vm, const restate__command_kind *kind,
                                      restate_bytes payload) {
    const char *text = kind->name;
    restate__wire_reader r = restate__wire_read(payload);
    restate__wire_item item;
    for (unsigned n = 0; n < RESTATE__SHOWN_MAX && restate__wire_next(&r, &item);) {
        const restate__row *row = restate__row_of(kind->table->rows, item.tag);
        bool about = item.tag == 1 || item.tag == restate_wire_RunCommandMessage_name_tag ||
                     (row && row->tag < 4 && row->kind == RESTATE__OF_STRING);
        bool cancel = item.tag == restate_wire_SendSignalCommandMessage_idx_tag &&
                      kind->type == restate_wire_MSG_SEND_SIGNAL_COMMAND;
        n += about || cancel;
        if (cancel) text = restate__arena_printf(vm->arena, "%s (cancel)", text);
        else if (about && item.bytes.len)
            text = restate__arena_printf(vm->arena, "%s %s", text,
                                         restate__wire_show_bytes(vm->arena, item.bytes));
    }
    return text;
}

/* The code asks for `m`, and another kind of command is recorded. */
static bool restate__vm_mismatch_kind(restate__vm *vm, const restate__command *recorded,
                                      const restate__command_kind *kind, const void *m) {
    restate_bytes asked;
    if (!restate__wire_encode(vm->arena, kind->table->desc, m, &asked))
        return restate__vm_nomem(vm);
    return restate__vm_raise(
        vm, RESTATE__E_MISMATCH,
        RESTATE__MISMATCH "is recorded as '%s', but the code asks for '%s'. " RESTATE__MISMATCH_WHY,
        (unsigned)vm->command_index,
        restate__vm_sketch(vm, restate__vm_kind(recorded->type), recorded->payload),
        restate__vm_sketch(vm, kind, asked));
}

static bool restate__vm_undecodable(restate__vm *vm, uint16_t type) {
    if (vm->arena->failed) return restate__vm_nomem(vm);
    return restate__vm_raise(vm, RESTATE__E_INTERNAL, "cannot decode the recorded command %u (%s)",
                             (unsigned)vm->command_index, restate__vm_kind(type)->name);
}

/* Whether a struct has an optional field or member of a oneof. */
static bool restate__row_set(const restate__row *row, const uint8_t *m) {
    pb_size_t which;
    const uint8_t *ptr;
    if (row->has == row->at) {              /* text or bytes */
        memcpy(&ptr, m + row->at, sizeof ptr);
        return ptr != NULL;
    }
    if (!row->oneof) return m[row->has] != 0;
    memcpy(&which, m + row->has, sizeof which);
    return which == row->tag;
}

/* Whether a field of `m` certainly is the recorded one; `item` NULL: none is recorded. */
static bool restate__vm_same_field(const restate__row *row, const uint8_t *m,
                                   const restate__wire_item *item, bool loose) {
    const uint8_t *at = m + row->at;
    restate_bytes have = { NULL, 0 }, recorded;
    uint32_t number = 0;
    if (row->repeated) return !item && !((const restate_wire_list *)(const void *)at)->put;
    if (row->optional) {
        if (restate__row_set(row, m) != (item != NULL)) return false;
        if (!item || loose) return !item || item->wire == restate__row_wire(row);
    }
    if (row->kind == RESTATE__OF_UINT32) {
        memcpy(&number, at, sizeof number);
        return number == (item ? item->number : 0) && !(item && item->wire);
    }
    if (row->table && row->table != &restate__table_restate_wire_Value) return false;
    memcpy(&have, at, sizeof have);         /* a Value is its content */
    if (!item) return loose || !have.len;
    if (item->wire != RESTATE__WIRE_BYTES) return false;
    if (loose) return true;
    recorded = row->table ? restate__vm_content(item->bytes) : item->bytes;
    return recorded.ptr && restate__b_equal(recorded, have);
}

/* Whether `m` certainly is the recorded command, without encoding it: what nearly all of a replay
 * consists of. false leaves it open: something differs, is a list, or came in another order. */
static bool restate__vm_same(const restate__command_kind *kind, const uint8_t *m,
                             restate_bytes recorded, uint32_t loose) {
    restate__wire_reader r = restate__wire_read(recorded);
    restate__wire_item item;
    bool more = restate__wire_next(&r, &item);
    for (const restate__row *row = kind->table->rows; row->name; row++) {
        bool there = more && item.tag == row->tag;
        if (!(kind->ignored >> row->tag & 1u) &&
            !restate__vm_same_field(row, m, there ? &item : NULL,
                                    loose >> row->tag & 1u))
            return false;
        if (there) more = restate__wire_next(&r, &item);
    }
    return !more && !r.bad;
}

/* Compares a recorded command with the one the code issues, `m`; of `loose` tags only whether they
 * are there. */
static bool restate__vm_compare(restate__vm *vm, const restate__command_kind *kind, const void *m,
                                restate_bytes recorded, uint32_t loose) {
    const char *lines = "";
    restate_bytes asked;
    if (restate__vm_same(kind, m, recorded, loose)) return true;
    if (!restate__table_decodes(kind->table, recorded))
        return restate__vm_undecodable(vm, kind->type);
    if (!restate__wire_encode(vm->arena, kind->table->desc, m, &asked))
        return restate__vm_nomem(vm);
    for (const restate__row *row = kind->table->rows; row->name; row++) {
        if (kind->ignored >> row->tag & 1u ||
            !restate__row_differs(row, recorded, asked, loose >> row->tag & 1u))
            continue;
        lines = restate__arena_printf(vm->arena, "%s\n  %s: %s != %s", lines, row->name,
                                      restate__row_show(vm->arena, row, recorded),
                                      restate__row_show(vm->arena, row, asked));
    }
    if (!*lines) return vm->arena->failed ? restate__vm_nomem(vm) : true;
    return restate__vm_raise(vm, RESTATE__E_MISMATCH,
                             RESTATE__MISMATCH
                             "(%s) differs (journal != code):%s\n" RESTATE__MISMATCH_WHY,
                             (unsigned)vm->command_index, kind->name, lines);
}

/* The name of a recorded command that is known to be `name`: it mostly ends the message, else a
 * copy. */
static restate_bytes restate__vm_recorded_name(restate__vm *vm, const restate__command *recorded,
                                               restate_bytes name) {
    const uint8_t *end = recorded->payload.ptr + recorded->payload.len;
    if (!name.len) return restate__b_none();
    if (recorded->payload.len >= name.len && memcmp(end - name.len, name.ptr, name.len) == 0)
        return restate__b(end - name.len, name.len);
    return restate__arena_copy(vm->arena, name);
}

/* Issues a command, of one of the kinds: it must be the recorded one, but for tags that are
 * `loose`, or is written. */
static bool restate__vm_command(restate__vm *vm, unsigned which, const void *m, restate_bytes name,
                                uint32_t loose) {
    const restate__command_kind *kind = &restate__vm_kinds[which];
    if (!restate__vm_begin(vm, kind, name)) return false;
    if (vm->phase == RESTATE__PROCESSING) {
        vm->first_new_entry_pending = false;
        restate__vm_put(vm, kind->type, 0, kind->table->desc, m);
        vm->current.name = name.len ? restate__arena_copy(vm->arena, name) : restate__b_none();
        return vm->phase == RESTATE__PROCESSING;
    }
    const restate__command *recorded = restate__vm_recorded(vm, kind);
    if (!recorded) return false;
    if (recorded->type != kind->type) return restate__vm_mismatch_kind(vm, recorded, kind, m);
    if (vm->options.skip_payload_check && which != RESTATE__SEND_SIGNAL) loose |= kind->payload;
    if (!restate__vm_compare(vm, kind, m, recorded->payload, loose)) return false;
    vm->current.name = restate__vm_recorded_name(vm, recorded, name);
    return true;
}

/* The same for a payload whose codec may give other bytes for an equal value. */
static bool restate__vm_command_of(restate__vm *vm, unsigned which, const void *m, bool unstable) {
    return restate__vm_command(vm, which, m, restate__b_none(),
                               unstable ? restate__vm_kinds[which].payload : 0);
}

/* `leaf` stands for the next completion. */
static bool restate__vm_completes(restate__vm *vm, restate__node *leaf) {
    return restate__vm_leaf(vm, leaf, RESTATE__LEAF, vm->next_completion++);
}

/* A list of headers or of metadata, to be encoded. */
static restate_wire_list restate__vm_list(const restate_pair *pairs) {
    if (!pairs || !pairs[0].name) return (restate_wire_list){ .count = 0 };
    return restate__wire_list(restate__wire_put_pairs, pairs, 1);
}

static restate_wire_Failure restate__vm_wire_failure(const restate_failure *failure) {
    return (restate_wire_Failure){ .code = restate__wire_code(failure->code),
                                   .message = restate_str(failure->message),
                                   .metadata = restate__vm_list(failure->metadata) };
}

/* A copy in UTF-8. */
static const char *restate__vm_clean_copy(restate__arena *arena, const char *text) {
    return restate__arena_clean(arena, restate__arena_text(arena, restate_str(text)), NULL);
}

/* A copy that lasts as long as the arena, as it is sent: in UTF-8, with the code of a failure, and
 * with each name of metadata once; `*twice` is one that was there more often, or NULL. NULL: out of
 * memory. */
RESTATE__PRIVATE restate_failure *restate__vm_keep_failure(restate__arena *arena,
                                                           const restate_failure *failure,
                                                           const char **twice) {
    size_t n = restate__b_pairs(failure->metadata);
    restate_failure *copy = restate__arena_alloc(arena, sizeof *copy);
    restate_pair *pairs = restate__arena_alloc(arena, (n + 1) * sizeof *pairs);
    if (!copy || !pairs) return NULL;
    copy->code = (uint16_t)restate__wire_code(failure->code);
    copy->message = restate__vm_clean_copy(arena, failure->message);
    copy->metadata = pairs;
    for (size_t i = 0; i < n; i++) {
        pairs[i].name = restate__vm_clean_copy(arena, failure->metadata[i].name);
        pairs[i].value = restate__vm_clean_copy(arena, failure->metadata[i].value);
    }
    *twice = restate__vm_unique(arena, pairs);
    return copy;
}

#define RESTATE__METADATA "metadata of a failure"   /* needs protocol 6 */

static bool restate__vm_failure_valid(restate__vm *vm, const restate_failure *failure) {
    return !failure || !restate__b_pairs(failure->metadata) ||
           restate__vm_needs(vm, RESTATE__METADATA, 6);
}

/* The content of a value that is there, be it empty. */
static restate_bytes restate__vm_present(restate_bytes b) { return b.ptr ? b : restate__b("", 0); }

/* Fills a oneof of {value, failure} of a command. */
#define RESTATE__SET_RESULT(m, message, group, value_, failure_, bytes, failure) \
    do { \
        if (failure) { \
            (m).which_##group = restate_wire_##message##CommandMessage_##failure_##_tag; \
            (m).group.failure_ = restate__vm_wire_failure(failure); \
        } else { \
            (m).which_##group = restate_wire_##message##CommandMessage_##value_##_tag; \
            (m).group.value_.content = restate__vm_present(bytes); \
        } \
    } while (0)

/* ---- Input, output, end ---------------------------------------------------------------------- */

RESTATE__PRIVATE bool restate__vm_input(restate__vm *vm, restate__vm_input_data *out) {
    const restate__command_kind *kind = &restate__vm_kinds[RESTATE__INPUT];
    restate_wire_InputCommandMessage m = { .has_value = false };
    *out = (restate__vm_input_data){ .body = restate__b("", 0) };
    if (!restate__vm_begin(vm, kind, restate__b_none())) return false;
    if (vm->phase == RESTATE__PROCESSING)
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                                 "the handler's input was asked for twice");
    const restate__command *recorded = restate__vm_recorded(vm, kind);
    if (!recorded) return false;
    if (recorded->type != kind->type) return restate__vm_mismatch_kind(vm, recorded, kind, &m);
    if (!restate__wire_decode(kind->table->desc, &m, sizeof m, recorded->payload))
        return restate__vm_undecodable(vm, recorded->type);
    if (m.has_value && m.value.content.ptr)
        out->body = restate__vm_terminated(vm, m.value.content,
                                           recorded->payload.ptr + recorded->payload.len);
    out->headers = m.headers;
    return out->body.ptr ? true : restate__vm_nomem(vm);
}

/* OUTPUT: what the invocation completes with; the server takes the last one. */
RESTATE__PRIVATE bool restate__vm_output(restate__vm *vm, restate_bytes value,
                                         const restate_failure *failure, bool unstable) {
    restate_wire_OutputCommandMessage m = { .which_result = 0 };
    if (!restate__vm_failure_valid(vm, failure)) return false;
    RESTATE__SET_RESULT(m, Output, result, value, failure, value, failure);
    return restate__vm_command_of(vm, RESTATE__OUTPUT, &m, unstable);
}

/* END: the handler is done. On a closed attempt nothing, and no error. */
RESTATE__PRIVATE bool restate__vm_end(restate__vm *vm) {
    if (vm->phase == RESTATE__CLOSED) return true;
    if (!restate__vm_executable(vm, "end")) return false;
    if (vm->phase == RESTATE__REPLAYING)
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                                 "the handler returned after command %u, but further commands are "
                                 "recorded: the code lost a step since the journal was written",
                                 (unsigned)vm->command_index);
    restate__vm_put(vm, restate_wire_MSG_END, 0, restate_wire_EndMessage_fields,
                    &(restate_wire_EndMessage){ 0 });
    vm->phase = RESTATE__CLOSED;
    return true;
}

/* ---- State ----------------------------------------------------------------------------------- */

/* The name that the next operation was given; once. */
static restate_bytes restate__vm_take_name(restate__vm *vm) {
    restate_bytes name = vm->naming;
    if (RESTATE__UNLIKELY(name.ptr)) vm->naming = restate__b_none();
    return name;
}

/* Records what the code changed: absent bytes clear. */
static bool restate__vm_state_change(restate__vm *vm, restate_bytes key, restate_bytes value) {
    return restate__state_change(&vm->state, vm->arena, key, value) || restate__vm_nomem(vm);
}

/* Settles a leaf that needs no completion of the server's. */
static bool restate__vm_settle_now(restate__vm *vm, restate__node *leaf, uint32_t id,
                                   const restate__value *value) {
    if (vm->arena->failed) return restate__vm_nomem(vm);
    leaf->kind = RESTATE__LEAF;
    leaf->id = id;
    restate__vm_settle(vm, leaf, value);
    return true;
}

/* A state read. It is recorded as eager if its result was known then, as lazy if not, whatever is
 * known today: a recorded one is replayed as it is recorded, a new one is eager if `known`. */
typedef struct restate__state_read {
    unsigned lazy, eager;                   /* kinds of commands, */
    const void *lazy_m, *eager_m;           /* their messages; a recorded eager result is ignored */
    restate_bytes name;                     /* as long as the arena */
    bool known;                             /* afterwards: it is eager */
    const restate__command *recorded;       /* afterwards: NULL if it is new */
} restate__state_read;

static bool restate__vm_state_read(restate__vm *vm, restate__state_read *read) {
    const restate__command_kind *lazy = &restate__vm_kinds[read->lazy],
                                *eager = &restate__vm_kinds[read->eager], *kind;
    if (!restate__vm_begin(vm, lazy, read->name)) return false;
    if (vm->phase != RESTATE__PROCESSING) {
        read->recorded = restate__vm_recorded(vm, lazy);
        if (!read->recorded) return false;
        read->known = read->recorded->type == eager->type;
        if (!read->known && read->recorded->type != lazy->type)
            return restate__vm_mismatch_kind(vm, read->recorded, lazy, read->lazy_m);
    }
    kind = read->known ? eager : lazy;
    const void *m = read->known ? read->eager_m : read->lazy_m;
    vm->current.type = kind->type;
    if (read->recorded) return restate__vm_compare(vm, kind, m, read->recorded->payload, 0);
    vm->first_new_entry_pending = false;
    restate__vm_put(vm, kind->type, 0, kind->table->desc, m);
    return true;
}

/* What a recorded eager read gave. */
static bool restate__vm_recorded_get(restate__vm *vm, const restate__command *recorded,
                                     restate__value *v) {
    restate_wire_GetEagerStateCommandMessage m;
    const uint8_t *end = recorded->payload.ptr + recorded->payload.len;
    if (!restate__wire_decode(restate_wire_GetEagerStateCommandMessage_fields, &m, sizeof m,
                              recorded->payload))
        return restate__vm_undecodable(vm, recorded->type);
    if (m.which_result == 0)
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                                 "the recorded eager state read has no result");
    if (m.which_result != restate_wire_GetEagerStateCommandMessage_value_tag) return true;
    v->kind = RESTATE__VALUE;
    v->is.bytes = restate__vm_terminated(vm, restate__vm_present(m.result.value.content), end);
    return true;
}

/* GET: void when there is no such value. Settled at once if the key is known (R10). */
RESTATE__PRIVATE bool restate__vm_get(restate__vm *vm, restate_bytes key, restate__node *leaf) {
    const restate__state_entry *e = restate__state_find(&vm->state, key);
    restate_bytes name = restate__vm_take_name(vm);
    restate_wire_GetLazyStateCommandMessage lazy = {
        .key = key, .result_completion_id = vm->next_completion, .name = name
    };
    restate_wire_GetEagerStateCommandMessage eager = {
        .key = key, .which_result = restate_wire_GetEagerStateCommandMessage_void_value_tag,
        .name = name
    };
    restate__state_read read = { RESTATE__GET_LAZY_STATE, RESTATE__GET_EAGER_STATE, &lazy, &eager,
                                 name, e || !vm->state.partial, NULL };
    restate__value v = { .kind = RESTATE__VOID };
    if (e && e->value.ptr) {
        eager.which_result = restate_wire_GetEagerStateCommandMessage_value_tag;
        eager.result.value.content = e->value;
    }
    if (!restate__vm_state_read(vm, &read)) return false;
    if (!read.known) return restate__vm_completes(vm, leaf);
    if (read.recorded) {
        if (!restate__vm_recorded_get(vm, read.recorded, &v)) return false;
    } else if (e && e->value.ptr) {
        v.kind = RESTATE__VALUE;
        v.is.bytes = restate__arena_copy(vm->arena, e->value);
    }
    return restate__vm_settle_now(vm, leaf, vm->next_completion++, &v);
}

/* The keys that have a value, as bytes and as texts; ends with NULL. False: out of memory. */
static bool restate__vm_known_keys(restate__vm *vm, restate_wire_list *list,
                                   const char *const **names) {
    size_t room = vm->state.count + 1, n = 0;
    restate_bytes *keys = restate__arena_alloc(vm->arena, room * sizeof *keys);
    const char **texts = restate__arena_alloc(vm->arena, room * sizeof *texts);
    restate__map_node *e = NULL;
    if (!keys || !texts) return restate__vm_nomem(vm);
    while ((e = restate__map_next(vm->state.entries, e)) != NULL) {
        if (!((restate__state_entry *)e)->value.ptr) continue;
        texts[n] = restate__arena_text(vm->arena, e->key);
        keys[n++] = e->key;
    }
    *list = restate__wire_list(restate__wire_put_bytes, keys, n);
    *names = texts;
    return true;
}

/* What a recorded eager read of the keys gave. */
static bool restate__vm_recorded_keys(restate__vm *vm, const restate__command *recorded,
                                      const char *const **names) {
    const restate__table *table = restate__vm_kinds[RESTATE__GET_EAGER_STATE_KEYS].table;
    restate__wire_item item;
    const restate__row *row =
        restate__row_of(table->rows, restate_wire_GetEagerStateKeysCommandMessage_value_tag);
    if (!restate__row_get(row, recorded->payload, 0, &item))
        return restate__vm_raise(vm, RESTATE__E_PROTOCOL,
                                 "the recorded eager read of the state keys has no result");
    *names = item.wire == RESTATE__WIRE_BYTES ? restate__vm_keys(vm, item.bytes) : NULL;
    return *names ? true : restate__vm_undecodable(vm, recorded->type);
}

/* GET_KEYS: sorted, without cleared ones. */
RESTATE__PRIVATE bool restate__vm_get_keys(restate__vm *vm, restate__node *leaf) {
    restate_bytes name = restate__vm_take_name(vm);
    restate_wire_GetLazyStateKeysCommandMessage lazy = {
        .result_completion_id = vm->next_completion, .name = name
    };
    restate_wire_GetEagerStateKeysCommandMessage eager = { .has_value = true, .name = name };
    restate__state_read read = { RESTATE__GET_LAZY_STATE_KEYS, RESTATE__GET_EAGER_STATE_KEYS,
                                 &lazy, &eager, name, !vm->state.partial, NULL };
    restate__value v = { .kind = RESTATE__STATE_KEYS };
    if (vm->phase == RESTATE__PROCESSING && read.known &&
        !restate__vm_known_keys(vm, &eager.value.keys, &v.is.keys))
        return false;
    if (!restate__vm_state_read(vm, &read)) return false;
    leaf->expects = RESTATE__EXPECTS_KEYS;
    if (!read.known) return restate__vm_completes(vm, leaf);
    if (read.recorded && !restate__vm_recorded_keys(vm, read.recorded, &v.is.keys)) return false;
    return restate__vm_settle_now(vm, leaf, vm->next_completion++, &v);
}

RESTATE__PRIVATE bool restate__vm_set(restate__vm *vm, restate_bytes key, restate_bytes value,
                                      bool unstable) {
    restate_wire_SetStateCommandMessage m = { .key = key, .has_value = true,
                                              .name = restate__vm_take_name(vm) };
    uint32_t loose = unstable ? restate__vm_kinds[RESTATE__SET_STATE].payload : 0;
    m.value.content = restate__vm_present(value);
    return restate__vm_command(vm, RESTATE__SET_STATE, &m, m.name, loose) &&
           restate__vm_state_change(vm, key, m.value.content);
}

RESTATE__PRIVATE bool restate__vm_clear(restate__vm *vm, restate_bytes key) {
    restate_wire_ClearStateCommandMessage m = { .key = key, .name = restate__vm_take_name(vm) };
    return restate__vm_command(vm, RESTATE__CLEAR_STATE, &m, m.name, 0) &&
           restate__vm_state_change(vm, key, restate__b_none());
}

/* Afterwards all of the state is known: there is none (R10). */
RESTATE__PRIVATE bool restate__vm_clear_all(restate__vm *vm) {
    restate_wire_ClearAllStateCommandMessage m = { .name = restate__vm_take_name(vm) };
    if (!restate__vm_command(vm, RESTATE__CLEAR_ALL_STATE, &m, m.name, 0)) return false;
    restate__state_clear_all(&vm->state);
    return true;
}

/* ---- Sleep, promises, attach ----------------------------------------------------------------- */

/* SLEEP: the recorded wake-up time stays in force on replay. */
RESTATE__PRIVATE bool restate__vm_sleep(restate__vm *vm, const char *name, uint64_t wake_up_ms,
                                        restate__node *leaf) {
    restate_wire_SleepCommandMessage m = { .wake_up_time = wake_up_ms, .name = restate_str(name),
                                           .result_completion_id = vm->next_completion };
    return restate__vm_command(vm, RESTATE__SLEEP, &m, m.name, 0) &&
           restate__vm_completes(vm, leaf);
}

RESTATE__PRIVATE bool restate__vm_get_promise(restate__vm *vm, restate_bytes key,
                                              restate__node *leaf) {
    restate_wire_GetPromiseCommandMessage m = { .key = key,
                                                .result_completion_id = vm->next_completion };
    return restate__vm_command_of(vm, RESTATE__GET_PROMISE, &m, false) &&
           restate__vm_completes(vm, leaf);
}

RESTATE__PRIVATE bool restate__vm_peek_promise(restate__vm *vm, restate_bytes key,
                                               restate__node *leaf) {
    restate_wire_PeekPromiseCommandMessage m = { .key = key,
                                                 .result_completion_id = vm->next_completion };
    return restate__vm_command_of(vm, RESTATE__PEEK_PROMISE, &m, false) &&
           restate__vm_completes(vm, leaf);
}

RESTATE__PRIVATE bool restate__vm_complete_promise(restate__vm *vm, restate_bytes key,
                                                   restate_bytes value,
                                                   const restate_failure *failure, bool unstable,
                                                   restate__node *leaf) {
    restate_wire_CompletePromiseCommandMessage m = { .key = key,
                                                     .result_completion_id = vm->next_completion };
    if (!restate__vm_failure_valid(vm, failure)) return false;
    RESTATE__SET_RESULT(m, CompletePromise, completion, completion_value, completion_failure, value,
                        failure);
    return restate__vm_command_of(vm, RESTATE__COMPLETE_PROMISE, &m, unstable) &&
           restate__vm_completes(vm, leaf);
}

/* An optional text of a call: present and empty is refused, scopes and limit keys need protocol 7.
 */
static bool restate__vm_text_valid(restate__vm *vm, const char *text, const char *what,
                                   uint32_t version) {
    if (!text) return true;
    if (!*text)
        return restate__vm_raise(vm, RESTATE__E_INTERNAL,
                                 "the %s is empty: leave it out or give one", what);
    return restate__vm_needs(vm, what, version);
}

/* Fills the target of AttachInvocation or GetInvocationOutput, whose fields are the same. */
#define RESTATE__SET_TARGET(m, message, to) \
    do { \
        if ((to)->kind == RESTATE__BY_ID) { \
            (m).which_target = restate_wire_##message##CommandMessage_invocation_id_tag; \
            (m).target.invocation_id = restate_str((to)->id); \
        } else if ((to)->kind == RESTATE__BY_WORKFLOW) { \
            (m).which_target = restate_wire_##message##CommandMessage_workflow_target_tag; \
            (m).target.workflow_target = restate__vm_workflow(to); \
        } else { \
            (m).which_target = \
                restate_wire_##message##CommandMessage_idempotent_request_target_tag; \
            (m).target.idempotent_request_target = restate__vm_request(to); \
        } \
    } while (0)

static restate_wire_WorkflowTarget restate__vm_workflow(const restate__vm_target *to) {
    return (restate_wire_WorkflowTarget){ .workflow_name = restate_str(to->service),
                                          .workflow_key = restate_str(to->key),
                                          .scope = restate_str(to->scope) };
}

static restate_wire_IdempotentRequestTarget restate__vm_request(const restate__vm_target *to) {
    return (restate_wire_IdempotentRequestTarget){
        .service_name = restate_str(to->service), .service_key = restate_str(to->key),
        .handler_name = restate_str(to->handler), .scope = restate_str(to->scope),
        .idempotency_key = restate_str(to->idempotency_key)
    };
}

RESTATE__PRIVATE bool restate__vm_attach(restate__vm *vm, const restate__vm_target *to,
                                         restate__node *leaf) {
    restate_wire_AttachInvocationCommandMessage m = { .result_completion_id = vm->next_completion };
    if (!restate__vm_text_valid(vm, to->scope, "scope", 7)) return false;
    RESTATE__SET_TARGET(m, AttachInvocation, to);
    return restate__vm_command_of(vm, RESTATE__ATTACH_INVOCATION, &m, false) &&
           restate__vm_completes(vm, leaf);
}

RESTATE__PRIVATE bool restate__vm_get_output(restate__vm *vm, const restate__vm_target *to,
                                             restate__node *leaf) {
    restate_wire_GetInvocationOutputCommandMessage m = { .result_completion_id =
                                                             vm->next_completion };
    if (!restate__vm_text_valid(vm, to->scope, "scope", 7)) return false;
    RESTATE__SET_TARGET(m, GetInvocationOutput, to);
    return restate__vm_command_of(vm, RESTATE__GET_INVOCATION_OUTPUT, &m, false) &&
           restate__vm_completes(vm, leaf);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static bool restate__vm_call_valid(restate__vm *vm, const restate__vm_call *call) {
    return restate__vm_text_valid(vm, call->idempotency_key, "idempotency key",
                                  RESTATE__VERSION_MIN) &&
           restate__vm_text_valid(vm, call->scope, "scope", 7) &&
           restate__vm_text_valid(vm, call->limit_key, "limit key", 7);
}

static bool restate__vm_track(restate__vm *vm, restate__node *id) {
    restate__tracked *t = restate__arena_alloc(vm->arena, sizeof *t);
    if (!t) return restate__vm_nomem(vm);
    t->id = id;
    *vm->tracked_end = t;
    vm->tracked_end = &t->next;
    return true;
}

/* What Call and OneWayCall have in common. */
#define RESTATE__CALL_FIELDS(vm, call) \
    .service_name = restate_str((call)->service), .handler_name = restate_str((call)->handler), \
    .parameter = (call)->parameter, .headers = restate__vm_list((call)->headers), \
    .key = (call)->key, .idempotency_key = restate_str((call)->idempotency_key), \
    .scope = restate_str((call)->scope), .limit_key = restate_str((call)->limit_key), \
    .name = restate_str((call)->name), .invocation_id_notification_idx = (vm)->next_completion

#define RESTATE__CALL_LOOSE(message, call) \
    (((call)->unstable ? RESTATE__TAG(message, parameter) : 0u) | \
     ((call)->loose_headers ? RESTATE__TAG(message, headers) : 0u))

/* CALL: two completions, the id of the new invocation and its result. */
RESTATE__PRIVATE bool restate__vm_call_invocation(restate__vm *vm, const restate__vm_call *call,
                                                  restate__node *id, restate__node *result) {
    if (!restate__vm_call_valid(vm, call)) return false;
    restate_wire_CallCommandMessage m = { RESTATE__CALL_FIELDS(vm, call),
                                          .result_completion_id = vm->next_completion + 1 };
    if (!restate__vm_command(vm, RESTATE__CALL, &m, m.name, RESTATE__CALL_LOOSE(Call, call)))
        return false;
    id->expects = RESTATE__EXPECTS_ID;
    return restate__vm_completes(vm, id) && restate__vm_completes(vm, result) &&
           restate__vm_track(vm, id);
}

/* SEND: one completion, the id of the new invocation. The recorded start time stays in force on
 * replay. */
RESTATE__PRIVATE bool restate__vm_send(restate__vm *vm, const restate__vm_call *call,
                                       restate__node *id) {
    if (!restate__vm_call_valid(vm, call)) return false;
    restate_wire_OneWayCallCommandMessage m = { RESTATE__CALL_FIELDS(vm, call),
                                                .invoke_time = call->invoke_time_ms };
    if (!restate__vm_command(vm, RESTATE__ONE_WAY_CALL, &m, m.name,
                             RESTATE__CALL_LOOSE(OneWayCall, call)))
        return false;
    id->expects = RESTATE__EXPECTS_ID;
    return restate__vm_completes(vm, id) &&
           (!vm->options.cancel_sends || restate__vm_track(vm, id));
}

/* ---- Signals and awakeables ------------------------------------------------------------------ */

/* "sign_1" + base64url(id of the invocation, number of the signal). "" when out of memory. */
static const char *restate__vm_awakeable_id(restate__vm *vm, uint32_t signal) {
    size_t len = vm->id.len + 4;
    uint8_t *raw = restate__arena_bytes(vm->arena, len);
    char *text = (char *)restate__arena_bytes(vm->arena, 6 + len / 3 * 4 + 5);
    if (!raw || !text) return "";
    if (vm->id.len) memcpy(raw, vm->id.ptr, vm->id.len);
    restate__b_put32(raw + vm->id.len, signal);
    memcpy(text, "sign_1", 6);
    *restate__b_base64(text + 6, restate__b(raw, len), true) = 0;
    return text;
}

/* AWAKEABLE: no command; the order of creation is all that is recorded. */
RESTATE__PRIVATE bool restate__vm_awakeable(restate__vm *vm, restate__node *leaf, const char **id) {
    *id = "";
    if (!restate__vm_executable(vm, "awakeable")) return false;
    *id = restate__vm_awakeable_id(vm, vm->next_signal);
    if (!**id) return restate__vm_nomem(vm);
    return restate__vm_leaf(vm, leaf, RESTATE__LEAF_SIGNAL, vm->next_signal++);
}

static bool restate__vm_name_leaf(restate__vm *vm, restate_bytes name, restate__node *leaf) {
    restate__signal_name *n = restate__vm_name(vm, name);
    if (!n) return restate__vm_nomem(vm);
    leaf->of.named.name = n;
    restate__named_list(vm->named, leaf);
    return true;
}

/* SIGNAL: no command; addressed by its name. */
RESTATE__PRIVATE bool restate__vm_signal(restate__vm *vm, restate_bytes name, restate__node *leaf) {
    if (!restate__vm_executable(vm, "signal")) return false;
    leaf->kind = RESTATE__LEAF_NAME;
    return restate__vm_name_leaf(vm, restate__vm_present(name), leaf);
}

/* The next cancellation, where it does not come by itself. It is kept like a signal without a name.
 */
RESTATE__PRIVATE bool restate__vm_cancellation(restate__vm *vm, restate__node *leaf) {
    if (!restate__vm_executable(vm, "cancellation")) return false;
    leaf->kind = RESTATE__LEAF_SIGNAL;
    leaf->id = RESTATE__SIGNAL_CANCEL;
    return restate__vm_name_leaf(vm, restate__b_none(), leaf);
}

/* Sends a signal: one that has a name, or the cancellation (`name` absent), which has no value. */
static bool restate__vm_put_signal(restate__vm *vm, restate_bytes invocation_id, restate_bytes name,
                                   restate_bytes value, const restate_failure *failure,
                                   bool unstable) {
    restate_wire_SendSignalCommandMessage m = { .target_invocation_id = invocation_id };
    if (!restate__vm_failure_valid(vm, failure)) return false;
    if (name.ptr) {
        m.which_signal_id = restate_wire_SendSignalCommandMessage_name_tag;
        m.signal_id.name = name;
        RESTATE__SET_RESULT(m, SendSignal, result, value, failure, value, failure);
    } else {
        m.which_signal_id = restate_wire_SendSignalCommandMessage_idx_tag;
        m.signal_id.idx = RESTATE__SIGNAL_CANCEL;
        m.which_result = restate_wire_SendSignalCommandMessage_void_value_tag;
    }
    return restate__vm_command_of(vm, RESTATE__SEND_SIGNAL, &m, unstable);
}

RESTATE__PRIVATE bool restate__vm_send_signal(restate__vm *vm, const char *invocation_id,
                                              restate_bytes name, restate_bytes value,
                                              const restate_failure *failure, bool unstable) {
    return restate__vm_put_signal(vm, restate_str(invocation_id), restate__vm_present(name), value,
                                  failure, unstable);
}

static bool restate__vm_cancel_call(restate__vm *vm, restate_bytes invocation_id) {
    return restate__vm_put_signal(vm, invocation_id, restate__b_none(), restate__b_none(), NULL,
                                  false);
}

/* CANCEL_INVOCATION */
RESTATE__PRIVATE bool restate__vm_cancel(restate__vm *vm, const char *invocation_id) {
    return restate__vm_cancel_call(vm, restate_str(invocation_id));
}

RESTATE__PRIVATE bool restate__vm_complete_awakeable(restate__vm *vm, const char *id,
                                                     restate_bytes value,
                                                     const restate_failure *failure,
                                                     bool unstable) {
    restate_wire_CompleteAwakeableCommandMessage m = { .awakeable_id = restate_str(id) };
    if (!restate__vm_failure_valid(vm, failure)) return false;
    RESTATE__SET_RESULT(m, CompleteAwakeable, result, value, failure, value, failure);
    return restate__vm_command_of(vm, RESTATE__COMPLETE_AWAKEABLE, &m, unstable);
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static restate_wire_RunCommandMessage restate__vm_run_message(const restate__vm *vm,
                                                              const char *name) {
    return (restate_wire_RunCommandMessage){ .result_completion_id = vm->next_completion,
                                             .name = restate_str(name) };
}

/* The name in a recorded command that is a run with this completion id, a name or none, and nothing
 * else. Absent: it is not, or restate__vm_run() has to look closer. */
static restate_bytes restate__run_name(const uint8_t *entry, uint32_t id) {
    restate_bytes body = restate__entry_body(entry);
    const uint8_t *at = body.ptr, *end = at + body.len;
    uint32_t n;
    if (restate__entry_type(entry) != restate_wire_MSG_RUN_COMMAND) return restate__b_none();
    at = restate__wire_expect(at, end, RESTATE__KEY_RUN_ID, &n);
    if (!at || n != id) return restate__b_none();
    if (at == end) return restate__b(at, 0);
    at = restate__wire_expect(at, end, RESTATE__KEY_RUN_NAME, &n);
    return at && n == end - at ? restate__b(at, n) : restate__b_none();
}

/* RUN and AWAIT in one, where the command is recorded and its result is the very next notification.
 * False: it is not so simple, and nothing was done: restate__vm_run() has to. */
RESTATE__PRIVATE bool restate__vm_run_recorded(restate__vm *vm, const char *name,
                                               restate__value *result) {
    restate__journal *j = &vm->journal;
    if (vm->phase != RESTATE__REPLAYING || vm->cancel_delivered || !j->commands.left ||
        !j->notifications.left)
        return false;
    const uint8_t *command = restate__journal_peek(j, &j->commands);
    restate_bytes recorded = restate__run_name(command, vm->next_completion);
    if (!recorded.ptr || !restate__b_equal(recorded, restate_str(name))) return false;
    uint8_t *entry = restate__journal_peek(j, &j->notifications);
    const restate__slot *slot = restate__slot_of(j, false, vm->next_completion);
    if (!slot || slot->entry != entry || !restate__vm_read_entry(vm, result, entry) ||
        result->kind > RESTATE__FAILURE)
        return false;
    restate__vm_begin(vm, &restate__vm_kinds[RESTATE__RUN], recorded);
    restate__vm_take(vm, command);
    vm->next_completion++;
    entry[0] |= RESTATE__ENTRY_DELIVERED;
    restate__journal_pass(&j->notifications);
    return true;
}

/* RUN: `leaf->run` is afterwards whether its closure is to be executed, which an await asks for. A
 * result anywhere in the journal, be it not delivered yet, means that it never is again. */
RESTATE__PRIVATE bool restate__vm_run(restate__vm *vm, const char *name, restate__node *leaf) {
    restate_wire_RunCommandMessage m = restate__vm_run_message(vm, name);
    if (!restate__vm_command(vm, RESTATE__RUN, &m, m.name, 0)) return false;
    restate__slot *slot = restate__vm_leaf_slot(vm, leaf, RESTATE__LEAF, vm->next_completion++);
    if (!slot) return false;
    if (slot->entry) return true;
    leaf->run = RESTATE__RUN_TO_EXECUTE;
    leaf->of.closure.command = vm->command_index;
    leaf->of.closure.name = restate__arena_copy(vm->arena, restate__vm_present(m.name));
    vm->graph.to_execute++;
    return leaf->of.closure.name.ptr ? true : restate__vm_nomem(vm);
}

/* Whether the next recorded command is the marker of a patch, a run of that name. */
static bool restate__vm_marked(restate__vm *vm, const char *marker) {
    const restate__table *table = restate__vm_kinds[RESTATE__RUN].table;
    restate__journal *j = &vm->journal;
    restate__wire_item item;
    if (vm->phase != RESTATE__REPLAYING || !j->commands.left) return false;
    const uint8_t *entry = restate__journal_peek(j, &j->commands);
    if ((entry[0] << 8 | entry[1]) != restate_wire_MSG_RUN_COMMAND) return false;
    const restate__row *row = restate__row_of(table->rows, restate_wire_RunCommandMessage_name_tag);
    return restate__row_get(row, restate__entry_body(entry), 0, &item) &&
           item.wire == RESTATE__WIRE_BYTES && restate__b_is(item.bytes, marker);
}

/* The marker, recorded or new: a run that nobody awaits, so that its closure, which it has not, is
 * never asked for. The server keeps runs without a result as it keeps those that have one. */
static bool restate__vm_mark(restate__vm *vm, const char *marker) {
    restate_wire_RunCommandMessage m = restate__vm_run_message(vm, marker);
    if (!restate__vm_command(vm, RESTATE__RUN, &m, m.name, 0)) return false;
    vm->next_completion++;
    return true;
}

/* PATCHED: `*taken` is whether the code behind the patch is. What is recorded at a place never
 * changes once it is there, and what is new goes out before anything of that code: so every attempt
 * decides alike. */
RESTATE__PRIVATE bool restate__vm_patched(restate__vm *vm, const char *marker, bool *taken) {
    *taken = vm->phase != RESTATE__REPLAYING || restate__vm_marked(vm, marker);
    return !*taken || restate__vm_mark(vm, marker);
}

/* PATCH_DONE */
RESTATE__PRIVATE bool restate__vm_patch_done(restate__vm *vm, const char *marker) {
    return !restate__vm_marked(vm, marker) || restate__vm_mark(vm, marker);
}

static bool restate__vm_propose_result(restate__vm *vm, restate__node *run, restate_bytes value,
                                       const restate_failure *failure) {
    bool v7 = vm->options.version >= 7;
    restate_wire_ProposeRunCompletionMessage m = { .result_completion_id = run->id };
    if (failure) {
        m.which_result = restate_wire_ProposeRunCompletionMessage_failure_tag;
        m.result.failure = restate__vm_wire_failure(failure);
    } else {
        m.which_result = restate_wire_ProposeRunCompletionMessage_value_tag;
        m.result.value = restate__vm_present(value);
    }
    if (v7) {
        const char *twice;
        restate__value *keep = restate__arena_alloc(vm->arena, sizeof *keep);
        if (!keep) return restate__vm_nomem(vm);
        keep->kind = failure ? RESTATE__FAILURE : RESTATE__VALUE;
        if (failure) keep->is.failure = restate__vm_keep_failure(vm->arena, failure, &twice);
        else keep->is.bytes = restate__arena_copy(vm->arena, restate__vm_present(value));
        if (vm->arena->failed) return restate__vm_nomem(vm);
        run->of.closure.proposed = keep;
        run->run = RESTATE__RUN_PROPOSED;
    }
    restate__vm_put(vm, restate_wire_MSG_PROPOSE_RUN_COMPLETION,
                    v7 ? RESTATE__WIRE_ACK : 0,
                    restate_wire_ProposeRunCompletionMessage_fields, &m);
    return true;
}

/* Delay n is min(max, initial * factor^(n-1)); saturates. */
static uint64_t restate__vm_backoff(const restate__policy *p, uint32_t count) {
    double delay = (double)p->interval_ms, max = (double)p->max_interval_ms;
    if (max > 9.0e18) max = 9.0e18;
    for (uint32_t i = 1; i < count && delay < max && p->factor > 1; i++) delay *= p->factor;
    for (uint32_t i = 1; i < count && delay >= 1 && p->factor < 1; i++) delay *= p->factor;
    return (uint64_t)(delay < max ? delay : max);
}

/* A closure failed and may be executed again. The counts in Start are only for a run whose command
 * an earlier attempt had stored: nothing new was written in this one. */
static bool restate__vm_propose_retry(restate__vm *vm, restate__node *run,
                                      const restate__outcome *o, const restate__policy *p) {
    restate__vm_error e = o->error;
    bool known = vm->first_new_entry_pending;
    uint32_t count = known ? vm->retry_count : 0;
    uint64_t spent = count ? vm->retry_ms : 0;
    if (count < UINT32_MAX) count++;
    spent = spent > UINT64_MAX - o->duration_ms ? UINT64_MAX : spent + o->duration_ms;
    bool exhausted = p->own && ((p->has_max_attempts && p->max_attempts <= count) ||
                                (p->has_max_duration && p->max_duration_ms <= spent));
    e.related = (restate__related){ .known = true, .index = run->of.closure.command,
                                    .type = restate_wire_MSG_RUN_COMMAND,
                                    .name = run->of.closure.name };
    e.step_try = count;
    if (exhausted && !p->pause && e.behavior == RESTATE__RETRY) {
        restate_failure failure = { .code = (uint16_t)e.code, .message = e.message };
        return restate__vm_propose_result(vm, run, restate__b_none(), &failure);
    }
    if (exhausted && p->pause) e.behavior = RESTATE__PAUSE;
    if (p->own && !e.has_delay) {
        e.has_delay = true;
        e.delay_ms = restate__vm_backoff(p, count);
    }
    return restate__vm_fail_run(vm, &e);
}

static bool restate__vm_run_needs(restate__vm *vm, const char *feature, uint32_t version) {
    if (vm->options.version >= version) return true;
    restate__vm_error e = { .code = RESTATE__E_UNSUPPORTED, .related = vm->current,
                            .message = restate__vm_unsupported(vm, feature, version) };
    return restate__vm_fail_run(vm, &e);
}

/* PROPOSE_RUN: the outcome of a closure. It counts when the server has stored it (R7). Errors of
 * runs are kept: the host calls restate__vm_fail_now() when no closure executes. */
RESTATE__PRIVATE bool restate__vm_propose(restate__vm *vm, restate__node *run,
                                          const restate__outcome *o, const restate__policy *p) {
    if (vm->phase == RESTATE__ERRORED) return false;
    if (vm->phase != RESTATE__PROCESSING) return true;
    restate__graph_run_over(&vm->graph, run);
    restate__slot *slot = restate__slot_of(&vm->journal, false, run->id);
    if (!slot || slot->entry) return slot ? true : restate__vm_nomem(vm);   /* not needed (R5) */
    if (p->own && p->pause &&
        !restate__vm_run_needs(vm, "pausing when a run's retries are exhausted", 7))
        return false;
    if (o->kind == RESTATE__RETRYABLE) return restate__vm_propose_retry(vm, run, o, p);
    if (o->kind == RESTATE__DONE) return restate__vm_propose_result(vm, run, o->value, NULL);
    if (restate__b_pairs(o->failure.metadata) && !restate__vm_run_needs(vm, RESTATE__METADATA, 6))
        return false;
    return restate__vm_propose_result(vm, run, restate__b_none(), &o->failure);
}

/* ---- Deterministic randomness ---------------------------------------------------------------- */

static uint32_t restate__vm_rotr(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

/* One block of SHA-256. */
static void restate__vm_sha256_block(uint32_t state[8], const uint8_t block[64]) {
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
        0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
        0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
        0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
        0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
        0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
        0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
        0xc67178f2
    };
    uint32_t w[64], s[8];
    for (unsigned i = 0; i < 16; i++) w[i] = restate__b_get32(block + 4 * i);
    for (unsigned i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (restate__vm_rotr(a, 7) ^ restate__vm_rotr(a, 18) ^ a >> 3) +
               (restate__vm_rotr(b, 17) ^ restate__vm_rotr(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4];
        uint32_t t1 = s[7] +
                      (restate__vm_rotr(e, 6) ^ restate__vm_rotr(e, 11) ^ restate__vm_rotr(e, 25)) +
                      ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
        uint32_t t2 = (restate__vm_rotr(a, 2) ^ restate__vm_rotr(a, 13) ^ restate__vm_rotr(a, 22)) +
                      ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++) state[i] += s[i];
}

/* The first 8 bytes of SHA-256: the seed under protocol 5, which sends none. */
static uint64_t restate__vm_sha256_64(restate_bytes input) {
    uint32_t state[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    size_t at = 0;
    bool last = false;
    while (!last) {
        size_t n = input.len - (at < input.len ? at : input.len);
        if (n > 64) n = 64;
        uint8_t block[64] = { 0 };
        if (n) memcpy(block, input.ptr + at, n);
        if (n < 64 && at <= input.len) block[n] = 0x80;
        last = n < 56;
        if (last) restate__b_put32(block + 60, (uint32_t)(input.len * 8));
        restate__vm_sha256_block(state, block);
        at += 64;
    }
    return (uint64_t)state[0] << 32 | state[1];
}

RESTATE__PRIVATE uint64_t restate__vm_seed(const restate__vm *vm) {
    return vm->options.version >= 6 ? vm->random_seed : restate__vm_sha256_64(vm->id);
}

/* xoshiro256++, its state filled by splitmix64. */
RESTATE__PRIVATE void restate__vm_random_seed(uint64_t state[4], uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        state[i] = z ^ z >> 31;
    }
}

RESTATE__PRIVATE uint64_t restate__vm_random(uint64_t state[4]) {
    uint64_t sum = state[0] + state[3], t = state[1] << 17;
    uint64_t result = (sum << 23 | sum >> 41) + state[0];
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = state[3] << 45 | state[3] >> 19;
    return result;
}

/* In [0, 1): 53 bits, as many as a double holds. */
RESTATE__PRIVATE double restate__vm_random_double(uint64_t state[4]) {
    return (double)(restate__vm_random(state) >> 11) * 0x1p-53;
}

/* The high half of a product; `*low` is the other one. */
static uint64_t restate__vm_product(uint64_t a, uint64_t b, uint64_t *low) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)middle;
    *low = a * b;
    return a1 * b1 + (middle >> 32) + (other >> 32);
}

/* Below n: numbers of 64 bits are spread over n places, and those are drawn again that some places
 * have more of than others (Lemire). */
RESTATE__PRIVATE uint64_t restate__vm_random_below(uint64_t state[4], uint64_t n) {
    uint64_t low, high = restate__vm_product(restate__vm_random(state), n, &low);
    if (low >= n) return high;              /* spares the division nearly always */
    for (uint64_t uneven = (0 - n) % n; low < uneven;)
        high = restate__vm_product(restate__vm_random(state), n, &low);
    return high;
}

/* Version 4, 36 characters and a zero. */
RESTATE__PRIVATE void restate__vm_uuid(uint64_t state[4], char text[37]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[16];
    for (int i = 0; i < 16; i += 8) {
        uint64_t n = restate__vm_random(state);
        for (int k = 0; k < 8; k++) raw[i + k] = (uint8_t)(n >> 8 * k);
    }
    raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40);
    raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *text++ = '-';
        *text++ = digits[raw[i] >> 4];
        *text++ = digits[raw[i] & 15];
    }
    *text = 0;
}

/* ================================================================================================
// >>execution  fibers and threads
// [restate__fiber_ restate__port_ restate__task_ restate__duty_ restate__signals_]
// [restate__crash_ restate__worker_ restate__pool_]
// Where handlers and closures execute: stacks that can be left and entered, and threads.
================================================================================================ */

/* A handler looks blocking and must not block its thread, so it gets a stack of its own: a fiber.
 * The thread that owns it resumes it; it parks when it has to wait. There are two kinds.
 *
 *  - Switched fibers share the owner's thread. RESTATE_FIBER_ASM switches in a few instructions and
 *    RESTATE_FIBER_UCONTEXT through the C library. A fiber never changes its thread (compilers
 *    cache the addresses of thread-local variables), and handlers leave the floating point control
 *    words as they were (a switch does not save them).
 *  - Tasks are threads that alternate strictly with their owner, one always waiting for the other.
 *    Handlers registered `.blocking` get one: between _detach and _attach they run beside it. Under
 *    RESTATE_FIBER_THREAD every fiber is a task.
 *
 * RESTATE_FIBER_CUSTOM is RESTATE_FIBER_THREAD over primitives of the program's own, for an RTOS.
 * The program defines six functions (with C linkage):
 *
 *     void *restate_port_signal_new(void);      a binary semaphore, not given; NULL: there is none
 *     void restate_port_signal_give(void *);    lets one take through, now or later
 *     void restate_port_signal_take(void *);    waits until it is given
 *     void restate_port_signal_free(void *);
 *     void *restate_port_task_new(void (*run)(void *arg), void *arg, size_t stack_bytes);
 *                                               calls run(arg) on a stack of its own; NULL: cannot
 *     void restate_port_task_join(void *);      waits until run returned, then frees the task
 *
 * With RESTATE_NO_THREADS there is one kind only, and _detach and _attach do nothing. */

#define RESTATE_FIBER_ASM 1
#define RESTATE_FIBER_UCONTEXT 2
#define RESTATE_FIBER_THREAD 3
#define RESTATE_FIBER_CUSTOM 4

#if defined(__GNUC__) && !defined(__ILP32__) && !defined(_WIN32) \
    && (defined(__x86_64__) || defined(__aarch64__))
#  define RESTATE__FIBER_ASM_WORKS 1
#else
#  define RESTATE__FIBER_ASM_WORKS 0
#endif

/* The code may run with a shadow stack, which only the C library knows how to switch. */
#if defined(__CET__)
#  define RESTATE__SHADOW_STACK ((__CET__ & 2) != 0)
#elif defined(__ARM_FEATURE_GCS_DEFAULT)
#  define RESTATE__SHADOW_STACK 1
#else
#  define RESTATE__SHADOW_STACK 0
#endif

#ifndef RESTATE_FIBER
#  if RESTATE__FIBER_ASM_WORKS && !RESTATE__SHADOW_STACK
#    define RESTATE_FIBER RESTATE_FIBER_ASM
#  elif defined(__GLIBC__) || defined(__FreeBSD__) || defined(__NetBSD__)
#    define RESTATE_FIBER RESTATE_FIBER_UCONTEXT
#  elif !defined(RESTATE_NO_THREADS)
#    define RESTATE_FIBER RESTATE_FIBER_THREAD
#  else
#    define RESTATE_FIBER RESTATE_FIBER_CUSTOM
#  endif
#endif
#if RESTATE_FIBER < RESTATE_FIBER_ASM || RESTATE_FIBER > RESTATE_FIBER_CUSTOM
#  error "restate.h: RESTATE_FIBER is none of RESTATE_FIBER_ASM, _UCONTEXT, _THREAD and _CUSTOM"
#elif RESTATE_FIBER == RESTATE_FIBER_ASM && !RESTATE__FIBER_ASM_WORKS
#  error "restate.h: RESTATE_FIBER_ASM needs gcc or clang on x86-64 or AArch64"
#elif RESTATE_FIBER == RESTATE_FIBER_THREAD && defined(RESTATE_NO_THREADS)
#  error "restate.h: RESTATE_FIBER_THREAD contradicts RESTATE_NO_THREADS"
#endif

#define RESTATE__FIBER_SWITCHES (RESTATE_FIBER <= RESTATE_FIBER_UCONTEXT)
#ifdef RESTATE_NO_THREADS
#  define RESTATE__FIBER_TASKS (RESTATE_FIBER == RESTATE_FIBER_CUSTOM)
#else
#  define RESTATE__FIBER_TASKS 1
#  include <pthread.h>
#  include <time.h>
#endif
#if RESTATE__FIBER_TASKS
#  include <setjmp.h>
#endif
#if RESTATE_FIBER == RESTATE_FIBER_UCONTEXT
#  include <ucontext.h>
#endif

#if RESTATE_FIBER != RESTATE_FIBER_CUSTOM && (defined(__unix__) || defined(__APPLE__))
#  include <errno.h>
#  include <signal.h>
#  include <sys/mman.h>
#  include <unistd.h>
#  if defined(MAP_ANONYMOUS)
#    define RESTATE__MAP_ANONYMOUS MAP_ANONYMOUS
#  elif defined(MAP_ANON)
#    define RESTATE__MAP_ANONYMOUS MAP_ANON
#  elif defined(__linux__) && !defined(__mips__) && !defined(__alpha__) && !defined(__hppa__) \
    && !defined(__xtensa__)
#    define RESTATE__MAP_ANONYMOUS 0x20     /* hidden by strict C99; the kernel's ABI */
#  endif
#  ifdef MAP_STACK
#    define RESTATE__MAP_STACK MAP_STACK
#  else
#    define RESTATE__MAP_STACK 0
#  endif
#endif
/* Address space below every stack that nobody can touch. A function whose frame is larger than a
 * guard may jump over it and write into somebody else's stack, unless it is compiled with
 * -fstack-clash-protection: then it touches every page on its way. */
#if UINTPTR_MAX > 0xFFFFFFFFu
#  define RESTATE__STACK_GUARD ((size_t)1 << 20)
#else
#  define RESTATE__STACK_GUARD ((size_t)64 << 10)
#endif
#ifdef MAP_NORESERVE
#  define RESTATE__MAP_NORESERVE MAP_NORESERVE
#else
#  define RESTATE__MAP_NORESERVE 0
#endif
#ifndef RESTATE__STACK_MMAP                 /* 0: stacks from the allocator, with a canary */
#  ifdef RESTATE__MAP_ANONYMOUS
#    define RESTATE__STACK_MMAP 1
#  else
#    define RESTATE__STACK_MMAP 0
#  endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#  define RESTATE__ASAN 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define RESTATE__ASAN 1
#  endif
#endif
#if defined(__SANITIZE_THREAD__)
#  define RESTATE__TSAN 1
#elif defined(__has_feature)
#  if __has_feature(thread_sanitizer)
#    define RESTATE__TSAN 1
#  endif
#endif
#ifdef RESTATE__ASAN
#  include <sanitizer/asan_interface.h>
#  include <sanitizer/common_interface_defs.h>
#endif
#ifdef RESTATE__TSAN
#  include <sanitizer/tsan_interface.h>
#endif
#ifdef RESTATE_VALGRIND
#  include <valgrind/valgrind.h>
#endif

#if defined(RESTATE__ASAN) || defined(RESTATE__TSAN)
#  define RESTATE__STACK_FACTOR 4u          /* instrumented frames are several times larger */
#else
#  define RESTATE__STACK_FACTOR 1u
#endif

/* ---- fibers: what both kinds share ---- */

typedef struct restate__fiber restate__fiber;
typedef enum restate__fiber_kind {
    RESTATE__FIBER_SWITCHED,
    RESTATE__FIBER_THREAD
} restate__fiber_kind;

/* Stacks to use again, and tasks that could not end yet. Belongs to one thread. */
typedef struct restate__fiber_pool {
    const restate_allocator *allocator;
    restate__fiber *kept;                   /* one of each size of stack; see other_size */
    size_t kept_count, kept_max;
    size_t page_bytes, guard_bytes;
    restate__fiber *orphans;                /* tasks abandoned while they were detached */
} restate__fiber_pool;

#if RESTATE_FIBER == RESTATE_FIBER_ASM
typedef struct restate__fiber_regs {
    void *sp, *fp, *pc;                     /* the switch knows this order */
} restate__fiber_regs;
#elif RESTATE_FIBER == RESTATE_FIBER_UCONTEXT
typedef ucontext_t restate__fiber_regs;
#endif

/* The control block. That of a switched fiber lies at the top of its own stack, so that a parked
 * fiber touches as few pages as possible. */
struct restate__fiber {
#if RESTATE__FIBER_SWITCHES
    restate__fiber_regs here, *owner;       /* first; the owner's are on its own stack */
#endif
    void (*run)(void *arg);
    void *arg;
    restate__fiber *next;                   /* kept: of the same size; else on the pool's orphans */
    restate__fiber *other_size;             /* kept, the first of its size: that of another size */
    uint8_t *stack;                         /* the lowest usable byte; NULL: a task */
    size_t stack_bytes;                     /* from there to the end of the control block */
    bool done;
#if RESTATE__FIBER_SWITCHES
    bool started;
    bool below;                             /* it was left from below its stack; without a guard */
#  ifdef RESTATE__ASAN
    void *fake;                             /* ASan's second stack of the parked fiber */
    const void *owner_stack;
    size_t owner_stack_bytes;
#  endif
#  ifdef RESTATE__TSAN
    void *thread, *owner_thread;            /* what TSan takes them for */
#  endif
#  ifdef RESTATE_VALGRIND
    unsigned valgrind_id;
#  endif
#endif
};

RESTATE__PRIVATE bool restate__fiber_done(const restate__fiber *f) { return f->done; }

#if RESTATE__FIBER_SWITCHES

/* ---- switched fibers: what the tools are told ----
 *
 * A switch is announced as the last act before the jump and confirmed as the first after it, by the
 * side that arrives. All of it is inlined: TSan counts the functions that are entered and left on
 * each side, and a helper would be entered on one side and left on the other. */
#define RESTATE__FIBER_INLINE static inline __attribute__((always_inline))

/* From the owner to the fiber; `*fake` keeps the owner's until it is back. */
RESTATE__FIBER_INLINE void restate__fiber_say_resume(restate__fiber *f, void **fake) {
    (void)f;
    (void)fake;
#ifdef RESTATE__ASAN
    __sanitizer_start_switch_fiber(fake, f->stack, (size_t)((uint8_t *)f - f->stack));
#endif
#ifdef RESTATE__TSAN
    f->owner_thread = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->thread, 0);
#endif
}

RESTATE__FIBER_INLINE void restate__fiber_say_back(void *fake) {
    (void)fake;
#ifdef RESTATE__ASAN
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
}

/* From the fiber to its owner; an ended fiber gives up its fake stack. */
RESTATE__FIBER_INLINE void restate__fiber_say_park(restate__fiber *f) {
    (void)f;
#ifdef RESTATE__ASAN
    __sanitizer_start_switch_fiber(f->done ? NULL : &f->fake, f->owner_stack, f->owner_stack_bytes);
#endif
#ifdef RESTATE__TSAN
    __tsan_switch_to_fiber(f->owner_thread, 0);
#endif
}

RESTATE__FIBER_INLINE void restate__fiber_say_arrived(restate__fiber *f) {
    (void)f;
#ifdef RESTATE__ASAN
    __sanitizer_finish_switch_fiber(f->fake, &f->owner_stack, &f->owner_stack_bytes);
#endif
}

static void restate__fiber_say_new(restate__fiber *f) {
    (void)f;
#ifdef RESTATE__ASAN
    f->fake = NULL;
#endif
#ifdef RESTATE__TSAN
    f->thread = __tsan_create_fiber(0);
#endif
}

/* Its frames are gone, by return or because it was abandoned. The fake stack of the latter is freed
 * as if the fiber were entered and left for good, without a jump; meanwhile this function must not
 * use a fake stack itself. */
#if defined(RESTATE__ASAN)
__attribute__((no_sanitize_address))
#endif
static void restate__fiber_say_over(restate__fiber *f) {
    (void)f;
#ifdef RESTATE__ASAN
    if (f->started && !f->done) {
        const void *stack = NULL;
        size_t stack_bytes = 0;
        void *fake = NULL;
        __sanitizer_start_switch_fiber(&fake, f->stack, (size_t)((uint8_t *)f - f->stack));
        __sanitizer_finish_switch_fiber(f->fake, &stack, &stack_bytes);
        __sanitizer_start_switch_fiber(NULL, stack, stack_bytes);
        __sanitizer_finish_switch_fiber(fake, NULL, NULL);
    }
    __asan_unpoison_memory_region(f->stack, (size_t)((uint8_t *)f - f->stack));
#endif
#ifdef RESTATE__TSAN
    __tsan_destroy_fiber(f->thread);
#endif
}

/* ---- switched fibers: the switch ---- */

static void restate__fiber_leave(restate__fiber *f);

/* The body of every switched fiber; does not return. */
RESTATE__FIBER_INLINE void restate__fiber_body(restate__fiber *f) {
    restate__fiber_say_arrived(f);
    f->run(f->arg);
    f->done = true;
    restate__fiber_leave(f);
}

#if RESTATE_FIBER == RESTATE_FIBER_ASM

/* Saves where it is in `from` and goes on where `to` was saved.
 *
 * To the compiler this is a statement that changes every register but the stack and the frame
 * pointer: it saves what it still needs itself, in the caller's frame. That needs no symbol and
 * survives LTO and RESTATE_STATIC, and nothing is pushed, which the red zone forbids. It leaves by
 * a jump because a return would be predicted to the wrong stack. The landing pads are for code that
 * is compiled for indirect branch tracking; they do nothing elsewhere. */
#if defined(__x86_64__)
RESTATE__FIBER_INLINE void restate__fiber_jump(restate__fiber_regs *from, restate__fiber_regs *to) {
    __asm__ __volatile__(
        "leaq 1f(%%rip), %%rax\n\t"
        "movq %%rsp, (%%rdi)\n\t"
        "movq %%rbp, 8(%%rdi)\n\t"
        "movq %%rax, 16(%%rdi)\n\t"
        "movq (%%rsi), %%rsp\n\t"
        "movq 8(%%rsi), %%rbp\n\t"
        "jmpq *16(%%rsi)\n"
        "1:\n\t"
        ".byte 0xf3, 0x0f, 0x1e, 0xfa"      /* endbr64 */
        : "+D"(from), "+S"(to)
        :
        : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
          "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
          "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
#  ifdef __AVX512F__
          "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",
          "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31",
          "k1", "k2", "k3", "k4", "k5", "k6", "k7",
#  endif
#  ifdef __APX_F__
          "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23",
          "r24", "r25", "r26", "r27", "r28", "r29", "r30", "r31",
#  endif
          "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory");
}
#else
RESTATE__FIBER_INLINE void restate__fiber_jump(restate__fiber_regs *from, restate__fiber_regs *to) {
    register restate__fiber_regs *x0 __asm__("x0") = from;
    register restate__fiber_regs *x1 __asm__("x1") = to;
    __asm__ __volatile__(
        "mov x9, sp\n\t"
        "adr x10, 1f\n\t"
        "stp x9, x29, [x0]\n\t"
        "str x10, [x0, #16]\n\t"
        "ldr x16, [x1, #16]\n\t"            /* a branch through x16 may land on any kind of pad */
        "ldp x9, x29, [x1]\n\t"
        "mov x30, xzr\n\t"                  /* where the entry would return to: nowhere */
        "mov sp, x9\n\t"
        "br x16\n"
        "1:\n\t"
        "hint #36"                          /* bti j */
        : "+r"(x0), "+r"(x1)
        :
        : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
          "x16", "x17",
#  if !defined(__APPLE__) && !defined(__ANDROID__)
          "x18",
#  endif
          "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30",
          "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13",
          "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
          "v27", "v28", "v29", "v30", "v31",
#  ifdef __ARM_FEATURE_SVE
          "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13",
          "p14", "p15", "ffr",
#  endif
          "cc", "memory");
}
#endif

/* Reached by the jump only, whose operands are its arguments. Nothing is above it on the stack:
 * unwinders and debuggers are told to stop here. */
static void restate__fiber_entry(restate__fiber_regs *owner, restate__fiber_regs *here) {
#ifdef __GCC_HAVE_DWARF2_CFI_ASM
#  ifdef __x86_64__
    __asm__ __volatile__(".cfi_undefined 16");
#  else
    __asm__ __volatile__(".cfi_undefined 30");
#  endif
#endif
    (void)owner;
    restate__fiber_body((restate__fiber *)(void *)here);
    __builtin_unreachable();
}

/* On x86-64 a function starts with its return address pushed onto an aligned stack. */
static void restate__fiber_prepare(restate__fiber *f) {
    uintptr_t top = (uintptr_t)f & ~(uintptr_t)15u;
    void (*entry)(restate__fiber_regs *, restate__fiber_regs *) = restate__fiber_entry;
#ifdef __x86_64__
    top -= 24;
    *(uintptr_t *)top = 0;
#endif
    f->here.sp = (void *)top;
    f->here.fp = NULL;
    memcpy(&f->here.pc, &entry, sizeof entry);
}

RESTATE__STATIC_ASSERT(regs_first, offsetof(restate__fiber, here) == 0);

#else /* RESTATE_FIBER_UCONTEXT */

/* makecontext passes on nothing but ints. */
static void restate__fiber_entry(unsigned high, unsigned low) {
    uintptr_t f = (uintptr_t)high << 16 << 16 | low;
    restate__fiber_body((restate__fiber *)f);
}

static void restate__fiber_prepare(restate__fiber *f) {
    uintptr_t self = (uintptr_t)f;
    getcontext(&f->here);
    f->here.uc_stack.ss_sp = f->stack;
    f->here.uc_stack.ss_size = (size_t)((uint8_t *)f - f->stack);
    f->here.uc_link = NULL;
    makecontext(&f->here, (void (*)(void))restate__fiber_entry, 2, (unsigned)(self >> 16 >> 16),
                (unsigned)(self & 0xFFFFFFFFu));
}

#define restate__fiber_jump swapcontext

#endif

static RESTATE__NOINLINE void restate__fiber_enter(restate__fiber *f) {
    restate__fiber_regs owner;
    void *fake = NULL;
    f->owner = &owner;
    restate__fiber_say_resume(f, &fake);
    restate__fiber_jump(&owner, &f->here);
    restate__fiber_say_back(fake);
}

static RESTATE__NOINLINE void restate__fiber_leave(restate__fiber *f) {
#if !RESTATE__STACK_MMAP
#  if defined(__GNUC__)
    if ((uint8_t *)__builtin_frame_address(0) < f->stack) f->below = true;
#  else
    if ((uint8_t *)(void *)&f < f->stack) f->below = true;
#  endif
#endif
    restate__fiber_say_park(f);
    restate__fiber_jump(&f->here, f->owner);
    restate__fiber_say_arrived(f);
}

/* ---- switched fibers: their stacks ---- */

#define RESTATE__STACK_BYTES_MIN 8192u
#define RESTATE__STACK_CANARY 0x7265737461746521u
#define RESTATE__STACK_CANARIES 16u         /* words of 8 bytes */
#define RESTATE__FIBER_BLOCK ((sizeof(restate__fiber) + 63u) & ~(size_t)63u)

#if RESTATE__STACK_MMAP

/* `bytes` of lazily committed memory above a guard, which costs address space and nothing else.
 * NULL: none to be had. */
static uint8_t *restate__fiber_map(restate__fiber_pool *pool, size_t bytes) {
    size_t guard = pool->guard_bytes;
    void *p = mmap(NULL, guard + bytes, PROT_NONE,
                   MAP_PRIVATE | RESTATE__MAP_ANONYMOUS | RESTATE__MAP_STACK |
                       RESTATE__MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (mprotect((uint8_t *)p + guard, bytes, PROT_READ | PROT_WRITE) != 0) {
        munmap(p, guard + bytes);
        return NULL;
    }
    return (uint8_t *)p + guard;
}

static void restate__fiber_unmap(restate__fiber_pool *pool, uint8_t *stack, size_t bytes) {
    munmap(stack - pool->guard_bytes, pool->guard_bytes + bytes);
}

static bool restate__fiber_intact(const restate__fiber *f) {
    (void)f;
    return true;
}

#else

/* Without a guard an overflow is noticed afterwards, at the next switch: one of the lowest words
 * has changed, or the fiber is left from below its stack. */
static uint8_t *restate__fiber_map(restate__fiber_pool *pool, size_t bytes) {
    uint64_t *stack = restate__mem_alloc(pool->allocator, bytes);
    for (size_t i = 0; stack && i < RESTATE__STACK_CANARIES; i++) stack[i] = RESTATE__STACK_CANARY;
    return (uint8_t *)stack;
}

static bool restate__fiber_intact(const restate__fiber *f) {
    const uint64_t *canary = (const uint64_t *)(const void *)f->stack;
    size_t i = 0;
    while (i < RESTATE__STACK_CANARIES && canary[i] == RESTATE__STACK_CANARY) i++;
    return i == RESTATE__STACK_CANARIES && !f->below;
}

static void restate__fiber_unmap(restate__fiber_pool *pool, uint8_t *stack, size_t bytes) {
    restate__mem_free(pool->allocator, stack, bytes);
}

#endif

/* What points to the kept fibers of that size; to NULL: there are none. */
static restate__fiber **restate__fiber_kept(restate__fiber_pool *pool, size_t bytes) {
    restate__fiber **at = &pool->kept;
    while (*at && (*at)->stack_bytes != bytes) at = &(*at)->other_size;
    return at;
}

static restate__fiber *restate__fiber_take_kept(restate__fiber_pool *pool, restate__fiber **at) {
    restate__fiber *f = *at;
    if (f->next) f->next->other_size = f->other_size;
    *at = f->next ? f->next : f->other_size;
    pool->kept_count--;
    return f;
}

static void restate__fiber_keep(restate__fiber_pool *pool, restate__fiber *f) {
    restate__fiber **at = restate__fiber_kept(pool, f->stack_bytes);
    f->next = *at;
    f->other_size = *at ? (*at)->other_size : NULL;
    *at = f;
    pool->kept_count++;
}

/* A control block on a stack of `bytes`: one that was kept, or a new one. */
static restate__fiber *restate__fiber_take(restate__fiber_pool *pool, size_t bytes) {
    restate__fiber **at = restate__fiber_kept(pool, bytes);
    if (*at) return restate__fiber_take_kept(pool, at);
    uint8_t *stack = restate__fiber_map(pool, bytes);
    if (!stack) return NULL;
    restate__fiber *f = (void *)(stack + bytes - RESTATE__FIBER_BLOCK);
    f->stack = stack;
    f->stack_bytes = bytes;
#ifdef RESTATE_VALGRIND
    f->valgrind_id = VALGRIND_STACK_REGISTER(stack, stack + bytes);
#endif
    return f;
}

/* A stack that overflowed is not given back: what lies below it has been written over, which may be
 * the allocator's own. */
static void restate__fiber_drop(restate__fiber_pool *pool, restate__fiber *f) {
#ifdef RESTATE_VALGRIND
    VALGRIND_STACK_DEREGISTER(f->valgrind_id);
#endif
    if (restate__fiber_intact(f)) restate__fiber_unmap(pool, f->stack, f->stack_bytes);
}

static restate__fiber *restate__fiber_new_switched(restate__fiber_pool *pool, size_t stack_bytes,
                                                   void (*run)(void *arg), void *arg) {
    size_t page = pool->page_bytes;
    if (stack_bytes > SIZE_MAX / 8) return NULL;
    stack_bytes *= RESTATE__STACK_FACTOR;
    if (stack_bytes < RESTATE__STACK_BYTES_MIN) stack_bytes = RESTATE__STACK_BYTES_MIN;
    stack_bytes += RESTATE__FIBER_BLOCK;
    restate__fiber *f = restate__fiber_take(pool, (stack_bytes + page - 1) / page * page);
    if (!f) return NULL;
    f->run = run;
    f->arg = arg;
    f->done = f->started = f->below = false;
    restate__fiber_prepare(f);
    restate__fiber_say_new(f);
    return f;
}

static void restate__fiber_free_switched(restate__fiber_pool *pool, restate__fiber *f) {
    restate__fiber_say_over(f);
    if (pool->kept_count < pool->kept_max && restate__fiber_intact(f)) restate__fiber_keep(pool, f);
    else restate__fiber_drop(pool, f);
}

#endif /* RESTATE__FIBER_SWITCHES */

/* ---- which thread this is ---- */

/* Only for telling a mistake: where threads are the port's, or there are none, all are the same. */
#if defined(RESTATE_NO_THREADS) || RESTATE_FIBER == RESTATE_FIBER_CUSTOM
typedef char restate__thread;
static restate__thread restate__thread_this(void) { return 0; }
static bool restate__thread_is_this(restate__thread t) { return t == 0; }
#else
typedef pthread_t restate__thread;
static restate__thread restate__thread_this(void) { return pthread_self(); }
static bool restate__thread_is_this(restate__thread t) {
    return pthread_equal(t, pthread_self()) != 0;
}
#endif

/* ---- threads of the library ---- */

/* The size of a thread's stack, rounded up. The C library takes some of it. */
RESTATE__PRIVATE size_t restate__thread_stack_bytes(size_t bytes) {
    return (bytes * RESTATE__STACK_FACTOR + 3u * 16384u - 1u) & ~(size_t)16383u;
}

#ifndef RESTATE_NO_THREADS

#define RESTATE__THREAD_STACK_BYTES (256u * 1024u)      /* of event loops */
#define RESTATE__CLOSURE_STACK_BYTES ((size_t)1 << 20)  /* code that blocks uses large libraries */

/* What a guard takes of the size of a stack: older C libraries of GNU have it inside. */
#if defined(__GLIBC__) && (__GLIBC__ < 2 || (__GLIBC__ == 2 && __GLIBC_MINOR__ < 27))
#  define RESTATE__STACK_GUARD_TAKES RESTATE__STACK_GUARD
#else
#  define RESTATE__STACK_GUARD_TAKES 0u
#endif

/* The thread has the signal mask of its maker, so in the end all threads have that of the thread
 * that serves. No mask is changed, because what is blocked stays blocked in the programs that user
 * code starts: a child of a closure that does not end at SIGTERM would be this library's fault. So
 * a signal may interrupt any thread, and every call that can fail with EINTR is made again. */
static bool restate__fiber_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *),
                                        void *arg) {
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0) return false;
    /* A rejected size leaves the default, which is larger. */
    (void)pthread_attr_setstacksize(
        &attr, restate__thread_stack_bytes(stack_bytes) + RESTATE__STACK_GUARD_TAKES);
    (void)pthread_attr_setguardsize(&attr, RESTATE__STACK_GUARD);
    bool ok = pthread_create(thread, &attr, run, arg) == 0;
    pthread_attr_destroy(&attr);
    return ok;
}

#endif

/* ---- tasks: fibers that are threads ---- */

#if RESTATE__FIBER_TASKS

#if RESTATE_FIBER == RESTATE_FIBER_CUSTOM

extern void *restate_port_signal_new(void);
extern void restate_port_signal_give(void *signal);
extern void restate_port_signal_take(void *signal);
extern void restate_port_signal_free(void *signal);
extern void *restate_port_task_new(void (*run)(void *arg), void *arg, size_t stack_bytes);
extern void restate_port_task_join(void *task);

#define restate__port_signal_new(allocator) restate_port_signal_new()
#define restate__port_signal_give restate_port_signal_give
#define restate__port_signal_take restate_port_signal_take
#define restate__port_signal_take_for(signal, wait_ms) (restate_port_signal_take(signal), true)
#define restate__port_signal_free(allocator, signal) restate_port_signal_free(signal)
#define restate__port_task_new(allocator, run, arg, bytes) restate_port_task_new(run, arg, bytes)
#define restate__port_task_join(allocator, task) restate_port_task_join(task)

#else

/* The port over pthreads. Its functions take the allocator for what they hand out. */
typedef struct restate__port_signal {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool given;
} restate__port_signal;

typedef struct restate__port_task {
    pthread_t thread;
    void (*run)(void *arg);
    void *arg;
} restate__port_task;

static void *restate__port_signal_new(const restate_allocator *allocator) {
    restate__port_signal *s = restate__mem_zalloc(allocator, sizeof *s);
    if (!s) return NULL;
    if (pthread_mutex_init(&s->lock, NULL) == 0) {
        if (pthread_cond_init(&s->changed, NULL) == 0) return s;
        pthread_mutex_destroy(&s->lock);
    }
    restate__mem_free(allocator, s, sizeof *s);
    return NULL;
}

static void restate__port_signal_give(void *signal) {
    restate__port_signal *s = signal;
    pthread_mutex_lock(&s->lock);
    s->given = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void restate__port_signal_take(void *signal) {
    restate__port_signal *s = signal;
    pthread_mutex_lock(&s->lock);
    while (!s->given) pthread_cond_wait(&s->changed, &s->lock);
    s->given = false;
    pthread_mutex_unlock(&s->lock);
}

/* Waits about `wait_ms` at most. False: the signal was not given. */
RESTATE__PRIVATE bool restate__port_signal_take_for(void *signal, unsigned wait_ms) {
    const struct timespec pause = { 0, 2000000 };
    restate__port_signal *s = signal;
    bool given = false;
    for (wait_ms = wait_ms / 2 + 1; wait_ms && !given; wait_ms--) {
        pthread_mutex_lock(&s->lock);
        given = s->given;
        s->given = false;
        pthread_mutex_unlock(&s->lock);
        if (!given) nanosleep(&pause, NULL);
    }
    return given;
}

static void restate__port_signal_free(const restate_allocator *allocator, void *signal) {
    restate__port_signal *s = signal;
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    restate__mem_free(allocator, s, sizeof *s);
}

static void *restate__port_task_run(void *arg) {
    restate__port_task *task = arg;
    task->run(task->arg);
    return NULL;
}

static void *restate__port_task_new(const restate_allocator *allocator, void (*run)(void *arg),
                                    void *arg, size_t stack_bytes) {
    restate__port_task *task = restate__mem_zalloc(allocator, sizeof *task);
    if (!task) return NULL;
    task->run = run;
    task->arg = arg;
    if (restate__fiber_thread_start(&task->thread, stack_bytes, restate__port_task_run, task))
        return task;
    restate__mem_free(allocator, task, sizeof *task);
    return NULL;
}

static void restate__port_task_join(const restate_allocator *allocator, void *thread) {
    restate__port_task *task = thread;
    pthread_join(task->thread, NULL);
    restate__mem_free(allocator, task, sizeof *task);
}

#endif

/* Invariant: unless it is detached, exactly one of the owner and the task runs; the other waits in
 * a take of `back` or `go`. So only what happens while it is detached needs `lock`: whether it is
 * abandoned before or after it asked to be attached. */
typedef struct restate__fiber_task {
    restate__fiber base;
    const restate_allocator *allocator;
    void *go, *back, *lock;                 /* signals of the port, and its task */
    void *thread;
    bool detached;                          /* set by the task, cleared by the owner's resume */
    bool abandoned;                         /* under `lock`, or before `go` is given */
    bool over;                              /* atomic: the thread is about to end */
    jmp_buf end;                            /* of its thread; the user's frames stay behind */
} restate__fiber_task;

static restate__fiber_task *restate__task_of(restate__fiber *f) {
    return (void *)f;
}

/* On the task: until it is resumed. Does not return when it was abandoned. */
static void restate__task_wait(restate__fiber_task *t) {
    restate__port_signal_take(t->go);
    if (t->abandoned) longjmp(t->end, 1);
}

static void restate__task_body(restate__fiber_task *t) {
    restate__task_wait(t);
    t->base.run(t->base.arg);
    t->base.done = true;
}

static void restate__task_run(void *arg) {
    restate__fiber_task *const t = arg;
    if (setjmp(t->end) == 0) restate__task_body(t);
    restate__port_signal_give(t->back);
    RESTATE__STORE(&t->over, true, RELEASE);
}

static void restate__task_free(restate__fiber_task *t) {
    if (t->go) restate__port_signal_free(t->allocator, t->go);
    if (t->back) restate__port_signal_free(t->allocator, t->back);
    if (t->lock) restate__port_signal_free(t->allocator, t->lock);
    restate__mem_free(t->allocator, t, sizeof *t);
}

/* Waits for the end of its thread. */
static void restate__task_reap(restate__fiber_task *t) {
    restate__port_task_join(t->allocator, t->thread);
    restate__task_free(t);
}

/* Frees the orphans whose thread has ended; all of them, after waiting for it, when `wait`. */
static void restate__task_reap_orphans(restate__fiber_pool *pool, bool wait) {
    restate__fiber **at = &pool->orphans;
    while (*at) {
        restate__fiber_task *t = restate__task_of(*at);
        if (wait || RESTATE__LOAD(&t->over, ACQUIRE)) {
            *at = t->base.next;
            restate__task_reap(t);
        } else {
            at = &t->base.next;
        }
    }
}

static restate__fiber *restate__fiber_new_task(restate__fiber_pool *pool, size_t stack_bytes,
                                               void (*run)(void *arg), void *arg) {
    restate__task_reap_orphans(pool, false);
    if (stack_bytes > SIZE_MAX / 8) return NULL;
    restate__fiber_task *t = restate__mem_zalloc(pool->allocator, sizeof *t);
    if (!t) return NULL;
    t->allocator = pool->allocator;
    t->base.run = run;
    t->base.arg = arg;
    t->go = restate__port_signal_new(t->allocator);
    t->back = restate__port_signal_new(t->allocator);
    t->lock = restate__port_signal_new(t->allocator);
    if (t->go && t->back && t->lock) {
        restate__port_signal_give(t->lock);
        t->thread = restate__port_task_new(t->allocator, restate__task_run, t, stack_bytes);
        if (t->thread) return &t->base;
    }
    restate__task_free(t);
    return NULL;
}

/* A detached task is busy with code of the user: nobody waits for that before the pool is freed. */
static RESTATE__NOINLINE void restate__fiber_free_task(restate__fiber_pool *pool,
                                                       restate__fiber *f) {
    restate__fiber_task *t = restate__task_of(f);
    if (!f->done) {
        restate__port_signal_take(t->lock);
        t->abandoned = true;
        restate__port_signal_give(t->lock);
        restate__port_signal_give(t->go);
    }
    if (f->done || !t->detached) {
        restate__task_reap(t);
        return;
    }
    f->next = pool->orphans;
    pool->orphans = f;
}

#endif /* RESTATE__FIBER_TASKS */

/* ---- fibers: the interface ---- */

RESTATE__PRIVATE void restate__fiber_pool_init(restate__fiber_pool *pool,
                                               const restate_allocator *allocator,
                                               size_t kept_max) {
    *pool = (restate__fiber_pool){ .allocator = allocator, .kept_max = kept_max };
    pool->page_bytes = 64;                  /* what the sizes of stacks are multiples of */
#if RESTATE__FIBER_SWITCHES && RESTATE__STACK_MMAP
    long page = sysconf(_SC_PAGESIZE);
    pool->page_bytes = page > 0 ? (size_t)page : 65536u;
    pool->guard_bytes = RESTATE__STACK_GUARD;
    if (pool->guard_bytes < pool->page_bytes) pool->guard_bytes = pool->page_bytes;
#endif
}

/* Unmaps the stacks that are kept for reuse. */
RESTATE__PRIVATE void restate__fiber_pool_trim(restate__fiber_pool *pool) {
#if RESTATE__FIBER_SWITCHES
    while (pool->kept)
        restate__fiber_drop(pool, restate__fiber_take_kept(pool, &pool->kept));
#else
    (void)pool;
#endif
}

/* All its fibers are freed. Waits for tasks that were abandoned while detached. */
RESTATE__PRIVATE void restate__fiber_pool_free(restate__fiber_pool *pool) {
#if RESTATE__FIBER_TASKS
    restate__task_reap_orphans(pool, true);
#endif
    restate__fiber_pool_trim(pool);
}

/* A fiber that has not run yet: run(arg) begins at the first resume. `stack_bytes` is rounded up.
 * NULL: out of memory, or no thread to be had. */
RESTATE__PRIVATE restate__fiber *restate__fiber_new(restate__fiber_pool *pool,
                                                    restate__fiber_kind kind, size_t stack_bytes,
                                                    void (*run)(void *arg), void *arg) {
    (void)kind;
#if RESTATE__FIBER_TASKS && RESTATE__FIBER_SWITCHES
    if (kind == RESTATE__FIBER_THREAD) return restate__fiber_new_task(pool, stack_bytes, run, arg);
#endif
#if RESTATE__FIBER_SWITCHES
    return restate__fiber_new_switched(pool, stack_bytes, run, arg);
#else
    return restate__fiber_new_task(pool, stack_bytes, run, arg);
#endif
}

/* On the owner's thread: runs it until it parks, detaches or ends. */
RESTATE__PRIVATE void restate__fiber_resume(restate__fiber *f) {
    RESTATE_ASSERT(!f->done);
#if RESTATE__FIBER_SWITCHES
    if (RESTATE__LIKELY(f->stack != NULL)) {
        f->started = true;
        restate__fiber_enter(f);
        return;
    }
#endif
#if RESTATE__FIBER_TASKS
    restate__task_of(f)->detached = false;
    restate__port_signal_give(restate__task_of(f)->go);
    restate__port_signal_take(restate__task_of(f)->back);
#endif
}

/* On the owner's thread, after a resume: whether the fiber wrote below its stack. It is to be freed
 * then, and memory is no longer to be trusted. Where stacks have guards that ends the process. */
RESTATE__PRIVATE bool restate__fiber_overflowed(const restate__fiber *f) {
#if RESTATE__FIBER_SWITCHES
    return f->stack && !restate__fiber_intact(f);
#else
    (void)f;
    return false;
#endif
}

/* On the fiber: back to the owner, until the next resume. Does not return when it is abandoned. */
RESTATE__PRIVATE void restate__fiber_park(restate__fiber *f) {
#if RESTATE__FIBER_SWITCHES
    if (RESTATE__LIKELY(f->stack != NULL)) {
        restate__fiber_leave(f);
        return;
    }
#endif
#if RESTATE__FIBER_TASKS
    restate__port_signal_give(restate__task_of(f)->back);
    restate__task_wait(restate__task_of(f));
#endif
}

/* One that is not done is abandoned: nothing on its stack is run any more, not even destructors. */
RESTATE__PRIVATE void restate__fiber_free(restate__fiber_pool *pool, restate__fiber *f) {
#if RESTATE__FIBER_SWITCHES
    if (RESTATE__LIKELY(f->stack != NULL)) {
        restate__fiber_free_switched(pool, f);
        return;
    }
#endif
#if RESTATE__FIBER_TASKS
    restate__fiber_free_task(pool, f);
#endif
}

/* On a task: lets its owner go on beside it. Until it is attached again it may use nothing of the
 * owner's. Does nothing on a switched fiber. */
RESTATE__PRIVATE void restate__fiber_detach(restate__fiber *f) {
    (void)f;
#ifndef RESTATE_NO_THREADS
    if (f->stack) return;
    restate__task_of(f)->detached = true;
    restate__port_signal_give(restate__task_of(f)->back);
#endif
}

/* On a detached task: asks to be resumed by want(want_arg), and waits for it. `want` runs on this
 * thread and only while the task is not abandoned, so what it posts to is still there; it must not
 * use the fiber. Does not return when it is abandoned, does nothing on a switched fiber. */
RESTATE__PRIVATE void restate__fiber_attach(restate__fiber *f, void (*want)(void *arg),
                                            void *want_arg) {
    (void)f;
    (void)want;
    (void)want_arg;
#ifndef RESTATE_NO_THREADS
    if (f->stack) return;
    restate__fiber_task *t = restate__task_of(f);
    restate__port_signal_take(t->lock);
    bool abandoned = t->abandoned;
    if (!abandoned) want(want_arg);
    restate__port_signal_give(t->lock);
    if (abandoned) longjmp(t->end, 1);
    restate__task_wait(t);
#endif
}

/* ---- what a thread does for the user ---- */

#define RESTATE__DUTY_ID_BYTES 48u
#define RESTATE__DUTY_ID_WORDS (RESTATE__DUTY_ID_BYTES / sizeof(size_t))
#define RESTATE__DUTY_NEVER UINT32_MAX

/* Which handler a thread executes, and since when, for other threads, which look at it at any time.
 * The thread writes it whenever it enters and leaves code of the user, so that is a few plain
 * stores. The names last as long as the endpoint; the invocation id does not, of it there is a
 * copy. */
typedef struct restate__duty {
    unsigned change;                        /* all atomic; odd while the others are being written */
    const char *service, *handler;          /* NULL: no code of the user */
    size_t id[RESTATE__DUTY_ID_WORDS];
    uint32_t since_ms;                      /* the low half: there may be no wider atomics */
    uint32_t patience_ms;                   /* longer is too long; RESTATE__DUTY_NEVER: nothing */
    uint32_t held_ms;                       /* of a copy */
} restate__duty;

/* Stores that are seen in their order, and loads that are done in theirs, need no fences. */
#ifdef RESTATE_NO_THREADS
#  define RESTATE__DUTY_PUT(to, value) ((to) = (value))
#  define RESTATE__DUTY_GET(from) (from)
#else
#  define RESTATE__DUTY_PUT(to, value) RESTATE__STORE(&(to), value, RELEASE)
#  define RESTATE__DUTY_GET(from) RESTATE__LOAD(&(from), ACQUIRE)
#endif

static void restate__duty_begin(restate__duty *duty, const char *service, const char *handler,
                                restate_bytes id, uint64_t now_ms, uint32_t patience_ms) {
    size_t n = id.len < RESTATE__DUTY_ID_BYTES ? id.len : RESTATE__DUTY_ID_BYTES - 1;
    size_t at = 0, word, *to = duty->id;
    unsigned change = duty->change;
    RESTATE__DUTY_PUT(duty->change, change + 1);
    for (; at + sizeof word <= n; at += sizeof word) {
        memcpy(&word, id.ptr + at, sizeof word);
        RESTATE__DUTY_PUT(*to++, word);
    }
    uint8_t rest[sizeof word] = { 0 };
    for (size_t i = 0; at < n; i++) rest[i] = id.ptr[at++];
    memcpy(&word, rest, sizeof word);
    RESTATE__DUTY_PUT(*to, word);
    RESTATE__DUTY_PUT(duty->since_ms, (uint32_t)now_ms);
    RESTATE__DUTY_PUT(duty->patience_ms, patience_ms);
    RESTATE__DUTY_PUT(duty->service, service);
    RESTATE__DUTY_PUT(duty->handler, handler);
    RESTATE__DUTY_PUT(duty->change, change + 2);
}

static void restate__duty_end(restate__duty *duty) {
    RESTATE__DUTY_PUT(duty->handler, (const char *)NULL);
    RESTATE__DUTY_PUT(duty->change, duty->change + 2);
}

/* On any thread: what it is, where that lasted at least `held_ms` at `now_ms`. */
RESTATE__PRIVATE bool restate__duty_read(const restate__duty *duty, restate__duty *copy,
                                         uint64_t now_ms, uint32_t held_ms) {
    copy->change = RESTATE__DUTY_GET(duty->change);
    for (size_t i = 0; i < RESTATE__DUTY_ID_WORDS; i++)
        copy->id[i] = RESTATE__DUTY_GET(duty->id[i]);
    copy->since_ms = RESTATE__DUTY_GET(duty->since_ms);
    copy->patience_ms = RESTATE__DUTY_GET(duty->patience_ms);
    copy->service = RESTATE__DUTY_GET(duty->service);
    copy->handler = RESTATE__DUTY_GET(duty->handler);
    copy->held_ms = (uint32_t)now_ms - copy->since_ms;
    if (copy->held_ms > UINT32_MAX / 2) copy->held_ms = 0;      /* `now_ms` is a little older */
    return copy->handler && !(copy->change & 1u) && copy->held_ms >= held_ms &&
           RESTATE__DUTY_GET(duty->change) == copy->change;
}

/* The invocation id of a copy that was read. */
RESTATE__PRIVATE const char *restate__duty_id(restate__duty *copy, char *text) {
    memcpy(text, copy->id, RESTATE__DUTY_ID_BYTES);
    text[RESTATE__DUTY_ID_BYTES - 1] = 0;
    restate__log_line(text);
    return text;
}

/* ---- the lock of what belongs to the process ----
 *
 * Dispositions of signals belong to the process, so code that changes them keeps a global.
 * `*locked` is the number of the process whose thread has the lock, or 0. A child that fork() made
 * has another number, so a lock that was copied with the memory counts as free. Without threads of
 * the library there is nobody to wait for. */

#if !defined(RESTATE_NO_THREADS)
#  include <sched.h>
#  include <unistd.h>
RESTATE__PRIVATE void restate__signals_lock(int *locked) {
    int self = (int)getpid(), found = 0;
    while (!RESTATE__CAS(locked, &found, self)) {
        if (found != self) continue;
        found = 0;
        sched_yield();
    }
}
#else
RESTATE__PRIVATE void restate__signals_lock(int *locked) { (void)locked; }
#endif
RESTATE__PRIVATE void restate__signals_unlock(int *locked) { RESTATE__STORE(locked, 0, RELEASE); }

#if RESTATE_FIBER != RESTATE_FIBER_CUSTOM && defined(RESTATE__MAP_ANONYMOUS) && defined(SA_ONSTACK)
#  define RESTATE__CRASH 1
#else
#  define RESTATE__CRASH 0
#endif

#if RESTATE__CRASH || !defined(RESTATE_NO_SERVER)
#  include <signal.h>

/* Some signals, and what the process did on them before their handler was installed. */
typedef void restate__signals_handler(int number, siginfo_t *info, void *context);
typedef struct restate__signals {
    int count, numbers[5];
    struct sigaction before[5];
} restate__signals;

static bool restate__signals_installed(int number, restate__signals_handler *handler,
                                       struct sigaction *now) {
    return sigaction(number, NULL, now) == 0 && (now->sa_flags & SA_SIGINFO) &&
           now->sa_sigaction == handler;
}

/* What is ignored stays so, as under nohup. A handler that fork() copied is installed already. */
RESTATE__PRIVATE void restate__signals_install(restate__signals *s,
                                               restate__signals_handler *handler, int flags) {
    struct sigaction ours = { .sa_flags = flags | SA_SIGINFO };
    ours.sa_sigaction = handler;            /* the member may be a macro */
#ifdef SA_ONSTACK
    ours.sa_flags |= SA_ONSTACK;
#endif
    sigemptyset(&ours.sa_mask);
    for (int i = 0; i < s->count; i++) {
        struct sigaction now = { .sa_flags = 0 };
        if (restate__signals_installed(s->numbers[i], handler, &now)) continue;
        s->before[i] = now;
        if (now.sa_handler != SIG_IGN) (void)sigaction(s->numbers[i], &ours, NULL);
    }
}

/* What the program itself has installed meanwhile is left alone. */
RESTATE__PRIVATE void restate__signals_restore(const restate__signals *s,
                                               restate__signals_handler *handler) {
    struct sigaction now;
    for (int i = 0; i < s->count; i++)
        if (restate__signals_installed(s->numbers[i], handler, &now))
            (void)sigaction(s->numbers[i], &s->before[i], NULL);
}

/* In the handler: the signal does what it did before. `again`: it is sent once more. */
RESTATE__PRIVATE void restate__signals_pass_on(const restate__signals *s, int number, bool again) {
    for (int i = 0; i < s->count; i++)
        if (s->numbers[i] == number) (void)sigaction(number, &s->before[i], NULL);
    if (again) (void)raise(number);
}
#endif

/* ---- whose fault a crash is ----
 *
 * Dispositions of signals belong to the process, so this is a global, and only .crash_report uses
 * it. It counts the endpoints with that option: the first one installs the signal handlers, the
 * last one removes them. Signal handlers only read what their own thread wrote, and call only
 * async-signal-safe functions. */

/* The handler or closure that a thread executes; on its stack, for that time. */
typedef struct restate__crash {
    const char *service, *handler, *closure;
    restate_bytes id;
    const char *option;                     /* the one that sets `stack_bytes` */
    size_t stack_bytes;
    uintptr_t low, high;                    /* an access that fails between them is an overflow */
    struct restate__crash *outer;
    bool entered;                           /* restate__crash_now points to it */
} restate__crash;

#if RESTATE__CRASH

#ifdef RESTATE_NO_THREADS
#  define RESTATE__CRASH_LOCAL
#elif defined(__ELF__)                      /* a signal handler's first look allocates no memory */
#  define RESTATE__CRASH_LOCAL __thread __attribute__((tls_model("initial-exec")))
#else
#  define RESTATE__CRASH_LOCAL __thread
#endif
#define RESTATE__CRASH_STACK_BYTES ((size_t)64 << 10) /* the system commits what is used of it */

static struct {
    int locked;                             /* atomic: by a thread of the process of that number */
    unsigned users;                         /* atomic: endpoints */
    int pid;                                /* atomic: not that of a child that user code forked */
    bool hooked;                            /* the atexit() */
#ifndef RESTATE_NO_THREADS
    bool has_key;
    pthread_key_t key;                      /* of a thread's signal stack */
#endif
    restate__signals signals;
} restate__crashes = { .signals = { 5, { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT },
                                    { { .sa_flags = 0 } } } };

static RESTATE__CRASH_LOCAL restate__crash *restate__crash_now;
static RESTATE__CRASH_LOCAL bool restate__crash_armed;

typedef struct restate__crash_text {
    size_t len;
    char at[640];
} restate__crash_text;

static void restate__crash_put(restate__crash_text *t, const char *text, size_t len) {
    for (size_t i = 0; i < len && text[i] && t->len < sizeof t->at - 1; i++)
        t->at[t->len++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
}

static void restate__crash_number(restate__crash_text *t, uintptr_t n, unsigned base) {
    char digits[24];
    size_t at = sizeof digits;
    do digits[--at] = "0123456789abcdef"[n % base];
    while (n /= base);
    restate__crash_put(t, digits + at, sizeof digits - at);
}

/* printf() is not async-signal-safe. This one knows %s, and %u and %x of an uintptr_t. */
static void restate__crash_print(restate__crash_text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    for (const char *next; *format; format = next) {
        next = format + strcspn(format, "%");
        restate__crash_put(t, format, (size_t)(next - format));
        if (!*next) break;
        if (next[1] == 's') restate__crash_put(t, va_arg(args, const char *), 128);
        else restate__crash_number(t, va_arg(args, uintptr_t), next[1] == 'u' ? 10 : 16);
        next += 2;
    }
    va_end(args);
}

static void restate__crash_where(restate__crash_text *t, const restate__crash *c) {
    if (!c) {
        restate__crash_print(t, " outside of handlers");
        return;
    }
    restate__crash_print(t, " in handler %s/%s, invocation ", c->service, c->handler);
    restate__crash_put(t, (const char *)c->id.ptr, c->id.len < 64 ? c->id.len : 64);
    if (c->closure) restate__crash_print(t, ", closure %s", c->closure);
}

static void restate__crash_write(restate__crash_text *t) {
    t->at[t->len++] = '\n';
    ssize_t n = write(2, t->at, t->len);
    (void)n;
}

static const char *restate__crash_name(int number) {
    return number == SIGSEGV ? "SIGSEGV" : number == SIGBUS ? "SIGBUS" : number == SIGFPE ? "SIGFPE"
         : number == SIGILL ? "SIGILL" : "SIGABRT";
}

static void restate__crash_say(int number, const siginfo_t *info) {
    const restate__crash *c = restate__crash_now;
    bool fault = info->si_code > 0;         /* nobody sent it */
#ifdef SI_KERNEL                            /* Linux, of an address that no pointer can have: 0 */
    bool known = info->si_code != SI_KERNEL;
#else
    bool known = true;
#endif
    uintptr_t address = fault ? (uintptr_t)info->si_addr : 0;
    restate__crash_text t = { .len = 0 };
    restate__crash_print(&t, "restate: signal %u (%s)",
                         (uintptr_t)number, restate__crash_name(number));
    if (fault && !known)
        restate__crash_print(&t, " at an address that the system does not tell");
    else if (fault)
        restate__crash_print(&t, " at address 0x%x", address);
    restate__crash_where(&t, c);
    if (fault && known && c && address >= c->low && address < c->high)
        restate__crash_print(&t, ": stack overflow: raise %s (now %u)", c->option,
                             (uintptr_t)c->stack_bytes);
    restate__crash_write(&t);
}

/* The one before gets the signal when this returns: a fault happens again, what was sent is sent
 * again. */
static void restate__crash_on_signal(int number, siginfo_t *info, void *context) {
    int error = errno;
    (void)context;
    if ((int)getpid() == RESTATE__LOAD(&restate__crashes.pid, RELAXED))
        restate__crash_say(number, info);
    restate__signals_pass_on(&restate__crashes.signals, number, info->si_code <= 0);
    errno = error;
}

/* The thread that calls exit() executes this. */
static void restate__crash_on_exit(void) {
    if (!restate__crash_now || (int)getpid() != RESTATE__LOAD(&restate__crashes.pid, RELAXED))
        return;
    restate__crash_text t = { .len = 0 };
    restate__crash_print(&t, "restate: exit() was called");
    restate__crash_where(&t, restate__crash_now);
    restate__crash_write(&t);
}

#ifndef RESTATE_NO_THREADS
static void restate__crash_disarm(void *stack) {
    stack_t none = { .ss_flags = SS_DISABLE, .ss_size = RESTATE__CRASH_STACK_BYTES };
    if (sigaltstack(&none, NULL) == 0) munmap(stack, RESTATE__CRASH_STACK_BYTES);
}
#endif

/* Once per thread. Without memory for it an overflow goes without a report. */
static void restate__crash_arm(void) {
    stack_t stack;
    restate__crash_armed = true;
    if (sigaltstack(NULL, &stack) || !(stack.ss_flags & SS_DISABLE)) return;
    stack = (stack_t){ .ss_size = RESTATE__CRASH_STACK_BYTES };
    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | RESTATE__MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED) return;
    if (sigaltstack(&stack, NULL)) {
        munmap(stack.ss_sp, stack.ss_size);
        return;
    }
#ifndef RESTATE_NO_THREADS
    if (restate__crashes.has_key) (void)pthread_setspecific(restate__crashes.key, stack.ss_sp);
#endif
}

static void restate__crash_enter(void) {
    restate__signals_lock(&restate__crashes.locked);
    RESTATE__STORE(&restate__crashes.pid, (int)getpid(), RELAXED);
    if (!restate__crashes.hooked) restate__crashes.hooked = atexit(restate__crash_on_exit) == 0;
#ifndef RESTATE_NO_THREADS
    if (!restate__crashes.has_key)
        restate__crashes.has_key =
            pthread_key_create(&restate__crashes.key, restate__crash_disarm) == 0;
#endif
    if (!restate__crashes.users)
        restate__signals_install(&restate__crashes.signals, restate__crash_on_signal, 0);
    RESTATE__ADD(&restate__crashes.users, 1u, RELEASE);
    restate__signals_unlock(&restate__crashes.locked);
}

static void restate__crash_leave(void) {
    restate__signals_lock(&restate__crashes.locked);
    RESTATE__SUB(&restate__crashes.users, 1u, RELEASE);
    if (!restate__crashes.users)
        restate__signals_restore(&restate__crashes.signals, restate__crash_on_signal);
    restate__signals_unlock(&restate__crashes.locked);
}

/* Whether the rest of `c` is to be filled in, for restate__crash_begin(). */
static bool restate__crash_wanted(restate__crash *c) {
    return c->entered = RESTATE__LOAD(&restate__crashes.users, ACQUIRE) > 0;
}

/* `c` says all but the stack, which is that of `fiber`; without one, of this thread, unless `c` is
 * within something else on it. The lowest byte of a thread's stack is a little above `low` + the
 * guard. */
static RESTATE__NOINLINE void restate__crash_begin(restate__crash *c, const restate__fiber *fiber) {
    if (!restate__crash_armed) restate__crash_arm();
    c->outer = restate__crash_now;
    if (fiber && fiber->stack) {
        c->high = (uintptr_t)fiber->stack;
        c->low = c->high - RESTATE__STACK_GUARD;
    } else if (c->outer) {
        c->low = c->outer->low;
        c->high = c->outer->high;
        c->option = c->outer->option;
        c->stack_bytes = c->outer->stack_bytes;
    } else {
        size_t bytes = restate__thread_stack_bytes(c->stack_bytes);
        c->low = (uintptr_t)(void *)c - bytes - RESTATE__STACK_GUARD;
        c->high = (uintptr_t)(void *)c - bytes + 65536u;
    }
    restate__crash_now = c;
}
static void restate__crash_end(const restate__crash *c) {
    if (c->entered) restate__crash_now = c->outer;
}

#else

static void restate__crash_enter(void) {}
static void restate__crash_leave(void) {}
static bool restate__crash_wanted(restate__crash *c) { return c->entered = false; }
static void restate__crash_begin(restate__crash *c, const restate__fiber *fiber) {
    (void)c;
    (void)fiber;
}
static void restate__crash_end(const restate__crash *c) { (void)c; }

#endif

/* ---- the worker ---- */

/* Something to do later on the worker's thread; embedded in what it is about, which must not be
 * freed while the note is queued. Posting it again meanwhile changes nothing: it is delivered once,
 * after the last post. */
typedef struct restate__note {
    struct restate__note *next;
    void (*deliver)(struct restate__note *);
    bool queued;                            /* atomic */
} restate__note;

#define RESTATE__WORKER_TURN_MAX 1024u

/* What the handlers of one thread share. Belongs to that thread, but for _post. */
typedef struct restate__worker {
    const restate_allocator *allocator;
    restate__cache cache;
    restate__chunk *kept[RESTATE__CACHE_CLASSES];   /* of the cache */
    restate__fiber_pool fibers;
    void (*wake)(void *user);               /* on any thread: makes the owner call _turn soon; */
    void *wake_user;                        /* NULL: nobody waits */
    restate__note *first, *last;            /* ready, in the order of delivery */
    restate__note *inbox;                   /* atomic: posted, the latest first */
    size_t exchanges;                       /* its owner's: those that are not freed yet, */
    size_t exchanges_most;                  /* and the most at a time since its owner looked */
    struct restate__attempt *attempts;      /* of these, those of handlers */
    struct restate__watch *watched;         /* closures that wait for a descriptor to be told */
    restate__duty duty;                     /* what the thread is at */
} restate__worker;

/* Sets `queued` and gives what it was. What was done before a post is seen by the delivery: both
 * exchange, so the one that comes second sees what the first one published. */
static bool restate__note_mark(restate__note *note, bool queued) {
    return RESTATE__EXCHANGE(bool, &note->queued, queued, ACQ_REL);
}

/* `wake` is set by the caller, before anybody else knows the worker. */
RESTATE__PRIVATE void restate__worker_init(restate__worker *w, const restate_allocator *allocator,
                                           size_t cache_bytes, size_t fibers_kept_max) {
    *w = (restate__worker){ .allocator = allocator };
    restate__cache_init(&w->cache, allocator, w->kept, cache_bytes);
    restate__fiber_pool_init(&w->fibers, allocator, fibers_kept_max);
}

/* Frees what is kept for reuse. */
RESTATE__PRIVATE void restate__worker_trim(restate__worker *w) {
    restate__fiber_pool_trim(&w->fibers);
    restate__cache_free(&w->cache);
    w->cache.freed_bytes = 0;
}

/* Nobody posts any more; notes that are still queued are not delivered. */
RESTATE__PRIVATE void restate__worker_free(restate__worker *w) {
    restate__fiber_pool_free(&w->fibers);
    restate__cache_free(&w->cache);
    w->first = w->last = w->inbox = NULL;
}

/* On the worker's thread; does not wake. */
RESTATE__PRIVATE void restate__worker_later(restate__worker *w, restate__note *note) {
    if (restate__note_mark(note, true)) return;
    note->next = NULL;
    if (w->last) w->last->next = note;
    else w->first = note;
    w->last = note;
}

/* On any thread. Only a post that finds the inbox empty wakes: the owner takes all at once. */
RESTATE__PRIVATE void restate__worker_post(restate__worker *w, restate__note *note) {
    if (restate__note_mark(note, true)) return;
    restate__note *head = RESTATE__LOAD(&w->inbox, RELAXED);
    do note->next = head;
    while (!RESTATE__CAS(&w->inbox, &head, note));
    if (!head && w->wake) w->wake(w->wake_user);
}

/* Whether something was posted. */
RESTATE__PRIVATE bool restate__worker_waits(const restate__worker *w) {
    return RESTATE__LOAD(&w->inbox, SEQ_CST) != NULL;
}

/* Moves the inbox behind what is ready, the earliest first. */
static void restate__worker_collect(restate__worker *w) {
    if (!RESTATE__LOAD(&w->inbox, RELAXED)) return;
    restate__note *note = RESTATE__EXCHANGE(pointer, &w->inbox, (restate__note *)NULL, ACQ_REL);
    restate__note *last = note, *turned = NULL;
    while (note) {
        restate__note *next = note->next;
        note->next = turned;
        turned = note;
        note = next;
    }
    if (w->last) w->last->next = turned;
    else w->first = turned;
    w->last = last;
}

/* Delivers until nothing is left, or RESTATE__WORKER_TURN_MAX notes; true: there is more. A note
 * may be queued again, or freed, by its own delivery. */
RESTATE__PRIVATE bool restate__worker_turn(restate__worker *w) {
    restate__worker_collect(w);
    for (uint32_t n = 0; n < RESTATE__WORKER_TURN_MAX; n++) {
        if (!w->first) restate__worker_collect(w);
        restate__note *note = w->first;
        if (!note) return false;
        w->first = note->next;
        if (!w->first) w->last = NULL;
        (void)restate__note_mark(note, false);
        note->deliver(note);
    }
    if (!w->first) restate__worker_collect(w);
    return w->first != NULL;
}

/* ---- the closure pool ---- */

#ifndef RESTATE_NO_THREADS

typedef struct restate__job {
    struct restate__job *next, *prev;
    void (*run)(struct restate__job *);     /* may free the job, and may submit */
    bool queued;                            /* under the pool's lock: no thread has it yet */
} restate__job;

typedef struct restate__pool restate__pool;

typedef struct restate__pool_thread {
    struct restate__pool_thread *next;      /* of all */
    struct restate__pool_thread *next_idle;
    restate__pool *pool;
    pthread_t thread;
    pthread_cond_t call;
    bool called;                            /* it is the one on its way */
} restate__pool_thread;

/* Threads for closures, started on demand; any thread may submit, and withdraw what it submitted.
 *
 * Invariant, under `lock`: while jobs wait, one thread is on its way to them, or all `threads_max`
 * are busy (or no more could be started). The one that comes takes the first job and, before it
 * executes it, calls the next thread if more wait. So no job waits for another one to end; but of
 * several jobs at once the submitter pays for one wake-up, and short ones, taken by whoever is done
 * first, need few. */
struct restate__pool {
    const restate_allocator *allocator;
    pthread_mutex_t lock;
    restate__pool_thread *all, *idle;       /* idle: the one that became so last comes first */
    restate__job *first, *last;
    uint32_t threads, threads_max;
    size_t stack_bytes;                     /* of each thread */
    bool coming;                            /* a thread is on its way */
    bool closing;
};

RESTATE__PRIVATE bool restate__pool_init(restate__pool *pool, const restate_allocator *allocator,
                                         uint32_t threads_max) {
    memset(pool, 0, sizeof *pool);
    pool->allocator = allocator;
    pool->threads_max = threads_max;
    pool->stack_bytes = RESTATE__CLOSURE_STACK_BYTES;
    return pthread_mutex_init(&pool->lock, NULL) == 0;
}

/* Under the lock. */
static void restate__pool_unlink(restate__pool *pool, restate__job *job) {
    *(job->prev ? &job->prev->next : &pool->first) = job->next;
    *(job->next ? &job->next->prev : &pool->last) = job->prev;
    job->queued = false;
}

static restate__job *restate__pool_pop(restate__pool *pool) {
    restate__job *job = pool->first;
    if (job) restate__pool_unlink(pool, job);
    return job;
}

static void *restate__pool_thread_run(void *arg);

/* Under the lock: one more thread, on its way. */
static bool restate__pool_grow(restate__pool *pool) {
    restate__pool_thread *t;
    if (pool->threads >= pool->threads_max) return false;
    t = restate__mem_zalloc(pool->allocator, sizeof *t);
    if (!t) return false;
    t->pool = pool;
    t->called = true;
    if (pthread_cond_init(&t->call, NULL) == 0) {
        if (restate__fiber_thread_start(&t->thread, pool->stack_bytes, restate__pool_thread_run,
                                        t)) {
            t->next = pool->all;
            pool->all = t;
            pool->threads++;
            return true;
        }
        pthread_cond_destroy(&t->call);
    }
    restate__mem_free(pool->allocator, t, sizeof *t);
    return false;
}

/* Under the lock: calls a thread if jobs wait and none is on its way. */
static void restate__pool_call(restate__pool *pool) {
    restate__pool_thread *t = pool->idle;
    if (!pool->first || pool->coming) return;
    if (t) {
        pool->idle = t->next_idle;
        t->called = pool->coming = true;
        pthread_cond_signal(&t->call);
    } else {
        pool->coming = restate__pool_grow(pool);
    }
}

/* Under the lock: the next job for `t`, after waiting for one; NULL: the pool is closing. */
static restate__job *restate__pool_next(restate__pool *pool, restate__pool_thread *t) {
    restate__job *job;
    for (;;) {
        if (t->called) t->called = pool->coming = false;
        job = restate__pool_pop(pool);
        if (job || pool->closing) break;
        t->next_idle = pool->idle;
        pool->idle = t;
        while (!t->called && !pool->closing) pthread_cond_wait(&t->call, &pool->lock);
    }
    restate__pool_call(pool);
    return job;
}

static void *restate__pool_thread_run(void *arg) {
    restate__pool_thread *t = arg;
    restate__pool *pool = t->pool;
    restate__job *job;
    pthread_mutex_lock(&pool->lock);
    while ((job = restate__pool_next(pool, t)) != NULL) {
        pthread_mutex_unlock(&pool->lock);
        job->run(job);
        pthread_mutex_lock(&pool->lock);
    }
    pool->threads--;
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* The job is the pool's until it runs. false: no thread could be started and none exists. */
RESTATE__PRIVATE bool restate__pool_submit(restate__pool *pool, restate__job *job) {
    job->next = NULL;
    pthread_mutex_lock(&pool->lock);
    job->queued = true;
    job->prev = pool->last;
    *(pool->last ? &pool->last->next : &pool->first) = job;
    pool->last = job;
    restate__pool_call(pool);
    bool ok = pool->threads > 0;
    if (!ok) restate__pool_unlink(pool, job);
    pthread_mutex_unlock(&pool->lock);
    return ok;
}

/* true: no thread has taken the job, and none will. */
RESTATE__PRIVATE bool restate__pool_withdraw(restate__pool *pool, restate__job *job) {
    bool queued;
    pthread_mutex_lock(&pool->lock);
    queued = job->queued;
    if (queued) restate__pool_unlink(pool, job);
    pthread_mutex_unlock(&pool->lock);
    return queued;
}

/* Under the lock: threads end when nothing is queued. */
static void restate__pool_close(restate__pool *pool) {
    pool->closing = true;
    for (restate__pool_thread *t = pool->idle; t; t = t->next_idle) pthread_cond_signal(&t->call);
    pool->idle = NULL;
}

/* Instead of _free, when a job does not end: nobody waits for it, and the pool stays. */
RESTATE__PRIVATE void restate__pool_abandon(restate__pool *pool) {
    pthread_mutex_lock(&pool->lock);
    restate__pool_close(pool);
    for (restate__pool_thread *t = pool->all; t; t = t->next) pthread_detach(t->thread);
    pthread_mutex_unlock(&pool->lock);
}

/* Executes what is queued and what that submits, then joins all threads. Nobody else submits. */
RESTATE__PRIVATE void restate__pool_free(restate__pool *pool) {
    restate__pool_thread *t;
    pthread_mutex_lock(&pool->lock);
    restate__pool_close(pool);
    while ((t = pool->all) != NULL) {
        pool->all = t->next;
        pthread_mutex_unlock(&pool->lock);
        pthread_join(t->thread, NULL);
        pthread_cond_destroy(&t->call);
        restate__mem_free(pool->allocator, t, sizeof *t);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_destroy(&pool->lock);
}

#endif

/* ================================================================================================
// >>context  attempts, closures, futures, the calls of a handler
//                                             [restate__ctx_ restate__attempt_ restate__watch_]
// The blocking calls of a handler, made of journal and stack.
================================================================================================ */

/* How a call waits. A handler runs on a fiber. Where the journal has no answer yet the fiber parks,
 * and its worker goes on with others. Whatever may change the answer - input, the end of a closure,
 * room in the output, the loss of the connection - queues the attempt's `turn` note, whose delivery
 * resumes the fiber; it asks the journal again. So there are no conditions to keep: a wake-up too
 * many is harmless.
 *
 * A blocking handler is the same on a thread of its own, which is let go ("detached") while it
 * executes the user's code and called back ("attached") for the time of each call. The worker
 * stands still meanwhile, so that journal and memory need no locks. */

#define RESTATE__CALLS_AFTER_END_MAX 100000u
#define RESTATE__OUT_BYTES_MAX (256u << 10) /* more unsent output holds a handler back */
#define RESTATE__SIBLINGS_MS 30000u         /* from a failed run until others are told to stop */
#ifndef RESTATE_STACK_BYTES
#  define RESTATE_STACK_BYTES (64u << 10)
#endif

/* A handler with its options resolved. Made with the endpoint and never changed. */
typedef struct restate__handler {
    const char *service, *name;
    restate_kind kind;
    bool shared;
    restate_handler_fn *fn;
    restate_options options;                /* the nearest ones; zero: not set */
    restate__policy run_policy;             /* of its run_retry */
    uint32_t patience_ms;                   /* of its stall_warning_ms; or RESTATE__DUTY_NEVER */
    unsigned forbids;                       /* RESTATE__RULE_ bits: what it may not do */
    const restate_hooks *hooks[3];          /* of endpoint, service and handler, those there are */
    size_t hook_count;
    const restate_handler *source;          /* endpoint's copy: payloads, documentation */
    bool no_input, no_output;               /* RESTATE_VOID: no bytes are let in, or sent */
    const char *takers;                     /* the handlers that take the key this one holds; NULL:
                                               it holds none */
} restate__handler;

typedef struct restate__owned {             /* to be released with the invocation's memory */
    struct restate__owned *next;
    void *object;
    void (*release)(void *object);
} restate__owned;

/* A failure that was given to the user, and the status it was given with. */
typedef struct restate__failed {
    restate__map_node node;                 /* first; the key is `failure`, the pointer */
    const restate_failure *failure;
    restate_status as;
} restate__failed;

typedef struct restate__unstable {          /* bytes that an unstable codec made */
    restate__map_node node;                 /* first; the key is `ptr` */
    const uint8_t *ptr;
} restate__unstable;

/* What handlers and closures have in common. */
struct restate_ctx {
    struct restate__attempt *attempt;
    struct restate__run *run;               /* NULL: the handler's */
    restate__arena *memory;                 /* for what the user asks for */
    bool over;                              /* every call returns RESTATE_ENDED */
    bool reply_unstable;                    /* equal replies may have different bytes */
    bool retry;                             /* closures: `error` says why */
    restate_bytes reply;
    restate__map_node *unstable;            /* what unstable codecs made */
    restate__map_node *failures;            /* of restate__failed: all that were given */
    struct restate__failed *failed;         /* the latest; NULL: nothing failed yet */
    restate__vm_error error;
    restate__owned *owned;
};

typedef enum restate__future_kind {
    RESTATE__FUTURE_NONE,
    RESTATE__FUTURE_RESULT,                 /* sealed where there is a seal */
    RESTATE__FUTURE_ID,                     /* of what was sent */
    RESTATE__FUTURE_SETTLED                 /* by the handler, without a seal */
} restate__future_kind;

struct restate_future {
    restate__node node;                     /* first: a node that executes is its future */
    restate_ctx *ctx;
    restate__future_kind kind;
    restate__node *id;                      /* calls and sends: their invocation id */
    restate_closure *closure;               /* runs */
    void *arg;
    uint64_t timeout_ms;
    restate__policy policy;
    bool inline_ok, timed;
    struct restate__run *run;               /* while it executes */
    restate_bytes opened;                   /* the value without its seal, once it was read */
    restate_future *next_free;
};

struct restate_selector {
    restate__node node;                     /* a SELECT */
    restate_ctx *ctx;
    size_t count;                           /* of the array it was made from */
};

enum {
    RESTATE__STOP_ENDED = 1,    /* the attempt is over */
    RESTATE__STOP_CANCELLED = 2 /* a cancellation came that the handler was not told of */
};

/* The life of an attempt: where its handler is.
 *
 *     NEW --start--> RUNNING --park--> PARKED      waits for the journal; a turn resumes it
 *      |             |  |  ^ <-resume-    |
 *      |             |  |  |
 *      |             |  +--detach--> DETACHED      blocking handlers: the user's code executes
 *      |             |     ^ <-attach-   |
 *      |             |
 *      +--fails------+--returns--> DONE            its host frees it when no closure executes and
 *                                                  no turn is queued: restate__attempt_over()
 *
 * What ends it comes on top of that, in this order, though each step may be skipped:
 * 1. The journal is CLOSED or ERRORED, or the stream is gone (`cut`): nothing is sent any more. The
 *    next call of the handler finds that out.
 * 2. `ctx.over`: calls give RESTATE_ENDED, no closure is begun. Set by restate__ctx_end(), alone.
 * 3. The handler returns; or it is `abandoned`, as it called on and on or wrote below its stack:
 *    its fiber is not resumed.
 * 4. DONE. */
typedef enum restate__attempt_state {
    RESTATE__ATTEMPT_NEW,
    RESTATE__ATTEMPT_RUNNING,
    RESTATE__ATTEMPT_PARKED,
    RESTATE__ATTEMPT_DETACHED,
    RESTATE__ATTEMPT_DONE
} restate__attempt_state;

/* The closures of an attempt. */
typedef struct restate__closures {
#ifndef RESTATE_NO_THREADS
    restate__pool *pool;
#endif
    unsigned executing;                     /* on other threads, or on their way there */
    restate_ctx *on_handler;                /* the one that executes on the handler's stack */
    unsigned doubts;                        /* atomic: runs that failed, of which the journal is to
                                               say what that means */
    uint32_t failed_at;                     /* atomic: when a run failed whose error waits for other
                                               closures; 0: none has */
    struct restate__run *spare;             /* finished ones, their memory to be used on */
    struct restate__run *live;              /* those that execute, or wait for a thread */
    struct restate__run *all;               /* for their memory's sake */
    restate_request_info info;              /* what restate_request() gives them */
    bool info_ready;
} restate__closures;

/* Futures of an attempt that are not the handler's alone. */
typedef struct restate__futures {
    restate_future *unused;                 /* of blocking calls, to be used again */
    restate__node **select_nodes;           /* of restate_select() */
    size_t select_room;
} restate__futures;

/* What the handler was called with. */
typedef struct restate__request {
    restate__vm_input_data input;
    const restate_pair *attempt_headers;
    restate_request_info info;              /* what restate_request() gives the handler */
    bool info_ready, random_ready;
    uint64_t random[4];
    restate__map_node *patches;             /* of restate__patch: those that were decided */
    const char *held;                       /* keys that are held; NULL: not found yet */
} restate__request;

/* One attempt of one invocation. Belongs to its worker's thread. */
typedef struct restate__attempt {
    restate_ctx ctx;
    restate__vm vm;
    restate__arena *arena; /* the host's: of the journal, and of the handler unless it blocks */
    restate__arena own;                     /* of a blocking handler, used on its thread */
    restate__cache own_cache;
    restate__worker *worker;
    const restate__handler *handler;
    const restate__logger *logger;
    const restate_clock *clock;
    restate__closures closures;
    restate__futures futures;
    restate__request request;
    restate__fiber *fiber;
    restate__note turn;                     /* resumes the fiber */
    restate__note want;                     /* a detached thread asks to be attached */
    restate__attempt_state state;
    bool blocking, cut, abandoned;
    unsigned entered;                       /* blocking: nested calls under way */
    restate__thread thread;                 /* that the handler executes on */
    unsigned calls_after_end;
    int foreign;                            /* atomic: somebody else used the handler's context */
    int stop;                               /* atomic: RESTATE__STOP_ bits */
    const unsigned *stops; /* atomic: the endpoint was asked to stop; NULL: cannot be */
    uint64_t begun_ms;                      /* monotonic: when the fiber got the thread */
    void (*progress)(struct restate__attempt *);    /* output was written, or the attempt is over */
    void *host;
    struct restate__attempt *prev, *next;   /* of the worker's */
} restate__attempt;

/* One execution of a closure. */
typedef struct restate__run {
    restate_ctx ctx;
#ifndef RESTATE_NO_THREADS
    restate__job job;
#endif
    restate__note finished;
    struct restate__run *next;              /* spare */
    struct restate__run *next_run;          /* all */
    struct restate__run *next_live, **back; /* live; what points to it there */
    restate__arena arena;
    restate__cache cache; /* hands out and takes back without keeping: any thread */
    struct restate_future *future;
    uint64_t began_ms, took_ms;             /* from the first instruction of the closure on */
    restate_status status;
    struct restate__watch *watch;           /* the closure has a descriptor; NULL: it has none */
    bool pooled;                            /* `job` was submitted */
    bool begun;                             /* on its thread: `began_ms` is known */
    bool skipped;                           /* it got a thread and was not begun */
    bool doubtful;                          /* counted in `doubts` */
    int stop;                               /* atomic: cancelled meanwhile, or lost */
} restate__run;

/* The struct of which `*at` is a member. */
#define RESTATE__HOST(type, member, at) \
    ((type *)(void *)((uint8_t *)(at) - offsetof(type, member)))

/* A node that is no combinator of one wait is a future's. */
static restate_future *restate__future_of(restate__node *node) {
    return (restate_future *)(void *)node;
}

/* ---- Ending ---------------------------------------------------------------------------------- */

static void restate__attempt_progress(restate__attempt *a) {
    if (a->progress) a->progress(a);
}

static void restate__watch_end(restate__run *r);

/* The closure neither executes nor waits for a thread. */
static void restate__run_leave(restate__run *r) {
    restate__attempt *a = r->ctx.attempt;
    if (r->watch) restate__watch_end(r);
    *r->back = r->next_live;
    if (r->next_live) r->next_live->back = r->back;
    r->future->run = NULL;
    r->next = a->closures.spare;
    a->closures.spare = r;
}

/* What is not begun does not wait for a thread once nobody wants it: nothing begins for an attempt
 * that is over or about to fail, for a future that lost, and for a handler that was told of a
 * cancellation. Each leaves the queue in O(1), so that others do not wait behind it. A future that
 * is awaited again is queued again. false: it executes. */
static bool restate__run_withdraw(restate__run *r) {
#ifndef RESTATE_NO_THREADS
    restate__attempt *a = r->ctx.attempt;
    restate__node *node = &r->future->node;
    if (!r->pooled || !restate__pool_withdraw(a->closures.pool, &r->job)) return false;
    a->closures.executing--;
    restate__run_leave(r);
    restate__vm_take_back(&a->vm, node);
    return true;
#else
    (void)r;
    return false;
#endif
}

static void restate__attempt_withdraw(restate__attempt *a) {
    for (restate__run *r = a->closures.live, *next; r; r = next) {
        next = r->next_live;
        restate__run_withdraw(r);
    }
}

/* The attempt is over: all calls of the handler fail from here on, closures may give up, and none
 * is begun. */
static restate_status restate__ctx_end(restate_ctx *ctx) {
    ctx->over = true;
    if (ctx->run) return RESTATE_ENDED;
    RESTATE__OR(&ctx->attempt->stop, RESTATE__STOP_ENDED, RELAXED);
    if (ctx->attempt->closures.live) restate__attempt_withdraw(ctx->attempt);
    return RESTATE_ENDED;
}

static void restate__ctx_vlog(restate_ctx *ctx, restate_log_level level, bool of_library,
                              const char *format, va_list args) {
    const restate__attempt *a = ctx->attempt;
    bool replaying = !ctx->run && a->vm.phase == RESTATE__REPLAYING;
    char text[1024], id[128];
    if (!restate__log_wanted(a->logger, level) || (replaying && !a->logger->to.with_replay)) return;
    vsnprintf(text, sizeof text, format, args);
    restate__log_line(text);
    snprintf(id, sizeof id, "%s", a->vm.debug_id.ptr ? (const char *)a->vm.debug_id.ptr : "");
    restate__log_line(id);
    restate_log_record r = { .level = level,
                             .message = text,
                             .service = a->handler->service,
                             .handler = a->handler->name,
                             .invocation_id = id,
                             .of_library = of_library,
                             .replaying = replaying };
    restate__log_write(a->logger, &r);
}

static void restate__ctx_say(restate_ctx *ctx, restate_log_level level, const char *format, ...)
    RESTATE__PRINTF(3, 4);
static void restate__ctx_say(restate_ctx *ctx, restate_log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    restate__ctx_vlog(ctx, level, true, format, args);
    va_end(args);
}

/* A detached thread wants to use its attempt. Runs on that thread. */
static void restate__attempt_want(void *arg) {
    restate__attempt *a = arg;
    restate__worker_post(a->worker, &a->want);
}

/* Around every use of the attempt: on a blocking handler's thread the worker has to stand still. */
static void restate__ctx_attach(restate_ctx *ctx) {
    restate__attempt *a = ctx->attempt;
    if (!a->blocking || ctx->run || a->entered++) return;
    restate__fiber_attach(a->fiber, restate__attempt_want, a);
    a->state = RESTATE__ATTEMPT_RUNNING;
}

static void restate__ctx_detach(restate_ctx *ctx) {
    restate__attempt *a = ctx->attempt;
    if (!a->blocking || ctx->run || --a->entered) return;
    a->state = RESTATE__ATTEMPT_DETACHED;
    restate__fiber_detach(a->fiber);
}

RESTATE_API void restate_log(restate_ctx *ctx, restate_log_level level, const char *format, ...) {
    va_list args;
    if (level == RESTATE_LOG_DEFAULT) level = RESTATE_LOG_INFO;
    if (!format || !restate__log_wanted(ctx->attempt->logger, level)) return;
    va_start(args, format);
    restate__ctx_attach(ctx);               /* whether it replays is the journal's to say */
    restate__ctx_vlog(ctx, level, false, format, args);
    restate__ctx_detach(ctx);
    va_end(args);
}

/* Parks the handler until something happened. */
static void restate__attempt_park(restate__attempt *a) {
    restate__attempt_progress(a);
    a->state = RESTATE__ATTEMPT_PARKED;
    restate__fiber_park(a->fiber);
    if (!restate__thread_is_this(a->thread)) a->thread = restate__thread_this();
    a->state = RESTATE__ATTEMPT_RUNNING;
}

/* A run has failed, which ends the attempt when other closures have finished: the handler, if it is
 * this that calls, does not go on meanwhile. */
static RESTATE__NOINLINE void restate__attempt_hold_on(restate__attempt *a) {
    bool here = a->state == RESTATE__ATTEMPT_RUNNING && a->fiber && !restate__fiber_done(a->fiber);
    while (here && a->vm.failing && !a->cut) restate__attempt_park(a);
}

static inline void restate__attempt_hold(restate__attempt *a) {
    if (RESTATE__UNLIKELY(a->vm.failing)) restate__attempt_hold_on(a);
}

/* A call on a context that is over. Code that loops on one without looking would never return. */
static void restate__ctx_after_end(restate_ctx *ctx) {
    restate__attempt *a = ctx->attempt;
    if (ctx->run || ++a->calls_after_end < RESTATE__CALLS_AFTER_END_MAX) return;
    restate__ctx_attach(ctx);
    restate__ctx_say(
        ctx, RESTATE_LOG_ERROR,
        "the handler made %u calls after RESTATE_ENDED and is cut off; what it holds is lost. "
        "Return when a call returns RESTATE_ENDED (RESTATE_TRY does it)",
        RESTATE__CALLS_AFTER_END_MAX);
    a->abandoned = true;
    for (;;) restate__fiber_park(a->fiber);
}

/* A duration that was given: 0 is the default, a negative one (RESTATE_ZERO_MS is one) zero. */
static uint64_t restate__ms(uint64_t given, uint64_t otherwise) {
    return given > (uint64_t)INT64_MAX ? 0 : given ? given : otherwise;
}

/* The code that a failure or an error goes out with. Nothing is refused, as that would be tried
 * again for ever; the log has what was meant. */
static uint16_t restate__ctx_code(restate_ctx *ctx, uint16_t code) {
    uint16_t sent = (uint16_t)restate__wire_code(code);
    if (!code || sent == code) return sent;
    restate__ctx_attach(ctx);
    restate__ctx_say(ctx, RESTATE_LOG_WARN,
                     "a failure with code %u was made one with %u, because callers of the ingress "
                     "get the code as HTTP status, and no failure has 100 to 399",
                     (unsigned)code, (unsigned)sent);
    restate__ctx_detach(ctx);
    return sent;
}

/* What a context of a closure keeps as its retryable error. */
static void restate__ctx_set_error(restate_ctx *ctx, uint16_t code, const char *message,
                                   const restate_retry_options *o) {
    bool misuse = ctx->error.misuse;
    ctx->error = (restate__vm_error){
        .misuse = misuse,
        .code = restate__ctx_code(ctx, code),   /* when no try is left it is a failure */
        .message = message,
    };
    if (o && o->pause) ctx->error.behavior = RESTATE__PAUSE;
    else if (o && o->delay_ms) {
        ctx->error.has_delay = true;
        ctx->error.delay_ms = restate__ms(o->delay_ms, 0);
    }
    ctx->retry = true;
}

/* Ends this try with an error that may be retried. */
static restate_status restate__ctx_retry(restate_ctx *ctx, uint16_t code, const char *message,
                                         const restate_retry_options *o) {
    restate__attempt *a = ctx->attempt;
    restate__ctx_set_error(ctx, code, message, o);
    if (!ctx->run) {
        restate__attempt_hold(a);
        ctx->error.related = restate__vm_related_last(&a->vm);
        restate__vm_fail(&a->vm, &ctx->error);
    }
    return restate__ctx_end(ctx);
}

static restate_status restate__ctx_nomem(restate_ctx *ctx) {
    restate__ctx_attach(ctx);
    restate__ctx_retry(ctx, RESTATE__E_INTERNAL, "out of memory", NULL);
    restate__ctx_detach(ctx);
    return RESTATE_ENDED;
}

/* The user did what cannot be done: ends the attempt with a message that says where, what and what
 * to do instead. */
static restate_status restate__ctx_misuse(restate_ctx *ctx, const char *function,
                                          const char *format, ...) RESTATE__PRINTF(3, 4);
static restate_status restate__ctx_misuse(restate_ctx *ctx, const char *function,
                                          const char *format, ...) {
    const restate__handler *h = ctx->attempt->handler;
    va_list args;
    if (ctx->over) return RESTATE_ENDED;
    va_start(args, format);
    const char *what = restate__arena_vprintf(ctx->memory, format, args);
    va_end(args);
    const char *message =
        restate__arena_printf(ctx->memory, "%s/%s%s: %s(): %s", h->service, h->name,
                              ctx->run ? " (in a closure)" : "", function, what);
    if (ctx->memory->failed) message = "out of memory";
    restate__ctx_attach(ctx);
    ctx->error.misuse = true;
    restate__ctx_retry(ctx, RESTATE__E_INTERNAL, message, NULL);
    restate__ctx_detach(ctx);
    return RESTATE_ENDED;
}

/* The caller's input is not what the code takes it for, and the function at hand cannot return a
 * failure: the invocation fails with 400 here and now. */
static void restate__ctx_refuse_input(restate_ctx *ctx, const char *what) {
    restate__vm *vm = &ctx->attempt->vm;
    const restate_failure failure = { 400, what, NULL };
    restate__ctx_attach(ctx);
    restate__attempt_hold(ctx->attempt);
    if (restate__vm_output(vm, restate__b_none(), &failure, false)) restate__vm_end(vm);
    restate__ctx_end(ctx);
    restate__ctx_detach(ctx);
}

/* Whether calls fail already. Counts those that did not notice. */
static bool restate__ctx_over(restate_ctx *ctx) {
    if (RESTATE__LIKELY(!ctx->over)) return false;
    restate__ctx_after_end(ctx);
    return true;
}

#define RESTATE__FOREIGN \
    "the handler's context was used in a closure, or by another thread: use the closure's own"

/* Whether the handler's context is used on its thread, while it executes. Who may not use it leaves
 * a note, and touches nothing else. */
static bool restate__ctx_on_thread(restate_ctx *ctx) {
    restate__attempt *a = ctx->attempt;
    if (restate__thread_is_this(a->thread) &&
        (a->blocking || a->state == RESTATE__ATTEMPT_RUNNING))
        return true;
    RESTATE__STORE(&a->foreign, 1, RELAXED);
    return false;
}

/* It is not the handler that calls, or was not before. Gives false. */
static RESTATE__NOINLINE bool restate__ctx_elsewhere(restate_ctx *ctx, const char *function) {
    restate_ctx *closure = ctx->attempt->closures.on_handler;
    if (!restate__ctx_on_thread(ctx)) return false;
    if (closure)
        restate__ctx_misuse(closure, function,
                            "the handler's context was used in a closure: use the closure's own");
    else
        restate__ctx_misuse(ctx, function, RESTATE__FOREIGN);
    return false;
}

/* Whether it is the handler that calls. In a closure its context is somebody else's: an inline
 * closure fails for it. */
static inline bool restate__ctx_here(restate_ctx *ctx, const char *function) {
    const restate__attempt *a = ctx->attempt;
    return RESTATE__LIKELY(restate__ctx_on_thread(ctx) && !a->closures.on_handler &&
                           !RESTATE__LOAD(&a->foreign, RELAXED)) ||
           restate__ctx_elsewhere(ctx, function);
}

/* Whether a reply, a failure or a random number can be had. */
static inline bool restate__ctx_may(restate_ctx *ctx, const char *function) {
    return !restate__ctx_over(ctx) && (ctx->run || restate__ctx_here(ctx, function));
}

/* Begins a journaled call; ended by restate__ctx_leave() if this gave true. */
static bool restate__ctx_enter(restate_ctx *ctx, const char *function) {
    if (restate__ctx_over(ctx)) return false;
    if (ctx->run) {
        restate__ctx_misuse(ctx, function,
                            "is journaled and cannot be used in a closure: use it in the handler, "
                            "before or after the run");
        return false;
    }
    if (!restate__ctx_here(ctx, function)) return false;
    restate__ctx_attach(ctx);
    restate__attempt_hold(ctx->attempt);
    if (RESTATE__LIKELY(!ctx->attempt->cut)) return true;
    restate__ctx_end(ctx);
    restate__ctx_detach(ctx);
    return false;
}

/* Ends a journaled call whose journal part gave `done`. Output that nobody fetches holds it back.
 */
static restate_status restate__ctx_leave(restate_ctx *ctx, bool done) {
    restate__attempt *a = ctx->attempt;
    if (RESTATE__UNLIKELY(!done)) restate__ctx_end(ctx);
    while (done && RESTATE__UNLIKELY(a->vm.out->len > RESTATE__OUT_BYTES_MAX) && !a->cut)
        restate__attempt_park(a);
    restate__ctx_detach(ctx);
    return done ? RESTATE_OK : RESTATE_ENDED;
}

/* ---- Memory, text, request ------------------------------------------------------------------- */

static restate__arena *restate__ctx_arena(restate_ctx *ctx) { return ctx->memory; }

/* Has `object` released with the invocation's memory. False: out of memory, and it was released. */
RESTATE__PRIVATE bool restate__ctx_own(restate_ctx *ctx, void *object,
                                       void (*release)(void *object)) {
    restate__owned *o = restate__arena_alloc(ctx->memory, sizeof *o);
    if (!o) {
        release(object);
        restate__ctx_nomem(ctx);
        return false;
    }
    o->object = object;
    o->release = release;
    o->next = ctx->owned;
    ctx->owned = o;
    return true;
}

static void restate__ctx_release(restate_ctx *ctx) {
    for (; ctx->owned; ctx->owned = ctx->owned->next) ctx->owned->release(ctx->owned->object);
}

RESTATE_API void *restate_alloc(restate_ctx *ctx, size_t size) {
    if (restate__ctx_over(ctx)) return NULL;
    void *p = restate__arena_alloc(ctx->memory, size);
    if (!p) restate__ctx_nomem(ctx);
    return p;
}

RESTATE_API const char *restate_text(restate_ctx *ctx, const char *format, ...) {
    va_list args;
    if (restate__ctx_over(ctx)) return "";
    va_start(args, format);
    const char *text = restate__arena_vprintf(ctx->memory, format, args);
    va_end(args);
    if (ctx->memory->failed) restate__ctx_nomem(ctx);
    return text;
}

/* The code of a failure to read these bytes: the caller's fault if they are the handler's input. */
static uint16_t restate__ctx_json_code(restate_ctx *ctx, restate_bytes json) {
    restate_bytes body = ctx->attempt->request.input.body;
    bool first = json.ptr == body.ptr;      /* behind its last byte other memory begins */
    return body.ptr && json.ptr >= body.ptr && (first || json.ptr < body.ptr + body.len) ? 400
                                                                                         : 500;
}

static void restate__attempt_inform(restate__attempt *a) {
    static const restate_pair none = { NULL, NULL };
    restate_request_info *i = &a->request.info;
    const restate_pair *headers = restate__vm_pairs(a->arena, a->request.input.headers);
    i->invocation_id = a->vm.debug_id.ptr ? (const char *)a->vm.debug_id.ptr : "";
    i->target.service = a->handler->service;
    i->target.handler = a->handler->name;
    i->target.key = a->vm.key.ptr ? (const char *)a->vm.key.ptr : "";
    i->target.scope = (const char *)a->vm.scope.ptr;
    i->key_len = a->vm.key.len;
    i->idempotency_key = (const char *)a->vm.idempotency_key.ptr;
    i->limit_key = (const char *)a->vm.limit_key.ptr;
    i->body = a->request.input.body;
    i->headers = headers ? headers : &none;
    i->attempt_headers = a->request.attempt_headers ? a->request.attempt_headers : &none;
    i->retry_count = a->vm.retry_count;
    i->protocol_version = a->vm.options.version;
    i->user = a->handler->options.user;
    a->request.info_ready = true;
}

RESTATE_API const restate_request_info *restate_request(restate_ctx *ctx) {
    restate__attempt *a = ctx->attempt;
    if (ctx->run) return &a->closures.info;      /* made before the first closure, never changed */
    restate__ctx_attach(ctx);
    if (!a->request.info_ready) restate__attempt_inform(a);
    if (a->arena->failed) restate__ctx_nomem(ctx);  /* headers may be missing */
    a->request.info.replaying = a->vm.phase == RESTATE__REPLAYING;
    restate__ctx_detach(ctx);
    return &a->request.info;
}

RESTATE_API const char *restate_key(restate_ctx *ctx) { return restate_request(ctx)->target.key; }

/* Whether it is the handler that calls; closures are told `why` they may not. */
static bool restate__ctx_handlers(restate_ctx *ctx, const char *function, const char *why) {
    if (!restate__ctx_may(ctx, function)) return false;
    if (ctx->run) restate__ctx_misuse(ctx, function, "%s", why);
    return !ctx->run;
}

/* Whether the sequence may be drawn from. */
static bool restate__ctx_random_ready(restate_ctx *ctx, const char *function) {
    if (!restate__ctx_handlers(ctx, function,
                               "would not be the same on replay in a closure: draw before the run "
                               "and pass it in `arg`"))
        return false;
    restate__attempt *a = ctx->attempt;
    restate__request *q = &a->request;
    if (!q->random_ready) restate__vm_random_seed(q->random, restate__vm_seed(&a->vm));
    q->random_ready = true;
    return true;
}

RESTATE_API uint64_t restate_random(restate_ctx *ctx) {
    return restate__ctx_random_ready(ctx, "restate_random")
               ? restate__vm_random(ctx->attempt->request.random)
               : 0;
}

RESTATE_API double restate_random_double(restate_ctx *ctx) {
    if (!restate__ctx_random_ready(ctx, "restate_random_double")) return 0;
    return restate__vm_random_double(ctx->attempt->request.random);
}

RESTATE_API uint64_t restate_random_below(restate_ctx *ctx, uint64_t n) {
    if (!restate__ctx_random_ready(ctx, "restate_random_below")) return 0;
    if (n) return restate__vm_random_below(ctx->attempt->request.random, n);
    restate__ctx_misuse(ctx, "restate_random_below", "there is no number below 0");
    return 0;
}

RESTATE_API const char *restate_uuid(restate_ctx *ctx) {
    if (!restate__ctx_random_ready(ctx, "restate_uuid")) return "";
    char *text = (char *)restate__arena_bytes(ctx->memory, 37);
    if (!text) {
        restate__ctx_nomem(ctx);
        return "";
    }
    restate__vm_uuid(ctx->attempt->request.random, text);
    return text;
}

/* Until closures beside a failed run are told to stop. Both times wrap around. */
static uint64_t restate__siblings_left_ms(uint32_t failed_at, uint64_t now_ms) {
    uint32_t since = (uint32_t)now_ms - failed_at;
    if (since >= (uint32_t)1 << 31) since = 0;
    return since < RESTATE__SIBLINGS_MS ? RESTATE__SIBLINGS_MS - since : 0;
}

static bool restate__attempt_stops(const restate__attempt *a) {
    return a->stops && RESTATE__LOAD(a->stops, RELAXED);
}

/* Until a closure is to stop: 0: now; UINT64_MAX: no time is set. */
static uint64_t restate__run_left_ms(const restate__run *r) {
    const restate__attempt *a = r->ctx.attempt;
    uint64_t left = UINT64_MAX;
    if (RESTATE__LOAD(&a->stop, RELAXED) & RESTATE__STOP_ENDED || restate__attempt_stops(a) ||
        RESTATE__LOAD(&r->stop, RELAXED))
        return 0;
    if (r->future->timed && r->begun) {
        uint64_t spent = restate__clock_since(a->clock, r->began_ms);
        left = spent < r->future->timeout_ms ? r->future->timeout_ms - spent : 0;
    }
    uint32_t failed_at = RESTATE__LOAD(&a->closures.failed_at, RELAXED);
    if (!failed_at) return left;
    uint64_t siblings = restate__siblings_left_ms(failed_at, restate__clock_ms(a->clock));
    return siblings < left ? siblings : left;
}

RESTATE_API bool restate_stop_requested(restate_ctx *ctx) {
    const restate__run *r = ctx->run;
    if (ctx->over) return true;
    if (r) return !restate__run_left_ms(r);
    return RESTATE__LOAD(&ctx->attempt->stop, RELAXED) || restate__attempt_stops(ctx->attempt) ||
           RESTATE__LOAD(&ctx->attempt->closures.failed_at, RELAXED);
}

RESTATE_API uint64_t restate_time_left_ms(restate_ctx *run) {
    if (run->run) return run->over ? 0 : restate__run_left_ms(run->run);
    restate__ctx_misuse(run, "restate_time_left_ms", "only a closure has a time");
    return 0;
}

/* Descriptors of closures. A closure that asks for one posts its watch to the worker, which alone
 * looks at it from then on: in every turn whether the closure is to stop, and, its owner waiting no
 * longer than restate__watch_all() says, when a time is over. It is released when the worker learns
 * that the closure has finished, which comes after. */
#if !defined(RESTATE_NO_SERVER) && !defined(RESTATE_NO_THREADS)

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#if defined(__linux__) && !defined(RESTATE__USE_POLL)
#  include <sys/eventfd.h>
#endif

typedef struct restate__watch {
    restate__note begins;
    restate__run *run;
    struct restate__watch *next, **link;    /* of the worker's */
    int fd, ring_fd;                        /* the closure's, and what is written to */
    bool rung;
} restate__watch;

static bool restate__watch_open(restate__watch *w) {
#if defined(__linux__) && !defined(RESTATE__USE_POLL)
    w->fd = w->ring_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w->fd >= 0;
#else
    int ends[2];
    if (pipe(ends)) return false;
    w->fd = ends[0];
    w->ring_fd = ends[1];
    for (int i = 0; i < 2; i++) {
        (void)fcntl(ends[i], F_SETFL, fcntl(ends[i], F_GETFL) | O_NONBLOCK);
        (void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    return true;
#endif
}

static void restate__watch_ring(restate__watch *w) {
    uint64_t one = 1;
    while (write(w->ring_fd, &one, sizeof one) < 0 && errno == EINTR) continue;
    w->rung = true;
}

static void restate__watch_begin(restate__note *note) {
    restate__watch *w = RESTATE__HOST(restate__watch, begins, note);
    struct restate__watch **all = &w->run->ctx.attempt->worker->watched;
    w->next = *all;
    w->link = all;
    if (w->next) w->next->link = &w->next;
    *all = w;
}

static void restate__watch_end(restate__run *r) {
    restate__watch *w = r->watch;
    *w->link = w->next;
    if (w->next) w->next->link = w->link;
    if (w->ring_fd != w->fd) close(w->ring_fd);
    close(w->fd);
    r->watch = NULL;
}

/* Tells those that are to stop. When, by the clock, to look again at the latest. */
RESTATE__PRIVATE uint64_t restate__watch_all(restate__worker *worker, uint64_t now_ms) {
    uint64_t at = UINT64_MAX;
    for (restate__watch *w = worker->watched; w; w = w->next) {
        uint64_t left = w->rung ? UINT64_MAX : restate__run_left_ms(w->run);
        if (!left) restate__watch_ring(w);
        else if (left < UINT64_MAX - now_ms && now_ms + left < at) at = now_ms + left;
    }
    return at;
}

static int restate__run_fd(restate__run *r) {
    if (r->watch || !r->pooled) return r->watch ? r->watch->fd : -1;
    restate__watch *w = restate_alloc(&r->ctx, sizeof *w);
    if (!w || !restate__watch_open(w)) return -1;
    w->run = r;
    w->begins.deliver = restate__watch_begin;
    r->watch = w;
    restate__worker_post(r->ctx.attempt->worker, &w->begins);
    return w->fd;
}

#else

static void restate__watch_end(restate__run *r) { (void)r; }

RESTATE__PRIVATE uint64_t restate__watch_all(restate__worker *worker, uint64_t now_ms) {
    (void)worker;
    (void)now_ms;
    return UINT64_MAX;
}

static int restate__run_fd(restate__run *r) {
    (void)r;
    return -1;
}

#endif

RESTATE_API int restate_stop_fd(restate_ctx *run) {
    if (run->run) return restate__run_fd(run->run);
    restate__ctx_misuse(run, "restate_stop_fd", "only a closure has one");
    return -1;
}

/* ---- Seals ----------------------------------------------------------------------------------- */

/* Whether these bytes, handed on whole, may differ on replay. */
static bool restate__ctx_unstable(const restate_ctx *ctx, restate_bytes value) {
    const restate_seal *seal = ctx->attempt->handler->options.seal;
    if (seal && seal->unstable) return true;
    return ctx->unstable && value.ptr &&
           restate__map_find(ctx->unstable, restate__b(&value.ptr, sizeof value.ptr));
}

static RESTATE__NOINLINE bool restate__ctx_seal_with(restate_ctx *ctx, const restate_seal *seal,
                                                     restate_bytes *value) {
    restate_bytes sealed = restate__b_none();
    if (seal->seal(seal->user, ctx, value->ptr ? *value : restate__b("", 0), &sealed) ==
            RESTATE_OK &&
        sealed.ptr) {
        *value = sealed;
        return true;
    }
    restate__ctx_misuse(ctx, "seal", "a payload could not be sealed: %s",
                        restate_failed(ctx)->message);
    return false;
}

/* Seals a payload on its way out. False: the attempt is over. Absent bytes are sealed as empty. */
static inline bool restate__ctx_seal(restate_ctx *ctx, restate_bytes *value) {
    const restate_seal *seal = ctx->attempt->handler->options.seal;
    return RESTATE__LIKELY(!seal) || restate__ctx_seal_with(ctx, seal, value);
}

/* Opens a payload that came in. */
static restate_status restate__ctx_open(restate_ctx *ctx, restate_bytes *value, uint16_t code) {
    const restate_seal *seal = ctx->attempt->handler->options.seal;
    restate_bytes plain = restate__b_none();
    if (!seal || !value->len) return RESTATE_OK;
    if (seal->open(seal->user, ctx, *value, &plain) == RESTATE_OK) {
        *value = plain.ptr ? plain : restate__b("", 0);
        return RESTATE_OK;
    }
    *value = restate__b_none();
    if (ctx->over) return RESTATE_ENDED;
    return restate_fail(ctx, code, "a sealed payload could not be opened: %s",
                        restate_failed(ctx)->message);
}

/* ---- Reply and failures ---------------------------------------------------------------------- */

/* RESTATE_VOID means no bytes: those of a caller are not let in, those of a reply are not sent.
 * They are dropped, because a failure would help nobody: the caller, maybe another program, could
 * not go on, or the handler would be tried again and again. The log says it, so nothing is lost in
 * silence. */
static void restate__ctx_say_dropped(restate_ctx *ctx, size_t bytes, const char *which,
                                     const char *remedy) {
    if (!bytes) return;
    restate__ctx_attach(ctx);
    restate__ctx_say(ctx, RESTATE_LOG_WARN, "%lu bytes of %s were dropped, because it is "
                     "RESTATE_VOID: %s", (unsigned long)bytes, which, remedy);
    restate__ctx_detach(ctx);
}

RESTATE_API restate_status restate_reply(restate_ctx *ctx, restate_bytes value) {
    if (!restate__ctx_may(ctx, "restate_reply")) return RESTATE_ENDED;
    if (!ctx->run && ctx->attempt->handler->no_output) {
        restate__ctx_say_dropped(ctx, ctx->reply.ptr ? 0 : value.len, "the reply (.output)",
                                 "give .output the codec of the reply, or reply with no bytes");
        if (value.len) ctx->reply = restate__b("", 0);  /* said */
        return RESTATE_OK;
    }
    ctx->reply_unstable = restate__ctx_unstable(ctx, value);
    if (!restate__ctx_seal(ctx, &value)) return RESTATE_ENDED;
    if (value.len >= RESTATE__CHUNK_BYTES &&
        restate__arena_contains(ctx->memory, value.ptr, value.len)) {
        ctx->reply = value;
        return RESTATE_OK;
    }
    restate_bytes copy = restate__arena_copy(ctx->memory, value.ptr ? value : restate__b("", 0));
    if (!copy.ptr) return restate__ctx_nomem(ctx);
    ctx->reply = copy;
    return RESTATE_OK;
}

static restate__failed *restate__ctx_find_failed(const restate_ctx *ctx,
                                                 const restate_failure *failure) {
    return (restate__failed *)(void *)restate__map_find(ctx->failures,
                                                        restate__b(&failure, sizeof failure));
}

/* Makes `failure`, which lasts, the one that restate_failed() gives. */
static restate_status restate__ctx_set_failed(restate_ctx *ctx, const restate_failure *failure,
                                              restate_status as) {
    restate__failed *f = restate__ctx_find_failed(ctx, failure);
    if (!f) {
        f = restate__arena_alloc(ctx->memory, sizeof *f);
        if (!f) return restate__ctx_nomem(ctx);
        f->failure = failure;
        f->as = as;
        restate__map_add(&ctx->failures, &f->node, restate__b(&f->failure, sizeof f->failure));
    }
    ctx->failed = f;
    return f->as;
}

/* A copy of a failure that the user gave, fit to be sent. NULL: it cannot be, or out of memory; the
 * attempt is over. */
static const restate_failure *restate__ctx_keep_failure(restate_ctx *ctx, const char *function,
                                                        const restate_failure *failure) {
    const restate_pair *end = failure->metadata;
    const char *twice = NULL;
    restate_failure *copy = restate__vm_keep_failure(ctx->memory, failure, &twice);
    if (!copy || ctx->memory->failed) {
        restate__ctx_nomem(ctx);
        return NULL;
    }
    while (end && end->name) end++;
    if (twice)
        restate__ctx_misuse(ctx, function, "the metadata of the failure has \"%.60s\" twice",
                            twice);
    else if (end && end->value)
        restate__ctx_misuse(ctx, function, "the metadata of the failure has a value, but no name: "
                            RESTATE__END);
    restate__ctx_code(ctx, failure->code);
    return ctx->over ? NULL : copy;
}

/* A failure made here, with a text that lasts. */
static restate_status restate__ctx_new_failure(restate_ctx *ctx, uint16_t code, const char *message,
                                               restate_status as) {
    restate_failure *f = restate__arena_alloc(ctx->memory, sizeof *f);
    restate_pair *none = restate__arena_alloc(ctx->memory, sizeof *none);
    if (!f || !none || ctx->memory->failed) return restate__ctx_nomem(ctx);
    f->code = restate__ctx_code(ctx, code);
    f->message = restate__arena_clean(ctx->memory, message, NULL);
    f->metadata = none;
    return restate__ctx_set_failed(ctx, f, as);
}

RESTATE_API restate_status restate_fail(restate_ctx *ctx, uint16_t code, const char *format, ...) {
    va_list args;
    if (!restate__ctx_may(ctx, "restate_fail")) return RESTATE_ENDED;
    va_start(args, format);
    const char *message = restate__arena_vprintf(ctx->memory, format, args);
    va_end(args);
    return restate__ctx_new_failure(ctx, code, message, RESTATE_TERMINAL);
}

RESTATE_API const restate_failure *restate_failed(restate_ctx *ctx) {
    static const restate_pair no_metadata = { NULL, NULL };
    static const restate_failure none = { 0, "", &no_metadata };
    return ctx->failed ? ctx->failed->failure : &none;
}

RESTATE_API restate_status restate_fail_with(restate_ctx *ctx, const restate_failure *failure) {
    restate__failed *f = ctx->failed;
    if (!restate__ctx_may(ctx, "restate_fail_with")) return RESTATE_ENDED;
    if (!failure && !f)
        return restate__ctx_misuse(ctx, "restate_fail_with",
                                   "nothing has failed yet: give a failure");
    if (failure) f = restate__ctx_find_failed(ctx, failure);
    if (f) return restate__ctx_set_failed(ctx, f->failure, f->as);
    failure = restate__ctx_keep_failure(ctx, "restate_fail_with", failure);
    return failure ? restate__ctx_set_failed(ctx, failure, RESTATE_TERMINAL) : RESTATE_ENDED;
}

/* Whether the user's map_error makes a terminal failure of a retryable error: restate_failed(). */
static bool restate__ctx_map_error(restate_ctx *ctx, uint16_t code, const char *message) {
    const restate_options *o = &ctx->attempt->handler->options;
    restate_failure mapped = { 0, NULL, NULL };
    return o->map_error &&
           o->map_error(o->user, code ? code : RESTATE__E_INTERNAL, message, &mapped) &&
           restate_fail_with(ctx, &mapped) == RESTATE_TERMINAL;
}

/* What a number that is none of the statuses means: a retryable error, or what map_error makes of
 * it. Gives RESTATE_TERMINAL or, with the text in `*message`, RESTATE_ENDED. */
static restate_status restate__ctx_no_status(restate_ctx *ctx, const char *who, restate_status s,
                                             const char **message) {
    *message = restate__arena_printf(ctx->memory, "the %s returned %d, which is no restate_status",
                                     who, (int)s);
    return restate__ctx_map_error(ctx, 0, *message) ? RESTATE_TERMINAL : RESTATE_ENDED;
}

static bool restate__ctx_is_failure(restate_status s) {
    return s == RESTATE_TERMINAL || s == RESTATE_TIMEOUT || s == RESTATE_CANCELLED;
}

RESTATE_API restate_status restate_retry(restate_ctx *ctx, const restate_retry_options *options,
                                         const char *format, ...) {
    const char *message;
    va_list args;
    if (!restate__ctx_may(ctx, "restate_retry")) return RESTATE_ENDED;
    va_start(args, format);
    message = restate__arena_vprintf(ctx->memory, format, args);
    va_end(args);
    if (restate__ctx_map_error(ctx, options ? options->code : 0, message)) return RESTATE_TERMINAL;
    restate__ctx_attach(ctx);
    restate__ctx_retry(ctx, options ? options->code : 0, message, options);
    restate__ctx_detach(ctx);
    return RESTATE_ENDED;
}

/* ---- Hooks ----------------------------------------------------------------------------------- */

static void restate__handler_hook(restate__handler *h, const restate_hooks *hooks) {
    if (hooks) h->hooks[h->hook_count++] = hooks;
}

static void restate__hooks_begin(restate_ctx *ctx) {
    const restate__handler *h = ctx->attempt->handler;
    for (size_t i = 0; i < h->hook_count; i++)
        if (h->hooks[i]->begin) h->hooks[i]->begin(h->hooks[i]->user, ctx);
}

/* Inner levels first: the reverse of the beginning. */
static void restate__hooks_end(restate_ctx *ctx, restate_status status) {
    const restate__handler *h = ctx->attempt->handler;
    for (size_t i = h->hook_count; i-- > 0;)
        if (h->hooks[i]->end) h->hooks[i]->end(h->hooks[i]->user, ctx, status);
}

static void restate__hooks_run_begin(restate_ctx *run, const char *name) {
    const restate__handler *h = run->attempt->handler;
    for (size_t i = 0; i < h->hook_count; i++)
        if (h->hooks[i]->run_begin) h->hooks[i]->run_begin(h->hooks[i]->user, run, name);
}

static void restate__hooks_run_end(restate_ctx *run, const char *name, restate_status status) {
    const restate__handler *h = run->attempt->handler;
    for (size_t i = h->hook_count; i-- > 0;)
        if (h->hooks[i]->run_end) h->hooks[i]->run_end(h->hooks[i]->user, run, name, status);
}

/* NULL, or what is wrong with the headers of a call. */
static const char *restate__ctx_pairs_fault(const restate_pair *pairs) {
    for (; pairs && pairs->name; pairs++)
        if (!restate__b_utf8(restate_str(pairs->name)) ||
            !restate__b_utf8(restate_str(pairs->value)))
            return "a header of the call is not UTF-8";
    if (!pairs || !pairs->value) return NULL;
    return "a header of the call has a value, but no name: " RESTATE__END;
}

/* The headers of a call with those of the hooks behind them. On replay the hooks are not asked, and
 * the recorded headers are not compared. NULL: wrong ones, or out of memory. */
static const restate_pair *restate__hooks_headers(restate_ctx *ctx, const restate_target *to,
                                                  const restate_pair *own, bool *loose) {
    static const restate_pair none = { NULL, NULL };
    const restate__handler *h = ctx->attempt->handler;
    const restate_pair *all = own ? own : &none;
    *loose = false;
    for (size_t i = 0; i < h->hook_count; i++) {
        const restate_hooks *hooks = h->hooks[i];
        if (!hooks->outbound) continue;
        *loose = true;
        if (ctx->attempt->vm.phase == RESTATE__REPLAYING) continue;
        const restate_pair *more = hooks->outbound(hooks->user, ctx, to);
        const char *fault = restate__ctx_pairs_fault(more);
        if (fault) {
            restate__ctx_misuse(ctx, "outbound", "%s", fault);
            return NULL;
        }
        size_t n = restate__b_pairs(all), k = restate__b_pairs(more);
        restate_pair *both = restate__arena_alloc(ctx->memory, (n + k + 1) * sizeof *both);
        if (!both) return NULL;
        if (n) memcpy(both, all, n * sizeof *both);
        for (; k-- > 0;) {
            both[n + k].name = restate__arena_text(ctx->memory, restate_str(more[k].name));
            both[n + k].value = restate__arena_text(ctx->memory, restate_str(more[k].value));
        }
        if (ctx->memory->failed) return NULL;
        all = both;
    }
    return all;
}

/* ---- Closures -------------------------------------------------------------------------------- */

/* Its first chunk is one of the worker's, whose thread this is. What a closure needs besides comes
 * from and goes to the allocator, on any thread, and nothing of it is kept. */
static restate__run *restate__run_take(restate__attempt *a) {
    restate__run *r = a->closures.spare;
    if (r) {
        a->closures.spare = r->next;
        r->ctx.over = r->ctx.retry = false;
        r->ctx.reply = restate__b_none();
        r->ctx.failed = NULL;
        r->ctx.failures = r->ctx.unstable = NULL;
        r->arena.failed = false;
        return r;
    }
    r = restate__arena_alloc(a->arena, sizeof *r);
    if (!r) return NULL;
    restate__cache_init(&r->cache, a->worker->allocator, NULL, 0);
    restate__arena_init(&r->arena, &a->worker->cache);
    if (!restate__arena_grow(&r->arena, 0)) return NULL;
    r->arena.cache = &r->cache;
    r->ctx.attempt = a;
    r->ctx.run = r;
    r->ctx.memory = &r->arena;
    r->next_run = a->closures.all;
    a->closures.all = r;
    return r;
}

/* Whether a handler's stack, or that of a closure, is as large as those of the pool's threads. */
static bool restate__attempt_stack_of_pool(const restate__attempt *a, bool closure) {
    return closure || (a->blocking && !a->handler->options.stack_bytes);
}

static size_t restate__attempt_stack_bytes(const restate__attempt *a, bool closure) {
    size_t bytes = a->handler->options.stack_bytes;
#ifndef RESTATE_NO_THREADS
    if (restate__attempt_stack_of_pool(a, closure)) return a->closures.pool->stack_bytes;
#endif
    (void)closure;
    return bytes ? bytes : RESTATE_STACK_BYTES;
}

/* From here on a crash report names this attempt, and the closure, if it is one that executes. */
static void restate__attempt_crash_begin(const restate__attempt *a, restate__crash *c,
                                         const char *closure) {
    if (RESTATE__LIKELY(!restate__crash_wanted(c))) return;
    c->service = a->handler->service;
    c->handler = a->handler->name;
    c->closure = closure;
    c->id = a->vm.debug_id;
    c->stack_bytes = restate__attempt_stack_bytes(a, closure != NULL);
    c->option = restate__attempt_stack_of_pool(a, closure != NULL) ? "closure_stack_bytes"
                                                                   : "stack_bytes";
    restate__crash_begin(c, closure ? NULL : a->fiber);
}

/* On the closure's thread. Its time is that between its first instruction and its last: a full pool
 * and a busy loop are not its fault, and hooks are not its work. */
static void restate__run_execute(restate__run *r) {
    const char *name = (const char *)r->future->node.of.closure.name.ptr;
    restate__crash crash;
    restate__hooks_run_begin(&r->ctx, name);
    r->began_ms = restate__clock_ms(r->ctx.attempt->clock);
    r->begun = true;
    restate__attempt_crash_begin(r->ctx.attempt, &crash, name);
    r->status = r->future->closure(&r->ctx, r->future->arg);
    restate__crash_end(&crash);
    r->took_ms = restate__clock_since(r->ctx.attempt->clock, r->began_ms);
    restate__hooks_run_end(&r->ctx, name, r->status);
}

/* What an execution came to, in the journal's terms. */
static void restate__run_outcome(restate__run *r, restate__outcome *o) {
    restate_ctx *ctx = &r->ctx;
    restate_status s = r->status;
    const char *message = "the closure returned RESTATE_ENDED, but called restate_retry() nowhere";
    const restate_failure unsaid = { 500, "the closure failed without saying why", NULL };
    memset(o, 0, sizeof *o);
    o->duration_ms = r->took_ms;
    if (!ctx->retry && s != RESTATE_OK && s != RESTATE_ENDED && !restate__ctx_is_failure(s))
        s = restate__ctx_no_status(ctx, "closure", s, &message);
    if (s == RESTATE_OK && !ctx->retry) {
        o->kind = RESTATE__DONE;
        o->value = ctx->reply;
    } else if (restate__ctx_is_failure(s) && !ctx->retry) {
        o->kind = RESTATE__TERMINAL;
        o->failure = ctx->failed ? *restate_failed(ctx) : unsaid;
    } else {
        if (!ctx->retry) restate__ctx_set_error(ctx, 0, message, NULL);
        o->kind = RESTATE__RETRYABLE;
        o->error = ctx->error;
        if (ctx->memory->failed && !o->error.message) o->error.message = "out of memory";
    }
}

/* A run has failed, and the attempt with it. Closures that execute are let finish first, so that
 * their results are stored and the next attempt does not execute them again, or beside themselves;
 * those that were told to stop are not waited for. What is not begun is not. There is no timer:
 * closures that ask are told to stop after RESTATE__SIBLINGS_MS, others take as long as they take,
 * as they do when nothing fails. */
static void restate__attempt_failing(restate__attempt *a) {
    unsigned count = 0;
    if (a->cut || !a->vm.failing) return;
    restate__attempt_withdraw(a);
    for (restate__run *r = a->closures.live; r; r = r->next_live)
        count += !RESTATE__LOAD(&r->stop, RELAXED);
    if (!count) {
        restate__vm_fail_now(&a->vm);
    } else if (!a->closures.failed_at) {
        uint32_t now = (uint32_t)restate__clock_ms(a->clock);
        RESTATE__STORE(&a->closures.failed_at, now ? now : UINT32_MAX, RELAXED);
        restate__ctx_say(&a->ctx, RESTATE_LOG_INFO,
                         "a run failed with %u: %s; the attempt ends with that when the closures "
                         "that execute have finished, %u yet",
                         (unsigned)a->vm.error.code, a->vm.error.message, count);
    }
}

/* A closure has finished: hands its result to the journal. On the worker's thread. */
static void restate__run_propose(restate__run *r) {
    restate__attempt *a = r->ctx.attempt;
    restate_future *f = r->future;
    restate__outcome o;
    if (RESTATE__LOAD(&a->foreign, RELAXED))
        restate__ctx_misuse(&r->ctx, "restate_run", RESTATE__FOREIGN);
    restate__run_outcome(r, &o);
    if (f->timed && o.duration_ms > f->timeout_ms)
        restate__ctx_say(&a->ctx, RESTATE_LOG_WARN,
                         "the closure of run \"%s\" took %lu ms, its timeout_ms is %lu",
                         (const char *)f->node.of.closure.name.ptr, (unsigned long)o.duration_ms,
                         (unsigned long)f->timeout_ms);
    restate__run_leave(r);
    if (!a->cut) restate__vm_propose(&a->vm, &f->node, &o, &f->policy);
    restate__attempt_failing(a);
    if (r->doubtful && !a->vm.failing) RESTATE__SUB(&a->closures.doubts, 1u, RELAXED);
    restate__ctx_release(&r->ctx);
}

/* Closures may use what lies on the stack of a handler that was cut off, so it stays for them. */
static void restate__attempt_drop_fiber(restate__attempt *a) {
    restate__fiber_free(&a->worker->fibers, a->fiber);
    a->fiber = NULL;
}

#ifndef RESTATE_NO_THREADS
/* Whether it is not to be begun although it has a thread. The thread that executed a closure that
 * failed is free before the worker knows, which could not withdraw the others in time. */
static bool restate__run_too_late(const restate__run *r) {
    const restate__attempt *a = r->ctx.attempt;
    return (RESTATE__LOAD(&a->stop, RELAXED) & RESTATE__STOP_ENDED) ||
           RESTATE__LOAD(&a->closures.doubts, RELAXED);
}

static void restate__run_on_pool(restate__job *job) {
    restate__run *r = RESTATE__HOST(restate__run, job, job);
    restate__attempt *a = r->ctx.attempt;
    r->skipped = restate__run_too_late(r);
    if (!r->skipped) restate__run_execute(r);
    r->doubtful = !r->skipped && (r->ctx.retry || (r->status != RESTATE_OK &&
                                                   !restate__ctx_is_failure(r->status)));
    if (r->doubtful) RESTATE__ADD(&a->closures.doubts, 1u, RELAXED);
    restate__worker_post(a->worker, &r->finished);
}

/* It was not begun: if it may be now, after all, it waits for a thread again. */
static void restate__run_skipped(restate__run *r) {
    restate__attempt *a = r->ctx.attempt;
    restate__node *node = &r->future->node;
    if (!a->cut && !a->ctx.over && !a->vm.failing && restate__vm_ready(&a->vm) &&
        restate__pool_submit(a->closures.pool, &r->job))
        return;
    a->closures.executing--;
    restate__run_leave(r);
    restate__vm_take_back(&a->vm, node);
    restate__attempt_failing(a);
}

static void restate__run_finished(restate__note *note) {
    restate__run *r = RESTATE__HOST(restate__run, finished, note);
    restate__attempt *a = r->ctx.attempt;
    if (r->skipped) {
        restate__run_skipped(r);
    } else {
        restate__run_propose(r);
        a->closures.executing--;
    }
    if (a->state == RESTATE__ATTEMPT_PARKED) restate__worker_later(a->worker, &a->turn);
    if (a->state == RESTATE__ATTEMPT_DONE && !a->closures.executing && a->fiber)
        restate__attempt_drop_fiber(a);
    restate__attempt_progress(a);           /* the last one after the handler: frees the attempt */
}
#endif

static void restate__run_enter(restate__run *r) {
    restate__attempt *a = r->ctx.attempt;
    r->pooled = r->begun = r->skipped = r->doubtful = false;
    r->next_live = a->closures.live;
    r->back = &a->closures.live;
    if (r->next_live) r->next_live->back = &r->next_live;
    a->closures.live = r;
}

/* Executes the closure of a run that the journal asks for, on a thread of the pool or right here.
 */
static bool restate__run_start(restate__attempt *a, restate_future *f) {
    restate__run *r = restate__run_take(a);
    if (!r) {
        restate__ctx_nomem(&a->ctx);
        return false;
    }
    if (!a->request.info_ready) restate__attempt_inform(a);
    if (!a->closures.info_ready) a->closures.info = a->request.info;
    a->closures.info_ready = true;
    a->closures.info.replaying = false;
    r->future = f;
    f->run = r;
    restate__run_enter(r);
    RESTATE__STORE(&r->stop, a->vm.cancel_arrived != 0, RELAXED);
#ifndef RESTATE_NO_THREADS
    if (!f->inline_ok) {
        r->job.run = restate__run_on_pool;
        r->finished.deliver = restate__run_finished;
        r->pooled = true;
        a->closures.executing++;
        if (restate__pool_submit(a->closures.pool, &r->job)) return true;
        r->pooled = false;
        a->closures.executing--;
    }
#endif
    if (a->blocking) restate__fiber_detach(a->fiber);
    a->closures.on_handler = &r->ctx;
    restate__run_execute(r);
    a->closures.on_handler = NULL;
    if (a->blocking) restate__fiber_attach(a->fiber, restate__attempt_want, a);
    restate__run_propose(r);
    return true;
}

static bool restate__policy_bad(const restate_retry_policy *p) {
    return !(p->factor >= 1 && p->factor <= 1e9) && !(p->factor >= 0 && p->factor <= 0);
}

static void restate__policy_of(restate__policy *p, const restate_retry_policy *r) {
    memset(p, 0, sizeof *p);
    if (!r->initial_interval_ms && r->factor == 0 && !r->max_interval_ms && !r->max_attempts &&
        !r->max_duration_ms && r->when_exhausted == RESTATE_EXHAUSTED_DEFAULT)
        return;
    p->own = true;
    p->interval_ms = restate__ms(r->initial_interval_ms, 50);
    p->factor = r->factor > 0 ? r->factor : 2;
    p->max_interval_ms = restate__ms(r->max_interval_ms, 10000);
    p->has_max_attempts = r->max_attempts != 0;
    p->max_attempts = r->max_attempts;
    p->has_max_duration = r->max_duration_ms != 0;
    p->max_duration_ms = restate__ms(r->max_duration_ms, 0);
    p->pause = r->when_exhausted == RESTATE_EXHAUSTED_PAUSE;
}

/* ---- Futures: making and reading them -------------------------------------------------------- */

/* What stands for a future that could not be made, and for a selector. They belong to no context,
 * so that functions reject them and write nothing into them. */
static restate_future *restate__future_none(void) {
    static const restate_future none;
    return (restate_future *)(uintptr_t)&none;
}

static restate_selector *restate__selector_none(void) {
    static const restate_selector none;
    return (restate_selector *)(uintptr_t)&none;
}

/* A future of a context that is over, or of what went wrong: awaiting it gives RESTATE_ENDED. */
static restate_future *restate__future_new(restate_ctx *ctx, restate__future_kind kind) {
    restate__attempt *a = ctx->attempt;
    if ((!ctx->run && !restate__ctx_on_thread(ctx)) || restate__ctx_over(ctx))
        return restate__future_none();
    restate_future *f = ctx->run ? NULL : a->futures.unused;
    if (f) {
        a->futures.unused = f->next_free;
        memset(f, 0, sizeof *f);
    } else {
        f = restate__arena_alloc(ctx->memory, sizeof *f);
    }
    if (!f) {
        restate__ctx_nomem(ctx);
        return restate__future_none();
    }
    f->ctx = ctx;
    f->kind = kind;
    return f;
}

static bool restate__future_fits(restate_ctx *ctx, const restate_future *f, const char *function) {
    if (!f) {
        restate__ctx_misuse(ctx, function, "the future is NULL");
        return false;
    }
    if (f->ctx == ctx) return true;
    restate__ctx_misuse(
        ctx, function,
        "the future belongs to another invocation: futures are used where they were made");
    return false;
}

static restate_status restate__future_failed(restate_ctx *ctx, const restate_failure *failure) {
    return restate__ctx_set_failed(ctx, failure, RESTATE_TERMINAL);
}

/* The value of a future, without its seal. */
static restate_status restate__future_open(restate_ctx *ctx, restate_future *f,
                                           restate_bytes *value) {
    if (!f->opened.ptr) {
        f->opened = f->node.value.is.bytes;
        if (f->kind != RESTATE__FUTURE_SETTLED) {
            restate_status s = restate__ctx_open(ctx, &f->opened, 500);
            if (s != RESTATE_OK) return s;
        }
    }
    if (value) *value = f->opened;
    return RESTATE_OK;
}

/* The result of a settled future. */
static restate_status restate__future_read(restate_ctx *ctx, restate__node *n,
                                           restate_bytes *value) {
    const restate__value *v;
    while (n->kind < RESTATE__LEAF && n->of.all.decided) n = n->of.all.decided;
    if (n->kind < RESTATE__LEAF) {
        if (n->state == RESTATE__SUCCEEDED) return RESTATE_OK;
        return restate__ctx_new_failure(ctx, 500, "restate_any() of no futures", RESTATE_TERMINAL);
    }
    v = &n->value;
    if (v->kind == RESTATE__FAILURE) return restate__future_failed(ctx, v->is.failure);
    if (v->kind == RESTATE__INVOCATION_ID && value) *value = v->is.bytes;
    if (v->kind != RESTATE__VALUE) return RESTATE_OK;
    return restate__future_open(ctx, restate__future_of(n), value);
}

/* Nobody wants the closure any more. */
static void restate__run_lose(restate__node *node) {
    restate__run *r = restate__future_of(node)->run;
    if (r && !restate__run_withdraw(r)) RESTATE__STORE(&r->stop, 1, RELAXED);
}

/* An await has told the handler something: tells closures what it means for them. */
static void restate__attempt_told(restate__attempt *a) {
    if (!a->vm.cancel_arrived)
        RESTATE__AND(&a->stop, ~RESTATE__STOP_CANCELLED, RELAXED);
    if (RESTATE__UNLIKELY(a->vm.graph.decided))
        restate__graph_losers(&a->vm.graph, restate__run_lose);
}

/* Waits for a node, driving the journal. RESTATE_OK: settled. Closures are not told yet. */
static restate_status restate__ctx_drive(restate_ctx *ctx, restate__node *node) {
    restate__attempt *a = ctx->attempt;
    for (;;) {
        restate__wait w;
        restate__attempt_hold(a);
        if (a->cut) return restate__ctx_end(ctx);
        w = restate__vm_await(&a->vm, node);
        switch (w.kind) {
        case RESTATE__READY:
            if (node->state == RESTATE__PENDING) break;
            return RESTATE_OK;
        case RESTATE__EXECUTE:
            if (!restate__run_start(a, restate__future_of(w.run))) return RESTATE_ENDED;
            break;
        case RESTATE__CANCEL:
            restate__attempt_withdraw(a);
            restate__attempt_progress(a);
            return restate__ctx_new_failure(ctx, 409, "cancelled", RESTATE_CANCELLED);
        case RESTATE__WAIT:
            restate__attempt_park(a);
            break;
        default:
            restate__attempt_progress(a);
            return restate__ctx_end(ctx);
        }
    }
}

/* Waits for a node, if it is not settled yet, and tells closures. Inside enter and leave. */
static restate_status restate__ctx_wait(restate_ctx *ctx, restate__node *node) {
    if (node->state != RESTATE__PENDING) return RESTATE_OK;
    restate_status s = restate__ctx_drive(ctx, node);
    if (s != RESTATE_ENDED) restate__attempt_told(ctx->attempt);
    return s;
}

/* Waits until a closure no longer executes: its argument may be on the caller's stack. */
static void restate__ctx_wait_for_run(restate__attempt *a, restate_future *f) {
    while (f->run) restate__attempt_park(a);
}

/* Enters, waits, reads, leaves. */
static restate_status restate__ctx_await(restate_ctx *ctx, const char *function, restate_future *f,
                                         restate_bytes *value) {
    restate_status s = RESTATE_ENDED;
    if (value) *value = restate__b_none();
    if (!restate__ctx_enter(ctx, function)) return RESTATE_ENDED;
    if (restate__future_fits(ctx, f, function)) {
        s = restate__ctx_wait(ctx, &f->node);
        if (s == RESTATE_OK) s = restate__future_read(ctx, &f->node, value);
    }
    restate__ctx_detach(ctx);
    return s;
}

/* The same for a future that nobody else has, so that it can be used again. */
static restate_status restate__ctx_await_own(restate_ctx *ctx, const char *function,
                                             restate_future *f, restate_bytes *value) {
    restate__attempt *a = ctx->attempt;
    restate_status s = restate__ctx_await(ctx, function, f, value);
    if (!f->ctx || ctx->run || a->blocking || f->node.state == RESTATE__PENDING || f->run) return s;
    if (!restate__vm_forget(&a->vm, &f->node)) return s;
    f->next_free = a->futures.unused;
    a->futures.unused = f;
    return s;
}

RESTATE_API restate_status restate_await(restate_ctx *ctx, restate_future *future,
                                         restate_bytes *value) {
    return restate__ctx_await(ctx, "restate_await", future, value);
}

RESTATE_API bool restate_is_done(const restate_future *future) {
    return future && future->node.state != RESTATE__PENDING;
}

/* ---- Operations ------------------------------------------------------------------------------ */

/* How an operation is issued. A public function puts what it was given into `restate__args` and
 * names a row of restate__operations. restate__issue() does the rest, in this order:
 *
 * 1. The future is made, if the row has a kind of one.
 * 2. The call is entered: the attempt is not over, it is the handler that calls, its thread is
 *    attached.
 * 3. What the row's rules ask for is checked: the id, the failure, whether the handler may do this,
 *    the text.
 * 4. The value is sealed.
 * 5. The row's function checks what only it knows and has the journal write the command.
 * 6. The call is left, which waits while too much output is unsent.
 *
 * What breaks a rule is misuse: the server would refuse the attempt again and again. But ids often
 * come from outside, so a wrong one is a failure (RESTATE_TERMINAL) that the handler deals with. */

typedef struct restate__args {
    restate_ctx *ctx;
    const char *function;                   /* the public one, for messages */
    restate__vm *vm;                        /* set by restate__issue() */
    restate_bytes text;                     /* a name or a key; a zero byte follows */
    const char *id;                         /* of an invocation or an awakeable */
    restate_bytes value;
    const restate_failure *failure;         /* instead of `value` */
    const void *more;                       /* what only the row's function knows */
    uint64_t duration_ms;
    bool unstable;                          /* equal values may have different bytes */
    bool yes;                               /* what is answered, where that is all */
} restate__args;

enum {
    RESTATE__RULE_KEYED = 1,                /* not in a plain service, which has no state */
    RESTATE__RULE_WRITES = 2,               /* not in a shared handler */
    RESTATE__RULE_WORKFLOW = 4,
    RESTATE__RULE_EXPLICIT = 8,             /* cancellation is the handler's to deal with */
    RESTATE__RULE_INVOCATION = 16,          /* `id` is that of an invocation */
    RESTATE__RULE_AWAKEABLE = 32,           /* `id` is that of an awakeable */
    RESTATE__RULE_TEXT = 64,                /* `text` is not NULL */
    RESTATE__RULE_NOT_EMPTY = 128,          /* `text` is neither NULL nor empty */
    RESTATE__RULE_PRESENT = 256,            /* `value` is not absent */
    RESTATE__RULE_PAYLOAD = 512             /* `value` or `failure` goes out */
};

typedef struct restate__operation {
    unsigned rules;
    restate__future_kind makes;             /* RESTATE__FUTURE_NONE: no future */
    const char *text_is;                    /* what messages call `text`; NULL: not checked */
    bool (*issue)(restate__args *in, restate_future *f);    /* false: the attempt is to end */
} restate__operation;

/* A row: its name, the kind of its future, what `text` is called, its rules, and what has the
 * journal write the command. */
#define RESTATE__OP(name, makes, text_is, rules, command) \
    static bool restate__op_##name##_issue(restate__args *in, restate_future *f) { \
        (void)f; \
        return command; \
    } \
    static const restate__operation restate__op_##name = { \
        rules, RESTATE__FUTURE_##makes, text_is, restate__op_##name##_issue \
    }

static const restate_failure restate__rejected = { 500, "rejected", NULL };

/* Misuse; gives false. */
static bool restate__refuse(const restate__args *in, const char *format, ...)
    RESTATE__PRINTF(2, 3);
static bool restate__refuse(const restate__args *in, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *what = restate__arena_vprintf(in->ctx->memory, format, args);
    va_end(args);
    restate__ctx_misuse(in->ctx, in->function, "%s", what);
    return false;
}

/* What follows from the kind and the options of a handler. */
static void restate__handler_resolve(restate__handler *h) {
    uint64_t stall = h->options.stall_warning_ms;
    restate__policy_of(&h->run_policy, &h->options.run_retry);
    h->patience_ms = !stall ? 1000
                     : stall < RESTATE__DUTY_NEVER ? (uint32_t)stall : RESTATE__DUTY_NEVER;
    if (h->kind == RESTATE_SERVICE) h->forbids |= RESTATE__RULE_KEYED;
    if (h->shared) h->forbids |= RESTATE__RULE_WRITES;
    if (h->kind != RESTATE_WORKFLOW) h->forbids |= RESTATE__RULE_WORKFLOW;
    if (h->options.explicit_cancellation != RESTATE_ON) h->forbids |= RESTATE__RULE_EXPLICIT;
}

static bool restate__op_allowed(const restate__args *in, unsigned rules) {
    unsigned broken = rules & in->ctx->attempt->handler->forbids;
    if (RESTATE__LIKELY(!broken)) return true;
    if (broken & RESTATE__RULE_KEYED)
        return restate__refuse(in, "a plain service has no state: make it a RESTATE_OBJECT or a "
                               "RESTATE_WORKFLOW");
    if (broken & RESTATE__RULE_WRITES)
        return restate__refuse(in, "a shared handler cannot write state: register it with .shared "
                               "= false, or send to a handler that is not shared");
    if (broken & RESTATE__RULE_WORKFLOW)
        return restate__refuse(in, "only a workflow has durable promises: make the service a "
                               "RESTATE_WORKFLOW, or use restate_awakeable()");
    return restate__refuse(in, "needs .options.explicit_cancellation = RESTATE_ON; without it "
                           "awaits return RESTATE_CANCELLED, and calls are cancelled by "
                           "themselves");
}

static bool restate__op_text_given(const restate__args *in, restate_bytes text, const char *what) {
    if (!text.len) return restate__refuse(in, "the %s is empty", what);
    return restate__b_utf8(text) || restate__refuse(in, "the %s is not UTF-8", what);
}

static bool restate__op_texts_valid(const restate__args *in, const restate__operation *op) {
    if (op->rules & RESTATE__RULE_NOT_EMPTY)
        return restate__op_text_given(in, in->text, op->text_is);
    if (op->rules & RESTATE__RULE_TEXT && !in->text.ptr)
        return restate__refuse(in, "the %s is NULL", op->text_is);
    if (op->text_is && !restate__b_utf8(in->text))
        return restate__refuse(in, "the %s is not UTF-8", op->text_is);
    if (op->rules & RESTATE__RULE_PRESENT && !in->value.ptr)
        return restate__refuse(in, "the value of \"%s\" is absent: use restate_clear() to delete "
                               "it", (const char *)in->text.ptr);
    return true;
}

#define RESTATE__NO_ID "\"%.80s\" is not the id of an %s: %s"

static restate_status restate__op_check_id(const restate__args *in, unsigned rules) {
    if (!(rules & (RESTATE__RULE_INVOCATION | RESTATE__RULE_AWAKEABLE))) return RESTATE_OK;
    const bool invocation = rules & RESTATE__RULE_INVOCATION;
    const char *id = in->id ? in->id : "";
    if (invocation && !in->id)
        return restate__ctx_misuse(in->ctx, in->function, "the invocation id is empty");
    const char *fault =
        invocation ? restate__b_invocation_id_fault(id) : restate__b_awakeable_id_fault(id);
    return fault ? restate_fail(in->ctx, 400, RESTATE__NO_ID, id,
                                invocation ? "invocation (inv_...)" : "awakeable (sign_1...)",
                                fault)
                 : RESTATE_OK;
}

/* Makes the failure one that can be sent. False: it cannot be; the attempt is over. */
static bool restate__op_keep_failure(restate__args *in) {
    if (!in->failure) return true;
    in->failure = restate__ctx_keep_failure(in->ctx, in->function, in->failure);
    return in->failure != NULL;
}

/* Seals the value, unless a failure goes out. False: it could not be; the attempt is over. */
static bool restate__op_seal(restate__args *in) {
    if (in->failure) return true;
    in->unstable = restate__ctx_unstable(in->ctx, in->value);
    return restate__ctx_seal(in->ctx, &in->value);
}

static restate_status restate__issue(const restate__operation *op, restate__args *in,
                                     restate_future **future) {
    restate_ctx *ctx = in->ctx;
    restate_future *f = NULL;
    if (op->makes) {
        *future = f = restate__future_new(ctx, op->makes);
        if (!f->ctx) return RESTATE_ENDED;
    }
    if (!restate__ctx_enter(ctx, in->function)) return RESTATE_ENDED;
    in->vm = &ctx->attempt->vm;
    restate_status s = restate__op_check_id(in, op->rules);
    if (s == RESTATE_TERMINAL) {
        restate__ctx_detach(ctx);
        return s;
    }
    bool payload = op->rules & RESTATE__RULE_PAYLOAD;
    return restate__ctx_leave(ctx, s == RESTATE_OK && (!payload || restate__op_keep_failure(in)) &&
                                       restate__op_allowed(in, op->rules) &&
                                       restate__op_texts_valid(in, op) &&
                                       (!payload || restate__op_seal(in)) && op->issue(in, f));
}

static restate_future *restate__issue_async(const restate__operation *op, restate__args *in) {
    restate_future *f;
    restate__issue(op, in, &f);
    return f;
}

static restate_status restate__issue_await(const restate__operation *op, restate__args *in,
                                           restate_bytes *value) {
    return restate__ctx_await_own(in->ctx, in->function, restate__issue_async(op, in), value);
}

/* ---- Run ------------------------------------------------------------------------------------- */

typedef struct restate__run_args {
    restate_closure *closure;
    void *arg;
    const restate_run_options *options;
} restate__run_args;

static bool restate__run_valid(const restate__args *in, const restate__run_args *r) {
    const restate_run_options *o = r->options;
    if (!r->closure) return restate__refuse(in, "the closure is NULL");
    if (!restate__b_utf8(in->text))
        return restate__refuse(in, "the name is not UTF-8");
    if (o && restate__policy_bad(&o->retry))
        return restate__refuse(in, "retry.factor is no number from 1 to 1e9");
    if (o && (unsigned)o->retry.when_exhausted > RESTATE_EXHAUSTED_PAUSE)
        return restate__refuse(in, "retry.when_exhausted is none of RESTATE_EXHAUSTED_...");
    return true;
}

static bool restate__issue_run(restate__args *in, restate_future *f) {
    const restate__run_args *r = in->more;
    const restate_run_options *o = r->options;
    if (!restate__run_valid(in, r)) return false;
    if (o) restate__policy_of(&f->policy, &o->retry);
    if (!f->policy.own)
        f->policy = in->ctx->attempt->handler->run_policy;
    if (f->policy.pause && !restate__vm_needs(in->vm, "pausing a run without tries left", 7))
        return false;
    f->closure = r->closure;
    f->arg = r->arg;
    if (o) {
        f->timed = o->timeout_ms != 0;
        f->timeout_ms = restate__ms(o->timeout_ms, 0);
        f->inline_ok = o->inline_ok;
    }
    if (o && o->arg_bytes && r->arg) {
        f->arg = restate__arena_alloc(in->ctx->attempt->arena, o->arg_bytes);
        if (!f->arg) return restate__ctx_nomem(in->ctx) == RESTATE_OK;
        memcpy(f->arg, r->arg, o->arg_bytes);
    }
    return restate__vm_run(in->vm, (const char *)in->text.ptr, &f->node);
}

RESTATE__OP(run, RESULT, NULL, 0, restate__issue_run(in, f));

RESTATE_API restate_future *restate_run_async(restate_ctx *ctx, const char *name,
                                              restate_closure *closure, void *arg,
                                              const restate_run_options *options) {
    const restate__run_args run = { closure, arg, options };
    restate__args in = { ctx, "restate_run_async", .text = restate_str(name), .more = &run };
    return restate__issue_async(&restate__op_run, &in);
}

/* A run whose result comes next on replay needs no future. */
static bool restate__ctx_run_recorded(restate_ctx *ctx, const char *name, restate_bytes *result,
                                      restate_status *s) {
    if (ctx->run || ctx->over || !restate__ctx_enter(ctx, "restate_run")) return false;
    restate__value v;
    bool recorded = restate__vm_run_recorded(&ctx->attempt->vm, name, &v);
    *s = RESTATE_OK;
    if (recorded && v.kind == RESTATE__FAILURE) {
        *s = restate__future_failed(ctx, v.is.failure);
        if (result) *result = restate__b_none();
    } else if (recorded) {
        restate_bytes bytes = v.is.bytes;
        *s = restate__ctx_open(ctx, &bytes, 500);
        if (result) *result = bytes;
    }
    restate__ctx_detach(ctx);
    return recorded;
}

RESTATE_API restate_status restate_run(restate_ctx *ctx, const char *name, restate_closure *closure,
                                       void *arg, const restate_run_options *options,
                                       restate_bytes *result) {
    restate_status s;
    if (closure && restate__ctx_run_recorded(ctx, name, result, &s)) return s;
    const restate__run_args run = { closure, arg, options };
    restate__args in = { ctx, "restate_run", .text = restate_str(name), .more = &run };
    restate_future *f = restate__issue_async(&restate__op_run, &in);
    s = restate__ctx_await_own(ctx, in.function, f, result);
    if (s == RESTATE_OK || ctx->run) return s;
    restate__ctx_attach(ctx);
    restate__ctx_wait_for_run(ctx->attempt, f);
    restate__ctx_detach(ctx);
    return s;
}

/* Runs the closure of restate_now(), whose result is the time as text. */
static restate_status restate__ctx_read_clock(restate_ctx *run, void *arg) {
    unsigned long long now = restate__clock_wall_ms(run->attempt->clock);
    (void)arg;
    return restate_reply(run, restate_str(restate_text(run, "%llu", now)));
}

RESTATE_API restate_status restate_now(restate_ctx *ctx, uint64_t *epoch_ms) {
    const restate_run_options options = { .inline_ok = true };
    const restate__run_args run = { restate__ctx_read_clock, NULL, &options };
    restate__args in = { ctx, "restate_now", .text = restate_str("now"), .more = &run };
    restate_bytes text;
    if (epoch_ms) *epoch_ms = 0;
    restate_status s = restate__issue_await(&restate__op_run, &in, &text);
    if (s != RESTATE_OK || !epoch_ms) return s;
    for (size_t i = 0; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++)
        *epoch_ms = *epoch_ms * 10 + (uint64_t)(text.ptr[i] - '0');
    return s;
}

/* ---- Patches --------------------------------------------------------------------------------- */

/* What was decided. */
typedef struct restate__patch {
    restate__map_node node;                 /* first; the key is the name */
    bool taken;
} restate__patch;

static const char *restate__patch_marker(const restate__args *in) {
    return restate__arena_printf(in->vm->arena, "restate.patch %s", (const char *)in->text.ptr);
}

static bool restate__issue_patched(restate__args *in) {
    restate__request *q = &in->ctx->attempt->request;
    restate_bytes name = in->text;
    restate__patch *p = (restate__patch *)(void *)restate__map_find(q->patches, name);
    if (!p) {
        p = restate__arena_alloc(in->vm->arena, sizeof *p);
        name = restate__arena_copy(in->vm->arena, name);
        const char *marker = restate__patch_marker(in);
        if (in->vm->arena->failed) return restate__ctx_nomem(in->ctx) == RESTATE_OK;
        if (!restate__vm_patched(in->vm, marker, &p->taken)) return false;
        restate__map_add(&q->patches, &p->node, name);
    }
    in->yes = p->taken;
    return true;
}

RESTATE__OP(patched, NONE, "name of the patch", RESTATE__RULE_NOT_EMPTY,
            restate__issue_patched(in));

RESTATE_API bool restate_patched(restate_ctx *ctx, const char *name) {
    restate__args in = { ctx, "restate_patched", .text = restate_str(name) };
    return restate__issue(&restate__op_patched, &in, NULL) == RESTATE_OK && in.yes;
}

static bool restate__issue_patch_done(restate__args *in) {
    const char *marker = restate__patch_marker(in);
    if (in->vm->arena->failed) return restate__ctx_nomem(in->ctx) == RESTATE_OK;
    return restate__vm_patch_done(in->vm, marker);
}

RESTATE__OP(patch_done, NONE, "name of the patch", RESTATE__RULE_NOT_EMPTY,
            restate__issue_patch_done(in));

RESTATE_API void restate_patch_done(restate_ctx *ctx, const char *name) {
    restate__args in = { ctx, "restate_patch_done", .text = restate_str(name) };
    restate__issue(&restate__op_patch_done, &in, NULL);
}

/* ---- Sleep ----------------------------------------------------------------------------------- */

/* The wall-clock time after a duration. */
static uint64_t restate__ctx_later(const restate_ctx *ctx, uint64_t delay_ms) {
    uint64_t now_ms = restate__clock_wall_ms(ctx->attempt->clock);
    delay_ms = restate__ms(delay_ms, 0);
    return delay_ms > (uint64_t)INT64_MAX - now_ms ? (uint64_t)INT64_MAX : now_ms + delay_ms;
}

static bool restate__issue_sleep(restate__args *in, restate_future *f) {
    uint64_t wake_ms = restate__ctx_later(in->ctx, in->duration_ms);
    return restate__vm_sleep(in->vm, (const char *)in->text.ptr, wake_ms, &f->node);
}

RESTATE__OP(sleep, RESULT, "name", 0, restate__issue_sleep(in, f));

RESTATE_API restate_future *restate_sleep_async(restate_ctx *ctx, uint64_t duration_ms,
                                                const char *name) {
    restate__args in = { ctx, "restate_sleep_async", .text = restate_str(name),
                        .duration_ms = duration_ms };
    return restate__issue_async(&restate__op_sleep, &in);
}

RESTATE_API restate_status restate_sleep(restate_ctx *ctx, uint64_t duration_ms) {
    restate__args in = { ctx, "restate_sleep", .duration_ms = duration_ms };
    return restate__issue_await(&restate__op_sleep, &in, NULL);
}

/* ---- State ----------------------------------------------------------------------------------- */

RESTATE__OP(get, RESULT, "key", RESTATE__RULE_KEYED | RESTATE__RULE_TEXT,
            restate__vm_get(in->vm, in->text, &f->node));

RESTATE_API restate_future *restate_get_async(restate_ctx *ctx, const char *key) {
    restate__args in = { ctx, "restate_get_async", .text = restate_str(key) };
    return restate__issue_async(&restate__op_get, &in);
}

RESTATE_API restate_status restate_get(restate_ctx *ctx, const char *key, restate_bytes *value) {
    restate__args in = { ctx, "restate_get", .text = restate_str(key) };
    return restate__issue_await(&restate__op_get, &in, value);
}

static int restate__ctx_compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A sorted copy: those that were fetched have the order of whoever sent them. */
static restate_status restate__ctx_sort_keys(restate_ctx *ctx, const char *const *from,
                                             const char *const **keys) {
    size_t n = 0;
    while (from[n]) n++;
    const char **copy = restate__arena_alloc(ctx->memory, (n + 1) * sizeof *copy);
    if (!copy) return restate__ctx_nomem(ctx);
    if (n) memcpy((void *)copy, from, n * sizeof *copy);
    if (n) qsort((void *)copy, n, sizeof *copy, restate__ctx_compare_keys);
    *keys = copy;
    return RESTATE_OK;
}

RESTATE__OP(keys, RESULT, NULL, RESTATE__RULE_KEYED, restate__vm_get_keys(in->vm, &f->node));

static restate_status restate__ctx_await_keys(restate_ctx *ctx, const char *function,
                                              restate_future *f, const char *const **keys) {
    static const char *const none[] = { NULL };
    restate_status s = RESTATE_ENDED;
    if (keys) *keys = none;
    if (!restate__ctx_enter(ctx, function)) return RESTATE_ENDED;
    if (restate__future_fits(ctx, f, function)) {
        if (f->node.expects == RESTATE__EXPECTS_KEYS) s = restate__ctx_wait(ctx, &f->node);
        else restate__ctx_misuse(ctx, function, "the future is not of restate_keys_async()");
        if (s == RESTATE_OK && keys && f->node.value.is.keys)
            s = restate__ctx_sort_keys(ctx, f->node.value.is.keys, keys);
    }
    restate__ctx_detach(ctx);
    return s;
}

RESTATE_API restate_status restate_keys(restate_ctx *ctx, const char *const **keys) {
    restate__args in = { .ctx = ctx, .function = "restate_keys" };
    restate_future *f = restate__issue_async(&restate__op_keys, &in);
    return restate__ctx_await_keys(ctx, in.function, f, keys);
}

RESTATE_API restate_future *restate_keys_async(restate_ctx *ctx) {
    restate__args in = { .ctx = ctx, .function = "restate_keys_async" };
    return restate__issue_async(&restate__op_keys, &in);
}

RESTATE_API restate_status restate_await_keys(restate_ctx *ctx, restate_future *future,
                                              const char *const **keys) {
    return restate__ctx_await_keys(ctx, "restate_await_keys", future, keys);
}

RESTATE__OP(set, NONE, "key",
            RESTATE__RULE_KEYED | RESTATE__RULE_WRITES | RESTATE__RULE_TEXT |
            RESTATE__RULE_PRESENT | RESTATE__RULE_PAYLOAD,
            restate__vm_set(in->vm, in->text, in->value, in->unstable));

RESTATE_API restate_status restate_set(restate_ctx *ctx, const char *key, restate_bytes value) {
    restate__args in = { ctx, "restate_set", .text = restate_str(key), .value = value };
    return restate__issue(&restate__op_set, &in, NULL);
}

RESTATE__OP(clear, NONE, "key", RESTATE__RULE_KEYED | RESTATE__RULE_WRITES | RESTATE__RULE_TEXT,
            restate__vm_clear(in->vm, in->text));

RESTATE_API restate_status restate_clear(restate_ctx *ctx, const char *key) {
    restate__args in = { ctx, "restate_clear", .text = restate_str(key) };
    return restate__issue(&restate__op_clear, &in, NULL);
}

RESTATE__OP(clear_all, NONE, NULL, RESTATE__RULE_KEYED | RESTATE__RULE_WRITES,
            restate__vm_clear_all(in->vm));

RESTATE_API restate_status restate_clear_all(restate_ctx *ctx) {
    restate__args in = { .ctx = ctx, .function = "restate_clear_all" };
    return restate__issue(&restate__op_clear_all, &in, NULL);
}

static bool restate__issue_named(restate__args *in) {
    in->vm->naming = restate__arena_copy(in->vm->arena, in->text);
    return in->vm->naming.ptr || restate__ctx_nomem(in->ctx) == RESTATE_OK;
}

RESTATE__OP(named, NONE, "name", RESTATE__RULE_KEYED | RESTATE__RULE_NOT_EMPTY,
            restate__issue_named(in));

RESTATE_API restate_ctx *restate_named(restate_ctx *ctx, const char *name) {
    restate__args in = { ctx, "restate_named", .text = restate_str(name) };
    restate__issue(&restate__op_named, &in, NULL);
    return ctx;
}

/* ---- Deadlocks of keys ----------------------------------------------------------------------- */

/* An exclusive handler of an object holds its key until it is over. Whom it calls is told so in a
 * header, with the keys that its own callers hold: elements with commas between them, the outermost
 * caller first.
 *
 *     SERVICE.KEY                a key that is held, in base64url; a third part is the scope
 *     ~SERVICE.HANDLER.HANDLER   the handlers of that service that need the key, by their names
 *
 * A call of such a handler under a key of the list would wait for somebody who waits for it. The
 * first form is that of the SDK for Ruby, which passes over the second. Where only the first is
 * there the call goes out, as its handler may be a shared one. */
#define RESTATE__LOCKS_HEADER "x-restate-held-locks"

/* In base64url. NULL: out of memory. */
static const char *restate__locks_part(restate__arena *arena, restate_bytes text) {
    char *part = (char *)restate__arena_bytes(arena, text.len / 3 * 4 + 5);
    if (part) *restate__b_base64(part, text, true) = 0;
    return part;
}

static const char *restate__locks_entry(restate__arena *arena, const char *service,
                                        restate_bytes key, const char *scope) {
    const char *name = restate__locks_part(arena, restate_str(service));
    const char *under = restate__locks_part(arena, key);
    const char *in = scope ? restate__locks_part(arena, restate_str(scope)) : NULL;
    return arena->failed ? "" : restate__arena_printf(arena, "%s.%s%s%s", name, under,
                                                      in ? "." : "", in ? in : "");
}

/* The keys that are held while this handler waits; "" if none is. Found once. */
static const char *restate__locks_held(restate__attempt *a) {
    const restate__handler *h = a->handler;
    const char *held = a->request.held;
    if (held) return held;
    held = "";
    if (!a->request.info_ready) restate__attempt_inform(a);
    for (const restate_pair *p = a->request.info.headers; p->name; p++)
        if (strcmp(p->name, RESTATE__LOCKS_HEADER) == 0) held = p->value;
    if (h->takers)
        held = restate__arena_printf(a->arena, "%s%s%s,%s", held, *held ? "," : "",
                                     restate__locks_entry(a->arena, h->service, a->vm.key,
                                                          (const char *)a->vm.scope.ptr),
                                     h->takers);
    return a->request.held = held;
}

static bool restate__locks_kept(restate__attempt *a) {
    return a->handler->options.detect_deadlocks == RESTATE_ON && *restate__locks_held(a);
}

/* The next element of a list, of `*len` bytes. NULL: there is none. */
static const char *restate__locks_next(const char *at, size_t *len) {
    at += *len;
    at += strspn(at, ", ");
    *len = strcspn(at, ", ");
    return *len ? at : NULL;
}

/* Where the list has this element. */
static const char *restate__locks_find(const char *held, const char *entry) {
    size_t len = 0;
    while ((held = restate__locks_next(held, &len)) != NULL)
        if (len == strlen(entry) && strncmp(held, entry, len) == 0) break;
    return held;
}

/* Whether the list says that this handler of the service needs the key. */
static bool restate__locks_takes(restate__arena *arena, const char *held,
                                 const restate_target *to) {
    const char *service = restate__locks_part(arena, restate_str(to->service));
    size_t len = 0, n = strlen(to->handler), skip = service ? strlen(service) + 1 : 0;
    while (service && (held = restate__locks_next(held, &len)) != NULL) {
        if (*held != '~' || len < skip || strncmp(held + 1, service, skip - 1) != 0) continue;
        for (size_t at = skip, k; at < len && held[at] == '.'; at += k + 1) {
            k = strcspn(held + at + 1, "., ");
            if (k == n && strncmp(held + at + 1, to->handler, n) == 0) return true;
        }
    }
    return false;
}

/* A part of an element, for a person. */
static const char *restate__locks_show(restate__arena *arena, const char *part, size_t len) {
    uint8_t *text = restate__arena_bytes(arena, len + 1);
    if (!text) return "";
    size_t n = restate__b_base64_read(restate__b(part, len), true, text, len);
    text[n <= len ? n : 0] = 0;
    return (const char *)text;
}

/* The keys from `at` on, and the one that is called for: a circle. */
static const char *restate__locks_circle(restate__arena *arena, const char *at,
                                         const restate_target *to) {
    const char *text = "";
    for (size_t len = strcspn(at, ", "); at; at = restate__locks_next(at, &len)) {
        size_t service = strcspn(at, "., "), key = service;
        if (*at == '~' || service >= len) continue;
        key = strcspn(at + service + 1, "., ");
        text = restate__arena_printf(arena, "%s%.80s/%.80s -> ", text,
                                     restate__locks_show(arena, at, service),
                                     restate__locks_show(arena, at + service + 1, key));
    }
    return restate__arena_printf(arena, "%s%.80s/%.80s", text, to->service, to->key);
}

/* The failure of a call that would never end; NULL: it may go out. */
static const char *restate__locks_fault(restate_ctx *ctx, const restate_target *to) {
    restate__arena *arena = ctx->attempt->arena;
    const char *held = restate__locks_held(ctx->attempt);
    if (!to->key) return NULL;
    const char *at = restate__locks_find(
        held, restate__locks_entry(arena, to->service, restate_str(to->key), to->scope));
    if (!at || !restate__locks_takes(arena, held, to)) return NULL;
    return restate__arena_printf(arena, "calling %.80s of %.80s/%.80s would wait for ever, as its "
                                 "key is held until this call returns: %s", to->handler,
                                 to->service, to->key, restate__locks_circle(arena, at, to));
}

/* The headers of a call with the keys that are held. NULL: out of memory. */
static const restate_pair *restate__locks_headers(restate_ctx *ctx, const restate_pair *own) {
    size_t n = restate__b_pairs(own);
    restate_pair *all = restate__arena_alloc(ctx->memory, (n + 2) * sizeof *all);
    if (!all) return NULL;
    if (n) memcpy(all, own, n * sizeof *all);
    all[n] = (restate_pair){ RESTATE__LOCKS_HEADER, restate__locks_held(ctx->attempt) };
    return all;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

typedef struct restate__call_args {
    restate_target to;
    const restate_call_options *options;
} restate__call_args;

static bool restate__call_valid(const restate__args *in, const restate_target *to,
                                const restate_call_options *o) {
    const char *texts[] = { to->service, to->handler, to->key, to->scope, o->idempotency_key,
                            o->limit_key, o->name };
    if (!to->service || !*to->service)
        return restate__refuse(in, "the target has no service");
    if (!to->handler || !*to->handler)
        return restate__refuse(in, "the target has no handler");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i] && !restate__b_utf8(restate_str(texts[i])))
            return restate__refuse(in, "a name or a key of the call is not UTF-8");
    const char *fault = restate__ctx_pairs_fault(o->headers);
    if (fault) return restate__refuse(in, "%s", fault);
    const char *empty = o->idempotency_key && !*o->idempotency_key ? "idempotency key"
                        : to->scope && !*to->scope                 ? "scope"
                        : o->limit_key && !*o->limit_key           ? "limit key"
                                                                   : NULL;
    if (empty)
        return restate__refuse(in, "the %s of a call to %s/%s is empty: NULL is none", empty,
                               to->service, to->handler);
    return !o->limit_key || to->scope ||
           restate__refuse(in, "a limit key needs a scope: set the scope of the target");
}

static bool restate__issue_settled(restate__args *in, restate_future *f);

/* A call that would wait for itself has failed when it is made. Its id, too. */
static bool restate__issue_no_call(restate__args *in, restate_future *f, const char *fault) {
    const restate_failure failure = { 409, fault, NULL };
    in->failure = &failure;
    f->id = &f->node;
    return restate__issue_settled(in, f);
}

static bool restate__issue_call(restate__args *in, restate_future *f) {
    static const restate_call_options defaults = { NULL, NULL, 0, NULL, NULL };
    const restate__call_args *given = in->more;
    const restate_target *to = &given->to;
    const restate_call_options *o = given->options ? given->options : &defaults;
    restate_ctx *ctx = in->ctx;
    bool send = f->kind == RESTATE__FUTURE_ID;
    /* A call has a second leaf, for the invocation id; a send is but that. */
    f->id = send ? &f->node : restate__arena_alloc(ctx->memory, sizeof *f->id);
    if (!f->id) return restate__ctx_nomem(ctx) == RESTATE_OK;
    if (!restate__call_valid(in, to, o)) return false;
    const restate_pair *headers = o->headers;
    bool holds = !send && restate__locks_kept(ctx->attempt);
    if (holds) {
        const char *fault = restate__locks_fault(ctx, to);
        headers = restate__locks_headers(ctx, headers);
        if (ctx->memory->failed || in->vm->arena->failed)
            return restate__ctx_nomem(ctx) == RESTATE_OK;
        if (fault) return restate__issue_no_call(in, f, fault);
    }
    if (!restate__op_seal(in)) return false;
    restate__vm_call call = {
        .service = to->service,
        .handler = to->handler,
        .key = to->key ? restate_str(to->key) : restate__b("", 0),
        .scope = to->scope,
        .parameter = in->value.ptr ? in->value : restate__b("", 0),
        .idempotency_key = o->idempotency_key,
        .limit_key = o->limit_key,
        .name = o->name,
        .unstable = in->unstable,
    };
    call.headers = restate__hooks_headers(ctx, to, headers, &call.loose_headers);
    if (!call.headers && !ctx->over) restate__ctx_nomem(ctx);
    if (!call.headers) return false;
    if (holds) call.loose_headers = true;
    if (!send) return restate__vm_call_invocation(in->vm, &call, f->id, &f->node);
    if (o->delay_ms) call.invoke_time_ms = restate__ctx_later(ctx, o->delay_ms);
    return restate__vm_send(in->vm, &call, f->id);
}

RESTATE__OP(call, RESULT, NULL, 0, restate__issue_call(in, f));
RESTATE__OP(send, ID, NULL, 0, restate__issue_call(in, f));

RESTATE_API restate_future *restate_call_async(restate_ctx *ctx, restate_target to,
                                               restate_bytes input,
                                               const restate_call_options *options) {
    const restate__call_args call = { to, options };
    restate__args in = { ctx, "restate_call_async", .value = input, .more = &call };
    return restate__issue_async(&restate__op_call, &in);
}

RESTATE_API restate_status restate_call(restate_ctx *ctx, restate_target to, restate_bytes input,
                                        const restate_call_options *options, restate_bytes *reply) {
    const restate__call_args call = { to, options };
    restate__args in = { ctx, "restate_call", .value = input, .more = &call };
    return restate__issue_await(&restate__op_call, &in, reply);
}

RESTATE_API restate_future *restate_send(restate_ctx *ctx, restate_target to, restate_bytes input,
                                         const restate_call_options *options) {
    const restate__call_args call = { to, options };
    restate__args in = { ctx, "restate_send", .value = input, .more = &call };
    return restate__issue_async(&restate__op_send, &in);
}

RESTATE_API restate_status restate_call_id(restate_ctx *ctx, restate_future *call,
                                           const char **id) {
    restate_status s = RESTATE_ENDED;
    if (id) *id = "";
    if (!restate__ctx_enter(ctx, "restate_call_id")) return RESTATE_ENDED;
    if (restate__future_fits(ctx, call, "restate_call_id")) {
        if (call->id) s = restate__ctx_wait(ctx, call->id);
        else
            restate__ctx_misuse(ctx, "restate_call_id",
                                "the future is not of restate_call_async() or restate_send()");
        if (s == RESTATE_OK && call->id->value.kind == RESTATE__FAILURE)
            s = restate__future_failed(ctx, call->id->value.is.failure);
        else if (s == RESTATE_OK && id)
            *id = (const char *)call->id->value.is.bytes.ptr;
    }
    restate__ctx_detach(ctx);
    return s;
}

RESTATE__OP(cancel, NONE, NULL, RESTATE__RULE_INVOCATION, restate__vm_cancel(in->vm, in->id));

RESTATE_API restate_status restate_cancel(restate_ctx *ctx, const char *invocation_id) {
    restate__args in = { ctx, "restate_cancel", .id = invocation_id };
    return restate__issue(&restate__op_cancel, &in, NULL);
}

/* ---- Awakeables ------------------------------------------------------------------------------ */

RESTATE__OP(awakeable, RESULT, NULL, 0, restate__vm_awakeable(in->vm, &f->node, &in->id));

RESTATE_API restate_future *restate_awakeable(restate_ctx *ctx, const char **id) {
    restate__args in = { ctx, "restate_awakeable", .id = "" };
    restate_future *f = restate__issue_async(&restate__op_awakeable, &in);
    if (id) *id = in.id;
    return f;
}

RESTATE__OP(complete, NONE, NULL, RESTATE__RULE_AWAKEABLE | RESTATE__RULE_PAYLOAD,
            restate__vm_complete_awakeable(in->vm, in->id, in->value, in->failure, in->unstable));

RESTATE_API restate_status restate_resolve(restate_ctx *ctx, const char *awakeable_id,
                                           restate_bytes value) {
    restate__args in = { ctx, "restate_resolve", .id = awakeable_id, .value = value };
    return restate__issue(&restate__op_complete, &in, NULL);
}

RESTATE_API restate_status restate_reject(restate_ctx *ctx, const char *awakeable_id,
                                          const restate_failure *failure) {
    restate__args in = { ctx, "restate_reject", .id = awakeable_id,
                        .failure = failure ? failure : &restate__rejected };
    return restate__issue(&restate__op_complete, &in, NULL);
}

/* ---- Signals and promises -------------------------------------------------------------------- */

RESTATE__OP(signal, RESULT, "name", RESTATE__RULE_NOT_EMPTY,
            restate__vm_signal(in->vm, in->text, &f->node));

RESTATE_API restate_future *restate_signal(restate_ctx *ctx, const char *name) {
    restate__args in = { ctx, "restate_signal", .text = restate_str(name) };
    return restate__issue_async(&restate__op_signal, &in);
}

RESTATE__OP(send_signal, NONE, "name",
            RESTATE__RULE_INVOCATION | RESTATE__RULE_NOT_EMPTY | RESTATE__RULE_PAYLOAD,
            restate__vm_send_signal(in->vm, in->id, in->text, in->value, in->failure,
                                    in->unstable));

RESTATE_API restate_status restate_signal_resolve(restate_ctx *ctx, const char *invocation_id,
                                                  const char *name, restate_bytes value) {
    restate__args in = { ctx, "restate_signal_resolve", .id = invocation_id,
                        .text = restate_str(name),
                        .value = value };
    return restate__issue(&restate__op_send_signal, &in, NULL);
}

RESTATE_API restate_status restate_signal_reject(restate_ctx *ctx, const char *invocation_id,
                                                 const char *name, const restate_failure *failure) {
    restate__args in = { ctx, "restate_signal_reject", .id = invocation_id,
                        .text = restate_str(name),
                        .failure = failure ? failure : &restate__rejected };
    return restate__issue(&restate__op_send_signal, &in, NULL);
}

enum { RESTATE__RULES_PROMISE = RESTATE__RULE_WORKFLOW | RESTATE__RULE_NOT_EMPTY };

RESTATE__OP(promise, RESULT, "name of the promise", RESTATE__RULES_PROMISE,
            restate__vm_get_promise(in->vm, in->text, &f->node));

RESTATE_API restate_future *restate_promise(restate_ctx *ctx, const char *name) {
    restate__args in = { ctx, "restate_promise", .text = restate_str(name) };
    return restate__issue_async(&restate__op_promise, &in);
}

RESTATE__OP(peek, RESULT, "name of the promise", RESTATE__RULES_PROMISE,
            restate__vm_peek_promise(in->vm, in->text, &f->node));

RESTATE_API restate_status restate_promise_peek(restate_ctx *ctx, const char *name,
                                                restate_bytes *value) {
    restate__args in = { ctx, "restate_promise_peek", .text = restate_str(name) };
    return restate__issue_await(&restate__op_peek, &in, value);
}

RESTATE__OP(complete_promise, RESULT, "name of the promise",
            RESTATE__RULES_PROMISE | RESTATE__RULE_PAYLOAD,
            restate__vm_complete_promise(in->vm, in->text, in->value, in->failure,
                                         in->unstable, &f->node));

RESTATE_API restate_status restate_promise_resolve(restate_ctx *ctx, const char *name,
                                                   restate_bytes value) {
    restate__args in = { ctx, "restate_promise_resolve", .text = restate_str(name),
                        .value = value };
    return restate__issue_await(&restate__op_complete_promise, &in, NULL);
}

RESTATE_API restate_status restate_promise_reject(restate_ctx *ctx, const char *name,
                                                  const restate_failure *failure) {
    restate__args in = { ctx, "restate_promise_reject", .text = restate_str(name),
                        .failure = failure ? failure : &restate__rejected };
    return restate__issue_await(&restate__op_complete_promise, &in, NULL);
}

/* ---- Futures that are settled, and results of other invocations ------------------------------ */

/* Settles a future here and now, with a copy. */
static bool restate__issue_settled(restate__args *in, restate_future *f) {
    restate__attempt *a = in->ctx->attempt;
    restate__value v = { .kind = in->failure     ? RESTATE__FAILURE
                                 : in->value.ptr ? RESTATE__VALUE
                                                 : RESTATE__VOID };
    f->kind = RESTATE__FUTURE_SETTLED;
    if (in->failure) v.is.failure = restate__ctx_keep_failure(in->ctx, in->function, in->failure);
    else v.is.bytes = restate__arena_copy(a->arena, in->value);
    if (a->arena->failed) restate__ctx_nomem(in->ctx);
    if (in->ctx->over) return false;
    restate__vm_settle_now(&a->vm, &f->node, 0, &v);
    return true;
}

RESTATE__OP(settled, SETTLED, NULL, 0, restate__issue_settled(in, f));

RESTATE_API restate_future *restate_settled(restate_ctx *ctx, restate_bytes value,
                                            const restate_failure *failure) {
    restate__args in = { ctx, "restate_settled", .value = value, .failure = failure };
    return restate__issue_async(&restate__op_settled, &in);
}

/* Which of the three ways an invocation is named in. False: misuse. */
static bool restate__attach_target(const restate__args *in, restate__vm_target *to) {
    const restate_invocation *of = in->more;
    *to = (restate__vm_target){ .id = of->id,
                                .service = of->target.service,
                                .handler = of->target.handler,
                                .key = of->target.key,
                                .scope = of->id ? NULL : of->target.scope,
                                .idempotency_key = of->idempotency_key };
    if (of->id) return true;
    if (!restate__op_text_given(in, restate_str(to->service), "service of the target"))
        return false;
    to->kind = of->idempotency_key ? RESTATE__BY_IDEMPOTENCY_KEY : RESTATE__BY_WORKFLOW;
    if (!of->idempotency_key)
        return to->handler
                   ? restate__refuse(in, "a target with a handler needs the idempotency key of "
                                     "its call; a workflow is named without handler")
                   : restate__op_text_given(in, restate_str(to->key), "key of the workflow");
    if (to->key && !restate__b_utf8(restate_str(to->key)))  /* "" is a key */
        return restate__refuse(in, "the key of the target is not UTF-8");
    return restate__op_text_given(in, restate_str(to->handler), "handler of the target") &&
           restate__op_text_given(in, restate_str(to->idempotency_key), "idempotency key");
}

/* The failure of naming an invocation as the server would refuse it; NULL: none. */
static const char *restate__attach_fault(const restate__args *in) {
    const restate_invocation *of = in->more;
    const char *scope = of->target.scope;
    const char *fault = of->id  ? restate__b_invocation_id_fault(of->id)
                        : scope ? restate__b_scope_fault(scope)
                                : NULL;
    if (!fault) return NULL;
    if (of->id)
        return restate__arena_printf(in->ctx->memory, RESTATE__NO_ID, of->id,
                                     "invocation (inv_...)", fault);
    return restate__arena_printf(in->ctx->memory, "\"%.80s\" is not a scope: %s", scope, fault);
}

typedef bool restate__attach_fn(restate__vm *vm, const restate__vm_target *to, restate__node *leaf);

static bool restate__attach_as(restate__args *in, restate_future *f, restate__attach_fn *fn) {
    restate__vm_target target;
    const restate_failure failure = { 400, restate__attach_fault(in), NULL };
    if (failure.message) {
        in->failure = &failure;
        return restate__issue_settled(in, f);
    }
    return restate__attach_target(in, &target) && fn(in->vm, &target, &f->node);
}

RESTATE__OP(attach, RESULT, NULL, 0, restate__attach_as(in, f, restate__vm_attach));

RESTATE_API restate_future *restate_attach_async(restate_ctx *ctx, restate_invocation to) {
    restate__args in = { ctx, "restate_attach_async", .more = &to };
    return restate__issue_async(&restate__op_attach, &in);
}

RESTATE_API restate_status restate_attach(restate_ctx *ctx, restate_invocation to,
                                          restate_bytes *reply) {
    restate__args in = { ctx, "restate_attach", .more = &to };
    return restate__issue_await(&restate__op_attach, &in, reply);
}

RESTATE__OP(output, RESULT, NULL, 0, restate__attach_as(in, f, restate__vm_get_output));

RESTATE_API restate_status restate_output(restate_ctx *ctx, restate_invocation of,
                                          restate_bytes *reply) {
    restate__args in = { ctx, "restate_output", .more = &of };
    return restate__issue_await(&restate__op_output, &in, reply);
}

/* ---- Cancellation as a future ---------------------------------------------------------------- */

RESTATE__OP(cancellation, RESULT, NULL, RESTATE__RULE_EXPLICIT,
            restate__vm_cancellation(in->vm, &f->node));

RESTATE_API restate_future *restate_cancellation(restate_ctx *ctx) {
    restate__args in = { .ctx = ctx, .function = "restate_cancellation" };
    return restate__issue_async(&restate__op_cancellation, &in);
}

static bool restate__issue_cancel_calls(restate__args *in, restate_future *f) {
    restate__attempt *a = in->ctx->attempt;
    (void)f;
    while (!a->cut) {
        restate__wait w = restate__vm_cancel_calls(in->vm);
        if (w.kind != RESTATE__WAIT) return w.kind == RESTATE__READY;
        restate__attempt_park(a);
    }
    return false;
}

RESTATE__OP(cancel_calls, NONE, NULL, RESTATE__RULE_EXPLICIT, restate__issue_cancel_calls(in, f));

RESTATE_API restate_status restate_cancel_calls(restate_ctx *ctx) {
    restate__args in = { .ctx = ctx, .function = "restate_cancel_calls" };
    return restate__issue(&restate__op_cancel_calls, &in, NULL);
}

/* ---- Many futures --------------------------------------------------------------------------- */

/* Waits for the first of `count` nodes in `array`, by a combinator for this one wait. */
static restate_status restate__ctx_wait_any(restate_ctx *ctx, restate__node **array, size_t count) {
    restate__node race = { .of.all.count = 0 };     /* that member of the union is all zero */
    if (!restate__vm_combine(&ctx->attempt->vm, &race, RESTATE__RACE, array, count))
        return restate__ctx_end(ctx);
    restate_status s = restate__ctx_drive(ctx, &race);
    restate__vm_dissolve(&ctx->attempt->vm, &race);
    if (s != RESTATE_ENDED) restate__attempt_told(ctx->attempt);
    return s;
}

RESTATE_API restate_status restate_await_for(restate_ctx *ctx, restate_future *future,
                                             uint64_t timeout_ms, restate_bytes *value) {
    restate__args in = { ctx, "restate_await_for", .duration_ms = timeout_ms };
    if (value) *value = restate__b_none();
    if (future && future->node.state != RESTATE__PENDING)
        return restate__ctx_await(ctx, in.function, future, value);
    if (!restate__ctx_enter(ctx, in.function)) return RESTATE_ENDED;
    restate_future *timer = restate__future_fits(ctx, future, in.function)
                                ? restate__issue_async(&restate__op_sleep, &in)
                                : restate__future_none();
    restate_status s = RESTATE_ENDED;
    if (timer->ctx) {
        restate__node *both[] = { &future->node, &timer->node };
        s = restate__ctx_wait_any(ctx, both, 2);
    }
    if (s == RESTATE_OK && future->node.state != RESTATE__PENDING)
        s = restate__future_read(ctx, &future->node, value);
    else if (s == RESTATE_OK) {
        const char *message = restate__arena_printf(ctx->attempt->arena, "timed out after %lu ms",
                                                    (unsigned long)restate__ms(timeout_ms, 0));
        s = restate__ctx_new_failure(ctx, 408, message, RESTATE_TIMEOUT);
    }
    restate__ctx_detach(ctx);
    return s;
}

/* The one of `futures` that was settled first; `count`: none is. */
static size_t restate__first_settled(restate_future *const *futures, size_t count) {
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        if (!futures[i] || futures[i]->node.state == RESTATE__PENDING) continue;
        if (best == count || restate__node_earlier(&futures[i]->node, &futures[best]->node))
            best = i;
    }
    return best;
}

/* An array of futures that a function was given, and the nodes of those that are not NULL. */
typedef struct restate__many {
    restate_future *const *futures;
    size_t count;
    restate__node **nodes;                  /* room for `count`; NULL: to be allocated */
    size_t used;
} restate__many;

/* False: misuse, or out of memory. */
static bool restate__many_take(restate_ctx *ctx, const char *function, restate__many *m) {
    if (!m->nodes)
        m->nodes = restate__arena_alloc(ctx->attempt->arena, (m->count + 1) * sizeof *m->nodes);
    if (!m->nodes) return restate__ctx_nomem(ctx) == RESTATE_OK;
    if (m->count && !m->futures)
        return restate__ctx_misuse(ctx, function, "the array of futures is NULL") == RESTATE_OK;
    for (size_t i = 0; i < m->count; i++) {
        if (!m->futures[i]) continue;
        if (!restate__future_fits(ctx, m->futures[i], function)) return false;
        m->nodes[m->used++] = &m->futures[i]->node;
    }
    return true;
}

/* It is called again and again, so its array is kept. */
RESTATE_API restate_status restate_select(restate_ctx *ctx, restate_future *const *futures,
                                          size_t count, size_t *index) {
    restate__attempt *a = ctx->attempt;
    restate__many m = { .futures = futures, .count = count };
    restate_status s = RESTATE_ENDED;
    size_t found = count;
    if (index) *index = count;
    if (!restate__ctx_enter(ctx, "restate_select")) return RESTATE_ENDED;
    if (count <= a->futures.select_room) m.nodes = a->futures.select_nodes;
    if (restate__many_take(ctx, "restate_select", &m)) {
        if (m.nodes != a->futures.select_nodes) a->futures.select_room = count;
        a->futures.select_nodes = m.nodes;
        s = RESTATE_OK;
        found = restate__first_settled(futures, count);
        if (m.used && found == count) {
            s = restate__ctx_wait_any(ctx, m.nodes, m.used);
            if (s == RESTATE_OK) found = restate__first_settled(futures, count);
        }
    }
    if (index) *index = found;
    restate__ctx_detach(ctx);
    return s;
}

static restate_future *restate__ctx_combine(restate_ctx *ctx, const char *function,
                                            restate__node_kind kind, restate_future *const *futures,
                                            size_t count) {
    restate_future *f = restate__future_new(ctx, RESTATE__FUTURE_RESULT);
    restate__many m = { .futures = futures, .count = count };
    if (!f->ctx || !restate__ctx_enter(ctx, function)) return f;
    bool valid = restate__many_take(ctx, function, &m);
    if (valid && !m.used && kind == RESTATE__RACE)
        restate__ctx_misuse(ctx, function, "a race of no futures never ends: give at least one");
    else if (valid && !restate__vm_combine(&ctx->attempt->vm, &f->node, kind, m.nodes, m.used))
        restate__ctx_end(ctx);
    else restate__graph_losers(&ctx->attempt->vm.graph, restate__run_lose); /* it may be decided */
    restate__ctx_detach(ctx);
    return f;
}

RESTATE_API restate_future *restate_race(restate_ctx *ctx, restate_future *const *futures,
                                         size_t count) {
    return restate__ctx_combine(ctx, "restate_race", RESTATE__RACE, futures, count);
}

RESTATE_API restate_future *restate_any(restate_ctx *ctx, restate_future *const *futures,
                                        size_t count) {
    return restate__ctx_combine(ctx, "restate_any", RESTATE__ANY, futures, count);
}

RESTATE_API restate_future *restate_all(restate_ctx *ctx, restate_future *const *futures,
                                        size_t count) {
    return restate__ctx_combine(ctx, "restate_all", RESTATE__ALL, futures, count);
}

RESTATE_API restate_future *restate_all_settled(restate_ctx *ctx, restate_future *const *futures,
                                                size_t count) {
    return restate__ctx_combine(ctx, "restate_all_settled", RESTATE__ALL_SETTLED, futures, count);
}

/* ---- All of the state ------------------------------------------------------------------------ */

/* A future for each key. NULL: out of memory, or the attempt is over. */
static restate_future **restate__get_each(restate__args *in, const char *const *keys, size_t n) {
    restate_future **futures = restate_alloc(in->ctx, (n + 1) * sizeof *futures);
    for (size_t i = 0; futures && i < n; i++) {
        in->text = restate_str(keys[i]);
        futures[i] = restate__issue_async(&restate__op_get, in);
    }
    return futures;
}

RESTATE_API restate_status restate_get_all(restate_ctx *ctx, const restate_entry **entries) {
    static const restate_entry none[] = { { NULL, { NULL, 0 } } };
    restate__args in = { .ctx = ctx, .function = "restate_get_all" };
    const char *const *keys;
    size_t n = 0, used = 0;
    if (entries) *entries = none;
    restate_future *f = restate__issue_async(&restate__op_keys, &in);
    RESTATE_TRY(restate__ctx_await_keys(ctx, in.function, f, &keys));
    while (keys[n]) n++;
    restate_future **futures = restate__get_each(&in, keys, n);
    restate_entry *list = restate_alloc(ctx, (n + 1) * sizeof *list);
    if (!futures || !list) return RESTATE_ENDED;
    f = restate__ctx_combine(ctx, in.function, RESTATE__ALL, futures, n);
    RESTATE_TRY(restate__ctx_await(ctx, in.function, f, NULL));
    for (size_t i = 0; i < n; i++) {
        list[used].key = keys[i];
        RESTATE_TRY(restate__ctx_await(ctx, in.function, futures[i], &list[used].value));
        used += list[used].value.ptr != NULL;
    }
    list[used].key = NULL;
    if (entries) *entries = list;
    return RESTATE_OK;
}

/* ---- Selectors ------------------------------------------------------------------------------- */

RESTATE_API restate_selector *restate_selector_new(restate_ctx *ctx,
                                                   restate_future *const *futures, size_t count) {
    restate__attempt *a = ctx->attempt;
    restate__many m = { .futures = futures, .count = count };
    if (!ctx->run && !restate__ctx_on_thread(ctx)) return restate__selector_none();
    restate_selector *s = ctx->over ? NULL : restate__arena_alloc(ctx->memory, sizeof *s);
    if (!s) {
        if (!restate__ctx_over(ctx)) restate__ctx_nomem(ctx);
        return restate__selector_none();
    }
    if (!restate__ctx_enter(ctx, "restate_selector_new")) return s;
    bool valid = restate__many_take(ctx, "restate_selector_new", &m);
    size_t *indexes = restate__arena_alloc(a->arena, (m.used + 1) * sizeof *indexes);
    if (valid && indexes) {
        for (size_t i = 0, n = 0; i < count; i++)
            if (futures[i]) indexes[n++] = i;
        s->ctx = ctx;
        s->count = count;
        if (!restate__vm_select(&a->vm, &s->node, m.nodes, indexes, m.used)) restate__ctx_end(ctx);
    } else if (valid) {
        restate__ctx_nomem(ctx);
    }
    restate__ctx_detach(ctx);
    return s;
}

RESTATE_API restate_status restate_selector_next(restate_ctx *ctx, restate_selector *selector,
                                                 size_t *index) {
    restate_status s = RESTATE_OK;
    if (index) *index = selector ? selector->count : 0;
    if (!restate__ctx_enter(ctx, "restate_selector_next")) return RESTATE_ENDED;
    if (!selector || selector->ctx != ctx) {
        s = restate__ctx_misuse(ctx, "restate_selector_next",
                                "the selector is NULL, or of another invocation");
    } else if (selector->node.of.all.pending) {
        s = restate__ctx_wait(ctx, &selector->node);
        if (s == RESTATE_OK) {
            size_t found = restate__vm_selected(&selector->node);
            if (index) *index = found;
        }
    }
    restate__ctx_detach(ctx);
    return s;
}

RESTATE_API size_t restate_selector_remaining(const restate_selector *selector) {
    return selector && selector->ctx && !selector->ctx->over ? selector->node.of.all.pending : 0;
}

/* ---- The life of an attempt ------------------------------------------------------------------ */

/* Writes what the handler's return value means, and gives what became of it. */
static restate_status restate__attempt_conclude(restate__attempt *a, restate_status s) {
    static const restate_failure unsaid = { 500, "the handler failed without saying why", NULL };
    restate_ctx *ctx = &a->ctx;
    const restate_failure *failure = NULL;
    const char *message;
    restate__attempt_hold(a);
    if (ctx->over || a->cut) return RESTATE_ENDED;
    if (s == RESTATE_ENDED)
        return restate__ctx_misuse(
            ctx, a->handler->name,
            "the handler returned RESTATE_ENDED although the attempt was not over: return "
            "what a call returned, or restate_retry()");
    if (!restate__ctx_here(ctx, a->handler->name)) return RESTATE_ENDED;
    if (s != RESTATE_OK && !restate__ctx_is_failure(s)) {
        s = restate__ctx_no_status(ctx, "handler", s, &message);
        if (s != RESTATE_TERMINAL)
            return restate__ctx_misuse(ctx, a->handler->name, "%s", message);
    }
    if (s != RESTATE_OK) failure = ctx->failed ? ctx->failed->failure : &unsaid;
    if (failure) restate__ctx_code(ctx, failure->code);     /* a callee's may be any */
    a->vm.out->stable = ctx->memory;
    if (!restate__vm_output(&a->vm, ctx->reply, failure,
                            ctx->reply_unstable || a->handler->no_output))
        return RESTATE_ENDED;
    restate__vm_end(&a->vm);
    return s;
}

/* What the handler is given: the payload without its seal, present even if it is empty; to a
 * handler without input nothing, whatever came. */
static restate_status restate__attempt_body(restate__attempt *a, restate_bytes *body) {
    restate_status s = restate__ctx_open(&a->ctx, &a->request.input.body, 400);
    *body = a->request.input.body;
    if (!a->handler->no_input || s != RESTATE_OK) return s;
    restate__ctx_say_dropped(&a->ctx, body->len, "the request (.input)",
                             "call it without any, or give .input a codec");
    a->request.input.body = restate__b("", 0);
    *body = restate__b_none();
    return s;
}

/* A task has a thread of its own, which says there what it executes; the worker's said it already
 * where the fiber is on that. */
static restate_status restate__attempt_call(restate__attempt *a, restate_bytes body) {
    restate__crash crash;
    restate__attempt_crash_begin(a, &crash, NULL);
    restate_status s = a->handler->fn(&a->ctx, body);
    restate__crash_end(&crash);
    return s;
}

/* The fiber's function. */
static void restate__attempt_main(void *arg) {
    restate__attempt *a = arg;
    restate_bytes body;
    a->thread = restate__thread_this();
    if (!restate__vm_input(&a->vm, &a->request.input)) return;
    a->entered = 1;                         /* the thread has the attempt: let it go */
    restate__ctx_detach(&a->ctx);
    restate_status s = restate__attempt_body(a, &body);
    a->request.info_ready = false;                  /* the seal may have asked */
    restate__hooks_begin(&a->ctx);
    if (s == RESTATE_OK) s = a->blocking || RESTATE_FIBER == RESTATE_FIBER_THREAD
                                 ? restate__attempt_call(a, body) : a->handler->fn(&a->ctx, body);
    restate__ctx_attach(&a->ctx);
    s = restate__attempt_conclude(a, s);
    restate__ctx_detach(&a->ctx);
    restate__hooks_end(&a->ctx, s);
    restate__ctx_attach(&a->ctx);
}

/* The handler is over. Its host learns of it by `progress` and may free the attempt in there,
 * unless a closure still executes or its turn is queued; these tell it again. */
static void restate__attempt_done(restate__attempt *a) {
    a->state = RESTATE__ATTEMPT_DONE;
    restate__attempt_progress(a);
}

/* The handler wrote below its stack, where there is no guard. Whatever lies there is broken, and
 * what the handler computed may be: the attempt ends, its result (if it had one already) is not
 * told, and its stack is not used again. The library does not end the process for it: the log is
 * there to have that done. */
static void restate__attempt_overflowed(restate__attempt *a) {
    restate__ctx_say(&a->ctx, RESTATE_LOG_ERROR,
                     "stack overflow: raise stack_bytes, which is %lu. Memory below the stack was "
                     "written over: restart the process",
                     (unsigned long)restate__attempt_stack_bytes(a, false));
    if (a->vm.phase >= RESTATE__CLOSED) a->vm.out->failed = true;
    restate__ctx_retry(&a->ctx, RESTATE__E_INTERNAL, "stack overflow: raise stack_bytes", NULL);
    a->abandoned = true;
}

static void restate__attempt_after_resume(restate__attempt *a) {
    uint64_t held = restate__clock_since(a->clock, a->begun_ms);
    if (!a->blocking && held >= a->handler->patience_ms)
        restate__ctx_say(
            &a->ctx, RESTATE_LOG_WARN,
            "the handler held its event loop for %lu ms: block in restate_run(), or register it "
            "with .options.blocking",
            (unsigned long)held);
    if (restate__fiber_overflowed(a->fiber)) restate__attempt_overflowed(a);
    if (!restate__fiber_done(a->fiber) && !a->abandoned) return;
    restate__ctx_end(&a->ctx);
    if (!a->abandoned || !a->closures.executing) restate__attempt_drop_fiber(a);
    restate__attempt_done(a);
}

static void restate__attempt_resume(restate__attempt *a) {
    restate__duty *duty = &a->worker->duty;
    restate__crash crash;
    a->begun_ms = restate__clock_ms(a->clock);
    restate__duty_begin(duty, a->handler->service, a->handler->name, a->vm.debug_id, a->begun_ms,
                        a->handler->patience_ms);
    restate__attempt_crash_begin(a, &crash, NULL);
    restate__fiber_resume(a->fiber);
    restate__crash_end(&crash);
    restate__duty_end(duty);
    restate__attempt_after_resume(a);
}

static void restate__attempt_start(restate__attempt *a) {
    restate__fiber_kind kind = a->blocking ? RESTATE__FIBER_THREAD : RESTATE__FIBER_SWITCHED;
    a->fiber = restate__fiber_new(&a->worker->fibers, kind, restate__attempt_stack_bytes(a, false),
                                  restate__attempt_main, a);
    if (a->fiber) {
        a->state = RESTATE__ATTEMPT_RUNNING;
        restate__attempt_resume(a);
        return;
    }
    restate__ctx_retry(&a->ctx, RESTATE__E_INTERNAL, "no memory for the handler's stack", NULL);
    restate__attempt_done(a);
}

/* Something happened that the handler may wait for, or that keeps it from being started. */
static void restate__attempt_turn(restate__note *note) {
    restate__attempt *a = RESTATE__HOST(restate__attempt, turn, note);
    switch (a->state) {
    case RESTATE__ATTEMPT_NEW:
        if (a->cut || a->vm.phase == RESTATE__ERRORED) restate__attempt_done(a);
        else if (restate__vm_ready(&a->vm)) restate__attempt_start(a);
        return;
    case RESTATE__ATTEMPT_PARKED:
        if (!a->cut || !a->closures.executing) restate__attempt_resume(a);
        return;
    case RESTATE__ATTEMPT_DONE:
        restate__attempt_progress(a);
        return;
    default:
        return;
    }
}

/* A thread that was let go asks for its attempt. */
static void restate__attempt_wanted(restate__note *note) {
    restate__attempt_resume(RESTATE__HOST(restate__attempt, want, note));
}

/* `a` is zeroed memory of the host, in which `handler`, `logger` and `arena` are set. The host
 * keeps all of it, and `out`, until restate__attempt_over(). */
RESTATE__PRIVATE void restate__attempt_init(restate__attempt *a, restate__worker *worker,
                                            const restate__vm_options *options,
                                            restate__buf *out) {
    a->worker = worker;
    a->clock = a->logger->clock;
    a->blocking = a->handler->options.blocking == RESTATE_ON;
    if (a->blocking) {
        restate__cache_init(&a->own_cache, worker->allocator, NULL, 0);
        restate__arena_init(&a->own, &a->own_cache);
    }
    restate__vm_init(&a->vm, options, a->arena, out);
    a->ctx.attempt = a;
    a->ctx.memory = a->blocking ? &a->own : a->arena;
    a->turn.deliver = restate__attempt_turn;
    a->want.deliver = restate__attempt_wanted;
    a->next = worker->attempts;
    if (a->next) a->next->prev = a;
    worker->attempts = a;
}

/* Whether everything is over, so that restate__attempt_free() may be called. */
RESTATE__PRIVATE bool restate__attempt_over(const restate__attempt *a) {
    return a->state == RESTATE__ATTEMPT_DONE && !a->closures.executing && !a->turn.queued;
}

RESTATE__PRIVATE void restate__attempt_free(restate__attempt *a) {
    if (a->prev) a->prev->next = a->next;
    else a->worker->attempts = a->next;
    if (a->next) a->next->prev = a->prev;
    restate__ctx_release(&a->ctx);
    for (restate__run *r = a->closures.all; r; r = r->next_run) {
        r->arena.cache = &a->worker->cache;
        restate__arena_free(&r->arena);
    }
    if (a->blocking) restate__arena_free(&a->own);
}

/* Says on the worker's thread, between its turns, what executes although it was told to end:
 * blocking handlers and closures. Returns how many; the first one is named in `text`. */
RESTATE__PRIVATE unsigned restate__attempt_tell_left(restate__worker *w, char *text, size_t size) {
    const restate__run *r;
    unsigned n = 0;
    for (restate__attempt *a = w->attempts; a; a = a->next) {
        const char *id = a->vm.debug_id.ptr ? (const char *)a->vm.debug_id.ptr : "";
        bool blocks = a->state == RESTATE__ATTEMPT_DETACHED || a->state == RESTATE__ATTEMPT_RUNNING;
        if (blocks) {
            if (!n++)
                snprintf(text, size, "the blocking handler %s/%s (invocation %s) does not return",
                         a->handler->service, a->handler->name, id);
            restate__ctx_say(&a->ctx, RESTATE_LOG_ERROR,
                             "the blocking handler does not return: look at "
                             "restate_stop_requested() in long work");
        }
        for (r = a->closures.live; r; r = r->next_live) {
            const char *name;
            if (!r->pooled) continue;
            name = (const char *)r->future->node.of.closure.name.ptr;
            if (!n++)
                snprintf(text, size, "the closure \"%s\" of %s/%s (invocation %s) does not return",
                         name, a->handler->service, a->handler->name, id);
            restate__ctx_say(&a->ctx, RESTATE_LOG_ERROR,
                             "the closure \"%s\" does not return: look at "
                             "restate_stop_requested() in long work", name);
        }
    }
    return n;
}

/* A cancellation is in the queue: closures that execute now may give up. */
static void restate__attempt_cancelled(restate__attempt *a) {
    RESTATE__OR(&a->stop, RESTATE__STOP_CANCELLED, RELAXED);
    for (restate__run *r = a->closures.live; r; r = r->next_live)
        RESTATE__STORE(&r->stop, 1, RELAXED);
}

/* Bytes of the request body. */
RESTATE__PRIVATE void restate__attempt_feed(restate__attempt *a, restate_bytes bytes) {
    restate__vm_feed(&a->vm, bytes);
    if (a->vm.cancel_arrived) restate__attempt_cancelled(a);
    if (a->vm.phase == RESTATE__ERRORED) restate__attempt_withdraw(a);
    restate__worker_later(a->worker, &a->turn);
}

RESTATE__PRIVATE void restate__attempt_end_input(restate__attempt *a) {
    if (a->vm.input_closed) return;
    restate__vm_end_input(&a->vm);
    restate__worker_later(a->worker, &a->turn);
}

/* The stream is gone: nothing is said any more; the handler is told when its closures have
 * finished. */
RESTATE__PRIVATE void restate__attempt_cut(restate__attempt *a) {
    a->cut = true;
    RESTATE__OR(&a->stop, RESTATE__STOP_ENDED, RELAXED);
    restate__attempt_withdraw(a);
    restate__worker_later(a->worker, &a->turn);
}

/* ================================================================================================
// >>json  reading, writing and checking JSON                                       [restate__json_]
// RFC 8259 exactly, without recursion. cJSON gets only what the scanner has accepted.
================================================================================================ */

/* 1. There is one scanner: restate__json_document() checks a text. It does not recurse, and of each
 *    open level it keeps one bit.
 * 2. The functions under "Pulling" take apart what the scanner has accepted. So they look for no
 *    faults of syntax. Only strings can still fail: the grammar allows some that UTF-8 (a lone
 *    surrogate) or a C string (a zero character) cannot represent.
 * 3. A number stays text until its type is known. restate__json_whole() then reads integers of any
 *    size exactly, restate__json_double_of() the nearest double.
 * 4. There is one writer, restate__json_out: text that grows in an arena. */

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#if !defined(RESTATE_NO_CJSON)
#  include <cjson/cJSON.h>
#endif

#define RESTATE__JSON_LEVELS 100u           /* of arrays and objects inside each other */
#define RESTATE__JSON_NUMBER_BYTES 63u      /* cJSON before 1.7.19 reads longer ones as two */
#define RESTATE__JSON_COLUMNS 1000          /* the largest width and precision of a format */

/* ---- Numbers --------------------------------------------------------------------------------- */

static bool restate__json_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* Whether the value that begins here is a number. */
static bool restate__json_is_number(const uint8_t *value) {
    return *value == '-' || restate__json_digit(*value);
}

/* Behind the characters at `p` that a number may consist of. */
static const uint8_t *restate__json_number_end(const uint8_t *p, const uint8_t *end) {
    while (p < end && (restate__json_digit(*p) || (*p && strchr("+-.eE", *p)))) p++;
    return p;
}

#define RESTATE__JSON_POWERS 22             /* 10^22 is the largest power of ten that is a double */
static const double restate__json_power[RESTATE__JSON_POWERS + 1] = {
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
#  define RESTATE__JSON_EXACT true          /* one operation on doubles is rounded once */
#else
#  define RESTATE__JSON_EXACT false
#endif

/* The parts of a number: digits, perhaps with a point among them. Its value is the digits without
 * the point, times 10^scale. */
typedef struct restate__json_decimal {
    const uint8_t *digits, *end;
    int64_t count, scale;
    bool negative;
} restate__json_decimal;

/* `text` is known to be a number. */
static restate__json_decimal restate__json_take_apart(restate_bytes text) {
    const uint8_t *p = text.ptr, *end = p + text.len;
    restate__json_decimal d = { .negative = *p == '-' };
    int64_t exponent = 0, fraction = 0;
    bool point = false;
    for (d.digits = p += d.negative; p < end && (*p == '.' || restate__json_digit(*p)); p++) {
        if (*p == '.') point = true;
        else d.count++, fraction += point;
    }
    d.end = p;
    if (p < end) {
        bool minus = *++p == '-';
        for (p += *p == '-' || *p == '+'; p < end; p++)
            if (exponent < INT64_MAX / 100) exponent = exponent * 10 + (*p - '0');
        if (minus) exponent = -exponent;
    }
    d.scale = exponent - fraction;
    return d;
}

/* Reads an integer exactly; 3.0 and 3e0 are integers, too. `*out` is the number of `bits` bits,
 * extended to 64 with its sign. Returns NULL, or what was expected. */
static const char *restate__json_whole(restate_bytes text, unsigned bits, bool is_signed,
                                       uint64_t *out) {
    restate__json_decimal d = restate__json_take_apart(text);
    uint64_t n = 0, most = UINT64_MAX >> (64 - bits);
    int64_t whole = d.scale < 0 ? d.count + d.scale : d.count;
    if (is_signed) most = (most >> 1) + d.negative;
    for (const uint8_t *p = d.digits; p < d.end; p++) {
        unsigned digit = *p - (unsigned)'0';
        if (*p == '.') continue;
        if (whole-- <= 0) {
            if (digit) return "an integer";
        } else {
            if (n > (most - digit) / 10u) return "an integer of 64 bits";
            n = n * 10u + digit;
        }
    }
    for (int64_t i = 0; n && i < d.scale; i++) {
        if (n > most / 10u) return "an integer of 64 bits";
        n *= 10u;
    }
    if (d.negative && n && !is_signed) return "an integer";
    *out = d.negative ? 0 - n : n;
    return NULL;
}

/* The nearest double, by strtod(). That expects the decimal point of the current locale: printing
 * 0.5 shows it. False: beyond the range, or (the arena has failed) out of memory. Texts of up to
 * RESTATE__JSON_NUMBER_BYTES need no arena. */
static bool restate__json_strtod(restate__arena *arena, restate_bytes text, double *out) {
    char small[RESTATE__JSON_NUMBER_BYTES + 10], point[12], *copy = small;
    int n = snprintf(point, sizeof point, "%.1f", 0.5);
    size_t wide = n > 2 && n < (int)sizeof point ? (size_t)n - 2 : 1;
    if (text.len + wide >= sizeof small)
        copy = (char *)restate__arena_bytes(arena, text.len + wide);
    if (!copy) return false;
    char *to = copy;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '.') {
            *to++ = (char)text.ptr[i];
        } else {
            memcpy(to, point + 1, wide);
            to += wide;
        }
    }
    *to = 0;
    *out = strtod(copy, NULL);
    return *out <= DBL_MAX && *out >= -DBL_MAX;
}

/* The nearest double. Where the digits are at most 2^53 and the power of ten is a double, both are
 * exact, and one multiplication or division rounds once. strtod() reads all other numbers. */
static bool restate__json_double_of(restate__arena *arena, restate_bytes text, double *out) {
    restate__json_decimal d = restate__json_take_apart(text);
    uint64_t n = 0;
    if (!RESTATE__JSON_EXACT || d.count > 18 || d.scale > RESTATE__JSON_POWERS ||
        d.scale < -RESTATE__JSON_POWERS)
        return restate__json_strtod(arena, text, out);
    for (const uint8_t *p = d.digits; p < d.end; p++)
        if (*p != '.') n = n * 10u + (uint64_t)(*p - '0');
    if (n > (uint64_t)1 << 53) return restate__json_strtod(arena, text, out);
    *out = d.scale < 0 ? (double)n / restate__json_power[-d.scale]
                       : (double)n * restate__json_power[d.scale];
    if (d.negative) *out = -*out;
    return true;
}

/* ---- Scanner --------------------------------------------------------------------------------- */

/* A text and the place that the scanner has reached. After a fault `at` is the fault's place, and
 * `expected` says what should be there. */
typedef struct restate__json_scan {
    const uint8_t *begin, *at, *end;
    const char *expected;                   /* NULL: all is well */
    restate_bytes wanted;                   /* name of a member of the outermost object; absent:
                                               the whole document */
    restate_bytes found;                    /* its value: the first of that name, as in cJSON */
    uint64_t objects[2];                    /* a bit for each open level: it is an object */
    uint32_t depth, levels;                 /* how many are open, how many may be */
    bool strict;                            /* refuse what C strings and cJSON cannot represent */
    bool zeros;                             /* but accept zero characters */
} restate__json_scan;

static restate__json_scan restate__json_scan_of(restate_bytes text) {
    return (restate__json_scan){ .begin = text.ptr, .at = text.ptr,
                                 .end = text.len ? text.ptr + text.len : text.ptr,
                                 .levels = RESTATE__JSON_LEVELS };
}

static bool restate__json_fault(restate__json_scan *s, const uint8_t *at, const char *expected) {
    s->at = at;
    s->expected = expected;
    return false;
}

static const uint8_t *restate__json_space(restate__json_scan *s) {
    const uint8_t *p = s->at, *end = s->end;
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return s->at = p;
}

/* Whether `c` comes next, behind white space. */
static bool restate__json_is_next(restate__json_scan *s, char c) {
    return restate__json_space(s) < s->end && *s->at == (uint8_t)c;
}

static bool restate__json_hex(restate__json_scan *s, const uint8_t *p, uint32_t *unit) {
    *unit = 0;
    if (s->end - p < 4) return false;
    for (int i = 0; i < 4; i++) {
        uint32_t c = p[i], low = c | 0x20u;
        if (restate__json_digit(p[i])) *unit = *unit << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f') *unit = *unit << 4 | (low - 'a' + 10u);
        else return false;
    }
    return true;
}

/* Takes the escape at `at`, or two that are a pair of surrogates. RFC 8259's grammar allows a lone
 * surrogate, which is no character: `*code` is the surrogate then; if strict, it is a fault. */
static bool restate__json_escape(restate__json_scan *s, uint32_t *code) {
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const uint8_t *start = s->at;
    const char *name = s->end - start > 1 && start[1] ? strchr(names, start[1]) : NULL;
    uint32_t low;
    if (name) {
        *code = (uint8_t)means[name - names];
        s->at += 2;
        return true;
    }
    if (s->end - start < 2 || start[1] != 'u' || !restate__json_hex(s, start + 2, code))
        return restate__json_fault(s, start, "an escape of JSON");
    s->at += 6;
    if ((*code & 0xFC00u) == 0xD800u && s->end - s->at >= 6 && s->at[0] == '\\' &&
        s->at[1] == 'u' && restate__json_hex(s, s->at + 2, &low) && (low & 0xFC00u) == 0xDC00u) {
        *code = 0x10000u + ((*code & 0x3FFu) << 10 | (low & 0x3FFu));
        s->at += 6;
    }
    if (s->strict && !s->zeros && *code == 0)
        return restate__json_fault(s, start, "a string without a zero character (which "
                                             "restate_json_text() reads)");
    if (!s->strict || (*code & 0xFFFFF800u) != 0xD800u) return true;
    return restate__json_fault(s, start, "a pair of surrogates");
}

static bool restate__json_string(restate__json_scan *s) {
    const uint8_t *start = s->at + 1, *p = start, *end = s->end;
    uint32_t code, seen = 0;
    for (;;) {
        while (p < end && *p >= 0x20 && *p != '"' && *p != '\\') seen |= *p++;
        if (p == end) return restate__json_fault(s, p, "a closing quotation mark");
        if (*p == '"') break;
        if (*p != '\\') return restate__json_fault(s, p, "an escape for a control character");
        s->at = p;
        if (!restate__json_escape(s, &code)) return false;
        p = s->at;
    }
    s->at = p + 1;
    restate_bytes text = restate__b(start, (size_t)(p - start));
    if (!(seen & 0x80u) || restate__b_utf8(text)) return true;
    for (size_t n; (n = restate__b_character(text)) != 0; text.len -= n) text.ptr += n;
    return restate__json_fault(s, text.ptr, "UTF-8");
}

/* Behind the digits at `p`; NULL, and a fault: there is none. */
static const uint8_t *restate__json_digits(restate__json_scan *s, const uint8_t *p) {
    const uint8_t *first = p;
    while (p < s->end && restate__json_digit(*p)) p++;
    if (p > first) return p;
    restate__json_fault(s, p, "a digit");
    return NULL;
}

static bool restate__json_number(restate__json_scan *s) {
    const uint8_t *start = s->at, *first = start + (*start == '-'), *end = s->end;
    const uint8_t *p = restate__json_digits(s, first);
    bool exponent = false;
    double value;
    if (!p) return false;
    if (*first == '0' && p > first + 1) return restate__json_fault(s, first, "no leading zero");
    if (p < end && *p == '.' && !(p = restate__json_digits(s, p + 1))) return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        exponent = true;
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        if (!(p = restate__json_digits(s, p))) return false;
    }
    s->at = p;
    if (!s->strict) return true;
    if ((size_t)(p - start) > RESTATE__JSON_NUMBER_BYTES)
        return restate__json_fault(s, start, "a number of at most 63 characters");
    if (exponent && !restate__json_double_of(NULL, restate__b(start, (size_t)(p - start)), &value))
        return restate__json_fault(s, start, "a number in the range of double");
    return true;
}

static bool restate__json_word(restate__json_scan *s, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return restate__json_fault(s, s->at, "a value");
    s->at += n;
    return true;
}

#define RESTATE__JSON_NUMERIC "-0123456789"  /* what numbers begin with */

static bool restate__json_scalar(restate__json_scan *s) {
    if (s->at == s->end) return restate__json_fault(s, s->at, "a value");
    switch (*s->at) {
    case '"': return restate__json_string(s);
    case 't': return restate__json_word(s, "true");
    case 'f': return restate__json_word(s, "false");
    case 'n': return restate__json_word(s, "null");
    default:
        if (restate__json_is_number(s->at)) return restate__json_number(s);
        return restate__json_fault(s, s->at, "a value");
    }
}

/* Writes a character in UTF-8. */
static size_t restate__json_encode(uint32_t code, uint8_t to[4]) {
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6) to[i] = (uint8_t)(0x80u | (code & 0x3Fu));
    to[0] = (uint8_t)(lead[n] | code);
    return n;
}

/* Whether `name`, the text between two quotation marks, is the wanted one. An escape is longer than
 * its character, so a shorter text is another name. */
static bool restate__json_name_is(restate_bytes name, restate_bytes wanted) {
    size_t i = 0;
    if (name.len < wanted.len) return false;
    if (!name.len || !memchr(name.ptr, '\\', name.len)) return restate__b_equal(name, wanted);
    restate__json_scan s = restate__json_scan_of(name);
    while (s.at < s.end) {
        uint8_t unit[4] = { *s.at };
        size_t n = 1;
        uint32_t code;
        if (*s.at != '\\') s.at++;
        else if (restate__json_escape(&s, &code)) n = restate__json_encode(code, unit);
        else return false;
        if (wanted.len - i < n || memcmp(wanted.ptr + i, unit, n) != 0) return false;
        i += n;
    }
    return i == wanted.len;
}

static bool restate__json_name(restate__json_scan *s) {
    const uint8_t *start = restate__json_space(s) + 1;
    if (s->at == s->end || *s->at != '"') return restate__json_fault(s, s->at, "a member's name");
    if (!restate__json_string(s)) return false;
    restate_bytes name = restate__b(start, (size_t)(s->at - start) - 1);
    if (restate__json_space(s) == s->end || *s->at != ':')
        return restate__json_fault(s, s->at, "':'");
    s->at++;
    restate__json_space(s);
    if (s->depth == 1 && s->wanted.ptr && !s->found.ptr && restate__json_name_is(name, s->wanted))
        s->found.ptr = s->at;
    return true;
}

static bool restate__json_in_object(const restate__json_scan *s) {
    uint32_t i = s->depth - 1;
    return s->depth && (s->objects[i / 64] >> i % 64 & 1u);
}

/* At an opening bracket: opens a level and, in an object, takes the first name. `*empty`: there is
 * nothing inside, and the closing bracket was taken, too. */
static bool restate__json_open(restate__json_scan *s, bool *empty) {
    bool object = *s->at == '{';
    uint32_t i = s->depth;
    uint64_t bit = (uint64_t)1 << i % 64;
    if (i >= s->levels) return restate__json_fault(s, s->at, "less nesting (at most 100 levels)");
    s->at++;
    *empty = restate__json_is_next(s, object ? '}' : ']');
    if (*empty) {
        s->at++;
        return true;
    }
    s->objects[i / 64] = object ? s->objects[i / 64] | bit : s->objects[i / 64] & ~bit;
    s->depth++;
    return !object || restate__json_name(s);
}

/* Behind a value: closes levels until another value has to follow. `*done`: all are closed. */
static bool restate__json_after(restate__json_scan *s, bool *done) {
    for (;;) {
        bool object = restate__json_in_object(s);
        if (s->depth == 1 && s->found.ptr && !s->found.len)
            s->found.len = (size_t)(s->at - s->found.ptr);
        *done = s->depth == 0;
        if (*done) return true;
        if (restate__json_space(s) == s->end || (*s->at != ',' && *s->at != (object ? '}' : ']')))
            return restate__json_fault(s, s->at, object ? "',' or '}'" : "',' or ']'");
        if (*s->at++ == ',') return !object || restate__json_name(s);
        s->depth--;
    }
}

static bool restate__json_value(restate__json_scan *s) {
    bool done = false;
    while (!done) {
        bool complete = true;
        if (restate__json_space(s) < s->end && (*s->at == '{' || *s->at == '[')) {
            if (!restate__json_open(s, &complete)) return false;
        } else if (!restate__json_scalar(s)) {
            return false;
        }
        if (complete && !restate__json_after(s, &done)) return false;
    }
    return true;
}

/* A value and nothing else. */
static bool restate__json_document(restate__json_scan *s) {
    const uint8_t *start = restate__json_space(s);
    if (!restate__json_value(s)) return false;
    if (!s->wanted.ptr) s->found = restate__b(start, (size_t)(s->at - start));
    return restate__json_space(s) == s->end || restate__json_fault(s, s->at, "the end");
}

/* ---- Pulling --------------------------------------------------------------------------------- */
/* These functions move through a text that restate__json_document() has accepted (rule 2). */

/* At an opening bracket: takes it. False: nothing is inside, and the closing one is taken, too. */
static bool restate__json_first(restate__json_scan *s) {
    s->at++;
    if (*restate__json_space(s) != '}' && *s->at != ']') return true;
    s->at++;
    return false;
}

/* Behind an element or member: takes the comma, or (false) the closing bracket. */
static bool restate__json_more(restate__json_scan *s) {
    bool more = *restate__json_space(s) == ',';
    s->at++;
    restate__json_space(s);
    return more;
}

/* Takes a string or number. Returns its text; that of a string is between the quotation marks. */
static restate_bytes restate__json_raw(restate__json_scan *s) {
    const uint8_t *start = s->at, *p = start;
    if (*p == '"') {
        for (p++; *p != '"';) p += *p == '\\' ? 2 : 1;
        s->at = p + 1;
        return restate__b(start + 1, (size_t)(p - start) - 1);
    }
    s->at = restate__json_number_end(p, s->end);
    return restate__b(start, (size_t)(s->at - start));
}

/* Takes a member's name and its colon. Returns the name with its escapes. */
static restate_bytes restate__json_key(restate__json_scan *s) {
    restate_bytes name = restate__json_raw(s);
    restate__json_space(s);
    s->at++;
    restate__json_space(s);
    return name;
}

/* Takes the string at `at`, writes its characters and a zero byte to `to`, and returns their end.
 * The length of the text with one quotation mark is always enough `room`. NULL: it needs more, or
 * (`expected` says why) it cannot be represented. */
static uint8_t *restate__json_unescape(restate__json_scan *s, uint8_t *to, size_t room) {
    const uint8_t *p = s->at + 1;
    uint8_t unit[4], *end = to + room - 1;
    for (uint32_t code;; p = s->at) {
        while (*p != '"' && *p != '\\' && to < end) *to++ = *p++;
        if (*p == '"') break;
        if (*p != '\\') return NULL;
        s->at = p;
        if (!restate__json_escape(s, &code)) return NULL;
        size_t n = restate__json_encode(code, unit);
        if ((size_t)(end - to) < n) return NULL;
        memcpy(to, unit, n);
        to += n;
    }
    s->at = p + 1;
    *to = 0;
    return to;
}

/* Takes the string at `at`. Returns a slice of the text, or, if there are escapes in it, a copy. A
 * quotation mark or a zero byte follows. Absent: it cannot be represented (`expected` says why), or
 * out of memory. */
static restate_bytes restate__json_pull(restate__json_scan *s, restate__arena *arena) {
    restate__json_scan from = *s;
    restate_bytes text = restate__json_raw(s);
    if (!text.len || !memchr(text.ptr, '\\', text.len)) return text;
    uint8_t *copy = restate__arena_bytes(arena, text.len + 1);
    uint8_t *end = copy ? restate__json_unescape(&from, copy, text.len + 1) : NULL;
    *s = from;
    return end ? restate__b(copy, (size_t)(end - copy)) : restate__b_none();
}

/* ---- Messages -------------------------------------------------------------------------------- */

typedef struct restate__json_text { char s[56]; } restate__json_text;

#define RESTATE__JSON_EXPECTED "expected %s, found %s at byte %zu"

/* Describes, in ASCII, what is at `at`: if `value`, the kind of the value or its number, else the
 * character. */
static restate__json_text restate__json_found(const uint8_t *at, const uint8_t *end, bool value) {
    restate__json_text t;
    size_t left = (size_t)(end - at), n = left ? 1 : 0;
    const char *kind = NULL;
    if (!n) kind = "the end";
    else if (*at == '\\') n = left > 1 && at[1] == 'u' ? 6 : 2;
    else if (value && restate__json_is_number(at))
        n = (size_t)(restate__json_number_end(at, left < 40 ? end : at + 40) - at);
    else if (value)
        kind = *at == '"' ? "string" : *at == '{' ? "object" : *at == '[' ? "array"
               : *at == 'n' ? "null" : "boolean";
    if (n > left) n = left;
    if (kind) snprintf(t.s, sizeof t.s, "%s", kind);
    else if (*at < 0x20 || *at >= 0x7F) snprintf(t.s, sizeof t.s, "byte 0x%02X", *at);
    else if ((n > 1 || value) && restate__b_utf8(restate__b(at, n)))
        snprintf(t.s, sizeof t.s, "%.*s", (int)n, (const char *)at);
    else snprintf(t.s, sizeof t.s, "'%c'", *at);
    return t;
}

/* ---- Getters --------------------------------------------------------------------------------- */

/* The arguments of a getter, and the value that it finds: absent if the default stays. */
typedef struct restate__json_getter {
    restate_ctx *ctx;
    restate_bytes json;
    const char *member;
    restate_bytes value;
} restate__json_getter;

/* `value`: the JSON is well-formed, but the value at `at` is not the expected one. */
static restate_status restate__json_wrong(const restate__json_getter *g, const uint8_t *at,
                                          const char *expected, bool value) {
    restate__json_text found = restate__json_found(at, g->json.ptr + g->json.len, value);
    const char *member = g->member;
    return restate_fail(g->ctx, restate__ctx_json_code(g->ctx, g->json),
                        "json: %s%s%s" RESTATE__JSON_EXPECTED, member ? "member '" : "",
                        member ? member : "", member ? "': " : "", expected, found.s,
                        (size_t)(at - g->json.ptr));
}

/* Checks the whole document and finds the value, which has to begin with one of the characters in
 * `first`. Empty bytes count as absent (rule 6), as in all functions that read JSON. */
static restate_status restate__json_find(restate__json_getter *g, const char *first,
                                         const char *expected) {
    restate__json_scan s = restate__json_scan_of(g->json);
    if (restate__ctx_over(g->ctx)) return RESTATE_ENDED;
    if (!g->json.len) return RESTATE_OK;
    s.wanted = restate_str(g->member);
    const uint8_t *begin = restate__json_space(&s);
    if (!restate__json_document(&s)) return restate__json_wrong(g, s.at, s.expected, false);
    if (g->member && *begin != 'n' && *begin != '{')
        return restate__json_wrong(g, begin, "an object", true);
    if (!s.found.ptr || *s.found.ptr == 'n') return RESTATE_OK;
    if (first && !strchr(first, *s.found.ptr))
        return restate__json_wrong(g, s.found.ptr, expected, true);
    g->value = s.found;
    return RESTATE_OK;
}

/* A fast path for the commonest document: an integer of up to 18 digits and nothing else. */
static bool restate__json_plain_int(restate_bytes json, long long *out) {
    size_t first = json.len && json.ptr[0] == '-', i = first;
    long long n = 0;
    if (json.len <= i || json.len - i > 18 || (json.ptr[i] == '0' && json.len - i > 1))
        return false;
    for (; i < json.len; i++) {
        if (!restate__json_digit(json.ptr[i])) return false;
        n = 10 * n + (json.ptr[i] - '0');
    }
    *out = first ? -n : n;
    return true;
}

RESTATE_API restate_status restate_json_int(restate_ctx *ctx, restate_bytes json,
                                            const char *member, long long *out) {
    restate__json_getter g = { ctx, json, member, { 0, 0 } };
    uint64_t bits = 0;
    long long n;
    if (!member && !ctx->over && restate__json_plain_int(json, &n)) {
        if (out) *out = n;
        return RESTATE_OK;
    }
    restate_status e = restate__json_find(&g, RESTATE__JSON_NUMERIC, "an integer");
    if (e != RESTATE_OK || !g.value.ptr) return e;
    const char *expected = restate__json_whole(g.value, 64, true, &bits);
    if (expected) return restate__json_wrong(&g, g.value.ptr, expected, true);
    if (out) *out = (long long)bits;
    return RESTATE_OK;
}

RESTATE_API restate_status restate_json_double(restate_ctx *ctx, restate_bytes json,
                                               const char *member, double *out) {
    restate__json_getter g = { ctx, json, member, { 0, 0 } };
    restate_status e = restate__json_find(&g, RESTATE__JSON_NUMERIC, "a number");
    double n;
    if (e != RESTATE_OK || !g.value.ptr) return e;
    restate__arena *arena = restate__ctx_arena(ctx);
    if (!restate__json_double_of(arena, g.value, &n)) {
        if (arena->failed) return restate__ctx_nomem(ctx);
        return restate__json_wrong(&g, g.value.ptr, "a number in the range of double", true);
    }
    if (out) *out = n;
    return RESTATE_OK;
}

RESTATE_API restate_status restate_json_bool(restate_ctx *ctx, restate_bytes json,
                                             const char *member, bool *out) {
    restate__json_getter g = { ctx, json, member, { 0, 0 } };
    restate_status e = restate__json_find(&g, "tf", "a boolean");
    if (e != RESTATE_OK || !g.value.ptr) return e;
    if (out) *out = *g.value.ptr == 't';
    return RESTATE_OK;
}

/* `zeros`: the string may contain zero characters. Absent bytes if the default stays. */
static restate_status restate__json_string_of(restate__json_getter *g, bool zeros,
                                              restate_bytes *out) {
    restate_status e = restate__json_find(g, "\"", "a string");
    if (e != RESTATE_OK || !g->value.ptr) return e;
    uint8_t *copy = restate__arena_bytes(restate__ctx_arena(g->ctx), g->value.len);
    if (!copy) return restate__ctx_nomem(g->ctx);
    restate__json_scan s = restate__json_scan_of(g->value);
    s.strict = true;
    s.zeros = zeros;
    uint8_t *end = restate__json_unescape(&s, copy, g->value.len);
    if (!end) return restate__json_wrong(g, s.at, s.expected, false);
    *out = restate__b(copy, (size_t)(end - copy));
    return RESTATE_OK;
}

RESTATE_API restate_status restate_json_string(restate_ctx *ctx, restate_bytes json,
                                               const char *member, const char **out) {
    restate__json_getter g = { ctx, json, member, { 0, 0 } };
    restate_bytes text = { 0, 0 };
    restate_status e = restate__json_string_of(&g, false, &text);
    if (out && e != RESTATE_OK) *out = "";
    if (out && text.ptr) *out = (const char *)text.ptr;
    return e;
}

RESTATE_API restate_status restate_json_text(restate_ctx *ctx, restate_bytes json,
                                             const char *member, restate_bytes *out) {
    restate__json_getter g = { ctx, json, member, { 0, 0 } };
    restate_bytes text = { 0, 0 };
    restate_status e = restate__json_string_of(&g, true, &text);
    if (out && (e != RESTATE_OK || text.ptr)) *out = text;
    return e;
}

RESTATE_API restate_status restate_json_member(restate_ctx *ctx, restate_bytes json,
                                               const char *member, restate_bytes *out) {
    restate__json_getter g = { ctx, json, member, { 0, 0 } };
    restate_status e = restate__json_find(&g, NULL, NULL);
    if (out) *out = g.value;
    return e;
}

static bool restate__json_next_wrong(restate_ctx *ctx, const restate__json_scan *s,
                                     const char *expected, bool value) {
    restate__json_text found = restate__json_found(s->at, s->end, value);
    size_t at = (size_t)(s->at - s->begin);
    bool input = restate__ctx_json_code(ctx, restate__b(s->begin, 0)) == 400;
    if (input && !ctx->run && !ctx->over)
        restate__ctx_refuse_input(
            ctx, restate__arena_printf(ctx->memory, "json: " RESTATE__JSON_EXPECTED, expected,
                                       found.s, at));
    else
        restate__ctx_misuse(ctx, "restate_json_next", RESTATE__JSON_EXPECTED, expected, found.s,
                            at);
    return false;
}

/* The first call checks the whole array, so that no handler does half of its work and then finds
 * that the rest is broken. `last` comes from the handler, so later calls cannot rely on that: they
 * check the element that they return. */
static bool restate__json_step(restate_ctx *ctx, restate_bytes array, restate_bytes last,
                               restate_bytes *element) {
    restate__json_scan s = restate__json_scan_of(array);
    if (last.ptr) {
        uintptr_t at = (uintptr_t)last.ptr, end = (uintptr_t)s.end;
        if (at <= (uintptr_t)s.begin || at > end || last.len > end - at)
            return restate__json_next_wrong(ctx, &s, "an element of it, or absent bytes", true);
        s.at = last.ptr + last.len;
        if (restate__json_is_next(&s, ']')) return false;
        if (!restate__json_is_next(&s, ','))
            return restate__json_next_wrong(ctx, &s, "',' or ']'", false);
    } else {
        if (!restate__json_document(&s))
            return restate__json_next_wrong(ctx, &s, s.expected, false);
        s.at = s.begin;
        if (*restate__json_space(&s) == 'n') return false;
        if (*s.at != '[') return restate__json_next_wrong(ctx, &s, "an array", true);
    }
    s.at++;
    element->ptr = restate__json_space(&s);
    if (!last.ptr && *s.at == ']') return false;
    s.levels = RESTATE__JSON_LEVELS - 1;
    if (!restate__json_value(&s)) return restate__json_next_wrong(ctx, &s, s.expected, false);
    element->len = (size_t)(s.at - element->ptr);
    return true;
}

RESTATE_API bool restate_json_next(restate_ctx *ctx, restate_bytes array, restate_bytes *element) {
    restate_bytes next = { 0, 0 };
    bool more = false;
    if (!restate__ctx_over(ctx)) {
        if (!element) restate__ctx_misuse(ctx, "restate_json_next", "`element` is NULL");
        else if (array.len) more = restate__json_step(ctx, array, *element, &next);
    }
    if (element) *element = more ? next : restate__b_none();
    return more;
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* Text that grows in an arena. While begin == arena->at it lies in the free rest of the arena's
 * chunk, and only restate__json_finish() allocates it there. Until then nothing else may allocate
 * in this arena. `failed`: out of memory, the text is gone; sticky. */
typedef struct restate__json_out {
    restate__arena *arena;
    uint8_t *begin, *at, *end;
    bool failed;
} restate__json_out;

static restate__json_out restate__json_out_on(restate__arena *arena) {
    return (restate__json_out){ .arena = arena, .begin = arena->at, .at = arena->at,
                                .end = arena->end };
}

static size_t restate__json_used(const restate__json_out *o) {
    return o->begin ? (size_t)(o->at - o->begin) : 0;
}

static RESTATE__NOINLINE bool restate__json_grow(restate__json_out *o, size_t more) {
    size_t used = restate__json_used(o), size = o->begin ? (size_t)(o->end - o->begin) * 2 : 0;
    uint8_t *p = NULL;
    if (size < used + more) size = used + more + 32;
    if (!o->failed && more < SIZE_MAX / 4) p = restate__arena_bytes(o->arena, size);
    if (!p) {
        *o = (restate__json_out){ .arena = o->arena, .failed = true };
        return false;
    }
    if (used) memcpy(p, o->begin, used);
    o->begin = p;
    o->at = p + used;
    o->end = p + size;
    if (o->arena->at == o->end) {
        o->arena->at = p;
        o->end = o->arena->end;
    }
    return true;
}

static bool restate__json_room(restate__json_out *o, size_t more) {
    if (RESTATE__LIKELY(o->at && (size_t)(o->end - o->at) >= more)) return true;
    return restate__json_grow(o, more);
}

static void restate__json_put(restate__json_out *o, char c) {
    if (restate__json_room(o, 1)) *o->at++ = (uint8_t)c;
}

static void restate__json_put_bytes(restate__json_out *o, restate_bytes text) {
    if (!text.len || !restate__json_room(o, text.len)) return;
    memcpy(o->at, text.ptr, text.len);
    o->at += text.len;
}

/* Without quotes, without escapes. */
static void restate__json_put_text(restate__json_out *o, const char *text) {
    restate__json_put_bytes(o, restate_str(text));
}

/* Ends the text with a zero byte and returns it; absent when out of memory. */
static restate_bytes restate__json_finish(restate__json_out *o) {
    restate__json_put(o, 0);
    if (o->failed) return restate__b_none();
    if (o->begin == o->arena->at) o->arena->at = o->at;
    return restate__b(o->begin, restate__json_used(o) - 1);
}

/* Escaped, without quotes. Returns all bytes but the escaped ones, ORed: below 0x80 it is ASCII. */
static uint32_t restate__json_put_escaped(restate__json_out *o, restate_bytes text) {
    static const char names[] = "\"\\bfnrt", means[] = "\"\\\b\f\n\r\t", hex[] = "0123456789abcdef";
    const uint8_t *p = text.ptr, *end = text.len ? p + text.len : p;
    uint32_t seen = 0;
    while (restate__json_room(o, (size_t)(end - p) + 1)) {
        uint8_t *to = o->at;
        while (p < end && *p >= 0x20 && *p != '"' && *p != '\\') seen |= *to++ = *p++;
        o->at = to;
        if (p == end || !restate__json_room(o, 6)) break;
        const char *escape = *p ? strchr(means, *p) : NULL;
        *o->at++ = '\\';
        if (escape) {
            *o->at++ = (uint8_t)names[escape - means];
        } else {
            memcpy(o->at, "u00", 3);
            o->at[3] = (uint8_t)hex[*p >> 4];
            o->at[4] = (uint8_t)hex[*p & 15];
            o->at += 5;
        }
        p++;
    }
    return seen;
}

/* Quoted and escaped. False: the text is not UTF-8. */
static bool restate__json_put_string(restate__json_out *o, restate_bytes text) {
    restate__json_put(o, '"');
    uint32_t seen = restate__json_put_escaped(o, text);
    restate__json_put(o, '"');
    return !(seen & 0x80u) || restate__b_utf8(text);
}

/* At least `least` digits. */
static void restate__json_put_digits(restate__json_out *o, uintmax_t n, size_t least) {
    uint8_t text[sizeof n * 3];
    size_t i = sizeof text;
    do {
        text[--i] = (uint8_t)('0' + n % 10u);
        n /= 10u;
    } while (n);
    for (; least > sizeof text - i; least--) restate__json_put(o, '0');
    restate__json_put_bytes(o, restate__b(text + i, sizeof text - i));
}

/* A number as snprintf() wrote it, with JSON's point for that of the current locale: that point is
 * all that is not a digit, a sign or 'e'. */
static void restate__json_put_printed(restate__json_out *o, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (restate__json_digit((uint8_t)text[i]) || memchr("+-e", text[i], 3))
            restate__json_put(o, text[i]);
        else if (i && restate__json_digit((uint8_t)text[i - 1])) restate__json_put(o, '.');
    }
}

/* A fast path for few decimals, as in prices: x is the quotient of an integer and a power of ten,
 * both exact doubles, so their decimals read back as x. Writes what %.15g would. */
static bool restate__json_put_short(restate__json_out *o, double x) {
    for (int k = 1; RESTATE__JSON_EXACT && k <= 9; k++) {
        double power = restate__json_power[k];
        if (!(x >= 1e-4 && x * power < 1e15)) return false;
        uint64_t n = (uint64_t)(x * power + 0.5), whole;
        if ((double)n / power != x) continue;
        whole = n / (uint64_t)power;
        restate__json_put_digits(o, whole, 1);
        restate__json_put(o, '.');
        restate__json_put_digits(o, n - whole * (uint64_t)power, (size_t)k);
        return true;
    }
    return false;
}

/* In as few digits as read back the same; integers below 2^63 with all digits. False: NaN or
 * infinite. */
static bool restate__json_put_double(restate__json_out *o, double x) {
    double size = x < 0 ? -x : x;
    char text[40];
    int n = 0;
    if (!(size <= DBL_MAX)) return false;
    if (signbit(x)) restate__json_put(o, '-');
    if (size < 9223372036854775808.0 && (double)(uint64_t)size == size) {
        restate__json_put_digits(o, (uint64_t)size, 1);
    } else if (!restate__json_put_short(o, size)) {
        for (int precision = 15; precision <= 17; precision++) {
            n = snprintf(text, sizeof text, "%.*g", precision, size);
            if (strtod(text, NULL) == size) break;
        }
        restate__json_put_printed(o, text, (size_t)n);
    }
    return true;
}

/* ---- Formats --------------------------------------------------------------------------------- */

typedef struct restate__json_spec {
    const char *text;                       /* from the % to behind the conversion */
    size_t len;
    int width, precision;                   /* precision -1: none */
    bool minus, zero;
    char sign;                              /* 0, '+' or ' ': in front of what is not negative */
    char length;                            /* 0, h, l, j, z, t, L; H: hh, q: ll */
    char conversion;
} restate__json_spec;

typedef struct restate__json_format {
    restate_ctx *ctx;
    const char *format;
    restate__json_out out;
    unsigned argument;                      /* how many arguments have been taken */
    bool in_string;
    va_list args;
} restate__json_format;

static bool restate__json_bad_spec(restate__json_format *f, const restate__json_spec *s,
                                   const char *why) {
    bool shown = restate__b_utf8(restate__b(s->text, s->len));
    restate__ctx_misuse(f->ctx, "restate_json", "'%.*s' at byte %zu of the format: %s",
                        shown ? (int)s->len : 1, s->text, (size_t)(s->text - f->format), why);
    return false;
}

static bool restate__json_bad_argument(restate__json_format *f, const char *why) {
    restate__ctx_misuse(f->ctx, "restate_json", "argument %u behind the format %s", f->argument,
                        why);
    return false;
}

static int restate__json_count(restate__json_format *f, const char **p) {
    int n = 0;
    if (**p == '*') {
        ++*p;
        f->argument++;
        return va_arg(f->args, int);
    }
    for (; restate__json_digit((uint8_t)**p); ++*p)
        if (n < INT_MAX / 100) n = n * 10 + (**p - '0');
    return n;
}

static char restate__json_length(const char **p) {
    char c = **p;
    if (!c || !strchr("hljztL", c)) return 0;
    ++*p;
    if ((c != 'h' && c != 'l') || **p != c) return c;
    ++*p;
    return c == 'h' ? 'H' : 'q';
}

/* Reads what begins with the % at `text`. Characters that printf() does not know end up as
 * `conversion`, which is checked later. */
static restate__json_spec restate__json_read_spec(restate__json_format *f, const char *text) {
    restate__json_spec s = { .text = text, .precision = -1 };
    const char *p = text + 1;
    for (;; p++) {
        if (*p == '-') s.minus = true;
        else if (*p == '0') s.zero = true;
        else if (*p == '+') s.sign = '+';
        else if (*p == ' ') s.sign = s.sign ? s.sign : ' ';
        else break;
    }
    s.width = restate__json_count(f, &p);
    if (s.width < 0) {
        s.minus = true;
        s.width = s.width < -RESTATE__JSON_COLUMNS ? RESTATE__JSON_COLUMNS + 1 : -s.width;
    }
    if (*p == '.') {
        p++;
        s.precision = restate__json_count(f, &p);
        if (s.precision < 0) s.precision = -1;
    }
    s.length = restate__json_length(&p);
    s.conversion = *p;
    s.len = (size_t)(p - text) + (*p ? 1u : 0u);
    return s;
}

/* Pads the number that begins at offset `from` to the width, as printf() does. */
static void restate__json_pad(restate__json_out *o, const restate__json_spec *s, size_t from) {
    size_t n = restate__json_used(o) - from, width = (size_t)s->width;
    if (o->failed || n >= width || !restate__json_room(o, width - n)) return;
    size_t more = width - n;
    uint8_t *p = o->begin + from;
    if (s->minus) p = o->at;
    else if (s->zero && (*p == '-' || *p == '+' || *p == ' ')) p++;
    memmove(p + more, p, (size_t)(o->at - p));
    memset(p, s->zero && !s->minus ? '0' : ' ', more);
    o->at += more;
}

/* %hhd and %hhi are booleans: any int but 0 is true. */
static bool restate__json_format_int(restate__json_format *f, restate__json_spec *s) {
    size_t from = restate__json_used(&f->out), bytes = sizeof(int);
    intmax_t n;
    switch (s->length) {
    case 'l': n = va_arg(f->args, long), bytes = sizeof(long); break;
    case 'q': n = va_arg(f->args, long long), bytes = sizeof(long long); break;
    case 'j': n = va_arg(f->args, intmax_t), bytes = sizeof n; break;
    case 'z': case 't': n = va_arg(f->args, ptrdiff_t), bytes = sizeof(ptrdiff_t); break;
    case 'h': n = (short)va_arg(f->args, int), bytes = sizeof(short); break;
    case 'H': n = va_arg(f->args, int), bytes = 1; break;
    default: n = va_arg(f->args, int); break;
    }
    if (s->length == 'H' && s->conversion != 'u') {
        if (f->in_string) return restate__json_bad_spec(f, s, "only numbers can be inside '...'");
        restate__json_put_text(&f->out, n ? "true" : "false");
        return true;
    }
    uintmax_t size = (uintmax_t)n;
    if (s->conversion == 'u') {
        if (bytes < sizeof size) size &= ((uintmax_t)1 << bytes * 8) - 1;
    } else if (n < 0) {
        restate__json_put(&f->out, '-');
        size = 0 - size;
    } else if (s->sign) {
        restate__json_put(&f->out, s->sign);
    }
    restate__json_put_digits(&f->out, size, s->precision > 0 ? (size_t)s->precision : 1);
    if (s->precision >= 0) s->zero = false;
    restate__json_pad(&f->out, s, from);
    return true;
}

/* With a precision as printf() does; without one so that it reads back the same. */
static bool restate__json_format_double(restate__json_format *f, const restate__json_spec *s) {
    double x = va_arg(f->args, double);
    size_t from = restate__json_used(&f->out);
    const char *how = s->conversion == 'g' ? "%.*g" : s->conversion == 'e' ? "%.*e" : "%.*f";
    if (!(x <= DBL_MAX && x >= -DBL_MAX))
        return restate__json_bad_argument(f, "is NaN or infinite, which JSON cannot say");
    if (s->sign && !signbit(x)) restate__json_put(&f->out, s->sign);
    if (s->precision < 0) {
        restate__json_put_double(&f->out, x);
    } else {
        /* Printed in the back half of the room, then copied to the front with JSON's point. */
        size_t room = (size_t)s->precision + DBL_MAX_10_EXP + 20;
        if (!restate__json_room(&f->out, 2 * room)) return true;
        char *text = (char *)f->out.at + room;
        int n = snprintf(text, room, how, s->precision, x);
        if (n > 0) restate__json_put_printed(&f->out, text, (size_t)n);
    }
    restate__json_pad(&f->out, s, from);
    return true;
}

/* %-s. The text has to be one whole value, or else text from outside could add members. */
static bool restate__json_insert(restate__json_format *f, restate_bytes text) {
    restate__json_scan s = restate__json_scan_of(text);
    if (!restate__json_document(&s)) {
        restate__json_text found = restate__json_found(s.at, s.end, false);
        restate__ctx_misuse(f->ctx, "restate_json",
                            "argument %u behind the format is not JSON: " RESTATE__JSON_EXPECTED,
                            f->argument, s.expected, found.s, (size_t)(s.at - s.begin));
        return false;
    }
    restate__json_put_bytes(&f->out, text);
    return true;
}

/* %s: a JSON string; %-s: JSON, where empty text means null. */
static bool restate__json_format_string(restate__json_format *f, const restate__json_spec *s) {
    const char *p = va_arg(f->args, const char *);
    restate_bytes text = restate__b(p, p && s->precision < 0 ? strlen(p) : (size_t)s->precision);
    const char *zero = p && s->precision > 0 ? memchr(p, 0, text.len) : NULL;
    if (zero) text.len = (size_t)(zero - p);
    if (!p || (s->minus && !text.len)) {
        restate__json_put_text(&f->out, "null");
        return true;
    }
    if (s->minus) return restate__json_insert(f, text);
    return restate__json_put_string(&f->out, text) ||
           restate__json_bad_argument(f, "is not UTF-8");
}

/* Writes one conversion. False: misuse, the attempt has ended. */
static bool restate__json_convert(restate__json_format *f, restate__json_spec *s) {
    bool text = s->conversion == 's' && !s->length;
    if (text && (s->width != 0 || s->zero || s->sign))
        return restate__json_bad_spec(f, s, "a string has no width");
    if (!text && (s->width > RESTATE__JSON_COLUMNS || s->precision > RESTATE__JSON_COLUMNS))
        return restate__json_bad_spec(f, s, "wider than 1000 columns");
    if (text && f->in_string)
        return restate__json_bad_spec(f, s, "only numbers can be inside '...'; make the whole "
                                      "string with restate_text() and insert it with %s");
    f->argument++;
    if (text) return restate__json_format_string(f, s);
    switch (s->conversion) {
    case 'd': case 'i': case 'u':
        if (s->length != 'L') return restate__json_format_int(f, s);
        break;
    case 'f': case 'e': case 'g':
        if (!s->length || s->length == 'l') return restate__json_format_double(f, s);
        break;
    default: break;
    }
    return restate__json_bad_spec(f, s, "not for JSON; there are %d %u (h l ll j z t), %g %f %e, "
                                  "%s (text), %-s (JSON) and %hhd (boolean)");
}

static bool restate__json_write(restate__json_format *f) {
    for (const char *p = f->format; *p; p++) {
        char c = *p;
        if (c == '%' && p[1] != '%') {
            restate__json_spec s = restate__json_read_spec(f, p);
            if (!restate__json_convert(f, &s)) return false;
            p += s.len - 1;
            continue;
        }
        if (c == '%') p++;
        if (c == '\'') c = '"';
        if (c == '"') f->in_string = !f->in_string;
        restate__json_put(&f->out, c);
        if (c == '\\' && p[1] && p[1] != '%') {
            p++;
            restate__json_put(&f->out, *p == '\'' ? '"' : *p);
        }
    }
    return true;
}

/* The message shows up to 80 bytes around the fault, cut between characters. */
static restate_bytes restate__json_not_json(restate_ctx *ctx, const restate__json_scan *s) {
    const uint8_t *from = s->at - s->begin > 50 ? s->at - 50 : s->begin, *to = s->end;
    restate__json_text found = restate__json_found(s->at, s->end, false);
    while (from < s->at && (*from & 0xC0) == 0x80) from++;
    if (to - from > 80)
        for (to = from + 80; (*to & 0xC0) == 0x80 && to > from;) to--;
    if (!restate__b_utf8(restate__b(from, (size_t)(to - from)))) from = to;
    restate__ctx_misuse(ctx, "restate_json",
                        "what came out is not JSON: " RESTATE__JSON_EXPECTED " of %s%.*s%s",
                        s->expected, found.s, (size_t)(s->at - s->begin),
                        from > s->begin ? "..." : "", (int)(to - from), (const char *)from,
                        to < s->end ? "..." : "");
    return restate__b_none();
}

static restate_bytes restate__json_misuse(restate_ctx *ctx, const char *function,
                                          const char *what) {
    restate__ctx_misuse(ctx, function, "%s", what);
    return restate__b_none();
}

/* The text; when out of memory the attempt ends. */
static restate_bytes restate__json_done(restate_ctx *ctx, restate__json_out *o) {
    restate_bytes text = restate__json_finish(o);
    if (!text.ptr) restate__ctx_nomem(ctx);
    return text;
}

RESTATE_API restate_bytes restate_json(restate_ctx *ctx, const char *format, ...) {
    if (restate__ctx_over(ctx)) return restate__b_none();
    if (!format) return restate__json_misuse(ctx, "restate_json", "the format is NULL");
    restate__json_format f = { .ctx = ctx, .format = format,
                               .out = restate__json_out_on(restate__ctx_arena(ctx)) };
    va_start(f.args, format);
    bool well = restate__json_write(&f);
    va_end(f.args);
    restate_bytes text = well ? restate__json_done(ctx, &f.out) : restate__b_none();
    restate__json_scan s = restate__json_scan_of(text);
    return !text.ptr || restate__json_document(&s) ? text : restate__json_not_json(ctx, &s);
}

RESTATE_API restate_bytes restate_json_quote(restate_ctx *ctx, restate_bytes text) {
    if (restate__ctx_over(ctx)) return restate__b_none();
    restate__json_out o = restate__json_out_on(restate__ctx_arena(ctx));
    if (!text.ptr) restate__json_put_text(&o, "null");
    else if (!restate__json_put_string(&o, text))
        return restate__json_misuse(ctx, "restate_json_quote", "the text is not UTF-8");
    return restate__json_done(ctx, &o);
}

/* ---- Trees ----------------------------------------------------------------------------------- */

#if !defined(RESTATE_NO_CJSON)

static void restate__json_release(void *tree) { cJSON_Delete(tree); }

RESTATE_API restate_status restate_json_tree(restate_ctx *ctx, restate_bytes json,
                                             struct cJSON **tree) {
    restate__json_getter g = { ctx, json, NULL, { 0, 0 } };
    restate__json_scan s = restate__json_scan_of(json);
    if (tree) *tree = NULL;
    if (restate__ctx_over(ctx)) return RESTATE_ENDED;
    if (!json.len) return RESTATE_OK;
    s.strict = true;
    if (!restate__json_document(&s)) return restate__json_wrong(&g, s.at, s.expected, false);
    if (!tree) return RESTATE_OK;
    cJSON *parsed = cJSON_ParseWithLengthOpts((const char *)json.ptr, json.len, NULL, 0);
    if (!parsed) return restate__ctx_nomem(ctx);
    if (!restate__ctx_own(ctx, parsed, restate__json_release)) return RESTATE_ENDED;
    *tree = parsed;
    return RESTATE_OK;
}

/* Also takes the tree when the attempt is over: nothing that the handler then adds to it leaks. */
RESTATE_API struct cJSON *restate_json_own(restate_ctx *ctx, struct cJSON *tree) {
    if (!tree) {
        if (!restate__ctx_over(ctx)) restate__ctx_nomem(ctx);
        return NULL;
    }
    return restate__ctx_own(ctx, tree, restate__json_release) ? tree : NULL;
}

/* Writes an item without children. Returns NULL, or what is wrong with it. */
static const char *restate__json_print_leaf(restate__json_out *o, const cJSON *item,
                                            uint32_t depth) {
    restate_bytes text = restate_str(item->valuestring ? item->valuestring : "");
    restate__json_scan s = restate__json_scan_of(text);
    switch (item->type & 0xFF) {
    case cJSON_NULL: restate__json_put_text(o, "null"); return NULL;
    case cJSON_True: restate__json_put_text(o, "true"); return NULL;
    case cJSON_False: restate__json_put_text(o, "false"); return NULL;
    case cJSON_Number:
        return restate__json_put_double(o, item->valuedouble) ? NULL
                                                              : "a number that is NaN or infinite";
    case cJSON_String:
        return restate__json_put_string(o, text) ? NULL : "a string that is not UTF-8";
    case cJSON_Raw:
        s.levels = RESTATE__JSON_LEVELS - depth;
        if (!restate__json_document(&s)) return "raw text that is not JSON";
        restate__json_put_bytes(o, text);
        return NULL;
    default: return "an item without a valid type";
    }
}

static const char *restate__json_print_tree(restate__json_out *o, const cJSON *tree,
                                            const cJSON **at) {
    const cJSON *open[RESTATE__JSON_LEVELS], *item = tree;
    uint32_t depth = 0;
    for (;;) {
        bool object = cJSON_IsObject(item);
        *at = item;
        if (depth && cJSON_IsObject(open[depth - 1])) {
            if (!restate__json_put_string(o, restate_str(item->string ? item->string : "")))
                return "a name that is not UTF-8";
            restate__json_put(o, ':');
        }
        if (object || cJSON_IsArray(item)) {
            if (depth == RESTATE__JSON_LEVELS) return "more than 100 levels";
            restate__json_put(o, object ? '{' : '[');
            open[depth] = item;
            if (item->child) {
                depth++;
                item = item->child;
                continue;
            }
            restate__json_put(o, object ? '}' : ']');
        } else {
            const char *wrong = restate__json_print_leaf(o, item, depth);
            if (wrong) return wrong;
        }
        for (; depth && !item->next; item = open[depth])
            restate__json_put(o, cJSON_IsObject(open[--depth]) ? '}' : ']');
        if (!depth || o->failed) return NULL;
        restate__json_put(o, ',');
        item = item->next;
    }
}

RESTATE_API restate_bytes restate_json_print(restate_ctx *ctx, const struct cJSON *tree) {
    const cJSON *at = tree;
    if (restate__ctx_over(ctx)) return restate__b_none();
    restate__json_out o = restate__json_out_on(restate__ctx_arena(ctx));
    const char *wrong = tree ? restate__json_print_tree(&o, tree, &at) : "NULL instead of a tree";
    if (!wrong) return restate__json_done(ctx, &o);
    bool named = at && at->string && restate__b_utf8(restate_str(at->string));
    restate__ctx_misuse(ctx, "restate_json_print", "found %s%s%s%s", wrong,
                        named ? " at member '" : "", named ? at->string : "", named ? "'" : "");
    return restate__b_none();
}

#endif /* RESTATE_NO_CJSON */

/* ---- Codecs ---------------------------------------------------------------------------------- */

static uint8_t restate__json_lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? c | 0x20u : c; }

/* Whether a content type, without its parameters, ends with `end`, which is in lower case. */
static bool restate__json_type_ends(const char *type, const char *end) {
    size_t n = strcspn(type, "; \t"), k = strlen(end);
    if (n < k) return false;
    for (type += n - k; *end; type++, end++)
        if (restate__json_lower((uint8_t)*type) != (uint8_t)*end) return false;
    return true;
}

/* Whether the values of a codec are JSON, which has no empty document. */
static bool restate__codec_is_json(const restate_codec *c) {
    if (c->kind != RESTATE_CODEC_CONTENT || !c->content_type) return c->kind == RESTATE_CODEC_JSON;
    return restate__json_type_ends(c->content_type, "application/json") ||
           restate__json_type_ends(c->content_type, "+json");
}

/* The one that counts where none is named. */
static const restate_codec *restate__codec_of(const restate_options *o) {
    return o->codec ? o->codec : RESTATE_JSON;
}

#define RESTATE__CODEC_GAVE "the codec returned %d: it is RESTATE_OK or restate_fail()"
#define RESTATE__NO_TREES \
    "values of RESTATE_JSON are cJSON trees, which RESTATE_NO_CJSON leaves out: use " \
    "restate_json() and the readers"

/* By a codec of the program. */
static restate_bytes restate__codec_encode(restate_ctx *ctx, const restate_codec *codec,
                                           const void *value) {
    restate_bytes out = restate__b_none();
    if (!codec->encode)
        return restate__json_misuse(ctx, "restate_encode", "the codec has no .encode");
    restate_status s = codec->encode(codec, ctx, value, &out);
    if (s == RESTATE_OK) return out;
    if (s == RESTATE_TERMINAL)
        return restate__json_misuse(ctx, "restate_encode",
                                    ctx->failed ? restate_failed(ctx)->message
                                                : "the codec failed without restate_fail()");
    restate__ctx_misuse(ctx, "restate_encode", RESTATE__CODEC_GAVE, (int)s);
    return restate__b_none();
}

/* Notes that a codec makes these bytes differently each time: replay does not compare them. */
static restate_bytes restate__codec_unstable(restate_ctx *ctx, restate_bytes out) {
    if (!out.ptr || restate__map_find(ctx->unstable, restate__b(&out.ptr, sizeof out.ptr)))
        return out;
    restate__unstable *u = restate__arena_alloc(ctx->memory, sizeof *u);
    if (!u) {
        restate__ctx_nomem(ctx);
        return restate__b_none();
    }
    u->ptr = out.ptr;
    restate__map_add(&ctx->unstable, &u->node, restate__b(&u->ptr, sizeof u->ptr));
    return out;
}

RESTATE_API restate_bytes restate_encode(restate_ctx *ctx, const restate_codec *codec,
                                         const void *value) {
    restate_bytes out = restate__b_none();
    if (restate__ctx_over(ctx)) return out;
    if (!codec) codec = restate__codec_of(&ctx->attempt->handler->options);
    switch (codec->kind) {
    case RESTATE_CODEC_BYTES: return value ? *(const restate_bytes *)value : out;
    case RESTATE_CODEC_VOID: return restate__b("", 0);
    case RESTATE_CODEC_JSON:
#ifndef RESTATE_NO_CJSON
        return restate_json_print(ctx, value);
#else
        return restate__json_misuse(ctx, "restate_encode", RESTATE__NO_TREES);
#endif
    default: break;
    }
    out = restate__codec_encode(ctx, codec, value);
    return codec->unstable ? restate__codec_unstable(ctx, out) : out;
}

RESTATE_API restate_status restate_decode(restate_ctx *ctx, const restate_codec *codec,
                                          restate_bytes bytes, void *value) {
    uint16_t code = restate__ctx_json_code(ctx, bytes);
    if (restate__ctx_over(ctx)) return RESTATE_ENDED;
    if (!codec) codec = restate__codec_of(&ctx->attempt->handler->options);
    if (!bytes.ptr || (!bytes.len && restate__codec_is_json(codec))) return RESTATE_OK;
    if (codec->kind == RESTATE_CODEC_JSON)
#ifndef RESTATE_NO_CJSON
        return restate_json_tree(ctx, bytes, value);
#else
        return restate__ctx_misuse(ctx, "restate_decode", RESTATE__NO_TREES);
#endif
    if (codec->kind == RESTATE_CODEC_BYTES && value) *(restate_bytes *)value = bytes;
    if (codec->kind != RESTATE_CODEC_CONTENT) return RESTATE_OK;
    if (!codec->decode)
        return restate__ctx_misuse(ctx, "restate_decode", "the codec has no .decode");
    restate_status s = codec->decode(codec, ctx, bytes, value);
    if (s == RESTATE_OK || s == RESTATE_ENDED) return s;
    if (s != RESTATE_TERMINAL)
        return restate__ctx_misuse(ctx, "restate_decode", RESTATE__CODEC_GAVE, (int)s);
    if (restate_failed(ctx)->code == code) return s;
    return restate_fail(ctx, code, "%s", restate_failed(ctx)->message);
}

RESTATE_API restate_status restate_input(restate_ctx *ctx, void *value) {
    const restate__attempt *a = ctx->attempt;
    if (!restate__ctx_handlers(ctx, "restate_input", "a closure has no input: decode it before"))
        return RESTATE_ENDED;
    return restate_decode(ctx, a->handler->source->input, a->request.input.body, value);
}

RESTATE_API restate_status restate_reply_value(restate_ctx *ctx, const void *value) {
    if (!restate__ctx_handlers(ctx, "restate_reply_value",
                               "it is the handler's reply that has a codec: use restate_encode()"))
        return RESTATE_ENDED;
    const restate_codec *codec = ctx->attempt->handler->source->output;
    return restate_reply(ctx, restate_encode(ctx, codec, value));
}

/* ================================================================================================
// >>proto  nanopb messages, in binary form and as JSON        [restate__proto_ restate__protojson_]
// Codes structs by nanopb's descriptors. The codec has what these lack: names and types.
================================================================================================ */

#include <pb_common.h>

#define RESTATE__PROTO_PATH 200             /* bytes of a path that a message shows */

/* A message is the same in binary and as JSON. A value that one of the forms cannot represent is a
 * fault in both, in the bytes of a peer and in the struct of a program. The error names the field.
 *
 * 1. nanopb accepts more. Its strings are arrays of char, which end at their first zero byte; it
 *    does not check UTF-8; it does not know the rules for times. So bytes that nanopb has decoded
 *    are checked once more. Strings and enums are checked in the bytes, because the struct does not
 *    show their faults (see "Faults of binary messages"). Times are checked in the struct, because
 *    the bytes may have a time in two parts.
 * 2. One walk reads structs ("Out"). It checks them and writes JSON. Before a struct is encoded as
 *    binary, and for the times of rule 1, it checks and writes nothing.
 * 3. One walk reads JSON and writes structs ("In").
 * 4. Some types of google.protobuf have a JSON form of their own. One table has the functions for
 *    them; both walks call these. */

/* Whether a type is this one of google.protobuf. */
static bool restate__proto_is(const restate__proto_type *type, const char *name) {
    static const char package[] = "google_protobuf_";
    return strncmp(type->name, package, sizeof package - 1) == 0 &&
           strcmp(type->name + sizeof package - 1, name) == 0;
}

static bool restate__proto_is_duration(const restate__proto_type *type) {
    return restate__proto_is(type, "Duration");
}

static bool restate__proto_is_time(const restate__proto_type *type) {
    return restate__proto_is(type, "Timestamp") || restate__proto_is_duration(type);
}

/* A google.protobuf.NullValue, which is null in JSON. */
static bool restate__proto_is_null(const restate__proto_field *field) {
    return field->kind == RESTATE__PROTO_KIND_ENUM && restate__proto_is(field->type, "NullValue");
}

/* ---- Faults of binary messages --------------------------------------------------------------- */

/* The first fault of bytes that nanopb has decoded, or has refused. */
typedef struct restate__proto_fault {
    bool whole;                             /* check for missing fields, too */
    bool times;                             /* the message has times: check the struct, too */
    const char *why;
    const uint8_t *at;
    char path[RESTATE__PROTO_PATH];         /* ".lines.sku" */
} restate__proto_fault;

static bool restate__proto_faulty(restate__proto_fault *f, const uint8_t *at, const char *why) {
    f->at = at;
    f->why = why;
    return false;
}

/* Puts a field in front of the path; the path already has the fields inside of it. */
static bool restate__proto_inside(restate__proto_fault *f, const restate__proto_field *field) {
    size_t n = strlen(field->name) + 1, rest = strlen(f->path);
    if (n + rest >= sizeof f->path) return false;
    memmove(f->path + n, f->path, rest + 1);
    f->path[0] = '.';
    memcpy(f->path + 1, field->name, n - 1);
    return false;
}

/* Makes the path of the field at `place`, where nanopb stopped. Each of its fields is the last one
 * of its message that begins before `place`. */
static void restate__proto_locate(restate__proto_fault *f, const restate__proto_type *type,
                                  restate_bytes bytes, const uint8_t *place) {
    restate__wire_reader r = restate__wire_read(bytes);
    restate__wire_item item = { .tag = 0 };
    pb_field_iter_t i;
    bool more = r.at < place;
    while (more && r.at < place) {
        item = (restate__wire_item){ .tag = 0 };
        more = restate__wire_next(&r, &item);
    }
    if (!item.tag || !pb_field_iter_begin(&i, type->message, NULL) ||
        !pb_field_iter_find(&i, item.tag))
        return;
    const restate__proto_field *field = &type->fields[i.index];
    if (more && item.bytes.ptr && field->type && field->type->message)
        restate__proto_locate(f, field->type, item.bytes, place);
    restate__proto_inside(f, field);
}

/* How many elements an item has. Of packed numbers each has the same size, or ends with a byte
 * below 0x80. */
static size_t restate__proto_elements(const pb_field_iter_t *i, const restate__wire_item *item) {
    pb_type_t type = PB_LTYPE(i->type);
    size_t n = 0;
    if (item->wire != RESTATE__WIRE_BYTES || type > PB_LTYPE_LAST_PACKABLE) return 1;
    if (type == PB_LTYPE_FIXED32) return item->bytes.len / 4;
    if (type == PB_LTYPE_FIXED64) return item->bytes.len / 8;
    for (size_t k = 0; k < item->bytes.len; k++) n += item->bytes.ptr[k] < 0x80;
    return n;
}

/* An array of a fixed count: a message has all of its elements or none. */
static bool restate__proto_is_fixed(const pb_field_iter_t *i) {
    return PB_HTYPE(i->type) == PB_HTYPE_REPEATED && i->pSize == &i->array_size;
}

/* Whether a message has all required fields, and all elements of arrays of a fixed count. */
static bool restate__proto_is_whole(restate__proto_fault *f, const restate__proto_type *type,
                                    void *message, restate_bytes bytes) {
    pb_field_iter_t i;
    for (bool more = pb_field_iter_begin(&i, type->message, message); more;
         more = pb_field_iter_next(&i)) {
        bool fixed = restate__proto_is_fixed(&i);
        restate__wire_reader r = restate__wire_read(bytes);
        restate__wire_item item;
        size_t n = 0;
        if (!fixed && PB_HTYPE(i.type) != PB_HTYPE_REQUIRED) continue;
        while (restate__wire_next(&r, &item))
            if (item.tag == i.tag) n += restate__proto_elements(&i, &item);
        if (fixed ? n == 0 || n == i.array_size : n > 0) continue;
        restate__proto_faulty(f, r.end, fixed ? "wrong size for fixed count field"
                                              : "missing required field");
        return restate__proto_inside(f, &type->fields[i.index]);
    }
    return true;
}

static bool restate__proto_scan(restate__proto_fault *f, const restate__proto_type *type,
                                void *message, restate_bytes bytes);

static bool restate__proto_scan_item(restate__proto_fault *f, const restate__proto_field *field,
                                     const pb_field_iter_t *i, restate__wire_item item,
                                     const uint8_t *at) {
    uint64_t n;
    switch (field->kind) {
    case RESTATE__PROTO_KIND_STRING:
        at = item.bytes.len ? memchr(item.bytes.ptr, 0, item.bytes.len) : NULL;
        if (at) return restate__proto_faulty(f, at, "string with a zero byte");
        return restate__b_utf8(item.bytes) ||
               restate__proto_faulty(f, item.bytes.ptr, "string that is not UTF-8");
    case RESTATE__PROTO_KIND_ENUM:
        /* Enums of protobuf are signed, with 32 bits. nanopb's are unsigned if no value is
         * negative. */
        while (PB_LTYPE(i->type) == PB_LTYPE_UVARINT && restate__wire_number(&item, &n))
            if (n > INT32_MAX) return restate__proto_faulty(f, at, "enum value out of range");
        return true;
    case RESTATE__PROTO_KIND_MESSAGE:
        return restate__proto_scan(f, field->type, i->pData, item.bytes);
    default: return true;
    }
}

/* False: there is a fault. Fields with callbacks are not checked: the program decodes them. Of the
 * struct only the addresses of the fields are used. */
static bool restate__proto_scan(restate__proto_fault *f, const restate__proto_type *type,
                                void *message, restate_bytes bytes) {
    restate__wire_reader r = restate__wire_read(bytes);
    restate__wire_item item;
    pb_field_iter_t i;
    f->times = f->times || restate__proto_is_time(type);
    if (!pb_field_iter_begin(&i, type->message, message)) return true;
    while (restate__wire_next(&r, &item)) {
        const uint8_t *at = item.bytes.ptr ? item.bytes.ptr : r.at;
        if (!pb_field_iter_find(&i, item.tag) || PB_ATYPE(i.type) != PB_ATYPE_STATIC) continue;
        if (!restate__proto_scan_item(f, &type->fields[i.index], &i, item, at))
            return restate__proto_inside(f, &type->fields[i.index]);
    }
    return !f->whole || restate__proto_is_whole(f, type, message, bytes);
}

/* ---- Walks ----------------------------------------------------------------------------------- */

/* A place inside of a message, for the path in an error. */
typedef struct restate__proto_spot {
    struct restate__proto_spot *up;         /* what it is inside of; NULL: the outermost message */
    const char *field;                      /* as in the .proto file */
    restate_bytes key;                      /* of a map's value, as in the JSON; absent: none */
    size_t index;                           /* of an element; SIZE_MAX: none */
} restate__proto_spot;

/* Values of an enum that have names, as far as the search for them has come. An enum with more
 * values than `found` has several of these, in the order of the search. */
typedef struct restate__proto_names {
    struct restate__proto_names *next;
    const restate__proto_type *of;          /* the enum; NULL: not used yet */
    uint32_t k, count;                      /* where the search goes on; how many in `found` */
    int32_t found[16];
} restate__proto_names;

/* A message as a struct, at one of its fields. */
typedef struct restate__proto_struct {
    const restate__proto_type *type;
    pb_field_iter_t i;
} restate__proto_struct;

static const restate__proto_field *restate__proto_field_of(const restate__proto_struct *m) {
    return &m->type->fields[m->i.index];
}

/* A message on its way into JSON or out of it. */
typedef struct restate__proto_walk {
    restate_ctx *ctx;
    const restate__proto_type *type;        /* the outermost */
    restate__proto_spot *spot;              /* NULL: the outermost message itself */
    restate__json_out out;
    restate__json_scan scan;
    restate_bytes in;                       /* the bytes to decode; absent: a struct is encoded */
    bool binary;                            /* check the struct, write nothing */
    restate__proto_names names;
    restate_status status;                  /* of the first fault */
} restate__proto_walk;

static restate__proto_walk restate__proto_begin(const restate_codec *codec, restate_ctx *ctx,
                                                restate_bytes in, bool binary) {
    restate__proto_walk w = { .ctx = ctx, .type = codec->type, .in = in, .binary = binary };
    w.scan = restate__json_scan_of(in);
    w.out = restate__json_out_on(restate__ctx_arena(ctx));
    return w;
}

static bool restate__proto_nomem(restate__proto_walk *w) {
    w->status = restate__ctx_nomem(w->ctx);
    return false;
}

/* `spot` is on the caller's stack: it sets w->spot to spot->up when the field is done. After a
 * fault nobody reads w->spot, so that is not needed then. */
static void restate__proto_enter(restate__proto_walk *w, restate__proto_spot *spot,
                                 const restate__proto_field *field) {
    *spot = (restate__proto_spot){ .up = w->spot, .field = field->name, .index = SIZE_MAX };
    w->spot = spot;
}

/* Takes the next character of a field's name as JSON has it ("unitPrice"); 0: the end. */
static char restate__proto_name_next(const char **name) {
    const char *p = *name;
    bool upper = false;
    while (*p == '_') upper = true, p++;
    char c = *p;
    *name = c ? p + 1 : p;
    return upper && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Whether `name` is the name of a field, as JSON has it or as in the .proto file. */
static bool restate__proto_named(const restate__proto_field *field, restate_bytes name) {
    const char *from = field->name;
    size_t i = 0;
    if (restate__b_is(name, from)) return true;
    for (char c; (c = restate__proto_name_next(&from)) != 0;)
        if (i == name.len || name.ptr[i++] != (uint8_t)c) return false;
    return i == name.len;
}

/* Writes the path of a place, such as "lines[2].unitPrice"; a path that is too long is cut. Returns
 * its length. */
static size_t restate__proto_path(const restate__proto_spot *s, char path[RESTATE__PROTO_PATH]) {
    size_t n = s ? restate__proto_path(s->up, path) : 0, room = RESTATE__PROTO_PATH - 60;
    const char *name = s ? s->field : "";
    if (n && n < room) path[n++] = '.';
    for (char c; n < room && (c = restate__proto_name_next(&name)) != 0;) path[n++] = c;
    path[n] = 0;
    if (s && n < room && s->key.ptr && s->key.len < 40)
        n += (size_t)sprintf(path + n, "[\"%.*s\"]", (int)s->key.len, (const char *)s->key.ptr);
    else if (s && n < room && s->index != SIZE_MAX)
        n += (size_t)sprintf(path + n, "[%zu]", s->index);
    return n;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static bool restate__proto_signed(const restate__proto_field *field) {
    if (field->kind == RESTATE__PROTO_KIND_ENUM) return field->type->least < 0;
    return field->kind == RESTATE__PROTO_KIND_INT32 || field->kind == RESTATE__PROTO_KIND_INT64;
}

/* Whether JSON has the number as a string, because JavaScript is exact only up to 2^53. */
static bool restate__proto_wide(const restate__proto_field *field) {
    return field->kind == RESTATE__PROTO_KIND_INT64 || field->kind == RESTATE__PROTO_KIND_UINT64;
}

/* Reads a number of 1, 2, 4 or 8 bytes (nanopb's option int_size), extended with its sign. */
static uint64_t restate__proto_load(const void *from, size_t size, bool is_signed) {
    switch (size) {
    case 1: return is_signed ? (uint64_t)*(const int8_t *)from : *(const uint8_t *)from;
    case 2: return is_signed ? (uint64_t)*(const int16_t *)from : *(const uint16_t *)from;
    case 4: return is_signed ? (uint64_t)*(const int32_t *)from : *(const uint32_t *)from;
    default: return *(const uint64_t *)from;
    }
}

static void restate__proto_store(void *to, size_t size, uint64_t n) {
    switch (size) {
    case 1: *(uint8_t *)to = (uint8_t)n; break;
    case 2: *(uint16_t *)to = (uint16_t)n; break;
    case 4: *(uint32_t *)to = (uint32_t)n; break;
    default: *(uint64_t *)to = n; break;
    }
}

/* ---- Names of enums -------------------------------------------------------------------------- */

#define RESTATE__PROTO_NARROW 65536         /* enums of fewer values: all are tried in order */
#define RESTATE__PROTO_SEARCHED 1048576     /* of fewer: all are tried, after the likely ones */

/* The name of a value; NULL: it has none. In C an enum may be any of several integer types: the
 * function is called with a parameter of that type. (In C++ it takes an int32_t.) clang's sanitizer
 * compares types of functions by name, and would report the call. */
#if defined(__clang__)
__attribute__((no_sanitize("undefined")))
#endif
static const char *restate__proto_value_name(const restate__proto_type *e, int64_t n) {
    bool minus = e->least < 0;
    const char *name;
    if (n < e->least || n > e->most) return NULL;
    if (!e->size || (e->size == 4 && minus))
        name = ((const char *(*)(int32_t))e->value_name)((int32_t)n);
    else if (e->size == 4)
        name = ((const char *(*)(uint32_t))e->value_name)((uint32_t)n);
    else if (e->size == 2)
        name = minus ? ((const char *(*)(int16_t))e->value_name)((int16_t)n)
                     : ((const char *(*)(uint16_t))e->value_name)((uint16_t)n);
    else
        name = minus ? ((const char *(*)(int8_t))e->value_name)((int8_t)n)
                     : ((const char *(*)(uint8_t))e->value_name)((uint8_t)n);
    return strcmp(name, "unknown") == 0 ? NULL : name;
}

/* nanopb has only the name of a value, so a name is found by trying values. An enum may span 2^32
 * of them. Where that is too many to try all, only values are tried that people choose; that takes
 * some milliseconds for a name that none of them has. False: there is no candidate `k`. */
static bool restate__proto_candidate(const restate__proto_type *e, uint32_t k, int64_t *n) {
    static const int32_t tens[] = { 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000 };
    const uint32_t zero = 1u << 18, end = 1u << 14, bits = 2 * 33 * 33 * 33, round = 7 * 6 * 999;
    uint32_t set = 0;
    if (k < zero) {                         /* around zero */
        *n = k % 2 ? -(int64_t)(k / 2) - 1 : (int64_t)(k / 2);
        return true;
    }
    if ((k -= zero) < 2 * end) {            /* at both ends */
        *n = k < end ? (int64_t)e->least + k : (int64_t)e->most - (k - end);
        return true;
    }
    if ((k -= 2 * end) < bits) {            /* up to three bits, or one less than that */
        for (uint32_t i = k / 2; i; i /= 33)
            if (i % 33) set |= 1u << (i % 33 - 1);
        set -= k % 2;
        *n = set <= INT32_MAX ? (int64_t)set : (int64_t)set - 4294967296;
        return true;
    }
    if ((k -= bits) >= round) return false; /* three digits and zeros, or one more or less */
    *n = (int64_t)(k / 42 + 1) * tens[k / 6 % 7] + (int)(k / 2 % 3) - 1;
    if (k % 2) *n = -*n;
    return true;
}

/* The next value to try, number `*k` of the search; some come twice. False: the end. */
static bool restate__proto_searched(const restate__proto_type *e, uint32_t *k, int64_t *n) {
    const uint32_t all = 1u << 31;          /* from here on: all values, from the least one on */
    int64_t width = (int64_t)e->most - e->least;
    if (e->values) {
        *n = e->values[*k];
        if (*n == INT64_MIN) return false;
    } else if (*k >= all || width < RESTATE__PROTO_NARROW || !restate__proto_candidate(e, *k, n)) {
        if (*k < all) *k = all;
        if (width >= RESTATE__PROTO_SEARCHED || *k - all > width) return false;
        *n = (int64_t)e->least + (*k - all);
    }
    ++*k;
    return true;
}

/* The value of a name. The search goes on where it stopped for the name before. So all names in a
 * message, and there can be many in a list, take one search of each enum together. */
static bool restate__proto_named_value(restate__proto_walk *w, const restate__proto_type *e,
                                       restate_bytes name, int64_t *value) {
    restate__proto_names *n = NULL, *end = &w->names;
    for (restate__proto_names *at = end; at; end = at, at = at->next) {
        if (at->of != e) continue;
        n = at;
        for (uint32_t i = 0; i < n->count; i++)
            if (restate__b_is(name, restate__proto_value_name(e, *value = n->found[i])))
                return true;
    }
    uint32_t k = n ? n->k : 0;
    while (restate__proto_searched(e, &k, value)) {
        const char *is = restate__proto_value_name(e, *value);
        if (!is) continue;
        if (!n || n->count == sizeof n->found / sizeof *n->found) {
            n = end;
            if (n->of) n = end->next = restate__arena_alloc(restate__ctx_arena(w->ctx), sizeof *n);
            if (!n) return restate__proto_nomem(w);
            n->of = e;
            end = n;
        }
        n->found[n->count++] = (int32_t)*value;
        n->k = k;
        if (restate__b_is(name, is)) return true;
    }
    if (n) n->k = k;
    return false;
}

/* ---- Maps and times -------------------------------------------------------------------------- */

/* protoc turns `map<K, V> by_id` of message M into a repeated M_ByIdEntry with a key and a value.
 * Only its name differs from a message that somebody wrote. */
static bool restate__proto_is_map(const restate__proto_type *parent,
                                  const restate__proto_field *field) {
    const restate__proto_field *entry = field->type ? field->type->fields : NULL;
    const char *name, *from = field->name;
    size_t n = strlen(parent->name);
    if (!entry || !entry[0].name || strcmp(entry[0].name, "key") != 0 || !entry[1].name ||
        strcmp(entry[1].name, "value") != 0 || entry[2].name)
        return false;
    name = field->type->name;
    if (strncmp(name, parent->name, n) != 0 || name[n] != '_') return false;
    name += n + 1;
    for (char c, before = '_'; (c = restate__proto_name_next(&from)) != 0; name++, before = c) {
        if (before == '_' && c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
        if (*name != c) return false;
    }
    return strcmp(name, "Entry") == 0;
}

/* Whether one of the entries in [from, to) has the key of `entry`. */
static bool restate__proto_again(const restate__proto_type *type, const void *entry,
                                 const uint8_t *from, const uint8_t *to, size_t size) {
    bool text = type->fields[0].kind == RESTATE__PROTO_KIND_STRING;
    pb_field_iter_t i;
    if (!pb_field_iter_begin_const(&i, type->message, entry)) return false;
    for (from += (const uint8_t *)i.pData - (const uint8_t *)entry; from < to; from += size)
        if (text ? strncmp((const char *)from, i.pData, i.data_size) == 0
                 : memcmp(from, i.pData, i.data_size) == 0)
            return true;
    return false;
}

typedef struct restate__proto_time { int64_t seconds, nanos; } restate__proto_time;

/* Times are from 0001-01-01 to the end of 9999-12-31. Durations are at most 10,000 years, and both
 * parts have the same sign. */
static bool restate__proto_time_valid(bool duration, const restate__proto_time *t) {
    int64_t most = duration ? 315576000000 : 253402300799;
    int64_t least = duration ? -most : -62135596800;
    if (t->seconds < least || t->seconds > most || t->nanos < -999999999 || t->nanos > 999999999)
        return false;
    return t->nanos == 0 || (t->nanos > 0 ? !duration || t->seconds >= 0
                                          : duration && t->seconds <= 0);
}

/* Days since 1970 of a day in the Gregorian calendar, years from 1 on. The years of the computation
 * begin in March. */
static int64_t restate__proto_days(int64_t year, int64_t month, int64_t day) {
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, in_era = y - era * 400;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

/* ---- Out ------------------------------------------------------------------------------------- */

/* A fault of a struct. */
static bool restate__proto_unfit(restate__proto_walk *w, const char *what) {
    char path[RESTATE__PROTO_PATH];
    const char *dot = restate__proto_path(w->spot, path) ? "." : "";
    w->status = restate_fail(w->ctx, w->in.ptr ? restate__ctx_json_code(w->ctx, w->in)
                                               : RESTATE__E_INTERNAL,
                             "%s: %s%s%s%s: %s", w->binary ? "proto" : "json", w->type->name, dot,
                             path, w->in.ptr ? "" : " cannot be encoded", what);
    return false;
}

/* Writes a bracket or comma. */
static void restate__proto_mark(restate__proto_walk *w, char c) {
    if (!w->binary) restate__json_put(&w->out, c);
}

/* How many values a field has. A field without presence has none while it is zero, as in binary. */
static size_t restate__proto_count(const restate__proto_field *field, const pb_field_iter_t *i) {
    const uint8_t *p = i->pData, *end = p + i->data_size;
    switch (PB_HTYPE(i->type)) {
    case PB_HTYPE_REPEATED: return *(const pb_size_t *)i->pSize;
    case PB_HTYPE_ONEOF: return *(const pb_size_t *)i->pSize == i->tag;
    case PB_HTYPE_REQUIRED: return 1;
    default: break;
    }
    if (i->pSize) return *(const uint8_t *)i->pSize != 0;
    switch (field->kind) {
    case RESTATE__PROTO_KIND_STRING: return *p != 0;
    case RESTATE__PROTO_KIND_BYTES: return ((const pb_bytes_array_t *)i->pData)->size != 0;
    case RESTATE__PROTO_KIND_FIXED_LENGTH_BYTES: case RESTATE__PROTO_KIND_MESSAGE: return 1;
    default: break;
    }
    while (p < end && !*p) p++;
    return p < end;
}

static void restate__proto_put_integer(restate__json_out *o, uint64_t n, bool is_signed) {
    if (is_signed && n >> 63) {
        restate__json_put(o, '-');
        n = 0 - n;
    }
    restate__json_put_digits(o, n, 1);
}

/* The double with the fewest digits that is this float when it is rounded. */
static double restate__proto_widen(float narrow) {
    double x = (double)narrow;
    char text[40];
    for (int digits = 6; digits < 9 && x <= FLT_MAX && x >= -FLT_MAX; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        double shorter = strtod(text, NULL);
        if (shorter <= FLT_MAX && shorter >= -FLT_MAX && (float)shorter == narrow) return shorter;
    }
    return x;
}

static void restate__proto_put_float(restate__json_out *o, const void *data, size_t size) {
    double x;
    float narrow;
    memcpy(size == sizeof x ? (void *)&x : (void *)&narrow, data, size);
    if (size != sizeof x) x = restate__proto_widen(narrow);
    if (!restate__json_put_double(o, x))
        restate__json_put_text(o, x > 0 ? "\"Infinity\"" : x < 0 ? "\"-Infinity\"" : "\"NaN\"");
}

static void restate__proto_put_base64(restate__json_out *o, restate_bytes bytes) {
    restate__json_put(o, '"');
    if (restate__json_room(o, bytes.len / 3 * 4 + 4))
        o->at = (uint8_t *)restate__b_base64((char *)o->at, bytes, false);
    restate__json_put(o, '"');
}

static void restate__proto_put_enum(restate__json_out *o, const restate__proto_field *field,
                                    int32_t n) {
    const char *name = restate__proto_value_name(field->type, n);
    if (name && restate__proto_is_null(field)) restate__json_put_text(o, "null");
    else if (name) restate__json_put_string(o, restate_str(name));
    else restate__proto_put_integer(o, (uint64_t)(int64_t)n, true);
}

static bool restate__proto_put_message(restate__proto_walk *w, const restate__proto_type *type,
                                       const void *message);

#define RESTATE__PROTO_NOT_UTF8 "the string is not UTF-8"

/* Gets a string from a struct. False: a fault. */
static bool restate__proto_text(restate__proto_walk *w, const void *data, size_t size,
                                restate_bytes *text) {
    const uint8_t *zero = memchr(data, 0, size);
    if (!zero) return restate__proto_unfit(w, "the string does not end");
    *text = restate__b(data, (size_t)(zero - (const uint8_t *)data));
    return true;
}

/* Writes a value of a kind that cannot have a fault. */
static void restate__proto_put_scalar(restate__proto_walk *w, const restate__proto_field *field,
                                      const void *data, size_t size) {
    restate__json_out *o = &w->out;
    bool is_signed = restate__proto_signed(field), quoted = restate__proto_wide(field);
    switch (field->kind) {
    case RESTATE__PROTO_KIND_BOOL:
        restate__json_put_text(o, *(const uint8_t *)data ? "true" : "false");
        return;
    case RESTATE__PROTO_KIND_FLOAT: restate__proto_put_float(o, data, size); return;
    case RESTATE__PROTO_KIND_FIXED_LENGTH_BYTES:
        restate__proto_put_base64(o, restate__b(data, size));
        return;
    case RESTATE__PROTO_KIND_ENUM:
        restate__proto_put_enum(o, field, (int32_t)restate__proto_load(data, size, is_signed));
        return;
    default:
        if (quoted) restate__json_put(o, '"');
        restate__proto_put_integer(o, restate__proto_load(data, size, is_signed), is_signed);
        if (quoted) restate__json_put(o, '"');
    }
}

static bool restate__proto_put_value(restate__proto_walk *w, const restate__proto_field *field,
                                     const pb_field_iter_t *i, const void *data) {
    size_t size = i->data_size;
    const pb_bytes_array_t *bytes = data;
    restate_bytes text;
    switch (field->kind) {
    case RESTATE__PROTO_KIND_MESSAGE: return restate__proto_put_message(w, field->type, data);
    case RESTATE__PROTO_KIND_STRING:
        if (!restate__proto_text(w, data, size, &text)) return false;
        return (w->binary ? restate__b_utf8(text) : restate__json_put_string(&w->out, text)) ||
               restate__proto_unfit(w, RESTATE__PROTO_NOT_UTF8);
    case RESTATE__PROTO_KIND_BYTES:
        if (bytes->size > size - offsetof(pb_bytes_array_t, bytes))
            return restate__proto_unfit(w, "there are more bytes than fit");
        if (!w->binary)
            restate__proto_put_base64(&w->out, restate__b(bytes->bytes, bytes->size));
        return true;
    case RESTATE__PROTO_KIND_ENUM:          /* see restate__proto_scan_item() */
        if (PB_LTYPE(i->type) == PB_LTYPE_UVARINT &&
            restate__proto_load(data, size, false) > INT32_MAX)
            return restate__proto_unfit(w, "the enum value is out of range");
        break;
    default: break;
    }
    if (!w->binary) restate__proto_put_scalar(w, field, data, size);
    return true;
}

/* Writes an entry of a map as a member. Names of members are strings, whatever the key's type. */
static bool restate__proto_put_entry(restate__proto_walk *w, const restate__proto_type *entry,
                                     const void *message) {
    const restate__proto_field *key = &entry->fields[0];
    const char *quote = key->kind == RESTATE__PROTO_KIND_STRING || restate__proto_wide(key) ? ""
                                                                                          : "\"";
    pb_field_iter_t i;
    if (!pb_field_iter_begin_const(&i, entry->message, message)) return true;
    restate__json_put_text(&w->out, quote);
    if (!restate__proto_put_value(w, key, &i, i.pData)) return false;
    restate__json_put_text(&w->out, quote);
    restate__json_put(&w->out, ':');
    pb_field_iter_next(&i);
    return restate__proto_put_value(w, &entry->fields[1], &i, i.pData);
}

static bool restate__proto_count_valid(restate__proto_walk *w, const pb_field_iter_t *i) {
    return *(const pb_size_t *)i->pSize <= i->array_size ||
           restate__proto_unfit(w, "there are more elements than fit");
}

static bool restate__proto_put_list(restate__proto_walk *w, restate__proto_struct *m,
                                    size_t count) {
    const restate__proto_field *field = restate__proto_field_of(m);
    bool map = !w->binary && restate__proto_is_map(m->type, field), first = true;
    size_t size = m->i.data_size;
    if (!restate__proto_count_valid(w, &m->i)) return false;
    restate__proto_mark(w, map ? '{' : '[');
    const uint8_t *data = m->i.pData, *end = data + count * size;
    for (w->spot->index = 0; data < end; w->spot->index++, data += size) {
        /* Of several entries with the same key the last one is the entry. */
        if (map && restate__proto_again(field->type, data, data + size, end, size)) continue;
        if (!first) restate__proto_mark(w, ',');
        first = false;
        if (map ? !restate__proto_put_entry(w, field->type, data)
                : !restate__proto_put_value(w, field, &m->i, data))
            return false;
    }
    restate__proto_mark(w, map ? '}' : ']');
    return true;
}

/* Writes a field, with the comma before it. Those with callbacks are not checked (only binary
 * codecs may have them): the program encodes them. */
static bool restate__proto_put_field(restate__proto_walk *w, restate__proto_struct *m,
                                     bool *first) {
    const restate__proto_field *field = restate__proto_field_of(m);
    const char *name = field->name;
    restate__proto_spot spot;
    if (PB_ATYPE(m->i.type) != PB_ATYPE_STATIC) return true;
    size_t count = restate__proto_count(field, &m->i);
    if (!count) return true;
    if (!w->binary) {
        restate__json_put_text(&w->out, *first ? "\"" : ",\"");
        for (char c; (c = restate__proto_name_next(&name)) != 0;) restate__json_put(&w->out, c);
        restate__json_put_text(&w->out, "\":");
    }
    *first = false;
    restate__proto_enter(w, &spot, field);
    bool list = PB_HTYPE(m->i.type) == PB_HTYPE_REPEATED;
    if (list ? !restate__proto_put_list(w, m, count)
             : !restate__proto_put_value(w, field, &m->i, m->i.pData))
        return false;
    w->spot = spot.up;
    return true;
}

/* A Timestamp or Duration; `m` is at the first of its two fields. */
static bool restate__proto_put_time(restate__proto_walk *w, restate__proto_struct *m) {
    bool duration = restate__proto_is_duration(m->type);
    restate__proto_time t = { 0, 0 };
    char text[RESTATE__CLOCK_TEXT];
    size_t digits = 9;
    for (bool more = true; more; more = pb_field_iter_next(&m->i))
        *(m->i.tag == 1 ? &t.seconds : &t.nanos) =
            (int64_t)restate__proto_load(m->i.pData, m->i.data_size, true);
    if (!restate__proto_time_valid(duration, &t))
        return restate__proto_unfit(w, "the time is out of range");
    if (w->binary) return true;
    restate__json_put(&w->out, '"');
    if (duration && (t.seconds < 0 || t.nanos < 0)) restate__json_put(&w->out, '-');
    if (duration) restate__json_put_digits(&w->out, (uintmax_t)llabs(t.seconds), 1);
    else restate__json_put_text(&w->out, restate__clock_date(t.seconds, text));
    if (t.nanos) {                          /* as few groups of three digits as it takes */
        for (; t.nanos % 1000 == 0; digits -= 3) t.nanos /= 1000;
        restate__json_put(&w->out, '.');
        restate__json_put_digits(&w->out, (uintmax_t)llabs(t.nanos), digits);
    }
    restate__json_put_text(&w->out, duration ? "s\"" : "Z\"");
    return true;
}

/* Whether a path of a FieldMask has a JSON form: "unit_price" is "unitPrice" there, and a comma
 * ends a path. "line_2" has none, because its JSON form would be read as "line2". */
static bool restate__proto_mask_path_valid(restate_bytes path) {
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.ptr[i], next = path.ptr[i + 1];
        if ((c >= 'A' && c <= 'Z') || c == ',') return false;
        if (c == '_' && (next < 'a' || next > 'z')) return false;
    }
    return path.len > 0;
}

/* A FieldMask, in JSON a string such as "unitPrice,lines.sku". */
static bool restate__proto_put_mask(restate__proto_walk *w, restate__proto_struct *m) {
    const char *path = m->i.pData;
    restate_bytes text;
    if (!restate__proto_count_valid(w, &m->i)) return false;
    restate__json_put(&w->out, '"');
    for (size_t k = 0; k < *(const pb_size_t *)m->i.pSize; k++, path += m->i.data_size) {
        if (!restate__proto_text(w, path, m->i.data_size, &text)) return false;
        if (!restate__b_utf8(text)) return restate__proto_unfit(w, RESTATE__PROTO_NOT_UTF8);
        if (!restate__proto_mask_path_valid(text))
            return restate__proto_unfit(w, "a path of the mask has no JSON form");
        if (k) restate__json_put(&w->out, ',');
        const char *from = path;
        for (char c; (c = restate__proto_name_next(&from)) != 0;)
            restate__json_put_escaped(&w->out, restate__b(&c, 1));
    }
    restate__json_put(&w->out, '"');
    return true;
}

/* StringValue, Int64Value and so on: JSON has just the value. */
static bool restate__proto_put_wrapped(restate__proto_walk *w, restate__proto_struct *m) {
    return restate__proto_put_value(w, &m->type->fields[0], &m->i, m->i.pData);
}

static bool restate__proto_put_none(restate__proto_walk *w, restate__proto_struct *m) {
    (void)m;
    return restate__proto_unfit(w, "this type of google.protobuf has no JSON form here");
}

/* ---- In -------------------------------------------------------------------------------------- */

/* A fault of JSON. The scanner has accepted the whole text before, so this is about a value of the
 * wrong type, or a string that cannot be represented (rule 2 of >>json). `value`: see
 * restate__json_found(). */
static bool restate__proto_wrong(restate__proto_walk *w, const uint8_t *at, bool value,
                                 const char *format, ...) RESTATE__PRINTF(4, 5);
static bool restate__proto_wrong(restate__proto_walk *w, const uint8_t *at, bool value,
                                 const char *format, ...) {
    restate__json_text found = restate__json_found(at, w->scan.end, value);
    char path[RESTATE__PROTO_PATH], expected[128];
    va_list args;
    if (restate__ctx_arena(w->ctx)->failed) return restate__proto_nomem(w);
    va_start(args, format);
    vsnprintf(expected, sizeof expected, format, args);
    va_end(args);
    restate__proto_path(w->spot, path);
    w->status = restate_fail(w->ctx, restate__ctx_json_code(w->ctx, w->in),
                             "json: %s%s%s%s: " RESTATE__JSON_EXPECTED, w->spot ? "member '" : "",
                             path, w->spot ? "' of " : "", w->type->name, expected, found.s,
                             (size_t)(at - w->in.ptr));
    return false;
}

static bool restate__proto_unexpected(restate__proto_walk *w, const char *expected) {
    return restate__proto_wrong(w, w->scan.at, true, "%s", expected);
}

/* A fault of a string: it cannot be represented, or takes more than `room` bytes. */
static bool restate__proto_bad_text(restate__proto_walk *w, const uint8_t *start, size_t room) {
    if (w->scan.expected) return restate__proto_wrong(w, w->scan.at, false, "%s", w->scan.expected);
    return restate__proto_wrong(w, start, true, "a string of at most %zu bytes", room - 1);
}

/* Takes a string or number. Absent: it is neither, or cannot be represented. */
static restate_bytes restate__proto_token(restate__proto_walk *w) {
    if (*w->scan.at == '"') return restate__json_pull(&w->scan, restate__ctx_arena(w->ctx));
    return restate__json_is_number(w->scan.at) ? restate__json_raw(&w->scan) : restate__b_none();
}

static bool restate__proto_is_number(restate_bytes text) {
    restate__json_scan s = restate__json_scan_of(text);
    return text.len && restate__json_is_number(s.at) && restate__json_number(&s) && s.at == s.end;
}

/* Reads an integer of so many bytes; "1.0" and "1e2" are integers, too. False: `text` is none. */
static bool restate__proto_whole(restate_bytes text, size_t bytes, bool is_signed, uint64_t *bits) {
    return restate__proto_is_number(text) &&
           !restate__json_whole(text, 8u * (unsigned)bytes, is_signed, bits);
}

static bool restate__proto_get_text(restate__proto_walk *w, void *data, size_t size) {
    const uint8_t *start = w->scan.at;
    if (*start != '"') return restate__proto_unexpected(w, "a string");
    return restate__json_unescape(&w->scan, data, size) || restate__proto_bad_text(w, start, size);
}

static bool restate__proto_get_integer(restate__proto_walk *w, bool is_signed, void *data,
                                       size_t size) {
    const uint8_t *start = w->scan.at;
    uint64_t bits = 0;
    if (!restate__proto_whole(restate__proto_token(w), size, is_signed, &bits))
        return restate__proto_wrong(w, start, true, "an integer of %zu bits%s", size * 8,
                                    is_signed ? "" : ", not negative");
    restate__proto_store(data, size, bits);
    return true;
}

/* The nearest float. False: beyond the range. FLT_MAX in 8 digits is a little above FLT_MAX, and is
 * FLT_MAX. */
static bool restate__proto_narrow(double x, float *out) {
    double size = x < 0 ? -x : x;
    if (!(size < 3.4028235677973366e38)) return false;
    if (size > FLT_MAX) *out = x < 0 ? -FLT_MAX : FLT_MAX;
    else *out = (float)x;
    return true;
}

static bool restate__proto_get_float(restate__proto_walk *w, void *data, size_t size) {
    static const char *const names[] = { "NaN", "Infinity", "-Infinity" };
    const double special[] = { (double)NAN, (double)INFINITY, -(double)INFINITY };
    const uint8_t *start = w->scan.at;
    restate_bytes token = restate__proto_token(w);
    double x = 0;
    float narrow = 0;
    size_t i = 0;
    while (i < 3 && !(*start == '"' && restate__b_is(token, names[i]))) i++;
    if (i < 3) {
        x = special[i];
        narrow = (float)x;
    } else if (!restate__proto_is_number(token)) {
        return restate__proto_wrong(w, start, true, "a number");
    } else if (!restate__json_double_of(restate__ctx_arena(w->ctx), token, &x) ||
               (size == sizeof narrow && !restate__proto_narrow(x, &narrow))) {
        return restate__proto_wrong(w, start, true, "a number in the range of its type");
    }
    memcpy(data, size == sizeof x ? (void *)&x : (void *)&narrow, size);
    return true;
}

static bool restate__proto_get_bool(restate__proto_walk *w, void *data) {
    bool yes = *w->scan.at == 't';
    if (!yes && *w->scan.at != 'f') return restate__proto_unexpected(w, "a boolean");
    w->scan.at += yes ? 4 : 5;
    memcpy(data, &yes, sizeof yes);
    return true;
}

static bool restate__proto_get_enum(restate__proto_walk *w, const restate__proto_type *e,
                                    void *data, size_t size) {
    const uint8_t *start = w->scan.at;
    uint64_t bits = 0;
    int64_t n = 0;
    bool well = *start == 'n';              /* of a NullValue */
    if (well) w->scan.at += 4;
    restate_bytes token = well ? restate__b_none() : restate__proto_token(w);
    if (*start == '"') {
        well = token.ptr && restate__proto_named_value(w, e, token, &n);
    } else if (!well) {
        well = restate__proto_whole(token, size, e->least < 0, &bits) && (int64_t)bits <= INT32_MAX;
        n = (int64_t)bits;
    }
    if (well) restate__proto_store(data, size, (uint64_t)n);
    if (well || w->status != RESTATE_OK) return well;
    if (e->values || (int64_t)e->most - e->least < RESTATE__PROTO_SEARCHED)
        return restate__proto_wrong(w, start, true, "a value of %.90s", e->name);
    return restate__proto_wrong(w, start, true, "a value of %.40s (by name those that %.40s_VALUES "
                                "lists)", e->name, e->name);
}

/* Bytes in base64, in either alphabet; padding may be missing. */
static bool restate__proto_get_bytes(restate__proto_walk *w, bool fixed, void *data, size_t size) {
    const uint8_t *start = w->scan.at;
    pb_bytes_array_t *array = data;
    size_t room = fixed ? size : size - offsetof(pb_bytes_array_t, bytes), len = SIZE_MAX, pads = 0;
    restate_bytes text = *start == '"' ? restate__proto_token(w) : restate__b_none();
    for (; pads < 2 && text.len && text.ptr[text.len - 1] == '='; pads++) text.len--;
    if (text.ptr) len = restate__b_base64_read(text, false, fixed ? data : array->bytes, room);
    if (len == SIZE_MAX || (len <= room && pads && (text.len + pads) % 4))
        return restate__proto_wrong(w, start, true, "bytes in base64");
    if (fixed ? len != room && len : len > room)
        return restate__proto_wrong(w, start, true, "%s%zu bytes in base64",
                                    fixed ? "" : "at most ", room);
    if (!fixed) array->size = (pb_size_t)len;
    return true;
}

/* Takes `least` to `most` digits. */
static bool restate__proto_digits(const uint8_t **p, size_t least, size_t most, int64_t *n) {
    size_t i = 0;
    for (*n = 0; i < most && restate__json_digit(**p); i++) *n = *n * 10 + (*(*p)++ - '0');
    return i >= least;
}

/* Takes nothing, or a point and one to nine digits. */
static bool restate__proto_nanos(const uint8_t **p, int64_t *nanos) {
    *nanos = 0;
    if (**p != '.') return true;
    const uint8_t *first = ++*p;
    if (!restate__proto_digits(p, 1, 9, nanos)) return false;
    for (ptrdiff_t n = *p - first; n < 9; n++) *nanos *= 10;
    return true;
}

/* Takes a time of RFC 3339 and converts it to UTC. The date is valid if the same text comes out
 * when it is written again. Returns the end; NULL: it is no time. */
static const uint8_t *restate__proto_timestamp(const uint8_t *p, restate__proto_time *t) {
    static const char ends[] = "--T::";
    int64_t part[6], hours = 0, minutes = 0;
    char again[RESTATE__CLOCK_TEXT];
    const uint8_t *begin = p;
    for (size_t i = 0; i < 6; i++) {
        if (!restate__proto_digits(&p, i ? 2 : 4, i ? 2 : 4, &part[i])) return NULL;
        if (i < 5 && *p++ != (uint8_t)ends[i]) return NULL;
    }
    t->seconds = restate__proto_days(part[0], part[1], part[2]) * 86400 + part[3] * 3600 +
                 part[4] * 60 + part[5];
    size_t n = strlen(restate__clock_date(t->seconds, again));
    if (part[0] < 1 || n != (size_t)(p - begin) || memcmp(begin, again, n) != 0) return NULL;
    if (!restate__proto_nanos(&p, &t->nanos)) return NULL;
    uint8_t zone = *p++;
    if (zone == 'Z') return p;
    if ((zone != '+' && zone != '-') || !restate__proto_digits(&p, 2, 2, &hours) || *p++ != ':' ||
        !restate__proto_digits(&p, 2, 2, &minutes) || hours > 23 || minutes > 59)
        return NULL;
    t->seconds += (zone == '-' ? 1 : -1) * (hours * 3600 + minutes * 60);
    return p;
}

/* Takes a duration such as "-1.5s". Returns the end; NULL: it is none. */
static const uint8_t *restate__proto_duration(const uint8_t *p, restate__proto_time *t) {
    bool minus = *p == '-';
    p += minus;
    if (!restate__proto_digits(&p, 1, 12, &t->seconds) || !restate__proto_nanos(&p, &t->nanos) ||
        *p++ != 's')
        return NULL;
    if (minus) t->seconds = -t->seconds, t->nanos = -t->nanos;
    return p;
}

static bool restate__proto_get_time(restate__proto_walk *w, restate__proto_struct *m) {
    const uint8_t *start = w->scan.at, *end = NULL;
    bool duration = restate__proto_is_duration(m->type);
    restate_bytes text = *start == '"' ? restate__proto_token(w) : restate__b_none();
    restate__proto_time t;
    if (text.ptr)                           /* a quotation mark or zero byte follows */
        end = duration ? restate__proto_duration(text.ptr, &t)
                       : restate__proto_timestamp(text.ptr, &t);
    if (!end || end != text.ptr + text.len || !restate__proto_time_valid(duration, &t))
        return restate__proto_wrong(w, start, true, duration
                                    ? "a duration such as \"1.5s\""
                                    : "a time such as \"2006-01-02T15:04:05Z\"");
    for (bool more = true; more; more = pb_field_iter_next(&m->i))
        restate__proto_store(m->i.pData, m->i.data_size,
                             (uint64_t)(m->i.tag == 1 ? t.seconds : t.nanos));
    return true;
}

/* Takes one path of a FieldMask, "unitPrice" for "unit_price", and the comma behind it. False: it
 * is no path, or needs more than `room` bytes. */
static bool restate__proto_mask_path(restate_bytes *from, char *to, size_t room) {
    const uint8_t *p = from->ptr, *end = p + from->len;
    size_t n = 0;
    for (; p < end && *p != ','; p++) {
        bool upper = *p >= 'A' && *p <= 'Z';
        if (*p == '_' || n + upper + 1 >= room) return false;
        if (upper) to[n++] = '_';
        to[n++] = (char)(upper ? *p - 'A' + 'a' : *p);
    }
    to[n] = 0;
    *from = p < end ? restate__b(p + 1, (size_t)(end - p) - 1) : restate__b_none();
    return n > 0;
}

static bool restate__proto_get_mask(restate__proto_walk *w, restate__proto_struct *m) {
    const uint8_t *start = w->scan.at;
    char *path = m->i.pData;
    size_t count = 0;
    bool well = true;
    if (*start != '"') return restate__proto_unexpected(w, "a string");
    restate_bytes text = restate__proto_token(w);
    if (!text.ptr) return restate__proto_bad_text(w, start, 0);
    if (!text.len) text.ptr = NULL;
    for (; text.ptr && well; path += m->i.data_size)
        well = count++ < m->i.array_size && restate__proto_mask_path(&text, path, m->i.data_size);
    if (restate__proto_is_fixed(&m->i)) well = well && count == m->i.array_size;
    else *(pb_size_t *)m->i.pSize = (pb_size_t)(well ? count : 0);
    return well || restate__proto_wrong(w, start, true, "%u paths or fewer, of at most %u bytes, "
                                        "such as \"a.bC\"", (unsigned)m->i.array_size,
                                        m->i.data_size - 1u);
}

static bool restate__proto_get_message(restate__proto_walk *w, const restate__proto_type *type,
                                       void *message);

/* Sets all fields as nanopb does for an empty message. It reports that required fields are missing:
 * restate__proto_get_rest() checks that later. */
static void restate__proto_reset(const restate__proto_type *type, void *message) {
    static const pb_byte_t nothing[1] = { 0 };
    pb_istream_t s = pb_istream_from_buffer(nothing, 0);
    if (!pb_decode(&s, type->message, message)) return;
}

static bool restate__proto_get_value(restate__proto_walk *w, const restate__proto_field *field,
                                     const pb_field_iter_t *i, void *data) {
    size_t size = i->data_size;
    if (*w->scan.at == 'n' && !restate__proto_is_null(field))
        return restate__proto_unexpected(w, "a value");
    switch (field->kind) {
    case RESTATE__PROTO_KIND_BOOL: return restate__proto_get_bool(w, data);
    case RESTATE__PROTO_KIND_FLOAT: return restate__proto_get_float(w, data, size);
    case RESTATE__PROTO_KIND_STRING: return restate__proto_get_text(w, data, size);
    case RESTATE__PROTO_KIND_BYTES: return restate__proto_get_bytes(w, false, data, size);
    case RESTATE__PROTO_KIND_FIXED_LENGTH_BYTES:
        return restate__proto_get_bytes(w, true, data, size);
    case RESTATE__PROTO_KIND_ENUM: return restate__proto_get_enum(w, field->type, data, size);
    case RESTATE__PROTO_KIND_MESSAGE: return restate__proto_get_message(w, field->type, data);
    default: return restate__proto_get_integer(w, restate__proto_signed(field), data, size);
    }
}

static bool restate__proto_get_wrapped(restate__proto_walk *w, restate__proto_struct *m) {
    return restate__proto_get_value(w, &m->type->fields[0], &m->i, m->i.pData);
}

static bool restate__proto_get_none(restate__proto_walk *w, restate__proto_struct *m) {
    (void)m;
    return restate__proto_unexpected(w, "no value of this type of google.protobuf");
}

/* The key of a map's entry: the name of a member, a string whatever the key's type. */
static bool restate__proto_get_key(restate__proto_walk *w, const restate__proto_field *key,
                                   const pb_field_iter_t *i) {
    const uint8_t *start = w->scan.at;
    if (key->kind != RESTATE__PROTO_KIND_BOOL)
        return restate__proto_get_value(w, key, i, i->pData);
    restate_bytes token = restate__proto_token(w);
    bool yes = restate__b_is(token, "true");
    if (!yes && !restate__b_is(token, "false"))
        return restate__proto_wrong(w, start, true, "\"true\" or \"false\"");
    memcpy(i->pData, &yes, sizeof yes);
    return true;
}

static bool restate__proto_get_entry(restate__proto_walk *w, const restate__proto_type *type,
                                     uint8_t *entry, const uint8_t *first, size_t size) {
    const uint8_t *start = w->scan.at;
    pb_field_iter_t i;
    restate__proto_reset(type, entry);
    if (!pb_field_iter_begin(&i, type->message, entry)) return true;
    w->spot->key = restate__b_none();
    if (!restate__proto_get_key(w, &type->fields[0], &i)) return false;
    if (restate__proto_again(type, entry, first, entry, size)) {
        w->spot->key = restate__b(start + 1, (size_t)(w->scan.at - start) - 2);
        return restate__proto_wrong(w, start, true, "each key once");
    }
    w->scan.at = start;
    w->spot->key = restate__json_key(&w->scan);
    pb_field_iter_next(&i);
    if (i.pSize) *(bool *)i.pSize = true;
    return restate__proto_get_value(w, &type->fields[1], &i, i.pData);
}

static bool restate__proto_get_list(restate__proto_walk *w, restate__proto_struct *m) {
    const restate__proto_field *field = restate__proto_field_of(m);
    restate__json_scan *s = &w->scan;
    const uint8_t *start = s->at;
    uint8_t *data = m->i.pData;
    bool map = restate__proto_is_map(m->type, field), fixed = restate__proto_is_fixed(&m->i);
    size_t n = 0;
    if (*start != (map ? '{' : '['))
        return restate__proto_unexpected(w, map ? "an object" : "an array");
    bool more = restate__json_first(s);
    for (; more && n < m->i.array_size; more = restate__json_more(s), n++, data += m->i.data_size) {
        w->spot->index = n;
        memset(data, 0, m->i.data_size);
        if (map ? !restate__proto_get_entry(w, field->type, data, m->i.pData, m->i.data_size)
                : !restate__proto_get_value(w, field, &m->i, data))
            return false;
    }
    w->spot->index = SIZE_MAX;
    w->spot->key = restate__b_none();
    if (!more && !fixed) *(pb_size_t *)m->i.pSize = (pb_size_t)n;
    if (!more && (!fixed || n == m->i.array_size)) return true;
    return restate__proto_wrong(w, start, true, "%s %u %s", fixed ? "exactly" : "at most",
                                (unsigned)m->i.array_size, map ? "members" : "elements");
}

/* Reads the value of a member. */
static bool restate__proto_get_field(restate__proto_walk *w, restate__proto_struct *m) {
    pb_size_t *which = m->i.pSize;
    switch (PB_HTYPE(m->i.type)) {
    case PB_HTYPE_REPEATED: return restate__proto_get_list(w, m);
    case PB_HTYPE_ONEOF:
        if (*which) return restate__proto_unexpected(w, "no second member of the same oneof");
        *which = m->i.tag;
        memset(m->i.pData, 0, m->i.data_size);
        break;
    case PB_HTYPE_OPTIONAL:
        if (m->i.pSize) *(bool *)m->i.pSize = true;
        break;
    default: break;
    }
    return restate__proto_get_value(w, restate__proto_field_of(m), &m->i, m->i.pData);
}

/* Moves to the field of that name. Searches from the current field on: members mostly come in the
 * order of the fields. */
static bool restate__proto_find(restate__proto_walk *w, restate__proto_struct *m,
                                restate_bytes name) {
    if (name.len && memchr(name.ptr, '\\', name.len)) {
        restate__json_scan s = restate__json_scan_of(restate__b(name.ptr - 1, name.len + 2));
        s.strict = true;
        name = restate__json_pull(&s, restate__ctx_arena(w->ctx));
    }
    for (size_t n = name.ptr ? m->type->message->field_count : 0; n; n--, pb_field_iter_next(&m->i))
        if (restate__proto_named(restate__proto_field_of(m), name)) return true;
    return false;
}

static bool restate__proto_unknown(restate__proto_walk *w, restate_bytes name) {
    char path[RESTATE__PROTO_PATH];
    size_t n = restate__proto_path(w->spot, path), shown = name.len < 60 ? name.len : 60;
    if (restate__ctx_arena(w->ctx)->failed) return restate__proto_nomem(w);
    while (shown < name.len && shown && (name.ptr[shown] & 0xC0) == 0x80) shown--;
    w->status = restate_fail(w->ctx, restate__ctx_json_code(w->ctx, w->in),
                             "json: %s%s%s has no member '%.*s'%s, found at byte %zu",
                             w->type->name, n ? "." : "", path, (int)shown,
                             (const char *)name.ptr, shown < name.len ? "..." : "",
                             (size_t)(name.ptr - 1 - w->in.ptr));
    return false;
}

/* At the end of a message: fields without a member. Arrays of a fixed count are set to zero here,
 * because nanopb does not (see restate__proto_reset()). Required fields are a fault. */
static bool restate__proto_get_rest(restate__proto_walk *w, restate__proto_struct *m,
                                    const uint8_t *seen) {
    for (size_t n = m->type->message->field_count; n; n--, pb_field_iter_next(&m->i)) {
        restate__proto_spot spot;
        if (seen[m->i.index / 8] >> m->i.index % 8 & 1u) continue;
        if (restate__proto_is_fixed(&m->i))
            memset(m->i.pData, 0, (size_t)m->i.data_size * m->i.array_size);
        if (PB_HTYPE(m->i.type) != PB_HTYPE_REQUIRED) continue;
        restate__proto_enter(w, &spot, restate__proto_field_of(m));
        return restate__proto_wrong(w, w->scan.at - 1, false, "a value");
    }
    return true;
}

/* Reads the object of a message. `seen` has a bit for each field. A member with null is as if it
 * was missing, except that null is the value of a NullValue. */
static bool restate__proto_get_members(restate__proto_walk *w, restate__proto_struct *m, bool any,
                                       uint8_t *seen) {
    restate__json_scan *s = &w->scan;
    restate__proto_spot spot;
    for (bool more = restate__json_first(s); more; more = restate__json_more(s)) {
        restate_bytes name = restate__json_key(s);
        if (!any || !restate__proto_find(w, m, name)) return restate__proto_unknown(w, name);
        const restate__proto_field *field = restate__proto_field_of(m);
        uint8_t *bits = &seen[m->i.index / 8], bit = (uint8_t)(1u << m->i.index % 8);
        bool null = *s->at == 'n', missing = null && !restate__proto_is_null(field);
        restate__proto_enter(w, &spot, field);
        if (*bits & bit) return restate__proto_wrong(w, name.ptr - 1, true, "each member once");
        if (!missing) *bits |= bit;
        if (missing || (null && PB_HTYPE(m->i.type) == PB_HTYPE_REPEATED)) s->at += 4;
        else if (!restate__proto_get_field(w, m)) return false;
        w->spot = spot.up;
    }
    return restate__proto_get_rest(w, m, seen);
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* A type of google.protobuf with a JSON form of its own (rule 4). `m` is at its first field. */
typedef struct restate__proto_special {
    const char *name;
    bool (*put)(restate__proto_walk *w, restate__proto_struct *m);
    bool (*get)(restate__proto_walk *w, restate__proto_struct *m);
} restate__proto_special;

static const restate__proto_special restate__proto_specials[] = {
    { "Timestamp", restate__proto_put_time, restate__proto_get_time },
    { "Duration", restate__proto_put_time, restate__proto_get_time },
    { "FieldMask", restate__proto_put_mask, restate__proto_get_mask },
    { "DoubleValue", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "FloatValue", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "Int64Value", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "UInt64Value", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "Int32Value", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "UInt32Value", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "BoolValue", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "StringValue", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "BytesValue", restate__proto_put_wrapped, restate__proto_get_wrapped },
    { "Any", restate__proto_put_none, restate__proto_get_none },
    { "Struct", restate__proto_put_none, restate__proto_get_none },
    { "Value", restate__proto_put_none, restate__proto_get_none },
    { "ListValue", restate__proto_put_none, restate__proto_get_none },
};

/* NULL: the type has no form of its own. */
static const restate__proto_special *restate__proto_special_of(const restate__proto_type *type) {
    const restate__proto_special *s = restate__proto_specials;
    size_t n = sizeof restate__proto_specials / sizeof *s;
    if (*type->name != 'g') return NULL;
    for (; n; n--, s++)
        if (restate__proto_is(type, s->name)) return s;
    return NULL;
}

/* The recursion is as deep as the types are nested: no struct contains itself. In binary the types
 * of rule 4 are messages like others, but times have to be valid there, too. */
static bool restate__proto_put_message(restate__proto_walk *w, const restate__proto_type *type,
                                       const void *message) {
    const restate__proto_special *special = restate__proto_special_of(type);
    restate__proto_struct m = { .type = type };
    bool first = true, more = pb_field_iter_begin_const(&m.i, type->message, message);
    if (special && more && (!w->binary || restate__proto_is_time(type)))
        return special->put(w, &m);
    restate__proto_mark(w, '{');
    for (; more; more = pb_field_iter_next(&m.i))
        if (!restate__proto_put_field(w, &m, &first)) return false;
    restate__proto_mark(w, '}');
    return true;
}

static bool restate__proto_get_message(restate__proto_walk *w, const restate__proto_type *type,
                                       void *message) {
    const restate__proto_special *special = restate__proto_special_of(type);
    size_t bytes = type->message->field_count / 8u + 1u;
    uint8_t few[16], *seen = few;
    restate__proto_struct m = { .type = type };
    restate__proto_reset(type, message);
    bool any = pb_field_iter_begin(&m.i, type->message, message);
    if (special && any) return special->get(w, &m);
    if (*w->scan.at != '{') return restate__proto_unexpected(w, "an object");
    if (bytes > sizeof few) seen = restate__arena_bytes(restate__ctx_arena(w->ctx), bytes);
    if (!seen) return restate__proto_nomem(w);
    memset(seen, 0, bytes);
    return restate__proto_get_members(w, &m, any, seen);
}

/* ---- Codecs of messages ---------------------------------------------------------------------- */

RESTATE_API restate_status restate__protojson_encode(const restate_codec *codec, restate_ctx *ctx,
                                                     const void *value, restate_bytes *out) {
    *out = restate__b_none();
    if (restate__ctx_over(ctx)) return RESTATE_ENDED;
    restate__proto_walk w = restate__proto_begin(codec, ctx, *out, false);
    if (!restate__proto_put_message(&w, w.type, value)) return w.status;
    *out = restate__json_finish(&w.out);
    return out->ptr ? RESTATE_OK : restate__ctx_nomem(ctx);
}

RESTATE_API restate_status restate__protojson_decode(const restate_codec *codec, restate_ctx *ctx,
                                                     restate_bytes in, void *value) {
    if (restate__ctx_over(ctx)) return RESTATE_ENDED;
    if (!in.ptr) return RESTATE_OK;
    restate__proto_walk w = restate__proto_begin(codec, ctx, in, false);
    if (!restate__json_document(&w.scan)) {
        restate__proto_wrong(&w, w.scan.at, false, "%s", w.scan.expected);
        return w.status;
    }
    w.scan.at = in.ptr;
    w.scan.strict = true;
    restate__json_space(&w.scan);
    restate__proto_get_message(&w, w.type, value);
    return w.status;
}

/* Encodes twice, as nanopb does for nested messages: the first pass finds the size. Callbacks write
 * the same in both. */
RESTATE_API restate_status restate__proto_encode(const restate_codec *codec, restate_ctx *ctx,
                                                 const void *value, restate_bytes *out) {
    pb_ostream_t s = PB_OSTREAM_SIZING;
    *out = restate__b_none();
    if (restate__ctx_over(ctx)) return RESTATE_ENDED;
    restate__proto_walk w = restate__proto_begin(codec, ctx, *out, true);
    if (!restate__proto_put_message(&w, w.type, value)) return w.status;
    if (pb_encode(&s, w.type->message, value)) {
        size_t size = s.bytes_written;
        uint8_t *bytes = restate__arena_bytes(restate__ctx_arena(ctx), size + 1);
        if (!bytes) return restate__ctx_nomem(ctx);
        s = pb_ostream_from_buffer(bytes, size);
        if (pb_encode(&s, w.type->message, value)) {
            bytes[s.bytes_written] = 0;
            *out = restate__b(bytes, s.bytes_written);
            return RESTATE_OK;
        }
    }
    if (restate__ctx_over(ctx)) return RESTATE_ENDED;
    return restate_fail(ctx, RESTATE__E_INTERNAL, "proto: %s cannot be encoded: %s", w.type->name,
                        PB_GET_ERROR(&s));
}

RESTATE_API restate_status restate__proto_decode(const restate_codec *codec, restate_ctx *ctx,
                                                 restate_bytes in, void *value) {
    if (restate__ctx_over(ctx)) return RESTATE_ENDED;
    if (!in.ptr) return RESTATE_OK;
    restate__proto_walk w = restate__proto_begin(codec, ctx, in, true);
    restate__proto_fault f = { .whole = false };
    restate__wire_cursor cursor = { in.ptr };
    pb_istream_t s = PB_ISTREAM_EMPTY;
    char place[64] = "";
    s.callback = restate__wire_source;
    s.state = &cursor;
    s.bytes_left = in.len;
    if (!pb_decode(&s, w.type->message, value)) {
        /* The cursor is where nanopb stopped, except for fields that a message lacks. */
        restate__proto_faulty(&f, cursor.at, PB_GET_ERROR(&s));
        f.whole = strcmp(f.why, "missing required field") == 0 ||
                  strncmp(f.why, "wrong size", 10) == 0;
    }
    if (restate__ctx_over(ctx)) return RESTATE_ENDED;
    if (f.why && !f.whole) restate__proto_locate(&f, w.type, in, f.at);
    else restate__proto_scan(&f, w.type, value, in);
    if (!f.why) return !f.times || restate__proto_put_message(&w, w.type, value) ? RESTATE_OK
                                                                                 : w.status;
    if (!f.whole)
        snprintf(place, sizeof place, " at byte %zu of %zu", (size_t)(f.at - in.ptr), in.len);
    return restate_fail(ctx, restate__ctx_json_code(ctx, in), "proto: %s%s: %s%s", w.type->name,
                        f.path, f.why, place);
}

/* ================================================================================================
// >>identity  signed requests: keys, JSON Web Tokens, Ed25519                        [restate__id_]
// Checks that a request comes from a Restate server that signs with one of the given keys.
================================================================================================ */

/* The server signs a token for each request. It is a JSON Web Token in compact form: three parts in
 * base64url with dots between them. Its claims are a path and the time for which it is valid. */

#define RESTATE__ID_KEY_BYTES 32u
#define RESTATE__ID_SIGNATURE_BYTES 64u
#define RESTATE__ID_TOKEN_BYTES_MAX 8192u
#define RESTATE__ID_KEY_START "publickeyv1_"

typedef bool restate__id_verify(void *user, restate_bytes key, restate_bytes message,
                                restate_bytes signature);

/* ---- Ed25519 --------------------------------------------------------------------------------- */

#ifdef RESTATE_WITH_OPENSSL

#include <openssl/evp.h>

static bool restate__id_openssl(void *user, restate_bytes key, restate_bytes message,
                                restate_bytes signature) {
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key.ptr, key.len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool valid = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                 EVP_DigestVerify(ctx, signature.ptr, signature.len, message.ptr, message.len) == 1;
    (void)user;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return valid;
}
#define RESTATE__ID_VERIFY restate__id_openssl

#else
#define RESTATE__ID_VERIFY NULL
#endif

/* ---- Texts ----------------------------------------------------------------------------------- */

/* Decodes a number in base 58 into `key`. NULL: it has as many bytes as a key; else what is
 * wrong. */
static const char *restate__id_base58(const char *text, uint8_t *key) {
    static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    size_t zeros = strspn(text, "1"), leading = 0;
    memset(key, 0, RESTATE__ID_KEY_BYTES);
    for (const char *p = text; *p; p++) {
        const char *digit = strchr(digits, *p);
        if (!digit) return "is not in base 58";
        uint32_t carry = (uint32_t)(digit - digits);
        for (size_t i = RESTATE__ID_KEY_BYTES; i-- > 0; carry >>= 8) {
            carry += 58u * key[i];
            key[i] = (uint8_t)carry;
        }
        if (carry) return "holds more than 32 bytes";
    }
    while (leading < RESTATE__ID_KEY_BYTES && !key[leading]) leading++;
    return zeros == leading ? NULL : "does not hold 32 bytes";
}

/* Decodes a key. NULL: it is there; else what is wrong with the text. */
static const char *restate__id_key(const char *text, uint8_t *key) {
    size_t n = sizeof RESTATE__ID_KEY_START - 1;
    if (strncmp(text, RESTATE__ID_KEY_START, n) != 0)
        return "does not start with " RESTATE__ID_KEY_START;
    return restate__id_base58(text + n, key);
}

/* Decodes base64url without padding. Absent bytes: the text is something else, or out of memory. */
static restate_bytes restate__id_base64(restate__arena *arena, restate_bytes text) {
    uint8_t *bytes = restate__arena_bytes(arena, text.len + 1);
    size_t n = bytes ? restate__b_base64_read(text, true, bytes, text.len) : SIZE_MAX;
    return n != SIZE_MAX ? restate__b(bytes, n) : restate__b_none();
}

/* The value of a member. Absent: there is no such member, it is null, or `json` is no object. */
static restate_bytes restate__id_member(restate_bytes json, const char *name) {
    restate__json_scan s = restate__json_scan_of(json);
    s.wanted = restate_str(name);
    s.begin = restate__json_space(&s);
    if (!restate__json_document(&s) || *s.begin != '{' || !s.found.ptr || *s.found.ptr == 'n')
        return restate__b_none();
    return s.found;
}

static bool restate__id_is_string(restate_bytes json, const char *text) {
    return json.len >= 2 && *json.ptr == '"' &&
           restate__json_name_is(restate__b(json.ptr + 1, json.len - 2), restate_str(text));
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

/* The last segments of a path, before its query. A proxy may have put anything in front of them. */
typedef struct restate__id_tail {
    const char *cut[3];                     /* where the last segments begin, the last one first */
    const char *end;
} restate__id_tail;

static restate__id_tail restate__id_tail_of(const char *path) {
    restate__id_tail t = { { NULL, NULL, NULL }, path + strcspn(path, "?") };
    const char *p = t.end;
    size_t n = 0;
    while (n < 3 && p > path)
        if (*--p == '/') t.cut[n++] = p;
    return t;
}

static bool restate__id_tail_is(const restate__id_tail *t, const char *segment) {
    return t->cut[0] && restate__b_is(restate__b(t->cut[0], (size_t)(t->end - t->cut[0])), segment);
}

/* .../invoke/SERVICE/HANDLER */
static bool restate__id_tail_invokes(const restate__id_tail *t) {
    return t->cut[2] && t->cut[1] - t->cut[2] == 7 && strncmp(t->cut[2], "/invoke", 7) == 0;
}

/* The path that the server has signed: it does not know of a prefix that a proxy adds. */
static const char *restate__id_path(restate__arena *arena, const char *path) {
    restate__id_tail t = restate__id_tail_of(path);
    if (restate__id_tail_invokes(&t)) path = t.cut[2];
    else if (restate__id_tail_is(&t, "/discover")) path = t.cut[0];
    return restate__arena_text(arena, restate__b(path, (size_t)(t.end - path)));
}

/* Whether `aud` is the path, or a list with the path in it. */
static bool restate__id_audience(restate_bytes aud, const char *path) {
    restate__json_scan s = restate__json_scan_of(aud);
    if (!aud.len || *aud.ptr != '[') return restate__id_is_string(aud, path);
    for (s.at++; restate__json_space(&s) < s.end && *s.at != ']';) {
        const uint8_t *start = s.at;
        if (!restate__json_value(&s)) return false;
        if (restate__id_is_string(restate__b(start, (size_t)(s.at - start)), path)) return true;
        if (restate__json_space(&s) < s.end && *s.at == ',') s.at++;
    }
    return false;
}

/* Reads a claim that is a time in seconds since 1970. False: the claim is missing or no time. */
static bool restate__id_time(restate__arena *arena, restate_bytes claims, const char *name,
                             double *seconds) {
    restate_bytes text = restate__id_member(claims, name);
    return text.len && restate__json_is_number(text.ptr) &&
           restate__json_double_of(arena, text, seconds);
}

/* NULL: the claims hold for this path and this second; else what is wrong. */
static const char *restate__id_claims(restate__arena *arena, restate_bytes claims, const char *path,
                                      uint64_t now_s) {
    double expires, begins, now = (double)now_s;
    if (!restate__id_audience(restate__id_member(claims, "aud"), path))
        return "the token is for another path (aud)";
    if (!restate__id_time(arena, claims, "exp", &expires)) return "the token has no exp";
    if (!restate__id_time(arena, claims, "nbf", &begins)) return "the token has no nbf";
    if (expires < now) return "the token has expired (exp): check the clocks";
    if (begins > now) return "the token is not valid yet (nbf): check the clocks";
    return NULL;
}

/* The next part of a token, up to a dot or the end. */
static restate_bytes restate__id_part(const char **at) {
    restate_bytes part = restate__b(*at, strcspn(*at, "."));
    *at += part.len;
    if (**at == '.') ++*at;
    return part;
}

/* Checks a token for a path. NULL: it is valid; else what is wrong. `keys` are 32 bytes each. */
static const char *restate__id_token(restate__arena *arena, const char *token, const char *path,
                                     uint64_t now_s, const uint8_t *keys, size_t count,
                                     restate__id_verify *verify, void *user) {
    const char *at = token;
    restate_bytes head = restate__id_part(&at), claims = restate__id_part(&at);
    restate_bytes message = restate__b(token, head.len + 1 + claims.len);
    if (strlen(token) > RESTATE__ID_TOKEN_BYTES_MAX || !claims.len || !*at || strchr(at, '.'))
        return "the token is no JSON Web Token";
    head = restate__id_base64(arena, head);
    claims = restate__id_base64(arena, claims);
    restate_bytes signature = restate__id_base64(arena, restate_str(at));
    if (!restate__id_is_string(restate__id_member(head, "alg"), "EdDSA"))
        return "the token's alg is not EdDSA";
    if (signature.len != RESTATE__ID_SIGNATURE_BYTES) return "the token's signature is cut";
    const char *wrong = restate__id_claims(arena, claims, restate__id_path(arena, path), now_s);
    if (wrong) return wrong;
    for (; count; count--, keys += RESTATE__ID_KEY_BYTES)
        if (verify(user, restate__b(keys, RESTATE__ID_KEY_BYTES), message, signature)) return NULL;
    return "the token is signed with none of identity_keys";
}

/* ================================================================================================
// >>endpoint  services, routing, discovery, exchanges             [restate__ep_ restate__exchange_]
// Routes requests to handlers and lists the services for the server's discovery.
================================================================================================ */

/*  A request, from byte to handler                 Its response, from handler to socket
 *
 *  socket                                          handler: a context function
 *    | the loop receives into its buffer,            | the state machine encodes frames
 *    v which its connections share                   v
 *  nghttp2 session of the connection               exchange->out: chunks of the worker's cache
 *    | headers: copied to the exchange's arena       | exchange->changed(): its stream is resumed,
 *    | body: goes on at once, by                     | its connection is put on the list of touched
 *    v restate__exchange_feed()                      v ones, for the end of the worker's turn
 *  state machine: whole messages, in the arena     restate__h2_take(): nghttp2 writes frames
 *    | restate__worker_later(): the attempt's        | small pieces are copied to the loop's room,
 *    v turn is in the worker's queue                 v large ones stay in their chunks
 *  the worker's turn: the handler's fiber runs,    socket: one call sends all pieces. What it does
 *    on the thread of the loop                       not take is copied to conn->pending, and sent
 *                                                    when the socket is ready for more
 *
 * - All of this is one thread, in one turn of its loop, so nobody is woken. Other threads (closures
 *   of the pool, blocking handlers) post a note to the worker's inbox, which wakes the loop if it
 *   sleeps; the loop delivers it in its turn.
 * - A handler that has more than RESTATE__OUT_BYTES_MAX in `out` parks. restate__exchange_drained()
 *   queues its turn again when half of them are gone.
 * - The carrier of an exchange is its HTTP/2 stream, or a restate_stream of the user, which feeds
 *   and takes instead of loop and session. The exchange is freed when its carrier has released it
 *   and its attempt is over. */

#define RESTATE__SERVER_NAME "restate-sdk-c/0.1.0"
#define RESTATE__HEADER_BYTES_MAX (64u << 10)
#ifndef RESTATE__GRACE_MS
#  define RESTATE__GRACE_MS 5000u           /* for handlers whose exchange was cut */
#endif
#define RESTATE__MANIFEST_TYPE "application/vnd.restate.endpointmanifest.v"
#define RESTATE__INVOCATION_TYPE "application/vnd.restate.invocation.v"
#define RESTATE__MANIFEST_MIN 2
#define RESTATE__MANIFEST_MAX 5

/* A service of an endpoint, with copies of all that the user gave; handlers sorted by name. */
typedef struct restate__service {
    restate_service source;
    restate_options options;                /* the endpoint's where its own are not set */
    restate__handler *handlers;
    size_t count;
} restate__service;

/* Kinds of log lines that are limited: refused requests by their status, and others. */
enum {
    RESTATE__LIMIT_401, RESTATE__LIMIT_404, RESTATE__LIMIT_405, RESTATE__LIMIT_415,
    RESTATE__LIMIT_431, RESTATE__LIMIT_500, RESTATE__LIMIT_503,
    RESTATE__LIMIT_ATTEMPT,                 /* attempts that failed */
    RESTATE__LIMIT_PEER,                    /* connections that were ended for what the peer did */
    RESTATE__LIMIT_CONNECTION,              /* that come and go, if they are logged */
    RESTATE__LIMITS
};

struct restate_endpoint {
    restate_endpoint_options options;       /* defaults applied; strings copied */
    restate_allocator allocator;
    restate__logger logger;
    restate__cache cache;
    restate__arena arena;                   /* of everything that is copied */
    restate__service *services;             /* sorted by name */
    size_t count;
    uint8_t *keys;                          /* identity_keys, decoded; NULL: none */
    size_t key_count;
    restate__log_limit limits[RESTATE__LIMITS];
    bool left_out;                          /* atomic: lines were left out; to be logged later */
    char error[512];
    bool invalid;                           /* the options are wrong: `error` is all there is */
    int stop_fd;                            /* written by restate_endpoint_stop(); -1: none */
    unsigned stops;                         /* atomic: how often a stop was asked for */
    bool by_serve;                          /* restate_serve() made it */
    bool reports;                           /* crashes */
    bool drains;                            /* atomic: a stop that must count once was asked for */
    int channel;                            /* a worker's, to its supervisor; -1: it is none */
    uint16_t channel_port;                  /* that the supervisor listens on */
    unsigned invocations;                   /* atomic: attempts that are not over */
#ifndef RESTATE_NO_THREADS
    restate__pool pool;                     /* executes closures */
    bool has_pool;
#endif
    struct restate__server *server;         /* NULL until needed */
    bool (*server_quiet)(restate_endpoint *);   /* cuts what is open; before the pool is freed */
    void (*server_free)(restate_endpoint *);    /* after it; or, if something does not return, */
    void (*server_abandon)(restate_endpoint *); /* instead of it */
    struct restate__streams *streams;       /* NULL until needed; quiet before the server, which */
    bool (*streams_quiet)(restate_endpoint *);  /* waits for all invocations */
    void (*streams_free)(restate_endpoint *);
};

/* Sets the sentence that restate_endpoint_error() returns. */
static restate_status restate__ep_error(restate_endpoint *e, const char *format, ...)
    RESTATE__PRINTF(2, 3);
static restate_status restate__ep_error(restate_endpoint *e, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(e->error, sizeof e->error, format, args);
    va_end(args);
    return RESTATE_ERROR;
}

/* ---- Options and their levels ---------------------------------------------------------------- */

static bool restate__ep_policy_set(const restate_retry_policy *p) {
    return p->initial_interval_ms || p->factor > 0 || p->factor < 0 || p->max_interval_ms ||
           p->max_attempts || p->max_duration_ms || p->when_exhausted != RESTATE_EXHAUSTED_DEFAULT;
}

/* The options that are inherited one by one where they are zero. */
#define RESTATE__INHERITED(X) \
    X(user) X(inactivity_timeout_ms) X(abort_timeout_ms) X(journal_retention_ms) \
    X(idempotency_retention_ms) X(workflow_retention_ms) X(lazy_state) X(ingress_private) \
    X(on_mismatch) X(skip_payload_check) X(explicit_cancellation) X(cancel_sends) X(blocking) \
    X(detect_deadlocks) X(stack_bytes) X(stall_warning_ms) X(seal) X(map_error) X(codec) \
    X(preload_keys)

/* Fields unset in `near` come from `far`. */
static restate_options restate__ep_merge(restate_options near_, const restate_options *far_) {
    if (near_.preload_keys && !near_.lazy_state) near_.lazy_state = RESTATE_ON;
#define RESTATE__INHERIT(field) if (!near_.field) near_.field = far_->field;
    RESTATE__INHERITED(RESTATE__INHERIT)
#undef RESTATE__INHERIT
    if (!restate__ep_policy_set(&near_.retry)) near_.retry = far_->retry;
    if (!restate__ep_policy_set(&near_.run_retry)) near_.run_retry = far_->run_retry;
    return near_;
}

/* Whether an option is set. (Not by memcmp(): what lies between fields may be anything.) */
static bool restate__ep_options_set(const restate_options *o) {
#define RESTATE__IS_SET(field) || o->field
    return o->hooks || restate__ep_policy_set(&o->retry) ||
           restate__ep_policy_set(&o->run_retry) RESTATE__INHERITED(RESTATE__IS_SET);
#undef RESTATE__IS_SET
}

/* Whether a list of handlers ends here: at an element that is all zero. */
static bool restate__ep_handlers_end(const restate_handler *h) {
    return !(h->name || h->fn || h->shared || h->input || h->output || h->accept ||
             h->documentation || h->metadata || restate__ep_options_set(&h->options));
}

/* ---- Checks: one sentence each, naming what and where ---------------------------------------- */

static bool restate__ep_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool restate__ep_alnum(char c) { return restate__ep_letter(c) || (c >= '0' && c <= '9'); }

/* ^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*$, for services also dots and dashes. */
static bool restate__ep_name_valid(const char *name, bool service) {
    const char *p = name;
    if (*p == '_') p++;
    if (p == name ? !restate__ep_letter(*p) : !restate__ep_alnum(*p)) return false;
    while (*p && (restate__ep_alnum(*p) || *p == '_' || (service && (*p == '.' || *p == '-')))) p++;
    return !*p;
}

static bool restate__ep_starts(const char *text, const char *start) {
    for (; *start; text++, start++)
        if ((*text | 0x20) != *start) return false;
    return true;
}

static bool restate__ep_reserved(const char *name) {
    return restate__ep_starts(name, "restate") ||
           (restate__ep_starts(name, "openapi") && strlen(name) == 7);
}

/* A rule for what the user gave; `broken` says that it does not hold. A list ends with {0}. */
typedef struct restate__ep_rule {
    bool broken;
    const char *text;
} restate__ep_rule;

static restate_status restate__ep_obey(restate_endpoint *e, const char *where,
                                       const restate__ep_rule *rule) {
    while (rule->text && !rule->broken) rule++;
    if (!rule->text) return RESTATE_OK;
    return restate__ep_error(e, "%s%s%s", where, *where ? ": " : "", rule->text);
}

static restate_status restate__ep_check_times(restate_endpoint *e, const restate_options *o,
                                              const char *where) {
    const struct {
        const char *name;
        uint64_t ms, most;
    } times[] = {
#define RESTATE__TIME(field, days) { #field, o->field, RESTATE_DAYS(days) }
        RESTATE__TIME(inactivity_timeout_ms, 36500), RESTATE__TIME(abort_timeout_ms, 36500),
        RESTATE__TIME(journal_retention_ms, 36500), RESTATE__TIME(idempotency_retention_ms, 36500),
        RESTATE__TIME(workflow_retention_ms, 36500),
        RESTATE__TIME(retry.initial_interval_ms, 730), RESTATE__TIME(retry.max_interval_ms, 730)
#undef RESTATE__TIME
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i].ms != RESTATE_ZERO_MS && times[i].ms > times[i].most)
            return restate__ep_error(e, "%s: %s is more than %lu days", where, times[i].name,
                                     (unsigned long)(times[i].most / RESTATE_DAYS(1)));
    return RESTATE_OK;
}

static restate_status restate__ep_check_text(restate_endpoint *e, const char *text,
                                             const char *what, const char *where) {
    if (restate__b_utf8(restate_str(text))) return RESTATE_OK;
    return restate__ep_error(e, "%s: its %s is not UTF-8", where, what);
}

static restate_status restate__ep_check_pairs(restate_endpoint *e, const restate_pair *pairs,
                                              const char *where) {
    const restate_pair *p;
    for (p = pairs; p && p->name; p++) {
        if (restate__ep_check_text(e, p->name, "metadata", where) != RESTATE_OK ||
            restate__ep_check_text(e, p->value, "metadata", where) != RESTATE_OK)
            return RESTATE_ERROR;
        for (const restate_pair *other = pairs; other != p; other++)
            if (strcmp(other->name, p->name) == 0)
                return restate__ep_error(e, "%s: its metadata has \"%.60s\" twice", where, p->name);
    }
    if (!p || !p->value) return RESTATE_OK;
    return restate__ep_error(e, "%s: its metadata has a value, but no name: " RESTATE__END, where);
}

/* How many characters of a token (RFC 9110) there are. */
static size_t restate__ep_token(const char *text) {
    size_t n = 0;
    while (restate__ep_alnum(text[n]) || (text[n] && strchr("!#$%&'*+-.^_`|~", text[n]))) n++;
    return n;
}

/* Behind the value of a parameter; NULL: it is none. */
static const char *restate__ep_parameter_value(const char *p) {
    if (*p != '"') return restate__ep_token(p) ? p + restate__ep_token(p) : NULL;
    for (p++; *p >= ' ' && *p <= '~' && *p != '"'; p++)
        if (*p == '\\' && p[1]) p++;
    return *p == '"' ? p + 1 : NULL;
}

/* The length of a content type without its parameters; 0: it is none. */
static size_t restate__ep_type_len(const char *type) {
    size_t first = restate__ep_token(type), n = first + 1, k;
    if (!first || type[first] != '/' || !restate__ep_token(type + n)) return 0;
    n += restate__ep_token(type + n);
    for (const char *p = type + n; *p; p += k) {
        p += strspn(p, " \t");
        if (*p++ != ';') return 0;
        p += strspn(p, " \t");
        k = restate__ep_token(p);
        if (!k || p[k] != '=') return 0;
        p += k + 1;
        k = restate__ep_parameter_value(p) ? (size_t)(restate__ep_parameter_value(p) - p) : 0;
        if (!k) return 0;
    }
    return n;
}

/* A content type, or, where a request is meant, a pattern. The server has one for all types, and
 * one for those that begin with the same word. */
static restate_status restate__ep_check_type(restate_endpoint *e, const char *type,
                                             const char *what, const char *where, bool pattern) {
    size_t n = type ? restate__ep_type_len(type) : 0;
    const char *star = n ? (const char *)memchr(type, '*', n) : NULL;
    if (!type || (n && !star)) return RESTATE_OK;
    if (!n)
        return restate__ep_error(e, "%s: its %s is none: write it as in \"text/csv\"", where, what);
    if (!pattern)
        return restate__ep_error(
            e, "%s: its %s \"%.80s\" has a star, but a reply has one content type", where, what,
            type);
    if ((star == type + n - 1 && star[-1] == '/') || (n == 3 && memcmp(type, "*/*", 3) == 0))
        return RESTATE_OK;
    return restate__ep_error(
        e, "%s: its %s \"%.80s\" has a star, but there is only \"*/*\", and as in \"text/*\"",
        where, what, type);
}

static restate_status restate__ep_check_codec(restate_endpoint *e, const restate_codec *c,
                                              const char *what, bool pattern,
                                              const char *where) {
    if (!c) return RESTATE_OK;
    if ((unsigned)c->kind > RESTATE_CODEC_VOID)
        return restate__ep_error(e, "%s: the kind of its %s is none of RESTATE_CODEC_...", where,
                                 what);
    if (restate__ep_check_type(e, c->content_type, "content type", where, pattern) != RESTATE_OK)
        return RESTATE_ERROR;
    if (!c->json_schema) return RESTATE_OK;
    restate__json_scan scan = restate__json_scan_of(restate_str(c->json_schema));
    if (restate__json_document(&scan)) return RESTATE_OK;
    return restate__ep_error(e, "%s: the json_schema of its %s is not JSON", where, what);
}

static restate_status restate__ep_check_preload(restate_endpoint *e, const restate_options *o,
                                                const char *where) {
    for (const char *const *key = o->preload_keys; key && *key; key++) {
        if (!**key) return restate__ep_error(e, "%s: a key of preload_keys is empty", where);
        if (restate__ep_check_text(e, *key, "preload_keys", where) != RESTATE_OK)
            return RESTATE_ERROR;
    }
    return RESTATE_OK;
}

static restate_status restate__ep_check_options(restate_endpoint *e, const restate_options *o,
                                                const char *where) {
    const restate__ep_rule rules[] = {
        { (unsigned)o->retry.when_exhausted > RESTATE_EXHAUSTED_PAUSE ||
              (unsigned)o->run_retry.when_exhausted > RESTATE_EXHAUSTED_PAUSE,
          "when_exhausted is none of RESTATE_EXHAUSTED_..." },
        { (unsigned)o->on_mismatch > RESTATE_MISMATCH_FAIL,
          "on_mismatch is none of RESTATE_MISMATCH_..." },
        { restate__policy_bad(&o->retry), "retry.factor is no number from 1 to 1e9" },
        { restate__policy_bad(&o->run_retry), "run_retry.factor is no number from 1 to 1e9" },
        { o->retry.max_duration_ms > 0, "retry.max_duration_ms is for runs only: set "
                                        "run_retry.max_duration_ms, or retry.max_attempts" },
        { o->seal && (!o->seal->seal || !o->seal->open), ".seal: give both functions or none" },
        { o->preload_keys && o->lazy_state == RESTATE_OFF,
          "preload_keys fetches state by key, but lazy_state is RESTATE_OFF" },
        { o->stack_bytes && o->stack_bytes < 4096, "stack_bytes is below 4096" },
        { o->stack_bytes > (size_t)1 << 30, "stack_bytes is above 1 GiB" },
#ifdef RESTATE_NO_THREADS
        { o->blocking == RESTATE_ON, ".blocking needs threads, but RESTATE_NO_THREADS is defined" },
#endif
        { false, NULL }
    };
    if (restate__ep_check_times(e, o, where) != RESTATE_OK ||
        restate__ep_check_preload(e, o, where) != RESTATE_OK)
        return RESTATE_ERROR;
    if (restate__ep_obey(e, where, rules) != RESTATE_OK) return RESTATE_ERROR;
    return restate__ep_check_codec(e, o->codec, "codec", false, where);
}

/* `far_` are the options of its service, with those of the endpoint. */
static restate_status restate__ep_check_handler(restate_endpoint *e, const restate_service *s,
                                                const restate_options *far_,
                                                const restate_handler *h) {
    char where[160];
    bool main_handler = s->kind == RESTATE_WORKFLOW && !h->shared;
    const restate_codec *input =
        h->input ? h->input : restate__codec_of(h->options.codec ? &h->options : far_);
    const restate__ep_rule rules[] = {
        { !restate__ep_name_valid(h->name, false),
          "the name of a handler is letters, digits and _, and begins with a letter" },
        { !h->fn, ".fn is NULL" },
        { h->shared && s->kind == RESTATE_SERVICE,
          ".shared is for handlers of objects and workflows" },
        { h->options.idempotency_retention_ms && main_handler,
          "idempotency_retention_ms is not for the main handler of a workflow" },
        { h->options.workflow_retention_ms && !main_handler,
          "workflow_retention_ms is for the main handler of a workflow" },
        { h->options.preload_keys && s->kind == RESTATE_SERVICE,
          "preload_keys is for objects and workflows: a plain service has no state" },
        { h->accept && input->kind == RESTATE_CODEC_VOID,
          "its .accept lets a body in, but its .input is RESTATE_VOID" },
        { false, NULL }
    };
    snprintf(where, sizeof where, "handler %.60s/%.60s", s->name, h->name);
    if (restate__ep_obey(e, where, rules) != RESTATE_OK) return RESTATE_ERROR;
    for (const restate_handler *other = s->handlers; other != h; other++)
        if (strcmp(other->name, h->name) == 0)
            return restate__ep_error(e, "%s: there are two of that name", where);
    if (restate__ep_check_text(e, h->documentation, "documentation", where) != RESTATE_OK ||
        restate__ep_check_type(e, h->accept, ".accept", where, true) != RESTATE_OK ||
        restate__ep_check_pairs(e, h->metadata, where) != RESTATE_OK ||
        restate__ep_check_codec(e, h->input, "input", true, where) != RESTATE_OK ||
        restate__ep_check_codec(e, h->output, "output", false, where) != RESTATE_OK)
        return RESTATE_ERROR;
    return restate__ep_check_options(e, &h->options, where);
}

static restate_status restate__ep_check_service(restate_endpoint *e, const restate_service *s) {
    char where[100];
    size_t main_handlers = 0;
    if (!s->name) return restate__ep_error(e, "a service has no name");
    const restate__ep_rule rules[] = {
        { !restate__ep_name_valid(s->name, true),
          "the name of a service is letters, digits, _ . and -, and begins with a letter" },
        { (unsigned)s->kind > RESTATE_WORKFLOW, ".kind is none of SERVICE, OBJECT and WORKFLOW" },
        { restate__ep_reserved(s->name), "the name is reserved" },
        { s->options.preload_keys && s->kind == RESTATE_SERVICE,
          "preload_keys is for objects and workflows: a plain service has no state" },
        { !s->handlers || restate__ep_handlers_end(s->handlers), "it has no handlers" },
        { false, NULL }
    };
    snprintf(where, sizeof where, "service %.60s", s->name);
    if (restate__ep_obey(e, where, rules) != RESTATE_OK ||
        restate__ep_check_text(e, s->documentation, "documentation", where) != RESTATE_OK ||
        restate__ep_check_pairs(e, s->metadata, where) != RESTATE_OK ||
        restate__ep_check_options(e, &s->options, where) != RESTATE_OK)
        return RESTATE_ERROR;
    restate_options merged = restate__ep_merge(s->options, &e->options.defaults);
    for (const restate_handler *h = s->handlers; !restate__ep_handlers_end(h); h++) {
        if (!h->name)
            return restate__ep_error(e, "%s: its handler no. %lu has no name: " RESTATE__END, where,
                                     (unsigned long)(h - s->handlers) + 1);
        if (restate__ep_check_handler(e, s, &merged, h) != RESTATE_OK) return RESTATE_ERROR;
        if (merged.ingress_private == RESTATE_ON && h->options.ingress_private == RESTATE_OFF)
            return restate__ep_error(
                e, "handler %.60s/%.60s: it cannot be public in a private service", s->name,
                h->name);
        main_handlers += !h->shared;
    }
    if (s->kind != RESTATE_WORKFLOW || main_handlers == 1) return RESTATE_OK;
    return restate__ep_error(
        e, "%s: a workflow has exactly one handler that is not .shared, but %lu are", where,
        (unsigned long)main_handlers);
}

/* ---- Making it: everything the user gave is copied ------------------------------------------- */

static const char *restate__ep_text(restate_endpoint *e, const char *text) {
    return text ? restate__arena_text(&e->arena, restate_str(text)) : NULL;
}

static const restate_pair *restate__ep_pairs(restate_endpoint *e, const restate_pair *from) {
    if (!from) return NULL;
    size_t n = restate__b_pairs(from);
    restate_pair *to = restate__arena_alloc(&e->arena, (n + 1) * sizeof *to);
    for (size_t i = 0; to && i < n; i++) {
        to[i].name = restate__ep_text(e, from[i].name);
        to[i].value = restate__ep_text(e, from[i].value ? from[i].value : "");
    }
    return to;
}

/* The content type of requests for the manifest, in small letters and without parameters. The
 * server compares it byte by byte with that of a request, whose parameters it has removed. */
static const char *restate__ep_request_type(restate_endpoint *e, const char *type) {
    size_t n = type ? restate__ep_type_len(type) : 0;
    restate_bytes copy = type ? restate__arena_copy(&e->arena, restate__b(type, n))
                              : restate__b_none();
    char *text = (char *)(uintptr_t)copy.ptr;
    for (size_t i = 0; text && i < n; i++) text[i] = (char)restate__json_lower((uint8_t)type[i]);
    return text;
}

static const restate_codec *restate__ep_codec(restate_endpoint *e, const restate_codec *from) {
    restate_codec *to = restate__arena_alloc(&e->arena, sizeof *to);
    if (!to) return NULL;
    *to = *from;
    to->content_type = restate__ep_text(e, to->content_type);
    to->json_schema = restate__ep_text(e, to->json_schema);
    return to;
}

/* Payloads, of which `to->options` know what the handler does not say. */
static void restate__ep_copy_payloads(restate_endpoint *e, restate__handler *to,
                                      restate_handler *source) {
    const restate_codec *otherwise = restate__codec_of(&to->options);
    const restate_codec *input = source->input ? source->input : otherwise;
    const restate_codec *output = source->output ? source->output : otherwise;
    bool typed = input->kind == RESTATE_CODEC_CONTENT || input->kind == RESTATE_CODEC_JSON;
    source->input = restate__ep_codec(e, input);
    source->output = restate__ep_codec(e, output);
    source->accept = restate__ep_request_type(e, source->accept ? source->accept
                                              : typed        ? input->content_type : NULL);
    to->options.codec = restate__ep_codec(e, otherwise);
    to->no_input = input->kind == RESTATE_CODEC_VOID;
    to->no_output = output->kind == RESTATE_CODEC_VOID;
}

/* A list of keys, each once. */
static const char *const *restate__ep_keys(restate_endpoint *e, const char *const *from) {
    size_t n = 0, used = 0;
    while (from && from[n]) n++;
    const char **to = from ? restate__arena_alloc(&e->arena, (n + 1) * sizeof *to) : NULL;
    for (size_t i = 0, k; to && i < n; i++) {
        for (k = 0; k < used && strcmp(to[k], from[i]) != 0;) k++;
        if (k == used) to[used++] = restate__ep_text(e, from[i]);
    }
    return to;
}

static void restate__ep_copy_handler(restate_endpoint *e, const restate__service *s,
                                     restate__handler *to, const restate_handler *from) {
    restate_handler *source = restate__arena_alloc(&e->arena, sizeof *source);
    if (!source) return;
    *source = *from;
    source->name = restate__ep_text(e, from->name);
    source->documentation = restate__ep_text(e, from->documentation);
    source->metadata = restate__ep_pairs(e, from->metadata);
    to->service = s->source.name;
    to->name = source->name;
    to->kind = s->source.kind;
    to->shared = from->shared;
    to->fn = from->fn;
    source->options.preload_keys = restate__ep_keys(e, from->options.preload_keys);
    to->options = restate__ep_merge(source->options, &s->options);
    restate__ep_copy_payloads(e, to, source);
    to->source = source;
    restate__handler_hook(to, e->options.defaults.hooks);
    restate__handler_hook(to, s->source.options.hooks);
    restate__handler_hook(to, from->options.hooks);
    restate__handler_resolve(to);
}

/* Tells the exclusive handlers of an object which ones take its key. */
static void restate__ep_tell_takers(restate_endpoint *e, restate__service *s) {
    const char *name = restate__locks_part(&e->arena, restate_str(s->source.name));
    const char *takers = restate__arena_printf(&e->arena, "~%s", name ? name : "");
    for (size_t i = 0; i < s->count; i++)
        if (!s->handlers[i].shared)
            takers = restate__arena_printf(&e->arena, "%s.%s", takers, s->handlers[i].name);
    for (size_t i = 0; i < s->count; i++)
        if (!s->handlers[i].shared) s->handlers[i].takers = takers;
}

static int restate__ep_by_handler(const void *a, const void *b) {
    return strcmp(((const restate__handler *)a)->name, ((const restate__handler *)b)->name);
}

static int restate__ep_by_service(const void *a, const void *b) {
    return strcmp(((const restate__service *)a)->source.name,
                  ((const restate__service *)b)->source.name);
}

static void restate__ep_copy_service(restate_endpoint *e, restate__service *to,
                                     const restate_service *from) {
    to->source = *from;
    to->source.handlers = NULL;
    to->source.name = restate__ep_text(e, from->name);
    to->source.documentation = restate__ep_text(e, from->documentation);
    to->source.metadata = restate__ep_pairs(e, from->metadata);
    to->options = restate__ep_merge(from->options, &e->options.defaults);
    to->options.preload_keys = restate__ep_keys(e, to->options.preload_keys);
    for (to->count = 0; from->handlers[to->count].name; to->count++) continue;
    to->handlers = restate__arena_alloc(&e->arena, to->count * sizeof *to->handlers);
    for (size_t i = 0; to->handlers && !e->arena.failed && i < to->count; i++)
        restate__ep_copy_handler(e, to, &to->handlers[i], &from->handlers[i]);
    if (e->arena.failed) return;
    qsort(to->handlers, to->count, sizeof *to->handlers, restate__ep_by_handler);
    if (from->kind == RESTATE_OBJECT) restate__ep_tell_takers(e, to);
}

static restate_status restate__ep_copy_services(restate_endpoint *e,
                                                const restate_service *const *services) {
    for (; services && services[e->count]; e->count++)
        if (restate__ep_check_service(e, services[e->count]) != RESTATE_OK) return RESTATE_ERROR;
    if (!e->count)
        return restate__ep_error(
            e, "the endpoint has no services: set .services = RESTATE_SERVICES(&yours)");
    e->services = restate__arena_alloc(&e->arena, e->count * sizeof *e->services);
    for (size_t i = 0; i < e->count && !e->arena.failed; i++)
        restate__ep_copy_service(e, &e->services[i], services[i]);
    if (e->arena.failed) return restate__ep_error(e, "out of memory");
    qsort(e->services, e->count, sizeof *e->services, restate__ep_by_service);
    for (size_t i = 1; i < e->count; i++)
        if (restate__ep_by_service(&e->services[i - 1], &e->services[i]) == 0)
            return restate__ep_error(e, "there are two services named %.60s",
                                     e->services[i].source.name);
    return RESTATE_OK;
}

static restate_endpoint_options restate__ep_defaults(restate_endpoint_options o) {
    if (!o.port) o.port = 9080;
    if (!o.pool_threads) o.pool_threads = 64;
    if (!o.max_invocations) o.max_invocations = 10000;
    if (!o.max_streams) o.max_streams = 256;
    if (!o.max_message_bytes) o.max_message_bytes = (size_t)64 << 20;
    if (!o.window_bytes) o.window_bytes = (size_t)1 << 20;
    if (!o.drain_ms) o.drain_ms = 10000;
    if (!o.max_connections) o.max_connections = 1000;
    if (!o.peer_timeout_ms) o.peer_timeout_ms = 40000;
    if (!o.request_timeout_ms) o.request_timeout_ms = 60000;
    if (!o.send_timeout_ms) o.send_timeout_ms = 60000;
    if (!o.verify) o.verify = RESTATE__ID_VERIFY;
    return o;
}

static void restate__ep_limits(restate_endpoint *e) {
    static const restate__log_limit limits[RESTATE__LIMITS] = {
#define RESTATE__LIMIT(kind, about_, most_) [kind] = { .about = about_, .most = most_ }
        RESTATE__LIMIT(RESTATE__LIMIT_401, "requests refused with 401", 50),
        RESTATE__LIMIT(RESTATE__LIMIT_404, "requests refused with 404", 50),
        RESTATE__LIMIT(RESTATE__LIMIT_405, "requests refused with 405", 50),
        RESTATE__LIMIT(RESTATE__LIMIT_415, "requests refused with 415", 50),
        RESTATE__LIMIT(RESTATE__LIMIT_431, "requests refused with 431", 50),
        RESTATE__LIMIT(RESTATE__LIMIT_500, "requests refused with 500", 50),
        RESTATE__LIMIT(RESTATE__LIMIT_503, "requests refused with 503", 50),
        RESTATE__LIMIT(RESTATE__LIMIT_ATTEMPT, "attempts that failed", 200),
        RESTATE__LIMIT(RESTATE__LIMIT_PEER, "what peers did", 50),
        RESTATE__LIMIT(RESTATE__LIMIT_CONNECTION, "connections", 200)
#undef RESTATE__LIMIT
    };
    memcpy(e->limits, limits, sizeof limits);
}

/* Whether a line of that kind may be logged. Any thread. */
RESTATE__PRIVATE bool restate__ep_may_log(restate_endpoint *e, unsigned kind) {
    if (restate__log_may(&e->limits[kind], &e->logger, restate__clock_ms(&e->options.clock)))
        return true;
    RESTATE__STORE(&e->left_out, true, RELEASE);
    return false;
}

/* Logs how many lines were left out, in windows that are over or (`all`) in all of them. */
RESTATE__PRIVATE void restate__ep_left_out(restate_endpoint *e, uint64_t now_ms, bool all) {
    if (!RESTATE__EXCHANGE(bool, &e->left_out, false, ACQUIRE)) return;
    for (unsigned i = 0; i < RESTATE__LIMITS; i++) {
        restate__log_limit *limit = &e->limits[i];
        if (!RESTATE__LOAD(&limit->left_out, RELAXED)) continue;
        bool over = all || restate__log_window_over(limit, now_ms);
        if (over) restate__log_left_out(limit, &e->logger);
        else RESTATE__STORE(&e->left_out, true, RELEASE);
    }
}

/* Decodes .identity_keys. */
static restate_status restate__ep_copy_keys(restate_endpoint *e, const char *const *from) {
    size_t n = 0;
    if (!from) return RESTATE_OK;
    while (from[n]) n++;
    if (!n)
        return restate__ep_error(e, ".identity_keys is empty: give a key, or NULL for no checks");
    if (!e->options.verify)
        return restate__ep_error(e, ".identity_keys needs Ed25519: define RESTATE_WITH_OPENSSL "
                                    "where RESTATE_IMPLEMENTATION is (and link -lcrypto), or give "
                                    ".verify");
    e->keys = (uint8_t *)restate__arena_bytes(&e->arena, n * RESTATE__ID_KEY_BYTES);
    if (!e->keys) return restate__ep_error(e, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const char *wrong = restate__id_key(from[i], e->keys + i * RESTATE__ID_KEY_BYTES);
        if (wrong)
            return restate__ep_error(e, ".identity_keys[%u], \"%.80s\", %s", (unsigned)i, from[i],
                                     wrong);
    }
    e->key_count = n;
    return RESTATE_OK;
}

static restate_status restate__ep_check(restate_endpoint *e, const restate_endpoint_options *o) {
    const restate_allocator *a = &o->allocator;
    const restate__ep_rule rules[] = {
        { (a->alloc || a->realloc || a->free) && !(a->alloc && a->realloc && a->free),
          ".allocator: give all three functions or none" },
        { !o->clock.wall_ms != !o->clock.monotonic_ms, ".clock: give both functions or none" },
#ifdef RESTATE__CLOCK_NONE
        { !o->clock.wall_ms,
          "this system has no clock: give .clock, or define RESTATE_CLOCK_MS" },
#endif
        { o->threads > 1024, ".threads is more than 1024" },
        { o->closure_stack_bytes && o->closure_stack_bytes < 16384,
          ".closure_stack_bytes is below 16384" },
        { o->closure_stack_bytes > (size_t)1 << 30, ".closure_stack_bytes is above 1 GiB" },
#if !RESTATE__CRASH
        { o->crash_report == RESTATE_ON, ".crash_report is not to be had on this system" },
#endif
        { o->processes > 1024, ".processes is more than 1024" },
#ifdef RESTATE_NO_THREADS
        { o->threads > 1, ".threads is more than 1, but RESTATE_NO_THREADS is defined" },
#endif
        { false, NULL }
    };
    if (restate__ep_obey(e, "", rules) != RESTATE_OK ||
        restate__ep_check_options(e, &o->defaults, "defaults") != RESTATE_OK ||
        restate__ep_copy_keys(e, o->identity_keys) != RESTATE_OK)
        return RESTATE_ERROR;
    return restate__ep_copy_services(e, o->services);
}

RESTATE_API restate_endpoint *restate_endpoint_new(const restate_endpoint_options *options) {
    const restate_endpoint_options none = { .port = 0 };
    if (!options) options = &none;
    restate_allocator allocator = restate__mem_defaults(options->allocator);
    restate_endpoint *e = restate__mem_zalloc(&allocator, sizeof *e);
    if (!e) return NULL;
    e->allocator = allocator;
    e->options = restate__ep_defaults(*options);
    if (!restate__clock_given(&options->clock)) e->options.clock = restate__clock_default;
    e->logger.to = restate__log_defaults(options->logger);
    e->logger.clock = &e->options.clock;
    e->stop_fd = e->channel = -1;
    restate__ep_limits(e);
    restate__cache_init(&e->cache, &e->allocator, NULL, 0);
    restate__arena_init(&e->arena, &e->cache);
    e->options.address = restate__ep_text(e, options->address);
    e->options.services = NULL;
    e->options.identity_keys = NULL;
    e->invalid = restate__ep_check(e, options) != RESTATE_OK;
    e->reports = !e->invalid && options->crash_report == RESTATE_ON;
    if (e->reports) restate__crash_enter();
#ifndef RESTATE_NO_THREADS
    if (!e->invalid)
        e->has_pool = restate__pool_init(&e->pool, &e->allocator, e->options.pool_threads);
    if (e->options.closure_stack_bytes) e->pool.stack_bytes = e->options.closure_stack_bytes;
    if (!e->invalid && !e->has_pool) {
        restate__ep_error(e, "the thread pool could not be made");
        e->invalid = true;
    }
#endif
    return e;
}

RESTATE_API const char *restate_endpoint_error(const restate_endpoint *endpoint) {
    return endpoint ? endpoint->error : "out of memory";
}

/* A handler or closure does not return. All that it may use if it returns later is never freed: the
 * endpoint, the pool, its loop. */
static void restate__ep_abandon(restate_endpoint *e) {
    restate__log(&e->logger, RESTATE_LOG_ERROR,
                 "the endpoint is not released: something does not return, and may still use it");
    if (e->server) e->server_abandon(e);
#ifndef RESTATE_NO_THREADS
    if (e->has_pool) restate__pool_abandon(&e->pool);
#endif
}

RESTATE_API void restate_endpoint_free(restate_endpoint *endpoint) {
    if (!endpoint) return;
    bool quiet = !endpoint->streams || endpoint->streams_quiet(endpoint);
    if (endpoint->server && !endpoint->server_quiet(endpoint)) quiet = false;
    if (!quiet) {
        restate__ep_abandon(endpoint);
        return;
    }
#ifndef RESTATE_NO_THREADS
    if (endpoint->has_pool) restate__pool_free(&endpoint->pool);
#endif
    if (endpoint->streams) endpoint->streams_free(endpoint);
    if (endpoint->server && endpoint->server_free) endpoint->server_free(endpoint);
    restate__ep_left_out(endpoint, 0, true);
    if (endpoint->reports) restate__crash_leave();
    restate__arena_free(&endpoint->arena);
    restate__cache_free(&endpoint->cache);
    restate_allocator allocator = endpoint->allocator;
    restate__mem_free(&allocator, endpoint, sizeof *endpoint);
}

/* ---- Discovery: the manifest ----------------------------------------------------------------- */

/* A manifest being written. `too_new` is the first option that its version does not know. */
typedef struct restate__manifest {
    restate__json_out out;
    int version;
    const char *too_new;                    /* what needs `needed` */
    int needed;
    bool first;                             /* of the object that is open */
} restate__manifest;

static void restate__manifest_raw(restate__manifest *m, const char *text) {
    restate__json_put_bytes(&m->out, restate_str(text));
}

static void restate__manifest_key(restate__manifest *m, const char *key, int since) {
    if (since > m->version && !m->too_new) {
        m->too_new = key;
        m->needed = since;
    }
    if (!m->first) restate__manifest_raw(m, ",");
    m->first = false;
    restate__json_put_string(&m->out, restate_str(key));
    restate__manifest_raw(m, ":");
}

static void restate__manifest_text(restate__manifest *m, const char *key, int since,
                                   const char *text) {
    if (!text) return;
    restate__manifest_key(m, key, since);
    restate__json_put_string(&m->out, restate_str(text));
}

static void restate__manifest_number(restate__manifest *m, const char *key, int since, uint64_t n) {
    restate__manifest_key(m, key, since);
    restate__json_put_digits(&m->out, n, 1);
}

static void restate__manifest_bool(restate__manifest *m, const char *key, int since, bool value) {
    restate__manifest_key(m, key, since);
    restate__manifest_raw(m, value ? "true" : "false");
}

static void restate__manifest_ms(restate__manifest *m, const char *key, uint64_t ms) {
    if (ms) restate__manifest_number(m, key, 3, ms == RESTATE_ZERO_MS ? 0 : ms);
}

static void restate__manifest_switch(restate__manifest *m, const char *key, restate_switch on) {
    if (on != RESTATE_DEFAULT) restate__manifest_bool(m, key, 3, on == RESTATE_ON);
}

static void restate__manifest_open(restate__manifest *m, const char *bracket) {
    restate__manifest_raw(m, bracket);
    m->first = true;
}

static void restate__manifest_close(restate__manifest *m, const char *bracket) {
    restate__manifest_raw(m, bracket);
    m->first = false;
}

static void restate__manifest_metadata(restate__manifest *m, const restate_pair *pairs) {
    if (!pairs || !pairs->name) return;
    restate__manifest_key(m, "metadata", 2);
    restate__manifest_open(m, "{");
    for (; pairs->name; pairs++) restate__manifest_text(m, pairs->name, 2, pairs->value);
    restate__manifest_close(m, "}");
}

static void restate__manifest_retry(restate__manifest *m, const restate_retry_policy *p) {
    restate__policy resolved;
    if (!restate__ep_policy_set(p)) return;
    restate__policy_of(&resolved, p);
    restate__manifest_number(m, "retryPolicyInitialInterval", 4, resolved.interval_ms);
    restate__manifest_number(m, "retryPolicyMaxInterval", 4, resolved.max_interval_ms);
    restate__manifest_key(m, "retryPolicyExponentiationFactor", 4);
    restate__json_put_double(&m->out, resolved.factor);
    if (resolved.has_max_attempts)
        restate__manifest_number(m, "retryPolicyMaxAttempts", 4, resolved.max_attempts);
    if (p->when_exhausted != RESTATE_EXHAUSTED_DEFAULT)
        restate__manifest_text(m, "retryPolicyOnMaxAttempts", 4,
                               p->when_exhausted == RESTATE_EXHAUSTED_PAUSE ? "PAUSE" : "KILL");
}

/* The options that services and handlers have in common. */
/* Which state is sent along: all of it, none, or (a list) some. */
static void restate__manifest_state(restate__manifest *m, const restate_options *o,
                                    restate_kind kind) {
    const char *const *keys = kind == RESTATE_SERVICE ? NULL : o->preload_keys;
    restate_switch lazy = o->lazy_state ? o->lazy_state : keys ? RESTATE_ON : RESTATE_DEFAULT;
    restate__manifest_switch(m, "enableLazyState", lazy);
    if (!keys || !*keys || lazy == RESTATE_OFF) return;
    restate__manifest_key(m, "eagerStateKeysWhitelist", 5);
    for (const char *before = "["; *keys; keys++, before = ",") {
        restate__manifest_raw(m, before);
        restate__json_put_string(&m->out, restate_str(*keys));
    }
    restate__manifest_raw(m, "]");
}

static void restate__manifest_options(restate__manifest *m, const restate_options *o,
                                      restate_kind kind) {
    restate__manifest_ms(m, "inactivityTimeout", o->inactivity_timeout_ms);
    restate__manifest_ms(m, "abortTimeout", o->abort_timeout_ms);
    restate__manifest_ms(m, "journalRetention", o->journal_retention_ms);
    restate__manifest_ms(m, "idempotencyRetention", o->idempotency_retention_ms);
    restate__manifest_state(m, o, kind);
    restate__manifest_switch(m, "ingressPrivate", o->ingress_private);
    restate__manifest_retry(m, &o->retry);
}

static void restate__manifest_payload(restate__manifest *m, const char *key, const restate_codec *c,
                                      const char *accept, bool input) {
    const char *type = c->content_type ? c->content_type : "application/octet-stream";
    restate__manifest_key(m, key, 1);
    restate__manifest_open(m, "{");
    if (c->kind != RESTATE_CODEC_VOID) {
        if (input) restate__manifest_bool(m, "required", 1, !c->optional);
        if (input && c->kind == RESTATE_CODEC_BYTES) type = "*/*";
        restate__manifest_text(m, "contentType", 1, accept ? accept : type);
        if (!input && !restate__codec_is_json(c))   /* no bytes are a value, but for JSON */
            restate__manifest_bool(m, "setContentTypeIfEmpty", 1, true);
        if (c->json_schema) {
            restate__manifest_key(m, "jsonSchema", 1);
            restate__manifest_raw(m, c->json_schema);
        }
    }
    restate__manifest_close(m, "}");
}

static void restate__manifest_handler(restate__manifest *m, const restate__handler *h) {
    bool main_handler = h->kind == RESTATE_WORKFLOW && !h->shared;
    restate__manifest_open(m, "{");
    restate__manifest_text(m, "name", 1, h->name);
    if (h->kind != RESTATE_SERVICE)
        restate__manifest_text(m, "ty", 1, h->shared ? "SHARED"
                                         : main_handler ? "WORKFLOW" : "EXCLUSIVE");
    restate__manifest_payload(m, "input", h->source->input, h->source->accept, true);
    restate__manifest_payload(m, "output", h->source->output, NULL, false);
    restate__manifest_text(m, "documentation", 2, h->source->documentation);
    restate__manifest_metadata(m, h->source->metadata);
    restate__manifest_options(m, &h->source->options, h->kind);
    if (main_handler)
        restate__manifest_ms(m, "workflowCompletionRetention", h->options.workflow_retention_ms);
    restate__manifest_close(m, "}");
}

static void restate__manifest_service(restate__manifest *m, const restate__service *s) {
    static const char *const kinds[] = { "SERVICE", "VIRTUAL_OBJECT", "WORKFLOW" };
    restate__manifest_open(m, "{");
    restate__manifest_text(m, "name", 1, s->source.name);
    restate__manifest_text(m, "ty", 1, kinds[s->source.kind]);
    restate__manifest_key(m, "handlers", 1);
    restate__manifest_raw(m, "[");
    for (size_t i = 0; i < s->count; i++) {
        if (i) restate__manifest_raw(m, ",");
        restate__manifest_handler(m, &s->handlers[i]);
    }
    restate__manifest_close(m, "]");
    restate__manifest_text(m, "documentation", 2, s->source.documentation);
    restate__manifest_metadata(m, s->source.metadata);
    restate__manifest_options(m, &s->options, s->source.kind);
    restate__manifest_close(m, "}");
}

static restate_bytes restate__manifest_write(restate__manifest *m, const restate_endpoint *e,
                                             restate__arena *arena, bool whole) {
    m->out = restate__json_out_on(arena);
    restate__manifest_open(m, "{");
    restate__manifest_text(m, "protocolMode", 1, whole ? "REQUEST_RESPONSE" : "BIDI_STREAM");
    restate__manifest_number(m, "minProtocolVersion", 1, RESTATE__VERSION_MIN);
    restate__manifest_number(m, "maxProtocolVersion", 1, RESTATE__VERSION_MAX);
    restate__manifest_key(m, "services", 1);
    restate__manifest_raw(m, "[");
    for (size_t i = 0; i < e->count; i++) {
        if (i) restate__manifest_raw(m, ",");
        restate__manifest_service(m, &e->services[i]);
    }
    restate__manifest_raw(m, "]}");
    return restate__json_finish(&m->out);
}

/* The highest manifest version that both sides know; 0: none. The types in `accept` have no
 * parameters. */
static int restate__ep_manifest_version(const char *accept) {
    static const char start[] = RESTATE__MANIFEST_TYPE;
    int best = 0;
    while (accept && *accept) {
        accept += strspn(accept, ", \t");
        size_t n = strcspn(accept, ",");
        while (n && (accept[n - 1] == ' ' || accept[n - 1] == '\t')) n--;
        if (n == sizeof start - 1 + 6 && strncmp(accept, start, sizeof start - 1) == 0 &&
            strncmp(accept + n - 5, "+json", 5) == 0) {
            int v = accept[n - 6] - '0';
            if (v >= RESTATE__MANIFEST_MIN && v <= RESTATE__MANIFEST_MAX && v > best) best = v;
        }
        accept += strcspn(accept, ",");
    }
    return best;
}

/* ---- Exchanges: one request and its response ------------------------------------------------- */

/* Used on its worker's thread only, and allocated in its own arena. */
typedef struct restate__exchange {
    restate__worker *worker;
    uint16_t status;                        /* of the response; 0: not known yet */
    const restate_pair *response;           /* its headers, known with the status */
    restate__buf out;                       /* body bytes to be sent */
    bool finished;                          /* no bytes follow those in `out` */
    void (*changed)(struct restate__exchange *);    /* status, out or finished: to be noted only */
    void *carrier;
    struct restate__exchange *next;         /* its carrier's */

    restate_endpoint *endpoint;
    restate__arena arena;
    const char *method, *path;
    restate_pair *headers;                  /* ends with {0} */
    size_t header_count, header_room, header_bytes;
    bool too_large, whole, input_over, released, counted;
    const char *allow;                      /* of a 405; else NULL */
    restate__attempt *attempt;              /* NULL: the response is complete without a handler */
} restate__exchange;

RESTATE__PRIVATE restate__exchange *restate__exchange_new(restate_endpoint *endpoint,
                                                          restate__worker *worker,
                                                          void (*changed)(restate__exchange *),
                                                          void *carrier) {
    restate__arena arena;
    restate__arena_init(&arena, &worker->cache);
    restate__exchange *exchange = restate__arena_alloc(&arena, sizeof *exchange);
    if (!exchange) return NULL;
    exchange->arena = arena;
    exchange->endpoint = endpoint;
    exchange->worker = worker;
    if (++worker->exchanges > worker->exchanges_most) worker->exchanges_most = worker->exchanges;
    exchange->changed = changed;
    exchange->carrier = carrier;
    restate__buf_init(&exchange->out, &worker->cache);
    return exchange;
}

static bool restate__exchange_room_for_header(restate__exchange *exchange) {
    size_t room = exchange->header_room ? 2 * exchange->header_room : 16;
    if (exchange->header_count + 1 < exchange->header_room) return true;
    restate_pair *headers = restate__arena_alloc(&exchange->arena, room * sizeof *headers);
    if (!headers) return false;
    if (exchange->header_count)
        memcpy(headers, exchange->headers, exchange->header_count * sizeof *headers);
    exchange->headers = headers;
    exchange->header_room = room;
    return true;
}

RESTATE__PRIVATE bool restate__exchange_header(restate__exchange *exchange, restate_bytes name,
                                               restate_bytes value) {
    exchange->header_bytes += name.len + value.len + 32;
    if (exchange->header_bytes > RESTATE__HEADER_BYTES_MAX) exchange->too_large = true;
    if (exchange->too_large) return false;
    if (name.len && name.ptr[0] == ':') {
        if (restate__b_is(name, ":method"))
            exchange->method = restate__arena_text(&exchange->arena, value);
        if (restate__b_is(name, ":path"))
            exchange->path = restate__arena_text(&exchange->arena, value);
        return !exchange->arena.failed;
    }
    if (!restate__exchange_room_for_header(exchange)) return false;
    exchange->headers[exchange->header_count].name = restate__arena_text(&exchange->arena, name);
    exchange->headers[exchange->header_count++].value =
        restate__arena_text(&exchange->arena, value);
    return !exchange->arena.failed;
}

static const char *restate__exchange_get_header(const restate__exchange *exchange,
                                                const char *name) {
    for (const restate_pair *h = exchange->headers; h && h->name; h++)
        if (strcmp(h->name, name) == 0) return h->value;
    return NULL;
}

static bool restate__exchange_has_method(const restate__exchange *exchange, const char *method) {
    return exchange->method && strcmp(exchange->method, method) == 0;
}

/* A response that is complete: status, content type, one more header or none, and body. */
static void restate__exchange_respond(restate__exchange *exchange, uint16_t status,
                                      const char *type, restate_pair more, restate_bytes body) {
    restate_pair *headers = restate__arena_alloc(&exchange->arena, 4 * sizeof *headers);
    if (headers) {
        headers[0] = (restate_pair){ "content-type", type };
        headers[1] = (restate_pair){ "x-restate-server", RESTATE__SERVER_NAME };
        headers[2] = more;
    }
    exchange->status = status;
    exchange->response = headers;
    if (restate__exchange_has_method(exchange, "HEAD")) body.len = 0;
    if (body.len) restate__buf_write(&exchange->out, body.ptr, body.len);
    exchange->finished = true;
}

static unsigned restate__exchange_limit(uint16_t status) {
    static const uint16_t statuses[] = { 401, 404, 405, 415, 431, 500, 503 };
    unsigned i = 0;
    while (i + 1 < sizeof statuses / sizeof *statuses && statuses[i] != status) i++;
    return RESTATE__LIMIT_401 + i;
}

static void restate__exchange_log_refusal(restate__exchange *exchange, uint16_t status,
                                          const char *why) {
    if (restate__ep_may_log(exchange->endpoint, restate__exchange_limit(status)))
        restate__log(&exchange->endpoint->logger, RESTATE_LOG_WARN,
                     "refused %.20s %.200s with %u: %s", exchange->method ? exchange->method : "?",
                     exchange->path ? exchange->path : "?", (unsigned)status, why);
}

/* An error, with a message for people; `allow` for 405. */
static void restate__exchange_respond_error(restate__exchange *exchange, uint16_t status,
                                            const char *text) {
    restate__json_out out = restate__json_out_on(&exchange->arena);
    restate__json_put_bytes(&out, restate_str("{\"message\":"));
    restate__json_put_string(&out, restate_str(text));     /* clean, so nothing but memory fails */
    restate__json_put_bytes(&out, restate_str("}"));
    restate__exchange_respond(exchange, status, "application/json",
                              (restate_pair){ exchange->allow ? "allow" : NULL, exchange->allow },
                              restate__json_finish(&out));
}

/* The same text for the caller and the log. */
static void restate__exchange_refuse(restate__exchange *exchange, uint16_t status,
                                     const char *format, ...) RESTATE__PRINTF(3, 4);
static void restate__exchange_refuse(restate__exchange *exchange, uint16_t status,
                                     const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = restate__arena_vprintf(&exchange->arena, format, args);
    va_end(args);
    text = restate__arena_clean(&exchange->arena, text, "");
    restate__exchange_log_refusal(exchange, status, text);
    restate__exchange_respond_error(exchange, status, text);
}

/* Refuses a method; `allow` has those that the path accepts. */
static void restate__exchange_refuse_method(restate__exchange *exchange, const char *allow) {
    exchange->allow = allow;
    restate__exchange_refuse(exchange, 405, "%s, got %.20s",
                             *allow == 'P' ? "a handler is invoked with POST"
                                           : "this is asked for with GET",
                             exchange->method ? exchange->method : "no method");
}

static void restate__exchange_discover(restate__exchange *exchange) {
    const char *accept = NULL;
    restate__manifest m = { .version = 0 };
    for (const restate_pair *h = exchange->headers; h && h->name; h++) {
        if (strcmp(h->name, "accept") != 0) continue;
        accept = h->value;                  /* a header that is there twice is one list */
        int version = restate__ep_manifest_version(accept);
        if (version > m.version) m.version = version;
    }
    if (!m.version) {
        restate__exchange_refuse(
            exchange, 415,
            "discovery needs an accept header with "
            "application/vnd.restate.endpointmanifest.v2+json to v5+json, got: %.100s",
            accept ? accept : "none");
        return;
    }
    restate_bytes body =
        restate__manifest_write(&m, exchange->endpoint, &exchange->arena, exchange->whole);
    if (m.too_new)
        restate__exchange_refuse(
            exchange, 500,
            "%s needs discovery version %d, but the server asks for %d: upgrade the "
            "server, or do not set it",
            m.too_new, m.needed, m.version);
    else if (!body.ptr) restate__exchange_refuse(exchange, 500, "out of memory");
    else
        restate__exchange_respond(
            exchange, 200,
            restate__arena_printf(&exchange->arena, "%s%d+json", RESTATE__MANIFEST_TYPE, m.version),
            (restate_pair){ NULL, NULL }, body);
}

/* ---- Routing --------------------------------------------------------------------------------- */

typedef enum restate__route {
    RESTATE__ROUTE_NONE,
    RESTATE__ROUTE_INVOKE,
    RESTATE__ROUTE_DISCOVER,
    RESTATE__ROUTE_HEALTH
} restate__route;

static restate__route restate__ep_route(const char *path, restate_bytes *service,
                                        restate_bytes *handler) {
    restate__id_tail t = restate__id_tail_of(path);
    *service = *handler = restate__b_none();
    if (restate__id_tail_invokes(&t)) {
        *service = restate__b(t.cut[1] + 1, (size_t)(t.cut[0] - t.cut[1]) - 1);
        *handler = restate__b(t.cut[0] + 1, (size_t)(t.end - t.cut[0]) - 1);
        return RESTATE__ROUTE_INVOKE;
    }
    if (restate__id_tail_is(&t, "/discover")) return RESTATE__ROUTE_DISCOVER;
    if (restate__id_tail_is(&t, "/health")) return RESTATE__ROUTE_HEALTH;
    return RESTATE__ROUTE_NONE;
}

static const restate__service *restate__ep_service(const restate_endpoint *e, restate_bytes name) {
    size_t low = 0, high = e->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = restate__b_compare(restate_str(e->services[middle].source.name), name);
        if (c == 0) return &e->services[middle];
        if (c < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

static const restate__handler *restate__ep_handler(const restate__service *s, restate_bytes name) {
    for (size_t i = 0; i < s->count; i++)
        if (restate__b_is(name, s->handlers[i].name)) return &s->handlers[i];
    return NULL;
}

/* ---- Attempts -------------------------------------------------------------------------------- */

static void restate__exchange_free(restate__exchange *exchange) {
    restate__arena arena = exchange->arena;
    if (exchange->attempt) restate__attempt_free(exchange->attempt);
    if (exchange->counted) RESTATE__SUB(&exchange->endpoint->invocations, 1, RELAXED);
    exchange->worker->exchanges--;
    restate__buf_free(&exchange->out);
    restate__arena_free(&arena);
}

static void restate__exchange_free_if_over(restate__exchange *exchange) {
    if (exchange->released && (!exchange->attempt || restate__attempt_over(exchange->attempt)))
        restate__exchange_free(exchange);
}

/* Logs the attempt's error, its step, and the number of the attempt or of the step's. */
static void restate__exchange_log_failure(restate__attempt *a) {
    const restate__vm_error *e = &a->vm.error;
    restate_log_level level = e->misuse ? RESTATE_LOG_ERROR : RESTATE_LOG_WARN;
    if (e->step_try)
        restate__ctx_say(&a->ctx, level,
                         "the attempt failed with %u: %.800s (step \"%.*s\", try %lu)",
                         (unsigned)e->code, e->message,
                         (int)(e->related.name.len < 100 ? e->related.name.len : 100),
                         e->related.name.ptr ? (const char *)e->related.name.ptr : "",
                         (unsigned long)e->step_try);
    else
        restate__ctx_say(&a->ctx, level, "the attempt failed with %u: %.800s (try %lu)",
                         (unsigned)e->code, e->message, (unsigned long)a->vm.retry_count + 1);
}

/* The attempt wrote something or is over. */
static void restate__exchange_progress(restate__attempt *a) {
    restate__exchange *exchange = a->host;
    if (!exchange->finished && !restate__vm_ready(&a->vm) && a->vm.phase >= RESTATE__CLOSED) {
        exchange->finished = true;
        if (a->vm.phase == RESTATE__ERRORED &&
            restate__ep_may_log(exchange->endpoint, RESTATE__LIMIT_ATTEMPT))
            restate__exchange_log_failure(a);
    }
    if (!exchange->released) exchange->changed(exchange);
    else restate__exchange_free_if_over(exchange);
}

/* The protocol version in a content type; 0: it is none that the library speaks. */
static uint32_t restate__ep_version(const char *content_type) {
    size_t n = sizeof RESTATE__INVOCATION_TYPE - 1;
    if (strncmp(content_type, RESTATE__INVOCATION_TYPE, n) != 0 || strlen(content_type) != n + 1)
        return 0;
    uint32_t version = (uint32_t)content_type[n] - '0';
    return version >= RESTATE__VERSION_MIN && version <= RESTATE__VERSION_MAX ? version : 0;
}

static restate__vm_options restate__exchange_vm_options(const restate__exchange *exchange,
                                                        const restate_options *o,
                                                        uint32_t version) {
    restate__vm_options options = {
        .version = version,
        .skip_payload_check = o->skip_payload_check == RESTATE_ON,
        .explicit_cancellation = o->explicit_cancellation == RESTATE_ON,
        .cancel_sends = o->cancel_sends == RESTATE_ON,
        .max_message_bytes = exchange->endpoint->options.max_message_bytes
    };
    if (o->on_mismatch == RESTATE_MISMATCH_PAUSE) options.on_mismatch = RESTATE__PAUSE;
    if (o->on_mismatch == RESTATE_MISMATCH_FAIL) options.on_mismatch = RESTATE__FAIL;
    return options;
}

static void restate__exchange_invoke(restate__exchange *exchange, const restate__handler *handler,
                                     uint32_t version) {
    static const restate_pair headers[][3] = {
#define RESTATE__INVOKE_HEADERS(v) \
    { { "content-type", RESTATE__INVOCATION_TYPE v }, \
      { "x-restate-server", RESTATE__SERVER_NAME }, { NULL, NULL } }
        RESTATE__INVOKE_HEADERS("5"), RESTATE__INVOKE_HEADERS("6"), RESTATE__INVOKE_HEADERS("7")
#undef RESTATE__INVOKE_HEADERS
    };
    restate__attempt *a = restate__arena_alloc(&exchange->arena, sizeof *a);
    if (!a) {
        restate__exchange_refuse(exchange, 503, "out of memory");
        return;
    }
    restate__vm_options o = restate__exchange_vm_options(exchange, &handler->options, version);
    a->handler = handler;
    a->logger = &exchange->endpoint->logger;
    a->arena = &exchange->arena;
    restate__attempt_init(a, exchange->worker, &o, &exchange->out);
#ifndef RESTATE_NO_THREADS
    a->closures.pool = &exchange->endpoint->pool;
#endif
    a->request.attempt_headers = exchange->headers;
    a->stops = &exchange->endpoint->stops;
    a->progress = restate__exchange_progress;
    a->host = exchange;
    exchange->attempt = a;
    exchange->status = 200;
    exchange->response = headers[version - RESTATE__VERSION_MIN];
}

/* Counts the invocation. False: the endpoint stops, or has .max_invocations of them. */
static bool restate__exchange_admit(restate__exchange *exchange) {
    restate_endpoint *e = exchange->endpoint;
    if (RESTATE__LOAD(&e->stops, RELAXED)) return false;
    if (RESTATE__ADD(&e->invocations, 1, RELAXED) < e->options.max_invocations) {
        exchange->counted = true;
        return true;
    }
    RESTATE__SUB(&e->invocations, 1, RELAXED);
    return false;
}

/* A response shows at most so many bytes of a peer's text: one that is not read holds memory. */
static int restate__exchange_shown(restate_bytes text) {
    return text.len < 100 ? (int)text.len : 100;
}

static void restate__exchange_route_invoke(restate__exchange *exchange, restate_bytes service,
                                           restate_bytes handler) {
    const char *type = restate__exchange_get_header(exchange, "content-type");
    const restate__service *s = restate__ep_service(exchange->endpoint, service);
    const restate__handler *h = s ? restate__ep_handler(s, handler) : NULL;
    uint32_t version = type ? restate__ep_version(type) : 0;
    if (!restate__exchange_has_method(exchange, "POST"))
        restate__exchange_refuse_method(exchange, "POST");
    else if (!type)
        restate__exchange_refuse(
            exchange, 415,
            "the content type is missing: is this called directly? Call it through "
            "the Restate server's ingress");
    else if (!version && strncmp(type, RESTATE__INVOCATION_TYPE,
                                  sizeof RESTATE__INVOCATION_TYPE - 1) == 0)
        restate__exchange_refuse(exchange, 415,
                                 "service protocol %.40s is not supported, only v%u to v%u: "
                                 "register the deployment again",
                                 type + 35, RESTATE__VERSION_MIN, RESTATE__VERSION_MAX);
    else if (!version)
        restate__exchange_refuse(
            exchange, 415,
            "%.100s is not a content type of Restate: call the handler through the "
            "Restate server's ingress",
            type);
    else if (!s)
        restate__exchange_refuse(exchange, 404, "no service %.*s here",
                                 restate__exchange_shown(service), (const char *)service.ptr);
    else if (!h)
        restate__exchange_refuse(exchange, 404, "service %.100s has no handler %.*s",
                                 s->source.name, restate__exchange_shown(handler),
                                 (const char *)handler.ptr);
    else if (!restate__exchange_admit(exchange))
        restate__exchange_refuse(exchange, 503, "%s",
                                 RESTATE__LOAD(&exchange->endpoint->stops, RELAXED)
                                     ? "the endpoint is stopping"
                                     : "the endpoint has max_invocations under way");
    else
        restate__exchange_invoke(exchange, h, version);
}

/* The value of a header that has to be there exactly once. NULL: it is; else what is wrong. */
static const char *restate__exchange_single(const restate__exchange *exchange, const char *name,
                                            const char **value) {
    const restate_pair *h = exchange->headers;
    *value = NULL;
    for (; h && h->name; h++) {
        if (strcmp(h->name, name) != 0) continue;
        if (*value) return "a header of the signature is there twice";
        *value = h->value;
    }
    return *value ? NULL : "the request is not signed: is this called directly? Call it through "
                           "the Restate server's ingress";
}

/* NULL: the request is signed with one of the keys; else what is wrong. */
static const char *restate__exchange_identify(restate__exchange *exchange) {
    restate_endpoint *e = exchange->endpoint;
    const char *scheme, *token;
    const char *wrong = restate__exchange_single(exchange, "x-restate-signature-scheme", &scheme);
    if (wrong) return wrong;
    if (strcmp(scheme, "unsigned") == 0)
        return "the server does not sign: start it with a request identity key";
    if (strcmp(scheme, "v1") != 0) return "the signature scheme is not v1";
    wrong = restate__exchange_single(exchange, "x-restate-jwt-v1", &token);
    if (wrong) return wrong;
    return restate__id_token(&exchange->arena, token, exchange->path,
                             restate__clock_wall_ms(&e->options.clock) / 1000, e->keys,
                             e->key_count, e->options.verify, e->options.verify_user);
}

/* Responds with 401 to a request without a valid signature. The reason goes to the log only. */
static bool restate__exchange_unauthorized(restate__exchange *exchange, restate__route route) {
    if (!exchange->endpoint->keys || route == RESTATE__ROUTE_NONE || route == RESTATE__ROUTE_HEALTH)
        return false;
    const char *wrong = restate__exchange_identify(exchange);
    if (!wrong) return false;
    restate__exchange_log_refusal(exchange, 401, wrong);
    restate__exchange_respond_error(exchange, 401, "Unauthorized");
    return true;
}

/* The headers are complete. `whole`: so is the body, before the response starts. */
RESTATE__PRIVATE void restate__exchange_begin(restate__exchange *exchange, bool whole) {
    restate_bytes service, handler;
    restate__route route =
        restate__ep_route(exchange->path ? exchange->path : "", &service, &handler);
    exchange->whole = whole;
    if (exchange->too_large) {
        restate__exchange_refuse(exchange, 431, "the headers are larger than %u bytes",
                                 RESTATE__HEADER_BYTES_MAX);
    } else if (exchange->arena.failed) {
        restate__exchange_refuse(exchange, 500, "out of memory");
    } else if (restate__exchange_unauthorized(exchange, route)) {
        ;
    } else if (route == RESTATE__ROUTE_INVOKE) {
        restate__exchange_route_invoke(exchange, service, handler);
    } else if (route == RESTATE__ROUTE_NONE) {
        restate__exchange_refuse(
            exchange, 404, "there is /invoke/SERVICE/HANDLER, /discover and /health, got %.100s",
            exchange->path ? exchange->path : "no path");
    } else if (!restate__exchange_has_method(exchange, "GET") &&
               !restate__exchange_has_method(exchange, "HEAD")) {
        restate__exchange_refuse_method(exchange, "GET, HEAD");
    } else if (route == RESTATE__ROUTE_DISCOVER) {
        restate__exchange_discover(exchange);
    } else {
        restate__exchange_respond(exchange, 200, "text/plain", (restate_pair){ NULL, NULL },
                                  restate_str("ok"));
    }
    exchange->changed(exchange);
}

RESTATE__PRIVATE void restate__exchange_feed(restate__exchange *exchange, restate_bytes bytes) {
    if (exchange->attempt && !exchange->finished) restate__attempt_feed(exchange->attempt, bytes);
}

/* The peer ended the request body. That is an error if its journal is not complete. */
RESTATE__PRIVATE void restate__exchange_end_input(restate__exchange *exchange) {
    if (exchange->attempt) restate__attempt_end_input(exchange->attempt);
}

/* Whether some of the request is still to come: of its headers, or of an invocation's journal. */
RESTATE__PRIVATE bool restate__exchange_arriving(const restate__exchange *exchange) {
    if (!exchange->attempt) return !exchange->status;
    return exchange->attempt->vm.phase == RESTATE__WAIT_START ||
           exchange->attempt->vm.phase == RESTATE__WAIT_REPLAY;
}

/* Whether a stop may end the input, so that the handler suspends where it would wait. An attempt
 * whose journal is not complete cannot suspend, and its peer has done nothing wrong: it gets the
 * rest, or is cut off as by a lost connection, without a protocol error. */
RESTATE__PRIVATE bool restate__exchange_may_suspend(const restate__exchange *exchange) {
    return exchange->attempt && restate__vm_ready(&exchange->attempt->vm);
}

/* The carrier sends nothing more: the connection or the stream is lost. */
RESTATE__PRIVATE void restate__exchange_cut(restate__exchange *exchange) {
    if (exchange->attempt && !restate__attempt_over(exchange->attempt))
        restate__attempt_cut(exchange->attempt);
}

/* The carrier took bytes from `out`: a handler that waits for room may go on. */
RESTATE__PRIVATE void restate__exchange_drained(restate__exchange *exchange) {
    restate__attempt *a = exchange->attempt;
    if (a && a->state == RESTATE__ATTEMPT_PARKED && exchange->out.len <= RESTATE__OUT_BYTES_MAX / 2)
        restate__worker_later(exchange->worker, &a->turn);
}

/* The carrier is done with the exchange. */
RESTATE__PRIVATE void restate__exchange_release(restate__exchange *exchange) {
    exchange->released = true;
    restate__exchange_free_if_over(exchange);
}

/* ================================================================================================
// >>http2  one HTTP/2 connection, without sockets                                    [restate__h2_]
// Carries exchanges in an nghttp2 session: bytes in through _feed, bytes out through _take.
================================================================================================ */
#if !defined(RESTATE_NO_SERVER)

#include <nghttp2/nghttp2.h>
#if NGHTTP2_VERSION_NUM >= 0x013c00
#  define RESTATE__H2_V(name) name##2
typedef nghttp2_ssize restate__h2_ssize;
#else
#  define RESTATE__H2_V(name) name
typedef ssize_t restate__h2_ssize;
#endif

/* Limits against floods came with 1.57 and 1.61, but distributions put them into older versions
 * too. So where the linker knows weak symbols, they are used if the library has them. */
#if NGHTTP2_VERSION_NUM >= 0x013d00
#  define RESTATE__H2_IF_THERE(function) function
#elif defined(__ELF__) && (defined(__GNUC__) || defined(__TINYC__))
#  define RESTATE__H2_IF_THERE(function) if (function) function
extern void nghttp2_option_set_max_continuations(nghttp2_option *option, size_t most)
    __attribute__((weak));
extern void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option *option, uint64_t burst,
                                                       uint64_t rate) __attribute__((weak));
#else
#  define RESTATE__H2_IF_THERE(function) (void)
#endif

enum {
    RESTATE__H2_FRAME = 9,                  /* bytes of a frame's header */
    RESTATE__H2_SPARE = 512,                /* for what is not DATA */
    RESTATE__H2_FRAME_MAX = 16384 + RESTATE__H2_SPARE,  /* of what a call of mem_send returns */
    RESTATE__H2_REFER = 2048,               /* fewer bytes are copied rather than referred to */
    RESTATE__H2_RESETS = 1000,              /* RST_STREAM frames we send: burst */
    RESTATE__H2_RESETS_PER_S = 33,
    RESTATE__H2_QUEUE_MAX = 1000,           /* frames that wait to be read, beside 4 per stream */
    RESTATE__H2_FIELDS = 32,                /* fields of a response */
    RESTATE__H2_NOTICE_MS = 1000,           /* from shutdown notice to last GOAWAY, at most */
    RESTATE__H2_RATE = 1000,                /* bytes of a request that earn its peer a second */
    RESTATE__H2_REPLY = 512                 /* a body of at most so much is kept as a reply */
};

/* A small response without a handler, a refusal above all. It is all that is kept of its exchange,
 * for its peer may never read it. */
typedef struct restate__h2_reply {
    size_t len, at;                         /* of the body; what was sent of it */
    uint8_t body[1];                        /* `len` bytes */
} restate__h2_reply;

/* One stream, carrier of its exchange.
 *
 * In its connection's list from the request's HEADERS until nghttp2 closes it. `exchange` is NULL
 * from the moment its END_STREAM was written, or its reply was kept: an early reply holds no
 * memory while its request goes on. */
typedef struct restate__h2_stream {
    struct restate__h2 *h2;
    restate__exchange *exchange;
    struct restate__h2_stream *prev, *next;
    restate__h2_reply *reply;               /* instead of `exchange` */
    uint64_t born_ms, moved_ms;             /* moved: some of the response was sent, or could be */
    uint64_t arrived;                       /* bytes of the request body */
    size_t ignored;                         /* those of them that came after the response */
    int32_t id;
    char status[4];
    bool overfull, input_over, submitted, deferred, reset, sending;
} restate__h2_stream;

/* What the connections of one thread share. */
typedef struct restate__h2_env {
    restate_endpoint *endpoint;
    restate__worker *worker;
    nghttp2_mem mem;
    uint64_t now_ms, due_ms;                /* due: when to look at what is timed */
    struct restate__h2 *touched, **touched_tail;    /* may have something to send */
} restate__h2_env;

/* What a connection sends at once, in order: `count` pieces with `len` bytes, at most `size`. Small
 * pieces are copied into a room of `size` bytes. Large ones stay where they are, which is valid
 * until restate__h2_end_take(). */
typedef struct restate__h2_out {
    uint8_t *begun, *at;                    /* in the room: bytes that are in no piece yet */
    size_t len, size;
    restate_bytes *pieces;
    size_t count, max;
} restate__h2_out;

/* One connection. */
typedef struct restate__h2 {
    restate__h2_env *env;
    nghttp2_session *session;               /* NULL: not open yet, or closed */
    restate__h2_stream *streams;
    struct restate__h2 *next_touched;
    restate__h2_out *out;                   /* while _take runs */
    restate__chunk *sent;                   /* pieces of the last take lie in these chunks, */
    restate__exchange *ended;               /* and in these exchanges: until _end_take */
    uint64_t resets_at_ms, drain_at_ms;
    uint32_t resets;                        /* tokens left */
    bool touched, full, failed, draining, goaway, cut;
    bool begun;                             /* the peer's SETTINGS have arrived */
} restate__h2;

static const uint8_t restate__h2_ping[8] = { 'r', 'e', 's', 't', 'a', 't', 'e', 0 };
static const uint8_t restate__h2_alive[8] = { 'a', 'l', 'i', 'v', 'e', '?', 0, 0 };

/* Memory of nghttp2, streams and replies comes from the worker's cache. nghttp2 frees without a
 * size, so that the size is in front of each block. */
#define RESTATE__H2_HEAD 16u
RESTATE__STATIC_ASSERT(h2_head, offsetof(restate__chunk, elsewhere) <= RESTATE__H2_HEAD);

static restate__chunk *restate__h2_block(void *p) {
    return (void *)((uint8_t *)p - RESTATE__H2_HEAD);
}

static void *restate__h2_malloc(size_t size, void *cache) {
    if (size > SIZE_MAX - RESTATE__H2_HEAD) return NULL;
    restate__chunk *b = restate__cache_take(cache, size + RESTATE__H2_HEAD);
    return b ? (uint8_t *)b + RESTATE__H2_HEAD : NULL;
}

static void restate__h2_free(void *old, void *cache) {
    if (old) restate__cache_give(cache, restate__h2_block(old));
}

static void *restate__h2_calloc(size_t count, size_t size, void *cache) {
    if (size && count > SIZE_MAX / size) return NULL;
    void *p = restate__h2_malloc(count * size, cache);
    if (p) memset(p, 0, count * size);
    return p;
}

static void *restate__h2_realloc(void *old, size_t size, void *cache) {
    size_t room = old ? restate__h2_block(old)->size - RESTATE__H2_HEAD : 0;
    if (old && size <= room && size >= room / 2) return old;
    void *p = restate__h2_malloc(size, cache);
    if (!p || !old) return p;
    memcpy(p, old, room < size ? room : size);
    restate__h2_free(old, cache);
    return p;
}

/* Reads the clock, once for all that is done until the next call. */
static void restate__h2_tick(restate__h2_env *env) {
    uint64_t now = restate__clock_ms(&env->endpoint->options.clock);
    if (now > env->now_ms) env->now_ms = now;
}

static void restate__h2_env_init(restate__h2_env *env, restate_endpoint *endpoint,
                                 restate__worker *worker) {
    *env = (restate__h2_env){ .endpoint = endpoint, .worker = worker, .due_ms = UINT64_MAX,
                              .mem = { &worker->cache, restate__h2_malloc, restate__h2_free,
                                       restate__h2_calloc, restate__h2_realloc } };
    env->touched_tail = &env->touched;
    restate__h2_tick(env);
}

/* ---- Timeouts ----
 *
 * An event only notes its time. When the first timeout is due, all of them are looked at, and that
 * look finds when the next one is due. A timeout that begins later is due later. So a busy loop
 * looks once per timeout, and sets no timer for a request. */

/* When a timeout that begins at `from_ms` is over; UINT64_MAX: never. */
static uint64_t restate__h2_at(uint64_t from_ms, uint64_t timeout_ms) {
    return timeout_ms > UINT64_MAX - from_ms ? UINT64_MAX : from_ms + timeout_ms;
}

static void restate__h2_due(restate__h2_env *env, uint64_t at_ms) {
    if (env->due_ms > at_ms) env->due_ms = at_ms;
}

/* Whether a time has come; if not, it is looked at again then. */
static bool restate__h2_past(restate__h2_env *env, uint64_t at_ms) {
    if (env->now_ms < at_ms) restate__h2_due(env, at_ms);
    return env->now_ms >= at_ms;
}

/* For calls of nghttp2 that fail only when memory is used up: the connection ends then. */
static void restate__h2_must(restate__h2 *h2, int error) {
    if (error) h2->failed = true;
}

/* Puts the connection on the list of those whose owner has to take from them. */
static void restate__h2_touch(restate__h2 *h2) {
    if (h2->touched) return;
    h2->touched = true;
    h2->next_touched = NULL;
    *h2->env->touched_tail = h2;
    h2->env->touched_tail = &h2->next_touched;
}

static void restate__h2_advance(restate__h2_stream *s);

/* `changed` of an exchange: there is something new for its peer. */
static void restate__h2_changed(restate__exchange *exchange) {
    restate__h2_stream *s = exchange->carrier;
    if (!s) return;
    restate__h2_touch(s->h2);
    restate__h2_advance(s);
}

static restate__h2_stream *restate__h2_stream_new(restate__h2 *h2, int32_t id) {
    restate__h2_env *env = h2->env;
    restate__h2_stream *s = restate__h2_calloc(1, sizeof *s, &env->worker->cache);
    if (!s) return NULL;
    s->h2 = h2;
    s->id = id;
    s->born_ms = env->now_ms;
    restate__h2_due(env, restate__h2_at(env->now_ms, env->endpoint->options.request_timeout_ms));
    s->next = h2->streams;
    if (s->next) s->next->prev = s;
    h2->streams = s;
    return s;
}

static void restate__h2_drop_reply(restate__h2_stream *s) {
    if (s->reply) restate__h2_free(s->reply, &s->h2->env->worker->cache);
    s->reply = NULL;
}

/* Releases the stream's exchange; `cut`: before all of its response was written. While frames are
 * taken it stays until their bytes are in their place. */
static void restate__h2_release(restate__h2_stream *s, bool cut) {
    restate__h2 *h2 = s->h2;
    restate__exchange *exchange = s->exchange;
    restate__h2_drop_reply(s);
    if (!exchange) return;
    s->exchange = NULL;
    exchange->carrier = NULL;
    if (cut) restate__exchange_cut(exchange);
    if (!h2->out) {
        restate__exchange_release(exchange);
        return;
    }
    exchange->next = h2->ended;
    h2->ended = exchange;
}

static void restate__h2_stream_end(restate__h2_stream *s) {
    restate__h2_release(s, true);
    if (s->prev) s->prev->next = s->next;
    else s->h2->streams = s->next;
    if (s->next) s->next->prev = s->prev;
    restate__h2_free(s, &s->h2->env->worker->cache);
}

static restate__h2_stream *restate__h2_find(nghttp2_session *session, int32_t id) {
    return nghttp2_session_get_stream_user_data(session, id);
}

static bool restate__h2_is_request(const nghttp2_frame *frame) {
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

static int restate__h2_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
                                        void *user) {
    restate__h2 *h2 = user;
    if (!restate__h2_is_request(frame)) return 0;
    restate__h2_stream *s = restate__h2_stream_new(h2, frame->hd.stream_id);
    if (!s) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    s->exchange = restate__exchange_new(h2->env->endpoint, h2->env->worker, restate__h2_changed, s);
    if (!s->exchange || nghttp2_session_set_stream_user_data(session, s->id, s)) {
        restate__h2_stream_end(s);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

static int restate__h2_on_header(nghttp2_session *session, const nghttp2_frame *frame,
                                 const uint8_t *name, size_t name_len, const uint8_t *value,
                                 size_t value_len, uint8_t flags, void *user) {
    (void)flags;
    (void)user;
    if (!restate__h2_is_request(frame)) return 0;
    restate__h2_stream *s = restate__h2_find(session, frame->hd.stream_id);
    if (s && s->exchange && !s->overfull)
        s->overfull = !restate__exchange_header(s->exchange, restate__b(name, name_len),
                                                restate__b(value, value_len));
    return 0;
}

static void restate__h2_end_input(restate__h2_stream *s) {
    if (s->input_over) return;
    s->input_over = true;
    if (s->exchange) restate__exchange_end_input(s->exchange);
}

static void restate__h2_goaway(restate__h2 *h2) {
    if (h2->goaway) return;
    h2->goaway = true;
    restate__h2_must(h2, nghttp2_submit_goaway(h2->session, 0,
                                               nghttp2_session_get_last_proc_stream_id(h2->session),
                                               NGHTTP2_NO_ERROR, NULL, 0));
}

static int restate__h2_on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame,
                                     void *user) {
    restate__h2 *h2 = user;
    if (frame->hd.type == NGHTTP2_PING) {
        if (h2->draining && (frame->hd.flags & NGHTTP2_FLAG_ACK) &&
            memcmp(frame->ping.opaque_data, restate__h2_ping, sizeof restate__h2_ping) == 0)
            restate__h2_goaway(h2);
        return 0;
    }
    if (frame->hd.type == NGHTTP2_SETTINGS) h2->begun = true;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    restate__h2_stream *s = restate__h2_find(session, frame->hd.stream_id);
    if (!s) return 0;
    if (s->exchange && restate__h2_is_request(frame)) restate__exchange_begin(s->exchange, false);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) restate__h2_end_input(s);
    return 0;
}

static void restate__h2_reset(restate__h2 *h2, restate__h2_stream *s, uint32_t code) {
    if (s->reset) return;
    s->reset = true;
    restate__h2_must(h2, nghttp2_submit_rst_stream(h2->session, 0, s->id, code));
}

/* Data is consumed at once, whether it is used or not: a window that is not given back would starve
 * the other streams. A stream on which a peer goes on sending after its response is reset. */
static int restate__h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id,
                               const uint8_t *data, size_t len, void *user) {
    restate__h2 *h2 = user;
    restate__h2_stream *s = restate__h2_find(session, id);
    (void)flags;
    if (s) s->arrived += len;
    if (s && s->exchange && !s->input_over) {
        restate__exchange_feed(s->exchange, restate__b(data, len));
    } else if (s && !s->exchange) {
        s->ignored += len;
        if (s->ignored > h2->env->endpoint->options.window_bytes)
            restate__h2_reset(h2, s, NGHTTP2_NO_ERROR);
    }
    return nghttp2_session_consume(session, id, len) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* Never fails: in some versions of nghttp2 a failure here leaks. */
static int restate__h2_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    restate__h2_stream *s = restate__h2_find(session, id);
    (void)code;
    (void)user;
    if (s) restate__h2_stream_end(s);
    return 0;
}

/* A peer may cause resets without sending any itself, so those that we send have a token bucket,
 * too. */
static void restate__h2_count_reset(restate__h2 *h2) {
    uint64_t now = h2->env->now_ms;
    uint64_t earned = (now - h2->resets_at_ms) * RESTATE__H2_RESETS_PER_S / 1000;
    if (earned) {
        h2->resets_at_ms = now;
        h2->resets = earned >= RESTATE__H2_RESETS - h2->resets ? (uint32_t)RESTATE__H2_RESETS
                                                               : h2->resets + (uint32_t)earned;
    }
    if (h2->cut) return;
    if (h2->resets) h2->resets--;
    else restate__h2_must(h2, nghttp2_session_terminate_session(h2->session,
                                                                NGHTTP2_ENHANCE_YOUR_CALM));
}

/* The whole response has been written. */
static void restate__h2_responded(restate__h2 *h2, restate__h2_stream *s) {
    restate__h2_env *env = h2->env;
    restate__h2_release(s, false);
    s->sending = false;
    s->moved_ms = env->now_ms;
    if (!s->input_over)
        restate__h2_due(env, restate__h2_at(env->now_ms,
                                            env->endpoint->options.request_timeout_ms));
}

static int restate__h2_on_frame_send(nghttp2_session *session, const nghttp2_frame *frame,
                                     void *user) {
    restate__h2 *h2 = user;
    uint8_t type = frame->hd.type;
    if (type == NGHTTP2_RST_STREAM) {
        restate__h2_count_reset(h2);
    } else if (type == NGHTTP2_GOAWAY && h2->draining && !h2->goaway) {
        /* Only now: a PING that is queued together with the notice would overtake it. */
        restate__h2_must(h2, nghttp2_submit_ping(session, 0, restate__h2_ping));
    } else if ((type == NGHTTP2_DATA || type == NGHTTP2_HEADERS) &&
               (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        restate__h2_stream *s = restate__h2_find(session, frame->hd.stream_id);
        if (s) restate__h2_responded(h2, s);
    }
    return 0;
}

/* How many bytes the next DATA frame carries; restate__h2_send_data() moves them. */
static restate__h2_ssize restate__h2_read(nghttp2_session *session, int32_t id, uint8_t *to,
                                          size_t room, uint32_t *flags,
                                          nghttp2_data_source *source, void *user) {
    restate__h2_stream *s = source->ptr;
    (void)session;
    (void)id;
    (void)to;
    (void)user;
    if (!s->reply && (!s->exchange || s->exchange->out.failed))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t left = s->reply ? s->reply->len - s->reply->at : s->exchange->out.len;
    bool finished = s->reply || s->exchange->finished;
    if (!left && !finished) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left <= room && finished) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (restate__h2_ssize)(left < room ? left : room);
}

static void restate__h2_copy_out(restate__h2_out *out, const uint8_t *from, size_t len) {
    memcpy(out->at, from, len);
    out->at += len;
    out->len += len;
}

/* Makes a piece of the bytes that were copied into the room. */
static void restate__h2_cut_piece(restate__h2_out *out) {
    if (out->at == out->begun) return;
    out->pieces[out->count++] = restate__b(out->begun, (size_t)(out->at - out->begun));
    out->begun = out->at;
}

/* Makes a piece of bytes that stay where they are. False: they are few, or there are not three
 * pieces left: for what is in front of them, for them, and for what follows. */
static bool restate__h2_refer_out(restate__h2_out *out, restate_bytes piece) {
    if (piece.len < RESTATE__H2_REFER || out->max - out->count < 3) return false;
    restate__h2_cut_piece(out);
    out->pieces[out->count++] = piece;
    out->len += piece.len;
    return true;
}

static int restate__h2_send_data(nghttp2_session *session, nghttp2_frame *frame,
                                 const uint8_t *head, size_t len, nghttp2_data_source *source,
                                 void *user) {
    restate__h2 *h2 = user;
    restate__h2_out *out = h2->out;
    restate__h2_stream *s = source->ptr;
    restate__h2_reply *a = s->reply;
    restate__exchange *exchange = s->exchange;
    (void)session;
    (void)frame;                            /* never padded */
    if (a ? a->len - a->at < len : !exchange || exchange->out.len < len)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (out->size - out->len < len + RESTATE__H2_SPARE) {
        h2->full = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    s->moved_ms = h2->env->now_ms;
    restate__h2_copy_out(out, head, RESTATE__H2_FRAME);
    if (a) {
        restate__h2_copy_out(out, a->body + a->at, len);
        a->at += len;
        return 0;
    }
    while (len) {
        restate_bytes piece = restate__buf_peek(&exchange->out);
        if (piece.len > len) piece.len = len;
        if (!restate__h2_refer_out(out, piece)) restate__h2_copy_out(out, piece.ptr, piece.len);
        len -= piece.len;
        restate__chunk *chunk = restate__buf_shift(&exchange->out, piece.len);
        if (!chunk) continue;
        chunk->next = h2->sent;
        h2->sent = chunk;
    }
    s->sending = exchange->out.len != 0;
    restate__exchange_drained(exchange);
    return 0;
}

static void restate__h2_field(nghttp2_nv *nv, const char *name, const char *value) {
    union { const char *from; uint8_t *to; } n, v;      /* nghttp2 only reads them */
    n.from = name;
    v.from = value;
    nv->name = n.to;
    nv->namelen = strlen(name);
    nv->value = v.to;
    nv->valuelen = strlen(value);
    nv->flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
}

/* There are bytes to send. From now on the peer has to take some of them within send_timeout_ms. */
static void restate__h2_sends(restate__h2 *h2, restate__h2_stream *s) {
    restate__h2_env *env = h2->env;
    if (s->sending) return;
    s->sending = true;
    s->moved_ms = env->now_ms;
    restate__h2_due(env, restate__h2_at(env->now_ms, env->endpoint->options.send_timeout_ms));
}

/* Submits the response. Its fields are not copied: they are constants, or live as long as the
 * exchange, and nghttp2 reads none of a stream that is closed. `bare`: it has no body. */
static void restate__h2_respond(restate__h2 *h2, restate__h2_stream *s, uint16_t code,
                                const restate_pair *pair, bool bare) {
    RESTATE__H2_V(nghttp2_data_provider) body = { .source = { .ptr = s },
                                                  .read_callback = restate__h2_read };
    nghttp2_nv fields[RESTATE__H2_FIELDS];
    size_t n = 1;
    s->status[0] = (char)('0' + code / 100 % 10);
    s->status[1] = (char)('0' + code / 10 % 10);
    s->status[2] = (char)('0' + code % 10);
    restate__h2_field(&fields[0], ":status", s->status);
    for (; pair && pair->name && n < RESTATE__H2_FIELDS; pair++)
        restate__h2_field(&fields[n++], pair->name, pair->value);
    s->submitted = true;
    restate__h2_must(h2, RESTATE__H2_V(nghttp2_submit_response)(h2->session, s->id, fields, n,
                                                               bare ? NULL : &body));
}

/* Submits a response that is complete without a handler, and releases its exchange, whose headers
 * may be large. False: the response is not small enough. */
static bool restate__h2_keep_reply(restate__h2_stream *s) {
    restate__exchange *exchange = s->exchange;
    restate__cache *cache = &s->h2->env->worker->cache;
    size_t len = exchange->out.len, at = 0;
    if (exchange->attempt || !exchange->finished || len > RESTATE__H2_REPLY) return false;
    restate__h2_reply *a = restate__h2_malloc(sizeof *a + len, cache);
    if (!a) return false;
    a->len = len;
    a->at = 0;
    while (exchange->out.len) {
        restate_bytes piece = restate__buf_peek(&exchange->out);
        memcpy(a->body + at, piece.ptr, piece.len);
        at += piece.len;
        restate__buf_drop(&exchange->out, piece.len);
    }
    restate__h2_respond(s->h2, s, exchange->status, exchange->response, !len);
    restate__h2_release(s, false);
    s->reply = a;
    restate__h2_sends(s->h2, s);
    return true;
}

/* Submits, resumes or resets the stream, as its exchange now has it. */
static void restate__h2_advance(restate__h2_stream *s) {
    restate__h2 *h2 = s->h2;
    restate__exchange *exchange = s->exchange;
    if (s->reset) return;
    if (exchange->out.len) restate__h2_sends(h2, s);
    if (exchange->out.failed || (exchange->finished && !exchange->status)) {
        restate__h2_reset(h2, s, NGHTTP2_INTERNAL_ERROR);
    } else if (!s->submitted) {
        if (exchange->status && !restate__h2_keep_reply(s))
            restate__h2_respond(h2, s, exchange->status, exchange->response,
                                exchange->finished && !exchange->out.len);
    } else if (s->deferred && (exchange->out.len || exchange->finished)) {
        s->deferred = false;
        restate__h2_must(h2, nghttp2_is_fatal(nghttp2_session_resume_data(h2->session, s->id)));
    }
}

/* Writes frames to `out`, which has room for RESTATE__H2_FRAME_MAX bytes or more. `full`: more
 * frames wait. The caller sends or copies the pieces, then calls restate__h2_end_take().
 *
 * mem_send calls restate__h2_send_data(), which writes DATA frames. So a frame that mem_send
 * returned has to be in `out` before the next call. */
static void restate__h2_take(restate__h2 *h2, restate__h2_out *out) {
    h2->out = out;
    h2->full = false;
    while (!h2->failed && !h2->full) {
        const uint8_t *frame;
        if (out->size - out->len < RESTATE__H2_FRAME_MAX) {
            h2->full = true;
            break;
        }
        restate__h2_ssize n = RESTATE__H2_V(nghttp2_session_mem_send)(h2->session, &frame);
        if (n < 0 || (size_t)n > out->size - out->len) h2->failed = true;
        if (n <= 0 || h2->failed) break;
        restate__h2_copy_out(out, frame, (size_t)n);
    }
    restate__h2_cut_piece(out);
    h2->out = NULL;
}

/* The pieces of the last take have been sent or copied. */
static void restate__h2_end_take(restate__h2 *h2) {
    restate__cache_give_all(&h2->env->worker->cache, h2->sent);
    h2->sent = NULL;
    while (h2->ended) {
        restate__exchange *exchange = h2->ended;
        h2->ended = exchange->next;
        restate__exchange_release(exchange);
    }
}

/* Returns 0 or an error of nghttp2, after which the session is of no use. */
static int restate__h2_feed(restate__h2 *h2, restate_bytes in) {
    restate__h2_ssize n = RESTATE__H2_V(nghttp2_session_mem_recv)(h2->session, in.ptr, in.len);
    restate__h2_touch(h2);
    if (n < 0) return (int)n;
    if (nghttp2_session_get_outbound_queue_size(h2->session) >
        RESTATE__H2_QUEUE_MAX + 4 * (size_t)h2->env->endpoint->options.max_streams)
        return NGHTTP2_ERR_FLOODED;
    return 0;
}

static bool restate__h2_over(const restate__h2 *h2) {
    return h2->session && !nghttp2_session_want_read(h2->session) &&
           !nghttp2_session_want_write(h2->session);
}

/* Logs what the peer of a stream did not do in time. */
static void restate__h2_log_reset(restate__h2 *h2, const char *what) {
    restate_endpoint *ep = h2->env->endpoint;
    if (restate__ep_may_log(ep, RESTATE__LIMIT_PEER))
        restate__log(&ep->logger, RESTATE_LOG_WARN, "a stream is reset: %s", what);
}

/* When a stream's timeout is over, and what is wrong then. UINT64_MAX: it has none now. */
static uint64_t restate__h2_stream_due(const restate__h2_stream *s, const char **wrong) {
    const restate_endpoint_options *o = &s->h2->env->endpoint->options;
    if (s->reset) return UINT64_MAX;
    if (s->sending) {
        *wrong = "its peer takes nothing of what it is sent (send_timeout_ms)";
        return restate__h2_at(s->moved_ms, o->send_timeout_ms);
    }
    if (s->exchange && restate__exchange_arriving(s->exchange)) {
        *wrong = s->exchange->attempt
                     ? "the journal of an invocation did not arrive (request_timeout_ms)"
                     : "the headers of a request did not arrive (request_timeout_ms)";
        return restate__h2_at(s->born_ms + s->arrived * 1000 / RESTATE__H2_RATE,
                              o->request_timeout_ms);
    }
    *wrong = NULL;                          /* the rest of a request that has its response */
    return s->exchange || s->reply || s->input_over
        ? UINT64_MAX : restate__h2_at(s->moved_ms, o->request_timeout_ms);
}

/* Resets streams whose timeout is over. NULL: that was enough; else why the whole connection has to
 * end: in the middle of a header block no stream can be reset. */
static const char *restate__h2_look(restate__h2 *h2) {
    for (restate__h2_stream *s = h2->streams; s; s = s->next) {
        const char *wrong = NULL;
        uint64_t at = restate__h2_stream_due(s, &wrong);
        if (!restate__h2_past(h2->env, at)) continue;
        if (s->exchange && !s->exchange->status && !s->exchange->attempt) return wrong;
        if (wrong) restate__h2_log_reset(h2, wrong);
        restate__h2_reset(h2, s, wrong ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR);
        restate__h2_touch(h2);
    }
    return NULL;
}

/* Sends a PING, whose ACK shows that the peer is there. */
static void restate__h2_ask(restate__h2 *h2) {
    restate__h2_must(h2, nghttp2_submit_ping(h2->session, 0, restate__h2_alive));
    restate__h2_touch(h2);
}

/* Begins a graceful end: a notice now, and the last GOAWAY when all has arrived that the peer sent
 * before it saw the notice. */
static void restate__h2_drain(restate__h2 *h2) {
    h2->draining = true;
    h2->drain_at_ms = h2->env->now_ms;
    restate__h2_must(h2, nghttp2_submit_shutdown_notice(h2->session));
    restate__h2_touch(h2);
}

/* Continues the drain: ends the input of exchanges whose journal is complete, so that their
 * handlers suspend where they would wait. Other exchanges get the rest of their journal first. */
static void restate__h2_sweep(restate__h2 *h2) {
    uint64_t now = h2->env->now_ms;
    for (restate__h2_stream *s = h2->streams; s; s = s->next)
        if (s->exchange && restate__exchange_may_suspend(s->exchange)) restate__h2_end_input(s);
    if (now - h2->drain_at_ms >= RESTATE__H2_NOTICE_MS) restate__h2_goaway(h2);
    restate__h2_touch(h2);
}

/* Resets every stream and ends the session. */
static void restate__h2_cut(restate__h2 *h2) {
    for (restate__h2_stream *s = h2->streams; s; s = s->next)
        restate__h2_reset(h2, s, NGHTTP2_CANCEL);
    h2->cut = true;
    restate__h2_goaway(h2);                 /* not terminate_session: that would drop the resets */
    restate__h2_touch(h2);
}

static void restate__h2_close(restate__h2 *h2) {
    if (!h2->session) return;
    while (h2->streams) restate__h2_stream_end(h2->streams);
    nghttp2_session_del(h2->session);
    h2->session = NULL;
}

static void restate__h2_init(restate__h2 *h2, restate__h2_env *env) {
    *h2 = (restate__h2){ .env = env };
}

static void restate__h2_set_callbacks(nghttp2_session_callbacks *c) {
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, restate__h2_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, restate__h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, restate__h2_on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, restate__h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, restate__h2_on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, restate__h2_on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(c, restate__h2_send_data);
}

/* Every limit is set, also where it is the default: another version of nghttp2 changes nothing. */
static void restate__h2_set_options(nghttp2_option *o) {
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    RESTATE__H2_IF_THERE(nghttp2_option_set_max_continuations)(o, 8);
    RESTATE__H2_IF_THERE(nghttp2_option_set_stream_reset_rate_limit)(o, 1000, 33);
    nghttp2_option_set_max_outbound_ack(o, 1000);
    nghttp2_option_set_max_settings(o, 32);
}

/* A session copies callbacks and options, so they are gone when it is there. */
static int restate__h2_session_new(restate__h2 *h2) {
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    int error = nghttp2_session_callbacks_new(&callbacks);
    if (!error) error = nghttp2_option_new(&options);
    if (!error) {
        restate__h2_set_callbacks(callbacks);
        restate__h2_set_options(options);
        error = nghttp2_session_server_new3(&h2->session, callbacks, h2, options, &h2->env->mem);
    }
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    return error;
}

/* Makes the session, when the peer's preface has arrived: before that a connection takes little
 * memory. False: out of memory. */
static bool restate__h2_open(restate__h2 *h2) {
    const restate_endpoint_options *o = &h2->env->endpoint->options;
    size_t stream = o->window_bytes > INT32_MAX / 4 ? INT32_MAX / 4 : o->window_bytes;
    size_t whole = 4 * stream < 4u << 20 ? 4u << 20 : 4 * stream;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, o->max_streams },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)stream },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, RESTATE__HEADER_BYTES_MAX }
    };
    h2->resets = RESTATE__H2_RESETS;
    h2->resets_at_ms = h2->env->now_ms;
    if (restate__h2_session_new(h2)) return false;
    if (!nghttp2_submit_settings(h2->session, 0, settings, sizeof settings / sizeof *settings) &&
        !nghttp2_session_set_local_window_size(h2->session, 0, 0, (int32_t)whole))
        return true;
    restate__h2_close(h2);
    return false;
}

#endif /* RESTATE_NO_SERVER */

/* ================================================================================================
// >>stream  exchanges and connections that the user carries                      [restate__stream_]
// Carries exchanges and connections over a transport of the user.
================================================================================================ */

/* All streams of an endpoint share one worker. It has no thread: each call of a stream function is
 * a turn of the worker, in which the handlers of all streams continue as far as they can. Closures
 * and blocking handlers are on other threads and post to the worker; each post calls `stream_wake`.
 * Without a `stream_wake`, a take that has no bytes to give waits for a post. */

enum {
    RESTATE__STREAM_OUT = 32768,            /* what a connection gives at once */
    RESTATE__STREAM_CACHE_BYTES = 5 << 18,  /* what the worker keeps for reuse */
    RESTATE__STREAM_FIBERS = 16,
    RESTATE__STREAM_WAIT_MS = 100           /* one of the waits for what executes at the end */
};

/* What the streams of an endpoint share. Made with the first one, freed with the endpoint. */
struct restate__streams {
    restate_endpoint *endpoint;
    restate__worker worker;
    restate_stream *first;
#if !defined(RESTATE_NO_THREADS)
    void *woken;                            /* a signal, given with every wake */
#endif
};

/* The two kinds of streams: one exchange, or one HTTP/2 connection. */
typedef struct restate__stream_kind {
    restate_status (*feed)(restate_stream *, restate_bytes arrived);
    restate_status (*take)(restate_stream *, restate_bytes *to_send);
    bool (*away)(const restate_stream *);   /* another thread executes for it, and will post */
    void (*close)(restate_stream *);
} restate__stream_kind;

struct restate_stream {
    const restate__stream_kind *kind;
    struct restate__streams *all;
    restate_stream *next, **link;           /* `*link` is this one */
    restate__exchange *exchange;            /* NULL: a connection */
    size_t given;                           /* bytes of its `out` that the last take gave */
    bool whole, input_over, cut;
#if !defined(RESTATE_NO_SERVER)
    restate__h2_env env;                    /* its own, so that nothing else touches `h2` */
    restate__h2 h2;
    uint8_t *out;
#endif
};

/* Lets all handlers continue as far as they can. */
static void restate__stream_turn(struct restate__streams *all) {
    while (restate__worker_turn(&all->worker)) continue;
    if (all->worker.watched) (void)restate__watch_all(&all->worker, 0);
}

/* How long a take may wait: for good (0), or until a closure is to be told something. */
static unsigned restate__stream_wait_ms(struct restate__streams *all) {
    uint64_t left = all->worker.watched ? restate__watch_all(&all->worker, 0) : UINT64_MAX;
    if (left == UINT64_MAX) return 0;
    return left > RESTATE__STREAM_WAIT_MS ? RESTATE__STREAM_WAIT_MS : left ? (unsigned)left : 1;
}

/* Whether another thread executes for the exchange. Between turns of the worker, a handler in the
 * state RUNNING is a blocking one, on its own thread. */
static bool restate__stream_elsewhere(const restate__exchange *exchange) {
    const restate__attempt *a = exchange->attempt;
    return a && (a->closures.executing || a->state == RESTATE__ATTEMPT_DETACHED ||
                 a->state == RESTATE__ATTEMPT_RUNNING);
}

/* Waits until a thread posts, or has posted since the last wait: for `at_most_ms`, or (0) without
 * limit. False: no thread posted, or there are no threads. */
static bool restate__stream_wait(struct restate__streams *all, unsigned at_most_ms) {
#if !defined(RESTATE_NO_THREADS)
    if (at_most_ms) return restate__port_signal_take_for(all->woken, at_most_ms);
    restate__port_signal_take(all->woken);
    return true;
#else
    (void)all;
    (void)at_most_ms;
    return false;
#endif
}

/* ---- One exchange ---------------------------------------------------------------------------- */

/* Nothing: restate_stream_take() looks at the exchange itself. */
static void restate__stream_changed(restate__exchange *exchange) { (void)exchange; }

/* The request has ended. While the endpoint stops, that may be the user's doing: then a journal
 * that is not complete is no fault of the peer, and the exchange is cut off. */
static void restate__stream_end_exchange(restate_stream *s) {
    s->cut = s->exchange->attempt && !restate__exchange_may_suspend(s->exchange) &&
             RESTATE__LOAD(&s->all->endpoint->stops, RELAXED);
    if (s->cut) restate__exchange_cut(s->exchange);
    else restate__exchange_end_input(s->exchange);
}

static restate_status restate__stream_feed_exchange(restate_stream *s, restate_bytes arrived) {
    if (s->input_over || s->exchange->finished) return RESTATE_ENDED;
    s->input_over = !arrived.ptr;
    if (s->input_over) restate__stream_end_exchange(s);
    else if (arrived.len) restate__exchange_feed(s->exchange, arrived);
    return RESTATE_OK;
}

static restate_status restate__stream_take_exchange(restate_stream *s, restate_bytes *to_send) {
    restate__exchange *exchange = s->exchange;
    if (s->given) {                         /* by now the user has sent these bytes */
        restate__buf_drop(&exchange->out, s->given);
        s->given = 0;
        restate__exchange_drained(exchange);
    }
    if (exchange->out.failed) return restate__ep_error(s->all->endpoint, "out of memory");
    if (s->cut)
        return restate__ep_error(s->all->endpoint,
                                 "the endpoint is stopping and not all of the journal had arrived: "
                                 "break the exchange off, as after a lost connection");
    *to_send = restate__buf_peek(&exchange->out);
    s->given = to_send->len;
    return exchange->finished && s->given == exchange->out.len ? RESTATE_ENDED : RESTATE_OK;
}

static bool restate__stream_away_exchange(const restate_stream *s) {
    return restate__stream_elsewhere(s->exchange);
}

static void restate__stream_close_exchange(restate_stream *s) {
    restate__exchange_cut(s->exchange);
    restate__exchange_release(s->exchange);
}

static bool restate__stream_open_exchange(restate_stream *s, const restate_http_request *r) {
    static const restate__stream_kind kind = { restate__stream_feed_exchange,
                                               restate__stream_take_exchange,
                                               restate__stream_away_exchange,
                                               restate__stream_close_exchange };
    s->kind = &kind;
    s->exchange =
        restate__exchange_new(s->all->endpoint, &s->all->worker, restate__stream_changed, NULL);
    if (!s->exchange) return false;
    s->whole = r->whole;
    restate__exchange_header(s->exchange, restate_str(":method"), restate_str(r->method));
    restate__exchange_header(s->exchange, restate_str(":path"), restate_str(r->path));
    for (const restate_pair *h = r->headers; h && h->name; h++)
        restate__exchange_header(s->exchange, restate_str(h->name), restate_str(h->value));
    restate__exchange_begin(s->exchange, r->whole);     /* and refuses headers that are too large */
    return true;
}

/* ---- One HTTP/2 connection ------------------------------------------------------------------- */

#if !defined(RESTATE_NO_SERVER)

/* There is no more input: handlers suspend where they would wait, and no exchange begins. A stream
 * whose journal is not complete is reset. */
static void restate__stream_end_h2(restate_stream *s) {
    for (restate__h2_stream *one = s->h2.streams; one; one = one->next) {
        if (!one->exchange || restate__exchange_may_suspend(one->exchange))
            restate__h2_end_input(one);
        else if (!one->exchange->finished) restate__h2_reset(&s->h2, one, NGHTTP2_CANCEL);
    }
    restate__h2_goaway(&s->h2);
}

static restate_status restate__stream_feed_h2(restate_stream *s, restate_bytes arrived) {
    int error = 0;
    if (s->h2.failed) return RESTATE_ERROR;
    if (s->input_over || restate__h2_over(&s->h2)) return RESTATE_ENDED;
    restate__h2_tick(&s->env);
    s->input_over = !arrived.ptr;
    if (s->input_over) restate__stream_end_h2(s);
    else if (arrived.len) error = restate__h2_feed(&s->h2, arrived);
    if (!error && s->h2.failed) error = NGHTTP2_ERR_NOMEM;  /* inside of a callback */
    if (!error) return RESTATE_OK;
    s->h2.failed = true;
    return restate__ep_error(s->all->endpoint, "%s", nghttp2_strerror(error));
}

static bool restate__stream_away_h2(const restate_stream *s) {
    for (const restate__h2_stream *one = s->h2.streams; one; one = one->next)
        if (one->exchange && restate__stream_elsewhere(one->exchange)) return true;
    return false;
}

/* A peer that sends nothing more opens no window either: the connection is over when there is
 * nothing to send. */
static restate_status restate__stream_take_h2(restate_stream *s, restate_bytes *to_send) {
    restate_bytes whole = restate__b_none();    /* one piece: all is copied */
    restate__h2_out out = { s->out, s->out, 0, RESTATE__STREAM_OUT, &whole, 0, 1 };
    if (s->h2.failed) return RESTATE_ERROR;
    restate__h2_tick(&s->env);
    restate__h2_take(&s->h2, &out);
    restate__h2_end_take(&s->h2);
    if (s->h2.failed) return restate__ep_error(s->all->endpoint, "out of memory");
    if (whole.len) *to_send = whole;
    if (restate__h2_over(&s->h2)) return RESTATE_ENDED;
    return s->input_over && !whole.len && !restate__stream_away_h2(s) ? RESTATE_ENDED : RESTATE_OK;
}

static void restate__stream_close_h2(restate_stream *s) {
    restate__h2_close(&s->h2);
    restate__mem_free(&s->all->endpoint->allocator, s->out, RESTATE__STREAM_OUT);
}

static bool restate__stream_open_h2(restate_stream *s) {
    static const restate__stream_kind kind = { restate__stream_feed_h2, restate__stream_take_h2,
                                               restate__stream_away_h2, restate__stream_close_h2 };
    struct restate__streams *all = s->all;
    s->kind = &kind;
    restate__h2_env_init(&s->env, all->endpoint, &all->worker);
    restate__h2_init(&s->h2, &s->env);
    s->out = restate__mem_alloc(&all->endpoint->allocator, RESTATE__STREAM_OUT);
    if (s->out && restate__h2_open(&s->h2)) return true;
    restate__stream_close_h2(s);
    return false;
}

#endif

/* ---- What the streams of an endpoint share --------------------------------------------------- */

#if !defined(RESTATE_NO_THREADS)
/* On any thread. */
static void restate__stream_wake(void *user) {
    struct restate__streams *all = user;
    const restate_endpoint_options *o = &all->endpoint->options;
    restate__port_signal_give(all->woken);
    if (o->stream_wake) o->stream_wake(o->stream_user);
}
#endif

/* Called by restate_endpoint_free() while there are pool threads: cuts off all streams and waits
 * for handlers and closures to return. False: one did not within RESTATE__GRACE_MS. */
static bool restate__stream_quiet(restate_endpoint *ep) {
    struct restate__streams *all = ep->streams;
    char text[64];
    while (all->first) restate_stream_free(all->first);
    restate__stream_turn(all);
    for (unsigned waits = RESTATE__GRACE_MS / RESTATE__STREAM_WAIT_MS;
         all->worker.exchanges && waits; restate__stream_turn(all))
        if (!restate__stream_wait(all, RESTATE__STREAM_WAIT_MS)) waits--;
    if (all->worker.exchanges) (void)restate__attempt_tell_left(&all->worker, text, sizeof text);
    return !all->worker.exchanges;
}

/* Called by restate_endpoint_free() when there are no pool threads any more. */
static void restate__stream_free_all(restate_endpoint *ep) {
    struct restate__streams *all = ep->streams;
    ep->streams = NULL;
#if !defined(RESTATE_NO_THREADS)
    if (all->woken) restate__port_signal_free(&ep->allocator, all->woken);
#endif
    restate__worker_free(&all->worker);
    restate__mem_free(&ep->allocator, all, sizeof *all);
}

/* NULL: out of memory. */
static struct restate__streams *restate__stream_all(restate_endpoint *ep) {
    if (ep->streams) return ep->streams;
    struct restate__streams *all = restate__mem_zalloc(&ep->allocator, sizeof *all);
    if (!all) return NULL;
    all->endpoint = ep;
    restate__worker_init(&all->worker, &ep->allocator, RESTATE__STREAM_CACHE_BYTES,
                         RESTATE__STREAM_FIBERS);
    ep->streams = all;
    ep->streams_quiet = restate__stream_quiet;
    ep->streams_free = restate__stream_free_all;
#if !defined(RESTATE_NO_THREADS)
    all->worker.wake = restate__stream_wake;
    all->worker.wake_user = all;
    all->woken = restate__port_signal_new(&ep->allocator);
    if (!all->woken) {
        restate__stream_free_all(ep);
        return NULL;
    }
#endif
    return all;
}

/* ---- The public functions -------------------------------------------------------------------- */

/* NULL: out of memory. */
static restate_stream *restate__stream_new(restate_endpoint *ep,
                                           const restate_http_request *request) {
    struct restate__streams *all = restate__stream_all(ep);
    restate_stream *s = all ? restate__mem_zalloc(&ep->allocator, sizeof *s) : NULL;
    if (!s) return NULL;
    s->all = all;
#if !defined(RESTATE_NO_SERVER)
    bool made = request ? restate__stream_open_exchange(s, request) : restate__stream_open_h2(s);
#else
    bool made = restate__stream_open_exchange(s, request);
#endif
    if (made) return s;
    restate__mem_free(&ep->allocator, s, sizeof *s);
    return NULL;
}

RESTATE_API restate_stream *restate_stream_open(restate_endpoint *endpoint,
                                                const restate_http_request *request) {
    const char *why = "out of memory";
    const restate_pair *end = request ? request->headers : NULL;
    restate_stream *s = NULL;
    if (!endpoint || endpoint->invalid) return NULL;
    while (end && end->name) end++;
    if (end && end->value)
        why = "a header of the request has a value, but no name: " RESTATE__END;
#if defined(RESTATE_NO_SERVER)
    else if (!request)
        why = "HTTP/2 needs nghttp2, but RESTATE_NO_SERVER is defined";
#endif
    else
        s = restate__stream_new(endpoint, request);
    if (!s) {
        restate__ep_error(endpoint, "%s", why);
        return NULL;
    }
    s->next = s->all->first;
    s->link = &s->all->first;
    if (s->next) s->next->link = &s->next;
    *s->link = s;
    return s;
}

/* The handler of an exchange that is `whole` starts when its request is complete: at its first wait
 * it knows then that it has to suspend. */
static bool restate__stream_begun(const restate_stream *s) { return !s->whole || s->input_over; }

RESTATE_API restate_status restate_stream_feed(restate_stream *stream, restate_bytes arrived) {
    if (!stream) return RESTATE_ERROR;
    restate_status s = stream->kind->feed(stream, arrived);
    if (restate__stream_begun(stream)) restate__stream_turn(stream->all);
    return s;
}

RESTATE_API restate_status restate_stream_take(restate_stream *stream, restate_bytes *to_send,
                                               uint16_t *status, const restate_pair **headers) {
    restate_bytes bytes = restate__b_none();
    restate_status s = RESTATE_ERROR;
    for (bool again = stream && to_send; again;) {
        bool begun = restate__stream_begun(stream);
        if (begun) restate__stream_turn(stream->all);
        s = stream->kind->take(stream, &bytes);
        again = s == RESTATE_OK && !bytes.len && begun && stream->kind->away(stream) &&
                !stream->all->endpoint->options.stream_wake;
        if (again) (void)restate__stream_wait(stream->all, restate__stream_wait_ms(stream->all));
    }
    if (to_send) *to_send = bytes;
    if (status) *status = stream && stream->exchange ? stream->exchange->status : (uint16_t)0;
    if (headers) *headers = stream && stream->exchange ? stream->exchange->response : NULL;
    return s;
}

RESTATE_API void restate_stream_free(restate_stream *stream) {
    if (!stream) return;
    struct restate__streams *all = stream->all;
    *stream->link = stream->next;
    if (stream->next) stream->next->link = stream->link;
    stream->kind->close(stream);
    restate__mem_free(&all->endpoint->allocator, stream, sizeof *stream);
    restate__stream_turn(all);              /* the handlers return with RESTATE_ENDED */
}

/* ================================================================================================
// >>server  event loops, sockets, limits, drain
// [restate__poll_ restate__loop_ restate__conn_ restate__channel_ restate__srv_]
// Gives each connection to one loop, each loop to one thread, and stops without losing work.
================================================================================================ */
#if !defined(RESTATE_NO_SERVER)

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#if !defined(RESTATE_NO_THREADS)
#  include <pthread.h>
#endif
#if defined(__linux__) && !defined(RESTATE__USE_POLL)
#  define RESTATE__EPOLL 1
#  include <sys/epoll.h>
#  include <sys/eventfd.h>
#  include <sys/timerfd.h>
#else
#  define RESTATE__EPOLL 0
#  include <poll.h>
#endif
#if !defined(MSG_NOSIGNAL)
#  define MSG_NOSIGNAL 0                    /* such systems have SO_NOSIGPIPE */
#endif

/*  the thread in restate_endpoint_run()              a thread for each event loop
 *   +-----------------------------------+  arrivals  +----------------------------------+
 *   | control: accepts, watches, stops; | ---------> | loop: its connections, handlers; |
 *   | executes no handlers              | ---------> | waits, receives, executes, sends |
 *   +-----------------------------------+    wake    +----------------------------------+
 *     ^ stop_fd      ^                                  |               ^
 *     |              +----- wake, when it is over ------+               | posts, wake
 *    restate_endpoint_stop()                                         threads of the pool
 *
 * (1) Arrivals. Control gives a connection to the loop that has the fewest, of those that no
 *     handler holds (restate__srv_pick). It is added to the loop's list of arrivals; whoever
 *     exchanges that list for NULL has all of them: the loop, or control, which takes them back
 *     from a loop that is held, and gives them to others (restate__srv_rehome).
 * (2) Wake. A loop sets `asleep` before it looks for the last time whether there are posts or
 *     arrivals. A thread that adds one writes to the loop's descriptor if the loop is asleep; else
 *     the loop sees it.
 * (3) Phases. The boss advances the phase of the server and wakes all loops, each of which follows
 *     in its next turn: serving; draining (connections end gracefully, handlers suspend); cut
 *     (connections are closed, handlers get RESTATE_ENDED).
 * (4) Watcher. Control looks who holds a loop, and for how long, and warns (restate__srv_look_at).
 * (5) Ends. A loop that has nothing left to do after a stop is `over`; its thread ends and is
 *     joined. One that a handler holds is given up RESTATE__GRACE_MS after the cut, or at most
 *     twice that: restate_endpoint_run() returns, restate_endpoint_free() waits once more
 *     (restate__srv_quiet), then either frees everything (restate__srv_free), or detaches the
 *     thread and leaves it all that it may use (restate__srv_abandon).
 * (6) restate_endpoint_process() has one loop without a thread, which is also the boss: nobody
 *     watches it. So it is with RESTATE_NO_THREADS. */

enum {
    RESTATE__LOOP_IN = 65536,               /* 16 KiB at least: a header block in few calls */
    RESTATE__LOOP_OUT = 131072,             /* the most that waits for a peer that does not read */
    RESTATE__LOOP_PIECES = 16,              /* of one call that sends; every system takes so many */
    RESTATE__LOOP_ROUNDS = 4,
    RESTATE__LOOP_LINGER_MS = 2000,
    RESTATE__LOOP_SWEEP_MS = 50,            /* between looks at connections, while one is timed */
    RESTATE__LOOP_LATE_MS = 500,            /* after which a look at them is late */
    RESTATE__LOOP_LATES = 4,
    RESTATE__LOOP_HELLO = 256,              /* what is looked at of what is not HTTP/2 */
    RESTATE__LOOP_HEAD = 16384,             /* of HTTP/1: more is not waited for */
    RESTATE__LOOP_TRIM_MS = 2000,           /* calm that comes before memory is given back */
    RESTATE__LOOP_TRIM_BYTES = 4 << 20,     /* that were freed: less is not worth it; */
    RESTATE__LOOP_TRIM_MANY = 32,           /* nor are fewer exchanges or connections */
    RESTATE__LOOP_LOOK_MS = 20,             /* between looks at a clock that is not real time */
    RESTATE__SRV_BATCH = 64,                /* connections or messages that are taken in one turn */
    RESTATE__SRV_ACCEPT_PAUSE_MS = 500,
    RESTATE__SRV_WARN_MS = 60000,
    RESTATE__SRV_HELD_MS = 50,              /* a loop that is held so long gets no connection */
    RESTATE__SRV_LOOK_MS = 500,             /* between looks at what the loops do */
    RESTATE__SRV_QUIET_MS = 5               /* between looks at what is still to end */
};
#define RESTATE__SRV_NEVER UINT64_MAX
#define RESTATE__SRV_CACHE_BYTES (5u << 20) /* what a worker keeps for reuse in chunks and less */
#define RESTATE__SRV_FIBERS 256u

/* Phases of a server, of each of its loops, and of a supervisor, which are in this order. */
enum {
    RESTATE__PHASE_SERVING,
    RESTATE__PHASE_DRAINING,
    RESTATE__PHASE_CUT,
    RESTATE__PHASE_KILLED                   /* of a supervisor: its workers */
};

/* ---- Waiting for descriptors ----------------------------------------------------------------- */

/* A descriptor that is waited for, and what to do when it is ready. */
typedef struct restate__poll_source {
    int fd;                                 /* -1: none */
    bool watched, want_out;
    bool in, out;                           /* when `ready` is called: what it is ready for */
    void (*ready)(void *owner);
    void *owner;
#if !RESTATE__EPOLL
    struct restate__poll_source *next, **link;      /* of those that are watched */
#endif
} restate__poll_source;

static restate__poll_source restate__poll_source_of(int fd, void (*ready)(void *), void *owner) {
    return (restate__poll_source){ .fd = fd, .ready = ready, .owner = owner };
}

/* What a thread waits for. */
typedef struct restate__poll {
    restate__poll_source wake;
    int wake_fd;                            /* written to wake it, by anybody */
#if RESTATE__EPOLL
    int epoll;
#else
    const restate_allocator *allocator;
    restate__poll_source *first;
    struct pollfd *fds;                     /* filled anew for each wait */
    size_t count, room;
#endif
} restate__poll;

/* Any thread, signal handlers too. A full pipe or counter is fine: then a wake is under way. */
static void restate__poll_signal(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

/* Reads away what woke the thread. */
static void restate__poll_on_wake(void *owner) {
    restate__poll_source *source = owner;
    uint64_t rings[32];
    ssize_t n = read(source->fd, rings, sizeof rings);
    (void)n;
}

static void restate__poll_close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static bool restate__poll_set_flags(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

#if RESTATE__EPOLL
static bool restate__poll_open(restate__poll *p, const restate_allocator *allocator) {
    (void)allocator;
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->wake.fd = p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return p->epoll >= 0 && p->wake.fd >= 0;
}

static void restate__poll_free(restate__poll *p) {
    restate__poll_close_fd(&p->epoll);
    restate__poll_close_fd(&p->wake.fd);
}

/* Reading is always of interest, writing as `want_out` says. False: errno says why. */
static bool restate__poll_watch(restate__poll *p, restate__poll_source *source, bool want_out) {
    struct epoll_event e = { .events = EPOLLIN | (want_out ? (uint32_t)EPOLLOUT : 0u),
                             .data = { .ptr = source } };
    if (source->watched && source->want_out == want_out) return true;
    if (epoll_ctl(p->epoll, source->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, source->fd, &e))
        return false;
    source->watched = true;
    source->want_out = want_out;
    return true;
}

static void restate__poll_forget(restate__poll *p, restate__poll_source *source) {
    struct epoll_event ignored = { .events = 0 };
    if (source->watched) (void)epoll_ctl(p->epoll, EPOLL_CTL_DEL, source->fd, &ignored);
    source->watched = false;
}

/* No event of a batch outlives its source: they go away in their own event or after the batch. */
static void restate__poll_wait(restate__poll *p, restate__h2_env *env, int timeout_ms) {
    struct epoll_event ready[64];
    int n = epoll_wait(p->epoll, ready, 64, timeout_ms);
    restate__h2_tick(env);
    for (int i = 0; i < n; i++) {
        restate__poll_source *source = ready[i].data.ptr;
        source->in = (ready[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
        source->out = (ready[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0;
        source->ready(source->owner);
    }
}
#else
static bool restate__poll_open(restate__poll *p, const restate_allocator *allocator) {
    int ends[2];
    p->allocator = allocator;
    if (pipe(ends)) return false;
    p->wake.fd = ends[0];
    p->wake_fd = ends[1];
    return restate__poll_set_flags(ends[0]) && restate__poll_set_flags(ends[1]);
}

static void restate__poll_free(restate__poll *p) {
    restate__poll_close_fd(&p->wake.fd);
    restate__poll_close_fd(&p->wake_fd);
    restate__mem_free(p->allocator, p->fds, p->room * sizeof *p->fds);
}

/* Room for one source more, so that a wait needs no memory. */
static bool restate__poll_grow(restate__poll *p) {
    size_t room = p->room ? 2 * p->room : 16;
    if (p->count < p->room) return true;
    struct pollfd *fds = restate__mem_alloc(p->allocator, room * sizeof *fds);
    if (!fds) return false;
    restate__mem_free(p->allocator, p->fds, p->room * sizeof *fds);
    p->fds = fds;
    p->room = room;
    return true;
}

/* Reading is always of interest, writing as `want_out` says. */
static bool restate__poll_watch(restate__poll *p, restate__poll_source *source, bool want_out) {
    source->want_out = want_out;
    if (source->watched) return true;
    if (!restate__poll_grow(p)) return false;
    source->watched = true;
    source->next = p->first;
    source->link = &p->first;
    if (source->next) source->next->link = &source->next;
    p->first = source;
    p->count++;
    return true;
}

static void restate__poll_forget(restate__poll *p, restate__poll_source *source) {
    if (!source->watched) return;
    source->watched = false;
    *source->link = source->next;
    if (source->next) source->next->link = source->link;
    p->count--;
}

/* While the `ready` functions run no source is added, and each forgets at most its own: so the list
 * has the order of `fds`. */
static void restate__poll_wait(restate__poll *p, restate__h2_env *env, int timeout_ms) {
    size_t n = 0;
    for (const restate__poll_source *s = p->first; s; s = s->next)
        p->fds[n++] = (struct pollfd){ .fd = s->fd,
                                       .events = (short)(POLLIN | (s->want_out ? POLLOUT : 0)) };
    bool some = poll(p->fds, (nfds_t)n, timeout_ms) > 0;
    restate__h2_tick(env);
    n = 0;
    for (restate__poll_source *s = some ? p->first : NULL, *next; s; s = next) {
        int e = p->fds[n++].revents, bad = POLLERR | POLLHUP | POLLNVAL;
        next = s->next;
        s->in = (e & (POLLIN | bad)) != 0;
        s->out = (e & (POLLOUT | bad)) != 0;
        if (e) s->ready(s->owner);
    }
}
#endif

/* False: errno says why; it is to be freed then, too. */
static bool restate__poll_init(restate__poll *p, const restate_allocator *allocator) {
    p->wake = restate__poll_source_of(-1, restate__poll_on_wake, &p->wake);
    p->wake_fd = -1;
    return restate__poll_open(p, allocator) && restate__poll_watch(p, &p->wake, false);
}

static void restate__poll_close(restate__poll *p, restate__poll_source *source) {
    restate__poll_forget(p, source);
    restate__poll_close_fd(&source->fd);
}

/* ---- Connections ----------------------------------------------------------------------------- */

typedef struct restate__loop restate__loop;
typedef struct restate__server restate__server;

/* The life of a connection, which only goes forward. */
typedef enum restate__conn_state {
    RESTATE__CONN_HELLO,                    /* its first bytes are those of HTTP/2, so far */
    RESTATE__CONN_HTTP1,                    /* they are not: the head of a request in HTTP/1 */
    RESTATE__CONN_OPEN,                     /* there is a session */
    RESTATE__CONN_CLOSING,                  /* there is none any more; its last bytes are sent, */
    RESTATE__CONN_SHUT,                     /* and the peer is to close. Input is read away: a close
                                               with unread bytes would make the peer lose what it
                                               has not read yet */
    RESTATE__CONN_DEAD                      /* restate__conn_flush destroys it */
} restate__conn_state;

/* What came before there is a session. */
typedef struct restate__conn_hello {
    char text[RESTATE__LOOP_HELLO];         /* of the preface, or the first line of HTTP/1 */
    size_t len, head_len;                   /* head: all of a request in HTTP/1 so far */
    bool line_over, blank;                  /* blank: nothing on the current line yet */
} restate__conn_hello;

typedef struct restate__conn {
    restate__h2 h2;                         /* first: what is on the list of touched ones */
    restate__loop *loop;
    struct restate__conn *next, **link;     /* of the loop's; `*link` is this one */
    restate__poll_source source;
    restate__conn_state state;
    restate__buf pending;                   /* written, but the socket took no more */
    uint64_t deadline_ms;                   /* of CLOSING and SHUT */
    uint64_t born_ms, heard_ms, asked_ms;   /* asked: since it was heard; 0: it was not */
    uint64_t sent_ms;                       /* the socket took something, or began not to */
    restate__conn_hello hello;
    const char *why;                        /* it ended; for the log, like `peer` */
    char peer[64];
} restate__conn;

/* An event loop: a thread, its connections, their handlers. */
struct restate__loop {
    restate__server *server;
    restate__worker worker;
    restate__h2_env env;
    restate__poll poll;
    restate__poll_source timer;             /* for those who poll restate_endpoint_fd() */
    uint64_t armed_ms;
    restate__conn *conns;
    restate__conn *arrivals;                /* atomic, the latest first: see (1) */
    unsigned conn_count;                    /* atomic: with those that arrive */
    uint8_t *in, *out;                      /* shared by its connections; made for the first one */
    unsigned lates;                         /* looks that were put off */
    unsigned phase;
    bool busy;                              /* there is more to do without waiting */
    bool asleep;                            /* atomic: it has to be woken, see (2) */
    struct {
        uint64_t at_ms;                     /* when to look whether memory is to be given back; */
        size_t exchanges, freed;            /* since that was done: the most exchanges at a time, */
        unsigned conns;                     /* bytes freed, the most connections */
    } trim;
#if !defined(RESTATE_NO_THREADS)
    pthread_t thread;
    struct {                                /* the watcher's: */
        unsigned change;                    /* of the duty that it warned of, */
        uint64_t at_ms, after_ms;           /* and when it warns again */
    } warned;
#endif
    bool threaded;                          /* there is `thread`, not joined */
    bool over;                              /* atomic: the thread is about to end */
    char apart[64];                         /* from the next loop's cache lines */
};

/* A listening socket. While memory or descriptors are used up it would stay readable, so it is left
 * alone. */
typedef struct restate__srv_listener {
    restate__poll_source source;
    uint64_t paused_until_ms, warned_at_ms; /* 0: not */
    uint16_t port;                          /* a worker's: its supervisor listens on it */
} restate__srv_listener;

struct restate__server {
    restate_endpoint *endpoint;
    restate__loop *loops;
    unsigned loop_count, loop_room, next_loop;
    restate__loop control;                  /* of the thread in restate_endpoint_run() */
    restate__loop *boss;                    /* accepts, keeps time: control; else the only loop */
    unsigned phase;                         /* atomic: the boss advances it */
    uint64_t phase_until_ms;
    restate__srv_listener listener;
    restate__poll_source channel;           /* instead: a worker gets its connections through it */
    bool ended;
    restate_status status;                  /* it ended with */
};

static void restate__loop_sweep_soon(restate__loop *loop) {
    restate__h2_due(&loop->env, loop->env.now_ms + RESTATE__LOOP_SWEEP_MS);
}

static bool restate__conn_over(const restate__conn *conn) {
    return conn->state >= RESTATE__CONN_CLOSING;
}

static void restate__conn_kill(restate__conn *conn, const char *why) {
    if (!conn->why) conn->why = why;
    conn->state = RESTATE__CONN_DEAD;
    restate__h2_touch(&conn->h2);
}

/* Ends the session and, once all is written, the connection. */
static void restate__conn_finish(restate__conn *conn, const char *why) {
    restate__h2_close(&conn->h2);
    conn->state = RESTATE__CONN_CLOSING;
    conn->why = why;
    conn->deadline_ms = conn->loop->env.now_ms + RESTATE__LOOP_LINGER_MS;
    restate__loop_sweep_soon(conn->loop);
    restate__h2_touch(&conn->h2);
}

/* Writes down who the peer is, while the socket still knows. */
static void restate__conn_name(restate__conn *conn) {
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    char host[48], port[8];
    if (*conn->peer) return;
    if (getpeername(conn->source.fd, (struct sockaddr *)&peer, &len) ||
        getnameinfo((struct sockaddr *)&peer, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(conn->peer, sizeof conn->peer, "?");
    else
        snprintf(conn->peer, sizeof conn->peer, "%s port %s", host, port);
}

/* WARN: what its peer did wrong. INFO: where it stands, if that is to be logged. */
static void restate__conn_log(restate__conn *conn, restate_log_level level, const char *what) {
    restate_endpoint *ep = conn->loop->server->endpoint;
    bool wrong = level == RESTATE_LOG_WARN;
    if (!wrong && ep->options.log_connections != RESTATE_ON) return;
    if (!restate__ep_may_log(ep, wrong ? RESTATE__LIMIT_PEER : RESTATE__LIMIT_CONNECTION)) return;
    restate__conn_name(conn);
    restate__log(&ep->logger, level, "connection from %s: %s", conn->peer, what);
}

/* ---- Before there is a session: HTTP/1, TLS, or neither -------------------------------------- */

/* Whether a line of HTTP/1 asks for the health of the endpoint. `*head`: by HEAD. */
static bool restate__conn_probes_health(const restate__conn_hello *hello, bool *head) {
    char line[RESTATE__LOOP_HELLO];
    restate_bytes service, handler;
    memcpy(line, hello->text, sizeof line);
    char *path = strchr(line, ' '), *version = path ? strchr(path + 1, ' ') : NULL;
    if (!version || strncmp(version, " HTTP/1.", 8) != 0) return false;
    *path++ = *version = 0;
    *head = strcmp(line, "HEAD") == 0;
    return (*head || strcmp(line, "GET") == 0) &&
           restate__ep_route(path, &service, &handler) == RESTATE__ROUTE_HEALTH;
}

/* The head of a request in HTTP/1 is there, or as much of it as is waited for: 200 to probes of the
 * health, 505 to all others. */
static void restate__conn_respond_http1(restate__conn *conn) {
    static const char refusal[] =
        "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\n"
        "connection: close\r\ncontent-length: 73\r\n\r\n"
        "This endpoint speaks HTTP/2 with prior knowledge (h2c), without upgrade.\n";
    static const char health[] =
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-restate-server: " RESTATE__SERVER_NAME
        "\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    bool head = false;
    char what[RESTATE__LOOP_HELLO + 200];
    if (conn->hello.line_over && restate__conn_probes_health(&conn->hello, &head)) {
        restate__buf_write(&conn->pending, health, sizeof health - (head ? 3 : 1));
        restate__conn_finish(conn, "it asked for the health in HTTP/1");
        return;
    }
    snprintf(what, sizeof what,
             "refused \"%.100s\" with 505: this endpoint speaks HTTP/2 with prior knowledge (h2c), "
             "register it without --use-http1.1", conn->hello.text);
    restate__conn_log(conn, RESTATE_LOG_WARN, what);
    restate__buf_write(&conn->pending, refusal, sizeof refusal - 1);
    restate__conn_finish(conn, "it speaks HTTP/1");
}

/* Reads on in the head of a request in HTTP/1. Only of what may be a probe all of it is awaited. */
static void restate__conn_read_http1(restate__conn *conn, restate_bytes in) {
    restate__conn_hello *hello = &conn->hello;
    const uint8_t *p = in.ptr, *end = in.ptr + in.len;
    for (; p < end && !restate__conn_over(conn); p++) {
        bool line_end = *p == '\n';
        if (!hello->line_over && !line_end && hello->len < RESTATE__LOOP_HELLO - 1)
            hello->text[hello->len++] = (char)*p;
        hello->text[hello->len] = 0;
        size_t n = hello->len < 4 ? hello->len : 4;
        bool may_probe = !memcmp(hello->text, "GET ", n) || !memcmp(hello->text, "HEAD", n);
        if (!may_probe || (line_end && hello->blank) || ++hello->head_len > RESTATE__LOOP_HEAD)
            restate__conn_respond_http1(conn);
        hello->line_over = hello->line_over || line_end;
        hello->blank = line_end || (hello->blank && *p == '\r');
    }
}

/* What is not the preface of HTTP/2 is HTTP/1, TLS or something else; this is known from one byte,
 * and a person may wait for an answer. */
static void restate__conn_not_http2(restate__conn *conn, restate_bytes in) {
    uint8_t first = conn->hello.len ? (uint8_t)conn->hello.text[0] : in.ptr[0];
    if (first >= 'A' && first <= 'Z') {
        conn->state = RESTATE__CONN_HTTP1;
        restate__conn_read_http1(conn, in);
        return;
    }
    if (first == 0x16)
        restate__conn_log(conn, RESTATE_LOG_WARN,
                          "it begins TLS, which this port does not speak: register the deployment "
                          "as http://, or let a proxy in front of it end TLS");
    restate__conn_kill(conn, first == 0x16 ? "it speaks TLS" : "it does not speak HTTP/2");
}

/* Takes bytes until the preface of HTTP/2 is complete, and gives what comes behind it. */
static restate_bytes restate__conn_read_preface(restate__conn *conn, restate_bytes in) {
    static const char preface[] = NGHTTP2_CLIENT_MAGIC;
    const size_t whole = sizeof preface - 1;
    restate__conn_hello *hello = &conn->hello;
    while (in.len && hello->len < whole && *in.ptr == (uint8_t)preface[hello->len]) {
        hello->text[hello->len++] = (char)*in.ptr++;
        in.len--;
    }
    if (hello->len < whole) {
        if (in.len) restate__conn_not_http2(conn, in);
        return in;
    }
    conn->state = RESTATE__CONN_OPEN;
    if (!restate__h2_open(&conn->h2) ||
        restate__h2_feed(&conn->h2, restate__b(preface, whole)))
        restate__conn_kill(conn, "out of memory");
    return in;
}

static void restate__conn_read(restate__conn *conn, restate_bytes in) {
    if (conn->state == RESTATE__CONN_HTTP1) restate__conn_read_http1(conn, in);
    if (conn->state == RESTATE__CONN_HELLO) in = restate__conn_read_preface(conn, in);
    if (conn->state != RESTATE__CONN_OPEN || !in.len) return;
    int error = restate__h2_feed(&conn->h2, in);
    if (error) restate__conn_kill(conn, nghttp2_strerror(error));
}

/* ---- Bytes of connections -------------------------------------------------------------------- */

static void restate__conn_receive(restate__conn *conn) {
    restate__loop *loop = conn->loop;
    for (int i = 0; i < RESTATE__LOOP_ROUNDS && conn->state != RESTATE__CONN_DEAD; i++) {
        ssize_t n = recv(conn->source.fd, loop->in, RESTATE__LOOP_IN, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) {
            restate__conn_kill(conn, n ? "connection lost" : "closed by the peer");
            return;
        }
        conn->heard_ms = loop->env.now_ms;
        conn->asked_ms = 0;
        restate__conn_read(conn, restate__b(loop->in, (size_t)n));
        if (n < RESTATE__LOOP_IN) return;
    }
}

static void restate__conn_on_ready(void *owner) {
    restate__conn *conn = owner;
    if (conn->source.out) restate__h2_touch(&conn->h2);
    if (conn->source.in) restate__conn_receive(conn);
}

/* How many bytes of the pieces the socket took; fewer: it blocks, or the connection is dead. */
static size_t restate__conn_send(restate__conn *conn, const restate_bytes *pieces, size_t count) {
    struct iovec parts[RESTATE__LOOP_PIECES];
    struct msghdr message = { .msg_iov = parts };
    for (; count; count--, pieces++) {
        union { const uint8_t *from; void *to; } base = { .from = pieces->ptr };    /* only read */
        parts[message.msg_iovlen++] = (struct iovec){ .iov_base = base.to, .iov_len = pieces->len };
    }
    ssize_t n = 0;
    if (message.msg_iovlen)
        do n = sendmsg(conn->source.fd, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        restate__conn_kill(conn, "connection lost");
    return n < 0 ? 0 : (size_t)n;
}

/* Sends what was left over. True: nothing is left. */
static bool restate__conn_push(restate__conn *conn) {
    while (conn->pending.len && conn->state != RESTATE__CONN_DEAD) {
        restate_bytes piece = restate__buf_peek(&conn->pending);
        size_t n = restate__conn_send(conn, &piece, 1);
        if (n) restate__buf_drop(&conn->pending, n);
        if (n) conn->sent_ms = conn->loop->env.now_ms;
        if (n < piece.len) return false;
    }
    return conn->state != RESTATE__CONN_DEAD;
}

/* Sends the pieces. What the socket does not take is kept in one chunk, for it is sent chunk by
 * chunk, and it is timed how long that lasts. */
static void restate__conn_send_or_keep(restate__conn *conn, const restate__h2_out *out) {
    restate__h2_env *env = &conn->loop->env;
    size_t sent = restate__conn_send(conn, out->pieces, out->count), left = out->len - sent;
    if (!left || conn->state == RESTATE__CONN_DEAD) return;
    conn->sent_ms = env->now_ms;
    restate__h2_due(env, restate__h2_at(env->now_ms, env->endpoint->options.send_timeout_ms));
    if (!restate__buf_append(&conn->pending, left)) restate__conn_kill(conn, "out of memory");
    for (size_t i = 0; i < out->count && conn->state != RESTATE__CONN_DEAD; i++) {
        restate_bytes piece = out->pieces[i];
        size_t n = sent < piece.len ? sent : piece.len;
        sent -= n;
        restate__buf_write(&conn->pending, piece.ptr + n, piece.len - n);
    }
}

/* Sends what the session gives, in one call as a rule. */
static void restate__conn_write(restate__conn *conn) {
    restate__loop *loop = conn->loop;
    for (int i = 0; restate__conn_push(conn) && conn->state == RESTATE__CONN_OPEN; i++) {
        restate_bytes pieces[RESTATE__LOOP_PIECES];
        restate__h2_out out = { loop->out, loop->out, 0, RESTATE__LOOP_OUT,
                                pieces, 0, RESTATE__LOOP_PIECES };
        if (i == RESTATE__LOOP_ROUNDS) {
            restate__h2_touch(&conn->h2);   /* the others' turn */
            return;
        }
        restate__h2_take(&conn->h2, &out);
        if (conn->h2.failed) restate__conn_kill(conn, "out of memory");
        restate__conn_send_or_keep(conn, &out);
        restate__h2_end_take(&conn->h2);
        if (!conn->h2.full) return;
    }
}

/* ---- The channel between a worker process and its supervisor ----
 *
 * A Unix stream socket, so that each notices when the other is gone. Every message is one byte;
 * with _TAKE and _BACK comes the descriptor of a connection. */
enum {
    RESTATE__CHANNEL_TAKE = 't',            /* to the worker */
    RESTATE__CHANNEL_DRAIN = 'd',
    RESTATE__CHANNEL_CUT = 'c',
    RESTATE__CHANNEL_LEFT = 'l',            /* to the supervisor: a connection is over */
    RESTATE__CHANNEL_BACK = 'b',            /* a connection that handlers keep it from taking */
    RESTATE__CHANNEL_STOPS = 's',           /* the worker drains; */
    RESTATE__CHANNEL_ENDS = 'e',            /* it is done, and ends itself; */
    RESTATE__CHANNEL_FAILS = 'f'            /* the same, but it could not serve */
};

/* A message, as the system takes and gives it. */
typedef struct restate__channel_message {
    struct msghdr head;
    struct iovec piece;
    uint8_t what;
    size_t control[(CMSG_SPACE(sizeof(int)) + sizeof(size_t) - 1) / sizeof(size_t)];
} restate__channel_message;

static void restate__channel_prepare(restate__channel_message *m, uint8_t what) {
    *m = (restate__channel_message){ .what = what };
    m->piece = (struct iovec){ .iov_base = &m->what, .iov_len = 1 };
    m->head.msg_iov = &m->piece;
    m->head.msg_iovlen = 1;
    m->head.msg_control = m->control;
    m->head.msg_controllen = CMSG_SPACE(sizeof(int));
}

/* Sends the byte, and of `fd`, unless it is -1, a copy. False: the socket is full, or nobody is
 * there. A byte alone may be lost so: then the other side has not read thousands. */
static bool restate__channel_send(int channel, uint8_t what, int fd) {
    restate__channel_message m;
    ssize_t n;
    restate__channel_prepare(&m, what);
    if (fd >= 0) {
        struct cmsghdr *c = CMSG_FIRSTHDR(&m.head);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    } else {
        m.head.msg_control = NULL;
        m.head.msg_controllen = 0;
    }
    do n = sendmsg(channel, &m.head, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

static void restate__channel_tell(int channel, uint8_t what) {
    if (channel >= 0) (void)restate__channel_send(channel, what, -1);
}

/* The next message: 0: none yet; -1: nobody is there any more. `*fd`: the connection that came, or
 * -1. */
static int restate__channel_next(int channel, int *fd) {
    restate__channel_message m;
    ssize_t n;
    restate__channel_prepare(&m, 0);
    *fd = -1;
    do n = recvmsg(channel, &m.head, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (n <= 0) return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m.head); c; c = CMSG_NXTHDR(&m.head, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return m.what;
}

/* ---- A turn of a connection, and what of it is timed ----------------------------------------- */

static void restate__conn_destroy(restate__conn *conn) {
    restate__loop *loop = conn->loop;
    restate__conn_log(conn, RESTATE_LOG_INFO, conn->why ? conn->why : "closed");
    restate__poll_close(&loop->poll, &conn->source);
    restate__h2_close(&conn->h2);
    restate__buf_free(&conn->pending);
    *conn->link = conn->next;
    if (conn->next) conn->next->link = conn->link;
    RESTATE__SUB(&loop->conn_count, 1u, RELEASE);
    restate__channel_tell(loop->server->channel.fd, RESTATE__CHANNEL_LEFT);
    restate__mem_free(&loop->server->endpoint->allocator, conn, sizeof *conn);
}

/* Where a connection stands after its turn. */
static void restate__conn_settle(restate__conn *conn) {
    bool empty = !conn->pending.len;
    if (!restate__conn_over(conn) && !conn->h2.touched && empty && restate__h2_over(&conn->h2))
        restate__conn_finish(conn, "done");
    if (conn->state == RESTATE__CONN_CLOSING && empty) {
        conn->state = RESTATE__CONN_SHUT;
        shutdown(conn->source.fd, SHUT_WR);
    }
    if (conn->loop->phase == RESTATE__PHASE_CUT)
        restate__conn_kill(conn, "cut by the stop");
    else if (!restate__poll_watch(&conn->loop->poll, &conn->source, !empty))
        restate__conn_kill(conn, "out of memory");
}

static void restate__conn_flush(restate__conn *conn) {
    if (conn->state != RESTATE__CONN_DEAD) restate__conn_write(conn);
    if (conn->state != RESTATE__CONN_DEAD) restate__conn_settle(conn);
    if (conn->state == RESTATE__CONN_DEAD && !conn->h2.touched) restate__conn_destroy(conn);
}

/* Gives every touched connection its turn; what is touched meanwhile waits for the next call. */
static void restate__loop_flush(restate__loop *loop) {
    restate__h2 *h2 = loop->env.touched;
    loop->env.touched = NULL;
    loop->env.touched_tail = &loop->env.touched;
    while (h2) {
        restate__h2 *next = h2->next_touched;
        h2->touched = false;
        restate__conn_flush((restate__conn *)(void *)h2);
        h2 = next;
    }
}

/* Makes the connection the loop's own. */
static void restate__loop_adopt(restate__loop *loop, restate__conn *conn) {
    const restate_endpoint_options *o = &loop->server->endpoint->options;
    const restate_allocator *a = &loop->server->endpoint->allocator;
    if (!loop->in) loop->in = restate__mem_alloc(a, RESTATE__LOOP_IN);
    if (!loop->out) loop->out = restate__mem_alloc(a, RESTATE__LOOP_OUT);
    conn->next = loop->conns;
    conn->link = &loop->conns;
    if (conn->next) conn->next->link = &conn->next;
    loop->conns = conn;
    restate__buf_init(&conn->pending, &loop->worker.cache);
    restate__h2_init(&conn->h2, &loop->env);
    conn->born_ms = conn->heard_ms = loop->env.now_ms;
    restate__h2_due(&loop->env, restate__h2_at(conn->born_ms, o->request_timeout_ms));
    if (o->peer_timeout_ms != RESTATE_ZERO_MS)
        restate__h2_due(&loop->env, restate__h2_at(conn->born_ms, o->peer_timeout_ms / 2));
    if (o->log_connections == RESTATE_ON) restate__conn_name(conn);
    restate__conn_log(conn, RESTATE_LOG_INFO, "accepted");
    if (!loop->in || !loop->out || !restate__poll_watch(&loop->poll, &conn->source, false))
        restate__conn_kill(conn, "out of memory");
    else if (loop->phase != RESTATE__PHASE_SERVING)
        restate__conn_finish(conn, "it came while stopping");
}

/* Adds a connection to the loop's arrivals: see (1). */
static void restate__loop_offer(restate__loop *loop, restate__conn *conn) {
    RESTATE__ADD(&loop->conn_count, 1u, RELAXED);
    conn->loop = loop;
    conn->next = RESTATE__LOAD(&loop->arrivals, RELAXED);
    while (!RESTATE__CAS(&loop->arrivals, &conn->next, conn)) continue;
}

/* Takes all of them. */
static restate__conn *restate__loop_take_offers(restate__loop *loop) {
    if (!RESTATE__LOAD(&loop->arrivals, SEQ_CST)) return NULL;
    return RESTATE__EXCHANGE(pointer, &loop->arrivals, (restate__conn *)NULL, SEQ_CST);
}

/* Whether a peer is still there: one that is silent is asked, and one that does not answer is gone.
 * NULL: nothing is wrong. */
static const char *restate__conn_ping(restate__conn *conn) {
    restate__h2_env *env = &conn->loop->env;
    uint64_t timeout = env->endpoint->options.peer_timeout_ms;
    if (timeout == RESTATE_ZERO_MS) return NULL;
    if (!conn->asked_ms && restate__h2_past(env, restate__h2_at(conn->heard_ms, timeout / 2))) {
        conn->asked_ms = env->now_ms;
        restate__h2_ask(&conn->h2);
    }
    return conn->asked_ms &&
           restate__h2_past(env, restate__h2_at(conn->asked_ms, timeout - timeout / 2))
        ? "it is silent and does not answer (peer_timeout_ms)" : NULL;
}

/* Looks at the times of a connection. NULL: all is well; else why it is ended. */
static const char *restate__conn_look(restate__conn *conn) {
    restate__h2_env *env = &conn->loop->env;
    const restate_endpoint_options *o = &env->endpoint->options;
    if (conn->pending.len &&
        restate__h2_past(env, restate__h2_at(conn->sent_ms, o->send_timeout_ms)))
        return "it takes nothing of what it is sent (send_timeout_ms)";
    if (!conn->h2.begun &&
        restate__h2_past(env, restate__h2_at(conn->born_ms, o->request_timeout_ms)))
        return "it did not begin to speak HTTP/2 (request_timeout_ms)";
    if (conn->state != RESTATE__CONN_OPEN) return NULL;
    const char *wrong = restate__h2_look(&conn->h2);
    return wrong ? wrong : restate__conn_ping(conn);
}

static void restate__conn_sweep(restate__conn *conn) {
    if (conn->state == RESTATE__CONN_DEAD) return;
    if (restate__conn_over(conn)) {
        if (conn->loop->env.now_ms >= conn->deadline_ms) restate__conn_kill(conn, conn->why);
        else restate__loop_sweep_soon(conn->loop);
        return;
    }
    if (conn->h2.draining) restate__h2_sweep(&conn->h2);
    const char *wrong = restate__conn_look(conn);
    if (!wrong) return;
    restate__conn_log(conn, RESTATE_LOG_WARN, wrong);
    restate__conn_kill(conn, wrong);
}

/* ---- Memory after a flood ----
 *
 * Chunks, stacks and blocks are kept for reuse, and malloc keeps what is freed. When there was much
 * to do and little since, for a while, all of that goes back to the system. A steady load never
 * gets here, and one that begins anew pays for its memory once. */

/* Adds what there was since the last time to what there was since memory was given back. */
static void restate__loop_note(restate__loop *loop) {
    restate__worker *w = &loop->worker;
    unsigned conns = RESTATE__LOAD(&loop->conn_count, RELAXED);
    if (conns > loop->trim.conns) loop->trim.conns = conns;
    if (w->exchanges_most > loop->trim.exchanges) loop->trim.exchanges = w->exchanges_most;
    w->exchanges_most = w->exchanges;
    loop->trim.freed += w->cache.freed_bytes;
    w->cache.freed_bytes = 0;
}

/* If there was so much that giving memory back is worth it, and is no more, has the loop look some
 * time from now whether it stayed so. */
static void restate__loop_trim_later(restate__loop *loop) {
    if (loop->trim.at_ms != RESTATE__SRV_NEVER) return;
    restate__loop_note(loop);
    unsigned conns = RESTATE__LOAD(&loop->conn_count, RELAXED), most_conns = loop->trim.conns;
    size_t most = loop->trim.exchanges;
    if ((most < RESTATE__LOOP_TRIM_MANY || loop->worker.exchanges > most / 4) &&
        (most_conns < RESTATE__LOOP_TRIM_MANY || conns > most_conns / 4) &&
        loop->trim.freed < RESTATE__LOOP_TRIM_BYTES)
        return;
    loop->trim.at_ms = loop->env.now_ms + RESTATE__LOOP_TRIM_MS;
    restate__h2_due(&loop->env, loop->trim.at_ms);
}

static void restate__loop_trim(restate__loop *loop) {
    restate__worker *w = &loop->worker;
    size_t few = loop->trim.exchanges / 4;
    if (few < RESTATE__LOOP_TRIM_MANY / 4) few = RESTATE__LOOP_TRIM_MANY / 4;
    bool calm = w->exchanges_most <= few && w->cache.freed_bytes < RESTATE__LOOP_TRIM_BYTES / 4;
    restate__loop_note(loop);
    loop->trim.at_ms = RESTATE__SRV_NEVER;
    if (!calm) return;
    restate__worker_trim(w);
    restate__mem_trim(w->allocator);
    loop->trim.exchanges = w->exchanges;
    loop->trim.conns = RESTATE__LOAD(&loop->conn_count, RELAXED);
    loop->trim.freed = 0;
}

/* ---- Loops ----------------------------------------------------------------------------------- */

/* Makes the next turn come soon: see (2). Everything between two turns counts as sleep, for a host
 * may be waiting. */
static void restate__loop_wake(void *user) {
    restate__loop *loop = user;
    if (RESTATE__EXCHANGE(bool, &loop->asleep, false, SEQ_CST))
        restate__poll_signal(loop->poll.wake_fd);
}

/* A look that comes late is put off a little, for the loop was held up, and what it looks for may
 * lie in the sockets. Not for ever: a loop may be held up all the time. */
static bool restate__loop_late(restate__loop *loop) {
    restate__h2_env *env = &loop->env;
    bool late = loop->phase == RESTATE__PHASE_SERVING && loop->lates < RESTATE__LOOP_LATES &&
                env->now_ms - env->due_ms > RESTATE__LOOP_LATE_MS;
    loop->lates = late ? loop->lates + 1 : 0;
    if (late) env->due_ms = env->now_ms + RESTATE__LOOP_SWEEP_MS;
    return late;
}

/* Timed business of the connections, while there is any. */
static void restate__loop_sweep(restate__loop *loop) {
    loop->env.due_ms = RESTATE__SRV_NEVER;
    if (restate__h2_past(&loop->env, loop->trim.at_ms)) restate__loop_trim(loop);
    restate__ep_left_out(loop->server->endpoint, loop->env.now_ms, false);
    if (loop->phase != RESTATE__PHASE_SERVING) restate__loop_sweep_soon(loop);
    for (restate__conn *conn = loop->conns; conn; conn = conn->next) restate__conn_sweep(conn);
}

/* Follows the server into another phase. */
static void restate__loop_enter(restate__loop *loop, unsigned phase) {
    loop->phase = phase;
    for (restate__conn *conn = loop->conns; conn; conn = conn->next) {
        if (restate__conn_over(conn)) restate__h2_touch(&conn->h2);
        else if (conn->state != RESTATE__CONN_OPEN) restate__conn_finish(conn, "stopping");
        else if (phase == RESTATE__PHASE_DRAINING) restate__h2_drain(&conn->h2);
        else restate__h2_cut(&conn->h2);
    }
    loop->env.due_ms = 0;
}

/* When the loop has to do something that is timed. */
static uint64_t restate__loop_next_ms(const restate__loop *loop) {
    const restate__server *server = loop->server;
    uint64_t accepts_ms = loop == server->boss ? server->listener.paused_until_ms : 0;
    return accepts_ms && accepts_ms < loop->env.due_ms ? accepts_ms : loop->env.due_ms;
}

/* How long to wait for a time of the endpoint's clock, or to look at it again. */
static uint64_t restate__loop_left_ms(const restate__loop *loop, uint64_t at) {
    const restate_clock *clock = &loop->server->endpoint->options.clock;
    uint64_t now = restate__clock_ms(clock), left = at > now ? at - now : 0;
    bool far_ = left > RESTATE__LOOP_LOOK_MS && !restate__clock_is_system(clock);
    return far_ ? RESTATE__LOOP_LOOK_MS : left;
}

static int restate__loop_timeout(const restate__loop *loop, uint64_t wait_ms) {
    uint64_t at = restate__loop_next_ms(loop);
    if (loop->busy || wait_ms == 0) return 0;
    if (at != RESTATE__SRV_NEVER) {
        uint64_t left = restate__loop_left_ms(loop, at);
        if (left < wait_ms) wait_ms = left;
    }
    return wait_ms == UINT64_MAX ? -1 : wait_ms > 3600000 ? 3600000 : (int)wait_ms;
}

/* After a stop: whether the loop has nothing left to do, or waited long enough for those who
 * have. */
static bool restate__loop_done(const restate__loop *loop) {
    restate__server *server = loop->server;
    if (loop->conns || loop->busy) return false;
    return !loop->worker.exchanges ||
           (loop->phase == RESTATE__PHASE_CUT &&
            restate__clock_ms(&server->endpoint->options.clock) >= server->phase_until_ms);
}

static void restate__srv_watch(restate__server *server);

/* One turn: waits, receives, lets handlers run, sends. False: the loop is over. */
static bool restate__loop_turn(restate__loop *loop, uint64_t wait_ms) {
    restate__server *server = loop->server;
    restate__poll_wait(&loop->poll, &loop->env, restate__loop_timeout(loop, wait_ms));
    RESTATE__STORE(&loop->asleep, false, SEQ_CST);
    if (loop == server->boss) restate__srv_watch(server);
    unsigned phase = RESTATE__LOAD(&server->phase, ACQUIRE);
    if (phase != loop->phase) restate__loop_enter(loop, phase);
    for (restate__conn *conn = restate__loop_take_offers(loop), *next; conn; conn = next) {
        next = conn->next;                  /* no more come once the phase is another one */
        restate__loop_adopt(loop, conn);
    }
    if (loop->env.now_ms >= loop->env.due_ms && !restate__loop_late(loop))
        restate__loop_sweep(loop);
    int rounds = 0;
    for (; rounds < RESTATE__LOOP_ROUNDS; rounds++) {
        loop->busy = restate__worker_turn(&loop->worker);
        if (!loop->env.touched) break;
        restate__loop_flush(loop);          /* and back: handlers may have waited for room */
    }
    if (RESTATE__LOAD(&server->endpoint->left_out, RELAXED))
        restate__h2_due(&loop->env, restate__log_window_end(loop->env.now_ms));
    if (loop->worker.watched)
        restate__h2_due(&loop->env, restate__watch_all(&loop->worker, loop->env.now_ms));
    restate__loop_trim_later(loop);
    RESTATE__STORE(&loop->asleep, true, SEQ_CST);
    if (rounds == RESTATE__LOOP_ROUNDS || restate__worker_waits(&loop->worker) ||
        RESTATE__LOAD(&loop->arrivals, SEQ_CST))
        loop->busy = true;
    return phase == RESTATE__PHASE_SERVING || !restate__loop_done(loop);
}

#if !defined(RESTATE_NO_THREADS)
static void *restate__loop_main(void *arg) {
    restate__loop *loop = arg;
    while (restate__loop_turn(loop, UINT64_MAX)) {}
    RESTATE__STORE(&loop->over, true, RELEASE);
    restate__poll_signal(loop->server->control.poll.wake_fd);
    return NULL;
}
#endif

/* False: errno says why; it is to be freed then, too. */
static bool restate__loop_init(restate__loop *loop, restate__server *server) {
    restate_endpoint *ep = server->endpoint;
    loop->server = server;
    loop->armed_ms = loop->trim.at_ms = RESTATE__SRV_NEVER;
    loop->timer = restate__poll_source_of(-1, restate__poll_on_wake, &loop->timer);
    loop->asleep = true;
    restate__worker_init(&loop->worker, &ep->allocator, RESTATE__SRV_CACHE_BYTES,
                         RESTATE__SRV_FIBERS);
    loop->worker.wake = restate__loop_wake;
    loop->worker.wake_user = loop;
    restate__h2_env_init(&loop->env, ep, &loop->worker);
    return restate__poll_init(&loop->poll, &ep->allocator);
}

static void restate__loop_free(restate__loop *loop) {
    const restate_allocator *a = &loop->server->endpoint->allocator;
    restate__worker_free(&loop->worker);
    restate__mem_free(a, loop->in, RESTATE__LOOP_IN);
    restate__mem_free(a, loop->out, RESTATE__LOOP_OUT);
    restate__poll_close_fd(&loop->timer.fd);
    restate__poll_free(&loop->poll);
}

/* ---- Connections come ------------------------------------------------------------------------ */

/* Advances the phase of the server, and makes all loops follow: see (3). */
static void restate__srv_enter(restate__server *server, unsigned phase) {
    RESTATE__STORE(&server->phase, phase, RELEASE);
    for (unsigned i = 0; i < server->loop_count; i++)
        restate__poll_signal(server->loops[i].poll.wake_fd);
}

static void restate__srv_unlisten(restate__server *server) {
    restate__poll_close(&server->boss->poll, &server->listener.source);
    server->listener.paused_until_ms = 0;
}

/* Once a turn of the boss: stops, phases that end, accepting that goes on. */
static void restate__srv_watch(restate__server *server) {
    const restate_endpoint *ep = server->endpoint;
    restate__srv_listener *listener = &server->listener;
    uint64_t now = server->boss->env.now_ms;
    unsigned stops = RESTATE__LOAD(&ep->stops, SEQ_CST);
    if (listener->paused_until_ms && now >= listener->paused_until_ms)
        listener->paused_until_ms =
            restate__poll_watch(&server->boss->poll, &listener->source, false)
            ? 0 : now + RESTATE__SRV_ACCEPT_PAUSE_MS;
    if (stops && server->phase == RESTATE__PHASE_SERVING) {
        uint64_t drain = ep->options.drain_ms == RESTATE_ZERO_MS ? 0 : ep->options.drain_ms;
        restate__srv_unlisten(server);
        restate__channel_tell(server->channel.fd, RESTATE__CHANNEL_STOPS);
        server->phase_until_ms = restate__h2_at(now, drain);
        restate__srv_enter(server, RESTATE__PHASE_DRAINING);
    }
    if (server->phase == RESTATE__PHASE_DRAINING && (stops > 1 || now >= server->phase_until_ms)) {
        server->phase_until_ms = now + RESTATE__GRACE_MS;
        restate__srv_enter(server, RESTATE__PHASE_CUT);
    }
}

/* Whether somebody holds the loop, so that it does not get to what arrives. */
static bool restate__srv_held(const restate__server *server, const restate__loop *loop) {
    restate__duty duty;
    return server->boss != loop && restate__duty_read(&loop->worker.duty, &duty,
                                                      server->boss->env.now_ms,
                                                      RESTATE__SRV_HELD_MS);
}

/* The loop with the fewest connections, of those that nobody holds; if all are held, of all. Equal
 * ones take turns. */
static restate__loop *restate__srv_pick(restate__server *server) {
    unsigned best = 0, fewest = UINT_MAX;
    bool best_held = true;
    for (unsigned i = 0; i < server->loop_count; i++) {
        unsigned at = (server->next_loop + i) % server->loop_count;
        unsigned n = RESTATE__LOAD(&server->loops[at].conn_count, RELAXED);
        bool held = restate__srv_held(server, &server->loops[at]);
        if (held ? best_held && n < fewest : best_held || n < fewest)
            best = at, fewest = n, best_held = held;
    }
    server->next_loop = (best + 1) % server->loop_count;
    return &server->loops[best];
}

/* Gives the connection to a loop. */
static void restate__srv_assign(restate__server *server, restate__conn *conn) {
    restate__loop *loop = restate__srv_pick(server);
    restate__loop_offer(loop, conn);
    if (server->boss != loop) restate__loop_wake(loop);
}

/* Takes back what arrived at a loop that does not get to it. */
static restate__conn *restate__srv_recall(restate__loop *loop) {
    restate__conn *all = restate__loop_take_offers(loop);
    for (const restate__conn *conn = all; conn; conn = conn->next)
        RESTATE__SUB(&loop->conn_count, 1u, RELAXED);
    return all;
}

/* Closes a connection that no loop has. */
static void restate__srv_discard(restate__server *server, restate__conn *conn) {
    close(conn->source.fd);
    restate__mem_free(&server->endpoint->allocator, conn, sizeof *conn);
}

static unsigned restate__srv_conns(const restate__server *server) {
    unsigned n = 0;
    for (unsigned i = 0; i < server->loop_count; i++)
        n += RESTATE__LOAD(&server->loops[i].conn_count, ACQUIRE);
    return n;
}

/* Whether there are as many connections as there may be. */
static bool restate__srv_full(restate__server *server) {
    restate_endpoint *ep = server->endpoint;
    if (restate__srv_conns(server) < ep->options.max_connections) return false;
    if (restate__ep_may_log(ep, RESTATE__LIMIT_PEER))
        restate__log(&ep->logger, RESTATE_LOG_WARN,
                     "a connection was closed at once: there are max_connections (%u)",
                     (unsigned)ep->options.max_connections);
    return true;
}

/* Where MSG_NOSIGNAL is not to be had. */
static void restate__srv_no_sigpipe(int fd) {
#if defined(SO_NOSIGPIPE)
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#else
    (void)fd;
#endif
}

/* A peer that does not confirm what it was sent is gone as one that does not answer. */
static void restate__srv_set_timeout(int fd, uint64_t timeout_ms) {
#if defined(TCP_USER_TIMEOUT)
    unsigned ms = timeout_ms > INT_MAX ? 0u : (unsigned)timeout_ms;
    if (ms) (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
#else
    (void)fd;
    (void)timeout_ms;
#endif
}

/* Gives a connection that was accepted to a loop. False: it could not be kept, and is closed. */
static bool restate__srv_take(restate__server *server, int fd) {
    const restate_endpoint *ep = server->endpoint;
    bool fits = !restate__srv_full(server) && restate__poll_set_flags(fd);
    restate__conn *conn = fits ? restate__mem_zalloc(&ep->allocator, sizeof *conn) : NULL;
    int on = 1;
    if (!conn) {
        close(fd);
        return false;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    restate__srv_no_sigpipe(fd);
    restate__srv_set_timeout(fd, ep->options.peer_timeout_ms);
    conn->source = restate__poll_source_of(fd, restate__conn_on_ready, conn);
    restate__srv_assign(server, conn);
    return true;
}

/* A connection that waits; -1: none does, or none can be had for a while. */
static int restate__srv_accept(restate__srv_listener *listener, restate__poll *where,
                               const restate__logger *logger, uint64_t now) {
    int fd;
    do fd = accept(listener->source.fd, NULL, NULL);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd >= 0 || (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM))
        return fd;
    restate__poll_forget(where, &listener->source);
    listener->paused_until_ms = now + RESTATE__SRV_ACCEPT_PAUSE_MS;
    if (!listener->warned_at_ms || now - listener->warned_at_ms >= RESTATE__SRV_WARN_MS) {
        listener->warned_at_ms = now;
        restate__log(logger, RESTATE_LOG_WARN,
                     "cannot accept a connection: %s; trying again every %d ms", strerror(errno),
                     (int)RESTATE__SRV_ACCEPT_PAUSE_MS);
    }
    return -1;
}

static void restate__srv_on_listener(void *owner) {
    restate__server *server = owner;
    restate__loop *boss = server->boss;
    for (int i = 0; i < RESTATE__SRV_BATCH; i++) {
        int fd = restate__srv_accept(&server->listener, &boss->poll, &server->endpoint->logger,
                                     boss->env.now_ms);
        if (fd < 0) return;
        (void)restate__srv_take(server, fd);
    }
}

/* A stop that counts once, whoever asks for it: a signal that was sent to all processes of a group,
 * and the supervisor, which got it, too. */
static void restate__srv_drain(restate_endpoint *ep) {
    if (!RESTATE__EXCHANGE(bool, &ep->drains, true, SEQ_CST)) restate_endpoint_stop(ep);
}

/* In a worker. Without a supervisor it stops, for nobody gives it connections. */
static void restate__srv_on_channel(void *owner) {
    restate__server *server = owner;
    int what = 0, fd;
    for (int i = 0; i < RESTATE__SRV_BATCH && what >= 0; i++) {
        what = restate__channel_next(server->channel.fd, &fd);
        if (what == 0) return;
        if (what != RESTATE__CHANNEL_TAKE) restate__srv_drain(server->endpoint);
        else if (fd >= 0 && !restate__srv_take(server, fd))
            restate__channel_tell(server->channel.fd, RESTATE__CHANNEL_LEFT);
        if (what == RESTATE__CHANNEL_CUT) restate_endpoint_stop(server->endpoint);
    }
    if (what < 0) restate__poll_forget(&server->boss->poll, &server->channel);
}

/* ---- Listening ------------------------------------------------------------------------------- */

/* A listening socket for one address; -1: none, errno says why. */
static int restate__srv_socket(const struct addrinfo *at) {
    int on = 1, off = 0, fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
    if (fd < 0) return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (restate__poll_set_flags(fd) && bind(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        listen(fd, SOMAXCONN) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Makes the listening socket for a numeric address. Returns 0, or what was wrong. */
static int restate__srv_bind(int *fd, const char *host, unsigned port) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_PASSIVE | AI_NUMERICSERV }, *at;
    char text[8];
    snprintf(text, sizeof text, "%u", port);
    if (getaddrinfo(host, text, &hints, &at)) return EINVAL;
    *fd = restate__srv_socket(at);
    int error = *fd < 0 ? errno : 0;
    freeaddrinfo(at);
    return error;
}

#define RESTATE__SRV_NAME_BYTES (INET6_ADDRSTRLEN + 32)     /* with a zone, brackets and a port */

/* "host:port", or "[host]:port". */
static const char *restate__srv_join_name(char *name, const char *host, unsigned port) {
    snprintf(name, RESTATE__SRV_NAME_BYTES, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    return name;
}

/* Which port a socket listens on, and which address, which the options may have written in another
 * way ("::0", "127.1"). */
static uint16_t restate__srv_name(int fd, char *host, size_t size) {
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } at;
    socklen_t len = sizeof at;
    memset(&at, 0, sizeof at);
    if (getsockname(fd, &at.any, &len)) return 0;
    (void)getnameinfo(&at.any, len, host, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
    return ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
}

/* Logs where the endpoint listens, and the command that registers it. One that listens everywhere
 * is named as a server on this machine reaches it. */
static void restate__srv_log_where(const restate_endpoint *ep, const char *host, unsigned port,
                                    unsigned loops) {
    unsigned processes = ep->options.processes;
    bool everywhere = strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0;
    char name[RESTATE__SRV_NAME_BYTES], by[48] = "";
    if (processes > 1) snprintf(by, sizeof by, " in each of %u processes", processes);
    restate__log(&ep->logger, RESTATE_LOG_INFO, "listening on %s, event loops: %u%s%s",
                 restate__srv_join_name(name, host, port), loops, by,
                 ep->keys ? "" : "; anybody may invoke (no identity_keys)");
    restate__log(&ep->logger, RESTATE_LOG_INFO,
                 "register it once: restate deployments register http://%s%s",
                 restate__srv_join_name(name, everywhere ? "localhost" : host, port),
                 everywhere ? " (for a server in a container: host.docker.internal)" : "");
}

/* Makes the socket that listens on what the options say, and logs that: on every interface through
 * one IPv6 socket where there is IPv6. */
static restate_status restate__srv_open(restate_endpoint *ep, unsigned loops,
                                        restate__srv_listener *listener) {
    const char *host = ep->options.address ? ep->options.address : "::";
    unsigned port = ep->options.port == RESTATE_ANY_PORT ? 0u : ep->options.port;
    char name[RESTATE__SRV_NAME_BYTES];
    int error = restate__srv_bind(&listener->source.fd, host, port);
    if (error && !ep->options.address && error != EADDRINUSE && error != EACCES) {
        host = "0.0.0.0";
        error = restate__srv_bind(&listener->source.fd, host, port);
    }
    if (error == EINVAL)
        return restate__ep_error(ep, "cannot listen on \"%s\": it is not an IP address; set "
                                     ".address to one such as \"127.0.0.1\" or \"::1\"", host);
    if (error)
        return restate__ep_error(ep, "cannot listen on %s: %s; choose another %s",
                                 restate__srv_join_name(name, host, port), strerror(error),
                                 error == EADDRNOTAVAIL ? ".address" : ".port");
    snprintf(name, sizeof name, "%s", host);
    listener->port = restate__srv_name(listener->source.fd, name, sizeof name);
    restate__srv_log_where(ep, name, listener->port, loops);
    return RESTATE_OK;
}

static restate_status restate__srv_listen(restate__server *server) {
    restate_endpoint *ep = server->endpoint;
    restate__poll_source *source = &server->listener.source;
    if (ep->channel >= 0) {
        source = &server->channel;
        source->fd = ep->channel;
        server->listener.port = ep->channel_port;
    } else if (restate__srv_open(ep, server->loop_count, &server->listener) != RESTATE_OK) {
        return RESTATE_ERROR;
    }
    if (!restate__poll_watch(&server->boss->poll, source, false))
        return restate__ep_error(ep, "cannot listen: %s", strerror(errno));
    return RESTATE_OK;
}

/* ---- Watching who holds a loop: see (4) ------------------------------------------------------ */

#if !defined(RESTATE_NO_THREADS)

/* Warns of a handler that holds its loop for too long, and again after twice the time. */
static void restate__srv_look_at(restate__server *server, restate__loop *loop) {
    uint64_t now = server->boss->env.now_ms;
    restate__duty duty;
    char id[RESTATE__DUTY_ID_BYTES];
    if (!restate__duty_read(&loop->worker.duty, &duty, now, 0) ||
        duty.patience_ms == RESTATE__DUTY_NEVER)
        return;
    if (loop->warned.change != duty.change) {
        loop->warned.change = duty.change;
        loop->warned.after_ms = duty.patience_ms;
        loop->warned.at_ms = now - duty.held_ms + duty.patience_ms;
    }
    if (now >= loop->warned.at_ms) {
        restate__log_about(&server->endpoint->logger, RESTATE_LOG_WARN, duty.service, duty.handler,
                           restate__duty_id(&duty, id),
                           "the handler holds its event loop, for %lu ms so far, and %u "
                           "connections wait for it: block in restate_run(), or register it with "
                           ".options.blocking",
                           (unsigned long)duty.held_ms, RESTATE__LOAD(&loop->conn_count, RELAXED));
        if (loop->warned.after_ms < RESTATE__SRV_WARN_MS) loop->warned.after_ms *= 2;
        loop->warned.at_ms = now + loop->warned.after_ms;
    }
    restate__h2_due(&server->boss->env, loop->warned.at_ms);
}

/* What arrived at a loop that somebody holds goes to others, if there are any that nobody holds; if
 * there are none, back to the supervisor, for another worker. */
static void restate__srv_rehome(restate__server *server, restate__loop *loop) {
    if (!RESTATE__LOAD(&loop->arrivals, RELAXED)) return;
    restate__h2_due(&server->boss->env, server->boss->env.now_ms + RESTATE__SRV_HELD_MS);
    if (!restate__srv_held(server, loop)) return;
    bool all_held = restate__srv_held(server, restate__srv_pick(server));
    if (all_held && (server->channel.fd < 0 || server->phase != RESTATE__PHASE_SERVING)) return;
    for (restate__conn *conn = restate__srv_recall(loop), *next; conn; conn = next) {
        next = conn->next;
        if (all_held && restate__channel_send(server->channel.fd, RESTATE__CHANNEL_BACK,
                                              conn->source.fd))
            restate__srv_discard(server, conn);
        else
            restate__srv_assign(server, conn);
    }
}

/* Once a turn of the control thread. It sleeps for good while there are no connections. */
static void restate__srv_look(restate__server *server) {
    restate__h2_env *env = &server->boss->env;
    env->due_ms = RESTATE__SRV_NEVER;
    for (unsigned i = 0; i < server->loop_count; i++) {
        restate__srv_look_at(server, &server->loops[i]);
        restate__srv_rehome(server, &server->loops[i]);
    }
    if (restate__srv_conns(server)) restate__h2_due(env, env->now_ms + RESTATE__SRV_LOOK_MS);
    if (server->phase == RESTATE__PHASE_SERVING) return;
    restate__loop_sweep_soon(server->boss);
    if (server->phase_until_ms > env->now_ms) restate__h2_due(env, server->phase_until_ms);
}

/* Whether every loop has ended, or is held, since the cut, by a handler that nobody waits for any
 * longer. */
static bool restate__srv_all_over(const restate__server *server) {
    uint64_t now = server->boss->env.now_ms, until = server->phase_until_ms;
    bool cut = server->phase == RESTATE__PHASE_CUT && now >= until;
    for (unsigned i = 0; i < server->loop_count; i++) {
        const restate__loop *loop = &server->loops[i];
        restate__duty duty;
        if (RESTATE__LOAD(&loop->over, ACQUIRE)) continue;
        if (!cut || (now - until < RESTATE__GRACE_MS &&
                     !restate__duty_read(&loop->worker.duty, &duty, now, RESTATE__GRACE_MS)))
            return false;
    }
    return true;
}

/* Accepts, watches, stops: what must not depend on a thread that handlers may hold. */
static void restate__srv_control(restate__server *server) {
    restate__loop *control = &server->control;
    do {
        restate__poll_wait(&control->poll, &control->env,
                           restate__loop_timeout(control, RESTATE__SRV_NEVER));
        restate__srv_watch(server);
        restate__srv_look(server);
    } while (!restate__srv_all_over(server));
}

#endif

/* ---- The end: see (5) ------------------------------------------------------------------------ */

/* Joins the thread of the loop if it has ended. True: the loop has none any more. */
static bool restate__srv_join(restate__loop *loop) {
#if !defined(RESTATE_NO_THREADS)
    if (loop->threaded && RESTATE__LOAD(&loop->over, ACQUIRE)) {
        pthread_join(loop->thread, NULL);
        loop->threaded = false;
    }
#endif
    return !loop->threaded;
}

/* Logs what does not return on a loop, and counts it. The first of it is named in `text`. */
static unsigned restate__srv_log_left(const restate__server *server, restate__loop *loop,
                                       char *text, size_t size) {
    uint64_t now = server->boss->env.now_ms;
    restate__duty duty;
    char id[RESTATE__DUTY_ID_BYTES];
    if (restate__srv_join(loop)) return restate__attempt_tell_left(&loop->worker, text, size);
    snprintf(text, size, "an event loop does not end");
    if (!restate__duty_read(&loop->worker.duty, &duty, now, 0)) return 1;
    snprintf(text, size, "the handler %s/%s (invocation %s) does not return", duty.service,
             duty.handler, restate__duty_id(&duty, id));
    restate__log_about(&server->endpoint->logger, RESTATE_LOG_ERROR, duty.service, duty.handler, id,
                       "the handler does not return: it has held its event loop for %lu ms",
                       (unsigned long)duty.held_ms);
    return 1;
}

/* The loops have ended but for those that are stuck: what serving came to. */
static void restate__srv_end(restate__server *server) {
    restate_endpoint *ep = server->endpoint;
    char first[256] = "", other[256];
    unsigned left = 0;
    for (unsigned i = 0; i < server->loop_count; i++) {
        restate__loop *loop = &server->loops[i];
        left += restate__srv_log_left(server, loop, left ? other : first, sizeof first);
        for (restate__conn *conn = restate__srv_recall(loop), *next; conn; conn = next) {
            next = conn->next;              /* no loop came to take it */
            restate__srv_discard(server, conn);
        }
    }
    server->ended = true;
    server->status = RESTATE_OK;
    if (left == 1) server->status = restate__ep_error(ep, "stopped, but %s", first);
    if (left > 1)
        server->status = restate__ep_error(ep, "stopped, but %s, nor do %u others", first,
                                           left - 1);
}

/* Called before the closure pool goes, because its threads wake our workers: cuts what is open, and
 * takes the turns of loops that have no thread any more. False: something does not return. */
static bool restate__srv_quiet(restate_endpoint *ep) {
    restate__server *server = ep->server;
    const struct timespec pause = { 0, RESTATE__SRV_QUIET_MS * 1000000 };
    char text[256];
    bool more = true;
    restate__srv_unlisten(server);
    restate__srv_enter(server, RESTATE__PHASE_CUT);
    for (unsigned waits = RESTATE__GRACE_MS / RESTATE__SRV_QUIET_MS; more && waits; waits--) {
        more = false;
        for (unsigned i = 0; i < server->loop_count; i++) {
            restate__loop *loop = &server->loops[i];
            bool joined = restate__srv_join(loop);
            if (joined) (void)restate__loop_turn(loop, 0);
            if (!joined || loop->conns || loop->busy || loop->worker.exchanges) more = true;
        }
        if (more) nanosleep(&pause, NULL);
    }
    for (unsigned i = 0; more && i < server->loop_count; i++)
        (void)restate__srv_log_left(server, &server->loops[i], text, sizeof text);
    return !more;
}

/* Something does not return, and uses its loop, the endpoint and the server when it does: these
 * stay. Loops that nobody uses go. */
static void restate__srv_abandon(restate_endpoint *ep) {
    restate__server *server = ep->server;
    RESTATE__STORE(&ep->stop_fd, -1, SEQ_CST);
    for (unsigned i = 0; i < server->loop_count; i++) {
        restate__loop *loop = &server->loops[i];
#if !defined(RESTATE_NO_THREADS)
        if (loop->threaded) pthread_detach(loop->thread);
#endif
        if (!loop->threaded && !loop->worker.exchanges && !loop->conns) restate__loop_free(loop);
    }
}

/* Of loops that could not all be made, those that were. */
static void restate__srv_release(restate__server *server) {
    const restate_allocator *a = &server->endpoint->allocator;
    restate__poll_close_fd(&server->listener.source.fd);
    if (server->control.server) restate__loop_free(&server->control);
    for (unsigned i = 0; server->loops && i < server->loop_count; i++)
        if (server->loops[i].server) restate__loop_free(&server->loops[i]);
    restate__mem_free(a, server->loops, server->loop_room * sizeof *server->loops);
    restate__mem_free(a, server, sizeof *server);
}

/* Called by restate_endpoint_free() when nobody uses the workers any more. */
static void restate__srv_free(restate_endpoint *ep) {
    restate__server *server = ep->server;
    RESTATE__STORE(&ep->stop_fd, -1, SEQ_CST);
    RESTATE__STORE(&ep->server, (restate__server *)NULL, RELEASE);
    restate__srv_release(server);
}

/* ---- The beginning --------------------------------------------------------------------------- */

static unsigned restate__srv_loop_count(const restate_endpoint *ep) {
#if defined(RESTATE_NO_THREADS)
    (void)ep;
    return 1;
#else
    long n = (long)ep->options.threads;
    if (!n) n = sysconf(_SC_NPROCESSORS_ONLN) / (ep->options.processes ? ep->options.processes : 1);
    return n < 1 ? 1u : n > 1024 ? 1024u : (unsigned)n;
#endif
}

/* Makes the loops and listens. */
static restate_status restate__srv_make(restate__server *server, bool threads) {
    restate_endpoint *ep = server->endpoint;
    unsigned count = server->loop_count;
    server->loops = restate__mem_zalloc(&ep->allocator, count * sizeof *server->loops);
    if (!server->loops) return restate__ep_error(ep, "out of memory");
    server->boss = threads ? &server->control : &server->loops[0];
    if (threads && !restate__loop_init(&server->control, server))
        return restate__ep_error(ep, "cannot wait for connections: %s", strerror(errno));
    for (unsigned i = 0; i < count; i++)
        if (!restate__loop_init(&server->loops[i], server))
            return restate__ep_error(ep, "cannot make event loop %u of %u: %s", i + 1, count,
                                     strerror(errno));
    return restate__srv_listen(server);
}

/* Makes the server, unless there is one. Its loops do not run yet. */
static restate_status restate__srv_start(restate_endpoint *ep, unsigned loops, bool threads) {
    if (ep->server) return RESTATE_OK;
    if (ep->invalid) return RESTATE_ERROR;
    if (!ep->by_serve && (ep->options.processes > 1 || ep->options.stop_on_signals == RESTATE_ON))
        return restate__ep_error(ep, ".processes and .stop_on_signals need restate_serve()");
    restate__server *server = restate__mem_zalloc(&ep->allocator, sizeof *server);
    if (!server) return restate__ep_error(ep, "out of memory");
    server->endpoint = ep;
    server->listener.source = restate__poll_source_of(-1, restate__srv_on_listener, server);
    server->channel = restate__poll_source_of(-1, restate__srv_on_channel, server);
    server->loop_count = server->loop_room = loops;
    if (restate__srv_make(server, threads) != RESTATE_OK) {
        restate__srv_release(server);
        return RESTATE_ERROR;
    }
    ep->server_quiet = restate__srv_quiet;
    ep->server_free = restate__srv_free;
    ep->server_abandon = restate__srv_abandon;
    RESTATE__STORE(&ep->server, server, RELEASE);
    RESTATE__STORE(&ep->stop_fd, server->boss->poll.wake_fd, SEQ_CST);
    if (RESTATE__LOAD(&ep->stops, SEQ_CST)) restate__poll_signal(server->boss->poll.wake_fd);
    return RESTATE_OK;
}

#if !defined(RESTATE_NO_THREADS)

/* A loop that gets no thread is given up, with those behind it. False: none got one. */
static bool restate__srv_start_threads(restate__server *server) {
    unsigned i = 0;
    for (; i < server->loop_count; i++) {
        restate__loop *loop = &server->loops[i];
        loop->threaded = restate__fiber_thread_start(&loop->thread, RESTATE__THREAD_STACK_BYTES,
                                                     restate__loop_main, loop);
        if (!loop->threaded) break;
    }
    if (i == server->loop_count) return true;
    if (!i) return false;
    restate__log(&server->endpoint->logger, RESTATE_LOG_WARN,
                 "only %u event loops could be started", i);
    while (server->loop_count > i) restate__loop_free(&server->loops[--server->loop_count]);
    return true;
}

#endif

/* On the only loop, by the thread that calls: one turn, and what it came to. */
static restate_status restate__srv_turn(restate__server *server, uint64_t wait_ms) {
    if (!server->ended && !restate__loop_turn(&server->loops[0], wait_ms)) restate__srv_end(server);
    if (!server->ended) return RESTATE_OK;
    return server->status == RESTATE_OK ? RESTATE_ENDED : server->status;
}

RESTATE_API restate_status restate_endpoint_run(restate_endpoint *endpoint) {
#if defined(RESTATE_NO_THREADS)
    bool threads = false;
#else
    bool threads = true;
#endif
    if (!endpoint ||
        restate__srv_start(endpoint, restate__srv_loop_count(endpoint), threads) != RESTATE_OK)
        return RESTATE_ERROR;
    restate__server *server = endpoint->server;
#if !defined(RESTATE_NO_THREADS)
    if (server->boss == &server->control && !server->ended) {
        if (!restate__srv_start_threads(server))
            return restate__ep_error(endpoint, "no thread can be started for an event loop");
        restate__srv_control(server);
        restate__srv_end(server);
    }
#endif
    while (restate__srv_turn(server, RESTATE__SRV_NEVER) == RESTATE_OK) {}
    return server->status;
}

/* Only what a signal handler may do. A stop that comes before there is a descriptor is seen by
 * restate__srv_start. */
RESTATE_API void restate_endpoint_stop(restate_endpoint *endpoint) {
    int error = errno;
    if (!endpoint) return;
    RESTATE__ADD(&endpoint->stops, 1u, SEQ_CST);
    int fd = RESTATE__LOAD(&endpoint->stop_fd, SEQ_CST);
    if (fd >= 0) restate__poll_signal(fd);
    errno = error;
}

#if RESTATE__EPOLL

/* Makes the descriptor readable when there is more to do, now or at the next deadline. */
static void restate__srv_arm(restate__loop *loop) {
    uint64_t at = restate__loop_next_ms(loop);
    struct itimerspec t = { .it_value = { 0, 0 } };
    if (loop->timer.fd < 0) return;
    if (loop->busy) restate__poll_signal(loop->poll.wake_fd);
    if (at == loop->armed_ms) return;
    loop->armed_ms = at;
    if (at != RESTATE__SRV_NEVER) {
        uint64_t left = restate__loop_left_ms(loop, at);
        t.it_value.tv_sec = (time_t)(left / 1000);
        t.it_value.tv_nsec = (long)(left % 1000) * 1000000 + 1;   /* all zero would disarm it */
        if (!restate__clock_is_system(&loop->server->endpoint->options.clock)) loop->armed_ms = 0;
    }
    (void)timerfd_settime(loop->timer.fd, 0, &t, NULL);
}

RESTATE_API int restate_endpoint_fd(restate_endpoint *endpoint) {
    if (!endpoint || restate__srv_start(endpoint, 1, false) != RESTATE_OK) return -1;
    restate__loop *loop = &endpoint->server->loops[0];
    if (loop->timer.fd < 0) {
        loop->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (loop->timer.fd < 0 || !restate__poll_watch(&loop->poll, &loop->timer, false)) {
            (void)restate__ep_error(endpoint, "cannot make a timer: %s", strerror(errno));
            restate__poll_close_fd(&loop->timer.fd);
            return -1;
        }
        restate__srv_arm(loop);
    }
    return loop->poll.epoll;
}

#else

static void restate__srv_arm(restate__loop *loop) { (void)loop; }

RESTATE_API int restate_endpoint_fd(restate_endpoint *endpoint) {
    if (endpoint && restate__srv_start(endpoint, 1, false) == RESTATE_OK)
        (void)restate__ep_error(endpoint, "this system has no descriptor that covers others; call "
                                          "restate_endpoint_process() with a wait");
    return -1;
}

#endif

RESTATE_API restate_status restate_endpoint_process(restate_endpoint *endpoint, uint64_t wait_ms) {
    if (!endpoint || restate__srv_start(endpoint, 1, false) != RESTATE_OK) return RESTATE_ERROR;
    restate_status s = restate__srv_turn(endpoint->server, wait_ms);
    restate__srv_arm(&endpoint->server->loops[0]);
    return s;
}

RESTATE_API uint16_t restate_endpoint_port(const restate_endpoint *endpoint) {
    const restate__server *server = endpoint ? RESTATE__LOAD(&endpoint->server, ACQUIRE) : NULL;
    return server ? server->listener.port : 0;
}

/* ================================================================================================
// >>process  stops by signals, worker processes                                    [restate__proc_]
// Serves until a signal comes, in one process or in several that are supervised.
================================================================================================ */

#include <sched.h>
#include <sys/wait.h>

/* ---- Stops by signals ----
 *
 * A signal belongs to the process, so this is a global (like that of crash_report); only
 * .stop_on_signals and .processes use it. The handler does what the list says and keeps no lock. It
 * is installed by the first entry and put back with the last one. No signal is ever blocked for it:
 * programs that user code starts would inherit that, while a handler is reset by exec. */

/* What a signal is to do; its owner's until restate__proc_leave() has returned. */
typedef struct restate__proc_stop {
    struct restate__proc_stop *next;        /* atomic */
    void (*stop)(void *owner);              /* in a signal handler */
    void *owner;
} restate__proc_stop;

static struct {
    int locked;                             /* see restate__signals_lock() */
    unsigned inside;                        /* atomic: handlers that look at the list */
    restate__proc_stop *first;              /* atomic */
    int pid;                                /* atomic: whose list it is, not a forked child's */
    restate__signals signals;
} restate__proc_signals = { .signals = { 2, { SIGTERM, SIGINT }, { { .sa_flags = 0 } } } };

static void restate__proc_on_signal(int number, siginfo_t *info, void *context) {
    int error = errno;
    (void)info;
    (void)context;
    if ((int)getpid() != RESTATE__LOAD(&restate__proc_signals.pid, SEQ_CST)) {
        /* A child that user code forked: as if this handler had never been installed. */
        restate__signals_pass_on(&restate__proc_signals.signals, number, true);
    } else {
        RESTATE__ADD(&restate__proc_signals.inside, 1u, SEQ_CST);
        for (restate__proc_stop *at = RESTATE__LOAD(&restate__proc_signals.first, SEQ_CST); at;
             at = RESTATE__LOAD(&at->next, SEQ_CST))
            at->stop(at->owner);
        RESTATE__SUB(&restate__proc_signals.inside, 1u, SEQ_CST);
    }
    errno = error;
}

static void restate__proc_enter(restate__proc_stop *stop) {
    restate__signals_lock(&restate__proc_signals.locked);
    if (restate__proc_signals.pid != (int)getpid()) {    /* first use, or a copy that fork() made */
        RESTATE__STORE(&restate__proc_signals.first, (restate__proc_stop *)NULL, SEQ_CST);
        RESTATE__STORE(&restate__proc_signals.inside, 0u, SEQ_CST);
        RESTATE__STORE(&restate__proc_signals.pid, (int)getpid(), SEQ_CST);
    }
    stop->next = restate__proc_signals.first;
    RESTATE__STORE(&restate__proc_signals.first, stop, SEQ_CST);
    if (!stop->next)    /* user code notices nothing of a signal, hence SA_RESTART */
        restate__signals_install(&restate__proc_signals.signals, restate__proc_on_signal,
                                 SA_RESTART);
    restate__signals_unlock(&restate__proc_signals.locked);
}

/* Returns when no signal handler uses `stop` any more. */
static void restate__proc_leave(restate__proc_stop *stop) {
    restate__proc_stop **at = &restate__proc_signals.first;
    restate__signals_lock(&restate__proc_signals.locked);
    while (*at != stop) at = &(*at)->next;
    RESTATE__STORE(at, stop->next, SEQ_CST);
    if (!restate__proc_signals.first)
        restate__signals_restore(&restate__proc_signals.signals, restate__proc_on_signal);
    restate__signals_unlock(&restate__proc_signals.locked);
    while (RESTATE__LOAD(&restate__proc_signals.inside, SEQ_CST)) sched_yield();
}

/* Sets the mask of this thread, all signals for NULL, and gives what it was. */
static sigset_t restate__proc_mask(const sigset_t *mask) {
    sigset_t all, before;
    sigfillset(&all);
#if defined(RESTATE_NO_THREADS)
    (void)sigprocmask(SIG_SETMASK, mask ? mask : &all, &before);
#else
    (void)pthread_sigmask(SIG_SETMASK, mask ? mask : &all, &before);
#endif
    return before;
}

/* ---- One process ----------------------------------------------------------------------------- */

static void restate__proc_stop_endpoint(void *owner) { restate_endpoint_stop(owner); }
static void restate__proc_drain_endpoint(void *owner) { restate__srv_drain(owner); }

static void restate__proc_log_error(restate_endpoint *ep) {
    restate__log(&ep->logger, RESTATE_LOG_ERROR, "%s", restate_endpoint_error(ep));
}

/* Runs the endpoint; `stop` (may be NULL): what SIGTERM and SIGINT do meanwhile. All signals are
 * blocked when it is called, so that none comes before that is in place; `mask` is the one to serve
 * with. */
static restate_status restate__proc_run(restate_endpoint *ep, void (*stop)(void *owner),
                                        const sigset_t *mask) {
    restate__proc_stop entry = { NULL, stop, ep };
    if (stop) restate__proc_enter(&entry);
    (void)restate__proc_mask(mask);
    if (stop && ep->channel < 0 && sigismember(mask, SIGTERM) == 1)
        restate__log(&ep->logger, RESTATE_LOG_WARN,
                     "SIGTERM is blocked in the thread that serves, and so in all that it starts: "
                     "it stops nothing unless another thread takes it");
    restate_status status = restate_endpoint_run(ep);
    if (status != RESTATE_OK) restate__proc_log_error(ep);
    if (stop) restate__proc_leave(&entry);
    return status;
}

/* ---- Several: workers and their supervisor ----
 *
 * The supervisor listens, accepts, and hands each connection to the worker that has the fewest; so
 * nothing is lost while a worker is being replaced, and a free port is the same for all. It
 * executes no user code and has one thread, which may fork at any time. A stop reaches workers
 * through their channel, because signals may reach them from elsewhere, too. By the end of the
 * channel a worker notices that its supervisor is gone, and the supervisor that the worker is;
 * where a program that a handler forked keeps it open, the supervisor notices within
 * RESTATE__PROC_LOOK_MS. */

enum {
    RESTATE__PROC_BACKOFF_MS = 100,         /* the first; doubles */
    RESTATE__PROC_BACKOFF_MAX_MS = 1000,    /* short: while all pause, nobody serves the others */
    RESTATE__PROC_LASTS_MS = 10000,         /* after so long, a worker ends for a new reason */
    RESTATE__PROC_LOOK_MS = 1000,
    RESTATE__PROC_SOON_MS = 5,
    RESTATE__PROC_KILL_MS = 5000,           /* beyond the time that a stop may take by itself */
    RESTATE__PROC_DEAF_MS = 1000            /* a worker that took no connection, or gave one back,
                                               gets none for */
};

typedef struct restate__proc restate__proc;

typedef struct restate__proc_worker {
    restate__proc *supervisor;
    pid_t pid;                              /* 0: there is none, it starts at `start_at_ms` */
    restate__poll_source channel;           /* without descriptor: the other end is closed */
    bool stops;                             /* it drains */
    int ends;                               /* RESTATE__CHANNEL_ENDS or _FAILS if it came; 0 */
    unsigned conns;
    unsigned failures;                      /* in a row, for the back-off; kept by its successor */
    uint64_t started_ms, start_at_ms, kill_at_ms, deaf_until_ms;
} restate__proc_worker;

struct restate__proc {
    restate_endpoint *endpoint;
    restate__h2_env env;                    /* the time; it has no connections */
    restate__poll poll;                     /* woken by the signal handler */
    restate__srv_listener listener;
    restate__proc_worker *workers;
    unsigned count;
    unsigned signals;                       /* atomic: SIGTERM and SIGINT that came */
    unsigned phase;                         /* each of them advances it */
    sigset_t mask;                          /* of the calling thread */
    bool failed;                            /* a worker did not end by itself, or not in time */
};

/* In a signal handler. */
static void restate__proc_ring(void *owner) {
    restate__proc *p = owner;
    RESTATE__ADD(&p->signals, 1u, SEQ_CST);
    restate__poll_signal(p->poll.wake_fd);
}

/* Does not forget the sources: in a new process epoll would forget them for the supervisor. */
static void restate__proc_close_all(restate__proc *p) {
    for (unsigned i = 0; i < p->count; i++) restate__poll_close_fd(&p->workers[i].channel.fd);
    restate__poll_close_fd(&p->listener.source.fd);
    restate__poll_free(&p->poll);
}

/* The new process; does not return. The endpoint is its own copy. */
static void restate__proc_work(restate__proc *p, int channel) {
    restate_endpoint *ep = p->endpoint;
    bool by_signals = ep->options.stop_on_signals != RESTATE_OFF;
    restate__proc_close_all(p);
    if (ep->reports) restate__crash_leave();    /* the supervisor's: this is another process */
    ep->reports = ep->options.crash_report != RESTATE_OFF;
    if (ep->reports) restate__crash_enter();
    ep->channel = channel;
    ep->channel_port = p->listener.port;
    bool good = restate__proc_run(ep, by_signals ? restate__proc_drain_endpoint : NULL, &p->mask) ==
                RESTATE_OK;
    if (good) restate_endpoint_free(ep);    /* else something may still use it */
    restate__channel_tell(channel, good ? RESTATE__CHANNEL_ENDS : RESTATE__CHANNEL_FAILS);
    exit(good ? 0 : 1);
}

/* Has another worker start after a while, which it returns. */
static unsigned restate__proc_failed(restate__proc_worker *w, uint64_t now) {
    unsigned ms = RESTATE__PROC_BACKOFF_MS;
    if (now - w->started_ms >= RESTATE__PROC_LASTS_MS) w->failures = 0;
    for (unsigned i = ++w->failures; i > 1 && ms < RESTATE__PROC_BACKOFF_MAX_MS; i--) ms *= 2;
    if (ms > RESTATE__PROC_BACKOFF_MAX_MS) ms = RESTATE__PROC_BACKOFF_MAX_MS;
    w->start_at_ms = now + ms;
    return ms;
}

/* Forks. Signals wait until the child has a handler of its own; what is buffered is written
 * once. */
static pid_t restate__proc_fork(restate__proc *p, int channel) {
    fflush(NULL);
    sigset_t mask = restate__proc_mask(NULL);
    pid_t pid = fork();
    if (pid == 0) restate__proc_work(p, channel);
    (void)restate__proc_mask(&mask);
    return pid;
}

/* Makes the channel, whose other end is `*end`, and the process. -1: errno says why. */
static pid_t restate__proc_make(restate__proc *p, restate__proc_worker *w, int *end) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return -1;
    w->channel.fd = ends[0];
    *end = ends[1];
    for (int i = 0; i < 2; i++) {
        restate__srv_no_sigpipe(ends[i]);
        if (!restate__poll_set_flags(ends[i])) return -1;
    }
    return restate__poll_watch(&p->poll, &w->channel, false) ? restate__proc_fork(p, *end) : -1;
}

static void restate__proc_start(restate__proc *p, restate__proc_worker *w) {
    const restate__logger *logger = &p->endpoint->logger;
    int end = -1;
    w->started_ms = p->env.now_ms;
    w->pid = restate__proc_make(p, w, &end);
    if (w->pid > 0) {
        w->stops = false;
        w->ends = 0;
        w->conns = 0;
        w->deaf_until_ms = 0;
        w->kill_at_ms = RESTATE__SRV_NEVER;
        restate__log(logger, RESTATE_LOG_DEBUG, "worker process %ld has started", (long)w->pid);
    } else {
        const char *why = strerror(errno);
        w->pid = 0;
        restate__poll_close(&p->poll, &w->channel);
        restate__log(logger, RESTATE_LOG_ERROR,
                     "a worker process cannot be made: %s; trying again in %u ms", why,
                     restate__proc_failed(w, p->env.now_ms));
    }
    restate__poll_close_fd(&end);
}

/* What ended a process, in words. */
static void restate__proc_describe(char *text, size_t room, int status, bool known) {
    const char *dumped = "";
    if (!known) {
        snprintf(text, room, "is gone (with SIGCHLD ignored nobody tells why)");
    } else if (WIFSIGNALED(status)) {
#ifdef WCOREDUMP
        if (WCOREDUMP(status)) dumped = ", core dumped";
#endif
        snprintf(text, room, "was killed by signal %d (%s%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), dumped);
    } else {
        snprintf(text, room, "ended because something in it called exit(%d)", WEXITSTATUS(status));
    }
}

/* The moment when a worker that stops is killed. */
static void restate__proc_kill_later(restate__proc *p, restate__proc_worker *w, bool drains) {
    uint64_t drain_ms = drains ? p->endpoint->options.drain_ms : RESTATE_ZERO_MS;
    uint64_t at = p->env.now_ms + RESTATE__GRACE_MS + RESTATE__PROC_KILL_MS;
    if (drain_ms != RESTATE_ZERO_MS) at = restate__h2_at(at, drain_ms);
    if (at < w->kill_at_ms) w->kill_at_ms = at;
}

/* The worker that gets the next connection; NULL: none can take one now. */
static restate__proc_worker *restate__proc_pick(restate__proc *p) {
    restate__proc_worker *best = NULL;
    for (unsigned i = 0; i < p->count; i++) {
        restate__proc_worker *w = &p->workers[i];
        if (w->channel.fd < 0 || w->stops || p->env.now_ms < w->deaf_until_ms) continue;
        if (!best || w->conns < best->conns) best = w;
    }
    return best;
}

/* False: it gets none for a while. */
static bool restate__proc_give(restate__proc *p, restate__proc_worker *w, int fd) {
    bool taken = restate__channel_send(w->channel.fd, RESTATE__CHANNEL_TAKE, fd);
    if (taken) w->conns++;
    else w->deaf_until_ms = p->env.now_ms + RESTATE__PROC_DEAF_MS;
    return taken;
}

/* Handlers hold every loop of `w`, which gives a connection back. Where there is no other worker it
 * waits there. */
static void restate__proc_take_back(restate__proc *p, restate__proc_worker *w, int fd) {
    if (w->conns) w->conns--;
    w->deaf_until_ms = p->env.now_ms + RESTATE__PROC_DEAF_MS;
    restate__proc_worker *other = p->phase == RESTATE__PHASE_SERVING ? restate__proc_pick(p) : NULL;
    (void)restate__proc_give(p, other ? other : w, fd);
}

/* Reads what the worker has sent. */
static void restate__proc_on_channel(void *owner) {
    restate__proc_worker *w = owner;
    restate__proc *p = w->supervisor;
    int what, fd;
    while (w->channel.fd >= 0 && (what = restate__channel_next(w->channel.fd, &fd)) != 0) {
        if (what == RESTATE__CHANNEL_LEFT && w->conns) w->conns--;
        if (what == RESTATE__CHANNEL_BACK && fd >= 0) restate__proc_take_back(p, w, fd);
        if (what == RESTATE__CHANNEL_STOPS) {
            w->stops = true;
            restate__proc_kill_later(p, w, true);
        }
        if (what == RESTATE__CHANNEL_ENDS || what == RESTATE__CHANNEL_FAILS) w->ends = what;
        if (what == -1) restate__poll_close(&p->poll, &w->channel);
        restate__poll_close_fd(&fd);
    }
}

/* Gives waiting connections to workers. While there is none they wait in the listening socket. */
static void restate__proc_on_listener(void *owner) {
    restate__proc *p = owner;
    restate__proc_worker *w;
    for (int i = 0; i < RESTATE__SRV_BATCH && (w = restate__proc_pick(p)) != NULL; i++) {
        int fd = restate__srv_accept(&p->listener, &p->poll, &p->endpoint->logger, p->env.now_ms);
        if (fd < 0) return;
        while (w && !restate__proc_give(p, w, fd)) w = restate__proc_pick(p);
        close(fd);
    }
}

/* The worker's process is over. */
static void restate__proc_bury(restate__proc *p, restate__proc_worker *w, int status, bool known) {
    const restate__logger *logger = &p->endpoint->logger;
    bool stopping = p->phase != RESTATE__PHASE_SERVING;
    long pid = (long)w->pid;
    char why[128], next[64] = "";
    restate__proc_on_channel(w);            /* its last words */
    restate__poll_close(&p->poll, &w->channel);
    bool itself = w->ends && (!known || WIFEXITED(status));
    w->pid = 0;
    w->start_at_ms = p->env.now_ms;
    if (itself && w->ends == RESTATE__CHANNEL_ENDS) {
        w->failures = 0;
        restate__log(logger, stopping ? RESTATE_LOG_DEBUG : RESTATE_LOG_INFO,
                     "worker process %ld has stopped%s", pid,
                     stopping ? "" : "; another one starts");
        return;
    }
    if (!stopping)
        snprintf(next, sizeof next, "; another one starts in %u ms",
                 restate__proc_failed(w, p->env.now_ms));
    if (itself) {
        if (stopping) p->failed = true;
        snprintf(why, sizeof why, "could not %s", w->stops || stopping ? "stop in time" : "serve");
    } else {
        restate__proc_describe(why, sizeof why, status, known);
    }
    restate__log(logger, RESTATE_LOG_ERROR, "worker process %ld %s%s", pid, why, next);
}

/* Follows the signals: the first one drains, the second one cuts off, the third one kills. */
static void restate__proc_follow(restate__proc *p) {
    while (p->phase < RESTATE__LOAD(&p->signals, SEQ_CST) && p->phase < RESTATE__PHASE_KILLED) {
        bool drains = ++p->phase == RESTATE__PHASE_DRAINING;
        restate__poll_close(&p->poll, &p->listener.source);
        for (unsigned i = 0; i < p->count; i++) {
            restate__proc_worker *w = &p->workers[i];
            if (!w->pid) continue;
            restate__proc_kill_later(p, w, drains);
            if (p->phase == RESTATE__PHASE_KILLED && w->kill_at_ms > p->env.now_ms)
                w->kill_at_ms = p->env.now_ms;
            restate__channel_tell(w->channel.fd, drains ? RESTATE__CHANNEL_DRAIN
                                                        : RESTATE__CHANNEL_CUT);
        }
    }
}

/* Looks whether a worker is over, is to start, or does not end; and when to look again. */
static void restate__proc_look_after(restate__proc *p, restate__proc_worker *w) {
    restate__h2_env *env = &p->env;
    bool serving = p->phase == RESTATE__PHASE_SERVING;
    int status = 0;
    pid_t pid = 0;
    if (w->pid)
        do pid = waitpid(w->pid, &status, WNOHANG);
        while (pid < 0 && errno == EINTR);
    if (pid) restate__proc_bury(p, w, status, pid == w->pid);
    if (!w->pid && serving && env->now_ms >= w->start_at_ms) restate__proc_start(p, w);
    if (!w->pid && serving) restate__h2_due(env, w->start_at_ms);
    if (!w->pid) return;
    if (restate__h2_past(env, w->kill_at_ms)) {
        w->kill_at_ms = RESTATE__SRV_NEVER;
        p->failed = true;
        restate__log(&p->endpoint->logger, RESTATE_LOG_WARN,
                     "worker process %ld does not end: it is killed", (long)w->pid);
        (void)kill(w->pid, SIGKILL);
    }
    if (w->channel.fd < 0)                  /* it is about to end */
        restate__h2_due(env, env->now_ms + RESTATE__PROC_SOON_MS);
}

/* Waits for something to do: a signal, a word of a worker, a connection, or a moment that comes. */
static void restate__proc_wait(restate__proc *p) {
    restate__poll_source *listener = &p->listener.source;
    restate__h2_env *env = &p->env;
    if (listener->fd >= 0) {
        bool paused = !restate__h2_past(env, p->listener.paused_until_ms);
        if (paused || !restate__proc_pick(p)) restate__poll_forget(&p->poll, listener);
        else (void)restate__poll_watch(&p->poll, listener, false);
    }
    restate__h2_tick(env);
    restate__poll_wait(&p->poll, env,
                       env->due_ms > env->now_ms ? (int)(env->due_ms - env->now_ms) : 0);
}

/* Until all have to stop and are gone. */
static void restate__proc_watch(restate__proc *p) {
    for (;; restate__proc_wait(p)) {
        unsigned alive = 0;
        restate__proc_follow(p);
        p->env.due_ms = p->env.now_ms + RESTATE__PROC_LOOK_MS;
        for (unsigned i = 0; i < p->count; i++) {
            restate__proc_look_after(p, &p->workers[i]);
            if (p->workers[i].pid) alive++;
        }
        if (p->phase != RESTATE__PHASE_SERVING && !alive) return;
    }
}

static restate_status restate__proc_begin(restate__proc *p) {
    restate_endpoint *ep = p->endpoint;
    unsigned n = ep->options.processes;
    p->workers = restate__mem_zalloc(&ep->allocator, n * sizeof *p->workers);
    if (!p->workers) return restate__ep_error(ep, "out of memory");
    for (; p->count < n; p->count++) {
        restate__proc_worker *w = &p->workers[p->count];
        w->supervisor = p;
        w->channel = restate__poll_source_of(-1, restate__proc_on_channel, w);
    }
    return restate__srv_open(ep, restate__srv_loop_count(ep), &p->listener);
}

/* The supervisor executes no code of the user, so for it the signals need not stay blocked. */
static void restate__proc_let_in(const sigset_t *mask) {
    sigset_t open = *mask;
    for (int i = 0; i < restate__proc_signals.signals.count; i++)
        sigdelset(&open, restate__proc_signals.signals.numbers[i]);
    (void)restate__proc_mask(&open);
}

static int restate__proc_supervise(restate_endpoint *ep) {
    restate__proc p = { .endpoint = ep, .env = { .endpoint = ep },
                        .mask = restate__proc_mask(NULL) };
    restate__proc_stop entry = { NULL, restate__proc_ring, &p };
    bool by_signals = ep->options.stop_on_signals != RESTATE_OFF;
    p.listener.source = restate__poll_source_of(-1, restate__proc_on_listener, &p);
    restate__h2_tick(&p.env);
    bool begun = restate__poll_init(&p.poll, &ep->allocator);
    if (!begun) (void)restate__ep_error(ep, "cannot wait for connections: %s", strerror(errno));
    if (by_signals) restate__proc_enter(&entry);        /* before the log says that it listens */
    begun = begun && !ep->invalid && restate__proc_begin(&p) == RESTATE_OK;
    if (begun) {
        restate__proc_let_in(&p.mask);
        restate__proc_watch(&p);
    } else {
        restate__proc_log_error(ep);
    }
    if (by_signals) restate__proc_leave(&entry);
    (void)restate__proc_mask(&p.mask);
    restate__proc_close_all(&p);
    restate__mem_free(&ep->allocator, p.workers, ep->options.processes * sizeof *p.workers);
    return begun && !p.failed ? 0 : 1;
}

static int restate__proc_serve(restate_endpoint *ep) {
    bool by_signals = ep->options.stop_on_signals == RESTATE_ON;
    void (*stop)(void *) = by_signals ? restate__proc_stop_endpoint : NULL;
    sigset_t mask = restate__proc_mask(NULL);
    return restate__proc_run(ep, stop, &mask) == RESTATE_OK ? 0 : 1;
}

RESTATE_API int restate_serve(const restate_endpoint_options *options) {
    restate_endpoint *ep = restate_endpoint_new(options);
    if (!ep) {
        fputs("restate: out of memory\n", stderr);
        return 1;
    }
    ep->by_serve = true;
    int status = ep->options.processes > 1 ? restate__proc_supervise(ep) : restate__proc_serve(ep);
    restate_endpoint_free(ep);
    return status;
}

#endif /* RESTATE_NO_SERVER */

/* ================================================================================================
// >>client  connections, requests, context of a client                               [restate__client_]
// Turns the commands of a context without a handler into requests of the ingress.
================================================================================================ */

/* ================================================================================================
// >>record  rows, start message, text, check                                     [restate__record_]
// Reads, prints and replays journals that a server has kept.
================================================================================================ */

#ifdef RESTATE_WITH_TEST

/* ================================================================================================
// >>test  runtime, ingress, explorer                                               [restate__test_]
// Plays the server, in memory and in virtual time.
================================================================================================ */

#endif /* RESTATE_WITH_TEST */

#endif /* RESTATE_IMPLEMENTATION */

/*
 * MIT License
 *
 * Copyright (c) 2026 The restate.h authors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy
 * of this software and associated documentation files (the "Software"), to deal
 * in the Software without restriction, including without limitation the rights
 * to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is
 * furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all
 * copies or substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 * LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 * SOFTWARE.
 */
