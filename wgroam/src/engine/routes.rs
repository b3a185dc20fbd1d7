// SPDX-License-Identifier: GPL-2.0-only
//! Routes of our own: a host route where an endpoint would be led into its own tunnel, and an `unreachable` one beside
//! each that leads into a tunnel on which nobody answers. What there should be is worked out from what is known, and
//! what there is made equal to it: so a crash, somebody's `ip route del` and a change of mind are all one case.

use std::net::IpAddr;
use std::time::Instant;

use super::constants::*;
use super::device::DeviceState;
use super::names::backoff;
use super::peer::PeerState;
use super::{Action, Engine, Report};
use crate::model::Interface;
use crate::routing::{IPV6_METRIC, OwnRoute, Prefix, Purpose, RouteAnswer, RouteQuery, Through, Via};

/// A route that there has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needed {
    route: OwnRoute,
    interface: Interface,
    purpose: Purpose,
}

/// A route of ours that there is. It is for nothing when an earlier run left it behind.
type Owned = (OwnRoute, Option<(Interface, Purpose)>);

/// What is known of routes, and which are ours.
#[derive(Debug)]
pub(super) struct Routes {
    /// When the last question was asked, and whether another one is to be now.
    asked: Option<Instant>,
    wanted: bool,
    /// It has no answer yet.
    open: bool,
    /// The last answer.
    ways: RouteAnswer,
    own: Vec<Owned>,
    /// What an earlier run left behind stays until then: it may turn out to be needed.
    adopt_until: Option<Instant>,
}

impl Routes {
    pub fn new(now: Instant) -> Self {
        let adopt_until = Some(now + ADOPT_FOR);
        Self {
            asked: None,
            wanted: true,
            open: false,
            ways: RouteAnswer::default(),
            own: Vec::new(),
            adopt_until,
        }
    }

    /// Something changed that routes hang on: ask the kernel again.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Is an answer on its way? It comes before anything else happens, or not at all.
    pub fn asking(&self, now: Instant) -> bool {
        self.open && self.asked == Some(now)
    }

    /// When what was left behind is judged.
    pub fn deadline(&self) -> Option<Instant> {
        self.adopt_until
    }

    /// Those of this interface, and what they are for.
    pub fn of(&self, interface: Interface) -> Vec<(OwnRoute, Purpose)> {
        let its = |&(route, of): &Owned| of.filter(|of| of.0 == interface).map(|of| (route, of.1));
        self.own.iter().filter_map(its).collect()
    }
}

impl Engine {
    /// Asks about routes, if that is due: before anything is sent on what they say. Who goes to nobody asks at the start
    /// only, for what an earlier run may have left behind: a table may be long.
    pub(super) fn ask_routes(&mut self, now: Instant) {
        let wanted = std::mem::take(&mut self.routes.wanted);
        let idle = self.settings.gone_to().next().is_none() && self.routes.own.is_empty();
        if self.routes.asking(now) || (idle && self.routes.asked.is_some()) {
            return;
        }
        let targets = self.targets();
        let unknown = targets.iter().any(|target| !self.routes.ways.targets.contains(target));
        let again = self.longest_silence(now).is_some_and(|silence| {
            let asked = self.routes.asked.unwrap_or(now);
            now >= asked + backoff(silence, REST_PART, ROUTES_AGAIN)
        });
        if !wanted && !unknown && !again {
            return;
        }
        (self.routes.asked, self.routes.open) = (Some(now), true);
        // So that nothing is asked twice while the answer is on its way.
        self.routes.ways.targets.clone_from(&targets);
        let tunnels = self.chasing_devices().map(|device| device.interface).collect();
        let question = RouteQuery { tunnels, targets, servers: false };
        self.actions.push_back(Action::QueryRoutes(question));
    }

    pub(super) fn on_route_answer(&mut self, ways: RouteAnswer) {
        let known = std::mem::take(&mut self.routes.own);
        let of = |route: &OwnRoute| known.iter().find(|(other, _)| other == route).and_then(|&(_, of)| of);
        self.routes.own = ways.own.iter().map(|route| (*route, of(route))).collect();
        (self.routes.ways, self.routes.open) = (ways, false);
    }

    /// Makes our routes what they should be.
    pub(super) fn arrange_routes(&mut self, now: Instant) {
        let adopting = self.routes.adopt_until.is_some_and(|until| now < until);
        if !adopting {
            self.routes.adopt_until = None;
        }
        let needed = self.needed_routes();
        let own = std::mem::take(&mut self.routes.own);
        let is = |route: &OwnRoute| needed.iter().any(|needed| needed.route == *route);
        for &Needed { route, interface, purpose } in &needed {
            if !own.iter().any(|(other, _)| *other == route) {
                self.actions.push_back(Action::AddRoute(route));
                self.report(Report::RouteAdded { interface, route, purpose });
            }
        }
        for (route, of) in own.into_iter().filter(|(route, _)| !is(route)) {
            if of.is_none() && adopting {
                self.routes.own.push((route, of));
                continue;
            }
            // One that only leads another way was replaced by the new one.
            if !needed.iter().any(|needed| needed.route.same_place(&route)) {
                self.actions.push_back(Action::RemoveRoute(route));
                self.report(Report::RouteRemoved { interface: of.map(|of| of.0), route });
            }
        }
        let owned = |needed: &Needed| (needed.route, Some((needed.interface, needed.purpose)));
        self.routes.own.extend(needed.iter().map(owned));
    }

