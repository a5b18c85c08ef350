/* Cases: the longer examples, each of which shows a whole program of its trade, while their processes are killed.
 * Included by e2e.c. */

/* ---- Firmware for many devices --------------------------------------------------------------------------------- */

/* How many devices have that value in their state. */
static long long devices_with(const char *key, const char *value) {
    return query_number("c", text("select count(*) c from state where service_name = 'Devices' and key = '%s' and value_utf8 = '%s'",
                                  key, value));
}

static word roll_out(const char *name, const char *version, const char *more) {
    return start_call(text("/Rollouts/%s-%s/run", name, running->name),
                      text("{\"version\":\"%s\",\"devices\":300,\"perSite\":20%s%s}", version, more,
                           running == &modes[V7] ? ",\"scope\":\"fleet\"" : ""));
}

/* Every device gets the version once, though the process dies when some sites are done and others are not. */
static void rollout_killed(void) {
    word id = roll_out("good", "2", ",\"sitesAtATime\":2,\"devicesAtATime\":5");
    PATIENTLY(10)
        if (devices_with("version", "\"2\"") >= 60) break;
    endpoint_kill(&rollout);
    CHECK(devices_with("version", "\"2\"") < 288);
    CHECK(endpoint_start(&rollout));
    ATTACH(id.s, 200, "{\"stage\": \"done\", \"updated\": 288, \"failed\": 12}");
    CHECK_INT(devices_with("version", "\"2\""), 288);
    CHECK_INT(devices_with("installs", "1"), 288);
    ASK(text("/Rollouts/good-%s/status", running->name), NULL, 200, "{\"stage\": \"done\", \"updated\": 288, \"failed\": 12}");
    CHECK_INT(query_number("c", "select count(*) c from sys_invocation where target_service_name = 'Devices'"), 300);
    CHECK_INT(query_number("c", text("select count(*) c from sys_journal where id = '%s' and entry_type = 'Command: Call'", id.s)), 15);
    if (running == &modes[V7])
        CHECK_INT(query_number("c", "select count(distinct limit_key) c from sys_invocation where scope = 'fleet' and "
                                    "limit_key like 'sites/%'"), 15);
}

static void rollout_case(void) {
    static reply r;
    int updated = 0, failed = 0;
    if (!endpoint_register(&rollout)) { test_failures++; return; }
    rollout_killed();
    word bad = roll_out("bad", "3-bad", "");
    ATTACH(bad.s, 200, "{\"stage\": \"halted\", \"updated\": 14, \"failed\": 6}");      /* the canaries */
    CHECK_INT(devices_with("version", "\"3-bad\""), 14);

    word id = roll_out("halted", "4", ",\"sitesAtATime\":1,\"devicesAtATime\":2"), halted = make_word("/Rollouts/halted-%s", running->name);
    PATIENTLY(10)
        if (call(&r, text("%s/status", halted.s), NULL), strstr(r.body, "rolling out")) break;
    ASK(text("%s/halt", halted.s), "\"enough\"", 200, "");
    attach(&r, id.s);
    CHECK_INT(sscanf(r.body, "{\"stage\": \"halted\", \"updated\": %d, \"failed\": %d}", &updated, &failed), 2);
    CHECK(updated + failed >= 20 && updated + failed < 300);
    CHECK_INT((updated + failed) % 20, 0);              /* whole sites */
    CHECK_INT(devices_with("version", "\"4\""), updated);
    ASK(text("/Rollouts/nothing-%s/run", running->name), "{\"devices\":1}", 400, "*a version");
}

/* ---- Orders at an exchange ------------------------------------------------------------------------------------- */

enum { TRADES = 30 };

/* Whether the position comes to be what the exchange has traded. */
static bool positions_agree(const char *symbol) {
    static reply traded, held;
    const word at = make_word("%s", symbol);
    PATIENTLY(20) {
        call(&traded, text("/Exchange/%s/get", at.s), NULL);
        call(&held, text("/Positions/%s/get", at.s), NULL);
        if (traded.status == 200 && held.status == 200 && strcmp(traded.body, held.body) == 0) return true;
    }
    printf("  %s: the exchange has traded %s, the position is %s\n", at.s, traded.body, held.body);
    return false;
}

static word send_order(const char *order, const char *desk, const char *symbol, int quantity, int price, int patience_ms) {
    return start_call(text("/Orders/%s/run", order),
                      text("{\"desk\":\"%s\",\"symbol\":\"%s\",\"quantity\":%d,\"price\":%d,\"patienceMillis\":%d}",
                           desk, symbol, quantity, price, patience_ms));
}

