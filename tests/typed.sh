#!/usr/bin/env bash
# `make typed`: protoc-gen-restate, and what it makes.
#
#   tests/typed.sh            the header of tests/typed/*.proto is as in expected/, compiles (C99 and C++17, no
#                             warnings), links, serves; so do all of tests/typed/shapes; what is in wrong/ is refused
#   tests/typed.sh server     that, and the same calls by a real server, twice: the second time it suspends at each wait
#   tests/typed.sh expected   writes expected/ and wrong/*.txt anew, to be read with git diff
#
# Environment: GCC, CLANG, GXX, CLANGXX, STRICT, FLAGS (where headers are), LIBS. Works in build/typed.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${GCC:=gcc}" "${CLANG:=clang}" "${GXX:=g++}" "${CLANGXX:=clang++}"
: "${STRICT:=-std=c99 -pedantic -Wall -Wextra -Werror -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes}"
: "${FLAGS:=}" "${LIBS:=-lnghttp2 -lcjson -lprotobuf-nanopb -pthread}"
source=tests/typed
work=build/typed
out=$work/out
mode=${1:-compile}
plugin=$PWD/build/protoc-gen-restate
rm -rf "$work"
mkdir -p "$out" "$work/inc/google/protobuf" "$work/fresh"
# shellcheck disable=SC2206  # lists of words
strict=($STRICT) flags=($FLAGS -I. "-I$source" "-I$out") libs=($LIBS)

step() { printf '%s\n' "typed: $*"; }
die() { printf 'typed: %s\n' "$*" >&2; exit 1; }
told() { grep -q -e "$1" "$work/why.txt" || { cat "$work/why.txt"; die "does not say: $1"; }; }
refuse() { if "$@" >"$work/why.txt" 2>&1; then die "not refused: $*"; fi; }   # its messages are in why.txt

# protobuf's own files. Debian has descriptor.proto in nanopb's package, too, and nanopb.proto.
for dir in /usr/include /usr/lib/python3/dist-packages/proto; do
    [ -f "$dir/google/protobuf/descriptor.proto" ] || continue
    cp "$dir/google/protobuf/descriptor.proto" "$work/inc/google/protobuf"
    if [ -f "$dir/nanopb.proto" ]; then cp "$dir/nanopb.proto" "$work/inc"; fi
done
includes=("-I$source/shapes" -Iproto "-I$work/inc")

generate() { protoc "$@" "${includes[@]}" --plugin="$plugin"; }     # FLAG... FILE..., its directory first
nanopb_to() { # TO DIR FILE...: each with the .options file beside it
    nanopb_generator.py -q -s enum_to_string:true -s 'exclude:"restate/options.proto"' -I "$2" "${includes[@]}" -D "$1" "${@:3}"
}
nanopb() { nanopb_to "$out" "$@"; }
calls_of() { if [ "$1" = services ]; then echo "$source/services.calls"; else echo "$source/shapes/shapes.calls"; fi; }    # PROGRAM

