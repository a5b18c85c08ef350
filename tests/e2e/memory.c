/* The contract's cases once more, against the runtime for tests in place of a server: what comes out
 * has to be the same. The services are in this program, requests to the ingress and to the admin API
 * become calls on a context, waiting lets the time of the runtime pass. See harness.c.
 *
 * Left out is what wants more than that: see `left_out`. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_WITH_TEST
#include "../services/services.h"

#include "harness.c"

static endpoint contract = { .program = "test-services", .log = LOGS "/test-services.log" };

#include "contract_work.c"
#include "contract_faults.c"

/* ---- The runtime -------------------------------------------------------------------------------- */

static restate_endpoint *memory_endpoint;
static restate_client *memory;
static restate_ctx *clock_of_memory;        /* lives as long as the runtime */

static double memory_now(void) {
    uint64_t ms = 0;
    if (clock_of_memory) RESTATE_IGNORE(restate_now(clock_of_memory, &ms));
    return (double)ms / 1000;
}

static void memory_pause(long ms) {
    if (restate_sleep(clock_of_memory, (uint64_t)ms) != RESTATE_OK)
        printf("  %s\n", restate_failed(clock_of_memory)->message);
}

static void memory_stop(void) {
    restate_client_free(memory);
    restate_endpoint_free(memory_endpoint);
    memory = NULL;
    memory_endpoint = NULL;
    clock_of_memory = NULL;
}

/* One closure tosses a coin of the real clock, so that no two runs would be the same: here a coin of the
 * seed is tossed in its place. */
static restate_status memory_run(void *user, restate_ctx *run, const char *name, restate_closure *closure,
                                 void *arg) {
    uint64_t *coin = user;
    if (strcmp(name, "throwing side effect") != 0) return closure(run, arg);
    *coin = *coin * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *coin >> 63 ? restate_retry(run, NULL, "not this time") : RESTATE_OK;
}

static bool memory_start(const char *name) {
    static const restate_service *const all[] = {
        &counter_service, &list_object, &map_object, &proxy, &test_utils, &failing,
        &awakeable_holder, &cancel_test_runner, &cancel_test_blocking, &kill_test_runner,
        &kill_test_singleton, &non_deterministic, &block_and_wait, &command_interpreter,
        &object_interpreters[0], &object_interpreters[1], &object_interpreters[2],
        &interpreter_helper, NULL };
    static uint64_t coin;
    memory_stop();
    coin = (uint64_t)atoi(env("E2E_SEED", "1"));
    memory_endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = all, .logger.level = RESTATE_LOG_OFF,
        /* as servers of these tests are set: see tests/server.sh */
        .defaults.retry = { .initial_interval_ms = 20, .max_interval_ms = 100,
                            .max_attempts = UINT32_MAX } });
    memory = restate_test_new(&(restate_test_options){
        .endpoint = memory_endpoint, .seed = coin, .run = memory_run, .user = &coin,
        .suspend = strcmp(name, "suspend") == 0 ? RESTATE_ON
            : strcmp(name, "single") == 0 ? RESTATE_DEFAULT : RESTATE_OFF,
        .lazy_state = strcmp(name, "lazy") == 0 ? RESTATE_ON : RESTATE_DEFAULT,
        .protocol = strcmp(name, "v7") == 0 ? 7 : 6,
        .crashes = strcmp(name, "single") == 0 ? 20 : 0,
        .max_events = 100000000, .logger.level = RESTATE_LOG_OFF });
    clock_of_memory = restate_client_begin(memory);
    strcpy(ingress, "ingress:");
    strcpy(admin, "admin:");
    return memory != NULL;
}

/* ---- Requests ------------------------------------------------------------------------------------ */

/* A request, taken apart: its path in percent-decoded parts, without the query. */
typedef struct asked {
    restate_ctx *ctx;
    const char *method, *parts[8], *query, *scope;
    int count;
    restate_bytes body;
    restate_call_options options;
    restate_pair headers[16];
    size_t header_count;
} asked;

