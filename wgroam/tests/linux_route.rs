// SPDX-License-Identifier: GPL-2.0-only
//! Route events of the real kernel. Needs root, iproute2 and wireguard-go.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::{enter_own_network, run, shell, wireguard_go};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wgroam::linux::route::{AT_MOST, LinkEvent, QUIET, RouteMonitor};
use wgroam::model::Interface;
use wgroam::wan::WanChange;

/// A router with one uplink, `wan`, whose far end is `isp`.
struct World {
    monitor: RouteMonitor,
    links: Vec<LinkEvent>,
}

impl World {
    fn new() -> Self {
        enter_own_network();
        // The search for duplicate addresses takes a second or two; the test that is about it switches it on.
        shell(
            "for conf in all default; do echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad; done
             ip link add wan type veth peer name isp
             ip link set isp up; ip link set wan up
             ip addr add 10.0.0.2/24 dev wan; ip route add default via 10.0.0.1
             ip -6 addr add 2001:db8::2/64 dev wan nodad; ip -6 route add default via fe80::1 dev wan",
        );
        std::thread::sleep(Duration::from_millis(200));
        let mut world = Self { monitor: RouteMonitor::open().unwrap(), links: Vec::new() };
        assert_eq!(world.rest(), []);
        assert_eq!(world.monitor.wan(), Some(name("wan")));
        world
    }

    /// As the daemon's loop does it, until nothing has happened for half a second.
    fn rest(&mut self) -> Vec<WanChange> {
        let mut changes = Vec::new();
        let mut end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            let until = self.monitor.deadline().unwrap_or(end).min(end);
            let left = until.saturating_duration_since(Instant::now()).as_millis() as u16 + 1;
            let mut fds = [PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(left)).unwrap() > 0 {
                self.links.extend(self.monitor.read(Instant::now()).unwrap());
                end = Instant::now() + Duration::from_millis(500);
            }
            changes.extend(self.monitor.settled(Instant::now()).unwrap());
        }
        changes
    }
}

fn name(text: &str) -> Interface {
    text.parse().unwrap()
}

fn at(ip: &str) -> WanChange {
    WanChange::Address(name("wan"), ip.parse().unwrap())
}

#[test]
fn another_address_is_told_once_and_soon() {
    let mut world = World::new();
    let start = Instant::now();
    shell(
        "ip addr del 10.0.0.2/24 dev wan; ip addr add 10.0.0.3/24 dev wan; ip route add default via 10.0.0.1",
    );
    let scripted = start.elapsed();
    let mut told = Vec::new();
    // What this thread slept longer than it wanted, as others had the processor.
    let mut overslept = Duration::ZERO;
    while told.is_empty() {
        assert!(start.elapsed() < common::PATIENCE, "not told");
        world.monitor.read(Instant::now()).unwrap();
        told = world.monitor.settled(Instant::now()).unwrap();
        let slept = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        overslept += slept.elapsed().saturating_sub(Duration::from_millis(2));
    }
    let after = start.elapsed() - scripted;
    println!("told {after:?} after a script that ran {scripted:?}, {overslept:?} of it overslept");
    assert!(after < AT_MOST + overslept, "{after:?}");
    assert_eq!(told, [at("10.0.0.3")]);
    assert_eq!(world.rest(), []);
    assert!(world.monitor.is_local("10.0.0.3".parse().unwrap()));
    assert!(!world.monitor.is_local("10.0.0.2".parse().unwrap()));
}

#[test]
fn a_route_that_comes_back_says_nothing_an_address_that_comes_back_does() {
    let mut world = World::new();
    shell("ip route del default; ip route add default via 10.0.0.1");
    assert_eq!(world.rest(), []);
    shell(
        "ip addr del 10.0.0.2/24 dev wan; ip addr add 10.0.0.2/24 dev wan; ip route add default via 10.0.0.1",
    );
    assert_eq!(world.rest(), [at("10.0.0.2")]);
}

#[test]
fn renewed_lifetimes_are_no_change_and_cost_no_look() {
    let mut world = World::new();
    for lifetime in [100, 200, 300] {
        shell(&format!(
            "ip addr change 10.0.0.2/24 dev wan valid_lft {lifetime} preferred_lft {lifetime}
             ip -6 addr change 2001:db8::2/64 dev wan valid_lft {lifetime} preferred_lft {lifetime}"
        ));
        if lifetime == 100 {
            // From "forever" to a lifetime the kernel may set flags anew.
            assert_eq!(world.rest(), []);
            continue;
        }
        world.monitor.read(Instant::now()).unwrap();
        assert_eq!(world.monitor.deadline(), None);
    }
    assert_eq!(world.rest(), []);
}

#[test]
fn ipv6_address_is_told_when_it_is_usable() {
    let mut world = World::new();
    shell("echo 1 >/proc/sys/net/ipv6/conf/wan/accept_dad; ip -6 addr add 2001:db8::3/64 dev wan");
    let ip: IpAddr = "2001:db8::3".parse().unwrap();
    let start = Instant::now();
    while start.elapsed() < QUIET * 3 {
        world.monitor.read(Instant::now()).unwrap();
        assert_eq!(
            world.monitor.settled(Instant::now()).unwrap(),
            [],
            "the kernel still looks for a duplicate"
        );
        std::thread::sleep(QUIET / 10);
    }
    // Nobody else has it, or nobody shall be called there.
    assert!(world.monitor.is_local(ip) && world.monitor.own_addresses().unwrap().contains(&ip));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.rest(), [at("2001:db8::3")]);
    assert_eq!(world.monitor.own_addresses(), None);
}

