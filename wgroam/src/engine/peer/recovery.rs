// SPDX-License-Identifier: GPL-2.0-only
//! What is done about the silence of a peer that is dialed: a state machine. Each transition is a function here; what may
//! be tried, and how it is taken back, is in [`super::trial`]. The diagram: docs/design/engine.md, "Recovery".

use std::net::SocketAddr;

use super::super::constants::*;
use super::super::instant::{Instant, within};
use super::super::names::backoff;
use super::super::{Evidence, Reason, Step};
use super::trial::{Round, Trial, Turn};
use super::{Contact, same};
use crate::lists;

/// How far the recovery of a peer is. The outage is boxed, for it goes from one to the next.
#[derive(Debug, Default)]
pub(super) enum Recovery {
    /// The peer answers, as far as is known.
    #[default]
    Idle,
    /// First steps, which take nothing from a session that works.
    Gently { outage: Box<Outage>, next: Gentle, due: Instant },
    /// It is sure that the way of now does not work, or its name stands for another address: one way after the other is
    /// tried, each for a moment, and taken back.
    Trying { outage: Box<Outage>, round: Round, trial: Option<Trial>, due: Instant },
    /// All was tried, and everything is as it was before. `stale`: also where its name stood for other addresses by then.
    Resting { outage: Box<Outage>, until: Instant, stale: bool },
}

/// The first steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gentle {
    Poke,
    ClearSource,
    Probe,
}

/// A silence.
#[derive(Debug)]
pub(super) struct Outage {
    pub evidence: Evidence,
    /// Silent since then. An event moves it to now: it is the time that backoffs grow with.
    pub since: Instant,
    pub last_step: Option<Step>,
    /// When the names were asked for.
    pub names_asked: Option<Instant>,
    /// What the names stand for since just now: it is tried first.
    pub news: Vec<SocketAddr>,
    /// Where WireGuard is when nothing is being tried: what proved itself, or what somebody else set. None: it has nothing
    /// but what we set.
    pub home: Option<SocketAddr>,
    /// The first round since the last event: as fast as may be.
    pub quick: bool,
    /// The copies of the last initiation were sent.
    pub copied: bool,
    /// Copies were asked for in vain: whatever it is that WireGuard sends, it does not leave for home.
    pub no_copies: bool,
    /// The source port of the next round is another one, if it may be.
    pub port_next: bool,
    /// The chance of the endpoint of now: since when, and when something was sent there that is to be answered.
    pub chance: Chance,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    pub since: Instant,
    pub sent_at: Option<Instant>,
}

impl Chance {
    pub fn begin(now: Instant) -> Self {
        Self { since: now, sent_at: None }
    }
}

impl Outage {
    fn new(evidence: Evidence, since: Instant, now: Instant) -> Box<Self> {
        Box::new(Self {
            evidence,
            since,
            last_step: None,
            names_asked: None,
            news: Vec::new(),
            home: None,
            quick: true,
            copied: false,
            no_copies: false,
            port_next: true,
            chance: Chance::begin(now),
        })
    }
}

impl Recovery {
    /// Something says that the peer is silent.
    pub fn begin(evidence: Evidence, since: Instant, now: Instant) -> Self {
        Recovery::Gently { outage: Outage::new(evidence, since, now), next: Gentle::Poke, due: now }
    }

    pub fn outage(&self) -> Option<&Outage> {
        match self {
            Recovery::Idle => None,
            Recovery::Gently { outage, .. }
            | Recovery::Trying { outage, .. }
            | Recovery::Resting { outage, .. } => Some(&**outage),
        }
    }

    pub fn outage_mut(&mut self) -> Option<&mut Outage> {
        match self {
            Recovery::Idle => None,
            Recovery::Gently { outage, .. }
            | Recovery::Trying { outage, .. }
            | Recovery::Resting { outage, .. } => Some(&mut **outage),
        }
    }

    /// What is being tried, and how to get back: to this endpoint, and to this source port.
    pub fn way_back(&self, contact: &Contact) -> (Option<SocketAddr>, Option<u16>) {
        match self {
            Recovery::Trying { round, trial, .. } => {
                (trial.and_then(|trial| trial.way_back(contact)), round.way_back())
            }
            _ => (None, None),
        }
    }

    /// An initiation has left, and its copies.
    pub fn note_copied(&mut self, now: Instant) {
        if let Recovery::Trying { outage, trial: Some(trial), .. } = self
            && trial.copied
        {
            (outage.copied, outage.chance.sent_at) = (true, Some(now));
        }
    }

    /// Where initiations are copied to.
    pub fn copied_to(&self) -> &[SocketAddr] {
        match self {
            Recovery::Trying { round, trial: Some(trial), .. } => round.copied_to(trial),
            _ => &[],
        }
    }

