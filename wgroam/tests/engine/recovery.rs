// SPDX-License-Identifier: GPL-2.0-only
//! Peers that are dialed: what counts as silence, and what is done about it in which order.

use std::net::SocketAddr;

use wgroam::config::Config;
use wgroam::engine::constants::{BACKOFF_MAX, DEAD, PORT_AFTER, SILENCE};
use wgroam::engine::{Action, Command, Event, Evidence, Problem, Reason, Report, ResolveError, Step};
use wgroam::wan::WanChange;

use super::bench::{ALICE, BOB, Bench, at, millis, peer, secs, wan_address, wg0};
use super::dialed::{
    PROBED, alice, answer, asked_for, at_home, readds, recovered, section, start, talk, words,
};

// What counts as silence.

#[test]
fn a_peer_that_was_never_heard_goes_to_its_first_candidate_at_once() {
    let bench = start(vec![alice()], vec![peer(ALICE, None)]);
    assert_eq!(bench.sets(), [(at(1), Reason::Candidate)]);
    assert_eq!(bench.pokes().len(), 1);
    assert!(matches!(bench.steps()[..], [(ALICE, Step::Try(to), Evidence::NoHandshake, _)] if to == at(1)));
    // The peer that is removed is told nothing: it might call, and the call of the new one would be refused.
    let told = bench.log.iter().filter(|(_, action)| {
        matches!(action, Action::SetEndpoint { .. } | Action::ClearSource { .. } | Action::ReaddPeer { .. })
    });
    assert_eq!(told.count(), 1, "{:?}", bench.log);
}

#[test]
fn data_that_is_not_answered_for_five_seconds_is_silence() {
    let mut bench = at_home(alice(), vec![]);
    talk(&mut bench, 4);
    assert_eq!(bench.steps(), []);
    talk(&mut bench, 6);
    let (_, step, evidence, after) = bench.steps()[0];
    assert_eq!((step, evidence), (Step::Poke, Evidence::Unanswered));
    assert!((SILENCE..SILENCE + secs(2)).contains(&after), "{after:?}");
}

#[test]
fn keepalives_need_no_answer() {
    let mut bench = at_home(alice(), vec![]);
    for _ in 0..6 {
        bench.device.peers[0].tx_bytes += 32;
        bench.run(secs(25));
        bench.device.peers[0].last_handshake = Some(bench.wall());
    }
    assert_eq!(bench.steps(), []);
    assert_eq!(bench.pokes(), []);
}

#[test]
fn a_lost_probe_is_silence_after_a_second() {
    let mut home = alice();
    (home.probe, home.probe_interval) = (Some(PROBED.parse().unwrap()), 5);
    let mut bench = at_home(home, vec![]);
    bench.run(secs(8));
    let (_, step, evidence, after) = bench.steps()[0];
    assert_eq!((step, evidence, after), (Step::Poke, Evidence::Probe, secs(1)));
}

/// Two lost probes, and each time WireGuard's keepalive for data that nobody answered, or a router's word that nobody has
/// the address.
#[test]
fn a_target_that_does_not_answer_is_told_and_another_one_is_judged_anew() {
    for life in [32, 160] {
        told_and_judged_anew(life);
    }
}

fn told_and_judged_anew(life: u64) {
    let mut home = alice();
    (home.probe, home.probe_interval) = (Some(PROBED.parse().unwrap()), 5);
    let mut bench = at_home(home.clone(), vec![]);
    let problems = |bench: &Bench| bench.engine.status(bench.now).devices[0].peers[0].problems.clone();
    for _ in 0..2 {
        assert_eq!(problems(&bench), []);
        bench.log.clear();
        bench.run(secs(8));
        assert_ne!(bench.steps(), []);
        bench.device.peers[0].rx_bytes += life;
        bench.run(secs(1));
    }
    assert_eq!(problems(&bench), [Problem::ProbeMute { target: PROBED.parse().unwrap() }]);
    bench.log.clear();
    let probes = |bench: &Bench| bench.count(|action| matches!(action, Action::Probe { .. }));
    let sent = bench.device.peers[0].tx_bytes;
    for _ in 0..60 {
        bench.run(millis(500));
        bench.device.peers[0].tx_bytes = sent + 112 * probes(&bench) as u64;
    }
    assert_eq!((bench.steps(), probes(&bench)), (vec![], 6), "they are explained");

    let other = "fd00::2".parse().unwrap();
    home.probe = Some(other);
    bench.engine.reload(bench.now, Config { peers: vec![home], ..Config::default() });
    bench.log.clear();
    bench.run(secs(8));
    assert_eq!(problems(&bench), []);
    let at = |wanted: &dyn Fn(&Action) -> bool| bench.log.iter().position(|(_, action)| wanted(action));
    let asked = at(&|action| matches!(action, Action::Probe { target, .. } if *target == other));
    let step = at(&|action| matches!(action, Action::Report(Report::Step { evidence: Evidence::Probe, .. })));
    assert!(asked.is_some() && asked < step, "{asked:?} {step:?}");
}

