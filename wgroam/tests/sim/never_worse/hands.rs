// SPDX-License-Identifier: GPL-2.0-only
//! The engine's hands: what it is told, what it wants done, and who answers its questions for names.

use std::net::IpAddr;
use std::time::Duration;

use wgroam::engine::{Action, Engine, Event, Report, ResolveError};
use wgroam::routing::Prefix;

use super::plan::{Lie, R1, R2, Servers, chance};
use super::router::{SERVER, addresses, inside_address, lan_address, lan6, name};
use super::world::{Due, PROBE, QUESTION, Question, WAKE, World};
use crate::wireguard::Payload;

/// From a question to WireGuard to its answer.
const LOOK_TIME: Duration = Duration::from_millis(1);
/// A name server's.
const NAME_TIME: Duration = Duration::from_millis(30);
/// What the resolver waits for.
const NAME_LIMIT: Duration = Duration::from_secs(5);
/// A page that sells names.
pub const PARKED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));

impl World<'_> {
    /// Tells the router's engine, if it has one, and does what it wants.
    pub(super) fn tell(&mut self, router: usize, event: Event) {
        let instant = self.instant();
        if let Some(engine) = &mut self.routers[router].engine {
            engine.handle_event(instant, event);
            self.carry_out(router);
        }
    }

    pub(super) fn carry_out(&mut self, router: usize) {
        while let Some(action) = self.routers[router].engine.as_mut().and_then(Engine::poll_action) {
            let tells = match &action {
                Action::TakeSnapshot { .. } | Action::QueryRoutes(_) | Action::Remember => false,
                Action::Report(report) => matches!(report, Report::Name { .. } | Report::Recovered { .. }),
                _ => true,
            };
            if tells {
                self.note(|_| format!("    wgroam on R{}: {action:?}", router + 1));
            }
            self.do_it(router, action);
        }
    }

    fn do_it(&mut self, router: usize, action: Action) {
        let now = self.now;
        match action {
            Action::TakeSnapshot { interface } => {
                if let Some(tunnel) = self.tunnel_named(router, interface) {
                    self.after(LOOK_TIME, Due::Look(router, tunnel));
                }
            }
            Action::Resolve { host } => self.resolve(router, host),
            Action::QueryRoutes(query) => {
                let multipath = router == R1 && self.plan.second == Some(true);
                let answer = self.routers[router].routes(now, query, multipath);
                let instant = self.instant();
                if let Some(engine) = &mut self.routers[router].engine {
                    engine.handle_event(instant, Event::Routes(answer));
                }
            }
            Action::AddRoute(route) => {
                let routes = &mut self.routers[router].own_routes;
                routes.retain(|other| !other.same_place(&route));
                routes.push(route);
            }
            Action::RemoveRoute(route) => {
                self.routers[router].own_routes.retain(|other| *other != route);
            }
            Action::Forget { .. } | Action::Remember | Action::Report(_) => {}
            Action::SetEndpoint { interface, .. }
            | Action::ClearSource { interface, .. }
            | Action::Poke { interface, .. }
            | Action::Probe { interface, .. }
            | Action::Wake { interface, .. }
            | Action::CopyInitiation { interface, .. }
            | Action::SetPort { interface, .. }
            | Action::ReaddPeer { interface, .. } => {
                if let Some(tunnel) = self.tunnel_named(router, interface) {
                    self.change(router, tunnel, action);
                }
            }
        }
    }

    fn change(&mut self, router: usize, tunnel: usize, action: Action) {
        let (now, wall) = (self.now, self.routers[router].wall(self.now));
        let free = 33_000 + (chance(self.plan.seed, now, 77) % 20_000) as u16 + tunnel as u16;
        let Some(wireguard) = &mut self.routers[router].tunnels[tunnel].wireguard else { return };
        match action {
            Action::SetEndpoint { endpoint, .. } | Action::ClearSource { endpoint, .. } => {
                wireguard.set_endpoint(now, wall, endpoint);
            }
            Action::Poke { keepalive, .. } => wireguard.poke(now, wall, keepalive),
            Action::Probe { target, token, .. } => {
                if self.routers[router].own_routes.iter().all(|route| route.to != Prefix::host(target))
                    && let Some(wireguard) = &mut self.routers[router].tunnels[tunnel].wireguard
                {
                    wireguard.transmit(now, wall, Payload::Ping(PROBE + u64::from(token)));
                }
            }
            Action::Wake { .. } => wireguard.transmit(now, wall, Payload::Ping(WAKE)),
            Action::CopyInitiation { home, to, .. } => wireguard.copy(now, home, to),
            Action::SetPort { port, .. } => wireguard.port = if port == 0 { free } else { port },
            Action::ReaddPeer { endpoint, .. } => {
                wireguard.readd(now, wall, endpoint.map(|(endpoint, _)| endpoint));
            }
            _ => {}
        }
        self.flush(router, tunnel);
    }

    /// A question for a name leaves, around the tunnel or through it.
    fn resolve(&mut self, router: usize, host: String) {
        let number = self.questions.len();
        self.questions.push(Question { router, host, answered: false });
        let (now, wall) = (self.now, self.routers[router].wall(self.now));
        self.after(NAME_LIMIT, Due::NoAnswer(number));
        let own = &mut self.routers[router];
        if own.asks_inside() {
            if let Some(wireguard) = &mut own.tunnels[0].wireguard {
                wireguard.transmit(now, wall, Payload::Ping(QUESTION + number as u64));
                self.flush(router, 0);
            }
            return;
        }
        // Whoever was led around the tunnel may be one who only answers in it.
        let there = own.end.servers != Servers::Inside { public: false };
        let leaves = own.end.servers == Servers::Around || own.leaves(now, SERVER);
        if there && leaves {
            self.asked_around(number);
        }
    }

    fn asked_around(&mut self, number: usize) {
        let router = self.questions[number].router;
        if self.now >= self.routers[router].off {
            self.answer_question(number);
        }
    }

    /// A question got through the tunnel, and the answer back.
    pub(super) fn asked_inside(&mut self, number: usize) {
        self.answer_question(number);
    }

    fn answer_question(&mut self, number: usize) {
        let Question { router, host, answered } = &mut self.questions[number];
        if std::mem::replace(answered, true) {
            return;
        }
        let (router, host) = (*router, host.clone());
        let of = (0..3).find(|&end| name(end) == host);
        let answer = of.map_or(Err(ResolveError::NotFound), |end| self.answer(router, end));
        self.after(NAME_TIME, Due::Tell(router, Event::Resolved { host, answer }));
    }

    pub(super) fn no_answer(&mut self, number: usize) {
        let Question { router, host, answered } = &mut self.questions[number];
        if !std::mem::replace(answered, true) {
            let event = Event::Resolved { host: host.clone(), answer: Err(ResolveError::TimedOut) };
            let router = *router;
            self.tell(router, event);
        }
    }

    /// What the name of an end means to a router now.
    pub(super) fn answer(&self, router: usize, of: usize) -> Result<Vec<IpAddr>, ResolveError> {
        let (now, own) = (self.now, &self.routers[router]);
        let temporary = || ResolveError::Temporary("no server answers".into());
        if now < own.off || now < own.no_names {
            return Err(temporary());
        }
        if now < own.portal {
            // A captive portal's server answers nothing, or itself.
            return if own.moves % 2 == 0 { Err(temporary()) } else { Ok(vec![[10, 7, 7, 1].into()]) };
        }
        let truth = self.published[of];
        let lie = self.lies.get(router).copied().flatten().filter(|&(_, until)| now < until);
        let Some((lie, _)) = lie.filter(|_| of == R1 || of == R2) else { return Ok(vec![truth]) };
        let lan = lan_address(of);
        let lied = match lie {
            Lie::Private => vec![lan],
            Lie::Inside => vec![inside_address(of)],
            Lie::Loopback => vec![[127, 0, 0, 1].into()],
            Lie::Parked => vec![PARKED],
            Lie::Stale => {
                let before = self.routers[of].moves.checked_sub(1).unwrap_or(50);
                vec![addresses(&self.routers[of].end, of, before).1]
            }
            Lie::Own => vec![own.nat.address],
            Lie::Nothing => return Err(ResolveError::NotFound),
            Lie::AlsoPrivate => vec![truth, lan],
            Lie::PrivateFirst => vec![lan, truth],
            Lie::Ipv6First => vec![lan6(of), truth],
        };
        Ok(lied)
    }
}
