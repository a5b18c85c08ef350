/* End-to-end tests: the examples, and tests/e2e/services.c, against real servers. See harness.c. */
#include "harness.c"

static endpoint greeter = { .program = "examples/greeter", .log = "greeter" };
static endpoint counter = { .program = "examples/counter", .log = "counter" };
static endpoint approval = { .program = "examples/approval", .log = "approval" };
static endpoint signup = { .program = "examples/signup", .log = "signup" };
static endpoint saga = { .program = "examples/saga", .log = "saga" };
static endpoint fan_out = { .program = "examples/fan_out", .log = "fan_out" };
static endpoint first_of = { .program = "examples/first_of", .log = "first_of" };
static endpoint cron = { .program = "examples/cron", .log = "cron" };
static endpoint tickets = { .program = "examples/tickets", .log = "tickets" };
static endpoint protobuf = { .program = "examples/protobuf", .log = "protobuf" };
static endpoint mbedtls = { .program = "examples/mbedtls", .log = "mbedtls", .tls = true };
static endpoint cpp[] = {
    { .program = "cxx/example-gcc-17", .log = "cpp-gcc-17" }, { .program = "cxx/example-gcc-20", .log = "cpp-gcc-20" },
    { .program = "cxx/example-clang-17", .log = "cpp-clang-17" }, { .program = "cxx/example-clang-20", .log = "cpp-clang-20" },
};
static endpoint codec = { .program = "examples/codec", .log = "codec" };
static endpoint own_loop = { .program = "examples/own_loop", .log = "own_loop" };
static endpoint patched = { .program = "examples/patched", .log = "patched", .settings = { "VERSION=1" } };
static endpoint robot = { .program = "examples/robot", .log = "robot" };
static endpoint shop = { .program = "examples/shop/server", .log = "shop" };
static endpoint workers = { .program = "e2e-services", .log = "workers", .settings = { "PROCESSES=2" } };
static endpoint services = { .program = "e2e-services", .log = "services" };
static endpoint rollout = { .program = "examples/rollout", .log = "rollout" };
static endpoint trading = { .program = "examples/trading", .log = "trading" };
static endpoint otel = { .program = "examples/otel", .log = "otel" };
static endpoint replay_check = { .program = "examples/replay_check", .log = "replay_check" };

/* ---- Cases: the examples ------------------------------------------------------------------------------- */

static void greeter_case(void) {
    static reply r;
    if (!endpoint_register(&greeter)) { test_failures++; return; }
    call(&r, "/Greeter/greet", "{\"name\":\"Ada\",\"sleepMillis\":20}");
    CHECK_INT(r.status, 200);
    CHECK_HAS(r.body, "Ada");
    call(&r, "/Greeter/greet", "{\"name\":5}");     /* not a name: fails for good */
    CHECK_INT(r.status, 400);
    call(&r, "/Greeter/nobody", "{}");
    CHECK_INT(r.status, 404);
}

enum { COUNTER_KEYS = 8, COUNTER_ADDS = 25 };
static const char *counter_key(size_t i) { return text("%s-%zu", running->name, i % COUNTER_KEYS); }

static void make_add(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, "/Counter/%s/add", counter_key(i));
    snprintf(body, 256, "1");
}
static bool good_add(size_t i, const reply *r) {
    (void)i;
    return r->status == 200;
}

static void counter_case(void) {
    static const batch adds = { COUNTER_KEYS * COUNTER_ADDS, 32, make_add, good_add };
    static reply r;
    if (!endpoint_register(&counter)) { test_failures++; return; }
    run_batch(&adds);
    for (size_t i = 0; i < COUNTER_KEYS; i++) {
        test_note = counter_key(i);
        call(&r, text("/Counter/%s/get", counter_key(i)), NULL);
        CHECK_INT(r.status, 200);
        CHECK_INT(atoll(r.body), COUNTER_ADDS);
    }
    test_note = "";
    call(&r, text("/Counter/%s/reset", counter_key(0)), NULL);
    CHECK_INT(r.status, 200);
    CHECK_INT(r.len, 0);                                /* declared to have no output */
    CHECK_STR(r.type, "");
    call(&r, text("/Counter/%s/get", counter_key(0)), NULL);
    CHECK_STR(r.body, "0");
    CHECK_STR(r.type, "application/json");
    ASK(text("/Counter/%s/get", counter_key(0)), "1", 400, NULL);      /* nor any input */
    ASK(text("/Counter/%s/add", counter_key(0)), NULL, 400, NULL);     /* but this one needs one */
}

static long log_size(const endpoint *e) {
    struct stat st;
    return stat(log_of(e), &st) == 0 ? (long)st.st_size : 0;
}

