/* End-to-end tests: the examples and tests/e2e/services.c against real servers, over HTTP.
 *
 *     build/e2e [-v] [PART-OF-A-NAME ...]         from the project's directory; names are MODE_CASE
 *
 * Environment:
 *   E2E_MODES    some of default,suspend,lazy,v7 (all), how the server is set up:
 *                suspend: every wait ends the attempt; lazy: state is not sent along; v7: the protocol
 *   E2E_BIN      where the endpoints are (build); build/asan for those with sanitizers
 *   E2E_WRAP     words to put before an endpoint, such as "valgrind -q --error-exitcode=9"
 *   E2E_SCALE    per cent of the load (100); below 100 memory is not judged
 *   E2E_NAME     what to call itself in the last line
 * THREADS, ASAN_OPTIONS and so on are passed on to endpoints, whose output is in build/e2e-logs. */
#define _DEFAULT_SOURCE 1
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#  include <sys/prctl.h>
#endif
#include "test.h"

#define CASE_SECONDS 120        /* a case that takes longer has hung */
#define REQUEST_SECONDS 60L
#define LOGS "build/e2e-logs"

static const char *env(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pause_ms(long ms) {
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

/* A string that lives until a few dozen others have been made. */
static const char *text(const char *format, ...) {
    static char ring[64][2048];
    static unsigned at;
    char *to = ring[at++ % 64];
    va_list args;
    va_start(args, format);
    vsnprintf(to, sizeof ring[0], format, args);
    va_end(args);
    return to;
}

/* A string that lives as long as it is kept. */
typedef struct word {
    char s[128];
} word;

static word make_word(const char *format, ...) {
    word n;
    va_list args;
    va_start(args, format);
    vsnprintf(n.s, sizeof n.s, format, args);
    va_end(args);
    return n;
}

/* ---- HTTP ------------------------------------------------------------------------------------------ */

typedef struct reply {
    long status;                /* 0: no answer */
    char id[64];                /* of the invocation */
    size_t len;
    char body[16384];           /* cut there */
} reply;

static size_t take_body(char *data, size_t size, size_t count, void *user) {
    reply *r = (reply *)user;
    size_t room = sizeof r->body - 1 - r->len, n = size * count < room ? size * count : room;
    memcpy(r->body + r->len, data, n);
    r->len += n;
    r->body[r->len] = 0;
    return size * count;
}

static size_t take_header(char *data, size_t size, size_t count, void *user) {
    reply *r = (reply *)user;
    static const char name[] = "x-restate-id: ";
    size_t n = size * count, from = sizeof name - 1;
    if (n > from && strncmp(data, name, from) == 0) {
        while (n > from && (data[n - 1] == '\r' || data[n - 1] == '\n')) n--;
        if (n - from < sizeof r->id) {
            memcpy(r->id, data + from, n - from);
            r->id[n - from] = 0;
        }
    }
    return size * count;
}

static struct curl_slist *json_headers;
static struct curl_slist *plain_headers;        /* curl's own content type taken out */

/* `body` NULL: none. It has to stay as it is until the transfer is over. */
static void prepare(CURL *curl, reply *r, const char *method, const char *url, const char *body) {
    memset(r, 0, offsetof(reply, body) + 1);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, REQUEST_SECONDS);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, json_headers);
    } else if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, plain_headers);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, r);
}

static void http(reply *r, const char *method, const char *url, const char *body) {
    static CURL *curl;
    if (!curl) curl = curl_easy_init();
    prepare(curl, r, method, url, body);
    CURLcode e = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
    if (e != CURLE_OK) snprintf(r->body, sizeof r->body, "%s: %s", url, curl_easy_strerror(e));
}

/* ---- Servers and modes -------------------------------------------------------------------------------- */

typedef struct mode {
    const char *name;
    const char *options;        /* of tests/server.sh */
} mode;

enum { DEFAULT, SUSPEND, LAZY, V7, MODES };
static const mode modes[MODES] = {
    { "default", "" },
    { "suspend", "--suspend" },
    { "lazy", "--lazy-state" },
    { "v7", "--v7" },
};

