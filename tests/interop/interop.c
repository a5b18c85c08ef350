/* The services of interop.proto in C, and who calls those in Go; main.go is its counterpart.
 *
 *     PROGRAM serve PORT                 its services, and Caller (below), for a server
 *     PROGRAM client INGRESS ENCODING    calls Go's services as a client, ENCODING is Json or Proto
 *
 * What is wrong is told in words; of a case that is right only "NAME: ok" is. */
#define RESTATE_IMPLEMENTATION
#include "interop.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Messages -------------------------------------------------------------------------------- */

/* NULL: there is no such case. */
static interop_v1_All *message_of(restate_ctx *ctx, const char *name) {
    interop_v1_All *all = (interop_v1_All *)restate_alloc(ctx, sizeof *all);
    const interop_case *c = interop_cases;
    while (c->name && strcmp(c->name, name) != 0) c++;
    if (!c->name || !all) return NULL;
    c->fill(all);
    return all;
}

static int by_text(const void *a, const void *b) {
    return strcmp(((const interop_v1_All_ByTextEntry *)a)->key,
                  ((const interop_v1_All_ByTextEntry *)b)->key);
}
static int by_number(const void *a, const void *b) {
    int64_t x = ((const interop_v1_All_ByNumberEntry *)a)->key;
    int64_t y = ((const interop_v1_All_ByNumberEntry *)b)->key;
    return (x > y) - (x < y);
}
static int by_flag(const void *a, const void *b) {
    return (int)((const interop_v1_All_ByFlagEntry *)a)->key -
           (int)((const interop_v1_All_ByFlagEntry *)b)->key;
}

/* A message has one set of bytes once its maps are in order and there is one NaN. */
static restate_bytes normal(restate_ctx *ctx, const interop_v1_All *all) {
    interop_v1_All *copy = (interop_v1_All *)restate_alloc(ctx, sizeof *copy);
    pb_size_t i;
    if (!copy) return (restate_bytes){ NULL, 0 };
    *copy = *all;
    qsort(copy->by_text, copy->by_text_count, sizeof copy->by_text[0], by_text);
    qsort(copy->by_number, copy->by_number_count, sizeof copy->by_number[0], by_number);
    qsort(copy->by_flag, copy->by_flag_count, sizeof copy->by_flag[0], by_flag);
    for (i = 0; i < copy->doubles_count; i++)
        if (isnan(copy->doubles[i])) copy->doubles[i] = (double)NAN;
    if (copy->which_other == interop_v1_All_other_double_tag && isnan(copy->other.other_double))
        copy->other.other_double = (double)NAN;
    return restate_encode(ctx, &interop_v1_All_proto, copy);
}

static bool same(restate_ctx *ctx, const interop_v1_All *a, const interop_v1_All *b) {
    restate_bytes x = normal(ctx, a), y = normal(ctx, b);
    return x.ptr && y.ptr && x.len == y.len && (!x.len || memcmp(x.ptr, y.ptr, x.len) == 0);
}

/* NULL: nothing; else a sentence. */
static const char *differs(restate_ctx *ctx, const char *what, const interop_v1_All *got,
                           const interop_v1_All *wanted) {
    restate_bytes g, w;
    if (same(ctx, got, wanted)) return NULL;
    g = restate_encode(ctx, &interop_v1_All_json, got);
    w = restate_encode(ctx, &interop_v1_All_json, wanted);
    return restate_text(ctx, "%s: C has %.1500s, but should have %.1500s", what,
                        g.ptr ? (const char *)g.ptr : "nothing",
                        w.ptr ? (const char *)w.ptr : "nothing");
}

/* ---- Services -------------------------------------------------------------------------------- */

static restate_status echo(restate_ctx *ctx, const interop_v1_All *in, interop_v1_All *out) {
    (void)ctx;
    *out = *in;
    return RESTATE_OK;
}

static restate_status give(restate_ctx *ctx, const interop_v1_Name *in, interop_v1_All *out) {
    const interop_v1_All *all = message_of(ctx, in->name);
    if (!all) return restate_fail(ctx, 404, "no case '%s'", in->name);
    *out = *all;
    return RESTATE_OK;
}

