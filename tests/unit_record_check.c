/* Section >>record: whether journals fit the handlers of today. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#define RESTATE_WITH_TEST
#include "restate.h"
#include "support/context.c"
#include "support/kinds.c"
#include "support/record.c"

#include <time.h>

/* ---- An endpoint and its verdicts ------------------------------------------------------------------ */

static restate_handler handler;             /* of S/h, unless the test has services of its own */
static restate_kind kind;
static const restate_service *const *services;
static size_t counts[3];
static char verdict[2048];                  /* what restate_endpoint_error() said */
static char logged[2048];

static void keep_log(void *user, const restate_log_record *r) {
    size_t n = strlen(logged);
    (void)user;
    snprintf(logged + n, sizeof logged - n, "%d %s%s\n", (int)r->level, r->replaying ? "(replaying) " : "", r->message);
}

static restate_endpoint *endpoint(void) {
    static restate_service service;
    static const restate_service *own[2];
    static restate_handler handlers[2];
    restate_endpoint_options o = { .services = services, .pool_threads = 1,
                                   .allocator = mem_allocator(&memory),
                                   .logger = { keep_log, NULL, RESTATE_LOG_INFO, false } };
    handlers[0] = handler;
    handlers[0].name = "h";
    service = (restate_service){ .name = "S", .kind = kind, .handlers = handlers };
    own[0] = &service;
    if (!services) o.services = own;
    return restate_endpoint_new(&o);
}

static restate_fit check_of(restate_bytes journal) {
    restate_endpoint *e = endpoint();
    kinds_executed = 0;
    logged[0] = 0;
    CHECK_STR(restate_endpoint_error(e), "");
    restate_fit fit = restate_journal_check(e, journal, counts);
    snprintf(verdict, sizeof verdict, "%s", restate_endpoint_error(e));
    CHECK_INT(fit == RESTATE_FITS, !verdict[0]);
    CHECK_INT(restate_journal_check(e, journal, NULL), fit);    /* again, without counts */
    CHECK_STR(restate_endpoint_error(e), verdict);
    restate_endpoint_free(e);
    CHECK_INT(memory.blocks, 0);
    CHECK_INT(kinds_executed, 0);
    return fit;
}

/* The script as the journal of S/h. */
static restate_fit check(void) {
    rows((about){ .key = kind == RESTATE_SERVICE ? NULL : "k" });
    return check_of(rows_json());
}

static void reset(void) {
    memset(&handler, 0, sizeof handler);
    kind = RESTATE_SERVICE;
    services = NULL;
    kinds_change = 0;
    rows_free();
    rt_free_all();
}

#define FITS() do { CHECK_INT(check(), RESTATE_FITS); CHECK_STR(verdict, ""); } while (0)
#define DIFFERS(text) do { CHECK_INT(check(), RESTATE_DIFFERS); CHECK_STR(verdict, RECORD_ID " " text); } while (0)
#define CANNOT_TELL(text) do { CHECK_INT(check(), RESTATE_CANNOT_TELL); CHECK_STR(verdict, RECORD_ID " " text); } while (0)

/* ---- Handlers go as far as their journals ------------------------------------------------------------ */

static unsigned steps;                      /* how far a handler came */

static restate_status effect(restate_ctx *run, void *arg) {
    (void)run; (void)arg;
    kinds_executed++;
    return RESTATE_OK;
}

static restate_status three(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    (void)in;
    steps = 0;
    RESTATE_TRY(restate_run(ctx, "one", effect, NULL, NULL, &v));
    steps = 1;
    RESTATE_TRY(restate_run(ctx, "two", effect, NULL, NULL, &v));
    steps = 2;
    RESTATE_TRY(restate_sleep(ctx, 1000));
    steps = 3;
    return restate_reply(ctx, restate_str("done"));
}

