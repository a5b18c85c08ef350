# shellcheck shell=bash
# What bench.sh, e2e.sh and check.sh share: endpoints that are started on free ports and measured.
# Sourced, in the project's directory. ENDPOINTS, ... are arrays by the same index.
# shellcheck disable=SC2034  # what is set here is used there

ENDPOINTS=() COMMANDS=() PIDS=() PORTS=()
THREADS_EACH=1
work=build/bench
mkdir -p "$work/log"

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
curl() { command curl -sS --noproxy '*' --max-time 60 "$@"; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Reads a script's arguments: `--NAME value` sets VARIABLE, --quick calls quick, and what is no option
# goes to `asked`.
options() { # NAME=VARIABLE... -- ARGUMENT...
    local -A variables=()
    while [ "$1" != -- ]; do
        variables[--${1%%=*}]=${1#*=}
        shift
    done
    shift
    while [ $# -gt 0 ]; do
        case $1 in
            --quick) quick ;;
            -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
            -*)
                [ -n "${variables[$1]:-}" ] || die "unknown option $1"
                [ $# -ge 2 ] || die "$1 wants a value"
                printf -v "${variables[$1]}" %s "$2"
                shift ;;
            *) asked+=("$1") ;;
        esac
        shift
    done
}

need() { # PROGRAM PACKAGE PROGRAM PACKAGE...: all are there, or the missing ones are named
    local missing=
    while [ $# -gt 0 ]; do
        has "$1" || missing="$missing $2"
        shift 2
    done
    [ -z "$missing" ] || die "missing:$missing (Debian's names; nothing is installed from here)"
}

# Known names get their command; what cannot be had is named and left out.
add_endpoint() { # NAME or NAME=COMMAND
    local name=${1%%=*} command
    case $1 in
        *=*) command=${1#*=} ;;
        restate.h) command=build/bench-endpoint ;;
        restate.h-pool) command="env CLOSURES=pool build/bench-endpoint" ;;
        nghttpd) command= ;;                    # see bench.sh: it depends on the workload
        ts | go | rust) command=$(tests/bench/peers.sh "$1") || return 0 ;;
        *) die "no endpoint is called $1 (restate.h, restate.h-pool, nghttpd, ts, go, rust, or NAME=COMMAND)" ;;
    esac
    ENDPOINTS+=("$name") COMMANDS+=("$command") PIDS+=('') PORTS+=('')
}

# Threads: each runtime has its own variable. Nobody logs what goes well.
environment() {
    [ "$THREADS_EACH" = 0 ] ||
        printf '%s\n' "THREADS=$THREADS_EACH" "GOMAXPROCS=$THREADS_EACH" "TOKIO_WORKER_THREADS=$THREADS_EACH"
    printf '%s\n' NODE_ENV=production RESTATE_LOGGING=WARN
}

# In a process group of its own, so that what it starts ends with it.
start_endpoint() { # INDEX [COMMAND]
    local i=$1 command=${2:-${COMMANDS[$1]}} settings give_up
    mapfile -t settings < <(environment)
    for _ in 1 2 3; do                          # somebody else may have taken the port
        PORTS[i]=$(tests/server.sh port)
        # shellcheck disable=SC2086  # a command's words
        env "${settings[@]}" PORT="${PORTS[i]}" setsid bash -c "exec $command" \
            >>"$work/log/${ENDPOINTS[i]}.log" 2>&1 </dev/null &
        PIDS[i]=$!
        give_up=$((SECONDS + 20))
        until listens "${PORTS[i]}" || ! kill -0 "${PIDS[i]}" 2>/dev/null || [ $SECONDS -ge $give_up ]; do
            sleep 0.02
        done
        if kill -0 "${PIDS[i]}" 2>/dev/null && listens "${PORTS[i]}"; then return 0; fi
        stop_endpoint "$i"
    done
    say "${ENDPOINTS[i]} does not listen, see $work/log/${ENDPOINTS[i]}.log"
    return 1
}

