#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# test.sh PACKAGE: run by the packages CI in the target's root: what works without a network, a daemon and rights.
# What matched is in its log.
set -e

wgroam_works() {
	wgroam --help | grep '^Usage: wgroam'
	wgroam check /etc/config/wgroam | grep 'is fine'

	# A mistake is named by its line, and is no surprise to the shell.
	wrong=$(mktemp)
	printf "config peer 'home'\n\toption tunnel '\$(reboot)'\n" > "$wrong"
	if found=$(wgroam check "$wrong"); then
		echo "a wrong configuration was accepted"
		exit 1
	fi
	rm -f "$wrong"
	echo "$found" | grep '^error: .*:1: peer .home.*public_key'

	# No daemon runs here, and the caller is told.
	rc=0
	wgroam status || rc=$?
	[ "$rc" = 3 ]
	/usr/libexec/rpcd/wgroam list | grep '"status"'

	# What is not in this package is named by the package that has it.
	[ -e /usr/sbin/wgroam-diagnose ] || wgroam diagnose 2>&1 | grep 'wgroam-tools'
}

tools_work() {
	version=$(wgroam --version)
	echo "$version"
	[ "$(wgroam-setup --version)" = "$version" ]
	[ "$(wgroam-diagnose --version)" = "wgroam-diagnose ${version#wgroam }" ]

	# By their own names, and as commands of wgroam.
	wgroam-setup --help | grep '^Usage: wgroam-setup'
	wgroam setup --help | grep '^Usage: wgroam-setup'
	wgroam-diagnose --help | grep '^Usage: wgroam diagnose'
	wgroam diagnose --help | grep '^Usage: wgroam diagnose'

	# Without wireguard-tools it says so, and whatever it lacks it changes nothing.
	rc=0
	wgroam-setup remove nothing || rc=$?
	[ "$rc" = 1 ]
}

case "$1" in
wgroam) wgroam_works ;;
wgroam-tools) tools_work ;;
*)
	echo "no test for the package '$1'"
	exit 1
	;;
esac
