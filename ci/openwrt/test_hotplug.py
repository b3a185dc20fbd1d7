# SPDX-License-Identifier: GPL-2.0-only
"""The real daemon, as the user and with the capabilities that the package gives it, and the events that reach it."""
import signal
import time
from pathlib import Path

from cases import ASKED, Running
from samples import BAITS, NETWORK, WGROAM, quoted
from scratch import CAPABILITIES, USER, wait
WITHIN = 0.2  # seconds from an event to the daemon, besides what an event takes that is none of its business


class Daemon(Running):
    """The process, and a reload by hand."""

    def test_it_runs_as_the_user_with_two_capabilities(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        mask = sum(1 << number for number in CAPABILITIES.values())
        for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), mask, name)
        self.assertEqual(status["Uid"].split(), [str(USER)] * 4)
        self.assertEqual(status["Gid"].split(), [str(USER)] * 4)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertIn("<30>wgroam[", self.root.log.text(), "not in the log, or not as daemon.info")

    def test_where_a_peer_proved_to_be_is_kept_on_flash(self):
        peer = self.tunnel()
        # An address of this machine is nobody's, unless the owner wrote it.
        far = f"\toption tunnel 'wgr'\n\toption public_key '{peer}'\n\tlist endpoint '127.0.0.1:51821'\n"
        self.root.config(f"{WGROAM}\nconfig peer 'far'\n{far}")
        self.root.init("reload")
        state = self.root.path / "etc/wgroam/state"
        wait("the state", lambda: state.exists() and f"wgr {peer} 127.0.0.1:51821" in state.read_text())
        self.assertEqual((state.stat().st_uid, state.stat().st_mode & 0o777), (USER, 0o600))
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(60), 0)

    def test_a_changed_configuration_is_taken_over(self):
        self.root.config(WGROAM + "\toption keepalive '26'\n")
        self.root.init("reload")
        wait("the change", lambda: "the configuration changed" in self.root.log.text())
        self.assertIsNone(self.process.poll())

    def test_a_mistake_leaves_it_running_as_it_was(self):
        self.root.config("config wgroam\n\toption log_level 'loud'\n")
        ran = self.root.init("reload")
        self.assertIn("'loud' is not known", ran.stderr)
        self.assertIn("/etc/config/wgroam:2:", self.root.log.text())
        self.assertEqual(self.status().returncode, 0)
        self.assertEqual(self.asked(), 0)

    def test_what_was_given_can_be_used_whatever_is_in_it(self):
        for bait in BAITS:
            if bait != "*":
                options = "".join(f"\toption {name} {quoted(bait)}\n" for name in ("zone", "description"))
                self.root.config(network=NETWORK + options)
                before = self.asked()
                self.root.init("reload")
                wait("the signal", lambda: self.asked() == before + 1)
        self.assertEqual(self.status().returncode, 0)
        self.assertNotIn("nothing is changed", self.root.log.text())


