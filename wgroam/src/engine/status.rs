// SPDX-License-Identifier: GPL-2.0-only
//! What is known, for people and programs: plain data, rendered elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Evidence, Reason, Step};
use crate::initiation::Verdict;
use crate::model::{Interface, PublicKey, WallTime};
use crate::routing::{OwnRoute, Purpose};

/// All that the engine knows at one moment. Ages count back from that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// By how much our own clock is behind the newest time that we remember; None unless it looks wrong.
    pub clock_behind: Option<Duration>,
    /// Interfaces by name.
    pub devices: Vec<DeviceStatus>,
}

/// A WireGuard interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Its name.
    pub interface: Interface,
    /// False while it does not exist.
    pub present: bool,
    /// Is the link up?
    pub up: bool,
    /// None while no private key is set.
    pub public_key: Option<PublicKey>,
    /// UDP port.
    pub listen_port: u16,
    /// Routes of ours for this tunnel, and what each is for.
    pub routes: Vec<(OwnRoute, Purpose)>,
    /// By key.
    pub peers: Vec<PeerStatus>,
    /// Those whose packets were not believed, the latest first.
    pub strangers: Vec<StrangerStatus>,
    /// Packets that were not believed and of which no more is known (the list above is bounded).
    pub strangers_forgotten: u64,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub public_key: PublicKey,
    /// The name of its section in the configuration.
    pub name: Option<String>,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// Why we believe that.
    pub reason: Option<Reason>,
    /// For how long it has been there, as far as we saw.
    pub endpoint_age: Option<Duration>,
    /// When the last handshake was completed, by the wall clock.
    pub last_handshake: Option<WallTime>,
    /// How long ago that was when it was last looked at, plus the time since.
    pub handshake_age: Option<Duration>,
    /// Is there a session that WireGuard can send with (a handshake younger than REJECT_AFTER_TIME)?
    pub alive: bool,
    /// Bytes received, authenticated ones only.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Persistent keepalive in seconds, 0 = off.
    pub keepalive: u16,
    /// How often it moved since we watch.
    pub moves: u64,
    /// The last moves, the latest first.
    pub history: Vec<Move>,
    /// Only of a peer that is dialed, or probed.
    pub dial: Option<DialStatus>,
    /// What is wrong with it, in the order of weight; empty when nothing is known to be.
    pub problems: Vec<Problem>,
}

/// What is known of the way to a peer that is dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialStatus {
    /// It is silent: what says so, and for how long.
    pub silent: Option<(Evidence, Duration)>,
    /// Where it may be, in the order of the configuration.
    pub candidates: Vec<CandidateStatus>,
    /// What was done about its silence and how long ago, the latest first.
    pub steps: Vec<(Duration, Step)>,
    /// The round trip of the last probe that was answered.
    pub round_trip: Option<Duration>,
}

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateStatus {
    /// A name or an address.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// What it stands for, both families.
    pub addresses: Vec<IpAddr>,
    /// Why nothing newer is known.
    pub error: Option<String>,
}

/// What is wrong with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Its clock is behind the newest initiation seen of it: WireGuard drops what it sends.
    ClockBehind {
        /// By how much.
        behind: Duration,
        /// How long ago that was seen.
        age: Duration,
    },
    /// Its authentic initiations arrive, and WireGuard does not take them.
    NotTaken {
        /// From here.
        source: SocketAddr,
        /// Is the link up?
        up: bool,
        /// How long ago that was seen.
        age: Duration,
    },
    /// The target of its probes does not answer, though the peer does: they tell nothing of silence.
    ProbeMute {
        /// Of the probes.
        target: IpAddr,
    },
}

/// A change of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// How long ago.
    pub age: Duration,
    /// From.
    pub old: Option<SocketAddr>,
    /// To.
    pub new: SocketAddr,
    /// Why.
    pub reason: Reason,
}

/// Somebody whose packets were not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrangerStatus {
    /// The last source.
    pub source: SocketAddr,
    /// What was wrong with the last one.
    pub verdict: Verdict,
    /// How many.
    pub packets: u64,
    /// How long ago the first came.
    pub first_age: Duration,
    /// How long ago the last came.
    pub last_age: Duration,
}
