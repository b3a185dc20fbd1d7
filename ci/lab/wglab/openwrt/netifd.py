# SPDX-License-Identifier: GPL-2.0-only
"""netifd in miniature: package network as interfaces, addresses and routes, with the protocol handler of WireGuard. What a
provider hands out (proto dhcp and dhcpv6) is the lab's to play."""
import ipaddress
import json
from dataclasses import dataclass, field

from ..lab import LabError
from ..wireguard import Device

NULL_METRIC = 2**31 - 1  # of the route that a prefix has, so that nothing loops for what is not assigned
LOCAL = "local"  # the class of the ULA prefix
HANDED_OUT = ("dhcp", "dhcpv6")
OF_INTERFACE = ("proto", "device", "auto", "disabled", "metric", "mtu")
OF_PROTO = {
    "static": ("ipaddr", "netmask", "ip6assign", "ip6hint", "ip6class", "ip6ifaceid"),
    "dhcp": ("peerdns",),
    "dhcpv6": ("reqaddress", "reqprefix", "peerdns"),
    "wireguard": ("private_key", "listen_port", "addresses", "nohostroute", "ip6prefix"),
}


@dataclass
class Interface:
    """What one interface of the configuration is to be."""

    device: str
    proto: str
    addresses: set = field(default_factory=set)  # with their lengths
    routes: set = field(default_factory=set)  # of ip(8), without the device
    prefixes: list = field(default_factory=list)  # that LANs get their part of
    assigned: list = field(default_factory=list)  # its parts of prefixes
    mtu: int = None
    wireguard: str = None  # for wg syncconf


class Netifd:
    """One router's. Keeps nothing but what it made itself, which it takes away again when the files no longer say it."""

    def __init__(self, router, root, kind, delegated):
        """`kind`: of WireGuard, "userspace" or "kernel". `delegated`: the prefixes that interfaces get from a provider."""
        self.delegated = {name: [ipaddress.ip_network(prefix)] for name, prefix in delegated.items()}
        self.router = router
        self.root = root
        self.kind = kind
        self.devices = {}  # WireGuard's, by interface
        self.bridges = set()
        self.interfaces = {}
        self.null_routes = set()

    def reload(self):
        """What the files say now."""
        sections = self.root.sections("network")
        before, self.interfaces = self.interfaces, plan(sections, self.delegated)
        routes = self.null_routes
        # For what nobody was given of a prefix.
        self.null_routes = {str(prefix) for interface in self.interfaces.values() for prefix in interface.prefixes}
        self._set_up_bridges(sections)
        for name, interface in before.items():
            if interface.proto == "wireguard" and name not in self.interfaces:
                self.devices.pop(name).delete()
        for name, interface in self.interfaces.items():
            self._set_up(name, interface, before.get(name))
        self.router.ip(
            *(f"route delete unreachable {prefix} metric {NULL_METRIC}" for prefix in routes - self.null_routes),
            *(f"route add unreachable {prefix} metric {NULL_METRIC}" for prefix in self.null_routes - routes),
        )
        self._tell()

    def _set_up_bridges(self, sections):
        """Those that are not there yet, of the ports that are there."""
        for section in sections_of(sections, "device"):
            section.known("name", "type", "ports")
            section.one_of("type", ("bridge",), None)
            bridge = section.get("name")
            if bridge not in self.bridges:
                self.bridges.add(bridge)
                ports = [port for port in section.words("ports") if port in self.router.links()]
                self.router.ip(
                    f"link add {bridge} type bridge mcast_snooping 0",
                    *(f"link set {port} master {bridge} up" for port in ports),
                )

    def _set_up(self, name, interface, before):
        """One interface: what changed of it."""
        if interface.proto in HANDED_OUT:
            return
        fresh = interface.proto == "wireguard" and name not in self.devices
        if fresh:
            self.devices[name] = Device(self.router, self.kind, interface.device)
            self.devices[name].create()
            before = None
        if interface.proto == "wireguard":
            # As the handler of 25.12 does: no key on a command line, and what peers taught the interface stays.
            self.router.run("wg", "syncconf", interface.device, "/dev/stdin", stdin=interface.wireguard)
        old = before or Interface(interface.device, interface.proto)
        on = f"dev {interface.device}"
        commands = [f"address delete {address} {on}" for address in sorted(old.addresses - interface.addresses)]
        commands += [f"address add {address} {on}{no_dad(address)}" for address in sorted(interface.addresses - old.addresses)]
        commands += [f"link set {on} mtu {interface.mtu}"] if interface.mtu else []
        commands += [f"link set {on} up"]
        commands += [f"route delete {route} {on} proto static" for route in sorted(old.routes - interface.routes)]
        commands += [f"route add {route} {on} proto static" for route in sorted(interface.routes - old.routes)]
        self.router.ip(*commands)

    def up(self):
        """Of each network that is up its device, as fw4 and odhcpd ask for."""
        return {name: interface.device for name, interface in self.interfaces.items()}

    def _tell(self):
        """What `ubus call network.interface.NAME status` and `network.interface dump` say, for the stand-in of ubus."""
        for path in self.root.path.glob("tmp/network.interface*"):
            path.unlink()
        dump = []
        for name, interface in self.interfaces.items():
            status = {
                "interface": name,
                "up": True,
                "l3_device": interface.device,
                "proto": interface.proto,
                "device": interface.device,
                "ipv6-prefix": [{**words(prefix), "class": name} for prefix in interface.prefixes],
                "ipv6-prefix-assignment": [words(network) for network in interface.assigned],
            }
            dump.append(status)
            self.root.write(f"tmp/network.interface.{name}", json.dumps(status))
        self.root.write("tmp/network.interface", json.dumps({"interface": dump}))


