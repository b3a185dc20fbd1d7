# SPDX-License-Identifier: GPL-2.0-only
"""A WireGuard interface, of the kernel or of wireguard-go."""
import subprocess
import time

from .lab import UP_SECONDS, LabError


class Keys:
    """A key pair, in base64."""

    def __init__(self):
        self.private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip()
        self.public = subprocess.run(
            ["wg", "pubkey"], input=self.private, capture_output=True, text=True, check=True
        ).stdout.strip()


class Device:
    """An interface of one node. What a reboot would bring back (key, port, peers without endpoint) is in `config`."""

    def __init__(self, node, kind, name="wgr"):
        """`kind`: "userspace" or "kernel"."""
        self.node = node
        self.kind = kind
        self.name = name
        self.process = None

    def create(self):
        """Makes the interface; it is down and knows nothing yet."""
        if self.kind == "kernel":
            self.node.ip(f"link add {self.name} type wireguard")
            return
        try:
            self.process = self.node.start("wireguard-go", "-f", self.name, environment={"LOG_LEVEL": "error"})
        except FileNotFoundError as error:
            raise LabError("wireguard-go is missing; 'ci/need userspace-lab' installs it") from error
        socket = self.node.sockets / f"{self.name}.sock"
        deadline = time.monotonic() + UP_SECONDS
        while not socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"{self.node.node}: wireguard-go does not come up")
            time.sleep(0.01)

    def delete(self):
        """Removes the interface with all that it learned."""
        if self.kind == "kernel":
            self.node.ip(f"link delete {self.name}")
            return
        self.process.terminate()
        self.process.wait()
        (self.node.sockets / f"{self.name}.sock").unlink(missing_ok=True)

    def configure(self, private_key, listen_port, peer, allowed_ips, endpoint=None):
        """Key, port and one peer, as from a file after a reboot."""
        lines = ["[Interface]", f"PrivateKey = {private_key}", f"ListenPort = {listen_port}"]
        lines += ["[Peer]", f"PublicKey = {peer}", f"AllowedIPs = {allowed_ips}"]
        if endpoint:
            lines.append(f"Endpoint = {endpoint}")
        self.node.run("wg", "setconf", self.name, "/dev/stdin", stdin="\n".join(lines) + "\n")

    def set_keepalive(self, peer, seconds):
        """Persistent keepalive; 0 = off."""
        self.node.run("wg", "set", self.name, "peer", peer, "persistent-keepalive", seconds)

    def listen_port(self):
        """The UDP port it listens on and sends from."""
        return int(self.node.run("wg", "show", self.name, "listen-port"))

    def endpoint(self, peer):
        """Where WireGuard itself believes the peer to be; None when it has no idea."""
        for line in self.node.run("wg", "show", self.name, "endpoints").splitlines():
            key, _, endpoint = line.partition("\t")
            if key == peer and endpoint != "(none)":
                return endpoint
        return None