static const mode *running;                 /* the mode of the server that is up; NULL: none */
static char server_dir[64], ingress[128], admin[128];
static char last_id[128];                   /* of the invocation to show when a case fails */

static void server_stop(void) {
    if (!running) return;
    running = NULL;
    if (system(text("tests/server.sh stop --base %s", server_dir)) != 0) printf("the server does not stop\n");
}

/* The server ends with this process, however that ends (--owner). */
static bool server_start(const mode *m) {
    char line[256];
    server_stop();
    snprintf(server_dir, sizeof server_dir, "%s/e2e.%ld.%s", env("TMPDIR", "/tmp"), (long)getpid(), m->name);
    FILE *out = popen(text("tests/server.sh start --base %s --owner %ld %s", server_dir, (long)getpid(), m->options), "r");
    ingress[0] = admin[0] = 0;
    while (out && fgets(line, sizeof line, out)) {
        sscanf(line, "INGRESS=%127s", ingress);
        sscanf(line, "ADMIN=%127s", admin);
    }
    if (!out || pclose(out) != 0 || !ingress[0] || !admin[0]) return false;
    running = m;
    return true;
}

/* Rows as cJSON; the caller deletes them. NULL: the query was refused. */
static cJSON *query(const char *sql) {
    static reply r;
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "query", sql);
    char *request = cJSON_PrintUnformatted(body);
    cJSON_Delete(body);
    http(&r, "POST", text("%s/query", admin), request);
    free(request);
    cJSON *answer = r.status == 200 ? cJSON_Parse(r.body) : NULL;
    cJSON *rows = cJSON_DetachItemFromObject(answer, "rows");
    cJSON_Delete(answer);
    if (!rows) printf("  %ld for %s: %.300s\n", r.status, sql, r.body);
    return rows;
}

/* The value of the first column `name`; -1: none. */
static long long query_number(const char *name, const char *sql) {
    cJSON *rows = query(sql);
    const cJSON *value = cJSON_GetObjectItem(cJSON_GetArrayItem(rows, 0), name);
    long long n = cJSON_IsNumber(value) ? (long long)value->valuedouble : -1;
    cJSON_Delete(rows);
    return n;
}

/* "" if there is none. */
static const char *query_text(const char *name, const char *sql) {
    cJSON *rows = query(sql);
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(rows, 0), name));
    value = text("%s", value ? value : "");
    cJSON_Delete(rows);
    return value;
}

static void show_rows(const char *what, const char *sql) {
    cJSON *rows = query(sql), *row;
    printf("  %s\n", what);
    cJSON_ArrayForEach(row, rows) {
        char *line = cJSON_PrintUnformatted(row);
        printf("    %.600s\n", line ? line : "?");
        free(line);
    }
    cJSON_Delete(rows);
}

static void show_journal(void) {
    if (!running) return;
    show_rows("not finished:", "select id, target, status, retry_count, last_failure from sys_invocation "
                               "where status != 'completed' limit 5");
    if (!last_id[0])
        snprintf(last_id, sizeof last_id, "%s", query_text("id", "select id from sys_invocation where status != 'completed' limit 1"));
    if (!last_id[0]) return;
    show_rows(text("journal of %s:", last_id),
              text("select index, entry_type, name, entry_json from sys_journal where id = '%s' order by index limit 40", last_id));
    show_rows("its events:", text("select event_json from sys_journal_events where id = '%s' limit 5", last_id));
}

/* ---- Endpoints ------------------------------------------------------------------------------------------ */

typedef struct endpoint {
    const char *program;        /* below E2E_BIN */
    const char *log;
    pid_t pid;                  /* 0: not running */
    int port;                   /* stays the same over restarts */
    const mode *known;          /* where it is registered */
    long log_checked;           /* how far its log has been looked through */
} endpoint;

static endpoint greeter = { .program = "examples/greeter", .log = LOGS "/greeter.log" };
static endpoint counter = { .program = "examples/counter", .log = LOGS "/counter.log" };
static endpoint approval = { .program = "examples/approval", .log = LOGS "/approval.log" };
static endpoint services = { .program = "e2e-services", .log = LOGS "/services.log" };
static endpoint *const endpoints[] = { &greeter, &counter, &approval, &services, NULL };

