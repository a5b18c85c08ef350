/* Section >>proto: nanopb messages in binary and in protobuf's JSON mapping, compared with what python3-protobuf
 * makes of the same messages. */
#define _POSIX_C_SOURCE 200809L
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "../restate.h"

#include "../build/proto/times.pb.c"
#include "../build/proto/kinds.pb.c"
#include "../build/proto/old.pb.c"
#include "../build/proto/names.pb.c"
#include "support/context.c"

#include <stdlib.h>

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

/* An enum that is too wide to be searched. */
#define pn_Listed_VALUES RESTATE_PROTO_ENUM_VALUES(pn_Listed_LISTED_NONE, pn_Listed_LISTED_FAR, pn_Listed_LISTED_LEAST)

/* What a program writes for a message, and nothing else. */
#define CODECS(Type) { RESTATE_PROTO(Type), RESTATE_PROTOJSON(Type), sizeof(Type) }
typedef struct codecs {
    restate_codec binary, json;
    size_t size;
} codecs;
static const codecs scalars = CODECS(pt_Scalars), maybe = CODECS(pt_Maybe), lists = CODECS(pt_Lists),
    choice = CODECS(pt_Choice), maps = CODECS(pt_Maps), times = CODECS(pt_Times), names = CODECS(pt_Names),
    nothing = CODECS(pt_Nothing), d1 = CODECS(pt_D1), wallet = CODECS(pt_Money),
    required = CODECS(old_Required), enums = CODECS(pn_Enums), masks = CODECS(pn_Masks), nulls = CODECS(pn_Nulls);
