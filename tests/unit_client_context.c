/* Section >>client: contexts whose peer is not a server. Here the peer is this file: it answers calls by the name
 * of their handler, keeps state in a table, and lets its clock jump to the next timer. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "test.h"
#include "support/allocator.c"

#include <stdlib.h>

/* ---- The peer ------------------------------------------------------------------------------- */

enum { MOST = 64 };

typedef struct pending {
    restate__client_ctx *c;
    uint32_t id, completion;                    /* completion 0: only the id */
    char handler[32];
    char value[2048];
    size_t len;
    uint64_t due;                               /* of a timer */
    restate_status as;                          /* of a failure */
    bool done;
} pending;

typedef struct fake {
    restate_client base;                        /* first */
    pending list[MOST];
    size_t count;
    char state[8][2][64];                       /* key and value; one object */
    size_t taken, waits;
    char last[64];                              /* what was cancelled, resolved, or asked for */
    uint64_t now;
} fake;

static fake *fake_of(restate__client_ctx *c) { return (fake *)(void *)c->client; }

static void text_of(char *to, size_t room, restate_bytes b) {
    snprintf(to, room, "%.*s", (int)b.len, b.len ? (const char *)b.ptr : "");
}

static pending *push(restate__client_ctx *c, uint32_t completion, const char *handler) {
    fake *f = fake_of(c);
    pending *p = &f->list[f->count++];
    *p = (pending){ .c = c, .completion = completion };
    snprintf(p->handler, sizeof p->handler, "%s", handler);
    return p;
}

static void take_call(restate__client_ctx *c, const restate__message *m) {
    restate_wire_CallCommandMessage call;
    CHECK(restate__wire_decode(restate_wire_CallCommandMessage_fields, &call, sizeof call, m->body));
    char handler[32];
    text_of(handler, sizeof handler, call.handler_name);
    pending *p = push(c, call.result_completion_id, handler);
    p->id = call.invocation_id_notification_idx;
    p->len = call.parameter.len < sizeof p->value ? call.parameter.len : sizeof p->value;
    if (p->len) memcpy(p->value, call.parameter.ptr, p->len);
    if (c->peer.absent) snprintf(p->handler, sizeof p->handler, "absent");
    if (c->peer.codec) snprintf(p->handler, sizeof p->handler, "%s", c->peer.codec->content_type);
}

static char (*state_at(fake *f, restate_bytes key))[64] {
    for (size_t i = 0; i < 8; i++)
        if (!f->state[i][0][0] || restate__b_equal(restate_str(f->state[i][0]), key)) return f->state[i];
    return NULL;
}

static void take_state(restate__client_ctx *c, const restate__message *m) {
    fake *f = fake_of(c);
    if (m->type == restate_wire_MSG_SET_STATE_COMMAND) {
        restate_wire_SetStateCommandMessage set;
        CHECK(restate__wire_decode(restate_wire_SetStateCommandMessage_fields, &set, sizeof set, m->body));
        char(*at)[64] = state_at(f, set.key);
        text_of(at[0], 64, set.key);
        text_of(at[1], 64, set.value.content);
    } else if (m->type == restate_wire_MSG_CLEAR_ALL_STATE_COMMAND) {
        memset(f->state, 0, sizeof f->state);
    } else if (m->type == restate_wire_MSG_GET_LAZY_STATE_COMMAND) {
        restate_wire_GetLazyStateCommandMessage get;
        CHECK(restate__wire_decode(restate_wire_GetLazyStateCommandMessage_fields, &get, sizeof get, m->body));
        char(*at)[64] = state_at(f, get.key);
        pending *p = push(c, get.result_completion_id, at[0][0] ? "echo" : "void");
        p->len = (size_t)snprintf(p->value, sizeof p->value, "%s", at[1]);
    } else if (m->type == restate_wire_MSG_GET_LAZY_STATE_KEYS_COMMAND) {
        restate_wire_GetLazyStateKeysCommandMessage keys;
        CHECK(restate__wire_decode(restate_wire_GetLazyStateKeysCommandMessage_fields, &keys, sizeof keys, m->body));
        push(c, keys.result_completion_id, "keys");
    } else {
        CHECK(!"a command that the test does not know");
    }
}

