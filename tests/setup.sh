#!/bin/sh
# Installs what is missing, and nothing else. Quick, and off the network, when everything is there.
#
#   tests/setup.sh demo    what building and running an example against a server takes
#   tests/setup.sh test    that, and the tools of the tests
#   tests/setup.sh platforms    that, and the compilers and the emulator of `make platforms`
#   tests/setup.sh fuzz    what `make fuzz` takes: no server, but clang with its fuzzer and sanitizers
#
# System packages come from apt, which needs root; elsewhere the missing ones are named and the exit
# status is 1. The server is an npm package, kept in build/server. The log is build/setup.log.
set -eu
cd "$(dirname "$0")/.."

SERVER_VERSION=1.7.12
SERVER_DIR=build/server
LOG=build/setup.log

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
need() { missing="$missing $*"; }

# The platform's own binary: the one in node_modules/.bin is a script that starts it.
server_binary() {
    case $(uname -s) in Linux) os=linux ;; Darwin) os=darwin ;; *) die "no restate-server for $(uname -s)" ;; esac
    case $(uname -m) in
        x86_64 | amd64) arch=x64 ;;
        aarch64 | arm64) arch=arm64 ;;
        *) die "no restate-server for $(uname -m)" ;;
    esac
    echo "$SERVER_DIR/node_modules/@restatedev/restate-server-$os-$arch/bin/restate-server"
}
server_works() { [ -x "$1" ] && "$1" --version 2>/dev/null | grep -qF "$SERVER_VERSION"; }

# Whether the compiler finds a header, and whether it can link a library.
has_header() { printf '#include <stddef.h>\n#include <%s>\n' "$1" | "$cc" -E -x c - >/dev/null 2>&1; }
has_library() { printf 'int main(void) { return 0; }\n' | "$cc" -x c - -o build/.probe "-l$1" >/dev/null 2>&1; }

missing_for_building() {
    cc=${CC:-cc}
    has "${cc%% *}" || { need gcc; cc=false; }
    has_header stdio.h || need libc6-dev
    has pkg-config || need pkg-config
    { has_header nghttp2/nghttp2.h && has_library nghttp2; } || need libnghttp2-dev
    { has_header cjson/cJSON.h && has_library cjson; } || need libcjson-dev
    { has_header pb.h && has_library protobuf-nanopb; } || need libnanopb-dev
}
missing_for_server() {
    has curl || need curl
    if ! server_works "$binary"; then
        has npm || need nodejs npm
        [ -e /etc/ssl/certs/ca-certificates.crt ] || [ "$(uname -s)" != Linux ] || need ca-certificates
    fi
}
missing_for_architecture() { # COMPILER'S-NAME DEBIAN'S-NAME
    has qemu-aarch64 || need qemu-user
    echo '#include <stdio.h>' | "$1-linux-gnu${3:-}-gcc" -E -x c - >/dev/null 2>&1 ||
        need "gcc-$1-linux-gnu${3:-} libc6-dev-$2-cross"
}
missing_for_platforms() {
    missing_for_architecture arm armhf eabihf
    missing_for_architecture s390x s390x
    missing_for_architecture riscv64 riscv64
    has musl-gcc || need musl-tools
}
missing_for_tests() {
    has g++ || need g++
    has clang++ || need clang
    has valgrind || need valgrind
    has tcc || need tcc
    has arm-none-eabi-gcc || need gcc-arm-none-eabi libnewlib-arm-none-eabi
    has qemu-system-arm || need qemu-system-arm
    has_sources || has dpkg-source || need dpkg-dev
    missing_for_architecture aarch64 arm64
    missing_for_architecture i686 i386
    has protoc || need protobuf-compiler
    has nanopb_generator.py || need nanopb
    { has_header curl/curl.h && has_library curl; } || need libcurl4-openssl-dev
    has openssl || need openssl
    has cmake || need cmake
    has meson || need meson
    has python3 || need python3
    tests/interop.sh --has-go || python3 -m pip --version >/dev/null 2>&1 || need python3-pip
    { has_header mbedtls/ssl.h && has_library mbedtls; } || need libmbedtls-dev
    { has_header openssl/evp.h && has_library crypto; } || need libssl-dev
    pkg-config --exists libpq 2>/dev/null || need libpq-dev
    { has psql && [ -x "$(pg_config --bindir 2>/dev/null)/initdb" ]; } || need postgresql
    { has ffmpeg && has ffprobe; } || need ffmpeg
    has setpriv || need util-linux
}
missing_for_fuzzing() {
    has g++ || need g++
    has protoc || need protobuf-compiler
    has nanopb_generator.py || need nanopb
    if ! has clang; then need clang libclang-rt-dev; return; fi
    printf 'int LLVMFuzzerTestOneInput(void) { return 0; }\n' |
        clang -fsanitize=fuzzer,address,undefined -x c - -o build/.probe >/dev/null 2>&1 ||
        need "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
}

