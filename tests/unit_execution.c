/* Section >>execution: fibers under every back end, tasks, the worker, the closure pool. */
/* Has threads: runs with ThreadSanitizer, too. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "../restate.h"

#include "support/allocator.c"
#include "support/child.c"
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)64 * 1024)

static restate_allocator libc;
static mem_counts memory;
static restate_allocator failing;           /* of `memory` */

static void sleep_ms(long ms) {
    struct timespec t;
    t.tv_sec = ms / 1000;
    t.tv_nsec = ms % 1000 * 1000000;
    while (nanosleep(&t, &t) != 0 && errno == EINTR) continue;
}

#if RESTATE_FIBER == RESTATE_FIBER_CUSTOM
extern int port_alive;                      /* of port.c */

TEST(port_leaves_nothing) { CHECK_INT(port_alive, 0); }

#endif

/* ---- fibers ---- */

typedef struct counter {
    restate__fiber *fiber;
    int parks, runs, ended;
} counter;

static void count_and_park(void *arg) {
    counter *c = arg;
    int i;
    for (i = 0; i < c->parks; i++) {
        c->runs++;
        restate__fiber_park(c->fiber);
    }
    c->ended++;
}

static void start(restate__fiber_pool *pool, restate__fiber_kind kind, counter *c, int parks) {
    memset(c, 0, sizeof *c);
    c->parks = parks;
    c->fiber = restate__fiber_new(pool, kind, STACK_BYTES, count_and_park, c);
    CHECK(c->fiber != NULL);
}

static void many(restate__fiber_kind kind, size_t n) {
    restate__fiber_pool pool;
    counter *c = calloc(n, sizeof *c);
    size_t i;
    int round, rounds = 5;
    restate__fiber_pool_init(&pool, &libc, 64);
    for (i = 0; i < n; i++) start(&pool, kind, &c[i], rounds);
    for (round = 0; round < rounds; round++)
        for (i = 0; i < n; i++) {
            CHECK_INT(c[i].runs, round);
            CHECK(!restate__fiber_done(c[i].fiber));
            restate__fiber_resume(c[i].fiber);
        }
    for (i = 0; i < n; i++) {
        restate__fiber_resume(c[i].fiber);
        CHECK(restate__fiber_done(c[i].fiber));
        CHECK_INT(c[i].runs, rounds);
        CHECK_INT(c[i].ended, 1);
        restate__fiber_free(&pool, c[i].fiber);
    }
    CHECK(pool.kept_count <= 64);
    restate__fiber_pool_free(&pool);
    free(c);
}

TEST(many_fibers) { many(RESTATE__FIBER_SWITCHED, RESTATE__FIBER_SWITCHES ? 1000 : 100); }
TEST(many_tasks) { many(RESTATE__FIBER_THREAD, 100); }

/* How far the stack went down, in bytes, when `deep` returned. */
typedef struct depth {
    restate__fiber *fiber;
    size_t wanted, reached;
    char *top;
} depth;

static RESTATE__NOINLINE int deep(depth *d) {
    volatile char frame[200];
    size_t here = (size_t)(d->top - (char *)__builtin_frame_address(0));
    int below = 0;
    memset((char *)(uintptr_t)frame, (int)(here & 63), sizeof frame);
    if (here > d->reached) d->reached = here;
    if (here < d->wanted) below = deep(d);
    else restate__fiber_park(d->fiber);
    return below + frame[here % sizeof frame] - (int)(here & 63) + 1;
}

static void dive(void *arg) {
    depth *d = arg;
    d->top = __builtin_frame_address(0);
    CHECK(deep(d) > 1);
}

TEST(deep_recursion) {
    size_t size;
    restate__fiber_pool pool;
    restate__fiber_pool_init(&pool, &libc, 8);
    for (size = 16 * 1024; size <= 1024 * 1024; size *= 4) {
        depth d;
        memset(&d, 0, sizeof d);
        d.wanted = size - 3 * 1024;
        d.fiber = restate__fiber_new(&pool, RESTATE__FIBER_SWITCHED, size, dive, &d);
        restate__fiber_resume(d.fiber);
        CHECK(!restate__fiber_done(d.fiber));
        CHECK(d.reached >= d.wanted);
        restate__fiber_resume(d.fiber);
        CHECK(restate__fiber_done(d.fiber));
        restate__fiber_free(&pool, d.fiber);
    }
    restate__fiber_pool_free(&pool);
}

