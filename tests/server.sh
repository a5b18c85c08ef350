#!/usr/bin/env bash
# A throw-away Restate server for tests: one node, on loopback, on ports of its own.
#
#   tests/server.sh start [OPTIONS]             starts it, prints INGRESS= ADMIN= PID= BASE= LOG=
#   tests/server.sh register --base DIR URL     makes an endpoint known (asked again if it is already)
#   tests/server.sh query --base DIR SQL        asks the server about its invocations, prints JSON
#   tests/server.sh kill --base DIR             SIGKILL; the data stays
#   tests/server.sh restart --base DIR          stops it if it runs; same data, ports and settings
#   tests/server.sh stop --base DIR             stops it and removes DIR
#   tests/server.sh port                        prints a port that nobody listens on, for an endpoint
#   tests/server.sh run [OPTIONS] -- COMMAND    start, COMMAND with the printed variables set, stop
#
# Options of start and run:
#   --base DIR          for data and log; default: a new temporary one
#   --partitions N      default 2
#   --nodes N           a cluster, each node in DIR/n1, DIR/n2, ...; INGRESS and ADMIN are the first's.
#                       kill, restart and query take such a node's directory, or DIR for the first
#   --suspend           every handler that waits is asked to suspend at once (inactivity timeout 0)
#   --lazy-state        no state comes along with an invocation
#   --v7                protocol version 7
#   --ingress-port N, --admin-port N, --node-port N    default: free ones
#   --set NAME=VALUE    any other setting, as the server's environment variable; may be repeated
#   --owner PID         the server ends, and DIR goes, soon after that process has ended
#   --timeout SECONDS   how long it may take to be ready; default 30
#
# The binary is $RESTATE_SERVER, else what tests/setup.sh has installed. Failed invocations are tried
# again after 20 ms, then after at most 100 ms, so that tests need not wait.
set -euo pipefail

die() { printf 'server.sh: %s\n' "$*" >&2; exit 1; }
http() { curl -sS --noproxy '*' --max-time "$TIMEOUT" "$@"; }

find_binary() {
    local found=${RESTATE_SERVER:-}
    if [ -z "$found" ]; then
        for found in "$(dirname "$0")"/../build/server/node_modules/@restatedev/restate-server-*/bin/restate-server; do
            break
        done
    fi
    [ -x "$found" ] || die "no server binary; run tests/setup.sh first"
    (cd "$(dirname "$found")" && printf '%s/%s\n' "$PWD" "$(basename "$found")")
}

# ---- Processes --------------------------------------------------------------------------------------
# A pid alone may be somebody else's by the time it is used, so the start time is kept with it.

start_time() { # PID; empty: no such process, or a zombie
    local stat
    if [ -d /proc/self ]; then
        stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
        stat=${stat##*) }
        # The first thread may be a zombie while others have still to close their sockets.
        case $stat in Z* | X*) [ "$(ls "/proc/$1/task" 2>/dev/null | wc -l)" -gt 1 ] || return 0 ;; esac
        # shellcheck disable=SC2086
        set -- $stat
        printf '%s' "${20}"
    else
        ps -o lstart= -p "$1" 2>/dev/null || true
    fi
}
alive() { [ -n "$PID" ] && [ "$(start_time "$PID")" = "$STARTED" ] && [ -n "$STARTED" ]; }

end_server() { # SIGNAL
    alive || return 0
    kill "-$1" "$PID" 2>/dev/null || true
    for _ in $(seq 1 100); do alive || return 0; sleep 0.05; done
    kill -KILL "$PID" 2>/dev/null || true
    for _ in $(seq 1 100); do alive || return 0; sleep 0.05; done
    die "process $PID does not end"
}

# ---- What is kept in DIR: `state` (addresses, pid), `settings` (the server's environment) -----------

