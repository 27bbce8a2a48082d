# What people and CI run: the targets are the steps of .ci/run.
# Nothing here needs more than Rust, a C compiler, make and bash; what a step needs beyond that, it says or installs.

CARGO ?= cargo
# Most tests wait for programs that they have started: more of them at once than there are cores.
export RUST_TEST_THREADS ?= 8
.DEFAULT_GOAL := help

## Try it

run: ## Build and start a server on embedded SQLite and one worker; Ctrl-C stops both
	@scripts/run

build: ## Build the binaries into target/debug
	$(CARGO) build --locked --workspace

# The server into which bugs can be planted, beside the right one: nothing but the tests of the fault campaign's checker starts it.
planted:
	$(CARGO) build --locked --workspace --bin marabunta-server-planted --features marabunta-server/planted

## Check it

test: test-services build planted ## Install and start what the tests need, and run all of them
	$(CARGO) test --locked --workspace --features marabunta-tests/services --no-fail-fast

test-unit: build ## Run the tests that need no MariaDB, Redis or haproxy
	$(CARGO) test --locked --workspace

test-services: ## Install the servers that the tests start (on Debian, as root)
	@scripts/install-test-services

fmt: ## Check the format
	$(CARGO) fmt --all --check

lint: ## Clippy, warnings are errors; and the fuzz targets, which are a workspace of their own, are read
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- --deny warnings
	@# Read, not linked: no library for it is built.
	RUSTFLAGS='--cfg fuzzing' CUSTOM_LIBFUZZER_PATH=/none $(CARGO) check --locked --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz

deny: ## Check licences, sources and duplicates of the dependencies
	@scripts/install-cargo-deny
	$(CARGO) deny --locked check bans licenses sources

check: fmt lint deny test ## All of the above, as CI does

## Break it

faults: test-services release ## Break real installations in all named ways and print what was seen (up to an hour; FAULTS='10 18' for some, FAULTS=--list)
	@target/release/faults $(FAULTS)

chaos: test-services release ## Break an installation at random (SEED=.. to replay, MINUTES=10)
	@target/release/chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

fleet: test-services release ## Play 10,000 workers in one process, as FLEET says: --scenario slow-readers, churn, idle; --help
	@target/release/fleet $(or $(FLEET),--scenario herd)

fuzz: ## Throw bytes at the parsers, MINUTES=10 at each or at one TARGET; needs a nightly compiler
	@scripts/fuzz

release:
	$(CARGO) build --locked --release --workspace --bins

help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^## / { printf "\n%s\n", substr($$0, 4) } \
	     /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run build planted test test-unit test-services faults chaos fleet release fmt lint deny fuzz check help
