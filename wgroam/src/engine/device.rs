// SPDX-License-Identifier: GPL-2.0-only
//! What is known of one WireGuard interface.

use std::time::Instant;

use super::Reason;
use super::constants::*;
use super::look::{Looks, Ticks};
use super::peer::PeerState;
use super::rate::Rate;
use super::strangers::Strangers;
use crate::model::{Interface, PublicKey};
use crate::sorted::SortedMap;

/// One WireGuard interface.
#[derive(Debug)]
pub(super) struct DeviceState {
    pub interface: Interface,
    /// Since when it does not exist.
    pub gone: Option<Instant>,
    /// None before the first look.
    pub ifindex: Option<u32>,
    pub up: bool,
    pub public_key: Option<PublicKey>,
    pub listen_port: u16,
    pub fwmark: u32,
    /// Boxed: a map moves its entries about, and a peer's state is large.
    pub peers: SortedMap<PublicKey, Box<PeerState>>,
    pub strangers: Strangers,
    pub looks: Looks,
    /// Counts the looks.
    pub round: u32,
    /// It was reported as found, and not as gone since.
    pub announced: bool,
    /// How often it came back, and until when that counts as just now.
    pub returns: u32,
    pub returned_until: Option<Instant>,
    /// Our WAN changed, then.
    pub wan_changed: Option<Instant>,
    /// Who has no session is to try anew, since then: the clock was set, or the owner has everything looked at again.
    pub afresh: Option<(Instant, Reason)>,
    /// The owner wants all peers poked, since then.
    pub wished: Option<Instant>,
    /// Nobody on it answers, as of the last look.
    pub dead: bool,
    pub not_taken_reports: Rate,
}

impl DeviceState {
    pub fn new(interface: Interface, now: Instant, ticks: &Ticks) -> Self {
        Self {
            interface,
            gone: None,
            ifindex: None,
            up: false,
            public_key: None,
            listen_port: 0,
            fwmark: 0,
            peers: SortedMap::new(),
            strangers: Strangers::default(),
            looks: Looks::new(now, ticks),
            round: 0,
            announced: false,
            returns: 1,
            returned_until: None,
            wan_changed: None,
            afresh: None,
            wished: None,
            dead: false,
            not_taken_reports: Rate::default(),
        }
    }

    pub fn present(&self) -> bool {
        self.gone.is_none()
    }

    /// A link event: look now, and again while whoever made it may still be configuring it.
    pub fn settle(&mut self, now: Instant, ticks: &Ticks) {
        self.gone = None;
        self.looks.now(now, ticks);
        for delay in SETTLE {
            self.looks.at(now + delay, ticks);
        }
    }

    /// Peers that are there.
    pub fn present_peers(&self) -> impl Iterator<Item = &PeerState> {
        self.peers.values().map(Box::as_ref).filter(|peer| peer.absent.is_none())
    }

    /// Forgets those that are absent for long, or all absent ones when they are many.
    pub fn forget_absent(&mut self, now: Instant) {
        let absent = self.peers.values().filter(|peer| peer.absent.is_some()).count();
        if absent == 0 {
            return;
        }
        let keep = |peer: &PeerState| match peer.absent {
            Some(since) => absent <= ABSENT_MAX && now.saturating_duration_since(since) < ABSENT_FOR,
            None => true,
        };
        self.peers.retain(|_, peer| keep(peer));
    }
}
