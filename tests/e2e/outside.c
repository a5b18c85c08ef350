/* Cases: examples with people or programs beside them: mail, ffmpeg, PostgreSQL. Included by e2e.c. */

/* What a shell command prints, without the last line end. `test_note` gets it if the command fails. */
static const char *shell(const char *command) {
    char out[1800];
    FILE *f = popen(command, "r");
    size_t n = f ? fread(out, 1, sizeof out - 1, f) : 0;
    out[n] = 0;
    if (!f || pclose(f) != 0) {
        test_failures++;
        printf("  %s: %s\n", command, out);
    }
    out[strcspn(out, "\n")] = 0;
    return text("%s", out);
}

static void write_file(const char *path, const char *content) {
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    if (f) fputs(content, f), fclose(f);
}

/* ---- Mail ------------------------------------------------------------------------------------------------------- */

static endpoint webhook = { .program = "examples/webhook", .log = "webhook" };
static char mailbox[160];                   /* MAILBOX=... */

/* How many mails have such a line. */
static int mails(const char *line) {
    return atoi(shell(text("grep -c -e '%s' %s || true", line, mailbox + strlen("MAILBOX="))));
}

/* Without those that were sent again: in a step whose result was not stored when the program was killed. */
static int letters(const char *subject) {
    return atoi(shell(text("grep -A1 -e '%s' %s | grep -e '^Message-ID:' | sort -u | wc -l", subject,
                           mailbox + strlen("MAILBOX="))));
}

static bool mails_come(const char *line, int count) {
    const word kept = make_word("%s", line);    /* outlives the ring of text() */
    PATIENTLY(20)
        if (mails(kept.s) >= count) return true;
    printf("  never %d mails with %s\n", count, kept.s);
    return false;
}

static word start_claim(const char *what, int remind_ms) {
    return start_call("/Expenses/claim", text("{\"who\":\"ada@example.com\",\"boss\":\"grace@example.com\","
                                              "\"what\":\"%s\",\"remindMillis\":%d}", what, remind_ms));
}

/* Waits for the mail, and gives the link in it, up to the awakeable's id. */
static word link_of(const char *what) {
    CHECK(mails_come(text("^Subject: May ada@example.com have %s?", what), 1));
    return make_word("%s", shell(text("grep -A4 -e '^Subject: May ada@example.com have %s?' %s | "
                                      "sed -n 's|.*\\(/Link/.*\\)/page$|\\1|p'", what, mailbox + strlen("MAILBOX="))));
}

static void check_page(const char *link, const char *want) {
    static reply r;
    http(&r, "GET", text("%s%s/page", ingress, link), NULL);
    CHECK_INT(r.status, 200);
    CHECK_STR(r.type, "text/html; charset=utf-8");
    CHECK_HAS(r.body, want);
}

