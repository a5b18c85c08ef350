/* Fuzz target: handlers that call every function of a context, and the server they talk to: the
 * cases of differential.c, with the bytes of the input for chance.
 *
 * Three bytes in front: whether an allocation fails; how much of what
 * follows chooses the program, in four bytes each; how much after it chooses which thread is next.
 * The rest chooses what the server does. Where bytes are missing numbers made of the place do. */
#define CHOICES
#define NEWER
#include "../differential.c"

#include "main.h"

enum { HEAD = 3, SPLIT = 24 };              /* so many bytes choose the details of one operation */

static struct { const uint8_t *at; size_t len; } choices;

/* A sequence is a place in the input. */
static uint64_t rng_byte(rng *r) {
    uint64_t at = r->state++;
    return at < choices.len ? choices.at[at] : splitmix(&at) >> 56;
}

static uint64_t rng_next(rng *r) {
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++) n = n << 8 | rng_byte(r);
    return n;
}

static unsigned below(rng *r, size_t n) {
    uint64_t value = n > 1 ? rng_byte(r) : 0;
    if (n > 256) value = value << 8 | rng_byte(r);
    if (n > 65536) value = value << 16 | rng_byte(r) << 8 | rng_byte(r);
    return (unsigned)(value % (n ? n : 1));
}

static uint64_t rng_split(rng *r) {
    uint64_t at = r->state;
    r->state += SPLIT;
    return at;
}

static rng rng_for(uint64_t seed, uint64_t part) {
    size_t code = 4u * choices.at[1], turns_at = HEAD + code, rest = turns_at + choices.at[2];
    rng r = { part == 1 ? rest : part == 2 ? HEAD : turns_at };
    (void)seed;
    return r;
}

/* What was said, in memory of its own. */
static text transcript(unsigned how) {
    text copy = { NULL, 0, 0 };
    cuts = how;
    run_case(0, false);
    add(&copy, told.at, told.len);
    return copy;
}

/* Where in a frame a piece of the input ends makes no difference. */
static void compare_cuts(void) {
    text frames = transcript(BY_FRAMES), bytes = transcript(BY_BYTES);
    if (frames.len != bytes.len || memcmp(frames.at, bytes.at, bytes.len)) {
        fwrite(frames.at, 1, frames.len, stderr);
        fputs("---- byte by byte ----\n", stderr);
        fwrite(bytes.at, 1, bytes.len, stderr);
        REQUIRE(!"the same");
    }
    free(frames.at), free(bytes.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    if (len < HEAD) return 0;
    choices.at = at, choices.len = len;
    if (!block[0]) fill_block();
    readable = true;
    cuts = AS_CHOSEN;
    run_case(0, at[0] != 0);
    if (!at[0]) compare_cuts();
    return 0;
}

/* Every operation by itself, and programs by chance. */
void each_seed(fuzz_use *use) {
    uint64_t state = 17;
    uint8_t seed[1500];
    for (size_t n = 0; n < 150; n++) {
        size_t len = 300 + splitmix(&state) % (sizeof seed - 300);
        for (size_t i = 0; i < len; i++) seed[i] = (uint8_t)splitmix(&state);
        seed[0] = n % 5 ? 0 : (uint8_t)(n / 5);
        seed[1] = (uint8_t)(splitmix(&state) % 150);
        seed[2] = (uint8_t)(n % 30);
        use(seed, len);
    }
}
