// SPDX-License-Identifier: GPL-2.0-only
//! Interfaces that come and go, what is learned from them, and how often they are looked at.

use std::time::Duration;
use wgroam::config::{self, Config};
use wgroam::engine::constants::{GONE_FOR, SEEDS, SETTLE};
use wgroam::engine::{Action, Command, Event, Reason, Report};

use super::bench::{ALICE, BOB, Bench, WALL, at, millis, peer, remembered, secs, wan_address, wg0};
use wgroam::model::WallTime;

#[test]
fn a_new_device_is_looked_at_at_once_and_while_it_settles() {
    let mut bench = Bench::new(Config::default(), vec![], vec![]);
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(millis(4900));
    let mut expected = vec![Duration::ZERO];
    expected.extend(SETTLE);
    assert_eq!(bench.snapshots(), expected);
    assert!(bench.reports().contains(&&Report::DeviceFound { interface: wg0(), peers: 0 }));
}

/// Another interface alone.
fn elsewhere() -> Config {
    let tunnel = config::Tunnel {
        interface: "wg1".parse().unwrap(),
        enabled: true,
        unreachable: true,
        rotate_port: config::RotatePort::Auto,
    };
    Config { tunnels: vec![tunnel], ..Config::default() }
}

#[test]
fn an_interface_that_is_not_configured_is_left_alone() {
    let mut bench = Bench::new(elsewhere(), vec![], vec![]);
    bench.event(Event::DeviceUp { interface: wg0() });
    assert_eq!(bench.log, []);
    bench.engine.reload(bench.now, Config::default());
    bench.drain();
    assert_eq!(bench.snapshots(), [Duration::ZERO], "from now on it is");
}

#[test]
fn an_interface_that_was_taken_out_is_watched_again_after_any_number_of_reloads() {
    for times in 1..4 {
        let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
        for _ in 0..times {
            bench.engine.reload(bench.now, elsewhere());
            bench.run(secs(1));
        }
        bench.log.clear();
        bench.engine.reload(bench.now, Config::default());
        bench.drain();
        assert_eq!(bench.snapshots().len(), 1, "after {times} without it");
    }
}

#[test]
fn a_remembered_peer_without_endpoint_gets_it_back_and_is_poked() {
    let mut bench = Bench::new(Config::default(), vec![remembered(ALICE, at(5))], vec![peer(ALICE, None)]);
    bench.event(Event::DeviceUp { interface: wg0() });
    let done: Vec<_> = bench.log.iter().map(|(_, action)| action.clone()).collect();
    let (interface, peer, reason) = (wg0(), ALICE, Reason::Remembered);
    let set = Action::SetEndpoint { interface, peer, endpoint: at(5), reason };
    let poke = Action::Poke { interface, peer, keepalive: 0, reason };
    let first = done.iter().position(|action| *action == set).expect("set");
    assert_eq!(done[first + 1], poke);
    bench.run(secs(20));
    assert_eq!(bench.sets().len(), 1);
    assert!(bench.reports().contains(&&Report::Moved { interface, peer, old: None, new: at(5), reason }));
}

#[test]
fn an_endpoint_that_wireguard_learned_is_reported_and_remembered() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    assert!(bench.engine.memory().is_empty(), "nothing came from it yet");
    (bench.device.peers[0].endpoint, bench.device.peers[0].rx_bytes) = (Some(at(2)), 32);
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.run(secs(5));
    let moved = Report::Moved {
        interface: wg0(),
        peer: ALICE,
        old: Some(at(1)),
        new: at(2),
        reason: Reason::Learned,
    };
    assert!(bench.reports().contains(&&moved));
    assert!(bench.engine.memory().is_empty(), "that may have been a recording");
    bench.device.peers[0].rx_bytes += 32;
    bench.run(secs(5));
    assert_eq!(bench.engine.memory()[0].endpoint, Some(at(2)));
    assert!(bench.log.iter().any(|(_, action)| *action == Action::Remember));
    assert_eq!(bench.sets(), []);
}

