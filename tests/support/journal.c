/* A scripted Restate runtime: it builds the bytes a runtime sends, feeds them to a state machine, and
 * shows what comes back as text. It shares no code with the library: own protobuf writer and reader.
 * Include it behind the implementation of restate.h.
 *
 *     TEST(sleep_suspends) {
 *         EVERY(5, 7) {                            // protocols 5 to 7, input fed in several ways
 *             start(1); input("my-data"); eof();   // the script
 *             go();                                // ready? then INPUT
 *             CHECK_STR(await(op_sleep("", 9)), "599");
 *             OUT("Sleep 1 wake:9", "Suspension W{c:1,s:1}");   // all of the output so far
 *         }
 *     }
 *
 * Script: start, input, cmd_... and note_... append frames, as does frame(type, fields...); they reach
 * the state machine at the next op_..., await(), eof(), feed() or ready(). EVERY repeats its block per
 * protocol version and per way to cut the input (whole, single bytes, random pieces) and checks that the
 * output is the same each time, that all of it was looked at, and that no memory is left.
 *
 * Output as text: one line per frame, "Name fields". Futures are W{c:1,2,s:17,n:abc,N:[ALL_COMPLETED{...}]}:
 * completions, signals, names, nested; W is FIRST_COMPLETED. Expected lines are written for protocol 7;
 * for 5 and 6 OUT flattens suspensions, and leaves out AwaitingOn and the "ack" of Propose. An expected
 * line may end with "..." (anything follows), or begin with "? " (may be missing). */
#ifndef SUPPORT_JOURNAL_C
#define SUPPORT_JOURNAL_C

#include "allocator.c"
#include "test.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* ---- Memory of the script, freed by rt_free_all ------------------------------------------------ */

typedef struct rt_block { struct rt_block *next; void *pad; } rt_block;
static rt_block *rt_blocks;

static inline void *rt_alloc(size_t size) {                 /* zeroed */
    rt_block *b = (rt_block *)calloc(1, sizeof *b + size);
    if (!b) abort();
    b->next = rt_blocks;
    rt_blocks = b;
    return b + 1;
}

static inline void rt_free_all(void) {
    while (rt_blocks) {
        rt_block *b = rt_blocks;
        rt_blocks = b->next;
        free(b);
    }
}

/* ---- Growing bytes; always followed by a zero byte -------------------------------------------- */

typedef struct rt_bytes { uint8_t *at; size_t len, room; } rt_bytes;

static inline void rt_add(rt_bytes *b, const void *data, size_t len) {
    if (len >= b->room - b->len) {
        b->room = (b->len + len + 64) * 2;
        b->at = (uint8_t *)realloc(b->at, b->room);
        if (!b->at) abort();
    }
    if (len) memcpy(b->at + b->len, data, len);
    b->len += len;
    b->at[b->len] = 0;
}

static inline void rt_drop(rt_bytes *b) {
    free(b->at);
    b->at = NULL;
    b->len = b->room = 0;
}

static inline void rt_print(rt_bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void rt_print(rt_bytes *b, const char *format, ...) {
    va_list args, again;
    int n;
    va_start(args, format);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, args);
    if (n > 0) {
        char *text = (char *)malloc((size_t)n + 1);
        if (!text) abort();
        vsnprintf(text, (size_t)n + 1, format, again);
        rt_add(b, text, (size_t)n);
        free(text);
    }
    va_end(again);
    va_end(args);
}

static inline void rt_hex(rt_bytes *b, const char *hex) {   /* spaces are skipped */
    for (; *hex; hex++) {
        unsigned n;
        uint8_t byte;
        if (*hex == ' ' || sscanf(hex, "%2x", &n) != 1) continue;
        byte = (uint8_t)n;
        rt_add(b, &byte, 1);
        hex++;
    }
}

/* ---- Writing protobuf and frames ---------------------------------------------------------------- */

enum {
    M_START = 0x0000, M_SUSPENSION, M_ERROR, M_END, M_COMMAND_ACK, M_PROPOSE, M_AWAITING_ON, M_ACK,
    M_INPUT = 0x0400, M_OUTPUT, M_GET_LAZY, M_SET, M_CLEAR, M_CLEAR_ALL, M_GET_LAZY_KEYS, M_GET_EAGER,
    M_GET_EAGER_KEYS, M_GET_PROMISE, M_PEEK_PROMISE, M_COMPLETE_PROMISE, M_SLEEP, M_CALL, M_SEND,
    M_SEND_SIGNAL = 0x0410, M_RUN, M_ATTACH, M_GET_OUTPUT, M_COMPLETE_AWAKEABLE,
    N_GET_LAZY = 0x8002, N_GET_LAZY_KEYS = 0x8006, N_GET_PROMISE = 0x8009, N_PEEK_PROMISE, N_COMPLETE_PROMISE,
    N_SLEEP, N_CALL, N_CALL_ID, N_RUN = 0x8011, N_ATTACH, N_GET_OUTPUT, N_SIGNAL = 0xFBFF
};

typedef struct rt_args { va_list list; } rt_args;

static inline void rt_varint(rt_bytes *b, uint64_t n) {
    do {
        uint8_t byte = (uint8_t)((n & 127) | (n > 127 ? 128 : 0));
        rt_add(b, &byte, 1);
    } while (n >>= 7);
}

static inline void rt_put(rt_bytes *b, unsigned number, const void *data, size_t len) {
    rt_varint(b, number << 3 | 2);
    rt_varint(b, len);
    rt_add(b, data, len);
}

/* Fields by a format of numbers and kinds, e.g. "1s 11u 14(1s)":
 *   s const char *, even if empty; NULL: no field        u unsigned, U uint64_t: even if zero
 *   n const char *, not if empty                         z unsigned: not if zero
 *   b const void *, size_t                               ( ... ) a message */
static inline const char *rt_fields(rt_bytes *b, const char *f, rt_args *args) {
    while (*f && *f != ')') {
        unsigned number = 0;
        if (*f == ' ') { f++; continue; }
        while (*f >= '0' && *f <= '9') number = number * 10 + (unsigned)(*f++ - '0');
        switch (*f++) {
        case '(': {
            rt_bytes inner = { NULL, 0, 0 };
            f = rt_fields(&inner, f, args);
            if (*f == ')') f++;
            rt_put(b, number, inner.at, inner.len);
            rt_drop(&inner);
            break;
        }
        case 's': case 'n': {
            const char *text = va_arg(args->list, const char *);
            if (text && (*text || f[-1] == 's')) rt_put(b, number, text, strlen(text));
            break;
        }
        case 'b': {
            const void *data = va_arg(args->list, const void *);
            rt_put(b, number, data, va_arg(args->list, size_t));
            break;
        }
        case 'u': case 'z': {
            unsigned n = va_arg(args->list, unsigned);
            if (n || f[-1] == 'u') rt_varint(b, number << 3), rt_varint(b, n);
            break;
        }
        case 'U': rt_varint(b, number << 3); rt_varint(b, va_arg(args->list, uint64_t)); break;
        default: abort();
        }
    }
    return f;
}

