/* Firmware that a Restate server drives: the endpoint of services.c, over a serial line.
 *
 * A server speaks HTTP/2, and this does not: relay.c, on a computer at the other end of the line,
 * does for it, and passes each exchange on in frames (link.h). Here each is a restate_stream.
 *
 *     make build/firmware/relay build/firmware/m4.elf
 *     PORT=9080 LINK=/tmp/firmware build/firmware/relay
 *     qemu-system-arm -M mps2-an386 -nographic -monitor none -serial unix:/tmp/firmware \
 *         -semihosting-config enable=on,target=native -kernel build/firmware/m4.elf
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 *     curl localhost:8080/Station/report --json '{"sensor": "roof", "samples": 3, "pauseMs": 500}'
 *
 * On real hardware LINK is the serial device, at 115,200 baud with RTS and CTS. */
#include "board.h"
#include "link.h"
#include "services.h"

enum { INVOCATIONS = 3, STREAMS = INVOCATIONS + 1, HEADERS = 16 };     /* one is for a discovery */

typedef struct exchange {
    restate_stream *stream;                 /* NULL: free */
    uint16_t number;
    bool begun;                             /* the status is sent */
} exchange;

static restate_endpoint *endpoint;
static exchange exchanges[STREAMS];
static link_in in;

/* ---- To the relay ---------------------------------------------------------------------------- */

static void put(void *user, uint8_t byte) {
    (void)user;
    board_put(byte);
}
static link_out out = { .put = put };

static void send(link_type type, uint16_t number) { link_send(&out, type, number, NULL, 0); }

static void send_status(exchange *x, uint16_t status, const restate_pair *headers) {
    x->begun = true;
    link_begin(&out, LINK_OPEN, x->number);
    link_put(&out, (uint8_t)status);
    link_put(&out, (uint8_t)(status >> 8));
    for (; headers && headers->name; headers++) {
        link_put_bytes(&out, headers->name, strlen(headers->name) + 1);
        link_put_bytes(&out, headers->value, strlen(headers->value) + 1);
    }
    link_end(&out);
}

static void send_data(const exchange *x, restate_bytes b) {
    for (size_t n, at = 0; at < b.len; at += n) {
        n = b.len - at < LINK_BYTES ? b.len - at : LINK_BYTES;
        link_send(&out, LINK_DATA, x->number, b.ptr + at, n);
    }
}

/* ---- Exchanges ------------------------------------------------------------------------------- */

static exchange *find(uint16_t number) {
    for (exchange *x = exchanges; x < exchanges + STREAMS; x++)
        if (x->stream && x->number == number) return x;
    return NULL;
}

static void close(exchange *x) {
    restate_stream_free(x->stream);
    x->stream = NULL;
}

static void close_all(void) {
    for (exchange *x = exchanges; x < exchanges + STREAMS; x++) close(x);
}

/* Sends what one has to say. */
static void take(exchange *x) {
    for (;;) {
        restate_bytes bytes;
        uint16_t status;
        const restate_pair *headers;
        restate_status s = restate_stream_take(x->stream, &bytes, &status, &headers);
        if (s != RESTATE_ERROR) {
            if (!x->begun && status) send_status(x, status, headers);
            send_data(x, bytes);
            if (s == RESTATE_OK && bytes.len) continue;
            if (s == RESTATE_OK) return;
        }
        send(s == RESTATE_ENDED ? LINK_FIN : LINK_RESET, x->number);
        close(x);
        return;
    }
}

/* What one was fed may let another one go on. */
static void take_all(void) {
    for (exchange *x = exchanges; x < exchanges + STREAMS; x++)
        if (x->stream) take(x);
}

static void open(uint16_t number, const uint8_t *at, const uint8_t *end) {
    restate_pair headers[HEADERS + 1] = { { NULL, NULL } };
    restate_http_request request = { .headers = headers };
    exchange *x = exchanges;
    while (x < exchanges + STREAMS && x->stream) x++;
    request.method = link_text(&at, end);
    request.path = link_text(&at, end);
    for (size_t n = 0; n < HEADERS; n++) {
        headers[n].name = link_text(&at, end);
        headers[n].value = link_text(&at, end);
        if (!headers[n].name) break;
    }
    if (x < exchanges + STREAMS && request.path) {
        x->stream = restate_stream_open(endpoint, &request);
        x->number = number;
        x->begun = false;
    }
    if (x == exchanges + STREAMS || !x->stream) send(LINK_RESET, number);
}

/* ---- From the relay -------------------------------------------------------------------------- */

static void begin_anew(void) {
    const uint8_t room = INVOCATIONS;
    close_all();
    link_send(&out, LINK_HELLO, 0, &room, 1);
}

static void set_time(const uint8_t *body, size_t size) {
    uint64_t ms = 0;
    for (size_t i = 0; i < size && i < 8; i++) ms |= (uint64_t)body[i] << 8 * i;
    board_set_time(ms);
}

static void on_frame(void) {
    const uint8_t *body = link_in_body(&in);
    const size_t size = link_in_size(&in);
    exchange *x = find(link_in_number(&in));
    switch (link_in_type(&in)) {
    case LINK_RESTART: begin_anew(); return;
    case LINK_TIME: set_time(body, size); return;
    case LINK_OPEN: open(link_in_number(&in), body, body + size); break;
    case LINK_DATA:
        if (x && size)
            RESTATE_IGNORE(restate_stream_feed(x->stream, (restate_bytes){ body, size }));
        break;
    case LINK_FIN:
        if (x) RESTATE_IGNORE(restate_stream_feed(x->stream, (restate_bytes){ NULL, 0 }));
        break;
    case LINK_RESET:
        if (x) close(x);
        break;
    case LINK_HELLO: return;
    }
    take_all();
}

static void on_byte(uint8_t byte) {
    link_got got = link_feed(&in, byte);
    if (got == LINK_FRAME) on_frame();
    if (got == LINK_DAMAGED) begin_anew();
    if (got != LINK_MORE) link_next(&in);
}

static void log_line(void *user, const restate_log_record *record) {
    (void)user;
    board_say(record->message);
    board_say("\n");
}

int main(void) {
    uint8_t byte;
    endpoint = restate_endpoint_new(&(restate_endpoint_options){
        .services = services, .max_invocations = INVOCATIONS, .logger = { .write = log_line },
        .max_message_bytes = 8192, .window_bytes = 8192,
        /* Invocations that wait hold no memory: they suspend, and are replayed. */
        .defaults = { .stack_bytes = 4096, .inactivity_timeout_ms = RESTATE_ZERO_MS } });
    if (*restate_endpoint_error(endpoint)) {
        board_say(restate_endpoint_error(endpoint));
        return 1;
    }
    begin_anew();
    for (;;) {
        if (board_get(&byte)) on_byte(byte);
        else board_wait();
    }
}
