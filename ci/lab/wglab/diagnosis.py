# SPDX-License-Identifier: GPL-2.0-only
"""`wgroam diagnose` in the lab: one fault at a time, each of which has to be the first cross, with its remedy, and to be gone
once the fault is mended."""
import json
import time

from .internet import HOME
from .journey import Journey
from .lab import LabError
from .scenarios import scenario
from .topology import KEEPALIVE, PORT, PREFIX, R2_ADDRESS
from .wgroam import roamer_config
from .wireguard import Keys

YEAR = 366 * 86400
NO_KEY = "A" * 43 + "="  # zeroes: WireGuard takes them for none
ATTEMPTS = 3  # a handshake that was just tried is not tried again for 5 s
REFUSED_WITHIN = 20  # seconds until wgroam refuses the LAN: 2 s without a session, and a busy machine

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


class Diagnosis(Journey):
    """A road warrior that went home: R1 runs no wgroam, which would mend what is broken; R2 does."""

    def settle(self):
        """The tunnel works, and both routers lack nothing."""
        self.set_out()
        self.lab.gate.release()  # nothing is measured here
        self.r1.interface["endpoint"] = f"{R2_ADDRESS}:{PORT}"
        self.r2.ip("route add default via 2001:db8:b::10")
        self.narrate("h6 stands for R2's IPv6 Internet")
        self.folder = self.lab.folder / "r1.etc" / "config"
        self.folder.mkdir(parents=True)
        for name, text in OPENWRT.items():
            (self.folder / name).write_text(text)
        (self.folder / "wgroam").write_text(self.config)
        self.plain = self.lab.folder / "r1.plain"
        self.plain.write_text(self.config)
        self.memory = self.lab.folder / "r1.state"

    def diagnose(self, name, openwrt=False):
        """What `wgroam diagnose --json` says on that router: whether it is sound, and its checks."""
        router = getattr(self, name)
        daemon = self.daemons.get(name)
        config = daemon.config if name == "r2" else self.folder / "wgroam" if openwrt else self.plain
        text = router.run(
            *("sh", "-c", '"$@"; echo $?', "sh"),
            *(self.settings.wgroam, "--runtime-dir", self.lab.folder / f"{name}.wgroam", "diagnose", "--json", "wgr"),
            *("--config", config, "--state", daemon.state if daemon else self.memory),
        )
        try:
            line, code = text.splitlines()
            report = json.loads(line)
        except ValueError:
            raise LabError(f"diagnose on {name} says no JSON: {text!r}") from None
        self.check(code == ("0" if report["ok"] else "1"), f"the exit code is {code}, and ok is {report['ok']}")
        return report["ok"], report["interfaces"][0]["checks"]

    def first_cross(self, name, openwrt=False):
        """The first check that is bad, and all checks."""
        _, checks = self.diagnose(name, openwrt)
        return next((check for check in checks if check["verdict"] == "bad"), None), checks

    def expect(self, what, name, check, remedy, openwrt=False):
        """The first cross is this one, with this remedy; returns all checks."""
        begun = time.monotonic()
        cross, checks = self.first_cross(name, openwrt)
        seconds = time.monotonic() - begun
        found = cross or {"check": None, "seen": "no cross", "remedy": ""}
        good = found["check"] == check and remedy in found["remedy"]
        self.check(good, f"{what}: on {name} the first cross is {found}, not {check} with '{remedy}'")
        self.narrate(f"{name.upper()}, {seconds:.1f} s: ✗ {found['check']}: {found['seen']} → {found['remedy']}")
        self.details["faults"].append({"fault": what, "on": name, "cross": found["check"], "took_s": round(seconds, 1)})
        return checks

    def expect_clean(self, when, name, openwrt=False):
        """There is no cross, or none any more once a handshake had time to be tried again."""
        for _ in range(ATTEMPTS):
            sound, checks = self.diagnose(name, openwrt)
            if sound:
                return
        crosses = [check for check in checks if check["verdict"] == "bad"]
        self.check(False, f"{when}: on {name} there are still crosses: {crosses}")

    def set_up_anew(self):
        """R1's interface is made anew: it calls at once."""
        self.r1.start_anew()
        self.r1.device.set_keepalive(self.r1.interface["peer"], KEEPALIVE)

    def set_up_both_anew(self):
        """Both interfaces are made anew, R2's first: it can't reach R1's old one, and has no session."""
        self.r1.device.delete()
        self.r2.start_anew()
        self.r1.come_back()
        self.r1.device.set_keepalive(self.r1.interface["peer"], KEEPALIVE)

    def inject(self, story, check, remedy, router, openwrt):
        """Breaks, looks, mends, looks again."""
        what = story.__name__.replace("_", " ")
        self.narrate(story.__doc__)
        telling = story(self)
        next(telling)
        self.expect(what, router, check, remedy, openwrt)
        for _ in telling:
            pass
        self.expect_clean(f"after '{what}'", router, openwrt)


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


def dead_tunnel(stage):
    """R2 is cut off while wgroam runs on R1 and refuses the LAN: that is no fault of its own, and said to be none."""
    stage.start_wgroam("r1", roamer_config(stage.r1))
    stage.r2.vanish()
    stage.set_up_anew()
    deadline = time.monotonic() + REFUSED_WITHIN
    while not stage.r1.run("ip", "-6", "route", "show", "proto", 119) and time.monotonic() < deadline:
        time.sleep(0.1)
    checks = stage.expect("dead tunnel", "r1", "handshake", "is on and has Internet")
    verdicts = {check["check"]: check for check in checks}
    stage.check("no fault" in verdicts["refusal"]["seen"], f"the refusal is not explained: {verdicts['refusal']}")
    stage.check(verdicts["default-route"]["verdict"] == "skipped", f"wgroam's own refusal: {verdicts['default-route']}")
    stage.check(verdicts["daemon"]["verdict"] == "ok", f"wgroam is not seen: {verdicts['daemon']}")
    stage.r2.reappear()
    stage.from_lan.silence(REFUSED_WITHIN)
    stage.expect_clean("R2 is back, with wgroam on R1", "r1")


@scenario("diagnose", wgroam_on=("r2",), limit=20, reach=10, stage=Diagnosis, journey=True, bench=False)
def diagnose(stage):
    """One fault after the other: `wgroam diagnose` names its cause and remedy first, and nothing once it is mended."""
    stage.details["faults"] = []
    stage.settle()
    for router, openwrt in (("r1", False), ("r1", True), ("r2", False)):
        stage.expect_clean("before anything is broken", router, openwrt)
    for described in FAULTS:
        stage.inject(*described)
    dead_tunnel(stage)
    stage.lab.disturbed_at = None
    return stage.silence(stage.from_lan, "the LAN")
