# SPDX-License-Identifier: GPL-2.0-only
"""The stand-in of netifd, held against what real ones did (recorded/README.md): the same files and the same command have the
same effect on kernel, ubus and hotplug."""

import json
import re
import shlex

from scratch import HERE
from setup_case import RELEASES, SetupCase

RECORDED = HERE / "recorded"
# Of what ubus tells of an interface: what the stand-in has a meaning for. Lifetimes are the provider's.
TOLD = ("interface", "up", "pending", "available", "autostart", "dynamic", "proto", "device", "l3_device", "metric")
LISTS = {
    "ipv4-address": ("address", "mask"),
    "ipv6-address": ("address", "mask"),
    "ipv6-prefix": ("address", "mask", "class", "assigned"),
    "ipv6-prefix-assignment": ("address", "mask", "local-address"),
    "route": ("target", "mask"),
}
PROVIDERS = ("ipv4-address", "ipv6-address", "route")  # what the provider gives, of wan and wan6


def told(status, lists=LISTS):
    """What is compared of an interface."""
    found = {name: status[name] for name in TOLD if name in status}
    for name, of_it in lists.items():
        has = [{key: one[key] for key in of_it if key in one} for one in status.get(name, [])]
        found[name] = sorted(has, key=json.dumps)
    return found


class Told(SetupCase):
    """What ubus, ip and wg say in each of the recorded states."""

    def recording(self, release, name):
        """One, as (lines, ubus by interface)."""
        text = (RECORDED / release / "interfaces" / f"{name}.txt").read_text()
        head, _, dump = text.partition("# ubus call network.interface dump\n")
        # Some have one comma too few or too many, as interfaces were taken out.
        objects = [json.loads(line.strip().rstrip(",")) for line in dump.splitlines()[1:-1]]
        return head.splitlines(), {one["interface"]: one for one in objects}

    def configure(self, box, lines):
        """The UCI of a recording, beside the stock one."""
        batch = ""
        for line in lines:
            if not line.startswith("network.wg_home") and not line.startswith("network.lan."):
                continue
            path, _, value = line.partition("=")
            words = shlex.split(value)
            if path.count(".") == 1:
                batch += f"set {path}={value}\n"
            elif path.rpartition(".")[2] in ("addresses", "allowed_ips", "ip6prefix", "ip6class"):
                # Some are recorded twice.
                box.run("/sbin/uci", "-q", "delete", path)
                batch += "".join(f"add_list {path}='{word}'\n" for word in dict.fromkeys(words))
            else:
                batch += f"set {path}={value}\n"
        box.run("/sbin/uci", "batch", stdin=batch, check=True)
        box.run("/sbin/uci", "commit", "network", check=True)

    def compare(self, box, release, name):
        """Everything with the recording."""
        lines, recorded = self.recording(release, name)
        for interface in ("lan", "wan6", "wg_home"):
            says = box.run("/bin/ubus", "call", f"network.interface.{interface}", "status").stdout
            if interface not in recorded or (interface == "wan6" and not recorded["wan6"]["up"]):
                continue
            lists = {key: value for key, value in LISTS.items() if interface != "wan6" or key not in PROVIDERS}
            ours, theirs = told(json.loads(says), lists), told(recorded[interface], lists)
            self.assertEqual(ours, theirs, f"{release} {name}: ubus of {interface}")
        routes = {normal(line) for line in lines if re.match(r"\S+ dev (br-lan|wg_home) proto static|unreachable", line)}
        self.assertEqual(set(routes6(box)), routes, f"{release} {name}: routes")
        theirs = {tuple(line.split()[1:4:2]) for line in lines if re.match(r"\d+: (br-lan|wg_home) inet6", line)}
        self.assertEqual(set(addresses6(box)), theirs, f"{release} {name}: addresses")
        if any(line.startswith("# wg show") for line in lines):
            peers = {tuple(line.split("\t")[0:3:2]) for line in lines if re.match(r"\S{43}=\t", line)}
            said = box.namespace.run("wg", "show", "wg_home", "allowed-ips").splitlines()
            ours = {(key, allowed.replace(" ", ",")) for key, allowed in (line.split("\t") for line in said)}
            self.assertEqual(ours, peers, f"{release} {name}: peers")

    def test_of_stock_routers_with_prefixes_of_each_size(self):
        for release in RELEASES:
            for path in (RECORDED / release / "interfaces").glob("r2-stock-*.txt"):
                length, _, wish = path.stem.removeprefix("r2-stock-").partition("-assign")
                box = self.router(release, delegated="2001:db8:1200::/56")
                box.boot()
                # What the kernel has of before stays, with its length.
                self.configure(box, [f"network.lan.ip6assign='{wish or 60}'"])
                box.run("/sbin/tell", "network", "reload", check=True)
                box.netifd.delegate("wan6", f"2001:db8:1200::/{length}")
                self.compare(box, release, path.stem)

    def test_of_an_anchor_before_and_after_a_roamer_stands_in_the_file(self):
        for release in RELEASES:
            box = self.router(release, delegated="2001:db8:1200::/56")
            self.configure(box, self.recording(release, "r2-anchor")[0])
            box.boot()
            self.compare(box, release, "r2-anchor")
            self.configure(box, self.recording(release, "r2-invite")[0])
            steps = [("network", "reload")]  # which the command of that time gave, and nothing else
            for name in ("r2-invite", "r2-invite-reload", "r2-invite-renew", "r2-invite-ifup"):
                for words in steps:
                    box.run("/sbin/tell", *words, check=True)
                    box.netifd.settled()
                if (RECORDED / release / "interfaces" / f"{name}.txt").exists():
                    self.compare(box, release, name)
                steps = {
                    "r2-invite": [("network", "reload")],
                    "r2-invite-reload": [("netifd", "renew", "wg_home")],
                    "r2-invite-renew": [("netifd", "ifup", "wg_home")],
                }.get(name)

    def test_of_a_roamer(self):
        for release in RELEASES:
            box = self.router(release)
            box.boot()
            self.configure(box, self.recording(release, "r1-join")[0])
            box.run("/sbin/tell", "network", "reload", check=True)
            box.netifd.settled()
            self.compare(box, release, "r1-join")

    def test_events_of_hotplug(self):
        for release in RELEASES:
            text = (RECORDED / release / "events/setup.txt").read_text()
            text = text.partition("# R2\n")[2].partition("# R1\n")[0].partition("# wgroam-setup anchor\n")[2]
            recorded = [f"{one[1]}:{one[2]}" for one in re.finditer(r"ACTION=(\S+) INTERFACE=(\S+)", text)]
            box = self.router(release, delegated="2001:db8:1200::/56")
            box.boot()
            box.netifd.events.clear()
            for name, words in (
                ("r2-anchor", ("network", "reload")),
                ("r2-invite", ("network", "reload")),
                ("r2-invite", ("network", "reload")),
                ("r2-invite", ("netifd", "renew", "wg_home")),
                ("r2-invite", ("netifd", "ifup", "wg_home")),
            ):
                self.configure(box, self.recording(release, name)[0])
                box.run("/sbin/tell", *words, check=True)
                box.netifd.settled()
            self.assertEqual([event.partition("(")[0] for event in box.netifd.events], recorded, release)


