#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# `invite`, `list` and `revoke`: who is let in to an anchor.

help_invite() {
	cat << 'END'
Usage: wgroam-setup invite ROAMER [OPTIONS]

Lets a router in, and prints one line for it: its invitation, to be given to
wgroam-setup join there. The line has the roamer's private key in it, and is a
secret. It can't be printed again, as that key is not kept here.

  --size LEN      of the prefix that the roamer gets, by default 64, which is
                  one LAN; 60 is sixteen
  --tunnel NAME   the anchor, where there are several
  --qr            print a QR code as well, also where the output is no terminal
                  (needs qrencode)
  --dry-run       show what would change
END
}

help_list() {
	cat << 'END'
Usage: wgroam-setup list

What was set up here, with the roamers of each anchor.
END
}

help_revoke() {
	cat << 'END'
Usage: wgroam-setup revoke ROAMER [--tunnel NAME] [--dry-run]

Lets it in no longer. Its prefix is free again.
END
}

# take_roamer WORD...: arguments of invite and revoke; sets $roamer, $tunnel and the like.
take_roamer() {
	roamer='' tunnel='' size=64 qr='' dry_run='' asks=
	while [ $# -gt 0 ]; do
		case "$1" in
		--dry-run) dry_run=1 ;;
		--qr) qr=1 ;;
		--size | --tunnel)
			need "$1" $#
			case "$1" in --size) size=$2 ;; *) tunnel=$2 ;; esac
			shift
			;;
		-*) misused "$command: what is '$1'?" ;;
		*)
			[ -z "$roamer" ] || misused "$command takes one roamer"
			roamer=$1
			;;
		esac
		shift
	done
	[ -n "$roamer" ] || misused "$command needs the name of a roamer"
	is_name "$roamer" || die "'$roamer' is no name: 1 to 11 characters, a-z, 0-9 and _, beginning with a letter"
	[ -z "$tunnel" ] || is_name "$tunnel" || die "--tunnel $tunnel: no tunnel has such a name"
}

# Reads the record of the anchor that is meant.
open_anchor() {
	local all

	all=$(names_of anchor)
	[ -n "$all" ] || die "there is no anchor here yet: wgroam-setup anchor makes one"
	if [ -z "$tunnel" ]; then
		[ "$all" = "${all%%"$newline"*}" ] || die "there are several anchors: say --tunnel, and which of $(words "$all")"
		tunnel=$all
	fi
	has "$all" "$tunnel" || die "there is no anchor '$tunnel' here, only $(words "$all")"
	open_record "$tunnel"
	interface=wg_$name
	[ "$(get "network.$interface")" = interface ] ||
		die "the interface $interface is not in /etc/config/network any more: wgroam-setup remove $name, and begin anew"
}

command_invite() {
	local pool link number taken line

	take_roamer "$@"
	is_number "$size" 16 64 || die "--size $size: it has to be a number up to 64, the size of one LAN"
	need_wg
	begin
	open_anchor
	! old_line roamer "$roamer" ||
		die "'$roamer' was invited already, and its invitation can't be printed again: revoke it first, or take another name"
	{ ! get "network.${interface}_$roamer" && ! get "wgroam.$roamer"; } > /dev/null ||
		die "the name '$roamer' is taken by something in /etc/config/network or /etc/config/wgroam: take another"
	old_line set wan
	wan=$value
	old_line set pool
	pool=$value
	allocate "$pool"
	make_roamer
	write_plan
	note "$roamer gets $prefix. What follows is a secret, as it has $roamer's private key in it, which is not kept here:" \
		"it can't be printed again. On $roamer: wgroam-setup join"
	# Whoever was to read it may be gone; the rest is done all the same.
	trap '' PIPE
	printf '%s\n' "$line" 2> /dev/null ||
		note "The invitation could not be printed: wgroam-setup revoke $roamer, and invite it again."
	[ -z "$qr" ] && ! [ -t 1 ] || ! command -v qrencode > /dev/null || printf '%s' "$line" | qrencode -t ANSIUTF8
	# After the line: whoever is cut off here has it.
	take_over ||
		die "the invitation is good, but $roamer does not get in yet: $differs. logread says more;" \
			"wgroam-setup apply $interface tries again"
}

