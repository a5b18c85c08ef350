#!/bin/sh
# What the implementation cannot be compiled with is refused, and told in one error; what only looks so works.
#
#   GCC=gcc CLANG=clang GXX=g++ CLANGXX=clang++ TCC=tcc FLAGS='-I...' LIBS='-l...' tests/refused.sh
set -eu
GCC=${GCC:-gcc} CLANG=${CLANG:-clang} GXX=${GXX:-g++} CLANGXX=${CLANGXX:-clang++} TCC=${TCC:-tcc} FLAGS=${FLAGS:--I.} LIBS=${LIBS:-}
work=build/compile/refused
failed=0
rm -rf "$work"
mkdir -p "$work"

# Headers of libraries that are too old: today's with other numbers.
older() { # HEADER MACRO VALUE...
    header=$1 file=$work/$2/$1
    mkdir -p "$(dirname "$file")"
    printf '#include_next <%s>\n' "$header" >"$file"
    shift
    while [ $# -gt 0 ]; do
        printf '#undef %s\n#define %s %s\n' "$1" "$1" "$2" >>"$file"
        shift 2
    done
}
older nghttp2/nghttp2.h NGHTTP2_VERSION_NUM 0x012800
older cjson/cJSON.h CJSON_VERSION_MAJOR 1 CJSON_VERSION_MINOR 7 CJSON_VERSION_PATCH 12
older pb.h PB_PROTO_HEADER_VERSION 30
older pb.h PB_GEN_LARGEST_TAG ''
sed -i '/define PB_GEN_LARGEST_TAG/d' "$work/PB_GEN_LARGEST_TAG/pb.h"

printf '#define RESTATE_IMPLEMENTATION\n#include "restate.h"\nint main(void) { return restate_version() == 0; }\n' >"$work/first.c"
for header in stdio stdint time; do
    { printf '#include <%s.h>\n' "$header"; cat "$work/first.c"; } >"$work/after_$header.c"
done

refused() { # SENTENCE COMPILER ARGUMENT...
    sentence=$1
    shift
    # shellcheck disable=SC2086  # words
    if "$@" $FLAGS -c -o "$work/out.o" >"$work/out" 2>&1; then
        echo "not refused: $*"
        failed=1
    elif [ "$(grep -c 'error: ' "$work/out")" != 1 ] ||
        ! tr -d '\n' <"$work/out" | grep -qF "restate.h: $sentence"; then
        echo "not refused in one sentence ($sentence): $*"
        head -n 8 "$work/out"
        failed=1
    fi
}
named() { # NAME COMPILER ARGUMENT...: it does not compile, and every error is about NAME
    name=$1
    shift
    # shellcheck disable=SC2086
    if "$@" $FLAGS -c -o "$work/out.o" >"$work/out" 2>&1; then
        echo "not refused: $*"
        failed=1
    elif grep 'error: ' "$work/out" | grep -v "$name"; then
        echo "not refused by its name ($name): $*"
        failed=1
    fi
}
works() { # COMPILER ARGUMENT...
    # shellcheck disable=SC2086
    "$@" $FLAGS -O0 -o "$work/out" $LIBS >"$work/out.log" 2>&1 && "$work/out" || {
        echo "does not work: $*"
        head -n 20 "$work/out.log"
        failed=1
    }
}

# A oneof, whose members share their memory: a peer could write where nanopb has the address of a callback.
cat >"$work/oneof.c" <<'END'
#include "restate.h"
typedef struct { pb_size_t which_what; union { int32_t number; pb_callback_t text; } what; } Shared;
extern const pb_msgdesc_t Shared_msg;
#define Shared_FIELDLIST(X, a) \
    X(a, STATIC, ONEOF, INT32, (what,number,what.number), 1) \
    X(a, CALLBACK, ONEOF, STRING, (what,text,what.text), 2)
const restate_codec shared = RESTATE_PROTO(Shared);
END

for cc in "$GCC" "$CLANG"; do
    named RESTATE_PROTO_does_not_do_callbacks_in_a_oneof_such_as_Shared_what_text "$cc" -std=c99 -include pb.h "$work/oneof.c"
    for header in stdio stdint time; do
        refused 'a system header came first' "$cc" -std=c99 "$work/after_$header.c"
        refused 'a system header came first' "$cc" -std=c11 -DRESTATE_NO_THREADS "$work/after_$header.c"
        refused 'a system header came first' "$cc" -std=c99 -DRESTATE_NO_SERVER -DRESTATE_NO_CJSON -DRESTATE_NO_THREADS \
            "$work/after_$header.c"
    done
    works "$cc" -std=c99 -D_DEFAULT_SOURCE "$work/after_stdio.c"
    works "$cc" -std=gnu99 "$work/after_time.c"
    refused 'nghttp2 is older' "$cc" -I"$work/NGHTTP2_VERSION_NUM" "$work/first.c"
    refused 'cJSON is older' "$cc" -I"$work/CJSON_VERSION_MAJOR" "$work/first.c"
    refused '<pb.h> is not of nanopb 0.4' "$cc" -I"$work/PB_PROTO_HEADER_VERSION" "$work/first.c"
    refused '<pb.h> is not of nanopb 0.4' "$cc" -I"$work/PB_GEN_LARGEST_TAG" "$work/first.c"
    # An nghttp2 without the functions that came late.
    works "$cc" -std=c99 -Dnghttp2_option_set_max_continuations=nghttp2_option_not_there \
        -Dnghttp2_option_set_stream_reset_rate_limit=nghttp2_option_neither tests/compile/http2.c
done
works "$GCC" -std=c99 tests/compile/http2.c
for cxx in "$GXX" "$CLANGXX"; do refused 'the implementation is C' "$cxx" -x c++ "$work/first.c"; done
refused 'this compiler has not the atomic functions' "$TCC" "$work/first.c"
works "$TCC" -DRESTATE_NO_THREADS "$work/first.c"
works "$TCC" -DRESTATE_NO_THREADS tests/compile/http2.c
exit "$failed"
