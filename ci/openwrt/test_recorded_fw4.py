# SPDX-License-Identifier: GPL-2.0-only
"""The lab's firewall4 (ci/lab/wglab/openwrt/fw4.py) beside the real one: from the same files both make the same rules, chain by
chain. ci/openwrt/recorded/README.md says what was recorded."""
import difflib
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded"
sys.path.insert(0, str(HERE.parent / "lab"))
from wglab.lab import LabError  # noqa: E402
from wglab.openwrt import uci  # noqa: E402
from wglab.openwrt.fw4 import Firewall  # noqa: E402

RELEASES = ("24.10", "25.12", "main")
# Of which release the project's files are, for each that was recorded.
FILES = {"24.10": "24.10", "25.12": "25.12", "main": "25.12"}
# What netifd said of the interfaces: `device`, or `l3_device` of one that was up. wan6 was down on R1, and has its device.
ROUTER = {"lan": "br-lan", "wan": "wan", "wan6": "wan"}
WITH_TUNNEL = {**ROUTER, "wg_home": "wg_home"}


def sections(path):
    """A package of UCI, as the real uci reads it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "firewall").write_text(Path(path).read_text())
        words = (os.environ["WGROAM_UCI"], "-c", folder, "export", "firewall")
        return uci.parse(subprocess.run(words, capture_output=True, check=True, text=True).stdout)


def ours(router, release):
    """The project's files; of redirects without their family, which they had not when fw4 was recorded."""
    if router == "stock":
        return sections(HERE / "stock" / FILES[release] / "firewall")
    found = sections(HERE / "golden" / FILES[release] / router / "firewall")
    for section in found:
        if section.kind == "redirect":
            section.options.pop("family", None)
    return found


def patched(base, diff):
    """A text, and a unified diff against it, as one text."""
    old, new, at = base.splitlines(), [], 0
    for line in diff.splitlines():
        if line.startswith("@@"):
            start = int(re.match(r"@@ -(\d+)", line)[1]) - 1
            new += old[at:start]
            at = start
        elif line.startswith("+") and not line.startswith("+++"):
            new.append(line[1:])
        elif line[:1] in (" ", "-") and not line.startswith("---"):
            assert old[at] == line[1:], f"the diff does not fit: {line}"
            new += [old[at]] if line[0] == " " else []
            at += 1
    return "\n".join([*new, *old[at:], ""])


def recorded(name, release="24.10"):
    """What `fw4 print` said."""
    folder = RECORDED / "24.10/fw4"
    if release != "24.10":
        return patched(recorded(name), (RECORDED / release / f"fw4/{name}.diff").read_text())
    if (folder / f"{name}.nft").exists():
        return (folder / f"{name}.nft").read_text()
    return patched(recorded("anchor"), (folder / f"{name}.diff").read_text())


def without_helpers(ruleset):
    """Without what the lab does not play: helpers of connection tracking, which want modules of the kernel."""
    ruleset = re.sub(r"(?m)^\tct helper \S+ \{\n.*\n\t\}\n", "", ruleset)
    ruleset = re.sub(r"(?m)^\tchain helper_\S+ \{\n(?:\t\t.*\n)*\t\}\n", "", ruleset)
    return re.sub(r"(?m)^.* jump helper_.*\n", "", ruleset)


