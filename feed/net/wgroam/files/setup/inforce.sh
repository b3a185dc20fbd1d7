#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# Does the kernel have what the files say? The files are read once, the kernel is asked each time anew: wg, ip, netifd.

# is_true PATH
is_true() {
	case "$(get "$1")" in 1 | yes | on | true | enabled) return 0 ;; esac
	return 1
}

# read_wanted: the interface's peers as the files have them, into $work/wanted, a line each: key, preshared key, keepalive,
# another keepalive that is right as well (wgroam's poke leaves it), whether it is routed, endpoint, name, allowed IPs. As
# netifd's handlers and WireGuard do it: who has no key is skipped, of two with one key the last counts.
read_wanted() {
	{
		u show wgroam
		u show network
	} | awk -v type="wireguard_$interface" '
		function plain(text) {
			sub(/^\047/, "", text)
			sub(/\047$/, "", text)
			gsub(/\047 \047/, " ", text)
			gsub(/[\t\047\\]/, "?", text)
			return text
		}
		# A value may go over several lines, of which the first counts.
		function is_odd(text) {
			gsub(/\047\\\047\047/, "", text)
			return gsub(/\047/, "", text) % 2
		}
		open {
			if (is_odd($0)) open = 0
			next
		}
		{
			open = is_odd($0)
			at = index($0, "=")
			path = substr($0, 1, at - 1)
			value = substr($0, at + 1)
			count = split(path, word, ".")
			section = word[1] "." word[2]
			if (count == 2) {
				kind[section] = value
				order[++sections] = section
			} else if (count == 3) option[section, word[3]] = plain(value)
		}
		END {
			for (i = 1; i <= sections; i++) {
				section = order[i]
				if (kind[section] == "peer") kept[option[section, "public_key"]] = option[section, "keepalive"]
				if (kind[section] != type) continue
				key = option[section, "public_key"]
				if (key == "" || option[section, "disabled"] ~ /^(1|yes|on|true|enabled)$/) continue
				last[key] = section
			}
			for (i = 1; i <= sections; i++) {
				section = order[i]
				key = option[section, "public_key"]
				if (kind[section] != type || last[key] != section) continue
				alive = option[section, "persistent_keepalive"]
				if (alive == "" || alive == "0") alive = "off"
				host = option[section, "endpoint_host"]
				if (host ~ /:/ && host !~ /^\[/) host = "[" host "]"
				port = option[section, "endpoint_port"]
				name = option[section, "description"]
				allowed = option[section, "allowed_ips"]
				gsub(/,/, " ", allowed)
				routed = option[section, "route_allowed_ips"] ~ /^(1|yes|on|true|enabled)$/
				shared = option[section, "preshared_key"]
				printf "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", key, shared == "" ? "(none)" : shared, alive, \
					kept[key] == "" ? alive : kept[key], routed, host == "" ? "-" : host ":" (port == "" ? 51820 : port), \
					name == "" ? key : name, allowed == "" ? "-" : allowed
			}
		}' > "$work/wanted"
	share_out
}

# share_out: of two peers with one prefix the last has it. Into $work/peers: key, and canonical prefixes with commas between;
# sets $routes to what is to be routed into the tunnel, as it is written.
share_out() {
	local key shared alive kept routed endpoint named allowed one owner=''

	routes=''
	while IFS=$tab read -r key shared alive kept routed endpoint named allowed; do
		[ "$allowed" != - ] || continue
		for one in $allowed; do
			canonical "$one"
			case "$newline$owner" in *"$newline$canonical "*)
				note "Two peers of $interface have $one among their allowed IPs: '$named' gets it, as the last of them."
				remove_line "$owner" "$canonical "
				owner=$left_over
				;;
			esac
			owner="$owner$canonical $key$newline"
			[ "$routed" != 1 ] || has "$routes" "$one" || routes="$routes$one$newline"
		done
	done < "$work/wanted"
	owners=$owner
}

# remove_line LINES START: sets $left_over.
remove_line() {
	local line

	left_over=
	while IFS= read -r line; do
		case "$line" in '' | "$2"*) ;; *) left_over="$left_over$line$newline" ;; esac
	done << END
$1
END
}

