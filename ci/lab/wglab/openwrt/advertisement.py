# SPDX-License-Identifier: GPL-2.0-only
"""What odhcpd says of a LAN: the addresses that the kernel has there, as bytes of a router advertisement. It sends nothing and asks
no clock. Recorded in ci/openwrt/recorded (test_recorded_ra.py); what was not is from src/router.c of odhcpd, in 24.10 at a298823,
in 25.12 at 13ef483, which main had as well.

Not played: route information (sent with ra_default 0, where the kernel has an unreachable route for more than a /64), DNS search
lists, an RDNSS for a LAN without any address, and prefixes other than a /64."""
import ipaddress
import struct
from dataclasses import dataclass

FOREVER = 2**32 - 1
ULA = ipaddress.ip_network("fc00::/7")
ROUTER_ADVERTISEMENT = 134
SOURCE, PREFIX, MTU, INTERVAL, RDNSS = 1, 3, 5, 7, 25  # options: RFC 4861, RFC 6275, RFC 8106
ON_LINK, AUTONOMOUS = 0x80, 0x40
FLAGS = {"managed-config": 0x80, "other-config": 0x40, "home-agent": 0x20, "none": 0}
LEAST_MTU = 1280
HOP_LIMIT = 64  # the kernel's own
LONGEST_INTERVAL = 600  # seconds: ra_maxinterval in set_interface_defaults() of src/config.c


@dataclass
class Address:
    """An address of the LAN's device. Its lifetimes are moments; None is for ever."""

    address: ipaddress.IPv6Address
    preferred: float = None
    valid: float = None


@dataclass
class Options:
    """What package dhcp says of the LAN, as far as advertisements go."""

    default: int = 0
    mtu: int = 0  # 0: the device's
    flags: int = FLAGS["other-config"]
    slaac: bool = True


def left(until, now):
    """Whole seconds until then."""
    return FOREVER if until is None else max(0, int(until) - int(now))


class Lan:
    """One LAN. What is of one release alone stands in the classes below."""

    def __init__(self, options):
        self.options = options
        self.addresses = {}  # the kernel's, by their /64

    def see(self, addresses, _now):
        """These addresses the kernel has now."""
        self.addresses = addresses

    def advertisement(self, now, link_address, device_mtu, default_route):
        """One advertisement that is sent now, in bytes. Its checksum is the kernel's to fill in. `default_route`: does the router
        have one for IPv6 that leads somewhere?"""
        options = self.options
        prefixes = self.prefixes(now)
        # With 1 and 2 it needs no route of its own. Then a ULA is enough, and with 2 nothing is.
        leads = options.default >= 1 or (default_route and bool(self.addresses))
        known = options.default > 1 or any(
            life.counted and (options.default or network.network_address not in ULA) for network, life in prefixes.items()
        )
        interval = self.interval(min((life.counted for life in prefixes.values()), default=FOREVER))
        router = self.router_lifetime(interval)
        flags = ON_LINK | (AUTONOMOUS if options.slaac else 0)
        said = struct.pack("!BBHBBHII", ROUTER_ADVERTISEMENT, 0, 0, HOP_LIMIT, options.flags, router * (leads and known), 0, 0)
        said += struct.pack("!BB6s", SOURCE, 1, link_address)
        said += struct.pack("!BBHI", MTU, 1, 0, self.mtu(device_mtu))
        for network, life in prefixes.items():
            said += struct.pack("!BBBBIII", PREFIX, 4, 64, flags, life.valid, life.preferred, 0) + network.network_address.packed
        server = self.name_server(now)
        if server is not None:
            said += struct.pack("!BBHI", RDNSS, 3, 0, self.rdnss_lifetime(prefixes, router)) + server.packed
        return said + struct.pack("!BBHI", INTERVAL, 1, 0, interval * 1000)

    def name_server(self, now):
        """The router's address that the LAN shall ask for names: a ULA before others, the longer preferred of two
        (odhcpd_get_interface_dns_addr() of src/odhcpd.c)."""
        valid = [one for one in self.addresses.values() if left(one.valid, now)]
        best = max(valid, key=lambda one: (one.address in ULA, left(one.preferred, now)), default=None)
        return None if best is None else best.address


