# SPDX-License-Identifier: GPL-2.0-only
"""The file system of a router: what the tests of the packages run in (ci/openwrt/scratch.py), in the router's namespace."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .. import vm
from ..lab import LabError
from ..namespace import MS_BIND, MS_REC, call

sys.path.insert(0, str(vm.TREE / "ci" / "openwrt"))
import scratch  # noqa: E402

MS_REMOUNT = 0x20
DEVICES = {"null": 3, "zero": 5, "random": 8, "urandom": 9}  # mem(4) and random(4): major 1
BORROWED = {"wg": "usr/bin/wg", "nft": "usr/sbin/nft", "flock": "usr/bin/flock", "setpriv": "test/setpriv"}
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
SECONDS = 240  # longer takes no command, a minute for the first handshake included


def prepare():
    """Builds OpenWrt's uci, if it has not been yet: there is no compiler in ci/vm's machine, and its environment is ours."""
    if "WGROAM_UCI" not in os.environ:
        built = subprocess.run([vm.TREE / "ci" / "uci" / "build"], capture_output=True, text=True, check=False)
        if built.returncode != 0:
            raise LabError(f"there is no uci: {built.stderr.strip()}")
        os.environ["WGROAM_UCI"] = built.stdout.strip()


class Root(scratch.Root):
    """One router's. The init scripts in it that are not of the package call the lab, and wait until it is done."""

    def __init__(self, router, binary, ujail):
        self.router = router
        self.path = router.lab.folder / f"{router.node}.root"
        base = router.lab.folder / "base"
        if not base.exists():
            diagnose = binary.parent / "wgroam-diagnose"
            if not os.access(diagnose, os.X_OK):
                raise LabError(f"there is no {diagnose}; 'make build' makes it")
            prepare()
            scratch.fill(base, Path(os.environ["WGROAM_UCI"]), binary.parent, BORROWED)
            scratch.stage(router.lab.folder / "stage", binary.parent)
            for package in scratch.PACKAGES:
                scratch.install(router.lab.folder / "stage" / package, base)
        shutil.copytree(base, self.path, symlinks=True)
        self.furnish(ujail, user=True)
        for name, minor in DEVICES.items():
            if not (self.path / "dev" / name).exists():
                os.mknod(self.path / "dev" / name, 0o666 | 0o020000, os.makedev(1, minor))
            os.chmod(self.path / "dev" / name, 0o666)
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            (self.path / "dev" / name).symlink_to(f"/proc/self/fd{target}")
        for folder in ("sys", "root", "tmp/run/wireguard"):
            (self.path / folder).mkdir(parents=True)
        self.log = scratch.Log(self.path / "dev/log")
        self.processes = []

    def close(self):
        """Files and processes go with the lab; the log's reader does not."""
        self.log.close()

    def enter(self):
        """In a child, before exec: into the router's namespace, and into its root."""
        self.router.enter()
        path = str(self.path).encode()
        # What the lab's folder lies in may be mounted without programs and devices.
        call("mount", path, path, None, MS_BIND, None)
        call("mount", b"none", path, None, MS_REMOUNT | MS_BIND, None)
        call("mount", b"/proc", path + b"/proc", None, MS_BIND | MS_REC, None)
        call("mount", b"/sys", path + b"/sys", None, MS_BIND | MS_REC, None)
        call("mount", str(self.router.sockets).encode(), path + b"/tmp/run/wireguard", None, MS_BIND, None)
        os.chroot(path)
        os.chdir("/")

    def run(self, *words, stdin="", check=False, **environment):
        """Runs something to its end, as a person who is logged in does."""
        try:
            ran = subprocess.run(
                words,
                input=stdin,
                capture_output=True,
                text=True,
                env={**ENVIRONMENT, **environment},
                timeout=SECONDS,
                check=False,
                preexec_fn=self.enter,
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stderr or error.stdout or b"").decode(errors="replace").strip()
            # What it started is still there: the last one is what it waits for.
            runs = "; ".join(command.strip() for command in self.running_in_it())
            name = f"{self.router.node}: {' '.join(words)}"
            raise LabError(f"{name}: not done within {SECONDS} s; there run: {runs}; it said: {said}") from None
        if check and ran.returncode != 0:
            said = (ran.stderr or ran.stdout).strip()
            raise LabError(f"{self.router.node}: {' '.join(words)}: exit code {ran.returncode}: {said}")
        return ran

    def spawn(self, command, privileges=()):
        """Starts a process that the lab ends."""
        process = subprocess.Popen(
            [*privileges, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
            preexec_fn=self.enter,
        )
        self.router.lab.processes.append(process)
        return process

    def files(self):
        """All of /etc/config, by name."""
        return {path.name: path.read_bytes() for path in sorted((self.path / "etc/config").iterdir())}
