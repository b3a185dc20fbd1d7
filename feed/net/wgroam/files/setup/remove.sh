#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# `remove`: exactly what was written, for either role. A file that nobody touched since is put back byte for byte.

help_remove() {
	cat << 'END'
Usage: wgroam-setup remove NAME [--dry-run]

Takes away what anchor, join or adopt wrote for NAME, and puts options back that
it changed, unless somebody changed them since. A file that nothing else was
written to gets its old content, comments included.
END
}

command_remove() {
	local word dry_run asks=

	take_word 'a name' "$@"
	name=$word
	is_section "$name" || die "'$name' is no name: wgroam-setup list shows what there is"
	begin
	is_recorded "$name" || die "nothing was set up here by the name '$name': wgroam-setup list shows what there is"
	open_record "$name"
	interface=wg_$name
	! old_line set interface || interface=$value
	pool='' narrowed=
	# LANs that had to make room for it.
	! old_line set role || [ "$value" != anchor ] ||
		narrowed=$(narrowed_before)
	undo
	run_batch
	put_originals
	compare
	[ ! -s "$work/changes" ] || sed 's/^/  /' "$work/changes" >&2
	[ -z "$dry_run" ] || {
		note "Nothing is changed: --dry-run."
		exit 0
	}
	stage "$STORE/$name.record"
	write_files
	take_over || die "'$name' is out of the files, but that is not in force: $differs. logread says more; /etc/init.d/network restart brings it there"
	note "'$name' is removed."
}

undo() {
	local word first second third

	while IFS=$tab read -r word first second third; do
		case "$word" in
		section) drop_section "$first" ;;
		option)
			resolve "$first" || continue
			if [ "$second" = - ]; then
				! get "$path" > /dev/null || continue
			else
				[ "=$(get "$path")" = "$second" ] || continue
			fi
			if [ "$third" != - ]; then do_set "$path" "${third#=}"; else do_delete "$path"; fi
			;;
		member)
			resolve "$first" || continue
			case " $(get "$path") " in *" $second "*) do_drop "$path" "$second" ;; esac
			;;
		esac
	done < "$work/old"
}

# Where a file is as we left it, what it was before is all there is to know.
put_originals() {
	local package value

	for package in $PACKAGES; do
		[ -e "$STORE/$name.$package" ] || continue
		if old_line after "$package" && [ "$value" = "$(digest "$work/base/$package")" ]; then
			cat "$STORE/$name.$package" > "$work/config/$package"
		fi
		stage "$STORE/$name.$package"
	done
}
