/* The test services: one program that offers every service of the contract for Restate SDKs, so
 * that a driver can see from outside whether this one conforms.
 *
 * Build, in the directory of restate.h:
 *     make build/test-services
 * Environment:
 *     PORT                 what to listen on; 9080
 *     THREADS              how many event loops; as many as there are cores
 *     SERVICES             names of those to offer, separated by commas; unset, empty or *: all
 *     E2E_REQUEST_SIGNING  public keys (publickeyv1_...), separated by commas: requests have to be
 *                          signed by one of them. Takes a build with request identity:
 *         make build/test-services CPPFLAGS=-DRESTATE_WITH_OPENSSL LDLIBS=-lcrypto
 *     TLS_CERTIFICATE      a file: requests come over TLS; with TLS_KEY, and, if clients need a
 *                          certificate, TLS_CLIENT_CA. Takes such a build, too (and -lssl)
 * SIGTERM and SIGINT stop it. With the arguments --check FILE it does not serve, but tells whether the
 * journals in that file, which a query of a server's admin API has given, fit its code. */
#define RESTATE_IMPLEMENTATION
#include "services.h"
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "support/check.c"

static const restate_service *const all_services[] = {
    &counter_service, &list_object, &map_object, &proxy, &test_utils, &failing, &awakeable_holder,
    &cancel_test_runner, &cancel_test_blocking, &kill_test_runner, &kill_test_singleton,
    &non_deterministic, &block_and_wait, &command_interpreter, &object_interpreters[0],
    &object_interpreters[1], &object_interpreters[2], &interpreter_helper };
#define SERVICES_COUNT (sizeof all_services / sizeof *all_services)

/* ---- Environment ----------------------------------------------------------------------------- */

static char *trim(char *name) {
    char *end = name + strlen(name);
    while (isspace((unsigned char)*name)) name++;
    while (end > name && isspace((unsigned char)end[-1])) *--end = 0;
    return name;
}

/* "a, b" -> { "a", "b", NULL }, in one piece of memory; empty names are left out. */
static char **split(const char *list) {
    size_t most = 1, n = 0, i;
    char **names, *text, *name;
    for (i = 0; list[i]; i++) most += list[i] == ',';
    names = calloc(1, (most + 1) * sizeof *names + i + 1);
    if (!names) {
        fprintf(stderr, "test-services: out of memory\n");
        exit(1);
    }
    text = (char *)(names + most + 1);
    memcpy(text, list, i + 1);
    for (name = strtok(text, ","); name; name = strtok(NULL, ",")) {
        name = trim(name);
        if (*name) names[n++] = name;
    }
    return names;
}

/* A variable's value; NULL if it is unset or empty. */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static long chosen_number(const char *name, long otherwise, long most) {
    const char *text = variable(name);
    char *end;
    long n = text ? strtol(text, &end, 10) : otherwise;
    if (!text || (!*end && n > 0 && n <= most)) return n;
    fprintf(stderr, "test-services: %s=%s is not a number from 1 to %ld\n", name, text, most);
    exit(1);
}

/* The place of a service in the list; SERVICES_COUNT: there is none of that name. */
static size_t find_service(const char *name) {
    size_t i = 0;
    while (i < SERVICES_COUNT && strcmp(all_services[i]->name, name) != 0) i++;
    return i;
}

/* Marks those that a list names. Returns false if it names none in particular. */
static bool mark_services(char *const *names, bool *wanted) {
    bool some = *names != NULL;
    for (; *names; names++) {
        size_t i = find_service(*names);
        if (strcmp(*names, "*") == 0) {
            some = false;
        } else if (i < SERVICES_COUNT) {
            wanted[i] = true;
        } else {
            fprintf(stderr, "test-services: there is no service %s\n", *names);
            exit(1);
        }
    }
    return some;
}

/* Fills `chosen`, a list that ends with NULL. A name that comes twice counts once. */
static void choose_services(const restate_service **chosen) {
    const char *list = variable("SERVICES");
    char **names = split(list ? list : "");
    bool wanted[SERVICES_COUNT] = { false }, some = mark_services(names, wanted);
    size_t i;
    for (i = 0; i < SERVICES_COUNT; i++)
        if (!some || wanted[i]) *chosen++ = all_services[i];
    *chosen = NULL;
    free(names);
}

/* The keys that requests have to be signed with; NULL: none has to. A program that cannot check
 * signatures must not run when they are asked for: it would let everybody in. */
static char **signing_keys(void) {
    const char *keys = variable("E2E_REQUEST_SIGNING");
#ifndef RESTATE_WITH_OPENSSL
    if (keys) {
        fprintf(stderr, "test-services: E2E_REQUEST_SIGNING takes a build with "
                        "RESTATE_WITH_OPENSSL\n");
        exit(1);
    }
#endif
    return keys ? split(keys) : NULL;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static restate_endpoint *endpoint;          /* for the signal handler, which takes no argument */

static void on_signal(int number) {
    (void)number;
    restate_endpoint_stop(endpoint);
}

static void handle_signals(void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

int main(int argc, char **argv) {
    const char *journals = journals_to_check(argc, argv);
    const restate_service *services[SERVICES_COUNT + 1];
    char **keys = signing_keys();
    restate_endpoint_options options = {0};
    restate_status s;
    choose_services(services);
    options.services = services;
    options.port = (uint16_t)chosen_number("PORT", 9080, 65535);
    options.threads = (uint32_t)chosen_number("THREADS", 0, 1024);
    options.drain_ms = RESTATE_SECONDS(5);  /* who stops it kills it after 10 */
    options.certificate_file = variable("TLS_CERTIFICATE");
    options.key_file = variable("TLS_KEY");
    options.client_ca_file = variable("TLS_CLIENT_CA");
#ifdef RESTATE_WITH_OPENSSL
    options.identity_keys = (const char *const *)keys;
#endif
    endpoint = restate_endpoint_new(&options);
    free(keys);                             /* options are copied */
    if (journals) {
        int differ = check_journals(endpoint, journals);
        restate_endpoint_free(endpoint);
        return differ;
    }
    handle_signals(on_signal);
    s = restate_endpoint_run(endpoint);
    if (s != RESTATE_OK) fprintf(stderr, "test-services: %s\n", restate_endpoint_error(endpoint));
    handle_signals(SIG_IGN);                /* from here on there is nothing to stop */
    restate_endpoint_free(endpoint);
    return s != RESTATE_OK;
}
