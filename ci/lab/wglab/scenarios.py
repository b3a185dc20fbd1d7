# SPDX-License-Identifier: GPL-2.0-only
"""The stories. Each is a function of a Stage that returns the silence in seconds, None for never within the limit."""
import random
import time
from dataclasses import dataclass
from typing import Callable

from .stage import Stage
from .topology import ATTACKER_ADDRESS, KEEPALIVE
from .wireguard import Keys

SCENARIOS = {}


@dataclass
class Scenario:
    """A story, and what belongs to it."""

    name: str
    play: Callable
    wgroam_on: tuple  # the routers that run wgroam in it
    limit: float  # seconds: longer than this is never
    reach: float  # seconds: the silence that wgroam must reach; None: only `beside` counts
    reach_userspace: float = None  # the same with wireguard-go, where it can't be reached there
    stage: type = Stage  # what it plays on
    lasts: float = 0.0  # seconds: how long its trouble lasts, where that can be chosen
    journey: bool = False  # of the travelling side: `run journeys` and `test --all` play it, `run all` does not yet
    vm_only: bool = False  # it does to the machine what only ci/vm's may suffer
    bench: bool = True  # there is a silence in it to compare
    openwrt: bool = False  # its routers are OpenWrt in miniature, with OpenWrt's own uci
    same_as: str = None  # a scenario that is the same but for what wgroam does
    beside: float = None  # seconds: with wgroam the silence is at most so much longer than with nothing in the same run

    def reach_with(self, wireguard):
        """The silence that wgroam must reach with this kind of WireGuard, in seconds."""
        return self.reach_userspace if wireguard == "userspace" and self.reach_userspace else self.reach

    @property
    def text(self):
        """What happens, in a line."""
        return self.play.__doc__.splitlines()[0]


# wireguard-go counts a handshake that it could not send, for want of an endpoint, as sent: the next one comes after
# REKEY_TIMEOUT, 5 s, and up to a third of a second. The kernel does not try before it has an endpoint.
UNSENT_HANDSHAKE = 6  # seconds

PROBED = "fd00:99::1"  # R2 in the tunnel
PROBES_APART = 3  # seconds


def scenario(name, wgroam_on, limit, reach, **more):
    """Registers a story; `more`: of the fields of Scenario."""

    def register(play):
        SCENARIOS[name] = Scenario(name, play, wgroam_on, limit, reach, **more)
        return play

    return register


@scenario("steady", wgroam_on=("r1", "r2"), limit=10, reach=1, bench=False)
def steady(stage):
    """Nothing happens: the LAN behind R1 pings h6 through the tunnel."""
    stage.begin()
    first = stage.silence(stage.from_lan, "the LAN")
    sent, answered, longest = stage.from_lan.stream(5, interval=0.1)
    stage.narrate(f"{answered} of {sent} pings answered, longest gap {longest:.2f} s")
    stage.details.update(sent=sent, answered=answered, longest_gap_s=round(longest, 3))
    stage.check(answered == sent, f"{sent - answered} of {sent} pings lost on a tunnel that nobody touched")
    return first


@scenario("nat-rebind", wgroam_on=("r1", "r2"), limit=KEEPALIVE + 15, reach=KEEPALIVE + 5)
def nat_rebind(stage):
    """The NAT forgets R1's mapping while the tunnel is idle; then R2 sends."""
    # Nobody but R1 can end this, and R1 has no sign of it before its keepalive: wgroam must only not make it worse.
    stage.begin()
    stage.idle()
    stage.nat.rebind()
    return stage.silence(stage.from_h6, "R2's side")


@scenario("nat-rebind-probed", wgroam_on=("r1", "r2"), limit=KEEPALIVE + 15, reach=3.5, same_as="nat-rebind")
def nat_rebind_probed(stage):
    """As nat-rebind, where wgroam on R1 probes every 3 s."""
    stage.begin(probe=PROBED, probe_interval=PROBES_APART)
    # Two probes of a tunnel that nobody else uses, and any moment between two.
    stage.pass_time(2 * PROBES_APART + random.uniform(0, PROBES_APART), time.sleep)
    stage.nat.rebind()
    return stage.silence(stage.from_h6, "R2's side")