def normal(line):
    """A route's line without what differs each time."""
    return re.sub(r" expires \S+| pref \S+|\s+$", "", line.replace(" dev lo", "")).replace("  ", " ")


def routes6(box):
    """IPv6 routes of netifd's."""
    lines = box.namespace.run("ip", "-6", "route", "show").splitlines()
    return [normal(line) for line in lines if " proto static" in line]


def addresses6(box):
    """(device, address), of global scope, as far as netifd gave it."""
    for line in box.namespace.run("ip", "-6", "-o", "addr", "show", "scope", "global").splitlines():
        words = line.split()
        if words[1] in ("br-lan", "wg_home") and "mngtmpaddr" not in words:
            yield words[1], words[3]


KEY = "5WCw" + "A" * 39 + "="
ADDED = (
    "set network.added=wireguard_wg_home",
    f"set network.added.public_key={KEY}",
    "add_list network.added.allowed_ips=10.9.1.0/24",
    "set network.added.route_allowed_ips=1",
)
# What was changed in each row of the recorded table, and what the files said before beside those of reload-table.network.txt.
CHANGES = {
    "add a peer section": (ADDED, ()),
    "allowed_ips of a peer (+10.9.0.0/24)": (("add_list network.wg_home_peer.allowed_ips=10.9.0.0/24",), ()),
    "endpoint of a peer (port 51820 to 443)": (("set network.wg_home_peer.endpoint_port=443",), ()),
    "remove a peer section": (("delete network.added",), ADDED),
    "nohostroute 0 to 1": (("set network.wg_home.nohostroute=1",), ("set network.wg_home.nohostroute=0",)),
    "nohostroute 1 to 0": (("set network.wg_home.nohostroute=0",), ()),
    "mtu 1420 to 1400": (("set network.wg_home.mtu=1400",), ()),
    "addresses (::2/64 to ::2/64 and ::5/64)": (("add_list network.wg_home.addresses=fd77:6772:6f61:6d2d::5/64",), ()),
    "ip6prefix 1200:80::/64 to 1200:81::/64": (
        ("delete network.wg_home.ip6prefix", "add_list network.wg_home.ip6prefix=2001:db8:1200:81::/64"),
        (),
    ),
    "lan ip6class (- wg_home)": (("del_list network.lan.ip6class=wg_home",), ()),
    "lan ip6assign 60 to 64": (("set network.lan.ip6assign=64",), ()),
}
# Which commands add the host route when nohostroute goes from 1 to 0. The rows for it begin with what the one before has left,
# so this was tried by hand. No command takes the route away when it goes from 0 to 1.
HOST_ROUTE = "r4 198.51.100.10 via 192.168.50.1 dev wan proto static"
ADDS_HOST_ROUTE = {"24.10": {"ifup"}, "25.12": {"renew", "ifup", "reload+renew"}, "main": {"reload", "ifup", "reload+renew"}}
# In the recordings left from the row before, as reload-table.md says of the first; and what a prefix leaves with the LAN, which
# depends on how often it was there before.
LEFT_OVER = re.compile(r"[+-]addr br-lan inet6 2001:db8:1200:8[01]::1/64|[+-]r6 .* proto kernel .*")


