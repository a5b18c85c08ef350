/* A soak: many operations of every kind (ledger.c), while processes are killed, stopped and asked to end, and
 * connections are cut, held up and swallow what is sent (relay.c). Then all of it is let finish, and what the
 * callers count has to be what the services have stored, to the last one; nothing is left open; and no attempt
 * ever met code that differs from its journal (570), or a violation of the protocol (571).
 *
 *     build/soak [PART-OF-A-NAME ...]             as the other drivers; cases are plain and tls
 *
 * Environment, beside that of harness.c:
 *   SOAK_SECONDS   how long there is trouble, in every case (30)
 *   SOAK_ROUND     after so many seconds there is peace: all is let finish, and compared (120)
 *   SOAK_RATE      operations that begin in a second, at most (40)
 *   SOAK_SEED      of what happens, and when; printed
 *
 * It is never judged how long something takes, but something has to happen: 90 s without any progress
 * in times of peace count as stuck. */
#include "harness.c"

#include "relay.c"

/* Of the relay: the addresses of three deployments, and one of the servers'. */
enum { INGRESS = ROUTES - 1 };

enum { STUCK_SECONDS = 90, CALLERS = 4, MOST_OPS = 1 << 20 };

/* ---- Kinds of operations --------------------------------------------------------------------------- */

typedef enum kind {
    COUNTER, CALL, SEND, DELAYED, SLEEP, RUN, BLOCKING, AWAKEABLE, PROMISE, WORKFLOW, SIGNAL_, CANCEL, FAIL, FUTURES,
    ATTACH_, OUTSIDE, PATCHED, KINDS
} kind;

/* What each adds to accounts, and replies. */
static const struct {
    const char *name, *path;    /* %u: the number of the operation */
    size_t adds;
    unsigned char places[3];    /* accounts behind the one that is named */
    unsigned factor;            /* of the amount; 0: only the reply tells how much */
} kinds[KINDS] = {
    [COUNTER] = { "counter", NULL, 1, { 0 }, 1 },
    [CALL] = { "call", "/Operate/call", 3, { 0, 1, 2 }, 1 },
    [SEND] = { "send", "/Operate/send", 2, { 0, 1 }, 1 },
    [DELAYED] = { "delayed", "/Operate/delayed", 2, { 0, 1 }, 1 },
    [SLEEP] = { "sleep", "/Operate/sleep", 1, { 0 }, 1 },
    [RUN] = { "run", "/Operate/run", 1, { 0 }, 0 },
    [BLOCKING] = { "blocking", "/Operate/blocking", 1, { 0 }, 0 },
    [AWAKEABLE] = { "awakeable", "/Operate/awakeable", 1, { 0 }, 1 },
    [PROMISE] = { "promise", "/Operate/promise", 1, { 0 }, 1 },
    [WORKFLOW] = { "workflow", "/Flow/%u/run", 1, { 0 }, 1 },
    [SIGNAL_] = { "signal", "/Operate/signal", 1, { 0 }, 3 },
    [CANCEL] = { "cancel", "/Operate/cancel", 3, { 0, 0, 0 }, 1 },
    [FAIL] = { "fail", "/Operate/fail", 1, { 0 }, 1 },
    [FUTURES] = { "futures", "/Operate/futures", 3, { 0, 3, 6 }, 1 },
    [ATTACH_] = { "attach", "/Operate/attach", 1, { 0 }, 1 },
    [OUTSIDE] = { "outside", "/Gate/%u/wait", 1, { 0 }, 2 },
    [PATCHED] = { "patched", "/Patched/run", 1, { 0 }, 0 },
};

enum { ACCOUNTS = 8 };          /* of ledger.c */

typedef struct op {
    unsigned char kind, account, good;
    unsigned amount, ms, reply;
    char id[48];
} op;

/* ---- What driver and callers share --------------------------------------------------------------------- */

typedef enum phase { REST, SENDING, ATTACHING } phase;

typedef struct board {
    int phase;
    unsigned begun;             /* operations that somebody sends, or has sent */
    unsigned asked, ended;      /* of these, whose results somebody waits for; has got */
    unsigned busy;              /* callers in the middle of something */
    unsigned again;             /* sends of what was sent already */
    unsigned refused;           /* requests without an answer, or with one that means: later */
    unsigned opened;            /* awakeables that were completed from outside */
    unsigned wrong;
    op ops[MOST_OPS];
} board;
static board *shared;
static unsigned long seed;

