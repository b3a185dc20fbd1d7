# SPDX-License-Identifier: GPL-2.0-only
"""wgroam-setup on stock routers of both releases: what both roles write is in golden/, twice is once, and remove gives back
the original bytes. WGROAM_GOLDEN=write ci/openwrt-test test_setup writes golden/ anew, to be read before it is believed.
"""

import functools
import os

from samples import KEY
from scratch import HERE
from setup_case import ANCHOR, FILES, PACKAGES, RELEASES, STOCK, STORE, SetupCase

GOLDEN = HERE / "golden"
OPTIONS = ("--fallback-port", "443", "--fallback-port", "53", "--open", "tcp:22")


class Golden(SetupCase):
    """From a stock configuration."""

    def compare(self, router, release, role):
        """Each of the four files with the golden one; one that is not there is as it was."""
        folder = GOLDEN / FILES.get(release, release) / role
        for package in PACKAGES:
            found = router.read(f"etc/config/{package}")
            if os.environ.get("WGROAM_GOLDEN") == "write" and found != self.before[package].decode():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / package).write_text(found)
            golden = folder / package
            want = golden.read_text() if golden.exists() else self.before[package].decode()
            self.assertEqual(found, want, f"{release}, {role}: {package}")

    def go_through(self, release):
        """Both commands on each router, each twice; then away with it."""
        home, away = self.router(release), self.router(release)
        self.before = home.configuration()
        self.assertEqual(self.before["network"], (STOCK / FILES.get(release, release) / "network").read_bytes())
        home.must(*ANCHOR, *OPTIONS)
        line = home.must("invite", "r1")
        self.compare(home, release, "anchor")
        self.assertEqual(
            home.services(), ["network reload", "firewall reload", "wgroam reload", "network reload", "wgroam reload"]
        )
        once = home.files()
        home.must(*ANCHOR, *OPTIONS)
        self.assertEqual(home.files(), once)
        self.assertEqual(home.services(), [])

        away.must("join", "--yes", "--wait", "0", "--open", "tcp:22", stdin=line)
        self.compare(away, release, "roamer")
        self.assertEqual(away.services(), ["network reload", "firewall reload", "odhcpd reload", "wgroam reload"])
        once = away.files()
        # The LAN has it now.
        self.assertIn("2001:db8:1200::/64", map(str, away.netifd.interfaces["lan"].assigned))
        away.must("join", "--yes", "--wait", "0", "--open", "tcp:22", stdin=line)
        self.assertEqual(away.files(), once)
        self.assertEqual(away.services(), [])

        for router in (home, away):
            router.must("remove", "home")
            self.assertEqual(router.configuration(), self.before)
            self.assertEqual([name for name in os.listdir(router.path / STORE) if not name.startswith("backup.")], [])
            self.assertEqual(router.left_over(), [])
            self.assertEqual(router.log.text(), "")
        self.assertEqual(away.services(), ["network reload", "firewall reload", "odhcpd reload", "wgroam reload"])

    def test_both_roles_on_24_10(self):
        self.go_through("24.10")

    def test_both_roles_on_25_12(self):
        self.go_through("25.12")

    def test_both_roles_on_main(self):
        self.go_through("main")

    def test_both_ends_fit_together_and_no_two_have_the_same_keys(self):
        ends = []
        for _ in range(2):
            home, away = self.router(), self.router()
            for router in (home, away):
                (router.path / "usr/bin/wg").unlink()
                os.link(router.path / "test/wg", router.path / "usr/bin/wg")
                router.write("dev/urandom", os.urandom(64).hex())
            home.must(*ANCHOR)
            away.must("join", "--yes", "--wait", "0", stdin=home.must("invite", "r1"))
            found = []
            for router, peer in ((home, "wg_home_r1"), (away, "wg_home_peer")):
                get = functools.partial(router.run, "/sbin/uci", "get")
                private = get("network.wg_home.private_key").stdout
                public = router.run("/usr/bin/wg", "pubkey", stdin=private).stdout
                shared = get(f"network.{peer}.preshared_key").stdout
                found.append((public, get(f"network.{peer}.public_key").stdout, shared))
                ends.append(get("network.wg_home.addresses").stdout)
            (ours, theirs, shared), (mine, yours, also) = found
            self.assertEqual((ours, theirs, shared), (yours, mine, also))
            self.assertEqual(len({ours, theirs, shared}), 3)
            ends += [ours, theirs, shared]
        self.assertEqual(len(set(ends)), len(ends))
        links = {end.split("::")[0] for end in ends if "::" in end}
        self.assertEqual(len(links), 2)

    def test_the_daemon_accepts_both_results(self):
        for release in RELEASES:
            for role in ("anchor", "roamer"):
                router = self.router(release)
                for path in (GOLDEN / FILES.get(release, release) / role).iterdir():
                    router.write(f"etc/config/{path.name}", path.read_text())
                ran = router.run("/usr/sbin/wgroam", "check", "/etc/config/wgroam")
                self.assertEqual(ran.returncode, 0, ran.stdout)
                self.assertNotIn("warning", ran.stdout)


