// SPDX-License-Identifier: GPL-2.0-only
//! What WireGuard shows of a peer, snapshot by snapshot: did it move, and did something authenticated come from it?

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::constants::*;
use super::super::instant::Instant;
use super::super::{Move, Reason};
use super::{Calls, same};
use crate::model::{Peer, PublicKey, WallTime};

/// A snapshot of a device, as far as it concerns all of its peers.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Poll {
    /// When the answer came.
    pub now: Instant,
    /// When the question was asked: what happened before is in the answer.
    pub asked: Instant,
    /// The wall clock of the answer.
    pub wall: WallTime,
    /// When the snapshot before came.
    pub last: Option<Instant>,
    /// Is the link up?
    pub up: bool,
}

/// What a snapshot told of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Observed {
    /// Something authenticated came since the last snapshot.
    pub life: bool,
    /// A handshake was completed since the last snapshot.
    pub handshake: bool,
    /// Something came, but nothing that a session alone can have sent: the peer's calls, or recordings of them.
    pub calls_only: bool,
    /// The endpoint is another one: this was the old one.
    pub moved: Option<Option<SocketAddr>>,
    /// The endpoint is one that authenticated traffic came from.
    pub good: bool,
    /// A counter moved.
    pub traffic: bool,
    /// Bytes sent and received since the last snapshot.
    pub sent: u64,
    pub received: u64,
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

/// What WireGuard has of a peer.
#[derive(Debug)]
pub(in crate::engine) struct Contact {
    /// As last shown; emptied when the peer or its interface is created anew.
    pub seen: Peer,
    /// Are the counters of `seen` ones that a rise can be told from? Not before the first snapshot.
    counted: bool,
    /// Was it not there in the last snapshot, or on an interface that is no more?
    appeared: bool,
    /// Why the endpoint is what it is, and since when.
    pub reason: Option<Reason>,
    pub since: Instant,
    /// Did something authenticated come since it is there?
    proven: bool,
    /// The last handshake: how old it was, and when that was noted.
    handshake: Option<(Duration, Instant)>,
    /// The endpoint that we set and have not seen there yet.
    pub set: Option<(SocketAddr, Reason, Instant)>,
    /// How often the remembered endpoint was set in vain.
    seeds: u8,
    pub moves: u64,
    /// The latest last.
    history: Vec<PastMove>,
}

impl Contact {
    /// See [`super::Peer::new`].
    pub fn new(public_key: PublicKey, now: Instant, counted: bool) -> Self {
        Self {
            seen: Peer::new(public_key),
            counted,
            appeared: true,
            reason: None,
            since: now,
            proven: false,
            handshake: None,
            set: None,
            seeds: 0,
            moves: 0,
            history: Vec::new(),
        }
    }