load() {
    [ -n "$BASE" ] || die "$COMMAND wants --base DIR"
    [ -e "$BASE/state" ] || [ ! -e "$BASE/n1/state" ] || BASE=$BASE/n1
    [ -r "$BASE/state" ] || die "no server was started in $BASE"
    BASE=$(cd "$BASE" && pwd)
    local name value
    INGRESS='' ADMIN='' PID='' STARTED='' LOG=$BASE/server.log
    while IFS='=' read -r name value; do
        case $name in
            INGRESS) INGRESS=$value ;;
            ADMIN) ADMIN=$value ;;
            PID) PID=$value ;;
            STARTED) STARTED=$value ;;
        esac
    done <"$BASE/state"
}
print_state() { printf 'INGRESS=%s\nADMIN=%s\nPID=%s\nBASE=%s\nLOG=%s\n' "$INGRESS" "$ADMIN" "$PID" "$BASE" "$LOG"; }

# Every RESTATE_ variable counts as a setting and a proxy would get the invocations: the environment
# is built from nothing. Spill files go to DIR too.
write_settings() {
    printf '%s\n' \
        "RESTATE_BASE_DIR=$BASE" RESTATE_NODE_NAME=n1 RESTATE_AUTO_PROVISION=true \
        RESTATE_BIND_IP=127.0.0.1 RESTATE_USE_RANDOM_PORTS=true RESTATE_DISABLE_TELEMETRY=true \
        RESTATE_DEFAULT_NUM_PARTITIONS="$PARTITIONS" RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE=256MB \
        RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL=20ms RESTATE_DEFAULT_RETRY_POLICY__MAX_INTERVAL=100ms \
        RESTATE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS=unlimited \
        RESTATE_LOG_FORMAT=compact RESTATE_LOG_DISABLE_ANSI_CODES=true \
        RESTATE_LOG_FILTER=warn,restate=info,restate_admin::service=info,restate_core::network::net_util=info,restate_ingress_http::server=info,restate_worker::partition=info,octocrab=off \
        ${SETTINGS[@]+"${SETTINGS[@]}"} >"$BASE/settings"
}

address_of() { # SERVER-NAME in the log since this start
    tail -n +"$FROM" "$LOG" | sed -n "s/.*server_name=$1.* server\\.address=\"\\([^\"]*\\)\".* server\\.port=\\([0-9]*\\).*/http:\\/\\/\\1:\\2/p" | head -n 1
}

# Health checks answer before the partitions work. This query is refused until each is open; and one
# takes calls once it leads, which after a crash comes after reading its log again.
ready() {
    local opened led
    ADMIN=$(address_of admin-api-server)
    INGRESS=$(address_of http-ingress-server)
    NODE=$(address_of message-fabric-server)
    [ -n "$ADMIN" ] && [ -n "$INGRESS" ] && [ -n "$NODE" ] || return 1
    http -f -o /dev/null -H 'content-type: application/json' \
        -d '{"query":"select count(*) from sys_invocation_status"}' "$ADMIN/query" 2>/dev/null || return 1
    [ "$MEMBER" = 0 ] || return 0           # who leads is the cluster's to decide
    opened=$(tail -n +"$FROM" "$LOG" | grep -c 'status: Partition [0-9]* started' || true)
    led=$(tail -n +"$FROM" "$LOG" | grep -c 'Processor became Leader of epoch' || true)
    [ "$led" -ge "$opened" ]
}

