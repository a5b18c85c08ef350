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
        CHECK_INT(query_number("c", "select count(distinct limit_key) c from sys_invocation where scope = 'fleet' and limit_key like 'sites/%'"), 15);
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
    ASK(text("/Orders/refused-%s/run", running->name), "{\"desk\":\"night\",\"symbol\":\"STOP\",\"quantity\":1}", 403, "*trading is stopped");
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