static inline void rt_frame(rt_bytes *to, unsigned type, unsigned flags, const void *payload, size_t len) {
    uint8_t head[8];
    head[0] = (uint8_t)(type >> 8), head[1] = (uint8_t)type;
    head[2] = (uint8_t)(flags >> 8), head[3] = (uint8_t)flags;
    head[4] = (uint8_t)(len >> 24), head[5] = (uint8_t)(len >> 16), head[6] = (uint8_t)(len >> 8), head[7] = (uint8_t)len;
    rt_add(to, head, 8);
    rt_add(to, payload, len);
}

static rt_bytes rt_script;                                  /* frames on their way to the state machine */

static inline void frame(unsigned type, const char *format, ...) {
    rt_bytes payload = { NULL, 0, 0 };
    rt_args args;
    va_start(args.list, format);
    rt_fields(&payload, format, &args);
    va_end(args.list);
    rt_frame(&rt_script, type, 0, payload.at, payload.len);
    rt_drop(&payload);
}

static inline void raw(const char *hex) { rt_hex(&rt_script, hex); }

/* ---- What a runtime sends ------------------------------------------------------------------------ */

typedef struct rt_start {
    unsigned known;
    bool complete;                                          /* all of the state is in `state` */
    const char *state, *key;                                /* "a=1;b=2" */
    unsigned retries;
    uint64_t duration_ms, seed;
    const char *id, *debug_id, *scope, *limit_key, *idempotency_key;
} rt_start;

static inline void rt_add_start(const rt_start *s) {
    rt_bytes p = { NULL, 0, 0 };
    const char *id = s->id ? s->id : "123", *debug = s->debug_id ? s->debug_id : "123", *at = s->state;
    rt_put(&p, 1, id, strlen(id));
    rt_put(&p, 2, debug, strlen(debug));
    rt_varint(&p, 3 << 3), rt_varint(&p, s->known);
    while (at && *at) {
        size_t len = strcspn(at, ";"), k = strcspn(at, "=");
        rt_bytes entry = { NULL, 0, 0 };
        rt_put(&entry, 1, at, k);
        if (len > k + 1) rt_put(&entry, 2, at + k + 1, len - k - 1);
        rt_put(&p, 4, entry.at, entry.len);
        rt_drop(&entry);
        at += len + (at[len] == ';');
    }
    if (!s->complete) rt_varint(&p, 5 << 3), rt_varint(&p, 1);
    if (s->key) rt_put(&p, 6, s->key, strlen(s->key));
    if (s->retries) rt_varint(&p, 7 << 3), rt_varint(&p, s->retries);
    if (s->duration_ms) rt_varint(&p, 8 << 3), rt_varint(&p, s->duration_ms);
    if (s->seed) rt_varint(&p, 9 << 3), rt_varint(&p, s->seed);
    if (s->scope) rt_put(&p, 10, s->scope, strlen(s->scope));
    if (s->limit_key) rt_put(&p, 11, s->limit_key, strlen(s->limit_key));
    if (s->idempotency_key) rt_put(&p, 12, s->idempotency_key, strlen(s->idempotency_key));
    rt_frame(&rt_script, M_START, 0, p.at, p.len);
    rt_drop(&p);
}

#define start(...) rt_add_start(&(rt_start){ .known = __VA_ARGS__ })    /* start(2, .key = "k") */

static inline void input(const char *body) { frame(M_INPUT, "14(1s)", body); }

/* The usual beginning: Start with `known` entries, Input, and what is added by the caller. */
static inline void given(unsigned known) {
    start(known);
    input("my-data");
}
static inline void given_complete(unsigned known, const char *state) {
    start(known, .complete = true, .state = state);
    input("my-data");
}
static inline void cmd_output(const char *value) { frame(M_OUTPUT, "14(1n)", value); }
static inline void cmd_output_failure(unsigned code, const char *message) { frame(M_OUTPUT, "15(1u2n)", code, message); }
static inline void cmd_get_lazy(unsigned id, const char *key) { frame(M_GET_LAZY, "1n 11u", key, id); }
static inline void cmd_get_lazy_keys(unsigned id) { frame(M_GET_LAZY_KEYS, "11u", id); }
static inline void cmd_get_eager(const char *key, const char *value) {  /* NULL: void */
    if (value) frame(M_GET_EAGER, "1n 14(1n)", key, value);
    else frame(M_GET_EAGER, "1n 13()", key);
}
static inline void cmd_set(const char *key, const char *value) { frame(M_SET, "1n 3(1n)", key, value); }
static inline void cmd_clear(const char *key) { frame(M_CLEAR, "1n", key); }
static inline void cmd_clear_all(void) { frame(M_CLEAR_ALL, ""); }
static inline void cmd_get_promise(unsigned id, const char *key) { frame(M_GET_PROMISE, "1n 11u", key, id); }
static inline void cmd_peek_promise(unsigned id, const char *key) { frame(M_PEEK_PROMISE, "1n 11u", key, id); }
static inline void cmd_sleep(unsigned id, const char *name, uint64_t wake) {
    frame(M_SLEEP, "1U 11u 12n", wake, id, name);
}
static inline void cmd_run(unsigned id, const char *name) { frame(M_RUN, "11u 12n", id, name); }
static inline void cmd_call(unsigned id, const char *parameter) {       /* the ids are `id` and `id` + 1 */
    frame(M_CALL, "1s 2s 3n 10u 11u", "Greeter", "greet", parameter, id, id + 1);
}
static inline void cmd_send(unsigned id, const char *parameter) {
    frame(M_SEND, "1s 2s 3n 10u", "Greeter", "greet", parameter, id);
}
static inline void cmd_cancel(const char *target) { frame(M_SEND_SIGNAL, "1s 2u 4()", target, 1); }

static inline void note_void(unsigned type, unsigned id) { frame(type, "1u 4()", id); }
static inline void note_value(unsigned type, unsigned id, const char *value) { frame(type, "1u 5(1n)", id, value); }
static inline void note_failure(unsigned type, unsigned id, unsigned code, const char *message) {
    frame(type, "1u 6(1u2n)", id, code, message);
}
static inline void note_id(unsigned id, const char *invocation) { frame(N_CALL_ID, "1u 16s", id, invocation); }
static inline void note_sleep(unsigned id) { note_void(N_SLEEP, id); }
static inline void note_signal(unsigned index, const char *value) { frame(N_SIGNAL, "2u 5(1n)", index, value); }
static inline void note_signal_failure(unsigned index, unsigned code, const char *message) {
    frame(N_SIGNAL, "2u 6(1u2n)", index, code, message);
}
static inline void note_named(const char *name, const char *value) { frame(N_SIGNAL, "3s 5(1n)", name, value); }
static inline void note_cancel(void) { frame(N_SIGNAL, "2u 4()", 1); }
static inline void note_ack(unsigned id) { frame(M_ACK, "1u", id); }