/* The first `n` entries of its journal. */
static void three_entries(unsigned n) {
    if (n > 0) input("in");
    if (n > 1) cmd_run(1, "one");
    if (n > 2) note_value(N_RUN, 1, "1");
    if (n > 3) cmd_run(2, "two");
    if (n > 4) note_value(N_RUN, 2, "2");
    if (n > 5) cmd_sleep(3, "", 1893456900000u);
    if (n > 6) note_sleep(3);
    if (n > 7) cmd_output("done");
}

TEST(every_prefix_fits) {
    static const unsigned reached[] = { 0, 0, 0, 1, 1, 2, 2, 3, 3 };
    for (int way = 0; way < 6; way++) {
        reset();
        handler.fn = three;
        if (way == 1) handler.options.blocking = RESTATE_ON;
        if (way == 2) handler.options.explicit_cancellation = RESTATE_ON;
        for (unsigned n = 1; n <= 8; n++) {
            three_entries(n);
            rows((about){ .version = 5 + (unsigned)way % 3 });
            CHECK_INT(check_of(rows_json()), RESTATE_FITS);
            CHECK_INT(steps, reached[n]);
            CHECK_INT(counts[RESTATE_FITS], 1);
            CHECK_STR(logged, "");
        }
    }
    reset();
}

TEST(no_effects) {                          /* nothing is begun, be it inline, in parallel, or awaited in a combination */
    reset();
    handler.fn = three;
    handler.options.blocking = RESTATE_ON;
    three_entries(4);
    FITS();
    CHECK_INT(kinds_executed, 0);
    reset();
}

static restate_status parallel(restate_ctx *ctx, restate_bytes in) {
    restate_future *f[3];
    restate_run_options inline_ok = { .inline_ok = true };
    (void)in;
    f[0] = restate_run_async(ctx, "a", effect, NULL, NULL);
    f[1] = restate_run_async(ctx, "b", effect, NULL, &inline_ok);
    f[2] = restate_awakeable(ctx, NULL);
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, f, 3), NULL));
    steps = 9;
    return RESTATE_OK;
}

TEST(parallel_runs) {
    reset();
    handler.fn = parallel;
    steps = 0;
    input("x"); cmd_run(1, "a"); cmd_run(2, "b"); note_value(N_RUN, 2, "2");
    FITS();
    input("x"); cmd_run(1, "a"); cmd_run(2, "b"); note_signal(17, "s"); note_value(N_RUN, 1, "1");
    FITS();
    CHECK_INT(steps, 0);
    input("x"); cmd_run(1, "a"); cmd_run(2, "b"); note_value(N_RUN, 2, "2"); note_signal(17, "s"); note_value(N_RUN, 1, "1");
    FITS();
    CHECK_INT(steps, 9);
    reset();
}

/* A handler that does not look at what calls return is ended all the same. */
static restate_status deaf(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    for (;;) RESTATE_IGNORE(restate_sleep(ctx, 1));
    return RESTATE_OK;
}

TEST(a_handler_that_goes_on) {
    reset();
    handler.fn = deaf;
    input("x"); cmd_sleep(1, "", 5); note_sleep(1); cmd_sleep(2, "", 5);
    FITS();
    CHECK_HAS(logged, "is cut off");
    reset();
}

static unsigned hooked;
static void on_begin(void *user, restate_ctx *ctx) { (void)user; (void)ctx; hooked++; }
static void on_run(void *user, restate_ctx *run, const char *name) { (void)user; (void)run; (void)name; hooked++; }
static const restate_pair *on_call(void *user, restate_ctx *ctx, const restate_target *to) {
    static const restate_pair trace[] = { { "trace", "now" }, { NULL, NULL } };
    (void)user; (void)ctx; (void)to;
    hooked++;
    return trace;
}
static restate_status calls(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    return restate_call(ctx, (restate_target){ .service = "To", .handler = "it", .key = "k" }, in,
                        &(restate_call_options){ .idempotency_key = "once", .headers = RESTATE_PAIRS({ "a", "1" }) }, &v);
}

