# SPDX-License-Identifier: GPL-2.0-only
"""`wgroam diagnose` in the lab: one fault at a time, each of which has to be the first cross, with its remedy, and to be gone
once the fault is mended."""
import json
import time

from .faults import DESCRIBED, FAULTS, OPENWRT
from .internet import DNS_ADDRESS
from .journey import Journey
from .lab import LabError
from .scenarios import scenario
from .topology import KEEPALIVE, PORT, R2_ADDRESS
from .wgroam import roamer_config

ATTEMPTS = 3  # a handshake that was just tried is not tried again for 5 s
REFUSED_WITHIN = 20  # seconds until wgroam refuses the LAN: 2 s without a session, and a busy machine


class Diagnosis(Journey):
    """A road warrior that went home: R1 runs no wgroam, which would mend what is broken; R2 does."""

    def settle(self):
        """The tunnel works, and both routers lack nothing."""
        self.set_out()
        self.lab.gate.release()  # nothing is measured here
        self.r1.interface["endpoint"] = f"{R2_ADDRESS}:{PORT}"
        self.r2.ip("route add default via 2001:db8:b::10")
        self.narrate("h6 stands for R2's IPv6 Internet")
        self.folder = self.lab.folder / "r1.etc" / "config"
        self.folder.mkdir(parents=True)
        for name, text in OPENWRT.items():
            (self.folder / name).write_text(text)
        allowed = self.r1.interface["allowed_ips"].split(", ")
        with open(self.folder / "network", "a", encoding="utf-8") as network:
            network.write(DESCRIBED.format(key=self.r1.peer) + "".join(f"\tlist allowed_ips '{ip}'\n" for ip in allowed))
        (self.folder / "wgroam").write_text(self.config)
        self.plain = self.lab.folder / "r1.plain"
        self.plain.write_text(self.config)
        self.memory = self.lab.folder / "r1.state"

    def diagnose(self, name, openwrt=False):
        """What `wgroam diagnose --json` says on that router: whether it is sound, and its checks."""
        router = getattr(self, name)
        daemon = self.daemons.get(name)
        config = daemon.config if name == "r2" else self.folder / "wgroam" if openwrt else self.plain
        text = router.run(
            *("sh", "-c", '"$@"; echo $?', "sh"),
            *(self.settings.wgroam, "--runtime-dir", self.lab.folder / f"{name}.wgroam", "diagnose", "--json", "wgr"),
            *("--config", config, "--state", daemon.state if daemon else self.memory),
        )
        try:
            line, code = text.splitlines()
            report = json.loads(line)
        except ValueError:
            raise LabError(f"diagnose on {name} says no JSON: {text!r}") from None
        self.check(code == ("0" if report["ok"] else "1"), f"the exit code is {code}, and ok is {report['ok']}")
        return report["ok"], report["interfaces"][0]["checks"]

    def first_cross(self, name, openwrt=False):
        """The first check that is bad, and all checks."""
        _, checks = self.diagnose(name, openwrt)
        return next((check for check in checks if check["verdict"] == "bad"), None), checks

    def expect(self, what, name, check, remedy, openwrt=False):
        """The first cross is this one, with this remedy; returns all checks."""
        begun = time.monotonic()
        cross, checks = self.first_cross(name, openwrt)
        seconds = time.monotonic() - begun
        found = cross or {"check": None, "seen": "no cross", "remedy": ""}
        good = found["check"] == check and remedy in found["remedy"]
        self.check(good, f"{what}: on {name} the first cross is {found}, not {check} with '{remedy}'")
        self.narrate(f"{name.upper()}, {seconds:.1f} s: ✗ {found['check']}: {found['seen']} → {found['remedy']}")
        self.details["faults"].append({"fault": what, "on": name, "cross": found["check"], "took_s": round(seconds, 1)})
        return checks

    def expect_clean(self, when, name, openwrt=False):
        """There is no cross, or none any more once a handshake had time to be tried again."""
        for _ in range(ATTEMPTS):
            sound, checks = self.diagnose(name, openwrt)
            if sound:
                return
        crosses = [check for check in checks if check["verdict"] == "bad"]
        self.check(False, f"{when}: on {name} there are still crosses: {crosses}")

    def set_up_anew(self):
        """R1's interface is made anew: it calls at once."""
        self.r1.start_anew()
        self.r1.device.set_keepalive(self.r1.interface["peer"], KEEPALIVE)

    def set_up_both_anew(self):
        """Both interfaces are made anew, R2's first: it can't reach R1's old one, and has no session."""
        self.r1.device.delete()
        self.r2.start_anew()
        self.r1.come_back()
        self.r1.device.set_keepalive(self.r1.interface["peer"], KEEPALIVE)

    def inject(self, story, check, remedy, router, openwrt):
        """Breaks, looks, mends, looks again."""
        what = story.__name__.replace("_", " ")
        self.narrate(story.__doc__)
        telling = story(self)
        next(telling)
        self.expect(what, router, check, remedy, openwrt)
        for _ in telling:
            pass
        self.expect_clean(f"after '{what}'", router, openwrt)


