#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2034,SC2154 # the parts of wgroam-setup share their variables
# From what shall be to one `uci batch`, and to the record of what was added and changed, by which `remove` finds exactly
# that again. A record is lines of words with tabs between them:
#
#   set KEY VALUE              what this tunnel was made with
#   section PATH               a section of ours
#   option SELECTOR NEW OLD    an option of somebody else's: ours and what was there, each =VALUE, or - for none
#   member SELECTOR VALUE      a value that we put on somebody else's list
#   after PACKAGE DIGEST       the file as we left it; as long as it is that, $STORE/NAME.PACKAGE is the original
#
# A selector is PACKAGE.SECTION.OPTION, or PACKAGE.@TYPE[KEY=VALUE].OPTION for a section without a name: the number that
# uci shows for such a one is another as soon as a section before it comes or goes.

# open_record NAME: reads the record of this name, if there is one.
open_record() {
	name=$1
	: > "$work/record"
	: > "$work/old"
	[ ! -e "$STORE/$name.record" ] || cat "$STORE/$name.record" > "$work/old"
}

is_recorded() {
	[ -e "$STORE/$1.record" ]
}

keep_record() {
	cat "$work/old" > "$work/record"
}

record() {
	printf '%s\n' "$1" >> "$work/record"
}

# old_line WORD...: sets $value to what follows these words in the old record; fails if no line begins with them.
old_line() {
	local line start

	start=$(printf "%s$tab" "$@")
	while IFS= read -r line; do
		case "$line" in "$start"*)
			value=${line#"$start"}
			return 0
			;;
		esac
	done < "$work/old"
	value=
	return 1
}

# Names of all tunnels that have this role.
names_of() {
	local file

	for file in "$STORE"/*.record; do
		[ -e "$file" ] || continue
		! grep -qx "set${tab}role${tab}$1" "$file" || basename "$file" .record
	done
}

# quote VALUE: sets $quoted to it as uci reads it.
quote() {
	local rest=$1

	quoted=
	while :; do
		case "$rest" in
		*\'*)
			quoted="$quoted${rest%%\'*}'\\''"
			rest=${rest#*\'}
			;;
		*) break ;;
		esac
	done
	quoted="'$quoted$rest'"
}

do_set() {
	quote "$2"
	printf '%s=%s\n' "set $1" "$quoted" >> "$work/batch"
}

do_add() {
	quote "$2"
	printf '%s=%s\n' "add_list $1" "$quoted" >> "$work/batch"
}

do_drop() {
	quote "$2"
	printf '%s=%s\n' "del_list $1" "$quoted" >> "$work/batch"
}

do_delete() {
	printf 'delete %s\n' "$1" >> "$work/batch"
}

# section PATH TYPE: one of ours. One that is not there yet is $fresh, and nothing has to be asked about its options.
section() {
	fresh=''
	if get "$1" > /dev/null; then
		grep -qxF "section$tab$1" "$work/old" ||
			die "$1 is there already, and wgroam-setup did not write it: choose another name"
		[ "$(get "$1")" = "$2" ] || die "$1 was made something else: it has to be a section '$2'"
	else
		do_set "$1" "$2"
		fresh=$1
	fi
	record "section$tab$1"
}

# put PATH VALUE: an option in a section of ours.
put() {
	{ [ "${1%.*}" != "$fresh" ] && [ "$(get "$1")" = "$2" ]; } || do_set "$1" "$2"
}

# put_list PATH VALUE...
put_list() {
	local path=$1 value

	shift
	if [ "${path%.*}" != "$fresh" ]; then
		[ "$(get "$path")" != "$*" ] || return 0
		! get "$path" > /dev/null || do_delete "$path"
	fi
	for value in "$@"; do do_add "$path" "$value"; done
}

# find_section PACKAGE TYPE KEY VALUE: sets $found to its name, or uci's number for it; the first one counts.
find_section() {
	for found in $(u -X show "$1" | sed -n "s/^$1\.\([A-Za-z0-9_]*\)=$2\$/\1/p"); do
		[ "$(get "$1.$found")" = "$2" ] && [ "$(get "$1.$found.$3")" = "$4" ] && return 0
	done
	found=
	return 1
}

# resolve SELECTOR: sets $path.
resolve() {
	local rest type key

	path=$1
	case "$1" in
	*.@*)
		rest=${1#*.@}
		type=${rest%%\[*}
		rest=${rest#*\[}
		key=${rest%%=*}
		rest=${rest#*=}
		find_section "${1%%.@*}" "$type" "$key" "${rest%\].*}" || return 1
		path=${1%%.@*}.$found.${1##*.}
		;;
	esac
	get "${path%.*}" > /dev/null
}

# change SELECTOR NEW: an option of somebody else's; NEW is =VALUE, or - to take it out.
change() {
	local now=- value

	resolve "$1" || die "there is no ${1%.*}"
	! get "$path" > /dev/null || now="=$(get "$path")"
	if old_line option "$1"; then
		# What it was before us, whatever happened to it since.
		record "option$tab$1$tab$2$tab${value#*"$tab"}"
	elif [ "$now" != "$2" ]; then
		case "$now" in *"$tab"* | *"$newline"*) die "$path has a value of several lines: make it one" ;; esac
		record "option$tab$1$tab$2$tab$now"
	fi
	[ "$now" != "$2" ] || return 0
	if [ "$2" = - ]; then do_delete "$path"; else do_set "$path" "${2#=}"; fi
}

# member SELECTOR VALUE: on a list of somebody else's.
member() {
	local line="member$tab$1$tab$2" there=

	resolve "$1" || die "there is no ${1%.*}"
	case " $(get "$path") " in *" $2 "*) there=1 ;; esac
	if [ -z "$there" ] || grep -qxF "$line" "$work/old"; then
		grep -qxF "$line" "$work/record" || record "$line"
	fi
	[ -n "$there" ] || do_add "$path" "$2"
}

# drop_section PATH
drop_section() {
	! get "$1" > /dev/null || do_delete "$1"
}

# Sections of the old record that the new one has not.
drop_obsolete() {
	local word path

	while IFS=$tab read -r word path; do
		[ "$word" = section ] || continue
		grep -qxF "section$tab$path" "$work/record" || drop_section "$path"
	done < "$work/old"
}
