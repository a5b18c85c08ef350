// The C++ layer of restate.h, in the runtime for tests: `make cxx` compiles and runs it by g++ and clang++, as C++17
// and C++20, with and without exceptions.
#include "restate.h"
#include <cstdio>
#include <cstring>
#include <map>

static int failures;
#define CHECK(x) ((x) ? (void)0 : (void)(failures++, std::printf("  %s:%d: %s\n", __FILE__, __LINE__, #x)))

static restate_target to(const char *handler, const char *key = nullptr) {
    restate_target t = {};
    t.service = key ? "Box" : "Layer";
    t.handler = handler;
    t.key = key;
    return t;
}

// A test of these services; `waits` says whether attempts suspend at every wait.
template <class Test> static void with(std::initializer_list<restate::service *> services, restate_switch suspend, Test test) {
    restate_endpoint_options options = {};
    options.logger.level = RESTATE_LOG_ERROR;
    restate::endpoint endpoint(services, options);
    CHECK(std::strcmp(endpoint.error(), "") == 0);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        restate_test_options how = {};
        how.endpoint = endpoint.get();
        how.seed = seed;
        how.suspend = suspend;
        how.logger.level = RESTATE_LOG_ERROR;
        restate_client *runtime = restate_test_new(&how);
        restate_ctx *ctx = restate_client_begin(runtime);
        test(ctx);
        restate_client_free(runtime);
    }
}

static std::string called(restate_ctx *ctx, restate_target target, std::string_view input = "") {
    restate_bytes reply = {};
    restate_status s = restate_call(ctx, target, restate::bytes(input), nullptr, &reply);
    if (s == RESTATE_OK) return std::string(restate::view(reply));
    return std::to_string(restate_failed(ctx)->code) + " " + restate_failed(ctx)->message;
}

// ---- Bytes, lambdas ----------------------------------------------------------------------------

static void views() {
    std::string text("a\0b", 3);
    CHECK(restate::view(restate::bytes(text)) == text);
    CHECK(restate::bytes(std::string_view()).ptr == nullptr);
    CHECK(restate::view(restate_bytes{ nullptr, 0 }).data() == nullptr);
#if defined(__cpp_lib_span)
    CHECK(restate::span(restate::bytes(text)).size() == 3);
    CHECK(restate::bytes(restate::span(restate::bytes(text))).ptr == restate::bytes(text).ptr);
#endif
}

static void captures() {
    auto shared = std::make_shared<std::string>("hello ");
    {
        restate::service layer("Layer"), box("Box", RESTATE_OBJECT);
        layer.handler("greet", [shared](restate_ctx *, std::string_view name) { return *shared + std::string(name); });
        layer.handler("bytes", [](restate_ctx *, restate_bytes input) { return input; });
        layer.handler("nothing", [](restate_ctx *) {}).documentation = "nothing";
        layer.handler("status", [](restate_ctx *ctx, restate_bytes) { return restate_fail(ctx, 418, "tea"); });
        for (restate_handler *h : { &layer.handler("raw", [](restate_ctx *, restate_bytes b) { return b; }) })
            h->input = h->output = RESTATE_BYTES;
        box.handler("put", [](restate_ctx *ctx, restate_bytes v) { return restate_set(ctx, "v", v); });
        box.handler("get", [](restate_ctx *ctx, restate_bytes) {
            restate_bytes v = {};
            RESTATE_TRY(restate_get(ctx, "v", &v));
            return restate_reply(ctx, v);
        }).shared = true;
        with({ &layer, &box }, RESTATE_DEFAULT, [](restate_ctx *ctx) {
            CHECK(called(ctx, to("greet"), "Ada") == "hello Ada");
            CHECK(called(ctx, to("bytes"), "\"x\"") == "\"x\"");
            CHECK(called(ctx, to("nothing")) == "");
            CHECK(called(ctx, to("status")) == "418 tea");
            CHECK(called(ctx, to("put", "k"), "7") == "");
            CHECK(called(ctx, to("get", "k")) == "7");
        });
        CHECK(shared.use_count() == 2);
    }
    CHECK(shared.use_count() == 1);
}

