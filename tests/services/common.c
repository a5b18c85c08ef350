/* What several of the test services need. */
#include "services.h"
#include <string.h>
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

restate_bytes append_json(restate_ctx *ctx, restate_bytes list, restate_bytes element) {
    restate_bytes first = {0}, longer;
    size_t old = restate_json_next(ctx, list, &first) ? list.len - 1 : 0;
    uint8_t *to = restate_alloc(ctx, old + element.len + 3);
    if (!to || !element.ptr) return (restate_bytes){0};
    longer.ptr = to;
    if (old) memcpy(to, list.ptr, old);
    to[old] = old ? ',' : '[';
    memcpy(to + old + 1, element.ptr, element.len);
    to[old + 1 + element.len] = ']';
    longer.len = old + element.len + 2;
    return longer;
}

restate_status append_text(restate_ctx *ctx, const char *key, restate_bytes text) {
    restate_bytes list;
    RESTATE_TRY(restate_get(ctx, key, &list));
    return restate_set(ctx, key, append_json(ctx, list, restate_json_quote(ctx, text)));
}

restate_status read_text(restate_ctx *ctx, restate_bytes json, const char *member,
                         restate_bytes *text) {
    *text = restate_str("");
    return restate_json_text(ctx, json, member, text);
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
