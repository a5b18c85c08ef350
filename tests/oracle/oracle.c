/* The state machine of restate.h beside the reference, Rust's restate-sdk-shared-core: a random
 * handler against a random journal, the same steps for both, the same answers from both.
 *
 *     build/oracle/driver script FROM CASES STEPS | REFERENCE | build/oracle/driver compare FROM CASES STEPS
 *
 * REFERENCE is main.rs compiled; tests/oracle.sh does all of it. Cases have the seeds from FROM on,
 * and end after STEPS steps. A case is made of its seed and of nothing else:
 *
 *   - a program, a list of operations that is executed from its first line in each attempt;
 *   - a stand-in of the server, which records commands, answers them in any order, late or never,
 *     lets attempts crash and begins the next one with what it has recorded, or with less;
 *   - a script, the steps of all attempts as text. Our machine executes a step when it is written,
 *     the reference afterwards. A step has an answer, a phase, the number of the last command and
 *     frames; all of them are compared.
 *
 * What is different on purpose, or by chance in the reference, has a function each in "What is not
 * compared as it is". Everything else is a mismatch: it is printed, and the exit status is 1. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_THREADS
#define RESTATE_NO_SERVER
#define RESTATE_NO_CLIENT
#include "restate.h"
#include "../support/journal.c"

#include <inttypes.h>

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

enum {
    OPERATIONS_MAX = 16,                    /* of a program */
    ATTEMPTS_MAX = 6,
    LEAVES_MAX = 96,
    EVENTS_MAX = 40,                        /* while an await waits; then the input ends */
    STEPS_MAX = 4096                        /* of a case */
};

/* ---- Random numbers -------------------------------------------------------------------------- */

typedef uint64_t dice;                      /* the state of a sequence */

static unsigned below(dice *d, size_t sides) { return rt_dice_of(d, (unsigned)sides); }
static bool percent(dice *d, unsigned p) { return below(d, 100) < p; }

/* An independent sequence for each part of a case. */
static dice dice_for(uint64_t seed, uint64_t part) {
    dice d = seed * 0xD1342543DE82EF95u + part * 0x9E3779B97F4A7C15u;
    for (unsigned i = 0; i < 4; i++) below(&d, 2);
    return d;
}

#define ONE_OF(d, list) ((list)[below((d), COUNT(list))])

/* ---- The case -------------------------------------------------------------------------------- */

typedef struct operation { unsigned kind; dice salt; } operation;

typedef struct leaf { node *node; bool taken, executing; } leaf;

typedef struct record {                     /* an entry of the journal */
    unsigned type;
    size_t at, len;                         /* in `stored` */
} record;

typedef struct proposal { uint32_t id; size_t at, len; bool known; } proposal;

typedef struct step {
    size_t line, answer, frames;            /* in `text` */
    char phase;
    int64_t index;
    uint32_t cleared;                       /* words that the attempt has cleared: bits */
    bool damaged;                           /* the journal of the attempt */
} step;

static struct {
    uint64_t seed;
    unsigned version;
    const char *letters;                    /* the options of its machines */
    operation program[OPERATIONS_MAX];
    size_t operations;
    dice world;                             /* what the server and the network do */

    rt_bytes stored;                        /* payloads of the journal and of proposals */
    record journal[256];
    size_t records;

    leaf leaves[LEAVES_MAX];                /* of the attempt */
    size_t leaf_count;
    node *roots[OPERATIONS_MAX * 2];        /* that were awaited */
    size_t root_count;
    proposal proposals[LEAVES_MAX];         /* not stored yet */
    size_t proposal_count;
    unsigned awakeables;
    bool closed;                            /* the input has ended */
    bool damaged;                           /* its journal has wrong bits */
    uint32_t cleared;

    rt_bytes text;                          /* lines, answers and frames of the script */
    step steps[STEPS_MAX];
    size_t step_count;
    bool ends;                              /* no room for more */
} now;

/* ---- The script ------------------------------------------------------------------------------ */

static const char *kept(size_t at) { return (const char *)now.text.at + at; }

/* As main.rs reads it. */
static void put_text(rt_bytes *to, restate_bytes b) {
    rt_print(to, "=");
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] > ' ' && b.ptr[i] < 127 && b.ptr[i] != '%') rt_add(to, b.ptr + i, 1);
        else rt_print(to, "%%%02x", b.ptr[i]);
    }
}

static void put_string(rt_bytes *to, const char *s) {
    if (s) put_text(to, rt_b(s));
    else rt_print(to, "-");
}

static void put_pairs(rt_bytes *to, const restate_pair *p) {
    for (; p && p->name; p++) {
        rt_print(to, " ");
        put_string(to, p->name);
        rt_print(to, " ");
        put_string(to, p->value);
    }
}

/* A line of the script. In the format t is a text, which may be NULL, u an unsigned number, U a
 * uint64_t, w a word as it is, ~ a list of pairs. */
static void line(const char *format, ...) {
    step *s = &now.steps[now.step_count];
    va_list args;
    s->line = now.text.len;
    va_start(args, format);
    for (; *format; format++) {
        const char *space = now.text.len > s->line && *format != '~' ? " " : "";
        rt_print(&now.text, "%s", space);
        switch (*format) {
        case 't': put_string(&now.text, va_arg(args, const char *)); break;
        case 'u': rt_print(&now.text, "%u", va_arg(args, unsigned)); break;
        case 'U': rt_print(&now.text, "%" PRIu64, va_arg(args, uint64_t)); break;
        case 'w': rt_print(&now.text, "%s", va_arg(args, const char *)); break;
        case '~': put_pairs(&now.text, va_arg(args, const restate_pair *)); break;
        default: abort();
        }
    }
    va_end(args);
    rt_add(&now.text, "", 1);
}

static char phase_now(void) { return "wwrpcc"[vm()->phase]; }

static void on_frame(unsigned type, const uint8_t *at, size_t len);

/* What our machine answered to the line, and what it sent. */
static void answered(const char *text) {
    step *s = &now.steps[now.step_count];
    size_t before = rt.seen, n;
    rt_bytes frames = rt_lines();
    s->answer = now.text.len;
    rt_add(&now.text, text, strlen(text) + 1);
    s->frames = now.text.len;
    rt_add(&now.text, frames.at, frames.len + 1);
    rt_drop(&frames);
    s->phase = phase_now();
    s->index = (int32_t)vm()->command_index;
    s->cleared = now.cleared;
    s->damaged = now.damaged;
    for (; before < rt.raw.len; before += n) {
        const uint8_t *at = rt.raw.at + before;
        n = 8 + ((size_t)at[4] << 24 | (size_t)at[5] << 16 | (size_t)at[6] << 8 | at[7]);
        on_frame((unsigned)(at[0] << 8 | at[1]), at + 8, n - 8);
    }
    if (++now.step_count > STEPS_MAX - 64) now.ends = true;
}

static bool said(bool ok, const char *text) {
    char error[32];
    snprintf(error, sizeof error, "error %u", vm()->error.code);
    answered(ok ? text : error);
    return ok;
}

static bool effect(bool ok) { return said(ok, "ok"); }

static void add_leaf(node *n) {
    now.leaves[now.leaf_count++] = (leaf){ .node = n };
    if (now.leaf_count > LEAVES_MAX - 4) now.ends = true;
}

static bool gave(node *n) {
    if (rt_ok) add_leaf(n);
    return effect(rt_ok);
}

