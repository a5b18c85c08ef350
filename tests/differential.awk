# Why two transcripts of one case differ: awk -f tests/differential.awk ALLOW BEFORE NOW
# Prints the name of the first kind in the file ALLOW that explains it; nothing if none does. The
# kinds are described there.

FNR == 1 { file++ }
file == 1 && /^@/ { kind[++kinds] = $0 }
file == 2 { before[++lines_before] = $0 }
file == 3 { now[++lines_now] = $0 }

END {
    for (first = 1; first <= lines_before && before[first] == now[first];) first++
    for (i = 1; i <= kinds; i++) {
        columns = split(kind[i], column, "\t")
        if (explains()) {
            print column[2]
            exit
        }
    }
}

function explains() {
    if (column[1] == "@text") return is_text()
    if (column[1] == "@more") return is_more()
    if (column[1] == "@list" || column[1] == "@tree") return is_list(column[1] == "@tree")
    if (column[1] == "@order") return is_order()
    if (column[1] == "@error") return is_error()
    return 0
}

# A line of before with the old texts of a kind replaced by the new ones.
function renewed(line,    k, at, done) {
    for (k = 3; k < columns; k += 2) {
        for (done = ""; (at = index(line, column[k])) > 0;) {
            done = done substr(line, 1, at - 1) column[k + 1]
            line = substr(line, at + length(column[k]))
        }
        line = done line
    }
    return line
}

function is_text(    j) {
    if (lines_before != lines_now) return 0
    for (j = first; j <= lines_now; j++)
        if (before[j] != now[j] && renewed(before[j]) != now[j]) return 0
    return 1
}

function is_more(    j, line) {
    if (lines_before != lines_now) return 0
    for (j = first; j <= lines_now; j++) {
        if (before[j] == now[j]) continue
        line = now[j]
        if (line !~ column[3] || !sub(column[4], "", line) || line != before[j]) return 0
    }
    return 1
}

function counts_are_even(    key, even) {
    even = 1
    for (key in count) {
        if (count[key]) even = 0
        delete count[key]
    }
    return even
}

# An escaped character is one.
function count_characters(line, by,    size) {
    for (; match(line, /^(\\x..|\\.|.)/); line = substr(line, size + 1)) {
        size = RLENGTH
        count[substr(line, 1, size)] += by
    }
}

# What a node of a tree has itself: "{ its fields NUMBER{ below it } its fields }".
function count_nodes(line, by,    node, n) {
    for (n = split(line, node, /[{}]/); n > 0; n--) count[node[n]] += by
}

function count_parts(line, by, tree) {
    if (tree) count_nodes(line, by)
    else count_characters(line, by)
}

function is_list(tree,    j) {
    if (lines_before != lines_now) return 0
    for (j = first; j <= lines_now; j++) {
        if (before[j] == now[j]) continue
        if (before[j] !~ column[3] || now[j] !~ column[3]) return 0
        count_parts(before[j], 1, tree)
        count_parts(now[j], -1, tree)
        if (!counts_are_even()) return 0
    }
    return 1
}

# What is shown at a time. The operations of an attempt, "  ATTEMPT NAME", have their place among
# them, too.
function count_pieces(line, by,    piece, n, p, place) {
    gsub(/ -> | ?\(|\)|  [0-9a-z]/, "\n&", line)
    n = split(line, piece, "\n")
    for (p = 1; p <= n; p++) {
        if (piece[p] !~ /[^ ]/) continue
        place = ""
        if (match(piece[p], /^  [0-9]+ /)) place = ++places[by, substr(piece[p], 1, RLENGTH)]
        count[place piece[p]] += by
    }
}

# Frames, and what is logged, have one order.
function is_ordered(line) { return line ~ /^([<>]|  log) / }

function is_order(    j, k) {
    for (j = k = 1; j <= lines_before || k <= lines_now;) {
        if (j <= lines_before && !is_ordered(before[j])) count_pieces(before[j++], 1)
        else if (k <= lines_now && !is_ordered(now[k])) count_pieces(now[k++], -1)
        else if (before[j++] != now[k++]) break
    }
    return counts_are_even() && j > lines_before && k > lines_now
}

# Whether the attempt that line `j` of now is in ends with an error of the kind.
function ends_with_error(j) {
    for (; j <= lines_now && now[j] !~ /^< ends/; j++)
        if (now[j] ~ column[4]) return 1
    return 0
}

function is_error(    j) {
    for (j = first - 1; j > 0 && now[j] !~ /^> attempt/; j--)
        if (now[j] ~ column[3] && !(columns > 4 && now[j] ~ column[5])) return ends_with_error(first)
    return 0
}