static void runs() {
    static int executed;
    executed = 0;
    restate::service layer("Layer");
    layer.handler("step", [](restate_ctx *ctx, std::string_view input) {
        std::string captured(input);
        restate_bytes a = {}, b = {};
        RESTATE_TRY(restate::run(ctx, "a", [&](restate_ctx *) { executed++; return captured + "!"; }, &a));
        const char *text = "async";
        restate_future *f = restate::run_async(ctx, "b", [text](restate_ctx *) { return std::string_view(text); });
        RESTATE_TRY(restate_sleep(ctx, 5));
        RESTATE_TRY(restate_await(ctx, f, &b));
        return restate_reply(ctx, restate::bytes(std::string(restate::view(a)) + std::string(restate::view(b))));
    });
    with({ &layer }, RESTATE_ON, [](restate_ctx *ctx) { CHECK(called(ctx, to("step"), "x") == "x!async"); });
    CHECK(executed == 20);
}

#if defined(RESTATE__CXX_EXCEPTIONS)

// ---- Exceptions --------------------------------------------------------------------------------

struct counted {
    static int alive;
    counted() { alive++; }
    counted(const counted &) = delete;
    ~counted() { alive--; }
};
int counted::alive;

// What destructors see, and where an exception goes that leaves a handler.
static void mapped() {
    static int tries;
    static bool closure_failed;
    restate::service layer("Layer");
    layer.handler("terminal", [](restate_ctx *) { throw restate::terminal_error("no tea", 418); });
    layer.handler("retried", [](restate_ctx *) -> std::string {
        if (++tries < 3) throw std::runtime_error("not yet");
        if (tries == 3) throw 3;
        return "third";
    });
    layer.handler("caller", [](restate_ctx *ctx) -> std::string {
        counted c;
        try {
            restate::check(ctx, restate_call(ctx, to("terminal"), restate_bytes{}, nullptr, nullptr));
        } catch (const restate::terminal_error &e) {
            return std::to_string(e.code()) + e.what();
        }
        return "";
    });
    layer.handler("passed", [](restate_ctx *ctx) {
        restate::check(ctx, restate_call(ctx, to("terminal"), restate_bytes{}, nullptr, nullptr));
    });
    layer.handler("closure", [](restate_ctx *ctx) {
        std::string got(restate::view(restate::run(ctx, "once", [](restate_ctx *) -> std::string {
            if (!std::exchange(closure_failed, true)) throw std::runtime_error("again");
            return "twice";
        })));
        restate_run_options options = {};
        options.retry.max_attempts = 1;
        try {
            restate::run(ctx, "fails", [](restate_ctx *) { throw std::runtime_error("for good"); }, options);
        } catch (const restate::terminal_error &e) {
            got += e.what();
        }
        try {
            restate::run(ctx, "terminal", [](restate_ctx *) { throw restate::terminal_error("none", 444); });
        } catch (const restate::terminal_error &e) {
            got += std::to_string(e.code());
        }
        return got;
    });
    with({ &layer }, RESTATE_ON, [](restate_ctx *ctx) {
        tries = 0;
        closure_failed = false;
        CHECK(called(ctx, to("terminal")) == "418 no tea");
        CHECK(called(ctx, to("retried")) == "third" && tries == 4);
        CHECK(called(ctx, to("caller")) == "418no tea");
        CHECK(called(ctx, to("passed")) == "418 no tea");
        std::string closure = called(ctx, to("closure"));
        CHECK(closure.find("twice") == 0 && closure.find("for good") != std::string::npos && closure.find("444") != std::string::npos);
        CHECK(counted::alive == 0);
    });
}