step "the output is what it was"
generate "-I$source" --restate_out="$work/fresh" orders.proto mail.proto
[ "$mode" != expected ] || cp "$work"/fresh/*.restate.h "$source/expected/"
for name in orders mail; do diff -u "$source/expected/$name.restate.h" "$work/fresh/$name.restate.h"; done
cp "$work"/fresh/*.restate.h "$out"
nanopb "$source" orders.proto mail.proto
# nanopb's script as the front end: the same files.
nanopb_generator.py -q -I "$source" "${includes[@]}" -D "$work/fresh" --protoc-opt=--plugin="$plugin" \
    --protoc-opt=--restate_out="$work/fresh" orders.proto mail.proto
for name in orders mail; do cmp "$source/expected/$name.restate.h" "$work/fresh/$name.restate.h"; done

step "what cannot be done is told in the words of the file"
for file in "$source"/wrong/*.proto; do
    name=$(basename "$file" .proto)
    option=()
    case $name in
    unknown_option) option=(--restate_opt=colour=red) ;;
    package) option=(--restate_opt=package=my-shop) ;;
    esac
    refuse generate "-I$source/wrong" "${option[@]}" --restate_out="$work/fresh" "$name.proto"
    sed -i 's/^--restate_out: //; /warning: Import/d' "$work/why.txt"
    [ "$mode" != expected ] || cp "$work/why.txt" "$source/wrong/$name.txt"
    diff -u "$source/wrong/$name.txt" "$work/why.txt"
done
# Messages in messages: as deep as restate.h goes, and one deeper.
deep() { # DEPTH
    printf 'syntax = "proto3";\npackage deep;\nservice S { rpc Do(M1) returns (M1); }\n'
    for ((i = 1; i < $1; i++)); do echo "message M$i { M$((i + 1)) m = 1; }"; done
    echo "message M$1 { int32 n = 1; }"
}
mkdir -p "$work/deep"
deep 33 >"$work/deep/deep33.proto"
refuse generate "-I$work/deep" --restate_out="$work/fresh" deep33.proto
told '^--restate_out: deep33.proto:3: rpc S.Do: message deep.M33 is the 33rd inside of another; restate.h goes down to 32$'
deep 32 >"$work/deep/deep32.proto"
generate "-I$work/deep" --restate_out="$out" deep32.proto
nanopb "$work/deep" deep32.proto

step "it compiles without warnings, as C99 and C++17; so does the plugin"
for cc in "$GCC" "$CLANG"; do
    "$cc" "${strict[@]}" -O2 -o "$work/protoc-gen-restate" proto/protoc-gen-restate.c
    protoc "-I$source" "${includes[@]}" --plugin="$PWD/$work/protoc-gen-restate" --restate_out="$work/fresh" orders.proto
    cmp "$source/expected/orders.restate.h" "$work/fresh/orders.restate.h"
done
"$GCC" -std=c99 -O0 "${flags[@]}" -DRESTATE_IMPLEMENTATION -DRESTATE_WITH_TEST -c -o "$work/restate.o" -x c restate.h
for cc in "$GCC" "$CLANG"; do
    for name in services alone buyer call; do
        "$cc" "${strict[@]}" -O0 "${flags[@]}" -c -o "$work/$name.o" "$source/$name.c"
    done
done
for cxx in "$GXX -std=c++17" "$CLANGXX -std=c++17" "$GXX -std=c++20"; do
    # shellcheck disable=SC2086
    $cxx -pedantic -Wall -Wextra -Werror "${flags[@]}" -c -o "$work/both.o" "$source/both.cc"
done
pb() { "$GCC" -std=c99 -O0 "${flags[@]}" -c -o "$work/${1//\//_}.pb.o" "$out/$1.pb.c"; }
pb orders
pb mail
"$GCC" -o "$work/services" "$work"/{services,buyer,call,restate,orders.pb,mail.pb}.o "${libs[@]}"

step "programs that only call link without handlers, and a handler that is not there is named"
"$GCC" -o "$work/alone" "$work"/{alone,buyer,restate,orders.pb}.o "${libs[@]}"
sed '/^restate_status shop_v1_Checkout_Paid/,/^}/d' "$source/services.c" >"$work/missing.c"
"$GCC" -std=c99 -O0 "${flags[@]}" -c -o "$work/missing.o" "$work/missing.c"
refuse "$GCC" -o "$work/missing" "$work"/{missing,buyer,call,restate,orders.pb,mail.pb}.o "${libs[@]}"
told "undefined reference to .shop_v1_Checkout_Paid'"

step "a string without a size would be lost, in binary form too; large numbers of fields, and nanopb with another package are noticed"
mkdir "$work/lost" "$work/other"
cp "$source"/mail.proto "$source"/expected/mail.restate.h "$work/lost"
sed '/Address/d' "$source/mail.options" >"$work/lost/mail.options"
nanopb_generator.py -q -I "$work/lost" "${includes[@]}" -D "$work/lost" mail.proto
refuse "$GCC" -std=c99 "-I$work/lost" -I. -fsyntax-only -x c "$work/lost/mail.restate.h"
told RESTATE_PROTO_needs_max_size_or_max_count_for_Letter_Address_name
told 'mail.proto:11: Mail.Send'
printf 'syntax = "proto3";\nservice Far { rpc Go(Way) returns (Way); }\nmessage Way { int32 n = 65536; }\n' >"$work/lost/far.proto"
generate "-I$work/lost" --restate_out="$work/lost" far.proto
nanopb_generator.py -q -I "$work/lost" -D "$work/lost" far.proto
refuse "$GCC" -std=c99 "-I$work/lost" -I. -fsyntax-only -x c "$work/lost/far.restate.h"
told 'far.proto:2: rpc Far.Go: Way.n has the number 65536; those above 65535 need nanopb.*PB_FIELD_32BIT'
"$GCC" -std=c99 "-I$work/lost" -I. -DPB_FIELD_32BIT -fsyntax-only -x c "$work/lost/far.restate.h"
generate "-I$source" --restate_opt=package=other --restate_out="$work/other" orders.proto
refuse "$GCC" -std=c99 "-I$work/other" "-I$out" -I. -fsyntax-only -x c "$work/other/orders.restate.h"
told 'nanopb made no other_PlaceRequest: give protoc-gen-restate the same package='

# ---- Shapes -----------------------------------------------------------------------------------------------

# Handlers for all prototypes of a header: what returns what it takes gives it back, and what is named XJson_Y
# does so by XBinary_Y, if there is one.
handlers() { # HEADER...
    cat "$@" | awk '
        /^restate_status / { proto = ""; on = 1 }
        on { line = $0; sub(/^ +/, "", line); proto = proto (proto == "" ? "" : " ") line }
        on && /;$/ {
            on = 0
            sub(/;$/, "", proto)
            name = proto
            sub(/^restate_status /, "", name)
            sub(/\(.*/, "", name)
            order[++n] = name
            text[name] = proto
        }
        END {
            for (i = 1; i <= n; i++) {
                name = order[i]
                p = text[name]
                takes = gives = ""
                if (match(p, /const [A-Za-z0-9_]+ \*in[,)]/)) { takes = substr(p, RSTART + 6, RLENGTH - 11) }
                if (match(p, /, [A-Za-z0-9_]+ \*out\)/)) { gives = substr(p, RSTART + 2, RLENGTH - 8) }
                binary = name
                sub(/Json_/, "Binary_", binary)
                print p " {"
                if (takes == "" || gives != takes) print "    (void)ctx;"
                if (takes != "" && gives == takes) {
                    if (binary != name && binary in text) print "    return " binary "_call(ctx, in, NULL, out);\n}"
                    else print "    (void)ctx;\n    *out = *in;\n    return RESTATE_OK;\n}"
                    continue
                }
                if (takes != "") print "    (void)in;"
                if (gives != "") print "    (void)out;"
                print "    return RESTATE_OK;\n}"
            }
        }'
}