class Anchor(SetupCase):
    """What else the router at home does."""

    def test_another_host_port_or_opening_replaces_the_one_before_and_keeps_keys_and_roamers(self):
        home = self.router()
        home.must(*ANCHOR, *OPTIONS)
        home.must("invite", "r1")
        network = sorted(home.run("/sbin/uci", "show", "network").stdout.replace("51820", "4500").splitlines())
        ran = home.setup("anchor", "--host", "[2001:db8:99::1]:4500", "--open", "udp:5000")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("invited before", ran.stderr)
        firewall = home.run("/sbin/uci", "show", "firewall").stdout
        for gone in ("wg_home_from_443", "wg_home_from_53", "wg_home_tcp_22"):
            self.assertNotIn(gone, firewall)
        self.assertIn("firewall.wg_home_port.dest_port='4500'", firewall)
        self.assertIn("firewall.wg_home_udp_5000.dest_port='5000'", firewall)
        self.assertEqual(sorted(home.run("/sbin/uci", "show", "network").stdout.splitlines()), network)
        self.assertIn("[2001:db8:99::1]:4500", home.must("invite", "r2"))
        before = home.files()
        home.must("anchor", "--host", "[2001:db8:99::1]:4500", "--open", "udp:5000")
        self.assertEqual(home.files(), before)

    def test_every_host_goes_with_its_port_and_then_with_each_fallback_port(self):
        home = self.router()
        hosts = (
            "--host",
            "home.example.net",
            "--host",
            "192.0.2.1:443",
            "--fallback-port",
            "443",
            "--fallback-port",
            "53",
        )
        home.must("anchor", "--prefix", "2001:db8:1200::/56", *hosts)
        endpoints = home.must("invite", "r1").split("%")[6]
        want = "home.example.net:51820 192.0.2.1:443 home.example.net:443 home.example.net:53 192.0.2.1:53"
        self.assertEqual(endpoints.split(","), want.split())

    def test_roamers_get_the_next_free_prefix_and_address_and_leave_them_when_revoked(self):
        home = self.router()
        home.must(*ANCHOR)
        for name, size, prefix, link in (
            ("r1", "64", "2001:db8:1200::/64", "2"),
            ("r2", "60", "2001:db8:1200:10::/60", "3"),
            ("r3", "64", "2001:db8:1200:1::/64", "4"),
        ):
            fields = home.must("invite", name, "--size", size).split("%")
            self.assertEqual((fields[14], fields[16].split(",")[0]), (prefix, f"fd77:6772:6f61:6d2d::{link}"))
        before = home.run("/sbin/uci", "export").stdout
        home.must("revoke", "r1")
        self.assertNotIn("r1", home.must("list"))
        self.assertNotIn("wg_home_r1", home.read("etc/config/network"))
        self.assertNotIn("'r1'", home.read("etc/config/wgroam"))
        self.assertIn("2001:db8:1200::/64", home.must("invite", "r1"))
        self.assertEqual(home.run("/sbin/uci", "export").stdout.count("\n"), before.count("\n"))
        home.must("remove", "home")
        self.assertEqual(home.configuration()["network"], (STOCK / "25.12/network").read_bytes())

    def test_the_invitation_is_all_there_is_on_stdout_and_the_private_key_is_not_kept(self):
        home = self.router()
        home.must(*ANCHOR)
        line = home.must("invite", "r1")
        self.assertRegex(line, r"\Awgroam1%[!-~]+\n\Z")
        private = line.split("%")[10]
        kept = b"".join(content for _, content in home.files().values())
        self.assertNotIn(private.encode(), kept)
        self.assertIn(line.split("%")[12].encode(), kept, "the preshared key has to be kept")

    def test_a_qr_code_is_drawn_where_qrencode_is_and_gets_the_line_by_stdin(self):
        home = self.router()
        home.write("usr/bin/qrencode", '#!/bin/sh\necho "$*" > /tmp/qr.words\ncat > /tmp/qr.stdin\necho QR\n', 0o755)
        home.must(*ANCHOR)
        self.assertNotIn("QR", home.must("invite", "r1"), "a pipe gets the line alone")
        printed = home.must("invite", "r2", "--qr")
        self.assertEqual(home.read("tmp/qr.stdin") + "\nQR\n", printed)
        self.assertEqual(home.read("tmp/qr.words"), "-t ANSIUTF8\n")

    def test_list_says_who_is_in_and_when_the_last_handshake_was(self):
        home = self.router()
        home.must(*ANCHOR)
        home.must("invite", "r1")
        self.assertIn("r1\t2001:db8:1200::/64\tfd77:6772:6f61:6d2d::2\tno handshake yet\n", home.must("list"))
        key = home.run("/sbin/uci", "get", "network.wg_home_r1.public_key").stdout.strip()
        home.write("tmp/handshakes", f"{KEY}\t0\n{key}\t1000000000\n")
        self.assertRegex(home.must("list"), r"::2\t\d+ s since the last handshake\n")

    def test_other_tunnels_of_wgroam_are_not_left_alone_because_of_ours(self):
        home = self.router()
        home.must(*ANCHOR)
        self.assertNotIn("config tunnel", home.read("etc/config/wgroam").replace("#config", ""))
        home.must("remove", "home")
        home.write("etc/config/wgroam", "config wgroam 'globals'\n\nconfig tunnel 'wg9'\n", 0o600)
        home.must(*ANCHOR)
        self.assertIn("config tunnel 'wg_home'", home.read("etc/config/wgroam"))

    def test_dry_run_shows_and_changes_nothing(self):
        home = self.router()
        before = home.files()
        ran = home.setup(*ANCHOR, "--dry-run")
        self.assertEqual((ran.returncode, home.files(), home.services()), (0, before, []))
        self.assertIn("network.wg_home.listen_port='51820'", ran.stderr)
        self.assertIn("private_key=(secret)", ran.stderr)


