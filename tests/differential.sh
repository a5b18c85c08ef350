#!/usr/bin/env bash
# `make differential`: random handlers and random journals go through restate.h as it was at a
# revision, and as it is now. Both have to send the same frames, show handlers the same and log the
# same. What differs on purpose is listed in tests/differential.allow, and cases of a kind that it has
# are counted. The cases are described in tests/differential.c.
#
#   tests/differential.sh [--json] [--cases N] [--from SEED] [--show N] [--faults] [REVISION]
#
#   --json        not journals but JSON and messages of protobuf: tests/differential_json.c
#   --cases N     how many; 1,000,000, which take some minutes on two cores
#   --from SEED   the first one; 1. Other seeds are other cases
#   --show N      of how many cases that differ the transcripts are compared; 3
#   --faults      only the header as it is now, with allocations that fail: nothing may crash or leak
#
# The last line is "differential: N cases, N differ", without those of a kind; the exit status is 0
# if none does.
set -euo pipefail
cd "$(dirname "$0")/.."

BASE=a002aa1            # the header before it was rewritten
BLOCK=1000              # cases that have one hash; where it differs they are looked at one by one
CC=${CC:-cc}

cases=1000000 from=1 show=3 faults= json= revision=$BASE
while [ $# -gt 0 ]; do
    case $1 in
    --json) json=_json ;;
    --cases) cases=$2; shift ;;
    --from) from=$2; shift ;;
    --show) show=$2; shift ;;
    --faults) faults=--faults ;;
    -*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) revision=$1 ;;
    esac
    shift
done

work=build/differential
mkdir -p $work/header
jobs=$(nproc)

compile() { # PROGRAM, directory of the header
    # shellcheck disable=SC2046,SC2086
    $CC -std=c99 -Wall -Wextra -pthread -O2 -g ${CPPFLAGS:-} -I"$2" $(pkg-config --cflags libcjson) -o "$1" \
        tests/differential$json.c ${LDFLAGS:-} $(pkg-config --libs libcjson) -lprotobuf-nanopb -pthread ${LDLIBS:-}
}

# The functions of a header that take a context, a future or a selector.
functions() { # HEADER
    sed '/^\/\/ >>platform/q' "$1" | tr '\n' ' ' |
        grep -oE 'RESTATE_API [A-Za-z0-9_ *]*\((const )?restate_(ctx|future|selector) \*' |
        sed 's/(.*//; s/.*[ *]//' | sort -u
}

# Every one of them that the earlier header has, too, is called by some handler.
check_functions() {
    $work/now --cases 20000 --coverage >$work/coverage || {
        echo "differential: a function is never called:"; grep '^ *0 restate_' $work/coverage; exit 1; }
    comm -12 <(functions restate.h) <(functions $work/header/restate.h) >$work/public
    awk '$2 ~ /^restate_/ && NF == 2 { print $2 }' $work/coverage | sort >$work/called
    # shellcheck disable=SC2251
    ! comm -23 $work/public $work/called | grep . || {
        echo "differential: tests/differential.c does not know these functions"; exit 1; }
}

# PROGRAM FROM CASES BLOCK: a line for each block: its first case, how many, their hash.
run() {
    $work/"$1$json" --allow tests/differential.allow --from "$2" --cases "$3" --block "$4" || {
        echo "differential: $work/$1$json stopped between case $2 and $(($2 + $3 - 1))" >&2; return 1; }
}

# All cases, a part on each core.
run_all() {
    local part=$(((cases + jobs * BLOCK - 1) / (jobs * BLOCK) * BLOCK)) i start size pids=() status=0
    for ((i = 0; i < jobs; i++)); do
        start=$((from + i * part)) size=$((cases - i * part < part ? cases - i * part : part))
        [ $size -gt 0 ] || continue
        { run before $start $size $BLOCK >$work/before.$i && run now $start $size $BLOCK >$work/now.$i; } &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || status=1; done
    [ $status = 0 ] || exit 1
    cat $(seq -f "$work/before.%g" 0 $((${#pids[@]} - 1))) >$work/before.hashes
    cat $(seq -f "$work/now.%g" 0 $((${#pids[@]} - 1))) >$work/now.hashes
}

# The cases of blocks whose hashes differ, one by one.
differing() {
    comm -23 <(sort $work/now.hashes) <(sort $work/before.hashes) | sort -n | while read -r start size _; do
        run before "$start" "$size" 1 >$work/before.block
        run now "$start" "$size" 1 >$work/now.block
        comm -23 <(sort $work/now.block) <(sort $work/before.block) | sort -n | cut -d' ' -f1
    done
}

transcripts() { # SEED
    for program in before now; do
        $work/$program$json --allow tests/differential.allow -v "$1" >$work/$program.text || true
    done
}

# Counts the cases that are of a kind in `kinds`, and lists the others. JSON has no kinds.
declare -A kinds=()
explain() {
    local seed kind
    : >$work/unexplained
    while read -r seed; do
        transcripts "$seed"
        kind=
        [ "$json" ] || kind=$(awk -f tests/differential.awk tests/differential.allow $work/before.text $work/now.text)
        if [ "$kind" ]; then kinds[$kind]=$((${kinds[$kind]:-0} + 1))
        else echo "$seed" >>$work/unexplained; fi
    done <$work/differ
}

if [ "$json" ]; then
    for name in times kinds old names; do ${MAKE:-make} -s build/proto/$name.pb.h; done
fi
revision=$(git rev-parse --short "$revision^{commit}")
for header in restate.h restate_wire.h; do git show "$revision:$header" >$work/header/$header; done
compile $work/now$json .
[ "$json" ] || check_functions
if [ "$faults" ]; then
    [ -z "$json" ] || exit 2
    $work/now --faults --from "$from" --cases "$cases" --block "$cases" >/dev/null
    echo "differential: $cases cases with failing allocations: nothing crashed, nothing leaked"
    exit 0
fi

compile $work/before$json $work/header
run_all
differing >$work/differ
explain
for kind in "${!kinds[@]}"; do echo "differential: on purpose, ${kinds[$kind]} of: $kind"; done | sort
head -n "$show" $work/unexplained | while read -r seed; do
    echo "case $seed: $revision, and now ($work/now$json -v $seed)"
    transcripts "$seed"
    diff -u $work/before.text $work/now.text | sed 1,2d || true
done
count=$(wc -l <$work/unexplained)
echo "differential: $cases cases, $count differ"
[ "$count" = 0 ]
