# SPDX-License-Identifier: GPL-2.0-only
"""odhcpd in miniature: package dhcp as router advertisements. Hosts make their addresses themselves (SLAAC); that OpenWrt would
hand out addresses by DHCP as well is not played.

advertisement.py knows what is announced, and this file when: on a change of addresses or files after a second, to who asks at once,
and now and then by itself. Nothing says goodbye when odhcpd stops or starts anew (recorded: ra/r1-lan-only-ula.txt). Not played:
that a default route which comes or goes has it said once more, and that short lifetimes have it said more often."""
import contextlib
import ipaddress
import os
import random
import select
import socket
import struct
import threading
import time
from pathlib import Path

from ..lab import LabError
from .advertisement import FLAGS, LONGEST_INTERVAL, RELEASES, Address, Options

# What is about IPv4 and DHCPv6, or odhcpd's own affair.
NOT_PLAYED = ("interface", "start", "limit", "leasetime", "dhcpv4", "ignore")
OTHERS = ("dnsmasq", "odhcpd")
MODES = ("server", "disabled")
# netifd leaves an address whose prefix is gone to the kernel, not preferred, for two hours at most (interface-ip.c of netifd
# 768027c, RFC 7084's L-14; recorded: ra/r1-lan.txt, valid 7199 after ifup).
DEPRECATED = 7200
AFTER_A_CHANGE = 1.0  # seconds: router_netevent_cb() and router_setup_interface() of src/router.c
# MaxInitialRtAdvs and MaxInitialRtrAdvInterval of src/router.h: the first ones follow sooner.
FIRST_ONES, FIRST_INTERVAL = 3, 16
SOLICITATION = 133
FILTER = 1  # ICMP6_FILTER
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"


class Odhcpd:
    """One router's."""

    def __init__(self, router, root, release="24.10"):
        """`release`: whose odhcpd it is, "24.10", "25.12" or "main"."""
        self.router = router
        self.root = root
        self.lan_of = RELEASES[release]
        self.sections = []
        self.senders = {}  # by interface
        self.deprecated = {}  # by interface: of each prefix that is gone the address, until the kernel drops it
        self.assigned = {}  # by interface, at the last look
        self.restarted = False

    def reload(self):
        """Reads the files; what they say counts from the next refresh() on."""
        self.sections = [section for section in self.root.sections("dhcp") if section.kind not in OTHERS]
        for section in self.sections:
            if section.kind != "dhcp":
                raise LabError(f"{section}: the lab has no meaning for such a section")
            section.known(*NOT_PLAYED, "ra", "ra_default", "ra_mtu", "ra_flags", "ra_slaac", "dhcpv6")
            section.one_of("dhcpv6", MODES, "disabled")
        self.restarted = True

    def refresh(self, interfaces, default_route):
        """These are netifd's interfaces now. `default_route`: is there one for IPv6?"""
        now = time.monotonic()
        served = {}
        for section in self.sections:
            serves = section.one_of("ra", MODES, "disabled") == "server" and not section.flag("ignore")
            name = section.get("interface")
            if serves and name in interfaces:
                served[name] = (interfaces[name].device, options_of(section), self._addresses(name, interfaces[name], now))
        for name in set(self.senders) - set(served):
            self.senders.pop(name).end()
        for name, (device, options, addresses) in served.items():
            if name not in self.senders:
                self.senders[name] = Sender(self.router, device, self.lan_of(options))
            self.senders[name].tell(options, addresses, default_route, self.restarted)
        self.restarted = False

    def _addresses(self, name, interface, now):
        """What the kernel has on an interface, by prefix: what netifd assigned, and what it did until a while ago."""
        live = {first_of(network): Address(address_in(network, interface)) for network in interface.assigned}
        gone = self.deprecated.setdefault(name, {})
        for network, one in self.assigned.get(name, {}).items():
            gone[network] = Address(one.address, now, now + DEPRECATED)
        self.assigned[name] = live
        self.deprecated[name] = {network: one for network, one in gone.items() if network not in live and one.valid > now}
        return {**live, **self.deprecated[name]}


