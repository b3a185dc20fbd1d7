# SPDX-License-Identifier: GPL-2.0-only
"""The topology of share-ipv6: the LAN behind R1 has no IPv6, and h6 is somewhere in the internet's.

    lan --- R1 --- nat --- inet --- R2 --- home
                            | |
                        attacker h6

lan   192.168.1.10              a computer behind the travelling router, which makes IPv6 addresses by itself
R2    198.51.100.2, 2001:db8:ffff::2    gets 2001:db8:1200::/56 from its provider
home  192.168.1.10              a computer in R2's own LAN
h6    2001:db8:b::10            a computer with IPv6
attacker 192.0.2.66             a server of the IPv4 internet, here
"""
from .namespace import Namespace
from .topology import ATTACKER_ADDRESS, FAR_HOST, NAT_ADDRESS, R2_ADDRESS, R2_ADDRESS6, Topology, cable, set_up

DELEGATED = "2001:db8:1200::/56"
SERVER = ATTACKER_ADDRESS
# What R1 finds when it moves on: the network inside, and the NAT's address.
CAFES = [("10.7.0", "203.0.113.9"), ("172.20.10", "203.0.113.77")]


class Homes(Topology):
    """The routers' LAN ports have no addresses: those stand in their files, stock ones with the same IPv4 LAN in both."""

    def connect(self):
        self.home = Namespace(self.lab, "home")
        self.cafes = iter(CAFES)
        cable(self.lan, "eth0", self.r1, "lan1")
        cable(self.r1, "wan", self.nat, "inside")
        cable(self.nat, "outside", self.inet, "hotel")
        cable(self.r2, "wan", self.inet, "home")
        cable(self.home, "eth0", self.r2, "lan1")
        cable(self.h6, "eth0", self.inet, "six")
        cable(self.attacker, "eth0", self.inet, "far")

    def number(self):
        plan = {
            self.inet: ["hotel 203.0.113.1/24", "home 198.51.100.1/24", "far 192.0.2.1/24"]
            + ["home 2001:db8:ffff::1/64", "six 2001:db8:b::1/64"],
            self.nat: ["inside 10.0.0.1/24", f"outside {NAT_ADDRESS}/24"],
            self.r1: [f"wan {self.r1.address}/24"],
            self.r2: [f"wan {R2_ADDRESS}/24", f"wan {R2_ADDRESS6}/64"],
            self.lan: ["eth0 192.168.1.10/24"],
            self.home: ["eth0 192.168.1.10/24"],
            self.h6: [f"eth0 {FAR_HOST}/64"],
            self.attacker: [f"eth0 {ATTACKER_ADDRESS}/24"],
        }
        routes = {
            self.inet: [f"{DELEGATED} via {R2_ADDRESS6}"],
            self.nat: ["default via 203.0.113.1"],
            self.r1: ["default via 10.0.0.1"],
            # odhcp6c's: each for what it was given, and none for whoever asks without a source.
            self.r2: ["default via 198.51.100.1"]
            + [f"default from {source} via 2001:db8:ffff::1" for source in (DELEGATED, "2001:db8:ffff::/64")],
            self.lan: ["default via 192.168.1.1"],
            self.home: ["default via 192.168.1.1"],
            self.h6: ["default via 2001:db8:b::1"],
            self.attacker: ["default via 192.0.2.1"],
        }
        for host in (self.lan, self.home):
            for name in ("accept_ra", "autoconf"):
                host.sysctl(f"net/ipv6/conf/eth0/{name}", 1)
        set_up(plan, routes)