    fn needed_routes(&self) -> Vec<Needed> {
        let mut list: Vec<Needed> = Vec::new();
        let mut need = |needed: Needed| {
            // Two tunnels may have an endpoint in common.
            if !list.iter().any(|other| other.route.same_place(&needed.route)) {
                list.push(needed);
            }
        };
        let ways = &self.routes.ways;
        for device in self.chasing_devices() {
            let interface = device.interface;
            // Packets that are marked are led by rules of the owner's, not by the main table.
            let marked = device.fwmark != 0;
            let peers = device.present_peers().filter(|peer| !marked && self.goes_to(interface, peer));
            for endpoint in peers.flat_map(PeerState::goals) {
                if ways.leads(endpoint, interface) {
                    need(Needed { route: around(endpoint, ways), interface, purpose: Purpose::Endpoint });
                }
            }
            if self.settings.refuses(interface) && device.dead {
                let through = ways.through.iter().filter(|through| through.interfaces == [interface]);
                for route in through.filter_map(refusal) {
                    need(Needed { route, interface, purpose: Purpose::Unreachable });
                }
            }
        }
        list
    }

    fn chasing_devices(&self) -> impl Iterator<Item = &DeviceState> {
        self.devices.values().filter(|device| device.present() && self.settings.chases(device.interface))
    }

    /// Is it sure that nothing gets through the tunnel, to whomever?
    pub(super) fn nobody_answers(&self, device: &DeviceState, now: Instant) -> bool {
        let silent = |peer: &PeerState| match peer.chased.as_ref().map(|chased| (chased, &chased.ladder)) {
            Some((chased, Some(ladder))) => {
                let silence = now.saturating_duration_since(ladder.since);
                let proven = match peer.alive(now) {
                    true => silence >= HANDSHAKE_AFTER && !in_gap(silence),
                    false => silence >= REFUSE_AFTER,
                };
                let called = chased.called.is_some_and(|when| now < when + CALLED_FOR);
                proven && chased.dead(now, peer) && !called
            }
            _ => !peer.alive(now),
        };
        let chased = |peer: &PeerState| {
            let ladder = peer.chased.as_ref().and_then(|chased| chased.ladder.as_ref());
            ladder.is_some() && self.goes_to(device.interface, peer)
        };
        device.up && device.present_peers().any(chased) && device.present_peers().all(silent)
    }

    /// For how long peers have been silent: the longest.
    fn longest_silence(&self, now: Instant) -> Option<std::time::Duration> {
        let peers = self.chasing_devices().flat_map(DeviceState::present_peers);
        let ladders = peers.filter_map(|peer| peer.chased.as_ref()?.ladder.as_ref());
        ladders.map(|ladder| now.saturating_duration_since(ladder.since)).max()
    }

    /// Where the peers that we go to are or may be, each address once.
    fn targets(&self) -> Vec<IpAddr> {
        let mut targets = Vec::new();
        let mut add = |ip: IpAddr| {
            if !targets.contains(&ip) {
                targets.push(ip);
            }
        };
        for section in self.settings.gone_to() {
            let Some(device) = self.devices.get(&section.tunnel).filter(|device| device.present()) else {
                continue;
            };
            self.names.endpoints(section).iter().for_each(|endpoint| add(endpoint.ip()));
            if let Some(peer) = device.peers.get(&section.public_key) {
                peer.goals().for_each(&mut add);
            }
        }
        targets
    }

    fn goes_to(&self, interface: Interface, peer: &PeerState) -> bool {
        let section = self.settings.peer(interface, peer.seen.public_key);
        section.is_some_and(|section| !section.endpoints.is_empty())
    }
}

/// Is the LAN let in for a moment, so that what it sends makes WireGuard try again?
fn in_gap(silence: std::time::Duration) -> bool {
    let secs = silence.as_secs();
    secs >= GAP_EVERY && secs % GAP_EVERY < GAP
}

impl PeerState {
    /// Where packets to it go, or are about to.
    fn goals(&self) -> impl Iterator<Item = IpAddr> {
        let next = self.errand.and_then(|errand| errand.set);
        let set = self.set.map(|(endpoint, ..)| endpoint);
        [self.seen.endpoint, set, next].into_iter().flatten().map(|endpoint| endpoint.ip())
    }
}

/// A host route that keeps to the way that everything else takes. Without any way it leads nowhere: anything is better
/// than a tunnel that carries itself.
fn around(endpoint: IpAddr, ways: &RouteAnswer) -> OwnRoute {
    let via = ways.uplinks[usize::from(endpoint.is_ipv6())].map_or(Via::Unreachable, Via::By);
    // What the kernel makes of 0, so that the route reads back the same.
    let metric = if endpoint.is_ipv4() { 0 } else { IPV6_METRIC };
    OwnRoute { to: Prefix::host(endpoint), from: None, metric, via, source: None }
}

/// The route that counts in place of the one into the tunnel. Metric 1 can't be undercut; nobody uses it.
fn refusal(through: &Through) -> Option<OwnRoute> {
    let metric = through.metric.checked_sub(1).filter(|&metric| metric > 0)?;
    Some(OwnRoute { to: through.to, from: through.from, metric, via: Via::Unreachable, source: None })
}
