// SPDX-License-Identifier: GPL-2.0-only
//! The whole binary against a real WireGuard interface (wireguard-go) in a namespace: how it starts and stops, what it
//! says to bad input, what it costs while nothing happens. Needs root; without it these tests fail.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod configuration;
mod pair;
mod roaming;
mod world;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use world::{PATIENCE, World, count_in_memory, count_wakes, exists, process_status, wait};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_configuration_every_interface_is_watched() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    world.wireguard("wg1", 51821);
    let _daemon = world.daemon(&["--config", "/dev/null"]);
    let status = world.wgroam(&["status"]);
    assert_eq!(status.status.code(), Some(0));
    for words in [
        "wg0: up, port 51820, 0 of 1 peers alive",
        "wg1: up, port 51821",
        &world.peer("wg0"),
        "it has not called yet",
    ] {
        assert!(out(&status).contains(words), "no '{words}' in\n{}", out(&status));
    }
    assert!(out(&status).lines().all(|line| line.chars().count() <= 80), "{}", out(&status));
    assert_eq!(world.wgroam(&["status", "wg0"]).status.code(), Some(1), "no peer is alive: the answer is no");
    assert_eq!(world.wgroam(&["status", "wg7"]).status.code(), Some(1));
    let poke = world.wgroam(&["poke", "wg0"]);
    assert_eq!(poke.status.code(), Some(1));
    assert!(err(&poke).contains("nobody knows where they are"), "{}", err(&poke));
}

#[test]
fn an_interface_that_comes_later_is_found_and_one_that_vanishes_is_missed() {
    let mut world = World::new();
    let daemon = world.daemon(&["--config", "/dev/null"]);
    assert!(out(&world.wgroam(&["status"])).contains("no WireGuard interface"));
    let carrier = world.wireguard("wg0", 51820);
    daemon.says("wg0: watching it");
    world::succeed(Command::new("kill").arg(carrier.to_string()));
    daemon.says("wg0: gone");
    wait("status to say so", || out(&world.wgroam(&["status"])).contains("wg0: is not there"));
    world.wireguard("wg0", 51820);
    wait("it to be back", || out(&world.wgroam(&["status"])).contains("wg0: up"));
}

/// A program that hangs for a moment is not gone: nothing would tell when it is back.
#[test]
fn a_wireguard_that_does_not_answer_for_a_while_is_not_given_up() {
    let mut world = World::new();
    let carrier = world.wireguard("wg0", 51820);
    let daemon = world.daemon(&["--config", "/dev/null"]);
    daemon.says("wg0: watching it");
    world::succeed(Command::new("kill").args(["-STOP", &carrier.to_string()]));
    daemon.signal("HUP");
    daemon.says("does not answer");
    // Several looks later.
    std::thread::sleep(Duration::from_secs(6));
    world::succeed(Command::new("kill").args(["-CONT", &carrier.to_string()]));
    let log = daemon.log();
    assert!(!log.contains("gone"), "{log}");
    assert_eq!(log.matches("does not answer").count(), 1, "{log}");
    world.sh("wg set wg0 listen-port 51999");
    wait("it to be looked at again", || out(&world.wgroam(&["status"])).contains("up, port 51999"));
}

