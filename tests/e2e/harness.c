/* What the drivers of the end-to-end tests have in common: servers, endpoints, invocations, and the
 * loop over modes and cases. A driver includes this file, so that it is one program with
 * one count of failures, and is:
 *
 *     build/DRIVER [-v] [PART-OF-A-NAME ...]      from the project's directory; names are MODE_CASE
 *
 * Environment:
 *   E2E_MODES    some of default,suspend,lazy,v7,single,cluster; how the server is set up:
 *                suspend: every wait ends the attempt; lazy: state is not sent along; v7: protocol 7;
 *                single: one partition, one thread; cluster: three nodes
 *   E2E_BUT      modes to leave out
 *   E2E_SMOKE    set: only the cases of the first look
 *   E2E_BIN      where the endpoints are (build); build/asan for those with sanitizers
 *   E2E_WRAP     words to put before an endpoint, such as "valgrind -q --error-exitcode=9"
 *   E2E_SCALE    per cent of the load (100); below 100 memory is not judged
 *   E2E_NAME     what to call itself in the last line
 * THREADS, ASAN_OPTIONS and so on are passed on to endpoints. What they print is in build/e2e-logs/NAME, where
 * NAME is what the driver calls itself: drivers of different names can run at the same time.
 *
 * When a case fails, or hangs, what the server's journal has of its invocation is printed. */
#ifndef HARNESS_C
#define HARNESS_C

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

#define CASE_SECONDS 120        /* a case that gets no answer for longer, at a greater scale so much more, has hung */
#define PATIENCE 90             /* seconds that an event may take; how fast a machine under load is says nothing */
#define PATIENTLY(ms) for (double until_ = now() + PATIENCE; now() < until_; pause_ms(ms))
#define LOGS "build/e2e-logs"    /* below it, a directory for each name of a driver */