/* ---- Futures, from text and from protobuf --------------------------------------------------------- */

typedef struct rt_tree {
    unsigned kind;
    uint32_t *ids[2];                                       /* completions, signals */
    size_t count[3];
    const char **names;
    struct rt_tree **nested;
    size_t nested_count;
} rt_tree;

static const char *const rt_combinators[] = { "UNKNOWN", "W", "ALL_COMPLETED", "FIRST_SUCCEEDED", "ALL_SUCCEEDED" };

static inline void *rt_more(void *array, size_t count, size_t size) {   /* room for one more; a power of two is full */
    void *more;
    if (count & (count - 1) || (count == 0 && array)) return array;
    more = rt_alloc((count ? count * 2 : 1) * size);
    if (count) memcpy(more, array, count * size);
    return more;
}

static inline void rt_tree_id(rt_tree *t, int list, uint32_t id) {
    t->ids[list] = (uint32_t *)rt_more(t->ids[list], t->count[list], sizeof id);
    t->ids[list][t->count[list]++] = id;
}

static inline void rt_tree_name(rt_tree *t, const void *name, size_t len) {
    char *copy = (char *)rt_alloc(len + 1);
    memcpy(copy, name, len);
    t->names = (const char **)rt_more(t->names, t->count[2], sizeof *t->names);
    t->names[t->count[2]++] = copy;
}

static inline void rt_tree_nest(rt_tree *t, rt_tree *child) {
    t->nested = (rt_tree **)rt_more(t->nested, t->nested_count, sizeof *t->nested);
    t->nested[t->nested_count++] = child;
}

static inline int rt_by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static inline int rt_by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted and without duplicates: what is awaited is a set. */
static inline void rt_tree_lists(rt_bytes *out, rt_tree *t) {
    const char *comma = "";
    for (int list = 0; list < 2; list++) {
        if (t->count[list]) qsort(t->ids[list], t->count[list], sizeof(uint32_t), rt_by_number);
        for (size_t i = 0; i < t->count[list]; i++) {
            if (i && t->ids[list][i] == t->ids[list][i - 1]) continue;
            rt_print(out, "%s%s%u", comma, i ? "" : list ? "s:" : "c:", t->ids[list][i]);
            comma = ",";
        }
    }
    if (t->count[2]) qsort(t->names, t->count[2], sizeof *t->names, rt_by_text);
    for (size_t i = 0; i < t->count[2]; i++) {
        if (i && strcmp(t->names[i], t->names[i - 1]) == 0) continue;
        rt_print(out, "%s%s%s", comma, i ? "" : "n:", t->names[i]);
        comma = ",";
    }
}

static inline void rt_tree_print(rt_bytes *out, rt_tree *t) {
    rt_print(out, "%s{", t->kind < 5 ? rt_combinators[t->kind] : "?");
    rt_tree_lists(out, t);
    if (t->nested_count) {
        char **texts = (char **)rt_alloc(t->nested_count * sizeof *texts);
        rt_print(out, "%sN:[", t->count[0] + t->count[1] + t->count[2] ? "," : "");
        for (size_t i = 0; i < t->nested_count; i++) {
            rt_bytes one = { NULL, 0, 0 };
            rt_tree_print(&one, t->nested[i]);
            texts[i] = (char *)one.at;
        }
        qsort(texts, t->nested_count, sizeof *texts, rt_by_text);
        for (size_t i = 0; i < t->nested_count; i++) {
            rt_print(out, "%s%s", i ? "," : "", texts[i]);
            free(texts[i]);
        }
        rt_print(out, "]");
    }
    rt_print(out, "}");
}

static inline void rt_tree_flatten(rt_tree *to, const rt_tree *t) {
    for (int list = 0; list < 2; list++)
        for (size_t i = 0; i < t->count[list]; i++) rt_tree_id(to, list, t->ids[list][i]);
    for (size_t i = 0; i < t->count[2]; i++) rt_tree_name(to, t->names[i], strlen(t->names[i]));
    for (size_t i = 0; i < t->nested_count; i++) rt_tree_flatten(to, t->nested[i]);
}

/* "W{c:1,2,s:17,n:abc,N:[{...}]}"; without a name it is W. */
static inline rt_tree *rt_tree_parse(const char **text) {
    rt_tree *t = (rt_tree *)rt_alloc(sizeof *t);
    const char *p = *text;
    char list = 0;
    size_t len = strcspn(p, "{");
    t->kind = 1;
    for (unsigned i = 0; i < 5; i++)
        if (strlen(rt_combinators[i]) == len && memcmp(rt_combinators[i], p, len) == 0) t->kind = i;
    for (p += len + (p[len] != 0); *p && *p != '}';) {
        if (*p == ',') p++;
        if (p[0] && p[1] == ':') list = *p, p += 2;
        if (list == 'N') {
            for (p++; *p && *p != ']'; p += *p == ',') rt_tree_nest(t, rt_tree_parse(&p));
            p += *p != 0;
            continue;
        }
        len = strcspn(p, ",}");
        if (list == 'n') rt_tree_name(t, p, len);
        else rt_tree_id(t, list == 's', (uint32_t)strtoul(p, NULL, 10));
        p += len;
    }
    *text = p + (*p != 0);
    return t;
}

/* ---- Reading protobuf ---------------------------------------------------------------------------- */

typedef struct rt_field { unsigned number, wire; uint64_t n; const uint8_t *at; size_t len; } rt_field;

