# SPDX-License-Identifier: GPL-2.0-only
"""The nodes, and what can happen to them. Each verb says what it does through the lab's `narrate`.

    lan --- R1 --- nat --- inet --- R2 --- h6
             |              |
             +--- backup ---+--- attacker

lan   192.168.1.10, 2001:db8:a::10     a computer behind the travelling router
R1    10.0.0.2 behind the NAT          the travelling router; its LAN's IPv6 comes through the tunnel
nat   203.0.113.2                      a hotel's router: lets in what was asked for only
backup 100.64.0.2 on R1                a cable to the internet past the NAT, down until a scenario wants it
inet  192.0.2.53                       with the name server, where a scenario starts it
R2    198.51.100.2, 2001:db8:b::1      the router at home
h6    2001:db8:b::10                   a computer with IPv6
attacker 192.0.2.66                    knows the public keys, no private one
"""
from .internet import DNS_ADDRESS, Internet
from .namespace import Namespace
from .nat import Nat
from .wireguard import Device, Keys

PORT = 51820
R2_ADDRESS = "198.51.100.2"
R2_ADDRESS6 = "2001:db8:ffff::2"  # its WAN's; nobody routes to it
R2_NEW_ADDRESS = "198.51.100.3"
NOBODY = "198.51.100.77"  # an address at home's provider that nobody has
ATTACKER_ADDRESS = "192.0.2.66"
NAT_ADDRESS = "203.0.113.2"
LAN_HOST = "2001:db8:a::10"
FAR_HOST = "2001:db8:b::10"
PREFIX = "2001:db8:a::/64"  # of the LAN; it comes through the tunnel
POLICY = 1000  # a table and a rule of somebody else's
KEEPALIVE = 25  # seconds; what WireGuard's own documentation recommends behind NAT


def forwards(node):
    """Makes a node a router."""
    node.sysctl("net/ipv4/ip_forward", 1)
    node.sysctl("net/ipv6/conf/all/forwarding", 1)


def successor(address):
    """The next IPv4 address of a /24."""
    network, _, host = address.rpartition(".")
    return f"{network}.{int(host) + 1}"


def cable(one, its_device, other, other_device):
    """Connects two nodes."""
    one.ip(f"link add {its_device} type veth peer name {other_device} netns {other.name}")


def set_up(plan, routes):
    """Gives nodes their addresses ("DEVICE ADDRESS/LENGTH") and routes; the devices are up then."""
    for node, addresses in plan.items():
        commands = []
        for line in addresses:
            device, address = line.split()
            family = " nodad" if ":" in address else ""
            commands += [f"address add {address} dev {device}{family}", f"link set {device} up"]
        commands += [f"route add {route}" for route in routes.get(node, [])]
        node.ip(*commands)


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

    def start_anew(self):
        """A reboot, as far as WireGuard goes: the interface is made anew, as the configuration has it."""
        self.device.delete()
        self._up()

    def come_back(self):
        """The interface is there again, as the configuration has it."""
        self._up()

    def index(self):
        """Of the interface: another one means that it was made anew."""
        return self.run("ip", "-o", "link", "show", "dev", self.device.name).partition(":")[0]

    def endpoint(self):
        """Where this router's WireGuard believes the other one to be."""
        return self.device.endpoint(self.peer)


