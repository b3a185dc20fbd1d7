// SPDX-License-Identifier: GPL-2.0-only
//! What is known of one WireGuard interface, and of its peers.

mod polls;
mod snapshot;
mod strangers;
mod triggers;

pub(super) use polls::{Polls, Ticks};
pub(super) use snapshot::Seen;
pub(super) use strangers::Strangers;
pub(super) use triggers::{Triggers, Waiting};

use std::net::{IpAddr, SocketAddr};

use super::constants::*;
use super::context::Context;
use super::instant::Instant;
use super::outbox::Outbox;
use super::peer::Peer;
use super::rate::Rate;
use super::{Action, Reason, Report};
use crate::initiation::Verdict;
use crate::lists;
use crate::model::{Interface, PublicKey};
use crate::sorted::SortedMap;

/// One WireGuard interface.
#[derive(Debug)]
pub(super) struct Device {
    pub interface: Interface,
    /// Since when it does not exist.
    pub gone: Option<Instant>,
    /// None before the first snapshot.
    pub ifindex: Option<u32>,
    pub up: bool,
    pub public_key: Option<PublicKey>,
    pub listen_port: u16,
    /// The port that it was set up with, as far as is known: the one by which others find it.
    first_port: u16,
    /// The port that we told it; 0: one that the kernel chooses.
    told_port: Option<u16>,
    pub fwmark: u32,
    /// Boxed: a map moves its entries about, and a peer's state is large.
    pub peers: SortedMap<PublicKey, Box<Peer>>,
    pub strangers: Strangers,
    pub polls: Polls,
    /// Counts the snapshots.
    pub round: u32,
    /// It was reported as found, and not as gone since.
    announced: bool,
    pub waiting: Waiting,
    /// Nobody on it answers, as of the last snapshot.
    pub dead: bool,
    not_taken_reports: Rate,
}

impl Device {
    pub fn new(interface: Interface, now: Instant, ticks: &Ticks) -> Self {
        Self {
            interface,
            gone: None,
            ifindex: None,
            up: false,
            public_key: None,
            listen_port: 0,
            first_port: 0,
            told_port: None,
            fwmark: 0,
            peers: SortedMap::new(),
            strangers: Strangers::default(),
            polls: Polls::new(now, ticks),
            round: 0,
            announced: false,
            waiting: Waiting { returns: 1, ..Waiting::default() },
            dead: false,
            not_taken_reports: Rate::default(),
        }
    }

    pub fn present(&self) -> bool {
        self.gone.is_none()
    }

    /// A link event: poll now, and again while whoever made it may still be configuring it.
    pub fn settle(&mut self, now: Instant, ticks: &Ticks) {
        self.gone = None;
        self.polls.now(now, ticks);
        for delay in SETTLE {
            self.polls.at(now + delay, ticks);
        }
    }

    /// It does not exist any more, or is not ours to watch.
    pub fn leave(&mut self, now: Instant, outbox: &mut Outbox) {
        self.gone = Some(now);
        (self.up, self.dead) = (false, false);
        self.polls.clear();
        self.waiting.clear();
        for peer in self.peers.values_mut() {
            peer.leave(outbox);
        }
        let interface = self.interface;
        outbox.push(Action::Forget { interface });
        if std::mem::take(&mut self.announced) {
            outbox.report(Report::DeviceGone { interface });
        }
    }

