// SPDX-License-Identifier: GPL-2.0-only
//! What the engine's actions meet: a WireGuard of few words, name servers, echo targets. Good and bad ones.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use wgroam::engine::constants::COPY_FOR;
use wgroam::engine::{Event, ResolveError};
use wgroam::model::{Device, Interface, Peer, WallTime};

use super::draw::Key;

pub type Answer = Result<Vec<IpAddr>, ResolveError>;

/// How a name is answered.
#[derive(Clone, Debug)]
pub enum Dns {
    Never,
    After(Duration, Answer),
}

/// Where a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Nowhere,
    Anywhere,
    Only(SocketAddr),
    /// Anywhere, but not from the source port of the moment at which that began.
    OtherPort,
}

/// What is sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Only what WireGuard sends by itself.
    Nothing,
    BothWays,
    OneWay,
}

/// What becomes of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    Lost,
    /// It comes back after this time: in time, or too late.
    After(Duration),
    /// Another token comes back.
    Foreign,
}

#[derive(Clone, Copy)]
struct Path {
    reach: Reach,
    /// The source port that nothing comes back to, with [`Reach::OtherPort`].
    swallowed: u16,
    load: Load,
    /// Up to when its traffic was played.
    played: Instant,
}

/// The world outside.
pub struct Outside {
    start: Instant,
    paths: BTreeMap<Key, Path>,
    pub dns: BTreeMap<String, Dns>,
    echoes: BTreeMap<Interface, Echo>,
    /// The next initiation that leaves for the first address goes to the others, too, up to a moment.
    copies: BTreeMap<Key, (SocketAddr, Vec<SocketAddr>, Instant)>,
    /// What is on its way to the engine; out of the tunnel: of which peer.
    coming: Vec<(Instant, Event, Option<Key>)>,
}

/// Whole multiples of `period` in the time from `from` to `to`, in seconds.
fn beats(from: u64, to: u64, period: u64) -> u64 {
    to / period - from / period
}

impl Outside {
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            paths: BTreeMap::new(),
            dns: BTreeMap::new(),
            echoes: BTreeMap::new(),
            copies: BTreeMap::new(),
            coming: Vec::new(),
        }
    }

    pub fn wall(&self, now: Instant) -> WallTime {
        WallTime { seconds: 1_700_000_000 + (now - self.start).as_secs(), nanos: 0 }
    }

    pub fn set_path(&mut self, now: Instant, at: Key, port: u16, reach: Reach, load: Load) {
        self.paths.insert(at, Path { reach, swallowed: port, load, played: now });
    }

    pub fn set_echo(&mut self, interface: Interface, echo: Echo) {
        self.echoes.insert(interface, echo);
    }

    /// The engine asks for a name.
    pub fn ask(&mut self, now: Instant, host: &str) {
        if let Some(Dns::After(time, answer)) = self.dns.get(host) {
            let event = Event::Resolved { host: host.to_string(), answer: answer.clone() };
            self.coming.push((now + *time, event, None));
        }
    }

    /// The engine sends an echo request.
    pub fn probe(&mut self, now: Instant, at: Key, device: &Device, target: IpAddr, token: u16) {
        let Some(peer) = device.peers.iter().find(|peer| peer.public_key == at.1) else { return };
        let (interface, path) = (at.0, self.paths.get(&at));
        let reached = |endpoint| path.is_some_and(|path| path.answers(endpoint, device.listen_port));
        // Without a session nothing comes out of the tunnel.
        if !session(peer, self.wall(now)) || !peer.endpoint.is_some_and(reached) {
            return;
        }
        let (time, token, of) = match self.echoes.get(&interface) {
            None | Some(Echo::Lost) => return,
            Some(&Echo::After(time)) => (time, token, Some(at)),
            Some(Echo::Foreign) => (Duration::from_millis(30), token.wrapping_add(1000), None),
        };
        self.coming.push((now + time, Event::ProbeReply { interface, target, token }, of));
    }

    /// When something comes next.
    pub fn next(&self) -> Option<Instant> {
        self.coming.iter().map(|&(when, ..)| when).min()
    }

    /// What has come, the earliest first.
    pub fn take(&mut self, now: Instant) -> Option<(Event, Option<Key>)> {
        let first = self.next().filter(|&when| when <= now)?;
        let at = self.coming.iter().position(|&(when, ..)| when == first)?;
        let (_, event, of) = self.coming.remove(at);
        Some((event, of))
    }

    /// Plays the traffic up to now, in whole seconds.
    pub fn play(&mut self, now: Instant, device: &mut Device) {
        let wall = self.wall(now);
        let (interface, port) = (device.interface, device.listen_port);
        for peer in &mut device.peers {
            let at = (interface, peer.public_key);
            let Some(path) = self.paths.get_mut(&at) else { continue };
            let (from, to) = ((path.played - self.start).as_secs(), (now - self.start).as_secs());
            path.played = now;
            if let (true, Some(endpoint)) = (device.up, peer.endpoint) {
                let reached = path.answers(endpoint, port);
                if traffic(peer, path.load, reached, from, to, wall) {
                    self.copy(now, at, port, peer);
                }
            }
        }
    }

    /// The engine has WireGuard send something.
    pub fn poke(&mut self, now: Instant, interface: Interface, port: u16, peer: &mut Peer) {
        let wall = self.wall(now);
        let Some(endpoint) = peer.endpoint else { return };
        let at = (interface, peer.public_key);
        let path = self.paths.get(&at);
        if session(peer, wall) {
            peer.tx_bytes += 32;
        } else if path.is_some_and(|path| path.answers(endpoint, port)) {
            shake(peer, wall);
        } else if path.is_some() {
            peer.tx_bytes += 148;
            self.copy(now, at, port, peer);
        }
    }

    /// The engine wants the next initiation that leaves for `home` to go to these, too.
    pub fn order_copies(&mut self, now: Instant, at: Key, home: SocketAddr, to: Vec<SocketAddr>) {
        self.copies.insert(at, (home, to, now + COPY_FOR));
    }

    /// An initiation has left that is not answered, and with it its copies. Who answers one is where the peer is from now on.
    fn copy(&mut self, now: Instant, at: Key, port: u16, peer: &mut Peer) {
        let due = |(home, _, until): &mut (SocketAddr, Vec<SocketAddr>, Instant)| {
            now > *until || peer.endpoint == Some(*home)
        };
        let Some((_, order)) = self.copies.extract_if(at..=at, |_, order| due(order)).next() else { return };
        let (_, to, until) = order;
        if now > until {
            return;
        }
        self.coming.push((now, Event::InitiationCopied { interface: at.0, peer: at.1 }, None));
        let there = |to: &SocketAddr| self.paths.get(&at).is_some_and(|path| path.answers(*to, port));
        if let Some(there) = to.into_iter().find(there) {
            peer.endpoint = Some(there);
            finish(peer, self.wall(now));
        }
    }

    /// The engine sends data in the LAN's place.
    pub fn wake(&mut self, now: Instant, device: &mut Device) {
        let wall = self.wall(now);
        let (interface, port) = (device.interface, device.listen_port);
        let Some(peer) = device.peers.iter_mut().find(|peer| session(peer, wall)) else { return };
        let path = self.paths.get(&(interface, peer.public_key));
        let Some((path, endpoint)) = path.zip(peer.endpoint) else { return };
        peer.tx_bytes += 112;
        peer.rx_bytes += if path.answers(endpoint, port) { 128 } else { 0 };
    }
}

