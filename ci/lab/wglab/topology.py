# SPDX-License-Identifier: GPL-2.0-only
"""The nodes, and what can happen to them. Each verb says what it does through the lab's `narrate`.

    lan --- R1 --- nat --- inet --- R2 --- h6
                             |
                         attacker

lan   192.168.1.10, 2001:db8:a::10     a computer behind the travelling router
R1    10.0.0.2 behind the NAT          the travelling router; its LAN's IPv6 comes through the tunnel
nat   203.0.113.2                      a hotel's router: lets in what was asked for only
R2    198.51.100.2, 2001:db8:b::1      the router at home
h6    2001:db8:b::10                   a computer with IPv6
attacker 192.0.2.66                    knows the public keys, no private one
"""
from .namespace import Namespace
from .wireguard import Device, Keys

PORT = 51820
R2_ADDRESS = "198.51.100.2"
ATTACKER_ADDRESS = "192.0.2.66"
NAT_ADDRESS = "203.0.113.2"
LAN_HOST = "2001:db8:a::10"
FAR_HOST = "2001:db8:b::10"
KEEPALIVE = 25  # seconds; what WireGuard's own documentation recommends behind NAT


def forwards(node):
    """Makes a node a router."""
    node.sysctl("net/ipv4/ip_forward", 1)
    node.sysctl("net/ipv6/conf/all/forwarding", 1)


def cable(one, its_device, other, other_device):
    """Connects two nodes."""
    one.ip(f"link add {its_device} type veth peer name {other_device} netns {other.name}")


class Router(Namespace):
    """R1 or R2: a node with a WireGuard interface, `wgr`."""

    def __init__(self, lab, node, wireguard):
        super().__init__(lab, node)
        forwards(self)
        self.keys = Keys()
        self.device = Device(self, wireguard)

    def bring_up(self, peer, listen_port, address, allowed_ips, routes, endpoint=None):
        """The interface as the configuration has it. Kept for `recreate_interface`."""
        self.peer = peer.keys.public
        self.interface = dict(
            private_key=self.keys.private,
            listen_port=listen_port,
            peer=self.peer,
            allowed_ips=allowed_ips,
            endpoint=endpoint,
        )
        self.commands = [f"address add {address} dev wgr nodad", "link set wgr mtu 1420 up"]
        self.commands += [f"route add {route} dev wgr" for route in routes]
        self._up()

    def _up(self):
        self.device.create()
        self.device.configure(**self.interface)
        self.lab.disturb()
        self.ip(*self.commands)

    def endpoint(self):
        """Where this router's WireGuard believes the other one to be."""
        return self.device.endpoint(self.peer)


class Roamer(Router):
    """R1."""

    def __init__(self, lab, wireguard):
        super().__init__(lab, "r1", wireguard)
        self.address = "10.0.0.2"

    def _use(self, address):
        self.ip(
            "address flush dev wan scope global",
            f"address add {address}/24 dev wan",
            "route replace default via 10.0.0.1",
        )
        self.address = address

    def change_wan_address(self):
        """As when another access point hands out another address: the old one is gone at once."""
        old = self.address
        self.lab.disturb()
        self._use(f"10.0.0.{int(old.rpartition('.')[2]) + 1}")
        self.lab.narrate(f"R1's WAN address changes from {old} to {self.address}")


class Anchor(Router):
    """R2."""

    def __init__(self, lab, wireguard):
        super().__init__(lab, "r2", wireguard)

    def drop_interface(self):
        """R2 goes down: its interface is gone, with the endpoint that it had learned."""
        self.lab.narrate("R2 goes down: its WireGuard interface is gone, and with it what it knew of R1")
        self.device.delete()

    def restore_interface(self):
        """R2 is back with what its configuration says: R1's key, and not where R1 is."""
        self._up()
        self.lab.narrate("R2 is up again: its configuration knows R1's key, and not where R1 is")

    def recreate_interface(self):
        """Both in one go."""
        self.drop_interface()
        self.restore_interface()


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


