# SPDX-License-Identifier: GPL-2.0-only
"""The init script: what it tells procd, what it gives the daemon, and what it makes of a bad configuration."""
import os
import re
import signal
import stat
import subprocess
import time

import procd
from cases import Case
from samples import BAITS, KEY, NETWORK, SECRET, SHARED, WGROAM, quoted
from scratch import USER

DAEMON = {
    "command": ["/usr/sbin/wgroam", "run", "--config", "/var/run/wgroam/config", "--state", "/etc/wgroam/state"],
    "file": ["/usr/sbin/wgroam", "/etc/capabilities/wgroam.json"],
    "respawn": ["3600", "5", "0"],
    "stderr": True,
}
JAILED = {
    **DAEMON,
    "command": [*DAEMON["command"], "--end-with-parent"],
    "jail": {"name": "wgroam", "mount": {}},
    "capabilities": "/etc/capabilities/wgroam.json",
    "user": "wgroam",
    "group": "wgroam",
    "no_new_privs": True,
}
HOOKS = {
    "command": ["/usr/share/wgroam/hooks"],
    "file": ["/usr/share/wgroam/hooks"],
    "respawn": ["3600", "5", "0"],
    "stderr": True,
}


class Definition(Case):
    """What procd is told."""

    def test_the_service_is_exactly_this(self):
        self.assertEqual(self.start(), {"daemon": JAILED})
        self.assertEqual(self.said, "")

    def test_triggers_are_exactly_these(self):
        self.start()
        reload = ["run_script", "/etc/init.d/wgroam", "reload"]
        condition = {name: ["if", ["eq", "package", name], reload] for name in ("wgroam", "network")}
        self.assertEqual(
            self.root.service()["triggers"],
            [["config.change", condition[name], 1000] for name in ("wgroam", "network")],
        )

    def test_procd_gets_the_schema_of_all_three_kinds_of_section(self):
        self.start()
        self.assertEqual(
            self.root.service()["validate"],
            [
                {"package": "wgroam", "type": kind, "data": data}
                for kind, data in {
                    "wgroam": {
                        "enabled": "bool",
                        "log_level": "or(error,warn,info,debug)",
                        "persist": "bool",
                        "wan": "list(string)",
                    },
                    "tunnel": {
                        "enabled": "bool",
                        "interface": "string",
                        "unreachable": "bool",
                        "rotate_port": "or(auto,bool)",
                    },
                    "peer": {
                        "tunnel": "string",
                        "public_key": "string",
                        "endpoint": "list(string)",
                        "family": "or(any,ipv4,ipv6)",
                        "keepalive": "range(1,65535)",
                        "probe": "ipaddr",
                        "probe_interval": "range(0,3600)",
                        "readd": "bool",
                    },
                }.items()
            ],
        )

    def test_by_the_link_of_the_boot_it_is_the_same_service(self):
        self.root.init("enable")
        self.root.config(WGROAM, NETWORK)
        self.root.run("/etc/rc.d/S25wgroam", "boot", check=True)
        message = self.root.service()
        self.assertEqual((message["name"], message["script"]), ("wgroam", "/etc/rc.d/S25wgroam"))
        self.assertEqual((message["instances"], message["triggers"][0][1][2][1]), ({"daemon": JAILED}, "/etc/init.d/wgroam"))

    def test_scripts_for_hooks_bring_a_second_instance(self):
        self.root.write("etc/hotplug.d/wgroam/10-mine", "true\n")
        self.assertEqual(self.start(), {"daemon": JAILED, "hooks": HOOKS})

    def test_an_empty_folder_for_hooks_brings_none(self):
        (self.root.path / "etc/hotplug.d/wgroam").mkdir()
        self.assertEqual(self.start(), {"daemon": JAILED})

    def test_switched_off_there_is_no_instance(self):
        for word in ("0", "no", "off", "false", "disabled"):
            for name in ("", " 'globals'"):
                self.assertEqual(self.start(f"config wgroam{name}\n\toption enabled '{word}'\n"), {})

    def test_it_starts_with_the_configuration_of_the_package(self):
        self.root.config(network=NETWORK)
        self.root.init("start")
        self.assertEqual(self.root.instances(), {"daemon": JAILED})

    def test_it_starts_without_and_with_an_empty_configuration(self):
        self.assertEqual(self.start("", ""), {"daemon": JAILED})
        (self.root.path / "etc/config/wgroam").unlink()
        (self.root.path / "etc/config/network").unlink()
        self.root.forget_calls()
        self.root.init("start")
        self.assertEqual(self.root.instances(), {"daemon": JAILED})
        self.assertEqual(self.root.log.text(), "")

    def test_enable_and_disable_make_and_remove_the_links(self):
        self.root.init("enable")
        for name in ("S25wgroam", "K15wgroam"):
            self.assertEqual(os.readlink(self.root.path / "etc/rc.d" / name), "../init.d/wgroam")
        self.root.init("disable")
        self.assertEqual(list((self.root.path / "etc/rc.d").iterdir()), [])