static int hex_digit(char c) {
    const char *all = "0123456789abcdef", *at = c ? strchr(all, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
    return at ? (int)(at - all) : -1;
}

static const char *decoded(restate_ctx *ctx, const char *from, size_t len) {
    char *to = restate_alloc(ctx, len + 1), *at = to;
    for (size_t i = 0; to && i < len; i++) {
        bool escape = from[i] == '%' && i + 2 < len + 0 && hex_digit(from[i + 1]) >= 0;
        *at++ = escape ? (char)(hex_digit(from[i + 1]) * 16 + hex_digit(from[i + 2])) : from[i];
        if (escape) i += 2;
    }
    return to ? to : "";
}

static void take_path(asked *a, const char *path) {
    a->query = strchr(path, '?');
    const char *end = a->query ? a->query++ : path + strlen(path);
    while (path < end && a->count < 8) {
        path += *path == '/';
        size_t n = strcspn(path, "/?");
        a->parts[a->count++] = decoded(a->ctx, path, n);
        path += n;
    }
}

static void take_header_of(asked *a, const char *line) {
    const char *colon = line + strcspn(line, ":;");     /* curl's way to send an empty one: ; */
    if (!*colon || a->header_count == 14) return;
    const char *name = decoded(a->ctx, line, (size_t)(colon - line));
    const char *value = restate_text(a->ctx, "%s", colon + 1 + strspn(colon + 1, " "));
    if (strcmp(name, "idempotency-key") == 0) a->options.idempotency_key = value;
    else if (strcmp(name, "x-restate-limit-key") == 0) a->options.limit_key = value;
    else a->headers[a->header_count++] = (restate_pair){ name, value };
}

static const restate_handler *handler_named(const char *service, const char *handler) {
    const restate__service *s = restate__ep_service(memory_endpoint, restate_str(service));
    const restate__handler *h = s ? restate__ep_handler(s, restate_str(handler)) : NULL;
    return h ? h->source : NULL;
}

static bool has_keys(const char *service) {
    const restate__service *s = restate__ep_service(memory_endpoint, restate_str(service));
    return s && s->source.kind != RESTATE_SERVICE;
}

static void put_value(reply *r, restate_bytes v) {
    r->len = v.len < sizeof r->body - 1 ? v.len : sizeof r->body - 1;
    if (r->len) memcpy(r->body, v.ptr, r->len);
    r->body[r->len] = 0;
    r->status = r->status ? r->status : 200;
}

/* As the ingress tells failures, of invocations and its own. */
static void put_failure(restate_ctx *ctx, reply *r, restate_status s) {
    const restate_failure *f = restate_failed(ctx);
    const char *metadata = "";
    for (const restate_pair *m = f->metadata; m && m->name; m++)
        metadata = restate_text(ctx, "%s%s%s:%s", metadata, *metadata ? "," : "",
                                (const char *)restate_json_quote(ctx, restate_str(m->name)).ptr,
                                (const char *)restate_json_quote(ctx, restate_str(m->value)).ptr);
    if (*metadata) metadata = restate_text(ctx, ",\"metadata\":{%s}", metadata);
    snprintf(r->body, sizeof r->body, "{\"code\":%u,\"message\":%s%s,\"source\":\"%s\"}",
             (unsigned)f->code, (const char *)restate_json_quote(ctx, restate_str(f->message)).ptr,
             metadata, s == RESTATE_TERMINAL ? "invocation" : "ingress");
    r->len = strlen(r->body);
    r->status = f->code >= 400 && f->code <= 999 ? f->code : 500;
    snprintf(r->type, sizeof r->type, "application/json");
}

static void put_result(restate_ctx *ctx, reply *r, restate_status s, restate_bytes v) {
    if (s == RESTATE_OK) put_value(r, v);
    else put_failure(ctx, r, s);
}

static void put_type(reply *r, const restate_handler *h) {
    const restate_codec *c = h ? h->output : NULL;
    if (r->status != 200 || !c || c->kind == RESTATE_CODEC_VOID) return;
    if (r->len || !restate__codec_is_json(c))
        snprintf(r->type, sizeof r->type, "%s",
                 c->content_type ? c->content_type : "application/octet-stream");
}

static void refuse(reply *r, long status, const char *why) {
    r->status = status;
    snprintf(r->body, sizeof r->body, "{\"code\":%ld,\"message\":\"%s\",\"source\":\"ingress\"}",
             status, why);
}

static void put_ids(asked *a, reply *r, restate_future *f) {
    const char *id;
    restate_status s = restate_call_id(a->ctx, f, &id);
    bool later = a->options.delay_ms != 0;
    if (s != RESTATE_OK) {
        put_failure(a->ctx, r, s);
        return;
    }
    const restate_answer *answer = restate_client_answer(a->ctx, f);
    snprintf(r->id, sizeof r->id, "%s", id);
    r->status = 202;
    put_value(r, later ? restate_json(a->ctx, "{'invocationId': %s, 'status': 'Accepted', "
                                      "'executionTime': 'later'}", id)
                       : restate_json(a->ctx, "{'invocationId': %s, 'status': %s}", id,
                                      answer->previously_accepted ? "PreviouslyAccepted"
                                                                  : "Accepted"));
}

static uint64_t delay_of(const char *query) {
    const char *at = query ? strstr(query, "delay=") : NULL;
    double n = 0;
    char unit[8] = "";
    if (!at) return 0;
    at += 6;
    if (strncmp(at, "PT", 2) == 0) at += 2;
    sscanf(at, "%lf%7[a-zA-Z]", &n, unit);
    if (strcmp(unit, "ms") == 0) return (uint64_t)n;
    return (uint64_t)(n * (unit[0] == 'm' || unit[0] == 'M' ? 60000 : 1000));
}

/* SERVICE[/KEY]/HANDLER[/send] from part `at` on. */
static restate_target target_at(const asked *a, int at, int *after) {
    restate_target t = { .service = a->parts[at++] };
    if (has_keys(t.service) && at < a->count) t.key = a->parts[at++];
    if (at < a->count) t.handler = a->parts[at++];
    *after = at;
    return t;
}

static restate_future *begin_call(asked *a, restate_target to, bool send) {
    a->options.headers = a->headers;
    a->options.delay_ms = send ? delay_of(a->query) : 0;
    if (!to.handler) to.handler = "?";
    to.scope = a->scope;
    return send ? restate_send(a->ctx, to, a->body, &a->options)
                : restate_call_async(a->ctx, to, a->body, &a->options);
}

static void do_call(asked *a, reply *r, int at) {
    int after;
    restate_bytes v;
    restate_target to = target_at(a, at, &after);
    bool send = after < a->count && strcmp(a->parts[after], "send") == 0;
    if (!to.handler || (strcmp(a->method, "POST") != 0 && strcmp(a->method, "GET") != 0)) {
        refuse(r, to.handler ? 405 : 400, to.handler ? "method not allowed" : "bad path");
        return;
    }
    if (after + send < a->count) {
        refuse(r, 404, "service not found");
        return;
    }
    if (!send && a->query && strstr(a->query, "delay=")) {
        refuse(r, 400, "a call has no delay");
        return;
    }
    restate_future *f = begin_call(a, to, send);
    if (send) {
        put_ids(a, r, f);
        return;
    }
    restate_status s = restate_await(a->ctx, f, &v);
    snprintf(r->id, sizeof r->id, "%s", restate_client_answer(a->ctx, f)->invocation_id);
    put_result(a->ctx, r, s, v);
    put_type(r, handler_named(to.service, to.handler ? to.handler : ""));
}

/* .../attach or .../output of what `of` names. */
static void do_attach(asked *a, reply *r, restate_invocation of) {
    bool attach = strcmp(a->parts[a->count - 1], "attach") == 0;
    restate_bytes v;
    restate_status s = attach ? restate_attach(a->ctx, of, &v) : restate_output(a->ctx, of, &v);
    if (s == RESTATE_OK && !attach && !v.ptr) refuse(r, 470, "not ready");
    else put_result(a->ctx, r, s, v);
}

static void do_awakeable(asked *a, reply *r) {
    const char *message = restate_text(a->ctx, "%.*s", (int)a->body.len,
                                       a->body.ptr ? (const char *)a->body.ptr : "");
    restate_status s = strcmp(a->parts[3], "resolve") == 0
        ? restate_resolve(a->ctx, a->parts[2], a->body)
        : restate_reject(a->ctx, a->parts[2], &(restate_failure){ 500, message, NULL });
    if (s == RESTATE_OK) r->status = 202;
    else refuse(r, 400, "no such id");      /* a context of a client sends none like it */
}

static void do_restate(asked *a, reply *r) {
    const char *what = a->count > 1 ? a->parts[1] : "";
    int after;
    if (strcmp(what, "invocation") == 0 && a->count == 4) {
        do_attach(a, r, (restate_invocation){ .id = a->parts[2] });
    } else if (strcmp(what, "invocation") == 0 && a->count >= 6) {
        restate_invocation of = { .target = target_at(a, 2, &after) };
        of.idempotency_key = a->parts[after];
        do_attach(a, r, of);
    } else if (strcmp(what, "workflow") == 0 && a->count == 5) {
        do_attach(a, r, (restate_invocation){ .target = { .service = a->parts[2],
                                                          .key = a->parts[3] } });
    } else if ((strcmp(what, "awakeables") == 0 || strcmp(what, "a") == 0) && a->count == 4) {
        do_awakeable(a, r);
    } else if (strcmp(what, "scope") == 0 && a->count > 5 && strcmp(a->parts[3], "call") == 0) {
        a->scope = a->parts[2];
        do_call(a, r, 4);
    } else {
        refuse(r, 404, "no such path");
    }
}

static void do_admin(asked *a, reply *r, const char *path) {
    restate_bytes v;
    restate_future *f = restate_client_request(a->ctx, a->method, path, a->body);
    restate_status s = restate_await(a->ctx, f, &v);
    r->status = restate_client_answer(a->ctx, f)->http_status;
    if (s == RESTATE_OK) put_value(r, v);
    else put_failure(a->ctx, r, s);
}

static void memory_request(reply *r, const char *method, const char *url, const char *type,
                           const char *body, size_t len, const char *const *headers) {
    asked a = { .ctx = restate_client_begin(memory), .method = method };
    memset(r, 0, offsetof(reply, body) + 1);
    if (body && type) a.body = (restate_bytes){ (const uint8_t *)body, len };
    if (type) a.headers[a.header_count++] = (restate_pair){ "content-type", type };
    for (; headers && *headers; headers++) take_header_of(&a, *headers);
    if (strncmp(url, admin, strlen(admin)) == 0) {
        do_admin(&a, r, url + strlen(admin));
    } else {
        take_path(&a, url + strlen(ingress));
        if (a.count && strcmp(a.parts[0], "restate") == 0) do_restate(&a, r);
        else if (a.count > 1) do_call(&a, r, 0);
        else refuse(r, 404, "no such path");
    }
    restate_client_end(a.ctx);
}

/* As many at a time as the batch says. */
static void memory_batch(const batch *b) {
    enum { MOST = 256 };
    static asked all[MOST];
    static reply r;
    static char paths[MOST][256], bodies[MOST][256];
    restate_future *f[MOST];
    size_t parallel = b->parallel < MOST ? b->parallel : MOST;
    for (size_t done = 0; done < b->count;) {
        size_t n = b->count - done < parallel ? b->count - done : parallel;
        restate_ctx *ctx = restate_client_begin(memory);
        for (size_t i = 0; i < n; i++) {
            int after;
            paths[i][0] = bodies[i][0] = 0;
            b->make(done + i, paths[i], bodies[i]);
            all[i] = (asked){ .ctx = ctx, .method = "POST" };
            all[i].body = restate_str(bodies[i]);
            take_path(&all[i], paths[i]);
            restate_target to = target_at(&all[i], 0, &after);
            f[i] = begin_call(&all[i], to, false);
        }
        for (size_t i = 0; i < n; i++) {
            restate_bytes v;
            memset(&r, 0, offsetof(reply, body) + 1);
            restate_status s = restate_await(ctx, f[i], &v);
            put_result(ctx, &r, s, v);
            batch_judge(b, done + i, paths[i], bodies[i], &r);
        }
        restate_client_end(ctx);
        done += n;
    }
}

static long long memory_commands(const char *id, const char *type) {
    restate_ctx *ctx = restate_client_begin(memory);
    const char *wanted = restate_text(ctx, "\"Command: %s\"", type), *at;
    restate_bytes journal;
    long long n = 0;
    if (restate_client_journal(ctx, (restate_invocation){ .id = id }, &journal) == RESTATE_OK)
        for (at = (const char *)journal.ptr; (at = strstr(at, wanted)) != NULL; at++) n++;
    restate_client_end(ctx);
    return n;
}

/* ---- As much of SQL as the cases ask ---------------------------------------------------------------- */

static void put_column(cJSON *row, const char *name, restate_bytes value) {
    char *copy = calloc(1, value.len + 1);
    if (copy && value.len) memcpy(copy, value.ptr, value.len);
    if (value.ptr) cJSON_AddStringToObject(row, name, copy);
    free(copy);
}

static cJSON *invocation_row(restate__test_invocation *v) {
    static const char *const status[] = { "scheduled", "pending", "ready", "running", "suspended",
                                          "backing-off", "paused", "completed" };
    cJSON *row = cJSON_CreateObject();
    bool keyed = v->party.object != NULL;
    char made[512];                         /* (the cases have texts in the ring of text()) */
    put_column(row, "id", restate_str(v->id));
    put_column(row, "status", restate_str(status[v->status]));
    put_column(row, "target_service_name", restate_str(v->service->source.name));
    put_column(row, "target_handler_name", restate_str(v->handler->name));
    if (keyed) put_column(row, "target_service_key", v->key);
    snprintf(made, sizeof made, "%s/%s%s%s", v->service->source.name,
             keyed ? (const char *)v->key.ptr : "", keyed ? "/" : "", v->handler->name);
    put_column(row, "target", restate_str(made));
    put_column(row, "scope", v->scope);
    put_column(row, "limit_key", v->limit_key);
    put_column(row, "idempotency_key", v->idempotency_key);
    if (v->by) put_column(row, "invoked_by_id", restate_str(v->by->id));
    snprintf(made, sizeof made, "[%d] ...", (int)restate__test_get_number(
                                                v->result.bytes, restate_wire_Failure_code_tag));
    if (v->result.tag == restate_wire_NotificationTemplate_failure_tag)
        put_column(row, "completion_failure", restate_str(made));
    return row;
}

/* "name" (which every command has), and the bytes of a message, each in quotation marks. */
static restate_bytes readable(restate_bytes body) {
    static char to[2048];
    size_t n = (size_t)sprintf(to, "\"name\"");
    restate__wire_reader r = restate__wire_read(body);
    restate__wire_item item;
    while (restate__wire_next(&r, &item)) {
        for (size_t i = 0; i <= item.bytes.len && n < sizeof to - 2; i++) {
            int c = i < item.bytes.len ? item.bytes.ptr[i] : '"';
            if (i == 0) to[n++] = '"';
            to[n++] = c >= ' ' && c < 127 ? (char)c : '?';
        }
    }
    return (restate_bytes){ (const uint8_t *)to, n };
}

static void add_journal(cJSON *rows, restate__test_invocation *v) {
    int index = 0;
    for (const restate__test_entry *e = v->first; e; e = e->next) {
        cJSON *row = cJSON_CreateObject();
        const restate__record_type *t = restate__record_types;
        while (*t->name && t->type != e->type) t++;
        put_column(row, "id", restate_str(v->id));
        put_column(row, "entry_type", restate_str(t->name));
        put_column(row, "entry_json", readable(e->body));
        cJSON_AddNumberToObject(row, "index", index++);
        cJSON_AddItemToArray(rows, row);
    }
}

static void add_state(cJSON *rows, const restate__test_object *o) {
    for (restate__test_value *v = NULL; (v = restate__test_next_value(o, v)) != NULL;) {
        cJSON *row = cJSON_CreateObject();
        put_column(row, "service_name", restate_str(o->service->source.name));
        put_column(row, "service_key", o->key);
        put_column(row, "key", v->node.key);
        put_column(row, "value_utf8", v->value);
        cJSON_AddItemToArray(rows, row);
    }
}

static cJSON *table_named(const char *name) {
    restate__test_server *t = &((restate__test_client *)(void *)memory)->server;
    cJSON *rows = cJSON_CreateArray();
    if (strcmp(name, "state") == 0)
        for (restate__map_node *n = NULL; (n = restate__map_next(t->objects, n)) != NULL;)
            add_state(rows, (const restate__test_object *)(const void *)n);
    else
        for (restate__test_invocation *v = t->first; v; v = v->next)
            if (strcmp(name, "sys_journal") == 0) add_journal(rows, v);
            else cJSON_AddItemToArray(rows, invocation_row(v));
    return rows;
}

/* % stands for anything. */
static bool is_like(const char *s, const char *p) {
    for (; *p && *p != '%'; s++, p++)
        if (*s != *p) return false;
    if (!*p) return !*s;
    for (;; s++) {
        if (is_like(s, p + 1)) return true;
        if (!*s) return false;
    }
}

/* Takes a literal off. */
static const char *take_literal(const char *at, char to[256]) {
    size_t n = 0;
    at += strcspn(at, "'") + 1;
    for (; *at && (*at != '\'' || at[1] == '\''); at += *at == '\'' ? 2 : 1)
        if (n < 255) to[n++] = *at;
    to[n] = 0;
    return at + (*at != 0);
}

static const char *column_of(const cJSON *row, const char *name) {
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(row, name));
    return value ? value : "";
}

