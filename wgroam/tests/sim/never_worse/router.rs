// SPDX-License-Identifier: GPL-2.0-only
//! A router: its tunnels, its tables, and what its kernel says when it is asked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use wgroam::config::{self, Candidate, Config, RotatePort};
use wgroam::engine::{Engine, Remembered};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Device, Interface, PublicKey, WallTime};
use wgroam::routing::{Hop, Led, OwnRoute, Prefix, RouteAnswer, RouteQuery, Through, Via};

use super::nat::Nat;
use super::plan::{Carries, End, Place, Plan, R1, R2, R3, Servers};
use crate::host;
use crate::wireguard::{Body, Time, WireGuard};
use crate::world::{KEYS, OTHER_PORT, PORT, STRAY};

/// The wall clock when the world begins.
const WALL: u64 = 1_700_000_000;
/// The name server of a router that asks through its tunnel.
pub const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(9, 9, 9, 9));
/// An address where nobody is.
const NOBODY: &str = "192.0.2.81";
const FWMARK: u32 = 0xca6c;

pub fn key(router: usize) -> PublicKey {
    [KEYS[0], KEYS[1], STRAY][router]
}

pub fn interface(tunnel: usize) -> Interface {
    ["wgr", "wgs"][tunnel].parse().expect("a name")
}

/// The names of the ends.
pub fn name(end: usize) -> &'static str {
    ["r1.example", "r2.example", "r3.example"][end]
}

/// An interface with its peer.
pub struct Tunnel {
    pub peer: usize,
    pub wireguard: Option<WireGuard>,
}

pub struct Router {
    pub number: usize,
    pub end: End,
    pub config: Config,
    pub nat: Nat,
    pub tunnels: Vec<Tunnel>,
    pub engine: Option<Engine>,
    pub clock_off: i64,
    /// Its clock is set as soon as the tunnel works.
    pub asks_time: bool,
    /// How often it moved, and began anew.
    pub moves: u64,
    pub boots: u64,
    /// Until then: nothing passes; its kernel knows; no UDP passes; its NAT swallows the first source port.
    pub off: Time,
    pub off_told: Time,
    pub portal: Time,
    pub swallowed: Time,
    pub no_names: Time,
    pub uplink: Hop,
    /// Host routes that whoever set up the interface made.
    pub owner_routes: Vec<IpAddr>,
    pub own_routes: Vec<OwnRoute>,
    /// What wgroam kept for the next boot.
    pub remembered: Vec<Remembered>,
    newest: BTreeMap<PublicKey, Timestamp>,
}

impl Router {
    pub fn new(plan: &Plan, number: usize) -> Self {
        let end = match number {
            // Home's twin: waits, and can be called.
            R3 => End {
                names_other: false,
                servers: Servers::Around,
                place: Place::Public,
                listen_port: Some(PORT),
                ..plan.ends[R2].clone()
            },
            _ => plan.ends[number].clone(),
        };
        let mut peers = match number {
            R1 => vec![R2],
            _ => vec![R1],
        };
        if number == R1 && plan.second.is_some() {
            peers.push(R3);
        }
        let tunnel = |peer| Tunnel { peer, wireguard: None };
        let (inside, outside) = addresses(&end, number, 0);
        Self {
            number,
            config: config(plan, number),
            nat: Nat::new(end.place, inside, outside, plan.seed ^ number as u64),
            tunnels: peers.into_iter().map(tunnel).collect(),
            engine: None,
            clock_off: end.clock_off,
            asks_time: false,
            moves: 0,
            boots: 0,
            off: Time::ZERO,
            off_told: Time::ZERO,
            portal: Time::ZERO,
            swallowed: Time::ZERO,
            no_names: Time::ZERO,
            uplink: Hop { ifindex: 2, gateway: None },
            owner_routes: Vec::new(),
            own_routes: Vec::new(),
            remembered: Vec::new(),
            newest: BTreeMap::new(),
            end,
        }
    }

    /// It is somewhere else: another address, another NAT, another link.
    pub fn moves(&mut self, seed: u64) {
        self.moves += 1;
        let (inside, outside) = addresses(&self.end, self.number, self.moves);
        self.nat = Nat::new(self.end.place, inside, outside, seed ^ self.moves);
        self.uplink.ifindex = 5 - self.uplink.ifindex;
        self.owner_routes.clear();
        self.own_routes.retain(|route| !matches!(route.via, Via::By(_)));
    }