// Attempts that suspend unwind; cancellation is an exception, too, which undoes.
static void unwound() {
    static int undone;
    restate::service layer("Layer");
    layer.handler("sleeps", [](restate_ctx *ctx) -> std::string {
        counted a;
        auto b = std::make_unique<counted>();
        for (int i = 0; i < 5; i++) {
            counted c;
            restate::check(ctx, restate_sleep(ctx, 10));
        }
        return "slept";
    });
    layer.handler("undoes", [](restate_ctx *ctx) {
        counted a;
        try {
            restate::check(ctx, restate_sleep(ctx, RESTATE_DAYS(1)));
        } catch (const restate::terminal_error &e) {
            CHECK(e.status() == RESTATE_CANCELLED && e.code() == 409);
            restate::check(ctx, restate_sleep(ctx, 10));        // waits inside of the catch block
            undone++;
            throw;
        }
    });
    with({ &layer }, RESTATE_ON, [](restate_ctx *ctx) {
        const char *id = nullptr;
        undone = 0;
        CHECK(called(ctx, to("sleeps")) == "slept");
        CHECK(counted::alive == 0);
        restate_future *sent = restate_send(ctx, to("undoes"), restate_bytes{}, nullptr);
        restate::check(ctx, restate_call_id(ctx, sent, &id));
        restate::check(ctx, restate_sleep(ctx, 1));
        restate::check(ctx, restate_cancel(ctx, id));
        restate_invocation invocation = {};
        invocation.id = id;
        CHECK(restate_attach(ctx, invocation, nullptr) == RESTATE_TERMINAL && restate_failed(ctx)->code == 409);
        CHECK(undone == 1 && counted::alive == 0);
    });
}

// An exception may outlive the context that it comes from, as that of a client in a closure; metadata stays with it.
static void outlives() {
    restate::service layer("Layer");
    layer.handler("closure", [](restate_ctx *ctx) {
        restate::run(ctx, "ask", [](restate_ctx *) {
            restate::client client;
            restate::client_context other(client);
            restate_pair metadata[] = { { "seat", "A1" }, { nullptr, nullptr } };
            restate_failure none = { 404, "no such seat", metadata };
            restate::check(other, restate_fail_with(other, &none));
        });
    });
    layer.handler("kept", [](restate_ctx *ctx) -> std::string {
        std::exception_ptr kept;
        try {
            restate::client client;
            restate::client_context other(client);
            long long n = 0;
            restate::check(other, restate_json_int(other, restate::bytes("nonsense"), nullptr, &n));
        } catch (...) {
            kept = std::current_exception();
        }
        restate::check(ctx, restate_sleep(ctx, 10));
        std::rethrow_exception(kept);
    });
    layer.handler("asks", [](restate_ctx *ctx) -> std::string {
        try {
            restate::check(ctx, restate_call(ctx, to("closure"), restate_bytes{}, nullptr, nullptr));
        } catch (const restate::terminal_error &e) {
            const restate_pair *pair = e.failure()->metadata;
            return pair ? std::string(pair->name) + "=" + pair->value : "without metadata";
        }
        return "";
    });
    with({ &layer }, RESTATE_ON, [](restate_ctx *ctx) {
        CHECK(called(ctx, to("closure")) == "404 no such seat");
        CHECK(called(ctx, to("asks")) == "seat=A1");
        CHECK(called(ctx, to("kept")).find("500 ") == 0);
    });
}

// The closure that loses the race keeps what it captured until the attempt's memory goes.
static void owned() {
    auto shared = std::make_shared<std::string>("won");
    {
        restate::service layer("Layer");
        layer.handler("race", [shared](restate_ctx *ctx) {
            auto closure = [shared, text = std::string(100, 'x')](restate_ctx *) { return *shared; };
            restate_future *all[] = { restate::run_async(ctx, "a", closure), restate::run_async(ctx, "b", closure), nullptr };
            restate_bytes first = {};
            size_t index = 0;
            restate::check(ctx, restate_select(ctx, all, 2, &index));
            restate::check(ctx, restate_await(ctx, all[index], &first));
            return first;
        });
        with({ &layer }, RESTATE_DEFAULT, [&](restate_ctx *ctx) {
            CHECK(called(ctx, to("race")) == "won");
        });
        CHECK(shared.use_count() == 2);
    }
    CHECK(shared.use_count() == 1);
}

