#!/usr/bin/env bash
# Runs fuzz targets that `make` has built, side by side: `make fuzz` and `make fuzz-check`.
#
#   tests/fuzz/run.sh seconds N TARGET...   for N seconds, also with pools; corpora stay in build/fuzz
#   tests/fuzz/run.sh runs TARGET...        the same input every time
#   tests/fuzz/run.sh functions             that the target `dialog` knows each function of a context
#
# A line for each: inputs, and edges of the code that they reach. The last one is "fuzz: N targets, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/fuzz

# libFuzzer mutates by what the program compares, addresses among it: these have to be the same, too.
fixed=()
if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi

# What takes five to ten seconds on a core.
declare -A runs=([client]=2000 [connection]=6000 [dialog]=1200 [exchange]=6000 [plugin]=30000 [record]=5000
                 [text]=200000 [values]=10000)

# The functions of the header that take a context, a future or a selector, but those of clients and journals.
functions() {
    sed '/^\/\/ >>platform/q' restate.h | tr '\n' ' ' |
        grep -oE 'RESTATE_API [A-Za-z0-9_ *]*\((const )?restate_(ctx|future|selector) \*' |
        sed 's/(.*//; s/.*[ *]//' | grep -vE '^restate_(_|client_|journal_|test_)' | sort -u
}
check_functions() {
    # shellcheck disable=SC2251
    ! comm -23 <(functions) <(grep -oE '\bX\([a-z_]+\)' tests/differential.c | sed 's/X(/restate_/; s/)//' | sort -u) | grep . ||
        { echo "fuzz: no operation of tests/differential.c calls these functions"; exit 1; }
}

fuzz() { # PROGRAM TARGET LOG OPTIONS...: from the seeds, and what earlier runs have found
    local program=$1 target=$2 log=$3 dictionary=tests/fuzz/$2.dict
    shift 3
    [ ! -e "$dictionary" ] || set -- "-dict=$dictionary" "$@"
    ${fixed[@]+"${fixed[@]}"} "$program" -max_len=8192 -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$out/$target-" "$@" >"$log" 2>&1
}
seeds() { # TARGET
    mkdir -p "$out/$1.seeds" "$out/$1.corpus"
    find "$out/$1.seeds" -type f -delete
    "$out/fuzz-$1" --seeds "$out/$1.seeds"
}

failed=0 names=()
declare -A jobs
begin() { # NAME TARGET PROGRAM OPTIONS...
    local name=$1 target=$2 program=$3
    shift 3
    fuzz "$program" "$target" "$out/$name.log" "$@" &
    jobs[$name]=$!
    names+=("$name")
}
finish() {
    local name
    for name in "${names[@]}"; do
        if wait "${jobs[$name]}"; then
            printf '%-18s %s inputs, %s\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$name.log")" \
                "$(grep -oE 'cov: [0-9]+' "$out/$name.log" | tail -n 1)"
        else
            failed=$((failed + 1))
            printf '%-18s FAILED\n' "$name"
            grep -vE '^#[0-9]+\s+(NEW|REDUCE|pulse)' "$out/$name.log" | tail -n 60
        fi
    done
    echo "fuzz: ${#names[@]} targets, $failed failed"
    [ "$failed" = 0 ]
}

what=$1
shift
case $what in
functions) check_functions ;;
runs)
    for target; do
        seeds "$target"
        find "$out/$target.seeds" -type f | LC_ALL=C sort -V | paste -s -d , - >"$out/$target.list"      # not as in the directory
        begin "$target" "$target" "$out/fuzz-$target" -seed=1 "-runs=${runs[$target]}" "-seed_inputs=@$out/$target.list"
    done
    finish ;;
seconds)
    seconds=$1
    shift
    for target; do
        seeds "$target"
        for name in fuzz fuzz-pools; do
            begin "$target${name#fuzz}" "$target" "build/$name/fuzz-$target" "-max_total_time=$seconds" \
                "$out/$target.corpus" "$out/$target.seeds"
        done
    done
    finish ;;
*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
