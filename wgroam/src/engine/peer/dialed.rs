// SPDX-License-Identifier: GPL-2.0-only
//! A peer that is dialed, or probed: what a snapshot says of it, and what follows.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::constants::*;
use super::super::context::Context;
use super::super::device::Triggers;
use super::super::instant::{Instant, earliest, passed, within};
use super::super::names::backoff;
use super::super::outbox::{Note, Outbox};
use super::super::{Action, Evidence, Report, Step};
use super::recovery::{Gentle, Outage, Recovery};
use super::silence::Silence;
use super::trial::{Port, Turn};
use super::{Contact, Observed, PeerId, Pokes, Poll, same};
use crate::config;

/// What is known of it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Dialed {
    silence: Silence,
    recovery: Recovery,
    /// The endpoint that was last seen among those that its names stand for.
    origin: Option<SocketAddr>,
    /// The last steps, the latest last.
    pub steps: Vec<(Instant, Step)>,
    /// A session began in which the target of its probes was not asked yet.
    untested: bool,
    /// When data was last sent in the LAN's place.
    woken: Option<Instant>,
}

/// What one snapshot led to.
#[derive(Debug, Default)]
pub(in crate::engine) struct Watched {
    /// When to poll again.
    pub next: Option<Instant>,
    /// The source port of the interface was changed, to this one.
    pub port_changed: Option<u16>,
}

/// What the device adds to a snapshot of one of its peers.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Around<'a> {
    pub poll: &'a Poll,
    pub triggers: &'a Triggers,
    pub port: Port,
    /// What packets of the interface are marked with; 0: nothing.
    pub mark: u32,
    /// The LAN is refused; and an address that it could send to.
    pub refused: Option<IpAddr>,
}

impl Dialed {
    /// Takes in a snapshot, and does what is due.
    #[inline(never)]
    pub fn watch(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        id: PeerId,
        (contact, pokes): (&Contact, &mut Pokes),
        around: &Around,
        seen: &Observed,
    ) -> Watched {
        let Some(section) = context.settings.dialed(id) else { return Watched::default() };
        let (poll, now) = (around.poll, around.poll.now);
        let endpoint = contact.seen.endpoint;
        let named = context.named(section);
        let is_named = named.iter().any(|other| same(Some(other), endpoint.as_ref()));
        if is_named {
            self.origin = endpoint;
        }
        if self.take_signs(context, outbox, id, contact, poll, seen) {
            pokes.stand_down();
        }
        let stale = {
            let since = self.outage().map_or(now, |outage| outage.since);
            let fresh = section.endpoints.iter().all(|candidate| context.names.fresh(&candidate.host, since));
            let from_name = endpoint.is_some() && same(self.origin.as_ref(), endpoint.as_ref());
            fresh && from_name && !is_named && !named.is_empty()
        };
        let mut turn = Turn {
            context,
            outbox,
            id,
            section,
            contact,
            pokes,
            silence: &mut self.silence,
            steps: &mut self.steps,
            candidates: context.candidates(section),
            stale,
            port: around.port,
            mark: around.mark,
            port_changed: None,
        };
        take_triggers(&mut self.recovery, &mut turn, around.triggers);
        turn.silence.probes.expire(now);
        look_for_evidence(&mut self.recovery, &mut turn);
        if poll.up {
            ask_names(&mut self.recovery, &mut turn);
            self.recovery = std::mem::take(&mut self.recovery).advance(&mut turn);
        }
        let port_changed = turn.port_changed;
        self.send_probes(context, outbox, id, section, (contact, pokes), seen);
        let next = self.next_poll(context, outbox, id, section, contact, around.refused, seen);
        Watched { next, port_changed }
    }

