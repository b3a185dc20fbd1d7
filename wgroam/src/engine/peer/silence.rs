// SPDX-License-Identifier: GPL-2.0-only
//! Does a peer that is dialed answer what is sent to it? Bytes and handshakes tell, and probes where the owner set a
//! target for them.

use super::super::constants::*;
use super::super::instant::{Instant, passed, within};
use super::super::{Evidence, Step};
use super::probes::Probes;
use super::recovery::Outage;
use super::{Contact, Observed, Poll};

/// What is counted since the last sign of life.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When the counting below began: at the last sign of life.
    counted_from: Option<Instant>,
    sent: u64,
    pub pokes: u64,
    /// Since when something is unanswered, as far as it counts: an event begins anew.
    pub unanswered: Option<Instant>,
    /// It called, and that led to no session: the first time since the last sign of life.
    pub called: Option<Instant>,
    /// The last time that it called. The handshake takes a moment.
    pub last_call: Option<Instant>,
    /// The same as `unanswered` for WireGuard, which begins nothing anew: not before that moment.
    silent: Option<Instant>,
    /// Its traffic turned out to flow one way only.
    one_way_until: Option<Instant>,
    pub wan_changed: Option<Instant>,
    /// An initiation of ours went out after this moment, where only handshakes tell.
    pub initiation: Option<Instant>,
    pub probes: Probes,
}

impl Silence {
    /// Counts what was sent since the last sign of life: is it more than keepalives explain? Returns whether something was
    /// sent that tells of the endpoint of now whether somebody answers there.
    ///
    /// Without any answer WireGuard sends a persistent keepalive each interval, up to two passive ones after the last
    /// data that came in, the one that confirms a handshake, and one for each of our pokes. Nobody has to answer those.
    pub fn count(&mut self, poll: &Poll, seen: &Observed, contact: &Contact, answered: bool) -> bool {
        let now = poll.now;
        if answered {
            self.lived(now);
            self.silent = None;
            return false;
        }
        let from = *self.counted_from.get_or_insert(now);
        self.sent = self.sent.saturating_add(seen.sent);
        let silent = now.saturating_duration_since(from).as_secs();
        let persistent = silent.checked_div(u64::from(contact.seen.keepalive)).unwrap_or(0);
        let alive = contact.alive(now);
        // Without a session only initiations are sent, and each is to be answered.
        let unexplained = match alive {
            true => self.sent > KEEPALIVE_BYTES * (3 + persistent + self.pokes) + self.probes.mute_bytes(),
            false => seen.sent > 0,
        };
        let recent = now - DATA_INTERVAL;
        let began = poll.last.map_or(now, |last| last.max(recent)).max(from);
        if unexplained {
            self.unanswered.get_or_insert(began);
            // WireGuard may have begun to wait since the snapshot before.
            self.silent.get_or_insert(poll.last.unwrap_or(now).max(from));
        }
        let initiation = match alive {
            true => !self.data_tells(now, contact) && seen.sent % DATA_STEP == INITIATION_BYTES % DATA_STEP,
            false => seen.sent > 0,
        };
        if initiation {
            self.initiation = Some(began);
        }
        initiation || (alive && !passed(self.silent, HANDSHAKE_AFTER, now) && seen.sent > 2 * KEEPALIVE_BYTES)
    }

    /// Something authenticated came.
    pub fn lived(&mut self, now: Instant) {
        self.counted_from = Some(now);
        (self.sent, self.pokes, self.unanswered, self.called) = (0, 0, None, None);
        self.initiation = None;
        self.probes.lived();
    }

    /// WireGuard lost all it knew of the peer.
    pub fn reset(&mut self) {
        (self.counted_from, self.silent, self.initiation) = (None, None, None);
        (self.sent, self.pokes, self.unanswered) = (0, 0, None);
        self.probes.lived();
    }

    /// Does data flow, or only what WireGuard itself sends?
    pub fn data(seen: &Observed) -> bool {
        !seen.handshake && seen.sent > 3 * KEEPALIVE_BYTES
    }

    /// Learns from the sign of life that ends an outage, and is no reply to a probe.
    pub fn learn(&mut self, now: Instant, seen: &Observed, outage: &Outage) {
        // The answer to a one-way stream comes each 10 s.
        let harmless = !matches!(outage.last_step, Some(Step::Try(_) | Step::GoBack(_) | Step::Readd));
        let one_way = outage.evidence == Evidence::Unanswered && harmless;
        if seen.received == KEEPALIVE_BYTES && !seen.handshake && one_way {
            self.one_way_until = Some(now + ONE_WAY_FOR);
        }
        if outage.evidence == Evidence::Probe {
            self.probes.doubt(now);
        }
    }

    /// Did it turn out lately that its answers come only each 10 s?
    pub fn flows_one_way(&self, now: Instant) -> bool {
        self.one_way_until.is_some_and(|until| now < until)
    }

    /// What says that it is silent, and since when.
    pub fn evidence(
        &self,
        now: Instant,
        contact: &Contact,
        has_candidates: bool,
    ) -> Option<(Evidence, Instant)> {
        if has_candidates && contact.handshake_age(now).is_none() {
            return Some((Evidence::NoHandshake, now));
        }
        let limit = if self.flows_one_way(now) { DEAD } else { SILENCE };
        if let Some(since) = self.unanswered.filter(|&since| now >= since + limit) {
            return Some((Evidence::Unanswered, since));
        }
        self.probes.tell(now).then(|| (Evidence::Probe, now - PROBE_TIMEOUT))
    }

    /// Is it sure that what the peer has now does not work? Then other ways may be tried.
    pub fn is_dead(&self, now: Instant, contact: &Contact) -> bool {
        let moved = within(self.wan_changed, WAN_RECENT, now);
        let limit = if moved && !self.flows_one_way(now) { DEAD_AFTER_WAN } else { DEAD };
        let unanswered = passed(self.unanswered, limit, now);
        !contact.alive(now) || unanswered || self.probes.prove()
    }

    /// Is it likely enough for another source port, which takes nothing from a session that works after all?
    pub fn is_hopeless(&self, now: Instant, contact: &Contact) -> bool {
        let early = !self.flows_one_way(now) && passed(self.unanswered, PORT_AFTER, now);
        early || self.is_dead(now, contact)
    }

    /// Does data tell whether somebody answers at an endpoint, or is it for a handshake to tell?
    pub fn data_tells(&self, now: Instant, contact: &Contact) -> bool {
        contact.alive(now) && !passed(self.silent, CALLS_FROM, now)
    }

    /// Where data does not tell: will WireGuard's next initiation leave soon? One left lately; or the first one is due.
    pub fn calls(&self, now: Instant) -> bool {
        within(self.initiation, COPIED_AFTER, now) || within(self.silent, CALLS_FROM + COPY_FOR, now)
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
