#!/usr/bin/env bash
# `make test`: everything, and one line in the end: "N passed, N failed".
#
# Programs with tests count as what their own last line says, checks count as one. A program that dies
# before its last line counts as one failure. Output is in build/test/NAME.log, and shown on failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
MAKE=${MAKE:-make}
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
SECONDS=0
passed=0 failed=0 skipped=0
failures=()                             # what failed, said once more at the end
logs=build/test

tests/setup.sh test || { echo "0 passed, 1 failed"; exit 1; }
rm -rf "$logs"
mkdir -p "$logs"

# The last line of NAME's log that sums it up; empty: there is none.
summary() { grep -E ': [0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$1" | grep -E "^$2: " | tail -n 1; }

count() { # NAME STATUS SECONDS: adds what the log of a test program says
    local line numbers
    line=$(summary "$logs/$1.log" "$1")
    if [ -z "$line" ]; then
        failed=$((failed + 1)) failures+=("$1 died (status $2): $(tail -n 1 "$logs/$1.log")")
        printf '%-28s died (status %s)\n' "$1" "$2"
        tail -n 40 "$logs/$1.log"
        return
    fi
    read -ra numbers <<<"$(tr -cs '0-9' ' ' <<<"${line##*: }")"
    passed=$((passed + numbers[0])) failed=$((failed + numbers[1])) skipped=$((skipped + ${numbers[2]:-0}))
    # A bad status though nothing failed: a leak, or an error that a sanitizer found in the end.
    if [ "$2" != 0 ] && [ "${numbers[1]}" = 0 ]; then
        failed=$((failed + 1))
        line="$line, but status $2"
    fi
    if [ "$2" != 0 ]; then failures+=("$1: ${line##*: } $(sed -n 's/^FAILED //p' "$logs/$1.log" | tr '\n' ' ')"); fi
    printf '%-28s %s, %d s\n' "$1" "${line##*: }" "$3"
    if [ "$2" != 0 ]; then grep -v ' passed, [0-9.]* s$' "$logs/$1.log" | tail -n 80; fi
}

execute() { # NAME COMMAND: keeps what it says, its status, and how many seconds it took
    local name=$1 begun=$SECONDS
    shift
    "$@" >"$logs/$name.log" 2>&1 </dev/null
    echo "$? $((SECONDS - begun))" >"$logs/$name.status"
}
# As many at a time as there are JOBS, besides what goes on in the background. What takes long is to begin first.
background=none                         # its process
running() { jobs -rp | grep -cvx "$background"; }
begin() { # COMMAND
    while [ "$(running)" -ge "$JOBS" ]; do wait -n; done
    "$@" &
}
finished() { while [ "$(running)" -gt 0 ]; do wait -n; done; }
finish() { # NAME...
    local name status seconds
    finished
    for name in "$@"; do
        read -r status seconds <"$logs/$name.status"
        count "$name" "$status" "$seconds"
    done
}
judge() { # NAME...: each is one test; status 77: skipped, for the reason it gives
    local name status seconds
    finished
    for name in "$@"; do
        read -r status seconds <"$logs/$name.status"
        if [ "$status" = 0 ]; then
            passed=$((passed + 1))
            printf '%-28s ok, %d s\n' "$name" "$seconds"
        elif [ "$status" = 77 ]; then
            skipped=$((skipped + 1))
            printf '%-28s skipped: %s\n' "$name" "$(tail -n 1 "$logs/$name.log")"
        else
            failed=$((failed + 1)) failures+=("$name failed: $(tail -n 1 "$logs/$name.log")")
            printf '%-28s FAILED\n' "$name"
            tail -n 40 "$logs/$name.log"
        fi
    done
}
heading() { printf -- '--- %s (%d s)\n' "$*" "$SECONDS"; }

# Builds what it can of its targets: what is missing then fails where it is used.
build() { "$MAKE" -k -s -j "$JOBS" "$@" >>"$logs/build.log" 2>&1; }
compiled() { "$MAKE" -s "$1" >>"$logs/build.log" 2>&1 || rm -f "$1"; }     # none from an earlier run

# Longest first: these, then the others.
units=(unit_journal_growth unit_process unit_server_stop unit_server_limits unit_json unit_context
       unit_context_runs unit_context_futures)
for source in tests/unit_*.c; do
    source=${source#tests/} source=${source%.c}
    case " ${units[*]} " in *" $source "*) ;; *) units+=("$source") ;; esac
done
threaded=()                             # only what has threads can have races
for unit in "${units[@]}"; do
    if grep -q '^/\* Has threads' "tests/$unit.c"; then threaded+=("$unit"); fi
done
sorted() { printf '%s\n' "$@" | LC_ALL=C sort; }

# Compiled and run as one job, so that one is compiled while another waits for something. In a variant,
# which may have words to put before, a unit test is called UNIT@VARIANT.
execute_variant() { # UNIT VARIANT WORDS...
    local unit=$1 name=$2
    shift 2
    compiled "build/$name/$unit"
    execute "$unit@$name" "$@" timeout 240 "build/$name/$unit"
    sed -i "s/^$unit: \\([0-9]* passed\\)/$unit@$name: \\1/" "$logs/$unit@$name.log"
}
execute_unit() { # UNIT
    compiled "build/$1"
    execute "$1" timeout 240 "build/$1"
}

heading "checks of the source"
for proto in examples/*.proto tests/proto/*.proto; do      # many need them: not to be made by two at once
    proto=${proto##*/}
    build "build/proto/${proto%.proto}.pb.h"
