# SPDX-License-Identifier: GPL-2.0-only
"""What passes a wire: WireGuard's messages at one device of one node."""
import select
import socket
import struct
import time

ETH_P_ALL = 3
# Types and lengths in bytes of WireGuard's messages (whitepaper, 5.4); a keepalive is data without content.
INITIATION, INITIATION_LENGTH = 1, 148
RESPONSE, RESPONSE_LENGTH = 2, 92
DATA, KEEPALIVE_LENGTH = 4, 32


class Tap:
    """Sees the UDP payloads, over IPv4, to and from a port; both directions."""

    def __init__(self, node, device, port, replies_only=False):
        """`replies_only`: only what comes from the port."""
        self.port = port
        self.replies_only = replies_only
        with node.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            self.socket.bind((device, ETH_P_ALL))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def next(self, timeout):
        """The next payload; None when there is none in time."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return None
            packet = self.socket.recv(2048)
            if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_UDP:
                continue
            header = (packet[0] & 15) * 4
            source, target = struct.unpack_from("!HH", packet, header)
            if source == self.port or (target == self.port and not self.replies_only):
                return packet[header + 8 :]
        return None

    def wait_for(self, kind, length, timeout):
        """The next message of a type and length; None when there is none in time."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            payload = self.next(left)
            if payload is not None and len(payload) == length and payload[0] == kind:
                return payload
        return None
