// SPDX-License-Identifier: GPL-2.0-only
//! The ladder: what is done, and in which order, when a peer that we go to is silent. One step at a look at most; the
//! first sign of life ends it. Steps that could harm a session that works wait until it is sure that it does not.

use std::net::SocketAddr;
use std::time::Instant;

use super::chase::{Chased, Ladder, Stage};
use super::constants::*;
use super::device::DeviceState;
use super::names::backoff;
use super::peer::{Look, Observed, PeerState, same};
use super::snapshot::Wishes;
use super::{Action, Engine, Evidence, Reason, Report, Step};
use crate::config;
use crate::model::{Interface, PublicKey};

/// One peer at one look.
struct At<'a> {
    interface: Interface,
    key: PublicKey,
    now: Instant,
    section: &'a config::Peer,
    /// Where it may be, best first.
    list: Vec<SocketAddr>,
    /// The names were answered since the silence began.
    fresh: bool,
    may_rotate: bool,
}

impl Engine {
    /// May the source port change? Never while a session on the interface works.
    pub(super) fn may_rotate(&self, device: &DeviceState, now: Instant) -> bool {
        let dead = |peer: &PeerState| match &peer.chased {
            Some(chased) if chased.ladder.is_some() => chased.dead(now, peer),
            _ => !peer.alive(now),
        };
        let keys = device.present_peers().map(|peer| peer.seen.public_key);
        self.settings.rotates(device.interface, keys) && device.present_peers().all(dead)
    }

    /// What a look tells of a peer that we go to, and what is done about it. Returns when to look again.
    pub(super) fn pursue(
        &mut self,
        interface: Interface,
        peer: &mut PeerState,
        look: &Look,
        seen: &Observed,
        wishes: &Wishes,
        may_rotate: bool,
    ) -> Option<Instant> {
        let (now, key) = (look.now, peer.seen.public_key);
        let Some(section) = self.settings.chased(interface, key).cloned() else {
            peer.chased = None;
            return None;
        };
        let mut chased = peer.chased.take().unwrap_or_default();
        let mut list = self.names.endpoints(&section);
        // What was good last comes first.
        let good = self.memory.best(interface, key, self.wan);
        if let Some(at) = list.iter().position(|&endpoint| Some(endpoint) == good) {
            list[..=at].rotate_right(1);
        }
        let endpoint = peer.seen.endpoint;
        if list.iter().any(|&other| same(Some(other), endpoint)) {
            chased.origin = endpoint;
        }
        let since = chased.ladder.as_ref().map_or(now, |ladder| ladder.since);
        let fresh = section.endpoints.iter().all(|candidate| self.names.fresh(&candidate.host, since));
        let at = At { interface, key, now, section: &section, list, fresh, may_rotate };
        self.take_signs(&at, &mut chased, peer, look, seen);
        self.take_wishes(&at, &mut chased, peer, wishes);
        chased.probes.expire(now);
        self.look_for_evidence(&at, &mut chased, peer);
        if look.up {
            self.climb(&at, &mut chased, peer);
        }
        let next = self.next_look(&at, &mut chased, peer, seen);
        peer.chased = Some(chased);
        next
    }

    /// Signs of life end the ladder.
    fn take_signs(
        &mut self,
        at: &At,
        chased: &mut Chased,
        peer: &mut PeerState,
        look: &Look,
        seen: &Observed,
    ) {
        // What came in before our WAN changed tells nothing of the new one.
        let answered = seen.life && !Chased::only_calls(seen);
        if seen.life && !answered {
            chased.called.get_or_insert(at.now);
        }
        let moved = chased.ladder.as_ref().filter(|ladder| ladder.evidence == Evidence::WanChanged);
        let stale = moved.is_some_and(|ladder| look.last.is_none_or(|last| last < ladder.since));
        if answered && !stale {
            chased.learn(at.now, seen);
            self.actions.extend(recovered(at.interface, chased, peer, at.now));
        }
        chased.count(look, seen, peer, answered);
        let good = peer.seen.endpoint.filter(|endpoint| seen.good && at.list.contains(endpoint));
        if let (Some(endpoint), Some(wan)) = (good, self.wan) {
            let changed = self.memory.note_good(at.interface, at.key, wan, endpoint);
            self.remember(at.now, changed);
        }
    }

