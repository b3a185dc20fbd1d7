// SPDX-License-Identifier: GPL-2.0-only
//! What is asked of the engine between its actions, and at the end of a story.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wgroam::engine::Action;
use wgroam::engine::constants::{HISTORY, SNAPSHOT_INTERVAL};
use wgroam::model::Interface;

use super::court::Court;

const SECOND: Duration = Duration::from_secs(1);

impl Court {
    pub fn check_bounds(&self) {
        let status = self.engine.status(self.now);
        for device in &status.devices {
            assert!(device.strangers.len() <= 32);
            assert!(device.peers.iter().all(|peer| peer.history.len() <= HISTORY));
        }
        let known: BTreeSet<_> = self.engine.memory().iter().map(|r| (r.interface, r.peer)).collect();
        assert_eq!(known.len(), self.engine.memory().len());
        assert!(known.len() <= 8);
    }

    /// Rule 6: what is tried is for a moment.
    pub fn check_homes(&self) {
        let lately = |when: &&Instant| self.now < **when + Duration::from_secs(14);
        // Of ten pokes in a row the next one waits for its turn.
        let waits = |at| self.poked.get(&at).is_some_and(|pokes| pokes.iter().filter(lately).count() >= 9);
        // Two rounds over all addresses, if they are added anew, each of which takes a handshake and a moment at home.
        let round = |interface| {
            let peers = self.book.peers(interface);
            let most = peers.map(|(&at, _)| self.book.list(self.now, at, 600 * SECOND).len() + 2).max();
            2 * most.unwrap_or(0) as u32 * Duration::from_secs(9) + Duration::from_secs(30)
        };
        if self.answers {
            let can = |interface: Interface| {
                self.there.contains(&interface) && self.watched(interface) && self.devices[&interface].up
            };
            self.homes.check(self.now, can, waits, round);
        }
    }

    /// After the end everything is where it was before.
    pub fn check_stopped(&self) {
        for (&interface, device) in &self.devices {
            let ours = self.there.contains(&interface) && self.watched(interface);
            let away = device.peers.iter().find(|peer| self.homes.is_away((interface, peer.public_key)));
            assert_eq!(away.filter(|_| ours), None, "left where it was tried");
            assert!(!ours || !self.homes.port_is_away(interface), "left at another port");
        }
    }

    /// Everything stands still: at most one wake-up in 5 s, and nothing done but looking.
    pub fn check_quiet(&mut self) {
        self.wait(Duration::from_secs(120));
        self.wakeups.clear();
        self.actions.clear();
        self.wait(Duration::from_secs(600));
        let close = self.wakeups.windows(2).find(|pair| pair[1] - pair[0] < SNAPSHOT_INTERVAL);
        assert_eq!(close, None, "a quiet engine woke up twice within 5 s");
        let other = self.actions.iter().find(|(_, action)| !matches!(action, Action::TakeSnapshot { .. }));
        assert_eq!(other, None, "without evidence no action");
    }
}
