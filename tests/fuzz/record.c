/* Fuzz target: journals in the JSON of a query, checked against handlers and printed.
 *
 * A byte in front chooses how many allocations work before one fails (0: all do). */
#define RESTATE_WITH_TEST
#include "fuzz.h"
#include "support/record.c"

/* As text, in memory of its own. */
static void print(restate_bytes journal) {
    restate__record_reader r;
    restate__cache cache;
    restate__arena arena;
    const restate_allocator allocator = mem_allocator(&memory);
    restate__cache_init(&cache, &allocator, NULL, 0);
    restate__arena_init(&arena, &cache);
    restate__json_out o = restate__json_out_on(&arena);
    bool good = restate__record_open(&r, &allocator, journal);
    while (good && restate__record_next(&r)) good = restate__record_put(&o, &r.arena, &r.record);
    restate__record_close(&r);
    restate_bytes text = restate__json_finish(&o);
    REQUIRE(!text.ptr || restate__b_is_clean(text, "\n"));
    restate__arena_free(&arena);
    restate__cache_free(&cache);
}

static restate_fit verdict(const uint8_t *at, size_t len, unsigned fail_in) {
    size_t counts[3];
    restate_endpoint *ep = begin();
    restate_bytes journal = exactly(at, len);
    mem_fail(&memory, fail_in);
    restate_fit fit = restate_journal_check(ep, journal, counts);
    size_t all = counts[RESTATE_FITS] + counts[RESTATE_DIFFERS] + counts[RESTATE_CANNOT_TELL];
    REQUIRE(fit == RESTATE_FITS ? all == counts[RESTATE_FITS] : fail_in || counts[fit]);
    REQUIRE(fit == RESTATE_FITS ? !*restate_endpoint_error(ep) : *restate_endpoint_error(ep));
    REQUIRE(restate__b_is_clean(restate_str(restate_endpoint_error(ep)), ""));
    print(journal);
    end(ep);
    rows_free();
    return fit;
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len) {
    if (len) verdict(at + 1, len - 1, at[0]);
    return 0;
}

/* The body of a request but for its Start; what was executed has to fit what executes it. */
static void use_body(fuzz_use *use, size_t path, unsigned version, restate_bytes body) {
    /* The id that Start has, as text. */
    about a = { .id = "inv_14JTepzEUoOk3mna5f3ipCaGY37tHu9Dni", .version = version };
    const char service[] = { paths[path][8], 0 };
    rt_bytes seed = { NULL, 0, 0 };
    REQUIRE(body.ptr == rt_script.at);
    size_t start = 8 + restate__b_get32(body.ptr + 4);
    a.service = service;
    a.handler = paths[path] + 10;
    if (*service != 'S') a.key = "key";
    memmove(rt_script.at, body.ptr + start, body.len - start);      /* that is where it is */
    rt_script.len = body.len - start;
    rows(a);
    restate_bytes json = rows_json();
    rt_add(&seed, "", 1);
    rt_add(&seed, json.ptr, json.len);
    REQUIRE(verdict(seed.at + 1, seed.len - 1, 0) == RESTATE_FITS);
    use(seed.at, seed.len);
    rt_drop(&seed);
}

void each_seed(fuzz_use *use) { each_journal(use, use_body); }
