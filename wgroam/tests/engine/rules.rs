// SPDX-License-Identifier: GPL-2.0-only
//! What is never done to a peer that is dialed, however silent it is: the rules of the recovery.

use wgroam::config::{self, Config};
use wgroam::engine::constants::REKEY_TIMEOUT;
use wgroam::engine::{Action, Command, Event, Reason};

use super::bench::{ALICE, BOB, at, millis, peer, secs, wg0};
use super::dialed::{alice, answer, at_home, readds, rotations, section, start, talk, words};

#[test]
fn a_session_that_may_still_work_is_not_moved_before_eleven_seconds() {
    let mut bench = at_home(alice(), vec![]);
    talk(&mut bench, 10);
    assert_eq!(words(&bench), ["poke", "clear-source"]);
    assert_eq!((bench.sets(), rotations(&bench), readds(&bench)), (vec![], 0, 0));
}

#[test]
fn where_wireguard_learned_the_peer_to_be_it_stays_while_it_answers() {
    let mut bench = at_home(section(ALICE, &["home.example"]), vec![]);
    bench.device.peers[0].endpoint = Some(at(66));
    for host in [1, 2, 3] {
        bench.device.peers[0].rx_bytes += 128;
        talk(&mut bench, 2);
        answer(&mut bench, "home.example", host);
    }
    assert_eq!((bench.sets(), bench.steps()), (vec![], vec![]));
}

#[test]
fn the_port_stays_while_another_peer_s_session_works() {
    let mut bench = at_home(alice(), vec![peer(BOB, Some(at(9)))]);
    let tunnel = config::Tunnel {
        interface: wg0(),
        enabled: true,
        unreachable: true,
        rotate_port: config::RotatePort::Always,
    };
    let config = Config { tunnels: vec![tunnel], peers: vec![alice()], ..Config::default() };
    bench.engine.reload(bench.now, config);
    talk(&mut bench, 60);
    assert_eq!(rotations(&bench), 0);
    assert!(words(&bench).contains(&"try"));
    bench.device.peers[1].last_handshake = None;
    bench.run(secs(130));
    talk(&mut bench, 60);
    assert!(rotations(&bench) > 0, "it works no more");
}

#[test]
fn the_port_stays_where_somebody_has_to_find_us() {
    let mut bench = at_home(alice(), vec![peer(BOB, None)]);
    bench.device.peers[1].last_handshake = None;
    talk(&mut bench, 60);
    assert_eq!(rotations(&bench), 0, "BOB is not gone to: he may rely on it");
}

#[test]
fn the_port_stays_when_the_owner_says_so() {
    let tunnel = config::Tunnel {
        interface: wg0(),
        enabled: true,
        unreachable: true,
        rotate_port: config::RotatePort::Never,
    };
    let mut bench = at_home(alice(), vec![]);
    let config = Config { tunnels: vec![tunnel], peers: vec![alice()], ..Config::default() };
    bench.engine.reload(bench.now, config);
    talk(&mut bench, 60);
    assert_eq!(rotations(&bench), 0);
}

#[test]
fn the_port_changes_once_in_a_round_when_nothing_works() {
    let mut bench = at_home(alice(), vec![]);
    talk(&mut bench, 60);
    let rounds = words(&bench).iter().filter(|word| **word == "rest").count();
    let restored = words(&bench).iter().filter(|word| **word == "restore-port").count();
    assert!((rounds / 2..=rounds / 2 + 1).contains(&rotations(&bench)), "{:?}", words(&bench));
    assert!(rotations(&bench) - restored <= 1, "it is taken back: {:?}", words(&bench));
}

#[test]
fn a_peer_that_was_heard_is_only_added_anew_when_the_owner_allows_it() {
    for (allowed, least) in [(false, 0), (true, 1)] {
        let mut home = alice();
        home.readd = allowed;
        let mut bench = at_home(home, vec![]);
        // The session may work again as long as it lasts.
        talk(&mut bench, 160);
        assert_eq!(readds(&bench), 0);
        for _ in 0..20 {
            bench.device.peers[0].tx_bytes += 148;
            bench.run(millis(5200));
        }
        assert!(
            (least..=30 * least).contains(&readds(&bench)),
            "{allowed}: {} {:?}",
            readds(&bench),
            bench.steps()
        );
        let first = words(&bench).iter().position(|word| *word == "readd");
        let rotated = words(&bench).iter().position(|word| *word == "rotate-port");
        assert_eq!(first.is_some(), allowed);
        assert!(!allowed || first > rotated, "last of all: {:?}", words(&bench));
    }
}

