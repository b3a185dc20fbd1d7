// SPDX-License-Identifier: GPL-2.0-only
//! Words for routes, and what the main table says about the ways to our peers. Pure: who asks the kernel is
//! [`crate::linux::own_routes`], who decides what is to be done is the engine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Interface;

/// Marks our routes: `ip route show proto 119`. Neither in iproute2's etc/iproute2/rt_protos and rt_protos.d nor in
/// include/uapi/linux/rtnetlink.h; above what the kernel takes for its own (RTPROT_STATIC and less). It is the letter w.
pub const PROTOCOL: u8 = b'w';

/// What IPv6 takes in place of metric 0 (IP6_RT_PRIO_USER); IPv4 has no such default.
pub const IPV6_METRIC: u32 = 1024;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The first one: no bits behind the prefix are set.
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of this length (at most 32 or 128 bits; longer counts as that) that the address lies in.
    pub fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(ip) => {
                let length = length.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Self { address: Ipv4Addr::from_bits(ip.to_bits() & mask).into(), length }
            }
            IpAddr::V6(ip) => {
                let length = length.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Self { address: Ipv6Addr::from_bits(ip.to_bits() & mask).into(), length }
            }
        }
    }

    /// This address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits that all its addresses share.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// An address in it that somebody could send to: one that is for documentation, where it has such.
    pub fn some_address(&self) -> IpAddr {
        let documentation = match self.address {
            IpAddr::V4(_) => IpAddr::from([192, 0, 2, 1]),
            IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
        };
        match self.address {
            _ if self.contains(documentation) => documentation,
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() | 1).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() | 1).into(),
        }
    }

    /// Are packets to it others' IPv6 packets, and not those to a link alone?
    fn is_transit(&self) -> bool {
        let IpAddr::V6(ip) = self.address else { return false };
        !ip.is_unicast_link_local() && !ip.is_multicast()
    }

    /// Does the address lie in it?
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && Self::new(address, self.length) == *self
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// One way that a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// By this link.
    pub ifindex: u32,
    /// To this router; none on a point-to-point link.
    pub gateway: Option<IpAddr>,
}

/// A route of ours. All are in the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRoute {
    /// To these addresses.
    pub to: Prefix,
    /// For packets from these only. IPv6, and in kernels that have it (CONFIG_IPV6_SUBTREES, as OpenWrt's do).
    pub from: Option<Prefix>,
    /// Of routes to and from the same the lowest counts. IPv6 takes 0 for 1024.
    pub metric: u32,
    /// Where to.
    pub via: Via,
    /// Packets that leave by it, and have no source address yet, get this one. None: the kernel chooses.
    pub source: Option<IpAddr>,
}

/// What a route of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The main table would lead WireGuard's own packets to a peer into the tunnel that they carry.
    Endpoint,
    /// Nobody on the tunnel answers: whoever sends into it is told at once, and does not hang.
    Unreachable,
    /// A name server is led into a tunnel that is dead: so the new address of the far end can't be learned.
    NameServer,
}

impl Purpose {
    /// One lower-case word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Endpoint => "endpoint",
            Purpose::Unreachable => "unreachable",
            Purpose::NameServer => "name-server",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Purpose::Endpoint => "keeps WireGuard's own packets out of the tunnel",
            Purpose::Unreachable => "nobody answers, and the LAN shall not hang",
            Purpose::NameServer => "keeps questions for names out of a tunnel that is dead",
        })
    }
}

/// Where a route of ours leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Nowhere, and whoever tries is told at once.
    Unreachable,
    /// By this link, to this router if there is one. The router is taken for a neighbour without a check: the way is
    /// copied from a route that works.
    By(Hop),
}

impl OwnRoute {
    /// Do both stand in the same place of the table, so that there can only be one of them?
    pub fn same_place(&self, other: &OwnRoute) -> bool {
        (self.to, self.from, self.metric()) == (other.to, other.from, other.metric())
    }

    fn metric(&self) -> u32 {
        if self.metric == 0 && self.to.address.is_ipv6() { IPV6_METRIC } else { self.metric }
    }
}

