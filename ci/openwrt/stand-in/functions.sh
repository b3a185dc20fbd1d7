#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Stands in for OpenWrt's /lib/functions.sh. config_load evaluates what `uci export` prints, types of sections unquoted:
# the package's scripts do without.

config_load() {
	echo "config_load was called" >&2
	exit 9
}