def loaded(ruleset):
    """The kernel's own words for it, so that two ways to write a rule are one: by chain its rules, in their order. The chains
    that change nothing, hooked in without a rule, are left out."""
    if not re.search(r"^table inet fw4 \{", ruleset, re.MULTILINE):
        raise AssertionError("this is no ruleset")
    # In a namespace of its own: what it would keep out, other tests want to hear.
    script = "nft -f - && nft --stateless list table inet fw4"
    ran = subprocess.run(("unshare", "--net", "sh", "-c", script), input=ruleset, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"nft does not take it: {ran.stderr}\n{ruleset}"
    chains = {}
    for line in ran.stdout.splitlines():
        line = re.sub(r' comment "[^"]*"', "", line.strip())
        if line.startswith("chain "):
            rules = chains[line.split()[1]] = []
        elif line not in ("", "}") and chains:
            rules.append(line)
    idle = re.compile(r"type .*policy accept;")
    return {name: rules for name, rules in chains.items() if not (len(rules) == 1 and idle.fullmatch(rules[0]))}


def lines(chains):
    """Chains as lines, for a comparison that can be read."""
    return [line for name in sorted(chains) for line in (f"chain {name}", *(f"    {rule}" for rule in chains[name]))]


class RecordedFw4(unittest.TestCase):
    """State in, ruleset out."""

    def same(self, firewall, ruleset, what):
        """Both have the same rules."""
        theirs, mine = loaded(without_helpers(ruleset)), loaded(firewall.text())
        self.assertGreater(sum(map(len, theirs.values())), 40, "the recording has no rules: the test is broken")
        if theirs != mine:
            differing = difflib.unified_diff(lines(theirs), lines(mine), "recorded", "the lab's", lineterm="", n=1)
            self.fail(f"{what}:\n" + "\n".join(differing))

    def test_our_files_become_the_rules_that_fw4_makes_of_them(self):
        for release in RELEASES:
            for router, devices in (("stock", ROUTER), ("anchor", WITH_TUNNEL), ("roamer", WITH_TUNNEL)):
                with self.subTest(release=release, router=router):
                    firewall = Firewall(ours(router, release), devices)
                    self.same(firewall, recorded(router, release), f"{router} of {release}")

    def test_fw4_warns_of_nothing_in_our_files(self):
        for release in ("24.10", "25.12"):
            for path in (HERE / "stock" / release, *sorted((HERE / "golden" / release).iterdir())):
                with self.subTest(path=path):
                    firewall = Firewall(sections(path / "firewall"), WITH_TUNNEL, strict=False)
                    self.assertEqual(firewall.warnings, [])

    def test_an_interface_without_a_device_has_no_rules_and_a_wan_that_is_down_keeps_them(self):
        for name in ("anchor-wg_home-down", "anchor-wan-and-wan6-down-too"):
            with self.subTest(name=name):
                # Down, WireGuard's has no device. A WAN has the one that it is configured with.
                self.same(Firewall(ours("anchor", "24.10"), ROUTER), recorded(name), name)

    def test_a_redirect_is_of_ipv4_unless_it_says_otherwise(self):
        said = (RECORDED / "24.10/fw4/redirect-family.txt").read_text().splitlines()[1:]
        self.assertEqual(len(said), 3)
        for line in said:
            case, _, rule = line.partition(":")
            with self.subTest(case=case):
                found = ours("anchor", "24.10")
                redirect = next(section for section in found if section.name == "wg_home_from_443")
                for value in re.findall(r"'(\w+)'", case):
                    redirect.options["family"] = value
                rules = Firewall(found, WITH_TUNNEL).text().splitlines()
                wanted = rule.partition(" comment ")[0].strip()
                self.assertEqual([rule.strip() for rule in rules if "dport 443" in rule], [wanted])

    def test_odd_sections_become_the_rules_and_the_warnings_of_fw4(self):
        firewall = Firewall(sections(RECORDED / "24.10/fw4/odd.uci"), WITH_TUNNEL, strict=False)
        warned = (RECORDED / "24.10/fw4/odd.check").read_text().splitlines()
        self.assertEqual(firewall.warnings, warned)
        self.same(firewall, recorded("odd"), "odd")

    def test_in_a_scenario_what_fw4_warns_of_is_an_error(self):
        text = ("config defaults", "", "config rule", "\toption name 'Painted'", "\toption colour 'blue'")
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("\n".join(text) + "\n")
            file.flush()
            found = sections(file.name)
        with self.assertRaisesRegex(LabError, r"@rule\[0\] \(Painted\) specifies unknown option 'colour'"):
            Firewall(found, ROUTER)
