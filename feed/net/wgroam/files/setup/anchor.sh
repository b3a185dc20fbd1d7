#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# `anchor`: the end that stays at home and has IPv6.

help_anchor() {
	cat << 'END'
Usage: wgroam-setup anchor --host NAME[:PORT] [OPTIONS]

Makes a WireGuard interface that shares a piece of this router's IPv6, and opens
the firewall for it. Said again, it makes all of this anew: give every option
that is to stay. What is not given again is taken away; keys, roamers and the
shared prefix stay.

  --host NAME[:PORT]    where this router is found from outside: a name, an IPv4
                        address or an [IPv6] address; port 51820 if none is
                        given. May be given several times, best first
  --name NAME           of the tunnel, by default home; the interface is wg_NAME
  --prefix PREFIX/LEN   what to share from. By default auto: a part of what the
                        WAN delegates that no LAN uses
  --wan INTERFACE       the uplink, by default wan
  --listen-port PORT    by default the first host's
  --fallback-port PORT  another port that leads here, for networks that block
                        the first: 443, 53. May be given several times
  --open tcp:PORT       let connections from the Internet in to that port behind
                        the roamers; also udp:PORT. May be given several times.
                        The roamer has to let them in, too:
                        wgroam-setup join --open
  --mtu BYTES           of the tunnel, by default what fits through the WAN
  --yes                 do not ask. It is asked where a LAN has to make room: one
                        that was given all of the prefix, and uses one /64 of it
  --dry-run             show what would change
END
}

command_anchor() {
	local hosts='' fallbacks='' wanted=auto listen='' dry_run='' yes='' asks=

	name=home wan=wan open='' mtu=''
	while [ $# -gt 0 ]; do
		case "$1" in
		--dry-run)
			dry_run=1
			shift
			continue
			;;
		--yes | -y)
			yes=1
			shift
			continue
			;;
		--host | --name | --prefix | --wan | --listen-port | --fallback-port | --open | --mtu) need "$1" $# ;;
		*) misused "anchor: what is '$1'?" ;;
		esac
		case "$1" in
		--host) add_host "$2" ;;
		--name) name=$2 ;;
		--prefix) wanted=$2 ;;
		--wan) wan=$2 ;;
		--listen-port) listen=$2 ;;
		--fallback-port)
			is_port "$2" || die "--fallback-port $2: it has to be a number from 1 to 65535"
			fallbacks="$fallbacks${fallbacks:+ }$2"
			;;
		--open) add_open "$2" ;;
		--mtu) mtu=$2 ;;
		esac
		shift 2
	done
	[ -n "$hosts" ] || misused "anchor needs --host: the name or address by which this router is found from outside"
	is_name "$name" || die "--name $name: a name has 1 to 11 characters, a-z, 0-9 and _, and begins with a letter"
	is_section "$wan" || die "--wan $wan: no interface can have that name"
	interface=wg_$name
	listen=${listen:-${hosts%%,*}}
	listen=${listen##*:}
	is_port "$listen" || die "--listen-port $listen: it has to be a number from 1 to 65535"
	need_wg
	begin
	open_record "$name"
	check_role anchor
	[ "$(get "network.$wan")" = interface ] || die "there is no interface '$wan' in /etc/config/network: say --wan"
	zone_of "$wan" || die "the firewall has no zone with '$wan' in it"
	choose_mtu
	choose_pool "$wanted"
	check_port
	add_endpoints
	! old_line set endpoints || [ "$value" = "$endpoints" ] || ! grep -q "^roamer$tab" "$work/old" ||
		note "Roamers that were invited before look for this router where their invitations say."
	record "set${tab}role${tab}anchor"
	record "set${tab}wan${tab}$wan"
	record "set${tab}wanted${tab}$wanted"
	record "set${tab}pool${tab}$pool"
	record "set${tab}endpoints${tab}$endpoints"
	record "set${tab}mtu${tab}$mtu"
	plan_anchor
	make_room
	write_plan
	must_take_over
	note "The tunnel '$name' shares $pool. Next: wgroam-setup invite ROAMER"
}

# add_host TEXT: to $hosts, with its port.
add_host() {
	local one=$1 host port

	case "$one" in
	*]) one=$one:51820 ;;
	'['*) ;;
	*:*) ;;
	*) one=$one:51820 ;;
	esac
	is_endpoint "$one" ||
		die "--host $1: it has to be a name, an IPv4 address or an IPv6 address in [ ], each with :PORT or without"
	{ ! is_nobodys "$host" && ! is_ones_own "$host"; } ||
		die "--host $1: no roamer finds it there: give the name or address by which this router is found from outside"
	case ",$hosts," in *",$one,"*) ;; *) hosts="$hosts${hosts:+,}$one" ;; esac
}

# Every host with its port, then each with the fallback ports: $endpoints.
add_endpoints() {
	local rest=$hosts, one port

	endpoints=$hosts
	for port in $fallbacks; do
		rest=$hosts,
		while [ -n "$rest" ]; do
			one=${rest%%,*}
			rest=${rest#*,}
			case ",$endpoints," in *",${one%:*}:$port,"*) ;; *) endpoints=$endpoints,${one%:*}:$port ;; esac
		done
	done
}

