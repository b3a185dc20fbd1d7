// SPDX-License-Identifier: GPL-2.0-only
//! What the referee holds for proof that a peer called from somewhere just now: docs/design/engine.md, "Proof". What an
//! onlooker sees is a timestamp that the peer once wrote, so it tells a call from a recording of it only by the time that has
//! passed since a call that led to a session before its eyes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wgroam::initiation::Timestamp;
use wgroam::model::{Interface, Peer};

use super::draw::Key;

/// Between two looks that are further apart, WireGuard may have got other things that weigh the same.
const PAIR: Duration = Duration::from_secs(10);
/// What the way and the rounding of timestamps take.
const SLACK: Duration = Duration::from_secs(3);
/// A session lasts for so long.
const SESSION: Duration = Duration::from_secs(180);

/// The calls of all peers.
#[derive(Default)]
pub struct Proof {
    peers: BTreeMap<Key, Calls>,
}

/// One call, as it was heard, and how old it was in truth.
type Heard = (Instant, SocketAddr, Timestamp, Duration);

#[derive(Default)]
struct Calls {
    /// Since the last look, if that one was the only one.
    heard: Vec<Heard>,
    /// There may have been more.
    unclear: bool,
    looked: Option<Instant>,
    /// WireGuard answered this one.
    answered: Option<Heard>,
    /// And this one led to a session.
    taken: Option<Heard>,
    life: Option<Instant>,
    last: Option<Last>,
    /// Did it begin the first session of all? And when the last one that it began?
    first: Option<bool>,
    begun: Option<Instant>,
}

/// The last call.
#[derive(Clone, Copy)]
pub struct Last {
    pub source: SocketAddr,
    pub when: Instant,
    /// It is none that was recorded earlier.
    pub fresh: bool,
    /// How old it is in truth, where that is known, and how old it may be: where the last one that was taken was late, too, this
    /// one may be as late.
    pub age: Option<Duration>,
    pub most: Duration,
}

/// What a look shows of a peer.
pub struct Look<'a> {
    pub now: Instant,
    pub asked: Instant,
    pub peer: &'a Peer,
    pub received: u64,
    pub sent: u64,
    pub shaken: bool,
}

impl Proof {
    pub fn heard(&mut self, now: Instant, at: Key, call: (SocketAddr, Timestamp), age: Option<Duration>) {
        let calls = self.peers.entry(at).or_default();
        calls.heard.push((now, call.0, call.1, age.unwrap_or_default()));
        calls.answered = None;
        let (fresh, most) = calls.is_fresh(now, call.1);
        calls.last = Some(Last { source: call.0, when: now, fresh, age, most });
    }

    /// One that is not newer than another was heard, or one may have been missed. `again`: the newest one came from there, too.
    pub fn unclear(&mut self, at: Key, again: Option<SocketAddr>) {
        let calls = self.peers.entry(at).or_default();
        (calls.unclear, calls.answered) = (true, None);
        if let Some(last) = calls.last.as_mut().filter(|last| again.is_some_and(|from| from != last.source)) {
            last.fresh = false;
        }
    }

    /// Some may have been missed.
    pub fn all_unclear(&mut self) {
        let all: Vec<_> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|at| self.unclear(at, None));
    }

    pub fn last(&self, at: Key) -> Option<Last> {
        self.peers.get(&at)?.last
    }

    /// Was nothing heard since the last look?
    pub fn nobody_called(&self, at: Key) -> bool {
        self.peers.get(&at).is_none_or(|calls| calls.heard.is_empty() && !calls.unclear)
    }

    /// WireGuard lost all it knew of the peer.
    pub fn forget(&mut self, at: Key) {
        if let Some(calls) = self.peers.get_mut(&at) {
            (calls.answered, calls.first, calls.begun) = (None, None, None);
        }
    }

    /// Does one of them call us, by the port that we have?
    pub fn reaches_us(&self, now: Instant, interface: Interface) -> bool {
        let reaches = |calls: &Calls| {
            calls.first == Some(true) && calls.begun.is_some_and(|begun| now < begun + SESSION)
        };
        self.peers.iter().any(|(at, calls)| at.0 == interface && reaches(calls))
    }

    /// Takes in a look. True if it shows that a call led to a session.
    pub fn look(&mut self, at: Key, look: &Look) -> bool {
        let calls = self.peers.entry(at).or_default();
        let now = look.now;
        if look.received > 0 || look.shaken {
            calls.life = Some(now);
        }
        if look.shaken {
            let called = calls.last.is_some_and(|last| now <= last.when + PAIR);
            calls.first.get_or_insert(called);
            calls.begun = if called { Some(now) } else { calls.begun };
        }
        let before = calls.looked.replace(now);
        let heard = std::mem::take(&mut calls.heard);
        let unclear = std::mem::take(&mut calls.unclear);
        let source = calls.last.map(|last| last.source);
        let there = source.is_some() && look.peer.endpoint == source;
        let brief = before.is_some_and(|before| now - before < PAIR);
        let data = |bytes: u64| bytes < 400 && bytes.is_multiple_of(16);
        if look.shaken
            && let Some(answered) = calls.answered.take()
            && heard.is_empty()
            && !unclear
            && data(look.received)
            && there
            && brief
        {
            calls.taken = Some(answered);
            return true;
        }
        if calls.last.is_some_and(|last| last.when > look.asked) {
            calls.unclear = true;
            return false;
        }
        let [call] = heard[..] else { return false };
        let weighs = |bytes: u64, message: u64| bytes.checked_sub(message).is_some_and(data);
        if unclear || !brief || !there || !weighs(look.received, 148) || !weighs(look.sent, 92) {
            return false;
        }
        match look.shaken {
            true => calls.taken = Some(call),
            false => calls.answered = Some(call),
        }
        look.shaken
    }
}

impl Calls {
    /// Is it? And how old may it be?
    fn is_fresh(&self, now: Instant, timestamp: Timestamp) -> (bool, Duration) {
        let Some((when, _, taken, age)) = self.taken else { return (false, Duration::ZERO) };
        let passed = now - when;
        // Two clocks differ by 250 in a million.
        let slack = SLACK + passed / 4096;
        let quiet = self.life.is_none_or(|life| now - life >= slack + SLACK);
        let shown = timestamp.since(&taken);
        let fits = timestamp > taken && shown + slack >= passed && shown <= passed + slack;
        (fits && quiet, slack + age)
    }
}
