#!/usr/bin/env bash
# `make packages`: what `make install`, `make shared` and examples/cmake, examples/meson promise.
#
# Each way to get restate.h builds examples/greeter.c, and examples/shop with protoc-gen-restate. The
# shared library has the functions that the header declares and no other, and serves a handler that is
# written in Python (tests/binding.py).
# The last line is "packages: N passed, N failed".
#
# Environment: CC, MAKE, VERSION (of restate.h).
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
CC=${CC:-cc} MAKE=${MAKE:-make}
work=$(mktemp -d "${TMPDIR:-/tmp}/restate-packages.XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
unset MAKEFLAGS MAKELEVEL

try() { # NAME COMMAND
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        tail -n 30 "$work/log"
    fi
}

# It is that program: it says where it listens.
listens() { # PROGRAM
    PORT=65535 timeout 20 "$1" >"$work/out" 2>&1 &
    local pid=$!
    for _ in $(seq 1 200); do
        if grep -q 'listening on' "$work/out"; then kill "$pid"; wait "$pid" 2>/dev/null; return 0; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    cat "$work/out"
    return 1
}

# What is installed below DIR: all of it, or without FILE.
has_files() { # DIR [FILE]
    (cd "$1" && find . -type f | LC_ALL=C sort >"$work/files") &&
        printf './%s\n' bin/protoc-gen-restate include/restate.h include/restate/options.proto include/restate_wire.h \
            lib/cmake/restate/restateConfig.cmake lib/cmake/restate/restateConfigVersion.cmake lib/pkgconfig/restate.pc |
        grep -vx "./${2-}" | diff - "$work/files"
}
installed() {
    "$MAKE" -s install PREFIX=/opt/restate DESTDIR="$work/root" && has_files "$work/root/opt/restate" &&
        "$MAKE" -s install PREFIX="$work/prefix"
}
# From sources where nothing is built, by someone who has no compiler of protobuf's; and without a compiler of C.
installed_bare() {
    mkdir "$work/sources" "$work/none"
    for tool in protoc nanopb_generator.py; do
        printf '#!/bin/sh\necho "%s is called"\nexit 1\n' $tool >"$work/none/$tool"
        chmod +x "$work/none/$tool"
    done
    cp -r Makefile restate.h restate_wire.h proto examples "$work/sources"
    PATH=$work/none:$PATH "$MAKE" -s -C "$work/sources" install PREFIX="$work/bare" && has_files "$work/bare" &&
        "$MAKE" -s -C "$work/sources" install PREFIX="$work/barest" BUILD_CC=no-such-compiler >"$work/said" &&
        grep -q 'no compiler no-such-compiler' "$work/said" && has_files "$work/barest" bin/protoc-gen-restate
}
by_pkg_config() {
    local flags
    export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig
    [ "$(pkg-config --modversion restate)" = "$VERSION" ] || { echo "restate.pc has another version"; return 1; }
    flags=$(pkg-config --cflags --libs restate)
    # shellcheck disable=SC2086  # a list of words
    (cd "$work" && $CC -std=c99 -o by_pkg_config "$root/examples/greeter.c" $flags) && listens "$work/by_pkg_config"
}
# Typed services, by what is installed and nothing of the sources: protoc finds the plugin by PATH, or is told.
typed_by_pkg_config() {
    local flags proto plugin
    export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig
    flags=$(pkg-config --cflags --libs restate) proto=$(pkg-config --variable=protodir restate)
    plugin=$(pkg-config --variable=protoc_gen_restate restate)
    mkdir -p "$work/typed/told"
    cp examples/shop/* "$work/typed"
    (
        cd "$work/typed" || exit
        nanopb_generator.py -q -I . -I "$proto" -D told "--protoc-opt=--plugin=$plugin" --protoc-opt=--restate_out=told shop.proto &&
            PATH=$work/prefix/bin:$PATH nanopb_generator.py -q -I . -I "$proto" -D . --protoc-opt=--restate_out=. shop.proto &&
            cmp shop.restate.h told/shop.restate.h || exit
        # shellcheck disable=SC2086  # a list of words
        $CC -std=c99 -I. -o server server.c stock.c orders.c sales.c bank.c shop.pb.c $flags && listens ./server
    )
}
by_cmake() { # NAME ARGUMENTS
    local name=$1
    shift
    cmake -S examples/cmake -B "$work/$name" "$@" && cmake --build "$work/$name" && listens "$work/$name/greeter"
}
typed_by_cmake() { # NAME ARGUMENTS
    local name=$1
    shift
    cmake -S examples/shop -B "$work/$name" "$@" && cmake --build "$work/$name" -j 2 && listens "$work/$name/server"
}
# Of two versions: which does the package take for which?
cmake_versions() {
    local found want answer
    while read -r want answer; do
        mkdir -p "$work/versions"
        printf 'cmake_minimum_required(VERSION 3.14)\nproject(x C)\nfind_package(restate %s)\nmessage("found=${restate_FOUND}")\n' \
            "$want" >"$work/versions/CMakeLists.txt"
        rm -rf "$work/versions/build"
        found=$(cmake -S "$work/versions" -B "$work/versions/build" -DCMAKE_PREFIX_PATH="$work/prefix" 2>&1 | grep -c 'found=\(1\|TRUE\)')
        [ "$found" = "$answer" ] || { echo "find_package(restate $want): $found, not $answer"; return 1; }
    done <<-END
	${VERSION%.*} 1
	$VERSION 1
	99.0 0
	${VERSION%%.*}.99 0
	END
}
by_meson() { # NAME ARGUMENTS
    local name=$1
    shift
    meson setup "$@" "$work/$name" examples/meson && meson compile -C "$work/$name" && listens "$work/$name/greeter"
}
# What git clones is the last commit; FetchContent is tried with it.
by_fetch() { by_cmake fetched -DRESTATE_GIT="$root" -DRESTATE_TAG="$(git rev-parse HEAD)"; }

declared() {
    { sed '/^\/\/ >>platform/q' restate.h; } | tr '\n' ' ' | grep -oE 'RESTATE_API [^;{(]*\(' |
        sed 's/($//; s/.*[ *]//' | grep -E '^restate_' | sort -u
}
exported() { nm -D --defined-only build/librestate.so | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u; }
symbols() {
    declared | grep -v '^restate_test_' >"$work/declared"        # with RESTATE_WITH_TEST only
    exported >"$work/exported"
    diff "$work/declared" "$work/exported"
}
# A program that is linked with the library, and asks whether header and library are of one version.
by_library() {
    "$MAKE" -s install-shared PREFIX="$work/prefix" || return
    cat >"$work/version.c" <<-'END'
	#include <restate.h>
	int main(void) { return restate_version() != RESTATE_VERSION; }
	END
    local flags
    flags=$(PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig pkg-config --cflags --libs restate-shared)
    # shellcheck disable=SC2086
    $CC -std=c99 -o "$work/version" "$work/version.c" $flags && LD_LIBRARY_PATH=$work/prefix/lib "$work/version"
}
by_python() { tests/server.sh run -- python3 tests/binding.py build/librestate.so; }

try install installed
try install-bare installed_bare
try pkg-config by_pkg_config
try typed-pkg-config typed_by_pkg_config
try cmake-installed by_cmake installed -DCMAKE_PREFIX_PATH="$work/prefix"
try cmake-copied by_cmake copied -DRESTATE_DIR="$root"
try typed-cmake-installed typed_by_cmake shop-installed -DCMAKE_PREFIX_PATH="$work/prefix"
try typed-cmake-copied typed_by_cmake shop-copied -DRESTATE_DIR="$root"
try cmake-fetched by_fetch
try cmake-versions cmake_versions
try meson-installed by_meson meson-installed --pkg-config-path "$work/prefix/lib/pkgconfig"
try meson-copied by_meson meson-copied -Dheaders="$root"
try symbols symbols
try library by_library
try python by_python
echo "packages: $passed passed, $failed failed"
[ "$failed" = 0 ]