static void webhook_case(void) {
    static reply r;
    static char where[160];
    snprintf(mailbox, sizeof mailbox, "MAILBOX=%s/mailbox-%s", logs, running->name);
    snprintf(where, sizeof where, "INGRESS=%s", ingress);
    write_file(mailbox + strlen("MAILBOX="), "");
    webhook.settings[0] = mailbox;
    webhook.settings[1] = where;
    endpoint_kill(&webhook);                /* of the mode before: it has another mailbox */
    if (!endpoint_register(&webhook)) { test_failures++; return; }

    word tea = start_claim("tea <b>", 3600000), car = start_claim("a car", 3600000);
    word cake = start_claim("cake", 3600000);
    word tea_link = link_of("tea <b>"), car_link = link_of("a car"), cake_link = link_of("cake");
    CHECK(has_commands(tea.s, "Sleep", 1) && has_commands(car.s, "Sleep", 1) && has_commands(cake.s, "Sleep", 1));
    CHECK(mails(text("^%s%s/page", ingress, tea_link.s)) == 1);
    check_page(tea_link.s, "May ada@example.com have tea &lt;b>?</p><form");
    endpoint_kill(&webhook);
    http(&r, "POST", text("%s/restate/awakeables/%s/reject", ingress, cake_link.s + strlen("/Link/")), "no cake");
    CHECK_INT(r.status, 202);               /* while there is no program */
    CHECK(endpoint_start(&webhook));
    ASK(text("%s/approve", tea_link.s), NULL, 200, "*Thank you. It is approved.");
    ATTACH(tea.s, 200, "{\"decision\": \"approved\", \"why\": null}");
    post_bytes(&r, text("%s%s/reject", ingress, car_link.s), "text/plain", "reason=too expensive\r\n", 22);
    CHECK_HAS(r.body, "Thank you. It is rejected.");
    ATTACH(car.s, 200, "{\"decision\": \"rejected\", \"why\": \"too expensive\"}");
    ATTACH(cake.s, 200, "{\"decision\": \"rejected\", \"why\": \"no cake\"}");
    ASK(text("%s/reject", tea_link.s), NULL, 200, "*Too late");
    check_page(tea_link.s, "This link is over");
    CHECK_INT(mails("^To: "), 6);           /* a question and an answer each, in spite of the kill */
    CHECK_INT(mails("^Subject: Your claim for a car: rejected"), 1);

    word wine = start_claim("wine", 300), wine_link = link_of("wine");
    endpoint_kill(&webhook);                /* while a timer goes on */
    CHECK(endpoint_start(&webhook));
    ATTACH(wine.s, 200, "{\"decision\": \"expired\", \"why\": null}");
    ASK(text("%s/approve", wine_link.s), NULL, 200, "*Too late");
    CHECK_INT(letters("have wine?"), 3);
    CHECK_INT(letters("^Subject: Reminder: May ada@example.com have wine?"), 2);
    CHECK_INT(mails("^Subject: Your claim for wine: expired"), 1);

    word ink = start_claim("ink", 3600000), ink_link = link_of("ink");
    cancel(ink.s);
    ATTACH(ink.s, 409, NULL);
    PATIENTLY(20) {                         /* the link is closed by a send */
        http(&r, "GET", text("%s%s/page", ingress, ink_link.s), NULL);
        if (strstr(r.body, "is over")) break;
    }
    CHECK_HAS(r.body, "is over");
    ASK("/Link/x/open", "\"x\"", 400, NULL);        /* private */
    ASK("/Expenses/claim", "{\"who\":\"ada\"}", 400, "*who, boss or what is missing");
}

/* ---- ffmpeg: stopped in the middle, where the test has it wait ----------------------------------------------- */

static endpoint transcode = { .program = "examples/transcode", .log = "transcode" };

/* In the place of ffmpeg: says that it was called, and waits at one place until somebody writes to a FIFO. */
static const char slow_ffmpeg[] =
    "#!/bin/sh\n"
    "dir=${0%/*}\n"
    "echo \"$$ $*\" >>\"$dir/calls\"\n"
    "case \"$*\" in *\"-ss $(cat \"$dir/gate\") \"*) read -r go <\"$dir/fifo\" ;; esac\n"
    "exec ffmpeg \"$@\"\n";

/* How many calls of ffmpeg had these words. */
static int calls_of(const char *dir, const char *words) {
    return atoi(shell(text("grep -c -e '%s' %s/calls || true", words, dir)));
}

/* Until ffmpeg was called with these words so many times; the process that the last of them was. */
static pid_t called(const char *dir, const char *words, int times) {
    PATIENTLY(20)
        if (calls_of(dir, words) >= times)
            return (pid_t)atoi(shell(text("grep -e '%s' %s/calls | tail -n 1", words, dir)));
    printf("  ffmpeg was never called with %s\n", words);
    test_failures++;
    return 0;
}

/* Dead, or dead and forgotten by whom it belongs to. */
static bool has_ended(pid_t pid) {
    const word zombie = make_word("grep -q '^State:.Z' /proc/%ld/status 2>/dev/null", (long)pid);
    PATIENTLY(10)
        if (pid && (kill(pid, 0) != 0 || system(zombie.s) == 0)) return true;
    return false;
}

static void open_gate(const char *dir) {
    write_file(text("%s/gate", dir), "none\n");
    write_file(text("%s/fifo", dir), "go\n");       /* waits until somebody reads */
}

static word start_transcode(const char *name, const char *dir) {
    return start_call(text("/Transcode/%s/run", name),
                      text("{\"input\":\"%s/in.mp4\",\"output\":\"%s/%s.mp4\",\"segmentSeconds\":0.5}",
                           dir, dir, name));
}