/* The id that an example prints behind `before`, waited for; "" if it does not come. */
static word printed(const endpoint *e, long from, const char *before) {
    char line[1024];
    word found = make_word("");
    for (double end = now() + PATIENCE; !found.s[0] && now() < end; pause_ms(10)) {
        FILE *log = fopen(log_of(e), "r");
        if (log) fseek(log, from, SEEK_SET);
        while (log && !found.s[0] && fgets(line, sizeof line, log)) {
            char *id = strstr(line, before);
            if (!id) continue;
            id += strlen(before);
            found = make_word("%.*s", (int)strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"), id);
        }
        if (log) fclose(log);
    }
    CHECK(found.s[0] != 0);
    return found;
}

static void approval_case(void) {
    static reply r;
    if (!endpoint_register(&approval)) { test_failures++; return; }
    long from = log_size(&approval);
    word id = start_call("/Approvals/approve", "{\"what\":\"a holiday\"}");
    word awakeable = printed(&approval, from, "/awakeables/");
    http(&r, "POST", text("%s/restate/awakeables/%s/resolve", ingress, awakeable.s), "{\"approved\":true}");
    CHECK_INT(r.status, 202);
    attach(&r, id.s);
    CHECK_INT(r.status, 200);
    CHECK_HAS(r.body, "true");
}

static void signup_case(void) {
    if (!endpoint_register(&signup)) { test_failures++; return; }
    word key = make_word("ada-%s", running->name);
    long from = log_size(&signup);
    ASK(text("/SignUp/%s/status", key.s), NULL, 200, "\"unknown\"");
    word id = start_call(text("/SignUp/%s/run", key.s), "{\"email\":\"ada@example.com\"}");
    word secret = printed(&signup, from, "--json '\"");
    CHECK(comes_to(text("/SignUp/%s/status", key.s), "\"mail sent\""));
    ASK(text("/SignUp/%s/click", key.s), text("\"%s\"", secret.s), 200, "");
    ASK(text("/SignUp/%s/click", key.s), "\"guessed\"", 409, NULL);
    ATTACH(id.s, 200, "{\"verified\": true}");
    ASK(text("/SignUp/%s/status", key.s), NULL, 200, "\"verified\"");
    ASK(text("/SignUp/%s/run", key.s), "{\"email\":\"ada@example.com\"}", 409, NULL);

    id = start_call(text("/SignUp/%s-2/run", key.s), "{\"email\":\"eve@example.com\"}");
    ASK(text("/SignUp/%s-2/click", key.s), "\"guessed\"", 200, "");
    ATTACH(id.s, 200, "{\"verified\": false}");
    ASK(text("/SignUp/%s-3/run", key.s), "{}", 400, "*email is missing");
}

/* Whether the parts of a trip are booked: a letter each. */
static void check_trip(const char *trip, const char *all) {
    static const char *const parts[] = { "Flights", "Cars", "Hotels" };
    for (int i = 0; i < 3; i++) {
        test_note = parts[i];
        ASK(text("/%s/%s/get", parts[i], trip), NULL, 200, all[i] == 'y' ? "true" : "false");
    }
    test_note = "";
}

static void saga_case(void) {
    static reply r;
    if (!endpoint_register(&saga)) { test_failures++; return; }
    call(&r, "/Trips/book", "{}");
    CHECK_INT(r.status, 200);
    CHECK(r.len > 20);
    check_trip(text("%.36s", r.body + strlen("{\"trip\": \"")), "yyy");
    long from = log_size(&saga);
    ASK("/Trips/book", "{\"soldOut\":\"Hotels\"}", 409, "*Hotels: none left");
    check_trip(printed(&saga, from, "booking trip ").s, "nnn");

    from = log_size(&saga);
    word id = start_call("/Trips/book", "{\"slow\":\"Hotels\"}"), trip = printed(&saga, from, "booking trip ");
    CHECK(comes_to(text("/Hotels/%s/get", trip.s), "true"));
    check_trip(trip.s, "yyy");
    cancel(id.s);
    ATTACH(id.s, 409, "*");
    check_trip(trip.s, "nnn");
}

static void fan_out_case(void) {
    if (!endpoint_register(&fan_out)) { test_failures++; return; }
    double start = now();
    ASK("/FanOut/process", "[\"to be\",\"or not\",\" to  be, that is \",\"\"]", 200,
        "{\"words\": 8, \"text\": \"TO BE\\nOR NOT\\n TO  BE, THAT IS \\n\\n\"}");
    CHECK(now() - start > 0.9);
    /* All calls were made before the first of them had a result. */
    CHECK_INT(query_number("c", text("select count(*) c from sys_journal where id = '%s' and entry_type = 'Command: Call' and index < "
                                     "(select min(index) from sys_journal where id = '%s' and entry_type = 'Notification: Call')",
                                     last_id, last_id)), 4);
    ASK("/FanOut/process", "[]", 200, "{\"words\": 0, \"text\": \"\"}");
    ASK("/FanOut/process", "[1]", 400, NULL);
}

static void first_of_case(void) {
    if (!endpoint_register(&first_of)) { test_failures++; return; }
    ASK("/Quotes/quote", "{\"item\":7}", 200, "{\"price\": 7, \"from\": \"cache\"}");
    word late = start_call("/Quotes/quote", "{\"item\":70}"), never = start_call("/Quotes/quote", "{\"item\":700}");
    word told = start_call("/Quotes/quote", "{\"item\":701}");
    ASK("/Quotes/tell", text("{\"id\":\"%s\",\"price\":12}", told.s), 200, "");
    ATTACH(told.s, 200, "{\"price\": 12, \"from\": \"a person\"}");
    ATTACH(late.s, 200, "{\"price\": 71, \"from\": \"pricing\"}");
    ATTACH(never.s, 504, "*no price of 700 in time");
    PATIENTLY(20)
        if (query_number("c", "select count(*) c from sys_invocation where target_service_name = 'Pricing' and status != 'completed'") == 0)
            break;
    CHECK_INT(query_number("c", "select count(*) c from sys_invocation where target_service_name = 'Pricing' "
                                "and completion_failure like '%409%'"), 3);
}

static void cron_case(void) {
    static reply r;
    if (!endpoint_register(&cron)) { test_failures++; return; }
    word key = make_word("/Cron/%s", running->name);
    long from = log_size(&cron);
    ASK(text("%s/start", key.s), "{\"everyMillis\":100}", 200, "");
    ASK(text("%s/start", key.s), "{\"everyMillis\":100}", 409, "*is running already");
    ASK(text("%s/tick", key.s), NULL, 400, NULL);       /* private */
    CHECK(comes_to(text("%s/status", key.s), "{\"everyMillis\": 100, \"ticks\": 3}"));
    ASK(text("%s/stop", key.s), NULL, 200, "");
    ASK(text("%s/stop", key.s), NULL, 404, "*is not running");
    CHECK_STR(printed(&cron, from, "report ").s, "1");
    pause_ms(150);
    ASK(text("%s/status", key.s), NULL, 200, "{\"everyMillis\": 0, \"ticks\": 0}");
    CHECK_INT(query_number("c", "select count(*) c from sys_invocation where target_service_name = 'Cron' and status != 'completed'"), 0);
    ASK(text("%s/start", key.s), "{\"everyMillis\":3600000}", 200, "");      /* and once more */
    call(&r, text("%s/stop", key.s), NULL);
    CHECK_INT(r.status, 200);
}

static void tickets_case(void) {
    if (!endpoint_register(&tickets)) { test_failures++; return; }
    const char *m = running->name;
    word seat = make_word("{\"seat\":\"A1-%s\"}", m), ada = make_word("/Carts/ada-%s", m), bob = make_word("/Carts/bob-%s", m);
    ASK(text("%s/add", ada.s), seat.s, 200, "true");
    ASK(text("%s/add", bob.s), seat.s, 200, "false");
    ASK(text("%s/checkout", bob.s), NULL, 409, "*the cart is empty");
    ASK(text("%s/add", ada.s), text("{\"seat\":\"A2-%s\"}", m), 200, "true");
    ASK(text("%s/expire", ada.s), text("\"A1-%s\"", m), 200, "");
    double end = now() + PATIENCE;
    static reply r;
    do call(&r, text("%s/add", bob.s), seat.s);         /* the release is on its way */
    while (strcmp(r.body, "false") == 0 && now() < end);
    CHECK_STR(r.body, "true");
    ASK(text("%s/checkout", ada.s), NULL, 200, "*\"euro\": 25}");
    ASK(text("%s/expire", ada.s), text("\"A2-%s\"", m), 200, "");
    ASK(text("%s/add", bob.s), text("{\"seat\":\"A2-%s\"}", m), 200, "false");   /* it is sold */
    ASK(text("%s/checkout", bob.s), NULL, 200, "*\"euro\": 25}");
    ASK("/Checkout/pay", "1", 400, NULL);               /* private */
}

/* A value of an object's state as the server has it, in hexadecimal; "" if there is none. */
static const char *stored(const char *service, const char *object, const char *name) {
    return query_text("v", text("select encode(value, 'hex') v from state where service_name = '%s' and service_key = '%s' and key = '%s'",
                                service, object, name));
}

/* How many entries of the journal of the last invocation have these bytes in them. */
static long long journaled(const char *hex) {
    return query_number("c", text("select count(*) c from sys_journal where id = '%s' and encode(raw, 'hex') like '%%%s%%'", last_id, hex));
}

#define PROTO "application/proto"

/* As the server's UI asks: what a payload of Customers is as JSON, or the other way round. */
static void shows(const char *what, const char *payload, long status, const char *result) {
    reply r;
    http(&r, "POST", text("%s/internal/services/Customers/serdes/%s", admin, what), payload);
    CHECK_INT(r.status, status);
    if (status == 200) CHECK_STR(r.body, result);
    else CHECK_HAS(r.body, result);
}

static void protobuf_case(void) {
    reply r;
    if (!endpoint_register(&protobuf)) { test_failures++; return; }
    word key = make_word("ada-%s", running->name), ada = make_word("/Customers/%s", key.s);
    ASK(text("%s/total", ada.s), NULL, 200, "{}");
    ASK(text("%s/placeJson", ada.s), "{\"id\":\"A-17\",\"cents\":450}", 200, "{\"cents\":\"450\",\"orders\":1}");
    ASK_BYTES(text("%s/place", ada.s), PROTO, "\x0a\x04" "A-18" "\x10\xa6\x04", 200, "\x08\xe8\x07\x10\x02");
    CHECK_INT(journaled("0a04412d313810a604"), 1);      /* the input as it came */
    CHECK_INT(journaled("08e8071002"), 2);              /* state and reply */
    CHECK_STR(stored("Customers", key.s, "total"), "08e8071002");
    ASK(text("%s/total", ada.s), NULL, 200, "{\"cents\":\"1000\",\"orders\":2}");

    ASK_BYTES(text("%s/place", ada.s), PROTO, "\x0a\x05" "A-19", 400, "Order");     /* cut off */
    ASK_BYTES(text("%s/place", ada.s), PROTO, "\x0a\x04" "A\x00" "19" "\x10\x05", 400, "proto: Order.id: string with a zero byte");
    ASK_BYTES(text("%s/place", ada.s), PROTO, "\x0a\x04" "A\xFF" "19" "\x10\x05", 400, "proto: Order.id: string that is not UTF-8");
    ASK(text("%s/placeJson", ada.s), "{\"id\":\"A\\u0000\",\"cents\":5}", 400, "*'id' of Order");
    ASK_BYTES(text("%s/place", ada.s), PROTO, "\x0a\x04" "A-20", 400, "no order costs that");
    ASK_BYTES(text("%s/place", ada.s), PROTO, "", 400, "no order costs that");       /* all zero is a message, too */
    ASK(text("%s/place", ada.s), "{\"cents\":1}", 400, "*does not match");         /* never gets to the handler */
    ASK(text("%s/placeJson", ada.s), "{\"cents\":1,\"dollars\":2}", 400, "*dollars");
    ASK(text("%s/placeJson", ada.s), "{\"cents\":\"1000\"}", 200, "{\"cents\":\"2000\",\"orders\":3}");

    http(&r, "GET", text("%s/services/Customers", admin), NULL);
    CHECK_HAS(r.body, "\"dev.restate.serde.preview.place/input\":\"true\"");
    CHECK_HAS(r.body, "\"dev.restate.serde.preview.place/output\":\"true\"");
    CHECK(!strstr(r.body, "serde.preview.placeJson") && !strstr(r.body, "serde.preview.total"));
    shows("decode/place/input", "\x0a\x04" "A-18" "\x10\xa6\x04", 200, "{\"id\":\"A-18\",\"cents\":\"550\"}");
    shows("decode/place/output", "\x08\xe8\x07\x10\x02", 200, "{\"cents\":\"1000\",\"orders\":2}");
    shows("decode/place/output", "", 200, "{}");
    shows("encode/place/input", "{\"id\":\"A-18\",\"cents\":550}", 200, "\x0a\x04" "A-18" "\x10\xa6\x04");
    shows("decode/place/input", "\x0a\x05" "A-19", 500, "proto: Order.id: ");          /* the server's own status, */
    shows("encode/place/input", "{\"dollars\":1}", 500, "status code '422 ");        /* and ours */
    shows("encode/place/input", "{\"dollars\":1}", 500, "json: Order has no member 'dollars'");
    shows("decode/placeJson/input", "{}", 500, "status code '404'");
}

static void codec_case(void) {
    if (!endpoint_register(&codec)) { test_failures++; return; }
    word lamp = make_word("/Lamp/desk-%s/mix", running->name), diary = make_word("/Diary/ada-%s/write", running->name);
    ASK_BYTES(lamp.s, "text/x-color", "#ff8000", 200, "#ffbf7f");
    ASK_BYTES(lamp.s, "text/x-color", "#0000FF", 200, "#7f5fbf");
    CHECK_STR(stored("Lamp", text("desk-%s", running->name), "color"), "23376635666266");
    CHECK_INT(journaled("23376635666266"), 2);          /* state and reply */
    ASK_BYTES(lamp.s, "text/x-color", "#ff80", 400, "a color looks like #ff8000");
    ASK_BYTES(lamp.s, "text/x-color", "#ff80zz", 400, "a color looks like #ff8000");
    ASK_BYTES(lamp.s, "application/json", "\"#ff8000\"", 400, "does not match");

    ASK_BYTES(diary.s, "application/octet-stream", "\xc4\xe5\xe1\xf2\xa0\xe4\xe9\xe1\xf2\xf9", 200, "\xb2\xa0\xf7\xef\xf2\xe4\xf3");
    CHECK_STR(stored("Diary", text("ada-%s", running->name), "last"), "c4e5e1f2a0e4e9e1f2f9");
    CHECK_INT(journaled("c4e5e1f2a0e4e9e1f2f9"), 2);    /* input and state */
    CHECK_INT(journaled("b2a0f7eff2e4f3"), 2);          /* result of the step, and reply */
    CHECK_INT(journaled("4465617220"), 0);              /* "Dear " */
    CHECK_INT(journaled("776f726473"), 0);              /* "words" */
}

static void cpp_with(endpoint *e) {
    if (!endpoint_register(e)) { test_failures++; return; }
    word ada = make_word("/Trips/ada-%s-%s", running->name, e->log);
    long from = log_size(e);
    ASK(text("%s/booked", ada.s), NULL, 200, "null");
    ASK(text("%s/book", ada.s), "{\"to\": \"Paris\", \"nights\": 2}", 200, "{\"city\": \"Paris\", \"total\": 300}");
    ASK(text("%s/book", ada.s), "{\"to\": \"Atlantis\", \"nights\": 1}", 404, "*no hotel in Atlantis");
    CHECK_STR(printed(e, from, "the flight to ").s, "Atlantis");
    ASK(text("%s/book", ada.s), "{\"to\": \"Nowhere\", \"nights\": 1}", 404, "*no flight in Nowhere");
    ASK(text("%s/booked", ada.s), NULL, 200, "\"Paris\"");
    word id = start_call(text("%s/book", ada.s), "{\"to\": \"Oslo\", \"nights\": 1}");
    CHECK(has_commands(id.s, "Sleep", 1));
    endpoint_kill(e);
    CHECK(endpoint_start(e));
    ATTACH(id.s, 200, "{\"city\": \"Oslo\", \"total\": 290}");
    CHECK(comes_to(text("%s/desks", ada.s), "0"));          /* every destructor ran */
}

/* The one that was registered last gets what is new. */
static void cpp_case(void) {
    for (size_t i = 0; i < sizeof cpp / sizeof *cpp; i++) {
        test_note = cpp[i].program;
        cpp_with(&cpp[i]);
    }
    test_note = "";
}

static void mbedtls_with(const char *dir) {
    static char cert[160], key[160], large[400003];
    snprintf(cert, sizeof cert, "CERTIFICATE=%s/endpoint.pem", dir);
    snprintf(key, sizeof key, "KEY=%s/endpoint.key", dir);
    mbedtls.settings[0] = cert, mbedtls.settings[1] = key;
    if (!server_special(text("--set SSL_CERT_FILE=%s/ca.pem", dir))) return;
    if (!endpoint_register(&mbedtls)) { test_failures++; return; }
    ASK("/Vault/whisper", "\"Ada\"", 200, "\"psst, Ada\"");
    memset(large, 'x', sizeof large - 1);           /* more than a socket takes at once */
    large[0] = large[sizeof large - 2] = '"';
    ASK("/Vault/whisper", large, 200, "*\"psst, xxxxxx");
    ASK("/Vault/whisper", "\"Bob\"", 200, "\"psst, Bob\"");
    CHECK_INT(endpoint_stop(&mbedtls), 0);
}
static void mbedtls_case(void) { with_certificates(mbedtls_with); }

static void own_loop_case(void) {
    if (!endpoint_register(&own_loop)) { test_failures++; return; }
    long from = log_size(&own_loop);
    for (int i = 0; i < 20; i++) ASK("/Echo/ping", "\"hello\"", 200, "\"hello\"");
    CHECK_STR(printed(&own_loop, from, "7 ").s, "bytes");       /* through the log of the host */
    CHECK_INT(endpoint_stop(&own_loop), 0);             /* a clean stop */
    CHECK(endpoint_start(&own_loop));
    ASK("/Echo/ping", "\"again\"", 200, "\"again\"");
}

/* ---- Cases: our services -------------------------------------------------------------------------------- */

static void chain_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    const char *path = text("/Order/%s/place", running->name);
    for (int i = 1; i <= 3; i++) {
        call(&r, path, "{\"amount\":21}");
        CHECK_INT(r.status, 200);
        CHECK_STR(r.body, text("{\"customer\": \"%s\", \"reserved\": 7, \"total\": %d}", running->name, 42 * i));
    }
    call(&r, path, "{\"amount\":-1}");              /* the failure comes up through the callers */
    CHECK_INT(r.status, 422);
    CHECK_HAS(r.body, "no order of -1");
    call(&r, text("/Tally/%s/get", running->name), NULL);
    CHECK_STR(r.body, "63");
}

/* `want` is the answer before `until` only: later, which is where the machine is slow, it may be another. */
static void ask_before(double until, const char *path, const char *body, const char *want) {
    static reply r;
    test_note = path;
    call(&r, path, body);
    CHECK_INT(r.status, 200);
    if (now() < until) CHECK_STR(r.body, want);
    test_note = "";
}

static void delayed_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word key = make_word("later-%s", running->name);
    double sent = now();
    call(&r, "/Later/add", text("{\"key\":\"%s\",\"delayMillis\":1500}", key.s));
    CHECK_INT(r.status, 200);
    CHECK_HAS(r.body, "\"inv_");
    word id = make_word("%.*s", (int)strcspn(r.body + 1, "\""), r.body + 1);
    ask_before(sent + 1.5, text("/Tally/%s/get", key.s), NULL, "0");
    attach(&r, id.s);
    CHECK_INT(r.status, 200);
    CHECK_STR(r.body, "1");
    CHECK(now() - sent > 1.49);
}

/* The id of the awakeable that Gate `key` waits for, out of its state. */
static word gate_awakeable(word key) {
    PATIENTLY(20) {
        const char *value = query_text("value_utf8", text("select value_utf8 from state where service_name = 'Gate' "
                                                          "and service_key = '%s' and key = 'awakeable'", key.s));
        if (value[0] == '"') return make_word("%.*s", (int)strcspn(value + 1, "\""), value + 1);
    }
    return make_word("");
}

static void awakeable_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word key = make_word("opens-%s", running->name), id = start_call(text("/Gate/%s/wait", key.s), NULL);
    http(&r, "POST", text("%s/restate/awakeables/%s/resolve", ingress, gate_awakeable(key).s), "{\"by\": \"Ada\"}");
    CHECK_INT(r.status, 202);
    attach(&r, id.s);
    CHECK_INT(r.status, 200);
    CHECK_STR(r.body, "{\"by\": \"Ada\"}");

    key = make_word("stays-shut-%s", running->name);
    id = start_call(text("/Gate/%s/wait", key.s), NULL);
    http(&r, "POST", text("%s/restate/awakeables/%s/reject", ingress, gate_awakeable(key).s), "no key");
    CHECK_INT(r.status, 202);
    attach(&r, id.s);
    CHECK_INT(r.status, 500);
    CHECK_HAS(r.body, "no key");
}

