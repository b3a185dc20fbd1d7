#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# `adopt`: an interface that somebody made by hand.

help_adopt() {
	cat << 'END'
Usage: wgroam-setup adopt INTERFACE [--dry-run]

Moves endpoint_host and endpoint_port of an existing WireGuard interface's peers
from /etc/config/network to /etc/config/wgroam, so that the interface comes up
whatever DNS does and wgroam finds the way, and sets nohostroute, so that no
uplink takes the interface down with it. All else stays.
wgroam-setup remove INTERFACE undoes it.
END
}

command_adopt() {
	local word dry_run asks='' id moved=

	take_word 'an interface' "$@"
	interface=$word
	is_interface "$interface" || die "'$interface' is no name of an interface in /etc/config/network"
	begin
	[ "$(get "network.$interface")" = interface ] || die "there is no interface '$interface' in /etc/config/network"
	[ "$(get "network.$interface.proto")" = wireguard ] || die "the interface '$interface' is none of WireGuard's"
	! is_recorded "${interface#wg_}" || [ "${interface#wg_}" = "$interface" ] ||
		die "wgroam-setup made '$interface' itself: there is nothing to adopt"
	open_record "$interface"
	check_role adopted
	record "set${tab}role${tab}adopted"
	record "set${tab}interface${tab}$interface"
	for id in $(u -X show network | sed -n "s/^network\.\([A-Za-z0-9_]*\)=wireguard_$interface\$/\1/p"); do
		adopt_peer "$id"
	done
	[ -n "$moved" ] || grep -q "^section${tab}" "$work/old" ||
		die "no peer of '$interface' has an endpoint_host: there is nothing to move, wgroam follows them already"
	keep_adopted
	if [ -n "$(get "network.$interface.tunlink")" ]; then
		note "'$interface' is bound to an uplink (option tunlink): so is its route to the endpoint, and that stays."
	else
		change "network.$interface.nohostroute" =1
	fi
	wgroam_tunnel
	write_plan
	# It takes nothing from anybody: who is let in is none of its business.
	leaves_peers=1
	{ [ -z "$changed" ] && ! [ -e "$STORE/unapplied" ]; } || must_take_over
}

# adopt_peer ID: a section wireguard_INTERFACE.
adopt_peer() {
	local id=$1 host port key peer selector

	host=$(get "network.$id.endpoint_host")
	port=$(get "network.$id.endpoint_port")
	key=$(get "network.$id.public_key")
	[ -n "$host" ] || return 0
	case "$(get "network.$id.disabled")" in 1 | yes | on | true | enabled) return 0 ;; esac
	case "$host" in '['*) ;; *:*) host="[$host]" ;; esac
	is_endpoint "$host:${port:-51820}" || die "peer '$id' of '$interface': its endpoint_host or endpoint_port can't be right"
	! is_nobodys "$host" ||
		die "peer '$id' of '$interface': nobody can have the address in its endpoint_host: write the other end's there, or nothing"
	is_key "$key" || die "peer '$id' of '$interface': its public_key is none"
	case "$id" in
	cfg*) selector="network.@wireguard_${interface}[public_key=$key]" ;;
	*) selector=network.$id ;;
	esac
	if ! find_peer "$key"; then
		name_peer "$id"
		section "wgroam.$peer" peer
		put "wgroam.$peer.tunnel" "$interface"
		put "wgroam.$peer.public_key" "$key"
		put_list "wgroam.$peer.endpoint" "$host:${port:-51820}"
	else
		case "$found" in cfg*) peer="wgroam.@peer[public_key=$key]" ;; *) peer=wgroam.$found ;; esac
		# Its own endpoints won so far, and still do.
		[ -n "$(get "wgroam.$found.endpoint")" ] || member "$peer.endpoint" "$host:${port:-51820}"
	fi
	change "$selector.endpoint_host" -
	[ -z "$port" ] || change "$selector.endpoint_port" -
	moved=1
}

# find_peer KEY: the section in package wgroam that it has already: $found.
find_peer() {
	for found in $(u -X show wgroam | sed -n 's/^wgroam\.\([A-Za-z0-9_]*\)=peer$/\1/p'); do
		[ "$(get "wgroam.$found.public_key")" != "$1" ] || [ "$(get "wgroam.$found.tunnel")" != "$interface" ] || return 0
	done
	return 1
}

# name_peer ID: sets $peer to a name for it that is free, from its description.
name_peer() {
	local base number=1

	base=$(get "network.$1.description" | tr 'A-Z .-' 'a-z___' | tr -cd 'a-z0-9_')
	case "$1" in cfg*) base=${base:-$interface} ;; *) base=${base:-$1} ;; esac
	peer=$base
	while get "wgroam.$peer" > /dev/null || grep -qxF "section${tab}wgroam.$peer" "$work/record"; do
		number=$((number + 1))
		peer=${base}_$number
	done
}

# What an earlier call moved has no endpoint_host any more.
keep_adopted() {
	local line

	grep -e "^section${tab}wgroam\." -e "^option${tab}network\..*\.endpoint_" -e "^member${tab}" "$work/old" |
		while IFS= read -r line; do
			grep -qxF "$line" "$work/record" || [ "$line" = "section${tab}wgroam.$interface" ] || record "$line"
		done
}
