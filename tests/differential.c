/* Random handlers against random journals: what an endpoint sends, as one number per case.
 *
 *     build/differential/now [--from SEED] [--cases N] [--block N] [--allow FILE] [--faults]
 *     build/differential/now [--allow FILE] -v SEED      the transcript of one case
 *     build/differential/now [--cases N] --coverage      how often each function was called
 *
 * tests/differential.sh compiles this file with two headers and compares what they print. It uses
 * the public part of restate.h only, so it fits both, however different they are behind it.
 *
 * A case is made of its seed and of nothing else:
 *   - a program, a list of operations that the handler interprets;
 *   - a dialog with a stand-in of the server (the peer), which records commands, answers them in
 *     any order, late, twice or never, cuts attempts off, and begins the next one with the journal,
 *     which it sometimes falsifies;
 *   - a transcript: all frames, all that the handler saw, all that was logged. Its hash is what is
 *     compared.
 * It has a clock of its own, and threads that take turns (turns.h): nothing is left to chance.
 *
 * Texts that were changed on purpose are in a file (--allow), each on a line of its own: the old
 * one, a tab, the new one. Where the transcript has the old one it counts as the new one. Lines that
 * begin with @ are for tests/differential.awk. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "turns.h"

#include "restate.h"
#include "support/allocator.c"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* ---- Random numbers (splitmix64) ------------------------------------------------------------- */

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

typedef struct rng { uint64_t state; } rng;

#ifndef CHOICES                             /* fuzz/dialog.c: the bytes of its input choose */

static uint64_t rng_next(rng *r) { return splitmix(&r->state); }
static unsigned below(rng *r, size_t n) { return (unsigned)((rng_next(r) >> 33) % n); }

/* Where a sequence of its own begins. */
static uint64_t rng_split(rng *r) { return rng_next(r); }

/* An independent sequence for each part of a case. */
static rng rng_for(uint64_t seed, uint64_t part) {
    rng r = { seed * 0xD1342543DE82EF95u + part };
    rng_next(&r);
    return r;
}

#else
static uint64_t rng_next(rng *r);
static unsigned below(rng *r, size_t n);
static uint64_t rng_split(rng *r);
static rng rng_for(uint64_t seed, uint64_t part);
#endif

static bool percent(rng *r, unsigned p) { return below(r, 100) < p; }

/* ---- Bytes that grow ------------------------------------------------------------------------- */

typedef struct text { uint8_t *at; size_t len, room; } text;

static void add(text *to, const void *from, size_t len) {
    if (to->room - to->len < len) {
        to->room = 2 * (to->len + len) + 256;
        to->at = (uint8_t *)realloc(to->at, to->room);
        if (!to->at) abort();
    }
    if (len) memcpy(to->at + to->len, from, len);
    to->len += len;
}

