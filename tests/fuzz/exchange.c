/* Fuzz target: the body of one request to a handler, that is a journal and what comes behind it.
 *
 * Five bytes in front choose: the handler; the version of the protocol; the size of the pieces in
 * which the body comes (0: all at once); whether it ends, and whether the request is known to come
 * as a whole; how many allocations work before one fails (0: all do). */
#include "fuzz.h"

enum { ENDS = 1, WHOLE = 2 };

/* What was sent are whole frames, and nothing follows the one that ends the attempt. */
static void check_frames(const rt_bytes *out) {
    size_t at = 0, len;
    bool over = false;
    while (at + 8 <= out->len) {
        const uint8_t *p = out->at + at;
        unsigned type = (unsigned)(p[0] << 8 | p[1]);
        len = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
        REQUIRE(!over);
        REQUIRE(type == M_ERROR || type == M_END || type == M_SUSPENSION || type == M_PROPOSE ||
                type == M_AWAITING_ON || rt_message_of(type)->name);
        REQUIRE(type != M_INPUT);
        over = type == M_ERROR || type == M_END || type == M_SUSPENSION;
        at += 8 + len;
    }
    REQUIRE(at == out->len);
    REQUIRE(over);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    restate_endpoint *ep;
    restate_stream *stream;
    rt_bytes out = { NULL, 0, 0 };
    uint16_t status = 0;
    restate_status s;
    if (len < 5) return 0;
    ep = begin();
    mem_fail(&memory, at[4]);
    stream = open_exchange(ep, paths[at[0] % COUNT(paths)], 5 + at[1] % 3, at[3] & WHOLE);
    s = talk(stream, restate__b(at + 5, len - 5), at[2], &out, &status);
    if (s == RESTATE_OK && at[3] & ENDS) {
        restate_stream_feed(stream, restate__b_none());
        s = take(stream, &out, &status);
    }
    if (s == RESTATE_ENDED && status == 200) check_frames(&out);
    restate_stream_free(stream);
    rt_drop(&out);
    end(ep);
    return 0;
}

static void use_body(fuzz_use *use, size_t path, unsigned version, restate_bytes body) {
    rt_bytes seed = { NULL, 0, 0 };
    uint8_t head[5] = { (uint8_t)path, (uint8_t)(version - 5), (uint8_t)(body.len % 50),
                        ENDS | (body.len & WHOLE), 0 };
    rt_add(&seed, head, sizeof head);
    rt_add(&seed, body.ptr, body.len);
    use(restate__b(seed.at, seed.len));
    rt_drop(&seed);
}

void each_seed(fuzz_use *use) { each_journal(use, use_body); }
