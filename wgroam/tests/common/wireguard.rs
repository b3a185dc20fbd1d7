// SPDX-License-Identifier: GPL-2.0-only
//! What every WireGuard must do for wgroam, whoever runs it. Each check gets a function that creates an interface.

use std::any::Any;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use wgroam::linux::wireguard::{Error, WireGuard};
use wgroam::model::{Device, Interface, Peer, PublicKey};

use super::common::{enter_own_network, run, settled, shell, wait_until};

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
    let far = |wireguard: &mut WireGuard| peer(&wireguard.device(wg1).unwrap().0, &public0).rx_bytes;
    let mut before = settled(|| far(&mut wireguard));
    for keepalive in [25, 17, 0, 0, 25] {
        wireguard.poke(wg0(), &public1, keepalive).unwrap();
        wait_until("something arrives", || far(&mut wireguard) > before);
        // And nothing after it.
        let after = settled(|| far(&mut wireguard));
        assert_eq!(after - before, 32, "keepalive {keepalive}");
        before = after;
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

/// wg0 and wg1 with a session between them over the loopback device, each the other's only peer. Returns their keys.
fn pair(create: Create) -> (Vec<Box<dyn Any>>, PublicKey, PublicKey) {
    let (first, private) = one(create);
    let second = create("wg1");
    let public0: PublicKey = shell(&format!("echo {private} | wg pubkey")).trim().parse().unwrap();
    let (private1, public1) = genkey();
    shell(&format!("echo {private1} >/run/key1; wg set wg1 private-key /run/key1 listen-port 51821"));
    run("ip link set wg1 up");
    run(&format!("wg set wg0 peer {public1} endpoint 127.0.0.1:51821"));
    run(&format!("wg set wg1 peer {public0}"));
    let mut wireguard = WireGuard::new();
    wireguard.poke(wg0(), &public1, 0).unwrap();
    wait_until("the session is there", || {
        peer(&wireguard.device(wg1()).unwrap().0, &public0).last_handshake.is_some()
    });
    // The keepalive that confirms it has arrived.
    settled(|| peer(&wireguard.device(wg1()).unwrap().0, &public0).rx_bytes);
    (vec![first, second], public0, public1)
}

fn wg1() -> Interface {
    "wg1".parse().unwrap()
}

pub fn another_port_is_taken_at_once_and_the_session_survives(create: Create) {
    let (_interfaces, public0, public1) = pair(create);
    let mut wireguard = WireGuard::new();
    let mut ports = vec![51820];
    for _ in 0..3 {
        let handshake = peer(&wireguard.device(wg0()).unwrap().0, &public1).last_handshake;
        wireguard.set_port(wg0(), 0).unwrap();
        let port = wireguard.device(wg0()).unwrap().0.listen_port;
        assert!(port != 0 && !ports.contains(&port), "{port} after {ports:?}");
        ports.push(port);
        assert!(run("ss -Hlun").contains(&format!(":{port} ")));
        let before = peer(&wireguard.device(wg1()).unwrap().0, &public0).rx_bytes;
        wireguard.poke(wg0(), &public1, 0).unwrap();
        let mut rx_bytes = || peer(&wireguard.device(wg1()).unwrap().0, &public0).rx_bytes;
        wait_until("something arrives", || rx_bytes() > before);
        settled(rx_bytes);
        let far = peer(&wireguard.device(wg1()).unwrap().0, &public0);
        // One keepalive from the new port, with the old session.
        assert_eq!((far.rx_bytes - before, far.endpoint.unwrap().port()), (32, port));
        assert_eq!(peer(&wireguard.device(wg0()).unwrap().0, &public1).last_handshake, handshake);
    }
    assert_eq!(wireguard.device(wg1()).unwrap().0.listen_port, 51821);
}

/// What `wg show wg0 dump` says about a peer's settings: preshared key, endpoint, allowed IPs, keepalive.
fn settings(public: &PublicKey) -> Vec<String> {
    let dump = run("wg show wg0 dump");
    let line = dump.lines().find(|line| line.starts_with(&public.to_string())).unwrap();
    let fields: Vec<_> = line.split('\t').collect();
    let mut allowed: Vec<_> = fields[3].split(',').collect();
    allowed.sort_unstable();
    vec![fields[1].into(), fields[2].into(), allowed.join(","), fields[7].into()]
}

pub fn a_peer_added_again_is_as_before_and_begins_a_handshake(create: Create) {
    let (_interfaces, public0, public1) = pair(create);
    let mut wireguard = WireGuard::new();
    let (_, other) = genkey();
    run(&format!(
        "wg set wg0 peer {other} persistent-keepalive 9 allowed-ips 10.9.0.0/16 preshared-key /run/key"
    ));
    let others = settings(&other);
    let hundreds: String =
        (0..300).map(|n| format!(",10.1.{}.{}/32,fd01::{n:x}/128", n / 256, n % 256)).collect();
    let psk = run("wg genpsk");
    std::fs::write("/run/psk", &psk).unwrap();
    let told = "127.0.0.1:51821".parse().ok();
    for (keepalive, preshared, allowed, endpoint) in [
        (0, false, String::new(), told),
        (25, false, "0.0.0.0/0,::/0".into(), told),
        (0, true, "10.0.0.0/8".into(), None),
        (17, true, format!("fd00::/64{hundreds}"), None),
    ] {
        let file = if preshared { "/run/psk" } else { "/dev/null" };
        run(&format!("wg set wg1 peer {public0} preshared-key {file}"));
        let mut set =
            format!("wg set wg0 peer {public1} preshared-key {file} persistent-keepalive {keepalive}");
        if !allowed.is_empty() {
            set += &format!(" allowed-ips {allowed}");
        }
        run(&set);
        let before = settings(&public1);
        assert_eq!(before[0] == psk.trim(), preshared);
        // The far end takes one initiation of a peer in 20 ms, and one with a newer timestamp only.
        sleep(Duration::from_millis(100));
        let count = |wireguard: &mut WireGuard| wireguard.device(wg0()).unwrap().0.peers.len();
        assert_eq!(count(&mut wireguard), 2);
        wireguard.readd_peer(wg0(), &public1, endpoint).unwrap();
        wait_until("there is a new session", || {
            peer(&wireguard.device(wg0()).unwrap().0, &public1).last_handshake.is_some()
        });
        assert_eq!(settings(&public1), before);
        let allowed = wireguard.allowed_ips(wg0(), &public1).unwrap();
        let mut allowed: Vec<_> = allowed.iter().map(|(ip, length)| format!("{ip}/{length}")).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), before[2].replace("(none)", ""));
        assert_eq!(count(&mut wireguard), 2);
        // From zero: it was another peer.
        let now = peer(&wireguard.device(wg0()).unwrap().0, &public1);
        assert!(now.rx_bytes < 92 + 32 * 4 && now.tx_bytes < 148 + 32 * 4, "{now:?}");
    }
    // It has no endpoint.
    wireguard.readd_peer(wg0(), &other, None).unwrap();
    assert_eq!(settings(&other), others);

    // With another endpoint.
    wireguard.readd_peer(wg0(), &public1, "[2001:db8::1]:443".parse().ok()).unwrap();
    assert_eq!(settings(&public1)[1], "[2001:db8::1]:443");
    wireguard.readd_peer(wg0(), &public1, None).unwrap();
    assert_eq!(settings(&public1)[1], "[2001:db8::1]:443");
}

pub fn a_peer_that_is_not_there_is_not_added(create: Create) {
    let (_interface, _) = one(create);
    let (_, public) = genkey();
    let mut wireguard = WireGuard::new();
    let error = wireguard.readd_peer(wg0(), &public, "192.0.2.1:51820".parse().ok()).unwrap_err();
    assert!(matches!(error, Error::NoPeer(interface, key) if (interface, key) == (wg0(), public)), "{error}");
    assert_eq!(run("wg show wg0 peers"), "");
}
