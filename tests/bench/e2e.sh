#!/usr/bin/env bash
# `make bench-e2e`: calls through a real Restate server, to each endpoint.
#
#   tests/bench/e2e.sh [OPTIONS] [ENDPOINT...]
#
# An endpoint is restate.h, restate.h-pool, ts, go or rust, or NAME=COMMAND, as in bench.sh. Default:
# all of them but restate.h-pool.
# The calls: greet (nothing is recorded but input and output), count (state of 4096 keys), run (one
# step).
#
#   --workloads LIST    of greet,count,run (default: all)
#   --concurrency LIST  1,16,64,256; calls at a time
#   --rounds N          3; medians are printed
#   --seconds S         3; of calls for each figure in a round
#   --partitions N      4; of the server
#   --threads N         1; of each endpoint. 0: as many as it likes
#   --quick             1 round of 0.5 seconds
#
# `make bench-e2e BENCH='--quick restate.h'` gives options. In a round every endpoint has its turn,
# each with a new server and a new process; they are warmed up first. Each answer is looked at, and
# in the end of a turn the server must have counted what was called, exactly. Server, endpoint and
# load share the machine, so calls/s says less than the CPU for each call does.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

workloads=greet,count,run concurrencies=1,16,64,256 rounds=3 duration=3 warm_up=3 partitions=4 asked=()
quick() { rounds=1 duration=0.5 warm_up=0.5; }
options workloads=workloads concurrency=concurrencies rounds=rounds seconds=duration partitions=partitions \
    threads=THREADS_EACH -- "$@"
[ ${#asked[@]} -gt 0 ] || asked=(restate.h ts go rust)
need curl curl
case " ${asked[*]} " in *' nghttpd '*) die "nghttpd does not speak the protocol" ;; esac
rows=$work/e2e-rows server=$PWD/$work/server

stop_server() { [ ! -e "$server/state" ] || tests/server.sh stop --base "$server"; }
clean_up() {
    stop_endpoints
    stop_server
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The path of a workload at the ingress, its body, and the answer if that is always the same.
call_of() { # WORKLOAD
    case $1 in
        greet) call=(Bench/greet '"Ada"' '"Hello Ada!"') ;;
        count) call=('BenchCounter/*/add' 1) ;;
        run) call=(Bench/replay 1 1) ;;
        *) die "no workload is called $1" ;;
    esac
}

failed() { # INDEX WORKLOAD CONCURRENCY WHY
    local why=${4//$'\n'/ }
    say "$2 $3 ${ENDPOINTS[$1]} failed ${why// /_}" >>"$rows"
}

# Calls for so long; sets right, seconds, p50 and p99.
load() { # INDEX WORKLOAD CONCURRENCY SECONDS
    local call
    call_of "$2"
    if ! build/bench-load "$4" "$3" "$INGRESS/${call[0]}" "${call[@]:1}" >"$work/loaded" 2>"$work/load.err"; then
        failed "$1" "$2" "$3" "$(head -n 1 "$work/load.err")"
        return 1
    fi
    read -r right _ seconds p50 p99 <"$work/loaded"
    [ "$2" != count ] || counted=$((counted + right))
}

cpu() { build/bench-usage "$PID" "${PIDS[$1]}" | cut -d' ' -f1 | paste -s -d' ' -; }

measure() { # INDEX WORKLOAD CONCURRENCY: a row
    local server_before endpoint_before server_after endpoint_after
    read -r server_before endpoint_before < <(cpu "$1")
    load "$@" "$duration" || return 0
    read -r server_after endpoint_after < <(cpu "$1")
    awk -v w="$2" -v c="$3" -v e="${ENDPOINTS[$1]}" -v n="$right" -v s="$seconds" -v p50="$p50" -v p99="$p99" \
        -v server=$((server_after - server_before)) -v endpoint=$((endpoint_after - endpoint_before)) \
        'BEGIN { printf "%s %s %s ok %.1f %.3f %.3f %.2f %.2f\n", w, c, e, n / s, p50, p99, server / n / 1e3,
                        endpoint / n / 1e3 }' >>"$rows"
}