# apt's lists may be absent (a fresh image) or too old for what the mirror still has: then once more.
apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" </dev/null >>"$LOG" 2>&1
}
# Debian's package of PostgreSQL makes a database and starts it, unless it is told not to.
without_database() {
    case $missing in *postgresql*) ;; *) return ;; esac
    trap 'rm -f /etc/postgresql-common/createcluster.d/without_database.conf' EXIT
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/without_database.conf
}
install_packages() {
    has apt-get || die "missing:$missing (Debian's names; there is no apt-get here to install them)"
    [ "$(id -u)" = 0 ] || die "missing:$missing (as root: apt-get install$missing)"
    say "installing$missing"
    without_database
    # shellcheck disable=SC2086  # a list of words
    if ! apt_install $missing; then
        apt-get update -q </dev/null >>"$LOG" 2>&1 || { tail -n 5 "$LOG" >&2; die "apt-get update failed, see $LOG"; }
        apt_install $missing || { tail -n 5 "$LOG" >&2; die "apt-get install failed, see $LOG"; }
    fi
}

# --ignore-scripts: one of the package's dependencies reports its installation somewhere.
install_server() {
    say "installing restate-server $SERVER_VERSION from npm"
    mkdir -p "$SERVER_DIR"
    npm install --prefix "$SERVER_DIR" --ignore-scripts --include=optional --no-save --no-package-lock \
        --no-audit --no-fund --loglevel=error "@restatedev/restate-server@$SERVER_VERSION" \
        </dev/null >>"$LOG" 2>&1 || { tail -n 5 "$LOG" >&2; die "npm install failed, see $LOG"; }
    server_works "$binary" || die "$binary does not run, or is not version $SERVER_VERSION"
}

# The C files of the libraries, for processors that no package has them compiled for: from the source packages
# of the system's release, with the corrections that Debian has made. apt's lists of sources are kept apart, so that nothing of the system changes.
has_sources() { [ -e build/nanopb/pb_decode.c ] && [ -e build/nghttp2/nghttp2_session.c ] && [ -e build/cjson/cJSON.c ]; }
hexadecimal() { echo "$1" | awk -F. '{ printf "0x%02x%02x%02x", $1, $2, $3 }'; }
install_sources() {
    has apt-get || die "put the C files of nanopb, nghttp2 and cJSON into build/nanopb, build/nghttp2 and build/cjson"
    say "getting the sources of nanopb, nghttp2 and cJSON"
    rm -rf build/apt
    mkdir -p build/apt/lists/partial
    # shellcheck disable=SC1091
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v release="$release" '$3 == release && $4 ~ /^(main|universe)$/' | sort -u >build/apt/sources.list
    apt="apt-get -q -o Dir::Etc::SourceList=$PWD/build/apt/sources.list -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists=$PWD/build/apt/lists -o Dir::Cache=$PWD/build/apt -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086  # a list of words
    (cd build/apt && $apt update && $apt source nanopb nghttp2 cjson) </dev/null >>"$LOG" 2>&1 ||
        { tail -n 5 "$LOG" >&2; die "the sources of the libraries cannot be got, see $LOG"; }
    rm -rf build/nanopb build/nghttp2 build/cjson
    mkdir -p build/nanopb build/nghttp2/includes/nghttp2 build/cjson
    cp build/apt/nanopb-*/pb*.[ch] build/nanopb
    cp build/apt/cjson-*/cJSON.[ch] build/cjson
    cp build/apt/nghttp2-*/lib/nghttp2_*.[ch] build/nghttp2
    cp build/apt/nghttp2-*/lib/includes/nghttp2/nghttp2.h build/nghttp2/includes/nghttp2
    version=$(echo build/apt/nghttp2-*/)
    version=${version#build/apt/nghttp2-} version=${version%/}
    sed "s/@PACKAGE_VERSION@/$version/; s/@PACKAGE_VERSION_NUM@/$(hexadecimal "$version")/" \
        build/apt/nghttp2-*/lib/includes/nghttp2/nghttp2ver.h.in >build/nghttp2/includes/nghttp2/nghttp2ver.h
    rm -rf build/apt
}

what=${1:-test}
case $what in demo | test | platforms | fuzz) ;; *) die "usage: tests/setup.sh demo|test|platforms|fuzz" ;; esac
mkdir -p build
binary=$(server_binary)
missing=
missing_for_building
[ "$what" = fuzz ] || missing_for_server
case $what in test | platforms) missing_for_tests ;; esac
[ "$what" != platforms ] || missing_for_platforms
case $what in test | fuzz) missing_for_fuzzing ;; esac
rm -f build/.probe
: >"$LOG"
[ -z "$missing" ] || install_packages
[ "$what" = fuzz ] || server_works "$binary" || install_server
case $what in test | platforms) has_sources || install_sources ;; esac
