// SPDX-License-Identifier: GPL-2.0-only
//! How far UDP gets, over real routers: us (10.0.1.1), one that may filter (10.0.1.2, 10.0.2.1), another (10.0.2.2, 10.0.3.1),
//! a host (10.0.3.2). And where the kernel would send a packet. Needs root and nftables.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::process::Command;

use common::{Process, enter_own_network, run, shell, wait_until};
use nix::net::if_::if_nametoindex;
use wgroam::linux::route::{Links, Lookup};
use wgroam::linux::trace::{Trace, trace};

const PORT: u16 = 51820;

/// A network of its own, alive for a minute.
fn node() -> Process {
    let process = Process(Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap());
    let pid = process.0.id();
    let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
    let own = net("thread-self").unwrap();
    wait_until("a node has its network", || net(&pid.to_string()).is_ok_and(|net| net != own));
    process
}

fn within(node: &Process, script: &str) -> String {
    shell(&format!("nsenter --target {} --net sh -euc '{script}'", node.0.id()))
}

/// The two routers and the host.
fn plug() -> [Process; 3] {
    enter_own_network();
    let nodes = [node(), node(), node()];
    let [one, two, host] = nodes.each_ref().map(|node| node.0.id());
    run(&format!("ip link add out type veth peer name in netns {one}"));
    shell(&format!("nsenter --target {one} --net ip link add out type veth peer name in netns {two}"));
    shell(&format!("nsenter --target {two} --net ip link add out type veth peer name in netns {host}"));
    run("ip addr add 10.0.1.1/24 dev out");
    run("ip link set out up");
    run("ip route add default via 10.0.1.2");
    for (number, node) in (1..).zip(&nodes[..2]) {
        within(
            node,
            &format!(
                "sysctl -qw net.ipv4.ip_forward=1; ip addr add 10.0.{number}.2/24 dev in; ip link set in up; \
                 ip addr add 10.0.{}.1/24 dev out; ip link set out up",
                number + 1
            ),
        );
    }
    within(&nodes[0], "ip route add default via 10.0.2.2");
    within(&nodes[1], "ip route add default via 10.0.2.1");
    within(&nodes[2], "ip addr add 10.0.3.2/24 dev in; ip link set in up; ip route add default via 10.0.3.1");
    nodes
}

/// The host drops what comes to the port, without a word, as WireGuard does.
fn silent_port(host: &Process) {
    let rule = format!(
        "nft add table ip t; nft add chain ip t c {{ type filter hook input priority 0 \\; }}; \
         nft add rule ip t c udp dport {PORT} drop"
    );
    within(host, &rule);
}

fn to_host() -> Trace {
    trace(format!("10.0.3.2:{PORT}").parse().unwrap(), 0).unwrap()
}

#[test]
fn a_port_that_is_silent_is_reached_as_far_as_any_other() {
    let [_, _, host] = &plug();
    silent_port(host);
    assert_eq!(to_host(), Trace { hops: 2, other_hops: 2, refused: false, alive: true });
}

#[test]
fn a_port_on_which_nothing_listens_is_refused() {
    let _nodes = plug();
    let trace = to_host();
    assert!(trace.refused && trace.alive, "{trace:?}");
}

#[test]
fn a_filter_is_where_the_ports_part() {
    let [one, _, host] = &plug();
    silent_port(host);
    let rule = format!(
        "nft add table ip t; nft add chain ip t c {{ type filter hook forward priority 0 \\; }}; \
         nft add rule ip t c udp dport {PORT} drop"
    );
    within(one, &rule);
    let trace = to_host();
    assert_eq!((trace.hops, trace.alive), (1, true), "{trace:?}");
    assert!(trace.other_hops > trace.hops, "{trace:?}");
}

#[test]
fn a_host_that_is_gone_says_nothing() {
    let [_, two, _] = &plug();
    within(two, "ip route add blackhole 10.0.3.2/32");
    assert_eq!((to_host().refused, to_host().alive), (false, false));
}

#[test]
fn the_kernel_says_where_a_packet_would_go() {
    enter_own_network();
    run("ip link add wan type veth peer name far");
    run("ip link set far up");
    run("ip link set wan up");
    run("ip addr add 10.0.1.2/24 dev wan");
    run("ip addr add 2001:db8:1::2/64 dev wan nodad");
    let wan = if_nametoindex("wan").unwrap();
    let mut links = Links::default();
    let mut way = |to: &str, from: Option<&str>, mark| {
        let from = from.map(|from| from.parse::<IpAddr>().unwrap());
        links.lookup(to.parse().unwrap(), from, mark).unwrap()
    };
    let by_wan =
        |source: &str| Some(Lookup { ifindex: wan, source: Some(source.parse().unwrap()), local: false });
    assert_eq!(way("198.51.100.2", None, 0), None);
    assert_eq!(way("2001:db8:ffff::1", None, 0), None);
    run("ip route add default via 10.0.1.1");
    assert_eq!(way("198.51.100.2", None, 0), by_wan("10.0.1.2"));
    assert!(way("10.0.1.2", None, 0).unwrap().local);
    run("ip route add unreachable 198.51.100.0/24");
    assert_eq!(way("198.51.100.2", None, 0), None);
    // By a rule, for what is marked.
    run("ip route add 198.51.100.0/24 via 10.0.1.1 table 7");
    run("ip rule add fwmark 51 lookup 7");
    assert_eq!(way("198.51.100.2", None, 51), by_wan("10.0.1.2"));
    // For one source alone.
    run("ip route add ::/0 from 2001:db8:1::/64 dev wan");
    assert_eq!(way("2001:db8:ffff::1", Some("2001:db8:1::2"), 0).map(|way| way.ifindex), Some(wan));
    assert_eq!(way("2001:db8:ffff::1", Some("2001:db8:2::2"), 0), None);
    run("ip -6 route add unreachable ::/0 from 2001:db8:1::/64 metric 1");
    assert_eq!(way("2001:db8:ffff::1", Some("2001:db8:1::2"), 0), None);
    // Asking sends nothing: there is no neighbour that somebody would have been asked for.
    assert_eq!(run("ip neigh show"), "");
}