# allocate POOL: sets $prefix, and $link and $number for the address.
allocate() {
	local id one used

	look_around
	is_shared_prefix "$1" || die "the record of '$name' is broken: its prefix is '$1'"
	[ "$size" -ge "$length" ] || die "--size $size: '$name' has $1 to share, which is less"
	link=$(get "network.$interface.addresses")
	link=${link%%/*}
	case "$link" in *::1) link=${link%1} ;; *) die "$interface has another address than the one it was made with" ;; esac
	used="$newline"
	for id in $(u -X show network | sed -n "s/^network\.\([A-Za-z0-9_]*\)=wireguard_$interface\$/\1/p"); do
		for one in $(get "network.$id.allowed_ips"); do
			take "$one" "a roamer"
			used="$used${one%/*}$newline"
		done
	done
	free_prefix "$high" "$length" "$size" "$taken" ||
		die "no /$size is left in $1: revoke a roamer, or share a larger prefix"
	prefix_text "$at" "$size"
	prefix=$text
	number=2
	while has "$used" "$link$(printf '%x' "$number")"; do number=$((number + 1)); done
	address=$link$(printf '%x' "$number")
}

# Plans the peer, and writes the invitation into $line.
make_roamer() {
	local private public shared rest host port peer="network.${interface}_$roamer"

	private=$(wg genkey)
	public=$(printf '%s\n' "$private" | wg pubkey)
	shared=$(wg genpsk)
	{ is_key "$private" && is_key "$public" && is_key "$shared"; } || die "wg gives no keys"
	keep_record
	record "roamer$tab$roamer$tab$prefix$tab$address"
	section "$peer" "wireguard_$interface"
	put "$peer.description" "$roamer"
	put "$peer.public_key" "$public"
	put "$peer.preshared_key" "$shared"
	put_list "$peer.allowed_ips" "$prefix" "$address/128"
	put "$peer.route_allowed_ips" 1
	section "wgroam.$roamer" peer
	put "wgroam.$roamer.tunnel" "$interface"
	put "wgroam.$roamer.public_key" "$public"
	old_line set endpoints
	endpoints=$value
	rest=$endpoints,
	while [ -n "$rest" ]; do
		{ is_endpoint "${rest%%,*}" && ! is_nobodys "$host" && ! is_ones_own "$host"; } ||
			die "no roamer finds '$name' at ${rest%%,*}: say wgroam-setup anchor --host again, with all its options"
		rest=${rest#*,}
	done
	old_line set mtu
	mtu=$value
	public=$(get "network.$interface.private_key")
	public=$(printf '%s\n' "$public" | wg pubkey)
	is_key "$public" || die "$interface has no private key"
	write_invitation "$name" "$roamer" "$endpoints" "$public" "$private" "$shared" "$prefix" "$address,${link}1" "$mtu"
}

command_revoke() {
	local key failed

	take_roamer "$@"
	begin
	open_anchor
	old_line roamer "$roamer" || die "there is no roamer '$roamer' of '$name': wgroam-setup list shows who there is"
	grep -v -e "^roamer$tab$roamer$tab" "$work/old" |
		grep -vxF -e "section${tab}network.${interface}_$roamer" -e "section${tab}wgroam.$roamer" > "$work/record"
	key=$(get "network.${interface}_$roamer.public_key")
	write_plan
	take_over && failed='' || failed=$differs
	# Its section may have been taken out by hand.
	if [ -n "$key" ] && has "$(wg show "$interface" peers 2> /dev/null)" "$key"; then
		die "$roamer is out of the files, but may still get in: $failed. wgroam-setup apply $interface tries again;" \
			"until that is done, ifdown $interface locks everybody out"
	fi
	note "$roamer is let in no longer."
	[ -z "$failed" ] || die "but not all is in force: $failed. logread says more; wgroam-setup apply $interface tries again"
}

command_list() {
	local file

	[ $# -eq 0 ] || misused "list takes no argument"
	take_turn
	for file in "$STORE"/*.record; do
		[ -e "$file" ] || {
			note "Nothing was set up here."
			break
		}
		name=${file##*/}
		name=${name%.record}
		list_one "$file"
	done
}

# list_one FILE: a tunnel, and its roamers indented, each with the seconds since its last handshake.
list_one() {
	local word who what address key times role='' text=

	while IFS=$tab read -r word who what address; do
		case "$word $who" in
		'set role') role=$what ;;
		'set pool' | 'set prefix' | 'set interface') text=$what ;;
		esac
	done < "$1"
	printf '%s\t%s\t%s\n' "$name" "$role" "$text"
	times=$(wg show "wg_$name" latest-handshakes 2> /dev/null)
	while IFS=$tab read -r word who what address; do
		[ "$word" = roamer ] || continue
		key=$(uci -q get "network.wg_${name}_$who.public_key")
		case "$newline$times" in
		*"$newline$key$tab"[123456789]*)
			key=${times#*"$key$tab"}
			key="$(($(date +%s) - ${key%%"$newline"*})) s since the last handshake"
			;;
		*) key='no handshake yet' ;;
		esac
		printf '  %s\t%s\t%s\t%s\n' "$who" "$what" "$address" "$key"
	done < "$1"
}