// A handler that swallows the end of its attempt gets it again; one that never stops is cut off, and nobody else's
// exceptions suffer. When the runtime goes, handlers that wait are unwound.
static void ends() {
    static int swallowed, foreign, rounds;
    restate::service layer("Layer");
    layer.handler("swallows", [](restate_ctx *ctx) -> std::string {
        counted c;
        try {
            restate::check(ctx, restate_sleep(ctx, 10));
        } catch (const std::exception &) {
            foreign++;
        } catch (...) {
            swallowed++;
        }
        restate::check(ctx, restate_sleep(ctx, 10));
        return "done";
    });
    layer.handler("stubborn", [](restate_ctx *ctx) {
        for (;;) {
            try {
                restate::check(ctx, restate_sleep(ctx, RESTATE_DAYS(1)));
            } catch (...) {
                rounds++;
            }
        }
    });
    layer.handler("waits", [](restate_ctx *ctx) {
        counted c;
        restate::check(ctx, restate_sleep(ctx, RESTATE_DAYS(1)));
    });
    with({ &layer }, RESTATE_ON, [](restate_ctx *ctx) {
        swallowed = foreign = 0;
        CHECK(called(ctx, to("swallows")) == "done");
        CHECK(swallowed == 1 && foreign == 0 && counted::alive == 0);
    });
    with({ &layer }, RESTATE_OFF, [](restate_ctx *ctx) {
        CHECK(counted::alive == 0);                     // those of the runtime before are gone
        for (int i = 0; i < 10; i++) restate_send(ctx, to("waits"), restate_bytes{}, nullptr);
        restate::check(ctx, restate_sleep(ctx, 1000));
        CHECK(counted::alive == 10);
    });
    CHECK(counted::alive == 0);
    restate_endpoint_options quiet = {};
    quiet.logger.level = RESTATE_LOG_OFF;
    rounds = 0;
    {
        restate::endpoint endpoint({ &layer }, quiet);
        restate_test_options how = {};
        how.endpoint = endpoint.get();
        how.suspend = RESTATE_OFF;
        how.logger.level = RESTATE_LOG_OFF;
        restate_client *runtime = restate_test_new(&how);
        restate_ctx *ctx = restate_client_begin(runtime);
        restate_send(ctx, to("stubborn"), restate_bytes{}, nullptr);
        restate::check(ctx, restate_sleep(ctx, 1000));
        restate_client_free(runtime);
    }
    CHECK(rounds > 1000);
    CHECK(!std::current_exception() && std::uncaught_exceptions() == 0);
}

// Handlers that wait in a destructor while an exception passes, on the loop's thread and on threads of their own.
struct undoing {
    restate_ctx *ctx;
    uint64_t ms;
    ~undoing() {
        CHECK(std::uncaught_exceptions() == 1);
        RESTATE_IGNORE(restate_sleep(ctx, ms));
        CHECK(std::uncaught_exceptions() == 1);
    }
};

static void passing() {
    restate::service layer("Layer");
    auto wait = [](restate_ctx *ctx, std::string_view input) -> std::string {
        std::string number(input);
        CHECK(std::uncaught_exceptions() == 0);
        try {
            undoing undo{ ctx, 1 + static_cast<uint64_t>(std::stoi(number)) * 7919 % 97 };
            throw std::runtime_error(number);
        } catch (const std::runtime_error &e) {
            restate::check(ctx, restate_sleep(ctx, 5));
            return e.what();
        }
    };
    layer.handler("wait", wait);
    layer.handler("block", wait).options.blocking = RESTATE_ON;
    for (const char *handler : { "wait", "block" })
        with({ &layer }, RESTATE_OFF, [handler](restate_ctx *ctx) {
            restate_future *calls[30];
            for (int i = 0; i < 30; i++)
                calls[i] = restate_call_async(ctx, to(handler), restate::bytes(std::to_string(i)), nullptr);
            for (int i = 0; i < 30; i++) {
                restate_bytes reply = {};
                CHECK(restate_await(ctx, calls[i], &reply) == RESTATE_OK);
                CHECK(restate::view(reply) == std::to_string(i));
            }
        });
}

