/* OpenTelemetry: spans of attempts and steps, and a histogram, by the hooks; trace context goes on to callees.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/otel.c -o otel -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that PORT names) beside a collector that takes OTLP over HTTP:
 *     OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 ./otel
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server, as part of a trace:
 *     curl localhost:8080/Checkout/pay --json '{"cents": 450}' \
 *         -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
 *
 * A span of an attempt is a child of the span that `traceparent` names; a span of a step is a child of its attempt's;
 * a callee gets a `traceparent` that names the attempt which made the call. The caller's header is part of the
 * invocation, so all attempts are in the same trace, whichever process they are made by. Without the header the
 * trace id comes from the invocation's id, for the same reason. An invocation that suspends, or is retried, has
 * several attempts. With a server that traces too (its tracing-endpoint), attempts are children of its spans.
 *
 * What survives what. SIGTERM: everything is sent. kill -9: spans of the last second are lost, and those that were
 * not over; the work is not. Then a callee's parent may be missing in the trace. The collector is down: spans are
 * dropped and counted (otel.spans.dropped); no handler waits for the collector. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* ---- Spans: hooks make them, on any thread of the endpoint; a thread of its own sends them --------------------- */

enum { BUCKETS = 1024, MOST_DONE = 4096, ROWS = 64, BOUNDS = 7 };
enum { INTERNAL = 1, SERVER = 2, UNSET = 0, FAILED = 2 };                       /* numbers of OTLP: kinds, codes */

typedef struct span {
    struct span *next;
    const void *owner;                                  /* the context of the attempt or of the closure */
    char trace[33], id[17], parent[17];
    char service[64], handler[64], step[64];            /* step "": an attempt */
    char invocation[64], failure[128];
    uint32_t retries;
    restate_status status;
    uint64_t begin_ns, end_ns;
} span;

typedef struct row {                                    /* of the histogram */
    char service[64], handler[64];
    restate_status status;
    double sum_ms;
    unsigned long long count, buckets[BOUNDS + 1];
} row;
static const int bounds_ms[BOUNDS] = { 1, 5, 25, 100, 500, 2500, 10000 };

