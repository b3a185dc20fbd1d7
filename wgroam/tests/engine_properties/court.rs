// SPDX-License-Identifier: GPL-2.0-only
//! Devices, and a referee that watches every action and shares no code with the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use wgroam::engine::constants::{HISTORY, POKE_BURST, POKE_REFILL, POKE_SPACING, SNAPSHOT_INTERVAL};
use wgroam::engine::{Action, Engine, Event, Reason};
use wgroam::initiation::Verdict;
use wgroam::model::{Device, Interface, Peer, PublicKey, WallTime};

use super::draw::{Change, Key, Step, blank, config, interface, key, memory};

/// What the referee holds against a peer's last look.
#[derive(Clone, Copy)]
pub struct LastLook {
    pub peer: Peer,
    pub ifindex: u32,
}

/// Devices, and a referee for what the engine does to them.
pub struct Court {
    pub engine: Engine,
    pub start: Instant,
    pub now: Instant,
    pub devices: BTreeMap<Interface, Device>,
    /// Whether devices answer at all.
    pub answers: bool,
    pub configured: bool,
    /// Devices that the engine knows to be there.
    pub there: BTreeSet<Interface>,
    pub looked: BTreeMap<Key, LastLook>,
    /// Endpoints that authenticated traffic came from, or that were remembered from before.
    pub good: BTreeSet<(Key, SocketAddr)>,
    /// The last authentic source of each peer, and what it had received at the last look before.
    pub proven: BTreeMap<Key, (SocketAddr, Option<LastLook>)>,
    /// Peers of which WireGuard took an initiation before our eyes, or that have a remembered timestamp.
    pub fresh: BTreeSet<Key>,
    pub poked: BTreeMap<Key, Vec<Instant>>,
    pub wakeups: Vec<Instant>,
    pub actions: Vec<(Duration, Action)>,
}

impl Court {
    pub fn new() -> Self {
        let start = Instant::now();
        let device = |n| Device {
            interface: interface(n),
            ifindex: 10,
            up: true,
            public_key: Some(PublicKey([77; 32])),
            listen_port: 51820,
            fwmark: 0,
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

    pub fn take(&mut self, step: Step) {
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

    pub fn tell(&mut self, event: Event) {
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

    pub fn change(&mut self, interface: Interface, change: Change) {
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

    pub fn note_look(&mut self, device: &Device) {
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

    pub fn wall(&self) -> WallTime {
        WallTime { seconds: 1_700_000_000 + (self.now - self.start).as_secs(), nanos: 0 }
    }

    pub fn wait(&mut self, time: Duration) {
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

    pub fn drain(&mut self) {
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
                Action::ClearSource { interface, peer, endpoint } => {
                    let last =
                        self.looked.get(&(interface, peer)).expect("only peers that are there are touched");
                    assert_eq!(last.peer.endpoint, Some(endpoint), "clearing the source moves nothing");
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
                other => panic!("{other:?} without anybody to go to"),
            }
        }
    }

    /// Rules 1 and 3.
    pub fn judge_set(&mut self, at: Key, endpoint: SocketAddr, reason: Reason) {
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

    pub fn judge_poke(&mut self, at: Key, keepalive: u16, reason: Reason) {
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

    pub fn check_bounds(&self) {
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
    pub fn check_quiet(&mut self) {
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
