# SPDX-License-Identifier: GPL-2.0-only
"""The lab's odhcpd (ci/lab/wglab/openwrt/odhcpd.py) beside the real one: what it announces with the addresses that the router had is
what was seen on the LAN. ci/openwrt/recorded/README.md says what was recorded."""
import ipaddress
import re
import socket
import struct
import subprocess
import sys
import time
import types
import unittest
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded"
sys.path.insert(0, str(HERE.parent / "lab"))
from wglab.openwrt.advertisement import FLAGS, RELEASES, Address, Options  # noqa: E402
from wglab.openwrt.odhcpd import DEPRECATED, Odhcpd, first_of  # noqa: E402
from wglab.openwrt.uci import Section  # noqa: E402

LAN = bytes.fromhex("020000000102")  # the address of R1's br-lan
FIELDS = re.compile(r"  (?!hex)")


def said(advertisement):
    """An advertisement in the words of the recordings, prefixes in an order of their own: that of the addresses in the kernel is
    nothing that a host goes by."""
    kind, _, _, hops, flags, lifetime, reachable, retrans = struct.unpack("!BBHBBHII", advertisement[:16])
    assert kind == 134, f"type {kind} is no advertisement"
    bits = (("M", 0x80), ("O", 0x40), ("H", 0x20))
    names = "".join(name for name, bit in bits if flags & bit)
    lines = [
        f"hop limit {hops} flags {names} pref {flags >> 3 & 3} router lifetime {lifetime} "
        f"reachable {reachable} retrans {retrans}"
    ]
    rest = advertisement[16:]
    while rest:
        option, rest = rest[: rest[1] * 8], rest[rest[1] * 8 :]
        words = struct.unpack("!I", option[4:8])[0]
        if option[0] == 1:
            lines.append(f"source lladdr {option[2:8].hex(':')}")
        elif option[0] == 3:
            names = ("L" if option[3] & 0x80 else "") + ("A" if option[3] & 0x40 else "")
            preferred = struct.unpack("!I", option[8:12])[0]
            prefix = ipaddress.ip_network((option[16:], option[2]))
            lines.append(f"prefix {prefix} {names} valid {words} preferred {preferred}")
        elif option[0] == 5:
            lines.append(f"mtu {words}")
        elif option[0] == 7:
            lines.append(f"adv interval {words} ms")
        elif option[0] == 25:
            lines.append(f"rdnss lifetime {words} {ipaddress.ip_address(option[8:])}")
        else:
            lines.append(f"option {option[0]}")
    return sorted(lines)


def addresses_of(words, old, at, kept):
    """The kernel's addresses: what netifd assigned, and, as far as they are kept, what it did before, for two hours."""
    networks = [ipaddress.ip_network(word) for word in words]
    live = {first_of(network): Address(network.network_address + 1) for network in networks}
    gone = {}
    for network, one in old.items() if kept else ():
        if network not in live:
            gone[network] = one if one.valid else Address(one.address, at, at + DEPRECATED)
    return {**live, **gone}


def told(path):
    """What happened, in order: (uptime, "state", words of the prefixes), (uptime, "done", text) or (uptime, "RA", lines, bytes)."""
    events, last = [], None
    for line in path.read_text().splitlines()[1:]:
        at, _, text = line.partition(" ")
        if FIELDS.match(line):
            events[-1][2].append(line.strip())
        elif line.startswith("  hex "):
            last = [float(events[-1][0]), "RA", [], bytes.fromhex(line.split()[1])]
            events[-1] = last
        elif " RA to " in line and not line.endswith("the same"):
            events.append([float(at), "RA", [], b""])
        elif " RA to " in line:
            events.append([float(at), "RA", last[2], last[3]])
        elif text.startswith("# ") and " lan has [" in line:
            events.append([float(at), "state", re.findall(r"'([0-9a-f:]+/\d+)'", line.partition(" lan has ")[2])])
        elif text.startswith("# "):
            events.append([float(at), "done", text[2:]])
    for event in events:
        if event[1] == "RA":
            event[2] = sorted(event[2])
    return events


class Replay:
    """A router whose addresses are those of a recording."""

    def __init__(self, release, addresses=None):
        options = Options(default=1, mtu=1420, flags=FLAGS["managed-config"] | FLAGS["other-config"])
        self.lan = RELEASES[release](options)
        self.addresses = addresses or {}

    def change(self, words, at, kept=True):
        """netifd assigned these prefixes and no others."""
        self.addresses = addresses_of(words, self.addresses, at, kept)
        self.lan.see(self.addresses, at)

    def restart(self, at):
        """odhcpd ends and starts."""
        self.lan.restart()
        self.lan.see(self.addresses, at)

    def says(self, at):
        """What it announces."""
        return said(self.lan.advertisement(at, LAN, 1500, True))