    /// What changed around us begins everything anew.
    fn take_wishes(&mut self, at: &At, chased: &mut Chased, peer: &mut PeerState, wishes: &Wishes) {
        let now = at.now;
        let afresh = wishes.afresh.is_some() && !peer.alive(now);
        if wishes.wan_changed {
            chased.wan_changed = Some(now);
            let ladder = chased.ladder.get_or_insert_with(|| Ladder::new(Evidence::WanChanged, now, now));
            (ladder.resting, ladder.evidence) = (false, Evidence::WanChanged);
        } else if !afresh && !wishes.command {
            return;
        }
        chased.start_over(now);
        let Some(ladder) = chased.ladder.as_mut().filter(|_| peer.seen.endpoint.is_some()) else { return };
        // What happened has the peer poked already, and clears the source when it was the WAN.
        if wishes.wan_changed {
            (ladder.stage, ladder.due) = (Stage::Cleared, now + WAN_STEP);
        }
        // Earlier handshakes failed, and a new one may only follow after 5 s, or in a new peer at once.
        ladder.readded = afresh && at.section.readd;
        if ladder.readded || self.harmless(at, ladder, peer) {
            (ladder.stage, ladder.due) = (Stage::Cleared, now + STEP);
            self.readd(at, chased, peer);
        }
    }

    fn look_for_evidence(&mut self, at: &At, chased: &mut Chased, peer: &PeerState) {
        let now = at.now;
        let evidence = chased.evidence(now, peer, !at.section.endpoints.is_empty());
        match (&mut chased.ladder, evidence) {
            (None, Some((evidence, since))) => {
                chased.ladder = Some(Ladder::new(evidence, since, now));
            }
            (Some(ladder), Some((evidence, _))) if ladder.evidence == Evidence::WanChanged => {
                ladder.evidence = evidence;
            }
            (Some(ladder), None)
                if ladder.evidence == Evidence::WanChanged
                    && now >= ladder.since + WAN_WATCH
                    && chased.unanswered.is_none() =>
            {
                chased.ladder = None;
            }
            _ => {}
        }
    }

    /// Takes the next step, if it is time.
    fn climb(&mut self, at: &At, chased: &mut Chased, peer: &mut PeerState) {
        let now = at.now;
        let Some(mut ladder) = chased.ladder.take() else { return };
        self.ask_names(at, &mut ladder);
        // That the name stands for another address by now is no reason to wait.
        if ladder.stage != Stage::Trying && chased.stale(peer, &at.list, at.fresh) {
            (ladder.stage, ladder.due, ladder.resting) = (Stage::Trying, now, false);
        }
        // A step is carried out at once, on what this look showed.
        let turn = super::errands::turn(now, peer);
        if turn > now {
            ladder.due = ladder.due.max(turn);
        }
        // A poke that waits for its turn, or an endpoint that was just set: first see what comes of it.
        let busy = peer.errand.is_some() || (peer.seen.endpoint.is_none() && peer.set.is_some());
        if !busy && ladder.due <= now {
            ladder.resting = false;
            self.step(at, chased, &mut ladder, peer);
        }
        chased.ladder = Some(ladder);
    }

    fn ask_names(&mut self, at: &At, ladder: &mut Ladder) {
        let outage = at.now.saturating_duration_since(ladder.since);
        let again = backoff(outage, REST_PART, RESOLVE_AGAIN);
        if ladder.asked.is_none_or(|asked| at.now >= asked + again) {
            ladder.asked = Some(at.now);
            for candidate in &at.section.endpoints {
                self.names.want(at.now, &candidate.host);
            }
        }
    }

