#!/usr/bin/env bash
# `make platforms`: the unit programs, and end-to-end cases with a real server, for other processors (under
# qemu-user), another C library, other compilers and a later C.
#
#   tests/platforms.sh [--units] [--only PART-OF-A-NAME] [PLATFORM...]     default: all of the table below
#
#   --units    the unit programs alone, and most of them not optimised, as in `make test`
#   --only     unit programs of such a name alone
#
# tests/setup.sh installs compilers and the emulator. For other processors and musl the libraries are compiled from
# Debian's sources, and all is linked statically: no library of a foreign architecture is installed. Programs are in
# build/platforms/PLATFORM. What cannot work on a platform is left out, which is said with its reason, and counted
# as skipped. The last line is "platforms: N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit
MAKE=${MAKE:-make}
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
SECONDS=0
passed=0 failed=0 skipped=0

# platform, compiler, emulator (-: this machine executes it), C, libraries
table='aarch64 aarch64-linux-gnu-gcc qemu-aarch64 c99 own
i686 i686-linux-gnu-gcc - c99 own
armhf arm-linux-gnueabihf-gcc qemu-arm c99 own
s390x s390x-linux-gnu-gcc qemu-s390x c99 own
riscv64 riscv64-linux-gnu-gcc qemu-riscv64 c99 own
musl musl-gcc - c99 own
gcc-c2x gcc - c2x system
clang-c2x clang - c2x system
tcc tcc - c99 system'

say() { printf 'platforms: %s\n' "$*"; }
known() { awk -v p="$1" '$1 == p { found = 1; print } END { exit !found }' <<<"$table"; }

# Why a unit program cannot work there; fails if it can.
left_out() { # UNIT: on the platform that is chosen
    case $platform.$1 in
        tcc.unit_journal_growth) ;;
        tcc.unit_journal* | tcc.unit_json | tcc.unit_wire | tcc.unit_execution_canary) return 1 ;;
    esac
    [ "$platform" != tcc ] || { echo "uses threads, or tcc 0.9.27 does not compile the test"; return; }
    case $1 in
        unit_identity | *_tls) [ "$libraries" = system ] || { echo "there is no OpenSSL for it"; return; } ;;
    esac
    [ "$emulator" = - ] && return 1
    case $1 in
        unit_process | unit_execution_crash) echo "signals of crashes are the emulator's" ;;
        unit_context_stop | unit_server_limits | unit_server_stop | unit_server_scale) echo "looks at times and limits of a real machine" ;;
        unit_journal_growth | unit_test_explore) [ -n "$quick" ] && echo "takes long in an emulator: make platforms has it" ;;
        *) return 1 ;;
    esac
}

choose() { # PLATFORM: its row, and what make is told
    read -r platform compiler emulator c libraries <<<"$(known "$1")" || return
    [ "$1" != i686 ] || [ "$(uname -m)" = x86_64 ] || emulator=qemu-i386
    dir=build/platforms/$platform
    tell=("PLATFORM=$platform" "CC=$compiler" "STD=-std=$c" "WARN=-Wall -Wextra -Werror" CFLAGS=-O1)
    [ "$libraries" = system ] || tell+=(
        'package_flags=-Ibuild -Ibuild/nghttp2/includes -Ibuild/nanopb -DNGHTTP2_STATICLIB'
        "package_libs=-static $dir/libraries.a -pthread")
    [ "$compiler" != clang ] || tell+=(WARN=-Wall)      # it has opinions on the tests; strict-clang judges the header
    [ "$platform" != tcc ] || tell+=(CPPFLAGS=-DRESTATE_NO_THREADS)
    [ "$emulator" = - ] || tell+=(CPPFLAGS=-DTEST_EMULATED)     # for tests that look at the time something takes
    [ -n "$quick" ] || tell+=(PLATFORM_OPTIMISED=%)
}
compile() { "$MAKE" -s "${tell[@]}" "$@"; }

