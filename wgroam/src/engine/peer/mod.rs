// SPDX-License-Identifier: GPL-2.0-only
//! What is known of one peer, and what is done about it.

mod calls;
mod contact;
mod dialed;
mod pokes;
mod probes;
mod recovery;
mod silence;
mod trial;

pub(super) use calls::Calls;
pub(super) use contact::{Contact, Observed, Poll};
pub(super) use dialed::{Around, Dialed};
pub(super) use pokes::{PokeQueue, Pokes};
pub(super) use trial::Port;

use std::net::{IpAddr, SocketAddr};

use super::context::Context;
use super::device::{Seen, Triggers};
use super::instant::{Instant, earliest};
use super::outbox::{Note, Outbox};
use super::rate::Rate;
use super::{Reason, Report};
use crate::engine::constants::*;
use crate::model;
pub(super) use crate::model::PeerId;
use pokes::{Repeat, turn};

/// One peer of one interface.
#[derive(Debug)]
pub(super) struct Peer {
    pub id: PeerId,
    /// What WireGuard shows of it.
    pub contact: Contact,
    /// Its initiations, as heard on the wire.
    pub calls: Calls,
    pub pokes: Pokes,
    /// Only of a peer that is dialed, or probed.
    pub dialed: Option<Box<Dialed>>,
    /// The snapshot that it was last seen in ([`super::device::Device::round`]).
    pub round: u32,
    /// Since when it is not on the device any more.
    pub absent: Option<Instant>,
    /// The owner asked for a poke, then.
    pub poke_wanted: Option<Instant>,
    /// The return of the interface on which it was last poked.
    seeded: u32,
}

impl Peer {
    /// A peer that was just seen. `counted`: it appeared under our eyes, so that its counters started at zero.
    pub fn new(id: PeerId, now: Instant, counted: bool) -> Self {
        Self {
            id,
            contact: Contact::new(id.key, now, counted),
            calls: Calls::default(),
            pokes: Pokes::default(),
            dialed: None,
            round: 0,
            absent: None,
            poke_wanted: None,
            seeded: 0,
        }
    }

    /// A snapshot shows it: takes that in, and does what follows.
    pub fn take_in(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        around: &Around,
        shown: &model::Peer,
        reports: &mut Rate,
    ) -> Seen {
        let (poll, triggers) = (around.poll, around.triggers);
        let seen = self.contact.observe(poll, shown, &self.calls);
        if seen.life {
            self.calls.note_life();
            self.pokes.note_life(poll.asked);
        }
        // What somebody else sets, or WireGuard learns, is not moved by what was decided before.
        if seen.moved.is_some()
            && !self.contact.is_on_trial()
            && self.contact.reason != Some(Reason::Returned)
        {
            self.pokes.stand_down();
        }
        self.tell(context, outbox, poll, &seen);
        if seen.handshake {
            self.calls.note_handshake(poll.now);
        }
        if let Some(before) = self.calls.take_way_back(poll.now, self.contact.seen.endpoint) {
            outbox.pokes.add(poll.now, self.id, &mut self.pokes, Reason::Returned, Some(before));
        }
        let mut next = self.judge_call(context, outbox, poll, reports);
        if poll.up {
            if let Some(home) = self.pokes.take_stranded().filter(|_| !seen.life) {
                outbox.pokes.add(poll.now, self.id, &mut self.pokes, Reason::Returned, Some(home));
            }
            self.seed(context, outbox, poll, triggers);
            self.poke_triggered(context, outbox, poll, triggers);
        }
        let mut port_changed = None;
        if context.settings.dialed(self.id).is_none() {
            self.dialed = None;
        } else {
            let dialed = self.dialed.get_or_insert_default();
            let parts = (&self.contact, &mut self.pokes);
            let watched = dialed.watch(context, outbox, self.id, parts, around, &seen);
            next = earliest(next, watched.next);
            port_changed = watched.port_changed;
        }
        let before = self.pokes.pending.and_then(|poke| poke.poll_before(poll.now));
        Seen { busy: shown.keepalive > 0 || seen.traffic, next: earliest(next, before), port_changed }
    }

    /// WireGuard lost all it knew of the peer. Its history and its limits stay.
    pub fn reset(&mut self, outbox: &mut Outbox) {
        self.pokes.cancel(self.id, &mut outbox.pokes);
        self.pokes.repeat = None;
        self.contact.reset();
        self.calls.reset();
        if let Some(dialed) = &mut self.dialed {
            dialed.reset();
        }
    }

