// SPDX-License-Identifier: GPL-2.0-only
//! What an initiation leads to, proven or not, and what is said about clocks and strangers.

use std::time::Duration;
use wgroam::engine::constants::STRANGER_BURST;
use wgroam::engine::{Command, Event, Problem, Reason, Report};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::PublicKey;

use super::bench::{ALICE, Bench, at, millis, peer, secs, wg0};

#[test]
fn an_initiation_that_wireguard_does_not_take_sets_the_endpoint() {
    let mut bench = Bench::proven();
    bench.authentic(at(2));
    bench.run(secs(3));
    assert_eq!(bench.sets(), [(at(2), Reason::Initiation)]);
    assert_eq!(bench.pokes().len(), 1);
    let not_taken = Report::NotTaken { interface: wg0(), peer: ALICE, source: at(2), up: true };
    assert!(bench.reports().contains(&&not_taken));
    let status = bench.engine.status(bench.now);
    assert!(matches!(status.devices[0].peers[0].problems[..], [Problem::NotTaken { up: true, .. }]));
}

#[test]
fn the_first_initiation_ever_seen_only_fills_a_void() {
    for (endpoint, sets) in [(Some(at(1)), vec![]), (None, vec![(at(2), Reason::Initiation)])] {
        let mut bench = Bench::settled(vec![], vec![peer(ALICE, endpoint)]);
        bench.authentic(at(2));
        bench.run(secs(3));
        assert_eq!(bench.sets(), sets);
        let told = |report: &&&Report| matches!(report, Report::NotTaken { .. });
        assert_eq!(bench.reports().iter().filter(told).count(), 1);
    }
}

#[test]
fn an_endpoint_that_carries_traffic_is_not_overwritten() {
    let mut bench = Bench::proven();
    bench.authentic(at(2));
    bench.run(millis(300));
    bench.device.peers[0].rx_bytes += 128;
    bench.run(secs(10));
    assert_eq!((bench.sets(), bench.pokes()), (vec![], vec![]));
}

#[test]
fn an_initiation_that_wireguard_took_names_the_reason_of_the_move() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    bench.authentic(at(2));
    bench.device.peers[0].endpoint = Some(at(2));
    bench.device.peers[0].rx_bytes += 148;
    bench.run(millis(150));
    let status = bench.engine.status(bench.now);
    let alice = &status.devices[0].peers[0];
    assert_eq!((alice.reason, alice.moves, alice.history[0].old), (Some(Reason::Initiation), 1, Some(at(1))));
    assert_eq!((bench.sets(), bench.pokes()), (vec![], vec![]));
}

#[test]
fn the_newer_initiation_counts() {
    let mut bench = Bench::proven();
    bench.authentic(at(2));
    bench.run(millis(400));
    bench.authentic(at(3));
    bench.run(secs(5));
    assert_eq!(bench.sets(), [(at(3), Reason::Initiation)]);
}

#[test]
fn an_initiation_for_an_interface_that_is_down_is_reported_once_and_nothing_is_set() {
    let mut bench = Bench::proven();
    bench.device.up = false;
    for _ in 1..20 {
        bench.authentic(at(2));
        bench.run(secs(5));
    }
    let told = Report::NotTaken { interface: wg0(), peer: ALICE, source: at(2), up: false };
    assert_eq!(bench.reports().iter().filter(|report| ***report == told).count(), 1);
    assert_eq!((bench.sets(), bench.pokes()), (vec![], vec![]));
}

#[test]
fn who_calls_again_from_where_it_was_moved_to_is_not_moved_back() {
    for calls_again in [false, true] {
        let mut bench = Bench::proven();
        bench.authentic(at(2));
        bench.run(secs(5));
        assert_eq!(bench.sets(), [(at(2), Reason::Initiation)]);
        if calls_again {
            bench.authentic(at(2));
        }
        bench.run(secs(10));
        let back = bench.sets().contains(&(at(1), Reason::Returned));
        assert_eq!(back, !calls_again, "{:?}", bench.sets());
    }
}

/// Three recordings that nobody heard have as many bytes as data; but without a session nobody can send data.
#[test]
fn where_no_handshake_was_ever_completed_nothing_is_proven_however_much_came() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    for bytes in [3 * 148, 444 + 32, 4 * 148] {
        bench.device.peers[0].rx_bytes += bytes;
        bench.run(secs(6));
        assert_eq!(bench.engine.memory(), [], "{bytes}");
    }
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.device.peers[0].rx_bytes += 32;
    bench.run(secs(6));
    assert_eq!(bench.engine.memory()[0].endpoint, Some(at(1)));
}

#[test]
fn an_endpoint_that_nobody_can_have_is_never_set() {
    for source in ["0.0.0.0:51820", "203.0.113.2:0", "[fe80::1]:51820", "224.0.0.1:51820"] {
        let mut bench = Bench::proven();
        bench.authentic(source.parse().unwrap());
        bench.run(secs(5));
        assert_eq!(bench.sets(), [], "{source}");
    }
}

#[test]
fn a_clock_that_runs_behind_is_a_problem_until_the_peer_proves_itself() {
    let replay = |behind| Verdict::Replay {
        peer: ALICE,
        timestamp: Timestamp([0; 12]),
        behind: Duration::from_secs(behind),
    };
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    let problems = |bench: &Bench| bench.engine.status(bench.now).devices[0].peers[0].problems.clone();
    bench.initiation(at(2), replay(0));
    assert_eq!(problems(&bench), [], "the same packet again is no clock");
    bench.initiation(at(2), replay(3600));
    assert!(matches!(problems(&bench)[..], [Problem::ClockBehind { behind, .. }] if behind == secs(3600)));
    bench.authentic(at(2));
    assert_eq!(problems(&bench), []);
    bench.initiation(at(2), replay(3600));
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.run(secs(5));
    assert_eq!(problems(&bench), []);
}

#[test]
fn strangers_are_told_at_first_sight_and_few_in_a_minute() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    for n in 0..60_u8 {
        for _ in 0..5 {
            bench.initiation(at(n), Verdict::UnknownPeer { claimed: PublicKey([n; 32]) });
        }
        bench.run(secs(1));
    }
    let told = bench.reports().iter().filter(|report| matches!(report, Report::Stranger { .. })).count();
    assert!((STRANGER_BURST as usize..=6).contains(&told), "{told}");
    let status = bench.engine.status(bench.now);
    let listed: u64 = status.devices[0].strangers.iter().map(|stranger| stranger.packets).sum();
    assert_eq!(listed + status.devices[0].strangers_forgotten, 300);
}

#[test]
fn what_waits_in_the_queue_is_off_when_a_newer_initiation_comes() {
    let mut bench = Bench::proven();
    // The owner uses up the pokes that a peer may have in a row.
    for _ in 0..12 {
        bench.event(Event::Command(Command::Poke { interface: None, peer: None }));
        bench.run(millis(200));
    }
    bench.authentic(at(2));
    bench.run(millis(550));
    assert_eq!(bench.sets(), [], "waits for its turn");
    bench.authentic(at(1));
    bench.run(secs(10));
    assert_eq!(bench.sets(), []);
}