class Attacker(Namespace):
    """The third host."""

    def __init__(self, lab, wireguard):
        super().__init__(lab, "attacker")
        self.wireguard = wireguard
        self.calls = 0

    def call(self, keys, server):
        """Runs a WireGuard of its own that calls R2 with these keys, taking `server` for R2's public key."""
        self.calls += 1
        device = Device(self, self.wireguard, f"wg{self.calls}")
        device.create()
        device.configure(keys.private, 0, server, "fd00:99::1/128", f"{R2_ADDRESS}:{PORT}")
        self.ip(f"link set {device.name} up")
        device.set_keepalive(server, KEEPALIVE)


class Topology:
    """All nodes, connected and addressed; the tunnel is not up yet."""

    def __init__(self, lab, wireguard):
        self.lab = lab
        self.lan = Namespace(lab, "lan")
        self.r1 = Roamer(lab, wireguard)
        self.nat = Nat(lab)
        self.inet = Namespace(lab, "inet")
        self.r2 = Anchor(lab, wireguard)
        self.h6 = Namespace(lab, "h6")
        self.attacker = Attacker(lab, wireguard)
        forwards(self.nat)
        forwards(self.inet)
        cable(self.lan, "eth0", self.r1, "lan")
        cable(self.r1, "wan", self.nat, "inside")
        cable(self.nat, "outside", self.inet, "hotel")
        cable(self.r2, "wan", self.inet, "home")
        cable(self.h6, "eth0", self.r2, "lan")
        cable(self.attacker, "eth0", self.inet, "far")
        self._number()
        self.nat.start()

    def _number(self):
        """Addresses and routes. The peers of a cable must all be there before links come up."""
        plan = {
            self.inet: ["hotel 203.0.113.1/24", "home 198.51.100.1/24", "far 192.0.2.1/24"],
            self.nat: ["inside 10.0.0.1/24", f"outside {NAT_ADDRESS}/24"],
            self.r1: ["lan 192.168.1.1/24", "lan 2001:db8:a::1/64", f"wan {self.r1.address}/24"],
            self.r2: ["lan 2001:db8:b::1/64", f"wan {R2_ADDRESS}/24"],
            self.lan: ["eth0 192.168.1.10/24", f"eth0 {LAN_HOST}/64"],
            self.h6: [f"eth0 {FAR_HOST}/64"],
            self.attacker: [f"eth0 {ATTACKER_ADDRESS}/24"],
        }
        routes = {
            self.nat: ["default via 203.0.113.1"],
            self.r1: ["default via 10.0.0.1"],
            self.r2: ["default via 198.51.100.1"],
            self.lan: ["default via 192.168.1.1", "default via 2001:db8:a::1"],
            self.h6: ["default via 2001:db8:b::1"],
            self.attacker: ["default via 192.0.2.1"],
        }
        for node, addresses in plan.items():
            commands = []
            for line in addresses:
                device, address = line.split()
                family = " nodad" if ":" in address else ""
                commands += [f"address add {address} dev {device}{family}", f"link set {device} up"]
            commands += [f"route add {route}" for route in routes.get(node, [])]
            node.ip(*commands)

    def bring_tunnel_up(self):
        """R2's interface first, then R1's, then R1's keepalive: another order costs the first handshake's retry, 5 s."""
        self.r2.bring_up(
            peer=self.r1,
            listen_port=PORT,
            address="fd00:99::1/64",
            allowed_ips="fd00:99::2/128, 2001:db8:a::/64",
            routes=["2001:db8:a::/64"],
        )
        self.r1.bring_up(
            peer=self.r2,
            listen_port=PORT,
            address="fd00:99::2/64",
            # All of the IPv6 internet, and not ::/0: the kernel's multicast reports would be data in the tunnel.
            allowed_ips="fd00:99::1/128, 2000::/3",
            routes=["2000::/3"],
            endpoint=f"{R2_ADDRESS}:{PORT}",
        )
        self.r1.device.set_keepalive(self.r1.peer, KEEPALIVE)
        self.lab.narrate("the tunnel is up: R1 behind the NAT has called R2")
