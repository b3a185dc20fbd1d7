// SPDX-License-Identifier: GPL-2.0-only
//! The pure core: events in, actions out. It asks nobody for the time, a socket, a file or a name; whoever drives it
//! passes all of that in, so that the same events always give the same actions.

mod action;
mod event;
mod report;
mod status;

pub use action::{Action, Reason};
pub use event::{Command, Event, WanChange};
pub use report::Report;
pub use status::{DeviceStatus, Move, PeerStatus, Problem, Status, StrangerStatus};

use std::net::SocketAddr;

use crate::initiation::Timestamp;
use crate::model::{Interface, PublicKey, WallTime};

/// What survives a restart: one entry for each peer that was ever authenticated. The daemon keeps it in the state
/// file and hands it back to [`Engine::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The interface the peer belongs to.
    pub interface: Interface,
    /// Who it is.
    pub peer: PublicKey,
    /// The last endpoint that authenticated packets came from.
    pub endpoint: Option<SocketAddr>,
    /// When that was last confirmed, by our clock.
    pub confirmed: WallTime,
    /// The newest initiation timestamp seen of it.
    pub newest: Option<Timestamp>,
}
