# SPDX-License-Identifier: GPL-2.0-only
"""The stories of the travelling side, which knows the name of R2. `reach` is what docs/design/labs.md says of each."""
import functools
import time

from . import vm
from .internet import HOME
from .journey import AT_HOME, Journey
from .lab import LabError
from .scenarios import PROBED, UNSENT_HANDSHAKE, scenario
from .topology import NOBODY, PORT, R2_ADDRESS, R2_ADDRESS6, R2_NEW_ADDRESS

NEVER = 240  # seconds: the slowest rival acts after 150 and a minute; what takes longer is never
HIDDEN_PORT = 443  # what hotels let through
SOON = 20  # seconds: what the simulated journeys have to keep, where nothing stricter is asked for
IN_A_VM = 10  # times slower
MONTH = 30 * 86400
REFUSED_AFTER = 6  # seconds from R2's end to the first refusal, where there is something to probe
LEARNING, QUIET = 40, 25  # seconds: two ladders end by WireGuard's keepalive, 10 s each; then nothing happens

journey = functools.partial(scenario, wgroam_on=("r1",), limit=NEVER, stage=Journey, journey=True)


@journey("anchor-moves", reach=10)
def anchor_moves(stage):
    """R2's address changes and its name with it; R1 sends from behind its NAT."""
    stage.set_out()
    stage.r2.change_wan_address()
    stage.inet.point_name(HOME, R2_NEW_ADDRESS)
    return stage.silence(stage.from_lan, "R1's side")


@journey("anchor-moves-probed", reach=3, same_as="anchor-moves")
def anchor_moves_probed(stage):
    """As anchor-moves, where wgroam probes each second."""
    stage.set_out(probe=PROBED, probe_interval="1")
    stage.r2.change_wan_address()
    stage.inet.point_name(HOME, R2_NEW_ADDRESS)
    return stage.silence(stage.from_lan, "R1's side")


@journey("anchor-moves-probe", reach=5, same_as="anchor-moves")
def anchor_moves_probe(stage):
    """As anchor-moves, where wgroam probes what seems silent."""
    stage.set_out(probe=PROBED)
    stage.r2.change_wan_address()
    stage.inet.point_name(HOME, R2_NEW_ADDRESS)
    return stage.silence(stage.from_lan, "R1's side")


@journey("mute-probe", reach=1, bench=False)
def mute_probe(stage):
    """wgroam probes an address every 2 s that R2's firewall drops echoes to; the tunnel itself is idle, and works."""
    stage.r2.drop_echoes()
    stage.set_out(probe=PROBED, probe_interval="2")
    stage.pass_time(LEARNING, time.sleep)
    peer = stage.daemons["r1"].peer()
    targets = [problem.get("target") for problem in peer["problems"] if problem["problem"] == "probe-mute"]
    stage.check(targets == [PROBED], f"status does not say that nobody answers at {PROBED}: {peer['problems']}")
    learnt = len(peer["steps"])
    stage.pass_time(QUIET, time.sleep)
    peer = stage.daemons["r1"].peer()
    done = [step["step"] for step in peer["steps"] if step["age_s"] < QUIET]
    stage.check(learnt > 0 and not done, f"it began again: {done}")
    stage.check(peer["silent"] is None and peer["moves"] == 1, f"silent: {peer['silent']}, moves: {peer['moves']}")
    return stage.silence(stage.from_lan, "R1's side")


@journey("both-move", wgroam_on=("r1", "r2"), reach=SOON)
def both_move(stage):
    """R1's and R2's addresses change at once, and R2's name; R1 sends."""
    stage.set_out()
    stage.r1.change_wan_address()
    stage.r2.change_wan_address()
    stage.inet.point_name(HOME, R2_NEW_ADDRESS)
    return stage.silence(stage.from_lan, "R1's side")


@journey("blocked-port", reach=12)
def blocked_port(stage):
    """R1 comes to a hotel that filters WireGuard's port; R2 can be reached by port 443 too."""
    stage.r2.listen_also(HIDDEN_PORT)
    stage.set_out(AT_HOME, f"{HOME}:{HIDDEN_PORT}")
    stage.nat.filter_port(PORT)
    stage.r1.change_wan_address()
    return stage.silence(stage.from_lan, "R1's side")


@journey("broken-family", reach=8, reach_userspace=8 + UNSENT_HANDSHAKE)
def broken_family(stage):
    """R2's name has an IPv6 and an IPv4 address; R1 starts where IPv6 is announced and leads nowhere."""
    stage.r2.ip(f"address add {R2_ADDRESS6}/64 dev wan nodad")
    stage.nat.swallow_ipv6()
    stage.r1.gain_ipv6()
    stage.prepare()
    stage.inet.point_name(HOME, R2_ADDRESS6, R2_ADDRESS)
    stage.call_home()
    stage.start_rival(AT_HOME)
    return stage.silence(stage.from_lan, "R1's side")


@journey("nat-blackhole", reach=15)
def nat_blackhole(stage):
    """The NAT swallows R1's source port for good; R1 sends."""
    stage.set_out(tunnel={"rotate_port": "1"})
    stage.nat.swallow(stage.r1.device.listen_port())
    return stage.silence(stage.from_lan, "R1's side")


