#!/usr/bin/env bash
# `make bench-check`: the request bodies of the benchmarks get the answers that they should, in each
# protocol, and one that is not the right answer is found out.
#
#   tests/bench/check.sh [ENDPOINT...]     names as in bench.sh, default restate.h
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/common.sh

status=0
wrong() { say "$*"; status=1; }
trap stop_endpoints EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

[ $# -gt 0 ] || set -- restate.h
for name in "$@"; do add_endpoint "$name"; done
for i in "${!ENDPOINTS[@]}"; do
    start_endpoint "$i" || { status=1; continue; }
    for protocol in 6 7; do
        write_bodies "$protocol"
        for body in "$work/v$protocol"/*.body; do
            workload=${body##*/} workload=${workload%.body}
            check_answer "$i" "$workload" "$protocol" || wrong "${ENDPOINTS[i]}, protocol $protocol: $why"
            [ "$workload" != greet ] || cp "$work/got" "$work/greeted"
        done
        for other in count sleep replay-10; do
            ! build/bench-bodies --check "$other" "$work/v$protocol/$other.answer" "$work/greeted" 2>/dev/null ||
                wrong "the answer of greet passes for that of $other"
        done
    done
    stop_endpoint "$i"
done
exit $status