#[test]
fn a_change_of_wan_is_watched_and_an_answer_to_the_poke_ends_it() {
    let mut bench = at_home(alice(), vec![]);
    bench.event(wan_address());
    bench.run(millis(100));
    bench.device.peers[0].rx_bytes += 32;
    bench.run(secs(10));
    assert!(recovered(&bench));
    assert_eq!(bench.steps(), []);
    assert_eq!(bench.pokes().len(), 2);
}

/// Of a tunnel that is known to be answered every 10 s only, the proof comes after the watch for the WAN's sake is over.
#[test]
fn a_change_of_wan_is_not_forgotten_while_an_answer_is_awaited() {
    let mut bench = at_home(alice(), vec![]);
    talk(&mut bench, 8);
    bench.device.peers[0].rx_bytes += 32;
    bench.run(secs(1));
    bench.log.clear();
    bench.event(wan_address());
    talk(&mut bench, 20);
    let tried = |(_, step, ..): &&(_, Step, _, _)| matches!(step, Step::Try(_));
    let after = bench.steps().iter().find(tried).map(|(.., after)| *after);
    assert!(after.is_some_and(|after| after <= DEAD + secs(2)), "{after:?} {:?}", words(&bench));
}

// The order of the steps.

#[test]
fn the_steps_come_in_order_each_after_its_time() {
    let mut home = alice();
    home.probe = Some(PROBED.parse().unwrap());
    let mut bench = at_home(home, vec![]);
    talk(&mut bench, 20);
    let order = ["poke", "clear-source", "probe", "rotate-port", "try", "go-back", "restore-port"];
    assert_eq!(words(&bench)[..7], order);
    let after: Vec<_> = bench.steps().iter().map(|(.., after)| *after).collect();
    assert!(after[1] >= after[0] + secs(1) && after[2] >= after[1] + secs(1), "{after:?}");
    assert!(after[3] + SILENCE >= PORT_AFTER && after[4] + SILENCE >= DEAD, "{after:?}");
}

#[test]
fn the_candidate_that_was_good_last_comes_first() {
    let mut bench = start(vec![alice()], vec![peer(ALICE, None)]);
    bench.device.peers[0].endpoint = Some(at(2));
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.run(secs(2));
    for _ in 0..3 {
        bench.device.peers[0].rx_bytes += 128;
        bench.run(secs(2));
    }
    bench.log.clear();
    bench.device.ifindex += 1;
    bench.device.peers[0] = peer(ALICE, None);
    bench.event(Event::DeviceUp { interface: wg0() });
    let tried = |(_, step, ..): &(_, Step, _, _)| matches!(step, Step::Try(to) if *to == at(2));
    assert!(bench.sets().contains(&(at(2), Reason::Remembered)) || bench.steps().iter().any(tried));
    assert!(!bench.sets().iter().any(|(to, _)| *to == at(1)));
}

#[test]
fn a_name_that_means_another_address_by_now_is_followed_at_the_first_evidence() {
    let mut home = section(ALICE, &["home.example"]);
    (home.probe, home.probe_interval) = (Some(PROBED.parse().unwrap()), 5);
    let mut bench = at_home(home, vec![]);
    answer(&mut bench, "home.example", 1);
    bench.run(secs(1));
    let token = |bench: &Bench| {
        bench.log.iter().rev().find_map(|(_, action)| match action {
            Action::Probe { token, .. } => Some(*token),
            _ => None,
        })
    };
    // It answers for a while, and moves then.
    for _ in 0..20 {
        bench.device.peers[0].rx_bytes += 128;
        if let Some(token) = token(&bench) {
            bench.event(Event::ProbeReply { interface: wg0(), target: PROBED.parse().unwrap(), token });
        }
        bench.run(millis(500));
    }
    bench.log.clear();
    while asked_for(&bench, "home.example") == 0 {
        bench.run(millis(50));
    }
    let silent = bench.now;
    answer(&mut bench, "home.example", 7);
    bench.run(millis(200));
    assert_eq!(bench.sets(), [(at(7), Reason::Candidate)], "{:?} after {silent:?}", bench.now);
}

#[test]
fn a_new_address_is_tried_before_those_that_failed() {
    let mut bench = start(vec![section(ALICE, &["home.example", "203.0.113.2"])], vec![peer(ALICE, None)]);
    answer(&mut bench, "home.example", 1);
    bench.run(secs(30));
    bench.log.clear();
    answer(&mut bench, "home.example", 7);
    bench.run(millis(300));
    assert_eq!(bench.sets(), [(at(7), Reason::Candidate)]);
}

