# SPDX-License-Identifier: GPL-2.0-only
"""The stories of routes: those with two hops, those that others take away, and those that begin with the wrong address."""
import functools
import threading
import time

from .journey import Journey
from .prober import Prober
from .scenarios import scenario
from .stage import Stage
from .tap import Tap
from .topology import FAR_HOST, KEEPALIVE, PORT, PREFIX, R2_ADDRESS, R2_ADDRESS6, Router, Topology, cable, set_up
from .wgroam import GLOBALS, roamer_config, section
from .wireguard import Device

SECOND = "wgs"  # R1's second tunnel
R3_ADDRESS = "203.0.112.2"
SHARED = [f"2001:db8:f::{number}" for number in range(1, 33)]  # addresses that R2 and R3 both lead to
ASKED = 4  # of those by either tunnel
SHARED_NETWORK = "2001:db8:f::/48"
AT_ONCE = 2  # seconds: who is still answered then goes by the other tunnel
PING = 0.5  # seconds between two
LINE_PREFIX = "2001:db8:1::/56"  # what the provider delegates to R1
BESIDE_R2 = "2001:db8:ffff:0:1::1"  # R1's address in the tunnel, closer to R2's than to the LAN's
NEVER, SOON = 240, 20  # seconds, as in the journeys


class Twins(Topology):
    """With a third router, R3, that leads to the same network as R2."""

    def connect(self):
        super().connect()
        self.r3 = Router(self.lab, "r3", self.r1.device.kind)
        cable(self.r3, "wan", self.inet, "other")

    def number(self):
        super().number()
        plan = {self.inet: ["other 203.0.112.1/24"], self.r3: [f"wan {R3_ADDRESS}/24"]}
        set_up(plan, {self.r3: ["default via 203.0.112.1"]})