static struct exporter {
    pthread_mutex_t lock;                               /* of what follows */
    pthread_cond_t stopped;
    bool stop;
    span *open[BUCKETS], *done;                         /* by the invocation's id (what rule 2 cuts off stays) */
    size_t done_count;
    unsigned long long dropped, ids;
    row rows[ROWS];
    uint64_t start_ns;
    char host[256], port[16];
} otel = { .lock = PTHREAD_MUTEX_INITIALIZER, .stopped = PTHREAD_COND_INITIALIZER,
           .host = "localhost", .port = "4318" };

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t hash(const char *text, uint64_t h) {    /* FNV-1a */
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

/* Cuts what is too long, between two characters of UTF-8. */
static void copy(char *to, size_t room, const char *text) {
    size_t n = strlen(text);
    if (n >= room)
        for (n = room - 1; n > 0 && (text[n] & 0xC0) == 0x80;) n--;
    memcpy(to, text, n);
    to[n] = 0;
}

static void write_id(char to[17], uint64_t n) { snprintf(to, 17, "%016llx", (unsigned long long)(n ? n : 1)); }

static span **bucket(restate_ctx *ctx) { return &otel.open[hash(restate_request(ctx)->invocation_id, 1469) % BUCKETS]; }

/* Where the span of that context is linked; of `owner` NULL: the one of the invocation's attempt. */
static span **find(restate_ctx *ctx, const void *owner) {
    const char *id = restate_request(ctx)->invocation_id;
    span **at = bucket(ctx);
    while (*at && (owner ? (*at)->owner != owner : (*at)->step[0] || strcmp((*at)->invocation, id) != 0))
        at = &(*at)->next;
    return at;
}

static const char *header(const restate_pair *headers, const char *name) {
    for (; headers && headers->name; headers++)
        if (strcmp(headers->name, name) == 0) return headers->value;
    return NULL;
}

static void join_trace(restate_ctx *ctx, span *s) {
    const restate_request_info *r = restate_request(ctx);
    const char *from = header(r->attempt_headers, "traceparent");
    if (!from) from = header(r->headers, "traceparent");
    if (from && sscanf(from, "00-%32[0-9a-f]-%16[0-9a-f]-", s->trace, s->parent) == 2) return;
    write_id(s->trace, hash(r->invocation_id, 0xcbf29ce484222325u));
    write_id(s->trace + 16, hash(r->invocation_id, 0x84222325cbf29ce4u));
    s->parent[0] = 0;
}

static void open_span(restate_ctx *ctx, const char *step) {
    const restate_request_info *r = restate_request(ctx);
    span *s = calloc(1, sizeof *s), *attempt;
    if (!s) return;
    s->owner = ctx;
    s->begin_ns = now_ns();
    s->retries = r->retry_count;
    copy(s->service, sizeof s->service, r->target.service);
    copy(s->handler, sizeof s->handler, r->target.handler);
    copy(s->invocation, sizeof s->invocation, r->invocation_id);
    copy(s->step, sizeof s->step, step);
    join_trace(ctx, s);
    pthread_mutex_lock(&otel.lock);
    attempt = step[0] ? *find(ctx, NULL) : NULL;
    if (attempt) memcpy(s->parent, attempt->id, sizeof s->parent);
    write_id(s->id, hash(s->trace, otel.start_ns + (uint64_t)getpid()) + ++otel.ids * 0x9e3779b97f4a7c15u);
    s->next = *bucket(ctx);
    *bucket(ctx) = s;
    pthread_mutex_unlock(&otel.lock);
}

static void count(const span *s) {
    double ms = (double)(s->end_ns - s->begin_ns) / 1e6;
    size_t i = 0, b = 0;
    while (i < ROWS && otel.rows[i].count && (otel.rows[i].status != s->status ||
           strcmp(otel.rows[i].service, s->service) != 0 || strcmp(otel.rows[i].handler, s->handler) != 0)) i++;
    if (i == ROWS) return;
    memcpy(otel.rows[i].service, s->service, sizeof s->service);
    memcpy(otel.rows[i].handler, s->handler, sizeof s->handler);
    otel.rows[i].status = s->status;
    otel.rows[i].sum_ms += ms;
    otel.rows[i].count++;
    while (b < BOUNDS && ms > bounds_ms[b]) b++;
    otel.rows[i].buckets[b]++;
}

static void close_span(restate_ctx *ctx, restate_status status) {
    span **at, *s;
    pthread_mutex_lock(&otel.lock);
    at = find(ctx, ctx);
    s = *at;
    if (s) {
        *at = s->next;
        s->end_ns = now_ns();
        s->status = status;
        if (status != RESTATE_OK && status != RESTATE_ENDED)
            copy(s->failure, sizeof s->failure, restate_failed(ctx)->message);
        if (!s->step[0]) count(s);
        if (otel.done_count < MOST_DONE) {
            s->next = otel.done;
            otel.done = s;
            otel.done_count++;
        } else {
            otel.dropped++;
            free(s);
        }
    }
    pthread_mutex_unlock(&otel.lock);
}

static void on_begin(void *user, restate_ctx *ctx) { (void)user; open_span(ctx, ""); }
static void on_end(void *user, restate_ctx *ctx, restate_status s) { (void)user; close_span(ctx, s); }
static void on_run_begin(void *user, restate_ctx *run, const char *name) { (void)user; open_span(run, name); }
static void on_run_end(void *user, restate_ctx *run, const char *name, restate_status s) {
    (void)user;
    (void)name;
    close_span(run, s);
}

static const restate_pair *on_outbound(void *user, restate_ctx *ctx, const restate_target *to) {
    restate_pair *headers = restate_alloc(ctx, 2 * sizeof *headers);
    span *s;
    (void)user;
    (void)to;
    pthread_mutex_lock(&otel.lock);
    s = *find(ctx, ctx);
    if (headers && s)
        headers[0] = (restate_pair){ "traceparent", restate_text(ctx, "00-%s-%s-01", s->trace, s->id) };
    pthread_mutex_unlock(&otel.lock);
    return headers;
}

static const restate_hooks hooks = { on_begin, on_end, on_run_begin, on_run_end, on_outbound, NULL };

/* ---- OTLP: JSON over HTTP. `json` is a context of a client that calls nobody: restate_json() needs one ----------- */

#define ATTRIBUTE(key) "{'key': '" key "', 'value': {'stringValue': %s}}"
#define BEGIN(what) "{\"resource" what "\": [{\"resource\": {\"attributes\": [{\"key\": \"service.name\", " \
    "\"value\": {\"stringValue\": \"shop\"}}]}, \"scope" what "\": [{\"scope\": {\"name\": \"restate.h\"}, "

static const char *outcome(restate_status s) {
    return s == RESTATE_OK ? "completed" : s == RESTATE_ENDED ? "goes on later" : "failed";
}

static void write_span(FILE *out, restate_ctx *json, const span *s) {
    const char *name = s->step[0] ? s->step : restate_text(json, "%s/%s", s->service, s->handler);
    restate_bytes text = restate_json(json,
        "{'traceId': %s, 'spanId': %s, 'parentSpanId': %s, 'name': %s, 'kind': %d, 'startTimeUnixNano': '%llu', "
        "'endTimeUnixNano': '%llu', 'attributes': [" ATTRIBUTE("restate.invocation.id") ", "
        ATTRIBUTE("restate.outcome") ", {'key': 'restate.retry_count', 'value': {'intValue': '%u'}}], "
        "'status': {'code': %d, 'message': %s}}",
        s->trace, s->id, s->parent, name, s->step[0] ? INTERNAL : SERVER, (unsigned long long)s->begin_ns,
        (unsigned long long)s->end_ns, s->invocation, outcome(s->status), (unsigned)s->retries,
        s->failure[0] ? FAILED : UNSET, s->failure);
    fprintf(out, "%.*s%s", RESTATE_ARG(text), s->next ? ", " : "");
}

static void write_row(FILE *out, restate_ctx *json, const row *r, unsigned long long now) {
    const char *buckets = "", *bounds = "";
    restate_bytes text;
    for (size_t b = 0; b <= BOUNDS; b++)
        buckets = restate_text(json, "%s%s%llu", buckets, b ? ", " : "", r->buckets[b]);
    for (size_t b = 0; b < BOUNDS; b++) bounds = restate_text(json, "%s%s%d", bounds, b ? ", " : "", bounds_ms[b]);
    text = restate_json(json, "{'attributes': [" ATTRIBUTE("service") ", " ATTRIBUTE("handler") ", "
        ATTRIBUTE("outcome") "], 'startTimeUnixNano': '%llu', 'timeUnixNano': '%llu', 'count': '%llu', 'sum': %g, "
        "'bucketCounts': %-s, 'explicitBounds': %-s}", r->service, r->handler, outcome(r->status),
        (unsigned long long)otel.start_ns, now, r->count, r->sum_ms, restate_text(json, "[%s]", buckets),
        restate_text(json, "[%s]", bounds));
    fprintf(out, "%s%.*s", r == otel.rows ? "" : ", ", RESTATE_ARG(text));
}

/* Sums since start_ns ("cumulative", 2): what is lost on the way comes with the next ones. */
static void write_metrics(FILE *out, restate_ctx *json, const span *unused) {
    const unsigned long long now = now_ns(), start = otel.start_ns;
    (void)unused;
    pthread_mutex_lock(&otel.lock);
    fprintf(out, BEGIN("Metrics") "\"metrics\": [{\"name\": \"restate.attempt.duration\", \"unit\": \"ms\", "
            "\"histogram\": {\"aggregationTemporality\": 2, \"dataPoints\": [");
    for (size_t i = 0; i < ROWS && otel.rows[i].count; i++) write_row(out, json, &otel.rows[i], now);
    fprintf(out, "]}}, {\"name\": \"otel.spans.dropped\", \"sum\": {\"aggregationTemporality\": 2, "
            "\"isMonotonic\": true, \"dataPoints\": [{\"startTimeUnixNano\": \"%llu\", \"timeUnixNano\": \"%llu\", "
            "\"asInt\": \"%llu\"}]}}]}]}]}", start, now, otel.dropped);
    pthread_mutex_unlock(&otel.lock);
}

static void write_spans(FILE *out, restate_ctx *json, const span *s) {
    fprintf(out, BEGIN("Spans") "\"spans\": [");
    for (; s; s = s->next) write_span(out, json, s);
    fprintf(out, "]}]}]}");
}

static bool send_all(int to, const char *bytes, size_t len) {
    for (ssize_t n; len > 0; bytes += n, len -= (size_t)n)
        if ((n = send(to, bytes, len, MSG_NOSIGNAL)) <= 0) return false;
    return true;
}

/* Only this thread waits for the collector, at most two seconds at a time. */
static bool post(const char *path, const char *body) {
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    const struct timeval patience = { 2, 0 };
    struct addrinfo *found = NULL;
    char head[512], answer[16] = "";
    int s = -1;
    bool good;
    if (getaddrinfo(otel.host, otel.port, &hints, &found) != 0) return false;
    for (struct addrinfo *a = found; a && s < 0; a = a->ai_next) {
        s = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (s >= 0 && connect(s, a->ai_addr, a->ai_addrlen) != 0) { close(s); s = -1; }
    }
    freeaddrinfo(found);
    if (s < 0) return false;
    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nhost: %s:%s\r\ncontent-type: application/json\r\n"
             "content-length: %zu\r\nconnection: close\r\n\r\n", path, otel.host, otel.port, strlen(body));
    good = send_all(s, head, strlen(head)) && send_all(s, body, strlen(body)) &&
           recv(s, answer, sizeof answer - 1, MSG_WAITALL) > 9 && answer[9] == '2';
    close(s);
    return good;
}

