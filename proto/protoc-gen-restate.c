/* protoc-gen-restate - typed handlers and clients for restate.h from the services of a .proto file.
 *
 *     cc -o protoc-gen-restate proto/protoc-gen-restate.c
 *     protoc --plugin=./protoc-gen-restate --restate_out=DIR [--restate_opt=NAME=VALUE,...] x.proto
 *
 * writes DIR/x.restate.h, to be used beside the x.pb.h of nanopb. Options:
 *
 *   encoding=json|proto    of services that do not say it by (restate.encoding); json
 *   package=NAME           what stands for the package in C names, as in nanopb's option `package`;
 *                          nothing behind the = is nanopb's mangle_names:M_STRIP_PACKAGE
 *   marked                 only services that have the option (restate.kind): the others of the
 *                          file are somebody else's, and may stream
 *   bare                   no documentation and no JSON schemas in the program
 *
 * protoc gives the request on standard input and takes the answer from standard output, both as
 * messages of google/protobuf/compiler/plugin.proto; they are read and written here field by field.
 * Nothing is freed: the process ends with its answer.
 *
 * MIT license; see LICENSE. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEEPEST 32                          /* messages in messages, as restate.h has them */
#define SCHEMA_BYTES 32768                  /* messages behind this many are just objects */
#define LINE_END 99

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- Memory and text ------------------------------------------------------------------------- */

static void *grow(void *old, size_t size) {
    void *p = realloc(old, size ? size : 1);
    if (!p) {
        fprintf(stderr, "protoc-gen-restate: out of memory\n");
        exit(1);
    }
    return p;
}

static void *make(size_t size) { return memset(grow(NULL, size), 0, size); }

/* A list, and the address of one more element of it, all zero. */
#define LIST(type) struct { type *items; size_t count, room; }
#define ADD(list) \
    ((list)->items = room_for_one((list)->items, (list)->count, &(list)->room, \
                                  sizeof *(list)->items), \
     &(list)->items[(list)->count++])

static void *room_for_one(void *items, size_t count, size_t *room, size_t size) {
    if (count == *room) {
        *room = count ? count * 2 : 8;
        items = grow(items, *room * size);
    }
    memset((char *)items + count * size, 0, size);
    return items;
}

typedef struct text {
    char *at;
    size_t len, room;
} text;

static void put(text *t, const char *bytes, size_t n) {
    if (t->room < t->len + n + 1) {
        t->room = (t->len + n + 1) * 2;
        t->at = grow(t->at, t->room);
    }
    if (n) memcpy(t->at + t->len, bytes, n);
    t->len += n;
    t->at[t->len] = 0;
}

static void vprint(text *t, const char *format, va_list args) {
    va_list again;
    char *line;
    int n;
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    line = grow(NULL, (size_t)n + 1);
    vsnprintf(line, (size_t)n + 1, format, args);
    put(t, line, (size_t)n);
    free(line);
}

static void print(text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vprint(t, format, args);
    va_end(args);
}

static char *join(const char *format, ...) {
    text t = { NULL, 0, 0 };
    va_list args;
    put(&t, "", 0);
    va_start(args, format);
    vprint(&t, format, args);
    va_end(args);
    return t.at;
}

static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }
static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

/* ---- Reading protobuf ------------------------------------------------------------------------ */

typedef struct view {
    const uint8_t *at, *end;
} view;

typedef struct item {
    uint32_t tag;
    uint64_t number;                        /* of a varint */
    view bytes;                             /* of what has a length */
} item;

static bool read_number(view *v, uint64_t *out) {
    unsigned shift;
    *out = 0;
    for (shift = 0; shift < 64 && v->at < v->end; shift += 7) {
        uint8_t byte = *v->at++;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

/* The next field; false at the end, and where it is no protobuf. */
static bool next(view *v, item *i) {
    uint64_t key, n = 0;
    memset(i, 0, sizeof *i);
    if (!read_number(v, &key)) return false;
    i->tag = (uint32_t)(key >> 3);
    switch (key & 7) {
    case 0: return read_number(v, &i->number);
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2: if (!read_number(v, &n)) return false; break;
    default: return false;                  /* groups: descriptors have none */
    }
    if (n > (uint64_t)(v->end - v->at)) return false;
    i->bytes.at = v->at;
    i->bytes.end = v->at += n;
    return true;
}

static char *string(view v) {
    text t = { NULL, 0, 0 };
    put(&t, (const char *)v.at, (size_t)(v.end - v.at));
    return t.at;
}

/* Letters, digits, underscores and dots. */
static bool is_name(const char *s) {
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              *s == '_' || *s == '.'))
            return false;
    return true;
}

/* A name, as protoc makes them; others would not be the C that they become. */
static const char *name_of(view v) {
    const char *s = string(v);
    return is_name(s) ? s : "";
}

/* A field that is a number: the last one counts. */
static bool number_in(view v, uint32_t tag, uint64_t *out) {
    bool found = false;
    item i;
    while (next(&v, &i))
        if (i.tag == tag && !i.bytes.at) *out = i.number, found = true;
    return found;
}

static bool bytes_in(view v, uint32_t tag, view *out) {
    bool found = false;
    item i;
    while (next(&v, &i))
        if (i.tag == tag && i.bytes.at) *out = i.bytes, found = true;
    return found;
}

static bool is_set(view v, uint32_t tag) {
    uint64_t n = 0;
    return number_in(v, tag, &n) && n;
}

/* ---- What is in the request ------------------------------------------------------------------ */

enum { DOUBLE = 1, FLOAT, INT64, UINT64, INT32, FIXED64, FIXED32, BOOL, STRING, GROUP, MESSAGE,
       BYTES, UINT32, ENUM, SFIXED32, SFIXED64, SINT32, SINT64 };   /* FieldDescriptorProto */
enum { REQUIRED = 2, REPEATED = 3 };
enum { SERVICE, OBJECT, WORKFLOW };                                 /* restate/options.proto */
enum { BY_KIND, EXCLUSIVE, SHARED, MAIN };
enum { BY_PARAMETER, JSON, PROTO };
#define OPTION_KIND 2051
#define OPTION_ACCESS 2051
#define OPTION_ENCODING 52051
#define OPTION_NANOPB 1010

typedef struct file file;
typedef struct message message;
typedef LIST(const char *) strings;

/* Where in a file something is: field numbers and indices, as SourceCodeInfo has them. */
typedef struct place {
    uint64_t at[2 * DEEPEST + 4];
    size_t count;
} place;

typedef struct enumerator {
    const char *name;
    int32_t number;
} enumerator;

typedef struct enumeration {
    const char *full, *c;                   /* .shop.v1.Currency, shop_v1_Currency */
    const char *prefix;                     /* of its values in C: shop_v1_Currency_ */
    file *file;
    LIST(enumerator) values;
    bool checked[3];                        /* as of a message */
    bool listed;                            /* the header has all its values */
} enumeration;

typedef struct field {
    const char *name, *json_name, *type_name, *comment;
    uint64_t number, label, type;
    uint64_t oneof;                         /* its index + 1; 0: in none that C has */
    message *message;
    enumeration *enumeration;
} field;

struct message {
    const char *full, *c;                   /* .shop.v1.Letter.Address, shop_v1_Letter_Address */
    file *file;
    LIST(field) fields;
    strings oneofs;
    bool map_entry, extensible;
    bool busy;                              /* being visited: found again, it contains itself */
    bool checked[3], codec[3];              /* by encoding: it is done already, for this file */
    bool listed;                            /* so are its enums */
    int line;
};

typedef struct method {
    const char *name, *comment, *input, *output;
    message *in, *out;                      /* NULL: google.protobuf.Empty */
    uint64_t access;
    bool streams;
    int line;
} method;

