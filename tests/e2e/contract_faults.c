/* Part of contract.c: time and timers, failures, cancellation and killing, code that is not
 * deterministic, processes that die, requests that nobody should send. Every case has keys of its
 * own, and leaves server and endpoint running. */
#include <dirent.h>

/* ---- What several of them need -------------------------------------------------------------- */

static bool faults_ready(void) {
    bool ready = endpoint_register(&contract);
    test_failures += !ready;
    return ready;
}

static long long count_rows(const char *from) {
    return query_number("c", text("select count(*) c from %s", from));
}

/* Waits until there are `least` to `most` rows. */
static bool rows_become(long long least, long long most, const char *from) {
    char kept[1024]; /* outlives the ring of text() */
    long long n = -1;
    snprintf(kept, sizeof kept, "%s", from);
    PATIENTLY(10)
        if ((n = count_rows(kept)) >= least && n <= most) return true;
    printf("  %lld rows, not %lld to %lld: %s\n", n, least, most, kept);
    return false;
}
static bool has_row(const char *from) { return rows_become(1, 1, from); }
static bool has_no_row(const char *from) { return rows_become(0, 0, from); }

static bool is_open(const char *id) {
    return has_row(
        text("sys_invocation where id = '%s' and status in ('running', 'suspended', 'backing-off')",
             id));
}

static bool ends_with_failure(const char *id, const char *part) {
    return has_row(text("sys_invocation where id = '%s' and status = 'completed' and "
                        "completion_failure like '%%%s%%'",
                        id, part));
}

/* Waits until no invocation of an object with that key is under way. */
static bool nothing_open(const char *key) {
    return has_no_row(
        text("sys_invocation where target_service_key = '%s' and status != 'completed'", key));
}

/* The first invocation of that handler with that key, waited for. */
static word invocation_of(const char *service, const char *key, const char *handler) {
    const word from = make_word("sys_invocation where target = '%s/%s/%s'", service, key, handler);
    CHECK(rows_become(1, 1000, from.s));
    return make_word(
        "%s", query_text("id", text("select id from %s order by created_at limit 1", from.s)));
}

static void count_comes_to(const char *path, int want) {
    const word number = make_word("%d", want);
    CHECK(comes_to(path, number.s));
}

/* Proxy's way to write bytes. */
static const char *octets(const char *body) {
    char list[1024] = "[";
    size_t n = 1;
    for (; *body && n < sizeof list - 8; body++)
        n += (size_t)snprintf(list + n, sizeof list - n, n > 1 ? ",%d" : "%d", *body & 255);
    return text("%s]", list);
}

/* A ProxyRequest; `key` NULL: to a plain service; `more`: further members, with a comma before. */
static const char *relayed(const char *service, const char *key, const char *handler,
                           const char *body, const char *more) {
    return text("{\"serviceName\":\"%s\",\"virtualObjectKey\":%s,\"handlerName\":\"%s\","
                "\"message\":%s%s}",
                service, key ? text("\"%s\"", key) : "null", handler, octets(body), more);
}

/* 200: it is over; 202: it hears of it. */
static void admin_does(const char *verb, const char *id, long status) {
    static reply r;
    http(&r, "PATCH", text("%s/invocations/%s/%s", admin, id, verb), NULL);
    CHECK_INT(r.status, status);
}

static void cancel_by_service(const char *id) {
    ASK("/TestUtilsService/cancelInvocation", text("\"%s\"", id), 200, "");
}

/* ---- Cases: time ---------------------------------------------------------------------------- */

#define LATER(ms) text("{\"sleep\":%d,\"parameter\":\"slept %d\"}", ms, ms)
#define SLEEP_PATH "/ServiceInterpreterHelper/echoLater"

static void sleep_case(void) {
    if (!faults_ready()) return;
    double start = now();
    ASK(SLEEP_PATH, LATER(300), 200, "\"slept 300\"");
    CHECK(now() - start > 0.29);
    ASK(SLEEP_PATH, LATER(0), 200, "\"slept 0\"");
}

static void make_sleep(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, SLEEP_PATH);
    snprintf(body, 256, "%s", LATER(500 + (int)i % 100));
}
static bool good_sleep(size_t i, const reply *r) {
    int ms = 500 + (int)i % 100;
    return r->status == 200 && strcmp(r->body, text("\"slept %d\"", ms)) == 0;
}

/* In invocations of their own, and within one. */
static void sleeps_case(void) {
    static char program[8192], want[1024];
    size_t n = 0, w = 0, count = scaled(300);
    batch sleeps = { count, count, make_sleep, good_sleep };
    if (!faults_ready()) return;
    double start = now();
    run_batch(&sleeps);
    CHECK(now() - start > 0.49 && took_at_most(start, 3));     /* not one after the other */

    n = (size_t)sprintf(program, "{\"commands\":[{\"type\":\"awaitAllCompleted\",\"commands\":[");
    w = (size_t)sprintf(want, "\"");
    for (int i = 0; i < 80; i++) {
        n += (size_t)sprintf(program + n, "%s{\"type\":\"sleep\",\"timeoutMillis\":%d}",
                             i ? "," : "", 300 + i);
        w += (size_t)sprintf(want + w, "%sok:sleep", i ? "|" : "");
    }
    sprintf(program + n, "]}]}");
    sprintf(want + w, "\"");
    start = now();
    ASK(text("/VirtualObjectCommandInterpreter/sleeps-%s/interpretCommands", running->name),
        program, 200, want);
    CHECK(now() - start > 0.37 && took_at_most(start, 0.5));
}

/* Starts `count` sleeps, and waits until the server has the timers. */
static void start_sleeps(word *ids, int count, int ms) {
    for (int i = 0; i < count; i++) ids[i] = start_call(SLEEP_PATH, LATER(ms));
    for (int i = 0; i < count; i++) CHECK(has_commands(ids[i].s, "Sleep", 1));
}

static void end_sleeps(const word *ids, int count, int ms) {
    for (int i = 0; i < count; i++) ATTACH(ids[i].s, 200, text("\"slept %d\"", ms));
}

/* A stop waits up to 5 s for what is open, so that only sleeps that are longer are cut. Where every
 * wait suspends nothing is open. */
static void sleep_outage_case(void) {
    enum { SHORT = 20, LONG = 10 };
    static word brief[SHORT], lengthy[LONG];
    int length = running == &modes[SUSPEND] ? 1500 : 6000;
    if (!faults_ready()) return;
    double start = now();
    start_sleeps(lengthy, LONG, length);
    start_sleeps(brief, SHORT, 1500);
    endpoint_kill(&contract);
    CHECK(endpoint_start(&contract));
    for (int i = 0; i < LONG; i++) CHECK(is_open(lengthy[i].s) || now() - start > length / 1000.0);
    CHECK_INT(endpoint_stop(&contract), 0);
    CHECK(endpoint_start(&contract));
    end_sleeps(brief, SHORT, 1500);
    CHECK(now() - start > 1.49);
    end_sleeps(lengthy, LONG, length);
    CHECK(now() - start > length / 1000.0 - 0.01);
}

