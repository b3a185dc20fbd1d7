// SPDX-License-Identifier: GPL-2.0-only
//! Routes of our own against what `ip` shows, each test in a network of its own. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};

use common::{enter_own_network, run};
use nix::net::if_::if_nametoindex;
use wgroam::linux::own_routes::{Error, OwnRoutes};
use wgroam::model::Interface;
use wgroam::routing::{Hop, OwnRoute, PROTOCOL, Prefix, RouteQuery, Via};

/// Two devices that are up, with a router behind each.
fn network() {
    enter_own_network();
    for (name, net) in [("wan", 1), ("lte", 2)] {
        run(&format!("ip link add name {name} type veth peer name {name}-far"));
        run(&format!("ip link set {name} up"));
        run(&format!("ip link set {name}-far up"));
        run(&format!("ip addr add 10.0.{net}.2/24 dev {name}"));
        run(&format!("ip addr add 2001:db8:{net}::2/64 dev {name} nodad"));
    }
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap())
}

fn unreachable(to: &str, from: Option<&str>, metric: u32) -> OwnRoute {
    OwnRoute { to: prefix(to), from: from.map(prefix), metric, via: Via::Unreachable, source: None }
}

fn host(to: &str, device: &str, gateway: Option<&str>, metric: u32) -> OwnRoute {
    let gateway = gateway.map(|gateway| gateway.parse().unwrap());
    let hop = Hop { ifindex: if_nametoindex(device).unwrap(), gateway };
    OwnRoute { to: Prefix::host(to.parse().unwrap()), from: None, metric, via: Via::By(hop), source: None }
}

fn from(source: &str, route: OwnRoute) -> OwnRoute {
    OwnRoute { source: Some(source.parse().unwrap()), ..route }
}

/// What `ip` says of our routes, in both families.
fn shown() -> Vec<String> {
    let lines =
        ["-4", "-6"].map(|family| run(&format!("ip {family} route show table main proto {PROTOCOL}")));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    lines.iter().flat_map(|lines| lines.lines().map(words)).collect()
}