static void transcode_killed(const char *dir) {
    write_file(text("%s/gate", dir), "1.500000\n");
    word id = start_transcode("whole", dir);
    pid_t child = called(dir, "-ss 1.500000", 1);
    ASK("/Transcode/whole/progress", NULL, 200, "{\"stage\": \"transcoding\", \"done\": 3, \"of\": 6}");
    endpoint_kill(&transcode);
    CHECK(has_ended(child));
    CHECK(endpoint_start(&transcode));
    child = called(dir, "-ss 1.500000", 2);
    CHECK_INT(endpoint_stop(&transcode), 0);        /* asked to stop, it stops its child */
    CHECK(has_ended(child));
    CHECK(endpoint_start(&transcode));
    child = called(dir, "-ss 1.500000", 3);
    server_kill();                          /* nobody wants the result any more */
    CHECK(has_ended(child));
    server_restart();
    called(dir, "-ss 1.500000", 4);
    open_gate(dir);
    ATTACH(id.s, 200, text("{\"output\": \"%s/whole.mp4\", \"segments\": 6}", dir));
    ASK("/Transcode/whole/progress", NULL, 200, "{\"stage\": \"done\", \"done\": 6, \"of\": 6}");
    for (int i = 0; i < 6; i++) CHECK_INT(calls_of(dir, text("-ss %.6f", i * 0.5)), i == 3 ? 4 : 1);
    CHECK_INT(calls_of(dir, "-f concat"), 1);
    CHECK_INT(access(text("%s/whole.mp4.parts", dir), F_OK), -1);
    const char *probe = "ffprobe -v error -count_frames -of csv=p=0 -select_streams %s -show_entries stream=%s "
                        "%s/whole.mp4";
    CHECK_STR(shell(text(probe, "v", "codec_name,nb_read_frames", dir)), "h264,75");
    CHECK_STR(shell(text(probe, "a", "codec_name", dir)), "aac");
}

static void transcode_cancelled(const char *dir) {
    write_file(text("%s/gate", dir), "0.500000\n");
    word id = start_transcode("part", dir);
    pid_t child = called(dir, "-ss 0.500000", 2);
    cancel(id.s);
    ATTACH(id.s, 409, NULL);
    CHECK(has_ended(child));
    ASK("/Transcode/part/progress", NULL, 200, "*\"cancelled\"");
    CHECK_INT(access(text("%s/part.mp4.parts", dir), F_OK), -1);
    CHECK_INT(access(text("%s/part.mp4", dir), F_OK), -1);
}

static void transcode_case(void) {
    static char ffmpeg[160];
    const word dir = make_word("%s/transcode-%s", logs, running->name);
    snprintf(ffmpeg, sizeof ffmpeg, "FFMPEG=%s/ffmpeg", dir.s);
    transcode.settings[0] = ffmpeg;
    shell(text("rm -rf %s && mkdir %s && mkfifo %s/fifo && touch %s/calls", dir.s, dir.s, dir.s, dir.s));
    write_file(text("%s/ffmpeg", dir.s), slow_ffmpeg);
    shell(text("chmod +x %s/ffmpeg && ffmpeg -nostdin -v error -f lavfi -i testsrc=d=3:s=64x48:r=25 "
               "-f lavfi -i sine=d=3 -c:v mpeg4 -c:a aac %s/in.mp4 2>&1", dir.s, dir.s));
    endpoint_kill(&transcode);              /* of the mode before: it has another directory */
    if (!endpoint_register(&transcode)) { test_failures++; return; }
    transcode_killed(dir.s);
    transcode_cancelled(dir.s);
    ASK("/Transcode/wrong/run", text("{\"input\":\"README.md\",\"output\":\"%s/wrong.mp4\"}", dir.s), 422,
        "*README.md: Invalid data");
}

/* ---- PostgreSQL: a server of our own, in a directory with its socket ------------------------------------------- */

static endpoint postgres = { .program = "examples/postgres", .log = "postgres" };
static char pg_dir[64];
static pid_t pg_server;                     /* 0: it does not run */

/* PostgreSQL does not run as root. `setpriv` also has it end when this program does. */
static const char pg_script[] =
    "cd \"$1\" && as= bin=$(pg_config --bindir) || exit\n"
    "if [ \"$(id -u)\" = 0 ]; then\n"
    "    chown postgres . && as='--reuid postgres --regid postgres --clear-groups' || exit\n"
    "fi\n"
    "[ -d data ] || setpriv $as \"$bin/initdb\" -D data -A trust -U test -N -E UTF8 --locale=C || exit\n"
    "exec setpriv $as --pdeathsig QUIT \"$bin/postgres\" -D \"$1/data\" -k \"$1\" -c listen_addresses= -c fsync=off\n";

