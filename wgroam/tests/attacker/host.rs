// SPDX-License-Identifier: GPL-2.0-only
//! One end of the tunnel: WireGuard, a firewall before it, and perhaps the daemon: the engine, the verifier beside it, and
//! the state file.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wgroam::config::{self, Config};
use wgroam::engine::{Engine, Remembered};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Interface, PublicKey, WallTime};

use super::rng::Rng;
use super::script::{ANCHOR, Firewall, Section, Tap};
use super::wireguard::{Body, Time, WireGuard};

pub const KEYS: [PublicKey; 2] = [PublicKey([1; 32]), PublicKey([2; 32])];
pub const PORT: u16 = 51820;
pub const NAME: &str = "peer.example";
/// The wall clock when the play begins.
pub const WALL: u64 = 1_700_000_000;
/// A firewall and conntrack forget a flow after this (nf_conntrack_udp_timeout_stream).
const FLOW: Duration = Duration::from_secs(120);

pub fn interface() -> Interface {
    "wgr".parse().unwrap()
}

/// The daemon of one end.
pub struct Daemon {
    pub engine: Engine,
    /// What the verifier knows as the peer's newest; before the first look it knows no interface.
    pub newest: u64,
    pub listens: bool,
}

pub struct Host {
    pub wireguard: WireGuard,
    pub address: SocketAddr,
    /// Where it was before.
    pub earlier: Vec<SocketAddr>,
    /// How far its wall clock is off, in seconds.
    pub clock: i64,
    pub firewall: Firewall,
    pub tap: Tap,
    /// The tap lost initiations that the daemon has not been told of.
    pub dropped: bool,
    flows: Vec<(SocketAddr, Time)>,
    pub config: Config,
    pub daemon: Option<Daemon>,
    /// The endpoint as it would be if wgroam had set none.
    pub alone: Option<SocketAddr>,
    /// All endpoints that it had, and since when it has the one of now, or none.
    pub had: Vec<SocketAddr>,
    pub since: (Option<SocketAddr>, Time),
    /// When WireGuard heard the peer first, if it did since it knows it.
    pub heard: Option<Time>,
    /// The state file.
    pub state: Vec<Remembered>,
    /// When an answer to its ping came, once the attack is over.
    pub answered: Option<Time>,
}

impl Host {
    pub fn new(host: usize, address: SocketAddr, rng: Rng) -> Self {
        Self {
            wireguard: wireguard(host, 10, rng),
            address,
            earlier: Vec::new(),
            clock: 0,
            firewall: Firewall::Open,
            tap: Tap::Sees,
            dropped: false,
            flows: Vec::new(),
            config: Config::default(),
            daemon: None,
            alone: None,
            had: Vec::new(),
            since: (None, Time::ZERO),
            heard: None,
            state: Vec::new(),
            answered: None,
        }
    }

    pub fn wall(&self, now: Time) -> WallTime {
        WallTime {
            seconds: (WALL + now.as_secs()).saturating_add_signed(self.clock),
            nanos: now.subsec_nanos(),
        }
    }

    /// `ip link add`: another interface under the same name.
    pub fn recreate(&mut self, host: usize, rng: Rng) {
        self.wireguard = wireguard(host, self.wireguard.ifindex + 1, rng);
    }

    pub fn start(&mut self, memory: Vec<Remembered>, now: Instant) {
        let mut engine = Engine::new(self.config.clone(), memory, now);
        engine.set_wan(Some("wan".parse().unwrap()));
        self.daemon = Some(Daemon { engine, newest: 0, listens: false });
    }

    /// Keeps what can't be seen any more later.
    pub fn note(&mut self, now: Time) {
        self.heard = (self.wireguard.rx_bytes > 0).then(|| self.heard.unwrap_or(now));
        let endpoint = self.wireguard.endpoint;
        if endpoint != self.since.0 {
            self.since = (endpoint, now);
            let new = endpoint.filter(|endpoint| !self.had.contains(endpoint));
            self.had.extend(new);
        }
    }

    /// It sent something there.
    pub fn sent_to(&mut self, now: Time, to: SocketAddr) {
        self.flows.retain(|&(other, when)| other != to && now < when + FLOW);
        self.flows.push((to, now));
    }

    /// Does the firewall let it in?
    pub fn lets_in(&self, now: Time, from: SocketAddr, body: &Body) -> bool {
        match self.firewall {
            Firewall::Open => true,
            Firewall::Stateful => self.flows.iter().any(|&(to, when)| to == from && now < when + FLOW),
            Firewall::NoInitiations => !matches!(body, Body::Initiation { .. }),
        }
    }
}

fn wireguard(host: usize, ifindex: u32, rng: Rng) -> WireGuard {
    let mut wireguard = WireGuard::new(interface(), ifindex, KEYS[host], PORT, rng);
    wireguard.peer = Some(KEYS[1 - host]);
    wireguard
}

/// What the verifier says of a genuine initiation; what it lets pass is the newest then (initiation::Responder).
impl Daemon {
    pub fn verify(&mut self, from: PublicKey, timestamp: u64) -> Verdict {
        let label = tai64n(timestamp);
        if timestamp <= self.newest {
            let behind = Duration::from_nanos(self.newest - timestamp);
            return Verdict::Replay { peer: from, timestamp: label, behind };
        }
        self.newest = timestamp;
        Verdict::Authentic { peer: from, timestamp: label }
    }

    /// A look at the device: the verifier learns what the engine remembers (daemon/watched.rs).
    pub fn update(&mut self, host: usize) {
        self.listens = true;
        let newest = self.engine.newest(interface(), &KEYS[1 - host]);
        self.newest = self.newest.max(newest.map_or(0, nanos));
    }

    /// The interface is gone, and its verifier.
    pub fn forget(&mut self) {
        (self.newest, self.listens) = (0, false);
    }
}

pub fn tai64n(nanos: u64) -> Timestamp {
    let mut label = [0; 12];
    label[..8].copy_from_slice(&((1 << 62) + 10 + nanos / 1_000_000_000).to_be_bytes());
    label[8..].copy_from_slice(&((nanos % 1_000_000_000) as u32).to_be_bytes());
    Timestamp(label)
}

fn nanos(label: Timestamp) -> u64 {
    let seconds = u64::from_be_bytes(label.0[..8].try_into().unwrap()) - (1 << 62) - 10;
    seconds * 1_000_000_000 + u64::from(u32::from_be_bytes(label.0[8..].try_into().unwrap()))
}

/// The configuration of an end that has its peer, at first at this address, in this section.
pub fn configuration(host: usize, section: Section, peer: SocketAddr, readd: bool) -> Config {
    let endpoint = match section {
        Section::NoDaemon | Section::Awaited => return Config::default(),
        Section::ByAddress => config::Candidate { host: peer.ip().to_string(), port: PORT },
        Section::ByName => config::Candidate { host: NAME.into(), port: PORT },
    };
    let tunnel = config::Tunnel {
        interface: interface(),
        enabled: true,
        unreachable: false,
        // The other end relies on it.
        rotate_port: config::RotatePort::Never,
    };
    let peer = config::Peer {
        name: if host == ANCHOR { "roamer" } else { "anchor" }.into(),
        tunnel: interface(),
        public_key: KEYS[1 - host],
        endpoints: vec![endpoint],
        family: config::Family::Any,
        keepalive: None,
        probe: None,
        probe_interval: 0,
        readd,
    };
    Config { tunnels: vec![tunnel], peers: vec![peer], ..Config::default() }
}
