/* Part of contract.c: what the test services do when nothing goes wrong, seen from outside. */

/* ---- JSON, written with ' for ", and handlers that are asked one after the other ------------- */

/* A text that lives until a few others have been made, with " for '. */
static const char *json(const char *format, ...) {
    static char ring[16][4096];
    static unsigned at;
    char *to = ring[at++ % 16];
    va_list args;
    va_start(args, format);
    vsnprintf(to, sizeof ring[0], format, args);
    va_end(args);
    for (char *p = to; *p; p++)
        if (*p == '\'') *p = '"';
    return to;
}

/* Whether a body is `want`: the same text or the same JSON, or, for "*x", whether x is in it. NULL:
 * anything is. */
static bool is_body(const char *got, const char *want) {
    if (!want || strcmp(got, want) == 0) return true;
    if (want[0] == '*') return strstr(got, want + 1) != NULL;
    cJSON *a = cJSON_Parse(got), *b = cJSON_Parse(want);
    bool same = a && b && cJSON_Compare(a, b, true);
    cJSON_Delete(a);
    cJSON_Delete(b);
    return same;
}

/* Servers before 1.7.4 do not say whose error it is. */
static const char *without_source(const char *want) {
    static const char source[] = ",\"source\":\"invocation\"";
    const char *at = server_since(10704) ? NULL : strstr(want, source);
    return at ? text("%.*s%s", (int)(at - want), want, at + sizeof source - 1) : want;
}

static void judge(int line, const char *what, const reply *r, long status, const char *want) {
    if (want && status >= 400) want = without_source(want);
    if (r->status == status && is_body(r->body, want)) return;
    test_failures++;
    if (!bad_id[0]) snprintf(bad_id, sizeof bad_id, "%s", r->id);
    printf("  %s:%d: %s gives %ld\n    «%s», not %ld\n    «%s» %s\n", __FILE__, line, what,
           r->status, r->body, status, want ? want : "(anything)", test_note);
}

/* Calls a handler with `body` (NULL: none), and judges what it gives. */
#define EXPECT(path, body, status, want) expect(__LINE__, path, body, status, want)
static void expect(int line, const char *path, const char *body, long status, const char *want) {
    static reply r;
    word at = make_word("%s", path);
    call(&r, at.s, body ? json("%s", body) : NULL);
    judge(line, text("%s %.500s", at.s, body ? body : ""), &r, status,
          want ? json("%s", want) : NULL);
}

/* The same for a GET of a path of the ingress. */
#define EXPECT_GET(path, status, want) expect_get(__LINE__, path, status, want)
static void expect_get(int line, const char *path, long status, const char *want) {
    static reply r;
    word at = make_word("%s", path);
    http(&r, "GET", text("%s%s", ingress, at.s), NULL);
    judge(line, at.s, &r, status, want ? json("%s", want) : NULL);
}

/* The same for the result of an invocation. */
#define EXPECT_RESULT(id, status, want) expect_result(__LINE__, id, status, want)
static void expect_result(int line, const char *id, long status, const char *want) {
    static reply r;
    attach(&r, id);
    judge(line, id, &r, status, want ? json("%s", want) : NULL);
}

/* Handlers of one object (or, without a key, of a service), one after the other. */
typedef struct step {
    const char *handler, *body;
    long status;
    const char *want;
} step;
#define STEPS(object, ...) \
    do { \
        static const step steps[] = { __VA_ARGS__ }; \
        take_steps(__LINE__, object, steps, sizeof steps / sizeof *steps); \
    } while (0)
static void take_steps(int line, const char *object, const step *steps, size_t count) {
    word at = make_word("%s", object);                  /* outlives the ring of text() */
    for (size_t i = 0; i < count; i++)
        expect(line, text("%s/%s", at.s, steps[i].handler), steps[i].body, steps[i].status,
               steps[i].want);
}

/* What the ingress says of a handler that has failed terminally. */
#define FAILED(code, message) \
    "{'code':" #code ",'message':'" message "','source':'invocation'}"
#define FAILED_WITH(code, message, metadata) \
    "{'code':" #code ",'message':'" message "','metadata':" metadata ",'source':'invocation'}"

static bool served(void) {
    if (endpoint_register(&contract)) return true;
    test_failures++;
    return false;
}

/* A number, and a key, that no other case has. */
static unsigned fresh_number(void) {
    static unsigned last;
    return ++last;
}
static word fresh_key(const char *what) {
    return make_word("%s-%s-%u", what, running->name, fresh_number());
}

/* How many state values an object has, and one of them ("" if it is missing), as the server has
 * them. */
static long long values_of(const char *service, const char *key) {
    return query_number("c", text("select count(*) c from state where service_name = '%s' and "
                                  "service_key = '%s'",
                                  service, key));
}
static const char *value_of(const char *service, const char *key, const char *name) {
    return query_text("v", text("select value_utf8 v from state where service_name = '%s' and "
                                "service_key = '%s' and key = '%s'", service, key, name));
}

/* How many entries of an invocation's journal are of that type. */
static long long entries_of(const char *id, const char *type) {
    return query_number("c", text("select count(*) c from sys_journal where id = '%s' and "
                                  "entry_type like '%s'", id, type));
}

/* ---- State ----------------------------------------------------------------------------------- */

static void counter_case(void) {
    if (!served()) return;
    word key = fresh_key("counter"), other = fresh_key("counter");
    STEPS(text("/Counter/%s", key.s),
        { "get", NULL, 200, "0" },
        { "add", "5", 200, "{'oldValue':0,'newValue':5}" },
        { "add", "-7", 200, "{'oldValue':5,'newValue':-2}" },
        { "get", NULL, 200, "-2" });
    STEPS(text("/Counter/%s", other.s),                 /* a key has its own state */
        { "get", NULL, 200, "0" },
        { "add", "9223372036854775807", 200, NULL });
    ASK(text("/Counter/%s/get", other.s), NULL, 200, "9223372036854775807");
    STEPS(text("/Counter/%s", key.s),
        { "reset", NULL, 200, "" },
        { "get", NULL, 200, "0" },
        { "add", "1", 200, "{'oldValue':0,'newValue':1}" });
    ASK(text("/Counter/%s/get", other.s), NULL, 200, "9223372036854775807");
}

/* A terminal failure takes nothing back. */
static void failure_keeps_state_case(void) {
    if (!served()) return;
    word key = fresh_key("adds"), odd = fresh_key("a%20b%2Fc%C3%BC");
    for (int i = 1; i <= 2; i++)
        EXPECT(text("/Counter/%s/addThenFail", key.s), "3", 500, text(FAILED(500, "%s"), key.s));
    STEPS(text("/Counter/%s", key.s),
        { "get", NULL, 200, "6" },
        { "add", "1", 200, "{'oldValue':6,'newValue':7}" });
    EXPECT(text("/Counter/%s/addThenFail", odd.s), "3", 500,            /* any text is a key */
           text(FAILED(500, "a b/cü%s"), odd.s + strlen("a%20b%2Fc%C3%BC")));
    EXPECT(text("/Counter/%s/get", odd.s), NULL, 200, "3");
}

static void list_case(void) {
    if (!served()) return;
    STEPS(text("/ListObject/%s", fresh_key("list").s),
        { "get", NULL, 200, "[]" },
        { "clear", NULL, 200, "[]" },
        { "append", "'a'", 200, "" },
        { "append", "''", 200, "" },
        { "append", "'b, ü\\n\\u0022'", 200, "" },
        { "get", NULL, 200, "['a','','b, ü\\n\\u0022']" },
        { "clear", NULL, 200, "['a','','b, ü\\n\\u0022']" },
        { "get", NULL, 200, "[]" },
        { "append", "'c'", 200, "" },
        { "get", NULL, 200, "['c']" });
}

enum { MAP_ENTRIES = 12 };

/* Whether clearAll has given the entries that map_case has made, each once. */
static void check_entries(const reply *r) {
    cJSON *entries = cJSON_Parse(r->body), *e;
    unsigned seen = 0;
    int i, value;
    CHECK_INT(r->status, 200);
    CHECK_INT(cJSON_GetArraySize(entries), MAP_ENTRIES);
    cJSON_ArrayForEach(e, entries) {
        const char *key = cJSON_GetStringValue(cJSON_GetObjectItem(e, "key"));
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(e, "value"));
        if (!key || sscanf(key, "key %d", &i) != 1 || i < 0 || i >= MAP_ENTRIES) continue;
        if (text && sscanf(text, "value %d", &value) == 1 && value == i * i) seen |= 1u << i;
    }
    CHECK_INT(seen, (1u << MAP_ENTRIES) - 1);
    cJSON_Delete(entries);
}

static void map_case(void) {
    static reply r;
    if (!served()) return;
    word key = fresh_key("map"), map = make_word("/MapObject/%s", key.s);
    EXPECT(text("%s/get", map.s), "'key 3'", 200, "''");
    for (int i = 0; i < MAP_ENTRIES; i++)
        EXPECT(text("%s/set", map.s), text("{'key':'key %d','value':'value %d'}", i, i * i), 200,
               "");
    EXPECT(text("%s/set", map.s), "{'key':'key 3','value':'x','more':1}", 200, "");
    EXPECT(text("%s/get", map.s), "'key 3'", 200, "'x'");
    EXPECT(text("%s/set", map.s), "{'key':'key 3','value':'value 9'}", 200, "");
    EXPECT(text("%s/get", map.s), "'key 3'", 200, "'value 9'");
    CHECK_INT(values_of("MapObject", key.s), MAP_ENTRIES);
    CHECK_STR(value_of("MapObject", key.s, "key 3"), "\"value 9\"");
    call(&r, text("%s/clearAll", map.s), NULL);
    check_entries(&r);
    CHECK_INT(entries_of(r.id, "Command: ClearAllState"), 1);           /* in one operation */
    CHECK_INT(values_of("MapObject", key.s), 0);
    STEPS(map.s, { "get", "'key 3'", 200, "''" }, { "clearAll", NULL, 200, "[]" });
}

/* A string of JSON may have any character, and is the same wherever it goes. */
static void texts_case(void) {
    if (!served()) return;
    word list = make_word("/ListObject/%s", fresh_key("texts").s), map = make_word("/MapObject/%s", fresh_key("texts").s);
    word commands = make_word("/VirtualObjectCommandInterpreter/%s", fresh_key("texts").s);
    ASK("/TestUtilsService/uppercaseEcho", "\"a\\u0000b\"", 200, "\"A\\u0000B\"");
    ASK(text("%s/append", list.s), "\"\\u0000\"", 200, "");
    ASK(text("%s/append", list.s), "\"x\\u0000\"", 200, "");
    ASK(text("%s/get", list.s), NULL, 200, "[\"\\u0000\",\"x\\u0000\"]");
    ASK(text("%s/set", map.s), "{\"key\":\"k\",\"value\":\"a\\u0000b\"}", 200, "");
    ASK(text("%s/get", map.s), "\"k\"", 200, "\"a\\u0000b\"");
    ASK(text("%s/clearAll", map.s), NULL, 200, "[{\"key\":\"k\",\"value\":\"a\\u0000b\"}]");
    ASK(text("%s/interpretCommands", commands.s),
        "{\"commands\":[{\"type\":\"awaitOne\",\"command\":{\"type\":\"runReturns\",\"value\":\"r\\u0000\"}},{\"type\":\"awaitAllCompleted\",\"commands\":["
        "{\"type\":\"runReturns\",\"value\":\"\\u0000s\"},{\"type\":\"runReturns\",\"value\":\"\"}]}]}", 200, "\"ok:\\u0000s|ok:\"");
    ASK(text("%s/getResults", commands.s), NULL, 200, "[\"r\\u0000\",\"ok:\\u0000s|ok:\"]");
    ASK(text("/Failing/%s/terminallyFailingCall", fresh_key("texts").s), "{\"errorMessage\":\"m\",\"metadata\":{\"a\":\"1\",\"a\":\"2\"}}", 500,
        "*\"metadata\":{\"a\":\"1\"}");
}