class Recorded(Case):
    """What the real procd said of the service, where it came to know ours as it was then: without --end-with-parent."""

    def same(self, heading, verbose=False):
        """The stand-in's message makes of it what is recorded under this heading."""
        message = self.root.service()
        for instance in message["instances"].values():
            instance["command"] = [word for word in instance["command"] if word != "--end-with-parent"]
        for release in procd.RELEASES:
            found = procd.recorded(release)
            (known,) = [name for name in found if name.startswith(heading)]
            said = procd.listed(message, verbose)
            said["wgroam"].pop("validate", None)
            self.assertEqual(said, found[known], f"{release}: {heading}")

    def test_a_jailed_daemon(self):
        self.start()
        self.same("normal: as installed")
        self.same("`ubus call service list '{\"name\":\"wgroam\",\"verbose\":true}'`", verbose=True)

    def test_with_hooks(self):
        self.root.write("etc/hotplug.d/wgroam/mine", "true\n")
        self.start()
        self.same("hooks present")

    def test_switched_off(self):
        self.start("config wgroam\n\toption enabled '0'\n")
        self.same("disabled")

    def test_without_ujail(self):
        (self.root.path / "sbin/ujail").unlink()
        self.start()
        self.same("no ujail: /sbin/ujail removed")

    def test_all_validations_would_be_shown(self):
        self.start()
        shown = procd.listed(self.root.service(), verbose=True)["wgroam"]["validate"]
        self.assertEqual([one["type"] for one in shown], ["peer", "tunnel", "wgroam"])


class StandIn(Case):
    """What an init script can rely on as little here as on a router. With procd.sh of 24.10 and 25.12 in place of ours these
    pass as well, and so do the others of this file."""

    HEAD = "#!/bin/sh /etc/rc.common\nUSE_PROCD=1\nSTART=9\n"

    def message(self, script):
        """What procd is told by an init script with this body."""
        self.root.write("etc/init.d/wgroam", self.HEAD + script, 0o755)
        self.root.forget_calls()
        self.root.init("start")
        return self.root.service()

    def test_of_validations_that_are_added_one_by_one_at_most_the_last_one_stays(self):
        kinds = ("wgroam", "tunnel", "peer")
        said = self.message(
            "".join(f"v_{kind}() {{ uci_load_validate wgroam {kind} \"$1\" \"$2\" a:bool:1; }}\n" for kind in kinds)
            + "service_triggers() {\n" + "".join(f"procd_add_validation v_{kind}\n" for kind in kinds) + "}\n"
        )
        # And of that one not all.
        self.assertEqual(said["validate"], [{"package": "wgroam"}])

    def test_a_parameter_that_is_set_again_takes_no_more_and_an_unknown_one_is_none(self):
        said = self.message(
            "start_service() {\nprocd_open_instance\nprocd_set_param command a b\nprocd_set_param command c\n"
            "procd_append_param command d\nprocd_append_param file e\nprocd_set_param frobnicate 1\n"
            "procd_set_param env A=1 B=x=y C\nprocd_set_param term_timeout 7\nprocd_close_instance\n}\n"
        )
        environment = {"A": "1", "B": "x=y", "C": ""}
        self.assertEqual(
            said["instances"],
            {"instance1": {"command": ["c"], "file": ["e"], "env": environment, "term_timeout": 7}},
        )

    def test_a_start_that_fails_stops_what_it_did_not_name_and_says_nothing(self):
        said = self.message("start_service() {\nreturn 1\n}\n")
        self.assertEqual(said["instances"], {})
        self.assertEqual(self.root.init("start").returncode, 0)

    def test_a_signal_for_nobody_is_no_failure(self):
        for name, said in (("HUP", "Command failed: Not found\n"), ("FROB", "")):
            self.message(f"reload_service() {{\nprocd_send_signal wgroam daemon {name}\n}}\n")
            ran = self.root.init("reload")
            self.assertEqual((ran.returncode, ran.stderr), (0, said))

    def test_a_child_that_keeps_the_descriptor_keeps_the_lock(self):
        body = "reload_service() {\nsleep 1 > /dev/null 2>&1 &\n}\n"
        self.message(body)
        self.root.init("reload")
        begun = time.monotonic()
        self.root.init("reload")
        self.assertGreater(time.monotonic() - begun, 0.5)