#[test]
fn after_a_step_of_the_clock_who_was_never_heard_is_added_anew_with_its_endpoint() {
    for event in [Event::ClockStepped { wall: Default::default() }, Event::Command(Command::Retry)] {
        let mut bench = start(vec![alice()], vec![peer(ALICE, None)]);
        bench.run(secs(33));
        bench.log.clear();
        bench.event(event);
        bench.run(millis(250));
        let done = bench.log.iter().map(|(_, action)| action);
        let done: Vec<_> =
            done.filter(|a| matches!(a, Action::ReaddPeer { .. } | Action::Poke { .. })).collect();
        assert!(matches!(done[..], [Action::ReaddPeer { .. }, Action::Poke { .. }]), "{done:?}");
        assert_eq!(bench.sets(), [], "it has one");
    }
}

#[test]
fn after_a_step_of_the_clock_who_was_heard_is_only_poked() {
    let mut bench = start(vec![alice()], vec![peer(ALICE, None)]);
    bench.run(secs(3));
    // An initiation of hers came in: WireGuard knows the newest timestamp of her.
    bench.device.peers[0].rx_bytes = 148;
    bench.run(secs(30));
    bench.log.clear();
    bench.event(Event::ClockStepped { wall: Default::default() });
    bench.run(secs(10));
    assert_eq!(readds(&bench), 0);
    assert_eq!(bench.pokes()[0].1, Reason::ClockStepped);
}

#[test]
fn after_a_step_of_the_clock_who_is_only_awaited_is_only_poked() {
    let mut bench = start(vec![section(ALICE, &[])], vec![peer(ALICE, Some(at(1)))]);
    bench.run(secs(3));
    bench.log.clear();
    bench.event(Event::ClockStepped { wall: Default::default() });
    bench.run(secs(10));
    assert_eq!((readds(&bench), bench.pokes().len()), (0, 1));
}

/// The poke has to wait for its turn, and the peer is heard meanwhile.
#[test]
fn who_is_heard_just_before_it_is_added_anew_is_not() {
    let mut bench = start(vec![alice()], vec![peer(ALICE, None)]);
    bench.run(millis(100));
    bench.log.clear();
    bench.event(Event::Command(Command::Retry));
    assert_eq!(bench.pokes(), [], "too soon after the last");
    bench.device.peers[0].rx_bytes = 148;
    bench.run(millis(300));
    assert!(!bench.pokes().is_empty());
    assert_eq!(readds(&bench), 0);
}

/// The peer calls, WireGuard answers, and the handshake is complete with the peer's first packet, a round trip later.
#[test]
fn who_has_just_called_is_not_added_anew_in_the_middle_of_the_handshake() {
    let mut home = alice();
    home.readd = true;
    let mut bench = at_home(home, vec![]);
    bench.run(secs(200));
    for called in [false, true] {
        bench.log.clear();
        for step in 0..600 {
            if step % 52 == 0 {
                bench.device.peers[0].tx_bytes += 148;
            }
            if called && step % 9 == 0 {
                bench.device.peers[0].rx_bytes += 148;
            }
            bench.run(millis(100));
        }
        assert_eq!(readds(&bench) == 0, called, "{:?}", words(&bench));
    }
}

#[test]
fn looking_again_disturbs_nobody_who_has_a_session() {
    let mut bench = at_home(alice(), vec![]);
    bench.event(Event::Command(Command::Retry));
    bench.run(secs(20));
    assert_eq!((bench.pokes(), bench.sets(), bench.steps()), (vec![], vec![], vec![]));
}

/// One port serves them all: a second change would cut the handshakes that the first one brought about.
#[test]
fn two_silent_peers_have_the_port_changed_once_for_both() {
    let bob = section(BOB, &["203.0.113.3", "203.0.113.4"]);
    let mut bench = start(vec![alice(), bob], vec![peer(ALICE, None), peer(BOB, None)]);
    bench.run(secs(300));
    let changed: Vec<_> =
        bench.log.iter().filter(|(_, action)| matches!(action, Action::SetPort { port: 0, .. })).collect();
    assert!(changed.len() > 5, "{}", changed.len());
    let closest = changed.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap();
    assert!(closest >= REKEY_TIMEOUT, "{closest:?} from one change to the next");
}
