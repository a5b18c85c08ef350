/* What several of the test services need. */
#include "services.h"
#include <cjson/cJSON.h>
#include <time.h>

restate_status get_int(restate_ctx *ctx, const char *key, long long *value) {
    restate_bytes stored;
    *value = 0;
    RESTATE_TRY(restate_get(ctx, key, &stored));
    return restate_json_int(ctx, stored, NULL, value);
}

restate_status add_int(restate_ctx *ctx, const char *key, long long number, long long *before,
                       long long *after) {
    RESTATE_TRY(get_int(ctx, key, before));
    *after = (long long)((unsigned long long)*before + (unsigned long long)number);
    return restate_set(ctx, key, restate_json(ctx, "%lld", *after));
}

restate_status get_list(restate_ctx *ctx, const char *key, struct cJSON **list) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, key, &stored));
    RESTATE_TRY(restate_json_tree(ctx, stored, list));
    if (!*list) *list = restate_json_own(ctx, cJSON_CreateArray());
    return RESTATE_OK;
}

restate_status reply_state(restate_ctx *ctx, const char *key, const char *missing) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, key, &stored));
    return restate_reply(ctx, stored.ptr ? stored : restate_str(missing));
}

restate_status reply_has_state(restate_ctx *ctx, const char *key) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, key, &stored));
    return restate_reply(ctx, restate_str(stored.ptr ? "true" : "false"));
}

restate_status read_ms(restate_ctx *ctx, restate_bytes json, const char *member, uint64_t *ms) {
    long long number = 0;
    RESTATE_TRY(restate_json_int(ctx, json, member, &number));
    *ms = number > 0 ? (uint64_t)number : 0;
    return RESTATE_OK;
}

void take_a_moment(void) {
    const struct timespec t = { 0, 1000000 };
    nanosleep(&t, NULL);
}
