// SPDX-License-Identifier: GPL-2.0-only
//! What a peer's initiations prove: that WireGuard took one, and that a later one is fresh. What onlookers can make of
//! each observation: docs/design/engine.md, "Proof".

use std::net::SocketAddr;
use std::time::Duration;

use super::super::constants::*;
use super::super::instant::{Instant, within};
use super::same;
use super::{Observed, Poll};
use crate::initiation::Timestamp;

/// An authentic initiation of which it is not known yet whether WireGuard took it.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Call {
    pub source: SocketAddr,
    pub seen: Instant,
    /// Is it proven to be newer than all that WireGuard took?
    pub fresh: bool,
    /// Did something authenticated come since the last snapshot before it?
    pub answered: bool,
}

/// An initiation that WireGuard did not take.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct NotTaken {
    pub source: SocketAddr,
    pub up: bool,
    pub at: Instant,
}

/// A move on an initiation.
#[derive(Debug)]
struct Moved {
    from: SocketAddr,
    to: SocketAddr,
    /// When; none once it was taken back.
    at: Option<Instant>,
}

/// What became of the last initiation.
pub(super) enum Judged {
    /// There is none, it was taken, or it is not known before that moment.
    Open(Option<Instant>),
    NotTaken(Call),
}

/// The initiations of one peer.
#[derive(Debug, Default)]
pub(in crate::engine) struct Calls {
    pending: Option<Call>,
    /// The last authentic one.
    last: Option<(SocketAddr, Timestamp, Instant)>,
    /// How many since the last snapshot was asked for.
    heard: u32,
    /// One that WireGuard answered, and no handshake was completed yet: its timestamp, and when it was heard.
    answered: Option<(Timestamp, Instant)>,
    /// One that led to a handshake while we watched.
    taken: Option<(Timestamp, Instant)>,
    /// When one last led to a session, and whether the first session of all was such.
    session: Option<Instant>,
    called_first: Option<bool>,
    /// The last sign of life.
    lived: Option<Instant>,
    /// It was moved on an initiation. Boxed: hardly any peer of a crowd has it.
    moved: Option<Box<Moved>>,
    pub not_taken: Option<NotTaken>,
    /// Authentic and older than the newest one: by how much.
    pub clock_behind: Option<(Duration, Instant)>,
    /// One like that, and where it came from; and when the last one was answered.
    late: Option<(SocketAddr, Instant)>,
    late_answered: Option<Instant>,
}

impl Calls {
    /// An authentic initiation was heard.
    pub fn hear(&mut self, now: Instant, source: SocketAddr, timestamp: Timestamp) {
        self.clock_behind = None;
        self.last = Some((source, timestamp, now));
        self.heard = self.heard.saturating_add(1);
        self.answered = None;
        let fresh = self.is_fresh(now, timestamp);
        self.pending = Some(Call { source, seen: now, fresh, answered: false });
    }

