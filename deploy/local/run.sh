#!/usr/bin/env bash
# `make run`: builds the agent, finds an engine or starts a private one, runs the agent on it, shows a first request.
# Ctrl-C, TERM or the agent's own end stops what was started here, and nothing else. Exits with the agent's code.
set -euo pipefail

cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

export LISTEN_ADDR=${LISTEN_ADDR:-[::]:3000}
export METRICS_ADDR=${METRICS_ADDR:-[::]:9464}
export DATA_DIR=${DATA_DIR:-data}

say() { printf 'run: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The host to reach a listener at: its own, or loopback where it listens on all.
host_of() {
    case ${1%:*} in
    '[::]' | 0.0.0.0 | '') echo localhost ;;
    *) echo "${1%:*}" ;;
    esac
}

# Does anything accept connections there?
answers() {
    local host
    host=$(host_of "$1")
    host=${host#[}
    (: <"/dev/tcp/${host%]}/${1##*:}") 2>/dev/null
}

ping_engine() { curl -sf -m 5 --unix-socket "$1" http://docker/_ping >/dev/null 2>&1; }

# Waits up to SECONDS for a process to end: gone PID SECONDS.
gone() {
    local left=$(($2 * 10))
    while kill -0 "$1" 2>/dev/null; do
        ((left-- > 0)) || return 1
        sleep 0.1
    done
}

run=$PWD/target/run # everything temporary; never the key
owner=              # set once $run is this script's
engine_pid=
agent_pid=

# Ends an engine that this script started and frees what it mounted.
stop_engine() {
    kill -TERM "$1" 2>/dev/null || true
    gone "$1" 30 || kill -KILL "$1" 2>/dev/null || true
    awk -v under="$run/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l 2>/dev/null || true
}

# shellcheck disable=SC2317 # called by the trap
finish() {
    local code=$?
    trap '' INT TERM HUP
    if [[ -n $agent_pid ]]; then
        kill -TERM "$agent_pid" 2>/dev/null || true
        gone "$agent_pid" 15 || kill -KILL "$agent_pid" 2>/dev/null || true
    fi
    [[ -z $engine_pid ]] || stop_engine "$engine_pid"
    [[ -z $owner ]] || rm -rf "$run"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

tests/setup.sh build
say "building"
cargo build --release
agent=${CARGO_TARGET_DIR:-target}/release/docker-ps-agent

# Looked at before anything is started: a stranger's answer on the port must not pass for the agent's.
! answers "$LISTEN_ADDR" || die "$LISTEN_ADDR is taken; choose another: LISTEN_ADDR='[::]:3001' make run"
[[ $METRICS_ADDR == off ]] || ! answers "$METRICS_ADDR" ||
    die "$METRICS_ADDR is taken; choose another: METRICS_ADDR='[::]:9465' make run (or METRICS_ADDR=off)"

start_engine() {
    ((EUID == 0)) || die "no engine answers at /var/run/docker.sock, and a private one needs root: start Docker, or set DOCKER_HOST"

    # A unix socket's path ends at 107 bytes, and the engine makes some 40 bytes below this folder.
    ((${#run} <= 60)) || run=$(mktemp -d /tmp/dpa-run.XXXXXX)

    if [[ -e $run/owner ]]; then
        local other left
        other=$(<"$run/owner")
        ! grep -qs deploy/local/run.sh "/proc/$other/cmdline" || die "make run is already at work here (process $other)"
        # Its script was killed: what it left is ours to end, once it is sure whose it is.
        left=$(cat "$run/engine.pid" 2>/dev/null || true)
        [[ -z $left ]] || ! grep -qsF "$run/" "/proc/$left/cmdline" || stop_engine "$left"
        rm -rf "$run"
    fi
    mkdir -p "$run"
    owner=$$
    echo "$owner" >"$run/owner"

    # Its own configuration, namespace and state, so that an installed engine is neither read nor disturbed; no network,
    # so that no bridge and no firewall rule is made. A session of its own, so that Ctrl-C ends the agent first.
    echo '{}' >"$run/daemon.json"
    setsid dockerd --config-file "$run/daemon.json" --data-root "$run/data" --exec-root "$run/exec" \
        --host "unix://$run/docker.sock" --pidfile "$run/engine.pid" --containerd-namespace dpa-run \
        --containerd-plugins-namespace dpa-run-plugins --bridge=none --iptables=false --ip-forward=false \
        </dev/null >"$run/dockerd.log" 2>&1 &
    engine_pid=$!
    local tries=300
    until ping_engine "$run/docker.sock"; do
        if ! kill -0 "$engine_pid" 2>/dev/null || ((tries-- == 0)); then
            tail -n 15 "$run/dockerd.log" >&2
            die "the private engine did not start; its last words are above"
        fi
        sleep 0.1
    done
    export DOCKER_HOST=unix://$run/docker.sock
}

# Two containers, so that the first request has something to show. No registry is asked: the image is busybox alone.
start_demo() {
    # The client's own folder: the user's may hold settings of another engine.
    local docker=(docker --config "$run/client" --host "$DOCKER_HOST") root=$run/busybox
    mkdir -p "$root/bin"
    cp /bin/busybox "$root/bin/busybox"
    for tool in sh date sleep echo; do ln -s busybox "$root/bin/$tool"; done
    tar -C "$root" -c . | "${docker[@]}" import --message "busybox of this machine" - demo:latest >/dev/null
    # A shell as PID 1 does not end on TERM.
    local options=(--detach --network none --stop-signal KILL)
    # shellcheck disable=SC2016 # expanded in the container
    "${docker[@]}" run "${options[@]}" --name demo-clock demo \
        sh -c 'while :; do echo "it is $(date)"; sleep 1; done' >/dev/null
    "${docker[@]}" run "${options[@]}" --name demo-quiet demo \
        sh -c 'echo "to stdout"; echo "to stderr" >&2; sleep 2147483647' >/dev/null
}

socket=/var/run/docker.sock
if [[ -n ${DOCKER_HOST:-} ]]; then
    say "engine: $DOCKER_HOST, from DOCKER_HOST"
else
    if ! ping_engine "$socket"; then
        say "no engine at $socket"
        # Where services are started on installation, this alone may bring one up.
        tests/setup.sh engine
    fi
    if ping_engine "$socket"; then
        export DOCKER_HOST=unix://$socket
        say "engine: $DOCKER_HOST"
    else
        start_engine
        start_demo
        say "engine: $DOCKER_HOST, private, with two demo containers"
    fi
fi

# With this script killed, nothing else would end the agent.
setsid setpriv --pdeathsig TERM "$agent" </dev/null &
agent_pid=$!
trap 'kill -TERM "$agent_pid" 2>/dev/null || true' INT TERM HUP

# The agent's own probe asks with the key, so only this agent can pass it.
tries=150
until "$agent" health >/dev/null 2>&1; do
    kill -0 "$agent_pid" 2>/dev/null || break
    ((tries-- > 0)) || die "the agent did not answer within 15 s"
    sleep 0.1
done

if kill -0 "$agent_pid" 2>/dev/null; then
    key_file=$(cd "$DATA_DIR" && pwd)/_auth.key
    url=http://$(host_of "$LISTEN_ADDR"):${LISTEN_ADDR##*:}
    echo
    echo "A first request:"
    echo
    echo "    curl -H \"x-auth-key: \$(cat '$key_file')\" $url/containers"
    if [[ -n $engine_pid ]]; then
        echo
        echo "and a log as it is written:"
        echo
        echo "    curl -N -H \"x-auth-key: \$(cat '$key_file')\" $url/containers/demo-clock/logs/stream"
    fi
    echo
    echo "Ctrl-C ends it."
fi

# A signal interrupts `wait`; the agent, told by the trap, still has streams to close.
while kill -0 "$agent_pid" 2>/dev/null; do
    wait "$agent_pid" || true
done
wait "$agent_pid" && code=0 || code=$?
agent_pid=
exit "$code"
