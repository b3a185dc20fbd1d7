# SPDX-License-Identifier: GPL-2.0-only
"""A stock router at home whose provider delegates less than a /56: netifd gives the LAN all that ip6assign asks for, which is
all there is, and the LAN uses one /64 of it."""

import ipaddress

from setup_case import STOCK, SetupCase
from test_setup_live import on_each_release

ANCHOR = ("anchor", "--host", "home.example.net")
POOLS = {60: "2001:db8:1200:8::/61", 61: "2001:db8:1200:4::/62", 62: "2001:db8:1200:2::/63", 63: "2001:db8:1200:1::/64"}


class Room(SetupCase):
    """With prefixes of each size."""

    def home(self, length, release="25.12"):
        """One whose LAN has it."""
        made = self.router(release, delegated=f"2001:db8:1200::/{length}")
        made.boot()
        self.assertIn(ipaddress.ip_network(f"2001:db8:1200::/{length}"), made.netifd.interfaces["lan"].assigned)
        return made

    def asks(self, box):
        """What the LAN asks for."""
        return box.run("/sbin/uci", "get", "network.lan.ip6assign").stdout.strip()

    def pool(self, box):
        """What is shared."""
        return box.must("list").split("\n")[0].split("\t")[2]

    @on_each_release
    def test_the_lan_makes_room_and_has_all_of_it_again_in_the_end(self, release):
        for length, pool in POOLS.items():
            home = self.home(length, release)
            before = home.configuration()
            home.must(*ANCHOR, "--yes")
            self.assertEqual((self.asks(home), self.pool(home)), ("64", pool))
            lan = [network for network in home.netifd.interfaces["lan"].assigned if network.is_global or network.prefixlen == 64]
            self.assertIn(ipaddress.ip_network("2001:db8:1200::/64"), lan)
            has = home.namespace.run("ip", "-6", "-o", "addr", "show", "dev", "br-lan")
            self.assertIn("2001:db8:1200::1/64", has, "the kernel's, which odhcpd goes by")
            prefix = home.must("invite", "r1").split("%")[14]
            self.assertTrue(ipaddress.ip_network(prefix).subnet_of(ipaddress.ip_network(pool)))
            once = home.files()
            home.must(*ANCHOR, "--yes")
            self.assertEqual(home.files(), once)
            home.must("remove", "home")
            self.assertEqual(home.configuration(), before)
            self.assertIn(f"2001:db8:1200::1/{length}", home.namespace.run("ip", "-6", "-o", "addr", "show", "dev", "br-lan"))

    def test_it_is_asked_and_shown_and_nothing_happens_without_a_yes(self):
        home = self.home(60)
        before = home.files()
        ran = home.setup(*ANCHOR, "--dry-run")
        self.assertEqual((ran.returncode, home.files()), (0, before))
        self.assertIn("'lan' holds a /60 of 2001:db8:1200::/60, by its option ip6assign, and uses one /64 of that", ran.stderr)
        self.assertIn("network.lan.ip6assign='64'", ran.stderr)
        ran = home.setup(*ANCHOR, stdin="n\n")
        self.assertEqual((ran.returncode, home.files()), (1, before))
        self.assertIn("not confirmed (--yes confirms)", ran.stderr)
        ran = home.setup(*ANCHOR, stdin="y\n")
        self.assertEqual((ran.returncode, self.asks(home)), (0, "64"), ran.stderr)

    def test_a_lan_that_did_not_let_go_is_restarted_when_it_is_said_again(self):
        home = self.home(60)
        up, home.netifd.up = home.netifd.up, lambda name: up(name) if name != "lan" else None
        down, home.netifd.down = home.netifd.down, lambda name: down(name) if name != "lan" else None
        text = home.read("usr/share/wgroam/setup/live.sh")
        home.write("usr/share/wgroam/setup/live.sh", text.replace("\nPATIENCE=10", "\nPATIENCE=1"))
        ran = home.setup(*ANCHOR, "--yes")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("is still in use by lan (ifup lan makes it let go)", ran.stderr)
        home.netifd.up, home.netifd.down = up, down
        home.must(*ANCHOR, "--yes")
        has = home.namespace.run("ip", "-6", "-o", "addr", "show", "dev", "br-lan")
        self.assertIn("2001:db8:1200::1/64", has)

    def test_a_prefix_that_is_named_makes_room_too(self):
        home = self.home(60)
        home.must(*ANCHOR, "--prefix", "2001:db8:1200::/60", "--yes")
        self.assertEqual((self.asks(home), self.pool(home)), ("64", POOLS[60]))

    def test_where_there_is_room_nobody_is_asked(self):
        for length in (56, 59):
            home = self.router(delegated=f"2001:db8:1200::/{length}")
            home.boot()
            home.must(*ANCHOR)
            self.assertEqual(self.asks(home), "60")

    def test_a_64_stays_what_it_is(self):
        home = self.home(64)
        before = home.files()
        ran = home.setup(*ANCHOR, "--yes")
        self.assertEqual((ran.returncode, home.files()), (1, before))
        self.assertIn("the LANs use all of it: ask the provider for more", ran.stderr)

    def test_two_lans_make_room_where_both_have_more_than_they_use(self):
        home = self.router(delegated="2001:db8:1200::/60")
        guest = """
config interface 'guest'
	option device 'br-guest'
	option proto 'static'
	option ipaddr '192.168.9.1/24'
	option ip6assign '61'
	option ip6hint '8'

config device
	option name 'br-guest'
	option type 'bridge'
"""
        home.write("etc/config/network", home.read("etc/config/network").replace("'60'", "'61'") + guest, 0o600)
        home.boot()
        ran = home.setup(*ANCHOR, "--yes")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("'lan' holds a /61", ran.stderr)
        self.assertIn("'guest' holds a /61", ran.stderr)
        assigned = {str(one) for name in ("lan", "guest") for one in home.netifd.interfaces[name].assigned}
        self.assertLessEqual({"2001:db8:1200::/64", "2001:db8:1200:8::/64"}, assigned)
        self.assertFalse(any(ipaddress.ip_network(self.pool(home)).overlaps(ipaddress.ip_network(one)) for one in assigned))

    def test_what_somebody_set_meanwhile_stays(self):
        home = self.home(60)
        home.must(*ANCHOR, "--yes")
        home.run("/sbin/uci", "set", "network.lan.ip6assign=62", check=True)
        home.run("/sbin/uci", "commit", "network", check=True)
        home.must("remove", "home")
        self.assertEqual(self.asks(home), "62")
        self.assertNotEqual((STOCK / "25.12/network").read_text(), home.read("etc/config/network"))