    /// One was heard that is authentic and not newer than another: a recording, or the peer's clock is behind. WireGuard may
    /// have forgotten what we know, and take it.
    pub fn hear_late(&mut self, now: Instant, source: SocketAddr, behind: Duration) {
        self.miss();
        // The same packet again, from elsewhere: one of the two is a copy.
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.source != source) {
            pending.fresh &= !behind.is_zero();
        }
        if behind >= CLOCK_SLACK {
            self.clock_behind = Some((behind, now));
            self.late = Some((source, now));
        }
    }

    /// There may be one that was not heard, or not believed: what the next snapshot shows may be its doing.
    pub fn miss(&mut self) {
        self.heard = self.heard.saturating_add(2);
        self.answered = None;
    }

    /// Was none heard since the last snapshot was asked for?
    pub fn silent(&self) -> bool {
        self.heard == 0
    }

    /// Is it newer than all that WireGuard took, also than what was never heard here? A recording shows the time at which it
    /// was made. So what is sent now shows the time of the last one that was taken under our eyes, and the time that has
    /// passed since. And if it is younger than that can tell, WireGuard must not have taken anything for as long.
    fn is_fresh(&self, now: Instant, timestamp: Timestamp) -> bool {
        let Some((taken, at)) = self.taken else { return false };
        let passed = now.saturating_duration_since(at);
        let slack = FRESH_SLACK + Duration::from_nanos(now.nanos_since(at) / CLOCK_DRIFT);
        let quiet = self.lived.is_none_or(|lived| now >= lived + slack + FRESH_SLACK);
        let shown = timestamp.since(&taken);
        timestamp > taken && shown + slack >= passed && shown <= passed + slack && quiet
    }

    /// Did WireGuard take the initiation that was heard last? Only then its endpoint is the source, the bytes received grew by
    /// an initiation's, those sent by an answer's, *and* a handshake was completed after it. More than one initiation, a long
    /// time, or bytes that may be something else prove nothing.
    pub fn judge_taken(
        &mut self,
        poll: &Poll,
        endpoint: Option<SocketAddr>,
        seen: &Observed,
    ) -> Option<Timestamp> {
        if seen.life {
            self.lived = Some(poll.now);
        }
        let heard = std::mem::take(&mut self.heard);
        let (source, timestamp, at) = self.last?;
        let brief = within(poll.last, TAKEN_WITHIN, poll.now);
        let there = brief && same(endpoint.as_ref(), Some(&source));
        if let Some(answered) = self.answered.take_if(|_| seen.handshake) {
            let data = seen.received.is_multiple_of(DATA_STEP) && seen.received < TAKEN_REST;
            if heard == 0 && data && there {
                self.taken = Some(answered);
                return Some(answered.0);
            }
        }
        if at > poll.asked {
            // Heard while the snapshot was under way: it may be in it or not, and spoils the next one too.
            self.heard = 2;
            return None;
        }
        let beside = |bytes: u64, message| {
            bytes.checked_sub(message).is_some_and(|rest| rest.is_multiple_of(DATA_STEP) && rest < TAKEN_REST)
        };
        let answers = beside(seen.received, INITIATION_BYTES) && beside(seen.sent, RESPONSE_BYTES);
        if heard != 1 || !there || !answers {
            return None;
        }
        if !seen.handshake {
            self.answered = Some((timestamp, at));
            return None;
        }
        self.taken = Some((timestamp, at));
        Some(timestamp)
    }

    /// Did an authentic initiation come from there lately?
    pub fn came_from(&self, endpoint: SocketAddr, now: Instant) -> bool {
        self.last.is_some_and(|(source, _, when)| {
            same(Some(&source), Some(&endpoint)) && now.saturating_duration_since(when) <= VERIFIED_FOR
        })
    }

    /// Was one heard so lately that a new handshake may be its?
    pub fn heard_lately(&self, now: Instant) -> bool {
        self.last.is_some_and(|(.., when)| now <= when + VERIFIED_FOR)
    }

    /// A handshake was completed: it may be of a call of the peer's.
    pub fn note_handshake(&mut self, now: Instant) {
        let called = self.heard_lately(now);
        self.called_first.get_or_insert(called);
        if called {
            self.session = Some(now);
        }
    }

    /// Is it the peer that calls us, so that it relies on our port? It is who began the first session, and as long as the
    /// last one lasts that it began. A later call may be that of a peer that we told where we are.
    pub fn reaches_us(&self, now: Instant) -> bool {
        self.called_first == Some(true) && within(self.session, REJECT_AFTER, now)
    }

    /// Something authenticated came: whatever was wrong is over.
    pub fn note_life(&mut self) {
        (self.not_taken, self.clock_behind, self.late, self.moved) = (None, None, None, None);
        if let Some(pending) = &mut self.pending {
            pending.answered = true;
        }
    }

    /// Did WireGuard take the last one?
    pub(super) fn judge(&mut self, poll: &Poll) -> Judged {
        let Some(call) = self.pending.filter(|call| poll.asked >= call.seen + LEARN_DELAY) else {
            return Judged::Open(None);
        };
        // Since the last snapshot before the initiation, which may be a while before it: in doubt for what WireGuard has.
        if !call.answered && poll.up && poll.asked < call.seen + TAKE_LIMIT {
            return Judged::Open(Some(call.seen + TAKE_LIMIT));
        }
        self.pending = None;
        if call.answered { Judged::Open(None) } else { Judged::NotTaken(call) }
    }

    /// True when that is news.
    pub(super) fn note_not_taken(&mut self, call: &Call, up: bool) -> bool {
        let news = self.not_taken.is_none_or(|old| (old.source.ip(), old.up) != (call.source.ip(), up));
        self.not_taken = Some(NotTaken { source: call.source, up, at: call.seen });
        news
    }

    /// Is there a late one from where the peer is, that is to be answered with a call of ours?
    pub(super) fn take_late(&mut self, poll: &Poll, endpoint: Option<SocketAddr>) -> bool {
        let due = |&mut (_, seen): &mut (SocketAddr, Instant)| poll.up && poll.asked >= seen + LEARN_DELAY;
        let Some((source, _)) = self.late.take_if(due) else { return false };
        let spaced = !within(self.late_answered, LATE_SPACING, poll.now);
        let answered = spaced && same(endpoint.as_ref(), Some(&source));
        if answered {
            self.late_answered = Some(poll.now);
        }
        answered
    }

    /// The endpoint is set on an initiation.
    pub fn note_moved(&mut self, now: Instant, from: Option<SocketAddr>, to: SocketAddr) {
        // Who calls from there again, and with a call that is newer still, is there, and can't get in.
        let again = self.moved.as_ref().is_some_and(|moved| moved.at.is_none() && moved.to == to);
        if again {
            return;
        }
        self.moved = from.map(|from| Box::new(Moved { from, to, at: Some(now) }));
    }

    /// A fresh call came from where it was moved to: it is there, and can't get in.
    pub fn note_still_there(&mut self) {
        if let Some(moved) = &mut self.moved {
            moved.at = None;
        }
    }

    /// Where it was before, if nothing came from where it was moved to: whoever made that call is not there.
    pub fn take_way_back(&mut self, now: Instant, endpoint: Option<SocketAddr>) -> Option<SocketAddr> {
        let moved = self.moved.as_mut()?;
        moved.at.take_if(|at| now >= *at + MOVED_FOR)?;
        same(endpoint.as_ref(), Some(&moved.to)).then_some(moved.from)
    }

    /// The interface is gone.
    pub fn drop_pending(&mut self) {
        self.pending = None;
    }

    /// WireGuard lost all it knew: it takes older ones again, which moves nothing of ours.
    pub fn reset(&mut self) {
        (self.pending, self.late, self.answered, self.moved) = (None, None, None, None);
        (self.session, self.called_first) = (None, None);
    }
}
