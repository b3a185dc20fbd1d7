// SPDX-License-Identifier: GPL-2.0-only
//! What random journeys once found, each as a short story told at many moments: the referee judges.

use std::net::SocketAddr;
use std::time::Duration;

use wgroam::config::{Candidate, Config, Family, Peer, RotatePort, Tunnel};
use wgroam::engine::{Action, Command, Event};
use wgroam::model::WallTime;
use wgroam::wan::WanChange;

use super::court::Court;
use super::draw::{Call, Change, Fate, Step, address, interface, key};
use super::outside::{Dns, Echo, Load, Reach};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A peer of wg0 at these hosts.
fn section(n: usize, hosts: &[&str]) -> Peer {
    let candidate = |host: &&str| Candidate { host: (*host).into(), port: 51820 };
    Peer {
        name: format!("peer{n}"),
        tunnel: interface(0),
        public_key: key(n),
        endpoints: hosts.iter().map(candidate).collect(),
        family: Family::Any,
        keepalive: None,
        probe: None,
        probe_interval: 0,
        readd: false,
    }
}

fn config(rotate_port: RotatePort, peers: Vec<Peer>) -> Config {
    let tunnel = Tunnel { interface: interface(0), enabled: true, unreachable: true, rotate_port };
    Config { tunnels: vec![tunnel], peers, ..Config::default() }
}

/// wg0 is up with these sections; nobody answers but who is told to.
fn court(config: Config) -> Court {
    let mut court = Court::new(config);
    let silent = |n| Step::Path(interface(0), n, Reach::Nowhere, Load::BothWays);
    (0..4).map(silent).for_each(|step| court.take(step));
    court.take(Step::Event(Event::DeviceUp { interface: interface(0) }));
    court
}

fn poke() -> Event {
    Event::Command(Command::Poke { interface: None, peer: None })
}

fn did(court: &Court, what: impl Fn(&Action) -> bool) -> bool {
    court.actions.iter().any(|(_, action)| what(action))
}

/// The look that could rotate the port may be the one that shows that another peer lives.
#[test]
fn a_peer_that_has_just_come_to_life_keeps_its_port() {
    let mut rotated = false;
    for moment in (0..12_000).step_by(50) {
        let two = vec![section(0, &["192.0.2.1"]), section(1, &["192.0.2.2"])];
        let mut court = court(config(RotatePort::Always, two));
        court.wait(millis(moment));
        // Seen with the next look, whenever that is.
        let wall = court.wall();
        court.devices.get_mut(&interface(0)).unwrap().peers[1].last_handshake = Some(wall);
        court.wait(millis(2_000));
        rotated |= did(&court, |action| matches!(action, Action::SetPort { .. }));
    }
    assert!(rotated, "nothing was put to the test");
}

/// Uses up what a peer may be poked in a row.
fn exhaust(court: &mut Court) {
    for _ in 0..40 {
        court.wait(millis(150));
        court.take(Step::Event(poke()));
    }
}

/// The endpoint that this tells.
fn sets(action: &Action) -> Option<SocketAddr> {
    match action {
        Action::SetEndpoint { endpoint, .. } => Some(*endpoint),
        Action::ReaddPeer { endpoint, .. } => endpoint.map(|(endpoint, _)| endpoint),
        _ => None,
    }
}

/// The clock is set again and again, so that adding a silent peer anew has to wait for its turn; meanwhile it answers.
#[test]
fn what_waits_for_its_turn_is_off_when_the_peer_answers() {
    let readds = |moment, answers| {
        let peer = Peer { readd: true, ..section(0, &["192.0.2.1"]) };
        let mut court = court(config(RotatePort::Never, vec![peer]));
        exhaust(&mut court);
        for _ in 0..3 {
            court.take(Step::Event(Event::ClockStepped { wall: WallTime::default() }));
            court.wait(millis(60));
        }
        court.wait(millis(moment));
        court.actions.clear();
        if answers {
            court.take(Step::Change(interface(0), Change::Handshake(0)));
        }
        court.wait(millis(1_500));
        court.actions.iter().filter(|(_, action)| matches!(action, Action::ReaddPeer { .. })).count()
    };
    let moments = (0..1_000).step_by(20);
    let waited: Vec<u64> = moments.filter(|&moment| readds(moment, false) > 0).collect();
    assert!(!waited.is_empty(), "nothing was put to the test");
    for moment in waited {
        assert_eq!(readds(moment, true), 0, "{moment}");
    }
}