    /// Its interface is gone.
    pub fn leave(&mut self, outbox: &mut Outbox) {
        self.pokes.cancel(self.id, &mut outbox.pokes);
        (self.pokes.repeat, self.poke_wanted) = (None, None);
        self.calls.drop_pending();
    }

    /// Its section changed: what was decided by the old one is void, and all that the new one says is untried.
    pub fn begin_anew(&mut self, context: &Context, outbox: &mut Outbox) {
        self.pokes.drop_trial();
        if let Some(dialed) = &mut self.dialed {
            dialed.begin_anew(context, outbox, self.id, &self.contact, &mut self.pokes);
        }
    }

    /// Where packets to it go, or are about to.
    pub fn goals(&self) -> Vec<IpAddr> {
        let next = self.pokes.pending.and_then(|poke| poke.set);
        let set = self.contact.set.map(|(endpoint, ..)| endpoint);
        let copied = self.dialed.as_ref().map_or(&[][..], |dialed| dialed.copied_to());
        let mut goals = Vec::new();
        for endpoint in [self.contact.seen.endpoint, set, next].iter().flatten().chain(copied) {
            goals.push(endpoint.ip());
        }
        goals
    }

    /// Reports what changed, and notes what is proven.
    pub fn tell(&mut self, context: &Context, outbox: &mut Outbox, poll: &Poll, seen: &Observed) {
        let id = self.id;
        let contact = &self.contact;
        if let (Some(old), Some(new), Some(reason)) = (seen.moved, contact.seen.endpoint, contact.reason) {
            let (interface, peer) = (id.interface, id.key);
            outbox.report(Report::Moved { interface, peer, old, new, reason });
        }
        let taken = self.calls.judge_taken(poll, contact.seen.endpoint, seen);
        outbox.extend_notes(taken.map(|timestamp| Note::Taken(id, timestamp)));
        let ours = seen.handshake && !self.calls.heard_lately(poll.now);
        if ours && context.memory.confirmed_ahead_of(id, poll.wall) >= OWN_CLOCK_SLACK {
            outbox.note(Note::ClockRanAhead(poll.wall));
        }
        let section = context.settings.peer(id);
        let good = seen.good || taken.is_some();
        let good = contact.seen.endpoint.filter(|&endpoint| good && context.takes(section, endpoint));
        if let Some(endpoint) = good {
            outbox.note(Note::Confirmed(id, endpoint, poll.wall));
        }
    }

    /// Did WireGuard take the initiation that we heard? Returns when to look again, if that is not known yet.
    pub fn judge_call(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        poll: &Poll,
        reports: &mut Rate,
    ) -> Option<Instant> {
        let (id, now) = (self.id, poll.now);
        let alive = self.contact.alive(now);
        if self.calls.take_late(poll, self.contact.seen.endpoint) {
            // Its clock is behind, so WireGuard drops what it sends; a handshake that begins here does not need its clock.
            outbox.pokes.add(now, id, &mut self.pokes, Reason::Initiation, None);
        }
        let call = match self.calls.judge(poll) {
            calls::Judged::Open(until) => return until,
            calls::Judged::NotTaken(call) => call,
        };
        let (interface, peer, source) = (id.interface, id.key, call.source);
        // While it has a session elsewhere, what is not known to be fresh is a recording, as far as anybody can tell: that
        // WireGuard did not take it says nothing about a firewall.
        if !call.fresh && alive && !same(self.contact.seen.endpoint.as_ref(), Some(&source)) {
            return None;
        }
        if self.calls.note_not_taken(&call, poll.up) && reports.allow(now, NOT_TAKEN_BURST, NOT_TAKEN_REFILL)
        {
            outbox.report(Report::NotTaken { interface, peer, source, up: poll.up });
        }
        // Where the owner sends it by an address of ours, somebody may call from there.
        if !poll.up || !context.takes(context.settings.peer(id), source) {
            return None;
        }
        if same(self.contact.seen.endpoint.as_ref(), Some(&source)) {
            if call.fresh {
                self.calls.note_still_there();
            }
            // It is where it says, and can't get in. Without a session a poke makes WireGuard call out to it; with one
            // it would send a keepalive that the peer may not understand any more.
            if !alive {
                outbox.pokes.add(now, id, &mut self.pokes, Reason::Initiation, None);
            }
        } else if call.fresh || self.contact.seen.endpoint.is_none() {
            // What may be a recording only fills a void.
            outbox.pokes.add(now, id, &mut self.pokes, Reason::Initiation, Some(source));
        }
        None
    }

