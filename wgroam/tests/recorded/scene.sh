#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Records what the kernel says over netlink: scene.sh FOLDER. Runs as root on the
# machine that is recorded, which it leaves changed; needs iproute2,
# wireguard-tools and strace. README.md says how s390x/ came about.
# The keys are test keys, for everybody to see.
set -u
out=$1
printf 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHl8=' > /tmp/private
printf 'ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=' > /tmp/preshared
ip link set lo up
ip link add wan type veth peer name isp
ip link set isp up
ip link set wan up
ip link add wg0 type wireguard
wg set wg0 private-key /tmp/private listen-port 51820 fwmark 0x1234
wg set wg0 peer xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg= preshared-key /tmp/preshared \
	endpoint 203.0.113.2:51820 persistent-keepalive 25 allowed-ips 10.9.0.2/32,fd00::2/128
wg set wg0 peer TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0= endpoint '[2001:db8::1]:443' \
	persistent-keepalive 65535 allowed-ips 10.9.0.3/32
wg set wg0 peer gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA= endpoint '[fe80::1%wan]:51821'
# A peer that has completed a handshake: with wg1, over the loopback device.
ip link add wg1 type wireguard
printf 'QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=' > /tmp/private1
wg set wg1 private-key /tmp/private1 listen-port 51821
wg set wg1 peer "$(wg show wg0 public-key)"
ip link set wg1 up
ip link set wg0 up
wg set wg0 peer "$(wg show wg1 public-key)" endpoint 127.0.0.1:51821 persistent-keepalive 1
sleep 4
wg set wg0 peer "$(wg show wg1 public-key)" persistent-keepalive 0
sleep 1
ip addr add 203.0.113.7/24 dev wan
ip addr add 192.0.2.1 peer 192.0.2.2 dev wan
ip -6 addr add 2001:db8::7/64 dev wan nodad
ip route add default via 203.0.113.1 metric 10
ip route add default metric 20 nexthop via 203.0.113.1 dev wan nexthop via 203.0.113.9 dev wan
ip route add default dev wg0 table 51820
ip -6 route add default from 2001:db8::/56 via fe80::1 dev wan metric 512
ip -6 route add unreachable default metric 4096
record() {
	name=$1
	shift
	strace -e trace=recvmsg,recvfrom -e read=all -o "$out/$name.strace" "$@" > "$out/$name.txt"
}
record wireguard wg show wg0 dump
record addresses ip addr
record routes ip route show table all
strace -e trace=recvmsg,recvfrom -e read=all -o "$out/events.strace" ip monitor link address route > "$out/events.txt" &
monitor=$!
# The recorded machine is an emulated one, and slow.
sleep 10
ip addr del 203.0.113.7/24 dev wan
sleep 3
ip addr add 203.0.113.8/24 dev wan
sleep 3
ip -6 addr add 2001:db8::8/64 dev wan
sleep 3
ip route add default via 203.0.113.1
sleep 3
ip route del default via 203.0.113.1
sleep 3
ip link set wg0 down
sleep 3
ip link set wg0 name wg7
sleep 3
ip link del wg7
sleep 3
ip link set wan down
sleep 3
sleep 5
kill "$monitor"
sleep 1
for strace in "$out"/*.strace; do
	sed -n 's/^ | [0-9a-f]*  \(.\{48\}\).*/\1/p' "$strace" | sed 's/ *$//' > "${strace%.strace}.hex"
done
