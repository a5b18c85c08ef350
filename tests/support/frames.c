/* Frames of HTTP/2 byte by byte, for what no client would send. */
#ifndef SUPPORT_FRAMES_C
#define SUPPORT_FRAMES_C

#include "journal.c"

static rt_bytes raw_out;                    /* frames to be sent */

static inline void put_frame(unsigned type, unsigned flags, uint32_t id, const void *payload, size_t len) {
    uint8_t head[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)type, (uint8_t)flags,
                        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id };
    rt_add(&raw_out, head, 9);
    rt_add(&raw_out, payload, len);
}

static inline void hpack_text(rt_bytes *b, const char *text, size_t len) {
    uint8_t byte = (uint8_t)(len < 127 ? len : 127);
    size_t n = len - byte;
    rt_add(b, &byte, 1);
    for (; len >= 127; n >>= 7) {
        byte = (uint8_t)((n & 127) | (n > 127 ? 128 : 0));
        rt_add(b, &byte, 1);
        if (n <= 127) break;
    }
    rt_add(b, text, len);
}

static inline void hpack_field(rt_bytes *b, const char *name, const char *value) {
    rt_add(b, "", 1);
    hpack_text(b, name, strlen(name));
    hpack_text(b, value, strlen(value));
}

static inline rt_bytes raw_headers(const char *method, const char *path) {
    rt_bytes b = { NULL, 0, 0 };
    hpack_field(&b, ":method", method);
    hpack_field(&b, ":scheme", "http");
    hpack_field(&b, ":path", path);
    hpack_field(&b, ":authority", "test");
    return b;
}

static inline void put_request(uint32_t id, const char *path, bool over) {
    rt_bytes b = raw_headers("POST", path);
    hpack_field(&b, "content-type", "application/vnd.restate.invocation.v7");
    put_frame(NGHTTP2_HEADERS, over ? 5 : 4, id, b.at, b.len);
    rt_drop(&b);
}

static inline void put_preface(void) {
    raw_out.len = 0;
    rt_add(&raw_out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

#endif
