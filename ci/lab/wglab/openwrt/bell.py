# SPDX-License-Identifier: GPL-2.0-only
"""How a router's scripts ask for what its services do: by a pipe, and they wait for the answer."""
import os
import threading

from ..lab import LabError

# Asks, and is done when it is done.
TELL = """#!/bin/sh
exec 9> /tmp/lab.lock
flock 9
echo "$*" > /tmp/lab.asked
read -r answer < /tmp/lab.answer
[ "$answer" = done ] || { echo "$answer" >&2; exit 1; }
"""
# As OpenWrt's /sbin/ifup and ifdown: reload, down and up; of an interface that netifd does not know they say so, and exit 0.
IFUP = """#!/bin/sh
case "$0" in *ifup) exec /sbin/tell netifd ifup "$1" ;; *) exec /sbin/tell netifd down "$1" ;; esac
"""


class Bell:
    """One router's."""

    def __init__(self, root, do):
        """`do`: called with the words of whoever asks; it raises when that fails."""
        self.root = root
        self.do = do
        self.failure = None
        root.write("sbin/tell", TELL, 0o755)
        for name in ("ifup", "ifdown"):
            root.write(f"sbin/{name}", IFUP, 0o755)
        for name in ("asked", "answer"):
            os.mkfifo(root.path / f"tmp/lab.{name}")
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            with open(self.root.path / "tmp/lab.asked", encoding="utf-8") as pipe:
                asked = pipe.read().strip()
            if asked == "close":
                return
            try:
                self.do(*asked.split())
                said = "done"
            except (LabError, OSError, AssertionError) as error:
                self.failure = said = " ".join(str(error).split())
            with open(self.root.path / "tmp/lab.answer", "w", encoding="utf-8") as pipe:
                pipe.write(said + "\n")

    def close(self):
        """Nobody asks any more."""
        with open(self.root.path / "tmp/lab.asked", "w", encoding="utf-8") as pipe:
            pipe.write("close\n")


def answer(netifd, action, name=""):
    """A call of ubus to netifd, or ifup."""
    if action == "reload":
        netifd.reload()
    elif action == "ifup":
        # Sooner than any handler is done.
        with netifd.lock:
            netifd.reload()
            netifd.down(name)
            netifd.up(name)
    elif action in ("renew", "up", "down"):
        getattr(netifd, action)(name)
    else:
        raise LabError(f"netifd has no meaning for '{action}'")
