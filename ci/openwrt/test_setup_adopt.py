# SPDX-License-Identifier: GPL-2.0-only
"""wgroam-setup adopt, on an interface that somebody made by hand; and what anchor finds out about the WAN."""

from samples import KEY, NETWORK, SECRET, SHARED
from setup_case import ANCHOR, SetupCase, delegated, dump

HAND_MADE = NETWORK.replace("\toption nohostroute '1'\n", "") + f"""
config wireguard_wgr
	option description 'The Cabin'
	option public_key '{SHARED}'
	option endpoint_host '2001:db8::5'
	list allowed_ips 'fd00:99::5/128'

config wireguard_wgr
	option description 'away'
	option disabled '1'
	option public_key 'gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA='
	option endpoint_host 'old.example.net'

config wireguard_wgr 'phone'
	option public_key '{SECRET[:-2]}0='
	list allowed_ips 'fd00:99::6/128'
"""


class Adopt(SetupCase):
    """With three peers: two have an endpoint_host."""

    def setUp(self):
        self.box = self.router()
        self.box.write("etc/config/network", HAND_MADE, 0o600)

    def shown(self, package):
        """`uci show`, as a set of lines."""
        return set(self.box.run("/sbin/uci", "show", package).stdout.splitlines())

    def test_names_move_to_wgroam_and_all_else_stays(self):
        before, wgroam = self.shown("network"), self.shown("wgroam")
        self.box.must("adopt", "wgr")
        self.assertEqual(
            before - self.shown("network"),
            {
                "network.home.endpoint_host='home.example.net'",
                "network.home.endpoint_port='51820'",
                "network.@wireguard_wgr[1].endpoint_host='2001:db8::5'",
            },
        )
        self.assertEqual(self.shown("network") - before, {"network.wgr.nohostroute='1'"})
        self.assertEqual(
            self.shown("wgroam") - wgroam,
            {
                "wgroam.kthes_router=peer",
                "wgroam.kthes_router.tunnel='wgr'",
                f"wgroam.kthes_router.public_key='{KEY}'",
                "wgroam.kthes_router.endpoint='home.example.net:51820'",
                "wgroam.the_cabin=peer",
                "wgroam.the_cabin.tunnel='wgr'",
                f"wgroam.the_cabin.public_key='{SHARED}'",
                "wgroam.the_cabin.endpoint='[2001:db8::5]:51820'",
            },
        )
        self.assertEqual(self.box.services(), ["network reload", "wgroam reload"])

    def test_twice_is_once_and_remove_gives_the_original_bytes(self):
        before = self.box.configuration()
        self.box.must("adopt", "wgr")
        once = self.box.files()
        self.box.must("adopt", "wgr")
        self.assertEqual(self.box.files(), once)
        self.box.must("remove", "wgr")
        self.assertEqual(self.box.configuration(), before)

    def test_remove_after_somebody_else_wrote_puts_the_names_back(self):
        before = self.shown("network") | self.shown("wgroam")
        self.box.must("adopt", "wgr")
        # The numbers of sections without a name are others now.
        self.box.run("/sbin/uci", "delete", "network.home", check=True)
        self.box.run("/sbin/uci", "set", "wgroam.globals.log_level=warn", check=True)
        self.box.run("/sbin/uci", "commit", check=True)
        self.box.must("remove", "wgr")
        after = self.shown("network") | self.shown("wgroam")
        self.assertIn("network.@wireguard_wgr[0].endpoint_host='2001:db8::5'", after)
        self.assertEqual({line for line in after - before if "@" not in line}, {"wgroam.globals.log_level='warn'"})

    def test_a_section_that_wgroam_has_keeps_its_endpoints_or_gets_this_one(self):
        peer = "\nconfig peer '{}'\n\toption tunnel 'wgr'\n\toption public_key '{}'\n"
        self.box.write(
            "etc/config/wgroam", peer.format("a", KEY) + "\tlist endpoint 'mine:1'\n" + peer.format("b", SHARED), 0o600
        )
        self.box.must("adopt", "wgr")
        shown = self.box.run("/sbin/uci", "show", "wgroam").stdout
        self.assertIn("wgroam.a.endpoint='mine:1'\n", shown)
        self.assertIn("wgroam.b.endpoint='[2001:db8::5]:51820'\n", shown)
        self.assertEqual(shown.count("=peer"), 2)

    def test_an_interface_that_is_bound_to_an_uplink_keeps_its_route(self):
        self.box.run("/sbin/uci", "set", "network.wgr.tunlink=wan", check=True)
        self.box.run("/sbin/uci", "commit", check=True)
        self.assertIn("option tunlink", self.box.setup("adopt", "wgr").stderr)
        self.assertNotIn("nohostroute", self.box.read("etc/config/network"))

    def test_dry_run_shows_it(self):
        before = self.box.files()
        ran = self.box.setup("adopt", "wgr", "--dry-run")
        self.assertEqual((ran.returncode, self.box.files()), (0, before))
        self.assertIn("-network.home.endpoint_host", ran.stderr)
        self.assertIn("wgroam.the_cabin.endpoint+='[2001:db8::5]:51820'", ran.stderr)


