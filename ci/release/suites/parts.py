# SPDX-License-Identifier: GPL-2.0-only
"""ci/test, with stand-ins for what it runs: each says what it was called with and what the test wants it to say."""

import shutil

from .common import ROOT, Scratch

# What ci/test calls in each of its parts, with what a pass looks like there.
PARTS = {
    "crate": ("cargo", "test result: ok. 5 passed; 0 failed; 0 ignored"),
    "release": ("release/test", "5 passed, 0 failed"),
    "openwrt": ("openwrt-test", "6 passed, 0 failed"),
    "kernel": ("vm/run", "test result: ok. 7 passed; 0 failed; 0 ignored"),
    "lab": ("lab/test", "8 passed, 0 failed"),
}
STAND_IN = """#!/bin/sh
name=$(echo "${0#ci/}" | tr / -)
case "$name $*" in
"cargo build "* | *" --no-run "*) exit 0 ;;
esac
echo "called: $name $*"
[ ! -f "says.$name" ] || cat "says.$name"
[ ! -f "fails.$name" ] || exit "$(cat "fails.$name")"
"""
QUIET = "#!/bin/sh\ncat > /dev/null\n[ $1 = paths ] || echo a-word\n"


class Parts(Scratch):
    """A tree with ci/test and the stand-ins."""

    def setUp(self):
        super().setUp()
        (self.scratch / "ci").mkdir()
        for name in ("test", "failures.awk"):
            if (ROOT / "ci" / name).exists():
                shutil.copy(ROOT / "ci" / name, self.scratch / "ci" / name)
        for tool, passed in PARTS.values():
            self.write(f"ci/{tool}", STAND_IN, 0o755)
            self.say(tool, passed)
        self.write("ci/need", STAND_IN, 0o755)
        self.write("ci/bare", STAND_IN, 0o755)
        self.write("ci/uci/build", "#!/bin/sh\necho uci\n", 0o755)
        self.write("ci/vm-test-binaries", QUIET, 0o755)

    def say(self, tool, *lines):
        """What it says from now on."""
        self.write(f"says.{tool.replace('/', '-')}", "".join(f"{line}\n" for line in lines))

    def spoil(self, tool, *lines, code=1):
        """It says that, and fails."""
        self.say(tool, *lines)
        self.write(f"fails.{tool.replace('/', '-')}", f"{code}\n")

    def run_test(self, *words, code):
        """What ci/test prints; it has to end with this exit code."""
        result = self.run_command(self.scratch / "ci/test", *words)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout

    def listed(self, *words):
        """What it lists at its end, after failures."""
        said = self.run_test(*words, code=1)
        return [line.strip() for line in said.partition("\n== failed, ")[2].splitlines()[1:]]

    def test_all_parts_have_their_turn_and_their_last_words(self):
        said = self.run_test("all", code=0)
        for tool, passed in PARTS.values():
            self.assertIn(f"called: {tool.replace('/', '-')}", said)
            self.assertIn(f"\n{passed}\n", said)
        self.assertRegex(said, r"== all passed in \d+ s\n$")

    def test_after_a_failed_part_the_others_have_their_turn_and_the_end_is_no_success(self):
        for part, (tool, passed) in PARTS.items():
            with self.subTest(part=part):
                self.spoil(tool, "1 passed, 1 failed", code=101)
                said = self.run_test("all", code=1)
                for name, (other, words) in PARTS.items():
                    self.assertIn(f"\n{words if name != part else '1 passed, 1 failed'}\n", said)
                    self.assertIn(f"called: {other.replace('/', '-')}", said)
                self.assertTrue(said.endswith(f"\n{part}: ci/test {part}\n"), said)
                self.assertNotIn("all passed", said)
                self.say(tool, passed)
                (self.scratch / f"fails.{tool.replace('/', '-')}").unlink()

    def test_what_is_not_installed_fails_a_part_and_not_the_rest(self):
        self.spoil("need", "apt-get failed")
        said = self.run_test("all", code=1)
        self.assertEqual(said.count("apt-get failed"), len(PARTS))
        self.assertNotIn("called: cargo", said)
        self.assertEqual(self.listed("all"), [f"{part}: ci/test {part}" for part in PARTS])

    def test_failed_tests_of_the_crate_are_listed_with_the_command_for_each(self):
        lines = ["     Running unittests src/lib.rs (target/debug/deps/wgroam-0123456789abcdef)"]
        lines += ["test engine::good ... ok", "test engine::bad ... FAILED", "test result: FAILED. 1 passed; 1 failed"]
        lines += ["     Running tests/daemon/main.rs (target/debug/deps/daemon-0123456789abcdef)"]
        lines += ["test pair::stops - should panic ... FAILED"]
        lines += ["     Running tests/state.rs (target/debug/deps/state-0123456789abcdef)"]
        lines += ["   Doc-tests wgroam", "test src/model.rs - model (line 7) ... FAILED"]
        lines += ["error: 4 targets failed:", "    `--lib`", "    `--test daemon`", "    `--test state`", "    `--doc`"]
        self.spoil("cargo", *lines, code=101)
        wanted = ["crate: ci/test crate"]
        wanted += [f"ci/test crate {words}" for words in (
            "--lib -- --exact engine::bad",
            "--test daemon -- --exact pair::stops",
            "--doc -- --exact 'src/model.rs - model (line 7)'",
            "--test state",
        )]  # fmt: skip
        self.assertEqual(self.listed("crate"), wanted)
        self.assertEqual(self.listed("all"), wanted)

    def test_failed_tests_of_other_parts_are_listed_with_the_command_for_each(self):
        self.write("ci/openwrt/test_hooks.py", "class Hooks(Case):\n")
        for part, lines, wanted in (
            ("release", ["FAIL  site      a list is refused"], ["ci/test release site   # a list is refused"]),
            ("openwrt", ["FAIL  Hooks: all of it (0.10 s)"] * 2, ["ci/test openwrt test_hooks.Hooks   # all of it (0.10 s)"]),
            ("openwrt", ["FAIL  Unknown: all of it (0.10 s)"], ["ci/test openwrt   # all of it (0.10 s)"]),
            (
                "kernel",
                ["-- linux_tap_vm-0123456789abcdef", "test forged ... FAILED", "-- linux_clock_vm-01", "test set ... ok"],
                ["ci/test kernel linux_tap_vm   # forged"],
            ),
            (
                "lab",
                ["FAIL  kernel    share-ipv6           with wgroam  silent for over 60 s", "FAIL  lab       after SIGINT: left"],
                ["make lab SCENARIO=share-ipv6 WITH=wgroam WIREGUARD=kernel", "ci/test lab   # lab after SIGINT: left"],
            ),
        ):
            with self.subTest(part=part):
                self.spoil(PARTS[part][0], *lines)
                self.assertEqual(self.listed(part), [f"{part}: ci/test {part}", *wanted])

    def test_one_part_is_played_alone_with_what_it_is_told(self):
        said = self.run_test("release", "site", "sdk", code=0)
        self.assertIn("called: release-test site sdk\n", said)
        self.assertNotIn("called: lab-test", said)
        self.assertIn("called: cargo test --no-fail-fast --test daemon\n", self.run_test("crate", "--test", "daemon", code=0))

    def test_bare_machine_is_none_of_all(self):
        self.assertNotIn("called: bare", self.run_test("all", code=0))
        self.assertIn("called: bare make test\n", self.run_test("bare", "make test", code=0))
        self.spoil("bare", code=7)
        self.run_test("bare", code=7)

    def test_unknown_part_is_wrong_usage(self):
        self.run_test("everything", code=2)