#[test]
fn a_candidate_that_a_reload_takes_out_is_not_tried_any_more() {
    for moment in (0..8_000).step_by(50) {
        let mut court = court(config(RotatePort::Never, vec![section(0, &["192.0.2.1", "192.0.2.2"])]));
        exhaust(&mut court);
        court.wait(millis(moment));
        court.take(Step::Reload(config(RotatePort::Never, vec![section(0, &["192.0.2.3"])])));
        court.wait(millis(8_000));
        let new = "192.0.2.3:51820".parse().unwrap();
        assert!(did(&court, |action| sets(action) == Some(new)));
    }
}

/// Both in one look, and the peer is one that may be re-added.
#[test]
fn a_set_clock_and_an_owner_s_poke_leave_a_live_session_alone() {
    let peer = Peer { readd: true, ..section(0, &["192.0.2.1"]) };
    let mut court = court(config(RotatePort::Never, vec![peer]));
    court.take(Step::Path(interface(0), 0, Reach::Anywhere, Load::BothWays));
    // Not the moment of a regular look, which would take all three at once.
    court.wait(millis(20_100));
    court.actions.clear();
    court.take(Step::Event(Event::WanChanged(WanChange::Up("eth0".parse().unwrap()))));
    court.take(Step::Event(Event::ClockStepped { wall: WallTime::default() }));
    court.take(Step::Event(poke()));
    court.wait(millis(5_000));
    assert!(!did(&court, |action| matches!(action, Action::ReaddPeer { .. })));
}

/// Between two looks the probe is answered: what was sent before that is not unanswered.
#[test]
fn silence_begins_with_the_reply_to_a_probe_and_not_with_the_look_before() {
    for delay in (5..900).step_by(45) {
        let peer = Peer {
            probe: Some([0xfd00, 0, 0, 0, 0, 0, 0, 0].into()),
            probe_interval: 7,
            ..section(0, &["a.example"])
        };
        let mut court = Court::new(config(RotatePort::Never, vec![peer]));
        let answer = Ok(vec![[192, 0, 2, 1].into()]);
        court.take(Step::Dns(0, Dns::After(millis(20), answer)));
        court.take(Step::Path(interface(0), 0, Reach::Anywhere, Load::OneWay));
        court.take(Step::Echo(interface(0), Echo::After(millis(delay))));
        court.take(Step::Event(Event::DeviceUp { interface: interface(0) }));
        court.wait(millis(120_000));
    }
}

/// WireGuard took its call, and the answer got lost: it is there, at any moment of the trial.
#[test]
fn a_peer_that_calls_from_where_it_is_tried_is_not_left_again() {
    let away: SocketAddr = "192.0.2.1:51820".parse().unwrap();
    let mut called = false;
    for moment in (0..20_000).step_by(50) {
        let mut court = court(config(RotatePort::Never, vec![section(0, &["192.0.2.1", "192.0.2.2"])]));
        // It has a session, so that data tells. Home is where somebody set it, and it was heard from there.
        court.take(Step::Change(interface(0), Change::Handshake(0)));
        court.take(Step::Change(interface(0), Change::Moved(0, Some(([192, 0, 2, 9], 51820).into()))));
        court.take(Step::Change(interface(0), Change::Received(0, 100)));
        court.wait(millis(moment));
        let here = court.devices[&interface(0)].peers[0].endpoint;
        if here != Some(away) {
            continue;
        }
        called = true;
        let call = Call { source: away, age: millis(0), fate: Fate::Taken };
        court.take(Step::Call(interface(0), 0, call));
        court.actions.clear();
        court.wait(millis(3_000));
        let first = court.actions.iter().find_map(|(_, action)| sets(action));
        assert_ne!(first, Some(([192, 0, 2, 9], 51820).into()), "{moment}");
    }
    assert!(called, "nothing was put to the test");
}