class Events(Running):
    """hotplug.d/iface and hotplug.d/ntp."""

    def quiet(self):
        """Until the last debounce is over."""
        time.sleep(1.3)
        wait("again to end", lambda: not any("again" in line for line in self.root.running_in_it()))

    def test_an_event_reaches_the_daemon_at_once(self):
        latencies, others = [], []
        for action in ("ifup", "ifdown", "ifupdate", "ifup", "ifup"):
            self.quiet()
            before = self.asked()
            begun = time.monotonic()
            self.root.hotplug("iface", ACTION="ifup-failed", INTERFACE="wan")
            others.append(time.monotonic() - begun)
            begun = time.monotonic()
            self.root.hotplug("iface", ACTION=action, INTERFACE="wan", DEVICE="eth1")
            back = time.monotonic() - begun
            wait("the event", lambda: self.asked() > before)
            latencies.append(self.root.log.times(ASKED)[-1] - begun)
            # The debounce lasts for a second.
            self.assertLess(back, 0.9 + others[-1], "netifd is kept waiting")
        print("      hotplug to daemon: " + ", ".join(f"{1000 * seconds:.0f} ms" for seconds in latencies))
        # A busy machine delays some of them, and other events too; none gets quicker by it.
        self.assertLess(sorted(latencies)[len(latencies) // 2], WITHIN + sorted(others)[len(others) // 2])

    def test_a_hundred_events_in_a_second_are_two_at_most(self):
        for _ in range(5):
            self.quiet()
            before = self.asked()
            script = 'n=0; while [ $n -lt 100 ]; do /sbin/hotplug-call iface; n=$((n + 1)); done'
            begun = time.monotonic()
            self.root.run("/bin/sh", "-c", script, ACTION="ifup", INTERFACE="wan", DEVICE="eth1")
            took = time.monotonic() - begun
            if took < 0.95:
                break
        self.quiet()
        self.quiet()
        count = self.asked() - before
        print(f"      100 events in {took:.2f} s: {count} looks")
        self.assertGreaterEqual(count, 1)
        # More than a second on a busy machine: one more for each that has begun.
        self.assertLessEqual(count, 2 + int(took / 0.95))
        self.assertGreater(self.root.log.times(ASKED)[-1], begun + took - 0.05, "the last one is lost")

    def test_the_last_event_is_never_lost(self):
        self.quiet()
        for number in range(12):
            self.root.hotplug("iface", ACTION="ifup", INTERFACE="wan", DEVICE="eth1")
            last = time.monotonic()
            wait("a look after the last event", lambda: self.root.log.times(ASKED)[-1:] > [last - 0.1])
            # Round the moment when the lock is let go.
            time.sleep(0.90 + 0.02 * number)
        self.assertLessEqual(self.asked(), 13)

    def test_the_clock_that_was_set_is_an_event(self):
        for action, looks in (("stratum", 1), ("step", 1), ("periodic", 0), ("unsync", 0)):
            self.quiet()
            before = self.asked()
            self.root.hotplug("ntp", ACTION=action, stratum="3")
            time.sleep(0.5)
            self.assertEqual(self.asked() - before, looks, action)

    def test_other_events_are_none(self):
        for environment in ({"ACTION": "ifup-failed", "INTERFACE": "wan"}, {"ACTION": "create", "INTERFACE": "wan"},
                            {"ACTION": "ifup", "INTERFACE": "loopback", "DEVICE": "lo"}):  # fmt: skip
            self.root.hotplug("iface", **environment)
        self.quiet()
        self.assertEqual(self.asked(), 0)

    def test_hostile_names_reach_no_shell(self):
        for bait in BAITS:
            self.root.hotplug("iface", ACTION="ifup", INTERFACE=bait, DEVICE=bait, IFUPDATE_DATA=bait)
            self.root.hotplug("iface", ACTION=bait, INTERFACE="wan")
            self.root.hotplug("ntp", ACTION=bait)
        self.quiet()
        self.assertFalse((self.root.path / "canary").exists())

    def test_without_a_daemon_nothing_happens(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.root.forget_calls()
        for _ in range(3):
            self.assertEqual(self.root.hotplug("iface", ACTION="ifup", INTERFACE="wan").stderr, "")
            self.assertEqual(self.root.hotplug("ntp", ACTION="step").stderr, "")
        time.sleep(0.3)
        self.assertEqual(self.root.calls("ubus"), [])


class Listed(Events):
    """The same with interfaces in option wan: another device of theirs reaches the daemon, too."""

    wgroam = WGROAM.replace("'debug'", "'debug'\n\tlist wan 'wan'")

    def test_only_they_count_and_their_device_follows(self):
        self.quiet()
        self.root.hotplug("iface", ACTION="ifup", INTERFACE="lan", DEVICE="br-lan")
        self.root.hotplug("iface", ACTION="ifdown", INTERFACE="lan")
        time.sleep(0.3)
        self.assertEqual(self.asked(), 0)
        self.root.write("tmp/network.interface.wan", '{"up": true, "l3_device": "pppoe-wan"}')
        self.root.hotplug("iface", ACTION="ifup", INTERFACE="wan", DEVICE="pppoe-wan")
        wait("the change", lambda: "the configuration changed" in self.root.log.text())
        self.assertIn("\tlist wan 'pppoe-wan'", self.root.read("tmp/run/wgroam/config"))