class Sender:
    """Speaks on one device, in a thread of its own. The lab ends it as it ends a process: its socket would hold the namespace."""

    def __init__(self, router, device, lan):
        self.device = device
        self.lan = lan
        self.lock = threading.Lock()
        self.default_route = False
        self.sent = 0
        self.next = None  # the moment of the next one that nobody asked for
        self.ended = False
        with router.entered():
            self.index = socket.if_nametoindex(device)
            self.link_address = link_address(device)
            self.mtu = device_mtu(device)
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS):
            self.socket.setsockopt(socket.IPPROTO_IPV6, option, 255)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("@I", self.index)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        # Nothing but solicitations: a bit that is set keeps a type out.
        kept_out = [0xFFFFFFFF] * 8
        kept_out[SOLICITATION // 32] &= ~(1 << SOLICITATION % 32)
        self.socket.setsockopt(socket.IPPROTO_ICMPV6, FILTER, struct.pack("@8I", *kept_out))
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        router.lab.processes.append(self)

    def tell(self, options, addresses, default_route, restarted):
        """What the files and the kernel say now."""
        with self.lock:
            changed = restarted or addresses != self.lan.addresses or default_route != self.default_route
            self.lan.options, self.default_route = options, default_route
            self.lan.see(addresses, time.monotonic())
            if restarted:
                self.sent = 0
            if changed:
                self.next = time.monotonic() + AFTER_A_CHANGE
            os.eventfd_write(self.wake, 1)

    def end(self):
        """The LAN is served no longer, which it is told: once, without what lived (router_setup_interface() of src/router.c)."""
        with self.lock:
            self.lan.see({}, time.monotonic())
            self._send(ALL_NODES)
        self.kill()

    def kill(self):
        """It falls silent, and says nothing of it."""
        with self.lock:
            if self.ended:
                return
            self.ended = True
            os.eventfd_write(self.wake, 1)

    def wait(self):
        """Until it has."""
        self.thread.join()

    def _run(self):
        while True:
            with self.lock:
                if self.ended:
                    self.socket.close()
                    os.close(self.wake)
                    return
                wait = None if self.next is None else max(0.0, self.next - time.monotonic())
            ready, _, _ = select.select([self.socket, self.wake], [], [], wait)
            with self.lock:
                if self.wake in ready:
                    os.eventfd_read(self.wake)
                if self.ended:
                    continue
                if self.socket in ready:
                    self._answer()
                if self.next is not None and time.monotonic() >= self.next:
                    self.next = time.monotonic() + (self._pause() if self._send(ALL_NODES) else AFTER_A_CHANGE)

    def _answer(self):
        """A host asks: it is told, at once and alone."""
        asked, sender = self.socket.recvfrom(2048)
        if asked and asked[0] == SOLICITATION:
            self._send(ALL_NODES if sender[0] == "::" else sender[0].partition("%")[0])

    def _pause(self):
        """Seconds to the next one: calc_adv_interval() of src/router.c."""
        pause = random.uniform(LONGEST_INTERVAL / 3, LONGEST_INTERVAL)
        return min(pause, FIRST_INTERVAL) if self.sent < FIRST_ONES else pause

    def _send(self, to):
        """True if it went out: without an address of the link itself it can't."""
        said = self.lan.advertisement(time.monotonic(), self.link_address, self.mtu, self.default_route)
        with contextlib.suppress(OSError):
            self.socket.sendto(said, (to, 0, 0, self.index))
            self.sent += 1
            return True
        return False


def options_of(section):
    """What a section of package dhcp says of advertisements."""
    flags = section.words("ra_flags") or ["other-config"]
    for flag in flags:
        if flag not in FLAGS:
            raise LabError(f"{section}: the lab has no meaning for ra_flags '{flag}'")
    return Options(
        default=int(section.one_of("ra_default", ("0", "1", "2"), "0")),
        mtu=int(section.get("ra_mtu", "0")),
        flags=sum({FLAGS[flag] for flag in flags}),
        slaac=section.flag("ra_slaac", True),
    )


def first_of(network):
    """Of more than a /64 the first one is announced (recorded: the ULA's /60 as a /64)."""
    return next(network.subnets(new_prefix=64)) if network.prefixlen < 64 else network


def address_in(network, interface):
    """The router's own address in what it was assigned."""
    found = [ipaddress.ip_interface(address).ip for address in interface.addresses]
    return next((address for address in found if address in network), network.network_address + 1)


def link_address(device):
    """Six bytes."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packets:
        packets.bind((device, 0))
        return packets.getsockname()[4]


def device_mtu(device):
    """As a program in this namespace sees it."""
    return int(Path(f"/proc/sys/net/ipv6/conf/{device}/mtu").read_text())