/// The name server drops one of two addresses and has it again. Before 11 s it is not sure that home is dead.
#[test]
fn an_address_that_was_tried_and_comes_back_as_news_moves_the_peer_to_no_other_one() {
    let mut bench = at_home(section(ALICE, &["home.example"]), vec![]);
    let says = |bench: &mut Bench, hosts: &[u8]| {
        let answer = Ok(hosts.iter().map(|&host| at(host).ip()).collect());
        bench.event(Event::Resolved { host: "home.example".into(), answer });
    };
    says(&mut bench, &[8]);
    talk(&mut bench, 6);
    bench.log.clear();
    says(&mut bench, &[7, 8]);
    talk(&mut bench, 3);
    let tried = [(at(7), Reason::Candidate), (at(1), Reason::Returned)];
    assert_eq!(bench.sets(), tried, "what is new is tried");
    says(&mut bench, &[8]);
    says(&mut bench, &[7, 8]);
    talk(&mut bench, 1);
    assert_eq!(bench.sets(), tried);
    talk(&mut bench, 6);
    assert!(bench.sets().contains(&(at(8), Reason::Candidate)), "{:?}", bench.sets());
}

#[test]
fn each_address_has_a_second_in_the_first_round_while_wireguard_never_heard_of_the_peer() {
    let mut bench = start(vec![alice()], vec![peer(ALICE, None)]);
    bench.run(millis(1500));
    let to: Vec<_> = bench.sets().iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [at(1), at(2)]);
    assert_eq!(readds(&bench), 2);
    // From the second round on each has the time that WireGuard takes for one handshake.
    bench.run(secs(10));
    bench.log.clear();
    bench.run(secs(20));
    assert_eq!(readds(&bench), 0);
    assert!(bench.sets().len() <= 5, "{:?}", bench.sets());
}

#[test]
fn the_first_sign_of_life_ends_it() {
    let mut bench = at_home(alice(), vec![]);
    talk(&mut bench, 15);
    assert_eq!(bench.sets()[0].1, Reason::Candidate);
    bench.device.peers[0].rx_bytes += 128;
    bench.run(secs(1));
    assert!(recovered(&bench));
    bench.log.clear();
    bench.run(secs(30));
    assert_eq!((bench.sets(), bench.steps()), (vec![], vec![]));
}

// Names.

#[test]
fn a_name_that_is_never_answered_holds_up_no_other_peer() {
    let quiet = section(BOB, &["quiet.example"]);
    let mut bench = start(vec![quiet, alice()], vec![peer(BOB, None), peer(ALICE, None)]);
    assert_eq!(bench.sets(), [(at(1), Reason::Candidate)]);
    bench.run(millis(1500));
    let to: Vec<_> = bench.sets().iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [at(1), at(2)], "she goes on");
    assert_eq!(asked_for(&bench, "quiet.example"), 1, "not twice at once");
    assert!(bench.steps().iter().all(|(key, ..)| *key == ALICE), "nothing can be done about him");
}

#[test]
fn a_name_that_fails_holds_up_no_other_name_of_the_peer() {
    let mut bench = start(vec![section(ALICE, &["gone.example", "home.example"])], vec![peer(ALICE, None)]);
    bench.event(Event::Resolved { host: "gone.example".into(), answer: Err(ResolveError::NotFound) });
    answer(&mut bench, "home.example", 2);
    bench.run(millis(100));
    assert_eq!(bench.sets(), [(at(2), Reason::Candidate)]);
}

// Rests.

/// Silent for two hours: rests of a minute and more.
fn resting() -> Bench {
    let mut bench = start(vec![section(ALICE, &["203.0.113.1"])], vec![peer(ALICE, None)]);
    bench.run(secs(7200));
    let rest = |(_, step, ..): &(_, Step, _, _)| matches!(step, Step::Rest(time) if *time == BACKOFF_MAX);
    assert!(bench.steps().iter().any(rest));
    while !matches!(bench.steps().last(), Some((_, Step::Rest(_), ..))) {
        bench.run(secs(1));
    }
    bench.run(secs(2));
    bench.log.clear();
    bench
}

#[test]
fn rests_grow_to_a_minute_and_the_work_is_bounded() {
    let mut bench = resting();
    bench.run(secs(3600));
    assert!(bench.pokes().len() <= 4 * 60, "{} pokes an hour", bench.pokes().len());
    assert!(bench.snapshots().len() <= 60 * 60, "{} looks an hour", bench.snapshots().len());
}

#[test]
fn any_event_ends_a_rest() {
    let events = [
        Event::WanChanged(WanChange::Route(Some("eth0".parse().unwrap()))),
        Event::ClockStepped { wall: Default::default() },
        Event::Command(Command::Poke { interface: None, peer: None }),
        Event::Command(Command::Poke { interface: Some(wg0()), peer: Some(ALICE) }),
        Event::Command(Command::Retry),
    ];
    for event in events {
        let mut bench = resting();
        bench.event(event.clone());
        bench.run(secs(5));
        assert!(bench.pokes()[0].0 <= bench.now - bench.start - millis(4500), "{event:?}");
        assert!(bench.steps().iter().any(|(.., after)| *after < secs(6)), "{event:?} {:?}", bench.steps());
    }
}

#[test]
fn who_is_not_configured_is_not_gone_to() {
    let mut bench = start(vec![alice()], vec![peer(BOB, Some(SocketAddr::from(([192, 0, 2, 9], 9))))]);
    bench.run(secs(60));
    assert_eq!((bench.sets(), bench.steps()), (vec![], vec![]));
}
