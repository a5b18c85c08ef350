/* C++: handlers and steps are lambdas, failures are exceptions, and destructors run whenever a
 * handler ends, also when its attempt suspends.
 *
 * The implementation is C. Build, in the directory of restate.h:
 *     cc -c -DRESTATE_IMPLEMENTATION -o restate.o -x c restate.h
 *     c++ -std=c++17 -I. examples/cpp.cc restate.o -o cpp -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names), register it:
 *     ./cpp
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Book a trip; hotels in Atlantis do not exist, so that the flight is cancelled again:
 *     curl localhost:8080/Trips/ada/book --json '{"to": "Paris", "nights": 2}'
 *     curl localhost:8080/Trips/ada/book --json '{"to": "Atlantis", "nights": 1}'
 *     curl localhost:8080/Trips/ada/booked */
#include "restate.h"
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>

using restate::check;

namespace {

/* What an invocation may use as long as it runs: the destructor gives it back. */
class desk {
public:
    explicit desk(std::atomic<int> &open) : open_(open) { open_++; }
    ~desk() { open_--; }
    desk(const desk &) = delete;
    desk &operator=(const desk &) = delete;

private:
    std::atomic<int> &open_;
};

std::string text_of(restate_ctx *ctx, restate_bytes json, const char *name) {
    const char *text = "";
    check(ctx, restate_json_string(ctx, json, name, &text));
    return text;
}

long long number_of(restate_ctx *ctx, restate_bytes json, const char *name) {
    long long number = 0;
    check(ctx, restate_json_int(ctx, json, name, &number));
    return number;
}

using prices = std::map<std::string, long long, std::less<>>;

/* A step that other companies do for us; it may throw. */
long long price(const prices &list, const std::string &what, const std::string &city) {
    auto found = list.find(city);
    if (found == list.end()) throw restate::terminal_error("no " + what + " in " + city, 404);
    return found->second;
}

} /* namespace */

int main() {
    const prices flights = { { "Paris", 120 }, { "Oslo", 180 }, { "Atlantis", 999 } };
    const prices hotels = { { "Paris", 90 }, { "Oslo", 110 } };
    std::atomic<int> open{ 0 };

    restate::service trips("Trips", RESTATE_OBJECT);
    trips.description().documentation = "Flights and hotels, both or none";

    trips.handler("book", [&](restate_ctx *ctx, restate_bytes input) {
        desk mine(open);
        std::string city = text_of(ctx, input, "to");
        long long nights = number_of(ctx, input, "nights"), total = 0;

        restate_bytes flight = restate::run(ctx, "flight", [&](restate_ctx *run) {
            return restate_reply(run, restate_json(run, "%lld", price(flights, "flight", city)));
        });
        total = number_of(ctx, flight, nullptr);
        try {
            restate_bytes hotel = restate::run(ctx, "hotel", [&](restate_ctx *run) {
                return restate_reply(run, restate_json(run, "%lld", price(hotels, "hotel", city)));
            });
            check(ctx, restate_sleep(ctx, 100));        /* the hotel confirms */
            total += nights * number_of(ctx, hotel, nullptr);
        } catch (const restate::terminal_error &) {     /* no hotel, or somebody cancelled */
            check(ctx, restate_sleep(ctx, 100));        /* one may wait in here, too */
            restate::run(ctx, "cancel flight", [&](restate_ctx *) {
                std::printf("the flight to %s is cancelled\n", city.c_str());
            });
            throw;
        }
        check(ctx, restate_set(ctx, "last", restate_json(ctx, "%s", city.c_str())));
        return restate_reply(ctx, restate_json(ctx, "{'city': %s, 'total': %lld}", city.c_str(), total));
    });

    trips.handler("booked", [](restate_ctx *ctx) {
        restate_bytes last = {};
        check(ctx, restate_get(ctx, "last", &last));
        return last.ptr ? last : restate::bytes("null");
    }).shared = true;

    trips.handler("desks", [&](restate_ctx *) { return std::to_string(open); }).shared = true;

    const char *port = std::getenv("PORT");
    restate_endpoint_options options = {};
    options.port = static_cast<uint16_t>(port ? std::atoi(port) : 9080);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    restate::endpoint endpoint({ &trips }, options);
    if (endpoint.run() == RESTATE_OK) return 0;
    std::fprintf(stderr, "cpp: %s\n", endpoint.error());
    return 1;
}