#if RESTATE__STACK_MMAP || !RESTATE__FIBER_SWITCHES
static void overflow(void) {
    restate__fiber_pool pool;
    depth d;
    restate__fiber_pool_init(&pool, &libc, 8);
    memset(&d, 0, sizeof d);
    d.wanted = SIZE_MAX;
    d.fiber = restate__fiber_new(&pool, RESTATE__FIBER_SWITCHED, STACK_BYTES, dive, &d);
    restate__fiber_resume(d.fiber);
}

TEST(guard_page) {
#ifdef RESTATE_VALGRIND
    if (RUNNING_ON_VALGRIND) return;        /* it reports the fault itself */
#endif
    CHECK(faulted(in_child(overflow)));
}
#else
/* The canary of a stack without a guard page: such a stack is not used again. */
static void trample(void *arg) { memset(*(uint8_t **)arg, 0, 8); }

TEST(canary) {
    restate__fiber_pool pool;
    restate__fiber *f;
    uint8_t *lowest;
    restate__fiber_pool_init(&pool, &libc, 8);
    f = restate__fiber_new(&pool, RESTATE__FIBER_SWITCHED, STACK_BYTES, trample, &lowest);
    lowest = f->stack;
    CHECK(restate__fiber_intact(f));
    f->started = true;
    restate__fiber_enter(f);                /* _resume would assert */
    CHECK(!restate__fiber_intact(f));
    restate__fiber_free(&pool, f);
    CHECK_INT(pool.kept_count, 0);
    restate__fiber_pool_free(&pool);
}
#endif

TEST(stacks_are_reused_by_size) {
#if RESTATE__FIBER_SWITCHES
    restate__fiber_pool pool;
    uint8_t *small, *large;
    counter a, b, c;
    restate__fiber_pool_init(&pool, &libc, 2);
    start(&pool, RESTATE__FIBER_SWITCHED, &a, 0);
    start(&pool, RESTATE__FIBER_SWITCHED, &b, 0);
    memset(&c, 0, sizeof c);
    c.fiber = restate__fiber_new(&pool, RESTATE__FIBER_SWITCHED, 4 * STACK_BYTES, count_and_park, &c);
    CHECK(c.fiber != NULL);
    small = a.fiber->stack;
    large = c.fiber->stack;
    restate__fiber_resume(a.fiber);
    restate__fiber_free(&pool, a.fiber);
    restate__fiber_resume(c.fiber);
    restate__fiber_free(&pool, c.fiber);
    CHECK_INT(pool.kept_count, 2);
    restate__fiber_free(&pool, b.fiber);    /* one too many, and not started */
    CHECK_INT(pool.kept_count, 2);
    start(&pool, RESTATE__FIBER_SWITCHED, &a, 1);
    CHECK(a.fiber->stack == small);
    c.fiber = restate__fiber_new(&pool, RESTATE__FIBER_SWITCHED, 4 * STACK_BYTES, count_and_park, &c);
    CHECK(c.fiber->stack == large);
    CHECK_INT(pool.kept_count, 0);
    restate__fiber_resume(a.fiber);
    CHECK_INT(a.runs, 1);
    restate__fiber_free(&pool, a.fiber);
    restate__fiber_free(&pool, c.fiber);
    restate__fiber_pool_free(&pool);
    CHECK_INT(pool.kept_count, 0);
#endif
}

static RESTATE__NOINLINE void park_deep(counter *c, int frames) {
    char text[100];
    snprintf(text, sizeof text, "%d frames", frames);
    if (frames) park_deep(c, frames - 1);
    else restate__fiber_park(c->fiber);
    c->runs += text[0] != 0;
}

static void park_in_frames(void *arg) {
    counter *c = arg;
    park_deep(c, 10);
    c->ended++;
}

static void abandon(restate__fiber_kind kind) {
    restate__fiber_pool pool;
    int i;
    restate__fiber_pool_init(&pool, &libc, 4);
    for (i = 0; i < 50; i++) {
        counter c;
        memset(&c, 0, sizeof c);
        c.fiber = restate__fiber_new(&pool, kind, STACK_BYTES, park_in_frames, &c);
        if (i % 5 != 4) restate__fiber_resume(c.fiber);
        if (i % 3 == 0) {
            restate__fiber_resume(c.fiber);
            if (!restate__fiber_done(c.fiber)) restate__fiber_resume(c.fiber);
            CHECK_INT(c.runs, 11);
        }
        CHECK_INT(c.ended, i % 3 == 0);
        restate__fiber_free(&pool, c.fiber);
        CHECK_INT(c.ended, i % 3 == 0);
    }
    restate__fiber_pool_free(&pool);
}

