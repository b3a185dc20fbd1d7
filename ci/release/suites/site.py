# SPDX-License-Identifier: GPL-2.0-only
"""ci/release/site, with throw-away keys."""

import base64
import gzip
import hashlib
import shutil
import subprocess

from .common import ROOT, Scratch

VERSION = "0.1.0"
ARCHITECTURES = ("mips_24kc", "x86_64")
PACKAGES = ("wgroam", "wgroam-tools")


class Site(Scratch):
    """What the SDK left for two releases and two architectures, signed."""

    def setUp(self):
        super().setUp()
        self.tree = self.scratch / "tree"
        (self.tree / "ci/release").mkdir(parents=True)
        shutil.copy(ROOT / "ci/release/site", self.tree / "ci/release/site")
        self.write("tree/wgroam/Cargo.toml", f'[package]\nversion = "{VERSION}"\n')
        self.write("tree/ci/targets", "# name | more\n" + "".join(f"{name} | more | |\n" for name in ARCHITECTURES))
        self.signify_pair("wgroam")
        self.run_command(
            "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.scratch / "private.pem"
        )
        self.run_command(
            "openssl", "ec", "-in", self.scratch / "private.pem", "-pubout", "-out", self.scratch / "wgroam.pem"
        )
        for name in ARCHITECTURES:
            self.opkg(name)
            folder = f"built/25.12.5/{name}"
            for package in PACKAGES:
                self.write(f"{folder}/{package}-{VERSION}-r1.apk", "a package")
            self.write(f"{folder}/packages.adb", "a list")

    def signify_pair(self, name):
        """A key and its public half."""
        pair = ("-p", self.scratch / f"{name}.pub", "-s", self.scratch / f"{name}.sec")
        subprocess.run(["signify-openbsd", "-G", "-n", *map(str, pair)], check=True)

    def opkg(self, architecture, key="wgroam"):
        """What the SDK of 24.10 leaves."""
        folder = f"built/24.10.8/{architecture}"
        entries = []
        for package in PACKAGES:
            name = f"{package}_{VERSION}-r1_{architecture}.ipk"
            digest = hashlib.sha256(
                self.write(f"{folder}/{name}", f"{package} for {architecture}").read_bytes()
            ).hexdigest()
            entries.append(f"Package: {package}\nFilename: {name}\nSHA256sum: {digest}\n")
        listing = self.write(f"{folder}/Packages", "\n".join(entries))
        (listing.parent / "Packages.gz").write_bytes(gzip.compress(listing.read_bytes()))
        words = ["-S", "-s", self.scratch / f"{key}.sec", "-m", listing, "-x", f"{listing}.sig"]
        subprocess.run(["signify-openbsd", *map(str, words)], check=True)

    def lay_out(self):
        """ci/release/site"""
        folders = (
            self.scratch / "built",
            self.scratch / "site",
            self.scratch / "wgroam.pub",
            self.scratch / "wgroam.pem",
        )
        return self.run_command(self.tree / "ci/release/site", *folders)

    def refused(self, wanted):
        """It fails with these words, and leaves nothing."""
        result = self.lay_out()
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn(wanted, result.stderr)
        self.assertEqual(list(self.scratch.glob("site*")), [])

    def test_feed_has_each_series_and_architecture_and_both_public_keys(self):
        result = self.lay_out()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        site = self.scratch / "site"
        self.assertEqual(
            sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()),
            sorted(
                [
                    f"24.10/{name}/{file}"
                    for name in ARCHITECTURES
                    for file in ("Packages", "Packages.gz", "Packages.sig")
                ]
                + [f"24.10/{name}/{package}_{VERSION}-r1_{name}.ipk" for name in ARCHITECTURES for package in PACKAGES]
                + [
                    f"25.12/{name}/{file}"
                    for name in ARCHITECTURES
                    for file in ("packages.adb", *(f"{package}-{VERSION}-r1.apk" for package in PACKAGES))
                ]
                + ["wgroam.pem", "wgroam.pub"]
            ),
        )
        opkg, apk = result.stdout.splitlines()[:2]
        key = base64.b64decode((site / "wgroam.pub").read_text().splitlines()[1])
        self.assertEqual(opkg, f"wgroam.pub, for opkg: fingerprint {key[2:10].hex()}")
        self.assertEqual(apk.split()[-1], hashlib.sha256((site / "wgroam.pem").read_bytes()).hexdigest())
        self.assertEqual(site.stat().st_mode & 0o777, 0o755)

    def test_list_signed_with_another_key_is_refused(self):
        self.signify_pair("other")
        self.opkg("x86_64", key="other")
        self.refused("was not made with the key of")

    def test_list_that_was_changed_after_signing_is_refused(self):
        folder = self.scratch / "built/24.10.8/x86_64"
        text = (folder / "Packages").read_text().replace("Package: wgroam", "Package: wgroam\nDepends: more")
        (folder / "Packages").write_text(text)
        self.refused("Packages.gz is not what")
        (folder / "Packages.gz").write_bytes(gzip.compress(text.encode()))
        self.refused("was not made with the key of")

    def test_package_that_the_list_does_not_know_is_refused(self):
        for package in PACKAGES:
            self.opkg("x86_64")
            self.write(f"built/24.10.8/x86_64/{package}_{VERSION}-r1_x86_64.ipk", "another package")
            self.refused(f"does not know {self.scratch}/built/24.10.8/x86_64/{package}_")

    def test_one_package_without_the_other_is_refused(self):
        for package in PACKAGES:
            for folder, begin, end in (
                ("24.10.8/x86_64", f"{package}_{VERSION}-", "r1_x86_64.ipk"),
                ("25.12.5/mips_24kc", f"{package}-{VERSION}-", "r1.apk"),
            ):
                path = self.scratch / "built" / folder / f"{begin}{end}"
                content = path.read_bytes()
                path.unlink()
                self.refused(f"{folder}: one file {begin}*")
                path.write_bytes(content)
        self.assertEqual(self.lay_out().returncode, 0)

    def test_missing_architecture_or_list_is_refused(self):
        (self.scratch / "built/25.12.5/x86_64/packages.adb").unlink()
        self.refused("packages.adb is not there")
        shutil.rmtree(self.scratch / "built/25.12.5/x86_64")
        self.refused("25.12.5/x86_64 is not there: it was not built")

    def test_package_of_another_version_is_refused(self):
        folder = self.scratch / "built/25.12.5/mips_24kc"
        for package in PACKAGES:
            right, wrong = folder / f"{package}-{VERSION}-r1.apk", folder / f"{package}-0.0.9-r1.apk"
            right.rename(wrong)
            self.refused("found: none")
            wrong.rename(right)

    def test_secret_key_in_place_of_a_public_one_is_refused(self):
        shutil.copy(self.scratch / "private.pem", self.scratch / "wgroam.pem")
        self.refused("is no public key for apk")
        self.run_command(
            "openssl", "ec", "-in", self.scratch / "private.pem", "-pubout", "-out", self.scratch / "wgroam.pem"
        )
        shutil.copy(self.scratch / "wgroam.sec", self.scratch / "wgroam.pub")
        self.refused("is no public key of usign")
