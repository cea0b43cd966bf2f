# Everything a developer does, by name. `make help` lists it.

VENV := .venv
FEATURES := --features cruddur/local
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0

.PHONY: help run reset tools deploy smoke test test-slow test-page screenshots faults bench bench-extension fuzz soak lint checkov layer release dist clean build-TelemetryLayer

help: ## List these targets
	@awk -F ':.*## ' '/^[a-zA-Z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# An installed cargo-lambda will do.
run: $(if $(shell command -v cargo-lambda),,$(VENV)/bin/cargo-lambda) ## Start the API and the extension, with demo data; PORT=9001 takes another port
	@OTEL_SERVICE_NAME=$${OTEL_SERVICE_NAME:-cruddur} .dev/run

reset: ## Remove the data of the local run; the next `make run` begins with the demo data
	rm -rf target/cruddur

tools: $(VENV)/requirements ## Install sam, cargo-lambda and zig into .venv

STACK ?= cruddur

deploy: $(VENV)/requirements ## Build and deploy; STACK=cruddur names the stack, PARAMETERS='Name=value …' sets parameters
	@.dev/deploy "$(STACK)" $(PARAMETERS)

smoke: ## Call the deployed stack STACK as a new user, who is removed again
	@.dev/smoke "$(STACK)"

test: $(VENV)/requirements ## Run every test; T=name runs those whose name contains it
	cargo test --workspace $(FEATURES) $(T)

test-slow: $(VENV)/requirements ## Run a property-based client against the local run, other languages' OpenTelemetry SDKs against the extension, and its page in a browser
	tests/openapi/run
	tests/sdk/install
	cargo test --package cruddur-tests --test all $(FEATURES) -- --ignored --nocapture --test-threads 1 sdks::
	$(MAKE) test-page

test-page: ## Test the extension's page in headless Chromium, which is installed where apt can; T=waterfall runs one file
	tests/page/run $(T)

screenshots: ## Draw the two pictures of the page in extension/README.md anew
	tests/page/run screenshots

faults: ## Run the fault suite and print its table
	@mkdir -p target && rm -f target/faults.txt
	CRUDDUR_FAULT_TABLE=$(CURDIR)/target/faults.txt cargo test --package cruddur-tests --test all faults:: -- --skip store::
	@printf '\n%-48s%8s%11s%12s%9s%9s%14s\n' fault sent delivered duplicated spooled lost 'longest hold'
	@sort target/faults.txt

bench: $(VENV)/requirements ## Measure the functions: what telemetry adds, the cold reply, and more and more in the store
	cargo build --release --package cruddur --package cruddur-tests --package cruddur-telemetry $(FEATURES) \
		--example bench --example bench-cold --example bench-telemetry --example empty-function --example steps-function \
		--bin functions --bin home-activities --bin search-activities --bin create-activity --bin cruddur-telemetry
	target/release/examples/bench-telemetry
	target/release/examples/bench-cold
	target/release/examples/bench
	$(MAKE) bench-extension

# By hand: needs `cargo install cargo-fuzz`. A finding becomes a unit test before its fix. What
# the targets run has no unsafe code of ours for a sanitizer to watch.
fuzz: ## Run each fuzz target of the extension for FUZZ_SECONDS (60)
	cd extension && for target in wire signal json grpc telemetry headers recovery; do \
		mkdir -p fuzz/target/corpus/$$target && \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --dev --sanitizer none $$target \
			fuzz/target/corpus/$$target fuzz/corpus/$$target \
			-- -max_total_time=$(or $(FUZZ_SECONDS),60) -max_len=4096 || exit 1; \
	done

soak: ## Run what takes minutes: 10,000 invocations, an outage, 100,000 lines, 100 runs with 8 requests at once, 20,000 seeds of the simulation
	cargo test --package cruddur-tests --test all -- --ignored --nocapture soak:: cloudwatch:: managed_instances::
	CRUDDUR_SEEDS=20000 cargo test --release --package cruddur-telemetry --lib simulation

# Measures the deployed build. The published peer is only run, never linked. Nothing else
# should run meanwhile.
bench-extension: ARCHITECTURE = $(shell uname -m)
bench-extension: $(VENV)/requirements target/bench/bin/opentelemetry-lambda-extension ## Measure the extension beside a bare one and the published peer
	$(build-extension)
	cargo build --release --package cruddur-tests --example bench-extension --example bench-holds --example bench-lines \
		--example bench-quota --example lines-function
	$(CC) -O2 -o target/bench/bare-extension tests/bench/bare_extension.c
	target/release/examples/bench-extension \
		target/bench/bare-extension target/lambda/extensions/cruddur-telemetry $(lastword $^)
	target/release/examples/bench-holds target/lambda/extensions/cruddur-telemetry
	target/release/examples/bench-lines target/lambda/extensions/cruddur-telemetry
	target/release/examples/bench-quota target/bench/bare-extension target/lambda/extensions/cruddur-telemetry
	cargo test --release --package cruddur-telemetry --lib measure_appends -- --ignored --nocapture
	cargo test --release --package cruddur-telemetry --lib measure_page -- --ignored --nocapture

