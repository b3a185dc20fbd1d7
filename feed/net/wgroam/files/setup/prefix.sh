#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# IPv6 addresses and prefixes. What is handed around is the upper half of an address as one number of 64 bits, negative
# for fd00::/8 and the like, which harms neither masks nor comparisons of equal; and a length of 64 at most. A LAN needs
# a /64, so nothing that is shared is finer than that.

# ip6_read ADDRESS: sets $high and $low.
ip6_read() {
	local text=$1 head tail='' gap='' part count=0 after=0 number

	case "$text" in
	'' | *[!0123456789ABCDEFabcdef:]* | *:::* | *::*::* | :[!:]* | *[!:]:) return 1 ;;
	*::*)
		head=${text%%::*}
		tail=${text#*::}
		gap=1
		;;
	*) head=$text ;;
	esac
	high=0 low=0
	head=${head:+$head:}
	while [ -n "$head" ]; do
		part=${head%%:*}
		head=${head#*:}
		case "$part" in '' | ?????*) return 1 ;; esac
		[ "$count" -lt 8 ] || return 1
		ip6_put "$count" "$part"
		count=$((count + 1))
	done
	number=$tail
	while [ -n "$number" ]; do
		after=$((after + 1))
		case "$number" in *:*) number=${number#*:} ;; *) break ;; esac
	done
	if [ -n "$gap" ]; then [ $((count + after)) -le 7 ] || return 1; else [ "$count" -eq 8 ] || return 1; fi
	count=$((8 - after))
	tail=${tail:+$tail:}
	while [ -n "$tail" ]; do
		part=${tail%%:*}
		tail=${tail#*:}
		case "$part" in '' | ?????*) return 1 ;; esac
		ip6_put "$count" "$part"
		count=$((count + 1))
	done
}

# ip6_put INDEX HEX: one of eight groups.
ip6_put() {
	if [ "$1" -lt 4 ]; then
		high=$((high | (0x$2 << (48 - 16 * $1))))
	else
		low=$((low | (0x$2 << (112 - 16 * $1))))
	fi
}

# mask_of LENGTH: sets $mask for the upper half.
mask_of() {
	if [ "$1" -eq 0 ]; then mask=0; elif [ "$1" -ge 64 ]; then mask=-1; else mask=$((-1 << (64 - $1))); fi
}

# prefix_read TEXT: ADDRESS/LENGTH or ADDRESS. Sets $high, $low and $length, which may be over 64 here.
prefix_read() {
	length=128
	case "$1" in
	*/*)
		length=${1##*/}
		is_number "$length" 0 128 || return 1
		;;
	esac
	ip6_read "${1%/*}"
}

# prefix_text HIGH LENGTH: sets $text.
prefix_text() {
	text=$(printf '%x:%x:%x:%x' $((($1 >> 48) & 65535)) $((($1 >> 32) & 65535)) $((($1 >> 16) & 65535)) $(($1 & 65535)))
	while :; do case "$text" in *:0) text=${text%:0} ;; *) break ;; esac done
	text=$text::/$2
}

# overlaps HIGH LENGTH HIGH LENGTH
overlaps() {
	if [ "$2" -lt "$4" ]; then mask_of "$2"; else mask_of "$4"; fi
	[ $((($1 ^ $3) & mask)) -eq 0 ]
}

# is_taken HIGH LENGTH TAKEN: TAKEN has lines of HIGH LENGTH WHOSE. Sets $found to the first line that overlaps.
is_taken() {
	local at size whose

	found=
	while read -r at size whose; do
		[ -n "$size" ] || continue
		if overlaps "$1" "$2" "$at" "$size"; then
			found="$at $size $whose"
			return 0
		fi
	done << END
$3
END
	return 1
}

# free_prefix HIGH LENGTH SIZE TAKEN: the first free prefix of that size in the one given; sets $at.
free_prefix() {
	local step=$((1 << (64 - $3))) end=$(($1 + (1 << (64 - $2)))) other size

	at=$1
	while [ "$at" -lt "$end" ]; do
		is_taken "$at" "$3" "$4" || return 0
		# Behind what is in the way, which may be larger or smaller than the step.
		other=${found%% *}
		size=${found#* }
		size=${size%% *}
		mask_of "$size"
		other=$(((other & mask) + (1 << (64 - size))))
		at=$(((other + step - 1) & -step))
	done
	return 1
}

# Sets $text to a new ULA for a link (RFC 4193): 40 random bits, and a subnet that is not 0.
random_link() {
	local bits

	bits=$(hexdump -v -n 7 -e '7/1 "%02x"' /dev/urandom 2> /dev/null)
	case "$bits" in *[!0123456789abcdef]*) bits= ;; esac
	[ "${#bits}" -eq 14 ] || die "no random numbers: /dev/urandom and hexdump are needed"
	prefix_text $((0xfd00000000000000 | 0x$bits | 1)) 64
	text=${text%::/64}
}