static restate_status logs(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    restate_log(ctx, RESTATE_LOG_INFO, "before");
    RESTATE_TRY(restate_sleep(ctx, 1));
    restate_log(ctx, RESTATE_LOG_INFO, "after");
    return RESTATE_OK;
}

TEST(hooks_and_logs) {
    static const restate_hooks hooks = { .begin = on_begin, .run_begin = on_run, .outbound = on_call };
    reset();
    handler.fn = logs;
    handler.options.hooks = &hooks;
    input("x"); cmd_sleep(1, "", 5); note_sleep(1);
    hooked = 0;
    FITS();
    CHECK_INT(hooked, 0);
    CHECK_STR(logged, "3 after\n3 after\n");        /* it was checked twice */
    handler.fn = calls;                     /* what the hook added is not compared, nor asked for */
    input("in");
    frame(M_CALL, "1s 2s 3s 4(1s 2s) 4(1s 2s) 5s 6s 10u 11u", "To", "it", "in", "a", "1", "trace", "then", "k", "once", 1, 2);
    FITS();
    input("in");
    FITS();
    CHECK_INT(hooked, 0);
    reset();
}

/* ---- What is different ------------------------------------------------------------------------------- */

#define PATH "the code took another path than the recorded execution: "

TEST(other_steps) {
    reset();
    handler.fn = three;
    input("x"); cmd_run(1, "ONE");
    DIFFERS("S/h, entry 1: " PATH "command 1 (run) differs (journal != code): name: \"ONE\" != \"one\"");
    input("x"); cmd_run(1, "one"); note_value(N_RUN, 1, "1"); cmd_sleep(2, "", 5);
    DIFFERS("S/h, entry 3: " PATH "command 2 is recorded as 'sleep', but the code asks for 'run \"two\"'");
    three_entries(7); cmd_output("other");          /* of a finished one, its result */
    DIFFERS("S/h, entry 7: " PATH "command 4 (handler return) differs (journal != code): value: \"other\" != \"done\"");
    three_entries(7); cmd_sleep(4, "", 5); cmd_output("done");
    DIFFERS("S/h, entry 7: " PATH "command 4 is recorded as 'sleep', but the code asks for 'handler return'");
    three_entries(8); cmd_output("done");
    DIFFERS("S/h, entry 8, command 5 (handler return): the handler returned after command 4, but further commands are "
            "recorded: the code lost a step since the journal was written");
    input("x"); cmd_run(1, "one"); cmd_run(2, "two");       /* its result was not waited for */
    DIFFERS("S/h, entry 2, command 2 (run): " PATH "after command 1 it waits for [run \"one\", cancellation], which the "
            "journal does not answer, while further commands are recorded. An await was added, or what is awaited was changed");
    reset();
}

TEST(several_fields) {                      /* each is told, in one line */
    reset();
    handler.fn = calls;
    input("in");
    frame(M_CALL, "1s 2s 3s 4(1s 2s) 5s 6s 10u 11u", "To", "it", "IN", "a", "2", "K", "once", 1, 2);
    DIFFERS("S/h, entry 1: " PATH "command 1 (call) differs (journal != code): parameter: \"IN\" != \"in\"; "
            "headers: a: 2 != a: 1; key: \"K\" != \"k\"");
    handler.options.skip_payload_check = RESTATE_ON;
    input("in");
    frame(M_CALL, "1s 2s 3s 4(1s 2s) 5s 6s 10u 11u", "To", "it", "IN", "a", "1", "k", "once", 1, 2);
    FITS();
    reset();
}

TEST(long_values_are_cut) {
    char long_name[300];
    reset();
    memset(long_name, 'n', sizeof long_name), long_name[255] = 0;
    handler.fn = three;
    input("x"); cmd_run(1, long_name);
    CHECK_INT(check(), RESTATE_DIFFERS);
    CHECK_HAS(verdict, "!= \"one\"");
    reset();
}

