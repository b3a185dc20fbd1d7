# SPDX-License-Identifier: GPL-2.0-only
"""The scenarios that a release must pass, and the check that the lab cleans up. One line each, and a count at the end.

Most of a scenario is waiting: some play at once, and the kernel's part runs at the same time as wireguard-go's, in one
machine of ci/vm where this kernel has no WireGuard."""
import json
import os
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from . import vm
from .lab import HOME, NETNS, UP_SECONDS, LabError, prefix, start_time
from .openwrt.root import prepare
from .runs import Runs
from .scenarios import SCENARIOS

KERNEL_SECONDS = 1500  # for the kernel's part, machine included, on a slow day
KERNEL_CPUS = 2  # emulated
NOISE = 2.0  # seconds; two runs of the same silence differ by less, on a machine that is busy with others


@dataclass(frozen=True)
class Step:
    """One scenario, played once."""

    scenario: str
    with_: str = "wgroam"
    limit: float = None  # seconds; None: the scenario's own
    silent: bool = False  # a control: the lab must be able to show the outage that wgroam heals
    lasts: float = None  # seconds of trouble; None: the scenario's own
    after: "Step" = None  # played before, once for all that name it; the silence must not be longer than that one's
    openwrt: str = None  # whose netifd both routers have
    here: bool = False  # with wireguard-go only: the machine for the kernel is slow, and each of its steps delays the others

    @property
    def name(self):
        """As its result is called."""
        return f"{self.scenario} {self.openwrt}" if self.openwrt else self.scenario

    def words(self, arguments, wireguard):
        """What `lab run` is told."""
        words = [self.scenario, "--with", self.with_, "--wireguard", wireguard]
        words += ["--wgroam", str(arguments.wgroam.resolve()), "--hostile", str(arguments.hostile.resolve())]
        words += ["--limit", str(self.limit)] if self.limit else []
        words += ["--openwrt", self.openwrt] if self.openwrt else []
        return words + (["--lasts", str(self.lasts)] if self.lasts else [])


# The longest first, so that the end is not one of them alone. Where the length of the trouble does not matter it is shorter
# than the scenario's own.
SHORT = {"lasts": 15, "limit": 20}  # seconds: a ladder has been through all its candidates by then
SITES = {"lasts": 35, "limit": 20}  # and through all its steps
STEPS = [
    Step("kills", here=True),
    Step("diagnose", here=True),
    Step("nat-rebind", after=Step("nat-rebind", "nothing")),
    Step("share-ipv6", openwrt="24.10"),
    Step("share-ipv6", openwrt="25.12"),
    Step("share-ipv6", openwrt="main"),
    Step("site-to-site", after=Step("site-to-site", "nothing", **SITES), **SITES),
    Step("cgnat", after=Step("cgnat", "nothing", **SITES), here=True, **SITES),
    Step("split-horizon", after=Step("split-horizon", "nothing", **SHORT), **SHORT),
    Step("split-horizon-dns", after=Step("split-horizon", "nothing", **SHORT), here=True, **SHORT),
    Step("split-horizon-parked", after=Step("split-horizon", "nothing", **SHORT), here=True, **SHORT),
    Step("split-horizon-loopback", after=Step("split-horizon", "nothing", **SHORT), here=True, **SHORT),
    Step("split-horizon-inside", after=Step("split-horizon", "nothing", **SHORT), here=True, **SHORT),
    Step("anchor-moves-off", lasts=25, limit=20),
    Step("recordings"),
    Step("multipath", lasts=20),
    Step("forgery"),
    Step("dns-wrong-then-right", "nothing", limit=20, silent=True, here=True),
    Step("dns-wrong-then-right"),
    Step("flapping-wan", lasts=20),
    Step("dead-tunnel"),
    Step("dead-tunnel", "nothing", limit=20, silent=True, here=True),
    Step("dead-tunnel-probed"),
    Step("mute-probe"),
    Step("captive-portal", lasts=20, after=Step("captive-portal", "nothing", lasts=20)),
    Step("dns-late", lasts=20),
    Step("anchor-moves", "nothing", limit=20, silent=True, here=True),
    Step("blocked-port", "nothing", limit=20, silent=True, here=True),
    Step("broken-family", "nothing", limit=20, silent=True, here=True),
    Step("nat-blackhole", "nothing", limit=20, silent=True, here=True),
    Step("flapping-wan", "nothing", limit=6, lasts=6, silent=True, here=True),
    Step("wan-change", "nothing", limit=6, silent=True),
    Step("anchor-reboot", "nothing", limit=6, silent=True),
    Step("wan-returns", "nothing", limit=10, silent=True, here=True),
    Step("nat-blackhole"),
    Step("wan-returns"),
    Step("wan-change"),
    Step("anchor-reboot"),
    Step("anchor-restart"),
    Step("anchor-moves"),
    Step("blocked-port"),
    Step("broken-family"),
    Step("both-move"),
    Step("steady"),
    Step("bad-key"),
    Step("recordings-while-stopped", here=True),
    Step("clock-refused", limit=20),
    Step("clock-refused", "nothing", limit=10, silent=True, here=True),
    Step("own-source", limit=30),
    Step("policy-returns", limit=20),
    Step("policy-returns", "nothing", limit=8, silent=True, here=True),
    Step("foreign-hands", limit=20),
    Step("dns-behind", limit=30),
    Step("dns-behind-quick", limit=30, here=True),
    Step("dns-behind-boot", limit=30, here=True),
    Step("dns-behind", "nothing", limit=20, silent=True, here=True),
    Step("anchor-moves-probed"),
    Step("anchor-moves-probe", here=True),
    Step("nat-rebind-probed", here=True),
    Step("clock-back"),
]


