/* A robot: a codec that is named once, all of the state, dice, and a closure that can be woken.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/robot.c -o robot -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./robot
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Let it walk, at most so far to the right or up, and ask for all that it remembers:
 *     curl localhost:8080/Robot/r2/walk --json '[2, 3]'
 *     curl localhost:8080/Robot/r2/report
 * Let it visit five rooms, each of them once, in an order that nobody can foresee:
 *     curl localhost:8080/Robot/r2/patrol --json '5'
 * Let it listen to its radio for 10,000 ms, and say something (by bash, on UDP port 9081, or on the
 * one that RADIO names):
 *     curl localhost:8080/Robot/r2/hear --json '10000'
 *     echo -n beep >/dev/udp/127.0.0.1/9081 */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- Points: [x, y] ---------------------------------------------------------------------------- */

typedef struct point {
    double x, y;
} point;

static restate_status encode_point(const restate_codec *self, restate_ctx *ctx, const void *value,
                                   restate_bytes *out) {
    const point *p = value;
    (void)self;
    *out = restate_json(ctx, "[%g, %g]", p->x, p->y);
    return RESTATE_OK;
}

/* What is missing keeps its default. */
static restate_status decode_point(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                                   void *value) {
    point *p = value;
    restate_bytes part = { NULL, 0 };
    (void)self;
    if (restate_json_next(ctx, in, &part)) RESTATE_TRY(restate_json_double(ctx, part, NULL, &p->x));
    if (restate_json_next(ctx, in, &part)) RESTATE_TRY(restate_json_double(ctx, part, NULL, &p->y));
    return RESTATE_OK;
}

static const restate_codec points = { .content_type = "application/json",
                                      .encode = encode_point, .decode = decode_point };

/* Walks a random step. The service names the codec, so nobody has to in here. */
static restate_status walk(restate_ctx *ctx, restate_bytes input) {
    point most = { 1, 1 }, at = { 0, 0 };
    restate_bytes stored;
    (void)input;
    RESTATE_TRY(restate_input(ctx, &most));
    RESTATE_TRY(restate_get(ctx, "at", &stored));
    RESTATE_TRY(restate_decode(ctx, NULL, stored, &at));        /* NULL: the service's codec */
    if (restate_random_below(ctx, 2)) at.x += most.x * restate_random_double(ctx);
    else at.y += most.y * restate_random_double(ctx);
    RESTATE_TRY(restate_set(ctx, "at", restate_encode(ctx, NULL, &at)));
    return restate_reply_value(ctx, &at);
}

/* All that is known of it, as one JSON object. */
static restate_status report(restate_ctx *ctx, restate_bytes input) {
    const restate_entry *e;
    const char *members = "", *comma = "";
    (void)input;
    RESTATE_TRY(restate_get_all(ctx, &e));
    for (; e->key; e++, comma = ", ") {
        restate_bytes name = restate_json(ctx, "%s", e->key);
        members = restate_text(ctx, "%s%s%.*s: %.*s", members, comma, RESTATE_ARG(name),
                               RESTATE_ARG(e->value));
    }
    return restate_reply(ctx, restate_str(restate_text(ctx, "{%s}", members)));
}

/* Shuffles (Fisher and Yates): each order is as likely as the others, and the same in every attempt,
 * so no step is needed for it. */
static void shuffle(restate_ctx *ctx, int *rooms, size_t count) {
    for (size_t left = count; left > 1; left--) {
        size_t i = (size_t)restate_random_below(ctx, left);
        int last = rooms[left - 1];
        rooms[left - 1] = rooms[i];
        rooms[i] = last;
    }
}

static restate_status patrol(restate_ctx *ctx, restate_bytes input) {
    int rooms[100];
    long long count = 0;
    const char *list = "";
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &count));
    if (count < 1 || count > 100) return restate_fail(ctx, 400, "there are 1 to 100 rooms");
    for (int i = 0; i < count; i++) rooms[i] = i + 1;
    shuffle(ctx, rooms, (size_t)count);
    for (int i = 0; i < count; i++)
        list = restate_text(ctx, "%s%s%d", list, i ? ", " : "", rooms[i]);
    RESTATE_TRY(restate_set(ctx, "rooms", restate_str(restate_text(ctx, "[%s]", list))));
    return restate_reply(ctx, restate_str(restate_text(ctx, "[%s]", list)));
}

/* ---- The radio --------------------------------------------------------------------------------- */

/* Waits for the radio without looking at a clock, or until nobody wants to know any more: its time
 * is over, the invocation was cancelled, the program stops. */
static restate_status listen_to_radio(restate_ctx *run, void *arg) {
    struct pollfd either[] = { { *(const int *)arg, POLLIN, 0 },
                               { restate_stop_fd(run), POLLIN, 0 } };
    char said[512];
    ssize_t len;
    if (poll(either, 2, -1) < 1) return restate_retry(run, NULL, "the radio is broken");
    if (either[1].revents && restate_time_left_ms(run) == 0)
        return restate_fail(run, 408, "it says nothing");
    len = recv(either[0].fd, said, sizeof said - 1, 0);
    if (len < 0) return restate_retry(run, NULL, "the radio is broken");
    said[len] = 0;
    return restate_reply(run, restate_json(run, "%s", said));
}

static int radio;                           /* a socket; it belongs to the process, not to a robot */

static restate_status hear(restate_ctx *ctx, restate_bytes input) {
    long long patience_ms = 10000;
    restate_bytes heard;
    RESTATE_TRY(restate_json_int(ctx, input, NULL, &patience_ms));
    RESTATE_TRY(restate_run(ctx, "radio", listen_to_radio, &radio,
                            &(restate_run_options){ .timeout_ms = (uint64_t)patience_ms }, &heard));
    return restate_reply(ctx, restate_json(ctx, "{'heard': %-.*s}", RESTATE_ARG(heard)));
}

static const restate_service robot = {
    .name = "Robot", .kind = RESTATE_OBJECT, .options = { .codec = &points },
    .handlers = RESTATE_HANDLERS(
        { RESTATE_HANDLER(walk) },
        { RESTATE_HANDLER(report), .shared = true, .input = RESTATE_VOID, .output = RESTATE_JSON },
        { RESTATE_HANDLER(patrol), .input = RESTATE_JSON, .output = RESTATE_JSON },
        { RESTATE_HANDLER(hear), .shared = true, .input = RESTATE_JSON,
          .output = RESTATE_JSON }) };

int main(void) {
    const char *port = getenv("PORT"), *channel = getenv("RADIO");
    struct sockaddr_in here = { .sin_family = AF_INET };
    here.sin_port = htons((uint16_t)(channel ? atoi(channel) : 9081));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    radio = socket(AF_INET, SOCK_DGRAM, 0);
    if (radio < 0 || bind(radio, (struct sockaddr *)&here, sizeof here) != 0) return 1;
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&robot), .stop_on_signals = RESTATE_ON,
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
