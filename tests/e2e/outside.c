/* Cases: examples with people or programs beside them: mail, ffmpeg. Included by e2e.c. */

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
    PATIENTLY(20)
        if (mails(line) >= count) return true;
    printf("  never %d mails with %s\n", count, line);
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
