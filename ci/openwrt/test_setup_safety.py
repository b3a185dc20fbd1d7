# SPDX-License-Identifier: GPL-2.0-only
"""wgroam-setup keeps secrets and is never half done: under a shell that runs every program by name, with a recorder in the
place of each, which writes down its words and environment, and kills the shell when it is told to."""

import contextlib
import os
import pty
import re
import shutil
import stat
import subprocess
import termios

from invitations import FIELDS, SECRETS, forge
from samples import BAITS, quoted
from scratch import libraries, wait
from setup_case import ANCHOR, PACKAGES, STORE, Router, SetupCase

# What wgroam-setup may use: on every OpenWrt, or asked for. busybox's applets as OpenWrt builds it.
APPLETS = "awk basename cat chmod cp date grep hexdump id ip mkdir mktemp mv rm sed sha256sum sleep sort sync tr"
OTHERS = {
    "flock": "/usr/bin/flock",
    "uci": "/sbin/uci",
    "ubus": "/bin/ubus",
    "wg": "/usr/bin/wg",
    "wgroam": "/usr/sbin/wgroam",
    "jshn": "/usr/bin/jshn",
}

RECORDER = """#!/bin/sh
name=${0##*/}
printf '%s\\0' "$((1 + $#))" "$name" "$@" >> /tmp/argv.calls
busybox cat /proc/$$/environ >> /tmp/env.calls
if [ "$name" = sync ]; then
	busybox find /tmp/wgroam-setup.* /etc/wgroam-setup -exec busybox ls -dln {} ';' >> /tmp/modes
	busybox find /etc/config -type f -exec busybox ls -dln {} ';' >> /tmp/modes
fi
if [ -e /tmp/kill ]; then
	[ "$name" != sync ] || echo 0 > /tmp/count
	if [ -e /tmp/count ]; then
		count=$(($(busybox cat /tmp/count) + 1))
		echo "$count" > /tmp/count
		[ "$count" -ne "$(busybox cat /tmp/kill)" ] || busybox kill "-$(busybox cat /tmp/signal)" "$(busybox cat /tmp/shell.pid)"
	fi
fi
exec """


class Watched(Router):
    """A router on which every program that the script starts is recorded."""

    def __init__(self):
        super().__init__()
        # busybox's own shell runs its applets without asking PATH; OpenWrt's asks it.
        shell = shutil.which("bash")
        for source in (shell, *libraries(shell)):
            target = self.path / ("test/bash" if source == shell else str(source)[1:])
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        for name in APPLETS.split():
            self.write(f"rec/{name}", f'{RECORDER}busybox {name} "$@"\n', 0o755)
        for name, path in OTHERS.items():
            self.write(f"rec/{name}", f'{RECORDER}{path} "$@"\n', 0o755)
        (self.path / "rec/busybox").symlink_to("/bin/busybox")

    def watched(self, *words, stdin=""):
        """wgroam-setup."""
        script = 'umask 022; echo $$ > /tmp/shell.pid; exec /test/bash --posix /usr/sbin/wgroam-setup "$@"'
        return self.run(
            "/test/bash",
            "--posix",
            "-c",
            script,
            "wgroam-setup",
            *words,
            stdin=stdin,
            PATH="/rec",
            line="",
            private_key="",
            link="",
        )


