# SPDX-License-Identifier: GPL-2.0-only
"""The lab's command line."""
import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from . import stories, suite, vm  # noqa: F401 (stories registers them)
from .lab import LabError
from .openwrt.releases import RELEASES
from .openwrt.root import prepare
from .report import play
from .rivals import RIVALS
from .scenarios import SCENARIOS
from .stage import Settings

RELEASE = vm.TREE / "wgroam" / "target" / "release"
BOOT_SECONDS = 90  # a machine's start and end, on a slow day
SCENARIO_SECONDS = 120  # what a scenario takes besides its silence, in a machine on a slow day


LASTING = ", ".join(f"{s.name} ({s.lasts:.0f})" for s in SCENARIOS.values() if s.lasts)


def parser():
    """The arguments."""
    top = argparse.ArgumentParser(prog="lab", description="Two routers, a NAT and a WireGuard tunnel in namespaces.")
    verbs = top.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="the scenarios, a line each")
    run = verbs.add_parser("run", help="play scenarios; each prints a JSON object on a line of its own")
    run.add_argument("scenarios", nargs="+", metavar="SCENARIO", help="a name of `lab list`, or: all, journeys")
    run.add_argument("--with", dest="with_", choices=("wgroam", "nothing", *RIVALS), default="wgroam")
    run.add_argument("--limit", type=float, help="seconds after which a silence counts as never")
    run.add_argument("--lasts", type=float, help="seconds that the trouble lasts, in " + LASTING)
    run.add_argument("--age", type=float, default=0, help="seconds that the tunnel has been up before, default 0")
    run.add_argument("--packets", type=int, default=100_000, help="hostile packets (forgery), default 100000")
    run.add_argument("--rate", type=int, default=5_000, help="of them per second, default 5000")
    run.add_argument("--kills", type=int, default=50, help="how often wgroam is killed (kills), default 50")
    run.add_argument("--openwrt", choices=tuple(RELEASES), help="whose netifd both routers have (share-ipv6), default: one of each")
    run.add_argument("--seed", type=int, help="what is random in kills, as an earlier run has named it")
    run.add_argument("--gate", type=int, help=argparse.SUPPRESS)  # a file descriptor, of Runs
    run.add_argument("--quick", action="store_true", help="20000 hostile packets")
    run.add_argument("--verbose", action="store_true", help="say on stderr what is done to the network")
    test = verbs.add_parser("test", help="play what a release must pass, and count")
    test.add_argument("--jobs", type=int, default=4, help="scenarios at once, of each kind of WireGuard; default 4")
    for verb, choices in ((run, ("userspace", "kernel")), (test, ("userspace", "kernel", "both"))):
        verb.add_argument("--wireguard", choices=choices, default=choices[-1] if verb is test else "userspace")
        verb.add_argument("--wgroam", type=Path, default=RELEASE / "wgroam", help="the binary, with wgroam-diagnose beside it")
        verb.add_argument("--hostile", type=Path, default=RELEASE / "examples" / "hostile", help="the sender of forgery")
    return top


def narrator():
    """Prints lines with the seconds since the start."""
    begun = time.monotonic()

    def narrate(text):
        print(f"{time.monotonic() - begun:7.2f}  {text}", file=sys.stderr, flush=True)

    return narrate


def run(arguments, words):
    """`lab run`."""
    names = arguments.scenarios
    if names in (["all"], ["journeys"]):
        names = [name for name, scenario in SCENARIOS.items() if scenario.journey == (names == ["journeys"])]
    for name in names:
        if name not in SCENARIOS:
            raise LabError(f"there is no scenario '{name}'; there are: {', '.join(SCENARIOS)}")
    if arguments.quick:
        arguments.packets = 20_000
    limits = {name: arguments.limit or SCENARIOS[name].limit for name in names}
    lasts = {name: arguments.lasts or SCENARIOS[name].lasts for name in names if SCENARIOS[name].lasts}
    if any(SCENARIOS[name].openwrt for name in names):
        prepare()
    needs_kernel = arguments.wireguard == "kernel" and not vm.kernel_has_wireguard()
    if needs_kernel and vm.inside():
        raise LabError("the kernel of ci/vm has no WireGuard")
    if not vm.inside() and (needs_kernel or any(SCENARIOS[name].vm_only for name in names)):
        if arguments.gate is not None:  # nobody there to take turns with
            os.close(arguments.gate)
            words = words[: words.index("--gate")]
        seconds = sum(limits.values()) + sum(lasts.values()) + (arguments.age + SCENARIO_SECONDS) * len(names)
        command = vm.command(words, BOOT_SECONDS + seconds)
        os.execv(command[0], command)
    good = True
    for name in names:
        settings = Settings(
            wireguard=arguments.wireguard,
            with_=arguments.with_,
            wgroam=arguments.wgroam.resolve(),
            hostile=arguments.hostile.resolve(),
            limit=limits[name],
            packets=arguments.packets,
            rate=arguments.rate,
            lasts=lasts.get(name, 0.0),
            age=arguments.age,
            gate=arguments.gate,
            openwrt=arguments.openwrt,
            kills=arguments.kills,
            seed=arguments.seed,
        )
        report = play(name, settings, narrator() if arguments.verbose else lambda text: None)
        print(json.dumps(report), flush=True)
        good = good and report["ok"]
    return 0 if good else 1


def main(words):
    """Runs the lab; returns the exit code: 0 ok, 1 something was not, 2 usage, 130 interrupted."""
    arguments = parser().parse_args(words)

    def leave(number, _frame):
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        if arguments.verb == "list":
            for scenario in SCENARIOS.values():
                print(f"{scenario.name:<26}{scenario.text}")
            return 0
        if arguments.verb == "run":
            return run(arguments, words)
        return suite.run(arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