TEST(no_terminal_is_steered) {
    reset();
    handler.fn = three;
    input("x"); cmd_run(1, "\x1b[31mred\xe2\x80\xae");
    DIFFERS("S/h, entry 1: " PATH "command 1 (run) differs (journal != code): name: \"?[31mred???\" != \"one\"");
    reset();
}

/* Each change of the code is found in the journal of a real server. */
TEST(ten_changes) {
    static const char *const found[KINDS_CHANGES + 1] = {
        "", "entry 1: " PATH "command 1 (run) differs (journal != code): name: \"one\" != \"two\"",
        "entry 1: " PATH "command 1 (run) differs (journal != code): name: \"one\" != \"new\"",
        "entry 3: " PATH "command 2 (run) differs (journal != code): name: \"bad\" != \"now\"",
        "entry 9: " PATH "command 5 (get state) differs (journal != code): key: \"a\" != \"b\"",
        "entry 10: " PATH "command 6 (set state) differs (journal != code): value: \"1\" != \"2\"",
        "entry 15: " PATH "command 11 (call) differs (journal != code): handler_name: \"echo\" != \"fail\"",
        "entry 15: " PATH "command 11 is recorded as 'call \"KindsEcho\" \"echo\" \"nm\"', but the code asks for 'send \"KindsEcho\" \"echo\" \"nm\"'",
        "entry 5: " PATH "command 3 is recorded as 'run \"now\"', but the code asks for 'sleep'",
        "entry 29, command 18 (complete awakeable): " PATH "after command 17 it waits for [signal \"never\", cancellation]",
        "entry 7: " PATH "command 4 is recorded as 'sleep', but the code asks for 'handler return'"
    };
    static char text[1 << 16];
    FILE *f = fopen("tests/journals/kinds.json", "rb");
    size_t len = f ? fread(text, 1, sizeof text, f) : 0;
    if (f) fclose(f);
    reset();
    services = RESTATE_SERVICES(&kinds_service, &kinds_echo_service, &kinds_flow_service);
    for (kinds_change = 0; kinds_change <= KINDS_CHANGES; kinds_change++) {
        restate_fit fit = check_of(exactly(text, len));
        CHECK_INT(fit, kinds_change ? RESTATE_DIFFERS : RESTATE_FITS);
        CHECK_INT(counts[RESTATE_FITS], kinds_change ? 5 : 6);
        CHECK_INT(counts[RESTATE_DIFFERS], kinds_change != 0);
        CHECK_HAS(verdict, found[kinds_change]);
        if (kinds_change) CHECK_HAS(verdict, " Kinds/k1/all, entry ");
    }
    reset();
}

/* ---- Random numbers ----------------------------------------------------------------------------------- */

static restate_status draws(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    RESTATE_TRY(restate_set(ctx, "n", restate_json(ctx, "%llu", (unsigned long long)restate_random(ctx))));
    return restate_sleep(ctx, 1);
}

/* What the handler draws first, given the seed. */
static const char *first_of(uint64_t seed) {
    static char text[32];
    uint64_t state[4];
    restate__vm_random_seed(state, seed);
    snprintf(text, sizeof text, "%llu", (unsigned long long)restate__vm_random(state));
    return text;
}

static void drew(uint64_t seed, about a) {
    input("x"); cmd_set("n", first_of(seed));
    a.key = "k";
    rows(a);
    rt_script.len = 0;
}