/* Commands without a completion: their status. */
static restate_status take_now(restate__client_ctx *c, const restate__message *m, bool *known) {
    fake *f = fake_of(c);
    *known = true;
    if (m->type == restate_wire_MSG_SEND_SIGNAL_COMMAND) {
        restate_wire_SendSignalCommandMessage s;
        CHECK(restate__wire_decode(restate_wire_SendSignalCommandMessage_fields, &s, sizeof s, m->body));
        text_of(f->last, sizeof f->last, s.target_invocation_id);
        return RESTATE_OK;
    }
    if (m->type == restate_wire_MSG_COMPLETE_AWAKEABLE_COMMAND) {
        /* As if the ingress had refused it. */
        return restate__ctx_new_failure(&c->peer.attempt.ctx, 404, "not found", RESTATE_ERROR);
    }
    *known = false;
    return RESTATE_OK;
}

static restate_status fake_take(restate__peer *peer) {
    restate__client_ctx *c = (restate__client_ctx *)(void *)peer;
    fake *f = fake_of(c);
    restate__message m;
    restate__chunk *block;
    restate_status s = RESTATE_OK;
    while (restate__peer_command(peer, &m, &block)) {
        bool known;
        f->taken++;
        s = take_now(c, &m, &known);
        if (m.type == restate_wire_MSG_CALL_COMMAND) {
            take_call(c, &m);
        } else if (m.type == restate_wire_MSG_ONE_WAY_CALL_COMMAND) {
            restate_wire_OneWayCallCommandMessage send;
            CHECK(restate__wire_decode(restate_wire_OneWayCallCommandMessage_fields, &send, sizeof send, m.body));
            char handler[32];
            text_of(handler, sizeof handler, send.handler_name);
            push(c, 0, handler)->id = send.invocation_id_notification_idx;
        } else if (m.type == restate_wire_MSG_SLEEP_COMMAND) {
            restate_wire_SleepCommandMessage sleep;
            CHECK(restate__wire_decode(restate_wire_SleepCommandMessage_fields, &sleep, sizeof sleep, m.body));
            push(c, sleep.result_completion_id, "timer")->due = sleep.wake_up_time;
        } else if (!known) {
            take_state(c, &m);
        }
        restate__cache_give(peer->out.cache, block);
    }
    return restate__ctx_is_over(&peer->attempt.ctx) ? RESTATE_ENDED : s;
}

static void settle(pending *p) {
    bool fails = strcmp(p->handler, "fail") == 0, refuses = strcmp(p->handler, "refuse") == 0;
    restate_failure failure = { (uint16_t)(fails ? 418 : 404), p->value, NULL };
    restate_pair metadata[] = { { "why", "because" }, { NULL, NULL } };
    p->done = true;
    p->value[p->len] = 0;
    p->as = fails ? RESTATE_TERMINAL : RESTATE_ERROR;
    if (strcmp(p->handler, "late") == 0) {
        failure.code = 408;
        p->as = RESTATE_TIMEOUT;
        refuses = true;
    }
    if (fails) failure.metadata = metadata;
    if (p->id && refuses) restate__client_failure(p->c, p->id, &failure);
    else if (p->id) restate__client_id(p->c, p->id, restate_str("inv_1"));
    if (!p->completion) return;
    if (fails || refuses) {
        restate__client_failure(p->c, p->completion, &failure);
    } else if (strcmp(p->handler, "timer") == 0 || strcmp(p->handler, "void") == 0) {
        restate__client_void(p->c, p->completion);
    } else if (strcmp(p->handler, "keys") == 0) {
        const restate_bytes keys[] = { restate_str("b"), restate_str("a") };
        restate__client_keys(p->c, p->completion, keys, 2);
    } else if (strcmp(p->handler, "echo") == 0) {
        restate__client_value(p->c, p->completion, restate__b(p->value, p->len));
    } else {
        restate__client_value(p->c, p->completion, restate_str(p->handler));
    }
}

/* One thing at a time: the oldest call, then the next timer. */
static restate_status fake_wait(restate__client_ctx *c) {
    fake *f = fake_of(c);
    pending *next = NULL;
    f->waits++;
    for (size_t i = 0; i < f->count; i++) {
        pending *p = &f->list[i];
        if (p->done) continue;
        if (!p->due) {
            settle(p);
            return RESTATE_OK;
        }
        if (!next || p->due < next->due) next = p;
    }
    if (!next)
        return restate__ctx_misuse(&c->peer.attempt.ctx, "wait", "nothing is left that could come");
    if (next->due > f->now) f->now = next->due;
    settle(next);
    return RESTATE_OK;
}

