# SPDX-License-Identifier: GPL-2.0-only
"""A TCP connection that lasts: one side says a number many times a second, the other says it again."""
import select
import socket
import struct
import threading
import time

from .lab import LabError

INTERVAL = 0.05  # seconds from one number to the next
NUMBER = struct.Struct("!Q")


class Conversation:
    """From a host to a port of another, until it is closed. A context manager."""

    def __init__(self, client, server, address, port, patience):
        """Fails when there is no connection after `patience` seconds."""
        with server.entered():
            self.listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        with client.entered():
            self.here = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self.there = None
        self.ended = threading.Event()
        self.said = self.heard = 0
        self.broken = None
        self.heard_at = time.monotonic()
        self.longest = 0.0
        try:
            self.listener.bind(("::", port))
            self.listener.listen(1)
            self.here.settimeout(patience)
            self.here.connect((address, port))
            self.there, _ = self.listener.accept()
        except OSError as error:
            self.close()
            raise LabError(f"{client.node} can't connect to {server.node} by TCP: {error}") from None
        for end in (self.here, self.there):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setblocking(False)
        self.thread = threading.Thread(target=self._talk, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.close()

    def close(self):
        """Sockets hold their namespaces alive."""
        for end in (self.listener, self.here, self.there):
            if end is not None:
                end.close()

    def _talk(self):
        due = time.monotonic()
        rest = b""
        while not self.ended.is_set():
            try:
                if time.monotonic() >= due:
                    due += INTERVAL
                    self._say()
                for end in select.select([self.here, self.there], [], [], max(0.0, due - time.monotonic()))[0]:
                    data = end.recv(65536)
                    if not data:
                        raise ConnectionError("the other side has closed the connection")
                    if end is self.there:
                        self.there.sendall(data)
                    else:
                        rest = self._hear(rest + data)
            except BlockingIOError:
                continue  # what is under way fills the buffers: nothing more is said for now
            except OSError as error:
                self.broken = str(error)
                return

    def _say(self):
        if self.here.send(NUMBER.pack(self.said + 1)) == NUMBER.size:
            self.said += 1

    def _hear(self, data):
        whole = len(data) - len(data) % NUMBER.size
        for (number,) in NUMBER.iter_unpack(data[:whole]):
            if number != self.heard + 1:
                raise ConnectionError(f"heard {number} after {self.heard}")
            self.heard = number
        if whole:
            now = time.monotonic()
            self.longest = max(self.longest, now - self.heard_at)
            self.heard_at = now
        return data[whole:]

    def goes_on(self, patience):
        """Does a number that is said from now on come back in time? Every one before it has then come back too."""
        wanted = self.said + 1
        deadline = time.monotonic() + patience
        while self.heard < wanted and self.broken is None and time.monotonic() < deadline:
            time.sleep(INTERVAL / 5)
        return self.heard >= wanted
