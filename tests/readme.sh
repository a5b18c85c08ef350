#!/bin/sh
# `make readme`: compiles the C code of README.md, under the strict flags, and names what does not
# compile. That code is the last cell of each row below "Coming from the Go SDK", and all that is
# fenced as ```c. What includes restate.h is a file as it stands. The rest goes behind
# tests/compile/readme_prelude.h: definitions (static, typedef) as they are, statements into a
# handler. What is fenced as ```c FILE, or another language and a file, is part of that file, line by
# line; the file is compiled elsewhere.
#
# Environment: STRICT, flags of the compilers; INCLUDES, where headers are; COMPILERS.
set -eu
cd "$(dirname "$0")/.."
: "${STRICT:=-std=c99 -pedantic -Wall -Wextra -Werror}"
: "${INCLUDES:=-I. -Ibuild/proto}" "${COMPILERS:=cc}"
readme=${1:-README.md}
work=build/readme
rm -rf "$work"
mkdir -p "$work"

# A file for each piece, by the number of its first line: LINE.whole.c or LINE.part.c. Whatever
# is wrong with the README itself goes into `malformed`.
awk -v dir="$work" -v readme="$readme" '
    function piece(first, code) {
        whole = code ~ /#include "restate.h"/
        path = dir "/" first (whole ? ".whole.c" : ".part.c")
        here = "#line " first " \"" readme "\"\n"
        if (!whole) printf "#include \"tests/compile/readme_prelude.h\"\n" >path
        if (whole || code ~ /^(static|typedef) /) {
            printf "%s%s", here, code >path
        } else {
            args = "(restate_ctx *ctx, restate_ctx *run, restate_bytes input)"
            printf "restate_status handler%s;\nrestate_status handler%s {\n", args, args >path
            printf "(void)ctx;\n(void)run;\n(void)input;\n%s%s", here, code >path
            printf "return RESTATE_OK;\n}\n" >path
        }
        close(path)
        pieces++
    }
    function malformed(what) { printf "%s:%d: %s\n", readme, FNR, what >(dir "/malformed") }

    # The lines of a block, one after the other, somewhere in the file.
    function quoted(path, lines,   text, line) {
        while ((getline line < path) > 0) text = text line "\n"
        close(path)
        if (!lines || !index("\n" text, "\n" lines)) malformed("this is not in " path)
        quotes++
    }

    quoting && /^ *```/ { quoted(quoting, code); quoting = ""; next }
    quoting { code = code $0 "\n"; next }
    /^```[a-z]+ [^ ]+$/ { quoting = $2; code = ""; next }
    fenced && /^ *```/ { piece(fenced, code); fenced = 0; blocks++; next }
    fenced { sub("^" indent, ""); code = code $0 "\n"; next }
    /^ *```c$/ { indent = $0; sub(/```c$/, "", indent); fenced = FNR + 1; code = ""; next }

    /^## / { table = ($0 == "## Coming from the Go SDK"); next }
    table && /^\|/ && !/^\| Go / && !/^\|---/ {
        row = $0
        sub(/ *\|$/, "", row)
        cells = split(row, cell, / \| /)
        example = cell[cells]
        if (cells != 3 || example !~ /^`[^`]+`$/) {
            malformed("no row of Go, C and one line of code")
            next
        }
        piece(FNR, substr(example, 2, length(example) - 2) "\n")
        rows++
    }
    END {
        if (fenced || quoting) malformed("a block of code does not end")
        if (!blocks) malformed("there is no block of C code")
        if (!rows) malformed("there is no table of the Go SDK")
        printf "%d lines of the table, %d blocks, %d parts of files\n", rows, blocks, quotes
    }' "$readme" >"$work/found"

status=0
[ ! -e "$work/malformed" ] || { cat "$work/malformed"; status=1; }

# Nobody uses what an example defines.
for file in "$work"/*.c; do
    [ -e "$file" ] || break
    line=${file#"$work/"}
    case $file in *.part.c) unused=-Wno-unused ;; *) unused= ;; esac
    for compiler in $COMPILERS; do
        # shellcheck disable=SC2086  # lists of words
        if ! $compiler $STRICT $unused $INCLUDES -fsyntax-only "$file" 2>"$work/errors"; then
            printf '%s:%s: %s does not compile this:\n' "$readme" "${line%%.*}" "$compiler"
            sed -n "${line%%.*}p" "$readme"
            cat "$work/errors"
            status=1
        fi
    done
done
[ $status -ne 0 ] || cat "$work/found"
exit $status
