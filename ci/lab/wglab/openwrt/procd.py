# SPDX-License-Identifier: GPL-2.0-only
"""procd in miniature: what init scripts and `ubus call network` of a router do. They are stand-ins that tell the lab by a pipe
and wait for its answer; wgroam's own init script is the package's, and what it told procd is done here."""
import queue
import subprocess
import threading

from ..lab import UP_SECONDS, LabError
from .bell import Bell, answer
from .fw4 import Firewall
from .netifd import Netifd
from .odhcpd import Odhcpd

SERVICES = ("network", "firewall", "odhcpd", "dnsmasq")  # dnsmasq: the LAN's hosts have their IPv4 addresses already


class Procd:
    """One router's services."""

    def __init__(self, router, root, kind, delegated, release):
        """`kind`: of WireGuard; `delegated`: the prefixes that interfaces get from a provider; `release`: OpenWrt's."""
        self.router = router
        self.root = root
        self.netifd = Netifd(router, root, kind, delegated, release)
        self.odhcpd = Odhcpd(router, root, release)
        self.daemon = None
        self.failure = None
        self.netifd.happened = self._hotplug
        self.netifd.changed = self._odhcpd
        self.events = queue.SimpleQueue()
        threading.Thread(target=self._call_hotplug, daemon=True).start()
        self.bell = Bell(root, self._do)
        for service in SERVICES:
            root.write(f"etc/init.d/{service}", f'#!/bin/sh\nexec /sbin/tell {service} "$@"\n', 0o755)
        common = root.read("etc/rc.common")
        root.write("etc/rc.common", f"{common}\ncode=$?\n/sbin/tell procd || exit\nexit $code\n", 0o755)

    def boot(self):
        """All services start, in OpenWrt's order."""
        self.odhcpd.reload()
        self.netifd.reload()
        self.netifd.settled()
        self._firewall()
        self.root.run("/etc/init.d/wgroam", "start", check=True)

    def check(self):
        """Fails when something that was asked for failed."""
        for failure in (self.bell.failure, self.netifd.failure, self.failure):
            if failure is not None:
                raise LabError(f"{self.router.node}: {failure}")

    def close(self):
        """Nothing is answered any more."""
        self.netifd.close()

    def _do(self, service, action="", *words):
        if service == "procd":
            self._wgroam()
        elif service == "netifd":
            answer(self.netifd, action, *words)
        elif action not in ("reload", "restart"):
            raise LabError(f"the lab has no meaning for '{service} {action}'")
        elif service == "network":
            self.netifd.reload()
        elif service == "firewall":
            self._firewall()
        elif service == "odhcpd":
            self.odhcpd.reload()
            self._odhcpd()

    def _hotplug(self, action, name):
        """An interface that comes up, goes or changes: hotplug's news, to the firewall (/etc/hotplug.d/iface/20-firewall), and to
        wgroam."""
        if action in ("ifup", "ifupdate"):
            self._firewall()
        self.events.put((action, name, self.netifd.devices_of_networks().get(name, "")))

    def _call_hotplug(self):
        """One after the other, as netifd does it."""
        while True:
            action, name, device = self.events.get()
            try:
                self.root.run("/sbin/hotplug-call", "iface", ACTION=action, INTERFACE=name, DEVICE=device)
            # The router's files go before this thread does.
            except (LabError, OSError, subprocess.SubprocessError) as error:
                self.failure = f"hotplug of {action} {name}: {error}"

    def _firewall(self):
        with self.netifd.lock:
            text = Firewall(self.root.sections("firewall"), self.netifd.devices_of_networks()).text()
            self.router.run("nft", "-f", "-", stdin=text)

    def _odhcpd(self):
        with self.netifd.lock:
            self.odhcpd.refresh(self.netifd.interfaces, self._default_route())

    def _default_route(self):
        """As odhcpd sees it: by any way that leads somewhere."""
        lines = self.router.run("ip", "-6", "route", "show", "default").splitlines()
        return any(not line.startswith("unreachable") for line in lines)

    def _wgroam(self):
        """Does what wgroam's init script has told procd last."""
        for method, _ in self.root.told():
            if method == "delete" and self.daemon is not None:
                self._stop()
        instances = self.root.instances()
        self.root.forget_calls()
        running = self.daemon is not None and self.daemon.poll() is None
        if instances is not None and "daemon" in instances and not running:
            self.daemon = self.root.daemon(instances["daemon"])
        elif instances == {} and running:
            self._stop()

    def _stop(self):
        """How fast it stops is not what is asked here: procd's 5 s are, in kills."""
        self.daemon.terminate()
        try:
            self.daemon.wait(UP_SECONDS)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.router.node}: wgroam does not stop within {UP_SECONDS} s") from None
        self.daemon = None
