/* restate_wire.h - the messages of the Restate service protocol (V5 to V7) as C structs.
 *
 * Generated with nanopb from proto/restate/service/protocol.proto and protocol.options by `make wire`
 * (proto/generate.sh). Do not edit. MIT license; its text is at the end of this file.
 *
 * The structs hold no memory of their own: decoded, they point into the payload they were decoded
 * from; to be encoded, they point to what the caller has. A zeroed struct (memset, = {0}) is an empty
 * message. What the fields mean:
 *   bytes, string     restate_bytes. `ptr` NULL is absent, also for `optional` ones.
 *   optional numbers  `has_NAME` beside `NAME`; so are messages.
 *   oneof             `which_NAME` has the tag of the member that is set (restate_wire_..._tag), 0: none.
 *   repeated          restate_wire_list, see there.
 * Descriptors are named restate_wire_MESSAGE_msg; restate_wire_MESSAGE_fields is their address. Needs
 * <pb.h> of nanopb 0.4; the definitions come with RESTATE_IMPLEMENTATION, like those of restate.h. */
#ifndef RESTATE_WIRE_H
#define RESTATE_WIRE_H

/* nanopb asserts with _Static_assert unless told that C99 has none. */
#if !defined(__cplusplus) && !defined(PB_C99_STATIC_ASSERT)
#  if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 201112L
#    define PB_C99_STATIC_ASSERT 1
#  endif
#endif
#include <pb.h>

#if PB_PROTO_HEADER_VERSION != 40
#  error "restate_wire.h: made for nanopb 0.4; make it anew with `make wire`"
#endif
#if defined(PB_BUFFER_ONLY) || defined(PB_WITHOUT_64BIT)
#  error "restate_wire.h: needs nanopb with streams and 64 bit numbers"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* As in restate.h. */
#ifndef RESTATE_BYTES_DEFINED
#define RESTATE_BYTES_DEFINED
typedef struct restate_bytes {
    const uint8_t *ptr;                     /* NULL: absent */
    size_t len;
} restate_bytes;
#endif

/* A repeated field.
 *
 * Decoded: `count` elements were there. `ptr` is where the content of the first one starts, `first` is
 * its length, and `len` reaches to the end of the last one; in between are the headers of the other
 * elements and perhaps other fields, so it is read with an iterator, not by hand. Repeated numbers are
 * not decoded (accepted and left at zero): read the payload field by field for them.
 *
 * To encode: `put` writes the elements with their tags and gets `items` and `count` as they are. It may
 * be called several times for one message, first to find its size, and must write the same each time.
 * NULL: nothing is written. */
typedef bool restate_wire_writer(struct pb_ostream_s *out, const pb_field_t *field,
                                 const void *items, size_t count);
typedef struct restate_wire_list {
    const uint8_t *ptr;
    size_t len;
    size_t first;
    size_t count;
    uint32_t tag;
    restate_wire_writer *put;
    const void *items;
} restate_wire_list;

/* What the frame's type field says. Control messages are below 0x0400, commands below 0x8000,
 * notifications above. */
typedef enum restate_wire_MessageType {
    restate_wire_MSG_START = 0,
    restate_wire_MSG_SUSPENSION = 1,
    restate_wire_MSG_ERROR = 2,
    restate_wire_MSG_END = 3,
    restate_wire_MSG_COMMAND_ACK = 4,
    restate_wire_MSG_PROPOSE_RUN_COMPLETION = 5,
    restate_wire_MSG_AWAITING_ON = 6,
    restate_wire_MSG_PROPOSE_RUN_COMPLETION_ACK = 7,
    restate_wire_MSG_INPUT_COMMAND = 1024,
    restate_wire_MSG_OUTPUT_COMMAND = 1025,
    restate_wire_MSG_GET_LAZY_STATE_COMMAND = 1026,
    restate_wire_MSG_SET_STATE_COMMAND = 1027,
    restate_wire_MSG_CLEAR_STATE_COMMAND = 1028,
    restate_wire_MSG_CLEAR_ALL_STATE_COMMAND = 1029,
    restate_wire_MSG_GET_LAZY_STATE_KEYS_COMMAND = 1030,
    restate_wire_MSG_GET_EAGER_STATE_COMMAND = 1031,
    restate_wire_MSG_GET_EAGER_STATE_KEYS_COMMAND = 1032,
    restate_wire_MSG_GET_PROMISE_COMMAND = 1033,
    restate_wire_MSG_PEEK_PROMISE_COMMAND = 1034,
    restate_wire_MSG_COMPLETE_PROMISE_COMMAND = 1035,
    restate_wire_MSG_SLEEP_COMMAND = 1036,
    restate_wire_MSG_CALL_COMMAND = 1037,
    restate_wire_MSG_ONE_WAY_CALL_COMMAND = 1038,
    restate_wire_MSG_SEND_SIGNAL_COMMAND = 1040,
    restate_wire_MSG_RUN_COMMAND = 1041,
    restate_wire_MSG_ATTACH_INVOCATION_COMMAND = 1042,
    restate_wire_MSG_GET_INVOCATION_OUTPUT_COMMAND = 1043,
    restate_wire_MSG_COMPLETE_AWAKEABLE_COMMAND = 1044,
    restate_wire_MSG_GET_LAZY_STATE_COMPLETION = 32770,
    restate_wire_MSG_GET_LAZY_STATE_KEYS_COMPLETION = 32774,
    restate_wire_MSG_GET_PROMISE_COMPLETION = 32777,
    restate_wire_MSG_PEEK_PROMISE_COMPLETION = 32778,
    restate_wire_MSG_COMPLETE_PROMISE_COMPLETION = 32779,
    restate_wire_MSG_SLEEP_COMPLETION = 32780,
    restate_wire_MSG_CALL_COMPLETION = 32781,
    restate_wire_MSG_CALL_INVOCATION_ID_COMPLETION = 32782,
    restate_wire_MSG_RUN_COMPLETION = 32785,
    restate_wire_MSG_ATTACH_INVOCATION_COMPLETION = 32786,
    restate_wire_MSG_GET_INVOCATION_OUTPUT_COMPLETION = 32787,
    restate_wire_MSG_SIGNAL = 64511
} restate_wire_MessageType;

/* How the children of a Future decide when it is settled. Since V7; a peer takes an unknown number
 * for COMBINATOR_UNKNOWN, which acts like FIRST_COMPLETED. */
typedef enum restate_wire_CombinatorType {
    restate_wire_COMBINATOR_UNKNOWN = 0,
    restate_wire_COMBINATOR_FIRST_COMPLETED = 1,
    restate_wire_COMBINATOR_ALL_COMPLETED = 2,
    restate_wire_COMBINATOR_FIRST_SUCCEEDED_OR_ALL_FAILED = 3,
    restate_wire_COMBINATOR_ALL_SUCCEEDED_OR_FIRST_FAILED = 4
} restate_wire_CombinatorType;

/* What the server does with a failed attempt. Since V7; before that it always retries. */
typedef enum restate_wire_ErrorBehavior {
    restate_wire_BEHAVIOR_RETRY = 0,
    restate_wire_BEHAVIOR_PAUSE = 1,
    restate_wire_BEHAVIOR_FAIL = 2
} restate_wire_ErrorBehavior;

/* Signal indexes with a meaning of their own. Those up to 15 are reserved, an SDK hands out its own
 * from 17 on. */
typedef enum restate_wire_BuiltInSignal {
    restate_wire_SIGNAL_UNKNOWN = 0,
    restate_wire_SIGNAL_CANCEL = 1
} restate_wire_BuiltInSignal;

/* A successful result: the serialised value, which may be empty. */
typedef struct restate_wire_Value {
    restate_bytes content;
} restate_wire_Value;

/* A result that says only that there is none, or that something is done. */
typedef struct restate_wire_Void {
    char dummy_field;
} restate_wire_Void;

/* One entry of what a Failure says besides its message. */
typedef struct restate_wire_FailureMetadata {
    restate_bytes key;
    restate_bytes value;
} restate_wire_FailureMetadata;

/* A terminal failure as a result: part of the journal and never retried. */
typedef struct restate_wire_Failure {
    uint32_t code;
    restate_bytes message;
    restate_wire_list metadata; /* since V6 */
} restate_wire_Failure;

/* One header of an invocation. */
typedef struct restate_wire_Header {
    restate_bytes key;
    restate_bytes value;
} restate_wire_Header;

/* The names of all state entries of an object. */
typedef struct restate_wire_StateKeys {
    restate_wire_list keys;
} restate_wire_StateKeys;

/* A workflow execution, named by its key. */
typedef struct restate_wire_WorkflowTarget {
    restate_bytes workflow_name;
    restate_bytes workflow_key;
    restate_bytes scope; /* since V7 */
} restate_wire_WorkflowTarget;

/* An invocation, named by what was called and the idempotency key it was called with.
 * `service_key` is absent for a service without keys. */
typedef struct restate_wire_IdempotentRequestTarget {
    restate_bytes service_name;
    restate_bytes service_key;
    restate_bytes handler_name;
    restate_bytes idempotency_key;
    restate_bytes scope; /* since V7 */
} restate_wire_IdempotentRequestTarget;