class Remove(SetupCase):
    """What is ours goes, what is not stays."""

    def test_what_somebody_changed_meanwhile_stays(self):
        away = self.router()
        away.must("join", "--yes", "--wait", "0", stdin=self.invitation())
        for words in (
            ("set", "network.lan.ipaddr=192.168.7.1/24"),
            ("set", "dhcp.lan.ra_mtu=1300"),
            ("set", "firewall.mine=rule"),
            ("set", "wgroam.globals.log_level=warn"),
        ):
            away.run("/sbin/uci", *words, check=True)
        away.run("/sbin/uci", "commit", check=True)
        away.must("remove", "home")
        shown = away.run("/sbin/uci", "show").stdout
        for theirs in ("ipaddr='192.168.7.1/24'", "ra_mtu='1300'", "firewall.mine=rule", "log_level='warn'"):
            self.assertIn(theirs, shown)
        for ours in ("wg_home", "ra_default", "ip6class", "wgroam.home"):
            self.assertNotIn(ours, shown)

    def test_options_that_were_something_else_are_that_again(self):
        away = self.router()
        away.run("/sbin/uci", "set", "dhcp.lan.ra=relay", check=True)
        away.run("/sbin/uci", "add_list", "network.lan.ip6class=wan6", check=True)
        away.run("/sbin/uci", "delete", "network.lan.ip6assign", check=True)
        away.run("/sbin/uci", "commit", check=True)
        before = away.run("/sbin/uci", "show").stdout
        away.must("join", "--yes", "--wait", "0", stdin=self.invitation())
        shown = away.run("/sbin/uci", "show").stdout
        self.assertIn("dhcp.lan.ra='server'", shown)
        self.assertIn("network.lan.ip6class='wan6' 'wg_home'\n", shown)
        self.assertIn("network.lan.ip6assign='64'", shown)
        # Not the bytes from before: somebody was here.
        for package in ("network", "dhcp", "wgroam", "firewall"):
            away.run("/sbin/uci", "set", f"{package}.theirs=thing", check=True)
            away.run("/sbin/uci", "commit", package, check=True)
        away.must("remove", "home")
        left = [line for line in away.run("/sbin/uci", "show").stdout.splitlines() if "theirs" not in line]
        self.assertEqual(sorted(left), sorted(before.splitlines()))

    def test_two_tunnels_do_not_take_each_other_away(self):
        home = self.router()
        home.must(*ANCHOR)
        home.must("anchor", "--name", "cabin", "--host", "cabin.example.net:4500", "--prefix", "2001:db8:1300::/56")
        home.must("invite", "r1", "--tunnel", "home")
        home.must("remove", "home")
        shown = home.run("/sbin/uci", "show").stdout
        self.assertNotIn("wg_home", shown)
        self.assertEqual(
            home.setup("anchor", "--name", "cabin", "--host", "cabin.example.net:4500", "--dry-run").stderr.count(
                "wg_cabin"
            ),
            0,
        )
        home.must("remove", "cabin")
        self.assertNotIn("wg_cabin", home.run("/sbin/uci", "show").stdout)

    def test_a_lan_without_a_section_in_dhcp_gets_one_and_loses_it(self):
        away = self.router()
        away.run("/sbin/uci", "delete", "dhcp.lan", check=True)
        away.run("/sbin/uci", "commit", check=True)
        before = away.read("etc/config/dhcp")
        away.must("join", "--yes", "--wait", "0", stdin=self.invitation())
        self.assertIn("dhcp.wg_home.interface='lan'", away.run("/sbin/uci", "show", "dhcp").stdout)
        away.must("remove", "home")
        self.assertEqual(away.read("etc/config/dhcp"), before)

    def test_a_missing_globals_section_is_made_and_goes_again(self):
        away = self.router()
        for text in ("", "config wgroam\n\toption log_level 'warn'\n"):
            away.write("etc/config/wgroam", text, 0o600)
            away.must("join", "--yes", "--wait", "0", stdin=self.invitation())
            shown = away.run("/sbin/uci", "show", "wgroam").stdout
            self.assertEqual(shown.count("=wgroam\n"), 1)
            once = away.files()
            away.must("join", "--yes", "--wait", "0", stdin=self.invitation())
            self.assertEqual(away.files(), once)
            away.must("remove", "home")
            self.assertEqual(away.read("etc/config/wgroam"), text)

    def test_backups_say_what_was_there_before_the_last_change(self):
        home = self.router()
        before = home.configuration()
        ran = home.setup(*ANCHOR)
        self.assertIn("/etc/wgroam-setup/backup.network", ran.stderr)
        self.assertEqual((home.path / STORE / "backup.network").read_bytes(), before["network"])