step "shapes: one program with the services of all of them"
mkdir -p "$work/many"
{
    printf 'syntax = "proto3";\npackage many;\nmessage M { int32 n = 1; }\nservice Many {\n'
    for ((i = 1; i <= 200; i++)); do printf '  // Number %d.\n  rpc Rpc%d(M) returns (M);\n' $i $i; done
    echo '}'
} >"$work/many/many.proto"
generate "-I$work/many" --restate_out="$out" many.proto
nanopb "$work/many" many.proto
mapfile -t shapes < <(cd "$source/shapes" && ls ./*.proto sub/*.proto | sed 's|^\./||; s|\.proto$||')
mapfile -t parts < <(cd "$source/shapes" && ls common/*.proto google/protobuf/*.proto | sed 's|\.proto$||')
for name in "${shapes[@]}"; do
    option=()
    case $name in
    marked) option=(--restate_opt=marked) ;;
    bare_option) option=(--restate_opt=bare,encoding=proto) ;;
    esac
    generate "${option[@]}" --restate_out="$out" "$name.proto"
done
nanopb "$source/shapes" "${shapes[@]/%/.proto}" "${parts[@]/%/.proto}"
shapes+=(many deep32)
[ "${#shapes[@]}" -ge 20 ] || die "only ${#shapes[@]} shapes"
awk 'length > 100 && !/^ *"/ { print FILENAME ":" FNR ": longer than 100"; bad = 1 } END { exit bad }' "$source"/expected/*.h
program() { # SHAPE...
    local headers=("${@/#/$out/}")
    headers=("${headers[@]/%/.restate.h}")
    echo '#include "call.h"'
    printf '#include "%s.restate.h"\n' "$@"
    handlers "${headers[@]}"
    echo 'const restate_service *const *served(void) {'
    echo '    static const restate_service *services[100];'
    echo '    size_t n = 0;'
    sed -n 's/^static inline const restate_service \*\(.*\)(void) {$/    services[n++] = \1();/p' "${headers[@]}"
    echo '    services[n] = NULL;'
    echo '    return services;'
    echo '}'
}
program "${shapes[@]}" >"$work/shapes.c"
in_cxx=()                               # what has words of C++ is told so
for name in "${shapes[@]}"; do [[ $name == words_of_* ]] || in_cxx+=("$name"); done
program "${in_cxx[@]}" >"$work/shapes.cc"
for cc in "$CLANG" "$GCC"; do "$cc" "${strict[@]}" -O0 "${flags[@]}" -c -o "$work/shapes.o" "$work/shapes.c"; done
for cxx in "$GXX" "$CLANGXX"; do
    "$cxx" -std=c++17 -pedantic -Wall -Wextra -Werror "${flags[@]}" -fsyntax-only "$work/shapes.cc"
    refuse "$cxx" -std=c++17 "${flags[@]}" -fsyntax-only -x c++ "$out/words_of_cxx.restate.h"
    told 'words_of_cxx.proto:4: rpc S.Do: words.cxx.M.class is a word of C++'
done
# A macro, too, is told where it is one.
refuse "$GCC" -std=c99 -Derrno=1 "${flags[@]}" -fsyntax-only -x c "$out/words_of_cxx.restate.h"
told 'words_of_cxx.proto:4: rpc S.Do: words.cxx.M.errno is a macro here'
objects=()
for name in "${shapes[@]}" "${parts[@]}"; do
    [ -f "$out/$name.pb.c" ] || continue
    pb "$name"
    objects+=("$work/${name//\//_}.pb.o")
done
"$GCC" -o "$work/shapes" "$work"/{shapes,call,restate}.o "${objects[@]}" "${libs[@]}"

# ---- Calls ------------------------------------------------------------------------------------------------

# ---- Changes ----------------------------------------------------------------------------------------------

# Messages change while an invocation waits: what fits its journal is what protobuf promises.
step "changed messages, and journals from before"
change=$source/change
build_change() { # NAME: with the lines that the change has
    local dir=$work/change/$1
    mkdir -p "$dir"
    awk -v name="$1" '{
        at = index($0, "// " name ": ")
        if (!at) { print; next }
        line = substr($0, at + length(name) + 5)
        sub(/ \/\/ .*/, "", line)
        print "  " line
    }' "$change/change.proto" >"$dir/change.proto"
    cp "$change/change.options" "$dir"
    generate "-I$dir" --restate_out="$dir" change.proto
    nanopb_to "$dir" "$dir" change.proto
    "$GCC" "${strict[@]}" -O0 "-I$dir" "${flags[@]}" -o "$dir/change" "$change/change.c" "$dir/change.pb.c" "$work/restate.o" "${libs[@]}"
}
build_change same
for form in Json Binary; do for note in '' "by hand"; do
    "$work/change/same/change" write "change.Flow$form" "$note" >"$work/change/$form${note:+-note}.json"
