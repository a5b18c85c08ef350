#!/bin/sh
# Whether the tests that tests/features/*.md and tests/scenarios.md name exist, and whether each row is there once.
#
#   tests/features.sh                           1 and what is wrong, if anything is
#
# A row is a line of a table whose first cell is a letter and a number, or, of a scenario, just a number. A test is named as
# `program: test`; unit tests are in the list of tests/PROGRAM.c, cases of e2e in that of
# tests/e2e/e2e.c, of e2e-contract in those of tests/e2e/contract_*.c. A cell that names none begins with a dash and says why.
set -eu
cd "$(dirname "$0")/.."

# Every part of the input that fits the expression, one a line.
parts() { # EXPRESSION
    awk -v e="$1" '{
        while (match($0, e)) {
            print substr($0, RSTART, RLENGTH)
            $0 = substr($0, RSTART + RLENGTH)
        }
    }'
}

# What there is, as "program: test".
registered() {
    for source in tests/unit_*.c; do
        program=${source#tests/}
        parts '[^A-Z_]T[(][a-z0-9_]+[)]' <"$source" | sed "s/.*(\(.*\))/${program%.c}: \1/"
    done
    parts '(CASE|FIRST)[(][a-z0-9_]+[)]' <tests/e2e/e2e.c | sed 's/.*(\(.*\))/e2e: \1/'
    cat tests/e2e/contract_*.c | parts '[{] "[a-z0-9_]+", [a-z0-9_]+_case,' | sed 's/{ "\(.*\)", .*/e2e-contract: \1/'
}

# What is named; the rule for e2e is that a name has no mode.
named() { cat "$@" | grep '^|' | parts '(unit_[a-z0-9_]+|e2e|e2e-contract): [a-z0-9_]+' | sort -u; }

# "FILE ROW UNIT E2E" for each row: tests, dash, or nothing (and that is wrong).
rows() {
    awk -F'|' '
        function cell(text) {
            if (text ~ /(unit_[a-z0-9_]+|e2e|e2e-contract): [a-z0-9_]+/) return "tests"
            return text ~ /^ *(–|—|-) *[^ ]/ ? "dash" : "nothing"
        }
        $2 ~ /^ *[0-9]+ *$/ {                               # a scenario
            print FILENAME, "#" $2 + 0, cell($(NF - 1)), "dash"
        }
        $2 ~ /^ *[A-Z][0-9]+ *$/ {
            gsub(/ /, "", $2)
            print FILENAME, $2, cell($4), cell($5)
        }' "$@"
}

set -- tests/features/*.md tests/scenarios.md
there=$(registered | sort -u)
names=$(named "$@")
lines=$(rows "$@")
wrong=$({
    printf '%s\n' "$names" | while read -r name; do
        printf '%s\n' "$there" | grep -qxF "$name" || echo "there is no test $name"
    done
    printf '%s\n' "$there" | grep ': s[0-9][0-9][0-9]_' | while read -r name; do      # of a scenario
        printf '%s\n' "$names" | grep -qxF "$name" || echo "tests/scenarios.md does not name $name"
    done
    printf '%s\n' "$lines" | awk '
        $3 == "nothing" || $4 == "nothing" { print $1 ": " $2 " has neither tests nor a reason" }
        seen[$2]++ == 1 { print $2 " is there more than once" }
        {
            group = substr($2, 1, 1)
            n = substr($2, 2) + 0
            if (n > last[group]) last[group] = n
        }
        END {
            for (g in last)
                for (i = 1; i < last[g]; i++)
                    if (!((g i) in seen)) print g i " is missing"
        }'
})
[ -z "$wrong" ] || printf '%s\n' "$wrong"
printf '%s\n' "$lines" | awk -v tests="$(printf '%s\n' "$names" | wc -l)" '
    { n++; unit += $3 == "tests"; e2e += $4 == "tests" }
    END {
        printf "features: %d rows, %d with unit tests, %d with end-to-end tests, %d tests named\n",
            n, unit, e2e, tests
    }'
[ -z "$wrong" ]
