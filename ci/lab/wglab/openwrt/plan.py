# SPDX-License-Identifier: GPL-2.0-only
"""Package network to what its interfaces are to be: pure, and the same in all releases."""
import ipaddress
from dataclasses import dataclass, field

from ..lab import LabError

LOCAL = "local"  # the class of the ULA prefix (netifd's interface-ip.c)
HANDED_OUT = ("dhcp", "dhcpv6", "pppoe")
OF_INTERFACE = ("proto", "device", "auto", "disabled", "metric", "mtu")
OF_PROTO = {
    "static": ("ipaddr", "netmask", "ip6addr", "ip6assign", "ip6hint", "ip6class", "ip6ifaceid"),
    "dhcp": ("peerdns",),
    "dhcpv6": ("reqaddress", "reqprefix", "peerdns"),
    "wireguard": ("private_key", "listen_port", "addresses", "nohostroute", "ip6prefix"),
}
OF_PEER = ("description", "public_key", "preshared_key", "allowed_ips", "route_allowed_ips", "persistent_keepalive", "disabled")
OF_GLOBALS = ("ula_prefix", "dhcp_default_duid", "packet_steering")
OTHER_SECTIONS = ("globals", "device", "interface")


@dataclass
class Interface:
    """What one interface of the configuration is to be."""

    name: str
    device: str
    proto: str
    auto: bool = True
    addresses: set = field(default_factory=set)  # with their lengths
    routes: set = field(default_factory=set)  # destinations
    prefixes: list = field(default_factory=list)  # that LANs get their part of
    mtu: str = None
    nohostroute: bool = False
    keys: str = ""  # [Interface] for wg
    peers: str = ""  # [Peer]s for wg
    hosts: list = field(default_factory=list)  # the names that stand in endpoint_host
    wish: object = None  # the section, where it has ip6assign
    compared: tuple = ()  # options of its section: see releases
    assigned: list = field(default_factory=list)  # its parts of prefixes, while it is up

    @property
    def wireguard(self):
        """For `wg setconf` and `wg syncconf`."""
        return self.keys + self.peers


def known(section, strict, *names):
    """Fails when there is an option that the stand-in has no meaning for, so that wgroam writes nothing in vain."""
    if strict:
        section.known(*names)


def sections_of(sections, kind):
    """Those of a kind that are not switched off."""
    return [section for section in sections if section.kind == kind and not section.flag("disabled")]


def plan(sections, delegated, strict=True):
    """The interfaces that these sections describe, by name; `delegated`: prefixes that some get from a provider."""
    found = {}
    for section in sections:
        if strict and section.kind not in OTHER_SECTIONS and not section.kind.startswith("wireguard_"):
            raise LabError(f"{section}: the lab has no meaning for such a section")
    for section in sections_of(sections, "interface"):
        if section.name == "loopback":
            continue
        proto = section.get("proto", "none")
        if strict:
            section.one_of("proto", OF_PROTO, "none")
        known(section, strict, *OF_INTERFACE, *OF_PROTO.get(proto, ()))
        device = section.name if proto == "wireguard" else section.get("device")
        interface = Interface(section.name, device, proto, section.flag("auto", True), mtu=section.get("mtu"))
        interface.compared = tuple(sorted((name, str(value)) for name, value in section.options.items()))
        interface.wish = section if section.get("ip6assign") else None
        if proto == "static":
            interface.addresses |= static_addresses(section)
        elif proto == "wireguard":
            set_wireguard(interface, section, sections_of(sections, f"wireguard_{section.name}"), strict)
        interface.prefixes += delegated.get(section.name, [])
        found[section.name] = interface
    return found


def ula(sections, strict=True):
    """The prefixes of class `local`."""
    found = []
    for section in sections_of(sections, "globals"):
        known(section, strict, *OF_GLOBALS)
        found += [ipaddress.ip_network(word) for word in section.words("ula_prefix") if word != "auto"]
    return found


def static_addresses(section):
    """IPv4: as a list with lengths (25.12), or one with its netmask (24.10)."""
    words = section.words("ipaddr")
    if section.get("netmask"):
        words = [f"{word}/{section.get('netmask')}" for word in words]
    return {str(ipaddress.ip_interface(word)) for word in [*words, *section.words("ip6addr")]}


def set_wireguard(interface, section, peers, strict):
    """As OpenWrt's handlers do: addresses, a route for all that is allowed where it is asked for, keys and peers. A peer
    without a key is skipped."""
    interface.addresses |= {str(ipaddress.ip_interface(word)) for word in section.words("addresses")}
    interface.prefixes = [ipaddress.ip_network(word) for word in section.words("ip6prefix")]
    interface.nohostroute = section.get("nohostroute") == "1"
    lines = ["[Interface]", f"PrivateKey = {section.get('private_key')}"]
    for option, word in (("listen_port", "ListenPort"), ("fwmark", "FwMark")):
        lines += [f"{word} = {section.get(option)}"] if section.get(option) else []
    interface.keys = "\n".join(lines) + "\n"
    lines = []
    for peer in peers:
        known(peer, strict, *OF_PEER)
        if not peer.get("public_key"):
            continue
        allowed = [ipaddress.ip_network(word, strict=False) for word in peer.words("allowed_ips")]
        lines += ["[Peer]", f"PublicKey = {peer.get('public_key')}", f"AllowedIPs = {', '.join(map(str, allowed))}"]
        for option, word in (("preshared_key", "PresharedKey"), ("persistent_keepalive", "PersistentKeepalive")):
            lines += [f"{word} = {peer.get(option)}"] if peer.get(option) else []
        if peer.get("endpoint_host"):
            host = peer.get("endpoint_host")
            interface.hosts.append(host)
            host = f"[{host}]" if ":" in host else host
            lines.append(f"Endpoint = {host}:{peer.get('endpoint_port', '51820')}")
        if peer.flag("route_allowed_ips"):
            interface.routes |= {str(network) for network in allowed}
    interface.peers = "\n".join(lines) + "\n"


def assign(pools, wishes):
    """Gives each section with ip6assign its part of each prefix, those with a hint first; by the section's name a list of
    (prefix, address with its length). `pools`: (class, prefix). A prefix too small for the wish is halved until it fits,
    down to a /64 (interface_prefix_assign in netifd's interface-ip.c)."""
    found = {section.name: [] for section in wishes}
    for kind, prefix in pools:
        taken = []
        for section in sorted(wishes, key=lambda section: section.get("ip6hint") is None):
            if section.words("ip6class") and kind not in section.words("ip6class"):
                continue
            network = first_free(prefix, section, taken)
            if network is None:
                continue
            taken.append(network)
            suffix = ipaddress.ip_address(section.get("ip6ifaceid", "::1"))
            found[section.name].append((network, f"{network.network_address + int(suffix)}/{network.prefixlen}"))
    return found


def first_free(prefix, section, taken):
    """The part of a prefix that a section gets; None for none."""
    for length in range(max(int(section.get("ip6assign")), prefix.prefixlen), 65):
        free = [network for network in first_subnets(prefix, length) if not any(network.overlaps(one) for one in taken)]
        if free:
            hint = section.get("ip6hint")
            hinted = prefix.network_address + (int(hint, 16) << 64) if hint else None
            return next((one for one in free if hinted is not None and hinted in one), free[0])
    return None


def first_subnets(prefix, length):
    """The first parts of a prefix; there are no more interfaces in the lab."""
    return [subnet for subnet, _ in zip(prefix.subnets(new_prefix=length), range(256))]