static inline bool rt_number(const uint8_t **p, const uint8_t *end, uint64_t *n) {
    *n = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t byte = *(*p)++;
        *n |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

/* 1: a field, 0: the end, -1: malformed. */
static inline int rt_next_field(const uint8_t **p, const uint8_t *end, rt_field *f) {
    uint64_t tag;
    if (*p == end) return 0;
    if (!rt_number(p, end, &tag) || tag >> 3 == 0) return -1;
    f->number = (unsigned)(tag >> 3);
    f->wire = (unsigned)(tag & 7);
    if (f->wire > 2 || !rt_number(p, end, &f->n) || f->wire == 1) return -1;
    f->at = *p;
    f->len = f->wire == 2 ? (size_t)f->n : 0;
    if (f->wire == 2 && f->n > (uint64_t)(end - *p)) return -1;
    *p += f->len;
    return 1;
}

static inline void rt_tree_numbers(rt_tree *t, int list, const rt_field *f) {
    const uint8_t *p = f->at, *end = p + f->len;
    uint64_t n;
    if (f->wire == 0) rt_tree_id(t, list, (uint32_t)f->n);
    while (f->wire == 2 && p < end && rt_number(&p, end, &n)) rt_tree_id(t, list, (uint32_t)n);
}

static inline rt_tree *rt_tree_read(const uint8_t *p, size_t len) {
    rt_tree *t = (rt_tree *)rt_alloc(sizeof *t);
    const uint8_t *end = p + len;
    rt_field f;
    int more;
    while ((more = rt_next_field(&p, end, &f)) == 1) {
        if (f.number == 1 || f.number == 2) rt_tree_numbers(t, (int)f.number - 1, &f);
        else if (f.number == 3) rt_tree_name(t, f.at, f.len);
        else if (f.number == 4) rt_tree_nest(t, rt_tree_read(f.at, f.len));
        else if (f.number == 5) t->kind = (unsigned)f.n;
        else t->kind = 99;
    }
    if (more < 0) t->kind = 99;
    return t;
}

/* ---- Frames as text ------------------------------------------------------------------------------- */

/* A field: its number, how it is shown, and what stands before it.
 *   u number, not if zero     s text, not if empty     v Value     h Header, one of many     F Future
 *   U number                  S text                   0 Void      k StateKeys               b true
 *   T type of a message                                f Failure   ( message of the next table */
typedef struct rt_shape { unsigned number; char kind; const char *label; const struct rt_shape *inner; } rt_shape;
typedef struct rt_message { unsigned type; const char *name; rt_shape shape[14]; } rt_message;

static const rt_shape rt_workflow[] = {
    { 1, 's', "", NULL }, { 2, 's', "", NULL }, { 3, 'S', "scope:", NULL }, { 0, 0, NULL, NULL }
};
static const rt_shape rt_idempotent[] = {
    { 1, 's', "", NULL }, { 2, 'S', "key:", NULL }, { 3, 's', "", NULL }, { 4, 's', "", NULL }, { 5, 'S', "scope:", NULL },
    { 0, 0, NULL, NULL }
};

#define RT_U(n, label) { n, 'u', label, NULL }
#define RT_S(n, label) { n, 's', label, NULL }
#define RT_K(n, kind, label) { n, kind, label, NULL }
#define RT_END { 0, 0, NULL, NULL }

static const rt_message rt_messages[] = {
    { M_SUSPENSION, "Suspension", { RT_END } },
    { M_ERROR, "Error", { RT_U(1, ""), RT_K(4, 'U', "index:"), RT_K(6, 'T', ""), RT_K(5, 'S', ""), RT_K(8, 'U', "delay:"),
                          RT_U(9, "behavior:"), RT_S(2, "message:"), RT_S(3, "stack:"), RT_END } },
    { M_END, "End", { RT_END } },
    { M_PROPOSE, "Propose", { RT_U(1, ""), RT_K(14, 'S', "value "), RT_K(15, 'f', ""), RT_END } },
    { M_AWAITING_ON, "AwaitingOn", { RT_K(1, 'F', ""), RT_K(2, 'b', "executing"), RT_END } },
    { M_INPUT, "Input", { RT_K(14, 'v', "value "), RT_END } },
    { M_OUTPUT, "Output", { RT_K(14, 'v', "value "), RT_K(15, 'f', ""), RT_S(12, "name:"), RT_END } },
    { M_GET_LAZY, "GetLazyState", { RT_U(11, ""), RT_S(1, ""), RT_S(12, "name:"), RT_END } },
    { M_SET, "SetState", { RT_S(1, ""), RT_K(3, 'v', "value "), RT_S(12, "name:"), RT_END } },
    { M_CLEAR, "ClearState", { RT_S(1, ""), RT_S(12, "name:"), RT_END } },
    { M_CLEAR_ALL, "ClearAllState", { RT_S(12, "name:"), RT_END } },
    { M_GET_LAZY_KEYS, "GetLazyStateKeys", { RT_U(11, ""), RT_S(12, "name:"), RT_END } },
    { M_GET_EAGER, "GetEagerState", { RT_S(1, ""), RT_K(13, '0', ""), RT_K(14, 'v', "value "), RT_S(12, "name:"), RT_END } },
    { M_GET_EAGER_KEYS, "GetEagerStateKeys", { RT_K(14, 'k', ""), RT_S(12, "name:"), RT_END } },
    { M_GET_PROMISE, "GetPromise", { RT_U(11, ""), RT_S(1, ""), RT_S(12, "name:"), RT_END } },
    { M_PEEK_PROMISE, "PeekPromise", { RT_U(11, ""), RT_S(1, ""), RT_S(12, "name:"), RT_END } },
    { M_COMPLETE_PROMISE, "CompletePromise", { RT_U(11, ""), RT_S(1, ""), RT_K(2, 'v', "value "), RT_K(3, 'f', ""),
                                               RT_S(12, "name:"), RT_END } },
    { M_SLEEP, "Sleep", { RT_U(11, ""), RT_U(1, "wake:"), RT_S(12, "name:"), RT_END } },
    { M_CALL, "Call", { RT_U(10, ""), RT_U(11, ""), RT_S(1, ""), RT_S(2, ""), RT_S(5, "key:"), RT_S(3, "parameter:"),
                        RT_K(4, 'h', ""), RT_K(6, 'S', "idempotency:"), RT_K(7, 'S', "scope:"), RT_K(8, 'S', "limit:"),
                        RT_S(12, "name:"), RT_END } },
    { M_SEND, "OneWayCall", { RT_U(10, ""), RT_S(1, ""), RT_S(2, ""), RT_S(6, "key:"), RT_S(3, "parameter:"), RT_U(4, "at:"),
                              RT_K(5, 'h', ""), RT_K(7, 'S', "idempotency:"), RT_K(8, 'S', "scope:"), RT_K(9, 'S', "limit:"),
                              RT_S(12, "name:"), RT_END } },
    { M_SEND_SIGNAL, "SendSignal", { RT_S(1, ""), RT_K(2, 'U', "index:"), RT_K(3, 'S', "name:"), RT_K(4, '0', ""),
                                     RT_K(5, 'v', "value "), RT_K(6, 'f', ""), RT_S(12, "entry:"), RT_END } },
    { M_RUN, "Run", { RT_U(11, ""), RT_S(12, ""), RT_END } },
    { M_ATTACH, "AttachInvocation", { RT_U(11, ""), RT_K(1, 'S', ""), { 3, '(', "idempotent:", rt_idempotent },
                                      { 4, '(', "workflow:", rt_workflow }, RT_S(12, "name:"), RT_END } },
    { M_GET_OUTPUT, "GetInvocationOutput", { RT_U(11, ""), RT_K(1, 'S', ""), { 3, '(', "idempotent:", rt_idempotent },
                                             { 4, '(', "workflow:", rt_workflow }, RT_S(12, "name:"), RT_END } },
    { M_COMPLETE_AWAKEABLE, "CompleteAwakeable", { RT_S(1, ""), RT_K(2, 'v', "value "), RT_K(3, 'f', ""), RT_S(12, "name:"),
                                                   RT_END } },
    { 0, NULL, { RT_END } }
};

static inline const rt_message *rt_message_of(unsigned type) {
    const rt_message *m = rt_messages;
    while (m->name && m->type != type) m++;
    return m;
}

static inline void rt_quote(rt_bytes *out, const uint8_t *at, size_t len) {
    rt_add(out, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if (at[i] < 32 || at[i] > 126) rt_print(out, "\\x%02x", at[i]);
        else rt_add(out, at + i, 1);
    }
    rt_add(out, "\"", 1);
}

/* The texts in fields `first` and `second` of a message, quoted: "a" or "a":"b" */
static inline void rt_quote_inner(rt_bytes *out, const rt_field *f, unsigned first, unsigned second) {
    rt_field texts[2] = { { 0, 2, 0, NULL, 0 }, { 0, 2, 0, NULL, 0 } }, g;
    const uint8_t *p = f->at;
    int more;
    while ((more = rt_next_field(&p, f->at + f->len, &g)) == 1) {
        if (g.number == first) texts[0] = g;
        else if (g.number == second) texts[1] = g;
        else rt_print(out, "?%u ", g.number);
    }
    if (more < 0) rt_print(out, "MALFORMED ");
    rt_quote(out, texts[0].at, texts[0].len);
    if (!second) return;
    rt_print(out, ":");
    rt_quote(out, texts[1].at, texts[1].len);
}

static inline void rt_show_failure(rt_bytes *out, const rt_field *f) {
    const uint8_t *p = f->at;
    uint64_t code = 0;
    rt_field g, message = { 0, 2, 0, NULL, 0 };
    rt_bytes metadata = { NULL, 0, 0 };
    while (rt_next_field(&p, f->at + f->len, &g) == 1) {
        if (g.number == 1) code = g.n;
        if (g.number == 2) message = g;
        if (g.number == 3) rt_print(&metadata, " "), rt_quote_inner(&metadata, &g, 1, 2);
    }
    rt_print(out, "failure %llu ", (unsigned long long)code);
    rt_quote(out, message.at, message.len);
    rt_add(out, metadata.at, metadata.len);
    rt_drop(&metadata);
}

static inline void rt_show_keys(rt_bytes *out, const rt_field *f) {
    const uint8_t *p = f->at;
    rt_field g;
    const char *comma = "";
    rt_print(out, "[");
    while (rt_next_field(&p, f->at + f->len, &g) == 1) {
        rt_print(out, "%s%.*s", comma, (int)g.len, (const char *)g.at);
        comma = ",";
    }
    rt_print(out, "]");
}

static inline void rt_show_fields(rt_bytes *out, const rt_shape *shape, const uint8_t *at, size_t len);

static inline void rt_show_field(rt_bytes *out, const rt_shape *s, const rt_field *f) {
    if ((s->kind == 'u' && f->n == 0) || (s->kind == 's' && f->len == 0)) return;
    rt_print(out, " %s", s->label);
    switch (s->kind) {
    case 'u': case 'U': rt_print(out, "%llu", (unsigned long long)f->n); break;
    case 's': case 'S': rt_quote(out, f->at, f->len); break;
    case 'v': rt_quote_inner(out, f, 1, 0); break;
    case '0': rt_print(out, "void"); break;
    case 'f': rt_show_failure(out, f); break;
    case 'h': rt_quote_inner(out, f, 1, 2); break;
    case 'k': rt_show_keys(out, f); break;
    case 'T':
        if (f->n == M_START) rt_print(out, "Start");
        else if (rt_message_of((unsigned)f->n)->name) rt_print(out, "%s", rt_message_of((unsigned)f->n)->name);
        else rt_print(out, "%04llX", (unsigned long long)f->n);
        break;
    case 'F': rt_tree_print(out, rt_tree_read(f->at, f->len)); break;
    case '(': rt_print(out, "("); rt_show_fields(out, s->inner, f->at, f->len); rt_print(out, " )"); break;
    default: break;
    }
}

static inline void rt_show_fields(rt_bytes *out, const rt_shape *shape, const uint8_t *at, size_t len) {
    const uint8_t *p;
    rt_field f;
    const rt_shape *s;
    int more = 0;
    for (s = shape; s->number; s++)
        for (p = at; rt_next_field(&p, at + len, &f) == 1;)
            if (f.number == s->number) rt_show_field(out, s, &f);
    for (p = at; (more = rt_next_field(&p, at + len, &f)) == 1;) {
        for (s = shape; s->number && s->number != f.number; s++) {}
        if (!s->number) rt_print(out, " ?%u", f.number);
    }
    if (more < 0) rt_print(out, " MALFORMED");
}

static inline void rt_show_suspension(rt_bytes *out, const uint8_t *at, size_t len) {
    const uint8_t *p = at;
    rt_field f;
    if (len && rt_next_field(&p, at + len, &f) == 1 && f.number == 4 && p == at + len) {
        rt_print(out, " ");
        rt_tree_print(out, rt_tree_read(f.at, f.len));
        return;
    }
    rt_print(out, " {");
    rt_tree_lists(out, rt_tree_read(at, len));
    rt_print(out, "}");
}

/* One line for the frame at `at`; the number of its bytes, 0 if it is not all there. */
static inline size_t rt_show_frame(rt_bytes *out, const uint8_t *at, size_t len) {
    unsigned type, flags;
    size_t size;
    const rt_message *m;
    if (len < 8) return 0;
    type = (unsigned)(at[0] << 8 | at[1]), flags = (unsigned)(at[2] << 8 | at[3]);
    size = (size_t)at[4] << 24 | (size_t)at[5] << 16 | (size_t)at[6] << 8 | at[7];
    if (size > len - 8) return 0;
    m = rt_message_of(type);
    if (m->name) rt_print(out, "%s", m->name);
    else rt_print(out, "%04X", type);
    if (type == M_SUSPENSION) rt_show_suspension(out, at + 8, size);
    else rt_show_fields(out, m->shape, at + 8, size);
    if (type == M_PROPOSE && flags == 0x8000) rt_print(out, " ack");
    else if (flags) rt_print(out, " flags:%04X", flags);
    rt_print(out, "\n");
    return size + 8;
}

/* An expected line, as protocol `version` has it: canonical, or "" if it has no such frame. */
static inline void rt_expect(rt_bytes *to, const char *line, unsigned version) {
    const char *at = line;
    size_t len = strlen(line);
    if (strncmp(line, "AwaitingOn ", 11) == 0 && version < 7) return;
    if (strncmp(line, "AwaitingOn ", 11) == 0 || strncmp(line, "Suspension ", 11) == 0) {
        rt_tree *t, flat;
        at += 11;
        t = rt_tree_parse(&at);
        rt_print(to, "%.*s", 11, line);
        if (version >= 7) {
            rt_tree_print(to, t);
            rt_print(to, "%s", at);
            return;
        }
        memset(&flat, 0, sizeof flat);
        rt_tree_flatten(&flat, t);
        rt_print(to, "{");
        rt_tree_lists(to, &flat);
        rt_print(to, "}");
        return;
    }
    if (strncmp(line, "Propose ", 8) == 0 && version < 7 && len > 4 && strcmp(line + len - 4, " ack") == 0) len -= 4;
    rt_add(to, line, len);
}

/* Whether `line` (up to its end or a newline) is what was expected. */
static inline bool rt_line_is(const char *line, const char *expected) {
    size_t len = strcspn(line, "\n"), n = strlen(expected);
    if (n >= 3 && strcmp(expected + n - 3, "...") == 0) return len >= n - 3 && memcmp(line, expected, n - 3) == 0;
    return len == n && memcmp(line, expected, n) == 0;
}

/* Compares lines of output with what is expected of `version`. */
static inline void rt_compare(const char *file, int line, const char *got, const char *const *expected, unsigned version) {
    rt_bytes want = { NULL, 0, 0 };
    const char *at = got;
    bool good = true;
    for (; *expected; expected++) {
        bool optional = strncmp(*expected, "? ", 2) == 0;
        rt_bytes one = { NULL, 0, 0 };
        rt_expect(&one, *expected + (optional ? 2 : 0), version);
        if (!one.len) continue;
        rt_print(&want, "%s%s\n", optional ? "? " : "", (const char *)one.at);
        if (*at && rt_line_is(at, (const char *)one.at)) at += strcspn(at, "\n") + 1;
        else if (!optional) good = false;
        rt_drop(&one);
    }
    if (!good || *at) {
        test_failures++;
        printf("  %s:%d: the output is\n%.3000s   not\n%.3000s   %s\n", file, line, got, want.at ? (const char *)want.at : "",
               test_note);
    }
    rt_drop(&want);
}

/* ================================================================================================
 * Driving the state machine
 * ================================================================================================ */

typedef restate__node node;
typedef enum rt_mode { RT_WHOLE, RT_BYTES, RT_PIECES } rt_mode;
static const char *const rt_modes[] = { "whole", "bytewise", "in pieces" };

typedef struct rt_state {
    unsigned version;
    rt_mode mode;
    restate__vm_options options;            /* to be set before the first feed or operation */
    bool begun, ignore_output;
    restate__vm vm;
    restate__arena arena;
    restate__buf out;
    restate__cache chunks;
    restate_allocator allocator;
    mem_counts memory;
    bool thin;                              /* each operation needs a new chunk of memory */
    rt_bytes raw;                           /* all output */
    size_t seen;                            /* of it */
    rt_bytes reference;                     /* the raw output of the first mode */
    uint64_t random;
    restate__vm_input_data input;
    const char *awakeable;                  /* id of the last one */
    restate__policy policy;                 /* of the proposals */
} rt_state;

static rt_state rt;

static inline unsigned rt_dice_of(uint64_t *random, unsigned sides) {   /* repeatable */
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*random >> 33) % sides;
}
static inline unsigned rt_dice(unsigned sides) { return rt_dice_of(&rt.random, sides); }