static void print(text *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print(text *to, const char *format, ...) {
    char line[4096];
    int n;
    va_list args;
    va_start(args, format);
    n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    add(to, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static restate_bytes bytes_of(const void *at, size_t len) {
    restate_bytes b;
    b.ptr = (const uint8_t *)at;
    b.len = len;
    return b;
}

static restate_bytes bytes_in(const text *t) { return bytes_of(t->at, t->len); }
static restate_bytes absent(void) { return bytes_of(NULL, 0); }

/* ---- Protobuf -------------------------------------------------------------------------------- */

static void put_varint(text *to, uint64_t n) {
    uint8_t bytes[10];
    size_t i = 0;
    for (; n > 127; n >>= 7) bytes[i++] = (uint8_t)(n | 128);
    bytes[i++] = (uint8_t)n;
    add(to, bytes, i);
}

static void put_number(text *to, unsigned tag, uint64_t n) {
    put_varint(to, tag << 3);
    put_varint(to, n);
}

static void put_bytes(text *to, unsigned tag, restate_bytes b) {
    put_varint(to, tag << 3 | 2);
    put_varint(to, b.len);
    add(to, b.ptr, b.len);
}

static void put_text(text *to, unsigned tag, const char *s) { put_bytes(to, tag, restate_str(s)); }

/* A message with one field of bytes, left out if it is empty. */
static void put_value(text *to, unsigned tag, restate_bytes content) {
    static text inner;
    inner.len = 0;
    if (content.len) put_bytes(&inner, 1, content);
    put_bytes(to, tag, bytes_in(&inner));
}

/* {1: name, 2: value} */
static void put_pair(text *to, unsigned tag, const char *name, restate_bytes value) {
    static text inner;
    inner.len = 0;
    put_text(&inner, 1, name);
    put_bytes(&inner, 2, value);
    put_bytes(to, tag, bytes_in(&inner));
}

typedef struct field { unsigned tag, wire; uint64_t number; restate_bytes bytes; bool odd; } field;

static bool get_varint(restate_bytes *in, uint64_t *n, bool *odd) {
    unsigned shift = 0;
    for (*n = 0; in->len && shift < 64; shift += 7) {
        uint8_t b = *in->ptr++;
        in->len--;
        *n |= (uint64_t)(b & 127) << shift;
        if (b < 128) {
            *odd = *odd || (!b && shift);
            return true;
        }
    }
    return false;
}

/* The next field of varints and bytes; false: the end, or something else. */
static bool get_field(restate_bytes *in, field *f) {
    uint64_t n;
    f->odd = false;
    f->number = 0;
    f->bytes = absent();
    if (!in->len || !get_varint(in, &n, &f->odd)) return false;
    f->tag = (unsigned)(n >> 3);
    f->wire = n & 7;
    if ((f->wire != 0 && f->wire != 2) || !get_varint(in, &f->number, &f->odd)) return false;
    if (f->wire == 0) return true;
    if (f->number > in->len) return false;
    f->bytes = bytes_of(in->ptr, (size_t)f->number);
    in->ptr += f->number;
    in->len -= (size_t)f->number;
    return true;
}

/* ---- The transcript -------------------------------------------------------------------------- */

static text told;
static bool readable;                       /* bytes and frames as text; else as they are */
static text allowed;                        /* what --allow has: old, 0, new, 0, ... */

#define SAY(...) print(&told, __VA_ARGS__)

static void begin_line(void) {
    if (told.len && told.at[told.len - 1] != '\n') SAY("\n");
}

static void say_escaped(restate_bytes b) {
    static const char digits[] = "0123456789abcdef";
    SAY("\"");
    for (size_t i = 0; i < b.len; i++) {    /* no SAY for each byte: that took most of the time */
        const uint8_t byte = b.ptr[i];
        const char hex[4] = { '\\', 'x', digits[byte >> 4], digits[byte & 15] };
        if (byte < ' ' || byte > 126) add(&told, hex, 4);
        else {
            if (byte == '"' || byte == '\\') add(&told, hex, 1);
            add(&told, &byte, 1);
        }
        if (i == 300 && b.len > 400 && !allowed.len) {
            SAY("... %lu bytes, ", (unsigned long)b.len);
            i = b.len - 40;
        }
    }
    SAY("\"");
}

static uint64_t hash_of(restate_bytes b) {
    uint64_t h = 0xCBF29CE484222325u ^ b.len, word;
    for (; b.len >= 8; b.ptr += 8, b.len -= 8) {
        memcpy(&word, b.ptr, 8);
        h = (h ^ word) * 0x9FB21C651E98DF25u;
        h ^= h >> 32;
    }
    for (; b.len; b.ptr++, b.len--) h = (h ^ *b.ptr) * 0x100000001B3u;
    return h ^ h >> 29;
}

static void say_bytes(restate_bytes b) {
    if (!b.ptr) SAY(" absent");
    else if (!readable) SAY(" %lu:", (unsigned long)b.len), add(&told, b.ptr, b.len);
    else SAY(" "), say_escaped(b);
    if (readable && b.len > 400 && !allowed.len) SAY(" #%016llx", (unsigned long long)hash_of(b));
}

/* Messages inside of messages: what a field of `message` is. Frames have the number of their type,
 * others those above. */
enum { A_VALUE = 0x10000, A_FAILURE, A_PAIR, A_FUTURE, A_TARGET, A_KEYS };

static const struct { uint32_t message; unsigned tag; uint32_t inner; } nested[] = {
    { 0x0001, 4, A_FUTURE }, { 0x0006, 1, A_FUTURE }, { 0x0005, 15, A_FAILURE },
    { 0x0401, 14, A_VALUE }, { 0x0401, 15, A_FAILURE }, { 0x0403, 3, A_VALUE },
    { 0x0407, 13, A_VALUE }, { 0x0407, 14, A_VALUE }, { 0x0408, 14, A_KEYS },
    { 0x040B, 2, A_VALUE }, { 0x040B, 3, A_FAILURE }, { 0x040D, 4, A_PAIR },
    { 0x040E, 5, A_PAIR }, { 0x0410, 4, A_VALUE }, { 0x0410, 5, A_VALUE },
    { 0x0410, 6, A_FAILURE }, { 0x0412, 3, A_TARGET }, { 0x0412, 4, A_TARGET },
    { 0x0413, 3, A_TARGET }, { 0x0413, 4, A_TARGET }, { 0x0414, 2, A_VALUE },
    { 0x0414, 3, A_FAILURE }, { A_FAILURE, 3, A_PAIR }, { A_FUTURE, 4, A_FUTURE },
};

static const struct { uint16_t type; const char *name; unsigned long seen; } known_frames[] = {
    { 0x0000, "Start", 0 }, { 0x0001, "Suspension", 0 }, { 0x0002, "Error", 0 },
    { 0x0003, "End", 0 }, { 0x0004, "CommandAck", 0 }, { 0x0005, "ProposeRunCompletion", 0 },
    { 0x0006, "AwaitingOn", 0 }, { 0x0007, "ProposeRunCompletionAck", 0 }, { 0x0400, "Input", 0 },
    { 0x0401, "Output", 0 }, { 0x0402, "GetLazyState", 0 }, { 0x0403, "SetState", 0 },
    { 0x0404, "ClearState", 0 }, { 0x0405, "ClearAllState", 0 }, { 0x0406, "GetLazyStateKeys", 0 },
    { 0x0407, "GetEagerState", 0 }, { 0x0408, "GetEagerStateKeys", 0 }, { 0x0409, "GetPromise", 0 },
    { 0x040A, "PeekPromise", 0 }, { 0x040B, "CompletePromise", 0 }, { 0x040C, "Sleep", 0 },
    { 0x040D, "Call", 0 }, { 0x040E, "OneWayCall", 0 }, { 0x0410, "SendSignal", 0 },
    { 0x0411, "Run", 0 }, { 0x0412, "AttachInvocation", 0 }, { 0x0413, "GetOutput", 0 },
    { 0x0414, "CompleteAwakeable", 0 }, { 0xFBFF, "Signal", 0 },
};

static unsigned long frames_seen[2][COUNT(known_frames)];   /* to the endpoint, from it */

static const char *frame_name(uint16_t type, bool out) {
    static char other[32];
    for (size_t i = 0; i < COUNT(known_frames); i++) {
        if (known_frames[i].type != type) continue;
        frames_seen[out][i]++;
        return known_frames[i].name;
    }
    snprintf(other, sizeof other, "%s%04x", type & 0x8000 ? "Completion " : "Unknown ", type);
    return other;
}

static uint32_t nested_in(uint32_t message, unsigned tag) {
    for (size_t i = 0; i < COUNT(nested); i++)
        if (nested[i].message == message && nested[i].tag == tag) return nested[i].inner;
    return 0;
}

static void say_message(restate_bytes in, uint32_t message) {
    field f;
    while (get_field(&in, &f)) {
        uint32_t inner = f.wire == 2 ? nested_in(message, f.tag) : 0;
        SAY(" %s%u", f.odd ? "long-varint " : "", f.tag);
        if (f.wire == 0) SAY("=%llu", (unsigned long long)f.number);
        else if (!inner) say_bytes(f.bytes);
        else {
            SAY("{");
            say_message(f.bytes, inner);
            SAY(" }");
        }
    }
    if (in.len) SAY(" malformed"), say_bytes(in);
}

static void say_frame(const char *who, uint16_t type, uint16_t flags, restate_bytes payload) {
    begin_line();
    SAY("%s %s", who, frame_name(type, *who == '<'));
    if (flags) SAY(" flags %04x", flags);
    if (!readable) say_bytes(payload);
    else if (type & 0x8000) say_message(payload, A_TARGET);
    else say_message(payload, type);
    SAY("\n");
}

static void replace(text *in, const char *old, const char *new) {
    static text result;
    const char *from, *at;
    text replaced;
    add(in, "", 1);
    in->len--;
    from = (const char *)in->at;
    if (!strstr(from, old)) return;
    result.len = 0;
    for (; (at = strstr(from, old)) != NULL; from = at + strlen(old)) {
        add(&result, from, (size_t)(at - from));
        add(&result, new, strlen(new));
    }
    add(&result, from, strlen(from));
    replaced = result;
    result = *in;
    *in = replaced;
}

/* Puts new texts where old ones are. */
static void normalise(text *in) {
    const char *old = (const char *)allowed.at, *end = old + allowed.len, *new;
    for (; old != end; old = new + strlen(new) + 1) {
        new = old + strlen(old) + 1;
        replace(in, old, new);
    }
}

/* ---- The functions that handlers call -------------------------------------------------------- */

#define FUNCTIONS(X) \
    X(reply) X(fail) X(fail_with) X(retry) X(failed) X(request) X(key) X(log) X(stop_requested) \
    X(random) X(uuid) X(now) X(alloc) X(text) X(json) X(json_int) X(json_double) X(json_bool) \
    X(json_string) X(json_text) X(json_quote) X(json_member) X(json_next) X(json_tree) X(json_own) \
    X(json_print) X(encode) X(decode) X(run) X(run_async) X(sleep) X(sleep_async) X(get) \
    X(get_async) X(keys) X(set) X(clear) X(clear_all) X(call) X(call_async) X(send) X(call_id) \
    X(cancel) X(attach) X(attach_async) X(output) X(awakeable) X(resolve) X(reject) X(signal) \
    X(signal_resolve) X(signal_reject) X(promise) X(promise_peek) X(promise_resolve) \
    X(promise_reject) X(await) X(await_for) X(select) X(selector_new) X(selector_next) \
    X(selector_remaining) X(race) X(any) X(all) X(all_settled) X(settled) X(is_done) \
    X(cancellation) X(cancel_calls) NEWER_FUNCTIONS(X)

#ifdef NEWER                                /* what the earlier header has not */
#  define NEWER_FUNCTIONS(X) \
    X(get_all) X(keys_async) X(await_keys) X(named) X(patched) X(patch_done) X(random_below) \
    X(random_double) X(input) X(reply_value) X(rpc_call) X(rpc_call_async) X(rpc_await) \
    X(rpc_response) X(rpc_send) X(rpc_attach) X(stop_fd) X(time_left_ms)
#else
#  define NEWER_FUNCTIONS(X)
#endif

#define AS_ENUM(name) USE_##name,
#define AS_NAME(name) "restate_" #name,
enum { FUNCTIONS(AS_ENUM) USE_COUNT };
static const char *const function_names[] = { FUNCTIONS(AS_NAME) };
static unsigned long used[USE_COUNT];
#define CALL(name) (used[USE_##name]++, restate_##name)

/* ---- The case that runs ---------------------------------------------------------------------- */

enum { OPS_MAX = 20, FUTURES_MAX = 24 };

typedef struct op { unsigned kind; uint64_t salt; } op;
typedef struct program { op ops[OPS_MAX]; unsigned count; uint64_t salt; } program;

/* An endpoint, and what the other side has to know of it. */
typedef struct setup {
    restate_endpoint *endpoint;
    bool explicit_cancellation, sealed, small_messages;
} setup;

static struct {
    setup on;
    restate_kind kind;
    bool shared;
    unsigned version, attempt;
    const program *now;
    unsigned nonce;                         /* of what is encoded differently each time */
} it;

/* How input is cut, whatever the dialog says: frame by frame, or byte by byte. */
static enum { AS_CHOSEN, BY_FRAMES, BY_BYTES } cuts;

static uint64_t wall, monotonic;

#define INV_A "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn"
#define INV_B "inv_1i38pzuBc7Un030IOErvhBLoIdQKXzGtbd"

/* ---- Values ---------------------------------------------------------------------------------- */

static uint8_t block[100000];

static void fill_block(void) {
    uint64_t state = 5;
    for (size_t i = 0; i < sizeof block; i++) block[i] = (uint8_t)splitmix(&state);
}

static restate_bytes some_bytes(rng *r) {
    static const char *const texts[] = {
        "1", "-17", "2.5", "true", "null", "\"abc\"", "\"\\u00e9\\n\"", "[1,2,[],{\"a\":null}]",
        "{\"a\":1,\"b\":\"x\",\"c\":true,\"d\":[1,\"2\",{}]}", "{\"a\":1.5e3,\"b\":\"\\u0000\"}",
        "{", "x", "not json", "12345678901234567890", "  [ 1 , 2 ]  ", "\"\\ud800\"",
    };
    unsigned n = below(r, 100);
    if (n < 70) return restate_str(texts[below(r, COUNT(texts))]);
    if (n < 78) return bytes_of("", 0);
    if (n < 82) return absent();
    if (n < 90) return bytes_of("a\0\xff", 3);
    if (n < 97) return bytes_of(block + n, 1 + below(r, 300));
    if (n < 99) return bytes_of(block + n, 4000 + below(r, 3000));
    return bytes_of(block, 1u << below(r, 17));
}

/* Mostly one of few, so that they meet again. */
static const char *some_name(rng *r) {
    static const char *const names[] = { "a", "b", "c", "a", "b", "key", "\xc3\xbc", "a\nb" };
    unsigned n = below(r, 1000);
    if (n == 0) return NULL;
    if (n < 3) return "";
    if (n < 5) return "\xff";
    return names[below(r, COUNT(names))];
}

static const char *valid_name(rng *r) {
    const char *name;
    do name = some_name(r);
    while (!name || (uint8_t)*name == 0xFF);
    return name;
}

static const char *some_of(rng *r, const char *const *list, size_t count, const char *rare) {
    return percent(r, 99) ? list[below(r, count)] : rare;
}

/* What only protocol 7 has is rarely asked for in earlier ones. */
static bool since(rng *r, unsigned version, unsigned p) {
    return percent(r, it.version >= version ? p : 1);
}

static const restate_pair *some_pairs(rng *r) {
    static const restate_pair lists[][4] = {
        { { "a", "1" }, { NULL, NULL } }, { { "x-b", "" }, { "a", "2" }, { NULL, NULL } },
        { { "a", "1" }, { "b", "2" }, { "c", "3" }, { NULL, NULL } },
        { { "b", "2" }, { "a", "1" }, { NULL, NULL } }, { { "a", "\xc3\xa9" }, { NULL, NULL } },
        { { "a", NULL }, { NULL, NULL } },
    };
    static const restate_pair wrong[][3] = {
        { { "a", "1" }, { "a", "2" }, { NULL, NULL } }, { { NULL, "1" }, { NULL, NULL } },
        { { "a", "\xff" }, { NULL, NULL } }, { { "", "1" }, { NULL, NULL } },
    };
    return percent(r, 96) ? lists[below(r, COUNT(lists))] : wrong[below(r, COUNT(wrong))];
}

static restate_failure some_failure(rng *r) {
    static const uint16_t codes[] = { 0, 1, 200, 404, 409, 500, 503, 599, 1000, 65535 };
    static const char *const messages[] = { "no", "", "broken \xc3\xa9", NULL,
                                            "a much longer text" };
    restate_failure f = { 0, NULL, NULL };
    f.code = codes[below(r, COUNT(codes))];
    f.message = some_of(r, messages, COUNT(messages), "\xff");
    if (since(r, 6, 30)) f.metadata = some_pairs(r);
    return f;
}

static restate_target some_target(rng *r) {
    static const char *const services[] = { "S", "O", "W", "Other" };
    static const char *const handlers[] = { "h", "s", "other" };
    restate_target t = { NULL, NULL, NULL, NULL };
    t.service = some_of(r, services, COUNT(services), percent(r, 50) ? NULL : "");
    t.handler = some_of(r, handlers, COUNT(handlers), percent(r, 50) ? NULL : "\xff");
    if (percent(r, 60)) t.key = some_name(r);
    if (since(r, 7, 30)) t.scope = percent(r, 95) ? "scope" : "";
    return t;
}

static uint64_t some_ms(rng *r) {
    static const uint64_t all[] = { 0, 1, 20, 1000, 3600000, RESTATE_ZERO_MS, (uint64_t)-5000,
                                    63072000001u, UINT64_MAX / 2, 86400000, 1000, 100 };
    return all[below(r, COUNT(all))];
}

static restate_call_options some_call_options(rng *r, bool scoped) {
    restate_call_options o;
    memset(&o, 0, sizeof o);
    if (percent(r, 30)) o.idempotency_key = some_name(r);
    if (percent(r, 40)) o.headers = some_pairs(r);
    if (percent(r, 30)) o.delay_ms = some_ms(r);
    if (percent(r, 30)) o.name = some_name(r);
    if (scoped ? since(r, 7, 40) : percent(r, 1)) o.limit_key = percent(r, 95) ? "a/b" : "";
    return o;
}

static restate_retry_policy some_policy(rng *r) {
    restate_retry_policy p;
    memset(&p, 0, sizeof p);
    if (percent(r, 50)) p.initial_interval_ms = some_ms(r) % 100000;
    if (percent(r, 30)) p.factor = 1 + below(r, 40) / 10.0;
    if (percent(r, 30)) p.max_interval_ms = 1 + below(r, 100000);
    if (percent(r, 60)) p.max_attempts = 1 + below(r, 4);
    if (percent(r, 20)) p.max_duration_ms = 1 + below(r, 5000);
    if (since(r, 7, 30)) p.when_exhausted = (restate_exhausted)below(r, 3);
    return p;
}

/* ---- The interpreter ------------------------------------------------------------------------- */

typedef struct machine {
    restate_ctx *ctx;
    restate_bytes input, last;              /* what was seen last */
    restate_future *futures[FUTURES_MAX];
    size_t count;
    restate_selector *selector;
    const char *awakeable, *invocation;     /* ids that were given */
    const restate_failure *kept;
    bool over;                              /* return what the last operation gave */
} machine;

static void say_failure(const restate_failure *f) {
    SAY(" failed %u", f->code);
    say_bytes(restate_str(f->message));
    for (const restate_pair *p = f->metadata; p && p->name; p++) SAY(" %s=%s", p->name, p->value);
}

/* What an operation gave. */
static restate_status saw(machine *m, restate_status s, restate_bytes value) {
    SAY(" -> %d", (int)s);
    say_bytes(value);
    if (s != RESTATE_OK && s != RESTATE_ENDED) say_failure(CALL(failed)(m->ctx));
    if (s == RESTATE_OK) m->last = value;
    return s;
}

static restate_status saw_status(machine *m, restate_status s) { return saw(m, s, absent()); }

static restate_status made(machine *m, restate_future *f) {
    SAY(" -> future %lu%s", (unsigned long)m->count, CALL(is_done)(f) ? " done" : "");
    if (m->count < FUTURES_MAX) m->futures[m->count++] = f;
    return RESTATE_OK;
}

static restate_bytes value_for(machine *m, rng *r) {
    unsigned n = below(r, 10);
    if (n == 0) return m->last;
    if (n == 1) return m->input;
    return some_bytes(r);
}

static restate_future *future_of(machine *m, rng *r) {
    if (!m->count) made(m, CALL(sleep_async)(m->ctx, some_ms(r), NULL));
    return percent(r, 99) ? m->futures[below(r, m->count)] : NULL;
}

/* Some futures; the latest ones are those that are not settled yet. */
static size_t futures_of(machine *m, rng *r, restate_future **to) {
    size_t n = percent(r, 95) ? 1 + below(r, 5) : below(r, 7);
    for (size_t i = 0; i < n; i++) {
        to[i] = future_of(m, r);
        if (percent(r, 50) && m->count > i) to[i] = m->futures[m->count - 1 - i];
    }
    return n;
}

static const char *invocation_of(machine *m, rng *r) {
    unsigned n = below(r, 40);
    if (n == 0) return NULL;
    if (n < 3) return "inv_wrong";
    if (n == 3) return "";
    if (n < 20 && m->invocation) return m->invocation;
    return n & 1 ? INV_A : INV_B;
}

static const char *awakeable_of(machine *m, rng *r) {
    unsigned n = below(r, 40);
    if (n == 0) return NULL;
    if (n < 3) return "sign_1wrong";
    if (n < 6) return "prom_1NMyOAvDK2CcBjUH4Rmb7eGBp0DNNDnmsAAAAAQ";
    if (n < 25 && m->awakeable) return m->awakeable;
    return "sign_1NMyOAvDK2CcBjUH4Rmb7eGBp0DNNDnmsAAAAEQ";
}

static restate_invocation some_invocation(machine *m, rng *r) {
    restate_invocation i;
    memset(&i, 0, sizeof i);
    if (percent(r, 50)) i.id = invocation_of(m, r);
    i.target = some_target(r);
    if (percent(r, 50)) i.idempotency_key = "once";
    else i.target.handler = NULL;
    if (percent(r, 95) && !i.target.handler) i.target.key = "b";
    if (percent(r, 3)) i.idempotency_key = some_name(r);
    return i;
}

/* -- ends -- */

static restate_status do_reply(machine *m, rng *r) {
    restate_status s = CALL(reply)(m->ctx, value_for(m, r));
    m->over = percent(r, 50);
    return saw_status(m, s);
}

static restate_status do_fail(machine *m, rng *r) {
    restate_failure f = some_failure(r);
    m->over = percent(r, 70);
    return CALL(fail)(m->ctx, f.code, "%s, %d", f.message ? f.message : "none", 17);
}

static restate_status do_fail_with(machine *m, rng *r) {
    restate_failure f = some_failure(r);
    const restate_failure *of = percent(r, 60) || !m->kept ? &f : percent(r, 60) ? m->kept : NULL;
    m->over = percent(r, 70);
    return saw_status(m, CALL(fail_with)(m->ctx, of));
}

static restate_retry_options some_retry(rng *r) {
    restate_retry_options o;
    memset(&o, 0, sizeof o);
    if (percent(r, 50)) o.code = (uint16_t)(100 * below(r, 9));
    if (percent(r, 40)) o.delay_ms = some_ms(r);
    o.pause = since(r, 7, 30);
    return o;
}

static restate_status do_retry(machine *m, rng *r) {
    restate_retry_options o = some_retry(r);
    if (it.attempt > 2 && percent(r, 80)) return RESTATE_OK;
    m->over = true;
    return CALL(retry)(m->ctx, o.code ? &o : NULL, "again: %d", (int)below(r, 100));
}

static restate_status do_failed(machine *m, rng *r) {
    const restate_failure *f = CALL(failed)(m->ctx);
    (void)r;
    say_failure(f);
    m->kept = f;
    return RESTATE_OK;
}

/* -- request, log, randomness, memory -- */

static restate_status do_request(machine *m, rng *r) {
    const restate_request_info *i = CALL(request)(m->ctx);
    SAY(" %s %s/%s/%s %s key %lu %s %s tries %u v%u %d user %d", i->invocation_id,
        i->target.service, i->target.handler, i->target.key,
        i->target.scope ? i->target.scope : "-", (unsigned long)i->key_len,
        i->idempotency_key ? i->idempotency_key : "-", i->limit_key ? i->limit_key : "-",
        i->retry_count, i->protocol_version, i->replaying, i->user == &it);
    say_bytes(i->body);
    for (const restate_pair *p = i->headers; p->name; p++) SAY(" %s=%s", p->name, p->value);
    for (const restate_pair *p = i->attempt_headers; p->name; p++) SAY(" %s:%s", p->name, p->value);
    if (percent(r, 50)) SAY(" key %s", CALL(key)(m->ctx));
    return RESTATE_OK;
}

static restate_status do_log(machine *m, rng *r) {
    restate_log_level level = (restate_log_level)below(r, 7);
    CALL(log)(m->ctx, level, "log %d\n%s", (int)below(r, 50), "more");
    return RESTATE_OK;
}

static restate_status do_stop_requested(machine *m, rng *r) {
    (void)r;
    SAY(" %d", CALL(stop_requested)(m->ctx));
    return RESTATE_OK;
}

static restate_status do_random(machine *m, rng *r) {
    if (percent(r, 50)) SAY(" %016llx", (unsigned long long)CALL(random)(m->ctx));
    else SAY(" %s", CALL(uuid)(m->ctx));
    return RESTATE_OK;
}

static restate_status do_now(machine *m, rng *r) {
    uint64_t now;
    restate_status s = CALL(now)(m->ctx, &now);
    (void)r;
    SAY(" %llu", (unsigned long long)now);
    return saw_status(m, s);
}

static restate_status do_alloc(machine *m, rng *r) {
    size_t size = below(r, 50) ? below(r, 300) : below(r, 30000);
    uint8_t *at = (uint8_t *)CALL(alloc)(m->ctx, size);
    if (!at) return RESTATE_ENDED;
    memset(at, 0xA5, size);
    m->last = restate_str(CALL(text)(m->ctx, "text-%d", (int)below(r, 100)));
    return RESTATE_OK;
}

/* -- JSON, codecs -- */

static restate_status do_json(machine *m, rng *r) {
    restate_bytes b;
    switch (below(r, 5)) {
    case 0: b = CALL(json)(m->ctx, "{'a': %d, 'b': %s}", (int)below(r, 1000), "x\"y"); break;
    case 1: b = CALL(json)(m->ctx, "[%g, %hhd, 'seat-%d']", 1.5, 1, 7); break;
    case 2:
        b = CALL(json)(m->ctx, "{'v': %-.*s}", (int)m->last.len, (const char *)m->last.ptr);
        break;
    case 3: b = CALL(json_quote)(m->ctx, percent(r, 90) ? restate_str("a\x01\"") : m->last); break;
    default: b = CALL(json)(m->ctx, "%llu", (unsigned long long)rng_next(r)); break;
    }
    return saw(m, RESTATE_OK, b);
}

static restate_status do_json_read(machine *m, rng *r) {
    static const char *const members[] = { NULL, "a", "b", "c", "d", "none" };
    const char *member = members[below(r, COUNT(members))];
    restate_bytes doc = value_for(m, r), out = absent();
    long long n = -1;
    double d = -1;
    bool yes = false;
    const char *s = "default";
    switch (below(r, 6)) {
    case 0: saw_status(m, CALL(json_int)(m->ctx, doc, member, &n)); break;
    case 1: saw_status(m, CALL(json_double)(m->ctx, doc, member, &d)); break;
    case 2: saw_status(m, CALL(json_bool)(m->ctx, doc, member, &yes)); break;
    case 3: saw_status(m, CALL(json_string)(m->ctx, doc, member, &s)); break;
    case 4: return saw(m, CALL(json_text)(m->ctx, doc, member, &out), out);
    default: return saw(m, CALL(json_member)(m->ctx, doc, member, &out), out);
    }
    SAY(" %lld %g %d %s", n, d, yes, s);
    return RESTATE_OK;
}

static restate_status do_json_next(machine *m, rng *r) {
    restate_bytes array = percent(r, 70) ? restate_str("[1, \"a\", {}]") : value_for(m, r);
    restate_bytes element = absent();
    while (CALL(json_next)(m->ctx, array, &element)) say_bytes(element);
    return RESTATE_OK;
}

static restate_status do_json_tree(machine *m, rng *r) {
    cJSON *tree = NULL;
    restate_status s;
    if (percent(r, 40)) {
        tree = CALL(json_own)(m->ctx, cJSON_CreateObject());
        if (tree) cJSON_AddNumberToObject(tree, "n", below(r, 100));
        s = tree ? RESTATE_OK : RESTATE_ENDED;
    } else s = CALL(json_tree)(m->ctx, value_for(m, r), &tree);
    if (s != RESTATE_OK || !tree) return saw_status(m, s);
    return saw(m, s, CALL(json_print)(m->ctx, tree));
}

/* A codec of which the same value is never the same twice. */
static restate_status odd_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                                 restate_bytes *out) {
    (void)self;
    if (*(const int *)value == 13) return restate_fail(ctx, 400, "unlucky");
    *out = restate_str(restate_text(ctx, "%d:%u", *(const int *)value, ++it.nonce));
    return RESTATE_OK;
}

static restate_status odd_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                 void *value) {
    (void)self;
    *(int *)value = (int)in.len;
    return in.len && in.ptr[0] == 'x' ? restate_fail(ctx, 404, "not x") : RESTATE_OK;
}

static const restate_codec odd = { .content_type = "text/odd", .encode = odd_encode,
                                   .decode = odd_decode, .unstable = true };

static restate_status do_encode(machine *m, rng *r) {
    int number = (int)below(r, 20);
    restate_bytes plain = value_for(m, r);
    restate_bytes b = percent(r, 50) ? CALL(encode)(m->ctx, &odd, &number)
                                     : CALL(encode)(m->ctx, RESTATE_BYTES, &plain);
    if (percent(r, 50)) m->over = true;
    if (m->over) return saw_status(m, CALL(reply)(m->ctx, b));
    return saw(m, RESTATE_OK, b);
}

static restate_status do_decode(machine *m, rng *r) {
    int number = -1;
    cJSON *tree = NULL;
    restate_status s = percent(r, 50) ? CALL(decode)(m->ctx, &odd, value_for(m, r), &number)
                                      : CALL(decode)(m->ctx, NULL, value_for(m, r), &tree);
    SAY(" %d", number);
    return saw_status(m, s);
}

/* -- runs, time -- */

typedef struct step { uint64_t salt; restate_ctx *handler; } step;

static restate_status misused(restate_ctx *run, rng *r) {
    static const restate_target target = { "S", "h", NULL, NULL };
    switch (below(r, 6)) {
    case 0: return restate_sleep(run, 1);
    case 1: return restate_get(run, "a", NULL);
    case 2: return restate_await(run, restate_awakeable(run, NULL), NULL);
    case 3: return restate_random(run) ? RESTATE_ENDED : RESTATE_OK;
    case 4: return restate_call(run, target, absent(), NULL, NULL);
    default: return restate_set(run, "a", restate_str("1"));
    }
}

/* On a thread of the pool, or right here. */
static restate_status closure(restate_ctx *run, void *arg) {
    step *of = (step *)arg;
    rng r = { of->salt };
    restate_failure f;
    restate_retry_options o;
    unsigned n = below(&r, 100);
    SAY("  (run %u", n);
    if (percent(&r, 80)) turns_yield();
    if (percent(&r, 30)) turns_yield();
    if (percent(&r, 20)) monotonic += below(&r, 3000);
    if (percent(&r, 10)) restate_log(run, RESTATE_LOG_INFO, "in a run");
    if (percent(&r, 10)) SAY(" %s %d", restate_key(run), restate_stop_requested(run));
#ifdef NEWER
    if (percent(&r, 10))
        SAY(" %llu %d", (unsigned long long)CALL(time_left_ms)(run), CALL(stop_fd)(run));
#endif
    SAY(")");
    if (n < 55) return restate_reply(run, some_bytes(&r));
    if (n < 62) return restate_reply(run, restate_json(run, "{'a': %d}", (int)n));
    if (n < 66) return RESTATE_OK;
    if (n < 72) return restate_fail(run, (uint16_t)(400 + n), "failed by %u", n);
    f = some_failure(&r);
    if (n < 78) return restate_fail_with(run, &f);
    o = some_retry(&r);
    if (n < 93 && (it.attempt + n) % 3) return restate_retry(run, n & 1 ? &o : NULL, "later %u", n);
    if (n < 93) return restate_reply(run, restate_str("at last"));
    if (n < 95) return (restate_status)(70 + n);
    if (n < 97) return misused(run, &r);
    if (n < 98) return misused(of->handler, &r);
    return n < 99 ? RESTATE_ENDED : RESTATE_CANCELLED;
}

static restate_run_options some_run_options(rng *r) {
    restate_run_options o;
    memset(&o, 0, sizeof o);
    if (percent(r, 60)) o.retry = some_policy(r);
    if (percent(r, 50)) o.arg_bytes = sizeof(step);
    if (percent(r, 20)) o.timeout_ms = 1 + below(r, 2000);
    o.inline_ok = percent(r, 50);
    return o;
}

static step *some_step(machine *m, rng *r) {
    step *s = (step *)CALL(alloc)(m->ctx, sizeof *s);
    if (!s) return NULL;
    s->salt = rng_split(r);
    s->handler = m->ctx;
    return s;
}

static restate_status do_run(machine *m, rng *r) {
    restate_run_options o = some_run_options(r);
    step *s = some_step(m, r);
    restate_bytes result = absent();
    restate_closure *fn = percent(r, 99) ? closure : NULL;
    const char *name = some_name(r);
    restate_status status;
    if (!s) return RESTATE_ENDED;
    status = CALL(run)(m->ctx, name, fn, s, percent(r, 70) ? &o : NULL, &result);
    return saw(m, status, result);
}

static restate_status do_run_async(machine *m, rng *r) {
    restate_run_options o = some_run_options(r);
    step *s = some_step(m, r);
    const char *name = some_name(r);
    if (!s) return RESTATE_ENDED;
    return made(m, CALL(run_async)(m->ctx, name, closure, s, percent(r, 70) ? &o : NULL));
}

static restate_status do_sleep(machine *m, rng *r) {
    return saw_status(m, CALL(sleep)(m->ctx, some_ms(r)));
}

static restate_status do_sleep_async(machine *m, rng *r) {
    uint64_t ms = some_ms(r);
    return made(m, CALL(sleep_async)(m->ctx, ms, percent(r, 50) ? some_name(r) : NULL));
}

/* -- state -- */

static restate_status do_get(machine *m, rng *r) {
    restate_bytes value = absent();
    restate_status s = CALL(get)(m->ctx, some_name(r), &value);
    return saw(m, s, value);
}

static restate_status do_get_async(machine *m, rng *r) {
    return made(m, CALL(get_async)(m->ctx, some_name(r)));
}

static restate_status do_keys(machine *m, rng *r) {
    const char *const *keys = NULL;
    restate_status s = CALL(keys)(m->ctx, percent(r, 95) ? &keys : NULL);
    for (; keys && *keys; keys++) SAY(" %s", *keys);
    return saw_status(m, s);
}

static restate_status do_set(machine *m, rng *r) {
    const char *key = some_name(r);
    return saw_status(m, CALL(set)(m->ctx, key, value_for(m, r)));
}

static restate_status do_clear(machine *m, rng *r) {
    return saw_status(m, CALL(clear)(m->ctx, some_name(r)));
}

static restate_status do_clear_all(machine *m, rng *r) {
    (void)r;
    return saw_status(m, CALL(clear_all)(m->ctx));
}

/* -- calls -- */

static restate_status do_call(machine *m, rng *r) {
    restate_target to = some_target(r);
    restate_call_options o = some_call_options(r, to.scope != NULL);
    restate_bytes input = value_for(m, r), reply = absent();
    restate_status s;
    if (percent(r, 95)) o.delay_ms = 0;
    s = CALL(call)(m->ctx, to, input, percent(r, 70) ? &o : NULL, &reply);
    return saw(m, s, reply);
}

static restate_status do_call_async(machine *m, rng *r) {
    restate_target to = some_target(r);
    restate_call_options o = some_call_options(r, to.scope != NULL);
    restate_bytes input = value_for(m, r);
    if (percent(r, 95)) o.delay_ms = 0;
    return made(m, CALL(call_async)(m->ctx, to, input, percent(r, 70) ? &o : NULL));
}

static restate_status do_send(machine *m, rng *r) {
    restate_target to = some_target(r);
    restate_call_options o = some_call_options(r, to.scope != NULL);
    restate_bytes input = value_for(m, r);
    return made(m, CALL(send)(m->ctx, to, input, percent(r, 70) ? &o : NULL));
}

static restate_status do_call_id(machine *m, rng *r) {
    const char *id = "";
    restate_target to = some_target(r);
    restate_future *f;
    restate_status s;
    if (percent(r, 5)) f = future_of(m, r);
    else {
        f = CALL(call_async)(m->ctx, to, some_bytes(r), NULL);
        made(m, f);
    }
    s = CALL(call_id)(m->ctx, f, &id);
    if (s == RESTATE_OK) m->invocation = id;
    return saw(m, s, restate_str(id));
}

static restate_status do_cancel(machine *m, rng *r) {
    return saw_status(m, CALL(cancel)(m->ctx, invocation_of(m, r)));
}

static restate_status do_attach(machine *m, rng *r) {
    restate_bytes reply = absent();
    restate_status s = CALL(attach)(m->ctx, some_invocation(m, r), &reply);
    return saw(m, s, reply);
}

static restate_status do_attach_async(machine *m, rng *r) {
    return made(m, CALL(attach_async)(m->ctx, some_invocation(m, r)));
}

static restate_status do_output(machine *m, rng *r) {
    restate_bytes reply = absent();
    restate_status s = CALL(output)(m->ctx, some_invocation(m, r), &reply);
    return saw(m, s, reply);
}

/* -- the outside -- */

static restate_status do_awakeable(machine *m, rng *r) {
    const char *id = "";
    restate_future *f = CALL(awakeable)(m->ctx, percent(r, 95) ? &id : NULL);
    SAY(" %s", id);
    if (*id) m->awakeable = id;
    return made(m, f);
}

static restate_status do_resolve(machine *m, rng *r) {
    const char *id = awakeable_of(m, r);
    restate_failure f = some_failure(r);
    if (percent(r, 50)) return saw_status(m, CALL(resolve)(m->ctx, id, value_for(m, r)));
    return saw_status(m, CALL(reject)(m->ctx, id, percent(r, 90) ? &f : NULL));
}

static restate_status do_signal(machine *m, rng *r) {
    return made(m, CALL(signal)(m->ctx, some_name(r)));
}

static restate_status do_signal_send(machine *m, rng *r) {
    const char *to = invocation_of(m, r), *name = some_name(r);
    restate_failure f = some_failure(r);
    if (percent(r, 50))
        return saw_status(m, CALL(signal_resolve)(m->ctx, to, name, value_for(m, r)));
    return saw_status(m, CALL(signal_reject)(m->ctx, to, name, percent(r, 90) ? &f : NULL));
}

static restate_status do_promise(machine *m, rng *r) {
    return made(m, CALL(promise)(m->ctx, some_name(r)));
}

static restate_status do_promise_peek(machine *m, rng *r) {
    restate_bytes value = absent();
    restate_status s = CALL(promise_peek)(m->ctx, some_name(r), &value);
    return saw(m, s, value);
}

static restate_status do_promise_complete(machine *m, rng *r) {
    const char *name = some_name(r);
    restate_failure f = some_failure(r);
    if (percent(r, 50)) return saw_status(m, CALL(promise_resolve)(m->ctx, name, value_for(m, r)));
    return saw_status(m, CALL(promise_reject)(m->ctx, name, percent(r, 90) ? &f : NULL));
}

/* -- futures -- */

static restate_status saw_await(machine *m, restate_future *f) {
    restate_bytes value = absent();
    restate_status s = CALL(await)(m->ctx, f, &value);
    return saw(m, s, value);
}

static restate_status do_await(machine *m, rng *r) {
    restate_future *f = future_of(m, r);
    if (percent(r, 60) && m->count) f = m->futures[m->count - 1];
    return saw_await(m, f);
}

static restate_status do_await_for(machine *m, rng *r) {
    restate_bytes value = absent();
    restate_future *f = future_of(m, r);
    restate_status s = CALL(await_for)(m->ctx, f, some_ms(r), &value);
    return saw(m, s, value);
}

static restate_status do_select(machine *m, rng *r) {
    restate_future *some[8];
    size_t n = futures_of(m, r, some), rounds = 1 + below(r, 3), index;
    restate_status s = RESTATE_OK;
    while (rounds-- && s == RESTATE_OK) {
        index = 99;
        s = CALL(select)(m->ctx, some, n, &index);
        SAY(" [%lu]", (unsigned long)index);
        if (index < n) some[index] = NULL;
    }
    return saw_status(m, s);
}

static restate_status do_selector(machine *m, rng *r) {
    restate_future *some[8];
    size_t n = futures_of(m, r, some), index = 99;
    restate_status s = RESTATE_OK;
    if (!m->selector || percent(r, 30)) m->selector = CALL(selector_new)(m->ctx, some, n);
    for (n = 1 + below(r, 3); n && s == RESTATE_OK; n--) {
        s = CALL(selector_next)(m->ctx, m->selector, &index);
        SAY(" [%lu] of %lu", (unsigned long)index,
            (unsigned long)CALL(selector_remaining)(m->selector));
    }
    return saw_status(m, s);
}

static restate_status do_combine(machine *m, rng *r) {
    restate_future *some[8];
    size_t n = futures_of(m, r, some);
    switch (below(r, 4)) {
    case 0: return made(m, CALL(race)(m->ctx, some, n));
    case 1: return made(m, CALL(any)(m->ctx, some, n));
    case 2: return made(m, CALL(all)(m->ctx, some, n));
    default: return made(m, CALL(all_settled)(m->ctx, some, n));
    }
}

/* More than lists in messages name, and more than a small journal. */
static restate_status do_many(machine *m, rng *r) {
    restate_future *all[70], *f;
    size_t n = 15 + below(r, 55), kinds = below(r, 4);
    for (size_t i = 0; i < n; i++) {
        restate_target to = { "O", "h", "key", NULL };
        unsigned kind = kinds ? below(r, 6) : 0;
        if (kind < 2) all[i] = CALL(sleep_async)(m->ctx, 1000 + i, NULL);
        else if (kind == 2) all[i] = CALL(awakeable)(m->ctx, NULL);
        else if (kind == 3) all[i] = CALL(signal)(m->ctx, valid_name(r));
        else if (kind == 4) all[i] = CALL(call_async)(m->ctx, to, m->last, NULL);
        else all[i] = CALL(send)(m->ctx, to, m->last, NULL);
    }
    f = kinds == 1 ? CALL(race)(m->ctx, all, n) : CALL(all)(m->ctx, all, n);
    if (kinds == 2) f = CALL(any)(m->ctx, all, n / 2);
    made(m, f);
    return percent(r, 70) ? saw_await(m, f) : RESTATE_OK;
}

/* Runs that are awaited together, and once more after the first decision. */
static restate_status do_runs(machine *m, rng *r) {
    restate_future *all[7], *f;
    size_t n = 2 + below(r, 4);
    restate_status s;
    for (size_t i = 0; i < n; i++) {
        restate_run_options o = some_run_options(r);
        step *of = some_step(m, r);
        if (!of) return RESTATE_ENDED;
        if (percent(r, 80)) o.inline_ok = false;
        all[i] = CALL(run_async)(m->ctx, valid_name(r), closure, of, percent(r, 60) ? &o : NULL);
        made(m, all[i]);
    }
    if (percent(r, 60)) all[n++] = CALL(signal)(m->ctx, valid_name(r));
    f = percent(r, 60) ? CALL(race)(m->ctx, all, n) : CALL(any)(m->ctx, all, n);
    s = saw_await(m, f);
    if (s == RESTATE_ENDED || percent(r, 30)) return s;
    if (percent(r, 30)) return saw_await(m, all[below(r, n)]);
    return saw_await(m, CALL(all_settled)(m->ctx, all, n));
}

static restate_status do_settled(machine *m, rng *r) {
    restate_failure f = some_failure(r);
    restate_bytes value = value_for(m, r);
    return made(m, CALL(settled)(m->ctx, value, percent(r, 50) ? &f : NULL));
}

static restate_status do_is_done(machine *m, rng *r) {
    (void)r;
    for (size_t i = 0; i < m->count; i++) SAY("%d", CALL(is_done)(m->futures[i]));
    SAY("%d", CALL(is_done)(NULL));
    return RESTATE_OK;
}

static restate_status do_cancellation(machine *m, rng *r) {
    (void)r;
    return made(m, CALL(cancellation)(m->ctx));
}

static restate_status do_cancel_calls(machine *m, rng *r) {
    (void)r;
    return saw_status(m, CALL(cancel_calls)(m->ctx));
}

/* -- what the earlier header has not -- */

#ifdef NEWER

static restate_status do_named(machine *m, rng *r) {
    const char *name = some_name(r), *key = some_name(r);
    restate_bytes value = absent();
    restate_ctx *named = CALL(named)(m->ctx, name);
    switch (below(r, 4)) {
    case 0: return saw_status(m, CALL(set)(named, key, value_for(m, r)));
    case 1: return saw_status(m, CALL(clear)(named, key));
    case 2: return made(m, CALL(get_async)(named, key));
    default: return saw(m, CALL(get)(named, key, &value), value);
    }
}

static restate_status do_get_all(machine *m, rng *r) {
    const restate_entry *entries = NULL;
    restate_status s = CALL(get_all)(m->ctx, percent(r, 95) ? &entries : NULL);
    for (; entries && entries->key; entries++) SAY(" %s", entries->key), say_bytes(entries->value);
    return saw_status(m, s);
}

static restate_status do_keys_async(machine *m, rng *r) {
    const char *const *keys = NULL;
    restate_future *f = CALL(keys_async)(m->ctx);
    restate_status s;
    made(m, f);
    if (percent(r, 50)) return RESTATE_OK;
    s = CALL(await_keys)(m->ctx, percent(r, 90) ? f : future_of(m, r), &keys);
    for (; keys && *keys; keys++) SAY(" %s", *keys);
    return saw_status(m, s);
}

static restate_status do_patch(machine *m, rng *r) {
    const char *name = some_name(r);
    if (percent(r, 70)) SAY(" %d", CALL(patched)(m->ctx, name));
    else CALL(patch_done)(m->ctx, name);
    return RESTATE_OK;
}

static restate_status do_random_in(machine *m, rng *r) {
    uint64_t n = percent(r, 50) ? below(r, 10) : rng_next(r);
    if (percent(r, 50)) SAY(" %.17g", CALL(random_double)(m->ctx));
    else SAY(" %llu", (unsigned long long)CALL(random_below)(m->ctx, n));
    return RESTATE_OK;
}

/* Of the handler's own type: JSON, or nothing. */
static restate_status do_typed(machine *m, rng *r) {
    cJSON *tree = NULL;
    if (percent(r, 50)) return saw_status(m, CALL(input)(m->ctx, &tree));
    tree = CALL(json_own)(m->ctx, cJSON_CreateNumber(below(r, 100)));
    m->over = percent(r, 50);
    return saw_status(m, CALL(reply_value)(m->ctx, percent(r, 95) ? (void *)tree : NULL));
}

static const restate_rpc rpcs[] = {
    { "S", "h", &odd, &odd, sizeof(int) }, { "O", "h", &odd, &restate_rpc_empty_json, 0 },
    { "W", "h", &restate_rpc_empty_proto, &odd, sizeof(int) },
};

static restate_status do_rpc(machine *m, rng *r) {
    const restate_rpc *rpc = &rpcs[below(r, COUNT(rpcs))];
    const char *key = rpc == rpcs ? NULL : some_name(r);
    int in = (int)below(r, 20), out = 0;
    const void *message = rpc == rpcs + 2 ? NULL : &in;
    restate_call_options o = some_call_options(r, false);
    const restate_call_options *options = percent(r, 50) ? &o : NULL;
    void *to = rpc->out_size ? &out : NULL;
    restate_status s;
    switch (below(r, 6)) {
    case 0: s = CALL(rpc_call)(m->ctx, rpc, key, message, options, to); break;
    case 1: return made(m, CALL(rpc_call_async)(m->ctx, rpc, key, message, options));
    case 2: return made(m, CALL(rpc_send)(m->ctx, rpc, key, message, options));
    case 3: return made(m, CALL(rpc_attach)(m->ctx, rpc, key));
    case 4: s = CALL(rpc_await)(m->ctx, rpc, future_of(m, r), to); break;
    default: s = CALL(rpc_response)(m->ctx, rpc, value_for(m, r), to); break;
    }
    SAY(" %d", out);
    return saw_status(m, s);
}

#endif

/* ---- Programs -------------------------------------------------------------------------------- */

/* Where an operation is no misuse. */
enum { KEYED = 1, WRITES = 2, WORKFLOWS = 4, EXPLICIT = 8 };

static const struct operation {
    const char *name;
    restate_status (*fn)(machine *m, rng *r);
    unsigned weight, needs;
} operations[] = {
    { "reply", do_reply, 3, 0 }, { "fail", do_fail, 2, 0 }, { "fail_with", do_fail_with, 2, 0 },
    { "retry", do_retry, 2, 0 }, { "failed", do_failed, 2, 0 }, { "request", do_request, 2, 0 },
    { "log", do_log, 2, 0 }, { "stop_requested", do_stop_requested, 1, 0 },
    { "random", do_random, 2, 0 }, { "now", do_now, 2, 0 }, { "alloc", do_alloc, 1, 0 },
    { "json", do_json, 2, 0 }, { "json_read", do_json_read, 2, 0 },
    { "json_next", do_json_next, 1, 0 }, { "json_tree", do_json_tree, 1, 0 },
    { "encode", do_encode, 2, 0 }, { "decode", do_decode, 1, 0 }, { "run", do_run, 8, 0 },
    { "run_async", do_run_async, 8, 0 }, { "sleep", do_sleep, 5, 0 },
    { "sleep_async", do_sleep_async, 5, 0 }, { "get", do_get, 10, KEYED },
    { "get_async", do_get_async, 6, KEYED }, { "keys", do_keys, 6, KEYED },
    { "set", do_set, 8, KEYED | WRITES }, { "clear", do_clear, 5, KEYED | WRITES },
    { "clear_all", do_clear_all, 3, KEYED | WRITES }, { "call", do_call, 7, 0 },
    { "call_async", do_call_async, 8, 0 }, { "send", do_send, 6, 0 },
    { "call_id", do_call_id, 3, 0 }, { "cancel", do_cancel, 3, 0 }, { "attach", do_attach, 3, 0 },
    { "attach_async", do_attach_async, 3, 0 }, { "output", do_output, 3, 0 },
    { "awakeable", do_awakeable, 6, 0 }, { "resolve", do_resolve, 4, 0 },
    { "signal", do_signal, 6, 0 }, { "signal_send", do_signal_send, 4, 0 },
    { "promise", do_promise, 8, WORKFLOWS }, { "promise_peek", do_promise_peek, 6, WORKFLOWS },
    { "promise_complete", do_promise_complete, 6, WORKFLOWS }, { "await", do_await, 20, 0 },
    { "await_for", do_await_for, 6, 0 }, { "select", do_select, 6, 0 },
    { "selector", do_selector, 6, 0 }, { "combine", do_combine, 14, 0 },
    { "many", do_many, 2, 0 }, { "runs", do_runs, 6, 0 },
    { "settled", do_settled, 3, 0 }, { "is_done", do_is_done, 3, 0 },
    { "cancellation", do_cancellation, 10, EXPLICIT },
    { "cancel_calls", do_cancel_calls, 8, EXPLICIT },
#ifdef NEWER
    { "named", do_named, 6, KEYED | WRITES }, { "get_all", do_get_all, 4, KEYED },
    { "keys_async", do_keys_async, 4, KEYED }, { "patch", do_patch, 6, 0 },
    { "random_in", do_random_in, 2, 0 }, { "typed", do_typed, 3, 0 }, { "rpc", do_rpc, 10, 0 },
#endif
};

static bool fits(unsigned needs) {
    if (needs & KEYED && it.kind == RESTATE_SERVICE) return false;
    if (needs & WRITES && it.shared) return false;
    if (needs & WORKFLOWS && it.kind != RESTATE_WORKFLOW) return false;
    return !(needs & EXPLICIT) || it.on.explicit_cancellation;
}

static op some_op(rng *r) {
    unsigned total = 0, n, i;
    op o;
    for (i = 0; i < COUNT(operations); i++) total += operations[i].weight;
    do {
        n = below(r, total);
        for (i = 0; n >= operations[i].weight; i++) n -= operations[i].weight;
    } while (!fits(operations[i].needs) && !percent(r, 1));
    o.kind = i;
    o.salt = rng_split(r);
    return o;
}

static program some_program(rng *r) {
    program p;
    memset(&p, 0, sizeof p);
    p.count = percent(r, 30) ? 1 + below(r, 4) : 2 + below(r, OPS_MAX - 2);
    for (unsigned i = 0; i < p.count; i++) p.ops[i] = some_op(r);
    p.salt = rng_split(r);
    return p;
}

/* As if the code had been changed while the invocation was open. */
static void change_program(program *p, rng *r) {
    unsigned i = below(r, p->count), how = below(r, 5);
    if (how == 0) p->ops[i].salt = rng_split(r);
    else if (how == 1) p->ops[i] = some_op(r);
    else if (how == 2) p->ops[i] = p->ops[below(r, p->count)];
    else if (how == 3) p->salt = rng_split(r);
    else if (p->count > 1) {
        p->count--;
        memmove(p->ops + i, p->ops + i + 1, (p->count - i) * sizeof p->ops[0]);
    }
}

static restate_status returned(machine *m, const program *of, restate_status last) {
    rng r = { of->salt };
    unsigned n = below(&r, 100);
    if (n < 45) return CALL(reply)(m->ctx, value_for(m, &r));
    if (n < 60) return CALL(reply)(m->ctx, m->last);
    if (n < 80) return RESTATE_OK;
    if (n < 94) return last;
    if (n < 97) return RESTATE_TERMINAL;
    if (n < 98) return RESTATE_ENDED;
    return (restate_status)(n < 99 ? 77 : -1);
}

/* After a failure the handler goes on, keeps it, or returns it. When the attempt is over it ends,
 * or calls some more first. */
static restate_status interpret(restate_ctx *ctx, restate_bytes input) {
    const program *of = it.now;
    machine m;
    restate_status s = RESTATE_OK;
    unsigned late = 0, attempt = it.attempt;        /* others may begin meanwhile */
    memset(&m, 0, sizeof m);
    m.ctx = ctx;
    m.input = m.last = input;
    SAY("  %u begins", attempt);
    say_bytes(input);
    SAY("\n");
    for (unsigned i = 0; i < of->count && !m.over; i++) {
        const op *o = &of->ops[i];
        rng r = { o->salt };
        SAY("  %u %s", attempt, operations[o->kind].name);
        s = operations[o->kind].fn(&m, &r);
        SAY("\n");
        if (m.over) break;
        if (s == RESTATE_ENDED && (late++ > 2 || percent(&r, 80))) m.over = true;
        else if (s != RESTATE_OK && percent(&r, 15)) m.over = true;
        else if (s != RESTATE_OK && percent(&r, 40)) m.kept = restate_failed(ctx);
    }
    if (!m.over) s = returned(&m, of, s);
    SAY("  %u returns %d\n", attempt, (int)s);
    return s;
}

/* ---- Endpoints ------------------------------------------------------------------------------- */

static mem_counts memory;                   /* of the endpoint */

static uint64_t wall_ms(void *user) { (void)user; return wall; }
static uint64_t monotonic_ms(void *user) { (void)user; return monotonic; }

/* What a log line cuts off depends on what is allowed to differ; the frame has all of it. */
static void write_log(void *user, const restate_log_record *r) {
    static text message;
    (void)user;
    begin_line();
    SAY("  log %d %d %d", (int)r->level, r->of_library, r->replaying);
    message.len = 0;
    add(&message, r->message, strlen(r->message));
    if (allowed.len) normalise(&message);
    say_bytes(bytes_of(message.at, message.len < 700 ? message.len : 700));
    SAY(" %s %s %s\n", r->service ? r->service : "-", r->handler ? r->handler : "-",
        r->invocation_id ? r->invocation_id : "-");
}

/* A byte in front, the others turned around. */
static void seal_bytes(uint8_t *to, restate_bytes plain) {
    *to++ = 'S';
    for (size_t i = 0; i < plain.len; i++) to[i] = plain.ptr[i] ^ 0x15;
}

static restate_status seal(void *user, restate_ctx *ctx, restate_bytes plain,
                           restate_bytes *sealed) {
    size_t more = user ? 1 : 0;
    uint8_t *to = (uint8_t *)restate_alloc(ctx, plain.len + 1 + more);
    if (!to) return RESTATE_ENDED;
    if (plain.len == 17) return restate_fail(ctx, 500, "17 bytes are too many");
    seal_bytes(to, plain);
    if (more) to[plain.len + 1] = (uint8_t)++it.nonce;
    *sealed = bytes_of(to, plain.len + 1 + more);
    return RESTATE_OK;
}

static restate_status unseal(void *user, restate_ctx *ctx, restate_bytes in, restate_bytes *plain) {
    size_t len = in.len - 1 - (user ? 1 : 0);
    uint8_t *to;
    if (in.len < 2 || in.ptr[0] != 'S') return restate_fail(ctx, 403, "not sealed");
    to = (uint8_t *)restate_alloc(ctx, len);
    if (!to) return RESTATE_ENDED;
    for (size_t i = 0; i < len; i++) to[i] = in.ptr[i + 1] ^ 0x15;
    *plain = bytes_of(to, len);
    return RESTATE_OK;
}

static const restate_seal stable_seal = { seal, unseal, NULL, false };
static const restate_seal unstable_seal = { seal, unseal, &it, true };

static void hook_begin(void *user, restate_ctx *ctx) {
    (void)user, (void)ctx;
    SAY("  hook begin\n");
}
static void hook_end(void *user, restate_ctx *ctx, restate_status s) {
    (void)user, (void)ctx;
    SAY("  hook end %d\n", (int)s);
}
static void hook_run_begin(void *user, restate_ctx *run, const char *name) {
    (void)user, (void)run;
    SAY(" (hook run %s)", name ? name : "NULL");
}
static void hook_run_end(void *user, restate_ctx *run, const char *name, restate_status s) {
    (void)user, (void)run;
    SAY(" (hook ran %s %d)", name ? name : "NULL", (int)s);
}
static const restate_pair *hook_outbound(void *user, restate_ctx *ctx, const restate_target *to) {
    static const restate_pair traced[] = { { "traceparent", "00-1" }, { NULL, NULL } };
    (void)user, (void)ctx;
    return to->key ? traced : NULL;
}

static const restate_hooks all_hooks = { hook_begin, hook_end, hook_run_begin, hook_run_end,
                                         hook_outbound, NULL };
static const restate_hooks some_hooks = { hook_begin, hook_end, NULL, hook_run_end, NULL, NULL };

static bool map_error(void *user, uint16_t code, const char *message, restate_failure *out) {
    (void)user;
    if (code % 200 && message[0] != 'l') return false;
    out->code = 418;
    out->message = message;
    return true;
}

static void some_options(restate_options *o, setup *on, rng *r) {
    o->user = percent(r, 50) ? &it : NULL;
    if (percent(r, 20)) o->lazy_state = RESTATE_ON;
    if (percent(r, 30)) o->run_retry = some_policy(r);
    if (percent(r, 30)) o->on_mismatch = (restate_mismatch)below(r, 4);
    if (percent(r, 20)) o->skip_payload_check = RESTATE_ON;
    if (percent(r, 20)) o->cancel_sends = RESTATE_ON;
    if (percent(r, 25)) o->hooks = percent(r, 50) ? &all_hooks : &some_hooks;
    if (percent(r, 20)) o->map_error = map_error;
    if (percent(r, 20)) o->inactivity_timeout_ms = percent(r, 50) ? 5000 : RESTATE_ZERO_MS;
    o->stall_warning_ms = RESTATE_ZERO_MS;
    if (percent(r, 10) && cuts == AS_CHOSEN) o->blocking = RESTATE_ON;
    on->explicit_cancellation = percent(r, 30);
    if (on->explicit_cancellation) o->explicit_cancellation = RESTATE_ON;
    on->sealed = percent(r, 20);
    if (on->sealed) o->seal = percent(r, 50) ? &stable_seal : &unstable_seal;
}

/* The dialog looks often enough; a moment later only, unless cuts are to make no difference. */
static bool woken;
static void wake(void *user) { (void)user, woken = true; }

/* The options are put at one of their three levels. */
static void set_up(setup *on, rng *r) {
    restate_handler plain[] = { { .name = "h", .fn = interpret },
        { .name = "v", .fn = interpret, .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = NULL } };
    restate_handler keyed[] = { { .name = "h", .fn = interpret },
        { .name = "s", .fn = interpret, .shared = true }, { .name = NULL } };
    restate_service all[3] = { { .name = "S", .handlers = plain },
        { .name = "O", .kind = RESTATE_OBJECT, .handlers = keyed },
        { .name = "W", .kind = RESTATE_WORKFLOW, .handlers = keyed } };
    const restate_service *const services[] = { &all[0], &all[1], &all[2], NULL };
    restate_endpoint_options o;
    restate_options inner;
    unsigned level = below(r, 3);
    memset(&o, 0, sizeof o);
    memset(&inner, 0, sizeof inner);
    it.version = 7;
    some_options(&inner, on, r);
    if (level == 0) o.defaults = inner;
    for (size_t i = 0; level == 1 && i < 3; i++) all[i].options = inner;
    for (size_t i = 0; level == 2 && i < 2; i++) plain[i].options = keyed[i].options = inner;
    o.pool_threads = 1 + below(r, 5);
    if (percent(r, 70)) o.stream_wake = wake;
    on->small_messages = percent(r, 10);
    if (on->small_messages) o.max_message_bytes = 4096;
    o.services = services;
    o.allocator = mem_allocator(&memory);
    o.clock = (restate_clock){ wall_ms, monotonic_ms, NULL };
    o.logger = (restate_logger){ write_log, NULL, RESTATE_LOG_TRACE, percent(r, 50) };
    on->endpoint = restate_endpoint_new(&o);
    if (*restate_endpoint_error(on->endpoint)) {
        fprintf(stderr, "differential: %s\n", restate_endpoint_error(on->endpoint));
        exit(2);
    }
}

/* ---- The peer: the other side of the journal ------------------------------------------------- */

enum { INPUT = 0x0400, OUTPUT = 0x0401, CALLED = 0x040D, SENT = 0x040E, RUN_DONE = 0x8011,
       CALL_ID = 0x800E, SIGNAL = 0xFBFF, CANCEL = 1 };

typedef struct entry { uint16_t type, flags; size_t at, len; } entry;

/* A completion that is to come. Of a run the handler has to propose it first. */
typedef struct pending {
    uint32_t id;
    uint16_t type;
    bool proposed, failed;
    size_t at, len;                         /* of what was proposed */
} pending;

typedef enum ended { OPEN, CLOSED, SUSPENDED, ERROR_SENT, END_SENT } ended;

static struct {
    text store;                             /* payloads of entries, results of runs */
    entry entries[400];
    size_t count;
    pending waits[400];
    size_t waiting;
    uint32_t commands, acks[64];            /* commands that want to be acknowledged */
    size_t acking;
    uint64_t state_seed;
    /* the attempt */
    restate_stream *stream;
    text wire, in;                          /* to be fed; taken, up to the first part of a frame */
    text fed;                               /* and where its last frame begins */
    size_t frame_at;
    unsigned pieces;                        /* how input is cut */
    bool over, headed, eager_take;
    ended how;
} peer;

static restate_bytes stored(size_t at, size_t len) { return bytes_of(peer.store.at + at, len); }

static void wait_for(uint32_t id, uint16_t type) {
    if (id && peer.waiting < COUNT(peer.waits))
        peer.waits[peer.waiting++] = (pending){ id, type, false, false, 0, 0 };
}

/* Commands say in fields 10 and 11 what answers them. */
static void wait_for_results(uint16_t type, restate_bytes payload) {
    field f;
    while (get_field(&payload, &f)) {
        if (f.wire != 0) continue;
        if (f.tag == 10 && (type == CALLED || type == SENT)) wait_for((uint32_t)f.number, CALL_ID);
        if (f.tag == 11) wait_for((uint32_t)f.number, (uint16_t)(0x8000 | (type & 0xFF)));
    }
}

static void record(uint16_t type, restate_bytes payload) {
    if (peer.count == COUNT(peer.entries)) return;
    peer.entries[peer.count++] = (entry){ type, 0, peer.store.len, payload.len };
    add(&peer.store, payload.ptr, payload.len);
    if (type < 0x8000) wait_for_results(type, payload);
}

static void forget_pending(uint32_t id) {
    for (size_t i = 0; i < peer.waiting; i++)
        if (peer.waits[i].id == id) peer.waits[i--] = peer.waits[--peer.waiting];
}

/* The server lost what came after entry `count`. */
static void cut_journal(size_t count) {
    peer.count = count;
    peer.waiting = 0;
    for (size_t i = 0; i < count; i++) {
        const entry *e = &peer.entries[i];
        restate_bytes payload = stored(e->at, e->len);
        field f;
        if (e->type < 0x8000) wait_for_results(e->type, payload);
        else if (e->type != SIGNAL && get_field(&payload, &f)) forget_pending((uint32_t)f.number);
    }
}

/* -- what it sends -- */

static void send_raw(uint16_t type, uint16_t flags, uint32_t len, restate_bytes payload) {
    uint8_t head[8] = { (uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(flags >> 8), (uint8_t)flags,
        (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };
    say_frame(">", type, flags, payload);
    add(&peer.wire, head, sizeof head);
    add(&peer.wire, payload.ptr, payload.len);
}

static void send_frame(uint16_t type, restate_bytes payload) {
    send_raw(type, 0, (uint32_t)payload.len, payload);
}

/* A value as other handlers would have sent it: sealed, if this endpoint seals. */
static restate_bytes payload_of(rng *r) {
    static text sealed;
    restate_bytes b = some_bytes(r);
    if (!it.on.sealed || percent(r, 10)) return b;
    sealed.len = 0;
    add(&sealed, block, b.len + 1);
    seal_bytes(sealed.at, b);
    return bytes_in(&sealed);
}

static void put_failure(text *to, unsigned tag, rng *r) {
    static text inner;
    static const char *const messages[] = { "remote", "", "no \xc3\xa9" };
    inner.len = 0;
    put_number(&inner, 1, percent(r, 90) ? 400 + below(r, 200) : below(r, 70000));
    put_text(&inner, 2, messages[below(r, COUNT(messages))]);
    if (it.version >= 6 && percent(r, 30)) put_pair(&inner, 3, "b", restate_str("2"));
    if (it.version >= 6 && percent(r, 30)) put_pair(&inner, 3, "a", restate_str("1"));
    if (percent(r, 1)) put_pair(&inner, 3, "\xff", restate_str("1"));
    put_bytes(to, tag, bytes_in(&inner));
}

static void put_state_keys(text *to, rng *r) {
    static text inner;
    inner.len = 0;
    for (unsigned n = below(r, 4); n; n--) put_text(&inner, 1, valid_name(r));
    put_bytes(to, 17, bytes_in(&inner));
}

/* Which results each completion has: a void (1), value (2), failure (4), id (8), keys (16). */
static unsigned results_of(uint16_t type) {
    switch (type) {
    case 0x8002: return 3;
    case 0x8006: return 16;
    case 0x800A: case 0x8013: return 7;
    case 0x800B: return 5;
    case 0x800C: return 1;
    case CALL_ID: return 8;
    case SIGNAL: return 7;
    default: return 6;
    }
}

static void put_result(text *to, uint16_t type, rng *r) {
    unsigned results = results_of(type), kind, luck = below(r, 1000);
    if (luck < 3) results = 31;
    if (luck == 3) return;
    do kind = 1u << below(r, 5);
    while (!(results & kind));
    if (kind == 1) put_bytes(to, 4, absent());
    else if (kind == 2) put_value(to, 5, payload_of(r));
    else if (kind == 4) put_failure(to, 6, r);
    else if (kind == 8) put_text(to, 16, percent(r, 50) ? INV_A : INV_B);
    else put_state_keys(to, r);
}

static text made_payload;

static restate_bytes signal_payload(rng *r) {
    text *p = &made_payload;
    p->len = 0;
    if (percent(r, 50)) put_number(p, 2, percent(r, 95) ? 17 + below(r, 5) : below(r, 40));
    else put_text(p, 3, valid_name(r));
    put_result(p, SIGNAL, r);
    return bytes_in(p);
}

static restate_bytes cancel_payload(void) {
    made_payload.len = 0;
    put_number(&made_payload, 2, CANCEL);
    put_bytes(&made_payload, 4, absent());
    return bytes_in(&made_payload);
}

/* The result that a run has proposed. */
static void put_proposed(text *to, const pending *w) {
    if (w->failed) put_bytes(to, 6, stored(w->at, w->len));
    else put_value(to, 5, stored(w->at, w->len));
}

/* Completes what waits; with `told_now` the handler is told. A run that was not proposed cannot be
 * complete, but now and then is. */
static void complete(size_t index, bool told_now, rng *r) {
    pending w = peer.waits[index];
    bool surprise = percent(r, 2), ack = it.version >= 7 && percent(r, 90);
    text *p = &made_payload;
    if (w.type == RUN_DONE && !w.proposed && !surprise) return;
    p->len = 0;
    put_number(p, 1, w.id);
    if (w.proposed) put_proposed(p, &w);
    else put_result(p, w.type, r);
    record(w.type, bytes_in(p));
    forget_pending(w.id);
    if (told_now && w.proposed && ack) {
        p->len = 0;
        put_number(p, 1, w.id);
        send_frame(7, bytes_in(p));
    } else if (told_now) send_frame(w.type, bytes_in(p));
}

static void send_start(uint64_t known, rng *r) {
    text *p = &made_payload;
    p->len = 0;
    put_text(p, 1, "an id, as raw bytes");
    put_text(p, 2, INV_A);
    put_number(p, 3, known);
    if (it.kind != RESTATE_SERVICE) {
        rng s = { peer.state_seed };
        for (unsigned n = below(&s, 5); n; n--) {
            const char *name = below(&s, 1000) ? valid_name(&s) : "\xff";
            put_pair(p, 4, name, payload_of(&s));
        }
        if (percent(&s, 50)) put_number(p, 5, 1);
        put_text(p, 6, percent(r, 95) ? "the key" : "");
    }
    if (percent(r, 50)) put_number(p, 7, below(r, 4));
    if (percent(r, 50)) put_number(p, 8, below(r, 10000));
    put_number(p, 9, peer.state_seed);
    if (since(r, 7, 30)) put_text(p, 10, "scope");
    if (since(r, 7, 30)) put_text(p, 11, "limit/key");
    if (since(r, 7, 30)) put_text(p, 12, "once");
    send_frame(0, bytes_in(p));
}

static void send_entry(size_t i) {
    const entry *e = &peer.entries[i];
    send_raw(e->type, e->flags, (uint32_t)e->len, stored(e->at, e->len));
}

/* One entry, made wrong. */
static void send_wrong(size_t i, rng *r) {
    static text changed;
    entry e = peer.entries[i];
    restate_bytes b = stored(e.at, e.len);
    uint8_t bit = (uint8_t)(1u << below(r, 8));
    changed.len = 0;
    add(&changed, b.ptr, b.len);
    switch (below(r, 10)) {
    case 0: return;
    case 1: send_entry(i), send_entry(i); return;
    case 2: e.type = (uint16_t)(0x0400 + below(r, 0x18)); break;
    case 3: e.type = (uint16_t)(0x8000 + below(r, 0x18)); break;
    case 4: if (b.len) changed.at[below(r, b.len)] ^= bit; break;
    case 5: if (b.len) changed.len = below(r, b.len); break;
    case 6: put_text(&changed, 12, "renamed"); break;
    case 7: put_text(&changed, 100 + below(r, 50), "unknown"); break;
    case 8: put_number(&changed, 1 + below(r, 15), bit); break;
    default: e.flags = (uint16_t)rng_next(r); break;
    }
    send_raw(e.type, e.flags, (uint32_t)changed.len, bytes_in(&changed));
}

/* The journal. Notifications may come in another order than they were recorded. */
static void send_journal(bool wrong, rng *r) {
    uint64_t known = peer.count;
    size_t at = below(r, peer.count);
    unsigned how = below(r, 10);
    if (wrong && how < 2) known += how ? 1 : UINT64_MAX;
    if (wrong && how == 2) known = rng_next(r), known >>= below(r, 64);
    send_start(known, r);
    for (size_t i = 0; i < peer.count; i++) {
        if (wrong && how > 4 && i == at) send_wrong(i, r);
        else if (wrong && (how == 3 || how == 4) && i == at && i + 1 < peer.count)
            send_entry(i + 1), send_entry(i), i++;
        else send_entry(i);
    }
}

static void send_garbage(rng *r) {
    restate_bytes b = bytes_of(block, below(r, 30));
    switch (below(r, 6)) {
    case 0: send_raw((uint16_t)rng_next(r), 0, (uint32_t)b.len, b); break;
    case 1: send_raw((uint16_t)(0x8000 + below(r, 0x16)), 0, (uint32_t)b.len, b); break;
    case 2: send_raw((uint16_t)below(r, 9), 0, (uint32_t)b.len, b); break;
    case 3: send_raw((uint16_t)(0x8000 + below(r, 0x16)), 0, 0x7FFFFFFF, b); break;
    case 4: send_raw(SIGNAL, 0, (uint32_t)b.len + 4, b); break;
    default: send_raw((uint16_t)(0x0400 + below(r, 0x16)), 0, (uint32_t)b.len, b); break;
    }
}

/* -- what it gets -- */

static void on_proposal(restate_bytes payload) {
    field f;
    pending got = { 0, 0, true, false, 0, 0 };
    while (get_field(&payload, &f)) {
        if (f.tag == 1) got.id = (uint32_t)f.number;
        if (f.wire != 2) continue;
        got.failed = f.tag == 15;
        got.at = peer.store.len;
        got.len = f.bytes.len;
        add(&peer.store, f.bytes.ptr, f.bytes.len);
    }
    for (size_t i = 0; i < peer.waiting; i++) {
        pending *w = &peer.waits[i];
        if (w->id != got.id || w->type != RUN_DONE) continue;
        got.type = RUN_DONE;
        *w = got;
    }
}

static void on_frame(uint16_t type, uint16_t flags, restate_bytes payload) {
    /* How often depends on how much came at a time. */
    if (cuts == AS_CHOSEN || type != 6) say_frame("<", type, flags, payload);
    if (type == 1) peer.how = SUSPENDED;
    else if (type == 2) peer.how = ERROR_SENT;
    else if (type == 3) peer.how = END_SENT;
    else if (type == 5) on_proposal(payload);
    else if (type >= INPUT && type < 0x0500) {
        record(type, payload);
        if (flags && peer.acking < COUNT(peer.acks))
            peer.acks[peer.acking++] = (uint32_t)peer.count;
    }
}

static void on_bytes(restate_bytes b) {
    size_t at = 0;
    add(&peer.in, b.ptr, b.len);
    while (peer.in.len - at >= 8) {
        const uint8_t *p = peer.in.at + at;
        size_t len = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
        if (peer.in.len - at - 8 < len) break;
        on_frame((uint16_t)(p[0] << 8 | p[1]), (uint16_t)(p[2] << 8 | p[3]), bytes_of(p + 8, len));
        at += 8 + len;
    }
    memmove(peer.in.at, peer.in.at + at, peer.in.len - at);
    peer.in.len -= at;
}

static void take_some(void) {
    restate_bytes b;
    uint16_t status = 0;
    const restate_pair *headers = NULL;
    while (!peer.over) {
        restate_status s = restate_stream_take(peer.stream, &b, &status, &headers);
        if (!peer.headed) {
            begin_line();
            SAY("< status %u", status);
            for (; headers && headers->name; headers++)
                SAY(" %s: %s", headers->name, headers->value);
            SAY("\n");
            peer.headed = true;
        }
        if (b.len) on_bytes(b);
        peer.over = s != RESTATE_OK;
        if (peer.over) {
            begin_line();
            SAY("< ends %d, %lu bytes left\n", (int)s, (unsigned long)peer.in.len);
        }
        if (!b.len) break;
    }
}

static void take_all(void) {
    do {
        woken = false;
        take_some();
    } while (woken && cuts != AS_CHOSEN);
}

/* From memory that is gone afterwards. */
static void feed(const uint8_t *at, size_t len) {
    uint8_t *copy = (uint8_t *)malloc(len);
    restate_status s;
    if (!copy) abort();
    memcpy(copy, at, len);
    s = restate_stream_feed(peer.stream, bytes_of(copy, len));
    free(copy);
    if (s != RESTATE_OK && cuts == AS_CHOSEN) begin_line(), SAY("> feed gives %d\n", (int)s);
    if (peer.eager_take) take_all();
}

/* How many of the bytes from `at` on complete a frame; all, if they do not. */
static size_t to_frame_end(const uint8_t *at, size_t len) {
    size_t before = peer.fed.len - peer.frame_at, frame = 8, n;
    const uint8_t *p;
    add(&peer.fed, at, len);
    p = peer.fed.at + peer.frame_at;
    if (before + len >= 8)
        frame += (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
    n = frame - before < len ? frame - before : len;
    peer.fed.len -= len - n;
    if (before + n == frame && frame >= 8 && before + len >= 8) peer.frame_at = peer.fed.len;
    return n;
}

static size_t piece_of(const uint8_t *at, size_t len) {
    size_t size = len;
    if (cuts != AS_CHOSEN) return to_frame_end(at, len);
    if (peer.pieces == 1) size = peer.wire.len < 500 ? 1 : peer.wire.len / 100;
    if (peer.pieces > 1) size = 1 + peer.pieces % (peer.wire.len + 1);
    return len < size ? len : size;
}

/* What is on the wire, in pieces. */
static void deliver(void) {
    size_t len = peer.wire.len, at, n, i;
    if (cuts != AS_CHOSEN) take_all();      /* what threads have done is seen before the input */
    for (at = 0; at < len && !peer.over; at += n) {
        n = piece_of(peer.wire.at + at, len - at);
        for (i = 0; cuts == BY_BYTES && i + 1 < n && !peer.over; i++) feed(peer.wire.at + at + i, 1);
        if (cuts != BY_BYTES) i = 0;
        if (!peer.over) feed(peer.wire.at + at + i, n - i);
    }
    peer.wire.len = 0;
    take_all();
}

static void end_input(void) {
    deliver();
    begin_line();
    SAY("> end of input\n");
    if (!peer.over) restate_stream_feed(peer.stream, absent());
    take_all();
}

/* ---- The dialog ------------------------------------------------------------------------------ */

static const char *const paths[3][2] = {
    { "/invoke/S/h", "/invoke/S/v" }, { "/invoke/O/h", "/invoke/O/s" },
    { "/invoke/W/h", "/invoke/W/s" },
};

static void open_stream(rng *r) {
    static const char *const types[3] = { "application/vnd.restate.invocation.v5",
        "application/vnd.restate.invocation.v6", "application/vnd.restate.invocation.v7" };
    restate_pair headers[] = { { "content-type", types[it.version - 5] }, { "x-try", "some" },
                               { NULL, NULL } };
    restate_http_request request = { "POST", paths[it.kind][it.shared], NULL, false };
    request.headers = headers;
    request.whole = percent(r, 10);
    peer.stream = restate_stream_open(it.on.endpoint, &request);
    begin_line();
    SAY("> attempt %u %s%s\n", it.attempt, request.path, request.whole ? ", whole" : "");
    peer.wire.len = peer.in.len = peer.fed.len = peer.frame_at = 0;
    peer.over = peer.headed = false;
    peer.how = OPEN;
    peer.acking = 0;
    peer.pieces = below(r, 5) ? 0 : below(r, 40);
    peer.eager_take = percent(r, 30) || cuts != AS_CHOSEN;
    if (cuts != AS_CHOSEN) take_all();
}

/* Something that was told already is told again; more than one may win nothing by it. */
static void send_again(rng *r) {
    size_t i = below(r, peer.count);
    if (peer.entries[i].type >= 0x8000) send_entry(i);
}

static void send_ack(rng *r) {
    text *p = &made_payload;
    p->len = 0;
    put_number(p, 1, peer.acking ? peer.acks[below(r, peer.acking)] : below(r, 6));
    send_frame(percent(r, 50) ? 4 : 7, bytes_in(p));
}

static void send_unknown(rng *r) {
    text *p = &made_payload;
    uint16_t type = (uint16_t)(0x8000 | below(r, 0x15));
    p->len = 0;
    put_number(p, 1, 1 + below(r, 30));
    put_result(p, type, r);
    send_frame(type, bytes_in(p));
}

static void send_signal(bool cancel, rng *r) {
    restate_bytes b = cancel ? cancel_payload() : signal_payload(r);
    record(SIGNAL, b);
    send_frame(SIGNAL, b);
}

static void complete_some(unsigned n, rng *r) {
    for (; n && peer.waiting; n--) complete(below(r, peer.waiting), true, r);
}

static void next_step(rng *r) {
    unsigned n = below(r, 100);
    if (percent(r, 60) && turns_take()) return;
    if (n < 62) {
        if (peer.waiting) complete_some(n < 55 ? 1 : 30, r);
        else if (percent(r, 60)) send_signal(false, r);
        else end_input(), peer.how = peer.how == OPEN ? CLOSED : peer.how;
    } else if (n < 74) send_signal(false, r);
    else if (n < 77) send_signal(true, r);
    else if (n < 80) send_again(r);
    else if (n < 82) send_unknown(r);
    else if (n < 84) send_ack(r);
    else if (n < 85) send_garbage(r);
    else if (n < 90) wall += below(r, 5000), monotonic += below(r, 5000);
    else if (n < 97) end_input(), peer.how = peer.how == OPEN ? CLOSED : peer.how;
    else {
        begin_line();
        SAY("> cut off\n");
        peer.how = CLOSED;
        peer.over = true;
    }
}

static void attempt(bool wrong, rng *r) {
    open_stream(r);
    send_journal(wrong, r);
    for (unsigned steps = 40; steps && peer.how == OPEN && !peer.over; steps--) {
        if (percent(r, 75)) deliver();
        if (peer.how == OPEN && !peer.over) next_step(r);
    }
    if (!peer.over) deliver();
    if (!peer.over && peer.how != CLOSED) end_input();
    while (!peer.over && turns_take()) take_all();
    restate_stream_free(peer.stream);
}

/* What happens at the server while nobody executes the handler. */
static void between_attempts(rng *r) {
    for (unsigned n = below(r, 4); n && peer.waiting; n--)
        complete(below(r, peer.waiting), false, r);
    if (percent(r, 15)) record(SIGNAL, percent(r, 20) ? cancel_payload() : signal_payload(r));
    if (peer.count > 1 && percent(r, 12)) cut_journal(1 + below(r, peer.count - 1));
    if (percent(r, 30)) peer.state_seed = rng_split(r);
    wall += below(r, 100000);
    monotonic += below(r, 100000);
}

static void record_input(rng *r) {
    static text p;
    p.len = 0;
    for (unsigned n = below(r, 3); n; n--)
        put_pair(&p, 1, n == 1 ? "h1" : "X-h2", restate_str("v"));
    if (percent(r, 97)) put_value(&p, 14, payload_of(r));
    record(INPUT, bytes_in(&p));
}

static void invocation(rng *r, rng *code) {
    static program first, changed;          /* handlers may outlive this */
    bool changes = percent(r, 20);
    first = changed = some_program(code);
    change_program(&changed, code);
    record_input(r);
    for (unsigned left = 2 + below(r, 6); left; left--) {
        it.attempt++;
        it.now = changes && it.attempt > 1 && percent(code, 50) ? &changed : &first;
        attempt(percent(r, 8), r);
        if (peer.how == END_SENT && percent(r, 60)) break;
        between_attempts(r);
    }
}

/* Requests that reach no handler. */
static void other_request(rng *r) {
    static const char *const asked[] = { "/discover", "/health", "/invoke/S/none", "/invoke/X/h",
        "/invoke/S/h", "/x/invoke/S/h", "/", "/invoke", "/invoke/S/h/more", "/x/discover" };
    static const char *const accepted[] = { "application/vnd.restate.endpointmanifest.v2+json",
        "application/vnd.restate.endpointmanifest.v4+json, */*", "text/plain", "*/*",
        "application/vnd.restate.invocation.v6", "application/vnd.restate.invocation.v9", "" };
    static const char *const methods[] = { "GET", "GET", "POST", "POST", "HEAD", "PUT" };
    static const program nothing = { .count = 0 };
    restate_pair headers[] = { { "accept", NULL }, { "content-type", NULL }, { NULL, NULL } };
    restate_http_request request = { NULL, NULL, NULL, false };
    headers[0].value = accepted[below(r, COUNT(accepted))];
    headers[1].value = accepted[below(r, COUNT(accepted))];
    request.method = methods[below(r, COUNT(methods))];
    request.path = asked[below(r, COUNT(asked))];
    request.headers = headers;
    request.whole = percent(r, 50);
    it.now = &nothing;
    SAY("> %s %s %s\n", request.method, request.path, headers[0].value);
    peer.over = peer.headed = false;
    peer.in.len = 0;
    peer.stream = restate_stream_open(it.on.endpoint, &request);
    if (percent(r, 50)) restate_stream_feed(peer.stream, bytes_of(block, below(r, 100)));
    restate_stream_feed(peer.stream, absent());
    take_all();
    say_bytes(bytes_in(&peer.in));
    restate_stream_free(peer.stream);
}

static volatile uint64_t running;           /* the case */

/* ---- A case ---------------------------------------------------------------------------------- */

static void begin_case(rng *r) {
    memset(&it, 0, sizeof it);
    told.len = 0;
    set_up(&it.on, r);
    it.version = 5 + below(r, 3);
    it.kind = (restate_kind)below(r, 3);
    it.shared = percent(r, 20);
    wall = 1700000000000u + below(r, 1000);
    monotonic = 3600000;
    peer.count = peer.waiting = peer.acking = 0;
    peer.store.len = 0;
    peer.state_seed = rng_split(r);
}

/* Closures that nobody waits for any more end here. What is left in memory is a leak. */
static void end_case(void) {
    while (turns_take()) continue;
    restate_endpoint_free(it.on.endpoint);
    if (!memory.live) return;
    fprintf(stderr, "differential: case %llu leaks %lu bytes\n", (unsigned long long)running,
            (unsigned long)memory.live);
    exit(1);
}

static rng turn;                            /* which thread is next */
static unsigned next_turn(size_t ready) { return below(&turn, ready); }

static void run_case(uint64_t seed, bool faults) {
    rng r = rng_for(seed, 1), code = rng_for(seed, 2);
    running = seed;
    begin_case(&r);
    turn = rng_for(seed, 4);
    turns.next = next_turn;
    SAY("case %llu, protocol %u\n", (unsigned long long)seed, it.version);
    if (faults) mem_fail(&memory, 1 + below(&code, percent(&code, 50) ? 12 : 100));
    if (percent(&r, 1)) other_request(&r);
    else invocation(&r, &code);
    mem_fail(&memory, 0);
    end_case();
    if (allowed.len) normalise(&told);
}

#ifndef CHOICES

/* ---- The program ----------------------------------------------------------------------------- */

/* A case that crashes, or does not end, is named. */
static void on_signal(int number) {
    static const char before[] = "differential: ", between[] = " ends case ";
    char line[80];
    size_t at = sizeof line - 2;
    uint64_t seed = running;
    ssize_t ignored;
    line[at] = '\n';
    do line[--at] = (char)('0' + seed % 10);
    while (seed /= 10);
    memcpy(line + (at -= sizeof between - 1), between, sizeof between - 1);
    line[--at] = (char)('0' + number % 10);
    if (number > 9) line[--at] = (char)('0' + number / 10);
    memcpy(line + (at -= sizeof "signal " - 1), "signal ", sizeof "signal " - 1);
    memcpy(line + (at -= sizeof before - 1), before, sizeof before - 1);
    ignored = write(2, line + at, sizeof line - 1 - at);
    (void)ignored;
    _exit(3);
}

static void watch(void) {
    static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM };
    for (size_t i = 0; i < COUNT(signals); i++) signal(signals[i], on_signal);
}

static bool say_coverage(void) {
    bool complete = true;
    for (size_t i = 0; i < USE_COUNT; i++) {
        printf("%12lu %s\n", used[i], function_names[i]);
        if (!used[i]) complete = false;
    }
    for (size_t i = 0; i < COUNT(known_frames); i++)
        printf("%12lu to, %lu from the endpoint: %s\n", frames_seen[0][i], frames_seen[1][i],
               known_frames[i].name);
    return complete;
}

static void read_allowed(const char *path) {
    char line[4096], *tab;
    FILE *f = fopen(path, "r");
    if (!f) exit((perror(path), 2));
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        tab = strchr(line, '\t');
        if (strchr("#@", *line)) continue;
        if (!tab || tab == line) exit((fprintf(stderr, "%s: no tab in «%s»\n", path, line), 2));
        *tab = 0;
        add(&allowed, line, strlen(line) + 1);
        add(&allowed, tab + 1, strlen(tab + 1) + 1);
    }
    fclose(f);
    readable = readable || allowed.len;
}

typedef struct arguments { uint64_t from, cases, block; bool verbose, coverage, faults; } arguments;

static arguments read_arguments(int argc, char **argv) {
    arguments a = { 1, 1000, 1000, false, false, false };
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;
        if (!strcmp(name, "--coverage")) a.coverage = true;
        else if (!strcmp(name, "--faults")) a.faults = true;
        else if (i + 1 == argc) exit((fprintf(stderr, "differential: %s what?\n", name), 2));
        else if (!strcmp(name, "--from")) a.from = value, i++;
        else if (!strcmp(name, "--cases")) a.cases = value, i++;
        else if (!strcmp(name, "--block")) a.block = value ? value : 1, i++;
        else if (!strcmp(name, "--allow")) read_allowed(argv[++i]);
        else if (!strcmp(name, "-v")) a.from = value, a.cases = 1, a.verbose = true, i++;
        else exit((fprintf(stderr, "differential: what is %s?\n", name), 2));
    }
    return a;
}

int main(int argc, char **argv) {
    arguments a = read_arguments(argc, argv);
    uint64_t hash = 0, in_block = 0;
    fill_block();
    readable = readable || a.verbose;
    watch();
    for (uint64_t seed = a.from; seed < a.from + a.cases; seed++) {
        if (in_block % 1000 == 0) alarm(120);
        run_case(seed, a.faults);
        if (a.verbose) fwrite(told.at, 1, told.len, stdout);
        hash = hash * 0x9FB21C651E98DF25u + hash_of(bytes_in(&told));
        if (++in_block < a.block && seed + 1 < a.from + a.cases) continue;
        if (!a.verbose && !a.coverage)
            printf("%llu %llu %016llx\n", (unsigned long long)(seed + 1 - in_block),
                   (unsigned long long)in_block, (unsigned long long)hash);
        hash = in_block = 0;
    }
    return a.coverage && !say_coverage();
}

#endif
