# SPDX-License-Identifier: GPL-2.0-only
"""What wgroam-setup refuses: each with a message that names the thing and the remedy, with no file changed and no
service told."""

import subprocess

from invitations import forge
from samples import ANYBODYS, KEY, NOBODYS, ONES_OWN, SECRET
from scratch import wait
from setup_case import ANCHOR, SetupCase, delegated, dump

HOST = ("anchor", "--host", "home.example.net")
JOIN = ("join", "--yes", "--wait", "0")
WIREGUARD = f"""
config interface 'wg9'
	option proto 'wireguard'
	option private_key '{SECRET}'
	option listen_port '51820'

config wireguard_wg9
	option public_key '{KEY}'
"""


class Refused(SetupCase):
    """A router that is reused, as nothing changes."""

    def refuses(self, router, message, *words, stdin="", code=1):
        """One call, in which all is refused."""
        with self.subTest(words=words):
            router.services()
            before = router.files()
            ran = router.setup(*words, stdin=stdin)
            self.assertEqual((ran.returncode, ran.stdout), (code, ""), ran.stderr)
            self.assertIn(message, ran.stderr)
            self.assertEqual(router.files(), before)
            self.assertEqual(router.services(), [])
            self.assertEqual(router.left_over(), [])

    def add(self, router, package, text):
        """More configuration."""
        name = f"etc/config/{package}"
        router.write(name, router.read(name) + text, 0o600)

    def test_usage(self):
        router = self.router()
        for message, words in (
            ("there is no command 'anker'", ("anker",)),
            ("anchor needs --host", ("anchor",)),
            ("--host needs a value", ("anchor", "--host")),
            ("what is '--hots'", ("anchor", "--hots", "x")),
            ("invite needs the name", ("invite",)),
            ("invite takes one roamer", ("invite", "r1", "r2")),
            ("what is '--siez'", ("invite", "r1", "--siez", "64")),
            ("revoke needs the name", ("revoke",)),
            ("list takes no argument", ("list", "all")),
            ("join takes one invitation", ("join", "a", "b")),
            ("what is '--lam'", ("join", "--lam", "lan")),
            ("remove needs a name", ("remove",)),
            ("adopt needs an interface", ("adopt",)),
        ):
            self.refuses(router, message, *words, code=2)
        self.assertEqual(router.setup().returncode, 2)

    def test_help_and_version(self):
        router = self.router()
        self.assertIn("Usage: wgroam-setup COMMAND", router.must("--help"))
        self.assertEqual(router.must("--version"), router.run("/usr/sbin/wgroam", "--version").stdout)
        for command in ("anchor", "invite", "list", "revoke", "join", "adopt", "remove"):
            self.assertIn(f"Usage: wgroam-setup {command}", router.must(command, "--help"))

    def test_host(self):
        router = self.router()
        hosts = "under_score.net -x.net x-.net a..b 1.2.3 1.2.3.4.5 300.1.1.1 home:0 home:65536 home:051820 home:x home: :51820"
        hosts = [
            *hosts.split(),
            "[2001:db8::1",
            "2001:db8::1",
            "[2001:db8::1]x",
            "[home]",
            "a b",
            "home;reboot",
            "$(reboot)",
            "a" * 64,
            "é.net",
        ]
        for host in hosts:
            self.refuses(
                router,
                f"--host {host}: it has to be a name",
                "anchor",
                "--host",
                host,
                "--prefix",
                "2001:db8:1200::/56",
            )

    def test_host_by_which_no_roamer_finds_it(self):
        router = self.router()
        for host in (*NOBODYS, *ONES_OWN):
            for more in ((), ("--host", "home.example.net")):
                words = ("anchor", "--host", host, *more, "--prefix", "2001:db8:1200::/56")
                self.refuses(router, f"--host {host}: ", *words)
        self.refuses(router, "--host [::1]:53: no roamer finds it there", "anchor", "--host", "[::1]:53")
        for host in ANYBODYS:
            router.must("anchor", "--host", host, "--prefix", "2001:db8:1200::/56", "--dry-run")

    def test_an_invitation_to_where_the_roamer_itself_would_be(self):
        # By an older wgroam, or by hand.
        router = self.router()
        router.must(*HOST, "--prefix", "2001:db8:1200::/56")
        record = "etc/wgroam-setup/home.record"
        router.write(record, router.read(record).replace("home.example.net:51820", "h:1,127.0.0.1:51820"), 0o600)
        self.refuses(router, "say wgroam-setup anchor --host again, with all its options", "invite", "r1")

    def test_name(self):
        router = self.router()
        for name in ("Home", "home-1", "1home", "a" * 12, "", "home_", "../x", "a;b", "a\nb"):
            self.refuses(router, "a name has 1 to 11 characters", *ANCHOR, "--name", name)

    def test_prefix(self):
        router = self.router()
        for message, prefix in (
            ("too small: a LAN needs a /64", "2001:db8:1200::/65"),
            ("not global", "fd00:1::/48"),
            ("not global", "fe80::/64"),
            ("not global", "ff02::/16"),
            ("not global", "::/0"),
            ("too large", "2000::/12"),
            ("bits behind its length: 2001:db8:1200::/56", "2001:db8:1200:1::/56"),
            ("bits behind its length: 2001:db8:1200::/64", "2001:db8:1200::1/64"),
            ("written like", "2001:db8:1200::"),
            ("written like", "2001:db8:::/56"),
            ("written like", "2001:db8:12000::/56"),
            ("written like", "2001:db8:1200::/129"),
            ("written like", "2001:db8:1200/56"),
            ("written like", "1:2:3:4:5:6:7:8:9/56"),
            ("written like", "10.0.0.0/8"),
            ("written like", "2001:db8:1200::/56; reboot"),
        ):
            self.refuses(router, message, *HOST, "--prefix", prefix)

    def test_program_that_can_not_run_is_not_a_wrong_configuration(self):
        router = self.router()
        before = router.files()
        (router.path / "usr/sbin/wgroam").unlink()
        router.write("usr/sbin/wgroam", "#!/bin/sh\necho 'Error loading shared library libgcc_s.so.1' >&2\nexit 127\n", 0o755)
        ran = router.setup(*HOST, "--prefix", "2001:db8:1200::/56")
        self.assertEqual((ran.returncode, router.files()), (1, before))
        self.assertIn("wgroam can't be run (exit code 127); nothing is changed: Error loading shared library", ran.stderr)
        self.assertNotIn("would not accept", ran.stderr)

    def test_prefix_that_this_router_uses_itself(self):
        router = self.router()
        router.write("tmp/network.interface", delegated("2001:db8:1200::/64", lan="2001:db8:1200::/64"))
        self.refuses(router, "is in use by lan", *HOST, "--prefix", "2001:db8:1200::/64")
        # What is left of a larger one would be room, but not this.
        router.write("tmp/network.interface", delegated("2001:db8:1200::/60", lan="2001:db8:1200::/60"))
        self.refuses(router, "is in use by lan", *HOST, "--prefix", "2001:db8:1200::/64")
        router.write("tmp/network.interface", delegated("2001:db8:1200::/64", lan="2001:db8:1200::/64"))
        self.refuses(router, "the LANs use all of it", *HOST)
        router.write("tmp/network.interface", delegated("2001:db8:1200::/64", lan="2001:db8:1200::/64"))
        self.refuses(router, "When R2 only has a /64", *HOST)
        router.must(*HOST, "--prefix", "2001:db8:1200::/56", "--name", "cabin", "--listen-port", "4500")
        self.refuses(router, "is in use by the anchor 'cabin'", *HOST, "--prefix", "2001:db8:1200:80::/60")
        router.write("tmp/network.interface", dump())
        self.add(router, "network", WIREGUARD + "\tlist allowed_ips '2001:db8:1300::/48'\n")
        self.refuses(
            router, "is in use by a peer of wireguard_wg9", *HOST[:2], "h:1", "--prefix", "2001:db8:1300:7::/64"
        )

    def test_no_prefix_is_delegated(self):
        router = self.router()
        self.refuses(router, "no prefix is delegated to 'wan'", *HOST)
        router.write("tmp/network.interface", dump({"interface": "wan6", "ipv6-prefix": []}))
        self.refuses(router, "no prefix is delegated to 'wan'", *HOST, "--prefix", "auto")
        router.write("tmp/network.interface", delegated("fd00:12::/56"))
        self.refuses(router, "the WAN delegates fd00:12::/56", *HOST)
        router.write("tmp/network.interface", "no JSON")
        self.refuses(router, "no prefix is delegated to 'wan'", *HOST)

    def test_ports_and_sizes(self):
        router = self.router()
        for message, words in (
            ("--listen-port 0", ("--listen-port", "0")),
            ("--fallback-port 70000", ("--fallback-port", "70000")),
            ("is the port itself", ("--fallback-port", "51820")),
            ("--open tcp: it has", ("--open", "tcp")),
            ("--open icmp:1: it has", ("--open", "icmp:1")),
            ("'0' is no port", ("--open", "tcp:0")),
            ("'22;reboot' is no port", ("--open", "tcp:22;reboot")),
            ("--mtu 1279: it has to be a number from 1280", ("--mtu", "1279")),
            ("1440 at most", ("--mtu", "1441")),
            ("--mtu big", ("--mtu", "big")),
            ("there is no interface 'wan9'", ("--wan", "wan9")),
            ("--wan a b: no interface can", ("--wan", "a b")),
            ("no zone with 'loopback'", ("--wan", "loopback")),
        ):
            self.refuses(router, message, *ANCHOR, *words)
        redirect = (
            "config redirect\n\toption name 'web'\n\toption src 'wan'\n\toption src_dport '443'\n\toption dest 'lan'\n"
        )
        self.add(router, "firewall", "\n" + redirect)
        self.refuses(router, "redirects UDP port 443 already (web)", *ANCHOR, "--fallback-port", "443")
        self.add(router, "network", WIREGUARD)
        self.refuses(router, "the port 51820 is that of the interface 'wg9'", *ANCHOR)

    def test_name_that_is_taken(self):
        for package, text in (
            ("network", "\nconfig interface 'wg_home'\n\toption proto 'wireguard'\n"),
            ("firewall", "\nconfig rule 'wg_home'\n"),
            ("firewall", "\nconfig rule 'wg_home_port'\n"),
            ("firewall", "\nconfig zone\n\toption name 'wg_home'\n"),
        ):
            router = self.router()
            self.add(router, package, text)
            self.refuses(router, "choose another name", *ANCHOR)
        router = self.router()
        router.must(*JOIN, stdin=forge())
        self.refuses(router, "the name 'home' is taken", *ANCHOR)
        router = self.router()
        router.must(*ANCHOR)
        self.refuses(router, "the name 'home' is taken", *JOIN, stdin=forge())

    def test_router_that_is_not_ready(self):
        router = self.router()
        router.run("/sbin/uci", "set", "network.lan.mtu=1400", check=True)
        self.refuses(router, "uci commit network, or uci revert network", *ANCHOR)
        router.run("/sbin/uci", "revert", "network", check=True)
        for package in ("network", "firewall", "dhcp", "wgroam"):
            text = router.read(f"etc/config/{package}")
            self.add(router, package, "\nconfig broken 'quote\n")
            self.refuses(router, f"/etc/config/{package} can't be read", *ANCHOR)
            router.write(f"etc/config/{package}", text, 0o600)
        self.add(router, "wgroam", "\nconfig peer 'x'\n\toption tunnel 'a b c d e f g h i j'\n")
        self.refuses(router, "wgroam would not accept the result", *ANCHOR)
        (router.path / "etc/config/firewall").unlink()
        self.refuses(router, "is this OpenWrt?", *ANCHOR)
        (router.path / "usr/bin/wg").unlink()
        for words in (ANCHOR, ("invite", "r1"), JOIN):
            self.refuses(router, "install wireguard-tools", *words)

    def test_who_is_not_root_and_who_is_not_alone(self):
        router = self.router()
        words = [
            "/usr/sbin/chroot",
            router.path,
            "/test/setpriv",
            "--reuid=431",
            "--regid=431",
            "--clear-groups",
            "/usr/sbin/wgroam-setup",
            *ANCHOR,
        ]
        ran = subprocess.run(
            words, capture_output=True, text=True, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        )
        self.assertEqual(ran.returncode, 1)
        self.assertIn("only root can do that", ran.stderr)
        router.spawn(["/usr/bin/flock", "/var/run/wgroam-setup.lock", "/bin/sh", "-c", "touch /tmp/held; sleep 60"])
        wait("the lock", (router.path / "tmp/held").exists)
        self.refuses(router, "another wgroam-setup is at work", *ANCHOR)

    def test_invite_and_revoke(self):
        router = self.router()
        self.refuses(router, "there is no anchor here yet", "invite", "r1")
        self.refuses(router, "there is no anchor here yet", "revoke", "r1")
        router.must(*HOST, "--prefix", "2001:db8:1200::/63")
        self.add(
            router, "wgroam", "\nconfig peer 'mine'\n\toption tunnel 'wg_home'\n\toption public_key '" + KEY + "'\n"
        )
        for message, words in (
            ("'R1' is no name", ("R1",)),
            ("'r 1' is no name", ("r 1",)),
            ("'$(reboot)' is no name", ("$(reboot)",)),
            ("--size 65: it has to be", ("r1", "--size", "65")),
            ("--size x: it has to be", ("r1", "--size", "x")),
            ("--size 62: 'home' has 2001:db8:1200::/63 to share", ("r1", "--size", "62")),
            ("no anchor 'cabin' here, only home", ("r1", "--tunnel", "cabin")),
            ("the name 'mine' is taken", ("mine",)),
            ("the name 'globals' is taken", ("globals",)),
        ):
            self.refuses(router, message, "invite", *words)
        router.must("invite", "r1")
        self.refuses(router, "'r1' was invited already, and its invitation can't be printed again", "invite", "r1")
        router.must("invite", "r2")
        self.refuses(router, "no /64 is left in 2001:db8:1200::/63", "invite", "r3")
        self.refuses(router, "no roamer 'r3' of 'home'", "revoke", "r3")
        self.refuses(router, "roamers have parts of 2001:db8:1200::/63", *HOST, "--prefix", "2001:db8:1300::/56")
        router.must("anchor", "--name", "cabin", "--host", "h:4500", "--prefix", "2001:db8:1300::/56")
        self.refuses(router, "several anchors: say --tunnel, and which of cabin home", "invite", "r3")
        router.must("revoke", "r1", "--tunnel", "home")
        self.refuses(router, "no roamer 'r1' of 'home'", "revoke", "r1", "--tunnel", "home")
        router.run("/sbin/uci", "delete", "network.wg_home", check=True)
        router.run("/sbin/uci", "commit", "network", check=True)
        self.refuses(router, "wg_home is not in /etc/config/network any more", "invite", "r4", "--tunnel", "home")

    def test_join(self):
        router = self.router()
        self.refuses(router, "there is no invitation", *JOIN)
        for message, words in (
            ("there is no interface 'lan9'", ("--lan", "lan9")),
            ("no interface can have that name", ("--lan", "l;n")),
            ("the firewall has no zone with 'loopback'", ("--lan", "loopback")),
            ("--wait soon", ("--wait", "soon")),
            ("--open 22: it has", ("--open", "22")),
            ("not confirmed", ()),
        ):
            self.refuses(router, message, "join", *words, stdin=forge())
        router.write("tmp/network.interface", delegated("2001:db8:1200::/56", lan="2001:db8:1200::/60"))
        self.refuses(router, "2001:db8:1200::/64 is in use here already, by lan", *JOIN, stdin=forge())
        (router.path / "tmp/network.interface").unlink()
        self.add(router, "network", "\nconfig interface 'wg_cabin'\n\toption proto 'none'\n")
        self.refuses(router, "network.wg_cabin is there already", *JOIN, stdin=forge(tunnel="cabin"))
        self.refuses(router, "wgroam.globals is there already", *JOIN, stdin=forge(tunnel="globals"))
        router.must(*JOIN, stdin=forge())
        self.refuses(router, "'home' was joined already, with another invitation", *JOIN, stdin=forge(private=KEY))
        self.refuses(router, "this router joined 'home' already", *JOIN, stdin=forge(tunnel="other"))

    def test_adopt_and_remove(self):
        router = self.router()
        self.refuses(router, "nothing was set up here by the name 'home'", "remove", "home")
        for name in ("../home", "a b", "*", "$(reboot)", "home;reboot"):
            self.refuses(router, "is no name", "remove", name)
            self.refuses(router, "is no name of an interface", "adopt", name)
        self.refuses(router, "there is no interface 'wg9'", "adopt", "wg9")
        self.refuses(router, "'lan' is none of WireGuard's", "adopt", "lan")
        self.add(router, "network", WIREGUARD)
        self.refuses(router, "no peer of 'wg9' has an endpoint_host", "adopt", "wg9")
        self.add(router, "network", "\toption endpoint_host 'not a host'\n")
        self.refuses(router, "endpoint_host or endpoint_port can't be right", "adopt", "wg9")
        for host in NOBODYS:
            self.add(router, "network", f"\toption endpoint_host '{host}'\n")
            self.refuses(router, "nobody can have the address in its endpoint_host", "adopt", "wg9")
        # A relay of its owner's.
        self.add(router, "network", "\toption endpoint_host '127.0.0.1'\n")
        router.must("adopt", "wg9", "--dry-run")
        router.must(*HOST, "--listen-port", "4500", "--prefix", "2001:db8:1200::/56")
        self.refuses(router, "wgroam-setup made 'wg_home' itself", "adopt", "wg_home")