class Roamer(Router):
    """R1."""

    def __init__(self, lab, wireguard):
        super().__init__(lab, "r1", wireguard)
        self.address = "10.0.0.2"
        self.routes = ["default via 10.0.0.1"]  # by the WAN; they come back with it

    def use_dns(self, server=DNS_ADDRESS):
        """It asks a name server, the internet's. Asked again after a second: what resolvers do differs (musl 2.5 s, glibc
        5 s), and is not what the lab measures."""
        self.resolv_conf = self.lab.folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {server}\noptions timeout:1 attempts:2\n")

    def _use(self, address):
        self.ip(
            "address flush dev wan scope global",
            f"address add {address}/24 dev wan",
            *(f"route replace {route}" for route in self.routes),
        )
        self.address = address

    def change_wan_address(self):
        """As when another access point hands out another address: the old one is gone at once."""
        old = self.address
        self.lab.disturb()
        self._use(successor(old))
        self.lab.narrate(f"R1's WAN address changes from {old} to {self.address}")

    def lose_wan(self):
        """The cable is out: the kernel drops the routes, netifd the address."""
        self.lab.disturb()
        self.ip("link set wan down", "address flush dev wan scope global")
        self.lab.narrate("R1's WAN is gone")

    def regain_wan(self, another=False):
        """It is back, with address and default route; `another`: by another access point, with another address."""
        if another:
            self.address = successor(self.address)
        self.lab.disturb()
        self.ip("link set wan up")
        self._use(self.address)
        self.lab.narrate(f"R1's WAN is there, with the address {self.address}")

    def add_backup(self):
        """A second uplink, for when there is no other."""
        self.ip("address add 100.64.0.2/24 dev backup", "link set backup up", "route add default via 100.64.0.1 metric 100")
        self.lab.narrate("R1 has a second uplink, which is only used when the first is gone")

    def move_to_cable(self):
        """Its uplink is the cable past the NAT, and no other: it has an address at which others find it."""
        self.ip("link set wan down", "address flush dev wan scope global")
        self.ip("address add 100.64.0.2/24 dev backup", "link set backup up", "route add default via 100.64.0.1")
        self.lab.narrate("R1 has an address of its own, past the NAT")

    def ask_dns_outside(self):
        """The name server's questions stay out of a full tunnel, as those to a WAN's own name server do."""
        self.routes.append(f"{DNS_ADDRESS} via 10.0.0.1")
        self.ip(f"route add {self.routes[-1]}", f"route add {DNS_ADDRESS} via 100.64.0.1 metric 100")

    def route_as_wg_quick(self, table):
        """What wg-quick does for a full tunnel: all that is not WireGuard's own, by its mark, has a table of its own."""
        self.run("wg", "set", self.device.name, "fwmark", table)
        self.ip(
            f"route add default dev {self.device.name} table {table}",
            f"rule add not fwmark {table} table {table}",
            "rule add table main suppress_prefixlength 0",
        )
        self.lab.narrate("R1's traffic goes into the tunnel by a rule, WireGuard's own by its mark past it")

    def move_to_line(self, address):
        """Its uplink is a line without an address of its own, as PPPoE often is; its LAN has one of the delegated prefix."""
        self.ip("link set wan down", "address flush dev wan scope global", "link set backup addrgenmode none up")
        self.ip("address add fe80::2/64 dev backup nodad", f"address add {address} dev lan nodad")
        self.ip("route add default via fe80::1 dev backup")
        self.lab.narrate(f"R1's line has link-local addresses only, its LAN has {address}")

    def prefer_backup(self):
        """A policy, such as that of mwan3, leads all that goes out by the second uplink."""
        self.ip(f"route add default via 100.64.0.1 table {POLICY}", f"rule add lookup {POLICY} pref {POLICY}")
        self.lab.narrate("a rule leads R1's traffic by the second uplink")

    def prefer_first(self):
        """The policy brings the first uplink back. No link and no address has changed."""
        self.lab.disturb()
        self.ip(f"rule delete lookup {POLICY} pref {POLICY}")
        self.lab.narrate("the rule is gone: the first uplink counts")

    def lose_host_route(self):
        """Somebody removes routes that he does not know, as systemd-networkd does when it starts anew."""
        self.lab.disturb()
        self.ip(f"route delete {R2_ADDRESS}/32")
        self.lab.narrate("somebody removes R1's host route to R2")

    def has_host_route(self):
        """Is there one to R2?"""
        return self.run("ip", "-4", "route", "show", "exact", f"{R2_ADDRESS}/32") != ""

    def route_endpoint(self, gateway):
        """What netifd does when it sets an interface up: a host route to the endpoint, by the WAN of that moment."""
        self.ip(f"route replace {R2_ADDRESS}/32 via {gateway}")
        self.lab.narrate(f"netifd's host route to R2 leads by {gateway}")

    def gain_ipv6(self):
        """The hotel announces IPv6."""
        self.ip("address add 2001:db8:1::2/64 dev wan nodad", "route add default via fe80::1 dev wan")
        self.lab.narrate("R1 has an IPv6 address and an IPv6 default route")


class Anchor(Router):
    """R2."""

    def __init__(self, lab, wireguard):
        super().__init__(lab, "r2", wireguard)
        self.address = R2_ADDRESS

    def listen_also(self, port):
        """Its firewall redirects a second port to WireGuard's."""
        self.run("nft", "-f", "-", stdin=REDIRECT.format(port=port))

    def answer_names(self, address, name, meaning):
        """It has a name server at this address, which knows one name."""
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file="]
        command += ["--no-resolv", "--no-hosts", f"--address=/{name}/{meaning}", f"--listen-address={address}"]
        self.start(*command, "--bind-interfaces")
        self.lab.narrate(f"R2 says that {name} means {meaning}")

    def drop_echoes(self):
        """Its firewall drops what asks for an echo, without a word."""
        self.run("nft", "-f", "-", stdin=MUTE)
        self.lab.narrate("R2's firewall drops echo requests")

    def change_wan_address(self):
        """Its provider hands out the other of two addresses; the old one is gone at once."""
        old, self.address = self.address, R2_NEW_ADDRESS if self.address == R2_ADDRESS else R2_ADDRESS
        self.lab.disturb()
        self.ip(
            f"address delete {old}/24 dev wan",
            f"address add {self.address}/24 dev wan",
            "route replace default via 198.51.100.1",
        )
        self.lab.narrate(f"R2's WAN address changes from {old} to {self.address}")

    def expire_sessions(self):
        """WireGuard drops its sessions when its key changes, and keeps what it knows of its peers' clocks."""
        for private in (Keys().private, self.keys.private):
            self.run("wg", "set", self.device.name, "private-key", "/dev/stdin", stdin=private + "\n")
        self.lab.narrate("R2 has no session any more")

    def vanish(self):
        """Its WAN is cut."""
        self.lab.disturb()
        self.ip("link set wan down")
        self.lab.narrate("R2's WAN is cut")

    def reappear(self):
        """Its WAN works again."""
        self.lab.disturb()
        self.ip("link set wan up", "route replace default via 198.51.100.1")
        self.lab.narrate("R2's WAN works again")

    def reappear_elsewhere(self):
        """Its WAN works again, and has the other address from the first moment."""
        old, self.address = self.address, R2_NEW_ADDRESS
        self.lab.disturb()
        self.ip(
            f"address delete {old}/24 dev wan",
            f"address add {self.address}/24 dev wan",
            "link set wan up",
            "route replace default via 198.51.100.1",
        )
        self.lab.narrate(f"R2's WAN works again, and its address is {self.address} instead of {old}")

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


