#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# What was written reaches netifd and WireGuard, and is looked for there. netifd's `reload` compares interfaces, not
# peers, before the release after 25.12; `renew` has 25.12's handler apply them; before that only a restart of the
# interface does, which cuts everybody off. There peers are given to WireGuard by hand, and the restart is the last resort.

# Seconds in which netifd does what it was asked, each time; and after which WireGuard is told by hand what a handler that
# can `renew` has left out: before wireguard-tools 1.0.20260223 `wg syncconf` leaves keys and keepalives that were removed.
PATIENCE=10
HANDLER_PATIENCE=3

uptime_seconds() {
	local now rest

	read -r now rest < /proc/uptime
	seconds=${now%%.*}
}

# quietly PROGRAM...: without the lock, and without the terminal.
quietly() {
	"$@" < /dev/null > /dev/null 2>&1 9>&-
}

# before PATH: an option as it was before this command.
before() {
	uci -q -c "$work/base" -t "$work/saved" get "$1"
}

# peers_of: the sections of the interface's peers that are switched on.
peers_of() {
	local id

	for id in $(u -X show network | sed -n "s/^network\.\([A-Za-z0-9_]*\)=wireguard_$interface\$/\1/p"); do
		# netifd's handlers skip a peer that has no key.
		{ is_true "network.$id.disabled" || [ -z "$(get "network.$id.public_key")" ]; } || printf '%s\n' "$id"
	done
}

# is_true PATH
is_true() {
	case "$(get "$1")" in 1 | yes | on | true | enabled) return 0 ;; esac
	return 1
}

# look_at_netifd: sets $up and $autostart, each 1 or empty; fails where netifd does not know the interface.
look_at_netifd() {
	up='' autostart=''
	ask_netifd ".$interface" status || return 1
	json_get_var up up
	json_get_var autostart autostart
	[ "$up" = 1 ] || up=
	[ "$autostart" = 1 ] || autostart=
}

# Does the release's handler apply a change of peers by itself, if it is asked to?
look_at_handler() {
	renews=
	ask_ubus network get_proto_handlers && json_is_a wireguard object || return 0
	json_select wireguard
	json_get_var renews renew_available
	[ "$renews" = 1 ] || renews=
}

# Before anything changes.
look_before() {
	look_at_netifd
	was_up=$up
	old_index=$(index_of_interface)
	old_endpoints=$(wg show "$interface" endpoints 2> /dev/null)
}

# by_hand: gives WireGuard the peers as the files have them, and the routes; nobody's session ends. An endpoint is the
# daemon's affair, and is left where it is.
by_hand() {
	local id key one wanted='' gone family

	for id in $(peers_of); do
		key=$(get "network.$id.public_key")
		wanted="$wanted$key$newline"
		printf '[Peer]\nPublicKey=%s\n' "$key"
		key=$(get "network.$id.preshared_key")
		# Of zeros: none.
		printf 'PresharedKey=%s\n' "${key:-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}"
		one=$(get "network.$id.persistent_keepalive")
		printf 'PersistentKeepalive=%s\n' "${one:-off}"
		printf 'AllowedIPs=%s\n' "$(get "network.$id.allowed_ips" | sed 's/ /, /g')"
	done > "$work/peers"
	for key in $(wg show "$interface" peers 2> /dev/null); do
		has "$wanted" "$key" || quietly wg set "$interface" peer "$key" remove
	done
	quietly wg addconf "$interface" "$work/peers"
	rm -f "$work/peers"
	# shellcheck disable=SC2046 # words
	canonical_list $(wanted_routes)
	gone=$list
	for one in $(routes_before); do
		canonical "$one"
		has "$gone" "$canonical" || route_by_hand del "$one"
	done
	for one in $(wanted_routes); do route_by_hand replace "$one"; done
}

# What the files had routed into the tunnel before this command.
routes_before() {
	local id type="wireguard_$interface"

	for id in $(uci -q -X -c "$work/base" -t "$work/saved" show network | sed -n "s/^network\.\([A-Za-z0-9_]*\)=$type\$/\1/p"); do
		[ "$(before "network.$id.route_allowed_ips")" != 1 ] || before "network.$id.allowed_ips"
	done | tr ' ' '\n'
}

# route_by_hand VERB PREFIX: as netifd would have it, without bits behind its length, and with the interface's metric and
# table.
route_by_hand() {
	local family=-4 metric table text=$2 length high low number

	table=$(get "network.$interface.ip4table")
	metric=$(get "network.$interface.metric")
	canonical "$2"
	case "$canonical" in
	4.*)
		number=${canonical#4.}
		number=${number%.*}
		text=$((number >> 24)).$(((number >> 16) & 255)).$(((number >> 8) & 255)).$((number & 255))/$length
		;;
	*)
		family=-6
		table=$(get "network.$interface.ip6table")
		metric=${metric:-1024}
		[ "${length:-128}" -gt 64 ] || prefix_text "$high" "$length"
		;;
	esac
	quietly ip "$family" route "$1" "$text" dev "$interface" proto static \
		${metric:+metric "$metric"} ${table:+table "$table"}
}