TEST(abandoned_fibers) { abandon(RESTATE__FIBER_SWITCHED); }
TEST(abandoned_tasks) { abandon(RESTATE__FIBER_THREAD); }

/* More values than there are registers, all of which have to survive every switch. */
typedef struct juggler {
    restate__fiber *fiber;
    int rounds;
    unsigned seed;
    unsigned long long sum;
    double fsum;
    long double lsum;
} juggler;

static RESTATE__NOINLINE void juggle_with(juggler *j, bool park) {
    unsigned long long a = j->seed, b = a * 3, c = a * 5, d = a * 7, e = a * 11, f = a * 13, g = a * 17,
                       h = a * 19, i = a * 23, k = a * 29, l = a * 31, m = a * 37, n = a * 41;
    double p = (double)j->seed + 0.5, q = p * 2, r = p * 3, s = p * 4, t = p * 5, u = p * 6, v = p * 7,
           w = p * 8, x = p * 9, y = p * 10, z = p * 11;
    long double o = (long double)j->seed / 3;
    int turn;
    for (turn = 0; turn < j->rounds; turn++) {
        a += n ^ 1; b += a ^ 2; c += b ^ 3; d += c ^ 4; e += d ^ 5; f += e ^ 6; g += f ^ 7;
        h += g ^ 8; i += h ^ 9; k += i ^ 10; l += k ^ 11; m += l ^ 12; n += m ^ 13;
        p += z / 3; q += p / 5; r += q / 7; s += r / 9; t += s / 3; u += t / 5; v += u / 7;
        w += v / 9; x += w / 3; y += x / 5; z = (z + y / 7) / 1024;
        o += o / 7;
        if (park) restate__fiber_park(j->fiber);
    }
    j->sum = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ k ^ l ^ m ^ n;
    j->fsum = p + q + r + s + t + u + v + w + x + y + z;
    j->lsum = o;
}

static void juggle(void *arg) { juggle_with((juggler *)arg, true); }

TEST(registers_survive) {
    restate__fiber_pool pool;
    juggler parked[5], straight;
    int i, alive = 5;
    /* The owner's own registers, live across every resume below. */
    unsigned long long a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
    double x = 1.5, y = 2.5, z = 3.5;
    restate__fiber_pool_init(&pool, &libc, 8);
    for (i = 0; i < 5; i++) {
        memset(&parked[i], 0, sizeof parked[i]);
        parked[i].seed = (unsigned)i * 1000 + 1;
        parked[i].rounds = 20 + i;
        parked[i].fiber = restate__fiber_new(&pool, RESTATE__FIBER_SWITCHED, STACK_BYTES, juggle, &parked[i]);
    }
    while (alive) {
        alive = 0;
        for (i = 0; i < 5; i++)
            if (!restate__fiber_done(parked[i].fiber)) {
                restate__fiber_resume(parked[i].fiber);
                a += f; b += a; c += b; d += c; e += d; f = e & 0xFFFF;
                x += 0.25; y += x; z += y;
                alive++;
            }
    }
    for (i = 0; i < 5; i++) {
        straight = parked[i];
        straight.sum = 0;
        juggle_with(&straight, false);
        CHECK(straight.sum == parked[i].sum);
        CHECK(straight.fsum == parked[i].fsum);
        CHECK(straight.lsum == parked[i].lsum);
        restate__fiber_free(&pool, parked[i].fiber);
    }
    /* 20 + 21 + ... + 24 parks and 5 ends, done here without any switch between them. */
    {
        unsigned long long a2 = 1, b2 = 2, c2 = 3, d2 = 4, e2 = 5, f2 = 6;
        double x2 = 1.5, y2 = 2.5, z2 = 3.5;
        for (i = 0; i < 115; i++) {
            a2 += f2; b2 += a2; c2 += b2; d2 += c2; e2 += d2; f2 = e2 & 0xFFFF;
            x2 += 0.25; y2 += x2; z2 += y2;
        }
        CHECK(a == a2 && b == b2 && c == c2 && d == d2 && e == e2 && f == f2);
        CHECK(x == x2 && y == y2 && z == z2);
    }
    restate__fiber_pool_free(&pool);
}

/* Where this function's frame begins, modulo what the ABI aligns stacks to, is the same wherever it is called. */
#if defined(__BIGGEST_ALIGNMENT__) && __BIGGEST_ALIGNMENT__ < 16
#  define STACK_ALIGNMENT __BIGGEST_ALIGNMENT__
#else
#  define STACK_ALIGNMENT 16
#endif
static RESTATE__NOINLINE uintptr_t alignment(void) {
    return (uintptr_t)__builtin_frame_address(0) % STACK_ALIGNMENT;
}

