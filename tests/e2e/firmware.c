/* Cases of e2e.c: the endpoint is a microcontroller, in an emulator, at the other end of a serial line. */

static char relay_line[160];
static endpoint relay = { .program = "firmware/relay", .log = "relay", .settings = { relay_line } };
static endpoint board = { .program = "firmware/m4.elf", .log = "board" };

/* How often the relay said that the firmware is ready. */
static int times_ready(void) {
    char line[1024];
    int times = 0;
    FILE *log = fopen(log_of(&relay), "r");
    while (log && fgets(line, sizeof line, log)) times += strstr(line, "the firmware is ready") != NULL;
    if (log) fclose(log);
    return times;
}

/* In the child. */
static void become_board(void) {
    int log = open(log_of(&board), O_WRONLY | O_CREAT | O_APPEND, 0666);
    dup2(log, 1);
    dup2(log, 2);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    const char *serial = text("unix:%s", relay_line + strlen("LINK="));
    const char *image = text("%s/%s", env("E2E_BIN", "build"), board.program);
    execlp("qemu-system-arm", "qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-semihosting-config",
           "enable=on,target=native", "-serial", serial, "-kernel", image, (char *)NULL);
    _exit(127);
}

/* Until it is ready. */
static bool board_start(void) {
    const int before = times_ready();
    fflush(stdout);
    board.pid = fork();
    if (board.pid == 0) become_board();
    for (double end = now() + PATIENCE; now() < end && waitpid(board.pid, NULL, WNOHANG) == 0; pause_ms(10))
        if (times_ready() > before) return true;
    printf("  the emulator does not start, see %s\n", log_of(&board));
    endpoint_kill(&board);
    return false;
}

static bool board_register(void) {
    snprintf(relay_line, sizeof relay_line, "LINK=%s/line", logs);
    if (!endpoint_start(&relay)) return false;
    if (!board.port) {                          /* now its end is looked after, too */
        int n = 0;
        while (endpoints[n]) n++;
        endpoints[n] = &board;
        board.port = -1;
        unlink(log_of(&board));
    }
    return (board.pid || board_start()) && endpoint_register(&relay);
}

/* Calls itself through the server, sleeps, measures in closures, keeps state; each wait suspends it, so what goes
 * on is always a replay. */
static void firmware_case(void) {
    static reply r;
    if (!board_register()) { test_failures++; return; }
    const word key = make_word("%s-roof", running->name);
    call(&r, "/Station/report", text("{\"sensor\":\"%s\",\"samples\":3,\"pauseMs\":50}", key.s));
    CHECK_INT(r.status, 200);
    CHECK_HAS(r.body, text("{\"sensor\": \"%s\", \"from\": %lld", key.s, (long long)time(NULL) / 1000));
    CHECK_HAS(r.body, ", \"samples\": 3, \"mV\": 16");
    ASK(text("/Sensor/%s/sample", key.s), NULL, 200, "*{\"count\": 4, \"mV\": 16");
    ASK("/Station/report", "{\"samples\":0}", 400, "*samples are 1 to 100");
    ASK("/Station/report", "[", 400, "*, byte 1");
}

enum { BOARD_INVOCATIONS = 100, BOARD_SENSORS = 50, BOARD_KILLS = 4 };

static long long board_completed(void) {
    return query_number("c", "select count(*) c from sys_invocation where target_service_name = 'Station' and status = 'completed'");
}

/* The emulator is killed in the middle, again and again: nothing is lost, and nothing counts twice. */
static void firmware_killed_case(void) {
    static word ids[BOARD_INVOCATIONS];
    if (!board_register()) { test_failures++; return; }
    const long long before = board_completed();
    for (int i = 0; i < BOARD_INVOCATIONS; i++)
        ids[i] = start_call("/Station/report", text("{\"sensor\":\"k-%d\",\"samples\":1}", i % BOARD_SENSORS));
    for (int k = 1; k <= BOARD_KILLS; k++) {
        PATIENTLY(10)
            if (board_completed() - before >= BOARD_INVOCATIONS * k / (BOARD_KILLS + 1)) break;
        endpoint_kill(&board);
        CHECK_INT(board_completed() - before < BOARD_INVOCATIONS, 1);
        if (!board_start()) { test_failures++; return; }
    }
    for (int i = 0; i < BOARD_INVOCATIONS; i++)
        ATTACH(ids[i].s, 200, "*\"samples\": 1, \"mV\": 16");
    CHECK_INT(board_completed() - before, BOARD_INVOCATIONS);
    CHECK_INT(query_number("c", text("select count(*) c from state where service_name = 'Sensor' and key = 'count' and "
                                     "service_key like 'k-%%' and value_utf8 = '%d'", BOARD_INVOCATIONS / BOARD_SENSORS)),
              BOARD_SENSORS);
}