#[test]
fn a_second_daemon_is_told_who_is_there() {
    let mut world = World::new();
    let daemon = world.daemon(&["--config", "/dev/null"]);
    let second = world.wgroam(&["run", "--foreground", "--config", "/dev/null"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(err(&second).contains(&format!("pid {}", daemon.pid())), "{}", err(&second));
    assert!(world.wgroam(&["status"]).status.success(), "the first one goes on");
}

/// A shell that starts a daemon and waits, as a jail does: both their processes.
fn jailed(world: &mut World, options: &str) -> (u32, u32) {
    let line = format!(
        "{} --runtime-dir {} run --foreground --config /dev/null {options} & echo $! >{}; wait",
        env!("CARGO_BIN_EXE_wgroam"),
        world.runtime().display(),
        world.dir.join("pid").display(),
    );
    let mut shell = world.command("sh");
    shell.args(["-c", &line]);
    let jail = world.background("jail", &mut shell);
    wait("the daemon to answer", || world.wgroam(&["status"]).status.success());
    let pid = fs::read_to_string(world.dir.join("pid")).unwrap();
    (jail, pid.trim().parse().unwrap())
}

fn kill(pid: u32) {
    world::succeed(Command::new("kill").args(["-KILL", &pid.to_string()]));
}

#[test]
fn a_daemon_whose_jail_was_killed_ends_cleanly_and_the_next_one_starts() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    let (jail, daemon) = jailed(&mut world, "--end-with-parent");
    kill(jail);
    let socket = world.runtime().join("control.sock");
    wait("the daemon to end", || !exists(format!("/proc/{daemon}").as_ref()));
    assert!(!exists(&socket), "it cleaned up");
    world.daemon(&["--config", "/dev/null"]);
}

#[test]
fn a_daemon_outlives_the_shell_that_started_it() {
    let mut world = World::new();
    let (shell, daemon) = jailed(&mut world, "");
    kill(shell);
    std::thread::sleep(Duration::from_millis(500));
    let lives = world.wgroam(&["status"]).status.success();
    kill(daemon);
    assert!(lives);
}

#[test]
fn a_daemon_whose_jail_is_gone_before_it_begins_does_not_start() {
    let world = World::new();
    // In a namespace where the shell is init, which is who gets a child that has lost its parent.
    let line = format!(
        "{} --runtime-dir {} run --foreground --config /dev/null --end-with-parent; exit $?",
        env!("CARGO_BIN_EXE_wgroam"),
        world.runtime().display(),
    );
    let output =
        world.command("timeout").args(["10", "unshare", "-p", "-f", "sh", "-c", &line]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(!exists(&world.runtime().join("lock")));
}

#[test]
fn without_a_daemon_the_answer_is_three() {
    let world = World::new();
    let status = world.wgroam(&["status"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(err(&status).contains("wgroam run"), "the remedy: {}", err(&status));
}

#[test]
fn a_clean_stop_leaves_nothing_and_a_crash_is_mended() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    let daemon = world.daemon(&["--config", "/dev/null"]);
    let socket = world.runtime().join("control.sock");
    daemon.signal("KILL");
    assert_eq!(daemon.exit(), None);
    assert!(exists(&socket), "a crash leaves its socket");
    let daemon = world.daemon(&["--config", "/dev/null"]);
    daemon.signal("TERM");
    assert_eq!(daemon.exit(), Some(0));
    assert!(!exists(&socket));
}

#[test]
fn a_fault_says_where_it_was_and_ends_the_process() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    for signal in ["TRAP", "SEGV", "ABRT"] {
        let daemon = world.daemon(&["--config", "/dev/null"]);
        daemon.signal(signal);
        assert_eq!(daemon.exit(), None, "ended by the signal");
    }
    let log = fs::read_to_string(world.dir.join("daemon.log")).unwrap();
    for number in [5, 11, 6] {
        let line = format!(
            "wgroam: error: a fault of its own, please report it: wgroam {}, {}, signal {number} at 0x",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::ARCH
        );
        let address = log.split_once(&line).unwrap_or_else(|| panic!("no '{line}' in\n{log}")).1;
        let address = address.split_once('\n').unwrap().0;
        assert!(usize::from_str_radix(address, 16).unwrap() > 0x1000, "{address}");
    }
}

#[test]
fn a_state_file_full_of_garbage_is_set_aside() {
    let mut world = World::new();
    let state = world.dir.join("state");
    fs::write(&state, [0x9f; 4096]).unwrap();
    let daemon = world.daemon(&["--config", "/dev/null", "--state", state.to_str().unwrap()]);
    daemon.says("state.corrupt");
    assert!(exists(&world.dir.join("state.corrupt")) && !exists(&state));
}

#[test]
fn without_privileges_it_says_which_are_missing() {
    let world = World::new();
    fs::create_dir(world.dir.join("run")).unwrap();
    world.sh(&format!("chmod 755 {0}; chown nobody {0}/run", world.dir.display()));
    // The tree that the tests were built in may be closed to others.
    let copy = world.dir.join("wgroam");
    fs::copy(env!("CARGO_BIN_EXE_wgroam"), &copy).unwrap();
    let mut command = world.command("setpriv");
    command
        .args(["--reuid", "nobody", "--clear-groups", "--"])
        .arg(copy)
        .arg("--runtime-dir")
        .arg(world.runtime());
    let output = command.args(["run", "--foreground", "--config", "/dev/null"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("CAP_NET_RAW"), "{}", err(&output));
}

#[test]
fn a_flooded_control_socket_still_serves_its_owner() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    let daemon = world.daemon(&["--config", "/dev/null"]);
    let socket = world.runtime().join("control.sock");
    let before = process_status(daemon.pid(), "VmRSS:");
    let begun = Instant::now();
    assert!(world.wgroam(&["status"]).status.success());
    let quiet = begun.elapsed();
    let mut open = Vec::new();
    for i in 0..1_000 {
        // Half of them say nothing, half send what is no request.
        if let Ok(mut stream) = UnixStream::connect(&socket) {
            if i % 2 == 0 {
                let _ = stream.write_all(&[0xff; 4096]);
            }
            open.push(stream);
        }
        if open.len() > 100 {
            open.remove(0);
        }
    }
    let begun = Instant::now();
    let status = world.wgroam(&["status"]);
    assert!(status.status.success(), "{}", err(&status));
    // Who has to wait until the others have used up their time waits for 5 s.
    let flooded = begun.elapsed();
    assert!(flooded < Duration::from_secs(2) + 10 * quiet, "{flooded:?}, without a flood {quiet:?}");
    let after = process_status(daemon.pid(), "VmRSS:");
    assert!(after < before + 512, "{before} KB before, {after} KB after");

    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"make me a sandwich\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("2 ") && answer.contains("'make'"), "{answer}");
}

#[test]
fn a_flood_does_not_wake_the_daemon_for_each_packet() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    let daemon = world.daemon(&["--config", "/dev/null"]);
    daemon.says("wg0: watching it");
    let attacker = world.udp_socket();
    let mut packet = [0; 148];
    packet[0] = 1;
    let wakes = || process_status(daemon.pid(), "voluntary_ctxt_switches:");
    let (before, begun) = (wakes(), Instant::now());
    for _ in 0..4_000 {
        attacker.send_to(&packet, "127.0.0.1:51820").unwrap();
        std::thread::sleep(Duration::from_micros(250));
    }
    // A wake for each rest of 20 ms, one for what came with its end, and some for all else.
    let most = begun.elapsed().as_millis() as u64 / 10 + 50;
    let wakes = wakes() - before;
    assert!(wakes < most, "{wakes} in {:?}", begun.elapsed());
    // It was heard all the same, and one that comes later is.
    let heard = || out(&world.wgroam(&["status"]));
    wait("the flood to be told", || heard().contains("calls with another public key"));
    // On a busy machine the daemon may get no turn for so long that its socket is full: the kernel counts what it drops.
    let counted = || -> u64 {
        let text = heard();
        let line = text.lines().find(|line| line.contains(" times, last ")).unwrap_or_default();
        line.split([',', ' ']).filter_map(|word| word.parse().ok()).next().unwrap_or(0)
    };
    wait("every packet to be counted, here or by the kernel", || {
        counted() + world.packets_without_room() == 4000
    });
    let before = counted();
    println!("{before} of 4000 heard, the others found no room; {wakes} wake-ups");
    attacker.send_to(&packet, "127.0.0.1:51820").unwrap();
    wait("the last one", || counted() == before + 1);
}

#[test]
fn watch_tells_what_happens_as_text_and_json() {
    let mut world = World::new();
    let _daemon = world.daemon(&["--config", "/dev/null"]);
    let file = world.dir.join("watch.json");
    let mut watch =
        world.wgroam_command(&["watch", "--json"]).stdout(fs::File::create(&file).unwrap()).spawn().unwrap();
    let connected = || world.sh("ss -Hx state connected").contains("control.sock");
    wait("the watcher to be connected", connected);
    std::thread::sleep(Duration::from_millis(200));
    world.wireguard("wg0", 51820);
    wait("the event", || fs::read_to_string(&file).unwrap().contains("\"event\":\"device-found\""));
    let _ = watch.kill();
    let _ = watch.wait();
}

#[test]
fn a_quiet_tunnel_wakes_the_daemon_at_most_once_in_five_seconds() {
    let mut world = World::new();
    world.wireguard("wg0", 51820);
    // A keepalive is a reason to look: the busier of the two quiet cases.
    let peer = world.peer("wg0");
    world.sh(&format!("wg set wg0 peer {peer} persistent-keepalive 25"));
    let daemon = world.daemon(&["--config", "/dev/null"]);
    std::thread::sleep(Duration::from_secs(6));
    let (wakes, time) = count_wakes(&daemon, &world.dir, Duration::from_secs(21));
    assert!(wakes >= 1 && wakes as u64 <= time.as_secs() / 5 + 1, "{wakes} in {time:?}");
}

#[test]
fn the_private_key_is_in_memory_once_and_gone_with_the_interface() {
    let mut world = World::new();
    let carrier = world.wireguard("wg0", 51820);
    let text = fs::read_to_string(world.dir.join("wg0.key")).unwrap();
    let text = text.trim();
    // The same key once more where OpenWrt keeps it: as it should be, and broken in several ways.
    let section = format!("config wireguard_wg0\n\toption public_key '{}'\n", world.peer("wg0"));
    let network = format!(
        "config interface 'wg0'\n\toption proto 'wireguard'\n\toption private_key '{text}'\n\n{section}\
         \toption preshared_key \"{text}\"\n\toption description 'it\'s'\n\toption endpoint_host '192.0.2.1'\n"
    );
    let config = world.etc("network", network.replace("it's", "its"));
    let daemon = world.daemon(&["--config", config.to_str().unwrap()]);
    daemon.says("wg0: watching it");
    daemon.says("peer 'its' of wg0 is dialed at 192.0.2.1:51820");
    for broken in
        [network.clone(), network.replace("private_key '", "private_key = '"), format!("{network}{text}\n")]
    {
        world.etc("network", broken);
        let before = daemon.log().matches("nothing new is taken over").count();
        daemon.signal("HUP");
        wait("the warning", || daemon.log().matches("nothing new is taken over").count() > before);
    }
    // As the init script hands it over, with bytes that are no UTF-8.
    let latin = [network.replace("it's", "").as_bytes(), b"\toption description 'Caf\xe9'\n"].concat();
    world.etc("wgroam", [b"package wgroam\npackage network\n", &latin[..]].concat());
    daemon.signal("HUP");
    daemon.says("peer 'Caf' of wg0 is dialed at 192.0.2.1:51820");
    std::thread::sleep(Duration::from_secs(4));
    let mut key = [0; 32];
    Base64::decode(text, &mut key).unwrap();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let pid = daemon.pid();
    assert_eq!(count_in_memory(pid, &key), 1, "the responder's own copy");
    assert_eq!(count_in_memory(pid, hex.as_bytes()), 0, "the text from the socket is wiped");
    assert_eq!(count_in_memory(pid, text.as_bytes()), 0, "what was read with package network is wiped");
    assert!(!daemon.log().contains(&text[..8]), "{}", daemon.log());
    world::succeed(Command::new("kill").arg(carrier.to_string()));
    daemon.says("wg0: gone");
    assert_eq!(count_in_memory(pid, &key), 0);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_ascii_whitespace().nth(4), Some("0"), "{core}");
}
