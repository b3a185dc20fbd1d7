# SPDX-License-Identifier: GPL-2.0-only
"""The hotel's router: it translates, and can be made to forget, to filter, and to lose."""
from .namespace import Namespace

FORBIDDEN = """
table inet forbidden
delete table inet forbidden
table inet forbidden {{
	chain forward {{
		type filter hook forward priority -10; policy accept
		{rules}
	}}
}}
"""


class Nat(Namespace):
    """The hotel's router."""

    def __init__(self, lab):
        super().__init__(lab, "nat")
        self.ports = iter(range(20000, 60000, 1000))

    def start(self):
        """From now on it translates."""
        self._load(next(self.ports))

    def _load(self, first):
        self.run(
            "nft",
            "-f",
            "-",
            stdin=f"""
table ip hotel
delete table ip hotel
table ip hotel {{
	chain postrouting {{
		type nat hook postrouting priority srcnat
		oifname outside meta l4proto {{ udp, tcp }} masquerade to :{first}-{first + 999} random
		oifname outside masquerade
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop
		ct state established,related accept
		iifname inside accept
	}}
}}
""",
        )

    def rebind(self):
        """Forgets every mapping; the next packet from inside gets another port."""
        self.lab.disturb()
        self._load(next(self.ports))
        self.run("conntrack", "-F")
        self.lab.narrate("the NAT forgets R1's mapping: what R2 sends to the old port is dropped")

    def _forbid(self, *rules):
        self.run("nft", "-f", "-", stdin=FORBIDDEN.format(rules="\n\t\t".join(rules)))

    def filter_port(self, port):
        """Nothing goes out to this UDP port; what is on its way is lost too."""
        self.lab.disturb()
        self._forbid(f"udp dport {port} drop", f"udp sport {port} drop")
        self.lab.narrate(f"the NAT filters UDP port {port}, and says nothing")

    def lose_large(self, size):
        """IPv4 packets of UDP that are larger than this are lost, and nobody says so."""
        self._forbid(f"meta l4proto udp meta length > {size} drop")
        self.lab.narrate(f"the NAT loses packets of more than {size} bytes, and says nothing")

    def filter_nothing(self):
        """What was forbidden is allowed again."""
        self._forbid()
        self.lab.narrate("the NAT filters nothing any more")

    def swallow(self, port):
        """A black hole: what R1 sends from this port, and what is meant for it, is lost for good."""
        self.lab.disturb()
        self._forbid(f"iifname inside udp sport {port} drop", f"oifname inside udp dport {port} drop")
        self.lab.narrate(f"the NAT swallows all that R1 sends from port {port}")

    def swallow_ipv6(self):
        """It announces IPv6 that leads nowhere."""
        self.ip("address add fe80::1/64 dev inside nodad", "route add blackhole ::/0")
        self.lab.narrate("the NAT announces IPv6, and drops what comes by it")

    def close_portal(self):
        """A captive portal: no UDP before somebody has accepted the terms."""
        self._forbid("meta l4proto udp drop")
        self.lab.narrate("a captive portal: the NAT drops all UDP")

    def open_portal(self):
        """Somebody has accepted the terms."""
        self.lab.disturb()
        self._forbid()
        self.lab.narrate("the captive portal opens")