typedef void write_fn(FILE *out, restate_ctx *json, const span *spans);

static bool post_written(const char *path, write_fn *write, restate_ctx *json, const span *spans) {
    char *body = NULL;
    size_t len;
    FILE *out = open_memstream(&body, &len);
    bool good;
    if (!out) return false;
    write(out, json, spans);
    good = fclose(out) == 0 && post(path, body);
    free(body);
    return good;
}

/* Waits for a second, or for the end. Gives whether it is the end, and the spans that are over. */
static bool take_spans(span **done, size_t *n) {
    struct timespec due;
    bool stop;
    clock_gettime(CLOCK_REALTIME, &due);
    due.tv_sec++;
    pthread_mutex_lock(&otel.lock);
    while (!otel.stop && pthread_cond_timedwait(&otel.stopped, &otel.lock, &due) == 0) {}
    stop = otel.stop;
    *done = otel.done;
    *n = otel.done_count;
    otel.done = NULL;
    otel.done_count = 0;
    pthread_mutex_unlock(&otel.lock);
    return stop;
}

static void *export_spans(void *arg) {
    restate_client *client = restate_client_new(NULL);
    for (bool stop = false; !stop;) {
        restate_ctx *json = restate_client_begin(client);
        span *done, *next;
        size_t n;
        stop = take_spans(&done, &n);
        if (done && !post_written("/v1/traces", write_spans, json, done)) {
            pthread_mutex_lock(&otel.lock);
            otel.dropped += n;
            pthread_mutex_unlock(&otel.lock);
        }
        for (; done; done = next) {
            next = done->next;
            free(done);
        }
        post_written("/v1/metrics", write_metrics, json, NULL);
        restate_client_end(json);
    }
    restate_client_free(client);
    return arg;
}