def full_tunnel(stage):
    """All of IPv4 goes into the tunnel, and the peer has a name: that is told where WireGuard's packets have no mark, and is no
    cross."""
    stage.r1.ip(*(f"route add {to} via 10.0.0.1" for to in (R2_ADDRESS, DNS_ADDRESS)))
    found = []
    for mark, routes in ((0, ()), (0, ("0.0.0.0/1",)), (0, ("128.0.0.0/1",)), (0x51, ())):
        stage.r1.run("wg", "set", "wgr", "fwmark", mark)
        stage.r1.ip(*(f"route add {route} dev wgr" for route in routes))
        sound, checks = stage.diagnose("r1")
        stage.check(sound, f"a full tunnel is a cross: {[check for check in checks if check['verdict'] == 'bad']}")
        found.append([check["verdict"] for check in checks if check["check"] == "leak"])
    stage.check(found == [[], [], ["unknown"], ["ok"]], f"of a full tunnel, half by half and with a mark, is told: {found}")
    stage.r1.ip(*(f"route delete {route} dev wgr" for route in ("0.0.0.0/1", "128.0.0.0/1")))
    stage.r1.ip(*(f"route delete {to}" for to in (R2_ADDRESS, DNS_ADDRESS)))
    stage.r1.run("wg", "set", "wgr", "fwmark", 0)
    stage.expect_clean("the tunnel is no full one any more", "r1")


def dead_tunnel(stage):
    """R2 is cut off while wgroam runs on R1 and refuses the LAN: that is no fault of its own, and said to be none."""
    stage.start_wgroam("r1", roamer_config(stage.r1))
    stage.r2.vanish()
    stage.set_up_anew()
    deadline = time.monotonic() + REFUSED_WITHIN
    while not stage.r1.run("ip", "-6", "route", "show", "proto", 119) and time.monotonic() < deadline:
        time.sleep(0.1)
    checks = stage.expect("dead tunnel", "r1", "handshake", "is on and has Internet")
    verdicts = {check["check"]: check for check in checks}
    stage.check("no fault" in verdicts["refusal"]["seen"], f"the refusal is not explained: {verdicts['refusal']}")
    stage.check(verdicts["default-route"]["verdict"] == "skipped", f"wgroam's own refusal: {verdicts['default-route']}")
    stage.check(verdicts["daemon"]["verdict"] == "ok", f"wgroam is not seen: {verdicts['daemon']}")
    stage.r2.reappear()
    stage.from_lan.silence(REFUSED_WITHIN)
    stage.expect_clean("R2 is back, with wgroam on R1", "r1")


@scenario("diagnose", wgroam_on=("r2",), limit=20, reach=10, stage=Diagnosis, journey=True, bench=False)
def diagnose(stage):
    """One fault after the other: `wgroam diagnose` names its cause and remedy first, and nothing once it is mended."""
    stage.details["faults"] = []
    stage.settle()
    for router, openwrt in (("r1", False), ("r1", True), ("r2", False)):
        stage.expect_clean("before anything is broken", router, openwrt)
    for described in FAULTS:
        stage.inject(*described)
    full_tunnel(stage)
    dead_tunnel(stage)
    stage.lab.disturbed_at = None
    return stage.silence(stage.from_lan, "the LAN")