static void trading_restarted(void) {
    endpoint_kill(&trading);
    CHECK(endpoint_start(&trading));
}

/* Each order is cancelled and replaced four times before its price is that of the market. */
static void trading_killed(void) {
    static const char handled[] = "select count(*) c from sys_invocation where target_service_name = 'Exchange' and "
                                  "target_service_key = 'KILL' and status = 'completed'";
    static reply r;
    word ids[TRADES];
    long long filled = 0;
    int n = 0;
    for (int i = 0; i < TRADES; i++) {
        bool sells = i % 3 == 0;
        ids[i] = send_order(text("killed-%s-%d", running->name, i), "day", "KILL", sells ? -50 : 70, sells ? 1004 : 996, 150);
    }
    for (long long some = 10; some <= 90; some += 40) {
        PATIENTLY(10)
            if (query_number("c", handled) >= some) break;
        trading_restarted();
    }
    CHECK(query_number("c", "select count(*) c from sys_invocation where target_service_name = 'Orders' and status != 'completed'") > 0);
    for (int i = 0; i < TRADES; i++) {
        attach(&r, ids[i].s);
        CHECK_INT(r.status, 200);
        CHECK_INT(sscanf(r.body, "{\"filled\": %d,", &n), 1);
        filled += n;
    }
    CHECK(positions_agree("KILL"));
    ASK("/Positions/KILL/get", NULL, 200, text("%lld", filled));
}

static long long open_orders(void) {
    return query_number("c", "select count(*) c from state where service_name = 'Desks' and key like 'order/%'");
}

/* Orders that nobody wants to fill end by the kill switch, and one by a cancellation; none stays in the book. */
static void trading_stopped(void) {
    word ids[5];
    for (int i = 0; i < 5; i++) ids[i] = send_order(text("stopped-%s-%d", running->name, i), "night", "STOP", 10, 900, 600000);
    PATIENTLY(20)
        if (open_orders() == 5) break;
    trading_restarted();
    ASK("/Desks/night/kill", NULL, 200, "");
    for (int i = 0; i < 5; i++) ATTACH(ids[i].s, 200, "*{\"filled\": 0, \"open\": 10,");
    ASK(text("/Orders/refused-%s/run", running->name), "{\"desk\":\"night\",\"symbol\":\"STOP\",\"quantity\":1}", 403,
        "*trading is stopped");
    ASK("/Desks/night/resume", NULL, 200, "");
    word id = send_order(text("cancelled-%s", running->name), "night", "STOP", -10, 1100, 600000);
    CHECK(has_commands(id.s, "Sleep", 1));
    cancel(id.s);
    ATTACH(id.s, 200, "*{\"filled\": 0, \"open\": -10,");
    PATIENTLY(20)
        if (open_orders() == 0) break;
    CHECK_INT(open_orders(), 0);
    CHECK_INT(query_number("c", "select count(*) c from state where service_name = 'Exchange' and key like '%/%'"), 0);
}

static void trading_case(void) {
    static const char *const symbols[] = { "ACME", "BOLT", "CORK" };
    int orders = 0, filled = 0, acks = 0;
    double p50 = 0, p99 = 0;
    if (!endpoint_register(&trading)) { test_failures++; return; }
    CHECK_INT(sscanf(tool("examples/trading 60"), "%d orders, %d filled; %d acks, p50 %lf ms, p99 %lf ms", &orders, &filled,
                     &acks, &p50, &p99), 5);
    CHECK(orders == 60 && filled <= 60 && acks >= filled && p50 > 0 && p99 >= p50);
    for (int i = 0; i < 3; i++) CHECK(positions_agree(symbols[i]));
    trading_killed();
    trading_stopped();
    test_note = "";
}

/* ---- Traces and metrics ---------------------------------------------------------------------------------------- */

#define CALLER "b7ad6b7169203331"           /* the span that the test says it is in */

/* Takes one request, and adds its path and body to the file as a line before it answers. */
static void collect(int s, const char *path) {
    static const char answer[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    static char request[1 << 20];
    size_t len = 0, want = sizeof request - 1;
    for (ssize_t n; len < want && (n = recv(s, request + len, want - len, 0)) > 0;) {
        char *length, *body;
        len += (size_t)n;
        request[len] = 0;
        body = strstr(request, "\r\n\r\n");
        length = strstr(request, "content-length: ");
        if (body && length) want = (size_t)(body + 4 - request) + (size_t)atol(length + 16);
    }
    FILE *f = fopen(path, "a");
    if (f) {
        fprintf(f, "%.*s %s\n", (int)strcspn(request + 6, " "), request + 6, strstr(request, "\r\n\r\n") + 4);
        fclose(f);
    }
    if (send(s, answer, sizeof answer - 1, 0) < 0) perror("collector");
    close(s);
}

/* A process that takes OTLP over HTTP at that port. */
static pid_t start_collector(int port, const char *path) {
    struct sockaddr_in a;
    int on = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)port);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    CHECK(bind(s, (struct sockaddr *)&a, sizeof a) == 0 && listen(s, 64) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        child_of_driver();
        for (;;) collect(accept(s, NULL, NULL), path);
    }
    close(s);
    return pid;
}

