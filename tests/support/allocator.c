/* The allocator of the tests: it counts, and it fails where a test wants that. Any thread may use it.
 *
 *     static mem_counts memory;
 *     ... .allocator = mem_allocator(&memory) ...
 *     mem_fail(&memory, 3);                // the third call from now on fails */
#ifndef SUPPORT_ALLOCATOR_C
#define SUPPORT_ALLOCATOR_C

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct mem_counts {
    size_t live, blocks, peak;              /* bytes in use, in how many blocks; the most bytes */
    size_t calls;                           /* that ask for memory */
    size_t fail_at;                         /* the one that fails, counted from 1; 0: none does */
    bool fail_on;                           /* and all after it */
} mem_counts;

#ifdef RESTATE_NO_THREADS
#  define MEM_GET(x) (x)
#  define MEM_PUT(x, n) ((x) = (n))
#  define MEM_ADD(x, n) ((x) += (n))
#  define MEM_SWAP(x, old, n) ((void)(old), (x) = (n), true)
#else
#  define MEM_GET(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#  define MEM_PUT(x, n) __atomic_store_n(&(x), n, __ATOMIC_SEQ_CST)
#  define MEM_ADD(x, n) __atomic_add_fetch(&(x), n, __ATOMIC_SEQ_CST)
#  define MEM_SWAP(x, old, n) \
    __atomic_compare_exchange_n(&(x), &(old), n, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#endif

static inline void *mem_realloc(void *user, void *old, size_t old_size, size_t size) {
    mem_counts *m = (mem_counts *)user;
    size_t call = MEM_ADD(m->calls, 1), top = MEM_GET(m->peak);
    if (size > SIZE_MAX / 64) return NULL;
    size_t fails = MEM_GET(m->fail_at);
    if (fails && (MEM_GET(m->fail_on) ? call >= fails : call == fails)) return NULL;
    void *p = realloc(old, size);
    if (!p) return NULL;
    if (!old) MEM_ADD(m->blocks, 1);
    size_t now = MEM_ADD(m->live, size - (old ? old_size : 0));
    while (now > top && !MEM_SWAP(m->peak, top, now)) continue;
    return p;
}

static inline void *mem_alloc(void *user, size_t size) { return mem_realloc(user, NULL, 0, size); }

static inline void mem_free(void *user, void *old, size_t size) {
    mem_counts *m = (mem_counts *)user;
    if (!old) return;
    MEM_ADD(m->live, 0 - size);
    MEM_ADD(m->blocks, (size_t)0 - 1);
    free(old);
}

static inline restate_allocator mem_allocator(mem_counts *m) {
    return (restate_allocator){ .alloc = mem_alloc, .realloc = mem_realloc, .free = mem_free, .user = m };
}


/* The n-th call from now on fails (0: none does), and all after it fail. */
static inline void mem_fail_from(mem_counts *m, size_t n) {
    MEM_PUT(m->calls, 0);
    MEM_PUT(m->fail_on, true);
    MEM_PUT(m->fail_at, n);
}

/* The n-th call from now on fails, and no other. */
static inline void mem_fail(mem_counts *m, size_t n) {
    MEM_PUT(m->calls, 0);
    MEM_PUT(m->fail_on, false);
    MEM_PUT(m->fail_at, n);
}

#endif