launch() { # with BASE and its settings in place
    local settings=() line give_up
    while IFS= read -r line; do settings+=("$line"); done <"$BASE/settings"
    LOG=$BASE/server.log
    touch "$LOG"
    FROM=$(($(wc -l <"$LOG") + 1))
    mkdir -p "$BASE/tmp"
    # The working directory matters: the paths of its Unix sockets are short when they start there.
    (cd "$BASE" && exec env -i PATH="$PATH" HOME="$BASE" TMPDIR="$BASE/tmp" "${settings[@]}" "$BINARY") \
        </dev/null >>"$LOG" 2>&1 &
    PID=$!
    trap 'kill -KILL "$PID" 2>/dev/null; exit 130' INT TERM
    STARTED=$(start_time "$PID")
    give_up=$((SECONDS + TIMEOUT))
    until ready; do
        if ! alive || [ "$SECONDS" -ge "$give_up" ]; then
            echo 'server.sh: the server does not get ready; its last words:' >&2
            tail -n +"$FROM" "$LOG" | tail -n 12 | cut -c1-400 >&2
            end_server KILL
            [ "$TEMPORARY" = 0 ] || rm -rf "$BASE"
            exit 1
        fi
        sleep 0.03
    done
    trap - INT TERM
    {
        print_state
        printf 'STARTED=%s\n' "$STARTED"
    } >"$BASE/state"
    # A restart keeps the ports, so that clients can go on.
    if ! grep -q '^RESTATE_BIND_PORT=' "$BASE/settings"; then
        printf '%s\n' "RESTATE_INGRESS__BIND_PORT=${INGRESS##*:}" "RESTATE_ADMIN__BIND_PORT=${ADMIN##*:}" \
            "RESTATE_BIND_PORT=${NODE##*:}" >>"$BASE/settings"
    fi
    if [ -n "$OWNER" ]; then watch_owner </dev/null >/dev/null 2>&1 & fi
}

# Outlives this script. Ends with the server, or ends it.
watch_owner() {
    local owner_started
    owner_started=$(start_time "$OWNER")
    while alive; do
        if [ -z "$owner_started" ] || [ "$(start_time "$OWNER")" != "$owner_started" ]; then
            end_server KILL
            rm -rf "$BASE"
        fi
        sleep 1
    done
}