/* A new attempt. What the last one left is dropped. */
static inline void rt_begin(unsigned version, rt_mode mode) {
    rt_drop(&rt_script);
    memset(&rt.options, 0, sizeof rt.options);
    memset(&rt.policy, 0, sizeof rt.policy);
    memset(&rt.input, 0, sizeof rt.input);
    rt.version = rt.options.version = version;
    rt.mode = mode;
    rt.begun = rt.ignore_output = false;
    rt.memory.peak = rt.memory.live;
    rt.memory.calls = 0;
    rt.allocator = mem_allocator(&rt.memory);
    restate__cache_init(&rt.chunks, &rt.allocator, NULL, 0);
    restate__arena_init(&rt.arena, &rt.chunks);
    restate__buf_init(&rt.out, &rt.chunks);
    rt.raw.len = rt.seen = 0;
    rt.random = (uint64_t)mode * 977 + version;
}

static inline void rt_thin(void) {                          /* gives away what is left of the chunk */
    if (rt.thin) rt.arena.at = rt.arena.end = NULL;
}

static inline restate__vm *vm(void) {
    if (!rt.begun) restate__vm_init(&rt.vm, &rt.options, &rt.arena, &rt.out);
    rt.begun = true;
    return &rt.vm;
}

/* From memory that is gone afterwards, so that nothing can point into it. */
static inline void rt_feed_piece(const uint8_t *at, size_t len) {
    uint8_t *copy = (uint8_t *)malloc(len ? len : 1);
    if (!copy) abort();
    if (len) memcpy(copy, at, len);
    rt_thin();
    restate__vm_feed(vm(), restate__b(copy, len));
    free(copy);
}

