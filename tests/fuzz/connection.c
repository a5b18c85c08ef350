/* Fuzz target: what a peer sends on an HTTP/2 connection.
 *
 * Two bytes in front choose the size of the pieces in which it comes (0: all at once) and how many
 * allocations work before one fails (0: all do). */
#include "fuzz.h"
#include "frames.h"

/* What was sent are whole frames of HTTP/2; 16,384 bytes are the most that every peer takes, and
 * the setting that allows more is never made use of. */
static void check_frames(const rt_bytes *out) {
    size_t at = 0, len;
    for (; at + 9 <= out->len; at += 9 + len) {
        const uint8_t *p = out->at + at;
        len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        REQUIRE(len <= 16384);
        REQUIRE(p[3] <= NGHTTP2_CONTINUATION && !(p[5] & 0x80));
    }
    REQUIRE(at == out->len);
}

/* ---- Frame by frame, and byte by byte --------------------------------------------------------- */

enum { STREAMS = 16 };

typedef struct response { rt_bytes body; bool over, reset; } response;

/* The responses in what was sent; of streams with high numbers, several in one. */
static void split(const rt_bytes *out, response to[STREAMS]) {
    for (size_t at = 0, n; at + 9 <= out->len; at += n) {
        const uint8_t *p = out->at + at;
        response *r = &to[p[8] / 2 % STREAMS];
        n = h2_frame_of(restate__b(p, out->len - at));
        if (p[3] == NGHTTP2_DATA) rt_add(&r->body, p + 9, n - 9);
        if (p[3] == NGHTTP2_RST_STREAM || p[8] / 2 >= STREAMS || p[7]) r->reset = true;
        if (p[3] <= NGHTTP2_HEADERS && p[4] & 1) r->over = true;
    }
}

static void answer(restate_bytes in, bool bytes, response to[STREAMS]) {
    restate_endpoint *ep = begin();
    restate_stream *stream = restate_stream_open(ep, NULL);
    rt_bytes out = { NULL, 0, 0 };
    uint16_t status;
    restate_status s = take(stream, &out, &status);
    for (size_t n; in.len && s == RESTATE_OK; in.ptr += n, in.len -= n) {
        n = h2_frame_of(in);
        s = talk(stream, restate__b(in.ptr, n), bytes ? 1 : n, &out, &status);
    }
    if (s == RESTATE_OK) restate_stream_feed(stream, restate__b_none());
    take(stream, &out, &status);
    restate_stream_free(stream);
    end(ep);
    split(&out, to);
    rt_drop(&out);
}

/* Where in a frame a piece ends makes no difference for responses that are complete, except to
 * handlers: a frame of DATA has several messages, and more is known if they come together. (For
 * messages exchange.c has the same.) */
static bool of_handler(const rt_bytes *body) { return body->len && body->at[0] < ' '; }

static void compare_cuts(restate_bytes in) {
    response frames[STREAMS] = { { .over = false } }, bytes[STREAMS] = { { .over = false } };
    answer(in, false, frames);
    answer(in, true, bytes);
    for (size_t i = 0; i < STREAMS; i++) {
        const rt_bytes *a = &frames[i].body, *b = &bytes[i].body;
        if (frames[i].over && bytes[i].over && !frames[i].reset && !bytes[i].reset && !of_handler(a))
            REQUIRE(a->len == b->len && (!a->len || !memcmp(a->at, b->at, a->len)));
        rt_drop(&frames[i].body), rt_drop(&bytes[i].body);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    restate_endpoint *ep;
    restate_stream *stream;
    rt_bytes out = { NULL, 0, 0 };
    uint16_t status = 0;
    restate_status s;
    if (len < 2) return 0;
    ep = begin();
    mem_fail(&memory, at[1]);
    stream = restate_stream_open(ep, NULL);
    s = talk(stream, restate__b(at + 2, len - 2), at[0], &out, &status);
    if (s == RESTATE_OK) restate_stream_feed(stream, restate__b_none());
    take(stream, &out, &status);
    REQUIRE(status == 0);
    check_frames(&out);
    restate_stream_free(stream);
    rt_drop(&out);
    end(ep);
    if (at[0] && !at[1] && len < 1500) compare_cuts(restate__b(at + 2, len - 2));
    return 0;
}

/* ---- Seeds ----------------------------------------------------------------------------------- */

static void put_request(rt_bytes *to, unsigned id, const char *method, const char *path,
                        const char *name, const char *value) {
    rt_bytes headers = { NULL, 0, 0 };
    put_header(&headers, ":method", method);
    put_header(&headers, ":scheme", "http");
    put_header(&headers, ":path", path);
    put_header(&headers, ":authority", "x");
    put_header(&headers, name, value);
    put_frame(to, NGHTTP2_HEADERS, END_HEADERS | (*method == 'G' ? END_STREAM : 0), id, headers.at,
              headers.len);
    rt_drop(&headers);
}

static void put_beginning(rt_bytes *to, unsigned piece) {
    static const uint8_t settings[] = { 0, 4, 0, 0, 4, 0 };     /* windows of 1,024 bytes */
    uint8_t head[2] = { (uint8_t)piece, 0 };
    rt_add(to, head, sizeof head);
    rt_add(to, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    put_frame(to, NGHTTP2_SETTINGS, 0, 0, settings, piece % 2 ? sizeof settings : 0);
}

/* An invocation between other requests, with its body in two frames. */
static void use_body(fuzz_use *use, size_t path, unsigned version, restate_bytes body) {
    static const uint8_t window[] = { 0, 0, 64, 0 }, code[] = { 0, 0, 0, NGHTTP2_CANCEL };
    static const uint8_t ping[8] = "12345678";
    rt_bytes seed = { NULL, 0, 0 };
    char type[64];
    size_t half = body.len / 2;
    snprintf(type, sizeof type, "application/vnd.restate.invocation.v%u", version);
    put_beginning(&seed, (unsigned)(body.len % 60));
    put_request(&seed, 1, "GET", path % 2 ? "/health" : "/discover", "accept",
                "application/vnd.restate.endpointmanifest.v4+json");
    put_request(&seed, 3, "POST", paths[path], "content-type", type);
    put_frame(&seed, NGHTTP2_DATA, 0, 3, body.ptr, half);
    put_request(&seed, 5, "POST", paths[0], "content-type", type);
    put_frame(&seed, NGHTTP2_PING, 0, 0, ping, sizeof ping);
    put_frame(&seed, NGHTTP2_DATA, body.len % 3 ? END_STREAM : 0, 3, body.ptr + half,
              body.len - half);
    put_frame(&seed, NGHTTP2_WINDOW_UPDATE, 0, 0, window, sizeof window);
    put_frame(&seed, NGHTTP2_WINDOW_UPDATE, 0, 3, window, sizeof window);
    put_frame(&seed, NGHTTP2_RST_STREAM, 0, 5, code, sizeof code);
    use(seed.at, seed.len);
    rt_drop(&seed);
}

void each_seed(fuzz_use *use) { each_journal(use, use_body); }
