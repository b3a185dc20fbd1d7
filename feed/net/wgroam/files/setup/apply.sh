#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# `apply`: what somebody else wrote to /etc/config/network reaches WireGuard, too.

help_apply() {
	cat << 'END'
Usage: wgroam-setup apply INTERFACE [--dry-run]

Has netifd and WireGuard take over what /etc/config/network says of a WireGuard
interface: peers that were added, changed or removed there, by hand or by LuCI.
On 24.10 and 25.12 a reload of the network does not look at peers. Where only
peers differ, no session is cut on these. A newer netifd restarts the interface
for a changed peer, and every release does so for some options of the interface;
that is said, and wgroam puts the endpoints back.
END
}

command_apply() {
	local word dry_run asks=

	take_word 'an interface' "$@"
	interface=$word
	is_interface "$interface" || die "'$interface' is no name of an interface in /etc/config/network"
	name=${interface#wg_}
	begin
	[ "$(get "network.$interface")" = interface ] || die "there is no interface '$interface' in /etc/config/network"
	[ "$(get "network.$interface.proto")" = wireguard ] || die "the interface '$interface' is none of WireGuard's"
	pool='' narrowed='' changed=
	: > "$work/old"
	if [ -n "$dry_run" ]; then
		read_wanted
		if in_force; then note "All of it is in force."; else note "Not in force: $differs."; fi
		exit 0
	fi
	take_over ||
		die "not in force: $differs. Correct that in /etc/config/network if it stands there, and say it again;" \
			"wgroam diagnose $interface and logread say more"
	! is_off || exit 0
	note "WireGuard has what /etc/config/network says of $interface."
}
