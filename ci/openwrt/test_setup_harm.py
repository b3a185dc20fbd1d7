# SPDX-License-Identifier: GPL-2.0-only
"""What wgroam-setup must not do while it brings its files into force: take a way, a peer or a session that works from somebody, and
call done what is not."""

import signal
import subprocess
import time

from samples import KEY, SHARED
from scratch import FILES, wait
from setup_case import ANCHOR
from test_setup_live import HAND_MADE, Live, on_each_release

HALVES = "\toption route_allowed_ips '1'\n\tlist allowed_ips '0.0.0.0/1'\n\tlist allowed_ips '128.0.0.0/1'\n"
PHONE = f"\nconfig wireguard_wgr 'phone'\n\toption public_key '{SHARED}'\n"
OTHER = HAND_MADE.replace("wgr", "wgs").replace("'home'", "'other'").replace("fd00:99::2", "fd00:98::2")


class Harm(Live):
    """With an interface that somebody made by hand."""

    def box_with(self, release, more, *, endpoint=False, patience=1):
        """Its netifd has a WAN and brought the interface up, with these lines behind."""
        box = self.box(release, delegated=None, patience=patience)
        box.namespace.ip(
            "link add wan type bridge",
            "link set wan up",
            "address add 192.168.50.100/24 dev wan",
            "route add default via 192.168.50.1 dev wan",
        )
        hand_made = HAND_MADE if endpoint else HAND_MADE.replace("\toption endpoint_host '198.51.100.10'\n", "")
        self.write(box, hand_made + more)
        box.boot()
        return box

    def write(self, box, text):
        """Package network is stock, with this behind."""
        stock = box.read("etc/config/network").partition("\nconfig interface 'wgr'")[0]
        box.write("etc/config/network", stock + text, 0o600)

    def way(self, box, address):
        """By which device packets to it leave."""
        words = box.namespace.run("ip", "route", "get", address).split()
        return words[words.index("dev") + 1]

    @on_each_release
    def test_what_was_routed_to_a_peer_that_is_gone_leaves_by_the_wan_again(self, release):
        box = self.box_with(release, PHONE + HALVES)
        self.assertEqual(self.way(box, "8.8.8.8"), "wgr")
        self.write(box, HAND_MADE)
        box.must("apply", "wgr")
        self.assertEqual(self.way(box, "8.8.8.8"), "wan")

    @on_each_release
    def test_a_full_tunnel_that_is_added_keeps_the_way_to_its_endpoint(self, release):
        box = self.box_with(release, "")
        self.write(box, HAND_MADE + PHONE + HALVES + "\toption endpoint_host '203.0.113.9'\n")
        box.must("apply", "wgr")
        self.assertEqual((self.way(box, "8.8.8.8"), self.way(box, "203.0.113.9")), ("wgr", "wan"))

    @on_each_release
    def test_routes_of_others_stay_theirs(self, release):
        shared = "\toption route_allowed_ips '1'\n\tlist allowed_ips '10.0.0.0/8'\n"
        box = self.box_with(release, "", endpoint=True)
        box.namespace.ip("link add lte type bridge", "link set lte up", "route add 10.0.0.0/8 dev lte proto static")
        box.namespace.ip("route add 10.77.0.0/16 dev wgr", "route add 10.88.0.0/16 dev wgr proto 119")
        self.write(box, HAND_MADE + PHONE + shared)
        if release == "24.10":
            # Newer netifds take it away by themselves.
            box.must("apply", "wgr")
            self.assertEqual((self.way(box, "10.1.2.3"), self.way(box, "10.77.1.1"), self.way(box, "10.88.1.1")), ("lte", "wgr", "wgr"))
        self.assertEqual(self.way(box, "8.8.8.8"), "wan")

    @on_each_release
    def test_adopt_leaves_peers_alone(self, release):
        box = self.box_with(release, "", endpoint=True)
        stranger = KEY.replace("x", "y", 1)
        for _ in range(2):
            if release == "25.12":
                box.namespace.run("wg", "set", "wgr", "peer", stranger, "allowed-ips", "fd00:99::9/128")
            box.must("adopt", "wgr")
            self.assertEqual(stranger in self.peers(box, "wgr"), release == "25.12", "others restart the interface, and say so")

    @on_each_release
    def test_a_host_route_that_another_tunnel_needs_stays(self, release):
        box = self.box_with(release, OTHER + HALVES, endpoint=True)
        box.must("adopt", "wgr")
        self.assertEqual(self.way(box, "198.51.100.10"), "wan")

    @on_each_release
    def test_a_mistake_in_the_files_cuts_nobody_off(self, release):
        twice = "\nconfig wireguard_wgr\n\toption public_key '" + KEY + "'\n\tlist allowed_ips '2001:db8::/32'\n"
        box = self.box_with(release, PHONE + "\tlist allowed_ips '2001:db8::/32'\n" + twice, patience=None)
        before = self.index(box, "wgr")
        box.must("apply", "wgr")
        self.assertEqual(self.index(box, "wgr"), before)

    def test_a_firewall_that_could_not_be_reloaded_is_a_failure_and_is_made_up_for(self):
        home = self.box("25.12")
        good = home.read("etc/init.d/firewall")
        home.write("etc/init.d/firewall", "#!/bin/sh\nexit 1\n", 0o755)
        ran = home.setup(*ANCHOR)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("the reload of firewall failed", ran.stderr)
        home.write("etc/init.d/firewall", good, 0o755)
        home.services()
        home.must(*ANCHOR)
        self.assertIn("firewall reload", home.services())
        home.must(*ANCHOR)
        self.assertEqual(home.services(), [])

    def test_who_interrupts_it_is_told_what_is_left_to_do(self):
        home = self.box("24.10")
        home.must(*ANCHOR)
        home.netifd.down("wg_home")
        home.netifd.autostart["wg_home"] = True
        home.netifd.tell()
        home.netifd._resolves = lambda _: False
        words = ["/usr/sbin/chroot", home.path, "/usr/sbin/wgroam-setup", "invite", "r1"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=home.enter) as run:
            self.assertRegex(run.stdout.readline(), "^wgroam1%")
            time.sleep(1)
            run.send_signal(signal.SIGTERM)
            said = run.stderr.read()
        self.assertEqual(run.returncode, 143)
        self.assertIn("interrupted: it is written, but may not be in force yet. wgroam-setup apply wg_home", said)
        wait("the copies to go", lambda: home.left_over() == [])

    def test_an_invitation_that_nobody_reads_is_in_force_all_the_same(self):
        home = self.box("24.10")
        home.must(*ANCHOR)
        ran = home.run("/bin/sh", "-c", "wgroam-setup invite r1 | true; sleep 3")
        self.assertIn("could not be printed", ran.stderr)
        self.in_force(home)
        self.assertEqual(len(self.peers(home)), 1)

    def test_no_script_sleeps_for_a_part_of_a_second_where_sleep_may_not_know_it(self):
        for path in FILES.rglob("*"):
            for line in path.read_text().splitlines() if path.is_file() else []:
                if "sleep 0." in line:
                    self.assertIn("|| sleep 1", line, path)
