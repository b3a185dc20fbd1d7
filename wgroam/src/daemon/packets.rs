// SPDX-License-Identifier: GPL-2.0-only
//! From the tap to the verifier, and how a flood is kept from costing more than it is worth: the verifier has a budget
//! of time ([`super::budget`]), and after packets that prove nothing the tap is left alone for a moment.

use std::time::{Duration, Instant};

use mio::Interest;

use super::{Daemon, TAP};
use crate::engine::Event;
use crate::initiation::Verdict;
use crate::linux::tap::Captured;

/// Packets taken from the tap before everything else gets its turn again.
const BATCH: usize = 64;
/// The tap is left alone for so long once it is read empty and something in it proved nothing. Else each packet of a
/// flood wakes the loop, which costs several times what it takes to refuse the packet. What comes meanwhile waits in
/// the sockets; nothing is done about an initiation in its first 100 ms anyhow.
const REST: Duration = Duration::from_millis(20);

/// How it stands with the tap.
#[derive(Default)]
pub struct Listening {
    /// Packets may wait that epoll will not report again.
    pub waiting: bool,
    /// Until then epoll does not report any.
    resting: Option<Instant>,
    /// Something proved nothing since the last rest.
    noise: bool,
}

impl Listening {
    /// When [`Daemon::take_packets`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.then(|| self.resting.unwrap_or_else(Instant::now))
    }
}

impl Daemon {
    /// Takes what the tap has, as far as the budget goes.
    pub(super) fn take_packets(&mut self, now: Instant) {
        if !self.listening.waiting || self.listening.resting.is_some_and(|until| until > now) {
            return;
        }
        if self.listening.resting.take().is_some()
            // Before reading: what comes from now on is reported.
            && let Err(error) = self.poll.registry().register(&mut self.tap, TAP, Interest::READABLE)
        {
            log::warn!("epoll: {error}; packets are looked for now and then");
            self.rest(Instant::now() + REST);
        }
        self.read_packets(now);
        if let Some(at) = self.budget.resumes() {
            self.rest(at);
        } else if self.listening.noise && !self.listening.waiting {
            self.rest(Instant::now() + REST);
        }
    }

    /// What came before a snapshot is heard before the engine sees the snapshot, or known to be missed: otherwise it would put
    /// down to one call, or to a session, what is another call's doing.
    pub(super) fn catch_up(&mut self) {
        self.read_packets(Instant::now());
        self.listening.waiting |= self.listening.resting.is_some();
    }

    fn read_packets(&mut self, now: Instant) {
        let mut all = false;
        for _ in 0..BATCH {
            let begun = Instant::now();
            if !self.budget.allows(begun) {
                break;
            }
            match self.tap.next() {
                Ok(Some(packet)) => self.listening.noise |= !self.take_packet(now, &packet),
                Ok(None) => {
                    all = true;
                    break;
                }
                Err(error) => {
                    // An interface that goes away leaves ENETDOWN behind, once.
                    log::debug!("packet sockets: {error}");
                    self.listening.noise = true;
                }
            }
            self.budget.spend(begun.elapsed());
        }
        self.listening.waiting = !all;
        if !all || self.tap.has_dropped() {
            // What is read late, or lost by a socket that is full, is none that the engine could rest on.
            self.engine.handle_event(now, Event::InitiationsMissed);
        }
    }

    /// Returns whether it was authentic.
    fn take_packet(&mut self, now: Instant, packet: &Captured) -> bool {
        // Forwarded packets pass the tap too; they are others' business.
        if !self.routes.is_local(packet.destination.ip()) {
            return false;
        }
        let Some((interface, verdict)) = self.watched.verify(packet.destination.port(), &packet.payload)
        else {
            return false;
        };
        self.engine.handle_event(now, Event::Initiation { interface, source: packet.source, verdict });
        matches!(verdict, Verdict::Authentic { .. })
    }

    fn rest(&mut self, until: Instant) {
        // Fails only for what is not registered.
        let _ = self.poll.registry().deregister(&mut self.tap);
        (self.listening.waiting, self.listening.resting, self.listening.noise) = (true, Some(until), false);
    }
}