/* What does not come along with the invocation is asked for. */
static void lazy_state_case(void) {
    static reply r;
    if (!served()) return;
    word key = fresh_key("lazy");
    EXPECT(text("/Counter/%s/add", key.s), "3", 200, NULL);
    call(&r, text("/Counter/%s/get", key.s), NULL);
    CHECK_STR(r.body, "3");
    CHECK_INT(entries_of(r.id, "Command: GetLazyState"), 1);
    EXPECT(text("/MapObject/%s/set", key.s), "{'key':'a','value':'b'}", 200, "");
    call(&r, text("/MapObject/%s/clearAll", key.s), NULL);
    judge(__LINE__, "clearAll", &r, 200, json("[{'key':'a','value':'b'}]"));
    CHECK_INT(entries_of(r.id, "Command: GetLazyStateKeys"), 1);
    CHECK_INT(entries_of(r.id, "Command: GetLazyState"), 1);
}

/* ---- Order ----------------------------------------------------------------------------------- */

enum { ADDS = 60 };
static word adds_key;

static void make_an_add(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, "/Counter/%s/add", adds_key.s);
    snprintf(body, 256, "%zu", i);
}
static bool is_added(size_t i, const reply *r) {
    cJSON *answer = cJSON_Parse(r->body);
    double from = cJSON_GetNumberValue(cJSON_GetObjectItem(answer, "oldValue"));
    double to = cJSON_GetNumberValue(cJSON_GetObjectItem(answer, "newValue"));
    cJSON_Delete(answer);
    return r->status == 200 && from >= 0 && (size_t)(to - from) == i;
}

/* Callers at the same time get to an object one after the other. */
static void one_at_a_time_case(void) {
    static const batch adds = { ADDS, 20, make_an_add, is_added };
    if (!served()) return;
    adds_key = fresh_key("crowd");
    run_batch(&adds);
    EXPECT(text("/Counter/%s/get", adds_key.s), NULL, 200, text("%d", ADDS * (ADDS - 1) / 2));
}

static void ingress_order_case(void) {
    if (!served()) return;
    word list = make_word("/ListObject/%s", fresh_key("sent").s);
    for (int i = 0; i < 10; i++)
        CHECK(start_call(text("%s/append", list.s), text("\"%d\"", i)).s[0] != 0);
    EXPECT(text("%s/get", list.s), NULL, 200, "['0','1','2','3','4','5','6','7','8','9']");
}

/* The bytes of a text as a JSON array. */
static const char *bytes_of(const char *s) {
    static char ring[8][1024];
    static unsigned at;
    char *to = ring[at++ % 8];
    size_t n = 1;
    snprintf(to, sizeof ring[0], "[");
    for (; *s && n < sizeof ring[0] - 8; s++)
        n += (size_t)snprintf(to + n, 8, "%s%d", n > 1 ? "," : "", (unsigned char)*s);
    snprintf(to + n, 2, "]");
    return to;
}

/* A ProxyRequest. `key` NULL: a service; `rest`: more members, with a comma before. */
static const char *proxied(const char *service, const char *key, const char *handler,
                           const char *message, const char *rest) {
    return json("{'serviceName':'%s','virtualObjectKey':%s,'handlerName':'%s','message':%s%s}",
                service, key ? text("'%s'", key) : "null", handler, message, rest);
}

/* Appends an element of manyCalls to `list`. */
typedef struct many {
    char body[16384];
    size_t len;
} many;
static void add_call(many *list, const char *request, bool one_way, bool awaited) {
    const char *flags = json("'oneWayCall':%s,'awaitAtTheEnd':%s", one_way ? "true" : "false",
                             awaited ? "true" : "false");
    list->len += (size_t)snprintf(list->body + list->len, sizeof list->body - list->len,
                                  "%c{\"proxyRequest\":%s,%s}", list->len ? ',' : '[', request,
                                  flags);
    CHECK(list->len < sizeof list->body - 2);
}
static const char *all_calls(many *list) {
    snprintf(list->body + list->len, 2, "]");
    return list->body;
}

/* Calls and sends to one key run in the order in which they were issued, whether they are waited
 * for or not. */
static void many_calls_case(void) {
    static many list;
    static reply r;
    if (!served()) return;
    word keys[2] = { fresh_key("many"), fresh_key("many") };
    list.len = 0;
    for (int i = 0; i < 24; i++) {
        const char *message = bytes_of(text("\"%d\"", i));
        add_call(&list, proxied("ListObject", keys[i % 2].s, "append", message, ""), i % 3 == 0,
                 i % 4 < 2);
    }
    for (int i = 0; i < 2; i++)                         /* what is waited for was there last */
        add_call(&list, proxied("ListObject", keys[i].s, "append", bytes_of("\"end\""), ""), false,
                 true);
    call(&r, "/Proxy/manyCalls", all_calls(&list));
    judge(__LINE__, "manyCalls", &r, 200, "");
    EXPECT(text("/ListObject/%s/get", keys[0].s), NULL, 200,
           "['0','2','4','6','8','10','12','14','16','18','20','22','end']");
    EXPECT(text("/ListObject/%s/get", keys[1].s), NULL, 200,
           "['1','3','5','7','9','11','13','15','17','19','21','23','end']");
    EXPECT("/Proxy/manyCalls", "[]", 200, "");
}

/* Of many calls only those count that are waited for. */
static void many_failures_case(void) {
    static many list;
    if (!served()) return;
    word key = fresh_key("fails");
    for (int awaited = 0; awaited < 2; awaited++) {
        list.len = 0;
        add_call(&list, proxied("Failing", key.s, "terminallyFailingCall",
                                bytes_of("{\"errorMessage\":\"one of many\"}"), ""),
                 false, awaited);
        add_call(&list, proxied("Counter", key.s, "add", "[49]", ""), true, true);
        add_call(&list, proxied("Counter", key.s, "add", "[49]", ""), false, true);
        if (awaited) EXPECT("/Proxy/manyCalls", all_calls(&list), 500, FAILED(500, "one of many"));
        else EXPECT("/Proxy/manyCalls", all_calls(&list), 200, "");
        CHECK(comes_to(text("/Counter/%s/get", key.s), awaited ? "4" : "2"));
    }
}

/* ---- Proxy ----------------------------------------------------------------------------------- */

/* Bytes, as a handler of any kind gets and gives them. */
static void proxy_bytes_case(void) {
    static const struct { const char *sent, *got; } messages[] = {
        { "[]", "[]" },
        { "[0]", "[0]" },
        { "[-128,-1,0,1,127,128,255]", "[128,255,0,1,127,128,255]" },
        { "[123, 34, 10]", "[123,34,10]" },             /* no JSON, and left alone */
        { "[195,40,-16,-97,-104,-128]", "[195,40,240,159,152,128]" } };         /* no UTF-8 */
    if (!served()) return;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        EXPECT("/Proxy/call", proxied("TestUtilsService", NULL, "rawEcho", messages[i].sent, ""),
               200, messages[i].got);
    EXPECT("/Proxy/call", proxied("TestUtilsService", NULL, "echo", bytes_of("  \"a\" "), ""), 200,
           bytes_of("  \"a\" "));
    EXPECT("/Proxy/call",
           "{'serviceName':'TestUtilsService','handlerName':'uppercaseEcho','message':[34,97,34],"
           "'delayMillis':null,'idempotencyKey':null,'scope':null,'limitKey':null,'other':1}",
           200, bytes_of("\"A\""));
}

static void proxy_targets_case(void) {
    if (!served()) return;
    word key = fresh_key("target");
    EXPECT("/Proxy/call", proxied("Counter", key.s, "addThenFail", "[52]", ""), 500,
           text(FAILED(500, "%s"), key.s));
    EXPECT("/Proxy/call", proxied("Counter", key.s, "get", "[]", ""), 200, bytes_of("4"));
    EXPECT("/Proxy/call", proxied("Counter", key.s, "reset", "[]", ""), 200, "[]");
    EXPECT("/Proxy/call", proxied("BlockAndWaitWorkflow", key.s, "unblock", bytes_of("\"go\""), ""),
           200, "[]");
    EXPECT("/Proxy/call", proxied("BlockAndWaitWorkflow", key.s, "run", bytes_of("\"in\""), ""),
           200, bytes_of("\"go\""));
    EXPECT("/Proxy/call", proxied("BlockAndWaitWorkflow", key.s, "getState", "[]", ""), 200,
           bytes_of("\"in\""));
    EXPECT("/Proxy/call", proxied("BlockAndWaitWorkflow", key.s, "unblock", bytes_of("\"go\""), ""),
           409, NULL);                                  /* a code that is not 500 comes up, too */
}

static void proxy_failure_case(void) {
    static const char failure[] = "{\"errorMessage\":\"from below\",\"metadata\":{\"who\":\"me\"}}";
    if (!served()) return;
    word key = fresh_key("fails");
    EXPECT("/Proxy/call", proxied("Failing", key.s, "terminallyFailingCall", bytes_of(failure), ""),
           500, FAILED_WITH(500, "from below", "{'who':'me'}"));
    EXPECT("/Proxy/oneWayCall",                         /* nobody waits for that one */
           proxied("Failing", key.s, "terminallyFailingCall", bytes_of(failure), ""), 200,
           "*\"inv_");
}

/* The id that Proxy has given. */
static word id_in(const reply *r) {
    cJSON *answer = cJSON_Parse(r->body);
    const char *id = cJSON_GetStringValue(answer);
    word w = make_word("%s", id ? id : "");
    cJSON_Delete(answer);
    CHECK(r->status == 200 && strncmp(w.s, "inv_", 4) == 0 && strlen(w.s) > 20);
    return w;
}

static void proxy_send_case(void) {
    static reply r;
    if (!served()) return;
    word key = fresh_key("sent"), get = make_word("/Counter/%s/get", key.s);
    call(&r, "/Proxy/oneWayCall", proxied("Counter", key.s, "add", bytes_of("2"), ""));
    EXPECT_RESULT(id_in(&r).s, 200, "{'oldValue':0,'newValue':2}");

    double start = now();
    call(&r, "/Proxy/oneWayCall",
         proxied("Counter", key.s, "add", bytes_of("3"), ",'delayMillis':700"));
    word later = id_in(&r);
    EXPECT(get.s, NULL, 200, "2");
    EXPECT_RESULT(later.s, 200, "{'oldValue':2,'newValue':5}");
    CHECK(now() - start > 0.69);
}

static void proxy_idempotency_case(void) {
    static reply r;
    if (!served()) return;
    word key = fresh_key("once"), id[2];
    static const struct { const char *idempotency, *want; } calls[] = {
        { "a", "{\"oldValue\": 0, \"newValue\": 1}" },
        { "a", "{\"oldValue\": 0, \"newValue\": 1}" },
        { "b", "{\"oldValue\": 1, \"newValue\": 2}" },
        { "a", "{\"oldValue\": 0, \"newValue\": 1}" } };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        EXPECT("/Proxy/call", proxied("Counter", key.s, "add", "[49]",
               text(",'idempotencyKey':'%s'", calls[i].idempotency)), 200, bytes_of(calls[i].want));
    EXPECT_GET(text("/restate/invocation/Counter/%s/add/b/attach", key.s), 200,
               "{'oldValue':1,'newValue':2}");
    for (int i = 0; i < 2; i++) {
        call(&r, "/Proxy/oneWayCall",
             proxied("Counter", key.s, "add", "[49]", ",'idempotencyKey':'c'"));
        id[i] = id_in(&r);
    }
    CHECK_STR(id[1].s, id[0].s);
    EXPECT_RESULT(id[0].s, 200, "{'oldValue':2,'newValue':3}");
    EXPECT(text("/Counter/%s/get", key.s), NULL, 200, "3");
}