/* errno, printf and alignment of the stack behave as in any function. */
static void look_around(void *arg) {
    counter *c = arg;
    char text[64];
    double vector[4] = { 1, 2, 3, 4 };
    CHECK_INT(alignment(), c->runs);
    errno = 17;
    restate__fiber_park(c->fiber);
    snprintf(text, sizeof text, "%.1f %.1Lf", vector[0] + vector[3], (long double)vector[1]);
    CHECK_STR(text, "5.0 2.0");
    c->ended = 1;
}

TEST(stack_is_aligned) {
    restate__fiber_pool pool;
    counter c;
    memset(&c, 0, sizeof c);
    c.runs = (int)alignment();
    restate__fiber_pool_init(&pool, &libc, 1);
    c.fiber = restate__fiber_new(&pool, RESTATE__FIBER_SWITCHED, STACK_BYTES, look_around, &c);
    restate__fiber_resume(c.fiber);
    restate__fiber_resume(c.fiber);
    CHECK_INT(c.ended, 1);
    restate__fiber_free(&pool, c.fiber);
    restate__fiber_pool_free(&pool);
}

static void *own_fibers(void *arg) {
    int i;
    (void)arg;
    for (i = 0; i < 3; i++) many(RESTATE__FIBER_SWITCHED, RESTATE__FIBER_SWITCHES ? 200 : 30);
    return NULL;
}

TEST(two_threads) {
    pthread_t a, b;
    pthread_create(&a, NULL, own_fibers, NULL);
    pthread_create(&b, NULL, own_fibers, NULL);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
}

TEST(no_memory) {
    restate__fiber_pool pool;
    counter c;
    int kind;
    memset(&c, 0, sizeof c);
    restate__fiber_pool_init(&pool, &failing, 4);
    for (kind = RESTATE__FIBER_SWITCHED; kind <= RESTATE__FIBER_THREAD; kind++) {
        CHECK(!restate__fiber_new(&pool, (restate__fiber_kind)kind, SIZE_MAX, count_and_park, &c));
        if (sizeof(size_t) > 4)             /* there it would be 256 MB, which can be had */
            CHECK(!restate__fiber_new(&pool, (restate__fiber_kind)kind, SIZE_MAX / 16, count_and_park, &c)
              || kind == RESTATE__FIBER_THREAD || !RESTATE__FIBER_SWITCHES);
    }
    mem_fail_from(&memory, 1);
    CHECK(!restate__fiber_new(&pool, RESTATE__FIBER_THREAD, STACK_BYTES, count_and_park, &c));
    mem_fail(&memory, 0);
    restate__fiber_pool_free(&pool);
}

/* ---- tasks beside their owner ---- */

typedef struct owner {                      /* waits until it is woken */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken;
    int wakes;
} owner;

static void owner_free(owner *o) {
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
}
static void owner_wake(void *user) {
    owner *o = user;
    pthread_mutex_lock(&o->lock);
    o->woken = true;
    o->wakes++;
    pthread_cond_signal(&o->changed);
    pthread_mutex_unlock(&o->lock);
}
/* With a worker that wakes it. */
static void owner_init(owner *o, restate__worker *w) {
    memset(o, 0, sizeof *o);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    restate__worker_init(w, &libc, 4 * RESTATE__CHUNK_BYTES, 4);
    w->wake = owner_wake;
    w->wake_user = o;
}
static void owner_wait(owner *o) {
    pthread_mutex_lock(&o->lock);
    while (!o->woken) pthread_cond_wait(&o->changed, &o->lock);
    o->woken = false;
    pthread_mutex_unlock(&o->lock);
}

typedef struct blocking {
    restate__note note;                     /* first */
    restate__worker *worker;
    restate__fiber *fiber;
    int go, beside;                         /* atomic */
    int attached, ended;
} blocking;

static void blocking_resume(restate__note *note) { restate__fiber_resume(((blocking *)(void *)note)->fiber); }

static void blocking_want(void *arg) {
    blocking *b = arg;
    restate__worker_post(b->worker, &b->note);
}

/* Between _detach and _attach it waits for something that only the running owner does. */
static void blocking_run(void *arg) {
    blocking *b = arg;
    int i;
    for (i = 0; i < 3; i++) {
        restate__fiber_detach(b->fiber);
        __atomic_store_n(&b->beside, i + 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&b->go, __ATOMIC_SEQ_CST) <= i) sleep_ms(1);
        restate__fiber_attach(b->fiber, blocking_want, b);
        b->attached++;
    }
    restate__fiber_park(b->fiber);
    b->ended = 1;
}

