# SPDX-License-Identifier: GPL-2.0-only
"""patches/ and ci/apply-patches, on a tree of our own: a protocol handler of the shape that OpenWrt 24.10's has, played
against WireGuard."""

import os
import subprocess
import time

from .common import ROOT, Scratch

APPLY = ROOT / "ci/apply-patches"
HANDLER = "package/network/utils/wireguard-tools/files/wireguard.sh"
NAME = "openwrt-24.10/0001-wireguard-tools-renew-without-teardown.patch"

# As 24.10's in the lines that the patch names, and in what happens when; the rest is only what that needs.
OLD_HANDLER = """#!/bin/sh
WG=wg

proto_wireguard_init_config() {
	proto_config_add_string "private_key"
	available=1
	no_proto_task=1
}

proto_wireguard_setup() {
	local config="$1"
	local wg_cfg="$WORK/${config}.conf"

	ip link del dev "${config}" 2>/dev/null
	ip link add dev "${config}" type wireguard

	cat "$WORK/peers" > "${wg_cfg}"

	# apply configuration file
	${WG} setconf ${config} "${wg_cfg}"
	WG_RETURN=$?

	if [ ${WG_RETURN} -ne 0 ]; then
		proto_setup_failed "${config}"
		exit 1
	fi
	proto_send_update "${config}"
}

proto_wireguard_teardown() {
	local config="$1"
	ip link del dev "${config}" >/dev/null 2>&1
}
"""

# What netifd gives a handler. WireGuard is wireguard-go here, so `ip link add ... type wireguard` starts one.
PLAY = """
proto_config_add_string() { :; }
proto_setup_failed() { echo "setup failed"; }
proto_send_update() { echo "update sent"; }
ip() {
	case "$*" in
	"link add dev $NAME type wireguard")
		wireguard-go "$NAME" > /dev/null 2>&1
		while [ ! -S "/var/run/wireguard/$NAME.sock" ]; do sleep 0.05; done
		;;
	*) command ip "$@" ;;
	esac
}
. "$HANDLER"
"""


def key():
    """A public key."""
    private = subprocess.run(["wg", "genkey"], capture_output=True, check=True).stdout
    return subprocess.run(["wg", "pubkey"], input=private, capture_output=True, check=True).stdout.decode().strip()


class Tree(Scratch):
    """A tree with the old handler."""

    def setUp(self):
        super().setUp()
        self.write("include/version.mk", "VERSION_NUMBER:=$(if $(VERSION_NUMBER),$(VERSION_NUMBER),24.10.9)\n")
        self.handler = self.write(HANDLER, OLD_HANDLER, 0o755)

    def apply(self, *options, shell=("sh",), patch="patch"):
        """ci/apply-patches on the tree."""
        return self.run_command(*shell, APPLY, *options, self.scratch, env={"PATCH": patch})

    def patched(self):
        """The handler with the patch."""
        self.assertEqual(self.apply().returncode, 0)
        return self.handler.read_text()