static restate_status take(restate_ctx *ctx, const interop_v1_Named *in, interop_v1_Verdict *out) {
    const interop_v1_All *all = message_of(ctx, in->name);
    const char *why;
    if (!all) return restate_fail(ctx, 404, "no case '%s'", in->name);
    why = in->has_all ? differs(ctx, "taken", &in->all, all) : "nothing was taken";
    if (why) strncpy(out->differs, why, sizeof out->differs - 1);
    return RESTATE_OK;
}

static restate_status ping(restate_ctx *ctx) {
    (void)ctx;
    return RESTATE_OK;
}

static restate_status refuse(restate_ctx *ctx, const interop_v1_Name *in) {
    return restate_fail(ctx, 422, "no \"%s\" here", in->name);
}

/* State and the promise are in the encoding of the service. */
static restate_status put(restate_ctx *ctx, const restate_codec *codec, const interop_v1_All *in) {
    return restate_set(ctx, "all", restate_encode(ctx, codec, in));
}

static restate_status get(restate_ctx *ctx, const restate_codec *codec, interop_v1_All *out) {
    restate_bytes stored;
    RESTATE_TRY(restate_get(ctx, "all", &stored));
    if (!stored.ptr) return restate_fail(ctx, 404, "nothing was put");
    return restate_decode(ctx, codec, restate_rpc_given(codec, stored), out);
}

static restate_status run(restate_ctx *ctx, const interop_v1_All *in, interop_v1_All *out) {
    restate_bytes released;
    RESTATE_TRY(restate_await(ctx, restate_promise(ctx, "released"), &released));
    *out = *in;
    return RESTATE_OK;
}

static restate_status release(restate_ctx *ctx) {
    return restate_promise_resolve(ctx, "released", restate_json(ctx, "true"));
}

#define SERVE(Form, codec)                                                                         \
    restate_status interop_v1_C##Form##_Echo(restate_ctx *ctx, const interop_v1_All *in,           \
                                             interop_v1_All *out) {                                \
        return echo(ctx, in, out);                                                                 \
    }                                                                                              \
    restate_status interop_v1_C##Form##_Give(restate_ctx *ctx, const interop_v1_Name *in,          \
                                             interop_v1_All *out) {                                \
        return give(ctx, in, out);                                                                 \
    }                                                                                              \
    restate_status interop_v1_C##Form##_Take(restate_ctx *ctx, const interop_v1_Named *in,         \
                                             interop_v1_Verdict *out) {                            \
        return take(ctx, in, out);                                                                 \
    }                                                                                              \
    restate_status interop_v1_C##Form##_Ping(restate_ctx *ctx) { return ping(ctx); }               \
    restate_status interop_v1_C##Form##_Refuse(restate_ctx *ctx, const interop_v1_Name *in) {      \
        return refuse(ctx, in);                                                                    \
    }                                                                                              \
    restate_status interop_v1_CStore##Form##_Put(restate_ctx *ctx, const interop_v1_All *in) {     \
        return put(ctx, codec, in);                                                                \
    }                                                                                              \
    restate_status interop_v1_CStore##Form##_Get(restate_ctx *ctx, interop_v1_All *out) {          \
        return get(ctx, codec, out);                                                               \
    }                                                                                              \
    restate_status interop_v1_CFlow##Form##_Run(restate_ctx *ctx, const interop_v1_All *in,        \
                                                interop_v1_All *out) {                             \
        return run(ctx, in, out);                                                                  \
    }                                                                                              \
    restate_status interop_v1_CFlow##Form##_Release(restate_ctx *ctx) { return release(ctx); }

SERVE(Json, &interop_v1_All_json)
SERVE(Proto, &interop_v1_All_proto)

/* ---- Calls ----------------------------------------------------------------------------------- */

