// SPDX-License-Identifier: GPL-2.0-only
//! Echo requests over real devices, to another network namespace. Needs root, ping and nftables.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use common::{PATIENCE, Process, enter_own_network, run, wait_until};
use mio::{Events, Interest, Poll, Token};
use nix::net::if_::if_nametoindex;
use wgroam::linux::echo::{Echo, Reply};

/// A host in a network of its own, at the other end of two cables: `one` (10.0.1.0/24, fd01::/64) and `two` (10.0.2.0/24,
/// fd02::/64). We are .1 and ::1, it is .2, ::2 and fe80::99 on both. Its loopback device has 198.51.100.1 and
/// 2001:db8::1.
struct Far(Process);

impl Far {
    fn plug() -> Self {
        enter_own_network();
        let process = Process(Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap());
        let pid = process.0.id();
        let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
        let own = net("thread-self").unwrap();
        wait_until("the far end has its network", || net(&pid.to_string()).is_ok_and(|net| net != own));
        let far = Self(process);
        far.run("ip link set lo up");
        for (name, net) in [("one", 1), ("two", 2)] {
            run(&format!("ip link add {name} type veth peer name {name} netns {pid}"));
            for (end, host) in [(&run as &dyn Fn(&str) -> String, 1), (&|line: &str| far.run(line), 2)] {
                end(&format!("ip addr add 10.0.{net}.{host}/24 dev {name}"));
                end(&format!("ip addr add fd0{net}::{host}/64 dev {name} nodad"));
                end(&format!("ip link set {name} addrgenmode none"));
                end(&format!("ip link set {name} up"));
            }
            run(&format!("ip addr add fe80::1/64 dev {name} nodad"));
            // Debian's default drops replies that come by another way than the routes say; OpenWrt's does not.
            for conf in ["all", name] {
                run(&format!("sysctl -qw net.ipv4.conf.{conf}.rp_filter=0"));
            }
            far.run(&format!("ip addr add fe80::99/64 dev {name} nodad"));
        }
        far.run("ip addr add 198.51.100.1/32 dev lo");
        far.run("ip addr add 2001:db8::1/128 dev lo");
        far
    }

    fn run(&self, line: &str) -> String {
        run(&format!("nsenter --target {} --net {line}", self.0.0.id()))
    }
}