/* COLUMN = 'X', != 'X', like 'X', in ('X', 'Y'); with its end. */
static bool meets(const cJSON *row, const char **condition) {
    char column[64] = "", operator_[8] = "", literal[256];
    bool yes = false;
    int n = 0;
    sscanf(*condition, " %63[a-z_] %7[a-z=!] %n", column, operator_, &n);
    const char *at = *condition + n;
    const char *value = column_of(row, column);
    do {
        at = take_literal(at, literal);
        yes |= strcmp(operator_, "like") == 0 ? is_like(value, literal) : strcmp(value, literal) == 0;
    } while (strcmp(operator_, "in") == 0 && *at == ',');
    *condition = at + (*at == ')');
    return yes == (strcmp(operator_, "!=") != 0);
}

static bool meets_all(const cJSON *row, const char *conditions) {
    bool yes = true;
    while (yes && *conditions) {
        yes = meets(row, &conditions);
        conditions = strncmp(conditions, " and ", 5) == 0 ? conditions + 5 : "";
    }
    return yes;
}

/* How many signals were sent before a state was written: the one join that is asked for. */
static cJSON *count_ordered(const char *sql) {
    char id[256];
    long long count = 0;
    const cJSON *s, *w;
    take_literal(strstr(sql, "s.id = "), id);
    cJSON *all = table_named("sys_journal"), *found = cJSON_CreateArray(), *row;
    cJSON_ArrayForEach(s, all) {
        bool sends = strcmp(column_of(s, "entry_type"), "Command: SendSignal") == 0;
        for (w = s->next; sends && w && strcmp(column_of(s, "id"), id) == 0; w = w->next)
            count += strcmp(column_of(w, "id"), id) == 0 &&
                     strcmp(column_of(w, "entry_type"), "Command: SetState") == 0;
    }
    cJSON_Delete(all);
    cJSON_AddItemToArray(found, row = cJSON_CreateObject());
    cJSON_AddNumberToObject(row, "c", (double)count);
    return found;
}

