/* Frames of HTTP/2 for seeds, and for what reads them. Include it behind fuzz.h. */
#ifndef FUZZ_FRAMES_H
#define FUZZ_FRAMES_H

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

/* The length of what begins a connection, or of the first frame; all, if it is not complete. */
static inline size_t h2_frame_of(restate_bytes in) {
    size_t len = in.len < 9 ? in.len : 9 + (size_t)(restate__b_get32(in.ptr) >> 8);
    if (in.len >= 4 && !memcmp(in.ptr, "PRI ", 4)) len = NGHTTP2_CLIENT_MAGIC_LEN;
    return len < in.len ? len : in.len;
}

#endif
