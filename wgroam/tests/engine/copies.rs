// SPDX-License-Identifier: GPL-2.0-only
//! Other addresses get a copy of the initiation that WireGuard sends home: the endpoint of now loses nothing to them.

use std::net::SocketAddr;
use std::time::Duration;

use wgroam::engine::constants::{COPIES, COPY_FOR};
use wgroam::engine::{Action, Event, Reason};
use wgroam::routing::{Hop, Led, Prefix, Via};

use super::bench::{ALICE, Bench, at, millis, secs, wg0};
use super::dialed::{alice, at_home, recovered, section};

/// The orders: where from, where to.
fn orders(bench: &Bench) -> Vec<(SocketAddr, Vec<SocketAddr>)> {
    let order = |action: &Action| match action {
        Action::CopyInitiation { home, to, .. } => Some((*home, to.clone())),
        _ => None,
    };
    bench.log.iter().filter_map(|(_, action)| order(action)).collect()
}

/// WireGuard has no session any more and makes an initiation in 5 s; those that leave the router are copied when that is asked
/// for. The longest that it was not at home.
fn call_in_vain(bench: &mut Bench, seconds: u64, leaves: bool) -> Duration {
    let (mut away, mut longest, mut order) = (Duration::ZERO, Duration::ZERO, None);
    for step in 0..seconds * 10 {
        let before = bench.log.len();
        bench.run(millis(100));
        let ordered = |action: &Action| matches!(action, Action::CopyInitiation { .. });
        if bench.log[before..].iter().any(|(_, action)| ordered(action)) {
            order = Some(bench.now + COPY_FOR);
        }
        if step % 52 == 0 {
            bench.device.peers[0].tx_bytes += 148;
            let home = bench.device.peers[0].endpoint == Some(at(1));
            if order.take_if(|until| leaves && home && bench.now < *until).is_some() {
                bench.event(Event::InitiationCopied { interface: wg0(), peer: ALICE });
            }
        }
        let home = bench.device.peers[0].endpoint == Some(at(1));
        away = if home { Duration::ZERO } else { away + millis(100) };
        longest = longest.max(away);
    }
    longest
}

fn lost(section: wgroam::config::Peer) -> Bench {
    let mut bench = at_home(section, vec![]);
    bench.run(secs(200));
    bench.log.clear();
    bench
}

#[test]
fn home_keeps_each_handshake_and_the_others_get_copies() {
    let mut bench = lost(alice());
    assert_eq!(call_in_vain(&mut bench, 120, true), Duration::ZERO, "{:?}", bench.sets());
    let orders = orders(&bench);
    assert!(orders.len() >= 10, "{orders:?}");
    assert!(orders.iter().all(|order| *order == (at(1), vec![at(2)])), "{orders:?}");
    assert_eq!(bench.sets(), []);
}

#[test]
fn an_answer_to_a_copy_ends_it_and_wireguard_has_moved_by_itself() {
    let mut bench = lost(alice());
    call_in_vain(&mut bench, 12, true);
    assert!(!orders(&bench).is_empty());
    let wall = bench.wall();
    let peer = &mut bench.device.peers[0];
    (peer.endpoint, peer.last_handshake, peer.rx_bytes) = (Some(at(2)), Some(wall), peer.rx_bytes + 92);
    bench.run(secs(1));
    assert!(recovered(&bench));
    assert_eq!(bench.engine.status(bench.now).devices[0].peers[0].reason, Some(Reason::Learned));
    bench.log.clear();
    bench.run(secs(60));
    assert_eq!((bench.sets(), orders(&bench)), (vec![], vec![]));
}

#[test]
fn where_no_initiation_leaves_the_endpoint_moves_for_a_moment_and_copies_are_asked_for_again() {
    let mut bench = lost(alice());
    let away = call_in_vain(&mut bench, 120, false);
    let tried = bench.sets().iter().filter(|set| **set == (at(2), Reason::Candidate)).count();
    let back = bench.sets().iter().filter(|set| **set == (at(1), Reason::Returned)).count();
    assert!(tried >= 3 && tried - back <= 1, "{:?}", bench.sets());
    assert!(orders(&bench).len() >= 3);
    assert!(away <= secs(2), "{away:?}");
}

/// 15 s after the first data that is not answered WireGuard makes a handshake. It goes home, and the copy with it.
#[test]
fn the_first_handshake_after_a_session_fell_silent_goes_home_and_is_copied() {
    let mut bench = at_home(alice(), vec![]);
    // Since when it is silent is known.
    bench.run(secs(4));
    for step in 0..154 {
        if step % 5 == 0 {
            bench.device.peers[0].tx_bytes += 128;
        }
        bench.run(millis(100));
        let away = bench.device.peers[0].endpoint != Some(at(1));
        assert!(!away || step < 140, "{step}: {:?}", bench.sets());
    }
    assert_eq!(bench.device.peers[0].endpoint, Some(at(1)), "{:?}", bench.sets());
    assert_eq!(orders(&bench), [(at(1), vec![at(2)])]);
    bench.device.peers[0].tx_bytes += 148;
    bench.event(Event::InitiationCopied { interface: wg0(), peer: ALICE });
    let tries = bench.sets().len();
    bench.run(secs(4));
    assert_eq!(bench.sets().len(), tries, "{:?}", bench.sets());
}

#[test]
fn one_initiation_goes_to_a_few_and_the_next_one_to_the_rest() {
    let hosts: Vec<String> = (1..=10).map(|host| format!("203.0.113.{host}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut bench = lost(section(ALICE, &hosts));
    call_in_vain(&mut bench, 25, true);
    let orders = orders(&bench);
    assert!(orders.iter().all(|(home, to)| *home == at(1) && to.len() <= COPIES), "{orders:?}");
    for host in 2..=10 {
        assert!(orders.iter().any(|(_, to)| to.contains(&at(host))), "{host} of {orders:?}");
    }
}

#[test]
fn a_copy_is_led_around_the_tunnel_while_it_is_to_be_sent() {
    let wan = Hop { ifindex: 3, gateway: Some("10.0.0.1".parse().unwrap()) };
    let mut bench = at_home(alice(), vec![]);
    bench.ways.uplinks = [Some(wan), None];
    bench.ways.led = [at(1), at(2)]
        .map(|endpoint| Led { target: endpoint.ip(), interface: wg0(), inside: false })
        .to_vec();
    bench.run(secs(200));
    bench.log.clear();
    call_in_vain(&mut bench, 30, true);
    let ordered =
        bench.log.iter().position(|(_, action)| matches!(action, Action::CopyInitiation { .. })).unwrap();
    let route = |action: &Action| matches!(action, Action::AddRoute(route) if route.to == Prefix::host(at(2).ip()) && route.via == Via::By(wan));
    let added = bench.log[ordered..].iter().find(|(_, action)| route(action)).unwrap();
    assert_eq!(added.0, bench.log[ordered].0, "in the same moment");
    assert!(bench.ways.own.iter().any(|route| route.to == Prefix::host(at(1).ip())), "home keeps its own");
}
