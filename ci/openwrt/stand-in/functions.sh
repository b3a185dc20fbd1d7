#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2013 # no names with spaces here
# Stands in for OpenWrt's /lib/functions.sh. config_load evaluates what `uci export` prints, types of sections unquoted:
# the package's scripts do without.

config_load() {
	echo "config_load was called" >&2
	exit 9
}

# What follows is what all packages' postinst and prerm do, told which they are by the path of the script. With
# IPKG_INSTROOT an image is built, and nothing is run that belongs to the router.

# known SUFFIX: what opkg keeps of the package.
known() {
	echo "$IPKG_INSTROOT/usr/lib/opkg/info/$name.$1"
}

# As the field Require-User says, user:group; with the first number that is free.
add_group_and_user() {
	local pair user group id=32768
	for pair in $(sed -n 's/^Require-User: *//p' "$(known control)"); do
		user=${pair%%:*}
		group=${pair#*:}
		while grep -q "^[^:]*:[^:]*:$id:" "$IPKG_INSTROOT/etc/passwd" "$IPKG_INSTROOT/etc/group"; do id=$((id + 1)); done
		grep -q "^$group:" "$IPKG_INSTROOT/etc/group" || echo "$group:x:$id:$user" >> "$IPKG_INSTROOT/etc/group"
		grep -q "^$user:" "$IPKG_INSTROOT/etc/passwd" ||
			echo "$user:x:$id:$id:$user:/var/run/$user:/bin/false" >> "$IPKG_INSTROOT/etc/passwd"
	done
}

# own SCRIPT: the package's own part.
own() {
	[ ! -f "$(known "$1")" ] || (
		# shellcheck disable=SC1090
		. "$(known "$1")"
	)
}

default_postinst() {
	local name script ret
	name=${1##*/}
	name=${name%.*}
	add_group_and_user
	if [ -z "$IPKG_INSTROOT" ]; then
		for script in $(grep '^/etc/uci-defaults/' "$(known list)"); do
			# shellcheck disable=SC1090
			(cd "${script%/*}" && . "$script") && rm -f "$script"
		done
		uci commit
	fi
	own postinst-pkg
	ret=$?
	for script in $(grep '^/etc/init.d/' "$(known list)"); do
		if [ -n "$IPKG_INSTROOT" ]; then
			/bin/sh "$IPKG_INSTROOT/etc/rc.common" "$IPKG_INSTROOT$script" enable
		else
			[ "$PKG_UPGRADE" = 1 ] || "$script" enable
			"$script" start
		fi
	done
	return $ret
}

default_prerm() {
	local name script ret
	name=${1##*/}
	name=${name%.*}
	own prerm-pkg
	ret=$?
	for script in $(grep '^/etc/init.d/' "$(known list)"); do
		if [ -n "$IPKG_INSTROOT" ]; then
			/bin/sh "$IPKG_INSTROOT/etc/rc.common" "$IPKG_INSTROOT$script" disable
		else
			[ "$PKG_UPGRADE" = 1 ] || "$script" disable
			"$script" stop
		fi
	done
	return $ret
}