/* What the server has of an invocation. */
static void check_invocation(const char *id, const char *scope, const char *limit_key) {
    const char *sql = text("select scope, limit_key from sys_invocation where id = '%s'", id);
    CHECK_STR(query_text("scope", sql), scope);
    CHECK_STR(query_text("limit_key", sql), limit_key);
}

/* The id of the one invocation that this one has called. */
static const char *invoked_by(const char *id) {
    return query_text("id",
                      text("select id from sys_invocation where invoked_by_id = '%s'", id));
}

/* Calls and sends go to a scope, with a limit key. */
static void scope_case(void) {
    static reply r;
    static const char message[] = "[34,97,34]";
    if (!served()) return;
    word id[2];
    for (int i = 0; i < 2; i++) {
        call(&r, "/Proxy/oneWayCall", proxied("TestUtilsService", NULL, "echo", message,
             text(",'scope':'scope-%d','limitKey':'ten/ant','idempotencyKey':'x'", i)));
        id[i] = id_in(&r);
        EXPECT_RESULT(id[i].s, 200, "'a'");
        check_invocation(id[i].s, text("scope-%d", i), "ten/ant");
    }
    CHECK(strcmp(id[0].s, id[1].s) != 0);               /* the idempotency key is the scope's */

    call(&r, "/Proxy/call", proxied("TestUtilsService", NULL, "echo", message,
         ",'scope':'blue','limitKey':'ten'"));
    CHECK_STR(r.body, message);
    check_invocation(invoked_by(r.id), "blue", "ten");
    call(&r, "/Proxy/call", proxied("TestUtilsService", NULL, "echo", message, ",'scope':'green'"));
    CHECK_STR(r.body, message);
    check_invocation(invoked_by(r.id), "green", "");
    EXPECT("/restate/scope/red/call/TestUtilsService/echo", "'b'", 200, "'b'");
}

/* A limit of a scope holds for what handlers send there. */
static void scope_limit_case(void) {
    static reply r;
    if (!served()) return;
    word ids[3], scope = fresh_key("narrow");
    http(&r, "PUT", text("%s/limits/rules", admin),
         json("[{'pattern':'%s','limits':{'concurrency':1}}]", scope.s));
    CHECK(r.status >= 200 && r.status < 300);
    double start = now();
    for (int i = 0; i < 3; i++) {
        call(&r, "/Proxy/oneWayCall", proxied("ServiceInterpreterHelper", NULL, "echoLater",
             bytes_of("{\"sleep\":250,\"parameter\":\"x\"}"), text(",'scope':'%s'", scope.s)));
        ids[i] = id_in(&r);
    }
    for (int i = 0; i < 3; i++) EXPECT_RESULT(ids[i].s, 200, "'x'");
    CHECK(now() - start > 3 * 0.25);
}

/* ---- TestUtilsService ------------------------------------------------------------------------ */

static void echo_case(void) {
    if (!served()) return;
    STEPS("/TestUtilsService",
        { "echo", "'abc'", 200, "'abc'" },
        { "echo", "''", 200, "''" },
        { "echo", "'ü\\u00fc\\n\\\\ \\ud83d\\ude00'", 200, "'ü\\u00fc\\n\\\\ \\ud83d\\ude00'" },
        { "uppercaseEcho", "'abc Xyz 1'", 200, "'ABC XYZ 1'" },
        { "uppercaseEcho", "''", 200, "''" });
}

static const char *header_in(const cJSON *headers, const char *name) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(headers, name));
}

static void headers_case(void) {
    static const char *const sent[] = { "X-Mixed-Case: Some Value", "x-list: a, b", "x-empty;",
                                        NULL };
    static reply r;
    if (!served()) return;
    http_with(&r, "POST", text("%s/TestUtilsService/echoHeaders", ingress), NULL, sent);
    CHECK_INT(r.status, 200);
    cJSON *got = cJSON_Parse(r.body), *h;
    test_note = r.body;
    CHECK_STR(header_in(got, "x-mixed-case"), "Some Value");
    CHECK_STR(header_in(got, "x-list"), "a, b");
    CHECK_STR(header_in(got, "x-empty"), "");
    cJSON_ArrayForEach(h, got) CHECK(strpbrk(h->string, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL);
    test_note = "";
    cJSON_Delete(got);
}

#define OCTETS "application/octet-stream"

/* Bytes of any content type, or none at all. */
static void raw_echo_case(void) {
    static const char *const types[] = { OCTETS, "application/json", "text/plain; charset=utf-8",
                                         "image/png", "x-odd/x-type+y" };
    static const char path[] = "/TestUtilsService/rawEcho", bytes[] = "\x00\xff\x80{\"\r\n\x00";
    static reply r;
    if (!served()) return;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        test_note = types[i];
        post_bytes(&r, text("%s%s", ingress, path), types[i], bytes, sizeof bytes);
        CHECK_INT(r.status, 200);
        CHECK_STR(r.type, OCTETS);
        CHECK_INT(r.len, sizeof bytes);
        CHECK(memcmp(r.body, bytes, sizeof bytes) == 0);
        post_bytes(&r, text("%s%s", ingress, path), types[i], "", 0);
        CHECK_INT(r.status, 200);
        CHECK_INT(r.len, 0);
    }
    test_note = "";
    EXPECT(path, NULL, 200, "");
    EXPECT_GET(path, 200, "");
}

enum { LARGE = 6000000 };

/* Byte i of a payload where a piece that is lost, or comes twice, makes a difference. */
static uint8_t large_byte(size_t i) { return (uint8_t)((i * 2654435761u) >> 13); }

static size_t take_large(char *data, size_t size, size_t count, void *user) {
    size_t *got = (size_t *)user, n = size * count;     /* SIZE_MAX: wrong */
    for (size_t i = 0; i < n && *got != SIZE_MAX; i++)
        *got = *got < LARGE && (uint8_t)data[i] == large_byte(*got) ? *got + 1 : SIZE_MAX;
    return n;
}

static void large_case(void) {
    static reply r;
    static char body[LARGE];
    size_t got = 0;
    if (!served()) return;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "content-type: " OCTETS);
    const char *url = text("%s/TestUtilsService/rawEcho", ingress);
    for (size_t i = 0; i < LARGE; i++) body[i] = (char)large_byte(i);
    prepare(curl, &r, "POST", url, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)LARGE);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_large);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got);
    perform(curl, &r, url);
    CHECK_INT(r.status, 200);
    CHECK_INT(got, LARGE);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

enum { BUSY = 200, BUSY_MS = 500 };

static void make_an_echo(size_t i, char path[256], char body[256]) {
    snprintf(path, 256, "/ServiceInterpreterHelper/echoLater");
    snprintf(body, 256, "{\"sleep\":%d,\"parameter\":\"%zu\"}", BUSY_MS, i);
}
static bool is_echo(size_t i, const reply *r) {
    return r->status == 200 && strcmp(r->body, text("\"%zu\"", i)) == 0;
}

/* One handler can be busy in hundreds of invocations. */
static void at_once_case(void) {
    static const batch echoes = { BUSY, BUSY, make_an_echo, is_echo };
    if (!served()) return;
    double start = now();
    run_batch(&echoes);
    CHECK(took_at_most(start, 2 * BUSY_MS / 1000.0));
}

/* Where every wait ends the attempt, the last attempt has executed none of the runs. */
static void executed_runs_case(void) {
    if (!served()) return;
    EXPECT("/TestUtilsService/countExecutedSideEffects", "6", 200,
           running == &modes[SUSPEND] ? "0" : "6");
    EXPECT("/TestUtilsService/countExecutedSideEffects", "0", 200, "0");
}

/* ---- Ingress --------------------------------------------------------------------------------- */

static void idempotency_case(void) {
    static const struct { const char *idempotency, *want; } calls[] = {
        { "a", "{'oldValue':0,'newValue':1}" },
        { "a", "{'oldValue':0,'newValue':1}" },
        { "b", "{'oldValue':1,'newValue':2}" },
        { "a", "{'oldValue':0,'newValue':1}" } };
    static reply r;
    if (!served()) return;
    word key = fresh_key("once"), first = make_word("");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const char *const headers[] = { text("idempotency-key: %s", calls[i].idempotency), NULL };
        http_with(&r, "POST", text("%s/Counter/%s/add", ingress, key.s), "1", headers);
        judge(__LINE__, calls[i].idempotency, &r, 200, json("%s", calls[i].want));
        if (i == 0) first = make_word("%s", r.id);
        CHECK((strcmp(r.id, first.s) == 0) == (calls[i].idempotency[0] == 'a'));
        if (i > 0) continue;
        http_with(&r, "POST", text("%s/Counter/%s/add/send", ingress, key.s), "1", headers);
        judge(__LINE__, "send", &r, 202, "*PreviouslyAccepted");
        CHECK_HAS(r.body, first.s);
    }
    EXPECT(text("/Counter/%s/get", key.s), NULL, 200, "2");

    word by_key = make_word("/restate/invocation/Counter/%s/add", key.s);
    EXPECT_GET(text("%s/a/attach", by_key.s), 200, "{'oldValue':0,'newValue':1}");
    EXPECT_GET(text("%s/b/output", by_key.s), 200, "{'oldValue':1,'newValue':2}");
    EXPECT_GET(text("%s/c/attach", by_key.s), 404, NULL);
    EXPECT_RESULT(first.s, 200, "{'oldValue':0,'newValue':1}");
    const char *const same[] = { "idempotency-key: a", NULL };
    word other = fresh_key("once");                     /* the key is the object's */
    http_with(&r, "POST", text("%s/Counter/%s/add", ingress, other.s), "5", same);
    judge(__LINE__, other.s, &r, 200, json("{'oldValue':0,'newValue':5}"));
}

/* The result of an invocation that is still running, known by its id or its idempotency key. */
static void running_case(void) {
    static reply r;
    if (!served()) return;
    word key = fresh_key("slow"), header = make_word("idempotency-key: %s", key.s);
    const char *const named[] = { header.s, NULL };
    const char *body = "{\"sleep\":600,\"parameter\":\"done\"}";
    word path = make_word("/ServiceInterpreterHelper/echoLater"), id;
    word by_key = make_word("/restate/invocation%s/%s", path.s, key.s);
    double start = now();
    http_with(&r, "POST", text("%s%s/send", ingress, path.s), body, named);
    judge(__LINE__, "send", &r, 202, "*\"Accepted\"");
    id = make_word("%s", r.id);
    EXPECT_GET(text("/restate/invocation/%s/output", id.s), 470, NULL);
    EXPECT_GET(text("%s/output", by_key.s), 470, NULL);
    http_with(&r, "POST", text("%s%s", ingress, path.s), body, named);
    judge(__LINE__, "attached by a call", &r, 200, "\"done\"");
    CHECK(now() - start > 0.59);
    CHECK_STR(r.id, id.s);
    EXPECT_GET(text("%s/attach", by_key.s), 200, "'done'");
    EXPECT_GET(text("/restate/invocation/%s/attach", id.s), 200, "'done'");
    EXPECT_GET(text("/restate/invocation/%s/output", id.s), 200, "'done'");
}