/* Timers of sleeps and of delayed sends, most of them on disk only, over a crash of the server. */
static void timers_case(void) {
    enum { COUNT = 25 };
    static word sleeps[COUNT];
    if (!server_special("--set RESTATE_WORKER__NUM_TIMERS_IN_MEMORY_LIMIT=1")) return;
    if (!faults_ready()) return;
    word key = make_word("timers-%s", running->name);
    double start = now();
    for (int i = 0; i < COUNT; i++)
        ASK("/Proxy/oneWayCall", relayed("Counter", key.s, "add", "1", ",\"delayMillis\":1500"),
            200, "*inv_");
    start_sleeps(sleeps, COUNT, 1500);
    server_kill();
    server_restart();
    end_sleeps(sleeps, COUNT, 1500);
    CHECK(now() - start > 1.49);
    count_comes_to(text("/Counter/%s/get", key.s), COUNT);
    CHECK(nothing_open(key.s));
    CHECK_INT(count_rows(text("sys_invocation where target = 'Counter/%s/add' and "
                              "running_at >= created_at + interval '1000 milliseconds'",
                              key.s)),
              COUNT);
}

/* ---- Cases: failures and retries ------------------------------------------------------------ */

/* Counted from a fresh program on. */
static void retries_case(void) {
    if (!faults_ready()) return;
    word at = make_word("/Failing/retries-%s", running->name);
    endpoint_kill(&contract);
    CHECK(endpoint_start(&contract));
    ASK(text("%s/failingCallWithEventualSuccess", at.s), NULL, 200, "4");
    ASK(text("%s/failingCallWithEventualSuccess", at.s), NULL, 200, "4");
    ASK(text("%s/sideEffectSucceedsAfterGivenAttempts", at.s), "3", 200, "3");
    ASK(text("%s/sideEffectSucceedsAfterGivenAttempts", at.s), "1", 200, "1");
    ASK(text("%s/sideEffectFailsAfterGivenAttempts", at.s), "1", 200, "1");
    ASK(text("%s/sideEffectFailsAfterGivenAttempts", at.s), "3", 200, "4");

    /* The program dies between two tries of a run: its counter begins anew, the run goes on. */
    word id = start_call(text("%s/sideEffectSucceedsAfterGivenAttempts", at.s), "50");
    CHECK(is_open(id.s));
    endpoint_kill(&contract);
    CHECK(endpoint_start(&contract));
    ATTACH(id.s, 200, "50");
}

/* Each run waits for the server to have its result. */
static void flush_case(void) {
    if (!faults_ready()) return;
    bool suspends = running == &modes[SUSPEND];
    ASK("/TestUtilsService/countExecutedSideEffects", "10", 200, suspends ? "0" : "10");
    ASK("/TestUtilsService/countExecutedSideEffects", "1", 200, suspends ? "0" : "1");
    ASK("/TestUtilsService/countExecutedSideEffects", "0", 200, "0");
}

static void run_failure_case(void) {
    static reply r;
    if (!faults_ready()) return;
    const word path = make_word("/Failing/run-%s/terminallyFailingSideEffect", running->name);
    call(&r, path.s, "{\"errorMessage\":\"no \\u00fc\",\"metadata\":{\"k\":\"v\",\"l\":\"\"}}");
    CHECK_INT(r.status, 500);
    CHECK_HAS(r.body, "\"code\":500,\"message\":\"no \u00fc\"");
    CHECK_HAS(r.body, "\"k\":\"v\"");
    CHECK_HAS(r.body, "\"l\":\"\"");
    ASK(path.s, "{\"errorMessage\":\"\",\"metadata\":null}", 500, "*\"message\":\"\"");
    call(&r, path.s, "{\"errorMessage\":\"plain\"}");
    CHECK_INT(r.status, 500);
    CHECK_HAS(r.body, "\"message\":\"plain\"");
    CHECK(!strstr(r.body, "\"k\""));
}

/* ---- Cases: cancellation -------------------------------------------------------------------- */

/* One tree: a runner that calls a blocker, which waits for an awakeable, then for something else.
 */
typedef struct tree {
    const char *operation;
    bool unlocked;   /* it is to wait for something else */
    bool by_service; /* who cancels: TestUtilsService, or the admin API */
    word key, runner, blocker;
} tree;

static void tree_start(tree *t, const char *name) {
    t->key =
        make_word("%s-%s-%s-%d%d", running->name, name, t->operation, t->unlocked, t->by_service);
    t->runner =
        start_call(text("/CancelTestRunner/%s/startTest", t->key.s), text("\"%s\"", t->operation));
}

/* Until it waits where it is to be cancelled. A second awakeable is no command; what is left to see
 * is that the first is completed. */
static void tree_wait(tree *t) {
    CHECK(comes_to(text("/AwakeableHolder/%s/hasAwakeable", t->key.s), "true"));
    t->blocker = invocation_of("CancelTestBlockingService", t->key.s, "block");
    if (!t->unlocked) return;
    ASK(text("/AwakeableHolder/%s/unlock", t->key.s), "\"go on\"", 200, "");
    if (strcmp(t->operation, "CALL") == 0) CHECK(has_commands(t->blocker.s, "Call", 2));
    if (strcmp(t->operation, "SLEEP") == 0) CHECK(has_commands(t->blocker.s, "Sleep", 1));
    CHECK(has_row(
        text("sys_journal where id = '%s' and entry_type = 'Notification: Signal'", t->blocker.s)));
}

/* The callee was cancelled before the caller went on, the caller got a failure, nothing is left. */
static void tree_check(const tree *t) {
    static const char order[] = "sys_journal s join sys_journal w on s.id = w.id and "
                                "s.index < w.index where s.id = '%s' and s.entry_type = "
                                "'Command: SendSignal' and w.entry_type = 'Command: SetState'";
    test_note = t->key.s;
    ATTACH(t->runner.s, 200, "");
    ASK(text("/CancelTestRunner/%s/verifyTest", t->key.s), NULL, 200, "true");
    ASK(text("/CancelTestBlockingService/%s/isUnlocked", t->key.s), NULL, 200, "");
    CHECK(ends_with_failure(t->blocker.s, "[409]"));
    CHECK_INT(count_rows(text(order, t->runner.s)), 1);
    CHECK(nothing_open(t->key.s));
    test_note = "";
}

/* All of them at the same time. */
static void cancel_trees_case(void) {
    static const char *const operations[] = { "CALL", "SLEEP", "AWAKEABLE" };
    static tree trees[12];
    if (!faults_ready()) return;
    for (int i = 0; i < 12; i++) {
        trees[i].operation = operations[i % 3];
        trees[i].unlocked = i >= 6;
        trees[i].by_service = i / 3 % 2;
        tree_start(&trees[i], "tree");
    }
    for (int i = 0; i < 12; i++) tree_wait(&trees[i]);
    for (int i = 0; i < 12; i++)
        if (trees[i].by_service) cancel_by_service(trees[i].runner.s);
        else cancel(trees[i].runner.s);
    for (int i = 0; i < 12; i++) tree_check(&trees[i]);
}

