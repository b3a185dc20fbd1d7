// SPDX-License-Identifier: GPL-2.0-only
//! Pokes: what a peer waits for, and the queue in which each peer stands at most once, so that none is poked too often and
//! a crowd is paced.

use std::net::SocketAddr;

use super::super::constants::*;
use super::super::context::Context;
use super::super::device::Polls;
use super::super::instant::{Instant, within};
use super::super::outbox::Outbox;
use super::super::rate::Rate;
use super::super::{Action, Reason, Report};
use super::{Peer, PeerId, same};
use crate::sorted::SortedMap;

/// A poke that waits for its turn, and the endpoint to set before it.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct PendingPoke {
    pub not_before: Instant,
    pub reason: Reason,
    pub set: Option<SocketAddr>,
    /// Clear the source address first.
    pub clear: bool,
    /// Remove the peer and add it again, with its new endpoint.
    pub readd: bool,
}

impl PendingPoke {
    /// Is the source address cleared? Always after a change of our WAN, and for the owner.
    fn clears(&self) -> bool {
        self.clear || matches!(self.reason, Reason::WanChanged | Reason::Command)
    }

    /// When to poll once more before its turn, if that is not so near that the snapshot of this moment serves: what may
    /// undo something that WireGuard learned rests on a snapshot within [`CLEAR_WITHIN`].
    pub fn poll_before(&self, now: Instant) -> Option<Instant> {
        let moment = self.not_before - CLEAR_WITHIN;
        ((self.clears() || self.readd) && moment > now).then_some(moment)
    }
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

/// The pokes of one peer.
#[derive(Debug, Default)]
pub(in crate::engine) struct Pokes {
    pub pending: Option<PendingPoke>,
    /// It was to go back there, and the link was down when its turn came. Boxed: hardly any peer of a crowd has it.
    stranded: Option<Box<SocketAddr>>,
    pub(super) repeat: Option<Repeat>,
    rate: Rate,
    pub(super) last: Option<Instant>,
}

impl Pokes {
    /// It answers, or somebody else moved it: it is not to be moved away from there, nor to lose its session.
    pub fn stand_down(&mut self) {
        self.stranded = None;
        let Some(poke) = &mut self.pending else { return };
        poke.readd = false;
        if matches!(poke.reason, Reason::Candidate | Reason::Returned | Reason::Remembered) {
            poke.set = None;
        }
    }

    /// What it was to try is void; that it goes back is not.
    pub fn drop_trial(&mut self) {
        let Some(poke) = &mut self.pending else { return };
        poke.readd = false;
        if poke.reason == Reason::Candidate {
            poke.set = None;
        }
    }

    /// Where the poke that waits takes it back to.
    pub fn way_back(&self) -> Option<SocketAddr> {
        let pending = self.pending.filter(|poke| poke.reason == Reason::Returned);
        pending.and_then(|poke| poke.set).or_else(|| self.stranded.as_deref().copied())
    }

    /// The link is up: what it could not go back to is due.
    pub fn take_stranded(&mut self) -> Option<SocketAddr> {
        self.stranded.take().map(|endpoint| *endpoint)
    }

    /// A newer initiation replaces what the older one was to do.
    pub fn drop_call(&mut self) {
        if let Some(poke) = self.pending.as_mut().filter(|poke| poke.reason == Reason::Initiation) {
            poke.set = None;
        }
    }

    /// Something authenticated came.
    pub fn note_life(&mut self, asked: Instant) {
        self.drop_call();
        if let Some(repeat) = self.repeat.as_mut().filter(|repeat| repeat.due.is_some()) {
            repeat.answered |= Some(asked) > self.last;
        }
        self.repeat.take_if(|repeat| repeat.needless());
    }

    /// Takes the peer out of the queue.
    pub fn cancel(&mut self, id: PeerId, queue: &mut PokeQueue) {
        self.stranded = None;
        if let Some(poke) = self.pending.take() {
            queue.0.remove(&(poke.not_before, id));
        }
    }

    /// It is poked now: when the next repeat comes, if one does.
    fn next_repeat(&mut self, now: Instant) -> Option<Instant> {
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
}

/// When a peer may be poked next.
pub(in crate::engine) fn turn(now: Instant, pokes: &Pokes) -> Instant {
    let spaced = pokes.last.map_or(now, |last| last + POKE_SPACING);
    pokes.rate.earliest(now, POKE_BURST, POKE_REFILL).max(spaced)
}

/// Who waits, in the order of their turn. What for is in [`Pokes::pending`].
#[derive(Debug, Default)]
pub(in crate::engine) struct PokeQueue(SortedMap<(Instant, PeerId), ()>, Pace);

/// The current [`PACE_TICK`], and how many had their turn in it.
#[derive(Debug, Default)]
struct Pace {
    tick: Option<Instant>,
    served: u32,
}

impl PokeQueue {
    /// Puts a peer into the queue, or adds to what it already waits for. An endpoint that is to be set stays so until a
    /// newer one replaces it.
    pub fn add(
        &mut self,
        now: Instant,
        id: PeerId,
        pokes: &mut Pokes,
        reason: Reason,
        set: Option<SocketAddr>,
    ) {
        if let Some(waiting) = &mut pokes.pending {
            if set.is_some() {
                (waiting.set, waiting.reason) = (set, reason);
            }
            return;
        }
        let not_before = turn(now, pokes);
        pokes.pending = Some(PendingPoke { not_before, reason, set, clear: false, readd: false });
        self.0.insert((not_before, id), ());
    }

