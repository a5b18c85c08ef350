/* What this firmware does: Sensor/NAME/sample measures and keeps count; Station/report asks a
 * sensor for several samples, with a pause between them, through the server. */
#include "services.h"

/* Hardware is read in a closure: its value is recorded, so a handler that starts again gets the
 * same one. */
static restate_status read_adc(restate_ctx *run, void *arg) {
    (void)arg;
    return restate_reply(run, restate_json(run, "%d", (int)board_adc()));
}

static restate_status sample(restate_ctx *ctx, restate_bytes input) {
    restate_bytes value;
    long long counted = 0, raw = 0;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "count", &value));
    RESTATE_TRY(restate_json_int(ctx, value, NULL, &counted));
    RESTATE_TRY(restate_run(ctx, "adc", read_adc, NULL, NULL, &value));
    RESTATE_TRY(restate_json_int(ctx, value, NULL, &raw));
    RESTATE_TRY(restate_set(ctx, "count", restate_json(ctx, "%d", (int)counted + 1)));
    return restate_reply(ctx, restate_json(ctx, "{'count': %d, 'mV': %d}", (int)counted + 1,
                                           (int)(raw * 3300 / 4096)));
}

static restate_status report(restate_ctx *ctx, restate_bytes input) {
    const char *sensor = "";
    long long samples = 1, pause_ms = 0, sum = 0, mv = 0;
    uint64_t now;
    RESTATE_TRY(restate_json_string(ctx, input, "sensor", &sensor));
    RESTATE_TRY(restate_json_int(ctx, input, "samples", &samples));
    RESTATE_TRY(restate_json_int(ctx, input, "pauseMs", &pause_ms));
    if (samples < 1 || samples > 100) return restate_fail(ctx, 400, "samples are 1 to 100");

    RESTATE_TRY(restate_now(ctx, &now));
    const restate_target target = { .service = "Sensor", .key = sensor, .handler = "sample" };
    for (long long i = 0; i < samples; i++) {
        restate_bytes value;
        if (i) RESTATE_TRY(restate_sleep(ctx, (uint64_t)pause_ms));
        RESTATE_TRY(restate_call(ctx, target, (restate_bytes){ NULL, 0 }, NULL, &value));
        RESTATE_TRY(restate_json_int(ctx, value, "mV", &mv));
        sum += mv;
    }
    restate_log(ctx, RESTATE_LOG_INFO, "%s: %d samples", sensor, (int)samples);
    return restate_reply(
        ctx, restate_json(ctx, "{'sensor': %s, 'from': %llu, 'samples': %d, 'mV': %d}", sensor,
                          (unsigned long long)now, (int)samples, (int)(sum / samples)));
}

static const restate_service sensor = { .name = "Sensor", .kind = RESTATE_OBJECT,
    .handlers = RESTATE_HANDLERS({ RESTATE_HANDLER(sample), .input = RESTATE_VOID }) };
static const restate_service station = { .name = "Station",
    .handlers = RESTATE_HANDLERS({ RESTATE_HANDLER(report) }) };
const restate_service *const services[] = { &sensor, &station, NULL };