class WithoutJail(Case):
    """procd-ujail is not installed."""

    ujail = False

    def test_the_daemon_runs_as_root_and_the_log_says_so(self):
        self.assertEqual(self.start(), {"daemon": DAEMON})
        self.assertIn("running as root: install procd-ujail", self.said)
        self.assertIn("running as root", self.root.log.text())

    def test_what_root_left_behind_goes_when_ujail_comes(self):
        self.start()
        for name in ("lock", "state"):
            self.root.write(f"tmp/run/wgroam/{name}", "", 0o600)
        self.root.write("etc/wgroam/state", "wgroam-state 1\nend: 0\n", 0o600)
        self.root.write("etc/victim", "", 0o600)
        (self.root.path / "etc/wgroam/link").symlink_to("/etc/victim")
        self.root.write("sbin/ujail", "", 0o755)
        self.assertEqual(self.start(), {"daemon": JAILED})
        self.assertEqual(sorted(os.listdir(self.root.path / "tmp/run/wgroam")), ["config"])
        for name in ("", "state", "link"):
            self.assertEqual(os.lstat(self.root.path / "etc/wgroam" / name).st_uid, USER, name)
        self.assertEqual((self.root.path / "etc/victim").stat().st_uid, 0)


class WithoutUser(Case):
    """The user could not be made."""

    user = False

    def test_the_daemon_runs_as_root(self):
        self.assertEqual(self.start(), {"daemon": DAEMON})


