// SPDX-License-Identifier: GPL-2.0-only
//! What follows from a snapshot of a device. All decisions are made here: whatever happens only asks for a snapshot, and
//! what it shows decides. So nothing is done on stale knowledge (above all, a poke restores the keepalive of now).

use std::net::IpAddr;

use super::super::constants::*;
use super::super::context::Context;
use super::super::instant::{Instant, earliest};
use super::super::outbox::{Note, Outbox};
use super::super::peer::{Around, Peer, PeerId, Poll, Port};
use super::super::{Action, Report};
use super::Device;
use crate::model::{self, PublicKey, WallTime};

impl Device {
    /// An answer came.
    pub fn take_in(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        snapshot: &model::Device,
        wall: WallTime,
    ) {
        let now = context.now;
        let last = self.polls.answered;
        let asked = self.polls.answer(now);
        let poll = Poll { now, asked, wall, last, up: snapshot.up };
        self.note_link(context, outbox, snapshot);
        let triggers = self.waiting.take(&poll);
        self.keep_answered_port(snapshot);
        let port = self.port(context, snapshot);
        let refused = self.refused(context);
        let mut may_change = port.may_change;
        let mut changed_by: Option<PublicKey> = None;
        let mut busy = false;
        let mut next: Option<Instant> = None;
        self.round = self.round.wrapping_add(1);
        let first = self.round == 1;
        for shown in &snapshot.peers {
            let id = PeerId { interface: self.interface, key: shown.public_key };
            let peer =
                self.peers.get_or_insert_with(shown.public_key, || Box::new(Peer::new(id, now, !first)));
            peer.round = self.round;
            peer.absent = None;
            let triggers = triggers.of(peer, &poll);
            let port = Port { may_change, ..port };
            let around = Around { poll: &poll, triggers: &triggers, port, mark: snapshot.fwmark, refused };
            let watched = peer.take_in(context, outbox, &around, shown, &mut self.not_taken_reports);
            busy |= watched.busy;
            next = earliest(next, watched.next);
            if watched.port_changed.is_some() {
                self.told_port = watched.port_changed;
                (may_change, changed_by) = (false, Some(shown.public_key));
            }
        }
        if let Some(by) = changed_by {
            // One port serves them all.
            let others = self.peers.iter_mut().filter(|(key, _)| **key != by);
            others.filter_map(|(_, peer)| peer.dialed.as_mut()).for_each(|dialed| dialed.port_changed(now));
        }
        self.lose_absent(now, outbox);
        let dead = self.nobody_answers(context);
        if std::mem::replace(&mut self.dead, dead) != dead {
            outbox.note(Note::Routes);
        }
        if let Some(moment) = next {
            self.polls.at(moment, context.ticks);
        }
        self.polls.pace(now, context.ticks, busy && poll.up);
    }

    fn note_link(&mut self, context: &Context, outbox: &mut Outbox, snapshot: &model::Device) {
        let (now, interface) = (context.now, self.interface);
        let first = self.ifindex.is_none();
        let recreated = !first && self.ifindex != Some(snapshot.ifindex);
        let risen = !first && snapshot.up && !self.up;
        if recreated {
            outbox.report(Report::DeviceReturned { interface });
        } else if !self.announced {
            outbox.report(Report::DeviceFound { interface, peers: snapshot.peers.len() });
        }
        self.announced = true;
        if recreated {
            self.peers.values_mut().for_each(|peer| peer.reset(outbox));
            (self.first_port, self.told_port) = (0, None);
        }
        if recreated || risen {
            self.waiting.returns = self.waiting.returns.wrapping_add(1);
            self.waiting.returned_until = Some(now + RETURN_WINDOW);
            self.peers.values_mut().for_each(|peer| peer.contact.forget_session());
        }
        self.ifindex = Some(snapshot.ifindex);
        self.up = snapshot.up;
        self.public_key = snapshot.public_key;
        self.listen_port = snapshot.listen_port;
        self.fwmark = snapshot.fwmark;
    }

