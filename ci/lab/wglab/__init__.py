# SPDX-License-Identifier: GPL-2.0-only
"""The lab's parts, each on those above it only:

lab         what one run owns (folder, namespaces, processes), and that all of it goes away
namespace   a network namespace: run, start, look inside
wireguard   a WireGuard interface, of the kernel or of wireguard-go
internet    what lies between the routers, with its name server
topology    the nodes and what can happen to them
prober      echo requests through the tunnel: how long is the silence?
tap         what passes a wire
flood       the hostile packets
wgroam      the daemon on one router
rivals      what others run on R1 instead
stage       a topology with or without wgroam, and a running account: what a scenario plays on
vm          the way into ci/vm/run
runs        many runs of `lab run` at once
scenarios   the stories
journey     a stage on which R1 begins with R2's name
journeys    the stories of the travelling side
sites       the stories of two sites that know each other by name
naming      the stories of names that lie, and of name servers behind the tunnel
ways        the stories of routes that have two hops, are taken away, or begin with the wrong address
recordings  the stories of calls that are played again, and of those that are taken for that
conversation  a TCP connection that lasts
openwrt     OpenWrt in miniature: a router that is configured by /etc/config alone
homes       the topology of share-ipv6
share       the story of two routers that wgroam-setup connects
kills       the story of a daemon that is killed again and again
stories     all of the stories
report      a story's outcome as JSON
suite       the scenarios that a release must pass
cli         arguments of ci/lab/lab
figures     tables and plots of many runs
bench       ci/bench: many runs of many scenarios
"""