static inline void feed(void) {                             /* the script so far */
    size_t at = 0, n;
    vm();
    for (; at < rt_script.len; at += n) {
        n = rt_script.len - at;
        if (rt.mode == RT_BYTES) n = 1;
        if (rt.mode == RT_PIECES && n > 1) n = 1 + rt_dice((unsigned)(n < 40 ? n : 40));
        rt_feed_piece(rt_script.at + at, n);
    }
    rt_script.len = 0;
}

static inline void rt_collect(void) {
    while (rt.out.len) {
        restate_bytes b = restate__buf_peek(&rt.out);
        rt_add(&rt.raw, b.ptr, b.len);
        restate__buf_drop(&rt.out, b.len);
    }
}

/* Output as lines, from what was not looked at yet; the caller frees it. */
static inline rt_bytes rt_lines(void) {
    rt_bytes text = { NULL, 0, 0 };
    rt_add(&text, "", 0);
    rt_collect();
    while (rt.seen < rt.raw.len) {
        size_t n = rt_show_frame(&text, rt.raw.at + rt.seen, rt.raw.len - rt.seen);
        if (!n) rt_print(&text, "PARTIAL FRAME\n"), n = rt.raw.len - rt.seen;
        rt.seen += n;
    }
    return text;
}

static inline void drop_output(void) {                      /* what came out so far is not looked at */
    feed();
    rt_collect();
    rt.seen = rt.raw.len;
}

static inline void rt_out(const char *file, int line, const char *const *expected) {
    rt_bytes text;
    feed();
    text = rt_lines();
    rt_compare(file, line, (const char *)text.at, expected, rt.version);
    rt_drop(&text);
}

/* What came out since the last OUT: all frames, nothing else. */
#define OUT(...) rt_out(__FILE__, __LINE__, (const char *const[]){ __VA_ARGS__, NULL })
#define OUT_NOTHING() rt_out(__FILE__, __LINE__, (const char *const[]){ NULL })

static inline const char *rt_last_hex(void) {               /* the last frame of all output, in hex */
    rt_bytes hex = { NULL, 0, 0 };
    size_t at = 0, last = 0;
    char *text;
    drop_output();
    for (; at + 8 <= rt.raw.len; at += 8 + ((size_t)rt.raw.at[at + 6] << 8 | rt.raw.at[at + 7])) last = at;
    for (at = last; at < rt.raw.len; at++) rt_print(&hex, "%02x", rt.raw.at[at]);
    text = (char *)rt_alloc(hex.len + 1);
    if (hex.len) memcpy(text, hex.at, hex.len);
    rt_drop(&hex);
    return text;
}

