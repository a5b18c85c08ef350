#!/usr/bin/env bash
# `make bench`: posts the same request bodies to every endpoint and compares them.
#
#   tests/bench/bench.sh [OPTIONS] [ENDPOINT...]
#
# An endpoint is one of these names, or NAME=COMMAND: a command that serves the handlers of
# tests/bench/endpoint.c on 127.0.0.1:$PORT, HTTP/2 with prior knowledge. Default: all of them but
# restate.h-pool.
#   nghttpd         answers each post with a static file that has the bytes of the right answer:
#                   what HTTP/2 alone costs with the library that restate.h uses
#   restate.h       build/bench-endpoint; restate.h-pool: the same with closures on other threads, for
#                   the calls that have any
#   ts, go, rust    the other SDKs, see tests/bench/peers.sh
#
#   --workloads LIST    of greet,count,sleep,replay-10,replay-100,replay-1000,replay-10000,echo-64k,
#                       echo-1m (default: all)
#   --rounds N          5; medians are printed
#   --seconds S         1; how long a round posts to an endpoint, about
#   --protocol N        6 or 7
#   --connections N     4, with --streams N, 16, requests at a time each
#   --threads N         1; of each endpoint. 0: as many as it likes
#   --quick             2 rounds of 0.2 seconds
#
# `make bench BENCH='--quick nghttpd restate.h'` gives options. In a round every endpoint has its
# turn, so that what else goes on meets all of them. In each turn one answer is looked at, whether it
# has the right messages; the others must have status 200 and its length. What does not is "bad". An
# endpoint that ends by itself is started and warmed up again; its row says how often that was.
# Processes are new for each workload, so the peak memory is that of this workload.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

ALL=greet,count,sleep,replay-10,replay-100,replay-1000,replay-10000,echo-64k,echo-1m
workloads=$ALL rounds=5 duration=1 protocol=6 connections=4 streams=16 asked=()
quick() { rounds=2 duration=0.2; }
options workloads=workloads rounds=rounds seconds=duration protocol=protocol connections=connections \
    streams=streams threads=THREADS_EACH -- "$@"
[ ${#asked[@]} -gt 0 ] || asked=(nghttpd restate.h ts go rust)
need h2load nghttp2-client curl curl
case $protocol in 6 | 7) ;; *) die "--protocol is 6 or 7" ;; esac
rows=$work/rows
trap stop_endpoints EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

nghttpd_command() { # WORKLOAD
    local root=$PWD/$work/www/$1 threads=$THREADS_EACH
    [ "$threads" != 0 ] || threads=$(getconf _NPROCESSORS_ONLN)
    mkdir -p "$root$(dirname "$(path_of "$1")")"
    cp "$work/v$protocol/$1.answer" "$root$(path_of "$1")"
    echo "nghttpd --no-tls -n$threads -d $root \$PORT"
}

# h2load does not end when the endpoint does.
post() { # INDEX WORKLOAD REQUESTS
    local clients=$connections
    [ "$clients" -le "$3" ] || clients=$3
    timeout 60 h2load -t1 -n "$3" -c "$clients" -m "$streams" -d "$work/v$protocol/$2.body" \
        -H "content-type: application/vnd.restate.invocation.v$protocol" \
        "http://127.0.0.1:${PORTS[$1]}$(path_of "$2")" >"$work/h2load" 2>&1 || true
    read_h2load "$work/h2load"
}

# More and more requests until they take long enough: that warms up, too. Sets `requests`.
calibrate() { # INDEX WORKLOAD
    requests=$connections
    while :; do
        post "$1" "$2" "$requests"
        [ "$ok" = "$requests" ] || return 1
        awk -v s="$seconds" -v d="$duration" 'BEGIN { exit !(s < d / 2) }' || break
        requests=$((requests * 4))
    done
    requests=$(awk -v n="$requests" -v s="$seconds" -v d="$duration" -v least=$((2 * connections)) \
        'BEGIN { n = int(n * d / s); print (n > least ? n : least) }')
}

# In protocol 7 an endpoint may say that it waits before it suspends, or not.
same_length() { # WORKLOAD
    { [ "$protocol" = 7 ] && [ "$1" = sleep ]; } || [ "$data" = $((ok * length)) ]
}

alive() { kill -0 "${PIDS[$1]}" 2>/dev/null; } # INDEX

# After a failure: it may be about to end, and take a while for that.
still_alive() { # INDEX
    for _ in $(seq 1 20); do
        alive "$1" || return 1
        sleep 0.1
    done
}