class Table(SetupCase):
    """Each change with each command: what differs afterwards, which events there were, and whether it is another device."""

    def cells(self, release):
        """The recorded table: (change, command, lines)."""
        text = (RECORDED / release / "reload-detail.txt").read_text()
        for block in text.split("\n## ")[1:]:
            head, said, *lines = block.strip().split("\n")
            change, _, command = head.partition(": `")[0].rpartition(" x ")
            events = re.search(r"events: ([^;]*)", said)[1].split()
            events = [] if events == ["none"] else events
            yield change, command, events, "new device" in said, {line for line in lines if line[0] in "+-" and not LEFT_OVER.fullmatch(line)}

    def state(self, box):
        """Lines as they were recorded."""
        run = box.namespace.run
        for line in run("wg", "show", "wg_home", "dump").splitlines()[1:]:
            key, _, endpoint, allowed, *_ = line.split("\t")
            yield f"wg {key[:4]} {endpoint} {allowed}"
        yield from (f"addr {device} inet6 {address}" for device, address in addresses6(box))
        for line in run("ip", "-4", "route", "show", "proto", "static").splitlines():
            yield f"r4 {line.strip()} proto static".replace(" scope link proto static", " proto static scope link")
        yield from (f"r6 {line.replace(' proto', ' dev lo proto') if 'unreachable' in line else line}" for line in routes6(box))
        mtu = re.search(r"mtu (\d+)", run("ip", "link", "show", "dev", "wg_home"))[1]
        yield f"link wg_home ifindex N mtu {mtu}"
        yield from (f"prefix {prefix.network_address}" for prefix in box.netifd.interfaces["wg_home"].prefixes)
        yield "assignment " + " ".join(map(str, box.netifd.interfaces["lan"].assigned))

    def index(self, box):
        """Of the device."""
        return box.namespace.run("ip", "-o", "link", "show", "dev", "wg_home").partition(":")[0]

    def box(self, release):
        """R1 with a WAN."""
        made = self.router(release)
        made.namespace.ip(
            "link add wan type bridge",
            "link set wan up",
            "address add 192.168.50.100/24 dev wan",
            "route add default via 192.168.50.1 dev wan",
        )
        return made

    def configure(self, box, *batches):
        """The files of the table, and some lines for `uci batch`."""
        text = (RECORDED / "reload-table.network.txt").read_text()
        box.write("etc/config/network", text.partition("\n\n")[2], 0o600)
        for batch in batches:
            box.run("/sbin/uci", "batch", stdin="\n".join([*batch, ""]), check=True)
        box.run("/sbin/uci", "commit", "network", check=True)

    def play(self, box, change, command):
        """One cell: (events, whether the device is another one, what differs)."""
        after, before = CHANGES[change]
        self.configure(box, before)
        for interface in ("wg_home", "lan"):
            box.run("/sbin/tell", "netifd", "ifup", interface, check=True)
            box.netifd.settled()
        if change == "nohostroute 1 to 0":
            box.namespace.run("ip", "route", "del", "198.51.100.10", check=False)
        state, index = set(self.state(box)), self.index(box)
        box.netifd.events.clear()
        self.configure(box, before, after)
        interface = "lan" if change.startswith("lan") else "wg_home"
        for word in command.split("+"):
            words = ("network", "reload") if word == "reload" else ("netifd", word, interface)
            box.run("/sbin/tell", *words, check=True)
        box.netifd.settled()
        now = set(self.state(box))
        lines = {f"-{line}" for line in state - now} | {f"+{line}" for line in now - state}
        return box.netifd.events, self.index(box) != index, {line for line in lines if not LEFT_OVER.fullmatch(line)}

    def go_through(self, release):
        """All cells of a release."""
        box = self.box(release)
        self.configure(box)
        box.boot()
        played = 0
        for change, command, events, other, lines in self.cells(release):
            played += 1
            found = self.play(box, change, command)
            with self.subTest(release=release, change=change, command=command):
                host = {f"+{HOST_ROUTE}"} if "1 to 0" in change and command in ADDS_HOST_ROUTE[release] else set()
                self.assertEqual(found[2], lines - {f"+{HOST_ROUTE}"} | host)
                self.assertEqual((found[0], found[1]), (events, other))
        self.assertEqual(played, 4 * len(CHANGES))

    def test_of_24_10(self):
        self.go_through("24.10")

    def test_of_25_12(self):
        self.go_through("25.12")

    def test_of_main(self):
        self.go_through("main")
