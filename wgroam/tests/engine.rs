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
    /// Does setting an endpoint have no effect?
    refuses: bool,
    /// Seconds that the wall clock was set forward.
    clock_step: u64,
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
        Self {
            engine,
            start,
            now: start,
            device,
            refuses: false,
            clock_step: 0,
            log: Vec::new(),
            wakeups: Vec::new(),
        }
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
                Action::TakeSnapshot { .. } => {
                    let wall = self.wall();
                    self.engine.handle_event(self.now, Event::Snapshot { device: self.device.clone(), wall });
                }
                Action::SetEndpoint { peer, endpoint, .. } if !self.refuses => {
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
        WallTime { seconds: WALL + passed.as_secs() + self.clock_step, nanos: passed.subsec_nanos() }
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
    assert!((20..=32).contains(&pokes.len()), "{} pokes in 70 s", pokes.len());
    let last = pokes.last().unwrap();
    assert!(*last >= secs(11 + 60), "the last change gets its poke too, {last:?}");
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
    bench.run(secs(5));
    bench.event(Event::DeviceGone { interface: wg0() });
    assert!(bench.reports().contains(&&Report::DeviceGone { interface: wg0() }));
    assert!(!bench.engine.status(bench.now).devices[0].present);
    assert_eq!(bench.engine.memory()[0].endpoint, Some(at(1)));
    assert_eq!(bench.engine.next_deadline(), None);
}

#[test]
fn the_first_initiation_ever_seen_only_fills_a_void() {
    for (endpoint, sets) in [(Some(at(1)), vec![]), (None, vec![(at(2), Reason::Initiation)])] {
        let mut bench = Bench::settled(vec![], vec![peer(ALICE, endpoint)]);
        bench.authentic(at(2), 1);
        bench.run(secs(3));
        assert_eq!(bench.sets(), sets);
        let told = |report: &&&Report| matches!(report, Report::NotTaken { .. });
        assert_eq!(bench.reports().iter().filter(told).count(), 1);
    }
}

#[test]
fn an_endpoint_that_carries_traffic_is_not_overwritten() {
    let mut bench = Bench::settled(vec![remembered(ALICE, at(1))], vec![peer(ALICE, Some(at(1)))]);
    bench.authentic(at(2), 1);
    bench.run(millis(300));
    bench.device.peers[0].rx_bytes += 128;
    bench.run(secs(10));
    assert_eq!((bench.sets(), bench.pokes()), (vec![], vec![]));
}

#[test]
fn an_initiation_that_wireguard_took_names_the_reason_of_the_move() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    bench.authentic(at(2), 1);
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
    let mut bench = Bench::settled(vec![remembered(ALICE, at(1))], vec![peer(ALICE, Some(at(1)))]);
    bench.authentic(at(2), 1);
    bench.run(millis(400));
    bench.authentic(at(3), 2);
    bench.run(secs(5));
    assert_eq!(bench.sets(), [(at(3), Reason::Initiation)]);
}

#[test]
fn an_initiation_for_an_interface_that_is_down_is_reported_once_and_nothing_is_set() {
    let mut bench = Bench::settled(vec![remembered(ALICE, at(1))], vec![peer(ALICE, Some(at(1)))]);
    bench.device.up = false;
    for second in 1..20 {
        bench.authentic(at(2), second);
        bench.run(secs(5));
    }
    let told = Report::NotTaken { interface: wg0(), peer: ALICE, source: at(2), up: false };
    assert_eq!(bench.reports().iter().filter(|report| ***report == told).count(), 1);
    assert_eq!((bench.sets(), bench.pokes()), (vec![], vec![]));
}

#[test]
fn an_endpoint_that_nobody_can_have_is_never_set() {
    for source in ["0.0.0.0:51820", "203.0.113.2:0", "[fe80::1]:51820", "224.0.0.1:51820"] {
        let mut bench = Bench::settled(vec![remembered(ALICE, at(1))], vec![peer(ALICE, Some(at(1)))]);
        bench.authentic(source.parse().unwrap(), 1);
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
    bench.authentic(at(2), 1);
    assert_eq!(problems(&bench), []);
    bench.initiation(at(2), replay(3600));
    bench.device.peers[0].last_handshake = Some(bench.wall());
    bench.run(secs(5));
    assert_eq!(problems(&bench), []);
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
fn looking_again_looks_at_every_device_and_pokes_nobody() {
    let mut bench = Bench::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
    bench.event(Event::Command(Command::LookAgain));
    assert_eq!(bench.log.len(), 1);
    assert_eq!(bench.snapshots().len(), 1);
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
