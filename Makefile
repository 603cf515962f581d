# Each target does all of its own set-up and leaves nothing running.

.DEFAULT_GOAL := help
.PHONY: help run test bench lint

# What `make bench` measures, each a file in benches/.
BENCHES ?= footprint followers

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

run: ## build and run the agent on a Docker engine, a private one if there is none
	@deploy/local/run.sh

test: ## run every test, against a real engine and real proxies
	@tests/setup.sh build engine deploy
	@cargo fetch --locked
	@tests/isolated.sh cargo test --workspace --locked $(ARGS)

bench: ## measure; BENCHES names the bench targets
	@tests/setup.sh build engine load
	@cargo fetch --locked
	@tests/isolated.sh cargo bench --locked $(BENCHES:%=--bench %) $(ARGS)

lint: ## rustfmt, clippy, rustdoc, shellcheck; warnings are errors
	@tests/setup.sh build lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	shellcheck .ci/run deploy/local/run.sh tests/*.sh
