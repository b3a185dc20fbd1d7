# SPDX-License-Identifier: GPL-2.0-only
# Included by the feed's Makefile; ci/buildroot/rules.mk has what it is included for. What follows is what rust-values.mk and
# rust-package.mk of the packages feed give to cargo as far as it changes the program, in their words: `ci/cross sdk-like`
# builds with it, and with what the feed's Makefile adds.
CARGO_RUSTFLAGS += -Ctarget-feature=-crt-static
CARGO_PKG_VARS = \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
	CARGO_PROFILE_RELEASE_DEBUG=false \
	CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=false \
	CARGO_PROFILE_RELEASE_LTO=true \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=z \
	CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
	CARGO_PROFILE_RELEASE_PANIC=unwind \
	CARGO_PROFILE_RELEASE_RPATH=false \
	RUSTFLAGS="$(CARGO_RUSTFLAGS)"
CARGO_PKG_ARGS = --locked