static const restate_codec calls = RESTATE_PROTO(pt_Calls), loose = RESTATE_PROTO(pt_Loose);
static const codecs *const all_codecs[] = {
    &scalars, &maybe, &lists, &choice, &maps, &times, &names, &nothing, &d1, &wallet, &required, &enums, &masks, &nulls,
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct pair {
    const codecs *type;
    const char *json, *hex;
} pair;

/* What python3-protobuf makes of these messages: MessageToJson() without spaces, whole numbers without ".0",
 * the largest float and the least double in the digits that we give them; and SerializeToString(). */
static const pair pairs[] = {
    { &scalars, "{\"exactly\":\"AAAAAA==\"}",
      "a2010400000000" },
    { &scalars, "{\"aDouble\":1.5,\"aFloat\":0.1,\"anInt32\":-1,\"anInt64\":\"-1\",\"aUint32\":1,\"aUint64\":\"1\","
      "\"aSint32\":-1,\"aSint64\":\"-1\",\"aFixed32\":1,\"aFixed64\":\"1\",\"aSfixed32\":-1,\"aSfixed64\""
      ":\"-1\",\"aBool\":true,\"aString\":\"x\",\"someBytes\":\"eA==\",\"aColor\":\"RED\",\"aWide\":77,\""
      "small\":-1,\"tiny\":1,\"exactly\":\"AAAAAA==\"}",
      "09000000000000f83f15cdcccc3d18ffffffffffffffffff0120ffffffffffffffffff0128013001380140014d01000000"
      "5101000000000000005dffffffff61ffffffffffffffff68017201787a017880010188014d9001ffffffffffffffffff01"
      "980101a2010400000000" },
    { &scalars, "{\"aDouble\":1.7976931348623157e+308,\"aFloat\":3.4028234663852886e+38,\"anInt32\":2147483647,\"anInt64\":"
      "\"9223372036854775807\",\"aUint32\":4294967295,\"aUint64\":\"18446744073709551615\",\"aSint32\":21"
      "47483647,\"aSint64\":\"9223372036854775807\",\"aFixed32\":4294967295,\"aFixed64\":\"18446744073709"
      "551615\",\"aSfixed32\":2147483647,\"aSfixed64\":\"9223372036854775807\",\"small\":127,\"tiny\":655"
      "35,\"exactly\":\"//79/A==\"}",
      "09ffffffffffffef7f15ffff7f7f18ffffffff0720ffffffffffffffff7f28ffffffff0f30ffffffffffffffffff0138fe"
      "ffffff0f40feffffffffffffffff014dffffffff51ffffffffffffffff5dffffff7f61ffffffffffffff7f90017f9801ff"
      "ff03a20104fffefdfc" },
    { &scalars, "{\"aDouble\":-4.94065645841247e-324,\"aFloat\":-1.4013e-45,\"anInt32\":-2147483648,\"anInt64\":\"-922337203685477"
      "5808\",\"aSint32\":-2147483648,\"aSint64\":\"-9223372036854775808\",\"aSfixed32\":-2147483648,\"aS"
      "fixed64\":\"-9223372036854775808\",\"aColor\":\"DARK\",\"small\":-128,\"exactly\":\"AAAAAA==\"}",
      "09010000000000008015010000801880808080f8ffffffff01208080808080808080800138ffffffff0f40ffffffffffff"
      "ffffff015d000000806100000000000000808001fdffffffffffffffff01900180ffffffffffffffff01a2010400000000" },
    { &scalars, "{\"aDouble\":\"Infinity\",\"aFloat\":\"-Infinity\",\"exactly\":\"AAAAAA==\"}",
      "09000000000000f07f15000080ffa2010400000000" },
    { &scalars, "{\"aDouble\":\"NaN\",\"aFloat\":\"NaN\",\"exactly\":\"AAAAAA==\"}",
      "09000000000000f87f150000c07fa2010400000000" },
    { &scalars, "{\"aDouble\":0.1,\"aFloat\":16777216,\"exactly\":\"AAAAAA==\"}",
      "099a9999999999b93f150000804ba2010400000000" },
    { &scalars, "{\"aDouble\":1e+22,\"aFloat\":1e-10,\"exactly\":\"AAAAAA==\"}",
      "0992d54d06cff0804415ffe6db2ea2010400000000" },
    { &scalars, "{\"aDouble\":123456.789,\"aFloat\":123456.79,\"exactly\":\"AAAAAA==\"}",
      "09c976be9f0c24fe40156520f147a2010400000000" },
    { &scalars, "{\"aString\":\"h\303\251 \342\202\254 \360\237\230\200 \\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\177"
      "\",\"exactly\":\"AAAAAA==\"}",
      "721868c3a920e282ac20f09f988020225c2f080c0a0d09011f7fa2010400000000" },
    { &scalars, "{\"aString\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"exactly\":\"AAAAAA==\"}",
      "7227616161616161616161616161616161616161616161616161616161616161616161616161616161a2010400000000" },
    { &scalars, "{\"someBytes\":\"AAECAwQFBgcICQoLDA0ODw==\",\"exactly\":\"AAAAAA==\"}",
      "7a10000102030405060708090a0b0c0d0e0fa2010400000000" },
    { &scalars, "{\"someBytes\":\"+//++gA=\",\"exactly\":\"AAAAAA==\"}",
      "7a05fbfffefa00a2010400000000" },
    { &scalars, "{\"someBytes\":\"AAA=\",\"exactly\":\"AAAAAA==\"}",
      "7a020000a2010400000000" },
    { &scalars, "{\"aColor\":\"GREEN\",\"exactly\":\"AAAAAA==\"}",
      "800102a2010400000000" },
    { &scalars, "{\"aColor\":99,\"exactly\":\"AAAAAA==\"}",
      "800163a2010400000000" },
    { &scalars, "{\"aColor\":-100,\"exactly\":\"AAAAAA==\"}",
      "80019cffffffffffffffff01a2010400000000" },
    { &maybe, "{}",
      "" },
    { &maybe, "{\"number\":0,\"text\":\"\",\"flag\":false,\"color\":\"COLOR_UNSPECIFIED\",\"data\":\"\",\"x\":0}",
      "08001200180020002a00310000000000000000" },
    { &maybe, "{\"number\":-7,\"text\":\"t\",\"flag\":true,\"color\":\"DARK\",\"data\":\"ZA==\",\"x\":-2.25}",
      "08f9ffffffffffffffff01120174180120fdffffffffffffffff012a01643100000000000002c0" },
    { &lists, "{\"three\":[1,2,3]}",
      "4a03010203" },
    { &lists, "{\"numbers\":[0,-1,2147483647,-2147483648],\"longs\":[\"0\",\"-1\",\"9223372036854775807\"],\"text"
      "s\":[\"\",\"a\",\"\303\251\"],\"blobs\":[\"\",\"YQ==\",\"YWI=\",\"YWJj\"],\"colors\":[\"COLOR_UNSP"
      "ECIFIED\",\"RED\",\"DARK\",50],\"flags\":[true,false],\"floats\":[0,1.25,\"NaN\",\"Infinity\"],\"t"
      "hree\":[0,0,4294967295]}",
      "0a1a00ffffffffffffffffff01ffffffff0780808080f8ffffffff01121400ffffffffffffffffff01ffffffffffffffff"
      "7f1a001a01611a02c3a922002201612202616222036162632a0d0001fdffffffffffffffff0132320201003a1000000000"
      "0000a03f0000c07f0000807f4a070000ffffffff0f" },
    { &lists, "{\"lines\":[{},{\"sku\":\"A-1\",\"count\":2,\"unitPrice\":{\"units\":\"-5\",\"currencyCode\":\"EUR"
      "\"},\"discounts\":[{},{\"units\":\"1\"}]},{\"unitPrice\":{}}],\"three\":[1,1,1]}",
      "4200421f0a03412d3110021a1008fbffffffffffffffff01120345555222002202080142021a004a03010101" },
    { &choice, "{}",
      "" },
    { &choice, "{\"before\":1,\"after\":2}",
      "08014002" },
    { &choice, "{\"text\":\"\"}",
      "1200" },
    { &choice, "{\"before\":1,\"text\":\"abc\",\"after\":2}",
      "080112036162634002" },
    { &choice, "{\"longNumber\":\"0\"}",
      "1800" },
    { &choice, "{\"longNumber\":\"-9223372036854775808\"}",
      "1880808080808080808001" },
    { &choice, "{\"money\":{}}",
      "2200" },
    { &choice, "{\"money\":{\"units\":\"3\",\"currencyCode\":\"USD\"}}",
      "220708031203555344" },
    { &choice, "{\"flag\":false}",
      "2800" },
    { &choice, "{\"color\":\"COLOR_UNSPECIFIED\"}",
      "3000" },
    { &choice, "{\"color\":\"RED\"}",
      "3001" },
    { &choice, "{\"data\":\"\"}",
      "3a00" },
    { &choice, "{\"data\":\"MTIzNDU2Nzg=\"}",
      "3a083132333435363738" },
    { &maps, "{}",
      "" },
    { &maps, "{\"counts\":{\"a \\\"b\\\"\":-1}}",
      "0a120a05612022622210ffffffffffffffffff01" },
    { &maps, "{\"byId\":{\"-5\":{\"units\":\"7\"}},\"yesNo\":{\"true\":\"x\"},\"big\":{\"18446744073709551615\":"
      "\"GREEN\"}}",
      "120f08fbffffffffffffffff01120208071a050801120178220d08ffffffffffffffffff011002" },
    { &times, "{}",
      "" },
    { &nothing, "{}",
      "" },
    { &names, "{\"snakeCase\":1,\"camelCase\":2,\"Upper\":3,\"with2Digits\":4,\"doubleUnder\":5,\"Leading\":6,\"t"
      "railing\":7}",
      "0801100218032004280530063807" },
    { &required, "{\"id\":0}",
      "0800" },
    { &required, "{\"id\":5,\"limit\":7,\"name\":\"none\",\"mode\":\"ON\",\"inner\":{\"id\":\"\"}}",
      "080510071a046e6f6e6520022a020a00" },
    { &required, "{\"id\":-1,\"limit\":0,\"name\":\"\",\"mode\":\"OFF\",\"inner\":{\"id\":\"i\"}}",
      "08ffffffffffffffffff0110001a0020012a030a0169" },
    { &times, "{\"at\":\"1970-01-01T00:00:00Z\"}",
      "0a00" },
    { &times, "{\"at\":\"0001-01-01T00:00:00Z\"}",
      "0a0b088092b8c398feffffff01" },
    { &times, "{\"at\":\"9999-12-31T23:59:59.999999999Z\"}",
      "0a0d08ff82d1ffaf0710ff93ebdc03" },
    { &times, "{\"at\":\"2024-02-29T12:34:56.789Z\"}",
      "0a0c08f0f381af0610c0de9cf802" },
    { &times, "{\"at\":\"2000-03-01T00:00:00.000001Z\"}",
      "0a090880bbf1c50310e807" },
    { &times, "{\"at\":\"1969-12-31T23:59:59.500Z\"}",
      "0a1108ffffffffffffffffff011080cab5ee01" },
    { &times, "{\"at\":\"1900-02-28T23:59:59Z\"}",
      "0a0b08ff938de5f7ffffffff01" },
    { &times, "{\"at\":\"2100-12-31T00:00:00Z\"}",
      "0a060880f298b30f" },
    { &times, "{\"span\":\"0s\"}",
      "1200" },
    { &times, "{\"span\":\"1s\"}",
      "12020801" },
    { &times, "{\"span\":\"-1s\"}",
      "120b08ffffffffffffffffff01" },
    { &times, "{\"span\":\"0.500s\"}",
      "12061080cab5ee01" },
    { &times, "{\"span\":\"-0.500s\"}",
      "120b1080b6ca91feffffffff01" },
    { &times, "{\"span\":\"-1.000000001s\"}",
      "121608ffffffffffffffffff0110ffffffffffffffffff01" },
    { &times, "{\"span\":\"315576000000s\"}",
      "12070880bcaece9709" },
    { &times, "{\"span\":\"-315576000000s\"}",
      "120b0880c4d1b1e8f6ffffff01" },
    { &times, "{\"span\":\"3.000001s\"}",
      "1205080310e807" },
    { &times, "{\"boxed\":\"0\",\"boxedText\":\"\",\"boxedFlag\":false,\"empty\":{}}",
      "22002a0032003a00" },
    { &times, "{\"all\":[\"2001-02-03T04:05:06Z\",\"1970-01-01T00:00:00Z\"],\"boxed\":\"-9\",\"boxedText\":\"b\","
      "\"boxedFlag\":true}",
      "1a0608f286eed3031a00220b08f7ffffffffffffffff012a030a016232020801" },
    { &maps, "{\"spans\":{\"w\":\"604800s\"}}",
      "2a090a017712040880f524" },
    { &d1, "{\"d\":{\"d\":{\"d\":{\"d\":{\"d\":{\"d\":{\"d\":{\"d\":{\"d\":{\"d\":{\"d\":{\"n\":12}}}}}}}}}}},"
      "\"n\":1}",
      "0a160a140a120a100a0e0a0c0a0a0a080a060a040a02080c1001" },
    { &scalars, "{\"aWide\":\"WIDE_FAR\",\"exactly\":\"AAAAAA==\"}",
      "8801c0843da2010400000000" },
    { &enums, "{\"huge\":\"HUGE_LEAST\",\"all\":[\"HUGE_NONE\",\"HUGE_NEAR\",\"HUGE_ROUND\",\"HUGE_BIT\",\"HUGE_FLAGS\","
      "\"HUGE_CLOSE\",\"HUGE_MASK\",\"HUGE_ERROR\",\"HUGE_MOST\",\"HUGE_LEAST\",5],\"listed\":\"LISTED_FAR\",\"narrow\":"
      "\"NARROW_LEAST\"}",
      "0880808080f8ffffffff01123a00f0a204c0a9d33a808080800481808080" "0688858080f8ffffffff01ffffff7fffd7a9c6f8ffffffff01ff"
      "ffffff0780808080f8ffffffff010518d285d8cc0428d095feffffffffffff01" },
    { &enums, "{\"listed\":\"LISTED_LEAST\",\"narrow\":\"NARROW_MOST\"}",
      "18cf9a9bccf8ffffffff0128cf9502" },
    { &masks, "{\"mask\":\"\"}", "0a00" },
    { &masks, "{\"mask\":\"user.displayName,photo,A\\\"b\",\"more\":[\"\",\"x\"]}",
      "0a200a11757365722e646973706c61795f6e616d650a0570686f746f0a045f612262120012030a0178" },
    { &nulls, "{\"null\":null}", "0800" },
    { &nulls, "{\"number\":5,\"list\":[null,null]}", "10051a020000" },
    { &nulls, "{\"source\":{\"fileName\":\"x\"}}", "22030a0178" },
};

/* What else it reads, and what it serialises then. */
static const pair forms[] = {
    { &scalars, "{\"an_int32\":\"5\",\"anInt64\":5,\"a_uint64\":\"100\",\"aUint32\":1.0,\"aSint32\":\"-10\",\"aDoub"
      "le\":\"2.5\",\"aFloat\":\"1e3\",\"aBool\":true}",
      "0900000000000004401500007a44180520052801306438136801a2010400000000" },
    { &scalars, "{\"anInt32\":1e2,\"anInt64\":-9.223372036854775808e18,\"aUint64\":18446744073709551615,\"aSint64\""
      ":-0,\"aFixed32\":4.294967295E9,\"aSfixed64\":\"-1\"}",
      "1864208080808080808080800130ffffffffffffffffff014dffffffff61ffffffffffffffffa2010400000000" },
    { &scalars, "{\"aDouble\":\"NaN\",\"aFloat\":\"-Infinity\"}",
      "09000000000000f87f15000080ffa2010400000000" },
    { &scalars, "{\"aDouble\":-0.0,\"aFloat\":1}",
      "090000000000000080150000803fa2010400000000" },
    { &scalars, " \012{ \"aString\" : \"\\u0068\\u00e9\\ud83d\\ude00\\/\" }",
      "720868c3a9f09f98802fa2010400000000" },
    { &scalars, "{\"\\u0061_string\":\"s\",\"someBytes\":\"-_8\"}",
      "7201737a02fbffa2010400000000" },
    { &scalars, "{\"someBytes\":\"+\\/8=\"}",
      "7a02fbffa2010400000000" },
    { &scalars, "{\"someBytes\":\"QQ\"}",
      "7a0141a2010400000000" },
    { &scalars, "{\"aColor\":\"DARK\",\"aWide\":1000000}",
      "8001fdffffffffffffffff018801c0843da2010400000000" },
    { &scalars, "{\"aColor\":1}",
      "800101a2010400000000" },
    { &scalars, "{\"aColor\":null,\"aString\":null,\"anInt32\":null,\"someBytes\":null}",
      "a2010400000000" },
    { &maybe, "{\"number\":null,\"text\":\"\",\"flag\":false}",
      "12001800" },
    { &lists, "{\"numbers\":[],\"texts\":null,\"lines\":[{\"sku\":null,\"unit_price\":null},{\"unitPrice\":{}}]}",
      "420042021a004a03000000" },
    { &choice, "{\"text\":null,\"longNumber\":\"3\",\"money\":null}",
      "1803" },
    { &choice, "{\"money\":null}",
      "" },
    { &maps, "{\"byId\":{\"-1\":{\"currency_code\":\"X\"},\"2147483647\":{}}}",
      "121008ffffffffffffffffff011203120158120808ffffffff071200" },
    { &times, "{\"at\":\"2024-02-29T12:34:56+02:00\",\"span\":\"1.5s\"}",
      "0a0608d0bb81af06120808011080cab5ee01" },
    { &times, "{\"at\":\"2024-02-29T23:34:56.1-05:30\",\"span\":\"-0.000000001s\"}",
      "0a0b08f8c385af061080c2d72f120b10ffffffffffffffffff01" },
    { &times, "{\"boxed\":5,\"boxedText\":null,\"all\":[\"1970-01-01T00:00:01Z\"]}",
      "1a02080122020805" },
    { &times, "{\"boxed\":\"-5\",\"empty\":{}}",
      "220b08fbffffffffffffffff013a00" },
    { &required, "{\"id\":1,\"mode\":\"OFF\"}",
      "08012001" },
    { &names, "{\"snake_case\":1,\"camelCase\":2,\"Upper\":3,\"with_2_digits\":4,\"doubleUnder\":5,\"Leading\":6,"
      "\"trailing\":7}",
      "0801100218032004280530063807" },
};

static restate_bytes bytes_of(const void *ptr, size_t len) {
    restate_bytes b;
    b.ptr = (const uint8_t *)ptr;
    b.len = len;
    return b;
}

/* A copy of exactly that size, so that a sanitizer sees one byte read too much. */
static restate_bytes exact(const void *ptr, size_t len) {
    uint8_t *p = malloc(len ? len : 1);
    if (len) memcpy(p, ptr, len);
    return bytes_of(p, len);
}

static void drop(restate_bytes b) { free((void *)(uintptr_t)b.ptr); }

static restate_bytes unhex(const char *hex) {
    size_t n = strlen(hex) / 2, i;
    uint8_t *p = malloc(n ? n : 1);
    for (i = 0; i < n; i++) {
        char digits[3] = { hex[2 * i], hex[2 * i + 1], 0 };
        p[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return bytes_of(p, n);
}

static const char *hex_of(restate_bytes b) {
    static char text[4096];
    size_t i;
    text[0] = 0;
    for (i = 0; i < b.len && i < sizeof text / 2 - 1; i++) sprintf(text + 2 * i, "%02x", b.ptr[i]);
    return text;
}

/* Memory for a message, filled with what must not be seen. */
static void *message_of(const codecs *type) {
    void *message = malloc(type->size);
    memset(message, 0x55, type->size);
    return message;
}

static restate_status decode(const restate_codec *c, restate_ctx *ctx, restate_bytes in, void *message) {
    return c->decode(c, ctx, in, message);
}
static restate_status encode(const restate_codec *c, restate_ctx *ctx, const void *message, restate_bytes *out) {
    return c->encode(c, ctx, message, out);
}

/* Takes bytes of one form, gives those of the other; absent: the first failed, "!": the second did. */
static restate_bytes convert(restate_ctx *ctx, const codecs *type, bool to_json, restate_bytes in) {
    void *message = message_of(type);
    restate_bytes out = { 0, 0 };
    if (decode(to_json ? &type->binary : &type->json, ctx, in, message) == RESTATE_OK
        && encode(to_json ? &type->json : &type->binary, ctx, message, &out) != RESTATE_OK)
        out = bytes_of("!", 1);
    free(message);
    return out;
}

static void check_to_json(const pair *p) {
    restate_ctx *ctx = test_ctx();
    restate_bytes in = unhex(p->hex), out = convert(ctx, p->type, true, in);
    CHECK_STR((const char *)out.ptr, p->json);
    CHECK_STR(last_failure(ctx), "");
    CHECK_STR(last_misuse(ctx), "");
    drop(in);
    test_ctx_free(ctx);
}

static void check_to_binary(const pair *p) {
    restate_ctx *ctx = test_ctx();
    restate_bytes in = exact(p->json, strlen(p->json)), out = convert(ctx, p->type, false, in);
    CHECK_STR(hex_of(out), p->hex);
    CHECK(out.ptr && out.ptr[out.len] == 0);
    CHECK_STR(last_failure(ctx), "");
    CHECK_STR(last_misuse(ctx), "");
    drop(in);
    test_ctx_free(ctx);
}

/* What a failed decoding says. */
static const char *decode_error(const codecs *type, bool json, restate_bytes in, int *code) {
    static char text[512];
    restate_ctx *ctx = test_ctx();
    void *message = message_of(type);
    restate_status status = decode(json ? &type->json : &type->binary, ctx, in, message);
    snprintf(text, sizeof text, "%s%s", last_failure(ctx), last_misuse(ctx));
    CHECK_INT(status, *text ? RESTATE_TERMINAL : RESTATE_OK);
    if (code) *code = last_code(ctx);
    free(message);
    test_ctx_free(ctx);
    return text;
}

static const char *json_error(const codecs *type, const char *json) {
    restate_bytes in = exact(json, strlen(json));
    const char *text = decode_error(type, true, in, NULL);
    drop(in);
    return text;
}

static const char *binary_error(const codecs *type, const char *hex) {
    restate_bytes in = unhex(hex);
    const char *text = decode_error(type, false, in, NULL);
    drop(in);
    return text;
}

static const char *encode_error(const restate_codec *codec, const void *message) {
    static char text[512];
    restate_ctx *ctx = test_ctx();
    restate_bytes out = bytes_of("x", 1);
    restate_status status = encode(codec, ctx, message, &out);
    snprintf(text, sizeof text, "%s%s", last_failure(ctx), last_misuse(ctx));
    CHECK_INT(status, RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 500);
    CHECK(!out.ptr && !out.len);
    test_ctx_free(ctx);
    return text;
}

static uint64_t random_state = 0x9E3779B97F4A7C15u;

static size_t random_below(size_t n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % n);
}

/* Whatever the bytes are: a message, or a failure; and what is a message goes round in both forms. */
static bool survives(const codecs *type, bool json, restate_bytes in) {
    restate_ctx *ctx = test_ctx();
    void *message = message_of(type);
    restate_bytes first, second, binary;
    const restate_codec *c = json ? &type->json : &type->binary;
    bool well = decode(c, ctx, in, message) == RESTATE_OK;
    /* Any and some paths have no JSON form. */
    bool any = well && (type == &times ? ((const pt_Times *)message)->has_any
                                       : type == &masks && encode(&type->json, ctx, message, &first) != RESTATE_OK);
    if (well) {
        CHECK_INT(encode(&type->binary, ctx, message, &binary), RESTATE_OK);
        if (!any) CHECK_INT(encode(&type->json, ctx, message, &first), RESTATE_OK);
        memset(message, 0xAA, type->size);
        CHECK_INT(decode(&type->binary, ctx, binary, message), RESTATE_OK);
    }
    if (well && !any) {
        CHECK_INT(encode(&type->json, ctx, message, &second), RESTATE_OK);
        CHECK_STR((const char *)second.ptr, (const char *)first.ptr);
        memset(message, 0xAA, type->size);
        CHECK_INT(decode(&type->json, ctx, first, message), RESTATE_OK);
        CHECK_INT(encode(&type->json, ctx, message, &second), RESTATE_OK);
        CHECK_STR((const char *)second.ptr, (const char *)first.ptr);
    }
    CHECK_STR(last_misuse(ctx), "");
    CHECK(restate__b_utf8(restate_str(last_failure(ctx))));
    if (type == &masks && any) CHECK_HAS(last_failure(ctx), "has no JSON form");
    free(message);
    test_ctx_free(ctx);
    return well;
}

/* Bytes as the server's UI shows them, or what it enters; absent: last_failure() says why not. */
static restate_bytes shown(restate_ctx *ctx, const restate_codec *c, restate_bytes in) {
    restate_bytes json = { 0, 0 };
    restate_status s = c->to_json(c, ctx, in, &json);
    CHECK_INT(s, json.ptr ? RESTATE_OK : RESTATE_TERMINAL);
    return json;
}
static restate_bytes entered(restate_ctx *ctx, const restate_codec *c, restate_bytes json) {
    restate_bytes out = { 0, 0 };
    restate_status s = c->from_json(c, ctx, json, &out);
    CHECK_INT(s, out.ptr ? RESTATE_OK : RESTATE_TERMINAL);
    return out;
}

/* Whatever the bytes are: they are shown, or there is a reason; and what was shown can be entered and is shown as
 * the same again. */
static bool survives_show(const restate_codec *c, restate_bytes in, bool json) {
    restate_ctx *ctx = test_ctx();
    restate_bytes bytes = json ? entered(ctx, c, in) : in, first, again;
    bool well = json ? bytes.ptr != NULL : true;
    first = well ? shown(ctx, c, bytes) : bytes;
    CHECK(!json || !well || first.ptr);     /* what can be entered can be shown */
    well = first.ptr != NULL;
    if (well) {
        bytes = entered(ctx, c, first);
        CHECK_STR(last_failure(ctx), "");
        again = bytes.ptr ? shown(ctx, c, bytes) : bytes;
        CHECK_STR((const char *)again.ptr, (const char *)first.ptr);
    }
    CHECK_STR(last_misuse(ctx), "");
    CHECK(restate__b_utf8(restate_str(last_failure(ctx))));
    test_ctx_free(ctx);
    return well;
}

/* ---- Against python3-protobuf ------------------------------------------------------------------------------------ */

TEST(pairs) {
    size_t i;
    for (i = 0; i < COUNT(pairs); i++) {
        test_note = pairs[i].json;
        check_to_json(&pairs[i]);
        check_to_binary(&pairs[i]);
    }
}

TEST(forms) {
    size_t i;
    for (i = 0; i < COUNT(forms); i++) {
        test_note = forms[i].json;
        check_to_binary(&forms[i]);
    }
}

#define ZEROS "00000000000000000000000000000000000000000000000000"

/* What the specification allows and that implementation does not. */
TEST(more_forms) {
    static const pair more[] = {
        { &scalars, "{\"aUint64\":\"1e2\",\"anInt32\":\"-0.0\",\"anInt64\":\"1.50e1\"}", "200f3064a2010400000000" },
        { &scalars, "{\"aFloat\":3.4028235e+38}", "15ffff7f7fa2010400000000" },
        { &scalars, "{\"aFloat\":-3.40282356e38}", "15ffff7fffa2010400000000" },
        { &scalars, "{\"anInt32\":\"\\u0031\\u0032\",\"aColor\":\"\\u0052ED\"}", "180c800101a2010400000000" },
        { &scalars, "{\"aFloat\":1e-400,\"aDouble\":\"1\"}", "09000000000000f03fa2010400000000" },
        { &scalars, "{\"exactly\":\"\"}", "a2010400000000" },
        { &scalars, "{\"anInt32\":\"1." ZEROS ZEROS ZEROS "\",\"someBytes\":\"\\u0051Q=\\u003d\"}", "18017a0141a2010400000000" },
        { &times, "{\"at\":\"1970-01-01T00:00:00.000000000Z\",\"span\":\"-0s\"}", "0a001200" },
        { &lists, "{}", "4a03000000" },
        /* In maps, too, nanopb leaves out what is 0 or empty. */
        { &maps, "{\"counts\":{},\"by_id\":null,\"yesNo\":{\"false\":\"n\",\"true\":\"y\"}}", "1a0312016e1a050801120179" },
    };
    size_t i;
    for (i = 0; i < COUNT(more); i++) {
        test_note = more[i].json;
        check_to_binary(&more[i]);
    }
}

/* Entries of maps may lack their key or value, which is the default then, or come twice: the last one counts. */
TEST(binary_maps) {
    static const pair entries[] = {
        { &maps, "{\"counts\":{\"\":0}}", "0a040a001000" },
        { &maps, "{\"counts\":{\"\":0}}", "0a00" },
        { &maps, "{\"byId\":{\"0\":{}},\"yesNo\":{\"false\":\"\"},\"big\":{\"0\":\"COLOR_UNSPECIFIED\"}}",
          "1204080012001a0408001200220408001000" },
        { &maps, "{\"byId\":{\"0\":{}},\"yesNo\":{\"false\":\"\"},\"big\":{\"0\":\"COLOR_UNSPECIFIED\"}}",
          "12001a002200" },
        { &maps, "{\"counts\":{\"b\":2,\"a\":3}}", "0a050a016110010a050a016210020a050a01611003" },
        { &maps, "{\"yesNo\":{\"true\":\"2\"}}", "1a050801120131" "1a050801120132" },
    };
    size_t i;
    for (i = 0; i < COUNT(entries); i++) {
        test_note = entries[i].hex;
        check_to_json(&entries[i]);
    }
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

TEST(wrong_json) {
    static const struct {
        const codecs *type;
        const char *json, *says;
    } wrong[] = {
        { &scalars, "", "json: pt_Scalars: expected a value, found the end at byte 0" },
        { &scalars, "{", "json: pt_Scalars: expected a member's name, found the end at byte 1" },
        { &scalars, "{}x", "json: pt_Scalars: expected the end, found 'x' at byte 2" },
        { &scalars, "[]", "json: pt_Scalars: expected an object, found array at byte 0" },
        { &scalars, " null", "json: pt_Scalars: expected an object, found null at byte 1" },
        { &scalars, "{\"anInt32\":01}", "expected no leading zero" },
        { &scalars, "{\"nope\":1}", "json: pt_Scalars has no member 'nope', found at byte 1" },
        { &scalars, "{\"AnInt32\":1}", "has no member 'AnInt32'" },
        { &scalars, "{\"aint32\":1}", "has no member 'aint32'" },
        { &scalars, "{\"\":1}", "has no member ''" },
        { &scalars, "{\"anInt3\":1}", "has no member 'anInt3'" },
        { &scalars, "{\"anInt322\":1}", "has no member 'anInt322'" },
        { &scalars, "{\"an\\u0000Int32\":1}", "has no member" },
        { &nothing, "{\"a\":1}", "json: pt_Nothing has no member 'a', found at byte 1" },
        { &lists, "{\"lines\":[{},{\"unitPrice\":{\"unit\":1}}]}",
          "json: pt_Lists.lines[1].unitPrice has no member 'unit', found at byte 27" },
        { &scalars, "{\"anInt32\":1,\"an_int32\":2}", "json: member 'anInt32' of pt_Scalars: expected each member once" },
        { &scalars, "{\"anInt32\":true}",
          "json: member 'anInt32' of pt_Scalars: expected an integer of 32 bits, found boolean at byte 11" },
        { &scalars, "{\"anInt32\":1.5}", "expected an integer of 32 bits, found 1.5 at byte 11" },
        { &scalars, "{\"anInt32\":2147483648}", "found 2147483648 at byte 11" },
        { &scalars, "{\"anInt32\":-2147483649}", "found -2147483649 at byte 11" },
        { &scalars, "{\"anInt32\":\"\"}", "expected an integer of 32 bits, found string" },
        { &scalars, "{\"anInt32\":\" 1\"}", "found string" },
        { &scalars, "{\"anInt32\":\"1 \"}", "found string" },
        { &scalars, "{\"anInt32\":\"0x1\"}", "found string" },
        { &scalars, "{\"anInt32\":\"+1\"}", "found string" },
        { &scalars, "{\"anInt32\":[1]}", "found array" },
        { &scalars, "{\"anInt32\":{}}", "found object" },
        { &scalars, "{\"anInt64\":9223372036854775808}", "expected an integer of 64 bits" },
        { &scalars, "{\"anInt64\":\"-9223372036854775809\"}", "expected an integer of 64 bits" },
        { &scalars, "{\"anInt64\":1e19}", "expected an integer of 64 bits" },
        { &scalars, "{\"aUint32\":-1}", "expected an integer of 32 bits, not negative, found -1" },
        { &scalars, "{\"aUint32\":4294967296}", "found 4294967296" },
        { &scalars, "{\"aUint64\":18446744073709551616}", "expected an integer of 64 bits, not negative" },
        { &scalars, "{\"aUint64\":\"1e20\"}", "expected an integer of 64 bits, not negative" },
        { &scalars, "{\"small\":128}", "expected an integer of 8 bits, found 128" },
        { &scalars, "{\"tiny\":65536}", "expected an integer of 16 bits, not negative, found 65536" },
        { &scalars, "{\"aDouble\":\"x\"}", "member 'aDouble' of pt_Scalars: expected a number, found string" },
        { &scalars, "{\"aDouble\":\"nan\"}", "expected a number" },
        { &scalars, "{\"aDouble\":\"+Infinity\"}", "expected a number" },
        { &scalars, "{\"aDouble\":1e400}", "expected a number in the range of its type, found 1e400" },
        { &scalars, "{\"aFloat\":3.5e38}", "expected a number in the range of its type, found 3.5e38" },
        { &scalars, "{\"aFloat\":\"-1e39\"}", "expected a number in the range of its type" },
        { &scalars, "{\"aBool\":\"true\"}", "expected a boolean, found string" },
        { &scalars, "{\"aBool\":1}", "expected a boolean, found 1" },
        { &scalars, "{\"aString\":1}", "expected a string, found 1" },
        { &scalars, "{\"aString\":\"a\\u0000\"}", "expected a string without a zero character" },
        { &scalars, "{\"aString\":\"\\ud800\"}", "expected a pair of surrogates" },
        { &scalars, "{\"aString\":\"\xFF\"}", "expected UTF-8, found byte 0xFF" },
        { &scalars, "{\"aString\":\"1234567890123456789012345678901234567890\"}",
          "expected a string of at most 39 bytes, found string at byte 11" },
        { &scalars, "{\"aString\":\"12345678901234567890123456789012345678\\u00e9\"}", "at most 39 bytes" },
        { &scalars, "{\"someBytes\":\"Q\"}", "expected bytes in base64, found string" },
        { &scalars, "{\"someBytes\":\"QQ=\"}", "expected bytes in base64" },
        { &scalars, "{\"someBytes\":\"QQ===\"}", "expected bytes in base64" },
        { &scalars, "{\"someBytes\":\"=\"}", "expected bytes in base64" },
        { &scalars, "{\"someBytes\":\"QQ==QQ==\"}", "expected bytes in base64" },
        { &scalars, "{\"someBytes\":\"Q Q=\"}", "expected bytes in base64" },
        { &scalars, "{\"someBytes\":\"QQ\\u00e9\"}", "expected bytes in base64" },
        { &scalars, "{\"someBytes\":[1]}", "expected bytes in base64, found array" },
        { &scalars, "{\"someBytes\":\"AAAAAAAAAAAAAAAAAAAAAAA=\"}", "expected at most 16 bytes in base64" },
        { &scalars, "{\"exactly\":\"AAAA\"}", "expected 4 bytes in base64" },
        { &scalars, "{\"exactly\":\"AAAAAAA=\"}", "expected 4 bytes in base64" },
        { &scalars, "{\"aColor\":\"red\"}", "member 'aColor' of pt_Scalars: expected a value of pt_Color, found string" },
        { &scalars, "{\"aColor\":\"unknown\"}", "expected a value of pt_Color" },
        { &scalars, "{\"aColor\":\"\"}", "expected a value of pt_Color" },
        { &scalars, "{\"aColor\":1.5}", "expected a value of pt_Color, found 1.5" },
        { &scalars, "{\"aColor\":2147483648}", "expected a value of pt_Color" },
        { &scalars, "{\"aColor\":true}", "expected a value of pt_Color, found boolean" },
        { &scalars, "{\"aWide\":-1}", "expected a value of pt_Wide" },
        { &scalars, "{\"aWide\":\"WIDE\"}", "expected a value of pt_Wide, found string" },
        { &enums, "{\"huge\":\"HUGE_\"}", "json: member 'huge' of pn_Enums: expected a value of pn_Huge (by name" },
        { &enums, "{\"huge\":\"unknown\"}", "expected a value of pn_Huge" },
        { &enums, "{\"huge\":2147483648}", "expected a value of pn_Huge" },
        { &enums, "{\"all\":[\"HUGE_LEAST\",\"HUGE_MORE\"]}", "json: member 'all[1]' of pn_Enums: expected a value of pn_Huge" },
        { &enums, "{\"listed\":\"LISTED\"}", "json: member 'listed' of pn_Enums: expected a value of pn_Listed, found string" },
        { &enums, "{\"hidden\":\"HIDDEN_FAR\"}", "expected a value of pn_Hidden (by name those that pn_Hidden_VALUES lists)" },
        { &enums, "{\"narrow\":\"NARROW\"}", "expected a value of pn_Narrow, found string" },
        { &masks, "{\"mask\":[]}", "json: member 'mask' of pn_Masks: expected a string, found array" },
        { &masks, "{\"mask\":\"a_b\"}", "member 'mask' of pn_Masks: expected 3 paths or fewer, of at most 23 bytes" },
        { &masks, "{\"mask\":\"a,,b\"}", "expected 3 paths or fewer" },
        { &masks, "{\"mask\":\",\"}", "expected 3 paths or fewer" },
        { &masks, "{\"mask\":\"a,b,c,d\"}", "expected 3 paths or fewer" },
        { &masks, "{\"more\":[\"a\",\"abcdefghijklmnopqrstuvwx\"]}", "member 'more[1]' of pn_Masks: expected 3 paths" },
        { &masks, "{\"more\":[\"abcdefghijklmnopqrstuvW\"]}", "member 'more[0]' of pn_Masks: expected 3 paths" },
        { &masks, "{\"mask\":\"a\\u0000\"}", "expected a string without a zero character" },
        { &nulls, "{\"null\":null,\"number\":1}", "member 'number' of pn_Nulls: expected no second member of the same oneof" },
        { &nulls, "{\"list\":[null,1.5]}", "member 'list[1]' of pn_Nulls: expected a value of google_protobuf_NullValue" },
        { &lists, "{\"numbers\":1}", "member 'numbers' of pt_Lists: expected an array, found 1" },
        { &lists, "{\"numbers\":{}}", "expected an array, found object" },
        { &lists, "{\"numbers\":[1,\"x\"]}", "member 'numbers[1]' of pt_Lists: expected an integer of 32 bits" },
        { &lists, "{\"numbers\":[null]}", "member 'numbers[0]' of pt_Lists: expected a value, found null" },
        { &lists, "{\"numbers\":[1,2,3,4,5]}", "member 'numbers' of pt_Lists: expected at most 4 elements, found array" },
        { &lists, "{\"three\":[1,2]}", "expected exactly 3 elements, found array" },
        { &lists, "{\"three\":[1,2,3,4]}", "expected exactly 3 elements" },
        { &lists, "{\"lines\":[{},{},{\"unitPrice\":{\"units\":{}}}]}",
          "json: member 'lines[2].unitPrice.units' of pt_Lists: expected an integer of 64 bits, found object at byte 38" },
        { &lists, "{\"lines\":[{\"discounts\":[{},{\"currencyCode\":\"EURO\"}]}]}",
          "json: member 'lines[0].discounts[1].currencyCode' of pt_Lists: expected a string of at most 3 bytes" },
        { &lists, "{\"lines\":[[]]}", "member 'lines[0]' of pt_Lists: expected an object, found array" },
        { &choice, "{\"text\":\"a\",\"flag\":true}", "member 'flag' of pt_Choice: expected no second member of the same" },
        { &choice, "{\"text\":\"a\",\"text\":\"b\"}", "expected each member once" },
        { &maps, "{\"counts\":[]}", "member 'counts' of pt_Maps: expected an object, found array" },
        { &maps, "{\"counts\":{\"a\":\"x\"}}", "json: member 'counts[\"a\"]' of pt_Maps: expected an integer of 32 bits" },
        { &maps, "{\"counts\":{\"a\":null}}", "member 'counts[\"a\"]' of pt_Maps: expected a value, found null" },
        { &maps, "{\"counts\":{\"a\":1,\"\\u0061\":2}}", "expected each key once" },
        { &maps, "{\"counts\":{\"a\":1,\"b\":2,\"c\":3,\"d\":4}}", "expected at most 3 members, found object" },
        { &maps, "{\"counts\":{\"123456789012\":1}}", "member 'counts[0]' of pt_Maps: expected a string of at most 11 bytes" },
        { &maps, "{\"byId\":{\"x\":{}}}", "member 'byId[0]' of pt_Maps: expected an integer of 32 bits, found string" },
        { &maps, "{\"byId\":{\"1\":{\"units\":\"x\"}}}", "member 'byId[\"1\"].units' of pt_Maps: expected an integer of 64" },
        { &maps, "{\"yesNo\":{\"1\":\"\"}}", "expected \"true\" or \"false\", found string" },
        { &times, "{\"at\":0}", "member 'at' of pt_Times: expected a time such as \"2006-01-02T15:04:05Z\", found 0" },
        { &times, "{\"at\":\"2024-02-30T00:00:00Z\"}", "expected a time" },
        { &times, "{\"at\":\"2023-02-29T00:00:00Z\"}", "expected a time" },
        { &times, "{\"at\":\"1900-02-29T00:00:00Z\"}", "expected a time" },
        { &times, "{\"at\":\"2024-13-01T00:00:00Z\"}", "expected a time" },
        { &times, "{\"at\":\"2024-01-01T24:00:00Z\"}", "expected a time" },
        { &times, "{\"at\":\"2024-01-01T00:00:00\"}", "expected a time" },
        { &times, "{\"at\":\"2024-01-01T00:00:00z\"}", "expected a time" },
        { &times, "{\"at\":\"2024-01-01 00:00:00Z\"}", "expected a time" },
        { &times, "{\"at\":\"2024-01-01T00:00:00.Z\"}", "expected a time" },
        { &times, "{\"at\":\"2024-01-01T00:00:00.1234567890Z\"}", "expected a time" },
        { &times, "{\"at\":\"2024-01-01T00:00:00+1:00\"}", "expected a time" },
        { &times, "{\"at\":\"2024-01-01T00:00:00Zx\"}", "expected a time" },
        { &times, "{\"at\":\"0000-12-31T23:59:59Z\"}", "expected a time" },
        { &times, "{\"at\":\"0001-01-01T00:00:00+00:01\"}", "expected a time" },
        { &times, "{\"at\":\"9999-12-31T23:59:59-00:01\"}", "expected a time" },
        { &times, "{\"at\":\"\"}", "expected a time" },
        { &times, "{\"span\":\"1\"}", "member 'span' of pt_Times: expected a duration such as \"1.5s\", found string" },
        { &times, "{\"span\":\"s\"}", "expected a duration" },
        { &times, "{\"span\":\"1.s\"}", "expected a duration" },
        { &times, "{\"span\":\"--1s\"}", "expected a duration" },
        { &times, "{\"span\":\"1e3s\"}", "expected a duration" },
        { &times, "{\"span\":\"315576000001s\"}", "expected a duration" },
        { &times, "{\"span\":\"9999999999999s\"}", "expected a duration" },
        { &times, "{\"boxed\":{}}", "member 'boxed' of pt_Times: expected an integer of 64 bits, found object" },
        { &times, "{\"any\":{}}", "member 'any' of pt_Times: expected no value of this type of google.protobuf" },
        { &required, "{}", "json: member 'id' of old_Required: expected a value, found '}' at byte 1" },
        { &required, "{\"id\":null}", "member 'id' of old_Required: expected a value" },
        { &required, "{\"id\":1,\"inner\":{}}", "json: member 'inner.id' of old_Required: expected a value, found '}'" },
    };
    size_t i;
    for (i = 0; i < COUNT(wrong); i++) {
        test_note = wrong[i].json;
        CHECK_HAS(json_error(wrong[i].type, wrong[i].json), wrong[i].says);
    }
}

/* A name from outside is shown, but not all of it, and cut between characters. */
TEST(long_unknown_name) {
    char json[400];
    sprintf(json, "{\"%059d\xC3\xA9%0200d\":1}", 0, 0);
    CHECK_HAS(json_error(&nothing, json), "00'..., found at byte 1");
    CHECK(restate__b_utf8(restate_str(json_error(&nothing, json))));
}

TEST(wrong_binary) {
    static const struct {
        const codecs *type;
        const char *hex, *says;
    } wrong[] = {
        { &scalars, "72", "proto: pt_Scalars.a_string: end-of-stream at byte 1 of 1" },
        { &scalars, "7205616263", "proto: pt_Scalars.a_string: end-of-stream at byte 2 of 5" },
        { &scalars, "1801722961", "proto: pt_Scalars.a_string: " },
        { &scalars, "18ffffffffffffffffffff01", "proto: pt_Scalars.an_int32: varint overflow" },
        { &scalars, "1501", "proto: pt_Scalars.a_float: end-of-stream" },
        { &scalars, "a2010200", "proto: pt_Scalars.exactly: " },
        { &scalars, "1b", "proto: pt_Scalars.an_int32: " },
        { &scalars, "9001ff01", "proto: pt_Scalars.small: integer too large" },
        { &lists, "42020a05", "proto: pt_Lists.lines.sku: " },
        { &lists, "4200420042060a0461626364420508fffff", "proto: pt_Lists.lines" },
        { &lists, "42081a061204414243444200", "proto: pt_Lists.lines.unit_price.currency_code: string overflow at byte 10 of 12" },
        { &lists, "4a0400010203", "proto: pt_Lists.three: array overflow" },
        { &lists, "4a020001", "proto: pt_Lists.three: wrong size for fixed count field" },
        { &required, "", "proto: old_Required.id: missing required field" },
        { &required, "08012a00", "proto: old_Required.inner.id: missing required field" },
        { &required, "1a", "proto: old_Required.name: end-of-stream" },
        { &nothing, "0b", "proto: pt_Nothing: invalid wire_type at byte 1 of 1" },
        { &nothing, "00", "proto: pt_Nothing: zero tag at byte 1 of 1" },
    };
    size_t i;
    for (i = 0; i < COUNT(wrong); i++) {
        test_note = wrong[i].hex;
        CHECK_HAS(binary_error(wrong[i].type, wrong[i].hex), wrong[i].says);
    }
}

/* A string is looked at wherever it is: bytes before it, and behind it. */
static const struct {
    const codecs *type;
    const char *field, *before, *after;
    size_t outer[4];                        /* places of lengths in `before` that count the string, and what follows it */
} string_places[] = {
    { &scalars, "pt_Scalars.a_string", "72", "1801", { 0 } },
    { &scalars, "pt_Scalars.a_string", "1801720178" "72", "", { 0 } },
    { &maybe, "pt_Maybe.text", "12", "1801", { 0 } },
    { &choice, "pt_Choice.text", "080112", "", { 0 } },
    { &lists, "pt_Lists.texts", "1a01611a", "1a0162", { 0 } },
    { &lists, "pt_Lists.lines.sku", "4200" "42000a", "", { 3 } },
    { &lists, "pt_Lists.lines.unit_price.currency_code", "42001a000801" "12", "", { 1, 3 } },
    { &lists, "pt_Lists.lines.discounts.currency_code", "42002200" "12", "4200", { 1, 3 } },
    { &maps, "pt_Maps.counts.key", "0a000a", "", { 1 } },
    { &maps, "pt_Maps.yes_no.value", "1a00080112", "", { 1 } },
    { &maps, "pt_Maps.spans.key", "2a00" "0a", "1200", { 1 } },
    { &times, "pt_Times.boxed_text.value", "2a000a", "", { 1 } },
    { &times, "pt_Times.any.type_url", "42000a", "", { 1 } },
    { &required, "old_Required.name", "08011a", "", { 0 } },
    { &required, "old_Required.inner.id", "08012a000a", "", { 3 } },
};

/* What cannot be in a string of C, or of JSON. */
static const struct {
    const char *bytes, *says;
    size_t len;
} wrong_strings[] = {
    { "a\0b", "string with a zero byte", 3 }, { "\0", "string with a zero byte", 1 }, { "ab\0", "string with a zero byte", 3 },
    { "\xFF", "string that is not UTF-8", 1 }, { "a\x80", "string that is not UTF-8", 2 },
    { "\xC0\x80", "string that is not UTF-8", 2 }, { "\xED\xA0\x80", "string that is not UTF-8", 3 },
    { "a\xE2\x82", "string that is not UTF-8", 3 }, { "\xC3", "string that is not UTF-8", 1 },
};

static restate_bytes string_at(size_t place, const char *text, size_t len) {
    restate_bytes before = unhex(string_places[place].before), after = unhex(string_places[place].after), out;
    uint8_t message[256];
    const size_t *outer = string_places[place].outer;
    size_t n = before.len, inside, k;
    memcpy(message, before.ptr, n);
    message[n++] = (uint8_t)len;
    memcpy(message + n, text, len);
    n += len;
    if (outer[0] && strncmp(string_places[place].after, "4200", 4) == 0) {          /* behind the outer message */
        inside = n;
        memcpy(message + n, after.ptr, after.len);
        n += after.len;
    } else {
        memcpy(message + n, after.ptr, after.len);
        inside = n += after.len;
    }
    for (k = 0; outer[k]; k++) message[outer[k]] = (uint8_t)(inside - outer[k] - 1);
    out = exact(message, n);
    drop(before);
    drop(after);
    return out;
}

/* nanopb would take them: "a\0b" would be "a" from then on, and what is not UTF-8 has no JSON. */
TEST(strings_that_cannot_be_held) {
    size_t i, k;
    char says[200];
    for (i = 0; i < COUNT(string_places); i++) {
        restate_bytes in = string_at(i, "ok", 2);
        test_note = string_places[i].field;
        CHECK_STR(decode_error(string_places[i].type, false, in, NULL), "");
        drop(in);
        for (k = 0; k < COUNT(wrong_strings); k++) {
            in = string_at(i, wrong_strings[k].bytes, wrong_strings[k].len);
            snprintf(says, sizeof says, "proto: %s: %s at byte ", string_places[i].field, wrong_strings[k].says);
            CHECK_HAS(decode_error(string_places[i].type, false, in, NULL), says);
            CHECK(survives(string_places[i].type, false, in) == false);
            drop(in);
        }
    }
}

/* What the struct could hold and JSON could not, or what it holds and the other form would not give back. */
TEST(values_that_cannot_be_held) {
    static const struct {
        const codecs *type;
        const char *hex, *says;
    } wrong[] = {
        { &times, "0a0610ff93ebdc03", "" },
        { &times, "0a06108094ebdc03", "proto: pt_Times.at: the time is out of range" },
        { &times, "0a0b10ffffffffffffffffff01", "proto: pt_Times.at: the time is out of range" },
        { &times, "0a07088083d1ffaf07", "proto: pt_Times.at: the time is out of range" },
        { &times, "0a0b08ff91b8c398feffffff01", "proto: pt_Times.at: the time is out of range" },
        { &times, "1a001a06108094ebdc03", "proto: pt_Times.all[1]: the time is out of range" },
        { &times, "12070881bcaece9709", "proto: pt_Times.span: the time is out of range" },
        { &times, "120d080110ffffffffffffffffff01", "proto: pt_Times.span: the time is out of range" },
        { &times, "120208011202" "1001", "" },
        { &times, "120b08ffffffffffffffffff011202" "1001", "proto: pt_Times.span: the time is out of range" },
        { &maps, "2a0c0a01771207" "0881bcaece9709", "proto: pt_Maps.spans[0].value: the time is out of range" },
        { &scalars, "88018080808008", "proto: pt_Scalars.a_wide: enum value out of range at byte 7 of 7" },
        { &scalars, "8801ffffffff0f", "proto: pt_Scalars.a_wide: enum value out of range" },
        { &scalars, "8801ffffffff07", "" },
        { &scalars, "8801ffffffffffffffffff01", "proto: pt_Scalars.a_wide: integer too large" },
        { &scalars, "8001ffffffff0f", "" },                                      /* a negative enum of 32 bits: -1 */
    };
    size_t i;
    for (i = 0; i < COUNT(wrong); i++) {
        restate_bytes in = unhex(wrong[i].hex);
        test_note = wrong[i].hex;
        if (*wrong[i].says) CHECK_HAS(binary_error(wrong[i].type, wrong[i].hex), wrong[i].says);
        else CHECK(survives(wrong[i].type, false, in));
        drop(in);
    }
}

/* Of an enum without a list that nobody would guess: written by name, read by number. */
TEST(hidden_names) {
    restate_ctx *ctx = test_ctx();
    restate_bytes out, in = restate_str("{\"hidden\":1234567890}");
    pn_Enums m;
    CHECK_INT(decode(&enums.json, ctx, in, &m), RESTATE_OK);
    CHECK_INT(m.hidden, pn_Hidden_HIDDEN_FAR);
    CHECK_INT(encode(&enums.json, ctx, &m, &out), RESTATE_OK);
    CHECK_STR((const char *)out.ptr, "{\"hidden\":\"HIDDEN_FAR\"}");
    m.hidden = 7;
    CHECK_INT(encode(&enums.json, ctx, &m, &out), RESTATE_OK);
    CHECK_STR((const char *)out.ptr, "{\"hidden\":7}");
    test_ctx_free(ctx);
}

/* More names than are remembered, each looked for again and again. */
TEST(names_in_a_list) {
    static const char *const words[] = { "HUGE_NONE", "HUGE_NEAR", "HUGE_ROUND", "HUGE_BIT", "HUGE_FLAGS", "HUGE_CLOSE",
                                         "HUGE_MASK", "HUGE_ERROR", "HUGE_MOST", "HUGE_LEAST" };
    static const pn_Huge values[] = { pn_Huge_HUGE_NONE, pn_Huge_HUGE_NEAR, pn_Huge_HUGE_ROUND, pn_Huge_HUGE_BIT,
                                      pn_Huge_HUGE_FLAGS, pn_Huge_HUGE_CLOSE, pn_Huge_HUGE_MASK, pn_Huge_HUGE_ERROR,
                                      pn_Huge_HUGE_MOST, pn_Huge_HUGE_LEAST };
    size_t i, k;
    for (i = 0; i < COUNT(words); i++) {
        restate_ctx *ctx = test_ctx();
        char json[400] = "{\"all\":[";
        pn_Enums m;
        for (k = 0; k < 12; k++) sprintf(json + strlen(json), "%s\"%s\"", k ? "," : "", words[(i + k * (1 + i % 3)) % COUNT(words)]);
        strcat(json, "]}");
        CHECK_INT(decode(&enums.json, ctx, restate_str(json), &m), RESTATE_OK);
        CHECK_INT(m.all_count, 12);
        for (k = 0; k < 12; k++) CHECK_INT(m.all[k], values[(i + k * (1 + i % 3)) % COUNT(words)]);
        test_ctx_free(ctx);
    }
}

/* However many names a list has: an enum is not searched again for each of them. */
static long names_asked;
static const char *apart(int32_t n) {       /* nothing near zero, no round numbers */
    static char text[16];
    names_asked++;
    if (n < 300007 || (n - 300007) % 4001) return n ? "unknown" : "ZERO";
    snprintf(text, sizeof text, "V%d", (int)((n - 300007) / 4001));
    return text;
}

TEST(different_names_in_a_list) {
    static const int32_t most[] = { 300007 + 4001 * 99, 300007 + 4001 * 180 };
    size_t t;
    for (t = 0; t < COUNT(most); t++) {
        const restate__proto_type type = { "Apart", NULL, NULL, (void (*)(void))apart, 0, 0, most[t], NULL };
        restate_ctx *ctx = test_ctx();
        restate__proto_walk w = restate__proto_begin(&enums.json, ctx, restate_str("{}"), false);
        int64_t n;
        int i;
        names_asked = 0;
        for (i = 0; i < 300; i++) {
            char name[16];
            snprintf(name, sizeof name, "V%d", i % 100);
            if (!restate__proto_named_value(&w, &type, restate_str(name), &n)) { CHECK(!"found"); continue; }
            CHECK_INT(n, 300007 + 4001 * (i % 100));
        }
        CHECK(!restate__proto_named_value(&w, &type, restate_str("NOPE"), &n));
        CHECK(restate__proto_named_value(&w, &type, restate_str("ZERO"), &n) && n == 0);
        CHECK(names_asked < 16L * 1048576);
        test_ctx_free(ctx);
    }
}

TEST(names_without_memory) {
    static const restate__proto_type type = { "Apart", NULL, NULL, (void (*)(void))apart, 0, 0, 1000000, NULL };
    restate_ctx *ctx = test_ctx();
    restate__proto_walk w = restate__proto_begin(&enums.json, ctx, restate_str("{}"), false);
    int64_t n;
    int i;
    for (i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "V%d", i);
        CHECK(restate__proto_named_value(&w, &type, restate_str(name), &n));
    }
    while (restate_alloc(ctx, 1)) mem_fail_from(&memory, 1);
    CHECK(!restate__proto_named_value(&w, &type, restate_str("V99"), &n));
    CHECK_INT(w.status, RESTATE_ENDED);
    mem_fail(&memory, 0);
    test_ctx_free(ctx);
}

/* Binary has paths that have no JSON form: these stay a matter of binary. */
TEST(mask_without_json) {
    static const char *const paths[] = { "line_2", "aB", "a__b", "a_", "a,b", "", "a.B" };
    size_t i;
    for (i = 0; i < COUNT(paths); i++) {
        restate_ctx *ctx = test_ctx();
        restate_bytes out;
        pn_Masks m = pn_Masks_init_zero;
        m.more_count = 2;
        m.more[1].paths_count = 2;
        strcpy(m.more[1].paths[0], "fine");
        strcpy(m.more[1].paths[1], paths[i]);
        test_note = paths[i];
        CHECK_STR(encode_error(&masks.json, &m), "json: pn_Masks.more[1] cannot be encoded: a path of the mask has no JSON form");
        CHECK_INT(encode(&masks.binary, ctx, &m, &out), RESTATE_OK);
        memset(&m, 0x55, sizeof m);
        CHECK_INT(decode(&masks.binary, ctx, out, &m), RESTATE_OK);
        CHECK_STR(m.more[1].paths[1], paths[i]);
        test_ctx_free(ctx);
    }
}

TEST(unknown_binary_fields) {
    static const pair p = { &nothing, "{}", "0801120261629a060101f23e" };
    restate_ctx *ctx = test_ctx();
    restate_bytes in = unhex(p.hex), out;
    in.len -= 2;
    out = convert(ctx, p.type, true, in);
    CHECK_STR((const char *)out.ptr, p.json);
    drop(in);
    test_ctx_free(ctx);
}

/* The caller's fault if they are the handler's input, else what was stored is wrong. */
TEST(codes) {
    restate_ctx *ctx = test_ctx();
    pt_Money money;
    restate_bytes input = bytes_of("\x12{}", 3);
    set_input(ctx, input);
    CHECK_INT(decode(&wallet.json, ctx, input, &money), RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 400);
    CHECK_INT(decode(&wallet.binary, ctx, input, &money), RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 400);
    input = bytes_of("\x12\x01", 3);                        /* a zero byte in a string */
    set_input(ctx, input);
    CHECK_INT(decode(&wallet.binary, ctx, input, &money), RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 400);
    CHECK_INT(decode(&wallet.binary, ctx, bytes_of("..\x12\x01\xFF" + 2, 3), &money), RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 500);
    CHECK_INT(decode(&wallet.json, ctx, bytes_of("[]", 2), &money), RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 500);
    CHECK_INT(decode(&wallet.binary, ctx, bytes_of("\x12", 1), &money), RESTATE_TERMINAL);
    CHECK_INT(last_code(ctx), 500);
    test_ctx_free(ctx);
}

TEST(absent_and_empty) {
    restate_ctx *ctx = test_ctx();
    pt_Money money = pt_Money_init_zero;
    restate_bytes none = { 0, 0 }, out;
    money.units = 7;
    CHECK_INT(decode(&wallet.json, ctx, none, &money), RESTATE_OK);
    CHECK_INT(decode(&wallet.binary, ctx, none, &money), RESTATE_OK);
    CHECK_INT(money.units, 7);
    CHECK_INT(decode(&wallet.binary, ctx, bytes_of("", 0), &money), RESTATE_OK);
    CHECK_INT(money.units, 0);
    CHECK_INT(encode(&wallet.binary, ctx, &money, &out), RESTATE_OK);
    CHECK(out.ptr && out.len == 0 && !*out.ptr);
    CHECK_INT(encode(&wallet.json, ctx, &money, &out), RESTATE_OK);
    CHECK_STR((const char *)out.ptr, "{}");
    CHECK_INT(decode(&wallet.json, ctx, bytes_of("", 0), &money), RESTATE_TERMINAL);
    test_ctx_free(ctx);
}

/* Once the attempt is over nothing is done. */
TEST(over) {
    restate_ctx *ctx = test_ctx();
    pt_Money money = pt_Money_init_zero;
    restate_bytes out;
    restate__ctx_misuse(ctx, "test", "ends it");
    CHECK_INT(encode(&wallet.json, ctx, &money, &out), RESTATE_ENDED);
    CHECK(!out.ptr);
    CHECK_INT(encode(&wallet.binary, ctx, &money, &out), RESTATE_ENDED);
    CHECK(!out.ptr);
    CHECK_INT(decode(&wallet.json, ctx, bytes_of("[]", 2), &money), RESTATE_ENDED);
    CHECK_INT(decode(&wallet.binary, ctx, bytes_of("\x12", 1), &money), RESTATE_ENDED);
    test_ctx_free(ctx);
}

/* ---- Structs that a program filled in wrongly --------------------------------------------------------------------- */

TEST(wrong_structs) {
    pt_Scalars s = pt_Scalars_init_zero;
    pt_Lists l = pt_Lists_init_zero;
    pt_Times t = pt_Times_init_zero;
    memset(s.a_string, 'a', sizeof s.a_string);
    CHECK_STR(encode_error(&scalars.json, &s), "json: pt_Scalars.aString cannot be encoded: the string does not end");
    CHECK_STR(encode_error(&scalars.binary, &s), "proto: pt_Scalars.aString cannot be encoded: the string does not end");
    strcpy(s.a_string, "\xFF");
    CHECK_STR(encode_error(&scalars.json, &s), "json: pt_Scalars.aString cannot be encoded: the string is not UTF-8");
    CHECK_STR(encode_error(&scalars.binary, &s), "proto: pt_Scalars.aString cannot be encoded: the string is not UTF-8");
    s.a_string[0] = 0;
    s.some_bytes.size = 17;
    CHECK_STR(encode_error(&scalars.json, &s), "json: pt_Scalars.someBytes cannot be encoded: there are more bytes than fit");
    CHECK_STR(encode_error(&scalars.binary, &s), "proto: pt_Scalars.someBytes cannot be encoded: there are more bytes than fit");
    l.numbers_count = 5;
    CHECK_STR(encode_error(&lists.json, &l), "json: pt_Lists.numbers cannot be encoded: there are more elements than fit");
    CHECK_STR(encode_error(&lists.binary, &l), "proto: pt_Lists.numbers cannot be encoded: there are more elements than fit");
    l.numbers_count = 0;
    l.lines_count = 2;
    l.lines[1].discounts_count = 3;
    CHECK_STR(encode_error(&lists.json, &l),
              "json: pt_Lists.lines[1].discounts cannot be encoded: there are more elements than fit");
    CHECK_STR(encode_error(&lists.binary, &l),
              "proto: pt_Lists.lines[1].discounts cannot be encoded: there are more elements than fit");
    t.has_at = true;
    t.at.seconds = 253402300800;
    CHECK_STR(encode_error(&times.json, &t), "json: pt_Times.at cannot be encoded: the time is out of range");
    CHECK_STR(encode_error(&times.binary, &t), "proto: pt_Times.at cannot be encoded: the time is out of range");
    t.at.seconds = 0;
    t.at.nanos = -1;
    CHECK_HAS(encode_error(&times.json, &t), "the time is out of range");
    t.has_at = false;
    t.has_span = true;
    t.span.seconds = 1;
    t.span.nanos = -1;
    CHECK_STR(encode_error(&times.json, &t), "json: pt_Times.span cannot be encoded: the time is out of range");
    t.has_span = false;
    t.has_any = true;
    CHECK_HAS(encode_error(&times.json, &t), "pt_Times.any cannot be encoded: this type of google.protobuf has no JSON form");
}

/* A oneof whose tag is none of its members', or an unset one, has no member. */
TEST(odd_oneof) {
    pt_Choice c = pt_Choice_init_zero;
    restate_ctx *ctx = test_ctx();
    restate_bytes out;
    c.which_what = 77;
    CHECK_INT(encode(&choice.json, ctx, &c, &out), RESTATE_OK);
    CHECK_STR((const char *)out.ptr, "{}");
    test_ctx_free(ctx);
}

/* The defaults of proto2 come back where a member is missing. */
TEST(defaults) {
    restate_ctx *ctx = test_ctx();
    old_Required r;
    restate_bytes in = restate_str("{\"id\":3}");
    memset(&r, 0x55, sizeof r);
    CHECK_INT(decode(&required.json, ctx, in, &r), RESTATE_OK);
    CHECK_INT(r.id, 3);
    CHECK(!r.has_limit && !r.has_name && !r.has_mode && !r.has_inner);
    CHECK_INT(r.limit, 7);
    CHECK_STR(r.name, "none");
    CHECK_INT(r.mode, old_Mode_ON);
    test_ctx_free(ctx);
}

/* ---- Callbacks, in binary ------------------------------------------------------------------------------------------ */

static bool put_text(pb_ostream_t *out, const pb_field_t *field, void *const *arg) {
    const char *text = (const char *)*arg;
    return pb_encode_tag_for_field(out, field) && pb_encode_string(out, (const pb_byte_t *)text, strlen(text));
}

static bool get_text(pb_istream_t *in, const pb_field_t *field, void **arg) {
    char *to = (char *)*arg;
    size_t n = in->bytes_left;
    (void)field;
    to[n] = 0;
    return n < 32 && pb_read(in, (pb_byte_t *)to, n);
}

static bool get_numbers(pb_istream_t *in, const pb_field_t *field, void **arg) {
    uint64_t n = 0;
    (void)field;
    while (in->bytes_left) {
        if (!pb_decode_varint(in, &n)) return false;
        *(uint64_t *)*arg += n;
    }
    return true;
}

static bool fails_out(pb_ostream_t *out, const pb_field_t *field, void *const *arg) {
    (void)field;
    (void)arg;
    PB_RETURN_ERROR(out, "the program says no");
}

static bool fails_in(pb_istream_t *in, const pb_field_t *field, void **arg) {
    (void)field;
    (void)arg;
    PB_RETURN_ERROR(in, "the program says no");
}

TEST(callbacks) {
    restate_ctx *ctx = test_ctx();
    pt_Calls out_message = pt_Calls_init_zero, in_message = pt_Calls_init_zero;
    char text[32] = "", given[] = "some text";
    uint64_t sum = 0;
    restate_bytes out, packed = bytes_of("\x1A\x03\x01\x02\x03\x18\x0A\x12\x02hi", 11);
    out_message.id = 9;
    out_message.text.funcs.encode = put_text;
    out_message.text.arg = given;
    CHECK_INT(encode(&calls, ctx, &out_message, &out), RESTATE_OK);
    CHECK_STR(hex_of(out), "08091209736f6d652074657874");
    in_message.text.funcs.decode = get_text;
    in_message.text.arg = text;
    in_message.numbers.funcs.decode = get_numbers;
    in_message.numbers.arg = &sum;
    CHECK_INT(decode(&calls, ctx, out, &in_message), RESTATE_OK);
    CHECK_INT(in_message.id, 9);
    CHECK_STR(text, "some text");
    CHECK_INT(decode(&calls, ctx, packed, &in_message), RESTATE_OK);
    CHECK_INT(sum, 16);
    CHECK_STR(text, "hi");
    in_message.text.funcs.decode = fails_in;
    CHECK_INT(decode(&calls, ctx, packed, &in_message), RESTATE_TERMINAL);
    CHECK_HAS(last_failure(ctx), "proto: pt_Calls.text: the program says no at byte");
    out_message.text.funcs.encode = fails_out;
    CHECK_INT(encode(&calls, ctx, &out_message, &out), RESTATE_TERMINAL);
    CHECK_STR(last_failure(ctx), "proto: pt_Calls cannot be encoded: the program says no");
    test_ctx_free(ctx);
}

/* ---- All the rest of the input space ------------------------------------------------------------------------------ */

/* No part of a JSON text is one, and no part of a message is read beyond its end. */
TEST(truncated) {
    size_t i, n;
    for (i = 0; i < COUNT(pairs); i++) {
        restate_bytes whole = unhex(pairs[i].hex);
        test_note = pairs[i].json;
        for (n = 0; n <= whole.len; n++) {
            restate_bytes part = exact(whole.ptr, n);
            CHECK(survives(pairs[i].type, false, part) || n < whole.len);
            drop(part);
        }
        drop(whole);
        for (n = 0; n <= strlen(pairs[i].json); n++) {
            restate_bytes part = exact(pairs[i].json, n);
            CHECK(survives(pairs[i].type, true, part) == (n == strlen(pairs[i].json)));
            drop(part);
        }
    }
}

static void mutate(uint8_t *p, size_t *len, size_t room, bool json) {
    static const char *const words[] = {
        "null", "true", "\"\"", "{}", "[]", "0", "-1", "1e9", "\"NaN\"", "\"\\u0000\"", "\"\\ud83d\"", ",", ":",
        "\"text\":", "\"units\":", "99999999999999999999", "\"2024-01-01T00:00:00Z\"", "\"1s\"", "\"QQ==\"", "]", "}",
    };
    size_t at = random_below(*len + 1), n;
    switch (random_below(json ? 5 : 4)) {
    case 0:
        if (at < *len) p[at] ^= (uint8_t)(1u << random_below(8));
        break;
    case 1:
        if (at < *len) p[at] = (uint8_t)random_below(256);
        break;
    case 2:
        n = random_below(*len - at + 1);
        memmove(p + at, p + at + n, *len - at - n);
        *len -= n;
        break;
    case 3:
        n = random_below(8);
        if (*len + n > room || n > *len - at) break;
        memmove(p + at + n, p + at, *len - at);
        *len += n;
        break;
    default: {
        const char *word = words[random_below(COUNT(words))];
        n = strlen(word);
        if (*len + n > room) break;
        memmove(p + at + n, p + at, *len - at);
        memcpy(p + at, word, n);
        *len += n;
    }
    }
}

TEST(fuzz) {
    size_t rounds, i;
    size_t decoded = 0;
    for (rounds = 0; rounds < 40000; rounds++) {
        const pair *p = &pairs[random_below(COUNT(pairs))];
        const codecs *type = random_below(8) ? p->type : all_codecs[random_below(COUNT(all_codecs))];
        bool json = random_below(2) != 0;
        uint8_t work[2048];
        restate_bytes from = json ? exact(p->json, strlen(p->json)) : unhex(p->hex), in;
        size_t len = from.len;
        if (type == &enums && random_below(20)) type = &choice;           /* looking for names takes its time */
        if (len) memcpy(work, from.ptr, len);
        for (i = 1 + random_below(4); i; i--) mutate(work, &len, sizeof work, json);
        in = exact(work, len);
        decoded += survives(type, json, in);
        drop(in);
        drop(from);
    }
    CHECK(decoded > 2000);
}

/* Allocation n fails, for each n there is; the arena is brought close to its end first, else none is made. */
TEST(out_of_memory) {
    static const char *const inputs[] = {
        "{\"lines\":[{\"sku\":\"A\",\"unitPrice\":{\"units\":5}}],\"texts\":[\"a\",\"b\"],\"three\":[1,2,3]}",
        "{\"floats\":[0.1000000000000000000000000000000000000000000000000000000000000000000000000000000001]}",
        "{\"numbers\":[\"x\"]}", "{\"nope\":1}",
    };
    size_t i, used, n;
    for (i = 0; i < COUNT(inputs); i++) {
        for (used = 3600; used < 4096; used += 31) {
            bool failed = true;
            for (n = 0; failed && n < 20; n++) {
                restate_ctx *ctx;
                pt_Lists l = pt_Lists_init_zero;
                restate_bytes out = { 0, 0 }, binary = { 0, 0 };
                restate_status status;
                ctx = test_ctx();
                CHECK(restate_alloc(ctx, used) != NULL);
                mem_fail_from(&memory, n + 1);
                status = decode(&lists.json, ctx, restate_str(inputs[i]), &l);
                if (status == RESTATE_OK) status = encode(&lists.json, ctx, &l, &out);
                if (status == RESTATE_OK) status = encode(&lists.binary, ctx, &l, &binary);
                failed = memory.calls > n && status == RESTATE_ENDED;
                mem_fail(&memory, 0);
                if (failed) CHECK_STR(last_misuse(ctx), "out of memory");
                else CHECK_INT(status, i < 2 ? RESTATE_OK : RESTATE_TERMINAL);
                CHECK(status != RESTATE_OK || (out.ptr && binary.ptr));
                test_ctx_free(ctx);
            }
        }
    }
    CHECK_INT(memory.blocks, 0);
}

/* ---- Schemas ------------------------------------------------------------------------------------------------------ */

static const struct { const restate_codec *codec; const char *schema; } schemas_of[] = {
    { &scalars.json,
      "{\"type\":\"object\",\"title\":\"pt_Scalars\",\"properties\":{\"aDouble\":{\"type\":\"number\"},"
      "\"aFloat\":{\"type\":\"number\"},\"anInt32\":{\"type\":\"integer\"},\"anInt64\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"int64\"},\"aUint32\":{\"type\":\"integer\"},\"aUint64\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"uint64\"},\"aSint32\":{\"type\":\"integer\"},\"aSint64\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"int64\"},\"aFixed32\":{\"type\":\"integer\"},\"aFixed64\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"uint64\"},\"aSfixed32\":{\"type\":\"integer\"},"
      "\"aSfixed64\":{\"type\":[\"string\",\"integer\"],\"format\":\"int64\"},\"aBool\":{\"type\":\"boolean\"},"
      "\"aString\":{\"type\":\"string\"},\"someBytes\":{\"type\":\"string\",\"contentEncoding\":\"base64\"},"
      "\"aColor\":{\"enum\":[\"DARK\",\"COLOR_UNSPECIFIED\",\"RED\",\"GREEN\"]},\"aWide\":{\"type\":\"string\"},"
      "\"small\":{\"type\":\"integer\"},\"tiny\":{\"type\":\"integer\"},\"exactly\":{\"type\":\"string\","
      "\"contentEncoding\":\"base64\"}},\"additionalProperties\":false}" },
    { &scalars.binary,
      "{\"type\":\"object\",\"title\":\"pt_Scalars\",\"properties\":{\"aDouble\":{\"type\":\"number\"},"
      "\"aFloat\":{\"type\":\"number\"},\"anInt32\":{\"type\":\"integer\"},\"anInt64\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"int64\"},\"aUint32\":{\"type\":\"integer\"},\"aUint64\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"uint64\"},\"aSint32\":{\"type\":\"integer\"},\"aSint64\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"int64\"},\"aFixed32\":{\"type\":\"integer\"},\"aFixed64\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"uint64\"},\"aSfixed32\":{\"type\":\"integer\"},"
      "\"aSfixed64\":{\"type\":[\"string\",\"integer\"],\"format\":\"int64\"},\"aBool\":{\"type\":\"boolean\"},"
      "\"aString\":{\"type\":\"string\"},\"someBytes\":{\"type\":\"string\",\"contentEncoding\":\"base64\"},"
      "\"aColor\":{\"type\":\"integer\"},\"aWide\":{\"type\":\"integer\"},\"small\":{\"type\":\"integer\"},"
      "\"tiny\":{\"type\":\"integer\"},\"exactly\":{\"type\":\"string\",\"contentEncoding\":\"base64\"}},"
      "\"additionalProperties\":false}" },
    { &maybe.json,
      "{\"type\":\"object\",\"title\":\"pt_Maybe\",\"properties\":{\"number\":{\"type\":\"integer\"},"
      "\"text\":{\"type\":\"string\"},\"flag\":{\"type\":\"boolean\"},\"color\":{\"enum\":[\"DARK\","
      "\"COLOR_UNSPECIFIED\",\"RED\",\"GREEN\"]},\"data\":{\"type\":\"string\",\"contentEncoding\":\"base64\"},"
      "\"x\":{\"type\":\"number\"}},\"additionalProperties\":false}" },
    { &lists.json,
      "{\"type\":\"object\",\"title\":\"pt_Lists\",\"properties\":{\"numbers\":{\"type\":\"array\","
      "\"items\":{\"type\":\"integer\"}},\"longs\":{\"type\":\"array\",\"items\":{\"type\":[\"string\",\"integer\"],"
      "\"format\":\"int64\"}},\"texts\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
      "\"blobs\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"contentEncoding\":\"base64\"}},"
      "\"colors\":{\"type\":\"array\",\"items\":{\"enum\":[\"DARK\",\"COLOR_UNSPECIFIED\",\"RED\",\"GREEN\"]}},"
      "\"flags\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}},\"floats\":{\"type\":\"array\","
      "\"items\":{\"type\":\"number\"}},\"lines\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
      "\"title\":\"pt_Line\",\"properties\":{\"sku\":{\"type\":\"string\"},\"count\":{\"type\":\"integer\"},"
      "\"unitPrice\":{\"type\":\"object\",\"title\":\"pt_Money\","
      "\"properties\":{\"units\":{\"type\":[\"string\",\"integer\"],\"format\":\"int64\"},"
      "\"currencyCode\":{\"type\":\"string\"}},\"additionalProperties\":false},"
      "\"discounts\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"title\":\"pt_Money\","
      "\"properties\":{\"units\":{\"type\":[\"string\",\"integer\"],\"format\":\"int64\"},"
      "\"currencyCode\":{\"type\":\"string\"}},\"additionalProperties\":false}}},"
      "\"additionalProperties\":false}},\"three\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}},"
      "\"additionalProperties\":false}" },
    { &choice.json,
      "{\"type\":\"object\",\"title\":\"pt_Choice\",\"properties\":{\"before\":{\"type\":\"integer\"},"
      "\"text\":{\"type\":\"string\"},\"longNumber\":{\"type\":[\"string\",\"integer\"],\"format\":\"int64\"},"
      "\"money\":{\"type\":\"object\",\"title\":\"pt_Money\",\"properties\":{\"units\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"int64\"},\"currencyCode\":{\"type\":\"string\"}},\"additionalProperties\":false},"
      "\"flag\":{\"type\":\"boolean\"},\"color\":{\"enum\":[\"DARK\",\"COLOR_UNSPECIFIED\",\"RED\",\"GREEN\"]},"
      "\"data\":{\"type\":\"string\",\"contentEncoding\":\"base64\"},\"after\":{\"type\":\"integer\"}},"
      "\"additionalProperties\":false}" },
    { &maps.json,
      "{\"type\":\"object\",\"title\":\"pt_Maps\",\"properties\":{\"counts\":{\"type\":\"object\","
      "\"additionalProperties\":{\"type\":\"integer\"}},\"byId\":{\"type\":\"object\","
      "\"additionalProperties\":{\"type\":\"object\",\"title\":\"pt_Money\","
      "\"properties\":{\"units\":{\"type\":[\"string\",\"integer\"],\"format\":\"int64\"},"
      "\"currencyCode\":{\"type\":\"string\"}},\"additionalProperties\":false}},"
      "\"yesNo\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},"
      "\"big\":{\"type\":\"object\",\"additionalProperties\":{\"enum\":[\"DARK\",\"COLOR_UNSPECIFIED\",\"RED\","
      "\"GREEN\"]}},\"spans\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\","
      "\"pattern\":\"^-\?[0-9]+([.][0-9]+)\?s$\"}}},\"additionalProperties\":false}" },
    { &times.json,
      "{\"type\":\"object\",\"title\":\"pt_Times\",\"properties\":{\"at\":{\"type\":\"string\","
      "\"format\":\"date-time\"},\"span\":{\"type\":\"string\",\"pattern\":\"^-\?[0-9]+([.][0-9]+)\?s$\"},"
      "\"all\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":\"date-time\"}},"
      "\"boxed\":{\"type\":[\"string\",\"integer\"],\"format\":\"int64\"},\"boxedText\":{\"type\":\"string\"},"
      "\"boxedFlag\":{\"type\":\"boolean\"},\"empty\":{\"type\":\"object\",\"title\":\"google_protobuf_Empty\","
      "\"properties\":{},\"additionalProperties\":false},\"any\":{}},\"additionalProperties\":false}" },
    { &required.json,
      "{\"type\":\"object\",\"title\":\"old_Required\",\"properties\":{\"id\":{\"type\":\"integer\"},"
      "\"limit\":{\"type\":\"integer\"},\"name\":{\"type\":\"string\"},\"mode\":{\"enum\":[\"OFF\",\"ON\"]},"
      "\"inner\":{\"type\":\"object\",\"title\":\"old_Inner\",\"properties\":{\"id\":{\"type\":\"string\"}},"
      "\"required\":[\"id\"],\"additionalProperties\":false}},\"required\":[\"id\"],"
      "\"additionalProperties\":false}" },
    { &nothing.json,
      "{\"type\":\"object\",\"title\":\"pt_Nothing\",\"properties\":{},\"additionalProperties\":false}" },
    { &names.json,
      "{\"type\":\"object\",\"title\":\"pt_Names\",\"properties\":{\"snakeCase\":{\"type\":\"integer\"},"
      "\"camelCase\":{\"type\":\"integer\"},\"Upper\":{\"type\":\"integer\"},"
      "\"with2Digits\":{\"type\":\"integer\"},\"doubleUnder\":{\"type\":\"integer\"},"
      "\"Leading\":{\"type\":\"integer\"},\"trailing\":{\"type\":\"integer\"}},\"additionalProperties\":false}" },
    { &enums.json,
      "{\"type\":\"object\",\"title\":\"pn_Enums\",\"properties\":{\"huge\":{\"type\":\"string\"},"
      "\"all\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"listed\":{\"enum\":[\"LISTED_NONE\","
      "\"LISTED_FAR\",\"LISTED_LEAST\"]},\"hidden\":{\"type\":\"string\"},"
      "\"narrow\":{\"enum\":[\"NARROW_LEAST\",\"NARROW_NONE\",\"NARROW_MOST\"]}},\"additionalProperties\":false}" },
    { &masks.json,
      "{\"type\":\"object\",\"title\":\"pn_Masks\",\"properties\":{\"mask\":{\"type\":\"string\"},"
      "\"more\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}},\"additionalProperties\":false}" },
    { &nulls.json,
      "{\"type\":\"object\",\"title\":\"pn_Nulls\",\"properties\":{\"null\":{\"type\":\"null\"},"
      "\"number\":{\"type\":\"integer\"},\"list\":{\"type\":\"array\",\"items\":{\"type\":\"null\"}},"
      "\"source\":{\"type\":\"object\",\"title\":\"google_protobuf_SourceContext\","
      "\"properties\":{\"fileName\":{\"type\":\"string\"}},\"additionalProperties\":false}},"
      "\"additionalProperties\":false}" },
    { &nulls.binary,
      "{\"type\":\"object\",\"title\":\"pn_Nulls\",\"properties\":{\"null\":{\"type\":\"integer\"},"
      "\"number\":{\"type\":\"integer\"},\"list\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},"
      "\"source\":{\"type\":\"object\",\"title\":\"google_protobuf_SourceContext\","
      "\"properties\":{\"fileName\":{\"type\":\"string\"}},\"additionalProperties\":false}},"
      "\"additionalProperties\":false}" },
    { &calls,
      "{\"type\":\"object\",\"title\":\"pt_Calls\",\"properties\":{\"id\":{\"type\":\"integer\"},"
      "\"money\":{\"type\":\"object\",\"title\":\"pt_Money\",\"properties\":{\"units\":{\"type\":[\"string\","
      "\"integer\"],\"format\":\"int64\"},\"currencyCode\":{\"type\":\"string\"}},"
      "\"additionalProperties\":false}}}" },
};

TEST(schemas) {
    size_t i;
    for (i = 0; i < COUNT(schemas_of); i++) {
        const restate_codec *c = schemas_of[i].codec;
        char text[4096] = "";
        size_t len = c->describe(c, text, sizeof text);
        CHECK_STR(text, schemas_of[i].schema);
        CHECK_INT(len, strlen(text));
    }
}

/* ---- Binary messages for the server's UI ------------------------------------------------------------------------ */

/* JSON is that of python3-protobuf, but for enums: the binary codec does not know their names. What is shown has to
 * be, for the JSON codec, the message that python3-protobuf means; and entering it gives its bytes. */
TEST(shown_pairs) {
    for (size_t i = 0; i < COUNT(pairs); i++) {
        const pair *p = &pairs[i];
        restate_ctx *ctx = test_ctx();
        restate_bytes in = unhex(p->hex), json, copy;
        void *message = message_of(p->type);
        restate_bytes named = { 0, 0 };
        test_note = p->json;
        json = shown(ctx, &p->type->binary, in);
        if (p->type != &nulls) {
            CHECK_INT(decode(&p->type->json, ctx, json, message), RESTATE_OK);
            CHECK_INT(encode(&p->type->json, ctx, message, &named), RESTATE_OK);
            CHECK_STR((const char *)named.ptr, p->json);
        }
        copy = exact(json.ptr, json.len);
        CHECK_STR(hex_of(entered(ctx, &p->type->binary, copy)), p->hex);
        CHECK_STR(last_failure(ctx), "");
        drop(copy);
        drop(in);
        free(message);
        test_ctx_free(ctx);
    }
    test_note = "";
}

/* Both ways. */
TEST(shown_messages) {
    static const struct { const restate_codec *codec; const char *json, *hex; } golden[] = {
        { &scalars.binary, "{\"aColor\":-3,\"aWide\":1000000,\"exactly\":\"AAAAAA==\"}",
          "8001fdffffffffffffffff018801c0843d" "a2010400000000" },
        { &maybe.binary, "{\"number\":0,\"text\":\"\",\"color\":0}", "080012002000" },
        { &maps.binary, "{\"big\":{\"1\":2}}", "220408011002" },
        { &enums.binary, "{\"huge\":-2147483648,\"all\":[70000,0],\"narrow\":35535}", "0880808080f8ffffffff011204f0a2040028cf9502" },
        { &nulls.binary, "{\"null\":0}", "0800" },
        { &nothing.binary, "{}", "" },
        { &times.binary, "{\"at\":\"1970-01-01T00:00:01Z\",\"span\":\"1.500s\",\"boxed\":\"7\",\"boxedText\":\"x\",\"empty\":{}}",
          "0a020801120808011080cab5ee01220208072a030a01783a00" },
        { &calls, "{\"id\":9,\"money\":{\"units\":\"5\"}}", "080922020805" },
        { &loose, "{\"number\":7,\"calls\":{\"id\":1},\"color\":1}", "2807320208014001" },
        { &loose, "{}", "" },
    };
    for (size_t i = 0; i < COUNT(golden); i++) {
        restate_ctx *ctx = test_ctx();
        restate_bytes in = unhex(golden[i].hex);
        test_note = golden[i].json;
        CHECK_STR((const char *)shown(ctx, golden[i].codec, in).ptr, golden[i].json);
        CHECK_STR(hex_of(entered(ctx, golden[i].codec, restate_str(golden[i].json))), golden[i].hex);
        CHECK_STR(last_failure(ctx), "");
        drop(in);
        test_ctx_free(ctx);
    }
    test_note = "";
}

/* What cannot be shown: faults of the message, and values that only a callback could read. */
TEST(not_shown) {
    static const struct { const restate_codec *codec; const char *hex, *says; } wrong[] = {
        { &lists.binary, "42020a05", "proto: pt_Lists.lines.sku: " },
        { &required.binary, "", "proto: old_Required.id: missing required field" },
        { &nothing.binary, "0b", "proto: pt_Nothing: invalid wire_type at byte 1 of 1" },
        { &times.binary, "42020a00", "json: pt_Times.any cannot be encoded: this type of google.protobuf has no JSON form here" },
        { &masks.binary, "0a030a0141", "a path of the mask has no JSON form" },
        { &calls, "12026869", "proto: pt_Calls.text: a field with a callback has no JSON form at byte 2 of 4" },
        { &calls, "08091200", "proto: pt_Calls.text: a field with a callback has no JSON form at byte " },
        { &calls, "1801", "proto: pt_Calls.numbers: a field with a callback has no JSON form at byte 2 of 2" },
        { &loose, "32021200", "proto: pt_Loose.calls.text: a field with a callback has no JSON form" },
        { &loose, "0a050a01611001", "proto: pt_Loose.counts.key: a field with a callback has no JSON form" },
        { &loose, "0a021001", "json: pt_Loose.counts cannot be encoded: a field with a callback has no JSON form" },
        { &loose, "12020801", "json: pt_Loose.names cannot be encoded: a field with a callback has no JSON form" },
        { &loose, "1a00", "json: pt_Loose.boxed cannot be encoded: a field with a callback has no JSON form" },
        { &loose, "1a020a00", "proto: pt_Loose.boxed.value: a field with a callback has no JSON form" },
        { &loose, "280722021200", "proto: pt_Loose.one.text: a field with a callback has no JSON form" },
        { &loose, "3a00", "proto: pt_Loose.texts: a field with a callback has no JSON form" },
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        restate_ctx *ctx = test_ctx();
        restate_bytes in = unhex(wrong[i].hex);
        test_note = wrong[i].hex;
        CHECK(!shown(ctx, wrong[i].codec, in).ptr);
        CHECK_HAS(last_failure(ctx), wrong[i].says);
        CHECK_STR(last_misuse(ctx), "");
        drop(in);
        test_ctx_free(ctx);
    }
    test_note = "";
}

TEST(not_entered) {
    static const struct { const restate_codec *codec; const char *json, *says; } wrong[] = {
        { &lists.binary, "", "json: pt_Lists: expected a value, found the end at byte 0" },
        { &lists.binary, "{\"numbers\":[1,", "json: pt_Lists: expected a value, found the end at byte 14" },
        { &lists.binary, "[]", "json: pt_Lists: expected an object, found " },
        { &lists.binary, "{\"lines\":[{},{\"sku\":1}]}", "json: member 'lines[1].sku' of pt_Lists: expected a string, found " },
        { &lists.binary, "{\"nope\":1}", "json: pt_Lists has no member 'nope', found at byte 1" },
        { &scalars.binary, "{\"aColor\":\"RED\"}", "json: member 'aColor' of pt_Scalars: expected the number of an enum's value, found string at byte 10" },
        { &scalars.binary, "{\"aColor\":2147483648}", "expected the number of an enum's value, found 2147483648" },
        { &scalars.binary, "{\"aWide\":-1}", "expected the number of an enum's value, found -1" },
        { &required.binary, "{}", "expected a value" },
        { &times.binary, "{\"any\":{}}", "json: member 'any' of pt_Times: expected no value of this type of google.protobuf" },
        { &calls, "{\"text\":\"x\"}", "json: member 'text' of pt_Calls: expected no value, as a field with a callback has no JSON form, found string at byte 8" },
        { &calls, "{\"numbers\":[1]}", "json: member 'numbers' of pt_Calls: expected no value, as " },
        { &loose, "{\"counts\":{\"a\":1}}", "json: member 'counts' of pt_Loose: expected no value, as " },
        { &loose, "{\"names\":{\"1\":\"a\"}}", "json: member 'names' of pt_Loose: expected no value, as " },
        { &loose, "{\"boxed\":\"eA==\"}", "json: member 'boxed' of pt_Loose: expected no value, as " },
        { &loose, "{\"one\":{\"text\":\"a\"}}", "json: member 'one.text' of pt_Loose: expected no value, as " },
        { &loose, "{\"calls\":{\"text\":\"a\"}}", "json: member 'calls.text' of pt_Loose: expected no value, as " },
        { &loose, "{\"texts\":[]}", "json: member 'texts' of pt_Loose: expected no value, as " },
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        restate_ctx *ctx = test_ctx();
        restate_bytes json = exact(wrong[i].json, strlen(wrong[i].json));
        test_note = wrong[i].json;
        CHECK(!entered(ctx, wrong[i].codec, json).ptr);
        CHECK_HAS(last_failure(ctx), wrong[i].says);
        CHECK_STR(last_misuse(ctx), "");
        drop(json);
        test_ctx_free(ctx);
    }
    test_note = "";
    {                                       /* null is no value */
        restate_ctx *ctx = test_ctx();
        CHECK_STR(hex_of(entered(ctx, &loose, restate_str("{\"counts\":null,\"boxed\":null,\"number\":1,\"texts\":null}"))), "2801");
        test_ctx_free(ctx);
    }
}

TEST(shown_without_memory) {
    const restate_bytes json = restate_str("{\"texts\":[\"a\",\"b\"],\"lines\":[{\"sku\":\"A\",\"unitPrice\":{\"units\":\"5\"}}],\"three\":[1,2,3]}");
    restate_bytes binary = unhex("1a01611a016242070a01411a0208054a03010203");
    for (unsigned way = 0; way < 2; way++) {
        bool failed = true;
        size_t n = 0;
        for (; failed && n < 20; n++) {
            restate_ctx *ctx = test_ctx();
            restate_bytes out = { 0, 0 };
            const restate_codec *c = &lists.binary;
            restate_status s;
            CHECK(restate_alloc(ctx, 4000) != NULL);
            mem_fail_from(&memory, n + 1);
            s = way ? c->from_json(c, ctx, json, &out) : c->to_json(c, ctx, binary, &out);
            failed = memory.calls > n && s == RESTATE_ENDED;
            mem_fail(&memory, 0);
            CHECK_STR(last_misuse(ctx), failed ? "out of memory" : "");
            if (!failed && way) CHECK_STR(hex_of(out), hex_of(binary));
            if (!failed && !way) CHECK_STR((const char *)out.ptr, (const char *)json.ptr);
            test_ctx_free(ctx);
        }
        CHECK(n > 1 && !failed);
    }
    drop(binary);
    CHECK_INT(memory.blocks, 0);
}

TEST(shown_fuzz) {
    static const pair more[] = {
        { NULL, "{\"id\":9,\"money\":{\"units\":\"5\"},\"text\":\"x\",\"numbers\":[1]}", "080922020805120178" },
        { NULL, "{\"number\":7,\"calls\":{\"id\":1},\"color\":1,\"boxed\":null}", "2807220208013202080140012203120178" },
        { NULL, "{\"counts\":{\"a\":1},\"names\":{\"1\":\"a\"}}", "0a050a016110011202080112020801" },
    };
    size_t well = 0;
    for (size_t rounds = 0; rounds < 30000; rounds++) {
        size_t at = random_below(COUNT(pairs) + 20);
        const pair *p = at < COUNT(pairs) ? &pairs[at] : &more[at % COUNT(more)];
        const restate_codec *c = p->type ? &p->type->binary : random_below(2) ? &calls : &loose;
        bool json = random_below(2) != 0;
        uint8_t work[2048];
        restate_bytes from = json ? exact(p->json, strlen(p->json)) : unhex(p->hex), in;
        size_t len = from.len;
        if (len) memcpy(work, from.ptr, len);
        for (size_t i = random_below(4); i; i--) mutate(work, &len, sizeof work, json);
        in = exact(work, len);
        well += survives_show(c, in, json);
        drop(in);
        drop(from);
    }
    CHECK(well > 2000);
}

/* What there is no room for is counted all the same, and nothing is written behind the room. */
TEST(schema_with_little_room) {
    const restate_codec *c = &scalars.json;
    size_t len = c->describe(c, NULL, 0), room;
    char whole[4096], text[4096];
    c->describe(c, whole, sizeof whole);
    CHECK_INT(strlen(whole), len);
    for (room = 1; room <= len + 1; room += 7) {
        memset(text, 'x', sizeof text);
        CHECK_INT(c->describe(c, text, room), len);
        CHECK_INT(strlen(text), room - 1);
        CHECK(memcmp(text, whole, room - 1) == 0);
        CHECK(text[room] == 'x');
    }
}


int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(pairs), T(forms), T(more_forms), T(binary_maps), T(wrong_json), T(long_unknown_name), T(wrong_binary),
        T(strings_that_cannot_be_held), T(values_that_cannot_be_held), T(hidden_names), T(names_in_a_list), T(different_names_in_a_list), T(names_without_memory), T(mask_without_json),
        T(unknown_binary_fields), T(codes), T(absent_and_empty), T(over), T(wrong_structs), T(odd_oneof),
        T(defaults), T(callbacks), T(truncated), T(fuzz), T(out_of_memory), T(schemas), T(schema_with_little_room),
        T(shown_pairs), T(shown_messages), T(not_shown), T(not_entered), T(shown_without_memory), T(shown_fuzz), {0}
    };
    return test_main(argc, argv, cases);
}
