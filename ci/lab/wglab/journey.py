# SPDX-License-Identifier: GPL-2.0-only
"""What the stories of the travelling side play on: a stage with a name server, where R1 begins with the name of R2 only."""
import random
import socket
import time

from .internet import HOME
from .lab import UP_SECONDS, LabError
from .stage import Stage
from .tap import Tap
from .topology import FAR_HOST, PORT, R2_ADDRESS
from .wgroam import anchor_config, roamer_config

AT_HOME = f"{HOME}:{PORT}"
REKEY_TIMEOUT = 5  # seconds between two handshake attempts (whitepaper, 6.1)
TCP_PORT = 80  # what h6 serves
R1_LAN, DISCARD_PORT = "192.168.1.1", 9
PATIENCE = 0.25  # seconds: whoever connects hangs, if there is no answer by then
ERRORS_APART = 1.2  # seconds: the kernel sends a host one ICMPv6 error a second (net.ipv6.icmp.ratelimit)


class Journey(Stage):
    """A stage where R1 is a road warrior: its interface has no endpoint, and who runs on R1 finds one."""

    def prepare(self, *endpoints, full=False, tunnel=None, **options):
        """Both interfaces are up, and R1's does not know where R2 is. `endpoints`: the candidates, best first; only wgroam
        takes more than one. `full`: all IPv4 goes into the tunnel. `tunnel` and `options`: for wgroam's configuration."""
        self.endpoints = endpoints or (AT_HOME,)
        self.inet.start_dns()
        self.r1.use_dns()
        self.topology.bring_interfaces_up(full)
        self.config = roamer_config(self.r1, self.endpoints, tunnel, **options)

    def call_home(self):
        """R1 begins to look for R2: wgroam does, or the first candidate's name is resolved once, as OpenWrt's handler does
        when the interface is set up; `wg` itself tries for some 72 s."""
        self.lab.disturb()
        if "r2" in self.wgroam_on and "r2" not in self.daemons:
            self.start_wgroam("r2", anchor_config(self.r2))
        if "r1" in self.wgroam_on:
            self.start_wgroam("r1", self.config)
        else:
            self.r1.start("wg", "set", self.r1.device.name, "peer", self.r1.peer, "endpoint", self.endpoints[0])
            self.narrate(f"R1 sets {self.endpoints[0]} as its endpoint, once")

    def arrive(self):
        """The tunnel works by the first candidate."""
        self.call_home()
        self.lab.gate.release()  # up to 5 s may pass now
        if self.from_lan.silence(UP_SECONDS) is None:
            raise LabError(f"the tunnel does not come up: no answer from h6 within {UP_SECONDS} s")
        for daemon in self.daemons.values():
            daemon.news()
        self.narrate("the tunnel works")
        self.start_rival(self.endpoints[0])
        self.ready()

    def set_out(self, *endpoints, **options):
        """The name means R2, and the tunnel works."""
        self.prepare(*endpoints, **options)
        self.inet.point_name(HOME, R2_ADDRESS)
        self.arrive()

    def endure(self):
        """The trouble lasts, while the LAN pings once a second. Nothing may get through. It ends at any moment between two
        calls of R1's WireGuard."""
        lasts = self.settings.lasts + random.uniform(0, REKEY_TIMEOUT)
        self.narrate(f"the LAN pings for {lasts:.0f} s in vain")
        answered = 0

        def ping(seconds):
            nonlocal answered
            answered += self.from_lan.stream(seconds, interval=1)[1]

        self.pass_time(lasts, ping)
        self.check(answered == 0, f"{answered} pings were answered that could not be: the lab is broken")

    def first_uplink(self, prober, who):
        """As silence(), until answers come through R1's first uplink."""
        with Tap(self.r1, "wan", PORT, replies_only=True) as tap:
            return self.silence(prober, who, until=lambda: tap.next(0.001) is not None)

    def serve(self):
        """h6 answers TCP connections; returns a socket to be closed.

        The LAN's cable gets slow: in namespaces a refusal comes back while connect() still sends, and then the kernel
        takes no notice of it before it sends again, a second later (tcp_v6_err, sock_owned_by_user). No real cable is as
        fast as that."""
        self.lan.run(*"tc qdisc add dev eth0 root tbf rate 10mbit burst 1600 latency 100ms".split())
        with self.h6.entered():
            listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.bind(("::", TCP_PORT))
        listener.listen(64)
        return listener

    def connect(self, patience):
        """A computer in the LAN connects to h6; returns what it gets ("connected", "refused" or "nothing") and in how many
        seconds."""
        with self.lan.entered():
            client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            filler = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client, filler:
            client.settimeout(patience)
            # What the cable takes at once; the connection has to wait a millisecond behind it.
            for _ in range(2):
                filler.sendto(bytes(1400), (R1_LAN, DISCARD_PORT))
            begun = time.monotonic()
            try:
                client.connect((FAR_HOST, TCP_PORT))
                outcome = "connected"
            except TimeoutError:
                outcome = "nothing"
            except OSError:
                outcome = "refused"
            return outcome, time.monotonic() - begun

    def refused(self):
        """Once the LAN's connections are refused: how many seconds that takes, the median of three. None when they are not
        within the limit. When the first one was refused is `refused_after_s`."""
        self.narrate("a computer in the LAN connects again and again")
        self.lab.gate.release()
        times = []
        deadline = self.lab.disturbed_at + self.settings.limit
        while len(times) < 3 and time.monotonic() < deadline:
            outcome, seconds = self.connect(PATIENCE)
            if outcome != "refused":
                times.clear()
                continue
            if "refused_after_s" in self.details:
                times.append(seconds)
                self.narrate(f"refused after {1000 * seconds:.1f} ms")
            else:
                self.details["refused_after_s"] = round(time.monotonic() - self.lab.disturbed_at, 1)
                self.narrate(f"refused for the first time, {self.details['refused_after_s']} s after R2 was gone")
                waiting = time.monotonic()
                self.lab.gate.alone()  # milliseconds count from here on
                deadline += time.monotonic() - waiting
            time.sleep(ERRORS_APART)
        self.lab.gate.release()
        return sorted(times)[1] if len(times) == 3 else None
