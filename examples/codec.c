/* Your own formats: a codec for one C type, and a seal under all payloads of a service.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/codec.c -o codec -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./codec
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server; "desk" is the key. The lamp mixes a color into its own:
 *     curl localhost:8080/Lamp/desk/mix -H 'content-type: text/x-color' --data '#ff8000'
 * The diary's payloads are sealed, so its callers seal and open, too, here with tr:
 *     flip() { LC_ALL=C tr '\000-\377' '\200-\377\000-\177'; }
 *     printf 'Dear diary' | flip | curl localhost:8080/Diary/ada/write --data-binary @- | flip
 *
 * What the server keeps of the diary, in state and journal, is what the seal made of it. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Lamp: a codec, for the type color as text like #ff8000 ---------------------------------- */

typedef struct color {
    unsigned red, green, blue;
} color;

static restate_status encode_color(const restate_codec *self, restate_ctx *ctx, const void *value,
                                   restate_bytes *out) {
    const color *c = value;
    (void)self;
    *out = restate_str(restate_text(ctx, "#%02x%02x%02x", c->red, c->green, c->blue));
    return RESTATE_OK;
}

/* The code is restate_decode()'s to choose: 400 if the bytes are a caller's, 500 if they were
 * stored and no longer fit. */
static restate_status decode_color(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                   void *value) {
    const char *text = (const char *)in.ptr;        /* a zero byte follows */
    unsigned long rgb;
    (void)self;
    if (in.len != 7 || *text != '#' || strspn(text + 1, "0123456789abcdefABCDEF") != 6)
        return restate_fail(ctx, 0, "a color looks like #ff8000");
    rgb = strtoul(text + 1, NULL, 16);
    *(color *)value = (color){ rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255 };
    return RESTATE_OK;
}

static const restate_codec color_codec = {
    .content_type = "text/x-color", .encode = encode_color, .decode = decode_color };

static restate_status mix(restate_ctx *ctx, restate_bytes input) {
    color more = { 0, 0, 0 }, now = { 255, 255, 255 };
    restate_bytes stored;
    RESTATE_TRY(restate_decode(ctx, &color_codec, input, &more));
    RESTATE_TRY(restate_get(ctx, "color", &stored));
    RESTATE_TRY(restate_decode(ctx, &color_codec, stored, &now));   /* none yet: stays white */
    now = (color){ (now.red + more.red) / 2, (now.green + more.green) / 2,
                   (now.blue + more.blue) / 2 };
    RESTATE_TRY(restate_set(ctx, "color", restate_encode(ctx, &color_codec, &now)));
    return restate_reply(ctx, restate_encode(ctx, &color_codec, &now));
}

static const restate_service lamp = { .name = "Lamp", .kind = RESTATE_OBJECT,
    .handlers = RESTATE_HANDLERS(
        { .name = "mix", .fn = mix, .input = &color_codec, .output = &color_codec }) };

/* ---- Diary: a seal, under handlers that know nothing of it ----------------------------------- */

/* Stands for a cipher; undoes itself. One that deserves the name adds a nonce, so that the same
 * text is sealed differently each time: then set .unstable, or replay takes that for a change of
 * the code. And its `open` checks what it opens, and returns restate_fail() if it was forged. */
static restate_status flip(void *user, restate_ctx *ctx, restate_bytes in, restate_bytes *out) {
    const uint8_t *key = user;
    uint8_t *copy = restate_alloc(ctx, in.len + 1);     /* zeroed, so a zero byte follows */
    size_t i;
    if (!copy) return RESTATE_ENDED;
    for (i = 0; i < in.len; i++) copy[i] = in.ptr[i] ^ *key;
    *out = (restate_bytes){ copy, in.len };
    return RESTATE_OK;
}

static uint8_t key = 0x80;
static const restate_seal seal = { .seal = flip, .open = flip, .user = &key };

/* Executed once per entry: what it gives is in the journal, sealed. */
static restate_status count_words(restate_ctx *run, void *arg) {
    const restate_bytes *text = arg;
    size_t i, words = 0;
    for (i = 0; i < text->len; i++)
        words += text->ptr[i] != ' ' && (i + 1 == text->len || text->ptr[i + 1] == ' ');
    return restate_reply(run, restate_str(restate_text(run, "%zu words", words)));
}

static restate_status write_entry(restate_ctx *ctx, restate_bytes input) {
    restate_bytes words;
    RESTATE_TRY(restate_run(ctx, "count", count_words, &input, NULL, &words));
    if (input.len) RESTATE_TRY(restate_set(ctx, "last", input));
    return restate_reply(ctx, words);
}

static const restate_service diary = { .name = "Diary", .kind = RESTATE_OBJECT,
    .options = { .seal = &seal }, .handlers = RESTATE_HANDLERS(
        { .name = "write", .fn = write_entry, .input = RESTATE_BYTES, .output = RESTATE_BYTES }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&lamp, &diary),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
