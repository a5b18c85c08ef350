/* Cases: programs that call services through restate.h: the examples that are clients, and the benchmark of the client,
 * while its server is killed. Included by e2e.c. */

/* Runs a program of the build with the addresses of the server; gives what it printed, errors too. `input`: a file that
 * comes to it through a pipe. */
static const char *tool_with(const char *input, const char *words) {
    static char out[16384];
    size_t n = 0;
    FILE *f = popen(text("cat %s | INGRESS=%s ADMIN=%s timeout 60 %s/%s 2>&1", input, ingress, admin,
                         env("E2E_BIN", "build"), words), "r");
    n = fread(out, 1, sizeof out - 1, f);
    out[n] = 0;
    test_note = out;
    int status = pclose(f);
    return status == 0 ? out : text("exit %d: %.1000s", WIFEXITED(status) ? WEXITSTATUS(status) : -1, out);
}

static const char *tool(const char *words) { return tool_with("/dev/null", words); }

static void client_call_case(void) {
    const char *m = running->name;
    if (!endpoint_register(&tickets) || !endpoint_register(&signup)) { test_failures++; return; }
    CHECK_STR(tool(text("examples/call add client-ada-%s C1-%s", m, m)), "yours for 15 minutes\n");
    CHECK_STR(tool(text("examples/call add client-bob-%s C1-%s", m, m)), "taken\n");
    word first = make_word("%s", tool(text("examples/call remind client-ada-%s", m)));
    CHECK_HAS(first.s, "inv_");
    CHECK(!strstr(first.s, "was there"));
    const char *again = tool(text("examples/call remind client-ada-%s", m));
    CHECK_HAS(again, " (was there already)");
    CHECK(strncmp(again, first.s, strcspn(first.s, "\n")) == 0);
    first.s[strcspn(first.s, "\n")] = 0;
    CHECK_STR(tool(text("examples/call result %s", first.s)), "not ready\n");
    const char *nonsense = tool("examples/call add");
    CHECK_HAS(nonsense, "exit 1: failed: add USER SEAT");
    CHECK_HAS(tool("examples/call approve sign_1nonsense"), "not done: restate_resolve(): ");
    test_note = "";
}

static void client_many_case(void) {
    if (!endpoint_register(&fan_out) || !endpoint_register(&greeter)) { test_failures++; return; }
    double start = now();
    CHECK_STR(tool("examples/fan_in 300"), text("%d\n", 10 * 6 + 90 * 7 + 200 * 8));
    CHECK(now() - start < 300);                         /* each takes a second */
    FILE *f = fopen(LOGS "/names", "w");
    for (int i = 0; i < 20; i++) fprintf(f, "Ada %d\n", i);
    fclose(f);
    const char *out = tool_with(LOGS "/names", "examples/fan_in");
    for (int i = 0; i < 20; i++) CHECK_HAS(out, text("Ada %d", i));
    test_note = "";
}

static void client_operate_case(void) {
    static reply r;
    if (!endpoint_register(&counter)) { test_failures++; return; }
    word key = make_word("operate-%s", running->name);
    CHECK_STR(tool(text("examples/operate set Counter %s count 41", key.s)), "");
    call(&r, text("/Counter/%s/add", key.s), "1");
    CHECK_HAS(r.body, "\"newValue\": 42");
    CHECK_STR(tool("examples/operate stuck Counter"), "");
    CHECK_HAS(tool("examples/operate kill inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61"), "exit 1: ");
    CHECK_HAS(tool("examples/operate cancel x"), "exit 1: restate_cancel(): \"x\" is not the id of an invocation");
    test_note = "";
}

/* Every call has an idempotency key: although the server is killed and restarted twice, each is answered and done once. */
static void client_restart(int concurrency, int count) {
    static reply r;
    char line[256], last[256] = "";
    long long sum = 0, before = 0;
    enum { KEYS = 16 };
    for (int i = 0; i < KEYS; i++) {
        call(&r, text("/Tally/%d/get", i), NULL);
        before += atoll(r.body);
    }
    FILE *f = popen(text("%s %s/bench-client %s /Tally/add %d %d %d 2>&1", env("E2E_WRAP", ""), env("E2E_BIN", "build"), ingress, count, concurrency, KEYS), "r");
    while (fgets(line, sizeof line, f)) {
        snprintf(last, sizeof last, "%s", line);
        if (atoi(line + 3) != count / 10 * 3 && atoi(line + 3) != count / 10 * 7) continue;
        server_kill();
        server_restart();
    }
    CHECK_INT(pclose(f), 0);
    CHECK_HAS(last, text("%d answered, 0 failed", count));
    for (int i = 0; i < KEYS; i++) {
        call(&r, text("/Tally/%d/get", i), NULL);
        sum += atoll(r.body);
    }
    CHECK_INT(sum - before, count);
}

static void client_restart_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    client_restart(64, (int)scaled(2000));
    client_restart(1000, (int)scaled(3000));
}