TEST(seeds) {
    const uint64_t usual = UINT64_C(0xefb4460eb10263df), unique = UINT64_C(0xcfa7f3cf81951a92);
    reset();
    handler.fn = draws;
    kind = RESTATE_OBJECT;
    for (unsigned version = 6; version <= 7; version++) {
        drew(usual, (about){ .version = version });
        CHECK_INT(check_of(rows_json()), RESTATE_FITS);
        drew(unique, (about){ .version = version });
        CHECK_INT(check_of(rows_json()), RESTATE_FITS);
        drew(7, (about){ .version = version });
        CHECK_INT(check_of(rows_json()), RESTATE_DIFFERS);
        CHECK_HAS(verdict, "S/k/h, entry 1: " PATH "command 1 (set state) differs (journal != code): value: ");
    }
    {                                       /* before: of the id alone */
        uint8_t id[RESTATE__RECORD_ID];
        restate__record_id(restate_str(RECORD_ID), id);
        drew(restate__vm_sha256_64(restate__b(id, sizeof id)), (about){ .version = 5 });
        CHECK_INT(check_of(rows_json()), RESTATE_FITS);
        drew(usual, (about){ .version = 5 });
        CHECK_INT(check_of(rows_json()), RESTATE_DIFFERS);
    }
    reset();
}

static restate_status draws_first(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    RESTATE_TRY(draws(ctx, in));
    return restate_run(ctx, "one", effect, NULL, NULL, &v);
}

/* What is told is the difference that is left with the numbers that the handler did draw. */
TEST(other_steps_behind_random_numbers) {
    const uint64_t usual = UINT64_C(0xefb4460eb10263df), unique = UINT64_C(0xcfa7f3cf81951a92);
    reset();
    handler.fn = draws_first;
    kind = RESTATE_OBJECT;
    for (int way = 0; way < 2; way++) {
        input("x"); cmd_set("n", first_of(way ? unique : usual)); cmd_sleep(1, "", 5); note_sleep(1); cmd_run(2, "two");
        rows((about){ .key = "k" });
        CHECK_INT(check_of(rows_json()), RESTATE_DIFFERS);
        CHECK_HAS(verdict, "S/k/h, entry 4: " PATH "command 3 (run) differs (journal != code): name: \"two\" != \"one\"");
    }
    reset();
}

TEST(restarted_from_a_prefix) {
    const char *more = ",\"restarted_from\":\"inv_10SHxgluLUdD3r9oua1mKD15HgnlYujQ3U\"";
    const uint64_t origin_s = UINT64_C(0x10fd2268c1a7c5d);
    reset();
    handler.fn = draws;
    kind = RESTATE_OBJECT;
    drew(origin_s, (about){ .more = more });
    CHECK_INT(check_of(rows_json()), RESTATE_FITS);
    drew(7, (about){ .more = more });
    CHECK_INT(check_of(rows_json()), RESTATE_CANNOT_TELL);
    CHECK_HAS(verdict, "the handler draws random numbers, whose seed is not known after a restart of the invocation; "
                       "with other numbers entry 1: " PATH "command 1 (set state) differs");
    drew(7, (about){ .more = more, .version = 5 });         /* there it is the new id's */
    CHECK_INT(check_of(rows_json()), RESTATE_DIFFERS);
    handler.fn = three;                     /* draws none */
    kind = RESTATE_SERVICE;
    input("x"); cmd_run(1, "other"); rows((about){ .more = more });
    CHECK_INT(check_of(rows_json()), RESTATE_DIFFERS);
    reset();
}

/* ---- Nobody can tell ------------------------------------------------------------------------------------ */

TEST(versions) {
    reset();
    handler.fn = three;
    for (unsigned version = 1; version < 10; version++) {
        bool known = version >= 5 && version <= 7;
        three_entries(4);
        rows((about){ .version = version });
        CHECK_INT(check_of(rows_json()), known ? RESTATE_FITS : RESTATE_CANNOT_TELL);
        if (!known) CHECK_HAS(verdict, "S/h, it has protocol version ");
    }
    three_entries(4); rows((about){ .no_version = true });
    CHECK_INT(check_of(rows_json()), RESTATE_CANNOT_TELL);
    CHECK_STR(verdict, RECORD_ID " S/h, its protocol version is not known");
    three_entries(1); rows((about){ .no_version = true });  /* it has not begun: any will do */
    CHECK_INT(check_of(rows_json()), RESTATE_FITS);
    reset();
}

