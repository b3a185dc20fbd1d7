#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# `join`: the router that travels.

help_join() {
	cat << 'END'
Usage: wgroam-setup join [OPTIONS] [-]

Takes an invitation and brings its IPv6 to the LAN: shows what it will change,
asks, writes it, and waits for the first handshake. The line is asked for, or
read from a pipe. It may be an argument, too, but then every user of this router
can see it in the list of processes while this runs.

  --lan INTERFACE    where the IPv6 goes, by default lan
  --wan INTERFACE    the usual uplink, by default wan: its MTU counts, if it is
                     smaller than the tunnel allows
  --open tcp:PORT    let connections to that port through to the LAN; also
                     udp:PORT. May be given several times. The other end has to
                     let them in, too: wgroam-setup anchor --open, with all its
                     other options
  --yes              do not ask; needed where the line comes through a pipe
  --wait SECONDS     for the first handshake, by default 60; 0: do not wait
  --dry-run          show what would change
END
}

command_join() {
	local line='' wait=60 dry_run='' yes='' asks=1

	lan=lan wan=wan open=
	while [ $# -gt 0 ]; do
		case "$1" in
		--dry-run) dry_run=1 ;;
		--yes | -y) yes=1 ;;
		--lan | --wan | --open | --wait)
			need "$1" $#
			case "$1" in
			--lan) lan=$2 ;;
			--wan) wan=$2 ;;
			--open) add_open "$2" ;;
			--wait) wait=$2 ;;
			esac
			shift
			;;
		-) ;;
		-*) misused "join: what is '${1%%=*}'?" ;;
		*)
			[ -z "$line" ] || misused "join takes one invitation"
			line=$1
			;;
		esac
		shift
	done
	is_number "$wait" 0 3600 || die "--wait $wait: it has to be a number of seconds, up to 3600"
	is_section "$lan" || die "--lan $lan: no interface can have that name"
	is_section "$wan" || die "--wan $wan: no interface can have that name"
	need_wg
	[ -n "$line" ] || ask_for_line
	read_invitation "$line"
	line=
	check_invitation
	interface=wg_$name
	begin
	open_record "$name"
	check_role roamer
	check_lan
	fit_mtu
	plan_join
	write_plan
	must_take_over
	await_handshake "$wait"
}

ask_for_line() {
	if [ -t 0 ]; then
		printf 'Paste the invitation, and press Enter; it is not shown: ' >&2
		# shellcheck disable=SC3045 # busybox has it
		IFS= read -r -s line
		echo >&2
	else
		IFS= read -r line
	fi
	# What pasting leaves at the ends.
	line=${line%"$(printf '\r')"}
	while :; do
		case "$line" in
		' '*) line=${line#?} ;;
		*' ') line=${line%?} ;;
		*) break ;;
		esac
	done
}

# Is this router free for it?
check_lan() {
	local key

	[ "$(get "network.$lan")" = interface ] || die "there is no interface '$lan' in /etc/config/network: say --lan"
	[ "$lan" != "$interface" ] || die "--lan $lan: that is the tunnel itself"
	zone_of "$lan" || die "the firewall has no zone with '$lan' in it"
	for key in $(names_of roamer); do
		[ "$key" = "$name" ] ||
			die "this router joined '$key' already, and one tunnel carries all its IPv6: wgroam-setup remove $key first"
		key=$(get "network.$interface.private_key")
		[ -z "$key" ] || [ "$key" = "$private_key" ] ||
			die "'$name' was joined already, with another invitation: wgroam-setup remove $name first"
	done
	# Once it is joined, it is in use by the LAN.
	! old_line set prefix || [ "$value" != "$prefix" ] || return 0
	look_around
	prefix_read "$prefix"
	! is_taken "$high" "$length" "$taken" ||
		die "$prefix is in use here already, by ${found#* * }: is this the router that invited?"
}

# The smaller one of what the other end says and what fits here.
fit_mtu() {
	local limit fits

	wan_mtu
	fits=$((limit - 80))
	[ "$fits" -ge 1280 ] || fits=1280
	[ "$mtu" -le "$fits" ] || mtu=$fits
}

