/* Journals as the admin API gives them, made of scripted frames (journal.c):
 *
 *     input("\"ada\""); cmd_run(1, "mail"); note_value(N_RUN, 1, "null");     // the script
 *     rows((about){ .service = "S", .handler = "h" });                        // becomes rows
 *     restate_journal_check(endpoint, rows_json(), counts);
 *
 * It shares no code with the library: own names of entries, own hex. What rows_json() gives is memory
 * of its exact size, so that a sanitizer sees who reads beyond it. */
#ifndef SUPPORT_RECORD_C
#define SUPPORT_RECORD_C

#include "journal.c"

#define RECORD_ID "inv_1foAirY4KKzi1ZrRwNJaEprfuE5in9mcaf"

typedef struct about {
    const char *service, *key, *handler;    /* S, none, h */
    const char *id;                         /* RECORD_ID */
    unsigned version;                       /* 6 */
    bool no_version;
    const char *more;                       /* columns, such as ",\"scope\":\"s\"" */
    unsigned first;                         /* index of the first row */
    int rows_max;                           /* 0: all */
} about;

static rt_bytes rows_text;                  /* the rows so far */
static uint8_t *rows_copy;                  /* what rows_json() gave last */

static inline const char *rows_type(unsigned type) {
    static const struct { unsigned type; const char *name; } names[] = {
        { 0x0400, "Command: Input" }, { 0x0401, "Command: Output" }, { 0x0402, "Command: GetLazyState" },
        { 0x0403, "Command: SetState" }, { 0x0404, "Command: ClearState" }, { 0x0405, "Command: ClearAllState" },
        { 0x0406, "Command: GetLazyStateKeys" }, { 0x0407, "Command: GetEagerState" },
        { 0x0408, "Command: GetEagerStateKeys" }, { 0x0409, "Command: GetPromise" },
        { 0x040A, "Command: PeekPromise" }, { 0x040B, "Command: CompletePromise" }, { 0x040C, "Command: Sleep" },
        { 0x040D, "Command: Call" }, { 0x040E, "Command: OneWayCall" }, { 0x0410, "Command: SendSignal" },
        { 0x0411, "Command: Run" }, { 0x0412, "Command: AttachInvocation" },
        { 0x0413, "Command: GetInvocationOutput" }, { 0x0414, "Command: CompleteAwakeable" },
        { 0x8002, "Notification: GetLazyState" }, { 0x8006, "Notification: GetLazyStateKeys" },
        { 0x8009, "Notification: GetPromise" }, { 0x800A, "Notification: PeekPromise" },
        { 0x800B, "Notification: CompletePromise" }, { 0x800C, "Notification: Sleep" },
        { 0x800D, "Notification: Call" }, { 0x800E, "Notification: CallInvocationId" },
        { 0x8011, "Notification: Run" }, { 0x8012, "Notification: AttachInvocation" },
        { 0x8013, "Notification: GetInvocationOutput" }, { 0xFBFF, "Notification: Signal" }
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].type == type) return names[i].name;
    return "Command: Unheard";
}

/* A row as it is given. */
static inline void row(const char *json) { rt_print(&rows_text, "%s%s", rows_text.len ? "," : "", json); }

static inline void rows_row(const about *a, unsigned index, unsigned type, const uint8_t *body, size_t len) {
    rt_print(&rows_text, "%s{\"index\":%u,\"entry_type\":\"%s\"", rows_text.len ? "," : "", index, rows_type(type));
    if (len) rt_print(&rows_text, ",\"raw\":\"");
    for (size_t i = 0; i < len; i++) rt_print(&rows_text, "%02x", body[i]);
    if (len) rt_print(&rows_text, "\"");
    rt_print(&rows_text, ",\"id\":\"%s\",\"target_service_name\":\"%s\"", a->id ? a->id : RECORD_ID,
             a->service ? a->service : "S");
    if (a->key) rt_print(&rows_text, ",\"target_service_key\":\"%s\"", a->key);
    rt_print(&rows_text, ",\"target_handler_name\":\"%s\"", a->handler ? a->handler : "h");
    if (!a->no_version)
        rt_print(&rows_text, ",\"pinned_service_protocol_version\":%u", a->version ? a->version : 6);
    rt_print(&rows_text, ",\"created_at\":\"2026-11-28T11:13:34.274Z\"%s}", a->more ? a->more : "");
}

/* The script so far as the journal of one invocation, which it stays. */
static inline void rows(about a) {
    size_t at = 0;
    for (unsigned i = 0; at < rt_script.len; i++) {
        const uint8_t *p = rt_script.at + at;
        size_t len = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
        if (!a.rows_max || i < (unsigned)a.rows_max)
            rows_row(&a, a.first + i, (unsigned)(p[0] << 8 | p[1]), p + 8, len);
        at += 8 + len;
    }
}

/* How many entries the script has. */
static inline unsigned script_entries(void) {
    unsigned n = 0;
    for (size_t at = 0; at < rt_script.len; n++) {
        const uint8_t *p = rt_script.at + at;
        at += 8 + ((size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7]);
    }
    return n;
}

/* These bytes, in memory of their size. */
static inline restate_bytes exactly(const void *at, size_t len) {
    free(rows_copy);
    rows_copy = (uint8_t *)malloc(len ? len : 1);
    if (!rows_copy) abort();
    if (len) memcpy(rows_copy, at, len);
    return restate__b(rows_copy, len);
}

/* All rows so far, as an answer; they are gone afterwards, and so is the script. */
static inline restate_bytes rows_json(void) {
    rt_bytes all = { NULL, 0, 0 };
    restate_bytes copy;
    rt_print(&all, "{\"rows\":[");
    rt_add(&all, rows_text.at, rows_text.len);
    rt_print(&all, "]}");
    copy = exactly(all.at, all.len);
    rt_drop(&all);
    rows_text.len = rt_script.len = 0;
    return copy;
}

static inline void rows_free(void) {
    free(rows_copy);
    rows_copy = NULL;
    rt_drop(&rows_text);
    rt_drop(&rt_script);
}

#endif