class Waiting(SetupCase):
    """After join has written."""

    def test_who_has_wgroam_switched_off_is_told(self):
        away = self.router()
        away.run("/sbin/uci", "set", "wgroam.globals.enabled=0", check=True)
        away.run("/sbin/uci", "commit", check=True)
        ran = away.setup("join", "--yes", "--wait", "0", stdin=self.invitation())
        self.assertEqual(ran.returncode, 0)
        self.assertIn("wgroam is switched off here", ran.stderr)

    def test_it_waits_for_the_handshake_and_has_the_rest_diagnosed(self):
        away = self.router()
        away.write("tmp/handshakes", f"{KEY}\t1764000000\n")
        (away.path / "usr/sbin/wgroam").unlink()
        away.write(
            "usr/sbin/wgroam",
            '#!/bin/sh\necho "$*" >> /tmp/wgroam.calls\nexit "$(cat /tmp/code)"\n',
            0o755,
        )
        away.write("tmp/code", "0")
        line = self.invitation()
        ran = away.setup("join", "--yes", stdin=line)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("A handshake", ran.stderr)
        self.assertIn("diagnose wg_home", away.read("tmp/wgroam.calls"))
        away.write("tmp/code", "1")
        away.write(
            "usr/sbin/wgroam", away.read("usr/sbin/wgroam").replace("exit", '[ "$1" != diagnose ] || exit'), 0o755
        )
        self.assertEqual(away.setup("join", "--yes", stdin=line).returncode, 4)
        # Nobody there who could.
        (away.path / "usr/sbin/wgroam-diagnose").unlink()
        away.write("tmp/wgroam.calls", "")
        self.assertEqual(away.setup("join", "--yes", stdin=line).returncode, 0)
        self.assertNotIn("diagnose wg_home", away.read("tmp/wgroam.calls"))

    def test_without_a_handshake_it_says_what_to_look_at_and_what_was_written_stays(self):
        away = self.router()
        away.write("tmp/handshakes", f"{KEY}\t0\n")
        ran = away.setup("join", "--yes", "--wait", "1", stdin=self.invitation())
        self.assertEqual(ran.returncode, 4)
        self.assertIn("wgroam diagnose wg_home", ran.stderr)
        self.assertIn("home.example.net:51820", ran.stderr)
        self.assertIn("config interface 'wg_home'", away.read("etc/config/network"))

    def test_it_asks_and_takes_no_for_an_answer(self):
        away = self.router()
        line = self.invitation()
        before = away.files()
        for answer in ("n", "", "what"):
            ran = away.setup("join", stdin=f"{line}\n{answer}\n")
            self.assertEqual((ran.returncode, away.files()), (1, before))
            self.assertIn("network.wg_home.proto='wireguard'", ran.stderr)
        self.assertEqual(away.setup("join", "--wait", "0", stdin=f"  {line} \r\ny\n").returncode, 0)
