#!/usr/bin/env bash
# Installs what is missing: tests/setup.sh GROUP…
# Groups: build (linker, certificates), lint, engine (dockerd, busybox), deploy (what the files below deploy/ are for), fuzz,
# load (what is measured beside the agent), train (what deploy/build.sh needs).
# Quick when nothing is missing: it looks for the programs, and asks the package manager only for those it did not find.
set -euo pipefail

# A user's PATH on Debian has no sbin, where dockerd and the proxies live.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'setup: %s\n' "$*" >&2; }

missing=()

# need PACKAGE PATH-OR-PROGRAM…: the package is missing when one of these is.
need() {
    local package=$1 wanted
    shift
    for wanted in "$@"; do
        if [[ $wanted == /* ]]; then
            [[ -e $wanted ]] || { missing+=("$package"); return; }
        else
            command -v "$wanted" >/dev/null || { missing+=("$package"); return; }
        fi
    done
}

for group in "${@:?name at least one group: build lint engine deploy fuzz load train}"; do
    case $group in
    build)
        command -v cargo >/dev/null || {
            say "cargo is missing: install Rust first (https://rustup.rs)"
            exit 1
        }
        need gcc cc
        need make make
        need libc6-dev /usr/include/stdlib.h
        need ca-certificates /etc/ssl/certs/ca-certificates.crt
        need curl curl
        ;;
    lint)
        need shellcheck shellcheck
        # The fuzzer is C++, and is built where its targets are checked.
        need g++ c++
        for component in fmt clippy; do
            cargo "$component" --version >/dev/null 2>&1 && continue
            say "installing the Rust component for cargo $component"
            rustup component add "${component/fmt/rustfmt}" >&2
        done
        ;;
    engine)
        need docker.io dockerd containerd runc
        # From Debian 13 on the client is apart.
        if apt-cache show docker-cli >/dev/null 2>&1; then
            need docker-cli docker
        else
            need docker.io docker
        fi
        need busybox-static /bin/busybox
        need iproute2 ip
        ;;
    deploy)
        need docker-compose docker-compose
        need nginx nginx
        need caddy caddy
        need haproxy haproxy
        need prometheus prometheus promtool
        need openssl openssl
        ;;
    fuzz)
        need g++ c++
        command -v cargo-fuzz >/dev/null || {
            say "installing cargo-fuzz"
            cargo install cargo-fuzz --locked >&2
        }
        ;;
    load)
        need nginx nginx
        need haproxy haproxy
        ;;
    train)
        # It reads what this compiler writes, and no other does.
        profdata=$(rustc --print target-libdir)/../bin/llvm-profdata
        [[ -x $profdata ]] || {
            command -v rustup >/dev/null || {
                say "$profdata is missing: it is in rustup's component llvm-tools, or in a package beside your rustc"
                exit 1
            }
            say "installing the Rust component llvm-tools"
            rustup component add llvm-tools >&2
            [[ -x $profdata ]] || { say "$profdata is still missing: rustup's is not the Rust in PATH"; exit 1; }
        }
        ;;
    *)
        say "no group '$group'"
        exit 2
        ;;
    esac
done

((${#missing[@]})) || exit 0

if [[ ${SETUP_AGAIN:-} == "${missing[*]}" ]]; then
    say "installed, and still not there: ${missing[*]}"
    exit 1
fi

if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    say "missing: ${missing[*]} (Debian's package names)"
    say "run this as root on Debian, or install them and try again"
    exit 1
fi

say "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! {
    apt-get update &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
} </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "apt-get could not install ${missing[*]}"
    exit 1
fi

# What is called otherwise in another release of Debian may be known only now.
SETUP_AGAIN="${missing[*]}" exec "$0" "$@"