static void delayed_send_case(void) {
    static reply r;
    if (!served()) return;
    word key = fresh_key("later");
    double start = now();
    http(&r, "POST", text("%s/Counter/%s/add/send?delay=700ms", ingress, key.s), "4");
    judge(__LINE__, "send", &r, 202, "*executionTime");
    word id = make_word("%s", r.id);
    EXPECT(text("/Counter/%s/get", key.s), NULL, 200, "0");
    EXPECT_RESULT(id.s, 200, "{'oldValue':0,'newValue':4}");
    CHECK(now() - start > 0.69);
}

/* Sent, then attached to: also for a handler without an output, and for one that fails. */
static void send_and_attach_case(void) {
    if (!served()) return;
    word key = fresh_key("sent");
    word added = start_call(text("/Counter/%s/add", key.s), "1");
    word reset = start_call(text("/Counter/%s/reset", key.s), NULL);
    word failed = start_call(text("/Counter/%s/addThenFail", key.s), "1");
    EXPECT_RESULT(added.s, 200, "{'oldValue':0,'newValue':1}");
    EXPECT_RESULT(reset.s, 200, "");
    EXPECT_RESULT(failed.s, 500, text(FAILED(500, "%s"), key.s));
    EXPECT_GET("/restate/invocation/inv_1foAirY4KKzi3UxYOkVpsCnj68iyY6WXC7/attach", 404, NULL);
}

/* What never gets to a handler, and what only just does. */
static void refusals_case(void) {
    static const struct {
        const char *method, *before, *after, *body;     /* of the key */
        long status;
        const char *want;
    } requests[] = {
        { "POST", "/Counter/", "/get", "{}", 400, "*to be empty" },
        { "POST", "/Counter/", "/add", NULL, 400, "*content-type" },
        { "POST", "/Counter/", "/add", "one", 400, "*'source':'invocation'" },
        { "GET", "/Counter/", "/get", NULL, 200, "0" },
        { "PUT", "/Counter/", "/get", NULL, 405, NULL },
        { "POST", "/Counter/", "/nothing", "1", 404, "*was not found" },
        { "POST", "/Nobody/", "/add", "1", 404, "*not found" },
        { "POST", "/Counter/add?", "", "1", 400, "*bad path" },
        { "POST", "/restate/awakeables/", "/resolve", "1", 400, NULL },
        { "GET", "/restate/workflow/BlockAndWaitWorkflow/", "/attach", NULL, 404, NULL },
        { "GET", "/restate/workflow/BlockAndWaitWorkflow/", "/output", NULL, 404, NULL } };
    static reply r;
    if (!served()) return;
    word key = fresh_key("refused");
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const char *path = text("%s%s%s", requests[i].before, key.s, requests[i].after);
        http(&r, requests[i].method, text("%s%s", ingress, path), requests[i].body);
        judge(__LINE__, text("%s %s", requests[i].method, path), &r, requests[i].status,
              requests[i].want ? json("%s", requests[i].want) : NULL);
    }
    post_bytes(&r, text("%s/Counter/%s/add", ingress, key.s), "text/plain", "1", 1);
    judge(__LINE__, "text", &r, 400, "*does not match");
    EXPECT(text("/Counter/%s/get", key.s), NULL, 200, "0");
}

/* ---- Workflows ------------------------------------------------------------------------------- */

static void workflow_case(void) {
    static reply r;
    if (!served()) return;
    word key = fresh_key("flow"), flow = make_word("/BlockAndWaitWorkflow/%s", key.s);
    word result = make_word("/restate/workflow%s", flow.s);
    EXPECT(text("%s/getState", flow.s), NULL, 200, "null");             /* there is none yet */
    EXPECT_GET(text("%s/attach", result.s), 404, NULL);

    word id = start_call(text("%s/run", flow.s), "\"in\"");
    CHECK(comes_to(text("%s/getState", flow.s), "\"in\""));
    EXPECT_GET(text("%s/output", result.s), 470, NULL);
    EXPECT(text("%s/run", flow.s), "'again'", 409, "*already invoked");
    CHECK_STR(start_call(text("%s/run", flow.s), "\"again\"").s, id.s);

    STEPS(flow.s, { "unblock", "'go'", 200, "" }, { "unblock", "'on'", 409, NULL });
    EXPECT_RESULT(id.s, 200, "'go'");
    EXPECT_GET(text("%s/attach", result.s), 200, "'go'");
    EXPECT_GET(text("%s/output", result.s), 200, "'go'");
    STEPS(flow.s,                                       /* it is over, and still known */
        { "getState", NULL, 200, "'in'" },
        { "unblock", "'on'", 409, NULL },
        { "run", "'again'", 409, "*already invoked" });
    CHECK_INT(entries_of(id.s, "Command: PeekPromise"), 1);
    http(&r, "GET", text("%s/restate/invocation/%s/output", ingress, id.s), NULL);
    CHECK_STR(r.body, "\"go\"");
}

/* Who runs the workflow finds the promise completed. */
static void workflow_unblocked_first_case(void) {
    if (!served()) return;
    STEPS(text("/BlockAndWaitWorkflow/%s", fresh_key("flow").s),
        { "unblock", "'early'", 200, "" },
        { "unblock", "'late'", 409, NULL },
        { "getState", NULL, 200, "null" },
        { "run", "'in'", 200, "'early'" },
        { "getState", NULL, 200, "'in'" },
        { "run", "'in'", 409, NULL });
}

/* ---- The command interpreter ----------------------------------------------------------------- */

#define INTERPRETER "VirtualObjectCommandInterpreter"

/* Futures. */
#define AWAKEABLE(key) "{'type':'createAwakeable','awakeableKey':'" key "'}"
#define SIGNAL(name) "{'type':'createSignal','signalName':'" name "'}"
#define SLEEP(ms) "{'type':'sleep','timeoutMillis':" #ms "}"
#define NEVER SLEEP(20000)              /* nobody waits that long */
#define RUN(value) "{'type':'runReturns','value':'" value "'}"
#define BREAK(reason) "{'type':'runThrowTerminalException','reason':'" reason "'}"

/* Commands. */
#define ONE(future) "{'type':'awaitOne','command':" future "}"
#define AWAIT(type, futures) "{'type':'" type "','commands':[" futures "]}"
#define ANY(futures) AWAIT("awaitAny", futures)
#define FIRST(futures) AWAIT("awaitFirstCompleted", futures)
#define ANY_SUCCESS(futures) AWAIT("awaitAnySuccessful", futures)
#define FIRST_SUCCESS(futures) AWAIT("awaitFirstSucceededOrAllFailed", futures)
#define ALL(futures) AWAIT("awaitAllSucceededOrFirstFailed", futures)
#define SETTLED(futures) AWAIT("awaitAllCompleted", futures)
#define AWAIT_FOR(key, ms) \
    "{'type':'awaitAwakeableOrTimeout','awakeableKey':'" key "','timeoutMillis':" #ms "}"

/* Commands of a new object that need nobody else, and what they come to. */
typedef struct script {
    const char *commands;
    long status;
    const char *want;
} script;

/* Of one command: its result is the only one of the object, and what fails has none. Ends with the
 * first that goes wrong, for that may take long. */
static void play(const script *scripts, size_t count) {
    if (!served()) return;
    for (size_t i = 0; i < count && !test_failures; i++) {
        word object = make_word("/" INTERPRETER "/%s", fresh_key("script").s);
        test_note = scripts[i].commands;
        EXPECT(text("%s/interpretCommands", object.s),
               text("{'commands':[%s]}", scripts[i].commands), scripts[i].status, scripts[i].want);
        EXPECT(text("%s/getResults", object.s), NULL, 200,
               scripts[i].status == 200 ? text("[%s]", scripts[i].want) : "[]");
    }
    test_note = "";
}
#define PLAY(...) \
    do { \
        static const script scripts[] = { __VA_ARGS__ }; \
        play(scripts, sizeof scripts / sizeof *scripts); \
    } while (0)

static void await_one_case(void) {
    PLAY(
        { ONE(RUN("a")), 200, "'a'" },
        { ONE(RUN("")), 200, "''" },
        { ONE(RUN("ä|\\n\\u0022")), 200, "'ä|\\n\\u0022'" },
        { ONE(BREAK("b")), 500, FAILED(500, "b") },
        { ONE(SLEEP(20)), 200, "'sleep'" },
        { ONE(SLEEP(0)), 200, "'sleep'" });
}

/* The first that is complete counts, wherever it stands. */
static void await_any_case(void) {
    PLAY(
        { ANY(RUN("a")), 200, "'a'" },
        { ANY(RUN("a") "," NEVER), 200, "'a'" },
        { ANY(NEVER "," RUN("a")), 200, "'a'" },
        { ANY(AWAKEABLE("k") "," SIGNAL("s") "," RUN("a") "," NEVER), 200, "'a'" },
        { ANY(AWAKEABLE("awk1") "," SLEEP(100)), 200, "'sleep'" },
        { ANY(NEVER "," SLEEP(10) "," NEVER), 200, "'sleep'" },
        { ANY(BREAK("b")), 500, FAILED(500, "b") },
        { ANY(BREAK("b") "," NEVER), 500, FAILED(500, "b") },
        { ANY(SIGNAL("s") "," BREAK("b") "," NEVER), 500, FAILED(500, "b") },
        { ANY(SIGNAL("s") "," AWAKEABLE("k") "," BREAK("b")), 500, FAILED(500, "b") },
        { FIRST(RUN("a") "," NEVER), 200, "'a'" },
        { FIRST(AWAKEABLE("k") "," RUN("a")), 200, "'a'" },
        { FIRST(BREAK("b") "," NEVER), 500, FAILED(500, "b") },
        { FIRST(NEVER "," BREAK("b")), 500, FAILED(500, "b") });
}

/* Failures count only if there is nothing else. */
static void await_any_success_case(void) {
    PLAY(
        { ANY_SUCCESS(RUN("a")), 200, "'a'" },
        { ANY_SUCCESS(RUN("a") "," BREAK("b")), 200, "'a'" },
        { ANY_SUCCESS(BREAK("b") "," RUN("a")), 200, "'a'" },
        { ANY_SUCCESS(BREAK("b") "," BREAK("c") "," SLEEP(50)), 200, "'sleep'" },
        { ANY_SUCCESS(NEVER "," BREAK("b") "," RUN("a") "," AWAKEABLE("k")), 200, "'a'" },
        { ANY_SUCCESS(BREAK("b")), 500, FAILED(500, "b") },
        { ANY_SUCCESS(BREAK("b") "," BREAK("b") "," BREAK("b")), 500, FAILED(500, "b") },
        { FIRST_SUCCESS(BREAK("b") "," RUN("a") "," NEVER), 200, "'a'" },
        { FIRST_SUCCESS(RUN("a") "," BREAK("b")), 200, "'a'" },
        { FIRST_SUCCESS(BREAK("b") "," BREAK("b")), 500, FAILED(500, "b") });
}

/* All of them, or the first failure, which does not wait for the others. */
static void await_all_case(void) {
    PLAY(
        { ALL(""), 200, "''" },
        { ALL(RUN("a")), 200, "'a'" },
        { ALL(SLEEP(30) "," RUN("a") "," RUN("b")), 200, "'sleep|a|b'" },
        { ALL(RUN("a") "," RUN("") "," SLEEP(1) "," RUN("a")), 200, "'a||sleep|a'" },
        { ALL(BREAK("b") "," NEVER), 500, FAILED(500, "b") },
        { ALL(NEVER "," BREAK("b")), 500, FAILED(500, "b") },
        { ALL(RUN("a") "," BREAK("b") "," AWAKEABLE("k") "," SIGNAL("s")), 500, FAILED(500, "b") });
}

