# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario plays on: the topology, wgroam on the routers where the scenario has it, and the moves all stories share."""
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .flood import Flood
from .lab import UP_SECONDS, LabError
from .prober import Prober
from .tap import DATA, INITIATION, INITIATION_LENGTH, KEEPALIVE_LENGTH, Tap
from .topology import FAR_HOST, KEEPALIVE, LAN_HOST, PORT, R2_ADDRESS, Topology
from .rivals import RIVALS
from .wgroam import Wgroam, anchor_config, roamer_config

SHARP = 8  # seconds: what ends sooner with wgroam is measured while no other run is set up (see Gate)


@dataclass
class Settings:
    """How a scenario is played."""

    wireguard: str  # "userspace" or "kernel"
    with_: str  # "wgroam", "nothing", or one of RIVALS
    wgroam: Path  # the binary
    hostile: Path  # the example that sends hostile packets
    limit: float  # seconds after which a silence counts as never
    packets: int  # how many hostile packets
    rate: int  # hostile packets per second
    lasts: float = 0.0  # seconds: how long the trouble lasts, in scenarios where that can be chosen
    age: float = 0.0  # seconds that the tunnel has been up when something happens to it
    gate: int = None  # see Gate
    openwrt: str = None  # whose netifd both routers have, where a scenario has OpenWrt's
    kills: int = 50  # how often wgroam is killed, in kills
    seed: int = None  # of what is random in kills; None: any