impl Path {
    fn answers(&self, endpoint: SocketAddr, port: u16) -> bool {
        match self.reach {
            Reach::Nowhere => false,
            Reach::Anywhere => true,
            Reach::Only(only) => endpoint == only,
            Reach::OtherPort => port != self.swallowed,
        }
    }
}

fn session(peer: &Peer, wall: WallTime) -> bool {
    peer.last_handshake.is_some_and(|then| wall.since(then) < Duration::from_secs(180))
}

fn shake(peer: &mut Peer, wall: WallTime) {
    peer.tx_bytes += 148;
    finish(peer, wall);
}

/// Our initiation is answered.
fn finish(peer: &mut Peer, wall: WallTime) {
    peer.last_handshake = Some(wall);
    peer.tx_bytes += 32;
    peer.rx_bytes += 92;
}

/// True if an initiation left and nobody answered it.
fn traffic(peer: &mut Peer, load: Load, reached: bool, from: u64, to: u64, wall: WallTime) -> bool {
    let loaded = load != Load::Nothing;
    let calls = beats(from, to, 5);
    if !session(peer, wall) {
        if calls > 0 && (loaded || peer.keepalive > 0) {
            match reached {
                true => shake(peer, wall),
                false => peer.tx_bytes += 148 * calls,
            }
            return !reached;
        }
        return false;
    }
    let data = if loaded { (to - from) * 128 } else { 0 };
    peer.tx_bytes += data + 32 * beats(from, to, 25) * u64::from(peer.keepalive > 0);
    let renew = peer.last_handshake.is_none_or(|then| wall.since(then) >= Duration::from_secs(120));
    match (reached, load) {
        (false, Load::Nothing) => {}
        (false, _) => peer.tx_bytes += 148 * calls,
        (true, Load::BothWays) => peer.rx_bytes += data,
        (true, Load::OneWay) => peer.rx_bytes += 32 * beats(from, to, 10),
        // The other end has a keepalive of its own.
        (true, Load::Nothing) => peer.rx_bytes += 32 * beats(from + 7, to + 7, 25),
    }
    if reached && renew && (loaded || peer.keepalive > 0) {
        shake(peer, wall);
    }
    !reached && loaded && calls > 0
}