/* What is cancelled before its first attempt ends without one: the answer is 200 then. */
static bool comes_to_an_attempt(const char *id) {
    PATIENTLY(2)
        if (count_rows(text("sys_invocation where id = '%s' and status in ('running', 'suspended', "
                            "'backing-off')", id)) == 1)
            return true;
    return false;
}

/* As soon as there is an attempt, and while nobody is there to hear of it. */
static void cancel_outage_case(void) {
    tree early = { .operation = "SLEEP" }, late = { .operation = "SLEEP", .unlocked = true };
    if (!faults_ready()) return;
    tree_start(&early, "early");
    CHECK(comes_to_an_attempt(early.runner.s));
    cancel(early.runner.s);
    ATTACH(early.runner.s, 200, "");
    ASK(text("/CancelTestRunner/%s/verifyTest", early.key.s), NULL, 200, "true");
    ASK(text("/CancelTestBlockingService/%s/isUnlocked", early.key.s), NULL, 200, "");

    tree_start(&late, "outage");
    tree_wait(&late);
    endpoint_kill(&contract);
    cancel(late.runner.s);
    CHECK(endpoint_start(&contract));
    tree_check(&late);
}

static void cancel_unstarted(const char *id, bool by_service) {
    if (by_service) cancel_by_service(id);
    else admin_does("cancel", id, 200);
    CHECK(has_no_row(text("sys_invocation where id = '%s' and status != 'completed'", id)));
}

/* One that is scheduled for later, and one that waits for its object: they never run. */
static void cancel_unstarted_case(void) {
    if (!faults_ready()) return;
    for (int by_service = 0; by_service < 2; by_service++) {
        word key = make_word("unstarted-%s-%d", running->name, by_service);
        ASK("/Proxy/oneWayCall", relayed("Counter", key.s, "add", "1", ",\"delayMillis\":5000000"),
            200, "*inv_");
        word scheduled = invocation_of("Counter", key.s, "add");
        cancel_unstarted(scheduled.s, by_service);
        ASK(text("/Counter/%s/add", key.s), "1", 200, "{\"oldValue\": 0, \"newValue\": 1}");

        word holder = start_call(text("/CancelTestBlockingService/%s/block", key.s), "\"CALL\"");
        CHECK(comes_to(text("/AwakeableHolder/%s/hasAwakeable", key.s), "true"));
        word caller = start_call("/Proxy/call",
                                 relayed("CancelTestBlockingService", key.s, "isUnlocked", "", ""));
        word waiting = invocation_of("CancelTestBlockingService", key.s, "isUnlocked");
        cancel_unstarted(waiting.s, by_service);
        ATTACH(caller.s, 409, "*");
        CHECK(is_open(holder.s));
        cancel(holder.s);
        ATTACH(holder.s, 409, "*");
        ASK(text("/CancelTestBlockingService/%s/isUnlocked", key.s), NULL, 200, "");
    }
}

/* ---- Cases: killing ------------------------------------------------------------------------- */

static word child_of(const char *id) {
    return make_word("%s", query_text("id", text("select id from sys_invocation where "
                                                 "invoked_by_id = '%s'",
                                                 id)));
}

/* Starts a tree of three: a runner, a singleton, and another call of the singleton, which waits for
 * the first one. Gives the runner's id. */
static word start_kill_tree(const char *key) {
    word runner = start_call(text("/KillTestRunner/%s/startCallTree", key), NULL);
    CHECK(comes_to(text("/AwakeableHolder/%s/hasAwakeable", key), "true"));
    ASK(text("/AwakeableHolder/%s/unlock", key), "\"go on\"", 200, "");
    CHECK(has_commands(child_of(runner.s).s, "Call", 1));
    return runner;
}

static void check_unlocked(const char *key) {
    ASK(text("/KillTestSingleton/%s/isUnlocked", key), NULL, 200, "");
    ASK(text("/AwakeableHolder/%s/hasAwakeable", key), NULL, 200, "false");
    CHECK(nothing_open(key));
}

static void kill_case(void) {
    if (!faults_ready()) return;
    word key = make_word("kill-%s", running->name);
    word runner = start_kill_tree(key.s);
    admin_does("kill", runner.s, 200);
    ATTACH(runner.s, 409, "*killed");
    check_unlocked(key.s);

    /* One in the middle of the tree, and the same runner and key again. */
    runner = start_kill_tree(key.s);
    word middle = child_of(runner.s);
    admin_does("kill", middle.s, 200);
    ATTACH(runner.s, 409, "*killed");
    check_unlocked(key.s);

    /* One that nobody has called, while the endpoint is away. */
    word alone = start_call(text("/CancelTestBlockingService/%s/block", key.s), "\"SLEEP\"");
    CHECK(comes_to(text("/AwakeableHolder/%s/hasAwakeable", key.s), "true"));
    endpoint_kill(&contract);
    admin_does("kill", alone.s, 200);
    CHECK(endpoint_start(&contract));
    ATTACH(alone.s, 409, "*killed");
    ASK(text("/CancelTestBlockingService/%s/isUnlocked", key.s), NULL, 200, "");
}

/* ---- Cases: code that is not deterministic -------------------------------------------------- */

/* Every wait ends the attempt, and what fails is not tried again. */
static void nondeterminism_case(void) {
    static const struct {
        const char *handler, *recorded, *asked;
    } ways[] = { { "eitherSleepOrCall", "command 1 is recorded as 'sleep'", "call" },
                 { "callDifferentMethod", "command 1 (call)", "\\\"get\\\" != \\\"reset\\\"" },
                 { "backgroundInvokeWithDifferentTargets", "command 1 (send)",
                   "\\\"get\\\" != \\\"reset\\\"" },
                 { "setDifferentKey", "command 1 (set state)", "\\\"a\\\" != \\\"b\\\"" } };
    static reply r;
    if (!server_special("--suspend --set RESTATE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS=1 "
                        "--set RESTATE_DEFAULT_RETRY_POLICY__ON_MAX_ATTEMPTS=kill"))
        return;
    if (!faults_ready()) return;
    ASK("/Counter/abc/add", "7", 200, NULL);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        word key = make_word("%s-%s", running->name, ways[i].handler);
        test_note = ways[i].handler;
        call(&r, text("/NonDeterministic/%s/%s", key.s, ways[i].handler), NULL);
        CHECK_INT(r.status, 570);
        CHECK_HAS(r.body, ways[i].recorded);
        CHECK_HAS(r.body, ways[i].asked);
        ASK(text("/Counter/%s/get", key.s), NULL, 200, "0");
        CHECK_INT(count_rows(text("sys_invocation where target = 'Counter/%s/add'", key.s)), 0);
    }
    test_note = "";
    ASK("/Counter/abc/get", NULL, 200, "7"); /* never reset */
    CHECK_INT(count_rows("sys_invocation where target = 'Counter/abc/reset'"), 0);
    CHECK_INT(count_rows("state where service_name = 'NonDeterministic' and key = 'b'"), 0);
}