/// A change of our WAN takes a trial back, and that may wait for its turn when the engine ends, or when a reload takes the
/// peer's candidates out.
#[test]
fn a_way_back_that_waits_for_its_turn_is_not_lost() {
    let home = Some(([192, 0, 2, 9], 51820).into());
    let mut waited = [false; 2];
    for (moment, reloads) in (0..12_000).step_by(50).flat_map(|moment| [(moment, false), (moment, true)]) {
        let mut court = court(config(RotatePort::Never, vec![section(0, &["192.0.2.1", "192.0.2.2"])]));
        court.take(Step::Change(interface(0), Change::Moved(0, home)));
        court.wait(millis(moment));
        court.take(Step::Event(Event::WanChanged(WanChange::Up("eth0".parse().unwrap()))));
        court.wait(millis(20));
        if !court.homes.is_away((interface(0), key(0))) {
            continue;
        }
        waited[usize::from(reloads)] = true;
        if reloads {
            court.take(Step::Reload(config(RotatePort::Never, vec![section(0, &[])])));
            court.wait(millis(3_000));
            assert_eq!(court.devices[&interface(0)].peers[0].endpoint, home, "{moment}");
        } else {
            court.stop();
            court.check_stopped();
        }
    }
    assert_eq!(waited, [true; 2], "nothing was put to the test");
}

/// It was dead when it went, and its link is down when it comes back: the LAN is refused again when that is seen, not before.
#[test]
fn an_interface_that_comes_back_is_not_held_for_dead() {
    let refused = |court: &Court| court.table.refusals().count() > 0;
    let mut court = court(config(RotatePort::Never, vec![section(0, &["192.0.2.1"])]));
    court.wait(millis(10_000));
    assert!(refused(&court), "nothing was put to the test");
    court.take(Step::Event(Event::DeviceGone { interface: interface(0) }));
    assert!(!refused(&court));
    court.take(Step::Change(interface(0), Change::Link(false)));
    court.take(Step::Event(Event::DeviceUp { interface: interface(0) }));
    court.wait(millis(10_000));
    assert!(!refused(&court));
}

/// It called, and WireGuard did not take it; the poke that follows waits for its turn, for the owner poked just now.
#[test]
fn a_caller_s_address_that_became_our_own_is_not_set_any_more() {
    let at = (interface(1), key(3));
    let call = |n, fate| Call { source: address(n), age: millis(0), fate };
    let moves = |moment, own| {
        let mut court = Court::new(Config::default());
        court.take(Step::Event(Event::DeviceUp { interface: at.0 }));
        court.wait(millis(5_000));
        court.take(Step::Call(at.0, 3, call(1, Fate::Completed)));
        court.wait(millis(20_000));
        court.take(Step::Call(at.0, 3, call(2, Fate::Dropped)));
        court.wait(millis(450));
        court.take(Step::Event(poke()));
        court.wait(millis(moment));
        court.actions.clear();
        court.take(Step::Event(Event::OwnAddresses(own)));
        court.wait(millis(2_000));
        did(&court, |action| sets(action) == Some(address(2)))
    };
    let waiting: Vec<_> = (0..400).step_by(20).filter(|&moment| moves(moment, Vec::new())).collect();
    assert!(waiting.len() > 5, "nothing was put to the test");
    for moment in waiting {
        assert!(!moves(moment, vec![address(2).ip()]), "{moment}");
    }
}