@scenario("wan-change", wgroam_on=("r1",), limit=KEEPALIVE + 15, reach=0.5)
def wan_change(stage):
    """R1's WAN address changes while the tunnel is idle; then R2 sends."""
    stage.begin()
    stage.idle()
    stage.r1.change_wan_address()
    return stage.silence(stage.from_h6, "R2's side")


@scenario("anchor-reboot", wgroam_on=("r2",), limit=150, reach=1, reach_userspace=UNSENT_HANDSHAKE)
def anchor_reboot(stage):
    """R2's interface is made anew and has forgotten R1's endpoint; R1 is idle, R2 sends."""
    stage.begin()
    stage.idle()
    stage.r2.recreate_interface()
    return stage.silence(stage.from_h6, "R2's side")


@scenario(
    "anchor-restart", wgroam_on=("r2",), limit=150, reach=1, reach_userspace=UNSENT_HANDSHAKE, same_as="anchor-reboot"
)
def anchor_restart(stage):
    """As anchor-reboot, and wgroam is started anew too: what it knows is in its state file."""
    stage.begin()
    stage.idle()
    for daemon in stage.daemons.values():
        daemon.stop()
    stage.r2.recreate_interface()
    for daemon in stage.daemons.values():
        daemon.spawn()
    return stage.silence(stage.from_h6, "R2's side")


@scenario("forgery", wgroam_on=("r2",), limit=10, reach=1, bench=False)
def forgery(stage):
    """A third host sends forged, replayed and random packets to R2; the endpoint must not move."""
    stage.begin()
    before = stage.details["endpoint_before"]
    daemon = stage.daemons.get("r2")
    if daemon:
        rss, cpu = daemon.rss_kb(), daemon.cpu_s()
    lost = 0
    stage.lab.gate.alone()  # a flood is not for others to measure in
    with stage.flood() as flood:
        while flood.goes_on():
            sent, answered, _ = stage.from_lan.stream(0.5, interval=0.05)
            lost += sent - answered
            stage.check(stage.r2.endpoint() == before, f"WireGuard's endpoint moved to {stage.r2.endpoint()}")
    stage.details.update(hostile=flood.report, pings_lost=lost)
    stage.check(flood.report.get("sent") == stage.settings.packets, "not all hostile packets were sent")
    if daemon:
        rss_after, cpu = daemon.rss_kb(), daemon.cpu_s() - cpu
        stage.details.update(rss_kb_before=rss, rss_kb_after=rss_after, cpu_s=round(cpu, 2))
        stage.narrate(f"wgroam: {rss} KB resident before, {rss_after} KB after, {cpu:.2f} s of CPU time")
        stage.check(rss_after <= rss * 1.1, f"wgroam grew from {rss} to {rss_after} KB")
        peer = daemon.peer() or {}
        stage.check(peer.get("endpoint") == before, f"wgroam says that R1 is at {peer.get('endpoint')}, not {before}")
        stage.check(peer.get("moves") == 0, f"wgroam counts {peer.get('moves')} moves")
    return stage.silence(stage.from_lan, "the LAN")


@scenario("bad-key", wgroam_on=("r2",), limit=10, reach=1, bench=False)
def bad_key(stage):
    """A stranger calls R2, and somebody with a wrong key for R2; wgroam says who and what."""
    stage.begin()
    stranger = Keys()
    stage.narrate("a stranger calls R2, with a key that R2 does not know")
    stage.attacker.call(stranger, stage.r2.keys.public)
    stage.narrate("somebody calls R2 with another router's key")
    stage.attacker.call(Keys(), Keys().public)
    if stage.daemons:
        reports = stage.strangers({"unknown-peer", "wrong-key"}, 15)
        unknown = reports.get("unknown-peer", {})
        stage.check(unknown.get("key") == stranger.public, f"status does not name the stranger's key: {unknown}")
        stage.check("wrong-key" in reports, "status does not tell of the wrong server key")
        for report in reports.values():
            stage.check(report["source"].startswith(ATTACKER_ADDRESS + ":"), f"wrong source: {report}")
            stage.check(report["text"], f"no words for a person: {report}")
    stage.check(stage.r2.endpoint() == stage.details["endpoint_before"], "WireGuard's endpoint moved")
    return stage.silence(stage.from_lan, "the LAN")
