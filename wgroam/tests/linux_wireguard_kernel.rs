// SPDX-License-Identifier: GPL-2.0-only
//! WireGuard in the kernel, over generic netlink. Needs root, a kernel with WireGuard and wireguard-tools: run in the
//! VM (ci/vm/run), with `--features vm-tests`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::any::Any;

mod common;
#[path = "common/wireguard.rs"]
mod wireguard;

use common::run;
use wgroam::linux::route::{LinkEvent, RouteMonitor};

/// A WireGuard interface of the kernel, deleted when dropped.
struct Link(String);

impl Drop for Link {
    fn drop(&mut self) {
        run(&format!("ip link del {}", self.0));
    }
}

fn create(interface: &str) -> Box<dyn Any> {
    run(&format!("ip link add {interface} type wireguard"));
    Box::new(Link(interface.into()))
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
    wireguard::endpoint_is_set_and_nothing_else_changes(
        create,
        &["192.0.2.1:51820", "[2001:db8::1]:443", "[fe80::1%1]:51821"],
    );
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

#[test]
fn whoever_may_not_is_told_so() {
    wireguard::whoever_may_not_is_told_so(
        create,
        "wg0: the kernel refuses; run wgroam as root or give it CAP_NET_ADMIN",
    );
}

/// 5,000 peers, 2,000 allowed IPs at one of them: a peer that goes on in a second message is one peer.
#[test]
fn a_large_device_is_read_whole_and_soon() {
    common::enter_own_network();
    let _wg0 = create("wg0");
    let mut file = String::new();
    for peer in 0..5000_u32 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&(peer + 1).to_le_bytes());
        let key = wgroam::model::PublicKey(key);
        let port = 1000 + peer;
        file +=
            &format!("[Peer]\nPublicKey={key}\nEndpoint=192.0.2.1:{port}\nAllowedIPs=fd00::{peer:x}/128\n");
        if peer == 999 {
            for more in 0..2000 {
                file += &format!("AllowedIPs=fd01::{peer:x}:{more:x}/128\n");
            }
        }
    }
    std::fs::write("/run/wg0.conf", file).unwrap();
    run("wg setconf wg0 /run/wg0.conf");
    let mut wireguard = wgroam::linux::wireguard::WireGuard::new();
    let wg0 = "wg0".parse().unwrap();
    let mut best = std::time::Duration::MAX;
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let device = wireguard.device(wg0).unwrap().0;
        best = best.min(start.elapsed());
        assert_eq!(device.peers.len(), 5000);
        let ports: std::collections::BTreeSet<_> =
            device.peers.iter().map(|peer| peer.endpoint.unwrap().port()).collect();
        assert_eq!(ports.len(), 5000);
    }
    let start = std::time::Instant::now();
    let shown = run("wg show wg0 dump").lines().count();
    let shown_in = start.elapsed();
    println!("5,000 peers: read in {best:?}; `wg show wg0 dump` needs {shown_in:?}");
    assert_eq!(shown, 5001);
    // The machine is emulated and of unknown speed; `wg` on the same machine is the measure.
    assert!(best < shown_in);
}

/// The monitor knows the kernel's WireGuard by its kind, at once.
#[test]
fn interfaces_that_come_and_go_are_told() {
    common::enter_own_network();
    let mut monitor = RouteMonitor::open().unwrap();
    let mut read = || monitor.read(std::time::Instant::now()).unwrap();
    assert_eq!(read(), []);
    let index = |name: &str| -> u32 {
        run(&format!("ip -o link show {name}")).split(':').next().unwrap().parse().unwrap()
    };
    let present =
        |name: &str, ifindex, up| LinkEvent::Present { interface: name.parse().unwrap(), ifindex, up };
    let gone = |name: &str| LinkEvent::Gone { interface: name.parse().unwrap() };

    let wg0 = create("wg0");
    let first = index("wg0");
    assert_eq!(read(), [present("wg0", first, false)]);
    run("ip link set wg0 up");
    assert_eq!(read(), [present("wg0", first, true)]);
    run("ip link set wg0 down");
    run("ip link set wg0 name wg7");
    assert_eq!(read(), [present("wg0", first, false), gone("wg0"), present("wg7", first, false)]);
    run("ip link set wg7 name wg0");
    drop(wg0);
    let _again = create("wg0");
    let events = read();
    assert_eq!(events[events.len() - 2..], [gone("wg0"), present("wg0", index("wg0"), false)]);
    assert_ne!(index("wg0"), first);
    run("ip link add other type veth");
    assert_eq!(read(), []);
}

fn peer_with(allowed_ips: u32) -> wgroam::model::PublicKey {
    let key = wgroam::model::PublicKey([9; 32]);
    let allowed: String = (0..allowed_ips).map(|n| format!("AllowedIPs=fd01::{n:x}/128\n")).collect();
    std::fs::write("/run/wg0.conf", format!("[Peer]\nPublicKey={key}\n{allowed}")).unwrap();
    run("wg setconf wg0 /run/wg0.conf");
    key
}