    /// A peer that lost its endpoint gets the remembered one; one that came back with its interface gets a poke.
    pub fn seed(&mut self, context: &Context, outbox: &mut Outbox, poll: &Poll, triggers: &Triggers) {
        let id = self.id;
        if self.contact.seen.endpoint.is_none() {
            let again = self.pokes.pending.is_none() && self.contact.may_be_seeded();
            if let (true, Some(endpoint)) = (again, context.proven(id)) {
                self.seeded = triggers.returns;
                outbox.pokes.add(poll.now, id, &mut self.pokes, Reason::Remembered, Some(endpoint));
            }
            return;
        }
        if std::mem::replace(&mut self.seeded, triggers.returns) == triggers.returns {
            return;
        }
        // At our own start a peer that we know and that WireGuard never spoke to means that the machine was restarted.
        let restarted =
            || self.contact.seen.last_handshake.is_none() && context.memory.endpoint(id).is_some();
        if triggers.returned || restarted() {
            outbox.pokes.add(poll.now, id, &mut self.pokes, Reason::DeviceReturned, None);
        }
    }

    /// Pokes for what happened, if it concerns this peer, and the repeats of earlier ones.
    pub fn poke_triggered(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        poll: &Poll,
        triggers: &Triggers,
    ) {
        let (now, id) = (poll.now, self.id);
        if self.contact.seen.endpoint.is_none() {
            // What it gets later is another story.
            self.pokes.repeat = None;
            if let (true, Some(endpoint)) = (triggers.command, context.proven(id)) {
                outbox.pokes.add(now, id, &mut self.pokes, Reason::Remembered, Some(endpoint));
            }
            return;
        }
        if triggers.command {
            outbox.pokes.add(now, id, &mut self.pokes, Reason::Command, None);
        }
        if triggers.wan_changed && self.matters(context) {
            self.pokes.repeat = Some(Repeat { step: 0, answered: false, due: None });
            outbox.pokes.add(now, id, &mut self.pokes, Reason::WanChanged, None);
        } else if self.pokes.repeat.and_then(|repeat| repeat.due).is_some_and(|due| due <= poll.asked) {
            // A repeat is an insurance: it is not worth waiting for.
            if turn(now, &self.pokes) > now {
                self.pokes.repeat = None;
            } else {
                self.pokes.repeat = self.pokes.repeat.map(|repeat| Repeat { due: None, ..repeat });
                outbox.pokes.add(now, id, &mut self.pokes, Reason::WanChanged, None);
            }
        }
        if let Some(reason) = triggers.afresh.filter(|_| !self.contact.alive(now)) {
            outbox.pokes.add(now, id, &mut self.pokes, reason, None);
        }
    }

    /// Does it matter to this peer that our WAN changed? To one that shows no life, and that nobody configured, not.
    fn matters(&self, context: &Context) -> bool {
        let configured = || context.settings.peer(self.id).is_some();
        self.contact.alive(context.now) || self.contact.seen.keepalive > 0 || configured()
    }

    /// Is it sure that nothing comes from it?
    pub fn is_lost(&self, now: Instant) -> bool {
        match self.recovering() {
            Some(dialed) => dialed.is_dead(now, &self.contact),
            None => !self.contact.alive(now),
        }
    }

    /// It is silent: the recovery that is under way.
    pub fn recovering(&self) -> Option<&Dialed> {
        self.dialed.as_deref().filter(|dialed| dialed.outage().is_some())
    }
}

/// Are these the same place? A scope or flow label, which one source of endpoints knows and another does not, makes no
/// difference.
pub(super) fn same(a: Option<&SocketAddr>, b: Option<&SocketAddr>) -> bool {
    match (a, b) {
        (Some(SocketAddr::V4(a)), Some(SocketAddr::V4(b))) => a == b,
        (Some(SocketAddr::V6(a)), Some(SocketAddr::V6(b))) => a.ip() == b.ip() && a.port() == b.port(),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Can anybody be there? Not at port 0, nowhere, everywhere, at a link-local address without its link, or at an IPv4
/// address in IPv6's clothes, which WireGuard's sockets send nothing to.
pub(super) fn usable(endpoint: SocketAddr) -> bool {
    let link_known = match endpoint {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(v6) => !v6.ip().is_unicast_link_local() || v6.scope_id() != 0,
    };
    let nobody = match endpoint.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.to_ipv4_mapped().is_some(),
    };
    endpoint.port() != 0 && link_known && !nobody
}