/* ---- The server: a journal, and what is missing in it ---------------------------------------- */

static void store(unsigned type, const uint8_t *at, size_t len) {
    if (now.records == COUNT(now.journal)) { now.ends = true; return; }
    now.journal[now.records++] = (record){ type, now.stored.len, len };
    rt_add(&now.stored, at, len);
}

/* A number in a message; 0: it has none. */
static uint32_t number_in(const uint8_t *at, size_t len, unsigned tag) {
    const uint8_t *p = at;
    rt_field f;
    while (rt_next_field(&p, at + len, &f) == 1)
        if (f.number == tag && f.wire == 0) return (uint32_t)f.n;
    return 0;
}

static void on_frame(unsigned type, const uint8_t *at, size_t len) {
    if (type >= M_INPUT && type < 0x8000) store(type, at, len);
    if (type != M_PROPOSE || now.proposal_count == LEAVES_MAX) return;
    now.proposals[now.proposal_count++] =
        (proposal){ .id = number_in(at, len, 1), .at = now.stored.len, .len = len };
    rt_add(&now.stored, at, len);
}

static uint32_t number_of(const record *r, unsigned tag) {
    return number_in(now.stored.at + r->at, r->len, tag);
}

static bool is_completed(uint32_t id) {
    for (size_t i = 0; i < now.records; i++)
        if (now.journal[i].type >= 0x8000 && now.journal[i].type != N_SIGNAL &&
            number_of(&now.journal[i], 1) == id)
            return true;
    return false;
}

typedef struct missing { unsigned type; uint32_t id; } missing;

static void miss(missing *list, size_t *count, unsigned type, uint32_t id) {
    if (id && !is_completed(id)) list[(*count)++] = (missing){ type, id };
}

/* The completions that commands of the journal wait for; runs not, which have proposals. */
static size_t find_missing(missing *list) {
    size_t count = 0;
    for (size_t i = 0; i < now.records; i++) {
        const record *r = &now.journal[i];
        switch (r->type) {
        case M_CALL:
            miss(list, &count, N_CALL_ID, number_of(r, 10));
            miss(list, &count, N_CALL, number_of(r, 11));
            break;
        case M_SEND: miss(list, &count, N_CALL_ID, number_of(r, 10)); break;
        case M_GET_LAZY: case M_GET_LAZY_KEYS: case M_GET_PROMISE: case M_PEEK_PROMISE:
        case M_COMPLETE_PROMISE: case M_SLEEP: case M_ATTACH: case M_GET_OUTPUT:
            miss(list, &count, 0x8000 | (r->type & 0xFF), number_of(r, 11));
            break;
        default: break;
        }
    }
    return count;
}

static const char *const values[] = { "", "v", "\"json\"", "\xff\xfe\x01", "w%20 w", "a value that is longer than others" };
static const char *const words[] = { "", "a", "b", "key", "n\xc3\xa4me", "a b" };
static const char *const names[] = { "a", "b", "key", "n\xc3\xa4me" };
static const unsigned codes[] = { 1, 400, 409, 500, 570, 599, 65535 };
static const char *const invocations[] = { "inv_a", "inv_b", "" };

/* A notification with a result: one of `kinds`, which has the letters void, value, failure, id, keys. */
static void put_result(unsigned type, unsigned tag, uint32_t id, const char *kinds) {
    dice *d = &now.world;
    rt_bytes format = { NULL, 0, 0 };
    char head[24];
    snprintf(head, sizeof head, "%uu ", tag);
    rt_print(&format, "%s", head);
    switch (kinds[below(d, strlen(kinds))]) {
    case 'o': rt_print(&format, "4()"), frame(type, (const char *)format.at, id); break;
    case 'v': rt_print(&format, "5(1n)"), frame(type, (const char *)format.at, id, ONE_OF(d, values)); break;
    case 'i': rt_print(&format, "16s"), frame(type, (const char *)format.at, id, invocations[below(d, 2)]); break;
    case 'k': rt_print(&format, "17(1s1s)"), frame(type, (const char *)format.at, id, "a", ONE_OF(d, names)); break;
    default:
        if (now.version >= 6 && percent(d, 30)) {
            rt_print(&format, "6(1u2n3(1s2s)3(1s2s))");
            frame(type, (const char *)format.at, id, ONE_OF(d, codes), ONE_OF(d, words), "k", "x", "l", "y");
        } else {
            rt_print(&format, "6(1u2n)");
            frame(type, (const char *)format.at, id, ONE_OF(d, codes), ONE_OF(d, words));
        }
    }
    rt_drop(&format);
}

static const char *kinds_of(unsigned type) {
    switch (type) {
    case N_SLEEP: return "o";
    case N_GET_LAZY: return "ov";
    case N_GET_LAZY_KEYS: return "k";
    case N_CALL_ID: return "i";
    case N_COMPLETE_PROMISE: return "of";
    case N_PEEK_PROMISE: case N_GET_OUTPUT: return "ovf";
    default: return "vvf";
    }
}

/* The frame that was just written goes into the journal, too. */
static void store_last(size_t before) {
    const uint8_t *at = rt_script.at + before;
    store((unsigned)(at[0] << 8 | at[1]), at + 8, rt_script.len - before - 8);
}

/* What was written goes to both machines. */
static void hand_in(void) {
    rt_bytes hex = { NULL, 0, 0 };
    if (!rt_script.len) return;
    for (size_t i = 0; i < rt_script.len; i++) rt_print(&hex, "%02x", rt_script.at[i]);
    line("ww", "in", (const char *)hex.at);
    rt_drop(&hex);
    feed();
    answered("ok");
}

/* From here on nothing is sent, but journals go on. */
static void finish_frame(size_t before, bool send) {
    store_last(before);
    if (!send) rt_script.len = before;
}

static bool complete_one(bool send) {
    missing list[512];
    size_t count = find_missing(list), before = rt_script.len;
    if (!count) return false;
    missing m = list[below(&now.world, count)];
    put_result(m.type, 1, m.id, kinds_of(m.type));
    finish_frame(before, send);
    return true;
}

/* A proposal is stored: an acknowledgement from protocol 7 on, else the completion. */
static bool store_proposal(bool send) {
    if (!now.proposal_count) return false;
    size_t i = below(&now.world, now.proposal_count), before = rt_script.len;
    proposal p = now.proposals[i];
    now.proposals[i] = now.proposals[--now.proposal_count];
    const uint8_t *at = now.stored.at + p.at, *end = at + p.len;
    rt_field f;
    while (rt_next_field(&at, end, &f) == 1) {
        if (f.number == 14) frame(N_RUN, "1u 5(1b)", p.id, f.at, f.len);
        if (f.number == 15) frame(N_RUN, "1u 6b", p.id, f.at, f.len);
    }
    store_last(before);
    bool whole = now.version < 7 || percent(&now.world, 5);     /* both may come, seldom */
    if (!whole || !send) rt_script.len = before;
    if (send && (!whole || (now.version >= 7 && percent(&now.world, 30)))) note_ack(p.id);
    return true;
}

static void signal_one(bool send) {
    dice *d = &now.world;
    size_t before = rt_script.len;
    if (percent(d, 25)) note_cancel();
    else if (percent(d, 50)) put_result(N_SIGNAL, 2, 17 + below(d, now.awakeables + 1), "vvfo");
    else if (percent(d, 70)) note_named(ONE_OF(d, names), ONE_OF(d, values));
    else frame(N_SIGNAL, "3s 6(1u2n)", ONE_OF(d, names), ONE_OF(d, codes), ONE_OF(d, words));
    finish_frame(before, send);
}

