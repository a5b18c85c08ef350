#!/bin/sh
# Makes restate_wire.h out of restate/service/protocol.proto and protocol.options.
#
#     proto/generate.sh [FILE]        to FILE, or to standard output
#
# Needs protoc and nanopb 0.4 (Debian: protobuf-compiler, nanopb). The output depends on the two files
# and on the version of nanopb only.
set -eu
LC_ALL=C
export LC_ALL

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

(cd "$here/restate/service" && nanopb_generator.py -q -D "$work" -f protocol.options protocol.proto)

# What nanopb wrote, sorted into the parts of our header: `types` and `tags` are declarations, `lists`
# is needed by the definitions only, `binds` are the definitions. Dropped: initialisers (wrong for
# callback types), sizes, aliases, and the prototype of the callback, which stands there once per message.
awk -v work="$work" '
    function put(part, line) { print line > (work "/" part) }

    { gsub(/_restate_wire_/, "restate_wire_") }         # struct tags; the underscore is reserved
    /^typedef (struct|enum) restate_wire_/ { body = 1 }
    comment && !body { sub(/^ /, " * "); put("types", $0); if (/\*\/$/) comment = 0; next }
    body {
        put("types", $0)
        if (/^}/) { body = 0; put("types", "") }
        next
    }
    /^\/\* (Enum|Struct) definitions/ || /^\/\* (Helper|Initializer|Field tags|Struct field)/ { next }
    /^\/\* (Automatically|Generated|Maximum|Defines for|Mapping|@@)/ { next }
    /^\/\* restate_wire_.*_size depends/ { next }
    /^\/\* / && !lists { put("types", $0); if (!/\*\/$/) comment = 1; next }
    /^#define restate_wire_[A-Za-z_]*_tag +[0-9]+$/ { sub(/ +[0-9]+$/, " " $NF); put("tags", $0); next }
    /_FIELDLIST\(X, a\) \\$/ { lists = 1; list = 1; message = $2; sub(/_FIELDLIST.*/, "", message) }
    list {
        sub(/ +\\$/, " \\")
        put("lists", $0)
        if (/^X\(a, CALLBACK, OPTIONAL, (STRING|BYTES)/) {
            tag = $NF == "\\" ? $(NF - 1) : $NF
            sub(/\)/, "", tag)
            put("optional", "    { &" message "_msg, " tag " },")
        }
        if (!/\\$/) list = 0
        next
    }
    /^#define restate_wire_[A-Za-z_]*_(CALLBACK|DEFAULT|MSGTYPE) / { put("lists", $0); next }
    /^extern const pb_msgdesc_t restate_wire_/ { put("externs", $0); next }
    /^#define restate_wire_[A-Za-z_]*_fields &restate_wire_/ { put("aliases", $0); next }
' "$work/protocol.pb.h"
sed -n 's/^PB_BIND(\(.*\))$/RESTATE__WIRE_BIND(\1)/p' "$work/protocol.pb.c" >"$work/binds"

# A nanopb that writes its files in another way must not leave us with half a header.
messages=$(grep -c '^ *message ' "$here/restate/service/protocol.proto")
for part in externs aliases binds; do
    count=$(wc -l <"$work/$part")
    if [ "$count" -ne "$messages" ]; then
        echo "generate.sh: $messages messages, but $count $part: this nanopb is not understood" >&2
        exit 1
    fi
done