/// The kernel removes the IPv4 route of a link that goes down without a word.
#[test]
fn uplink_down_and_up_is_told_with_its_routes() {
    let mut world = World::new();
    run("ip link set wan down");
    assert_eq!(world.rest(), [WanChange::Down(name("wan")), WanChange::Route(None)]);
    shell("ip link set wan up; ip route add default via 10.0.0.1");
    assert_eq!(world.rest(), [WanChange::Up(name("wan")), WanChange::Route(Some(name("wan")))]);
}

#[test]
fn lost_carrier_is_down_before_the_route_goes() {
    let mut world = World::new();
    run("ip link set isp down");
    assert_eq!(world.rest(), [WanChange::Down(name("wan"))]);
    shell("ip route del default; ip -6 route del default");
    assert_eq!(world.rest(), [WanChange::Route(None)]);
}

#[test]
fn a_second_uplink_takes_over_and_gives_back() {
    let mut world = World::new();
    shell(
        "ip link add lte type veth peer name isp2; ip link set isp2 up; ip link set lte up
         ip addr add 10.1.0.2/24 dev lte; ip route add default via 10.1.0.1 metric 100",
    );
    assert_eq!(world.rest(), [WanChange::Up(name("lte"))]);
    shell("ip route del default via 10.0.0.1; ip -6 route del default");
    assert_eq!(world.rest(), [WanChange::Down(name("wan")), WanChange::Route(Some(name("lte")))]);
    world.monitor.set_wan(vec![name("wan")]);
    run("ip addr add 10.1.0.3/24 dev lte");
    assert_eq!(world.rest(), []);
    run("ip link del lte");
    assert_eq!(world.rest(), []);
}

/// A network that never rests is told of all the same. The clock is the caller's.
#[test]
fn restlessness_is_waited_out_only_so_long() {
    let mut world = World::new();
    let start = Instant::now();
    for step in 0..10 {
        run(&format!("ip addr add 10.0.1.{step}/24 dev wan"));
        let now = start + QUIET / 2 * step;
        assert_eq!(world.monitor.settled(now).unwrap(), [], "step {step}");
        world.monitor.read(now).unwrap();
        assert_eq!(world.monitor.deadline(), Some((now + QUIET).min(start + AT_MOST)));
    }
    assert_eq!(world.monitor.settled(start + AT_MOST).unwrap(), [at("10.0.1.0")]);
    assert_eq!(world.monitor.deadline(), None);
}

/// 3,000 announcements that nobody reads are more than the socket holds.
#[test]
fn overrun_loses_nothing_in_the_end() {
    let mut world = World::new();
    let mut batch = String::new();
    for step in 0..1500 {
        let ip = format!("10.{}.{}.1/32", 100 + step / 250, step % 250);
        batch += &format!("addr add {ip} dev wan\naddr del {ip} dev wan\n");
    }
    // Told of by its time of creation alone.
    batch += "addr del 10.0.0.2/24 dev wan\naddr add 10.0.0.2/24 dev wan\nroute add default via 10.0.0.1\n";
    batch += "link add late type veth peer name late2\naddr add 10.3.3.3/24 dev late\n";
    std::fs::write("/run/batch", batch).unwrap();
    let process = wireguard_go("wg0");
    run("ip -batch /run/batch");
    // Here the kernel keeps count of what it dropped: the last column but one.
    let sockets = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let dropped =
        |line: &str| line.split_whitespace().nth(8).and_then(|drops| drops.parse().ok()).unwrap_or(0);
    assert!(sockets.lines().any(|line| dropped(line) > 0_u32), "{sockets}");

    world.links.extend(world.monitor.read(Instant::now()).unwrap());
    assert!(world.monitor.routes_changed());
    // Rules may have been among them.
    assert_eq!(world.rest(), [at("10.0.0.2"), WanChange::Rules]);
    assert!(world.monitor.is_local("10.3.3.3".parse().unwrap()));
    assert!(!world.monitor.is_local("10.100.7.1".parse().unwrap()));
    let present = |event: &LinkEvent| matches!(event, LinkEvent::Present { interface, .. } if *interface == name("wg0"));
    assert!(world.links.iter().any(present), "{:?}", world.links);
    drop(process);
    world.rest();
    assert_eq!(world.links.last(), Some(&LinkEvent::Gone { interface: name("wg0") }));
}

#[test]
fn wireguard_in_user_space_comes_and_goes() {
    let mut world = World::new();
    let process = wireguard_go("wg0");
    run("ip link set wg0 up");
    world.rest();
    let index: u32 = run("ip -o link show wg0").split(':').next().unwrap().parse().unwrap();
    let present = |up| LinkEvent::Present { interface: name("wg0"), ifindex: index, up };
    assert_eq!(world.links.last(), Some(&present(true)));
    world.links.clear();
    run("ip link set wg0 down");
    assert_eq!((world.rest(), &world.links[..]), (vec![], &[present(false)][..]));
    // Who comes later is told of it with the first read.
    let mut second = RouteMonitor::open().unwrap();
    assert_eq!(second.read(Instant::now()).unwrap(), [present(false)]);
    world.links.clear();
    drop(process);
    assert_eq!(world.rest(), []);
    assert_eq!(world.links, [LinkEvent::Gone { interface: name("wg0") }]);
    // A TUN device alone is somebody else's.
    world.links.clear();
    run("ip tuntap add dev vpn0 mode tun");
    world.rest();
    assert_eq!(world.links, []);
}