class RecordedAdvertisements(unittest.TestCase):
    """State in, advertisement out."""

    def same(self, replay, event):
        """Equal but for two seconds of a lifetime that counts down: the moment when netifd let go is not in the recording."""
        at, _, theirs, _ = event
        pattern = re.compile(r"(prefix .* valid )(\d+) preferred 0$")
        mine = []
        for own in replay.says(at):
            ours = pattern.match(own)
            for line in theirs if ours else ():
                found = pattern.match(line)
                if found and found[1] == ours[1] and abs(int(found[2]) - int(ours[2])) <= 2:
                    own = line
            mine.append(own)
        self.assertEqual(theirs, mine, f"at {at}")

    def test_the_recordings_are_read_as_they_were_written(self):
        count = 0
        for path in sorted(RECORDED.glob("*/ra/*.txt")):
            for event in told(path):
                if event[1] == "RA":
                    self.assertEqual(said(event[3]), event[2], f"{path} at {event[0]}")
                    count += 1
        self.assertGreater(count, 60)

    def test_with_the_tunnel_up_dead_or_down_the_lan_is_told_what_odhcpd_tells_it(self):
        for release in ("24.10", "25.12"):
            with self.subTest(release=release):
                events = told(RECORDED / release / "ra/r1-lan.txt")
                replay, compared = Replay(release), 0
                for number, event in enumerate(events):
                    at, kind, what = event[:3]
                    if kind == "RA":
                        self.same(replay, event)
                        compared += 1
                        continue
                    if kind == "done":
                        # What it led to is what the next look found.
                        what = next((later[2] for later in events[number:] if later[1] == "state"), ())
                    replay.change(what, at)
                    if kind == "done" and "odhcpd restart" in event[2]:
                        replay.restart(at)
                self.assertGreater(compared, 20)

    def test_a_ula_alone_is_reason_enough_to_be_the_way_out_and_nothing_says_goodbye(self):
        ula, public = "fd4d:5a1c:9b02::/60", "2001:db8:1200:80::/64"
        for release in ("24.10", "25.12"):
            with self.subTest(release=release):
                events = told(RECORDED / release / "ra/r1-lan-only-ula.txt")
                before = events[0][0] - 500
                replay = Replay(release)
                replay.change([ula, "2001:db8:1200:81::/64"], before)
                replay.says(before)
                replay.change([ula, public], before)
                replay.says(before)
                compared = 0
                for event in events:
                    at, kind, what = event[:3]
                    if kind == "RA":
                        self.same(replay, event)
                        compared += 1
                    elif "only ULA" in what:
                        # Taken off by hand: netifd would have kept them for two hours.
                        replay.change([ula], at, kept=False)
                    elif what.startswith("ifup wg_home"):
                        replay.change([ula, public], at)
                    elif "odhcpd restart" in what or "odhcpd start" in what:
                        replay.restart(at)
                self.assertGreater(compared, 7)
                lifetimes = {line.split()[9] for event in events if event[1] == "RA" for line in event[2] if "router" in line}
                self.assertNotIn("0", lifetimes)

    def test_without_ra_default_a_ula_is_none_and_a_route_is_needed(self):
        # Not recorded: send_router_advert() of src/router.c, the same in both.
        ula, public = ipaddress.ip_network("fd00:1::/64"), ipaddress.ip_network("2001:db8:1::/64")
        cases = ((0, [ula], True, 0), (0, [public], True, 1800), (0, [public], False, 0), (0, [], True, 0))
        cases += ((1, [ula], False, 1800), (1, [], False, 0), (2, [], False, 1800))
        for release, lan in RELEASES.items():
            for default, networks, route, wanted in cases:
                with self.subTest(release=release, default=default, networks=networks, route=route):
                    mine = lan(Options(default=default))
                    mine.see({network: Address(network.network_address + 1) for network in networks}, 0)
                    line = next(line for line in said(mine.advertisement(0, LAN, 1500, route)) if "router lifetime" in line)
                    self.assertIn(f" router lifetime {wanted} ", line)


    def test_on_24_10_the_router_lives_no_longer_than_a_prefix_that_counts_down(self):
        # Not recorded but for its end (router lifetime 12): calc_adv_interval() and calc_ra_lifetime() of src/router.c.
        for release, wanted in (("24.10", {2000: 1800, 900: 900, 5: 12}), ("25.12", {2000: 1800, 900: 1800, 5: 1800})):
            for valid, router in wanted.items():
                with self.subTest(release=release, valid=valid):
                    replay = Replay(release)
                    replay.change(["fd00:1::/64", "2001:db8:1::/64"], 0)
                    replay.change(["fd00:1::/64"], 0)
                    self.assertIn(f" router lifetime {router} ", " ".join(replay.says(DEPRECATED - valid)))


