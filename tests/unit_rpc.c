/* Section >>rpc: calls with messages for arguments, from handlers and from clients, in both encodings. (What
 * protoc-gen-restate makes of .proto files is in typed/.) */
#define RESTATE_IMPLEMENTATION
#define RESTATE_WITH_TEST
#include "restate.h"
#include "test.h"
#include "../build/proto/order.pb.c"
#include "support/test.c"

static const restate_codec order_json = RESTATE_PROTOJSON(Order), order_proto = RESTATE_PROTO(Order);
static const restate_codec total_json = RESTATE_PROTOJSON(Total), total_proto = RESTATE_PROTO(Total);

/* ---- A service in both encodings, and what calls it ------------------------------------------------ */

/* Twice the price. An order "broke" is refused, "odd" is answered with what is no message. */
static restate_status pay(restate_ctx *c, const restate_codec *from, const restate_codec *to, restate_bytes input) {
    Order order = Order_init_zero;
    RESTATE_TRY(restate_decode(c, from, restate_rpc_given(from, input), &order));
    if (strcmp(order.id, "broke") == 0) return restate_fail(c, 402, "no money");
    if (strcmp(order.id, "odd") == 0) return restate_reply(c, restate_str("\x7f{"));
    Total total = { .cents = 2 * order.cents, .orders = order.id[0] ? 1 : 0 };
    return restate_reply(c, restate_encode(c, to, &total));
}

static restate_status json(restate_ctx *c, restate_bytes input) { return pay(c, &order_json, &total_json, input); }
static restate_status binary(restate_ctx *c, restate_bytes input) { return pay(c, &order_proto, &total_proto, input); }

static restate_status nothing(restate_ctx *c, restate_bytes input) {
    (void)input;
    return restate_reply(c, restate__b_none());
}

static const restate_rpc pay_json = { "Shop", "json", &order_json, &total_json, sizeof(Total) };
static const restate_rpc pay_binary = { "Shop", "binary", &order_proto, &total_proto, sizeof(Total) };
static const restate_rpc ping_json = { "Shop", "ping", &restate_rpc_empty_json, &restate_rpc_empty_json, 0 };
static const restate_rpc ping_proto = { "Shop", "pingBinary", &restate_rpc_empty_proto, &restate_rpc_empty_proto, 0 };
static const restate_rpc run_flow = { "Flow", "run", &order_json, &total_json, sizeof(Total) };
static const restate_rpc missing = { "Shop", "missing", &order_json, &total_json, sizeof(Total) };
static const restate_rpc *const pays[] = { &pay_json, &pay_binary };

/* What a call gave, and what it left in `*total`. */
static const char *outcome(restate_ctx *c, restate_status s, const Total *total) {
    static char text[200];
    static const char *const names[] = { "OK", "TERMINAL", "TIMEOUT", "CANCELLED", "ENDED", "ERROR" };
    snprintf(text, sizeof text, "%s %d: %lld of %d", names[s], s == RESTATE_OK ? 0 : restate_failed(c)->code, (long long)total->cents,
             (int)total->orders);
    return text;
}

static const char *call(restate_ctx *c, const restate_rpc *rpc, const char *id) {
    Order order = { .cents = 21 };
    Total total = { 9, 9 };
    snprintf(order.id, sizeof order.id, "%s", id);
    return outcome(c, restate_rpc_call(c, rpc, "k", &order, NULL, &total), &total);
}

static const char *call_async(restate_ctx *c, const restate_rpc *rpc, const char *id) {
    Order order = { .cents = 21 };
    Total total = { 9, 9 };
    snprintf(order.id, sizeof order.id, "%s", id);
    restate_future *f = restate_rpc_call_async(c, rpc, "k", &order, NULL);
    memset(&order, 'x', sizeof order);                      /* it was taken when the call was made */
    return outcome(c, restate_rpc_await(c, rpc, f, &total), &total);
}

/* Calls as a handler does, with the id that it gets. */
static restate_status through(restate_ctx *c, restate_bytes input) {
    const char *id = "", *text = "";
    RESTATE_TRY(restate_json_string(c, input, NULL, &id));
    for (size_t i = 0; i < 2; i++) {
        const char *first = restate_text(c, "%s", call(c, pays[i], id));
        text = restate_text(c, "%s%s, %s\n", text, first, call_async(c, pays[i], id));
    }
    return restate_reply(c, restate_str(text));
}

static const restate_service shop = { .name = "Shop", .kind = RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "json", .fn = json, .input = &order_json, .output = &total_json },
    { .name = "binary", .fn = binary, .input = &order_proto, .output = &total_proto },
    { .name = "ping", .fn = nothing, .input = &restate_rpc_empty_json, .output = &restate_rpc_empty_json },
    { .name = "pingBinary", .fn = nothing, .input = &restate_rpc_empty_proto, .output = &restate_rpc_empty_proto }) };
static const restate_service flow = { .name = "Flow", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
    { .name = "run", .fn = json, .input = &order_json, .output = &total_json }) };
static const restate_service front = { .name = "Front", .handlers = RESTATE_HANDLERS({ .name = "through", .fn = through }) };

/* ---- Rules ------------------------------------------------------------------------------------------ */

TEST(a_call_encodes_and_decodes) {
    EVERY_WAY()
        for (size_t i = 0; i < 2; i++) {
            CHECK_STR(call(ctx, pays[i], "A"), "OK 0: 42 of 1");
            CHECK_STR(call_async(ctx, pays[i], "A"), "OK 0: 42 of 1");
        }
}

