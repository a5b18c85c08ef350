/* Serves the services of another file, and calls them from lines of text:
 *
 *     PROGRAM memory on|off <CALLS      by the runtime for tests; on: it suspends at every wait
 *     PROGRAM serve PORT                for a server, until a signal comes
 *     PROGRAM schemas                   compares the JSON schemas that were generated with those that the
 *                                       codecs make themselves
 *
 * A line is `SERVICE[/KEY]/HANDLER BODY => REPLY`, where the body - is none. Each line is written again,
 * with the reply that there was (of a failure "CODE MESSAGE"), so what is written should be what was read. */
#include "call.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cuts a path in place. */
static restate_target target_of(char *path) {
    restate_target to = { .service = path };
    char *first = strchr(path, '/'), *last = strrchr(path, '/');
    if (!first) return to;
    *first++ = 0;
    *last++ = 0;
    to.handler = last;
    if (last != first) to.key = first;
    return to;
}

static void call(restate_client *client, char *line) {
    restate_ctx *ctx = restate_client_begin(client);
    char *body = strchr(line, ' '), *end = strstr(line, " => ");
    restate_bytes input = { NULL, 0 }, reply;
    if (!body || !end || end < body) return;
    *end = 0;
    printf("%s => ", line);
    *body++ = 0;
    if (strcmp(body, "-") != 0) input = restate_str(body);
    if (restate_call(ctx, target_of(line), input, NULL, &reply) == RESTATE_OK)
        printf("%.*s\n", (int)reply.len, reply.len ? (const char *)reply.ptr : "");
    else
        printf("%d %s\n", restate_failed(ctx)->code, restate_failed(ctx)->message);
    restate_client_end(ctx);
}

static int memory(bool suspend) {
    restate_endpoint *endpoint =
        restate_endpoint_new(&(restate_endpoint_options){ .services = served() });
    restate_client *client = restate_test_new(&(restate_test_options){
        .endpoint = endpoint, .suspend = suspend ? RESTATE_ON : RESTATE_OFF });
    static char line[65536];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        call(client, line);
    }
    restate_client_free(client);
    restate_endpoint_free(endpoint);
    return 0;
}

/* ---- Schemas ------------------------------------------------------------------------------------- */

/* A title is the name of the .proto file in one, and that of C in the other. */
static char *with_c_titles(const char *schema) {
    static const char title[] = "\"title\":\"";
    char *copy = malloc(strlen(schema) + 1), *at;
    if (!copy) abort();
    strcpy(copy, schema);
    for (at = copy; (at = strstr(at, title)) != NULL;)
        for (at += sizeof title - 1; *at != '"'; at++)
            if (*at == '.') *at = '_';
    return copy;
}

/* Whether they differ. Comments of fields, the order of the names of an enum, and titles that nanopb was told
 * are not in the descriptors; the services with such have other tests. */
static int differs(const restate_service *s, const restate_codec *c) {
    size_t len = c->describe && c->json_schema ? c->describe(c, NULL, 0) : 0;
    char *made, *generated;
    int different;
    if (!len || strncmp(s->name, "comments", 8) == 0 || strncmp(s->name, "strip", 5) == 0 ||
        strncmp(s->name, "enums", 5) == 0)
        return 0;
    made = malloc(len + 1);
    generated = with_c_titles(c->json_schema);
    if (!made) abort();
    c->describe(c, made, len + 1);
    different = strcmp(made, generated) != 0;
    if (different) printf("%s:\n  generated %s\n  made      %s\n", s->name, generated, made);
    free(made);
    free(generated);
    return different;
}

static int schemas(void) {
    const restate_service *const *s;
    const restate_handler *h;
    int different = 0;
    for (s = served(); *s; s++)
        for (h = (*s)->handlers; h->name; h++) {
            if (h->input) different += differs(*s, h->input);
            if (h->output) different += differs(*s, h->output);
        }
    return different != 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "memory") == 0) return memory(strcmp(argv[2], "on") == 0);
    if (argc == 2 && strcmp(argv[1], "schemas") == 0) return schemas();
    if (argc != 3 || strcmp(argv[1], "serve") != 0) return 2;
    return restate_serve(&(restate_endpoint_options){ .services = served(), .address = "127.0.0.1",
                                                      .port = (uint16_t)atoi(argv[2]) });
}