static void flaky_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    call(&r, text("/Worker/flaky-%s/flaky", running->name), "3");
    CHECK_INT(r.status, 200);
    CHECK_STR(r.body, "4");
    call(&r, text("/Worker/flaky-%s/hopeless", running->name), "3");
    CHECK_INT(r.status, 500);
    CHECK_HAS(r.body, "still raining");
}

static void cancel_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    word id = start_call("/Load/nap", "3600000");
    CHECK(has_commands(id.s, "Sleep", 1));
    cancel(id.s);
    ATTACH(id.s, 409, "*");
}

static void make_block(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, i < 20 ? "/Block/meet" : "/Block/nap");
    snprintf(body, 256, "%zu", i < 20 ? 20 : 80 + i);
}
static bool good_block(size_t i, const reply *r) {
    return r->status == 200 && strcmp(r->body, i < 20 ? "20" : text("%zu", 81 + i)) == 0;
}

/* Handlers that block do so side by side: each of the first waits until all of them are there. */
static void blocking_case(void) {
    static const batch blocks = { 40, 40, make_block, good_block };
    if (!endpoint_register(&services)) { test_failures++; return; }
    run_batch(&blocks);
}

/* ---- Case: the endpoint is killed in the middle ---------------------------------------------------------- */

enum { CRASH_KEYS = 6, CRASH_STEPS = 8 };

/* How often step `number` of `key` was executed. */
static int executions(const char *key, int number) {
    char line[256];
    const char *wanted = text("%s %d\n", key, number);
    int n = 0;
    FILE *trace = fopen(text("%s/trace", logs), "r");
    while (trace && fgets(line, sizeof line, trace)) n += strcmp(line, wanted) == 0;
    if (trace) fclose(trace);
    return n;
}

/* Results of runs that the server has stored: of one invocation, or ("%") of all of Worker. */
static long long recorded_runs(const char *id) {
    return query_number("c", text("select count(*) c from sys_journal where id like '%s' and entry_type like 'Notification: Run%%' "
                                  "and id in (select id from sys_invocation where target_handler_name = 'work')", id));
}

static void crash_case(void) {
    static reply r;
    word ids[CRASH_KEYS], keys[CRASH_KEYS];
    long long recorded[CRASH_KEYS];
    if (!endpoint_register(&services)) { test_failures++; return; }
    for (int i = 0; i < CRASH_KEYS; i++) {
        keys[i] = make_word("crash-%s-%d", running->name, i);
        ids[i] = start_call(text("/Worker/%s/work", keys[i].s), text("{\"steps\":%d,\"pauseMillis\":60}", CRASH_STEPS));
    }
    PATIENTLY(10)
        if (recorded_runs("%") >= CRASH_KEYS * CRASH_STEPS / 4) break;
    endpoint_kill(&services);
    for (int i = 0; i < CRASH_KEYS; i++) recorded[i] = recorded_runs(ids[i].s);
    CHECK_INT(query_number("c", text("select count(*) c from sys_invocation where id = '%s' and status = 'completed'", ids[0].s)), 0);
    CHECK(endpoint_start(&services));
    for (int i = 0; i < CRASH_KEYS; i++) {
        attach(&r, ids[i].s);
        test_note = keys[i].s;
        CHECK_INT(r.status, 200);
        CHECK_INT(atoll(r.body), CRASH_STEPS);
        for (int step = 0; step < CRASH_STEPS; step++) {
            int n = executions(keys[i].s, step);
            test_note = text("step %d of %s, %lld were recorded at the crash", step, keys[i].s, recorded[i]);
            CHECK(step < recorded[i] ? n == 1 : n == 1 || n == 2);
        }
    }
    test_note = "";
}

/* ---- Case: the server is killed in the middle ------------------------------------------------------------- */

static void restart_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word key = make_word("restart-%s", running->name);
    word id = start_call(text("/Worker/%s/work", key.s), text("{\"steps\":%d,\"pauseMillis\":60}", CRASH_STEPS));
    PATIENTLY(10)
        if (recorded_runs(id.s) >= CRASH_STEPS / 2) break;
    long long recorded = recorded_runs(id.s);
    server_kill();
    server_restart();
    attach(&r, id.s);
    CHECK_INT(r.status, 200);
    CHECK_INT(atoll(r.body), CRASH_STEPS);
    for (int step = 0; step < CRASH_STEPS; step++) {
        int n = executions(key.s, step);
        test_note = text("step %d of %s, %lld were recorded at the crash", step, key.s, recorded);
        CHECK(step < recorded ? n == 1 : n == 1 || n == 2);
    }
    test_note = "";
}

/* ---- Cases: promises, signals, results of others --------------------------------------------------------- */

static void promise_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word flow = make_word("/Flow/%s", running->name);
    word id = start_call(text("%s-1/run", flow.s), NULL);
    ASK(text("%s-1/peek", flow.s), NULL, 200, "\"not yet\"");
    CHECK(has_commands(id.s, "GetPromise", 1));
    ASK(text("%s-1/resolve", flow.s), "[1,2]", 200, "");
    ASK(text("%s-1/resolve", flow.s), "3", 409, NULL);
    ASK(text("%s-1/reject", flow.s), "\"too late\"", 409, NULL);
    ASK(text("%s-1/peek", flow.s), NULL, 200, "[1,2]");
    ATTACH(id.s, 200, "{\"went\": [1,2]}");
    ASK(text("%s-1/run", flow.s), NULL, 409, NULL);     /* once per key */
    http(&r, "GET", text("%s/restate/workflow%s-1/attach", ingress, flow.s), NULL);
    CHECK_STR(r.body, "{\"went\": [1,2]}");

    id = start_call(text("%s-2/run", flow.s), NULL);
    ASK(text("%s-2/reject", flow.s), "\"no tea\"", 200, "");
    ASK(text("%s-2/resolve", flow.s), "3", 409, NULL);
    ASK(text("%s-2/peek", flow.s), NULL, 418, "*no tea");
    ATTACH(id.s, 418, "*no tea");

    ASK(text("%s-3/resolve", flow.s), "true", 200, ""); /* before the workflow is there */
    ASK(text("%s-3/run", flow.s), NULL, 200, "{\"went\": true}");
}

static void tell(const char *id, const char *rest) {
    ASK("/Ear/tell", text("{\"id\":\"%s\",%s}", id, rest), 200, "");
}

static void signal_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    word early = start_call("/Ear/listen", "3");        /* the words are there when it asks for them */
    tell(early.s, "\"name\":\"word\",\"value\":1");
    tell(early.s, "\"name\":\"word\",\"failure\":\"hush\"");
    tell(early.s, "\"name\":\"word\",\"value\":[2]");
    tell(early.s, "\"name\":\"begin\",\"value\":\"now\"");
    ATTACH(early.s, 200, "\"\\\"now\\\", 1, 406 hush, [2]\"");

    word late = start_call("/Ear/listen", "3");
    tell(late.s, "\"name\":\"begin\",\"value\":0");
    pause_ms(100);
    tell(late.s, "\"name\":\"word\",\"value\":\"a\"");
    tell(late.s, "\"name\":\"other\",\"value\":\"not this\"");
    pause_ms(50);
    tell(late.s, "\"name\":\"word\",\"failure\":\"no\"");
    pause_ms(50);
    tell(late.s, "\"name\":\"word\",\"value\":\"b\"");
    ATTACH(late.s, 200, "\"0, \\\"a\\\", 406 no, \\\"b\\\"\"");
}

static void attach_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word key = make_word("\"idempotencyKey\":\"nap-%s\"", running->name), flow = make_word("/Flow/attach-%s", running->name);
    const char *start = text("{%s,\"millis\":800}", key.s);
    double busy_until = now() + 0.8;
    call(&r, "/Desk/start", start);
    CHECK_INT(r.status, 200);
    word id = make_word("{\"id\":%s}", r.body), by_key = make_word("{%s}", key.s);
    ASK("/Desk/start", start, 200, r.body);             /* the same invocation */
    ask_before(busy_until, "/Desk/output", id.s, "\"not yet\"");
    ask_before(busy_until, "/Desk/output", by_key.s, "\"not yet\"");
    ask_before(busy_until, "/Desk/attachFor", text("{%s,\"waitMillis\":20}", key.s), "\"still busy\"");
    ASK("/Desk/attach", id.s, 200, "800");
    ASK("/Desk/attach", by_key.s, 200, "800");
    ASK("/Desk/attachFor", text("{%s,\"waitMillis\":20000}", key.s), 200, "800");
    ASK("/Desk/output", id.s, 200, "800");
    ASK("/Desk/output", by_key.s, 200, "800");

    word workflow = make_word("{\"flow\":\"attach-%s\"}", running->name);
    start_call(text("%s/run", flow.s), NULL);
    ASK("/Desk/output", workflow.s, 200, "\"not yet\"");
    word waits = start_call("/Desk/attach", workflow.s);
    ASK(text("%s/reject", flow.s), "\"no tea\"", 200, "");
    ATTACH(waits.s, 418, "*no tea");                    /* with its failure */
    ASK("/Desk/attach", workflow.s, 418, "*no tea");
    ASK("/Desk/output", workflow.s, 418, "*no tea");

    word of_object = make_word("{\"idempotencyKey\":\"once-%s\",\"tally\":\"attach-%s\",\"millis\":5}", running->name, running->name);
    for (int i = 0; i < 2; i++) ASK("/Desk/start", of_object.s, 200, NULL);
    ASK("/Desk/attach", of_object.s, 200, "5");
    ASK(text("/Tally/attach-%s/get", running->name), NULL, 200, "5");   /* it was added once */
    ASK("/Desk/attach", "{\"flow\":\"nobody\"}", 404, NULL);
    ASK("/Desk/output", "{\"flow\":\"nobody\"}", 404, NULL);
}

/* ---- Cases: futures ------------------------------------------------------------------------------------------ */

static void futures_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK("/Small/settled", NULL, 200, "[\"yes\", \"yes\", \"yes\", 402, \"no\"]");
    ASK("/Small/patience", "3", 200, "\"408 408 408 300\"");
    ASK("/Small/impatience", NULL, 408, NULL);

    ASK("/Small/relay", NULL, 200, server_since(10700) ? "\"451 not here, empty=, god=1, law=42\""   /* sorted by the server */
                                                       : "\"451 not here, law=42, empty=, god=1\"");
    ASK("/Small/reject", NULL, 200, "\"c=1 a=2 b=3 c=1 a=2 b=3 \"");
    ASK("/Small/myself", NULL, 200, "[1, 2]");
    ASK("/Small/large", "3000000", 200, "3000000");
    ASK("/Small/loser", NULL, 200, "5");

    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    long long before = (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000, first = 0, then = 0;
    call(&r, "/Small/now", NULL);
    CHECK_INT(r.status, 200);
    CHECK_INT(sscanf(r.body, "{\"first\": %lld, \"then\": %lld}", &first, &then), 2);
    CHECK(first >= before && then >= first + 30 && then < before + 20000);
}

/* Whether the numbers up to 200 are there, in any order. */
static void check_order(reply *r) {
    bool there[200] = { false };
    int numbers = 0;
    CHECK_INT(r->status, 200);
    for (char *p = strtok(r->body, " \""); p; p = strtok(NULL, " \"")) {
        int i = atoi(p);
        CHECK(i >= 0 && i < 200 && !there[i]);
        if (i >= 0 && i < 200) there[i] = true;
        numbers++;
    }
    CHECK_INT(numbers, 200);
}

/* 200 futures settle in the same order in every attempt, also if the endpoint dies in between. */
static void selector_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    call(&r, "/Many/order", "200");
    check_order(&r);
    call(&r, "/Many/orderBlocking", "200");
    check_order(&r);
    word ids[3];
    for (int i = 0; i < 3; i++) ids[i] = start_call("/Many/order", "200");
    for (int i = 0; i < 3; i++) {
        pause_ms(15);
        endpoint_kill(&services);
        CHECK(endpoint_start(&services));
    }
    for (int i = 0; i < 3; i++) {
        attach(&r, ids[i].s);
        check_order(&r);
    }
}

static void deep_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK("/Many/deep", "60", 200, "60");
}

static void sleeps_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    size_t count = scaled(1000);
    ASK("/Many/sleeps", text("{\"count\":%zu,\"millis\":200}", count), 200, text("%zu", count));
}

/* ---- Cases: payloads, requests, logs --------------------------------------------------------- */

