#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# Does the kernel have what the files say? Asked of wg, ip and netifd, each time anew.

# canonical PREFIX: sets $canonical to the same text for every way in which it may be written.
canonical() {
	local rest part number=0

	case "$1" in
	*:*)
		canonical=$1
		prefix_read "$1" || return 0
		if [ "$length" -gt 64 ]; then
			mask_of $((length - 64))
			low=$((low & mask))
		else
			mask_of "$length"
			high=$((high & mask)) low=0
		fi
		canonical=6.$high.$low.$length
		;;
	*)
		canonical=$1 length=32
		case "$1" in */*) length=${1##*/} ;; esac
		is_ipv4 "${1%/*}" && is_number "$length" 0 32 || return 0
		rest=${1%/*}.
		while [ -n "$rest" ]; do
			number=$(((number << 8) | ${rest%%.*}))
			rest=${rest#*.}
		done
		canonical=4.$((number & (0xffffffff << (32 - length)))).$length
		;;
	esac
}

# canonical_list PREFIX...: sets $list, a line each.
canonical_list() {
	local one

	list=
	for one in "$@"; do
		canonical "$one"
		has "$list" "$canonical" || list="$list$canonical$newline"
	done
}

# same_lists LINES LINES: in any order.
same_lists() {
	local one

	[ "${#1}" -eq "${#2}" ] || return 1
	for one in $1; do has "$2" "$one" || return 1; done
}

# in_force: does the kernel have what the files say of $interface? If not, $differs says what it has not.
in_force() {
	local id key

	differs=
	if [ "$(get "network.$interface")" != interface ]; then
		! ip link show dev "$interface" > /dev/null 2>&1 || differs="$interface is still there"
		[ -z "$differs" ]
		return
	fi
	look_at_netifd || differs="netifd does not know $interface"
	[ -n "$differs" ] || [ -n "$up" ] || differs="netifd has not brought $interface up$(complaints)"
	[ -z "$differs" ] || return 1
	interface_in_force && prefixes_in_force && peers_in_force && routes_in_force && lans_in_force
}

# What netifd has to say about an interface, of the answer that is loaded.
complaints() {
	local errors index code all=

	json_is_a errors array || return 0
	json_select errors
	json_get_keys errors
	for index in $errors; do
		json_select "$index"
		json_get_var code code
		json_select ..
		all="$all${all:+, }$code"
	done
	json_select ..
	[ -z "$all" ] || printf ' (%s)' "$all"
}

# Keys and numbers of the interface itself. What the files do not say is the handler's to choose.
interface_in_force() {
	local want have address

	want=$(get "network.$interface.private_key")
	if is_key "$want"; then
		want=$(printf '%s\n' "$want" | wg pubkey)
		[ "$want" = "$(wg show "$interface" public-key 2> /dev/null)" ] || differs="$interface has another private key"
	fi
	want=$(get "network.$interface.listen_port")
	[ -z "$want" ] || [ "$want" = "$(wg show "$interface" listen-port 2> /dev/null)" ] ||
		differs="$interface does not listen on port $want"
	want=$(get "network.$interface.mtu")
	have=" $(ip link show dev "$interface" 2> /dev/null) "
	[ -z "$want" ] || case "$have" in *" mtu $want "*) ;; *) differs="$interface has another MTU than $want" ;; esac
	have=$(ip -o addr show dev "$interface" 2> /dev/null | awk '$3 ~ /^inet/ { print $4 }')
	# shellcheck disable=SC2086 # words
	canonical_addresses $have
	have=$list
	for address in $(get "network.$interface.addresses"); do
		canonical_addresses "$address"
		has "$have" "${list%"$newline"}" || differs="$interface does not have the address $address"
	done
	[ -z "$differs" ]
}

# canonical_addresses ADDRESS...: as canonical_list, with all their bits; one without a length stands for itself alone.
canonical_addresses() {
	local one all=

	for one in "$@"; do
		canonical "${one%/*}"
		case "$one" in */*) all="$all$canonical/${one##*/}$newline" ;; *:*) all="$all$canonical/128$newline" ;; *) all="$all$canonical/32$newline" ;; esac
	done
	list=$all
}

