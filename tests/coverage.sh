#!/usr/bin/env bash
# `make coverage`, which builds the programs: how many lines and branches of restate.h the unit tests reach, for each
# section and in all. A line, or a branch of it, is reached if one of the units reaches it.
#
#   tests/coverage.sh [SECTION...]
#
# What none of them reaches is in build/coverage/SECTION.unreached, for SECTION "all" that of each section: lines as
# "NUMBER:TEXT", branches as "NUMBER.BRANCH:TEXT". Fails below LINES and BRANCHES per cent.
set -euo pipefail
cd "$(dirname "$0")/.."

LINES=97 BRANCHES=90
GCOV=${GCOV:-gcov}
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
work=build/coverage
for section in "$@"; do
    [ "$section" = all ] || grep -q "^// >>$section " restate.h || {
        echo "coverage: restate.h has no section $section" >&2; exit 2; }
done
rm -f $work/*.gcda $work/*.gcov $work/*.unreached

reach() { # PROGRAM: executes it, and keeps what it reached
    "$1" >"$1.gcov.log" 2>&1 </dev/null || { cat "$1.gcov.log" >&2; return 1; }
    "$GCOV" -b -c -t "$1.gcda" 2>>"$1.gcov.log" | awk '/^ *-: *0:Source:/ { header = /[:\/]restate\.h$/ } header' >"$1.gcov"
}
export -f reach
export GCOV
find $work -maxdepth 1 -name 'unit_*' -type f -perm -u+x | sort | xargs -P "$JOBS" -I{} bash -c 'reach {}'

# Lines of gcov are COUNT:NUMBER:TEXT; the count is "-" where there is no code, and "#####" or "=====" where there is code
# that was not reached. Below a line are its branches, "branch N taken COUNT" or "branch N never executed".
awk -v sections=" $* " -v work="$work" -v least_lines=$LINES -v least_branches=$BRANCHES '
    function percent(part, whole) { return whole ? 100 * part / whole : 100 }
    function wanted(section) { return index(sections, " " section " ") || index(sections, " all ") }
    /^branch/ {
        branch = line "." $2
        if (!(branch in branch_of)) { branch_of[branch] = line; branches[at]++; if ($2 > most) most = $2 }
        if ($3 == "taken" && $4 > 0 && !(branch in taken)) { taken[branch]; took[at]++ }
        next
    }
    /^call|^function|^unconditional|^-----/ { next }
    { count = $0; sub(/:.*/, "", count); text = substr($0, length(count) + 2) }
    { line = text + 0; sub(/^[^:]*:/, "", text) }
    line == 0 { at = ""; next }
    text ~ /^\/\/ >>/ {
        at = substr(text, 6)
        sub(/ .*/, "", at)
        if (!(at in seen)) { seen[at]; order[++sections_seen] = at }
    }
    count ~ /-/ { next }
    !(line in of) { of[line] = at; text_of[line] = text; lines[at]++; if (line > last) last = line }
    count !~ /[#=]/ && !(line in reached) { reached[line]; hits[at]++ }
    END {
        for (line = 1; line <= last; line++) {
            if (!(line in of) || !wanted(of[line])) continue
            list = work "/" of[line] ".unreached"
            if (!(line in reached)) { print line ":" text_of[line] >list; continue }
            for (i = 0; i <= most; i++) {
                branch = line "." i
                if (branch in branch_of && !(branch in taken)) print branch ":" text_of[line] >list
            }
        }
        for (i = 1; i <= sections_seen; i++) {
            at = order[i]
            if (!lines[at]) continue
            printf "coverage: %-12s %6.2f %% of %5d lines, %6.2f %% of %5d branches\n", at, percent(hits[at], lines[at]), lines[at],
                percent(took[at], branches[at]), branches[at]
            all_lines += lines[at]; all_hits += hits[at]; all_branches += branches[at]; all_took += took[at]
        }
        printf "coverage: %-12s %6.2f %% of %5d lines, %6.2f %% of %5d branches\n", "all", percent(all_hits, all_lines), all_lines,
            percent(all_took, all_branches), all_branches
        if (percent(all_hits, all_lines) < least_lines || percent(all_took, all_branches) < least_branches) {
            printf "coverage: less than %d %% of lines or %d %% of branches\n", least_lines, least_branches
            exit 1
        }
    }' $work/unit_*.gcov