typedef struct seen {
    char trace[33], id[17], parent[17], name[64], outcome[32], message[64];
} seen;

static const char *member(const cJSON *object, const char *name) {
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));
    return value ? value : "";
}

static const char *attribute_of(const cJSON *span, const char *key) {
    const cJSON *a;
    cJSON_ArrayForEach(a, cJSON_GetObjectItem(span, "attributes"))
        if (strcmp(member(a, "key"), key) == 0) return member(cJSON_GetObjectItem(a, "value"), "stringValue");
    return "";
}

static const cJSON *innermost(const cJSON *body, const char *resources, const char *scopes, const char *list) {
    const cJSON *scope = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(body, resources), 0), scopes);
    return cJSON_GetObjectItem(cJSON_GetArrayItem(scope, 0), list);
}

/* The lines of the collector that begin with `what`, as JSON; calls `use` with each. */
static void for_each_request(const char *path, const char *what, void (*use)(const cJSON *body, void *arg), void *arg) {
    static char line[1 << 20];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, what, strlen(what)) != 0) continue;
        cJSON *body = cJSON_Parse(line + strlen(what));
        if (body || strchr(line, '\n')) CHECK(body != NULL);  /* the last line may be half there */
        if (body) use(body, arg);
        cJSON_Delete(body);
    }
    if (f) fclose(f);
}

typedef struct spans {
    const char *trace;
    seen all[64];
    size_t n;
} spans;

static void take_spans(const cJSON *body, void *arg) {
    spans *to = (spans *)arg;
    const cJSON *s;
    cJSON_ArrayForEach(s, innermost(body, "resourceSpans", "scopeSpans", "spans")) {
        if (to->n == 64 || strcmp(member(s, "traceId"), to->trace) != 0) continue;
        seen *at = &to->all[to->n++];
        snprintf(at->id, sizeof at->id, "%s", member(s, "spanId"));
        snprintf(at->parent, sizeof at->parent, "%s", member(s, "parentSpanId"));
        snprintf(at->name, sizeof at->name, "%s", member(s, "name"));
        snprintf(at->outcome, sizeof at->outcome, "%s", attribute_of(s, "restate.outcome"));
        snprintf(at->message, sizeof at->message, "%s", member(cJSON_GetObjectItem(s, "status"), "message"));
    }
}

static size_t spans_with(const spans *in, const char *name, const char *outcome) {
    size_t n = 0;
    for (size_t i = 0; i < in->n; i++) n += strcmp(in->all[i].name, name) == 0 && strcmp(in->all[i].outcome, outcome) == 0;
    return n;
}

/* The spans of a trace, once its last one is there; `*to` is overwritten. */
static bool gather(spans *to, const char *path, const char *trace, const char *last, const char *outcome) {
    PATIENTLY(50) {
        to->trace = trace;
        to->n = 0;
        for_each_request(path, "v1/traces ", take_spans, to);
        if (spans_with(to, last, outcome) > 0) return true;
    }
    printf("  no span %s, %s, in trace %s\n", last, outcome, trace);
    return false;
}

/* Whether all spans `name` have a parent `parent`: a span of that name, or the test's. */
static void check_parents(const spans *in, const char *name, const char *parent) {
    for (size_t i = 0; i < in->n; i++) {
        bool found = strcmp(in->all[i].parent, parent) == 0;
        if (strcmp(in->all[i].name, name) != 0) continue;
        for (size_t k = 0; k < in->n; k++)
            found = found || (strcmp(in->all[k].name, parent) == 0 && strcmp(in->all[k].id, in->all[i].parent) == 0);
        test_note = text("%s of %s, whose parent is %s", name, in->trace, in->all[i].parent);
        CHECK(found);
    }
    test_note = "";
}

static void check_tree(const spans *in) {
    check_parents(in, "Checkout/pay", CALLER);
    check_parents(in, "Bank/charge", "Checkout/pay");
    check_parents(in, "card machine", "Bank/charge");
}

