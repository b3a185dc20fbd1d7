// SPDX-License-Identifier: GPL-2.0-only
//! How this machine is connected at one moment, and what differs between two moments. Pure.

use std::net::IpAddr;

use super::message::{Address, DefaultRoute, Link};
use crate::engine::WanChange;
use crate::model::Interface;
use crate::routing::Hop;

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
    let routes = state.routes.iter().filter(|route| route.ipv6 == ipv6);
    let ways = routes.filter_map(|route| Some((route.rank(), *route.hops.iter().find(carries)?)));
    ways.min().map(|(_, hop)| hop)
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
        let routes = || {
            self.state
                .routes
                .iter()
                .filter(|route| route.ipv6 == ipv6 && route.hops.iter().any(|hop| self.counts(hop)))
        };
        let rank = routes().map(DefaultRoute::rank).min();
        let best = routes().filter(|route| Some(route.rank()) == rank).flat_map(|route| &route.hops);
        let mut hops: Vec<Hop> = best.filter(|hop| self.counts(hop)).copied().collect();
        hops.sort_unstable();
        hops.dedup();
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
        lost.contains(&(ifindex, address.ip)) || !of(old, ifindex).any(|other| other == *address)
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
mod tests {
    use super::super::message::Kind;
    use super::*;

    fn name(text: &str) -> Interface {
        text.parse().unwrap()
    }

    fn link(ifindex: u32, interface: &str) -> Known {
        let link =
            Link { interface: name(interface), ifindex, up: true, running: true, kind: Some(Kind::Other) };
        Known { link, tunnel: interface.starts_with("wg") }
    }

    fn address(ifindex: u32, ip: &str) -> Address {
        Address { ifindex, ip: ip.parse().unwrap(), usable: true, created: 100 }
    }

    fn route(gateway: &str, ifindex: u32, metric: u32) -> DefaultRoute {
        let gateway: IpAddr = gateway.parse().unwrap();
        let hops = vec![Hop { ifindex, gateway: Some(gateway) }];
        DefaultRoute { ipv6: gateway.is_ipv6(), table: 254, metric, hops }
    }

    /// lan, wan with both families, lte that waits with a worse metric, and a full tunnel.
    fn home() -> State {
        let mut tunnel = route("10.9.9.9", 5, 0);
        tunnel.table = 51820;
        State {
            links: vec![link(1, "lo"), link(2, "lan"), link(3, "wan"), link(4, "lte"), link(5, "wg0")],
            addresses: vec![
                address(2, "192.168.1.1"),
                address(3, "203.0.113.2"),
                address(3, "2001:db8::2"),
                address(3, "fe80::2"),
                address(4, "100.64.0.2"),
                address(5, "fd00::1"),
            ],
            routes: vec![
                route("203.0.113.1", 3, 10),
                route("fe80::1", 3, 10),
                route("100.64.0.1", 4, 20),
                tunnel,
            ],
        }
    }

    /// What a change of `home` is told as, with nothing configured.
    fn told(lost: &[Lost], change: impl FnOnce(&mut State)) -> Vec<WanChange> {
        let mut new = home();
        change(&mut new);
        changes(&home(), &new, lost, &[])
    }

    fn up(interface: &str) -> WanChange {
        WanChange::Up(name(interface))
    }

    fn down(interface: &str) -> WanChange {
        WanChange::Down(name(interface))
    }

    fn at(interface: &str, ip: &str) -> WanChange {
        WanChange::Address(name(interface), ip.parse().unwrap())
    }

    fn way(interface: &str) -> WanChange {
        WanChange::Route(Some(name(interface)))
    }

    #[test]
    fn what_ends_as_it_began_is_no_change() {
        assert_eq!(told(&[], |_| ()), []);
        // Told in another order, it is the same.
        let reversed = |state: &mut State| {
            state.links.reverse();
            state.addresses.reverse();
            state.routes.reverse();
        };
        assert_eq!(told(&[], reversed), []);
    }

    #[test]
    fn the_way_is_that_of_the_best_route_and_never_a_tunnel() {
        let mut state = home();
        assert_eq!(super::way(&state, &[]), Some(name("wan")));
        state.routes.retain(|route| route.ipv6);
        assert_eq!(super::way(&state, &[]), Some(name("wan")));
        assert_eq!(super::way(&home(), &[name("lte")]), Some(name("lte")));
        state.routes.clear();
        assert_eq!(super::way(&state, &[]), None);
    }

    #[test]
    fn another_address_is_a_change() {
        assert_eq!(
            told(&[], |state| state.addresses[1] = address(3, "203.0.113.7")),
            [at("wan", "203.0.113.7")]
        );
        assert_eq!(
            told(&[], |state| state.addresses.push(address(3, "2001:db8::7"))),
            [at("wan", "2001:db8::7")]
        );
    }

