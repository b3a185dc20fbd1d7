# SPDX-License-Identifier: GPL-2.0-only
"""The way into ci/vm/run, for a host whose kernel has no WireGuard."""
import os
import subprocess
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
LAB = TREE / "ci" / "lab" / "lab"


def kernel_has_wireguard():
    """Asked by making an interface, in a namespace that ends with the question."""
    question = ["unshare", "--net", "ip", "link", "add", "wgr", "type", "wireguard"]
    return subprocess.run(question, capture_output=True, check=False).returncode == 0


def inside():
    """Are we in ci/vm/run's machine?"""
    return os.environ.get("WGROAM_VM") == "1"


def command(arguments, timeout, cpus=1):
    """How the lab is run with these arguments in a machine with WireGuard, within `timeout` seconds."""
    return [str(TREE / "ci" / "vm" / "run"), "--timeout", str(int(timeout)), "--cpus", str(cpus), "--", str(LAB), *arguments]
