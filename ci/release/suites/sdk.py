# SPDX-License-Identifier: GPL-2.0-only
"""ci/sdk, on an SDK of our own that writes down what it is told to do."""

import shutil

from .common import ROOT, Scratch

TOOLS = "make gcc g++ git rsync perl python3 unzip bzip2 xz zstd wget file gawk patch diff find xargs getopt which tar"

FEEDS = """#!/bin/sh
printf 'feeds %s\\n' "$*" >> calls
case $1 in
update)
	mkdir -p feeds/packages/lang/rust
	[ ! -e no-rust ] || rm -r feeds/packages/lang/rust
	[ -e no-rust ] || echo "PKG_VERSION:=$(cat rust-version)" > feeds/packages/lang/rust/Makefile
	;;
esac
"""

# RELEASE and TARGET are what `make sdk` was told: they must be empty here.
MAKEFILE = """
note = @echo 'make $@ RELEASE=$(RELEASE) TARGET=$(TARGET)' >> calls

defconfig:
	$(note)
	@echo 'CONFIG_TARGET_ARCH_PACKAGES="mips_24kc"' > .config
	@for package in wgroam wgroam-tools; do \
		test "$$(cat left-out)" = $$package || echo CONFIG_PACKAGE_$$package=m >> .config; \
	done

package/wgroam/compile:
	$(note)
	@mkdir -p bin/packages/mips_24kc/wgroam
	@for package in wgroam wgroam-tools; do \
		test "$$(cat fails)" = $$package || echo apk > bin/packages/mips_24kc/wgroam/$$package-0.1.0-r1.apk; \
	done

package/wgroam/download package/wgroam/check:
	$(note)
"""


class Sdk(Scratch):
    """A tree of ours and an SDK beside it."""

    def setUp(self):
        super().setUp()
        self.tree = self.scratch / "tree"
        self.sdk = self.scratch / "sdk"
        (self.tree / "ci").mkdir(parents=True)
        shutil.copy(ROOT / "ci/sdk", self.tree / "ci/sdk")
        shutil.copy(ROOT / "Makefile", self.tree / "Makefile")
        self.write("tree/feed/net/wgroam/Makefile", "")
        self.write("tree/wgroam/Cargo.toml", '[package]\nrust-version = "1.94"\n')
        self.write("sdk/scripts/feeds", FEEDS, 0o755)
        self.write("sdk/Makefile", MAKEFILE)
        self.write("sdk/feeds.conf.default", "src-git packages https://feeds.example/packages.git;openwrt-25.12\n")
        self.write("sdk/include/version.mk", "VERSION_NUMBER:=$(if $(VERSION_NUMBER),$(VERSION_NUMBER),25.12.5)\n")
        self.write("sdk/rust-version", "1.96.0\n")
        for name in ("rules.mk", "Config-build.in", "left-out", "fails"):
            self.write(f"sdk/{name}", "")
        # The tools that are asked for need not be on the machine that runs this.
        for tool in TOOLS.split():
            if shutil.which(tool) is None:
                self.write(f"bin/{tool}", "#!/bin/sh\n", 0o755)
        self.path = f"{self.scratch}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

    def sdk_run(self, *words, sdk=None, path=None):
        """ci/sdk with these words, on the SDK."""
        env = {"SDK_DIR": str(sdk or self.sdk), "PATH": path or self.path, "JOBS": "3"}
        return self.run_command(self.tree / "ci/sdk", *words, env=env)

    def refused(self, wanted, *words, code=1, **options):
        """It fails, with these words, before the SDK has been told anything but what `calls` holds."""
        result = self.sdk_run(*(words or ("25.12.5", "mips_24kc")), **options)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertIn(wanted, result.stderr)
        if code == 1:
            self.assertIn("remedy: ", result.stderr)
        return result

    def calls(self):
        """What the SDK was told."""
        path = self.sdk / "calls"
        return path.read_text().splitlines() if path.exists() else []