/* Payloads that are neither JSON nor as the handler wants them. */
static void formats_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    post_bytes(&r, text("%s/Paper/bytes", ingress), "image/png", "\x00\xff\x01", 3);
    CHECK_INT(r.status, 200);
    CHECK_INT(r.len, 3);
    CHECK(memcmp(r.body, "\x00\xff\x01", 3) == 0);
    CHECK_STR(r.type, "application/octet-stream");
    ASK("/Paper/bytes", NULL, 200, "");
    call(&r, "/Paper/nothing", NULL);
    CHECK_INT(r.status, 200);
    CHECK_STR(r.type, "");
    post_bytes(&r, text("%s/Paper/nothing", ingress), "text/plain", "x", 1);
    CHECK_INT(r.status, 400);

    word list = make_word("/List/%s", running->name);
    ASK_BYTES(text("%s/backwards", list.s), "text/csv", "1,20,-3", 200, "-3,20,1");
    ASK_BYTES(text("%s/backwards", list.s), "text/csv", "1,two", 400, "no list of numbers: 1,two");
    post_bytes(&r, text("%s%s/backwards", ingress, list.s), "text/plain", "4,5", 3); /* any text */
    CHECK_STR(r.body, "5,4");
    CHECK_STR(r.type, "text/csv");
    ASK(text("%s/backwards", list.s), "[1]", 400, NULL);
    ASK(text("%s/unreadable", list.s), "\"x\"", 500, "*no list of numbers");
    ASK(text("%s/unwritable", list.s), NULL, 200, "7");

    http(&r, "GET", text("%s/services/Paper/openapi", admin), NULL);
    CHECK_INT(r.status, 200);
    CHECK_HAS(r.body, "\"title\":\"a number\"");
}

/* What the server stores, and what leaves through the ingress, is sealed. */
static void sealed_case(void) {
    static reply r;
    const char secret[] = "\"top secret\"";
    if (!endpoint_register(&services)) { test_failures++; return; }
    call(&r, text("/Vault/%s/keep", running->name), NULL);
    CHECK_INT(r.status, 200);
    CHECK_INT(r.len, sizeof secret);
    if (r.len == sizeof secret)
        for (size_t i = 1; i < r.len; i++) CHECK_INT(r.body[i] ^ 0x55, secret[i - 1]);
    CHECK_INT(
        query_number(
            "c",
            text("select count(*) c from state where service_name = 'Vault' and service_key = '%s'",
                 running->name)),
        1);
    CHECK_INT(query_number("c", "select count(*) c from state where service_name = 'Vault' and "
                                "value_utf8 like '%secret%'"),
              0);
    post_bytes(&r, text("%s/Vault/%s/echo", ingress, running->name), "text/plain", "\"in the clear\"", 14);
    CHECK_INT(r.status, 400);
    CHECK_HAS(r.body, "could not be opened");
}

/* How often something is in a log, from a place on. */
static int times_in_log(const endpoint *e, long from, const char *what) {
    char line[1024];
    int n = 0;
    FILE *log = fopen(log_of(e), "r");
    if (log) fseek(log, from, SEEK_SET);
    while (log && fgets(line, sizeof line, log)) n += strstr(line, what) != NULL;
    if (log) fclose(log);
    return n;
}

static void request_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    char id[64], uuid[64], rest[256] = "";
    long from = log_size(&services);
    const char *want = text("\"x-ray\"], \"%s\", {\"a\":1}, 1, true]", running->name);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "content-type: application/json");
    headers = curl_slist_append(headers, "x-asked: x-ray");
    const char *url = text("%s/Asker/%s/ask", ingress, running->name);
    prepare(curl, &r, "POST", url, "{\"a\":1}");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    perform(curl, &r, url);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    keep_id(r.id);
    CHECK_INT(r.status, 200);
    test_note = r.body;
    CHECK_INT(sscanf(r.body, "[[\"%63[^\"]\", \"ask\", \"%63[^\"]\", %255[^\n]", id, uuid, rest),
              3);
    CHECK_STR(rest, want);
    CHECK_STR(id, r.id);
    CHECK(strlen(uuid) == 36 && uuid[14] == '4');
    /* Once each, with the invocation's id, though there were several attempts. */
    CHECK_INT(times_in_log(&services, from, text("INFO Asker/ask %s: asked before", r.id)), 1);
    CHECK_INT(times_in_log(&services, from, text("INFO Asker/ask %s: asked in a step", r.id)), 1);
    CHECK_INT(times_in_log(&services, from, text("INFO Asker/ask %s: asked behind", r.id)), 1);
    test_note = "";

    if (running != &modes[V7]) ASK("/Nest/place", NULL, 200, "[null, null, null]");
    else ASK("/Nest/scoped", NULL, 200, "*[\"nest.scope\", \"tenant/user\", \"");
}

/* ---- Cases: more of futures, errors and the endpoint ----------------------------------------- */

static void nested_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK("/Nest/all", NULL, 200, "\"111011 1 failed 408 \\\"opened\\\" 500\"");
    ASK("/Nest/blind", "5", 200, "6");
}

/* A callee's failure is a failure, whatever its code. */
static void callee_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK("/Nest/callee", "409", 200, "[\"terminal\", \"terminal\", 409]");
    ASK("/Nest/callee", "408", 200, "[\"terminal\", \"terminal\", 408]");
    ASK("/Nest/fail", "423", 423, "*as asked for");
}

static void later_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    double start = now();
    word id = start_call("/Nest/later", "700");
    ATTACH(id.s, 200, "700");
    CHECK(now() - start > 0.65);
    const char *events =
        query_text("e", text("select event_json e from sys_journal_events where id = '%s' "
                             "and event_json like '%%please wait%%'",
                             id.s));
    CHECK_HAS(events, "599");
    events = query_text("e", text("select event_json e from sys_journal_events where id = '%s' and "
                                  "event_json like '%%42%%'",
                                  id.s));
    CHECK_HAS(events, "which is no restate_status");
}

static size_t take_server(char *data, size_t size, size_t count, void *user) {
    static const char name[] = "x-restate-server: ";
    size_t n = size * count, from = sizeof name - 1;
    if (n > from && strncmp(data, name, from) == 0)
        snprintf((char *)user, 64, "%.*s", (int)(n - from), data + from);
    return n;
}

/* Without the server, by a client of HTTP/2. */
static void directly(reply *r, const char *method, const char *path, const char *header,
                     char server[64]) {
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = header ? curl_slist_append(NULL, header) : NULL;
    prepare(curl, r, method, text("http://127.0.0.1:%d%s", services.port, path), NULL);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_server);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, server);
    server[0] = 0;
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

static void routes_case(void) {
    static const struct {
        const char *method, *path, *header;
        long status;
        const char *part;
    } cases[] = {
        { "GET", "/health", NULL, 200, "ok" },
        { "GET", "/some/prefix/health", NULL, 200, "ok" },
        { "GET", "/discover", "accept: application/vnd.restate.endpointmanifest.v4+json", 200,
          "\"protocolMode\":\"BIDI_STREAM\"" },
        { "GET", "/discover", "accept: application/json", 415, "endpointmanifest" },
        { "GET", "/elsewhere", NULL, 404, "/invoke/SERVICE/HANDLER" },
        { "POST", "/invoke/Nobody/next", "content-type: application/vnd.restate.invocation.v5", 404,
          "no service Nobody" },
        { "POST", "/invoke/Load/nobody", "content-type: application/vnd.restate.invocation.v5", 404,
          "no handler nobody" },
        { "POST", "/invoke/Load/next", "content-type: application/vnd.restate.invocation.v99", 415,
          "v99" },
        { "GET", "/invoke/Load/next", NULL, 405, "POST" }
    };
    static reply r;
    char server[64];
    if (!endpoint_register(&services)) { test_failures++; return; }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_note = cases[i].path;
        directly(&r, cases[i].method, cases[i].path, cases[i].header, server);
        CHECK_INT(r.status, cases[i].status);
        CHECK_HAS(r.body, cases[i].part);
        CHECK_HAS(server, "restate-sdk-c/");
    }
    test_note = "";
}

/* A stop lets invocations end that need little time; a later one goes on after the next start. */
static void graceful_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    word soon = start_call("/Block/nap", "400"), late = start_call("/Load/nap", "3500");
    CHECK(has_commands(late.s, "Sleep", 1));
    PATIENTLY(10)
        if (query_number("c", text("select count(*) c from sys_invocation where id = '%s' and "
                                   "status in ('running', 'suspended', 'completed')",
                                   soon.s)) == 1)
            break;
    CHECK_INT(endpoint_stop(&services), 0);
    CHECK(endpoint_start(&services));
    ATTACH(soon.s, 200, "401");
    ATTACH(late.s, 200, "3500");
}

/* Waits until an invocation was tried again so often. */
static bool comes_to_retries(const char *id, long long count) {
    PATIENTLY(20)
        if (query_number("c", text("select count(*) c from sys_invocation where id = '%s' and retry_count >= %lld", id, count)) == 1)
            return true;
    return false;
}

/* How many lines of the log of `e` have `part`. */
static int lines_with(const endpoint *e, const char *part) {
    char line[1024];
    int n = 0;
    FILE *log = fopen(log_of(e), "r");
    while (log && fgets(line, sizeof line, log)) n += strstr(line, part) != NULL;
    if (log) fclose(log);
    return n;
}

static bool comes_to_lines(const endpoint *e, const char *part, int count) {
    PATIENTLY(50)
        if (lines_with(e, part) >= count) return true;
    return false;
}

/* Two invocations kill their process in every attempt; others come to their ends, in the process beside
 * it, or after another attempt. A stop of the supervisor lets invocations suspend in all processes. */
static void processes_case(void) {
    static reply r;
    word poisoned[2], late[4];
    int killed, left;
    if (!endpoint_register(&workers)) { test_failures++; return; }
    killed = lines_with(&workers, "was killed by signal 9 (Killed)");
    left = lines_with(&workers, "called exit(3)");
    for (int i = 0; i < 2; i++) poisoned[i] = start_call("/Risky/poison", i ? "{\"leave\": true}" : "{}");
    for (int i = 0; i < 12; i++) ASK("/Risky/calm", text("%d", 5 * i), 200, text("%d", 5 * i));
    for (int i = 0; i < 2; i++) CHECK(comes_to_retries(poisoned[i].s, 2));
    /* An attempt of one may die in a process that the other ends, so each is waited for. */
    CHECK(comes_to_lines(&workers, "was killed by signal 9 (Killed)", killed + 1));
    CHECK(comes_to_lines(&workers, "called exit(3)", left + 1));
    for (int i = 0; i < 2; i++) http(&r, "PATCH", text("%s/invocations/%s/kill", admin, poisoned[i].s), NULL);
    for (int i = 0; i < 2; i++) ATTACH(poisoned[i].s, 409, "*");
    for (int i = 0; i < 4; i++) late[i] = start_call("/Risky/calm", "1500");
    for (int i = 0; i < 4; i++) CHECK(has_commands(late[i].s, "Sleep", 1));
    CHECK_INT(endpoint_stop(&workers), 0);
    CHECK(endpoint_start(&workers));
    for (int i = 0; i < 4; i++) ATTACH(late[i].s, 200, "1500");
    endpoint_stop(&workers);
}

/* Bookings go on all the time, of several tills. Whichever process has just done one of them is killed, a third of a
 * second after the one before, or has a fault in its memory; there are two of them, and the other one goes on. */
enum { TILLS = 8, TILL_BATCH = 400, TILL_MOST = 20000, TILL_DEATHS = 12 };
static struct {
    bool seen[TILLS][TILL_MOST + 1];        /* as an answer: all so far */
    pid_t dead[TILL_DEATHS];
    int deaths;
    double next;                            /* not before */
} tills;

static void make_booking(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, "/Till/%s-%zu/book", running->name, i % TILLS);
    snprintf(body, 256, "1");
}

static void till_dies(pid_t pid) {
    for (int i = 0; i < tills.deaths; i++)
        if (tills.dead[i] == pid) return;   /* it had executed the step before it died */
    if (tills.deaths == TILL_DEATHS || now() < tills.next) return;
    kill(pid, tills.deaths % 2 ? SIGSEGV : SIGKILL);
    tills.dead[tills.deaths++] = pid;
    tills.next = now() + 0.3;
}

/* Each booking adds one, so no two answers of a till are the same. */
static bool good_booking(size_t i, const reply *r) {
    int all, pid;
    if (r->status != 200 || sscanf(r->body, "[%d, %d]", &all, &pid) != 2) return false;
    if (all < 1 || all > TILL_MOST || pid <= 1 || tills.seen[i % TILLS][all]) return false;
    tills.seen[i % TILLS][all] = true;
    till_dies(pid);
    return true;
}

