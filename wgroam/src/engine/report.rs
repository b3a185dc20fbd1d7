// SPDX-License-Identifier: GPL-2.0-only
//! What the engine tells whoever watches: the log, `wgroam watch`, hook scripts.

use std::net::SocketAddr;

use super::{Reason, WanChange};
use crate::initiation::Verdict;
use crate::model::{Interface, PublicKey};

/// One thing worth telling. Repetitions are counted in the status, not told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// An interface is watched from now on.
    DeviceFound {
        /// Its name.
        interface: Interface,
        /// How many peers it has.
        peers: usize,
    },
    /// An interface that was watched is gone.
    DeviceGone {
        /// Its name.
        interface: Interface,
    },
    /// The interface was created anew; what its peers had taught it is lost.
    DeviceReturned {
        /// Its name.
        interface: Interface,
    },
    /// A peer's endpoint is another one now, whoever changed it.
    Moved {
        /// On this interface.
        interface: Interface,
        /// This peer.
        peer: PublicKey,
        /// Where it was.
        old: Option<SocketAddr>,
        /// Where it is.
        new: SocketAddr,
        /// Why we believe it.
        reason: Reason,
    },
    /// A peer was sent an authenticated packet.
    Poked {
        /// On this interface.
        interface: Interface,
        /// This peer.
        peer: PublicKey,
        /// Why.
        reason: Reason,
    },
    /// A packet that must not be believed.
    Stranger {
        /// For this interface.
        interface: Interface,
        /// From here.
        source: SocketAddr,
        /// What was wrong.
        verdict: Verdict,
    },
    /// An authentic initiation arrived, and WireGuard did not take it: a firewall, or an interface that is down.
    NotTaken {
        /// For this interface.
        interface: Interface,
        /// From this peer.
        peer: PublicKey,
        /// From here.
        source: SocketAddr,
        /// Is the link up? No: that is why.
        up: bool,
    },
    /// Our own WAN changed.
    WanChanged(WanChange),
    /// The wall clock was set.
    ClockStepped,
}
