# SPDX-License-Identifier: GPL-2.0-only
"""A network namespace: run a command in it, start a daemon in it, open a socket in it."""
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from pathlib import Path

from .lab import NETNS, LabError

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_REC_PRIVATE = MS_REC | 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    """A function of the C library that says 0 when all went well."""
    if getattr(_libc, function)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")


class Namespace:
    """One node of the topology."""

    def __init__(self, lab, node):
        self.lab = lab
        self.node = node
        self.name = lab.namespace_name(node)
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        # wireguard-go, wg and wgroam meet in /var/run/wireguard, which is not per namespace: each node gets its own.
        self.sockets = lab.folder / f"{node}.wireguard"
        self.sockets.mkdir()
        self.resolv_conf = None  # a file: what this node has for /etc/resolv.conf
        # No duplicate address detection: an address is usable at once.
        for device in ("all", "default"):
            self.sysctl(f"net/ipv6/conf/{device}/accept_dad", 0)
        self.ip("link set lo up")

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace within the block; a socket that is made there stays there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(NETNS / self.name, os.O_RDONLY)
        try:
            call("setns", there, CLONE_NEWNET)
            yield
        finally:
            call("setns", home, CLONE_NEWNET)
            os.close(there)
            os.close(home)

    def sysctl(self, name, value):
        """Sets a sysctl of the namespace; `name` with slashes."""
        with self.entered():
            Path("/proc/sys", name).write_text(str(value))

    def ip(self, *commands):
        """Runs lines of ip(8) in one go; stops at the first that fails."""
        lines = "\n".join(commands) + "\n"
        done = subprocess.run(["ip", "-n", self.name, "-batch", "-"], input=lines, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise LabError(f"{self.node}: ip: {done.stderr.strip()} in:\n{lines}")

    def links(self):
        """The names of its network devices."""
        with self.entered():
            return [name for _, name in socket.if_nameindex()]

    def enter(self):
        """In the child, before exec: what `ip netns exec` and `unshare -m` do, in one process, with our own sockets."""
        # Nothing that the lab started outlives it.
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        there = os.open(NETNS / self.name, os.O_RDONLY)
        call("setns", there, CLONE_NEWNET)
        os.close(there)
        call("unshare", CLONE_NEWNS)
        call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)
        # /sys/class/net shows the namespace in which sysfs was mounted.
        _libc.umount2(b"/sys", MNT_DETACH)
        _libc.mount(b"sys", b"/sys", b"sysfs", 0, None)
        os.makedirs("/var/run/wireguard", exist_ok=True)
        call("mount", str(self.sockets).encode(), b"/var/run/wireguard", None, MS_BIND, None)
        if self.resolv_conf is not None:
            call("mount", str(self.resolv_conf).encode(), b"/etc/resolv.conf", None, MS_BIND, None)

    def run(self, *command, stdin="", check=True):
        """Runs a command to its end and returns what it printed."""
        # Not /dev/null but a pipe: `wg setconf` reads its configuration there.
        done = subprocess.run(
            [str(word) for word in command],
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            preexec_fn=self.enter,
        )
        if check and done.returncode != 0:
            raise LabError(f"{self.node}: {' '.join(map(str, command))}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start(self, *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, environment=None):
        """Starts a process that the lab ends. In a session of its own: Ctrl-C is for the lab, which then cleans up."""
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=self.enter,
        )
        self.lab.processes.append(process)
        return process