/* The generated clients of one encoding; they are of one type in both. */
typedef struct peer {
    const char *encoding;
    restate_status (*echo)(restate_ctx *, const interop_v1_All *, const restate_call_options *,
                           interop_v1_All *);
    restate_future *(*echo_async)(restate_ctx *, const interop_v1_All *,
                                  const restate_call_options *);
    restate_status (*echo_await)(restate_ctx *, restate_future *, interop_v1_All *);
    restate_status (*give)(restate_ctx *, const interop_v1_Name *, const restate_call_options *,
                           interop_v1_All *);
    restate_status (*take)(restate_ctx *, const interop_v1_Named *, const restate_call_options *,
                           interop_v1_Verdict *);
    restate_status (*ping)(restate_ctx *, const restate_call_options *);
    restate_status (*refuse)(restate_ctx *, const interop_v1_Name *, const restate_call_options *);
    restate_future *(*send_put)(restate_ctx *, const char *, const interop_v1_All *,
                                const restate_call_options *);
    restate_status (*put)(restate_ctx *, const char *, const interop_v1_All *,
                          const restate_call_options *);
    restate_status (*get)(restate_ctx *, const char *, const restate_call_options *,
                          interop_v1_All *);
    restate_future *(*send_run)(restate_ctx *, const char *, const interop_v1_All *,
                                const restate_call_options *);
    restate_future *(*attach)(restate_ctx *, const char *);
    restate_status (*await_run)(restate_ctx *, restate_future *, interop_v1_All *);
    restate_status (*release)(restate_ctx *, const char *, const restate_call_options *);
} peer;

