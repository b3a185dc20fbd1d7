// SPDX-License-Identifier: GPL-2.0-only
//! A router with lan, wan, lte and a full tunnel, one thing different at a time.

use super::super::message::Kind;
use super::*;

fn name(text: &str) -> Interface {
    text.parse().unwrap()
}

fn link(ifindex: u32, interface: &str) -> Known {
    let link = Link { interface: name(interface), ifindex, up: true, running: true, kind: Some(Kind::Other) };
    Known { link, tunnel: interface.starts_with("wg") }
}

fn address(ifindex: u32, ip: &str) -> Address {
    let ip = ip.parse().unwrap();
    Address { ifindex, ip, usable: true, global: true, broadcast: None, created: 100 }
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
    assert_eq!(told(&[], |state| state.addresses[1] = address(3, "203.0.113.7")), [at("wan", "203.0.113.7")]);
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