/* ---- Cases: processes that die with work under way ------------------------------------------ */

/* Some of everything, with keys of its own. Each invocation has an idempotency key: it is the same
 * one however often it is sent. */
typedef struct work {
    word key;
    int number;         /* of an object whose key has to be one */
    size_t count, most; /* sent; to be sent */
    word ids[128];
    const char *wants[128]; /* their results */
} work;

enum {
    WORK_MANY = 6,
    WORK_EACH = 20,
    WORK_ADDS = 20,
    WORK_PROGRAMS = 8,
    WORK_NAPS = 8,
    WORK_WAITS = 4,
    WORK_CALLS = 4,
    WORK_DELAYED = 5
};

/* A request may come to a server while others of its cluster die: then again. */
static void work_post(reply *r, const char *path, const char *header, const char *body) {
    const char *const headers[] = { header, NULL };
    char to[256];
    PATIENTLY(20) {
        snprintf(to, sizeof to, "%s%s/send", ingress, path); /* `body` may be a text() */
        http_with(r, "POST", to, body, headers);
        if (r->status == 202) return;
    }
    printf("  %s: %ld %s\n", path, r->status, r->body);
    test_failures++;
}

/* A workflow is the same by its own key, and takes no other. */
static void work_send(work *w, const char *path, const char *body, const char *want) {
    static reply r;
    bool named = strncmp(path, "/BlockAndWaitWorkflow", 21) != 0;
    size_t i = w->count;
    if (i >= w->most) return;
    word header = make_word("%s: %s-%zu", named ? "idempotency-key" : "x-unused", w->key.s, i);
    work_post(&r, path, header.s, body);
    cJSON *answer = cJSON_Parse(r.body);
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItem(answer, "invocationId"));
    if (w->ids[i].s[0]) CHECK_STR(id, w->ids[i].s);
    w->ids[i] = make_word("%s", id ? id : "");
    w->wants[i] = want;
    w->count++;
    cJSON_Delete(answer);
    keep_id(w->ids[i].s);
}

/* Calls that are waited for, calls that are not, and sends, in turn. */
static const char *many_adds(const work *w) {
    static char list[16384];
    size_t n = (size_t)sprintf(list, "[");
    for (int i = 0; i < WORK_EACH; i++)
        n += (size_t)sprintf(list + n,
                             "%s{\"proxyRequest\":%s,\"oneWayCall\":%s,"
                             "\"awaitAtTheEnd\":%s}",
                             i ? "," : "",
                             relayed("Counter", text("%s-%d", w->key.s, i % 2), "add", "1", ""),
                             i % 3 == 2 ? "true" : "false", i % 3 == 0 ? "true" : "false");
    sprintf(list + n, "]");
    return list;
}

/* Adds 4 to the counter of its object (by itself, by a send, a delayed send, a dance of
 * awakeables), and 2 to that of the object below. */
static const char *program_for(const work *w) {
    return text("{\"commands\":[{\"kind\":1,\"key\":1},{\"kind\":4},{\"kind\":5},{\"kind\":10},"
                "{\"kind\":12},{\"kind\":6,\"duration\":50},{\"kind\":9,\"duration\":300},"
                "{\"kind\":7},{\"kind\":8,\"sleep\":50},{\"kind\":16},{\"kind\":17},{\"kind\":18},"
                "{\"kind\":13},{\"kind\":11},{\"kind\":19,\"key\":%d,\"program\":{\"commands\":["
                "{\"kind\":4},{\"kind\":6,\"duration\":30},{\"kind\":4}]}},"
                "{\"kind\":15,\"index\":7},{\"kind\":15,\"index\":8},{\"kind\":15,\"index\":9},"
                "{\"kind\":15,\"index\":10},{\"kind\":15,\"index\":14},{\"kind\":3,\"key\":1}]}",
                w->number);
}

/* Also again, for those that may not have arrived. */
static void work_start(work *w) {
    static const char await[] = "{\"commands\":[{\"type\":\"awaitOne\",\"command\":"
                                "{\"type\":\"createAwakeable\",\"awakeableKey\":\"a\"}}]}";
    const char *key = w->key.s;
    w->count = 0;
    work_send(w, text("/BlockAndWaitWorkflow/%s/run", key), "\"held\"", "\"let go\"");
    for (int i = 0; i < WORK_WAITS; i++)
        work_send(w, text("/VirtualObjectCommandInterpreter/%s-%d/interpretCommands", key, i),
                  await, "\"awake\"");
    for (int i = 0; i < WORK_DELAYED; i++)
        work_send(w, "/Proxy/oneWayCall",
                  relayed("Counter", key, "add", "1", ",\"delayMillis\":800"), "*inv_");
    for (int i = 0; i < WORK_NAPS; i++) work_send(w, SLEEP_PATH, LATER(800), "\"slept 800\"");
    for (int i = 0; i < WORK_CALLS; i++)
        work_send(w, "/Proxy/call",
                  relayed("ServiceInterpreterHelper", NULL, "echoLater",
                          "{\"sleep\":600,\"parameter\":1}", ""),
                  "[49]");
    for (int i = 0; i < WORK_PROGRAMS; i++)
        work_send(w, text("/ObjectInterpreterL0/%s-%d/interpret", key, i), program_for(w), "");
    for (int i = 0; i < WORK_MANY; i++) work_send(w, "/Proxy/manyCalls", many_adds(w), "");
    for (int i = 0; i < WORK_ADDS; i++)
        work_send(w, text("/Counter/%s/add", key), "1", "*newValue");
}

/* Until that shared handler, called with that body, succeeds. */
static void until_done(const char *path, const char *body) {
    static reply r;
    const word at = make_word("%s", path);
    PATIENTLY(20) {
        call(&r, at.s, body);
        if (r.status == 200) return;
    }
    printf("  %s: %ld %s\n", at.s, r.status, r.body);
    test_failures++;
}

/* Lets go what waits, and waits for the results. */
static void work_attach(const work *w) {
    const char *key = w->key.s;
    until_done(text("/BlockAndWaitWorkflow/%s/unblock", key), "\"let go\"");
    for (int i = 0; i < WORK_WAITS; i++)
        until_done(text("/VirtualObjectCommandInterpreter/%s-%d/resolveAwakeable", key, i),
                   "{\"awakeableKey\":\"a\",\"value\":\"awake\"}");
    for (size_t i = 0; i < w->count; i++) ATTACH(w->ids[i].s, 200, w->wants[i]);
}

