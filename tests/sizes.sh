#!/bin/sh
# Text sizes by switch: code and constants, optimised for size, without tables for unwinding.
#
#   tests/sizes.sh              prints them: of the header by switch, then of a program that only serves
#   tests/sizes.sh --check      1 if that program has 1,024 bytes or more of the client, which it does not use
#
# CC and FLAGS (of the packages) are taken from the environment; what is linked with is in LIBS.
set -eu
cd "$(dirname "$0")/.."
: "${CC:=gcc}"
flags="-std=c99 -Os -fno-asynchronous-unwind-tables -w -I. ${FLAGS-$(pkg-config --cflags libnghttp2 libcjson)}"
libs="${LIBS-$(pkg-config --libs libnghttp2 libcjson) -lprotobuf-nanopb -pthread}"
unused=1024
mkdir -p build
object=build/sizes.$$
trap 'rm -f "$object"' EXIT

text() { size "$object" | awk 'NR == 2 { print $1 }'; }

header() { # SWITCHES
    # shellcheck disable=SC2086
    $CC $flags -DRESTATE_IMPLEMENTATION $1 -c -o "$object" -x c restate.h
    text
}

program() { # SWITCHES; examples/counter.c
    # shellcheck disable=SC2086
    $CC $flags $1 -o "$object" examples/counter.c $libs
    text
}

gc="-ffunction-sections -fdata-sections -Wl,--gc-sections"

check() {
    with=$(program "$gc") without=$(program "$gc -DRESTATE_NO_CLIENT")
    [ $((with - without)) -lt $unused ] && return
    echo "a program that only serves has $((with - without)) bytes of the client: $with, without $without" >&2
    exit 1
}

row() { printf '| %s | %d |\n' "$1" $((($2 + 512) / 1024)); }

if [ "${1-}" = --check ]; then
    check
    exit
fi
echo '| the header with | KiB |'
echo '|---|---|'
row 'no switch' "$(header '')"
for switches in -DRESTATE_NO_CLIENT -DRESTATE_NO_SERVER -DRESTATE_NO_THREADS '-DRESTATE_NO_SERVER -DRESTATE_NO_THREADS' \
    -DRESTATE_NO_CJSON -DRESTATE_WITH_TEST -DRESTATE_WITH_OPENSSL; do
    row "\`$switches\`" "$(header "$switches")"
done
echo
echo '| examples/counter.c, linked | KiB |'
echo '|---|---|'
row 'no switch' "$(program '')"
row '`-DRESTATE_NO_CLIENT`' "$(program -DRESTATE_NO_CLIENT)"
row "\`$gc\`" "$(program "$gc")"
row 'both' "$(program "$gc -DRESTATE_NO_CLIENT")"
