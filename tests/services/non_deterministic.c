/* NonDeterministic: handlers that break the rule on purpose, and take another way in every second
 * attempt. The library has to notice (error 570) before anything of the new way gets out. */
#include "services.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- How often handlers were entered, per key of the object ---------------------------------- */

typedef struct entered {
    struct entered *next;
    unsigned long times;
    char key[];
} entered;

static entered *all_entered;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* NULL: out of memory. */
static entered *find_or_add(const char *key) {
    entered *e = all_entered;
    while (e && strcmp(e->key, key) != 0) e = e->next;
    if (e) return e;
    e = calloc(1, sizeof *e + strlen(key) + 1);
    if (!e) return NULL;
    strcpy(e->key, key);
    e->next = all_entered;
    all_entered = e;
    return e;
}

/* The times that handlers of this key were entered, this one included. 0: out of memory. */
static unsigned long count_entry(const char *key) {
    unsigned long times;
    entered *e;
    pthread_mutex_lock(&lock);
    e = find_or_add(key);
    times = e ? ++e->times : 0;
    pthread_mutex_unlock(&lock);
    return times;
}

static restate_status enter(restate_ctx *ctx, bool *left) {
    unsigned long times = count_entry(restate_key(ctx));
    if (!times) return restate_retry(ctx, NULL, "out of memory");
    *left = times % 2 == 1;
    return RESTATE_OK;
}

/* ---- The handlers ---------------------------------------------------------------------------- */

static const restate_target abc_get = { .service = "Counter", .handler = "get", .key = "abc" };
static const restate_target abc_reset = { .service = "Counter", .handler = "reset", .key = "abc" };

static restate_status call(restate_ctx *ctx, restate_target to) {
    return restate_call(ctx, to, (restate_bytes){0}, NULL, NULL);
}

/* What all of them do after they went left or right. */
static restate_status count_in_counter(restate_ctx *ctx) {
    const restate_target add = { .service = "Counter", .handler = "add", .key = restate_key(ctx) };
    RESTATE_TRY(restate_sleep(ctx, 100));
    restate_send(ctx, add, restate_json(ctx, "1"), NULL);
    return RESTATE_OK;
}

static restate_status either_sleep_or_call(restate_ctx *ctx, restate_bytes input) {
    bool left;
    (void)input;
    RESTATE_TRY(enter(ctx, &left));
    RESTATE_TRY(left ? restate_sleep(ctx, 100) : call(ctx, abc_get));
    return count_in_counter(ctx);
}

static restate_status call_different_method(restate_ctx *ctx, restate_bytes input) {
    bool left;
    (void)input;
    RESTATE_TRY(enter(ctx, &left));
    RESTATE_TRY(call(ctx, left ? abc_get : abc_reset));
    return count_in_counter(ctx);
}

static restate_status send_to_different_targets(restate_ctx *ctx, restate_bytes input) {
    bool left;
    (void)input;
    RESTATE_TRY(enter(ctx, &left));
    restate_send(ctx, left ? abc_get : abc_reset, (restate_bytes){0}, NULL);
    return count_in_counter(ctx);
}

static restate_status set_different_key(restate_ctx *ctx, restate_bytes input) {
    bool left;
    (void)input;
    RESTATE_TRY(enter(ctx, &left));
    RESTATE_TRY(restate_set(ctx, left ? "a" : "b", restate_json(ctx, "'my-state'")));
    return count_in_counter(ctx);
}

const restate_service non_deterministic = {
    .name = "NonDeterministic", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
        { .name = "eitherSleepOrCall", .fn = either_sleep_or_call,
          .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "callDifferentMethod", .fn = call_different_method,
          .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "backgroundInvokeWithDifferentTargets", .fn = send_to_different_targets,
          .input = RESTATE_VOID, .output = RESTATE_VOID },
        { .name = "setDifferentKey", .fn = set_different_key,
          .input = RESTATE_VOID, .output = RESTATE_VOID }) };
