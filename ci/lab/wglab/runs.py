# SPDX-License-Identifier: GPL-2.0-only
"""Many runs at once: each is a `lab run` in a process of its own, as nearly all of it is waiting."""
import json
import shlex
import subprocess
import tempfile
import threading
from pathlib import Path

from . import vm
from .lab import LabError


class Runs:
    """The runs that play now. A context manager: leaving it ends them; each cleans up by itself."""

    def __init__(self):
        self.lock = threading.Lock()
        self.children = set()
        self.stopped = False

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="wgroam-runs-")
        self.gate = Path(self.folder.name) / "gate"  # see lab.Gate
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()

    def play(self, words):
        """Plays `lab run WORDS` of one scenario; returns its report, None when all are stopped."""
        command = [str(vm.LAB), "run", *words]
        with self.lock:
            if self.stopped:
                return None
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.children.add(child)
        out, err = child.communicate()
        with self.lock:
            self.children.discard(child)
            if self.stopped:
                return None
        try:
            return json.loads(out.strip().splitlines()[-1])
        except (json.JSONDecodeError, IndexError):
            raise LabError(f"{shlex.join(command)} failed: {err.strip()}") from None

    def stop(self):
        """Ends what still plays, and waits for that."""
        with self.lock:
            self.stopped = True
            children = list(self.children)
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