# Something that this release applies by a restart of the interface alone.
needs_restart() {
	local option

	[ "$(before "network.$interface")" = interface ] && [ "$(get "network.$interface")" = interface ] || return 1
	# What netifd gave up on, because of a name perhaps.
	[ -n "$was_up" ] || return 0
	[ -z "$renews" ] || return 1
	for option in nohostroute addresses ip6prefix tunlink; do
		[ "$(before "network.$interface.$option")" = "$(get "network.$interface.$option")" ] || return 0
	done
	return 1
}

# index_of_interface: another one means that the interface is another, and its sessions are gone.
index_of_interface() {
	local line

	line=$(ip link show dev "$interface" 2> /dev/null) && printf '%s\n' "${line%%:*}"
}

restart_interface() {
	[ -z "$was_up" ] ||
		note "Restarting $interface, as nothing less puts all of it in force here: its sessions are cut, and begin anew at once where wgroam runs."
	quietly /sbin/ifup "$interface"
}

# is_off: somebody wants it down: option disabled or auto, or ifdown.
is_off() {
	[ "$(get "network.$interface")" = interface ] || return 1
	if look_at_netifd; then
		[ -z "$up" ] && [ -z "$autostart" ]
		return
	fi
	is_true "network.$interface.disabled"
}

say_off() {
	note "$interface is switched off (ifdown, or option auto or disabled): all of this counts once it is up."
}

# tell_netifd: what was written. What `renew` does is done before `reload` could find a reason to restart.
tell_netifd() {
	look_at_handler
	[ -z "$renews" ] || [ -z "$was_up" ] || [ "$(get "network.$interface")" != interface ] ||
		quietly ubus call "network.interface.$interface" renew
	quietly /etc/init.d/network reload || note "/etc/init.d/network reload failed"
}

# settle: waits until what was written is in force, and does what this release leaves to do. Fails with $differs.
settle() {
	local end handler_end restarted=

	restart_lans
	if needs_restart && ! is_off; then
		restarted=1
		restart_interface
	fi
	uptime_seconds
	end=$((seconds + PATIENCE)) handler_end=$((seconds + (${renews:-0} * HANDLER_PATIENCE)))
	while ! in_force; do
		if is_off; then
			say_off
			return 0
		fi
		uptime_seconds
		if [ "$seconds" -ge "$handler_end" ] && [ -n "$up" ]; then
			by_hand
			! in_force || break
		fi
		if [ "$seconds" -ge "$end" ]; then
			[ -z "$restarted" ] && [ "$(get "network.$interface")" = interface ] || return 1
			restarted=1 end=$((seconds + PATIENCE))
			restart_interface
		fi
		# Where sleep knows no parts of a second it takes a whole one.
		sleep 0.2 2> /dev/null || sleep 1
	done
	[ -n "$restarted" ] || [ -z "$was_up" ] || [ "$(get "network.$interface")" != interface ] ||
		[ "$old_index" = "$(index_of_interface)" ] ||
		note "This release restarts $interface for that: its sessions were cut, and begin anew at once where wgroam runs."
	drop_host_routes
}

# What netifd assigns to a LAN it leaves in the kernel as it was until the LAN is restarted, and odhcpd goes by that.
restart_lans() {
	local lan

	[ -z "$pool" ] || ! lans_in_force || return 0
	for lan in $narrowed; do
		note "Restarting '$lan', so that it takes a /64 alone; its computers are away for a moment."
		quietly /sbin/ifup "$lan"
	done
}

# With nohostroute 1 netifd adds no host routes, but leaves what it added. One that is needed is put back.
drop_host_routes() {
	local key endpoint address family route

	[ "$(get "network.$interface.nohostroute")" = 1 ] && [ "$(before "network.$interface.nohostroute")" != 1 ] || return 0
	printf '%s\n' "$old_endpoints" | while IFS=$tab read -r key endpoint; do
		address=${endpoint%:*} family=-4
		case "$address" in
		'['*)
			address=${address#?}
			address=${address%?}
			family=-6
			;;
		*.*) ;;
		*) continue ;;
		esac
		# `config route` and `route6` are their owner's.
		u show network | grep -qF ".target='$address" && continue
		# busybox's ip takes `proto` for a filter and does not print it; the other one prints it.
		route=$(ip "$family" route show exact "$address" proto static 2> /dev/null)
		route=${route%% proto *}
		route=${route%% }
		case "$route" in "$address via "*" dev "*) ;; *) continue ;; esac
		# shellcheck disable=SC2086 # words
		quietly ip "$family" route del $route proto static || continue
		sleep 1
		case "$(ip "$family" route get "$address" 2> /dev/null) " in *" dev $interface "*)
			# shellcheck disable=SC2086 # words
			quietly ip "$family" route add $route proto static
			;;
		esac
	done
}