# There is nothing to be saved, so nobody is asked.
stop_endpoint() { # INDEX
    [ -n "${PIDS[$1]}" ] || return 0
    kill -KILL -- "-${PIDS[$1]}" 2>/dev/null || kill -KILL "${PIDS[$1]}" 2>/dev/null || true
    wait "${PIDS[$1]}" 2>/dev/null || true
    PIDS[$1]=
}
stop_endpoints() {
    local i
    for i in "${!ENDPOINTS[@]}"; do stop_endpoint "$i"; done
}

path_of() { # WORKLOAD
    case $1 in
        greet) echo /invoke/Bench/greet ;;
        count) echo /invoke/BenchCounter/add ;;
        sleep) echo /invoke/Bench/sleep ;;
        replay-*) echo /invoke/Bench/replay ;;
        echo-*) echo /invoke/Bench/echo ;;
        *) die "no workload is called $1" ;;
    esac
}

# Posts a body once. The answer is in $work/got and said what it should, or $why has the reason.
check_answer() { # INDEX WORKLOAD PROTOCOL
    local status
    why=
    status=$(curl --http2-prior-knowledge -o "$work/got" -w '%{http_code}' \
        -H "content-type: application/vnd.restate.invocation.v$3" \
        --data-binary "@$work/v$3/$2.body" "http://127.0.0.1:${PORTS[$1]}$(path_of "$2")" 2>/dev/null) || true
    if [ "$status" != 200 ]; then
        why="$2: status $status"
        return 1
    fi
    why=$(build/bench-bodies --check "$2" "$work/v$3/$2.answer" "$work/got" 2>&1)
}

write_bodies() { # PROTOCOL
    rm -rf "$work/v$1"
    mkdir -p "$work/v$1"
    build/bench-bodies --protocol "$1" "$work/v$1"
}

# h2load has printed into the file: sets seconds, ok (2xx answers) and data (bytes of all answers).
read_h2load() { # FILE
    read -r seconds ok data < <(awk '
        /^finished in/ { t = $3; seconds = t + 0; if (t ~ /us,/) seconds /= 1e6; else if (t ~ /ms,/) seconds /= 1e3
                         else if (t ~ /m,$/) seconds *= 60 }
        /^status codes:/ { ok = $3 }
        /^traffic:/ { data = $(NF - 1); gsub(/[()]/, "", data) }
        END { printf "%.6f %d %d\n", seconds, ok, data }' "$1")
}

# What the figures stand on.
print_machine() {
    local model load
    model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
    read -r load _ </proc/loadavg
    say "$(uname -srm), $(getconf _NPROCESSORS_ONLN) x ${model:-unknown CPU}, load average $load"
    if awk -v load="$load" 'BEGIN { exit !(load > 0.5) }'; then
        say "Something else is running here: take the figures with care."
    fi
}

print_versions() {
    local name
    for name in "${ENDPOINTS[@]}"; do
        case $name in
            ts | go | rust) say "$name: $(tests/bench/peers.sh "$name" --version)" ;;
            nghttpd) say "nghttpd: $(nghttpd --version)" ;;
        esac
    done
}

# awk functions: median and spread of numbers in a[1..n].
AWK_MEDIAN='
    function sorted(a, n,   i, j, t) {
        for (i = 2; i <= n; i++) { t = a[i]; for (j = i - 1; j >= 1 && a[j] > t; j--) a[j + 1] = a[j]; a[j + 1] = t }
    }
    function median(text,   a, n, i) {
        n = split(text, a, " "); for (i = 1; i <= n; i++) a[i] += 0
        sorted(a, n); return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    function spread(text,   a, n, m, i) {
        n = split(text, a, " "); for (i = 1; i <= n; i++) a[i] += 0
        sorted(a, n); m = median(text); return m > 0 ? 100 * (a[n] - a[1]) / m : 0
    }'