typedef struct service {
    const char *name, *comment, *full, *c;
    LIST(method) methods;
    uint64_t kind, encoding;
    bool marked;
    int line;
} service;

struct file {
    const char *name, *package, *c_package;
    view raw;
    bool flat;                              /* nanopb's M_FLATTEN */
    bool short_names;                       /* nanopb's long_names:false, for enums */
    bool has_enums;
    bool wanted, visible;
    strings imports;
    LIST(service) services;
};

/* What does not compile under a condition of the preprocessor, and why. */
typedef struct refusal {
    const file *file;
    const char *condition, *why;
} refusal;

/* All that the plugin knows. */
typedef struct world {
    LIST(file *) files;
    LIST(message *) messages;               /* sorted by `full` once all are read */
    LIST(enumeration *) enumerations;       /* so are these */
    strings wanted;
    LIST(refusal) refusals;
    text errors;
    const char *package;                    /* NULL: not given */
    uint64_t encoding;
    bool bare, marked;
} world;

/* Where an error is. */
typedef struct spot {
    world *w;
    const file *file;                       /* NULL: nowhere */
    int line;                               /* 0: somewhere in the file */
} spot;

static void fail(spot at, const char *format, ...) {
    text *errors = &at.w->errors;
    va_list args;
    if (errors->len) put(errors, "\n", 1);
    if (at.file && at.line) print(errors, "%s:%d: ", at.file->name, at.line);
    else if (at.file) print(errors, "%s: ", at.file->name);
    va_start(args, format);
    vprint(errors, format, args);
    va_end(args);
}

static spot nowhere(world *w) {
    spot at = { NULL, NULL, 0 };
    at.w = w;
    return at;
}

static spot in_file(world *w, const file *f, int line) {
    spot at = { NULL, NULL, 0 };
    at.w = w, at.file = f, at.line = line;
    return at;
}

/* ---- Comments -------------------------------------------------------------------------------- */

static place inside(const place *p, uint64_t number, uint64_t index) {
    place deeper = *p;
    if (deeper.count + 2 <= COUNT(deeper.at)) {
        deeper.at[deeper.count++] = number;
        deeper.at[deeper.count++] = index;
    }
    return deeper;
}

static bool is_place(view path, const place *p) {
    uint64_t step;
    size_t k = 0;
    while (path.at < path.end && read_number(&path, &step))
        if (k == p->count || p->at[k++] != step) return false;
    return k == p->count;
}

/* Lines without the blank that they begin with, and without blank lines at the ends. */
static const char *tidy(const char *comment) {
    text t = { NULL, 0, 0 };
    put(&t, "", 0);
    while (*comment) {
        size_t n = strcspn(comment, "\n"), keep = n;
        const char *from = comment;
        if (keep && *from == ' ') from++, keep--;
        while (keep && (from[keep - 1] == ' ' || from[keep - 1] == '\r')) keep--;
        if (t.len || keep) put(&t, from, keep), put(&t, "\n", 1);
        comment += n + (comment[n] == '\n');
    }
    while (t.len && t.at[t.len - 1] == '\n') t.at[--t.len] = 0;
    return t.len ? t.at : NULL;
}

/* The comment before a place, else that behind it (NULL: there is none), and the place's line. */
static const char *comment_at(const file *f, const place *p, int *line) {
    view info, path, span;
    item location;
    uint64_t n;
    *line = 0;
    if (!bytes_in(f->raw, 9, &info)) return NULL;
    while (next(&info, &location)) {
        view all = location.bytes, comment;
        if (location.tag != 1 || !bytes_in(all, 1, &path) || !is_place(path, p)) continue;
        if (bytes_in(all, 2, &span) && read_number(&span, &n)) *line = (int)(n & 0xffffff) + 1;
        return bytes_in(all, 3, &comment) || bytes_in(all, 4, &comment) ? tidy(string(comment))
                                                                         : NULL;
    }
    return NULL;
}

/* ---- Reading files --------------------------------------------------------------------------- */

static const char *with_underscores(const char *dotted) {
    char *copy = join("%s", dotted), *p;
    for (p = copy; *p; p++) if (*p == '.') *p = '_';
    return copy;
}

/* The C name that nanopb gives to `inner`, a name without the package. */
static const char *c_name(const file *f, const char *inner) {
    const char *last = strrchr(inner, '.');
    if (f->flat) return last ? last + 1 : inner;
    return join("%s%s%s", with_underscores(f->c_package), *f->c_package ? "_" : "",
                with_underscores(inner));
}

/* The same of a full name, which begins with a dot. */
static const char *c_name_of(const file *f, const char *full) {
    return c_name(f, full + 1 + (*f->package ? strlen(f->package) + 1 : 0));
}

/* Values are called by their enum, or with nanopb's long_names:false by what that is in. */
static const char *prefix_of(const enumeration *e, view options) {
    const char *own = strrchr(e->full, '.') + 1;
    uint64_t long_names = !e->file->short_names;
    view nanopb;
    if (bytes_in(options, OPTION_NANOPB, &nanopb)) number_in(nanopb, 4, &long_names);
    return long_names ? join("%s_", e->c)
                      : join("%.*s", (int)(strlen(e->c) - strlen(own)), e->c);
}

static void read_enum(world *w, file *f, view v, const char *scope) {
    enumeration *e = make(sizeof *e);
    view name, options = { NULL, NULL };
    item i;
    if (!bytes_in(v, 1, &name)) return;
    e->file = f;
    f->has_enums = true;
    e->full = join("%s.%s", scope, name_of(name));
    e->c = c_name_of(f, e->full);
    while (next(&v, &i)) {
        if (i.tag == 2 && bytes_in(i.bytes, 1, &name)) {
            enumerator *value = ADD(&e->values);
            uint64_t number = 0;
            value->name = name_of(name);
            number_in(i.bytes, 2, &number);
            value->number = (int32_t)(uint32_t)number;
        }
        if (i.tag == 3) options = i.bytes;
    }
    e->prefix = prefix_of(e, options);
    *ADD(&w->enumerations) = e;
}

static void read_field(file *f, field *x, view v, const place *p) {
    uint64_t optional = 0;
    int line;
    item i;
    x->name = x->type_name = "";
    x->comment = comment_at(f, p, &line);
    while (next(&v, &i)) {
        if (i.tag == 1) x->name = name_of(i.bytes);
        if (i.tag == 3) x->number = i.number;
        if (i.tag == 4) x->label = i.number;
        if (i.tag == 5) x->type = i.number;
        if (i.tag == 6) x->type_name = name_of(i.bytes);
        if (i.tag == 9) x->oneof = i.number + 1;
        if (i.tag == 10) x->json_name = string(i.bytes);
        if (i.tag == 17) optional = i.number;
    }
    if (optional) x->oneof = 0;             /* protoc makes one of each that is optional */
}

static void read_message(world *w, file *f, view v, const char *scope, const place *at) {
    message *m = make(sizeof *m);
    view name, all = v, options;
    uint64_t nested = 0;
    place p;
    item i;
    if (!bytes_in(v, 1, &name) || at->count > 2 * DEEPEST) return;
    m->file = f;
    m->full = join("%s.%s", scope, name_of(name));
    m->c = c_name_of(f, m->full);
    comment_at(f, at, &m->line);
    while (next(&v, &i)) {
        if (i.tag == 2) {
            p = inside(at, 2, m->fields.count);
            read_field(f, ADD(&m->fields), i.bytes, &p);
        }
        if (i.tag == 3) {
            p = inside(at, 3, nested++);
            read_message(w, f, i.bytes, m->full, &p);
        }
        if (i.tag == 4) read_enum(w, f, i.bytes, m->full);
        if (i.tag == 5) m->extensible = true;
        if (i.tag == 8 && bytes_in(i.bytes, 1, &name)) *ADD(&m->oneofs) = name_of(name);
    }
    m->map_entry = bytes_in(all, 7, &options) && is_set(options, 7);
    *ADD(&w->messages) = m;
}

