# Everything a stranger needs, each with the plain cargo command behind it.
#
# Builds go to one folder outside of the checkout, so that a fresh clone does not compile its dependencies again.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/joule/target

.PHONY: testnet test check dependencies unit contracts chart book prerequisites image keys

## The whole network on this machine, from a deposit to a claimed withdrawal, past real proofs; then it serves wallets.
## The first run makes development keys, which takes some minutes. Without -p, so that dependencies are built as the tests build them.
testnet: prerequisites
	cargo run --locked --bin joule-testnet -- demo $(DEMO)

## Runs every check and test: what CI runs.
test: prerequisites check dependencies unit contracts chart

## Checks what a build needs, installs what it may, and names the rest with the command to get it.
prerequisites:
	testnet/prerequisites

## Format, lints, documentation: cargo fmt, cargo clippy, cargo doc.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

## Licences, sources and versions of dependencies, and what is known against them, by the rules of deny.toml: cargo install cargo-deny --locked.
dependencies:
	@if ! command -v cargo-deny >/dev/null; then \
	  echo "SKIPPED: dependencies, because cargo-deny is not installed (cargo install cargo-deny --locked)"; \
	else \
	  cargo deny --locked check licenses bans sources && \
	  if cargo deny fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	  else echo "SKIPPED: advisories, because their database cannot be reached"; fi; \
	fi

## The tests: cargo test --workspace.
unit:
	cargo test --workspace --locked

## The contracts' own tests, with forge; needs Node. Rust users work with the committed artefacts and need neither.
contracts:
	contracts/test

## The provers' Helm chart, rendered and checked; needs helm and Python, as prover/chart/test says, and no cluster and no network.
chart:
	@if command -v helm >/dev/null; then cargo build --locked --bin joule-prover; fi
	JOULE_PROVER=$(CARGO_TARGET_DIR)/debug/joule-prover prover/chart/test

## The book as web pages, in circuits/book/book: cargo install mdbook.
book:
	mdbook build circuits/book

## Builds the kernel's image anew. Never needed to use the project: the image is committed.
image:
	circuits/kernel/image/build

## Makes the wrap's development keys, the Solidity verifier and all that depends on them anew. Some ten minutes; needed after a circuit changes.
keys:
	contracts/regenerate