#define PEER(Form)                                                                                 \
    { #Form, interop_v1_Go##Form##_Echo_call, interop_v1_Go##Form##_Echo_call_async,               \
      interop_v1_Go##Form##_Echo_await, interop_v1_Go##Form##_Give_call,                           \
      interop_v1_Go##Form##_Take_call, interop_v1_Go##Form##_Ping_call,                            \
      interop_v1_Go##Form##_Refuse_call, interop_v1_GoStore##Form##_Put_send,                      \
      interop_v1_GoStore##Form##_Put_call, interop_v1_GoStore##Form##_Get_call,                    \
      interop_v1_GoFlow##Form##_Run_send, interop_v1_GoFlow##Form##_Run_attach,                    \
      interop_v1_GoFlow##Form##_Run_await, interop_v1_GoFlow##Form##_Release_call }
static const peer peers[] = { PEER(Json), PEER(Proto) };

static const peer *peer_of(const char *encoding) {
    size_t i;
    for (i = 0; i < sizeof peers / sizeof peers[0]; i++)
        if (strcmp(peers[i].encoding, encoding) == 0) return &peers[i];
    return NULL;
}

/* What all checks of a case have; `got` is for replies. */
typedef struct checking {
    const peer *to;
    const char *name, *key;
    const interop_v1_All *all;
    interop_v1_All *got;
    const char *why;                /* the first thing that is wrong; NULL: none */
} checking;

static void compare(restate_ctx *ctx, checking *c, const char *what) {
    if (!c->why) c->why = differs(ctx, what, c->got, c->all);
}

static restate_status check_plain(restate_ctx *ctx, checking *c) {
    interop_v1_Name name = interop_v1_Name_init_zero;
    interop_v1_Named *named = (interop_v1_Named *)restate_alloc(ctx, sizeof *named);
    interop_v1_Verdict *verdict = (interop_v1_Verdict *)restate_alloc(ctx, sizeof *verdict);
    restate_future *first, *second;
    if (!named || !verdict) return RESTATE_ENDED;
    strncpy(name.name, c->name, sizeof name.name - 1);
    RESTATE_TRY(c->to->echo(ctx, c->all, NULL, c->got));
    compare(ctx, c, "Echo");
    RESTATE_TRY(c->to->give(ctx, &name, NULL, c->got));
    compare(ctx, c, "Give");
    strncpy(named->name, c->name, sizeof named->name - 1);
    named->has_all = true;
    named->all = *c->all;
    RESTATE_TRY(c->to->take(ctx, named, NULL, verdict));
    if (!c->why && verdict->differs[0]) c->why = verdict->differs;
    first = c->to->echo_async(ctx, c->all, NULL);
    second = c->to->echo_async(ctx, c->all, NULL);
    RESTATE_TRY(c->to->echo_await(ctx, second, c->got));
    compare(ctx, c, "the second Echo of two");
    RESTATE_TRY(c->to->echo_await(ctx, first, c->got));
    compare(ctx, c, "the first Echo of two");
    return RESTATE_OK;
}

static restate_status check_store(restate_ctx *ctx, checking *c) {
    RESTATE_TRY(c->to->put(ctx, c->key, c->all, NULL));
    RESTATE_TRY(c->to->get(ctx, c->key, NULL, c->got));
    compare(ctx, c, "Get");
    return RESTATE_OK;
}

/* A send that nobody waits for, then one who attaches. */
static restate_status check_flow(restate_ctx *ctx, checking *c) {
    restate_future *attached;
    c->to->send_run(ctx, c->key, c->all, NULL);
    attached = c->to->attach(ctx, c->key);
    RESTATE_TRY(c->to->release(ctx, c->key, NULL));
    RESTATE_TRY(c->to->await_run(ctx, attached, c->got));
    compare(ctx, c, "Run");
    return RESTATE_OK;
}

static restate_status check_empty(restate_ctx *ctx, checking *c) {
    interop_v1_Name name = interop_v1_Name_init_zero;
    const restate_failure *failed;
    restate_status s;
    strncpy(name.name, c->name, sizeof name.name - 1);
    RESTATE_TRY(c->to->ping(ctx, NULL));
    s = c->to->refuse(ctx, &name, NULL);
    if (s != RESTATE_TERMINAL) {
        c->why = "Refuse did not fail";
        return s;
    }
    failed = restate_failed(ctx);
    if (failed->code != 422 ||
        strcmp(failed->message, restate_text(ctx, "no \"%s\" here", c->name)) != 0)
        c->why = restate_text(ctx, "Refuse failed with %d %s", failed->code, failed->message);
    return RESTATE_OK;
}

/* All of one case. `*why` is NULL if nothing differs. */
static restate_status check(restate_ctx *ctx, const peer *to, const char *name, const char **why) {
    checking c = { to, name, restate_uuid(ctx), message_of(ctx, name), NULL, NULL };
    *why = "there is no such case";
    c.got = (interop_v1_All *)restate_alloc(ctx, sizeof *c.got);
    if (!c.got || !c.all) return RESTATE_OK;
    RESTATE_TRY(check_plain(ctx, &c));
    RESTATE_TRY(check_store(ctx, &c));
    RESTATE_TRY(check_flow(ctx, &c));
    RESTATE_TRY(check_empty(ctx, &c));
    *why = c.why;
    return RESTATE_OK;
}

/* ---- Caller/Json and /Proto: the name of a case -> "ok", or what differs --------------------- */

static restate_status caller(restate_ctx *ctx, restate_bytes input, const peer *to) {
    const char *name = "", *why;
    RESTATE_TRY(restate_json_string(ctx, input, NULL, &name));
    RESTATE_TRY(check(ctx, to, name, &why));
    return restate_reply(ctx, restate_json(ctx, "%s", why ? why : "ok"));
}
static restate_status caller_json(restate_ctx *ctx, restate_bytes input) {
    return caller(ctx, input, &peers[0]);
}
static restate_status caller_proto(restate_ctx *ctx, restate_bytes input) {
    return caller(ctx, input, &peers[1]);
}
static const restate_service callers = { .name = "CCaller", .handlers = RESTATE_HANDLERS(
    { .name = "Json", .fn = caller_json }, { .name = "Proto", .fn = caller_proto }) };

static int serve(const char *port) {
    return restate_serve(&(restate_endpoint_options){
        .address = "127.0.0.1", .port = (uint16_t)atoi(port),
        .services = RESTATE_SERVICES(&callers,
            interop_v1_CJson_service(), interop_v1_CProto_service(),
            interop_v1_CStoreJson_service(), interop_v1_CStoreProto_service(),
            interop_v1_CFlowJson_service(), interop_v1_CFlowProto_service()) });
}

static int client(const char *ingress, const char *encoding) {
    const peer *to = peer_of(encoding);
    restate_client *client = restate_client_new(&(restate_client_options){
        .ingress = ingress, .timeout_ms = RESTATE_SECONDS(30) });
    const interop_case *c;
    int status = 0;
    if (!to) return 2;
    for (c = interop_cases; c->name; c++) {
        restate_ctx *ctx = restate_client_begin(client);
        const char *why = NULL;
        if (check(ctx, to, c->name, &why) != RESTATE_OK) why = restate_failed(ctx)->message;
        printf("%s: %s\n", c->name, why ? why : "ok");
        status |= why != NULL;
        restate_client_end(ctx);
    }
    restate_client_free(client);
    return status;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "serve") == 0) return serve(argv[2]);
    if (argc == 4 && strcmp(argv[1], "client") == 0) return client(argv[2], argv[3]);
    fprintf(stderr, "usage: %s serve PORT | client INGRESS Json|Proto\n", argv[0]);
    return 2;
}