static void pay(reply *r, const char *trace, const char *how, const char *body) {
    const word context = make_word("traceparent: 00-%s-" CALLER "-01", trace);
    const char *const headers[] = { context.s, NULL };
    http_with(r, "POST", text("%s/Checkout/pay%s", ingress, how), body, headers);
}

/* The number of attempts that a process reported last. */
static void take_count(const cJSON *body, void *arg) {
    const cJSON *metric = cJSON_GetArrayItem(innermost(body, "resourceMetrics", "scopeMetrics", "metrics"), 0), *point;
    cJSON_ArrayForEach(point, cJSON_GetObjectItem(cJSON_GetObjectItem(metric, "histogram"), "dataPoints"))
        if (strcmp(attribute_of(point, "service"), "Bank") == 0 && strcmp(attribute_of(point, "outcome"), "completed") == 0)
            *(int *)arg = atoi(member(point, "count"));
}

/* The process dies behind the call: the bank is not asked again, and the rest is in the same trace. */
static void otel_killed(const char *path, const char *trace) {
    static spans got;
    static reply r;
    pay(&r, trace, "/send", "{\"cents\":1,\"pauseMillis\":1500}");
    cJSON *answer = cJSON_Parse(r.body);
    const word id = make_word("%s", member(answer, "invocationId"));
    cJSON_Delete(answer);
    CHECK(gather(&got, path, trace, "Bank/charge", "completed"));
    CHECK(has_commands(id.s, "Sleep", 1));
    endpoint_kill(&otel);
    CHECK(endpoint_start(&otel));
    ATTACH(id.s, 200, "{\"paid\": 1}");
    CHECK(gather(&got, path, trace, "Checkout/pay", "completed"));
    CHECK_INT(spans_with(&got, "Bank/charge", "completed"), 1);
    CHECK_INT(spans_with(&got, "card machine", "completed"), 1);
    check_parents(&got, "Checkout/pay", CALLER);
}

static void otel_case(void) {
    static char setting[64];
    static spans got;
    static reply r;
    const word path = make_word("%s/%s.otlp", logs, running->name);
    const char *const traces[] = { "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c",
        "2af7651916cd43dd8448eb211c80319c", "3af7651916cd43dd8448eb211c80319c", "4af7651916cd43dd8448eb211c80319c" };
    int port = free_port(), charged = 0;
    unlink(path.s);
    pid_t collector = start_collector(port, path.s);
    snprintf(setting, sizeof setting, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", port);
    otel.settings[0] = setting;
    endpoint_kill(&otel);                   /* of the mode before: it has another collector */
    if (endpoint_register(&otel)) {
        pay(&r, traces[0], "", "{\"cents\":450}");
        CHECK_STR(r.body, "{\"paid\": 450}");
        CHECK(gather(&got, path.s, traces[0], "Checkout/pay", "completed"));
        CHECK_INT(spans_with(&got, "card machine", "completed"), 1);
        check_tree(&got);
        pay(&r, traces[1], "", "{\"cents\":413}");          /* its step is retried */
        CHECK(gather(&got, path.s, traces[1], "Checkout/pay", "completed"));
        CHECK_INT(spans_with(&got, "card machine", "goes on later"), 1);
        CHECK_INT(spans_with(&got, "card machine", "completed"), 1);
        check_tree(&got);
        pay(&r, traces[2], "", "{\"cents\":1000000}");
        CHECK_INT(r.status, 402);
        CHECK(gather(&got, path.s, traces[2], "Checkout/pay", "failed"));
        for (size_t i = 0; i < got.n; i++)
            if (strcmp(got.all[i].outcome, "failed") == 0) CHECK_STR(got.all[i].message, "not covered");
        CHECK_INT(spans_with(&got, "Bank/charge", "failed"), 1);
        otel_killed(path.s, traces[3]);
        pay(&r, traces[4], "", "{\"cents\":2}");
        CHECK_INT(endpoint_stop(&otel), 0);             /* it sends what there is */
        got.trace = traces[4];
        got.n = 0;
        for_each_request(path.s, "v1/traces ", take_spans, &got);
        CHECK_INT(spans_with(&got, "Checkout/pay", "completed"), 1);
        check_tree(&got);
        for_each_request(path.s, "v1/metrics ", take_count, &charged);
        CHECK_INT(charged, 1);              /* by the process that was started after the kill */
        CHECK(endpoint_start(&otel));
    } else test_failures++;
    kill(collector, SIGKILL);
    waitpid(collector, NULL, 0);
    pay(&r, traces[0], "", "{\"cents\":3}");              /* nobody waits for the collector */
    CHECK_STR(r.body, "{\"paid\": 3}");
}