/* The last frame, bit for bit; the rest of the output is not looked at. */
#define RAW(hex) CHECK_STR(rt_last_hex(), hex)

static inline void rt_end(void) {
    rt_collect();
    if (rt.seen != rt.raw.len && !rt.ignore_output) {
        rt_bytes text = rt_lines();
        test_failures++;
        printf("  not expected, but in the output:\n%.3000s   %s\n", (const char *)text.at, test_note);
        rt_drop(&text);
    }
    restate__buf_free(&rt.out);
    restate__arena_free(&rt.arena);
    restate__cache_free(&rt.chunks);
    if (rt.memory.live || rt.memory.blocks) {
        test_failures++;
        printf("  %lu bytes were not freed %s\n", (unsigned long)rt.memory.live, test_note);
        rt.memory.live = rt.memory.blocks = 0;
    }
    rt_free_all();
}

static char rt_where[64];
static unsigned rt_last_version;
static int rt_round = -1;                                   /* version, then mode */

static inline bool rt_again(unsigned from, unsigned to) {
    if (rt_round < 0) {
        rt_round = 0;
        rt_last_version = from;
        rt_begin(from, RT_WHOLE);
    } else {
        rt_end();
        if (rt.mode == RT_WHOLE) rt.reference.len = 0, rt_add(&rt.reference, rt.raw.at, rt.raw.len);
        else if (!rt.ignore_output &&
                 (rt.raw.len != rt.reference.len || (rt.raw.len && memcmp(rt.raw.at, rt.reference.at, rt.raw.len) != 0))) {
            test_failures++;
            printf("  the output is another one than with the input at once %s\n", test_note);
        }
        if (rt.mode == RT_PIECES && rt.version == to) {
            rt_round = -1;
            rt_drop(&rt.raw);
            rt_drop(&rt.reference);
            rt_drop(&rt_script);
            test_note = "";
            return false;
        }
        rt_begin(rt.mode == RT_PIECES ? rt.version + 1 : rt.version, rt.mode == RT_PIECES ? RT_WHOLE : (rt_mode)(rt.mode + 1));
    }
    snprintf(rt_where, sizeof rt_where, "(protocol %u, input %s)", rt.version, rt_modes[rt.mode]);
    test_note = rt_where;
    return true;
}

#define EVERY(from, to) while (rt_again(from, to))

/* ---- Operations ------------------------------------------------------------------------------------ */

static inline node *rt_node(void) { return (node *)rt_alloc(sizeof(node)); }
static inline restate_bytes rt_b(const char *text) { return restate_str(text); }

static inline bool ready(void) { feed(); return restate__vm_ready(vm()); }
static inline void eof(void) { feed(); rt_thin(); restate__vm_end_input(vm()); }
static inline bool op_input(void) { feed(); rt_thin(); return restate__vm_input(vm(), &rt.input); }

static inline void rt_go(const char *file, int line) {
    if (ready() && op_input()) return;
    if (rt.memory.fail_at) return;
    test_failures++;
    printf("  %s:%d: not ready: %u %s %s\n", file, line, rt.vm.error.code, rt.vm.error.message ? rt.vm.error.message : "",
           test_note);
}
#define go() rt_go(__FILE__, __LINE__)                      /* the handler starts: ready, INPUT */

static bool rt_ok;                                          /* of the last operation that gives a node */

static inline restate__vm *rt_op(void) { feed(); rt_thin(); return vm(); }

#define RT_LEAF(call) do { node *leaf = rt_node(); restate__vm *m = rt_op(); rt_ok = call; return leaf; } while (0)

static inline node *op_sleep(const char *name, uint64_t wake) { RT_LEAF(restate__vm_sleep(m, name, wake, leaf)); }
static inline node *op_get(const char *key) { RT_LEAF(restate__vm_get(m, rt_b(key), leaf)); }
static inline node *op_get_keys(void) { RT_LEAF(restate__vm_get_keys(m, leaf)); }
static inline node *op_run(const char *name) { RT_LEAF(restate__vm_run(m, name, leaf)); }
static inline node *op_awakeable(void) { RT_LEAF(restate__vm_awakeable(m, leaf, &rt.awakeable)); }
static inline node *op_signal(const char *name) { RT_LEAF(restate__vm_signal(m, rt_b(name), leaf)); }
static inline node *op_cancellation(void) { RT_LEAF(restate__vm_cancellation(m, leaf)); }
static inline node *op_get_promise(const char *key) { RT_LEAF(restate__vm_get_promise(m, rt_b(key), leaf)); }
static inline node *op_peek_promise(const char *key) { RT_LEAF(restate__vm_peek_promise(m, rt_b(key), leaf)); }

static inline restate_failure rt_failure(unsigned code, const char *message) {
    restate_failure f;
    memset(&f, 0, sizeof f);
    f.code = (uint16_t)code;
    f.message = message;
    return f;
}

static inline node *op_complete_promise(const char *key, const char *value, bool unstable) {
    RT_LEAF(restate__vm_complete_promise(m, rt_b(key), rt_b(value), NULL, unstable, leaf));
}
static inline node *op_reject_promise(const char *key, const restate_failure *f) {
    RT_LEAF(restate__vm_complete_promise(m, rt_b(key), restate__b_none(), f, false, leaf));
}

typedef struct rt_calls { node *id, *result; } rt_calls;

static inline rt_calls rt_call(restate__vm_call c) {
    rt_calls nodes;
    restate__vm *m = rt_op();
    if (!c.handler) c.handler = "greet";
    nodes.id = rt_node();
    nodes.result = rt_node();
    rt_ok = restate__vm_call_invocation(m, &c, nodes.id, nodes.result);
    return nodes;
}
static inline node *rt_send(restate__vm_call c) {
    if (!c.handler) c.handler = "greet";
    RT_LEAF(restate__vm_send(m, &c, leaf));
}
/* Of Greeter/greet, or another handler: op_call(.parameter = rt_b("x")) */
#define op_call(...) rt_call((restate__vm_call){ .service = "Greeter", __VA_ARGS__ })
#define op_send(...) rt_send((restate__vm_call){ .service = "Greeter", __VA_ARGS__ })

static inline node *op_attach(restate__vm_target target) { RT_LEAF(restate__vm_attach(m, &target, leaf)); }
static inline node *op_get_output(restate__vm_target target) { RT_LEAF(restate__vm_get_output(m, &target, leaf)); }

