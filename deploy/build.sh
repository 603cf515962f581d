#!/usr/bin/env bash
# Builds the agent as the image holds it, and prints its path: deploy/build.sh
# It is built twice: first one that counts what it does, while benches/train.rs asks what agents are asked, then one that
# the compiler arranges for that. On one core, in front of an engine that answers at once, it handed on 21,400 inspects a
# second (18,000 without) and answered 54,100 `GET /` (49,400), in 20 rounds in turn; in a binary of 7.8 MB instead of 6.9.
set -euo pipefail

cd "$(dirname "$0")/.."

say() { printf 'build: %s\n' "$*" >&2; }

host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print target-libdir)/../bin/llvm-profdata
[[ -x $profdata ]] || { say "llvm-profdata is missing: rustup component add llvm-tools"; exit 1; }

folder=$(realpath -m "${CARGO_TARGET_DIR:-target}/image")
built=$folder/$host/release/docker-ps-agent
# Of its own, since what counts is built in the other one's place.
agent=$folder/docker-ps-agent

# Kernels for ARM have pages of 4, 16 or 64 KiB, and an allocator made for large ones runs on all.
[[ $host != aarch64-* ]] || export JEMALLOC_SYS_WITH_LG_PAGE=16

# The C library goes into the binary, since the image has none. With --target the flags spare build scripts and procedural
# macros, which have to stay dynamic and are not what is to be counted.
build() {
    CARGO_ENCODED_RUSTFLAGS="-Ctarget-feature=+crt-static"$'\x1f'"$1" \
        cargo build --release --locked --target "$host" --target-dir "$folder" >&2
}

say "building one that counts"
build "-Cprofile-generate=$folder/counts"
rm -rf "$folder/counts"
say "training"
DOCKER_PS_AGENT=$built cargo test --locked --bench train >&2
"$profdata" merge --output "$folder/profile" "$folder/counts"
say "building"
build "-Cprofile-use=$folder/profile"
cp "$built" "$agent.new"
mv "$agent.new" "$agent"
echo "$agent"