done
build build/proto/shop.restate.h
compile_gcc() {
    execute compile-gcc "$MAKE" -k -s compile-gcc
    execute symbols "$MAKE" -s symbols                  # of what compile-gcc has compiled
}
examples() {
    execute examples "$MAKE" -k -s CFLAGS='-O1 -g' all      # -O2 would take twice as long
    execute bench-check "$MAKE" -s bench-check          # of an endpoint that is among them
}
budget() {
    compiled build/bench-journal
    execute budget tests/bench/budget.sh
}
begin examples
begin budget
begin compile_gcc
begin execute typed "$MAKE" -s typed TYPED=server
for name in packages cxx strict-clang compile-clang strict-gcc refused checked readme firmware wire-check layers license features sizes-check mutants-made; do
    begin execute "$name" "$MAKE" -k -s "$name"
done
judge wire-check layers license features sizes-check mutants-made strict-gcc strict-clang compile-gcc compile-clang checked firmware refused \
    symbols readme examples bench-check budget packages cxx typed

heading "unit tests"
for unit in "${units[@]}"; do begin execute_unit "$unit"; done
mapfile -t names < <(sorted "${units[@]}")
finish "${names[@]}"

heading "unit tests on other processors"
execute platforms env "JOBS=$JOBS" tests/platforms.sh --units aarch64 i686
finish platforms
sed -n 's/^platforms: \(.* without .*\)/    \1/p' "$logs/platforms.log"

heading "without a server"
example() { # NAME
    compiled "build/examples/$1"
    execute "${1##*/}" timeout 60 "build/examples/$1"
}
e2e_memory() {
    compiled build/e2e-memory
    execute e2e-memory timeout 120 env E2E_NAME=e2e-memory build/e2e-memory
}
begin e2e_memory
for test in test_seats explore shop/test_shop; do begin example "$test"; done
judge test_seats explore test_shop
finish e2e-memory

# TSan does not start where addresses are randomised too much.
fixed=()
if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi
asan=(env ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1)
tsan=(env TSAN_OPTIONS=halt_on_error=0 ${fixed[@]+"${fixed[@]}"})
memcheck=(valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite)

