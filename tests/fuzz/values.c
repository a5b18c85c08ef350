/* Fuzz target: JSON, formats, and messages in both their forms: the cases of differential_json.c.
 *
 * The first byte says what is done, as `it.kind`; with RAW what follows is the document or the
 * message, else its bytes choose how one is made. The second byte says which message, the third one
 * what is chosen beside a raw one. What was written must be valid JSON, and what was read must come
 * back from both forms as it was. */
#define CHOICES
#include "../differential_json.c"

#include "support/allocator.c"

#include "main.h"

enum { HEAD = 4, RAW = 128, OTHER = 64 };

static struct { const uint8_t *at, *end; } choices;
static mem_counts memory;

static uint64_t next(void) {
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++)
        n = n << 8 | (choices.at < choices.end ? *choices.at++ : splitmix() >> 56);
    return n;
}

static unsigned below(size_t n) {
    unsigned value;
    if (n <= 1 || choices.at == choices.end) return n > 1 ? (unsigned)(splitmix() >> 33) % n : 0;
    value = *choices.at++;
    if (n > 256 && choices.at < choices.end) value = value << 8 | *choices.at++;
    return value % (unsigned)n;
}

/* ---- What is demanded ------------------------------------------------------------------------ */

static restate_bytes written(restate_ctx *ctx, restate_bytes json) {
    restate__json_scan s = restate__json_scan_of(json);
    (void)ctx;
    REQUIRE(!json.ptr || restate__json_document(&s));
    return json;
}

static bool same(restate_bytes a, restate_bytes b) {
    return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len));
}

/* Written, read and written again: the same. `*first` is absent if it could not be written. */
static void once_more(restate_ctx *ctx, const restate_codec *codec, const void *message,
                      any_message *again, restate_bytes *first) {
    restate_bytes second = { 0, 0 };
    if (codec->encode(codec, ctx, message, first) != RESTATE_OK) {
        *first = bytes_of(NULL, 0);
        return;
    }
    memset(again, 0x55, sizeof *again);
    REQUIRE(codec->decode(codec, ctx, *first, again) == RESTATE_OK);
    REQUIRE(codec->encode(codec, ctx, again, &second) == RESTATE_OK);
    REQUIRE(same(*first, second));
}

static void read_back(restate_ctx *ctx, const restate_codec *binary, const restate_codec *json,
                      const void *message) {
    any_message *again = (any_message *)malloc(sizeof *again);
    restate_bytes as_binary, as_json, other = { 0, 0 };
    if (!again) abort();
    if (memory.fail_at) {                   /* then nothing has to work */
        free(again);
        return;
    }
    once_more(ctx, binary, message, again, &as_binary);
    if (as_binary.ptr && json->encode(json, ctx, again, &other) == RESTATE_OK) {
        once_more(ctx, json, message, again, &as_json);
        REQUIRE(same(as_json, other));
        written(ctx, as_json);
    }
    free(again);
}

/* ---- Runs and seeds -------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    static text input;
    restate_endpoint_options o = { .services = NULL };
    restate_endpoint *endpoint;
    bool raw;
    if (len < HEAD) return 0;
    raw = (at[0] & RAW) != 0;
    random_state = at[2];
    told.len = input.len = 0;
    o.allocator = mem_allocator(&memory);
    endpoint = endpoint_new(o);
    choices.at = at + HEAD, choices.end = at + len;
    it.kind = (at[0] & 31) % 20, it.other = (at[0] & OTHER) != 0;
    it.codecs = &all_codecs[at[1] % COUNT(all_codecs)];
    if (!raw) make_some(&input);
    else {
        add(&input, choices.at, len - HEAD);
        choices.at = choices.end;
    }
    mem_fail(&memory, at[3]);
    run_input(endpoint, &input);
    mem_fail(&memory, 0);
    restate_endpoint_free(endpoint);
    REQUIRE(memory.live == 0);
    return 0;
}

/* Each kind, and each message in both its forms. */
void each_seed(fuzz_use *use) {
    static text input;
    uint8_t seed[200];
    for (unsigned n = 0; n < 200; n++) {
        random_state = n;
        input.len = 0;
        it.kind = n % 20, it.other = n % 3 == 0;
        it.codecs = &all_codecs[n / 20 % COUNT(all_codecs)];
        choices.at = choices.end = NULL;
        make_some(&input);
        if (it.kind < 16) {
            text raw = { 0, 0, 0 };
            uint8_t head[HEAD] = { (uint8_t)(RAW | it.kind), (uint8_t)(n / 20), 1, 0 };
            add(&raw, head, sizeof head);
            add(&raw, input.at, input.len);
            use(raw.at, raw.len);
            free(raw.at);
        }
        for (size_t i = 0; i < sizeof seed; i++) seed[i] = (uint8_t)(splitmix() >> 56);
        seed[0] = (uint8_t)(n % 20);
        seed[3] = n % 4 ? 0 : seed[3];
        use(seed, sizeof seed);
    }
}