    pub fn wall(&self, now: Time) -> WallTime {
        WallTime {
            seconds: (WALL + now.as_secs()).saturating_add_signed(self.clock_off),
            nanos: now.subsec_nanos(),
        }
    }

    /// What the verifier knows when wgroam starts.
    pub fn knows(&mut self, newest: BTreeMap<PublicKey, Timestamp>) {
        self.newest = newest;
    }

    /// Its addresses, as the kernel tells them.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        let mut all = vec![self.nat.inside, inside_address(self.number), lan_address(self.number)];
        all.push([127, 0, 0, 1].into());
        all.sort();
        all
    }

    pub fn device(&self, tunnel: usize) -> Option<Device> {
        let mut device = self.tunnels[tunnel].wireguard.as_ref()?.device();
        if self.end.carries == Carries::EverythingMarked {
            device.fwmark = FWMARK;
        }
        Some(device)
    }

    fn hop(&self, now: Time) -> Option<Hop> {
        (now >= self.off_told).then_some(self.uplink)
    }

    /// Does a packet of WireGuard's leave by the uplink, and not back into the tunnel or nowhere?
    pub fn leaves(&self, now: Time, to: IpAddr) -> bool {
        now >= self.off && self.sends(now, to)
    }

    /// Does the kernel send it by the uplink? It may not know that nothing gets further.
    pub fn sends(&self, now: Time, to: IpAddr) -> bool {
        let Some(hop) = self.hop(now).filter(|_| to.is_ipv4()) else { return false };
        if let Some(route) = self.own_routes.iter().find(|route| route.to == Prefix::host(to)) {
            return route.via == Via::By(hop);
        }
        !self.in_tunnel_networks(to)
            && (self.end.carries != Carries::Everything || self.owner_routes.contains(&to))
    }

    /// What happens to a packet of the LAN's to this address behind the tunnel: none: it goes there.
    pub fn diverts(&self, to: IpAddr) -> Option<Via> {
        self.own_routes.iter().find(|route| route.to.contains(to)).map(|route| route.via)
    }

    /// Do the tunnel's own routes, those of its networks, lead there?
    fn in_tunnel_networks(&self, to: IpAddr) -> bool {
        Prefix::new([10, 99, 0, 0].into(), 16).contains(to) || to == lan_address(1 - self.number.min(1))
    }

    /// Questions for names go through the tunnel.
    pub fn asks_inside(&self) -> bool {
        let around = self.own_routes.iter().any(|route| route.to == Prefix::host(SERVER));
        self.end.servers != Servers::Around && !around
    }

    /// What the kernel says about routes.
    pub fn routes(&self, now: Time, query: RouteQuery, multipath: bool) -> RouteAnswer {
        let everything = self.end.carries == Carries::Everything;
        let mut through = Vec::new();
        if multipath {
            let interfaces = vec![interface(0), interface(1)];
            through.push(Through { interfaces, to: Prefix::new(lan6(R2), 3), from: None, metric: 1024 });
        } else {
            for (at, tunnel) in self.tunnels.iter().enumerate() {
                let to = Prefix::new(lan6(tunnel.peer), 48);
                through.push(Through { interfaces: vec![interface(at)], to, from: None, metric: 1024 });
            }
        }
        let led = |&target: &IpAddr| {
            let inside = self.in_tunnel_networks(target);
            let led = match target {
                IpAddr::V4(_) => inside || (everything && !self.owner_routes.contains(&target)),
                IpAddr::V6(_) => everything || through.iter().any(|through| through.to.contains(target)),
            };
            led.then(|| Led { target, interface: interface(0), inside })
        };
        let inside = query.servers && self.end.servers != Servers::Around;
        RouteAnswer {
            led: query.targets.iter().filter_map(led).collect(),
            through: through.clone(),
            own: self.own_routes.clone(),
            uplinks: [self.hop(now), None],
            servers: inside.then_some((SERVER, interface(0))).into_iter().collect(),
            targets: query.targets,
            ..RouteAnswer::default()
        }
    }

    /// What the packet tap and the verifier would say.
    pub fn verify(&mut self, tunnel: usize, body: &Body) -> Option<Verdict> {
        let peer = key(self.tunnels[tunnel].peer);
        let Body::Initiation { from, to, timestamp, .. } = *body else { return None };
        if to != key(self.number) {
            return Some(Verdict::WrongKey);
        }
        if from != peer {
            return Some(Verdict::UnknownPeer { claimed: from });
        }
        let timestamp = host::tai64n(timestamp);
        let newest = self.newest.entry(peer).or_insert(Timestamp([0; 12]));
        if timestamp <= *newest {
            let behind = host::nanos(*newest).saturating_sub(host::nanos(timestamp));
            let behind = std::time::Duration::from_nanos(behind);
            return Some(Verdict::Replay { peer, timestamp, behind });
        }
        *newest = timestamp;
        Some(Verdict::Authentic { peer, timestamp })
    }
}