    #[test]
    fn an_address_that_went_and_came_back_is_a_change() {
        let same = [at("wan", "203.0.113.2")];
        // Seen going, or told apart by the time of its creation when announcements were lost.
        assert_eq!(told(&[(3, "203.0.113.2".parse().unwrap())], |_| ()), same);
        assert_eq!(told(&[], |state| state.addresses[1].created = 200), same);
    }

    #[test]
    fn losing_one_of_two_addresses_tells_the_other() {
        let mut old = home();
        old.addresses.push(address(3, "2001:db8::7"));
        let lost = [(3, "2001:db8::7".parse().unwrap())];
        assert_eq!(changes(&old, &home(), &lost, &[]), [at("wan", "2001:db8::2")]);
    }

    #[test]
    fn losing_the_only_address_of_a_family_is_left_to_its_routes() {
        assert_eq!(
            told(&[(3, "2001:db8::2".parse().unwrap())], |state| state
                .addresses
                .retain(|known| known.ip.to_string() != "2001:db8::2")),
            []
        );
    }

    #[test]
    fn addresses_that_no_packet_comes_from_are_no_change() {
        let mut tentative = address(3, "2001:db8::7");
        tentative.usable = false;
        for other in [tentative, address(3, "fe80::7"), address(2, "192.168.2.1"), address(5, "fd00::7")] {
            assert_eq!(told(&[], |state| state.addresses.push(other)), [], "{other:?}");
        }
    }

    #[test]
    fn a_link_that_loses_its_carrier_is_down() {
        assert_eq!(told(&[], |state| state.links[2].link.running = false), [down("wan")]);
        // Nobody's way to the Internet.
        assert_eq!(told(&[], |state| state.links[1].link.running = false), []);
    }

    #[test]
    fn failover_tells_who_carries_the_best_route() {
        let failover = |state: &mut State| {
            state.links[2].link.running = false;
            state.routes.retain(|route| route.hops[0].ifindex != 3);
        };
        assert_eq!(told(&[], failover), [down("wan"), way("lte")]);
        let mut old = home();
        failover(&mut old);
        assert_eq!(changes(&old, &home(), &[], &[]), [up("wan"), way("wan")]);
    }

    #[test]
    fn a_worse_route_more_is_no_other_route() {
        assert_eq!(told(&[], |state| state.routes.push(route("203.0.113.1", 3, 500))), []);
        assert_eq!(told(&[], |state| drop(state.routes.remove(2))), [down("lte")]);
    }

    #[test]
    fn another_router_is_another_route() {
        assert_eq!(told(&[], |state| state.routes[0] = route("203.0.113.9", 3, 10)), [way("wan")]);
    }

    #[test]
    fn the_last_route_gone_leaves_none() {
        let old = {
            let mut state = home();
            state.routes.drain(1..3);
            state
        };
        let mut new = old.clone();
        new.routes.remove(0);
        assert_eq!(changes(&old, &new, &[], &[]), [down("wan"), WanChange::Route(None)]);
    }

    #[test]
    fn one_family_lost_tells_who_carries_the_other() {
        assert_eq!(told(&[], |state| drop(state.routes.remove(1))), [way("wan")]);
    }

    #[test]
    fn tunnels_never_count_unless_configured() {
        let change = |state: &mut State| {
            state.links[4].link.running = false;
            state.routes.pop();
            state.addresses.pop();
        };
        assert_eq!(told(&[], change), []);
        let mut new = home();
        change(&mut new);
        assert_eq!(changes(&home(), &new, &[], &[name("wg0")]), [down("wg0"), WanChange::Route(None)]);
    }

    #[test]
    fn configured_devices_count_alone_and_without_a_route() {
        let mut new = home();
        new.addresses[1] = address(3, "203.0.113.7");
        new.routes.remove(0);
        new.addresses[0] = address(2, "192.168.1.9");
        assert_eq!(changes(&home(), &new, &[], &[name("lan")]), [at("lan", "192.168.1.9")]);
    }

    #[test]
    fn a_device_made_anew_under_its_old_name_went_and_came() {
        let anew = |state: &mut State| {
            state.links[2].link.ifindex = 9;
            state.routes[0] = route("203.0.113.1", 9, 10);
            state.routes.remove(1);
        };
        assert_eq!(told(&[], anew), [down("wan"), up("wan"), way("wan")]);
    }

    #[test]
    fn traffic_spread_over_two_ways_is_one_route() {
        let spread = |state: &mut State| {
            let hop = Hop { ifindex: 4, gateway: None };
            state.routes[0].hops.push(hop);
        };
        assert_eq!(told(&[], spread), [way("wan")]);
        let mut old = home();
        spread(&mut old);
        let mut new = old.clone();
        new.routes[0].hops.reverse();
        assert_eq!(changes(&old, &new, &[], &[]), []);
    }

    #[test]
    fn own_addresses_are_known_on_every_link() {
        let state = home();
        for ip in ["192.168.1.1", "fe80::2", "127.0.0.53", "::1"] {
            assert!(state.is_local(ip.parse().unwrap()), "{ip}");
        }
        assert!(!state.is_local("192.168.1.10".parse().unwrap()));
    }
}
