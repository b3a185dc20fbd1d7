# SPDX-License-Identifier: GPL-2.0-only
"""What the packages put where, and their scripts, as the feed's Makefile lays them out."""
import os
import shutil
import stat
import unittest
from pathlib import Path

from cases import Case
from samples import BAITS, NETWORK, WGROAM, quoted
from scratch import FILES, PACKAGES, Root, staged, wait

BINARIES = Path(os.environ["WGROAM_BINARIES"])

def tree(folder):
    """All files below it, with their modes and texts."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            found["/" + str(path.relative_to(folder))] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


def own_test(root, package):
    """Runs test.sh as OpenWrt's packages CI does."""
    shutil.copy(FILES.parent / "test.sh", root.path / "tmp/test.sh")
    return root.run("/bin/sh", "/tmp/test.sh", package, "0.1.0")


def installed(package):
    """What the package puts where, but for its program: mode and content by path."""
    found = tree(staged(package) / "root")
    del found[f"/usr/sbin/{PACKAGES[package]}"]
    return found


class Lists(unittest.TestCase):
    """What the packages consist of."""

    def test_every_file_is_installed_once(self):
        both = [(path, content) for package in PACKAGES for path, (_, content) in installed(package).items()]
        where = {}
        for source in FILES.rglob("*"):
            if source.is_file():
                where[str(source.relative_to(FILES))] = [path for path, content in both if content == source.read_bytes()]
        self.assertEqual({source: paths for source, paths in where.items() if len(paths) != 1}, {})
        self.assertEqual(sorted(path for (path,) in where.values()), sorted(path for path, _ in both))
        self.assertEqual(len({path for path, _ in both}), len(both))

    def test_programs_are_executable_and_those_of_the_build(self):
        for package, program in PACKAGES.items():
            path = staged(package) / "root/usr/sbin" / program
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o755)
            self.assertEqual(path.read_bytes(), (BINARIES / program).read_bytes())

    def test_what_sets_tunnels_up_is_in_the_tools_with_the_examples_and_nothing_else(self):
        for path in installed("wgroam-tools"):
            folders = ("/usr/share/wgroam/setup/", "/usr/share/wgroam/examples/")
            self.assertTrue(path == "/usr/sbin/wgroam-setup" or path.startswith(folders), path)
        self.assertEqual([path for path in installed("wgroam") if "setup" in path], [])

    def test_what_runs_for_the_daemon_asks_for_nothing_of_the_tools(self):
        for path, (_, content) in installed("wgroam").items():
            text = content.decode().replace("/etc/wgroam-setup/", "")
            for word in ("wgroam-setup", "wgroam-diagnose", "wgroam diagnose", "wgroam setup", "/usr/share/wgroam/setup"):
                self.assertNotIn(word, text, path)

    def test_conffiles_are_installed_and_readable_by_root_alone(self):
        conffiles = (staged("wgroam") / "conffiles").read_text().splitlines()
        modes = {path: mode for path, (mode, _) in installed("wgroam").items() if path.startswith("/etc/config/")}
        self.assertEqual(modes, dict.fromkeys(conffiles, 0o600))

    def test_what_is_executed_is_executable_and_nothing_else(self):
        for path, (mode, _) in (entry for package in PACKAGES for entry in installed(package).items()):
            runs = path.split("/")[1:3] in (["etc", "init.d"], ["etc", "uci-defaults"], ["usr", "libexec"])
            runs = runs or path in ("/usr/sbin/wgroam-setup", "/usr/share/wgroam/again", "/usr/share/wgroam/hooks")
            self.assertEqual(mode, 0o755 if runs else 0o600 if path.startswith("/etc/config/") else 0o644, path)

    def test_scripts_are_wgroams_alone(self):
        for package, scripts in (("wgroam", {"conffiles", "postinst-pkg", "postrm"}), ("wgroam-tools", set())):
            self.assertEqual({path.name for path in staged(package).iterdir()}, {"root", "control", *scripts})


