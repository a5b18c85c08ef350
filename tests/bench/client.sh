#!/usr/bin/env bash
# `make bench-client`: what a call takes the client of restate.h, and what the same request takes h2load.
#
#   tests/bench/client.sh [OPTIONS]
#
#   --requests N        50000 in each turn
#   --concurrency LIST  64; requests at a time, on one connection
#   --rounds N          9; medians are printed
#   --quick             3 rounds of 5000 requests
#
# Both post the same body with the same headers to nghttpd, which sends it back. They take turns, so that what else
# goes on meets both. User and system time are counted, less what a process takes to start. Where valgrind is, the
# instructions of a request in user space are counted, too, which nothing else can change.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

requests=50000 concurrencies=64 rounds=9 asked=()
quick() { rounds=3 requests=5000; }
options requests=requests concurrency=concurrencies rounds=rounds -- "$@"
need h2load nghttp2-client nghttpd nghttp2-server
trap stop_endpoints EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$work/www"
printf 1 >"$work/one"
add_endpoint "nghttpd=nghttpd --no-tls --echo-upload -n1 -d $PWD/$work/www \$PORT"
start_endpoint 0 || exit 1
url=http://127.0.0.1:${PORTS[0]}

# A turn of one of them, with words to put before.
turn() { # NAME REQUESTS CONCURRENCY WORDS...
    local name=$1 n=$2 at_a_time=$3
    shift 3
    if [ "$name" = h2load ]; then
        "$@" h2load -t1 -c1 "-m$at_a_time" -n "$n" -d "$work/one" -H 'content-type: application/json' "$url/S/echo"
    else
        "$@" build/bench-client "$url" /S/echo "$n" "$at_a_time" plain
    fi >"$work/$name.out" 2>&1
    case $name in
        h2load) grep -q "^status codes: $n 2xx" "$work/h2load.out" ;;
        *) grep -q "^$n answered, 0 failed, $n tries" "$work/$name.out" ;;
    esac || die "$name: $(tail -n 3 "$work/$name.out")"
}

# Microseconds of CPU of a turn.
used() { # NAME REQUESTS CONCURRENCY
    local TIMEFORMAT='%U %S'
    { time turn "$@" >&3 2>&4; } 3>&1 4>&2 2>&1 | awk '{ printf "%d\n", ($1 + $2) * 1e6 }'
}

# Microseconds of CPU of a request: those of a turn less those of its first requests, and of its start.
timed() { # NAME CONCURRENCY
    local all first
    first=$(used "$1" "$2" "$2")
    all=$(used "$1" $(($2 + requests)) "$2")
    awk -v all="$all" -v first="$first" -v n="$requests" 'BEGIN { printf "%.3f\n", (all - first) / n }'
}

# The instructions of a request: those of many less those of few.
counted() { # NAME CONCURRENCY
    local n
    for n in 2000 6000; do
        turn "$1" "$n" "$2" valgrind --tool=callgrind --callgrind-out-file=/dev/null
        sed -n 's/.*Collected : *//p' "$work/$1.out"
    done | awk '{ i[NR] = $1 } END { printf "%d\n", (i[2] - i[1]) / 4000 }'
}

print_machine
say "h2load: $(h2load --version)"
for c in ${concurrencies//,/ }; do
    a='' b=''
    for _ in $(seq 1 "$rounds"); do
        a="$a $(timed h2load "$c")" b="$b $(timed restate.h "$c")"
    done
    awk -v a="$a" -v b="$b" -v c="$c" "$AWK_MEDIAN"' BEGIN {
        printf "%d at a time: h2load %.2f us, restate.h %.2f us of CPU a request: %.2f times that (spread %.0f and %.0f %%)\n",
            c, median(a), median(b), median(b) / median(a), spread(a), spread(b) }'
    has valgrind || continue
    awk -v a="$(counted h2load "$c")" -v b="$(counted restate.h "$c")" -v c="$c" 'BEGIN {
        printf "%d at a time: h2load %d, restate.h %d instructions a request: %.2f times that\n", c, a, b, b / a }'
done
