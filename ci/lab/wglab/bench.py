# SPDX-License-Identifier: GPL-2.0-only
"""Every scenario with every contender, several times: the runs of the bench, and the files that tell of them."""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import figures, journeys, vm  # noqa: F401 (journeys registers its scenarios)
from .cli import RELEASE
from .lab import LabError
from .scenarios import SCENARIOS

AGES = [0, 24, 48, 72, 96]  # seconds; an initiator shakes hands anew after 120
LONG = 60  # seconds of silence; longer ones are played less often
MACHINE_SECONDS = 6 * 3600  # the longest that the kernel's bench may take


def parser():
    """The arguments."""
    top = argparse.ArgumentParser(prog="bench", description="Plays every scenario with wgroam and without, and compares.")
    top.add_argument("--wireguard", choices=("kernel", "userspace"), default="kernel")
    top.add_argument("--runs", type=int, default=5, help="runs of what is silent for up to a minute, default 5")
    top.add_argument("--long-runs", type=int, default=3, help="runs of what is silent for longer, default 3")
    top.add_argument("--quick", action="store_true", help="one run each, no longer than 30 s: does the bench work?")
    top.add_argument("--only", metavar="SCENARIO", nargs="+", help="these scenarios and no others")
    top.add_argument("--with", dest="with_", metavar="NAME", nargs="+", default=list(figures.CONTENDERS), help="these contenders")
    top.add_argument("--jobs", type=int, default=8, help="worlds at once; most of each is waiting. Default 8")
    top.add_argument("--wgroam", type=Path, default=RELEASE / "wgroam", help="the binary")
    top.add_argument("--out", type=Path, default=vm.TREE / "docs", help="where benchmarks.md and benchmarks.svg go")
    top.add_argument("--raw", type=Path, help="keep the runs in this file, a line of JSON each")
    top.add_argument("--render", type=Path, metavar="RAW", help="play nothing: tell of the runs in this file")
    top.add_argument("--play-into", type=Path, help=argparse.SUPPRESS)  # the part that runs in ci/vm
    return top


def played(name):
    """With which contenders a scenario has figures of its own."""
    return ["wgroam"] if SCENARIOS[name].same_as else list(figures.CONTENDERS)


class Bench:
    """The runs, some at once. What they say goes into a file, line by line."""

    def __init__(self, arguments, raw):
        self.arguments = arguments
        self.raw = raw
        self.lock = threading.Lock()
        self.children = set()
        self.begun = time.monotonic()
        self.stopped = False

    def names(self):
        """The scenarios, those that step the machine's clock last."""
        names = self.arguments.only or [name for name, scenario in SCENARIOS.items() if scenario.bench]
        if self.arguments.wireguard == "userspace" and not vm.inside():
            names = [name for name in names if not SCENARIOS[name].vm_only]
        return names

    def command(self, name, with_, number):
        """One run."""
        scenario = SCENARIOS[name]
        words = [str(vm.LAB), "run", name, "--with", with_, "--wireguard", self.arguments.wireguard]
        words += ["--wgroam", str(self.arguments.wgroam.resolve())]
        if self.arguments.quick:
            words += ["--limit", str(min(30, scenario.limit))]  # and no gate: the figures are not kept
            return words + (["--lasts", str(min(10, scenario.lasts))] if scenario.lasts else [])
        return words + ["--gate", str(self.gate), "--age", str(AGES[number % len(AGES)])]

    def play(self, name, with_, number):
        """One run; returns its report."""
        command = self.command(name, with_, number)
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
                report = json.loads(out.strip().splitlines()[-1])
            except (json.JSONDecodeError, IndexError):
                raise LabError(f"{shlex.join(command)} failed: {err.strip()}") from None
            report["run"] = number
            with open(self.raw, "a") as raw:
                raw.write(json.dumps(report) + "\n")
            silence = "never" if report["recovery_s"] is None else f"{report['recovery_s']} s"
            trouble = "" if report["ok"] else "  " + "; ".join(report.get("problems", ["not ok"]))
            clock = time.monotonic() - self.begun
            print(f"{clock:7.0f}  {name:<21}{with_:<11}run {number + 1}  {silence}{trouble}", file=sys.stderr, flush=True)
        return report

    def wanted(self, first):
        """How many runs a cell gets that began like this."""
        if self.arguments.quick:
            return 1
        silence = first["recovery_s"]
        return self.arguments.long_runs if silence is None or silence > LONG else self.arguments.runs

    def cell(self, name, with_):
        """All runs of a cell but the first follow from it."""
        first = self.play(name, with_, 0)
        for number in range(1, self.wanted(first) if first else 0):
            self.play(name, with_, number)

    def run(self):
        """All of it."""
        with tempfile.TemporaryDirectory() as folder:
            self.gate = Path(folder) / "gate"
            cells = [(name, with_) for name in self.names() for with_ in played(name) if with_ in self.arguments.with_]
            # The longest first, so that the end is not one world alone.
            cells.sort(key=lambda cell: (cell[1] == "wgroam", -SCENARIOS[cell[0]].limit))
            try:
                self.pool([cell for cell in cells if not SCENARIOS[cell[0]].vm_only], self.arguments.jobs)
                self.pool([cell for cell in cells if SCENARIOS[cell[0]].vm_only], 1)  # the clock is everybody's
            finally:
                self.stop()

    def pool(self, cells, jobs):
        """Plays cells, so many at once."""
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            waiting = [pool.submit(self.cell, *cell) for cell in cells]
            try:
                for future in waiting:
                    future.result()
            except BaseException:
                self.stop()
                raise

    def stop(self):
        """Ends what still plays; each run cleans up by itself."""
        with self.lock:
            self.stopped = True
            for child in self.children:
                child.terminate()