TEST(services_and_handlers) {
    reset();
    handler.fn = three;
    three_entries(4); rows((about){ .service = "T" });
    CHECK_INT(check_of(rows_json()), RESTATE_CANNOT_TELL);
    CHECK_STR(verdict, RECORD_ID " T/h, this endpoint has no such service");
    three_entries(4); rows((about){ .handler = "gone" });
    CHECK_INT(check_of(rows_json()), RESTATE_DIFFERS);
    CHECK_STR(verdict, RECORD_ID " S/gone, its service has no such handler any more");
    three_entries(4); rows((about){ .id = "inv_1short" });
    CHECK_INT(check_of(rows_json()), RESTATE_CANNOT_TELL);
    CHECK_STR(verdict, "inv_1short S/h, its id is invalid: it does not have 38 characters");
    CHECK_INT(restate_journal_check(NULL, rows_json(), NULL), RESTATE_CANNOT_TELL);
    reset();
}

static restate_status not_ready(restate_ctx *ctx, restate_bytes in) {
    (void)in;
    return restate_retry(ctx, &(restate_retry_options){ .code = 503 }, "no\ndatabase");
}
static restate_status misused(restate_ctx *ctx, restate_bytes in) { return restate_set(ctx, NULL, in); }
static restate_status misreads(restate_ctx *ctx, restate_bytes in) {
    long long n;
    RESTATE_TRY(restate_sleep(ctx, 1));
    return restate_json_int(ctx, in, NULL, &n);
}

TEST(handlers_that_give_up) {
    reset();
    handler.fn = not_ready;
    three_entries(4);
    CANNOT_TELL("S/h, the handler ended early, after command 0 and before the end of its journal: no; database");
    input("x");                             /* where the journal ends nobody minds */
    FITS();
    handler.fn = misused;
    kind = RESTATE_OBJECT;
    input("x"); cmd_set("k", "x");
    CANNOT_TELL("S/k/h, the handler ended early, after command 0 and before the end of its journal: S/h: restate_set(): the key is NULL" + 0);
    kind = RESTATE_SERVICE;
    handler.fn = misreads;                  /* a failure is an outcome, which is recorded */
    input("x"); cmd_sleep(1, "", 5); note_sleep(1);
    FITS();
    input("x"); cmd_sleep(1, "", 5); note_sleep(1); cmd_output("1");
    CHECK_INT(check(), RESTATE_DIFFERS);
    reset();
}

TEST(damaged) {
    reset();
    handler.fn = three;
    input("x"); frame(M_RUN, "11s", "no number");
    CANNOT_TELL("S/h, entry 1 (run) cannot be decoded");
    input("x"); cmd_run(1, "one"); frame(N_RUN, "1u", 1);
    CANNOT_TELL("S/h, cannot decode notification 0x8011: it is not valid protobuf, or has no id or no result");
    input("x"); rows((about){ 0 }); row("{\"id\":\"" RECORD_ID "\",\"index\":5}");
    CHECK_INT(check_of(rows_json()), RESTATE_CANNOT_TELL);
    CHECK_STR(verdict, RECORD_ID " S/h, entry 1 is missing, or comes too late: order by i.id, j.index");
    CHECK_INT(check_of(exactly("{\"rows\":[{]}", 12)), RESTATE_CANNOT_TELL);
    CHECK_STR(verdict, "the journal cannot be read: it is not JSON: expected a member's name, found ']' at byte 10");
    CHECK_INT(counts[RESTATE_CANNOT_TELL], 1);
    CHECK_INT(check_of(exactly("{\"message\":\"no\"}", 16)), RESTATE_CANNOT_TELL);
    CHECK_STR(verdict, "the journal cannot be read: it has no list \"rows\", as responses to queries have");
    CHECK_INT(check_of(exactly("", 0)), RESTATE_CANNOT_TELL);
    reset();
}

