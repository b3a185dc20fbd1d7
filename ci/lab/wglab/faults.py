# SPDX-License-Identifier: GPL-2.0-only
"""What the scenario `diagnose` breaks, one thing at a time: each fault says what the first cross has to be, and mends itself."""
import time

from .internet import HOME
from .topology import KEEPALIVE, PORT, PREFIX, R2_ADDRESS
from .wireguard import Keys

YEAR = 366 * 86400
NO_KEY = "A" * 43 + "="  # zeroes: WireGuard takes them for none

OPENWRT = {
    "network": f"""
config interface 'lan'
	option device 'lan'
	option ip6assign '64'

config interface 'wgr'
	option proto 'wireguard'
	list ip6prefix '{PREFIX}'
""",
    "dhcp": """
config dhcp 'lan'
	option interface 'lan'
	option ra 'server'
""",
    "firewall": """
config zone
	option name 'lan'
	list network 'lan'

config zone
	option name 'tunnel'
	list network 'wgr'

config forwarding
	option src 'lan'
	option dest 'tunnel'
""",
}

# Of WireGuard's peers: netifd has WireGuard know what stands here when the interface comes up, and looks no more then.
DESCRIBED = """
config wireguard_wgr
	option public_key '{key}'
"""

CLOSED = """
table inet closed {{
	chain {hook} {{
		type filter hook {hook} priority filter; policy drop;
		ct state established,related accept
		iifname != "{closed}" accept
		meta l4proto ipv6-icmp accept
	}}
}}
"""

NARROW = """
table inet narrow {
	chain input {
		type filter hook input priority filter; policy accept;
		iifname "wgr" meta length > 1340 drop
	}
}
"""

FAULTS = []


def fault(check, remedy, router="r1", openwrt=False):
    """Registers a fault: a generator that breaks something, yields, and mends it. `check`: what the first cross has to be;
    `remedy`: words that have to stand in its remedy; `openwrt`: R1 has OpenWrt's files."""

    def register(story):
        FAULTS.append((story, check, remedy, router, openwrt))
        return story

    return register


@fault("config", "wgroam check")
def mistake_in_the_configuration(stage):
    """Somebody mistypes a value in /etc/config/wgroam."""
    stage.plain.write_text(stage.config + "\toption family 'ipv5'\n")
    yield
    stage.plain.write_text(stage.config)


@fault("device", "ip link add wgr")
def interface_missing(stage):
    """R1's interface is gone."""
    stage.r1.device.delete()
    yield
    stage.r1.come_back()
    stage.r1.device.set_keepalive(stage.r1.peer, KEEPALIVE)


@fault("device", "ip link set up dev wgr")
def interface_down(stage):
    """R1's interface is down."""
    stage.r1.ip("link set wgr down")
    yield
    stage.set_up_anew()


@fault("key", "wg genkey")
def no_private_key(stage):
    """R1's interface has no private key."""
    stage.r1.run("wg", "set", "wgr", "private-key", "/dev/stdin", stdin=NO_KEY)
    yield
    stage.set_up_anew()


@fault("clock", "NTP")
def clock_a_year_back(stage):
    """R1's clock is a year behind what its state file remembers."""
    stage.memory.write_text(
        f"wgroam-state 1\nwgr {stage.r1.peer} {R2_ADDRESS}:{PORT} {int(time.time()) + YEAR} -\nend: 1\n"
    )
    yield
    stage.memory.unlink()


@fault("peers", "wg show wgr peers")
def key_of_the_configuration_differs(stage):
    """The peer in /etc/config/wgroam has another key than WireGuard's."""
    stage.plain.write_text(stage.config.replace(stage.r1.peer, Keys().public))
    yield
    stage.plain.write_text(stage.config)


@fault("applied", "wgroam-setup apply wgr", openwrt=True)
def peer_added_and_not_applied(stage):
    """Somebody adds a peer to /etc/config/network, and WireGuard does not come to know it."""
    network = stage.folder / "network"
    before = network.read_text()
    network.write_text(before + DESCRIBED.format(key=Keys().public))
    yield
    network.write_text(before)


@fault("applied", "wgroam-setup apply wgr", openwrt=True)
def allowed_ips_not_applied(stage):
    """The peer in /etc/config/network has got an address more, and WireGuard does not come to know it."""
    network = stage.folder / "network"
    before = network.read_text()
    network.write_text(before + "\tlist allowed_ips 'fd00:99::7'\n")
    yield
    network.write_text(before)


@fault("let-in", "wgroam-setup apply wgr", openwrt=True)
def peer_revoked_and_still_let_in(stage):
    """WireGuard has a peer that is not in /etc/config/network, or not any more."""
    key = Keys().public
    stage.r1.run("wg", "set", "wgr", "peer", key)
    yield
    stage.r1.run("wg", "set", "wgr", "peer", key, "remove")


@fault("uplink", "default route")
def no_uplink(stage):
    """R1's default route is gone."""
    stage.r1.ip("route delete default via 10.0.0.1")
    yield
    stage.r1.ip("route add default via 10.0.0.1")
    stage.set_up_anew()


@fault("names", "/etc/resolv.conf")
def dns_dead(stage):
    """No name server answers."""
    stage.inet.silence_dns()
    yield
    stage.inet.restore_dns()


@fault("names", "correct the name")
def name_wrong(stage):
    """The name of R2 has a slip in it."""
    stage.plain.write_text(stage.config.replace(HOME, f"x{HOME}"))
    yield
    stage.plain.write_text(stage.config)


