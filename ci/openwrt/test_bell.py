# SPDX-License-Identifier: GPL-2.0-only
"""The pipe by which a router's scripts ask the lab, beside the lab's other threads."""
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import scratch  # noqa: F401 (it says where wglab is)
from wglab.openwrt.bell import Bell

QUESTIONS = 500
LONG_FORK = 0.02  # seconds from a fork to its exec, on a busy machine
SECONDS = 60  # only a failure takes so long


class Folder:
    """Of a root just the files; scripts run in the machine's, with that path before /tmp."""

    def __init__(self, path):
        self.path = path
        (path / "tmp").mkdir()

    def write(self, name, text, mode):
        """A file, with this folder in it for the root."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("/tmp/", f"{self.path}/tmp/").replace("/sbin/", f"{self.path}/sbin/"))
        path.chmod(mode)


class Asking(unittest.TestCase):
    """Whoever asks is answered."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Folder(Path(folder.name))
        self.asked = []
        self.bell = Bell(self.root, self.do)
        self.addCleanup(self.bell.close)

    def do(self, *words):
        """What the lab does when it is asked."""
        self.asked.append(words)
        if words[0] == "fail":
            raise RuntimeError("of no kind that anybody foresees")

    def ask(self, *words):
        """As a script of the router does."""
        return subprocess.run([self.root.path / "sbin/tell", *words], capture_output=True, text=True, timeout=SECONDS, check=False)

    def test_every_question_is_answered_while_other_threads_start_programs(self):
        ended = threading.Event()
        # Threads take turns in the midst of everything.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)

        def start_programs():
            while not ended.is_set():
                # The child has all that is open here until its exec.
                subprocess.run(["true"], check=True, preexec_fn=lambda: time.sleep(LONG_FORK))

        starters = [threading.Thread(target=start_programs) for _ in range(3)]
        for thread in starters:
            thread.start()
        try:
            for number in range(QUESTIONS):
                ran = self.ask("network", str(number))
                self.assertEqual((ran.returncode, ran.stderr), (0, ""), f"question {number}")
        finally:
            ended.set()
            for thread in starters:
                thread.join()
        self.assertEqual(self.asked, [("network", str(number)) for number in range(QUESTIONS)])

    def test_an_answer_that_nobody_fetched_is_not_the_next_ones(self):
        # Somebody asks, and is killed before the answer.
        with open(self.root.path / "tmp/lab.asked", "w", encoding="utf-8") as pipe:
            pipe.write("1 fail\n")
        self.assertEqual(self.ask("network").returncode, 0)

    def test_what_fails_is_said_and_the_next_one_is_served(self):
        ran = self.ask("fail")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("of no kind that anybody foresees", ran.stderr)
        self.assertIn("of no kind that anybody foresees", self.bell.failure)
        self.assertEqual(self.ask("network").returncode, 0)