static const char *env(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

typedef struct reply reply;
typedef struct batch batch;

/* A driver that has the server in itself puts these in the place of HTTP, of servers and of endpoints
 * (memory.c); NULL: real ones. `headers` ends with NULL. */
typedef struct carrier {
    double (*now)(void);
    void (*pause_ms)(long ms);
    void (*request)(reply *r, const char *method, const char *url, const char *type,
                    const char *body, size_t len, const char *const *headers);
    void (*run_batch)(const batch *b);
    bool (*server)(const char *mode);       /* begins anew */
    long long (*commands)(const char *id, const char *type);    /* of a journal */
    struct cJSON *(*query)(const char *sql);
    void (*show)(void);                     /* what there is, when a case failed */
} carrier;
static const carrier *carried;

static inline double now(void) {
    struct timespec t;
    if (carried) return carried->now();
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* How long something took is judged by the clock of the runtime for tests, which moves for timers only. In real time
 * others use the processor, too. */
static inline bool took_at_most(double start, double seconds) { return !carried || now() - start <= seconds; }

static inline void pause_ms(long ms) {
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    if (carried) carried->pause_ms(ms);
    else nanosleep(&t, NULL);
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

static inline word make_word(const char *format, ...) {
    word n;
    va_list args;
    va_start(args, format);
    vsnprintf(n.s, sizeof n.s, format, args);
    va_end(args);
    return n;
}

static char logs[128];          /* the directory of this driver's logs */

static inline size_t scaled(size_t n) {
    size_t per_cent = (size_t)atoi(env("E2E_SCALE", "100"));
    return n * per_cent / 100 > 0 ? n * per_cent / 100 : 1;
}

/* An answer came, so the case goes on, and has as much time again. */
static inline void progress(void) {
    alarm((unsigned)scaled(CASE_SECONDS) > CASE_SECONDS ? (unsigned)scaled(CASE_SECONDS) : CASE_SECONDS);
}

/* ---- HTTP ------------------------------------------------------------------------------------------ */

struct reply {
    long status;                /* 0: no answer */
    char id[64];                /* of the invocation */
    char type[64];              /* of the content */
    size_t len;
    char body[16384];           /* cut there */
};

static inline size_t take_body(char *data, size_t size, size_t count, void *user) {
    reply *r = (reply *)user;
    size_t room = sizeof r->body - 1 - r->len, n = size * count < room ? size * count : room;
    memcpy(r->body + r->len, data, n);
    r->len += n;
    r->body[r->len] = 0;
    return size * count;
}

/* The value of the header line, if it is that header. */
static inline void header_value(const char *line, size_t n, const char *name, char *to, size_t room) {
    size_t from = strlen(name);
    if (n <= from || strncmp(line, name, from) != 0) return;
    while (n > from && (line[n - 1] == '\r' || line[n - 1] == '\n')) n--;
    if (n - from >= room) return;
    memcpy(to, line + from, n - from);
    to[n - from] = 0;
}

static inline size_t take_header(char *data, size_t size, size_t count, void *user) {
    reply *r = (reply *)user;
    header_value(data, size * count, "x-restate-id: ", r->id, sizeof r->id);
    header_value(data, size * count, "content-type: ", r->type, sizeof r->type);
    return size * count;
}

static long request_seconds = 60;
static struct curl_slist *json_headers;
static struct curl_slist *plain_headers;        /* curl's own content type taken out */

/* `body` NULL: none. It has to stay as it is until the transfer is over. */
static inline void prepare(CURL *curl, reply *r, const char *method, const char *url, const char *body) {
    memset(r, 0, offsetof(reply, body) + 1);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, request_seconds);
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

static inline void perform(CURL *curl, reply *r, const char *url) {
    char *type = NULL;
    CURLcode e = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    snprintf(r->type, sizeof r->type, "%s", type ? type : "");
    if (e == CURLE_OK) progress();
    else snprintf(r->body, sizeof r->body, "%s: %s", url, curl_easy_strerror(e));
}

static CURL *requester;                     /* of http() and http_with() */

static inline void http(reply *r, const char *method, const char *url, const char *body) {
    if (carried) {
        carried->request(r, method, url, body ? "application/json" : NULL, body, body ? strlen(body) : 0, NULL);
        return;
    }
    if (!requester) requester = curl_easy_init();
    prepare(requester, r, method, url, body);
    perform(requester, r, url);
}

/* The same with more headers, a list that ends with NULL. */
static inline void http_with(reply *r, const char *method, const char *url, const char *body,
                             const char *const *headers) {
    if (carried) {
        carried->request(r, method, url, body ? "application/json" : NULL, body, body ? strlen(body) : 0, headers);
        return;
    }
    struct curl_slist *all = curl_slist_append(NULL, body ? "content-type: application/json" : "content-type:");
    if (!requester) requester = curl_easy_init();
    for (; *headers; headers++) all = curl_slist_append(all, *headers);
    prepare(requester, r, method, url, body);
    curl_easy_setopt(requester, CURLOPT_HTTPHEADER, all);
    perform(requester, r, url);
    curl_slist_free_all(all);
}

/* In a process that the driver has forked: it ends with the driver, and does not share its connections. */
static inline void child_of_driver(void) {
    signal(SIGALRM, SIG_IGN);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    requester = NULL;
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

/* The same with a body that is not JSON, and may hold zero bytes. */
static inline void post_bytes(reply *r, const char *url, const char *type, const char *body, size_t len) {
    static CURL *curl;
    if (carried) {
        carried->request(r, "POST", url, type, body, len, NULL);
        return;
    }
    struct curl_slist *headers = curl_slist_append(NULL, text("content-type: %s", type));
    if (!curl) curl = curl_easy_init();
    prepare(curl, r, "POST", url, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)len);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    perform(curl, r, url);
    curl_slist_free_all(headers);
}

/* ---- Servers and modes -------------------------------------------------------------------------------- */

typedef struct mode {
    const char *name;
    const char *options;        /* of tests/server.sh */
} mode;

enum { DEFAULT, SUSPEND, LAZY, V7, SINGLE, CLUSTER, MODES };
static const mode modes[MODES] = {
    { "default", "" },
    { "suspend", "--suspend" },
    { "lazy", "--lazy-state" },
    /* Scopes are the concern of the virtual queues, which are behind a switch of their own. */
    { "v7", "--v7 --set RESTATE_EXPERIMENTAL_ENABLE_VQUEUES=true" },
    { "single", "--partitions 1 --set RESTATE_DEFAULT_THREAD_POOL_SIZE=1" },
    { "cluster", "--nodes 3 --partitions 4" },
};

static unsigned generation;                 /* how many servers there have been */

enum { NODES = 3 };
typedef struct node {
    char base[96], ingress[128], admin[128];
} node;

static const mode *running;                 /* the mode of the server that is up; NULL: none */
static bool special;                        /* it has settings of one case */
static char server_dir[64], ingress[128], admin[128];
static node nodes[NODES];                   /* of a cluster */
static char last_id[128];                   /* of the invocation to show when a case fails: the last */
static char bad_id[128];                    /* or the first whose result is wrong */

/* Whether the server is of that version or a later one; what earlier ones say of errors differs. */
static int server_version;                  /* 1.7.12 is 10712 */
static inline bool server_since(int version) { return carried || server_version >= version; }

static inline void learn_version(void) {
    static reply r;
    int major = 0, minor = 0, patch = 0;
    http(&r, "GET", text("%s/version", admin), NULL);
    const char *at = strstr(r.body, "\"version\":\"");
    if (at) sscanf(at + 11, "%d.%d.%d", &major, &minor, &patch);
    server_version = major * 10000 + minor * 100 + patch;
}

static inline void server_stop(void) {
    if (!running) return;
    running = NULL;
    if (!carried && system(text("tests/server.sh stop --base %s", server_dir)) != 0) printf("the server does not stop\n");
}

/* Below the range that outgoing connections take theirs from: what is killed and started again wants
 * the same port, and would sometimes find a connection there. */
static inline int free_port(void) {
    static unsigned seed;
    struct sockaddr_in a;
    bool ok = false;
    if (!seed) seed = (unsigned)getpid() * 2654435761u + (unsigned)time(NULL);
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 1000 && !ok; i++) {
        seed = seed * 1103515245u + 12345u;
        a.sin_port = htons((uint16_t)(10240 + (seed >> 8) % 22000));
        int s = socket(AF_INET, SOCK_STREAM, 0);
        ok = bind(s, (struct sockaddr *)&a, sizeof a) == 0;
        close(s);
    }
    return ok ? ntohs(a.sin_port) : 0;
}

/* Takes an address that server.sh has printed, or keeps in its state. */
static inline void take_address(const char *line, char to_ingress[128], char to_admin[128]) {
    sscanf(line, "INGRESS=%127s", to_ingress);
    sscanf(line, "ADMIN=%127s", to_admin);
}

static inline void learn_nodes(void) {
    char line[256];
    for (int i = 0; i < NODES; i++) {
        snprintf(nodes[i].base, sizeof nodes[i].base, "%s/n%d", server_dir, i + 1);
        FILE *state = fopen(text("%s/state", nodes[i].base), "r");
        while (state && fgets(line, sizeof line, state)) take_address(line, nodes[i].ingress, nodes[i].admin);
        if (state) fclose(state);
    }
}

/* The node of a cluster that is talked to from here on. */
static inline void use_node(int i) {
    snprintf(ingress, sizeof ingress, "%s", nodes[i].ingress);
    snprintf(admin, sizeof admin, "%s", nodes[i].admin);
}

/* With more options of tests/server.sh than the mode's. It ends with this process (--owner). */
static inline bool server_start_with(const mode *m, const char *more) {
    char line[256];
    if (carried) {
        running = m;
        return !more[0] && carried->server(m->name);
    }
    const char *ports = m == &modes[CLUSTER] ? "" : text("--ingress-port %d --admin-port %d --node-port %d", free_port(), free_port(), free_port());
    server_stop();
    snprintf(server_dir, sizeof server_dir, "%s/e2e.%ld.%s", env("TMPDIR", "/tmp"), (long)getpid(), m->name);
    FILE *out = popen(text("tests/server.sh start --base %s --owner %ld %s %s %s", server_dir, (long)getpid(), ports, m->options, more), "r");
    ingress[0] = admin[0] = 0;
    while (out && fgets(line, sizeof line, out)) take_address(line, ingress, admin);
    if (!out || pclose(out) != 0 || !ingress[0] || !admin[0]) return false;
    if (m == &modes[CLUSTER]) learn_nodes();
    learn_version();
    running = m;
    special = more[0] != 0;
    generation++;
    return true;
}

/* The server of this mode again, from nothing, with settings that only this case wants. */
static inline bool server_special(const char *more) {
    if (server_start_with(running, more)) return true;
    test_failures++;
    printf("  no server with %s\n", more);
    return false;
}

static inline bool server_command(const char *command, const char *base, const char *more) {
    return system(text("tests/server.sh %s --base %s %s >/dev/null", command, base, more)) == 0;
}
static inline void node_kill(int i) { CHECK(server_command("kill", nodes[i].base, "")); }
static inline void node_restart(int i) {
    CHECK(server_command("restart", nodes[i].base, text("--member --owner %ld", (long)getpid())));
}

/* Of a cluster, every node. */
static inline void server_kill(void) {
    if (running != &modes[CLUSTER]) CHECK(server_command("kill", server_dir, ""));
    else for (int i = 0; i < NODES; i++) node_kill(i);
}

/* Stops it first, if it runs. The nodes of a cluster all at once: none is ready before a majority is. */
static inline void server_restart(void) {
    const char *one = text("tests/server.sh restart --owner %ld >/dev/null --base %s", (long)getpid(), server_dir);
    if (running != &modes[CLUSTER]) CHECK(system(one) == 0);
    else
        CHECK(system(text("%s/n1 --member & a=$!; %s/n2 --member & b=$!; %s/n3 --member; c=$?; "
                          "wait $a && wait $b && exit $c", one, one, one)) == 0);
}

/* Rows as cJSON; the caller deletes them. NULL: the query was refused. */
static inline cJSON *query(const char *sql) {
    static reply r;
    if (carried) return carried->query(sql);
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "query", sql);
    char *request = cJSON_PrintUnformatted(body);
    cJSON_Delete(body);
    const word url = make_word("%s/query", admin);
    /* A partition that moves between the nodes of a cluster cannot be asked, and the server says so; or
     * it asks a node that has begun anew, which knows nothing of its question. */
    PATIENTLY(50) {
        http(&r, "POST", url.s, request);
        if (r.status != 500 || (!strstr(r.body, "partition") && !strstr(r.body, "No such scanner"))) break;
    }
    free(request);
    cJSON *answer = r.status == 200 ? cJSON_Parse(r.body) : NULL;
    cJSON *rows = cJSON_DetachItemFromObject(answer, "rows");
    cJSON_Delete(answer);
    if (!rows) printf("  %ld for %s: %.300s\n", r.status, sql, r.body);
    return rows;
}

/* The value of the first column `name`; -1: none. */
static inline long long query_number(const char *name, const char *sql) {
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

static inline void show_rows(const char *what, const char *sql) {
    cJSON *rows = query(sql), *row;
    printf("  %s\n", what);
    cJSON_ArrayForEach(row, rows) {
        char *line = cJSON_PrintUnformatted(row);
        printf("    %.600s\n", line ? line : "?");
        free(line);
    }
    cJSON_Delete(rows);
}

static inline void show_journal(void) {
    if (!running) return;
    if (carried) {
        carried->show();
        return;
    }
    show_rows("not finished:", "select id, target, status, retry_count, last_failure from sys_invocation "
                               "where status != 'completed' limit 5");
    if (bad_id[0]) memcpy(last_id, bad_id, sizeof last_id);
    if (!last_id[0])
        snprintf(last_id, sizeof last_id, "%s", query_text("id", "select id from sys_invocation where status != 'completed' limit 1"));
    if (!last_id[0]) return;
    show_rows(text("journal of %s:", last_id),
              text("select index, entry_type, name, entry_json from sys_journal where id = '%s' order by index limit 40", last_id));
    show_rows("its events:", text("select event_json from sys_journal_events where id = '%s' limit 5", last_id));
}

/* Journals of invocations, as the check of journals reads them, into a file. `where` is of SQL. */
static inline bool fetch_journals(const char *where, const char *path) {
    static const char columns[] = "j.index, j.entry_type, j.raw, i.id, i.target_service_name, i.target_service_key, "
        "i.target_handler_name, i.pinned_service_protocol_version, i.created_at, i.restarted_from, i.scope, i.limit_key, "
        "i.idempotency_key";
    CURL *curl = curl_easy_init();
    FILE *f = fopen(path, "wb");
    long status = 0;
    const word url = make_word("%s/query", admin);
    const char *body = text("{\"query\": \"select %s from sys_journal j join sys_invocation i on i.id = j.id where %s "
                            "order by i.id, j.index\"}", columns, where);
    static reply unused;
    prepare(curl, &unused, "POST", url.s, body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, NULL);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
    if (f && curl_easy_perform(curl) == CURLE_OK) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (f) fclose(f);
    if (status != 200) printf("  %ld for the journals of %s\n", status, where);
    return status == 200;
}

/* What a program below E2E_BIN prints, and its exit status: "...; 1". `setting` is of its environment. */
static inline const char *said_by(const char *setting, const char *program, const char *arguments) {
    char said[1800] = "";
    FILE *out = popen(text("%s %s/%s %s", setting, env("E2E_BIN", "build"), program, arguments), "r");
    if (!out) return "nothing";
    said[fread(said, 1, sizeof said - 1, out)] = 0;
    int status = pclose(out);
    return text("%s; %d", said, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* ---- Endpoints ------------------------------------------------------------------------------------------ */

typedef struct endpoint {
    const char *program;        /* below E2E_BIN */
    const char *log;            /* its name in the directory of logs */
    pid_t pid;                  /* 0: not running */
    const char *settings[8];    /* more of its environment, NAME=VALUE */
    bool tls;
    int port;                   /* stays the same over restarts */
    unsigned known;             /* the server where it is registered */
    long log_checked;           /* how far its log has been looked through */
} endpoint;

static const char *log_of(const endpoint *e) { return text("%s/%s.log", logs, e->log); }

static endpoint *endpoints[64];             /* all that were started once, then NULL */

static inline bool listens(int port) {
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
static inline void become(const endpoint *e, const char *path) {
    static char wrap[1024];
    char *words[32];
    int n = 0, log = open(log_of(e), O_WRONLY | O_CREAT | O_APPEND, 0666);
    dup2(log, 1);
    dup2(log, 2);
    close(log);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setenv("PORT", text("%d", e->port), 1);
    setenv("TRACE", text("%s/trace", logs), 1);
    for (int i = 0; i < 8 && e->settings[i]; i++) putenv((char *)(uintptr_t)e->settings[i]);
    snprintf(wrap, sizeof wrap, "%s", env("E2E_WRAP", ""));
    for (char *w = strtok(wrap, " "); w && n < 30; w = strtok(NULL, " ")) words[n++] = w;
    words[n++] = (char *)(uintptr_t)path;
    words[n] = NULL;
    execvp(words[0], words);
    _exit(127);
}

/* Does not wait until it listens. */
static inline bool endpoint_launch(endpoint *e) {
    const char *path = text("%s/%s", env("E2E_BIN", "build"), e->program);
    if (access(path, X_OK) != 0) {
        printf("  there is no %s\n", path);
        return false;
    }
    if (!e->port) {
        int n = 0;
        e->port = free_port();
        while (endpoints[n]) n++;
        endpoints[n] = e;
        unlink(log_of(e));
    }
    fflush(stdout);
    e->pid = fork();
    if (e->pid == 0) become(e, path);
    return true;
}

static inline bool endpoint_start(endpoint *e) {
    if (carried || e->pid) return true;
    if (!endpoint_launch(e)) return false;
    PATIENTLY(10) {
        if (waitpid(e->pid, NULL, WNOHANG) != 0) break;
        if (listens(e->port)) return true;
    }
    printf("  %s does not listen on port %d, see %s\n", e->program, e->port, log_of(e));
    kill(e->pid, SIGKILL);
    waitpid(e->pid, NULL, 0);
    e->pid = 0;
    return false;
}

static inline void endpoint_kill(endpoint *e) {
    if (!e->pid) return;
    kill(e->pid, SIGKILL);
    waitpid(e->pid, NULL, 0);
    e->pid = 0;
}

/* Asks it to stop. The exit status, where sanitizers and valgrind say what they think; -1: killed. */
static inline int endpoint_stop(endpoint *e) {
    int status = 0;
    if (!e->pid) return -1;
    kill(e->pid, SIGTERM);
    PATIENTLY(10)
        if (waitpid(e->pid, &status, WNOHANG) == e->pid) {
            e->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        }
    endpoint_kill(e);
    return -1;
}

static inline bool register_port(const char *what, bool tls, int port) {
    static reply r;
    http(&r, "POST", text("%s/deployments", admin),
         text("{\"uri\":\"%s://127.0.0.1:%d\",\"force\":true}", tls ? "https" : "http", port));
    if (r.status == 201 || r.status == 200) return true;
    printf("  registering %s: %ld %.400s\n", what, r.status, r.body);
    return false;
}

static inline bool endpoint_register(endpoint *e) {
    if (!endpoint_start(e)) return false;
    if (carried || e->known == generation) return true;
    if (!register_port(e->program, e->tls, e->port)) return false;
    e->known = generation;
    return true;
}

/* Whether it is still there, and what has come into its log that no log should have. */
static inline void endpoint_check(endpoint *e) {
    static const char *const bad[] = { "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
        "WARNING: ThreadSanitizer", "== Invalid ", "uninitialised value", "definitely lost: ", "Assertion", NULL };
    char line[1024];
    if (e->pid && waitpid(e->pid, NULL, WNOHANG) != 0) {
        e->pid = 0;
        test_failures++;
        printf("  %s has ended by itself, see %s\n", e->program, log_of(e));
    }
    FILE *log = fopen(log_of(e), "r");
    if (!log) return;
    fseek(log, e->log_checked, SEEK_SET);
    while (fgets(line, sizeof line, log))
        for (int i = 0; bad[i]; i++)
            if (strstr(line, bad[i])) {
                test_failures++;
                printf("  %s: %.200s", log_of(e), line);
            }
    e->log_checked = ftell(log);
    fclose(log);
}

/* Resident memory in KiB. */
static inline long memory_of(const endpoint *e) {
    char line[256];
    long kib = 0;
    FILE *f = fopen(text("/proc/%ld/status", (long)e->pid), "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "VmRSS: %ld", &kib);
    if (f) fclose(f);
    return kib;
}

/* ---- Certificates ------------------------------------------------------------------------------------------ */

/* A key, and a certificate for this machine that a CA of our own has signed: DIR/NAME.key, .pem. */
static inline bool make_certificate(const char *dir, const char *name) {
    return system(text("cd %s && exec >openssl.log 2>&1 && { test -e ca.pem || openssl req -x509 -newkey ec "
                       "-pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tests-ca -keyout ca.key "
                       "-out ca.pem; } && openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                       "-subj /CN=%s -keyout %s.key -out %s.csr && "
                       "echo subjectAltName=DNS:localhost,IP:127.0.0.1 >ext && "
                       "openssl x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
                       "-extfile ext -out %s.new && mv %s.new %s.pem",
                       dir, name, name, name, name, name, name, name)) == 0;
}

/* With a directory that has ca.pem, endpoint.pem and endpoint.key, for as long as this lasts. */
static inline void with_certificates(void (*use)(const char *dir)) {
    char dir[100];
    snprintf(dir, sizeof dir, "%s/e2e-tls.XXXXXX", env("TMPDIR", "/tmp"));
    CHECK(mkdtemp(dir) != NULL);
    CHECK(make_certificate(dir, "endpoint"));
    use(dir);
    CHECK(system(text("rm -rf %s", dir)) == 0);
}

/* ---- Invocations ------------------------------------------------------------------------------------------ */

static char post_mortem[640];               /* shell command that shows the journal of last_id */

static inline void keep_id(const char *id) {
    if (!id[0]) return;
    snprintf(last_id, sizeof last_id, "%.120s", id);
    snprintf(post_mortem, sizeof post_mortem,
             "tests/server.sh query --base %s \"select index, entry_type, name, entry_json from sys_journal "
             "where id = '%s' order by index limit 40\"", server_dir, last_id);
}

static inline void call(reply *r, const char *path, const char *body) {
    http(r, "POST", text("%s%s", ingress, path), body);
    keep_id(r->id);
}

/* Starts one and gives its id; "" if that failed. */
static inline word start_call(const char *path, const char *body) {
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

static inline void attach(reply *r, const char *id) {
    keep_id(id);
    http(r, "GET", text("%s/restate/invocation/%s/attach", ingress, id), NULL);
}

/* `want` "*x": x is in it; NULL: any will do. (Not inline: gcc looks behind "" then.) */
__attribute__((noinline, unused)) static bool fits(const char *got, const char *want) {
    if (!want) return true;
    return want[0] == '*' ? strstr(got, want + 1) != NULL : strcmp(got, want) == 0;
}

/* Calls, and judges status and body; `body` and `want` may be NULL: send none, any will do. `want`
 * "*x": x is in it. */
#define ASK(path, body, status, want) ask(__FILE__, __LINE__, path, body, status, want)
static inline void ask(const char *file, int line, const char *path, const char *body, long status, const char *want) {
    static reply r;
    call(&r, path, body);
    if (r.status == status && fits(r.body, want))
        return;
    test_failures++;
    if (!bad_id[0]) snprintf(bad_id, sizeof bad_id, "%.120s", r.id);
    printf("  %s:%d: %s %s gives %ld\n    «%s», not %ld\n    «%s»\n", file, line, path, body ? body : "", r.status, r.body,
           status, want ? want : "(anything)");
}

/* The same with bytes of a content type, which the reply must have, too; `want` is text or bytes, as
 * long as a literal is. What is no reply (400 and above) need only have `want` in it. */
#define ASK_BYTES(path, type, body, status, want) \
    ask_bytes(__FILE__, __LINE__, path, type, body, sizeof(body) - 1, status, want, sizeof(want) - 1)
static inline void ask_bytes(const char *file, int line, const char *path, const char *type, const char *body, size_t len, long status, const char *want,
                      size_t want_len) {
    static reply r;
    post_bytes(&r, text("%s%s", ingress, path), type, body, len);
    keep_id(r.id);
    if (r.status == status && (status >= 400 ? strstr(r.body, want) != NULL
                                             : r.len == want_len && memcmp(r.body, want, want_len) == 0 && strcmp(r.type, type) == 0))
        return;
    test_failures++;
    if (!bad_id[0]) snprintf(bad_id, sizeof bad_id, "%.120s", r.id);
    printf("  %s:%d: %s gives %ld, %zu bytes of %s:\n    ", file, line, path, r.status, r.len, r.type);
    for (size_t i = 0; i < r.len && i < 200; i++) printf(r.body[i] >= ' ' && r.body[i] < 127 ? "%c" : "\\x%02x", r.body[i] & 255);
    printf("\n");
}

/* The same for the result of an invocation. */
#define ATTACH(id, status, want) attach_ask(__FILE__, __LINE__, id, status, want)
static inline void attach_ask(const char *file, int line, const char *id, long status, const char *want) {
    static reply r;
    attach(&r, id);
    if (r.status == status && fits(r.body, want)) return;
    test_failures++;
    if (!bad_id[0]) snprintf(bad_id, sizeof bad_id, "%.120s", id);
    printf("  %s:%d: %s ends with %ld\n    «%s», not %ld\n    «%s»\n", file, line, id, r.status, r.body, status, want);
}

static inline void cancel(const char *id) {
    static reply r;
    http(&r, "PATCH", text("%s/invocations/%s/cancel", admin, id), NULL);
    CHECK_INT(r.status, 202);
}

/* Until the call, with that body, gives `want`; false: it never did. */
static inline bool comes_to_with(const char *path, const char *body, const char *want) {
    static reply r;
    const word at = make_word("%s", path), to = make_word("%s", want);  /* outlive the ring of text() */
    PATIENTLY(20) {
        call(&r, at.s, body);
        if (r.status == 200 && strcmp(r.body, to.s) == 0) return true;
    }
    printf("  %s stays %ld %s\n", at.s, r.status, r.body);
    return false;
}
static inline bool comes_to(const char *path, const char *want) { return comes_to_with(path, NULL, want); }

/* Until there are `count` commands of that type in a journal. */
static inline bool has_commands(const char *id, const char *type, long long count) {
    PATIENTLY(20)
        if (carried ? carried->commands(id, type) >= count
            : query_number("c", text("select count(*) c from sys_journal where id = '%s' and entry_type = 'Command: %s'", id, type)) >= count)
            return true;
    return false;
}

/* Many calls, at most `parallel` at a time. `make` writes path and body of call i; `good` judges. */
struct batch {
    size_t count, parallel;
    void (*make)(size_t i, char path[256], char body[256]);
    bool (*good)(size_t i, const reply *r);
};

typedef struct slot {
    CURL *curl;
    size_t i;
    char path[256], body[256];
    reply r;
} slot;

static inline void slot_start(CURLM *multi, const batch *b, slot *s, size_t i) {
    s->i = i;
    s->path[0] = s->body[0] = 0;
    b->make(i, s->path, s->body);
    prepare(s->curl, &s->r, "POST", text("%s%s", ingress, s->path), s->body);
    curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
    curl_multi_add_handle(multi, s->curl);
}

static inline void batch_judge(const batch *b, size_t i, const char *path, const char *body, const reply *r) {
    if (b->good(i, r)) return;
    if (test_failures++ < 5) printf("  call %zu of %zu, %s %s: %ld %.300s\n", i, b->count, path, body, r->status, r->body);
    keep_id(r->id);
}

static inline void run_batch(const batch *b) {
    if (carried) {
        carried->run_batch(b);
        return;
    }
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
            curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &s->r.status);
            if (m->data.result != CURLE_OK)
                snprintf(s->r.body, sizeof s->r.body, "%s", curl_easy_strerror(m->data.result));
            batch_judge(b, s->i, s->path, s->body, &s->r);
            curl_multi_remove_handle(multi, s->curl);
            left--;
            progress();
            if (next < b->count) slot_start(multi, b, s, next++);
        }
        if (left > 0) curl_multi_poll(multi, NULL, 0, 100, NULL);
    }
    for (size_t i = 0; i < slots; i++) curl_easy_cleanup(all[i].curl);
    curl_multi_cleanup(multi);
    free(all);
}

/* ---- Every case in every mode -------------------------------------------------------------------------------- */

typedef struct e2e_case {
    const char *name;
    void (*run)(void);
    unsigned modes;             /* bits; 0: all that the driver has */
    bool smoke;                 /* one of the first look */
} e2e_case;

#define ONLY(mode) (1u << (mode))
#define BUT(mode) (~(1u << (mode)))

static char case_name[64];

/* Async-signal-safe. The server goes by itself, soon after us. */
static inline void give_up(int number) {
    static const char message[] = " is stuck, or was interrupted. Its last invocation:\n", failed[] = "FAILED ";
    (void)number;
    if (write(1, case_name, strlen(case_name)) < 0 || write(1, message, sizeof message - 1) < 0) _exit(2);
    pid_t child = fork();
    if (child == 0) execl("/bin/sh", "sh", "-c", post_mortem, (char *)NULL);
    if (child > 0) waitpid(child, NULL, 0);
    for (int i = 0; endpoints[i]; i++)
        if (endpoints[i]->pid) kill(endpoints[i]->pid, SIGKILL);
    if (write(1, failed, sizeof failed - 1) < 0 || write(1, case_name, strlen(case_name)) < 0 || write(1, "\n", 1) < 0) _exit(2);
    _exit(1);
}

static inline void run_case(const mode *m, const e2e_case *c) {
    test_failures = 0;
    test_note = "";
    progress();
    last_id[0] = bad_id[0] = post_mortem[0] = 0;
    double start = now();
    if ((running != m || special) && !server_start_with(m, "")) {
        test_failures++;
        printf("  no server\n");
    } else {
        c->run();
    }
    if (test_failures) show_journal();
    for (int i = 0; endpoints[i]; i++) endpoint_check(endpoints[i]);
    alarm(0);
    printf("  %s %s, %.1f s\n", case_name, test_failures ? "failed" : "passed", now() - start);
}

static inline bool is_listed(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == len && strncmp(p, name, len) == 0) return true;
    return false;
}

static inline void harness_begin(const char *name) {
    snprintf(logs, sizeof logs, LOGS "/%s", name);
    mkdir(LOGS, 0777);
    mkdir(logs, 0777);
    unlink(text("%s/trace", logs));
    signal(SIGALRM, give_up);
    signal(SIGINT, give_up);
    signal(SIGTERM, give_up);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    curl_global_init(CURL_GLOBAL_ALL);
    json_headers = curl_slist_append(NULL, "content-type: application/json");
    json_headers = curl_slist_append(json_headers, "accept: application/json");
    plain_headers = curl_slist_append(NULL, "content-type:");
}

/* `otherwise`: the modes when none are asked for; `few`: the same for the first look. */
static inline int harness_main(int argc, char **argv, const e2e_case *cases, const char *otherwise, const char *few) {
    const char *name = env("E2E_NAME", strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0]);
    bool smoke = env("E2E_SMOKE", "")[0] != 0;
    int passed = 0, failed = 0;
    if (access("tests/server.sh", X_OK) != 0) {
        printf("start it in the project's directory\n");
        return 2;
    }
    harness_begin(name);
    for (int m = 0; m < MODES; m++) {
        if (!is_listed(env("E2E_MODES", smoke ? few : otherwise), modes[m].name) ||
            is_listed(env("E2E_BUT", ""), modes[m].name)) continue;
        for (const e2e_case *c = cases; c->name; c++) {
            snprintf(case_name, sizeof case_name, "%s_%s", modes[m].name, c->name);
            if ((c->modes && !(c->modes & ONLY(m))) || (smoke && !c->smoke) || !test_wanted(argc, argv, case_name)) continue;
            run_case(&modes[m], c);
            if (test_failures) failed++, printf("FAILED %s\n", case_name);
            else passed++;
        }
    }
    for (int i = 0; endpoints[i]; i++) endpoint_kill(endpoints[i]);
    server_stop();
    printf("%s: %d passed, %d failed\n", name, passed, failed);
    return failed != 0;
}

#endif
