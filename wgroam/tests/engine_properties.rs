// SPDX-License-Identifier: GPL-2.0-only
//! What holds whatever happens, in whatever order: the rules of the design that never bend, and the bounds on what the
//! engine does. Events are drawn at random; a referee that shares no code with the engine watches every action.

// Test code: a panic is the way to fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use wgroam::config::{self, Config};
use wgroam::engine::constants::*;
use wgroam::engine::{Action, Command, Engine, Event, Reason, Remembered, WanChange};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Device, Interface, Peer, PublicKey, WallTime};

type Key = (Interface, PublicKey);

/// What is done to the engine.
#[derive(Clone, Debug)]
enum Step {
    Wait(Duration),
    Event(Event),
    /// The device answers as it looks now, after this happened to it.
    Change(Interface, Change),
    Reload(bool),
}

/// What happens to a device without the engine's doing.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Recreated,
    Link(bool),
    /// Of this peer: bytes came in, a handshake was made, it moved (learned or set by the owner), is there or not.
    Received(usize, u64),
    Handshake(usize),
    Moved(usize, Option<SocketAddr>),
    There(usize, bool),
    Keepalive(usize, u16),
}

fn interface(n: usize) -> Interface {
    ["wg0", "wg1"][n].parse().unwrap()
}

fn key(n: usize) -> PublicKey {
    PublicKey([n as u8 + 1; 32])
}

