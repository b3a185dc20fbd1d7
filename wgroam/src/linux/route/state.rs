// SPDX-License-Identifier: GPL-2.0-only
//! How this machine is connected at one moment, and what differs between two moments. Pure.

use std::net::IpAddr;

use super::message::{Address, DefaultRoute, Link};
use crate::model::Interface;
use crate::routing::Hop;
use crate::wan::WanChange;

/// A link, and what it is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The link as the kernel told it last.
    pub link: Link,
    /// Could it be a WireGuard interface?
    pub tunnel: bool,
}

/// How this machine is connected at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// All links.
    pub links: Vec<Known>,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// All default routes, of all tables.
    pub routes: Vec<DefaultRoute>,
}

impl State {
    /// The link with this number.
    pub fn link(&self, ifindex: u32) -> Option<&Known> {
        self.links.iter().find(|known| known.link.ifindex == ifindex)
    }

    /// Does the address belong to this machine, on whichever link?
    pub fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.addresses.iter().any(|address| address.ip == ip)
    }

    /// All addresses and broadcast addresses, sorted, each once.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        let mut own: Vec<IpAddr> = Vec::new();
        for address in &self.addresses {
            for ip in [Some(address.ip), address.broadcast.map(IpAddr::V4)].into_iter().flatten() {
                if let Err(at) = own.binary_search(&ip) {
                    own.insert(at, ip);
                }
            }
        }
        own
    }
}

/// An address that was seen going away, whether it came back or not.
pub type Lost = (u32, IpAddr);

/// What changed about our way to the Internet. `lost` are the addresses that went away in between; one that is back
/// counts as a change, since the NAT's and the kernel's memory of it may be void. `configured` are the WAN devices;
/// none: whatever carries a default route and is no tunnel.
pub fn changes(old: &State, new: &State, lost: &[Lost], configured: &[Interface]) -> Vec<WanChange> {
    let before = Wan { state: old, configured };
    let after = Wan { state: new, configured };
    let mut changes = Vec::new();
    for gone in before.live().filter(|known| !after.live().any(|other| same(known, other))) {
        changes.push(WanChange::Down(gone.link.interface));
    }
    for link in after.live() {
        if before.live().any(|other| same(link, other)) {
            if let Some(ip) = other_address(old, new, lost, link.link.ifindex) {
                changes.push(WanChange::Address(link.link.interface, ip));
            }
        } else {
            changes.push(WanChange::Up(link.link.interface));
        }
    }
    let ways = [false, true].map(|ipv6| (before.best(ipv6), after.best(ipv6)));
    if ways.iter().any(|(old, new)| old != new) {
        // The family that changed and still has a way is worth telling; the other one is next best.
        let told = ways.iter().find(|(old, new)| old != new && !new.is_empty());
        let told = told.or_else(|| ways.iter().find(|(_, new)| !new.is_empty()));
        let hop = told.and_then(|(_, new)| new.first());
        let link = hop.and_then(|hop| new.link(hop.ifindex));
        changes.push(WanChange::Route(link.map(|known| known.link.interface)));
    }
    changes
}

/// Where the best default route of a family leads that is no tunnel's and whose link can carry packets.
pub fn uplink(state: &State, ipv6: bool, configured: &[Interface]) -> Option<Hop> {
    let wan = Wan { state, configured };
    let carries = |hop: &&Hop| wan.live().any(|known| known.link.ifindex == hop.ifindex);
    let mut best: Option<(_, Hop)> = None;
    for route in state.routes.iter().filter(|route| route.ipv6 == ipv6) {
        let rank = route.rank();
        if best.is_none_or(|(other, _)| rank < other)
            && let Some(hop) = route.hops.iter().find(carries)
        {
            best = Some((rank, *hop));
        }
    }
    best.map(|(_, hop)| hop)
}

/// The device that carries the best default route, IPv4 first.
pub fn way(state: &State, configured: &[Interface]) -> Option<Interface> {
    let wan = Wan { state, configured };
    let hop = [false, true].into_iter().find_map(|ipv6| wan.best(ipv6).first().copied());
    state.link(hop?.ifindex).map(|known| known.link.interface)
}

/// The same device under the same name, not one that was created anew.
fn same(one: &Known, other: &Known) -> bool {
    (one.link.ifindex, one.link.interface) == (other.link.ifindex, other.link.interface)
}

/// A state, seen as a way to the Internet.
struct Wan<'a> {
    state: &'a State,
    configured: &'a [Interface],
}

impl<'a> Wan<'a> {
    /// The WAN devices that can carry packets.
    fn live(&self) -> impl Iterator<Item = &'a Known> {
        let (state, configured) = (self.state, self.configured);
        state.links.iter().filter(move |known| {
            let routed = || {
                state.routes.iter().flat_map(|route| &route.hops).any(|hop| hop.ifindex == known.link.ifindex)
            };
            known.link.running && may_be_wan(known, configured) && (!configured.is_empty() || routed())
        })
    }

    /// The hops of the best default routes of a family, sorted.
    fn best(&self, ipv6: bool) -> Vec<Hop> {
        let (mut best, mut hops) = (None, Vec::new());
        for route in self.state.routes.iter().filter(|route| route.ipv6 == ipv6) {
            let rank = route.rank();
            for hop in route.hops.iter().filter(|hop| self.counts(hop)) {
                if best.is_none_or(|best| rank < best) {
                    (best, hops) = (Some(rank), Vec::new());
                }
                if best == Some(rank)
                    && let Err(at) = hops.binary_search(hop)
                {
                    hops.insert(at, *hop);
                }
            }
        }
        hops
    }

    fn counts(&self, hop: &Hop) -> bool {
        self.state.link(hop.ifindex).is_some_and(|known| may_be_wan(known, self.configured))
    }
}

fn may_be_wan(known: &Known, configured: &[Interface]) -> bool {
    if configured.is_empty() { !known.tunnel } else { configured.contains(&known.link.interface) }
}

/// The address that this link has and did not have before. When it only lost one: another one of that family, which
/// packets will come from now.
fn other_address(old: &State, new: &State, lost: &[Lost], ifindex: u32) -> Option<IpAddr> {
    let added = of(new, ifindex).find(|address| {
        lost.contains(&(ifindex, address.ip)) || !of(old, ifindex).any(|other| other.same(address))
    });
    let left = || {
        let gone = of(old, ifindex).find(|address| !of(new, ifindex).any(|other| other.ip == address.ip))?;
        of(new, ifindex).find(|address| address.ip.is_ipv4() == gone.ip.is_ipv4())
    };
    added.or_else(left).map(|address| address.ip)
}

/// A link's addresses that packets to the Internet can come from.
fn of(state: &State, ifindex: u32) -> impl Iterator<Item = &Address> {
    state.addresses.iter().filter(move |address| address.ifindex == ifindex && matters(address))
}

/// Not an address that may yet turn out to be somebody else's, nor one that no packet leaves the link with.
pub fn matters(address: &Address) -> bool {
    let link_local = match address.ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    address.usable && !link_local
}

#[cfg(test)]
mod tests;