/// Of an end that moved so often: its own, and what the Internet sees.
pub fn addresses(end: &End, number: usize, moves: u64) -> (IpAddr, IpAddr) {
    let (number, moves) = (number as u8, moves as u8);
    let outside = IpAddr::from([198, 51, 100, 2 + number * 60 + moves]);
    match end.place {
        Place::Public => (outside, outside),
        _ => ([10, number, moves, 2].into(), outside),
    }
}

/// Where R3 is, for ever.
pub fn home() -> IpAddr {
    [198, 51, 100, 2 + 60 * R3 as u8].into()
}

/// A router's address inside the tunnel.
pub fn inside_address(router: usize) -> IpAddr {
    [10, 99, 0, 1 + router as u8].into()
}

pub fn lan_address(router: usize) -> IpAddr {
    [192, 168, 10 + router as u8, 1].into()
}

/// A computer in a router's LAN.
pub fn lan6(router: usize) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 1 + router as u16, 0, 0, 0, 0, 1])
}

/// wgroam's configuration.
fn config(plan: &Plan, number: usize) -> Config {
    let mut config = Config { interfaces: vec![interface(0)], ..Config::default() };
    if number == R3 || !plan.ends[number].names_other {
        return config;
    }
    let end = &plan.ends[number];
    let other = 1 - number;
    // On OpenWrt the configuration says which port was set up; elsewhere nobody knows.
    if plan.seed & 8 != 0 {
        config.listen_ports = end.listen_port.map(|port| (interface(0), port)).into_iter().collect();
    }
    let candidate = |port| Candidate { host: name(other).into(), port };
    let mut endpoints = vec![candidate(PORT)];
    if end.wrong_first {
        endpoints.insert(0, Candidate { host: NOBODY.into(), port: PORT });
    }
    endpoints.extend(end.second_port.then(|| candidate(OTHER_PORT)));
    let peer = |tunnel, public_key, endpoints| config::Peer {
        name: "far".into(),
        tunnel,
        public_key,
        endpoints,
        family: config::Family::Any,
        keepalive: (end.keepalive > 0).then_some(end.keepalive),
        probe: end.probe.map(|_| inside_address(other)),
        probe_interval: end.probe.unwrap_or(0),
        readd: end.readd,
    };
    config.peers.push(peer(interface(0), key(other), endpoints));
    if number == R1 && plan.second.is_some() {
        let home = home();
        let endpoints = vec![Candidate { host: home.to_string(), port: PORT }];
        config.peers.push(peer(interface(1), key(R3), endpoints));
        config.peers[1].probe = None;
        config.interfaces.push(interface(1));
    }
    let tunnel = |interface| config::Tunnel {
        interface,
        enabled: true,
        unreachable: end.refuses,
        rotate_port: RotatePort::Auto,
    };
    config.tunnels = config.interfaces.iter().map(|&interface| tunnel(interface)).collect();
    config
}

/// WireGuard's port at a boot.
pub fn port(end: &End, seed: u64, boot: u64, tunnel: usize) -> u16 {
    let chosen = 33_000 + (super::plan::chance(seed, Time::ZERO, boot * 8 + tunnel as u64) % 20_000) as u16;
    match (end.listen_port, tunnel) {
        (Some(port), 0) => port,
        _ => chosen,
    }
}

/// Where an end can be found, if it can be called there.
pub fn socket(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, PORT)
}