assemble() {
cat <<'END'
/* restate_wire.h - the messages of the Restate service protocol (V5 to V7) as C structs.
 *
 * Generated with nanopb from proto/restate/service/protocol.proto and protocol.options by `make wire`
 * (proto/generate.sh). Do not edit. MIT license; its text is at the end of this file.
 *
 * The structs hold no memory of their own: decoded, they point into the payload they were decoded
 * from; to be encoded, they point to what the caller has. A zeroed struct (memset, = {0}) is an empty
 * message. What the fields mean:
 *   bytes, string     restate_bytes. `ptr` NULL is absent, also for `optional` ones.
 *   optional numbers  `has_NAME` beside `NAME`; so are messages.
 *   oneof             `which_NAME` has the tag of the member that is set (restate_wire_..._tag), 0: none.
 *   repeated          restate_wire_list, see there.
 * Descriptors are named restate_wire_MESSAGE_msg; restate_wire_MESSAGE_fields is their address. Needs
 * <pb.h> of nanopb 0.4; the definitions come with RESTATE_IMPLEMENTATION, like those of restate.h. */
#ifndef RESTATE_WIRE_H
#define RESTATE_WIRE_H

/* nanopb asserts with _Static_assert unless told that C99 has none. */
#if !defined(__cplusplus) && !defined(PB_C99_STATIC_ASSERT)
#  if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 201112L
#    define PB_C99_STATIC_ASSERT 1
#  endif
#endif
#include <pb.h>

#if PB_PROTO_HEADER_VERSION != 40
#  error "restate_wire.h: made for nanopb 0.4; make it anew with `make wire`"
#endif
#if defined(PB_BUFFER_ONLY) || defined(PB_WITHOUT_64BIT)
#  error "restate_wire.h: needs nanopb with streams and 64 bit numbers"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* As in restate.h. */
#ifndef RESTATE_BYTES_DEFINED
#define RESTATE_BYTES_DEFINED
typedef struct restate_bytes {
    const uint8_t *ptr;                     /* NULL: absent */
    size_t len;
} restate_bytes;
#endif

/* A repeated field.
 *
 * Decoded: `count` elements were there. `ptr` is where the content of the first one starts, `first` is
 * its length, and `len` reaches to the end of the last one; in between are the headers of the other
 * elements and perhaps other fields, so it is read with an iterator, not by hand. Repeated numbers are
 * not decoded (accepted and left at zero): read the payload field by field for them.
 *
 * To encode: `put` writes the elements with their tags and gets `items` and `count` as they are. It may
 * be called several times for one message, first to find its size, and must write the same each time.
 * NULL: nothing is written. */
typedef bool restate_wire_writer(struct pb_ostream_s *out, const pb_field_t *field,
                                 const void *items, size_t count);
typedef struct restate_wire_list {
    const uint8_t *ptr;
    size_t len;
    size_t first;
    size_t count;
    uint32_t tag;
    restate_wire_writer *put;
    const void *items;
} restate_wire_list;

END
cat "$work/types" "$work/tags"
cat <<'END'

/* In a RESTATE_STATIC build the descriptors are seen only where they are defined. */
#ifndef RESTATE_STATIC
END
cat "$work/externs"
cat <<'END'
#endif

/* As nanopb's own functions are usually called. */
END
cat "$work/aliases"
cat <<'END'

#ifdef __cplusplus
}
#endif

#endif /* RESTATE_WIRE_H */

#if defined(RESTATE_IMPLEMENTATION) && !defined(RESTATE_WIRE_IMPLEMENTED)
#define RESTATE_WIRE_IMPLEMENTED

#ifdef __cplusplus
extern "C" {
#endif

/* Reads and writes every restate_bytes and restate_wire_list; in the section >>wire of restate.h. */
static bool restate__wire_field(pb_istream_t *in, pb_ostream_t *out, const pb_field_t *field);

END
cat "$work/lists"
cat <<'END'

/* PB_BIND with other linkage: external for descriptors only, and not even for them with RESTATE_STATIC. */
#ifndef RESTATE_STATIC
#  define RESTATE__WIRE_LINKAGE
#elif defined(__GNUC__)
#  define RESTATE__WIRE_LINKAGE static __attribute__((unused))
#else
#  define RESTATE__WIRE_LINKAGE static
#endif
#define RESTATE__WIRE_BIND(msgname, structname, width) \
    static const uint32_t structname ## _field_info[] = { \
        msgname ## _FIELDLIST(PB_GEN_FIELD_INFO_ ## width, structname) 0 \
    }; \
    static const pb_msgdesc_t *const structname ## _submsg_info[] = { \
        msgname ## _FIELDLIST(PB_GEN_SUBMSG_INFO, structname) NULL \
    }; \
    RESTATE__WIRE_LINKAGE const pb_msgdesc_t structname ## _msg = { \
        structname ## _field_info, \
        structname ## _submsg_info, \
        msgname ## _DEFAULT, \
        msgname ## _CALLBACK, \
        0 msgname ## _FIELDLIST(PB_GEN_FIELD_COUNT, structname), \
        0 msgname ## _FIELDLIST(PB_GEN_REQ_FIELD_COUNT, structname), \
        0 msgname ## _FIELDLIST(PB_GEN_LARGEST_TAG, structname) \
    }; \
    msgname ## _FIELDLIST(PB_GEN_FIELD_INFO_ASSERT_ ## width, structname)

END
cat "$work/binds"
cat <<'END'

/* Strings with explicit presence: they are written when they are empty. (nanopb's descriptors do not
 * tell them from others.) */
static const struct restate__wire_optional {
    const pb_msgdesc_t *message;
    uint32_t tag;
} restate__wire_optionals[] = {
END
cat "$work/optional"
cat <<'END'
    { NULL, 0 }
};

#ifdef __cplusplus
}
#endif

#endif /* RESTATE_IMPLEMENTATION */

END
# Whoever copies the file has the licence, too.
printf '/*\n'
sed 's/^/ * /; s/ *$//' "$here/../LICENSE"
printf ' */\n'
}

assemble >"$work/restate_wire.h"
if [ $# -gt 0 ]; then
    cp "$work/restate_wire.h" "$1"
else
    cat "$work/restate_wire.h"
fi