#[test]
fn peers_of_an_interface_that_came_back_are_poked_once() {
    let mut bench =
        Bench::settled(vec![remembered(BOB, at(2))], vec![peer(ALICE, Some(at(1))), peer(BOB, None)]);
    bench.device.ifindex += 1;
    bench.device.peers[1].endpoint = None;
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(secs(20));
    assert!(bench.reports().contains(&&Report::DeviceReturned { interface: wg0() }));
    assert_eq!(bench.pokes().iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), [Reason::DeviceReturned]);
    assert_eq!(bench.sets(), [(at(2), Reason::Remembered)]);
}

#[test]
fn nothing_is_done_to_an_interface_before_its_link_is_up() {
    let mut bench = Bench::new(Config::default(), vec![remembered(ALICE, at(5))], vec![peer(ALICE, None)]);
    bench.device.up = false;
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(millis(250));
    assert_eq!((bench.sets(), bench.pokes()), (vec![], vec![]));
    bench.device.up = true;
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(millis(50));
    assert_eq!(bench.sets().len(), 1);
    assert_eq!(bench.pokes().len(), 1);
}

#[test]
fn a_remembered_endpoint_that_does_not_stick_is_set_three_times_and_no_more() {
    let mut bench = Bench::new(Config::default(), vec![remembered(ALICE, at(5))], vec![peer(ALICE, None)]);
    bench.refuses = true;
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(secs(600));
    assert_eq!(bench.sets().len(), usize::from(SEEDS));
}

#[test]
fn a_vanished_interface_keeps_its_memory() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    bench.device.peers[0].rx_bytes = 32;
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.run(secs(5));
    bench.event(Event::DeviceGone { interface: wg0() });
    assert!(bench.reports().contains(&&Report::DeviceGone { interface: wg0() }));
    assert!(!bench.engine.status(bench.now).devices[0].present);
    assert_eq!(bench.engine.memory()[0].endpoint, Some(at(1)));
    assert_eq!(bench.engine.next_deadline(), None);
}

/// A configuration that expects wg0, one way or the other.
fn expecting() -> [Config; 3] {
    let mut tunnel = elsewhere();
    tunnel.tunnels[0].interface = wg0();
    let section = config::Peer {
        name: "home".into(),
        tunnel: wg0(),
        public_key: ALICE,
        endpoints: vec![],
        family: config::Family::Any,
        keepalive: None,
        probe: None,
        probe_interval: 0,
        readd: false,
    };
    let peer = Config { peers: vec![section], ..Config::default() };
    [tunnel, peer, Config { interfaces: vec![wg0()], ..Config::default() }]
}

#[test]
fn an_interface_that_was_removed_leaves_the_status_after_a_while_and_is_known_when_it_returns() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    bench.device.peers[0].rx_bytes = 32;
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.run(secs(5));
    bench.event(Event::DeviceGone { interface: wg0() });
    bench.wakeups.clear();
    bench.run(GONE_FOR - secs(1));
    assert_eq!(bench.engine.status(bench.now).devices.len(), 1);
    bench.run(secs(1));
    assert_eq!(bench.engine.status(bench.now).devices, []);
    assert!(bench.wakeups.is_empty());
    assert_eq!(bench.engine.memory()[0].endpoint, Some(at(1)));
    bench.log.clear();
    (bench.device.ifindex, bench.device.peers[0].rx_bytes) = (bench.device.ifindex + 1, 0);
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(secs(1));
    assert!(bench.reports().contains(&&Report::DeviceReturned { interface: wg0() }));
    assert_eq!(bench.pokes().len(), 1);
    assert_eq!(bench.engine.status(bench.now).devices.len(), 1);
}

#[test]
fn an_interface_that_the_configuration_names_is_awaited_however_long_it_is_gone() {
    for config in expecting() {
        let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
        bench.engine.reload(bench.now, config.clone());
        bench.drain();
        bench.event(Event::DeviceGone { interface: wg0() });
        bench.run(GONE_FOR * 3);
        assert_eq!(bench.engine.status(bench.now).devices.len(), 1, "{config:?}");
        bench.engine.reload(bench.now, Config::default());
        bench.drain();
        assert_eq!(bench.engine.status(bench.now).devices, [], "gone from {config:?} too");
    }
}

