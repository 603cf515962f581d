#!/usr/bin/env bash
# Builds the Dockerfile where no image registry can be reached: tests/image.sh SOCKET TAG
# The build stage's base image is made of this machine's own Debian packages, Rust toolchain and downloaded crates, under
# the name that the Dockerfile asks for. An image of that name that the engine has is used as it is.
# Prints the size of the image in bytes.
set -euo pipefail

socket=${1:?the path of the socket of an engine}
tag=${2:?the name for the image}
cd "$(dirname "$0")/.."

say() { printf 'image: %s\n' "$*" >&2; }

work=$(mktemp -d)
engine=(--config "$work/client" --host "unix://$socket")
made=
# shellcheck disable=SC2317 # called by the trap
finish() {
    # What is not the real thing must not keep its name.
    [[ -z $made ]] || docker "${engine[@]}" rmi --no-prune "$made" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

base=$(sed -n 's/^ARG RUST_IMAGE=//p' Dockerfile)
[[ -n $base ]] || { say "the Dockerfile names no RUST_IMAGE"; exit 1; }

# What compiling and linking need from Debian.
system_files() {
    local path
    apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances bash dash coreutils diffutils findutils gcc grep libc6-dev make mawk sed | grep '^[a-z]' | sort -u |
        xargs dpkg-query --listfiles |
        grep -v -E '^/usr/share/(doc|man|info|locale|lintian|bug)/|^/etc/|/[^/]*lto-dump|/lto1$|/lib(a|l|t|ub)san' |
        # Paths through the folders that are now links would make folders of these links.
        sed -E 's#^/(bin|sbin|lib[^/]*)/#/usr/\1/#' | sort -u |
        while read -r path; do
            if [[ -f $path || -L $path ]]; then echo "$path"; fi
        done
    # Alternatives are in no package's list; rustc links by calling cc, and configure scripts call awk.
    for path in /bin /sbin /lib /lib64 /usr/bin/{cc,awk} /etc/alternatives/{cc,awk}; do
        [[ ! -L $path ]] || echo "$path"
    done
}

host() { rustc -vV | sed -n 's/^host: //p'; }

# The compiler and what is its own, cargo, the standard library; the rest of a toolchain is documentation and further tools.
toolchain_files() {
    find "$1"/bin/{rustc,cargo} "$1"/lib/*.so* "$1/lib/rustlib/$(host)" -type f -o -type l
}

# The index, and the archives of the crates that Cargo.lock names.
crate_files() {
    local crate
    find "$1/registry/index" -type f
    awk -F'"' '/^name = /{ n = $2 } /^version = /{ v = $2 } /^source = /{ print n "-" v ".crate" }' Cargo.lock |
        while read -r crate; do find "$1/registry/cache" -name "$crate"; done
}

make_base() {
    command -v dpkg-query apt-cache >/dev/null || { say "no image $base, and this is not Debian: pull it first"; exit 1; }
    local toolchain crates
    cargo fetch --locked --quiet --target "$(host)"
    toolchain=$(rustc --print sysroot)
    crates=${CARGO_HOME:-$HOME/.cargo}
    mkdir -p "$work/root/tmp"
    chmod 1777 "$work/root/tmp"
    {
        echo "$work/root/tmp"
        system_files
        toolchain_files "$toolchain"
        crate_files "$crates"
    } | sort -u >"$work/files" # tar makes a path that comes again a link to itself

    # S: a link's target is left as it is.
    made=$base
    tar --create --absolute-names --no-recursion --owner=0 --group=0 --files-from "$work/files" \
        --transform "flags=rSH;s#^$work/root/##" --transform "flags=rSH;s#^$toolchain/#usr/local/rust/#" \
        --transform "flags=rSH;s#^$crates/#usr/local/cargo/#" --transform 'flags=rSH;s#^/##' |
        docker "${engine[@]}" import --message 'what Rust needs, of this machine' \
            --change 'ENV PATH=/usr/local/rust/bin:/usr/bin:/bin CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true' \
            - "$base" >/dev/null
}

if docker "${engine[@]}" image inspect "$base" >/dev/null 2>&1; then
    say "the engine has $base"
else
    make_base
    say "made $base, $(docker "${engine[@]}" image inspect -f '{{.Size}}' "$base") bytes, in $SECONDS s"
fi

# The legacy builder: it is in every engine, where BuildKit's client plugin may be missing.
DOCKER_BUILDKIT=0 docker "${engine[@]}" build --network host --tag "$tag" . >"$work/log" 2>&1 || {
    tail -n 40 "$work/log" >&2
    say "the build failed after $SECONDS s"
    exit 1
}
say "built $tag in $SECONDS s"
docker "${engine[@]}" image inspect -f '{{.Size}}' "$tag"
