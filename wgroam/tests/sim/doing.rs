// SPDX-License-Identifier: GPL-2.0-only
//! The engine's side: what it is told, and what it wants, done to the world.

use std::time::Duration;

use wgroam::engine::{Action, Engine, Event, ResolveError};

use super::referee::concerns;
use super::wireguard::Payload;
use super::world::{Happening, R1, SILENT_NAME, STRAY, World};

/// From a question to WireGuard to its answer.
const ANSWER_TIME: Duration = Duration::from_millis(1);
/// A name server's.
const DNS_TIME: Duration = Duration::from_millis(30);
/// Pings from here on are the engine's probes.
pub(super) const PROBE: u64 = 1 << 40;
/// What it sends in the LAN's place: a probe that nobody waits for.
const WAKE: u64 = PROBE;

impl World {
    /// Tells the host's engine, if it has one, and does what it wants.
    pub fn tell(&mut self, host: usize, event: Event) {
        let instant = self.instant();
        if host == R1 && matches!(event, Event::WanChanged(_)) {
            self.referee.wan_changed = Some(self.now);
        }
        if let Some(engine) = &mut self.hosts[host].engine {
            engine.handle_event(instant, event);
            self.carry_out(host);
        }
    }

    pub(super) fn carry_out(&mut self, host: usize) {
        while let Some(action) = self.hosts[host].engine.as_mut().and_then(Engine::poll_action) {
            let (now, wall) = (self.now, self.hosts[host].wall(self.now));
            self.judge(host, &action);
            if concerns(&action) == Some(STRAY) {
                continue;
            }
            let router = &mut self.hosts[host];
            match (action, &mut router.wireguard) {
                (Action::TakeSnapshot { .. }, _) => {
                    router.snapshots += 1;
                    self.at(now + ANSWER_TIME, Happening::Answer(host));
                }
                (Action::SetEndpoint { endpoint, reason, .. }, wireguard) => {
                    router.sets.push((now, endpoint, reason));
                    if let Some(wireguard) = wireguard {
                        wireguard.set_endpoint(now, wall, endpoint);
                    }
                    self.flush(host);
                }
                (Action::Poke { keepalive, .. }, Some(wireguard)) => {
                    router.pokes += 1;
                    wireguard.poke(now, wall, keepalive);
                    self.flush(host);
                }
                // Linux drops an IPv4 source by itself when its address is gone, which the model's WireGuard is.
                (Action::ClearSource { endpoint, .. }, wireguard) => {
                    if let Some(wireguard) = wireguard {
                        assert_eq!(wireguard.endpoint, Some(endpoint), "it moved something");
                        wireguard.set_endpoint(now, wall, endpoint);
                    }
                    self.flush(host);
                }
                (Action::Poke { .. } | Action::Remember | Action::Forget { .. }, _) => {}
                (Action::Resolve { host: name }, _) if name == SILENT_NAME => {}
                (Action::Resolve { host: name }, _) => {
                    router.questions += 1;
                    let temporary = ResolveError::Temporary("no server answers".into());
                    let answer = match &self.dns {
                        Some(dns) => dns.get(&name).cloned().ok_or(ResolveError::NotFound),
                        None => Err(temporary),
                    };
                    let event = Event::Resolved { host: name, answer };
                    self.at(now + DNS_TIME, Happening::Told(host, event));
                }
                (Action::Probe { token, .. }, Some(wireguard)) => {
                    router.probes += 1;
                    wireguard.transmit(now, wall, Payload::Ping(PROBE + u64::from(token)));
                    self.flush(host);
                }
                (Action::Wake { .. }, Some(wireguard)) => {
                    wireguard.transmit(now, wall, Payload::Ping(WAKE));
                    self.flush(host);
                }
                (Action::CopyInitiation { home, to, .. }, Some(wireguard)) => wireguard.copy(now, home, to),
                (Action::SetPort { port, .. }, Some(wireguard)) => {
                    let free = 32_768 + (self.rng.next() % 28_000) as u16;
                    wireguard.port = if port == 0 { free } else { port };
                }
                (Action::ReaddPeer { endpoint, .. }, Some(wireguard)) => {
                    if let Some((endpoint, reason)) = endpoint {
                        router.sets.push((now, endpoint, reason));
                    }
                    wireguard.readd(now, wall, endpoint.map(|(endpoint, _)| endpoint));
                    self.referee.begin(host);
                    self.flush(host);
                }
                (
                    Action::Probe { .. }
                    | Action::Wake { .. }
                    | Action::CopyInitiation { .. }
                    | Action::SetPort { .. }
                    | Action::ReaddPeer { .. },
                    None,
                ) => {}
                (Action::QueryRoutes(question), _) => {
                    let ways = router.ways(question);
                    let instant = self.instant();
                    if let Some(engine) = &mut self.hosts[host].engine {
                        engine.handle_event(instant, Event::Routes(ways));
                    }
                }
                (Action::AddRoute(route), _) => {
                    router.own_routes.retain(|other| !other.same_place(&route));
                    router.own_routes.push(route);
                }
                (Action::RemoveRoute(route), _) => {
                    assert!(router.own_routes.contains(&route), "it removes what is not there: {route}");
                    router.own_routes.retain(|other| *other != route);
                }
                (Action::Report(report), _) => {
                    router.told.push((now, report.clone()));
                    router.reports.push(report);
                }
            }
        }
    }
}
