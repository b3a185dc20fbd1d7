# SPDX-License-Identifier: GPL-2.0-only
"""What the suites share: where the tree is, a scratch folder for each test, and running a command."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Scratch(unittest.TestCase):
    """A test with a folder of its own, `self.scratch`."""

    def setUp(self):
        self.scratch = Path(tempfile.mkdtemp(prefix="wgroam-release-"))
        self.addCleanup(shutil.rmtree, self.scratch)

    def write(self, name, text, mode=0o644):
        """A file below the scratch folder."""
        path = self.scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def run_command(self, *command, env=None, cwd=None, timeout=300):
        """A command; its standard output and error as text, and its exit code."""
        return subprocess.run(
            [str(word) for word in command],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
