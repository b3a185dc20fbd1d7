# SPDX-License-Identifier: GPL-2.0-only
"""The runner of /etc/hotplug.d/wgroam, fed by a `wgroam watch` whose events a test writes."""
import json
import signal
import time

from cases import Case, Running
from samples import BAITS, KEY
from scratch import wait

NAMES = ("ACTION", "INTERFACE", "PEER", "NAME", "ENDPOINT", "OLD_ENDPOINT", "REASON")

# Writes down its environment, each value with a NUL behind it.
SCRIPT = "printf '%s\\0' " + " ".join(f'"${name}"' for name in NAMES) + " >> /tmp/hooks.ran\n"


def moved(**members):
    """An event as the daemon writes it."""
    event = {
        "event": "moved",
        "time": 1763900000.125,
        "interface": "wgr",
        "peer": KEY,
        "name": "home",
        "endpoint": "203.0.113.9:51820",
        "old_endpoint": "[2001:db8::1]:51820",
        "reason": "initiation",
        **members,
    }
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n"


class Hooks(Case):
    """With a program in wgroam's place that prints what is in /tmp/events as it grows, and ends with /tmp/end."""

    def setUp(self):
        super().setUp()
        self.start()
        self.pretend_running()
        self.root.write("tmp/events", "")
        self.root.write(
            "usr/sbin/wgroam",
            '#!/bin/sh\n[ "$*" = "watch --json" ] || exit 2\necho >> /tmp/began\n'
            "rm -f /tmp/end\ncat /tmp/events\nwhile [ ! -e /tmp/end ]; do sleep 0.05; done\n",
            0o755,
        )
        self.root.write("etc/hotplug.d/wgroam/10-first", SCRIPT)

    def follow(self, text):
        """Starts the runner on these events."""
        self.root.write("tmp/events", text)
        (self.root.path / "tmp/hooks.ran").unlink(missing_ok=True)
        return self.root.spawn(["/usr/share/wgroam/hooks"])

    def ran(self):
        """What the script was given, a dict each time."""
        path = self.root.path / "tmp/hooks.ran"
        words = path.read_bytes().decode().split("\0")[:-1] if path.exists() else []
        count = len(NAMES)
        return [dict(zip(NAMES, words[at : at + count])) for at in range(0, len(words), count)]

    def end(self, runner):
        """Ends the runner as procd does; nothing may stay behind."""
        runner.send_signal(signal.SIGTERM)
        runner.wait(60)
        self.root.write("tmp/end", "")
        wait("all of it to end", lambda: self.root.running_in_it() == [])
        self.assertEqual(self.left_over(), [])
        self.assertFalse((self.root.path / "canary").exists(), "a value reached a shell")

    def test_a_move_runs_the_scripts_with_all_of_it(self):
        self.root.write("etc/hotplug.d/wgroam/20-second", 'echo "$HOTPLUG_TYPE" > /tmp/second; exit 3\n')
        runner = self.follow(moved() + moved(event="recovered", evidence="silence", step=None))
        wait("both events", lambda: len(self.ran()) == 2)
        self.assertEqual(
            self.ran()[0],
            {
                "ACTION": "moved",
                "INTERFACE": "wgr",
                "PEER": KEY,
                "NAME": "home",
                "ENDPOINT": "203.0.113.9:51820",
                "OLD_ENDPOINT": "[2001:db8::1]:51820",
                "REASON": "initiation",
            },
        )
        self.assertEqual(self.ran()[1]["ACTION"], "recovered")
        self.assertEqual(self.root.read("tmp/second"), "wgroam\n")
        self.end(runner)

    def test_members_that_are_missing_or_null_are_empty_and_not_the_last_ones(self):
        runner = self.follow(
            moved() + '{"event":"device-gone","time":1.000,"interface":"wg0"}\n' + moved(name=None, old_endpoint=None)
        )
        wait("three events", lambda: len(self.ran()) == 3)
        self.assertEqual(self.ran()[1], {**dict.fromkeys(NAMES, ""), "ACTION": "device-gone", "INTERFACE": "wg0"})
        self.assertEqual((self.ran()[2]["NAME"], self.ran()[2]["OLD_ENDPOINT"]), ("", ""))
        self.end(runner)

    def test_what_a_stranger_can_cause_runs_nothing(self):
        words = ("stranger", "not-taken", "poked", "name", "wan-changed", "clock-stepped", "route-added", "", "a/../b")
        runner = self.follow("".join(moved(event=word) for word in words) + "no json\n\n{}\n" + moved())
        wait("the last event", lambda: self.ran())
        self.assertEqual([given["ACTION"] for given in self.ran()], ["moved"])
        self.end(runner)

    def test_hostile_values_arrive_as_they_are_and_reach_no_shell(self):
        forged = '","endpoint":"198.51.100.66:1'
        baits = [*BAITS, forged, "\\" + forged, "\\\\\"", "a\\nb", "\u00e4\u4e2d"]
        runner = self.follow("".join(moved(name=bait, interface=bait, reason=bait) for bait in baits))
        wait("all events", lambda: len(self.ran()) == len(baits))
        for bait, given in zip(baits, self.ran()):
            plain = bait.replace("\n", "?")
            self.assertEqual((given["NAME"], given["INTERFACE"], given["REASON"]), (plain, plain, plain))
            self.assertEqual((given["ENDPOINT"], given["PEER"]), ("203.0.113.9:51820", KEY))
        self.end(runner)

    def test_it_waits_for_a_daemon_that_ended(self):
        runner = self.follow(moved())
        wait("the first", lambda: len(self.ran()) == 1)
        self.root.write("tmp/events", moved(endpoint="192.0.2.7:7"))
        self.root.write("tmp/end", "")
        wait("the second", lambda: len(self.ran()) == 2)
        self.assertEqual(self.ran()[1]["ENDPOINT"], "192.0.2.7:7")
        self.assertEqual(self.root.read("tmp/began"), "\n\n")
        self.end(runner)

    def test_the_example_does_nothing_until_its_owner_wants_it(self):
        example = self.root.read("usr/share/wgroam/examples/restart-odhcpd")
        self.assertTrue(all(line.startswith("#") for line in example.splitlines()))
        self.root.write("etc/init.d/odhcpd", '#!/bin/sh\necho "$1" >> /tmp/odhcpd\n', 0o755)
        lines = ("#[ ", "#logger", "#/etc/")
        wanted = [line[1:] if line.startswith(lines) else line for line in example.splitlines()]
        self.root.write("etc/hotplug.d/wgroam/restart-odhcpd", "\n".join(wanted) + "\n")
        runner = self.follow(moved(event="step") + moved(interface="wg0") + moved())
        wait("a restart", lambda: (self.root.path / "tmp/odhcpd").exists())
        wait("all events", lambda: len(self.ran()) == 3)
        self.assertEqual(self.root.read("tmp/odhcpd"), "restart\n")
        self.assertIn("home is at 203.0.113.9:51820, was at [2001:db8::1]:51820 (initiation)", self.root.log.text())
        self.end(runner)


