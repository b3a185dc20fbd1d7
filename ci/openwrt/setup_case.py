# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of wgroam-setup start from: two routers with a stock configuration, one at home and one that travels,
with the real uci, and a wg whose keys are the same in every run."""

import json
import os
import shutil
import stat
import unittest

from scratch import HERE, Root
from wglab.lab import LabError, remove_namespace
from wglab.namespace import CLONE_NEWNET, Namespace, call
from wglab.openwrt.bell import Bell, answer
from wglab.openwrt.netifd import Netifd

PACKAGES = ("network", "firewall", "dhcp", "wgroam")
STOCK = HERE / "stock"
RELEASES = ("24.10", "25.12", "main")
FILES = {"main": "25.12"}  # whose stock files a release has, if not its own
SETUP_SECONDS = 0.02  # that netifd takes to set an interface up
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


class Place:
    """What a namespace of wglab's is made in."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.namespaces = []

    def namespace_name(self, node):
        """One that nobody else has."""
        self.namespaces.append(f"{node}-{self.folder.name.rpartition('.')[2]}")
        return self.namespaces[-1]

    def close(self):
        """Ends what runs there."""
        for process in self.processes:
            process.kill()
            process.wait()
        for name in self.namespaces:
            remove_namespace(name)


class Router(Root):
    """A router as it comes out of the box, with wgroam and wireguard-tools installed, in a network of its own, with a netifd of
    its release's, which has not been started yet."""

    def __init__(self, release="25.12", delegated=None):
        """`delegated`: the prefix that the provider gives to wan6."""
        super().__init__()
        for name in ("network", "firewall", "dhcp"):
            self.write(f"etc/config/{name}", (STOCK / FILES.get(release, release) / name).read_text(), 0o600)
        shutil.copy(HERE / "stand-in/wg", self.path / "usr/bin/wg")
        # A link's addresses are random: not here.
        self.write("dev/urandom", "wgroam--" * 8)
        for name in SERVICES:
            tell = f'exec /sbin/tell {name} "$@"' if name == "network" else ""
            self.write(f"etc/init.d/{name}", f'#!/bin/sh\necho "{name} $*" >> /tmp/services\n{tell}\n', 0o755)
        self.place = Place(self.path)
        self.namespace = Namespace(self.place, "router")
        # wireguard-go's, wg's and ours.
        self.namespace.sockets = self.path / "tmp/run/wireguard"
        self.namespace.sockets.mkdir()
        given = {"wan6": delegated} if delegated else {}
        self.netifd = Netifd(self.namespace, self, "userspace", given, release, strict=False, delay=SETUP_SECONDS)
        self.bell = Bell(self, self._do)

    def _do(self, service, action, *words):
        if (service, action) == ("network", "reload"):
            self.netifd.reload()
        elif service == "netifd":
            answer(self.netifd, action, *words)
        else:
            raise LabError(f"there is no meaning for {service} {action}")

    def enter(self):
        """In a child: into the router's network."""
        there = os.open(f"/run/netns/{self.namespace.name}", os.O_RDONLY)
        call("setns", there, CLONE_NEWNET)
        os.close(there)

    def boot(self):
        """netifd starts, and everything is up that can be."""
        self.netifd.reload()
        self.netifd.settled()

    def close(self):
        self.bell.close()
        self.netifd.close()
        self.place.close()
        super().close()

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

    def router(self, release=None, **options):
        """One more."""
        made = Router(release or self.release, **options)
        self.addCleanup(made.close)
        return made

    def invitation(self, home=None, *words):
        """A line of a router at home."""
        home = home or self.router()
        home.must(*ANCHOR)
        return home.must("invite", "r1", *words).rstrip("\n")