static restate_status fake_told(restate__peer *peer, uint32_t completion) {
    restate__client_ctx *c = (restate__client_ctx *)(void *)peer;
    fake *f = fake_of(c);
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].c == c && (f->list[i].completion == completion || f->list[i].id == completion))
            return f->list[i].as;
    return RESTATE_TERMINAL;
}

static bool fake_begin(restate__client_ctx *c) {
    for (size_t i = 0; i < 4; i++) c->peer.attempt.request.random[i] = i + 1;
    return c->peer.attempt.request.random_ready = true;
}

static void fake_end(restate__client_ctx *c) {
    fake *f = fake_of(c);
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].c == c) f->list[i].done = true;
}

static bool fake_request(restate__client_ctx *c, uint32_t completion, const char *method, const char *path,
                         restate_bytes body) {
    fake *f = fake_of(c);
    (void)body;
    snprintf(f->last, sizeof f->last, "%s %s", method, path);
    push(c, completion, "echo")->len = 0;
    return true;
}

static const restate_answer *fake_answer(restate__client_ctx *c, uint32_t completion) {
    static restate_answer answer;
    (void)c;
    answer = (restate_answer){ .http_status = (uint16_t)completion, .invocation_id = "inv_1",
                               .headers = &restate__no_pairs };
    return &answer;
}

static void fake_free(restate_client *client) {
    restate__worker_free(&client->worker);
    free(client);
}

static const restate__client_kind fake_kind = {
    .calls = { fake_take, restate__client_wait, fake_told,
               RESTATE__RULE_HANDLER | RESTATE__RULE_SIGNAL | RESTATE__RULE_WORKFLOW | RESTATE__RULE_REPLY },
    .ctx_bytes = sizeof(restate__client_ctx),
    .begin = fake_begin, .end = fake_end, .wait = fake_wait, .request = fake_request,
    .answer = fake_answer, .free = fake_free
};

static uint64_t fake_now(void *user) { return ((fake *)user)->now; }

static mem_counts memory;

static char logged[512];

static void keep_log(void *user, const restate_log_record *r) {
    (void)user;
    snprintf(logged, sizeof logged, "%s|%s|%s", r->message, r->service ? r->service : "-",
             r->invocation_id ? r->invocation_id : "-");
}

static fake *fake_new(void) {
    fake *f = calloc(1, sizeof *f);
    f->now = 1000;
    f->base.allocator = mem_allocator(&memory);
    f->base.clock = (restate_clock){ fake_now, fake_now, f };
    f->base.logger.to = (restate_logger){ .write = keep_log, .level = RESTATE_LOG_INFO };
    restate__client_init(&f->base, &fake_kind);
    mem_fail(&memory, 0);
    return f;
}

static restate_target to(const char *handler) {
    return (restate_target){ .service = "S", .handler = handler };
}

#define BYTES(b, text) CHECK_STR((b).ptr ? (const char *)(b).ptr : NULL, text)

/* ---- Results --------------------------------------------------------------------------------- */

TEST(calls) {
    fake *f = fake_new();
    restate_ctx *ctx = restate_client_begin(&f->base);
    restate_bytes v;
    const char *id;
    uint64_t now;
    CHECK_INT(restate_call(ctx, to("echo"), restate_json(ctx, "{'a': %d}", 1), NULL, &v), RESTATE_OK);
    BYTES(v, "{\"a\": 1}");
    CHECK_INT(restate_call(ctx, to("fail"), restate_str("\"x\""), NULL, &v), RESTATE_TERMINAL);
    CHECK(!v.ptr);
    CHECK_INT(restate_failed(ctx)->code, 418);
    CHECK_STR(restate_failed(ctx)->message, "\"x\"");
    CHECK_STR(restate_failed(ctx)->metadata[0].value, "because");
    CHECK_INT(restate_call(ctx, to("refuse"), restate_str("no"), NULL, NULL), RESTATE_ERROR);
    CHECK_INT(restate_failed(ctx)->code, 404);
    CHECK_INT(restate_call(ctx, to("late"), restate_str("late"), NULL, NULL), RESTATE_TIMEOUT);
    CHECK_INT(restate_failed(ctx)->code, 408);
    CHECK_INT(restate_fail_with(ctx, restate_failed(ctx)), RESTATE_TIMEOUT);    /* handed on as it is */
    CHECK_INT(restate_call(ctx, to("echo"), (restate_bytes){ NULL, 0 }, NULL, &v), RESTATE_OK);
    BYTES(v, "absent");
    CHECK_INT(restate_call_id(ctx, restate_send(ctx, to("echo"), v, NULL), &id), RESTATE_OK);
    CHECK_STR(id, "inv_1");
    CHECK_INT(restate_call_id(ctx, restate_send(ctx, to("refuse"), v, NULL), &id), RESTATE_ERROR);
    CHECK_STR(id, "");
    CHECK_INT(restate_cancel(ctx, "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61"), RESTATE_OK);
    CHECK_STR(f->last, "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61");
    CHECK_INT(restate_sleep(ctx, 500), RESTATE_OK);
    CHECK_INT(restate_now(ctx, &now), RESTATE_OK);
    CHECK_INT(now, 1500);
    CHECK(strlen(restate_uuid(ctx)) == 36);
    restate_log(ctx, RESTATE_LOG_INFO, "hello %d", 7);
    CHECK_STR(logged, "hello 7|-|-");
    restate_client_end(ctx);
    restate_client_free(&f->base);
}