def package(name):
    """A Debian package's version."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not from a package"


def versions(arguments):
    """What plays, name -> words. In the machine where it plays."""
    about = {"kernel": os.uname().release + (" in ci/vm (qemu, emulated CPU)" if vm.inside() else "")}
    about["WireGuard"] = "the kernel's" if arguments.wireguard == "kernel" else f"wireguard-go {package('wireguard-go')}"
    about["wireguard-tools (wg, reresolve-dns.sh)"] = package("wireguard-tools")
    about["dnsmasq"] = package("dnsmasq-base")
    if "wgroam" in arguments.with_:
        done = subprocess.run([arguments.wgroam.resolve(), "--version"], capture_output=True, text=True, check=False)
        about["wgroam"] = done.stdout.strip()
    return about


def tree_state():
    """The commit that was measured."""
    git = ["git", "-C", str(vm.TREE), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def machine(arguments, words, raw):
    """The kernel's part in ci/vm; its runs come out by the machine's results folder."""
    with tempfile.TemporaryDirectory() as folder:
        inner = [str(vm.TREE / "ci" / "bench"), *words, "--play-into", "/results/runs"]
        command = [str(vm.TREE / "ci" / "vm" / "run"), "--timeout", str(MACHINE_SECONDS), "--out", folder, "--", *inner]
        process = subprocess.Popen(command)
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            runs = Path(folder) / "runs"
            raw.write_text(raw.read_text() + (runs.read_text() if runs.exists() else ""))
        if code != 0:
            raise LabError(f"the bench in ci/vm ended with exit code {code}")


def render(lines, out):
    """Writes the page and the plot."""
    about = {}
    reports = []
    for line in lines:
        report = json.loads(line)
        about.update(report.get("about", {}))
        if "scenario" in report:
            reports.append(report)
    table = figures.cells(reports)
    names = [name for name in SCENARIOS if any((name, with_) in table for with_ in figures.CONTENDERS)]
    for name in names:
        same = SCENARIOS[name].same_as
        for with_ in figures.CONTENDERS if same else ():
            if (same, with_) in table:
                table.setdefault((name, with_), table[same, with_])
    scenarios = {name: SCENARIOS[name].text for name in names}
    subtitle = f"Seconds until the first answer after the disturbance; {about.get('WireGuard', '?')} WireGuard, {about.get('kernel', '?')}"
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmarks.md").write_text(figures.markdown(scenarios, table, about, "benchmarks.svg"))
    (out / "benchmarks.svg").write_text(figures.svg(scenarios, table, subtitle))
    print(f"bench: {out / 'benchmarks.md'} and benchmarks.svg tell of {len(reports)} runs")
    return table


def main(words):
    """`ci/bench`: 0 when every run was good and wgroam kept its reach."""
    arguments = parser().parse_args(words)
    for name in arguments.only or []:
        if name not in SCENARIOS:
            raise LabError(f"there is no scenario '{name}'; there are: {', '.join(SCENARIOS)}")
    if arguments.play_into:
        arguments.play_into.write_text(json.dumps({"about": versions(arguments)}) + "\n")
        Bench(arguments, arguments.play_into).run()
        return 0
    if arguments.render:
        raw = arguments.render
    else:
        raw = arguments.raw or Path(tempfile.mkstemp(prefix="wgroam-bench-")[1])
        begun = time.monotonic()
        about = {"command": "`" + shlex.join(["ci/bench", *words]) + "`", "measured": time.strftime("%Y-%m-%d"), "tree": tree_state()}
        raw.write_text(json.dumps({"about": about}) + "\n")
        if arguments.wireguard == "kernel" and not vm.kernel_has_wireguard() and not vm.inside():
            machine(arguments, words, raw)
        else:
            with open(raw, "a") as file:
                file.write(json.dumps({"about": versions(arguments)}) + "\n")
            Bench(arguments, raw).run()
        with open(raw, "a") as file:
            file.write(json.dumps({"about": {"took": f"{(time.monotonic() - begun) / 60:.0f} minutes"}}) + "\n")
        print(f"bench: the runs are in {raw}; --render tells of them again")
    table = render(raw.read_text().splitlines(), arguments.out)
    return 1 if any(cell.problems for cell in table.values()) else 0
