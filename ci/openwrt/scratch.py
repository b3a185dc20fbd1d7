# SPDX-License-Identifier: GPL-2.0-only
"""A scratch root that looks like OpenWrt's as far as the packages' scripts see it: busybox ash, the real uci and jshn,
stand-ins for procd's functions, hotplug-call and ubus, and the packages' files put there by their own `install`."""
import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
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


def template():
    """The part that no test changes, made once: in memory, whence its files are linked into each root."""
    folder = Path(tempfile.mkdtemp(prefix="wgroam-openwrt."))
    subprocess.run(["mount", "-t", "tmpfs", "wgroam-openwrt", folder], check=True)
    # Last in, first out: the mount, then its folder, which is the machine's.
    atexit.register(folder.rmdir)
    atexit.register(subprocess.run, ["umount", "--lazy", folder], check=False)
    os.chmod(folder, 0o755)
    fill(folder / "base", Path(os.environ["WGROAM_UCI"]), Path(os.environ["WGROAM_BINARIES"]) / "wgroam", BORROWED)
    return folder


def fill(base, uci, binary, borrowed):
    """Puts the programs there: the real `uci`, the daemon and what lies beside it, busybox, those borrowed, and stand-ins."""
    programs = {
        binary: "usr/sbin/wgroam",
        binary.parent / "wgroam-diagnose": "usr/sbin/wgroam-diagnose",
        Path("/bin/busybox"): "bin/busybox",
        uci: "sbin/uci",
        uci.parent / "jshn": "usr/bin/jshn",
        uci.parent / "jshn.sh": "usr/share/libubox/jshn.sh",
    }
    programs.update({Path(shutil.which(name)): target for name, target in borrowed.items()})
    programs.update({HERE / "stand-in" / name: target for name, target in STAND_INS.items()})
    for source, target in programs.items():
        (base / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, base / target)
        for library in libraries(source):
            copy = base / str(library)[1:]
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, copy)
    for applet in ("sh", "ash", "cat", "mkdir", "rm", "mv", "ls", "awk", "find", "logger", "mktemp", "mkfifo"):
        (base / "bin" / applet).symlink_to("busybox")


def install(package, base):
    """Puts the package's files there, but for what is compiled."""
    subprocess.run([FILES / "install", package, base], check=True)


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

    folder = None

    def __init__(self, ujail=True, user=True, packages=tuple(PACKAGES)):
        if Root.folder is None:
            Root.folder = template()
        self.path = Path(tempfile.mkdtemp(prefix="root.", dir=Root.folder))
        os.chmod(self.path, 0o755)
        shutil.copytree(Root.folder / "base", self.path, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
        for package, program in PACKAGES.items():
            if package in packages:
                install(package, self.path)
            else:
                (self.path / "usr/sbin" / program).unlink()
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
        )
        assert not check or ran.returncode == 0, f"{words}: exit code {ran.returncode}: {ran.stderr}"
        return ran

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
            sets = json.loads(self.read(instance["capabilities"][0][1:]))
            words = {name: [word.lower().removeprefix("cap_") for word in sets[name]] for name in sets}
            assert words["effective"] == words["permitted"] == words["ambient"], "setpriv can't tell them apart"
            privileges = ["/test/setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
            options = {"bounding-set": "bounding", "inh-caps": "inheritable", "ambient-caps": "ambient"}
            for option, name in options.items():
                privileges.append(f"--{option}=-all," + ",".join(f"+{word}" for word in words[name]))
            privileges += ["--no-new-privs"] if instance["no_new_privs"] == ["1"] else []
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
        for name in ("procd", "ubus"):
            (self.path / f"tmp/{name}.calls").unlink(missing_ok=True)

    def service(self):
        """What procd was told last, as (instances, triggers): an instance is a dict of its parameters, in `file` and
        `command` order; triggers are the calls of service_triggers."""
        instances, triggers = None, None
        for name, *words in self.calls("procd"):
            if name == "procd_open_service":
                assert words == ["wgroam", "/etc/init.d/wgroam"], words
                instances, triggers = {}, None
            elif name == "procd_open_instance":
                parameters = instances.setdefault(words[0], {})
            elif name == "procd_set_param":
                assert words[0] not in parameters, f"{words[0]} twice"
                parameters[words[0]] = words[1:]
            elif name == "procd_append_param":
                parameters.setdefault(words[0], []).extend(words[1:])
            elif name == "procd_add_jail":
                parameters["jail"] = words
            elif name == "procd_open_triggers":
                triggers = []
            elif name not in ("procd_close_instance", "procd_close_service", "procd_send_signal", "procd_kill"):
                triggers.append([name, *words])
        return instances, triggers

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