/* What an invocation waits for: notifications by id, and further futures, put together by a
 * combinator. Since V7. There must be at least one id somewhere below every node. */
typedef struct restate_wire_Future {
    restate_wire_list waiting_completions;
    restate_wire_list waiting_signals;
    restate_wire_list waiting_named_signals;
    restate_wire_list nested_futures;
    restate_wire_CombinatorType combinator_type;
} restate_wire_Future;

/* Server to SDK, the first frame of an attempt: who is invoked, how many journal entries follow for
 * replay (commands and notifications together), and the state the server sent along. */
typedef struct restate_wire_StartMessage {
    restate_bytes id; /* opaque, the same in every attempt */
    restate_bytes debug_id; /* the invocation id that users see */
    uint32_t known_entries;
    restate_wire_list state_map;
    bool partial_state; /* the object may have more entries than `state_map` */
    restate_bytes key; /* of the object or workflow, else empty */
    uint32_t retry_count_since_last_stored_entry;
    uint64_t duration_since_last_stored_entry; /* milliseconds */
    uint64_t random_seed; /* since V6 */
    restate_bytes scope; /* since V7 */
    restate_bytes limit_key; /* since V7 */
    restate_bytes idempotency_key; /* since V7 */
} restate_wire_StartMessage;

/* One state entry of the object that is invoked. */
typedef struct restate_wire_StartMessage_StateEntry {
    restate_bytes key;
    restate_bytes value;
} restate_wire_StartMessage_StateEntry;

/* SDK to server: the attempt ends here and another one starts when something it waits for is there.
 * V5 and V6 list what that may be in the first three fields; V7 uses `awaiting_on` alone. */
typedef struct restate_wire_SuspensionMessage {
    restate_wire_list waiting_completions;
    restate_wire_list waiting_signals;
    restate_wire_list waiting_named_signals;
    restate_bytes awaiting_on; /* since V7 */
} restate_wire_SuspensionMessage;

/* SDK to server: the attempt failed, for a reason that is not part of the journal. The `related_`
 * fields name the command that was at work; `related_command_type` is its MessageType. */
typedef struct restate_wire_ErrorMessage {
    uint32_t code;
    restate_bytes message;
    restate_bytes stacktrace;
    bool has_related_command_index;
    uint32_t related_command_index;
    restate_bytes related_command_name;
    bool has_related_command_type;
    uint32_t related_command_type;
    bool has_next_retry_delay;
    uint64_t next_retry_delay; /* milliseconds */
    restate_wire_ErrorBehavior behavior; /* since V7 */
} restate_wire_ErrorMessage;

/* SDK to server: the invocation is over, its output was sent before. */
typedef struct restate_wire_EndMessage {
    char dummy_field;
} restate_wire_EndMessage;

/* Server to SDK: the command with this index is stored. Comes only when a command asked for it with
 * its flags, which this SDK never does. */
typedef struct restate_wire_CommandAckMessage {
    uint32_t command_index;
} restate_wire_CommandAckMessage;

/* SDK to server: the result of a run, to be stored. The success is raw bytes here, not a Value.
 * Up to V6 a RunCompletionNotificationMessage answers; in V7 the frame's flags ask for a
 * ProposeRunCompletionAckMessage instead. */
typedef struct restate_wire_ProposeRunCompletionMessage {
    uint32_t result_completion_id;
    pb_size_t which_result;
    union {
        restate_bytes value;
        restate_wire_Failure failure;
    } result;
} restate_wire_ProposeRunCompletionMessage;

/* SDK to server: tells what the invocation waits for while the connection stays open. Since V7. */
typedef struct restate_wire_AwaitingOnMessage {
    restate_bytes awaiting_on;
    bool executing_side_effects;
} restate_wire_AwaitingOnMessage;

/* Server to SDK: the proposed result of this run is stored. Since V7. */
typedef struct restate_wire_ProposeRunCompletionAckMessage {
    uint32_t completion_id;
} restate_wire_ProposeRunCompletionAckMessage;

/* Server to SDK only: the first command of every journal, with the argument of the invocation. */
typedef struct restate_wire_InputCommandMessage {
    restate_wire_list headers;
    restate_bytes name;
    bool has_value;
    restate_wire_Value value;
} restate_wire_InputCommandMessage;

