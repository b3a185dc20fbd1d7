# SPDX-License-Identifier: GPL-2.0-only
"""The stories of an onlooker who has recorded R1's calls and plays them again, and of calls that R2 takes for that."""
import contextlib
import functools
import socket
import threading
import time

from .lab import UP_SECONDS, LabError
from .scenarios import scenario
from .stage import Stage
from .tap import INITIATION, INITIATION_LENGTH, RESPONSE, RESPONSE_LENGTH, Tap
from .topology import KEEPALIVE, PORT, R2_ADDRESS
from .wgroam import anchor_config

CALLED_WITHIN = 40  # seconds: R2's WireGuard calls 15 s after what nobody answered
ASKED_EACH = 0.2  # seconds: h6 sends
PAUSES = (14, 2)  # seconds before each of the others: what comes within 10 s of a call may count as part of it
DAY = 86400
NEVER = 240  # seconds, as in the journeys
BELIEVED_IN = 2  # seconds: wgroam has looked whether WireGuard took a call, and remembers it
WATCHED_FOR = 3  # seconds after the last one


class Recorded(Stage):
    """R1's calls are overheard, and none of them is known to wgroam."""

    def record(self, times):
        """R1's interface is made anew, so often; returns the initiations that were overheard."""
        calls = []
        for _ in range(times):
            with Tap(self.r2, "wan", PORT) as tap:
                self.r1.start_anew()
                self.r1.device.set_keepalive(self.r1.peer, KEEPALIVE)
                calls.append(tap.wait_for(INITIATION, INITIATION_LENGTH, UP_SECONDS))
            if calls[-1] is None or self.from_lan.silence(UP_SECONDS) is None:
                raise LabError("R1 does not call R2")
        self.narrate(f"somebody has recorded {times} calls of R1's")
        return calls

    def play(self, recording):
        """The attacker sends it to R2, each time from another port."""
        with self.attacker.entered():
            attacker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with attacker:
            attacker.sendto(recording, (R2_ADDRESS, PORT))

    def watch(self, seconds):
        """R2's WireGuard must have R1 where R1 is, all that time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.hold()
            time.sleep(0.1)

    def play_while_called(self, recordings):
        """R1 has lost its session, so that R2 calls it; the attacker plays one recording at that moment, and others later, when
        nobody sends any more: an answer to the LAN would tell wgroam that R1 is where it was."""
        self.r1.interface["endpoint"] = None
        with self.sending(self.from_h6), Tap(self.r2, "wan", PORT) as tap:
            self.r1.start_anew()
            self.narrate("R1 has lost its session, and waits to be called; R2's side sends")
            if tap.wait_for(INITIATION, INITIATION_LENGTH, CALLED_WITHIN) is None:
                raise LabError(f"R2 does not call R1 within {CALLED_WITHIN} s")
            self.play(recordings[0])
        self.narrate("R2 calls R1, and at that moment the attacker plays a recording")
        for pause, recording in zip(PAUSES, recordings[1:]):
            self.watch(pause)
            self.play(recording)
            self.narrate("the attacker plays a recording")
        self.watch(WATCHED_FOR)

    def hold(self):
        """R2's WireGuard has R1 where it was."""
        now, before = self.r2.endpoint(), self.details["endpoint_before"]
        if now != before and not self.problems:
            self.narrate(f"R2 has R1 at {now}, where it is not")
        self.check(now == before or bool(self.problems), f"R2's WireGuard has R1 at {now}, not at {before}")

    def call_ahead(self, seconds):
        """R1 calls R2 once, by a clock that is so many seconds ahead, and R2's WireGuard takes that."""
        key = self.lab.folder / "r1.key"
        key.write_text(self.r1.keys.private + "\n")
        command = [self.settings.hostile, "--private-key", key, "--ahead", seconds, "--port", PORT]
        with Tap(self.r2, "wan", PORT) as tap:
            self.r1.run(*command, "--to", f"{R2_ADDRESS}:{PORT}", "--server-key", self.r2.keys.public)
            if tap.wait_for(RESPONSE, RESPONSE_LENGTH, UP_SECONDS) is None:
                raise LabError("R2 does not answer a call by a clock that is ahead")
        self.narrate(f"R1 has called by a clock that is {seconds} s ahead, and R2 has taken that")
        time.sleep(BELIEVED_IN)

    @contextlib.contextmanager
    def sending(self, prober):
        """Somebody sends within the block."""
        over = threading.Event()

        def send():
            while not over.is_set():
                prober.stream(ASKED_EACH, ASKED_EACH)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


record_story = functools.partial(scenario, wgroam_on=("r2",), limit=10, reach=1, stage=Recorded, journey=True, bench=False)


@record_story("recordings")
def recordings(stage):
    """An attacker plays old calls of R1's while R2 calls R1 itself; the endpoint must not move."""
    stage.topology.bring_tunnel_up()
    calls = stage.record(1 + len(PAUSES) + 1)
    if "r2" in stage.wgroam_on:
        stage.start_wgroam("r2", anchor_config(stage.r2))
    stage.ready()
    stage.play_while_called(calls)
    return held(stage)


@record_story("recordings-while-stopped")
def recordings_while_stopped(stage):
    """As recordings, of calls that wgroam on R2 has missed: it was stopped, and its state file knows an older one."""
    stage.begin()
    stage.record(1)
    time.sleep(BELIEVED_IN)
    for daemon in stage.daemons.values():
        daemon.stop()
    calls = stage.record(3)
    for daemon in stage.daemons.values():
        daemon.start()
    stage.ready()
    for recording in calls[:-1]:  # the last one is the session's that lives
        stage.play(recording)
        stage.narrate("the attacker plays a recording")
        stage.watch(WATCHED_FOR)
    return held(stage)


@scenario("clock-refused", wgroam_on=("r2",), limit=NEVER, reach=10, stage=Recorded, journey=True)
def clock_refused(stage):
    """R1 reboots, and R2 takes its calls for replays, as R1's clock is a day behind its last call; R1 sends."""
    # Its clock was ahead before and is right now: for R2 that is the same, and this machine has one clock only.
    stage.topology.bring_tunnel_up()
    if stage.from_lan.silence(UP_SECONDS) is None:
        raise LabError("the tunnel does not come up")
    stage.r1.device.delete()
    stage.r2.expire_sessions()
    if "r2" in stage.wgroam_on:
        stage.start_wgroam("r2", anchor_config(stage.r2))
    stage.call_ahead(DAY)
    stage.ready()
    stage.r1.come_back()
    stage.r1.device.set_keepalive(stage.r1.peer, KEEPALIVE)
    stage.narrate("R1 is there again; its clock is a day behind what R2 knows")
    seconds = stage.silence(stage.from_lan, "R1's side")
    stage.hold()
    return seconds


def held(stage):
    """The endpoint never moved, and the tunnel works."""
    for daemon in stage.daemons.values():
        peer = daemon.peer() or {}
        before = stage.details["endpoint_before"]
        stage.check(peer.get("endpoint") == before, f"wgroam says that R1 is at {peer.get('endpoint')}, not {before}")
        stage.check(peer.get("moves") == 0, f"wgroam counts {peer.get('moves')} moves")
    stage.lab.disturbed_at = None
    return stage.silence(stage.from_h6, "R2's side")
