// SPDX-License-Identifier: GPL-2.0-only
//! What the engine is told.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::initiation::Verdict;
use crate::model::{Device, Interface, PublicKey, WallTime};
use crate::routing::RouteAnswer;
use crate::wan::WanChange;

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A WireGuard interface is there, or its link changed (created, re-created, up, down).
    DeviceUp {
        /// Its name.
        interface: Interface,
    },
    /// A WireGuard interface is gone.
    DeviceGone {
        /// Its name.
        interface: Interface,
    },
    /// The answer to [`super::Action::TakeSnapshot`]. When the device can't be read, [`Event::DeviceGone`] comes instead.
    Snapshot {
        /// What the device looks like.
        device: Device,
        /// The wall clock at that moment; handshake times are by the same clock.
        wall: WallTime,
    },
    /// An initiation came in on the wire and was verified.
    Initiation {
        /// The interface whose listen port it was for.
        interface: Interface,
        /// Where it came from. Bound by nothing but the verdict.
        source: SocketAddr,
        /// What it proves.
        verdict: Verdict,
    },
    /// Packets came in that may have been initiations, and were not looked at: too many, or the socket lost some.
    InitiationsMissed,
    /// [`super::Action::CopyInitiation`] was carried out: an initiation has left, and at least one copy of it.
    InitiationCopied {
        /// From this interface.
        interface: Interface,
        /// On behalf of this peer.
        peer: PublicKey,
    },
    /// All addresses that are this machine's own, and its links' broadcast addresses, sorted: at the start and with each change.
    /// Nobody else can be there.
    OwnAddresses(Vec<IpAddr>),
    /// Somebody removed a route of ours, or many changed at once: the engine asks for routes anew.
    RoutesChanged,
    /// Our own way to the Internet changed. Already debounced, one event for one change.
    WanChanged(WanChange),
    /// The wall clock was set.
    ClockStepped {
        /// The wall clock after the step.
        wall: WallTime,
    },
    /// The answer to [`super::Action::Resolve`].
    Resolved {
        /// The name that was asked for.
        host: String,
        /// Its addresses, in the order that the system gave them (RFC 6724), both families; or why there are none.
        answer: Result<Vec<IpAddr>, ResolveError>,
    },
    /// An answer to [`super::Action::Probe`] came in through the tunnel.
    ProbeReply {
        /// Out of this interface.
        interface: Interface,
        /// From this address.
        target: IpAddr,
        /// The token of the probe that it answers.
        token: u16,
    },
    /// The answer to [`super::Action::QueryRoutes`].
    Routes(RouteAnswer),
    /// The owner asks.
    Command(Command),
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// There is no such name, or it has no address.
    NotFound,
    /// Nobody could tell (no server, no network, an error of the server): what the system says about it.
    Temporary(String),
    /// No answer within the adapter's deadline.
    TimedOut,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ResolveError::NotFound => f.write_str("there is no such name, or it has no address"),
            ResolveError::Temporary(why) => f.write_str(why),
            ResolveError::TimedOut => f.write_str("no answer from the name server"),
        }
    }
}

/// A wish of the owner that the engine carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send something authenticated to these peers now.
    Poke {
        /// This interface only.
        interface: Option<Interface>,
        /// This peer only.
        peer: Option<PublicKey>,
    },
    /// Look at everything again, and let those try anew that have no session (SIGHUP).
    Retry,
}
