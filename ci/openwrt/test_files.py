# SPDX-License-Identifier: GPL-2.0-only
"""What the packages put where, their scripts, and the feed's Makefile, which takes all of it from files/."""
import re
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

from cases import Case
from samples import BAITS, NETWORK, WGROAM, quoted
from scratch import FILES, PACKAGES, TREE, Root, install, wait

# In files/, and not for the router as they are.
FOR_BUILDERS = {"wgroam.manifest", "wgroam-tools.manifest", "install", "conffiles", "wgroam.postinst", "wgroam.postrm"}


def manifest(package):
    """The package's list, as (mode, source, target)."""
    lines = (FILES / f"{package}.manifest").read_text().splitlines()
    return [tuple(line.split()) for line in lines if line and not line.startswith("#")]


def both():
    """The lists of both."""
    return [line for package in PACKAGES for line in manifest(package)]


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


class Lists(unittest.TestCase):
    """The manifests and conffiles."""

    def test_every_file_is_in_one_manifest_once(self):
        there = {str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file()} - FOR_BUILDERS
        self.assertEqual(sorted(source for _, source, _ in both()), sorted(there))
        self.assertEqual(len({target for *_, target in both()}), len(both()))

    def test_what_sets_tunnels_up_is_in_the_tools_with_the_examples_and_nothing_else(self):
        for *_, target in manifest("wgroam-tools"):
            folders = ("/usr/share/wgroam/setup/", "/usr/share/wgroam/examples/")
            self.assertTrue(target == "/usr/sbin/wgroam-setup" or target.startswith(folders), target)
        self.assertEqual([source for _, source, _ in manifest("wgroam") if source.startswith("setup/")], [])

    def test_what_runs_for_the_daemon_asks_for_nothing_of_the_tools(self):
        for _, source, target in manifest("wgroam"):
            text = (FILES / source).read_text().replace("/etc/wgroam-setup/", "")
            for word in ("wgroam-setup", "wgroam-diagnose", "wgroam diagnose", "wgroam setup", "/usr/share/wgroam/setup"):
                self.assertNotIn(word, text, target)

    def test_conffiles_are_installed_and_readable_by_root_alone(self):
        conffiles = (FILES / "conffiles").read_text().splitlines()
        self.assertEqual(conffiles, [target for _, _, target in both() if target.startswith("/etc/config/")])
        self.assertTrue(all(mode == "600" for mode, _, target in manifest("wgroam") if target in conffiles))

    def test_what_is_executed_is_executable_and_nothing_else(self):
        for mode, source, target in both():
            runs = target.split("/")[1:3] in (["etc", "init.d"], ["etc", "uci-defaults"], ["usr", "libexec"])
            runs = runs or target in ("/usr/sbin/wgroam-setup", "/usr/share/wgroam/again", "/usr/share/wgroam/hooks")
            self.assertEqual(mode == "755", runs, source)


class Feed(unittest.TestCase):
    """The Makefile."""

    def setUp(self):
        self.out = Path(tempfile.mkdtemp(prefix="feed."))
        self.addCleanup(shutil.rmtree, self.out)
        (self.out / "rust/bin").mkdir(parents=True)
        for program in PACKAGES.values():
            (self.out / f"rust/bin/{program}").write_text(f"the program {program}")

    def make(self, goal):
        """`make GOAL` in the package's folder."""
        words = ["make", "-s", "-C", FILES.parent, f"TOPDIR={TREE}/ci/buildroot", f"OUT={self.out}", goal]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return ran.stdout

    def test_it_installs_what_the_manifests_say_and_the_programs(self):
        self.make("package")
        for package, program in PACKAGES.items():
            other = self.out / "other" / package
            install(package, other)
            found = tree(self.out / package / "root")
            self.assertEqual(found.pop(f"/usr/sbin/{program}"), (0o755, f"the program {program}".encode()))
            self.assertEqual(found, tree(other))
            modes = {target: mode for target, (mode, _) in found.items()}
            self.assertEqual(modes, {target: int(mode, 8) for mode, _, target in manifest(package)})

    def test_conffiles_and_scripts_arrive_as_they_are_and_are_wgroams_alone(self):
        self.make("package")
        for name, source in (("conffiles", "conffiles"), ("postinst-pkg", "wgroam.postinst"), ("postrm", "wgroam.postrm")):
            self.assertEqual((self.out / "wgroam" / name).read_text(), (FILES / source).read_text(), name)
        self.assertEqual({path.name for path in (self.out / "wgroam-tools").iterdir()}, {"root", "control"})

    def test_install_names_what_it_was_not_told(self):
        for words in ([], ["wgroam"]):
            ran = subprocess.run([FILES / "install", *words], capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode != 0 and ran.stderr.count("usage: install PACKAGE ROOT"), 1, words)
        ran = subprocess.run([FILES / "install", "other", self.out], capture_output=True, text=True, check=False)
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("other.manifest", ran.stderr)

    def test_its_version_is_the_crates(self):
        crate = re.search(r'^version = "(.*)"', (TREE / "wgroam/Cargo.toml").read_text(), re.M).group(1)
        self.assertIn(f"PKG_VERSION={crate}\n", self.make("variables"))

    def test_what_is_built_is_what_is_watched_and_a_whole_crate(self):
        watched = re.search("PKG_FILE_DEPENDS=(.*)", self.make("variables")).group(1).split()
        self.make("package")
        copied = {path.name for path in (self.out / "build").iterdir()} - {"LICENSE"}
        self.assertEqual(copied, {Path(path).name for path in watched})
        self.assertTrue(all(Path(path).exists() for path in watched))
        which = subprocess.run([TREE / "ci/cargo", "--which"], capture_output=True, text=True, check=True)
        words = [which.stdout.strip(), "metadata", "--no-deps", "--offline", "--format-version", "1"]
        ran = subprocess.run(words, cwd=self.out / "build", capture_output=True, text=True, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)


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
        for name in ("postinst", "postrm"):
            shutil.copy(FILES / f"wgroam.{name}", self.root.path / f"tmp/{name}")
            self.assertEqual(self.root.run("/bin/sh", f"/tmp/{name}").returncode, 0)
            # While an image is built.
            self.assertEqual(self.root.run("/bin/sh", f"/tmp/{name}", IPKG_INSTROOT="/tmp/image").returncode, 0)
        self.assertEqual(self.root.read("tmp/rpcd"), "reload\nreload\n")

    def test_what_was_learned_goes_with_the_package_and_not_with_an_upgrade(self):
        self.start()
        self.root.write("etc/wgroam/state", "")
        shutil.copy(FILES / "wgroam.postrm", self.root.path / "tmp/postrm")
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
