# What a person does with a checkout. `make help` lists it.
#
# INSTANCE=name keeps several seeds apart on one machine; CARRY, CMD, FORCE, LIBVIRT and RELEASES are explained at their targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

INSTANCE ?= $(or $(SEEDBED_INSTANCE),default)
SEEDBED := $(or $(CARGO_TARGET_DIR),target)/release/kubectl-seedbed
UP_FLAGS = $(if $(LIBVIRT),--libvirt $(LIBVIRT)) $(foreach release,$(RELEASES),--release $(release)) $(foreach other,$(CARRY),--carry $(other))

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The command line builds without libvirt; it then installs and builds everything else. Rust itself needs a linker.
.PHONY: cli
cli:
	@command -v cc >/dev/null || hack/install
	@[ -x $(SEEDBED) ] || echo '    0 s  build          … kubectl-seedbed itself, which takes a minute the first time'
	@cargo build --quiet --release --locked --package seedbed-cli

.PHONY: up
up: cli ## Bring up a seed and in it the sample cluster (LIBVIRT=system|namespace|none, RELEASES='v1.35.4 …' CARRY='v1.36.3 …')
	@$(SEEDBED) --instance $(INSTANCE) up $(UP_FLAGS)

.PHONY: down
down: cli ## Delete the clusters, stop everything, leave nothing (FORCE=1: without asking the operator)
	@$(SEEDBED) --instance $(INSTANCE) down $(if $(FORCE),--force)

.PHONY: shell
shell: cli ## Open a shell in which kubectl, virsh and curl reach the seed and every cluster
	@$(SEEDBED) --instance $(INSTANCE) shell

export CMD
.PHONY: run
run: cli ## Run one command there: make run CMD='kubectl get nodes'
	@if [ -z "$$CMD" ]; then echo "usage: make run CMD='kubectl get nodes'" >&2; exit 2; fi
	@$(SEEDBED) --instance $(INSTANCE) run "$$CMD"

.PHONY: status
status: cli ## Show what runs and how the clusters are
	@$(SEEDBED) --instance $(INSTANCE) status

.PHONY: test
test: ## Everything that CI checks: formatting, lints, unit, integration, one real cluster
	@hack/test

.PHONY: e2e
e2e: ## The longer tests on real virtual machines
	@hack/e2e

.PHONY: e2e-upgrade
e2e-upgrade: ## Upgrades of a cluster on real virtual machines: set back, cancelled, disturbed, carried out (NEXT=v1.36.3)
	@hack/test --upgrade

SEEDS ?= 1000
FROM ?= 0
# One build for both: without a bug that is planted at run time, it is as if none could be.
IN_SIM := --quiet --locked --profile sim --package seedbed-simulation --features planted
SIMULATE := $(or $(CARGO_TARGET_DIR),target)/sim/seedbed-sim
.PHONY: sim
sim: ## Simulate the whole operator with faults (SEEDS=n FROM=s; VERBOSE=1: one seed with its log)
	@cargo build $(IN_SIM) --bin seedbed-sim
	@$(SIMULATE) $(if $(VERBOSE),one $(FROM) --script --log --told,run --seeds $(SEEDS) --from $(FROM))

# The programs that `sim`, `sim-test` and `planted` run.
.PHONY: simulator
simulator:
	@cargo build $(IN_SIM) --bin seedbed-sim --tests

.PHONY: sim-test
sim-test: ## Test the simulated operator: crash matrix, upgrade matrix, what seeds found
	@cargo test $(IN_SIM) --tests

.PHONY: bench-create
bench-create: ## Measure the creation of a cluster against the same by hand (target/bench/create.json)
	@hack/bench-create

.PHONY: bench-upgrade
bench-upgrade: ## Measure an upgrade and its undoing against the same by hand (target/bench/upgrade.json, NEXT=v1.36.3)
	@hack/bench-upgrade

export CLUSTERS WORKERS
.PHONY: bench-scale
bench-scale: ## Measure many clusters on simulated hosts: CLUSTERS=1000 WORKERS=0 (target/bench/scale.json)
	@hack/bench-scale

.PHONY: bench
bench: ## Measure how long the planner's decisions and the rendering of documents take
	@cargo bench --quiet --locked --package seedbed-planner --bench planner
	@cargo bench --quiet --locked --package seedbed-kubeadm --bench rendering

.PHONY: planted
planted: ## Plant bugs into the operator, one after another, and see that the simulation finds each
	@cargo test $(IN_SIM) --test planted -- --ignored

.PHONY: fmt
fmt: ## Format the sources
	@cargo fmt --all

.PHONY: lint
lint: ## Check formatting and lints
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: generate
generate: ## Write the generated CRDs and documentation anew
	@cargo run --quiet --locked --package seedbed-crds --bin crdgen
	@cargo run --quiet --locked --package seedbed-crds --bin docgen
	@cargo run --quiet --locked --package seedbed-kubeadm --example timing_profiles
	@hack/charts

.PHONY: clean-cache
clean-cache: ## Remove the cache of built binaries, container images and guest images
	@hack/clean-cache