class Count:
    """Prints a line per result, and counts."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.lock = threading.Lock()

    def note(self, good, text, details=None):
        """One result; its details are printed when it is bad."""
        with self.lock:
            self.passed += good
            self.failed += not good
            print(f"{'pass' if good else 'FAIL'}  {text}", flush=True)
            if not good and details is not None:
                logs = details.pop("logs", {})
                print("      " + json.dumps(details))
                for name, log in logs.items():
                    print(f"      the end of wgroam's log on {name}:")
                    print("".join(f"        {line}\n" for line in log.splitlines()), end="", flush=True)

    def add(self, passed, failed):
        """Results that were printed already."""
        with self.lock:
            self.passed += passed
            self.failed += failed


class Controls:
    """What steps are compared with. Each is played once, by the first that wants it; the others wait for that."""

    def __init__(self, play):
        self.play = play
        self.lock = threading.Lock()
        self.reports = {}

    def of(self, step):
        """The report of the run that a step is compared with; None for a step that stands alone, or when all is stopped."""
        if step.after is None:
            return None
        with self.lock:
            mine = step.after not in self.reports
            report = self.reports.setdefault(step.after, Future())
        if mine:
            try:
                report.set_result(self.play(step.after))
            except BaseException as error:
                report.set_exception(error)
        return report.result()


def verdict(step, report, before):
    """Is the result what the step wants? And in words."""
    seconds = report["recovery_s"]
    words = f"silent for over {report['limit_s']:.0f} s" if seconds is None else f"{seconds:.2f} s of silence"
    good = report["ok"]
    if step.silent:
        good = good and seconds is None
        words += ", as it must be for a control"
    elif report["reach_s"] is not None:
        words += f" (at most {report['reach_s']} s)"
    if before is not None:
        never = before["recovery_s"] is None
        alone = before["limit_s"] if never else before["recovery_s"]
        more = report.get("beside_s", 0.0) + NOISE
        good = good and seconds is not None and seconds <= alone + more
        words += f" (at most {more:.0f} s more than the {'over ' if never else ''}{alone:.2f} s with {before['with']})"
    # The first line may be all that is left of a long log.
    if not good and report["problems"]:
        words += ": " + "; ".join(problem.partition("\n")[0] for problem in report["problems"])
    return good, words


def play_steps(arguments, wireguard, count):
    """All steps with one kind of WireGuard. What sets the machine's clock comes last, alone."""
    steps = [step for step in STEPS if not step.here or wireguard == "userspace"]
    # wireguard-go's part leaves those to the kernel's.
    clock = [step for step in steps if SCENARIOS[step.scenario].vm_only] if wireguard == "kernel" else []
    steps = [step for step in steps if not SCENARIOS[step.scenario].vm_only]
    with Runs() as runs:

        def play(step):
            before = controls.of(step)
            report = runs.play(step.words(arguments, wireguard))
            if report is not None:
                good, words = verdict(step, report, before)
                count.note(good, f"{wireguard:<10}{step.name:<25}with {step.with_:<8}{words}", report)
            return report

        controls = Controls(play)
        for jobs, some in ((arguments.jobs, steps), (1, clock)):
            with ThreadPoolExecutor(max_workers=jobs) as pool:
                waiting = [pool.submit(play, step) for step in some]
                try:
                    for step, future in zip(some, waiting):
                        try:
                            future.result()
                        except LabError as error:
                            count.note(False, f"{wireguard:<10}{step.name:<25}{error}")
                except BaseException:
                    runs.stop()
                    raise