static int free_port(void) {
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = bind(s, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(s, (struct sockaddr *)&a, &len) == 0;
    close(s);
    return ok ? ntohs(a.sin_port) : 0;
}

static bool listens(int port) {
    struct sockaddr_in a;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)port);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    bool yes = connect(s, (struct sockaddr *)&a, sizeof a) == 0;
    close(s);
    return yes;
}

/* In the child. */
static void become(const endpoint *e, const char *path) {
    static char wrap[1024];
    char *words[32];
    int n = 0, log = open(e->log, O_WRONLY | O_CREAT | O_APPEND, 0666);
    dup2(log, 1);
    dup2(log, 2);
    close(log);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setenv("PORT", text("%d", e->port), 1);
    setenv("TRACE", LOGS "/trace", 1);
    snprintf(wrap, sizeof wrap, "%s", env("E2E_WRAP", ""));
    for (char *w = strtok(wrap, " "); w && n < 30; w = strtok(NULL, " ")) words[n++] = w;
    words[n++] = (char *)(uintptr_t)path;
    words[n] = NULL;
    execvp(words[0], words);
    _exit(127);
}

static bool endpoint_start(endpoint *e) {
    const char *path = text("%s/%s", env("E2E_BIN", "build"), e->program);
    if (e->pid) return true;
    if (access(path, X_OK) != 0) {
        printf("  there is no %s\n", path);
        return false;
    }
    if (!e->port) e->port = free_port();
    fflush(stdout);
    e->pid = fork();
    if (e->pid == 0) become(e, path);
    for (double end = now() + 30; now() < end; pause_ms(10)) {
        if (waitpid(e->pid, NULL, WNOHANG) != 0) break;
        if (listens(e->port)) return true;
    }
    printf("  %s does not listen on port %d, see %s\n", path, e->port, e->log);
    kill(e->pid, SIGKILL);
    waitpid(e->pid, NULL, 0);
    e->pid = 0;
    return false;
}

static void endpoint_kill(endpoint *e) {
    if (!e->pid) return;
    kill(e->pid, SIGKILL);
    waitpid(e->pid, NULL, 0);
    e->pid = 0;
}

/* Asks it to stop. The exit status, where sanitizers and valgrind say what they think; -1: killed. */
static int endpoint_stop(endpoint *e) {
    int status = 0;
    if (!e->pid) return -1;
    kill(e->pid, SIGTERM);
    for (double end = now() + 30; now() < end; pause_ms(10))
        if (waitpid(e->pid, &status, WNOHANG) == e->pid) {
            e->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        }
    endpoint_kill(e);
    return -1;
}

static bool endpoint_register(endpoint *e) {
    static reply r;
    if (!endpoint_start(e)) return false;
    if (e->known == running) return true;
    http(&r, "POST", text("%s/deployments", admin), text("{\"uri\":\"http://127.0.0.1:%d\",\"force\":true}", e->port));
    if (r.status != 201 && r.status != 200) {
        printf("  registering %s: %ld %.400s\n", e->program, r.status, r.body);
        return false;
    }
    e->known = running;
    return true;
}

/* Whether it is still there, and what has come into its log that no log should have. */
static void endpoint_check(endpoint *e) {
    static const char *const bad[] = { "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
        "WARNING: ThreadSanitizer", "== Invalid ", "uninitialised value", "definitely lost: ", "Assertion", NULL };
    char line[1024];
    if (e->pid && waitpid(e->pid, NULL, WNOHANG) != 0) {
        e->pid = 0;
        test_failures++;
        printf("  %s has ended by itself, see %s\n", e->program, e->log);
    }
    FILE *log = fopen(e->log, "r");
    if (!log) return;
    fseek(log, e->log_checked, SEEK_SET);
    while (fgets(line, sizeof line, log))
        for (int i = 0; bad[i]; i++)
            if (strstr(line, bad[i])) {
                test_failures++;
                printf("  %s: %.200s", e->log, line);
            }
    e->log_checked = ftell(log);
    fclose(log);
}