    /// Signs of life end the recovery. True if they did.
    fn take_signs(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        id: PeerId,
        contact: &Contact,
        poll: &Poll,
        seen: &Observed,
    ) -> bool {
        let now = poll.now;
        // What came in before our WAN changed tells nothing of the new one.
        // Calls that led to no session: the peer reaches us, and we do not reach it.
        let answered = seen.life && !seen.calls_only;
        if seen.life && !answered {
            self.silence.called.get_or_insert(now);
            self.silence.last_call = Some(now);
        }
        let moved = self.outage().filter(|outage| outage.evidence == Evidence::WanChanged);
        let stale = moved.is_some_and(|outage| poll.last.is_none_or(|last| last < outage.since));
        let over = answered && !stale;
        let outage = self.recovery.outage();
        if let Some(outage) = outage.filter(|_| over) {
            self.silence.learn(now, seen, outage);
        }
        let telling = self.silence.count(poll, seen, contact, answered);
        if let Some(outage) = self.recovery.outage_mut().filter(|_| telling)
            && poll.last.is_some_and(|last| last >= outage.chance.since)
        {
            outage.chance.sent_at.get_or_insert(now);
        }
        if let (true, Some(endpoint), Some(wan)) = (seen.good, contact.seen.endpoint, context.wan)
            && context.settings.dialed(id).is_some_and(|section| context.named(section).contains(&endpoint))
        {
            outbox.note(Note::Good(id, wan, endpoint));
        }
        over && self.recover(outbox, id, now)
    }

    /// It answers: the recovery is over, and told of. What was being tried is what works, and stays.
    fn recover(&mut self, outbox: &mut Outbox, id: PeerId, now: Instant) -> bool {
        let recovery = std::mem::take(&mut self.recovery);
        let Some(outage) = recovery.outage() else { return false };
        let took = now.saturating_duration_since(outage.since);
        let (interface, peer, step, evidence) = (id.interface, id.key, outage.last_step, outage.evidence);
        outbox.report(Report::Recovered { interface, peer, step, evidence, took });
        outbox.note(Note::Routes);
        true
    }

    /// A reply to a probe came out of the tunnel: it was authenticated by WireGuard. True if it ends a recovery.
    pub fn reply(&mut self, outbox: &mut Outbox, id: PeerId, now: Instant, token: u16) -> bool {
        self.silence.reply(now, token) && self.recover(outbox, id, now)
    }

    /// Sends the probes that are due beside those of a recovery.
    fn send_probes(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        id: PeerId,
        section: &config::Peer,
        (contact, pokes): (&Contact, &Pokes),
        seen: &Observed,
    ) {
        let now = context.now;
        let probes = &self.silence.probes;
        let asked = probes.open() || probes.mute(now) || probes.round_trip.is_some();
        self.untested = (self.untested || seen.handshake) && !asked;
        // An endpoint that is set next is where it is to be sent, not the one of now: the next snapshot sends it.
        let may = contact.seen.endpoint.is_some() && contact.alive(now) && pokes.pending.is_none();
        let Some(target) = section.probe.filter(|_| may) else { return };
        // What its target's silence is worth hangs on whether it ever answered: that is found out in each session.
        let first = self.untested && self.is_worth_testing(now);
        let probes = &mut self.silence.probes;
        let idle = matches!(self.recovery, Recovery::Idle);
        let regular = idle && interval(section).is_some_and(|interval| probes.due(now, interval));
        let unanswered = passed(self.silence.unanswered, PROBE_AFTER, now);
        let early = unanswered && !probes.open() && !probes.mute(now) && !self.recovery.is_away();
        if regular || early || first {
            let token = outbox.probe(id, target);
            probes.sent(now, token);
            self.untested = false;
        }
    }

    fn is_worth_testing(&self, now: Instant) -> bool {
        let probes = &self.silence.probes;
        matches!(self.recovery, Recovery::Idle) && probes.round_trip.is_none() && !probes.mute(now)
    }

