// SPDX-License-Identifier: GPL-2.0-only
//! What is known of one peer, and what a look at it tells: did it move, and did something authenticated come from it?

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::chase::Chased;
use super::constants::*;
use super::rate::Rate;
use super::{Move, Reason};
use crate::model::{Peer, PublicKey, WallTime};

/// A look at a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// When the answer came.
    pub now: Instant,
    /// When the question was asked: what happened before is in the answer.
    pub asked: Instant,
    /// The wall clock of the answer.
    pub wall: WallTime,
    /// When the device was looked at before.
    pub last: Option<Instant>,
    /// Is the link up?
    pub up: bool,
}

/// What a look told of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Observed {
    /// Something authenticated came since the last look.
    pub life: bool,
    /// A handshake was completed since the last look.
    pub handshake: bool,
    /// The endpoint is another one: this was the old one.
    pub moved: Option<Option<SocketAddr>>,
    /// The endpoint is one that authenticated traffic came from.
    pub good: bool,
    /// A counter moved.
    pub traffic: bool,
    /// Bytes sent and received since the last look.
    pub sent: u64,
    pub received: u64,
}

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
            seen: nothing_of(public_key),
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
        self.seen = nothing_of(self.seen.public_key);
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
            // That a candidate was taken out says nothing about whether the peer is there.
            chased.origin = None;
            // Nor do echoes of what was asked before.
            (chased.rtt, chased.lost) = (None, 0);
            chased.ladder.iter_mut().for_each(|ladder| ladder.again(now));
        }
    }

    /// Takes in what a look showed.
    pub fn observe(&mut self, look: &Look, peer: &Peer) -> Observed {
        let first = !self.counted;
        let before = std::mem::replace(&mut self.seen, *peer);
        let appeared = std::mem::take(&mut self.appeared);
        (self.counted, self.absent) = (true, None);

        // A lower count is a new counter: the peer was removed and added between two looks.
        let base = if peer.rx_bytes < before.rx_bytes { 0 } else { before.rx_bytes };
        let sent_base = if peer.tx_bytes < before.tx_bytes { 0 } else { before.tx_bytes };
        let handshake = peer.last_handshake.is_some() && peer.last_handshake != before.last_handshake;
        let mut seen = Observed {
            life: !first && (peer.rx_bytes > base || handshake),
            handshake: !first && handshake,
            sent: if first { 0 } else { peer.tx_bytes - sent_base },
            received: if first { 0 } else { peer.rx_bytes - base },
            traffic: !first && (peer.rx_bytes != before.rx_bytes || peer.tx_bytes != before.tx_bytes),
            ..Observed::default()
        };
        // A link that went up had no session, as far as we knew (forget_session). What can be read says that it has:
        // wireguard-go keeps its sessions over that.
        let proven_alive = seen.life && self.handshake.is_none();
        self.note_handshake(look, peer, handshake || proven_alive, first || !handshake);
        if seen.life {
            self.note_life(look);
        }

        let ours = self.set.filter(|&(set, ..)| peer.endpoint == Some(set));
        if self.set.is_some_and(|(.., when)| ours.is_some() || look.asked > when) {
            self.set = None;
        }
        let changed = !same(peer.endpoint, before.endpoint);
        seen.good = peer.endpoint.is_some() && seen.life && !changed;
        match peer.endpoint {
            Some(new) if changed => {
                let reason = match ours {
                    Some((_, reason, _)) => reason,
                    None if !seen.life => Reason::Found,
                    None if self.proved_from(new, look.now) => Reason::Initiation,
                    None => Reason::Learned,
                };
                // A packet that WireGuard authenticated moved it there, hence it also came from there.
                seen.good =
                    matches!(reason, Reason::Learned) || (ours.is_none() && reason == Reason::Initiation);
                (self.reason, self.since, self.seeds) = (Some(reason), look.now, 0);
                if !(reason == Reason::Found && appeared) {
                    seen.moved = Some(before.endpoint);
                    self.note_move(look.now, before.endpoint, new, reason);
                }
            }
            Some(_) => {}
            None => self.reason = None,
        }
        seen
    }

    /// Something authenticated came: whatever was to be done about its silence is off.
    fn note_life(&mut self, look: &Look) {
        (self.not_taken, self.clock_behind) = (None, None);
        if let Some(pending) = &mut self.pending {
            pending.answered = true;
        }
        if let Some(errand) = self.errand.as_mut().filter(|errand| errand.reason == Reason::Initiation) {
            errand.set = None;
        }
        if let Some(repeat) = self.repeat.as_mut().filter(|repeat| repeat.due.is_some()) {
            repeat.answered |= Some(look.asked) > self.last_poke;
        }
        self.repeat.take_if(|repeat| repeat.needless());
    }

    fn note_handshake(&mut self, look: &Look, peer: &Peer, new: bool, first: bool) {
        match peer.last_handshake {
            None => self.handshake = None,
            Some(then) if new => {
                // After a step of the wall clock its difference says nothing; that it happened since the last look does.
                let by_wall = look.wall.since(then);
                let bound = look.last.filter(|_| !first).map(|last| look.now.saturating_duration_since(last));
                self.handshake = Some((bound.map_or(by_wall, |bound| by_wall.min(bound)), look.now));
            }
            Some(_) => {}
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

    /// Did an authentic initiation come from there lately?
    fn proved_from(&self, endpoint: SocketAddr, now: Instant) -> bool {
        self.verified.is_some_and(|(source, when)| {
            same(Some(source), Some(endpoint)) && now.saturating_duration_since(when) <= VERIFIED_FOR
        })
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

fn nothing_of(public_key: PublicKey) -> Peer {
    Peer { public_key, endpoint: None, last_handshake: None, rx_bytes: 0, tx_bytes: 0, keepalive: 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The second repeat is off when something came after the poke; what was on its way before tells nothing.
    #[test]
    fn only_what_comes_after_the_poke_answers_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut peer = PeerState::new(PublicKey([1; 32]), start, true);
        peer.last_poke = Some(at(100));
        let mut shown = peer.seen;
        for (step, asked, rx_bytes, repeats) in [(1, 101, 32, true), (2, 99, 64, true), (2, 101, 96, false)] {
            let (asked, wall) = (at(asked), WallTime::default());
            peer.repeat = Some(Repeat { step, answered: false, due: Some(at(1100)) });
            shown.rx_bytes = rx_bytes;
            peer.observe(&Look { now: at(102), asked, wall, last: Some(start), up: true }, &shown);
            assert_eq!(peer.repeat.is_some(), repeats);
        }
    }
}
