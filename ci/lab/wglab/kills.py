# SPDX-License-Identifier: GPL-2.0-only
"""kill -9 of wgroam on R1 at random moments of a journey, and a new start each time: all must be mended in the end, and
after a clean stop R1 is as it was before wgroam's first start."""
import random
import shutil
import threading
import time

from .internet import HOME
from .journey import Journey
from .lab import LabError
from .scenarios import scenario
from .topology import FAR_HOST, KEEPALIVE, R2_ADDRESS

PROTOCOL = 119  # of the routes that wgroam owns
SOON = 20  # seconds: within these the tunnel works again, whatever happened
ROUTES_LATE = 3  # seconds after its first answer, or its end, within which a tunnel has the routes that belong to it
CALLS = ["sendto", "sendmsg", "openat", "write", "unlink", "bind", "socket", "/^rename", "flock", "listen"]
RUNTIME = {"state"}  # what stays in the runtime folder: what is remembered


@scenario("kills", wgroam_on=("r1",), limit=SOON, reach=SOON, stage=Journey, journey=True, bench=False)
def kills(stage):
    """wgroam is killed again and again in the midst of a journey, and started anew; then it is stopped."""
    if stage.settings.with_ != "wgroam":
        raise LabError("kills has nothing to kill without wgroam: --with wgroam")
    seed = stage.settings.seed if stage.settings.seed is not None else random.randrange(1 << 32)
    stage.details.update(seed=seed, kills=stage.settings.kills)
    stage.narrate(f"the seed is {seed}")
    stage.prepare(full=True, probe="fd00:99::1")
    stage.r1.add_backup()
    stage.r1.ask_dns_outside()
    stage.inet.point_name(HOME, R2_ADDRESS)
    stage.lan.start("ping", "-6", "-i", "0.2", FAR_HOST)
    before = picture(stage.r1)
    stage.arrive()
    stage.lab.gate.release()
    story = Story(stage, random.Random(seed))
    story.lives(stage.settings.kills)
    story.calm()
    recovery = story.start_again("after the last kill")
    story.dead_tunnel_and_kill()
    story.dead_tunnel_and_stop(before)
    story.start_again("after a stop in a dead tunnel")
    story.stop(before)
    return recovery


def picture(router):
    """What of R1's set-up wgroam could have changed, as (what, lines)."""
    found = {}
    for family in ("-4", "-6"):
        found[f"routes {family}"] = sorted(router.run("ip", family, "route", "show", "table", "all").splitlines())
        found[f"rules {family}"] = sorted(router.run("ip", family, "rule", "show").splitlines())
    # Where a peer is and by which port we call it is what wgroam is for, and stays.
    shown = router.run("wg", "showconf", router.device.name).splitlines()
    found["WireGuard"] = sorted(line for line in shown if not line.startswith(("Endpoint", "ListenPort")))
    return {what: [line.strip() for line in lines] for what, lines in found.items()}


def own_routes(router):
    """The routes with wgroam's mark, of all tables: (IPv4's, IPv6's)."""
    show = ("route", "show", "table", "all", "proto", PROTOCOL)
    return tuple(
        [line.strip() for line in router.run("ip", family, *show).splitlines()] for family in ("-4", "-6")
    )