#[test]
fn an_idle_device_is_looked_at_once_a_minute_and_one_with_a_keepalive_every_five_seconds() {
    for (keepalive, looks) in [(0, 10), (25, 120)] {
        let mut alice = peer(ALICE, Some(at(1)));
        alice.keepalive = keepalive;
        let mut bench = Bench::settled(vec![], vec![alice]);
        bench.run(secs(120));
        bench.log.clear();
        bench.wakeups.clear();
        bench.run(secs(600));
        assert_eq!(bench.snapshots().len(), looks);
        assert_eq!(bench.wakeups.len(), looks, "and wakes up for nothing else");
    }
}

#[test]
fn a_reload_that_changes_nothing_does_nothing() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.keepalive = 25;
    let mut bench = Bench::settled(vec![], vec![alice]);
    bench.event(wan_address());
    bench.log.clear();
    let (deadline, status) = (bench.engine.next_deadline(), bench.engine.status(bench.now));
    bench.engine.reload(bench.now, Config::default());
    bench.drain();
    assert_eq!(bench.log, []);
    assert_eq!((bench.engine.next_deadline(), bench.engine.status(bench.now)), (deadline, status));
}

#[test]
fn looking_again_lets_those_try_anew_that_have_no_session_and_disturbs_nobody_else() {
    let mut alive = peer(BOB, Some(at(2)));
    alive.last_handshake = Some(WallTime { seconds: WALL - 10, nanos: 0 });
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1))), alive]);
    bench.event(Event::Command(Command::Retry));
    let poked = bench.log.iter().filter_map(|(_, action)| match action {
        Action::Poke { peer, reason, .. } => Some((*peer, *reason)),
        _ => None,
    });
    assert_eq!(poked.collect::<Vec<_>>(), [(ALICE, Reason::Command)]);
    assert_eq!(bench.snapshots().len(), 1);
    assert_eq!(bench.sets(), []);
}

#[test]
fn after_a_restart_of_the_machine_known_peers_with_an_endpoint_are_poked_once() {
    for (memory, handshake, pokes) in [(true, false, 1), (false, false, 0), (true, true, 0)] {
        let mut alice = peer(ALICE, Some(at(1)));
        alice.last_handshake = handshake.then_some(WallTime { seconds: WALL - 10, nanos: 0 });
        let memory = if memory { vec![remembered(ALICE, at(1))] } else { vec![] };
        let mut bench = Bench::new(Config::default(), memory, vec![alice]);
        bench.event(Event::DeviceUp { interface: wg0() });
        bench.run(secs(20));
        assert_eq!(bench.pokes().len(), pokes);
        assert_eq!(bench.sets(), []);
    }
}

#[test]
fn a_session_that_outlived_its_link_is_alive_once_something_can_be_read() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.last_handshake = Some(WallTime { seconds: WALL - 10, nanos: 0 });
    let mut bench = Bench::settled(vec![], vec![alice]);
    for up in [false, true] {
        bench.device.up = up;
        bench.event(Event::DeviceUp { interface: wg0() });
        bench.run(secs(1));
    }
    bench.run(secs(5));
    let peer = &bench.engine.status(bench.now).devices[0].peers[0];
    assert!(!peer.alive && peer.handshake_age.is_none());
    bench.device.peers[0].rx_bytes += 32;
    bench.run(secs(5));
    let peer = &bench.engine.status(bench.now).devices[0].peers[0];
    assert!(peer.alive && peer.handshake_age.unwrap() > secs(10), "{:?}", peer.handshake_age);
}

#[test]
fn a_link_that_went_down_and_up_has_no_session() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.last_handshake = Some(WallTime { seconds: WALL, nanos: 0 });
    let mut bench = Bench::settled(vec![], vec![alice]);
    let alive = |bench: &Bench| bench.engine.status(bench.now).devices[0].peers[0].alive;
    assert!(alive(&bench));
    for up in [false, true] {
        bench.device.up = up;
        bench.event(Event::DeviceUp { interface: wg0() });
        bench.run(secs(1));
    }
    assert!(!alive(&bench), "WireGuard forgot the keys");
    assert_eq!(bench.pokes().len(), 1);
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.run(secs(5));
    assert!(alive(&bench));
}
