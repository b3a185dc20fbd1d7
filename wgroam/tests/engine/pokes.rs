// SPDX-License-Identifier: GPL-2.0-only
//! Who is poked when, and who is not.

use wgroam::config::{self, Config};
use wgroam::engine::constants::POKE_SPACING;
use wgroam::engine::{Action, Command, Event, Reason, Report};
use wgroam::model::WallTime;
use wgroam::wan::WanChange;

use super::bench::{ALICE, BOB, Bench, WALL, at, millis, peer, secs, wan_address, wg0};

#[test]
fn a_wan_change_pokes_at_once_and_twice_more_and_once_more_when_something_comes_back() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.keepalive = 25;
    let mut bench = Bench::settled(vec![], vec![alice]);
    let start = bench.now - bench.start;
    bench.event(wan_address());
    bench.run(secs(10));
    let expected = [0, 1, 3].map(|n| (start + secs(n), Reason::WanChanged));
    assert_eq!(bench.pokes(), expected);

    for (answered, pokes) in [(millis(500), 2), (millis(1500), 2)] {
        bench.log.clear();
        bench.event(wan_address());
        bench.run(answered);
        bench.device.peers[0].rx_bytes += 32;
        bench.run(secs(10));
        assert_eq!(bench.pokes().len(), pokes, "answered after {answered:?}");
    }
}

#[test]
fn the_owner_s_poke_is_carried_out_at_once() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1))), peer(BOB, Some(at(2)))]);
    bench.event(Event::Command(Command::Poke { interface: None, peer: Some(ALICE) }));
    let pokes = bench.log.iter().filter(|(_, action)| matches!(action, Action::Poke { .. })).count();
    assert_eq!((pokes, bench.pokes()[0].1), (1, Reason::Command));
}

#[test]
fn a_burst_of_wan_events_is_not_a_burst_of_pokes() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.keepalive = 25;
    let mut bench = Bench::settled(vec![], vec![alice]);
    for _ in 0..600 {
        bench.event(wan_address());
        bench.run(millis(100));
    }
    bench.run(secs(10));
    let pokes: Vec<_> = bench.pokes().iter().map(|(when, _)| *when).collect();
    assert!(pokes.windows(2).all(|pair| pair[1] - pair[0] >= POKE_SPACING));
    assert!((60..=82).contains(&pokes.len()), "{} pokes in 70 s", pokes.len());
    let last = pokes.last().unwrap();
    assert!(*last >= secs(11 + 60), "the last change gets its poke too, {last:?}");
}

#[test]
fn a_wan_change_clears_the_old_source_before_the_poke_and_moves_nothing() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.keepalive = 25;
    let mut bench = Bench::settled(vec![], vec![alice]);
    bench.event(wan_address());
    let done = bench.log.iter().map(|(_, action)| action).filter(|a| !matches!(a, Action::Report(_)));
    let done: Vec<_> = done.skip_while(|a| matches!(a, Action::TakeSnapshot { .. })).collect();
    let clear = Action::ClearSource { interface: wg0(), peer: ALICE, endpoint: at(1) };
    assert_eq!(done[0], &clear);
    assert!(matches!(done[1], Action::Poke { reason: Reason::WanChanged, .. }), "{done:?}");
    assert_eq!(bench.sets(), []);
}

#[test]
fn a_poke_that_has_to_wait_clears_the_source_all_the_same() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.keepalive = 25;
    let mut bench = Bench::settled(vec![], vec![alice]);
    bench.event(wan_address());
    // Just after the first poke: this one has to wait for longer than a look is good for.
    bench.run(millis(20));
    bench.log.clear();
    bench.event(wan_address());
    bench.run(POKE_SPACING);
    let done = bench.log.iter().map(|(_, action)| action).filter(|a| !matches!(a, Action::Report(_)));
    let done: Vec<_> = done.skip_while(|a| matches!(a, Action::TakeSnapshot { .. })).collect();
    let clear = Action::ClearSource { interface: wg0(), peer: ALICE, endpoint: at(1) };
    assert_eq!(done[0], &clear, "{done:?}");
    assert!(matches!(done[1], Action::Poke { reason: Reason::WanChanged, .. }), "{done:?}");
}

