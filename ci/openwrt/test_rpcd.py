# SPDX-License-Identifier: GPL-2.0-only
"""The rpcd plugin, called as rpcd calls it, with the real daemon behind it."""
import json
import os
import signal
import threading
import time

from cases import Running
from samples import BAITS
from scratch import wait

METHODS = {"status", "peers", "events", "poke", "reload"}


class Plugin(Running):
    """With a tunnel on which one peer calls."""

    wgroam = "config wgroam 'globals'\n\toption log_level 'debug'\n"

    def setUp(self):
        super().setUp()
        self.peer = self.tunnel()
        wait("its handshake", self.both_alive)

    def both_alive(self):
        """Does the daemon know that both ends have a session?"""
        peers = self.root.rpcd("peers")["peers"]
        return len(peers) == 2 and all(peer["alive"] and peer["endpoint"] for peer in peers)

    def test_it_lists_its_methods_as_rpcd_wants_them(self):
        methods = json.loads(self.root.run("/usr/libexec/rpcd/wgroam", "list").stdout)
        self.assertEqual(set(methods), METHODS)
        for arguments in methods.values():
            self.assertTrue(all(kind == "String" or kind in (8, 16, 32, 64) for kind in arguments.values()))

    def test_who_may_do_what(self):
        rights = json.loads(self.root.read("usr/share/rpcd/acl.d/wgroam.json"))
        self.assertEqual(set(rights), {"wgroam"})
        self.assertEqual(rights["wgroam"]["read"], {"ubus": {"wgroam": ["status", "peers", "events"]}})
        self.assertEqual(rights["wgroam"]["write"], {"ubus": {"wgroam": ["poke", "reload"]}})

    def test_status(self):
        status = self.root.rpcd("status")
        self.assertEqual({device["interface"] for device in status["devices"]}, {"wgr", "far"})
        self.assertLessEqual({"version", "uptime_s", "devices"}, set(status))
        one = self.root.rpcd("status", {"interface": "wgr"})
        self.assertEqual([device["peers"][0]["public_key"] for device in one["devices"]], [self.peer])

    def test_peers(self):
        peers = self.root.rpcd("peers")["peers"]
        self.assertEqual({peer["interface"] for peer in peers}, {"wgr", "far"})
        one = next(peer for peer in peers if peer["interface"] == "wgr")
        full = self.root.rpcd("status", {"interface": "wgr"})["devices"][0]["peers"][0]
        self.assertEqual(set(one), set(full) | {"interface"})
        self.assertEqual((one["public_key"], one["endpoint"]), (self.peer, "127.0.0.1:51821"))

    def test_poke(self):
        self.assertEqual(self.root.rpcd("poke", {"interface": "wgr", "peer": self.peer}), {"message": "poked 1"})
        self.assertEqual(self.root.rpcd("poke"), {"message": "poked 2"})
        self.assertEqual(self.root.rpcd("poke", {"interface": "wgr"}), {"message": "poked 1"})

    def test_events_come_as_they_happen(self):
        answers = []
        asking = threading.Thread(target=lambda: answers.append(self.root.rpcd("events", {"seconds": 8})))
        begun = time.monotonic()
        asking.start()
        time.sleep(0.7)
        self.root.rpcd("poke", {"interface": "wgr"})
        asking.join()
        self.assertLess(time.monotonic() - begun, 6, "it waited although something had happened")
        pokes = [event for event in answers[0]["events"] if event["event"] == "poked"]
        self.assertEqual([(event["interface"], event["peer"]) for event in pokes], [("wgr", self.peer)])
        wait("the watcher to end", lambda: not any(" watch " in line for line in self.root.running_in_it()))
        self.assertEqual(self.left_over(), [])

    def test_without_events_it_answers_when_the_time_is_over(self):
        begun = time.monotonic()
        self.assertEqual(self.root.rpcd("events", {"seconds": 1}), {"events": []})
        self.assertLess(time.monotonic() - begun, 4)

    def test_reload(self):
        self.assertEqual(self.root.rpcd("reload"), {"reloaded": True})
        wait("the signal", lambda: self.asked() == 1)
        self.root.config("config wgroam\n\toption log_level 'loud'\n")
        self.assertIn("'loud' is not known", self.root.rpcd("reload")["error"])

    def test_a_wrong_argument_is_told(self):
        for method, arguments, words in [
            ("status", {"interface": "none"}, "none is not a WireGuard interface"),
            ("peers", {"interface": "none"}, "none is not a WireGuard interface"),
            ("poke", {"interface": "wgr", "peer": "nobody"}, "'nobody' is neither"),
            ("poke", {"peer": self.peer}, "'peer' needs 'interface'"),
            ("poke", {"interface": 7}, "'interface' has to be a string"),
            ("status", {"interface": ["wgr"]}, "'interface' has to be a string"),
            ("status", {"interface": "-h"}, "'interface' has a character"),
            ("status", {"interface": "--version"}, "'interface' has a character"),
            ("events", {"seconds": 21}, "'seconds' has to be"),
            ("events", {"seconds": 0}, "'seconds' has to be"),
            ("events", {"seconds": "1; touch /canary"}, "'seconds' has to be"),
            ("fly", {}, "there is no method 'fly'"),
            ("status", "{", "the arguments are no JSON object"),
            ("status", "[]", "the arguments are no JSON object"),
        ]:
            answer = self.root.rpcd(method, arguments)
            self.assertEqual(set(answer), {"error"}, (method, arguments))
            self.assertIn(words, answer["error"])

    def test_no_argument_reaches_a_shell(self):
        for bait in BAITS:
            for arguments in ({"interface": bait, "peer": bait}, {"interface": "wgr", "peer": bait}, {bait: bait}):
                for method in (*METHODS - {"events", "reload"}, bait):
                    self.root.rpcd(method, arguments)
            self.assertIn("error", self.root.rpcd("events", {"seconds": bait}))
        # As rpcd passes on what nobody asked for.
        self.assertIn("devices", self.root.rpcd("status", {"ubus_rpc_session": "0" * 32}))
        self.assertFalse((self.root.path / "canary").exists())

    def test_its_version_is_the_programs(self):
        programs = ("/usr/libexec/rpcd/wgroam", "/usr/sbin/wgroam")
        said = [self.root.run(program, "--version").stdout for program in programs]
        self.assertEqual(said[0], said[1])
        self.assertTrue(said[0].startswith("wgroam "))

    def test_a_program_that_can_not_run_is_an_error_of_every_method(self):
        for script in ("echo 'Error loading shared library libgcc_s.so.1' >&2; exit 127", "kill -SEGV $$"):
            self.root.write("usr/sbin/wgroam", f"#!/bin/sh\n{script}\n", 0o755)
            for method in METHODS:
                answer = self.root.rpcd(method)
                self.assertEqual(set(answer), {"error"}, (method, script))
                self.assertRegex(answer["error"], "libgcc_s|was killed|exit code 139", method)

    def test_without_a_daemon_every_method_says_so(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        for method in METHODS:
            self.assertEqual(set(self.root.rpcd(method)), {"error"}, method)
        self.assertEqual(os.listdir(self.root.path / "tmp/run/wgroam").count("control.sock"), 0)
