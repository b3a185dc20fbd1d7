# SPDX-License-Identifier: GPL-2.0-only
"""Every scenario with every contender, several times: the runs of the bench, and the files that tell of them."""
import argparse
import hashlib
import heapq
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from . import figures, stories, vm  # noqa: F401 (stories registers them)
from .cli import RELEASE
from .lab import LabError
from .runs import Runs
from .scenarios import SCENARIOS

AGES = [0, 24, 48, 72, 96]  # seconds; an initiator shakes hands anew after 120
LONG = 60  # seconds of silence; longer ones are played less often
MACHINE_SECONDS = 3 * 3600  # the longest that the kernel's bench may take
SET_UP = 15  # seconds that a run takes besides its waiting, others at its side; for the estimate
ONE_BY_ONE = {"userspace": 2, "kernel": 6}  # seconds of it in which no other is set up
PARTS = ("all", "clock", "rest")
CPUS = {"clock": 1, "rest": 2}  # emulated, in ci/vm


def parser():
    """The arguments."""
    top = argparse.ArgumentParser(prog="bench", description="Plays every scenario with wgroam and without, and compares.")
    top.add_argument("--wireguard", choices=("kernel", "userspace"), default="kernel")
    top.add_argument("--runs", type=int, default=5, help="runs of what is silent for up to a minute, default 5")
    top.add_argument("--long-runs", type=int, default=3, help="runs of what is silent for longer, default 3")
    top.add_argument("--never-runs", type=int, default=2, help="runs of what is silent for as long as we wait, default 2")
    top.add_argument("--quick", action="store_true", help="one run each, no longer than 30 s: does the bench work?")
    top.add_argument("--only", metavar="SCENARIO", nargs="+", help="these scenarios and no others")
    top.add_argument("--with", dest="with_", metavar="NAME", nargs="+", default=list(figures.CONTENDERS), help="these contenders")
    top.add_argument("--jobs", type=int, default=20, help="worlds at once; most of each is waiting. Default 20")
    top.add_argument("--wgroam", type=Path, default=RELEASE / "wgroam", help="the binary")
    top.add_argument("--out", type=Path, default=vm.TREE / "docs", help="where benchmarks.md and benchmarks.svg go")
    top.add_argument("--raw", type=Path, help="keep the runs in this file, a line of JSON each; those in it are not played again")
    top.add_argument("--render", type=Path, metavar="RAW", help="play nothing: tell of the runs in this file")
    top.add_argument("--play-into", type=Path, help=argparse.SUPPRESS)  # what runs in ci/vm: this file is ours to write
    top.add_argument("--done", type=Path, help=argparse.SUPPRESS)  # and in this one are the runs that were played before
    top.add_argument("--part", choices=PARTS, default="all", help=argparse.SUPPRESS)  # and these scenarios are played
    return top


def played(name):
    """With which contenders a scenario has figures of its own."""
    return ["wgroam"] if SCENARIOS[name].same_as else list(figures.CONTENDERS)


def names(arguments):
    """The scenarios of a part. What steps the machine's clock has a machine of its own; in others it can't be played."""
    chosen = arguments.only or [name for name, scenario in SCENARIOS.items() if scenario.bench]
    if arguments.wireguard == "userspace" and not vm.inside():
        chosen = [name for name in chosen if not SCENARIOS[name].vm_only]
    if arguments.part != "all":
        chosen = [name for name in chosen if SCENARIOS[name].vm_only == (arguments.part == "clock")]
    return chosen


def reports(text):
    """The runs in a file, without those that failed: they are played again."""
    found = [json.loads(line) for line in text.splitlines()]
    return [report for report in found if "endpoint_after" in report]


