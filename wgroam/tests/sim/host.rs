// SPDX-License-Identifier: GPL-2.0-only
//! A router: what it has, what its tables and its verifier say, and what was seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wgroam::config::Config;
use wgroam::engine::{Engine, Reason, Report};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Interface, Peer, PublicKey, WallTime};
use wgroam::routing::{Hop, Led, OwnRoute, Prefix, RouteAnswer, RouteQuery, Through, Via};

use super::wireguard::{Body, Time, WireGuard};

/// The wall clock when the world begins.
const WALL: u64 = 1_700_000_000;

/// A router.
pub struct Host {
    pub address: IpAddr,
    pub wireguard: Option<WireGuard>,
    pub engine: Option<Engine>,
    /// How far its wall clock is off, in seconds.
    pub clock_off: i64,
    /// Does its firewall let initiations in to WireGuard? (The tap sees them anyway.)
    pub firewall_open: bool,
    /// It answers no pings.
    pub mute: bool,
    /// More addresses of it.
    pub more: Vec<IpAddr>,
    /// Another peer on its interface, of which nothing is ever heard.
    pub stray: Option<Peer>,
    pub config: Config,
    /// Everything but its LAN is routed into the tunnel; where its uplink leads.
    pub full: bool,
    pub uplink: Option<Hop>,
    pub own_routes: Vec<OwnRoute>,
    /// Pings that the LAN was refused.
    pub refusals: usize,
    /// Under which own address and port others reached it: conntrack answers from there.
    pub(super) reached: BTreeMap<SocketAddr, SocketAddr>,
    /// What its verifier knows.
    pub(super) newest: BTreeMap<PublicKey, Timestamp>,
    /// Every endpoint that its WireGuard ever had.
    pub endpoints: BTreeSet<SocketAddr>,
    pub sets: Vec<(Time, SocketAddr, Reason)>,
    pub pokes: usize,
    pub probes: usize,
    pub questions: usize,
    pub snapshots: usize,
    pub reports: Vec<Report>,
    /// Reports with their time.
    pub told: Vec<(Time, Report)>,
    /// When answers to its pings came.
    pub pongs: Vec<Time>,
}

impl Host {
    pub(super) fn new(address: [u8; 4]) -> Self {
        Self {
            address: address.into(),
            wireguard: None,
            engine: None,
            clock_off: 0,
            firewall_open: true,
            mute: false,
            more: Vec::new(),
            stray: None,
            config: Config::default(),
            full: false,
            uplink: Some(Hop { ifindex: 2, gateway: None }),
            own_routes: Vec::new(),
            refusals: 0,
            reached: BTreeMap::new(),
            newest: BTreeMap::new(),
            endpoints: BTreeSet::new(),
            sets: Vec::new(),
            pokes: 0,
            probes: 0,
            questions: 0,
            snapshots: 0,
            told: Vec::new(),
            reports: Vec::new(),
            pongs: Vec::new(),
        }
    }

    pub fn is_at(&self, address: IpAddr) -> bool {
        self.address == address || self.more.contains(&address)
    }

    pub(super) fn wall(&self, now: Time) -> WallTime {
        WallTime {
            seconds: (WALL + now.as_secs()).saturating_add_signed(self.clock_off),
            nanos: now.subsec_nanos(),
        }
    }

    /// What the main table says.
    pub(super) fn ways(&self, question: RouteQuery) -> RouteAnswer {
        let everything = Prefix::new("2000::".parse().unwrap(), 3);
        let through = |&interface: &Interface| Through {
            interfaces: vec![interface],
            to: everything,
            from: None,
            metric: 1024,
        };
        let into = question.tunnels.first().filter(|_| self.full);
        let led = into.map(|&tunnel| {
            question.targets.iter().map(|&target| Led { target, interface: tunnel, inside: false }).collect()
        });
        RouteAnswer {
            led: led.unwrap_or_default(),
            through: question.tunnels.iter().map(through).collect(),
            targets: question.targets,
            own: self.own_routes.clone(),
            uplinks: [self.uplink; 2],
            ..RouteAnswer::default()
        }
    }

    /// Does WireGuard's packet leave, and not come back into the tunnel?
    pub(super) fn leaves(&self, destination: IpAddr) -> bool {
        let host = self.own_routes.iter().find(|route| route.to == Prefix::host(destination));
        let way = host.map(|route| route.via);
        match self.full {
            true => way == self.uplink.map(Via::By),
            false => self.uplink.is_some(),
        }
    }

    pub(super) fn refuses(&self) -> bool {
        self.own_routes.iter().any(|route| route.via == Via::Unreachable && route.to.length() == 3)
    }

    /// What the packet tap and the verifier would say. None: the tap's filter lets no data packets through.
    pub(super) fn verify(&mut self, body: &Body) -> Option<Verdict> {
        let own = self.wireguard.as_ref()?;
        let Body::Initiation { from, to, timestamp, genuine, .. } = *body else {
            return matches!(body, Body::Noise).then_some(Verdict::Malformed);
        };
        if to != own.key {
            return Some(Verdict::WrongKey);
        }
        if own.peer != Some(from) {
            return Some(Verdict::UnknownPeer { claimed: from });
        }
        if !genuine {
            return Some(Verdict::Forged { claimed: Some(from) });
        }
        let label = tai64n(timestamp);
        Some(match self.newest.get(&from) {
            Some(&newest) if label <= newest => {
                let behind = Duration::from_nanos(nanos(newest) - nanos(label));
                Verdict::Replay { peer: from, timestamp: label, behind }
            }
            _ => {
                self.newest.insert(from, label);
                Verdict::Authentic { peer: from, timestamp: label }
            }
        })
    }
}

pub fn tai64n(nanos: u64) -> Timestamp {
    let mut label = [0; 12];
    label[..8].copy_from_slice(&((1 << 62) + 10 + nanos / 1_000_000_000).to_be_bytes());
    label[8..].copy_from_slice(&((nanos % 1_000_000_000) as u32).to_be_bytes());
    Timestamp(label)
}

pub fn nanos(label: Timestamp) -> u64 {
    let seconds = u64::from_be_bytes(label.0[..8].try_into().unwrap()) - (1 << 62) - 10;
    seconds * 1_000_000_000 + u64::from(u32::from_be_bytes(label.0[8..].try_into().unwrap()))
}
