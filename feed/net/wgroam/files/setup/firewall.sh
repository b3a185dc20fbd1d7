#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# What both roles need of the firewall. Sections are named after the interface, so that the two never meet.

# Errors that IPv6 does not work without, and echo; OpenWrt's own rules let in the same from the WAN.
ICMP_FORWARD='echo-request echo-reply destination-unreachable packet-too-big time-exceeded bad-header unknown-header-type'

# zone_of INTERFACE: sets $zone to the name of the firewall's zone that it is in.
zone_of() {
	local id

	for id in $(u -X show firewall | sed -n 's/^firewall\.\([A-Za-z0-9_]*\)=zone$/\1/p'); do
		case " $(get "firewall.$id.network") " in
		*" $1 "*)
			zone=$(get "firewall.$id.name")
			is_section "$zone" || die "the firewall's zone of $1 has a name that can't be used here: '$zone'"
			return 0
			;;
		esac
	done
	return 1
}

# The tunnel's own zone: as closed as the WAN's, but for ICMPv6.
firewall_zone() {
	local id

	for id in $(u -X show firewall | sed -n 's/^firewall\.\([A-Za-z0-9_]*\)=zone$/\1/p'); do
		[ "$id" = "$interface" ] || [ "$(get "firewall.$id.name")" != "$interface" ] ||
			die "the firewall has a zone '$interface' already: choose another name"
	done
	section "firewall.$interface" zone
	put "firewall.$interface.name" "$interface"
	put_list "firewall.$interface.network" "$interface"
	put "firewall.$interface.input" REJECT
	put "firewall.$interface.output" ACCEPT
	put "firewall.$interface.forward" REJECT
	# TCP fits into the tunnel even where packet-too-big gets lost.
	put "firewall.$interface.mtu_fix" 1
	firewall_icmp icmp_in "$interface" ''
}

# firewall_icmp SUFFIX FROM TO: an empty TO is this router.
firewall_icmp() {
	local rule="firewall.${interface}_$1"

	section "$rule" rule
	put "$rule.name" "Allow-ICMPv6-$interface-${1#icmp_}"
	put "$rule.src" "$2"
	[ -z "$3" ] || put "$rule.dest" "$3"
	put_list "$rule.proto" icmp
	# shellcheck disable=SC2086 # words
	put_list "$rule.icmp_type" $ICMP_FORWARD
	put "$rule.limit" 1000/sec
	put "$rule.family" ipv6
	put "$rule.target" ACCEPT
}

# firewall_forward SUFFIX FROM TO: only IPv6 is shared.
firewall_forward() {
	section "firewall.${interface}_$1" forwarding
	put "firewall.${interface}_$1.src" "$2"
	put "firewall.${interface}_$1.dest" "$3"
	put "firewall.${interface}_$1.family" ipv6
}

# firewall_open FROM TO: what $open says, tcp:22 udp:5000 ...
firewall_open() {
	local one rule

	for one in $open; do
		rule="firewall.${interface}_${one%:*}_${one#*:}"
		section "$rule" rule
		put "$rule.name" "Allow-$interface-${one%:*}-${one#*:}"
		put "$rule.src" "$1"
		put "$rule.dest" "$2"
		put_list "$rule.proto" "${one%:*}"
		put "$rule.dest_port" "${one#*:}"
		put "$rule.family" ipv6
		put "$rule.target" ACCEPT
	done
}

# add_open TEXT: one more for $open.
add_open() {
	case "$1" in
	tcp:* | udp:*) ;;
	*) die "--open $1: it has to be tcp:PORT or udp:PORT" ;;
	esac
	is_port "${1#*:}" || die "--open $1: '${1#*:}' is no port; a port is a number from 1 to 65535"
	case " $open " in *" $1 "*) ;; *) open="$open${open:+ }$1" ;; esac
}