class Building(Sdk):
    """What it does."""

    def test_make_sdk_takes_every_step_in_order_and_says_where_the_packages_are(self):
        words = ("RELEASE=25.12.5", "TARGET=mips_24kc", f"SDK_DIR={self.sdk}")
        result = self.run_command("make", "-C", self.tree, "sdk", *words, env={"PATH": self.path})
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        nothing = "RELEASE= TARGET="
        self.assertEqual(
            self.calls(),
            [
                "feeds update -a",
                "feeds install -p wgroam -f wgroam",
                f"make defconfig {nothing}",
                f"make package/wgroam/download {nothing}",
                f"make package/wgroam/check {nothing}",
                f"make package/wgroam/compile {nothing}",
            ],
        )
        for package in ("wgroam", "wgroam-tools"):
            self.assertEqual(
                result.stdout.count(f"{self.sdk}/bin/packages/mips_24kc/wgroam/{package}-0.1.0-r1.apk, 4 bytes\n"), 1
            )
        for step in ("./scripts/feeds update -a", "make package/wgroam/compile V=s -j "):
            self.assertIn(f"+ (cd {self.sdk} && {step}", result.stdout)

    def test_feed_is_this_tree_and_named_once(self):
        self.sdk_run("25.12", "mips_24kc")
        self.sdk_run("25.12", "mips_24kc")
        lines = (self.sdk / "feeds.conf").read_text().splitlines()
        self.assertEqual(
            lines, ["src-git packages https://feeds.example/packages.git;openwrt-25.12", f"src-link wgroam {self.tree}"]
        )

    def test_feeds_conf_of_the_owner_is_kept(self):
        self.write(
            "sdk/feeds.conf",
            "src-git packages https://mirror.example/packages.git\nsrc-git wgroam https://old.example/\n",
        )
        self.sdk_run("25.12", "mips_24kc")
        lines = (self.sdk / "feeds.conf").read_text().splitlines()
        self.assertEqual(
            lines, ["src-git packages https://mirror.example/packages.git", f"src-link wgroam {self.tree}"]
        )

    def test_dry_run_says_all_and_does_nothing(self):
        result = self.sdk_run("--dry-run", "25.12.5", "mips_24kc")
        self.assertEqual((result.returncode, self.calls()), (0, []))
        self.assertFalse((self.sdk / "feeds.conf").exists())
        self.assertIn("make package/wgroam/compile V=s -j 3)", result.stdout)
        self.assertIn(f"{self.sdk}/bin/packages/mips_24kc/wgroam", result.stdout)


class Refusing(Sdk):
    """What it asks for."""

    def test_without_sdk_dir_it_says_which_sdk_to_get(self):
        result = self.run_command(self.tree / "ci/sdk", "25.12.5", "mips_24kc", env={"PATH": self.path, "SDK_DIR": ""})
        self.assertEqual(result.returncode, 1)
        self.assertIn("SDK_DIR is not set", result.stderr)
        self.assertIn("OpenWrt 25.12.5 from the release's folder targets/ath79/generic", result.stderr)

    def test_sdk_dir_that_is_no_sdk_is_refused(self):
        self.refused("is not there", sdk=self.scratch / "nowhere")
        self.refused("has no scripts/feeds", sdk=self.tree)
        tarball = self.write("openwrt-sdk.tar.zst", "")
        self.refused(f"tar -xf {tarball}", sdk=tarball)
        (self.sdk / "Config-build.in").unlink()
        self.refused("is a source tree, not an SDK")
        self.assertEqual(self.calls(), [])

    def test_sdk_of_another_release_is_refused(self):
        self.refused("is of OpenWrt 25.12.5, and RELEASE says 25.12.4", "25.12.4", "mips_24kc")
        self.refused("RELEASE says 24.10", "24.10", "mips_24kc")
        self.write("sdk/include/version.mk", "VERSION_NUMBER:=$(if $(VERSION_NUMBER),$(VERSION_NUMBER),25.12.50)\n")
        self.refused("is of OpenWrt 25.12.50, and RELEASE says 25.12.5")
        self.assertEqual(self.calls(), [])

    def test_words_that_make_no_sense_are_refused(self):
        self.refused("usage: ", "25.12.5", code=2)
        self.refused("usage: ", "25.12.5", "", code=2)
        self.refused("is none of OpenWrt's", "latest", "mips_24kc", code=2)

    def test_missing_tools_are_all_named(self):
        for tool in "sh sed head cat dirname env".split():
            (self.scratch / "bin").mkdir(exist_ok=True)
            (self.scratch / "bin" / tool).symlink_to(shutil.which(tool))
        for tool in ("rsync", "gawk"):
            (self.scratch / "bin" / tool).unlink(missing_ok=True)
        only = self.scratch / "bin"
        for tool in TOOLS.split():
            if tool not in ("rsync", "gawk") and not (only / tool).exists():
                (only / tool).symlink_to(shutil.which(tool))
        self.refused("needed by OpenWrt's SDK: rsync gawk\n", path=str(only))
        self.assertEqual(self.calls(), [])

    def test_feeds_without_rust_or_with_an_old_one_are_refused(self):
        self.write("sdk/rust-version", "1.90.0\n")
        self.refused("has Rust 1.90.0, and wgroam needs 1.94")
        self.write("sdk/no-rust", "")
        self.refused("the SDK's feeds have no Rust")
        self.assertEqual(self.calls(), ["feeds update -a"] * 2)

    def test_sdk_of_another_architecture_is_refused(self):
        self.refused("builds for mips_24kc, and TARGET says x86_64", "25.12.5", "x86_64")

    def test_configuration_that_leaves_a_package_out_is_refused(self):
        for package in ("wgroam", "wgroam-tools"):
            self.write("sdk/left-out", package)
            self.refused(f"left {package} out")

    def test_build_without_a_package_is_no_success(self):
        for package in ("wgroam", "wgroam-tools"):
            shutil.rmtree(self.sdk / "bin", ignore_errors=True)
            self.write("sdk/fails", package)
            self.refused(f"there is no package {package} in")
