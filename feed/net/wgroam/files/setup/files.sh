#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# What is on flash changes all at once or not at all. Work is done on copies in memory; then every file that differs is
# put aside, a list of them is written, and one after the other is replaced. Whoever finds that list later, be it the trap
# of this very run or the next call after a power cut, puts everything back.

CONFIG=/etc/config
# Root's alone. Not in /etc/wgroam, which is the daemon's user's: these files have private keys in them.
STORE=/etc/wgroam-setup
PACKAGES='network firewall dhcp wgroam'

# uci on the copies, which have nothing to do with what may lie uncommitted in /tmp/.uci.
u() {
	uci -q -c "$work/config" -t "$work/saved" "$@"
}

get() {
	u get "$1"
}

# Alone from here on, and with whatever was interrupted before put back.
take_turn() {
	[ "$(id -u)" = 0 ] || die "only root can do that"
	[ $((1 << 62)) -gt 0 ] || die "this shell can't count to 64 bits: busybox needs FEATURE_SH_MATH_64"
	exec 9> /var/run/wgroam-setup.lock
	flock -n 9 || die "another wgroam-setup is at work here"
	# Of those who were killed.
	rm -rf /tmp/wgroam-setup.*
	work=$(mktemp -d /tmp/wgroam-setup.XXXXXX) || die "no room in /tmp"
	trap finish EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	recover
}

# Reads everything; from here on nothing of it is read from /etc.
begin() {
	local package error

	take_turn
	mkdir "$work/base" "$work/config" "$work/saved" "$work/files" || die "no room in /tmp"
	: > "$work/batch"
	: > "$work/targets"
	for package in $PACKAGES; do
		[ -e "$CONFIG/$package" ] || continue
		[ -z "$(uci -q changes "$package")" ] ||
			die "$package has changes that are not committed: uci commit $package, or uci revert $package"
		{ cp "$CONFIG/$package" "$work/base/" && cp "$work/base/$package" "$work/config/"; } ||
			die "can't read $CONFIG/$package"
		error=$(uci -c "$work/config" -t "$work/saved" export "$package" 2>&1 > /dev/null) ||
			die "$CONFIG/$package can't be read: ${error#uci: }"
	done
	{ [ -e "$work/config/network" ] && [ -e "$work/config/firewall" ]; } ||
		die "there is no $CONFIG/network or no $CONFIG/firewall: is this OpenWrt?"
	[ -e "$work/config/wgroam" ] || : > "$work/config/wgroam"
	[ -e "$work/config/dhcp" ] || : > "$work/config/dhcp"
}

finish() {
	# A second signal does not stop what puts things back.
	trap '' HUP INT TERM
	[ -z "$replacing" ] || recover
	[ -z "$work" ] || rm -rf "$work"
}

digest() {
	local sum

	sum=$(sha256sum < "$1")
	printf '%s\n' "${sum%% *}"
}

# stage TARGET [FILE]: at the end TARGET is FILE, or is not there.
stage() {
	local key

	case "$1" in
	"$CONFIG"/*) key=config.${1##*/} ;;
	*) key=${1##*/} ;;
	esac
	[ -z "$2" ] || cp "$2" "$work/files/$key" || die "no room in /tmp"
	printf '%s %s\n' "$key" "$1" >> "$work/targets"
}

# put_in_place FILE TARGET: at once, with the mode and owner that TARGET has.
put_in_place() {
	local new="${2%/*}/.wgroam-setup.${2##*/}"

	rm -f "$new"
	if [ -e "$2" ]; then cp -p "$2" "$new" || return 1; fi
	# Somebody may have opened it up; there are private keys in it.
	case "$2" in "$CONFIG/network") chmod go-rwx "$new" || return 1 ;; esac
	cat "$1" > "$new" && mv "$new" "$2"
}

# new_digest KEY: of what a staged file is to be, - for none.
new_digest() {
	if [ -e "$work/files/$1" ]; then digest "$work/files/$1"; else echo -; fi
}

# Replaces what was staged.
replace() {
	local key target

	{ mkdir -p "$STORE" && chmod 700 "$STORE"; } || die "can't write to $STORE"
	: > "$STORE/pending.new" || die "no room on flash; nothing is changed"
	while read -r key target; do
		if [ -e "$target" ]; then
			cp -p "$target" "$STORE/undo.$key" && printf 'restore %s %s %s\n' "$key" "$target" "$(new_digest "$key")"
		else
			printf 'remove %s %s %s\n' "$key" "$target" "$(new_digest "$key")"
		fi >> "$STORE/pending.new" || die "no room on flash; nothing is changed"
	done < "$work/targets"
	sync
	replacing=1
	mv "$STORE/pending.new" "$STORE/pending" || die "no room on flash; nothing is changed"
	while read -r key target; do
		if [ -e "$work/files/$key" ]; then
			put_in_place "$work/files/$key" "$target"
		else
			rm -f "$target"
		fi || die "$target could not be written; everything is put back as it was"
	done < "$work/targets"
	sync
	rm "$STORE/pending" || die "$STORE can't be written; everything is put back as it was"
	replacing=
	for key in "$STORE"/undo.*; do
		case "$key" in
		*/undo.config.*) mv "$key" "$STORE/backup.${key##*/undo.config.}" ;;
		*) rm -f "$key" ;;
		esac
	done
}

# Puts back what an unfinished change had begun to replace, unless somebody else wrote there since. Interrupted itself,
# it begins anew.
recover() {
	local what key target new failed=

	replacing=
	rm -f "$CONFIG"/.wgroam-setup.*
	if [ -e "$STORE/pending" ]; then
		while read -r what key target new; do
			if [ "$new" = - ]; then
				! [ -e "$target" ] || continue
			else
				{ [ -e "$target" ] && [ "$(digest "$target")" = "$new" ]; } || continue
			fi
			case "$what" in
			# No copy: that may be just what there is no room for.
			restore) mv "$STORE/undo.$key" "$target" || failed=1 ;;
			remove) rm -f "$target" ;;
			esac
		done < "$STORE/pending"
		[ -z "$failed" ] || die "an interrupted change could not be put back: the files are in $STORE as undo.*"
		sync
		rm -f "$STORE/pending"
		note "An interrupted change was put back; the configuration is as it was before it."
	fi
	rm -f "$STORE"/undo.* "$STORE/pending.new" "$STORE"/.wgroam-setup.*
}
