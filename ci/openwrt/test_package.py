# SPDX-License-Identifier: GPL-2.0-only
"""ci/package and ci/feed-index: what is in a package, what it does when it is installed, upgraded and removed by its own
scripts, and the signed list of a feed. With the binary of this machine, which the scratch root can run."""
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
from scratch import FILES, TREE, Root, libraries, wait
from test_files import manifest, tree

ARCHITECTURE = "x86_64"
BINARY = Path(os.environ["WGROAM_BINARY"])
WHEN = 1_700_000_000


def run(*words, **environment):
    """A command of the tree."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(WHEN), **environment}
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, env=environment, timeout=60)


class Made(unittest.TestCase):
    """With a package of this tree, made once, and another of the next version."""

    @classmethod
    def setUpClass(cls):
        cls.out = Path(tempfile.mkdtemp(prefix="package."))
        cls.addClassCleanup(shutil.rmtree, cls.out)
        cls.package = cls.make(TREE, cls.out)

    @classmethod
    def make(cls, source, out, **environment):
        """ci/package of that tree; gives the package."""
        ran = run(source / "ci/package", "--binary", BINARY, "--out", out, ARCHITECTURE, **environment)
        assert ran.returncode == 0, ran.stderr
        (package,) = (out / ARCHITECTURE).glob("*.ipk")
        assert f"{package.stat().st_size:,} bytes" in ran.stdout, ran.stdout
        return package

    @classmethod
    def next_version(cls, edit=lambda files: None):
        """A package of a copy of the tree, a release later; `edit` is called with its folder files/."""
        copy = Path(tempfile.mkdtemp(dir=cls.out))
        (copy / "ci").mkdir()
        for name in ("ci/package", "ci/targets"):
            shutil.copy(TREE / name, copy / name)
        for name in ("ci/buildroot", "feed"):
            shutil.copytree(TREE / name, copy / name)
        makefile = copy / "feed/net/wgroam/Makefile"
        makefile.write_text(makefile.read_text().replace("PKG_RELEASE:=1\n", "PKG_RELEASE:=2\n"))
        edit(copy / "feed/net/wgroam/files")
        return cls.make(copy, copy / "out")


class Content(Made):
    """What is in it."""

    def test_it_is_what_opkg_unpacks(self):
        outer = members(self.package.read_bytes())
        self.assertEqual([name for name, *_ in outer], ["./debian-binary", "./data.tar.gz", "./control.tar.gz"])
        self.assertEqual(outer[0][-1], b"2.0\n")
        inside = parts(self.package)
        for _, mode, *rest, _ in outer:
            self.assertEqual((mode, rest), (0o644, [0, 0, WHEN]))
        for part in ("./data.tar.gz", "./control.tar.gz"):
            found = members(inside[part])
            self.assertEqual(found[0][0], ".")
            self.assertEqual([name for name, *_ in found], sorted(name for name, *_ in found))
            for name, mode, owner, group, when, content in found:
                self.assertEqual((owner, group, when), (0, 0, WHEN), name)
                self.assertTrue(content is not None or mode == 0o755, name)

    def test_fields_are_those_of_the_feeds_makefile(self):
        inside = parts(self.package)
        found = fields(files(inside["./control.tar.gz"])["/control"][1].decode())
        makefile = (FILES.parent / "Makefile").read_text()
        said = dict(re.findall(r"^ *([A-Z_]+):=(.*)$", makefile, re.M))
        version = f"{said['PKG_VERSION']}-r{said['PKG_RELEASE']}"
        description = re.search(r"description\n(.*?)endef", makefile, re.S).group(1)
        self.assertEqual(
            found,
            {
                "Package": "wgroam",
                "Version": version,
                "Depends": ("libc, " if libraries(BINARY) else "") + "kmod-wireguard",
                "Source": "wgroam",
                "SourceName": "wgroam",
                "License": "GPL-2.0-only",
                "LicenseFiles": "LICENSE",
                "Section": said["SECTION"],
                "Require-User": said["USERID"],
                "Maintainer": said["PKG_MAINTAINER"],
                "SourceDateEpoch": str(WHEN),
                "Architecture": ARCHITECTURE,
                "Installed-Size": str(len(gzip.decompress(inside["./data.tar.gz"]))),
                "Description": "\n".join(line.strip() for line in description.splitlines()),
            },
        )
        self.assertEqual(self.package.name, f"wgroam_{version}_{ARCHITECTURE}.ipk")

    def test_static_binary_depends_on_no_library(self):
        source, static = self.out / "static.c", self.out / "static"
        source.write_text("int main(void) { return 0; }\n")
        subprocess.run(["gcc", "-static", "-o", static, source], check=True)
        ran = run(TREE / "ci/package", "--binary", static, "--out", self.out / "other", ARCHITECTURE)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        (package,) = (self.out / "other" / ARCHITECTURE).glob("*.ipk")
        found = fields(files(parts(package)["./control.tar.gz"])["/control"][1].decode())
        self.assertEqual(found["Depends"], "kmod-wireguard")

    def test_files_and_modes_are_those_of_the_manifest_and_the_program(self):
        found = files(parts(self.package)["./data.tar.gz"])
        self.assertEqual(found.pop("/usr/sbin/wgroam"), (0o755, BINARY.read_bytes()))
        other = self.out / "installed"
        subprocess.run([FILES / "install", other], check=True)
        self.assertEqual(found, tree(other))
        self.assertEqual({path: mode for path, (mode, _) in found.items()}, {t: int(m, 8) for m, _, t in manifest()})

    def test_scripts_and_conffiles_are_as_the_feed_has_them(self):
        found = files(parts(self.package)["./control.tar.gz"])
        for name, source in (("conffiles", "conffiles"), ("postinst-pkg", "wgroam.postinst"), ("postrm", "wgroam.postrm")):
            self.assertEqual(found[f"/{name}"][1].decode(), (FILES / source).read_text(), name)
        modes = {name: mode for name, (mode, _) in found.items()}
        text, script = ("/conffiles", "/control"), ("/postinst", "/postinst-pkg", "/postrm", "/prerm")
        self.assertEqual(modes, {**{name: 0o644 for name in text}, **{name: 0o755 for name in script}})
        for name in script:
            path = self.out / "script"
            path.write_bytes(found[name][1])
            ran = subprocess.run(["/bin/busybox", "ash", "-n", path], capture_output=True, text=True, check=False)
            self.assertEqual((ran.returncode, ran.stderr), (0, ""), name)

    def test_same_source_makes_the_same_bytes(self):
        mask = os.umask(0o077)
        try:
            other = self.make(TREE, self.out / "again", TZ="Pacific/Auckland", LC_ALL="C")
        finally:
            os.umask(mask)
        self.assertEqual(other.read_bytes(), self.package.read_bytes())
        inside = parts(other)
        for data in (other.read_bytes(), inside["./data.tar.gz"], inside["./control.tar.gz"]):
            # Neither a name nor the time of the day.
            self.assertEqual(data[:8], b"\x1f\x8b\x08\0\0\0\0\0")
        later = self.make(TREE, self.out / "later", SOURCE_DATE_EPOCH=str(WHEN + 1))
        self.assertNotEqual(later.read_bytes(), self.package.read_bytes())

    def test_too_large_a_package_is_an_error(self):
        big = self.out / "big"
        big.write_bytes(BINARY.read_bytes() + os.urandom(220_000))
        ran = run(TREE / "ci/package", "--binary", big, "--out", self.out, "mips_24kc")
        self.assertEqual(ran.returncode, 1)
        self.assertRegex(ran.stderr, "the package for mips_24kc is [0-9,]+ bytes too large")

    def test_what_it_cannot_use_is_named(self):
        (self.out / "text").write_text("no program")
        for words, wanted in (
            (["mips"], "for which architecture.*mips_24kc.*x86_64"),
            ([], "for which architecture"),
            (["--binary", self.out / "none", ARCHITECTURE], "there is no .*/none"),
            (["--binary", self.out / "text", ARCHITECTURE], "text is no program"),
            (["--fast", ARCHITECTURE], "--fast"),
        ):
            ran = run(TREE / "ci/package", *words, "--out", self.out / "wrong")
            self.assertEqual(ran.returncode, 1, words)
            self.assertRegex(ran.stderr, wanted)
            self.assertNotIn("Traceback", ran.stderr)


class Life(Made):
    """Installed, upgraded and removed in a scratch root."""

    def setUp(self):
        self.root = Root(user=False, package=False)
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
        """What procd was told, as names of functions."""
        names = [name for name, *_ in self.root.calls("procd")]
        self.root.forget_calls()
        return [name for name in names if name in ("procd_open_service", "procd_open_instance", "procd_kill")]

    def test_installing_makes_the_user_enables_and_starts(self):
        self.opkg.install(self.package)
        self.assertRegex(self.root.read("etc/passwd"), r"(?m)^wgroam:x:(\d+):\1:")
        self.assertRegex(self.root.read("etc/group"), "(?m)^wgroam:")
        self.assertTrue((self.root.path / "etc/rc.d/S25wgroam").is_symlink())
        instance = self.root.service()[0]["daemon"]
        self.assertEqual(instance["command"][0], "/usr/sbin/wgroam")
        self.assertEqual(instance["user"], ["wgroam"])
        self.assertFalse((self.root.path / "etc/uci-defaults/80_wgroam").exists(), "it has run")
        self.assertEqual(self.root.read("tmp/rpcd"), "reload\n")
        self.assertEqual(self.root.read("etc/config/wgroam"), (FILES / "wgroam.config").read_text())

    def test_what_is_installed_runs(self):
        self.root.write("etc/passwd", self.root.read("etc/passwd") + "wgroam:x:431:431::/var/run/wgroam:/bin/false\n")
        self.root.write("etc/group", self.root.read("etc/group") + "wgroam:x:431:wgroam\n")
        self.opkg.install(self.package)
        self.assertEqual(self.root.read("etc/passwd").count("wgroam:x"), 1)
        self.root.daemon(self.root.service()[0]["daemon"])
        wait("an answer", lambda: "wgroam 0" in self.root.run("/usr/sbin/wgroam", "status").stdout)
        self.assertIn("version", str(self.root.rpcd("status")))

    def test_in_an_image_it_is_enabled_and_nothing_runs(self):
        image = self.root.path / "image"
        for name in ("lib/functions.sh", "lib/functions/procd.sh", "etc/rc.common", "etc/passwd", "etc/group"):
            self.root.write(f"image/{name}", self.root.read(name))
        (image / "etc/rc.d").mkdir()
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
            with (folder / "wgroam.config").open("a") as config:
                config.write("\n# More of it.\n")
            (folder / "hooks").write_text("#!/bin/sh\n")
            manifest = folder / "MANIFEST"
            manifest.write_text(re.sub(r"(?m)^.* restart-odhcpd .*\n", "", manifest.read_text()))

        self.opkg.install(self.next_version(edit))
        self.assertEqual(self.opkg.version.split("-")[1], "r2")
        self.assertEqual(edited.read_text(), "config wgroam 'globals'\n\toption log_level 'warn'\n")
        self.assertEqual(edited.stat().st_mode & 0o777, 0o600)
        self.assertIn("More of it", self.root.read("etc/config/wgroam-opkg"))
        self.assertEqual(self.root.read("etc/wgroam/state"), "learned")
        self.assertEqual(self.root.read("usr/share/wgroam/hooks"), "#!/bin/sh\n")
        self.assertFalse((self.root.path / "usr/share/wgroam/examples/restart-odhcpd").exists())
        self.assertEqual(self.told(), ["procd_kill", "procd_open_service", "procd_open_instance"])

    def test_upgrade_replaces_a_configuration_that_nobody_edited(self):
        self.opkg.install(self.package)
        self.opkg.install(self.next_version(lambda folder: (folder / "wgroam.config").write_text("config wgroam 'globals'\n")))
        self.assertEqual(self.root.read("etc/config/wgroam"), "config wgroam 'globals'\n")
        self.assertFalse((self.root.path / "etc/config/wgroam-opkg").exists())

    def test_upgrade_leaves_a_service_disabled(self):
        self.opkg.install(self.package)
        self.root.init("disable")
        self.opkg.install(self.next_version())
        self.assertFalse((self.root.path / "etc/rc.d/S25wgroam").is_symlink())

    def test_removing_leaves_what_was_edited_and_nothing_else(self):
        for edited in (False, True):
            self.opkg.install(self.package)
            self.root.write("etc/wgroam/state", "learned")
            if edited:
                self.root.write("etc/config/wgroam", "config wgroam 'globals'\n", 0o600)
            self.told()
            self.opkg.remove()
            self.assertEqual(self.told(), ["procd_kill"])
            self.assertEqual(self.files() - self.before, {"etc/config/wgroam"} if edited else set())
            self.assertFalse((self.root.path / "etc/wgroam").exists())
            self.assertFalse((self.root.path / "tmp/run/wgroam").exists())

    def test_configuration_from_before_the_package_is_kept(self):
        self.root.config("config wgroam 'globals'\n\toption enabled '0'\n")
        self.opkg.install(self.package)
        self.assertIn("enabled '0'", self.root.read("etc/config/wgroam"))
        self.assertTrue((self.root.path / "etc/config/wgroam-opkg").exists())
        self.assertNotIn("procd_open_instance", self.told())


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

    def test_list_says_what_the_package_says_and_how_to_get_it(self):
        shutil.copy(self.next_version(), self.folder)
        ran = self.index()
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertIn("2 package(s), signed with", ran.stdout)
        text = (self.folder / "Packages").read_text()
        self.assertEqual(gzip.decompress((self.folder / "Packages.gz").read_bytes()).decode(), text)
        entries = [fields(entry) for entry in text.rstrip("\n").split("\n\n")]
        packages = sorted(self.folder.glob("*.ipk"))
        self.assertEqual(len(entries), 2)
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