/* Resident memory in KiB. */
static long memory_of(const endpoint *e) {
    char line[256];
    long kib = 0;
    FILE *f = fopen(text("/proc/%ld/status", (long)e->pid), "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "VmRSS: %ld", &kib);
    if (f) fclose(f);
    return kib;
}

/* ---- Invocations ------------------------------------------------------------------------------------------ */

static void keep_id(const char *id) {
    if (id[0]) snprintf(last_id, sizeof last_id, "%s", id);
}

static void call(reply *r, const char *path, const char *body) {
    http(r, "POST", text("%s%s", ingress, path), body);
    keep_id(r->id);
}

/* Starts one and gives its id; "" if that failed. */
static word start_call(const char *path, const char *body) {
    static reply r;
    http(&r, "POST", text("%s%s/send", ingress, path), body);
    cJSON *answer = cJSON_Parse(r.body);
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItem(answer, "invocationId"));
    word n = make_word("%s", id ? id : "");
    if (!id) printf("  sending to %s: %ld %.300s\n", path, r.status, r.body);
    cJSON_Delete(answer);
    keep_id(n.s);
    return n;
}

static void attach(reply *r, const char *id) {
    keep_id(id);
    http(r, "GET", text("%s/restate/invocation/%s/attach", ingress, id), NULL);
}

/* Many calls, at most `parallel` at a time. `make` writes path and body of call i; `good` judges. */
typedef struct batch {
    size_t count, parallel;
    void (*make)(size_t i, char path[256], char body[256]);
    bool (*good)(size_t i, const reply *r);
} batch;

typedef struct slot {
    CURL *curl;
    size_t i;
    char path[256], body[256];
    reply r;
} slot;

static void slot_start(CURLM *multi, const batch *b, slot *s, size_t i) {
    s->i = i;
    s->path[0] = s->body[0] = 0;
    b->make(i, s->path, s->body);
    prepare(s->curl, &s->r, "POST", text("%s%s", ingress, s->path), s->body);
    curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
    curl_multi_add_handle(multi, s->curl);
}

static void slot_judge(const batch *b, slot *s) {
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &s->r.status);
    if (b->good(s->i, &s->r)) return;
    if (test_failures++ < 5) printf("  call %zu of %zu, %s %s: %ld %.300s\n", s->i, b->count, s->path, s->body, s->r.status, s->r.body);
    keep_id(s->r.id);
}

static void run_batch(const batch *b) {
    CURLM *multi = curl_multi_init();
    size_t slots = b->parallel < b->count ? b->parallel : b->count, next = 0, left = b->count;
    slot *all = (slot *)calloc(slots, sizeof *all);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)slots);
    for (size_t i = 0; i < slots; i++) {
        all[i].curl = curl_easy_init();
        slot_start(multi, b, &all[i], next++);
    }
    while (left > 0) {
        int active, queued;
        CURLMsg *m;
        curl_multi_perform(multi, &active);
        while ((m = curl_multi_info_read(multi, &queued)) != NULL) {
            char *user;
            if (m->msg != CURLMSG_DONE) continue;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &user);
            slot *s = (slot *)(void *)user;
            slot_judge(b, s);
            curl_multi_remove_handle(multi, s->curl);
            left--;
            if (next < b->count) slot_start(multi, b, s, next++);
        }
        if (left > 0) curl_multi_poll(multi, NULL, 0, 100, NULL);
    }
    for (size_t i = 0; i < slots; i++) curl_easy_cleanup(all[i].curl);
    curl_multi_cleanup(multi);
    free(all);
}

static size_t scaled(size_t n) {
    size_t per_cent = (size_t)atoi(env("E2E_SCALE", "100"));
    return n * per_cent / 100 > 0 ? n * per_cent / 100 : 1;
}

/* ---- Cases: the examples ------------------------------------------------------------------------------- */

