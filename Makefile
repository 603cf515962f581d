# Each target does all of its own set-up and leaves nothing running.

.DEFAULT_GOAL := help
.PHONY: help run test bench fuzz lint

# What `make bench` measures, each a file in benches/.
BENCHES ?= footprint followers slow_follower download decode reads mixed

# What `make fuzz` runs, each a file in fuzz/fuzz_targets/, and for how long.
FUZZ_TARGETS ?= frames lines cursors sse query
FUZZ_SECONDS ?= 30

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

run: ## build and run the agent on a Docker engine, a private one if there is none
	@deploy/local/run.sh

test: ## run every test, against a real engine and real proxies
	@tests/setup.sh build engine deploy train
	@cargo fetch --locked
	@tests/isolated.sh cargo test --workspace --locked $(ARGS)

bench: ## measure what the image holds; BENCHES names the bench targets; all are run, and it fails where one is over its limit
	@tests/setup.sh build engine load train
	@cargo fetch --locked
	@DOCKER_PS_AGENT=$$(tests/isolated.sh deploy/build.sh) && export DOCKER_PS_AGENT && \
		tests/isolated.sh cargo bench --locked --no-fail-fast $(BENCHES:%=--bench %) $(ARGS)

fuzz: ## fuzz each of FUZZ_TARGETS for FUZZ_SECONDS; see fuzz/Cargo.toml
	@tests/setup.sh build fuzz
	@for target in $(FUZZ_TARGETS); do RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) $(ARGS) || exit 1; done

lint: ## rustfmt, clippy, rustdoc, shellcheck; warnings are errors
	@tests/setup.sh build lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	CARGO_TARGET_DIR=target cargo clippy --manifest-path fuzz/Cargo.toml --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	shellcheck .ci/run deploy/*.sh deploy/local/run.sh tests/*.sh
