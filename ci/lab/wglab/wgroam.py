# SPDX-License-Identifier: GPL-2.0-only
"""The daemon on one router."""
import json
import os
import subprocess
import time
from pathlib import Path

from .lab import UP_SECONDS, LabError
from .topology import PORT, R2_ADDRESS

GLOBALS = """
config wgroam 'globals'
	option log_level 'info'
"""


def anchor_config(router):
    """R2's: it waits for its peer."""
    return GLOBALS + section("tunnel", "wgr") + section("peer", "roamer", tunnel="wgr", public_key=router.peer)


def roamer_config(router, endpoints=(f"{R2_ADDRESS}:{PORT}",), tunnel=None, **options):
    """R1's: it chases its peer by these candidates. `tunnel` and `options`: more options of the tunnel and the peer."""
    home = {"tunnel": "wgr", "public_key": router.peer, "endpoint": endpoints, "keepalive": "25", **options}
    return GLOBALS + section("tunnel", "wgr", **(tunnel or {})) + section("peer", "home", **home)


def network_config(router, host, **interface):
    """As `uci export` prints it where package network says all: the peer has this endpoint_host, and the interface these options."""
    peer = {"public_key": router.peer, "endpoint_host": host, "endpoint_port": PORT, "persistent_keepalive": 25}
    network = section("interface", "wgr", proto="wireguard", **interface) + section("wireguard_wgr", "other", **peer)
    return GLOBALS + "\npackage network\n" + network


def section(kind, name, **options):
    """A UCI section; a tuple becomes a list."""
    lines = [f"config {kind} '{name}'"]
    for option, value in options.items():
        if isinstance(value, tuple):
            lines += [f"\tlist {option} '{entry}'" for entry in value]
        else:
            lines.append(f"\toption {option} '{value}'")
    return "\n" + "\n".join(lines) + "\n"


class Wgroam:
    """wgroam as a person would run it; its state file outlives `stop`."""

    def __init__(self, router, binary, config):
        """`config`: the text of /etc/config/wgroam."""
        if not os.access(binary, os.X_OK):
            raise LabError(f"there is no {binary}; 'make build' makes it, --wgroam names another")
        self.router = router
        self.binary = binary
        folder = router.lab.folder
        self.runtime = folder / f"{router.node}.wgroam"
        self.state = folder / f"{router.node}.state"
        self.config = folder / f"{router.node}.config"
        self.log = folder / f"{router.node}.log"
        self.config.write_text(config)
        self.process = None
        self.heard = 0

    def spawn(self, *under):
        """Starts it and does not wait. `under`: words of a command that runs it in its own process."""
        with open(self.log, "ab") as log:
            self.process = self.router.start(
                *under,
                self.binary,
                *("--runtime-dir", self.runtime),
                *("run", "--foreground", "--config", self.config, "--state", self.state),
                stderr=log,
            )

    def start(self):
        """Starts it and waits until it answers and sees the peer."""
        self.spawn()
        self.wait_until_up()

    def wait_until_up(self):
        """Waits until it answers and sees the peer."""
        deadline = time.monotonic() + UP_SECONDS
        while self.peer() is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"wgroam on {self.router.node} does not come up:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self):
        """Ends it as procd does, which kills what takes longer."""
        self.process.terminate()
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            raise LabError(f"wgroam on {self.router.node} does not stop within 5 s:\n{self.log_tail()}") from None
        if code != 0:
            raise LabError(f"wgroam on {self.router.node} stopped with exit code {code}:\n{self.log_tail()}")

    def kill(self):
        """Ends it as a crash does: it can do nothing more."""
        self.process.kill()
        self.process.wait()

    def status(self):
        """What `wgroam status --json` says; None while nobody answers."""
        text = self.router.run(self.binary, "--runtime-dir", self.runtime, "status", "--json", check=False)
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return None

    def device(self):
        """What status says of the tunnel's interface."""
        for device in (self.status() or {}).get("devices", []):
            if device["interface"] == self.router.device.name:
                return device
        return None

    def peer(self):
        """What status says of the other router."""
        for peer in (self.device() or {}).get("peers", []):
            if peer["public_key"] == self.router.peer:
                return peer
        return None

    def rss_kb(self, what="VmRSS"):
        """Resident memory in KB; `RssAnon`: of it what no file backs."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1])
        raise LabError("wgroam is gone:\n" + self.log_tail())

    def cpu_s(self):
        """CPU time used so far, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def news(self):
        """The lines of its log since the last call, without the prefix that a log needs and a story does not."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        new, self.heard = lines[self.heard :], len(lines)
        return [line.removeprefix("wgroam: ").removeprefix("info: ") for line in new]

    def log_tail(self, lines=30):
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])
