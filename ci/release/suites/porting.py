# SPDX-License-Identifier: GPL-2.0-only
"""The systemd unit: what systemd says of it, and that the daemon does its work with what the unit leaves it."""

import os
import re
import shutil
import signal
import subprocess
import time

from .common import ROOT, Scratch

UNIT = ROOT / "ci/systemd/wgroam.service"
BINARY = ROOT / "wgroam/target/release/wgroam"
NOBODY = "65534"
MOST_EXPOSED = 20  # tenths, of 100: `systemd-analyze security` calls it OK
SECONDS = 60  # what takes longer will not come; only a failure takes so long


class Unit(Scratch):
    """What can be told by reading it."""

    def test_systemd_finds_nothing_wrong_with_it(self):
        binary = self.write("wgroam", "#!/bin/sh\n", 0o755)
        unit = self.write("wgroam.service", UNIT.read_text().replace("/usr/local/sbin/wgroam", str(binary)))
        result = self.run_command("systemd-analyze", "verify", unit)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_mistake_in_it_would_be_found(self):
        binary = self.write("wgroam", "#!/bin/sh\n", 0o755)
        text = UNIT.read_text().replace("/usr/local/sbin/wgroam", str(binary)).replace("DynamicUser", "DynamicUsr")
        self.assertIn(
            "DynamicUsr", self.run_command("systemd-analyze", "verify", self.write("wgroam.service", text)).stderr
        )

    def test_little_is_exposed(self):
        result = self.run_command("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT)
        self.assertEqual(result.returncode, 0, result.stdout[-400:])

    def test_docs_name_its_score_and_its_place(self):
        text = (ROOT / "docs/porting.md").read_text()
        result = self.run_command("systemd-analyze", "security", "--offline=true", UNIT)
        score = re.search(r"Overall exposure level for wgroam.service: ([0-9.]+)", result.stdout).group(1)
        self.assertIn(f"**{score}**", text)
        self.assertIn("ci/systemd/wgroam.service", text)


class Running(Scratch):
    """The daemon as the unit would run it, in a network namespace with wireguard-go. Needs root."""

    def setUp(self):
        super().setUp()
        self.assertTrue(BINARY.is_file(), f"{BINARY} is not built: ci/cargo build --release --bin wgroam")
        # Where everybody may go, as in /run.
        self.scratch.chmod(0o755)
        binary = shutil.copy(BINARY, self.scratch / "wgroam")
        self.name = f"wgru{os.getpid()}"
        self.run_command("ip", "netns", "add", self.name)
        self.addCleanup(self.run_command, "ip", "netns", "del", self.name)
        # The kernel's WireGuard asks for capabilities, but wireguard-go's socket is its owner's: so it has the daemon's
        # user here (and may open /dev/net/tun all the same), and a folder for its socket that nobody else sees.
        make_room = 'mkdir -p /run/wireguard && mount -t tmpfs -o mode=777 wireguard /run/wireguard && exec "$@"'
        self.go = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                self.name,
                "sh",
                "-c",
                make_room,
                "sh",
                *self.user("dac_override"),
                "wireguard-go",
                "-f",
                self.name,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(self.end, self.go)
        self.until(lambda: self.inside("wg", "show", self.name).returncode == 0, "wireguard-go")
        own, other = (
            subprocess.run(["wg", "genkey"], capture_output=True, check=True, text=True).stdout for _ in range(2)
        )
        public = subprocess.run(
            ["wg", "pubkey"], input=other, capture_output=True, check=True, text=True
        ).stdout.strip()
        configuration = self.write(
            "wg.conf", f"[Interface]\nPrivateKey={own}ListenPort=51820\n[Peer]\nPublicKey={public}\n"
        )
        self.inside("wg", "setconf", self.name, configuration)
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "link", "set", self.name, "up")
        self.config = self.write(
            "config",
            f"config tunnel '{self.name}'\nconfig peer 'other'\n\toption tunnel '{self.name}'\n"
            f"\toption public_key '{public}'\n\tlist endpoint 'localhost:51821'\n",
        )
        self.client = [str(binary), "--runtime-dir", str(self.scratch / "run")]

    def end(self, process):
        """If it has not ended by itself."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(SECONDS)

    def user(self, *more):
        """The words that begin a command with the rights that the unit leaves, and more."""
        rights = [word.removeprefix("CAP_").lower() for word in self.setting("AmbientCapabilities")[0].split()]
        rights = ",".join(["-all"] + [f"+{right}" for right in (*rights, *more)])
        return ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs"] + [
            f"--{which}={rights}" for which in ("inh-caps", "ambient-caps", "bounding-set")
        ]

    def enter(self):
        """The words that begin a command in the namespaces of wireguard-go."""
        return ["nsenter", "--target", str(self.go.pid), "--net", "--mount"]

    def inside(self, *command):
        """A command in there."""
        return self.run_command(*self.enter(), *command)

    def says(self):
        """The daemon's log."""
        path = self.scratch / "log"
        return path.read_text() if path.exists() else ""

    def until(self, holds, what):
        """Waits for it."""
        deadline = time.monotonic() + SECONDS
        while not holds():
            self.assertLess(time.monotonic(), deadline, f"{what}: not within {SECONDS} s; the log:\n{self.says()}")
            time.sleep(0.05)

    def setting(self, name):
        """All values of a setting in the unit."""
        return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)

    def allowed(self):
        """The system calls that the unit's filter lets through."""
        groups, group = {}, None
        for line in self.run_command("systemd-analyze", "syscall-filter").stdout.splitlines():
            if line.startswith("@"):
                group = groups.setdefault(line.strip(), set())
            elif line.strip() and not line.strip().startswith("#") and group is not None:
                group.add(line.strip())

        def members(name):
            return set().union(*(members(word) for word in groups[name])) if name in groups else {name}

        # What systemd lets through in any case when there is a list of what is allowed.
        let_through = members("@default")
        for value in self.setting("SystemCallFilter"):
            words = set().union(*(members(word) for word in value.lstrip("~").split()))
            let_through = let_through - words if value.startswith("~") else let_through | words
        return let_through

    def test_daemon_works_with_the_users_rights_and_system_calls_that_the_unit_leaves(self):
        for folder in ("run", "lib", "trace"):
            (self.scratch / folder).mkdir()
            shutil.chown(self.scratch / folder, int(NOBODY), int(NOBODY))
        log = open(self.scratch / "log", "w+")
        self.addCleanup(log.close)
        daemon = subprocess.Popen(
            self.enter()
            # Outside of the user's rights: nobody else can read what the daemon names, since it is not dumpable.
            + ["strace", "-ff", "-qq", "-o", str(self.scratch / "trace/of")]
            + self.user()
            + self.client
            + ["run", "--foreground", "--config", str(self.config), "--state", str(self.scratch / "lib/state")],
            stdout=log,
            stderr=log,
        )
        self.addCleanup(self.end, daemon)

        def status():
            return self.run_command(*self.client, "status")

        self.until(lambda: "other" in status().stdout, "status with the peer")
        # It tries the peer's name, which takes the resolver's thread, and sets what it finds.
        self.until(lambda: ":51821" in self.inside("wg", "show", self.name, "endpoints").stdout, "the endpoint")
        # Not at once: it answers from what it read last.
        self.until(lambda: self.run_command(*self.client, "poke").returncode == 0, "a poke")
        pid = int((self.scratch / "run/lock").read_text())
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.5)
        # As an uplink that comes and goes.
        self.inside("ip", "link", "add", "wan", "type", "dummy")
        self.inside("ip", "addr", "add", "192.0.2.1/24", "dev", "wan")
        self.inside("ip", "link", "set", "wan", "up")
        self.inside("ip", "route", "add", "default", "via", "192.0.2.254")
        time.sleep(0.5)
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(daemon.wait(SECONDS), 0, self.says())
        self.assertNotRegex(self.says(), r"(?i)permission|not permitted|denied")
        # What setpriv did before it became the daemon is not the daemon's.
        traces = "".join(
            re.split(r"(?m)^execve\(.*\n", path.read_text())[-1] for path in (self.scratch / "trace").iterdir()
        )
        called = set(re.findall(r"^([a-z_0-9]+)\(", traces, re.M))
        self.assertIn("timerfd_settime", called)
        self.assertIn("clone3", called)
        self.assertEqual(sorted(called - self.allowed()), [])
        families = set(re.findall(r"^socket\((AF_[A-Z0-9]+)", traces, re.M))
        self.assertIn("AF_PACKET", families)
        self.assertEqual(sorted(families - set(self.setting("RestrictAddressFamilies")[0].split())), [])
        # Else PrivateDevices, ProtectKernelTunables and ProcSubset would be in its way.
        opened = re.findall(r'^open(?:at)?\((?:AT_FDCWD, )?"([^"]+)"', traces, re.M)
        self.assertIn(str(self.config), opened)
        self.assertEqual([path for path in opened if re.match(r"/sys|/dev/(?!null$)|/proc/(?!self/)", path)], [])