    /// The source port is not to be taken back any more.
    pub fn keep_port(&mut self) {
        if let Recovery::Trying { round, .. } = self {
            round.keep_port();
        }
    }

    /// Is an endpoint being tried?
    pub fn is_away(&self) -> bool {
        matches!(self, Recovery::Trying { trial: Some(_), .. })
    }

    /// An event makes all that was tried void, and begins anew. What is being tried is taken back.
    pub fn restart(self, turn: &mut Turn, next: Gentle, due: Instant) -> Self {
        let now = turn.context.now;
        let mut outage = match self {
            Recovery::Idle => return Recovery::Idle,
            Recovery::Trying { mut outage, round, trial, .. } => {
                round.take_back(turn, &mut outage);
                if let Some(trial) = trial {
                    trial.take_back(turn, &mut outage);
                }
                outage
            }
            Recovery::Gently { outage, .. } | Recovery::Resting { outage, .. } => outage,
        };
        (outage.since, outage.quick, outage.port_next, outage.no_copies) = (now, true, true, false);
        outage.chance = Chance::begin(now);
        Recovery::Gently { outage, next, due }
    }

    /// Its names stand for something else: what is new is tried as soon as it may be. What this round tried already is not new,
    /// however often an answer changes.
    pub fn hear_news(self, now: Instant, news: &[SocketAddr]) -> Self {
        let (mut outage, round, trial) = match self {
            Recovery::Idle => return Recovery::Idle,
            Recovery::Trying { outage, round, trial, .. } => (outage, round, trial),
            Recovery::Gently { outage, .. } | Recovery::Resting { outage, .. } => {
                (outage, Round::default(), None)
            }
        };
        for &news in news {
            if !round.has_tried(&news) {
                outage.news.push(news);
            }
        }
        Recovery::Trying { outage, round, trial, due: now }
    }

    /// Takes the next step, if it is time.
    pub fn advance(mut self, turn: &mut Turn) -> Self {
        let now = turn.context.now;
        // What somebody else sets, or WireGuard learns, is where it is at home from now on.
        let here = turn.contact.seen.endpoint;
        if let Some(outage) = self.outage_mut() {
            outage.home = here.filter(|_| !turn.contact.is_on_trial()).or(outage.home);
            lists::keep(&mut outage.news, |news| {
                !same(Some(news), here.as_ref()) && turn.candidates.contains(news)
            });
        }
        // A poke that waits for its turn, or an endpoint that was just set: first see what comes of it.
        if turn.is_busy() {
            return self;
        }
        match self {
            Recovery::Gently { outage, .. } if turn.stale && !turn.must_wait(&outage) => {
                Self::start_round(outage, turn)
            }
            Recovery::Gently { outage, next, due } if due <= now => Self::step_gently(outage, next, turn),
            Recovery::Trying { outage, round, trial: Some(trial), due } => {
                Self::watch_trial(outage, round, trial, due, turn)
            }
            Recovery::Trying { outage, round, trial: None, due } if due <= now || turn.stale => {
                Self::try_next(outage, round, turn)
            }
            Recovery::Resting { outage, stale: false, .. } if turn.stale => Self::start_round(outage, turn),
            // Without a session there is nothing to ask for gently, and no initiation to waste.
            Recovery::Resting { outage, until, .. }
                if until <= now && turn.waits_for_slot(&outage) && turn.has_other(&Round::default()) =>
            {
                Self::start_round(outage, turn)
            }
            Recovery::Resting { outage, until, .. } if until <= now => {
                Recovery::Gently { outage, next: Gentle::Poke, due: now }.advance(turn)
            }
            other => other,
        }
    }

    fn step_gently(mut outage: Box<Outage>, next: Gentle, turn: &mut Turn) -> Self {
        let now = turn.context.now;
        if turn.contact.seen.endpoint.is_none() {
            return Self::start_round(outage, turn);
        }
        // Without a session WireGuard only sends initiations, one in 5 s: there is nothing to ask for twice.
        let alive = turn.contact.alive(now);
        match next {
            Gentle::Poke if alive => {
                turn.poke(Reason::Silence, None, false);
                outage.chance = Chance::begin(now);
                turn.tell(&mut outage, Step::Poke);
                Recovery::Gently { outage, next: Gentle::ClearSource, due: now + STEP }
            }
            Gentle::Poke | Gentle::ClearSource => {
                // Not while the answer to an initiation may be on its way.
                let waits = within(turn.pokes.last, STEP, now);
                let readd = !waits && turn.is_harmless_to_readd(&outage);
                turn.poke(Reason::Silence, None, readd);
                turn.clear_source();
                outage.chance = Chance::begin(now);
                turn.tell(&mut outage, Step::ClearSource);
                Recovery::Gently { outage, next: Gentle::Probe, due: now + STEP }
            }
            Gentle::Probe if alive && turn.section.probe.is_some() => {
                turn.probe();
                turn.tell(&mut outage, Step::Probe);
                Recovery::Trying { outage, round: Round::default(), trial: None, due: now + STEP }
            }
            Gentle::Probe => Self::start_round(outage, turn),
        }
    }

