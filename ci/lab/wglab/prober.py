# SPDX-License-Identifier: GPL-2.0-only
"""Echo requests through the tunnel, sent often enough to see a silence of a twentieth of a second."""
import os
import select
import socket
import struct
import time

ECHO_REQUEST = 128
ECHO_REPLY = 129
ICMP6_FILTER = 1  # linux/icmpv6.h
INTERVAL = 0.03  # seconds between two probes
COARSE = 0.01  # of a long silence: probes get rarer, as many worlds at once need the CPU


class Prober:
    """Sends ICMPv6 echo requests from one node to an address. The far end's kernel answers."""

    def __init__(self, node, target):
        self.target = target
        self.identifier = os.getpid() & 0xFFFF
        self.sequence = 0
        with node.entered():
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        # A set bit blocks a type: only replies pass.
        passes = bytearray(b"\xff" * 32)
        struct.pack_into("=I", passes, 4 * (ECHO_REPLY >> 5), 0xFFFFFFFF & ~(1 << (ECHO_REPLY & 31)))
        self.socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(passes))
        self.socket.setblocking(False)

    def close(self):
        """The socket holds its namespace alive: close it."""
        self.socket.close()

    def _send(self):
        """Sends one probe and returns its number. A network that refuses it is as good as one that loses it."""
        self.sequence = (self.sequence + 1) & 0xFFFF
        packet = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, self.identifier, self.sequence)
        try:
            self.socket.sendto(packet, (self.target, 0))
        except OSError:
            pass
        return self.sequence

    def _receive(self, timeout):
        """Waits for a reply; its number, or None."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                packet = self.socket.recv(1500)
            except OSError:
                continue
            if len(packet) >= 8:
                kind, _, _, identifier, sequence = struct.unpack_from("!BBHHH", packet)
                if kind == ECHO_REPLY and identifier == self.identifier:
                    return sequence
        return None

    def silence(self, limit, since=None, until=lambda: True):
        """Seconds from `since` (by time.monotonic; None: now) until the first reply to a probe sent from now on at which
        `until` is true; None when there is none within `limit`. Right to 30 ms, or to 1 % of what takes longer than 3 s."""
        begun = since if since is not None else time.monotonic()
        ours = set()
        while (now := time.monotonic()) < begun + limit:
            ours.add(self._send())
            interval = max(INTERVAL, COARSE * (now - begun))
            while (left := now + interval - time.monotonic()) > 0:
                if self._receive(left) in ours and until():
                    return time.monotonic() - begun
        return None

    def stream(self, seconds, interval=INTERVAL):
        """Probes for a while; returns (sent, answered, the longest time without an answer in seconds)."""
        begun = last = time.monotonic()
        sent = {}
        answered = 0
        longest = 0.0

        def note(reply):
            nonlocal answered, last, longest
            if sent.pop(reply, None) is not None:
                answered += 1
                longest = max(longest, time.monotonic() - last)
                last = time.monotonic()

        total = 0
        while (now := time.monotonic()) < begun + seconds:
            sent[self._send()] = now
            total += 1
            while (left := now + interval - time.monotonic()) > 0:
                note(self._receive(left))
        # The last ones are still under way.
        deadline = time.monotonic() + 1
        while sent and (left := deadline - time.monotonic()) > 0:
            note(self._receive(left))
        return total, answered, longest
