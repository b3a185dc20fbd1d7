# SPDX-License-Identifier: GPL-2.0-only
"""Runs the suites: one line for each test, and a count at the end."""

import importlib
import sys
import unittest
from pathlib import Path

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "common", "runner")
)


class Lines(unittest.TestResult):
    """Prints a line per test; why it failed below. A skipped test counts as failed: what can't run here says so."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.failed = 0

    def _line(self, good, test, why=""):
        self.passed += good
        self.failed += not good
        _, suite, _, behaviour = test.id().rsplit(".", 3)
        print(
            f"{'pass' if good else 'FAIL'}  {suite:<10}{behaviour.removeprefix('test_').replace('_', ' ')}", flush=True
        )
        if why:
            print("".join(f"        {line}\n" for line in why.splitlines()), end="", flush=True)

    def addSuccess(self, test):
        self._line(True, test)

    def addFailure(self, test, err):
        self._line(False, test, self._exc_info_to_string(err, test))

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        # Of a test with one that failed nothing else is told.
        if err is not None:
            self._line(False, test, f"{subtest._subDescription()}\n{self._exc_info_to_string(err, test)}")

    def addSkip(self, test, reason):
        self._line(False, test, f"skipped: {reason}")


def main(names):
    """The named suites, or all; gives the exit code."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"ci/release/test: there is no suite {unknown[0]}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    lines = Lines()
    for name in names or NAMES:
        unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(f"suites.{name}")).run(lines)
    print(f"{lines.passed} passed, {lines.failed} failed")
    return 1 if lines.failed or not lines.passed else 0
