/* Fan-out: a step and a call for every line of a text, all at the same time; gather the results.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/fan_out.c -o fan_out -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./fan_out
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server:
 *     curl localhost:8080/FanOut/process --json '["to be", "or not", "to be"]'
 *
 * Every translation takes a second; all of them together take a second, too. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <ctype.h>
#include <stdlib.h>

/* ---- Translator: into loud English ----------------------------------------------------------- */

static restate_status translate(restate_ctx *ctx, restate_bytes input) {
    const char *text = "";
    char *loud;
    size_t i;
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &text));
    RESTATE_TRY(restate_sleep(ctx, RESTATE_SECONDS(1)));
    loud = restate_alloc(ctx, input.len + 1);       /* zeroed; nobody has to free it */
    if (!loud) return RESTATE_ENDED;
    for (i = 0; text[i]; i++) loud[i] = (char)toupper((unsigned char)text[i]);
    return restate_reply(ctx, restate_json(ctx, "%s", loud));
}

static const restate_service translator = { .name = "Translator", .handlers = RESTATE_HANDLERS(
    { .name = "translate", .fn = translate }) };

/* ---- FanOut ---------------------------------------------------------------------------------- */

typedef struct job {
    const char *text;
} job;

static restate_status count_words(restate_ctx *run, void *arg) {
    const job *j = arg;
    const char *p;
    int words = 0;
    for (p = j->text; *p; p++) {
        bool ends = !p[1] || isspace((unsigned char)p[1]);
        words += ends && !isspace((unsigned char)*p);
    }
    return restate_reply(run, restate_json(run, "%d", words));
}

static restate_status process(restate_ctx *ctx, restate_bytes input) {
    const restate_target to = { .service = "Translator", .handler = "translate" };
    const restate_run_options copied = { .arg_bytes = sizeof(job) };
    restate_bytes line = { 0 };
    restate_future **all, **counts, **texts;
    const char *text = "";
    long long words = 0;
    size_t i, n = 0;
    while (restate_json_next(ctx, input, &line)) n++;
    all = restate_alloc(ctx, 2 * n * sizeof *all);
    if (!all) return RESTATE_ENDED;
    counts = all;
    texts = all + n;

    for (i = 0; restate_json_next(ctx, input, &line); i++) {
        job j = { "" };             /* copied by run_async: this one is gone when the step runs */
        RESTATE_TRY(restate_json_string(ctx, line, NULL, &j.text));
        counts[i] = restate_run_async(ctx, "count", count_words, &j, &copied);
        texts[i] = restate_call_async(ctx, to, line, NULL);
    }
    RESTATE_TRY(restate_await(ctx, restate_all(ctx, all, 2 * n), NULL));  /* or the first failure */

    for (i = 0; i < n; i++) {       /* all are settled: nothing waits here */
        restate_bytes value;
        long long count = 0;
        const char *translated = "";
        RESTATE_TRY(restate_await(ctx, counts[i], &value));
        RESTATE_TRY(restate_json_int(ctx, value, NULL, &count));
        RESTATE_TRY(restate_await(ctx, texts[i], &value));
        RESTATE_TRY(restate_json_string(ctx, value, NULL, &translated));
        words += count;
        text = restate_text(ctx, "%s%s\n", text, translated);
    }
    return restate_reply(ctx, restate_json(ctx, "{'words': %lld, 'text': %s}", words, text));
}

static const restate_service fan = { .name = "FanOut", .handlers = RESTATE_HANDLERS(
    { .name = "process", .fn = process }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&fan, &translator),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