static void read_method(const file *f, method *m, view v, const place *p) {
    item i;
    m->name = m->input = m->output = "";
    m->comment = comment_at(f, p, &m->line);
    while (next(&v, &i)) {
        if (i.tag == 1) m->name = name_of(i.bytes);
        if (i.tag == 2) m->input = name_of(i.bytes);
        if (i.tag == 3) m->output = name_of(i.bytes);
        if (i.tag == 4) number_in(i.bytes, OPTION_ACCESS, &m->access);
        if (i.tag == 5 || i.tag == 6) m->streams = m->streams || i.number;
    }
}

static void read_service_options(service *s, view options) {
    uint64_t n = 0;
    if (number_in(options, OPTION_KIND, &s->kind)) s->marked = true;
    if (number_in(options, OPTION_ENCODING, &n) && n) s->encoding = n;
}

static void read_service(const world *w, file *f, view v, const place *at) {
    service *s = ADD(&f->services);
    place p;
    item i;
    s->comment = comment_at(f, at, &s->line);
    s->encoding = w->encoding;
    s->name = "";
    while (next(&v, &i)) {
        if (i.tag == 1) s->name = name_of(i.bytes);
        if (i.tag == 2) {
            p = inside(at, 2, s->methods.count);
            read_method(f, ADD(&s->methods), i.bytes, &p);
        }
        if (i.tag == 3) read_service_options(s, i.bytes);
    }
    s->full = join("%s%s%s", f->package, *f->package ? "." : "", s->name);
    s->c = c_name(f, s->name);
    if (w->marked && !s->marked) f->services.count--;
}

/* The first letters of the parts of a package, with underscores. */
static const char *initials(const char *package) {
    text t = { NULL, 0, 0 };
    put(&t, "", 0);
    for (; *package; package += strcspn(package, "."), package += *package == '.')
        put(&t, package, 1);
    return t.at;
}

/* nanopb's options of the whole file, as far as they are in the .proto file. */
static void read_names(const world *w, file *f, view options) {
    view nanopb, name;
    uint64_t mangle = 0, long_names = 1;
    if (w->package) f->c_package = w->package;
    if (!bytes_in(options, OPTION_NANOPB, &nanopb)) return;
    if (bytes_in(nanopb, 25, &name)) f->c_package = string(name);
    if (number_in(nanopb, 4, &long_names)) f->short_names = !long_names;
    number_in(nanopb, 17, &mangle);
    if (mangle == 1) f->c_package = "";                     /* M_STRIP_PACKAGE */
    if (mangle == 2) f->flat = true;                        /* M_FLATTEN */
    if (mangle == 3) f->c_package = initials(f->package);   /* M_PACKAGE_INITIALS */
}

static void read_head(const world *w, file *f) {
    view v = f->raw, options = { NULL, NULL };
    item i;
    f->name = f->package = "";
    while (next(&v, &i)) {
        if (i.tag == 1) f->name = string(i.bytes);
        if (i.tag == 2) f->package = name_of(i.bytes);
        if (i.tag == 3) *ADD(&f->imports) = string(i.bytes);
        if (i.tag == 8) options = i.bytes;
    }
    f->c_package = f->package;
    if (!begins(f->package, "google.protobuf")) read_names(w, f, options);
}

static void read_file(world *w, view v) {
    static const place top = { { 0 }, 0 };
    file *f = make(sizeof *f);
    uint64_t services = 0, read = 0;
    const char *scope;
    place p;
    item i;
    f->raw = v;
    read_head(w, f);
    scope = *f->package ? join(".%s", f->package) : "";
    while (next(&v, &i)) {
        if (i.tag == 4) {
            p = inside(&top, 4, read++);
            read_message(w, f, i.bytes, scope, &p);
        }
        if (i.tag == 5) read_enum(w, f, i.bytes, scope);
        if (i.tag == 6) {
            p = inside(&top, 6, services++);
            read_service(w, f, i.bytes, &p);
        }
    }
    *ADD(&w->files) = f;
}

/* ---- Names to what they name ----------------------------------------------------------------- */

static int by_message(const void *a, const void *b) {
    return strcmp((*(message *const *)a)->full, (*(message *const *)b)->full);
}
static int by_enumeration(const void *a, const void *b) {
    return strcmp((*(enumeration *const *)a)->full, (*(enumeration *const *)b)->full);
}

#define SORT(list, by) \
    ((list)->count ? qsort((list)->items, (list)->count, sizeof *(list)->items, by) : (void)0)
#define FIND(list, key, by) \
    ((list)->count ? bsearch(&(key), (list)->items, (list)->count, sizeof *(list)->items, by) \
                   : NULL)

static message *message_named(const world *w, const char *full) {
    message like, *key = &like, **found;
    like.full = full;
    found = FIND(&w->messages, key, by_message);
    return found ? *found : NULL;
}

static enumeration *enumeration_named(const world *w, const char *full) {
    enumeration like, *key = &like, **found;
    like.full = full;
    found = FIND(&w->enumerations, key, by_enumeration);
    return found ? *found : NULL;
}

/* NULL for Empty, which handlers do without. */
static message *message_of_rpc(world *w, const file *f, const method *m, const char *full) {
    message *found = message_named(w, full);
    if (same(full, ".google.protobuf.Empty")) return NULL;
    if (!found)
        fail(in_file(w, f, m->line), "rpc %s: protoc has not told what %s is", m->name, full);
    return found;
}

static void resolve_fields(world *w, message *m) {
    size_t k;
    for (k = 0; k < m->fields.count; k++) {
        field *x = &m->fields.items[k];
        if (x->type == ENUM) x->enumeration = enumeration_named(w, x->type_name);
        if (x->type == MESSAGE || x->type == GROUP) {
            x->message = message_named(w, x->type_name);
            if (!x->message) fail(nowhere(w), "protoc has not told what %s is", x->type_name);
        }
    }
}

static void resolve_methods(world *w, const file *f, service *s) {
    size_t n;
    for (n = 0; n < s->methods.count; n++) {
        method *m = &s->methods.items[n];
        m->in = message_of_rpc(w, f, m, m->input);
        m->out = message_of_rpc(w, f, m, m->output);
    }
}

static file *file_named(const world *w, const char *name) {
    size_t i;
    for (i = 0; i < w->files.count; i++)
        if (same(w->files.items[i]->name, name)) return w->files.items[i];
    return NULL;
}

static void resolve(world *w) {
    size_t i, k;
    SORT(&w->messages, by_message);
    SORT(&w->enumerations, by_enumeration);
    for (i = 0; i < w->messages.count; i++) resolve_fields(w, w->messages.items[i]);
    for (i = 0; i < w->files.count; i++)
        for (k = 0; k < w->files.items[i]->services.count; k++)
            resolve_methods(w, w->files.items[i], &w->files.items[i]->services.items[k]);
    for (i = 0; i < w->wanted.count; i++) {
        file *f = file_named(w, w->wanted.items[i]);
        if (f) f->wanted = true;
    }
}

/* ---- What cannot be done --------------------------------------------------------------------- */

/* An rpc, and what it is in. */
typedef struct rpc {
    world *w;
    const file *file;
    const service *service;
    const method *method;
} rpc;

static spot at_rpc(const rpc *r) { return in_file(r->w, r->file, r->method->line); }

