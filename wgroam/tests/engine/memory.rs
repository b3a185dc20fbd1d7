// SPDX-License-Identifier: GPL-2.0-only
//! What is remembered: where a peer was good by which WAN, and what the time says about our own clock.

use wgroam::config::{self, Candidate, Config};
use wgroam::engine::{Event, Reason, Remembered, Report};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Interface, WallTime};
use wgroam::wan::WanChange;

use super::bench::{ALICE, BOB, Bench, WALL, at, millis, peer, remembered, secs, wg0};

fn wan(name: &str) -> Interface {
    name.parse().unwrap()
}

fn way(name: &str) -> Event {
    Event::WanChanged(WanChange::Route(Some(wan(name))))
}

/// ALICE may be at 1, 2 and 3.
fn dialing() -> Config {
    let candidate = |host: u8| Candidate { host: at(host).ip().to_string(), port: at(host).port() };
    let section = config::Peer {
        name: "alice".into(),
        tunnel: wg0(),
        public_key: ALICE,
        endpoints: [1, 2, 3].map(candidate).to_vec(),
        family: config::Family::Any,
        keepalive: None,
        probe: None,
        probe_interval: 0,
        readd: false,
    };
    Config { peers: vec![section], ..Config::default() }
}

/// A bench whose peer was seen where it is, and had no time to be looked for elsewhere.
fn started(memory: Vec<Remembered>, name: Option<&str>, alice: wgroam::model::Peer) -> Bench {
    let mut bench = Bench::new(dialing(), memory, vec![alice]);
    bench.engine.set_wan(name.map(wan));
    bench.event(Event::DeviceUp { interface: wg0() });
    bench.run(millis(500));
    bench
}

/// Authenticated packets come from where the peer is.
fn lives(bench: &mut Bench) {
    let wall = bench.wall();
    let alice = &mut bench.device.peers[0];
    (alice.rx_bytes, alice.last_handshake) = (alice.rx_bytes + 92, Some(wall));
    bench.run(secs(6));
}

/// What a bench remembers after ALICE was good at 1 by wwan0 and at 2 by eth0.
fn two_wans() -> Vec<Remembered> {
    let mut bench = started(vec![], Some("wwan0"), peer(ALICE, Some(at(1))));
    lives(&mut bench);
    bench.event(way("eth0"));
    bench.device.peers[0].endpoint = Some(at(2));
    lives(&mut bench);
    lives(&mut bench);
    bench.engine.memory()
}

#[test]
fn the_last_good_candidate_is_kept_for_each_wan() {
    let memory = two_wans();
    assert_eq!(memory[0].good, [(wan("eth0"), at(2)), (wan("wwan0"), at(1))]);
    // Without a WAN there is nothing to keep it for.
    let mut bench = started(vec![], None, peer(ALICE, Some(at(1))));
    lives(&mut bench);
    assert_eq!((bench.engine.memory()[0].endpoint, bench.engine.memory()[0].good.len()), (Some(at(1)), 0));
}

#[test]
fn after_a_reboot_what_was_last_good_on_this_wan_is_tried_first() {
    for (name, first) in [(Some("wwan0"), 1), (Some("eth0"), 2), (Some("usb0"), 2), (None, 2)] {
        let bench = started(two_wans(), name, peer(ALICE, None));
        assert_eq!(bench.sets().first(), Some(&(at(first), Reason::Remembered)), "{name:?}");
    }
}

#[test]
fn after_a_restart_what_was_last_good_on_this_wan_is_the_first_of_the_candidates() {
    for (name, first) in [("wwan0", 1), ("eth0", 2)] {
        let mut bench = started(two_wans(), Some(name), peer(ALICE, Some(at(3))));
        bench.run(secs(30));
        assert_eq!(bench.sets().first(), Some(&(at(first), Reason::Candidate)), "{name}");
    }
}

/// ALICE, who was confirmed so many seconds after what the clock says now.
fn ahead(seconds: u64) -> Remembered {
    Remembered { confirmed: WallTime { seconds: WALL + seconds, nanos: 0 }, ..remembered(ALICE, at(1)) }
}

/// What was said about our own clock: behind or not.
fn said(bench: &Bench) -> Vec<bool> {
    let clock = |report: &&Report| match report {
        Report::OwnClock { behind } => Some(behind.is_some()),
        _ => None,
    };
    bench.reports().iter().filter_map(clock).collect()
}

