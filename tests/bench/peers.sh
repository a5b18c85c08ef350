#!/usr/bin/env bash
# Builds an endpoint of tests/bench/peers and prints the command that starts it, on $PORT.
#
#   tests/bench/peers.sh ts|go|rust [--version]
#
# What it downloads (from the registries that npm, go and cargo are set to) and builds is in
# build/peers. Where that fails, a line says why, and the status is 1. With --version it prints what
# the endpoint is made of instead.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${1:-}
source=tests/bench/peers/$name out=$PWD/build/peers/$name log=$PWD/build/peers/$name.log

left_out() { printf '%s is left out: %s\n' "$name" "$*" >&2; exit 1; }
toolchain() { command -v "$1" >/dev/null 2>&1 || left_out "there is no $1 ($2)"; }
build() { # COMMAND...
    "$@" >"$log" 2>&1 </dev/null || {
        tail -n 3 "$log" >&2
        left_out "it does not build, see build/peers/$name.log"
    }
}
building() { printf 'building %s (the first time takes a while; log: build/peers/%s.log)\n' "$name" "$name" >&2; }

build_ts() {
    toolchain node "Debian: nodejs"
    toolchain npm "Debian: npm"
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || left_out "it needs Node 20"
    if ! cmp -s "$source/package-lock.json" "$out/package-lock.json" || [ ! -e "$out/built" ]; then
        building
        mkdir -p "$out"
        cp "$source/package.json" "$source/package-lock.json" "$out/"
        build npm ci --prefix "$out" --cache "$PWD/build/peers/npm" --ignore-scripts --no-audit --no-fund \
            --loglevel=error
        touch "$out/built"
    fi
    cp "$source/server.mjs" "$out/"
    echo "node $out/server.mjs"
}
version_ts() {
    echo "@restatedev/restate-sdk $(node -p "require('$out/node_modules/@restatedev/restate-sdk/package.json').version")," \
        "Node $(node -p process.versions.node)"
}

# -modcacherw: else nobody but root can remove the cache. The network is asked only for what is new.
build_go() {
    toolchain go "https://go.dev/dl, 1.25; Debian's golang may be too old"
    [ -e "$out/endpoint" ] || building
    export GOMODCACHE=$PWD/build/peers/go-modules GOCACHE=$PWD/build/peers/go-cache GOTOOLCHAIN=local
    build go build -C "$source" -mod=readonly -modcacherw -buildvcs=false -o "$out/endpoint" .
    echo "$out/endpoint"
}
version_go() { echo "sdk-go $(sed -n 's/.*sdk-go v//p' "$source/go.mod"), $(go version | cut -d' ' -f3)"; }

# A cargo home of its own for the downloads; the user's settings, such as mirrors, stay in force.
build_rust() {
    local home=${CARGO_HOME:-$HOME/.cargo} config
    toolchain cargo "https://rustup.rs, 1.90; Debian's cargo may be too old"
    [ -e "$out/release/bench-peer-rust" ] || building
    export CARGO_HOME=$PWD/build/peers/cargo
    mkdir -p "$CARGO_HOME"
    for config in config.toml config; do
        [ ! -e "$home/$config" ] || ln -sf "$home/$config" "$CARGO_HOME/$config"
    done
    build cargo build --release --locked --manifest-path "$source/Cargo.toml" --target-dir "$out"
    echo "$out/release/bench-peer-rust"
}
version_rust() {
    echo "restate-sdk $(sed -n 's/^restate-sdk = "=*\(.*\)"/\1/p' "$source/Cargo.toml"), $(rustc --version | cut -d' ' -f1,2)"
}

case $name in ts | go | rust) ;; *) echo "usage: tests/bench/peers.sh ts|go|rust [--version]" >&2; exit 2 ;; esac
mkdir -p build/peers
if [ "${2:-}" = --version ]; then "version_$name"; else "build_$name"; fi