class Stage:
    """One scenario's nodes and daemons. Close it: its sockets hold namespaces alive."""

    topology_of = Topology  # what it plays in

    def __init__(self, lab, settings, wgroam_on):
        """`wgroam_on`: the routers that run wgroam, if any does: "r1", "r2"."""
        self.lab = lab
        self.narrate = lab.narrate
        self.settings = settings
        self.wgroam_on = wgroam_on if settings.with_ == "wgroam" else ()
        self.daemons = {}
        self.details = {}
        self.problems = []
        self.initiation = None
        topology = self.topology_of(lab, settings.wireguard)
        self.topology = topology
        self.lan, self.r1, self.nat = topology.lan, topology.r1, topology.nat
        self.inet, self.r2, self.h6, self.attacker = topology.inet, topology.r2, topology.h6, topology.attacker
        self.from_lan = Prober(self.lan, FAR_HOST)
        self.from_h6 = Prober(self.h6, LAN_HOST)

    def close(self):
        """Closes what the end of the namespaces does not."""
        self.from_lan.close()
        self.from_h6.close()

    def check(self, good, problem):
        """A scenario is ok when all it checks is good."""
        if not good:
            self.problems.append(problem)

    def begin(self, **options):
        """The tunnel works, and wgroam, where the scenario has it, knows it. `options`: of R1's peer, for its wgroam."""
        with Tap(self.r2, "wan", PORT) as tap:
            self.topology.bring_tunnel_up()
            self.initiation = tap.wait_for(INITIATION, INITIATION_LENGTH, UP_SECONDS)
            if self.initiation is None:
                raise LabError(f"R1 does not call R2: no handshake initiation within {UP_SECONDS} s")
        if self.from_lan.silence(UP_SECONDS) is None:
            raise LabError(f"the tunnel does not come up: no answer from h6 within {UP_SECONDS} s")
        for name in self.wgroam_on:
            router = getattr(self, name)
            self.start_wgroam(name, roamer_config(router, **options) if name == "r1" else anchor_config(router))
            self.daemons[name].news()
        self.start_rival(f"{R2_ADDRESS}:{PORT}")
        self.ready()

    def start_wgroam(self, name, config):
        """wgroam runs on that router, with this configuration or, when it ran there before, its old one."""
        if name not in self.daemons:
            self.daemons[name] = Wgroam(getattr(self, name), self.settings.wgroam, config)
        self.daemons[name].start()
        self.narrate(f"wgroam runs on {name.upper()}")

    def start_rival(self, endpoint):
        """If we play with a rival, it now runs on R1."""
        if self.settings.with_ in RIVALS:
            first = RIVALS[self.settings.with_](self.r1, endpoint)
            self.narrate(f"{self.settings.with_} runs on R1, first in {first:.0f} s")

    def ready(self):
        """The tunnel works and gets as old as it shall be; then the scenario may begin."""
        if self.settings.age:
            self.narrate(f"{self.settings.age:.0f} s pass")
        self.pass_time(self.settings.age, time.sleep)
        self.details["endpoint_before"] = self.r2.endpoint()
        self.lab.disturbed_at = None
        self.narrate(f"R2 sees R1 at {self.details['endpoint_before']}")

    def pass_time(self, seconds, wait):
        """Calls `wait` with so many seconds. Others may set up meanwhile; when one still does, it takes a little longer."""
        if seconds > 0:
            self.lab.gate.release()
            wait(seconds)
        if self.settings.with_ == "wgroam":
            self.lab.gate.measure(wait)
        else:  # it is slow: a few tenths of a second don't matter
            self.lab.gate.release()

    def idle(self):
        """Traffic ends, and what was sent is acknowledged: a tunnel that nothing will notice the loss of for 25 s.

        The last echo reply is data that R2's WireGuard acknowledges by a keepalive 10 s later; without that R1 would
        shake hands anew after 15 s. This keepalive starts R1's own 25 s again."""
        if self.from_h6.silence(20) is None:
            raise LabError("the tunnel was lost before anything happened to it")
        with Tap(self.r2, "wan", PORT) as tap:
            if tap.wait_for(DATA, KEEPALIVE_LENGTH, 30) is None:
                raise LabError("the tunnel does not become idle: no keepalive seen")
        self.narrate(f"the tunnel is idle: a keepalive has just passed, R1's next one is {KEEPALIVE} s away")

    def silence(self, prober, who, limit=None, until=lambda: True):
        """Seconds from the disturbance (now, if nothing was disturbed) until `prober` has an answer through the tunnel,
        and `until` is true; None when that takes longer than `limit` (None: the scenario's)."""
        limit = limit or self.settings.limit
        self.narrate(f"{who} sends")
        if self.settings.with_ == "wgroam":
            self.lab.gate.share()
        else:
            self.lab.gate.release()
        opener = threading.Timer(SHARP, self.lab.gate.release)
        opener.daemon = True
        opener.start()
        seconds = prober.silence(limit, self.lab.disturbed_at, until)
        opener.cancel()
        for name, daemon in self.daemons.items():
            for line in daemon.news():
                self.narrate(f"wgroam on {name.upper()} says: {line}")
        if seconds is None:
            self.narrate(f"no answer within {limit:.0f} s")
        else:
            self.narrate(f"the first answer came after {seconds:.2f} s")
        self.look()
        return seconds

    def flood(self):
        """The attacker's packets against R2: a Flood, to be entered."""
        return Flood(self.attacker, self.r2, self.r1, self.initiation, self.settings)

    def strangers(self, wanted, seconds):
        """What wgroam on R2 says of strangers, by verdict, as soon as all the wanted verdicts are there, or in the end."""
        deadline = time.monotonic() + seconds
        while True:
            device = self.daemons["r2"].device() or {}
            reports = {report["verdict"]: report for report in device.get("strangers", [])}
            if wanted <= reports.keys() or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        for report in reports.values():
            self.narrate(f"wgroam on R2 says: {report['source']} {report['text']}")
        self.daemons["r2"].news()  # its log has said the same
        self.details["strangers"] = list(reports.values())
        return reports

    def look(self):
        """Notes what WireGuard and wgroam say at the end."""
        self.details["endpoint_after"] = self.r2.endpoint()
        for name, daemon in self.daemons.items():
            self.details[f"wgroam_{name}"] = {
                "rss_kb": daemon.rss_kb(),
                "anonymous_kb": daemon.rss_kb("RssAnon"),
                "cpu_s": daemon.cpu_s(),
                "peer": daemon.peer(),
            }

    def logs(self):
        """The ends of wgroam's logs."""
        return {name: daemon.log_tail() for name, daemon in self.daemons.items()}