// Many handlers of one thread wait inside of catch blocks, nested, and go on in another order.
static void interleaved() {
    restate::service layer("Layer");
    layer.handler("wait", [](restate_ctx *ctx, std::string_view input) -> std::string {
        std::string number(input);
        uint64_t ms = static_cast<uint64_t>(std::stoi(number)) * 7919 % 97;
        try {
            throw std::runtime_error(number);
        } catch (const std::exception &outer) {
            restate::check(ctx, restate_sleep(ctx, 1 + ms));
            try {
                throw std::logic_error(number + "'");
            } catch (const std::exception &inner) {
                restate::check(ctx, restate_sleep(ctx, 1 + (ms * 31) % 89));
                CHECK(inner.what() == number + "'");
                try {
                    throw;
                } catch (const std::logic_error &again) {
                    CHECK(again.what() == number + "'");
                }
            }
            restate::check(ctx, restate_sleep(ctx, 1 + (ms * 17) % 83));
            CHECK(outer.what() == number);
            CHECK(std::uncaught_exceptions() == 0);
            try {
                throw;
            } catch (const std::runtime_error &again) {
                return again.what();
            }
        }
    });
    with({ &layer }, RESTATE_OFF, [](restate_ctx *ctx) {
        restate_future *calls[100];
        for (int i = 0; i < 100; i++)
            calls[i] = restate_call_async(ctx, to("wait"), restate::bytes(std::to_string(i)), nullptr);
        try {
            throw 1;                                    // the owner of the handlers has one under way, too
        } catch (int one) {
            for (int i = 0; i < 100; i++) {
                restate_bytes reply = {};
                CHECK(restate_await(ctx, calls[i], &reply) == RESTATE_OK);
                CHECK(restate::view(reply) == std::to_string(i));
            }
            CHECK(one == 1);
            try {
                throw;
            } catch (int again) {
                CHECK(again == 1);
            }
        }
        CHECK(std::uncaught_exceptions() == 0);
    });
}

#endif

static void objects() {
    restate::service layer("Layer");
    layer.handler("x", [](restate_ctx *) {});
    restate::endpoint broken({});
    CHECK(std::strstr(broken.error(), "service") != nullptr);
    restate_endpoint_options options = {};
    options.port = RESTATE_ANY_PORT;
    options.logger.level = RESTATE_LOG_ERROR;
    restate::endpoint endpoint({ &layer }, options);
    endpoint.stop();
    CHECK(endpoint.run() == RESTATE_OK);
    restate_client_options to_nobody = {};
    to_nobody.ingress = "http://127.0.0.1:1";
    to_nobody.retry.max_attempts = 1;
    restate::client client(to_nobody);
    restate::client_context ctx(client);
    CHECK(restate_call(ctx, to("x"), restate_bytes{}, nullptr, nullptr) != RESTATE_OK);
}

int main() {
    static const struct { const char *name; void (*test)(); } tests[] = {
        { "views", views }, { "captures", captures }, { "runs", runs }, { "objects", objects },
#if defined(RESTATE__CXX_EXCEPTIONS)
        { "mapped", mapped }, { "unwound", unwound }, { "outlives", outlives }, { "owned", owned },
        { "ends", ends }, { "passing", passing }, { "interleaved", interleaved },
#endif
    };
    int passed = 0, failed = 0;
    for (const auto &t : tests) {
        int before = failures;
        t.test();
        if (failures == before) passed++;
        else failed++, std::printf("FAILED %s\n", t.name);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