/* The result of the invocation. */
typedef struct restate_wire_OutputCommandMessage {
    restate_bytes name;
    pb_size_t which_result;
    union {
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
} restate_wire_OutputCommandMessage;

/* Asks the server for a state entry that did not come with the StartMessage. */
typedef struct restate_wire_GetLazyStateCommandMessage {
    restate_bytes key;
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_GetLazyStateCommandMessage;

/* Sets a state entry. */
typedef struct restate_wire_SetStateCommandMessage {
    restate_bytes key;
    bool has_value;
    restate_wire_Value value;
    restate_bytes name;
} restate_wire_SetStateCommandMessage;

/* Removes a state entry. */
typedef struct restate_wire_ClearStateCommandMessage {
    restate_bytes key;
    restate_bytes name;
} restate_wire_ClearStateCommandMessage;

/* Removes all state entries of the object. */
typedef struct restate_wire_ClearAllStateCommandMessage {
    restate_bytes name;
} restate_wire_ClearAllStateCommandMessage;

/* Asks the server for the names of all state entries. */
typedef struct restate_wire_GetLazyStateKeysCommandMessage {
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_GetLazyStateKeysCommandMessage;

/* Records what the SDK read from the state it has; void says that there is no such entry. */
typedef struct restate_wire_GetEagerStateCommandMessage {
    restate_bytes key;
    restate_bytes name;
    pb_size_t which_result;
    union {
        restate_wire_Void void_value;
        restate_wire_Value value;
    } result;
} restate_wire_GetEagerStateCommandMessage;

/* Records the names of all state entries, known to the SDK. */
typedef struct restate_wire_GetEagerStateKeysCommandMessage {
    restate_bytes name;
    bool has_value;
    restate_wire_StateKeys value;
} restate_wire_GetEagerStateKeysCommandMessage;

/* Waits for a promise of the workflow. */
typedef struct restate_wire_GetPromiseCommandMessage {
    restate_bytes key;
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_GetPromiseCommandMessage;

/* Asks whether a promise of the workflow is completed, without waiting for it. */
typedef struct restate_wire_PeekPromiseCommandMessage {
    restate_bytes key;
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_PeekPromiseCommandMessage;

/* Completes a promise of the workflow; the notification tells whether it was the first to do so. */
typedef struct restate_wire_CompletePromiseCommandMessage {
    restate_bytes key;
    pb_size_t which_completion;
    union {
        restate_wire_Value completion_value;
        restate_wire_Failure completion_failure;
    } completion;
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_CompletePromiseCommandMessage;

/* A timer. The time is absolute, in milliseconds since 1970. */
typedef struct restate_wire_SleepCommandMessage {
    uint64_t wake_up_time;
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_SleepCommandMessage;

/* Calls a handler and asks for its result. Two notifications come: one with the id of the new
 * invocation, one with the result. `key` is empty for a service without keys. */
typedef struct restate_wire_CallCommandMessage {
    restate_bytes service_name;
    restate_bytes handler_name;
    restate_bytes parameter;
    restate_wire_list headers;
    restate_bytes key;
    restate_bytes idempotency_key;
    restate_bytes scope; /* since V7 */
    restate_bytes limit_key; /* since V7 */
    uint32_t invocation_id_notification_idx;
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_CallCommandMessage;

/* Calls a handler without waiting for a result. Not before `invoke_time`, in milliseconds since
 * 1970; 0 is at once. Most field numbers differ from those of CallCommandMessage. */
typedef struct restate_wire_OneWayCallCommandMessage {
    restate_bytes service_name;
    restate_bytes handler_name;
    restate_bytes parameter;
    uint64_t invoke_time;
    restate_wire_list headers;
    restate_bytes key;
    restate_bytes idempotency_key;
    restate_bytes scope; /* since V7 */
    restate_bytes limit_key; /* since V7 */
    uint32_t invocation_id_notification_idx;
    restate_bytes name;
} restate_wire_OneWayCallCommandMessage;

/* Sends a signal to another invocation, by index or by name. A cancellation is the signal
 * SIGNAL_CANCEL. The entry's name has another name here, because `name` is the signal's. */
typedef struct restate_wire_SendSignalCommandMessage {
    restate_bytes target_invocation_id;
    pb_size_t which_signal_id;
    union {
        uint32_t idx;
        restate_bytes name;
    } signal_id;
    pb_size_t which_result;
    union {
        restate_wire_Void void_value;
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
    restate_bytes entry_name;
} restate_wire_SendSignalCommandMessage;

/* Announces a step that the SDK executes itself; its result follows in a
 * ProposeRunCompletionMessage. */
typedef struct restate_wire_RunCommandMessage {
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_RunCommandMessage;

/* Waits for the result of an invocation that is named in one of three ways. */
typedef struct restate_wire_AttachInvocationCommandMessage {
    pb_size_t which_target;
    union {
        restate_bytes invocation_id;
        restate_wire_IdempotentRequestTarget idempotent_request_target;
        restate_wire_WorkflowTarget workflow_target;
    } target;
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_AttachInvocationCommandMessage;

/* Asks for the result of an invocation without waiting for it. */
typedef struct restate_wire_GetInvocationOutputCommandMessage {
    pb_size_t which_target;
    union {
        restate_bytes invocation_id;
        restate_wire_IdempotentRequestTarget idempotent_request_target;
        restate_wire_WorkflowTarget workflow_target;
    } target;
    uint32_t result_completion_id;
    restate_bytes name;
} restate_wire_GetInvocationOutputCommandMessage;

/* Completes an awakeable of another invocation. */
typedef struct restate_wire_CompleteAwakeableCommandMessage {
    restate_bytes awakeable_id;
    pb_size_t which_result;
    union {
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
    restate_bytes name;
} restate_wire_CompleteAwakeableCommandMessage;

/* Every notification there is: whom it is for, and the result. Its fields are the union of those of
 * the messages below, so that a type unknown to the SDK can still be delivered. */
typedef struct restate_wire_NotificationTemplate {
    pb_size_t which_id;
    union {
        uint32_t completion_id;
        uint32_t signal_id;
        restate_bytes signal_name;
    } id;
    pb_size_t which_result;
    union {
        restate_wire_Void void_value;
        restate_wire_Value value;
        restate_wire_Failure failure;
        restate_bytes invocation_id;
        restate_wire_StateKeys state_keys;
    } result;
} restate_wire_NotificationTemplate;

/* The state entry; void if there is none. */
typedef struct restate_wire_GetLazyStateCompletionNotificationMessage {
    uint32_t completion_id;
    pb_size_t which_result;
    union {
        restate_wire_Void void_value;
        restate_wire_Value value;
    } result;
} restate_wire_GetLazyStateCompletionNotificationMessage;

/* The names of all state entries. */
typedef struct restate_wire_GetLazyStateKeysCompletionNotificationMessage {
    uint32_t completion_id;
    bool has_state_keys;
    restate_wire_StateKeys state_keys;
} restate_wire_GetLazyStateKeysCompletionNotificationMessage;

/* What the promise was completed with. */
typedef struct restate_wire_GetPromiseCompletionNotificationMessage {
    uint32_t completion_id;
    pb_size_t which_result;
    union {
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
} restate_wire_GetPromiseCompletionNotificationMessage;

/* What the promise was completed with; void if it is open. */
typedef struct restate_wire_PeekPromiseCompletionNotificationMessage {
    uint32_t completion_id;
    pb_size_t which_result;
    union {
        restate_wire_Void void_value;
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
} restate_wire_PeekPromiseCompletionNotificationMessage;

/* Void if this completed the promise, a failure if it was completed before. */
typedef struct restate_wire_CompletePromiseCompletionNotificationMessage {
    uint32_t completion_id;
    pb_size_t which_result;
    union {
        restate_wire_Void void_value;
        restate_wire_Failure failure;
    } result;
} restate_wire_CompletePromiseCompletionNotificationMessage;

/* The time has come. */
typedef struct restate_wire_SleepCompletionNotificationMessage {
    uint32_t completion_id;
    bool has_void_value;
    restate_wire_Void void_value;
} restate_wire_SleepCompletionNotificationMessage;

/* The id of the invocation that a call or a one-way call made. */
typedef struct restate_wire_CallInvocationIdCompletionNotificationMessage {
    uint32_t completion_id;
    restate_bytes invocation_id;
} restate_wire_CallInvocationIdCompletionNotificationMessage;

/* The result of a call. */
typedef struct restate_wire_CallCompletionNotificationMessage {
    uint32_t completion_id;
    pb_size_t which_result;
    union {
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
} restate_wire_CallCompletionNotificationMessage;

/* The stored result of a run: on replay, and up to V6 also as the answer to the proposal. */
typedef struct restate_wire_RunCompletionNotificationMessage {
    uint32_t completion_id;
    pb_size_t which_result;
    union {
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
} restate_wire_RunCompletionNotificationMessage;

/* The result of the invocation that was waited for. */
typedef struct restate_wire_AttachInvocationCompletionNotificationMessage {
    uint32_t completion_id;
    pb_size_t which_result;
    union {
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
} restate_wire_AttachInvocationCompletionNotificationMessage;

/* The result of the invocation; void if it is still going on. */
typedef struct restate_wire_GetInvocationOutputCompletionNotificationMessage {
    uint32_t completion_id;
    pb_size_t which_result;
    union {
        restate_wire_Void void_value;
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
} restate_wire_GetInvocationOutputCompletionNotificationMessage;

/* A signal for this invocation, by index (BuiltInSignal, or an awakeable's) or by name. */
typedef struct restate_wire_SignalNotificationMessage {
    pb_size_t which_signal_id;
    union {
        uint32_t idx;
        restate_bytes name;
    } signal_id;
    pb_size_t which_result;
    union {
        restate_wire_Void void_value;
        restate_wire_Value value;
        restate_wire_Failure failure;
    } result;
} restate_wire_SignalNotificationMessage;

#define restate_wire_Value_content_tag 1
#define restate_wire_FailureMetadata_key_tag 1
#define restate_wire_FailureMetadata_value_tag 2
#define restate_wire_Failure_code_tag 1
#define restate_wire_Failure_message_tag 2
#define restate_wire_Failure_metadata_tag 3
#define restate_wire_Header_key_tag 1
#define restate_wire_Header_value_tag 2
#define restate_wire_StateKeys_keys_tag 1
#define restate_wire_WorkflowTarget_workflow_name_tag 1
#define restate_wire_WorkflowTarget_workflow_key_tag 2
#define restate_wire_WorkflowTarget_scope_tag 3
#define restate_wire_IdempotentRequestTarget_service_name_tag 1
#define restate_wire_IdempotentRequestTarget_service_key_tag 2
#define restate_wire_IdempotentRequestTarget_handler_name_tag 3
#define restate_wire_IdempotentRequestTarget_idempotency_key_tag 4
#define restate_wire_IdempotentRequestTarget_scope_tag 5
#define restate_wire_Future_waiting_completions_tag 1
#define restate_wire_Future_waiting_signals_tag 2
#define restate_wire_Future_waiting_named_signals_tag 3
#define restate_wire_Future_nested_futures_tag 4
#define restate_wire_Future_combinator_type_tag 5
#define restate_wire_StartMessage_id_tag 1
#define restate_wire_StartMessage_debug_id_tag 2
#define restate_wire_StartMessage_known_entries_tag 3
#define restate_wire_StartMessage_state_map_tag 4
#define restate_wire_StartMessage_partial_state_tag 5
#define restate_wire_StartMessage_key_tag 6
#define restate_wire_StartMessage_retry_count_since_last_stored_entry_tag 7
#define restate_wire_StartMessage_duration_since_last_stored_entry_tag 8
#define restate_wire_StartMessage_random_seed_tag 9
#define restate_wire_StartMessage_scope_tag 10
#define restate_wire_StartMessage_limit_key_tag 11
#define restate_wire_StartMessage_idempotency_key_tag 12
#define restate_wire_StartMessage_StateEntry_key_tag 1
#define restate_wire_StartMessage_StateEntry_value_tag 2
#define restate_wire_SuspensionMessage_waiting_completions_tag 1
#define restate_wire_SuspensionMessage_waiting_signals_tag 2
#define restate_wire_SuspensionMessage_waiting_named_signals_tag 3
#define restate_wire_SuspensionMessage_awaiting_on_tag 4
#define restate_wire_ErrorMessage_code_tag 1
#define restate_wire_ErrorMessage_message_tag 2
#define restate_wire_ErrorMessage_stacktrace_tag 3
#define restate_wire_ErrorMessage_related_command_index_tag 4
#define restate_wire_ErrorMessage_related_command_name_tag 5
#define restate_wire_ErrorMessage_related_command_type_tag 6
#define restate_wire_ErrorMessage_next_retry_delay_tag 8
#define restate_wire_ErrorMessage_behavior_tag 9
#define restate_wire_CommandAckMessage_command_index_tag 1
#define restate_wire_ProposeRunCompletionMessage_result_completion_id_tag 1
#define restate_wire_ProposeRunCompletionMessage_value_tag 14
#define restate_wire_ProposeRunCompletionMessage_failure_tag 15
#define restate_wire_AwaitingOnMessage_awaiting_on_tag 1
#define restate_wire_AwaitingOnMessage_executing_side_effects_tag 2
#define restate_wire_ProposeRunCompletionAckMessage_completion_id_tag 1
#define restate_wire_InputCommandMessage_headers_tag 1
#define restate_wire_InputCommandMessage_name_tag 12
#define restate_wire_InputCommandMessage_value_tag 14
#define restate_wire_OutputCommandMessage_name_tag 12
#define restate_wire_OutputCommandMessage_value_tag 14
#define restate_wire_OutputCommandMessage_failure_tag 15
#define restate_wire_GetLazyStateCommandMessage_key_tag 1
#define restate_wire_GetLazyStateCommandMessage_result_completion_id_tag 11
#define restate_wire_GetLazyStateCommandMessage_name_tag 12
#define restate_wire_SetStateCommandMessage_key_tag 1
#define restate_wire_SetStateCommandMessage_value_tag 3
#define restate_wire_SetStateCommandMessage_name_tag 12
#define restate_wire_ClearStateCommandMessage_key_tag 1
#define restate_wire_ClearStateCommandMessage_name_tag 12
#define restate_wire_ClearAllStateCommandMessage_name_tag 12
#define restate_wire_GetLazyStateKeysCommandMessage_result_completion_id_tag 11
#define restate_wire_GetLazyStateKeysCommandMessage_name_tag 12
#define restate_wire_GetEagerStateCommandMessage_key_tag 1
#define restate_wire_GetEagerStateCommandMessage_name_tag 12
#define restate_wire_GetEagerStateCommandMessage_void_value_tag 13
#define restate_wire_GetEagerStateCommandMessage_value_tag 14
#define restate_wire_GetEagerStateKeysCommandMessage_name_tag 12
#define restate_wire_GetEagerStateKeysCommandMessage_value_tag 14
#define restate_wire_GetPromiseCommandMessage_key_tag 1
#define restate_wire_GetPromiseCommandMessage_result_completion_id_tag 11
#define restate_wire_GetPromiseCommandMessage_name_tag 12
#define restate_wire_PeekPromiseCommandMessage_key_tag 1
#define restate_wire_PeekPromiseCommandMessage_result_completion_id_tag 11
#define restate_wire_PeekPromiseCommandMessage_name_tag 12
#define restate_wire_CompletePromiseCommandMessage_key_tag 1
#define restate_wire_CompletePromiseCommandMessage_completion_value_tag 2
#define restate_wire_CompletePromiseCommandMessage_completion_failure_tag 3
#define restate_wire_CompletePromiseCommandMessage_result_completion_id_tag 11
#define restate_wire_CompletePromiseCommandMessage_name_tag 12
#define restate_wire_SleepCommandMessage_wake_up_time_tag 1
#define restate_wire_SleepCommandMessage_result_completion_id_tag 11
#define restate_wire_SleepCommandMessage_name_tag 12
#define restate_wire_CallCommandMessage_service_name_tag 1
#define restate_wire_CallCommandMessage_handler_name_tag 2
#define restate_wire_CallCommandMessage_parameter_tag 3
#define restate_wire_CallCommandMessage_headers_tag 4
#define restate_wire_CallCommandMessage_key_tag 5
#define restate_wire_CallCommandMessage_idempotency_key_tag 6
#define restate_wire_CallCommandMessage_scope_tag 7
#define restate_wire_CallCommandMessage_limit_key_tag 8
#define restate_wire_CallCommandMessage_invocation_id_notification_idx_tag 10
#define restate_wire_CallCommandMessage_result_completion_id_tag 11
#define restate_wire_CallCommandMessage_name_tag 12
#define restate_wire_OneWayCallCommandMessage_service_name_tag 1
#define restate_wire_OneWayCallCommandMessage_handler_name_tag 2
#define restate_wire_OneWayCallCommandMessage_parameter_tag 3
#define restate_wire_OneWayCallCommandMessage_invoke_time_tag 4
#define restate_wire_OneWayCallCommandMessage_headers_tag 5
#define restate_wire_OneWayCallCommandMessage_key_tag 6
#define restate_wire_OneWayCallCommandMessage_idempotency_key_tag 7
#define restate_wire_OneWayCallCommandMessage_scope_tag 8
#define restate_wire_OneWayCallCommandMessage_limit_key_tag 9
#define restate_wire_OneWayCallCommandMessage_invocation_id_notification_idx_tag 10
#define restate_wire_OneWayCallCommandMessage_name_tag 12
#define restate_wire_SendSignalCommandMessage_target_invocation_id_tag 1
#define restate_wire_SendSignalCommandMessage_idx_tag 2
#define restate_wire_SendSignalCommandMessage_name_tag 3
#define restate_wire_SendSignalCommandMessage_void_value_tag 4
#define restate_wire_SendSignalCommandMessage_value_tag 5
#define restate_wire_SendSignalCommandMessage_failure_tag 6
#define restate_wire_SendSignalCommandMessage_entry_name_tag 12
#define restate_wire_RunCommandMessage_result_completion_id_tag 11
#define restate_wire_RunCommandMessage_name_tag 12
#define restate_wire_AttachInvocationCommandMessage_invocation_id_tag 1
#define restate_wire_AttachInvocationCommandMessage_idempotent_request_target_tag 3
#define restate_wire_AttachInvocationCommandMessage_workflow_target_tag 4
#define restate_wire_AttachInvocationCommandMessage_result_completion_id_tag 11
#define restate_wire_AttachInvocationCommandMessage_name_tag 12
#define restate_wire_GetInvocationOutputCommandMessage_invocation_id_tag 1
#define restate_wire_GetInvocationOutputCommandMessage_idempotent_request_target_tag 3
#define restate_wire_GetInvocationOutputCommandMessage_workflow_target_tag 4
#define restate_wire_GetInvocationOutputCommandMessage_result_completion_id_tag 11
#define restate_wire_GetInvocationOutputCommandMessage_name_tag 12
#define restate_wire_CompleteAwakeableCommandMessage_awakeable_id_tag 1
#define restate_wire_CompleteAwakeableCommandMessage_value_tag 2
#define restate_wire_CompleteAwakeableCommandMessage_failure_tag 3
#define restate_wire_CompleteAwakeableCommandMessage_name_tag 12
#define restate_wire_NotificationTemplate_completion_id_tag 1
#define restate_wire_NotificationTemplate_signal_id_tag 2
#define restate_wire_NotificationTemplate_signal_name_tag 3
#define restate_wire_NotificationTemplate_void_value_tag 4
#define restate_wire_NotificationTemplate_value_tag 5
#define restate_wire_NotificationTemplate_failure_tag 6
#define restate_wire_NotificationTemplate_invocation_id_tag 16
#define restate_wire_NotificationTemplate_state_keys_tag 17
#define restate_wire_GetLazyStateCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_GetLazyStateCompletionNotificationMessage_void_value_tag 4
#define restate_wire_GetLazyStateCompletionNotificationMessage_value_tag 5
#define restate_wire_GetLazyStateKeysCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_GetLazyStateKeysCompletionNotificationMessage_state_keys_tag 17
#define restate_wire_GetPromiseCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_GetPromiseCompletionNotificationMessage_value_tag 5
#define restate_wire_GetPromiseCompletionNotificationMessage_failure_tag 6
#define restate_wire_PeekPromiseCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_PeekPromiseCompletionNotificationMessage_void_value_tag 4
#define restate_wire_PeekPromiseCompletionNotificationMessage_value_tag 5
#define restate_wire_PeekPromiseCompletionNotificationMessage_failure_tag 6
#define restate_wire_CompletePromiseCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_CompletePromiseCompletionNotificationMessage_void_value_tag 4
#define restate_wire_CompletePromiseCompletionNotificationMessage_failure_tag 6
#define restate_wire_SleepCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_SleepCompletionNotificationMessage_void_value_tag 4
#define restate_wire_CallInvocationIdCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_CallInvocationIdCompletionNotificationMessage_invocation_id_tag 16
#define restate_wire_CallCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_CallCompletionNotificationMessage_value_tag 5
#define restate_wire_CallCompletionNotificationMessage_failure_tag 6
#define restate_wire_RunCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_RunCompletionNotificationMessage_value_tag 5
#define restate_wire_RunCompletionNotificationMessage_failure_tag 6
#define restate_wire_AttachInvocationCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_AttachInvocationCompletionNotificationMessage_value_tag 5
#define restate_wire_AttachInvocationCompletionNotificationMessage_failure_tag 6
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_completion_id_tag 1
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_void_value_tag 4
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_value_tag 5
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_failure_tag 6
#define restate_wire_SignalNotificationMessage_idx_tag 2
#define restate_wire_SignalNotificationMessage_name_tag 3
#define restate_wire_SignalNotificationMessage_void_value_tag 4
#define restate_wire_SignalNotificationMessage_value_tag 5
#define restate_wire_SignalNotificationMessage_failure_tag 6

/* In a RESTATE_STATIC build the descriptors are seen only where they are defined. */
#ifndef RESTATE_STATIC
extern const pb_msgdesc_t restate_wire_Value_msg;
extern const pb_msgdesc_t restate_wire_Void_msg;
extern const pb_msgdesc_t restate_wire_FailureMetadata_msg;
extern const pb_msgdesc_t restate_wire_Failure_msg;
extern const pb_msgdesc_t restate_wire_Header_msg;
extern const pb_msgdesc_t restate_wire_StateKeys_msg;
extern const pb_msgdesc_t restate_wire_WorkflowTarget_msg;
extern const pb_msgdesc_t restate_wire_IdempotentRequestTarget_msg;
extern const pb_msgdesc_t restate_wire_Future_msg;
extern const pb_msgdesc_t restate_wire_StartMessage_msg;
extern const pb_msgdesc_t restate_wire_StartMessage_StateEntry_msg;
extern const pb_msgdesc_t restate_wire_SuspensionMessage_msg;
extern const pb_msgdesc_t restate_wire_ErrorMessage_msg;
extern const pb_msgdesc_t restate_wire_EndMessage_msg;
extern const pb_msgdesc_t restate_wire_CommandAckMessage_msg;
extern const pb_msgdesc_t restate_wire_ProposeRunCompletionMessage_msg;
extern const pb_msgdesc_t restate_wire_AwaitingOnMessage_msg;
extern const pb_msgdesc_t restate_wire_ProposeRunCompletionAckMessage_msg;
extern const pb_msgdesc_t restate_wire_InputCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_OutputCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_GetLazyStateCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_SetStateCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_ClearStateCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_ClearAllStateCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_GetLazyStateKeysCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_GetEagerStateCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_GetEagerStateKeysCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_GetPromiseCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_PeekPromiseCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_CompletePromiseCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_SleepCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_CallCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_OneWayCallCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_SendSignalCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_RunCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_AttachInvocationCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_GetInvocationOutputCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_CompleteAwakeableCommandMessage_msg;
extern const pb_msgdesc_t restate_wire_NotificationTemplate_msg;
extern const pb_msgdesc_t restate_wire_GetLazyStateCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_GetLazyStateKeysCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_GetPromiseCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_PeekPromiseCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_CompletePromiseCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_SleepCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_CallInvocationIdCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_CallCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_RunCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_AttachInvocationCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_GetInvocationOutputCompletionNotificationMessage_msg;
extern const pb_msgdesc_t restate_wire_SignalNotificationMessage_msg;
#endif

/* As nanopb's own functions are usually called. */
#define restate_wire_Value_fields &restate_wire_Value_msg
#define restate_wire_Void_fields &restate_wire_Void_msg
#define restate_wire_FailureMetadata_fields &restate_wire_FailureMetadata_msg
#define restate_wire_Failure_fields &restate_wire_Failure_msg
#define restate_wire_Header_fields &restate_wire_Header_msg
#define restate_wire_StateKeys_fields &restate_wire_StateKeys_msg
#define restate_wire_WorkflowTarget_fields &restate_wire_WorkflowTarget_msg
#define restate_wire_IdempotentRequestTarget_fields &restate_wire_IdempotentRequestTarget_msg
#define restate_wire_Future_fields &restate_wire_Future_msg
#define restate_wire_StartMessage_fields &restate_wire_StartMessage_msg
#define restate_wire_StartMessage_StateEntry_fields &restate_wire_StartMessage_StateEntry_msg
#define restate_wire_SuspensionMessage_fields &restate_wire_SuspensionMessage_msg
#define restate_wire_ErrorMessage_fields &restate_wire_ErrorMessage_msg
#define restate_wire_EndMessage_fields &restate_wire_EndMessage_msg
#define restate_wire_CommandAckMessage_fields &restate_wire_CommandAckMessage_msg
#define restate_wire_ProposeRunCompletionMessage_fields &restate_wire_ProposeRunCompletionMessage_msg
#define restate_wire_AwaitingOnMessage_fields &restate_wire_AwaitingOnMessage_msg
#define restate_wire_ProposeRunCompletionAckMessage_fields &restate_wire_ProposeRunCompletionAckMessage_msg
#define restate_wire_InputCommandMessage_fields &restate_wire_InputCommandMessage_msg
#define restate_wire_OutputCommandMessage_fields &restate_wire_OutputCommandMessage_msg
#define restate_wire_GetLazyStateCommandMessage_fields &restate_wire_GetLazyStateCommandMessage_msg
#define restate_wire_SetStateCommandMessage_fields &restate_wire_SetStateCommandMessage_msg
#define restate_wire_ClearStateCommandMessage_fields &restate_wire_ClearStateCommandMessage_msg
#define restate_wire_ClearAllStateCommandMessage_fields &restate_wire_ClearAllStateCommandMessage_msg
#define restate_wire_GetLazyStateKeysCommandMessage_fields &restate_wire_GetLazyStateKeysCommandMessage_msg
#define restate_wire_GetEagerStateCommandMessage_fields &restate_wire_GetEagerStateCommandMessage_msg
#define restate_wire_GetEagerStateKeysCommandMessage_fields &restate_wire_GetEagerStateKeysCommandMessage_msg
#define restate_wire_GetPromiseCommandMessage_fields &restate_wire_GetPromiseCommandMessage_msg
#define restate_wire_PeekPromiseCommandMessage_fields &restate_wire_PeekPromiseCommandMessage_msg
#define restate_wire_CompletePromiseCommandMessage_fields &restate_wire_CompletePromiseCommandMessage_msg
#define restate_wire_SleepCommandMessage_fields &restate_wire_SleepCommandMessage_msg
#define restate_wire_CallCommandMessage_fields &restate_wire_CallCommandMessage_msg
#define restate_wire_OneWayCallCommandMessage_fields &restate_wire_OneWayCallCommandMessage_msg
#define restate_wire_SendSignalCommandMessage_fields &restate_wire_SendSignalCommandMessage_msg
#define restate_wire_RunCommandMessage_fields &restate_wire_RunCommandMessage_msg
#define restate_wire_AttachInvocationCommandMessage_fields &restate_wire_AttachInvocationCommandMessage_msg
#define restate_wire_GetInvocationOutputCommandMessage_fields &restate_wire_GetInvocationOutputCommandMessage_msg
#define restate_wire_CompleteAwakeableCommandMessage_fields &restate_wire_CompleteAwakeableCommandMessage_msg
#define restate_wire_NotificationTemplate_fields &restate_wire_NotificationTemplate_msg
#define restate_wire_GetLazyStateCompletionNotificationMessage_fields &restate_wire_GetLazyStateCompletionNotificationMessage_msg
#define restate_wire_GetLazyStateKeysCompletionNotificationMessage_fields &restate_wire_GetLazyStateKeysCompletionNotificationMessage_msg
#define restate_wire_GetPromiseCompletionNotificationMessage_fields &restate_wire_GetPromiseCompletionNotificationMessage_msg
#define restate_wire_PeekPromiseCompletionNotificationMessage_fields &restate_wire_PeekPromiseCompletionNotificationMessage_msg
#define restate_wire_CompletePromiseCompletionNotificationMessage_fields &restate_wire_CompletePromiseCompletionNotificationMessage_msg
#define restate_wire_SleepCompletionNotificationMessage_fields &restate_wire_SleepCompletionNotificationMessage_msg
#define restate_wire_CallInvocationIdCompletionNotificationMessage_fields &restate_wire_CallInvocationIdCompletionNotificationMessage_msg
#define restate_wire_CallCompletionNotificationMessage_fields &restate_wire_CallCompletionNotificationMessage_msg
#define restate_wire_RunCompletionNotificationMessage_fields &restate_wire_RunCompletionNotificationMessage_msg
#define restate_wire_AttachInvocationCompletionNotificationMessage_fields &restate_wire_AttachInvocationCompletionNotificationMessage_msg
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_fields &restate_wire_GetInvocationOutputCompletionNotificationMessage_msg
#define restate_wire_SignalNotificationMessage_fields &restate_wire_SignalNotificationMessage_msg

#ifdef __cplusplus
}
#endif

#endif /* RESTATE_WIRE_H */

#if defined(RESTATE_IMPLEMENTATION) && !defined(RESTATE_WIRE_IMPLEMENTED)
#define RESTATE_WIRE_IMPLEMENTED

#ifdef __cplusplus
extern "C" {
#endif

/* Reads and writes every restate_bytes and restate_wire_list; in the section >>wire of restate.h. */
static bool restate__wire_field(pb_istream_t *in, pb_ostream_t *out, const pb_field_t *field);

#define restate_wire_Value_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, BYTES,    content,           1)
#define restate_wire_Value_CALLBACK restate__wire_field
#define restate_wire_Value_DEFAULT NULL
#define restate_wire_Void_FIELDLIST(X, a) \

#define restate_wire_Void_CALLBACK NULL
#define restate_wire_Void_DEFAULT NULL
#define restate_wire_FailureMetadata_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   key,               1) \
X(a, CALLBACK, SINGULAR, STRING,   value,             2)
#define restate_wire_FailureMetadata_CALLBACK restate__wire_field
#define restate_wire_FailureMetadata_DEFAULT NULL
#define restate_wire_Failure_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   code,              1) \
X(a, CALLBACK, SINGULAR, STRING,   message,           2) \
X(a, CALLBACK, REPEATED, MESSAGE,  metadata,          3)
#define restate_wire_Failure_CALLBACK restate__wire_field
#define restate_wire_Failure_DEFAULT NULL
#define restate_wire_Failure_metadata_MSGTYPE restate_wire_FailureMetadata
#define restate_wire_Header_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   key,               1) \
X(a, CALLBACK, SINGULAR, STRING,   value,             2)
#define restate_wire_Header_CALLBACK restate__wire_field
#define restate_wire_Header_DEFAULT NULL
#define restate_wire_StateKeys_FIELDLIST(X, a) \
X(a, CALLBACK, REPEATED, BYTES,    keys,              1)
#define restate_wire_StateKeys_CALLBACK restate__wire_field
#define restate_wire_StateKeys_DEFAULT NULL
#define restate_wire_WorkflowTarget_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   workflow_name,     1) \
X(a, CALLBACK, SINGULAR, STRING,   workflow_key,      2) \
X(a, CALLBACK, OPTIONAL, STRING,   scope,             3)
#define restate_wire_WorkflowTarget_CALLBACK restate__wire_field
#define restate_wire_WorkflowTarget_DEFAULT NULL
#define restate_wire_IdempotentRequestTarget_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   service_name,      1) \
X(a, CALLBACK, OPTIONAL, STRING,   service_key,       2) \
X(a, CALLBACK, SINGULAR, STRING,   handler_name,      3) \
X(a, CALLBACK, SINGULAR, STRING,   idempotency_key,   4) \
X(a, CALLBACK, OPTIONAL, STRING,   scope,             5)
#define restate_wire_IdempotentRequestTarget_CALLBACK restate__wire_field
#define restate_wire_IdempotentRequestTarget_DEFAULT NULL
#define restate_wire_Future_FIELDLIST(X, a) \
X(a, CALLBACK, REPEATED, UINT32,   waiting_completions,   1) \
X(a, CALLBACK, REPEATED, UINT32,   waiting_signals,   2) \
X(a, CALLBACK, REPEATED, STRING,   waiting_named_signals,   3) \
X(a, CALLBACK, REPEATED, BYTES,    nested_futures,    4) \
X(a, STATIC,   SINGULAR, UENUM,    combinator_type,   5)
#define restate_wire_Future_CALLBACK restate__wire_field
#define restate_wire_Future_DEFAULT NULL
#define restate_wire_StartMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, BYTES,    id,                1) \
X(a, CALLBACK, SINGULAR, STRING,   debug_id,          2) \
X(a, STATIC,   SINGULAR, UINT32,   known_entries,     3) \
X(a, CALLBACK, REPEATED, BYTES,    state_map,         4) \
X(a, STATIC,   SINGULAR, BOOL,     partial_state,     5) \
X(a, CALLBACK, SINGULAR, STRING,   key,               6) \
X(a, STATIC,   SINGULAR, UINT32,   retry_count_since_last_stored_entry,   7) \
X(a, STATIC,   SINGULAR, UINT64,   duration_since_last_stored_entry,   8) \
X(a, STATIC,   SINGULAR, UINT64,   random_seed,       9) \
X(a, CALLBACK, OPTIONAL, STRING,   scope,            10) \
X(a, CALLBACK, OPTIONAL, STRING,   limit_key,        11) \
X(a, CALLBACK, OPTIONAL, STRING,   idempotency_key,  12)
#define restate_wire_StartMessage_CALLBACK restate__wire_field
#define restate_wire_StartMessage_DEFAULT NULL
#define restate_wire_StartMessage_StateEntry_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, BYTES,    key,               1) \
X(a, CALLBACK, SINGULAR, BYTES,    value,             2)
#define restate_wire_StartMessage_StateEntry_CALLBACK restate__wire_field
#define restate_wire_StartMessage_StateEntry_DEFAULT NULL
#define restate_wire_SuspensionMessage_FIELDLIST(X, a) \
X(a, CALLBACK, REPEATED, UINT32,   waiting_completions,   1) \
X(a, CALLBACK, REPEATED, UINT32,   waiting_signals,   2) \
X(a, CALLBACK, REPEATED, STRING,   waiting_named_signals,   3) \
X(a, CALLBACK, OPTIONAL, MESSAGE,  awaiting_on,       4)
#define restate_wire_SuspensionMessage_CALLBACK restate__wire_field
#define restate_wire_SuspensionMessage_DEFAULT NULL
#define restate_wire_SuspensionMessage_awaiting_on_MSGTYPE restate_wire_Future
#define restate_wire_ErrorMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   code,              1) \
X(a, CALLBACK, SINGULAR, STRING,   message,           2) \
X(a, CALLBACK, SINGULAR, STRING,   stacktrace,        3) \
X(a, STATIC,   OPTIONAL, UINT32,   related_command_index,   4) \
X(a, CALLBACK, OPTIONAL, STRING,   related_command_name,   5) \
X(a, STATIC,   OPTIONAL, UINT32,   related_command_type,   6) \
X(a, STATIC,   OPTIONAL, UINT64,   next_retry_delay,   8) \
X(a, STATIC,   SINGULAR, UENUM,    behavior,          9)
#define restate_wire_ErrorMessage_CALLBACK restate__wire_field
#define restate_wire_ErrorMessage_DEFAULT NULL
#define restate_wire_EndMessage_FIELDLIST(X, a) \

#define restate_wire_EndMessage_CALLBACK NULL
#define restate_wire_EndMessage_DEFAULT NULL
#define restate_wire_CommandAckMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   command_index,     1)
#define restate_wire_CommandAckMessage_CALLBACK NULL
#define restate_wire_CommandAckMessage_DEFAULT NULL
#define restate_wire_ProposeRunCompletionMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,   1) \
X(a, CALLBACK, ONEOF,    BYTES,    (result,value,result.value),  14) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),  15)
#define restate_wire_ProposeRunCompletionMessage_CALLBACK restate__wire_field
#define restate_wire_ProposeRunCompletionMessage_DEFAULT NULL
#define restate_wire_ProposeRunCompletionMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_AwaitingOnMessage_FIELDLIST(X, a) \
X(a, CALLBACK, OPTIONAL, MESSAGE,  awaiting_on,       1) \
X(a, STATIC,   SINGULAR, BOOL,     executing_side_effects,   2)
#define restate_wire_AwaitingOnMessage_CALLBACK restate__wire_field
#define restate_wire_AwaitingOnMessage_DEFAULT NULL
#define restate_wire_AwaitingOnMessage_awaiting_on_MSGTYPE restate_wire_Future
#define restate_wire_ProposeRunCompletionAckMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1)
#define restate_wire_ProposeRunCompletionAckMessage_CALLBACK NULL
#define restate_wire_ProposeRunCompletionAckMessage_DEFAULT NULL
#define restate_wire_InputCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, REPEATED, MESSAGE,  headers,           1) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12) \
X(a, STATIC,   OPTIONAL, MESSAGE,  value,            14)
#define restate_wire_InputCommandMessage_CALLBACK restate__wire_field
#define restate_wire_InputCommandMessage_DEFAULT NULL
#define restate_wire_InputCommandMessage_headers_MSGTYPE restate_wire_Header
#define restate_wire_InputCommandMessage_value_MSGTYPE restate_wire_Value
#define restate_wire_OutputCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),  14) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),  15)
#define restate_wire_OutputCommandMessage_CALLBACK restate__wire_field
#define restate_wire_OutputCommandMessage_DEFAULT NULL
#define restate_wire_OutputCommandMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_OutputCommandMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_GetLazyStateCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, BYTES,    key,               1) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_GetLazyStateCommandMessage_CALLBACK restate__wire_field
#define restate_wire_GetLazyStateCommandMessage_DEFAULT NULL
#define restate_wire_SetStateCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, BYTES,    key,               1) \
X(a, STATIC,   OPTIONAL, MESSAGE,  value,             3) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_SetStateCommandMessage_CALLBACK restate__wire_field
#define restate_wire_SetStateCommandMessage_DEFAULT NULL
#define restate_wire_SetStateCommandMessage_value_MSGTYPE restate_wire_Value
#define restate_wire_ClearStateCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, BYTES,    key,               1) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_ClearStateCommandMessage_CALLBACK restate__wire_field
#define restate_wire_ClearStateCommandMessage_DEFAULT NULL
#define restate_wire_ClearAllStateCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_ClearAllStateCommandMessage_CALLBACK restate__wire_field
#define restate_wire_ClearAllStateCommandMessage_DEFAULT NULL
#define restate_wire_GetLazyStateKeysCommandMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_GetLazyStateKeysCommandMessage_CALLBACK restate__wire_field
#define restate_wire_GetLazyStateKeysCommandMessage_DEFAULT NULL
#define restate_wire_GetEagerStateCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, BYTES,    key,               1) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,void_value,result.void_value),  13) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),  14)
#define restate_wire_GetEagerStateCommandMessage_CALLBACK restate__wire_field
#define restate_wire_GetEagerStateCommandMessage_DEFAULT NULL
#define restate_wire_GetEagerStateCommandMessage_result_void_value_MSGTYPE restate_wire_Void
#define restate_wire_GetEagerStateCommandMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_GetEagerStateKeysCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12) \
X(a, STATIC,   OPTIONAL, MESSAGE,  value,            14)
#define restate_wire_GetEagerStateKeysCommandMessage_CALLBACK restate__wire_field
#define restate_wire_GetEagerStateKeysCommandMessage_DEFAULT NULL
#define restate_wire_GetEagerStateKeysCommandMessage_value_MSGTYPE restate_wire_StateKeys
#define restate_wire_GetPromiseCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   key,               1) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_GetPromiseCommandMessage_CALLBACK restate__wire_field
#define restate_wire_GetPromiseCommandMessage_DEFAULT NULL
#define restate_wire_PeekPromiseCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   key,               1) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_PeekPromiseCommandMessage_CALLBACK restate__wire_field
#define restate_wire_PeekPromiseCommandMessage_DEFAULT NULL
#define restate_wire_CompletePromiseCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   key,               1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (completion,completion_value,completion.completion_value),   2) \
X(a, STATIC,   ONEOF,    MESSAGE,  (completion,completion_failure,completion.completion_failure),   3) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_CompletePromiseCommandMessage_CALLBACK restate__wire_field
#define restate_wire_CompletePromiseCommandMessage_DEFAULT NULL
#define restate_wire_CompletePromiseCommandMessage_completion_completion_value_MSGTYPE restate_wire_Value
#define restate_wire_CompletePromiseCommandMessage_completion_completion_failure_MSGTYPE restate_wire_Failure
#define restate_wire_SleepCommandMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT64,   wake_up_time,      1) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_SleepCommandMessage_CALLBACK restate__wire_field
#define restate_wire_SleepCommandMessage_DEFAULT NULL
#define restate_wire_CallCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   service_name,      1) \
X(a, CALLBACK, SINGULAR, STRING,   handler_name,      2) \
X(a, CALLBACK, SINGULAR, BYTES,    parameter,         3) \
X(a, CALLBACK, REPEATED, MESSAGE,  headers,           4) \
X(a, CALLBACK, SINGULAR, STRING,   key,               5) \
X(a, CALLBACK, OPTIONAL, STRING,   idempotency_key,   6) \
X(a, CALLBACK, OPTIONAL, STRING,   scope,             7) \
X(a, CALLBACK, OPTIONAL, STRING,   limit_key,         8) \
X(a, STATIC,   SINGULAR, UINT32,   invocation_id_notification_idx,  10) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_CallCommandMessage_CALLBACK restate__wire_field
#define restate_wire_CallCommandMessage_DEFAULT NULL
#define restate_wire_CallCommandMessage_headers_MSGTYPE restate_wire_Header
#define restate_wire_OneWayCallCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   service_name,      1) \
X(a, CALLBACK, SINGULAR, STRING,   handler_name,      2) \
X(a, CALLBACK, SINGULAR, BYTES,    parameter,         3) \
X(a, STATIC,   SINGULAR, UINT64,   invoke_time,       4) \
X(a, CALLBACK, REPEATED, MESSAGE,  headers,           5) \
X(a, CALLBACK, SINGULAR, STRING,   key,               6) \
X(a, CALLBACK, OPTIONAL, STRING,   idempotency_key,   7) \
X(a, CALLBACK, OPTIONAL, STRING,   scope,             8) \
X(a, CALLBACK, OPTIONAL, STRING,   limit_key,         9) \
X(a, STATIC,   SINGULAR, UINT32,   invocation_id_notification_idx,  10) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_OneWayCallCommandMessage_CALLBACK restate__wire_field
#define restate_wire_OneWayCallCommandMessage_DEFAULT NULL
#define restate_wire_OneWayCallCommandMessage_headers_MSGTYPE restate_wire_Header
#define restate_wire_SendSignalCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   target_invocation_id,   1) \
X(a, STATIC,   ONEOF,    UINT32,   (signal_id,idx,signal_id.idx),   2) \
X(a, CALLBACK, ONEOF,    STRING,   (signal_id,name,signal_id.name),   3) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,void_value,result.void_value),   4) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6) \
X(a, CALLBACK, SINGULAR, STRING,   entry_name,       12)
#define restate_wire_SendSignalCommandMessage_CALLBACK restate__wire_field
#define restate_wire_SendSignalCommandMessage_DEFAULT NULL
#define restate_wire_SendSignalCommandMessage_result_void_value_MSGTYPE restate_wire_Void
#define restate_wire_SendSignalCommandMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_SendSignalCommandMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_RunCommandMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_RunCommandMessage_CALLBACK restate__wire_field
#define restate_wire_RunCommandMessage_DEFAULT NULL
#define restate_wire_AttachInvocationCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, ONEOF,    STRING,   (target,invocation_id,target.invocation_id),   1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (target,idempotent_request_target,target.idempotent_request_target),   3) \
X(a, STATIC,   ONEOF,    MESSAGE,  (target,workflow_target,target.workflow_target),   4) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_AttachInvocationCommandMessage_CALLBACK restate__wire_field
#define restate_wire_AttachInvocationCommandMessage_DEFAULT NULL
#define restate_wire_AttachInvocationCommandMessage_target_idempotent_request_target_MSGTYPE restate_wire_IdempotentRequestTarget
#define restate_wire_AttachInvocationCommandMessage_target_workflow_target_MSGTYPE restate_wire_WorkflowTarget
#define restate_wire_GetInvocationOutputCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, ONEOF,    STRING,   (target,invocation_id,target.invocation_id),   1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (target,idempotent_request_target,target.idempotent_request_target),   3) \
X(a, STATIC,   ONEOF,    MESSAGE,  (target,workflow_target,target.workflow_target),   4) \
X(a, STATIC,   SINGULAR, UINT32,   result_completion_id,  11) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_GetInvocationOutputCommandMessage_CALLBACK restate__wire_field
#define restate_wire_GetInvocationOutputCommandMessage_DEFAULT NULL
#define restate_wire_GetInvocationOutputCommandMessage_target_idempotent_request_target_MSGTYPE restate_wire_IdempotentRequestTarget
#define restate_wire_GetInvocationOutputCommandMessage_target_workflow_target_MSGTYPE restate_wire_WorkflowTarget
#define restate_wire_CompleteAwakeableCommandMessage_FIELDLIST(X, a) \
X(a, CALLBACK, SINGULAR, STRING,   awakeable_id,      1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   2) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   3) \
X(a, CALLBACK, SINGULAR, STRING,   name,             12)
#define restate_wire_CompleteAwakeableCommandMessage_CALLBACK restate__wire_field
#define restate_wire_CompleteAwakeableCommandMessage_DEFAULT NULL
#define restate_wire_CompleteAwakeableCommandMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_CompleteAwakeableCommandMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_NotificationTemplate_FIELDLIST(X, a) \
X(a, STATIC,   ONEOF,    UINT32,   (id,completion_id,id.completion_id),   1) \
X(a, STATIC,   ONEOF,    UINT32,   (id,signal_id,id.signal_id),   2) \
X(a, CALLBACK, ONEOF,    STRING,   (id,signal_name,id.signal_name),   3) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,void_value,result.void_value),   4) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6) \
X(a, CALLBACK, ONEOF,    STRING,   (result,invocation_id,result.invocation_id),  16) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,state_keys,result.state_keys),  17)
#define restate_wire_NotificationTemplate_CALLBACK restate__wire_field
#define restate_wire_NotificationTemplate_DEFAULT NULL
#define restate_wire_NotificationTemplate_result_void_value_MSGTYPE restate_wire_Void
#define restate_wire_NotificationTemplate_result_value_MSGTYPE restate_wire_Value
#define restate_wire_NotificationTemplate_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_NotificationTemplate_result_state_keys_MSGTYPE restate_wire_StateKeys
#define restate_wire_GetLazyStateCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,void_value,result.void_value),   4) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5)
#define restate_wire_GetLazyStateCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_GetLazyStateCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_GetLazyStateCompletionNotificationMessage_result_void_value_MSGTYPE restate_wire_Void
#define restate_wire_GetLazyStateCompletionNotificationMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_GetLazyStateKeysCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   OPTIONAL, MESSAGE,  state_keys,       17)
#define restate_wire_GetLazyStateKeysCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_GetLazyStateKeysCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_GetLazyStateKeysCompletionNotificationMessage_state_keys_MSGTYPE restate_wire_StateKeys
#define restate_wire_GetPromiseCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6)
#define restate_wire_GetPromiseCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_GetPromiseCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_GetPromiseCompletionNotificationMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_GetPromiseCompletionNotificationMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_PeekPromiseCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,void_value,result.void_value),   4) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6)
#define restate_wire_PeekPromiseCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_PeekPromiseCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_PeekPromiseCompletionNotificationMessage_result_void_value_MSGTYPE restate_wire_Void
#define restate_wire_PeekPromiseCompletionNotificationMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_PeekPromiseCompletionNotificationMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_CompletePromiseCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,void_value,result.void_value),   4) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6)
#define restate_wire_CompletePromiseCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_CompletePromiseCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_CompletePromiseCompletionNotificationMessage_result_void_value_MSGTYPE restate_wire_Void
#define restate_wire_CompletePromiseCompletionNotificationMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_SleepCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   OPTIONAL, MESSAGE,  void_value,        4)
#define restate_wire_SleepCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_SleepCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_SleepCompletionNotificationMessage_void_value_MSGTYPE restate_wire_Void
#define restate_wire_CallInvocationIdCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, CALLBACK, SINGULAR, STRING,   invocation_id,    16)
#define restate_wire_CallInvocationIdCompletionNotificationMessage_CALLBACK restate__wire_field
#define restate_wire_CallInvocationIdCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_CallCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6)
#define restate_wire_CallCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_CallCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_CallCompletionNotificationMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_CallCompletionNotificationMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_RunCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6)
#define restate_wire_RunCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_RunCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_RunCompletionNotificationMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_RunCompletionNotificationMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_AttachInvocationCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6)
#define restate_wire_AttachInvocationCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_AttachInvocationCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_AttachInvocationCompletionNotificationMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_AttachInvocationCompletionNotificationMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   SINGULAR, UINT32,   completion_id,     1) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,void_value,result.void_value),   4) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6)
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_CALLBACK NULL
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_DEFAULT NULL
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_result_void_value_MSGTYPE restate_wire_Void
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_GetInvocationOutputCompletionNotificationMessage_result_failure_MSGTYPE restate_wire_Failure
#define restate_wire_SignalNotificationMessage_FIELDLIST(X, a) \
X(a, STATIC,   ONEOF,    UINT32,   (signal_id,idx,signal_id.idx),   2) \
X(a, CALLBACK, ONEOF,    STRING,   (signal_id,name,signal_id.name),   3) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,void_value,result.void_value),   4) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,value,result.value),   5) \
X(a, STATIC,   ONEOF,    MESSAGE,  (result,failure,result.failure),   6)
#define restate_wire_SignalNotificationMessage_CALLBACK restate__wire_field
#define restate_wire_SignalNotificationMessage_DEFAULT NULL
#define restate_wire_SignalNotificationMessage_result_void_value_MSGTYPE restate_wire_Void
#define restate_wire_SignalNotificationMessage_result_value_MSGTYPE restate_wire_Value
#define restate_wire_SignalNotificationMessage_result_failure_MSGTYPE restate_wire_Failure

/* PB_BIND with other linkage: external for descriptors only, and not even for them with RESTATE_STATIC. */
#ifndef RESTATE_STATIC
#  define RESTATE__WIRE_LINKAGE
#elif defined(__GNUC__)
#  define RESTATE__WIRE_LINKAGE static __attribute__((unused))
#else
#  define RESTATE__WIRE_LINKAGE static
#endif
#define RESTATE__WIRE_BIND(msgname, structname, width) \
    static const uint32_t structname ## _field_info[] = { \
        msgname ## _FIELDLIST(PB_GEN_FIELD_INFO_ ## width, structname) 0 \
    }; \
    static const pb_msgdesc_t *const structname ## _submsg_info[] = { \
        msgname ## _FIELDLIST(PB_GEN_SUBMSG_INFO, structname) NULL \
    }; \
    RESTATE__WIRE_LINKAGE const pb_msgdesc_t structname ## _msg = { \
        structname ## _field_info, \
        structname ## _submsg_info, \
        msgname ## _DEFAULT, \
        msgname ## _CALLBACK, \
        0 msgname ## _FIELDLIST(PB_GEN_FIELD_COUNT, structname), \
        0 msgname ## _FIELDLIST(PB_GEN_REQ_FIELD_COUNT, structname), \
        0 msgname ## _FIELDLIST(PB_GEN_LARGEST_TAG, structname) \
    }; \
    msgname ## _FIELDLIST(PB_GEN_FIELD_INFO_ASSERT_ ## width, structname)

