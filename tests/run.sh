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
logs=build/test

tests/setup.sh test || { echo "0 passed, 1 failed"; exit 1; }
rm -rf "$logs"
mkdir -p "$logs"

# The last line of NAME's log that sums it up; empty: there is none.
summary() { grep -E ': [0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$1" | grep -E "^$2: " | tail -n 1; }

count() { # NAME STATUS: adds what the log of a test program says
    local line numbers
    line=$(summary "$logs/$1.log" "$1")
    if [ -z "$line" ]; then
        failed=$((failed + 1))
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
    printf '%-28s %s\n' "$1" "${line##*: }"
    if [ "$2" != 0 ]; then grep -v ' passed, [0-9.]* s$' "$logs/$1.log" | tail -n 80; fi
}

execute() { # NAME COMMAND: keeps what it says, and its status
    local name=$1
    shift
    "$@" >"$logs/$name.log" 2>&1 </dev/null
    echo $? >"$logs/$name.status"
}
program() { # NAME COMMAND: a test program that calls itself NAME
    execute "$@"
    count "$1" "$(cat "$logs/$1.status")"
}

# As many at a time as there are JOBS.
begin() { # COMMAND
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
    "$@" &
}
finish() { # NAME...
    local name
    wait
    for name in "$@"; do count "$name" "$(cat "$logs/$name.status")"; done
}
check() { # NAME COMMAND: one test; status 77: skipped, for the reason it gives
    local name=$1 status=0
    shift
    "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        printf '%-28s ok\n' "$name"
    elif [ "$status" = 77 ]; then
        skipped=$((skipped + 1))
        printf '%-28s skipped: %s\n' "$name" "$(tail -n 1 "$logs/$name.log")"
    else
        failed=$((failed + 1))
        printf '%-28s FAILED\n' "$name"
        tail -n 40 "$logs/$name.log"
    fi
}
heading() { printf -- '--- %s (%d s)\n' "$*" "$SECONDS"; }

# Builds what it can of its targets: what is missing then fails where it is used.
build() { "$MAKE" -k -s -j "$JOBS" "$@" >>"$logs/build.log" 2>&1; }

units=()
for source in tests/unit_*.c; do
    if [ -e "$source" ]; then source=${source#tests/}; units+=("${source%.c}"); fi
done

# The same in a variant, with words to put before: it is then called UNIT@VARIANT.
execute_variant() { # UNIT VARIANT WORDS...
    local unit=$1 name=$2
    shift 2
    execute "$unit@$name" "$@" timeout 240 "build/$name/$unit"
    sed -i "s/^$unit: \\([0-9]* passed\\)/$unit@$name: \\1/" "$logs/$unit@$name.log"
}
variant_of() { # UNIT VARIANT WORDS...
    execute_variant "$@"
    count "$1@$2" "$(cat "$logs/$1@$2.status")"
}
variant() { # VARIANT WORDS...
    local unit
    for unit in ${units[@]+"${units[@]}"}; do begin execute_variant "$unit" "$@"; done
    finish "${units[@]/%/@$1}"
}

heading "checks of the source"
check wire-check "$MAKE" -s wire-check
check layers "$MAKE" -s layers
check license "$MAKE" -s license
check features "$MAKE" -s features
check strict-gcc "$MAKE" -s strict-gcc
check strict-clang "$MAKE" -s strict-clang
check compile-gcc "$MAKE" -k -s -j "$JOBS" compile-gcc
check compile-clang "$MAKE" -k -s -j "$JOBS" compile-clang
check checked "$MAKE" -s checked
check firmware "$MAKE" -s firmware
check refused "$MAKE" -s refused
check symbols "$MAKE" -s symbols
check readme "$MAKE" -s readme
check examples "$MAKE" -k -s -j "$JOBS" all
check bench-check "$MAKE" -s bench-check
"$MAKE" -s build/bench-journal >>"$logs/build.log" 2>&1
check budget tests/bench/budget.sh

heading "unit tests"
build "${units[@]/#/build/}" build/e2e build/e2e-services build/e2e-contract build/test-services
for unit in ${units[@]+"${units[@]}"}; do begin execute "$unit" timeout 240 "build/$unit"; done
finish ${units[@]+"${units[@]}"}

# TSan does not start where addresses are randomised too much.
fixed=()
if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi
asan=(env ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1)
tsan=(env TSAN_OPTIONS=halt_on_error=0 ${fixed[@]+"${fixed[@]}"})
memcheck=(valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite)

heading "unit tests with sanitizers, and under valgrind"
build "${units[@]/#/build/asan/}" build/asan/e2e-services build/asan/test-services
variant asan "${asan[@]}"
check fuzz-seeds "${asan[@]}" "$MAKE" -s fuzz-seeds
all=("${units[@]}") units=()            # only what has threads can have races
for unit in "${all[@]}"; do
    if grep -q '^/\* Has threads' "tests/$unit.c"; then units+=("$unit"); fi
done
build "${units[@]/#/build/tsan/}" build/tsan/e2e-services
variant tsan "${tsan[@]}"
units=("${all[@]}")
build "${units[@]/#/build/valgrind/}" build/valgrind/e2e-services
variant valgrind "${memcheck[@]}"

heading "streams without server, without threads, without both, with threads of a port"
build build/no_server/unit_stream build/no_threads/unit_stream build/bare/unit_stream build/custom/unit_stream
for name in no_server no_threads bare custom; do variant_of unit_stream "$name"; done

heading "loops and supervisor over poll(), as on systems without epoll"
build build/poll/unit_process
variant_of unit_process poll

heading "end to end"
program e2e timeout 400 env E2E_NAME=e2e build/e2e
program e2e-contract timeout 720 env E2E_NAME=e2e-contract build/e2e-contract

heading "end to end, endpoints with sanitizers and under valgrind"
own=(chain delayed awakeable flaky cancel blocking promise signal attach futures selector hooks errors
     pause state mismatch crash restart load)                               # the cases of e2e-services
program e2e@asan timeout 300 "${asan[@]}" E2E_NAME=e2e@asan E2E_BIN=build/asan E2E_MODES=default,suspend \
    E2E_SCALE=20 build/e2e "${own[@]}"
program e2e-contract@asan timeout 300 "${asan[@]}" E2E_NAME=e2e-contract@asan E2E_BIN=build/asan E2E_MODES=default \
    E2E_SCALE=20 build/e2e-contract
program e2e@tsan timeout 300 env TSAN_OPTIONS=halt_on_error=0 THREADS=4 E2E_WRAP="${fixed[*]+"${fixed[*]}"}" \
    E2E_NAME=e2e@tsan E2E_BIN=build/tsan E2E_MODES=default,suspend E2E_SCALE=20 build/e2e "${own[@]}"
own=(chain delayed awakeable flaky cancel blocking promise signal futures crash)
program e2e@valgrind timeout 300 env E2E_WRAP="${memcheck[*]}" E2E_NAME=e2e@valgrind E2E_BIN=build/valgrind \
    E2E_MODES=default E2E_SCALE=5 build/e2e "${own[@]}"

heading "other ways to switch stacks"
for how in ucontext thread port; do
    build "build/$how/unit_execution" "build/$how/e2e-services"
    if [ -e tests/unit_execution.c ]; then variant_of unit_execution "$how" env; fi
    program "e2e@$how" timeout 100 env "E2E_NAME=e2e@$how" "E2E_BIN=build/$how" E2E_MODES=default E2E_SCALE=20 \
        build/e2e "${own[@]}"
done

heading "done"
if [ -s "$logs/build.log" ] && [ "$failed" -gt 0 ]; then head -n 40 "$logs/build.log"; fi
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ]
