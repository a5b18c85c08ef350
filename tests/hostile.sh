#!/usr/bin/env bash
# `make hostile`: build/hostile, and h2spec, which looks at how an endpoint answers violations of HTTP/2.
#
# What h2spec finds has to be in tests/h2spec.allow, where each line has its reason. It is a program in Go: where there
# is none, or its modules cannot be had, that part is skipped. The last line is "h2spec: ...".
set -uo pipefail
cd "$(dirname "$0")/.." || exit
H2SPEC=github.com/summerwind/h2spec/cmd/h2spec@v2.6.0+incompatible
work=$PWD/build/peers
log=$work/h2spec.log
status=0 pid=''

say() { printf 'h2spec: %s\n' "$*"; }
skip() { say "skipped: $*"; exit "$status"; }
logged() { "$@" >>"$log" 2>&1 </dev/null; }
cleanup() { [ -z "$pid" ] || kill "$pid" 2>/dev/null; }
trap cleanup EXIT

build/hostile "$@" || status=1
[ "$#" = 0 ] || exit "$status"          # a part was asked for

mkdir -p "$work"
: >"$log"
. tests/go.sh
find_go
[ -x "$work/h2spec" ] || GOBIN=$work logged timeout 300 "$go" install "$H2SPEC" ||
    skip "it cannot be had: $(tail -n 1 "$log")"

# The endpoint of an attack, without the attack.
build/hostile endpoint ping >"$work/h2spec.port" 2>/dev/null &
pid=$!
for _ in $(seq 200); do
    port=$(sed -n 's/^listening on 127.0.0.1:\([0-9]*\),.*/\1/p' "$work/h2spec.port")
    [ -z "$port" ] || break
    sleep 0.05
done
[ -n "$port" ] || { say "the endpoint does not listen"; exit 1; }
timeout 300 "$work/h2spec" -h 127.0.0.1 -p "$port" -P /health -o 5 >"$log" 2>&1
grep -Eq '^[0-9]+ tests, [0-9]+ passed' "$log" || { tail -n 20 "$log"; say "it did not come to its end"; exit 1; }

# "SECTION NUMBER: TITLE" of each that failed.
awk '/^Failures:/ { found = 1 } !found { next } $1 ~ /^[0-9.]+$/ { section = $1 }
    $1 == "×" { $1 = section; print }' "$log" >"$work/h2spec.found"
if grep -vxF -f <(grep -v '^#' tests/h2spec.allow) "$work/h2spec.found"; then
    say "these are not in tests/h2spec.allow; see ${log#"$PWD/"}"
    status=1
fi
say "$(grep -E '^[0-9]+ tests, ' "$log"); those that failed may"
exit "$status"
