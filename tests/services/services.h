/* What the files of the test services share. Names, payloads and failures of these services are not
 * this project's to choose: they are those of the contract that every Restate SDK is tested by. */
#ifndef SERVICES_H
#define SERVICES_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L             /* -std=c99 hides sigaction(), nanosleep() and others */
#endif
#include "restate.h"

/* ---- The services, by file ------------------------------------------------------------------- */

extern const restate_service counter_service, list_object, map_object;             /* state.c */
extern const restate_service proxy, test_utils;                                    /* calls.c */
extern const restate_service failing;                                              /* failures.c */
extern const restate_service non_deterministic;                            /* non_deterministic.c */
extern const restate_service awakeable_holder, block_and_wait;                     /* waiting.c */
extern const restate_service cancel_test_runner, cancel_test_blocking;             /* cancel.c */
extern const restate_service kill_test_runner, kill_test_singleton;                /* cancel.c */
extern const restate_service command_interpreter;                                  /* commands.c */
extern const restate_service object_interpreters[3], interpreter_helper;           /* programs.c */

/* ---- What several of them need: common.c ----------------------------------------------------- */

/* A state value that is an integer, 0 if missing. */
restate_status get_int(restate_ctx *ctx, const char *key, long long *value);

/* Adds to it, and tells what it was and what it is. Wraps around: the input is anybody's. */
restate_status add_int(restate_ctx *ctx, const char *key, long long number, long long *before,
                       long long *after);

/* A text, "" if missing: strings of the contract may hold any character, \u0000 included. */
restate_status read_text(restate_ctx *ctx, restate_bytes json, const char *member,
                         restate_bytes *text);

/* A JSON array, as this gave it, or none yet, with one more element. */
restate_bytes append_json(restate_ctx *ctx, restate_bytes list, restate_bytes element);

/* Makes a state value that is such an array of strings longer by a text. */
restate_status append_text(restate_ctx *ctx, const char *key, restate_bytes text);

/* Replies with a state value, or, where there is none, with the JSON text `missing`. */
restate_status reply_state(restate_ctx *ctx, const char *key, const char *missing);

/* Replies with whether there is such a state value. */
restate_status reply_has_state(restate_ctx *ctx, const char *key);

/* A member of a JSON object as milliseconds; absent, null and what is below 0 count as 0. */
restate_status read_ms(restate_ctx *ctx, restate_bytes json, const char *member, uint64_t *ms);

/* Takes a millisecond, blocking its thread: for closures. */
void take_a_moment(void);

#endif