RESTATE__WIRE_BIND(restate_wire_Value, restate_wire_Value, AUTO)
RESTATE__WIRE_BIND(restate_wire_Void, restate_wire_Void, AUTO)
RESTATE__WIRE_BIND(restate_wire_FailureMetadata, restate_wire_FailureMetadata, AUTO)
RESTATE__WIRE_BIND(restate_wire_Failure, restate_wire_Failure, AUTO)
RESTATE__WIRE_BIND(restate_wire_Header, restate_wire_Header, AUTO)
RESTATE__WIRE_BIND(restate_wire_StateKeys, restate_wire_StateKeys, AUTO)
RESTATE__WIRE_BIND(restate_wire_WorkflowTarget, restate_wire_WorkflowTarget, AUTO)
RESTATE__WIRE_BIND(restate_wire_IdempotentRequestTarget, restate_wire_IdempotentRequestTarget, AUTO)
RESTATE__WIRE_BIND(restate_wire_Future, restate_wire_Future, AUTO)
RESTATE__WIRE_BIND(restate_wire_StartMessage, restate_wire_StartMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_StartMessage_StateEntry, restate_wire_StartMessage_StateEntry, AUTO)
RESTATE__WIRE_BIND(restate_wire_SuspensionMessage, restate_wire_SuspensionMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_ErrorMessage, restate_wire_ErrorMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_EndMessage, restate_wire_EndMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_CommandAckMessage, restate_wire_CommandAckMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_ProposeRunCompletionMessage, restate_wire_ProposeRunCompletionMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_AwaitingOnMessage, restate_wire_AwaitingOnMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_ProposeRunCompletionAckMessage, restate_wire_ProposeRunCompletionAckMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_InputCommandMessage, restate_wire_InputCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_OutputCommandMessage, restate_wire_OutputCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetLazyStateCommandMessage, restate_wire_GetLazyStateCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_SetStateCommandMessage, restate_wire_SetStateCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_ClearStateCommandMessage, restate_wire_ClearStateCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_ClearAllStateCommandMessage, restate_wire_ClearAllStateCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetLazyStateKeysCommandMessage, restate_wire_GetLazyStateKeysCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetEagerStateCommandMessage, restate_wire_GetEagerStateCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetEagerStateKeysCommandMessage, restate_wire_GetEagerStateKeysCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetPromiseCommandMessage, restate_wire_GetPromiseCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_PeekPromiseCommandMessage, restate_wire_PeekPromiseCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_CompletePromiseCommandMessage, restate_wire_CompletePromiseCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_SleepCommandMessage, restate_wire_SleepCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_CallCommandMessage, restate_wire_CallCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_OneWayCallCommandMessage, restate_wire_OneWayCallCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_SendSignalCommandMessage, restate_wire_SendSignalCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_RunCommandMessage, restate_wire_RunCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_AttachInvocationCommandMessage, restate_wire_AttachInvocationCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetInvocationOutputCommandMessage, restate_wire_GetInvocationOutputCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_CompleteAwakeableCommandMessage, restate_wire_CompleteAwakeableCommandMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_NotificationTemplate, restate_wire_NotificationTemplate, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetLazyStateCompletionNotificationMessage, restate_wire_GetLazyStateCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetLazyStateKeysCompletionNotificationMessage, restate_wire_GetLazyStateKeysCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetPromiseCompletionNotificationMessage, restate_wire_GetPromiseCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_PeekPromiseCompletionNotificationMessage, restate_wire_PeekPromiseCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_CompletePromiseCompletionNotificationMessage, restate_wire_CompletePromiseCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_SleepCompletionNotificationMessage, restate_wire_SleepCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_CallInvocationIdCompletionNotificationMessage, restate_wire_CallInvocationIdCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_CallCompletionNotificationMessage, restate_wire_CallCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_RunCompletionNotificationMessage, restate_wire_RunCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_AttachInvocationCompletionNotificationMessage, restate_wire_AttachInvocationCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_GetInvocationOutputCompletionNotificationMessage, restate_wire_GetInvocationOutputCompletionNotificationMessage, AUTO)
RESTATE__WIRE_BIND(restate_wire_SignalNotificationMessage, restate_wire_SignalNotificationMessage, AUTO)

