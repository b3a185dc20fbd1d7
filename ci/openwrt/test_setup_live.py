# SPDX-License-Identifier: GPL-2.0-only
"""What wgroam-setup has written is in force when it says so: in the kernel's WireGuard and routes, with the netifd of each
release, and without a restart of the interface where the release can do without."""

import functools
import re

from samples import KEY, SECRET
from setup_case import ANCHOR, RELEASES, SetupCase

DELEGATED = "2001:db8:1200::/56"
# Who adds a peer on this release cuts all others off for a moment.
CUTS = {"main"}


def on_each_release(test):
    """A test that is played for all of them."""

    @functools.wraps(test)
    def played(self):
        for release in RELEASES:
            with self.subTest(release=release):
                test(self, release)

    return played


class Live(SetupCase):
    """With a look at the kernel."""

    def box(self, release, *, delegated=DELEGATED, patience=None):
        """A router whose netifd runs."""
        made = self.router(release, delegated=delegated)
        made.boot()
        if patience:
            text = made.read("usr/share/wgroam/setup/live.sh")
            made.write("usr/share/wgroam/setup/live.sh", re.sub("(?m)^PATIENCE=.*", f"PATIENCE={patience}", text))
        return made

    def peers(self, box, interface="wg_home"):
        """What the kernel has of peers: by key (preshared key, allowed IPs, keepalive)."""
        lines = box.namespace.run("wg", "show", interface, "dump").splitlines()[1:]
        fields = [line.split("\t") for line in lines]
        return {key: (psk, sorted(allowed.split(",")), alive) for key, psk, _, allowed, _, _, _, alive in fields}

    def wanted(self, box, interface="wg_home"):
        """What the files say of them."""
        found = {}
        for peer in box.sections("network"):
            if peer.kind == f"wireguard_{interface}":
                allowed = sorted(peer.words("allowed_ips"))
                found[peer.get("public_key")] = (peer.get("preshared_key", "(none)"), allowed, peer.get("persistent_keepalive", "off"))
        return found

    def routes(self, box, interface="wg_home"):
        """What is routed into the tunnel by netifd, or as if it were."""
        lines = box.namespace.run("ip", "-6", "route", "show", "dev", interface, "proto", "static").splitlines()
        return {line.split()[0] for line in lines}

    def index(self, box, interface="wg_home"):
        """Another one means that the interface is another, and all sessions are gone."""
        return box.namespace.run("ip", "-o", "link", "show", "dev", interface).partition(":")[0]

    def in_force(self, box):
        """The kernel has what the files say."""
        self.assertEqual(self.peers(box), self.wanted(box))
        allowed = {text.removesuffix("/128") for _, all_of_it, _ in self.wanted(box).values() for text in all_of_it}
        self.assertEqual(self.routes(box), {"default" if text == "::/0" else text for text in allowed})


class Peers(Live):
    """They come and go."""

    @on_each_release
    def test_who_is_invited_gets_in_and_who_is_revoked_does_not(self, release):
        home = self.box(release)
        home.must(*ANCHOR)
        self.in_force(home)
        home.must("invite", "r1")
        self.in_force(home)
        self.assertEqual(len(self.peers(home)), 1)
        before = self.index(home)
        home.must("invite", "r2")
        self.in_force(home)
        self.assertEqual(len(self.peers(home)), 2)
        ran = home.setup("revoke", "r1")
        self.assertEqual((ran.returncode, ran.stderr.splitlines()[-1]), (0, "r1 is let in no longer."))
        self.in_force(home)
        self.assertEqual(len(self.peers(home)), 1)
        self.assertEqual(self.index(home) == before, release not in CUTS, "whether sessions live on")
        self.assertEqual("This release restarts wg_home for that" in ran.stderr, release in CUTS, "and it is said")

    @on_each_release
    def test_who_was_taken_out_by_hand_is_revoked_all_the_same(self, release):
        home = self.box(release)
        home.must(*ANCHOR)
        home.must("invite", "r1")
        home.run("/sbin/uci", "delete", "network.wg_home_r1", check=True)
        home.run("/sbin/uci", "commit", "network", check=True)
        home.must("revoke", "r1")
        self.assertEqual(self.peers(home), {})

    @on_each_release
    def test_who_joined_has_the_other_end_in_wireguard(self, release):
        line = self.invitation()
        away = self.box(release, delegated=None)
        away.must("join", "--yes", "--wait", "0", stdin=line)
        self.in_force(away)
        away.must("remove", "home")
        self.assertNotIn("wg_home", away.namespace.run("ip", "-o", "link", "show"))

    @on_each_release
    def test_another_port_mtu_or_opening_is_in_force(self, release):
        home = self.box(release)
        home.must(*ANCHOR)
        home.must("invite", "r1")
        home.must("anchor", "--host", "home.example.net:4500", "--mtu", "1300")
        self.in_force(home)
        self.assertEqual(home.namespace.run("wg", "show", "wg_home", "listen-port"), "4500\n")
        self.assertIn(" mtu 1300 ", home.namespace.run("ip", "link", "show", "dev", "wg_home"))

    @on_each_release
    def test_what_was_interrupted_before_it_was_in_force_is_brought_there_by_saying_it_again(self, release):
        home = self.box(release)
        home.must(*ANCHOR)
        home.must("invite", "r1")
        home.netifd.down("wg_home")
        home.netifd.autostart["wg_home"] = True
        home.netifd.tell()
        home.must(*ANCHOR)
        self.in_force(home)
        home.namespace.run("wg", "set", "wg_home", "peer", next(iter(self.peers(home))), "remove")
        home.must(*ANCHOR)
        self.in_force(home)