    /// The source port: what it is to go back to, and whether it may change now. Never while a session on the interface
    /// works, nor while it is being tried on behalf of another peer.
    fn port(&mut self, context: &Context, snapshot: &model::Device) -> Port {
        let now = context.now;
        if self.told_port == Some(0) && snapshot.listen_port != self.first_port {
            self.told_port = Some(snapshot.listen_port);
        }
        let ours = self.told_port.is_some_and(|told| told == 0 || told == snapshot.listen_port);
        if !ours {
            // It was set up like that, or somebody else changed it: that is not ours to take back.
            self.first_port = snapshot.listen_port;
            if self.told_port.take().is_some() {
                self.keep_port();
            }
        }
        let configured = context.settings.listen_port(self.interface);
        let first = configured.unwrap_or(self.first_port);
        let silent = |peer: &Peer| match &peer.dialed {
            _ if peer.calls.reaches_us(now) => false,
            Some(dialed) => dialed.allows_port(now, &peer.contact),
            None => !peer.contact.alive(now),
        };
        let still = |shown: &model::Peer| {
            // What the snapshots before showed may be over.
            let before = self.peers.get(&shown.public_key).map(|peer| &peer.contact.seen);
            before.is_some_and(|seen| {
                (seen.rx_bytes, seen.last_handshake) == (shown.rx_bytes, shown.last_handshake)
            })
        };
        let tried = |peer: &Peer| peer.dialed.as_ref().is_some_and(|dialed| dialed.tries_port());
        let may_change = first != 0
            && snapshot.peers.iter().all(still)
            && self.present_peers().all(|peer| silent(peer) && !tried(peer))
            && context.settings.changes_port(
                context,
                self.interface,
                first,
                self.present_peers().map(|peer| peer.id),
            );
        Port { may_change, first }
    }

    /// Whoever answers has the port that is being tried stay, whoever tries it.
    fn keep_answered_port(&mut self, snapshot: &model::Device) {
        let answers = |shown: &model::Peer| {
            self.peers.get(&shown.public_key).is_some_and(|peer| peer.contact.shows_answer(shown))
        };
        if snapshot.peers.iter().any(answers) {
            self.keep_port();
        }
    }

    fn keep_port(&mut self) {
        let dialed = self.peers.values_mut().filter_map(|peer| peer.dialed.as_mut());
        dialed.for_each(|dialed| dialed.keep_port());
    }

    /// The LAN is refused: an address that it could send to through the tunnel.
    fn refused(&self, context: &Context) -> Option<IpAddr> {
        let refuses = context.settings.refuses(self.interface) && context.settings.dials_on(self.interface);
        if !self.dead || !refuses {
            return None;
        }
        let through = context.routes.through.iter().find(|through| through.interfaces == [self.interface])?;
        Some(through.to.some_address())
    }

    fn lose_absent(&mut self, now: Instant, outbox: &mut Outbox) {
        let (interface, round) = (self.interface, self.round);
        let lost = |peer: &&mut Box<Peer>| peer.round != round && peer.absent.is_none();
        for peer in self.peers.values_mut().filter(lost) {
            let way_back = peer.dialed.as_ref().map(|dialed| dialed.way_back(&peer.contact));
            if let Some((_, Some(port))) = way_back {
                outbox.push(Action::SetPort { interface, port });
            }
            peer.reset(outbox);
            peer.absent = Some(now);
        }
        self.forget_absent(now);
    }

    /// Is it sure that nothing gets through the tunnel, to whomever?
    fn nobody_answers(&self, context: &Context) -> bool {
        let now = context.now;
        let silent = |peer: &Peer| match &peer.dialed {
            Some(dialed) => dialed.gives_up(now, &peer.contact),
            None => !peer.contact.alive(now),
        };
        let sought = |peer: &Peer| peer.recovering().is_some() && context.settings.dials(peer.id);
        self.up && self.present_peers().any(sought) && self.present_peers().all(silent)
    }
}

/// What a snapshot of a peer led to.
pub(in crate::engine) struct Seen {
    /// It gives a reason to poll often.
    pub busy: bool,
    /// When to poll again.
    pub next: Option<Instant>,
    /// The source port of the interface was changed: to this one, or to one that the kernel chooses (0).
    pub port_changed: Option<u16>,
}