TEST(handlers_call_as_clients_do) {
    EVERY_WAY() {
        CHECK_STR(ask("Front/through", "\"A\""), "OK 0: 42 of 1, OK 0: 42 of 1\nOK 0: 42 of 1, OK 0: 42 of 1\n");
        CHECK_STR(ask("Front/through", "\"broke\""), "TERMINAL 402: 0 of 0, TERMINAL 402: 0 of 0\nTERMINAL 402: 0 of 0, TERMINAL 402: 0 of 0\n");
    }
}

TEST(a_failure_leaves_zeros) {
    EVERY_WAY()
        for (size_t i = 0; i < 2; i++) {
            CHECK_STR(call(ctx, pays[i], "broke"), "TERMINAL 402: 0 of 0");
            CHECK_STR(call_async(ctx, pays[i], "broke"), "TERMINAL 402: 0 of 0");
            CHECK_HAS(call(ctx, pays[i], "odd"), ": 0 of 0");
            CHECK(strncmp(call(ctx, pays[i], "odd"), "OK", 2) != 0);
        }
    test_open();
    CHECK_HAS(call(ctx, &missing, "A"), ": 0 of 0");
    CHECK_INT(restate_client_answer(ctx, NULL)->http_status, 404);
    test_close();
}

TEST(a_reply_need_not_be_looked_at) {
    EVERY_WAY()
        for (size_t i = 0; i < 2; i++) {
            const Order order = { .id = "odd" };
            CHECK_INT(restate_rpc_call(ctx, pays[i], "k", &order, NULL, NULL), RESTATE_OK);
            CHECK_INT(restate_rpc_await(ctx, pays[i], restate_rpc_call_async(ctx, pays[i], "k", &order, NULL), NULL), RESTATE_OK);
        }
}

TEST(messages_without_fields_have_no_value) {
    const restate_rpc *const pings[] = { &ping_json, &ping_proto };
    EVERY_WAY()
        for (size_t i = 0; i < 2; i++) {
            CHECK_INT(restate_rpc_call(ctx, pings[i], "k", NULL, NULL, NULL), RESTATE_OK);
            CHECK_INT(restate_rpc_await(ctx, pings[i], restate_rpc_call_async(ctx, pings[i], "k", NULL, NULL), NULL), RESTATE_OK);
        }
}

/* In JSON it is no value, which leaves zeros; in binary form it is a message of which nothing is set. */
TEST(an_empty_payload_is_the_message_in_which_nothing_is_set) {
    Total total = { 9, 9 };
    test_open();
    CHECK(!restate_rpc_given(&total_json, restate_str("")).ptr);
    CHECK(restate_rpc_given(&total_proto, restate_str("")).ptr);
    CHECK(restate_rpc_given(&total_proto, restate__b_none()).ptr);
    CHECK_INT(restate_rpc_given(&total_json, restate_str("{}")).len, 2);
    for (size_t i = 0; i < 2; i++) {
        total = (Total){ 9, 9 };
        CHECK_INT(restate_rpc_response(ctx, pays[i], restate_str(""), &total), RESTATE_OK);
        CHECK(total.cents == 0 && total.orders == 0);
        CHECK_INT(restate_rpc_response(ctx, pays[i], restate_str("\x7f{"), NULL), RESTATE_OK);
    }
    test_close();
}

TEST(a_send_is_a_call_once) {
    EVERY_WAY() {
        const Order order = { .id = "A", .cents = 21 };
        const restate_call_options once = { .idempotency_key = "one" };
        const char *first = value_of(restate_rpc_send(ctx, &pay_json, "k", &order, &once));
        CHECK_HAS(first, "inv_1");
        CHECK_STR(value_of(restate_rpc_send(ctx, &pay_json, "k", &order, &once)), first);
        Total total;
        restate_bytes reply;
        CHECK_INT(restate_attach(ctx, (restate_invocation){ .id = first }, &reply), RESTATE_OK);
        CHECK_INT(restate_rpc_response(ctx, &pay_json, reply, &total), RESTATE_OK);
        CHECK_INT(total.cents, 42);
    }
}

TEST(the_run_of_a_workflow_is_attached_to) {
    EVERY_WAY() {
        const Order order = { .id = "A", .cents = 21 };
        Total total;
        CHECK_HAS(value_of(restate_rpc_send(ctx, &run_flow, "w", &order, NULL)), "inv_1");
        CHECK_STR(outcome(ctx, restate_rpc_await(ctx, &run_flow, restate_rpc_attach(ctx, &run_flow, "w"), &total), &total), "OK 0: 42 of 1");
        CHECK_STR(outcome(ctx, restate_rpc_await(ctx, &run_flow, restate_rpc_attach(ctx, &run_flow, "w"), &total), &total), "OK 0: 42 of 1");
    }
}

TEST(a_target_names_service_handler_and_key) {
    restate_target t = restate_rpc_target(&pay_json, "k");
    CHECK_STR(t.service, "Shop");
    CHECK_STR(t.handler, "json");
    CHECK_STR(t.key, "k");
    CHECK(!t.scope && !restate_rpc_target(&pay_json, NULL).key);
}

int main(int argc, char **argv) {
    static const test_case cases[] = {
        T(a_call_encodes_and_decodes), T(handlers_call_as_clients_do), T(a_failure_leaves_zeros), T(a_reply_need_not_be_looked_at),
        T(messages_without_fields_have_no_value), T(an_empty_payload_is_the_message_in_which_nothing_is_set), T(a_send_is_a_call_once),
        T(the_run_of_a_workflow_is_attached_to), T(a_target_names_service_handler_and_key), { NULL, NULL }
    };
    return test_with(RESTATE_SERVICES(&shop, &flow, &front), argc, argv, cases);
}