static void greeter_case(void) {
    static reply r;
    if (!endpoint_register(&greeter)) { test_failures++; return; }
    call(&r, "/Greeter/greet", "{\"name\":\"Ada\",\"sleepMillis\":20}");
    CHECK_INT(r.status, 200);
    CHECK_HAS(r.body, "Ada");
    call(&r, "/Greeter/greet", "{\"name\":5}");     /* not a name: fails for good */
    CHECK_INT(r.status, 400);
    call(&r, "/Greeter/nobody", "{}");
    CHECK_INT(r.status, 404);
}

enum { COUNTER_KEYS = 8, COUNTER_ADDS = 25 };
static const char *counter_key(size_t i) { return text("%s-%zu", running->name, i % COUNTER_KEYS); }

static void make_add(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, "/Counter/%s/add", counter_key(i));
    snprintf(body, 256, "1");
}
static bool good_add(size_t i, const reply *r) {
    (void)i;
    return r->status == 200;
}

static void counter_case(void) {
    static const batch adds = { COUNTER_KEYS * COUNTER_ADDS, 32, make_add, good_add };
    static reply r;
    if (!endpoint_register(&counter)) { test_failures++; return; }
    run_batch(&adds);
    for (size_t i = 0; i < COUNTER_KEYS; i++) {
        test_note = counter_key(i);
        call(&r, text("/Counter/%s/get", counter_key(i)), NULL);
        CHECK_INT(r.status, 200);
        CHECK_INT(atoll(r.body), COUNTER_ADDS);
    }
    test_note = "";
    call(&r, text("/Counter/%s/reset", counter_key(0)), NULL);
    CHECK_INT(r.status, 200);
    call(&r, text("/Counter/%s/get", counter_key(0)), NULL);
    CHECK_STR(r.body, "0");
}

/* The id that the example prints; it follows "sign_1" or, from older servers, "prom_1". */
static word printed_awakeable(const endpoint *e, long from) {
    char line[1024];
    word found = make_word("");
    FILE *log = fopen(e->log, "r");
    if (log) fseek(log, from, SEEK_SET);
    while (log && !found.s[0] && fgets(line, sizeof line, log)) {
        char *id = strstr(line, "sign_1");
        if (!id) id = strstr(line, "prom_1");
        if (id) found = make_word("%.*s", (int)strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"), id);
    }
    if (log) fclose(log);
    return found;
}

static void approval_case(void) {
    static reply r;
    struct stat before;
    word awakeable = make_word(""), id;
    if (!endpoint_register(&approval)) { test_failures++; return; }
    stat(approval.log, &before);
    id = start_call("/Approvals/approve", "{\"what\":\"a holiday\"}");
    for (double end = now() + 20; !awakeable.s[0] && now() < end; pause_ms(20))
        awakeable = printed_awakeable(&approval, (long)before.st_size);
    CHECK(awakeable.s[0] != 0);
    if (!awakeable.s[0]) return;
    http(&r, "POST", text("%s/restate/awakeables/%s/resolve", ingress, awakeable.s), "{\"approved\":true}");
    CHECK_INT(r.status, 202);
    attach(&r, id.s);
    CHECK_INT(r.status, 200);
    CHECK_HAS(r.body, "true");
}

/* ---- Cases: our services -------------------------------------------------------------------------------- */

static void chain_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    const char *path = text("/Order/%s/place", running->name);
    for (int i = 1; i <= 3; i++) {
        call(&r, path, "{\"amount\":21}");
        CHECK_INT(r.status, 200);
        CHECK_STR(r.body, text("{\"customer\": \"%s\", \"reserved\": 7, \"total\": %d}", running->name, 42 * i));
    }
    call(&r, path, "{\"amount\":-1}");              /* the failure comes up through the callers */
    CHECK_INT(r.status, 422);
    CHECK_HAS(r.body, "no order of -1");
    call(&r, text("/Tally/%s/get", running->name), NULL);
    CHECK_STR(r.body, "63");
}