class Cell:
    """The runs of a scenario with a contender: how many there are to be follows from the first one."""

    def __init__(self, arguments, name, with_):
        self.arguments, self.name, self.with_ = arguments, name, with_
        self.scenario = SCENARIOS[name]
        self.first = None  # its report
        self.missing = {0}  # numbers of runs

    def know(self, report):
        """A run is over, now or when the file was written."""
        if report["run"] == 0:
            self.first = report
            self.missing |= set(range(1, self.wanted())) - self.done
        self.missing.discard(report["run"])

    def know_all(self, found):
        """What a file tells of it."""
        mine = [report for report in found if (report["scenario"], report["with"]) == (self.name, self.with_)]
        self.done = {report["run"] for report in mine}
        for report in mine:
            self.know(report)

    def wanted(self):
        """How many runs it gets."""
        if self.arguments.quick:
            return 1
        silence = self.first["recovery_s"]
        if silence is None:
            return self.arguments.never_runs
        return self.arguments.long_runs if silence > LONG else self.arguments.runs

    def guess_s(self, number):
        """How long a run will take. What nobody knows yet may be as long as it gets."""
        if self.first is not None:
            return self.first["took_s"] - self.first.get("age_s", 0) + self.age_s(number)
        limit = 15 if self.with_ == "wgroam" else min(30, self.scenario.limit) if self.arguments.quick else self.scenario.limit
        return SET_UP + self.age_s(number) + self.scenario.lasts + limit

    def left_s(self):
        """How long all that is missing will take, one after the other."""
        unknown = 0 if self.first is not None or self.arguments.quick else (4 if self.with_ == "wgroam" else 2)
        return sum(map(self.guess_s, self.missing)) + unknown * self.guess_s(1)

    def age_s(self, number):
        """How old the tunnel gets before a run, in seconds."""
        return 0 if self.arguments.quick or self.scenario.vm_only else AGES[number % len(AGES)]

    def words(self, number):
        """What `lab run` is told."""
        words = [self.name, "--with", self.with_, "--wireguard", self.arguments.wireguard]
        words += ["--wgroam", str(self.arguments.wgroam.resolve())]
        if self.arguments.quick:
            words += ["--limit", str(min(30, self.scenario.limit))]
            return words + (["--lasts", str(min(10, self.scenario.lasts))] if self.scenario.lasts else [])
        return words + ["--age", str(self.age_s(number))]


class Bench:
    """All cells, some runs at once. What they say goes into a file, line by line."""

    def __init__(self, arguments, raw, done):
        """`done`: the reports of an earlier bench, which are not played again."""
        self.arguments = arguments
        self.raw = raw
        self.lock = threading.Lock()
        self.begun = time.monotonic()
        cells = [(name, with_) for name in names(arguments) for with_ in played(name) if with_ in arguments.with_]
        self.cells = [Cell(arguments, *cell) for cell in cells]
        self.waiting = []  # a heap of (-seconds, order, cell, number): the longest first, so that the end is not one world alone
        self.order = 0
        self.playing = {}  # (cell, number) -> when that began
        self.error = None
        for cell in self.cells:
            cell.know_all(done)
            self.queue(cell, cell.missing)

    def queue(self, cell, numbers):
        """These runs may be played."""
        for number in sorted(numbers):
            self.order += 1
            heapq.heappush(self.waiting, (-cell.guess_s(number), self.order, cell, number))

    def run(self):
        """All of it."""
        # A clock that a run steps is everybody's in its machine.
        jobs = 1 if any(cell.scenario.vm_only for cell in self.cells) and vm.inside() else self.arguments.jobs
        with Runs() as runs:
            workers = [threading.Thread(target=self.work, args=(runs,), daemon=True) for _ in range(jobs)]
            for worker in workers:
                worker.start()
            while any(worker.is_alive() for worker in workers) and self.error is None:
                time.sleep(0.2)  # and let a signal end it
        if self.error is not None:
            raise self.error

    def work(self, runs):
        """Plays what waits, until nothing does and nothing more can come."""
        while self.error is None:
            with self.lock:
                if not self.waiting:
                    if not self.playing:
                        return
                    chosen = None
                else:
                    _, _, cell, number = heapq.heappop(self.waiting)
                    chosen = cell, number
                    self.playing[chosen] = time.monotonic()
            if chosen is None:
                time.sleep(0.2)
                continue
            try:
                report = runs.play(cell.words(number))
            except LabError as error:
                self.error = error
                return
            if report is None:
                return
            with self.lock:
                del self.playing[chosen]
                self.note(cell, number, report)

    def note(self, cell, number, report):
        """A run is over."""
        report["run"] = number
        with open(self.raw, "a") as raw:
            raw.write(json.dumps(report) + "\n")
        before = set(cell.missing)
        cell.know(report)
        self.queue(cell, cell.missing - before)
        silence = "never" if report["recovery_s"] is None else f"{report['recovery_s']} s"
        trouble = "" if report["ok"] else "  " + "; ".join(report.get("problems", ["not ok"]))
        clock = time.strftime("%H:%M:%S")
        words = f"{clock}  {self.left():<20}{cell.name:<23}{cell.with_:<11}run {number + 1}  {silence}{trouble}"
        print(words, file=sys.stderr, flush=True)

    def left(self):
        """How long all the rest will take, in words."""
        now = time.monotonic()
        total = sum(cell.left_s() for cell in self.cells) - sum(now - begun for begun in self.playing.values())
        longest = max((cell.guess_s(number) - now + begun for (cell, number), begun in self.playing.items()), default=0)
        # A world that nobody has begun yet comes last.
        last = max((cell.guess_s(0) for cell in self.cells if cell.missing), default=0) / 2
        runs = sum(len(cell.missing) for cell in self.cells)
        one_by_one = (runs - len(self.playing)) * ONE_BY_ONE[self.arguments.wireguard]
        minutes = max(total / self.arguments.jobs, longest, last, one_by_one) / 60
        return f"about {minutes:.0f} min left" if runs else "done"