failed() { # INDEX WORKLOAD WHY
    local why=$3
    alive "$1" || why="the endpoint has ended, see $work/log/${ENDPOINTS[$1]}.log"
    why=${why//$'\n'/ }
    say "$2 ${ENDPOINTS[$1]} failed ${why// /_}" >>"$rows"
}

turn() { # INDEX WORKLOAD: a row with rate, CPU in us, peak in MB
    local before after bad
    if ! until_it_does check_answer "$@" "$protocol"; then
        failed "$@" "$why"
        return
    fi
    length=$(wc -c <"$work/got")
    [ -n "${counts[$1]}" ] || warm_up "$@" || return 0
    read -r before _ < <(build/bench-usage "${PIDS[$1]}")
    post "$1" "$2" "${counts[$1]}"
    [ "$ok" = "${counts[$1]}" ] || still_alive "$1" || return 0     # what it took nobody can say now
    read -r after peak < <(build/bench-usage "${PIDS[$1]}")
    bad=$((counts[$1] - ok))
    same_length "$2" || bad=$((bad > 0 ? bad : 1))
    awk -v w="$2" -v e="${ENDPOINTS[$1]}" -v s="$seconds" -v n="$ok" -v bad="$bad" \
        -v cpu="$((after - before))" -v peak="$peak" \
        'BEGIN { if (n < 1 || s <= 0) print w, e, "failed", "no_answer_within_a_minute"
                 else printf "%s %s ok %.1f %.3f %.1f %d\n", w, e, n / s, cpu / n / 1e3, peak / 1024, bad }' >>"$rows"
}

print_rows() { # WORKLOAD: of all its rounds, nghttpd's CPU is 1
    awk -v workload="$1" -v names="${ENDPOINTS[*]}" "$AWK_MEDIAN"'
        $1 != workload { next }
        $3 == "failed" { failed[$2] = $4; next }
        $3 == "ended" { ended[$2]++; next }
        { rate[$2] = rate[$2] " " $4; cpu[$2] = cpu[$2] " " $5; bad[$2] += $7; if ($6 > peak[$2]) peak[$2] = $6 }
        END {
            floor = ("nghttpd" in cpu) ? median(cpu["nghttpd"]) : 0
            endpoints = split(names, order, " ")
            for (k = 1; k <= endpoints; k++) {
                e = order[k]
                if (!(e in failed) && !(e in cpu))
                    failed[e] = ended[e] ? "ended by itself, " ended[e] " times" : "does not listen"
                if (e in failed) { gsub("_", " ", failed[e]); printf "%-13s %-12s FAILED: %s\n", workload, e, failed[e]; continue }
                us = median(cpu[e])
                printf "%-13s %-12s %9.0f %12.1f %7.0f%% %9s %9.1f%s%s\n", workload, e, median(rate[e]), us,
                    spread(cpu[e]), floor ? sprintf("%.2f", us / floor) : "-", peak[e],
                    bad[e] ? "  " bad[e] " bad" : "", ended[e] ? "  ended by itself: " ended[e] : ""
            }
        }' "$rows"
}

start() { # INDEX WORKLOAD
    if [ "${ENDPOINTS[$1]}" = nghttpd ] && [ -z "${COMMANDS[$1]}" ]; then
        start_endpoint "$1" "$(nghttpd_command "$2")"
    else
        start_endpoint "$1"
    fi
}

# Whether an endpoint had to be started again; its row tells of it.
revived() { # INDEX WORKLOAD
    ! alive "$1" || return 1
    say "$2 ${ENDPOINTS[$1]} ended" >>"$rows"
    counts[$1]=                                 # it is cold
    stop_endpoint "$1"
    start "$@"
}

# What failed because the endpoint ends is begun again.
until_it_does() { # COMMAND INDEX WORKLOAD...
    local tries=4
    until "$@"; do
        ! still_alive "$2" && [ $((tries -= 1)) -gt 0 ] && revived "$2" "$3" || return 1
    done
}

warm_up() { # INDEX WORKLOAD
    until_it_does calibrate "$@" || return 1
    counts[$1]=$requests
}

run() { # WORKLOAD
    local i counts=() up=()
    for i in "${!ENDPOINTS[@]}"; do
        start "$i" "$1" || continue
        if ! check_answer "$i" "$1" "$protocol"; then
            failed "$i" "$1" "$why"
        elif warm_up "$i" "$1"; then
            up+=("$i")
        else
            failed "$i" "$1" "$((requests - ok)) of $requests requests"
        fi
    done
    for _ in $(seq 1 "$rounds"); do
        for i in ${up[@]+"${up[@]}"}; do turn "$i" "$1"; done
    done
    stop_endpoints
    print_rows "$1"
}

for name in "${asked[@]}"; do
    case $name in nghttpd) has nghttpd || { say "nghttpd is left out: missing (Debian: nghttp2-server)"; continue; } ;; esac
    add_endpoint "$name"
done
[ ${#ENDPOINTS[@]} -gt 0 ] || die "no endpoint is left"
for name in ${workloads//,/ }; do path_of "$name" >/dev/null; done
write_bodies "$protocol"
: >"$rows"

rm -f "$work"/log/*
print_machine
print_versions
say "Protocol $protocol, $connections connections, $streams streams each, threads of an endpoint:" \
    "$([ "$THREADS_EACH" = 0 ] && echo any || echo "$THREADS_EACH"); medians of $rounds rounds of $duration s"
printf '\n%-13s %-12s %9s %12s %8s %9s %9s\n' workload endpoint 'req/s' 'CPU us/req' spread nghttpd=1 'peak MB'
for name in ${workloads//,/ }; do run "$name"; done