    /// Says when something is to be seen next, and sends data in the LAN's place.
    #[allow(clippy::too_many_arguments)] // one by one what it rests on
    fn next_poll(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        id: PeerId,
        section: &config::Peer,
        contact: &Contact,
        refused: Option<IpAddr>,
        seen: &Observed,
    ) -> Option<Instant> {
        let now = context.now;
        let watched = match &self.recovery {
            Recovery::Resting { until, .. } => Some(*until),
            Recovery::Gently { due, .. } | Recovery::Trying { due, .. } => {
                Some((*due).clamp(now + POLL_GRID, now + WATCH_INTERVAL))
            }
            Recovery::Idle if self.silence.unanswered.is_some() => Some(now + WATCH_INTERVAL),
            Recovery::Idle => Silence::data(seen).then_some(now + DATA_INTERVAL),
        };
        let wake = refused.filter(|_| contact.alive(now) && self.outage().is_some()).map(|target| {
            if !within(self.woken, WAKE_INTERVAL, now) {
                self.woken = Some(now);
                outbox.push(Action::Wake { interface: id.interface, target });
            }
            now + WAKE_INTERVAL
        });
        let probes = &self.silence.probes;
        let regular = contact.seen.endpoint.is_some() && contact.alive(now) && interval(section).is_some();
        let untested = self.untested && self.is_worth_testing(now) && section.probe.is_some();
        let first = untested.then_some(now + LEARN_DELAY);
        [watched, wake, first, probes.expires(), probes.next().filter(|_| regular)]
            .into_iter()
            .fold(None, earliest)
            .map(|moment| moment.max(now + POLL_GRID))
    }

    /// One of its names has another answer than before: `news` is what is new of it.
    pub fn hear_news(&mut self, now: Instant, news: &[SocketAddr]) {
        self.recovery = std::mem::take(&mut self.recovery).hear_news(now, news);
    }

    pub(super) fn outage(&self) -> Option<&Outage> {
        self.recovery.outage()
    }

    /// An initiation has left, and its copies.
    pub fn note_copied(&mut self, now: Instant) {
        self.recovery.note_copied(now);
    }

    /// Where initiations are copied to.
    pub fn copied_to(&self) -> &[SocketAddr] {
        self.recovery.copied_to()
    }

    /// The silence that is being mended: what says so, and since when.
    pub fn silent(&self) -> Option<(Evidence, Instant)> {
        self.outage().map(|outage| (outage.evidence, outage.since))
    }

    /// Is it sure that what it has now does not work?
    pub fn is_dead(&self, now: Instant, contact: &Contact) -> bool {
        self.silence.is_dead(now, contact)
    }

    /// May the source port change, as far as this peer is concerned?
    pub fn allows_port(&self, now: Instant, contact: &Contact) -> bool {
        match self.outage() {
            Some(_) => self.silence.is_hopeless(now, contact),
            None => !contact.alive(now),
        }
    }

    /// Is the source port being tried on behalf of this peer?
    pub fn tries_port(&self) -> bool {
        matches!(&self.recovery, Recovery::Trying { round, .. } if round.way_back().is_some())
    }

    /// Somebody answers at the port that is being tried, or somebody else set another one.
    pub fn keep_port(&mut self) {
        self.recovery.keep_port();
    }

    /// Another peer had the port changed: from the new one each address is new, and what was on its way to the old one is
    /// lost.
    pub fn port_changed(&mut self, now: Instant) {
        if let Some(outage) = self.recovery.outage_mut() {
            outage.chance = super::recovery::Chance::begin(now);
        }
    }

    /// Is the LAN to be refused, as far as this peer is concerned?
    pub fn gives_up(&self, now: Instant, contact: &Contact) -> bool {
        if self.silence.called.is_some_and(|when| now < when + CALLED_FOR) {
            return false;
        }
        let Some(outage) = self.outage() else { return !contact.alive(now) };
        let silence = now.saturating_duration_since(outage.since);
        let proven = match contact.alive(now) {
            true => silence >= HANDSHAKE_AFTER || self.silence.probes.prove(),
            false => silence >= REFUSE_AFTER,
        };
        proven && self.is_dead(now, contact)
    }

    pub fn note_poke(&mut self) {
        self.silence.pokes += 1;
    }

    /// The round trip of the last probe that was answered.
    pub fn round_trip(&self) -> Option<Duration> {
        self.silence.probes.round_trip
    }

    /// Is it known that the target of its probes does not answer?
    pub fn is_mute(&self, now: Instant) -> bool {
        self.silence.probes.mute(now)
    }

    /// WireGuard lost all it knew of the peer.
    pub fn reset(&mut self) {
        self.silence.reset();
        self.recovery = Recovery::Idle;
    }

    /// Nobody waits for what is being tried any more: how to take it back. (Endpoint, port.)
    pub fn way_back(&self, contact: &Contact) -> (Option<SocketAddr>, Option<u16>) {
        self.recovery.way_back(contact)
    }