@journey("dns-late", reach=2, reach_userspace=2 + UNSENT_HANDSHAKE, lasts=60)
def dns_late(stage):
    """R1 starts where there is no DNS at first; then there is."""
    stage.prepare()
    stage.inet.point_name(HOME, R2_ADDRESS)
    stage.inet.silence_dns()
    stage.call_home()
    stage.start_rival(AT_HOME)
    stage.endure()
    stage.inet.restore_dns()
    return stage.silence(stage.from_lan, "R1's side")


@journey("dns-wrong-then-right", reach=SOON, lasts=20)
def dns_wrong_then_right(stage):
    """R1 starts while R2's name still means an address that nobody has; then it means R2."""
    stage.prepare()
    stage.inet.point_name(HOME, NOBODY)
    stage.call_home()
    stage.start_rival(AT_HOME)
    stage.endure()
    stage.inet.point_name(HOME, R2_ADDRESS)
    return stage.silence(stage.from_lan, "R1's side")


@journey("clock-back", reach=1, lasts=8, vm_only=True)
def clock_back(stage):
    """R1 reboots with a clock a month in the past, so that R2 takes its calls for replays; then the clock is set."""
    if not vm.inside():
        raise LabError("clock-back sets the machine's clock: it is played in ci/vm only")
    stage.set_out()
    for daemon in stage.daemons.values():
        daemon.stop()
    set_clock(-MONTH)
    stage.narrate("R1 reboots, its clock is a month behind")
    stage.r1.start_anew()
    stage.call_home()
    stage.endure()
    stage.lab.disturb()
    set_clock(MONTH)
    stage.narrate("the clock is set")
    return stage.silence(stage.from_lan, "R1's side")


def set_clock(difference):
    """Steps the machine's clock by so many seconds."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + difference)


@journey("wan-returns", reach=2)
def wan_returns(stage):
    """All of R1's traffic goes into the tunnel; its first uplink goes, and comes back: when is it used again?"""
    alone = stage.settings.with_ != "wgroam"
    stage.prepare(f"{R2_ADDRESS}:{PORT}", full=True)
    stage.r1.add_backup()
    if alone:
        stage.r1.route_endpoint("10.0.0.1")
    stage.arrive()
    stage.r1.lose_wan()
    if alone:  # netifd sets the interface up again
        stage.r1.route_endpoint("100.64.0.1")
        stage.call_home()
    backup = stage.silence(stage.from_lan, "R1's side", limit=30)
    stage.details["backup_s"] = backup
    stage.check(backup is not None, "the backup does not carry the tunnel")
    stage.r1.regain_wan()
    return stage.first_uplink(stage.from_lan, "R1's side")


@journey("dead-tunnel", limit=90, reach=0.01)
def dead_tunnel(stage):
    """R2 is gone for longer; a computer in R1's LAN connects by IPv6. How long does it hang? Then R2 is back."""
    return stay_away(stage)


@journey("dead-tunnel-probed", limit=90, reach=0.01, same_as="dead-tunnel")
def dead_tunnel_probed(stage):
    """As dead-tunnel, where wgroam probes what seems silent: the first refusal comes within 6 s."""
    hung = stay_away(stage, probe=PROBED)
    after = stage.details.get("refused_after_s")
    if stage.daemons:
        stage.check(after is not None and after <= REFUSED_AFTER, f"not refused within {REFUSED_AFTER} s, but after {after} s")
    return hung


def stay_away(stage, **options):
    """R2 is gone until the LAN's connections are refused; returns how long the refusal of one takes."""
    with stage.serve():
        stage.set_out(**options)
        outcome, _ = stage.connect(5)
        stage.check(outcome == "connected", f"a computer in the LAN gets {outcome} while the tunnel works")
        if options:
            # Somebody who probes knows by then that the target answers.
            time.sleep(2)
        stage.r2.vanish()
        hung = stage.refused()
        stage.r2.reappear()
        back = stage.silence(stage.from_lan, "R1's side", limit=30)
        stage.details["alive_again_s"] = back
        stage.check(back is not None and back <= SOON, f"R2 is back, and the tunnel is not within {SOON} s")
    return hung


@journey("flapping-wan", reach=1, lasts=60)
def flapping_wan(stage):
    """R1's WAN goes and comes each second, each time with another address; then it stays, and R2 sends."""
    stage.set_out()
    stage.idle()
    cpu = {name: daemon.cpu_s() for name, daemon in stage.daemons.items()}
    for _ in range(max(1, round(stage.settings.lasts / 2))):
        time.sleep(1)
        stage.r1.lose_wan()
        time.sleep(1)
        stage.r1.regain_wan(another=True)
    seconds = stage.silence(stage.from_h6, "R2's side")
    for name, daemon in stage.daemons.items():
        used = daemon.cpu_s() - cpu[name]
        stage.details["cpu_s"] = round(used, 2)
        allowed = stage.settings.lasts * (IN_A_VM if vm.inside() else 1) / 100
        stage.check(used <= allowed, f"wgroam used {used:.2f} s of CPU time, more than {allowed:.2f} s: its work is not bounded")
    return seconds


@journey("captive-portal", reach=SOON, lasts=120, beside=1)
def captive_portal(stage):
    """R1 comes to a hotel that drops all UDP at first, DNS included; then it lets it through."""
    stage.set_out()
    stage.nat.close_portal()
    stage.r1.change_wan_address()
    stage.endure()
    stage.nat.open_portal()
    return stage.silence(stage.from_lan, "R1's side")