def package(name):
    """A Debian package's version."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not from a package"


def versions(arguments):
    """What plays, name -> words. In the machine where it plays."""
    about = {"kernel": os.uname().release + (" in ci/vm (qemu, emulated CPU)" if vm.inside() else "")}
    about["WireGuard"] = "Linux's own" if arguments.wireguard == "kernel" else f"wireguard-go {package('wireguard-go')}"
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


def machine(arguments, words, part, folder, cpus):
    """Starts the kernel's part in ci/vm. `folder` is the machine's for its results."""
    folder.mkdir(exist_ok=True)
    shutil.copy(arguments.raw, folder / "done")
    inner = [str(vm.TREE / "ci" / "bench"), *words]
    inner += ["--play-into", "/results/runs", "--done", "/results/done", "--part", part]
    command = [str(vm.TREE / "ci" / "vm" / "run"), "--timeout", str(MACHINE_SECONDS), "--cpus", str(cpus), "--out", str(folder)]
    return subprocess.Popen([*command, "--", *inner])


def machines(arguments, words):
    """The kernel's part in ci/vm: one machine for what steps the clock, one for the rest. What they have played comes out
    also when they are ended."""
    parts = [part for part in PARTS[1:] if names(argparse.Namespace(**{**vars(arguments), "part": part}))]
    folders = {part: Path(f"{arguments.raw}.{part}") for part in parts}
    for folder in folders.values():
        collect(folder, arguments.raw)  # of a bench that was killed
    processes = {}
    try:
        for part, folder in folders.items():
            processes[part] = machine(arguments, words, part, folder, CPUS[part])
        while any(process.poll() is None for process in processes.values()):
            if any(process.poll() for process in processes.values()):
                break
            time.sleep(0.5)
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.terminate()
            process.wait()
        for folder in folders.values():
            collect(folder, arguments.raw)
    for part, process in processes.items():
        if process.returncode != 0:
            raise LabError(f"the bench in ci/vm ({part}) ended with exit code {process.returncode}; {again(arguments)}")


def again(arguments):
    """How to go on."""
    return f"'--raw {arguments.raw}' plays only what is missing"


def collect(folder, raw):
    """Takes over what was played in a machine."""
    runs = folder / "runs"
    if runs.exists():
        # A machine that was killed may have left half a line.
        whole = [line for line in runs.read_text().splitlines(keepends=True) if line.endswith("\n")]
        with open(raw, "a") as file:
            file.write("".join(whole))
    shutil.rmtree(folder, ignore_errors=True)


def begin(arguments, words):
    """The file for the runs: a new one, or an earlier one of the same binary, to go on with."""
    binary = hashlib.sha256(arguments.wgroam.resolve().read_bytes()).hexdigest()
    of = {"of": {"binary": binary, "wireguard": arguments.wireguard, "quick": arguments.quick}}
    arguments.raw = arguments.raw or Path(tempfile.mkstemp(prefix="wgroam-bench-")[1])
    text = arguments.raw.read_text() if arguments.raw.exists() else ""
    if text:
        before = json.loads(text.splitlines()[0])
        if {"of": before.get("of")} != of:
            raise LabError(f"{arguments.raw} has runs of another binary, WireGuard or patience; name another file")
        return
    about = {"command": "`" + shlex.join(["ci/bench", *words]) + "`", "measured": time.strftime("%Y-%m-%d"), "tree": tree_state()}
    arguments.raw.write_text(json.dumps({**of, "about": about}) + "\n")


def render(lines, out):
    """Writes the page and the plot."""
    about, runs = {}, {}
    for line in lines:
        report = json.loads(line)
        about.update(report.get("about", {}))
        if "scenario" in report:
            # A run that failed was played again.
            runs[report["scenario"], report["with"], report["run"]] = report
    table = figures.cells(runs.values())
    names = [name for name in SCENARIOS if any((name, with_) in table for with_ in figures.CONTENDERS)]
    for name in names:
        same = SCENARIOS[name].same_as
        for with_ in figures.CONTENDERS if same else ():
            if (same, with_) in table:
                table.setdefault((name, with_), table[same, with_])
    figures.compare(table)
    scenarios = {name: SCENARIOS[name].text for name in names}
    subtitle = f"Seconds until the first answer after the disturbance. WireGuard: {about.get('WireGuard', '?')}, {about.get('kernel', '?')}."
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmarks.md").write_text(figures.markdown(scenarios, table, about, "benchmarks.svg"))
    (out / "benchmarks.svg").write_text(figures.svg(scenarios, table, subtitle))
    print(f"bench: {out / 'benchmarks.md'} and benchmarks.svg tell of {len(runs)} runs")
    return table


def main(words):
    """`ci/bench`: 0 when every run was good and wgroam kept its reach."""
    arguments = parser().parse_args(words)
    for name in arguments.only or []:
        if name not in SCENARIOS:
            raise LabError(f"there is no scenario '{name}'; there are: {', '.join(SCENARIOS)}")
    if arguments.play_into:
        arguments.play_into.write_text(json.dumps({"about": versions(arguments)}) + "\n")
        Bench(arguments, arguments.play_into, reports(arguments.done.read_text())).run()
        return 0
    if arguments.render:
        raw = arguments.render
    else:
        begun = time.monotonic()
        begin(arguments, words)
        raw = arguments.raw
        try:
            if arguments.wireguard == "kernel" and not vm.kernel_has_wireguard() and not vm.inside():
                machines(arguments, words)
            else:
                with open(raw, "a") as file:
                    file.write(json.dumps({"about": versions(arguments)}) + "\n")
                Bench(arguments, raw, reports(raw.read_text())).run()
        except BaseException:
            print(f"bench: not done; {again(arguments)}", file=sys.stderr)
            raise
        with open(raw, "a") as file:
            file.write(json.dumps({"about": {"took": f"{(time.monotonic() - begun) / 60:.0f} minutes"}}) + "\n")
        print(f"bench: the runs are in {raw}; --render tells of them again")
    table = render(raw.read_text().splitlines(), arguments.out)
    return 1 if any(cell.problems for cell in table.values()) else 0