# The libraries are not ours: their warnings are not looked at.
compile_library() { # FILE.c
    local object=${1##*/}
    "$compiler" -O2 -w -Ibuild/nghttp2/includes -Ibuild/nanopb -DNGHTTP2_STATICLIB -DHAVE_ARPA_INET_H -DHAVE_NETINET_IN_H \
        -c -o "$dir/libraries/${object%.c}.o" "$1"
}
compile_libraries() {
    local file
    [ "$libraries" = own ] && [ ! "$dir/libraries.a" -nt build/nghttp2/nghttp2_session.c ] || return 0
    rm -rf "$dir"                               # what is linked with those that were there
    mkdir -p "$dir/libraries"
    for file in build/nghttp2/*.c build/cjson/*.c build/nanopb/*.c; do
        begin compile_library "$file"
    done
    wait
    "$("$compiler" -print-prog-name=ar)" rcs "$dir/libraries.a" "$dir"/libraries/*.o
}

begin() { # COMMAND
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
    "$@" &
}

execute() { # UNIT: its log says how it went
    local words=()
    [ "$emulator" = - ] || words=("$emulator")
    compile "$dir/$1" >"$dir/$1.log" 2>&1 &&
        timeout 400 ${words[@]+"${words[@]}"} "$dir/$1" >>"$dir/$1.log" 2>&1 </dev/null
    echo $? >"$dir/$1.status"
}
units() {
    local source unit units=() good=0 why before=$SECONDS
    mkdir -p "$dir"
    for source in tests/unit_*.c; do
        case $source in *"$only"*) ;; *) continue ;; esac
        unit=${source#tests/} unit=${unit%.c}
        if why=$(left_out "$unit"); then
            say "$platform without $unit: $why"
            skipped=$((skipped + 1))
            continue
        fi
        units+=("$unit")
        rm -f "$dir/$unit.status"
        begin execute "$unit"
    done
    wait
    for unit in ${units[@]+"${units[@]}"}; do
        if [ "$(cat "$dir/$unit.status")" = 0 ]; then
            good=$((good + 1))
        else
            failed=$((failed + 1))
            say "FAILED $platform $unit"
            grep -v ' passed, [0-9.]* s$' "$dir/$unit.log" | tail -n 12
        fi
    done
    passed=$((passed + good))
    say "$platform: $good of ${#units[@]} unit programs passed ($((SECONDS - before)) s)"
}

# A real server calls services of this platform, whose process is killed meanwhile. tcc has no threads, which these use.
end_to_end() {
    local driver=e2e@$platform status line numbers words='' before=$SECONDS
    [ -z "$quick$only" ] && [ "$platform" != tcc ] || return 0
    [ "$emulator" = - ] || words=$emulator
    compile "$dir/e2e-services" "$dir/examples/greeter" >"$dir/$driver.log" 2>&1
    timeout 300 env "E2E_NAME=$driver" "E2E_WRAP=$words" "E2E_BIN=$dir" E2E_MODES=default E2E_SCALE=20 \
        build/e2e greeter chain crash >>"$dir/$driver.log" 2>&1 </dev/null
    status=$?
    line=$(grep -E "^$driver: [0-9]+ passed, [0-9]+ failed$" "$dir/$driver.log" | tail -n 1)
    read -ra numbers <<<"$(tr -cs '0-9' ' ' <<<"${line##*: }")"
    if [ "$status" != 0 ] || [ -z "$line" ]; then
        say "FAILED $driver"
        tail -n 20 "$dir/$driver.log"
    fi
    passed=$((passed + ${numbers[0]:-0})) failed=$((failed + ${numbers[1]:-1}))
    say "$driver: ${numbers[0]:-0} passed, ${numbers[1]:-1} failed ($((SECONDS - before)) s)"
}

# What is no platform but a check of the source: all of clang's warnings.
everything() {
    if "$MAKE" -s everything >build/platforms/everything.log 2>&1; then
        passed=$((passed + 1))
        say "clang -Weverything: ok"
    else
        failed=$((failed + 1))
        say "FAILED clang -Weverything"
        grep -E 'error:' build/platforms/everything.log | head -n 12
    fi
}

quick='' only=''
while true; do
    case ${1:-} in
        --units) quick=1; shift ;;
        --only) only=$2; shift 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- $(cut -d' ' -f1 <<<"$table") everything


if [ -n "$quick" ]; then tests/setup.sh test || exit; else tests/setup.sh platforms || exit; fi
for proto in examples/*.proto tests/proto/*.proto; do      # many need them: not to be made by two at once
    proto=${proto##*/}
    "$MAKE" -s "build/proto/${proto%.proto}.pb.h" || exit
done
[ -n "$quick$only" ] || "$MAKE" -s build/e2e || exit
mkdir -p build/platforms

for name; do
    if [ "$name" = everything ]; then everything; continue; fi
    known "$name" >/dev/null || { say "there is no platform $name"; failed=$((failed + 1)); continue; }
    choose "$name"
    compile_libraries || { failed=$((failed + 1)); continue; }
    units
    end_to_end
done
if [ "$skipped" -gt 0 ]; then
    say "$passed passed, $failed failed, $skipped skipped"
else
    say "$passed passed, $failed failed"
fi
[ "$failed" = 0 ]
