// SPDX-License-Identifier: GPL-2.0-only
//! Initiations that were heard: an authentic one has WireGuard looked at, all others are only noted.

use std::net::SocketAddr;
use std::time::Instant;

use super::constants::*;
use super::peer::Pending;
use super::{Engine, Reason, Report};
use crate::initiation::Verdict;
use crate::model::Interface;

impl Engine {
    /// Returns whether anything is to be done: a flood of strangers costs no more than its counting.
    pub(super) fn on_initiation(
        &mut self,
        now: Instant,
        interface: Interface,
        source: SocketAddr,
        verdict: Verdict,
    ) -> bool {
        let Some(device) = self.devices.get_mut(&interface).filter(|device| device.present()) else {
            return false;
        };
        if let Verdict::Authentic { peer: key, timestamp } = verdict {
            let fresh = self.memory.proven(interface, key);
            device.strangers.acquit(&key);
            if let Some(peer) = device.peers.get_mut(&key).filter(|peer| peer.absent.is_none()) {
                peer.clock_behind = None;
                peer.verified = Some((source, now));
                // The newer one replaces what the older one was to do.
                if let Some(errand) = &mut peer.errand
                    && errand.reason == Reason::Initiation
                {
                    errand.set = None;
                }
                peer.pending = Some(Pending { source, seen: now, fresh, answered: false });
            }
            device.looks.at(now + LEARN_DELAY, &self.ticks);
            device.looks.hurry(now, &self.ticks);
            let changed = self.memory.note_newest(interface, key, timestamp);
            self.remember(now, changed);
            return true;
        }
        if let Verdict::Replay { peer: key, behind, .. } = verdict
            && behind >= CLOCK_SLACK
            && let Some(peer) = device.peers.get_mut(&key)
        {
            peer.clock_behind = Some((behind, now));
        }
        let new = device.strangers.note(now, source, &verdict);
        if new && self.stranger_reports.allow(now, STRANGER_BURST, STRANGER_REFILL) {
            self.report(Report::Stranger { interface, source, verdict });
        }
        false
    }
}
