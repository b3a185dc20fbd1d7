// SPDX-License-Identifier: GPL-2.0-only
//! Drives the engine: steps and time in, actions out, each before the referee.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use wgroam::config::Config;
use wgroam::engine::{Action, Command, Engine, Event};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Device, Interface, Peer, PublicKey, WallTime};

use super::book::Book;
use super::draw::{Key, Step, interface, key, memory};
use super::draw_dialed::HOSTS;
use super::homes::Homes;
use super::outside::Outside;
use super::proof::Proof;
use super::table::Table;
use super::trace::Trace;

/// What the referee holds against a peer's last look.
#[derive(Clone, Copy)]
pub struct LastLook {
    pub peer: Peer,
    pub ifindex: u32,
}

/// The one that an interface comes with: that of wg0 is one that the kernel chooses.
pub fn listen_port(interface: Interface) -> u16 {
    if interface == super::draw::interface(0) { 40_001 } else { 51_820 }
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
    pub homes: Homes,
    pub proof: Proof,
    /// Of the last probe.
    pub token: u16,
    /// The newest call that WireGuard took of each peer, since it knows the peer.
    pub newest: BTreeMap<Key, Timestamp>,
    /// When a device was asked that has not answered yet.
    pub asked_at: BTreeMap<Interface, Instant>,
    /// Devices that the engine knows to be there.
    pub there: BTreeSet<Interface>,
    pub looked: BTreeMap<Key, LastLook>,
    /// Where each peer called from that is too late, as its clock is behind or it is a recording; and when a look last showed
    /// that it is there.
    pub late: BTreeMap<Key, (SocketAddr, Option<Instant>)>,
    /// Where each peer was good last, and by which of its candidates; from before, to begin with.
    pub best: BTreeMap<Key, [Option<SocketAddr>; 2]>,
    /// What each peer had received at the last look before its last call.
    pub called: BTreeMap<Key, Option<LastLook>>,
    /// The engine is about to end, or what is done is about an interface that is no longer its own.
    pub leaving: bool,
    pub poked: BTreeMap<Key, Vec<Instant>>,
    /// What is said to be tried, in what is done at one moment; and where the next initiation of a peer is to go, too.
    pub tries: BTreeMap<Key, Vec<SocketAddr>>,
    /// Who was tried at this moment while the address before had no second yet.
    pub hasty: BTreeMap<Key, Duration>,
    pub copies: BTreeMap<Key, Vec<SocketAddr>>,
    pub asked: BTreeMap<String, Vec<Instant>>,
    pub looks: BTreeMap<Interface, VecDeque<Instant>>,
    pub wakes: BTreeMap<Interface, VecDeque<Instant>>,
    pub wakeups: Vec<Instant>,
    pub actions: Vec<(Duration, Action)>,
    pub trace: Trace,
}

impl Court {
    pub fn new(config: Config) -> Self {
        let start = Instant::now();
        let device = |n| Device {
            interface: interface(n),
            ifindex: 10,
            up: true,
            public_key: Some(PublicKey([77; 32])),
            listen_port: listen_port(interface(n)),
            fwmark: 0,
            peers: (0..4).map(|k| Peer::new(key(k))).collect(),
        };
        let remembered = memory();
        let best = remembered.iter().map(|r| ((r.interface, r.peer), [r.endpoint, None]));
        let mut court = Self {
            engine: Engine::new(config.clone(), remembered.clone(), start),
            start,
            now: start,
            devices: (0..2).map(|n| (interface(n), device(n))).collect(),
            answers: true,
            outside: Outside::new(start),
            table: Table::new(),
            book: Book::new(&config, start),
            homes: Homes::default(),
            proof: Proof::default(),
            config,
            token: 0,
            newest: BTreeMap::new(),
            asked_at: BTreeMap::new(),
            there: BTreeSet::new(),
            looked: BTreeMap::new(),
            late: BTreeMap::new(),
            best: best.collect(),
            called: BTreeMap::new(),
            leaving: false,
            poked: BTreeMap::new(),
            tries: BTreeMap::new(),
            hasty: BTreeMap::new(),
            copies: BTreeMap::new(),
            asked: BTreeMap::new(),
            looks: BTreeMap::new(),
            wakes: BTreeMap::new(),
            wakeups: Vec::new(),
            actions: Vec::new(),
            trace: Trace::new(start),
        };
        court.drain();
        court
    }