# Drivers wait for most of their time, and each has servers of its own. Meanwhile the unit tests of the next part are
# compiled, by what drivers and servers leave of the processors.
heading "end to end, also with sanitizers, under valgrind, and with other ways to switch stacks"
build cxx-examples build/e2e build/e2e-services build/e2e-contract build/soak build/test-services build/firmware/relay build/firmware/m4.elf
streams=(no_server no_threads bare custom)      # without server, without threads, without both, with threads of a port
stacks=(ucontext thread port)                   # other ways to switch them
others=(build/poll/unit_process)
for name in "${streams[@]}"; do others+=("build/$name/unit_stream"); done
for name in "${stacks[@]}"; do others+=("build/$name/unit_execution"); done
for source in tests/fuzz/*.c; do
    source=${source#tests/fuzz/}
    others+=("build/fuzz/fuzz-${source%.c}")
done
meanwhile() {
    nice -n 19 "$MAKE" -k -s -j "$JOBS" "${units[@]/#/build/valgrind/}" "${units[@]/#/build/asan/}" "${threaded[@]/#/build/tsan/}" \
        "${others[@]}" >>"$logs/build.log" 2>&1
    execute oracle nice -n 19 tests/oracle.sh --steps 50000
}
meanwhile &
background=$!

drivers=()
driver() { # NAME SECONDS "PROGRAMS that it starts" WORDS...
    local name=$1 seconds=$2 program
    for program in $3; do compiled "build/$program"; done
    shift 3
    execute "$name" timeout "$seconds" env "E2E_NAME=$name" "$@"
}
begin_driver() {
    drivers+=("$1")
    begin driver "$@"
}
own=(chain delayed awakeable flaky cancel blocking promise signal attach futures selector hooks errors
     pause state mismatch told locker crash restart load)            # the cases of e2e-services
few=(chain delayed awakeable flaky cancel blocking promise signal futures crash)
JOBS=$((JOBS + 1))                      # see above: one more of them costs little time
begin_driver e2e-contract 900 '' E2E_BUT=cluster build/e2e-contract
begin_driver e2e 900 '' build/e2e
begin_driver soak 900 e2e-ledger SOAK_SECONDS=30 build/soak     # of trouble, four times
begin execute interop timeout 500 tests/interop.sh
begin_driver hostile 300 hostile build/hostile --short
begin_driver e2e-contract@cluster 600 '' E2E_MODES=cluster build/e2e-contract
begin_driver e2e-contract@asan 600 asan/test-services "${asan[@]:1}" E2E_BIN=build/asan E2E_MODES=default E2E_SCALE=20 \
    build/e2e-contract
begin_driver e2e@tsan 600 'tsan/e2e-services tsan/bench-client' TSAN_OPTIONS=halt_on_error=0 THREADS=4 \
    E2E_WRAP="${fixed[*]+"${fixed[*]}"}" E2E_BIN=build/tsan E2E_MODES=default,suspend E2E_SCALE=20 build/e2e "${own[@]}"
begin_driver e2e@asan 600 'asan/e2e-services asan/bench-client' "${asan[@]:1}" E2E_BIN=build/asan \
    E2E_MODES=default,suspend E2E_SCALE=20 build/e2e "${own[@]}"
begin_driver e2e@valgrind 600 valgrind/e2e-services E2E_WRAP="${memcheck[*]}" E2E_BIN=build/valgrind E2E_MODES=default \
    E2E_SCALE=5 build/e2e "${few[@]}"
for name in "${stacks[@]}"; do
    begin_driver "e2e@$name" 300 "$name/e2e-services" "E2E_BIN=build/$name" E2E_MODES=default E2E_SCALE=20 build/e2e "${few[@]}"
done
finish "${drivers[@]}"
JOBS=$((JOBS - 1))
judge interop
wait "$background"
background=none
judge oracle

heading "unit tests with sanitizers, under valgrind, and in other variants"
begin execute fuzz-check "$MAKE" -s fuzz-check
begin execute_variant unit_process poll                 # loops and supervisor as on systems without epoll
for unit in "${units[@]}"; do
    begin execute_variant "$unit" valgrind "${memcheck[@]}"
    begin execute_variant "$unit" asan "${asan[@]}"
    case " ${threaded[*]} " in *" $unit "*) begin execute_variant "$unit" tsan "${tsan[@]}" ;; esac
done
for name in "${streams[@]}"; do begin execute_variant unit_stream "$name"; done
for name in "${stacks[@]}"; do begin execute_variant unit_execution "$name"; done
board=(unit_stream unit_journal unit_journal_run unit_journal_state)    # in an emulator
begin execute firmware-check timeout 120 "$MAKE" -s firmware-check
for unit in "${board[@]}"; do begin execute "$unit@m4" timeout 240 "$MAKE" -s "firmware-$unit"; done
mapfile -t names < <(sorted "${units[@]/%/@asan}"; sorted "${threaded[@]/%/@tsan}"; sorted "${units[@]/%/@valgrind}")
finish "${names[@]}" unit_process@poll "${streams[@]/#/unit_stream@}" "${stacks[@]/#/unit_execution@}" "${board[@]/%/@m4}" firmware-check
judge fuzz-check

heading "done"
if [ -s "$logs/build.log" ] && [ "$failed" -gt 0 ]; then head -n 40 "$logs/build.log"; fi
if [ "$failed" -gt 0 ]; then printf '%s\n' "${failures[@]}"; fi
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ]
