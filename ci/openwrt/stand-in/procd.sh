#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# Stands in for OpenWrt's /lib/functions/procd.sh: the functions that it offers, each of which writes its words to
# /tmp/procd.calls (the count, then each with a NUL behind it). Another name than these is unknown here as there.

# shellcheck disable=SC1091
. /usr/share/libubox/jshn.sh

record() {
	printf '%s\0' "$#" "$@" >> /tmp/procd.calls
}

# One at a time, as procd_lock() sees to.
# shellcheck disable=SC3023,SC2154
exec 1000> "/var/lock/procd_${initscript##*/}.lock"
flock 1000

procd_close_service() {
	record procd_open_triggers
	service_triggers
	record procd_close_service "$@"
}

procd_send_signal() {
	record procd_send_signal "$@"
	ubus call service signal "{\"name\":\"$1\",\"instance\":\"$2\",\"signal\":$(kill -l "$3")}"
}

procd_add_validation() {
	validating=1
	"$@"
	validating=
}

# Prints the schema to procd, or has validate_data read the section and evaluates what that prints: nothing here may.
uci_load_validate() {
	[ -n "$validating" ] || exit 9
	record uci_load_validate "$@"
}

for function in procd_open_service procd_open_instance procd_close_instance procd_set_param procd_append_param \
	procd_add_jail procd_add_jail_mount procd_add_jail_mount_rw procd_add_reload_trigger \
	procd_add_interface_trigger procd_add_raw_trigger procd_add_config_trigger procd_kill; do
	# shellcheck disable=SC2139
	eval "$function() { record $function \"\$@\"; }"
done