impl fmt::Display for OwnRoute {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.via == Via::Unreachable {
            f.write_str("unreachable ")?;
        }
        write!(f, "{}", self.to)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        match self.via {
            Via::By(Hop { gateway: Some(gateway), .. }) => write!(f, " via {gateway}"),
            Via::By(Hop { ifindex, .. }) => write!(f, " by link {ifindex}"),
            Via::Unreachable => Ok(()),
        }
    }
}

/// What is to be found out about the main table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteQuery {
    /// Which routes lead into these WireGuard interfaces?
    pub tunnels: Vec<Interface>,
    /// Where do packets to these addresses go, our own routes aside?
    pub targets: Vec<IpAddr>,
    /// Which name servers are led into a tunnel?
    pub servers: bool,
}

/// The answer to a [`RouteQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteAnswer {
    /// The targets that were asked about.
    pub targets: Vec<IpAddr>,
    /// Of those: the ones that the main table, without our own routes, leads into one of the tunnels.
    pub led: Vec<Led>,
    /// IPv6 routes that lead into the tunnels, and nowhere else.
    pub through: Vec<Through>,
    /// Our own routes.
    pub own: Vec<OwnRoute>,
    /// Where the best default route leads that is nobody's tunnel: IPv4, IPv6.
    pub uplinks: [Option<Hop>; 2],
    /// Targets to which the kernel would send from an address of a tunnel, and the address to send from instead: another
    /// one of this machine that others can answer to. None: it has no such.
    pub sources: Vec<(IpAddr, Option<IpAddr>)>,
    /// Name servers that this machine asks, and whose packets go into one of the tunnels by whatever table or rule; those
    /// that have a route of ours already are led into the tunnel that they were led into without it.
    pub servers: Vec<(IpAddr, Interface)>,
}

impl RouteAnswer {
    /// Is the target led into this tunnel?
    pub fn leads(&self, target: IpAddr, interface: Interface) -> bool {
        self.led.iter().any(|led| (led.target, led.interface) == (target, interface))
    }

    /// Does the target lie in a network of a tunnel's own?
    pub fn is_inside(&self, target: IpAddr) -> bool {
        self.led.iter().any(|led| led.target == target && led.inside)
    }
}

/// A target that is led into a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// Packets to this address
    pub target: IpAddr,
    /// go into this tunnel.
    pub interface: Interface,
    /// It lies in a network that is the tunnel's own: one of the interface's addresses, or a private one that a route
    /// narrower than half of everything leads there. Nobody outside has such an address.
    pub inside: bool,
}

/// An IPv6 route that leads into a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// By these interfaces: several where traffic is spread.
    pub interfaces: Vec<Interface>,
    /// To these addresses.
    pub to: Prefix,
    /// For packets from these only.
    pub from: Option<Prefix>,
    /// As the kernel counts it: never 0.
    pub metric: u32,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MainRoute {
    /// To these addresses.
    pub to: Prefix,
    /// For packets from these only.
    pub from: Option<Prefix>,
    /// The lowest counts.
    pub metric: u32,
    /// Where it leads: several where traffic is spread, none where it leads nowhere.
    pub hops: Vec<Hop>,
    /// The source address that it gives (RTA_PREFSRC).
    pub source: Option<IpAddr>,
    /// Who made it (RTPROT_*).
    pub protocol: u8,
    /// An `unreachable` route.
    pub unreachable: bool,
}

/// Goes through the main table once, route by route, and keeps nothing of it but the answer: a table may hold a million.
pub struct RouteTable {
    tunnels: Vec<(u32, Interface)>,
    /// For each target the best route so far.
    best: Vec<Option<Best>>,
    /// IPv6 routes that lead into a tunnel by one of their hops, and whether they lead elsewhere by another one.
    through: Vec<(Through, bool)>,
    /// The last route that led elsewhere.
    elsewhere: Option<(Prefix, Option<Prefix>, u32)>,
    answer: RouteAnswer,
}

/// The route that counts for a target.
#[derive(Clone, Copy)]
struct Best {
    length: u8,
    metric: u32,
    tunnel: Option<Interface>,
    protocol: u8,
}

/// RTPROT_KERNEL: routes that come with an address.
const BY_KERNEL: u8 = 2;

