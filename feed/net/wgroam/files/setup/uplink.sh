#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# What this router has of the Internet: its WAN's MTU, what the WAN delegates, and which parts of it are in use.

# ask_netifd [.INTERFACE] METHOD: loads the answer; fails where there is no netifd that answers.
ask_netifd() {
	ask_ubus "network.interface$1" "$2"
}

# ask_ubus OBJECT METHOD
ask_ubus() {
	local answer

	answer=$(ubus call "$1" "$2" 2> /dev/null)
	[ -n "$answer" ] && [ -e /usr/share/libubox/jshn.sh ] || return 1
	# shellcheck disable=SC1091 # OpenWrt's
	. /usr/share/libubox/jshn.sh
	json_init
	json_load "$answer" 2> /dev/null
}

# What is shared: global, with room for a LAN, and no bits behind its length. Sets $high and $length, or $problem.
is_shared_prefix() {
	local text

	problem="a prefix is written like 2001:db8:1200::/56"
	case "$1" in */*) ;; *) return 1 ;; esac
	prefix_read "$1" || return 1
	if [ $(((high >> 61) & 7)) -ne 1 ]; then
		problem="it is not global: the Internet routes prefixes in 2000::/3 only"
	elif [ "$length" -gt 64 ]; then
		problem="it is too small: a LAN needs a /64"
	elif [ "$length" -lt 16 ]; then
		problem="it is too large: nobody is given more than a /16"
	else
		mask_of "$length"
		[ $((high & ~mask)) -ne 0 ] || [ "$low" -ne 0 ] || return 0
		prefix_text $((high & mask)) "$length"
		problem="it has bits behind its length: $text would be one"
	fi
	return 1
}

# Sets $taken, lines of HIGH LENGTH WHOSE, to what this router uses, except by the interface $interface, and $delegated
# to what the interfaces $wan, $wan6, wan_6 and the like are given, lines of prefixes.
look_around() {
	local interfaces one index

	taken='' delegated=
	# From netifd.
	if ask_netifd '' dump && json_is_a interface array; then
		json_select interface
		json_get_keys interfaces
		for index in $interfaces; do
			json_select "$index"
			json_get_var one interface
			[ "$one" = "$interface" ] || look_at "$one"
			json_select ..
		done
	fi
	# What other anchors here have to share.
	for one in $(names_of anchor); do
		[ "$one" = "$name" ] || take "$(sed -n "s/^set${tab}pool${tab}//p" "$STORE/$one.record")" "the anchor '$one'"
	done
	# From the configuration, for what is down now.
	for one in $(u -X show network | sed -n 's/^network\.\([A-Za-z0-9_]*\)=interface$/\1/p'); do
		[ "$one" != "$interface" ] || continue
		for index in $(get "network.$one.ip6addr"); do take "$index" "$one"; done
	done
	for one in $(u -X show network | sed -n 's/^network\.\([A-Za-z0-9_]*\)=wireguard_[A-Za-z0-9_]*$/\1/p'); do
		[ "$(get "network.$one")" != "wireguard_$interface" ] || continue
		for index in $(get "network.$one.allowed_ips"); do take "$index" "a peer of $(get "network.$one")"; done
	done
}

# look_at NAME: the object of the interface that is selected.
look_at() {
	local list item address mask_length

	for list in ipv6-prefix-assignment ipv6-address ipv6-prefix; do
		json_is_a "$list" array || continue
		json_select "$list"
		json_get_keys items
		for item in $items; do
			json_select "$item"
			json_get_var address address
			json_get_var mask_length mask
			json_select ..
			case "$list" in
			ipv6-prefix)
				case "$1" in
				"$wan" | "${wan}6" | "${wan}_6") delegated="$delegated$address/$mask_length$newline" ;;
				esac
				;;
			*) take "$address/$mask_length" "$1" ;;
			esac
		done
		json_select ..
	done
}

# take PREFIX WHOSE: as far as it is global, one more for $taken. An address stands for its /64.
take() {
	local high low length

	prefix_read "$1" || return 0
	[ $(((high >> 61) & 7)) -eq 1 ] || return 0
	[ "$length" -le 64 ] || length=64
	taken="$taken$high $length $2$newline"
}

# choose_pool WANTED: sets $pool to what roamers get theirs from.
choose_pool() {
	local one

	narrowed=
	look_around
	if old_line set pool; then
		pool=$value
		[ "$1" != auto ] || return 0
		old_line set wanted
		[ "$1" != "$value" ] || return 0
		! grep -q "^roamer$tab" "$work/old" ||
			die "roamers have parts of $pool already: revoke them before the prefix changes to $1"
	fi
	if [ "$1" = auto ]; then
		[ -n "$delegated" ] ||
			die "no prefix is delegated to '$wan' now: bring it up, or say --prefix with one that is routed to this router"
		for one in $delegated; do
			is_shared_prefix "$one" || continue
			carve_half && return 0
		done
		for one in $delegated; do
			is_shared_prefix "$one" && narrow "$one" && carve_half && return 0
		done
		die "the WAN delegates ${delegated%"$newline"}, and the LANs use all of it: ask the provider for more (uci set" \
			"network.wan6.reqprefix='56'; uci commit network; ifup wan6), or let the LAN go without (uci set" \
			"network.lan.ip6class='local'; uci commit network; ifup lan). The guide says more: When R2 only has a /64"
	fi
	is_shared_prefix "$1" || die "--prefix $1: $problem"
	carve "$length" || { narrow "$1" && carve_half; } ||
		die "--prefix $1 is in use by $whose here: nothing of it is left"
	[ "$pool" = "$1" ] || note "A part of $1 is in use by $whose: roamers get theirs from $pool."
}

# carve_half: of $high/$length; the lower half is left to LANs that are still to come, where there is one.
carve_half() {
	carve $((length < 64 ? length + 1 : 64))
}

# narrow PREFIX: netifd gives a LAN all that ip6assign asks for, of which its link uses one /64. Takes the rest of that for
# free: changes $taken, and sets $narrowed to LANs that have to be told; fails if there is none.
narrow() {
	local at size whose hint rest='' bits

	narrowed=
	while read -r at size whose; do
		[ -n "$size" ] || continue
		bits=$((size < 64 ? (1 << (64 - size)) - 1 : 0))
		if [ "$size" -lt 64 ] && overlaps "$high" "$length" "$at" "$size" &&
			is_section "$whose" && is_number "$(get "network.$whose.ip6assign")" 1 63; then
			note "'$whose' holds a /$size of $1, by its option ip6assign, and uses one /64 of that."
			narrowed="$narrowed${narrowed:+ }$whose"
			# The one that netifd gives it then.
			hint=$(get "network.$whose.ip6hint")
			case "$hint" in '' | *[!0123456789ABCDEFabcdef]* | ?????????*) hint=0 ;; esac
			at=$((at | (0x$hint & bits))) size=64
		fi
		rest="$rest$at $size $whose$newline"
	done << END
$taken
END
	[ -n "$narrowed" ] || return 1
	taken=$rest
}

# carve SIZE: the largest part of $high/$length that nobody uses, at most of that size, and from its upper end if it
# may: $pool.
carve() {
	local size=$1 top

	while [ "$size" -le 64 ]; do
		top=$((high + (1 << (64 - length)) - (1 << (64 - size))))
		at=$top
		if is_taken "$top" "$size" "$taken"; then
			whose=${found#* * }
			free_prefix "$high" "$length" "$size" "$taken" || at=
		fi
		if [ -n "$at" ]; then
			prefix_text "$at" "$size"
			pool=$text
			return 0
		fi
		size=$((size + 1))
	done
	return 1
}

# wan_mtu: sets $limit to what one packet may have on the WAN.
wan_mtu() {
	local device value id

	limit=1500
	value=$(get "network.$wan.mtu")
	! is_number "$value" 576 9000 || limit=$value
	[ "$(get "network.$wan.proto")" != pppoe ] || [ "$limit" -le 1492 ] || limit=1492
	device=$(get "network.$wan.device")
	if find_section network device name "$device"; then
		value=$(get "network.$found.mtu")
		! is_number "$value" 576 9000 || [ "$value" -ge "$limit" ] || limit=$value
	fi
	ask_netifd ".$wan" status || return 0
	json_get_var device l3_device
	case "$device" in '' | *[!A-Za-z0-9_.@:-]*) return 0 ;; esac
	value=$(cat "/sys/class/net/$device/mtu" 2> /dev/null)
	! is_number "$value" 576 9000 || [ "$value" -ge "$limit" ] || limit=$value
}

# Sets $mtu to what fits. WireGuard adds 60 bytes over IPv4 and 80 over IPv6; a name may be both.
choose_mtu() {
	local limit most

	wan_mtu
	most=$((limit - 80))
	case "$hosts" in *[!0123456789.,:]*) ;; *) most=$((limit - 60)) ;; esac
	if [ -n "$mtu" ]; then
		is_number "$mtu" 1280 9000 || die "--mtu $mtu: it has to be a number from 1280, the least that IPv6 knows, to 9000"
		[ "$mtu" -le $((limit - 60)) ] ||
			die "--mtu $mtu: the WAN carries $limit bytes, of which WireGuard needs 60: $((limit - 60)) at most"
		return 0
	fi
	mtu=$most
	[ "$mtu" -ge 1280 ] || {
		mtu=1280
		note "The WAN carries $limit bytes only: the tunnel gets IPv6's least MTU, 1280, and its packets will be in fragments."
	}
}
