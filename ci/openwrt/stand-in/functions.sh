#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2013 # no names with spaces here
# Stands in for OpenWrt's /lib/functions.sh (package/base-files/files/lib/functions.sh of 24.10, 207bfee855, and 25.12,
# c504cbd47c, which differ in what apk's alternatives are looked for by). config_load evaluates what `uci export` prints,
# types of sections unquoted: the package's scripts do without.

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

# free FILE: the first number from 32768 on that nobody in there has (group_add_next(), user_add()).
free() {
	local id=32768
	while cut -d: -f3 "$IPKG_INSTROOT/etc/$1" | grep -qx "$id"; do id=$((id + 1)); done
	echo "$id"
}

# As the field Require-User says, user:group. The two numbers are the same only where the same are free; a user or group that is
# there already stays as it is, but that the user joins the group (group_add_user()).
add_group_and_user() {
	local pair user group id line
	for pair in $(sed -n 's/^Require-User: *//p' "$(known control)"); do
		user=${pair%%:*}
		group=${pair#*:}
		grep -q "^$group:" "$IPKG_INSTROOT/etc/group" ||
			echo "$group:x:$(free group):" >> "$IPKG_INSTROOT/etc/group"
		id=$(sed -n "s/^$group:[^:]*:\([0-9]*\):.*/\1/p" "$IPKG_INSTROOT/etc/group")
		grep -q "^$user:" "$IPKG_INSTROOT/etc/passwd" ||
			echo "$user:x:$(free passwd):$id:$user:/var/run/$user:/bin/false" >> "$IPKG_INSTROOT/etc/passwd"
		line=$(grep "^$group:" "$IPKG_INSTROOT/etc/group")
		case ",${line##*:}," in
		*",$user,"*) ;;
		,,) sed -i "s/^$group:.*/&$user/" "$IPKG_INSTROOT/etc/group" ;;
		*) sed -i "s/^$group:.*/&,$user/" "$IPKG_INSTROOT/etc/group" ;;
		esac
	done
}

# own SCRIPT: the package's own part.
own() {
	[ ! -f "$(known "$1")" ] || (
		# shellcheck disable=SC1090
		. "$(known "$1")"
	)
}

# A service that its owner disabled is started all the same, on an upgrade too: only its links are left alone then.
default_postinst() {
	local name script ret ran=
	name=${1##*/}
	name=${name%.*}
	add_group_and_user
	if [ -z "$IPKG_INSTROOT" ]; then
		for script in $(grep '^/etc/uci-defaults/' "$(known list)"); do
			# One that fails stays, and runs again at the next boot.
			# shellcheck disable=SC1090
			([ -f "$script" ] && cd "${script%/*}" && . "$script") && rm -f "$script"
			ran=1
		done
		[ -z "$ran" ] || uci commit
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

# The init script is still the old one.
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
