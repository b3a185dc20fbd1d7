# SPDX-License-Identifier: GPL-2.0-only
"""docs/openwrt.md, followed to the letter as far as this machine has what it takes: on the computer with its tools, on the
router in the scratch root, where wget copies, usign and opkg-key do what OpenWrt's do with a key, and opkg writes down
what it was asked for, which is then done."""
import gzip
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from opkg import Opkg, fields
from samples import NETWORK
from scratch import TREE, Root
from test_package import ARCHITECTURE, Made, run

DOCS = TREE / "docs/openwrt.md"

ROUTER = {
    # wget -O FILE ADDRESS
    "wget": 'cp "$3" "$2"\n',
    # usign -F -p KEY: bytes 2 to 9 of the key
    "usign": "sed -n 2p \"$3\" | base64 -d | od -An -tx1 -j2 -N8 | tr -d ' \\n'; echo\n",
    "opkg-key": 'mkdir -p /etc/opkg/keys && cp "$2" "/etc/opkg/keys/$(usign -F -p "$2")"\n',
    "opkg": 'echo "$*" >> /tmp/opkg\n',
}


def section(title):
    """A section's text."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCS.read_text(), re.S | re.M).group(1)


def blocks(text):
    """What is to be typed, block by block."""
    return re.findall(r"```sh\n(.*?)```", text, re.S)


class Docs(Made):
    """A computer in self.home, a router in self.root, and a feed as ci/release/site lays it out."""

    def setUp(self):
        self.root = Root(user=False, packages=())
        self.addCleanup(self.root.close)
        self.root.config(network=NETWORK)
        for name, text in ROUTER.items():
            self.root.write(f"usr/bin/{name}", f"#!/bin/sh\n{text}", 0o755)
        release = f"DISTRIB_RELEASE='24.10.8'\nDISTRIB_ARCH='{ARCHITECTURE}'\n"
        self.root.write("etc/openwrt_release", release)
        self.root.write("etc/opkg/customfeeds.conf", "# of your own\n")
        self.home = self.root.path / "home"
        self.home.mkdir()

    def on_router(self, commands):
        """Types them; gives what was said. The shell would take its own wget."""
        ran = self.root.run("/bin/ash", "-e", "-c", 'wget() { /usr/bin/wget "$@"; }\n' + commands)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), commands)
        return ran.stdout

    def on_computer(self, commands):
        """The same there."""
        ran = subprocess.run(["sh", "-ec", commands], cwd=self.home, capture_output=True, text=True, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout

    def asked(self):
        """What opkg was asked for."""
        return self.root.read("tmp/opkg").splitlines()

    def signed_feed(self):
        """One with both packages, as ci/release/site lays it out; gives its folder."""
        feed = self.root.path / "feed"
        folder = feed / "24.10" / ARCHITECTURE
        folder.mkdir(parents=True)
        for package in self.both.values():
            shutil.copy(package, folder)
        words = ["-p", feed / "wgroam.pub", "-s", self.home / "wgroam.sec"]
        subprocess.run(["signify-openbsd", "-G", "-n", *words], check=True)
        ran = run(TREE / "ci/feed-index", self.home / "wgroam.sec", folder)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return feed

    def fetched(self, wanted):
        """What opkg would fetch for that package by the last line of customfeeds.conf, itself and what it depends on,
        checked as opkg does."""
        kind, name, address = self.root.read("etc/opkg/customfeeds.conf").splitlines()[-1].split()
        self.assertEqual((kind, name), ("src/gz", "wgroam"))
        folder = self.root.path / address.lstrip("/")
        listed = self.home / "listed"
        listed.write_bytes(gzip.decompress((folder / "Packages.gz").read_bytes()))
        (key,) = (self.root.path / "etc/opkg/keys").iterdir()
        words = ["-V", "-q", "-p", key, "-x", folder / "Packages.sig", "-m", listed]
        self.assertEqual(run("signify-openbsd", *words).returncode, 0)
        entries = [fields(entry) for entry in listed.read_text().rstrip("\n").split("\n\n")]
        entries = {entry["Package"]: entry for entry in entries}
        names, packages = [wanted], []
        for name in names:
            package = folder / entries[name]["Filename"]
            self.assertEqual(hashlib.sha256(package.read_bytes()).hexdigest(), entries[name]["SHA256sum"])
            self.assertEqual(entries[name]["Architecture"], ARCHITECTURE)
            packages.append(package)
            names += [other for other in entries[name]["Depends"].split(", ") if other in entries and other not in names]
        return packages

    def works(self, tools=True):
        """It is installed, enabled and started, with the tools or without."""
        self.assertIn("wgroam 0", self.root.run("/usr/sbin/wgroam", "--version", check=True).stdout)
        self.assertEqual(self.root.instances()["daemon"]["command"][0], "/usr/sbin/wgroam")
        for command in ("diagnose", "setup"):
            self.assertEqual(self.root.run("/usr/sbin/wgroam", command, "--help").returncode, 0 if tools else 1)

    def downloaded(self, *packages):
        """What the section says, with these."""
        (which,) = blocks(DOCS.read_text().split("\n## ")[0])
        self.assertEqual(self.on_router(which).strip(), f"24.10.8 {ARCHITECTURE}")
        computer, router = blocks(section("A downloaded package"))
        # Named and summed up as release.yml does it, among others that were not downloaded.
        names = [f"openwrt-24.10-{ARCHITECTURE}-{package.name}" for package in packages]
        sums = ""
        for name, package in zip(names, packages):
            shutil.copy(package, self.home / name)
            digest = hashlib.sha256(package.read_bytes()).hexdigest()
            sums += f"{'0' * 64}  openwrt-24.10-mips_24kc-{package.name}\n{digest}  {name}\n"
        (self.home / "SHA256SUMS").write_text(sums)
        check, copy, copy_apk = computer.splitlines()
        self.assertEqual(self.on_computer(check), "".join(f"{name}: OK\n" for name in names))
        # The pattern names the files. There is no second machine to copy them to.
        source, target = re.match(r"scp -O (\S+) root@192\.168\.1\.1:(\S+)", copy).groups()
        found = sorted(self.home.glob(source.replace("mips_24kc", ARCHITECTURE)))
        self.assertEqual([path.name for path in found], sorted(names))
        for path in found:
            shutil.copy(path, self.root.path / target.lstrip("/"))
        install, install_apk = router.splitlines()
        self.on_router(install)
        words = [f"{target}{path.name}" for path in found]
        self.assertEqual(self.asked(), ["update", f"install {' '.join(words)}"])
        Opkg(self.root).install(*(self.root.path / word.lstrip("/") for word in words))
        # For apk it is the same in its words.
        self.assertEqual(re.sub("24.10", "25.12", copy.replace(".ipk", ".apk")), copy_apk)
        self.assertIn(install.split("opkg install ")[1].split()[0].replace("24.10", "25.12").replace(".ipk", ".apk"), install_apk)

    def test_downloaded_packages_are_checked_and_installed(self):
        self.downloaded(self.package, self.tools)
        self.works()

    def test_the_daemon_alone_is_checked_and_installed(self):
        self.downloaded(self.package)
        self.works(tools=False)

    def test_signed_feed_is_added_and_wgroam_comes_from_it(self):
        feed = self.signed_feed()
        text = section("The signed feed")
        said = self.on_router(blocks(text)[0].replace("FEED_URL", "/feed"))
        named = "wgroam wireguard-tools wgroam-tools"
        self.assertEqual(self.asked(), ["update", f"install {named}"])
        # apk takes what was only brought along away with what had brought it, so all are named there, too.
        self.assertEqual(blocks(text)[1].splitlines()[-1], f"apk add {named}")
        (key,) = (self.root.path / "etc/opkg/keys").iterdir()
        self.assertEqual(said, f"{key.name}\n")
        self.assertEqual(key.read_text(), (feed / "wgroam.pub").read_text())
        opkg = Opkg(self.root)
        opkg.install(*self.fetched("wgroam-tools"))
        self.works()
        # And to be rid of it.
        for name in re.search(r"`opkg remove (wgroam[a-z -]*)`", text).group(1).split():
            opkg.remove(name)
        self.assertEqual(opkg.packages, {})
        self.on_router(re.search(r"`(rm /etc/opkg/keys/FINGERPRINT)`", text).group(1).replace("FINGERPRINT", key.name))
        self.assertFalse(key.exists())
        self.assertEqual(list((self.root.path / "usr/sbin").glob("wgroam*")), [])

    def test_signed_feed_gives_the_daemon_alone_to_who_asks_for_that(self):
        self.signed_feed()
        text = section("The signed feed")
        self.assertIn("let the last line be `opkg install wgroam` or `apk add wgroam`", text.replace("\n", " "))
        *first, last = blocks(text)[0].replace("FEED_URL", "/feed").splitlines()
        self.on_router("\n".join([*first, last.replace(" wireguard-tools wgroam-tools", "")]))
        self.assertEqual(self.asked(), ["update", "install wgroam"])
        Opkg(self.root).install(*self.fetched("wgroam"))
        self.works(tools=False)

    def test_feed_of_ones_own_is_made_and_added(self):
        package, feed = blocks(section("A package without OpenWrt"))
        # Built elsewhere: here it is this machine's binary that is packed.
        self.assertEqual(package.split("#")[0].split(), ["make", "package", "TARGET=mips_24kc"])
        folder = self.home / "target/packages" / ARCHITECTURE
        folder.mkdir(parents=True)
        for built in self.both.values():
            shutil.copy(built, folder)
        generate, index, copy, serve = feed.splitlines()
        self.assertEqual(index.split("#")[0].split(), ["make", "feed-index", "KEY=wgroam.sec"])
        self.on_computer(generate)
        ran = run(TREE / "ci/feed-index", self.home / "wgroam.sec", folder)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.on_computer(copy)
        self.assertRegex(serve, r"--directory target/packages 8000$")
        text = section("A package without OpenWrt")
        key, line = (re.search(rf"`http://COMPUTER:8000/({word})`", text).group(1) for word in ("wgroam.pub", r"\$\w+"))
        commands = blocks(section("The signed feed"))[0]
        commands = commands.replace("FEED_URL/wgroam.pub", f"/served/{key}")
        commands = commands.replace("FEED_URL/24.10/$DISTRIB_ARCH", f"/served/{line}")
        self.assertNotIn("FEED_URL", commands)
        (self.root.path / "served").symlink_to("home/target/packages")
        self.on_router(commands)
        Opkg(self.root).install(*self.fetched("wgroam-tools"))
        self.works()

    def test_every_make_target_that_it_names_is_there(self):
        targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (TREE / "Makefile").read_text(), re.M))
        ours = set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks(section("A package without OpenWrt"))), re.M))
        ours |= set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks(section("With OpenWrt's SDK"))), re.M))
        self.assertEqual(ours, {"package", "feed-index", "sdk"})
        self.assertLessEqual(ours, targets)
        for path in re.findall(r"\]\(([^)#]+)\)", DOCS.read_text()):
            self.assertTrue((DOCS.parent / Path(path)).exists(), path)