/* The first column of the first row. */
static const char *sql(const char *database, const char *statement) {
    setenv("SQL", statement, 1);
    return shell(text("psql -XAtqw -h %s -U test -d %s -v ON_ERROR_STOP=1 -c \"$SQL\" 2>&1", pg_dir, database));
}

static bool pg_start(void) {
    pg_server = fork();
    if (pg_server == 0) {
        int log = open(text("%s/postgresql.log", logs), O_WRONLY | O_CREAT | O_APPEND, 0666);
        child_of_driver();
        dup2(log, 1);
        dup2(log, 2);
        execl("/bin/sh", "sh", "-c", pg_script, "sh", pg_dir, (char *)NULL);
        _exit(127);
    }
    PATIENTLY(20) {
        const char *try = text("psql -Xqw -h %s -U test -d postgres -c '' >>%s/postgresql.log 2>&1", pg_dir, logs);
        if (system(try) == 0) return true;
        if (waitpid(pg_server, NULL, WNOHANG) != 0) break;
    }
    printf("  no PostgreSQL, see %s/postgresql.log\n", logs);
    return false;
}

static void pg_end(int how) {
    kill(pg_server, how);
    waitpid(pg_server, NULL, 0);
    pg_server = 0;
}

/* Until the number that a statement gives is at least that. */
static bool sql_reaches(const char *database, const char *statement, int number) {
    PATIENTLY(10)
        if (atoi(sql(database, statement)) >= number) {
            progress();
            return true;
        }
    printf("  %s: never %d\n", statement, number);
    return false;
}

/* A session that holds what a statement has locked, until sql_release(). */
static FILE *sql_hold(const char *database, const char *statement) {
    const char *psql = text("psql -Xqw -h %s -U test -d %s >>%s/postgresql.log 2>&1", pg_dir, database, logs);
    FILE *session = popen(psql, "w");
    fprintf(session, "begin;\n%s;\nlisten held;\n", statement);
    fflush(session);
    CHECK(sql_reaches(database, "select count(*) from pg_stat_activity where query = 'listen held;' "
                                "and state = 'idle in transaction'", 1));
    return session;
}

/* The end of the pipe alone does not end it: endpoints that were started meanwhile have that open, too. */
static void sql_release(FILE *session) {
    fputs("\\q\n", session);
    CHECK_INT(pclose(session), 0);
}

static const char waiting[] =
    "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = 'west'";

static const char *transfer_of(const char *from, const char *to, int cents) {
    return text("{\"from\":\"%s\",\"to\":\"%s\",\"cents\":%d}", from, to, cents);
}

/* Balances in cents, and how many entries there are; what is in the entries is what has changed. */
static void check_banks(int ada, int bob, int east_entries, int west_entries) {
    static const char changed[] = "select sum(cents) = (select sum(cents) - 100000 from account) from entry";
    CHECK_INT(atoi(sql("east", "select cents from account where name = 'ada'")), ada);
    CHECK_INT(atoi(sql("west", "select cents from account where name = 'bob'")), bob);
    CHECK_INT(atoi(sql("east", "select count(*) from entry")), east_entries);
    CHECK_INT(atoi(sql("west", "select count(*) from entry")), west_entries);
    CHECK_STR(sql("east", changed), "t");
    CHECK_STR(sql("west", changed), "t");
}

static void transfers_one_by_one(void) {
    ASK("/Transfers/transfer", transfer_of("east/ada", "west/bob", 1500), 200, "*\"transfer\": ");
    ASK("/Transfers/transfer", transfer_of("east/ada", "west/nobody", 1500), 409, "*west: there is no account nobody");
    ASK("/Transfers/transfer", transfer_of("east/ada", "west/bob", 98501), 409, "*not enough on it");
    ASK("/Transfers/transfer", transfer_of("north/ada", "west/bob", 1), 400, "*from is 'north/ada'");
    ASK("/Transfers/transfer", transfer_of("east/ada", "west/bob", 0), 400, "*cents is 0");
    check_banks(98500, 101500, 3, 1);       /* a debit; a debit and its refund */
}