class Router:
    """As much of a router of the lab as odhcpd asks for: this namespace."""

    def __init__(self):
        self.lab = types.SimpleNamespace(processes=[])

    @contextmanager
    def entered(self):
        """We are in it."""
        yield


class Files:
    """A package dhcp."""

    def __init__(self, **options):
        self.options = {"interface": "lan", "ra": "server", "ra_default": "1", "ra_mtu": "1420", **options}

    def sections(self, _package):
        """Its one section."""
        return [Section("dhcp", "dhcp", "lan", self.options)]


class OnTheWire(unittest.TestCase):
    """What a host hears, and when."""

    def setUp(self):
        subprocess.run("ip link add rt type veth peer name host".split(), check=True)
        self.addCleanup(subprocess.run, ["ip", "link", "del", "rt"], check=False)
        for device in ("rt", "host"):
            # An address of the link is usable at once, and the kernel asks no router.
            for name, value in (("accept_dad", "0"), ("router_solicitations", "0")):
                Path(f"/proc/sys/net/ipv6/conf/{device}/{name}").write_text(value)
            subprocess.run(["ip", "link", "set", device, "up"], check=True)
        self.host = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86DD))
        self.host.bind(("host", 0x86DD))
        self.addCleanup(self.host.close)
        self.router = Router()
        self.addCleanup(self.stop)
        self.odhcpd = Odhcpd(self.router, Files())
        self.odhcpd.reload()

    def stop(self):
        """As the lab does."""
        for process in self.router.lab.processes:
            process.kill()
            process.wait()

    def assign(self, *words):
        """netifd gives the LAN these."""
        networks = [ipaddress.ip_network(word) for word in words]
        lan = types.SimpleNamespace(device="rt", assigned=networks, addresses={f"{one[1]}/64" for one in networks})
        self.odhcpd.refresh({"lan": lan}, False)

    def heard(self, seconds):
        """The next advertisement, with its destination and when it came; None for silence."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            self.host.settimeout(rest)
            try:
                packet = self.host.recv(2048)
            except TimeoutError:
                return None
            if packet[6] == socket.IPPROTO_ICMPV6 and packet[40] == 134:
                self.assertEqual(packet[7], 255, "hosts drop what has come over a router")
                return said(packet[40:]), ipaddress.ip_address(packet[24:40]), time.monotonic()
        return None

    def test_it_speaks_after_a_second_to_who_asks_at_once_and_says_no_goodbye(self):
        begun = time.monotonic()
        self.assign("fd00:1::/64", "2001:db8:1:1::/64")
        lines, to, at = self.heard(6)
        self.assertGreaterEqual(at - begun, 0.9)
        self.assertEqual(str(to), "ff02::1")
        self.assertIn("prefix 2001:db8:1:1::/64 LA valid 4294967295 preferred 604800", lines)
        ask = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self.addCleanup(ask.close)
        ask.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"host")
        ask.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        begun = time.monotonic()
        ask.sendto(struct.pack("!BBHI", 133, 0, 0, 0), ("ff02::2", 0, 0, socket.if_nametoindex("host")))
        lines, to, at = self.heard(3)
        self.assertLess(at - begun, 0.9)
        self.assertTrue(to.is_link_local, f"the answer goes to {to}")
        self.assign("fd00:1::/64", "2001:db8:1:2::/64")
        lines, _, _ = self.heard(4)
        self.assertIn("prefix 2001:db8:1:2::/64 LA valid 4294967295 preferred 604800", lines)
        gone = next(line for line in lines if "2001:db8:1:1::" in line)
        self.assertRegex(gone, r" LA valid 719\d preferred 0$")
        self.odhcpd.reload()
        self.assign("fd00:1::/64")
        lines, _, _ = self.heard(4)
        self.assertIn(" router lifetime 1800 ", " ".join(lines))
        self.stop()
        self.assertIsNone(self.heard(0.5))
