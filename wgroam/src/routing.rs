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
    pub way: Way,
}

/// What a route of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The main table would lead WireGuard's own packets to a peer into the tunnel that they carry.
    Endpoint,
    /// Nobody on the tunnel answers: whoever sends into it is told at once, and does not hang.
    Refusal,
}

impl Purpose {
    /// One lower-case word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Endpoint => "endpoint",
            Purpose::Refusal => "refusal",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Purpose::Endpoint => "keeps WireGuard's own packets out of the tunnel",
            Purpose::Refusal => "nobody answers, and the LAN shall not hang",
        })
    }
}

/// Where a route of ours leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
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
        if self.way == Way::Unreachable {
            f.write_str("unreachable ")?;
        }
        write!(f, "{}", self.to)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        match self.way {
            Way::By(Hop { gateway: Some(gateway), .. }) => write!(f, " via {gateway}"),
            Way::By(Hop { ifindex, .. }) => write!(f, " by link {ifindex}"),
            Way::Unreachable => Ok(()),
        }
    }
}

/// What is to be found out about the main table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Which ways lead into these WireGuard interfaces?
    pub tunnels: Vec<Interface>,
    /// Where do packets to these addresses go, our own routes aside?
    pub targets: Vec<IpAddr>,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// The targets that were asked about.
    pub targets: Vec<IpAddr>,
    /// Of those: the ones that the main table, without our own routes, leads into one of the tunnels.
    pub led: Vec<(IpAddr, Interface)>,
    /// IPv6 routes that lead into the tunnels.
    pub through: Vec<Through>,
    /// Our own routes.
    pub own: Vec<OwnRoute>,
    /// Where the best default route leads that is nobody's tunnel: IPv4, IPv6.
    pub uplinks: [Option<Hop>; 2],
}

/// An IPv6 route that leads into a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Through {
    /// By this interface.
    pub interface: Interface,
    /// To these addresses.
    pub to: Prefix,
    /// For packets from these only.
    pub from: Option<Prefix>,
    /// As the kernel counts it: never 0.
    pub metric: u32,
}

/// A route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MainRoute {
    /// To these addresses.
    pub to: Prefix,
    /// For packets from these only.
    pub from: Option<Prefix>,
    /// The lowest counts.
    pub metric: u32,
    /// The first way that is alive, where there are several; none where it leads nowhere.
    pub hop: Option<Hop>,
    /// Who made it (RTPROT_*).
    pub protocol: u8,
    /// An `unreachable` route.
    pub unreachable: bool,
}

/// Goes through the main table once, route by route, and keeps nothing of it but the answer: a table may hold a million.
pub struct Survey {
    tunnels: Vec<(u32, Interface)>,
    /// For each target the best route so far: its length, metric and link.
    best: Vec<Option<(u8, u32, Option<u32>)>>,
    ways: Ways,
}

/// RTPROT_KERNEL: routes that come with an address.
const BY_KERNEL: u8 = 2;

impl Survey {
    /// Nothing seen yet. `ifindex` gives the tunnels' numbers.
    pub fn new(question: &Question, ifindex: &dyn Fn(Interface) -> Option<u32>) -> Self {
        let numbered = |&interface: &Interface| Some((ifindex(interface)?, interface));
        Self {
            tunnels: question.tunnels.iter().filter_map(numbered).collect(),
            best: vec![None; question.targets.len()],
            ways: Ways { targets: question.targets.clone(), ..Ways::default() },
        }
    }

    /// Takes a route in.
    pub fn take(&mut self, route: &MainRoute) {
        if route.protocol == PROTOCOL {
            self.ways.own.extend(route.own());
            return;
        }
        let link = route.hop.map(|hop| hop.ifindex);
        let tunnel = self.tunnels.iter().find(|&&(ifindex, _)| Some(ifindex) == link);
        if let Some(&(_, interface)) = tunnel.filter(|_| route.is_transit()) {
            let &MainRoute { to, from, metric, .. } = route;
            self.ways.through.push(Through { interface, to, from, metric });
        }
        // WireGuard asks for a way before it has a source address, and no route that wants one is taken then.
        if route.from.is_some() {
            return;
        }
        for (target, best) in self.ways.targets.iter().zip(&mut self.best) {
            // Of two that are equal it is anybody's guess which one counts: on the safe side it is the tunnel's. (The route
            // that refuses the LAN in its place would stand before both.)
            let better = |&(length, metric, _): &(u8, u32, _)| {
                let (new, old) = ((route.to.length, metric), (length, route.metric));
                new > old || (new == old && tunnel.is_some())
            };
            if route.to.contains(*target) && best.as_ref().is_none_or(better) {
                *best = Some((route.to.length, route.metric, link));
            }
        }
    }