/* The program is killed while its COMMIT is under way: that takes effect, and nobody hears of it. */
static void killed_in_commit(void) {
    sql("west", "create function wait() returns trigger language plpgsql as "
                "'begin perform pg_advisory_xact_lock_shared(1); return null; end';"
                "create constraint trigger slow after insert on entry deferrable initially deferred "
                "for each row execute function wait()");
    FILE *hold = sql_hold("west", "select pg_advisory_xact_lock(1)");
    word id = start_call("/Transfers/transfer", transfer_of("east/ada", "west/bob", 500));
    CHECK(sql_reaches("west", waiting, 1));
    endpoint_kill(&postgres);
    check_banks(98000, 101500, 4, 1);
    sql_release(hold);
    CHECK(sql_reaches("west", "select count(*) from entry", 2));
    check_banks(98000, 102000, 4, 2);
    CHECK(endpoint_start(&postgres));
    ATTACH(id.s, 200, "*\"transfer\": ");
    check_banks(98000, 102000, 4, 2);
    sql("west", "drop trigger slow on entry");
}

enum { TRANSFERS = 24 };                    /* every fourth is refused in the west; more than the program has threads */

/* The receiving account is locked, so all of them are in the middle, half done, whenever the program is killed. */
static void killed_in_the_middle(void) {
    FILE *hold = sql_hold("west", "update account set cents = cents where name = 'bob'");
    word ids[TRANSFERS];
    for (int i = 0; i < TRANSFERS; i++)
        ids[i] = start_call("/Transfers/transfer",
                            transfer_of("east/ada", i % 4 ? "west/bob" : "west/nobody", 100 + i));
    for (int kills = 1; kills <= 3; kills++) {
        CHECK(sql_reaches("west", waiting, 8 * kills));     /* those that have lost their program still wait */
        endpoint_kill(&postgres);
        CHECK(endpoint_start(&postgres));
    }
    CHECK(sql_reaches("west", waiting, 32));
    sql_release(hold);
    int sum = 0;
    for (int i = 0; i < TRANSFERS; i++) {
        ATTACH(ids[i].s, i % 4 ? 200 : 409, i % 4 ? "*\"transfer\": " : "*no account nobody");
        sum += i % 4 ? 100 + i : 0;
    }
    check_banks(98000 - sum, 102000 + sum, 4 + TRANSFERS + TRANSFERS / 4, 2 + TRANSFERS - TRANSFERS / 4);
}

static void databases_killed(void) {
    int bob = atoi(sql("west", "select cents from account where name = 'bob'"));
    pg_end(SIGQUIT);
    word id = start_call("/Transfers/transfer", transfer_of("west/bob", "east/ada", 7)), why = make_word("");
    PATIENTLY(20) {
        const char *select = text("select last_failure f from sys_invocation where id = '%s'", id.s);
        why = make_word("%s", query_text("f", select));
        if (strstr(why.s, "connection to server")) break;
    }
    CHECK_HAS(why.s, "west: connection to server");
    CHECK(pg_start());
    ATTACH(id.s, 200, "*\"transfer\": ");
    CHECK_INT(atoi(sql("west", "select cents from account where name = 'bob'")), bob - 7);
}

static void postgres_case(void) {
    static char east[128], west[128];
    snprintf(pg_dir, sizeof pg_dir, "%.40s/e2e-pg.XXXXXX", env("TMPDIR", "/tmp"));
    if (!mkdtemp(pg_dir) || !pg_start()) { test_failures++; return; }
    snprintf(east, sizeof east, "EAST=host=%s user=test dbname=east", pg_dir);
    snprintf(west, sizeof west, "WEST=host=%s user=test dbname=west", pg_dir);
    postgres.settings[0] = east;
    postgres.settings[1] = west;
    sql("postgres", "create database east");
    sql("postgres", "create database west");
    CHECK_STR(said_by(text("EAST='%s' WEST='%s'", east + 5, west + 5), "examples/postgres", "setup 2>&1"), "; 0");
    if (endpoint_register(&postgres)) {
        transfers_one_by_one();
        killed_in_commit();
        killed_in_the_middle();
        databases_killed();
    } else test_failures++;
    endpoint_kill(&postgres);               /* its databases are gone */
    pg_end(SIGINT);
    CHECK(system(text("rm -rf %s", pg_dir)) == 0);
}
