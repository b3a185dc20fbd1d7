// SPDX-License-Identifier: GPL-2.0-only
//! What the real kernel tells beside the ways to the Internet: own addresses, routes of ours that are gone, policy rules.
//! Needs root and iproute2.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Process, enter_own_network, run, shell};
use nix::net::if_::if_nametoindex;
use nix::time::{ClockId, clock_gettime};
use wgroam::linux::own_routes::OwnRoutes;
use wgroam::linux::route::{AT_MOST, QUIET, RouteMonitor};
use wgroam::routing::{Hop, OwnRoute, Prefix, Via};
use wgroam::wan::WanChange;

fn world() -> RouteMonitor {
    enter_own_network();
    shell(
        "for conf in all default; do echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad; done
         ip link add wan type veth peer name isp; ip link set isp up; ip link set wan up
         ip addr add 10.0.0.2/24 dev wan; ip route add default via 10.0.0.1
         ip -6 addr add 2001:db8::2/64 dev wan; ip -6 route add default via fe80::1 dev wan",
    );
    std::thread::sleep(Duration::from_millis(200));
    let mut monitor = RouteMonitor::open().unwrap();
    assert_eq!(rest(&mut monitor), []);
    monitor
}

/// As the daemon's loop does it, until nothing has happened for some time.
fn rest(monitor: &mut RouteMonitor) -> Vec<WanChange> {
    let mut changes = Vec::new();
    let mut end = Instant::now() + AT_MOST;
    while Instant::now() < end {
        monitor.read(Instant::now()).unwrap();
        if monitor.deadline().is_some() {
            end = Instant::now() + AT_MOST;
        }
        changes.extend(monitor.settled(Instant::now()).unwrap());
        std::thread::sleep(QUIET / 10);
    }
    changes
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What the kernel itself holds for its own, by `ip`.
fn local_table() -> Vec<IpAddr> {
    let routes = run("ip -4 route show table local") + &run("ip -6 route show table local");
    let lines = routes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // 127.0.0.0/8 as a whole is of type local, too.
    let own = lines.filter(|words| ["local", "broadcast"].contains(&words[0]) && !words[1].contains('/'));
    let mut own: Vec<IpAddr> = own.map(|words| ip(words[1])).collect();
    own.sort_unstable();
    own.dedup();
    own
}

#[test]
fn own_addresses_are_told_at_the_start_and_with_each_change_as_the_kernel_has_them() {
    let mut monitor = world();
    let told = monitor.own_addresses().unwrap();
    assert_eq!(told, local_table());
    for own in ["10.0.0.2", "10.0.0.255", "127.0.0.1", "127.255.255.255", "2001:db8::2", "::1"] {
        assert!(told.contains(&ip(own)), "{own}: {told:?}");
    }
    assert_eq!(monitor.own_addresses(), None);
    for (change, own) in [
        // Link-local ones are no way to the Internet, but our own.
        ("ip addr add fe80::77/64 dev wan", true),
        ("ip addr add 10.0.1.1/24 brd + dev lo", true),
        // The kernel knows the network's broadcast address without being told.
        ("ip addr add 10.0.2.1/28 dev wan", true),
        // There is no room for one in these.
        ("ip addr add 10.0.3.1/31 dev wan; ip addr add 10.0.4.1/32 dev wan", true),
        ("ip addr add 10.0.5.1 peer 10.0.6.1/24 dev wan", true),
        ("ip addr change 10.0.2.1/28 dev wan valid_lft 100 preferred_lft 100", false),
        ("ip addr del 10.0.0.2/24 dev wan; ip addr add 10.0.0.3/24 dev wan", true),
        ("ip route add 10.7.0.0/16 via 10.0.0.1; ip rule add fwmark 1 table 1", false),
        ("ip link set wan down", true),
    ] {
        shell(change);
        rest(&mut monitor);
        let told = monitor.own_addresses();
        assert_eq!(told.is_some(), own, "{change}: {told:?}");
        // The kernel has none of a link that is down; they still are nobody else's.
        if let Some(told) = told.filter(|_| !change.contains("down")) {
            assert_eq!(told, local_table(), "{change}");
        }
    }
}

#[test]
fn a_broadcast_address_that_is_given_is_told() {
    let mut monitor = world();
    run("ip addr add 10.0.1.1/24 brd 10.0.1.127 dev wan");
    rest(&mut monitor);
    assert!(monitor.own_addresses().unwrap().contains(&ip("10.0.1.127")));
}

#[test]
fn thousands_of_addresses_one_by_one_cost_little() {
    let mut monitor = world();
    let batch: String = (0..5000).rev().fold(String::new(), |batch, step| {
        batch + &format!("addr add 10.{}.{}.1/32 dev wan\n", 100 + step / 250, step % 250)
    });
    std::fs::write("/run/batch", batch).unwrap();
    let _ = monitor.own_addresses();
    let mut adding = Process(Command::new("ip").args(["-batch", "/run/batch"]).spawn().unwrap());
    let busy = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let (begun, start) = (busy(), Instant::now());
    let (mut tellings, mut told) = (0, Vec::new());
    loop {
        let ended = adding.0.try_wait().unwrap().is_some();
        // What changes too fast to be read is asked for again.
        let asked = monitor.read(Instant::now()).is_ok() && monitor.settled(Instant::now()).is_ok();
        if let Some(own) = monitor.own_addresses() {
            (tellings, told) = (tellings + 1, own);
        }
        if ended && asked && monitor.deadline().is_none() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
        assert!(start.elapsed() < common::PATIENCE);
    }
    let (busy, took) = (busy() - begun, start.elapsed());
    println!("{busy:?} of CPU in {took:?}, told {tellings} times");
    assert_eq!(told, local_table());
    assert!(told.len() > 5000);
    assert!(tellings as u128 <= took.as_millis() / QUIET.as_millis() + 1, "{tellings} in {took:?}");
    // As tests are built it is 0.06 s.
    assert!(busy < Duration::from_secs(2), "{busy:?}");
}

#[test]
fn policy_rules_are_told_once_they_have_come_to_rest() {
    let mut monitor = world();
    for rules in [
        "ip rule add fwmark 7 table 7",
        "ip -6 rule add fwmark 7 table 7",
        "ip rule del fwmark 7; ip -6 rule del fwmark 7; ip rule add from 10.0.0.2 table 9",
    ] {
        shell(rules);
        assert_eq!(rest(&mut monitor), [WanChange::Rules], "{rules}");
    }
    // The clock is the caller's.
    run("ip rule add to 10.0.0.9 table 9");
    let now = Instant::now();
    monitor.read(now).unwrap();
    assert_eq!(monitor.deadline(), Some(now + QUIET));
    assert_eq!(monitor.settled(now + QUIET / 2).unwrap(), []);
    assert_eq!(monitor.settled(now + QUIET).unwrap(), [WanChange::Rules]);
}

#[test]
fn a_route_of_ours_that_somebody_removes_is_told_at_once_and_what_we_remove_is_not() {
    let mut monitor = world();
    let mut own = OwnRoutes::new();
    for (to, gateway) in [("198.51.100.2", "10.0.0.1"), ("2001:db8:f::2", "fe80::1")] {
        let hop = Hop { ifindex: if_nametoindex("wan").unwrap(), gateway: Some(ip(gateway)) };
        let to = Prefix::host(ip(to));
        let route = OwnRoute { to, from: None, metric: 3, via: Via::By(hop), source: None };
        let mut told = |change: &mut dyn FnMut()| {
            change();
            let now = Instant::now();
            monitor.read(now).unwrap();
            // Nothing is waited for.
            assert_eq!(monitor.deadline(), None);
            monitor.routes_changed()
        };
        assert!(!told(&mut || own.add(&route).unwrap()));
        monitor.set_own_port(own.port());
        let mut told = |change: &mut dyn FnMut()| {
            change();
            monitor.read(Instant::now()).unwrap();
            monitor.routes_changed()
        };
        assert!(!told(&mut || own.remove(&route).unwrap()));
        assert!(!told(&mut || own.add(&route).unwrap()));
        // By another way: the old one goes.
        let other = OwnRoute { via: Via::By(Hop { gateway: None, ..hop }), ..route };
        assert!(!told(&mut || own.add(&other).unwrap()));
        assert!(told(&mut || drop(run(&format!("ip route del {} proto 119", to.address())))));
        assert!(!told(&mut || ()));
        // Another one of us is somebody else, and somebody else's route is none of ours.
        own.add(&route).unwrap();
        assert!(told(&mut || OwnRoutes::new().remove(&route).unwrap()));
        run(&format!("ip route add {} via {gateway} dev wan", to.address()));
        assert!(!told(&mut || drop(run(&format!("ip route del {}", to.address())))));
    }
}

/// IPv4 says nothing.
#[test]
fn a_route_of_ours_that_goes_with_its_link_is_told() {
    let mut monitor = world();
    let mut own = OwnRoutes::new();
    let hop = Hop { ifindex: if_nametoindex("wan").unwrap(), gateway: Some(ip("10.0.0.1")) };
    let to = Prefix::host(ip("198.51.100.2"));
    own.add(&OwnRoute { to, from: None, metric: 3, via: Via::By(hop), source: None }).unwrap();
    rest(&mut monitor);
    let _ = monitor.routes_changed();
    run("ip link set wan down");
    rest(&mut monitor);
    assert_eq!(own.list().unwrap(), []);
    assert!(monitor.routes_changed() && !monitor.routes_changed());
}