static void process_deaths_case(void) {
    static const batch bookings = { TILL_BATCH, 2 * TILLS, make_booking, good_booking };
    int each = 0;
    if (!endpoint_register(&workers)) { test_failures++; return; }
    int killed = lines_with(&workers, "was killed by signal 9 (Killed)"), faulty = lines_with(&workers, "was killed by signal 11 (");
    memset(&tills, 0, sizeof tills);
    for (int rest = 1; rest >= 0 && each + TILL_BATCH / TILLS <= TILL_MOST && !test_failures; each += TILL_BATCH / TILLS) {
        run_batch(&bookings);
        if (tills.deaths == TILL_DEATHS) rest--;        /* and one more without */
    }
    CHECK_INT(tills.deaths, TILL_DEATHS);
    if (test_failures) return;
    printf("  %d bookings while %d processes died\n", each * TILLS, tills.deaths);
    CHECK(comes_to_lines(&workers, "was killed by signal 9 (Killed)", killed + TILL_DEATHS / 2));
    CHECK(comes_to_lines(&workers, "was killed by signal 11 (", faulty + TILL_DEATHS / 2));
    for (int i = 0; i < TILLS; i++) {
        ASK(text("/Till/%s-%d/all", running->name, i), NULL, 200, text("%d", each));
        for (int all = 1; all <= each; all++) CHECK(tills.seen[i][all]);
    }
    CHECK_INT(query_number("c", "select count(*) c from sys_invocation where target_service_name = 'Till' and status != 'completed'"), 0);
    CHECK_INT(endpoint_stop(&workers), 0);
}

/* ---- Cases: cancellation --------------------------------------------------------------------------------------- */

static void children_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    static const char *const handlers[] = { "wait", "waitForAll" };
    for (int i = 0; i < 2; i++) {
        word key = make_word("%s-%s", running->name, handlers[i]);
        word id = start_call(text("/Parent/%s/%s", key.s, handlers[i]), NULL);
        CHECK(comes_to(text("/Child/%s-sent/state", key.s), "\"hangs\""));
        CHECK(comes_to(text("/Child/%s-a/state", key.s), "\"hangs\""));
        CHECK(comes_to(text("/Child/%s-b/state", key.s), "\"hangs\""));
        cancel(id.s);
        ATTACH(id.s, 409, "*");
        test_note = handlers[i];
        ASK(text("/Tally/undone-%s/get", key.s), NULL, 200, "1");
        CHECK(comes_to(text("/Child/%s-a/state", key.s), "\"cancelled\""));
        CHECK(comes_to(text("/Child/%s-b/state", key.s), "\"cancelled\""));
        if (i == 1) CHECK(comes_to(text("/Child/%s-sent/state", key.s), "\"cancelled\""));
        else ASK(text("/Child/%s-sent/state", key.s), NULL, 200, "\"hangs\"");
    }
    test_note = "";
}

static void explicit_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    word key = make_word("%s-explicit", running->name), id = start_call(text("/Parent/%s/explicit", key.s), NULL);
    CHECK(comes_to(text("/Child/%s-a/state", key.s), "\"hangs\""));
    CHECK(comes_to(text("/Child/%s-b/state", key.s), "\"hangs\""));
    cancel(id.s);
    CHECK(comes_to(text("/Child/%s-a/state", key.s), "\"cancelled\""));
    CHECK(comes_to(text("/Child/%s-b/state", key.s), "\"cancelled\""));
    CHECK(has_commands(id.s, "Sleep", 1));
    CHECK_INT(query_number("c", text("select count(*) c from sys_invocation where id = '%s' and status = 'completed'", id.s)), 0);
    cancel(id.s);
    ATTACH(id.s, 200, "[2, 409, 409]");
}

/* At every kind of await point, once. */
static void points_case(void) {
    static const char *const points[] = { "await", "awaitFor", "select", "selector", "all", "signal", "attach", "run" };
    enum { POINTS = sizeof points / sizeof points[0] };
    word ids[POINTS];
    if (!endpoint_register(&services)) { test_failures++; return; }
    for (int i = 0; i < POINTS; i++)
        ids[i] = start_call(text("/Parent/%s-%s/point", points[i], running->name), text("\"%s\"", points[i]));
    for (int i = 0; i < POINTS; i++) {
        CHECK(comes_to(text("/Parent/%s-%s/state", points[i], running->name), "\"waits\""));
        CHECK(comes_to(text("/Child/%s-%s-sent/state", points[i], running->name), "\"hangs\""));
    }
    pause_ms(50);
    for (int i = 0; i < POINTS; i++) cancel(ids[i].s);
    for (int i = 0; i < POINTS; i++) ATTACH(ids[i].s, 200, text("\"%s\"", points[i]));
    for (int i = 0; i < POINTS; i++)                    /* sent, or attached to: not cancelled */
        ASK(text("/Child/%s-%s-sent/state", points[i], running->name), NULL, 200, "\"hangs\"");
}

/* ---- Cases: hooks, errors, state ---------------------------------------------------------------------------------- */

static long long count_of(const reply *r, const char *name) {
    const char *at = strstr(r->body, text("\"%s\": ", name));
    return at ? atoll(at + strlen(name) + 4) : -1;
}

static void hooks_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    call(&r, "/Watch/counts", NULL);
    ASK("/Hooked/work", NULL, 200, "[\"a hook\", \"a handler\"]");
    PATIENTLY(10) {                                     /* `end` comes after the reply has left */
        call(&r, "/Watch/counts", NULL);
        if (count_of(&r, "end") == count_of(&r, "begin")) break;
    }
    test_note = r.body;
    CHECK(count_of(&r, "begin") >= 2);                  /* it fails once */
    CHECK_INT(count_of(&r, "end"), count_of(&r, "begin"));
    CHECK_INT(count_of(&r, "ok"), 1);
    CHECK_INT(count_of(&r, "runBegin"), 1);
    CHECK_INT(count_of(&r, "runEnd"), 1);
    CHECK_INT(count_of(&r, "outbound"), 2);
    test_note = "";
}

static void errors_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK("/Mapped/handler", NULL, 410, "*the shop is closed");
    ASK("/Mapped/step", NULL, 200, "[410, \"the bank is closed\"]");
    ASK("/Mapped/other", "5", 200, "5");
    ASK("/Rationed/count", NULL, 200, "[507, \"dry, 3\"]");
    double start = now();
    ASK("/Rationed/time", NULL, 200, "*[507, \"dry, ");
    CHECK(now() - start >= 0.1);
}

/* Handlers and steps that ask for an operator, who then lets them go on. */
static void pause_case(void) {
    static const char *const paths[] = { "/Small/pause", "/Small/pauseStep" }, *const failures[] = { "look at this", "look at that" };
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    if (running != &modes[V7]) {                        /* error 573 */
        word id = start_call(paths[0], "3");
        ATTACH(id.s, 200, "3");                         /* it does not ask again */
        const char *failure = query_text("event_json", text("select event_json from sys_journal_events where id = '%s'", id.s));
        CHECK_HAS(failure, "573");
        return;
    }
    for (int i = 0; i < 2; i++) {
        const char *failure = "";
        word id = start_call(paths[i], i == 0 ? "3" : NULL);
        long long paused = 0;
        for (double end = now() + PATIENCE; now() < end && paused != 1; pause_ms(20))
            paused = query_number("c", text("select count(*) c from sys_invocation where id = '%s' and status = 'paused'", id.s));
        CHECK_INT(paused, 1);
        failure = query_text("event_json", text("select event_json from sys_journal_events where id = '%s' and event_type = 'Paused'", id.s));
        CHECK_HAS(failure, failures[i]);
        http(&r, "PATCH", text("%s/invocations/%s/resume", admin, id.s), NULL);
        CHECK_INT(r.status, 200);
        ATTACH(id.s, 200, "3");
    }
}

static void state_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    word store = make_word("/Store/%s", running->name);
    ASK(text("%s/keys", store.s), NULL, 200, "\"\"");
    ASK(text("%s/fill", store.s), "4", 200, "\"k1 k2 k3 k4 \"");
    ASK(text("%s/drop", store.s), "\"k3\"", 200, "\"k1 k2 k4 \"");
    ASK(text("%s/keys", store.s), NULL, 200, "\"k1 k2 k4 \"");
    ASK(text("%s/sum", store.s), NULL, 200, "3");
    ASK(text("%s/all", store.s), NULL, 200, "\"k1=1 k2=2 k4=4 \"");
    CHECK_INT(query_number("c", text("select count(*) c from sys_journal where id = '%s' and name = 'everything'", last_id)), 1);
    ASK(text("%s/wipe", store.s), NULL, 200, "\"after \"");
    ASK(text("%s/all", store.s), NULL, 200, "\"after= \"");
    ASK(text("%s/keys", store.s), NULL, 200, "\"after \"");
    ASK(text("%s/sum", store.s), NULL, 200, "0");
    ASK(text("%s/misuse", store.s), "1", 500, "*shared");
    ASK(text("%s/misuse", store.s), "1", 500, "*Store/misuse");
    ASK(text("%s/keys", store.s), NULL, 200, "\"after \"");
}

/* The code changes between two attempts. */
static void mismatch_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word id = start_call("/Fickle/change", NULL);
    const char *from = text("from sys_invocation where id = '%s'", id.s), *failure = "";
    for (double end = now() + PATIENCE; now() < end && !strstr(failure, "570"); pause_ms(10))
        failure = query_text("f", text("select concat(last_failure_related_command_index, ' ', last_failure) f %s", from));
    CHECK_HAS(failure, "2 [570");                       /* shown while the next try is still to come */
    CHECK_HAS(failure, "alpha");
    CHECK_HAS(failure, "beta");
    PATIENTLY(20)
        if (query_number("c", text("select count(*) c %s and status = 'paused'", from)) == 1) break;
    http(&r, "PATCH", text("%s/invocations/%s/kill", admin, id.s), NULL);
    CHECK_INT(r.status, 200);

    if (running != &modes[V7]) return;
    id = start_call("/Fickle/changeAndFail", NULL);
    ATTACH(id.s, 570, "*beta");
}

/* ---- Case: load ------------------------------------------------------------------------------------------- */

static void make_next(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, i % 2 ? "/Load/step" : "/Load/next");
    snprintf(body, 256, "%zu", i);
}
static bool good_next(size_t i, const reply *r) {
    return r->status == 200 && strcmp(r->body, text("%zu", i + 1)) == 0;
}
static void make_nap(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, "/Load/nap");
    snprintf(body, 256, "%zu", 500 + i % 100);
}
static bool good_nap(size_t i, const reply *r) {
    return r->status == 200 && strcmp(r->body, text("%zu", 500 + i % 100)) == 0;
}

/* Memory is compared half-way and after all of them: by then the pools have what they keep. */
static void load_case(void) {
    bool whole = running == &modes[DEFAULT];
    size_t half = scaled(whole ? 5000 : 500);
    batch calls = { half, 8, make_next, good_next };
    batch naps = { scaled(500), scaled(500), make_nap, good_nap };
    if (!endpoint_register(&services)) { test_failures++; return; }
    double start = now();
    run_batch(&naps);
    double napped = now() - start;
    run_batch(&calls);
    long before = memory_of(&services);
    start = now();
    run_batch(&calls);
    double seconds = now() - start;
    long after = memory_of(&services);
    printf("  %s: %zu calls over 8 connections, %.0f/s; %zu at a time in %.1f s; memory %ld KiB, then %ld\n",
           running->name, 2 * half, (double)half / seconds, naps.count, napped, before, after);
    if (scaled(100) >= 100) CHECK(after - before < 2048);
    CHECK_INT(endpoint_stop(&services), 0);         /* and no leaks, if somebody looks for them */
}

/* ---- Cases: what the rows of tests/features need besides ------------------------------------- */

/* Calls with headers of its own; `other` may be NULL. */
static void call_with(reply *r, const char *path, const char *header, const char *other,
                      const char *body) {
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, header);
    if (other) headers = curl_slist_append(headers, other);
    prepare(curl, r, "POST", text("%s%s", ingress, path), body);
    if (!body) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (curl_easy_perform(curl) != CURLE_OK) r->status = 0;
    else curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
    keep_id(r->id);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

/* Until it waits for an operator. */
static bool is_paused(const char *id) {
    PATIENTLY(20)
        if (query_number(
                "c",
                text("select count(*) c from sys_invocation where id = '%s' and status = 'paused'",
                     id)) == 1)
            return true;
    return false;
}

static void steps_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK("/Steps/nothing", NULL, 200, "[1, 0]");
    ASK("/Steps/ghost", NULL, 200, "0");
    ASK("/Steps/plain", NULL, 200, "\"third time\"");
    double start = now();
    ASK("/Steps/later", NULL, 200, "\"later\"");
    CHECK(now() - start >= 0.3);
    start = now();
    ASK("/Steps/capped", NULL, 200, "\"capped\"");
    CHECK(now() - start >= 0.25);
    ASK("/Steps/pair", NULL, 200, "1");
    ASK("/Steps/six", NULL, 200, "[1,1,1,1,1,2]");
    ASK("/Steps/hopeless", NULL, 200, "[3,1,2,3]");
    if (running == &modes[DEFAULT] || running == &modes[V7])
        ASK("/Steps/crowd", NULL, 200, "\"in time\"");
    ASK("/Steps/misuse", NULL, 500, "*cannot be used in a closure");
    if (running == &modes[DEFAULT])
        ASK("/Steps/cut", NULL, 200, "\"cut\""); /* 5 s, and no matter of modes */
    word id = start_call("/Steps/help", NULL);
    if (running == &modes[V7]) {
        CHECK(is_paused(id.s));
        http(&r, "PATCH", text("%s/invocations/%s/resume", admin, id.s), NULL);
        CHECK_INT(r.status, 200);
    }
    ATTACH(id.s, 200, "\"helped\"");
    const char *events = query_text(
        "event_json", text("select event_json from sys_journal_events where id = '%s'", id.s));
    CHECK_HAS(events, running == &modes[V7] ? "help" : "573");
}