free_port() { # below the range that outgoing connections take theirs from
    local port
    while port=$((10240 + RANDOM % 22000)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# One of this script per node, at the same time: none is ready before a majority is.
start_cluster() {
    local i ports=() peers='' pids=() common=() failed=0
    for i in $(seq 1 "$NODES"); do
        ports+=("$(free_port)")
        peers="$peers${peers:+,}\"http://127.0.0.1:${ports[i - 1]}/\""
    done
    for i in ${SETTINGS[@]+"${SETTINGS[@]}"}; do common+=(--set "$i"); done
    [ -z "$OWNER" ] || common+=(--owner "$OWNER")
    for i in $(seq 1 "$NODES"); do
        "$0" start --member --base "$BASE/n$i" --partitions "$PARTITIONS" --timeout "$TIMEOUT" \
            --set RESTATE_CLUSTER_NAME=tests --set "RESTATE_NODE_NAME=n$i" \
            --set "RESTATE_AUTO_PROVISION=$([ "$i" = 1 ] && echo true || echo false)" \
            --set RESTATE_DEFAULT_REPLICATION=2 --set RESTATE_GOSSIP_SUSPECT_INTERVAL=500ms \
            --set RESTATE_LISTEN_MODE=tcp --node-port "${ports[i - 1]}" \
            --set "RESTATE_ADVERTISED_ADDRESS=http://127.0.0.1:${ports[i - 1]}/" \
            --set RESTATE_METADATA_CLIENT__TYPE=replicated \
            --set "RESTATE_METADATA_CLIENT__ADDRESSES=[$peers]" \
            --set RESTATE_BIFROST__DEFAULT_PROVIDER=replicated \
            --ingress-port "$(free_port)" --admin-port "$(free_port)" \
            "${common[@]}" </dev/null >/dev/null &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || failed=1; done
    [ "$failed" = 0 ] || { stop; exit 1; }
    load
}

start() {
    BINARY=$(find_binary)
    if [ -n "$BASE" ]; then
        [ ! -e "$BASE/state" ] || die "there is a server in $BASE already: kill, restart or stop it"
        mkdir -p "$BASE"
        BASE=$(cd "$BASE" && pwd)
    else
        BASE=$(mktemp -d "${TMPDIR:-/tmp}/restate-test.XXXXXX")
        TEMPORARY=1
    fi
    if [ "$NODES" -gt 1 ]; then start_cluster; return; fi
    write_settings
    launch
}

# A cluster's nodes at once: one alone would wait for the others.
stop() {
    local all=$BASE node pids=()
    case $BASE in */n1) [ ! -e "${BASE%/n1}/n2" ] || all=${BASE%/n1} ;; esac
    for node in "$all"/n[0-9]*; do
        [ -e "$node/state" ] || continue
        (BASE=$node; load; end_server TERM) &
        pids+=($!)
    done
    for node in ${pids[@]+"${pids[@]}"}; do wait "$node"; done      # a server may be a child, too
    [ "$all" != "$BASE" ] || [ -e "$BASE/n1/state" ] || end_server TERM
    rm -rf "$all"
}

json() { # a string as JSON
    local s=$1
    s=${s//\\/\\\\} s=${s//\"/\\\"} s=${s//$'\n'/ } s=${s//$'\t'/ }
    printf '"%s"' "$s"
}
post() { # PATH BODY: prints the answer; fails unless it is 2xx
    local answer
    answer=$(http -w '\n%{http_code}' -H 'content-type: application/json' -H 'accept: application/json' -d "$2" "$ADMIN$1")
    printf '%s\n' "${answer%$'\n'*}"
    case ${answer##*$'\n'} in 2??) ;; *) die "$COMMAND: HTTP status ${answer##*$'\n'}" ;; esac
}

# ---- Arguments --------------------------------------------------------------------------------------

COMMAND=${1:-help}
[ $# = 0 ] || shift
BASE='' PARTITIONS=2 SETTINGS=() OWNER='' TEMPORARY=0 TIMEOUT=30 PID='' STARTED='' NODES=1 MEMBER=0
while [ $# -gt 0 ]; do
    case $1 in
        --suspend) SETTINGS+=(RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT=0s) ;;
        --lazy-state) SETTINGS+=(RESTATE_WORKER__INVOKER__EAGER_STATE_SIZE_LIMIT=0) ;;
        --v7) SETTINGS+=(RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7=true) ;;
        --member) MEMBER=1 ;;
        --) shift; break ;;
        --base | --partitions | --nodes | --ingress-port | --admin-port | --node-port | --set | --owner | --timeout)
            [ $# -ge 2 ] || die "$1 wants a value"
            case $1 in
                --base) BASE=$2 ;;
                --partitions) PARTITIONS=$2 ;;
                --nodes) NODES=$2 ;;
                --ingress-port) SETTINGS+=("RESTATE_INGRESS__BIND_PORT=$2") ;;
                --admin-port) SETTINGS+=("RESTATE_ADMIN__BIND_PORT=$2") ;;
                --node-port) SETTINGS+=("RESTATE_BIND_PORT=$2") ;;
                --set) SETTINGS+=("$2") ;;
                --owner) OWNER=$2 ;;
                --timeout) TIMEOUT=$2 ;;
            esac
            shift ;;
        -*) die "unknown option $1" ;;
        *) break ;;
    esac
    shift
done

case $COMMAND in
    start) start; print_state ;;
    run)
        [ $# -gt 0 ] || die "run wants a command after --"
        start
        trap stop EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        INGRESS=$INGRESS ADMIN=$ADMIN PID=$PID BASE=$BASE LOG=$LOG "$@" ;;
    register)
        load
        [ $# = 1 ] || die "register wants a URL"
        # A URL the server knows is not asked again without "force".
        post /deployments "{\"uri\":$(json "$1"),\"force\":true}" ;;
    query)
        load
        [ $# = 1 ] || die "query wants a statement"
        post /query "{\"query\":$(json "$1")}" ;;
    kill) load; end_server KILL ;;
    restart) load; end_server TERM; BINARY=$(find_binary); launch; print_state ;;
    stop) load; stop ;;
    port) free_port ;;
    *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; [ "$COMMAND" = help ] || exit 2 ;;
esac
