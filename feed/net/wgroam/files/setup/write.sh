#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# Carries a plan out: shows it, has it confirmed, writes it, and has the services take it over.

# Carries out the batch on the copies.
run_batch() {
	local error package

	error=$(uci -c "$work/config" -t "$work/saved" batch < "$work/batch" 2>&1 > /dev/null)
	[ -z "$error" ] || die "uci refuses the change: $error; nothing is changed"
	u changes |
		sed -e 's/\.private_key=.*/.private_key=(secret)/' -e 's/\.preshared_key=.*/.preshared_key=(secret)/' > "$work/changes"
	for package in $PACKAGES; do
		[ -z "$(u changes "$package")" ] || printf 'commit %s\n' "$package"
	done > "$work/commit"
	error=$(uci -c "$work/config" -t "$work/saved" batch < "$work/commit" 2>&1 > /dev/null)
	[ -z "$error" ] || die "uci can't write the change: $error; nothing is changed"
}

# confirm: asks the person at the keyboard, unless --yes.
confirm() {
	local answer=

	[ -z "$yes" ] || return 0
	printf 'Write this? [y/N] ' >&2
	read -r answer
	case "$answer" in y | Y | yes | Yes | YES) ;; *) die "not confirmed (--yes confirms); nothing is changed" ;; esac
}

# Which files differ from what they were: $changed.
compare() {
	local package

	changed=
	for package in $PACKAGES; do
		[ -e "$work/base/$package" ] || [ -s "$work/config/$package" ] || continue
		if ! [ -e "$work/base/$package" ] ||
			[ "$(digest "$work/base/$package")" != "$(digest "$work/config/$package")" ]; then
			changed="$changed $package"
		fi
	done
}

# Stages the originals of what is changed, as long as they are the ones from before this tunnel.
keep_originals() {
	local package value

	grep -v "^after$tab" "$work/record" > "$work/rest"
	cat "$work/rest" > "$work/record"
	for package in $PACKAGES; do
		case " $changed " in
		*" $package "*)
			if ! old_line after "$package"; then
				[ -e "$work/base/$package" ] || : > "$work/base/$package"
				stage "$STORE/$name.$package" "$work/base/$package"
			elif [ "$value" != "$(digest "$work/base/$package")" ]; then
				# Somebody else changed it in between.
				stage "$STORE/$name.$package"
			fi
			record "after$tab$package$tab$(digest "$work/config/$package")"
			;;
		*) ! old_line after "$package" || record "after$tab$package$tab$value" ;;
		esac
	done
}

# The daemon's own opinion of what is to be written. It reads package network beside it.
check_wgroam() {
	local said code

	said=$("$PROG" check "$work/config/wgroam" 2>&1)
	code=$?
	case $code in
	0) ;;
	1) die "wgroam would not accept the result; nothing is changed:$newline$said" ;;
	*)
		die "wgroam can't be run (exit code $code); nothing is changed: $said." \
			"Install it anew: opkg install --force-reinstall wgroam, or apk fix wgroam"
		;;
	esac
}

# What a record says besides digests.
plan_of() {
	grep -v "^after$tab" "$1" | sort
}

# write_plan: shows what there is to do and does it. Sets $changed, empty when nothing was to be done.
write_plan() {
	drop_obsolete
	run_batch
	compare
	if [ -z "$changed" ] && [ "$(plan_of "$work/record")" = "$(plan_of "$work/old")" ]; then
		note "Nothing is to be changed: all of it is there already."
		return 0
	fi
	sed 's/^/  /' "$work/changes" >&2
	[ -z "$dry_run" ] || {
		note "Nothing is changed: --dry-run."
		exit 0
	}
	[ -z "$asks" ] || confirm
	check_wgroam
	keep_originals
	stage "$STORE/$name.record" "$work/record"
	write_files
}

# The copies become the files.
write_files() {
	local package

	for package in $changed; do
		if [ -e "$CONFIG/$package" ] && [ -s "$work/base/$package" ] &&
			[ "$(digest "$CONFIG/$package")" != "$(digest "$work/base/$package")" ]; then
			die "$CONFIG/$package was changed by somebody else meanwhile; nothing is changed, say it again"
		fi
		stage "$CONFIG/$package" "$work/config/$package"
	done
	# Until the services know.
	printf '%s\n' "$changed" > "$work/unapplied"
	stage "$STORE/unapplied" "$work/unapplied"
	replace
	tell_if_interrupted
	for package in $changed; do note "Written: $CONFIG/$package, as it was: $STORE/backup.$package"; done
}

# Has the services take over what was written: $changed. What could not be done stays on a list, for the next command.
reload_services() {
	local package service left=''

	for package in $changed; do
		case "$package" in dhcp) service=odhcpd ;; *) service=$package ;; esac
		if [ "$package" = network ]; then
			tell_netifd
		elif [ -x "/etc/init.d/$service" ]; then
			quietly "/etc/init.d/$service" reload
		fi || left="$left $package"
	done
	# It reads the peers in package network, too.
	case " $changed " in
	*' wgroam '*) ;;
	*' network '*) [ ! -x /etc/init.d/wgroam ] || quietly /etc/init.d/wgroam reload || left="$left wgroam" ;;
	esac
	if [ -z "$left" ]; then
		rm -f "$STORE/unapplied"
	else
		printf '%s\n' "$left" > "$STORE/unapplied"
		differs="the reload of$left failed"
		return 1
	fi
}

# take_over: what was written is in force, on this router. Where nothing was to be written it may still have to be made
# so. Fails with $differs.
take_over() {
	local package left=''

	tell_if_interrupted
	if [ -e "$STORE/unapplied" ]; then
		read -r left < "$STORE/unapplied"
		for package in $left; do
			case " $changed " in *" $package "*) ;; *) changed="$changed $package" ;; esac
		done
	fi
	read_wanted
	look_before
	if [ -z "$changed" ]; then
		! in_force || return 0
		if is_off; then
			say_off
			return 0
		fi
		changed=network
	fi
	reload_services && settle
}

tell_if_interrupted() {
	# What follows may cut off the very connection that somebody sits at.
	trap '' HUP
	trap 'interrupted 130' INT
	trap 'interrupted 143' TERM
}

interrupted() {
	note "wgroam-setup: interrupted: it is written, but may not be in force yet. wgroam-setup apply $interface sees to that."
	exit "$1"
}

# must_take_over: the same, or the end.
must_take_over() {
	take_over ||
		die "it is written, but not in force: $differs. logread says more; wgroam-setup apply $interface tries again"
}
