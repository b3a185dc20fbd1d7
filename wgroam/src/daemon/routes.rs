// SPDX-License-Identifier: GPL-2.0-only
//! Carries the engine's wishes about routes to the kernel, and what the kernel says back.

use std::time::Instant;

use super::Daemon;
use crate::engine::Event;
use crate::linux::name_servers;
use crate::linux::own_routes::{Error, OwnRoutes};
use crate::routing::{OwnRoute, RouteQuery};

impl Daemon {
    pub(super) fn query_routes(&mut self, now: Instant, question: &RouteQuery) {
        match self.own_routes.survey(question, &|tunnel| self.routes.ifindex_of(tunnel)) {
            Ok(mut answer) => {
                self.routes.complete(question, &name_servers::FILES, &mut answer);
                self.engine.handle_event(now, Event::Routes(answer));
            }
            // The engine asks again while there is a reason to.
            Err(error) => log::warn!("the routing table can't be read: {error}"),
        }
    }

    /// Adds or removes a route. What fails stays so until something changes: it is said once.
    pub(super) fn change_route(
        &mut self,
        change: fn(&mut OwnRoutes, &OwnRoute) -> Result<(), Error>,
        route: &OwnRoute,
    ) {
        if let Err(error) = change(&mut self.own_routes, route) {
            let text = error.to_string();
            if text != self.last_route_trouble {
                log::warn!("{text}");
                self.last_route_trouble = text;
            }
        }
        self.routes.set_own_port(self.own_routes.port());
    }

    /// Tells the engine what may have happened to routes of ours, and at the start and after a change which addresses
    /// are this machine's own.
    pub(super) fn tell_changes(&mut self, now: Instant) {
        if let Some(own) = self.routes.own_addresses() {
            self.engine.handle_event(now, Event::OwnAddresses(own));
        }
        if self.routes.routes_changed() {
            self.engine.handle_event(now, Event::RoutesChanged);
        }
    }

    /// A clean stop leaves no route of ours behind.
    pub(super) fn remove_routes(&mut self) {
        match self.own_routes.list() {
            Ok(own) => own.iter().for_each(|route| self.change_route(OwnRoutes::remove, route)),
            Err(error) => log::warn!("routes may be left behind (ip route show proto 119): {error}"),
        }
    }
}