static void coded_case(void) {
    static reply r;
    static const char type[] = "content-type: text/x-negated";
    if (!endpoint_register(&services)) { test_failures++; return; }
    call_with(&r, text("/Coded/%s/all", running->name), type, NULL, "-3");
    CHECK_INT(r.status, 200);
    CHECK_STR(r.body, "-19");                           /* 4 times 3, and the default 7 */
    CHECK_STR(r.type, "text/x-negated");
    call_with(&r, text("/Coded/%s/all", running->name), type, NULL, "three");
    CHECK_INT(r.status, 400);
    call_with(&r, text("/Coded/%s/all", running->name), type, NULL, "0");
    CHECK_INT(r.status, 500);                           /* it has one try */
    CHECK_HAS(r.body, "nothing to negate");
}

/* Sends and calls of one handler to one key keep their order. */
static void sends_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    for (int i = 0; i < 3; i++) {
        word key = make_word("%s-%d", running->name, i);
        ASK(text("/Rows/%s/send", running->name), text("\"%s\"", key.s), 200, "");
        CHECK(comes_to(text("/Log/%s/list", key.s),
                       "\"0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 \""));
    }
}

static void workflow_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word flow = make_word("/Flow/once-%s", running->name);
    word id = start_call(text("%s/run", flow.s), NULL);
    call(&r, text("%s/run/send", flow.s), NULL);        /* the same run, not another one */
    CHECK_INT(r.status, 202);
    CHECK_HAS(r.body, "PreviouslyAccepted");
    CHECK_HAS(r.body, id.s);
    call_with(&r, text("%s/run", flow.s), "idempotency-key: k", "content-type:", NULL);
    CHECK_INT(r.status, 400);
    ASK(text("%s/resolve", flow.s), "1", 200, "");
    ATTACH(id.s, 200, "{\"went\": 1}");
    ASK(text("%s/peek", flow.s), NULL, 200, "1");       /* after the run */
    ASK("/Rows/flow/callFlow", text("\"once-%s\"", running->name), 200, "[409]");
    ASK(text("%s-2/resolve", flow.s), "2", 200, "");
    ASK("/Rows/flow/callFlow", text("\"once-%s-2\"", running->name), 200, "{\"went\": 2}");

    id = start_call(text("/Race/%s/run", running->name), NULL);
    CHECK(has_commands(id.s, "GetPromise", 1));
    ASK(text("/Race/%s/go", running->name), "7", 200, "7");
    ATTACH(id.s, 200, "[0, 7]");
}

static void details_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word rows = make_word("/Rows/%s", running->name),
         id = start_call(text("%s/names", rows.s), NULL);
    ATTACH(id.s, 200, "");
    CHECK_INT(
        query_number("c", text("select count(distinct name) c from sys_journal where id = '%s' "
                               "and name in ('naps', 'asks', 'tells', 'steps')",
                               id.s)),
        4);
    ASK(text("%s/noTime", rows.s), NULL, 200, "2");
    ASK(text("%s/twice", rows.s), "false", 200, "[1, 1, 3, 4]");
    ASK(text("%s/twice", rows.s), "true", 200, "[1, 1, 3, 4]");
    ASK(text("%s/bytes", rows.s), NULL, 200, "256");

    word key =
        make_word("nothing-%s", running->name); /* an awakeable that is resolved with nothing */
    id = start_call(text("/Gate/%s/wait", key.s), NULL);
    http(&r, "POST", text("%s/restate/awakeables/%s/resolve", ingress, gate_awakeable(key).s),
         NULL);
    CHECK_INT(r.status, 202);
    ATTACH(id.s, 200, "");
}

/* Which ids there can be: the server's ingress is asked for each, and the library must say the same.
 * What it lets through the server has to take, or the invocation would be tried again. */
static void ids_case(void) {
    static const struct {
        const char *id;
        char kind;                          /* i: of an invocation; a: of an awakeable; '-': of none */
    } ids[] = {
        { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", 'i' },
        { "inv_1000000000000000000000000000000000", 'i' },
        { "inv_1lYGhA16ahyf0000000000000000000000", 'i' },  /* 2^64 - 1 */
        { "inv_1lYGhA16ahyg0000000000000000000000", '-' },
        { "inv_1m00000000000000000000000000000000", '-' },
        { "inv_1000000000007N42dgm5tFLK9N8MT7fHC7", 'i' },  /* 2^128 - 1 */
        { "inv_1000000000007N42dgm5tFLK9N8MT7fHC8", '-' },
        { "inv_1000000000008000000000000000000000", '-' },
        { "inv_1lYGhA16ahyf7N42dgm5tFLK9N8MT7fHC7", 'i' },
        { "inv_1ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", '-' },
        { "inv_1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", '-' },
        { "inv_2gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", '-' },
        { "inv_gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", '-' },
        { "INV_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", '-' },
        { "dp_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", '-' },
        { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hb", '-' },
        { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz0", '-' },
        { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hb_", '-' },
        { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz ", '-' },
        { " inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz", '-' },
        { "inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11H\xC3\xA9", '-' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEA", 'a' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ", 'a' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEg", 'a' },
        { "prom_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEw", 'a' },
        { "prom_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEB", '-' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEP", '-' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAE_", '-' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ=", 'a' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ==", 'a' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ===", '-' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAER==", '-' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQA", '-' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAE", '-' },
        { "sign_1AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAE=Q", '-' },
        { "sign_1AZmn+yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ", '-' },
        { "sign_2AZmn-yl7ZvFv1wZVbTjnUMfYwCbGKYgoAAAAEQ", '-' },
        { "sign_1", '-' },
        { "prom_1______________________________________A", '-' },
        { "prom_1_____________________________________w", 'a' },
        { "x", '-' }
    };
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        bool invocation = ids[i].kind == 'i', awakeable = ids[i].kind == 'a';
        char *escaped = curl_easy_escape(NULL, ids[i].id, 0);
        /* The ingress does not undo it, so only what cannot be in a path is escaped. */
        const char *in_path = strpbrk(ids[i].id, " \xC3") ? escaped : ids[i].id;
        test_note = ids[i].id;
        http(&r, "GET", text("%s/restate/invocation/%s/attach", ingress, in_path), NULL);
        CHECK_INT(r.status, invocation ? 404 : 400);
        http(&r, "POST", text("%s/restate/awakeables/%s/resolve", ingress, in_path), NULL);
        CHECK_INT(r.status, awakeable ? 202 : 400);
        curl_free(escaped);
        ASK(text("/Rows/ids-%s/ids", running->name), text("\"%s\"", ids[i].id), 200,
            invocation ? "\"0 0 0 400 400 404 404\""
            : awakeable ? "\"400 400 400 0 0 400 400\"" : "\"400 400 400 400 400 400 400\"");
    }
    test_note = "";
}

/* Parameters of commands that change between two attempts. */
static void drift_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    word rows = make_word("/Rows/drift-%s", running->name);
    ASK(text("%s/drift", rows.s), "\"call\"", 570, "*parameter: ");
    ASK(text("%s/drift", rows.s), "\"send\"", 570, "*parameter: ");
    ASK(text("%s/drift", rows.s), "\"set\"", 570, "*value: ");
    if (running != &modes[V7]) {
        ASK(text("%s/driftAndPause", rows.s), "\"set\"", 570, "*value: ");
        return;
    }
    word id = start_call(text("%s/driftAndPause", rows.s), "\"set\"");
    CHECK(is_paused(id.s));
    http(&r, "PATCH", text("%s/invocations/%s/kill", admin, id.s), NULL);
    CHECK_INT(r.status, 200);
}

static void scope_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    const char *path = text("/Rows/scope-%s/scope", running->name);
    if (running != &modes[V7]) { ASK(path, "5", 573, "*V7"); return; }
    ASK(path, "5", 200, "6");
    path = text("/Rows/scope-%s/inScope", running->name);
    ASK(path, "\"abcdefghijklmnopqrstuvwxyz-_.456789ABC\"", 200, "400");
    ASK(path, "\"abcdefghijklmnopqrstuvwxyz-_.456789A\"", 200, "404");
    ASK(path, "\"a b\"", 200, "400");
    ASK(path, "\"\xC3\xA9\"", 200, "400");
    CHECK_INT(query_number("c", "select count(*) c from sys_invocation where scope = 'row.scope' "
                                "and limit_key = 'tenant/user'"),
              1);
}

/* Fetched by key, although the server would send it along; a cancellation comes in between. */
static void lazy_reads_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    word lazy = make_word("/Lazy/%s", running->name);
    for (int i = 0; i < 2; i++) {
        word id = start_call(text("%s/read", lazy.s), NULL);
        ATTACH(id.s, 200, "");
        CHECK(has_commands(id.s, "GetLazyState", 1));
        CHECK(has_commands(id.s, "GetLazyStateKeys", 1));
    }
    ASK(text("%s/cancelled", lazy.s), "\"get\"", 200, "409");
    ASK(text("%s/cancelled", lazy.s), "\"keys\"", 200, "409");
}

/* Which requests are let in, and what the replies are said to be. */
static void payloads_case(void) {
    static const struct {
        const char *handler, *type, *body;
        long status;
        const char *reply_type;
    } calls[] = { { "json", "application/json", "5", 200, "application/json" },
                  { "json", "text/xml", "5", 400, NULL },
                  { "json", "", NULL, 400, NULL },
                  { "maybe", "", NULL, 200, NULL },
                  { "maybe", "application/json", "5", 200, "application/json" },
                  { "maybe", "text/xml", "5", 400, NULL },
                  { "bytes", "", NULL, 200, NULL },
                  { "bytes", "a/b", "5", 200, "application/octet-stream" },
                  { "xml", "text/xml", "5", 200, "text/xml" },
                  { "xml", "text/xml", NULL, 400, NULL },
                  { "xml", "application/json", "5", 400, NULL },
                  { "text", "text/csv", "5", 200, "application/json" },
                  { "text", "application/json", "5", 400, NULL },
                  { "plain", "text/plain", "5", 200, "text/plain; charset=utf-8" },
                  { "plain", "text/plain; charset=utf-8", "5", 200, "text/plain; charset=utf-8" },
                  { "plain", "text/plain;charset=latin1", "5", 200, "text/plain; charset=utf-8" },
                  { "plain", "application/json", "5", 400, NULL },
                  { "capitals", "text/csv", "5", 200, "application/json" },
                  { "nothing", "", NULL, 200, "" },
                  { "nothing", "application/json", NULL, 400, NULL },
                  { "nothing", "application/json", "5", 400, NULL } };
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        test_note = text("%s of '%s', %s", calls[i].handler, calls[i].type,
                         calls[i].body ? calls[i].body : "no body");
        call_with(&r, text("/Payload/%s", calls[i].handler),
                  text("content-type:%s%s", *calls[i].type ? " " : "", calls[i].type), NULL,
                  calls[i].body);
        CHECK_INT(r.status, calls[i].status);
        if (calls[i].reply_type) CHECK_STR(r.type, calls[i].reply_type);
        if (r.status == 200) CHECK_STR(r.body, calls[i].body ? calls[i].body : "");
    }
    test_note = "";
}

/* What is empty is there, and has no bytes; RESTATE_VOID takes and gives none; text is exact. */
static void contents_case(void) {
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK("/Payload/asks", "5", 200, "[0, 0, 0, 0, -1]");
    call_with(&r, "/Payload/hush", "content-type: application/json", NULL, "5");
    CHECK(r.status == 200 && r.len == 0 && !*r.type);
    ASK("/Payload/letters", "{\"text\": \"a\\u0000b\\u00e9\"}", 200, "{\"text\": \"a\\u0000b\xC3\xA9\", \"bytes\": 5}");
    ASK("/Payload/letters", "{\"text\": \"\\ud800\"}", 400, "*surrogates");
    ASK("/Payload/letters", "{}", 200, "{\"text\": null, \"bytes\": 0}");
}

/* No failure looks like a success at the ingress, and none ends the server. */
static void codes_case(void) {
    static const int codes[][2] = { { 0, 500 }, { 1, 500 }, { 99, 500 }, { 100, 500 }, { 101, 500 }, { 199, 500 }, { 200, 500 }, { 204, 500 },
                                    { 304, 500 }, { 399, 500 }, { 400, 400 }, { 418, 418 }, { 599, 599 }, { 999, 999 }, { 1000, 500 } };
    if (!endpoint_register(&services)) { test_failures++; return; }
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const char *body = text("%d", codes[i][0]), *want = text("*\"message\":\"code %d\"", codes[i][0]);
        ASK("/Payload/fail", body, codes[i][1], want);
        if (i % 3 == 0) ASK("/Payload/retry", body, codes[i][1], want);
    }
    ASK("/Payload/doubly", "5", 500, "*the metadata of the failure has \\\"a\\\" twice");
    ASK("/Payload/json", "5", 200, "5");
}