# What the counters have is what was called: nothing was lost, nothing done twice.
check_count() { # INDEX
    local sum
    sum=$(tests/server.sh query --base "$server" \
        "select sum(cast(value_utf8 as bigint)) as n from state where service_name = 'BenchCounter'" |
        sed -n 's/.*"n":\([0-9]*\).*/\1/p')
    [ "${sum:-0}" = "$counted" ] || failed "$1" count - "$counted calls counted as ${sum:-0}"
}

turn() { # INDEX
    local INGRESS='' PID='' name value workload concurrency counted=0
    tests/server.sh start --base "$server" --partitions "$partitions" --owner $$ >"$work/addresses" ||
        die "the server does not start"
    while IFS='=' read -r name value; do
        case $name in INGRESS) INGRESS=$value ;; PID) PID=$value ;; esac
    done <"$work/addresses"
    if ! start_endpoint "$1"; then
        failed "$1" all - "does not listen"
    elif ! tests/server.sh register --base "$server" "http://127.0.0.1:${PORTS[$1]}" >"$work/registered" 2>&1; then
        failed "$1" all - "cannot be registered, see $work/registered"
    else
        for workload in ${workloads//,/ }; do
            load "$1" "$workload" 64 "$warm_up" || continue
            for concurrency in ${concurrencies//,/ }; do measure "$1" "$workload" "$concurrency"; done
        done
        check_count "$1"
    fi
    stop_endpoint "$1"
    stop_server
}

print_rows() {
    awk -v names="${ENDPOINTS[*]}" -v workloads="$workloads" -v concurrencies="$concurrencies" "$AWK_MEDIAN"'
        $4 == "failed" { why = $5; gsub("_", " ", why); failures[++failed] = $1 " at " $2 ", " $3 ": " why; next }
        { key = $1 " " $2 " " $3; rounds[key]++
          for (i = 5; i <= 9; i++) values[key, i] = values[key, i] " " $i }
        END {
            n = split(names, name, " "); m = split(workloads, w, ","); o = split(concurrencies, c, ",")
            for (i = 1; i <= m; i++) for (j = 1; j <= o; j++) for (k = 1; k <= n; k++) {
                key = w[i] " " c[j] " " name[k]
                if (rounds[key])
                    printf "%-8s %5d %-12s %9.0f %8.0f%% %9.2f %9.2f %12.1f %12.1f\n", w[i], c[j], name[k],
                        median(values[key, 5]), spread(values[key, 5]), median(values[key, 6]),
                        median(values[key, 7]), median(values[key, 8]), median(values[key, 9])
            }
            for (i = 1; i <= failed; i++) print "FAILED: " failures[i]
            exit failed > 0
        }' "$rows"
}

for name in ${workloads//,/ }; do call_of "$name"; done
for name in "${asked[@]}"; do add_endpoint "$name"; done
[ ${#ENDPOINTS[@]} -gt 0 ] || die "no endpoint is left"
: >"$rows"
rm -f "$work"/log/*

print_machine
print_versions
say "Server with $partitions partitions, threads of an endpoint:" \
    "$([ "$THREADS_EACH" = 0 ] && echo any || echo "$THREADS_EACH"); medians of $rounds rounds of $duration s"
for round in $(seq 1 "$rounds"); do
    for turn in "${!ENDPOINTS[@]}"; do
        i=$(((round + turn) % ${#ENDPOINTS[@]}))        # another one is first in each round
        say "round $round of $rounds: ${ENDPOINTS[i]}" >&2
        turn "$i"
    done
done
printf '\n%-8s %5s %-12s %9s %9s %9s %9s %12s %12s\n' call conc. endpoint calls/s spread 'p50 ms' 'p99 ms' \
    'server us' 'endpoint us'
print_rows