static void delayed_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word key = make_word("later-%s", running->name);
    call(&r, "/Later/add", text("{\"key\":\"%s\",\"delayMillis\":1500}", key.s));
    CHECK_INT(r.status, 200);
    CHECK_HAS(r.body, "\"inv_");
    word id = make_word("%.*s", (int)strcspn(r.body + 1, "\""), r.body + 1);
    double sent = now();
    call(&r, text("/Tally/%s/get", key.s), NULL);
    CHECK_STR(r.body, "0");
    attach(&r, id.s);
    CHECK_INT(r.status, 200);
    CHECK_STR(r.body, "1");
    CHECK(now() - sent > 1.0 && now() - sent < 15);
}

/* The id of the awakeable that Gate `key` waits for, out of its state. */
static word gate_awakeable(word key) {
    for (double end = now() + 20; now() < end; pause_ms(20)) {
        const char *value = query_text("value_utf8", text("select value_utf8 from state where service_name = 'Gate' "
                                                          "and service_key = '%s' and key = 'awakeable'", key.s));
        if (value[0] == '"') return make_word("%.*s", (int)strcspn(value + 1, "\""), value + 1);
    }
    return make_word("");
}

static void awakeable_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word key = make_word("opens-%s", running->name), id = start_call(text("/Gate/%s/wait", key.s), NULL);
    http(&r, "POST", text("%s/restate/awakeables/%s/resolve", ingress, gate_awakeable(key).s), "{\"by\": \"Ada\"}");
    CHECK_INT(r.status, 202);
    attach(&r, id.s);
    CHECK_INT(r.status, 200);
    CHECK_STR(r.body, "{\"by\": \"Ada\"}");

    key = make_word("stays-shut-%s", running->name);
    id = start_call(text("/Gate/%s/wait", key.s), NULL);
    http(&r, "POST", text("%s/restate/awakeables/%s/reject", ingress, gate_awakeable(key).s), "no key");
    CHECK_INT(r.status, 202);
    attach(&r, id.s);
    CHECK_INT(r.status, 500);
    CHECK_HAS(r.body, "no key");
}

static void flaky_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    call(&r, text("/Worker/flaky-%s/flaky", running->name), "3");
    CHECK_INT(r.status, 200);
    CHECK_STR(r.body, "4");
    call(&r, text("/Worker/flaky-%s/hopeless", running->name), "3");
    CHECK_INT(r.status, 500);
    CHECK_HAS(r.body, "still raining");
}

static void cancel_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word id = start_call("/Load/nap", "3600000");
    for (double end = now() + 20; now() < end; pause_ms(20))
        if (query_number("c", text("select count(*) c from sys_journal where id = '%s' and entry_type = 'Command: Sleep'", id.s)) > 0)
            break;
    http(&r, "PATCH", text("%s/invocations/%s/cancel", admin, id.s), NULL);
    CHECK_INT(r.status, 202);
    attach(&r, id.s);
    CHECK_INT(r.status, 409);
}

static void make_block(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, "/Block/nap");
    snprintf(body, 256, "%zu", 100 + i);
}
static bool good_block(size_t i, const reply *r) {
    return r->status == 200 && strcmp(r->body, text("%zu", 101 + i)) == 0;
}

/* Handlers that block do so side by side. */
static void blocking_case(void) {
    static const batch naps = { 20, 20, make_block, good_block };
    if (!endpoint_register(&services)) { test_failures++; return; }
    double start = now();
    run_batch(&naps);
    CHECK(now() - start < 20 * 0.2);
}

/* ---- Case: the endpoint is killed in the middle ---------------------------------------------------------- */

enum { CRASH_KEYS = 6, CRASH_STEPS = 8 };

/* How often step `number` of `key` was executed. */
static int executions(const char *key, int number) {
    char line[256];
    const char *wanted = text("%s %d\n", key, number);
    int n = 0;
    FILE *trace = fopen(LOGS "/trace", "r");
    while (trace && fgets(line, sizeof line, trace)) n += strcmp(line, wanted) == 0;
    if (trace) fclose(trace);
    return n;
}

/* Results of runs that the server has stored: of one invocation, or ("%") of all of Worker. */
static long long recorded_runs(const char *id) {
    return query_number("c", text("select count(*) c from sys_journal where id like '%s' and entry_type like 'Notification: Run%%' "
                                  "and id in (select id from sys_invocation where target_handler_name = 'work')", id));
}

