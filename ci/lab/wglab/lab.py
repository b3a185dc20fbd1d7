# SPDX-License-Identifier: GPL-2.0-only
"""What one run owns, and that all of it goes away: also after Ctrl-C, and after kill -9 at the next start."""
import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

HOME = Path("/run/wgroam-lab")
NETNS = Path("/run/netns")
UP_SECONDS = 60  # seconds: a program that is not up by then does not come up; only a failure takes so long
GATE_SECONDS = 0.3  # from one look at a closed gate to the next


class LabError(Exception):
    """The lab itself failed: a tool is missing, a step did not work. Its text is for the person who runs it."""


def start_time(pid):
    """When a process started, in ticks since boot; None when there is none. With the pid it names a process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything; field 22 is the 20th after it (proc(5)).
    return stat.rpartition(")")[2].split()[19]


def remove_namespace(name):
    """Ends what still runs in a namespace of ours, and removes it."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split()
    for pid in pids:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def sweep():
    """Removes what runs left behind that were killed hard. Runs of living processes are left alone."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    with open(HOME / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in HOME.iterdir():
            pid, _, started = folder.name.partition("-")
            if not folder.is_dir() or start_time(pid) == started:
                continue
            for namespace in NETNS.glob(f"{prefix(pid)}*"):
                remove_namespace(namespace.name)
            shutil.rmtree(folder, ignore_errors=True)


def prefix(pid):
    """How the namespaces of the run of this process are called."""
    return f"wgl{pid}-"


class Gate:
    """A file that several runs at once share, so that none sets up, which takes a lot of CPU time, while another measures.
    A run begins with it locked: who starts runs waits for that, as the start itself is not for nothing (see Runs)."""

    def __init__(self, descriptor):
        """`descriptor`: of the locked file; None for a run that is alone."""
        self.descriptor = descriptor
        self.open = descriptor is None

    def _lock(self, how):
        if self.descriptor is not None:
            fcntl.flock(self.descriptor, how)
            self.open = how == fcntl.LOCK_UN

    def measure(self, wait):
        """Waits, by wait(seconds), until nobody sets up. Any number may measure at once: it is waiting, mostly."""
        # One that only looked now and then would find it locked by the next one, for minutes.
        locker = threading.Thread(target=self._lock, args=(fcntl.LOCK_SH,), daemon=True)
        locker.start()
        locker.join(GATE_SECONDS / 10)
        while locker.is_alive():
            wait(GATE_SECONDS)

    def share(self):
        """From now on others may measure too; nothing, when the gate is open."""
        if not self.open:
            self._lock(fcntl.LOCK_SH)

    def alone(self):
        """Waits until nobody else does either."""
        self._lock(fcntl.LOCK_EX)

    def release(self):
        """Now others may do either."""
        self._lock(fcntl.LOCK_UN)


class Lab:
    """One run's folder, namespaces and processes. A context manager: leaving it removes everything."""

    def __init__(self, narrate=lambda text: None, gate=None):
        """`narrate` is called with a line of text for each thing that happens; `gate`: the descriptor of a Gate."""
        self.narrate = narrate
        self.gate = Gate(gate)
        self.disturbed_at = None
        self.processes = []
        self.namespaces = []

    def __enter__(self):
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces: run it as root")
        for tool in ("ip", "nft", "conntrack", "wg"):
            if shutil.which(tool) is None:
                raise LabError(f"{tool} is missing; 'ci/need userspace-lab' installs it")
        sweep()
        self.folder = HOME / f"{os.getpid()}-{start_time(os.getpid())}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        return self

    def __exit__(self, *_):
        # A second Ctrl-C must not leave half of it behind.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            for process in self.processes:
                process.kill()
            for process in self.processes:
                process.wait()
            for name in self.namespaces:
                remove_namespace(name)
            shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def disturb(self):
        """Called by a verb just before the step that disturbs the network, or that ends a disturbance of several
        steps: silences are counted from here, the lab's own slowness included."""
        self.disturbed_at = time.monotonic()

    def since_disturbed(self):
        """Seconds from the disturbance until now."""
        return time.monotonic() - self.disturbed_at

    def namespace_name(self, node):
        """The name of a node's namespace, ours alone; removed at the end."""
        name = prefix(os.getpid()) + node
        self.namespaces.append(name)
        return name
