#!/usr/bin/env bash
# `make coverage`, which builds the programs: how many lines of code of restate.h the unit tests of
# journal and context reach, for each section.
#
#   tests/coverage.sh [SECTION]
#
# A line is reached if one of the units reaches it. Those of SECTION (journal) that none of them
# reaches are in build/coverage/SECTION.unreached.
set -euo pipefail
cd "$(dirname "$0")/.."

section=${1:-journal}
GCOV=${GCOV:-gcov}
work=build/coverage
grep -q "^// >>$section " restate.h || {
    echo "coverage: restate.h has no section $section" >&2; exit 2; }
rm -f $work/*.gcda $work/*.gcov $work/"$section".unreached

for unit in $work/unit_journal* $work/unit_context*; do
    case $unit in *.gc*) continue ;; esac
    "$unit" >"$unit.gcov.log" 2>&1 </dev/null || { cat "$unit.gcov.log" >&2; exit 1; }
    "$GCOV" -t "$unit.gcda" >"$unit.gcov" 2>>"$unit.gcov.log"
done

# Lines of gcov are COUNT:NUMBER:TEXT; the count is "-" where there is no code, and "#####" or
# "=====" where there is code that was not reached.
awk -v section="$section" -v list="$work/$section.unreached" '
    { count = $0; sub(/:.*/, "", count); text = substr($0, length(count) + 2) }
    { line = text + 0; sub(/^[^:]*:/, "", text) }
    line == 0 && text ~ /^Source:/ { in_header = text ~ /[:\/]restate\.h$/; at = "" }
    !in_header || line == 0 { next }
    text ~ /^\/\/ >>/ {
        at = substr(text, 6)
        sub(/ .*/, "", at)
        if (!(at in seen)) { seen[at]; order[++sections] = at }
    }
    count ~ /-/ { next }
    !(line in of) { of[line] = at; text_of[line] = text; lines[at]++; if (line > last) last = line }
    count !~ /[#=]/ && !(line in reached) { reached[line]; hits[at]++ }
    END {
        for (line = 1; line <= last; line++)
            if (of[line] == section && !(line in reached)) print line ":" text_of[line] >list
        for (i = 1; i <= sections; i++) {
            at = order[i]
            if (!lines[at]) continue
            printf "coverage: %-12s %6.2f %% of %5d lines\n", at, 100 * hits[at] / lines[at], lines[at]
        }
    }' $work/unit_*.gcov
if [ -e $work/"$section".unreached ]; then
    missed=$(wc -l <"$work/$section.unreached")
    echo "coverage: the other $missed lines of $section: $work/$section.unreached"
fi