class Applying(Tree):
    """How the patch comes in and out."""

    def everywhere(self, check):
        """Under every shell and patch that a person may have."""
        for shell in (("sh",), ("busybox", "ash")):
            for patch in ("patch", "busybox patch"):
                with self.subTest(shell=shell[0], patch=patch):
                    self.handler.write_text(OLD_HANDLER)
                    check(lambda *options: self.apply(*options, shell=shell, patch=patch))

    def test_patch_is_put_in_and_a_second_time_changes_nothing(self):
        def check(apply):
            first = apply()
            self.assertEqual((first.returncode, first.stderr), (0, ""))
            self.assertIn(f"24.10.9\n  put in: patches/{NAME}\n", first.stdout)
            text = self.handler.read_text()
            self.assertIn("\t${WG} syncconf ${config}", text)
            self.assertNotIn("setconf", text)
            second = apply()
            self.assertEqual((second.returncode, second.stderr), (0, ""))
            self.assertIn(f"  in: patches/{NAME}\n", second.stdout)
            self.assertEqual(self.handler.read_text(), text)

        self.everywhere(check)

    def test_check_tells_missing_from_present_and_changes_nothing(self):
        def check(apply):
            self.assertEqual(apply("--check").returncode, 1)
            self.assertEqual(self.handler.read_text(), OLD_HANDLER)
            apply()
            self.assertEqual(apply("--check").returncode, 0)

        self.everywhere(check)

    def test_revert_gives_back_the_old_file_byte_for_byte(self):
        def check(apply):
            apply()
            self.assertEqual(apply("--revert").returncode, 0)
            self.assertEqual(self.handler.read_text(), OLD_HANDLER)
            self.assertEqual(apply("--revert").returncode, 0)

        self.everywhere(check)

    def test_half_patched_file_is_refused_and_left_alone(self):
        def check(apply):
            apply()
            half = self.handler.read_text().replace("syncconf", "setconf")
            self.handler.write_text(half)
            for options in ((), ("--check",), ("--revert",)):
                refused = apply(*options)
                self.assertEqual(refused.returncode, 1)
                self.assertIn(
                    f"{HANDLER} is half-patched: of the 4 places of this patch, in: 1 2 4; not in: 3", refused.stderr
                )
                self.assertIn("remedy: ", refused.stderr)
                self.assertIn(f"checkout -- {HANDLER}", refused.stderr)
                self.assertEqual(self.handler.read_text(), half)

        self.everywhere(check)

    def test_file_changed_by_another_hand_is_refused_and_left_alone(self):
        def check(apply):
            other = OLD_HANDLER.replace("\t${WG} setconf ${config}", "\tmy-wg apply ${config}")
            self.handler.write_text(other)
            refused = apply()
            self.assertEqual(refused.returncode, 1)
            self.assertIn("is changed by another hand", refused.stderr)
            self.assertIn("the patch leaves them: 3\n", refused.stderr)
            self.assertEqual(self.handler.read_text(), other)

        self.everywhere(check)

    def test_changes_elsewhere_in_the_file_do_no_harm(self):
        def check(apply):
            self.handler.write_text(OLD_HANDLER.replace("WG=wg\n", "WG=wg\n# mine\n# mine, too\n"))
            self.assertEqual(apply().returncode, 0)
            self.assertIn("# mine, too\n", self.handler.read_text())

        self.everywhere(check)

    def test_mode_of_the_file_is_kept_and_nothing_lies_about(self):
        self.patched()
        self.assertEqual(self.handler.stat().st_mode & 0o777, 0o755)
        self.assertEqual([path.name for path in self.handler.parent.iterdir()], ["wireguard.sh"])

    def test_releases_that_can_renew_by_themselves_are_left_alone(self):
        newer = OLD_HANDLER.replace("${WG} setconf", 'printf "" | ${WG} syncconf "${config}" /dev/stdin #')
        self.handler.write_text(newer)
        result = self.apply()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("not needed", result.stdout)
        self.assertEqual(self.handler.read_text(), newer)
        self.handler.rename(self.handler.with_suffix(".uc"))
        self.assertIn("not needed", self.apply("--check").stdout)

    def test_what_is_no_source_tree_is_refused_with_its_name(self):
        self.handler.unlink()
        sdk = self.apply()
        self.assertEqual(sdk.returncode, 1)
        self.assertIn(f"{HANDLER} is not there", sdk.stderr)
        self.assertIn("SDK", sdk.stderr)
        (self.scratch / "include/version.mk").unlink()
        self.assertIn("is no OpenWrt tree", self.apply().stderr)
        self.assertEqual(self.run_command(APPLY).returncode, 2)
        self.assertEqual(self.run_command(APPLY, "--chekc", self.scratch).returncode, 2)

    def test_every_patch_says_what_why_upstream_and_how_it_is_tested(self):
        for patch in sorted((ROOT / "patches").glob("*/*.patch")):
            head, hunks = patch.read_text().split("\n--- a/", 1)
            for word in ("Release:", "File:", "What:", "Why so:", "Upstream:", "Apply:", "Test:"):
                self.assertIn(f"\n{word} ", head, patch.name)
            context = [line for line in hunks.splitlines() if line.startswith(" ")]
            self.assertLessEqual(
                len(context), 2 * hunks.count("\n@@ "), f"{patch.name}: a line before and after is enough"
            )