/* ---- A shop, which knows nothing of this ------------------------------------------------------------------------- */

static restate_status ask_card_machine(restate_ctx *run, void *arg) {
    long long cents = *(const long long *)arg;
    if (cents > 100000) return restate_fail(run, 402, "not covered");
    if (cents % 100 == 13 && restate_request(run)->retry_count == 0) return restate_retry(run, NULL, "line is busy");
    return restate_reply(run, restate_json(run, "%lld", cents));
}

static restate_status charge(restate_ctx *ctx, restate_bytes input) {
    long long cents = 0;
    restate_bytes charged;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &cents));
    RESTATE_TRY(restate_run(ctx, "card machine", ask_card_machine, &cents, NULL, &charged));
    return restate_reply(ctx, charged);
}

static restate_status pay(restate_ctx *ctx, restate_bytes input) {
    const restate_target bank = { .service = "Bank", .handler = "charge" };
    long long cents = 0, pause_ms = 0;
    restate_bytes charged;
    RESTATE_TRY(restate_json_int(ctx, input, "cents", &cents));
    RESTATE_TRY(restate_json_int(ctx, input, "pauseMillis", &pause_ms));
    RESTATE_TRY(restate_call(ctx, bank, restate_json(ctx, "%lld", cents), NULL, &charged));
    RESTATE_TRY(restate_sleep(ctx, (uint64_t)pause_ms));
    return restate_reply(ctx, restate_json(ctx, "{'paid': %-.*s}", RESTATE_ARG(charged)));
}

static const restate_service bank = { .name = "Bank", .handlers = RESTATE_HANDLERS({ RESTATE_HANDLER(charge) }) };
static const restate_service checkout = { .name = "Checkout", .handlers = RESTATE_HANDLERS({ RESTATE_HANDLER(pay) }) };

int main(void) {
    const char *port = getenv("PORT"), *collector = getenv("OTEL_EXPORTER_OTLP_ENDPOINT");
    pthread_t exporter;
    int result;
    if (collector && sscanf(collector, "http://%255[^:/]:%15[0-9]", otel.host, otel.port) < 1) return 1;
    otel.start_ns = now_ns();
    if (pthread_create(&exporter, NULL, export_spans, NULL) != 0) return 1;
    result = restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&checkout, &bank), .defaults = { .hooks = &hooks },
        .stop_on_signals = RESTATE_ON, .port = (uint16_t)(port ? atoi(port) : 9080) });
    pthread_mutex_lock(&otel.lock);
    otel.stop = true;
    pthread_cond_signal(&otel.stopped);
    pthread_mutex_unlock(&otel.lock);
    pthread_join(exporter, NULL);                       /* it sends what there is */
    return result;
}