class Multipath(Stage):
    """R1 has two tunnels, and one route over both."""

    topology_of = Twins

    def begin_twice(self):
        """Both tunnels work, and R1 chooses one of them for each address."""
        topology, r1 = self.topology, self.r1
        topology.bring_tunnel_up()
        topology.r3.bring_up(
            peer=r1,
            listen_port=PORT,
            address="fd00:98::1/64",
            allowed_ips=f"fd00:98::2/128, {PREFIX}",
            routes=[PREFIX],
        )
        second = Device(r1, r1.device.kind, SECOND)
        key = topology.r3.keys.public
        second.create()
        second.configure(r1.keys.private, 0, key, "fd00:98::1/128, 2000::/3", f"{R3_ADDRESS}:{PORT}")
        r1.ip(
            f"address add fd00:98::2/64 dev {SECOND} nodad",
            f"link set {SECOND} mtu 1420 up",
            f"route add {SHARED_NETWORK} nexthop via fd00:99::1 dev wgr nexthop via fd00:98::1 dev {SECOND}",
        )
        second.set_keepalive(key, KEEPALIVE)
        for router in (self.r2, topology.r3):
            router.ip(*(f"address add {address}/128 dev lo" for address in SHARED))
        self.narrate("R1 has a second tunnel, to R3, and one route over both")
        self.lab.gate.release()
        self.details["answer_before"] = len(self.answering(SHARED, 10, patient=True))
        self.check(self.details["answer_before"] == len(SHARED), "not all addresses answer while both tunnels work")
        if "r1" in self.wgroam_on:
            self.start_wgroam("r1", twice(r1, key))
            self.daemons["r1"].news()
        self.start_rival(f"{R2_ADDRESS}:{PORT}")
        self.ready()

    def each(self, addresses, ask):
        """What `ask` says of each address, given a prober of its own; all at once."""
        answers = {}

        def one(number, address):
            prober = Prober(self.lan, address)
            prober.identifier = (prober.identifier + 1 + number) & 0xFFFF  # all of them see all replies
            try:
                answers[address] = ask(prober)
            finally:
                prober.close()

        threads = [threading.Thread(target=one, args=asked) for asked in enumerate(addresses)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def answering(self, addresses, seconds, patient=False):
        """Those that answer: a probe that is sent now, or, patiently, one within so many seconds."""
        ask = (lambda prober: prober.silence(seconds)) if patient else (lambda prober: prober.stream(seconds, PING)[1] or None)
        answers = self.each(addresses, ask)
        return [address for address in addresses if answers[address] is not None]


def twice(r1, second):
    """wgroam's configuration: R2 by one tunnel, R3 by the other."""
    first = section("peer", "first", tunnel="wgr", public_key=r1.peer, endpoint=(f"{R2_ADDRESS}:{PORT}",))
    return GLOBALS + first + section("peer", "second", tunnel=SECOND, public_key=second, endpoint=(f"{R3_ADDRESS}:{PORT}",))


@scenario("multipath", wgroam_on=("r1",), limit=30, reach=2, stage=Multipath, journey=True, lasts=30)
def multipath(stage):
    """One IPv6 route over two tunnels, and R2 dies: how long are addresses silent that go by the other tunnel?"""
    stage.begin_twice()
    stage.r2.vanish()
    alive = stage.answering(SHARED, AT_ONCE)
    healthy, dead = alive[:ASKED], [address for address in SHARED if address not in alive][:ASKED]
    stage.check(len(healthy) == ASKED and len(dead) == ASKED, f"{len(alive)} of {len(SHARED)} go by the other tunnel")
    stage.narrate(f"the LAN pings {len(healthy)} addresses by the tunnel to R3, and {len(dead)} by that to R2")
    streams = stage.each(healthy + dead, lambda prober: prober.stream(stage.settings.lasts, PING))
    still = stage.answering(healthy, AT_ONCE)
    stage.details["answer_after"] = len(still)
    stage.narrate(f"{len(still)} of {len(healthy)} by the healthy tunnel still answer")
    stage.check(len(still) == len(healthy), f"{len(healthy) - len(still)} of {len(healthy)} by the healthy tunnel are lost")
    stage.look()
    return max(streams[address][2] for address in healthy) if len(still) == len(healthy) else None


way_story = functools.partial(scenario, wgroam_on=("r1",), limit=NEVER, stage=Journey, journey=True)


@way_story("own-source", reach=SOON)
def own_source(stage):
    """R1's line has no address of its own, and the tunnel's is closest to R2's: WireGuard's own packets begin with that."""
    stage.r2.ip(f"address add {R2_ADDRESS6}/64 dev wan nodad", "route add default via 2001:db8:ffff::1")
    stage.inet.ip(
        "address add 2001:db8:ffff::1/64 dev home nodad",
        "address add fe80::1/64 dev phone nodad",
        f"route add {LINE_PREFIX} via fe80::2 dev phone",
    )
    stage.r1.move_to_line("2001:db8:1::1/64")
    stage.topology.bring_interfaces_up()
    stage.r1.ip(f"address add {BESIDE_R2}/128 dev wgr nodad")
    endpoint = f"[{R2_ADDRESS6}]:{PORT}"
    stage.config = roamer_config(stage.r1, (endpoint,))
    stage.endpoints = (endpoint,)
    stage.call_home()
    stage.start_rival(endpoint)
    return stage.silence(stage.from_lan, "R1's side")


@way_story("foreign-hands", reach=1)
def foreign_hands(stage):
    """Full tunnel; somebody removes the host route to R2 that he does not know, twice: while R1 is idle, and while it sends."""
    alone = stage.settings.with_ != "wgroam"
    stage.prepare(f"{R2_ADDRESS}:{PORT}", full=True)
    if alone:
        stage.r1.route_endpoint("10.0.0.1")
    stage.arrive()
    if not alone:
        stage.r1.lose_host_route()
        time.sleep(1)
        there, claimed = stage.r1.has_host_route(), claims(stage.daemons["r1"], R2_ADDRESS)
        stage.check(there, "the route that was removed while R1 was idle is not back within a second")
        stage.check(there or not claimed, "status names a route that is gone")
        if not there:
            stage.from_lan.silence(SOON)  # until the ladder has mended it
    if stage.r1.has_host_route():
        stage.r1.lose_host_route()
    return stage.silence(stage.from_lan, "R1's side")


def claims(daemon, address):
    """Does status say that there is a host route to this address?"""
    return any(route["to"] == f"{address}/32" for route in (daemon.device() or {}).get("routes", []))


@way_story("policy-returns", reach=2)
def policy_returns(stage):
    """A rule had led R1's traffic to the second uplink, and is gone; nobody sends. When does the tunnel use the first again?"""
    stage.prepare(f"{R2_ADDRESS}:{PORT}")
    stage.r1.add_backup()
    stage.r1.prefer_backup()
    stage.arrive()
    stage.idle()
    with Tap(stage.r1, "wan", PORT) as tap:
        stage.r1.prefer_first()
        seconds = stage.lab.since_disturbed() if tap.next(stage.settings.limit) is not None else None
    stage.narrate("no packet by the first uplink" if seconds is None else f"the first packet by it came after {seconds:.2f} s")
    stage.check(stage.from_lan.silence(SOON) is not None, "the tunnel is lost")
    stage.look()
    return seconds
