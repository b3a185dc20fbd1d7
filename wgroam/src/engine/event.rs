// SPDX-License-Identifier: GPL-2.0-only
//! What the engine is told.

use std::net::{IpAddr, SocketAddr};

use crate::initiation::Verdict;
use crate::model::{Device, Interface, PublicKey, WallTime};

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
    /// Our own way to the Internet changed. Already debounced, one event for one change.
    WanChanged(WanChange),
    /// The wall clock was set.
    ClockStepped {
        /// The wall clock after the step.
        wall: WallTime,
    },
    /// The owner asks.
    Command(Command),
}

/// How our own way to the Internet changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WanChange {
    /// A device that counts as WAN came up.
    Up(Interface),
    /// A device that counts as WAN went down or away.
    Down(Interface),
    /// It has another address.
    Address(Interface, IpAddr),
    /// Default routes changed: this device carries the best one of a family now, or none does.
    Route(Option<Interface>),
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
    /// Look at everything again (SIGHUP).
    LookAgain,
}