/* Whether a completion would be the first one: of an id that is asked for, or is far away. */
static bool is_open(uint32_t id) {
    missing list[512];
    for (size_t i = find_missing(list); i-- > 0;)
        if (list[i].id == id) return true;
    return !id || (id == 99 && !is_completed(id));
}

/* What no server sends, or not then. Not among it: a second Start, with which the reference begins
 * anew, and the messages of protocol 8, which it knows. An acknowledgement that comes too early and
 * is damaged besides has one error in ours and the other one in the reference. */
static void send_odd(void) {
    static const unsigned types[] = { M_SUSPENSION, M_ERROR, M_END, M_COMMAND_ACK, M_PROPOSE, M_AWAITING_ON, M_ACK,
                                      M_INPUT, M_SLEEP, N_GET_LAZY, N_GET_LAZY_KEYS, N_SLEEP, N_CALL, N_CALL_ID, N_RUN,
                                      N_SIGNAL, N_SIGNAL, 0x0008, 0x01FF, 0x041F, 0x0500, 0x801F, 0xFBFE, 0xFFFF };
    static const char *const payloads[] = { "", "ff", "0801", "0822 2200", "0863 2200", "1063 2200", "0801 3200", "0801 2a00 3200",
                                            "0801 2a02 0a00", "0801 2a02 0a05", "0801 8201 0169", "1a01 61", "1a01 ff 2200",
                                            "0801 8a01 03 0a01 6b", "0801 1002 2200", "1001 2200", "0a02 0801" };
    dice *d = &now.world;
    rt_bytes payload = { NULL, 0, 0 };
    unsigned type = ONE_OF(d, types);
    rt_hex(&payload, ONE_OF(d, payloads));
    if (is_open(number_in(payload.at, payload.len, 1)) && !(type == M_ACK && phase_now() == 'r')) {
        hand_in();
        rt_frame(&rt_script, type, percent(d, 20) ? 0x8001 : 0, payload.at, payload.len);
        hand_in();
        if (phase_now() != 'c' && type >= 0x8000) store(type, payload.at, payload.len);
    }
    rt_drop(&payload);
}

/* A second result for a completion, for ours alone: all has to go on as if it had not come. The
 * reference takes it, if it did not give the first one yet. */
static void send_second_result(void) {
    const record *r = &now.journal[below(&now.world, now.records)];
    if (r->type < 0x8000 || r->type == N_SIGNAL) return;
    put_result(r->type, 1, number_of(r, 1), kinds_of(r->type));
    feed();
}

static void end_input(void) {
    line("w", "eof");
    eof();
    now.closed = true;
    answered("ok");
}

/* Something comes from the server. */
static void server_acts(void) {
    dice *d = &now.world;
    if (now.closed) return;
    for (unsigned n = 1 + below(d, 3); n; n--) {
        unsigned what = below(d, 10);
        if (what < 6) { if (!complete_one(true)) store_proposal(true); }
        else if (what < 8) store_proposal(true);
        else signal_one(true);
        if (percent(d, 50)) hand_in();
    }
    if (percent(d, 1)) send_odd();
    hand_in();
    if (percent(d, 10)) send_second_result();
}

/* Between two attempts: results come, or the end of the journal was never stored. */
static void between_attempts(void) {
    dice *d = &now.world;
    if (percent(d, 20) && now.records > 1) now.records -= below(d, now.records < 4 ? now.records : 4);
    for (unsigned n = below(d, 4); n; n--) {
        if (percent(d, 70)) complete_one(false);
        else if (percent(d, 60)) store_proposal(false);
        else signal_one(false);
    }
    now.proposal_count = 0;
}

/* ---- Trees of what is awaited ---------------------------------------------------------------- */

static size_t leaf_of(const node *n) {
    size_t i = 0;
    while (now.leaves[i].node != n) i++;
    return i;
}

static bool by_name(const node *n) {        /* which may have several results */
    return n->kind == RESTATE__LEAF_NAME || (n->kind == RESTATE__LEAF_SIGNAL && n->id == RESTATE__SIGNAL_CANCEL);
}

/* The tree as an SDK passes it: without what is settled, which it has taken, unless `whole`. */
static void put_tree(rt_bytes *to, const node *n, bool whole) {
    if (restate__node_is_leaf(n)) {
        rt_print(to, "%zu", leaf_of(n));
        return;
    }
    rt_print(to, "%u( ", n->kind);
    for (uint32_t i = 0; i < n->of.all.count; i++) {
        const node *c = n->of.all.children[i];
        if (!whole && c->state != RESTATE__PENDING) continue;
        put_tree(to, c, whole);
        rt_print(to, " ");
    }
    rt_print(to, ")");
}

/* Leaves below a node, each once, the first settled first. */
static size_t leaves_below(const node *n, size_t *list, size_t count) {
    if (restate__node_is_leaf(n)) {
        size_t i = leaf_of(n), at = 0;
        while (at < count && list[at] != i) at++;
        if (at < count) return count;
        for (at = count; at && now.leaves[list[at - 1]].node->order > n->order; at--) list[at] = list[at - 1];
        list[at] = i;
        return count + 1;
    }
    for (uint32_t i = 0; i < n->of.all.count; i++) count = leaves_below(n->of.all.children[i], list, count);
    return count;
}

static void take(size_t i) {
    line("wu", "take", (unsigned)i);
    if (completed(now.leaves[i].node)) now.leaves[i].taken = true;
    if (vm()->phase == RESTATE__ERRORED) said(false, "");
    else if (vm()->phase == RESTATE__CLOSED) answered("error 598");
    else answered(value_of(now.leaves[i].node));
}

/* What arrived for a tree is taken, as SDKs do. */
static void take_below(const node *root) {
    size_t list[LEAVES_MAX], count = leaves_below(root, list, 0);
    for (size_t i = 0; i < count; i++)
        if (completed(now.leaves[list[i]].node) && !now.leaves[list[i]].taken) take(list[i]);
}

static bool any_taken_below(const node *root) {
    size_t list[LEAVES_MAX], count = leaves_below(root, list, 0);
    for (size_t i = 0; i < count; i++)
        if (now.leaves[list[i]].taken) return true;
    return false;
}

/* ---- Await ----------------------------------------------------------------------------------- */

static bool propose_one(void);

