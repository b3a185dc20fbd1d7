// SPDX-License-Identifier: GPL-2.0-only
//! Drives the engine: steps and time in, actions out, each before the referee.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use wgroam::config::Config;
use wgroam::engine::constants::{HISTORY, SNAPSHOT_INTERVAL};
use wgroam::engine::{Action, Engine, Event};
use wgroam::initiation::Verdict;
use wgroam::model::{Device, Interface, Peer, PublicKey, WallTime};

use super::draw::{Change, Key, Step, interface, key, memory};
use super::draw_chase::HOSTS;
use super::outside::Outside;
use super::referee_chase::Book;
use super::table::Table;

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
    pub config: Config,
    pub outside: Outside,
    pub table: Table,
    pub book: Book,
    /// Of the last probe.
    pub token: u16,
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
    pub asked: BTreeMap<String, Vec<Instant>>,
    pub looks: BTreeMap<Interface, VecDeque<Instant>>,
    pub wakeups: Vec<Instant>,
    pub actions: Vec<(Duration, Action)>,
}

impl Court {
    pub fn new(config: Config) -> Self {
        let start = Instant::now();
        let device = |n| Device {
            interface: interface(n),
            ifindex: 10,
            up: true,
            public_key: Some(PublicKey([77; 32])),
            listen_port: 51820,
            fwmark: 0,
            peers: (0..4).map(|k| Peer::new(key(k))).collect(),
        };
        let remembered = memory();
        let mut court = Self {
            engine: Engine::new(config.clone(), remembered.clone(), start),
            start,
            now: start,
            devices: (0..2).map(|n| (interface(n), device(n))).collect(),
            answers: true,
            outside: Outside::new(start),
            table: Table::default(),
            book: Book::new(&config, start),
            config,
            token: 0,
            there: BTreeSet::new(),
            looked: BTreeMap::new(),
            good: remembered.iter().filter_map(|r| Some(((r.interface, r.peer), r.endpoint?))).collect(),
            proven: BTreeMap::new(),
            fresh: remembered.iter().filter(|r| r.newest.is_some()).map(|r| (r.interface, r.peer)).collect(),
            poked: BTreeMap::new(),
            asked: BTreeMap::new(),
            looks: BTreeMap::new(),
            wakeups: Vec::new(),
            actions: Vec::new(),
        };
        court.drain();
        court
    }

    pub fn take(&mut self, step: Step) {
        match step {
            Step::Wait(time) => self.wait(time),
            Step::Event(event) => self.tell(event),
            Step::Change(interface, change) => self.change(interface, change),
            Step::Reload(config) => self.reload(config),
            Step::Dns(host, dns) => drop(self.outside.dns.insert(HOSTS[host].into(), dns)),
            Step::Path(interface, n, reach, load) => {
                self.play(interface);
                self.outside.set_path(self.now, (interface, key(n)), reach, load);
            }
            Step::Echo(interface, echo) => self.outside.set_echo(interface, echo),
            Step::Foreign(interface, back) => {
                let token = self.token.wrapping_sub(back).wrapping_add(1);
                for n in 0..2 {
                    let target = [0xfd00, 0, 0, 0, 0, 0, 0, n].into();
                    self.tell(Event::ProbeReply { interface, target, token });
                }
            }
        }
    }

    pub fn reload(&mut self, config: Config) {
        self.config = config.clone();
        self.book.reload(&config);
        self.book.event(self.now);
        let unwatched: Vec<_> = self.there.iter().copied().filter(|&name| !self.watched(name)).collect();
        unwatched.into_iter().for_each(|interface| self.book.gone(interface));
        self.engine.reload(self.now, config);
        self.drain();
    }

    /// Does the configuration leave this interface to us?
    pub fn watched(&self, interface: Interface) -> bool {
        let tunnels = &self.config.tunnels;
        tunnels.is_empty() || tunnels.iter().any(|tunnel| tunnel.interface == interface && tunnel.enabled)
    }

    fn play(&mut self, interface: Interface) {
        let device = self.devices.get_mut(&interface).unwrap();
        self.outside.play(self.now, device);
    }