TEST(options_that_are_wrong) {
    restate_endpoint *e;
    reset();
    e = restate_endpoint_new(&(restate_endpoint_options){ .services = RESTATE_SERVICES(&kinds_service, &kinds_service) });
    three_entries(1); rows((about){ 0 });
    CHECK_INT(restate_journal_check(e, rows_json(), counts), RESTATE_CANNOT_TELL);
    CHECK_HAS(restate_endpoint_error(e), "Kinds");
    restate_endpoint_free(e);
    reset();
}

/* ---- Many --------------------------------------------------------------------------------------------- */

static const char *const ids[] = {
    "inv_10SHxgluLUdD3r9oua1mKD15HgnlYujQ3U", "inv_12kpUQONmeFb2WqsVOkAjH4phS34cOyIC8",
    "inv_1bMRA1oXbedv28z3P0syegQaTgEe5xQNnE", "inv_1dNRSAYqo4kP7bm4zVImIirRVWvQ2Y5SKJ",
    "inv_1kiNpUjipUKr5PBEi0S6nt8s8RVuJCWEPn"
};

static void add(unsigned i, unsigned entries, const char *service, const char *run) {
    input("x");
    if (run) cmd_run(1, run);
    else { rt_script.len = 0; three_entries(entries); }
    rows((about){ .service = service, .id = ids[i] });
    rt_script.len = 0;
}

TEST(the_worst_counts) {
    reset();
    handler.fn = three;
    CHECK_INT(check_of(rows_json()), RESTATE_FITS);         /* none at all */
    CHECK_INT(counts[RESTATE_FITS] + counts[RESTATE_DIFFERS] + counts[RESTATE_CANNOT_TELL], 0);
    add(0, 3, "S", NULL); add(1, 8, "S", NULL);
    CHECK_INT(check_of(rows_json()), RESTATE_FITS);
    CHECK_INT(counts[RESTATE_FITS], 2);
    add(0, 3, "S", NULL); add(1, 8, "T", NULL); add(2, 1, "U", NULL);
    CHECK_INT(check_of(rows_json()), RESTATE_CANNOT_TELL);
    CHECK_HAS(verdict, "T/h, this endpoint has no such service");
    add(0, 3, "T", NULL); add(1, 8, "S", NULL); add(2, 1, "S", "first"); add(3, 1, "S", "second"); add(4, 1, "U", NULL);
    CHECK_INT(check_of(rows_json()), RESTATE_DIFFERS);
    CHECK_HAS(verdict, "name: \"first\" != \"one\"");
    CHECK_INT(counts[RESTATE_FITS], 1);
    CHECK_INT(counts[RESTATE_DIFFERS], 2);
    CHECK_INT(counts[RESTATE_CANNOT_TELL], 2);
    add(0, 3, "S", NULL); add(1, 3, "S", NULL); row("7");   /* and what cannot be read at all */
    CHECK_INT(check_of(rows_json()), RESTATE_CANNOT_TELL);
    CHECK_STR(verdict, "the journal cannot be read: a row is not an object");
    CHECK_INT(counts[RESTATE_FITS], 1);
    add(0, 1, "S", "first"); add(1, 3, "S", NULL); row("7");
    CHECK_INT(check_of(rows_json()), RESTATE_DIFFERS);
    reset();
}

static restate_status five_thousand(restate_ctx *ctx, restate_bytes in) {
    restate_bytes v;
    (void)in;
    for (int i = 0; i < 5000; i++) RESTATE_TRY(restate_run(ctx, i == 4999 ? "last" : "r", effect, NULL, NULL, &v));
    return RESTATE_OK;
}

