// SPDX-License-Identifier: GPL-2.0-only
//! Copies of WireGuard's initiations: the engine's order -> adapter.

use std::time::Instant;

use mio::Interest;
use mio::unix::SourceFd;

use super::{COPIES, Daemon};
use crate::engine::Event;
use crate::linux::copies::Order;

impl Daemon {
    /// Takes an order for a copy.
    pub(super) fn copy_initiation(&mut self, order: Order) {
        let registry = self.poll.registry();
        let taken = self.copies.take(order).and_then(|new| match new {
            Some(fd) => registry.register(&mut SourceFd(&fd), COPIES, Interest::READABLE),
            None => Ok(()),
        });
        // The engine notices that nobody answers; why is for whoever looks closely.
        if let Err(error) = taken {
            log::debug!("copies of initiations: {error}");
        }
    }

    /// Something leaves that may be an initiation.
    pub(super) fn copy(&mut self, now: Instant) {
        let watched = &self.watched;
        let failed = |to, error| log::debug!("copy of an initiation to {to}: {error}");
        match self.copies.carry_out(|interface| watched.port(interface), failed) {
            Ok(done) => {
                for (interface, peer) in done {
                    self.engine.handle_event(now, Event::InitiationCopied { interface, peer });
                }
            }
            Err(error) => log::debug!("copies of initiations: {error}"),
        }
        self.copies.expire(now);
    }
}