class Waiting(Case):
    """Started before the daemon is there, as procd does at every boot."""

    wgroam = "config wgroam 'globals'\n"

    def test_it_waits_for_the_daemon_and_says_nothing_of_that(self):
        self.root.write("etc/hotplug.d/wgroam/10-first", SCRIPT)
        instances = self.start(self.wgroam)
        runner = self.root.spawn(instances["hooks"]["command"])
        time.sleep(1)
        daemon = self.root.daemon(instances["daemon"])
        wait("the watcher", lambda: any("watch --json" in line for line in self.root.running_in_it()))
        # Killed, it leaves its socket behind.
        daemon.kill()
        daemon.wait()
        time.sleep(2)
        self.root.daemon(instances["daemon"])
        wait("the watcher", lambda: any("watch --json" in line for line in self.root.running_in_it()))
        runner.send_signal(signal.SIGTERM)
        self.assertEqual(runner.communicate(timeout=5)[1], b"")

    def test_an_error_is_said_and_left_to_procd_which_starts_it_again_in_5_s(self):
        self.start(self.wgroam)
        self.pretend_running()
        self.root.write("usr/sbin/wgroam", "#!/bin/sh\necho 'no memory' >&2\nexit 127\n", 0o755)
        runner = self.root.spawn(["/usr/share/wgroam/hooks"])
        self.assertEqual(runner.communicate(timeout=5)[1], b"wgroam watch: exit code 127: no memory\n")
        self.assertEqual(self.left_over(), [])


class Real(Running):
    """With the daemon."""

    wgroam = "config wgroam 'globals'\n"

    def test_what_the_daemon_tells_arrives(self):
        self.root.write("etc/hotplug.d/wgroam/10-first", SCRIPT)
        self.root.init("reload")
        runner = self.root.spawn(self.root.instances()["hooks"]["command"])
        wait("the watcher", lambda: any("watch --json" in line for line in self.root.running_in_it()))
        peer = self.tunnel()
        wait("a move", lambda: b"moved\0wgr\0" in self.said_by_hooks())
        words = self.said_by_hooks().decode().split("\0")
        at = next(at for at, word in enumerate(words) if word == "moved" and words[at + 1] == "wgr")
        self.assertEqual(words[at : at + 6], ["moved", "wgr", peer, "", "127.0.0.1:51821", ""])
        self.assertIn(b"device-found\0far\0", self.said_by_hooks())
        runner.send_signal(signal.SIGTERM)
        runner.wait(60)
        wait("the watcher to end", lambda: not any("watch --json" in line for line in self.root.running_in_it()))

    def said_by_hooks(self):
        """What the script wrote."""
        path = self.root.path / "tmp/hooks.ran"
        return path.read_bytes() if path.exists() else b""
