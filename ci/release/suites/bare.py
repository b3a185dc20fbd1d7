# SPDX-License-Identifier: GPL-2.0-only
"""ci/bare, with a stand-in for debootstrap that makes a system of busybox alone. Needs root."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .common import ROOT, Scratch

PATIENCE = 120  # seconds; only a failure takes so long
SUITES = "bookworm main http://mirror.test/debian\\nbookworm-security main http://mirror.test/security\\n"
OTHER = "http://other.test/debian"
DEBOOTSTRAP = """#!/bin/sh
set -e
root=$3
echo "debootstrap $*"
for folder in bin dev etc/apt/apt.conf.d etc/ssl/certs proc root run sys tmp usr/local/share; do
	mkdir -p "$root/$folder"
done
cp /bin/busybox "$root/bin/busybox"
for applet in cat env false grep hostname id ls mount ps rmdir sh sleep true umount; do
	ln -s busybox "$root/bin/$applet"
done
: > "$root/etc/ssl/certs/ca-certificates.crt"
for tool in apt-get update-ca-certificates; do
	printf '#!/bin/sh\\necho %s "$@"\\n' $tool > "$root/bin/$tool"
	chmod 755 "$root/bin/$tool"
done
"""
APT_GET = f"#!/bin/sh\nprintf '{SUITES}'\n"
APT_CONFIG = """#!/bin/sh
echo 'Acquire::Languages "none";'
echo 'Acquire::http::Proxy "http://proxy.test:3128";'
"""
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


class Bare(Scratch):
    """A tree of its own with ci/bare in it, and a cache of its own."""

    def setUp(self):
        super().setUp()
        for name, text in (("debootstrap", DEBOOTSTRAP), ("apt-get", APT_GET), ("apt-config", APT_CONFIG)):
            self.write(f"tools/{name}", text, 0o755)
        bundle = self.write("bundle.crt", CERTIFICATE)
        self.tree = self.scratch / "tree"
        (self.tree / "ci").mkdir(parents=True)
        shutil.copy(ROOT / "ci/bare", self.tree / "ci/bare")
        self.write("tree/.gitignore", "/target/\n")
        who = ("-c", "user.name=test", "-c", "user.email=test@example.net")
        for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "a tree")):
            subprocess.run(["git", "-C", self.tree, *words], check=True)
        self.cache = self.scratch / "cache"
        self.environment = {
            **os.environ,
            "PATH": f"{self.scratch}/tools:{os.environ['PATH']}",
            "WGROAM_CACHE": str(self.cache),
            "SSL_CERT_FILE": str(bundle),
            "http_proxy": "http://proxy.test:3128",
            "SECRET": "of this machine",
        }

    def start(self, *commands):
        """Starts it."""
        return subprocess.Popen(
            [self.tree / "ci/bare", *commands],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def play(self, *commands, code):
        """What it prints, once it has ended with this exit code."""
        process = self.start(*commands)
        said, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, code, said)
        return said

    def left_behind(self):
        """Folders of runs."""
        return [path.name for path in (self.cache / "bare").glob("run.*")]

    def running(self, word):
        """Processes with this word in their command line."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if word.encode() in path.read_bytes():
                    found.append(path.parent.name)
            except OSError:
                pass  # it has just ended
        return found

    def until(self, what, holds):
        """Waits for it."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    def test_commands_run_in_the_clone_in_a_system_of_their_own(self):
        said = self.play("ls ci; ls /", "env", "ls /proc | grep -c '^[0-9]'; id", "cat /proc/mounts", code=0)
        self.assertIn("debootstrap --variant=minbase bookworm", (self.tree / "target/bare/debootstrap.log").read_text())
        self.assertIn("http://mirror.test/debian\n", (self.tree / "target/bare/debootstrap.log").read_text())
        self.assertIn("install --yes --no-install-recommends git make ca", (self.tree / "target/bare/apt.log").read_text())
        self.assertIn("\nbare\nbin\ndev\n", said)
        self.assertIn("HOME=/root\n", said)
        self.assertIn("http_proxy=http://proxy.test:3128\n", said)
        self.assertNotIn("SECRET", said)
        self.assertNotIn("SSL_CERT_FILE", said)
        self.assertIn("uid=0", said)
        # The shell that stays, the command's, ls and grep; none of this machine's.
        self.assertRegex(said, r"\n[345]\nuid=0")
        self.assertNotIn(str(self.scratch / "cache") + " ", said)
        self.assertRegex(said, r"bare: a bare Debian 12 suffices for ls ci; ls / and for env and .*: \d+ s\n$")
        self.assertEqual(self.left_behind(), [])
        self.assertNotIn(str(self.scratch), Path("/proc/self/mountinfo").read_text())

    def test_mirrors_proxies_and_certificates_are_this_machines(self):
        said = self.play(
            "cat /etc/apt/sources.list /etc/apt/apt.conf.d/* /usr/local/share/ca-certificates/*; ls /etc/apt", code=0
        )
        self.assertIn("deb http://mirror.test/debian bookworm main\n", said)
        self.assertIn("deb http://mirror.test/security bookworm-security main\n", said)
        self.assertIn('Acquire::http::Proxy "http://proxy.test:3128";\n', said)
        self.assertNotIn("Languages", said)
        self.assertIn(CERTIFICATE, said)
        self.assertNotIn("first.crt", said)

    def test_machine_without_a_source_of_the_compiler_is_told_so(self):
        self.write("tools/apt-get", f"#!/bin/sh\necho 'bookworm main {OTHER}'\n", 0o755)
        self.assertIn("no source of bookworm-security", self.play("true", code=1))

    def test_failed_command_leaves_the_others_their_turn_and_is_named_at_the_end(self):
        said = self.play("echo one; false", "echo two; exit 7", "echo three", code=1)
        self.assertIn("\nthree\n", said)
        log = self.tree / "target/bare/2-echo-two-exit-7.log"
        self.assertEqual(log.read_text(), "two\n")
        last = said.splitlines()[-2:]
        self.assertTrue(last[0].startswith("bare: failed: echo one; false, exit code 1; "), said)
        self.assertEqual(
            last[1], f"bare: failed: echo two; exit 7, exit code 7; all of its output: {log}; alone: ci/bare 'echo two; exit 7'"
        )
        self.assertEqual(self.left_behind(), [])

    def test_what_is_not_committed_is_named(self):
        self.write("tree/forgotten", "")
        said = self.play("ls", code=0)
        self.assertIn("not committed, and so not in it: forgotten\n", said)

    def test_debootstrap_that_fails_is_told_with_its_log(self):
        self.write("tools/debootstrap", "#!/bin/sh\necho no mirror\nexit 1\n", 0o755)
        self.assertIn("debootstrap failed: ", self.play("true", code=1))
        self.assertEqual((self.tree / "target/bare/debootstrap.log").read_text(), "no mirror\n")
        self.assertEqual(self.left_behind(), [])

    def interrupt(self, number):
        """Sends a signal in the midst of it; what runs in there has children, and ignores what can be ignored."""
        word = f"4711{os.getpid()}{number}"
        process = self.start(f"trap '' TERM INT HUP; sleep {word} & sleep {word}")
        self.until("the command", lambda: len(self.running(f"\0{word}\0")) >= 2)
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE)
        self.until("all processes to end", lambda: not self.running(word))
        return process.returncode, said

    def test_nothing_stays_behind_after_an_interruption(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                code, said = self.interrupt(number)
                self.assertEqual(code, 128 + number, said)
                self.assertEqual(self.left_behind(), [])
        self.assertNotIn(str(self.scratch), Path("/proc/self/mountinfo").read_text())

    def test_processes_end_with_a_kill_and_the_next_run_removes_the_files(self):
        self.interrupt(signal.SIGKILL)
        self.assertEqual(len(self.left_behind()), 1)
        self.assertIn("which an earlier run left behind", self.play("true", code=0))
        self.assertEqual(self.left_behind(), [])

    def test_run_that_goes_on_is_not_taken_for_left_behind(self):
        word = f"4712{os.getpid()}"
        first = self.start(f"sleep {word}")
        self.until("the command", lambda: self.running(f"\0{word}\0"))
        self.assertNotIn("left behind", self.play("true", code=0))
        self.assertEqual(len(self.left_behind()), 1)
        first.terminate()
        first.communicate(timeout=PATIENCE)
        self.assertEqual(self.left_behind(), [])