static cJSON *memory_query(const char *query_) {
    static char sql[2048];                  /* outlives the ring of text() */
    char what[256] = "", table[64] = "", column[64] = "", alias[64] = "";
    snprintf(sql, sizeof sql, "%s", query_);
    const char *where = strstr(sql, " where ");
    long long count = 0;
    if (strstr(sql, "s.index < w.index")) return count_ordered(sql);
    sscanf(sql, "select %255[^\n]", what);
    char *from = strstr(what, " from ");
    if (!from || strstr(sql, " join ") || strstr(sql, "interval") || strstr(sql, "(select ") || !where) {
        printf("  no such SQL here: %s\n", sql);
        test_failures++;
        return NULL;
    }
    sscanf(from, " from %63[a-z_]", table);
    *from = 0;
    cJSON *all = table_named(table), *found = cJSON_CreateArray(), *row;
    cJSON_ArrayForEach(row, all) {
        if (!meets_all(row, where + 7)) continue;
        cJSON *copy = cJSON_Duplicate(row, true);
        count++;
        if (sscanf(what, "%63[a-z_0-9] %63[a-z_]", column, alias) == 2)
            cJSON_AddItemToObject(copy, alias, cJSON_Duplicate(cJSON_GetObjectItem(row, column), true));
        cJSON_AddItemToArray(found, copy);
    }
    cJSON_Delete(all);
    if (strncmp(what, "count(*) c", 10) != 0) return found;
    cJSON_Delete(found);
    found = cJSON_CreateArray();
    cJSON_AddItemToArray(found, row = cJSON_CreateObject());
    cJSON_AddNumberToObject(row, "c", (double)count);
    return found;
}

