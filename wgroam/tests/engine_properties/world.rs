// SPDX-License-Identifier: GPL-2.0-only
//! What happens without the engine's doing, and what of it can be seen.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wgroam::engine::Event;
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Device, Interface, Peer};

use super::court::{Court, LastLook, listen_port};
use super::draw::{Call, Change, Fate, Key, key};
use super::homes::Life;
use super::proof::Look;
use super::tale::calls_only;

impl Court {
    pub fn change(&mut self, interface: Interface, change: Change) {
        self.play(interface);
        let wall = self.wall();
        let was_up = self.devices[&interface].up;
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
            Change::Roamed(n, to, bytes) => with(n, &|peer| {
                peer.endpoint = Some(to);
                peer.rx_bytes += bytes;
            }),
            Change::Port(port) => device.listen_port = port,
            Change::Handshake(n) => with(n, &|peer| peer.last_handshake = Some(wall)),
            Change::Moved(n, to) => with(n, &|peer| peer.endpoint = to),
            Change::Keepalive(n, seconds) => with(n, &|peer| peer.keepalive = seconds),
            Change::Link(up) => device.up = up,
            Change::Recreated => {
                device.ifindex += 1;
                device.listen_port = listen_port(interface);
                self.newest.retain(|at, _| at.0 != interface);
                device.peers.iter_mut().for_each(|peer| *peer = Peer::new(peer.public_key));
            }
            Change::There(n, there) => {
                device.peers.retain(|peer| peer.public_key != key(n));
                if there {
                    device.peers.push(Peer::new(key(n)));
                }
                self.newest.remove(&(interface, key(n)));
            }
        }
        if !was_up && device.up {
            self.homes.suspend(self.now, interface);
        }
        let device = device.clone();
        self.tell(Event::Snapshot { device, wall });
    }

    /// The peer calls, or somebody plays what it once sent.
    pub fn call(&mut self, at: Key, call: Call) {
        self.play(at.0);
        let timestamp = self.label(call.age);
        let wall = self.wall();
        let newer = self.newest.get(&at).is_none_or(|&newest| timestamp > newest);
        let up = self.devices[&at.0].up;
        if let Some(peer) = self.peer(at).filter(|_| newer && up && call.fate != Fate::Dropped) {
            peer.endpoint = Some(call.source);
            peer.rx_bytes += 148;
            peer.tx_bytes += 92;
            if call.fate == Fate::Completed {
                peer.last_handshake = Some(wall);
                peer.rx_bytes += 32;
            }
            self.newest.insert(at, timestamp);
        }
        // Who listens knows the newest one that was heard.
        let heard = self.engine.newest(at.0, &at.1);
        let verdict = match heard.filter(|heard| timestamp <= *heard) {
            Some(heard) => {
                self.note_late(at, call.source, heard.since(&timestamp));
                Verdict::Replay { peer: at.1, timestamp, behind: heard.since(&timestamp) }
            }
            None => {
                self.note_call(at, call.source, timestamp, Some(call.age));
                Verdict::Authentic { peer: at.1, timestamp }
            }
        };
        self.engine
            .handle_event(self.now, Event::Initiation { interface: at.0, source: call.source, verdict });
        self.drain();
    }

    /// What a peer's clock showed so long ago; it is as right as ours.
    fn label(&self, age: Duration) -> Timestamp {
        let time = Duration::from_secs(1_700_000_000) + (self.now - self.start);
        let time = time.saturating_sub(age);
        let mut label = [0; 12];
        label[..8].copy_from_slice(&time.as_secs().to_be_bytes());
        label[8..].copy_from_slice(&time.subsec_nanos().to_be_bytes());
        Timestamp(label)
    }

    pub fn note_call(&mut self, at: Key, source: SocketAddr, timestamp: Timestamp, age: Option<Duration>) {
        let before = self.looked.get(&at).copied();
        // Who is not there can't be called.
        if self.there.contains(&at.0) && self.watched(at.0) && before.is_some() {
            self.proof.heard(self.now, at, (source, timestamp), age);
            self.homes.called_again(at, source);
        }
        self.called.insert(at, before);
    }

    pub fn note_late(&mut self, at: Key, source: SocketAddr, behind: Duration) {
        if behind >= Duration::from_secs(3) {
            self.late.insert(at, (source, None));
        }
        if self.there.contains(&at.0) && self.watched(at.0) && self.looked.contains_key(&at) {
            self.proof.unclear(at, behind.is_zero().then_some(source));
        }
    }

    pub fn note_look(&mut self, device: &Device) {
        let asked = self.asked_at.remove(&device.interface).unwrap_or(self.now);
        if !self.watched(device.interface) || !self.there.contains(&device.interface) {
            return;
        }
        let wall = self.wall();
        let first = !self.book.links.contains_key(&device.interface);
        let recreated = self.book.links.get(&device.interface).is_some_and(|link| link.0 != device.ifindex);
        self.homes.look_at_device(device, recreated);
        let there: BTreeSet<_> = device.peers.iter().map(|peer| peer.public_key).collect();
        let known: Vec<_> = self.looked.keys().filter(|at| at.0 == device.interface).copied().collect();
        let lost = |at: &Key| recreated || !there.contains(&at.1);
        known.into_iter().filter(lost).for_each(|at| self.proof.forget(at));
        self.book.look(self.now, device, wall);
        for peer in &device.peers {
            self.note_peer(asked, device, peer, first);
        }
        self.looked.retain(|at, _| at.0 != device.interface || there.contains(&at.1));
    }

    fn note_peer(&mut self, asked: Instant, device: &Device, peer: &Peer, first: bool) {
        let at = (device.interface, peer.public_key);
        let before = self.looked.insert(at, LastLook { peer: *peer, ifindex: device.ifindex });
        // Who appears before our eyes is new; who was there when we first looked has an unknown past.
        let before = match before {
            Some(before) if before.ifindex == device.ifindex => before.peer,
            _ if first => *peer,
            _ => Peer::new(peer.public_key),
        };
        let rise = |new: u64, old: u64| if new < old { new } else { new - old };
        let received = rise(peer.rx_bytes, before.rx_bytes);
        let sent = rise(peer.tx_bytes, before.tx_bytes);
        let shaken = peer.last_handshake.is_some() && peer.last_handshake != before.last_handshake;
        let alive = received > 0 || shaken;
        let calls = calls_only(peer, received);
        // What moved the endpoint, and what was heard beside a call, may be a recording.
        let quiet = before.endpoint == peer.endpoint && self.proof.nobody_called(at);
        let life = match alive {
            false => Life::None,
            true if calls || !quiet => Life::Unclear,
            true => Life::Proof,
        };
        if let Some((_, there)) = self.late.get_mut(&at).filter(|late| Some(late.0) == peer.endpoint) {
            *there = Some(self.now);
        }
        if self.homes.here(at) != peer.endpoint {
            self.book.moved(self.now, at);
        }
        let taken = self.proof.look(at, &Look { now: self.now, asked, peer, received, sent, shaken });
        self.homes.look(asked, at, peer.endpoint, life, shaken || (received > 0 && !calls));
        let proven = life == Life::Proof || taken;
        let good = peer.endpoint.filter(|&endpoint| proven && self.book.takes(at, endpoint));
        if let Some(endpoint) = good {
            let best = self.best.entry(at).or_default();
            best[0] = Some(endpoint);
            if life == Life::Proof && self.book.list(self.now, at, Duration::ZERO).contains(&endpoint) {
                best[1] = Some(endpoint);
            }
        }
    }
}