class Scripts(Case):
    """uci-defaults, and what the package manager runs."""

    def defaults(self, text):
        """Runs uci-defaults as at boot, on this configuration; gives what is there then."""
        self.root.config(text, NETWORK)
        ran = self.root.run("/bin/sh", "-c", "cd /etc/uci-defaults; ( . ./80_wgroam ); echo $?")
        self.assertEqual(ran.stdout, "0\n", "it would stay, and run at every boot")
        self.assertFalse((self.root.path / "canary").exists())
        return self.root.read("etc/config/wgroam")

    def shown(self):
        """`uci show`."""
        return self.root.run("/sbin/uci", "show", "wgroam", check=True).stdout

    def test_a_section_without_a_name_gets_it(self):
        self.defaults("config wgroam\n\toption log_level 'warn'\n\nconfig tunnel 'wgr'\n")
        self.assertEqual(self.shown(), "wgroam.globals=wgroam\nwgroam.globals.log_level='warn'\nwgroam.wgr=tunnel\n")

    def test_a_missing_section_is_made(self):
        self.defaults("config tunnel 'wgr'\n")
        self.assertIn("wgroam.globals=wgroam\n", self.shown())
        self.defaults("")
        self.assertEqual(self.shown(), "wgroam.globals=wgroam\n")

    def test_what_is_right_or_broken_stays_as_it_is(self):
        shipped = (FILES / "wgroam.config").read_text()
        for text in (WGROAM, shipped, "config wgroam 'globals\n"):
            self.assertEqual(self.defaults(text), text)

    def test_twice_is_as_good_as_once(self):
        once = self.defaults("config wgroam\n\toption log_level 'warn'\n")
        self.assertEqual(self.defaults(once), once)

    def test_hostile_values_reach_no_shell(self):
        for bait in BAITS:
            self.defaults(f"config wgroam\n\toption log_level {quoted(bait)}\n\tlist wan {quoted(bait)}\n")

    def test_rpcd_is_told_of_the_plugin_and_of_its_end(self):
        self.root.write("etc/init.d/rpcd", '#!/bin/sh\necho "$1" >> /tmp/rpcd\n', 0o755)
        for name in ("postinst-pkg", "postrm"):
            shutil.copy(staged("wgroam") / name, self.root.path / f"tmp/{name}")
            self.assertEqual(self.root.run("/bin/sh", f"/tmp/{name}").returncode, 0)
            # While an image is built.
            self.assertEqual(self.root.run("/bin/sh", f"/tmp/{name}", IPKG_INSTROOT="/tmp/image").returncode, 0)
        self.assertEqual(self.root.read("tmp/rpcd"), "reload\nreload\n")

    def test_what_was_learned_goes_with_the_package_and_not_with_an_upgrade(self):
        self.start()
        self.root.write("etc/wgroam/state", "")
        shutil.copy(staged("wgroam") / "postrm", self.root.path / "tmp/postrm")
        # The new program is in place when the old package's script runs.
        self.root.run("/bin/sh", "/tmp/postrm", check=True)
        self.assertTrue((self.root.path / "etc/wgroam/state").exists())
        (self.root.path / "usr/sbin/wgroam").unlink()
        self.root.run("/bin/sh", "/tmp/postrm", check=True)
        self.assertFalse((self.root.path / "etc/wgroam").exists())
        self.assertTrue((self.root.path / "etc/config/wgroam").exists())

    def test_sysupgrade_keeps_state_hooks_and_what_wgroam_setup_knows(self):
        kept = self.root.read("lib/upgrade/keep.d/wgroam").splitlines()
        command = self.start()["daemon"]["command"]
        state = command[command.index("--state") + 1]
        self.assertTrue(any(state.startswith(folder) for folder in kept))
        self.assertIn("/etc/hotplug.d/wgroam/", kept)
        # The tunnels that it made outlive its package.
        self.assertIn("/etc/wgroam-setup/", kept)

    def test_the_packages_own_tests_pass(self):
        for package in PACKAGES:
            ran = own_test(self.root, package)
            self.assertEqual(ran.returncode, 0, package + ran.stdout + ran.stderr)
        self.assertEqual(own_test(self.root, "wgroam-luci").returncode, 1)


class Alone(unittest.TestCase):
    """wgroam without wgroam-tools."""

    def setUp(self):
        self.root = Root(packages=("wgroam",))
        self.addCleanup(self.root.close)

    def test_its_own_test_passes_and_that_of_the_tools_does_not(self):
        ran = own_test(self.root, "wgroam")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertNotEqual(own_test(self.root, "wgroam-tools").returncode, 0)

    def test_what_is_not_there_is_named_with_its_package(self):
        for command in ("diagnose", "setup"):
            ran = self.root.run("/usr/sbin/wgroam", command)
            self.assertEqual((ran.returncode, ran.stdout), (1, ""))
            self.assertIn(f"wgroam-{command} is not installed; OpenWrt: `opkg install wgroam-tools`, or `apk add wgroam-tools`", ran.stderr)

    def test_service_starts_and_the_daemon_answers(self):
        self.root.config(WGROAM, NETWORK)
        self.assertEqual(self.root.init("start").returncode, 0)
        self.root.daemon(self.root.instances()["daemon"])
        wait("an answer", lambda: "wgroam 0" in self.root.run("/usr/sbin/wgroam", "status").stdout)
        self.assertIn("version", str(self.root.rpcd("status")))
