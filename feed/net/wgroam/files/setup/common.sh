#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# How wgroam-setup speaks, and how it reads its arguments.

newline='
'
tab='	'

# To the person, beside the output that a pipe carries.
note() {
	printf '%s\n' "$*" >&2
}

die() {
	printf 'wgroam-setup: %s\n' "$*" >&2
	exit 1
}

misused() {
	printf 'wgroam-setup: %s; wgroam-setup --help lists what there is\n' "$*" >&2
	exit 2
}

# need OPTION COUNT: the value of an option, which has to be there.
need() {
	[ "$2" -ge 2 ] || misused "$1 needs a value"
}

# take_word KIND ARGUMENT...: of a command that takes one word, 'a name', and --dry-run; sets $word and $dry_run.
take_word() {
	local kind=$1

	shift
	word='' dry_run=
	while [ $# -gt 0 ]; do
		case "$1" in
		--dry-run) dry_run=1 ;;
		-*) misused "$command: what is '$1'?" ;;
		*)
			[ -z "$word" ] || misused "$command takes one ${kind#* }"
			word=$1
			;;
		esac
		shift
	done
	[ -n "$word" ] || misused "$command needs $kind"
}

version() {
	local text

	text=$("$PROG" --version 2> /dev/null)
	printf '%s' "${text##* }"
}

need_wg() {
	command -v wg > /dev/null ||
		die "there is no 'wg' here: install wireguard-tools (apk add wireguard-tools, before 25.12 opkg install wireguard-tools)"
}

# words LINES: on one line.
words() {
	printf '%s' "$1" | tr '\n' ' '
}

# has LINES LINE
has() {
	case "$newline$1$newline" in *"$newline$2$newline"*) return 0 ;; esac
	return 1
}
