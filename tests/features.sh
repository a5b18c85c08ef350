#!/bin/sh
# Whether the tests that tests/features/*.md name exist, and whether each row is there once.
#
#   tests/features.sh                           from anywhere; 1 and the names, if any are missing
#
# A row is a line of a table whose first cell is a letter and a number. A test is named as
# `program: test`; unit tests are in the list of tests/PROGRAM.c, cases of e2e in that of
# tests/e2e/e2e.c. A cell without any begins with a dash and says why.
set -eu
cd "$(dirname "$0")/.."

# What there is, as "program: test".
registered() {
    for source in tests/unit_*.c; do
        program=$(basename "$source" .c)
        grep -o '\<T([a-z0-9_]*)' "$source" | sed "s/^T(\(.*\))/$program: \1/"
    done
    grep -o 'X(MODE, m, [a-z0-9_]*)' tests/e2e/e2e.c | sed 's/.*, \(.*\))/e2e: \1/'
}

# What is named, one a line.
named() { grep -h '^|' "$@" | grep -oE '\<(unit_[a-z0-9_]+|e2e): [a-z0-9_]+' | sort -u; }

# "FILE ROW UNIT E2E" for each row: `test`, `dash`, or what is wrong with the cell.
rows() {
    awk -F'|' '
        function cell(text) {
            gsub(/^ +| +$/, "", text)
            if (text ~ /^(unit_[a-z0-9_]+|e2e): [a-z0-9_]+(, (unit_[a-z0-9_]+|e2e): [a-z0-9_]+)*$/)
                return "test"
            if (text ~ /^(–|-) ./) return "dash"
            return "neither-tests-nor-a-dash-and-a-reason"
        }
        $2 ~ /^ *[A-Z][0-9]+ *$/ {
            gsub(/ /, "", $2)
            print FILENAME, $2, NF == 6 ? cell($4) : "not-four-cells", NF == 6 ? cell($5) : "dash"
        }' "$@"
}

set -- tests/features/*.md
[ -e "$1" ] || { echo "features: there is no $1" >&2; exit 1; }
there=$(registered | sort -u)
missing=$(named "$@" | while read -r name; do
    printf '%s\n' "$there" | grep -qxF "$name" || echo "there is no test $name"
done)
twice=$(rows "$@" | awk '{ print $2 }' | sort | uniq -d | sed 's/$/ is there more than once/')
wrong=$(rows "$@" | awk '{ for (i = 3; i <= 4; i++) if ($i != "test" && $i != "dash") print $1 ": " $2 ": " $i }')
holes=$(rows "$@" | awk '{ print $2 }' | sed 's/\([A-Z]\)/\1 /' | sort -u -k1,1 -k2,2n |
    awk '{ while (++n[$1] < $2) print $1 n[$1] " is missing" }')
problems=$(printf '%s\n' "$missing" "$twice" "$wrong" "$holes" | sed '/^$/d')
[ -z "$problems" ] || printf '%s\n' "$problems"
rows "$@" | awk -v tests="$(named "$@" | wc -l)" '
    { n++; unit += $3 == "test"; e2e += $4 == "test" }
    END { printf "features: %d rows, %d with unit tests, %d with end-to-end tests, %d tests named\n",
                 n, unit, e2e, tests }'
[ -z "$problems" ]
