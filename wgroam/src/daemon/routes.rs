// SPDX-License-Identifier: GPL-2.0-only
//! Carries the engine's wishes about routes to the kernel, and what the kernel says back.

use std::time::Instant;

use super::Daemon;
use crate::engine::Event;
use crate::linux::own_routes::{Error, OwnRoutes};
use crate::routing::RouteQuery;

impl Daemon {
    pub(super) fn query_routes(&mut self, now: Instant, question: &RouteQuery) {
        match self.own_routes.survey(question, &|tunnel| self.routes.ifindex_of(tunnel)) {
            Ok(mut ways) => {
                ways.uplinks = self.routes.uplinks();
                self.engine.handle_event(now, Event::Routes(ways));
            }
            // The engine asks again while there is a reason to.
            Err(error) => log::warn!("the routing table can't be read: {error}"),
        }
    }

    /// Adds or removes a route. What fails stays so until something changes: it is said once.
    pub(super) fn change_route(&mut self, change: impl FnOnce(&mut OwnRoutes) -> Result<(), Error>) {
        if let Err(error) = change(&mut self.own_routes) {
            let text = error.to_string();
            if text != self.last_route_trouble {
                log::warn!("{text}");
                self.last_route_trouble = text;
            }
        }
    }

    /// A clean stop leaves no route of ours behind.
    pub(super) fn remove_routes(&mut self) {
        match self.own_routes.list() {
            Ok(own) => own.iter().for_each(|route| self.change_route(|routes| routes.remove(route))),
            Err(error) => log::warn!("routes may be left behind (ip route show proto 119): {error}"),
        }
    }
}
