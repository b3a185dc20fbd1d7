# SPDX-License-Identifier: GPL-2.0-only
"""ci/package and ci/feed-index: what is in the packages, what they do when they are installed, upgraded and removed by their
own scripts, and the signed list of a feed. With the programs of this machine, which the scratch root can run."""
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from opkg import Opkg, fields, files, members, parts
from samples import NETWORK
from scratch import FILES, PACKAGES, TREE, Root, libraries, staged, wait
from test_files import installed, tree

ARCHITECTURE = "x86_64"
BINARIES = Path(os.environ["WGROAM_BINARIES"])
WHEN = 1_700_000_000


def run(*words, **environment):
    """A command of the tree."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(WHEN), **environment}
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, env=environment, timeout=60)


class Made(unittest.TestCase):
    """With the packages of this tree, made once, and those of the next version. `package` is wgroam, `tools` wgroam-tools."""

    @classmethod
    def setUpClass(cls):
        cls.out = Path(tempfile.mkdtemp(prefix="package."))
        cls.addClassCleanup(shutil.rmtree, cls.out)
        cls.package, cls.tools = cls.make(TREE, cls.out)
        cls.both = {"wgroam": cls.package, "wgroam-tools": cls.tools}

    @classmethod
    def make(cls, source, out, **environment):
        """ci/package of that tree; gives the packages."""
        ran = run(source / "ci/package", "--binaries", BINARIES, "--out", out, ARCHITECTURE, **environment)
        assert ran.returncode == 0, ran.stderr
        made = []
        for name in PACKAGES:
            (package,) = (out / ARCHITECTURE).glob(f"{name}_*.ipk")
            made.append(package)
            assert f"{package.name}: {package.stat().st_size:,} bytes\n" in ran.stdout, ran.stdout
        assert set((out / ARCHITECTURE).iterdir()) == set(made), made
        return made

    @classmethod
    def next_version(cls, edit=lambda folder: None):
        """The packages of a copy of the tree, a release later; `edit` is called with its folder of the packages."""
        copy = Path(tempfile.mkdtemp(dir=cls.out))
        (copy / "ci").mkdir()
        for name in ("ci/package", "ci/targets"):
            shutil.copy(TREE / name, copy / name)
        for name in ("ci/buildroot", "feed"):
            shutil.copytree(TREE / name, copy / name)
        makefile = copy / "feed/net/wgroam/Makefile"
        makefile.write_text(makefile.read_text().replace("PKG_RELEASE:=1\n", "PKG_RELEASE:=2\n"))
        edit(makefile.parent)
        return cls.make(copy, copy / "out")


class Content(Made):
    """What is in it."""

    def test_it_is_what_opkg_unpacks(self):
        for package in self.both.values():
            outer = members(package.read_bytes())
            self.assertEqual([name for name, *_ in outer], ["./debian-binary", "./data.tar.gz", "./control.tar.gz"])
            self.assertEqual(outer[0][-1], b"2.0\n")
            inside = parts(package)
            for _, mode, *rest, _ in outer:
                self.assertEqual((mode, rest), (0o644, [0, 0, WHEN]))
            for part in ("./data.tar.gz", "./control.tar.gz"):
                found = members(inside[part])
                self.assertEqual(found[0][0], ".")
                order = [(content is not None, "/sbin/" in name, name) for name, *_, content in found]
                self.assertEqual(order, sorted(set(order)), "folders, files, programs; each once")
                for name, mode, owner, group, when, content in found:
                    self.assertEqual((owner, group, when), (0, 0, WHEN), name)
                    self.assertTrue(content is not None or mode == 0o755, name)

    def test_fields_are_those_of_the_feeds_makefile(self):
        makefile = (FILES.parent / "Makefile").read_text()
        said = dict(re.findall(r"^([A-Z_]+):=(.*)$", makefile, re.M))
        version = f"{said['PKG_VERSION']}-r{said['PKG_RELEASE']}"
        depends = {"wgroam": "kmod-wireguard", "wgroam-tools": "wgroam, wireguard-tools"}
        for name, package in self.both.items():
            inside = parts(package)
            found = fields(files(inside["./control.tar.gz"])["/control"][1].decode())
            own, description = (
                re.search(rf"^define Package/{name}{which}\n(.*?)^endef", makefile, re.S | re.M).group(1)
                for which in ("", "/description")
            )
            own = dict(re.findall(r"^  ([A-Z_]+):=(.*)$", own, re.M))
            self.assertEqual(own.get("USERID"), "wgroam:wgroam" if name == "wgroam" else None)
            self.assertEqual(
                found,
                {
                    "Package": name,
                    "Version": version,
                    "Depends": ("libc, " if libraries(BINARIES / PACKAGES[name]) else "") + depends[name],
                    "Source": "wgroam",
                    "SourceName": "wgroam",
                    "License": "GPL-2.0-only",
                    "LicenseFiles": "LICENSE",
                    "Section": own["SECTION"],
                    **({"Require-User": own["USERID"]} if "USERID" in own else {}),
                    "Maintainer": said["PKG_MAINTAINER"],
                    "SourceDateEpoch": str(WHEN),
                    "Architecture": ARCHITECTURE,
                    "Installed-Size": str(len(gzip.decompress(inside["./data.tar.gz"]))),
                    "Description": "\n".join(line.strip() for line in description.splitlines()),
                },
            )
            self.assertEqual(package.name, f"{name}_{version}_{ARCHITECTURE}.ipk")

    def programs(self, folder, **edited):
        """A folder with both programs, those named in place of their own."""
        path = self.out / folder
        path.mkdir()
        for name in PACKAGES.values():
            (path / name).write_bytes(edited.get(name.replace("-", "_"), (BINARIES / name).read_bytes()))
        return path

    def test_static_binaries_depend_on_no_library(self):
        source, static = self.out / "static.c", self.out / "static"
        source.write_text("int main(void) { return 0; }\n")
        subprocess.run(["gcc", "-static", "-o", static, source], check=True)
        program = static.read_bytes()
        library = "libc, " if libraries(BINARIES / "wgroam") else ""
        for number, (edited, wanted) in enumerate(
            (
                ({"wgroam": program, "wgroam_diagnose": program}, ("kmod-wireguard", "wgroam, wireguard-tools")),
                # Each package has what its own program needs.
                ({"wgroam_diagnose": program}, (f"{library}kmod-wireguard", "wgroam, wireguard-tools")),
            )
        ):
            out = self.out / f"other{number}"
            ran = run(TREE / "ci/package", "--binaries", self.programs(f"static{number}", **edited), "--out", out, ARCHITECTURE)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            for name, depends in zip(PACKAGES, wanted):
                (package,) = (out / ARCHITECTURE).glob(f"{name}_*.ipk")
                found = fields(files(parts(package)["./control.tar.gz"])["/control"][1].decode())
                self.assertEqual(found["Depends"], depends)

    def test_files_and_modes_are_those_of_the_feeds_makefile(self):
        for name, package in self.both.items():
            self.assertEqual(files(parts(package)["./data.tar.gz"]), tree(staged(name) / "root"))

    def test_scripts_and_conffiles_are_as_the_feed_has_them(self):
        found = files(parts(self.package)["./control.tar.gz"])
        for name in ("conffiles", "postinst-pkg", "postrm"):
            self.assertEqual(found[f"/{name}"][1], (staged("wgroam") / name).read_bytes(), name)
        text, script = ("/conffiles", "/control"), ("/postinst", "/postinst-pkg", "/postrm", "/prerm")
        self.kinds(found, text, script)
        # What OpenWrt does for every package, and nothing of its own.
        tools = files(parts(self.tools)["./control.tar.gz"])
        self.kinds(tools, ("/control",), ("/postinst", "/prerm"))
        for name in ("/postinst", "/prerm"):
            self.assertEqual(tools[name], found[name])

    def kinds(self, found, text, script):
        """They are there and no others, and what is a script is one."""
        modes = {name: mode for name, (mode, _) in found.items()}
        self.assertEqual(modes, {**{name: 0o644 for name in text}, **{name: 0o755 for name in script}})
        for name in script:
            path = self.out / "script"
            path.write_bytes(found[name][1])
            ran = subprocess.run(["/bin/busybox", "ash", "-n", path], capture_output=True, text=True, check=False)
            self.assertEqual((ran.returncode, ran.stderr), (0, ""), name)

    def test_same_source_makes_the_same_bytes(self):
        mask = os.umask(0o077)
        try:
            others = self.make(TREE, self.out / "again", TZ="Pacific/Auckland", LC_ALL="C")
        finally:
            os.umask(mask)
        later = self.make(TREE, self.out / "later", SOURCE_DATE_EPOCH=str(WHEN + 1))
        for package, other, new in zip(self.both.values(), others, later):
            self.assertEqual(other.read_bytes(), package.read_bytes())
            inside = parts(other)
            for data in (other.read_bytes(), inside["./data.tar.gz"], inside["./control.tar.gz"]):
                # Neither a name nor the time of the day.
                self.assertEqual(data[:8], b"\x1f\x8b\x08\0\0\0\0\0")
            self.assertNotEqual(new.read_bytes(), package.read_bytes())

    def test_older_packages_of_the_same_name_go_and_no_others(self):
        folder = self.out / "old" / ARCHITECTURE
        folder.mkdir(parents=True)
        stay = ("wgroam-tools-more_0.0.9_x86_64.ipk", "wgroam-luci_0.0.9_x86_64.ipk", "other_1_x86_64.ipk", "Packages")
        for name in (*stay, "wgroam_0.0.9-r1_x86_64.ipk", "wgroam-tools_0.0.9-r1_x86_64.ipk"):
            (folder / name).write_text("old")
        ran = run(TREE / "ci/package", "--binaries", BINARIES, "--out", folder.parent, ARCHITECTURE)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual({path.name for path in folder.iterdir()}, {*stay, *(package.name for package in self.both.values())})

    def test_too_large_a_daemon_is_an_error_and_the_tools_may_be_larger(self):
        more = os.urandom(225_000)
        large = self.programs("large", wgroam=(BINARIES / "wgroam").read_bytes() + more)
        ran = run(TREE / "ci/package", "--binaries", large, "--out", self.out / "large-out", "mips_24kc")
        self.assertEqual(ran.returncode, 1)
        self.assertRegex(ran.stderr, "the package wgroam for mips_24kc is [0-9,]+ bytes too large")
        self.assertNotIn("wgroam-tools", ran.stderr)
        self.assertRegex(ran.stdout, r"wgroam_\S+: [0-9,]+ bytes, at most 225,000\n")
        self.assertRegex(ran.stdout, r"wgroam-tools_\S+: [0-9,]+ bytes\n")
        tools = self.programs("tools", wgroam=b"\x7fELF" + bytes(200), wgroam_diagnose=b"\x7fELF" + bytes(200) + more)
        ran = run(TREE / "ci/package", "--binaries", tools, "--out", self.out / "tools-out", "mips_24kc")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_what_it_cannot_use_is_named(self):
        (self.out / "none").mkdir()
        text = self.programs("text", wgroam_diagnose=b"no program")
        alone = self.programs("alone")
        (alone / "wgroam-diagnose").unlink()
        for words, wanted in (
            (["mips"], "for which architecture.*mips_24kc.*x86_64"),
            ([], "for which architecture"),
            (["--binaries", self.out / "none", ARCHITECTURE], "there is no .*/none/wgroam"),
            (["--binaries", alone, ARCHITECTURE], "there is no .*/alone/wgroam-diagnose"),
            (["--binaries", text, ARCHITECTURE], "text/wgroam-diagnose is no program"),
            (["--fast", ARCHITECTURE], "--fast"),
        ):
            ran = run(TREE / "ci/package", *words, "--out", self.out / "wrong")
            self.assertEqual(ran.returncode, 1, words)
            self.assertRegex(ran.stderr, wanted)
            self.assertNotIn("Traceback", ran.stderr)
        self.assertFalse((self.out / "wrong").exists())


class Life(Made):
    """Installed, upgraded and removed in a scratch root."""

    def setUp(self):
        self.root = Root(user=False, packages=())
        self.addCleanup(self.root.close)
        self.root.config(network=NETWORK)
        self.root.write("etc/init.d/rpcd", '#!/bin/sh\necho "$1" >> /tmp/rpcd\n', 0o755)
        self.before = self.files()
        self.opkg = Opkg(self.root)

    def files(self):
        """All that is on flash."""
        tops = [path for path in self.root.path.iterdir() if path.name not in ("proc", "dev", "tmp", "var")]
        found = [path for top in tops for path in top.rglob("*") if not path.is_dir()]
        return {str(path.relative_to(self.root.path)) for path in found}

    def told(self):
        """What procd was told: the method, or for one that starts something the instances."""
        told = [list(message["instances"]) if method == "set" else method for method, message in self.root.told()]
        self.root.forget_calls()
        return told

    def test_installing_makes_the_user_enables_and_starts(self):
        self.opkg.install(self.package)
        self.assertRegex(self.root.read("etc/passwd"), r"(?m)^wgroam:x:(\d+):\1:")
        self.assertRegex(self.root.read("etc/group"), "(?m)^wgroam:")
        self.assertTrue((self.root.path / "etc/rc.d/S25wgroam").is_symlink())
        instance = self.root.instances()["daemon"]
        self.assertEqual(instance["command"][0], "/usr/sbin/wgroam")
        self.assertEqual(instance["user"], "wgroam")
        self.assertFalse((self.root.path / "etc/uci-defaults/80_wgroam").exists(), "it has run")
        self.assertEqual(self.root.read("tmp/rpcd"), "reload\n")
        self.assertEqual(self.root.read("etc/config/wgroam"), (FILES / "wgroam.config").read_text())

    def test_what_is_installed_runs(self):
        self.root.write("etc/passwd", self.root.read("etc/passwd") + "wgroam:x:431:431::/var/run/wgroam:/bin/false\n")
        self.root.write("etc/group", self.root.read("etc/group") + "wgroam:x:431:wgroam\n")
        self.opkg.install(self.package)
        self.assertEqual(self.root.read("etc/passwd").count("wgroam:x"), 1)
        self.root.daemon(self.root.instances()["daemon"])
        wait("an answer", lambda: "wgroam 0" in self.root.run("/usr/sbin/wgroam", "status").stdout)
        self.assertIn("version", str(self.root.rpcd("status")))

    def test_in_an_image_it_is_enabled_and_nothing_runs(self):
        image = self.root.path / "image"
        files = ("lib/functions.sh", "lib/functions/procd.sh", "etc/rc.common", "etc/passwd", "etc/group")
        for name in (*files, "usr/share/libubox/jshn.sh"):
            self.root.write(f"image/{name}", self.root.read(name))
        # As OpenWrt's include/rootfs.mk has them made.
        for folder in ("etc/rc.d", "var/lock"):
            (image / folder).mkdir(parents=True)
        self.root.write("image/etc/init.d/rpcd", '#!/bin/sh\necho "$1" >> /tmp/rpcd\n', 0o755)
        Opkg(self.root, "/image").install(self.package)
        self.assertTrue((image / "etc/rc.d/S25wgroam").is_symlink())
        self.assertTrue((image / "etc/uci-defaults/80_wgroam").exists(), "the router runs it at its first boot")
        self.assertRegex((image / "etc/passwd").read_text(), "(?m)^wgroam:")
        self.assertEqual(self.told(), [])
        self.assertFalse((self.root.path / "tmp/rpcd").exists())
        self.assertEqual({name for name in self.files() if not name.startswith("image/")}, self.before)

    def test_upgrade_keeps_what_was_edited_and_learned_and_starts_the_new_one(self):
        self.opkg.install(self.package)
        edited = self.root.write("etc/config/wgroam", "config wgroam 'globals'\n\toption log_level 'warn'\n", 0o600)
        self.root.write("etc/wgroam/state", "learned")
        self.told()

        def edit(folder):
            with (folder / "files/wgroam.config").open("a") as config:
                config.write("\n# More of it.\n")
            (folder / "files/hooks").write_text("#!/bin/sh\n")
            lines = folder / "Makefile"
            lines.write_text(lines.read_text().replace(" ./files/peers.awk ", " "))

        self.opkg.install(self.next_version(edit)[0])
        self.assertEqual(self.opkg.packages["wgroam"].version.split("-")[1], "r2")
        self.assertEqual(edited.read_text(), "config wgroam 'globals'\n\toption log_level 'warn'\n")
        self.assertEqual(edited.stat().st_mode & 0o777, 0o600)
        self.assertIn("More of it", self.root.read("etc/config/wgroam-opkg"))
        self.assertEqual(self.root.read("etc/wgroam/state"), "learned")
        self.assertEqual(self.root.read("usr/share/wgroam/hooks"), "#!/bin/sh\n")
        self.assertFalse((self.root.path / "usr/share/wgroam/peers.awk").exists())
        self.assertEqual(self.told(), ["delete", ["daemon"]])

    def test_upgrade_replaces_a_configuration_that_nobody_edited(self):
        self.opkg.install(self.package)
        later, _ = self.next_version(lambda folder: (folder / "files/wgroam.config").write_text("config wgroam 'globals'\n"))
        self.opkg.install(later)
        self.assertEqual(self.root.read("etc/config/wgroam"), "config wgroam 'globals'\n")
        self.assertFalse((self.root.path / "etc/config/wgroam-opkg").exists())

    def test_upgrade_leaves_a_service_disabled(self):
        self.opkg.install(self.package)
        self.root.init("disable")
        self.told()
        self.opkg.install(self.next_version()[0])
        self.assertFalse((self.root.path / "etc/rc.d/S25wgroam").is_symlink())
        # Until the next boot, as every service of OpenWrt's.
        self.assertEqual(self.told(), ["delete", ["daemon"]])

    def test_removing_leaves_what_was_edited_and_nothing_else(self):
        for edited in (False, True):
            self.opkg.install(self.package)
            self.root.write("etc/wgroam/state", "learned")
            if edited:
                self.root.write("etc/config/wgroam", "config wgroam 'globals'\n", 0o600)
            self.told()
            self.opkg.remove()
            self.assertEqual(self.told(), ["delete"])
            self.assertEqual(self.files() - self.before, {"etc/config/wgroam"} if edited else set())
            self.assertFalse((self.root.path / "etc/wgroam").exists())
            self.assertFalse((self.root.path / "tmp/run/wgroam").exists())

    def test_configuration_from_before_the_package_is_kept(self):
        self.root.config("config wgroam 'globals'\n\toption enabled '0'\n")
        self.opkg.install(self.package)
        self.assertIn("enabled '0'", self.root.read("etc/config/wgroam"))
        self.assertTrue((self.root.path / "etc/config/wgroam-opkg").exists())
        self.assertEqual(self.told(), [[]])


class Tools(Made):
    """wgroam-tools comes and goes beside a wgroam that runs."""

    setUp, files, told = Life.setUp, Life.files, Life.told

    def with_daemon(self):
        """wgroam is installed, and its daemon runs and has answered; gives its process, and what is on flash then."""
        self.root.write("etc/passwd", self.root.read("etc/passwd") + "wgroam:x:431:431::/var/run/wgroam:/bin/false\n")
        self.root.write("etc/group", self.root.read("etc/group") + "wgroam:x:431:wgroam\n")
        self.opkg.install(self.package)
        process = self.root.daemon(self.root.instances()["daemon"])
        wait("an answer", self.answers)
        self.told()
        (self.root.path / "tmp/rpcd").unlink()
        self.root.write("etc/wgroam/learned", "learned")
        return process, self.content()

    def answers(self):
        """Whether the daemon does."""
        return "wgroam 0" in self.root.run("/usr/sbin/wgroam", "status").stdout

    def content(self):
        """All that is on flash, but for what opkg keeps, and the state, which the daemon may write at any time."""
        apart = ("usr/lib/opkg/", "etc/wgroam/state")
        names = [name for name in self.files() if not name.startswith(apart)]
        return {name: (self.root.path / name).read_bytes() for name in names if (self.root.path / name).is_file()}

    def unmoved(self, process):
        """The daemon is the same and answers, and neither procd nor rpcd was told anything."""
        self.assertIsNone(process.poll())
        self.assertTrue(self.answers())
        self.assertEqual(self.root.told(), [])
        self.assertFalse((self.root.path / "tmp/rpcd").exists())

    def test_installing_adds_its_files_and_leaves_the_daemon_alone(self):
        process, before = self.with_daemon()
        self.assertIn("is not installed", self.root.run("/usr/sbin/wgroam", "diagnose").stderr)
        self.opkg.install(self.tools)
        self.unmoved(process)
        added = {name: content for name, content in self.content().items() if name not in before}
        expected = {path[1:] for path in installed("wgroam-tools")} | {"usr/sbin/wgroam-diagnose"}
        self.assertEqual(set(added), expected)
        self.assertEqual({name: self.content()[name] for name in before}, before)
        self.assertTrue(self.root.run("/usr/sbin/wgroam", "setup", "--help", check=True).stdout.startswith("Usage: wgroam-setup"))
        ran = self.root.run("/usr/sbin/wgroam", "diagnose")
        self.assertEqual((ran.returncode, ran.stderr), (1, ""))
        self.assertIn("there is no WireGuard interface", ran.stdout)

    def test_removing_it_leaves_a_running_wgroam_untouched(self):
        process, before = self.with_daemon()
        self.opkg.install(self.tools)
        self.root.write("etc/wgroam-setup/home.record", "what wgroam-setup knows")
        self.opkg.remove("wgroam-tools")
        self.unmoved(process)
        # Its tunnels stay, and what it knows of them.
        self.assertEqual(self.content(), {**before, "etc/wgroam-setup/home.record": b"what wgroam-setup knows"})
        self.assertEqual(list((self.root.path / "usr/lib/opkg/info").glob("wgroam-tools.*")), [])
        self.assertIn("is not installed", self.root.run("/usr/sbin/wgroam", "diagnose").stderr)

    def test_upgrade_of_it_leaves_the_daemon_alone(self):
        process, _ = self.with_daemon()
        self.opkg.install(self.tools)
        later = self.next_version(lambda folder: (folder / "files/setup/join.sh").write_text("# newer\n"))[1]
        self.opkg.install(later)
        self.unmoved(process)
        self.assertEqual(self.opkg.packages["wgroam-tools"].version.split("-")[1], "r2")
        self.assertEqual(self.root.read("usr/share/wgroam/setup/join.sh"), "# newer\n")

    def test_it_brings_wgroam_along_and_wgroam_is_not_removed_from_under_it(self):
        with self.assertRaisesRegex(AssertionError, "cannot find dependency for wgroam-tools: {'wgroam'}"):
            self.opkg.install(self.tools)
        self.opkg.install(self.tools, self.package)
        self.assertEqual(list(self.opkg.packages), ["wgroam", "wgroam-tools"])
        with self.assertRaisesRegex(AssertionError, "depended upon"):
            self.opkg.remove("wgroam")

    def test_removing_both_gives_back_what_was_there(self):
        self.opkg.install(self.package, self.tools)
        self.root.write("etc/wgroam/state", "learned")
        self.told()
        self.opkg.remove("wgroam-tools")
        self.assertEqual(self.told(), [])
        self.assertEqual(self.root.read("etc/wgroam/state"), "learned")
        self.opkg.remove("wgroam")
        self.assertEqual(self.told(), ["delete"])
        self.assertEqual(self.files(), self.before)
        self.assertFalse((self.root.path / "etc/wgroam").exists())

    def test_wgroam_forced_out_from_under_it_leaves_what_it_knows(self):
        self.opkg.install(self.package, self.tools)
        self.root.write("etc/wgroam-setup/home.record", "what wgroam-setup knows")
        # --force-depends
        self.opkg.packages["wgroam-tools"].depends.remove("wgroam")
        self.opkg.remove("wgroam")
        self.assertEqual(self.root.read("etc/wgroam-setup/home.record"), "what wgroam-setup knows")
        for path in installed("wgroam-tools"):
            self.assertTrue((self.root.path / path[1:]).exists(), path)


class List(Made):
    """ci/feed-index, with throw-away keys."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(dir=self.out))
        shutil.copy(self.package, self.folder)
        self.key("key")

    def key(self, name):
        """A pair, as usign makes one."""
        words = ["-p", self.out / f"{name}.pub", "-s", self.out / f"{name}.sec"]
        if not words[1].exists():
            subprocess.run(["signify-openbsd", "-G", "-n", *words], check=True)

    def index(self, *words):
        """Lists and signs."""
        return run(TREE / "ci/feed-index", *(words or [self.out / "key.sec", self.folder]))

    def verifies(self, key="key"):
        """As opkg does it."""
        words = ["-V", "-q", "-p", self.out / f"{key}.pub", "-x", self.folder / "Packages.sig", "-m", self.folder / "Packages"]
        return run("signify-openbsd", *words).returncode == 0

    def test_list_says_what_the_packages_say_and_how_to_get_them(self):
        for package in (self.tools, *self.next_version()):
            shutil.copy(package, self.folder)
        ran = self.index()
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertIn("4 package(s), signed with", ran.stdout)
        text = (self.folder / "Packages").read_text()
        self.assertEqual(gzip.decompress((self.folder / "Packages.gz").read_bytes()).decode(), text)
        entries = [fields(entry) for entry in text.rstrip("\n").split("\n\n")]
        packages = sorted(self.folder.glob("*.ipk"))
        self.assertEqual(len(entries), 4)
        for entry, package in zip(entries, packages):
            data = package.read_bytes()
            self.assertEqual(entry.pop("Filename"), package.name)
            self.assertEqual(entry.pop("Size"), str(len(data)))
            self.assertEqual(entry.pop("SHA256sum"), hashlib.sha256(data).hexdigest())
            self.assertEqual(entry, fields(files(parts(package)["./control.tar.gz"])["/control"][1].decode()))

    def test_signature_is_the_keys_and_of_every_byte(self):
        self.index()
        self.key("other")
        self.assertTrue(self.verifies())
        self.assertFalse(self.verifies("other"))
        whole = (self.folder / "Packages").read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 1):
            (self.folder / "Packages").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            self.assertFalse(self.verifies(), f"byte {at}")
        (self.folder / "Packages").write_bytes(whole)
        self.assertTrue(self.verifies())

    def test_secret_key_may_have_the_name_that_openwrt_gives_it(self):
        shutil.copy(self.out / "key.sec", self.out / "key-build")
        ran = self.index(self.out / "key-build", self.folder)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertTrue(self.verifies())
        self.assertEqual([path.name for path in self.out.glob("key-build*")], ["key-build"])

    def test_without_a_key_it_says_so_and_leaves_no_old_signature(self):
        self.index()
        ran = self.index("", self.folder)
        self.assertEqual(ran.returncode, 0)
        self.assertIn("NOT SIGNED", ran.stdout)
        self.assertFalse((self.folder / "Packages.sig").exists())

    def test_wrong_key_or_no_package_is_an_error_and_changes_nothing(self):
        self.index()
        there = tree(self.folder)
        for name, wanted in (("none", "is not there"), ("key.pub", "is no secret key")):
            ran = self.index(self.out / name, self.folder)
            self.assertEqual(ran.returncode, 1)
            self.assertIn(wanted, ran.stderr)
        self.assertEqual(tree(self.folder), there)
        empty = Path(tempfile.mkdtemp(dir=self.out))
        ran = self.index("", empty)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("there is no package", ran.stderr)
        self.assertEqual(list(empty.iterdir()), [])

    def test_broken_package_is_not_listed(self):
        (self.folder / "wgroam_2_x86_64.ipk").write_bytes(b"not a package")
        ran = self.index()
        self.assertEqual(ran.returncode, 1)
        self.assertIn("is broken", ran.stderr)
        self.assertFalse((self.folder / "Packages.sig").exists())
