// SPDX-License-Identifier: GPL-2.0-only
//! Ways that are tried while a peer is silent: another endpoint, another source port, or both. Each knows how it is taken
//! back, so that nothing stays that did not bring an answer.

use std::net::SocketAddr;

use super::super::constants::*;
use super::super::context::Context;
use super::super::instant::{Instant, passed, within};
use super::super::outbox::Outbox;
use super::super::{Action, Reason, Report, Step};
use super::recovery::{Chance, Outage};
use super::silence::Silence;
use super::{Contact, PeerId, Pokes, same, turn};
use crate::config;
use crate::lists;

/// What was tried since the peer was last left in peace.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub begun: bool,
    tried: Vec<SocketAddr>,
    /// Where the last initiation was copied to.
    copied: Vec<SocketAddr>,
    /// Trials in which nothing went out.
    unsent: u8,
    /// The source port is another one in this round: how to get back to that of before.
    port: Option<u16>,
    pub readded: bool,
}

impl Round {
    /// The peer was added again: from here on each way is new.
    pub fn after_readd(self) -> Self {
        Self { begun: true, readded: true, port: self.port, ..Self::default() }
    }

    pub fn has_tried(&self, endpoint: &SocketAddr) -> bool {
        self.tried.contains(endpoint)
    }

    pub fn note_tried(&mut self, endpoint: SocketAddr) {
        if !self.has_tried(&endpoint) {
            self.tried.push(endpoint);
        }
    }

    /// Copies that did not leave were none: those addresses get them with the next initiation, or their own turn.
    pub fn forget_unsent_copies(&mut self, trial: &Trial, outage: &Outage) {
        if trial.copied && !outage.copied {
            lists::keep(&mut self.tried, |endpoint| !self.copied.contains(endpoint));
        }
    }

    /// One in which nothing went out was none; but that may be so for ever.
    pub fn note_trial(&mut self, trial: &Trial, outage: &mut Outage) {
        self.forget_unsent_copies(trial, outage);
        if trial.copied {
            // What is new does not wait for the initiation.
            outage.no_copies = !outage.copied && outage.news.is_empty();
            return;
        }
        // Meanwhile it may leave again.
        outage.no_copies = false;
        if outage.chance.sent_at.is_none() && self.unsent < UNSENT_MAX {
            self.unsent += 1;
            return;
        }
        self.note_tried(trial.endpoint);
    }

    pub fn way_back(&self) -> Option<u16> {
        self.port
    }

    /// Where initiations are copied to in this trial.
    pub fn copied_to(&self, trial: &Trial) -> &[SocketAddr] {
        if trial.copied { &self.copied } else { &[] }
    }

    pub fn keep_port(&mut self) {
        self.port = None;
    }

    /// At the beginning of every other round.
    fn may_change_port(&self, turn: &Turn, outage: &Outage) -> bool {
        // Who was never heard may only be coming up.
        let known = !(outage.quick && turn.contact.unheard());
        self.port.is_none() && self.tried.is_empty() && turn.port.may_change && outage.port_next && known
    }

    /// Everything is tried from another port, every other round: so neither a port that is swallowed nor one that others go
    /// by stands in the way. True if that is so from now on.
    pub fn change_port(&mut self, turn: &mut Turn, outage: &mut Outage) -> bool {
        let may = self.may_change_port(turn, outage);
        // What the name says explains the silence; but where only copies went, it does so for ever.
        let explained = !outage.news.is_empty() || (turn.stale && !turn.copies(outage));
        let changes = may && !explained;
        if changes {
            self.port = Some(turn.port.first);
            outage.port_next = false;
            turn.set_port(0, outage);
        }
        changes
    }

    /// The port that it was set up with is the one that others know. True if it was another one.
    pub fn take_back(self, turn: &mut Turn, outage: &mut Outage) -> bool {
        if let Some(port) = self.port {
            turn.set_port(port, outage);
        }
        self.port.is_some()
    }
}

/// An endpoint that is being tried: WireGuard is told to go there, or gets an initiation that it sends home copied there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    endpoint: SocketAddr,
    /// Nothing is changed: initiations are copied.
    pub copied: bool,
    /// How to get back. None: there is nothing but what we set.
    home: Option<SocketAddr>,
    begun: Instant,
    /// Poked once more, as nothing went out.
    poked_again: bool,
}

