// SPDX-License-Identifier: GPL-2.0-only
//! An engine on a bench: time is turned by hand, and a device answers its questions at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use wgroam::config::Config;
use wgroam::engine::{Action, Engine, Event, Evidence, Reason, Remembered, Report, Step};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Device, Interface, Peer, PublicKey, WallTime};
use wgroam::routing::RouteAnswer;
use wgroam::wan::WanChange;

pub const ALICE: PublicKey = PublicKey([1; 32]);
pub const BOB: PublicKey = PublicKey([2; 32]);
/// The wall clock when a test begins.
pub const WALL: u64 = 1_700_000_000;

pub fn wg0() -> Interface {
    "wg0".parse().unwrap()
}

pub fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, host], 51820))
}

pub fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn peer(public_key: PublicKey, endpoint: Option<SocketAddr>) -> Peer {
    Peer { endpoint, ..Peer::new(public_key) }
}

pub fn remembered(peer: PublicKey, endpoint: SocketAddr) -> Remembered {
    let confirmed = WallTime { seconds: WALL - 100, nanos: 0 };
    Remembered {
        interface: wg0(),
        peer,
        endpoint: Some(endpoint),
        confirmed,
        newest: Some(Timestamp([0; 12])),
        good: vec![],
    }
}

/// An engine, and a device that answers its questions at once.
pub struct Bench {
    pub engine: Engine,
    pub start: Instant,
    pub now: Instant,
    pub device: Device,
    /// Does setting an endpoint have no effect?
    pub refuses: bool,
    /// What the main table says. Its `own` are the routes that the engine made.
    pub ways: RouteAnswer,
    /// How often it asked for that.
    pub questions: usize,
    /// Seconds that the wall clock was set forward.
    pub clock_step: u64,
    /// What the engine did, and when.
    pub log: Vec<(Duration, Action)>,
    pub wakeups: Vec<Duration>,
}

impl Bench {
    pub fn new(config: Config, memory: Vec<Remembered>, peers: Vec<Peer>) -> Self {
        let start = Instant::now();
        let device = Device {
            interface: wg0(),
            ifindex: 7,
            up: true,
            public_key: None,
            listen_port: 41820,
            fwmark: 0,
            peers,
        };
        let engine = Engine::new(config, memory, start);
        Self {
            engine,
            start,
            now: start,
            device,
            refuses: false,
            ways: RouteAnswer::default(),
            questions: 0,
            clock_step: 0,
            log: Vec::new(),
            wakeups: Vec::new(),
        }
    }

    /// One with a device that has settled.
    pub fn settled(memory: Vec<Remembered>, peers: Vec<Peer>) -> Self {
        let mut bench = Self::new(Config::default(), memory, peers);
        bench.event(Event::DeviceUp { interface: wg0() });
        bench.run(secs(11));
        bench.log.clear();
        bench
    }

    pub fn event(&mut self, event: Event) {
        self.engine.handle_event(self.now, event);
        self.drain();
    }

    pub fn initiation(&mut self, source: SocketAddr, verdict: Verdict) {
        self.event(Event::Initiation { interface: wg0(), source, verdict });
    }

    /// An initiation of ALICE's, whose clock is right.
    pub fn authentic(&mut self, source: SocketAddr) {
        self.recording(source, self.now - self.start);
    }

    /// One that she made at this time.
    pub fn recording(&mut self, source: SocketAddr, made: Duration) {
        let mut label = [0; 12];
        label[..8].copy_from_slice(&(1000 + made.as_secs()).to_be_bytes());
        label[8..].copy_from_slice(&made.subsec_nanos().to_be_bytes());
        self.initiation(source, Verdict::Authentic { peer: ALICE, timestamp: Timestamp(label) });
    }

