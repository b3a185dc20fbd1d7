// SPDX-License-Identifier: GPL-2.0-only
//! What every WireGuard must do for wgroam, whoever runs it. Each check gets a function that creates an interface.

use std::any::Any;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use wgroam::linux::wireguard::{Error, WireGuard};
use wgroam::model::{Device, Interface, Peer, PublicKey};

use super::common::{enter_own_network, run, shell, wait_until};

/// Creates an interface; what it returns is dropped at the end of the test.
pub type Create = fn(&str) -> Box<dyn Any>;

fn wg0() -> Interface {
    "wg0".parse().unwrap()
}

fn genkey() -> (String, PublicKey) {
    let private = run("wg genkey").trim().to_string();
    let public = shell(&format!("echo {private} | wg pubkey"));
    (private, public.trim().parse().unwrap())
}

/// wg0 with a key and a port.
fn one(create: Create) -> (Box<dyn Any>, String) {
    enter_own_network();
    let interface = create("wg0");
    let (private, _) = genkey();
    shell(&format!("echo {private} >/run/key; wg set wg0 private-key /run/key listen-port 51820"));
    run("ip link set wg0 up");
    (interface, private)
}

/// What `wg show wg0 dump` says about a peer, without preshared key and allowed IPs.
fn as_wg_shows(peer: &Peer) -> String {
    let endpoint = peer.endpoint.map_or("(none)".into(), |endpoint| endpoint.to_string());
    let keepalive = if peer.keepalive == 0 { "off".into() } else { peer.keepalive.to_string() };
    let handshake = peer.last_handshake.map_or(0, |time| time.seconds);
    format!("{} {endpoint} {handshake} {} {} {keepalive}", peer.public_key, peer.rx_bytes, peer.tx_bytes)
}

fn peer(device: &Device, key: &PublicKey) -> Peer {
    *device.peers.iter().find(|peer| peer.public_key == *key).unwrap()
}

pub fn device_reads_as_wg_shows_it(create: Create) {
    let (_interface, private) = one(create);
    for rest in [
        "endpoint 192.0.2.1:51820 persistent-keepalive 25 preshared-key /run/key allowed-ips 10.0.0.1/32",
        "endpoint [2001:db8::1]:443 allowed-ips fd00::1/128,10.1.0.0/16",
        "persistent-keepalive 65535",
        "",
    ] {
        let (_, public) = genkey();
        run(&format!("wg set wg0 peer {public} {rest}"));
    }
    let (device, key) = WireGuard::new().device(wg0()).unwrap();

    let dump = run("wg show wg0 dump");
    let mut lines = dump.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let own = lines.next().unwrap();
    assert_eq!(own[0], private);
    assert_eq!(key.map(|key| base64(key.bytes())), Some(private));
    assert_eq!(device.public_key.unwrap().to_string(), own[1]);
    assert_eq!(device.listen_port.to_string(), own[2]);
    let mut shown: Vec<_> =
        lines.map(|f| format!("{} {} {} {} {} {}", f[0], f[2], f[4], f[5], f[6], f[7])).collect();
    let mut read: Vec<_> = device.peers.iter().map(as_wg_shows).collect();
    shown.sort();
    read.sort();
    assert_eq!(read, shown);
    assert_eq!(read.len(), 4);

    let index = run("ip -o link show wg0").split(':').next().unwrap().to_string();
    assert_eq!((device.ifindex.to_string(), device.up), (index, true));
    run("ip link set wg0 down");
    assert!(!WireGuard::new().device(wg0()).unwrap().0.up);
}

fn base64(bytes: &[u8; 32]) -> String {
    // The private key, written as `wg` writes it.
    PublicKey(*bytes).to_string()
}

pub fn device_without_a_key_has_none(create: Create) {
    enter_own_network();
    let _interface = create("wg0");
    let (device, key) = WireGuard::new().device(wg0()).unwrap();
    assert_eq!((device.public_key, key, device.peers.len()), (None, None, 0));
}

/// `endpoints`: wireguard-go sets the scope of a link-local one, but does not tell it.
pub fn endpoint_is_set_and_nothing_else_changes(create: Create, endpoints: &[&str]) {
    let (_interface, _) = one(create);
    let (_, public) = genkey();
    run(&format!("wg set wg0 peer {public} persistent-keepalive 7 allowed-ips 10.0.0.1/32"));
    let mut wireguard = WireGuard::new();
    for text in endpoints {
        let endpoint: SocketAddr = text.parse().unwrap();
        wireguard.set_endpoint(wg0(), &public, endpoint).unwrap();
        let device = wireguard.device(wg0()).unwrap().0;
        assert_eq!(device.peers[0].endpoint, Some(endpoint));
        let shown = run("wg show wg0 endpoints");
        assert_eq!(shown.trim(), format!("{public}\t{}", text.replace("%1", "%lo")));
        assert_eq!(device.peers[0].keepalive, 7);
    }
    assert_eq!(run("wg show wg0 allowed-ips").trim(), format!("{public}\t10.0.0.1/32"));
}