/// All that others have, but the kernel's own: some of those come a moment after their link.
fn others() -> String {
    let all = run("ip -4 route show table all") + &run("ip -6 route show table all");
    let ours = format!("proto {PROTOCOL} ");
    let theirs = |line: &&str| !line.contains(&ours) && !line.contains("proto kernel");
    let mut lines: Vec<_> = all.lines().filter(theirs).collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn routes_are_shown_by_ip_as_they_were_made_and_read_back_the_same() {
    network();
    let before = others();
    let mut own = OwnRoutes::new();
    for (route, text) in [
        (unreachable("2001:db8:a::/48", None, 1), "unreachable 2001:db8:a::/48 dev lo metric 1 pref medium"),
        (
            unreachable("::/0", Some("2001:db8:a::/56"), 7),
            "unreachable default from 2001:db8:a::/56 dev lo metric 7 pref medium",
        ),
        (unreachable("10.9.0.0/16", None, 5), "unreachable 10.9.0.0/16 metric 5"),
        (
            host("198.51.100.2", "wan", Some("10.0.1.1"), 3),
            "198.51.100.2 via 10.0.1.1 dev wan metric 3 onlink",
        ),
        (host("198.51.100.3", "wan", None, 0), "198.51.100.3 dev wan scope link"),
        // A router that no address of the link knows, as on PPPoE; and one with IPv6 only.
        (host("198.51.100.4", "wan", Some("192.0.2.1"), 0), "198.51.100.4 via 192.0.2.1 dev wan onlink"),
        (host("198.51.100.5", "wan", Some("fe80::1"), 0), "198.51.100.5 via inet6 fe80::1 dev wan onlink"),
        (
            host("2001:db8:f::2", "lte", Some("fe80::1"), 3),
            "2001:db8:f::2 via fe80::1 dev lte metric 3 onlink pref medium",
        ),
        (host("2001:db8:f::3", "lte", None, 3), "2001:db8:f::3 dev lte metric 3 pref medium"),
        // To the router itself, by itself.
        (host("10.0.1.1", "wan", Some("10.0.1.1"), 0), "10.0.1.1 via 10.0.1.1 dev wan onlink"),
        (
            host("2001:db8:1::1", "wan", Some("2001:db8:1::1"), 3),
            "2001:db8:1::1 via 2001:db8:1::1 dev wan metric 3 onlink pref medium",
        ),
        // From an address of another link.
        (
            from("10.0.2.2", host("198.51.100.6", "wan", Some("10.0.1.1"), 3)),
            "198.51.100.6 via 10.0.1.1 dev wan src 10.0.2.2 metric 3 onlink",
        ),
        (
            from("10.0.2.2", host("198.51.100.7", "wan", None, 0)),
            "198.51.100.7 dev wan scope link src 10.0.2.2",
        ),
        (
            from("2001:db8:2::2", host("2001:db8:f::4", "wan", Some("fe80::1"), 3)),
            "2001:db8:f::4 via fe80::1 dev wan src 2001:db8:2::2 metric 3 onlink pref medium",
        ),
    ] {
        own.add(&route).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(shown(), [text]);
        assert_eq!(own.list().unwrap(), [route]);
        // Again, by another one of us.
        OwnRoutes::new().add(&route).unwrap();
        assert_eq!(shown(), [text]);
        own.remove(&route).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((shown(), own.list().unwrap()), (vec![], vec![]), "{text}");
        own.remove(&route).unwrap();
        assert_eq!(others(), before);
    }
}

#[test]
fn what_a_crash_left_behind_is_found_and_nothing_else_is() {
    network();
    run("ip -6 route add unreachable 2001:db8:b::/48 metric 1");
    run("ip -6 route add 2001:db8:c::/48 dev wan proto static");
    run("ip route add 198.51.100.0/24 via 10.0.1.1 proto 120");
    run("ip route add 198.51.100.9 via 10.0.1.1 proto 119 table 7");
    let before = others();
    let routes = [
        unreachable("2001:db8:a::/48", None, 1),
        unreachable("::/0", Some("2001:db8:a::/56"), 1),
        host("198.51.100.2", "wan", Some("10.0.1.1"), 1),
        host("2001:db8:f::2", "lte", Some("fe80::1"), 1),
    ];
    let mut crashed = OwnRoutes::new();
    routes.iter().for_each(|route| crashed.add(route).unwrap());
    drop(crashed);
    let mut own = OwnRoutes::new();
    let found = own.list().unwrap();
    assert_eq!(found.len(), routes.len());
    assert!(routes.iter().all(|route| found.contains(route)), "{found:?}");
    found.iter().for_each(|route| own.remove(route).unwrap());
    assert_eq!((shown(), others()), (vec![], before));
}

#[test]
fn somebody_elses_route_is_neither_replaced_nor_removed() {
    network();
    run("ip -6 route add unreachable 2001:db8:a::/48 metric 1");
    run("ip route add 198.51.100.2 via 10.0.1.1 metric 3 proto static");
    run("ip -6 route add 2001:db8:f::2 via fe80::1 dev wan metric 3 proto static");
    let before = others();
    let mut own = OwnRoutes::new();
    for route in [
        unreachable("2001:db8:a::/48", None, 1),
        host("198.51.100.2", "wan", Some("10.0.1.1"), 3),
        host("2001:db8:f::2", "lte", Some("fe80::1"), 3),
    ] {
        let error = own.add(&route).unwrap_err();
        assert!(matches!(error, Error::Taken(taken) if taken == route), "{error}");
        own.remove(&route).unwrap();
        assert_eq!(others(), before);
        // Beside it there is room.
        let other = OwnRoute { metric: 2, ..route };
        own.add(&other).unwrap();
        assert_eq!((shown().len(), others()), (1, before.clone()));
        own.remove(&other).unwrap();
    }
    assert_eq!((shown(), others()), (vec![], before));
}

#[test]
fn another_way_takes_the_place_of_the_old_one() {
    network();
    let mut own = OwnRoutes::new();
    for target in ["198.51.100.2", "2001:db8:f::2"] {
        for (device, gateway) in [("wan", Some("fe80::1")), ("lte", Some("fe80::2")), ("lte", None)] {
            let route = host(target, device, gateway, 3);
            own.add(&route).unwrap();
            assert_eq!(own.list().unwrap(), [route]);
        }
        own.remove(&host(target, "lte", None, 3)).unwrap();
    }
    for (target, net) in [("198.51.100.2", "10.0."), ("2001:db8:f::2", "2001:db8:")] {
        let route = host(target, "wan", Some("fe80::1"), 3);
        let dots = if target.contains(':') { "::2" } else { ".2" };
        let [one, other] = ["1", "2"].map(|number| from(&format!("{net}{number}{dots}"), route));
        for route in [route, one, other, route] {
            own.add(&route).unwrap();
            assert_eq!(own.list().unwrap(), [route]);
        }
        own.remove(&route).unwrap();
    }
    // IPv6 reads no metric as 1024.
    own.add(&unreachable("2001:db8:a::/48", None, 0)).unwrap();
    own.add(&unreachable("2001:db8:a::/48", None, 0)).unwrap();
    assert_eq!(own.list().unwrap(), [unreachable("2001:db8:a::/48", None, 1024)]);
}

#[test]
fn a_way_that_is_not_there_says_so_and_one_that_went_away_is_no_error() {
    network();
    let mut own = OwnRoutes::new();
    for target in ["198.51.100.2", "2001:db8:f::2"] {
        let mut route = host(target, "wan", Some("fe80::1"), 3);
        own.add(&route).unwrap();
        run("ip link set wan down");
        assert_eq!(own.list().unwrap(), []);
        own.remove(&route).unwrap();
        let error = own.add(&route).unwrap_err();
        assert!(matches!(error, Error::NoWay(_)), "{error:?}");
        route.via = Via::By(Hop { ifindex: 9999, gateway: None });
        assert!(matches!(own.add(&route).unwrap_err(), Error::NoWay(_)));
        own.remove(&route).unwrap();
        run("ip link set wan up");
        // An address that is nobody's here, or not any more.
        let source = if target.contains(':') { "2001:db8:9::9" } else { "10.9.9.9" };
        let route = from(source, host(target, "wan", Some("fe80::1"), 3));
        let error = own.add(&route).unwrap_err();
        assert!(matches!(error, Error::NoWay(_)), "{error:?}");
    }
    assert_eq!(
        own.add(&unreachable("10.0.0.0/8", Some("10.1.0.0/16"), 1)).unwrap_err().to_string(),
        "route unreachable 10.0.0.0/8 from 10.1.0.0/16: the kernel has no routes by source address (IPv4 \
         never, IPv6 with CONFIG_IPV6_SUBTREES)"
    );
    assert_eq!(own.list().unwrap(), []);
}

/// What it is for: clients from the tunnel's prefix are told at once, others are not concerned.
#[test]
fn from_the_tunnels_prefix_nothing_is_reachable_and_from_elsewhere_all_is() {
    network();
    run("ip addr add 2001:db8:a::1/64 dev lte nodad");
    run("ip -6 route add default dev wan metric 100");
    run("ip -6 route add default from 2001:db8:a::/56 dev lte metric 100");
    let connect = |source: &str| {
        let source: Ipv6Addr = source.parse().unwrap();
        let socket = UdpSocket::bind(SocketAddrV6::new(source, 0, 0, 0)).unwrap();
        socket.connect("[2606:4700::1]:53").map_err(|error| error.raw_os_error())
    };
    let mut own = OwnRoutes::new();
    let route = unreachable("::/0", Some("2001:db8:a::/56"), 1);
    assert_eq!((connect("2001:db8:a::1"), connect("2001:db8:1::2")), (Ok(()), Ok(())));
    own.add(&route).unwrap();
    assert_eq!((connect("2001:db8:a::1"), connect("2001:db8:1::2")), (Err(Some(libc::EHOSTUNREACH)), Ok(())));
    own.remove(&route).unwrap();
    assert_eq!((connect("2001:db8:a::1"), connect("2001:db8:1::2")), (Ok(()), Ok(())));
}

#[test]
fn the_table_says_what_it_leads_into_a_tunnel_beside_our_own_routes() {
    network();
    run("ip link add name wgr type veth peer name wgr-far");
    run("ip link set wgr-far up");
    run("ip addr add fd00:99::2/64 dev wgr nodad");
    run("ip link set wgr up");
    let tunnel: Interface = "wgr".parse().unwrap();
    for route in [
        "route add default via 10.0.1.1 dev wan",
        "route add 0.0.0.0/1 dev wgr",
        "route add 128.0.0.0/1 dev wgr",
        "route add 192.0.2.0/24 via 10.0.1.1",
        "route add unreachable 203.0.113.0/24",
        "route add 198.51.100.9 dev wgr table 7",
        "-6 route add default via 2001:db8:1::1 dev wan metric 512",
        "-6 route add default from 2001:db8:a::/64 dev wgr metric 256",
        "-6 route add 2001:db8:b::/48 dev wgr",
    ] {
        run(&format!("ip {route}"));
    }
    let mut own = OwnRoutes::new();
    let ours = host("198.51.100.2", "wan", Some("10.0.1.1"), 0);
    own.add(&ours).unwrap();
    let targets = ["198.51.100.2", "192.0.2.1", "203.0.113.1", "10.0.1.1", "2001:db8:b::1", "2001:db8:c::1"];
    let targets: Vec<_> = targets.iter().map(|target| target.parse().unwrap()).collect();
    let question = RouteQuery { tunnels: vec![tunnel], targets: targets.clone(), servers: false };
    let ifindex = |interface: Interface| if_nametoindex(interface.as_str()).ok();
    let ways = own.survey(&question, &ifindex).unwrap();
    let led: Vec<_> = ways.led.iter().map(|led| (led.target, led.interface)).collect();
    assert_eq!(led, [(targets[0], tunnel), (targets[4], tunnel)]);
    assert_eq!(ways.own, [ours]);
    let through: Vec<_> = ways.through.iter().map(|way| (way.to, way.from, way.metric)).collect();
    let lan = (prefix("::/0"), Some(prefix("2001:db8:a::/64")), 256);
    assert_eq!(through.len(), 2, "{through:?}");
    assert!(through.contains(&lan) && through.contains(&(prefix("2001:db8:b::/48"), None, 1024)));
}

#[test]
fn a_prefix_has_no_bits_behind_its_length() {
    for (text, shown) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.1.2.3/0", "0.0.0.0/0"),
        ("10.1.2.3/99", "10.1.2.3/32"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("2001:db8::1/0", "::/0"),
        ("2001:db8::1/128", "2001:db8::1/128"),
    ] {
        assert_eq!(prefix(text).to_string(), shown);
    }
}
