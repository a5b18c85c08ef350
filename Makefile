# restate.h is one header (and restate_wire.h, which it includes): there is no library to build. What
# is built here are programs that contain it. `make help` lists the targets.
#
# CC, CFLAGS, CPPFLAGS, LDFLAGS and LDLIBS are yours. `make test` compiles JOBS files at a time.

CFLAGS ?= -O2 -g
GCC ?= gcc
GXX ?= g++
CLANG ?= clang
CLANGXX ?= clang++
TCC ?= tcc
ARM_GCC ?= arm-none-eabi-gcc
ARM_NM ?= arm-none-eabi-nm
NM ?= nm
VALGRIND ?= valgrind

# ---- What every program is compiled and linked with ----------------------------------------------
# Asked for in recipes only: `make test` may be what installs pkg-config. nanopb has no .pc file.

STD = -std=c99
WARN = -Wall -Wextra
CXX_WARN = -Wall -Wextra -Wpedantic -Wmissing-field-initializers
STRICT = -std=c99 -pedantic -Wall -Wextra -Werror -Wconversion -Wsign-conversion -Wshadow \
	-Wstrict-prototypes -Wmissing-prototypes -Wundef -Wcast-qual -Wvla

PACKAGES = libnghttp2 libcjson
package_flags = $(shell pkg-config --cflags $(PACKAGES))
package_libs = $(shell pkg-config --libs $(PACKAGES)) -lprotobuf-nanopb -pthread
# A frame larger than the guard of a stack touches it all the same; of compilers that can do that.
probing = $(shell echo 'int x;' | $(CC) -Werror -fstack-clash-protection -x c -fsyntax-only - 2>/dev/null && \
	echo -fstack-clash-protection)
compile = $(CC) $(STD) $(WARN) $(probing) $(CPPFLAGS) $(CFLAGS) -I. -Itests $(package_flags) -pthread
link = $(LDFLAGS) $(package_libs) $(LDLIBS)