static void work_counters(const work *w) {
    const char *key = w->key.s;
    count_comes_to(text("/Counter/%s/get", key), WORK_ADDS + WORK_DELAYED);
    count_comes_to(text("/Counter/%s-0/get", key), WORK_MANY * WORK_EACH / 2);
    count_comes_to(text("/Counter/%s-1/get", key), WORK_MANY * WORK_EACH / 2);
    count_comes_to(text("/ObjectInterpreterL1/%d/counter", w->number), 2 * WORK_PROGRAMS);
    for (int i = 0; i < WORK_PROGRAMS; i++)
        count_comes_to(text("/ObjectInterpreterL0/%s-%d/counter", key, i), 4);
}

/* Waits for everything; counts, and once more when nothing that has begun since is under way. */
static void work_end(const work *works, size_t count) {
    for (size_t i = 0; i < count; i++) work_attach(&works[i]);
    for (size_t i = 0; i < count; i++) work_counters(&works[i]);
    CHECK(has_no_row(text("sys_invocation where status != 'completed' and created_at >= "
                          "(select created_at from sys_invocation where id = '%s')",
                          works[0].ids[0].s)));
    for (size_t i = 0; i < count; i++) work_counters(&works[i]);
}

static work work_new(const char *name, int number) {
    work w = { .key = make_word("%s-%s", name, running->name), .number = number, .most = 128 };
    return w;
}

/* Until some of it is done, so that what happens next happens in the middle of it. */
static void work_goes_on(const work *w, int adds) {
    static reply r;
    const word path = make_word("/Counter/%s-0/get", w->key.s);
    PATIENTLY(5) {
        call(&r, path.s, NULL);
        if (r.status == 200 && atoi(r.body) >= adds) return;
    }
    printf("  %s stays %ld %s\n", path.s, r.status, r.body);
    test_failures++;
}

static void server_crash_case(void) {
    static work works[2];
    if (!faults_ready()) return;
    works[0] = work_new("server-crash", 1001);
    works[1] = work_new("server-stop", 1002);
    work_start(&works[0]);
    work_goes_on(&works[0], 1);
    server_kill();
    server_restart();
    work_start(&works[1]);
    work_goes_on(&works[1], 1);
    if (running == &modes[CLUSTER]) node_restart(1); /* SIGTERM; all of it takes 6 s to be back */
    else server_restart();
    work_end(works, 2);
}

static void endpoint_crash_case(void) {
    enum { TIMES = 5 };
    static work works[TIMES];
    if (!faults_ready()) return;
    for (int i = 0; i < TIMES; i++) {
        works[i] = work_new(text("endpoint-crash-%d", i), 1010 + i);
        work_start(&works[i]);
        work_goes_on(&works[i], 1 + 5 * i);
        endpoint_kill(&contract);
        CHECK(endpoint_start(&contract));
    }
    work_end(works, TIMES);
}

/* ---- Cases: signed requests ----------------------------------------------------------------- */

/* Bitcoin's alphabet. `bytes` is divided by 58 again and again, and used up. */
static void base58(unsigned char *bytes, size_t count, char *out, size_t room) {
    static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    size_t zeros = 0, at = room;
    out[--at] = 0;
    while (zeros < count && !bytes[zeros]) zeros++;
    for (size_t from = zeros; from < count && at > 0;) {
        unsigned rest = 0;
        for (size_t i = from; i < count; i++) {
            rest = rest * 256 + bytes[i];
            bytes[i] = (unsigned char)(rest / 58);
            rest %= 58;
        }
        out[--at] = digits[rest];
        while (from < count && !bytes[from]) from++;
    }
    while (zeros-- > 0 && at > 0) out[--at] = '1';
    memmove(out, out + at, room - at);
}

/* Makes a key pair. The private key goes to DIR/NAME.pem; gives the public one's text, "" if that
 * failed. A public key in DER ends with its 32 bytes. */
static word make_signing_key(const char *dir, const char *name) {
    unsigned char der[256];
    char digits[64];
    const char *at = text("%s/%s", dir, name);
    size_t n = 0;
    FILE *out = popen(text("openssl genpkey -algorithm ed25519 -out %s.pem && "
                           "openssl pkey -in %s.pem -pubout -outform DER",
                           at, at),
                      "r");
    if (out) n = fread(der, 1, sizeof der, out);
    if (!out || pclose(out) != 0 || n < 32) return make_word("");
    base58(der + n - 32, 32, digits, sizeof digits);
    return make_word("publickeyv1_%s", digits);
}

/* To the endpoint, without a server; `header` may be NULL. */
static long status_of(const endpoint *e, const char *method, const char *path, const char *header) {
    static reply r;
    CURL *curl = curl_easy_init();
    const char *url = text("http://127.0.0.1:%d%s", e->port, path);
    struct curl_slist *headers = header ? curl_slist_append(NULL, header) : NULL;
    prepare(curl, &r, method, url, NULL);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    perform(curl, &r, url);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return r.status;
}

static endpoint guarded = { .program = "test-services", .log = "test-services-guarded" };

/* Started again with these keys; whether the server that is up is let in. */
static bool lets_in(const char *keys) {
    static char setting[512];
    static reply r;
    snprintf(setting, sizeof setting, "E2E_REQUEST_SIGNING=%s", keys);
    guarded.settings[0] = setting;
    endpoint_kill(&guarded);
    CHECK(endpoint_start(&guarded));
    http(&r, "POST", text("%s/deployments", admin),
         text("{\"uri\":\"http://127.0.0.1:%d\",\"force\":true}", guarded.port));
    if (r.status == 201 || r.status == 200) return true;
    CHECK_HAS(r.body, "META0003");
    CHECK_HAS(r.body, "401");
    return false;
}

static void check_unsigned(const char *scheme) {
    test_note = scheme ? scheme : "no scheme";
    CHECK_INT(status_of(&guarded, "GET", "/discover", scheme), 401);
    CHECK_INT(status_of(&guarded, "POST", "/invoke/Counter/add", scheme), 401);
    CHECK_INT(status_of(&guarded, "POST", "/invoke/Nobody/nothing", scheme), 401);
    CHECK_INT(status_of(&guarded, "POST", "/serdes/Counter/decode/get/output", scheme), 401);
    CHECK_INT(status_of(&guarded, "GET", "/health", scheme), 200);
    test_note = "";
}

