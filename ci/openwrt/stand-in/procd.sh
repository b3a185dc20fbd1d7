#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2154 # initscript is rc.common's
# Stands in for OpenWrt's /lib/functions/procd.sh. As there, each function adds to one message for procd, by the jshn of
# /usr/share/libubox, and what a function does to what another one has added before is jshn's doing: `json_add_array` of a
# name that is there already begins it anew. Another name than these is unknown here; there are more of them there.
#
# Source of each behaviour: package/system/procd/files/procd.sh of OpenWrt 24.10 (207bfee855) and 25.12 (c504cbd47c), which
# do not differ in what is here; the function is named where ours is called otherwise. What procd makes of the message:
# ../procd.py.

# shellcheck disable=SC1091
. "$IPKG_INSTROOT/usr/share/libubox/jshn.sh"

# Milliseconds from an event to the script that it triggers (PROCD_RELOAD_DELAY).
delay=1000

# procd_lock(): of a service one script at a time, until the script and all that it started and that kept descriptor 1000
# are gone. A script that was started by another one, and has its descriptor, goes on under that one's lock.
procd_lock() {
	local link

	link=$(readlink "$initscript")
	link=${link:-$initscript}
	# shellcheck disable=SC3023
	flock -n 1000 2> /dev/null || {
		exec 1000> "$IPKG_INSTROOT/var/lock/procd_${link##*/}.lock"
		flock 1000
	}
}
procd_lock

# The message has a namespace of jshn's to itself (_procd_call()).
within() {
	local outside

	json_set_namespace procd outside
	"$@"
	json_set_namespace "$outside"
}

tell() {
	ubus call service "$1" "$(json_dump)"
	json_cleanup
}

strings() {
	local word

	for word; do json_add_string '' "$word"; done
}

array() {
	json_add_array "$1"
	shift
	strings "$@"
	json_close_array
}

# NAME=VALUE ..., up to an empty word.
table() {
	while [ -n "$1" ]; do
		case $1 in
		*=*) json_add_string "${1%%=*}" "${1#*=}" ;;
		*) json_add_string "$1" '' ;;
		esac
		shift
	done
}

open_service() {
	instances=0
	json_init
	json_add_string name "$1"
	[ -z "$2" ] || json_add_string script "$2"
	json_add_object instances
}

# service_triggers runs in the namespace of the message, between the arrays that it fills. service_data does on 25.12 only
# where there is one, on 24.10 always: an empty object is the difference.
close_service() {
	json_close_object
	open_trigger
	service_triggers
	close_trigger
	tell "${1:-set}"
}

open_instance() {
	instances=$((instances + 1))
	json_add_object "${1:-instance$instances}"
}

# An array `respawn` without words gets the system's values; ours has them.
close_instance() {
	json_close_object
}

# A type that is not known is left out, and nobody is told.
set_param() {
	local type=$1
	shift
	case $type in
	env | data | limits)
		json_add_object "$type"
		table "$@"
		json_close_object
		;;
	command | netdev | file | respawn | watch | watchdog | error) array "$type" "$@" ;;
	nice | term_timeout) json_add_int "$type" "$1" ;;
	reload_signal) json_add_int "$type" "$(kill -l "$1")" ;;
	pidfile | user | group | seccomp | capabilities | facility | extroot | overlaydir | tmpoverlaysize)
		json_add_string "$type" "$1"
		;;
	stdout | stderr | no_new_privs) json_add_boolean "$type" "$1" ;;
	esac
}

append_param() {
	local type=$1
	# shellcheck disable=SC2034 # for jshn
	local _json_no_warning=1
	shift
	json_select "$type" || {
		set_param "$type" "$@"
		return
	}
	case $type in
	env | data | limits) table "$@" ;;
	command | netdev | file | respawn | watch | watchdog | error) strings "$@" ;;
	esac
	json_select ..
}

# A flag that is not known is left out, too.
add_jail() {
	local flag

	json_add_object jail
	json_add_string name "$1"
	shift
	for flag; do
		case $flag in
		log | ubus | procfs | sysfs | ronly | requirejail | netns | userns | cgroupsns) json_add_boolean "$flag" 1 ;;
		esac
	done
	json_add_object mount
	json_close_object
	json_close_object
}

# They may be nested.
open_trigger() {
	triggers=$((triggers + 1))
	[ "$triggers" -gt 1 ] || json_add_array triggers
}

close_trigger() {
	triggers=$((triggers - 1))
	[ "$triggers" -gt 0 ] || json_close_array
}

# A change of these packages reloads the service. By its name: a link in rc.d counts as what it leads to.
add_reload_trigger() {
	local package link

	link=$(readlink "$initscript")
	link=${link:-$initscript}
	open_trigger
	for package; do
		json_add_array ''
		strings config.change
		json_add_array ''
		strings if
		array '' eq package "$package"
		array '' run_script "/etc/init.d/${link##*/}" reload
		json_close_array
		json_add_int '' "$delay"
		json_close_array
	done
	close_trigger
}

# Beside the triggers, and only where those are open.
open_validate() {
	json_select ..
	json_add_array validate
}

close_validate() {
	json_close_array
	json_select triggers
}

# So a second one begins the array anew, and the last one stays alone.
add_validation() {
	open_validate
	"$@"
	close_validate
}

# uci_load_validate(): with the name of a section /sbin/validate_data prints its values, which are evaluated: our script may not ask for
# that. Without one it prints, to be evaluated as well, what adds the schema to the message.
uci_load_validate() {
	local package=$1 type=$2

	[ -z "$3" ] || exit 9
	shift 4
	eval "$(/sbin/validate_data "$package" "$type" '' "$@")"
}

kill_service() {
	json_init
	[ -z "$1" ] || json_add_string name "$1"
	[ -z "$2" ] || json_add_string instance "$2"
	tell delete
}

# A name that is not known sends nothing. No caller learns of either: what comes last is the end of the namespace.
send_signal() {
	local signal=$3

	case $signal in [A-Z]*) signal=$(kill -l "$signal" 2> /dev/null) || return 1 ;; esac
	json_init
	json_add_string name "$1"
	case $2 in '' | '*') ;; *) json_add_string instance "$2" ;; esac
	[ -z "$signal" ] || json_add_int signal "$signal"
	tell signal
}

for function in open_service close_service open_instance close_instance set_param append_param add_jail open_trigger \
	close_trigger add_reload_trigger open_validate close_validate add_validation send_signal; do
	# shellcheck disable=SC2139
	eval "procd_$function() { within $function \"\$@\"; }"
done
procd_kill() { within kill_service "$@"; }
