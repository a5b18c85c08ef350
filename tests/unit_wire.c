/* The wire: frames bit for bit in both directions, presence, and what must be rejected. */
#define RESTATE_IMPLEMENTATION
#define RESTATE_NO_SERVER
#include "../restate.h"
#include "test.h"

#include <pb_common.h>
#include <stdlib.h>

/* `put` of a list of numbers, packed; `items` are `count` uint32_t. */
static bool put_numbers(pb_ostream_t *out, const pb_field_t *field, const void *items, size_t count) {
    const uint32_t *numbers = items;
    size_t size = 0;
    if (!count) return true;
    for (size_t i = 0; i < count; i++) size += restate__wire_varint_size(numbers[i]);
    if (!pb_encode_tag(out, PB_WT_STRING, field->tag) || !pb_encode_varint(out, size)) return false;
    for (size_t i = 0; i < count; i++)
        if (!pb_encode_varint(out, numbers[i])) return false;
    return true;
}

/* --- Tools ------------------------------------------------------------------------------------ */

static restate_allocator allocator;
typedef struct frame_head {                       /* of a frame */
    uint16_t type, flags;
    uint32_t len;                           /* of the payload */
} frame_head;

static frame_head head_of(const uint8_t *from) {
    return (frame_head){ (uint16_t)(from[0] << 8 | from[1]), (uint16_t)(from[2] << 8 | from[3]),
                   restate__b_get32(from + 4) };
}

static restate__cache chunks;
static restate__chunk *kept[RESTATE__CACHE_CLASSES];
static restate__arena arena;

static void setup(void) {
    restate_allocator none;
    memset(&none, 0, sizeof none);
    allocator = restate__mem_defaults(none);
    restate__cache_init(&chunks, &allocator, kept, 4 * RESTATE__CHUNK_BYTES);
    restate__arena_init(&arena, &chunks);
}

static void teardown(void) {
    restate__arena_free(&arena);
    restate__cache_free(&chunks);
}

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* Bytes written in hexadecimal, in a block of exactly their size so that a sanitizer sees a step
 * beyond it. The caller frees `ptr`. */
