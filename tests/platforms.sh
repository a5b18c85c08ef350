#!/usr/bin/env bash
# `make platforms`: the unit programs on other architectures, under qemu-user.
#
#   tests/platforms.sh [--only PART-OF-A-NAME] [ARCHITECTURE...]     default: all of the table below
#
# On Debian, as root, it installs the cross compilers and libraries that it needs. Programs are in
# build/platforms/ARCHITECTURE. What cannot work there is left out with its reason (left_out).
# The last line is "platforms: N passed, N failed": of unit programs.
set -uo pipefail
cd "$(dirname "$0")/.."

# architecture, Debian's name of it, triplet, emulator (none: this machine executes it)
table='aarch64 arm64 aarch64-linux-gnu qemu-aarch64
armhf armhf arm-linux-gnueabihf qemu-arm
i686 i386 i686-linux-gnu -
s390x s390x s390x-linux-gnu qemu-s390x'

say() { printf 'platforms: %s\n' "$*"; }
row() { awk -v a="$1" '$1 == a' <<<"$table"; }

# qemu-user does not emulate what these look at; i686 runs on this machine's kernel, and does.
left_out() { # UNIT ARCHITECTURE
    case $1 in
        unit_identity | *_tls) echo "OpenSSL is not installed for it"; return 0 ;;
    esac
    [ "$2" = i686 ] && return 1
    case $1 in
        unit_process | unit_execution_crash) echo "signals of crashes are the emulator's" ;;
        unit_server* | unit_client* | unit_context_stop) echo "times limits of a real machine" ;;
        *) return 1 ;;
    esac
}

install() { # DEBIAN TRIPLET
    local packages="gcc-$2 qemu-user libnghttp2-dev:$1 libcjson-dev:$1 libnanopb-dev:$1" missing='' p
    for p in $packages; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || { say "missing:$missing (as root: dpkg --add-architecture $1 && apt-get install$missing)"; return 1; }
    say "installing$missing"
    dpkg --add-architecture "$1"
    # shellcheck disable=SC2086  # a list of words
    { apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; } \
        </dev/null >>build/platforms/setup.log 2>&1 || { tail -n 5 build/platforms/setup.log; return 1; }
}

execute() { # UNIT ARCHITECTURE TRIPLET EMULATOR: its log says how it went
    local dir=build/platforms/$2 unit=$1 libs='-lnghttp2 -lcjson -lprotobuf-nanopb -pthread' flags='' emulator=$4
    case $unit in
        unit_proto | unit_context_payloads) flags=-Ibuild/proto ;;
    esac
    [ "$emulator" != - ] || emulator=
    # shellcheck disable=SC2046,SC2086
    nice "$3-gcc" -std=c99 -Wall -Wextra -O1 -fstack-clash-protection -DRESTATE_STATIC $flags -I. -Itests $(pkg-config --cflags libcjson) -pthread \
        -o "$dir/$unit" "tests/$unit.c" $libs >"$dir/$unit.log" 2>&1 &&
        timeout 400 $emulator "$dir/$unit" >>"$dir/$unit.log" 2>&1 </dev/null
    echo $? >"$dir/$unit.status"
}

only=
if [ "${1:-}" = --only ]; then only=$2; shift 2; fi
[ $# -gt 0 ] || set -- $(cut -d' ' -f1 <<<"$table")
jobs=${JOBS:-$(nproc)} passed=0 failed=0
mkdir -p build/platforms
for proto in examples/*.proto tests/proto/*.proto; do
    proto=${proto##*/}
    "${MAKE:-make}" -s "build/proto/${proto%.proto}.pb.h" || exit
done

for arch; do
    read -r _ debian triplet emulator <<<"$(row "$arch")"
    [ -n "${debian:-}" ] || { say "no architecture $arch"; failed=$((failed + 1)); continue; }
    install "$debian" "$triplet" || { failed=$((failed + 1)); continue; }
    mkdir -p "build/platforms/$arch"
    units=() good=0
    for source in tests/unit_*"$only"*.c; do
        unit=${source#tests/} unit=${unit%.c}
        why=$(left_out "$unit" "$arch") && { say "$arch without $unit: $why"; continue; }
        units+=("$unit")
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
        execute "$unit" "$arch" "$triplet" "$emulator" &
    done
    wait
    for unit in "${units[@]}"; do
        if [ "$(cat "build/platforms/$arch/$unit.status")" = 0 ]; then
            good=$((good + 1))
        else
            failed=$((failed + 1))
            say "FAILED $arch $unit"
            grep -v ' passed, [0-9.]* s$' "build/platforms/$arch/$unit.log" | tail -n 12
        fi
    done
    passed=$((passed + good))
    say "$arch: $good of ${#units[@]} unit programs passed"
done
echo "platforms: $passed passed, $failed failed"
[ "$failed" = 0 ]
