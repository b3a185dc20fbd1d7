#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# What a value may look like: each kind by the characters and the shape that it can have, and nothing else passes. Ranges
# are spelled out, as [A-Z] means more than that in some languages.

LOWER=abcdefghijklmnopqrstuvwxyz
UPPER=ABCDEFGHIJKLMNOPQRSTUVWXYZ
DIGITS=0123456789

# Of a tunnel or a roamer; with wg_ in front it is the name of an interface, which has 15 characters at most.
is_name() {
	case "$1" in
	'' | ????????????* | *[!$LOWER${DIGITS}_]* | [!$LOWER]* | *[!$LOWER$DIGITS]) return 1 ;;
	esac
}

is_section() {
	case "$1" in '' | *[!$LOWER$UPPER${DIGITS}_]*) return 1 ;; esac
}

is_interface() {
	is_section "$1" && [ "${#1}" -le 15 ]
}

# is_number TEXT LEAST MOST: without leading zeros.
is_number() {
	case "$1" in '' | *[!$DIGITS]* | 0?* | ???????*) return 1 ;; esac
	[ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

is_port() {
	is_number "$1" 1 65535
}

# 32 bytes as base64: the last character before the = carries four bits.
is_key() {
	case "$1" in *[!$LOWER$UPPER$DIGITS+/=]*) return 1 ;; esac
	[ "${#1}" -eq 44 ] || return 1
	case "${1%?}" in *=* | *[!AEIMQUYcgkosw048]) return 1 ;; esac
	case "$1" in *=) return 0 ;; esac
	return 1
}

is_ipv4() {
	local rest=$1. part count=0

	case "$1" in *[!$DIGITS.]*) return 1 ;; esac
	while [ -n "$rest" ]; do
		part=${rest%%.*}
		rest=${rest#*.}
		is_number "$part" 0 255 || return 1
		count=$((count + 1))
	done
	[ "$count" -eq 4 ]
}

# A name as DNS has them.
is_hostname() {
	local rest=$1. label

	[ "${#1}" -le 253 ] || return 1
	case "$1" in *[!$LOWER$UPPER$DIGITS.-]*) return 1 ;; esac
	while [ -n "$rest" ]; do
		label=${rest%%.*}
		rest=${rest#*.}
		case "$label" in '' | -* | *-) return 1 ;; esac
		[ "${#label}" -le 63 ] || return 1
	done
	# 1.2.3 is neither an address nor a name.
	case "$label" in *[!$DIGITS]*) return 0 ;; esac
	return 1
}

# is_endpoint TEXT: sets $host, with the brackets of an IPv6 address, and $port.
is_endpoint() {
	local inner

	host=${1%:*}
	port=${1##*:}
	[ "$host" != "$1" ] && is_port "$port" || return 1
	case "$host" in
	'['*']')
		inner=${host#?}
		ip6_read "${inner%?}"
		;;
	*) is_ipv4 "$host" || is_hostname "$host" ;;
	esac
}

# is_nobodys HOST: an address that no router can have, of a host as is_endpoint leaves it. IPv4 in the disguise of IPv6 is for
# sockets alone.
is_nobodys() {
	local high low inner=${1#?}

	case "$1" in
	'['*)
		ip6_read "${inner%?}" && [ $(((high >> 56) & 255)) -ne 255 ] || return 0
		[ "$high" -eq 0 ] && { [ "$low" -eq 0 ] || [ $((low >> 32)) -eq 65535 ]; }
		return
		;;
	esac
	is_ipv4 "$1" || return 1
	case "$1" in 0.* | 22[456789].* | 23[$DIGITS].* | 255.255.255.255) return 0 ;; esac
	return 1
}

# is_ones_own HOST: what means somebody else on each router that reads it. Resolvers take 0x7f.1 for an address.
is_ones_own() {
	local high low inner=${1#?}

	case "$1" in
	'['*)
		ip6_read "${inner%?}" || return 1
		[ $(((high >> 54) & 1023)) -eq 1018 ] || { [ "$high" -eq 0 ] && [ "$low" -eq 1 ]; }
		return
		;;
	esac
	case "$(printf '%s' "$1" | tr "$UPPER" "$LOWER")" in
	0x* | localhost | *.localhost | localhost.localdomain) return 0 ;;
	127.* | 169.254.*) is_ipv4 "$1" ;;
	*) return 1 ;;
	esac
}
