// SPDX-License-Identifier: GPL-2.0-only
//! What a world is, and what happens in it. Plain data, drawn from a seed (`draw.rs`) and the same for each play.

use std::time::Duration;

use crate::wireguard::Time;

pub const R1: usize = 0;
pub const R2: usize = 1;
/// The far end of R1's second tunnel.
pub const R3: usize = 2;

/// How an end hangs on the Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its own address is the one that the Internet sees.
    Public,
    /// Behind a NAT that forwards WireGuard's port.
    Forwarded,
    /// Behind a NAT as Linux makes it: the source port stays where it is free.
    Masqueraded,
    /// Behind a carrier's: the source port is anything. A name that it has means the carrier's address.
    Carrier,
}

impl Place {
    /// Can somebody call there?
    pub fn callable(self) -> bool {
        matches!(self, Place::Public | Place::Forwarded)
    }
}

/// What the tunnel carries of what R1 sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Some prefixes.
    Split,
    /// Everything, by routes of the main table. Endpoints have host routes by the uplink of the moment when the interface was set up.
    Everything,
    /// Everything, and rules lead packets that have WireGuard's fwmark around it.
    EverythingMarked,
}

/// Where a router's questions for names go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// Around the tunnel.
    Around,
    /// Into the tunnel: no answer while that is dead. `public`: the server would answer around it, too. It is in the Internet, or it
    /// is the café's, whose addresses are home's, too.
    Inside { public: bool },
}

/// A router and its place.
#[derive(Clone, Debug)]
pub struct End {
    pub place: Place,
    /// Has it the other's name, both WireGuard's configuration and wgroam's?
    pub names_other: bool,
    /// Only wgroam's configuration has the name, not WireGuard's.
    pub only_wgroam: bool,
    /// WireGuard's configuration has the address, not the name.
    pub literal: bool,
    /// Is there a second `list endpoint`, with the other port?
    pub second_port: bool,
    /// The first `list endpoint` is an address where nobody is.
    pub wrong_first: bool,
    /// None: the kernel chooses one.
    pub listen_port: Option<u16>,
    pub keepalive: u16,
    pub carries: Carries,
    pub servers: Servers,
    pub probe: Option<u16>,
    pub readd: bool,
    pub refuses: bool,
    pub clock_off: i64,
}

/// What a name means that does not mean the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// An address of the far LAN.
    Private,
    /// The far end's address inside the tunnel.
    Inside,
    Loopback,
    /// Somebody's page that sells names.
    Parked,
    /// Where it once was.
    Stale,
    /// Whoever asks.
    Own,
    /// There is no such name.
    Nothing,
    /// The truth, and behind it an address of the LAN.
    AlsoPrivate,
    /// The other way round.
    PrivateFirst,
    /// The truth, behind an IPv6 address to which there is no way.
    Ipv6First,
}

/// When a wrong clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSet {
    After(Duration),
    /// The time comes through the tunnel.
    ThroughTunnel,
}

/// Something that happens to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its link carries nothing for a while. `told`: the kernel notices, and says when it is over.
    Cut { time: Duration, told: bool },
    /// It leaves for another place. Afterwards no UDP passes for a while: a captive portal. Its name follows after some time.
    Move { off: Duration, portal: Duration, ddns: Duration },
    /// The NAT forgets its mappings.
    Forget,
    /// The NAT swallows whatever comes from the source port in use at first.
    Swallow { time: Duration },
    /// Nothing passes to the port that names go with.
    Block { time: Duration },
    /// It is off for a while, and begins anew, perhaps in the past.
    Reboot { off: Duration, behind: Option<(u64, ClockSet)>, memory: bool, moves: bool },
    /// The other's name means something else here for a while.
    Lie { lie: Lie, time: Duration },
    /// Nobody answers questions for names.
    NoNames { time: Duration },
    /// A script sets the endpoint to where the other is.
    Script,
    /// Somebody removes wgroam's routes.
    Hands,
    /// wgroam is restarted.
    Restart { memory: bool },
    /// A WAN event though nothing changed.
    Touch,
    /// A link is lost for a moment and back with the same address.
    Flap,
}

/// It happens to this end at this time.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Time,
    pub end: usize,
    pub what: What,
}

/// A world.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub ends: [End; 2],
    /// Has R1 a second tunnel, to R3? With one route over both?
    pub second: Option<bool>,
    /// Datagrams in a thousand that get lost.
    pub loss: u64,
    /// One way.
    pub latency: Duration,
    /// Only this end's LAN sends.
    pub only: Option<usize>,
    /// Lies from the beginning on come first.
    pub events: Vec<Event>,
    pub until: Time,
}

/// Chance as a function of what it is about: the same in each play, whatever else is sent there.
pub fn chance(seed: u64, time: Time, about: u64) -> u64 {
    let mut x = seed ^ (time.as_micros() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ about.rotate_left(32);
    for _ in 0..2 {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    x ^ (x >> 31)
}
