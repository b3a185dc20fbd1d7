// SPDX-License-Identifier: GPL-2.0-only
//! The queue of pokes: each peer stands in it at most once, none is poked too often, and a crowd is paced.

use std::net::SocketAddr;
use std::time::Instant;

use super::constants::*;
use super::peer::{Errand, PeerState, same};
use super::{Action, Engine, Reason, Report};
use crate::model::{Interface, PublicKey};
use crate::sorted::SortedMap;

/// Who waits, in the order of their turn. What for is in [`PeerState::errand`].
#[derive(Debug, Default)]
pub(super) struct Errands {
    queue: SortedMap<(Instant, Interface, PublicKey), ()>,
    /// The current [`PACE_TICK`], and how many had their turn in it.
    tick: Option<Instant>,
    served: u32,
}

impl Errands {
    /// Puts a peer into the queue, or adds to what it already waits for. An endpoint that is to be set stays so until a
    /// newer one replaces it.
    pub fn add(
        &mut self,
        now: Instant,
        interface: Interface,
        peer: &mut PeerState,
        reason: Reason,
        set: Option<SocketAddr>,
    ) {
        if let Some(waiting) = &mut peer.errand {
            if set.is_some() {
                (waiting.set, waiting.reason) = (set, reason);
            }
            return;
        }
        let not_before = turn(now, peer);
        peer.errand = Some(Errand { not_before, reason, set, clear: false, readd: false });
        self.queue.insert((not_before, interface, peer.seen.public_key), ());
    }

    /// Takes a peer out of the queue, with its errand.
    pub fn cancel(&mut self, interface: Interface, peer: &mut PeerState) {
        if let Some(errand) = peer.errand.take() {
            self.queue.remove(&(errand.not_before, interface, peer.seen.public_key));
        }
    }

    /// The next whose turn it is.
    pub fn next(&mut self, now: Instant) -> Option<(Interface, PublicKey)> {
        if self.deadline()? > now {
            return None;
        }
        if self.tick.is_none_or(|tick| now >= tick + PACE_TICK) {
            (self.tick, self.served) = (Some(now), 0);
        }
        self.served += 1;
        self.queue.pop_first().map(|((_, interface, peer), ())| (interface, peer))
    }

    /// When somebody has a turn.
    pub fn deadline(&self) -> Option<Instant> {
        let (first, ..) = *self.queue.first_key()?;
        match self.tick {
            Some(tick) if self.served >= PACE_POKES => Some(first.max(tick + PACE_TICK)),
            _ => Some(first),
        }
    }
}

/// When a peer may be poked next.
pub(super) fn turn(now: Instant, peer: &PeerState) -> Instant {
    let spaced = peer.last_poke.map_or(now, |last| last + POKE_SPACING);
    peer.pokes.earliest(now, POKE_BURST, POKE_REFILL).max(spaced)
}

impl Engine {
    /// Carries out the errands whose turn it is.
    pub(super) fn run_errands(&mut self, now: Instant) {
        while let Some((interface, key)) = self.errands.next(now) {
            let Some(device) = self.devices.get_mut(&interface) else { continue };
            let ready = device.present() && device.up;
            let Some(peer) = device.peers.get_mut(&key) else { continue };
            let Some(errand) = peer.errand.take() else { continue };
            if !ready || peer.absent.is_some() {
                peer.repeat = None;
                continue;
            }
            let reason = errand.reason;
            let endpoint = errand.set.filter(|&endpoint| match reason {
                // What WireGuard learned since this was decided counts for more.
                Reason::Remembered => peer.seen.endpoint.is_none(),
                _ => !same(peer.seen.endpoint, Some(endpoint)),
            });
            if let Some(endpoint) = endpoint {
                peer.set = Some((endpoint, reason, now));
                peer.seeds = peer.seeds.saturating_add(1);
                device.looks.at(now + LEARN_DELAY, &self.ticks);
            }
            let just_seen = device.looks.answered.is_some_and(|look| now <= look + CLEAR_WITHIN);
            // Whoever was heard meanwhile has something to lose.
            let allowed = self.settings.peer(interface, key).is_some_and(|section| section.readd);
            if errand.readd && (allowed || (just_seen && peer.unheard())) {
                // Its counters begin anew.
                peer.seen.tx_bytes = 0;
                let endpoint = endpoint.map(|endpoint| (endpoint, reason));
                self.actions.push_back(Action::ReaddPeer { interface, peer: key, endpoint });
            } else if let Some(endpoint) = endpoint {
                self.actions.push_back(Action::SetEndpoint { interface, peer: key, endpoint, reason });
            } else if let (true, true, Some(endpoint)) = (errand.clears(), just_seen, peer.seen.endpoint) {
                self.actions.push_back(Action::ClearSource { interface, peer: key, endpoint });
            }
            if let Some(due) = peer.next_repeat(now) {
                device.looks.at(due, &self.ticks);
            }
            device.looks.hurry(now, &self.ticks);
            peer.pokes.take(now, POKE_REFILL);
            peer.last_poke = Some(now);
            if let Some(chased) = &mut peer.chased {
                chased.pokes += 1;
            }
            let keepalive = self.settings.keepalive(interface, &peer.seen);
            self.actions.push_back(Action::Poke { interface, peer: key, keepalive, reason });
            self.actions.push_back(Action::Report(Report::Poked { interface, peer: key, reason }));
        }
    }
}