class InVain(Live):
    """What can't be reached is said, and is no success."""

    def break_netifd(self, home):
        """netifd is deaf, and WireGuard takes nothing."""
        home.netifd.reload = home.netifd.up = lambda *_: None
        home.netifd.renew = home.netifd.down = lambda *_: None
        home.write("usr/bin/wg", home.read("usr/bin/wg").replace("show)", "set | addconf) exit 1 ;;\nshow)"), 0o755)

    @on_each_release
    def test_an_anchor_whose_interface_stays_down_is_a_failure(self, release):
        home = self.box(release, patience=1)
        # There is no WireGuard in the kernel.
        home.netifd._resolves = lambda _: False
        ran = home.setup(*ANCHOR)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("written, but not in force: netifd has not brought wg_home up", ran.stderr)
        self.assertIn("wgroam-setup apply wg_home", ran.stderr)
        self.assertNotIn("Next: wgroam-setup invite", ran.stderr)

    @on_each_release
    def test_who_is_revoked_in_vain_is_not_said_to_be_out(self, release):
        home = self.box(release, patience=1)
        home.must(*ANCHOR)
        home.must("invite", "r1")
        self.break_netifd(home)
        ran = home.setup("revoke", "r1")
        self.assertEqual((ran.returncode, len(self.peers(home))), (1, 1))
        self.assertIn("may still get in", ran.stderr)
        self.assertIn("ifdown wg_home", ran.stderr)
        self.assertNotIn("let in no longer", ran.stderr)

    @on_each_release
    def test_who_is_invited_in_vain_has_a_line_and_a_warning(self, release):
        home = self.box(release, patience=1)
        home.must(*ANCHOR)
        self.break_netifd(home)
        ran = home.setup("invite", "r1")
        self.assertEqual((ran.returncode, ran.stdout[:8]), (1, "wgroam1%"))
        self.assertIn("r1 does not get in yet: wg_home has no peer 'r1'", ran.stderr)

    @on_each_release
    def test_an_interface_that_somebody_switched_off_stays_off(self, release):
        home = self.box(release)
        home.must(*ANCHOR)
        home.run("/sbin/ifdown", "wg_home", check=True)
        ran = home.setup("invite", "r1")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("wg_home is switched off", ran.stderr)
        self.assertNotIn("wg_home", home.namespace.run("ip", "-o", "link", "show"))
        home.run("/sbin/ifup", "wg_home", check=True)
        home.netifd.settled()
        self.in_force(home)