fn address(n: u8) -> SocketAddr {
    // The last one is an address that nobody can have.
    if n == 5 { ([0, 0, 0, 0], 0).into() } else { ([203, 0, 113, n], 51820).into() }
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let label = any::<u16>().prop_map(|n| {
        let mut label = [0; 12];
        label[6..8].copy_from_slice(&n.to_be_bytes());
        Timestamp(label)
    });
    prop_oneof![
        6 => (0..4_usize, label.clone()).prop_map(|(n, timestamp)| Verdict::Authentic { peer: key(n), timestamp }),
        1 => (0..4_usize, label, 0..100_u64).prop_map(|(n, timestamp, behind)| Verdict::Replay {
            peer: key(n),
            timestamp,
            behind: Duration::from_secs(behind)
        }),
        1 => any::<[u8; 32]>().prop_map(|claimed| Verdict::UnknownPeer { claimed: PublicKey(claimed) }),
        1 => proptest::option::of(0..4_usize).prop_map(|n| Verdict::Forged { claimed: n.map(key) }),
        1 => Just(Verdict::WrongKey),
        1 => Just(Verdict::Malformed),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let moved = (0..4_usize, proptest::option::of((0..6_u8).prop_map(address)));
    prop_oneof![
        1 => Just(Change::Nothing),
        1 => Just(Change::Recreated),
        1 => any::<bool>().prop_map(Change::Link),
        3 => (0..4_usize, 1..1000_u64).prop_map(|(n, bytes)| Change::Received(n, bytes)),
        2 => (0..4_usize).prop_map(Change::Handshake),
        3 => moved.prop_map(|(n, to)| Change::Moved(n, to)),
        1 => (0..4_usize, any::<bool>()).prop_map(|(n, there)| Change::There(n, there)),
        1 => (0..4_usize, prop_oneof![Just(0), Just(25)]).prop_map(|(n, k)| Change::Keepalive(n, k)),
    ]
}

fn wan() -> impl Strategy<Value = WanChange> {
    let eth0: Interface = "eth0".parse().unwrap();
    prop_oneof![
        Just(WanChange::Up(eth0)),
        Just(WanChange::Down(eth0)),
        Just(WanChange::Address(eth0, [192, 0, 2, 7].into())),
        Just(WanChange::Route(Some(eth0))),
        Just(WanChange::Route(None)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let device = (0..2_usize).prop_map(interface);
    let event = prop_oneof![
        2 => device.clone().prop_map(|interface| Event::DeviceUp { interface }),
        1 => device.clone().prop_map(|interface| Event::DeviceGone { interface }),
        8 => (device.clone(), (0..6_u8).prop_map(address), verdict())
            .prop_map(|(interface, source, verdict)| Event::Initiation { interface, source, verdict }),
        2 => wan().prop_map(Event::WanChanged),
        1 => (0..2_000_000_000_u64).prop_map(|seconds| Event::ClockStepped { wall: WallTime { seconds, nanos: 0 } }),
        1 => (proptest::option::of(device.clone()), proptest::option::of((0..5_usize).prop_map(key)))
            .prop_map(|(interface, peer)| Event::Command(Command::Poke { interface, peer })),
        1 => Just(Event::Command(Command::LookAgain)),
    ];
    let wait = prop_oneof![
        Just(Duration::ZERO),
        (0..300_u64).prop_map(Duration::from_millis),
        (0..8_u64).prop_map(Duration::from_secs),
        (0..400_u64).prop_map(Duration::from_secs),
    ];
    prop_oneof![
        4 => wait.prop_map(Step::Wait),
        6 => event.prop_map(Step::Event),
        5 => (device, change()).prop_map(|(interface, change)| Step::Change(interface, change)),
        1 => any::<bool>().prop_map(Step::Reload),
    ]
}

/// Nothing configured, or wg0 alone with a section for one peer.
fn config(configured: bool) -> Config {
    if !configured {
        return Config::default();
    }
    let tunnel = config::Tunnel {
        interface: interface(0),
        enabled: true,
        unreachable: true,
        rotate_port: config::RotatePort::Auto,
    };
    let peer = config::Peer {
        name: "home".into(),
        tunnel: interface(0),
        public_key: key(0),
        endpoints: vec![],
        family: config::Family::Any,
        keepalive: Some(21),
        probe: None,
        readd: false,
    };
    Config { globals: config::Globals::default(), tunnels: vec![tunnel], peers: vec![peer] }
}

fn memory() -> Vec<Remembered> {
    let one = |n: usize| Remembered {
        interface: interface(n % 2),
        peer: key(n),
        endpoint: Some(address(n as u8)),
        confirmed: WallTime { seconds: 1_600_000_000, nanos: 0 },
        newest: (n != 2).then_some(Timestamp([0; 12])),
    };
    (0..3).map(one).collect()
}

/// What the referee holds against a peer's last look.
#[derive(Clone, Copy)]
struct LastLook {
    peer: Peer,
    ifindex: u32,
}

/// Devices, and a referee for what the engine does to them.
struct Court {
    engine: Engine,
    start: Instant,
    now: Instant,
    devices: BTreeMap<Interface, Device>,
    /// Whether devices answer at all.
    answers: bool,
    configured: bool,
    /// Devices that the engine knows to be there.
    there: BTreeSet<Interface>,
    looked: BTreeMap<Key, LastLook>,
    /// Endpoints that authenticated traffic came from, or that were remembered from before.
    good: BTreeSet<(Key, SocketAddr)>,
    /// The last authentic source of each peer, and what it had received at the last look before.
    proven: BTreeMap<Key, (SocketAddr, Option<LastLook>)>,
    /// Peers of which WireGuard took an initiation before our eyes, or that have a remembered timestamp.
    fresh: BTreeSet<Key>,
    poked: BTreeMap<Key, Vec<Instant>>,
    wakeups: Vec<Instant>,
    actions: Vec<(Duration, Action)>,
}

impl Court {
    fn new() -> Self {
        let start = Instant::now();
        let device = |n| Device {
            interface: interface(n),
            ifindex: 10,
            up: true,
            public_key: Some(PublicKey([77; 32])),
            listen_port: 51820,
            peers: (0..4).map(|k| blank(key(k))).collect(),
        };
        let remembered = memory();
        Self {
            engine: Engine::new(config(false), remembered.clone(), start),
            start,
            now: start,
            devices: (0..2).map(|n| (interface(n), device(n))).collect(),
            answers: true,
            configured: false,
            there: BTreeSet::new(),
            looked: BTreeMap::new(),
            good: remembered.iter().filter_map(|r| Some(((r.interface, r.peer), r.endpoint?))).collect(),
            proven: BTreeMap::new(),
            fresh: remembered.iter().filter(|r| r.newest.is_some()).map(|r| (r.interface, r.peer)).collect(),
            poked: BTreeMap::new(),
            wakeups: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wait(time) => self.wait(time),
            Step::Event(event) => self.tell(event),
            Step::Change(interface, change) => self.change(interface, change),
            Step::Reload(configured) => {
                self.configured = configured;
                self.engine.reload(self.now, config(configured));
                self.drain();
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::Initiation { interface, source, verdict: Verdict::Authentic { peer, .. } } => {
                let before = self.looked.get(&(*interface, *peer)).copied();
                self.proven.insert((*interface, *peer), (*source, before));
            }
            Event::Snapshot { device, .. } => self.note_look(&device.clone()),
            Event::DeviceUp { interface } => {
                self.there.insert(*interface);
            }
            Event::DeviceGone { interface } => {
                self.there.remove(interface);
            }
            _ => {}
        }
        self.engine.handle_event(self.now, event);
        self.drain();
    }

    fn change(&mut self, interface: Interface, change: Change) {
        let wall = self.wall();
        let device = self.devices.get_mut(&interface).unwrap();
        let find =
            |device: &mut Device, n: usize| device.peers.iter().position(|peer| peer.public_key == key(n));
        let mut with = |n: usize, act: &dyn Fn(&mut Peer)| {
            if let Some(at) = find(device, n) {
                act(&mut device.peers[at]);
            }
        };
        match change {
            Change::Nothing => {}
            Change::Received(n, bytes) => with(n, &|peer| peer.rx_bytes += bytes),
            Change::Handshake(n) => with(n, &|peer| peer.last_handshake = Some(wall)),
            Change::Moved(n, to) => with(n, &|peer| peer.endpoint = to),
            Change::Keepalive(n, seconds) => with(n, &|peer| peer.keepalive = seconds),
            Change::Link(up) => device.up = up,
            Change::Recreated => {
                device.ifindex += 1;
                device.peers.iter_mut().for_each(|peer| *peer = blank(peer.public_key));
            }
            Change::There(n, there) => {
                device.peers.retain(|peer| peer.public_key != key(n));
                if there {
                    device.peers.push(blank(key(n)));
                }
            }
        }
        let device = device.clone();
        self.tell(Event::Snapshot { device, wall });
    }

    fn note_look(&mut self, device: &Device) {
        let watched = !self.configured || device.interface == interface(0);
        if !watched || !self.there.contains(&device.interface) {
            return;
        }
        for peer in &device.peers {
            let at = (device.interface, peer.public_key);
            let before = self.looked.insert(at, LastLook { peer: *peer, ifindex: device.ifindex });
            let life = before.is_none_or(|before| {
                before.ifindex != device.ifindex
                    || peer.rx_bytes != before.peer.rx_bytes
                    || peer.last_handshake != before.peer.last_handshake
            });
            let shaken = before.is_some_and(|before| peer.last_handshake != before.peer.last_handshake);
            if shaken && self.proven.contains_key(&at) {
                self.fresh.insert(at);
            }
            if let (true, Some(endpoint)) = (life, peer.endpoint) {
                self.good.insert((at, endpoint));
            }
        }
        let there: BTreeSet<_> = device.peers.iter().map(|peer| peer.public_key).collect();
        self.looked.retain(|at, _| at.0 != device.interface || there.contains(&at.1));
    }

    fn wall(&self) -> WallTime {
        WallTime { seconds: 1_700_000_000 + (self.now - self.start).as_secs(), nanos: 0 }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut calls = 0;
        while let Some(deadline) = self.engine.next_deadline().filter(|&deadline| deadline <= end) {
            self.now = self.now.max(deadline);
            self.wakeups.push(self.now);
            self.engine.handle_timeout(self.now);
            self.drain();
            let next = self.engine.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that is not in the future");
            calls += 1;
            assert!(calls < 100 + 100 * time.as_secs(), "more than 100 wake-ups a second");
        }
        self.now = end;
    }

    fn drain(&mut self) {
        let mut count = 0;
        let mut set: Option<Key> = None;
        while let Some(action) = self.engine.poll_action() {
            count += 1;
            assert!(count < 200, "two devices with four peers give that much to do at once?");
            if let Some((interface, peer)) = set.take() {
                let next = matches!(action, Action::Poke { interface: i, peer: p, .. } if (i, p) == (interface, peer));
                assert!(next, "a set endpoint is followed by its poke, not by {action:?}");
            }
            self.actions.push((self.now - self.start, action.clone()));
            match action {
                Action::SetEndpoint { interface, peer, endpoint, reason } => {
                    self.judge_set((interface, peer), endpoint, reason);
                    set = Some((interface, peer));
                }
                Action::Poke { interface, peer, keepalive, reason } => {
                    self.judge_poke((interface, peer), keepalive, reason);
                }
                Action::TakeSnapshot { interface } if self.answers => {
                    let device = self.devices[&interface].clone();
                    self.note_look(&device);
                    let wall = self.wall();
                    self.engine.handle_event(self.now, Event::Snapshot { device, wall });
                }
                Action::TakeSnapshot { .. } | Action::Remember | Action::Report(_) => {}
            }
        }
    }

    /// Rules 1 and 3.
    fn judge_set(&mut self, at: Key, endpoint: SocketAddr, reason: Reason) {
        let last = self.looked.get(&at).expect("only peers that are there are touched");
        assert!(self.devices[&at.0].up, "nothing is set while the link is down");
        assert_ne!(last.peer.endpoint, Some(endpoint), "it is there already");
        assert_ne!(endpoint.port(), 0, "nobody can be there");
        match reason {
            Reason::Remembered => {
                assert!(self.good.contains(&(at, endpoint)), "{endpoint} was never good");
                assert_eq!(
                    last.peer.endpoint, None,
                    "an endpoint that is there is not overwritten from memory"
                );
            }
            Reason::Initiation => {
                let (source, before) = self.proven.get(&at).expect("no authentic initiation");
                assert_eq!(endpoint, *source, "not where the last authentic initiation came from");
                let void = last.peer.endpoint.is_none();
                assert!(void || self.fresh.contains(&at), "what may be a recording only fills a void");
                let before = before.filter(|before| before.ifindex == last.ifindex);
                if let Some(before) = before {
                    assert!(last.peer.rx_bytes <= before.peer.rx_bytes, "the old endpoint carries traffic");
                    // A peer that was removed and added has none.
                    let same = last.peer.last_handshake == before.peer.last_handshake;
                    assert!(same || last.peer.last_handshake.is_none(), "WireGuard took it");
                }
            }
            other => panic!("an endpoint set because {other}"),
        }
        let device = self.devices.get_mut(&at.0).unwrap();
        device
            .peers
            .iter_mut()
            .filter(|peer| peer.public_key == at.1)
            .for_each(|p| p.endpoint = Some(endpoint));
    }

    fn judge_poke(&mut self, at: Key, keepalive: u16, reason: Reason) {
        let peer = self.looked[&at].peer;
        let configured = self.configured && at == (interface(0), key(0));
        let expected = if peer.keepalive == 0 && configured { 21 } else { peer.keepalive };
        assert_eq!(keepalive, expected, "a poke leaves the keepalive as it was");
        if reason == Reason::Initiation {
            assert!(self.proven.contains_key(&at), "no authentic initiation");
        }
        let pokes = self.poked.entry(at).or_default();
        if let Some(&last) = pokes.last() {
            assert!(self.now >= last + POKE_SPACING, "two pokes within {:?}", self.now - last);
        }
        pokes.push(self.now);
        let recent = pokes.iter().filter(|&&when| self.now - when < Duration::from_secs(60)).count();
        let bound = POKE_BURST + 60 / POKE_REFILL.as_secs() as u32 + 1;
        assert!(recent <= bound as usize, "{recent} pokes within a minute");
    }

    fn check_bounds(&self) {
        let status = self.engine.status(self.now);
        for device in &status.devices {
            assert!(device.strangers.len() <= 32);
            assert!(device.peers.iter().all(|peer| peer.history.len() <= HISTORY));
        }
        let known: BTreeSet<_> = self.engine.memory().iter().map(|r| (r.interface, r.peer)).collect();
        assert_eq!(known.len(), self.engine.memory().len());
        assert!(known.len() <= 8);
    }

    /// Everything stands still: at most one wake-up in 5 s, and nothing done but looking.
    fn check_quiet(&mut self) {
        self.wait(Duration::from_secs(120));
        self.wakeups.clear();
        self.actions.clear();
        self.wait(Duration::from_secs(600));
        let close = self.wakeups.windows(2).find(|pair| pair[1] - pair[0] < SNAPSHOT_INTERVAL);
        assert_eq!(close, None, "a quiet engine woke up twice within 5 s");
        let other = self.actions.iter().find(|(_, action)| !matches!(action, Action::TakeSnapshot { .. }));
        assert_eq!(other, None, "without evidence no action");
    }
}

fn blank(public_key: PublicKey) -> Peer {
    Peer { public_key, endpoint: None, last_handshake: None, rx_bytes: 0, tx_bytes: 0, keepalive: 0 }
}

fn play(steps: &[Step], answers: bool) -> Court {
    let mut court = Court::new();
    court.answers = answers;
    steps.iter().for_each(|step| court.take(step.clone()));
    court.check_bounds();
    court
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_whatever_happens(steps in vec(step(), 1..80)) {
        play(&steps, true);
    }

    #[test]
    fn the_rules_hold_when_devices_answer_late_or_never(steps in vec(step(), 1..80)) {
        play(&steps, false);
    }

    #[test]
    fn the_same_events_give_the_same_actions(steps in vec(step(), 1..60)) {
        prop_assert_eq!(play(&steps, true).actions, play(&steps, true).actions);
    }

    #[test]
    fn it_comes_to_rest_whatever_happened(steps in vec(step(), 1..60)) {
        play(&steps, true).check_quiet();
    }

    #[test]
    fn no_unproven_packet_has_any_effect(sources in vec((0..5_u8, verdict()), 1..60)) {
        let mut court = Court::new();
        let wg0 = interface(0);
        court.tell(Event::DeviceUp { interface: wg0 });
        court.change(wg0, Change::Moved(0, Some(address(4))));
        court.change(wg0, Change::Received(0, 100));
        court.check_quiet();
        court.actions.clear();
        let deadline = court.engine.next_deadline();
        for (source, verdict) in sources {
            if !matches!(verdict, Verdict::Authentic { .. }) {
                court.tell(Event::Initiation { interface: wg0, source: address(source), verdict });
            }
        }
        prop_assert_eq!(court.engine.next_deadline(), deadline);
        prop_assert!(court.actions.iter().all(|(_, action)| matches!(action, Action::Report(_))));
    }
}