/* An error of one rpc: "rpc Orders.Place: ..." */
static void fail_rpc(const rpc *r, const char *format, ...) {
    text t = { NULL, 0, 0 };
    va_list args;
    va_start(args, format);
    vprint(&t, format, args);
    va_end(args);
    fail(at_rpc(r), "rpc %s.%s%s", r->service->name, r->method->name, t.at);
}

/* The name in JSON that restate.h derives from that of the field. */
static const char *json_name(const char *name) {
    text t = { NULL, 0, 0 };
    bool upper = false;
    put(&t, "", 0);
    for (; *name; name++) {
        char c = *name;
        if (c != '_') {
            if (upper && c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
            put(&t, &c, 1);
        }
        upper = c == '_';
    }
    return t.at;
}

/* What a name is besides. Releases of nanopb, up to 0.4.9, take names as they are. */
typedef enum meaning { NOTHING, OF_C, OF_CXX, MACRO } meaning;

/* Words of C are also those of C23 and GNU C, which compilers have when nobody asks for another. */
static meaning meaning_of(const char *name) {
    static const char *const words[] = {
        "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
        "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
        "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
        "union", "unsigned", "void", "volatile", "while", "_Alignas", "_Alignof", "_Atomic",
        "_Bool", "_Complex", "_Generic", "_Imaginary", "_Noreturn", "_Static_assert",
        "_Thread_local", "bool", "true", "false", "NULL", "alignas", "alignof", "asm", "constexpr",
        "nullptr", "static_assert", "thread_local", "typeof", "typeof_unqual" };
    static const char *const words_of_cxx[] = {
        "and", "and_eq", "bitand", "bitor", "catch", "char16_t", "char32_t", "char8_t", "class",
        "co_await", "co_return", "co_yield", "compl", "concept", "const_cast", "consteval",
        "constinit", "decltype", "delete", "dynamic_cast", "explicit", "export", "friend",
        "mutable", "namespace", "new", "noexcept", "not", "not_eq", "operator", "or", "or_eq",
        "private", "protected", "public", "reinterpret_cast", "requires", "static_cast",
        "template", "this", "throw", "try", "typeid", "typename", "using", "virtual", "wchar_t",
        "xor", "xor_eq" };
    static const char *const macros[] = { "EOF", "errno", "i386", "linux", "unix" };
    size_t i;
    for (i = 0; i < COUNT(words); i++) if (same(name, words[i])) return OF_C;
    for (i = 0; i < COUNT(words_of_cxx); i++) if (same(name, words_of_cxx[i])) return OF_CXX;
    for (i = 0; i < COUNT(macros); i++) if (same(name, macros[i])) return MACRO;
    return NOTHING;
}

/* Of google.protobuf, what restate.h has no JSON for. */
static bool has_no_json(const message *m) {
    static const char *const names[] = { "Any", "Struct", "Value", "ListValue" };
    size_t i;
    for (i = 0; i < COUNT(names); i++)
        if (same(m->full, join(".google.protobuf.%s", names[i]))) return true;
    return false;
}

/* Something that compilers are told under a condition. */
static void refuse(const rpc *r, const char *condition, const char *why) {
    refusal *later = ADD(&r->w->refusals);
    later->file = r->file;
    later->condition = condition;
    later->why = join("%s:%d: rpc %s.%s: %s", r->file->name, r->method->line, r->service->name,
                      r->method->name, why);
}

/* A name that comes into C as it is. `remedy` is what to do about it. */
static void check_name(const rpc *r, const char *what, const char *c, const char *remedy) {
    meaning is = meaning_of(c);
    if (is == OF_C)
        fail_rpc(r, ": %s is a word of C, and nanopb does not change it; %s", what, remedy);
    if (is == OF_CXX)
        refuse(r, "defined(__cplusplus)",
               join("%s is a word of C++, and nanopb does not change it; %s, or use this header "
                    "in C", what, remedy));
    if (is == MACRO)
        refuse(r, join("defined(%s)", c),
               join("%s is a macro here, and nanopb does not change it; %s, or compile without "
                    "that macro", what, remedy));
}

#define INTO_A_PACKAGE "rename it, or put the file into a package"

static void check_enum(const rpc *r, enumeration *e) {
    size_t i, k;
    if (e->checked[r->service->encoding]) return;
    e->checked[r->service->encoding] = true;
    check_name(r, join("enum %s", e->full + 1), e->c, INTO_A_PACKAGE);
    for (i = 0; i < e->values.count; i++) {
        const enumerator *value = &e->values.items[i];
        check_name(r, join("value %s of enum %s", value->name, e->full + 1),
                   join("%s%s", e->prefix, value->name), INTO_A_PACKAGE);
        for (k = 0; e->values.items[k].number != value->number; k++) continue;
        if (k < i && r->service->encoding == JSON)
            fail_rpc(r, ": %s and %s of enum %s are one value, and nanopb's enum_to_string takes "
                        "one name each; remove one, or use (restate.encoding) = PROTO",
                     e->values.items[k].name, value->name, e->full + 1);
    }
}

static void check_message(const rpc *r, message *m, int depth);

static void check_field(const rpc *r, const message *m, const field *x, int depth) {
    const char *name = json_name(x->name);
    if (r->service->encoding == JSON && x->json_name && !m->map_entry && !same(x->json_name, name))
        fail_rpc(r, ": the JSON name '%s' of %s.%s cannot be had, only '%s'; rename the "
                    "field, or remove json_name", x->json_name, m->full + 1, x->name, name);
    check_name(r, join("%s.%s", m->full + 1, x->name), x->name, "rename the field");
    if (x->number > 65535)
        refuse(r, "!defined(PB_FIELD_32BIT)",
               join("%s.%s has the number %d; those above 65535 need nanopb, its library too, "
                    "compiled with PB_FIELD_32BIT", m->full + 1, x->name, (int)x->number));
    if (x->enumeration) check_enum(r, x->enumeration);
    if (x->type == GROUP)
        fail_rpc(r, ": %s.%s is a group, which nanopb does not do; use a message", m->full + 1,
                 x->name);
    else if (x->message) check_message(r, x->message, depth + 1);
}

/* What the message is by itself. */
static void check_form(const rpc *r, const message *m) {
    size_t i;
    check_name(r, join("message %s", m->full + 1), m->c, INTO_A_PACKAGE);
    for (i = 0; i < m->oneofs.count; i++) {
        const char *name = m->oneofs.items[i];
        check_name(r, join("oneof %s.%s", m->full + 1, name), name, "rename it");
        if (same(name, "a") || same(name, "X"))
            fail_rpc(r, ": oneof %s.%s has the name of a parameter of nanopb's macros; rename it",
                     m->full + 1, name);
    }
    if (m->extensible)
        fail_rpc(r, ": message %s has extensions, which restate.h does not do; remove them",
                 m->full + 1);
    if (r->service->encoding == JSON && has_no_json(m))
        fail_rpc(r, ": restate.h has no JSON for %s; use (restate.encoding) = PROTO, or another "
                    "message", m->full + 1);
}

static void check_message(const rpc *r, message *m, int depth) {
    size_t i;
    if (m->busy)
        fail_rpc(r, ": message %s is inside of itself; a C struct cannot be: refer to it by a "
                    "key, or put its bytes there", m->full + 1);
    else if (depth > DEEPEST)
        fail_rpc(r, ": message %s is the %drd inside of another; restate.h goes down to %d",
                 m->full + 1, depth, DEEPEST);
    if (m->busy || depth > DEEPEST || m->checked[r->service->encoding]) return;
    m->busy = m->checked[r->service->encoding] = true;
    check_form(r, m);
    for (i = 0; i < m->fields.count && !has_no_json(m); i++)
        check_field(r, m, &m->fields.items[i], depth);
    m->busy = false;
}

static bool is_main(const service *s, const method *m) {
    if (s->kind != WORKFLOW) return false;
    return m->access == MAIN ||
           (m->access == BY_KIND && (same(m->name, "Run") || same(m->name, "run")));
}

static bool is_shared(const service *s, const method *m) {
    return s->kind == OBJECT ? m->access == SHARED : s->kind == WORKFLOW && !is_main(s, m);
}

static void check_access(const rpc *r) {
    const service *s = r->service;
    uint64_t access = r->method->access;
    if (access > MAIN) fail_rpc(r, ": unknown access %d", (int)access);
    if (s->kind == SERVICE && access)
        fail_rpc(r, ": access is for objects and workflows, %s is a plain service", s->name);
    if (s->kind == OBJECT && access == MAIN)
        fail_rpc(r, ": MAIN is for workflows, %s is an object", s->name);
    if (s->kind == WORKFLOW && access == EXCLUSIVE)
        fail_rpc(r, ": EXCLUSIVE is for objects, %s is a workflow", s->name);
}

static void check_rpc(const rpc *r) {
    if (r->method->streams)
        fail_rpc(r, " streams; a handler takes one message and gives one: remove `stream`, or see "
                    "the option marked");
    if (begins(r->method->name, "__"))
        fail_rpc(r, ": Restate takes no names that begin with two underscores");
    check_access(r);
    if (r->method->in) check_message(r, r->method->in, 1);
    if (r->method->out) check_message(r, r->method->out, 1);
}

static bool check_head(world *w, const file *f, const service *s) {
    spot at = in_file(w, f, s->line);
    if (s->kind > WORKFLOW) fail(at, "service %s: unknown kind %d", s->name, (int)s->kind);
    if (s->encoding > PROTO)
        fail(at, "service %s: unknown encoding %d", s->name, (int)s->encoding);
    if (begins(s->c, "restate_") || same(s->c, "restate"))
        fail(at, "service %s: names that begin with restate are those of restate.h", s->name);
    if (begins(s->full, "restate") || same(s->full, "openapi"))
        fail(at, "service %s: Restate reserves the name", s->full);
    if (!s->methods.count) fail(at, "service %s has no rpc", s->name);
    return s->kind <= WORKFLOW && s->encoding <= PROTO;
}

static void check_service(world *w, const file *f, const service *s) {
    size_t i, mains = 0;
    rpc r;
    if (!check_head(w, f, s)) return;
    r.w = w, r.file = f, r.service = s;
    for (i = 0; i < s->methods.count; i++) {
        r.method = &s->methods.items[i];
        mains += is_main(s, r.method);
        check_rpc(&r);
    }
    if (s->kind == WORKFLOW && mains != 1)
        fail(in_file(w, f, s->line),
             "service %s: a workflow has one main rpc (named Run, or with access MAIN), not %d",
             s->name, (int)mains);
}

/* ---- Names of C that come from different things ---------------------------------------------- */

static void see(const world *w, file *f) {
    size_t i;
    if (!f || f->visible) return;
    f->visible = true;
    for (i = 0; i < f->imports.count; i++) see(w, file_named(w, f->imports.items[i]));
}

/* A name of C, and what it is made of: "rpc Orders.Place". */
typedef struct named {
    const char *c, *of;
    int line;                               /* 0: of another file, or an enum's */
} named;
typedef LIST(named) names;

static int by_c_name(const void *a, const void *b) {
    const named *x = a, *y = b;
    int order = strcmp(x->c, y->c);
    return order ? order : x->line - y->line;
}

static void add_name(names *all, const char *c, const char *of, int line) {
    named *n = ADD(all);
    n->c = c, n->of = of, n->line = line;
}

static void add_enum(const enumeration *e, names *all) {
    const char *of = join("enum %s", e->full + 1);
    size_t k;
    add_name(all, e->c, of, 0);
    for (k = 0; k < e->values.count; k++)
        add_name(all, join("%s%s", e->prefix, e->values.items[k].name), of, 0);
}

/* What nanopb calls things; and the codecs, of which two are there in two encodings. */
static void add_messages(const world *w, const file *f, names *all) {
    static const char *const suffixes[] = { "", "_msg", "_fields", "_size", "_init_zero",
                                            "_init_default", "_FIELDLIST", "_CALLBACK", "_DEFAULT",
                                            "_json", "_proto" };
    size_t i, k;
    for (i = 0; i < w->messages.count; i++) {
        const message *m = w->messages.items[i];
        for (k = 0; m->file->visible && k < COUNT(suffixes); k++)
            add_name(all, join("%s%s", m->c, suffixes[k]), join("message %s", m->full + 1),
                     m->file == f ? m->line : 0);
    }
    for (i = 0; i < w->enumerations.count; i++)
        if (w->enumerations.items[i]->file->visible) add_enum(w->enumerations.items[i], all);
}

static void add_service(const service *s, names *all) {
    static const char *const suffixes[] = { "_rpc", "_call", "_call_async", "_await", "_send",
                                            "_attach", "_entry", "_INDEX", "" };
    size_t i, k;
    add_name(all, join("%s_service", s->c), join("service %s", s->name), s->line);
    add_name(all, join("%s_COUNT", s->c), join("service %s", s->name), s->line);
    for (i = 0; i < s->methods.count; i++) {
        const method *m = &s->methods.items[i];
        for (k = 0; k < COUNT(suffixes); k++)
            add_name(all, join("%s_%s%s", s->c, m->name, suffixes[k]),
                     join("rpc %s.%s", s->name, m->name), m->line);
    }
}

/* Of two, the later one is to blame. */
static void check_names(world *w, file *f) {
    names all = { NULL, 0, 0 };
    size_t i;
    for (i = 0; i < w->files.count; i++) w->files.items[i]->visible = false;
    see(w, f);
    add_messages(w, f, &all);
    for (i = 0; i < f->services.count; i++) add_service(&f->services.items[i], &all);
    SORT(&all, by_c_name);
    for (i = 1; i < all.count; i++) {
        const named *n = &all.items[i], *before = n - 1;
        if (!same(n->c, before->c) || (i > 1 && same(n->c, before[-1].c))) continue;
        fail(in_file(w, f, n->line), "%s and %s both make the name %s in C; rename one", before->of,
             n->of, n->c);
    }
}

/* What is no name of the .proto file's, and yet comes into the header. */
static void check_file(world *w, const file *f) {
    if (strpbrk(f->name, "\"\\*\r\n"))
        fail(in_file(w, f, 0), "the name of the file cannot be in an #include; rename it");
    if (!is_name(f->c_package))
        fail(in_file(w, f, 0), "package=%s is not the beginning of a C name", f->c_package);
}

/* What was done for another file is to be done for this one. */
static void begin_file(world *w) {
    size_t i;
    for (i = 0; i < w->enumerations.count; i++) {
        enumeration *e = w->enumerations.items[i];
        memset(e->checked, 0, sizeof e->checked);
        e->listed = false;
    }
    for (i = 0; i < w->messages.count; i++) {
        message *m = w->messages.items[i];
        memset(m->checked, 0, sizeof m->checked);
        memset(m->codec, 0, sizeof m->codec);
        m->listed = false;
    }
}

static void check(world *w) {
    size_t i, k;
    for (i = 0; i < w->files.count; i++) {
        file *f = w->files.items[i];
        check_file(w, f);
        if (!f->wanted || !f->services.count) continue;
        begin_file(w);
        for (k = 0; k < f->services.count; k++) check_service(w, f, &f->services.items[k]);
        check_names(w, f);
    }
}

/* ---- JSON schemas ---------------------------------------------------------------------------- */

static void schema_of(text *t, const message *m);

/* A string of JSON. */
static void print_json(text *t, const char *s) {
    put(t, "\"", 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') print(t, "\\%c", c);
        else if (c == '\n') put(t, "\\n", 2);
        else if (c < 32) print(t, "\\u%04x", c);
        else put(t, s, 1);
    }
    put(t, "\"", 1);
}

static void schema_of_enum(text *t, const enumeration *e) {
    size_t i;
    if (e && same(e->full, ".google.protobuf.NullValue")) {
        print(t, "{\"type\":\"null\"}");
        return;
    }
    print(t, "{\"enum\":[");
    for (i = 0; e && i < e->values.count; i++)
        print(t, "%s\"%s\"", i ? "," : "", e->values.items[i].name);
    print(t, "]}");
}

static void schema_of_type(text *t, const field *x) {
    switch (x->type) {
    case DOUBLE: case FLOAT: print(t, "{\"type\":\"number\"}"); break;
    case INT64: case SINT64: case SFIXED64: case UINT64: case FIXED64:
        print(t, "{\"type\":[\"string\",\"integer\"],\"format\":\"%s\"}",
              x->type == UINT64 || x->type == FIXED64 ? "uint64" : "int64");
        break;
    case BOOL: print(t, "{\"type\":\"boolean\"}"); break;
    case STRING: print(t, "{\"type\":\"string\"}"); break;
    case BYTES: print(t, "{\"type\":\"string\",\"contentEncoding\":\"base64\"}"); break;
    case ENUM: schema_of_enum(t, x->enumeration); break;
    case MESSAGE: case GROUP: schema_of(t, x->message); break;
    default: print(t, "{\"type\":\"integer\"}"); break;
    }
}

static const char *known_schema(const message *m) {
    static const struct { const char *name, *schema; } known[] = {
        { "Timestamp", "{\"type\":\"string\",\"format\":\"date-time\"}" },
        { "Duration", "{\"type\":\"string\",\"pattern\":\"^-?[0-9]+([.][0-9]+)?s$\"}" },
        { "FieldMask", "{\"type\":\"string\"}" },
        { "StringValue", "{\"type\":\"string\"}" },
        { "BytesValue", "{\"type\":\"string\",\"contentEncoding\":\"base64\"}" },
        { "BoolValue", "{\"type\":\"boolean\"}" },
        { "DoubleValue", "{\"type\":\"number\"}" },
        { "FloatValue", "{\"type\":\"number\"}" },
        { "Int64Value", "{\"type\":[\"string\",\"integer\"],\"format\":\"int64\"}" },
        { "UInt64Value", "{\"type\":[\"string\",\"integer\"],\"format\":\"uint64\"}" },
        { "Int32Value", "{\"type\":\"integer\"}" },
        { "UInt32Value", "{\"type\":\"integer\"}" } };
    static const char package[] = ".google.protobuf.";
    size_t i;
    for (i = 0; begins(m->full, package) && i < COUNT(known); i++)
        if (same(m->full + sizeof package - 1, known[i].name)) return known[i].schema;
    return NULL;
}

static bool is_map(const field *x) {
    return x->message && x->message->map_entry && x->message->fields.count == 2;
}

/* A member, with the comment of its field. */
static void schema_of_field(text *t, const field *x) {
    size_t begin = t->len;
    if (is_map(x)) {
        print(t, "{\"type\":\"object\",\"additionalProperties\":");
        schema_of_type(t, &x->message->fields.items[1]);
        print(t, "}");
    } else if (x->label == REPEATED) {
        print(t, "{\"type\":\"array\",\"items\":");
        schema_of_type(t, x);
        print(t, "}");
    } else {
        schema_of_type(t, x);
    }
    if (!x->comment || t->len == begin) return;
    t->len--;
    print(t, ",\"description\":");
    print_json(t, x->comment);
    print(t, "}");
}

static void schema_of(text *t, const message *m) {
    const char *known = known_schema(m);
    bool required = false;
    size_t i;
    if (known || t->len > SCHEMA_BYTES) {
        print(t, "%s", known ? known : "{\"type\":\"object\"}");
        return;
    }
    print(t, "{\"type\":\"object\",\"title\":\"%s\",\"properties\":{", m->full + 1);
    for (i = 0; i < m->fields.count; i++) {
        print(t, "%s\"%s\":", i ? "," : "", json_name(m->fields.items[i].name));
        schema_of_field(t, &m->fields.items[i]);
    }
    print(t, "}");
    for (i = 0; i < m->fields.count; i++) {
        if (m->fields.items[i].label != REQUIRED) continue;
        print(t, "%s\"%s\"", required ? "," : ",\"required\":[",
              json_name(m->fields.items[i].name));
        required = true;
    }
    print(t, "%s,\"additionalProperties\":false}", required ? "]" : "");
}

/* ---- Strings and comments of C --------------------------------------------------------------- */

/* One character of a C string; the columns it takes. What is not ASCII becomes octal, so does the
 * question mark: two of them begin a trigraph. */
static int print_character(text *t, unsigned char c) {
    size_t before = t->len;
    if (c == '"' || c == '\\') print(t, "\\%c", c);
    else if (c < 32 || c > 126 || c == '?') print(t, "\\%03o", c);
    else print(t, "%c", c);
    return (int)(t->len - before);
}

/* A C string, in pieces of a line each. */
static void print_literal(text *t, const char *s, int indent) {
    int column = 0;
    print(t, "\"");
    for (; *s; s++) {
        if (column >= 86 || (column >= 60 && (s[-1] == ',' || s[-1] == ' '))) {
            print(t, "\"\n%*s\"", indent, "");
            column = 0;
        }
        if (*s == '\n') print(t, "\\n"), column = 86;
        else column += print_character(t, (unsigned char)*s);
    }
    print(t, "\"");
}

static void print_literal_or_null(text *t, const char *s, int indent) {
    if (s) print_literal(t, s, indent);
    else print(t, "NULL");
}

/* A comment of C from one of the .proto file. */
static void print_comment(text *t, const char *comment) {
    size_t i, n = comment ? strlen(comment) : 0;
    if (!n) return;
    print(t, "/* ");
    for (i = 0; i < n; i++) {
        char c = comment[i], other = c == '*' ? '/' : '*';
        put(t, &c, 1);
        if (c == '\n') print(t, " * ");
        else if ((c == '*' || c == '/') && comment[i + 1] == other) print(t, " ");
        else if (c == '\\' && comment[i + 1] == '\n') print(t, ".");
    }
    print(t, " */\n");
}

/* A declaration, with line ends behind the commas that need them. */
static void print_wrapped(text *t, const char *line, int indent) {
    size_t column = 0;
    while (*line) {
        size_t n = strcspn(line, ",") + (strchr(line, ',') != NULL);
        if (column && column + n > LINE_END) {
            while (t->len && t->at[t->len - 1] == ' ') t->len--;
            print(t, "\n%*s", indent, "");
            column = (size_t)indent;
            while (*line == ' ') line++, n--;
        }
        put(t, line, n);
        column += n;
        line += n;
    }
}

/* ---- The header: codecs ---------------------------------------------------------------------- */

static const char *suffix(uint64_t encoding) { return encoding == PROTO ? "proto" : "json"; }

/* The codec of a message: there is one per message and encoding, whoever includes what. */
static const char *codec(const service *s, const message *m) {
    return m ? join("%s_%s", m->c, suffix(s->encoding))
             : join("restate_rpc_empty_%s", suffix(s->encoding));
}

/* What compilers show in their errors, with the rpc that is to blame. */
static void print_use(text *t, const rpc *r) {
    print(t, "  /* %s:%d: %s.%s */", r->file->name, r->method->line, r->service->name,
          r->method->name);
}

static void print_codec_value(text *t, const rpc *r, const message *m) {
    const service *s = r->service;
    text schema = { NULL, 0, 0 };
    print(t, "    RESTATE_%s_WITH(%s, %s,", s->encoding == PROTO ? "PROTO" : "PROTOJSON", m->c,
          m->fields.count ? "false" : "true");
    if (s->encoding == PROTO || r->w->bare) {
        print(t, " NULL);");
        print_use(t, r);
        print(t, "\n");
        return;
    }
    print_use(t, r);
    schema_of(&schema, m);
    print(t, "\n        ");
    print_literal(t, schema.at, 8);
    print(t, ");\n");
}

/* restate.h tries all values that an enum may have, unless they are as far apart as this. */
#define FAR_APART 65536

static bool is_wide(const enumeration *e) {
    int64_t least = 0, most = 0;
    size_t i;
    for (i = 0; i < e->values.count; i++) {
        int64_t n = e->values.items[i].number;
        if (!i || n < least) least = n;
        if (!i || n > most) most = n;
    }
    return most - least >= FAR_APART;
}

static void print_values(text *t, enumeration *e) {
    size_t i;
    if (e->listed || !is_wide(e)) return;
    e->listed = true;
    print(t, "#ifndef %s_VALUES\n#define %s_VALUES RESTATE_PROTO_ENUM_VALUES(", e->c, e->c);
    for (i = 0; i < e->values.count; i++)
        print(t, "%s \\\n    %s%s", i ? "," : "", e->prefix, e->values.items[i].name);
    print(t, ")\n#endif\n");
}

/* nanopb says what enum a field is of, but in files without an enum of their own it does not. */
static void print_enum_type(text *t, const message *m, const field *x) {
    const char *oneof = "", *name;
    if (m->file->has_enums) return;
    if (x->oneof && x->oneof <= m->oneofs.count) oneof = m->oneofs.items[x->oneof - 1];
    name = join("%s_%s%s%s_ENUMTYPE", m->c, oneof, *oneof ? "_" : "", x->name);
    print(t, "#ifndef %s\n#define %s %s\n#endif\n", name, name, x->enumeration->c);
}

/* What JSON needs of the enums in a message, and in the messages in it. */
static void print_enums(text *t, message *m) {
    size_t i;
    if (m->listed) return;
    m->listed = true;
    for (i = 0; i < m->fields.count; i++) {
        field *x = &m->fields.items[i];
        if (x->enumeration) print_enum_type(t, m, x), print_values(t, x->enumeration);
        if (x->message) print_enums(t, x->message);
    }
}

static void print_codec(text *t, const rpc *r, message *m) {
    const service *s = r->service;
    const char *name;
    if (!m || m->codec[s->encoding]) return;
    m->codec[s->encoding] = true;
    name = codec(s, m);
    print(t, "\n#ifndef %s_FIELDLIST\n#error \"nanopb made no %s: give protoc-gen-restate the same "
             "package=\"\n#endif\n", m->c, m->c);
    if (s->encoding == JSON) print_enums(t, m);
    print(t, "#ifndef %s_defined\n#define %s_defined\n", name, name);
    print(t, "RESTATE__UNUSED static const restate_codec %s =\n", name);
    print_codec_value(t, r, m);
    print(t, "#endif\n");
}

/* ---- The header: rpcs ------------------------------------------------------------------------ */

/* The parts of declarations that differ from rpc to rpc. */
typedef struct parts {
    const char *name;                       /* shop_v1_Orders_Place */
    const char *key, *keyed;                /* parameter, and argument */
    const char *in, *given;
    const char *out, *into;
} parts;

static const char *const options_parameter = ", const restate_call_options *options";

static parts parts_of(const service *s, const method *m) {
    bool keyed = s->kind != SERVICE;
    parts p;
    p.name = join("%s_%s", s->c, m->name);
    p.key = keyed ? ", const char *key" : "";
    p.keyed = keyed ? ", key" : ", NULL";
    p.in = m->in ? join(", const %s *in", m->in->c) : "";
    p.given = m->in ? ", in" : ", NULL";
    p.out = m->out ? join(", %s *out", m->out->c) : "";
    p.into = m->out ? ", out" : ", NULL";
    return p;
}

/* A function that is one call of restate.h's of the same name, with the types of the rpc. */
static void print_wrapper(text *t, const char *name, const char *what, const char *result,
                          const char *parameters, const char *arguments) {
    print_wrapped(t, join("static inline %s%s_%s(restate_ctx *ctx%s) {", result, name, what,
                          parameters), 8);
    print(t, "\n");
    print_wrapped(t, join("    return restate_rpc_%s(ctx, &%s_rpc%s);", what, name, arguments), 8);
    print(t, "\n}\n\n");
}

static void print_clients(text *t, const service *s, const method *m, const parts *p) {
    static const char status[] = "restate_status ", future[] = "restate_future *";
    const char *to = join("%s%s%s", p->key, p->in, options_parameter);
    const char *with = join("%s%s, options", p->keyed, p->given);
    print_wrapper(t, p->name, "call", status, join("%s%s", to, p->out),
                  join("%s%s", with, p->into));
    print_wrapper(t, p->name, "call_async", future, to, with);
    print_wrapper(t, p->name, "await", status, join(", restate_future *call%s", p->out),
                  join(", call%s", p->into));
    print_wrapper(t, p->name, "send", future, to, with);
    if (is_main(s, m)) print_wrapper(t, p->name, "attach", future, p->key, p->keyed);
}

static void print_alloc(text *t, const char *name, const message *m) {
    if (m) print(t, "    %s *%s = (%s *)restate_alloc(ctx, sizeof *%s);\n", m->c, name, m->c, name);
}

/* What is between the library, which has bytes, and the handler, which has messages. */
static void print_entry(text *t, const service *s, const method *m, const parts *p) {
    const char *in = codec(s, m->in), *out = codec(s, m->out);
    print(t, "static inline restate_status %s_entry(restate_ctx *ctx, restate_bytes input) {\n",
          p->name);
    print_alloc(t, "in", m->in);
    print_alloc(t, "out", m->out);
    if (m->in || m->out)
        print(t, "    if (%s%s%s) return RESTATE_ENDED;\n", m->in ? "!in" : "",
              m->in && m->out ? " || " : "", m->out ? "!out" : "");
    if (m->in)
        print(t, "    input = restate_rpc_given(&%s, input);\n"
                 "    RESTATE_TRY(restate_decode(ctx, &%s, input, in));\n", in, in);
    else
        print(t, "    (void)input;\n");
    print(t, "    RESTATE_TRY(%s(ctx%s%s));\n", p->name, m->in ? ", in" : "",
          m->out ? ", out" : "");
    print(t, "    return restate_reply(ctx, restate_encode(ctx, &%s%s));\n}\n", out, p->into);
}

static void print_rpc(text *t, const service *s, const method *m) {
    const parts p = parts_of(s, m);
    print(t, "\n");
    print_comment(t, m->comment);
    print_wrapped(t, join("restate_status %s(restate_ctx *ctx%s%s);", p.name, p.in, p.out), 8);
    print(t, "\n\nRESTATE__UNUSED static const restate_rpc %s_rpc = {\n", p.name);
    print(t, "    \"%s\", \"%s\", &%s, &%s,\n    ", s->full, m->name, codec(s, m->in),
          codec(s, m->out));
    print(t, "%s\n};\n\n", m->out ? join("sizeof(%s)", m->out->c) : "0");
    print_clients(t, s, m, &p);
    print_entry(t, s, m, &p);
}

/* ---- The header: services -------------------------------------------------------------------- */

static void print_handler(text *t, const service *s, const method *m, bool bare) {
    print(t, "        { \"%s\", %s_%s_entry, %s,\n          &%s, &%s, NULL,\n          ", m->name,
          s->c, m->name, is_shared(s, m) ? "true" : "false", codec(s, m->in), codec(s, m->out));
    print_literal_or_null(t, bare ? NULL : m->comment, 10);
    print(t, ", NULL, RESTATE_RPC_ZERO },\n");
}

static void print_table(text *t, const service *s, bool bare) {
    static const char *const kinds[] = { "RESTATE_SERVICE", "RESTATE_OBJECT", "RESTATE_WORKFLOW" };
    text line = { NULL, 0, 0 };
    size_t i;
    print(&line, "enum {");
    for (i = 0; i < s->methods.count; i++)
        print(&line, " %s_%s_INDEX,", s->c, s->methods.items[i].name);
    print(&line, " %s_COUNT };", s->c);
    print(t, "\n");
    print_wrapped(t, line.at, 4);
    print(t, "\n\nstatic inline const restate_service *%s_service(void) {\n", s->c);
    print(t, "    static const restate_handler handlers[] = {\n");
    for (i = 0; i < s->methods.count; i++) print_handler(t, s, &s->methods.items[i], bare);
    print(t, "        RESTATE_RPC_ZERO\n    };\n");
    print(t, "    static const restate_service service = {\n        \"%s\", %s, handlers,\n"
             "        ", s->full, kinds[s->kind]);
    print_literal_or_null(t, bare ? NULL : s->comment, 8);
    print(t, ", NULL, RESTATE_RPC_ZERO\n    };\n    return &service;\n}\n");
}

static void print_service(text *t, const service *s, bool bare) {
    size_t k;
    print(t, "\n/* ---- %s ---- */\n", s->full);
    if (s->comment) print(t, "\n");
    print_comment(t, s->comment);
    for (k = 0; k < s->methods.count; k++) print_rpc(t, s, &s->methods.items[k]);
    print_table(t, s, bare);
}

static void print_codecs(text *t, world *w, const file *f, const service *s) {
    size_t k;
    rpc r;
    r.w = w, r.file = f, r.service = s;
    for (k = 0; k < s->methods.count; k++) {
        r.method = &s->methods.items[k];
        print_codec(t, &r, r.method->in);
        print_codec(t, &r, r.method->out);
    }
}

static const char *stem_of(const file *f) {
    size_t n = strlen(f->name);
    if (n > 6 && same(f->name + n - 6, ".proto")) n -= 6;
    return join("%.*s", (int)n, f->name);
}

static const char *guard_of(const char *stem) {
    char *guard = join("%s", stem), *p;
    for (p = guard; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9')))
            *p = '_';
    return guard;
}

/* Before nanopb's header, of which compilers say less. */
static void print_refusals(text *t, const world *w, const file *f) {
    size_t i;
    for (i = 0; i < w->refusals.count; i++) {
        const refusal *r = &w->refusals.items[i];
        if (r->file == f)
            print(t, "#if %s\n#error \"%s\"\n#endif\n", r->condition, r->why);
    }
}

static const char *generate(world *w, const file *f) {
    const char *stem = stem_of(f), *guard = guard_of(stem);
    text t = { NULL, 0, 0 };
    size_t i;
    print(&t, "/* Typed handlers and clients for the services of %s.\n"
              " * Generated by protoc-gen-restate; do not edit. */\n", f->name);
    print(&t, "#ifndef RESTATE_GENERATED_%s\n#define RESTATE_GENERATED_%s\n\n", guard, guard);
    print(&t, "#include \"restate.h\"\n");
    print_refusals(&t, w, f);
    print(&t, "#include \"%s.pb.h\"\n\n", stem);
    print(&t, "/* Schemas and documentation may be longer than the strings that C99 asks compilers"
              " to take. */\n#if defined(__GNUC__)\n#pragma GCC diagnostic push\n"
              "#pragma GCC diagnostic ignored \"-Woverlength-strings\"\n#endif\n");
    begin_file(w);
    for (i = 0; i < f->services.count; i++) print_codecs(&t, w, f, &f->services.items[i]);
    print(&t, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    for (i = 0; i < f->services.count; i++) print_service(&t, &f->services.items[i], w->bare);
    print(&t, "\n#ifdef __cplusplus\n}\n#endif\n"
              "#if defined(__GNUC__)\n#pragma GCC diagnostic pop\n#endif\n\n#endif\n");
    return t.at;
}

/* ---- Request and answer ---------------------------------------------------------------------- */

static void put_number(text *t, uint64_t n) {
    char byte;
    for (; n > 127; n >>= 7) {
        byte = (char)(n | 128);
        put(t, &byte, 1);
    }
    byte = (char)n;
    put(t, &byte, 1);
}

static void put_field(text *t, uint32_t tag, const char *bytes, size_t n) {
    put_number(t, (uint64_t)tag << 3 | 2);
    put_number(t, n);
    put(t, bytes, n);
}

/* One option, such as "package=shop"; `value` is NULL if there is no =. */
static void read_option(world *w, const char *name, const char *value) {
    if (same(name, "encoding") && value && same(value, "json")) w->encoding = JSON;
    else if (same(name, "encoding") && value && same(value, "proto")) w->encoding = PROTO;
    else if (same(name, "package") && value) w->package = value;
    else if (same(name, "marked") && !value) w->marked = true;
    else if (same(name, "bare") && !value) w->bare = true;
    else
        fail(nowhere(w), "unknown option '%s%s%s'; there are encoding=json, encoding=proto, "
                         "package=NAME, marked and bare", name, value ? "=" : "",
             value ? value : "");
}

static void read_options(world *w, char *p) {
    while (*p) {
        char *end = p + strcspn(p, ","), *value, last = *end;
        *end = 0;
        value = strchr(p, '=');
        if (value) *value++ = 0;
        if (*p || value) read_option(w, p, value);
        p = last ? end + 1 : end;
    }
}

static void read_request(world *w, view all) {
    view v = all;
    item part;
    while (next(&v, &part))
        if (part.tag == 2) read_options(w, string(part.bytes));
    while (next(&all, &part)) {
        if (part.tag == 1) *ADD(&w->wanted) = string(part.bytes);
        if (part.tag == 15) read_file(w, part.bytes);
    }
    if (all.at != all.end) fail(nowhere(w), "the request of protoc cannot be read");
}

static void put_file(text *answer, world *w, const file *f) {
    const char *name = join("%s.restate.h", stem_of(f)), *content = generate(w, f);
    text one = { NULL, 0, 0 };
    put_field(&one, 1, name, strlen(name));
    put_field(&one, 15, content, strlen(content));
    put_field(answer, 15, one.at, one.len);
}

static void put_answer(text *answer, world *w) {
    size_t i;
    if (w->errors.len) put_field(answer, 1, w->errors.at, w->errors.len);
    put_number(answer, 2 << 3);
    put_number(answer, 1);                  /* FEATURE_PROTO3_OPTIONAL */
    for (i = 0; i < w->files.count && !w->errors.len; i++) {
        const file *f = w->files.items[i];
        if (f->wanted && f->services.count) put_file(answer, w, f);
    }
}

static view read_all(FILE *in) {
    text request = { NULL, 0, 0 };
    char buffer[65536];
    view all;
    size_t n;
    put(&request, "", 0);
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0) put(&request, buffer, n);
    all.at = (const uint8_t *)request.at;
    all.end = all.at + request.len;
    return all;
}

static text answer_to(view request) {
    world *w = make(sizeof *w);
    text answer = { NULL, 0, 0 };
    w->encoding = JSON;
    read_request(w, request);
    resolve(w);
    check(w);
    put_answer(&answer, w);
    return answer;
}

int main(void) {
    text answer = answer_to(read_all(stdin));
    return fwrite(answer.at, 1, answer.len, stdout) == answer.len && fflush(stdout) == 0 ? 0 : 1;
}
