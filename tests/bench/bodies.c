/* The request bodies of the benchmarks, as a server would send them, and what is answered to them.
 *
 *     build/bench-bodies [--protocol 6|7] DIR            writes DIR/WORKLOAD.body and .answer
 *     build/bench-bodies --check WORKLOAD EXPECTED GOT   whether GOT says what EXPECTED, such an
 *                                                        .answer, says; if not, how they differ
 *
 * The frames are put together here, byte by byte: an encoder shared with the endpoint would share
 * its mistakes, too. Protocol 7 only differs in how an answer suspends. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    START = 0x0000, SUSPENSION = 0x0001, FAILED = 0x0002, END = 0x0003, AWAITING_ON = 0x0006,
    INPUT = 0x0400, OUTPUT = 0x0401, SET_STATE = 0x0403, GET_EAGER_STATE = 0x0407, SLEEP = 0x040c,
    RUN = 0x0411, RUN_COMPLETION = 0x8011
};

static void die(const char *what, const char *name) {
    fprintf(stderr, "bodies: %s %s\n", what, name);
    exit(1);
}

/* ---- Encoding -------------------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t *at;
    size_t len, cap;
} bytes;

static void put(bytes *to, const void *from, size_t len) {
    if (to->cap - to->len < len) {
        to->cap = 2 * to->cap + len;
        to->at = (uint8_t *)realloc(to->at, to->cap);
        if (!to->at) die("no memory for", "a body");
    }
    if (len) memcpy(to->at + to->len, from, len);
    to->len += len;
}

static void put_varint(bytes *to, uint64_t number) {
    uint8_t byte;
    do {
        byte = (uint8_t)((number & 127) | (number > 127 ? 128 : 0));
        put(to, &byte, 1);
    } while (number >>= 7);
}

static void put_number(bytes *to, unsigned field, uint64_t number) {
    put_varint(to, field << 3);
    put_varint(to, number);
}

static void put_field(bytes *to, unsigned field, const void *from, size_t len) {
    put_varint(to, field << 3 | 2);
    put_varint(to, len);
    put(to, from, len);
}

static void put_text(bytes *to, unsigned field, const char *text) {
    put_field(to, field, text, strlen(text));
}

/* What `inner` holds becomes a field; `inner` is empty then. */
static void put_message(bytes *to, unsigned field, bytes *inner) {
    put_field(to, field, inner->at, inner->len);
    free(inner->at);
    memset(inner, 0, sizeof *inner);
}

/* The same with a frame of type `type`. */
static void put_frame(bytes *to, unsigned type, bytes *message) {
    uint8_t head[8] = { 0 };
    size_t len = message->len;
    int i;
    head[0] = (uint8_t)(type >> 8);
    head[1] = (uint8_t)type;
    for (i = 7; i > 3; i--, len >>= 8) head[i] = (uint8_t)len;
    put(to, head, sizeof head);
    put(to, message->at, message->len);
    free(message->at);
    memset(message, 0, sizeof *message);
}

