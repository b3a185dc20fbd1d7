# SPDX-License-Identifier: GPL-2.0-only
"""The hostile packets: forged, replayed and random ones, made by the crate's example `hostile`."""
import json
import os

from .lab import LabError
from .topology import PORT, R2_ADDRESS


class Flood:
    """The attacker knows both public keys and has recorded R1's first initiation. Runs within a `with` block."""

    def __init__(self, attacker, server, peer, initiation, settings):
        if not os.access(settings.hostile, os.X_OK):
            raise LabError(f"there is no {settings.hostile}; 'cargo build --release --example hostile' makes it")
        self.attacker = attacker
        self.settings = settings
        self.output = attacker.lab.folder / "hostile.json"
        recorded = attacker.lab.folder / "recorded"
        recorded.write_bytes(initiation)
        self.command = [settings.hostile, "--to", f"{R2_ADDRESS}:{PORT}"]
        self.command += ["--server-key", server.keys.public, "--peer-key", peer.keys.public]
        self.command += ["--count", settings.packets, "--rate", settings.rate, "--replay", recorded]
        self.report = {}

    def __enter__(self):
        self.attacker.lab.narrate(
            f"the attacker sends {self.settings.packets} forged, replayed and random packets to R2, "
            f"{self.settings.rate} a second"
        )
        with open(self.output, "wb") as output:
            self.process = self.attacker.start(*self.command, stdout=output, stderr=output)
        return self

    def goes_on(self):
        """False once all packets are sent."""
        return self.process.poll() is None

    def __exit__(self, kind, *_):
        self.process.kill()
        self.process.wait()
        text = self.output.read_text(errors="replace").strip()
        try:
            self.report = json.loads(text.splitlines()[-1])
        except (json.JSONDecodeError, IndexError):
            if kind is None:
                raise LabError(f"hostile failed: {text or 'it said nothing'}") from None
