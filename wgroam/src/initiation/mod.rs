// SPDX-License-Identifier: GPL-2.0-only
//! What a handshake initiation proves. Bytes in, a [`Verdict`] out: no socket, no clock.
//!
//! [`Responder`] plays the responder of the WireGuard whitepaper (section 5.4.2) up to the point where the initiator is
//! known, and answers nothing. What each check proves, and why the preshared key and mac2 play no part:
//! docs/design/cryptography.md.

mod noise;
mod responder;
mod timestamp;

use std::time::Duration;

use crate::model::PublicKey;

pub use responder::Responder;
pub use timestamp::{NotATimestamp, Timestamp};

/// Bytes of a handshake initiation, the UDP payload (whitepaper 5.4.2).
pub const INITIATION_LENGTH: usize = 148;

/// What an initiation turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It comes from this peer, and is newer than all we saw of it. The only verdict that may move an endpoint.
    Authentic {
        /// Who.
        peer: PublicKey,
        /// When, by the peer's clock.
        timestamp: Timestamp,
    },
    /// It was made by this peer, but an equally new or newer one was seen before: a repetition, or its clock went back.
    Replay {
        /// Who made it, some time.
        peer: PublicKey,
        /// Its time.
        timestamp: Timestamp,
        /// How far it lies behind the newest one; zero for the same one again.
        behind: Duration,
    },
    /// The sender claims a key that no peer has. Not proven: the claim may be false.
    UnknownPeer {
        /// The claimed key.
        claimed: PublicKey,
    },
    /// Claims to be a peer and fails to prove it, or was damaged under way.
    Forged {
        /// The peer it claims to be, when it gets that far.
        claimed: Option<PublicKey>,
    },
    /// mac1 is wrong: made for another responder's key (or noise).
    WrongKey,
    /// Not an initiation at all: length, type or reserved bytes.
    Malformed,
}