fn index(name: &str) -> u32 {
    if_nametoindex(name).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reply(source: &str, by: &str, token: u16) -> Reply {
    Reply { source: ip(source), ifindex: index(by), token }
}

/// Replies, waited for as the daemon does.
struct Ear {
    echo: Echo,
    poll: Poll,
}

impl Ear {
    fn open() -> Self {
        let mut echo = Echo::open().unwrap();
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut echo, Token(1), Interest::READABLE).unwrap();
        Self { echo, poll }
    }

    fn send(&mut self, by: &str, target: &str, token: u16) {
        self.echo.send(by.parse().unwrap(), ip(target), token).unwrap();
    }

    fn error(&mut self, by: &str, target: &str) -> String {
        self.echo.send(by.parse().unwrap(), ip(target), 0).unwrap_err().to_string()
    }

    /// Does anything wake us within this time?
    fn wakes(&mut self, within: Duration) -> bool {
        let mut events = Events::with_capacity(4);
        while let Err(error) = self.poll.poll(&mut events, Some(within)) {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
        !events.is_empty()
    }

    /// The next reply; nobody wakes us in vain.
    fn hear(&mut self) -> Reply {
        if let Some(reply) = self.echo.next().unwrap() {
            return reply;
        }
        assert!(self.wakes(PATIENCE), "no reply within {PATIENCE:?}");
        self.echo.next().unwrap().expect("woken in vain")
    }

    fn nothing(&mut self) {
        assert!(!self.wakes(Duration::from_millis(500)));
        assert_eq!(self.echo.next().unwrap(), None);
    }
}

#[test]
fn a_reply_tells_who_answered_by_which_interface_and_to_what() {
    let _far = Far::plug();
    let mut ear = Ear::open();
    for (by, target, token) in [
        ("one", "10.0.1.2", 0),
        ("two", "10.0.2.2", 1),
        ("one", "fd01::2", 0x1234),
        ("two", "fd02::2", 0xffff),
    ] {
        ear.send(by, target, token);
        assert_eq!(ear.hear(), reply(target, by, token));
    }
    // Several at once.
    for (by, target) in [("one", "10.0.1.2"), ("two", "10.0.2.2"), ("one", "fd01::2"), ("two", "fd02::2")] {
        ear.send(by, target, 7);
    }
    let mut heard: Vec<_> = (0..4).map(|_| ear.hear().source.to_string()).collect();
    heard.sort();
    assert_eq!(heard, ["10.0.1.2", "10.0.2.2", "fd01::2", "fd02::2"]);
    ear.nothing();
}

#[test]
fn a_link_local_target_is_the_one_at_that_interface() {
    let _far = Far::plug();
    let mut ear = Ear::open();
    for (by, token) in [("one", 1), ("two", 2), ("one", 3)] {
        ear.send(by, "fe80::99", token);
        assert_eq!(ear.hear(), reply("fe80::99", by, token));
    }
}

#[test]
fn a_request_goes_out_by_its_interface_whatever_the_routes_say() {
    let far = Far::plug();
    far.run("ip route add default via 10.0.1.1");
    let mut ear = Ear::open();
    // IPv4: by another device, unreachable, and none at all.
    run("ip route add 198.51.100.0/24 via 10.0.2.2 dev two");
    ear.send("one", "198.51.100.1", 1);
    assert_eq!(ear.hear(), reply("198.51.100.1", "one", 1));
    run("ip route add unreachable 198.51.100.1");
    ear.send("one", "198.51.100.1", 2);
    assert_eq!(ear.hear(), reply("198.51.100.1", "one", 2));
    run("ip route flush root 198.51.100.0/24");
    ear.send("one", "198.51.100.1", 3);
    assert_eq!(ear.hear(), reply("198.51.100.1", "one", 3));
    // IPv6 wants some route by the interface, however bad.
    run("ip -6 route add 2001:db8::/32 via fd01::2 dev one metric 4096");
    run("ip -6 route add 2001:db8::/32 via fd02::2 dev two metric 1");
    ear.send("one", "2001:db8::1", 4);
    assert_eq!(ear.hear(), reply("2001:db8::1", "one", 4));
    run("ip -6 route add unreachable 2001:db8::/32 metric 2");
    run("ip -6 route add unreachable 2001:db8::/64 metric 2");
    ear.send("one", "2001:db8::1", 5);
    assert_eq!(ear.hear(), reply("2001:db8::1", "one", 5));
}

#[test]
fn a_reply_by_another_interface_is_none() {
    let far = Far::plug();
    // Back by the other cable.
    far.run("ip route add 10.0.1.1/32 via 10.0.2.1 dev two");
    far.run("ip -6 route add fd01::1/128 via fd02::1 dev two");
    run("nft add table inet count");
    run("nft add chain inet count in { type filter hook input priority 0 ; }");
    run("nft add rule inet count in iifname two icmp type echo-reply counter");
    run("nft add rule inet count in iifname two icmpv6 type echo-reply counter");
    let mut ear = Ear::open();
    ear.send("one", "10.0.1.2", 1);
    ear.send("one", "fd01::2", 2);
    let arrived = || run("nft list table inet count").matches("packets 1 ").count();
    wait_until("both came by two", || arrived() == 2);
    assert_eq!(ear.echo.next().unwrap(), None);
    ear.send("two", "10.0.2.2", 3);
    while ear.wakes(Duration::from_millis(500)) {
        if let Some(heard) = ear.echo.next().unwrap() {
            assert_eq!(heard, reply("10.0.2.2", "two", 3));
            return;
        }
    }
    panic!("the right one is not heard");
}

#[test]
fn what_is_not_for_us_wakes_nobody() {
    let _far = Far::plug();
    let mut ear = Ear::open();
    let mut other = Ear::open();
    // Replies to others, requests to us, errors to others.
    for line in ["10.0.1.2", "fd01::2", "10.0.1.1", "fd01::1"] {
        run(&format!("ping -c 3 -i 0.01 {line}"));
    }
    other.send("one", "10.0.1.2", 1);
    other.send("one", "fd01::2", 2);
    assert_eq!((other.hear().token, other.hear().token), (1, 2));
    ear.nothing();
}

#[test]
fn no_reply_is_nothing_and_no_error() {
    let far = Far::plug();
    far.run("nft add table inet stop");
    far.run("nft add chain inet stop in { type filter hook input priority 0 ; }");
    far.run("nft add rule inet stop in icmp type echo-request drop");
    far.run("nft add rule inet stop in icmpv6 type echo-request drop");
    let mut ear = Ear::open();
    ear.send("one", "10.0.1.2", 1);
    ear.send("one", "fd01::2", 1);
    // Nobody is there.
    ear.send("one", "10.0.1.77", 1);
    ear.send("one", "fd01::77", 1);
    ear.nothing();
    far.run("nft delete table inet stop");
    ear.send("one", "10.0.1.2", 2);
    assert_eq!(ear.hear(), reply("10.0.1.2", "one", 2));
}

#[test]
fn what_can_not_be_sent_says_why() {
    let _far = Far::plug();
    let mut ear = Ear::open();
    assert_eq!(ear.error("nowhere", "10.0.1.2"), "nowhere: there is no such interface");
    assert_eq!(
        ear.error("one", "2001:db8::1"),
        "one: no route or no source address for 2001:db8::1 by this interface"
    );
    run("nft add table inet stop");
    run("nft add chain inet stop out { type filter hook output priority 0 ; policy drop ; }");
    assert_eq!(
        ear.error("one", "10.0.1.2"),
        "one: a firewall rule on this machine drops echo requests to 10.0.1.2"
    );
    run("nft delete table inet stop");
    run("ip link set one down");
    assert_eq!(ear.error("one", "10.0.1.2"), "one: the interface is down");
    assert_eq!(ear.error("one", "fd01::2"), "one: the interface is down");
    assert_eq!(ear.error("one", "fe80::99"), "one: the interface is down");
    // One that fails takes nothing from the others.
    ear.send("two", "10.0.2.2", 1);
    assert_eq!(ear.hear(), reply("10.0.2.2", "two", 1));
}

#[test]
fn a_large_request_goes_whole_or_not_at_all() {
    let far = Far::plug();
    let mut ear = Ear::open();
    for (target, too_large) in [("10.0.1.2", 1501), ("fd01::2", 1501)] {
        let mut send = |token, size| ear.echo.send_sized("one".parse().unwrap(), ip(target), token, size);
        send(1, 1500).unwrap();
        assert!(send(2, too_large).is_err(), "it does not fit the interface, and is not taken apart");
        assert_eq!(ear.hear(), reply(target, "one", 1));
    }
    // The other end takes what comes whole, and drops what is larger than this.
    far.run("nft add table inet narrow");
    far.run("nft add chain inet narrow in { type filter hook input priority 0 ; }");
    far.run("nft add rule inet narrow in meta length > 1400 drop");
    for target in ["10.0.1.2", "fd01::2"] {
        for (token, size) in [(3, 1400), (4, 1401)] {
            ear.echo.send_sized("one".parse().unwrap(), ip(target), token, size).unwrap();
        }
        assert_eq!(ear.hear(), reply(target, "one", 3));
    }
    ear.nothing();
}