class Apply(Live):
    """What somebody else wrote."""

    @on_each_release
    def test_a_peer_that_was_added_by_hand_gets_in_and_one_that_was_removed_does_not(self, release):
        home = self.box(release)
        home.must(*ANCHOR)
        home.must("invite", "r1")
        for words in (
            ("set", "network.mine=wireguard_wg_home"),
            ("set", f"network.mine.public_key={KEY}"),
            # As nobody but a person would write them.
            ("add_list", "network.mine.allowed_ips=2001:DB8:1300:0::/64"),
            ("add_list", "network.mine.allowed_ips=10.9.0.7/24"),
            ("set", "network.mine.route_allowed_ips=1"),
            ("set", "network.mine.persistent_keepalive=0"),
            ("delete", "network.wg_home_r1"),
        ):
            home.run("/sbin/uci", *words, check=True)
        home.run("/sbin/uci", "commit", "network", check=True)
        self.assertIn("Not in force", home.setup("apply", "wg_home", "--dry-run").stderr)
        before = self.index(home)
        home.must("apply", "wg_home")
        self.assertEqual(self.peers(home), {KEY: ("(none)", ["10.9.0.0/24", "2001:db8:1300::/64"], "off")})
        self.assertEqual(self.routes(home), {"2001:db8:1300::/64"})
        self.assertIn("10.9.0.0/24", home.namespace.run("ip", "-4", "route", "show", "dev", "wg_home"))
        self.assertEqual(self.index(home) == before, release not in CUTS)
        home.must("apply", "wg_home")
        self.assertIn("All of it is in force", home.setup("apply", "wg_home", "--dry-run").stderr)

    @on_each_release
    def test_a_key_or_a_keepalive_that_was_removed_is_gone_and_nobody_is_cut_off(self, release):
        home = self.box(release)
        home.must(*ANCHOR)
        home.must("invite", "r1")
        home.run("/sbin/uci", "set", "network.wg_home_r1.persistent_keepalive=25", check=True)
        home.run("/sbin/uci", "commit", "network", check=True)
        home.must("apply", "wg_home")
        before = self.index(home)
        for option in ("preshared_key", "persistent_keepalive"):
            home.run("/sbin/uci", "delete", f"network.wg_home_r1.{option}", check=True)
        home.run("/sbin/uci", "commit", "network", check=True)
        home.must("apply", "wg_home")
        self.in_force(home)
        self.assertEqual(self.index(home) == before, release not in CUTS)

    def test_two_peers_with_the_same_allowed_ips_are_named(self):
        home = self.box("25.12", patience=1)
        home.must(*ANCHOR)
        home.must("invite", "r1")
        for words in (
            ("set", "network.mine=wireguard_wg_home"),
            ("set", f"network.mine.public_key={KEY}"),
            ("add_list", "network.mine.allowed_ips=2001:db8:1200:80::/64"),
        ):
            home.run("/sbin/uci", *words, check=True)
        home.run("/sbin/uci", "commit", "network", check=True)
        before = self.index(home)
        ran = home.setup("apply", "wg_home")
        self.assertEqual((ran.returncode, self.index(home)), (0, before), ran.stderr)
        self.assertIn("Two peers of wg_home have 2001:db8:1200:80::/64 among their allowed IPs", ran.stderr)
        for words in (("invite", "r2"), ("revoke", "r2")):
            home.must(*words)
        self.assertEqual(self.index(home), before, "nobody is cut off for a mistake in the files")

    def test_what_is_no_wireguard_interface_is_refused(self):
        home = self.box("25.12")
        for word, text in (("lan", "is none of WireGuard's"), ("wg9", "there is no interface 'wg9'"), ("a;b", "is no name")):
            ran = home.setup("apply", word)
            self.assertEqual(ran.returncode, 1)
            self.assertIn(text, ran.stderr)


HAND_MADE = f"""
config interface 'wgr'
	option proto 'wireguard'
	option private_key '{SECRET}'
	list addresses 'fd00:99::2/64'

config wireguard_wgr 'home'
	option description 'home'
	option public_key '{KEY}'
	option endpoint_host '198.51.100.10'
	option endpoint_port '51820'
	option persistent_keepalive '25'
	list allowed_ips '2001:db8::/32'
"""


class Adopt(Live):
    """An interface that netifd has tied to an uplink."""

    def made_by_hand(self, release, **options):
        """With a WAN."""
        box = self.box(release, delegated=None, **options)
        box.namespace.ip(
            "link add wan type bridge",
            "link set wan up",
            "address add 192.168.50.100/24 dev wan",
            "route add default via 192.168.50.1 dev wan",
        )
        box.write("etc/config/network", box.read("etc/config/network") + HAND_MADE, 0o600)
        box.boot()
        return box

    def host_route(self, box):
        """netifd's."""
        return box.namespace.run("ip", "route", "show", "exact", "198.51.100.10").strip()

    @on_each_release
    def test_netifd_lets_go_of_it(self, release):
        box = self.made_by_hand(release)
        self.assertIn("via 192.168.50.1 dev wan", self.host_route(box))
        before = self.index(box, "wgr")
        ran = box.setup("adopt", "wgr")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(self.host_route(box), "")
        self.assertTrue(box.netifd.interfaces["wgr"].nohostroute or release == "25.12")
        self.assertEqual(self.index(box, "wgr") == before, release == "25.12", "25.12 needs no restart")
        self.assertEqual("Restarting wgr, as nothing less" in ran.stderr, release == "24.10")
        box.must("remove", "wgr")
        self.assertIn("via 192.168.50.1 dev wan", self.host_route(box))

    @on_each_release
    def test_a_route_without_which_the_tunnel_would_carry_itself_stays(self, release):
        box = self.made_by_hand(release)
        halves = "\toption route_allowed_ips '1'\n" + "".join(f"\tlist allowed_ips '{half}'\n" for half in ("0.0.0.0/1", "128.0.0.0/1"))
        box.write("etc/config/network", box.read("etc/config/network") + halves, 0o600)
        box.run("/sbin/ifup", "wgr", check=True)
        box.netifd.settled()
        box.must("adopt", "wgr")
        self.assertIn("via 192.168.50.1 dev wan", self.host_route(box))

    @on_each_release
    def test_one_that_netifd_could_not_bring_up_comes_up(self, release):
        box = self.box(release, delegated=None)
        box.write("etc/config/network", box.read("etc/config/network") + HAND_MADE.replace("198.51.100.10", "home.example.net"), 0o600)
        box.boot()
        box.netifd.hosts = {}
        self.assertNotIn("wgr", box.namespace.run("ip", "-o", "link", "show"))
        box.must("adopt", "wgr")
        self.assertIn(KEY, self.peers(box, "wgr"))
