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

# by_hand: gives WireGuard the peers as the files have them, and the routes; nobody's session ends. Where a peer is now is the
# daemon's affair; one that is nowhere gets the endpoint of the files.
by_hand() {
	local key shared alive kept routed endpoint named allowed handshake rx tx wanted='' one

	while IFS=$tab read -r key shared alive kept routed endpoint named allowed; do
		wanted="$wanted$key$newline"
		# A key of zeros: none.
		[ "$shared" != '(none)' ] || shared=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
		[ "$allowed" != - ] || allowed=
		printf '[Peer]\nPublicKey=%s\nPresharedKey=%s\nPersistentKeepalive=%s\nAllowedIPs=%s\n' \
			"$key" "$shared" "$alive" "$(printf '%s' "$allowed" | sed 's/  */, /g')"
	done < "$work/wanted" > "$work/peers"
	peers_there
	while IFS=$tab read -r key shared endpoint allowed handshake rx tx alive; do
		! has "$wanted" "$key" || continue
		grep -qF "$key" "$work/base/network" ||
			note "Removing the peer $key from $interface: /etc/config/network does not name it."
		quietly wg set "$interface" peer "$key" remove
	done < "$work/there"
	quietly wg addconf "$interface" "$work/peers"
	rm -f "$work/peers"
	peers_there
	while IFS=$tab read -r key shared alive kept routed endpoint named allowed; do
		[ "$endpoint" = - ] || ! grep -q "^$key${tab}[^$tab]*${tab}(none)" "$work/there" ||
			WG_ENDPOINT_RESOLUTION_RETRIES=1 quietly wg set "$interface" peer "$key" endpoint "$endpoint"
	done < "$work/wanted"
	for one in $routes; do is_half "$one" || route_by_hand add "$one"; done
	drop_routes
}

# drop_routes: of the interface, as far as netifd or we made them and the files have them neither for a peer nor as a route.
drop_routes() {
	local wanted one

	# shellcheck disable=SC2046,SC2086 # words
	canonical_list $routes $(u show network | sed -n "s/^network\..*\.target='\(.*\)'\$/\1/p")
	wanted=$list
	for one in $({
		ip -4 route show dev "$interface" | sed 's/^default /0.0.0.0\/0 /'
		ip -6 route show dev "$interface" | sed 's/^default /::\/0 /'
	} 2> /dev/null | awk '$1 ~ /^[0-9a-f]*[.:]/ { print $1 }'); do
		canonical "$one"
		# The kernel compares the protocol: its own and the daemon's stay.
		has "$wanted" "$canonical" || route_by_hand del "$one"
	done
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
	[ -z "$renews" ] || [ -z "$was_up" ] || [ -n "$leaves_peers" ] || [ "$(get "network.$interface")" != interface ] ||
		quietly ubus call "network.interface.$interface" renew
	quietly /etc/init.d/network reload
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
		if [ "$seconds" -ge "$handler_end" ] && [ -n "$up" ] && [ -z "$leaves_peers" ]; then
			by_hand
			! in_force || break
		fi
		if [ "$seconds" -ge "$end" ]; then
			# A mistake in the files is none that a restart cures.
			[ -z "$restarted" ] && [ -n "$cure" ] || return 1
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
		note "Restarting '$lan' for its new ip6assign; its computers are away for a moment."
		quietly /sbin/ifup "$lan"
	done
}

# With nohostroute 1 netifd adds no host routes, but leaves what it added. One that somebody else needs stays, and one
# without which packets would leave by another device is put back.
drop_host_routes() {
	local key endpoint address family route device

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
		# Another tunnel goes there, too.
		wg show all endpoints 2> /dev/null | grep -v "^$interface$tab" | grep -qF "$tab${endpoint%:*}:" && continue
		# busybox's ip does not print the protocol; the other one does.
		route=$(ip "$family" route show exact "$address" 2> /dev/null)
		route=${route%% proto *}
		route=${route%% }
		case "$route" in "$address via "*" dev "*) ;; *) continue ;; esac
		device=${route##* dev }
		device=${device%% *}
		# The kernel compares the protocol: only netifd's goes.
		# shellcheck disable=SC2086 # words
		quietly ip "$family" route del $route proto static || continue
		# The daemon has a route of its own in less.
		sleep 1
		# shellcheck disable=SC2086 # words
		case "$(ip "$family" route get "$address" 2> /dev/null) " in
		*" dev $device "*) ;;
		*) quietly ip "$family" route add $route proto static ;;
		esac
	done
}