@fault("route", "start wgroam")
def route_into_the_tunnel(stage):
    """WireGuard's own packets are led into the tunnel."""
    stage.r1.ip(f"route add {R2_ADDRESS}/32 dev wgr")
    yield
    stage.r1.ip(f"route delete {R2_ADDRESS}/32 dev wgr")
    stage.set_up_anew()


@fault("handshake", "wgroam run")
def nobody_sets_the_endpoint(stage):
    """R1's interface was made anew, and wgroam does not run."""
    endpoint = stage.r1.interface["endpoint"]
    stage.r1.interface["endpoint"] = None
    stage.set_up_anew()
    yield
    stage.r1.interface["endpoint"] = endpoint
    stage.set_up_anew()


@fault("handshake", "list endpoint 'HOST:443'")
def port_filtered(stage):
    """The hotel filters R2's port."""
    stage.nat.filter_port(PORT)
    stage.set_up_anew()
    yield
    stage.nat.filter_nothing()
    stage.set_up_anew()


@fault("handshake", "bring WireGuard up there")
def nobody_listens(stage):
    """R2's interface is gone: its host says that nothing listens on the port."""
    stage.r2.device.delete()
    stage.set_up_anew()
    yield
    stage.r2.come_back()
    stage.set_up_anew()


@fault("handshake", "compare the keys")
def wrong_key_of_the_peer(stage):
    """R1 has a wrong public key of R2, in WireGuard and in wgroam's configuration; R2 hears it call."""
    right = stage.r1.peer
    wrong = Keys().public
    stage.r1.interface["peer"] = wrong
    stage.plain.write_text(stage.config.replace(right, wrong))
    stage.set_up_both_anew()
    yield
    stage.expect("wrong key of the peer", "r2", "handshake", f"correct this router's public key there: {right}")
    stage.r1.interface["peer"] = right
    stage.plain.write_text(stage.config)
    stage.set_up_anew()


@fault("handshake", "correct public_key here", router="r2")
def unknown_key(stage):
    """R1 has got a new private key, and R2 does not know it."""
    right = stage.r1.interface["private_key"]
    stage.r1.interface["private_key"] = Keys().private
    stage.set_up_both_anew()
    stage.strangers({"unknown-peer"}, 10)
    yield
    stage.r1.interface["private_key"] = right
    stage.set_up_anew()


@fault("mtu", "ip link set mtu 13")
def narrow_path_outside(stage):
    """Packets of more than 1400 bytes are lost on the way to R2, and nobody says so."""
    stage.nat.lose_large(1400)
    yield
    stage.nat.filter_nothing()


@fault("mtu", "another uplink")
def path_too_narrow_for_ipv6(stage):
    """Packets of more than 1200 bytes are lost on the way to R2: too narrow for IPv6 in a tunnel."""
    stage.nat.lose_large(1200)
    yield
    stage.nat.filter_nothing()


@fault("mtu", "ip link set mtu 13")
def narrow_path_inside(stage):
    """R2 drops what is larger than 1340 bytes in the tunnel."""
    stage.r2.run("nft", "-f", "-", stdin=NARROW)
    yield
    stage.r2.run("nft", "delete", "table", "inet", "narrow")


@fault("keepalive", "persistent-keepalive 25")
def no_keepalive(stage):
    """R1 is behind a NAT, and has no keepalive."""
    stage.r1.device.set_keepalive(stage.r1.peer, 0)
    yield
    stage.r1.device.set_keepalive(stage.r1.peer, KEEPALIVE)


@fault("lan-prefix", "ip address add")
def no_prefix_on_the_lan(stage):
    """R1's LAN has no address of the prefix."""
    stage.r1.ip("address delete 2001:db8:a::1/64 dev lan")
    yield
    stage.r1.ip("address add 2001:db8:a::1/64 dev lan nodad")


@fault("default-route", "route_allowed_ips", openwrt=True)
def no_default_route(stage):
    """No IPv6 route leads into the tunnel."""
    stage.r1.ip(f"route delete ::/0 from {PREFIX} dev wgr")
    yield
    stage.r1.ip(f"route add ::/0 from {PREFIX} dev wgr")


@fault("forwarding", "net.ipv6.conf.all.forwarding=1")
def forwarding_off(stage):
    """R1 does not forward IPv6."""
    stage.r1.sysctl("net/ipv6/conf/all/forwarding", 0)
    yield
    stage.r1.sysctl("net/ipv6/conf/all/forwarding", 1)


@fault("ra", "option ra 'server'", openwrt=True)
def no_router_advertisements(stage):
    """R1's LAN is not told of its prefix."""
    dhcp = stage.folder / "dhcp"
    dhcp.write_text(OPENWRT["dhcp"].replace("server", "disabled"))
    yield
    dhcp.write_text(OPENWRT["dhcp"])


@fault("forward", "nft insert rule inet closed forward")
def forward_closed(stage):
    """R1's firewall lets nothing from the LAN into the tunnel."""
    stage.r1.run("nft", "-f", "-", stdin=CLOSED.format(hook="forward", closed="lan"))
    yield
    stage.r1.run("nft", "delete", "table", "inet", "closed")


@fault("forward", "config forwarding", openwrt=True)
def forward_closed_on_openwrt(stage):
    """The same on an OpenWrt."""
    stage.r1.run("nft", "-f", "-", stdin=CLOSED.format(hook="forward", closed="lan"))
    yield
    stage.r1.run("nft", "delete", "table", "inet", "closed")


@fault("port-open", f"udp dport {PORT} accept", router="r2")
def firewall_closed_on_the_anchor(stage):
    """R2's firewall lets nobody in from the WAN."""
    stage.r2.run("nft", "-f", "-", stdin=CLOSED.format(hook="input", closed="wan"))
    yield
    stage.r2.run("nft", "delete", "table", "inet", "closed")