static void blocking_start(blocking *b, restate__worker *w) {
    memset(b, 0, sizeof *b);
    b->note.deliver = blocking_resume;
    b->worker = w;
    b->fiber = restate__fiber_new(&w->fibers, RESTATE__FIBER_THREAD, STACK_BYTES, blocking_run, b);
    CHECK(b->fiber != NULL);
}

TEST(tasks_run_beside_the_owner) {
    enum { N = 8 };
    restate__worker w;
    owner o;
    blocking b[N];
    int i, round, attached;
    owner_init(&o, &w);
    for (i = 0; i < N; i++) {
        blocking_start(&b[i], &w);
        restate__fiber_resume(b[i].fiber);
    }
    for (round = 1; round <= 3; round++) {
        for (i = 0; i < N; i++)
            while (__atomic_load_n(&b[i].beside, __ATOMIC_SEQ_CST) < round) sleep_ms(1);
        for (i = 0; i < N; i++) __atomic_store_n(&b[i].go, round, __ATOMIC_SEQ_CST);
        do {
            owner_wait(&o);
            while (restate__worker_turn(&w)) continue;
            for (attached = i = 0; i < N; i++) attached += b[i].attached;
        } while (attached < round * N);
    }
    for (i = 0; i < N; i++) {
        CHECK(!restate__fiber_done(b[i].fiber));
        restate__fiber_resume(b[i].fiber);
        CHECK(restate__fiber_done(b[i].fiber));
        CHECK_INT(b[i].ended, 1);
        restate__fiber_free(&w.fibers, b[i].fiber);
    }
    restate__worker_free(&w);
    owner_free(&o);
}

TEST(abandoned_while_detached) {
    restate__worker w;
    blocking busy, waiting, next;
    int spin;
    restate__worker_init(&w, &libc, 4 * RESTATE__CHUNK_BYTES, 4);
    blocking_start(&busy, &w);
    blocking_start(&waiting, &w);
    restate__fiber_resume(busy.fiber);
    restate__fiber_resume(waiting.fiber);
    __atomic_store_n(&waiting.go, 1, __ATOMIC_SEQ_CST);
    for (spin = 0; spin < 5000 && !__atomic_load_n(&w.inbox, __ATOMIC_SEQ_CST); spin++) sleep_ms(1);
    CHECK(w.inbox != NULL);                 /* it asked to be attached */
    restate__fiber_free(&w.fibers, waiting.fiber);
    restate__fiber_free(&w.fibers, busy.fiber);
    CHECK(w.fibers.orphans != NULL);
    w.inbox = NULL;
    waiting.note.queued = false;
    __atomic_store_n(&busy.go, 1, __ATOMIC_SEQ_CST);
    /* Making other tasks reaps them. */
    for (spin = 0; spin < 5000 && w.fibers.orphans; spin++) {
        blocking_start(&next, &w);
        restate__fiber_free(&w.fibers, next.fiber);
        sleep_ms(1);
    }
    CHECK(!w.fibers.orphans);
    CHECK(!w.inbox);
    CHECK_INT(busy.attached, 0);
    CHECK_INT(waiting.attached, 0);
    blocking_start(&busy, &w);
    restate__fiber_resume(busy.fiber);
    restate__fiber_free(&w.fibers, busy.fiber);
    __atomic_store_n(&busy.go, 1, __ATOMIC_SEQ_CST);
    restate__worker_free(&w);               /* waits for it */
    CHECK_INT(busy.attached, 0);
}

/* ---- the worker ---- */

enum { POSTERS = 8, NOTES = 10000 };

typedef struct post {
    restate__note note;                     /* first */
    int delivered, value, poster;
} post;

typedef struct poster {
    restate__worker *worker;
    post *posts;
    post *shared;                           /* posted by all of them */
    int *shared_count;                      /* atomic */
} poster;

static int delivered, last_of[POSTERS], out_of_order;

static void deliver_post(restate__note *note) {
    post *p = (post *)(void *)note;
    p->delivered++;
    delivered++;
    if (p->value < last_of[p->poster]) out_of_order++;
    last_of[p->poster] = p->value;
}

static int shared_seen, shared_count;

static void deliver_shared(restate__note *note) {
    (void)note;
    shared_seen = __atomic_load_n(&shared_count, __ATOMIC_RELAXED);
}

static void *post_all(void *arg) {
    poster *p = arg;
    int i;
    for (i = 0; i < NOTES; i++) {
        p->posts[i].value = i;
        restate__worker_post(p->worker, &p->posts[i].note);
        __atomic_add_fetch(p->shared_count, 1, __ATOMIC_RELAXED);
        restate__worker_post(p->worker, &p->shared->note);
    }
    return NULL;
}