/* Strings with explicit presence: they are written when they are empty. (nanopb's descriptors do not
 * tell them from others.) */
static const struct restate__wire_optional {
    const pb_msgdesc_t *message;
    uint32_t tag;
} restate__wire_optionals[] = {
    { &restate_wire_WorkflowTarget_msg, 3 },
    { &restate_wire_IdempotentRequestTarget_msg, 2 },
    { &restate_wire_IdempotentRequestTarget_msg, 5 },
    { &restate_wire_StartMessage_msg, 10 },
    { &restate_wire_StartMessage_msg, 11 },
    { &restate_wire_StartMessage_msg, 12 },
    { &restate_wire_ErrorMessage_msg, 5 },
    { &restate_wire_CallCommandMessage_msg, 6 },
    { &restate_wire_CallCommandMessage_msg, 7 },
    { &restate_wire_CallCommandMessage_msg, 8 },
    { &restate_wire_OneWayCallCommandMessage_msg, 7 },
    { &restate_wire_OneWayCallCommandMessage_msg, 8 },
    { &restate_wire_OneWayCallCommandMessage_msg, 9 },
    { NULL, 0 }
};

#ifdef __cplusplus
}
#endif

#endif /* RESTATE_IMPLEMENTATION */

/*
 * MIT License
 *
 * Copyright (c) 2026 The restate.h authors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy
 * of this software and associated documentation files (the "Software"), to deal
 * in the Software without restriction, including without limitation the rights
 * to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is
 * furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all
 * copies or substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 * LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 * SOFTWARE.
 */