static inline bool op_set(const char *key, const char *value) {
    return restate__vm_set(rt_op(), rt_b(key), rt_b(value), false);
}
static inline bool op_clear(const char *key) { return restate__vm_clear(rt_op(), rt_b(key)); }
static inline bool op_clear_all(void) { return restate__vm_clear_all(rt_op()); }
static inline bool op_output(const char *value) { return restate__vm_output(rt_op(), rt_b(value), NULL, false); }
static inline bool op_output_failure(unsigned code, const char *message) {
    restate_failure f = rt_failure(code, message);
    return restate__vm_output(rt_op(), restate__b_none(), &f, false);
}
static inline bool op_end(void) { return restate__vm_end(rt_op()); }
static inline bool op_cancel(const char *id) { return restate__vm_cancel(rt_op(), id); }
static inline bool op_send_signal(const char *id, const char *name, const char *value) {
    return restate__vm_send_signal(rt_op(), id, rt_b(name), rt_b(value), NULL, false);
}
static inline bool op_complete_awakeable(const char *id, const char *value, bool unstable) {
    return restate__vm_complete_awakeable(rt_op(), id, rt_b(value), NULL, unstable);
}
static inline bool op_reject_awakeable(const char *id, const restate_failure *f) {
    return restate__vm_complete_awakeable(rt_op(), id, restate__b_none(), f, false);
}

/* A policy for `rt.policy`: the interval grows by the factor without an end. */
static inline restate__policy exponential(uint64_t initial_ms, double factor) {
    return (restate__policy){ .own = true, .interval_ms = initial_ms, .max_interval_ms = UINT64_MAX, .factor = factor };
}

/* No other closure executes: an error is sent at once. */
static inline bool rt_propose(node *run, const restate__outcome *o) {
    restate__vm *m = rt_op();
    bool ok = restate__vm_propose(m, run, o, &rt.policy);
    restate__vm_fail_now(m);
    return ok;
}

static inline bool propose_value(node *run, const char *value) {
    restate__outcome o;
    memset(&o, 0, sizeof o);
    o.kind = RESTATE__DONE;
    o.value = rt_b(value);
    return rt_propose(run, &o);
}
static inline bool propose_failure(node *run, restate_failure f) {
    restate__outcome o;
    memset(&o, 0, sizeof o);
    o.kind = RESTATE__TERMINAL;
    o.failure = f;
    return rt_propose(run, &o);
}
/* Retryable: error 500 "my-error". */
static inline bool propose_error(node *run, uint64_t duration_ms) {
    restate__outcome o;
    memset(&o, 0, sizeof o);
    o.kind = RESTATE__RETRYABLE;
    o.error.code = 500;
    o.error.message = "my-error";
    o.duration_ms = duration_ms;
    return rt_propose(run, &o);
}

static inline void op_fail(unsigned code, const char *message) {
    restate__vm_error e;
    memset(&e, 0, sizeof e);
    e.code = code;
    e.message = message;
    restate__vm_fail(rt_op(), &e);
}

static inline node *rt_combine(restate__node_kind kind, node *const *children, size_t count) {
    node **array = (node **)rt_alloc((count + 1) * sizeof *array);
    if (count) memcpy(array, children, count * sizeof *array);
    RT_LEAF(restate__vm_combine(m, leaf, kind, array, count));
}
#define RT_COMBINE(kind, ...) rt_combine(kind, (node *const[]){ __VA_ARGS__ }, sizeof (node *const[]){ __VA_ARGS__ } / sizeof(node *))
#define RACE(...) RT_COMBINE(RESTATE__RACE, __VA_ARGS__)
#define ALL(...) RT_COMBINE(RESTATE__ALL, __VA_ARGS__)
#define ANY(...) RT_COMBINE(RESTATE__ANY, __VA_ARGS__)
#define ALL_SETTLED(...) RT_COMBINE(RESTATE__ALL_SETTLED, __VA_ARGS__)

static node *rt_to_run;                                     /* of the last "RUN" */

/* "ANY", "RUN 1" (completion id), "CXL", "WAIT(i)" (for input), "WAIT(r)" (for closures), "WAIT(i,r)", "599", or
 * "570" and other codes. */
static inline const char *await(node *root) {
    static char text[32];
    restate__wait w = restate__vm_await(rt_op(), root);
    switch (w.kind) {
    case RESTATE__READY: return "ANY";
    case RESTATE__CANCEL: return "CXL";
    case RESTATE__SUSPENDED: return "599";
    case RESTATE__BROKEN: snprintf(text, sizeof text, "%u", rt.vm.error.code); return text;
    case RESTATE__EXECUTE:
        rt_to_run = w.run;
        snprintf(text, sizeof text, "RUN %u", w.run->id);
        return text;
    case RESTATE__WAIT:
        snprintf(text, sizeof text, "WAIT(%s%s%s)", rt.vm.input_closed ? "" : "i",
                 !rt.vm.input_closed && rt.vm.graph.executing ? "," : "", rt.vm.graph.executing ? "r" : "");
        return text;
    default: return "?";
    }
}

#define AWAIT(root, answer) CHECK_STR(await(root), answer)

static inline const char *rt_value_text(const restate__value *v) {
    rt_bytes b = { NULL, 0, 0 };
    const char *comma = "";
    char *text;
    if (!v) return "-";
    switch (v->kind) {
    case RESTATE__VOID: return "void";
    case RESTATE__VALUE: rt_quote(&b, v->is.bytes.ptr, v->is.bytes.len); break;
    case RESTATE__INVOCATION_ID: rt_print(&b, "id "); rt_quote(&b, v->is.bytes.ptr, v->is.bytes.len); break;
    case RESTATE__STATE_KEYS:
        rt_print(&b, "[");
        for (const char *const *k = v->is.keys; k && *k; k++, comma = ",") rt_print(&b, "%s%s", comma, *k);
        rt_print(&b, "]");
        break;
    case RESTATE__FAILURE:
        rt_print(&b, "failure %u ", v->is.failure->code);
        rt_quote(&b, (const uint8_t *)v->is.failure->message, strlen(v->is.failure->message));
        for (const restate_pair *p = v->is.failure->metadata; p && p->name; p++) rt_print(&b, " %s:%s", p->name, p->value);
        break;
    default: return "?";
    }
    if ((v->kind == RESTATE__VALUE || v->kind == RESTATE__INVOCATION_ID) && v->is.bytes.ptr && v->is.bytes.ptr[v->is.bytes.len])
        rt_print(&b, " without a zero");
    text = (char *)rt_alloc(b.len + 1);
    memcpy(text, b.at, b.len);
    rt_drop(&b);
    return text;
}

/* `"bytes"`, `void`, `failure 409 "m" k:v`, `id "my-id"`, `[a,b]`, or `-`: it is not there yet. */
static inline const char *value_of(const node *leaf) { return rt_value_text(leaf->state != RESTATE__PENDING ? &leaf->value : NULL); }
#define VALUE(leaf, text) CHECK_STR(value_of(leaf), text)

static inline bool completed(const node *leaf) { return leaf->state != RESTATE__PENDING; }

/* The attempt is over with this error, whose text has `part`. */
#define CHECK_ERROR(number, part) do { \
        feed(); \
        CHECK_INT(vm()->phase, RESTATE__ERRORED); \
        CHECK_INT(vm()->error.code, number); \
        CHECK_HAS(vm()->error.message, part); \
    } while (0)

#endif
