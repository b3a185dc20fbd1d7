# SPDX-License-Identifier: GPL-2.0-only
"""Runs the tests of the OpenWrt package; the last line counts them. Arguments: names of tests, as unittest takes them.

In namespaces of its own (ci/openwrt-test makes them), so that nothing stays behind."""
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent


class Result(unittest.TestResult):
    """A line for each test."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.begun = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()

    def tell(self, word, test):
        name = test.id().split(".", 1)[1].replace("_", " ").replace(".test ", ": ")
        print(f"{word}  {name} ({time.monotonic() - self.begun:.2f} s)", flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.tell("pass", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.tell("FAIL", test)
        print("      " + self.failures[-1][1].replace("\n", "\n      "), flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        self.tell("FAIL", test)
        print("      " + self.errors[-1][1].replace("\n", "\n      "), flush=True)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.tell("FAIL", test)
            print("      " + (self.failures + self.errors)[-1][1].replace("\n", "\n      "), flush=True)


def main():
    if os.environ.get("WGROAM_SCRATCH") != "1":
        sys.exit("run ci/openwrt-test: these tests mount and make interfaces")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Namespaces of the tests' own routers have their names here.
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "wgroam-openwrt", "/run/netns"], check=True)
    loader = unittest.TestLoader()
    names = sys.argv[1:]
    sys.path.insert(0, str(HERE))
    tests = loader.loadTestsFromNames(names) if names else loader.discover(str(HERE), top_level_dir=str(HERE))
    result = Result()
    tests.run(result)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not result.passed else 0)


main()
