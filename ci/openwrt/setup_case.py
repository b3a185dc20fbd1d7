# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of wgroam-setup start from: two routers with a stock configuration, one at home and one that travels,
with the real uci, and a wg whose keys are the same in every run."""

import json
import os
import shutil
import stat
import unittest

from scratch import HERE, Root

PACKAGES = ("network", "firewall", "dhcp", "wgroam")
STOCK = HERE / "stock"
RELEASES = ("24.10", "25.12")
STORE = "etc/wgroam-setup"
ANCHOR = ("anchor", "--host", "home.example.net", "--prefix", "2001:db8:1200::/56")
SERVICES = ("network", "firewall", "odhcpd", "wgroam")


def dump(*interfaces):
    """What `ubus call network.interface dump` tells."""
    return json.dumps({"interface": list(interfaces)})


def delegated(prefix, **assigned):
    """netifd's interfaces with a prefix from the provider, and LANs that have parts of it."""
    address, length = prefix.split("/")
    found = [{"interface": "wan6", "l3_device": "wan", "ipv6-prefix": [{"address": address, "mask": int(length)}]}]
    for name, part in assigned.items():
        address, length = part.split("/")
        found.append({"interface": name, "ipv6-prefix-assignment": [{"address": address, "mask": int(length)}]})
    return dump(*found)


class Router(Root):
    """A router as it comes out of the box, with wgroam and wireguard-tools installed."""

    def __init__(self, release="25.12"):
        super().__init__()
        for name in ("network", "firewall", "dhcp"):
            self.write(f"etc/config/{name}", (STOCK / release / name).read_text(), 0o600)
        shutil.copy(HERE / "stand-in/wg", self.path / "usr/bin/wg")
        # A link's addresses are random: not here.
        self.write("dev/urandom", "wgroam--" * 8)
        for name in SERVICES:
            self.write(f"etc/init.d/{name}", f'#!/bin/sh\necho "{name} $*" >> /tmp/services\n', 0o755)

    def setup(self, *words, stdin="", **environment):
        """wgroam-setup, to its end."""
        return self.run("/usr/sbin/wgroam-setup", *words, stdin=stdin, **environment)

    def must(self, *words, stdin=""):
        """wgroam-setup, which has to succeed; gives what it printed."""
        ran = self.setup(*words, stdin=stdin)
        assert ran.returncode == 0, f"{words}: exit code {ran.returncode}: {ran.stderr}"
        return ran.stdout

    def files(self):
        """The bytes and modes of everything below /etc that a command could change."""
        found = {}
        for folder in ("etc/config", STORE):
            for path in sorted((self.path / folder).rglob("*")):
                found[str(path.relative_to(self.path))] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        return found

    def configuration(self):
        """The bytes of the four files."""
        return {name: (self.path / "etc/config" / name).read_bytes() for name in PACKAGES}

    def services(self):
        """What was told to services so far, which is forgotten."""
        path = self.path / "tmp/services"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def left_over(self):
        """Files that should not have stayed anywhere in memory."""
        return [name for name in os.listdir(self.path / "tmp") if name.startswith("wgroam-setup")]


class SetupCase(unittest.TestCase):
    """With a router at home, and one that travels on demand."""

    release = "25.12"

    def router(self, release=None):
        """One more."""
        made = Router(release or self.release)
        self.addCleanup(made.close)
        return made

    def invitation(self, home=None, *words):
        """A line of a router at home."""
        home = home or self.router()
        home.must(*ANCHOR)
        return home.must("invite", "r1", *words).rstrip("\n")