    /// WireGuard takes an initiation of ALICE's from there.
    pub fn taken(&mut self, source: SocketAddr) {
        self.authentic(source);
        self.device.peers[0].endpoint = Some(source);
        self.device.peers[0].rx_bytes += 148 + 32;
        self.device.peers[0].tx_bytes += 92;
        self.device.peers[0].last_handshake = Some(self.wall());
        self.run(millis(150));
    }

    /// One with a device that has settled, on which WireGuard took an initiation of ALICE's from 203.0.113.1 a while ago.
    pub fn proven() -> Self {
        let mut bench = Self::settled(vec![], vec![peer(ALICE, Some(at(1)))]);
        bench.taken(at(1));
        bench.run(secs(20));
        bench.log.clear();
        bench
    }

    pub fn drain(&mut self) {
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
                Action::QueryRoutes(question) => {
                    let targets = question.targets.clone();
                    self.questions += 1;
                    self.engine
                        .handle_event(self.now, Event::Routes(RouteAnswer { targets, ..self.ways.clone() }));
                    continue;
                }
                Action::AddRoute(route) => {
                    self.ways.own.retain(|other| !other.same_place(route));
                    self.ways.own.push(*route);
                }
                Action::RemoveRoute(route) => {
                    assert!(self.ways.own.contains(route), "{route} is not there");
                    self.ways.own.retain(|other| other != route);
                }
                Action::ReaddPeer { peer, endpoint, .. } => {
                    let found = self.device.peers.iter_mut().find(|p| p.public_key == *peer).unwrap();
                    (found.last_handshake, found.rx_bytes, found.tx_bytes) = (None, 0, 0);
                    if let Some((endpoint, _)) = endpoint.filter(|_| !self.refuses) {
                        found.endpoint = Some(endpoint);
                    }
                }
                _ => {}
            }
            self.log.push((self.now - self.start, action));
        }
    }

    pub fn wall(&self) -> WallTime {
        let passed = self.now - self.start;
        WallTime { seconds: WALL + passed.as_secs() + self.clock_step, nanos: passed.subsec_nanos() }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
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

    pub fn sets(&self) -> Vec<(SocketAddr, Reason)> {
        let set = |action: &Action| match action {
            Action::SetEndpoint { endpoint, reason, .. } => Some((*endpoint, *reason)),
            Action::ReaddPeer { endpoint, .. } => *endpoint,
            _ => None,
        };
        self.log.iter().filter_map(|(_, action)| set(action)).collect()
    }

    /// When ALICE was poked, from the start of the test, and why.
    pub fn pokes(&self) -> Vec<(Duration, Reason)> {
        let poke = |when: Duration, action: &Action| match action {
            Action::Poke { peer: ALICE, reason, .. } => Some((when, *reason)),
            _ => None,
        };
        self.log.iter().filter_map(|(when, action)| poke(*when, action)).collect()
    }

    pub fn reports(&self) -> Vec<&Report> {
        let reports = self.log.iter().filter_map(|(_, action)| match action {
            Action::Report(report) => Some(report),
            _ => None,
        });
        reports.collect()
    }

    /// The steps of recoveries, each with the peer, what led to it and for how long that peer was silent.
    pub fn steps(&self) -> Vec<(PublicKey, Step, Evidence, Duration)> {
        let step = |report: &&Report| match **report {
            Report::Step { peer, step, evidence, after, .. } => Some((peer, step, evidence, after)),
            _ => None,
        };
        self.reports().iter().filter_map(step).collect()
    }

    pub fn count(&self, what: impl Fn(&Action) -> bool) -> usize {
        self.log.iter().filter(|(_, action)| what(action)).count()
    }

    pub fn snapshots(&self) -> Vec<Duration> {
        let looks = self.log.iter().filter(|(_, action)| matches!(action, Action::TakeSnapshot { .. }));
        looks.map(|(when, _)| *when).collect()
    }
}

pub fn wan_address() -> Event {
    Event::WanChanged(WanChange::Address("eth0".parse().unwrap(), [198, 51, 100, 9].into()))
}