TEST(posts_from_eight_threads) {
    restate__worker w;
    owner o;
    post *posts = calloc(POSTERS * NOTES, sizeof *posts), shared;
    poster p[POSTERS];
    pthread_t threads[POSTERS];
    int i, twice = 0;
    owner_init(&o, &w);
    memset(&shared, 0, sizeof shared);
    shared.note.deliver = deliver_shared;
    for (i = 0; i < POSTERS * NOTES; i++) {
        posts[i].note.deliver = deliver_post;
        posts[i].poster = i / NOTES;
    }
    for (i = 0; i < POSTERS; i++) {
        p[i].worker = &w;
        p[i].posts = posts + i * NOTES;
        p[i].shared = &shared;
        p[i].shared_count = &shared_count;
        pthread_create(&threads[i], NULL, post_all, &p[i]);
    }
    while (delivered < POSTERS * NOTES || shared_seen < POSTERS * NOTES) {
        owner_wait(&o);                     /* hangs if a wake is lost */
        while (restate__worker_turn(&w)) continue;
    }
    for (i = 0; i < POSTERS; i++) pthread_join(threads[i], NULL);
    CHECK(!restate__worker_turn(&w));
    for (i = 0; i < POSTERS * NOTES; i++) twice += posts[i].delivered != 1;
    CHECK_INT(twice, 0);
    CHECK_INT(delivered, POSTERS * NOTES);
    CHECK_INT(out_of_order, 0);
    CHECK_INT(shared_seen, POSTERS * NOTES);
    restate__worker_free(&w);
    owner_free(&o);
    free(posts);
}

typedef struct again {
    restate__note note;                     /* first */
    restate__worker *worker;
    int times, delivered;
} again;

static void deliver_again(restate__note *note) {
    again *a = (again *)(void *)note;
    a->delivered++;
    if (a->delivered < a->times) {
        restate__worker_post(a->worker, note);
        restate__worker_later(a->worker, note);
    }
}

TEST(a_note_posted_by_its_delivery_is_kept) {
    restate__worker w;
    again a;
    restate__worker_init(&w, &libc, 4 * RESTATE__CHUNK_BYTES, 4);
    memset(&a, 0, sizeof a);
    a.note.deliver = deliver_again;
    a.worker = &w;
    a.times = 100;
    restate__worker_later(&w, &a.note);
    restate__worker_post(&w, &a.note);
    CHECK(!restate__worker_turn(&w));
    CHECK_INT(a.delivered, 100);
    CHECK(!restate__worker_turn(&w));
    CHECK_INT(a.delivered, 100);
    restate__worker_free(&w);
}

TEST(a_turn_is_bounded) {
    enum { N = 2500 };
    restate__worker w;
    again *a = calloc(N, sizeof *a);
    int i, turns = 1;
    restate__worker_init(&w, &libc, 4 * RESTATE__CHUNK_BYTES, 4);
    for (i = 0; i < N; i++) {
        a[i].note.deliver = deliver_again;
        a[i].times = 1;
        if (i % 2) restate__worker_later(&w, &a[i].note);
        else restate__worker_post(&w, &a[i].note);
    }
    while (restate__worker_turn(&w)) turns++;
    CHECK_INT(turns, 3);
    for (i = 0; i < N; i++) CHECK_INT(a[i].delivered, 1);
    restate__worker_free(&w);
    free(a);
}

TEST(only_the_first_post_wakes) {
    restate__worker w;
    owner o;
    again a, b;
    owner_init(&o, &w);
    memset(&a, 0, sizeof a);
    a.note.deliver = deliver_again;
    b = a;
    restate__worker_post(&w, &a.note);
    restate__worker_post(&w, &b.note);
    restate__worker_post(&w, &a.note);
    CHECK_INT(o.wakes, 1);
    CHECK(!restate__worker_turn(&w));
    CHECK_INT(a.delivered, 1);
    CHECK_INT(b.delivered, 1);
    restate__worker_post(&w, &b.note);
    CHECK_INT(o.wakes, 2);
    CHECK(!restate__worker_turn(&w));
    restate__worker_free(&w);
    owner_free(&o);
}

/* ---- the closure pool ---- */

typedef struct work {
    restate__job job;                       /* first */
    restate__pool *pool;
    struct work *more;
    int *counter;                           /* atomic */
    int *finished;                          /* atomic */
    int wait_for;
    sigset_t mask;
} work;

