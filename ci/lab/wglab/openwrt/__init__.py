# SPDX-License-Identifier: GPL-2.0-only
"""OpenWrt in miniature: a router of the lab that is configured by /etc/config alone. Each part does what the files say and
nothing else, in the meaning that OpenWrt gives to an option; an option that a part has no meaning for is an error, so that
nothing is written in vain.

uci     reads a package of UCI
root    the router's file system: busybox, the real uci, both packages as they are installed
netifd  interfaces, addresses, routes, the prefix on the LAN
fw4     zones, forwardings, rules and redirects as nftables
odhcpd  router advertisements: when
procd   who is told of a change of the files, and wgroam's process

fw4_options    how fw4 reads an option
advertisement  router advertisements: what

fw4 and odhcpd answer as the real ones did when they were recorded: ci/openwrt/recorded.
"""