/* One AWAIT, and what runs it hands out; in the order of their leaves. */
static const char *await_once(node *root) {
    static rt_bytes text;
    bool run[LEAVES_MAX] = { false };
    const char *answer;
    while (answer = await(root), strncmp(answer, "RUN", 3) == 0) {
        size_t i = leaf_of(rt_to_run);
        run[i] = now.leaves[i].executing = true;
    }
    text.len = 0;
    for (size_t i = 0; i < now.leaf_count; i++)
        if (run[i]) rt_print(&text, "RUN %zu ", i);
    if (strncmp(answer, "WAIT", 4) == 0) rt_print(&text, "WAIT");
    else if (vm()->phase == RESTATE__ERRORED) rt_print(&text, "error %s", answer);
    else rt_print(&text, "%s", answer);
    return (const char *)text.at;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* While an await waits. */
static void something_happens(unsigned events) {
    dice *d = &now.world;
    if (now.closed || percent(d, 30)) {
        if (propose_one()) return;
    }
    if (now.closed) return;
    if (events > EVENTS_MAX || percent(d, 8)) end_input();
    else server_acts();
}

/* Awaits until the tree is settled. False: the attempt is over. */
static bool await_root(node *root) {
    dice *d = &now.world;
    for (unsigned events = 0; !now.ends; events++) {
        bool whole = root->state != RESTATE__PENDING && !any_taken_below(root) && percent(d, 50);
        rt_bytes tree = { NULL, 0, 0 };
        if (!whole) take_below(root);
        if (!whole && root->state != RESTATE__PENDING) return true;
        put_tree(&tree, root, whole);
        line("ww", "await", (const char *)tree.at);
        rt_drop(&tree);
        const char *answer = await_once(root);
        answered(answer);
        if (ends_with(answer, "CXL")) return true;
        if (ends_with(answer, "WAIT")) something_happens(events);
        else if (!ends_with(answer, "ANY")) return false;
    }
    return false;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static const char *rare(dice *d, const char *const *list, size_t count, unsigned p) {
    return percent(d, p) ? list[below(d, count)] : NULL;
}
#define RARE(d, list, p) rare((d), (list), COUNT(list), (p))

static const restate_pair *some_pairs(dice *d) {
    static const restate_pair lists[][3] = {
        { { "k", "v" }, { NULL, NULL } }, { { "a", "" }, { "b", "\xc3\xbc" }, { NULL, NULL } }
    };
    return percent(d, 25) ? lists[below(d, COUNT(lists))] : NULL;
}

static bool some_unstable(dice *d) { return percent(d, 20); }

/* A result for an operation: a failure or a value. */
static const restate_failure *some_failure(dice *d, unsigned p) {
    static restate_failure f;
    if (!percent(d, p)) return NULL;
    f = rt_failure(ONE_OF(d, codes), ONE_OF(d, words));
    if (now.version >= 6 || percent(d, 3)) f.metadata = some_pairs(d);
    return &f;
}

/* The end of the line that has just been written: a result. */
static void and_result(const char *value, const restate_failure *f) {
    now.text.len--;
    rt_print(&now.text, f ? " fail %u " : " ok ", f ? f->code : 0);
    put_string(&now.text, f ? f->message : value);
    if (f) put_pairs(&now.text, f->metadata);
    rt_add(&now.text, "", 1);
}

/* The name of the next state operation. */
static const char *some_naming(dice *d) {
    const char *name = RARE(d, words, 15);
    if (name && *name) vm()->naming = restate__arena_copy(&rt.arena, rt_b(name));
    return name;
}

static uint32_t bit_of(const char *word) {
    uint32_t bit = 1;
    for (size_t i = 0; strcmp(words[i], word) != 0; i++) bit <<= 1;
    return bit;
}

static bool do_get(dice *d) {
    const char *key = ONE_OF(d, words);
    line("wtt", "get", key, some_naming(d));
    return gave(op_get(key));
}

static bool do_get_keys(dice *d) {
    line("wt", "get_keys", some_naming(d));
    return gave(op_get_keys());
}

static bool do_set(dice *d) {
    const char *key = ONE_OF(d, words), *value = ONE_OF(d, values);
    unsigned unstable = some_unstable(d);
    line("wtttu", "set", key, value, some_naming(d), unstable);
    return effect(restate__vm_set(rt_op(), rt_b(key), rt_b(value), unstable));
}

static bool do_clear(dice *d) {
    const char *key = ONE_OF(d, words);
    now.cleared |= bit_of(key);
    line("wtt", "clear", key, some_naming(d));
    return effect(op_clear(key));
}

static bool do_clear_all(dice *d) {
    line("wt", "clear_all", some_naming(d));
    return effect(op_clear_all());
}

static bool do_sleep(dice *d) {
    const char *name = ONE_OF(d, words);
    unsigned at = below(d, 3) * 1000;
    line("wtu", "sleep", name, at);
    return gave(op_sleep(name, at));
}

static bool do_awakeable(dice *d) {
    (void)d;
    line("w", "awakeable");
    node *n = op_awakeable();
    if (rt_ok) add_leaf(n), now.awakeables++;
    return said(rt_ok, rt.awakeable);
}

static bool do_signal(dice *d) {
    const char *name = ONE_OF(d, names);
    line("wt", "signal", name);
    return gave(op_signal(name));
}

static bool do_promise(dice *d) {
    const char *key = ONE_OF(d, words);
    bool peek = percent(d, 40);
    line("wt", peek ? "peek" : "promise", key);
    return gave(peek ? op_peek_promise(key) : op_get_promise(key));
}

static bool do_complete_promise(dice *d) {
    const char *key = ONE_OF(d, words), *value = ONE_OF(d, values);
    const restate_failure *f = some_failure(d, 40);
    unsigned unstable = some_unstable(d);
    line("wtu", "complete", key, unstable);
    and_result(value, f);
    node *n = rt_node();
    rt_ok = restate__vm_complete_promise(rt_op(), rt_b(key), f ? restate__b_none() : rt_b(value), f, unstable, n);
    return gave(n);
}

static bool do_complete_awakeable(dice *d) {
    const char *id = ONE_OF(d, words), *value = ONE_OF(d, values);
    const restate_failure *f = some_failure(d, 40);
    unsigned unstable = some_unstable(d);
    line("wtu", "complete_awakeable", id, unstable);
    and_result(value, f);
    return effect(restate__vm_complete_awakeable(rt_op(), id, f ? restate__b_none() : rt_b(value), f, unstable));
}

static bool do_send_signal(dice *d) {
    const char *id = ONE_OF(d, invocations), *name = ONE_OF(d, words), *value = ONE_OF(d, values);
    const restate_failure *f = some_failure(d, 40);
    line("wtt", "send_signal", id, name);
    and_result(value, f);
    return effect(restate__vm_send_signal(rt_op(), id, rt_b(name), f ? restate__b_none() : rt_b(value), f, false));
}

static bool do_cancel(dice *d) {
    const char *id = ONE_OF(d, invocations);
    line("wt", "cancel", id);
    return effect(op_cancel(id));
}

/* Texts that only protocol 7 has; seldom before. */
static const char *some_seven(dice *d, unsigned p) {
    return now.version >= 7 || percent(d, 4) ? percent(d, 2) ? "" : RARE(d, names, p) : NULL;
}

static restate__vm_call some_call(dice *d) {
    restate__vm_call c = { .service = ONE_OF(d, words), .handler = ONE_OF(d, words) };
    const char *key = RARE(d, words, 40);
    c.key = key ? rt_b(key) : restate__b_none();
    c.idempotency_key = percent(d, 2) ? "" : RARE(d, names, 30);
    c.scope = some_seven(d, 20);
    c.limit_key = some_seven(d, 20);
    c.headers = some_pairs(d);
    c.parameter = rt_b(ONE_OF(d, values));
    c.name = ONE_OF(d, words);
    c.unstable = some_unstable(d);
    return c;
}

static void call_line(const char *verb, const restate__vm_call *c) {
    line("wttttttttuU~", verb, c->service, c->handler, (const char *)c->key.ptr, c->idempotency_key, c->scope, c->limit_key,
         (const char *)c->parameter.ptr, c->name, (unsigned)c->unstable, c->invoke_time_ms, c->headers);
}

static bool do_call(dice *d) {
    restate__vm_call c = some_call(d);
    call_line("call", &c);
    rt_calls nodes = rt_call(c);
    if (rt_ok) add_leaf(nodes.id);
    return gave(nodes.result);
}

static bool do_send(dice *d) {
    restate__vm_call c = some_call(d);
    c.invoke_time_ms = below(d, 3) * 1000u;
    call_line("send", &c);
    return gave(rt_send(c));
}

static bool do_attach(dice *d) {
    restate__vm_target to = { .kind = (restate__target_kind)below(d, 3), .id = ONE_OF(d, invocations),
                              .service = ONE_OF(d, words), .handler = ONE_OF(d, words), .idempotency_key = ONE_OF(d, words),
                              .key = ONE_OF(d, words), .scope = some_seven(d, 30) };
    bool output = percent(d, 50);
    const char *verb = output ? "output_of" : "attach";
    if (to.kind == RESTATE__BY_IDEMPOTENCY_KEY && percent(d, 50)) to.key = NULL;
    if (to.kind == RESTATE__BY_ID) to.scope = NULL, line("wwt", verb, "id", to.id);
    else if (to.kind == RESTATE__BY_WORKFLOW) line("wwttt", verb, "workflow", to.service, to.key, to.scope);
    else line("wwttttt", verb, "request", to.service, to.key, to.handler, to.idempotency_key, to.scope);
    return gave(output ? op_get_output(to) : op_attach(to));
}

static bool do_run(dice *d) {
    const char *name = ONE_OF(d, words);
    line("wt", "run", name);
    node *n = op_run(name);
    if (rt_ok) add_leaf(n);
    return said(rt_ok, n->run == RESTATE__RUN_TO_EXECUTE ? "new" : "recorded");
}

/* `number` of a leaf that is by name and pending below a node, not counting `but`. */
static bool same_name(const node *a, const node *b) {
    return a != b && by_name(a) && by_name(b) && a->of.named.name == b->of.named.name;
}

/* A leaf for a tree that has some; none of a name twice, see "once_each". */
static node *some_leaf(dice *d, node *const *others, size_t count) {
    node *n = now.leaves[below(d, now.leaf_count)].node;
    for (size_t i = 0; i < count; i++)
        if (same_name(n, others[i])) return others[i];
    return n;
}

typedef struct growing { node *leaves[64]; size_t count; } growing;

static node *some_tree(dice *d, unsigned depth, growing *g) {
    static const restate__node_kind kinds[] = { RESTATE__RACE, RESTATE__ALL_SETTLED, RESTATE__ANY, RESTATE__ALL };
    node *children[4];
    size_t count = 1 + below(d, COUNT(children));
    if (!depth || percent(d, 60)) {
        node *n = some_leaf(d, g->leaves, g->count);
        g->leaves[g->count++] = n;
        return n;
    }
    for (size_t i = 0; i < count; i++) children[i] = some_tree(d, depth - 1, g);
    return rt_combine(ONE_OF(d, kinds), children, count);
}

static bool do_await(dice *d) {
    growing g = { .count = 0 };
    if (!now.leaf_count || now.root_count == COUNT(now.roots)) return true;
    if (now.root_count && percent(d, 15)) return await_root(now.roots[below(d, now.root_count)]);
    node *root = percent(d, 40) ? some_leaf(d, NULL, 0) : some_tree(d, 3, &g);
    now.roots[now.root_count++] = root;
    return await_root(root);
}

static bool do_cancellation(dice *d) {
    if (!rt.options.explicit_cancellation) return do_await(d);
    line("w", "cancellation");
    return gave(op_cancellation());
}

static bool do_fail(dice *d) {
    restate__vm_error e = { .code = ONE_OF(d, codes), .message = "wrong", .has_delay = percent(d, 30), .delay_ms = below(d, 5000) };
    bool related = percent(d, 50);
    if (!percent(d, 15)) return do_await(d);
    if (related) e.related = restate__vm_related_last(vm());
    line("wut", "fail", e.code, "wrong");
    now.text.len--;
    if (e.has_delay) rt_print(&now.text, " %" PRIu64, e.delay_ms);
    else rt_print(&now.text, " -");
    rt_print(&now.text, " %d", related);
    rt_add(&now.text, "", 1);
    restate__vm_fail(rt_op(), &e);
    answered("ok");
    return false;
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static void some_policy(dice *d) {
    static const double factors[] = { 0.5, 1, 1.5, 2, 4 };
    restate__policy p = exponential(below(d, 4) * 500u, ONE_OF(d, factors));
    p.own = percent(d, 75);
    if (!p.own) {
        rt.policy = (restate__policy){ .own = false };
        rt_print(&now.text, " server");
        return;
    }
    rt_print(&now.text, " %" PRIu64 " %g", p.interval_ms, p.factor);
    if (percent(d, 50)) rt_print(&now.text, " %" PRIu64, p.max_interval_ms = below(d, 6) * 700u);
    else rt_print(&now.text, " -");
    if ((p.has_max_attempts = percent(d, 40))) rt_print(&now.text, " %u", p.max_attempts = below(d, 5));
    else rt_print(&now.text, " -");
    if ((p.has_max_duration = percent(d, 40))) rt_print(&now.text, " %" PRIu64, p.max_duration_ms = below(d, 5) * 1000u);
    else rt_print(&now.text, " -");
    p.pause = now.version >= 7 ? percent(d, 30) : percent(d, 2);
    rt_print(&now.text, " %d", p.pause);
    rt.policy = p;
}

static restate__outcome some_outcome(dice *d) {
    restate__outcome o = { .kind = RESTATE__DONE };
    const restate_failure *f = some_failure(d, 25);
    const char *value = ONE_OF(d, values);
    if (percent(d, 20)) {
        o.kind = RESTATE__RETRYABLE;
        o.error = (restate__vm_error){ .code = ONE_OF(d, codes), .message = "again", .has_delay = percent(d, 30), .delay_ms = below(d, 9000) };
        o.duration_ms = below(d, 4) * 1000u;
        rt_print(&now.text, " again %" PRIu64 " %u", o.duration_ms, o.error.code);
        if (o.error.has_delay) rt_print(&now.text, " %" PRIu64, o.error.delay_ms);
        else rt_print(&now.text, " -");
        rt_add(&now.text, "", 1);
        return o;
    }
    rt_add(&now.text, "", 1);
    and_result(value, f);
    if (!f) o.value = rt_b(value);
    else o.kind = RESTATE__TERMINAL, o.failure = *f;
    return o;
}

/* A closure that executes has finished. */
static bool propose_one(void) {
    dice *d = &now.world;
    size_t list[LEAVES_MAX], count = 0;
    for (size_t i = 0; i < now.leaf_count; i++)
        if (now.leaves[i].executing) list[count++] = i;
    if (!count) return false;
    size_t i = list[below(d, count)];
    now.leaves[i].executing = false;
    line("wu", "propose", (unsigned)i);
    now.text.len--;
    some_policy(d);
    restate__outcome o = some_outcome(d);
    effect(rt_propose(now.leaves[i].node, &o));
    return true;
}

/* ---- Programs -------------------------------------------------------------------------------- */

static bool (*const operations[])(dice *) = {
    do_await, do_await, do_await, do_await, do_await, do_await, do_await, do_await,
    do_get, do_get, do_get_keys, do_set, do_clear, do_clear_all, do_sleep, do_sleep, do_awakeable, do_awakeable, do_signal, do_signal,
    do_promise, do_complete_promise, do_complete_awakeable, do_send_signal, do_cancel, do_call, do_call, do_send, do_attach, do_run,
    do_run, do_run, do_cancellation, do_fail
};

static void write_program(dice *d) {
    now.operations = 1 + below(d, OPERATIONS_MAX);
    for (size_t i = 0; i < now.operations; i++)
        now.program[i] = (operation){ below(d, COUNT(operations)), dice_for(*d, i) };
}

/* The code was changed while the invocation was under way. */
static void change_program(dice *d) {
    size_t i = below(d, now.operations);
    if (percent(d, 50)) now.program[i].kind = below(d, COUNT(operations));
    now.program[i].salt = dice_for(*d, i);
}

/* What observes, and leaves no trace. */
static void look_around(void) {
    dice *d = &now.world;
    if (percent(d, 10)) {
        line("w", "ready");
        if (vm()->phase == RESTATE__CLOSED) answered("error 598");
        else said(vm()->phase != RESTATE__ERRORED, ready() ? "yes" : "no");
    }
    if (!now.leaf_count || !percent(d, 20)) return;
    size_t i = below(d, now.leaf_count);
    const node *n = now.leaves[i].node;
    if (by_name(n)) return;
    if (now.leaves[i].taken || percent(d, 50)) {
        line("wu", "done", (unsigned)i);
        answered(completed(n) && !now.leaves[i].taken && phase_now() != 'c' ? "yes" : "no");
    } else if (completed(n)) {
        take(i);
    }
}

static bool output_and_end(dice *d) {
    const char *value = ONE_OF(d, values);
    const restate_failure *f = some_failure(d, 30);
    unsigned unstable = some_unstable(d);
    line("wu", "output", unstable);
    and_result(value, f);
    if (!effect(restate__vm_output(rt_op(), f ? restate__b_none() : rt_b(value), f, unstable))) return false;
    line("w", "end");
    return effect(op_end());
}

/* After the end of an attempt, everything is refused. */
static void go_on(void) {
    dice *d = &now.world, salt;
    for (unsigned n = below(d, 4); n; n--) {
        salt = dice_for(*d, n);
        operation op = { 8 + below(d, COUNT(operations) - 10), salt };
        if (!now.ends) operations[op.kind](&op.salt);
    }
    if (percent(d, 30)) {
        line("w", "end");
        effect(op_end());
    }
}

static void execute(void) {
    for (size_t i = 0; i < now.operations && !now.ends; i++) {
        dice salt = now.program[i].salt;
        if (percent(&now.world, 15)) server_acts();
        if (percent(&now.world, 10)) propose_one();
        if (percent(&now.world, 2)) return; /* it crashes */
        if (!now.closed && percent(&now.world, 2)) end_input();
        look_around();
        if (!operations[now.program[i].kind](&salt)) {
            go_on();
            return;
        }
    }
    dice last = dice_for(now.program[0].salt, 99);
    if (now.ends) return;
    output_and_end(&last);
    go_on();
}

/* ---- Attempts -------------------------------------------------------------------------------- */

static void set_options(void) {
    now.letters = now.letters ? now.letters : "";
    rt.options.explicit_cancellation = strchr(now.letters, 'e') != NULL;
    rt.options.cancel_sends = strchr(now.letters, 's') != NULL;
    rt.options.skip_payload_check = strchr(now.letters, 'l') != NULL;
    rt.options.on_mismatch = strchr(now.letters, 'p') ? RESTATE__PAUSE : strchr(now.letters, 'f') ? RESTATE__FAIL : RESTATE__RETRY;
}

static void send_start(void) {
    dice *d = &now.world;
    static const char *const states[] = { "", "a=1", "a=1;b=2", "key=;b=x y;a=3" };
    start((unsigned)now.records, .complete = percent(d, 50), .state = ONE_OF(d, states), .key = RARE(d, words, 40),
          .retries = percent(d, 50) ? below(d, 6) : 0, .duration_ms = below(d, 4) * 1000u, .seed = below(d, 1000),
          .id = percent(d, 50) ? "1234567" : NULL, .scope = RARE(d, names, 20), .limit_key = RARE(d, names, 20),
          .idempotency_key = RARE(d, names, 20));
}

/* Start and the journal, in some pieces. */
static void send_journal(void) {
    dice *d = &now.world;
    size_t records = now.records;
    now.damaged = percent(d, 3);            /* a bit here and there */
    send_start();
    for (size_t i = 0; i < records; i++) {
        const record *r = &now.journal[i];
        size_t before = rt_script.len;
        if (percent(d, 5)) hand_in(), before = 0;
        rt_frame(&rt_script, r->type, 0, now.stored.at + r->at, r->len);
        if (r->len && now.damaged && percent(d, 20)) rt_script.at[before + 8 + below(d, r->len)] ^= (uint8_t)(1 << below(d, 8));
    }
    hand_in();
}

static bool do_input(void) {
    rt_bytes text = { NULL, 0, 0 };
    const restate_bytes more[] = { vm()->key, vm()->scope, vm()->limit_key, vm()->idempotency_key };
    line("w", "input");
    bool ok = op_input();
    if (ok) {
        rt_print(&text, "%s %" PRIu64 " ", (const char *)vm()->debug_id.ptr, restate__vm_seed(vm()));
        rt_quote(&text, rt.input.body.ptr, rt.input.body.len);
        for (size_t i = 0; i < COUNT(more); i++) {
            if (i && (!more[i].ptr || now.version < 7)) continue;
            rt_print(&text, " ");
            rt_quote(&text, more[i].ptr, more[i].len);
        }
        for (restate_pair *p = restate__vm_pairs(&rt.arena, rt.input.headers); p && p->name; p++)
            rt_print(&text, " %s:%s", p->name, p->value);
    }
    said(ok, ok ? (const char *)text.at : "");
    rt_drop(&text);
    return ok;
}

/* Whether it came to its end. */
static bool attempt(void) {
    static const rt_mode modes[] = { RT_WHOLE, RT_WHOLE, RT_PIECES, RT_BYTES };
    now.leaf_count = now.root_count = now.proposal_count = 0;
    now.awakeables = 0;
    now.cleared = 0;
    now.closed = false;
    rt_begin(now.version, ONE_OF(&now.world, modes));
    set_options();
    line("wut", "machine", now.version, now.letters);
    vm();
    answered("ok");
    send_journal();
    if (percent(&now.world, 15)) end_input();
    if (do_input()) execute();
    bool finished = vm()->phase == RESTATE__CLOSED && now.records && now.journal[now.records - 1].type == M_OUTPUT;
    rt.ignore_output = true;
    rt_end();
    return finished;
}

static void record_input(dice *d) {
    if (percent(d, 30)) frame(M_INPUT, "1(1s2s)14(1n)", "h", "x", ONE_OF(d, values));
    else frame(M_INPUT, "14(1n)", ONE_OF(d, values));
    store_last(0);
    rt_script.len = 0;
}

static void write_case(uint64_t seed) {
    static const char *const letters[] = { "", "", "", "s", "e", "l", "p", "f", "sl", "el" };
    dice code = dice_for(seed, 1);
    now.seed = seed;
    now.world = dice_for(seed, 2);
    now.version = 5 + below(&code, 3);
    now.letters = ONE_OF(&code, letters);
    now.stored.len = now.text.len = 0;
    now.records = now.step_count = 0;
    now.ends = false;
    write_program(&code);
    record_input(&code);
    for (unsigned i = 0; i < ATTEMPTS_MAX && !now.ends; i++) {
        if (i && percent(&now.world, 10)) change_program(&now.world);
        if (attempt() && percent(&now.world, 50)) break;
        between_attempts();
    }
}

/* ---- What is not compared as it is ----------------------------------------------------------- */

/* Error texts are for persons, and are not those of the reference. */
static void forget_message(char *frame) {
    char *at = strncmp(frame, "Error ", 6) == 0 ? strstr(frame, " message:") : NULL;
    if (at) *at = 0;
}

/* Takes the text between two places out. */
static void cut(char *from, const char *to) { memmove(from, to, strlen(to) + 1); }

static void cut_related(char *frame) {
    char *at = strstr(frame, " index:"), *to;
    if (!at) return;
    to = strstr(at, " delay:") ? strstr(at, " delay:") : strstr(at, " behavior:");
    cut(at, to ? to : at + strlen(at));
}

/* Ours names a command in every error; the reference in some, and where it does it is the same one. */
static void forget_related(char *ours, const char *theirs) {
    if (strncmp(ours, "Error ", 6) == 0 && strncmp(theirs, "Error ", 6) == 0 && !strstr(theirs, " index:"))
        cut_related(ours);
}

/* The command of an await that cannot be replayed is one of the runs that it waits for: the first one
 * in ours, the last one in the reference. */
static void forget_run_of_await(char *frame, const char *line) {
    if (strncmp(line, "await", 5) == 0 && strchr(line, '(') && strncmp(frame, "Error 570 ", 10) == 0) cut_related(frame);
}

/* An error that a program makes, and that by chance has the code of a mismatch, is none in ours. The
 * reference goes by the code. */
static void forget_behavior_of_own(char *frame, const char *line) {
    bool own = strncmp(line, "fail", 4) == 0 || strncmp(line, "propose", 7) == 0;
    char *at = own && strncmp(frame, "Error 570", 9) == 0 ? strstr(frame, " behavior:") : NULL;
    if (at) *at = 0;
}

/* A read of the state that was replayed has its name in ours, and none in the reference. If another
 * command is recorded in its place, the read that the code asks for is a lazy one in ours and an
 * eager one in the reference: neither knows. */
static void forget_details_of_read(char *frame) {
    char *at = strncmp(frame, "Error ", 6) == 0 ? strstr(frame, " Get") : NULL, *from, *to;
    if (!at || (strncmp(at, " GetLazyState", 13) != 0 && strncmp(at, " GetEagerState", 14) != 0)) return;
    from = strchr(at, '"');
    to = from ? strchr(from + 1, '"') : NULL;
    if (to) cut(from - 1, to + 1);
    if (at[4] == 'E') memcpy(at + 4, "Lazy", 4), cut(at + 8, at + 9);
}

/* What several combinators wait for stands once, at the top, in ours: the server resumes the
 * invocation at the latest when it has to. The reference writes it wherever it is. */
typedef struct leaf_count { const char *text; const rt_tree *in; bool several; } leaf_count;

static leaf_count counted[256];
static size_t counted_count;

static leaf_count *count_of(const char *text) {
    size_t i = 0;
    while (i < counted_count && strcmp(counted[i].text, text) != 0) i++;
    if (i == counted_count && i < COUNT(counted) - 1) counted[counted_count++] = (leaf_count){ .text = text };
    return &counted[i];
}

static const char *leaf_text(const rt_tree *t, int list, size_t i) {
    char text[64];
    if (list == 2) snprintf(text, sizeof text, "n%s", t->names[i]);
    else snprintf(text, sizeof text, "%c%u", "cs"[list], t->ids[list][i]);
    char *copy = (char *)rt_alloc(strlen(text) + 1);
    return strcpy(copy, text);
}

static void count_leaves(const rt_tree *t) {
    for (int list = 0; list < 3; list++)
        for (size_t i = 0; i < t->count[list]; i++) {
            leaf_count *c = count_of(leaf_text(t, list, i));
            if (c->in && c->in != t) c->several = true;
            c->in = t;
        }
    for (size_t i = 0; i < t->nested_count; i++) count_leaves(t->nested[i]);
}

/* Takes leaves of several combinators out. False: nothing is left. */
static bool without_shared(rt_tree *t) {
    size_t left = 0;
    for (int list = 0; list < 3; list++) {
        size_t n = 0;
        for (size_t i = 0; i < t->count[list]; i++) {
            if (count_of(leaf_text(t, list, i))->several) continue;
            if (list == 2) t->names[n++] = t->names[i];
            else t->ids[list][n++] = t->ids[list][i];
        }
        t->count[list] = n;
        left += n;
    }
    size_t nested = 0;
    for (size_t i = 0; i < t->nested_count; i++)
        if (without_shared(t->nested[i])) t->nested[nested++] = t->nested[i];
    t->nested_count = nested;
    return left + nested > 0;
}

static void hoist_shared(rt_bytes *to, const char *text) {
    rt_tree *t = rt_tree_parse(&text), *top = t;
    counted_count = 0;
    count_leaves(t);
    size_t shared = 0;
    for (size_t i = 0; i < counted_count; i++) shared += counted[i].several;
    if (shared && t->kind != 1) {
        top = (rt_tree *)rt_alloc(sizeof *top);
        top->kind = 1;
    }
    if (without_shared(t) && top != t) rt_tree_nest(top, t);
    for (size_t i = 0; i < counted_count; i++) {
        const leaf_count *c = &counted[i];
        if (!c->several) continue;
        if (*c->text == 'n') rt_tree_name(top, c->text + 1, strlen(c->text + 1));
        else rt_tree_id(top, *c->text == 's', (uint32_t)strtoul(c->text + 1, NULL, 10));
    }
    rt_tree_print(to, top);
}

static void forget_places_of_shared(rt_bytes *to, const char *frame) {
    const char *tree = strchr(frame, '{');
    bool awaited = strncmp(frame, "AwaitingOn ", 11) == 0 || strncmp(frame, "Suspension ", 11) == 0;
    to->len = 0;
    if (!awaited || tree == frame + 11) {
        rt_add(to, frame, strlen(frame));
        return;
    }
    rt_add(to, frame, 11);
    hoist_shared(to, frame + 11);
}

/* An error of a closure that says when to try again does so in ours, whatever the policy says. */
static void forget_own_delay(char *frame, const char *line) {
    char *at = strncmp(frame, "Error ", 6) == 0 ? strstr(frame, " delay:") : NULL;
    if (at && strncmp(line, "propose", 7) == 0 && !ends_with(line, " -")) cut(at, at + 7 + strspn(at + 7, "0123456789"));
}

static bool has_key(const char *list, const char *key, size_t len) {
    for (const char *at = list + 1; ; at += strcspn(at, ",]") + 1) {
        if (strcspn(at, ",]") == len && memcmp(at, key, len) == 0) return true;
        if (at[strcspn(at, ",]")] != ',') return false;
    }
}

static bool was_cleared(uint32_t cleared, const char *key, size_t len) {
    for (size_t i = 0; i < COUNT(words); i++)
        if (cleared >> i & 1 && strlen(words[i]) == len && memcmp(words[i], key, len) == 0) return true;
    return false;
}

/* The reference lists keys that were cleared as if they had a value: "[a,b]". Ours does not. */
static void forget_cleared_keys(char *theirs, const char *ours, uint32_t cleared) {
    char *list = strchr(theirs, '['), *to;
    const char *mine = strchr(ours, '[');
    if (!list || !mine || strncmp(theirs, "AwaitingOn", 10) == 0 || strncmp(theirs, "Suspension", 10) == 0) return;
    bool first = true;
    to = list + 1;
    for (char *at = to; *at && *at != ']';) {
        size_t len = strcspn(at, ",]");
        bool more = at[len] == ',';
        if (has_key(mine, at, len) || !was_cleared(cleared, at, len)) {
            if (!first) *to++ = ',';
            first = false;
            memmove(to, at, len);
            to += len;
        }
        at += len + more;
        if (!more) { memmove(to, at, strlen(at) + 1); return; }
    }
}

/* Ours does not repeat an AwaitingOn when nothing was sent since. */
static char announced[1024];

static bool repeats(const char *theirs, const char *ours) {
    return !*ours && strcmp(theirs, announced) == 0;
}

/* Why the two go different ways from here on, on purpose. NULL: they should not. */
static const char *parted(const step *s, const char *theirs) {
    /* An attempt suspends when no closure executes at all; the reference when none executes that is
     * awaited: its closure would go on without anybody who takes the result. */
    if (ends_with(kept(s->answer), "WAIT") && ends_with(theirs, "599")) return "suspended beside a closure";
    /* A result that is not of the kind that its command has is an error in ours; the reference hands
     * it out. */
    if (strstr(kept(s->frames), "is not of the kind that was asked for")) return "another kind of result";
    /* What is damaged in a recorded command is noticed when it is compared in ours, in the reference
     * also where it is not, and before the rest is compared. */
    if (s->damaged && strcmp(theirs, "error 500") == 0) return "damage that is not looked at";
    return NULL;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static unsigned long steps, cases, mismatches;

static struct { const char *why; unsigned long count; } partings[8];

static void count_parting(const char *why) {
    size_t i = 0;
    while (partings[i].why && strcmp(partings[i].why, why) != 0) i++;
    partings[i].why = why;
    partings[i].count++;
}

static char *next_word(char **at, char end) {
    char *word = *at, *stop = strchr(word, end);
    if (stop) *stop++ = 0;
    *at = stop ? stop : word + strlen(word);
    return word;
}

static void show_hex(rt_bytes *out, const char *hex) {
    rt_bytes raw = { NULL, 0, 0 };
    rt_hex(&raw, hex);
    rt_add(out, "", 0);
    for (size_t at = 0, n; at < raw.len; at += n) {
        n = rt_show_frame(out, raw.at + at, raw.len - at);
        if (!n) rt_print(out, "PARTIAL FRAME\n"), n = raw.len - at;
    }
    rt_drop(&raw);
}

static bool same_frames(const step *s, const char *hex) {
    static rt_bytes x, y;
    rt_bytes text = { NULL, 0, 0 }, mine = { NULL, 0, 0 };
    bool same = true;
    show_hex(&text, hex);
    rt_add(&mine, kept(s->frames), strlen(kept(s->frames)));
    for (char *theirs = (char *)text.at, *ours = (char *)mine.at; same && (*theirs || *ours);) {
        char *a = next_word(&ours, '\n'), *b = next_word(&theirs, '\n');
        forget_message(a), forget_message(b);
        forget_related(a, b);
        forget_details_of_read(a), forget_details_of_read(b);
        forget_cleared_keys(b, a, s->cleared);
        forget_run_of_await(a, kept(s->line)), forget_run_of_await(b, kept(s->line));
        forget_behavior_of_own(a, kept(s->line)), forget_behavior_of_own(b, kept(s->line));
        forget_own_delay(a, kept(s->line)), forget_own_delay(b, kept(s->line));
        forget_places_of_shared(&x, a), forget_places_of_shared(&y, b);
        a = (char *)x.at, b = (char *)y.at;
        same = strcmp(a, b) == 0 || repeats(b, a);
        if (strncmp(a, "AwaitingOn", 10) == 0) snprintf(announced, sizeof announced, "%s", a);
    }
    rt_drop(&text);
    rt_drop(&mine);
    return same;
}

typedef struct reply { char *answer, *phase, *index, *hex; } reply;

static bool same_step(const step *s, reply *r) {
    forget_cleared_keys(r->answer, kept(s->answer), s->cleared);
    return strcmp(r->answer, kept(s->answer)) == 0 && *r->phase == s->phase &&
           (s->phase == 'c' || strtoll(r->index, NULL, 10) == s->index) && same_frames(s, r->hex);
}

static void show_step(const step *s, const reply *r) {
    rt_bytes frames = { NULL, 0, 0 };
    show_hex(&frames, r->hex);
    printf("  %.400s\n    ours       %s  %c %" PRId64 "  %s\n", kept(s->line), kept(s->answer), s->phase, s->index, kept(s->frames));
    printf("    reference  %s  %s %s  %s\n", r->answer, r->phase, r->index, (const char *)frames.at);
    rt_drop(&frames);
}

/* Reads what the reference answers. False: it ends. */
static bool next_reply(reply *r) {
    static char *text;
    static size_t room;
    ssize_t n = getline(&text, &room, stdin);
    if (n <= 0) return false;
    char *at = text;
    text[strcspn(text, "\n")] = 0;
    *r = (reply){ next_word(&at, '\t'), next_word(&at, '\t'), next_word(&at, '\t'), next_word(&at, '\t') };
    return true;
}

static void mismatch(size_t i, const reply *r) {
    size_t from = i;
    mismatches++;
    printf("case %" PRIu64 " differs at its step %zu, protocol %u, options '%s'\n", now.seed, i, now.version, now.letters);
    while (from && strncmp(kept(now.steps[from].line), "machine", 7) != 0) from--;
    for (; from < i; from++)
        printf("  %.160s -> %s\n%s", kept(now.steps[from].line), kept(now.steps[from].answer), kept(now.steps[from].frames));
    show_step(&now.steps[i], r);
}

/* False: the reference has ended. */
static bool compare_case(void) {
    bool differs = false;
    reply r;
    for (size_t i = 0; i < now.step_count; i++) {
        const step *s = &now.steps[i];
        if (!next_reply(&r)) return false;
        if (strncmp(kept(s->line), "machine", 7) == 0) differs = false, *announced = 0;
        if (differs) continue;
        if (same_step(s, &r)) continue;
        const char *why = parted(s, r.answer);
        if (why) count_parting(why);
        else mismatch(i, &r);
        differs = true;
    }
    return next_reply(&r) && strcmp(r.answer, "over") == 0;
}

static void print_case(void) {
    for (size_t i = 0; i < now.step_count; i++) printf("%s\n", kept(now.steps[i].line));
    printf("over\n");
}

int main(int argc, char **argv) {
    bool compare = argc == 5 && strcmp(argv[1], "compare") == 0;
    if (argc != 5 || (!compare && strcmp(argv[1], "script") != 0)) return 2;
    uint64_t from = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10), most = strtoull(argv[4], NULL, 10);
    for (; cases < count && steps < most; cases++) {
        write_case(from + cases);
        steps += now.step_count;
        if (!compare) print_case();
        else if (!compare_case()) { printf("case %" PRIu64 ": the reference died\n", now.seed); return 1; }
        rt_free_all();
    }
    if (!compare) return 0;
    for (size_t i = 0; partings[i].why; i++) printf("    on purpose, %s: %lu\n", partings[i].why, partings[i].count);
    printf("oracle: %lu steps in %lu cases, %lu differ\n", steps, cases, mismatches);
    return mismatches || test_failures;
}
