// SPDX-License-Identifier: GPL-2.0-only
//! What is known of one peer.

mod observe;

pub(super) use observe::{Look, Observed};

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::chase::Chased;
use super::constants::*;
use super::rate::Rate;
use super::{Move, Reason};
use crate::model::{Peer, PublicKey};

/// An authentic initiation of which it is not known yet whether WireGuard took it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub source: SocketAddr,
    pub seen: Instant,
    /// Is it proven to be newer than something WireGuard took?
    pub fresh: bool,
    /// Did something authenticated come since the last look before it?
    pub answered: bool,
}

/// The pokes that are still to come after a change of our WAN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    /// Index into [`REPEAT_AFTER`].
    pub step: usize,
    /// Did something authenticated come since the poke?
    pub answered: bool,
    /// When the next one comes; none while the last one waits in the queue.
    pub due: Option<Instant>,
}

impl Repeat {
    /// The first one comes even when the poke was answered: what was under way by the old WAN when we left it makes
    /// wireguard-go go back there for good.
    fn needless(&self) -> bool {
        self.answered && self.step > 1
    }
}

/// A poke that waits for its turn, and the endpoint to set before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand {
    pub not_before: Instant,
    pub reason: Reason,
    pub set: Option<SocketAddr>,
    /// Clear the source address first.
    pub clear: bool,
    /// Remove the peer and add it again, with its new endpoint.
    pub readd: bool,
}

impl Errand {
    /// Is the source address cleared? Always after a change of our WAN.
    pub fn clears(&self) -> bool {
        self.clear || self.reason == Reason::WanChanged
    }

    /// When to look once more before its turn, if that is not so near that the look at this moment serves: what may
    /// undo something that WireGuard learned rests on a look within [`CLEAR_WITHIN`].
    pub fn look_before(&self, now: Instant) -> Option<Instant> {
        let moment = self.not_before.checked_sub(CLEAR_WITHIN)?;
        ((self.clears() || self.readd) && moment > now).then_some(moment)
    }
}

/// An initiation that WireGuard did not take.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotTaken {
    pub source: SocketAddr,
    pub up: bool,
    pub at: Instant,
}

/// An address and a port: 20 bytes, where a [`SocketAddr`] has 32. Histories are what a crowd costs most.
type Place = (IpAddr, u16);

/// A change of the endpoint.
#[derive(Clone, Copy, Debug)]
struct PastMove {
    at: Instant,
    old: Option<Place>,
    new: Place,
    reason: Reason,
}

/// What is known of one peer.
#[derive(Debug)]
pub(super) struct PeerState {
    /// As last looked at; emptied when the peer or its interface is created anew.
    pub seen: Peer,
    /// Are the counters of `seen` ones that a rise can be told from? Not before the first look.
    counted: bool,
    /// Was it not there at the last look, or on an interface that is no more?
    appeared: bool,
    /// The look that it was last seen in ([`super::device::DeviceState::round`]).
    pub round: u32,
    /// Since when it is not on the device any more.
    pub absent: Option<Instant>,
    /// Why the endpoint is what it is, and since when.
    pub reason: Option<Reason>,
    pub since: Instant,
    /// The last handshake: how old it was, and when that was noted.
    handshake: Option<(Duration, Instant)>,
    /// The last authentic initiation.
    pub verified: Option<(SocketAddr, Instant)>,
    /// The endpoint that we set and have not seen there yet.
    pub set: Option<(SocketAddr, Reason, Instant)>,
    /// How often the remembered endpoint was set in vain.
    pub seeds: u8,
    /// The return of the interface on which it was last poked.
    pub greeted: u32,
    /// The owner asked for a poke, then.
    pub wished: Option<Instant>,
    pub pending: Option<Pending>,
    pub repeat: Option<Repeat>,
    pub errand: Option<Errand>,
    pub pokes: Rate,
    pub last_poke: Option<Instant>,
    pub clock_behind: Option<(Duration, Instant)>,
    /// Only of a peer that we go to, or probe.
    pub chased: Option<Box<Chased>>,
    pub not_taken: Option<NotTaken>,
    pub moves: u64,
    /// The latest first.
    history: VecDeque<PastMove>,
}

