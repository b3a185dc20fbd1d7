// SPDX-License-Identifier: GPL-2.0-only
//! What is known of a peer that we go to: does it answer what we send, what was tried.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::constants::*;
use super::peer::{Look, Observed, PeerState, same};
use super::probes::Probes;
use super::{Evidence, Step};

/// A keepalive, and a packet of data at the least (an IP header, padded), as WireGuard counts them.
const KEEPALIVE_BYTES: u64 = 32;

/// Data packets come in steps of this, but for those that fill the MTU.
const DATA_STEP: u64 = 16;

/// An initiation. No sum of data packets, which come in steps of 16, comes to one or two of these.
const INITIATION_BYTES: u64 = 148;

/// How far the ladder was climbed in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Start,
    Poked,
    Cleared,
    Probed,
    /// Address after address; then port, re-adding, rest.
    Trying,
}

/// What is being done about a silent peer.
#[derive(Debug)]
pub(super) struct Ladder {
    pub evidence: Evidence,
    /// Silent since then. An event moves it to now: it is the outage that backoffs grow with.
    pub since: Instant,
    pub stage: Stage,
    /// When the next step may be taken.
    pub due: Instant,
    /// It rests until `due`.
    pub resting: bool,
    pub last_step: Option<Step>,
    /// Endpoints that had their chance in this round.
    pub tried: Vec<SocketAddr>,
    /// Since when the endpoint of now has its chance, and when something was sent there that is to be answered.
    pub set_at: Instant,
    pub sent_at: Option<Instant>,
    pub rotated: bool,
    pub readded: bool,
    /// The first round since the last event: as fast as may be.
    pub quick: bool,
    /// What the names stand for since just now: it is tried first, and at once.
    pub news: Vec<SocketAddr>,
    /// When the names were asked for.
    pub asked: Option<Instant>,
}

impl Ladder {
    pub fn new(evidence: Evidence, since: Instant, now: Instant) -> Self {
        Self {
            evidence,
            since,
            stage: Stage::Start,
            due: now,
            resting: false,
            last_step: None,
            tried: Vec::new(),
            set_at: now,
            sent_at: None,
            rotated: false,
            readded: false,
            quick: true,
            news: Vec::new(),
            asked: None,
        }
    }

    /// Another round, from the first step.
    pub fn again(&mut self, due: Instant) {
        (self.stage, self.due) = (Stage::Start, due);
        self.tried.clear();
        (self.rotated, self.readded) = (false, false);
    }

    /// Another peer of the interface had the port changed: from the new one each address is new, and what was on its way
    /// to the old one is lost.
    pub fn port_changed(&mut self, now: Instant) {
        self.rotated = true;
        self.tried.clear();
        self.give_chance(now);
    }

    /// An endpoint has its chance from now on.
    pub fn give_chance(&mut self, now: Instant) {
        (self.set_at, self.sent_at) = (now, None);
    }
}

/// A peer that we go to, or probe.
#[derive(Debug, Default)]
pub(super) struct Chased {
    /// When the counting below began: at the last sign of life.
    counted_from: Option<Instant>,
    sent: u64,
    pub pokes: u64,
    /// Since when something is unanswered, as far as it counts: an event begins anew.
    pub unanswered: Option<Instant>,
    /// It called, and that led to no session: the first time since the last sign of life.
    pub called: Option<Instant>,
    /// The same for WireGuard, which begins nothing anew.
    silent: Option<Instant>,
    /// Its traffic turned out to flow one way only.
    pub one_way_until: Option<Instant>,
    pub wan_changed: Option<Instant>,
    pub ladder: Option<Ladder>,
    pub probes: Probes,
    /// The endpoint that was last seen among the candidates.
    pub origin: Option<SocketAddr>,
    /// The last steps, the latest first.
    pub steps: VecDeque<(Instant, Step)>,
}

impl Chased {
    /// Counts what was sent since the last sign of life: is it more than keepalives explain?
    ///
    /// Without any answer WireGuard sends a persistent keepalive each interval, up to two passive ones after the last
    /// data that came in, the one that confirms a handshake, and one for each of our pokes. Nobody has to answer those.
    pub fn count(&mut self, look: &Look, seen: &Observed, peer: &PeerState, answered: bool) {
        let now = look.now;
        if answered {
            self.lived(now);
            self.silent = None;
            return;
        }
        let from = *self.counted_from.get_or_insert(now);
        self.sent = self.sent.saturating_add(seen.sent);
        let silent = now.saturating_duration_since(from).as_secs();
        let persistent = silent.checked_div(u64::from(peer.seen.keepalive)).unwrap_or(0);
        let alive = peer.alive(now);
        // Without a session only initiations are sent, and each is to be answered.
        let unexplained = match alive {
            true => self.sent > KEEPALIVE_BYTES * (3 + persistent + self.pokes) + self.probes.mute_bytes(),
            false => seen.sent > 0,
        };
        let recent = now.checked_sub(DATA_INTERVAL).unwrap_or(now);
        let began = look.last.map_or(now, |last| last.max(recent)).max(from);
        if unexplained {
            self.unanswered.get_or_insert(began);
            self.silent.get_or_insert(began);
        }
        let telling = match alive {
            true if self.handshakes_only(now) => seen.sent % DATA_STEP == INITIATION_BYTES % DATA_STEP,
            true => seen.sent > 2 * KEEPALIVE_BYTES,
            false => seen.sent > 0,
        };
        if let Some(ladder) = self.ladder.as_mut().filter(|_| telling)
            && look.last.is_some_and(|last| last >= ladder.set_at)
        {
            ladder.sent_at.get_or_insert(now);
        }
    }