    /// Peers that are there.
    pub fn present_peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().map(Box::as_ref).filter(|peer| peer.absent.is_none())
    }

    /// An initiation was heard. Returns whether anything is to be done: a flood of strangers costs no more than its
    /// counting.
    pub fn hear(
        &mut self,
        context: &Context,
        outbox: &mut Outbox,
        source: SocketAddr,
        verdict: Verdict,
        reports: &mut Rate,
    ) -> bool {
        let (now, interface) = (context.now, self.interface);
        if let Verdict::Authentic { peer: key, timestamp } = verdict {
            self.strangers.acquit(&key);
            if let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.absent.is_none()) {
                peer.calls.hear(now, source, timestamp);
                peer.pokes.drop_call();
            }
            self.polls.at(now + LEARN_DELAY, context.ticks);
            self.polls.hurry(now, context.ticks);
            return true;
        }
        let mut acts = false;
        if let Verdict::Replay { peer: key, behind, .. } = verdict
            && let Some(peer) = self.peers.get_mut(&key)
        {
            peer.calls.hear_late(now, source, behind);
            // It can't get in, but it can be called: once in a while that is worth a snapshot.
            acts = behind >= CLOCK_SLACK
                && peer.absent.is_none()
                && super::peer::same(peer.contact.seen.endpoint.as_ref(), Some(&source));
            if acts {
                self.polls.at(now + LEARN_DELAY, context.ticks);
            }
        }
        let new = self.strangers.note(now, source, &verdict);
        if new && reports.allow(now, STRANGER_BURST, STRANGER_REFILL) {
            outbox.report(Report::Stranger { interface, source, verdict });
        }
        acts
    }

    /// A name has another answer, or was answered: the snapshot that follows acts on it.
    pub fn hear_name(&mut self, context: &Context, host: &str, old: &[IpAddr], changed: bool) {
        let now = context.now;
        let mut concerned = false;
        for peer in self.peers.values_mut() {
            let Some(section) = context.settings.dialed(peer.id) else { continue };
            if !section.endpoints.iter().any(|candidate| candidate.host == host) {
                continue;
            }
            let Some(dialed) = peer.dialed.as_mut() else {
                concerned |= changed;
                continue;
            };
            // That nothing changed is told by a snapshot too: the endpoint may be out of date for longer.
            concerned |= changed || dialed.silent().is_some();
            if changed {
                let mut news = context.named(section);
                lists::keep(&mut news, |&endpoint| {
                    !old.contains(&endpoint.ip()) && context.only(section, endpoint, host)
                });
                dialed.hear_news(now, &news);
            }
        }
        if concerned {
            self.polls.now(now, context.ticks);
        }
    }

    /// A reply to a probe came out of the tunnel.
    pub fn take_reply(&mut self, context: &Context, outbox: &mut Outbox, target: IpAddr, token: u16) {
        let now = context.now;
        for peer in self.peers.values_mut() {
            let section = context.settings.dialed(peer.id);
            if section.is_none_or(|section| section.probe != Some(target)) {
                continue;
            }
            let Some(dialed) = peer.dialed.as_mut() else { continue };
            if dialed.reply(outbox, peer.id, now, token) {
                peer.pokes.stand_down();
                self.polls.now(now, context.ticks);
            }
        }
    }

    /// Everything that is being tried is taken back, for the engine ends.
    pub fn take_back(&self, outbox: &mut Outbox) {
        let interface = self.interface;
        for peer in self.present_peers() {
            let dialed = peer.dialed.as_ref().map(|dialed| dialed.way_back(&peer.contact));
            let (endpoint, port) = dialed.unwrap_or_default();
            if let Some(port) = port {
                outbox.push(Action::SetPort { interface, port });
            }
            // It may have been taken back, and wait for its turn.
            if let Some(endpoint) = endpoint.or_else(|| peer.pokes.way_back()) {
                let (peer, reason) = (peer.id.key, Reason::Returned);
                outbox.push(Action::SetEndpoint { interface, peer, endpoint, reason });
            }
        }
    }

    /// Forgets those that are absent for long, or all absent ones when they are many.
    fn forget_absent(&mut self, now: Instant) {
        let absent = self.peers.values().filter(|peer| peer.absent.is_some()).count();
        if absent == 0 {
            return;
        }
        let keep = |peer: &Peer| match peer.absent {
            Some(since) => absent <= ABSENT_MAX && now.saturating_duration_since(since) < ABSENT_FOR,
            None => true,
        };
        self.peers.retain(|_, peer| keep(peer));
    }
}
