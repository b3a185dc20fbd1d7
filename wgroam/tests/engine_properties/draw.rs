// SPDX-License-Identifier: GPL-2.0-only
//! Events, and changes of devices, at random.

use proptest::prelude::*;
use std::net::{Ipv4Addr, SocketAddr};
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
    /// The peer calls, or somebody plays a recording of its call.
    Call(Interface, usize, Call),
    /// Somebody removes one of our routes: the first, the second ...
    Steal(usize),
}

/// An authentic initiation.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub source: SocketAddr,
    /// So long ago it was made.
    pub age: Duration,
    pub fate: Fate,
}

/// What WireGuard does with an initiation, if it is newer than those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never gets there.
    Dropped,
    /// It is taken, and the answer gets lost.
    Taken,
    /// There is a new session.
    Completed,
}

/// What happens to a device without the engine's doing.
#[derive(Clone, Debug)]
pub enum Change {
    Nothing,
    Recreated,
    Link(bool),
    /// Of this peer: bytes came in, a handshake was made, somebody set its endpoint, it sent from elsewhere, is there or not.
    Received(usize, u64),
    Handshake(usize),
    Moved(usize, Option<SocketAddr>),
    Roamed(usize, SocketAddr, u64),
    /// Somebody sets the listen port.
    Port(u16),
    There(usize, bool),
    Keepalive(usize, u16),
}

pub fn interface(n: usize) -> Interface {
    ["wg0", "wg1"][n].parse().unwrap()
}

pub fn key(n: usize) -> PublicKey {
    PublicKey([n as u8 + 1; 32])
}

/// Where somebody may be, and from 5 on where nobody can be.
pub fn address(n: u8) -> SocketAddr {
    match n {
        5 => ([0, 0, 0, 0], 0).into(),
        6 => ([127, 0, 0, 1], 51820).into(),
        7 => (Ipv4Addr::from([203, 0, 113, 3]).to_ipv6_mapped(), 51820).into(),
        n => ([203, 0, 113, n], 51820).into(),
    }
}

/// Addresses that are this machine's own at times.
fn own() -> impl Strategy<Value = Event> {
    proptest::collection::btree_set(2..5_u8, 0..2)
        .prop_map(|own| Event::OwnAddresses(own.into_iter().map(|n| address(n).ip()).collect()))
}

fn call() -> impl Strategy<Value = Call> {
    let age = prop_oneof![
        4 => Just(Duration::ZERO),
        2 => (0..8_000_u64).prop_map(Duration::from_millis),
        1 => (0..400_u64).prop_map(Duration::from_secs),
    ];
    let fate = prop_oneof![3 => Just(Fate::Dropped), 1 => Just(Fate::Taken), 3 => Just(Fate::Completed)];
    ((0..8_u8).prop_map(address), age, fate).prop_map(|(source, age, fate)| Call { source, age, fate })
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
        2 => (0..4_usize, 0..5_u8, 1..1000_u64).prop_map(|(n, to, bytes)| Change::Roamed(n, address(to), bytes)),
        1 => prop_oneof![Just(51820), Just(40_000_u16), Just(443)].prop_map(Change::Port),
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
        6 => (device.clone(), (0..8_u8).prop_map(address), verdict())
            .prop_map(|(interface, source, verdict)| Event::Initiation { interface, source, verdict }),
        2 => wan().prop_map(Event::WanChanged),
        1 => (0..2_000_000_000_u64).prop_map(|seconds| Event::ClockStepped { wall: WallTime { seconds, nanos: 0 } }),
        1 => (proptest::option::of(device.clone()), proptest::option::of((0..5_usize).prop_map(key)))
            .prop_map(|(interface, peer)| Event::Command(Command::Poke { interface, peer })),
        1 => Just(Event::Command(Command::Retry)),
        1 => own(),
        1 => Just(Event::InitiationsMissed),
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
        5 => (device.clone(), change()).prop_map(|(interface, change)| Step::Change(interface, change)),
        3 => (device, 0..4_usize, call()).prop_map(|(interface, n, call)| Step::Call(interface, n, call)),
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
