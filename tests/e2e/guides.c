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
