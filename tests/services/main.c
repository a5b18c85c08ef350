/* The test services: one program that offers every service of the contract for Restate SDKs, so
 * that a driver can see from outside whether this one conforms.
 *
 * Build, in the directory of restate.h:
 *     make build/test-services
 * Environment:
 *     PORT                 what to listen on; 9080
 *     SERVICES             names of those to offer, separated by commas; unset, empty or *: all
 *     E2E_REQUEST_SIGNING  public keys (publickeyv1_...), separated by commas: requests have to be
 *                          signed by one of them. Takes a build with request identity:
 *         make build/test-services CPPFLAGS=-DRESTATE_WITH_OPENSSL LDLIBS=-lcrypto
 * SIGTERM and SIGINT stop it. */
#define RESTATE_IMPLEMENTATION
#include "services.h"
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const restate_service *const all_services[] = {
    &counter_service, &list_object, &map_object, &proxy, &test_utils, &failing, &awakeable_holder,
    &cancel_test_runner, &cancel_test_blocking, &kill_test_runner, &kill_test_singleton,
    &non_deterministic, &block_and_wait, &command_interpreter, &object_interpreters[0],
    &object_interpreters[1], &object_interpreters[2], &interpreter_helper };
#define SERVICES_COUNT (sizeof all_services / sizeof *all_services)

/* ---- Environment ----------------------------------------------------------------------------- */

static void *checked(void *memory) {
    if (memory) return memory;
    fprintf(stderr, "test-services: out of memory\n");
    exit(1);
}

/* The length of a name without the blanks at its end. */
static size_t trimmed(const char *name, size_t len) {
    while (len > 0 && isspace((unsigned char)name[len - 1])) len--;
    return len;
}

/* "a, b" -> { "a", "b", NULL }; empty names are left out. For as long as the program runs. */
static char **split(const char *list) {
    char **names = checked(calloc(strlen(list) + 2, sizeof *names));
    size_t n = 0;
    for (;;) {
        size_t len, end;
        while (isspace((unsigned char)*list)) list++;
        end = strcspn(list, ",");
        len = trimmed(list, end);
        if (len > 0) {
            names[n] = checked(calloc(1, len + 1));
            memcpy(names[n++], list, len);
        }
        if (!list[end]) return names;
        list += end + 1;
    }
}

/* A variable's value; NULL if it is unset or empty. */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static uint16_t chosen_port(void) {
    const char *text = variable("PORT");
    char *end;
    long port = text ? strtol(text, &end, 10) : 9080;
    if (!text || (!*end && port > 0 && port <= 65535)) return (uint16_t)port;
    fprintf(stderr, "test-services: PORT=%s is no port\n", text);
    exit(1);
}

/* The place of a service in the list; SERVICES_COUNT: there is none of that name. */
static size_t find_service(const char *name) {
    size_t i = 0;
    while (i < SERVICES_COUNT && strcmp(all_services[i]->name, name) != 0) i++;
    return i;
}

/* Fills `chosen`, a list that ends with NULL. A name that comes twice counts once. */
static void choose_services(const restate_service **chosen) {
    const char *list = variable("SERVICES");
    char **names = split(list ? list : "");
    bool all = !names[0], wanted[SERVICES_COUNT] = { false };
    size_t i;
    for (; *names; names++) {
        i = find_service(*names);
        if (strcmp(*names, "*") == 0) {
            all = true;
        } else if (i < SERVICES_COUNT) {
            wanted[i] = true;
        } else {
            fprintf(stderr, "test-services: there is no service %s\n", *names);
            exit(1);
        }
    }
    for (i = 0; i < SERVICES_COUNT; i++)
        if (all || wanted[i]) *chosen++ = all_services[i];
    *chosen = NULL;
}

/* With keys that it cannot check the program must not run: it would let everybody in. */
static void require_signatures(restate_endpoint_options *options) {
    const char *keys = variable("E2E_REQUEST_SIGNING");
    if (!keys) return;
#ifdef RESTATE_WITH_OPENSSL
    options->identity_keys = (const char *const *)split(keys);
#else
    (void)options;
    fprintf(stderr, "test-services: E2E_REQUEST_SIGNING needs a build with RESTATE_WITH_OPENSSL\n");
    exit(1);
#endif
}

/* ---- Life ------------------------------------------------------------------------------------ */

static restate_endpoint *endpoint;          /* for the signal handler, which takes no argument */

static void on_signal(int number) {
    (void)number;
    restate_endpoint_stop(endpoint);
}

static void stop_on_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

int main(void) {
    const restate_service *services[SERVICES_COUNT + 1];
    restate_endpoint_options options = {0};
    restate_status s;
    choose_services(services);
    options.services = services;
    options.port = chosen_port();
    options.drain_ms = RESTATE_SECONDS(5);  /* who stops it kills it after 10 */
    require_signatures(&options);

    endpoint = restate_endpoint_new(&options);
    stop_on_signals();
    s = restate_endpoint_run(endpoint);
    if (s != RESTATE_OK) fprintf(stderr, "test-services: %s\n", restate_endpoint_error(endpoint));
    restate_endpoint_free(endpoint);
    return s != RESTATE_OK;
}
