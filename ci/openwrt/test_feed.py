# SPDX-License-Identifier: GPL-2.0-only
"""The feed's Makefile: where its source comes from, what it gives to cargo, and what openwrt/packages asks of its form."""
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from scratch import FILES, TREE

FEED = FILES.parent
MAKEFILE = (FEED / "Makefile").read_text()
BUILDROOT = TREE / "ci/buildroot"
CRATE = ("Cargo.toml", "Cargo.lock", "src", "tests", "benches", "examples")


def block(name):
    """What is between `define NAME` and `endef`, its lines."""
    return re.search(rf"^define {re.escape(name)}\n(.*?)^endef$", MAKEFILE, re.S | re.M).group(1).splitlines()


class Feed(unittest.TestCase):
    """It is made with a stand-in for OpenWrt's rules."""

    def setUp(self):
        self.out = Path(tempfile.mkdtemp(prefix="feed."))
        self.addCleanup(shutil.rmtree, self.out)

    def make(self, goal, *words, folder=FEED, buildroot=BUILDROOT):
        """`make GOAL` in the package's folder; gives what it did."""
        environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")}
        words = ["make", "-s", "-C", folder, f"TOPDIR={buildroot}", f"OUT={self.out}", goal, *words]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)

    def variables(self, *words, **where):
        """What it says of itself."""
        ran = self.make("variables", *words, **where)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return dict(line.split("=", 1) for line in ran.stdout.splitlines())

    def tarball(self, top):
        """The source as a tag's tarball has it, all below one folder; gives its hash."""
        folder = self.out / "tar" / top
        for name in CRATE:
            copy = shutil.copytree if (TREE / "wgroam" / name).is_dir() else shutil.copy
            (folder / "wgroam").mkdir(parents=True, exist_ok=True)
            copy(TREE / "wgroam" / name, folder / "wgroam" / name)
        shutil.copy(TREE / "LICENSE", folder)
        path = self.out / f"wgroam-{self.variables()['PKG_VERSION']}.tar.gz"
        subprocess.run(["tar", "-C", self.out / "tar", "-czf", path, top], check=True)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def is_whole(self):
        """What is built is a crate, where cargo is told to look, and the licence is there."""
        said = self.variables()
        folder = self.out / "build" / f"wgroam-{said['PKG_VERSION']}"
        which = subprocess.run([TREE / "ci/cargo", "--which"], capture_output=True, text=True, check=True)
        words = [which.stdout.strip(), "metadata", "--no-deps", "--offline", "--format-version", "1"]
        ran = subprocess.run(words, cwd=folder / said["MAKE_PATH"], capture_output=True, text=True, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual((folder / "LICENSE").read_text(), (TREE / "LICENSE").read_text())
        return folder / said["MAKE_PATH"]

    def test_its_version_is_the_crates(self):
        crate = re.search(r'^version = "(.*)"', (TREE / "wgroam/Cargo.toml").read_text(), re.M).group(1)
        self.assertEqual(self.variables()["PKG_VERSION"], crate)

    def test_source_is_this_tree_and_what_is_built_is_what_is_watched(self):
        said = self.variables()
        self.assertEqual(said["PKG_SOURCE_URL"], "")
        ran = self.make("prepare")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        watched = [Path(path) for path in said["PKG_FILE_DEPENDS"].split()]
        self.assertTrue(all(path.exists() for path in watched))
        self.assertEqual({path.name for path in self.is_whole().iterdir()}, {path.name for path in watched})

    def test_source_is_a_tarball_where_one_is_named(self):
        version = self.variables()["PKG_VERSION"]
        words = ["WGROAM_SOURCE=https://wgroam.example/tags/", f"WGROAM_HASH={self.tarball(f'wgroam-{version}')}", f"DL_DIR={self.out}"]
        said = self.variables(*words)
        self.assertEqual((said["PKG_SOURCE_URL"], said["PKG_FILE_DEPENDS"]), ("https://wgroam.example/tags/", ""))
        # In the packages feed there is no tree around it.
        alone = self.out / "packages/net/wgroam"
        shutil.copytree(FEED, alone)
        ran = self.make("prepare", *words, folder=alone)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertEqual({path.name for path in self.is_whole().iterdir()}, set(CRATE))
        words[1] = f"WGROAM_HASH={'0' * 64}"
        self.assertNotEqual(self.make("prepare", *words, folder=alone).returncode, 0)

    def test_in_the_packages_feed_it_takes_rust_from_there(self):
        packages = self.out / "packages"
        shutil.copytree(FEED, packages / "net/wgroam")
        bare = self.out / "buildroot"
        shutil.copytree(BUILDROOT, bare)
        (packages / "lang").mkdir()
        (bare / "feeds/packages/lang/rust").rename(packages / "lang/rust")
        said = self.variables(folder=packages / "net/wgroam", buildroot=bare)
        self.assertIn("CARGO_PROFILE_RELEASE_OPT_LEVEL=z", said["CARGO_PKG_VARS"])

    def given(self, *words):
        """What cargo gets: variables and arguments. A shell takes the last of two."""
        said = self.variables(*words)
        return dict(word.split("=", 1) for word in shlex.split(said["CARGO_PKG_VARS"])), said["CARGO_PKG_ARGS"].split()

    def test_of_the_packages_feeds_profile_panic_and_symbols_alone_are_others(self):
        stand_in = (BUILDROOT / "feeds/packages/lang/rust/rust-package.mk").read_text()
        feeds = dict(re.findall(r"(CARGO_PROFILE_RELEASE_\w+)=(\S+)", stand_in))
        self.assertEqual(feeds["CARGO_PROFILE_RELEASE_PANIC"], "unwind")
        symbols = {"DEBUG": "line-tables-only", "STRIP": "false"}
        for words, ours in ((["WGROAM_STD=1"], {"PANIC": "abort", **symbols}), (["WGROAM_STD="], {"PANIC": "abort"})):
            profile = {name: value for name, value in self.given(*words)[0].items() if name.startswith("CARGO_PROFILE")}
            self.assertEqual(profile, {**feeds, **{f"CARGO_PROFILE_RELEASE_{name}": value for name, value in ours.items()}})

    def test_standard_library_is_built_along_where_its_source_is_unless_told_otherwise(self):
        sysroot = Path(tempfile.mkdtemp(prefix="cargo."))
        self.addCleanup(shutil.rmtree, sysroot)
        self.assertNotIn("RUSTC_BOOTSTRAP", self.given(f"CARGO_HOME={sysroot}", "STAGING_DIR_HOSTPKG=")[0])
        (sysroot / "lib/rustlib/src/rust/library/std").mkdir(parents=True)
        self.assertIn("RUSTC_BOOTSTRAP", self.given(f"STAGING_DIR_HOSTPKG={sysroot}", "CARGO_HOME=")[0])
        variables, arguments = self.given(f"CARGO_HOME={sysroot}")
        self.assertEqual(variables["RUSTC_BOOTSTRAP"], "1")
        self.assertIn("-Zbuild-std=std,panic_abort", arguments)
        self.assertIn("-Cpanic=immediate-abort", variables["RUSTFLAGS"])
        variables, arguments = self.given("WGROAM_STD=")
        # Then it is for a stable rustc.
        self.assertNotIn("RUSTC_BOOTSTRAP", variables)
        self.assertNotIn("-Z", variables["RUSTFLAGS"] + " ".join(arguments))
        self.assertNotIn("immediate", variables["RUSTFLAGS"])
        self.assertIn("--locked", arguments)


class Form(unittest.TestCase):
    """What reviewers of openwrt/packages look at."""

    def test_maintainer_has_an_address_and_each_package_a_url(self):
        self.assertRegex(MAKEFILE, r"(?m)^PKG_MAINTAINER:=\w[^<>]* <[^<>@ ]+@[^<>@ ]+>$")
        for package in ("wgroam", "wgroam-tools"):
            self.assertEqual(sum(line.startswith("  URL:=https://") for line in block(f"Package/{package}")), 1)

    def test_names_are_literal(self):
        for line in MAKEFILE.splitlines():
            if re.match(r"define |\$\(eval ", line):
                self.assertNotIn("$(PKG_NAME)", line)

    def test_metadata_has_two_spaces_recipes_a_tab_and_what_becomes_a_file_nothing(self):
        indents = {"Package/wgroam": "  ", "Package/wgroam-tools": "  ", "Build/Prepare": "\t"}
        indents |= {f"Package/{name}/install": "\t" for name in ("wgroam", "wgroam-tools")}
        indents |= {f"Package/{name}/description": "  " for name in ("wgroam", "wgroam-tools")}
        indents |= {f"Package/wgroam/{name}": "" for name in ("conffiles", "postinst", "postrm")}
        self.assertEqual(set(re.findall(r"^define (.*)$", MAKEFILE, re.M)), set(indents))
        for name, indent in indents.items():
            for line in block(name):
                self.assertEqual(re.match(r"\s*", line).group(), indent, f"{name}: {line}")

    def test_files_are_installed_by_openwrts_words_alone(self):
        for package in ("wgroam", "wgroam-tools"):
            for line in block(f"Package/{package}/install"):
                self.assertRegex(line, r"^\t\$\(INSTALL_(DIR|BIN|CONF|DATA)\) [^|;&]*\$\(1\)/\S+$")

    def test_what_the_tests_matched_is_in_the_log(self):
        self.assertNotRegex((FEED / "test.sh").read_text(), r"grep (-\w*q|--quiet|--silent)")
