/* What all fuzz targets have: seeds, and a main().
 *
 *     build/fuzz/fuzz-TARGET [OPTIONS OF LIBFUZZER] [DIR...]     random input, from that of DIR on
 *     build/fuzz/fuzz-TARGET --seeds DIR                         writes valid input, a file for each
 *     build/asan/fuzz-TARGET                                     each of these once, by any compiler
 *     build/asan/fuzz-TARGET FILE...                             what libFuzzer has found, again
 *
 * A run depends on its input alone. What is wrong ends the program by abort(). */
#ifndef FUZZ_MAIN_H
#define FUZZ_MAIN_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(x) \
    ((x) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);
typedef void fuzz_use(const uint8_t *seed, size_t len);
void each_seed(fuzz_use *use);              /* of the target */

static unsigned seeds;
static const char *seed_dir;

static void use_write(const uint8_t *seed, size_t len) {
    char name[1000];
    FILE *file;
    snprintf(name, sizeof name, "%s/%u", seed_dir, seeds++);
    file = fopen(name, "wb");
    REQUIRE(file && fwrite(seed, 1, len, file) == len && fclose(file) == 0);
}

/* True: the arguments ask for this, and it is done. */
static int wrote_seeds(int argc, char **argv) {
    if (argc != 3 || strcmp(argv[1], "--seeds")) return 0;
    seed_dir = argv[2];
    each_seed(use_write);
    return 1;
}

#ifdef LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    if (wrote_seeds(*argc, *argv)) exit(0);
    return 0;
}

#else

static void use_run(const uint8_t *seed, size_t len) {
    seeds++;
    LLVMFuzzerTestOneInput(seed, len);
}

static void run_file(const char *name) {
    FILE *file = fopen(name, "rb");
    size_t len;
    uint8_t *content;                       /* of exactly this size: ASan looks at its end */
    REQUIRE(file && fseek(file, 0, SEEK_END) == 0);
    len = (size_t)ftell(file);
    rewind(file);
    content = (uint8_t *)malloc(len ? len : 1);
    REQUIRE(content && fread(content, 1, len, file) == len);
    fclose(file);
    LLVMFuzzerTestOneInput(content, len);
    free(content);
}

int main(int argc, char **argv) {
    if (wrote_seeds(argc, argv)) return 0;
    for (int i = 1; i < argc; i++) run_file(argv[i]);
    if (argc > 1) return 0;
    each_seed(use_run);
    printf("%u seeds\n", seeds);
    return 0;
}

#endif
#endif