static void work_count(restate__job *job) { __atomic_add_fetch(((work *)(void *)job)->counter, 1, __ATOMIC_SEQ_CST); }

/* Ends only when `wait_for` of them have begun: at the same time, on as many threads. */
static void work_meet(restate__job *job) {
    work *w = (work *)(void *)job;
    int spin;
    work_count(job);
    for (spin = 0; spin < 10000 && __atomic_load_n(w->counter, __ATOMIC_SEQ_CST) < w->wait_for; spin++)
        sleep_ms(1);
    __atomic_add_fetch(w->finished, 1, __ATOMIC_SEQ_CST);
}

static void work_submit_more(restate__job *job) {
    work *w = (work *)(void *)job;
    work_count(job);
    if (w->more) CHECK(restate__pool_submit(w->pool, &w->more->job));
}

static void work_look(restate__job *job) {
    work *w = (work *)(void *)job;
    pthread_sigmask(SIG_SETMASK, NULL, &w->mask);
    work_count(job);
}

static work *works(size_t n, restate__pool *pool, void (*run)(restate__job *), int *counter) {
    work *w = calloc(n, sizeof *w);
    size_t i;
    for (i = 0; i < n; i++) {
        w[i].job.run = run;
        w[i].pool = pool;
        w[i].counter = counter;
    }
    *counter = 0;
    return w;
}

TEST(a_thousand_jobs) {
    uint32_t threads[] = { 1, 4, 64 };
    size_t t, i;
    for (t = 0; t < sizeof threads / sizeof *threads; t++) {
        restate__pool pool;
        int count;
        work *w = works(1000, &pool, work_count, &count);
        CHECK(restate__pool_init(&pool, &libc, threads[t]));
        for (i = 0; i < 1000; i++) CHECK(restate__pool_submit(&pool, &w[i].job));
        restate__pool_free(&pool);
        CHECK_INT(count, 1000);
        free(w);
    }
}

TEST(jobs_run_in_parallel) {
    enum { N = 16 };
    restate__pool pool;
    int began, finished, round, i, spin;
    work *w = works(N, &pool, work_meet, &began);
    CHECK(restate__pool_init(&pool, &libc, N));
    for (round = 0; round < 50; round++) {  /* on threads that start, idle or have just done a job */
        __atomic_store_n(&began, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&finished, 0, __ATOMIC_SEQ_CST);
        for (i = 0; i < N; i++) {
            w[i].wait_for = N;
            w[i].finished = &finished;
            CHECK(restate__pool_submit(&pool, &w[i].job));
        }
        for (spin = 0; spin < 100000 && __atomic_load_n(&finished, __ATOMIC_SEQ_CST) < N; spin++)
            sleep_ms(round % 3 ? 0 : 1);
        CHECK_INT(__atomic_load_n(&began, __ATOMIC_SEQ_CST), N);
        CHECK_INT(__atomic_load_n(&finished, __ATOMIC_SEQ_CST), N);
        if (round % 5 == 4) {
            restate__pool_free(&pool);
            CHECK(restate__pool_init(&pool, &libc, N));
        }
    }
    restate__pool_free(&pool);
    free(w);
}

TEST(jobs_submit_jobs) {
    uint32_t threads;
    for (threads = 1; threads <= 4; threads++) {
        restate__pool pool;
        int count, i;
        work *w = works(500, &pool, work_submit_more, &count);
        CHECK(restate__pool_init(&pool, &libc, threads));
        for (i = 0; i < 499; i++) w[i].more = &w[i + 1];
        CHECK(restate__pool_submit(&pool, &w[0].job));
        restate__pool_free(&pool);          /* most of them are submitted while it waits */
        CHECK_INT(count, 500);
        free(w);
    }
}

