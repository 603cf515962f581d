#!/usr/bin/env bash
# Runs a command so that nothing outlives it: tests/isolated.sh COMMAND…
# The tests start engines, containers and proxies. In process, mount and network namespaces of their own, all of these end
# with the command, however it ends: passed, failed, interrupted, killed; every port is free, and nothing but loopback can
# be reached; /run is empty, so that the engine's default socket is theirs too. What they wrote is below one TMPDIR, removed
# last, but for the data of engines, below target/test-engines, which the next ones remove.
# The control groups of killed containers stay behind empty, so engines put theirs below one named like TMPDIR:
#   dockerd --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$(basename "$TMPDIR")" …
set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Short: unix sockets, whose paths end at 107 bytes, are made below it.
TMPDIR=$(mktemp -d /tmp/dpa.XXXXXX)
# Agents and proxies that run as other users must get through to what is theirs.
chmod 755 "$TMPDIR"
export TMPDIR

job=
status=1
finish() {
    trap '' INT TERM HUP
    if [[ -n $job ]]; then
        kill -TERM -- "-$job" 2>/dev/null || true
        for _ in {1..50}; do
            kill -0 "$job" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$job" 2>/dev/null || true
        wait "$job" 2>/dev/null || true
    fi
    find /sys/fs/cgroup -depth -type d -path "*/${TMPDIR##*/}*" -exec rmdir {} + 2>/dev/null || true
    rm -rf "$TMPDIR"
    exit "$status"
}
trap 'status=130; exit' INT
trap 'status=143; exit' TERM HUP
trap finish EXIT

namespaces=(unshare --mount --net --pid --fork --mount-proc --kill-child)
if ((EUID == 0)) && "${namespaces[@]}" true 2>/dev/null; then
    # A namespace's first process does not get signals it has no handler for and must reap orphans: bash, not the command.
    # shellcheck disable=SC2016 # expanded by the inner bash
    command=("${namespaces[@]}" bash -c 'mount -t tmpfs run /run && ip link set lo up && "$@"; exit "$?"' isolated "$@")
elif ((EUID == 0)); then
    echo "isolated: this root may not make namespaces, and without them tests would meet what runs here" >&2
    exit
else
    echo "isolated: no namespaces of its own without root; what starts an engine will fail" >&2
    command=("$@")
fi

# Job control gives the command a process group of its own: one kill reaches all of it, and it does not start with SIGINT
# ignored, as other background commands do.
set -m
"${command[@]}" </dev/null &
job=$!
wait "$job" && status=0 || status=$?
job=