# canonical PREFIX: sets $canonical to the same text for every way in which it may be written.
canonical() {
	local rest number=0

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

# in_force: does the kernel have what the files say of $interface? If not, $differs says what it has not, and $cure is
# `restart` where netifd has to set the interface up anew for it.
in_force() {
	differs='' cure=''
	if [ "$(get "network.$interface")" != interface ]; then
		! ip link show dev "$interface" > /dev/null 2>&1 || differs="$interface is still there"
		[ -z "$differs" ]
		return
	fi
	cure=restart
	look_at_netifd || differs="netifd does not know $interface"
	[ -n "$differs" ] || [ -n "$up" ] || differs="netifd has not brought $interface up$(complaints)"
	[ -z "$differs" ] || return 1
	[ -z "$leaves_peers" ] || return 0
	interface_in_force && prefixes_in_force || return 1
	cure=
	peers_in_force && routes_in_force && lans_in_force
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

# Keys and numbers of the interface itself. What the files do not say is the handler's to choose. Its port counts where it
# was changed: wgroam may have left it, as a NAT may swallow one.
interface_in_force() {
	local want have address

	want=$(get "network.$interface.private_key")
	if is_key "$want"; then
		want=$(printf '%s\n' "$want" | wg pubkey)
		[ "$want" = "$(wg show "$interface" public-key 2> /dev/null)" ] || differs="$interface has another private key"
	fi
	want=$(get "network.$interface.listen_port")
	[ -z "$want" ] || [ "$want" = "$(before "network.$interface.listen_port")" ] ||
		[ "$want" = "$(wg show "$interface" listen-port 2> /dev/null)" ] || differs="$interface does not listen on port $want"
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
		case "$one" in
		*/*) all="$all$canonical/${one##*/}$newline" ;;
		*:*) all="$all$canonical/128$newline" ;;
		*) all="$all$canonical/32$newline" ;;
		esac
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

# peers_there: what WireGuard has of peers, into $work/there: as `wg` dumps them, sorted by key.
peers_there() {
	wg show "$interface" dump 2> /dev/null | sed 1d | sort > "$work/there"
}

# Each peer of the files, and no other.
peers_in_force() {
	local key shared alive kept routed endpoint named allowed found
	local there_key there_shared there_endpoint there_allowed handshake rx tx there_alive all=''

	peers_there
	while IFS=$tab read -r there_key there_shared there_endpoint there_allowed handshake rx tx there_alive; do
		all="$all$there_key$newline"
		found=
		while IFS=$tab read -r key shared alive kept routed endpoint named allowed; do
			[ "$key" = "$there_key" ] || continue
			found=1
			same_peer || break
		done < "$work/wanted"
		[ -n "$found" ] || differs="$interface still lets in the peer $there_key"
	done < "$work/there"
	while IFS=$tab read -r key shared alive kept routed endpoint named allowed; do
		has "$all" "$key" || differs="$interface has no peer '$named'"
	done < "$work/wanted"
	[ -z "$differs" ]
}

# Of the two that peers_in_force has in hand.
same_peer() {
	local list have one

	[ "$shared" = "$there_shared" ] || differs="the peer '$named' of $interface has another preshared key"
	[ "$alive" = "$there_alive" ] || [ "$kept" = "$there_alive" ] || differs="the peer '$named' of $interface has another keepalive"
	[ "$there_allowed" != '(none)' ] || there_allowed=
	# shellcheck disable=SC2046 # words
	canonical_list $(printf '%s' "$there_allowed" | tr ',' ' ')
	have=$list list=
	while read -r one key_of_it; do
		[ "$key_of_it" != "$key" ] || list="$list$one$newline"
	done << END
$owners
END
	same_lists "$list" "$have" || differs="the peer '$named' of $interface has other allowed IPs"
	[ -z "$differs" ]
}

# routes_there: of the interface in all tables, as canonical lines in $list.
routes_there() {
	# shellcheck disable=SC2046 # words
	canonical_list $({
		ip -4 route show dev "$interface" table all | sed 's/^default /0.0.0.0\/0 /'
		ip -6 route show dev "$interface" table all | sed 's/^default /::\/0 /'
	} 2> /dev/null | awk '$1 ~ /^[0-9a-f]*[.:]/ { print $1 }')
}

# What is routed into the tunnel. One that leads by another interface is its owner's business.
routes_in_force() {
	local route

	routes_there
	for route in $routes; do
		canonical "$route"
		has "$list" "$canonical" || is_elsewhere "$route" || {
			differs="there is no route to $route by $interface"
			# With an endpoint and the way to it, which is the handler's to set up.
			! is_half "$route" || cure=restart
		}
	done
	[ -z "$differs" ]
}

# is_elsewhere ROUTE
is_elsewhere() {
	local line

	! is_half "$1" || return 1
	line=$(ip "$(family_of "$1")" route show exact "$1" 2> /dev/null)
	[ -n "$line" ]
}

family_of() {
	case "$1" in *:*) echo -6 ;; *) echo -4 ;; esac
}

# is_half ROUTE: the whole Internet, or a half of it.
is_half() {
	case "$1" in */0 | */1) return 0 ;; esac
	return 1
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
	! is_taken "$high" "$length" "$taken" ||
		differs="$pool, which roamers get theirs from, is still in use by ${found#* * } (ifup ${found#* * } makes it let go)"
	[ -z "$differs" ]
}
