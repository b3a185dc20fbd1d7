// SPDX-License-Identifier: GPL-2.0-only
//! Peers that are dialed, at random: configurations with candidates, name servers, echoes, paths.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;
use wgroam::config::{Candidate, Config, Family, Peer, RotatePort, Tunnel};
use wgroam::engine::{Event, ResolveError};

use super::draw::{self, Step, address, interface, key};
use super::outside::{Answer, Dns, Echo, Load, Reach};

/// Names and addresses of candidates; the first three are names.
pub const HOSTS: [&str; 8] = [
    "a.example",
    "b.example",
    "c.example",
    "203.0.113.4",
    "2001:db8::4",
    "0.0.0.0",
    "127.0.0.1",
    "::ffff:203.0.113.4",
];

/// Addresses that names stand for; the last ones are nobody's.
pub fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        6 => (0..5_u8).prop_map(|n| address(n).ip()),
        3 => (0..3_u16).prop_map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])),
        1 => (5..8_u8).prop_map(|n| address(n).ip()),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let error = prop_oneof![
        Just(ResolveError::NotFound),
        Just(ResolveError::TimedOut),
        Just(ResolveError::Temporary("no".into())),
    ];
    prop_oneof![6 => vec(ip(), 0..4).prop_map(Ok), 2 => error.prop_map(Err)]
}

fn dns() -> impl Strategy<Value = Dns> {
    let time = prop_oneof![
        4 => (0..300_u64).prop_map(Duration::from_millis),
        1 => (0..45_u64).prop_map(Duration::from_secs),
    ];
    prop_oneof![1 => Just(Dns::Never), 6 => (time, answer()).prop_map(|(time, answer)| Dns::After(time, answer))]
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let host = prop_oneof![6 => 0..3_usize, 3 => 3..HOSTS.len()];
    (host, prop_oneof![Just(51820), Just(443)])
        .prop_map(|(host, port)| Candidate { host: HOSTS[host].into(), port })
}

/// The section of a peer.
pub fn section(device: usize, n: usize) -> impl Strategy<Value = Peer> {
    let family = prop_oneof![3 => Just(Family::Any), 1 => Just(Family::Ipv4), 1 => Just(Family::Ipv6)];
    let probe = option::of(Just(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n as u16 % 2])));
    let interval = prop_oneof![3 => Just(0), 1 => Just(1), 1 => Just(10)];
    let keepalive = option::of(Just(25));
    (vec(candidate(), 0..4), family, probe, interval, keepalive, any::<bool>()).prop_map(
        move |(endpoints, family, probe, probe_interval, keepalive, readd)| Peer {
            name: format!("peer{device}{n}"),
            tunnel: interface(device),
            public_key: key(n),
            endpoints,
            family,
            keepalive,
            probe,
            probe_interval: if probe.is_some() { probe_interval } else { 0 },
            readd,
        },
    )
}

fn tunnel(device: usize) -> impl Strategy<Value = Tunnel> {
    let rotate_port =
        prop_oneof![3 => Just(RotatePort::Auto), 1 => Just(RotatePort::Never), 2 => Just(RotatePort::Always)];
    (rotate_port, prop::bool::weighted(0.9)).prop_map(move |(rotate_port, enabled)| Tunnel {
        interface: interface(device),
        enabled,
        unreachable: true,
        rotate_port,
    })
}

/// Two tunnels and some of their peers, or peers without tunnel sections.
pub fn config() -> impl Strategy<Value = Config> {
    let peers =
        (section(0, 0), option::of(section(0, 1)), option::of(section(1, 0)), option::of(section(1, 2)));
    let tunnels = option::weighted(0.7, (tunnel(0), tunnel(1)));
    let listens = option::weighted(0.2, prop_oneof![Just(51820), Just(40_000)]);
    (peers, tunnels, listens).prop_map(|((first, second, third, fourth), tunnels, listens)| Config {
        tunnels: tunnels.map(|(first, second)| vec![first, second]).unwrap_or_default(),
        peers: [Some(first), second, third, fourth].into_iter().flatten().collect(),
        listen_ports: listens.map(|port| (interface(1), port)).into_iter().collect(),
        ..Config::default()
    })
}

fn reach() -> impl Strategy<Value = Reach> {
    prop_oneof![
        3 => Just(Reach::Nowhere),
        3 => Just(Reach::Anywhere),
        2 => (0..5_u8).prop_map(|n| Reach::Only(address(n))),
        1 => Just(Reach::OtherPort),
    ]
}

fn load() -> impl Strategy<Value = Load> {
    prop_oneof![2 => Just(Load::Nothing), 4 => Just(Load::BothWays), 1 => Just(Load::OneWay)]
}

fn echo() -> impl Strategy<Value = Echo> {
    prop_oneof![
        2 => Just(Echo::Lost),
        3 => (5..900_u64).prop_map(|time| Echo::After(Duration::from_millis(time))),
        1 => (1000..4000_u64).prop_map(|time| Echo::After(Duration::from_millis(time))),
        1 => Just(Echo::Foreign),
    ]
}

/// Waits, changes of the world outside, and what happens on the anchor side too.
pub fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![
        (0..300_u64).prop_map(Duration::from_millis),
        (0..8_u64).prop_map(Duration::from_secs),
        (0..40_u64).prop_map(Duration::from_secs),
        (0..300_u64).prop_map(Duration::from_secs),
    ];
    let device = || (0..2_usize).prop_map(interface);
    let resolved = (0..3_usize, answer())
        .prop_map(|(host, answer)| Event::Resolved { host: HOSTS[host].into(), answer });
    prop_oneof![
        8 => wait.prop_map(Step::Wait),
        4 => (0..3_usize, dns()).prop_map(|(host, dns)| Step::Dns(host, dns)),
        1 => resolved.prop_map(Step::Event),
        5 => (device(), 0..4_usize, reach(), load())
            .prop_map(|(device, n, reach, load)| Step::Path(device, n, reach, load)),
        2 => (device(), echo()).prop_map(|(device, echo)| Step::Echo(device, echo)),
        1 => (device(), 0..3_u16).prop_map(|(device, back)| Step::Foreign(device, back)),
        1 => config().prop_map(Step::Reload),
        1 => (0..3_usize).prop_map(Step::Steal),
        4 => draw::wan().prop_map(|change| Step::Event(Event::WanChanged(change))),
        6 => draw::step().prop_filter("no configuration of the other side", |step| !matches!(step, Step::Reload(_))),
    ]
}

/// All names answer, all peers are there and up, some of their traffic flows.
pub fn beginning() -> impl Strategy<Value = Vec<Step>> {
    let dns = |host| {
        vec(ip(), 1..3).prop_map(move |ips| Step::Dns(host, Dns::After(Duration::from_millis(20), Ok(ips))))
    };
    let path = |device, n| {
        (reach(), load()).prop_map(move |(reach, load)| Step::Path(interface(device), n, reach, load))
    };
    let names = (dns(0), dns(1), option::of(dns(2)));
    let paths = (path(0, 0), path(0, 1), path(1, 0), path(1, 2));
    (names, paths).prop_map(|((a, b, c), (first, second, third, fourth))| {
        let up = |n| Step::Event(Event::DeviceUp { interface: interface(n) });
        let steps = [Some(a), Some(b), c, Some(first), Some(second), Some(third), Some(fourth)];
        steps.into_iter().flatten().chain([up(0), up(1)]).collect()
    })
}
