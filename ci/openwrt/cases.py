# SPDX-License-Identifier: GPL-2.0-only
"""What the tests start from: a scratch root, a service that was started in it, a daemon that runs."""
import os
import subprocess
import unittest

from samples import NETWORK, WGROAM
from scratch import USER, Root, wait

ASKED = "asked by a signal"  # in the daemon's log, at level debug


class Case(unittest.TestCase):
    """With a root of its own."""

    ujail, user = True, True

    def setUp(self):
        self.root = Root(self.ujail, self.user)
        self.addCleanup(self.root.close)

    def start(self, wgroam=WGROAM, network=NETWORK):
        """Starts with these; gives the instances."""
        self.root.config(wgroam, network)
        ran = self.root.init("start")
        self.assertFalse((self.root.path / "canary").exists(), "a value reached a shell")
        self.assertEqual(self.left_over(), [])
        self.said = ran.stderr
        return self.root.instances()

    def methods(self):
        """What procd was asked for, in its words."""
        return [method for method, _ in self.root.told()]

    def left_over(self):
        """Files that should not have stayed in /var/run."""
        names = os.listdir(self.root.path / "tmp/run")
        return [name for name in names if name not in ("wgroam", "wireguard")]

    def pretend_running(self):
        """A socket, as the daemon has one."""
        path = self.root.path / "tmp/run/wgroam/control.sock"
        subprocess.run(["python3", "-c", f"import socket; socket.socket(1, 1).bind('{path}')"], check=True)
        os.chown(path, USER, USER)


class Running(Case):
    """With a daemon that runs as procd would run it."""

    wgroam = WGROAM

    def setUp(self):
        super().setUp()
        self.process = self.root.daemon(self.start(self.wgroam)["daemon"])
        # The first look is over.
        wait("an answer", lambda: "wgroam 0" in self.status().stdout)

    def interface(self, name, port):
        """A WireGuard interface over a wireguard-go of the daemon's user: the daemon has to open its socket. With the
        kernel's WireGuard it speaks generic netlink, which takes the capability for it. Gives its public key."""
        folder = self.root.path / "tmp/run/wireguard"
        if not folder.exists():
            folder.mkdir()
            os.chown(folder, USER, USER)
            (self.root.path / "dev/net").mkdir()
            os.mknod(self.root.path / "dev/net/tun", 0o666 | 0o020000, os.makedev(10, 200))
            os.chmod(self.root.path / "dev/net/tun", 0o666)
        who = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        may = ["--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin"]
        self.root.spawn(["/test/wireguard-go", "-f", name], ["/test/setpriv", *who, *may])
        wait("wireguard-go", (folder / f"{name}.sock").exists)
        self.addCleanup(subprocess.run, ["ip", "link", "del", name], capture_output=True, check=False)
        key = subprocess.run(["wg", "genkey"], capture_output=True, check=True, text=True).stdout
        self.root.write("tmp/key", key, 0o600)
        self.wg(name, "private-key", "/tmp/key", "listen-port", str(port))
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        return subprocess.run(["wg", "pubkey"], input=key, capture_output=True, check=True, text=True).stdout.strip()

    def wg(self, *words):
        """`wg set`."""
        self.root.run("/test/wg", "set", *words, check=True)

    def tunnel(self):
        """The interface wgr, and a peer of it that calls. Gives the peer's public key."""
        ours, theirs = self.interface("wgr", 51820), self.interface("far", 51821)
        self.wg("wgr", "peer", theirs, "allowed-ips", "fd00:99::2/128")
        self.wg("far", "peer", ours, "endpoint", "127.0.0.1:51820", "persistent-keepalive", "1")
        return theirs

    def status(self):
        """`wgroam status`, as root."""
        return self.root.run("/usr/sbin/wgroam", "status")

    def asked(self):
        """How often it was asked to look at everything again."""
        return len(self.root.log.times(ASKED))
