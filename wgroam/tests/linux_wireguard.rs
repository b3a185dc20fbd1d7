// SPDX-License-Identifier: GPL-2.0-only
//! WireGuard in user space: wireguard-go over its socket. Needs root, wireguard-go and wireguard-tools.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::any::Any;

mod common;
#[path = "common/wireguard.rs"]
mod wireguard;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Instant;

use common::{enter_own_network, run, wireguard_go};
use wgroam::linux::wireguard::{Error, WireGuard};

fn create(interface: &str) -> Box<dyn Any> {
    Box::new(wireguard_go(interface))
}

#[test]
fn device_reads_as_wg_shows_it() {
    wireguard::device_reads_as_wg_shows_it(create);
}

#[test]
fn device_without_a_key_has_none() {
    wireguard::device_without_a_key_has_none(create);
}

#[test]
fn endpoint_is_set_and_nothing_else_changes() {
    wireguard::endpoint_is_set_and_nothing_else_changes(create, &["192.0.2.1:51820", "[2001:db8::1]:443"]);
}

#[test]
fn unknown_peer_is_not_created() {
    wireguard::unknown_peer_is_not_created(create);
}

#[test]
fn poke_sends_exactly_one_packet_and_leaves_the_keepalive() {
    wireguard::poke_sends_exactly_one_packet_and_leaves_the_keepalive(create);
}

#[test]
fn another_port_is_taken_at_once_and_the_session_survives() {
    wireguard::another_port_is_taken_at_once_and_the_session_survives(create);
}

#[test]
fn a_peer_added_again_is_as_before_and_begins_a_handshake() {
    wireguard::a_peer_added_again_is_as_before_and_begins_a_handshake(create);
}

#[test]
fn a_peer_that_is_not_there_is_not_added() {
    wireguard::a_peer_that_is_not_there_is_not_added(create);
}

#[test]
fn missing_and_foreign_interfaces_are_told_apart() {
    wireguard::missing_and_foreign_interfaces_are_told_apart(create);
}

/// A program that listens for wg0, answers every request with this text, and keeps the connection open.
fn impostor(answer: &'static str) -> std::thread::JoinHandle<()> {
    let _ = std::fs::remove_file("/run/wireguard/wg0.sock");
    let listener = UnixListener::bind("/run/wireguard/wg0.sock").unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // Until the other side hangs up.
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn ask(answer: &'static str) -> Error {
    let impostor = impostor(answer);
    let error = WireGuard::new().device("wg0".parse().unwrap()).unwrap_err();
    impostor.join().unwrap();
    error
}

#[test]
fn a_stuck_program_is_given_up_and_nonsense_is_refused() {
    enter_own_network();
    run("ip tuntap add dev wg0 mode tun");
    let start = Instant::now();
    let error = ask("private_key=");
    assert_eq!(error.to_string(), "wg0: the program that runs this interface does not answer");
    // After a second; the impostor never does.
    assert!((900..30_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());

    assert!(matches!(ask("listen_port=-1\n\n"), Error::Malformed(..)));
    assert!(matches!(ask("public_key=00\n"), Error::Malformed(..)));
    let error = ask("errno=-13\n\n");
    assert!(matches!(&error, Error::Io(_, error) if error.raw_os_error() == Some(13)), "{error}");
    let long: &str = Box::leak("x".repeat(5000).into_boxed_str());
    assert!(matches!(ask(long), Error::Malformed(_, "a line is too long")));
}

/// wireguard-go that was killed leaves its socket behind; the name may be somebody else's TUN device by now.
#[test]
fn a_socket_left_behind_is_no_wireguard() {
    enter_own_network();
    run("ip tuntap add dev wg0 mode tun");
    drop(UnixListener::bind("/run/wireguard/wg0.sock").unwrap());
    let mut wireguard = WireGuard::new();
    let error = wireguard.device("wg0".parse().unwrap()).unwrap_err();
    assert!(matches!(error, Error::NotWireGuard(_)), "{error}");
    assert_eq!(wireguard.interfaces().unwrap(), []);
}

#[test]
fn whoever_may_not_is_told_so() {
    wireguard::whoever_may_not_is_told_so(create, "wg0: may not open /var/run/wireguard/wg0.sock; ");
}