REDIRECT = f"""
table ip also {{{{
	chain prerouting {{{{
		type nat hook prerouting priority dstnat
		iifname wan udp dport {{port}} redirect to :{PORT}
	}}}}
}}}}
"""

MUTE = """
table ip6 mute {
	chain input {
		type filter hook input priority filter
		icmpv6 type echo-request drop
	}
}
"""


class Topology:
    """All nodes, connected and addressed; the tunnel is not up yet."""

    def __init__(self, lab, wireguard):
        self.lab = lab
        self.lan = Namespace(lab, "lan")
        self.r1 = Roamer(lab, wireguard)
        self.nat = Nat(lab)
        self.inet = Internet(lab)
        self.r2 = Anchor(lab, wireguard)
        self.h6 = Namespace(lab, "h6")
        self.attacker = Attacker(lab, wireguard)
        forwards(self.nat)
        forwards(self.inet)
        # The peers of a cable must all be there before links come up.
        self.connect()
        self.number()
        self.nat.start()

    def connect(self):
        """The cables."""
        cable(self.lan, "eth0", self.r1, "lan")
        cable(self.r1, "wan", self.nat, "inside")
        cable(self.nat, "outside", self.inet, "hotel")
        cable(self.r1, "backup", self.inet, "phone")
        cable(self.r2, "wan", self.inet, "home")
        cable(self.h6, "eth0", self.r2, "lan")
        cable(self.attacker, "eth0", self.inet, "far")

    def number(self):
        """Addresses and routes."""
        plan = {
            self.inet: ["hotel 203.0.113.1/24", "home 198.51.100.1/24", "far 192.0.2.1/24", "phone 100.64.0.1/24"],
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
        set_up(plan, routes)

    def bring_tunnel_up(self, roamer=None):
        """`roamer`: what R2 has as R1's endpoint, if anything. R2's interface first, then R1's, then R1's keepalive: another order costs the first handshake's retry, 5 s."""
        self._bring_anchor_up("fd00:99::2/128", PREFIX, endpoint=roamer)
        # All of the IPv6 internet, and not ::/0: the kernel's multicast reports would be data in the tunnel.
        self._bring_roamer_up(PORT, ["fd00:99::1/128", "2000::/3"], ["2000::/3"], f"{R2_ADDRESS}:{PORT}")
        self.lab.narrate("the tunnel is up: R1 has called R2")

    def bring_interfaces_up(self, full=False):
        """Both interfaces as a road warrior has them: R1's with a port of the kernel's choice and no endpoint, and only
        the LAN's prefix goes into the tunnel. `full`: all IPv4 goes into the tunnel too."""
        self._bring_anchor_up("fd00:99::2/128", PREFIX)
        allowed_ips = ["fd00:99::1/128", "2000::/3"]
        routes = [f"::/0 from {PREFIX}"]
        if full:
            allowed_ips.append("0.0.0.0/0")
            routes += ["0.0.0.0/1", "128.0.0.0/1"]
        self._bring_roamer_up(0, allowed_ips, routes, None)
        self.lab.narrate("both interfaces are up; R1's does not know where R2 is")

    def _bring_anchor_up(self, *allowed_ips, endpoint=None):
        self.r2.bring_up(
            peer=self.r1,
            listen_port=PORT,
            address="fd00:99::1/64",
            allowed_ips=", ".join(allowed_ips),
            routes=[PREFIX],
            endpoint=endpoint,
        )

    def _bring_roamer_up(self, listen_port, allowed_ips, routes, endpoint):
        self.r1.bring_up(
            peer=self.r2,
            listen_port=listen_port,
            address="fd00:99::2/64",
            allowed_ips=", ".join(allowed_ips),
            routes=routes,
            endpoint=endpoint,
        )
        self.r1.device.set_keepalive(self.r1.peer, KEEPALIVE)
