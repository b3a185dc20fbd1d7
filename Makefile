# SPDX-License-Identifier: GPL-2.0-only
# The one door to everything. `make` alone lists what there is.

SHELL := /bin/sh
CRATE := wgroam
SCENARIO ?= steady
WITH ?= wgroam
WIREGUARD ?= userspace

.PHONY: help setup build test quick demo lab vm-test lab-test openwrt-test bench bench-verifier size cross lab-mips lint format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo and make test are all you need; each installs what it lacks (root is assumed)."

setup: ## install what build, tests and labs need (Debian packages); the other targets do it by themselves
	@ci/need build userspace-lab kernel-lab tests lint

build: ## the release binaries: wgroam and wgroam-diagnose, in wgroam/target/release
	@ci/need build
	@ci/cargo build --release --bins

test: ## everything: unit, property, simulator, adapters, daemon, OpenWrt packages, userspace lab, kernel lab in a VM
	@ci/test all

quick: ## only what needs no lab: unit, property, simulator, adapters, daemon
	@ci/test crate

openwrt-test: ## the OpenWrt packages' scripts in a scratch root, with the real uci, jshn and daemon
	@ci/test openwrt

vm-test: ## the adapters against a real kernel's WireGuard, in a VM
	@ci/test kernel

.PHONY: worlds
COUNT ?= 100000
worlds: ## random worlds with and without wgroam, compared: make worlds COUNT=100000
	@ci/need build
	@ci/worlds '$(COUNT)'

lab-test: ## the scenarios, in both labs
	@ci/test lab

.PHONY: release-test bare-test sdk
release-test: ## what a release is made with: patches, SDK, workflows, signed feed, systemd unit; ci/test and ci/bare
	@ci/test release

bare-test: ## make demo and make test in a bare Debian 12 that debootstrap makes, before a release (an hour or two)
	@ci/test bare

sdk: ## the packages by OpenWrt's SDK: make sdk RELEASE=25.12.5 TARGET=mips_24kc SDK_DIR=/path/to/openwrt-sdk-...
	@ci/sdk '$(RELEASE)' '$(TARGET)'

demo: ## the story, live: NAT changed, R2 attacked and rebooted, with and without wgroam
	@ci/need build userspace-lab
	@ci/cargo build --release --bins --example hostile
	@ci/demo

lab: ## one scenario: make lab SCENARIO=wan-change WITH=wgroam WIREGUARD=kernel; SCENARIO=list lists them
	@ci/need build userspace-lab kernel-lab
	@ci/cargo build --release --bins --example hostile
	@if [ '$(SCENARIO)' = list ]; then ci/lab/lab list; \
	else ci/lab/lab run '$(SCENARIO)' --wireguard '$(WIREGUARD)' --with '$(WITH)' --verbose; fi

bench: ## every scenario with wgroam, with nothing and with its rivals, in one run (long): docs/benchmarks.md
	@ci/need build userspace-lab kernel-lab
	@ci/cargo build --release --bins --example hostile
	@ci/bench

bench-verifier: ## the verifier's speed, as a ratio to the bare cryptography in the same run
	@ci/need build
	@ci/cargo bench --bench initiation

size: ## the binary's size, and the memory of a daemon with one quiet tunnel
	@ci/need build userspace-lab
	@ci/cargo build --release --bin wgroam
	@ci/size

lab-mips: ## three scenarios on an emulated MIPS router with its kernel's WireGuard, and what wgroam weighs there
	@ci/need cross mips-lab
	@ci/cross build mipsel_24kc
	@ci/mips/lab

cross: ## for routers: static binaries, run under qemu and weighed; make cross TARGET=mips_24kc for one (ci/targets)
	@ci/cross test $(TARGET)

.PHONY: package feed-index
package: ## wgroam and wgroam-tools for opkg from the cross build: make package TARGET=mips_24kc (docs/openwrt.md)
	@ci/need package
	@ci/package '$(TARGET)'

feed-index: ## the lists of target/packages as a feed for opkg, signed: make feed-index KEY=key-build
	@ci/need feed-index
	@ci/feed-index '$(KEY)'

lint: ## rustfmt, clippy, shellcheck, shfmt, cargo-deny
	@ci/need build lint
	@ci/lint

format: ## rustfmt and shfmt, in place
	@ci/need build lint
	@ci/cargo fmt
	@ci/shell-files | xargs shfmt -w -sr -s

clean: ## what was built in the tree (the cache outside of it stays)
	@ci/cargo clean
