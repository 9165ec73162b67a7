# Everything a developer or CI runs. The two that matter: `make run` and `make test`.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The tests and the image share one target and one profile, so that a dependency is compiled once: the program that is
# tested is the program that goes into the image. `make run` and `make test-fast` use the machine's own target, because
# it needs nothing installed.
STATIC_TARGET := $(shell uname -m)-unknown-linux-musl
STATIC := CARGO_BUILD_TARGET=$(STATIC_TARGET)
CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

DENY_VERSION := 0.20.2
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hearthgate
DENY := $(CACHE)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny

IMAGE ?= hearthgate:latest

.PHONY: help run test test-fast test-long bench image stack prepare fmt clippy build doc deny test-image unit behaviour arm64

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build and start the gateway as it is without any configuration; says what to curl
	@$(CARGO) build --bin hearthgate
	@printf '%s\n' \
	  'When it says that it listens, ask it from another terminal (port 8000 where 80 is taken):' \
	  '  curl -i http://localhost/          your address as the gateway saw it, and why it believed it' \
	  '  curl -s http://localhost:8080/ready   what it waits for' \
	  '  curl -s http://localhost:8080/api/rawdata   what it routes' \
	  '  docker run -d -l traefik.enable=true -l '"'"'traefik.http.routers.hello.rule=Host(`hello.localhost`)'"'"' traefik/whoami' \
	  'Ctrl-C stops it.'
	@exec $(TARGET_DIR)/debug/hearthgate

test: ## all that CI runs; installs what it needs (Debian packages) and says so
	@$(MAKE) --no-print-directory prepare
	@$(MAKE) --no-print-directory fmt
	@$(MAKE) --no-print-directory clippy
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory doc
	@$(MAKE) --no-print-directory deny
	@$(MAKE) --no-print-directory test-image
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory behaviour

test-fast: ## formatting and the unit tests of all crates; needs nothing but Rust
	$(CARGO) fmt --all --check
	$(CARGO) test --workspace --locked --lib --bins

test-long: ## `make test`, then 200 containers, longer soaks, and the arm64 program started once
	@$(MAKE) --no-print-directory test
	@tests/prepare.sh long
	@$(MAKE) --no-print-directory arm64
	@echo '==> behaviour, the long ones'
	@LONG_TESTS=1 $(MAKE) --no-print-directory behaviour

bench: ## criterion, then the side-by-side comparison where its script is found (COMPARE=path)
	$(CARGO) bench --workspace --locked
	benches/compare/run.sh $(COMPARE)

image: ## the release image $(IMAGE), from a static binary; asks no image registry
	@tests/prepare.sh
	@echo '==> release binary for $(STATIC_TARGET)'
	@$(STATIC) $(CARGO) build --locked --release --bin hearthgate
	@docker/build.sh $(TARGET_DIR)/$(STATIC_TARGET)/release/hearthgate $(IMAGE)

stack: ## the Compose stack of docker/compose.yaml (needs TUNNEL_TOKEN and an image registry for its neighbours)
	@docker image inspect $(IMAGE) >/dev/null 2>&1 || $(MAKE) --no-print-directory image
	@if docker compose version >/dev/null 2>&1; then \
	  docker compose -f docker/compose.yaml up -d; \
	else \
	  docker-compose -f docker/compose.yaml up -d; \
	fi

# The steps of `make test`, in their order. The tests come last, so that the last line is the test runner's.

prepare:
	@tests/prepare.sh

fmt:
	@echo '==> formatting'
	@$(CARGO) fmt --all --check

clippy:
	@echo '==> lints'
	@$(STATIC) $(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# Everything at once, benches included: one selection of packages, so that no dependency is built twice with different
# features.
build:
	@echo '==> program, tests and benches'
	@$(STATIC) $(CARGO) build --workspace --all-targets --locked

doc:
	@echo '==> documentation'
	@$(STATIC) RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet

deny: $(DENY)
	@echo '==> licences, sources and banned crates'
	@$(DENY) --all-features check bans licenses sources
	@if timeout 15 git ls-remote -q https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then \
	  echo '==> advisories'; $(DENY) --all-features check advisories; \
	else \
	  echo 'advisories: their database cannot be reached from here, not checked'; \
	fi

# Built once in a folder of its own: a checker of this size would else be rebuilt with every clean.
$(DENY):
	@echo '==> building cargo-deny $(DENY_VERSION), once: it checks licences, sources and banned crates'
	@CARGO_TARGET_DIR=$(CACHE)/build $(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --debug \
	  --root $(CACHE)/cargo-deny-$(DENY_VERSION)
	@rm -rf $(CACHE)/build

# The tests start this image and ask it for a page (tests/container.rs).
test-image:
	@echo '==> image'
	@docker/build.sh $(TARGET_DIR)/$(STATIC_TARGET)/debug/hearthgate hearthgate:test

unit:
	@echo '==> unit tests'
	@$(STATIC) $(CARGO) test --workspace --locked --lib --bins
	@$(STATIC) $(CARGO) test --workspace --locked --doc --quiet

behaviour:
	@echo '==> behaviour on the wire, with real parts'
	@$(STATIC) PROGRAM_UNDER_TEST=$(abspath $(TARGET_DIR))/$(STATIC_TARGET)/debug/hearthgate \
	  $(CARGO) test --workspace --locked --test behaviour

arm64:
	@docker/cross-arm64.sh
