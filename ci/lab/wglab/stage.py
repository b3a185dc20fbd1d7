# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario plays on: the topology, wgroam on the routers where the scenario has it, and the moves all stories share."""
import time
from dataclasses import dataclass
from pathlib import Path

from .flood import Flood
from .lab import LabError
from .prober import Prober
from .tap import DATA, INITIATION, INITIATION_LENGTH, KEEPALIVE_LENGTH, Tap
from .topology import FAR_HOST, KEEPALIVE, LAN_HOST, PORT, Topology
from .wgroam import Wgroam


@dataclass
class Settings:
    """How a scenario is played."""

    wireguard: str  # "userspace" or "kernel"
    with_: str  # "wgroam" or "nothing"
    wgroam: Path  # the binary
    hostile: Path  # the example that sends hostile packets
    limit: float  # seconds after which a silence counts as never
    packets: int  # how many hostile packets
    rate: int  # hostile packets per second


class Stage:
    """One scenario's nodes and daemons. Close it: its sockets hold namespaces alive."""

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
        topology = Topology(lab, settings.wireguard)
        self.topology = topology
        self.lan, self.r1, self.nat = topology.lan, topology.r1, topology.nat
        self.r2, self.h6, self.attacker = topology.r2, topology.h6, topology.attacker
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

    def begin(self):
        """The tunnel works, and wgroam, where the scenario has it, knows it."""
        with Tap(self.r2, "wan", PORT) as tap:
            self.topology.bring_tunnel_up()
            self.initiation = tap.wait_for(INITIATION, INITIATION_LENGTH, 10)
            if self.initiation is None:
                raise LabError("R1 does not call R2: no handshake initiation within 10 s")
        if self.from_lan.silence(20) is None:
            raise LabError("the tunnel does not come up: no answer from h6 within 20 s")
        for name in self.wgroam_on:
            daemon = Wgroam(getattr(self, name), self.settings.wgroam)
            self.daemons[name] = daemon
            daemon.start()
            daemon.news()
            self.narrate(f"wgroam runs on {name.upper()}")
        self.details["endpoint_before"] = self.r2.endpoint()
        self.lab.disturbed_at = None
        self.narrate(f"R2 sees R1 at {self.details['endpoint_before']}")

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

    def silence(self, prober, who):
        """Seconds from the disturbance (now, if nothing was disturbed) until `prober` has an answer through the tunnel;
        None when it takes too long."""
        self.narrate(f"{who} sends")
        seconds = prober.silence(self.settings.limit, self.lab.disturbed_at)
        for name, daemon in self.daemons.items():
            for line in daemon.news():
                self.narrate(f"wgroam on {name.upper()} says: {line}")
        if seconds is None:
            self.narrate(f"no answer within {self.settings.limit:.0f} s")
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
                "cpu_s": daemon.cpu_s(),
                "peer": daemon.peer(),
            }

    def logs(self):
        """The ends of wgroam's logs."""
        return {name: daemon.log_tail() for name, daemon in self.daemons.items()}