def words(network):
    """As ubus speaks of a network."""
    return {"address": str(network.network_address), "mask": network.prefixlen}


def no_dad(address):
    """At once, as all addresses of the lab."""
    return " nodad" if ":" in address else ""


def sections_of(sections, kind):
    """Those of a kind that are not switched off."""
    return [section for section in sections if section.kind == kind and not section.flag("disabled")]


def plan(sections, delegated):
    """The interfaces that these sections describe, by name; `delegated`: prefixes that some get from a provider."""
    found = {}
    for section in sections:
        if section.kind not in ("interface", "globals", "device") and not section.kind.startswith("wireguard_"):
            raise LabError(f"{section}: the lab has no meaning for such a section")
    pools = []  # of prefixes, each with its class
    for section in sections_of(sections, "globals"):
        section.known("ula_prefix", "dhcp_default_duid", "packet_steering")
        pools += [(LOCAL, ipaddress.ip_network(word)) for word in section.words("ula_prefix")]
    for section in sections_of(sections, "interface"):
        if section.name == "loopback" or not section.flag("auto", True):
            continue
        proto = section.one_of("proto", OF_PROTO, "none")
        section.known(*OF_INTERFACE, *OF_PROTO[proto])
        device = section.name if proto == "wireguard" else section.get("device")
        interface = Interface(device, proto, mtu=section.get("mtu"))
        if proto == "static":
            interface.addresses |= static_addresses(section)
        elif proto == "wireguard":
            set_wireguard(interface, section, sections_of(sections, f"wireguard_{section.name}"))
        interface.prefixes += delegated.get(section.name, [])
        pools += [(section.name, prefix) for prefix in interface.prefixes]
        found[section.name] = interface
    for kind, prefix in pools:
        assign(prefix, kind, found, sections)
    return found


def static_addresses(section):
    """IPv4: as a list with lengths (25.12), or one with its netmask (24.10)."""
    words = section.words("ipaddr")
    if section.get("netmask"):
        words = [f"{word}/{section.get('netmask')}" for word in words]
    return {str(ipaddress.ip_interface(word)) for word in words}


def set_wireguard(interface, section, peers):
    """As OpenWrt's protocol handler does: addresses, a route for all that is allowed where it is asked for, and the keys."""
    interface.addresses |= {str(ipaddress.ip_interface(word)) for word in section.words("addresses")}
    interface.prefixes = [ipaddress.ip_network(word) for word in section.words("ip6prefix")]
    lines = ["[Interface]", f"PrivateKey = {section.get('private_key')}"]
    lines += [f"ListenPort = {section.get('listen_port')}"] if section.get("listen_port") else []
    for peer in peers:
        peer.known(
            *("description", "public_key", "preshared_key", "allowed_ips", "route_allowed_ips", "persistent_keepalive"),
            *("disabled"),
        )
        allowed = [ipaddress.ip_network(word, strict=False) for word in peer.words("allowed_ips")]
        lines += ["[Peer]", f"PublicKey = {peer.get('public_key')}", f"AllowedIPs = {', '.join(map(str, allowed))}"]
        for option, key in (("preshared_key", "PresharedKey"), ("persistent_keepalive", "PersistentKeepalive")):
            lines += [f"{key} = {peer.get(option)}"] if peer.get(option) else []
        if peer.flag("route_allowed_ips"):
            interface.routes |= {str(network) for network in allowed}
    interface.wireguard = "\n".join(lines) + "\n"


def assign(prefix, kind, interfaces, sections):
    """Gives each interface with ip6assign its part of a prefix, those with a hint first, and the address in it."""
    taken = []
    wishes = [section for section in sections_of(sections, "interface") if section.get("ip6assign")]
    for section in sorted(wishes, key=lambda section: section.get("ip6hint") is None):
        if section.words("ip6class") and kind not in section.words("ip6class"):
            continue
        length = max(int(section.get("ip6assign")), prefix.prefixlen)
        if length > 64:
            continue
        free = [network for network in first_subnets(prefix, length) if not any(network.overlaps(one) for one in taken)]
        hint = section.get("ip6hint")
        hinted = prefix.network_address + (int(hint, 16) << 64) if hint else None
        network = next((one for one in free if hinted is not None and hinted in one), free[0])
        taken.append(network)
        suffix = ipaddress.ip_address(section.get("ip6ifaceid", "::1"))
        interface = interfaces[section.name]
        interface.assigned.append(network)
        interface.addresses.add(f"{network.network_address + int(suffix)}/{length}")


def first_subnets(prefix, length):
    """The first parts of a prefix; there are no more interfaces in the lab."""
    subnets = prefix.subnets(new_prefix=length)
    return [subnet for subnet, _ in zip(subnets, range(256))]