static void await_settled_case(void) {
    PLAY(
        { SETTLED(""), 200, "''" },
        { SETTLED(RUN("a") "," BREAK("b")), 200, "'ok:a|err:b'" },
        { SETTLED(BREAK("b") "," SLEEP(30) "," RUN("a")), 200, "'err:b|ok:sleep|ok:a'" },
        { SETTLED(BREAK("b") "," BREAK("c")), 200, "'err:b|err:c'" },
        { SETTLED(SLEEP(1)), 200, "'ok:sleep'" });
}

/* What somebody else does to an interpreter that waits. */
typedef struct deed {
    enum { NO_DEED, RESOLVE, REJECT, SEND, SEND_FAILURE } what;
    const char *name, *text;                /* of an awakeable; of a signal */
} deed;

static void tell_interpreter(word object, word id, deed d) {
    switch (d.what) {
    case NO_DEED: break;
    case RESOLVE:
        EXPECT(text("%s/resolveAwakeable", object.s),
               text("{'awakeableKey':'%s','value':'%s'}", d.name, d.text), 200, "");
        break;
    case REJECT:
        EXPECT(text("%s/rejectAwakeable", object.s),
               text("{'awakeableKey':'%s','reason':'%s'}", d.name, d.text), 200, "");
        break;
    case SEND:
        EXPECT("/TestUtilsService/resolveSignal",
               text("{'invocationId':'%s','signalName':'%s','value':'%s'}", id.s, d.name, d.text),
               200, "");
        break;
    case SEND_FAILURE:
        EXPECT("/TestUtilsService/rejectSignal",
               text("{'invocationId':'%s','signalName':'%s','reason':'%s'}", id.s, d.name, d.text),
               200, "");
        break;
    }
}

/* Until so many signals (awakeables are some) are in the journal. */
static bool has_signals(const char *id, long long count) {
    PATIENTLY(5)
        if (entries_of(id, "Notification: Signal%") >= count) return true;
    return false;
}

static word start_script(word object, const char *commands) {
    return start_call(text("%s/interpretCommands", object.s), json("{'commands':[%s]}", commands));
}

static bool awaits_awakeable(word object, const char *key) {
    return comes_to_with(text("%s/hasAwakeable", object.s), json("'%s'", key), "true");
}

/* Commands, and what is done to them, one after the other. */
typedef struct scene {
    const char *commands;
    deed deeds[4];
    long status;
    const char *want;
} scene;

/* Those that wait do so at the same time. */
static void act(const scene *scenes, size_t count) {
    word objects[32], ids[32];
    if (!served()) return;
    CHECK(count <= 32);
    for (size_t i = 0; i < count; i++) {
        objects[i] = make_word("/" INTERPRETER "/%s", fresh_key("scene").s);
        ids[i] = start_script(objects[i], scenes[i].commands);
    }
    for (size_t i = 0; i < count && !test_failures; i++) {
        test_note = scenes[i].commands;
        for (int k = 0; k < 4 && scenes[i].deeds[k].what != NO_DEED; k++) {
            deed d = scenes[i].deeds[k];
            CHECK(has_signals(ids[i].s, k));            /* deeds have an order only so */
            if (d.what == RESOLVE || d.what == REJECT) CHECK(awaits_awakeable(objects[i], d.name));
            tell_interpreter(objects[i], ids[i], d);
        }
        EXPECT_RESULT(ids[i].s, scenes[i].status, scenes[i].want);
    }
    test_note = "";
}
#define ACT(...) \
    do { \
        static const scene scenes[] = { __VA_ARGS__ }; \
        act(scenes, sizeof scenes / sizeof *scenes); \
    } while (0)

#define K1 AWAKEABLE("k1")
#define K2 AWAKEABLE("k2")
#define S SIGNAL("s")
#define NOBODY { NO_DEED, NULL, NULL }

static void awakeables_case(void) {
    ACT(
        { ONE(K1), { { RESOLVE, "k1", "a" } }, 200, "'a'" },
        { ONE(K1), { { REJECT, "k1", "no" } }, 500, FAILED(500, "no") },
        { ANY(K1 "," K2), { { RESOLVE, "k1", "a" } }, 200, "'a'" },
        { ANY(K1 "," K2), { { RESOLVE, "k2", "b" } }, 200, "'b'" },
        { ANY(K1 "," K2), { { REJECT, "k1", "no" } }, 500, FAILED(500, "no") },
        { FIRST(NEVER "," K1 "," S), { { REJECT, "k1", "no" } }, 500, FAILED(500, "no") },
        { ANY_SUCCESS(K1 "," K2), { { REJECT, "k1", "no" }, { RESOLVE, "k2", "b" } }, 200, "'b'" },
        { ANY_SUCCESS(K1 "," K2), { { REJECT, "k2", "no" }, { RESOLVE, "k1", "a" } }, 200, "'a'" },
        { ANY_SUCCESS(K1 "," K2), { { REJECT, "k1", "no" }, { REJECT, "k2", "nor" } }, 500,
          FAILED(500, "nor") },
        { ALL(K1 "," K2), { { RESOLVE, "k2", "b" }, { RESOLVE, "k1", "a" } }, 200, "'a|b'" },
        { ALL(K1 "," K2), { { RESOLVE, "k1", "a" }, { REJECT, "k2", "no" } }, 500,
          FAILED(500, "no") },
        { ALL(K1 "," K2), { { REJECT, "k2", "no" } }, 500, FAILED(500, "no") },
        { SETTLED(K1 "," RUN("x") "," K2), { { REJECT, "k2", "no" }, { RESOLVE, "k1", "a" } }, 200,
          "'ok:a|ok:x|err:no'" },
        { AWAIT_FOR("k1", 60000), { { RESOLVE, "k1", "a" } }, 200, "'a'" },
        { AWAIT_FOR("k1", 60000), { { REJECT, "k1", "no" } }, 500, FAILED(500, "no") },
        { AWAIT_FOR("k1", 30), { NOBODY }, 500, FAILED(500, "await-timeout") },
        { AWAIT_FOR("k1", 0), { NOBODY }, 500, FAILED(500, "await-timeout") });
}

/* A signal goes to who awaits that name; of several of one name each goes to one. */
static void signals_case(void) {
    ACT(
        { ONE(S), { { SEND, "s", "a" } }, 200, "'a'" },
        { ONE(S), { { SEND_FAILURE, "s", "no" } }, 500, FAILED(500, "no") },
        { ONE(S), { { SEND, "t", "other" }, { SEND, "s", "a" } }, 200, "'a'" },
        { ANY(S "," SIGNAL("t")), { { SEND, "t", "b" } }, 200, "'b'" },
        { ANY(K1 "," S "," NEVER), { { SEND_FAILURE, "s", "no" } }, 500, FAILED(500, "no") },
        { ANY_SUCCESS(S "," K1), { { SEND_FAILURE, "s", "no" }, { RESOLVE, "k1", "a" } }, 200,
          "'a'" },
        { FIRST_SUCCESS(K1 "," S), { { REJECT, "k1", "no" }, { SEND_FAILURE, "s", "nor" } }, 500,
          FAILED(500, "nor") },
        { ALL(S "," K1 "," SIGNAL("t")),
          { { SEND, "t", "c" }, { RESOLVE, "k1", "b" }, { SEND, "s", "a" } }, 200, "'a|b|c'" },
        { ALL(NEVER "," S), { { SEND_FAILURE, "s", "no" } }, 500, FAILED(500, "no") },
        { SETTLED(S "," S "," S),
          { { SEND, "s", "a" }, { SEND_FAILURE, "s", "no" }, { SEND, "s", "c" } }, 200,
          "'ok:a|err:no|ok:c'" },
        { ONE(S) "," ONE(S), { { SEND, "s", "a" }, { SEND, "s", "b" } }, 200, "'b'" });
}

/* Signals that come before anybody awaits them are kept. */
static void early_signals_case(void) {
    ACT(
        { ONE(K1) "," ONE(S), { { SEND, "s", "early" }, { RESOLVE, "k1", "go" } }, 200, "'early'" },
        { ONE(K1) "," ONE(S), { { SEND_FAILURE, "s", "no" }, { RESOLVE, "k1", "go" } }, 500,
          FAILED(500, "no") },
        { ONE(K1) "," SETTLED(S "," SIGNAL("t") "," S),
          { { SEND, "s", "a" }, { SEND, "s", "b" }, { SEND, "t", "c" }, { RESOLVE, "k1", "go" } },
          200, "'ok:a|ok:c|ok:b'" },
        { ONE(K1) "," SETTLED(S "," S),
          { { SEND, "s", "a" }, { RESOLVE, "k1", "go" }, { SEND, "s", "b" } }, 200,
          "'ok:a|ok:b'" });
}

/* Other commands, and inputs that mean nothing. */
static void other_commands_case(void) {
    PLAY(
        { "{'type':'resolveAwakeable','awakeableKey':'k','value':'a'}", 500,
          FAILED(500, "awakeable is not registered yet") },
        { "{'type':'rejectAwakeable','awakeableKey':'k','reason':'a'}", 500,
          FAILED(500, "awakeable is not registered yet") },
        { "{'type':'getEnvVariable','envName':'NOBODY_SETS_THIS'}", 200, "''" },
        { "{'type':'dance'}", 500, NULL },
        { "{'type':'runReturns','value':'a'}", 500, NULL },             /* that is no command */
        { "{}", 500, NULL },
        { ONE("{'type':'dance'}"), 500, NULL },
        { ANY(RUN("a") ",{'type':'dance'}"), 500, NULL });
    word key = fresh_key("commands"), object = make_word("/" INTERPRETER "/%s", key.s);
    STEPS(object.s,
        { "interpretCommands", "{'commands':[]}", 200, "''" },
        { "getResults", NULL, 200, "[]" },
        { "hasAwakeable", "'k'", 200, "false" },
        { "resolveAwakeable", "{'awakeableKey':'k','value':'a'}", 500,
          FAILED(500, "awakeable is not registered yet") },
        { "rejectAwakeable", "{'awakeableKey':'k','reason':'a'}", 500,
          FAILED(500, "awakeable is not registered yet") },
        { "interpretCommands",                          /* completed by its own interpreter */
          "{'commands':[" ANY(AWAKEABLE("k") "," RUN("a")) ","
          "{'type':'resolveAwakeable','awakeableKey':'k','value':'a'}]}", 200, "''" },
        { "interpretCommands",
          "{'commands':[" ANY(AWAKEABLE("l") "," RUN("b")) ","
          "{'type':'rejectAwakeable','awakeableKey':'l','reason':'a'}]}", 200, "''" },
        { "hasAwakeable", "'k'", 200, "true" },
        { "hasAwakeable", "'m'", 200, "false" },
        { "getResults", NULL, 200, "['a','','b','']" });
}

/* Read in a run: it stays the same in every attempt. */
static void environment_case(void) {
    static reply r;
    if (!served()) return;
    call(&r, text("/" INTERPRETER "/%s/interpretCommands", fresh_key("env").s),
         json("{'commands':[{'type':'getEnvVariable','envName':'PORT'}]}"));
    CHECK_STR(r.body, text("\"%d\"", contract.port));
    CHECK_INT(entries_of(r.id, "Command: Run"), 1);
    CHECK_INT(entries_of(r.id, "Notification: Run"), 1);
}