impl PeerState {
    /// A peer that was just seen. `counted`: it appeared under our eyes, so that its counters started at zero.
    pub fn new(public_key: PublicKey, now: Instant, counted: bool) -> Self {
        Self {
            seen: Peer::new(public_key),
            counted,
            appeared: true,
            round: 0,
            absent: None,
            reason: None,
            since: now,
            handshake: None,
            verified: None,
            set: None,
            seeds: 0,
            greeted: 0,
            wished: None,
            pending: None,
            repeat: None,
            errand: None,
            pokes: Rate::default(),
            last_poke: None,
            clock_behind: None,
            chased: None,
            not_taken: None,
            moves: 0,
            history: VecDeque::new(),
        }
    }

    /// WireGuard lost all it knew of the peer. Its history and its limits stay.
    pub fn reset(&mut self) {
        self.seen = Peer::new(self.seen.public_key);
        (self.counted, self.appeared) = (true, true);
        self.reason = None;
        self.forget_session();
        self.set = None;
        self.seeds = 0;
        self.pending = None;
        self.repeat = None;
        if let Some(chased) = &mut self.chased {
            chased.reset();
        }
    }

    /// WireGuard lost the session: the link went down and up.
    pub fn forget_session(&mut self) {
        self.handshake = None;
    }

    /// How long ago the last handshake was completed. By the wall clock only for the time before we saw it.
    pub fn handshake_age(&self, now: Instant) -> Option<Duration> {
        let (age, noted) = self.handshake?;
        Some(age.saturating_add(now.saturating_duration_since(noted)))
    }

    /// Is there a session that WireGuard can send with?
    pub fn alive(&self, now: Instant) -> bool {
        self.handshake_age(now).is_some_and(|age| age < REJECT_AFTER)
    }

    /// Did WireGuard never hear of it: no handshake, not a byte? It counts the bytes of every initiation that it takes
    /// (receive.c: wg_receive_handshake_packet), so it holds no newest timestamp of such a peer: adding it again forgets
    /// nothing that keeps replays away.
    pub fn unheard(&self) -> bool {
        self.seen.last_handshake.is_none() && self.seen.rx_bytes == 0
    }

    /// It answers: it is not to be moved away from there, nor to lose its session.
    pub fn stand_down(&mut self) {
        let Some(errand) = &mut self.errand else { return };
        errand.readd = false;
        if errand.reason == Reason::Candidate {
            errand.set = None;
        }
    }

    /// Its section changed: what was decided by the old one is void, and all that the new one says is untried.
    pub fn begin_anew(&mut self, now: Instant) {
        self.stand_down();
        if let Some(chased) = &mut self.chased {
            chased.probes.forget_target();
            // That a candidate was taken out says nothing about whether the peer is there.
            chased.origin = None;
            chased.ladder.iter_mut().for_each(|ladder| ladder.again(now));
        }
    }

    /// It is poked now: when the next repeat comes, if one does.
    pub fn next_repeat(&mut self, now: Instant) -> Option<Instant> {
        let repeat = self.repeat.as_mut().filter(|repeat| repeat.due.is_none())?;
        repeat.due = REPEAT_AFTER.get(repeat.step).map(|&after| now + after);
        repeat.step += 1;
        if repeat.needless() {
            repeat.due = None;
        }
        let due = repeat.due;
        if due.is_none() {
            self.repeat = None;
        }
        due
    }

    fn note_move(&mut self, at: Instant, old: Option<SocketAddr>, new: SocketAddr, reason: Reason) {
        self.moves = self.moves.saturating_add(1);
        self.history.truncate(HISTORY - 1);
        let place = |endpoint: SocketAddr| (endpoint.ip(), endpoint.port());
        self.history.push_front(PastMove { at, old: old.map(place), new: place(new), reason });
    }

    /// The last moves, the latest first.
    pub fn history(&self, now: Instant) -> Vec<Move> {
        let one = |past: &PastMove| Move {
            age: now.saturating_duration_since(past.at),
            old: past.old.map(SocketAddr::from),
            new: past.new.into(),
            reason: past.reason,
        };
        self.history.iter().map(one).collect()
    }
}

/// Are these the same place? A scope or flow label, which one source of endpoints knows and another does not, makes no
/// difference.
pub(super) fn same(a: Option<SocketAddr>, b: Option<SocketAddr>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.ip() == b.ip() && a.port() == b.port(),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Can a peer be there? Not at port 0, nowhere, everywhere, or at a link-local address without its link.
pub(super) fn usable(endpoint: SocketAddr) -> bool {
    let link_known = match endpoint {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(v6) => !v6.ip().is_unicast_link_local() || v6.scope_id() != 0,
    };
    let nobody = match endpoint.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    endpoint.port() != 0 && link_known && !nobody
}