static void crash_case(void) {
    static reply r;
    word ids[CRASH_KEYS], keys[CRASH_KEYS];
    long long recorded[CRASH_KEYS];
    if (!endpoint_register(&services)) { test_failures++; return; }
    for (int i = 0; i < CRASH_KEYS; i++) {
        keys[i] = make_word("crash-%s-%d", running->name, i);
        ids[i] = start_call(text("/Worker/%s/work", keys[i].s), text("{\"steps\":%d,\"pauseMillis\":60}", CRASH_STEPS));
    }
    for (double end = now() + 30; now() < end; pause_ms(10))
        if (recorded_runs("%") >= CRASH_KEYS * CRASH_STEPS / 4) break;
    endpoint_kill(&services);
    for (int i = 0; i < CRASH_KEYS; i++) recorded[i] = recorded_runs(ids[i].s);
    CHECK_INT(query_number("c", text("select count(*) c from sys_invocation where id = '%s' and status = 'completed'", ids[0].s)), 0);
    CHECK(endpoint_start(&services));
    for (int i = 0; i < CRASH_KEYS; i++) {
        attach(&r, ids[i].s);
        test_note = keys[i].s;
        CHECK_INT(r.status, 200);
        CHECK_INT(atoll(r.body), CRASH_STEPS);
        for (int step = 0; step < CRASH_STEPS; step++) {
            int n = executions(keys[i].s, step);
            test_note = text("step %d of %s, %lld were recorded at the crash", step, keys[i].s, recorded[i]);
            CHECK(step < recorded[i] ? n == 1 : n == 1 || n == 2);
        }
    }
    test_note = "";
}

/* ---- Case: the server is killed in the middle ------------------------------------------------------------- */

static void restart_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word key = make_word("restart-%s", running->name);
    word id = start_call(text("/Worker/%s/work", key.s), text("{\"steps\":%d,\"pauseMillis\":60}", CRASH_STEPS));
    for (double end = now() + 20; now() < end; pause_ms(10))
        if (recorded_runs(id.s) >= CRASH_STEPS / 2) break;
    long long recorded = recorded_runs(id.s);
    CHECK_INT(system(text("tests/server.sh kill --base %s", server_dir)), 0);
    CHECK_INT(system(text("tests/server.sh restart --base %s --owner %ld >/dev/null", server_dir, (long)getpid())), 0);
    attach(&r, id.s);
    CHECK_INT(r.status, 200);
    CHECK_INT(atoll(r.body), CRASH_STEPS);
    for (int step = 0; step < CRASH_STEPS; step++) {
        int n = executions(key.s, step);
        test_note = text("step %d of %s, %lld were recorded at the crash", step, key.s, recorded);
        CHECK(step < recorded ? n == 1 : n == 1 || n == 2);
    }
    test_note = "";
}

/* ---- Case: load ------------------------------------------------------------------------------------------- */

static void make_next(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, i % 2 ? "/Load/step" : "/Load/next");
    snprintf(body, 256, "%zu", i);
}
static bool good_next(size_t i, const reply *r) {
    return r->status == 200 && strcmp(r->body, text("%zu", i + 1)) == 0;
}
static void make_nap(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, "/Load/nap");
    snprintf(body, 256, "%zu", 500 + i % 100);
}
static bool good_nap(size_t i, const reply *r) {
    return r->status == 200 && strcmp(r->body, text("%zu", 500 + i % 100)) == 0;
}