target/bench/bin/opentelemetry-lambda-extension:
	cargo install --quiet --locked --root target/bench opentelemetry-lambda-extension@0.2.0

lint: $(VENV)/requirements ## Check formatting, lints, the documentation and the template
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(FEATURES) -- -D warnings
	cargo clippy --package cruddur --bins -- -D warnings # as it is deployed: without the local store
	cargo clippy --package cruddur-telemetry --no-default-features -- -D warnings # without the local page
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps $(FEATURES)
	sam validate --lint --region us-east-1
	@mkdir -p target && python3 tests/translate_template.py >target/template.json
	cfn-lint target/template.json

# checkov has a hundred dependencies that conflict with other tools, so it has its own environment.
checkov: target/checkov/bin/checkov ## Check the template's security; template.yaml explains the findings that stay
	sed 's/Default: "off"/Default: "on"/' template.yaml >target/checkov/template.yaml # all resources
	$< --file target/checkov/template.yaml --framework cloudformation --compact --quiet --skip-download \
		--skip-check $$(grep -o '^# CKV_[A-Z0-9_]*' template.yaml | cut -c 3- | paste -sd , -)

target/checkov/bin/checkov:
	python3 -m venv target/checkov
	target/checkov/bin/pip install --quiet checkov==3.3.30

layer: $(VENV)/requirements ## Build the layer alone, as a zip for anybody's function
	$(build-extension)
	.dev/zip-layer target/lambda/extensions/cruddur-telemetry target/cruddur-telemetry-$(ARCHITECTURE).zip

release: $(VENV)/requirements target/tools/bin/cargo-cyclonedx ## Leave the layer's zips, their sums and list of crates in target/layer
	.dev/release target/layer

target/tools/bin/cargo-cyclonedx:
	cargo install --quiet --locked --root target/tools cargo-cyclonedx@0.5.9

dist: $(VENV)/requirements ## Build all that is deployed, and one function for the other architecture; check and start it
	sam build --parameter-overrides Architecture=arm64
	$(MAKE) layer ARCHITECTURE=arm64
	.dev/check-dist .aws-sam/build arm64
	.dev/start-dist .aws-sam/build arm64
	sam build HomeActivitiesFunction --build-dir .aws-sam/x86_64 --parameter-overrides Architecture=x86_64
	$(MAKE) layer ARCHITECTURE=x86_64
	.dev/check-dist .aws-sam/x86_64 x86_64
	.dev/start-dist .aws-sam/x86_64 x86_64

clean: ## Remove what was built and installed
	rm -rf target $(VENV) .aws-sam

# For the local run cargo-lambda is enough, at the version that the tests use. It depends on zig, of
# 400 MB, for builds of other machines only.
$(VENV)/bin/cargo-lambda: tests/requirements.txt
	@.dev/venv
	pip install --quiet --no-deps "$$(grep ^cargo-lambda $<)"
	@touch $@

$(VENV)/requirements: tests/requirements.txt tests/python-function/requirements.txt
	@.dev/venv
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and sys.argv[1])' \
		'make: these tools need Python 3.11 or later. Put it first in PATH as python3, and remove .venv'
	pip install --quiet $(addprefix --requirement=,$^)
	@touch $@

# `make layer ARCHITECTURE=x86_64` takes the other.
ARCHITECTURE ?= arm64

# Linked statically: it starts in half the time, and asks for nothing that a runtime may not have.
# Without the directory of the crates' sources in it: 30 KB less, and the same bytes on each machine.
# Without the local page, which is of no use on Lambda.
TARGET = $(ARCHITECTURE:arm64=aarch64)-unknown-linux-musl
CRATES = $${CARGO_HOME:-$$HOME/.cargo}/registry/src/*
build-extension = cargo fetch --quiet --locked --target $(TARGET) && \
	RUSTFLAGS="$$(printf -- '--remap-path-prefix=%s/= ' $(CRATES))" \
	cargo lambda build --release --target $(TARGET) --extension --package cruddur-telemetry --no-default-features

# `sam build` calls this for the layer. ARTIFACTS_DIR is what becomes /opt.
build-TelemetryLayer:
	$(build-extension)
	install -D target/lambda/extensions/cruddur-telemetry "$(ARTIFACTS_DIR)/extensions/cruddur-telemetry"
