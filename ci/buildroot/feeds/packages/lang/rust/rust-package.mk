# SPDX-License-Identifier: GPL-2.0-only
# Included by the feed's Makefile; ci/buildroot/rules.mk has what it is included for.