/* Each command's result is there as soon as that is done, and stays for the next invocation. */
static void results_case(void) {
    if (!served()) return;
    word object = make_word("/" INTERPRETER "/%s", fresh_key("results").s);
    word id = start_script(object, ONE(RUN("a")) "," ONE(SLEEP(1)) "," ONE(K1) ","
                                   ONE(BREAK("b")) "," ONE(RUN("c")));
    CHECK(awaits_awakeable(object, "k1"));
    EXPECT(text("%s/getResults", object.s), NULL, 200, "['a','sleep']");
    tell_interpreter(object, id, (deed){ RESOLVE, "k1", "x" });
    EXPECT_RESULT(id.s, 500, FAILED(500, "b"));
    STEPS(object.s,
        { "getResults", NULL, 200, "['a','sleep','x']" },
        { "interpretCommands", "{'commands':[" ONE(RUN("d")) "," ONE(RUN("e")) "]}", 200, "'e'" },
        { "getResults", NULL, 200, "['a','sleep','x','d','e']" });
}

/* ---- Awakeables, by their ids ---------------------------------------------------------------- */

/* An interpreter that awaits one, and the id of that. */
typedef struct waiter {
    word key, id, awakeable;
} waiter;

static waiter start_waiter(void) {
    waiter w = { fresh_key("waits"), make_word(""), make_word("") };
    word object = make_word("/" INTERPRETER "/%s", w.key.s);
    w.id = start_script(object, ONE(K1));
    CHECK(awaits_awakeable(object, "k1"));
    const char *value = value_of(INTERPRETER, w.key.s, "awk-k1");
    if (*value == '"') w.awakeable = make_word("%.*s", (int)strcspn(value + 1, "\""), value + 1);
    CHECK(w.awakeable.s[0] != 0);
    return w;
}

static void ingress_awakeables_case(void) {
    static const struct { const char *verb, *body; long status; const char *want; } ways[] = {
        { "resolve", "\"from outside\"", 200, "'from outside'" },
        { "reject", "no, \\ or so", 500, FAILED(500, "no, \\\\ or so") } };
    static reply r;
    if (!served()) return;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        waiter w = start_waiter();
        const char *url = text("%s/restate/awakeables/%s/%s", ingress, w.awakeable.s, ways[i].verb);
        post_bytes(&r, url, i ? "text/plain" : "application/json", ways[i].body,
                   strlen(ways[i].body));
        CHECK_INT(r.status, 202);
        EXPECT_RESULT(w.id.s, ways[i].status, ways[i].want);
    }
}

static void awakeable_holder_case(void) {
    if (!served()) return;
    waiter w = start_waiter();
    word holder = make_word("/AwakeableHolder/%s", w.key.s);
    STEPS(holder.s,
        { "hasAwakeable", NULL, 200, "false" },
        { "unlock", "'early'", 500, FAILED(500, "No awakeable registered") });
    EXPECT(text("%s/hold", holder.s), text("'%s'", w.awakeable.s), 200, "");
    STEPS(holder.s,
        { "hasAwakeable", NULL, 200, "true" },
        { "unlock", "'open'", 200, "" },
        { "hasAwakeable", NULL, 200, "false" },
        { "unlock", "'again'", 500, FAILED(500, "No awakeable registered") });
    EXPECT_RESULT(w.id.s, 200, "'open'");
}

/* ---- Failures with metadata ------------------------------------------------------------------ */

static void metadata_case(void) {
    static const struct { const char *input, *want; } failures[] = {
        { "{'errorMessage':'plain'}", FAILED(500, "plain") },
        { "{'errorMessage':'null','metadata':null}", FAILED(500, "null") },
        { "{'errorMessage':'none','metadata':{}}", FAILED(500, "none") },
        { "{'errorMessage':'böse: %s\\n\\u0022','metadata':{'a':'1'}}",
          FAILED_WITH(500, "böse: %s\\n\\u0022", "{'a':'1'}") },
        { "{'errorMessage':'','metadata':{'b':'','a':'x y','ü':'ö'}}",
          FAILED_WITH(500, "", "{'a':'x y','b':'','ü':'ö'}") } };
    static const char *const handlers[] = { "terminallyFailingCall", "callTerminallyFailingCall" };
    static reply r;
    if (!served()) return;
    for (size_t h = 0; h < 2; h++)
        for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
            word path = make_word("/Failing/%s/%s", fresh_key("fails").s, handlers[h]);
            EXPECT(path.s, failures[i].input, 500, failures[i].want);
        }

    word path = make_word("/Failing/%s/callTerminallyFailingCall", fresh_key("fails").s);
    const char *keys[2];
    for (int i = 0; i < 2; i++) {                       /* the callee's key is always a new one */
        call(&r, path.s, json("%s", failures[0].input));
        keys[i] = query_text("k", text("select target_service_key k from sys_invocation where "
                                       "invoked_by_id = '%s'", r.id));
        CHECK_INT(strlen(keys[i]), 36);
    }
    CHECK(strcmp(keys[0], keys[1]) != 0);
}

/* ---- The program interpreter ----------------------------------------------------------------- */

/* Programs of a new object of layer 0, how they end, and what the counter comes to. */
static const struct { const char *name, *commands; long status; const char *want, *counter; }
programs[] = {
    { "nothing", "", 200, "", "0" },
    { "increments", "{'kind':4},{'kind':4},{'kind':4}", 200, "", "3" },
    { "increments by calls", "{'kind':5},{'kind':4},{'kind':5}", 200, "", "3" },
    { "sleeps", "{'kind':6,'duration':20},{'kind':4},{'kind':6,'duration':0}", 200, "", "1" },
    { "calls", "{'kind':7},{'kind':7},{'kind':15,'index':1},{'kind':15,'index':0},{'kind':4}", 200,
      "", "1" },
    { "slow calls", "{'kind':8,'sleep':30},{'kind':8,'sleep':1},{'kind':15,'index':0},"
      "{'kind':15,'index':1},{'kind':4}", 200, "", "1" },
    { "calls nobody awaits", "{'kind':7},{'kind':8,'sleep':60000},{'kind':14},{'kind':4}", 200, "",
      "1" },
    { "increments by delayed calls", "{'kind':9,'duration':50},{'kind':9,'duration':0},{'kind':4}",
      200, "", "3" },
    { "side effects", "{'kind':10},{'kind':12},{'kind':10},{'kind':4}", 200, "", "1" },
    { "side effects that throw", "{'kind':11},{'kind':11},{'kind':11},{'kind':4}", 200, "", "1" },
    { "a call that fails", "{'kind':13},{'kind':4}", 200, "", "1" },
    { "a call that fails, awaited", "{'kind':4},{'kind':14},{'kind':15,'index':1},{'kind':4}", 200,
      "", "2" },
    { "an awakeable resolved", "{'kind':16},{'kind':15,'index':0},{'kind':4}", 200, "", "1" },
    { "an awakeable rejected", "{'kind':17},{'kind':15,'index':0},{'kind':4}", 200, "", "1" },
    { "awakeables nobody awaits", "{'kind':16},{'kind':17},{'kind':4}", 200, "", "1" },
    { "increments by awakeables", "{'kind':18},{'kind':4},{'kind':18}", 200, "", "3" },
    { "await nothing", "{'kind':4},{'kind':15,'index':7},{'kind':4}", 500,
      FAILED(500, "ObjectInterpreterL0: can not find a promise for the id 7."), "1" },
    { "await what keeps nothing", "{'kind':4},{'kind':15,'index':0}", 500,
      FAILED(500, "ObjectInterpreterL0: can not find a promise for the id 0."), "1" },
    { "await twice", "{'kind':7},{'kind':15,'index':0},{'kind':4},{'kind':15,'index':0}", 500,
      FAILED(500, "ObjectInterpreterL0: can not find a promise for the id 0."), "1" },
};

/* One that does not come is enough to wait for. */
static void counts_to(const char *path, const char *want) {
    if (!test_failures) CHECK(comes_to(path, want));
}

static void program_kinds_case(void) {
    word paths[sizeof programs / sizeof *programs];
    if (!served()) return;
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        test_note = programs[i].name;
        paths[i] = make_word("/ObjectInterpreterL0/%s", fresh_key("kind").s);
        EXPECT(text("%s/interpret", paths[i].s), text("{'commands':[%s]}", programs[i].commands),
               programs[i].status, programs[i].want);
    }
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        test_note = programs[i].name;
        counts_to(text("%s/counter", paths[i].s), programs[i].counter);
    }
    test_note = "";
}

/* By what means a command does its work. */
static void program_means_case(void) {
    static const struct { const char *command, *entry, *part; } means[] = {
        { "{'kind':1,'key':1}", "SetState", "key-1" },
        { "{'kind':2,'key':1}", "Get%State", "key-1" },
        { "{'kind':3,'key':1}", "ClearState", "key-1" },
        { "{'kind':4}", "SetState", "counter" },
        { "{'kind':5}", "OneWayCall", "incrementIndirectly" },
        { "{'kind':6,'duration':1}", "Sleep", "name" },
        { "{'kind':7}", "Call", "echo" },
        { "{'kind':8,'sleep':1}", "Call", "echoLater" },
        { "{'kind':9,'duration':1}", "OneWayCall", "incrementIndirectly" },
        { "{'kind':10}", "Run", "name" },
        { "{'kind':11}", "Run", "name" },
        { "{'kind':12}", "Run", "name" },
        { "{'kind':13}", "Call", "terminalFailure" },
        { "{'kind':14}", "Call", "terminalFailure" },
        { "{'kind':16}", "OneWayCall", "resolveAwakeable" },
        { "{'kind':17}", "OneWayCall", "rejectAwakeable" },
        { "{'kind':18}", "OneWayCall", "incrementViaAwakeableDance" },
        { "{'kind':18}", "CompleteAwakeable", "name" },
        { "{'kind':19,'key':0,'program':{'commands':[]}}", "Call", "ObjectInterpreterL1" } };
    static reply r;
    if (!served()) return;
    for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
        test_note = means[i].command;
        call(&r, text("/ObjectInterpreterL0/%s/interpret", fresh_key("means").s),
             json("{'commands':[%s]}", means[i].command));
        CHECK_INT(r.status, 200);
        CHECK_INT(query_number("c", text("select count(*) c from sys_journal where id = '%s' and "
                                         "entry_type like 'Command: %s' and "
                                         "entry_json like '%%\"%s\"%%'",
                                         r.id, means[i].entry, means[i].part)), 1);
    }
    test_note = "";
}

static void program_delay_case(void) {
    if (!served()) return;
    word object = make_word("/ObjectInterpreterL1/%s", fresh_key("delay").s);
    double start = now();
    EXPECT(text("%s/interpret", object.s), "{'commands':[{'kind':9,'duration':700},{'kind':4}]}",
           200, "");
    EXPECT(text("%s/counter", object.s), NULL, 200, "1");
    CHECK(comes_to(text("%s/counter", object.s), "2"));
    CHECK(now() - start > 0.69);
    start = now();
    EXPECT(text("%s/interpret", object.s), "{'commands':[{'kind':6,'duration':150}]}", 200, "");
    CHECK(now() - start > 0.14);
}

static void program_state_case(void) {
    if (!served()) return;
    word key = fresh_key("state");
    STEPS(text("/ObjectInterpreterL2/%s", key.s),
        { "interpret", "{'commands':[{'kind':2,'key':1},{'kind':1,'key':1},{'kind':1,'key':2},"
                       "{'kind':2,'key':1},{'kind':1,'key':30},{'kind':3,'key':1},"
                       "{'kind':3,'key':9},{'kind':2,'key':1}]}", 200, "" },
        { "counter", NULL, 200, "0" });
    CHECK_INT(values_of("ObjectInterpreterL2", key.s), 2);
    CHECK_STR(value_of("ObjectInterpreterL2", key.s, "key-2"), "\"value-2\"");
    CHECK_STR(value_of("ObjectInterpreterL2", key.s, "key-30"), "\"value-30\"");
}

