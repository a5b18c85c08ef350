#!/bin/sh
# Fails when a section of the header uses a private name that belongs to a later section.
#
#   tests/layers.sh restate.h
#
# Sections and prefixes are taken from the banners, `// >>tag  title [prefixes]`; public ones (>>api-...) are
# passed over. A name belongs to the section with the longest prefix that it begins with. Comments and
# literals are passed over, too.
set -eu
awk '
    function code(line,    out, c, two) {                   # without comments and literals
        out = ""
        while (line != "") {
            two = substr(line, 1, 2)
            if (comment) {
                c = index(line, "*/")
                if (!c) return out
                line = substr(line, c + 2)
                comment = 0
            } else if (two == "/*") {
                comment = 1
                line = substr(line, 3)
                out = out " "
            } else if (two == "//") {
                return out
            } else if (match(line, /^"([^"\\]|\\.)*"/) || match(line, /^\047([^\047\\]|\\.)*\047/)) {
                line = substr(line, RLENGTH + 1)
                out = out " "
            } else {
                out = out substr(line, 1, 1)
                line = substr(line, 2)
            }
        }
        return out
    }
    function owner(name,    p, best, length_) {
        for (p in section_of) if (index(name, p) == 1 && length(p) > length_) { best = p; length_ = length(p) }
        return length_ ? section_of[best] : 0
    }

    /^\/\/ >>/ {
        comment = 1                                         # the banner goes on
        tag = $0
        sub(/^.*>>/, "", tag)
        sub(/[^A-Za-z0-9_-].*/, "", tag)
        if (tag ~ /^api-/) next
        tags[++sections] = tag
    }
    /^\/\/ >>/ || (comment && /^\/\/ *\[/) {                # prefixes may stand on a line of their own
        if (match($0, /\[[^]]*\]/)) {
            count = split(substr($0, RSTART + 1, RLENGTH - 2), names, " ")
            for (i = 1; i <= count; i++) {
                if (names[i] in section_of) { print FILENAME ":" FNR ": prefix " names[i] " is >>" tags[section_of[names[i]]] " already"; bad = 1 }
                section_of[names[i]] = sections
                prefixes++
            }
        }
        next
    }
    {
        text = code($0)
        if (!sections) next
        while (match(text, /[A-Za-z_][A-Za-z0-9_]*/)) {
            name = substr(text, RSTART, RLENGTH)
            text = substr(text, RSTART + RLENGTH)
            only = name ~ /^__(atomic|sync)_/ ? "platform" : \
                name ~ /^(clock_gettime|gettimeofday|time|ftime|timespec_get)$/ ? "clock" : ""
            if (name == "time" && text !~ /^\(/) only = ""
            if (only && tags[sections] != only) { print FILENAME ":" FNR ": " name " is for >>" only " only"; bad = 1 }
            if (index(name, "restate__") != 1) continue
            used++
            use_name[used] = name; use_line[used] = FNR; use_section[used] = sections
        }
    }
    END {
        if (sections < 2 || !prefixes) { print FILENAME ": no sections found"; exit 1 }
        for (i = 1; i <= used; i++) {
            at = owner(use_name[i])
            if (at > use_section[i]) {
                printf "%s:%d: >>%s uses %s of >>%s, which comes later\n", FILENAME, use_line[i], tags[use_section[i]], use_name[i], tags[at]
                bad = 1
            }
        }
        printf "layers: %d sections, %d prefixes, %d uses\n", sections, prefixes, used
        exit bad
    }
' "$1"
