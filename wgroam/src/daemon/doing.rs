// SPDX-License-Identifier: GPL-2.0-only
//! Carries out what the engine wants: action -> adapter, and what comes back -> event.

use std::time::Instant;

use super::{Daemon, trouble, wall};
use crate::engine::constants::COPY_FOR;
use crate::engine::{Action, Event, Report};
use crate::linux::copies::Order;
use crate::linux::own_routes::OwnRoutes;
use crate::linux::wireguard;
use crate::model::{Interface, wipe_stack};
use crate::render;

impl Daemon {
    /// Does what the engine wants, until it wants nothing more.
    pub(super) fn carry_out(&mut self, now: Instant) {
        while let Some(action) = self.engine.poll_action() {
            self.do_one(now, &action);
        }
    }

    // Not within a loop: what is the same in each turn of it would be kept at hand, and there is much.
    #[inline(never)]
    fn do_one(&mut self, now: Instant, action: &Action) {
        match action {
            Action::TakeSnapshot { interface } => self.take_snapshot(now, *interface),
            Action::SetEndpoint { interface, .. }
            | Action::ClearSource { interface, .. }
            | Action::Poke { interface, .. }
            | Action::SetPort { interface, .. }
            | Action::ReaddPeer { interface, .. } => self.tell(now, *interface, action),
            Action::Resolve { host } => self.asking.resolve(host),
            Action::Probe { interface, target, token, .. } => {
                // The engine notices that nothing comes back; why is for whoever looks closely.
                if let Err(error) = self.asking.probe(*interface, *target, *token) {
                    log::debug!("probe: {error}");
                }
            }
            Action::Wake { interface, target } => {
                if let Err(error) = self.asking.wake(*interface, *target) {
                    log::debug!("wake: {error}");
                }
            }
            Action::CopyInitiation { interface, peer, home, to, mark } => {
                let (interface, peer, home, mark) = (*interface, *peer, *home, *mark);
                self.copy_initiation(Order {
                    interface,
                    peer,
                    home,
                    to: to.clone(),
                    mark,
                    until: now + COPY_FOR,
                });
            }
            Action::QueryRoutes(question) => self.query_routes(now, question),
            Action::AddRoute(route) => self.change_route(OwnRoutes::add, route),
            Action::RemoveRoute(route) => self.change_route(OwnRoutes::remove, route),
            Action::Forget { interface } => self.forget(*interface),
            Action::Remember => self.keeper.remember(now, &self.engine.memory()),
            Action::Report(report) => self.report(report),
        }
    }

    /// Tells WireGuard what is to be changed; not while it leaves questions unanswered: a look finds out when it is back.
    fn tell(&mut self, now: Instant, interface: Interface, change: &Action) {
        if self.troubles.is_silent(interface) {
            return;
        }
        let wireguard = &mut self.wireguard;
        let told = match change {
            Action::SetEndpoint { peer, endpoint, .. } | Action::ClearSource { peer, endpoint, .. } => {
                wireguard.set_endpoint(interface, peer, *endpoint)
            }
            Action::Poke { peer, keepalive, .. } => wireguard.poke(interface, peer, *keepalive),
            Action::SetPort { port, .. } => wireguard.set_port(interface, *port),
            Action::ReaddPeer { peer, endpoint, .. } => {
                let told = wireguard.readd_peer(interface, peer, endpoint.map(|(endpoint, _)| endpoint));
                // Its preshared key went through our hands.
                wipe_stack();
                told
            }
            _ => return,
        };
        match told {
            // An interface that went away meanwhile is no news: its own event follows.
            Ok(()) | Err(wireguard::Error::Gone(_)) => {}
            Err(error) => self.complain(now, interface, &error),
        }
    }

    fn complain(&mut self, now: Instant, interface: Interface, error: &wireguard::Error) {
        if let Some(text) = self.troubles.note(now, interface, error) {
            log::warn!("{text}");
        }
    }

    fn take_snapshot(&mut self, now: Instant, interface: Interface) {
        let event = self.look(now, interface);
        wipe_stack();
        if let Some(event) = event {
            self.catch_up();
            self.engine.handle_event(now, event);
        }
    }

    /// None: there was no answer this time. The engine asks again; what is known of the device stays.
    ///
    /// Not inlined, so that what is left of a private key on the stack is below [`Daemon::take_snapshot`].
    #[inline(never)]
    fn look(&mut self, now: Instant, interface: Interface) -> Option<Event> {
        match self.wireguard.device(interface) {
            Ok((device, key)) => {
                self.troubles.answered(interface);
                let newest = |peer: &_| self.engine.newest(interface, peer);
                if self.watched.update(&device, key, newest) {
                    self.listen();
                }
                Some(Event::Snapshot { device, wall: wall() })
            }
            Err(error) => {
                if !matches!(error, wireguard::Error::Gone(_)) {
                    self.complain(now, interface, &error);
                }
                if !trouble::is_final(&error) {
                    return None;
                }
                if self.watched.remove(interface) {
                    self.listen();
                }
                Some(Event::DeviceGone { interface })
            }
        }
    }

    fn listen(&mut self) {
        if let Err(error) = self.tap.set_ports(&self.watched.ports()) {
            log::error!("packet sockets: {error}; initiations are not seen until this works again");
        }
    }

    fn report(&mut self, report: &Report) {
        let watchers = self.control.has_watchers();
        // Nobody listens to most of them: 5,000 pokes at once, each by its name, are half a second on a small router.
        if watchers || log::log_enabled!(level(report)) {
            let text = render::report_text(report, self.engine.config());
            log::log!(level(report), "{text}");
            if watchers {
                let json = render::report_json(report, self.engine.config(), wall());
                self.control.broadcast(format!("{text}\n").as_bytes(), json.as_bytes());
            }
        }
    }

    /// Its private key is wiped.
    fn forget(&mut self, interface: Interface) {
        self.troubles.remove(interface);
        if self.watched.remove(interface) {
            self.listen();
        }
    }
}

fn level(report: &Report) -> log::Level {
    match report {
        Report::NotTaken { .. } | Report::OwnClock { behind: Some(_) } => log::Level::Warn,
        Report::Stranger { .. } => log::Level::Warn,
        Report::Poked { .. } => log::Level::Debug,
        _ => log::Level::Info,
    }
}
