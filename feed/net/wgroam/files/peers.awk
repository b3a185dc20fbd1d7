# SPDX-License-Identifier: GPL-2.0-only
# `wgroam status --json` -> {"peers":[...]}: the peers of all interfaces, each with its interface.
#
# Quotes inside of a text are written \", so that "member":" is a member, wherever it is found.

function until_quote(text,    length_so_far) {
	length_so_far = match(text, /^([^"\\]|\\.)*/) ? RLENGTH : 0
	return substr(text, 1, length_so_far)
}

{
	count = split($0, devices, /\{"interface":"/)
	for (i = 2; i <= count; i++) {
		interface = until_quote(devices[i])
		begins = index(devices[i], "\"peers\":[")
		ends = index(devices[i], "],\"strangers\":[")
		if (!begins || !ends) continue
		peers = substr(devices[i], begins + 9, ends - begins - 9)
		number = split(peers, each, /\{"public_key":"/)
		for (k = 2; k <= number; k++) {
			peer = each[k]
			sub(/,$/, "", peer)
			list = list (list == "" ? "" : ",") "{\"interface\":\"" interface "\",\"public_key\":\"" peer
		}
	}
}

END { print "{\"peers\":[" list "]}" }