    /// Its section changed: what is being tried is taken back, and all that the new one says is untried.
    pub fn begin_anew(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        id: PeerId,
        contact: &Contact,
        pokes: &mut Pokes,
    ) {
        self.silence.probes.forget_target();
        // That a candidate was taken out says nothing about whether the peer is there.
        self.origin = None;
        let (endpoint, port) = self.way_back(contact);
        if let Some(port) = port {
            outbox.push(Action::SetPort { interface: id.interface, port });
        }
        if endpoint.is_some() {
            outbox.pokes.add(context.now, id, pokes, super::super::Reason::Returned, endpoint);
        }
        let silent = self.silent();
        self.recovery = match silent {
            Some((evidence, since)) => Recovery::begin(evidence, since, context.now),
            None => Recovery::Idle,
        };
    }
}

/// What changed around us begins everything anew.
fn take_triggers(recovery: &mut Recovery, turn: &mut Turn, triggers: &Triggers) {
    let now = turn.context.now;
    let afresh = triggers.afresh.is_some() && !turn.contact.alive(now);
    if triggers.wan_changed {
        turn.silence.wan_changed = Some(now);
        if matches!(recovery, Recovery::Idle) {
            *recovery = Recovery::begin(Evidence::WanChanged, now, now);
        }
        if let Some(outage) = recovery.outage_mut() {
            outage.evidence = Evidence::WanChanged;
        }
    } else if !afresh && !triggers.command {
        return;
    }
    turn.silence.lived(now);
    // What happened has the peer poked already, and clears the source when it was the WAN. Without a session earlier
    // handshakes failed, and a new one may only follow after 5 s, or in a new peer at once.
    let has_endpoint = turn.contact.seen.endpoint.is_some();
    let harmless = |turn: &Turn| turn.contact.unheard() && !turn.section.endpoints.is_empty();
    let readd = has_endpoint && ((afresh && turn.section.readd) || harmless(turn));
    let (next, due) = match (has_endpoint, triggers.wan_changed, readd) {
        (true, _, true) => (Gentle::Probe, now + STEP),
        (true, true, false) => (Gentle::Probe, now + WAN_STEP),
        _ => (Gentle::Poke, now),
    };
    let restarted = std::mem::take(recovery).restart(turn, next, due);
    let recovers = restarted.outage().is_some();
    *recovery = restarted;
    if readd && recovers {
        turn.poke(super::super::Reason::Silence, None, true);
        turn.silence.probes.clear();
    }
}

fn look_for_evidence(recovery: &mut Recovery, turn: &mut Turn) {
    let now = turn.context.now;
    let evidence = turn.silence.evidence(now, turn.contact, !turn.section.endpoints.is_empty());
    match (recovery.outage_mut(), evidence) {
        (None, Some((evidence, since))) => {
            *recovery = Recovery::begin(evidence, since, now);
            turn.outbox.note(Note::Routes);
        }
        (Some(outage), Some((evidence, _))) if outage.evidence == Evidence::WanChanged => {
            outage.evidence = evidence;
        }
        (Some(outage), None) => {
            let over = outage.evidence == Evidence::WanChanged && now >= outage.since + WAN_WATCH;
            if over && turn.silence.unanswered.is_none() {
                *recovery = std::mem::take(recovery).restart(turn, Gentle::Poke, now);
                *recovery = Recovery::Idle;
            }
        }
        _ => {}
    }
}

fn ask_names(recovery: &mut Recovery, turn: &mut Turn) {
    let Some(outage) = recovery.outage_mut() else { return };
    let now = turn.context.now;
    let again = backoff(now.saturating_duration_since(outage.since), REST_PART, RESOLVE_AGAIN);
    if !within(outage.names_asked, again, now) {
        outage.names_asked = Some(now);
        for candidate in &turn.section.endpoints {
            turn.outbox.note(Note::Name(candidate.host.clone()));
        }
    }
}

fn interval(section: &config::Peer) -> Option<Duration> {
    let interval = Duration::from_secs(section.probe_interval.into());
    (section.probe.is_some() && !interval.is_zero()).then_some(interval)
}