static void memory_show(void) {
    restate_ctx *ctx = restate_client_begin(memory);
    restate_bytes journal;
    const char *id = bad_id[0] ? bad_id : last_id;
    if (*id && restate_client_journal(ctx, (restate_invocation){ .id = id }, &journal) == RESTATE_OK)
        printf("  %.4000s\n", restate_journal_text(ctx, journal));
    restate_client_end(ctx);
}

/* ---- The cases ----------------------------------------------------------------------------------- */

typedef struct left { const char *name, *why; } left;
static const left left_out[] = {
    { "raw_echo_megabytes", "a connection of its own" },
    { "discovery_handlers", "a connection of its own" },
    { "discovery_versions", "a connection of its own" },
    { "services_filter", "another program" },
    { "stops_and_starts", "kills the endpoint" },
    { "sleep_outage", "kills the endpoint" },
    { "retries", "kills the endpoint" },
    { "cancel_outage", "kills the endpoint" },
    { "endpoint_crash", "kills the endpoint" },
    { "server_crash", "kills the server" },
    { "nonsense", "a connection of its own" },
    { "identity", "another server" },
    { "tls", "a connection of its own" },
    { "nondeterminism", "another server" },
    { "journals", "asks SQL by a program of its own" },
    { "timers", "another server" },
    { "scope_limit_holds", "limit rules" },
    { NULL, NULL }
};

