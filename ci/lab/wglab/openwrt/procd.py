# SPDX-License-Identifier: GPL-2.0-only
"""procd in miniature: what init scripts and `ubus call network` of a router do. They are stand-ins that tell the lab by a pipe
and wait for its answer; wgroam's own init script is the package's, and what it told procd is done here."""
import os
import threading

from ..lab import LabError
from .fw4 import Firewall
from .netifd import Netifd
from .odhcpd import Odhcpd

# Asks the lab for something, and is done when the lab is.
TELL = """#!/bin/sh
exec 9> /tmp/lab.lock
flock 9
echo "$*" > /tmp/lab.asked
read -r answer < /tmp/lab.answer
[ "$answer" = done ] || { echo "$answer" >&2; exit 1; }
"""
SERVICES = ("network", "firewall", "odhcpd", "dnsmasq")  # dnsmasq: the LAN's hosts have their IPv4 addresses already


class Procd:
    """One router's services."""

    def __init__(self, router, root, kind, delegated):
        """`kind`: of WireGuard; `delegated`: the prefixes that interfaces get from a provider."""
        self.router = router
        self.root = root
        self.netifd = Netifd(router, root, kind, delegated)
        self.odhcpd = Odhcpd(router, root)
        self.daemon = None
        self.asked = []  # by the router's own scripts, in their order
        self.failure = None
        root.write("sbin/tell", TELL, 0o755)
        for service in SERVICES:
            root.write(f"etc/init.d/{service}", f'#!/bin/sh\nexec /sbin/tell {service} "$@"\n', 0o755)
        common = root.read("etc/rc.common")
        root.write("etc/rc.common", f"{common}\ncode=$?\n/sbin/tell procd || exit\nexit $code\n", 0o755)
        for name in ("asked", "answer"):
            os.mkfifo(root.path / f"tmp/lab.{name}")
        threading.Thread(target=self._serve, daemon=True).start()

    def boot(self):
        """All services start, in OpenWrt's order."""
        self.odhcpd.reload()
        self._network()
        self.root.run("/etc/init.d/wgroam", "start", check=True)

    def check(self):
        """Fails when something that was asked for failed."""
        if self.failure is not None:
            raise LabError(f"{self.router.node}: {self.failure}")

    def _serve(self):
        while True:
            with open(self.root.path / "tmp/lab.asked", encoding="utf-8") as pipe:
                asked = pipe.read().strip()
            self.asked.append(asked)
            try:
                self._do(*asked.split())
                answer = "done"
            except (LabError, OSError, AssertionError) as error:
                self.failure = answer = " ".join(str(error).split())
            with open(self.root.path / "tmp/lab.answer", "w", encoding="utf-8") as pipe:
                pipe.write(answer + "\n")

    def _do(self, service, action="", *_):
        if service == "procd":
            self._wgroam()
        elif action not in ("reload", "restart"):
            raise LabError(f"the lab has no meaning for '{service} {action}'")
        elif service == "network":
            self._network()
        elif service == "firewall":
            self._firewall()
        elif service == "odhcpd":
            self.odhcpd.reload()
            self._odhcpd()

    def _network(self):
        """An interface that comes up is hotplug's news to the firewall, and odhcpd sees the addresses."""
        self.netifd.reload()
        self._firewall()
        self._odhcpd()

    def _firewall(self):
        self.router.run("nft", "-f", "-", stdin=Firewall(self.root.sections("firewall"), self.netifd.up()).text())

    def _odhcpd(self):
        self.odhcpd.refresh(self.netifd.interfaces, self._default_route())

    def _default_route(self):
        """As odhcpd sees it: by any way that leads somewhere."""
        lines = self.router.run("ip", "-6", "route", "show", "default").splitlines()
        return any(not line.startswith("unreachable") for line in lines)

    def _wgroam(self):
        """Does what wgroam's init script has told procd last."""
        for method, _ in self.root.told():
            if method == "delete" and self.daemon is not None:
                self.daemon.terminate()
                self.daemon.wait(5)
                self.daemon = None
        instances = self.root.instances()
        self.root.forget_calls()
        running = self.daemon is not None and self.daemon.poll() is None
        if instances is not None and "daemon" in instances and not running:
            self.daemon = self.root.daemon(instances["daemon"])
        elif instances == {} and running:
            self.daemon.terminate()
            self.daemon.wait(5)
            self.daemon = None
