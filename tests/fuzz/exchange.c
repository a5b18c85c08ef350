/* Fuzz target: the body of one request to a handler, that is a journal and what comes behind it.
 *
 * Five bytes in front choose: the handler; the version of the protocol; the size of the pieces in
 * which the body comes (0: all at once); whether it ends, and whether the request is known to come
 * as a whole; how many allocations work before one fails (0: all do). */
#include "fuzz.h"

enum { HEAD = 5, ENDS = 1, WHOLE = 2 };

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

static restate_status end_input(restate_stream *stream, restate_status s, rt_bytes *out,
                                uint16_t *status) {
    if (s != RESTATE_OK) return s;
    restate_stream_feed(stream, restate__b_none());
    return take(stream, out, status);
}

/* What is sent to what comes frame by frame, or byte by byte. */
static rt_bytes answer(const uint8_t *head, restate_bytes in, bool bytes) {
    restate_endpoint *ep = begin();
    restate_stream *stream = open_exchange(ep, paths[head[0] % COUNT(paths)], 5 + head[1] % 3,
                                           head[3] & WHOLE);
    rt_bytes out = { NULL, 0, 0 };
    uint16_t status = 0;
    restate_status s = take(stream, &out, &status);
    for (size_t n; in.len && s == RESTATE_OK; in.ptr += n, in.len -= n) {
        n = frame_of(in);
        s = talk(stream, restate__b(in.ptr, n), bytes ? 1 : n, &out, &status);
    }
    if (head[3] & ENDS) end_input(stream, s, &out, &status);
    restate_stream_free(stream);
    end(ep);
    if (status == 200) drop_awaiting(&out);
    return out;
}

/* Where in a frame a piece ends makes no difference. */
static void compare_cuts(const uint8_t *head, restate_bytes in) {
    rt_bytes frames = answer(head, in, false), bytes = answer(head, in, true);
    REQUIRE(frames.len == bytes.len);
    REQUIRE(!frames.len || !memcmp(frames.at, bytes.at, bytes.len));
    rt_drop(&frames), rt_drop(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    restate_endpoint *ep;
    restate_stream *stream;
    rt_bytes out = { NULL, 0, 0 };
    uint16_t status = 0;
    restate_status s;
    if (len < HEAD) return 0;
    ep = begin();
    mem_fail(&memory, at[4]);
    stream = open_exchange(ep, paths[at[0] % COUNT(paths)], 5 + at[1] % 3, at[3] & WHOLE);
    s = talk(stream, restate__b(at + HEAD, len - HEAD), at[2], &out, &status);
    if (at[3] & ENDS) s = end_input(stream, s, &out, &status);
    if (s == RESTATE_ENDED && status == 200) check_frames(&out);
    restate_stream_free(stream);
    rt_drop(&out);
    end(ep);
    if (at[2] && !at[4] && len < 1500) compare_cuts(at, restate__b(at + HEAD, len - HEAD));
    return 0;
}

static void use_body(fuzz_use *use, size_t path, unsigned version, restate_bytes body) {
    rt_bytes seed = { NULL, 0, 0 };
    uint8_t head[HEAD] = { (uint8_t)path, (uint8_t)(version - 5), (uint8_t)(body.len % 50),
                        ENDS | (body.len & WHOLE), 0 };
    rt_add(&seed, head, sizeof head);
    rt_add(&seed, body.ptr, body.len);
    use(seed.at, seed.len);
    rt_drop(&seed);
}

void each_seed(fuzz_use *use) { each_journal(use, use_body); }