TEST(futures) {
    fake *f = fake_new();
    restate_ctx *ctx = restate_client_begin(&f->base);
    restate_future *calls[3], *race;
    restate_bytes v;
    size_t index, sum = 0;
    for (size_t i = 0; i < 3; i++) calls[i] = restate_call_async(ctx, to("echo"), restate_json(ctx, "%zu", i), NULL);
    CHECK(!restate_is_done(calls[0]));
    restate_selector *left = restate_selector_new(ctx, calls, 3);
    while (restate_selector_remaining(left)) {
        CHECK_INT(restate_selector_next(ctx, left, &index), RESTATE_OK);
        CHECK_INT(restate_await(ctx, calls[index], &v), RESTATE_OK);
        sum += (size_t)(v.ptr[0] - '0');
    }
    CHECK_INT(sum, 3);
    CHECK_INT(restate_await_for(ctx, restate_call_async(ctx, to("echo"), v, NULL), 10, &v), RESTATE_OK);
    race = restate_sleep_async(ctx, 100, NULL);
    CHECK_INT(restate_await_for(ctx, race, 10, NULL), RESTATE_TIMEOUT);
    CHECK_INT(restate_await(ctx, race, NULL), RESTATE_OK);
    calls[0] = restate_call_async(ctx, to("fail"), restate_str("a"), NULL);
    calls[1] = restate_call_async(ctx, to("refuse"), restate_str("b"), NULL);
    CHECK_INT(restate_await(ctx, restate_any(ctx, calls, 2), NULL), RESTATE_ERROR);     /* the last one's */
    CHECK_INT(restate_await(ctx, restate_race(ctx, calls, 2), NULL), RESTATE_TERMINAL);
    CHECK_INT(restate_await(ctx, restate_settled(ctx, v, &(restate_failure){ .code = 1, .message = "m" }), NULL),
              RESTATE_TERMINAL);
    CHECK_INT(restate_client_answer(ctx, calls[0])->http_status, calls[0]->id->id);
    CHECK_STR(restate_client_answer(ctx, restate_race(ctx, calls, 2))->invocation_id, "");
    restate_future *any = restate_client_request(ctx, "GET", "/version", (restate_bytes){ NULL, 0 });
    CHECK_INT(restate_await(ctx, any, &v), RESTATE_OK);
    CHECK_STR(f->last, "GET /version");
    restate_client_free(&f->base);
}