static unsigned take(unsigned *n) { return __atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST); }
static unsigned seen(const unsigned *n) { return __atomic_load_n(n, __ATOMIC_SEQ_CST); }
static phase phase_now(void) { return (phase)__atomic_load_n(&shared->phase, __ATOMIC_SEQ_CST); }
static void set_phase(phase p) { __atomic_store_n(&shared->phase, (int)p, __ATOMIC_SEQ_CST); }

/* A number for the operation, always the same. */
static unsigned hash(unsigned long n) {
    uint64_t x = (uint64_t)seed * 0x9e3779b97f4a7c15u + n;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (unsigned)(x >> 33);
}

static unsigned dice_thrown;
static unsigned dice(unsigned sides) { return hash((1ul << 40) + dice_thrown++) % sides; }
static double seconds(double from, double to) { return from + (to - from) * dice(1000) / 1000; }

/* ---- Callers: processes of their own ------------------------------------------------------------------- */

static void op_make(unsigned i) {
    op *o = &shared->ops[i];
    unsigned h = hash(i);
    o->kind = (unsigned char)(h % KINDS);
    o->account = (unsigned char)(h / KINDS % ACCOUNTS);
    o->amount = 1 + h / KINDS / ACCOUNTS % 1000;
    o->ms = hash(i + (1ul << 33)) % 10 ? h / 7 % 300 : h / 7 % 4000;
}

static const char *op_path(unsigned i) {
    const op *o = &shared->ops[i];
    if (o->kind == COUNTER) return text("/Account/%d/add", o->account);
    if (o->kind == WORKFLOW) return text("/Flow/%u/run", i);
    if (o->kind == OUTSIDE) return text("/Gate/%u/wait", i);
    return kinds[o->kind].path;
}

static const char *op_body(unsigned i) {
    const op *o = &shared->ops[i];
    if (o->kind == COUNTER) return text("{\"kind\":\"counter\",\"amount\":%u}", o->amount);
    return text("{\"op\":%u,\"account\":%u,\"amount\":%u,\"ms\":%u}", i, o->account, o->amount, o->ms);
}

/* Any node may be down. */
static const char *some_ingress(void) {
    return running == &modes[CLUSTER] ? nodes[dice(NODES)].ingress : ingress;
}

/* A client of restate.h, which some of the callers have: it is told by lines what to do. */
static FILE *to_client, *from_client;

