#!/bin/sh
# Whether an operation of the journal takes more instructions than tests/bench/budget allows it.
#
#   tests/bench/budget.sh                       fails if one takes over 5 % more
#   tests/bench/budget.sh --write               makes what they take now the budget
#
# Instructions are counted by callgrind, in two runs that differ in their number of requests alone, so
# that the figure is the same every time. Another compiler than the budget's gives another figure:
# then nothing is compared, and the exit status is 77.
set -eu
cd "$(dirname "$0")/../.."
budget=tests/bench/budget
compiler="$(${CC:-cc} -dumpfullversion 2>/dev/null) $(${CC:-cc} -dumpmachine)"
program=build/bench-journal

counted() { # REQUESTS OPERATION
    "${VALGRIND:-valgrind}" --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

# FEW MANY ENTRIES OPERATION: of how many requests, with how many entries each
operations() {
    cat <<'LIST'
200 600 1 invocation
20 60 100 replayed run, of 100
1 2 10000 replayed run, of 10,000
2 6 1000 replayed sleep, of 1,000
2 6 1000 replayed sleep, gathered
2 6 1000 new set state, of 1,000
2 6 1000 new get state, of 1,000
LIST
}

measured() {
    operations | while read -r few many entries name; do
        a=$(counted "$few" "$name") b=$(counted "$many" "$name")
        if [ "${a:-0}" -eq 0 ] || [ "${b:-0}" -le "$a" ]; then
            echo "budget.sh: nothing was counted for \"$name\": $program under callgrind failed" >&2
            exit 1
        fi
        echo "$(((b - a) / ((many - few) * entries))) $name"
    done
}

if [ "${1:-}" = --write ]; then
    {
        echo '# Instructions per operation; written by tests/bench/budget.sh --write'
        echo "# $compiler"
        measured
    } >build/budget.new
    mv build/budget.new "$budget"
    exit
fi
if [ "$(sed -n 2p "$budget")" != "# $compiler" ]; then
    echo "the budget is that of another compiler: $(sed -n 2p "$budget"), not # $compiler"
    exit 77
fi
measured >build/budget.now
awk '
    /^#/ { next }
    { n = $1; sub(/^[0-9]+ /, "") }
    NR == FNR { allowed[$0] = n; next }
    !($0 in allowed) { print $0 " has no budget"; bad = 1; next }
    {
        printf "%-28s %6d instructions, budget %6d\n", $0, n, allowed[$0]
        if (n > 1.05 * allowed[$0]) { print "  over the budget"; bad = 1 }
    }
    END { exit bad }' "$budget" build/budget.now