pub fn unknown_peer_is_not_created(create: Create) {
    let (_interface, _) = one(create);
    let (_, public) = genkey();
    let mut wireguard = WireGuard::new();
    wireguard.set_endpoint(wg0(), &public, "192.0.2.1:51820".parse().unwrap()).unwrap();
    wireguard.poke(wg0(), &public, 25).unwrap();
    wireguard.poke(wg0(), &public, 0).unwrap();
    assert_eq!(run("wg show wg0 peers"), "");
}

/// wg0 and wg1 talk to each other over the loopback device. A keepalive is a transport message of 32 bytes.
pub fn poke_sends_exactly_one_packet_and_leaves_the_keepalive(create: Create) {
    let (_wg0, private) = one(create);
    let _wg1 = create("wg1");
    let wg1: Interface = "wg1".parse().unwrap();
    let public0: PublicKey = shell(&format!("echo {private} | wg pubkey")).trim().parse().unwrap();
    let (private1, public1) = genkey();
    shell(&format!("echo {private1} >/run/key1; wg set wg1 private-key /run/key1 listen-port 51821"));
    run("ip link set wg1 up");
    run(&format!("wg set wg0 peer {public1} endpoint 127.0.0.1:51821"));
    run(&format!("wg set wg1 peer {public0}"));

    let mut wireguard = WireGuard::new();
    // Without a session it is an initiation, and the session begins.
    wireguard.poke(wg0(), &public1, 25).unwrap();
    wait_until("the session is there", || {
        peer(&wireguard.device(wg1).unwrap().0, &public0).last_handshake.is_some()
    });
    sleep(Duration::from_millis(500));
    for keepalive in [25, 17, 0, 0, 25] {
        let far = |wireguard: &mut WireGuard| peer(&wireguard.device(wg1).unwrap().0, &public0).rx_bytes;
        let before = far(&mut wireguard);
        wireguard.poke(wg0(), &public1, keepalive).unwrap();
        sleep(Duration::from_millis(500));
        assert_eq!(far(&mut wireguard) - before, 32, "keepalive {keepalive}");
        assert_eq!(peer(&wireguard.device(wg0()).unwrap().0, &public1).keepalive, keepalive);
    }
    // Cross-checked: what wg0 counts as received, WireGuard shows the same way.
    let shown = run("wg show wg1 transfer");
    let received: u64 = shown.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(received, peer(&wireguard.device(wg1).unwrap().0, &public0).rx_bytes);
}

pub fn missing_and_foreign_interfaces_are_told_apart(create: Create) {
    let (interface, _) = one(create);
    let mut wireguard = WireGuard::new();
    assert_eq!(wireguard.interfaces().unwrap(), [wg0()]);
    wireguard.device(wg0()).unwrap();
    let lo = "lo".parse().unwrap();
    let error = wireguard.device(lo).unwrap_err();
    assert!(matches!(error, Error::NotWireGuard(name) if name == lo), "{error}");
    drop(interface);
    wait_until("wg0 is gone", || wireguard.interfaces().unwrap().is_empty());
    let error = wireguard.device(wg0()).unwrap_err();
    assert!(matches!(error, Error::Gone(name) if name == wg0()), "{error}");
    assert_eq!(error.to_string(), "wg0: there is no such interface");
    assert!(wireguard.poke(wg0(), &PublicKey([1; 32]), 25).is_err());
}

pub fn whoever_may_not_is_told_so(create: Create, message: &str) {
    let (_interface, _) = one(create);
    let message = message.to_string();
    let unprivileged = std::thread::spawn(move || {
        // This thread alone becomes nobody, for good (the C library would change all of them).
        // SAFETY: a system call with three numbers.
        let became = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(became, 0);
        let mut wireguard = WireGuard::new();
        let error = wireguard.device(wg0()).unwrap_err();
        assert!(error.to_string().starts_with(&message), "{error}");
        assert!(wireguard.set_endpoint(wg0(), &PublicKey([1; 32]), "192.0.2.1:1".parse().unwrap()).is_err());
        assert_eq!(wireguard.interfaces().unwrap(), [wg0()]);
    });
    unprivileged.join().unwrap();
}