static void client_start(void) {
    int in[2], out[2];
    CHECK(pipe(in) == 0 && pipe(out) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        int log = open(text("%s/client.log", logs), O_WRONLY | O_CREAT | O_APPEND, 0666);
        child_of_driver();
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(log, 2);
        close(in[1]);           /* so that it sees the end of its input */
        setenv("INGRESS", text("http://127.0.0.1:%d", relay.routes[INGRESS].port), 1);
        execl(text("%s/e2e-ledger", env("E2E_BIN", "build")), "e2e-ledger", "call", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_client = fdopen(in[1], "w");
    from_client = fdopen(out[0], "r");
}

/* What the client says to a line. */
static const char *client_says(const char *line) {
    static char said[1024];
    fprintf(to_client, "%s\n", line);
    fflush(to_client);
    if (!fgets(said, sizeof said, from_client)) {
        printf("  the client has ended at %s, see %s/client.log\n", line, logs);
        take(&shared->wrong);
        _exit(1);
    }
    said[strcspn(said, "\n")] = 0;
    return said;
}

/* Until it is accepted; gives the id. */
static const char *curl_sends(const char *path, const char *body, const char *key) {
    static reply r;
    static char id[48];
    char to[256];
    const word header = make_word("%s: %s", key[0] == '-' ? "x-unused" : "idempotency-key", key);
    const char *const headers[] = { header.s, NULL };
    for (;;) {
        snprintf(to, sizeof to, "%s%s/send", some_ingress(), path);
        http_with(&r, "POST", to, body, headers);
        if (r.status == 202) break;
        /* A node of a cluster that has just begun knows of nothing. */
        if (r.status >= 400 && r.status < 500 && !strstr(r.body, "make sure to register the service")) {
            printf("  %s: %ld %.300s\n", to, r.status, r.body);
            take(&shared->wrong);
            return "";
        }
        take(&shared->refused);
        pause_ms(50);
    }
    const char *at = strstr(r.body, "\"invocationId\":\"");
    if (!at || sscanf(at + 16, "%47[^\"]", id) != 1) id[0] = 0;
    return id;
}

/* By its idempotency key it begins once. `id` NULL: it does not matter which. */
static void send_surely(const char *path, const char *body, const char *key, char id[48]) {
    char kept[512];
    snprintf(kept, sizeof kept, "%s", body);
    const char *got = to_client ? client_says(text("send %s %s %s", path, key, kept)) : curl_sends(path, kept, key);
    if (!id) return;
    if (id[0] && strcmp(id, got) != 0) {
        printf("  %s %s was %s, and is %s\n", path, key, id, got);
        take(&shared->wrong);
    }
    snprintf(id, 48, "%.47s", got);
}

static void op_send(unsigned i) {
    op *o = &shared->ops[i];
    const word path = make_word("%s", op_path(i));
    const word key = o->kind == WORKFLOW ? make_word("-") : make_word("op-%u", i);
    const int times = dice(8) == 0 ? 2 : 1;
    for (int n = 0; n < times; n++) send_surely(path.s, op_body(i), key.s, o->id);
    if (times > 1) take(&shared->again);
    if (o->kind == WORKFLOW) send_surely(text("/Flow/%u/go", i), op_body(i), text("go-%u", i), NULL);
}

static bool op_is_good(const op *o, const reply *r) {
    if (o->kind == FAIL) return r->status == 418;
    if (r->status != 200) return false;
    return !kinds[o->kind].factor || o->reply == kinds[o->kind].factor * kinds[o->kind].adds * o->amount;
}

/* Waits for its result. */
static void op_attach(unsigned i) {
    static reply r;
    op *o = &shared->ops[i];
    if (to_client) {
        const char *said = client_says(text("attach %s", o->id));
        r.status = strtol(said, NULL, 10);
        snprintf(r.body, sizeof r.body, "%s", said + strcspn(said, " "));
    }
    for (; !to_client; pause_ms(20)) {
        http(&r, "GET", text("%s/restate/invocation/%s/attach", some_ingress(), o->id), NULL);
        if (r.status && r.status < 501 && r.status != 429) break;
        take(&shared->refused);
    }
    o->reply = (unsigned)strtoul(r.body, NULL, 10);
    o->good = op_is_good(o, &r);
    if (o->good) return;
    printf("  operation %u, %s of %u, %s: %ld %.300s\n", i, kinds[o->kind].name, o->amount, o->id, r.status, r.body);
    take(&shared->wrong);
}

static void caller_turn(long pause) {
    unsigned i;
    take(&shared->busy);
    if (phase_now() == SENDING && (i = take(&shared->begun)) < MOST_OPS) {
        op_make(i);
        op_send(i);
    } else if (phase_now() == ATTACHING && seen(&shared->asked) < seen(&shared->begun) &&
               (i = take(&shared->asked)) < seen(&shared->begun)) {
        op_attach(i);
        take(&shared->ended);
        pause = 0;
    }
    __atomic_fetch_sub(&shared->busy, 1, __ATOMIC_SEQ_CST);
    pause_ms(pause);
}

/* Somebody from outside: completes the awakeables of gates, as often as it sees them. */
static void opener_turn(void) {
    static reply r;
    cJSON *row, *rows = NULL;
    if (running == &modes[CLUSTER]) use_node((int)dice(NODES));
    http(&r, "POST", text("%s/query", admin),
         "{\"query\":\"select value_utf8 v from state where service_name = 'Gate' and key = 'awakeable' limit 50\"}");
    cJSON *answer = r.status == 200 ? cJSON_Parse(r.body) : NULL;
    rows = cJSON_GetObjectItem(answer, "rows");
    cJSON_ArrayForEach(row, rows) {
        char id[96] = "";
        const char *quoted = cJSON_GetStringValue(cJSON_GetObjectItem(row, "v"));
        if (!quoted || sscanf(quoted, "\"%95[^\"]", id) != 1) continue;
        http(&r, "POST", text("%s/restate/awakeables/%s/resolve", ingress, id), "2");
        if (r.status == 202) take(&shared->opened);
    }
    cJSON_Delete(answer);
    pause_ms(200);
}

static pid_t callers[CALLERS + 1];

static void callers_start(void) {
    long pause = 1000L * CALLERS / atoi(env("SOAK_RATE", "40"));
    fflush(stdout);
    for (unsigned i = 0; i <= CALLERS; i++) {
        callers[i] = fork();
        if (callers[i]) continue;
        child_of_driver();
        request_seconds = 10;
        dice_thrown = (i + 1) << 28;
        if (i < CALLERS / 2) client_start();
        for (;;)
            if (i < CALLERS) caller_turn(pause);
            else opener_turn();
    }
}

static void callers_stop(void) {
    for (int i = 0; i <= CALLERS; i++) {
        if (callers[i] <= 0) continue;
        kill(callers[i], SIGKILL);
        waitpid(callers[i], NULL, 0);
        callers[i] = 0;
    }
}

/* ---- Victims: the processes of endpoints, and the servers -------------------------------------------------- */

enum { OPERATIONS, ACCOUNTS_, PATCHED_, MORE_OPERATIONS, VICTIMS };

/* Two processes behind one address, and two deployments of one process. */
static endpoint ledgers[VICTIMS] = {
    [OPERATIONS] = { .program = "e2e-ledger", .log = "operations-1" },
    [MORE_OPERATIONS] = { .program = "e2e-ledger", .log = "operations-2" },
    [ACCOUNTS_] = { .program = "e2e-ledger", .log = "accounts" },
    [PATCHED_] = { .program = "e2e-ledger", .log = "patched" },
};

typedef enum health { UP, STOPPED, ENDING, DOWN } health;
typedef struct victim {
    health is;
    double until;
    pid_t helper;               /* that starts a server; 0: none */
} victim;
static victim endpoint_victims[VICTIMS], server_victims[NODES];

typedef enum fate { KILLED, TERMINATED, HALTED, FATES } fate;
static const char *const fate_names[FATES] = { "killed", "asked to end", "stopped for a while" };
static long long endpoint_fates[FATES], server_fates[FATES], patches_made;

static struct {
    unsigned gone, done, version;
    char settings[3][16], files[2][160];
} program;

static void patched_settings(void) {
    snprintf(program.settings[0], sizeof program.settings[0], "GONE=%u", program.gone);
    snprintf(program.settings[1], sizeof program.settings[1], "DONE=%u", program.done);
    snprintf(program.settings[2], sizeof program.settings[2], "VERSION=%u", program.version);
}

static void ledger_hit(int i, fate f) {
    endpoint *e = &ledgers[i];
    victim *v = &endpoint_victims[i];
    endpoint_fates[f]++;
    v->until = now() + seconds(0, f == HALTED ? 4 : 0.5);
    v->is = f == KILLED ? DOWN : f == HALTED ? STOPPED : ENDING;
    if (f == KILLED) endpoint_kill(e);
    if (f == TERMINATED) v->until = now() + STUCK_SECONDS;
    if (f != KILLED) kill(e->pid, f == HALTED ? SIGSTOP : SIGTERM);
}

/* One that was asked to end: it has to end well. */
static void ledger_ends(endpoint *e, victim *v) {
    int status = 0;
    if (waitpid(e->pid, &status, WNOHANG) != e->pid) {
        if (now() < v->until) return;
        printf("  %s does not end\n", e->log);
        test_failures++;
        endpoint_kill(e);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        printf("  %s ends with status %x, see %s\n", e->log, (unsigned)status, log_of(e));
        test_failures++;
    }
    e->pid = 0;
    v->is = DOWN;
    v->until = now() + seconds(0, 0.3);
}

static void ledger_turn(int i) {
    endpoint *e = &ledgers[i];
    victim *v = &endpoint_victims[i];
    if (v->is == ENDING) ledger_ends(e, v);
    if (v->is == UP) endpoint_check(e);
    if (v->is == UP && !e->pid) v->is = DOWN;
    if (v->is == ENDING || v->is == UP || now() < v->until) return;
    if (v->is == STOPPED) kill(e->pid, SIGCONT);
    if (v->is == DOWN) CHECK(endpoint_start(e));
    v->is = UP;
}

/* Behind the last patch comes another. */
static void patched_hit(void) {
    if (endpoint_victims[PATCHED_].is != UP) return;
    program.version++;
    patches_made++;
    ledger_hit(PATCHED_, KILLED);
    patched_settings();
}

static const char *base_of(int i) { return running == &modes[CLUSTER] ? nodes[i].base : server_dir; }
static int servers_count(void) { return running == &modes[CLUSTER] ? NODES : 1; }

static pid_t server_pid(int i) {
    char line[256];
    long pid = 0;
    FILE *f = fopen(text("%s/state", base_of(i)), "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "PID=%ld", &pid);
    if (f) fclose(f);
    return (pid_t)pid;
}

/* tests/server.sh, as another process. It waits before it starts the server again. */
static void server_again(int i, bool killed, double pause) {
    victim *v = &server_victims[i];
    const char *member = running == &modes[CLUSTER] ? "--member" : "";
    const char *first = killed ? text("tests/server.sh kill --base %s && sleep %.2f &&", base_of(i), pause) : "";
    const char *command = text("%s exec tests/server.sh restart --timeout 300 --base %s --owner %ld %s >/dev/null", first,
                               base_of(i), (long)getpid(), member);
    fflush(stdout);
    v->helper = fork();
    if (v->helper == 0) {
        child_of_driver();
        execl("/bin/bash", "bash", "-c", command, (char *)NULL);
        _exit(127);
    }
    v->is = DOWN;
}

static void server_hit(int i, fate f) {
    victim *v = &server_victims[i];
    server_fates[f]++;
    if (f == HALTED) {
        kill(server_pid(i), SIGSTOP);
        v->is = STOPPED;
        v->until = now() + seconds(0.1, 4);
    } else {
        server_again(i, f == KILLED, running == &modes[CLUSTER] ? seconds(0, 4) : seconds(0, 1));
    }
}

/* Whether it is up again. */
static bool server_turn(int i) {
    victim *v = &server_victims[i];
    int status;
    if (v->is == STOPPED && now() >= v->until) {
        kill(server_pid(i), SIGCONT);
        v->is = UP;
    }
    if (v->is == DOWN && waitpid(v->helper, &status, WNOHANG) == v->helper) {
        CHECK_INT(status, 0);
        v->is = UP;
    }
    return v->is == UP;
}

static bool all_up(void) {
    bool up = true;
    for (int i = 0; i < VICTIMS; i++) {
        ledger_turn(i);
        up &= endpoint_victims[i].is == UP;
    }
    for (int i = 0; i < servers_count(); i++) up &= server_turn(i);
    return up;
}

/* ---- Trouble ----------------------------------------------------------------------------------------------- */

static fate any_fate(void) { return (fate)(dice(5) < 2 ? KILLED : dice(2) ? TERMINATED : HALTED); }

static void network_hit(void) {
    weather what = (weather)(CUT + dice(WEATHERS - CUT));
    relay_tell(what, what == LATE ? 5 + (int)dice(300) : 100 + (int)dice(2500), 1 + dice(4));
}

static void trouble(double length) {
    double end = now() + length, strike = now(), storm = now(), crash = now() + seconds(1, 4), patch = now() + seconds(1, 6);
    while (now() < end && !test_failures) {
        alarm(5 * STUCK_SECONDS);
        all_up();
        if (now() >= strike) {
            int i = (int)dice(VICTIMS);
            if (endpoint_victims[i].is == UP) ledger_hit(i, any_fate());
            strike = now() + seconds(0.1, 1.5);
        }
        if (now() >= storm) {
            network_hit();
            storm = now() + seconds(0.1, 1.5);
        }
        if (now() >= patch) {
            patched_hit();
            patch = now() + seconds(10, 40);
        }
        if (now() >= crash && server_turn(0) && (servers_count() == 1 || (server_turn(1) && server_turn(2)))) {
            server_hit((int)dice((unsigned)servers_count()), any_fate());
            crash = now() + seconds(3, 12);
        }
        pause_ms(10);
    }
}

/* ---- Peace: all is let finish, and compared ------------------------------------------------------------------ */

static const char *string_of(const cJSON *row, const char *name) {
    const char *s = cJSON_GetStringValue(cJSON_GetObjectItem(row, name));
    return s ? s : "";
}

/* In the log of the driver the beginning; and all in files. */
static void show_open(void) {
    static word ids[10];
    static const char open[] = "from sys_invocation where status != 'completed' order by created_at limit 10";
    cJSON *rows = query(text("select * %s", open)), *row;
    FILE *f = fopen(text("%s/open.json", logs), "w");
    int n = 0;
    cJSON_ArrayForEach(row, rows) {
        char *line = cJSON_PrintUnformatted(row);
        printf("  open: %s\n", line);
        free(line);
        ids[n++] = make_word("%s", string_of(row, "id"));
    }
    cJSON_Delete(rows);
    for (int i = 0; i < n; i++) {
        const char *what[] = { text("select index, entry_type, name, appended_at, entry_json from sys_journal where id = '%s' order by index", ids[i].s),
                               text("select * from sys_journal_events where id = '%s'", ids[i].s) };
        for (int k = 0; k < 2; k++) {
            char *all = cJSON_Print(rows = query(what[k]));
            if (f) fprintf(f, "%s\n%s\n", ids[i].s, all);
            free(all);
            cJSON_Delete(rows);
        }
    }
    if (f) fclose(f);
    for (int i = 0; i < servers_count(); i++)
        CHECK(system(text("cp %s/server.log %s/server-%d.log", base_of(i), logs, i + 1)) == 0);
}

/* Until that number is what it should be; false: nothing has moved for too long. */
static bool waits_for(long long (*number)(void), long long want) {
    long long last = -1, n;
    double moved = now();
    while ((n = number()) != want) {
        alarm(5 * STUCK_SECONDS);
        if (n != last) moved = now();
        last = n;
        if (now() - moved < STUCK_SECONDS) {
            pause_ms(100);
            continue;
        }
        printf("  stuck: %lld, not %lld\n", n, want);
        test_failures++;
        show_open();
        return false;
    }
    return true;
}

static long long count_up(void) { return all_up(); }
static long long count_busy(void) { return seen(&shared->busy); }
static long long count_unended(void) { return (long long)seen(&shared->begun) - seen(&shared->ended); }
static long long count_open(void) {
    return query_number("c", "select count(*) c from sys_invocation where status != 'completed'");
}

/* What callers count. */
typedef struct sums {
    long long times, sum;
} sums;
static sums wanted[ACCOUNTS][KINDS], stored[ACCOUNTS][KINDS];
static long long ops_of[KINDS];

static void count_op(const op *o) {
    const size_t adds = kinds[o->kind].adds;
    ops_of[o->kind]++;
    for (size_t i = 0; i < adds; i++) {
        sums *s = &wanted[(o->account + kinds[o->kind].places[i]) % ACCOUNTS][o->kind];
        s->times += o->kind == PATCHED ? o->reply + 1 : 1;
        s->sum += kinds[o->kind].factor ? kinds[o->kind].factor * o->amount : o->reply;
    }
    if (o->kind != PROMISE) return;
    wanted[o->account][WORKFLOW].times++;
    wanted[o->account][WORKFLOW].sum += o->amount;
}

/* A row of an account's state: KIND.times or KIND.sum. */
static void count_row(const char *account, const char *key, const char *value) {
    int a = atoi(account), k = 0;
    size_t len = strcspn(key, ".");
    while (k < KINDS && (strlen(kinds[k].name) != len || strncmp(kinds[k].name, key, len) != 0)) k++;
    if (k == KINDS || a < 0 || a >= ACCOUNTS) {
        printf("  account %s has %s\n", account, key);
        test_failures++;
    } else if (strcmp(key + len, ".times") == 0) stored[a][k].times = atoll(value);
    else stored[a][k].sum = atoll(value);
}

/* How many accounts could be read. */
static long long count_accounts(void) {
    long long read = 0;
    memset(stored, 0, sizeof stored);
    for (int a = 0; a < ACCOUNTS; a++) {
        cJSON *row, *rows = query(text("select key, value_utf8 v from state where service_name = 'Account' and service_key = '%d'", a));
        cJSON_ArrayForEach(row, rows) count_row(text("%d", a), string_of(row, "key"), string_of(row, "v"));
        read += rows != NULL;
        cJSON_Delete(rows);
    }
    return read;
}

static long long lost, doubled, added;

static void compare(void) {
    lost = doubled = added = 0;
    for (int a = 0; a < ACCOUNTS; a++)
        for (int k = 0; k < KINDS; k++) {
            const sums *w = &wanted[a][k], *s = &stored[a][k];
            added += s->times;
            if (s->times < w->times) lost += w->times - s->times;
            if (s->times > w->times) doubled += s->times - w->times;
            if (s->times == w->times && s->sum == w->sum) continue;
            printf("  account %d, %s: %lld times %lld, callers say %lld times %lld\n", a, kinds[k].name, s->times, s->sum,
                   w->times, w->sum);
            test_failures++;
        }
}

/* In the logs of endpoints and servers. */
static void look_for_mismatches(void) {
    static const char pattern[] = "AddressSanitizer|runtime error|failed with 57[01]|\\[57[01]\\]|RT0012|RT0016|RT0018|journal mismatch|protocol violation";
    char line[600];
    int found = 0;
    FILE *in = popen(text("grep -hEi '%s' %s/*.log %s/server.log %s/n?/server.log 2>&1", pattern, logs, server_dir, server_dir), "r");
    while (in && fgets(line, sizeof line, in))
        if (!strstr(line, "No such file") && found++ < 5) printf("  %s", line);
    if (in) pclose(in);
    CHECK_INT(found, 0);
}

/* While no invocation is open: what was patched so far is the only code, and what was that already needs no
 * mention any more. */
static void patches_end(void) {
    program.gone = program.done;
    program.done = program.version;
    CHECK_INT(endpoint_stop(&ledgers[PATCHED_]), 0);
    patched_settings();
    CHECK(endpoint_start(&ledgers[PATCHED_]));
}

static unsigned counted;        /* operations */

static bool settle(void) {
    set_phase(REST);
    relay_tell(CALM, 0, 0);
    for (int i = 0; i < VICTIMS; i++)
        if (endpoint_victims[i].is != ENDING) endpoint_victims[i].until = 0;
    for (int i = 0; i < servers_count(); i++) server_victims[i].until = 0;
    if (!waits_for(count_up, 1) || !waits_for(count_busy, 0)) return false;
    set_phase(ATTACHING);
    bool finished = waits_for(count_unended, 0) && waits_for(count_open, 0);
    set_phase(REST);
    look_for_mismatches();
    if (!finished) return false;
    for (; counted < seen(&shared->begun); counted++) count_op(&shared->ops[counted]);
    if (!waits_for(count_accounts, ACCOUNTS)) return false;
    compare();
    CHECK_INT(seen(&shared->wrong), 0);
    patches_end();
    return test_failures == 0;
}

static void print_fates(const char *what, const long long *fates) {
    printf("  %s", what);
    for (int i = 0; i < FATES; i++) printf("%s %lld times %s", i ? "," : "", fates[i], fate_names[i]);
    printf("\n");
}

static void print_figures(double length) {
    printf("  %.0f s of trouble, %u operations:", length, seen(&shared->begun));
    for (int k = 0; k < KINDS; k++) printf("%s %lld %s", k ? "," : "", ops_of[k], kinds[k].name);
    printf("\n  %lld additions; %u sent again on purpose, %u requests in vain, %u awakeables opened\n", added, seen(&shared->again),
           seen(&shared->refused), seen(&shared->opened));
    print_fates("endpoints", endpoint_fates);
    print_fates("servers", server_fates);
    printf("  %lld patches; %lld connections, %lld bytes:", patches_made, relay.counts->cables, relay.counts->bytes);
    for (int i = CUT; i < WEATHERS; i++) printf("%s %lld %s", i > CUT ? "," : "", relay.counts->hit[i], weather_names[i]);
    printf("\n  %lld lost, %lld doubled\n", lost, doubled);
}

/* ---- Cases --------------------------------------------------------------------------------------------------- */

static int port_of(const char *address) { return atoi(strrchr(address, ':') + 1); }

static bool soak_begin(const char *dir) {
    static const char *const serves[VICTIMS] = { "SERVES=operations", "SERVES=accounts", "SERVES=patched", "SERVES=operations" };
    const char *suspends = dice(2) ? "200ms" : dice(2) ? "0s" : "5s";
    const char *options = text("--set RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT=%s "
                               "--set RESTATE_HTTP2_KEEP_ALIVE_INTERVAL=1s --set RESTATE_HTTP2_KEEP_ALIVE_TIMEOUT=1s %s %s", suspends, dice(3) ? "" : "--lazy-state",
                               dir ? text("--set SSL_CERT_FILE=%s/ca.pem", dir) : "");
    printf("  seed %lu, %s\n", seed, options);
    if (!server_special(options)) return false;
    program.gone = program.done = 0;
    program.version = 1;
    patched_settings();
    for (int i = 0; i < 2 && dir; i++)
        snprintf(program.files[i], sizeof program.files[i], "%s=%s/endpoint.%s", i ? "TLS_KEY" : "TLS_CERTIFICATE", dir, i ? "key" : "pem");
    unlink(text("%s/client.log", logs));
    for (int i = 0; i < VICTIMS; i++) {
        endpoint *e = &ledgers[i];
        const char *settings[] = { serves[i], program.settings[0], program.settings[1], program.settings[2],
                                   dir ? program.files[0] : NULL, program.files[1] };
        for (int n = 0; n < 6; n++) e->settings[n] = settings[n];
        unlink(log_of(e));
        e->log_checked = 0;
        endpoint_victims[i] = (victim){ UP, 0, 0 };
        if (!endpoint_start(e)) return false;
        relay.routes[i % INGRESS].backends[i / INGRESS] = e->port;
    }
    for (int i = 0; i < BACKENDS; i++)
        relay.routes[INGRESS].backends[i] = i < servers_count() ? port_of(running == &modes[CLUSTER] ? nodes[i].ingress : ingress) : 0;
    memset(server_victims, 0, sizeof server_victims);
    if (!relay_start((unsigned)seed)) return false;
    for (int i = 0; i < INGRESS; i++)
        if (!register_port(ledgers[i].log, dir != NULL, relay.routes[i].port)) return false;
    return true;
}

static void soak_end(void) {
    callers_stop();
    relay_stop();
    for (int i = 0; i < VICTIMS; i++) {
        if (ledgers[i].pid) kill(ledgers[i].pid, SIGCONT);
        if (test_failures) endpoint_kill(&ledgers[i]);
        else CHECK_INT(endpoint_stop(&ledgers[i]), 0);
    }
    munmap(shared, sizeof *shared);
}

static void soak(const char *dir) {
    const double total = atof(env("SOAK_SECONDS", "30")), round = atof(env("SOAK_ROUND", "120"));
    double left = total;
    alarm(5 * STUCK_SECONDS);
    memset(wanted, 0, sizeof wanted);
    memset(ops_of, 0, sizeof ops_of);
    memset(endpoint_fates, 0, sizeof endpoint_fates);
    memset(server_fates, 0, sizeof server_fates);
    patches_made = counted = 0;
    shared = (board *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!soak_begin(dir)) {
        test_failures++;
        soak_end();
        return;
    }
    callers_start();
    while (left > 0 && !test_failures) {
        set_phase(SENDING);
        trouble(left < round ? left : round);
        left -= round;
        if (!settle()) break;
        printf("  %.0f s to go: %u operations, %lld lost, %lld doubled\n", left > 0 ? left : 0, seen(&shared->begun), lost, doubled);
    }
    print_figures(total - (left > 0 ? left : 0));
    soak_end();
}

static void plain_case(void) { soak(NULL); }
static void tls_case(void) { with_certificates(soak); }

int main(int argc, char **argv) {
    static const e2e_case cases[] = {
        { "plain", plain_case, 0, true },
        { "tls", tls_case, 0, false },
        { NULL, NULL, 0, false }
    };
    seed = strtoul(env("SOAK_SEED", text("%ld", (long)time(NULL))), NULL, 10);
    return harness_main(argc, argv, cases, "default,cluster", "default");
}
