// SPDX-License-Identifier: GPL-2.0-only
//! What follows from a look at a device. All decisions are made here: whatever happens only asks for a look, and what
//! the look shows decides. So nothing is done on stale knowledge (above all, a poke restores the keepalive of now).

use std::time::Instant;

use super::constants::*;
use super::device::DeviceState;
use super::peer::{Look, NotTaken, Observed, PeerState, Repeat, same, usable};
use super::{Engine, Reason, Report};
use crate::model::{Device, Interface, WallTime};

impl Engine {
    pub(super) fn on_snapshot(&mut self, now: Instant, snapshot: Device, wall: WallTime) {
        let interface = snapshot.interface;
        // Taken out for the time of the work: the rest of the engine stays usable beside it.
        let Some(mut device) = self.devices.remove(&interface) else { return };
        // A late answer about a device that is gone tells nothing.
        if device.present() {
            let last = device.looks.answered;
            let asked = device.looks.answer(now);
            let look = Look { now, asked, wall, last, up: snapshot.up };
            self.take_in(&mut device, &look, &snapshot);
        }
        self.devices.insert(interface, device);
    }

    fn take_in(&mut self, device: &mut DeviceState, look: &Look, snapshot: &Device) {
        let now = look.now;
        let first = device.ifindex.is_none();
        let recreated = !first && device.ifindex != Some(snapshot.ifindex);
        let risen = !first && snapshot.up && !device.up;
        self.announce(device, snapshot, recreated);
        if recreated {
            device.peers.values_mut().for_each(|peer| self.reset_peer(device.interface, peer));
        }
        if recreated || risen {
            device.returns = device.returns.wrapping_add(1);
            device.returned_until = Some(now + RETURN_WINDOW);
            device.peers.values_mut().for_each(|peer| peer.forget_session());
        }
        device.ifindex = Some(snapshot.ifindex);
        device.up = snapshot.up;
        device.public_key = snapshot.public_key;
        device.listen_port = snapshot.listen_port;
        device.fwmark = snapshot.fwmark;

        let wishes = Wishes::take(device, look);
        let mut rotator = None;
        let may_rotate = silent(device, snapshot) && self.may_rotate(device, now);
        let mut busy = false;
        let mut judged_again = None;
        device.round = device.round.wrapping_add(1);
        for peer in &snapshot.peers {
            let state = device.peers.get_or_insert_with(peer.public_key, || {
                Box::new(PeerState::new(peer.public_key, now, !first))
            });
            state.round = device.round;
            let seen = state.observe(look, peer);
            busy |= peer.keepalive > 0 || seen.traffic;
            self.tell(device.interface, state, look, &seen);
            judged_again = earliest(
                judged_again,
                self.judge(device.interface, state, look, &mut device.not_taken_reports),
            );
            let wishes = wishes.of(state, look);
            if look.up {
                self.greet(device.interface, state, look, &wishes);
                self.poke_wished(device.interface, state, look, &wishes);
            }
            judged_again = earliest(
                judged_again,
                self.pursue(device.interface, state, look, &seen, &wishes, may_rotate && rotator.is_none()),
            );
            let before = state.errand.and_then(|errand| errand.look_before(now));
            judged_again = earliest(judged_again, before);
            if std::mem::take(&mut self.rotated) {
                rotator = Some(peer.public_key);
            }
        }
        // One port serves them all.
        let others =
            device.peers.iter_mut().filter(|(key, _)| rotator.is_some_and(|rotator| rotator != **key));
        let ladders = others.filter_map(|(_, peer)| peer.chased.as_mut()?.ladder.as_mut());
        ladders.for_each(|ladder| ladder.port_changed(now));
        let lost = |peer: &&mut Box<PeerState>| peer.round != device.round && peer.absent.is_none();
        for peer in device.peers.values_mut().filter(lost) {
            self.reset_peer(device.interface, peer);
            peer.absent = Some(now);
        }
        device.forget_absent(now);
        device.dead = self.nobody_answers(device, now);
        if let Some(moment) = judged_again {
            device.looks.at(moment, &self.ticks);
        }
        device.looks.pace(now, &self.ticks, busy && look.up);
    }