TEST(state) {
    fake *f = fake_new();
    restate_ctx *ctx = restate_client_begin(&f->base);
    const char *const *keys;
    restate_bytes v;
    CHECK_INT(restate_get(ctx, "a", &v), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "restate_client_at()");
    CHECK_INT(restate_set(ctx, "a", restate_str("1")), RESTATE_ERROR);
    restate_client_at(ctx, (restate_target){ .service = "O", .key = "k" });
    CHECK_STR(restate_key(ctx), "k");
    CHECK_INT(restate_set(ctx, "a", restate_str("1")), RESTATE_OK);
    CHECK_INT(restate_get(ctx, "a", &v), RESTATE_OK);
    BYTES(v, "1");
    CHECK_INT(restate_get(ctx, "b", &v), RESTATE_OK);
    CHECK(!v.ptr);
    CHECK_INT(restate_clear_all(ctx), RESTATE_OK);
    CHECK_INT(restate_get(ctx, "a", &v), RESTATE_OK);      /* asked for again, not remembered */
    CHECK(!v.ptr);
    CHECK_INT(restate_keys(ctx, &keys), RESTATE_OK);
    CHECK_STR(keys[0], "a");
    CHECK_STR(keys[1], "b");
    const restate_entry *all;
    CHECK_INT(restate_set(ctx, "b", restate_str("2")), RESTATE_OK);
    CHECK_INT(restate_get_all(ctx, &all), RESTATE_OK);      /* of both keys one has a value */
    CHECK_STR(all[0].key, "b");
    CHECK(!all[1].key);
    CHECK(restate_random_double(ctx) < 1);
    CHECK_INT(restate_random_below(ctx, 1), 0);
    restate_client_at(ctx, (restate_target){ .key = "k" });
    CHECK_INT(restate_get(ctx, "a", &v), RESTATE_ERROR);
    restate_client_free(&f->base);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static restate_status closure(restate_ctx *run, void *arg) {
    (void)run;
    (void)arg;
    return RESTATE_OK;
}

TEST(errors_do_not_stick) {
    fake *f = fake_new();
    restate_ctx *ctx = restate_client_begin(&f->base);
    restate_bytes v;
    size_t taken;
    CHECK_INT(restate_run(ctx, "r", closure, NULL, NULL, NULL), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "restate_run(): only handlers");
    CHECK_INT(restate_failed(ctx)->code, 0);
    CHECK_INT(restate_call(ctx, to("echo"), restate_str("1"), NULL, &v), RESTATE_OK);
    taken = f->taken;
    CHECK_INT(restate_call(ctx, to("echo"), restate_json(ctx, "{'a'"), NULL, &v), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "restate_json(): what came out is not JSON");
    CHECK_INT(f->taken, taken);                             /* nothing was sent */
    CHECK_INT(restate_call(ctx, (restate_target){ .service = "S" }, restate_str("1"), NULL, &v), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "no handler");
    restate_future *bad = restate_call_async(ctx, (restate_target){ .service = "S" }, v, NULL);
    CHECK_INT(restate_await(ctx, bad, &v), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "no handler");
    CHECK_INT(restate_await(ctx, bad, &v), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "could not be made");
    CHECK_INT(restate_await(ctx, NULL, &v), RESTATE_ERROR);
    CHECK_INT(restate_reply(ctx, v), RESTATE_ERROR);
    CHECK_INT(restate_retry(ctx, NULL, "no"), RESTATE_ERROR);
    CHECK_INT(restate_input(ctx, &v), RESTATE_ERROR);
    CHECK_INT(restate_reply_value(ctx, &v), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "restate_reply_value(): only a handler");
    CHECK(!restate_patched(ctx, "p"));
    CHECK_INT(restate_sleep(ctx, 1), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "restate_patched(): only handlers");
    CHECK_INT(restate_stop_fd(ctx), -1);
    CHECK_INT(restate_sleep(ctx, 1), RESTATE_ERROR);
    CHECK_INT(restate_signal_resolve(ctx, "inv_1aeMfwOmwzqN3PvY5FxkGMcyjLmhZqXC61", "s", v), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "signals and promises");
    CHECK_INT(restate_cancel(ctx, "nonsense"), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "\"nonsense\" is not the id of an invocation");
    CHECK_INT(restate_attach(ctx, (restate_invocation){ .id = "nonsense" }, NULL), RESTATE_ERROR);
    CHECK_STR(restate_request(ctx)->invocation_id, "");
    CHECK_INT(restate_sleep(ctx, 1), RESTATE_ERROR);       /* told by the next one with a status, which does nothing */
    CHECK_INT(f->now, 1000);
    CHECK_INT(restate_sleep(ctx, 1), RESTATE_OK);
    CHECK_INT(restate_resolve(ctx, "sign_1AZ7G_x3a8HYBmPaFLZ8AUjV0QVkbmbVmAAAAEQ", restate_str("1")), RESTATE_ERROR);
    CHECK_INT(restate_failed(ctx)->code, 404);
    CHECK_INT(restate_json_int(ctx, restate_str("x"), NULL, NULL), RESTATE_TERMINAL);
    CHECK_INT(restate_fail(ctx, 400, "usage"), RESTATE_TERMINAL);
    CHECK_STR(restate_failed(ctx)->message, "usage");
    CHECK_INT(restate_select(ctx, NULL, 3, NULL), RESTATE_ERROR);
    CHECK_INT(restate_call(ctx, to("echo"), restate_str("1"), NULL, &v), RESTATE_OK);
    restate_client_free(&f->base);
}

static restate_status encode(const restate_codec *codec, restate_ctx *ctx, const void *value, restate_bytes *out) {
    (void)codec;
    if (!value) return restate_fail(ctx, 1, "there is none");
    *out = restate_str(value);
    return RESTATE_OK;
}

TEST(codecs) {
    static const restate_codec text = { .content_type = "text/plain", .encode = encode };
    fake *f = fake_new();
    restate_ctx *ctx = restate_client_begin(&f->base);
    restate_bytes v;
    CHECK_INT(restate_call(ctx, to("echo"), restate_encode(ctx, &text, "hi"), NULL, &v), RESTATE_OK);
    BYTES(v, "text/plain");
    CHECK_INT(restate_call(ctx, to("echo"), restate_encode(ctx, &text, NULL), NULL, &v), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "there is none");
    CHECK_INT(restate_decode(ctx, &text, restate_str("x"), NULL), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "no .decode");
    CHECK_INT(restate_call(ctx, to("echo"), restate_str("x"), NULL, &v), RESTATE_OK);
    BYTES(v, "x");
    restate_client_free(&f->base);
}

/* ---- Functions that are called --------------------------------------------------------------- */

static int called;
static restate_ctx *to_end;

static void on_settled(void *user, restate_ctx *ctx, restate_future *future) {
    restate_bytes v;
    called++;
    CHECK_INT(restate_await(ctx, future, &v), RESTATE_OK);
    BYTES(v, (const char *)user);
    CHECK_INT(restate_sleep(ctx, 1), RESTATE_ERROR);
    CHECK_HAS(restate_failed(ctx)->message, "must not wait");
    restate_client_end(ctx);
    if (to_end) restate_client_end(to_end);
}

TEST(then) {
    fake *f = fake_new();
    restate_ctx *a = restate_client_begin(&f->base), *b = restate_client_begin(&f->base);
    called = 0;
    to_end = NULL;
    restate_future *call = restate_call_async(a, to("echo"), restate_str("x"), NULL);
    CHECK_INT(restate_client_then(a, call, on_settled, "x"), RESTATE_OK);
    CHECK_INT(restate_sleep(b, 1), RESTATE_OK);             /* a's call comes first */
    CHECK_INT(called, 1);
    a = restate_client_begin(&f->base);
    to_end = b;                                             /* the one that waits is ended meanwhile */
    call = restate_call_async(a, to("echo"), restate_str("y"), NULL);
    CHECK_INT(restate_client_then(a, call, on_settled, "y"), RESTATE_OK);
    CHECK_INT(restate_sleep(b, 1), RESTATE_ERROR);
    CHECK_HAS(restate_failed(b)->message, "was ended");
    CHECK_INT(called, 2);
    a = restate_client_begin(&f->base);
    CHECK(f->base.contexts->next == NULL);                  /* b is gone */
    CHECK_INT(restate_client_then(a, NULL, on_settled, NULL), RESTATE_ERROR);
    CHECK_HAS(restate_failed(a)->message, "the future or the function is NULL");
    CHECK_INT(restate_sleep(a, 1), RESTATE_OK);
    restate_client_free(&f->base);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Everything on a context that could not be made fails, and writes to nothing. */
TEST(nothing) {
    restate__client_ctx before;
    restate_ctx *ctx = restate_client_begin(NULL);
    restate_bytes v;
    memcpy(&before, &restate__client_none, sizeof before);
    restate_future *f = restate_call_async(ctx, to("echo"), restate_json(ctx, "%d", 1), NULL), *both[] = { f, f };
    CHECK(restate_is_done(f));              /* nobody has to wait for it */
    CHECK_INT(restate_await(ctx, f, &v), RESTATE_ERROR);
    CHECK_STR(restate_failed(ctx)->message, "out of memory");
    CHECK_INT(restate_sleep(ctx, 1), RESTATE_ERROR);
    CHECK_INT(restate_await(ctx, restate_race(ctx, both, 2), &v), RESTATE_ERROR);
    CHECK_INT(restate_select(ctx, both, 2, NULL), RESTATE_ERROR);
    CHECK_INT(restate_selector_next(ctx, restate_selector_new(ctx, both, 2), NULL), RESTATE_ERROR);
    CHECK_INT(restate_now(ctx, NULL), RESTATE_ERROR);
    CHECK_INT(restate_fail(ctx, 1, "x"), RESTATE_ERROR);
    CHECK_INT(restate_fail_with(ctx, NULL), RESTATE_ERROR);
    CHECK_INT(restate_reply(ctx, v), RESTATE_ERROR);
    CHECK_INT(restate_retry(ctx, NULL, "x"), RESTATE_ERROR);
    CHECK_INT(restate_run(ctx, "x", closure, NULL, NULL, NULL), RESTATE_ERROR);
    CHECK_INT(restate_json_int(ctx, restate_str("1"), NULL, NULL), RESTATE_ERROR);
    CHECK_STR(restate_uuid(ctx), "");
    CHECK_STR(restate_key(ctx), "");
    CHECK_STR(restate_text(ctx, "x"), "");
    CHECK_STR(restate_request(ctx)->invocation_id, "");
    CHECK(!restate_alloc(ctx, 1));
    CHECK(!restate_json_own(ctx, cJSON_CreateObject()));
    restate_log(ctx, RESTATE_LOG_ERROR, "nobody hears this");
    restate_client_at(ctx, to("x"));
    CHECK_INT(restate_client_then(ctx, f, on_settled, NULL), RESTATE_ERROR);
    CHECK_INT(restate_await(ctx, restate_client_request(ctx, "GET", "/", v), NULL), RESTATE_ERROR);
    CHECK_STR(restate_client_answer(ctx, NULL)->invocation_id, "");
    restate_client_end(ctx);
    restate_client_free(NULL);
    CHECK(memcmp(&before, &restate__client_none, sizeof before) == 0);
}

static void on_any_result(void *user, restate_ctx *ctx, restate_future *future) {
    restate_bytes v;
    restate_status s = restate_await(ctx, future, &v);
    ++*(size_t *)user;
    CHECK(s == RESTATE_OK || s == RESTATE_ERROR);
    if (s == RESTATE_OK) CHECK_INT(v.len, 1536);
}

/* What was to be called is called, also if the response was lost. */
static void functions_called(restate_client *client, restate_ctx *other, size_t offset) {
    uint8_t value[1536];
    memset(value, 'x', sizeof value);
    restate_ctx *ctx = restate_client_begin(client);
    size_t calls = 0, accepted = 0;
    (void)restate_alloc(ctx, offset);
    for (size_t i = 0; i < 4; i++) {
        restate_future *f = restate_call_async(ctx, to("echo"), restate__b(value, sizeof value), NULL);
        if (restate_client_then(ctx, f, on_any_result, &calls) == RESTATE_OK) accepted++;
    }
    for (size_t i = 0; i < 8; i++) RESTATE_IGNORE(restate_sleep(other, 1));
    CHECK_INT(calls, accepted);
    CHECK(accepted >= 3 || restate__client_of(ctx)->peer.broken);
    restate_client_end(ctx);
}

/* `offset`: so that the end of a chunk comes somewhere else. */
static void piece_of_work(restate_client *client, size_t offset) {
    static char long_text[5000];
    restate_ctx *ctx = restate_client_begin(client);
    (void)restate_alloc(ctx, offset);
    restate_future *calls[3];
    restate_bytes v;
    size_t index;
    restate_status s;
    memset(long_text, 'x', sizeof long_text - 1);
    for (size_t i = 0; i < 3; i++)
        calls[i] = restate_call_async(ctx, to("echo"), restate_json(ctx, "%zu", i),
                                      &(restate_call_options){ .headers = RESTATE_PAIRS({ "a", long_text }) });
    restate_selector *left = restate_selector_new(ctx, calls, 3);
    while (restate_selector_remaining(left) && restate_selector_next(ctx, left, &index) == RESTATE_OK)
        RESTATE_IGNORE(restate_await(ctx, calls[index], NULL));
    RESTATE_IGNORE(restate_await(ctx, restate_all(ctx, calls, 3), NULL));
    RESTATE_IGNORE(restate_await_for(ctx, calls[2], 10, NULL));
    RESTATE_IGNORE(restate_select(ctx, calls, 3, NULL));
    s = restate_call(ctx, to("fail"), restate_str("x"), NULL, &v);
    CHECK(s == RESTATE_TERMINAL || s == RESTATE_ERROR);
    restate_client_at(ctx, to("x"));
    RESTATE_IGNORE(restate_set(ctx, "k", restate_str("v")));
    RESTATE_IGNORE(restate_get(ctx, "k", &v));
    RESTATE_IGNORE(restate_sleep(ctx, 1));
    s = restate_sleep(ctx, 1);                              /* no two errors for one allocation */
    s = s == RESTATE_OK ? s : restate_sleep(ctx, 1);
    CHECK(s == RESTATE_OK || restate__client_of(ctx)->peer.broken);
    restate_client_end(ctx);
}

TEST(every_allocation) {
    for (size_t offset = 0; offset < 4096; offset += 64) {
        size_t all = 1;
        for (size_t i = 0; i <= all; i++) {
            fake *f = fake_new();
            memory.fail_at = i;
            piece_of_work(&f->base, offset);
            if (!i) all = memory.calls;
            memory.fail_at = 0;
            restate_client_free(&f->base);
            CHECK_INT(memory.blocks, 0);
        }
        CHECK(all > 3);
    }
}

TEST(every_allocation_of_a_response) {
    for (size_t offset = 0; offset < 4096; offset += 64) {
        size_t all = 1;
        for (size_t i = 0; i <= all; i++) {
            fake *f = fake_new();
            restate_ctx *other = restate_client_begin(&f->base);
            RESTATE_IGNORE(restate_sleep(other, 1));
            size_t before = memory.calls;
            memory.fail_at = i ? before + i : 0;
            functions_called(&f->base, other, offset);
            if (!i) all = memory.calls - before;
            memory.fail_at = 0;
            restate_client_free(&f->base);
            CHECK_INT(memory.blocks, 0);
        }
        CHECK(all > 3);
    }
}

/* A response comes in pieces, each of which looks like a message that settles the other call. When memory ends in the
 * middle, what comes then is not read as messages. */
static void response_in_pieces(fake *f) {
    enum { PIECES = 40 };
    static const uint8_t message[] = { 0x80, 0x0d, 0, 0, 0, 0, 0, 4, 8, 4, 0x22, 0 };
    uint8_t like[1200];
    restate_ctx *ctx = restate_client_begin(&f->base);
    restate__client_ctx *c = restate__client_of(ctx);
    restate_future *first = restate_call_async(ctx, to("a"), restate_str("1"), NULL);
    restate_future *second = restate_call_async(ctx, to("b"), restate_str("1"), NULL);
    for (size_t i = 0; i < sizeof like; i++) like[i] = message[i % sizeof message];
    if (f->count == 2 && f->list[1].completion == 4) {
        restate__client_begin_value(c, f->list[0].completion, PIECES * sizeof like);
        for (int i = 0; i < PIECES; i++) restate__peer_feed(&c->peer, restate__b(like, sizeof like));
        restate__peer_finish(&c->peer, f->list[0].completion);
        CHECK(!restate_is_done(second) || restate__ctx_is_over(ctx));
        restate_status s = restate_await(ctx, first, NULL);
        CHECK(s == RESTATE_OK || s == RESTATE_ERROR);
        CHECK(!restate_is_done(second));
        if (s == RESTATE_ERROR) CHECK_INT(restate_await(ctx, first, NULL), RESTATE_ERROR);
        CHECK_STR(s == RESTATE_ERROR ? restate_failed(ctx)->message : "out of memory", "out of memory");
    }
    restate_client_end(ctx);
}

TEST(every_allocation_of_a_response_in_pieces) {
    size_t all = 1;
    for (size_t i = 0; i <= all; i++) {
        fake *f = fake_new();
        memory.fail_at = i;
        response_in_pieces(f);
        if (!i) all = memory.calls;
        memory.fail_at = 0;
        restate_client_free(&f->base);
        CHECK_INT(memory.blocks, 0);
    }
    CHECK(all > 5);
}

int main(int argc, char **argv) {
    static const test_case cases[] = { T(calls), T(futures), T(state), T(errors_do_not_stick), T(codecs), T(then),
                                       T(nothing), T(every_allocation),
                                       T(every_allocation_of_a_response), T(every_allocation_of_a_response_in_pieces), { 0 } };
    return test_main(argc, argv, cases);
}