# check_role ROLE: one name, one thing.
check_role() {
	! old_line set role || [ "$value" = "$1" ] ||
		die "the name '$name' is taken: it was made by another command; wgroam-setup list shows it, choose another"
}

# Nobody else listens there.
check_port() {
	local id port

	for id in $(u -X show network | sed -n 's/^network\.\([A-Za-z0-9_]*\)=interface$/\1/p'); do
		[ "$id" != "$interface" ] || continue
		[ "$(get "network.$id.proto")" != wireguard ] || [ "$(get "network.$id.listen_port")" != "$listen" ] ||
			die "the port $listen is that of the interface '$id': say --listen-port, or --host with another port"
	done
	for port in $fallbacks; do
		[ "$port" != "$listen" ] || die "--fallback-port $port is the port itself"
	done
	for id in $(u -X show firewall | sed -n 's/^firewall\.\([A-Za-z0-9_]*\)=redirect$/\1/p'); do
		case "$id" in "${interface}_from_"*) continue ;; esac
		[ "$(get "firewall.$id.src")" = "$zone" ] || continue
		case "$(get "firewall.$id.proto")" in '' | *udp* | *all* | *any*) ;; *) continue ;; esac
		for port in $listen $fallbacks; do
			[ "$(get "firewall.$id.src_dport")" != "$port" ] ||
				die "the firewall redirects UDP port $port already ($(get "firewall.$id.name")): take another port"
		done
	done
}

plan_anchor() {
	local key address port

	section "network.$interface" interface
	key=$(get "network.$interface.private_key")
	is_key "$key" || key=$(wg genkey)
	is_key "$key" || die "wg genkey gives no key"
	address=$(get "network.$interface.addresses")
	[ -n "$address" ] || {
		random_link
		address=$text::1/64
	}
	put "network.$interface.proto" wireguard
	put "network.$interface.private_key" "$key"
	put "network.$interface.listen_port" "$listen"
	put_list "network.$interface.addresses" "$address"
	put "network.$interface.mtu" "$mtu"
	# What a roamer's endpoint is now is no reason to take the tunnel down with an uplink.
	put "network.$interface.nohostroute" 1
	keep_roamers
	firewall_zone
	firewall_forward wan "$interface" "$zone"
	firewall_icmp icmp_to "$zone" "$interface"
	section "firewall.${interface}_port" rule
	put "firewall.${interface}_port.name" "Allow-WireGuard-$interface"
	put "firewall.${interface}_port.src" "$zone"
	put_list "firewall.${interface}_port.proto" udp
	put "firewall.${interface}_port.dest_port" "$listen"
	put "firewall.${interface}_port.target" ACCEPT
	for port in $fallbacks; do
		section "firewall.${interface}_from_$port" redirect
		put "firewall.${interface}_from_$port.name" "WireGuard-$interface-$port"
		put "firewall.${interface}_from_$port.src" "$zone"
		put_list "firewall.${interface}_from_$port.proto" udp
		put "firewall.${interface}_from_$port.src_dport" "$port"
		put "firewall.${interface}_from_$port.dest_port" "$listen"
		put "firewall.${interface}_from_$port.target" DNAT
		# By itself a redirect is one of IPv4's, and a home behind DS-Lite is found by IPv6 alone.
		put "firewall.${interface}_from_$port.family" any
	done
	firewall_open "$zone" "$interface"
	wgroam_tunnel
}

# LANs that are to take a /64 alone, now or since an earlier call.
make_room() {
	local lan

	for lan in $narrowed; do
		note "It is to take no more: option ip6assign '64', and '$lan' is restarted once. A router behind it that was" \
			"given a part of the rest loses that. wgroam-setup remove $name undoes it."
		change "network.$lan.ip6assign" =64
		asks=1
	done
	for lan in $(narrowed_before); do
		grep -q "^option${tab}network.$lan.ip6assign$tab" "$work/record" || change "network.$lan.ip6assign" =64
		# Whether it has made room by now is looked at again.
		case " $narrowed " in *" $lan "*) ;; *) narrowed="$narrowed $lan" ;; esac
	done
}

# narrowed_before: the LANs of the old record that had to make room.
narrowed_before() {
	sed -n "s/^option${tab}network\.\([A-Za-z0-9_]*\)\.ip6assign$tab.*/\1/p" "$work/old"
}

# Roamers are not touched when the anchor is made anew.
keep_roamers() {
	local line

	grep "^roamer$tab" "$work/old" | while IFS= read -r line; do record "$line"; done
	grep -e "^section${tab}network.${interface}_" -e "^section${tab}wgroam\." "$work/old" |
		grep -vxF "section${tab}wgroam.$interface" | while IFS= read -r line; do record "$line"; done
}

# The daemon watches every interface as long as there is no tunnel section at all; the first one would have it leave the
# others alone. So there is one of ours only beside others.
wgroam_tunnel() {
	local id

	for id in $(u -X show wgroam | sed -n 's/^wgroam\.\([A-Za-z0-9_]*\)=tunnel$/\1/p'); do
		[ "$id" != "$interface" ] || continue
		section "wgroam.$interface" tunnel
		return 0
	done
}