static void put_value(bytes *to, unsigned field, const void *content, size_t len) {
    bytes value = { 0 };
    put_field(&value, 1, content, len);
    put_message(to, field, &value);
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

typedef struct workload {
    const char *name, *input, *output;      /* JSON; no output: it suspends */
    unsigned steps;                         /* that the journal has */
    unsigned echoed;                        /* size of input and output */
} workload;

static const workload workloads[] = {
    { "greet", "\"Ada\"", "\"Hello Ada!\"", 0, 0 },
    { "count", "1", "42", 0, 0 },
    { "sleep", "1000", NULL, 0, 0 },
    { "replay-10", "10", "10", 10, 0 },
    { "replay-100", "100", "100", 100, 0 },
    { "replay-1000", "1000", "1000", 1000, 0 },
    { "replay-10000", "10000", "10000", 10000, 0 },
    { "echo-64k", NULL, NULL, 0, 1 << 16 },
    { "echo-1m", NULL, NULL, 0, 1 << 20 },
};

static bool is(const workload *w, const char *name) { return strcmp(w->name, name) == 0; }

static void put_start(bytes *to, const workload *w) {
    bytes start = { 0 }, state = { 0 };
    uint8_t id[24];
    memset(id, 7, sizeof id);
    put_field(&start, 1, id, sizeof id);
    put_text(&start, 2, "inv_1kPDCxwZeGow030tFHc6AImrmHBAK2vokn");
    put_number(&start, 3, 1 + 2 * (uint64_t)w->steps);
    if (is(w, "count")) {
        put_text(&state, 1, "count");
        put_text(&state, 2, "41");
        put_message(&start, 4, &state);
        put_text(&start, 6, "key");
    }
    put_number(&start, 9, 42);
    put_frame(to, START, &start);
}

/* Input or Output: what both hold is in the same place. */
static void put_content(bytes *to, unsigned type, const workload *w, const char *json) {
    bytes message = { 0 };
    char *text;
    if (w->echoed) {
        text = (char *)malloc(w->echoed);
        if (!text) die("no memory for", w->name);
        memset(text, 'x', w->echoed);
        text[0] = text[w->echoed - 1] = '"';
        put_value(&message, 14, text, w->echoed);
        free(text);
    } else {
        put_value(&message, 14, json, strlen(json));
    }
    put_frame(to, type, &message);
}

static void put_body(bytes *to, const workload *w) {
    bytes message = { 0 };
    unsigned id;
    put_start(to, w);
    put_content(to, INPUT, w, w->input);
    for (id = 1; id <= w->steps; id++) {
        put_number(&message, 11, id);
        put_text(&message, 12, "step");
        put_frame(to, RUN, &message);
        put_number(&message, 1, id);
        put_value(&message, 5, "1", 1);
        put_frame(to, RUN_COMPLETION, &message);
    }
}

/* Completion 1 or a cancellation, which is signal 1, makes it go on. */
static void put_suspended(bytes *to, unsigned protocol) {
    const uint8_t one = 1;
    bytes message = { 0 }, future = { 0 };
    put_number(&message, 1, 1700000001000u);
    put_number(&message, 11, 1);
    put_frame(to, SLEEP, &message);
    put_field(protocol > 6 ? &future : &message, 1, &one, 1);
    put_field(protocol > 6 ? &future : &message, 2, &one, 1);
    if (protocol > 6) {
        put_number(&future, 5, 1);
        put_message(&message, 4, &future);
    }
    put_frame(to, SUSPENSION, &message);
}

static void put_answer(bytes *to, const workload *w, unsigned protocol) {
    bytes message = { 0 };
    if (is(w, "sleep")) {
        put_suspended(to, protocol);
        return;
    }
    if (is(w, "count")) {
        put_text(&message, 1, "count");
        put_value(&message, 14, "41", 2);
        put_frame(to, GET_EAGER_STATE, &message);
        put_text(&message, 1, "count");
        put_value(&message, 3, "42", 2);
        put_frame(to, SET_STATE, &message);
    }
    put_content(to, OUTPUT, w, w->output);
    put_frame(to, END, &message);
}

static void write_file(const char *dir, const char *name, const char *ending, bytes *content) {
    char path[4096];
    FILE *f;
    if (snprintf(path, sizeof path, "%s/%s.%s", dir, name, ending) >= (int)sizeof path)
        die("too long:", dir);
    f = fopen(path, "wb");
    if (!f || fwrite(content->at, 1, content->len, f) != content->len || fclose(f) != 0)
        die("cannot write", path);
    content->len = 0;
}

static int write_all(const char *dir, unsigned protocol) {
    bytes content = { 0 };
    size_t i;
    for (i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        put_body(&content, &workloads[i]);
        write_file(dir, workloads[i].name, "body", &content);
        put_answer(&content, &workloads[i], protocol);
        write_file(dir, workloads[i].name, "answer", &content);
    }
    free(content.at);
    return 0;
}

/* ---- Checking -------------------------------------------------------------------------------- */

static bytes read_file(const char *path) {
    bytes content = { 0 };
    char piece[1 << 16];
    size_t got;
    FILE *f = fopen(path, "rb");
    if (!f) die("cannot read", path);
    while ((got = fread(piece, 1, sizeof piece, f)) > 0) put(&content, piece, got);
    if (ferror(f)) die("cannot read", path);
    fclose(f);
    return content;
}

typedef struct frame {
    unsigned type;
    const char *body;
    size_t len;
} frame;

/* Takes the first frame of `from`. AwaitingOn is passed over: an endpoint may say that it waits
 * before it has seen that the request has ended. */
static bool next_frame(bytes *from, frame *f) {
    size_t len;
    do {
        if (from->len < 8) return false;
        f->type = (unsigned)from->at[0] << 8 | from->at[1];
        len = (size_t)from->at[4] << 24 | (size_t)from->at[5] << 16 | (size_t)from->at[6] << 8 |
              from->at[7];
        if (from->len - 8 < len) return false;
        f->body = (const char *)from->at + 8;
        f->len = len;
        from->at += 8 + len;
        from->len -= 8 + len;
    } while (f->type == AWAITING_ON);
    return true;
}

/* The types are the same, and so is the output. The rest may differ, such as when it wakes. */
static int check(const char *name, const char *expected_path, const char *got_path) {
    bytes expected = read_file(expected_path), got = read_file(got_path);
    frame want, have;
    while (next_frame(&expected, &want)) {
        if (!next_frame(&got, &have)) {
            fprintf(stderr, "%s: the answer ends where 0x%04x is expected\n", name, want.type);
            return 1;
        }
        if (have.type != want.type) {
            fprintf(stderr, "%s: answered 0x%04x, expected 0x%04x\n", name, have.type, want.type);
            if (have.type == FAILED) fprintf(stderr, "%.*s\n", (int)have.len, have.body);
            return 1;
        }
        if (want.type == OUTPUT &&
            (have.len != want.len || memcmp(have.body, want.body, want.len) != 0)) {
            fprintf(stderr, "%s: another output than expected\n", name);
            return 1;
        }
    }
    if (got.len) fprintf(stderr, "%s: %zu bytes more than expected\n", name, got.len);
    return got.len != 0;
}

int main(int argc, char **argv) {
    unsigned protocol = 6;
    if (argc == 5 && strcmp(argv[1], "--check") == 0) return check(argv[2], argv[3], argv[4]);
    if (argc == 4 && strcmp(argv[1], "--protocol") == 0) {
        protocol = (unsigned)strtoul(argv[2], NULL, 10);
        argc -= 2;
        argv += 2;
    }
    if (argc != 2 || (protocol != 6 && protocol != 7))
        die("usage:", "[--protocol 6|7] DIR | --check WORKLOAD EXPECTED GOT");
    return write_all(argv[1], protocol);
}
