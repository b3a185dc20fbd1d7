// SPDX-License-Identifier: GPL-2.0-only
//! What the referee holds for proof that a peer called from somewhere just now: docs/design/engine.md, "Proof". What an
//! onlooker sees is a timestamp that the peer once wrote, so it tells a call from a recording of it only by the time that has
//! passed since a call that WireGuard took for certain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wgroam::initiation::Timestamp;
use wgroam::model::Peer;

use super::draw::Key;

/// Between two looks that are further apart, WireGuard may have got other things that weigh the same.
const PAIR: Duration = Duration::from_secs(10);
/// What the way and the rounding of timestamps take.
const SLACK: Duration = Duration::from_secs(3);

/// The calls of all peers.
#[derive(Default)]
pub struct Proof {
    peers: BTreeMap<Key, Calls>,
}

#[derive(Default)]
struct Calls {
    /// Since the last look.
    heard: Vec<(Instant, SocketAddr, Timestamp, Duration)>,
    /// Nothing that was heard before the next look counts.
    spoiled: bool,
    looked: Option<Instant>,
    /// WireGuard took this one, which was heard then.
    taken: Option<(Timestamp, Instant, Duration)>,
    life: Option<Instant>,
    last: Option<Last>,
}

/// The last call.
#[derive(Clone, Copy)]
pub struct Last {
    pub source: SocketAddr,
    /// It is none that was recorded earlier.
    pub fresh: bool,
    /// How old it is in truth, where that is known, and how old it may be: where the last one that was taken was late, too, this
    /// one may be as late.
    pub age: Option<Duration>,
    pub most: Duration,
}

impl Proof {
    pub fn heard(&mut self, now: Instant, at: Key, call: (SocketAddr, Timestamp), age: Option<Duration>) {
        let calls = self.peers.entry(at).or_default();
        calls.heard.push((now, call.0, call.1, age.unwrap_or_default()));
        let (fresh, most) = calls.is_fresh(now, call.1);
        calls.last = Some(Last { source: call.0, fresh, age, most });
    }

    pub fn last(&self, at: Key) -> Option<Last> {
        self.peers.get(&at)?.last
    }

    /// A look that was asked for at `asked` shows the peer, and how much it had received at the last one.
    pub fn look(&mut self, now: Instant, asked: Instant, at: Key, peer: &Peer, received: u64, shaken: bool) {
        let calls = self.peers.entry(at).or_default();
        if received > 0 || shaken {
            calls.life = Some(now);
        }
        let before = calls.looked.replace(now);
        let heard = std::mem::take(&mut calls.heard);
        let spoiled = std::mem::take(&mut calls.spoiled);
        if heard.last().is_some_and(|&(when, ..)| when > asked) {
            calls.spoiled = true;
            return;
        }
        let [(when, source, timestamp, age)] = heard[..] else { return };
        let weighs = (148..548).contains(&received) && (received - 148) % 16 == 0;
        let pair = before.is_some_and(|before| now - before < PAIR);
        if !spoiled && weighs && pair && peer.endpoint == Some(source) {
            calls.taken = Some((timestamp, when, age));
        }
    }
}

impl Calls {
    /// Is it? And how old may it be?
    fn is_fresh(&self, now: Instant, timestamp: Timestamp) -> (bool, Duration) {
        let Some((taken, when, age)) = self.taken else { return (false, Duration::ZERO) };
        let passed = now - when;
        // Two clocks differ by 250 in a million.
        let slack = SLACK + passed / 4096;
        let quiet = self.life.is_none_or(|life| now - life >= slack + SLACK);
        (timestamp > taken && timestamp.since(&taken) + slack >= passed && quiet, slack + age)
    }
}