    fn announce(&mut self, device: &mut DeviceState, snapshot: &Device, recreated: bool) {
        let interface = device.interface;
        if recreated {
            self.report(Report::DeviceReturned { interface });
        } else if !device.announced {
            self.report(Report::DeviceFound { interface, peers: snapshot.peers.len() });
        }
        device.announced = true;
    }

    /// WireGuard knows nothing of the peer any more.
    fn reset_peer(&mut self, interface: Interface, peer: &mut PeerState) {
        self.errands.cancel(interface, peer);
        peer.reset();
    }

    /// Reports what changed, and remembers what is proven.
    fn tell(&mut self, interface: Interface, peer: &mut PeerState, look: &Look, seen: &Observed) {
        let key = peer.seen.public_key;
        if let (Some(old), Some(new), Some(reason)) = (seen.moved, peer.seen.endpoint, peer.reason) {
            self.report(Report::Moved { interface, peer: key, old, new, reason });
        }
        let called = peer.verified.is_some_and(|(_, when)| look.now <= when + VERIFIED_FOR);
        if seen.handshake && called {
            let changed = self.memory.prove(interface, key);
            self.remember(look.now, changed);
        } else if seen.handshake
            && self.memory.confirmed_ahead_of(interface, key, look.wall) >= OWN_CLOCK_SLACK
        {
            // It took a handshake of ours that is older than what we remember of it: that clock of ours ran ahead.
            let changed = self.memory.set_back(look.wall);
            self.remember(look.now, changed);
            self.judge_clock(look.wall);
        }
        if let (true, Some(endpoint)) = (seen.good, peer.seen.endpoint.filter(|&endpoint| usable(endpoint))) {
            let changed = self.memory.confirm(interface, key, endpoint, look.wall);
            self.remember(look.now, changed);
        }
    }

    /// Did WireGuard take the initiation that we saw? Returns when to look again, if that is not known yet.
    fn judge(
        &mut self,
        interface: Interface,
        peer: &mut PeerState,
        look: &Look,
        reports: &mut super::rate::Rate,
    ) -> Option<Instant> {
        let pending = peer.pending.filter(|pending| look.asked >= pending.seen + LEARN_DELAY)?;
        // Since the last look before the initiation, which may be a while before it: in doubt for what WireGuard has.
        if pending.answered {
            peer.pending = None;
            return None;
        }
        if look.up && look.asked < pending.seen + TAKE_LIMIT {
            return Some(pending.seen + TAKE_LIMIT);
        }
        peer.pending = None;
        let news =
            peer.not_taken.is_none_or(|old| (old.source.ip(), old.up) != (pending.source.ip(), look.up));
        peer.not_taken = Some(NotTaken { source: pending.source, up: look.up, at: pending.seen });
        if news && reports.allow(look.now, NOT_TAKEN_BURST, NOT_TAKEN_REFILL) {
            let (key, source) = (peer.seen.public_key, pending.source);
            self.report(Report::NotTaken { interface, peer: key, source, up: look.up });
        }
        let now = look.now;
        if !look.up || !usable(pending.source) {
            return None;
        }
        if same(peer.seen.endpoint, Some(pending.source)) {
            // It is where it says, and can't get in. Without a session a poke makes WireGuard call out to it; with one
            // it would send a keepalive that the peer may not understand any more.
            if !peer.alive(now) {
                self.errands.add(now, interface, peer, Reason::Initiation, None);
            }
        } else if pending.fresh || peer.seen.endpoint.is_none() {
            // What may be a recording only fills a void.
            self.errands.add(now, interface, peer, Reason::Initiation, Some(pending.source));
        }
        None
    }