    /// Something authenticated came.
    pub fn lived(&mut self, now: Instant) {
        self.counted_from = Some(now);
        (self.sent, self.pokes, self.unanswered, self.called) = (0, 0, None, None);
        self.probes.lived();
    }

    /// WireGuard lost all it knew of the peer.
    pub fn reset(&mut self) {
        (self.counted_from, self.ladder, self.silent) = (None, None, None);
        (self.sent, self.pokes, self.unanswered) = (0, 0, None);
        self.probes.lived();
    }

    /// All that was sent before is void: another WAN, another session.
    pub fn start_over(&mut self, now: Instant) {
        self.lived(now);
        if let Some(ladder) = &mut self.ladder {
            ladder.since = now;
            ladder.again(now);
            ladder.quick = true;
            ladder.give_chance(now);
        }
    }

    /// Did nothing come but initiations that led to no session? The peer reaches us and we do not reach it: no answer.
    pub fn only_calls(seen: &Observed) -> bool {
        !seen.handshake && (seen.received == INITIATION_BYTES || seen.received == 2 * INITIATION_BYTES)
    }

    /// Does data flow, or only what WireGuard itself sends?
    pub fn data(seen: &Observed) -> bool {
        !seen.handshake && seen.sent > 3 * KEEPALIVE_BYTES
    }

    /// Was this the answer to a one-way stream, which comes every 10 s?
    fn one_way(&self, seen: &Observed) -> bool {
        let harmless = |ladder: &Ladder| {
            let first = !matches!(ladder.last_step, Some(Step::Try(_) | Step::RotatePort | Step::Readd));
            ladder.evidence == Evidence::Unanswered && first
        };
        seen.received == KEEPALIVE_BYTES && !seen.handshake && self.ladder.as_ref().is_some_and(harmless)
    }

    /// Learns from the sign of life that ends a ladder, and is no reply to a probe.
    pub fn learn(&mut self, now: Instant, seen: &Observed) {
        if self.one_way(seen) {
            self.one_way_until = Some(now + ONE_WAY_FOR);
        }
        if self.ladder.as_ref().is_some_and(|ladder| ladder.evidence == Evidence::Probe) {
            self.probes.doubt(now);
        }
    }

    /// Did it turn out lately that its answers come only each 10 s?
    fn flows_one_way(&self, now: Instant) -> bool {
        self.one_way_until.is_some_and(|until| now < until)
    }

    /// What says that it is silent, and since when.
    pub fn evidence(
        &self,
        now: Instant,
        peer: &PeerState,
        has_candidates: bool,
    ) -> Option<(Evidence, Instant)> {
        if has_candidates && peer.handshake_age(now).is_none() {
            return Some((Evidence::NoHandshake, now));
        }
        let limit = if self.flows_one_way(now) { DEAD } else { SILENCE };
        if let Some(since) = self.unanswered.filter(|&since| now >= since + limit) {
            return Some((Evidence::Unanswered, since));
        }
        self.probes.tell(now).then(|| (Evidence::Probe, now.checked_sub(PROBE_TIMEOUT).unwrap_or(now)))
    }

    /// Is it sure that what the peer has now does not work? Then other ways may be tried.
    pub fn dead(&self, now: Instant, peer: &PeerState) -> bool {
        let moved = self.wan_changed.is_some_and(|when| now < when + WAN_RECENT);
        let limit = if moved && !self.flows_one_way(now) { DEAD_AFTER_WAN } else { DEAD };
        let unanswered = self.unanswered.is_some_and(|since| now >= since + limit);
        !peer.alive(now) || unanswered || self.probes.prove()
    }

    /// Had the endpoint of now its chance?
    pub fn tried(&self, now: Instant, ladder: &Ladder, peer: &PeerState) -> bool {
        if !ladder.news.is_empty() {
            return true;
        }
        if ladder.quick && peer.unheard() {
            return now >= ladder.set_at + TRIED_AFTER;
        }
        let data_tells = peer.alive(now) && !self.handshakes_only(now);
        let limit = if data_tells { TRY_LIMIT } else { REKEY_WINDOW };
        ladder.sent_at.is_some_and(|at| now >= at + TRIED_AFTER) || now >= ladder.set_at + limit
    }

    /// Is it unanswered for so long that the peer may have lost the session?
    fn handshakes_only(&self, now: Instant) -> bool {
        self.silent.is_some_and(|since| now >= since + HANDSHAKE_AFTER)
    }

    /// The endpoint was a candidate's, and the name does not say so any more.
    pub fn stale(&self, peer: &PeerState, list: &[SocketAddr], fresh: bool) -> bool {
        let endpoint = peer.seen.endpoint;
        let known = endpoint.is_some() && same(self.origin, endpoint);
        fresh && known && !list.is_empty() && !list.iter().any(|&other| same(Some(other), endpoint))
    }

    /// A reply came. Does it answer a probe that is waited for?
    pub fn reply(&mut self, now: Instant, token: u16) -> bool {
        let answers = self.probes.reply(now, token);
        if answers {
            self.lived(now);
            self.silent = None;
        }
        answers
    }
}