@dataclass
class Life:
    """Of a prefix: what is said of it, and the valid lifetime that the rest is reckoned with."""

    valid: int
    preferred: int
    counted: int


class Lan2410(Lan):
    """24.10: lifetimes are the kernel's, a preferred one a week at most."""

    PREFERRED = 604800

    def __init__(self, options):
        super().__init__(options)
        self.invalid = {}  # prefixes that the kernel lost, with how often that was said

    def see(self, addresses, now):
        for network, old in self.addresses.items():
            if network not in addresses and left(old.valid, now):
                self.invalid.setdefault(network, 0)
        super().see(addresses, now)

    def restart(self):
        """odhcpd begins anew: it knows what the kernel has."""
        self.addresses, self.invalid = {}, {}

    def prefixes(self, now):
        """What is said of each prefix."""
        found = {}
        for network, one in self.addresses.items():
            valid = left(one.valid, now)
            if valid:
                found[network] = Life(valid, min(left(one.preferred, now), self.PREFERRED, valid), valid)
        # Three times, and also over the head of one that is back meanwhile.
        found.update({network: Life(0, 0, 0) for network in self.invalid})
        self.invalid = {network: times + 1 for network, times in self.invalid.items() if times < 2}
        return found

    @staticmethod
    def interval(shortest):
        """The longest time between two, in seconds: calc_adv_interval(). The least is 4, which was recorded too: with a prefix of
        no lifetime the router itself is announced for 12 s."""
        return max(4, min(LONGEST_INTERVAL, shortest // 3))

    @staticmethod
    def router_lifetime(interval):
        """In seconds, where ra_lifetime is not set."""
        return 3 * interval

    @staticmethod
    def rdnss_lifetime(_prefixes, router):
        """In seconds."""
        return router

    def mtu(self, device_mtu):
        """Of the option, or the device's."""
        return max(LEAST_MTU, self.options.mtu or device_mtu)


class Lan2512(Lan):
    """25.12: lifetimes are cut to those of RFC 9096, and it keeps a file of what it has ever announced."""

    VALID, PREFERRED = 5400, 2700

    def __init__(self, options):
        super().__init__(options)
        self.announced = {}  # prefixes, each with the moment until which its end is told of; None as long as it lives

    def restart(self):
        """odhcpd begins anew, and reads its file."""
        self.addresses = {}

    def prefixes(self, now):
        """What is said of each prefix."""
        self.announced = {network: end for network, end in self.announced.items() if end is None or end > now}
        found = {}
        for network, one in self.addresses.items():
            valid = min(left(one.valid, now), self.VALID)
            preferred = min(left(one.preferred, now), self.PREFERRED, valid)
            if preferred:
                found[network] = Life(valid, preferred, valid)
                self.announced[network] = None
            elif valid:
                found[network] = Life(0, 0, valid)
        for network in self.announced:
            found.setdefault(network, Life(0, 0, self.VALID))
            if not found[network].preferred and self.announced[network] is None:
                self.announced[network] = now + self.VALID
        return found

    @staticmethod
    def interval(shortest):
        """The longest time between two, in seconds."""
        return min(LONGEST_INTERVAL, shortest)

    @staticmethod
    def router_lifetime(interval):
        """In seconds, where ra_lifetime is not set."""
        return max(3 * LONGEST_INTERVAL, interval)

    @staticmethod
    def rdnss_lifetime(prefixes, router):
        """In seconds: as long as a public prefix is valid, one that ended among them."""
        public = [life.counted for network, life in prefixes.items() if network.network_address not in ULA]
        return max(public, default=0) or router

    def mtu(self, device_mtu):
        """Of the option, or the device's, which it can't exceed."""
        return min(max(LEAST_MTU, self.options.mtu), device_mtu) if self.options.mtu else device_mtu


RELEASES = {"24.10": Lan2410, "25.12": Lan2512, "main": Lan2512}
