#!/usr/bin/env bash
# The first look of the end-to-end tests against every server that npm carries.
#
#   tests/servers.sh [VERSION...]       default: every version from 1.6.1 on
#
# Versions are installed in build/servers/VERSION (216 MB each) and stay there. For each one line tells
# its protocol version, the one it has as an experiment, and how many cases passed. What failed is in
# build/servers/VERSION.log. The last line is "servers: N passed, N failed": of versions.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'servers.sh: %s\n' "$*" >&2; exit 1; }
install() { # VERSION
    npm install --prefix "build/servers/$1" --ignore-scripts --include=optional --no-save --no-package-lock \
        --no-audit --no-fund --loglevel=error "@restatedev/restate-server@$1" </dev/null >"build/servers/$1.log" 2>&1 ||
        { tail -n 5 "build/servers/$1.log" >&2; die "npm has no server $1, or cannot be reached"; }
}
binary_of() { echo "$PWD/build/servers/$1/node_modules/@restatedev/restate-server-"*/bin/restate-server; }

# The latest protocol version that a server's binary names.
protocol_of() { grep -aoE 'application/vnd\.restate\.invocation\.v[0-9]+' "$1" | sed 's/.*\.v//' | sort -nu | tail -n 1; }

mkdir -p build/servers
if [ $# = 0 ]; then
    # shellcheck disable=SC2046  # a list of words
    set -- $(npm view @restatedev/restate-server versions --json </dev/null | tr -d '[]",')
    [ $# -gt 0 ] || die "npm lists no version of the server"
fi
passed=0 failed=0
printf '%-9s %-9s %s\n' server protocol 'cases by mode'
for version; do
    [ -x "$(binary_of "$version")" ] || install "$version"
    binary=$(binary_of "$version")
    modes=default,suspend,lazy protocol=6
    if [ "$(protocol_of "$binary")" -ge 7 ]; then modes=$modes,v7 protocol='6, 7'; fi
    status=0 result=
    : >"build/servers/$version.log"
    for driver in e2e e2e-contract; do
        name=$driver-$version
        RESTATE_SERVER=$binary E2E_SMOKE=1 E2E_MODES=$modes E2E_NAME=$name \
            timeout 600 "build/$driver" >>"build/servers/$version.log" 2>&1 || status=1
        result="$result $driver: $(sed -n "s/^$name: //p" "build/servers/$version.log");"
    done
    printf '%-9s %-9s%s\n' "$version" "$protocol" "$result"
    [ $status = 0 ] && passed=$((passed + 1)) || failed=$((failed + 1))
done
echo "servers: $passed passed, $failed failed"
[ "$failed" = 0 ]
