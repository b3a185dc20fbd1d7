// SPDX-License-Identifier: GPL-2.0-only
//! What the engine does, one behaviour a test, by its public face.

// Test code: a panic is the way to fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wgroam::config::{self, Config};
use wgroam::engine::constants::*;
use wgroam::engine::{Action, Command, Engine, Event, Problem, Reason, Remembered, Report, WanChange};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Device, Interface, Peer, PublicKey, WallTime};

const ALICE: PublicKey = PublicKey([1; 32]);
const BOB: PublicKey = PublicKey([2; 32]);
/// The wall clock when a test begins.
const WALL: u64 = 1_700_000_000;

fn wg0() -> Interface {
    "wg0".parse().unwrap()
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, host], 51820))
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn peer(public_key: PublicKey, endpoint: Option<SocketAddr>) -> Peer {
    Peer { public_key, endpoint, last_handshake: None, rx_bytes: 0, tx_bytes: 0, keepalive: 0 }
}

fn remembered(peer: PublicKey, endpoint: SocketAddr) -> Remembered {
    let confirmed = WallTime { seconds: WALL - 100, nanos: 0 };
    Remembered {
        interface: wg0(),
        peer,
        endpoint: Some(endpoint),
        confirmed,
        newest: Some(Timestamp([0; 12])),
    }
}

/// An engine, and a device that answers its questions at once.
struct Bench {
    engine: Engine,
    start: Instant,
    now: Instant,
    device: Device,
    answers: bool,
    /// What the engine did, and when.
    log: Vec<(Duration, Action)>,
    wakeups: Vec<Duration>,
}

impl Bench {
    fn new(config: Config, memory: Vec<Remembered>, peers: Vec<Peer>) -> Self {
        let start = Instant::now();
        let device =
            Device { interface: wg0(), ifindex: 7, up: true, public_key: None, listen_port: 51820, peers };
        let engine = Engine::new(config, memory, start);
        Self { engine, start, now: start, device, answers: true, log: Vec::new(), wakeups: Vec::new() }
    }

    /// One with a device that has settled.
    fn settled(memory: Vec<Remembered>, peers: Vec<Peer>) -> Self {
        let mut bench = Self::new(Config::default(), memory, peers);
        bench.event(Event::DeviceUp { interface: wg0() });
        bench.run(secs(11));
        bench.log.clear();
        bench
    }

    fn event(&mut self, event: Event) {
        self.engine.handle_event(self.now, event);
        self.drain();
    }

    fn initiation(&mut self, source: SocketAddr, verdict: Verdict) {
        self.event(Event::Initiation { interface: wg0(), source, verdict });
    }

    fn authentic(&mut self, source: SocketAddr, second: u8) {
        let mut label = [0; 12];
        label[7] = second;
        self.initiation(source, Verdict::Authentic { peer: ALICE, timestamp: Timestamp(label) });
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match &action {
                Action::TakeSnapshot { .. } if self.answers => {
                    let wall = self.wall();
                    self.engine.handle_event(self.now, Event::Snapshot { device: self.device.clone(), wall });
                }
                Action::SetEndpoint { peer, endpoint, .. } => {
                    let found = self.device.peers.iter_mut().find(|p| p.public_key == *peer);
                    found.unwrap().endpoint = Some(*endpoint);
                }
                _ => {}
            }
            self.log.push((self.now - self.start, action));
        }
    }

    fn wall(&self) -> WallTime {
        let passed = self.now - self.start;
        WallTime { seconds: WALL + passed.as_secs(), nanos: passed.subsec_nanos() }
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.engine.next_deadline().filter(|&deadline| deadline <= end) {
            assert!(deadline >= self.now, "a deadline in the past");
            self.now = deadline;
            self.wakeups.push(self.now - self.start);
            self.engine.handle_timeout(self.now);
            self.drain();
            assert!(self.engine.next_deadline().is_none_or(|next| next > self.now), "a busy loop");
        }
        self.now = end;
    }

    fn sets(&self) -> Vec<(SocketAddr, Reason)> {
        let set = |action: &Action| match action {
            Action::SetEndpoint { endpoint, reason, .. } => Some((*endpoint, *reason)),
            _ => None,
        };
        self.log.iter().filter_map(|(_, action)| set(action)).collect()
    }

    /// When ALICE was poked, from the start of the test, and why.
    fn pokes(&self) -> Vec<(Duration, Reason)> {
        let poke = |when: Duration, action: &Action| match action {
            Action::Poke { peer: ALICE, reason, .. } => Some((when, *reason)),
            _ => None,
        };
        self.log.iter().filter_map(|(when, action)| poke(*when, action)).collect()
    }

    fn reports(&self) -> Vec<&Report> {
        let reports = self.log.iter().filter_map(|(_, action)| match action {
            Action::Report(report) => Some(report),
            _ => None,
        });
        reports.collect()
    }

    fn snapshots(&self) -> Vec<Duration> {
        let looks = self.log.iter().filter(|(_, action)| matches!(action, Action::TakeSnapshot { .. }));
        looks.map(|(when, _)| *when).collect()
    }
}