class Renewing(Tree):
    """What the handler does to WireGuard, before and after the patch. In a network namespace; needs root."""

    def setUp(self):
        super().setUp()
        self.name = f"wgrp{os.getpid()}"
        self.one, self.two = key(), key()
        private = subprocess.run(["wg", "genkey"], capture_output=True, check=True, text=True).stdout
        self.interface = f"[Interface]\nPrivateKey={private}ListenPort=51820\n"
        self.peers(self.one)
        self.command("ip", "netns", "add", self.name)
        self.addCleanup(self.end)

    def end(self):
        """The interface first: wireguard-go ends with it."""
        self.inside("ip", "link", "del", self.name)
        deadline = time.monotonic() + 60
        while self.command("ip", "netns", "pids", self.name) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.command("ip", "netns", "del", self.name)

    def command(self, *command):
        """Its output; whatever it is."""
        return self.run_command(*command).stdout

    def inside(self, *command):
        """The same in the namespace."""
        return self.command("ip", "netns", "exec", self.name, *command)

    def peers(self, *keys, more=""):
        """What /etc/config/network would say from now on."""
        self.write(
            "peers",
            self.interface
            + "".join(
                f"[Peer]\nPublicKey={name}\nAllowedIPs=10.0.0.{number}/32\n" for number, name in enumerate(keys, 1)
            )
            + more,
        )

    def play(self, step):
        """A step of the handler, as netifd calls it: in a process of its own."""
        script = self.write("play", PLAY + f'proto_wireguard_{step} "$NAME"\n')
        env = {
            "HANDLER": str(self.handler),
            "NAME": self.name,
            "WORK": str(self.scratch),
            "WG_ENDPOINT_RESOLUTION_RETRIES": "0",
        }
        return self.run_command("ip", "netns", "exec", self.name, "busybox", "ash", script, env=env)

    def learn(self):
        """As if a peer had been heard from there."""
        self.inside("wg", "set", self.name, "peer", self.one, "endpoint", "192.0.2.7:1234")

    def endpoints(self):
        """Key and endpoint of each peer."""
        return dict(line.split("\t") for line in self.inside("wg", "show", self.name, "endpoints").splitlines())

    def number(self):
        """The interface's; another one after it was made anew."""
        return self.inside("cat", f"/sys/class/net/{self.name}/ifindex")

    def test_without_the_patch_applying_again_forgets_where_peers_are(self):
        self.assertEqual(self.play("setup").stdout, "update sent\n")
        self.learn()
        self.assertEqual(self.play("setup").stdout, "update sent\n")
        self.assertEqual(self.endpoints(), {self.one: "(none)"})

    def test_renew_adds_a_peer_and_keeps_what_the_others_taught(self):
        self.patched()
        self.play("setup")
        self.learn()
        before = self.number()
        self.peers(self.one, self.two)
        self.assertEqual(self.play("renew").stdout, "update sent\n")
        self.assertEqual(self.endpoints(), {self.one: "192.0.2.7:1234", self.two: "(none)"})
        self.assertEqual(self.number(), before)

    def test_renew_removes_a_peer_that_is_configured_no_more(self):
        self.patched()
        self.peers(self.one, self.two)
        self.play("setup")
        self.peers(self.two)
        self.play("renew")
        self.assertEqual(self.endpoints(), {self.two: "(none)"})

    def test_renew_with_a_name_that_does_not_resolve_leaves_all_as_it_is(self):
        self.patched()
        self.play("setup")
        self.learn()
        self.peers(self.one, more=f"[Peer]\nPublicKey={self.two}\nEndpoint=nowhere.invalid:51820\n")
        self.assertNotIn("setup failed", self.play("renew").stdout)
        self.assertEqual(self.endpoints(), {self.one: "192.0.2.7:1234"})

    def test_setup_with_a_name_that_does_not_resolve_still_fails_as_netifd_expects(self):
        self.patched()
        self.peers(self.one, more=f"[Peer]\nPublicKey={self.two}\nEndpoint=nowhere.invalid:51820\n")
        self.assertEqual(self.play("setup").stdout, "setup failed\n")

    def test_handler_announces_that_it_can_renew(self):
        self.patched()
        script = self.write("play", PLAY + 'proto_wireguard_init_config; echo "$renew_handler"\n')
        result = self.run_command("busybox", "ash", script, env={"HANDLER": str(self.handler)})
        self.assertEqual(result.stdout, "1\n")