/// The source port, as the interface's other peers allow.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Port {
    /// May it change now?
    pub may_change: bool,
    /// The one that it is to go back to: as it was set up.
    pub first: u16,
}

/// A peer at one snapshot, and what it may use.
pub(super) struct Turn<'a> {
    pub context: &'a Context<'a>,
    pub outbox: &'a mut Outbox,
    pub id: PeerId,
    pub section: &'a config::Peer,
    pub contact: &'a Contact,
    pub pokes: &'a mut Pokes,
    pub silence: &'a mut Silence,
    pub steps: &'a mut Vec<(Instant, Step)>,
    /// Where it may be, the likeliest first.
    pub candidates: Vec<SocketAddr>,
    /// Its names stand for other addresses than the one that it has from them.
    pub stale: bool,
    pub port: Port,
    /// What packets of the interface are marked with.
    pub mark: u32,
    /// The port was changed to this one.
    pub port_changed: Option<u16>,
}

impl Trial {
    /// What we set earlier and has not answered.
    pub fn of(now: Instant, endpoint: SocketAddr, home: SocketAddr) -> Self {
        Self { endpoint, copied: false, home: Some(home), begun: now, poked_again: false }
    }

    /// Chooses and begins the next one; none: all had its chance.
    pub fn choose(outage: &mut Outage, round: &mut Round, turn: &mut Turn) -> Option<Self> {
        let here = turn.contact.seen.endpoint.as_ref();
        let other = |endpoint: &SocketAddr| !round.has_tried(endpoint) && !same(Some(endpoint), here);
        let list = || turn.candidates.iter().copied().filter(other);
        let news = list().find(|endpoint| outage.news.contains(endpoint));
        let endpoint = news.or_else(|| list().next())?;
        let copied = turn.copies(outage);
        if copied {
            let mut to = Vec::new();
            for other in list().filter(|&other| other != endpoint).take(COPIES - 1) {
                to.push(other);
            }
            to.push(endpoint);
            turn.copy_initiation(outage, round, to);
            outage.chance = Chance::begin(turn.context.now);
        } else {
            turn.poke(Reason::Candidate, Some(endpoint), turn.is_harmless_to_readd(outage));
            turn.tell(outage, Step::Try(endpoint));
            turn.begin_chance(outage);
        }
        outage.news.clear();
        // Who lost its endpoint may go home, and has no way back from there.
        let home = outage.home.filter(|home| !same(Some(home), Some(&endpoint)));
        Some(Self { endpoint, copied, home, begun: turn.context.now, poked_again: false })
    }

    /// How to get back, if that is still ours to do.
    pub fn way_back(&self, contact: &Contact) -> Option<SocketAddr> {
        let moved = !self.copied && !self.is_void(contact);
        self.home.filter(|&home| moved && !same(Some(&home), Some(&self.endpoint)))
    }

    /// Did somebody else move the peer meanwhile, or did something come from there?
    pub fn is_void(&self, contact: &Contact) -> bool {
        let here = contact.set.as_ref().map(|(endpoint, ..)| endpoint).or(contact.seen.endpoint.as_ref());
        if self.copied {
            return !same(here, self.home.as_ref());
        }
        !same(here, Some(&self.endpoint)) || !contact.is_on_trial()
    }

    /// Had it its chance?
    pub fn is_over(&self, outage: &Outage, turn: &Turn) -> bool {
        let now = turn.context.now;
        let Chance { since, sent_at } = outage.chance;
        if !outage.news.is_empty() {
            return true;
        }
        if outage.quick && turn.contact.unheard() {
            return now >= since + TRIED_AFTER;
        }
        if self.copied {
            let answered = outage.copied && passed(sent_at, TRIED_AFTER, now);
            return answered || now >= self.begun + COPY_FOR;
        }
        let limit = match self.home {
            // Whatever makes its chance begin anew, it is back home by then.
            Some(_) => self.begun + TRIAL_MAX,
            None if turn.silence.data_tells(now, turn.contact) => since + TRY_LIMIT,
            None => since + REKEY_WINDOW,
        };
        let answer = if self.home.is_some() { TRIAL_ANSWER } else { TRIED_AFTER };
        let unsent = sent_at.is_none() && now >= limit;
        passed(sent_at, answer, now) || unsent || now >= limit + answer
    }

