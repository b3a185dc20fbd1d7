// SPDX-License-Identifier: GPL-2.0-only
//! Tables of a few routes, and what is read from them.

use super::*;

const TUNNEL: u32 = 7;
const WAN: u32 = 2;

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap())
}

fn route(to: &str, metric: u32, ifindex: u32) -> MainRoute {
    let hops = vec![Hop { ifindex, gateway: None }];
    MainRoute { to: prefix(to), from: None, metric, hops, source: None, protocol: 3, unreachable: false }
}

fn survey(routes: &[MainRoute], targets: &[&str]) -> RouteAnswer {
    let question = RouteQuery {
        tunnels: vec!["wg0".parse().unwrap()],
        targets: targets.iter().map(|target| target.parse().unwrap()).collect(),
        servers: false,
    };
    let mut survey = RouteTable::new(&question, &|_| Some(TUNNEL));
    routes.iter().for_each(|route| survey.take(route));
    survey.finish()
}

fn led(routes: &[MainRoute], target: &str) -> bool {
    !survey(routes, &[target]).led.is_empty()
}

#[test]
fn the_longest_prefix_counts_and_then_the_metric() {
    let halves = [route("0.0.0.0/0", 0, WAN), route("0.0.0.0/1", 9, TUNNEL), route("128.0.0.0/1", 9, TUNNEL)];
    assert!(led(&halves, "198.51.100.2"));
    assert!(led(&halves, "10.0.0.1"));
    let with_host = [halves[2].clone(), route("198.51.100.2/32", 50, WAN), halves[0].clone()];
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
    let ways = survey(&[route("128.0.0.0/1", 0, TUNNEL), ours.clone()], &["198.51.100.2"]);
    assert_eq!(ways.led.len(), 1, "it shows where packets went without it");
    assert_eq!(ways.own, [ours.own().unwrap()]);
    let lan = MainRoute { from: Some(prefix("2001:db8:a::/64")), ..route("::/0", 256, TUNNEL) };
    let ways = survey(&[lan, route("::/0", 1024, WAN)], &["2001:db8:b::1"]);
    assert!(ways.led.is_empty());
    assert_eq!(ways.through.len(), 1);
}

#[test]
fn a_route_that_leads_nowhere_leads_not_into_the_tunnel() {
    let nowhere = MainRoute { hops: Vec::new(), unreachable: true, ..route("198.51.100.0/24", 0, WAN) };
    assert!(!led(&[route("0.0.0.0/0", 0, TUNNEL), nowhere], "198.51.100.2"));
}

#[test]
fn what_comes_with_an_address_is_not_transit() {
    let connected = MainRoute { protocol: BY_KERNEL, ..route("fd00:99::/64", 256, TUNNEL) };
    let routes = [connected, route("fe80::/64", 256, TUNNEL), route("0.0.0.0/1", 0, TUNNEL)];
    assert!(survey(&routes, &[]).through.is_empty());
    assert_eq!(survey(&[route("2000::/3", 1024, TUNNEL)], &[]).through[0].metric, 1024);
}

const OTHER_TUNNEL: u32 = 8;

/// The tunnels that routes lead through, as numbers, with two tunnels asked about.
fn through(routes: &[MainRoute]) -> Vec<Vec<Interface>> {
    let tunnels: Vec<Interface> = ["wg0", "wg1"].map(|name| name.parse().unwrap()).to_vec();
    let query = RouteQuery { tunnels: tunnels.clone(), ..RouteQuery::default() };
    let number = |tunnel| if tunnel == tunnels[0] { TUNNEL } else { OTHER_TUNNEL };
    let mut table = RouteTable::new(&query, &|tunnel| Some(number(tunnel)));
    routes.iter().for_each(|route| table.take(route));
    table.finish().through.into_iter().map(|through| through.interfaces).collect()
}

/// Whatever else there is between them, a route with these hops at once and one by one.
fn spellings(hops: &[u32]) -> [Vec<MainRoute>; 2] {
    let hop = |&ifindex: &u32| Hop { ifindex, gateway: None };
    let at_once = MainRoute { hops: hops.iter().map(hop).collect(), ..route("::/0", 1024, WAN) };
    [vec![at_once], hops.iter().map(|&ifindex| route("::/0", 1024, ifindex)).collect()]
}

#[test]
fn a_route_leads_through_tunnels_if_each_of_its_hops_does() {
    for (hops, tunnels) in [
        (&[TUNNEL][..], &["wg0"][..]),
        (&[TUNNEL, OTHER_TUNNEL], &["wg0", "wg1"]),
        (&[TUNNEL, WAN], &[]),
        (&[WAN, TUNNEL], &[]),
        (&[TUNNEL, OTHER_TUNNEL, WAN], &[]),
        (&[WAN, TUNNEL, OTHER_TUNNEL], &[]),
        (&[TUNNEL, WAN, OTHER_TUNNEL], &[]),
        (&[WAN], &[]),
    ] {
        for table in spellings(hops) {
            let through: Vec<String> =
                through(&table).iter().flatten().map(|name| name.to_string()).collect();
            assert_eq!(through, tunnels, "{table:?}");
        }
    }
}

#[test]
fn a_route_beside_one_that_counts_otherwise_is_another_one() {
    let tunnel = route("::/0", 1024, TUNNEL);
    for other in [
        route("::/0", 512, WAN),
        route("::/1", 1024, WAN),
        MainRoute { from: Some(prefix("2001:db8::/64")), ..route("::/0", 1024, WAN) },
        MainRoute { protocol: PROTOCOL, ..route("::/0", 1024, WAN) },
    ] {
        assert_eq!(through(&[other.clone(), tunnel.clone()]).len(), 1, "{other:?}");
        assert_eq!(through(&[tunnel.clone(), other.clone()]).len(), 1, "{other:?}");
    }
}

/// A refusal in its place would cut off the LAN itself, or what somebody refuses himself.
#[test]
fn a_links_own_network_and_what_leads_nowhere_are_ways_beside_the_tunnel() {
    let tunnel = route("2001:db8:a::/64", 256, TUNNEL);
    let lan = MainRoute { protocol: BY_KERNEL, ..route("2001:db8:a::/64", 256, WAN) };
    let nowhere = MainRoute { hops: Vec::new(), unreachable: true, ..tunnel.clone() };
    for other in [lan, nowhere] {
        assert!(through(&[other.clone(), tunnel.clone()]).is_empty(), "{other:?}");
        assert!(through(&[tunnel.clone(), other.clone()]).is_empty(), "{other:?}");
    }
}
