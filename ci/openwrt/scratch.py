# SPDX-License-Identifier: GPL-2.0-only
"""A scratch root that looks like OpenWrt's as far as the packages' scripts see it: busybox ash, the real uci and jshn,
stand-ins for procd's functions, hotplug-call and ubus, and the packages as the feed's Makefile lays them out."""
import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
sys.path.insert(0, str(TREE / "ci" / "lab"))
from wglab.openwrt import uci  # noqa: E402

FILES = TREE / "feed/net/wgroam/files"
# Of one source, with the program of each that is compiled.
PACKAGES = {"wgroam": "wgroam", "wgroam-tools": "wgroam-diagnose"}
USER = 431  # of wgroam, and its group
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}

# Programs of this machine that OpenWrt has too and busybox here has not, and what the tests themselves need.
BORROWED = {"flock": "usr/bin/flock", "setpriv": "test/setpriv", "wireguard-go": "test/wireguard-go", "wg": "test/wg"}

STAND_INS = {
    "rc.common": "etc/rc.common",
    "functions.sh": "lib/functions.sh",
    "procd.sh": "lib/functions/procd.sh",
    "hotplug-call": "sbin/hotplug-call",
    "ubus": "bin/ubus",
    "validate_data": "sbin/validate_data",
}


def wait(what, condition, seconds=60.0):
    """Until it is true; a test that waits in vain says for what. Only a failure takes so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.005)


def libraries(program):
    """What a program loads, the loader included."""
    ran = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    words = [word for line in ran.stdout.splitlines() for word in line.split() if word.startswith("/")]
    return [Path(word) for word in words]


@functools.cache
def template():
    """What no test changes, made once, in memory: `base`, whose files are linked into each root, and the packages, `stage`."""
    folder = Path(tempfile.mkdtemp(prefix="wgroam-openwrt."))
    subprocess.run(["mount", "-t", "tmpfs", "wgroam-openwrt", folder], check=True)
    # Last in, first out: the mount, then its folder, which is the machine's.
    atexit.register(folder.rmdir)
    atexit.register(subprocess.run, ["umount", "--lazy", folder], check=False)
    os.chmod(folder, 0o755)
    binaries = Path(os.environ["WGROAM_BINARIES"])
    fill(folder / "base", Path(os.environ["WGROAM_UCI"]), binaries, BORROWED)
    stage(folder / "stage", binaries)
    return folder


def stage(folder, binaries):
    """Has the feed's Makefile lay both packages out in the folder, with the programs there."""
    subprocess.run([TREE / "ci/buildroot/stage", folder, binaries], check=True)


def staged(package):
    """What the package is made of: its files in root/, its fields in control, its conffiles and scripts."""
    return template() / "stage" / package


def install(package, base):
    """Puts the files of a package, as stage() left it, into a root."""
    shutil.copytree(package / "root", base, dirs_exist_ok=True)


def fill(base, uci_program, binaries, borrowed):
    """Puts there what is of no package of ours: the real `uci`, busybox, programs borrowed, stand-ins, and what these and
    our own programs load."""
    programs = {
        Path("/bin/busybox"): "bin/busybox",
        uci_program: "sbin/uci",
        uci_program.parent / "jshn": "usr/bin/jshn",
        uci_program.parent / "jshn.sh": "usr/share/libubox/jshn.sh",
    }
    programs.update({Path(shutil.which(name)): target for name, target in borrowed.items()})
    programs.update({HERE / "stand-in" / name: target for name, target in STAND_INS.items()})
    for source, target in programs.items():
        (base / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, base / target)
    for source in (*programs, *(binaries / name for name in PACKAGES.values())):
        for library in libraries(source):
            copy = base / str(library)[1:]
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, copy)
    for applet in ("sh", "ash", "cat", "mkdir", "rm", "mv", "ls", "awk", "find", "logger", "mktemp", "mkfifo"):
        (base / "bin" / applet).symlink_to("busybox")


MARK = b"\0mark"  # nobody logs this


