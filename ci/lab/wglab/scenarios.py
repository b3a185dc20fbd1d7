# SPDX-License-Identifier: GPL-2.0-only
"""The stories. Each is a function of a Stage that returns the silence in seconds, None for never within the limit."""
from dataclasses import dataclass
from typing import Callable

from .topology import KEEPALIVE

SCENARIOS = {}


@dataclass
class Scenario:
    """A story, and what belongs to it."""

    name: str
    play: Callable
    wgroam_on: tuple  # the routers that run wgroam in it
    limit: float  # seconds: longer than this is never
    reach: float  # seconds: the silence that wgroam must reach

    @property
    def text(self):
        """What happens, in a line."""
        return self.play.__doc__.splitlines()[0]


def scenario(name, wgroam_on, limit, reach):
    """Registers a story."""

    def register(play):
        SCENARIOS[name] = Scenario(name, play, wgroam_on, limit, reach)
        return play

    return register


@scenario("steady", wgroam_on=("r1", "r2"), limit=10, reach=1)
def steady(stage):
    """Nothing happens: the LAN behind R1 pings h6 through the tunnel."""
    stage.begin()
    first = stage.silence(stage.from_lan, "the LAN")
    sent, answered, longest = stage.from_lan.stream(5, interval=0.1)
    stage.narrate(f"{answered} of {sent} pings answered, longest gap {longest:.2f} s")
    stage.details.update(sent=sent, answered=answered, longest_gap_s=round(longest, 3))
    stage.check(answered == sent, f"{sent - answered} of {sent} pings lost on a tunnel that nobody touched")
    return first


@scenario("nat-rebind", wgroam_on=("r1", "r2"), limit=KEEPALIVE + 15, reach=KEEPALIVE + 1)
def nat_rebind(stage):
    """The NAT forgets R1's mapping while the tunnel is idle; then R2 sends."""
    stage.begin()
    stage.idle()
    stage.nat.rebind()
    return stage.silence(stage.from_h6, "R2's side")


@scenario("wan-change", wgroam_on=("r1",), limit=KEEPALIVE + 15, reach=0.5)
def wan_change(stage):
    """R1's WAN address changes while the tunnel is idle; then R2 sends."""
    stage.begin()
    stage.idle()
    stage.r1.change_wan_address()
    return stage.silence(stage.from_h6, "R2's side")


@scenario("anchor-reboot", wgroam_on=("r2",), limit=150, reach=1)
def anchor_reboot(stage):
    """R2's interface is made anew and has forgotten R1's endpoint; R1 is idle, R2 sends."""
    stage.begin()
    stage.idle()
    stage.r2.recreate_interface()
    return stage.silence(stage.from_h6, "R2's side")


@scenario("anchor-restart", wgroam_on=("r2",), limit=150, reach=1)
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
