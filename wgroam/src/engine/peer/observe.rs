// SPDX-License-Identifier: GPL-2.0-only
//! What a look at a peer tells: did it move, and did something authenticated come from it?

use std::net::SocketAddr;
use std::time::Instant;

use super::super::Reason;
use super::super::constants::*;
use super::{PeerState, same};
use crate::model::{Peer, WallTime};

/// A look at a device.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Look {
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
pub(in crate::engine) struct Observed {
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

impl PeerState {
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

    /// Did an authentic initiation come from there lately?
    fn proved_from(&self, endpoint: SocketAddr, now: Instant) -> bool {
        self.verified.is_some_and(|(source, when)| {
            same(Some(source), Some(endpoint)) && now.saturating_duration_since(when) <= VERIFIED_FOR
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Repeat;
    use super::*;
    use crate::model::PublicKey;

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