class Secrets(SetupCase):
    """Where they must not be."""

    def setUp(self):
        self.box = Watched()
        self.addCleanup(self.box.close)

    def check(self, secrets):
        """No program was told, nobody else could read."""
        calls = self.box.calls("argv")
        self.assertGreater(len(calls), 50)
        words = (
            "\0".join(word for call in calls for word in call) + self.box.read("tmp/env.calls") + self.box.log.text()
        )
        for secret in secrets:
            self.assertFalse(secret in words, "a program was told a secret")
        for line in self.box.read("tmp/modes").splitlines():
            self.assertRegex(line, r"^.{4}------", "others can read it")
        for path in (self.box.path / STORE).rglob("*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE((self.box.path / STORE).stat().st_mode), 0o700)
        self.assertEqual(self.box.left_over(), [])

    def test_of_an_anchor(self):
        ran = self.box.watched(*ANCHOR)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        said = ran.stdout + ran.stderr
        invited = self.box.watched("invite", "r1")
        self.assertEqual(invited.returncode, 0, invited.stderr)
        fields = invited.stdout.split("%")
        network = self.box.read("etc/config/network")
        own = re.search("private_key '(.*)'", network).group(1)
        again = self.box.watched(*ANCHOR, "--open", "tcp:22")
        listed = self.box.watched("list")
        revoked = self.box.watched("revoke", "r1")
        removed = self.box.watched("remove", "home")
        for ran in (again, listed, revoked, removed):
            self.assertEqual(ran.returncode, 0, ran.stderr)
            said += ran.stdout + ran.stderr
        secrets = [own, fields[10], fields[12]]
        self.check(secrets)
        for secret in secrets:
            self.assertNotIn(secret, said + invited.stderr)

    def test_of_a_roamer(self):
        ran = self.box.watched("join", "--yes", "--wait", "1", stdin=forge())
        self.assertEqual(ran.returncode, 4, ran.stderr)
        said = ran.stdout + ran.stderr
        slips = (FIELDS["private"][:20] + "x" + FIELDS["private"][21:], "short")
        for slip in slips:
            ran = self.box.watched("join", "--yes", stdin=forge().replace(FIELDS["private"], slip))
            self.assertEqual(ran.returncode, 1)
            said += ran.stdout + ran.stderr
        removed = self.box.watched("remove", "home")
        self.assertEqual(removed.returncode, 0, removed.stderr)
        said += removed.stdout + removed.stderr
        self.check([*SECRETS, *slips])
        for secret in SECRETS:
            self.assertNotIn(secret, said)

    def test_a_line_that_is_pasted_is_not_shown(self):
        ours, theirs = pty.openpty()
        words = ["/usr/sbin/chroot", self.box.path, "/usr/sbin/wgroam-setup", "join"]
        process = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        )
        os.close(theirs)
        shown = b""
        for question, answer in ((b"not shown: ", forge()), (b"[y/N] ", "n")):
            while question not in shown:
                shown += os.read(ours, 65536)
            if answer != "n":
                wait("a terminal without echo", lambda: not termios.tcgetattr(ours)[3] & termios.ECHO)
            os.write(ours, f"{answer}\n".encode())
        self.assertEqual(process.wait(timeout=60), 1)
        os.set_blocking(ours, False)
        with contextlib.suppress(OSError):
            shown += os.read(ours, 65536)
        os.close(ours)
        self.assertIn(b"not confirmed", shown)
        for secret in SECRETS:
            self.assertNotIn(secret.encode(), shown)

    def test_a_network_file_that_all_can_read_is_closed(self):
        os.chmod(self.box.path / "etc/config/network", 0o644)
        self.assertEqual(self.box.watched(*ANCHOR).returncode, 0)
        self.assertEqual(stat.S_IMODE((self.box.path / "etc/config/network").stat().st_mode), 0o600)

    def test_an_environment_that_exports_its_variables_is_not_used(self):
        names = "line private_key preshared_key shared private work replacing name yes dry_run open value key quoted"
        environment = {name: "/canary" for name in names.split()}
        script = 'exec /test/bash --posix /usr/sbin/wgroam-setup "$@"'
        ran = self.box.run(
            "/test/bash",
            "--posix",
            "-c",
            script,
            "x",
            "join",
            "--yes",
            "--wait",
            "0",
            stdin=forge(),
            PATH="/rec",
            **environment,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.check(SECRETS)

    def test_it_starts_no_program_that_a_stock_router_lacks(self):
        for words in (ANCHOR, ("invite", "r1"), ("list",), ("remove", "home")):
            ran = self.box.watched(*words)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertNotIn("not found", ran.stderr)
        used = {call[0] for call in self.box.calls("argv")}
        self.assertTrue(used <= set(APPLETS.split()) | set(OTHERS), used)


class Hostile(SetupCase):
    """Values in this router's own configuration."""

    def test_no_value_of_uci_reaches_a_shell_or_another_option(self):
        line = self.invitation()
        places = ("option proto", "list ip6addr", "option device", "list ip6prefix", "option listen_port")
        for start in range(0, len(BAITS), 3):
            router = self.router()
            baits = [quoted(BAITS[(start + at) % len(BAITS)]) for at in range(len(places))]
            network = "\nconfig interface 'evil'\n" + "".join(
                f"\t{place} {bait}\n" for place, bait in zip(places, baits, strict=True)
            )
            network += (
                f"\nconfig wireguard_wg_home 'mine'\n\toption description {baits[0]}\n\tlist allowed_ips {baits[1]}\n"
            )
            network += f"\nconfig wireguard_evil\n\tlist allowed_ips {baits[2]}\n"
            router.write("etc/config/network", router.read("etc/config/network") + network, 0o600)
            router.write(
                "etc/config/dhcp",
                router.read("etc/config/dhcp").replace("option ra 'server'", f"option ra {baits[0]}"),
                0o600,
            )
            before = router.run("/sbin/uci", "show").stdout
            for words, stdin in (
                (ANCHOR, ""),
                (("invite", "r1"), ""),
                (("remove", "home"), ""),
                (("join", "--yes", "--wait", "0"), line),
            ):
                ran = router.setup(*words, stdin=stdin)
                self.assertTrue(ran.returncode == 0 or "several lines" in ran.stderr, ran.stderr)
            router.setup("remove", "home")
            self.assertFalse((router.path / "canary").exists(), baits)
            self.assertEqual(router.run("/sbin/uci", "show").stdout, before)


class Interrupted(SetupCase):
    """At any moment from the first write to flash on."""

    def setUp(self):
        self.box = Watched()
        self.addCleanup(self.box.close)
        self.box.must(*ANCHOR)
        self.before = self.stored()
        self.box.must("anchor", "--host", "h:4500")
        self.after = self.stored()
        self.box.must(*ANCHOR)
        self.assertEqual(self.stored()[0], self.before[0])
        self.box.services()

    def stored(self):
        """The configuration, and what is known of it; a list of options may have another order."""
        texts = [self.box.run("/sbin/uci", "show", package).stdout for package in PACKAGES]
        record = [line for line in self.box.read(f"{STORE}/home.record").splitlines() if not line.startswith("after")]
        return sorted("".join(texts).splitlines()), sorted(record)

    def cut(self, number, name):
        """A run that gets a signal at the N-th program; whether it got there."""
        self.box.write("tmp/kill", f"{number}\n")
        self.box.write("tmp/signal", f"{name}\n")
        (self.box.path / "tmp/count").unlink(missing_ok=True)
        files = self.box.files()
        ran = self.box.watched("anchor", "--host", "h:4500")
        (self.box.path / "tmp/kill").unlink()
        return ran, files

    def go_through(self, name, step):
        """Moments, one after the other, until there are no more."""
        undone = 0
        for number in range(1, 200, step):
            ran, files = self.cut(number, name)
            if ran.returncode == 0:
                break
            if name == "TERM":
                # It has put things back by itself.
                self.assertEqual(ran.returncode, 143, ran.stderr)
                self.assertEqual(self.box.left_over(), [])
            told = self.box.services()
            listed = self.box.setup("list")
            self.assertEqual(listed.returncode, 0)
            if name == "TERM":
                self.assertEqual(listed.stderr, "")
            found = self.stored()
            self.assertIn(found, (self.before, self.after), f"killed at {number}")
            self.assertEqual(
                [path.name for path in (self.box.path / "etc/config").iterdir() if path.name.startswith(".")], []
            )
            self.assertEqual(
                [name for name in os.listdir(self.box.path / STORE) if name.startswith(("undo", "pending", "."))], []
            )
            self.assertEqual(self.box.left_over(), [])
            if found == self.before:
                undone += 1
                self.assertEqual(told, [], "services were told of what is not there")
                config = {key: value for key, value in files.items() if "backup" not in key}
                now = {key: value for key, value in self.box.files().items() if "backup" not in key}
                self.assertEqual(now, config, f"killed at {number}")
            else:
                self.box.must(*ANCHOR)
                self.box.services()
        self.assertEqual(self.stored(), self.after)
        self.assertGreater(undone, 14 // step)
        self.assertLess(number, 199)

    def test_a_kill_leaves_the_old_or_the_new_and_never_a_mixture(self):
        self.go_through("KILL", 3)

    def test_a_signal_puts_everything_back(self):
        self.go_through("TERM", 5)

    def test_a_file_that_somebody_wrote_after_a_power_cut_is_not_put_back(self):
        for number in range(11, 16):
            self.cut(number, "KILL")
            if (self.box.path / STORE / "pending").exists() and self.stored()[0] not in (self.before[0], self.after[0]):
                break
        self.assertTrue((self.box.path / STORE / "pending").exists())
        self.box.write("etc/config/network", "config interface 'mine'\n", 0o600)
        self.box.setup("list")
        self.assertEqual(self.box.read("etc/config/network"), "config interface 'mine'\n")
        self.assertFalse((self.box.path / STORE / "pending").exists())

    def test_no_room_on_flash_changes_nothing(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", self.box.path / STORE], check=True)
        self.addCleanup(subprocess.run, ["umount", self.box.path / STORE], check=False)
        before = self.box.configuration()
        ran = self.box.setup("anchor", "--name", "other", "--host", "h:4500", "--prefix", "2001:db8:1300::/56")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("no room on flash", ran.stderr)
        self.assertEqual(self.box.configuration(), before)

    def test_no_room_for_the_second_file_puts_the_first_one_back(self):
        away = self.router()
        # A page now, and two when something is added: there is one to spare, which the first file needs for a moment.
        text = away.read("etc/config/firewall")
        away.write(
            "etc/config/firewall", text + f"\nconfig include 'x'\n\toption path '{'x' * (4000 - len(text))}'\n", 0o600
        )
        before = away.configuration()
        folder = away.path / "etc/config"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20k", "none", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", folder], check=False)
        for name, text in before.items():
            away.write(f"etc/config/{name}", text.decode(), 0o600)
        ran = away.setup("join", "--yes", "--wait", "0", stdin=forge())
        self.assertEqual(ran.returncode, 1)
        self.assertIn("/etc/config/firewall could not be written; everything is put back", ran.stderr)
        self.assertEqual(away.configuration(), before)
        self.assertEqual(sorted(os.listdir(folder)), sorted(before))
        self.assertEqual([name for name in os.listdir(away.path / STORE) if not name.startswith("backup.")], [])

    def test_a_file_that_somebody_else_changes_meanwhile_is_not_overwritten(self):
        away = self.router()
        (away.path / "tmp/in").mkdir()
        process = subprocess.Popen(
            ["/usr/sbin/chroot", away.path, "/usr/sbin/wgroam-setup", "join", "--wait", "0"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        process.stdin.write(forge() + "\n")
        process.stdin.flush()
        wait(
            "the question",
            lambda: any(
                (path / "changes").exists() and (path / "changes").stat().st_size
                for path in (away.path / "tmp").glob("wgroam-setup.*")
            ),
        )
        text = away.read("etc/config/dhcp") + "\nconfig mine\n"
        away.write("etc/config/dhcp", text, 0o600)
        _, said = process.communicate("y\n", timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertIn("was changed by somebody else meanwhile", said)
        self.assertEqual(away.read("etc/config/dhcp"), text)
        self.assertNotIn("wg_home", away.read("etc/config/network"))
