/* Calls a handler through the server's ingress, so and so many calls at a time, for the benchmarks.
 *
 *     build/bench-load SECONDS CONCURRENCY URL BODY [ANSWER]
 *
 * prints how many calls were right, how many were not (status, or not ANSWER), seconds, and the
 * medians and 99th percentiles of their times in milliseconds: "RIGHT WRONG SECONDS P50 P99".
 *
 * An asterisk in URL is the number of the call modulo 4096: as a key, so that no two calls at a
 * time want the same one. After SECONDS no calls start; those under way are waited for. One
 * connection per call at a time, HTTP/1.1, kept open. */
#define _POSIX_C_SOURCE 200809L
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEYS = 4096 };

static const char *url, *body, *expected;
static struct curl_slist *headers;
static CURLM *multi;
static unsigned long started, wrong;
static double *times;                       /* of those that were right */
static size_t right, capacity;

typedef struct call {
    CURL *easy;
    double since;
    char answer[64];
    size_t len;                             /* of the answer; may be more than there is room for */
} call;

static void die(const char *what) {
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t receive(char *piece, size_t one, size_t len, void *to) {
    call *c = (call *)to;
    if (c->len + len <= sizeof c->answer) memcpy(c->answer + c->len, piece, len);
    c->len += one * len;
    return one * len;
}

static void start(call *c) {
    char numbered[1024];
    const char *star = strchr(url, '*');
    if (star) {
        snprintf(numbered, sizeof numbered, "%.*s%lu%s", (int)(star - url), url, started % KEYS,
                 star + 1);
        curl_easy_setopt(c->easy, CURLOPT_URL, numbered);
    }
    started++;
    c->len = 0;
    c->since = now();
    if (curl_multi_add_handle(multi, c->easy) != CURLM_OK) die("cannot start a call");
}

static void finish(call *c, CURLcode result) {
    double took = now() - c->since;
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(multi, c->easy);
    if (result != CURLE_OK || status != 200 ||
        (expected && (c->len != strlen(expected) || memcmp(c->answer, expected, c->len) != 0))) {
        if (!wrong++)
            fprintf(stderr, "load: %s: %s, status %ld, %.*s\n", url, curl_easy_strerror(result),
                    status, (int)(c->len < sizeof c->answer ? c->len : 0), c->answer);
        return;
    }
    if (right == capacity) {
        capacity = 2 * capacity + 1024;
        times = (double *)realloc(times, capacity * sizeof *times);
        if (!times) die("no memory");
    }
    times[right++] = took;
}

static void prepare(call *c) {
    c->easy = curl_easy_init();
    if (!c->easy) die("no memory");
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_URL, url);
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
}

/* After the first wrong answer no calls start, either: what fails fast shall not look fast. */
static void load(double seconds, size_t concurrency) {
    call *calls = (call *)calloc(concurrency, sizeof *calls), *c;
    double until = now() + seconds;
    int under_way = (int)concurrency, waiting;
    CURLMsg *message;
    size_t i;
    if (!calls) die("no memory");
    for (i = 0; i < concurrency; i++) prepare(&calls[i]);
    for (i = 0; i < concurrency; i++) start(&calls[i]);
    while (under_way > 0) {
        curl_multi_perform(multi, &waiting);
        while ((message = curl_multi_info_read(multi, &waiting)) != NULL) {
            if (message->msg != CURLMSG_DONE) continue;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &c);
            finish(c, message->data.result);
            if (wrong == 0 && now() < until) start(c);
            else under_way--;
        }
        if (under_way > 0) curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    for (i = 0; i < concurrency; i++) curl_easy_cleanup(calls[i].easy);
    free(calls);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    double seconds, begin;
    long concurrency;
    if (argc != 5 && argc != 6) die("usage: SECONDS CONCURRENCY URL BODY [ANSWER]");
    seconds = strtod(argv[1], NULL);
    concurrency = strtol(argv[2], NULL, 10);
    if (concurrency < 1 || concurrency > KEYS) die("CONCURRENCY is 1 to 4096");
    url = argv[3];
    body = argv[4];
    expected = argv[5];
    curl_global_init(CURL_GLOBAL_DEFAULT);
    headers = curl_slist_append(NULL, "content-type: application/json");
    multi = curl_multi_init();
    if (!headers || !multi) die("no memory");
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, concurrency);
    begin = now();
    load(seconds, (size_t)concurrency);
    seconds = now() - begin;
    if (right) qsort(times, right, sizeof *times, compare);
    printf("%zu %lu %.3f %.3f %.3f\n", right, wrong, seconds, right ? times[right / 2] * 1e3 : 0,
           right ? times[right * 99 / 100] * 1e3 : 0);
    free(times);
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    curl_global_cleanup();
    return wrong != 0;
}