    /// The answer, without the uplinks.
    pub fn finish(mut self) -> Ways {
        let targets = self.ways.targets.iter().zip(&self.best);
        let led = targets.filter_map(|(&target, best)| {
            let link = best.and_then(|(.., link)| link)?;
            let &(_, interface) = self.tunnels.iter().find(|&&(ifindex, _)| ifindex == link)?;
            Some((target, interface))
        });
        self.ways.led = led.collect();
        self.ways
    }
}

impl MainRoute {
    /// As a route that we could have made. None: we make no such.
    pub fn own(&self) -> Option<OwnRoute> {
        let way = match self.hop {
            _ if self.unreachable => Way::Unreachable,
            hop => Way::By(hop?),
        };
        Some(OwnRoute { to: self.to, from: self.from, metric: self.metric, way })
    }

    /// Does it lead others' IPv6 packets, and not just those to the link itself?
    fn is_transit(&self) -> bool {
        let IpAddr::V6(ip) = self.to.address else { return false };
        self.protocol != BY_KERNEL && !ip.is_unicast_link_local() && !ip.is_multicast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUNNEL: u32 = 7;
    const WAN: u32 = 2;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap())
    }

    fn route(to: &str, metric: u32, ifindex: u32) -> MainRoute {
        let hop = Some(Hop { ifindex, gateway: None });
        MainRoute { to: prefix(to), from: None, metric, hop, protocol: 3, unreachable: false }
    }

    fn survey(routes: &[MainRoute], targets: &[&str]) -> Ways {
        let question = Question {
            tunnels: vec!["wg0".parse().unwrap()],
            targets: targets.iter().map(|target| target.parse().unwrap()).collect(),
        };
        let mut survey = Survey::new(&question, &|_| Some(TUNNEL));
        routes.iter().for_each(|route| survey.take(route));
        survey.finish()
    }

    fn led(routes: &[MainRoute], target: &str) -> bool {
        !survey(routes, &[target]).led.is_empty()
    }

    #[test]
    fn the_longest_prefix_counts_and_then_the_metric() {
        let halves =
            [route("0.0.0.0/0", 0, WAN), route("0.0.0.0/1", 9, TUNNEL), route("128.0.0.0/1", 9, TUNNEL)];
        assert!(led(&halves, "198.51.100.2"));
        assert!(led(&halves, "10.0.0.1"));
        let with_host = [halves[2], route("198.51.100.2/32", 50, WAN), halves[0]];
        assert!(!led(&with_host, "198.51.100.2"));
        assert!(led(&with_host, "198.51.100.3"));
        assert!(led(&[route("::/0", 512, TUNNEL), route("::/0", 1024, WAN)], "2001:db8::1"));
        assert!(!led(&[route("::/0", 512, TUNNEL), route("::/0", 256, WAN)], "2001:db8::1"));
        let equal = [route("::/0", 1024, WAN), route("::/0", 1024, TUNNEL), route("::/0", 1024, WAN)];
        assert!(led(&equal, "2001:db8::1"), "in doubt into the tunnel: then it gets a route of its own");
        assert!(!led(&[route("0.0.0.0/0", 0, TUNNEL)], "2001:db8::1"), "another family");
    }

    #[test]
    fn a_route_of_ours_or_for_some_sources_only_is_no_way_of_wireguards() {
        let ours = MainRoute { protocol: PROTOCOL, ..route("198.51.100.2/32", 0, WAN) };
        let ways = survey(&[route("128.0.0.0/1", 0, TUNNEL), ours], &["198.51.100.2"]);
        assert_eq!(ways.led.len(), 1, "it shows where packets went without it");
        assert_eq!(ways.own, [ours.own().unwrap()]);
        let lan = MainRoute { from: Some(prefix("2001:db8:a::/64")), ..route("::/0", 256, TUNNEL) };
        let ways = survey(&[lan, route("::/0", 1024, WAN)], &["2001:db8:b::1"]);
        assert!(ways.led.is_empty());
        assert_eq!(ways.through.len(), 1);
    }

    #[test]
    fn a_route_that_leads_nowhere_leads_not_into_the_tunnel() {
        let nowhere = MainRoute { hop: None, unreachable: true, ..route("198.51.100.0/24", 0, WAN) };
        assert!(!led(&[route("0.0.0.0/0", 0, TUNNEL), nowhere], "198.51.100.2"));
    }

    #[test]
    fn what_comes_with_an_address_is_not_transit() {
        let connected = MainRoute { protocol: BY_KERNEL, ..route("fd00:99::/64", 256, TUNNEL) };
        let routes = [connected, route("fe80::/64", 256, TUNNEL), route("0.0.0.0/1", 0, TUNNEL)];
        assert!(survey(&routes, &[]).through.is_empty());
        assert_eq!(survey(&[route("2000::/3", 1024, TUNNEL)], &[]).through[0].metric, 1024);
    }
}
