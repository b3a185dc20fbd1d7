// SPDX-License-Identifier: GPL-2.0-only
//! What keeps a tunnel from working, found in three steps: [`gather`] asks the system for [`Facts`], [`judge`] makes
//! [`Check`]s of them and is pure, [`crate::render`] writes those down. Nothing is changed on the way, but for packets into
//! the tunnel.
//!
//! The checks stand in the order of causes: what has to work first comes first, so that the first one that is bad is
//! where to begin.

mod applied;
pub mod gather;
pub mod judge;
mod lan;
pub mod ruleset;
pub mod site;
mod told;

use std::net::{IpAddr, SocketAddr};

use crate::linux::resolver::ResolveError;
use crate::linux::trace::Trace;
use crate::linux::wireguard::Error;
use crate::model::{Device, Interface, Peer, PublicKey};
use crate::routing::{Prefix, Through};
use site::Site;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// One lower-case word for machines.
    pub name: &'static str,
    /// The peer that it is about, as a person calls it; None: the interface or the router.
    pub peer: Option<String>,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it; empty unless it is bad.
    pub remedy: String,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not as it should be, and the remedy is known.
    Bad,
    /// It could not be found out.
    Unknown,
    /// It makes no difference here.
    Skipped,
}

impl Verdict {
    /// One lower-case word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Bad => "bad",
            Verdict::Unknown => "unknown",
            Verdict::Skipped => "skipped",
        }
    }
}

/// A text that is always the same. Not inlined: there are many.
#[inline(never)]
fn text(words: &str) -> String {
    words.to_owned()
}

/// All that is known of one interface and what it needs.
#[derive(Debug)]
pub struct Facts {
    /// The tunnel.
    pub interface: Interface,
    /// What is wrong with the configuration, in words; None: nothing.
    pub mistake: Option<String>,
    /// The device as of the first look, or why there is none.
    pub device: Result<Device, Error>,
    /// Of the interface, in bytes; None: not known.
    pub mtu: Option<u16>,
    /// By our own clock, in seconds since 1970.
    pub now: u64,
    /// The newest time remembered, on the same scale.
    pub newest: u64,
    /// What the daemon says of this interface, as `wgroam status --json` does; None: it does not run.
    pub daemon: Option<String>,
    /// Peers of the configuration that the device does not have: name and key.
    pub missing: Vec<(String, PublicKey)>,
    /// What WireGuard lets peers of /etc/config/network send from, as far as it was asked.
    pub allowed: Vec<(PublicKey, Vec<Prefix>)>,
    /// The peers that were looked at.
    pub peers: Vec<PeerFacts>,
    /// So many more there are.
    pub left_out: usize,
    /// IPv6, and the way from the tunnel to the LAN.
    pub lan: LanFacts,
    /// What OpenWrt's own configuration says; None: this is no OpenWrt.
    pub site: Option<Site>,
    /// What nft says, as `nft list ruleset` prints it; None: it can't be asked.
    pub ruleset: Option<String>,
}

/// A peer and the way to it.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    /// As of the last look.
    pub peer: Peer,
    /// The name of its section, or its key.
    pub name: String,
    /// Is it dialed?
    pub dialed: bool,
    /// Does the daemon probe it at intervals?
    pub probed: bool,
    /// Is one of its candidates an address, which needs no name?
    pub has_address: bool,
    /// What its names stand for.
    pub names: Vec<(String, Result<Vec<IpAddr>, ResolveError>)>,
    /// Where its endpoint and its candidates are, and how packets would get there.
    pub ways: Vec<(SocketAddr, Leads)>,
    /// Whom an echo request was sent to, and whether that was asked for by `option probe`; None: nobody to ask.
    pub target: Option<(IpAddr, bool)>,
    /// What came of it.
    pub echo: Echoed,
    /// Something authenticated came while we looked.
    pub heard: bool,
    /// The largest echo, in bytes, that came back; None: none was sent.
    pub largest: Option<u16>,
    /// How far packets to it get, by UDP outside the tunnel; None: it was not necessary to ask.
    pub trace: Option<(SocketAddr, Trace)>,
}

/// Where packets to an address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// Nowhere.
    Nowhere,
    /// Into the tunnel itself.
    Inside,
    /// To this router itself.
    Here,
    /// By another interface, from this address of ours.
    By(Interface, Option<IpAddr>),
}

/// What came of an echo request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Echoed {
    /// None was sent.
    NotSent,
    /// It could not be sent: why.
    Failed(String),
    /// Nothing.
    Silent,
    /// A reply.
    Answered,
}

/// How IPv6 gets from the tunnel to the LAN, and from the LAN into the tunnel.
#[derive(Clone, Debug, Default)]
pub struct LanFacts {
    /// IPv6 routes that lead into the tunnel.
    pub through: Vec<Through>,
    /// Does the main table lead all of IPv4 into the tunnel: by a default route, or by both halves?
    pub everything: bool,
    /// wgroam refuses what is led into the tunnel.
    pub refused: bool,
    /// Does this router forward IPv6? None: not known.
    pub forwards: Option<bool>,
    /// The prefix for the LAN, if it is known.
    pub prefix: Option<Prefix>,
    /// The interface outside the tunnel that has an address in the prefix.
    pub holder: Option<(Interface, IpAddr)>,
    /// The interface by which the IPv6 Internet is reached, from the holder's address if there is one. None: nowhere.
    pub internet: Option<Interface>,
    /// Where the best default route leads that is not into the tunnel, IPv4 first, and whether it is IPv6's.
    pub uplink: Option<(Interface, bool)>,
}