class Log:
    """The system's log: what arrives at /dev/log, each with the time when it did."""

    def __init__(self, path):
        self.lines = []
        self.path = str(path)
        self.asked, self.reached = 0, 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.chmod(path, 0o666)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                record = self.socket.recv(65536)
            except OSError:
                return
            if record == MARK:
                self.reached += 1
                continue
            self.lines.append((time.monotonic(), record.decode(errors="replace").rstrip("\0\n")))

    def catch_up(self):
        """What has been written so far waits in the socket, until the reader had its turn."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as writer:
            writer.sendto(MARK, self.path)
            self.asked += 1
            wait("the log to be read", lambda: self.reached >= self.asked)

    def times(self, text):
        """When lines with this text arrived."""
        self.catch_up()
        return [at for at, line in list(self.lines) if text in line]

    def text(self):
        """All of it."""
        self.catch_up()
        return "\n".join(line for _, line in list(self.lines))

    def close(self):
        """Ends the reader."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Root:
    """One scratch root, with the packages in it that are named, and without any trace of the other."""

    def __init__(self, ujail=True, user=True, packages=tuple(PACKAGES)):
        self.path = Path(tempfile.mkdtemp(prefix="root.", dir=template()))
        os.chmod(self.path, 0o755)
        shutil.copytree(template() / "base", self.path, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
        for package in packages:
            install(staged(package), self.path)
        self.furnish(ujail, user)
        subprocess.run(["mount", "-t", "proc", "proc", self.path / "proc"], check=True)
        self.log = Log(self.path / "dev/log")
        self.processes = []

    def furnish(self, ujail, user):
        """Folders and users, and what says that there is ujail."""
        for folder in ("proc", "dev", "etc/config", "etc/rc.d", "tmp/run", "tmp/lock", "tmp/.uci"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        os.chmod(self.path / "tmp", 0o1777)
        (self.path / "var").symlink_to("tmp")
        os.mknod(self.path / "dev/null", 0o666 | 0o020000, os.makedev(1, 3))
        os.chmod(self.path / "dev/null", 0o666)
        account = f"wgroam:x:{USER}:{USER}:wgroam:/var/run/wgroam:/bin/false\n" if user else ""
        (self.path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/ash\n" + account)
        (self.path / "etc/group").write_text("root:x:0:\n" + (f"wgroam:x:{USER}:wgroam\n" if user else ""))
        if ujail:
            self.write("sbin/ujail", "", 0o755)

    def close(self):
        """Ends what runs in it, and removes it."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for pid in self.processes_in_it():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait("all processes to end", lambda: not self.processes_in_it())
        self.log.close()
        subprocess.run(["umount", self.path / "proc"], check=True)
        shutil.rmtree(self.path)

    def write(self, name, text, mode=0o644):
        """A file, replaced as a whole."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        os.chmod(path, mode)
        return path

    def read(self, name):
        """A file's text."""
        return (self.path / name).read_text()

    def config(self, wgroam=None, network=None):
        """Puts packages of UCI there."""
        for name, text in (("wgroam", wgroam), ("network", network)):
            if text is not None:
                self.write(f"etc/config/{name}", text, 0o600)

    def run(self, *words, stdin="", check=False, **environment):
        """Runs something to its end, as procd, netifd or rpcd would: with next to nothing in its environment."""
        environment.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        ran = subprocess.run(
            ["/usr/sbin/chroot", self.path, *words],
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
            preexec_fn=self.enter,
        )
        assert not check or ran.returncode == 0, f"{words}: exit code {ran.returncode}: {ran.stderr}"
        return ran

    def enter(self):
        """In the child, before it is in the root: nothing here."""

    def sections(self, package):
        """A package of UCI, as the real `uci` reads it."""
        return uci.parse(self.run("/sbin/uci", "export", package, check=True).stdout)

    def init(self, action):
        """The init script."""
        return self.run("/etc/init.d/wgroam", action)

    def hotplug(self, kind, **environment):
        """An event, as netifd or procd tells of it."""
        return self.run("/sbin/hotplug-call", kind, **environment)

    def rpcd(self, method, arguments=None):
        """A call, as rpcd makes it; gives the answer."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        ran = self.run("/usr/libexec/rpcd/wgroam", "call", method, stdin=text)
        return json.loads(ran.stdout)

    def spawn(self, command, privileges=()):
        """Starts a process that is ended with the root."""
        process = subprocess.Popen(
            ["/usr/sbin/chroot", self.path, *privileges, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        self.processes.append(process)
        return process

    def daemon(self, instance):
        """Does what procd and ujail do with an instance: the command as it stands, user, group and capabilities from
        the file that it names, and no more."""
        privileges = []
        if "jail" in instance:
            sets = json.loads(self.read(instance["capabilities"][1:]))
            words = {name: [word.lower().removeprefix("cap_") for word in sets[name]] for name in sets}
            assert words["effective"] == words["permitted"] == words["ambient"], "setpriv can't tell them apart"
            privileges = ["/test/setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
            options = {"bounding-set": "bounding", "inh-caps": "inheritable", "ambient-caps": "ambient"}
            for option, name in options.items():
                privileges.append(f"--{option}=-all," + ",".join(f"+{word}" for word in words[name]))
            privileges += ["--no-new-privs"] if instance["no_new_privs"] else []
        process = self.spawn(instance["command"], privileges)
        self.write("tmp/daemon.pid", f"{process.pid}\n")
        socket_path = self.path / "tmp/run/wgroam/control.sock"
        wait("the daemon's socket", lambda: socket_path.exists() or process.poll() is not None)
        assert process.poll() is None, process.stderr.read()
        return process

    def calls(self, name):
        """What a stand-in wrote down, as lists of words."""
        path = self.path / "tmp" / f"{name}.calls"
        words = path.read_bytes().decode(errors="surrogateescape").split("\0") if path.exists() else [""]
        calls = []
        while len(words) > 1:
            count = int(words[0])
            calls.append(words[1 : 1 + count])
            words = words[1 + count :]
        return calls

    def forget_calls(self):
        """Of what was called so far."""
        (self.path / "tmp/ubus.calls").unlink(missing_ok=True)

    def told(self):
        """What procd was told, as (method, message)."""
        calls = [words for words in self.calls("ubus") if words[:2] == ["call", "service"]]
        return [(method, json.loads(message)) for _, _, method, message in calls]

    def service(self):
        """What procd was told last to run, its message as it came; None: nothing."""
        messages = [message for method, message in self.told() if method == "set"]
        for message in messages:
            assert message["name"] == "wgroam", message
        return messages[-1] if messages else None

    def instances(self):
        """The instances of that; None: procd was told nothing."""
        message = self.service()
        return message and message["instances"]

    def processes_in_it(self):
        """Processes that have this root."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and os.readlink(folder / "root") == str(self.path):
                    found.append(int(folder.name))
        return found

    def running_in_it(self):
        """What they are, as command lines."""
        found = []
        for pid in self.processes_in_it():
            with contextlib.suppress(OSError):
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found
