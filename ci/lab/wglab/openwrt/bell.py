# SPDX-License-Identifier: GPL-2.0-only
"""How a router's scripts ask for what its services do: by a pipe, and they wait for the answer."""
import os
import threading

from ..lab import LabError

# Asks, and is done when it is done. What was meant for somebody who did not wait is passed over.
TELL = """#!/bin/sh
exec 9> /tmp/lab.lock
flock 9
echo "$$ $*" > /tmp/lab.asked
while read -r to answer; do
	[ "$to" = $$ ] || continue
	[ "$answer" = done ] && exit 0
	echo "$answer" >&2
	exit 1
done < /tmp/lab.answer
exit 1
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
        # Both ends of both stay open, and what is said is a line. A child that another thread starts has all that is open
        # here until its exec: were an end opened anew each time, it would seem to be there for whoever comes next.
        self.pipes = {}
        for name in ("asked", "answer"):
            os.mkfifo(root.path / f"tmp/lab.{name}")
            self.pipes[name] = os.open(root.path / f"tmp/lab.{name}", os.O_RDWR | os.O_CLOEXEC)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        # A closed pipe's number may be another file's: who reads it closes it.
        with open(self.pipes["asked"], encoding="utf-8") as asked, open(self.pipes["answer"], "wb", buffering=0) as told:
            for line in asked:
                who, *words = line.split()
                if words == ["close"]:
                    return
                told.write(f"{who} {self._answer(words)}\n".encode())

    def _answer(self, words):
        try:
            self.do(*words)
        # Whatever it was: who asked is told, and the next one is served.
        except Exception as error:
            kind = "" if isinstance(error, (LabError, OSError, AssertionError)) else f"{type(error).__name__}: "
            self.failure = kind + " ".join(str(error).split())
            return self.failure
        return "done"

    def close(self):
        """Nobody is answered any more."""
        os.write(self.pipes["asked"], b"0 close\n")


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
