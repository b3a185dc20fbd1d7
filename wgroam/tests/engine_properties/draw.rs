// SPDX-License-Identifier: GPL-2.0-only
//! Events, and changes of devices, at random.

use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;
use wgroam::config::{self, Config};
use wgroam::engine::{Command, Event, Remembered};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Interface, PublicKey, WallTime};
use wgroam::wan::WanChange;

use super::outside::{Dns, Echo, Load, Reach};

pub type Key = (Interface, PublicKey);

/// What is done to the engine.
#[derive(Clone, Debug)]
pub enum Step {
    Wait(Duration),
    Event(Event),
    /// The device answers as it looks now, after this happened to it.
    Change(Interface, Change),
    Reload(Config),
    /// From now on this name is answered like this.
    Dns(usize, Dns),
    /// From now on this peer can be reached like this, and this is sent to it.
    Path(Interface, usize, Reach, Load),
    /// From now on probes through this interface fare like this.
    Echo(Interface, Echo),
    /// An echo reply comes out of nowhere: to the probe before the last one, or to none at all.
    Foreign(Interface, u16),
}

/// What happens to a device without the engine's doing.
#[derive(Clone, Debug)]
pub enum Change {
    Nothing,
    Recreated,
    Link(bool),
    /// Of this peer: bytes came in, a handshake was made, it moved (learned or set by the owner), is there or not.
    Received(usize, u64),
    Handshake(usize),
    Moved(usize, Option<SocketAddr>),
    There(usize, bool),
    Keepalive(usize, u16),
}

pub fn interface(n: usize) -> Interface {
    ["wg0", "wg1"][n].parse().unwrap()
}

pub fn key(n: usize) -> PublicKey {
    PublicKey([n as u8 + 1; 32])
}

pub fn address(n: u8) -> SocketAddr {
    // The last one is an address that nobody can have.
    if n == 5 { ([0, 0, 0, 0], 0).into() } else { ([203, 0, 113, n], 51820).into() }
}

pub fn verdict() -> impl Strategy<Value = Verdict> {
    let label = any::<u16>().prop_map(|n| {
        let mut label = [0; 12];
        label[6..8].copy_from_slice(&n.to_be_bytes());
        Timestamp(label)
    });
    prop_oneof![
        6 => (0..4_usize, label.clone()).prop_map(|(n, timestamp)| Verdict::Authentic { peer: key(n), timestamp }),
        1 => (0..4_usize, label, 0..100_u64).prop_map(|(n, timestamp, behind)| Verdict::Replay {
            peer: key(n),
            timestamp,
            behind: Duration::from_secs(behind)
        }),
        1 => any::<[u8; 32]>().prop_map(|claimed| Verdict::UnknownPeer { claimed: PublicKey(claimed) }),
        1 => proptest::option::of(0..4_usize).prop_map(|n| Verdict::Forged { claimed: n.map(key) }),
        1 => Just(Verdict::WrongKey),
        1 => Just(Verdict::Malformed),
    ]
}

pub fn change() -> impl Strategy<Value = Change> {
    let moved = (0..4_usize, proptest::option::of((0..6_u8).prop_map(address)));
    prop_oneof![
        1 => Just(Change::Nothing),
        1 => Just(Change::Recreated),
        1 => any::<bool>().prop_map(Change::Link),
        3 => (0..4_usize, 1..1000_u64).prop_map(|(n, bytes)| Change::Received(n, bytes)),
        2 => (0..4_usize).prop_map(Change::Handshake),
        3 => moved.prop_map(|(n, to)| Change::Moved(n, to)),
        1 => (0..4_usize, any::<bool>()).prop_map(|(n, there)| Change::There(n, there)),
        1 => (0..4_usize, prop_oneof![Just(0), Just(25)]).prop_map(|(n, k)| Change::Keepalive(n, k)),
    ]
}

pub fn wan() -> impl Strategy<Value = WanChange> {
    let eth0: Interface = "eth0".parse().unwrap();
    prop_oneof![
        Just(WanChange::Up(eth0)),
        Just(WanChange::Down(eth0)),
        Just(WanChange::Address(eth0, [192, 0, 2, 7].into())),
        Just(WanChange::Route(Some(eth0))),
        Just(WanChange::Route(None)),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let device = (0..2_usize).prop_map(interface);
    let event = prop_oneof![
        2 => device.clone().prop_map(|interface| Event::DeviceUp { interface }),
        1 => device.clone().prop_map(|interface| Event::DeviceGone { interface }),
        8 => (device.clone(), (0..6_u8).prop_map(address), verdict())
            .prop_map(|(interface, source, verdict)| Event::Initiation { interface, source, verdict }),
        2 => wan().prop_map(Event::WanChanged),
        1 => (0..2_000_000_000_u64).prop_map(|seconds| Event::ClockStepped { wall: WallTime { seconds, nanos: 0 } }),
        1 => (proptest::option::of(device.clone()), proptest::option::of((0..5_usize).prop_map(key)))
            .prop_map(|(interface, peer)| Event::Command(Command::Poke { interface, peer })),
        1 => Just(Event::Command(Command::Retry)),
    ];
    let wait = prop_oneof![
        Just(Duration::ZERO),
        (0..300_u64).prop_map(Duration::from_millis),
        (0..8_u64).prop_map(Duration::from_secs),
        (0..400_u64).prop_map(Duration::from_secs),
    ];
    prop_oneof![
        4 => wait.prop_map(Step::Wait),
        6 => event.prop_map(Step::Event),
        5 => (device, change()).prop_map(|(interface, change)| Step::Change(interface, change)),
        1 => any::<bool>().prop_map(|configured| Step::Reload(config(configured))),
    ]
}

/// Nothing configured, or wg0 alone with a section for one peer.
pub fn config(configured: bool) -> Config {
    if !configured {
        return Config::default();
    }
    let tunnel = config::Tunnel {
        interface: interface(0),
        enabled: true,
        unreachable: true,
        rotate_port: config::RotatePort::Auto,
    };
    let peer = config::Peer {
        name: "home".into(),
        tunnel: interface(0),
        public_key: key(0),
        endpoints: vec![],
        family: config::Family::Any,
        keepalive: Some(21),
        probe: None,
        probe_interval: 0,
        readd: false,
    };
    Config { tunnels: vec![tunnel], peers: vec![peer], ..Config::default() }
}

pub fn memory() -> Vec<Remembered> {
    let one = |n: usize| Remembered {
        interface: interface(n % 2),
        peer: key(n),
        endpoint: Some(address(n as u8)),
        confirmed: WallTime { seconds: 1_600_000_000, nanos: 0 },
        newest: (n != 2).then_some(Timestamp([0; 12])),
        good: vec![],
    };
    (0..3).map(one).collect()
}