TEST(ten_thousand_entries) {
    struct timespec begun, now;
    reset();
    handler.fn = five_thousand;
    input("x");
    for (unsigned id = 1; id <= 5000; id++) cmd_run(id, "r"), note_value(N_RUN, id, "0123456789");
    rows((about){ 0 });
    restate_bytes journal = rows_json();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
    CHECK_INT(check_of(journal), RESTATE_DIFFERS);          /* twice */
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    CHECK_HAS(verdict, "entry 9999: " PATH "command 5000 (run) differs (journal != code): name: \"r\" != \"last\"");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(RESTATE_VALGRIND) && !defined(TEST_EMULATED)
    CHECK((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000 < 1000);
#endif
    reset();
}

/* ---- Memory, noise ---------------------------------------------------------------------------------------- */

TEST(no_memory) {
    static char large[5000];
    unsigned n, cannot = 0;
    reset();
    handler.fn = five_thousand;
    memset(large, 'x', sizeof large - 1);
    input("x");
    for (unsigned id = 1; id <= 100; id++) cmd_run(id, id == 100 ? "other" : "r"), note_value(N_RUN, id, id % 10 ? "1" : large);
    rows((about){ 0 });
    restate_bytes journal = rows_json();
    for (n = 1; n < 1000; n++) {
        restate_endpoint *e = endpoint();
        mem_fail(&memory, n);
        restate_fit fit = restate_journal_check(e, journal, counts);
        bool failed = memory.calls >= n;
        mem_fail(&memory, 0);
        if (failed) CHECK(fit != RESTATE_FITS);
        if (fit == RESTATE_CANNOT_TELL) cannot++, CHECK_HAS(restate_endpoint_error(e), "memory");
        restate_endpoint_free(e);
        CHECK_INT(memory.blocks, 0);
        if (!failed) break;
    }
    CHECK(n < 1000 && cannot > 20);
    reset();
}

/* Whatever is in the file, there is a verdict. */
TEST(noise) {
    static char text[1 << 16];
    FILE *f = fopen("tests/journals/kinds.json", "rb");
    size_t len = f ? fread(text, 1, sizeof text, f) : 0;
    uint32_t seed = 1;
    if (f) fclose(f);
    CHECK(len > 1000);
    if (len <= 1000) return;
    reset();
    services = RESTATE_SERVICES(&kinds_service, &kinds_echo_service, &kinds_flow_service);
    restate_endpoint *e = endpoint();
    for (int round = 0; round < 400; round++) {
        restate_bytes copy = exactly(text, round % 8 == 7 ? (seed >> 4) % len : len);
        size_t hits = round % 4 + 1u;
        for (size_t i = 0; i < hits; i++) {
            seed = seed * 1103515245u + 12345u;
            if (copy.len) rows_copy[(seed >> 8) % copy.len] = (uint8_t)("0123456789abcdef{}[],:\"\\u"[seed >> 24 & 15]);
        }
        restate_fit fit = restate_journal_check(e, copy, counts);
        CHECK(fit == RESTATE_FITS || fit == RESTATE_DIFFERS || fit == RESTATE_CANNOT_TELL);
        CHECK(strlen(restate_endpoint_error(e)) < sizeof e->error);
        CHECK(restate__b_is_clean(restate_str(restate_endpoint_error(e)), ""));
    }
    restate_endpoint_free(e);
    CHECK_INT(memory.blocks, 0);
    CHECK_INT(kinds_executed, 0);
    reset();
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(every_prefix_fits), T(no_effects), T(parallel_runs), T(a_handler_that_goes_on), T(hooks_and_logs),
        T(other_steps), T(several_fields), T(long_values_are_cut), T(no_terminal_is_steered), T(ten_changes), T(seeds),
        T(other_steps_behind_random_numbers),
        T(restarted_from_a_prefix), T(versions), T(services_and_handlers), T(handlers_that_give_up), T(damaged),
        T(options_that_are_wrong), T(the_worst_counts), T(ten_thousand_entries), T(no_memory), T(noise), {0}
    };
    return test_main(argc, argv, cases);
}
