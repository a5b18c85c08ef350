#!/bin/sh
# Whose status has to be looked at: of each public function that can return RESTATE_TERMINAL, _TIMEOUT or
# _CANCELLED, as the comment on it says ("Returns:"), and of no other. Compilers are asked: a call whose
# result is forgotten, for each function that returns a status.
#
#   COMPILERS='gcc clang g++ clang++' FLAGS='-I...' tests/checked.sh restate.h
set -eu
header=${1:-restate.h}
COMPILERS=${COMPILERS:-gcc clang g++ clang++} FLAGS=${FLAGS:--I.}
work=build/compile/checked
failed=0
rm -rf "$work"
mkdir -p "$work"

# NAME yes|no CALL, a line for each; a comment holds for the declarations below it, up to the next.
awk '
    function arguments(list,    n, i, a, out) {
        gsub(/[ \n]+/, " ", list)
        n = split(list, a, /, */)
        for (i = 1; i <= n; i++) {
            if (a[i] == "...") continue
            out = out (i > 1 ? ", " : "") \
                (a[i] ~ /\*/ ? (a[i] ~ /\*format$/ ? "\"x\"" : "NULL") : \
                 a[i] ~ /^restate_(bytes|target|invocation) / ? "no_" substr(a[i], 9, index(a[i], " ") - 9) : "0")
        }
        return out
    }
    function declared(text,    name, list, r) {
        if (text !~ /^RESTATE_API restate_status restate_[a-z]/) return
        name = substr(text, 28)
        name = substr(name, 1, index(name, "(") - 1)
        list = substr(text, index(text, "(") + 1)
        sub(/\)( *\n? *RESTATE__[A-Z]+(\([^)]*\))?)*;.*/, "", list)
        r = said
        if (match(r, /as restate_[a-z_]*\(\)/)) r = r " " says[substr(r, RSTART + 3, RLENGTH - 5)]
        if (r ~ /as above/) r = r " " says[last]
        says[name] = r
        last = name
        print name, (r ~ /RESTATE_(TERMINAL|TIMEOUT|CANCELLED)/ ? "yes" : "no"), name "(" arguments(list) ")"
        if (r == "") { print name ": its comment has no Returns:" >"/dev/stderr"; exit 1 }
    }
    /^#endif \/\* RESTATE_H \*\// { exit }
    /^\/\*/ { comment = 1; said = ""; returns = 0 }
    comment {
        if (/^ \* [A-Z][a-z]+:/ || /^ \* Await point/) returns = 0
        if (/^ \* Returns:/) returns = 1
        if (returns) said = said " " $0
        if (/\*\//) comment = 0
        next
    }
    /^RESTATE_API / { open = 1; text = "" }
    open { text = text (text == "" ? "" : "\n") $0; if (/;/) { open = 0; declared(text) } }
' "$header" >"$work/functions"
count=$(wc -l <"$work/functions")
[ "$count" -gt 30 ] || { echo "only $count functions were found"; exit 1; }

# Forgotten, and meant, in C and in C++.
for how in forgotten meant; do
    {
        printf '#define RESTATE_WITH_TEST\n#include "restate.h"\nstatic const restate_bytes no_bytes = { NULL, 0 };\n'
        printf 'static const restate_target no_target = { NULL, NULL, NULL, NULL };\n'
        printf 'static const restate_invocation no_invocation = { NULL, { NULL, NULL, NULL, NULL }, NULL };\n'
        printf '#if defined(__cplusplus)\nextern "C"\n#endif\nvoid all(void);\nvoid all(void) {\n'
        printf '(void)no_bytes; (void)no_target; (void)no_invocation;\n'
        while read -r name must call; do
            if [ $how = meant ] && [ "$must" = yes ]; then call="RESTATE_IGNORE($call)"; fi
            printf '#line 1 "%s"\n%s;\n' "$name" "$call"
        done <"$work/functions"
        printf '}\n'
    } >"$work/$how.c"
    cp "$work/$how.c" "$work/$how.cc"
done
awk '$2 == "yes" { print $1 }' "$work/functions" | sort >"$work/expected"
for cc in $COMPILERS; do
    case $cc in *++*) std=-std=c++17 file=cc ;; *) std=-std=c99 file=c ;; esac
    # shellcheck disable=SC2086  # words
    "$cc" $std -Wall -Wextra -Werror $FLAGS -c -o "$work/out.o" "$work/meant.$file" || failed=1
    # shellcheck disable=SC2086
    "$cc" $std -Wall -Wextra $FLAGS -c -o "$work/out.o" "$work/forgotten.$file" 2>&1 |
        sed -n 's/^\(restate_[a-z_]*\):1:.*unused-result.*/\1/p' | sort -u >"$work/warned"
    if ! diff "$work/expected" "$work/warned" >"$work/diff"; then
        sed -n "s/^< \\(.*\\)/$cc: \\1 can fail, and says nothing when its status is forgotten/p
            s/^> \\(.*\\)/$cc: \\1 cannot fail, but wants its status looked at/p" "$work/diff"
        failed=1
    fi
done
echo "checked: $(wc -l <"$work/expected") of $count functions"
exit "$failed"