    /// The next whose turn it is.
    pub fn next(&mut self, now: Instant) -> Option<PeerId> {
        if self.deadline()? > now {
            return None;
        }
        let pace = &mut self.1;
        if !within(pace.tick, PACE_TICK, now) {
            (pace.tick, pace.served) = (Some(now), 0);
        }
        pace.served += 1;
        self.0.pop_first().map(|((_, id), ())| id)
    }

    /// When somebody has a turn.
    pub fn deadline(&self) -> Option<Instant> {
        let (first, _) = *self.0.first_key()?;
        match self.1.tick {
            Some(tick) if self.1.served >= PACE_POKES => Some(first.max(tick + PACE_TICK)),
            _ => Some(first),
        }
    }
}

impl Peer {
    /// Its turn has come: what it waited for is carried out. `ready`: the interface is up.
    pub fn poke(&mut self, context: &Context, outbox: &mut Outbox, polls: &mut Polls, ready: bool) {
        let (now, id) = (context.now, self.id);
        let (interface, peer) = (id.interface, id.key);
        let way_back = self.pokes.way_back();
        let Some(poke) = self.pokes.pending.take() else { return };
        if !ready || self.absent.is_some() {
            self.pokes.repeat = None;
            self.pokes.stranded = way_back.map(Box::new);
            return;
        }
        let reason = poke.reason;
        let section = context.settings.peer(id);
        let endpoint = poke.set.filter(|&endpoint| match reason {
            Reason::Returned => !same(self.contact.seen.endpoint.as_ref(), Some(&endpoint)),
            // Since this was decided, the address may have become our own.
            _ if !context.takes(section, endpoint) => false,
            // What WireGuard learned since counts for more.
            Reason::Remembered => self.contact.seen.endpoint.is_none(),
            _ => !same(self.contact.seen.endpoint.as_ref(), Some(&endpoint)),
        });
        if let Some(endpoint) = endpoint {
            if reason == Reason::Initiation {
                self.calls.note_moved(now, self.contact.seen.endpoint, endpoint);
                polls.at(now + MOVED_FOR, context.ticks);
            }
            self.contact.note_set(now, endpoint, reason);
            polls.at(now + LEARN_DELAY, context.ticks);
        }
        let just_seen = polls.answered.is_some_and(|answered| now <= answered + CLEAR_WITHIN);
        // Whoever was heard meanwhile has something to lose.
        let allowed = section.is_some_and(|section| section.readd);
        let first = if poke.readd && (allowed || (just_seen && self.contact.unheard())) {
            // Its counters begin anew.
            self.contact.seen.tx_bytes = 0;
            let endpoint = endpoint.map(|endpoint| (endpoint, reason));
            Some(Action::ReaddPeer { interface, peer, endpoint })
        } else if let Some(endpoint) = endpoint {
            Some(Action::SetEndpoint { interface, peer, endpoint, reason })
        } else if let (true, true, Some(endpoint)) = (poke.clears(), just_seen, self.contact.seen.endpoint) {
            Some(Action::ClearSource { interface, peer, endpoint })
        } else {
            None
        };
        outbox.extend(first);
        if let Some(due) = self.pokes.next_repeat(now) {
            polls.at(due, context.ticks);
        }
        polls.hurry(now, context.ticks);
        self.pokes.rate.take(now, POKE_REFILL);
        self.pokes.last = Some(now);
        if let Some(dialed) = &mut self.dialed {
            dialed.note_poke();
        }
        let keepalive = context.settings.keepalive(interface, &self.contact.seen);
        outbox.push(Action::Poke { interface, peer, keepalive, reason });
        outbox.report(Report::Poked { interface, peer, reason });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The second repeat is off when something came after the poke; what was on its way before tells nothing.
    #[test]
    fn only_what_comes_after_the_poke_answers_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for (step, asked, repeats) in [(1, 101, true), (2, 99, true), (2, 101, false)] {
            let repeat = Repeat { step, answered: false, due: Some(at(1100)) };
            let mut pokes = Pokes { last: Some(at(100)), repeat: Some(repeat), ..Pokes::default() };
            pokes.note_life(at(asked));
            assert_eq!(pokes.repeat.is_some(), repeats);
        }
    }
}
