// SPDX-License-Identifier: GPL-2.0-only
//! Answers about routes that take more than the main table, against the real kernel: routes with several hops, the source
//! addresses that it chooses, name servers behind tunnels. Needs root and iproute2.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::net::IpAddr;

use common::{enter_own_network, run, shell};
use nix::net::if_::if_nametoindex;
use wgroam::linux::own_routes::OwnRoutes;
use wgroam::linux::route::RouteMonitor;
use wgroam::model::Interface;
use wgroam::routing::{Hop, OwnRoute, Prefix, RouteAnswer, RouteQuery, Via};

/// Links that are up and have no address but what the test gives them. What makes a tunnel one is that it is asked about.
fn network(links: &[&str]) {
    enter_own_network();
    shell("for conf in all default; do echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad; done");
    for link in links {
        shell(&format!(
            "ip link add {link} type veth peer name {link}-far
             ip link set {link} addrgenmode none; ip link set {link} up; ip link set {link}-far up"
        ));
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn names(tunnels: &[&str]) -> Vec<Interface> {
    tunnels.iter().map(|tunnel| tunnel.parse().unwrap()).collect()
}

/// The answer as of now.
fn ask(tunnels: &[&str], targets: &[&str], files: Option<&[&str]>) -> RouteAnswer {
    let targets: Vec<IpAddr> = targets.iter().map(|target| ip(target)).collect();
    let query = RouteQuery { tunnels: names(tunnels), targets, servers: files.is_some() };
    let mut monitor = RouteMonitor::open().unwrap();
    let number = |tunnel: Interface| if_nametoindex(tunnel.as_str()).ok();
    let mut answer = OwnRoutes::new().survey(&query, &number).unwrap();
    monitor.complete(&query, files.unwrap_or_default(), &mut answer);
    assert_eq!(answer.targets, query.targets);
    answer
}

fn host(to: &str, device: &str, gateway: Option<&str>, source: Option<&str>) -> OwnRoute {
    let hop = Hop { ifindex: if_nametoindex(device).unwrap(), gateway: gateway.map(ip) };
    let metric = if to.contains(':') { 1024 } else { 0 };
    let (to, source) = (Prefix::host(ip(to)), source.map(ip));
    OwnRoute { to, from: None, metric, via: Via::By(hop), source }
}

#[test]
fn a_route_with_several_hops_leads_through_tunnels_only_if_all_of_them_do() {
    network(&["wg0", "wg1", "wan"]);
    shell(
        "ip addr add 2001:db8:e::1/64 dev wan nodad
         ip -6 route add 2001:db8:a::/48 nexthop via fe80::1 dev wg0 nexthop via fe80::1 dev wg1
         ip -6 route add 2001:db8:b::/48 nexthop via fe80::1 dev wg0 nexthop via fe80::1 dev wan
         ip -6 route add 2001:db8:b:1::/64 nexthop via fe80::1 dev wan nexthop via fe80::1 dev wg0
         # Without a router they are told one by one.
         ip -6 route add 2001:db8:c::/48 dev wg0; ip -6 route append 2001:db8:c::/48 dev wg1
         ip -6 route add 2001:db8:d::/48 dev wg0; ip -6 route append 2001:db8:d::/48 dev wan
         ip -6 route add 2001:db8:d:1::/64 dev wan; ip -6 route append 2001:db8:d:1::/64 dev wg0
         # By a router, what is appended becomes another hop.
         ip -6 route add 2001:db8:f::/48 via fe80::1 dev wg0; ip -6 route append 2001:db8:f::/48 via fe80::1 dev wan
         # Of other metric or for another source it is another route.
         ip -6 route add 2001:db8:9::/48 dev wg0 metric 7; ip -6 route add 2001:db8:9::/48 dev wan metric 8
         ip -6 route add 2001:db8:9::/48 dev wan metric 7 from 2001:db8:1::/64
         # The LAN's own network, led into the tunnel as well.
         ip -6 route append 2001:db8:e::/64 dev wg0 metric 256",
    );
    let through = |tunnels: &[&str]| {
        let mut through: Vec<_> = ask(tunnels, &[], None)
            .through
            .iter()
            .map(|through| {
                let mut names: Vec<_> = through.interfaces.iter().map(|name| name.to_string()).collect();
                names.sort_unstable();
                (through.to.to_string(), names.join(" "), through.metric)
            })
            .collect();
        through.sort_unstable();
        through
    };
    let route = |to: &str, tunnels: &str, metric| (to.to_string(), tunnels.to_string(), metric);
    assert_eq!(
        through(&["wg0", "wg1"]),
        [
            route("2001:db8:9::/48", "wg0", 7),
            route("2001:db8:a::/48", "wg0 wg1", 1024),
            route("2001:db8:c::/48", "wg0 wg1", 1024),
        ]
    );
    assert_eq!(through(&["wg0"]), [route("2001:db8:9::/48", "wg0", 7)]);
    assert_eq!(through(&["wg1"]), []);
}

#[test]
fn a_target_behind_several_hops_counts_as_led_into_the_tunnel_among_them() {
    network(&["wg0", "wan"]);
    shell(
        "ip addr add 10.0.1.2/24 dev wan; ip addr add fe80::2/64 dev wan nodad
         ip route add default nexthop via 10.0.1.1 dev wan nexthop dev wg0
         ip -6 route add default nexthop via fe80::1 dev wan nexthop via fe80::1 dev wg0",
    );
    let answer = ask(&["wg0"], &["198.51.100.2", "2001:db8:f::2", "10.0.1.9"], None);
    let led: Vec<_> = answer.led.iter().map(|led| led.target).collect();
    assert_eq!(led, [ip("198.51.100.2"), ip("2001:db8:f::2")]);
}

/// A WAN with a link-local address only, a LAN with a public one, and a tunnel whose address is nearer to the target.
fn unnumbered() {
    network(&["wg0", "wan", "lan"]);
    shell(
        "ip addr add fe80::2/64 dev wan nodad; ip -6 route add default via fe80::1 dev wan
         ip addr add 2001:db8:2:1::1/128 dev wg0 nodad; ip addr add fd00:1::1/64 dev lan nodad
         ip addr add 2001:db8:1::1/64 dev lan nodad",
    );
}

const FAR: &str = "2001:db8:2::2";

fn sources(target: &str) -> Vec<(IpAddr, Option<IpAddr>)> {
    ask(&["wg0"], &[target], None).sources
}

fn instead(source: &str) -> [(IpAddr, Option<IpAddr>); 1] {
    [(ip(FAR), Some(ip(source)))]
}

#[test]
fn what_would_be_sent_from_the_tunnels_address_gets_one_that_others_can_answer_to() {
    unnumbered();
    assert!(run(&format!("ip -6 route get {FAR}")).contains("src 2001:db8:2:1::1"), "the kernel's choice");
    assert_eq!(sources(FAR), instead("2001:db8:1::1"));
    // The kernel chooses another one itself; or it goes through the tunnel.
    assert_eq!(sources("2001:db8:1:f::2"), []);
    assert_eq!(ask(&["lan"], &[FAR], None).sources, []);
    // Led into the tunnel it will be led around it, and then by the uplink.
    run("ip -6 route add 2001:db8:2::/48 dev wg0");
    assert_eq!(sources(FAR), instead("2001:db8:1::1"));
    let mut own = OwnRoutes::new();
    own.add(&host(FAR, "wan", Some("fe80::1"), None)).unwrap();
    assert_eq!(sources(FAR), instead("2001:db8:1::1"), "our route has no source yet");
    for source in ["2001:db8:1::1", "fd00:1::1"] {
        own.add(&host(FAR, "wan", Some("fe80::1"), Some(source))).unwrap();
        assert!(run(&format!("ip -6 route get {FAR}")).contains(&format!("src {source}")));
        assert_eq!(sources(FAR), instead("2001:db8:1::1"), "by our route from {source}");
    }
    // The link's own comes first, and then our route need not give any.
    run("ip addr add 2001:db8:3::1/64 dev wan nodad");
    assert_eq!(sources(FAR), []);
    own.remove(&host(FAR, "wan", Some("fe80::1"), None)).unwrap();
    run("ip -6 route del 2001:db8:2::/48");
    assert_eq!(sources(FAR), []);
}

#[test]
fn a_source_is_public_before_it_is_private_and_always_one_that_works() {
    unnumbered();
    for (change, source) in [
        ("ip addr add 2001:db8:0:1::1/64 dev lan nodad", Some("2001:db8:0:1::1")),
        // No longer to be chosen by anybody.
        ("ip addr change 2001:db8:0:1::1/64 dev lan preferred_lft 0", Some("2001:db8:1::1")),
        ("ip addr del 2001:db8:1::1/64 dev lan", Some("fd00:1::1")),
        // The kernel still looks whether somebody else has it.
        (
            "echo 1 >/proc/sys/net/ipv6/conf/lan/accept_dad
             ip addr add 2001:db8:0:2::1/64 dev lan",
            Some("fd00:1::1"),
        ),
        ("ip link set lan down", None),
        // Of another VPN.
        ("ip tuntap add vpn mode tun; ip link set vpn up; ip addr add 2001:db8:4::1/64 dev vpn nodad", None),
        ("ip addr add 2001:db8:5::1/128 dev lo nodad", Some("2001:db8:5::1")),
    ] {
        shell(change);
        assert_eq!(sources(FAR), [(ip(FAR), source.map(ip))], "{change}");
    }
}

/// An address stays while it is as good as another one, else our route would change with each that comes.
#[test]
fn a_source_that_is_in_use_is_kept() {
    unnumbered();
    let mut own = OwnRoutes::new();
    own.add(&host(FAR, "wan", Some("fe80::1"), Some("2001:db8:1::1"))).unwrap();
    run("ip addr add 2001:db8:0:1::1/64 dev lan nodad");
    assert_eq!(sources(FAR), instead("2001:db8:1::1"));
    run("ip addr del 2001:db8:1::1/64 dev lan");
    assert_eq!(sources(FAR), instead("2001:db8:0:1::1"));
}

#[test]
fn ipv4_without_an_address_at_the_uplink_is_sent_from_another_one_than_the_tunnels() {
    network(&["wg0", "wan", "lan"]);
    shell(
        "ip addr add 10.9.0.2/32 dev wg0; ip addr add 192.0.2.1/24 dev lan
         ip route add default dev wan",
    );
    assert!(run("ip route get 198.51.100.2").contains("src 10.9.0.2"), "the kernel's choice");
    assert_eq!(sources("198.51.100.2"), [(ip("198.51.100.2"), Some(ip("192.0.2.1")))]);
    // Our own, and what goes nowhere.
    assert_eq!(sources("10.9.0.2"), []);
    assert_eq!(sources(FAR), []);
    run("ip addr add 10.0.1.2/32 dev wan");
    assert_eq!(sources("198.51.100.2"), []);
}

/// Name servers in files of the test's own.
fn files(resolv: &str) -> [String; 2] {
    let further = "nameserver 9.9.9.9\nnameserver 2620:fe::fe\nnameserver 10.0.1.1\n";
    [("resolv", resolv), ("further", further)].map(|(name, text)| {
        let path = format!("/run/{name}");
        std::fs::write(&path, text).unwrap();
        path
    })
}

/// Which tunnels the servers of a file are led into.
fn led(tunnels: &[&str], files: &[String]) -> Vec<(String, String)> {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let answer = ask(tunnels, &["9.9.9.9", "198.51.100.2"], Some(&files));
    // Asking about servers tells nothing else of them.
    assert!(answer.led.iter().all(|led| answer.targets.contains(&led.target)), "{:?}", answer.led);
    assert_eq!(answer.led, ask(tunnels, &["9.9.9.9", "198.51.100.2"], None).led);
    answer.servers.iter().map(|(ip, tunnel)| (ip.to_string(), tunnel.to_string())).collect()
}

fn pair(server: &str, tunnel: &str) -> (String, String) {
    (server.into(), tunnel.into())
}

#[test]
fn name_servers_that_the_main_table_leads_into_a_tunnel_are_told() {
    network(&["wg0", "wan", "wg1"]);
    shell(
        "ip addr add 10.0.1.2/24 dev wan; ip addr add 2001:db8:1::2/64 dev wan nodad
         ip route add default via 10.0.1.1; ip -6 route add default via 2001:db8:1::1
         ip route add 0.0.0.0/1 dev wg0; ip route add 128.0.0.0/1 dev wg0; ip -6 route add 2000::/3 dev wg1",
    );
    let files = files("nameserver 127.0.0.1\n");
    let both = [pair("9.9.9.9", "wg0"), pair("2620:fe::fe", "wg1")];
    assert_eq!(led(&["wg0", "wg1"], &files), both);
    assert_eq!(led(&["wg1"], &files), both[1..]);
    assert_eq!(led(&["wan"], &files), [pair("10.0.1.1", "wan")]);
    // With a route of ours they are led into the same: even where a tunnel's prefix is refused.
    let mut own = OwnRoutes::new();
    own.add(&host("9.9.9.9", "wan", Some("10.0.1.1"), None)).unwrap();
    let refused = Prefix::new(ip("2000::"), 3);
    let refused = OwnRoute { to: refused, from: None, metric: 1023, via: Via::Unreachable, source: None };
    own.add(&refused).unwrap();
    assert_eq!(led(&["wg0", "wg1"], &files), both);
    own.add(&host("2620:fe::fe", "wan", Some("2001:db8:1::1"), None)).unwrap();
    assert_eq!(led(&["wg0", "wg1"], &files), both);
    // Somebody else's is theirs to judge.
    shell("ip route del 9.9.9.9; ip route add 9.9.9.9 via 10.0.1.1; ip -6 route del 2620:fe::fe proto 119");
    assert_eq!(led(&["wg0", "wg1"], &files), both[1..]);
}

/// As wg-quick does it: all that is not marked goes by a table of the tunnel's, unless the main table knows better.
#[test]
fn name_servers_that_a_rule_leads_into_a_tunnel_are_told() {
    network(&["wg0", "wan", "wg1"]);
    shell(
        "ip addr add 10.0.1.2/24 dev wan; ip route add default via 10.0.1.1
         ip route add default dev wg1 table 51820; ip rule add not fwmark 51820 table 51820
         ip rule add table main suppress_prefixlength 0",
    );
    let files = files("nameserver 9.9.9.9\nnameserver 10.0.1.1\n");
    assert_eq!(led(&["wg0", "wg1"], &files), [pair("9.9.9.9", "wg1")]);
    assert_eq!(led(&["wg0"], &files), []);
    let mut own = OwnRoutes::new();
    own.add(&host("9.9.9.9", "wan", Some("10.0.1.1"), None)).unwrap();
    assert!(run("ip route get 9.9.9.9").contains("dev wan"));
    assert_eq!(led(&["wg0", "wg1"], &files), [pair("9.9.9.9", "wg1")]);
    // It can't be told any more why we have it.
    run("ip route add 9.9.9.8 via 10.0.1.1");
    assert_eq!(led(&["wg0", "wg1"], &files), [pair("9.9.9.9", "wg0")]);
}