    pub fn take(&mut self, step: Step) {
        self.trace.note(self.now, "step", &step);
        match step {
            Step::Wait(time) => self.wait(time),
            Step::Event(event) => self.tell(event),
            Step::Change(interface, change) => self.change(interface, change),
            Step::Reload(config) => self.reload(config),
            Step::Dns(host, dns) => drop(self.outside.dns.insert(HOSTS[host].into(), dns)),
            Step::Path(interface, n, reach, load) => {
                self.play(interface);
                let port = self.devices[&interface].listen_port;
                self.outside.set_path(self.now, (interface, key(n)), port, reach, load);
            }
            Step::Echo(interface, echo) => self.outside.set_echo(interface, echo),
            Step::Foreign(interface, back) => {
                let token = self.token.wrapping_sub(back).wrapping_add(1);
                for n in 0..2 {
                    let target = [0xfd00, 0, 0, 0, 0, 0, 0, n].into();
                    self.tell(Event::ProbeReply { interface, target, token });
                }
            }
            Step::Call(interface, n, call) => self.call((interface, key(n)), call),
            Step::Steal(n) => {
                if self.table.steal(n) {
                    self.tell(Event::RoutesChanged);
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
        // What it did not watch until now it does not know.
        self.there.iter().for_each(|&interface| self.homes.suspend(self.now, interface));
        self.engine.reload(self.now, config);
        self.drain();
    }

    /// The engine ends.
    pub fn stop(&mut self) {
        self.leaving = true;
        self.engine.stop();
        self.drain();
    }

    /// Does the configuration leave this interface to us?
    pub fn watched(&self, interface: Interface) -> bool {
        let tunnels = &self.config.tunnels;
        tunnels.is_empty() || tunnels.iter().any(|tunnel| tunnel.interface == interface && tunnel.enabled)
    }

    pub fn play(&mut self, interface: Interface) {
        let device = self.devices.get_mut(&interface).unwrap();
        self.outside.play(self.now, device);
    }

    /// A peer as it is now.
    pub fn peer(&mut self, at: Key) -> Option<&mut Peer> {
        self.devices.get_mut(&at.0)?.peers.iter_mut().find(|peer| peer.public_key == at.1)
    }

    pub fn tell(&mut self, event: Event) {
        self.trace.note(self.now, "event", &event);
        match &event {
            Event::Initiation { interface, source, verdict: Verdict::Authentic { peer, timestamp } } => {
                self.note_call((*interface, *peer), *source, *timestamp, None);
            }
            Event::Initiation { interface, source, verdict: Verdict::Replay { peer, behind, .. } } => {
                self.note_late((*interface, *peer), *source, *behind);
            }
            Event::InitiationsMissed => self.proof.all_unclear(),
            Event::Snapshot { device, .. } => self.note_look(&device.clone()),
            Event::DeviceUp { interface } if self.there.insert(*interface) => {
                self.homes.suspend(self.now, *interface);
            }
            Event::DeviceGone { interface } => {
                self.there.remove(interface);
                self.asked_at.remove(interface);
                self.book.gone(*interface);
            }
            // Each of them had its chance.
            Event::InitiationCopied { interface, peer } => {
                let at = (*interface, *peer);
                let to = self.copies.get(&at).into_iter().flatten();
                to.for_each(|&endpoint| self.book.had(at, endpoint));
            }
            Event::OwnAddresses(own) => self.book.own.clone_from(own),
            Event::WanChanged(change) => self.book.wan_changed(self.now, change),
            Event::Command(Command::Poke { .. }) => self.book.commanded(self.now),
            Event::Command(_) | Event::ClockStepped { .. } => self.book.event(self.now),
            Event::Resolved { host, answer } => self.book.resolved(self.now, host, answer),
            Event::ProbeReply { interface, target, token } => {
                let replied = self.book.replied(self.now, *interface, *target, *token);
                replied.into_iter().for_each(|at| self.homes.replied(at));
            }
            _ => {}
        }
        self.engine.handle_event(self.now, event);
        self.drain();
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
                while let Some((event, of)) = self.outside.take(self.now) {
                    // A reply comes out of the tunnel, and WireGuard counts it.
                    of.and_then(|of| self.peer(of)).into_iter().for_each(|peer| peer.rx_bytes += 112);
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
        self.check_homes();
    }

    pub fn drain(&mut self) {
        let mut count = 0;
        let mut set: Option<Key> = None;
        let mut probed = Vec::new();
        while let Some(action) = self.engine.poll_action() {
            count += 1;
            assert!(count < 200, "two devices with four peers give that much to do at once?");
            if let Some(of) = set.take().filter(|of| !self.leaving && self.watched(of.0)) {
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
                self.trace.note(self.now, "action", &action);
                self.actions.push((self.now - self.start, action.clone()));
            }
            match action {
                Action::SetEndpoint { interface, peer, endpoint, reason } => {
                    let at = (interface, peer);
                    self.judge_set(at, endpoint, reason);
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
                    let (up, port) = (device.up, device.listen_port);
                    let found = device.peers.iter_mut().find(|other| other.public_key == peer);
                    if let Some(found) = found.filter(|_| up) {
                        self.outside.poke(self.now, interface, port, found);
                    }
                }
                Action::ReaddPeer { interface, peer, endpoint } => {
                    let at = (interface, peer);
                    self.judge_readd(at);
                    if let Some((endpoint, reason)) = endpoint {
                        self.judge_set(at, endpoint, reason);
                    }
                    self.newest.remove(&at);
                    self.play(interface);
                    // What it sends from now on is counted from zero.
                    self.looked.get_mut(&at).into_iter().for_each(|last| last.peer.tx_bytes = 0);
                    if let Some(peer) = self.peer(at) {
                        *peer = Peer {
                            endpoint: endpoint.map_or(peer.endpoint, |(endpoint, _)| Some(endpoint)),
                            keepalive: peer.keepalive,
                            ..Peer::new(peer.public_key)
                        };
                    }
                    set = Some(at);
                }
                Action::SetPort { interface, port } => {
                    self.judge_port(interface, port);
                    self.play(interface);
                    let chosen = 50_000 + (self.actions.len() % 1_000) as u16;
                    let device = self.devices.get_mut(&interface).unwrap();
                    device.listen_port = if port == 0 { chosen } else { port };
                }
                Action::Probe { interface, peer, target, token } => {
                    let at = (interface, peer);
                    self.judge_probe(at, target, token);
                    self.token = token;
                    self.outside.probe(self.now, at, &self.devices[&interface], target, token);
                }
                Action::Wake { interface, target } => {
                    self.judge_wake(interface, target);
                    self.play(interface);
                    self.outside.wake(self.now, self.devices.get_mut(&interface).unwrap());
                }
                Action::CopyInitiation { interface, peer, home, to, .. } => {
                    let at = (interface, peer);
                    self.judge_copy(at, home, &to);
                    self.play(interface);
                    self.copies.insert(at, to.clone());
                    self.outside.order_copies(self.now, at, home, to);
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
                Action::AddRoute(route) => self.judge_route(route),
                Action::RemoveRoute(route) => self.table.remove(&route),
                Action::Report(report) => self.judge_report(&report),
                Action::Remember | Action::Forget { .. } => {}
            }
        }
        self.judge_refusals();
        self.judge_tries();
    }

    pub fn look(&mut self, interface: Interface) {
        self.judge_look(interface);
        self.check_homes();
        self.asked_at.insert(interface, self.now);
        if self.answers {
            self.play(interface);
            let device = self.devices[&interface].clone();
            self.trace.note(self.now, "look", &device.peers);
            self.note_look(&device);
            let wall = self.wall();
            self.engine.handle_event(self.now, Event::Snapshot { device, wall });
        }
    }
}