HEADERS = restate.h restate_wire.h
EXAMPLES = $(patsubst examples/%.c,%,$(wildcard examples/*.c))
SHOP = server client test_shop
FUZZ = $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
UNITS = $(patsubst tests/%.c,%,$(wildcard tests/unit_*.c))
TEST_SERVICES = $(wildcard tests/services/*.c)

# ---- Building --------------------------------------------------------------------------------------

all: examples build/bench-endpoint build/bench-client
examples: $(EXAMPLES:%=build/examples/%) $(SHOP:%=build/examples/shop/%) build/examples/cpp

# nanopb's code for the messages of a test, and of an example.
PROTOS = $(patsubst tests/proto/%.proto,build/proto/%.pb.c,$(wildcard tests/proto/*.proto))
build/proto/%.pb.c build/proto/%.pb.h: tests/proto/%.proto tests/proto/%.options
	@mkdir -p $(@D)
	@nanopb_generator.py -q -D build/proto -I tests/proto $<

build/proto/%.pb.c build/proto/%.pb.h: examples/%.proto examples/%.options
	@mkdir -p $(@D)
	@nanopb_generator.py -q -D build/proto -I examples $<

# The plugin of protoc that makes typed services. It runs on the machine that builds.
BUILD_CC ?= cc
build/protoc-gen-restate: proto/protoc-gen-restate.c
	@mkdir -p $(@D)
	$(BUILD_CC) $(STD) $(WARN) -O2 -o $@ $<

# Messages and typed services of the shop, in one go.
build/proto/%.pb.c build/proto/%.pb.h build/proto/%.restate.h: examples/shop/%.proto examples/shop/%.options \
		proto/restate/options.proto build/protoc-gen-restate
	@mkdir -p $(@D)
	@nanopb_generator.py -q -D build/proto -I examples/shop -I proto --protoc-opt=--plugin=build/protoc-gen-restate \
		--protoc-opt=--restate_out=build/proto $*.proto

# What an example has besides its own file: own_NAME, for the compiler.
own_protobuf = -Ibuild/proto build/proto/order.pb.c
own_postgres = $(shell pkg-config --cflags --libs libpq)
own_server = $(addprefix examples/shop/,stock.c orders.c sales.c bank.c)
own_test_shop = $(addprefix examples/shop/,stock.c orders.c sales.c)

# The library that an example needs besides, as pkg-config calls it: without it the example is left out.
library_postgres = libpq
unless_left_out = $(if $(library_$*),pkg-config --exists $(library_$*) || \
	{ echo "examples/$* is left out: there is no $(library_$*) (Debian: $(library_$*)-dev)"; exit 0; }; )

# Programs of one file. What they do not use is then not compiled, which takes a third to a half of the time.
alone = -DRESTATE_STATIC

# The calls that tests/support/faults.c has fail: it says FAULT_CALL and so on of each.
comma = ,
FAULTS = $(addprefix -Wl$(comma)--wrap=,accept bind close connect epoll_create1 epoll_ctl epoll_wait eventfd fcntl fopen fork \
	getaddrinfo getpeername getsockname getsockopt listen mmap mprotect open pipe poll pthread_attr_init pthread_cond_init \
	pthread_create pthread_key_create pthread_mutex_init read recv recvmsg send sendmsg setsockopt shutdown socket \
	socketpair timerfd_create waitpid write)

# The same programs in several variants: $(1) is the directory they go to, $(2) the flags they get
# besides, $(3) the unit tests (unit_NAME) that run for longer than the optimiser; empty: all. A variant
# has its examples, its unit tests, the services of the end-to-end tests, and the services that every SDK
# is tested with.
define variant
$(1)/examples/%: examples/%.c $$(HEADERS)
	@mkdir -p $$(@D)
	$$(unless_left_out)$$(compile) $(2) $$(alone) -o $$@ $$< $$(own_$$*) $$(link)

$(1)/examples/protobuf: build/proto/order.pb.c

# Programs of several files: no function of the header can be static.
$(1)/examples/shop/%: examples/shop/%.c $$(wildcard examples/shop/*.[ch]) build/proto/shop.restate.h $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) -Ibuild/proto -o $$@ $$< $$(own_$$*) build/proto/shop.pb.c $$(link)

# The implementation is C.
$(1)/examples/cpp: examples/cpp.cc $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) -DRESTATE_IMPLEMENTATION -c -o $$@.o -x c restate.h
	$$(CXX) -std=c++17 $$(CXX_WARN) $$(CPPFLAGS) $$(CFLAGS) $(2) -I. -o $$@ $$< $$@.o $$(link)

$(1)/examples/tls: LDLIBS += -lssl -lcrypto
$(1)/examples/mbedtls: LDLIBS += -lmbedtls -lmbedx509 -lmbedcrypto

$(1)/unit_%: tests/unit_%.c $$(wildcard tests/*.h tests/support/*.c) $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) $$(if $$(filter $(or $(3),%),$$*),-O1 $$(alone),-O0) -o $$@ $$< $$(link)

$(1)/unit_proto: $$(PROTOS)
$(1)/unit_server_scale: tests/bench/scale.c
$(1)/unit_faults $(1)/unit_faults_tls $(1)/unit_process $(1)/unit_context: LDFLAGS += $(FAULTS)
$(1)/unit_faults_tls: tests/unit_faults.c
$(1)/unit_faults_tls: CPPFLAGS += -DRESTATE_WITH_OPENSSL
$(1)/unit_faults_tls: LDLIBS += -lssl -lcrypto
$(1)/unit_context_payloads $(1)/unit_rpc: build/proto/order.pb.c
$(1)/unit_identity $(1)/unit_client_tls $(1)/unit_server_tls $(1)/test-services $(1)/hostile $(1)/e2e-ledger: CPPFLAGS += -DRESTATE_WITH_OPENSSL
$(1)/unit_identity $(1)/unit_client_tls $(1)/unit_server_tls $(1)/test-services $(1)/hostile $(1)/e2e-ledger: LDLIBS += -lssl -lcrypto

$(1)/fuzz-plugin: proto/protoc-gen-restate.c
$(1)/fuzz-dialog: tests/differential.c
$(1)/fuzz-values: tests/differential_json.c $$(PROTOS)
$(1)/fuzz-%: tests/fuzz/%.c $$(wildcard tests/fuzz/*.h) $$(wildcard tests/*.h tests/support/*.c) $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) $$(alone) -o $$@ $$< $$(link)

$(1)/e2e-services: tests/e2e/services.c tests/support/kinds.c tests/support/check.c $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) -o $$@ $$< $$(link)

$(1)/hostile: tests/hostile.c $$(wildcard tests/*.h tests/support/*.c) $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) $$(alone) -o $$@ $$< $$(link)

$(1)/e2e-ledger: tests/e2e/ledger.c $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) -o $$@ $$< $$(link)

$(1)/bench-client: tests/bench/client.c $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) -o $$@ $$< $$(link)

$(1)/test-services: $$(TEST_SERVICES) tests/services/services.h tests/support/check.c $$(HEADERS)
	@mkdir -p $$(@D)
	$$(compile) $(2) -o $$@ $$(TEST_SERVICES) $$(link)
endef

ASAN = -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
TSAN = -O1 -fno-omit-frame-pointer -fsanitize=thread

$(eval $(call variant,build,))
# With sanitizers the optimiser takes two thirds of the time of a compilation.
$(eval $(call variant,build/asan,$(ASAN),journal_growth))
$(eval $(call variant,build/tsan,$(TSAN),none))
running_long = context context_calls context_futures context_operations context_runs journal journal_await \
	journal_errors journal_growth json memory process proto server_scale
$(eval $(call variant,build/valgrind,-O1 -DRESTATE_VALGRIND,$(running_long)))
$(eval $(call variant,build/ucontext,-DRESTATE_FIBER=RESTATE_FIBER_UCONTEXT))
$(eval $(call variant,build/thread,-DRESTATE_FIBER=RESTATE_FIBER_THREAD))
$(eval $(call variant,build/coverage,-O0 --coverage,none))
$(eval $(call variant,build/mutants,-w $(alone),none))
$(eval $(call variant,build/poll,-DRESTATE__USE_POLL))
$(eval $(call variant,build/no_server,-DRESTATE_NO_SERVER))
$(eval $(call variant,build/no_threads,-DRESTATE_NO_THREADS))
$(eval $(call variant,build/bare,-DRESTATE_NO_SERVER -DRESTATE_NO_THREADS))
build/custom/% build/port/%: alone =            # they have tests/port.c, too
$(eval $(call variant,build/custom,-DRESTATE_NO_SERVER -DRESTATE_NO_THREADS -DRESTATE_FIBER=RESTATE_FIBER_CUSTOM tests/port.c))
$(eval $(call variant,build/port,-DRESTATE_FIBER=RESTATE_FIBER_CUSTOM tests/port.c))

# By another compiler, for another processor: tests/platforms.sh says which, and with which libraries.
ifdef PLATFORM
PLATFORM_OPTIMISED = $(running_long)
$(eval $(call variant,build/platforms/$(PLATFORM),,$(PLATFORM_OPTIMISED)))
# It has a malloc of its own, besides that of a C library that is linked statically.
build/platforms/$(PLATFORM)/unit_memory: LDFLAGS += -Wl,--allow-multiple-definition
endif

build/bench-endpoint: tests/bench/endpoint.c $(HEADERS)
	@mkdir -p $(@D)
	$(compile) -o $@ $< $(link)

build/scale: tests/bench/scale.c tests/support/journal.c tests/test.h $(HEADERS)
	@mkdir -p $(@D)
	$(compile) -o $@ $< $(link)

build/bench-journal: tests/bench/journal.c $(HEADERS)
	@mkdir -p $(@D)
	$(compile) -o $@ $< $(link)

# Neither of these has restate.h, nor needs a library.
build/bench-bodies build/bench-usage: build/bench-%: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CPPFLAGS) $(CFLAGS) -o $@ $< $(LDFLAGS)

build/bench-load: tests/bench/load.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CPPFLAGS) $(CFLAGS) $(shell pkg-config --cflags libcurl) -o $@ $< \
		$(LDFLAGS) $(shell pkg-config --libs libcurl) $(LDLIBS)

# The drivers of the end-to-end tests talk to servers and endpoints over HTTP; they have no restate.h.
# A driver includes the other files it is made of.
build/e2e: driver = tests/e2e/e2e.c
build/e2e-contract: driver = tests/e2e/contract.c
build/soak: driver = tests/e2e/soak.c
build/e2e build/e2e-contract build/soak: $(wildcard tests/e2e/*.c) tests/test.h
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CPPFLAGS) $(CFLAGS) -Itests $(shell pkg-config --cflags libcurl libcjson) \
		-o $@ $(driver) $(LDFLAGS) $(shell pkg-config --libs libcurl libcjson) $(LDLIBS)

# The same cases against the runtime for tests, in one program with the services.
build/e2e-memory: tests/e2e/memory.c $(wildcard tests/e2e/*.c) $(TEST_SERVICES) tests/services/services.h $(HEADERS) tests/test.h
	@mkdir -p $(@D)
	$(compile) $(shell pkg-config --cflags libcurl) -o $@ $< $(filter-out %/main.c,$(TEST_SERVICES)) \
		$(link) $(shell pkg-config --libs libcurl)

# ---- Everything, and a first look -------------------------------------------------------------------
# Both install what is missing, so they are scripts that come back here once it is there.

test:
	@tests/run.sh

demo:
	@tests/demo.sh

# ---- Packages ------------------------------------------------------------------------------------------
# `make install` puts the headers in place, protoc-gen-restate with what .proto files import, and what pkg-config and
# CMake want to know; `make install-shared` what `make shared` has built, a library of the same functions for languages
# that cannot include a header.

PREFIX = /usr/local
bindir = $(PREFIX)/bin
includedir = $(PREFIX)/include
libdir = $(PREFIX)/lib
VERSION := $(shell sed -n 's|^\#define RESTATE_VERSION .*/\* \([0-9.]*\):.*|\1|p' restate.h)
SOVERSION = $(basename $(VERSION))

define restate_pc
prefix=$(PREFIX)
bindir=$(bindir)
includedir=$(includedir)
protodir=$${includedir}
protoc_gen_restate=$${bindir}/protoc-gen-restate

Name: restate
Description: Restate SDK for C: two headers, and the libraries they use
Version: $(VERSION)
Requires: $(PACKAGES)
Cflags: -I$${includedir}
Libs: -lprotobuf-nanopb -pthread
endef
define restate_shared_pc
prefix=$(PREFIX)
includedir=$(includedir)
libdir=$(libdir)

Name: restate-shared
Description: Restate SDK for C as a shared library
Version: $(VERSION)
Cflags: -I$${includedir}
Libs: -L$${libdir} -lrestate
endef
# Versions are compatible as semantic versioning says; before 1.0 a minor version may break.
define restate_cmake_version
set(PACKAGE_VERSION $(VERSION))
string(REGEX MATCH "^(0\\.[0-9]+|[1-9][0-9]*)" ours "$(VERSION)")
if(PACKAGE_FIND_VERSION VERSION_LESS_EQUAL PACKAGE_VERSION AND "$${PACKAGE_FIND_VERSION}." MATCHES "^$${ours}\\.")
    set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
endif()
endef
export restate_pc restate_shared_pc restate_cmake_version

# A protoc in the same prefix looks for imports in its include/. Firmware may have no compiler for the machine that builds,
# and hand-written services need no plugin.
install: install-headers
	@if command -v $(firstword $(BUILD_CC)) >/dev/null; then \
		$(MAKE) --no-print-directory install-plugin; \
	else \
		echo 'there is no compiler $(firstword $(BUILD_CC)): protoc-gen-restate is not installed (BUILD_CC=...)'; \
	fi

install-plugin: build/protoc-gen-restate
	@mkdir -p '$(DESTDIR)$(bindir)'
	cp build/protoc-gen-restate '$(DESTDIR)$(bindir)'

install-headers:
	@mkdir -p '$(DESTDIR)$(includedir)/restate' '$(DESTDIR)$(libdir)/pkgconfig' '$(DESTDIR)$(libdir)/cmake/restate'
	cp $(HEADERS) '$(DESTDIR)$(includedir)'
	cp proto/restate/options.proto '$(DESTDIR)$(includedir)/restate'
	cp examples/cmake/restateConfig.cmake '$(DESTDIR)$(libdir)/cmake/restate'
	@echo "$$restate_cmake_version" >'$(DESTDIR)$(libdir)/cmake/restate/restateConfigVersion.cmake'
	@echo "$$restate_pc" >'$(DESTDIR)$(libdir)/pkgconfig/restate.pc'

# OpenSSL is in it if SHARED_FLAGS=-DRESTATE_WITH_OPENSSL SHARED_LIBS='-lssl -lcrypto'.
SHARED_FLAGS =
SHARED_LIBS =
shared: build/librestate.so

build/librestate.so: $(HEADERS)
	@mkdir -p $(@D)
	@printf 'RESTATE_%s {\n    global: restate_*;\n    local: *;\n};\n' '$(SOVERSION)' >build/librestate.map
	$(compile) -fPIC -fvisibility=hidden '-DRESTATE_API=extern __attribute__((visibility("default")))' \
		$(SHARED_FLAGS) -DRESTATE_IMPLEMENTATION -shared -Wl,-soname,librestate.so.$(SOVERSION) \
		-Wl,--version-script,build/librestate.map -Wl,-z,defs -o $@ -x c restate.h -x none $(link) $(SHARED_LIBS)
	@ln -sf librestate.so build/librestate.so.$(SOVERSION)

install-shared: install build/librestate.so
	cp build/librestate.so '$(DESTDIR)$(libdir)/librestate.so.$(VERSION)'
	ln -sf librestate.so.$(VERSION) '$(DESTDIR)$(libdir)/librestate.so.$(SOVERSION)'
	ln -sf librestate.so.$(SOVERSION) '$(DESTDIR)$(libdir)/librestate.so'
	@echo "$$restate_shared_pc" >'$(DESTDIR)$(libdir)/pkgconfig/restate-shared.pc'

# Installed, copied and fetched: programs are built by pkg-config, CMake and Meson; Python binds the library.
packages: build/librestate.so
	@CC='$(CC)' MAKE='$(MAKE)' VERSION='$(VERSION)' tests/packages.sh

# ---- Tests, one by one (nothing is installed; see tests/setup.sh) ------------------------------------

# $(1): programs, $(2): what to put before each. All of them run, even after one has failed.
define run_all
	@status=0; for program in $(1); do $(2) $$program || status=1; done; exit $$status
endef

unit: $(UNITS:%=build/%)
	$(call run_all,$(UNITS:%=build/%))

sanitize: $(UNITS:%=build/asan/%)
	$(call run_all,$(UNITS:%=build/asan/%),ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1 \
		UBSAN_OPTIONS=print_stacktrace=1)

# Without address randomisation where that can be had: older sanitizers do not start with much of it.
fixed_addresses = $(shell setarch -R true 2>/dev/null && echo setarch -R)
tsan: $(UNITS:%=build/tsan/%)
	$(call run_all,$(UNITS:%=build/tsan/%),TSAN_OPTIONS=halt_on_error=1 $(fixed_addresses))

valgrind: $(UNITS:%=build/valgrind/%)
	$(call run_all,$(UNITS:%=build/valgrind/%),$(VALGRIND) -q --error-exitcode=9 --leak-check=full \
		--errors-for-leak-kinds=definite)

# Random input, from the seeds on: all targets side by side, for so many seconds. Each is a program whose memory is
# never used again (pools hide its errors from sanitizers), and one whose memory is. What they find is in
# build/fuzz/TARGET-*, and makes `make fuzz` fail.
TIME ?= 60
build/fuzz/fuzz-% build/fuzz-pools/fuzz-%: CC = $(CLANG)
fuzzing = -fsanitize=fuzzer -DLIBFUZZER $(ASAN)
$(eval $(call variant,build/fuzz,$(fuzzing) -DRESTATE__CACHE_KEEPS_FROM=SIZE_MAX -DRESTATE__CHUNK_BYTES=256u))
$(eval $(call variant,build/fuzz-pools,$(fuzzing)))

fuzz:
	@tests/setup.sh fuzz
	@$(MAKE) -s $(FUZZ:%=build/fuzz/fuzz-%) $(FUZZ:%=build/fuzz-pools/fuzz-%)
	@tests/fuzz/run.sh seconds $(TIME) $(FUZZ)

# The same with numbers of runs instead of seconds, which come out the same every time.
fuzz-check: $(FUZZ:%=build/fuzz/fuzz-%)
	@tests/fuzz/run.sh functions
	@tests/fuzz/run.sh runs $(FUZZ)

# The seeds alone, by any compiler.
fuzz-seeds: $(FUZZ:%=build/asan/fuzz-%)
	@tests/fuzz/run.sh functions
	$(call run_all,$(FUZZ:%=build/asan/fuzz-%))

e2e: all cxx-examples build/e2e build/e2e-services build/e2e-contract build/test-services build/firmware/relay build/firmware/m4.elf
	build/e2e -v
	build/e2e-contract -v

# All cases of both drivers with ThreadSanitizer and four loops: some twenty minutes. What it finds fails its case.
tsan_endpoints = $(addprefix build/tsan/,$(EXAMPLES:%=examples/%) e2e-services bench-client test-services)
e2e-tsan: all cxx-examples build/e2e build/e2e-contract $(tsan_endpoints) build/firmware/relay build/firmware/m4.elf
	for driver in e2e e2e-contract; do \
		THREADS=4 TSAN_OPTIONS=halt_on_error=0 E2E_BIN=build/tsan E2E_SCALE=20 E2E_NAME=$$driver@tsan-whole \
		E2E_WRAP="$(fixed_addresses)" build/$$driver || status=1; \
	done; exit $${status:-0}

# Without a server.
e2e-memory: build/e2e-memory
	build/e2e-memory

# Operations of every kind while processes die and connections break: TIME seconds of that, shared by one server and a
# cluster (MODES), each with and without TLS. SEED is printed, and can be given again.
TIME = 240
MODES = default,cluster
comma = ,
SEED =
soak: build/soak build/e2e-ledger
	SOAK_SECONDS=$$(( $(TIME) / 2 / $(words $(subst $(comma), ,$(MODES))) )) SOAK_SEED=$(SEED) E2E_MODES=$(MODES) build/soak

# A first look, in less than a minute.
e2e-smoke: all build/e2e build/e2e-services build/e2e-contract build/test-services
	E2E_SMOKE=1 build/e2e
	E2E_SMOKE=1 build/e2e-contract

# A first look at every server that npm carries (SERVERS='1.6.1 1.7.12': at those).
SERVERS =
servers: all build/e2e build/e2e-services build/e2e-contract build/test-services
	@tests/servers.sh $(SERVERS)

# Hostile peers, and what they may cost; and h2spec, where there is a Go. HOSTILE: --short, or parts of names.
HOSTILE =
hostile: build/hostile
	@tests/hostile.sh $(HOSTILE)

# Other processors, another C library, other compilers and a later C (PLATFORMS='aarch64 musl': those).
PLATFORMS =
platforms:
	@tests/platforms.sh $(PLATFORMS)

# ---- Measurements -----------------------------------------------------------------------------------
# Not in `make test`, which has a small version: they want the machine for themselves.

budget: build/bench-journal
	tests/bench/budget.sh

scale: build/scale
	build/scale

# ---- Benchmarks (nothing is installed; what is missing is named) --------------------------------------
# BENCH has options: make bench BENCH='--quick nghttpd restate.h'. See the heads of the scripts.

BENCH =
bench_programs = build/bench-endpoint build/bench-bodies build/bench-usage

bench: $(bench_programs)
	@tests/bench/bench.sh $(BENCH)

bench-e2e: $(bench_programs) build/bench-load
	@tests/bench/e2e.sh $(BENCH)

# The client, beside h2load.
bench-client: build/bench-client
	@tests/bench/client.sh $(BENCH)

bench-check: $(bench_programs)
	@tests/bench/check.sh

# ---- Checks of the source ---------------------------------------------------------------------------

wire:
	@mkdir -p build
	sh proto/generate.sh > build/restate_wire.h.new
	mv build/restate_wire.h.new restate_wire.h

wire-check:
	@mkdir -p build
	sh proto/generate.sh > build/restate_wire.h
	diff -u restate_wire.h build/restate_wire.h

layers:
	@tests/layers.sh restate.h

# The files that users copy end with the text of LICENSE.
license:
	@mkdir -p build
	@{ echo '/*'; sed 's/^/ * /; s/ *$$//' LICENSE; echo ' */'; } >build/license
	@for file in $(HEADERS); do \
		tail -n "$$(wc -l <build/license)" $$file | cmp - build/license || { echo "$$file does not end with LICENSE"; exit 1; }; \
	done

mutants:
	@tests/mutants.sh
mutants-made:
	@tests/mutants.sh --made

# The header sends what it sent at an earlier revision. DIFFERENTIAL has options, see the script.
DIFFERENTIAL =
differential:
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' LDLIBS='$(LDLIBS)' tests/differential.sh $(DIFFERENTIAL)
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' LDLIBS='$(LDLIBS)' tests/differential.sh --json

# The state machine beside the reference, Rust's: the same steps, the same answers. Needs cargo.
STEPS = 1000000
oracle:
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' LDLIBS='$(LDLIBS)' tests/oracle.sh --steps $(STEPS)

# Which lines and branches of the header the unit tests reach; what they do not of sections (SECTION=all: of each) is listed.
SECTION =
coverage: $(patsubst %,build/coverage/%,$(UNITS))
	@tests/coverage.sh $(SECTION)

# The tests that the tables of capabilities name are there.
features:
	@tests/features.sh

# How much code there is by switch; a program without a client has next to nothing of it.
sizes:
	@CC='$(GCC)' FLAGS='$(package_flags)' LIBS='$(package_libs)' tests/sizes.sh

sizes-check:
	@CC='$(GCC)' FLAGS='$(package_flags)' LIBS='$(package_libs)' tests/sizes.sh --check

# Functions may be missing a prefix only if nobody outside can see them.
symbols: build/compile/gcc/two_units_a.o build/compile/gcc/static.o
	@$(NM) -g --defined-only $< | awk 'NF == 3 { n++; if ($$3 !~ /^restate_/) { print "exported without restate_: " $$3; bad = 1 } } \
		END { if (!n) { print "nothing is exported"; bad = 1 } exit bad }'
	@$(NM) -g --defined-only build/compile/gcc/static.o | awk 'NF == 3 && $$3 != "main" { print "exported despite RESTATE_STATIC: " $$3; bad = 1 } \
		END { exit bad }'

# Every line of C in README.md.
readme: $(HEADERS) build/proto/order.pb.h
	@STRICT='$(STRICT)' INCLUDES='$(package_flags) -I. -Ibuild/proto' COMPILERS='$(GCC) $(CLANG)' tests/readme.sh

strict: strict-gcc strict-clang compile

# The header alone, as a program's main file would see it, and everything that uses only its public part.
STRICT_SOURCES = $(EXAMPLES:%=examples/%.c) $(wildcard examples/shop/*.c) examples/firmware/relay.c tests/e2e/services.c tests/e2e/ledger.c $(TEST_SERVICES) \
	tests/bench/endpoint.c tests/bench/client.c tests/differential.c

strict-gcc strict-clang: $(HEADERS) build/proto/order.pb.h build/proto/shop.restate.h
	@mkdir -p build
	@set -e; strict() { $(STRICT_CC) $(STRICT) $(package_flags) $(libpq_flags) -I. -Itests -Ibuild/proto -c -o build/$@.o "$$@"; }; \
	strict -O2 -DRESTATE_IMPLEMENTATION -DRESTATE_WITH_OPENSSL -x c restate.h; \
	strict -O0 -DRESTATE_IMPLEMENTATION -DNDEBUG -x c restate.h; \
	strict -O0 -DRESTATE_IMPLEMENTATION -DRESTATE_TERSE -x c restate.h; \
	strict -O0 -DRESTATE_IMPLEMENTATION -DRESTATE_SMALL -x c restate.h; \
	strict -O0 -DRESTATE_IMPLEMENTATION -DRESTATE_WITH_TEST -DRESTATE_NO_SERVER -DRESTATE_NO_THREADS -x c restate.h; \
	for source in $(STRICT_SOURCES) tests/e2e/e2e.c tests/e2e/contract.c tests/e2e/memory.c tests/e2e/soak.c; do strict -O0 $$source; done; \
	for name in bodies usage load; do strict -O0 tests/bench/$$name.c; done
strict-gcc strict-clang: libpq_flags = $(shell pkg-config --cflags libpq)
strict-gcc: STRICT_CC = $(GCC)
strict-clang: STRICT_CC = $(CLANG)

# All that clang 14 can say, but for this:
EVERYTHING = -Weverything
# C99 has it
EVERYTHING += -Wno-declaration-after-statement
# how structures are laid out is the compiler's business
EVERYTHING += -Wno-padded
# what one program does not use another one does; so the attribute is everywhere
EVERYTHING += -Wno-used-but-marked-unused -Wno-unused-macros
# functions that pass a format on have the attribute: their callers are checked
EVERYTHING += -Wno-format-nonliteral
# `default` is meant for the rest of the values
EVERYTHING += -Wno-switch-enum
# macros of the system's headers
EVERYTHING += -Wno-disabled-macro-expansion
# numbers are compared exactly where the same number has to come back
EVERYTHING += -Wno-float-equal
# "n = f(x), m = g(x)" is one short statement
EVERYTHING += -Wno-comma
# static functions that do not return are called once, where one sees it
EVERYTHING += -Wno-missing-noreturn
# "if (ok && read(&x)) use(x)" in two steps
EVERYTHING += -Wno-conditional-uninitialized
# _POSIX_C_SOURCE and the like are what a program is to define
EVERYTHING += -Wno-reserved-macro-identifier
# "(double)f(x)" is a conversion like any other
EVERYTHING += -Wno-bad-function-cast

EVERY_WAY = -DRESTATE_IMPLEMENTATION -DRESTATE_WITH_OPENSSL -DRESTATE_SMALL -DRESTATE_TERSE -DRESTATE_NO_THREADS \
	-DRESTATE_NO_SERVER -DRESTATE_NO_CLIENT
everything: $(HEADERS)
	@for way in $(EVERY_WAY); do \
		$(CLANG) $(STD) -Werror $(EVERYTHING) $(package_flags) -I. -DRESTATE_WITH_TEST -DRESTATE_IMPLEMENTATION $$way \
			-fsyntax-only -x c restate.h || exit; \
	done

# ---- The ways to include the header ------------------------------------------------------------------
# Each program is linked with what its configuration needs and no more, then run.

compile: compile-gcc compile-clang checked firmware refused
COMPILED = restate cxx two_units static no_server no_client no_cjson no_threads bare fiber_ucontext fiber_thread http2 clock
compile-gcc: $(COMPILED:%=build/compile/gcc/%)
compile-clang: $(COMPILED:%=build/compile/clang/%)

# $(1): gcc or clang, $(2): the C compiler, $(3): the C++ compiler.
define compile_tests
build/compile/$(1)/%.o: tests/compile/%.c $$(wildcard tests/compile/*.h) $$(HEADERS)
	@mkdir -p $$(@D)
	@$(2) $$(STRICT) $$(package_flags) -I. -c -o $$@ $$<

build/compile/$(1)/%.cc.o: tests/compile/%.cc $$(HEADERS)
	@mkdir -p $$(@D)
	@$(3) -std=c++17 -pedantic -Wall -Wextra -Werror -I. -c -o $$@ $$<

build/compile/$(1)/%: build/compile/$(1)/%.o
	@$(2) -o $$@ $$< $$(or $$(libs_$$*),$$(package_libs))
	@$$@

build/compile/$(1)/two_units: build/compile/$(1)/two_units_a.o build/compile/$(1)/two_units_b.o
	@$(2) -o $$@ $$^ $$(package_libs)
	@$$@

build/compile/$(1)/cxx: build/compile/$(1)/restate.cc.o build/compile/$(1)/two_units_a.o
	@$(3) -o $$@ $$^ $$(package_libs)
	@$$@
endef
libs_restate = -lc
libs_no_server = -lcjson -lprotobuf-nanopb -pthread
libs_no_cjson = -lnghttp2 -lprotobuf-nanopb -pthread
libs_no_threads = -lnghttp2 -lcjson -lprotobuf-nanopb
libs_bare = -lprotobuf-nanopb
$(eval $(call compile_tests,gcc,$(GCC),$(GXX)))
$(eval $(call compile_tests,clang,$(CLANG),$(CLANGXX)))

# The C++ layer: C++17 and C++20, without exceptions, and with a sanitizer.
CXX_PROGRAMS = gcc-17 gcc-20 clang-17 clang-20 gcc-none clang-none gcc-asan
CXX_EXAMPLES = gcc-17 gcc-20 clang-17 clang-20
cxx_gcc = $(GXX)
cxx_clang = $(CLANGXX)
cxx_17 = -std=c++17
cxx_20 = -std=c++20
cxx_none = -std=c++17 -fno-exceptions
cxx_asan = -std=c++17 $(ASAN)
cxx: $(CXX_PROGRAMS:%=build/cxx/%)
	$(call run_all,$^)
build/cxx/%: tests/layer.cc build/cxx/plain.o build/cxx/asan.o
	@$(cxx_$(firstword $(subst -, ,$*))) $(cxx_$(lastword $(subst -, ,$*))) -O1 -g $(CXX_WARN) -Werror -DRESTATE_WITH_TEST \
		-I. -o $@ $< build/cxx/$(if $(findstring asan,$*),asan,plain).o $(link)
build/cxx/example-%: examples/cpp.cc build/cxx/plain.o
	@$(cxx_$(firstword $(subst -, ,$*))) $(cxx_$(lastword $(subst -, ,$*))) -O1 -g $(CXX_WARN) -Werror -I. -o $@ $^ $(link)
cxx-examples: $(CXX_EXAMPLES:%=build/cxx/example-%)
build/cxx/plain.o build/cxx/asan.o: $(HEADERS)
	@mkdir -p $(@D)
	@$(compile) -O0 $(if $(findstring asan,$@),$(ASAN)) -DRESTATE_WITH_TEST -DRESTATE_IMPLEMENTATION -c -o $@ -x c restate.h

# Whose status has to be looked at.
checked: $(HEADERS)
	@COMPILERS='$(GCC) $(CLANG) $(GXX) $(CLANGXX)' FLAGS='$(package_flags) -I.' tests/checked.sh restate.h

# protoc-gen-restate: its output, its errors, and programs with it; TYPED=server: with a real server, too.
TYPED =
typed: build/protoc-gen-restate $(HEADERS)
	@GCC='$(GCC)' CLANG='$(CLANG)' GXX='$(GXX)' CLANGXX='$(CLANGXX)' STRICT='$(STRICT)' FLAGS='$(package_flags)' \
		LIBS='$(package_libs)' tests/typed.sh $(TYPED)

# C and Go call each other with the same messages; installs a Go if there is none.
interop: build/protoc-gen-restate $(HEADERS)
	@CC='$(CC)' STRICT='$(STRICT)' FLAGS='$(package_flags)' LIBS='$(package_libs)' tests/interop.sh || [ $$? = 77 ]

# What is refused, and older compilers and libraries that are not.
refused:
	@GCC='$(GCC)' CLANG='$(CLANG)' GXX='$(GXX)' CLANGXX='$(CLANGXX)' TCC='$(TCC)' FLAGS='$(package_flags) -I.' LIBS='$(package_libs)' tests/refused.sh

# ---- Firmware ----------------------------------------------------------------------------------------
# nanopb's own sources, as tests/setup.sh has got them: the library of this machine is for this machine.

NANOPB = build/nanopb
QEMU_ARM ?= qemu-system-arm
ARM_SIZE ?= arm-none-eabi-size

# For cores without an operating system. The object needs nothing but the C library, nanopb and the
# port's six functions.
CORES = cortex-m0 cortex-m3 cortex-m4 cortex-m7 cortex-m33
FIRMWARE_NEEDS = ^(pb_[a-z0-9_]+|restate_port_(signal_(new|give|take|free)|task_(new|join))|board_ms|__aeabi_[a-z0-9_]+|__gnu_thumb1_.*|mem(chr|cmp|cpy|move|set)|str(chr|cmp|cspn|len|ncmp|spn|str|tod)|v?s?n?f?printf|_impure_ptr|malloc|realloc|free|qsort|setjmp|longjmp|__assert_func)$$

firmware: $(HEADERS) firmware-size
	@mkdir -p build/compile/firmware
	@set -e; for core in $(CORES); do for clock in -DBOARD_CLOCK -UBOARD_CLOCK; do \
		object=build/compile/firmware/$$core$$clock.o; \
		$(ARM_GCC) -mcpu=$$core -mthumb -Os $(STRICT) -I$(NANOPB) -I. -c -o $$object tests/compile/firmware.c; \
		$(ARM_NM) -u $$object | awk '{ print $$2 }' | grep -Ev '$(FIRMWARE_NEEDS)' \
			&& { echo "$$core: the object needs more than firmware has"; exit 1; } || true; \
	done; done

# The example: the image for QEMU's board with a Cortex-M4, and the relay on this machine.
firmware_cc = $(ARM_GCC) -mcpu=cortex-m4 -mthumb -Os -ffunction-sections -fdata-sections -DNDEBUG
firmware_link = --specs=nano.specs -nostartfiles -Wl,--gc-sections -T examples/firmware/board.ld

$(NANOPB):
	@tests/setup.sh test
$(NANOPB)/%.c: | $(NANOPB) ;

build/firmware/pb_%.o: $(NANOPB)/pb_%.c
	@mkdir -p $(@D)
	$(firmware_cc) -I$(NANOPB) -c -o $@ $<

build/firmware/%.o: examples/firmware/%.c $(wildcard examples/firmware/*.h) $(HEADERS) | $(NANOPB)
	@mkdir -p $(@D)
	$(firmware_cc) $(STRICT) -I$(NANOPB) -c -o $@ $<

FIRMWARE_BOARD = board tasks pb_common pb_encode pb_decode
build/firmware/m4.elf: $(patsubst %,build/firmware/%.o,main services restate $(FIRMWARE_BOARD)) examples/firmware/board.ld
	$(firmware_cc) $(firmware_link) -Wl,--defsym=RAM_KB=64 -o $@ $(filter %.o,$^)

# Unit tests, as they are, on that processor. What they print needs the printf() of the larger newlib.
build/firmware/unit_%.elf: tests/unit_%.c $(wildcard tests/*.h tests/support/*.c) $(HEADERS) \
		$(patsubst %,build/firmware/%.o,$(FIRMWARE_BOARD)) examples/firmware/board.ld
	$(firmware_cc) $(subst --specs=nano.specs,,$(firmware_link)) -Wl,--defsym=RAM_KB=4096 -std=gnu99 -w -DNOT_SMALL \
		-include examples/firmware/sdk.h -I. -Itests -I$(NANOPB) -o $@ $< $(filter %.o,$^)

# $(1): a program with its words, the first being the name that it calls itself.
qemu_m4 = $(QEMU_ARM) -M mps2-an386 -nographic -monitor none -serial none \
	-semihosting-config enable=on,target=native,arg=$(1)
FIRMWARE_UNITS = unit_stream unit_journal unit_journal_run unit_journal_state
firmware-unit_%: build/firmware/unit_%.elf
	@$(call qemu_m4,unit_$*@m4) -kernel $<
firmware-units: $(FIRMWARE_UNITS:%=firmware-%)

# The image's endpoint without its relay: recorded journals, no memory, RAM, depths of stacks.
build/firmware/check.elf: tests/firmware.c tests/test.h tests/support/journal.c tests/support/allocator.c \
		$(wildcard examples/firmware/*.h) $(HEADERS) \
		$(patsubst %,build/firmware/%.o,services $(FIRMWARE_BOARD)) examples/firmware/board.ld
	$(firmware_cc) $(subst --specs=nano.specs,,$(firmware_link)) -Wl,--defsym=RAM_KB=64,--wrap=malloc,--wrap=calloc -std=gnu99 -w -I. -Itests -I$(NANOPB) \
		-o $@ $< $(filter %.o,$^)
firmware-check: build/firmware/check.elf
	@sed -nE 's/.*(X\(|\{ ")(restate_[a-z_]+)"?, ([0-9]+).*/\2 \3/p' tests/firmware.c | while read -r name most; do \
		sed -n '/^ \* ---- Firmware/,/^ \* ---- Eight/{s/,//g;p;}' restate.h | grep -Eq " $$name +$$most( |$$)" \
		|| { echo "the manual's table of stacks has not $$name with $$most"; exit 1; }; done
	@$(call qemu_m4,firmware-check) -kernel $<

# The journal by itself. (The linker script goes by the end of the name.)
build/firmware/journal-restate.o: tests/compile/journal.c $(wildcard examples/firmware/*.h) $(HEADERS) | $(NANOPB)
	@mkdir -p $(@D)
	$(firmware_cc) $(STRICT) -I. -I$(NANOPB) -c -o $@ $<

build/firmware/journal.elf: build/firmware/journal-restate.o $(patsubst %,build/firmware/%.o,$(FIRMWARE_BOARD)) \
		examples/firmware/board.ld
	$(firmware_cc) $(firmware_link) -Wl,--defsym=RAM_KB=64 -o $@ $(filter %.o,$^)

# What the example's image has of restate.h, and what the journal takes by itself, in bytes of code and
# constants. Raise it knowingly.
FIRMWARE_MOST = 40000
JOURNAL_MOST = 18500
firmware-size: build/firmware/m4.elf build/firmware/journal.elf
	@$(ARM_SIZE) -A $^ | awk '$$1 == ".restate" { ours[++n] = $$2 } $$1 == ".nanopb" { nanopb[n] = $$2 } $$1 == ".text" { rest[n] = $$2 } \
		END { printf "restate.h %d bytes (at most %d), nanopb %d, all else %d; the journal by itself %d (at most %d)\n", \
		ours[1], $(FIRMWARE_MOST), nanopb[1], rest[1], ours[2], $(JOURNAL_MOST); \
		exit n != 2 || ours[1] > $(FIRMWARE_MOST) || ours[2] > $(JOURNAL_MOST) }'

build/firmware/relay: examples/firmware/relay.c examples/firmware/link.h
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CPPFLAGS) $(CFLAGS) $(shell pkg-config --cflags libnghttp2) -o $@ $< \
		$(LDFLAGS) $(shell pkg-config --libs libnghttp2) $(LDLIBS)

# ---- The rest -----------------------------------------------------------------------------------------

# Servers and the sources of libraries stay: setup.sh got them, and checks the version.
clean:
	@for entry in build/*; do \
		case $$entry in build/server | build/servers | build/nanopb | build/nghttp2 | build/cjson) ;; *) rm -rf "$$entry" ;; esac; \
	done

help:
	@echo 'make all          the examples and the endpoint of the benchmarks, in build/'
	@echo 'make demo         installs what it takes, runs an example against a server, kills and restarts it'
	@echo 'make test         installs what it takes, runs every test and check'
	@echo 'make examples     build/examples/NAME of examples/NAME.c; that is a target, too'
	@echo 'make unit         unit tests; sanitize, tsan, valgrind: the same under those'
	@echo 'make build/test-services    the services that every SDK is tested with, in one program'
	@echo 'make e2e          examples and services against real servers (build/e2e -v PART-OF-A-NAME)'
	@echo 'make e2e-tsan     the same with ThreadSanitizer and four loops'
	@echo 'make scale        much of everything: memory, time, bounds (build/scale PART-OF-A-NAME)'
	@echo 'make e2e-memory   the cases of the contract without a server, against the runtime for tests'
	@echo 'make e2e-smoke    some of them, in less than a minute'
	@echo 'make soak         operations of every kind while processes die and connections break, TIME=240 seconds; every total is exact'
	@echo 'make servers      the same with every version of the server that npm carries'
	@echo 'make hostile      an endpoint under attack: memory, CPU and what others notice have bounds; h2spec; gets a Go if there is none'
	@echo 'make platforms    unit tests and end-to-end cases on other processors (qemu-user), with musl, C2x and tcc'
	@echo 'make everything   all warnings of clang, but for a list of those that are not wanted'
	@echo 'make mutants      breaks rules of every section on purpose; some test has to notice each'
	@echo 'make differential random handlers, journals, JSON and messages: all as with an earlier header'
	@echo 'make oracle       STEPS=1000000 random steps of the journal: all as with the reference, in Rust; needs cargo'
	@echo 'make fuzz         random input for all that reads input, TIME=60 seconds of it; installs what it takes'
	@echo 'make fuzz-check   so much of it as make test has, the same every time'
	@echo 'make fuzz-seeds   the valid input that this begins with, once'
	@echo 'make coverage     how many lines and branches of restate.h the unit tests reach (SECTION=journal, or all: lists the rest)'
	@echo 'make bench        the same requests posted to this and to other SDKs (tests/bench/bench.sh --help)'
	@echo 'make bench-e2e    calls through a real server, one to 256 at a time (tests/bench/e2e.sh --help)'
	@echo 'make bench-client what a call takes the client, and what the same request takes h2load'
	@echo 'make budget       the journal takes no more instructions than before (tests/bench/budget)'
	@echo 'make bench-check  the requests of the benchmarks get the right answers'
	@echo 'make strict       warnings of gcc and clang are errors; every way to include the header'
	@echo 'make checked      compilers warn of a forgotten status, where it can be a failure'
	@echo 'make cxx          the C++ layer, by g++ and clang++, C++17 and C++20'
	@echo 'make firmware     the header compiles for cores without an operating system, by arm-none-eabi-gcc'
	@echo 'make firmware-size the code in the image of examples/firmware is not more than it was'
	@echo 'make firmware-units  some unit tests on a Cortex-M4, in QEMU'
	@echo 'make firmware-check  that processor: recorded journals, no memory, RAM, depths of stacks'
	@echo 'make refused      what it cannot be compiled with is told in one sentence'
	@echo 'make typed        protoc-gen-restate: what it makes of many .proto files compiles and serves'
	@echo 'make interop      services in C and in Go call each other, through a real server; installs a Go if there is none'
	@echo 'make readme       the C code of README.md compiles'
	@echo 'make layers       sections of restate.h use earlier ones only'
	@echo 'make features     every capability has its tests, and they are there'
	@echo 'make symbols      only restate_... is exported'
	@echo 'make sizes        how much code there is by switch; sizes-check: whether a client that is not used is left out'
	@echo 'make wire         restate_wire.h out of proto/; wire-check: whether it is that already'
	@echo 'make install      the headers, protoc-gen-restate, restate.pc and a CMake package (PREFIX=/usr/local DESTDIR=)'
	@echo 'make shared       build/librestate.so, for other languages; install-shared: that, too'
	@echo 'make packages     tries all of these: pkg-config, CMake, Meson, a program in Python'
	@echo 'make clean        removes what was built, but for the server'

.PHONY: all mutants-made platforms cxx cxx-examples install install-headers install-plugin shared install-shared packages examples test demo unit sanitize tsan valgrind fuzz fuzz-check fuzz-seeds e2e e2e-tsan e2e-memory e2e-smoke soak servers mutants differential oracle coverage scale budget bench bench-e2e bench-client \
	bench-check wire wire-check layers license features sizes sizes-check \
	symbols readme typed interop strict strict-gcc strict-clang compile compile-gcc compile-clang checked firmware firmware-units firmware-check firmware-size refused clean help
.SECONDARY:
.DELETE_ON_ERROR:
