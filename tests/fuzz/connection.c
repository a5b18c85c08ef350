/* Fuzz target: what a peer sends on an HTTP/2 connection.
 *
 * Two bytes in front choose the size of the pieces in which it comes (0: all at once) and how many
 * allocations work before one fails (0: all do). */
#include "fuzz.h"

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
    return 0;
}

/* ---- Seeds ----------------------------------------------------------------------------------- */

enum { END_STREAM = 1, END_HEADERS = 4 };

static void put_frame(rt_bytes *to, uint8_t type, uint8_t flags, unsigned id, const void *at,
                      size_t len) {
    uint8_t head[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags,
                        0, 0, (uint8_t)(id >> 8), (uint8_t)id };
    rt_add(to, head, sizeof head);
    rt_add(to, at, len);
}

/* Literal, never indexed, not in Huffman's code; of less than 127 bytes. */
static void put_header(rt_bytes *to, const char *name, const char *value) {
    uint8_t form = 0, n = (uint8_t)strlen(name), v = (uint8_t)strlen(value);
    rt_add(to, &form, 1);
    rt_add(to, &n, 1), rt_add(to, name, n);
    rt_add(to, &v, 1), rt_add(to, value, v);
}

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
    use(restate__b(seed.at, seed.len));
    rt_drop(&seed);
}

void each_seed(fuzz_use *use) { each_journal(use, use_body); }
