# SPDX-License-Identifier: GPL-2.0-only
"""The internet between the two routers, with a name server: a real dnsmasq, whose answers live 0 seconds."""
import shutil
import signal
import socket
import struct
import time

from .lab import UP_SECONDS, LabError
from .namespace import Namespace

DNS_ADDRESS = "192.0.2.53"
DOMAIN = "example.net"
HOME = f"home.{DOMAIN}"  # the name of R2
TYPE_A, TYPE_AAAA, CLASS_IN, RECURSION_DESIRED = 1, 28, 1, 0x100  # RFC 1035, RFC 3596


class Internet(Namespace):
    """What lies between the hotel and home."""

    def __init__(self, lab):
        super().__init__(lab, "inet")
        self.names = {}
        self.hosts = lab.folder / "hosts"
        self.dnsmasq = None

    def start_dns(self):
        """From now on there is a name server; it knows no name yet."""
        if shutil.which("dnsmasq") is None:
            raise LabError("dnsmasq is missing; 'ci/need userspace-lab' installs it")
        self.ip(f"address add {DNS_ADDRESS}/32 dev lo")
        self.hosts.write_text("")
        ready = self.lab.folder / "dnsmasq.pid"
        self.dnsmasq = self.start(
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", f"--pid-file={ready}"),
            *("--no-resolv", "--no-hosts", f"--addn-hosts={self.hosts}", f"--local=/{DOMAIN}/", "--local-ttl=0"),
            *(f"--listen-address={DNS_ADDRESS}", "--bind-interfaces"),
        )
        # Before it has come so far, a signal would end it.
        deadline = time.monotonic() + UP_SECONDS
        while not ready.exists():
            if self.dnsmasq.poll() is not None or time.monotonic() > deadline:
                raise LabError("dnsmasq does not come up")
            time.sleep(0.01)

    def point_name(self, name, *addresses):
        """The name has these addresses and no others, at once: nobody may remember the old ones."""
        self.names[name] = addresses
        lines = [f"{address} {name}\n" for name, addresses in self.names.items() for address in addresses]
        self.hosts.write_text("".join(lines))
        self.lab.disturb()
        self.dnsmasq.send_signal(signal.SIGHUP)
        # Who asks too early hears that there is no such name, and `wg` does not ask again then.
        deadline = time.monotonic() + UP_SECONDS
        while not all(self._means(name, address) for address in addresses):
            if time.monotonic() > deadline:
                raise LabError(f"dnsmasq does not say that {name} means {' and '.join(addresses)}")
            time.sleep(0.01)
        self.lab.narrate(f"the name {name} now means {' and '.join(addresses)}")

    def _means(self, name, address):
        """Does the name server say so?"""
        family, kind = (socket.AF_INET6, TYPE_AAAA) if ":" in address else (socket.AF_INET, TYPE_A)
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        question = struct.pack("!6H", 1, RECURSION_DESIRED, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, CLASS_IN)
        with self.entered():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            client.settimeout(1)
            client.sendto(question, (DNS_ADDRESS, 53))
            try:
                answer = client.recv(1500)
            except TimeoutError:
                return False
        return socket.inet_pton(family, address) in answer[len(question) :]

    def cut_line(self):
        """Nothing gets to R2's side nor from there; nobody hears why."""
        self.run("nft", "-f", "-", stdin=CUT)
        self.lab.narrate("the line to R2 is cut")

    def mend_line(self):
        """The line works again."""
        self.lab.disturb()
        self.run("nft", "delete", "table", "inet", "cut")
        self.lab.narrate("the line works again")

    def silence_dns(self):
        """No question reaches the name server; nobody hears why."""
        self.run("nft", "-f", "-", stdin=SILENT)
        self.lab.narrate("there is no DNS: questions are lost")

    def restore_dns(self):
        """The name server answers again."""
        self.lab.disturb()
        self.run("nft", "delete", "table", "ip", "silent")
        self.lab.narrate("there is DNS")


CUT = """
table inet cut {
	chain forward {
		type filter hook forward priority filter; policy accept
		iifname home drop
		oifname home drop
	}
}
"""

SILENT = f"""
table ip silent {{
	chain prerouting {{
		type filter hook prerouting priority -300; policy accept
		ip daddr {DNS_ADDRESS} drop
	}}
}}
"""
