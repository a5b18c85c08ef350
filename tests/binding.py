"""A handler in Python, through build/librestate.so: what a binding for another language needs.

    tests/server.sh run -- python3 tests/binding.py build/librestate.so

A structure is declared as far as it is used: the rest is zero, which is the default of everything.
Handlers are `blocking`: each has a thread, as Python's frames must not change their order.
"""
import ctypes as c, json, os, sys, threading, urllib.request

class Bytes(c.Structure):
    _fields_ = [("ptr", c.c_void_p), ("len", c.c_size_t)]

class Retry(c.Structure):
    _fields_ = [("initial", c.c_uint64), ("factor", c.c_double), ("max", c.c_uint64), ("attempts", c.c_uint32),
                ("duration", c.c_uint64), ("exhausted", c.c_int)]

class Options(c.Structure):
    _fields_ = [("user", c.c_void_p), ("times", c.c_uint64 * 5), ("lazy", c.c_int), ("private", c.c_int),
                ("retry", Retry), ("run_retry", Retry), ("mismatch", c.c_int), ("switches", c.c_int * 4),
                ("blocking", c.c_int), ("rest", c.c_byte * 1024)]

HANDLER = c.CFUNCTYPE(c.c_int, c.c_void_p, Bytes)
CLOSURE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p)

class Handler(c.Structure):             # one, then zeros: the end of the list
    _fields_ = [("name", c.c_char_p), ("fn", HANDLER), ("shared", c.c_bool), ("codecs", c.c_void_p * 2),
                ("texts", c.c_void_p * 3), ("options", Options)]

class Service(c.Structure):
    _fields_ = [("name", c.c_char_p), ("kind", c.c_int), ("handlers", c.POINTER(Handler)), ("rest", c.c_byte * 1024)]

class Endpoint(c.Structure):
    _fields_ = [("services", c.POINTER(c.c_void_p)), ("address", c.c_char_p), ("port", c.c_uint16),
                ("rest", c.c_byte * 4096)]

lib = c.CDLL(sys.argv[1])
lib.restate_endpoint_new.restype = c.c_void_p
lib.restate_endpoint_error.restype = c.c_char_p
lib.restate_run.argtypes = [c.c_void_p, c.c_char_p, CLOSURE, c.c_void_p, c.c_void_p, c.POINTER(Bytes)]
lib.restate_sleep.argtypes = [c.c_void_p, c.c_uint64]
lib.restate_reply.argtypes = [c.c_void_p, Bytes]
assert lib.restate_version() >> 8 == 1, "this binding is for restate.h 0.1"
steps = []

def reply(ctx, value):
    text = json.dumps(value).encode()
    return lib.restate_reply(ctx, Bytes(c.cast(c.c_char_p(text), c.c_void_p), len(text)))   # it is copied

@CLOSURE
def step(run, arg):
    steps.append(1)
    return reply(run, "of Python")

@HANDLER
def greet(ctx, given):
    made = Bytes()
    status = lib.restate_run(ctx, b"step", step, None, None, c.byref(made)) or lib.restate_sleep(ctx, 10)
    if status:
        return status
    name = json.loads(c.string_at(given.ptr, given.len))
    return reply(ctx, f"Hello {name}, {json.loads(c.string_at(made.ptr, made.len))}")

def post(url, body):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    return json.loads(opener.open(request, timeout=60).read())

handler = Handler(name=b"greet", fn=greet)
handler.options.blocking = 1            # RESTATE_ON
service = Service(name=b"Snake", handlers=c.pointer(handler))
services = (c.c_void_p * 2)(c.addressof(service), None)
endpoint = c.c_void_p(lib.restate_endpoint_new(c.byref(Endpoint(services, b"127.0.0.1", 65535))))   # any port
server = threading.Thread(target=lib.restate_endpoint_run, args=[endpoint])
server.start()
while not lib.restate_endpoint_port(endpoint) and server.is_alive():
    server.join(0.01)
post(os.environ["ADMIN"] + "/deployments", {"uri": f"http://127.0.0.1:{lib.restate_endpoint_port(endpoint)}"})
got = [post(os.environ["INGRESS"] + "/Snake/greet", f"Ada {i}") for i in range(20)]
lib.restate_endpoint_stop(endpoint)
server.join()
lib.restate_endpoint_free(endpoint)
assert got == [f"Hello Ada {i}, of Python" for i in range(20)], got
assert len(steps) == 20, len(steps)
print("20 calls of a handler in Python")