TEST(threads_have_the_signal_mask_of_their_maker) {
    static const int numbers[] = { SIGTERM, SIGINT, SIGALRM, SIGSEGV, SIGUSR1 };
    sigset_t before, mask, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    for (unsigned blocked = 0; blocked < 32; blocked += 31u / 3u) {
        restate__pool pool;
        int count;
        work *w = works(1, &pool, work_look, &count);
        sigemptyset(&mask);
        for (unsigned i = 0; i < 5; i++) if (blocked >> i & 1u) sigaddset(&mask, numbers[i]);
        pthread_sigmask(SIG_SETMASK, &mask, NULL);
        CHECK(restate__pool_init(&pool, &libc, 1));
        CHECK(restate__pool_submit(&pool, &w->job));
        restate__pool_free(&pool);
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        for (unsigned i = 0; i < 5; i++) {
            CHECK_INT(sigismember(&w->mask, numbers[i]), blocked >> i & 1u);
            CHECK_INT(sigismember(&after, numbers[i]), blocked >> i & 1u);
        }
        free(w);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A job for one thread that is busy until it is told; N jobs wait behind it. */
static bool hold_thread;                    /* atomic */

static void work_hold(restate__job *job) {
    work_count(job);
    while (__atomic_load_n(&hold_thread, __ATOMIC_SEQ_CST)) sleep_ms(1);
}

/* Withdraws all jobs but those whose number `kept` divides, in some order; gives the CPU time. */
static double withdraw(size_t n, size_t kept, int order) {
    restate__pool pool;
    int held, count;
    work *one = works(1, &pool, work_hold, &held), *w = works(n, &pool, work_count, &count);
    size_t i, left = 0;
    double took;
    clock_t began;
    __atomic_store_n(&hold_thread, true, __ATOMIC_SEQ_CST);
    CHECK(restate__pool_init(&pool, &libc, 1));
    CHECK(restate__pool_submit(&pool, &one->job));
    while (!__atomic_load_n(&held, __ATOMIC_SEQ_CST)) sleep_ms(1);
    CHECK(!restate__pool_withdraw(&pool, &one->job));       /* it executes */
    for (i = 0; i < n; i++) CHECK(restate__pool_submit(&pool, &w[i].job));
    began = clock();
    for (i = 0; i < n; i++) {
        size_t at = order == 0 ? i : order == 1 ? n - 1 - i : i * 7919 % n;
        if (kept && at % kept == 0) left++;
        else if (!restate__pool_withdraw(&pool, &w[at].job)) CHECK_INT(at, -1);
    }
    took = (double)(clock() - began) / CLOCKS_PER_SEC;
    CHECK(!restate__pool_withdraw(&pool, &w[1].job));       /* again */
    if (!left) CHECK(!pool.first && !pool.last);
    CHECK(restate__pool_submit(&pool, &w[1].job));          /* and back */
    __atomic_store_n(&hold_thread, false, __ATOMIC_SEQ_CST);
    restate__pool_free(&pool);
    CHECK_INT(count, left + 1);
    free(w);
    free(one);
    return took;
}

TEST(jobs_are_withdrawn) {
    int order;
    double few, many;
    for (order = 0; order < 3; order++) {
        withdraw(100, 0, order);
        withdraw(100, 3, order);
        withdraw(2, 0, order);
    }
    few = withdraw(2000, 0, 2), many = withdraw(20000, 0, 2);
    CHECK(many < 100 * few + 0.2);          /* 10 times as much, if it is O(1) each; 100 times with a search */
}

TEST(pool_without_threads_or_memory) {
    restate__pool pool;
    int count;
    work *w = works(3, &pool, work_count, &count);
    CHECK(restate__pool_init(&pool, &libc, 0));
    CHECK(!restate__pool_submit(&pool, &w[0].job));
    restate__pool_free(&pool);
    CHECK(restate__pool_init(&pool, &failing, 8));
    mem_fail_from(&memory, 1);
    CHECK(!restate__pool_submit(&pool, &w[0].job));
    mem_fail_from(&memory, 2);
    CHECK(restate__pool_submit(&pool, &w[1].job));
    CHECK(restate__pool_submit(&pool, &w[2].job));      /* the one thread does both */
    restate__pool_free(&pool);
    mem_fail(&memory, 0);
    CHECK_INT(count, 2);
    free(w);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(many_fibers), T(many_tasks), T(deep_recursion),
#if RESTATE__STACK_MMAP || !RESTATE__FIBER_SWITCHES
        T(guard_page),
#else
        T(canary),
#endif
        T(stacks_are_reused_by_size), T(abandoned_fibers), T(abandoned_tasks), T(registers_survive),
        T(stack_is_aligned), T(two_threads), T(no_memory),
        T(tasks_run_beside_the_owner), T(abandoned_while_detached),
        T(posts_from_eight_threads), T(a_note_posted_by_its_delivery_is_kept), T(a_turn_is_bounded),
        T(only_the_first_post_wakes),
        T(a_thousand_jobs), T(jobs_run_in_parallel), T(jobs_submit_jobs), T(threads_have_the_signal_mask_of_their_maker),
        T(jobs_are_withdrawn), T(pool_without_threads_or_memory),
#if RESTATE_FIBER == RESTATE_FIBER_CUSTOM
        T(port_leaves_nothing),
#endif
        {0}
    };
    libc = restate__mem_defaults(libc);
    failing = mem_allocator(&memory);
    return test_main(argc, argv, cases);
}
