#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# An invitation: one line, without spaces and without a character that a shell, a chat or a mail program changes.
#
#   wgroam1%SINCE%FIELD%CHECK%FIELD%CHECK%...%TOTAL
#
# The number is the format's. SINCE is the first version of wgroam that reads it, and stays in this place in every later
# format, so that an old wgroam can say what is needed. CHECK are the first three hex digits of SHA-256 over the field's
# number and text: a slip names its field. TOTAL are eight over all before it. They are no protection against anybody:
# who can change the line has the keys. Fields: docs/design/setup.md.

FORMAT=1
FORMAT_SINCE=0.1.0
FIELDS='the name of the tunnel
the name of this roamer
the endpoints
the public key of the other end
the private key
the preshared key
the prefix
the addresses of the link
the MTU'

# sum PATTERN TEXT: sets $sum to as many digits as PATTERN has question marks.
sum() {
	sum=$(printf '%s' "$2" | sha256sum)
	# shellcheck disable=SC2295 # a pattern
	sum=${sum%"${sum#$1}"}
}

# field_name NUMBER
field_name() {
	printf '%s\n' "$FIELDS" | sed -n "$1p"
}

# write_invitation FIELD...: sets $line.
write_invitation() {
	local field number=0

	line=wgroam$FORMAT%$FORMAT_SINCE
	for field in "$@"; do
		number=$((number + 1))
		sum "???" "$number:$field"
		line=$line%$field%$sum
	done
	sum "????????" "$line"
	line=$line%$sum
}

is_version() {
	case "$1" in *[!0123456789.]* | .* | *. | *..* | '' | ????????????????*) return 1 ;; esac
}

# read_invitation LINE: sets $field_1 to $field_9; says where it is wrong. What is wrong is never printed: all of it is
# part of a secret.
read_invitation() {
	local rest=$1 head since number=0 column text check slip=

	case "$rest" in
	'') die "there is no invitation: paste the line that 'wgroam-setup invite' printed on the other router" ;;
	wgroam[0123456789]*%*) ;;
	*) die "this is no invitation: one begins with wgroam$FORMAT%" ;;
	esac
	head=${rest%%%*}
	rest=${rest#*%}
	since=${rest%%%*}
	if [ "$head" != "wgroam$FORMAT" ]; then
		{ is_number "${head#wgroam}" 1 999 && is_version "$since"; } ||
			die "this is no invitation: one begins with wgroam$FORMAT%"
		die "this invitation is from a newer wgroam: wgroam $since or later is needed here, this is $(version)"
	fi
	text=${1%%[!A-Za-z0-9.,:+/=%_\[\]-]*}
	[ "$text" = "$1" ] ||
		die "the invitation has a character that can't be in one, at column $((${#text} + 1)): copy it as one line"
	[ "$since" = "$FORMAT_SINCE" ] || die "the invitation is wrong at column $((${#head} + 2)): compare it with the original"
	case "$rest" in *%*) rest=${rest#*%} ;; *) rest= ;; esac
	column=$((${#head} + ${#since} + 3))
	while [ "$number" -lt 9 ]; do
		number=$((number + 1))
		case "$rest" in
		*%*%*) ;;
		*) die "the invitation ends too early, in field $number ($(field_name "$number"), column $column): the whole line is needed" ;;
		esac
		text=${rest%%%*}
		rest=${rest#*%}
		check=${rest%%%*}
		rest=${rest#*%}
		sum "???" "$number:$text"
		if [ "$sum" != "$check" ] && [ -z "$slip" ]; then
			slip="field $number ($(field_name "$number")), columns $column to $((column + ${#text} + ${#check}))"
		fi
		take_field "$number" "$text"
		column=$((column + ${#text} + ${#check} + 2))
	done
	[ -z "$slip" ] || die "the invitation has a slip in $slip: compare it with the original"
	[ "${#rest}" -ge 8 ] || die "the invitation ends too early, in its last 8 digits (column $column): the whole line is needed"
	[ "${#rest}" -eq 8 ] || die "the invitation goes on behind its end, at column $((column + 8)): take the line alone"
	sum "????????" "${1%%%"$rest"}"
	[ "$sum" = "$rest" ] || die "the invitation has a slip, in its last 8 digits (column $column) or in two places: copy it anew"
}

take_field() {
	case "$1" in
	1) name=$2 ;;
	2) roamer=$2 ;;
	3) endpoints=$2 ;;
	4) public_key=$2 ;;
	5) private_key=$2 ;;
	6) preshared_key=$2 ;;
	7) prefix=$2 ;;
	8) link=$2 ;;
	9) mtu=$2 ;;
	esac
}

# Whoever made it need not have been a wgroam: each value by its kind, before anything is done with it.
check_invitation() {
	local one rest=$endpoints, count=0

	is_name "$name" || wrong 1 "a name has 1 to 11 characters, a-z, 0-9 and _"
	is_name "$roamer" || wrong 2 "a name has 1 to 11 characters, a-z, 0-9 and _"
	while [ -n "$rest" ]; do
		one=${rest%%,*}
		rest=${rest#*,}
		is_endpoint "$one" || wrong 3 "an endpoint is NAME:PORT, IPV4:PORT or [IPV6]:PORT"
		{ ! is_nobodys "$host" && ! is_ones_own "$host"; } ||
			wrong 3 "one of them is an address of nobody or of this router itself: say wgroam-setup anchor --host NAME on the router that invited, and invite anew"
		count=$((count + 1))
	done
	[ "$count" -le 16 ] || wrong 3 "there are 16 at most"
	is_key "$public_key" || wrong 4 "a key has 44 characters of base64"
	is_key "$private_key" || wrong 5 "a key has 44 characters of base64"
	is_key "$preshared_key" || wrong 6 "a key has 44 characters of base64"
	is_shared_prefix "$prefix" || wrong 7 "$problem"
	case "$link" in *,*,* | ,* | *,) wrong 8 "there are two" ;; *,*) ;; *) wrong 8 "there are two" ;; esac
	for one in "${link%,*}" "${link#*,}"; do
		{ ip6_read "$one" && [ $(((high >> 56) & 255)) -eq 253 ]; } || wrong 8 "they are of fd00::/8"
	done
	ip6_read "${link%,*}"
	one=$high
	ip6_read "${link#*,}"
	{ [ "$one" = "$high" ] && [ "${link%,*}" != "${link#*,}" ]; } || wrong 8 "they are two of one link"
	is_number "$mtu" 1280 9000 || wrong 9 "it is a number from 1280 to 9000"
}

# wrong NUMBER WHY
wrong() {
	die "the invitation is wrong in field $1 ($(field_name "$1")): $2; nothing is changed"
}