    /// Nothing went out so far? Then it is poked once more, or probed.
    pub fn keep_up(&mut self, outage: &mut Outage, turn: &mut Turn) -> Instant {
        let now = turn.context.now;
        let alive = turn.contact.alive(now);
        if alive && turn.section.probe.is_some() && !turn.silence.probes.open() {
            turn.probe();
            outage.chance.sent_at.get_or_insert(now);
        }
        let late = now >= outage.chance.since + TRIAL_POKE && outage.chance.sent_at.is_none();
        if late && !alive && !std::mem::replace(&mut self.poked_again, true) {
            turn.poke(Reason::Silence, None, false);
        }
        now + if self.home.is_some() && !self.copied { TRIAL_INTERVAL } else { WATCH_INTERVAL }
    }

    /// It brought nothing: the endpoint is what it was before. False: there was nothing to go back to.
    pub fn take_back(self, turn: &mut Turn, outage: &mut Outage) -> bool {
        let Some(home) = self.way_back(turn.contact) else { return false };
        turn.poke(Reason::Returned, Some(home), turn.is_harmless_to_readd(outage));
        turn.tell(outage, Step::GoBack(home));
        turn.begin_chance(outage);
        true
    }
}

impl Turn<'_> {
    /// What was begun is to be seen first; or it is too early for another poke.
    pub fn is_busy(&self) -> bool {
        let setting = self.contact.seen.endpoint.is_none() && self.contact.set.is_some();
        self.pokes.pending.is_some() || setting || turn(self.context.now, self.pokes) > self.context.now
    }

    /// Is it sure that the way of now does not work?
    pub fn is_sure(&self) -> bool {
        self.silence.is_dead(self.context.now, self.contact)
    }

    /// A change of our WAN explains the silence for a moment: the poke for it is on its way.
    pub fn must_wait(&self, outage: &Outage) -> bool {
        outage.evidence == super::super::Evidence::WanChanged && self.context.now < outage.since + STEP
    }

    /// Until when the endpoint of now keeps its chance; none: it had it.
    pub fn wait_here(&mut self, outage: &Outage, round: &Round) -> Option<Instant> {
        let now = self.context.now;
        let again = Some(now + WATCH_INTERVAL);
        let newer = self.stale || !outage.news.is_empty();
        if newer && self.must_wait(outage) {
            return again;
        }
        let port = round.may_change_port(self, outage);
        let certain = if port { self.silence.is_hopeless(now, self.contact) } else { self.is_sure() };
        let other = self.has_other(round);
        // A copy takes nothing from it.
        let over = certain && (self.had_its_chance(outage) || (other && !port && self.copies(outage)));
        if !newer && !over {
            if self.section.probe.is_some() && !self.silence.probes.open() && self.contact.alive(now) {
                self.probe();
            }
            return again;
        }
        // WireGuard's next initiation goes where the endpoint is then.
        let waits = other && self.waits_for_slot(outage) && !self.copies(outage);
        let slot = self.silence.initiation.filter(|_| waits).map(|last| last + SLOT);
        slot.filter(|&slot| slot > now).map(|slot| slot.min(now + WATCH_INTERVAL))
    }

    /// Do only handshakes tell, of which WireGuard makes one in 5 s?
    pub fn waits_for_slot(&self, outage: &Outage) -> bool {
        !self.silence.data_tells(self.context.now, self.contact) && !self.is_harmless_to_readd(outage)
    }

    /// WireGuard's handshakes leave for home: then a copy of the next one tells as much as a move would, and takes nothing from
    /// home.
    fn copies(&self, outage: &Outage) -> bool {
        self.silence.calls(self.context.now)
            && !outage.no_copies
            && same(outage.home.as_ref(), self.contact.seen.endpoint.as_ref())
            && self.waits_for_slot(outage)
    }

    fn copy_initiation(&mut self, outage: &mut Outage, round: &mut Round, to: Vec<SocketAddr>) {
        let Some(home) = outage.home else { return };
        for &endpoint in to.iter().rev() {
            round.note_tried(endpoint);
            self.tell(outage, Step::Try(endpoint));
        }
        self.poke(Reason::Silence, None, false);
        let (interface, peer, mark) = (self.id.interface, self.id.key, self.mark);
        outage.copied = false;
        round.copied.clone_from(&to);
        self.outbox.push(Action::CopyInitiation { interface, peer, home, to, mark });
    }

    /// Is there another endpoint that had no chance in this round?
    pub fn has_other(&self, round: &Round) -> bool {
        let here = self.contact.seen.endpoint.as_ref();
        let other = |endpoint: &SocketAddr| !round.has_tried(endpoint) && !same(Some(endpoint), here);
        self.candidates.iter().any(other)
    }

    /// Is the endpoint of now to be tried from the new port first? Where data tells; a handshake is worth more elsewhere.
    pub fn stays_for_port(&self, round: &Round) -> bool {
        self.silence.data_tells(self.context.now, self.contact) || !self.has_other(round)
    }

    /// When what was just begun is seen first: a probe goes there as soon as the endpoint is there.
    pub fn first_poll(&self) -> Instant {
        self.context.now + if self.section.probe.is_some() { LEARN_DELAY } else { TRIAL_INTERVAL }
    }

    fn had_its_chance(&self, outage: &Outage) -> bool {
        let now = self.context.now;
        let Chance { since, sent_at } = outage.chance;
        if outage.quick && self.contact.unheard() {
            return now >= since + TRIED_AFTER;
        }
        let data = self.silence.data_tells(now, self.contact);
        let limit = if data { TRY_LIMIT } else { REKEY_WINDOW };
        passed(sent_at, TRIED_AFTER, now) || now >= since + limit
    }

    pub fn begin_chance(&mut self, outage: &mut Outage) {
        outage.chance = Chance::begin(self.context.now);
        // What was sent to another place is void.
        self.silence.probes.clear();
    }

    /// May it be added again for a fresh handshake, asked for or not? Then there is nothing to lose, and something to win:
    /// without an endpoint but with a keepalive WireGuard spends its one initiation in 5 s on nothing, again and again; and
    /// in the first round each address is tried in a second. A way that takes longer has its time in the rounds after.
    pub fn is_harmless_to_readd(&self, outage: &Outage) -> bool {
        let dialed = !self.section.endpoints.is_empty();
        dialed && self.contact.unheard() && (outage.quick || self.contact.seen.endpoint.is_none())
    }

    /// Is it time for `option readd`? A session that lasts may work again, and would be lost; so would the handshake that a call
    /// of the peer's has begun.
    pub fn readds(&self, outage: &Outage, round: &Round) -> bool {
        let lost = self.contact.seen.endpoint.is_some() && !self.contact.alive(self.context.now);
        let may = self.section.readd && lost && !round.readded && !self.is_harmless_to_readd(outage);
        may && !within(self.silence.last_call, TRIED_AFTER, self.context.now)
    }

    /// What only we set gets a change for the rest: each handshake counts. What proved itself, or somebody else set, stays.
    pub fn rest_elsewhere(&mut self, outage: &mut Outage) {
        let here = self.contact.seen.endpoint.as_ref();
        if outage.home.is_some() {
            return;
        }
        let other = self.candidates.iter().find(|other| !same(Some(other), here));
        if let Some(&other) = other {
            self.poke(Reason::Candidate, Some(other), self.is_harmless_to_readd(outage));
        }
        self.begin_chance(outage);
    }

    pub fn poke(&mut self, reason: Reason, set: Option<SocketAddr>, readd: bool) {
        self.outbox.pokes.add(self.context.now, self.id, self.pokes, reason, set);
        if let Some(poke) = &mut self.pokes.pending {
            poke.readd |= readd;
        }
    }

    /// The poke that waits has WireGuard forget its source address.
    pub fn clear_source(&mut self) {
        if let Some(poke) = &mut self.pokes.pending {
            poke.clear = true;
        }
    }

    pub fn probe(&mut self) {
        if let Some(target) = self.section.probe {
            let token = self.outbox.probe(self.id, target);
            self.silence.probes.sent(self.context.now, token);
        }
    }

    fn set_port(&mut self, port: u16, outage: &mut Outage) {
        self.port_changed = Some(port);
        self.outbox.push(Action::SetPort { interface: self.id.interface, port });
        self.tell(outage, Step::ChangePort(port));
    }

    /// Tells whoever watches.
    pub fn tell(&mut self, outage: &mut Outage, step: Step) {
        let now = self.context.now;
        outage.last_step = Some(step);
        if self.steps.len() == STEPS_KEPT {
            self.steps.remove(0);
        }
        self.steps.push((now, step));
        let after = now.saturating_duration_since(outage.since);
        let (interface, peer, evidence) = (self.id.interface, self.id.key, outage.evidence);
        self.outbox.report(Report::Step { interface, peer, step, evidence, after });
    }
}
