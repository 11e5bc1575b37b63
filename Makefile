# Bare `make` lists the targets. Each is one line that calls what does the work, so that it can be called without make.

.DEFAULT_GOAL := help
.PHONY: help build demo test test-slow bench docs lint dist install uninstall clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the provider and the labyard program, optimised: target/release
	cargo build --locked --release

demo: ## watch Terraform make, change, heal and destroy real machines; KEEP=1 leaves them up
	@demo/run

test: ## run all tests, on a private libvirt host; at most 60 minutes on 2 cores
	@scripts/test

test-slow: ## run what takes long: a whole Debian, libvirt 9.0, the whole kill matrix; see CONTRIBUTING.md
	@scripts/test-slow

bench: ## measure, and write docs/performance.md; PART=fleet measures one part anew (see the page)
	@acceptance-tests/bench/run $(PART)

docs: ## write the reference pages from the schema: docs/index.md, docs/resources, docs/data-sources
	@cargo run --locked --quiet -p labyard-schema --example reference -- examples docs

lint: ## check format, warnings and shell scripts
	@scripts/lint

dist: ## make the registry's archive of a static executable: dist/
	@scripts/dist

install: ## build and put the provider where `terraform init` finds it
	@scripts/install

uninstall: ## take it away again
	@scripts/install --remove

clean: ## remove everything that was built
	cargo clean
	rm -rf dist target/guest
	@rm -rf target/debian 2>/dev/null || sudo rm -rf target/debian