/// Without an endpoint nothing is done: the kernel lists who is added again last.
#[test]
fn who_has_no_endpoint_is_not_added_again() {
    common::enter_own_network();
    let _wg0 = create("wg0");
    let keys = [8, 9].map(|n| wgroam::model::PublicKey([n; 32]));
    let [first, second] = keys.map(|key| key.to_string());
    let endpoint = "192.0.2.1:51820";
    let mut wireguard = wgroam::linux::wireguard::WireGuard::new();
    let mut order = |endpoint: Option<&str>| {
        let endpoint = endpoint.map(|endpoint| endpoint.parse().unwrap());
        wireguard.readd_peer("wg0".parse().unwrap(), &keys[0], endpoint).unwrap();
        run("wg show wg0 peers").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    run(&format!("wg set wg0 peer {first} peer {second}"));
    assert_eq!(order(None), [first.clone(), second.clone()]);
    assert_eq!(order(Some(endpoint)), [second.clone(), first.clone()]);
    run(&format!("wg set wg0 peer {second} remove peer {second}"));
    assert_eq!(order(None), [second, first]);
    assert!(run("wg show wg0 endpoints").contains(endpoint));
}

/// One message carries some 1,600 of them. A peer with more stays, and is told where to.
#[test]
fn a_peer_with_more_allowed_ips_than_a_message_can_carry_stays_and_gets_its_endpoint() {
    common::enter_own_network();
    let _wg0 = create("wg0");
    let mut wireguard = wgroam::linux::wireguard::WireGuard::new();
    let (wg0, endpoint) = ("wg0".parse().unwrap(), "192.0.2.1:51820".parse().unwrap());
    let shown = || run("wg show wg0 allowed-ips").split_whitespace().skip(1).count();
    let key = peer_with(1600);
    wireguard.readd_peer(wg0, &key, Some(endpoint)).unwrap();
    assert_eq!((shown(), run("wg show wg0 endpoints").trim()), (1600, format!("{key}\t{endpoint}").as_str()));
    let key = peer_with(1700);
    let error = wireguard.readd_peer(wg0, &key, Some(endpoint)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "wg0: peer {} has too many allowed IPs to be added again in one step; only its endpoint was set",
            key.short()
        )
    );
    assert_eq!((shown(), run("wg show wg0 endpoints").trim()), (1700, format!("{key}\t{endpoint}").as_str()));
}

/// Somebody who reads the device all the time never sees it without the peer or any part of it.
#[test]
fn nobody_sees_a_peer_half_added() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};
    common::enter_own_network();
    let _wg0 = create("wg0");
    let key = peer_with(500);
    let (wg0, endpoint) = ("wg0".parse().unwrap(), "192.0.2.1:51820".parse().unwrap());
    let (looks, readds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let enough = || looks.load(Ordering::Relaxed) >= 50 && readds.load(Ordering::Relaxed) >= 200;
    let deadline = Instant::now() + Duration::from_secs(120);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut wireguard = wgroam::linux::wireguard::WireGuard::new();
            while !enough() && Instant::now() < deadline {
                // A dump of several messages that something changed under may be given up.
                let (device, carried) = (wireguard.device(wg0), wireguard.allowed_ips(wg0, &key));
                if let (Ok((device, _)), Ok(carried)) = (device, carried) {
                    assert_eq!((device.peers.len(), carried.len()), (1, 500));
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let mut wireguard = wgroam::linux::wireguard::WireGuard::new();
        while !enough() && Instant::now() < deadline && !reader.is_finished() {
            wireguard.readd_peer(wg0, &key, Some(endpoint)).unwrap();
            // Pauses of all lengths: a dump on a slow machine fits into some, and is cut by others.
            let nth = readds.fetch_add(1, Ordering::Relaxed) as u64;
            std::thread::sleep(Duration::from_millis(nth % 32));
        }
    });
    assert!(enough(), "{looks:?} looks and {readds:?} readds in two minutes");
    assert_eq!(run("wg show wg0 allowed-ips").split_whitespace().skip(1).count(), 500);
}

/// What WireGuard itself refuses to carry.
#[test]
fn an_echo_that_wireguard_can_not_send_says_why() {
    common::enter_own_network();
    let _wg0 = create("wg0");
    run("ip link set wg0 up");
    let mut echo = wgroam::linux::echo::Echo::open().unwrap();
    let mut error =
        |target: &str| echo.send("wg0".parse().unwrap(), target.parse().unwrap(), 0).unwrap_err().to_string();
    run("ip addr add 10.0.0.1/24 dev wg0");
    assert_eq!(error("10.0.0.2"), "wg0: no peer has 10.0.0.2 among its allowed IPs");
    let key = wgroam::model::PublicKey([9; 32]);
    run(&format!("wg set wg0 peer {key} allowed-ips 10.0.0.0/24"));
    assert_eq!(error("10.0.0.2"), "wg0: the peer that has 10.0.0.2 among its allowed IPs has no endpoint");
}
