# SPDX-License-Identifier: GPL-2.0-only
# `uci export` of the packages wgroam and network -> what the daemon is given: all of wgroam, and of network the
# WireGuard peers and their interfaces with the options below. private_key and preshared_key are not among them.
# -v wan='NAME=DEVICE ...': what interfaces of package network are called in the kernel, for option wan.
#
# A value in the export is '...', with '\'' for each quote in it, and may go over several lines.

BEGIN {
	split("proto disabled listen_port nohostroute", names, " ")
	for (i in names) of_interface[names[i]] = 1
	split("public_key endpoint_host endpoint_port persistent_keepalive description disabled", names, " ")
	for (i in names) of_peer[names[i]] = 1
	count = split(wan, pairs, " ")
	for (i = 1; i <= count; i++) {
		at = index(pairs[i], "=")
		device[substr(pairs[i], 1, at - 1)] = substr(pairs[i], at + 1)
	}
}

function is_open(line) {
	gsub(/'\\''/, "", line)
	return gsub(/'/, "", line) % 2
}

function end_section() {
	if (wanted) printf "%s", section
	section = ""
	wanted = 0
}

function wan_list(line,    words, count, i) {
	sub(/^[^']*'/, "", line)
	sub(/'$/, "", line)
	count = split(line, words, " ")
	for (i = 1; i <= count; i++)
		printf "\tlist wan '%s'\n", words[i] in device ? device[words[i]] : words[i]
}

function of_wgroam(text) {
	if (text ~ /^\t(option|list) wan '[A-Za-z0-9_. -]*'$/) wan_list(text)
	else print text
}

function of_network(text, word, name) {
	if (word == "config") {
		end_section()
		known = 0
		if (text ~ /^config interface '[A-Za-z0-9_]+'$/) known = 1
		if (text ~ /^config wireguard_[A-Za-z0-9_]+( '[A-Za-z0-9_]+')?$/) known = 2
		wanted = known == 2
		section = known ? "\n" text "\n" : ""
	} else if ((word == "option" || word == "list") && (known == 1 && name in of_interface || known == 2 && name in of_peer)) {
		if (text == "\toption proto 'wireguard'") wanted = 1
		section = section text "\n"
	}
}

{
	text = joined $0
	opened = opened ? !is_open($0) : is_open($0)
	if (opened) {
		joined = text "\n"
		next
	}
	joined = ""
	count = split(text, words, /[ \t\n]+/)
	first = words[1] == "" ? 2 : 1
	if (words[first] == "package") {
		end_section()
		package = words[first + 1]
		if (package == "wgroam" || package == "network") print text
	} else if (package == "wgroam") of_wgroam(text)
	else if (package == "network") of_network(text, words[first], words[first + 1])
}

END { end_section() }