/* What the server knows of options, and does about them. */
static void options_case(void) {
    static const char *const of_service[] = { "\"documentation\":\"All there is to configure.\"",
                                              "\"metadata\":{\"team\":\"all\"}",
                                              "\"idempotency_retention\":\"1m 4s\"",
                                              "\"journal_retention\":\"1m 3s\"",
                                              "\"inactivity_timeout\":\"1m 1s\"",
                                              "\"abort_timeout\":\"1m 2s\"",
                                              "\"enable_lazy_state\":true",
                                              "\"initial_interval\":\"70ms\"",
                                              "\"exponentiation_factor\":3.0",
                                              "\"max_attempts\":7",
                                              "\"max_interval\":\"7s\"",
                                              "\"on_max_attempts\":\"Kill\"",
                                              "\"documentation\":\"Says it again.\"",
                                              "\"metadata\":{\"team\":\"echo\"}",
                                              "\"inactivity_timeout\":\"51s\"",
                                              "\"journal_retention\":\"0s\"",
                                              "\"public\":false",
                                              NULL };
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    http(&r, "GET", text("%s/services/Rich", admin), NULL);
    for (int i = 0; of_service[i]; i++) CHECK_HAS(r.body, of_service[i]);
    http(&r, "GET", text("%s/services/RichFlow", admin), NULL);
    CHECK_HAS(r.body, "\"workflow_completion_retention\":\"1m 5s\"");
    CHECK_HAS(r.body, "\"abort_timeout\":\"10m 1s\"");      /* of the endpoint */

    ASK(text("/Rich/%s/secret", running->name), "1", 400, "*not public");
    call_with(&r, text("/Rich/%s/echo", running->name), "content-type: application/json",
              "idempotency-key: once", "1");
    CHECK_STR(r.body, "1");
    call_with(&r, text("/Rich/%s/echo", running->name), "content-type: application/json",
              "idempotency-key: once", "2");
    CHECK_STR(r.body, "1");                             /* the first one's */
    ASK(text("/RichFlow/%s/run", running->name), "3", 200, "3");
    word id = start_call(text("/Rich/%s/forget", running->name), "4");
    ATTACH(id.s, 200, "4");
    CHECK_INT(query_number("c", text("select count(*) c from sys_journal where id = '%s'", id.s)),
              0);
    static const char invocation[] =
        "select concat(completion_retention, ', ', journal_retention) r from sys_invocation "
        "where target_service_name = '%s' and target_handler_name = '%s'";
    CHECK_HAS(query_text("r", text(invocation, "Rich", "echo")), "1 mins 4.000 secs, ");
    CHECK_HAS(query_text("r", text(invocation, "Rich", "echo")), "1 mins 3.000 secs");
    CHECK_HAS(query_text("r", text(invocation, "RichFlow", "run")), "1 mins 5.000 secs, ");
    r.body[0] = 0;
    call(&r, text("/Rows/awake-%s/awake", running->name), NULL);
    CHECK(atoi(r.body) >= 2); /* it was suspended, although it could have waited */
}

/* A closure learns by a descriptor that it is to stop: its time is over; it is cancelled. */
static void told_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK("/Told/run", "50", 200, "[2, \"done\"]");
    if (running == &modes[SUSPEND]) return;     /* the stream is closed while it executes */
    word id = start_call("/Told/run", "null");
    CHECK(has_commands(id.s, "Run", 1));
    cancel(id.s);
    ATTACH(id.s, 200, "[2, \"cancelled\"]");
}

/* Keys that would wait for each other for ever; a shared handler, which waits for none; once more. */
static void locker_case(void) {
    if (!endpoint_register(&services)) { test_failures++; return; }
    word a = make_word("a-%s", running->name), b = make_word("b-%s", running->name);
    ASK(text("/Locker/%s/go", a.s), text("[\"%s/go\", \"%s/go\"]", b.s, a.s), 409,
        text("*%s -> Locker/%s -> Locker/%s", a.s, b.s, a.s));
    ASK(text("/Locker/%s/go", a.s), text("[\"%s/look\", \"%s/go\", \"%s/go\"]", a.s, b.s, b.s), 409,
        text("*Locker/%s -> Locker/%s", b.s, b.s));
    ASK(text("/Locker/%s/go", a.s), text("[\"%s/go\", \"%s/look\"]", b.s, a.s), 200, "\"end\"");
}

/* One datagram to a port of this machine. */
static void send_datagram(int port, const char *what) {
    struct sockaddr_in to = { .sin_family = AF_INET };
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(sendto(s, what, strlen(what), 0, (struct sockaddr *)&to, sizeof to) == (ssize_t)strlen(what));
    close(s);
}

static void robot_case(void) {
    static char radio[16];
    static reply r;
    double x = 0, y = 0;
    int rooms[5] = { 0 }, seen = 0;
    if (!radio[0]) snprintf(radio, sizeof radio, "RADIO=%d", free_port());
    robot.settings[0] = radio;
    if (!endpoint_register(&robot)) { test_failures++; return; }
    word r2 = make_word("/Robot/r2-%s", running->name);
    ASK(text("%s/report", r2.s), NULL, 200, "{}");
    for (int i = 0; i < 3; i++) {           /* what it said last is what is stored */
        call(&r, text("%s/walk", r2.s), "[2, 3]");
        CHECK_INT(r.status, 200);
        CHECK_INT(sscanf(r.body, "[%lf, %lf]", &x, &y), 2);
        CHECK(x >= 0 && x <= 2 * (i + 1) && y >= 0 && y <= 3 * (i + 1) && x + y > 0);
    }
    word at = make_word("%s", r.body);
    ASK(text("%s/walk", r2.s), "[\"no\"]", 400, NULL);
    call(&r, text("%s/patrol", r2.s), "5");
    CHECK_INT(sscanf(r.body, "[%d, %d, %d, %d, %d]", &rooms[0], &rooms[1], &rooms[2], &rooms[3], &rooms[4]), 5);
    for (int i = 0; i < 5; i++) seen |= 1 << rooms[i];
    CHECK_INT(seen, 62);
    ASK(text("%s/report", r2.s), NULL, 200, text("{\"at\": %s, \"rooms\": [%d, %d, %d, %d, %d]}", at.s, rooms[0], rooms[1], rooms[2], rooms[3], rooms[4]));
    ASK(text("%s/hear", r2.s), "50", 408, "*it says nothing");
    word id = start_call(text("%s/hear", r2.s), "20000");
    send_datagram(atoi(radio + 6), "be\"ep");
    ATTACH(id.s, 200, "{\"heard\": \"be\\\"ep\"}");
}

/* ---- Code that is changed in place --------------------------------------------------------------------------- */

static void patched_case(void) {
    static char version[16];
    if (!endpoint_register(&patched)) { test_failures++; return; }      /* of version 1 */
    patched.settings[0] = version;
    word old = make_word("/Order/old-%s", running->name), new = make_word("/Order/new-%s", running->name);
    word id = start_call(text("%s/run", old.s), NULL);
    CHECK(has_commands(id.s, "GetPromise", 1));
    for (int n = 2; n <= 3; n++) {
        endpoint_kill(&patched);
        snprintf(version, sizeof version, "VERSION=%d", n);
        CHECK(endpoint_start(&patched));
        if (n == 2) {
            ASK(text("%s/pay", old.s), NULL, 200, "");
            ATTACH(id.s, 200, "[\"reserved\",\"mailed\",\"shipped\"]");
            id = start_call(text("%s/run", new.s), NULL);
            CHECK(has_commands(id.s, "GetPromise", 1));
        } else {
            ASK(text("%s/pay", new.s), NULL, 200, "");
            ATTACH(id.s, 200, "[\"checked\",\"mailed\",\"shipped\"]");
        }
    }
    endpoint_kill(&patched);                /* for the next mode */
    patched.settings[0] = "VERSION=1";
}

enum { PATCH_PLACES = 8 };
static endpoint in_place = { .program = "e2e-services", .log = "in_place" };

/* Another version of the program takes the place of the one that is up; `dies` names a place of its
 * code, or is 0. */
static void replace(int version, int dies) {
    static char settings[2][16];
    endpoint_kill(&in_place);
    snprintf(settings[0], sizeof settings[0], "PATCHED=%d", version);
    snprintf(settings[1], sizeof settings[1], "DIES=%d", dies);
    in_place.settings[0] = settings[0];
    in_place.settings[1] = settings[1];
    CHECK(dies ? endpoint_launch(&in_place) : endpoint_start(&in_place));   /* it may die before it is seen to listen */
}

/* It has died, or does within a while. */
static bool died(void) {
    PATIENTLY(2)
        if (waitpid(in_place.pid, NULL, WNOHANG) != 0) {
            in_place.pid = 0;
            return true;
        }
    return false;
}

/* Orders that began with `from` are under way; at each place of the code of `to`, which takes over, the
 * process is killed once, and a new order begins with it meanwhile. */
static void take_over(const char *from, const char *to, int version, const char *want) {
    static word ids[PATCH_PLACES + 1], fresh[PATCH_PLACES + 1];
    for (int n = 1; n <= PATCH_PLACES; n++) {
        word key = make_word("/Patched/%s-%s-%d", from, running->name, n);
        ids[n] = start_call(text("%s/run", key.s), NULL);
    }
    for (int n = 1; n <= PATCH_PLACES; n++) CHECK(has_commands(ids[n].s, "GetPromise", 1));
    for (int n = 1; n <= PATCH_PLACES; n++) {
        test_note = text("%s to %s, killed at place %d", from, to, n);
        replace(version, n);
        fresh[n] = start_call(text("/Patched/%s-%s-%s-%d/run", to, from, running->name, n), NULL);
        if (n > 3) {
            start_call(text("/Patched/%s-%s-%d/go", from, running->name, n), NULL);
            start_call(text("/Patched/%s-%s-%s-%d/go", to, from, running->name, n), NULL);
        }
        CHECK(died());
        replace(version, 0);
        if (n <= 3) {
            start_call(text("/Patched/%s-%s-%d/go", from, running->name, n), NULL);
            start_call(text("/Patched/%s-%s-%s-%d/go", to, from, running->name, n), NULL);
        }
        ATTACH(ids[n].s, 200, want);
        ATTACH(fresh[n].s, 200, "\"check mail ship \"");
    }
    test_note = "";
}

/* Old code, patched, without the old branches, without the patches. Nobody ever meets 570. */
static void in_place_case(void) {
    in_place.settings[0] = "PATCHED=1";
    in_place.settings[1] = "DIES=0";
    if (!endpoint_register(&in_place)) { test_failures++; return; }
    take_over("old", "patched", 2, "\"reserve mail ship \"");
    take_over("patched", "done", 3, "\"check mail ship \"");
    take_over("done", "gone", 4, "\"check mail ship \"");
    CHECK_INT(query_number("c", "select count(*) c from sys_invocation where last_failure_error_code = 'RT0016'"), 0);
    endpoint_kill(&in_place);
    char line[512];
    FILE *log = fopen(log_of(&in_place), "r");
    CHECK(log != NULL);
    while (log && fgets(line, sizeof line, log)) CHECK(!strstr(line, "failed with 57"));
    if (log) fclose(log);
}
#include "clients.c"
#include "firmware.c"
#include "outside.c"

/* ---- Journals fit the code they were made with, and no other ------------------------------------------------ */

/* One that goes on with the prefix of `origin`, and what a check says of it. */
static word restarted(const char *origin, const char *path, const char *want) {
    static reply r;
    char id[64] = "";
    http(&r, "PATCH", text("%s/invocations/%s/restart-as-new?from=3", admin, origin), NULL);
    CHECK_INT(sscanf(r.body, "{\"new_invocation_id\":\"%63[^\"]", id), 1);
    ATTACH(id, 200, "*\"now\"");
    CHECK(fetch_journals(text("i.id = '%s' and i.restarted_from = '%s'", id, origin), path));
    CHECK_HAS(said_by("", "e2e-services", text("--check %s", path)), want);
    return make_word("%s", id);
}

