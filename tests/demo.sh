#!/usr/bin/env bash
# `make demo`: builds the first example, calls it through a real server, kills it in the middle of an
# invocation and shows that the invocation completes, without doing anything twice.
set -euo pipefail
cd "$(dirname "$0")/.."
MAKE=${MAKE:-make}

work=$(mktemp -d "${TMPDIR:-/tmp}/restate-demo.XXXXXX")
trace=$work/trace           # the closure of examples/greeter.c adds a line each time it executes
endpoint=                   # its process
server=                     # where the server is

cleanup() {
    [ -z "$endpoint" ] || kill -KILL "$endpoint" 2>/dev/null || true
    [ -z "$server" ] || tests/server.sh stop --base "$server" || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }
show() { printf '      %s\n' "$*"; }
number=0
step() { number=$((number + 1)); printf '\n%d. %s\n' "$number" "$*"; }
fail() {
    printf '\nThe demo FAILED: %s\n' "$*" >&2
    if [ -s "$work/greeter.log" ]; then tail -n 10 "$work/greeter.log" | sed 's/^/      greeter: /' >&2; fi
    exit 1
}

# Tries COMMAND until it succeeds, for at most 20 seconds.
wait_for() {
    local give_up=$((SECONDS + 20))
    until "$@"; do
        [ "$SECONDS" -lt "$give_up" ] || return 1
        sleep 0.02
    done
}
curl() { command curl -sS --noproxy '*' --max-time 60 "$@"; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
sql() { tests/server.sh query --base "$server" "$1"; }
draws() { if [ -e "$trace" ]; then wc -l <"$trace" | tr -d ' '; else echo 0; fi; }

start_endpoint() {
    PORT=$port GREETER_TRACE=$trace build/examples/greeter >>"$work/greeter.log" 2>&1 &
    endpoint=$!
    disown "$endpoint"      # the shell need not announce its end
    up_or_gone() { listens "$port" || ! kill -0 "$endpoint" 2>/dev/null; }
    if ! wait_for up_or_gone || ! kill -0 "$endpoint" 2>/dev/null; then
        fail "build/examples/greeter does not listen on port $port"
    fi
}

step "Install what is missing, and compile examples/greeter.c"
tests/setup.sh demo
$MAKE -s build/examples/greeter
show "build/examples/greeter"

step "Start a Restate server, and the greeter, on ports of their own"
tests/server.sh start --base "$work/server" --owner $$ >"$work/addresses" || fail "the server does not start"
server=$work/server
ingress=$(sed -n 's/^INGRESS=//p' "$work/addresses")
port=$(tests/server.sh port)
start_endpoint
show "server at $ingress, greeter at http://127.0.0.1:$port (process $endpoint)"

step "Tell the server about the greeter; it asks which services there are"
tests/server.sh register --base "$server" "http://127.0.0.1:$port" >"$work/registered" || fail "$(cat "$work/registered")"
show "$(grep -o '"name":"[A-Za-z]*"' "$work/registered" | tr '\n' ' ')"

step "Call it through the server"
show "curl $ingress/Greeter/greet --json '{\"name\": \"Ada\"}'"
answer=$(curl -H 'content-type: application/json' -d '{"name": "Ada"}' "$ingress/Greeter/greet")
show "$answer"
case $answer in *Ada*) ;; *) fail "that is no greeting" ;; esac
before=$(draws)

step "Start another call, whose handler sleeps for four seconds, and do not wait for it"
sent=$(curl -H 'content-type: application/json' -d '{"name": "Grace", "sleepMillis": 4000}' "$ingress/Greeter/greet/send")
id=$(printf '%s' "$sent" | sed -n 's/.*"invocationId":"\([^"]*\)".*/\1/p')
[ -n "$id" ] || fail "$sent"
show "$id"

step "Wait until the server has the result of its first step, 'draw', in the journal"
recorded() { sql "select index from sys_journal where id = '$id' and entry_type like 'Notification: Run%'" | grep -q '"index"'; }
wait_for recorded || fail "the step was not recorded"
sql "select index, entry_type, name from sys_journal where id = '$id' order by index" |
    grep -o '{"index[^}]*}' | sed 's/^/      /'
drawn=$(draws)
show "cards drawn so far: $drawn"
[ "$drawn" -gt "$before" ] || fail "the step left no trace"

step "Kill the greeter, in the middle of its sleep"
kill -KILL "$endpoint"
gone() { ! kill -0 "$endpoint" 2>/dev/null; }
wait_for gone || fail "process $endpoint does not end"
endpoint=
noticed() { sql "select status from sys_invocation where id = '$id'" | grep -q backing-off; }
wait_for noticed || fail "the server has not noticed"
show "kill -9; the server keeps trying to reach it: $(sql "select status from sys_invocation where id = '$id'" | grep -o '"status":"[^"]*"')"

step "Start it again"
start_endpoint
show "process $endpoint"

step "Wait for the answer of that call"
answer=$(curl "$ingress/restate/invocation/$id/attach")
show "$answer"
case $answer in *Grace*) ;; *) fail "that is no greeting" ;; esac
show "cards drawn: $(draws). The handler ran again, its finished step did not."
[ "$(draws)" = "$drawn" ] || fail "the step was executed again: $drawn lines in the trace before, $(draws) after"
say
say "The demo worked."
