/* Frames on a serial line, between the firmware and its relay. Both sides include this.
 *
 * A frame is a type, the number of an exchange, and up to LINK_BYTES of a body:
 *
 *     type  number (2)  body  CRC-16 (2)      numbers with the low byte first
 *
 * written as in SLIP (RFC 1055): LINK_END behind it, and two bytes for one that is LINK_END or
 * LINK_ESCAPE. So a receiver finds the next frame after any damage. A damaged frame ends all
 * exchanges: the server makes these attempts again, so nothing has to be sent twice here.
 *
 *     relay to firmware                         firmware to relay
 *     RESTART  forget all exchanges; say HELLO  HELLO   I know of no exchange, and can have
 *     TIME     ms since 1970 (8)                        so many at a time (1)
 *     OPEN     method, path, then names and     OPEN    status (2), then names and values of
 *              values of headers, each ending           headers, each ending with a zero byte
 *              with a zero byte
 *     DATA     of the request                   DATA    of the response
 *     END      of the request                   END     of the response, and of the exchange
 *     RESET    of the exchange                  RESET   of the exchange
 *
 * The relay numbers the exchanges, and does not use a number again before 65,536 others. */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LINK_BYTES = 1024, LINK_HEAD = 3, LINK_CRC = 2 };
enum { LINK_END = 0xC0, LINK_ESCAPE = 0xDB, LINK_ESCAPED_END = 0xDC, LINK_ESCAPED_ESCAPE = 0xDD };

typedef enum link_type {
    LINK_RESTART = 1, LINK_HELLO, LINK_TIME, LINK_OPEN, LINK_DATA, LINK_FIN, LINK_RESET
} link_type;

/* CRC-16/CCITT, four bits at a time. */
static inline uint16_t link_crc(uint16_t crc, uint8_t byte) {
    static const uint16_t table[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef };
    crc = (uint16_t)((crc << 4) ^ table[(crc >> 12) ^ (byte >> 4)]);
    return (uint16_t)((crc << 4) ^ table[(crc >> 12) ^ (byte & 15)]);
}

/* ---- Sending: byte by byte to `put` ---------------------------------------------------------- */

typedef struct link_out {
    void (*put)(void *user, uint8_t byte);
    void *user;
    uint16_t crc;
} link_out;

static inline void link_put(link_out *out, uint8_t byte) {
    out->crc = link_crc(out->crc, byte);
    if (byte == LINK_END || byte == LINK_ESCAPE) {
        out->put(out->user, LINK_ESCAPE);
        byte = byte == LINK_END ? LINK_ESCAPED_END : LINK_ESCAPED_ESCAPE;
    }
    out->put(out->user, byte);
}

static inline void link_put_bytes(link_out *out, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) link_put(out, ((const uint8_t *)bytes)[i]);
}

static inline void link_begin(link_out *out, link_type type, uint16_t number) {
    out->crc = 0xFFFF;
    link_put(out, (uint8_t)type);
    link_put(out, (uint8_t)number);
    link_put(out, (uint8_t)(number >> 8));
}

static inline void link_end(link_out *out) {
    uint16_t crc = out->crc;
    link_put(out, (uint8_t)crc);
    link_put(out, (uint8_t)(crc >> 8));
    out->put(out->user, LINK_END);
}

static inline void link_send(link_out *out, link_type type, uint16_t number, const void *body,
                             size_t size) {
    link_begin(out, type, number);
    link_put_bytes(out, body, size);
    link_end(out);
}

/* ---- Receiving ------------------------------------------------------------------------------- */

typedef struct link_in {
    uint8_t bytes[LINK_HEAD + LINK_BYTES + LINK_CRC + 1];
    size_t size;
    bool escape, damaged;
} link_in;

typedef enum link_got { LINK_MORE, LINK_FRAME, LINK_DAMAGED } link_got;

static inline link_type link_in_type(const link_in *in) { return (link_type)in->bytes[0]; }
static inline uint16_t link_in_number(const link_in *in) {
    return (uint16_t)(in->bytes[1] | in->bytes[2] << 8);
}
static inline const uint8_t *link_in_body(const link_in *in) { return in->bytes + LINK_HEAD; }
static inline size_t link_in_size(const link_in *in) { return in->size - LINK_HEAD; }

/* The body gets a zero byte behind it. */
static inline link_got link_finish(link_in *in) {
    uint16_t crc = 0xFFFF;
    size_t end = in->size - LINK_CRC;
    if (in->damaged || in->escape || in->size < LINK_HEAD + LINK_CRC) return LINK_DAMAGED;
    for (size_t i = 0; i < end; i++) crc = link_crc(crc, in->bytes[i]);
    if ((in->bytes[end] | in->bytes[end + 1] << 8) != crc) return LINK_DAMAGED;
    in->size = end;
    in->bytes[end] = 0;
    return LINK_FRAME;
}

/* After LINK_FRAME and LINK_DAMAGED call link_next() before the next byte. */
static inline link_got link_feed(link_in *in, uint8_t byte) {
    if (byte == LINK_END) return in->size || in->damaged ? link_finish(in) : LINK_MORE;
    if (byte == LINK_ESCAPE) {
        in->escape = true;
        return LINK_MORE;
    }
    if (in->escape) byte = byte == LINK_ESCAPED_END ? LINK_END : LINK_ESCAPE;
    in->escape = false;
    if (in->size < sizeof in->bytes - 1) in->bytes[in->size++] = byte;
    else in->damaged = true;
    return LINK_MORE;
}

static inline void link_next(link_in *in) {
    in->size = 0;
    in->escape = in->damaged = false;
}

/* ---- Texts in a body ------------------------------------------------------------------------- */

/* The next one at `*at`, which moves behind it; NULL: there is none. */
static inline const char *link_text(const uint8_t **at, const uint8_t *end) {
    const char *text = (const char *)*at;
    const uint8_t *zero = memchr(*at, 0, (size_t)(end - *at));
    if (!zero) return NULL;
    *at = zero + 1;
    return text;
}

#endif