class Given(Case):
    """What the daemon is given."""

    def test_it_is_all_of_wgroam_and_little_of_network(self):
        self.start()
        self.assertEqual(
            self.root.read("tmp/run/wgroam/config"),
            f"""package wgroam
{WGROAM}
package network

config interface 'wgr'
	option proto 'wireguard'
	option listen_port '51820'
	option nohostroute '1'

config wireguard_wgr 'home'
	option description 'Käthe'\\''s "router"'
	option public_key '{KEY}'
	option endpoint_host 'home.example.net'
	option endpoint_port '51820'
	option persistent_keepalive '25'
""",
        )

    def test_files_and_folders_have_these_modes_and_owners(self):
        self.start()
        for name, mode, owner, group in [
            ("tmp/run/wgroam", 0o1770, 0, USER),
            ("tmp/run/wgroam/config", 0o640, 0, USER),
            ("etc/wgroam", 0o700, USER, USER),
        ]:
            found = (self.root.path / name).stat()
            self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid), (mode, owner, group), name)

    def test_the_daemons_user_may_not_touch_what_is_roots(self):
        self.start()
        script = "cd /var/run/wgroam; ln -sf /etc/passwd config || rm -f config || mv config x || echo > config"
        before = self.root.read("tmp/run/wgroam/config")
        as_user = ["/test/setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        self.assertNotEqual(self.root.run(*as_user, "/bin/sh", "-c", script).returncode, 0)
        self.assertEqual(self.root.read("tmp/run/wgroam/config"), before)

    def test_no_key_gets_in_however_it_is_written(self):
        secrets = [SECRET, SHARED, SECRET[:20], SHARED[-20:]]
        split = f"{SECRET[:20]}\n\toption public_key {SECRET[20:]}"
        odd = f"""
config interface 'wgr'
	list private_key '{SECRET}'
	option proto 'wireguard'

config interface 'wg2'
	option proto wireguard
	option private_key "{split}"

config wireguard_wgr
	option preshared_key '{SHARED[:-20]}
{SHARED[-20:]}'
	option public_key '{KEY}'

config "wireguard_w'r" 'x'
	option preshared_key '{SHARED}'
	option endpoint_host '{SECRET}'

config "o'" 'y'
	option private_key '{SECRET}'
"""
        for network in (NETWORK, odd, NETWORK + odd):
            self.start(network=network)
            found = subprocess.run(
                ["grep", "-rlF", *[word for secret in secrets for word in ("-e", secret)], "tmp", "dev", "etc/wgroam"],
                cwd=self.root.path,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual((found.stdout, self.root.log.text()), ("", ""), network)

    def test_interfaces_that_netifd_knows_are_named_as_the_kernel_does(self):
        wgroam = "config wgroam\n\tlist wan 'wan'\n\tlist wan 'eth7'\n\tlist wan 'wan6'\n\tlist wan 'lte'\n"
        network = "".join(f"config interface '{name}'\n\toption proto 'dhcp'\n" for name in ("wan", "wan6", "lte"))
        self.root.write("tmp/network.interface.wan", '{"up": true, "l3_device": "pppoe-wan", "device": "eth0.7"}')
        self.root.write("tmp/network.interface.wan6", '{"up": false, "device": "eth1"}')
        self.start(wgroam, network)
        self.assertEqual(self.listed(), ["pppoe-wan", "eth7", "eth1", "lte"])
        self.start("config wgroam\n\toption wan 'wan eth7'\n", network)
        self.assertEqual(self.listed(), ["pppoe-wan", "eth7"])

    def listed(self):
        """The devices in option wan."""
        return re.findall(r"^\tlist wan '(.*)'$", self.root.read("tmp/run/wgroam/config"), re.M)


class Hostile(Case):
    """No text of UCI's reaches a shell."""

    def test_in_every_option_of_wgroam(self):
        for bait in BAITS:
            value = quoted(bait)
            for name in ("enabled", "log_level", "wan", "persist", "other"):
                for kind in ("option", "list"):
                    self.start(f"config wgroam 'globals'\n\t{kind} {name} {value}\n")
            options = "".join(f"\toption {name} {value}\n" for name in ("tunnel", "public_key", "endpoint", "probe"))
            self.start(f"config peer 'p'\n{options}\tlist endpoint {value}\n")

    def test_in_every_option_of_network(self):
        for bait in BAITS:
            value = quoted(bait)
            options = "".join(
                f"\toption {name} {value}\n"
                for name in ("description", "endpoint_host", "endpoint_port", "private_key", "disabled", "zone")
            )
            peer = f"wireguard_wgr\n\toption public_key '{KEY}'"
            for head in ("interface 'wgr'\n\toption proto 'wireguard'", peer):
                self.assertEqual(self.start(network=f"config {head}\n{options}"), {"daemon": JAILED})

    def test_in_types_and_in_what_ubus_says(self):
        touch = "touch${IFS}/canary"
        for kind in (f"a;{touch}", f"$({touch})", f"`{touch}`", f"wireguard_$({touch})"):
            self.start(WGROAM + f"\nconfig {quoted(kind)} 'x'\n", NETWORK + f"\nconfig {quoted(kind)} 'y'\n")
        wgroam = "config wgroam\n\tlist wan 'wan'\n"
        for bait in BAITS:
            text = bait.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            self.root.write("tmp/network.interface.wan", f'{{"l3_device": "{text}"}}')
            self.start(wgroam, NETWORK)
            self.assertIn("\tlist wan 'wan'\n", self.root.read("tmp/run/wgroam/config"), bait)

    def test_what_is_handed_on_is_what_uci_says(self):
        sections = "".join(
            f"config wireguard_wgr\n\toption public_key '{KEY}'\n\toption description {quoted(bait)}\n"
            for bait in BAITS
        )
        self.start("", "config interface 'wgr'\n\toption proto 'wireguard'\n" + sections)
        self.root.config(network=self.root.read("tmp/run/wgroam/config").split("package network\n")[1])
        for number, bait in enumerate(BAITS):
            option = f"network.@wireguard_wgr[{number}].description"
            said = self.root.run("/sbin/uci", "get", option, check=True).stdout
            self.assertEqual(said, bait + "\n")


class Wrong(Case):
    """A configuration that can't be used."""

    BROKEN = "config wgroam 'globals'\n\toption log_level 'debug\n"
    WRONG = "config peer 'home'\n\toption tunnel 'wgr'\n"

    def test_nothing_is_started_and_the_line_is_named(self):
        for text, line in ((self.BROKEN, "2:"), (self.WRONG, "1: peer 'home'")):
            self.assertEqual(self.start(text), {})
            self.assertIn(f"/etc/config/wgroam:{line}", self.root.log.text())
            self.assertFalse((self.root.path / "tmp/run/wgroam/config").exists())

    def test_a_mistake_in_a_change_that_is_not_committed_is_named(self):
        self.root.config(WGROAM, NETWORK)
        self.root.run("/sbin/uci", "set", "wgroam.home.family=ipv5", check=True)
        self.root.init("start")
        self.assertEqual(self.root.instances(), {})
        self.assertIn("'ipv5' is not known", self.root.log.text())

    def test_the_running_daemon_keeps_what_it_has(self):
        self.start()
        self.pretend_running()
        before = self.root.read("tmp/run/wgroam/config")
        for action in ("reload", "start"):
            for text in (self.BROKEN, self.WRONG):
                self.root.forget_calls()
                self.root.config(text)
                self.root.init(action)
                self.assertEqual(self.root.read("tmp/run/wgroam/config"), before)
                self.assertNotIn("signal", self.methods(), "a signal for nothing")
                instances = self.root.instances()
                self.assertEqual(instances, {"daemon": JAILED} if action == "start" else None, "it would be stopped")

    def test_a_reload_starts_it_when_the_mistake_is_mended(self):
        self.assertEqual(self.start(self.WRONG), {})
        self.root.config(WGROAM)
        self.root.init("reload")
        self.assertEqual(self.root.instances(), {"daemon": JAILED})

    def test_a_program_that_can_not_run_is_no_mistake_of_the_configuration(self):
        self.start()
        before = self.root.read("tmp/run/wgroam/config")
        for script, words in {
            "echo 'Error loading shared library libgcc_s.so.1' >&2; exit 127": "(exit code 127), and nothing is changed: "
            "Error loading shared library libgcc_s.so.1",
            "kill -SEGV $$": "(exit code 139), and nothing is changed",
        }.items():
            self.root.write("usr/sbin/wgroam", f"#!/bin/sh\n{script}\n", 0o755)
            for action in ("start", "reload"):
                self.root.forget_calls()
                self.assertIn(f"/usr/sbin/wgroam can't be run {words}", self.root.init(action).stderr, action)
                self.assertIn(words, self.root.log.text())
                self.assertEqual(self.root.instances(), {}, action)
            self.assertEqual(self.root.read("tmp/run/wgroam/config"), before)
        self.assertNotIn("configuration is wrong", self.root.log.text())
        (self.root.path / "usr/sbin/wgroam").unlink()
        self.assertIn("(exit code 127)", self.root.init("start").stderr)

    def test_a_broken_package_network_does_not_matter(self):
        self.assertEqual(self.start(network="config interface 'wgr\n"), {"daemon": JAILED})
        self.assertIn("list endpoint 'home.example.net:443'", self.root.read("tmp/run/wgroam/config"))
        self.assertIn("/etc/config/network can't be read", self.root.log.text())

    def test_while_package_network_is_broken_what_was_known_of_it_stays(self):
        self.start()
        self.pretend_running()
        before = self.root.read("tmp/run/wgroam/config")
        self.root.config(network=NETWORK + "config interface 'wgr\n")
        for _ in range(2):
            self.root.init("reload")
            self.assertEqual(self.root.read("tmp/run/wgroam/config"), before)
        self.root.config(network="config interface 'wan'\n")
        self.root.init("reload")
        self.assertEqual(self.root.read("tmp/run/wgroam/config"), before.split("\nconfig interface 'wgr'")[0])


class Reload(Case):
    """A change of the configuration, to a running daemon."""

    def test_it_is_one_signal_and_no_restart(self):
        self.start()
        self.pretend_running()
        before = self.root.service()
        self.root.forget_calls()
        self.root.config(WGROAM + "\toption keepalive '25'\n")
        self.root.init("reload")
        self.assertIn("option keepalive '25'", self.root.read("tmp/run/wgroam/config"))
        hup = {"name": "wgroam", "instance": "daemon", "signal": signal.SIGHUP}
        self.assertEqual(self.root.told(), [("signal", hup), ("set", before)], "or procd would restart it")

    def test_the_file_is_replaced_and_never_half_there(self):
        self.start()
        self.pretend_running()
        with open(self.root.path / "tmp/run/wgroam/config", encoding="utf-8") as old:
            self.root.config(WGROAM.replace("debug", "info"))
            self.root.init("reload")
            self.assertIn("'debug'", old.read())
        self.assertIn("'info'", self.root.read("tmp/run/wgroam/config"))

    def test_switched_off_it_is_stopped(self):
        self.start()
        self.pretend_running()
        self.root.config("config wgroam\n\toption enabled '0'\n")
        self.root.forget_calls()
        self.root.init("reload")
        self.assertEqual(self.root.instances(), {})
        self.assertEqual(self.methods(), ["set"])

    def test_hooks_come_and_go_with_it(self):
        self.start()
        self.pretend_running()
        script = self.root.write("etc/hotplug.d/wgroam/mine", "true\n")
        self.root.init("reload")
        self.assertEqual(self.root.instances(), {"daemon": JAILED, "hooks": HOOKS})
        script.unlink()
        self.root.init("reload")
        self.assertEqual(self.root.instances(), {"daemon": JAILED})