    /// A peer as it is now.
    fn peer(&mut self, at: Key) -> Option<&mut Peer> {
        self.devices.get_mut(&at.0)?.peers.iter_mut().find(|peer| peer.public_key == at.1)
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
                self.book.gone(*interface);
            }
            Event::WanChanged(change) => self.book.wan_changed(self.now, change),
            Event::Command(_) | Event::ClockStepped { .. } => self.book.event(self.now),
            Event::Resolved { host, answer } => self.book.resolved(self.now, host, answer),
            Event::ProbeReply { interface, target, token } => {
                self.book.replied(self.now, *interface, *target, *token);
            }
            _ => {}
        }
        self.engine.handle_event(self.now, event);
        self.drain();
    }

    pub fn change(&mut self, interface: Interface, change: Change) {
        self.play(interface);
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
                device.peers.iter_mut().for_each(|peer| *peer = Peer::new(peer.public_key));
            }
            Change::There(n, there) => {
                device.peers.retain(|peer| peer.public_key != key(n));
                if there {
                    device.peers.push(Peer::new(key(n)));
                }
            }
        }
        let device = device.clone();
        self.tell(Event::Snapshot { device, wall });
    }

    pub fn note_look(&mut self, device: &Device) {
        if !self.watched(device.interface) || !self.there.contains(&device.interface) {
            return;
        }
        let wall = self.wall();
        self.book.look(self.now, device, wall);
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
        self.outside.wall(self.now)
    }

    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut calls = 0;
        loop {
            let deadline = self.engine.next_deadline();
            let coming = self.outside.next().filter(|&when| when <= end);
            if let Some(coming) = coming.filter(|&when| deadline.is_none_or(|deadline| when <= deadline)) {
                self.now = self.now.max(coming);
                while let Some(event) = self.outside.take(self.now) {
                    self.tell(event);
                }
                continue;
            }
            let Some(deadline) = deadline.filter(|&deadline| deadline <= end) else { break };
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
        let mut probed = Vec::new();
        while let Some(action) = self.engine.poll_action() {
            count += 1;
            assert!(count < 200, "two devices with four peers give that much to do at once?");
            if let Some(of) = set.take() {
                let next = match action {
                    Action::Poke { interface, peer, .. } => (interface, peer) == of,
                    _ => false,
                };
                assert!(next, "a set endpoint is followed by its poke, not by {action:?}");
            }
            match &action {
                Action::Probe { interface, peer, .. } => probed.push((*interface, *peer)),
                Action::SetEndpoint { interface, peer, .. } | Action::ReaddPeer { interface, peer, .. } => {
                    let probed = probed.contains(&(*interface, *peer));
                    assert!(!probed, "a probe went to where it is not any more, just before {action:?}");
                }
                _ => {}
            }
            // One question is for all tunnels.
            if !matches!(action, Action::QueryRoutes(_)) {
                self.actions.push((self.now - self.start, action.clone()));
            }
            match action {
                Action::SetEndpoint { interface, peer, endpoint, reason } => {
                    let at = (interface, peer);
                    self.judge_set(at, endpoint, reason);
                    self.book.set(at, endpoint);
                    self.play(interface);
                    self.peer(at).into_iter().for_each(|peer| peer.endpoint = Some(endpoint));
                    set = Some(at);
                }
                Action::ClearSource { interface, peer, endpoint } => {
                    self.judge_clear((interface, peer), endpoint);
                    set = Some((interface, peer));
                }
                Action::Poke { interface, peer, keepalive, reason } => {
                    let at = (interface, peer);
                    self.judge_poke(at, keepalive, reason);
                    self.play(interface);
                    let device = self.devices.get_mut(&interface).unwrap();
                    let up = device.up;
                    let found = device.peers.iter_mut().find(|other| other.public_key == peer);
                    if let Some(found) = found.filter(|_| up) {
                        self.outside.poke(self.now, interface, found);
                    }
                }
                Action::ReaddPeer { interface, peer, endpoint } => {
                    let at = (interface, peer);
                    self.judge_readd(at);
                    if let Some((endpoint, reason)) = endpoint {
                        self.judge_set(at, endpoint, reason);
                        self.book.set(at, endpoint);
                    }
                    self.play(interface);
                    if let Some(peer) = self.peer(at) {
                        *peer = Peer {
                            endpoint: endpoint.map_or(peer.endpoint, |(endpoint, _)| Some(endpoint)),
                            keepalive: peer.keepalive,
                            ..Peer::new(peer.public_key)
                        };
                    }
                    set = Some(at);
                }
                Action::SetPort { interface, .. } => {
                    self.judge_rotate(interface);
                    self.outside.rotate(interface);
                }
                Action::Probe { interface, peer, target, token } => {
                    self.judge_probe((interface, peer), target, token);
                    self.token = token;
                    if let Some(peer) = self.peer((interface, peer)).copied() {
                        self.outside.probe(self.now, interface, &peer, target, token);
                    }
                }
                Action::Resolve { host } => {
                    self.judge_question(&host);
                    self.outside.ask(self.now, &host);
                }
                Action::TakeSnapshot { interface } => self.look(interface),
                Action::QueryRoutes(question) => {
                    let ways = self.table.ways(question);
                    self.engine.handle_event(self.now, Event::Routes(ways));
                }
                Action::AddRoute(route) => self.table.add(route),
                Action::RemoveRoute(route) => self.table.remove(&route),
                Action::Report(report) => self.judge_report(&report),
                Action::Remember | Action::Forget { .. } | Action::Wake { .. } => {}
            }
        }
    }

    fn look(&mut self, interface: Interface) {
        self.judge_look(interface);
        if self.answers {
            self.play(interface);
            let device = self.devices[&interface].clone();
            self.note_look(&device);
            let wall = self.wall();
            self.engine.handle_event(self.now, Event::Snapshot { device, wall });
        }
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