/* A program has objects of the next layer run programs, and a failure comes up again. */
static void program_layers_case(void) {
    if (!served()) return;
    unsigned key = fresh_number() * 1000;
    word object = make_word("/ObjectInterpreterL0/%u", key);
    EXPECT(text("%s/interpret", object.s),
           text("{'commands':[{'kind':19,'key':%u,'program':{'commands':[{'kind':4},{'kind':18},"
                "{'kind':19,'key':%u,'program':{'commands':[{'kind':4},{'kind':5}]}},"
                "{'kind':15,'index':2}]}},{'kind':15,'index':0},{'kind':4}]}", key, key), 200, "");
    CHECK(comes_to(text("/ObjectInterpreterL0/%u/counter", key), "1"));
    CHECK(comes_to(text("/ObjectInterpreterL1/%u/counter", key), "2"));
    CHECK(comes_to(text("/ObjectInterpreterL2/%u/counter", key), "2"));
    EXPECT(text("%s/interpret", object.s),
           text("{'commands':[{'kind':19,'key':%u,'program':{'commands':[{'kind':4},"
                "{'kind':15,'index':3}]}},{'kind':4},{'kind':15,'index':0},{'kind':4}]}", key), 500,
           FAILED(500, "ObjectInterpreterL1: can not find a promise for the id 3."));
    EXPECT(text("%s/counter", object.s), NULL, 200, "2");
    EXPECT(text("/ObjectInterpreterL1/%u/counter", key), NULL, 200, "3");
}

static void program_helper_case(void) {
    if (!served()) return;
    word key = fresh_key("helped");
    STEPS("/ServiceInterpreterHelper",
        { "ping", NULL, 200, "" },
        { "echo", "'a'", 200, "'a'" },
        { "echoLater", "{'sleep':10,'parameter':'b'}", 200, "'b'" },
        { "terminalFailure", NULL, 500, FAILED(500, "bye") });
    EXPECT("/ServiceInterpreterHelper/incrementIndirectly", text("{'layer':1,'key':'%s'}", key.s),
           200, "");
    CHECK(comes_to(text("/ObjectInterpreterL1/%s/counter", key.s), "1"));
}

/* Random programs, the same in every run, whose outcome is known. */
enum { LAYERS = 3, PROGRAM_KEYS = 3, ROOTS = 4 };
typedef struct author {
    uint32_t seed;
    unsigned first_key;
    long long increments[LAYERS][ROOTS];    /* expected in the end */
} author;

static unsigned any_of(author *a, unsigned count) {
    a->seed = a->seed * 1664525u + 1013904223u;
    return (a->seed >> 8) % count;
}

static cJSON *add_command(cJSON *commands, int kind) {
    cJSON *command = cJSON_CreateObject();
    cJSON_AddNumberToObject(command, "kind", kind);
    cJSON_AddItemToArray(commands, command);
    return command;
}

static bool increments(int kind) { return kind == 4 || kind == 5 || kind == 9 || kind == 18; }
static bool is_kept(int kind) {
    return kind == 7 || kind == 8 || kind == 14 || kind == 16 || kind == 17 || kind == 19;
}

/* What a program has started and not yet awaited, by place. */
typedef struct awaited {
    int places[32], count;
} awaited;

static void add_await(author *a, cJSON *commands, awaited *open) {
    unsigned i = any_of(a, (unsigned)open->count);
    cJSON_AddNumberToObject(add_command(commands, 15), "index", open->places[i]);
    open->places[i] = open->places[--open->count];
}

static void add_any_command(author *a, cJSON *commands, int layer, unsigned key, awaited *open);

/* A program for an object; counts what it increments. The last layers have the shortest ones. */
static cJSON *write_program(author *a, int layer, unsigned key) {
    cJSON *program = cJSON_CreateObject(), *commands = cJSON_AddArrayToObject(program, "commands");
    awaited open = { .count = 0 };
    for (unsigned n = 3 + any_of(a, 4) + 3 * (unsigned)(LAYERS - layer); n > 0; n--)
        add_any_command(a, commands, layer, key, &open);
    bool all = any_of(a, 2) == 0;                       /* else some are left alone */
    while (open.count > (all ? 0 : 2)) add_await(a, commands, &open);
    return program;
}

static void add_any_command(author *a, cJSON *commands, int layer, unsigned key, awaited *open) {
    int kind = 1 + (int)any_of(a, layer + 1 < LAYERS ? 22 : 18);
    if (kind > 19) kind = 19;                           /* more of those */
    if (kind == 15) {
        if (open->count > 0) add_await(a, commands, open);
        return;
    }
    int place = cJSON_GetArraySize(commands);
    cJSON *command = add_command(commands, kind);
    if (kind <= 3) cJSON_AddNumberToObject(command, "key", any_of(a, 4));
    if (kind == 6 || kind == 9) cJSON_AddNumberToObject(command, "duration", any_of(a, 30));
    if (kind == 8) cJSON_AddNumberToObject(command, "sleep", any_of(a, 30));
    if (kind == 19) {
        unsigned other = any_of(a, PROGRAM_KEYS);
        cJSON_AddNumberToObject(command, "key", a->first_key + other);
        cJSON_AddItemToObject(command, "program", write_program(a, layer + 1, other));
    }
    if (increments(kind)) a->increments[layer][key]++;
    if (is_kept(kind)) open->places[open->count++] = place;
}

static const char *counter_of(const author *a, int layer, unsigned key) {
    return text("/ObjectInterpreterL%d/%u/counter", layer, a->first_key + key);
}

/* Whether nothing is left that could still increment something. */
static bool interpreters_settle(void) {
    PATIENTLY(20)
        if (query_number("c", "select count(*) c from sys_invocation where status != 'completed' "
                              "and target_handler_name in ('interpret', 'incrementIndirectly', "
                              "'incrementViaAwakeableDance')") == 0)
            return true;
    return false;
}

static void random_program_case(void) {
    static author a;
    word ids[ROOTS];
    if (!served()) return;
    memset(&a, 0, sizeof a);
    a.seed = 20240229;
    a.first_key = fresh_number() * 1000;
    for (unsigned i = 0; i < ROOTS; i++) {
        cJSON *program = write_program(&a, 0, i);
        char *body = cJSON_PrintUnformatted(program);
        ids[i] = start_call(text("/ObjectInterpreterL0/%u/interpret", a.first_key + i), body);
        free(body);
        cJSON_Delete(program);
    }
    for (int i = 0; i < ROOTS; i++) EXPECT_RESULT(ids[i].s, 200, "");
    for (int again = 0; again < 2; again++) {           /* no increment came twice, either */
        for (int layer = 0; layer < LAYERS; layer++)
            for (unsigned key = 0; key < (layer ? PROGRAM_KEYS : ROOTS); key++)
                counts_to(counter_of(&a, layer, key), text("%lld", a.increments[layer][key]));
        CHECK(interpreters_settle());
    }
    CHECK(a.increments[2][0] > 0);                      /* it got down there */
}

/* ---- Discovery ------------------------------------------------------------------------------- */

/* Asks an endpoint itself, without the server. */
static void directly(reply *r, const endpoint *e, const char *path, const char *header) {
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, header);
    const char *url = text("http://127.0.0.1:%d%s", e->port, path);
    prepare(curl, r, "GET", url, NULL);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    perform(curl, r, url);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

#define MANIFEST(version) "application/vnd.restate.endpointmanifest.v" version "+json"

/* "SERVICE KIND: HANDLER TYPE INPUT OUTPUT": `json`, `-` for none, `raw`. */
static const char *const manifest[] = {
    "Counter VIRTUAL_OBJECT: add EXCLUSIVE json json",
    "Counter VIRTUAL_OBJECT: addThenFail EXCLUSIVE json -",
    "Counter VIRTUAL_OBJECT: get SHARED - json",
    "Counter VIRTUAL_OBJECT: reset EXCLUSIVE - -",
    "ListObject VIRTUAL_OBJECT: append EXCLUSIVE json -",
    "ListObject VIRTUAL_OBJECT: get EXCLUSIVE - json",
    "ListObject VIRTUAL_OBJECT: clear EXCLUSIVE - json",
    "MapObject VIRTUAL_OBJECT: set EXCLUSIVE json -",
    "MapObject VIRTUAL_OBJECT: get EXCLUSIVE json json",
    "MapObject VIRTUAL_OBJECT: clearAll EXCLUSIVE - json",
    "Proxy SERVICE: call - json json",
    "Proxy SERVICE: oneWayCall - json json",
    "Proxy SERVICE: manyCalls - json -",
    "TestUtilsService SERVICE: echo - json json",
    "TestUtilsService SERVICE: uppercaseEcho - json json",
    "TestUtilsService SERVICE: echoHeaders - - json",
    "TestUtilsService SERVICE: rawEcho - raw raw",
    "TestUtilsService SERVICE: countExecutedSideEffects - json json",
    "TestUtilsService SERVICE: cancelInvocation - json -",
    "TestUtilsService SERVICE: resolveSignal - json -",
    "TestUtilsService SERVICE: rejectSignal - json -",
    "Failing VIRTUAL_OBJECT: terminallyFailingCall EXCLUSIVE json -",
    "Failing VIRTUAL_OBJECT: callTerminallyFailingCall EXCLUSIVE json json",
    "Failing VIRTUAL_OBJECT: failingCallWithEventualSuccess EXCLUSIVE - json",
    "Failing VIRTUAL_OBJECT: terminallyFailingSideEffect EXCLUSIVE json -",
    "Failing VIRTUAL_OBJECT: sideEffectSucceedsAfterGivenAttempts EXCLUSIVE json json",
    "Failing VIRTUAL_OBJECT: sideEffectFailsAfterGivenAttempts EXCLUSIVE json json",
    "AwakeableHolder VIRTUAL_OBJECT: hold EXCLUSIVE json -",
    "AwakeableHolder VIRTUAL_OBJECT: hasAwakeable EXCLUSIVE - json",
    "AwakeableHolder VIRTUAL_OBJECT: unlock EXCLUSIVE json -",
    "CancelTestRunner VIRTUAL_OBJECT: startTest EXCLUSIVE json -",
    "CancelTestRunner VIRTUAL_OBJECT: verifyTest EXCLUSIVE - json",
    "CancelTestBlockingService VIRTUAL_OBJECT: block EXCLUSIVE json -",
    "CancelTestBlockingService VIRTUAL_OBJECT: isUnlocked EXCLUSIVE - -",
    "KillTestRunner VIRTUAL_OBJECT: startCallTree EXCLUSIVE - -",
    "KillTestSingleton VIRTUAL_OBJECT: recursiveCall EXCLUSIVE - -",
    "KillTestSingleton VIRTUAL_OBJECT: isUnlocked EXCLUSIVE - -",
    "NonDeterministic VIRTUAL_OBJECT: eitherSleepOrCall EXCLUSIVE - -",
    "NonDeterministic VIRTUAL_OBJECT: callDifferentMethod EXCLUSIVE - -",
    "NonDeterministic VIRTUAL_OBJECT: backgroundInvokeWithDifferentTargets EXCLUSIVE - -",
    "NonDeterministic VIRTUAL_OBJECT: setDifferentKey EXCLUSIVE - -",
    "BlockAndWaitWorkflow WORKFLOW: run WORKFLOW json json",
    "BlockAndWaitWorkflow WORKFLOW: unblock SHARED json -",
    "BlockAndWaitWorkflow WORKFLOW: getState SHARED - json",
    "VirtualObjectCommandInterpreter VIRTUAL_OBJECT: interpretCommands EXCLUSIVE json json",
    "VirtualObjectCommandInterpreter VIRTUAL_OBJECT: resolveAwakeable SHARED json -",
    "VirtualObjectCommandInterpreter VIRTUAL_OBJECT: rejectAwakeable SHARED json -",
    "VirtualObjectCommandInterpreter VIRTUAL_OBJECT: hasAwakeable SHARED json json",
    "VirtualObjectCommandInterpreter VIRTUAL_OBJECT: getResults SHARED - json",
    "ObjectInterpreterL0 VIRTUAL_OBJECT: counter SHARED - json",
    "ObjectInterpreterL0 VIRTUAL_OBJECT: interpret EXCLUSIVE json -",
    "ObjectInterpreterL1 VIRTUAL_OBJECT: counter SHARED - json",
    "ObjectInterpreterL1 VIRTUAL_OBJECT: interpret EXCLUSIVE json -",
    "ObjectInterpreterL2 VIRTUAL_OBJECT: counter SHARED - json",
    "ObjectInterpreterL2 VIRTUAL_OBJECT: interpret EXCLUSIVE json -",
    "ServiceInterpreterHelper SERVICE: ping - - -",
    "ServiceInterpreterHelper SERVICE: echo - json json",
    "ServiceInterpreterHelper SERVICE: echoLater - json json",
    "ServiceInterpreterHelper SERVICE: terminalFailure - - -",
    "ServiceInterpreterHelper SERVICE: incrementIndirectly - json -",
    "ServiceInterpreterHelper SERVICE: resolveAwakeable - json -",
    "ServiceInterpreterHelper SERVICE: rejectAwakeable - json -",
    "ServiceInterpreterHelper SERVICE: incrementViaAwakeableDance - json -",
};
enum { HANDLERS = sizeof manifest / sizeof *manifest };