class Story:
    """The parts of the journey."""

    def __init__(self, stage, random_):
        self.stage = stage
        self.daemon = stage.daemons["r1"]
        # One for the moments and one for the network, so that one's speed does not change what the other does.
        self.moments = random.Random(random_.random())
        self.weather = random.Random(random_.random())
        self.wan, self.home = True, True  # are R1's first uplink and R2 there?
        self.starting_s = None

    # --- the network

    def move(self):
        """Something happens to the network. R2 is there for most of the time: without it there is little to do."""
        stage = self.stage
        moves = [self.toggle_wan, self.toggle_wan, self.toggle_home, stage.nat.rebind]
        moves += [self.move_home] * 2 if self.home else [self.toggle_home] * 2
        self.weather.choice(moves)()

    def toggle_wan(self):
        """R1's first uplink goes, or comes."""
        self.wan = not self.wan
        (self.stage.r1.regain_wan if self.wan else self.stage.r1.lose_wan)()

    def toggle_home(self):
        """R2 goes, or comes."""
        self.home = not self.home
        (self.stage.r2.reappear if self.home else self.stage.r2.vanish)()

    def move_home(self):
        """R2 gets another address, and its name with it."""
        self.stage.r2.change_wan_address()
        self.stage.inet.point_name(HOME, self.stage.r2.address)

    def calm(self):
        """All is there."""
        if not self.wan:
            self.toggle_wan()
        if not self.home:
            self.toggle_home()

    # --- the lives

    def lives(self, number):
        """So many starts, each ended by a kill at a random moment, while the network does what it does."""
        begun = time.monotonic()
        self.daemon.kill()
        self.starting_s = self.timed_start()
        counts = {}
        for life in range(number):
            kind = self.moments.choice(["start", "soon", "soon", "late", "call", "call", "torn"])
            counts[kind] = counts.get(kind, 0) + 1
            if life > 0:
                getattr(self, f"live_{kind}")()
            else:
                self.live_until(self.moments.uniform(0, 1))
        self.stage.details.update(kinds=counts, lives_s=round(time.monotonic() - begun, 1))
        self.stage.narrate(f"{number} kills in {time.monotonic() - begun:.0f} s: {counts}")

    def timed_start(self):
        """Starts it; returns how long it takes until it answers."""
        begun = time.monotonic()
        self.daemon.start()
        return time.monotonic() - begun

    def live_start(self):
        """Killed while it starts, or just after that."""
        self.daemon.spawn()
        self.live_until(self.moments.uniform(0, 1.5 * self.starting_s))

    def live_soon(self):
        """Killed in its first steps."""
        self.daemon.spawn()
        self.live_until(self.moments.uniform(0, 1.5))

    def live_late(self):
        """Killed when it is far up the ladder."""
        self.daemon.spawn()
        self.live_until(self.moments.uniform(1.5, 5))

    def live_call(self):
        """Killed on entering a system call: between any two of them. By then it may have lived for a while."""
        if shutil.which("strace") is None:
            raise LabError("strace is missing; 'ci/need userspace-lab' installs it")
        call, when = self.moments.choice(CALLS), self.moments.choice([1, 2, 3, 5, 8, 13, 21, 34])
        inject = f"inject={call}:signal=KILL:when={when}"
        # -D: wgroam stays the child of ours, and strace is its grandchild's business.
        self.daemon.spawn("strace", "-D", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        self.live_until(self.moments.uniform(0.5, 3))

    def live_torn(self):
        """A state file was cut off, as by a power cut, and a new one was left half written. It says so, and starts."""
        path = self.moments.choice([self.daemon.state, self.daemon.runtime / "state"])
        share = self.moments.random()
        if path.exists():
            path.with_name(path.name + ".new").write_bytes(path.read_bytes()[:40])
            path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
            self.daemon.news()
            self.daemon.start()
            said = any(f"{path}: is no state file" in line and "set aside as" in line for line in self.daemon.news())
            self.stage.check(said, f"{path.name} was torn, and wgroam does not say that it set it aside")
        else:
            self.daemon.spawn()
        self.live_until(self.moments.uniform(0, 1))

    def live_until(self, seconds):
        """Things happen, and so many seconds from now it is killed in the midst of them."""
        process = self.daemon.process
        killer = threading.Timer(seconds, process.kill)
        killer.start()
        try:
            while process.poll() is None:
                self.move()
                # Some moves come in a row, and some have time to tell.
                until = time.monotonic() + self.weather.choice([0, 0.2, 1, 4])
                while time.monotonic() < until and process.poll() is None:
                    time.sleep(0.02)
        finally:
            killer.cancel()
        if process.returncode != -9:
            raise LabError(f"wgroam ended by itself, exit code {process.returncode}:\n{self.daemon.log_tail()}")

    # --- what must hold

    def start_again(self, when):
        """Starts it in a network that works; returns the seconds until the tunnel does. Then all is as it should be."""
        self.stage.lab.disturb()
        self.daemon.start()
        seconds = self.stage.silence(self.stage.from_lan, "the LAN", limit=SOON)
        self.stage.check(seconds is not None, f"{when}: the tunnel is silent for over {SOON} s")
        self.check_alive(when)
        return seconds

    def check_alive(self, when):
        """The tunnel works: one host route by the first uplink, and no other route of ours."""
        def good(four, six):
            return len(four) == 1 and f"{self.stage.r2.address} via 10.0.0.1 dev wan" in four[0] and not six

        self.check_routes(good, ROUTES_LATE, f"{when}: the tunnel works")
        keepalive = self.stage.r1.run("wg", "show", self.stage.r1.device.name, "persistent-keepalive").split()[-1]
        self.stage.check(keepalive == str(KEEPALIVE), f"{when}: the peer's keepalive is {keepalive}, not {KEEPALIVE}")

    def check_dead(self, when, patience):
        """The tunnel is dead: what the LAN sends is refused, and nothing else has changed."""
        def good(four, six):
            return len(four) == 1 and "10.0.0.1 dev wan" in four[0] and six and all(r.startswith("unreachable") for r in six)

        self.check_routes(good, patience, f"{when}: the tunnel is dead")

    def check_routes(self, good, patience, when):
        """The routes with our mark are good, or get so in time."""
        deadline = time.monotonic() + patience
        while not good(*(found := own_routes(self.stage.r1))) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.stage.check(good(*found), f"{when}, and the routes of proto {PROTOCOL} are {found[0] + found[1]}")

    def dead_tunnel_and_kill(self):
        """R2 goes; wgroam is killed in the dead tunnel, and R2 comes back elsewhere while nobody looks: no route of the
        former life fits any more."""
        self.toggle_home()
        self.check_dead("R2 is gone", SOON)
        self.daemon.kill()
        self.daemon.start()
        self.check_dead("killed in a dead tunnel and started again", SOON)
        self.daemon.kill()
        self.toggle_home()
        self.move_home()
        self.start_again("after a kill in a dead tunnel")

    def dead_tunnel_and_stop(self, before):
        """A clean stop in the midst of a dead tunnel."""
        self.toggle_home()
        self.check_dead("R2 is gone once more", SOON)
        self.stop(before)
        self.toggle_home()

    def stop(self, before):
        """SIGTERM; nothing stays behind."""
        stage, daemon = self.stage, self.daemon
        daemon.stop()
        stage.narrate("wgroam on R1 was stopped")
        four, six = own_routes(stage.r1)
        stage.check(not four and not six, f"stopped, and there are still the routes {four + six}")
        for what, lines in picture(stage.r1).items():
            more, less = set(lines) - set(before[what]), set(before[what]) - set(lines)
            stage.check(not more and not less, f"stopped, and of the {what} there are more: {more}, less: {less}")
        left = {path.name for path in daemon.runtime.iterdir()}
        aside = {"state.corrupt"} if "torn" in stage.details["kinds"] else set()
        stage.check(left - aside <= RUNTIME, f"stopped, and the runtime folder holds {sorted(left)}")
        beside = {path.name for path in daemon.state.parent.glob(f"{daemon.state.name}*")}
        wanted = {daemon.state.name, f"{daemon.state.name}.corrupt"}
        stage.check(beside <= wanted, f"stopped, and beside the state file there is {sorted(beside)}")
        for path in (daemon.state, daemon.runtime / "state"):
            whole = path.exists() and path.read_text().splitlines()[-1].startswith("end: ")
            stage.check(whole, f"stopped, and {path.name} is not whole")