plan_join() {
	local peer="network.${interface}_peer" rest one

	record "set${tab}role${tab}roamer"
	record "set${tab}prefix${tab}$prefix"
	record "set${tab}lan${tab}$lan"
	section "network.$interface" interface
	put "network.$interface.proto" wireguard
	put "network.$interface.private_key" "$private_key"
	put_list "network.$interface.addresses" "${link%,*}/64"
	put_list "network.$interface.ip6prefix" "$prefix"
	put "network.$interface.mtu" "$mtu"
	# The interface is there whatever the uplink does; where its packets go is wgroam's business.
	put "network.$interface.nohostroute" 1
	section "$peer" "wireguard_$interface"
	put "$peer.description" "$name"
	put "$peer.public_key" "$public_key"
	put "$peer.preshared_key" "$preshared_key"
	put_list "$peer.allowed_ips" ::/0
	put "$peer.route_allowed_ips" 1
	put "$peer.persistent_keepalive" 25

	plan_lan

	firewall_zone
	firewall_forward lan "$zone" "$interface"
	firewall_icmp icmp_to "$interface" "$zone"
	firewall_open "$interface" "$zone"

	if [ "$(get wgroam.globals)" != wgroam ] && ! u show wgroam | grep -q '=wgroam$'; then
		section wgroam.globals wgroam
	elif grep -qxF "section${tab}wgroam.globals" "$work/old"; then
		section wgroam.globals wgroam
	fi
	case "$(get 'wgroam.@wgroam[0].enabled')" in
	0 | no | off | false | disabled)
		note "wgroam is switched off here (option enabled in /etc/config/wgroam): without it nothing finds '$name'."
		;;
	esac
	wgroam_tunnel
	section "wgroam.$name" peer
	put "wgroam.$name.tunnel" "$interface"
	put "wgroam.$name.public_key" "$public_key"
	rest=$endpoints,
	set --
	while [ -n "$rest" ]; do
		one=${rest%%,*}
		rest=${rest#*,}
		set -- "$@" "$one"
	done
	put_list "wgroam.$name.endpoint" "$@"
	put "wgroam.$name.keepalive" 25
	put "wgroam.$name.probe" "${link#*,}"
}

# The LAN gets its prefix from the tunnel and from nowhere else, says so, and is told of the MTU.
plan_lan() {
	local dhcp

	[ -n "$(get "network.$lan.ip6assign")" ] || change "network.$lan.ip6assign" =64
	if [ -z "$(get "network.$lan.ip6class")" ] || grep -qxF "member${tab}network.$lan.ip6class${tab}local" "$work/old"; then
		# Without a class it takes from everywhere, the WAN's prefix of the moment included.
		member "network.$lan.ip6class" local
	fi
	member "network.$lan.ip6class" "$interface"
	if ! find_section dhcp dhcp interface "$lan"; then
		# Not a word of DHCPv4, which is none of ours.
		! get "dhcp.$interface" > /dev/null || old_line section || die "dhcp has a section '$interface' already"
		section "dhcp.$interface" dhcp
		put "dhcp.$interface.interface" "$lan"
		put "dhcp.$interface.dhcpv4" disabled
		put "dhcp.$interface.ra" server
		put "dhcp.$interface.dhcpv6" server
		put "dhcp.$interface.ra_default" 1
		put "dhcp.$interface.ra_mtu" "$mtu"
		return 0
	fi
	case "$found" in cfg*) dhcp="dhcp.@dhcp[interface=$lan]" ;; *) dhcp=dhcp.$found ;; esac
	case "$(get "dhcp.$found.ignore")" in 1 | yes | on | true | enabled) change "$dhcp.ignore" =0 ;; esac
	change "$dhcp.ra" =server
	change "$dhcp.dhcpv6" =server
	change "$dhcp.ra_default" =1
	change "$dhcp.ra_mtu" "=$mtu"
}

# await_handshake SECONDS
await_handshake() {
	local left=$1 since

	[ "$1" -gt 0 ] || return 0
	# Nobody needs the copies any more.
	rm -rf "$work/base" "$work/config" "$work/saved" "$work/files" "$work/batch"
	note "Waiting for the first handshake, up to $1 s ..."
	while [ "$left" -gt 0 ]; do
		since=$(wg show "$interface" latest-handshakes 2> /dev/null)
		case "${since##*"$tab"}" in
		'' | 0 | *[!0123456789]*) ;;
		*)
			[ "$left" -eq "$1" ] || ! [ -t 2 ] || echo >&2
			note "A handshake, after $(($1 - left)) s."
			diagnose
			return 0
			;;
		esac
		! [ -t 2 ] || printf '.' >&2
		sleep 1
		left=$((left - 1))
	done
	! [ -t 2 ] || echo >&2
	note "No handshake in $1 s. What was written stays, and wgroam keeps trying; wgroam-setup remove $name takes it away." \
		"wgroam diagnose $interface says what to put right first, here and on the other router. That one has to answer at one of" \
		"$(printf '%s' "$endpoints" | tr ',' ' ')."
	exit 4
}

# All else, by whoever can tell. The LAN's address and the like may come a few seconds later.
diagnose() {
	local left=2 code

	command -v wgroam-diagnose > /dev/null || return 0
	while :; do
		"$PROG" diagnose "$interface" > "$work/diagnosis" 2>&1
		code=$?
		if [ "$code" -eq 0 ] || [ "$left" -eq 0 ]; then break; fi
		left=$((left - 1))
		sleep 2
	done
	cat "$work/diagnosis"
	[ "$code" -eq 0 ] || exit 4
	note "'$name' works."
}