done; done
for name in same added optional renumbered renamed removed removed_reply widened_input widened_reply widened; do
    [ "$name" = same ] || build_change "$name"
    for form in Json Binary; do for note in '' -note; do
        printf '%s %s: ' "$name" "$form$note"
        timeout 20 "$work/change/$name/change" check <"$work/change/$form$note.json" | sed 's/inv_[A-Za-z0-9]*/ID/'
    done; done
done >"$work/change.txt"
[ "$mode" != expected ] || cp "$work/change.txt" "$change/expected.txt"
diff -u "$change/expected.txt" "$work/change.txt"

step "the schemas that were generated are those that the codecs make"
for program in services shapes; do "$work/$program" schemas; done

for program in services shapes; do
    calls=$(calls_of "$program")
    for suspend in off on; do
        step "$program: calls by the runtime for tests, suspending: $suspend"
        timeout 60 "$work/$program" memory "$suspend" <"$calls" >"$work/$program.replies"
        diff -u "$calls" "$work/$program.replies"
    done
done
[ "$mode" = server ] || { echo "typed: ok"; exit 0; }

# The same by curl: paths are those of the ingress; a failure is {"code":CODE,"message":"MESSAGE"...}.
post() { # LINES
    local path body reply
    while IFS= read -r line; do
        path=${line%% *} body=${line#* }
        body=${body%% => *}
        [ "$body" != - ] || body=
        reply=$(curl -sS --noproxy '*' --max-time 20 -X POST ${body:+-H "content-type: application/json" --data-binary "$body"} "$INGRESS/$path")
        reply=$(sed -E 's/^\{"code":([0-9]+),"message":"(.*)","source":.*$/\1 \2/; ' <<<"$reply")
        printf '%s => %s\n' "${line%% => *}" "$reply"
    done
}
for options in '' --suspend; do
    step "calls by a real server $options"
    # shellcheck disable=SC2086
    tests/server.sh start --base "$work/server" --owner $$ $options >"$work/addresses"
    INGRESS=$(sed -n 's/^INGRESS=//p' "$work/addresses")
    pids=()
    trap 'kill "${pids[@]}" 2>/dev/null; tests/server.sh stop --base "$work/server"' EXIT
    for program in services shapes; do
        port=$(tests/server.sh port)
        "$work/$program" serve "$port" 2>"$work/$program.log" &
        pids+=($!)
        timeout 20 sh -c "until curl -s -o /dev/null --noproxy '*' http://127.0.0.1:$port/health; do sleep 0.05; done"
        tests/server.sh register --base "$work/server" "http://127.0.0.1:$port" >"$work/registered" || { cat "$work/registered"; exit 1; }
        calls=$(calls_of "$program")
        post <"$calls" >"$work/$program.replies"
        diff -u "$calls" "$work/$program.replies"
    done
    documentation=$(curl -sS --noproxy '*' "$(sed -n 's/^ADMIN=//p' "$work/addresses")/services/shop.v1.Orders/handlers/Total")
    grep -q '"documentation":"What the customer has ordered until now."' <<<"$documentation" || die "no documentation: $documentation"
    kill "${pids[@]}"
    wait "${pids[@]}" || true
    trap - EXIT
    tests/server.sh stop --base "$work/server"
done
echo "typed: ok"