impl RouteTable {
    /// Nothing seen yet. `ifindex` gives the tunnels' numbers.
    pub fn new(query: &RouteQuery, ifindex: &dyn Fn(Interface) -> Option<u32>) -> Self {
        let mut tunnels = Vec::new();
        for &interface in &query.tunnels {
            if let Some(number) = ifindex(interface) {
                tunnels.push((number, interface));
            }
        }
        Self {
            tunnels,
            best: vec![None; query.targets.len()],
            through: Vec::new(),
            elsewhere: None,
            answer: RouteAnswer { targets: query.targets.clone(), ..RouteAnswer::default() },
        }
    }

    /// Takes a route in.
    pub fn take(&mut self, route: &MainRoute) {
        if route.protocol == PROTOCOL {
            if let Some(own) = route.own() {
                self.answer.own.push(own);
            }
            return;
        }
        if route.to.is_transit() {
            self.note_transit(route);
        }
        // WireGuard asks for a route before it has a source address, and no route that wants one is taken then.
        if route.from.is_some() {
            return;
        }
        let tunnel = route.hops.iter().find_map(|hop| tunnel_of(&self.tunnels, hop.ifindex));
        for (target, best) in self.answer.targets.iter().zip(&mut self.best) {
            // Of two that are equal it is anybody's guess which one counts: on the safe side it is the tunnel's. (The route
            // that refuses the LAN in its place would stand before both.)
            let better = |best: &Best| {
                let (new, old) = ((route.to.length, best.metric), (best.length, route.metric));
                new > old || (new == old && tunnel.is_some())
            };
            if route.to.contains(*target) && best.as_ref().is_none_or(better) {
                let &MainRoute { to: Prefix { length, .. }, metric, protocol, .. } = route;
                *best = Some(Best { length, metric, tunnel, protocol });
            }
        }
    }

    /// IPv6 tells the hops of one route at once or one after the other: those are in the same place of the table.
    fn note_transit(&mut self, route: &MainRoute) {
        let place = (route.to, route.from, route.metric);
        let mut interfaces = Vec::new();
        // What comes with an address is the link's own network: it is never refused, nor what stands beside it.
        if route.protocol != BY_KERNEL {
            interfaces.extend(route.hops.iter().filter_map(|hop| tunnel_of(&self.tunnels, hop.ifindex)));
        }
        let elsewhere = interfaces.len() < route.hops.len().max(1);
        let beside = self.elsewhere == Some(place);
        if elsewhere {
            self.elsewhere = Some(place);
        }
        let known = self.through.iter_mut().find(|(known, _)| (known.to, known.from, known.metric) == place);
        match known {
            Some((through, other)) => {
                through.interfaces.extend(interfaces);
                *other |= elsewhere;
            }
            // A table may hold a million that lead to no tunnel: none of those is kept.
            None if interfaces.is_empty() => {}
            None => {
                let (to, from, metric) = place;
                self.through.push((Through { interfaces, to, from, metric }, elsewhere || beside));
            }
        }
    }

    /// The answer, without the uplinks, the sources and the name servers.
    pub fn finish(mut self) -> RouteAnswer {
        for (&target, best) in self.answer.targets.iter().zip(&self.best) {
            if let Some(Best { length, tunnel: Some(interface), protocol, .. }) = *best {
                let inside = protocol == BY_KERNEL || (length > 1 && is_private(target));
                self.answer.led.push(Led { target, interface, inside });
            }
        }
        for (through, elsewhere) in self.through {
            if !elsewhere {
                self.answer.through.push(through);
            }
        }
        self.answer
    }
}

fn tunnel_of(tunnels: &[(u32, Interface)], ifindex: u32) -> Option<Interface> {
    tunnels.iter().find(|&&(number, _)| number == ifindex).map(|&(_, interface)| interface)
}

/// An address that is not unique in the Internet (RFC 1918, RFC 4193).
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

impl MainRoute {
    /// As a route that we could have made. None: we make no such.
    pub fn own(&self) -> Option<OwnRoute> {
        let via = match self.hops.first() {
            _ if self.unreachable => Via::Unreachable,
            hop => Via::By(*hop?),
        };
        Some(OwnRoute { to: self.to, from: self.from, metric: self.metric, via, source: self.source })
    }
}

#[cfg(test)]
mod tests;
