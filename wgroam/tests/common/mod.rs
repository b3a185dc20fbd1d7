// SPDX-License-Identifier: GPL-2.0-only
//! What tests against the real system share: a network of their own, programs that end with the test.
//! Needs root; a test that can't have it fails.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Moves this thread into a network and a /run of its own; programs that it starts live there too. All of it goes
/// when the thread and its programs end.
pub fn enter_own_network() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("needs root (CAP_SYS_ADMIN)");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    std::fs::create_dir("/run/wireguard").unwrap();
    run("ip link set lo up");
}

/// Runs a command line (split at spaces) and returns what it said; it has to succeed.
pub fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a shell script; it has to succeed.
pub fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-euc", script]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A program that is ended with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What takes longer will not come any more. It ends with what is waited for, so that only a failure takes so long, and a
/// machine that is busy with something else may take most of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds, with patience.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The value once it has been the same for half a second.
pub fn settled<T: PartialEq>(mut value: impl FnMut() -> T) -> T {
    let start = Instant::now();
    let mut before = value();
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = value();
        if now == before {
            return now;
        }
        assert!(start.elapsed() < PATIENCE, "it does not settle");
        before = now;
    }
}

/// Starts wireguard-go for an interface, and waits for its socket.
pub fn wireguard_go(interface: &str) -> Process {
    let child = Command::new("wireguard-go")
        .args(["-f", interface])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("needs wireguard-go");
    let process = Process(child);
    wait_until("wireguard-go listens", || {
        std::path::Path::new(&format!("/run/wireguard/{interface}.sock")).exists()
    });
    process
}