    /// A peer that lost its endpoint gets the remembered one; one that came back with its interface gets a poke.
    fn greet(&mut self, interface: Interface, peer: &mut PeerState, look: &Look, wishes: &Wishes) {
        let key = peer.seen.public_key;
        if peer.seen.endpoint.is_none() {
            let again = peer.errand.is_none() && peer.set.is_none() && peer.seeds < SEEDS;
            if let (true, Some(endpoint)) = (again, self.memory.best(interface, key, self.wan)) {
                peer.greeted = wishes.returns;
                self.errands.add(look.now, interface, peer, Reason::Remembered, Some(endpoint));
            }
            return;
        }
        if std::mem::replace(&mut peer.greeted, wishes.returns) == wishes.returns {
            return;
        }
        // At our own start a peer that we know and that WireGuard never spoke to means that the machine was restarted.
        let restarted =
            || peer.seen.last_handshake.is_none() && self.memory.endpoint(interface, key).is_some();
        if wishes.returned || restarted() {
            self.errands.add(look.now, interface, peer, Reason::DeviceReturned, None);
        }
    }

    /// Pokes for what happened, if it concerns this peer, and the repeats of earlier ones.
    fn poke_wished(&mut self, interface: Interface, peer: &mut PeerState, look: &Look, wishes: &Wishes) {
        let (now, key) = (look.now, peer.seen.public_key);
        if peer.seen.endpoint.is_none() {
            // What it gets later is another story.
            peer.repeat = None;
            if let (true, Some(endpoint)) = (wishes.command, self.memory.best(interface, key, self.wan)) {
                self.errands.add(now, interface, peer, Reason::Remembered, Some(endpoint));
            }
            return;
        }
        if wishes.command {
            self.errands.add(now, interface, peer, Reason::Command, None);
        }
        if wishes.wan_changed && self.matters(interface, peer, now) {
            peer.repeat = Some(Repeat { step: 0, answered: false, due: None });
            self.errands.add(now, interface, peer, Reason::WanChanged, None);
        } else if peer.repeat.and_then(|repeat| repeat.due).is_some_and(|due| due <= look.asked) {
            // A repeat is an insurance: it is not worth waiting for.
            if super::errands::turn(now, peer) > now {
                peer.repeat = None;
            } else {
                peer.repeat = peer.repeat.map(|repeat| Repeat { due: None, ..repeat });
                self.errands.add(now, interface, peer, Reason::WanChanged, None);
            }
        }
        if let Some(reason) = wishes.afresh.filter(|_| !peer.alive(now)) {
            self.errands.add(now, interface, peer, reason, None);
        }
    }

    /// Does it matter to this peer that our WAN changed? To one that shows no life, and that nobody configured, not.
    fn matters(&self, interface: Interface, peer: &PeerState, now: Instant) -> bool {
        let configured = || self.settings.peer(interface, peer.seen.public_key).is_some();
        peer.alive(now) || peer.seen.keepalive > 0 || configured()
    }
}

/// Does the look show no sign of life of any peer? What the looks before showed may be over.
fn silent(device: &DeviceState, snapshot: &Device) -> bool {
    snapshot.peers.iter().all(|peer| {
        let before = device.peers.get(&peer.public_key).map(|state| &state.seen);
        before
            .is_some_and(|seen| (seen.rx_bytes, seen.last_handshake) == (peer.rx_bytes, peer.last_handshake))
    })
}

/// What was asked of all peers of a device, and is carried out by this look.
#[derive(Clone, Copy)]
pub(super) struct Wishes {
    returns: u32,
    returned: bool,
    pub wan_changed: bool,
    pub afresh: Option<Reason>,
    pub command: bool,
}

impl Wishes {
    /// Those that came before the look was asked for. While the link is down they wait: nothing can be sent.
    fn take(device: &mut DeviceState, look: &Look) -> Self {
        let due = |since: &mut Instant| look.up && *since <= look.asked;
        Self {
            returns: device.returns,
            returned: device.returned_until.is_some_and(|until| look.now <= until),
            wan_changed: device.wan_changed.take_if(due).is_some(),
            afresh: device.afresh.take_if(|(since, _)| due(since)).map(|(_, reason)| reason),
            command: device.wished.take_if(due).is_some(),
        }
    }

    /// The same, and what was asked of this one peer.
    fn of(&self, peer: &mut PeerState, look: &Look) -> Self {
        let asked = peer.wished.take_if(|wished| look.up && *wished <= look.asked).is_some();
        Self { command: self.command || asked, ..*self }
    }
}

/// The earlier of two moments that may not be.
fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