/* Its random numbers are those that the id of `origin` gives; with the seeds of seeds_case() they cannot be known. */
static void restarted_twice(const char *key, const char *path) {
    const char *want = special ? "0 fit, 0 differ, 1 unknown; " : "1 fit, 0 differ, 0 unknown; \n; 0";
    word all = make_word("%s", query_text("id", text("select id from sys_invocation where target_service_key = '%s' and "
                                                     "target_handler_name = 'all'", key)));
    word second = restarted(all.s, path, want);
    restarted(second.s, path, want);
    if (special) CHECK_HAS(said_by("", "e2e-services", text("--check %s", path)), "the handler draws random numbers");
}

static void journals_case(void) {
    static const char *const found[] = { NULL, "\"one\" != \"two\"", "\"one\" != \"new\"", "\"bad\" != \"now\"",
        "key: \"a\" != \"b\"", "value: \"1\" != \"2\"", "handler_name: \"echo\" != \"fail\"", "the code asks for 'send",
        "the code asks for 'sleep'", "it waits for [", "the code asks for 'handler return'" };
    const char *ours = "i.target_service_name like 'Kinds%'";
    const word path = make_word("%s/%s.journals.json", logs, running->name), key = make_word("%s-%ld", running->name, (long)getpid());
    static reply r;
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK(text("/Kinds/%s/all", key.s), "{\"a\":1}", 200, "*\"now\"");
    ASK(text("/Kinds/%s/lazy", key.s), "{\"a\":1}", 200, "");
    ASK(text("/KindsFlow/%s/run", key.s), "{\"a\":1}", 200, "5");
    word slow = start_call(text("/Kinds/%s/slow", key.s), "7");
    CHECK(has_commands(slow.s, "SetState", 1));         /* under way for ever */
    long long kinds = query_number("c", text("select count(distinct j.entry_type) c from sys_journal j join sys_invocation i "
                                             "on i.id = j.id where %s", ours));
    CHECK_INT(kinds >= (running == &modes[LAZY] ? 30 : 32), 1);
    for (int change = 0; change <= 10; change++) {
        if (!fetch_journals(ours, path.s)) { test_failures++; return; }
        const char *said = said_by(text("KINDS_CHANGE=%d", change), "e2e-services", text("--check %s", path.s));
        CHECK_HAS(said, change ? found[change] : "7 fit, 0 differ, 0 unknown; ");
        if (change) CHECK_HAS(said, "inv_1");
    }
    http(&r, "PATCH", text("%s/invocations/%s/kill", admin, slow.s), NULL);
    if (running == &modes[DEFAULT]) restarted_twice(key.s, path.s);
}

/* A server whose random seeds are those of the id and of the time. */
static void seeds_case(void) {
    const word path = make_word("%s/%s.seeds.json", logs, running->name), key = make_word("seeds-%ld", (long)getpid());
    if (!server_special("--set RESTATE_EXPERIMENTAL_ENABLE_UNIQUE_RANDOM_SEEDS=true")) return;
    if (!endpoint_register(&services)) { test_failures++; return; }
    ASK(text("/Kinds/%s/all", key.s), "{\"a\":1}", 200, "*\"now\"");
    if (!fetch_journals("i.target_service_name = 'Kinds'", path.s)) { test_failures++; return; }
    CHECK_STR(said_by("", "e2e-services", text("--check %s", path.s)), "1 fit, 0 differ, 0 unknown; \n; 0");
    CHECK_HAS(said_by("KINDS_CHANGE=10", "e2e-services", text("--check %s", path.s)), "the code asks for 'handler return'");
    restarted_twice(key.s, path.s);
}

/* The example that a pipeline runs. The code that its journal does not fit is made by changing the journal. */
static void replay_check_case(void) {
    static char content[65536];
    const word path = make_word("%s/%s.dice.json", logs, running->name);
    static reply r;
    if (!endpoint_register(&replay_check)) { test_failures++; return; }
    word id = start_call("/Dice/play", "null");
    CHECK(has_commands(id.s, "Sleep", 1));
    if (!fetch_journals(text("i.id = '%s'", id.s), path.s)) { test_failures++; return; }
    const char *fits = said_by("", replay_check.program, text("check %s", path.s));
    CHECK_STR(fits, text("%s: 1 fit, 0 differ, 0 unknown\n; 0", path.s));
    const word server = make_word("ADMIN=%s", admin);       /* as the program itself fetches them */
    CHECK_STR(said_by(server.s, replay_check.program, "check"), "Dice: 1 fit, 0 differ, 0 unknown\n; 0");
    CHECK_HAS(said_by(server.s, replay_check.program, text("fetch %s 2>/dev/null >%s.fetched && cmp %s %s.fetched && echo same",
                                                           id.s, path.s, path.s, path.s)), "same\n; 0");
    CHECK_HAS(said_by(server.s, replay_check.program, text("fetch %s 2>&1 >/dev/null", id.s)),
              text("Dice/play %s\n  0 input null\n  1 run \"roll\" -> ", id.s));
    FILE *f = fopen(path.s, "r+b");
    char *name = f ? (content[fread(content, 1, sizeof content - 1, f)] = 0, strstr(content, "726f6c6c")) : NULL;
    CHECK(name != NULL);
    if (name) {
        fseek(f, name - content, SEEK_SET);
        fputs("524f4c4c", f);
    }
    if (f) fclose(f);
    CHECK_STR(said_by("", replay_check.program, text("check %s", path.s)),
              text("%s: 0 fit, 1 differ, 0 unknown\n  %s Dice/play, entry 1: the code took another path than the recorded "
                   "execution: command 1 (run) differs (journal != code): name: \"ROLL\" != \"roll\"\n; 1", path.s, id.s));
    CHECK_HAS(said_by("", replay_check.program, "check README.md"), "0 fit, 0 differ, 1 unknown\n  the journal cannot be read: it is not JSON");
    CHECK_HAS(said_by("", replay_check.program, text("check README.md %s", path.s)), "; 1");
    http(&r, "PATCH", text("%s/invocations/%s/kill", admin, id.s), NULL);
}

/* ---- Typed services: orders, while their process is killed ---------------------------------------------------- */

enum { SHOP_ORDERS = 8 };

static void shop_killed(void) {
    endpoint_kill(&shop);
    CHECK(endpoint_start(&shop));
}

/* How many lines of the bank's file begin with `what`. */
static int banked(const char *path, const char *what) {
    char line[200];
    int n = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) n += strncmp(line, what, strlen(what)) == 0;
    if (f) fclose(f);
    return n;
}

static void shop_buy(word *order, const char *tea) {
    static reply r;
    call(&r, "/shop.v1.Sales/Buy", text("{\"customer\":\"ada\",\"card\":\"card\",\"lines\":[{\"product\":\"%s\",\"pieces\":2}]}", tea));
    CHECK_INT(r.status, 200);
    *order = make_word("%.36s", strlen(r.body) > 10 ? r.body + strlen("{\"order\":\"") : "");
}

/* Packs those with an even number, cancels the others; the first decision counts. */
static void shop_decide(const word *order, int i) {
    const char *packed = text("/shop.v1.Orders/%s/Packed", order->s), *cancel = text("/shop.v1.Orders/%s/Cancel", order->s);
    if (i % 2) ASK(cancel, "{\"reason\":\"too slow\"}", 200, "{}");
    else ASK(packed, text("{\"tracking\":\"T-%d\"}", i), 200, "{}");
    ASK(i % 2 ? packed : cancel, "{}", 409, NULL);
}

static void shop_case(void) {
    static char bank[192], setting[200];
    word orders[SHOP_ORDERS], tea = make_word("tea-%s", running->name), vault = make_word("%s/bank-%s", logs, running->name);
    snprintf(bank, sizeof bank, "%s/ledger", vault.s);
    snprintf(setting, sizeof setting, "BANK=%s", bank);
    unlink(bank);
    remove(vault.s);                        /* until it is made the bank does not answer */
    shop.settings[0] = setting;
    endpoint_kill(&shop);                   /* of the mode before: it has another bank */
    if (!endpoint_register(&shop)) { test_failures++; return; }
    CHECK_STR(tool(text("examples/shop/client receive %s 20 450", tea.s)), "20 free\n");
    ASK("/shop.v1.Sales/Quote", text("{\"lines\":[{\"product\":\"%s\",\"pieces\":21}]}", tea.s), 200, "{\"cents\":\"9450\"}");
    CHECK_HAS(tool(text("examples/shop/client buy ada card %s 21", tea.s)), "not everything is in stock (409)");
    ASK("/shop.v1.Sales/Quote", "{}", 400, "*an order of what?");

    for (int i = 0; i < SHOP_ORDERS; i++) {
        shop_buy(&orders[i], tea.s);
        if (i % 2) shop_killed();
    }
    for (int i = 0; i < SHOP_ORDERS; i++)
        CHECK(comes_to(text("/shop.v1.Orders/%s/Status", orders[i].s), "{\"stage\":\"PAYING\"}"));
    shop_killed();
    CHECK_INT(mkdir(vault.s, 0777), 0);
    for (int i = 0; i < SHOP_ORDERS; i++)
        CHECK(comes_to(text("/shop.v1.Orders/%s/Status", orders[i].s), "{\"stage\":\"PACKING\"}"));
    CHECK_STR(tool(text("examples/shop/client look %s", tea.s)), "4 free, 16 held\n");
    for (int i = 0; i < SHOP_ORDERS; i++) {
        shop_decide(&orders[i], i);
        if (i % 2) shop_killed();
    }
    for (int i = 0; i < SHOP_ORDERS; i++)
        CHECK_HAS(tool(text("examples/shop/client receipt %s", orders[i].s)), i % 2 ? "exit 1: cancelled: too slow (410)" : text("900 cents, parcel T-%d\n", i));
    CHECK_STR(tool(text("examples/shop/client look %s", tea.s)), "12 free, 0 held\n");
    CHECK_INT(banked(bank, "paid "), SHOP_ORDERS);
    CHECK_INT(banked(bank, "back "), SHOP_ORDERS / 2);

    word poor = make_word("%s", tool(text("examples/shop/client buy bob empty %s 1", tea.s)));
    poor.s[strcspn(poor.s, "\n")] = 0;
    CHECK_HAS(tool(text("examples/shop/client receipt %s", poor.s)), "exit 1: the card was declined (402)");
    CHECK_STR(tool(text("examples/shop/client look %s", tea.s)), "12 free, 0 held\n");
    test_note = "";
}

#include "guides.c"

/* ---- All of them ---------------------------------------------------------------------------------------------- */

#define CASE(name) { #name, name##_case, 0, false }
#define FIRST(name) { #name, name##_case, 0, true }
#define IN(name, modes) { #name, name##_case, modes, false }
#define DEFAULT_ONLY(name) IN(name, ONLY(DEFAULT))

int main(int argc, char **argv) {
    static const e2e_case cases[] = {
        FIRST(greeter), FIRST(counter), FIRST(approval), CASE(signup), CASE(saga), CASE(fan_out),
        CASE(first_of), CASE(cron), CASE(tickets), CASE(protobuf), CASE(codec), CASE(cpp), DEFAULT_ONLY(mbedtls), CASE(own_loop),
        FIRST(chain), CASE(delayed), FIRST(awakeable), CASE(flaky), FIRST(cancel), CASE(blocking),
        FIRST(promise), CASE(signal), CASE(attach), FIRST(futures), CASE(formats), CASE(sealed),
        CASE(request), CASE(nested), CASE(callee), CASE(later), CASE(routes), CASE(graceful),
        CASE(processes), DEFAULT_ONLY(process_deaths),
        CASE(selector), CASE(deep), CASE(sleeps), CASE(children), CASE(explicit), CASE(points),
        CASE(hooks), CASE(errors), CASE(pause), FIRST(state), CASE(mismatch), FIRST(crash),
        CASE(restart), CASE(load), CASE(steps), CASE(coded), CASE(sends), CASE(workflow),
        CASE(details), CASE(ids), CASE(drift), CASE(scope), CASE(lazy_reads), CASE(payloads), CASE(options),
        CASE(contents), CASE(codes), CASE(told), CASE(locker), CASE(robot), CASE(patched), CASE(shop), CASE(in_place), CASE(journals),
        CASE(replay_check), DEFAULT_ONLY(seeds),
        CASE(firmware), DEFAULT_ONLY(firmware_killed),
        DEFAULT_ONLY(client_call), DEFAULT_ONLY(client_many), DEFAULT_ONLY(client_operate), DEFAULT_ONLY(client_restart),
        /* The guides take seconds: where another mode can matter to them. */
        IN(rollout, ONLY(DEFAULT) | ONLY(V7)), IN(trading, ONLY(DEFAULT) | ONLY(SUSPEND)), DEFAULT_ONLY(otel),
        IN(webhook, ONLY(DEFAULT) | ONLY(SUSPEND)), DEFAULT_ONLY(transcode), DEFAULT_ONLY(postgres),
        { NULL, NULL, 0, false }
    };
    return harness_main(argc, argv, cases, "default,suspend,lazy,v7", "default");
}