def kernel_part(arguments):
    """Starts the kernel's part as a process, in ci/vm where this kernel has no WireGuard."""
    words = ["test", "--wireguard", "kernel", "--jobs", str(arguments.jobs)]
    words += ["--wgroam", str(arguments.wgroam.resolve()), "--hostile", str(arguments.hostile.resolve())]
    here = vm.kernel_has_wireguard()
    command = [str(vm.LAB), *words] if here else vm.command(words, KERNEL_SECONDS, KERNEL_CPUS)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def follow(process, count):
    """Passes on what the kernel's part prints; its count is added to ours."""
    summary = None
    for line in process.stdout:
        summary = re.fullmatch(r"(\d+) passed, (\d+) failed\n", line)
        if summary is None:
            print(line, end="", flush=True)
    if summary is None:
        count.note(False, f"kernel    ended without a result, exit code {process.wait()}")
    else:
        count.add(*map(int, summary.groups()))


def leftovers(pid):
    """What a run left behind."""
    return [path.name for path in NETNS.glob(f"{prefix(pid)}*")] + [path.name for path in HOME.glob(f"{pid}-*")]


def interrupted(number):
    """Starts a run and interrupts it by a signal in the midst of it; returns its pid."""
    process = subprocess.Popen(
        [str(vm.LAB), "run", "steady", "--with", "nothing"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + UP_SECONDS
    while len(leftovers(process.pid)) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    begun = leftovers(process.pid)
    os.kill(process.pid, number)
    process.wait()
    return process.pid, begun


def check_cleanup(count):
    """Nothing stays behind: at once after Ctrl-C and SIGTERM, at the next start after SIGKILL."""
    for number in (signal.SIGINT, signal.SIGTERM):
        pid, begun = interrupted(number)
        left = leftovers(pid)
        words = f"left behind: {', '.join(left)}" if left else "nothing stays behind"
        count.note(bool(begun) and not left, f"lab       after {number.name}: {words}")
    pid, begun = interrupted(signal.SIGKILL)
    dead = start_time(pid) is None and leftovers(pid)
    subprocess.run([str(vm.LAB), "run", "steady", "--with", "nothing", "--limit", "5"], capture_output=True, check=False)
    left = leftovers(pid)
    words = f"left behind: {', '.join(left)}" if left else "the next run sweeps what stayed behind"
    count.note(bool(begun and dead) and not left, f"lab       after SIGKILL: {words}")


def run(arguments):
    """`lab test`: 0 when all passed."""
    count = Count()
    kernel = None
    prepare()
    try:
        if arguments.wireguard == "both":
            kernel = kernel_part(arguments)
            follower = threading.Thread(target=follow, args=(kernel, count), daemon=True)
            follower.start()
        if arguments.wireguard != "kernel":
            check_cleanup(count)
            play_steps(arguments, "userspace", count)
        else:
            play_steps(arguments, "kernel", count)
        if kernel is not None:
            follower.join()
    finally:
        if kernel is not None and kernel.poll() is None:
            kernel.terminate()
            kernel.wait()
    print(f"{count.passed} passed, {count.failed} failed", flush=True)
    return 1 if count.failed else 0