    fn step(&mut self, at: &At, chased: &mut Chased, ladder: &mut Ladder, peer: &mut PeerState) {
        let now = at.now;
        if peer.seen.endpoint.is_none() {
            ladder.stage = Stage::Trying;
        }
        // Without a session WireGuard only sends initiations, one in 5 s: there is nothing to ask for twice.
        let alive = peer.alive(now);
        match ladder.stage {
            Stage::Start if alive => {
                self.errands.add(now, at.interface, peer, Reason::Silence, None);
                (ladder.stage, ladder.due) = (Stage::Poked, now + STEP);
                ladder.give_chance(now);
                self.told(at, chased, ladder, Step::Poke);
            }
            Stage::Start | Stage::Poked => {
                // Not while the answer to an initiation may be on its way.
                let waits = peer.last_poke.is_some_and(|last| now < last + STEP);
                let readd = !waits && self.harmless(at, ladder, peer);
                self.errands.add(now, at.interface, peer, Reason::Silence, None);
                if let Some(errand) = &mut peer.errand {
                    (errand.clear, errand.readd) = (true, readd);
                }
                (ladder.stage, ladder.due) = (Stage::Cleared, now + STEP);
                self.told(at, chased, ladder, Step::ClearSource);
            }
            Stage::Cleared if alive && at.section.probe.is_some() => {
                self.probe(at, chased);
                (ladder.stage, ladder.due) = (Stage::Probed, now + STEP);
                self.told(at, chased, ladder, Step::Probe);
            }
            Stage::Cleared | Stage::Probed | Stage::Trying => self.try_next(at, chased, ladder, peer),
        }
    }

    fn try_next(&mut self, at: &At, chased: &mut Chased, ladder: &mut Ladder, peer: &mut PeerState) {
        let now = at.now;
        ladder.stage = Stage::Trying;
        ladder.due = now + WATCH_INTERVAL;
        let here = peer.seen.endpoint;
        let stale = chased.stale(peer, &at.list, at.fresh);
        if let Some(here) = here {
            let wait = if stale {
                ladder.evidence == Evidence::WanChanged && now < ladder.since + STEP
            } else {
                !chased.dead(now, peer) || !chased.tried(now, ladder, peer)
            };
            if wait {
                if at.section.probe.is_some() && !chased.probes.open() && peer.alive(now) {
                    self.probe(at, chased);
                    ladder.sent_at.get_or_insert(now);
                }
                return;
            }
            if !ladder.tried.contains(&here) {
                ladder.tried.push(here);
            }
        }
        // Costs nothing where nothing works, and a handshake does; not where another address explains the silence.
        let rotate = at.may_rotate && here.is_some() && !ladder.rotated && !stale && ladder.news.is_empty();
        if rotate {
            self.actions.push_back(Action::SetPort { interface: at.interface, port: 0 });
            self.rotated = true;
            self.told(at, chased, ladder, Step::RotatePort);
            // From the new port each address is new. The one that just had its chance comes last.
            ladder.rotated = true;
            ladder.tried.clear();
        }
        let had_it = |other: SocketAddr| ladder.tried.contains(&other) || (rotate && same(Some(other), here));
        let list = || at.list.iter().copied().filter(|&other| !had_it(other));
        let news = list().find(|other| ladder.news.contains(other));
        let next = news.or_else(|| list().next()).or(here.filter(|_| rotate));
        ladder.news.clear();
        if let Some(next) = next {
            self.go_to(at, chased, ladder, peer, next);
            ladder.tried.push(next);
            self.told(at, chased, ladder, Step::Try(next));
        } else if at.section.readd
            && peer.seen.endpoint.is_some()
            && !self.harmless(at, ladder, peer)
            && !std::mem::replace(&mut ladder.readded, true)
        {
            // From here on WireGuard knows nothing of it, and each address takes a second.
            ladder.give_chance(now);
            (ladder.quick, ladder.rotated) = (now < ladder.since + QUICK_FOR, false);
            ladder.tried.clear();
            self.readd(at, chased, peer);
            self.told(at, chased, ladder, Step::Readd);
        } else {
            let outage = now.saturating_duration_since(ladder.since);
            let rest = backoff(outage, REST_PART, REST_MIN);
            // Without any address there is nothing to rest from: the names have to be answered first.
            if !at.list.is_empty() || peer.seen.endpoint.is_some() {
                self.go_back(at, chased, ladder, peer);
                ladder.quick = false;
                self.told(at, chased, ladder, Step::Rest(rest));
            }
            ladder.again(now + rest);
            ladder.resting = true;
        }
    }

    /// Sets a candidate and pokes the peer there; a live session is kept, without one this is a handshake.
    fn go_to(
        &mut self,
        at: &At,
        chased: &mut Chased,
        ladder: &mut Ladder,
        peer: &mut PeerState,
        endpoint: SocketAddr,
    ) {
        let readd = self.harmless(at, ladder, peer);
        self.errands.add(at.now, at.interface, peer, Reason::Candidate, Some(endpoint));
        if let Some(errand) = &mut peer.errand {
            errand.readd = readd;
        }
        ladder.give_chance(at.now);
        // What was sent to another place is void. The next look finds the peer there, and probes it.
        chased.probes.clear();
        if at.section.probe.is_some() {
            ladder.due = at.now + LEARN_DELAY;
        }
    }

