// SPDX-License-Identifier: GPL-2.0-only
//! Echo requests through the tunnel: which are waited for, how many were lost, and whether their target answers at all.

use std::time::Duration;

use super::super::constants::*;
use super::super::instant::Instant;

#[derive(Debug, Default)]
pub(in crate::engine) struct Probes {
    /// Without reply, the oldest first.
    waiting: Vec<(u16, Instant)>,
    /// Waited for or not: a sign of life that came in with its reply has ended the waiting.
    latest: Option<u16>,
    /// In a row.
    lost: u32,
    /// Of the last one that was answered.
    pub round_trip: Option<Duration>,
    /// When the next regular one is due.
    next: Option<Instant>,
    /// Recoveries in a row that a lost probe began and a sign of life ended that was no reply.
    doubts: u32,
    /// The target does not answer, though the peer does. Until then probes count for nothing.
    mute_until: Option<Instant>,
    /// Bytes of such probes since the last sign of life.
    mute_bytes: u64,
}

impl Probes {
    pub fn sent(&mut self, now: Instant, token: u16) {
        if self.waiting.len() >= PROBES_OPEN {
            self.waiting.remove(0);
        }
        self.waiting.push((token, now));
        self.latest = Some(token);
        if self.mute(now) {
            self.mute_bytes += PROBE_BYTES;
        }
    }

    /// Is one waited for?
    pub fn open(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What was sent is void.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The peer is there, or is another one by now.
    pub fn lived(&mut self) {
        self.clear();
        (self.lost, self.mute_bytes) = (0, 0);
    }

    /// Takes out those that are lost.
    pub fn expire(&mut self, now: Instant) {
        while self.expires().is_some_and(|at| now >= at) {
            self.waiting.remove(0);
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// When the oldest one is lost.
    pub fn expires(&self) -> Option<Instant> {
        self.waiting.first().map(|&(_, sent)| sent + PROBE_TIMEOUT)
    }

    /// A reply came. Does it answer one that is waited for?
    pub fn reply(&mut self, now: Instant, token: u16) -> bool {
        let sent = self.waiting.iter().find(|&&(other, _)| other == token).map(|&(_, sent)| sent);
        if let Some(sent) = sent {
            self.round_trip = Some(now.saturating_duration_since(sent));
        }
        if sent.is_some() || self.latest == Some(token) {
            (self.doubts, self.mute_until) = (0, None);
        }
        sent.is_some()
    }

    /// A recovery that a lost one began was ended by a sign of life that is no reply.
    pub fn doubt(&mut self, now: Instant) {
        self.doubts = self.doubts.saturating_add(1);
        self.mute_until = (self.doubts >= DOUBTS).then(|| now + MUTE_FOR);
    }

    /// There is another target, or none. What was sent was sent.
    pub fn forget_target(&mut self) {
        *self = Self { next: self.next, mute_bytes: self.mute_bytes, ..Self::default() };
    }

    /// Is it known that the target does not answer?
    pub fn mute(&self, now: Instant) -> bool {
        self.mute_until.is_some_and(|until| now < until)
    }

    /// Bytes that nobody has to answer.
    pub fn mute_bytes(&self) -> u64 {
        self.mute_bytes
    }

    /// Do they say that the peer is silent?
    pub fn tell(&self, now: Instant) -> bool {
        self.lost > 0 && !self.mute(now)
    }

    /// Do they prove it?
    pub fn prove(&self) -> bool {
        self.lost >= PROBES_DEAD && self.round_trip.is_some() && self.doubts == 0
    }

    /// Is a regular one due? Then the next is due after the interval.
    pub fn due(&mut self, now: Instant, interval: Duration) -> bool {
        let due = self.next.is_none_or(|next| next <= now);
        if due {
            self.next = Some(now + interval);
        }
        due
    }

    /// When the next regular one is due.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }
}