fn wan_address() -> Event {
    Event::WanChanged(WanChange::Address("eth0".parse().unwrap(), [198, 51, 100, 9].into()))
}

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

#[test]
fn an_interface_that_is_not_configured_is_left_alone() {
    let tunnel = config::Tunnel {
        interface: "wg1".parse().unwrap(),
        enabled: true,
        unreachable: true,
        rotate_port: config::RotatePort::Auto,
    };
    let config = Config { tunnels: vec![tunnel], ..Config::default() };
    let mut bench = Bench::new(config, vec![], vec![]);
    bench.event(Event::DeviceUp { interface: wg0() });
    assert_eq!(bench.log, []);
    bench.engine.reload(bench.now, Config::default());
    bench.drain();
    assert_eq!(bench.snapshots(), [Duration::ZERO], "from now on it is");
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
    bench.run(secs(5));
    let moved = Report::Moved {
        interface: wg0(),
        peer: ALICE,
        old: Some(at(1)),
        new: at(2),
        reason: Reason::Learned,
    };
    assert!(bench.reports().contains(&&moved));
    assert_eq!(bench.engine.memory()[0].endpoint, Some(at(2)));
    assert!(bench.log.iter().any(|(_, action)| *action == Action::Remember));
    assert_eq!(bench.sets(), []);
}

#[test]
fn a_wan_change_pokes_at_once_and_twice_more_until_something_comes_back() {
    let mut alice = peer(ALICE, Some(at(1)));
    alice.keepalive = 25;
    let mut bench = Bench::settled(vec![], vec![alice]);
    let start = bench.now - bench.start;
    bench.event(wan_address());
    bench.run(secs(10));
    let expected = [0, 1, 3].map(|n| (start + secs(n), Reason::WanChanged));
    assert_eq!(bench.pokes(), expected);

    bench.log.clear();
    bench.event(wan_address());
    bench.run(millis(500));
    bench.device.peers[0].rx_bytes += 32;
    bench.run(secs(10));
    assert_eq!(bench.pokes().len(), 1, "answered");
}

#[test]
fn an_initiation_that_wireguard_does_not_take_sets_the_endpoint() {
    let mut bench = Bench::settled(vec![remembered(ALICE, at(1))], vec![peer(ALICE, Some(at(1)))]);
    bench.authentic(at(2), 1);
    bench.run(secs(3));
    assert_eq!(bench.sets(), [(at(2), Reason::Initiation)]);
    assert_eq!(bench.pokes().len(), 1);
    let not_taken = Report::NotTaken { interface: wg0(), peer: ALICE, source: at(2), up: true };
    assert!(bench.reports().contains(&&not_taken));
    let status = bench.engine.status(bench.now);
    assert!(matches!(status.devices[0].peers[0].problems[..], [Problem::NotTaken { up: true, .. }]));
}

#[test]
fn the_owner_s_poke_is_carried_out_at_once() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1))), peer(BOB, Some(at(2)))]);
    bench.event(Event::Command(Command::Poke { interface: None, peer: Some(ALICE) }));
    let pokes = bench.log.iter().filter(|(_, action)| matches!(action, Action::Poke { .. })).count();
    assert_eq!((pokes, bench.pokes()[0].1), (1, Reason::Command));
}
