// SPDX-License-Identifier: GPL-2.0-only
//! A network namespace of the test's own, with wireguard-go interfaces and a wgroam in it. Needs root and Debian's
//! iproute2, wireguard-go and wireguard-tools; without them a test fails and says which command did not work.

use std::fs;
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What takes longer will not come any more. A wait ends with what it is for: only a failure takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Everything in it ends with it.
pub struct World {
    namespace: String,
    /// A folder of its own.
    pub dir: PathBuf,
    children: Vec<Child>,
}

impl World {
    pub fn new() -> Self {
        let name = format!("wgrd{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(dir.join("wireguard")).unwrap();
        succeed(Command::new("ip").args(["netns", "add", &name]));
        let world = World { namespace: name, dir, children: Vec::new() };
        world.sh("ip link set lo up");
        world
    }

    /// A command in the namespace, with /var/run/wireguard of its own, and /etc/resolv.conf if there is one in the folder.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let script = "mkdir -p /var/run/wireguard && mount --bind \"$1/wireguard\" /var/run/wireguard
            [ ! -f \"$1/resolv.conf\" ] || mount --bind \"$1/resolv.conf\" /etc/resolv.conf
            shift && exec \"$@\"";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "unshare", "-m", "sh", "-ec", script, "sh"]);
        command.arg(&self.dir).arg(program).stdin(Stdio::null());
        command
    }

    /// A UDP socket in the namespace.
    pub fn udp_socket(&self) -> UdpSocket {
        self.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    /// Opens something in the namespace. A namespace is a thread's own; a socket stays in the one that it was made in.
    pub fn inside<T: Send + 'static>(&self, open: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = fs::File::open(Path::new("/run/netns").join(&self.namespace)).unwrap();
        let thread = std::thread::spawn(move || {
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            open()
        });
        thread.join().unwrap()
    }

    /// The name that `ip` knows the namespace by.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How many packets the packet sockets in the namespace had no room for. A kernel that can't tell says none.
    pub fn packets_without_room(&self) -> u64 {
        let said = self.sh("ss -H -0 -m");
        let counts = said.split("skmem:(").skip(1).filter_map(|rest| rest.split(')').next());
        counts.filter_map(|counts| counts.rsplit(",d").next()?.parse::<u64>().ok()).sum()
    }

    /// A shell line in the namespace; it has to succeed.
    pub fn sh(&self, line: &str) -> String {
        succeed(self.command("sh").args(["-ec", line]))
    }

    /// A WireGuard interface that is up, with a fresh key and one peer. Returns the process that carries it.
    pub fn wireguard(&mut self, name: &str, port: u16) -> u32 {
        let pid = self.bare_wireguard(name);
        self.sh(&format!(
            "wg genkey >{dir}/{name}.key; wg genkey | wg pubkey >{dir}/{name}.peer
             wg set {name} listen-port {port} private-key {dir}/{name}.key \
                peer $(cat {dir}/{name}.peer) allowed-ips fd00::2/128
             ip link set up dev {name}",
            dir = self.dir.display()
        ));
        pid
    }

    /// A WireGuard interface without any configuration. Returns the process that carries it.
    pub fn bare_wireguard(&mut self, name: &str) -> u32 {
        let mut command = self.command("wireguard-go");
        command.args(["-f", name]);
        let pid = self.background(name, &mut command);
        let socket = self.dir.join(format!("wireguard/{name}.sock"));
        wait(&format!("{name} to come up"), || socket.exists());
        pid
    }

    /// Starts a program that ends with the world; what it says is in NAME.log.
    pub fn background(&mut self, name: &str, command: &mut Command) -> u32 {
        let log = fs::File::create(self.dir.join(format!("{name}.log"))).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let pid = child.id();
        self.children.push(child);
        pid
    }

    /// The public key of the one peer that [`World::wireguard`] made.
    pub fn peer(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(format!("{name}.peer"))).unwrap().trim().to_string()
    }

    /// Writes a configuration file.
    pub fn config(&self, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join("config");
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a file of an /etc/config of its own. Returns the path of wgroam's, which is empty until
    /// it is written.
    pub fn etc(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let folder = self.dir.join("etc/config");
        fs::create_dir_all(&folder).unwrap();
        if !folder.join("wgroam").exists() {
            fs::write(folder.join("wgroam"), "").unwrap();
        }
        fs::write(folder.join(name), text).unwrap();
        folder.join("wgroam")
    }

    /// `wgroam --runtime-dir … ARGS` to its end.
    pub fn wgroam(&self, args: &[&str]) -> Output {
        self.wgroam_command(args).output().unwrap()
    }

    pub fn wgroam_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_wgroam"));
        command.arg("--runtime-dir").arg(self.runtime()).args(args);
        command
    }

    pub fn runtime(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// A daemon that answers.
    pub fn daemon(&mut self, args: &[&str]) -> Daemon {
        let daemon = self.daemon_unready(args);
        wait("the daemon to answer", || self.wgroam(&["status"]).status.success());
        daemon
    }

    pub fn daemon_unready(&mut self, args: &[&str]) -> Daemon {
        let log = self.dir.join("daemon.log");
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        let state = self.dir.join("lasting/state");
        let mut command = self.wgroam_command(&["run", "--foreground"]);
        if !args.contains(&"--state") {
            command.arg("--state").arg(state);
        }
        command.args(args).stdout(Stdio::null()).stderr(file);
        // Its own group, so that a signal to it never reaches the test.
        command.process_group(0);
        Daemon { child: command.spawn().unwrap(), log }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A wgroam that runs. `ip netns exec` and `unshare` exec, so its pid is the child's.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        succeed(Command::new("kill").args([format!("-{signal}"), self.pid().to_string()]));
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log has this text.
    pub fn says(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "no '{text}' in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end; the exit code.
    pub fn exit(mut self) -> Option<i32> {
        wait("the daemon to end", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits, with patience.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command that has to succeed; its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A value of /proc/PID/status.
pub fn process_status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How often the daemon wakes up in this time: how often epoll returns; and how long it was really watched, which a busy
/// machine draws out.
pub fn count_wakes(daemon: &Daemon, dir: &Path, time: Duration) -> (usize, Duration) {
    let begun = Instant::now();
    let trace = dir.join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=epoll_wait,epoll_pwait", "-o"]).arg(&trace);
    strace.args(["-p", &daemon.pid().to_string()]).stderr(Stdio::null());
    let mut strace = strace.spawn().expect("strace is needed");
    std::thread::sleep(time);
    succeed(Command::new("kill").arg(strace.id().to_string()));
    let _ = strace.wait();
    let watched = begun.elapsed();
    let text = fs::read_to_string(&trace).unwrap();
    (text.lines().filter(|line| line.contains("epoll") && line.contains(" = ")).count(), watched)
}

/// The time that all threads of a process have run, in nanoseconds (Documentation/scheduler/sched-stats.rst).
pub fn run_time(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let time = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    tasks.filter_map(|task| time(task.ok()?)).sum()
}

/// How often `needle` stands in the memory of a process.
pub fn count_in_memory(pid: u32, needle: &[u8]) -> usize {
    use std::io::{Seek, SeekFrom};
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split_ascii_whitespace().next().unwrap().split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        memory.seek(SeekFrom::Start(start)).unwrap();
        if memory.read_exact(&mut bytes).is_ok() {
            found += bytes.windows(needle.len()).filter(|window| window == &needle).count();
        }
    }
    found
}

/// Is it there?
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