/* In the mode "single" attempts suspend and are lost where the seed says, so that closures execute
 * again: these count how often they did. */
static const char *const counting[] = { "executed_runs", "flush", NULL };

static bool is_left_out(const char *name) {
    for (const left *l = left_out; l->name; l++)
        if (strcmp(l->name, name) == 0) return true;
    return false;
}

static unsigned modes_of(const e2e_case *c) {
    unsigned modes_ = c->modes ? c->modes : ~0u;
    for (int i = 0; counting[i]; i++)
        if (strcmp(counting[i], c->name) == 0) modes_ &= BUT(SINGLE);
    return modes_;
}

int main(int argc, char **argv) {
    static const e2e_case all[] = { WORK_CASES FAULT_CASES { NULL, NULL, 0, false } };
    static e2e_case cases[sizeof all / sizeof *all];
    static const carrier in_memory = { memory_now, memory_pause, memory_request, memory_batch,
                                       memory_start, memory_commands, memory_query, memory_show };
    size_t n = 0;
    for (const e2e_case *c = all; c->name; c++)
        if (!is_left_out(c->name)) {
            cases[n] = *c;
            cases[n++].modes = modes_of(c);
        }
    carried = &in_memory;
    setenv("PORT", "0", 1);
    int failed = harness_main(argc, argv, cases, "default,suspend,lazy,v7,single", "default,suspend");
    memory_stop();
    return failed;
}
