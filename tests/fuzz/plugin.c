/* Fuzz target: requests of protoc for protoc-gen-restate. */
#include <stdint.h>
#include <stdlib.h>

/* The plugin frees nothing, so here everything is freed after each run. */
typedef struct block {
    struct block *next, *before;
    uint64_t content[];
} block;
static block blocks = { &blocks, &blocks };

static void fuzz_free(void *p) {
    block *b = p ? (block *)(void *)((char *)p - sizeof(block)) : NULL;
    if (!b) return;
    b->next->before = b->before;
    b->before->next = b->next;
    free(b);
}

static void *fuzz_realloc(void *p, size_t size) {
    block *old = p ? (block *)(void *)((char *)p - sizeof(block)) : NULL, *b;
    if (old) {
        old->next->before = old->before;
        old->before->next = old->next;
    }
    b = realloc(old, sizeof *b + size);
    if (!b) abort();
    b->next = blocks.next;
    b->before = &blocks;
    b->next->before = b->before->next = b;
    return b->content;
}

#define realloc fuzz_realloc
#define free fuzz_free
#define main plugin_main
#include "../../proto/protoc-gen-restate.c"
#undef realloc
#undef free
#undef main

#include "main.h"

/* One header: text without zero bytes, in which comments and strings end. */
static void check_header(const char *s, size_t len) {
    bool comment = false, literal = false;
    size_t i;
    REQUIRE(memchr(s, 0, len) == NULL);
    for (i = 0; i < len; i++) {
        char next_one = i + 1 < len ? s[i + 1] : 0;
        if (comment) {
            REQUIRE(!(s[i] == '/' && next_one == '*'));
            if (s[i] == '*' && next_one == '/') comment = false, i++;
        } else if (literal) {
            REQUIRE(s[i] != '\n');
            if (s[i] == '\\') i++;
            else if (s[i] == '"') literal = false;
        } else if (s[i] == '"') {
            literal = true;
        } else if (s[i] == '/' && next_one == '*') {
            comment = true;
            i++;
        }
    }
    REQUIRE(!comment && !literal);
}

/* Files, or an error, not both. */
int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    view request = { at, at + len }, all, content;
    text answer = answer_to(request);
    bool error = false, files = false;
    item i;
    all.at = (const uint8_t *)answer.at;
    all.end = all.at + answer.len;
    while (next(&all, &i)) {
        error = error || i.tag == 1;
        if (i.tag != 15) continue;
        files = true;
        REQUIRE(bytes_in(i.bytes, 15, &content));
        check_header((const char *)content.at, (size_t)(content.end - content.at));
    }
    REQUIRE(all.at == all.end);
    REQUIRE(!error || !files);
    while (blocks.next != &blocks) fuzz_free(blocks.next->content);
    return 0;
}

/* ---- Seeds ----------------------------------------------------------------------------------- */

static void put_text(text *t, uint32_t tag, const char *s) { put_field(t, tag, s, strlen(s)); }
static void put_value(text *t, uint32_t tag, uint64_t n) {
    put_number(t, (uint64_t)tag << 3);
    put_number(t, n);
}
static void put_part(text *t, uint32_t tag, const text *part) {
    put_field(t, tag, part->at ? part->at : "", part->len);
}

static void put_message_field(text *m, unsigned type, uint64_t label, const char *type_name) {
    text f = { NULL, 0, 0 };
    put_text(&f, 1, join("field_%u", type));
    put_value(&f, 3, type);
    put_value(&f, 4, label);
    put_value(&f, 5, type);
    if (type_name) put_text(&f, 6, type_name);
    put_text(&f, 10, join("field%u", type));
    put_part(m, 2, &f);
}

static void put_message(text *file, const char *name, bool entry) {
    text m = { NULL, 0, 0 }, options = { NULL, 0, 0 };
    unsigned type;
    put_text(&m, 1, name);
    for (type = 1; type <= 18 && !entry; type++)
        if (type != GROUP)
            put_message_field(&m, type, type % 3 + 1, type == ENUM ? ".p.q.E" : type == MESSAGE ? ".p.q.Entry" : NULL);
    if (entry) {
        put_message_field(&m, STRING, 1, NULL);
        put_message_field(&m, INT64, 1, NULL);
        put_value(&options, 7, 1);
        put_part(&m, 7, &options);
    }
    put_part(file, 4, &m);
}

static void put_service(text *file, const char *name, unsigned kind, unsigned encoding) {
    text s = { NULL, 0, 0 }, options = { NULL, 0, 0 }, m;
    unsigned i;
    put_text(&s, 1, name);
    for (i = 0; i < 2; i++) {
        text access = { NULL, 0, 0 };
        memset(&m, 0, sizeof m);
        put_text(&m, 1, i ? "Other" : "Run");
        put_text(&m, 2, ".p.q.M");
        put_text(&m, 3, i ? ".google.protobuf.Empty" : ".p.q.M");
        if (kind) put_value(&access, OPTION_ACCESS, i ? SHARED : BY_KIND);
        put_part(&m, 4, &access);
        put_part(&s, 2, &m);
    }
    put_value(&options, OPTION_KIND, kind);
    put_value(&options, OPTION_ENCODING, encoding);
    put_part(&s, 3, &options);
    put_part(file, 6, &s);
}

static void put_comment(text *info, const char *path, size_t n, const char *comment) {
    text location = { NULL, 0, 0 };
    put_field(&location, 1, path, n);
    put_field(&location, 2, "\5\0\6", 3);
    put_text(&location, 3, comment);
    put_part(info, 1, &location);
}

/* A file with all types of fields, and a service of each kind. */
static text seed_of(const char *parameter) {
    text request = { NULL, 0, 0 }, file = { NULL, 0, 0 }, e = { NULL, 0, 0 }, value = { NULL, 0, 0 };
    text info = { NULL, 0, 0 };
    put_text(&request, 1, "d/x.proto");
    put_text(&request, 2, parameter);
    put_text(&file, 1, "d/x.proto");
    put_text(&file, 2, "p.q");
    put_message(&file, "M", false);
    put_message(&file, "Entry", true);
    put_text(&e, 1, "E");
    put_text(&value, 1, "NONE");
    put_part(&e, 2, &value);
    put_part(&file, 5, &e);
    put_service(&file, "Plain", SERVICE, PROTO);
    put_service(&file, "Object", OBJECT, JSON);
    put_service(&file, "Flow", WORKFLOW, BY_PARAMETER);
    put_comment(&info, "\4\0\2\1", 4, " A */ field\n");
    put_comment(&info, "\6\0", 2, " A /* service \\\n ?" "?/\n");
    put_comment(&info, "\6\1\2\0", 4, " An \"rpc\"\n\n");
    put_part(&file, 9, &info);
    put_part(&request, 15, &file);
    return request;
}

static const char *const parameters[] = { "", "bare,package=", "marked,encoding=proto", "package=x.y,nonsense=1" };

/* What the plugin makes is freed after each run, the seed too. */
static uint8_t *copy_of(const text *seed) {
    uint8_t *copy = malloc(seed->len + 1);
    if (!copy) abort();
    memcpy(copy, seed->at, seed->len);
    return copy;
}

/* A request without what is at its end must be as harmless. */
void each_seed(fuzz_use *use) {
    for (size_t i = 0; i < COUNT(parameters); i++) {
        text seed = seed_of(parameters[i]);
        size_t len = seed.len, step = seed_dir ? len : 1;
        uint8_t *copy = copy_of(&seed);
        for (; step && len > 0; len -= len < step ? len : step) use(copy, len);
        free(copy);
    }
}