# The prefixes that netifd has of it, for LANs. Of the answer that look_at_netifd loaded.
prefixes_in_force() {
	local prefix have='' index items address mask_length

	if json_is_a ipv6-prefix array; then
		json_select ipv6-prefix
		json_get_keys items
		for index in $items; do
			json_select "$index"
			json_get_var address address
			json_get_var mask_length mask
			json_select ..
			have="$have $address/$mask_length"
		done
		json_select ..
	fi
	# shellcheck disable=SC2086 # words
	canonical_list $have
	for prefix in $(get "network.$interface.ip6prefix"); do
		canonical "$prefix"
		has "$list" "$canonical" || differs="netifd does not hand out $prefix of $interface"
	done
	[ -z "$differs" ]
}

# Each peer of the files, and no other.
peers_in_force() {
	local id key psk endpoint allowed handshake rx tx keepalive there='' wanted='' want

	# Not a pipe: what is found has to stay.
	wg show "$interface" dump 2> /dev/null | sed 1d > "$work/dump"
	for id in $(peers_of); do wanted="$wanted$(get "network.$id.public_key")$newline"; done
	while IFS=$tab read -r key psk endpoint allowed handshake rx tx keepalive; do
		has "$wanted" "$key" || differs="$interface still lets in the peer $key"
		there="$there$key$newline"
	done < "$work/dump"
	for id in $(peers_of); do
		want=$(get "network.$id.public_key")
		name_of_peer "$id"
		has "$there" "$want" || {
			differs="$interface has no peer '$named'"
			return 1
		}
		while IFS=$tab read -r key psk endpoint allowed handshake rx tx keepalive; do
			[ "$key" != "$want" ] || same_peer "$id" "$psk" "$allowed" "$keepalive" || return 1
		done < "$work/dump"
	done
	[ -z "$differs" ]
}

# name_of_peer ID: sets $named.
name_of_peer() {
	named=$(get "network.$1.description")
	named=${named:-$(get "network.$1.public_key")}
}

# same_peer ID PRESHARED-KEY ALLOWED-IPS KEEPALIVE: as wg dumps them.
same_peer() {
	local want list have

	want=$(get "network.$1.preshared_key")
	[ "${want:-(none)}" = "$2" ] || differs="the peer '$named' of $interface has another preshared key"
	want=$(get "network.$1.persistent_keepalive")
	case "$want" in 0 | off) want= ;; esac
	[ "${want:-off}" = "$4" ] || differs="the peer '$named' of $interface has another keepalive"
	# shellcheck disable=SC2046 # words
	canonical_list $(printf '%s' "$3" | sed 's/^(none)$//; s/,/ /g')
	have=$list
	# shellcheck disable=SC2046 # words
	canonical_list $(get "network.$1.allowed_ips")
	same_lists "$list" "$have" ||
		differs="the peer '$named' of $interface has other allowed IPs (two peers can't have the same)"
	[ -z "$differs" ]
}

# What the files would have routed into the tunnel, a line each.
wanted_routes() {
	local id

	for id in $(peers_of); do ! is_true "network.$id.route_allowed_ips" || get "network.$id.allowed_ips"; done | tr ' ' '\n'
}

# routes_there: of the interface in all tables, as canonical lines in $list.
routes_there() {
	# shellcheck disable=SC2046 # words
	canonical_list $({
		ip -4 route show dev "$interface" table all | sed 's/^default /0.0.0.0\/0 /'
		ip -6 route show dev "$interface" table all | sed 's/^default /::\/0 /'
	} 2> /dev/null | awk '$1 ~ /^[0-9a-f]*[.:]/ { print $1 }')
}

routes_in_force() {
	local route

	routes_there
	for route in $(wanted_routes); do
		canonical "$route"
		has "$list" "$canonical" || differs="there is no route to $route by $interface"
	done
	[ -z "$differs" ]
}

# LANs that were told to take less (ip6assign) do: by netifd, and by the addresses in the kernel, which odhcpd goes by.
lans_in_force() {
	local lan one taken delegated device

	{ [ -n "$narrowed" ] && [ -n "$pool" ]; } || return 0
	look_around
	for lan in $narrowed; do
		ask_netifd ".$lan" status || continue
		json_get_var device l3_device
		case "$device" in '' | *[!A-Za-z0-9_.@:-]*) continue ;; esac
		for one in $(ip -6 -o addr show dev "$device" 2> /dev/null | awk '{ print $4 }'); do
			take "$one" "$lan"
		done
	done
	prefix_read "$pool"
	! is_taken "$high" "$length" "$taken" || differs="$pool, which roamers get theirs from, is still in use by ${found#* * } (ifup ${found#* * } makes it let go)"
	[ -z "$differs" ]
}