#[test]
fn a_wan_that_goes_down_is_only_reported() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.keepalive = 25;
    let mut bench = Bench::settled(vec![], vec![alice]);
    let eth0 = "eth0".parse().unwrap();
    for change in [WanChange::Down(eth0), WanChange::Route(None)] {
        bench.event(Event::WanChanged(change.clone()));
        assert_eq!(bench.log.len(), 1);
        assert_eq!(bench.reports(), [&Report::WanChanged(change)]);
        bench.log.clear();
    }
    bench.run(secs(20));
    assert_eq!(bench.pokes(), []);
}

#[test]
fn a_wan_change_leaves_those_alone_that_showed_no_life() {
    let (now, old) = (WallTime { seconds: WALL, nanos: 0 }, WallTime { seconds: WALL - 1000, nanos: 0 });
    let mut dead = peer(BOB, Some(at(2)));
    dead.last_handshake = Some(old);
    let mut alive = peer(ALICE, Some(at(1)));
    alive.last_handshake = Some(now);
    let mut bench = Bench::settled(vec![], vec![alive, dead]);
    bench.event(wan_address());
    let poked = |key| bench.log.iter().any(|(_, a)| matches!(a, Action::Poke { peer, .. } if *peer == key));
    assert!(poked(ALICE));
    assert!(!poked(BOB));
}

#[test]
fn a_poke_leaves_the_keepalive_that_is_there_and_else_the_configured_one() {
    let section = config::Peer {
        name: "alice".into(),
        tunnel: wg0(),
        public_key: ALICE,
        endpoints: vec![],
        family: config::Family::Any,
        keepalive: Some(25),
        probe: None,
        probe_interval: 0,
        readd: false,
    };
    let config = Config { peers: vec![section], ..Config::default() };
    for (has, configured, leaves) in [(0, false, 0), (13, false, 13), (0, true, 25), (13, true, 13)] {
        let mut alice = peer(ALICE, Some(at(1)));
        alice.keepalive = has;
        let config = if configured { config.clone() } else { Config::default() };
        let mut bench = Bench::new(config, vec![], vec![alice]);
        bench.event(Event::DeviceUp { interface: wg0() });
        bench.run(secs(11));
        bench.event(Event::Command(Command::Poke { interface: Some(wg0()), peer: None }));
        let left = bench.log.iter().find_map(|(_, action)| match action {
            Action::Poke { keepalive, .. } => Some(*keepalive),
            _ => None,
        });
        assert_eq!(left, Some(leaves), "has {has}, configured {configured}");
    }
}

#[test]
fn a_keepalive_that_the_owner_just_changed_survives_a_poke() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    bench.device.peers[0].keepalive = 17;
    bench.event(Event::Command(Command::Poke { interface: None, peer: None }));
    assert!(bench.log.iter().any(|(_, action)| matches!(action, Action::Poke { keepalive: 17, .. })));
}

#[test]
fn after_a_clock_step_those_without_session_are_poked() {
    let mut alive = peer(BOB, Some(at(2)));
    alive.last_handshake = Some(WallTime { seconds: WALL - 10, nanos: 0 });
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1))), alive]);
    bench.clock_step = 1_000_000;
    let wall = bench.wall();
    bench.event(Event::ClockStepped { wall });
    let poked: Vec<_> = bench
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            Action::Poke { peer, reason, .. } => Some((*peer, *reason)),
            _ => None,
        })
        .collect();
    assert_eq!(poked, [(ALICE, Reason::ClockStepped)], "the session did not age by the step");
}

#[test]
fn a_handshake_after_a_clock_step_is_new_whatever_the_clock_says() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    // The handshake bears the time before the step.
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.clock_step = 1_000_000;
    bench.run(secs(5));
    let status = bench.engine.status(bench.now);
    let alice = &status.devices[0].peers[0];
    assert!(alice.alive && alice.handshake_age.unwrap() <= secs(6), "{:?}", alice.handshake_age);
}