static void identity_with(const char *dir) {
    static const char suites[] = "publickeyv1_ChjENKeMvCtRnqG2mrBK1HmPKufgFUc98K8B3ononQvp";
    word own = make_signing_key(dir, "own"), foreign = make_signing_key(dir, "foreign");
    CHECK(own.s[0] && foreign.s[0]);
    CHECK(!lets_in(own.s)); /* this server does not sign */
    check_unsigned(NULL);
    check_unsigned("x-restate-signature-scheme: unsigned");
    check_unsigned("x-restate-signature-scheme: v1");
    if (!server_special(text("--set RESTATE_WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE="
                             "%s/own.pem",
                             dir)))
        return;
    CHECK(!lets_in(foreign.s));
    CHECK(!lets_in(text("%s,%s", suites, foreign.s)));
    CHECK(lets_in(own.s));
    ASK(text("/Counter/signed-%s/add", running->name), "1", 200, NULL);
    ASK("/Proxy/call", relayed("Counter", text("signed-%s", running->name), "get", "", ""), 200,
        "[49]");
    CHECK(lets_in(text("%s, %s ,%s", suites, own.s, foreign.s)));
    ASK(text("/Counter/signed-%s/get", running->name), NULL, 200, "1");
    reply r;                                /* payloads for the UI: the request got as far as the codec */
    http(&r, "POST", text("%s/internal/services/Counter/serdes/decode/get/output", admin), "1");
    CHECK_HAS(r.body, "status code '404'");
    CHECK_INT(endpoint_stop(&guarded), 0);
}

static void identity_case(void) {
    char dir[128];
    snprintf(dir, sizeof dir, "%s/e2e-keys.XXXXXX", env("TMPDIR", "/tmp"));
    CHECK(mkdtemp(dir) != NULL);
    identity_with(dir);
    unlink(text("%s/own.pem", dir));
    unlink(text("%s/foreign.pem", dir));
    rmdir(dir);
}

/* ---- Cases: TLS ------------------------------------------------------------------------------ */

static endpoint encrypted = { .program = "test-services", .log = "test-services-tls" };

