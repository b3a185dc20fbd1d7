# SPDX-License-Identifier: GPL-2.0-only
"""Many runs at once: each is a `lab run` in a process of its own, as nearly all of it is waiting."""
import fcntl
import json
import os
import shlex
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from . import vm
from .lab import GATE_SECONDS, LabError


def locked(descriptor):
    """Locks a file, if nobody has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Runs:
    """The runs that play now. A context manager: leaving it ends them; each cleans up by itself."""

    def __init__(self):
        self.lock = threading.Lock()
        self.children = set()
        self.stopped = False

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="wgroam-runs-")
        self.gate = Path(self.folder.name) / "gate"
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()

    def play(self, words):
        """Plays `lab run WORDS` of one scenario; returns its report, None when all are stopped. Begins when no other run is
        set up or measures: the run gets the locked gate, an open file that it inherits."""
        gate = os.open(self.gate, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            while not self.stopped and not locked(gate):
                time.sleep(GATE_SECONDS)
            command = [str(vm.LAB), "run", *words, "--gate", str(gate)]
            with self.lock:
                if self.stopped:
                    return None
                child = subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPYCACHEPREFIX": self.folder.name},
                    pass_fds=[gate],
                )
                self.children.add(child)
        finally:
            os.close(gate)
        out, err = child.communicate()
        with self.lock:
            self.children.discard(child)
            if self.stopped:
                return None
        try:
            return json.loads(out.strip().splitlines()[-1])
        except (json.JSONDecodeError, IndexError):
            lines = err.strip().splitlines() or ["it printed nothing"]
            raise LabError("\n".join([f"{lines[-1].strip()}: {shlex.join(command)} failed", *lines])) from None

    def stop(self):
        """Ends what still plays, and waits for that."""
        with self.lock:
            self.stopped = True
            children = list(self.children)
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