    /// From here on one way after the other is tried.
    fn start_round(outage: Box<Outage>, turn: &mut Turn) -> Self {
        Self::try_next(outage, Round::default(), turn)
    }

    /// The next way, once that of now had its chance.
    fn try_next(mut outage: Box<Outage>, mut round: Round, turn: &mut Turn) -> Self {
        let now = turn.context.now;
        let here = turn.contact.seen.endpoint;
        if !std::mem::replace(&mut round.begun, true) {
            let proven = || turn.context.proven(turn.id);
            outage.home = outage.home.or_else(proven);
            // What we set in an earlier life, and what was never heard from, is on trial until it answers.
            if let (Some(here), Some(home)) = (here, outage.home)
                && !same(Some(&here), Some(&home))
                && turn.contact.is_on_trial()
            {
                let trial = Trial::of(now, here, home);
                return Recovery::Trying { outage, round, trial: Some(trial), due: now + WATCH_INTERVAL };
            }
        }
        if let Some(here) = here {
            if let Some(due) = turn.wait_here(&outage, &round) {
                return Recovery::Trying { outage, round, trial: None, due };
            }
            // From another port the endpoint of now is new, too; but a handshake that is due is worth more elsewhere.
            if round.change_port(turn, &mut outage) && turn.stays_for_port(&round) {
                turn.poke(Reason::Silence, None, turn.is_harmless_to_readd(&outage));
                turn.begin_chance(&mut outage);
                return Recovery::Trying { outage, round, trial: None, due: turn.first_poll() };
            }
            round.note_tried(here);
            // So far it is only likely that nothing works.
            if !turn.is_sure() && !turn.stale && outage.news.is_empty() {
                return Recovery::Trying { outage, round, trial: None, due: now + WATCH_INTERVAL };
            }
        }
        match Trial::choose(&mut outage, &mut round, turn) {
            Some(trial) => {
                let due = turn.first_poll();
                Recovery::Trying { outage, round, trial: Some(trial), due }
            }
            None if turn.readds(&outage, &round) => {
                // From here on WireGuard knows nothing of it, and each address takes a second.
                outage.quick = now < outage.since + QUICK_FOR;
                outage.chance = Chance::begin(now);
                turn.poke(Reason::Silence, None, true);
                turn.silence.probes.clear();
                turn.tell(&mut outage, Step::Readd);
                let round = round.after_readd();
                Recovery::Trying { outage, round, trial: None, due: now + WATCH_INTERVAL }
            }
            None => Self::rest(outage, round, turn),
        }
    }

    /// The trial of now: is it over?
    fn watch_trial(
        mut outage: Box<Outage>,
        mut round: Round,
        mut trial: Trial,
        due: Instant,
        turn: &mut Turn,
    ) -> Self {
        let now = turn.context.now;
        if trial.is_void(turn.contact) {
            // Somebody else moved the peer meanwhile, or it called from there: that is not ours to take back.
            round.forget_unsent_copies(&trial, &outage);
            outage.chance = Chance::begin(now);
            return Recovery::Trying { outage, round, trial: None, due: now };
        }
        if due > now && !trial.is_over(&outage, turn) {
            return Recovery::Trying { outage, round, trial: Some(trial), due };
        }
        if !trial.is_over(&outage, turn) {
            let due = trial.keep_up(&mut outage, turn);
            return Recovery::Trying { outage, round, trial: Some(trial), due };
        }
        round.note_trial(&trial, &mut outage);
        let returned = trial.take_back(turn, &mut outage);
        let due = if returned { now + WATCH_INTERVAL } else { now };
        let next = Recovery::Trying { outage, round, trial: None, due };
        // Where there is nothing to go back to, the next way comes at once.
        if returned { next } else { next.advance(turn) }
    }

    /// Nothing answered: everything is as it was before.
    fn rest(mut outage: Box<Outage>, round: Round, turn: &mut Turn) -> Self {
        let now = turn.context.now;
        outage.port_next |= !round.take_back(turn, &mut outage);
        let rest = backoff(now.saturating_duration_since(outage.since), REST_PART, REST_MIN);
        // Without any address there is nothing to rest from: the names have to be answered first.
        if !turn.candidates.is_empty() || turn.contact.seen.endpoint.is_some() {
            turn.rest_elsewhere(&mut outage);
            outage.quick = false;
            turn.tell(&mut outage, Step::Rest(rest));
        }
        Recovery::Resting { outage, until: now + rest, stale: turn.stale }
    }
}