/* A request of curl's over TLS, with a certificate of its own if `own` names one; the status. */
static long status_over_tls(const char *dir, const char *own, const char *path, bool http1) {
    static reply r;
    CURL *curl = curl_easy_init();
    const char *url = text("https://localhost:%d%s", encrypted.port, path);
    prepare(curl, &r, "GET", url, NULL);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION,
                     http1 ? (long)CURL_HTTP_VERSION_1_1 : (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(curl, CURLOPT_CAINFO, text("%s/ca.pem", dir));
    if (own) curl_easy_setopt(curl, CURLOPT_SSLCERT, text("%s/%s.pem", dir, own));
    if (own) curl_easy_setopt(curl, CURLOPT_SSLKEY, text("%s/%s.key", dir, own));
    perform(curl, &r, url);
    curl_easy_cleanup(curl);
    return r.status;
}

static bool encrypted_start(const char *dir, const char *client_ca) {
    static char settings[3][160];
    snprintf(settings[0], sizeof settings[0], "TLS_CERTIFICATE=%s/endpoint.pem", dir);
    snprintf(settings[1], sizeof settings[1], "TLS_KEY=%s/endpoint.key", dir);
    snprintf(settings[2], sizeof settings[2], "TLS_CLIENT_CA=%s", client_ca);
    for (int i = 0; i < 3; i++) encrypted.settings[i] = settings[i];
    endpoint_kill(&encrypted);
    return endpoint_start(&encrypted);
}

static long register_encrypted(const char *scheme) {
    static reply r;
    http(&r, "POST", text("%s/deployments", admin),
         text("{\"uri\":\"%s://localhost:%d\",\"force\":true}", scheme, encrypted.port));
    return r.status;
}

static void tls_with(const char *dir) {
    static char large[100001];
    CHECK(make_certificate(dir, "somebody"));
    CHECK(encrypted_start(dir, ""));
    CHECK(register_encrypted("https") >= 400);         /* this server does not know the CA */
    if (!server_special(text("--set SSL_CERT_FILE=%s/ca.pem", dir))) return;
    CHECK(register_encrypted("http") >= 400);
    CHECK_INT(register_encrypted("https"), 201);
    CHECK_INT(status_over_tls(dir, NULL, "/health", false), 200);
    CHECK_INT(status_over_tls(dir, NULL, "/health", true), 200);
    CHECK_INT(status_over_tls(dir, NULL, "/discover", true), 505);
    word at = make_word("/Counter/tls-%s", running->name);
    ASK(text("%s/add", at.s), "1", 200, NULL);
    memset(large, 'x', sizeof large - 1);
    ASK(text("/TestUtilsService/echo"), text("\"%.1000s\"", large), 200, NULL);
    ASK("/Proxy/call", relayed("Counter", text("tls-%s", running->name), "get", "", ""), 200, "[49]");

    CHECK(make_certificate(dir, "endpoint"));           /* another key, too */
    CHECK_INT(status_over_tls(dir, NULL, "/health", false), 200);
    endpoint_kill(&encrypted);                          /* in the middle of an invocation */
    word id = start_call(text("%s/add", at.s), "1");
    CHECK(encrypted_start(dir, ""));
    ATTACH(id.s, 200, NULL);
    ASK(text("%s/get", at.s), NULL, 200, "2");

    CHECK(encrypted_start(dir, text("%s/ca.pem", dir)));
    CHECK_INT(status_over_tls(dir, NULL, "/health", false), 0);
    CHECK_INT(status_over_tls(dir, "somebody", "/health", false), 200);
    CHECK_INT(endpoint_stop(&encrypted), 0);
}

/* The server trusts a CA that SSL_CERT_FILE names. */
static void tls_case(void) {
    with_certificates(tls_with);
}

/* ---- Cases: what no server would send ------------------------------------------------------- */

typedef struct octet_string {
    size_t n;
    unsigned char at[2048];
} octet_string;

static void put_octets(octet_string *to, const void *bytes, size_t n) {
    if (n > sizeof to->at - to->n) n = sizeof to->at - to->n;
    memcpy(to->at + to->n, bytes, n);
    to->n += n;
}

static void put_number(octet_string *to, unsigned long number, int bytes) {
    for (int i = bytes - 1; i >= 0; i--)
        put_octets(to, &(unsigned char){ number >> 8 * i & 255 }, 1);
}

enum {
    H2_DATA,
    H2_HEADERS,
    H2_RST_STREAM = 3,
    H2_SETTINGS,
    H2_PUSH_PROMISE,
    H2_GOAWAY = 7,
    H2_CONTINUATION = 9
};
enum { H2_END_STREAM = 1, H2_END_HEADERS = 4 };

static void put_frame(octet_string *to, int type, int flags, unsigned stream, const void *payload,
                      size_t n) {
    put_number(to, n, 3);
    put_number(to, (unsigned)type, 1);
    put_number(to, (unsigned)flags, 1);
    put_number(to, stream, 4);
    put_octets(to, payload, n);
}

/* A literal, not indexed, name and value in the clear. */
static void put_header(octet_string *to, const char *name, const char *value) {
    put_number(to, 0, 1);
    put_number(to, strlen(name), 1);
    put_octets(to, name, strlen(name));
    put_number(to, strlen(value), 1);
    put_octets(to, value, strlen(value));
}

static void put_preface(octet_string *to) {
    put_octets(to, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(to, H2_SETTINGS, 0, 0, NULL, 0);
}

static void put_invoke(octet_string *to, const char *path) {
    static octet_string block;
    block.n = 0;
    put_header(&block, ":method", "POST");
    put_header(&block, ":scheme", "http");
    put_header(&block, ":authority", "endpoint");
    put_header(&block, ":path", path);
    put_header(&block, "content-type", "application/vnd.restate.invocation.v6");
    put_frame(to, H2_HEADERS, H2_END_HEADERS, 1, block.at, block.n);
}

/* A message of the invocation that stream 1 is; `n` may be more than there is. */
static void put_message(octet_string *to, unsigned type, const void *payload, size_t have, size_t n,
                        int flags) {
    static octet_string message;
    message.n = 0;
    put_number(&message, type, 2);
    put_number(&message, 0, 2);
    put_number(&message, n, 4);
    put_octets(&message, payload, have);
    put_frame(to, H2_DATA, flags, 1, message.at, message.n);
}

enum { START = 0x0000, INPUT = 0x0400 };
static const char start_one[] = "\x0a\x01x\x12\x05inv_x\x18\x01"; /* id, debug_id, one entry */
static const char start_many[] = "\x0a\x01x\x12\x05inv_x\x18\xff\xff\xff\xff\x0f";
static const char input_five[] = "\x72\x03\x0a\x01\x35";

static void write_garbage(octet_string *to) {
    unsigned seed = 7;
    for (int i = 0; i < 1500; i++)
        put_number(to, (seed = seed * 1103515245u + 12345u) >> 16 & 255, 1);
}
static void write_half_preface(octet_string *to) { put_octets(to, "PRI * HTTP/2.", 13); }
static void write_http_1(octet_string *to) {
    const char request[] = "POST /invoke/Counter/add HTTP/1.1\r\nhost: x\r\n\r\n";
    put_octets(to, request, sizeof request - 1);
}
static void write_lone_preface(octet_string *to) { put_preface(to); }
static void write_data_nowhere(octet_string *to) {
    put_preface(to);
    put_frame(to, H2_DATA, 0, 0, "x", 1);
}
static void write_push(octet_string *to) {
    put_preface(to);
    put_frame(to, H2_PUSH_PROMISE, H2_END_HEADERS, 1, "\0\0\0\2", 4);
}
static void write_lone_continuation(octet_string *to) {
    put_preface(to);
    put_frame(to, H2_CONTINUATION, H2_END_HEADERS, 1, "x", 1);
}
static void write_huge_frame(octet_string *to) {
    put_preface(to);
    put_octets(to, "\xff\xff\xff\0\0\0\0\0\1", 9);
}
static void write_bad_headers(octet_string *to) {
    put_preface(to);
    put_frame(to, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 1, "\xff\xff\xff\xff\xff\xff", 6);
}
static void write_half_headers(octet_string *to) {
    put_preface(to);
    put_invoke(to, "/invoke/Counter/add");
    to->n -= 10;
}

static void write_invoke(octet_string *to) {
    put_preface(to);
    put_invoke(to, "/invoke/Counter/add");
}
static void write_nothing(octet_string *to) {
    write_invoke(to);
    put_frame(to, H2_DATA, H2_END_STREAM, 1, NULL, 0);
}
static void write_half_message(octet_string *to) {
    write_invoke(to);
    put_message(to, START, start_one, 4, sizeof start_one - 1, H2_END_STREAM);
}
static void write_cut_message(octet_string *to) {
    write_invoke(to);
    put_message(to, START, start_one, 4, sizeof start_one - 1, 0);
}
static void write_endless_message(octet_string *to) {
    write_invoke(to);
    put_message(to, START, start_one, sizeof start_one - 1, 0xffffffff, 0);
}
static void write_bad_start(octet_string *to) {
    write_invoke(to);
    put_message(to, START, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, 12, 0);
}
static void write_no_start(octet_string *to) {
    write_invoke(to);
    put_message(to, INPUT, input_five, sizeof input_five - 1, sizeof input_five - 1, 0);
}
static void write_bad_input(octet_string *to) {
    write_invoke(to);
    put_message(to, START, start_one, sizeof start_one - 1, sizeof start_one - 1, 0);
    put_message(to, INPUT, "\x72\x7f\x0a\x01\x35", 5, 5, 0);
}
static void write_unknown_message(octet_string *to) {
    write_invoke(to);
    put_message(to, START, start_one, sizeof start_one - 1, sizeof start_one - 1, 0);
    put_message(to, 0x0099, input_five, sizeof input_five - 1, sizeof input_five - 1,
                H2_END_STREAM);
}
static void write_missing_entries(octet_string *to) {
    write_invoke(to);
    put_message(to, START, start_many, sizeof start_many - 1, sizeof start_many - 1, 0);
    put_message(to, INPUT, input_five, sizeof input_five - 1, sizeof input_five - 1, H2_END_STREAM);
}

/* A handler that is asleep when its stream is cut. */
static void write_sleeper(octet_string *to) {
    const char input[] = "\x72\x25\x0a\x23{\"sleep\": 900000, \"parameter\": \"x\"}";
    put_preface(to);
    put_invoke(to, "/invoke/ServiceInterpreterHelper/echoLater");
    put_message(to, START, start_one, sizeof start_one - 1, sizeof start_one - 1, 0);
    put_message(to, INPUT, input, sizeof input - 1, sizeof input - 1, 0);
}

/* What the endpoint has to do about it: give up the connection or the stream by itself (or answer
 * it); once it sees the end of what is sent; the last ones leave when its first message is there.
 */
typedef enum manner { GIVES_UP, SEES_END, IS_CUT } manner;

static const struct {
    const char *name;
    void (*write)(octet_string *to);
    manner how;
} nonsense[] = {
    { "garbage", write_garbage, GIVES_UP },
    { "half a preface", write_half_preface, SEES_END },
    { "HTTP/1.1", write_http_1, GIVES_UP },
    { "no request", write_lone_preface, SEES_END },
    { "DATA of no stream", write_data_nowhere, GIVES_UP },
    { "PUSH_PROMISE", write_push, GIVES_UP },
    { "CONTINUATION of nothing", write_lone_continuation, GIVES_UP },
    { "a huge frame", write_huge_frame, GIVES_UP },
    { "broken headers", write_bad_headers, GIVES_UP },
    { "half of the headers", write_half_headers, SEES_END },
    { "no message", write_nothing, GIVES_UP },
    { "half a message", write_half_message, GIVES_UP },
    { "half a message, then nothing", write_cut_message, SEES_END },
    { "a message of 4 GiB", write_endless_message, GIVES_UP },
    { "a broken start", write_bad_start, GIVES_UP },
    { "no start", write_no_start, GIVES_UP },
    { "a broken input", write_bad_input, GIVES_UP },
    { "an unknown message", write_unknown_message, GIVES_UP },
    { "too few entries", write_missing_entries, GIVES_UP },
    { "a cut stream", write_sleeper, IS_CUT },
};

/* Looks through frames that have arrived whole; whether there is one that is looked for: of a
 * message, or one that ends stream 1 or the connection. */
static bool has_frame(const octet_string *in, bool message) {
    const unsigned char *f = in->at, *end = in->at + in->n;
    while (end - f >= 9) {
        size_t n = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
        if (message ? f[3] == H2_DATA && n > 0 : f[3] == H2_RST_STREAM || f[3] == H2_GOAWAY)
            return true;
        if (!message && f[3] <= H2_HEADERS && f[4] & H2_END_STREAM) return true;
        if (n > (size_t)(end - f) - 9) break;
        f += 9 + n;
    }
    return false;
}

/* Reads until there is such a frame or, unless it waits for a message, the connection is closed. */
static bool frame_comes(int s, bool message) {
    static octet_string in;
    for (in.n = 0; in.n < sizeof in.at;) {
        ssize_t n = recv(s, in.at + in.n, sizeof in.at - in.n, 0);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
        if (n <= 0) return !message;
        in.n += (size_t)n;
        if (has_frame(&in, message)) return true;
    }
    return false;
}

static bool talk_nonsense(int port, size_t which) {
    static octet_string out;
    const struct timeval limit = { 10, 0 };
    const struct linger at_once = { 1, 0 };
    struct sockaddr_in a;
    manner how = nonsense[which].how;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)port);
    out.n = 0;
    nonsense[which].write(&out);
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    bool good = connect(s, (struct sockaddr *)&a, sizeof a) == 0 &&
                send(s, out.at, out.n, 0) == (ssize_t)out.n;
    if (how == SEES_END) shutdown(s, SHUT_WR);
    good = good && frame_comes(s, how == IS_CUT);
    if (how == IS_CUT) setsockopt(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(s);
    return good;
}

static bool talk_often(size_t which, size_t times) {
    for (; times > 0; times--)
        if (!talk_nonsense(contract.port, which)) return false;
    return true;
}

static void talk_much_nonsense(size_t times) {
    for (size_t which = 0; which < sizeof nonsense / sizeof *nonsense; which++) {
        test_note = nonsense[which].name;
        CHECK(talk_often(which, times));
        CHECK_INT(status_of(&contract, "GET", "/health", NULL), 200);
        ASK("/TestUtilsService/echo", "\"still here\"", 200, "\"still here\"");
    }
    test_note = "";
}

/* Open descriptors. */
static int descriptors_of(const endpoint *e) {
    int n = 0;
    DIR *all = opendir(text("/proc/%ld/fd", (long)e->pid));
    while (all && readdir(all)) n++;
    if (all) closedir(all);
    return n;
}

/* While somebody else's invocation is open, which has to go on. Memory is compared when the pools
 * have what they keep. */
static void nonsense_case(void) {
    if (!faults_ready()) return;
    word open = start_call(SLEEP_PATH, LATER(1000));
    talk_much_nonsense(10);
    int descriptors = descriptors_of(&contract);
    long memory = memory_of(&contract);
    talk_much_nonsense(scaled(40));
    if (scaled(100) >= 100) CHECK(memory_of(&contract) - memory < 1024);
    CHECK(descriptors_of(&contract) - descriptors < 20);
    ATTACH(open.s, 200, "\"slept 1000\"");
}

/* ---- Cases: a cluster ----------------------------------------------------------------------- */

/* Nodes die one after the other: one that is not talked to, then the one that is. What was sent to
 * that is sent again to a third one, which knows it by its idempotency keys. */
static void node_crash_case(void) {
    static work other, own;
    if (!faults_ready()) return;
    other = work_new("other-node", 1021);
    own = work_new("own-node", 1022);
    work_start(&other);
    work_goes_on(&other, 1);
    node_kill(1);
    work_end(&other, 1);
    node_restart(1);

    own.most = 30;
    work_start(&own);
    node_kill(0);
    use_node(2);
    own.most = 128;
    work_start(&own);
    work_end(&own, 1);
    node_restart(0);
    use_node(0);
    ASK(text("/Counter/%s/get", own.key.s), NULL, 200, text("%d", WORK_ADDS + WORK_DELAYED));
}
/* ---- Journals -------------------------------------------------------------------------------------------- */

/* All that ran on this server so far fits the code that it ran with: what the cases before have left,
 * and, if this one is alone, what it does itself. NonDeterministic does not; Failing
 * counts its attempts, and one handler the closures that execute, in memory. */
static void journals_case(void) {
    static const char where[] = "i.target_service_name not in ('NonDeterministic', 'Failing') and "
                                "i.target_handler_name != 'countExecutedSideEffects'";
    const word path = make_word("%s/%s.journals.json", logs, running->name);
    if (query_number("c", "select count(*) c from sys_invocation") < 100) {
        counter_case();
        map_case();
        other_commands_case();
        results_case();
        workflow_case();
        program_kinds_case();
        cancel_trees_case();
    }
    if (!fetch_journals(where, path.s)) { test_failures++; return; }
    const char *said = said_by("", contract.program, text("--check %s", path.s));
    CHECK_HAS(said, " fit, 0 differ, 0 unknown; ");
    CHECK(atoi(said) > 100);
    long long kinds = query_number("c", text("select count(distinct j.entry_type) c from sys_journal j join sys_invocation i "
                                             "on i.id = j.id where %s", where));
    CHECK(kinds >= 24);
}

/* Those that want a server of their own stand together. */
#define FAULT_CASES \
    { "sleep", sleep_case, 0, true }, \
    { "sleeps", sleeps_case, 0, false }, \
    { "sleep_outage", sleep_outage_case, 0, false }, \
    { "retries", retries_case, 0, true }, \
    { "flush", flush_case, 0, true }, \
    { "run_failure", run_failure_case, 0, true }, \
    { "cancel_trees", cancel_trees_case, 0, true }, \
    { "cancel_outage", cancel_outage_case, 0, false }, \
    { "cancel_unstarted", cancel_unstarted_case, 0, false }, \
    { "kill", kill_case, 0, false }, \
    { "nonsense", nonsense_case, 0, false }, \
    { "endpoint_crash", endpoint_crash_case, 0, false }, \
    { "server_crash", server_crash_case, 0, false }, \
    { "journals", journals_case, BUT(CLUSTER), false }, \
    { "identity", identity_case, 0, false }, \
    { "tls", tls_case, ONLY(DEFAULT) | ONLY(V7), false }, \
    { "nondeterminism", nondeterminism_case, 0, false }, \
    /* A cluster takes 6 s to be back; in server_crash it has timers, too. */ \
    { "timers", timers_case, BUT(CLUSTER), false }, \
    /* Elsewhere there is no other node. */ \
    { "node_crash", node_crash_case, ONLY(CLUSTER), false },
