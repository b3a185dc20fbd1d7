// SPDX-License-Identifier: GPL-2.0-only
//! What random journeys once found, each as a short story told at many moments: the referee judges.

use std::time::Duration;
use wgroam::config::{Candidate, Config, Family, Peer, RotatePort, Tunnel};
use wgroam::engine::{self as report, Action, Command, Event, Report, WanChange};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::WallTime;

use super::court::Court;
use super::draw::{Change, Step, interface, key};
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
        rotated |= did(&court, |action| matches!(action, Action::RotatePort { .. }));
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

/// Was this step decided, and what it asks for not yet done?
fn waits(court: &Court, step: impl Fn(&report::Step) -> bool, done: impl Fn(&Action) -> bool) -> bool {
    let decided =
        |action: &Action| matches!(action, Action::Report(Report::Step { step: it, .. }) if step(it));
    let last = court.actions.iter().rposition(|(_, action)| decided(action));
    last.is_some_and(|at| !court.actions[at..].iter().any(|(_, action)| done(action)))
}

/// The address that is to be tried waits for its turn, as does the re-adding; meanwhile the peer answers.
#[test]
fn what_waits_for_its_turn_is_off_when_the_peer_answers() {
    let (mut tries, mut readds) = (0, 0);
    for offset in (0..600).step_by(20) {
        let probe = Some([0xfd00, 0, 0, 0, 0, 0, 0, 0].into());
        let peer = Peer { readd: true, probe, ..section(0, &["192.0.2.1", "192.0.2.2"]) };
        let mut court = court(config(RotatePort::Never, vec![peer]));
        court.take(Step::Path(interface(0), 0, Reach::Anywhere, Load::BothWays));
        court.wait(millis(20_000 + offset));
        court.take(Step::Path(interface(0), 0, Reach::Nowhere, Load::BothWays));
        let (mut tried, mut readded) = (false, false);
        for n in 0..1_200_u16 {
            court.wait(millis(50));
            if !tried
                && waits(
                    &court,
                    |step| matches!(step, report::Step::Try(_)),
                    |action| matches!(action, Action::SetEndpoint { .. }),
                )
            {
                tried = true;
                court.take(Step::Foreign(interface(0), 1));
            }
            if !readded
                && waits(
                    &court,
                    |step| *step == report::Step::Readd,
                    |action| matches!(action, Action::ReaddPeer { .. }),
                )
            {
                readded = true;
                court.take(Step::Change(interface(0), Change::Handshake(0)));
            }
            // Whoever calls and is not let in is poked: the next poke has to wait.
            if n % 13 == 0 {
                let timestamp = Timestamp([n as u8 / 13 + 1; 12]);
                let source = court.devices[&interface(0)].peers[0].endpoint.unwrap();
                let verdict = Verdict::Authentic { peer: key(0), timestamp };
                court.take(Step::Event(Event::Initiation { interface: interface(0), source, verdict }));
            }
        }
        let took = |which: fn(&report::Step) -> bool| {
            did(&court, |action| matches!(action, Action::Report(Report::Step { step, .. }) if which(step)))
        };
        tries += u32::from(took(|step| matches!(step, report::Step::Try(_))));
        readds += u32::from(took(|step| *step == report::Step::Readd));
    }
    assert!(tries > 0 && readds > 0, "nothing was put to the test: {tries}, {readds}");
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
        assert!(did(&court, |action| match action {
            Action::SetEndpoint { endpoint, .. } => *endpoint == new,
            Action::ReaddPeer { endpoint, .. } => endpoint.is_some_and(|(endpoint, _)| endpoint == new),
            _ => false,
        }));
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