class Uplink(SetupCase):
    """What anchor takes from the WAN."""

    def anchor(self, interfaces=None, *words, network="", **files):
        """Makes one with what netifd says; gives the router."""
        home = self.router()
        if interfaces is not None:
            home.write("tmp/network.interface", interfaces)
        home.write("etc/config/network", home.read("etc/config/network") + network, 0o600)
        for name, text in files.items():
            home.write(name, text)
        home.must("anchor", "--host", "home.example.net", *words)
        return home

    def pool(self, *words):
        """The prefix that it shares."""
        return self.anchor(*words).must("list").split("\n")[0].split("\t")[2]

    def test_auto_takes_the_upper_half_of_what_is_delegated(self):
        self.assertEqual(self.pool(delegated("2001:db8:1200::/56", lan="2001:db8:1200::/60")), "2001:db8:1200:80::/57")
        self.assertEqual(self.pool(delegated("2001:db8:1200::/56")), "2001:db8:1200:80::/57")

    def test_auto_goes_where_the_lans_are_not(self):
        self.assertEqual(self.pool(delegated("2001:db8:1200::/56", lan="2001:db8:1200:f0::/60")), "2001:db8:1200::/57")
        both = delegated("2001:db8:1200::/56", lan="2001:db8:1200:80::/60", guest="2001:db8:1200:10::/64")
        self.assertEqual(self.pool(both), "2001:db8:1200:c0::/58")
        self.assertEqual(self.pool(delegated("2001:db8:1200::/62", lan="2001:db8:1200:3::/64")), "2001:db8:1200::/63")
        self.assertEqual(self.pool(delegated("2001:db8:1200::/63", lan="2001:db8:1200::/64")), "2001:db8:1200:1::/64")

    def test_auto_takes_a_single_64_that_no_lan_uses(self):
        self.assertEqual(self.pool(delegated("2001:db8:1200:5::/64")), "2001:db8:1200:5::/64")

    def test_a_given_prefix_is_taken_as_it_is_or_as_far_as_it_is_free(self):
        lan = delegated("2001:db8:1200::/56", lan="2001:db8:1200::/60")
        self.assertEqual(self.pool(lan, "--prefix", "2001:db8:1300::/48"), "2001:db8:1300::/48")
        self.assertEqual(self.pool(lan, "--prefix", "2001:db8:1200::/56"), "2001:db8:1200:80::/57")
        self.assertEqual(self.pool(lan, "--prefix", "2001:db8:1200:10::/60"), "2001:db8:1200:10::/60")

    def test_a_lan_that_came_later_is_gone_around(self):
        home = self.anchor(delegated("2001:db8:1200::/56"), "--prefix", "2001:db8:1200::/56")
        home.write("tmp/network.interface", delegated("2001:db8:1200::/56", lan="2001:db8:1200::/60"))
        self.assertIn("%2001:db8:1200:10::/64%", home.must("invite", "r1"))

    def test_the_mtu_is_what_fits(self):
        prefix = ("--prefix", "2001:db8:1200::/56")
        pppoe = "\nconfig interface 'dsl'\n\toption proto 'pppoe'\n"
        small = "\nconfig device\n\toption name 'wan'\n\toption mtu '1400'\n"
        for want, words, network in (
            ("1420", (), ""),
            ("1320", (), small),
            ("1300", ("--mtu", "1300"), ""),
            ("1280", (), small.replace("1400", "1340")),
        ):
            home = self.anchor(None, *prefix, *words, network=network)
            self.assertEqual(home.run("/sbin/uci", "get", "network.wg_home.mtu").stdout, want + "\n")
        home = self.router()
        home.write("etc/config/network", home.read("etc/config/network") + pppoe, 0o600)
        home.write(
            "etc/config/firewall",
            home.read("etc/config/firewall").replace("'wan6'\n", "'wan6'\n\tlist network 'dsl'\n"),
            0o600,
        )
        home.must("anchor", "--host", "home.example.net", "--wan", "dsl", *prefix)
        self.assertEqual(home.run("/sbin/uci", "get", "network.wg_home.mtu").stdout, "1412\n")

    def test_over_ipv4_alone_more_fits(self):
        home = self.router()
        home.must("anchor", "--host", "192.0.2.1", "--prefix", "2001:db8:1200::/56")
        self.assertEqual(home.run("/sbin/uci", "get", "network.wg_home.mtu").stdout, "1440\n")

    def test_the_roamer_takes_the_smaller_mtu(self):
        line = self.invitation()
        away = self.router()
        away.write("tmp/network.interface.wan", dump()[:-1] + ',"l3_device":"usb0"}')
        away.write("sys/class/net/usb0/mtu", "1380\n")
        away.must("join", "--yes", "--wait", "0", stdin=line)
        shown = away.run("/sbin/uci", "show").stdout
        self.assertIn("network.wg_home.mtu='1300'", shown)
        self.assertIn("dhcp.lan.ra_mtu='1300'", shown)

    def test_a_wan_of_another_name_and_its_zone(self):
        home = self.router()
        home.write(
            "etc/config/network",
            home.read("etc/config/network") + "\nconfig interface 'fibre'\n\toption proto 'dhcp'\n",
            0o600,
        )
        firewall = home.read("etc/config/firewall") + "\nconfig zone\n\toption name 'outside'\n\tlist network 'fibre'\n"
        home.write("etc/config/firewall", firewall, 0o600)
        home.must(*ANCHOR, "--wan", "fibre", "--fallback-port", "443")
        shown = home.run("/sbin/uci", "show", "firewall").stdout
        for line in (
            "wg_home_wan.dest='outside'",
            "wg_home_port.src='outside'",
            "wg_home_from_443.src='outside'",
            "wg_home_icmp_to.src='outside'",
        ):
            self.assertIn(f"firewall.{line}\n", shown)
