# SPDX-License-Identifier: GPL-2.0-only
"""The workflows, as far as can be told without the service that runs them: they parse, and what they call is there."""

import os
import re

import yaml

from .common import ROOT, Scratch

FOLDER = ROOT / ".github/workflows"
ACTIONS = {
    "actions/checkout@v6",
    "actions/upload-artifact@v7",
    "actions/download-artifact@v8",
    "actions/upload-pages-artifact@v3",
    "actions/deploy-pages@v4",
    "openwrt/gh-action-sdk@v11",
}


def load():
    """Name -> content. YAML takes the key `on` for a boolean."""
    found = {}
    for path in sorted(FOLDER.glob("*.y*ml")):
        content = yaml.safe_load(path.read_text())
        content["on"] = content.pop(True, content.get("on"))
        found[path.name] = content
    return found


def jobs(workflows):
    """(file, job's name, job)"""
    for name, workflow in workflows.items():
        for job, content in workflow["jobs"].items():
            yield name, job, content


def steps(workflows):
    """(where, step)"""
    for name, job, content in jobs(workflows):
        for number, step in enumerate(content.get("steps", []), 1):
            yield f"{name}, job {job}, step {number}", step


def make_targets():
    """What the Makefile has."""
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.M))


def architectures():
    """What the project builds for."""
    return re.findall(r"^([a-z][^ |]*) *\|", (ROOT / "ci/targets").read_text(), re.M)


class Workflows(Scratch):
    """All of them."""

    def setUp(self):
        super().setUp()
        self.workflows = load()

    def test_both_are_there_and_whole(self):
        self.assertEqual(list(self.workflows), ["ci.yml", "release.yml"])
        for name, workflow in self.workflows.items():
            self.assertEqual(workflow["permissions"], {"contents": "read"}, name)
            self.assertTrue(workflow["on"], name)
        for name, job, content in jobs(self.workflows):
            where = f"{name}, job {job}"
            for need in (
                [content.get("needs", [])] if isinstance(content.get("needs"), str) else content.get("needs", [])
            ):
                self.assertIn(need, self.workflows[name]["jobs"], where)
            if "uses" in content:
                self.assertTrue((ROOT / content["uses"]).is_file(), where)
                continue
            self.assertLess(0, content["timeout-minutes"], where)
            self.assertTrue(content["runs-on"], where)
        for where, step in steps(self.workflows):
            self.assertEqual(("uses" in step) + ("run" in step), 1, where)

    def test_every_make_target_that_they_call_is_in_the_makefile(self):
        called = {
            (where, word)
            for where, step in steps(self.workflows)
            for word in re.findall(
                r"\bmake (?!\")([a-z][a-z-]*)", re.sub(r"apt-get install.*", "", step.get("run", ""))
            )
        }
        self.assertIn("test", {word for _, word in called})
        missing = sorted(f"{where}: make {word}" for where, word in called if word not in make_targets())
        self.assertEqual(missing, [])

    def test_every_file_of_ours_that_they_name_is_there(self):
        for where, step in steps(self.workflows):
            for path in re.findall(r"(?<![\w/])ci/[\w./-]+", step.get("run", "")):
                self.assertTrue((ROOT / path).is_file(), f"{where}: {path}")
                if re.search(rf"^\s*{re.escape(path)}", step["run"], re.M):
                    self.assertTrue(os.access(ROOT / path, os.X_OK), f"{where}: {path}")

    def test_every_action_is_one_that_we_know_by_version(self):
        used = {step["uses"] for _, step in steps(self.workflows) if "uses" in step}
        self.assertEqual(used, ACTIONS)

    def test_what_they_run_passes_shellcheck(self):
        for where, step in steps(self.workflows):
            if "run" in step:
                script = self.write("script", re.sub(r"\$\{\{.*?\}\}", "VALUE", step["run"]))
                result = self.run_command("shellcheck", "--shell=bash", script)
                self.assertEqual(result.returncode, 0, f"{where}\n{result.stdout}")

    def test_no_expression_of_the_service_is_put_into_a_script(self):
        for where, step in steps(self.workflows):
            self.assertNotIn("${{", step.get("run", ""), where)

    def test_release_waits_for_all_tests_and_for_those_in_a_bare_debian(self):
        work = self.workflows["release.yml"]["jobs"]
        self.assertEqual(work["check"]["uses"], "./.github/workflows/ci.yml")
        self.assertEqual(work["package"]["needs"], ["check", "bare"])
        self.assertEqual(work["publish"]["needs"], "package")
        self.assertIn("--privileged", work["bare"]["container"]["options"])
        self.assertEqual(work["bare"]["steps"][-1], {"run": "make bare-test"})
        # It takes too long for every change.
        self.assertNotIn("bare-test", (FOLDER / "ci.yml").read_text())

    def test_packages_are_built_for_every_architecture_and_both_releases(self):
        matrix = self.workflows["release.yml"]["jobs"]["package"]["strategy"]["matrix"]
        self.assertEqual(matrix["arch"], architectures())
        self.assertEqual([release[:6] for release in matrix["release"]], ["24.10.", "25.12."])

    def test_sdk_gets_the_whole_repository_and_the_keys_from_secrets(self):
        built = [step for _, step in steps(self.workflows) if step.get("uses", "").startswith("openwrt/gh-action-sdk@")]
        self.assertEqual(len(built), 1)
        self.assertEqual(
            built[0]["env"],
            {
                "ARCH": "${{ matrix.arch }}-${{ matrix.release }}",
                "FEED_DIR": "${{ github.workspace }}",
                "FEEDNAME": "wgroam",
                "PACKAGES": "wgroam",
                "INDEX": 1,
                "KEY_BUILD": "${{ secrets.USIGN_SECRET_KEY }}",
                "PRIVATE_KEY": "${{ secrets.APK_PRIVATE_KEY }}",
                "V": "s",
            },
        )

    def test_secrets_and_rights_go_to_tags_alone(self):
        self.assertEqual(self.workflows["release.yml"]["on"], {"push": {"tags": ["v*"]}})
        self.assertNotIn("secrets.", (FOLDER / "ci.yml").read_text())
        for name, job, content in jobs(self.workflows):
            if "secrets." in str(content) or "permissions" in content:
                self.assertEqual(name, "release.yml", job)
                self.assertIn("release", str(content["environment"]), job)