static const char *string_in(const cJSON *object, const char *name) {
    const char *s = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));
    return s ? s : "-";
}

/* `json`, `-`, `raw`, or what else it is. A body may be asked for only where there is one. */
static const char *content_of(const cJSON *payload) {
    const char *type = string_in(payload, "contentType");
    bool required = cJSON_IsTrue(cJSON_GetObjectItem(payload, "required"));
    if (strcmp(type, "application/json") == 0) return "json";
    if (required) return text("%s, required", type);
    return strcmp(type, "*/*") == 0 || strcmp(type, OCTETS) == 0 ? "raw" : type;
}

/* Marks those of `manifest` that are there; others are wrong. */
static void read_manifest(const cJSON *root, bool there[HANDLERS]) {
    const cJSON *service, *handler;
    cJSON_ArrayForEach(service, cJSON_GetObjectItem(root, "services"))
        cJSON_ArrayForEach(handler, cJSON_GetObjectItem(service, "handlers")) {
            int i = 0;
            test_note = text("%s %s: %s %s %s %s", string_in(service, "name"),
                             string_in(service, "ty"), string_in(handler, "name"),
                             string_in(handler, "ty"),
                             content_of(cJSON_GetObjectItem(handler, "input")),
                             content_of(cJSON_GetObjectItem(handler, "output")));
            while (i < HANDLERS && strcmp(test_note, manifest[i]) != 0) i++;
            CHECK(i < HANDLERS && !there[i]);
            if (i < HANDLERS) there[i] = true;
        }
    test_note = "";
}

static void discovery_case(void) {
    static reply r;
    bool there[HANDLERS] = { false };
    if (!served()) return;
    directly(&r, &contract, "/discover", "accept: " MANIFEST("1") ", " MANIFEST("2") ", "
             MANIFEST("3") ", " MANIFEST("4"));
    CHECK_INT(r.status, 200);
    CHECK_STR(r.type, MANIFEST("4"));
    CHECK(r.len < sizeof r.body - 1);
    cJSON *root = cJSON_Parse(r.body);
    CHECK_STR(string_in(root, "protocolMode"), "BIDI_STREAM");
    CHECK(cJSON_GetNumberValue(cJSON_GetObjectItem(root, "minProtocolVersion")) <= 6);
    CHECK(cJSON_GetNumberValue(cJSON_GetObjectItem(root, "maxProtocolVersion")) >= 7);
    read_manifest(root, there);
    for (int i = 0; i < HANDLERS; i++) {
        test_note = manifest[i];
        CHECK(there[i]);
    }
    test_note = "";
    cJSON_Delete(root);
}

static void discovery_versions_case(void) {
    static const struct { const char *accept; long status; const char *type; } requests[] = {
        { MANIFEST("1") ", " MANIFEST("2"), 200, MANIFEST("2") },
        { MANIFEST("3") ", " MANIFEST("2"), 200, MANIFEST("3") },
        { MANIFEST("4") ", " MANIFEST("99"), 200, MANIFEST("4") },
        { MANIFEST("99"), 415, NULL },
        { "application/json", 415, NULL } };
    static reply r;
    if (!served()) return;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        test_note = requests[i].accept;
        directly(&r, &contract, "/discover", text("accept: %s", requests[i].accept));
        CHECK_INT(r.status, requests[i].status);
        if (requests[i].type) CHECK_STR(r.type, requests[i].type);
    }
    test_note = "";
    directly(&r, &contract, "/elsewhere", "accept: */*");
    CHECK_INT(r.status, 404);
}

/* Only those that SERVICES names; a name that nobody has is refused. */
static void services_filter_case(void) {
    static const struct { const char *setting; int handlers; } filters[] = {
        { "SERVICES= Counter ,BlockAndWaitWorkflow,, Proxy", 4 + 3 + 3 },
        { "SERVICES=TestUtilsService", 8 },
        { "SERVICES=*", HANDLERS },
        { "SERVICES=", HANDLERS } };
    static endpoint some[4];
    static reply r;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        bool there[HANDLERS] = { false };
        int count = 0;
        some[i].program = contract.program;
        some[i].log = "test-services-some";
        some[i].settings[0] = filters[i].setting;
        if (!endpoint_start(&some[i])) { test_failures++; return; }
        directly(&r, &some[i], "/discover", "accept: " MANIFEST("4"));
        cJSON *root = cJSON_Parse(r.body);
        read_manifest(root, there);
        cJSON_Delete(root);
        for (int k = 0; k < HANDLERS; k++) {
            const char *service = text("%.*s", (int)strcspn(manifest[k], " "), manifest[k]);
            bool wanted = filters[i].handlers == HANDLERS || strstr(filters[i].setting, service);
            test_note = manifest[k];
            CHECK(there[k] == wanted);
            count += there[k];
        }
        test_note = filters[i].setting;
        CHECK_INT(count, filters[i].handlers);
        CHECK_INT(endpoint_stop(&some[i]), 0);
    }
    test_note = "";
    int status = system(text("PORT=%d SERVICES=Counter,Nobody timeout 20 %s/%s >>%s 2>&1",
                             free_port(), env("E2E_BIN", "build"), contract.program, log_of(&some[0])));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 124);
}

/* Told to stop, it does, and (say sanitizers) has lost nothing of what it has worked with. */
static void stop_case(void) {
    if (!served()) return;
    CHECK_INT(endpoint_stop(&contract), 0);
    CHECK(endpoint_start(&contract));
    EXPECT("/TestUtilsService/echo", "'again'", 200, "'again'");
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

/* Of a cluster any node takes calls, and all see the same. */
static void any_node_case(void) {
    if (!served()) return;
    word key = fresh_key("nodes");
    for (int i = 0; i < NODES; i++) {
        use_node(i);
        EXPECT(text("/Counter/%s/add", key.s), "1", 200,
               text("{'oldValue':%d,'newValue':%d}", i, i + 1));
    }
    use_node(0);
    EXPECT(text("/Counter/%s/get", key.s), NULL, 200, text("%d", NODES));
}

/* The server's settings have no part in discovery and SERVICES, scopes take protocol 7, and only
 * where there is no eager state does everything have to be asked for. */
#define WORK_CASES \
    { "state_counter", counter_case, 0, true }, \
    { "state_stays_after_failure", failure_keeps_state_case, 0, false }, \
    { "state_list", list_case, 0, false }, \
    { "state_map_keys", map_case, 0, false }, \
    { "state_texts", texts_case, 0, false }, \
    { "state_lazy", lazy_state_case, ONLY(LAZY), false }, \
    { "order_one_at_a_time", one_at_a_time_case, 0, false }, \
    { "order_of_sends", ingress_order_case, 0, false }, \
    { "order_of_many_calls", many_calls_case, 0, true }, \
    { "many_calls_failures", many_failures_case, 0, false }, \
    { "proxy_bytes_untouched", proxy_bytes_case, 0, true }, \
    { "proxy_any_target", proxy_targets_case, 0, false }, \
    { "proxy_failure_comes_through", proxy_failure_case, 0, false }, \
    { "proxy_sends_and_delays", proxy_send_case, 0, false }, \
    { "proxy_idempotency_key", proxy_idempotency_case, 0, false }, \
    { "scope_and_limit_key", scope_case, ONLY(V7), false }, \
    { "scope_limit_holds", scope_limit_case, ONLY(V7), false }, \
    { "echo", echo_case, 0, false }, \
    { "echo_headers", headers_case, 0, false }, \
    { "raw_echo_any_type", raw_echo_case, 0, false }, \
    { "raw_echo_megabytes", large_case, 0, false }, \
    { "hundreds_at_once", at_once_case, 0, false }, \
    { "executed_runs", executed_runs_case, 0, false }, \
    { "ingress_idempotency_key", idempotency_case, 0, true }, \
    { "ingress_output_of_running", running_case, 0, false }, \
    { "ingress_delayed_send", delayed_send_case, 0, false }, \
    { "ingress_send_and_attach", send_and_attach_case, 0, false }, \
    { "ingress_refusals", refusals_case, 0, false }, \
    { "workflow_runs_once", workflow_case, 0, true }, \
    { "workflow_unblocked_first", workflow_unblocked_first_case, 0, false }, \
    { "await_one", await_one_case, 0, false }, \
    { "await_any", await_any_case, 0, true }, \
    { "await_any_success", await_any_success_case, 0, false }, \
    { "await_all", await_all_case, 0, false }, \
    { "await_settled", await_settled_case, 0, false }, \
    { "await_awakeables", awakeables_case, 0, false }, \
    { "await_signals", signals_case, 0, false }, \
    { "await_early_signals", early_signals_case, 0, true }, \
    { "commands_others", other_commands_case, 0, false }, \
    { "commands_environment", environment_case, 0, false }, \
    { "commands_results", results_case, 0, false }, \
    { "awakeables_by_ingress", ingress_awakeables_case, 0, false }, \
    { "awakeable_holder", awakeable_holder_case, 0, false }, \
    { "failure_metadata", metadata_case, 0, false }, \
    { "program_kinds", program_kinds_case, 0, true }, \
    { "program_means", program_means_case, 0, false }, \
    { "program_delays", program_delay_case, 0, false }, \
    { "program_state", program_state_case, 0, false }, \
    { "program_layers", program_layers_case, 0, false }, \
    { "program_helper", program_helper_case, 0, false }, \
    { "program_random", random_program_case, 0, false }, \
    { "discovery_handlers", discovery_case, ONLY(DEFAULT), false }, \
    { "discovery_versions", discovery_versions_case, ONLY(DEFAULT), false }, \
    { "services_filter", services_filter_case, ONLY(DEFAULT), false }, \
    { "any_node", any_node_case, ONLY(CLUSTER), false }, \
    { "stops_and_starts", stop_case, 0, false },
