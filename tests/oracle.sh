#!/usr/bin/env bash
# `make oracle`: random handlers and journals go through the state machine of restate.h and through the
# reference, Rust's restate-sdk-shared-core, which cargo downloads and compiles into build/oracle. Both
# have to answer the same and send the same. What differs on purpose is listed in
# tests/oracle/oracle.c, which describes the cases, too.
#
#   tests/oracle.sh [--cases N] [--from SEED] [--steps N]
#
#   --cases N     how many; any number
#   --from SEED   the first one; 1. Other seeds are other cases
#   --steps N     so many steps and no more; 1,000,000, which take a minute
#
# Each difference is one block with its seed and both transcripts, the last line says how many there
# are. The exit status is 0 if there is none, and 77 where the reference cannot be built.
set -euo pipefail
cd "$(dirname "$0")/.."
CC=${CC:-cc}
RUST=1.88                               # what the crates need

cases=18446744073709551615 from=1 steps=1000000
while [ $# -gt 0 ]; do
    case $1 in
    --cases) cases=$2; shift ;;
    --from) from=$2; shift ;;
    --steps) steps=$2; shift ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done

skip() { echo "oracle: $*"; exit 77; }

work=build/oracle
driver=$work/driver reference=$work/release/oracle
mkdir -p $work

build_reference() {
    local version options
    version=$(cargo --version 2>/dev/null) || skip "there is no cargo (Debian has it as cargo-web)"
    version=${version#cargo }
    [ "$(printf '%s\n' $RUST "${version%% *}" | sort -V | head -n 1)" = $RUST ] ||
        skip "cargo is ${version%% *}, the reference needs $RUST"
    options=(--locked --manifest-path tests/oracle/Cargo.toml)
    cargo fetch "${options[@]}" >$work/cargo.log 2>&1 || skip "the crates of the reference cannot be downloaded"
    cargo build -q --release --offline "${options[@]}" --target-dir $work >$work/cargo.log 2>&1 || { cat $work/cargo.log; exit 1; }
}

build_reference
# shellcheck disable=SC2046,SC2086
$CC -std=c99 -Wall -Wextra -O1 -g ${CPPFLAGS:-} -I. -Itests $(pkg-config --cflags libcjson) -o $driver tests/oracle/oracle.c \
    ${LDFLAGS:-} $(pkg-config --libs libcjson) -lprotobuf-nanopb ${LDLIBS:-}
$driver script "$from" "$cases" "$steps" | $reference 2>$work/reference.log | $driver compare "$from" "$cases" "$steps"