/* Memory is compared half-way and after all of them: by then the pools have what they keep. */
static void load_case(void) {
    bool whole = running == &modes[DEFAULT];
    size_t half = scaled(whole ? 5000 : 500);
    batch calls = { half, 8, make_next, good_next };
    batch naps = { scaled(500), scaled(500), make_nap, good_nap };
    if (!endpoint_register(&services)) { test_failures++; return; }
    double start = now();
    run_batch(&naps);
    double napped = now() - start;
    run_batch(&calls);
    long before = memory_of(&services);
    start = now();
    run_batch(&calls);
    double seconds = now() - start;
    long after = memory_of(&services);
    printf("  %s: %zu calls over 8 connections, %.0f/s; %zu at a time in %.1f s; memory %ld KiB, then %ld\n",
           running->name, 2 * half, (double)half / seconds, naps.count, napped, before, after);
    if (scaled(100) >= 100) CHECK(after - before < 2048);
    CHECK_INT(endpoint_stop(&services), 0);         /* and no leaks, if somebody looks for them */
}

/* ---- Every case in every mode -------------------------------------------------------------------------------- */

static const char *case_name = "";

/* Async-signal-safe. The server goes by itself, soon after us. */
static void give_up(int number) {
    static const char message[] = ": stuck, or interrupted; giving up\n";
    (void)number;
    for (int i = 0; endpoints[i]; i++)
        if (endpoints[i]->pid) kill(endpoints[i]->pid, SIGKILL);
    if (write(1, case_name, strlen(case_name)) < 0 || write(1, message, sizeof message - 1) < 0) _exit(2);
    _exit(1);
}

static void in_mode(const mode *m, const char *name, void (*run)(void)) {
    case_name = name;
    alarm(CASE_SECONDS);
    last_id[0] = 0;
    double start = now();
    if (running != m && !server_start(m)) {
        test_failures++;
        printf("  no server\n");
    } else {
        run();
    }
    if (test_failures) show_journal();
    for (int i = 0; endpoints[i]; i++) endpoint_check(endpoints[i]);
    alarm(0);
    printf("  %s %s, %.1f s\n", name, test_failures ? "failed" : "passed", now() - start);
}

#define CASES(X, MODE, m) \
    X(MODE, m, greeter) X(MODE, m, counter) X(MODE, m, approval) X(MODE, m, chain) X(MODE, m, delayed) \
    X(MODE, m, awakeable) X(MODE, m, flaky) X(MODE, m, cancel) X(MODE, m, blocking) \
    X(MODE, m, crash) X(MODE, m, restart) X(MODE, m, load)
#define DEFINE(MODE, m, name) \
    static void test_##m##_##name(void) { in_mode(&modes[MODE], #m "_" #name, name##_case); }
#define LIST(MODE, m, name) { #m "_" #name, test_##m##_##name },

CASES(DEFINE, DEFAULT, default)
CASES(DEFINE, SUSPEND, suspend)
CASES(DEFINE, LAZY, lazy)
CASES(DEFINE, V7, v7)

static const test_case every[] = {
    CASES(LIST, DEFAULT, default) CASES(LIST, SUSPEND, suspend) CASES(LIST, LAZY, lazy) CASES(LIST, V7, v7)
};

static bool mode_wanted(const char *name) {
    const char *list = env("E2E_MODES", "default,suspend,lazy,v7");
    size_t len = strcspn(name, "_");
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == len && strncmp(p, name, len) == 0) return true;
    return false;
}

int main(int argc, char **argv) {
    static test_case wanted[sizeof every / sizeof every[0] + 1];
    size_t n = 0;
    if (access("tests/server.sh", X_OK) != 0) {
        printf("start it in the project's directory\n");
        return 2;
    }
    if (getenv("E2E_NAME")) argv[0] = getenv("E2E_NAME");
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++)
        if (mode_wanted(every[i].name)) wanted[n++] = every[i];
    mkdir(LOGS, 0777);
    for (int i = 0; endpoints[i]; i++) unlink(endpoints[i]->log);
    unlink(LOGS "/trace");
    signal(SIGALRM, give_up);
    signal(SIGINT, give_up);
    signal(SIGTERM, give_up);
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_ALL);
    json_headers = curl_slist_append(NULL, "content-type: application/json");
    json_headers = curl_slist_append(json_headers, "accept: application/json");
    plain_headers = curl_slist_append(NULL, "content-type:");
    int failed = test_main(argc, argv, wanted);
    for (int i = 0; endpoints[i]; i++) endpoint_kill(endpoints[i]);
    server_stop();
    return failed;
}