    /// WireGuard lost all it knew of the peer.
    pub fn reset(&mut self) {
        self.seen = Peer::new(self.seen.public_key);
        (self.counted, self.appeared, self.proven) = (true, true, false);
        (self.reason, self.set, self.seeds) = (None, None, 0);
        self.forget_session();
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

    /// Does this show that something came that is more than calls?
    pub fn shows_answer(&self, shown: &Peer) -> bool {
        let received = shown.rx_bytes.checked_sub(self.seen.rx_bytes).unwrap_or(shown.rx_bytes);
        let calls = Self::explain_calls(shown, received);
        self.counted && (self.shows_handshake(shown) || (received > 0 && !calls))
    }

    fn shows_handshake(&self, shown: &Peer) -> bool {
        shown.last_handshake.is_some() && shown.last_handshake != self.seen.last_handshake
    }

    /// Are so many bytes that came without a handshake calls? Where there never was a handshake nothing else is taken, however
    /// much it is. (How old the last one is says nothing here: the clock may have been set since.)
    #[inline(never)]
    fn explain_calls(shown: &Peer, received: u64) -> bool {
        shown.last_handshake.is_none() || received == INITIATION_BYTES || received == 2 * INITIATION_BYTES
    }

    /// Is the endpoint one that we set, and nothing has come from there yet? Any other is WireGuard's or the owner's own.
    pub fn is_on_trial(&self) -> bool {
        let ours = matches!(self.reason, Some(Reason::Candidate | Reason::Remembered));
        self.set.is_some() || (ours && !self.proven)
    }

    /// May the remembered endpoint be set (once more)?
    pub fn may_be_seeded(&self) -> bool {
        self.set.is_none() && self.seeds < SEEDS
    }

    /// Told to WireGuard just now.
    pub fn note_set(&mut self, now: Instant, endpoint: SocketAddr, reason: Reason) {
        self.set = Some((endpoint, reason, now));
        self.seeds = self.seeds.saturating_add(1);
    }

    /// Takes in what a snapshot showed.
    pub fn observe(&mut self, poll: &Poll, peer: &Peer, calls: &Calls) -> Observed {
        let first = !self.counted;
        let handshake = self.shows_handshake(peer);
        let before = std::mem::replace(&mut self.seen, *peer);
        let appeared = std::mem::take(&mut self.appeared);
        self.counted = true;

        // A lower count is a new counter: the peer was removed and added between two snapshots.
        let base = if peer.rx_bytes < before.rx_bytes { 0 } else { before.rx_bytes };
        let sent_base = if peer.tx_bytes < before.tx_bytes { 0 } else { before.tx_bytes };
        let mut seen = Observed {
            life: !first && (peer.rx_bytes > base || handshake),
            handshake: !first && handshake,
            sent: if first { 0 } else { peer.tx_bytes - sent_base },
            received: if first { 0 } else { peer.rx_bytes - base },
            traffic: !first && (peer.rx_bytes != before.rx_bytes || peer.tx_bytes != before.tx_bytes),
            ..Observed::default()
        };
        seen.calls_only = seen.life && !handshake && Self::explain_calls(peer, seen.received);
        // A link that went up had no session, as far as we knew (forget_session). What can be read says that it has:
        // wireguard-go keeps its sessions over that.
        let proven_alive = seen.life && self.handshake.is_none();
        self.note_handshake(poll, peer, handshake || proven_alive, first || !handshake);
        let ours = self.set.filter(|&(set, ..)| peer.endpoint == Some(set));
        if self.set.is_some_and(|(.., when)| ours.is_some() || poll.asked > when) {
            self.set = None;
        }
        let changed = !same(peer.endpoint.as_ref(), before.endpoint.as_ref());
        // A move shows only that something authenticated came, and a call that WireGuard takes may be a recording. What comes
        // later from there, and is no call, is the far end of the session's.
        seen.good = peer.endpoint.is_some() && seen.life && !changed && !seen.calls_only && calls.silent();
        match peer.endpoint {
            Some(new) if changed => {
                let reason = match ours {
                    Some((_, reason, _)) => reason,
                    None if !seen.life => Reason::Found,
                    None if calls.came_from(new, poll.now) => Reason::Initiation,
                    None => Reason::Learned,
                };
                (self.reason, self.since, self.seeds) = (Some(reason), poll.now, 0);
                self.proven = false;
                if !(reason == Reason::Found && appeared) {
                    seen.moved = Some(before.endpoint);
                    self.note_move(poll.now, before.endpoint, new, reason);
                }
            }
            Some(_) => {}
            None => self.reason = None,
        }
        // Whatever WireGuard authenticates moves the endpoint to where it came from. For what is being tried that will do: it
        // is an address of the configuration.
        self.proven |= seen.life && peer.endpoint.is_some();
        seen
    }

    fn note_handshake(&mut self, poll: &Poll, peer: &Peer, new: bool, first: bool) {
        match peer.last_handshake {
            None => self.handshake = None,
            Some(then) if new => {
                // After a step of the wall clock its difference says nothing; that it happened since the last snapshot does.
                let by_wall = poll.wall.since(then);
                let bound = poll.last.filter(|_| !first).map(|last| poll.now.saturating_duration_since(last));
                self.handshake = Some((bound.map_or(by_wall, |bound| by_wall.min(bound)), poll.now));
            }
            Some(_) => {}
        }
    }

    fn note_move(&mut self, at: Instant, old: Option<SocketAddr>, new: SocketAddr, reason: Reason) {
        self.moves = self.moves.saturating_add(1);
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        let place = |endpoint: SocketAddr| (endpoint.ip(), endpoint.port());
        self.history.push(PastMove { at, old: old.map(place), new: place(new), reason });
    }

    /// The last moves, the latest first.
    pub fn history(&self, now: Instant) -> Vec<Move> {
        let mut moves = Vec::new();
        for &PastMove { at, old, new, reason } in self.history.iter().rev() {
            let age = now.saturating_duration_since(at);
            moves.push(Move { age, old: old.map(endpoint), new: endpoint(new), reason });
        }
        moves
    }
}

#[inline(never)]
fn endpoint(place: Place) -> SocketAddr {
    place.into()
}