#[test]
fn a_clock_before_the_newest_remembered_time_looks_wrong_until_it_is_set() {
    let mut bench = started(vec![ahead(3600)], None, peer(ALICE, Some(at(1))));
    let behind = bench.engine.status(bench.now).clock_behind.unwrap();
    assert!(behind > secs(3590) && behind <= secs(3600), "{behind:?}");
    bench.run(secs(300));
    assert_eq!(said(&bench), [true], "told once");
    bench.clock_step = 3600;
    bench.event(Event::ClockStepped { wall: bench.wall() });
    assert_eq!((bench.engine.status(bench.now).clock_behind, said(&bench)), (None, vec![true, false]));
}

#[test]
fn a_clock_that_catches_up_by_itself_or_is_little_behind_is_no_alarm() {
    let bench = started(vec![ahead(50)], None, peer(ALICE, Some(at(1))));
    assert_eq!((bench.engine.status(bench.now).clock_behind, said(&bench).len()), (None, 0));
    let mut bench = started(vec![ahead(100)], None, peer(ALICE, Some(at(1))));
    bench.device.peers[0].keepalive = 25;
    bench.run(secs(200));
    assert_eq!((bench.engine.status(bench.now).clock_behind, said(&bench)), (None, vec![true, false]));
}

#[test]
fn a_step_back_while_we_watch_is_noticed_with_the_step() {
    let mut bench = started(vec![], None, peer(ALICE, Some(at(1))));
    bench.clock_step = 7200;
    lives(&mut bench);
    bench.clock_step = 0;
    bench.event(Event::ClockStepped { wall: bench.wall() });
    let behind = bench.engine.status(bench.now).clock_behind.unwrap();
    assert!(behind > secs(7100) && behind <= secs(7200), "{behind:?}");
}

#[test]
fn a_clock_that_is_behind_takes_nothing_remembered_for_older() {
    let mut bench = started(vec![ahead(3600)], None, peer(ALICE, Some(at(1))));
    // ALICE calls, so that this says nothing about our clock.
    bench.authentic(at(2));
    bench.device.peers[0].endpoint = Some(at(2));
    lives(&mut bench);
    lives(&mut bench);
    let memory = bench.engine.memory();
    assert_eq!((memory[0].endpoint, memory[0].confirmed.seconds), (Some(at(2)), WALL + 3600));
    assert_eq!(said(&bench), [true]);
    // Somebody new has no other time than this one.
    bench.device.peers.push(peer(BOB, Some(at(7))));
    bench.run(secs(6));
    bench.initiation(at(7), Verdict::Authentic { peer: BOB, timestamp: Timestamp([1; 12]) });
    bench.device.peers[1].rx_bytes = 148;
    bench.run(secs(6));
    bench.device.peers[1].rx_bytes += 32;
    bench.device.peers[1].last_handshake = Some(bench.wall());
    bench.run(secs(6));
    assert!(bench.engine.memory()[1].confirmed.seconds < WALL + 60);
    // Once the clock is right, times go on.
    bench.clock_step = 7200;
    lives(&mut bench);
    assert!(bench.engine.memory()[0].confirmed.seconds >= WALL + 7200);
}

/// A peer drops what is older than what it had from us: if it takes our handshake, that was not so new.
#[test]
fn a_handshake_of_ours_that_is_taken_shows_that_the_clock_ran_ahead_before() {
    let year = 366 * 86_400;
    let mut bench = started(vec![ahead(year)], None, peer(ALICE, Some(at(1))));
    assert_eq!(said(&bench), [true]);
    lives(&mut bench);
    assert_eq!(said(&bench), [true, false]);
    let memory = bench.engine.memory();
    assert!(memory[0].confirmed.seconds < WALL + 60, "{:?}", memory[0].confirmed);
    assert_eq!(said(&started(memory, None, peer(ALICE, Some(at(1))))), [true; 0]);
}

#[test]
fn a_handshake_with_somebody_who_knows_no_later_time_says_nothing_about_the_clock() {
    let bob = Remembered { peer: BOB, ..remembered(BOB, at(7)) };
    let mut bench = started(vec![ahead(3600), bob], None, peer(ALICE, Some(at(1))));
    bench.device.peers.push(peer(BOB, Some(at(7))));
    bench.run(secs(6));
    bench.device.peers[1].last_handshake = Some(bench.wall());
    bench.device.peers[1].rx_bytes = 92;
    bench.run(secs(6));
    assert_eq!(said(&bench), [true]);
    assert!(bench.engine.status(bench.now).clock_behind.is_some());
}