    /// After all were tried: to the best candidate, or to another for a change; each handshake counts.
    fn go_back(&mut self, at: &At, chased: &mut Chased, ladder: &mut Ladder, peer: &mut PeerState) {
        let here = peer.seen.endpoint;
        match at.list.iter().find(|&&other| !same(Some(other), here)) {
            Some(&other) => self.go_to(at, chased, ladder, peer, other),
            None => ladder.give_chance(at.now),
        }
    }

    /// May it be added again for a fresh handshake, asked for or not? Then there is nothing to lose, and something to win:
    /// without an endpoint but with a keepalive WireGuard spends its one initiation in 5 s on nothing, again and again; and
    /// in the first round each address is tried in a second. A way that takes longer has its time in the rounds after.
    fn harmless(&self, at: &At, ladder: &Ladder, peer: &PeerState) -> bool {
        let chased = !at.section.endpoints.is_empty();
        chased && peer.unheard() && (ladder.quick || peer.seen.endpoint.is_none())
    }

    fn readd(&mut self, at: &At, chased: &mut Chased, peer: &mut PeerState) {
        self.errands.add(at.now, at.interface, peer, Reason::Silence, None);
        if let Some(errand) = &mut peer.errand {
            errand.readd = true;
        }
        chased.probes.clear();
    }

    fn probe(&mut self, at: &At, chased: &mut Chased) {
        let Some(target) = at.section.probe else { return };
        self.token = self.token.wrapping_add(1);
        chased.probes.sent(at.now, self.token);
        let (interface, peer, token) = (at.interface, at.key, self.token);
        self.actions.push_back(Action::Probe { interface, peer, target, token });
    }

    fn told(&mut self, at: &At, chased: &mut Chased, ladder: &mut Ladder, step: Step) {
        ladder.last_step = Some(step);
        chased.steps.truncate(STEPS_KEPT - 1);
        chased.steps.push_front((at.now, step));
        let after = at.now.saturating_duration_since(ladder.since);
        let (interface, peer, evidence) = (at.interface, at.key, ladder.evidence);
        self.actions.push_back(Action::Report(Report::Step { interface, peer, step, evidence, after }));
    }

    /// Sends the regular probe, if one is due, and says when something is to be seen next.
    fn next_look(
        &mut self,
        at: &At,
        chased: &mut Chased,
        peer: &PeerState,
        seen: &Observed,
    ) -> Option<Instant> {
        let now = at.now;
        let interval = std::time::Duration::from_secs(at.section.probe_interval.into());
        let asked_for = at.section.probe.is_some() && !interval.is_zero();
        let regular = asked_for && peer.seen.endpoint.is_some() && peer.alive(now);
        // An endpoint that is set next is where it is to be sent, not the one of now: the look after that sends it.
        let quiet = chased.ladder.is_none() && peer.errand.is_none();
        if regular && quiet && chased.probes.due(now, interval) {
            self.probe(at, chased);
        }
        let watched = match &chased.ladder {
            Some(ladder) if ladder.resting => Some(ladder.due),
            Some(ladder) => Some(ladder.due.clamp(now + LOOK_GRID, now + WATCH_INTERVAL)),
            None if chased.unanswered.is_some() => Some(now + WATCH_INTERVAL),
            None => Chased::data(seen).then_some(now + DATA_INTERVAL),
        };
        let probe = chased.probes.next().filter(|_| regular);
        [watched, chased.probes.expires(), probe]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(now + LOOK_GRID))
    }
}

/// It answers: the ladder is over, and told of.
pub(super) fn recovered(
    interface: Interface,
    chased: &mut Chased,
    peer: &mut PeerState,
    now: Instant,
) -> Option<Action> {
    let ladder = chased.ladder.take()?;
    peer.stand_down();
    let took = now.saturating_duration_since(ladder.since);
    let (step, evidence, peer) = (ladder.last_step, ladder.evidence, peer.seen.public_key);
    Some(Action::Report(Report::Recovered { interface, peer, step, evidence, took }))
}