static restate_bytes unhex(const char *hex) {
    size_t len = strlen(hex) / 2, i;
    uint8_t *to = (uint8_t *)malloc(len ? len : 1);
    for (i = 0; i < len; i++) to[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return restate__b(to, len);
}

static void drop(restate_bytes b) {
    union { const uint8_t *from; void *to; } p;
    p.from = b.ptr;
    free(p.to);
}

static const char *hex(restate_bytes b) {
    static const char digits[] = "0123456789abcdef";
    char *text = (char *)restate__arena_bytes(&arena, 2 * b.len + 1);
    size_t i;
    for (i = 0; i < b.len; i++) {
        text[2 * i] = digits[b.ptr[i] >> 4];
        text[2 * i + 1] = digits[b.ptr[i] & 15];
    }
    text[2 * b.len] = 0;
    return text;
}

static const char *text(restate_bytes b) { return b.ptr ? restate__arena_text(&arena, b) : NULL; }

/* All that is in the buffer, which is empty then. */
static restate_bytes drain(restate__buf *buf) {
    size_t len = buf->len, at = 0;
    uint8_t *to = restate__arena_bytes(&arena, len + 1);
    while (buf->len) {
        restate_bytes part = restate__buf_peek(buf);
        memcpy(to + at, part.ptr, part.len);
        at += part.len;
        restate__buf_drop(buf, part.len);
    }
    return restate__b(to, len);
}

/* The frame of a message, in hexadecimal; checks that the arena gets the same payload. */
static const char *frame(uint16_t type, uint16_t flags, const pb_msgdesc_t *desc,
                         const void *message) {
    restate__buf buf;
    restate_bytes all, payload;
    frame_head h;
    restate__buf_init(&buf, &chunks);
    restate__wire_put(&buf, type, flags, desc, message);
    CHECK(!buf.failed);
    all = drain(&buf);
    restate__buf_free(&buf);
    CHECK(restate__wire_encode(&arena, desc, message, &payload));
    CHECK(payload.len + RESTATE__WIRE_HEAD == all.len);
    CHECK(restate__b_equal(payload, restate__b(all.ptr + RESTATE__WIRE_HEAD,
                                               all.len - RESTATE__WIRE_HEAD)));
    h = head_of(all.ptr);
    CHECK_INT(h.type, type);
    CHECK_INT(h.flags, flags);
    CHECK_INT(h.len, payload.len);
    return hex(all);
}

#define FRAME(code, flags, name, message) \
    frame(restate_wire_MSG_##code, flags, &restate_wire_##name##_msg, &message)
#define ZERO(x) memset(&x, 0, sizeof x)

/* Decodes a golden payload and compares the header in front of it. */
static bool decode(const char *golden, uint16_t type, const pb_msgdesc_t *desc, void *message,
                   size_t size) {
    restate_bytes all = unhex(golden), payload;
    frame_head h = head_of(all.ptr);
    CHECK_INT(h.type, type);
    CHECK_INT(h.len, all.len - RESTATE__WIRE_HEAD);
    payload = restate__arena_copy(&arena, restate__b(all.ptr + RESTATE__WIRE_HEAD,
                                                     all.len - RESTATE__WIRE_HEAD));
    drop(all);
    return restate__wire_decode(desc, message, size, payload);
}

#define DECODE(golden, code, name, message) \
    CHECK(decode(golden, restate_wire_MSG_##code, &restate_wire_##name##_msg, &message, \
                 sizeof message))

/* Decodes a payload alone. The slices stay valid until the end of the case. */
static bool accepts(const char *payload, const pb_msgdesc_t *desc, void *message, size_t size) {
    restate_bytes bytes = unhex(payload);
    restate_bytes copy = restate__arena_copy(&arena, bytes);
    drop(bytes);
    return restate__wire_decode(desc, message, size, copy);
}

#define ACCEPTS(payload, name, message) \
    accepts(payload, &restate_wire_##name##_msg, &message, sizeof message)

/* --- Golden frames, in ------------------------------------------------------------------------ */

#define START_SMALL "000000000000000e" "0a033132331203313233" "18012801"
#define START_V7 "0000000000000039" \
    "0a033132331205696e765f31180222030a016b32036f626a380340dc0b48ffffffffffffffffff" \
    "01520273635a056c312f6c3262046964656d"
#define INPUT "040000000000000b" "72090a076d792d64617461"
#define CANCEL "fbff000000000004" "10012200"
#define SLEEP_COMPLETION "800c000000000004" "08012200"
#define CALL_COMPLETION "800d000000000011" "0802320d089903120863616e63656c6564"
#define CALL_INVOCATION_ID "800e00000000000a" "08018201056d792d6964"
#define PROPOSE_ACK "0007000000000002" "0801"
#define STATE_KEYS "800600000000000b" "08018a01060a01610a0162"
#define SIGNAL_ABC "fbff00000000000a" "1a036162632a030a0176"

TEST(golden_start) {
    restate_wire_StartMessage m;
    restate_bytes element = { NULL, 0 }, key, value;
    setup();
    DECODE(START_SMALL, START, StartMessage, m);
    CHECK_STR(text(m.id), "123");
    CHECK_STR(text(m.debug_id), "123");
    CHECK_INT(m.known_entries, 1);
    CHECK(m.partial_state);
    CHECK(!m.scope.ptr && !m.key.ptr && !m.state_map.count);
    CHECK(!restate__wire_each(&m.state_map, &element));

    DECODE(START_V7, START, StartMessage, m);
    CHECK_STR(text(m.debug_id), "inv_1");
    CHECK_INT(m.known_entries, 2);
    CHECK(!m.partial_state);
    CHECK_STR(text(m.key), "obj");
    CHECK_INT(m.retry_count_since_last_stored_entry, 3);
    CHECK_INT(m.duration_since_last_stored_entry, 1500);
    CHECK(m.random_seed == UINT64_MAX);
    CHECK_STR(text(m.scope), "sc");
    CHECK_STR(text(m.limit_key), "l1/l2");
    CHECK_STR(text(m.idempotency_key), "idem");
    CHECK_INT(m.state_map.count, 1);
    CHECK(restate__wire_each(&m.state_map, &element));
    CHECK(restate__wire_entry(element, false, &key, &value));
    CHECK_STR(text(key), "k");
    CHECK(value.ptr && value.len == 0);
    CHECK(!restate__wire_each(&m.state_map, &element));
    teardown();
}

TEST(golden_input) {
    restate_wire_InputCommandMessage m;
    setup();
    DECODE(INPUT, INPUT_COMMAND, InputCommandMessage, m);
    CHECK(m.has_value);
    CHECK_STR(text(m.value.content), "my-data");
    CHECK_STR(FRAME(INPUT_COMMAND, 0, InputCommandMessage, m), INPUT);
    teardown();
}

TEST(golden_notifications) {
    restate_wire_NotificationTemplate m;
    restate_wire_SignalNotificationMessage signal;
    restate_wire_SleepCompletionNotificationMessage sleep_done;
    restate_bytes element;
    setup();
    DECODE(CANCEL, SIGNAL, NotificationTemplate, m);
    CHECK_INT(m.which_id, restate_wire_NotificationTemplate_signal_id_tag);
    CHECK_INT(m.id.signal_id, restate_wire_SIGNAL_CANCEL);
    CHECK_INT(m.which_result, restate_wire_NotificationTemplate_void_value_tag);
    CHECK_STR(FRAME(SIGNAL, 0, NotificationTemplate, m), CANCEL);
    DECODE(CANCEL, SIGNAL, SignalNotificationMessage, signal);
    CHECK_STR(FRAME(SIGNAL, 0, SignalNotificationMessage, signal), CANCEL);

    DECODE(SLEEP_COMPLETION, SLEEP_COMPLETION, NotificationTemplate, m);
    CHECK_INT(m.which_id, restate_wire_NotificationTemplate_completion_id_tag);
    CHECK_INT(m.id.completion_id, 1);
    DECODE(SLEEP_COMPLETION, SLEEP_COMPLETION, SleepCompletionNotificationMessage, sleep_done);
    CHECK_STR(FRAME(SLEEP_COMPLETION, 0, SleepCompletionNotificationMessage, sleep_done),
              SLEEP_COMPLETION);

    DECODE(CALL_COMPLETION, CALL_COMPLETION, NotificationTemplate, m);
    CHECK_INT(m.which_result, restate_wire_NotificationTemplate_failure_tag);
    CHECK_INT(m.result.failure.code, 409);
    CHECK_STR(text(m.result.failure.message), "canceled");
    CHECK_STR(FRAME(CALL_COMPLETION, 0, NotificationTemplate, m), CALL_COMPLETION);

    DECODE(CALL_INVOCATION_ID, CALL_INVOCATION_ID_COMPLETION, NotificationTemplate, m);
    CHECK_INT(m.which_result, restate_wire_NotificationTemplate_invocation_id_tag);
    CHECK_STR(text(m.result.invocation_id), "my-id");
    CHECK_STR(FRAME(CALL_INVOCATION_ID_COMPLETION, 0, NotificationTemplate, m), CALL_INVOCATION_ID);

    DECODE(STATE_KEYS, GET_LAZY_STATE_KEYS_COMPLETION, NotificationTemplate, m);
    CHECK_INT(m.which_result, restate_wire_NotificationTemplate_state_keys_tag);
    CHECK_INT(m.result.state_keys.keys.count, 2);
    CHECK(restate__wire_each(&m.result.state_keys.keys, &element) && restate__b_is(element, "a"));
    CHECK(restate__wire_each(&m.result.state_keys.keys, &element) && restate__b_is(element, "b"));
    CHECK(!restate__wire_each(&m.result.state_keys.keys, &element));

    DECODE(SIGNAL_ABC, SIGNAL, NotificationTemplate, m);
    CHECK_INT(m.which_id, restate_wire_NotificationTemplate_signal_name_tag);
    CHECK_STR(text(m.id.signal_name), "abc");
    CHECK_STR(text(m.result.value.content), "v");
    CHECK_STR(FRAME(SIGNAL, 0, NotificationTemplate, m), SIGNAL_ABC);
    teardown();
}

TEST(golden_propose_ack) {
    restate_wire_ProposeRunCompletionAckMessage m;
    setup();
    DECODE(PROPOSE_ACK, PROPOSE_RUN_COMPLETION_ACK, ProposeRunCompletionAckMessage, m);
    CHECK_INT(m.completion_id, 1);
    CHECK_STR(FRAME(PROPOSE_RUN_COMPLETION_ACK, 0, ProposeRunCompletionAckMessage, m), PROPOSE_ACK);
    teardown();
}

/* What the server sends, made by us: the lists that the tests above read. */
TEST(golden_lists_out) {
    restate_wire_StartMessage start;
    restate_wire_GetLazyStateKeysCompletionNotificationMessage keys;
    restate_pair state[2];
    restate_bytes names[2];
    setup();
    memset(state, 0, sizeof state);
    state[0].name = "k";
    names[0] = restate_str("a");
    names[1] = restate_str("b");
    ZERO(start);
    start.id = restate_str("123");
    start.debug_id = restate_str("inv_1");
    start.known_entries = 2;
    start.state_map = restate__wire_list(restate__wire_put_pairs, state, 0);
    start.key = restate_str("obj");
    start.retry_count_since_last_stored_entry = 3;
    start.duration_since_last_stored_entry = 1500;
    start.random_seed = UINT64_MAX;
    start.scope = restate_str("sc");
    start.limit_key = restate_str("l1/l2");
    start.idempotency_key = restate_str("idem");
    CHECK_STR(FRAME(START, 0, StartMessage, start), START_V7);
    ZERO(keys);
    keys.completion_id = 1;
    keys.has_state_keys = true;
    keys.state_keys.keys = restate__wire_list(restate__wire_put_bytes, names, 2);
    CHECK_STR(FRAME(GET_LAZY_STATE_KEYS_COMPLETION, 0,
                    GetLazyStateKeysCompletionNotificationMessage, keys),
              STATE_KEYS);
    teardown();
}

/* --- Golden frames, out ----------------------------------------------------------------------- */

TEST(golden_output_and_end) {
    restate_wire_OutputCommandMessage m;
    restate_wire_EndMessage end;
    setup();
    ZERO(m);
    m.which_result = restate_wire_OutputCommandMessage_value_tag;
    m.result.value.content = restate_str("out");
    CHECK_STR(FRAME(OUTPUT_COMMAND, 0, OutputCommandMessage, m),
              "0401000000000007" "72050a036f7574");
    m.result.value.content = restate_str("");
    CHECK_STR(FRAME(OUTPUT_COMMAND, 0, OutputCommandMessage, m), "0401000000000002" "7200");
    m.result.value.content = restate__b_none();
    CHECK_STR(FRAME(OUTPUT_COMMAND, 0, OutputCommandMessage, m), "0401000000000002" "7200");
    DECODE("0401000000000002" "7200", OUTPUT_COMMAND, OutputCommandMessage, m);
    CHECK_INT(m.which_result, restate_wire_OutputCommandMessage_value_tag);
    CHECK(!m.result.value.content.ptr);
    ZERO(end);
    CHECK_STR(FRAME(END, 0, EndMessage, end), "0003000000000000");
    teardown();
}

TEST(golden_state) {
    restate_wire_GetEagerStateCommandMessage state;
    restate_wire_GetEagerStateKeysCommandMessage keys;
    setup();
    ZERO(state);
    state.key = restate_str("k");
    state.which_result = restate_wire_GetEagerStateCommandMessage_void_value_tag;
    CHECK_STR(FRAME(GET_EAGER_STATE_COMMAND, 0, GetEagerStateCommandMessage, state),
              "0407000000000005" "0a016b6a00");
    ZERO(keys);
    keys.has_value = true;
    CHECK_STR(FRAME(GET_EAGER_STATE_KEYS_COMMAND, 0, GetEagerStateKeysCommandMessage, keys),
              "0408000000000002" "7200");
    teardown();
}

TEST(golden_run) {
    restate_wire_RunCommandMessage run;
    restate_wire_ProposeRunCompletionMessage proposal;
    setup();
    ZERO(run);
    run.result_completion_id = 10;
    run.name = restate_str("r");
    CHECK_STR(FRAME(RUN_COMMAND, 0, RunCommandMessage, run), "0411000000000005" "580a620172");
    ZERO(run);
    DECODE("0411000000000005" "580a620172", RUN_COMMAND, RunCommandMessage, run);
    CHECK_INT(run.result_completion_id, 10);
    CHECK_STR(text(run.name), "r");

    ZERO(proposal);
    proposal.result_completion_id = 10;
    proposal.which_result = restate_wire_ProposeRunCompletionMessage_value_tag;
    proposal.result.value = restate_str("ok");
    CHECK_STR(FRAME(PROPOSE_RUN_COMPLETION, RESTATE__WIRE_ACK, ProposeRunCompletionMessage,
                    proposal),
              "0005800000000006" "080a72026f6b");
    CHECK_STR(FRAME(PROPOSE_RUN_COMPLETION, 0, ProposeRunCompletionMessage, proposal),
              "0005000000000006" "080a72026f6b");
    proposal.result.value = restate_str("");
    CHECK_STR(FRAME(PROPOSE_RUN_COMPLETION, 0, ProposeRunCompletionMessage, proposal),
              "0005000000000004" "080a7200");
    proposal.result.value = restate__b_none();
    CHECK_STR(FRAME(PROPOSE_RUN_COMPLETION, 0, ProposeRunCompletionMessage, proposal),
              "0005000000000004" "080a7200");
    DECODE("0005800000000006" "080a72026f6b", PROPOSE_RUN_COMPLETION, ProposeRunCompletionMessage,
           proposal);
    CHECK_INT(proposal.which_result, restate_wire_ProposeRunCompletionMessage_value_tag);
    CHECK_STR(text(proposal.result.value), "ok");
    teardown();
}

#define CALL "040d00000000002a" \
    "0a0747726565746572120567726565741a02686922060a01681201762a026b3132046964656d50015802"
#define ONE_WAY_CALL "040e000000000012" "0a0747726565746572120567726565745003"

TEST(golden_calls) {
    restate_wire_CallCommandMessage call;
    restate_wire_OneWayCallCommandMessage send;
    restate_pair headers[2];
    restate_bytes element = { NULL, 0 }, key, value;
    setup();
    memset(headers, 0, sizeof headers);
    headers[0].name = "h";
    headers[0].value = "v";
    ZERO(call);
    call.service_name = restate_str("Greeter");
    call.handler_name = restate_str("greet");
    call.parameter = restate_str("hi");
    call.headers = restate__wire_list(restate__wire_put_pairs, headers, 0);
    call.key = restate_str("k1");
    call.idempotency_key = restate_str("idem");
    call.invocation_id_notification_idx = 1;
    call.result_completion_id = 2;
    CHECK_STR(FRAME(CALL_COMMAND, 0, CallCommandMessage, call), CALL);
    DECODE(CALL, CALL_COMMAND, CallCommandMessage, call);
    CHECK_STR(text(call.service_name), "Greeter");
    CHECK_STR(text(call.parameter), "hi");
    CHECK_STR(text(call.idempotency_key), "idem");
    CHECK_INT(call.headers.count, 1);
    CHECK(restate__wire_each(&call.headers, &element));
    CHECK(restate__wire_entry(element, true, &key, &value));
    CHECK_STR(text(key), "h");
    CHECK_STR(text(value), "v");
    CHECK_INT(call.result_completion_id, 2);

    ZERO(send);
    send.service_name = restate_str("Greeter");
    send.handler_name = restate_str("greet");
    send.parameter = restate_str("");
    send.invocation_id_notification_idx = 3;
    CHECK_STR(FRAME(ONE_WAY_CALL_COMMAND, 0, OneWayCallCommandMessage, send), ONE_WAY_CALL);
    DECODE(ONE_WAY_CALL, ONE_WAY_CALL_COMMAND, OneWayCallCommandMessage, send);
    CHECK_STR(FRAME(ONE_WAY_CALL_COMMAND, 0, OneWayCallCommandMessage, send), ONE_WAY_CALL);
    teardown();
}

#define COMPLETE_PROMISE "040b000000000015" "0a01701a0e08f40312016d1a060a01611201625809"

TEST(golden_promise_and_signal) {
    restate_wire_CompletePromiseCommandMessage promise;
    restate_wire_SendSignalCommandMessage signal;
    restate_pair metadata[2];
    setup();
    memset(metadata, 0, sizeof metadata);
    metadata[0].name = "a";
    metadata[0].value = "b";
    ZERO(promise);
    promise.key = restate_str("p");
    promise.which_completion = restate_wire_CompletePromiseCommandMessage_completion_failure_tag;
    promise.completion.completion_failure.code = 500;
    promise.completion.completion_failure.message = restate_str("m");
    promise.completion.completion_failure.metadata =
        restate__wire_list(restate__wire_put_pairs, metadata, 0);
    promise.result_completion_id = 9;
    CHECK_STR(FRAME(COMPLETE_PROMISE_COMMAND, 0, CompletePromiseCommandMessage, promise),
              COMPLETE_PROMISE);
    DECODE(COMPLETE_PROMISE, COMPLETE_PROMISE_COMMAND, CompletePromiseCommandMessage, promise);
    CHECK_INT(promise.which_completion,
              restate_wire_CompletePromiseCommandMessage_completion_failure_tag);
    CHECK_INT(promise.completion.completion_failure.metadata.count, 1);

    ZERO(signal);
    signal.target_invocation_id = restate_str("inv_x");
    signal.which_signal_id = restate_wire_SendSignalCommandMessage_idx_tag;
    signal.signal_id.idx = restate_wire_SIGNAL_CANCEL;
    signal.which_result = restate_wire_SendSignalCommandMessage_void_value_tag;
    CHECK_STR(FRAME(SEND_SIGNAL_COMMAND, 0, SendSignalCommandMessage, signal),
              "041000000000000b" "0a05696e765f7810012200");
    signal.signal_id.idx = 0;
    CHECK_STR(FRAME(SEND_SIGNAL_COMMAND, 0, SendSignalCommandMessage, signal),
              "041000000000000b" "0a05696e765f7810002200");
    teardown();
}

/* The encoded node of a tree, from the arrays it is given. */
static restate_bytes future(const uint32_t *completions, size_t completion_count,
                            const uint32_t *signals, size_t signal_count, const char *name,
                            const restate_bytes *nested, size_t nested_count,
                            restate_wire_CombinatorType type) {
    restate_wire_Future f;
    restate_bytes names[1], out;
    ZERO(f);
    names[0] = restate_str(name);
    f.waiting_completions = restate__wire_list(put_numbers, completions,
                                               completion_count);
    f.waiting_signals = restate__wire_list(put_numbers, signals, signal_count);
    f.waiting_named_signals = restate__wire_list(restate__wire_put_bytes, names, name ? 1 : 0);
    f.nested_futures = restate__wire_list(restate__wire_put_bytes, nested, nested_count);
    f.combinator_type = type;
    CHECK(restate__wire_encode(&arena, &restate_wire_Future_msg, &f, &out));
    return out;
}

TEST(golden_awaiting) {
    static const uint32_t one[] = { 1 }, n17[] = { 17 }, n18[] = { 18 };
    restate_wire_AwaitingOnMessage awaiting;
    restate_wire_SuspensionMessage suspension;
    restate_bytes tree, nested[2];
    setup();
    tree = future(one, 1, one, 1, NULL, NULL, 0, restate_wire_COMBINATOR_FIRST_COMPLETED);
    ZERO(awaiting);
    awaiting.awaiting_on = tree;
    CHECK_STR(FRAME(AWAITING_ON, 0, AwaitingOnMessage, awaiting),
              "000600000000000a" "0a080a01011201012801");
    ZERO(suspension);
    suspension.awaiting_on = tree;
    CHECK_STR(FRAME(SUSPENSION, 0, SuspensionMessage, suspension),
              "000100000000000a" "22080a01011201012801");
    DECODE("000100000000000a" "22080a01011201012801", SUSPENSION, SuspensionMessage, suspension);
    CHECK(restate__b_equal(suspension.awaiting_on, tree));
    ZERO(suspension);
    suspension.waiting_completions = restate__wire_list(put_numbers, one, 1);
    suspension.waiting_signals = restate__wire_list(put_numbers, one, 1);
    CHECK_STR(FRAME(SUSPENSION, 0, SuspensionMessage, suspension),
              "0001000000000006" "0a0101120101");

    nested[0] = future(NULL, 0, n17, 1, "abc", NULL, 0, restate_wire_COMBINATOR_UNKNOWN);
    nested[1] = future(NULL, 0, n18, 1, NULL, NULL, 0,
                       restate_wire_COMBINATOR_FIRST_SUCCEEDED_OR_ALL_FAILED);
    ZERO(suspension);
    suspension.awaiting_on = future(one, 1, NULL, 0, NULL, nested, 2,
                                    restate_wire_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED);
    CHECK_STR(FRAME(SUSPENSION, 0, SuspensionMessage, suspension),
              "0001000000000018" "22160a010122081201111a03616263220512011228032804");
    teardown();
}

TEST(golden_error) {
    restate_wire_ErrorMessage m;
    setup();
    ZERO(m);
    m.code = 500;
    m.message = restate_str("e");
    m.has_related_command_index = true;
    m.related_command_index = 1;
    m.related_command_name = restate_str("r");
    m.has_related_command_type = true;
    m.related_command_type = restate_wire_MSG_RUN_COMMAND;
    m.has_next_retry_delay = true;
    m.next_retry_delay = 1000;
    CHECK_STR(FRAME(ERROR, 0, ErrorMessage, m),
              "0002000000000011" "08f40312016520012a017230910840e807");
    teardown();
}

/* --- Rules ------------------------------------------------------------------------------------ */

TEST(presence) {
    restate_wire_CallCommandMessage call;
    restate_wire_AttachInvocationCommandMessage attach;
    restate_wire_ErrorMessage error;
    restate_wire_SetStateCommandMessage set;
    setup();
    ZERO(call);
    call.service_name = call.handler_name = call.parameter = call.key = call.name = restate_str("");
    CHECK_STR(FRAME(CALL_COMMAND, 0, CallCommandMessage, call), "040d000000000000");
    call.idempotency_key = call.scope = call.limit_key = restate_str("");
    CHECK_STR(FRAME(CALL_COMMAND, 0, CallCommandMessage, call), "040d000000000006" "32003a004200");
    CHECK(ACCEPTS("32003a004200", CallCommandMessage, call));
    CHECK(call.idempotency_key.ptr && call.scope.ptr && call.limit_key.ptr && !call.scope.len);
    CHECK(!call.key.ptr);

    ZERO(attach);
    attach.which_target = restate_wire_AttachInvocationCommandMessage_idempotent_request_target_tag;
    CHECK_STR(FRAME(ATTACH_INVOCATION_COMMAND, 0, AttachInvocationCommandMessage, attach),
              "0412000000000002" "1a00");
    attach.target.idempotent_request_target.service_key = restate_str("");
    attach.target.idempotent_request_target.handler_name = restate_str("");
    CHECK_STR(FRAME(ATTACH_INVOCATION_COMMAND, 0, AttachInvocationCommandMessage, attach),
              "0412000000000004" "1a021200");

    ZERO(error);
    error.has_related_command_index = true;
    error.has_related_command_type = true;
    error.has_next_retry_delay = true;
    error.related_command_name = restate_str("");
    CHECK_STR(FRAME(ERROR, 0, ErrorMessage, error), "0002000000000008" "20002a0030004000");

    ZERO(set);
    CHECK_STR(FRAME(SET_STATE_COMMAND, 0, SetStateCommandMessage, set), "0403000000000000");
    set.has_value = true;
    CHECK_STR(FRAME(SET_STATE_COMMAND, 0, SetStateCommandMessage, set), "0403000000000002" "1a00");
    teardown();
}

TEST(oneof_last_wins) {
    restate_wire_NotificationTemplate m;
    restate_wire_OutputCommandMessage output;
    restate_wire_SendSignalCommandMessage signal;
    setup();
    CHECK(ACCEPTS("0801" "1a0161" "1005", NotificationTemplate, m));
    CHECK_INT(m.which_id, restate_wire_NotificationTemplate_signal_id_tag);
    CHECK_INT(m.id.signal_id, 5);
    CHECK(ACCEPTS("1005" "1a0161", NotificationTemplate, m));
    CHECK_INT(m.which_id, restate_wire_NotificationTemplate_signal_name_tag);
    CHECK_STR(text(m.id.signal_name), "a");
    CHECK(ACCEPTS("320608f40312016d" "2a030a0176", NotificationTemplate, m));
    CHECK_INT(m.which_result, restate_wire_NotificationTemplate_value_tag);
    CHECK_STR(text(m.result.value.content), "v");
    CHECK(ACCEPTS("2a030a0176" "8201026964" "3200", NotificationTemplate, m));
    CHECK_INT(m.which_result, restate_wire_NotificationTemplate_failure_tag);
    CHECK(!m.result.failure.code && !m.result.failure.message.ptr &&
          !m.result.failure.metadata.count);
    CHECK(ACCEPTS("7a0308f403" "7200", OutputCommandMessage, output));
    CHECK_INT(output.which_result, restate_wire_OutputCommandMessage_value_tag);
    CHECK(!output.result.value.content.ptr);
    CHECK(ACCEPTS("1001" "1a00", SendSignalCommandMessage, signal));
    CHECK_INT(signal.which_signal_id, restate_wire_SendSignalCommandMessage_name_tag);
    CHECK(signal.signal_id.name.ptr && !signal.signal_id.name.len);
    teardown();
}

static bool has(uint32_t tag, restate_bytes message) {
    const restate__row *rows = restate__rows_restate_wire_OutputCommandMessage;
    restate__wire_item item;
    return restate__row_get(rows, restate__row_of(rows, tag), message, 0, &item);
}

/* As in the structs, so in what replay compares. */
TEST(oneof_last_wins_where_messages_are_compared) {
    restate_bytes value_last = unhex("7a0308f403" "7200"), failure_last = unhex("7200" "7a0308f403");
    CHECK(has(restate_wire_OutputCommandMessage_value_tag, value_last));
    CHECK(!has(restate_wire_OutputCommandMessage_failure_tag, value_last));
    CHECK(has(restate_wire_OutputCommandMessage_failure_tag, failure_last));
    CHECK(!has(restate_wire_OutputCommandMessage_value_tag, failure_last));
    drop(value_last);
    drop(failure_last);
}

TEST(unknown_fields_are_skipped) {
    restate_wire_RunCommandMessage m;
    setup();
    /* tags 100 (number), 101 (bytes), 102 (64 bit), 103 (32 bit), and a name that comes twice */
    CHECK(ACCEPTS("a00605" "580a" "aa0603010203" "620178" "b1060102030405060708" "bd0601020304"
                  "620172", RunCommandMessage, m));
    CHECK_INT(m.result_completion_id, 10);
    CHECK_STR(text(m.name), "r");
    CHECK(ACCEPTS("", RunCommandMessage, m));
    CHECK(!m.name.ptr && !m.result_completion_id);
    teardown();
}

TEST(malformed_is_rejected) {
    static const char *const cases[] = {
        "60ff01",                           /* name (12) as a number */
        "61" "0102030405060708",            /* as 64 bit */
        "65" "01020304",                    /* as 32 bit */
        "5a0101",                           /* result_completion_id (11) as bytes */
        "0001", "00",                       /* tag 0 */
        "63", "64",                         /* groups */
        "66", "67",                         /* no such wire types */
        "6205" "72",                        /* length beyond the end */
        "62ffffffff0f" "72",
        "62ffffffffffffffffff01" "72",
        "58ffffffffffffffffffff01",         /* eleven bytes */
        "6202c080", "6201ff", "6203eda080", /* not UTF-8: overlong, no such byte, a surrogate */
        "6202c3", "6204f4908080"            /* cut off; beyond the last character */
    };
    restate_wire_RunCommandMessage m;
    restate_wire_NotificationTemplate n;
    restate_wire_InputCommandMessage input;
    restate_wire_StartMessage start;
    size_t i;
    setup();
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_note = cases[i];
        CHECK(!ACCEPTS(cases[i], RunCommandMessage, m));
    }
    test_note = "";
    CHECK(!ACCEPTS("1801", NotificationTemplate, n));           /* signal_name as a number */
    CHECK(!ACCEPTS("820101ff", NotificationTemplate, n));       /* invocation_id is not UTF-8 */
    CHECK(!ACCEPTS("2a020801", NotificationTemplate, n));       /* a Value's content as a number */
    CHECK(!ACCEPTS("2a020a01" "61", NotificationTemplate, n));  /* content beyond its Value */
    CHECK(!ACCEPTS("0801", InputCommandMessage, input));        /* headers as a number */
    CHECK(ACCEPTS("0a01ff", StartMessage, start));              /* bytes need not be UTF-8 */
    CHECK(!ACCEPTS("1201ff", StartMessage, start));
    teardown();
}

TEST(repeated_numbers) {
    static const char *const forms[] = {
        "0a0601ac02ffff03", "0801" "08ac02" "08ffff03", "0a0101" "08ac02" "0a03ffff03"
    };
    restate_wire_SuspensionMessage m;
    size_t i;
    setup();
    for (i = 0; i < 3; i++) {
        restate_bytes bytes = unhex(forms[i]);
        restate__wire_reader r;
        restate__wire_item item;
        uint64_t got[4], n = 0;
        size_t count = 0;
        test_note = forms[i];
        CHECK(restate__wire_decode(&restate_wire_SuspensionMessage_msg, &m, sizeof m, bytes));
        r = restate__wire_read(bytes);
        while (restate__wire_next(&r, &item)) {
            CHECK_INT(item.tag, 1);
            while (count < 4 && restate__wire_number(&item, &n)) got[count++] = n;
            CHECK_INT(item.bytes.len, 0);
        }
        CHECK(!r.bad);
        CHECK_INT(count, 3);
        if (count == 3) CHECK(got[0] == 1 && got[1] == 300 && got[2] == 65535);
        drop(bytes);
    }
    teardown();
}

TEST(malformed_packed_numbers) {
    restate_bytes bytes = unhex("0a0201ac");
    restate__wire_reader r = restate__wire_read(bytes);
    restate__wire_item item;
    restate_wire_SuspensionMessage m;
    uint64_t n = 0;
    CHECK(!restate__wire_decode(&restate_wire_SuspensionMessage_msg, &m, sizeof m, bytes));
    CHECK(restate__wire_next(&r, &item));
    CHECK(restate__wire_number(&item, &n) && n == 1);
    CHECK(!restate__wire_number(&item, &n));
    CHECK_INT(item.bytes.len, 1);
    drop(bytes);
}

TEST(reader) {
    static const char *const bad[] = {
        "00", "0001", "07", "0b", "0c", "0e", "08", "0880", "08ffffffffffffffffff02",
        "08ffffffffffffffffffff01", "0a", "0a01", "0a80", "0affffffffffffffffff01",
        "0901020304050607", "0d010203", "ffffffffff0f"
    };
    restate_bytes bytes = unhex("08ffffffffffffffffff01" "1203616263" "1d01020304"
                                "210102030405060708"
                                "2a00" "f8ffffff0f07");
    restate__wire_reader r = restate__wire_read(bytes);
    restate__wire_item item;
    size_t i;
    CHECK(restate__wire_next(&r, &item) && item.tag == 1 && item.number == UINT64_MAX &&
          !item.bytes.ptr);
    CHECK(restate__wire_next(&r, &item) && item.tag == 2 && restate__b_is(item.bytes, "abc"));
    CHECK(restate__wire_next(&r, &item) && item.tag == 3 && item.number == 0x04030201);
    CHECK(restate__wire_next(&r, &item) && item.tag == 4 && item.number == 0x0807060504030201u);
    CHECK(restate__wire_next(&r, &item) && item.tag == 5 && item.bytes.ptr && !item.bytes.len);
    CHECK(restate__wire_next(&r, &item) && item.tag == 0x1FFFFFFF && item.number == 7);
    CHECK(!restate__wire_next(&r, &item) && !r.bad);
    drop(bytes);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_note = bad[i];
        bytes = unhex(bad[i]);
        r = restate__wire_read(bytes);
        CHECK(!restate__wire_next(&r, &item) && r.bad);
        CHECK(!restate__wire_next(&r, &item) && r.bad);
        drop(bytes);
    }
    test_note = "";
    r = restate__wire_read(restate__b_none());
    CHECK(!restate__wire_next(&r, &item) && !r.bad);
}

TEST(lists_with_other_fields_between) {
    restate_wire_InputCommandMessage m;
    restate_bytes element, key, value;
    const char *keys = "abc";
    setup();
    CHECK(!ACCEPTS("0a030a0161" "6201ce" "72020a00", InputCommandMessage, m));  /* bad name */
    CHECK(ACCEPTS("0a030a0161" "620178" "0a060a016212017a" "72030a0176" "0a050a016312006a00",
                  InputCommandMessage, m));
    CHECK_INT(m.headers.count, 3);
    for (; *keys; keys++) {
        CHECK(restate__wire_each(&m.headers, &element));
        CHECK(restate__wire_entry(element, true, &key, &value));
        CHECK(key.len == 1 && key.ptr[0] == (uint8_t)*keys);
        CHECK(value.ptr != NULL);
    }
    CHECK(!restate__wire_each(&m.headers, &element));
    CHECK_STR(text(m.value.content), "v");
    CHECK(!restate__wire_entry(restate_str("\x0a\x01\xff"), true, &key, &value));
    CHECK(restate__wire_entry(restate_str("\x0a\x01\xff"), false, &key, &value));
    CHECK(!restate__wire_entry(restate_str("\x08\x01"), false, &key, &value));
    CHECK(!restate__wire_entry(restate_str("\x0a\x05x"), false, &key, &value));
    teardown();
}

TEST(frames_across_chunks) {
    static uint8_t filler[RESTATE__CHUNK_BYTES];
    restate_wire_RunCommandMessage run;
    size_t capacity = RESTATE__CHUNK_BYTES - RESTATE__CHUNK_HEAD, before;
    setup();
    ZERO(run);
    run.result_completion_id = 10;
    run.name = restate_str("r");
    for (before = capacity - 16; before <= capacity + 1; before++) {
        restate__buf buf;
        restate_bytes all;
        restate__buf_init(&buf, &chunks);
        restate__buf_write(&buf, filler, before);
        restate__wire_put(&buf, restate_wire_MSG_RUN_COMMAND, 0,
                          &restate_wire_RunCommandMessage_msg, &run);
        restate__wire_put(&buf, restate_wire_MSG_RUN_COMMAND, 0,
                          &restate_wire_RunCommandMessage_msg, &run);
        all = drain(&buf);
        CHECK_STR(hex(restate__b(all.ptr + before, all.len - before)),
                  "0411000000000005" "580a620172" "0411000000000005" "580a620172");
        restate__buf_free(&buf);
    }
    teardown();
}

TEST(large_values) {
    static uint8_t content[300000];
    restate_wire_OutputCommandMessage m, again;
    restate__buf buf;
    restate_bytes all;
    setup();
    memset(content, 'x', sizeof content);
    ZERO(m);
    m.which_result = restate_wire_OutputCommandMessage_value_tag;
    m.result.value.content = restate__b(content, sizeof content);
    restate__buf_init(&buf, &chunks);
    restate__wire_put(&buf, restate_wire_MSG_OUTPUT_COMMAND, 0,
                      &restate_wire_OutputCommandMessage_msg, &m);
    all = drain(&buf);
    CHECK_INT(head_of(all.ptr).len, all.len - RESTATE__WIRE_HEAD);
    all = restate__b(all.ptr + RESTATE__WIRE_HEAD, all.len - RESTATE__WIRE_HEAD);
    CHECK(restate__wire_decode(&restate_wire_OutputCommandMessage_msg, &again, sizeof again, all));
    CHECK(restate__b_equal(again.result.value.content, m.result.value.content));
    restate__buf_free(&buf);
    teardown();
}

/* What lies in the arena that outlives the buffer is sent from there. Other bytes are copied: whoever gave them may
 * use their memory again. */
TEST(large_values_are_sent_from_where_they_lie_only_if_they_stay) {
    static uint8_t of_others[20000];
    restate_bytes all, there;
    restate__buf buf;
    setup();
    restate__buf_init(&buf, &chunks);
    buf.stable = &arena;
    memset(of_others, 'x', sizeof of_others);
    there = restate__arena_copy(&arena, restate__b(of_others, sizeof of_others));
    CHECK(restate__buf_write(&buf, of_others, sizeof of_others));
    CHECK(restate__buf_write(&buf, there.ptr, there.len));
    CHECK(buf.last->elsewhere == there.ptr);
    memset(of_others, 'y', sizeof of_others);
    all = drain(&buf);
    CHECK_INT(all.len, 2 * sizeof of_others);
    CHECK(all.len && !memchr(all.ptr, 'y', all.len));
    restate__buf_free(&buf);
    teardown();
}

static void *no_alloc(void *user, size_t size) {
    (void)user, (void)size;
    return NULL;
}

static void *no_realloc(void *user, void *old, size_t old_size, size_t size) {
    (void)user, (void)old, (void)old_size, (void)size;
    return NULL;
}

static void no_free(void *user, void *old, size_t size) { (void)user, (void)old, (void)size; }

TEST(out_of_memory) {
    restate_wire_RunCommandMessage run;
    restate__buf buf;
    restate_bytes out;
    setup();
    allocator.alloc = no_alloc;
    allocator.realloc = no_realloc;
    allocator.free = no_free;
    ZERO(run);
    run.name = restate_str("r");
    restate__buf_init(&buf, &chunks);
    restate__wire_put(&buf, restate_wire_MSG_RUN_COMMAND, 0, &restate_wire_RunCommandMessage_msg,
                      &run);
    CHECK(buf.failed);
    CHECK(!restate__wire_encode(&arena, &restate_wire_RunCommandMessage_msg, &run, &out));
    CHECK(!out.ptr && arena.failed);
}

/* Half a frame would read as a whole one. */
TEST(no_half_of_a_frame_stays_when_memory_runs_out) {
    static uint8_t content[300000];
    restate_wire_OutputCommandMessage m;
    restate_wire_RunCommandMessage run;
    restate__buf buf;
    size_t before;
    setup();
    restate__buf_init(&buf, &chunks);
    ZERO(run);
    run.name = restate_str("r");
    restate__wire_put(&buf, restate_wire_MSG_RUN_COMMAND, 0, &restate_wire_RunCommandMessage_msg, &run);
    before = buf.len;
    allocator.alloc = no_alloc;
    ZERO(m);
    m.which_result = restate_wire_OutputCommandMessage_value_tag;
    m.result.value.content = restate__b(content, sizeof content);
    restate__wire_put(&buf, restate_wire_MSG_OUTPUT_COMMAND, 0, &restate_wire_OutputCommandMessage_msg, &m);
    CHECK(buf.failed && before > RESTATE__WIRE_HEAD);
    CHECK_INT(buf.len, before);
    buf.failed = false;
    restate__wire_put_encoded(&buf, restate_wire_MSG_OUTPUT_COMMAND, restate__b(content, sizeof content));
    CHECK(buf.failed);
    CHECK_INT(buf.len, before);
    restate__buf_free(&buf);
    teardown();
}

static bool refuse(pb_ostream_t *out, const pb_field_t *field, const void *items, size_t count) {
    (void)out, (void)field, (void)items, (void)count;
    return false;
}

TEST(list_that_cannot_be_written) {
    restate_wire_StateKeys keys;
    restate__buf buf;
    restate_bytes out;
    setup();
    ZERO(keys);
    keys.keys = restate__wire_list(refuse, NULL, 1);
    restate__buf_init(&buf, &chunks);
    restate__wire_put(&buf, 1, 0, &restate_wire_StateKeys_msg, &keys);
    CHECK(buf.failed);
    CHECK(!restate__wire_encode(&arena, &restate_wire_StateKeys_msg, &keys, &out) && !out.ptr);
    restate__buf_free(&buf);
    teardown();
}

/* --- Hostile input ---------------------------------------------------------------------------- */

static const char *const goldens[] = {
    START_SMALL, START_V7, INPUT, CANCEL, SLEEP_COMPLETION, CALL_COMPLETION, CALL_INVOCATION_ID,
    PROPOSE_ACK,
    STATE_KEYS, SIGNAL_ABC, CALL, ONE_WAY_CALL, COMPLETE_PROMISE,
    "0401000000000007" "72050a036f7574", "0407000000000005" "0a016b6a00", "0411000000000005"
    "580a620172",
    "0005800000000006" "080a72026f6b", "041000000000000b" "0a05696e765f7810012200",
    "0001000000000018" "22160a010122081201111a03616263220512011228032804",
    "0001000000000006" "0a0101120101", "0002000000000011" "08f40312016520012a017230910840e807"
};
#define GOLDENS (sizeof goldens / sizeof *goldens)

#define MESSAGE(name) { &restate_wire_##name##_msg, sizeof(restate_wire_##name) }
static const struct message {
    const pb_msgdesc_t *desc;
    size_t size;
} messages[] = {
    MESSAGE(StartMessage), MESSAGE(StartMessage_StateEntry), MESSAGE(SuspensionMessage),
    MESSAGE(ErrorMessage), MESSAGE(EndMessage), MESSAGE(CommandAckMessage),
    MESSAGE(ProposeRunCompletionMessage), MESSAGE(AwaitingOnMessage),
    MESSAGE(ProposeRunCompletionAckMessage), MESSAGE(InputCommandMessage),
    MESSAGE(OutputCommandMessage), MESSAGE(GetLazyStateCommandMessage),
    MESSAGE(SetStateCommandMessage), MESSAGE(ClearStateCommandMessage),
    MESSAGE(ClearAllStateCommandMessage), MESSAGE(GetLazyStateKeysCommandMessage),
    MESSAGE(GetEagerStateCommandMessage), MESSAGE(GetEagerStateKeysCommandMessage),
    MESSAGE(GetPromiseCommandMessage), MESSAGE(PeekPromiseCommandMessage),
    MESSAGE(CompletePromiseCommandMessage), MESSAGE(SleepCommandMessage),
    MESSAGE(CallCommandMessage), MESSAGE(OneWayCallCommandMessage),
    MESSAGE(SendSignalCommandMessage), MESSAGE(RunCommandMessage),
    MESSAGE(AttachInvocationCommandMessage), MESSAGE(GetInvocationOutputCommandMessage),
    MESSAGE(CompleteAwakeableCommandMessage), MESSAGE(NotificationTemplate),
    MESSAGE(SignalNotificationMessage), MESSAGE(GetLazyStateCompletionNotificationMessage),
    MESSAGE(GetLazyStateKeysCompletionNotificationMessage),
    MESSAGE(GetPromiseCompletionNotificationMessage),
    MESSAGE(PeekPromiseCompletionNotificationMessage),
    MESSAGE(CompletePromiseCompletionNotificationMessage),
    MESSAGE(SleepCompletionNotificationMessage),
    MESSAGE(CallInvocationIdCompletionNotificationMessage),
    MESSAGE(CallCompletionNotificationMessage), MESSAGE(RunCompletionNotificationMessage),
    MESSAGE(AttachInvocationCompletionNotificationMessage),
    MESSAGE(GetInvocationOutputCompletionNotificationMessage), MESSAGE(Future),
};
#define MESSAGES (sizeof messages / sizeof *messages)

typedef union any_message {
    restate_wire_StartMessage start;
    restate_wire_CallCommandMessage call;
    restate_wire_Future future;
    uint64_t room[128];
} any_message;

static bool inside(restate_bytes part, restate_bytes all) {
    return !part.ptr || (part.ptr >= all.ptr && part.ptr <= all.ptr + all.len &&
                         part.len <= (size_t)(all.ptr + all.len - part.ptr));
}

/* Every slice of a decoded message lies in what it was decoded from. */
static void check_slices(const pb_msgdesc_t *desc, void *message, restate_bytes all) {
    pb_field_iter_t field;
    if (!pb_field_iter_begin(&field, desc, message)) return;
    do {
        bool slice = PB_ATYPE(field.type) == PB_ATYPE_CALLBACK;
        if (PB_HTYPE(field.type) == PB_HTYPE_ONEOF && *(pb_size_t *)field.pSize != field.tag)
            continue;
        if (slice && PB_HTYPE(field.type) == PB_HTYPE_REPEATED) {
            restate_wire_list list = *(restate_wire_list *)field.pData;
            restate_bytes element, key, value;
            size_t count = list.count, seen = 0;
            while (restate__wire_each(&list, &element)) {
                seen++;
                CHECK(element.ptr && inside(element, all));
                if (restate__wire_entry(element, true, &key, &value))
                    CHECK(inside(key, all) && inside(value, all));
            }
            CHECK(seen <= count);
        } else if (slice) {
            CHECK(inside(*(restate_bytes *)field.pData, all));
        } else if (PB_LTYPE_IS_SUBMSG(field.type)) {
            check_slices(field.submsg_desc, field.pData, all);
        }
    } while (pb_field_iter_next(&field));
}

static void try_all(restate_bytes payload) {
    any_message m;
    restate__wire_reader r = restate__wire_read(payload);
    restate__wire_item item;
    size_t i;
    while (restate__wire_next(&r, &item)) CHECK(inside(item.bytes, payload));
    for (i = 0; i < MESSAGES; i++)
        if (restate__wire_decode(messages[i].desc, &m, messages[i].size, payload))
            check_slices(messages[i].desc, &m, payload);
}

/* Cut off anywhere, a message is rejected or is the beginning of itself; nothing is read beyond. */
TEST(truncated_at_every_byte) {
    size_t i, len, fit = 0;
    for (i = 0; i < MESSAGES; i++) CHECK(messages[i].size <= sizeof(any_message));
    for (i = 0; i < GOLDENS; i++) {
        restate_bytes all = unhex(goldens[i]);
        for (len = 0; len + RESTATE__WIRE_HEAD <= all.len; len++) {
            uint8_t *cut = (uint8_t *)malloc(len ? len : 1);
            if (len) memcpy(cut, all.ptr + RESTATE__WIRE_HEAD, len);
            test_note = goldens[i];
            try_all(restate__b(cut, len));
            free(cut);
            fit++;
        }
        drop(all);
    }
    CHECK(fit > GOLDENS);
    test_note = "";
}

TEST(run_truncated) {
    static const char whole[] = "580a620172";
    static const bool fine[] = { true, false, true, false, false, true };
    restate_wire_RunCommandMessage m;
    size_t len;
    setup();
    for (len = 0; len <= 5; len++) {
        char part[sizeof whole];
        memcpy(part, whole, sizeof whole);
        part[2 * len] = 0;
        test_note = restate__arena_printf(&arena, "%s", part);
        CHECK(ACCEPTS(part, RunCommandMessage, m) == fine[len]);
    }
    test_note = "";
    teardown();
}

static uint64_t random_state;

static uint32_t random_below(uint32_t n) {          /* xorshift; the same every time */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % n;
}

static void fuzz_once(void) {
    restate_bytes base = unhex(goldens[random_below(GOLDENS)]);
    size_t len = base.len - RESTATE__WIRE_HEAD, i, changes = random_below(4),
        extra = random_below(12);
    uint8_t *data;
    if (random_below(4) == 0) len = 0, extra = random_below(60);
    data = (uint8_t *)malloc(len + extra ? len + extra : 1);
    if (len) memcpy(data, base.ptr + RESTATE__WIRE_HEAD, len);
    for (i = 0; i < extra; i++)
        data[len + i] = (uint8_t)(random_below(3) ? random_below(0x90) : random_below(256));
    len += extra;
    for (i = 0; len && i < changes; i++)
        data[random_below((uint32_t)len)] = (uint8_t)random_below(256);
    try_all(restate__b(data, len));
    free(data);
    drop(base);
}

TEST(fuzz) {
    const char *rounds = getenv("FUZZ_ROUNDS");
    long i, n = rounds ? strtol(rounds, NULL, 10) : 20000;
    random_state = 88172645463325252u;
    for (i = 0; i < n; i++) fuzz_once();
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(golden_start), T(golden_input), T(golden_notifications), T(golden_propose_ack),
        T(golden_lists_out), T(golden_output_and_end), T(golden_state), T(golden_run),
        T(golden_calls), T(golden_promise_and_signal), T(golden_awaiting), T(golden_error),
        T(presence), T(oneof_last_wins), T(oneof_last_wins_where_messages_are_compared),
        T(unknown_fields_are_skipped), T(malformed_is_rejected),
        T(repeated_numbers), T(malformed_packed_numbers), T(reader),
        T(lists_with_other_fields_between), T(frames_across_chunks), T(large_values),
        T(large_values_are_sent_from_where_they_lie_only_if_they_stay),
        T(out_of_memory), T(no_half_of_a_frame_stays_when_memory_runs_out), T(list_that_cannot_be_written), T(truncated_at_every_byte),
        T(run_truncated), T(fuzz), { NULL, NULL },
    };
    return test_main(argc, argv, cases);
}
