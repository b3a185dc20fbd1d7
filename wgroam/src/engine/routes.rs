// SPDX-License-Identifier: GPL-2.0-only
//! Routes of our own: a host route where an endpoint would be led into its own tunnel, or be sent to from an address of a
//! tunnel; one to a name server that is led into a dead tunnel; and an `unreachable` one beside each that leads into
//! tunnels on which nobody answers. What there should be is worked out from what is known, and what there is made equal
//! to it: so a crash, somebody's `ip route del` and a change of mind are all one case.

use std::net::IpAddr;

use super::constants::*;
use super::context::Context;
use super::device::Device;
use super::instant::{Instant, earliest};
use super::names::backoff;
use super::outbox::Outbox;
use super::peer::Peer;
use super::{Action, Report};
use crate::model::Interface;
use crate::routing::{Hop, IPV6_METRIC, OwnRoute, Prefix, Purpose, RouteAnswer, RouteQuery, Through, Via};
use crate::sorted::SortedMap;

/// The devices of the engine.
type Devices = SortedMap<Interface, Device>;

/// A route that there has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    route: OwnRoute,
    interface: Interface,
    purpose: Purpose,
}

/// A route of ours that there is. It is for nothing when an earlier run left it behind.
type Owned = (OwnRoute, Option<(Interface, Purpose)>);

/// What is known of routes, and which are ours.
#[derive(Debug)]
pub(super) struct Routes {
    /// When the last query was made, and when another one is wanted.
    asked: Option<Instant>,
    wanted: Option<Instant>,
    /// It has no answer yet.
    open: bool,
    /// It was about name servers, too.
    servers: bool,
    /// The last answer.
    pub answer: RouteAnswer,
    own: Vec<Owned>,
    /// What an earlier run left behind stays until then: it may turn out to be needed.
    adopt_until: Option<Instant>,
}

impl Routes {
    pub fn new(now: Instant) -> Self {
        Self {
            asked: None,
            wanted: Some(now),
            open: false,
            servers: false,
            answer: RouteAnswer::default(),
            own: Vec::new(),
            adopt_until: Some(now + ADOPT_FOR),
        }
    }

    /// Something changed that routes hang on: ask the kernel again.
    pub fn want(&mut self, now: Instant) {
        self.wanted = Some(now);
    }

    /// Somebody removed one of ours: the kernel is asked, but not oftener than [`ROUTES_SPACING`], however long they quarrel.
    pub fn want_soon(&mut self, now: Instant) {
        let spaced = self.asked.map_or(now, |asked| now.max(asked + ROUTES_SPACING));
        self.wanted = Some(self.wanted.map_or(spaced, |wanted| wanted.min(spaced)));
    }

    /// Is an answer on its way? It comes before anything else happens, or not at all.
    pub fn asking(&self, now: Instant) -> bool {
        self.open && self.asked == Some(now)
    }

    /// When the kernel is to be asked, or what was left behind is judged.
    pub fn deadline(&self) -> Option<Instant> {
        earliest(self.wanted, self.adopt_until)
    }

    /// Those of this interface, and what they are for.
    pub fn of(&self, interface: Interface) -> Vec<(OwnRoute, Purpose)> {
        let mut list = Vec::new();
        for &(route, of) in &self.own {
            if let Some((_, purpose)) = of.filter(|of| of.0 == interface) {
                list.push((route, purpose));
            }
        }
        list
    }

    /// What the kernel is to be asked about routes now, if anything: before anything is sent on what they say. Who dials
    /// nobody asks at the start only, for what an earlier run may have left behind: a table may be long.
    pub fn due(&self, context: &Context, devices: &Devices) -> Option<RouteQuery> {
        let now = context.now;
        let idle = context.settings.all_dialed().next().is_none() && self.own.is_empty();
        if self.asking(now) || (idle && self.asked.is_some()) {
            return None;
        }
        let targets = targets(context, devices);
        let unknown = targets.iter().any(|target| !self.answer.targets.contains(target));
        let (mut tunnels, mut servers) = (Vec::new(), false);
        // Since when the peer is silent that is silent for longest.
        let mut silent = None;
        for device in dialing(context, devices) {
            tunnels.push(device.interface);
            servers |= self.asks_in_vain(context, device);
            for dialed in device.present_peers().filter_map(Peer::recovering) {
                silent = earliest(silent, dialed.silent().map(|(_, since)| since));
            }
        }
        let again = silent.is_some_and(|since| {
            let silence = now.saturating_duration_since(since);
            now >= self.asked.unwrap_or(now) + backoff(silence, REST_PART, ROUTES_AGAIN)
        });
        let wanted = self.wanted.is_some_and(|wanted| wanted <= now);
        if !wanted && !unknown && !again && (!servers || self.servers) {
            return None;
        }
        Some(RouteQuery { tunnels, targets, servers })
    }

    /// The kernel is asked, or need not be.
    pub fn note_asked(&mut self, now: Instant, query: Option<&RouteQuery>) {
        self.wanted.take_if(|wanted| *wanted <= now);
        let Some(query) = query else { return };
        (self.asked, self.open, self.servers) = (Some(now), true, query.servers);
        // So that nothing is asked twice while the answer is on its way.
        self.answer.targets.clone_from(&query.targets);
    }

    /// The answer came.
    pub fn take(&mut self, answer: RouteAnswer) {
        let known = std::mem::take(&mut self.own);
        let of = |route: &OwnRoute| known.iter().find(|(other, _)| other == route).and_then(|&(_, of)| of);
        for route in &answer.own {
            self.own.push((*route, of(route)));
        }
        (self.answer, self.open) = (answer, false);
    }

    /// Makes our routes what they should be.
    pub fn arrange(&mut self, needed: &[Needed], now: Instant, outbox: &mut Outbox) {
        let adopting = self.adopt_until.is_some_and(|until| now < until);
        if !adopting {
            self.adopt_until = None;
        }
        let own = std::mem::take(&mut self.own);
        let is = |route: &OwnRoute| needed.iter().any(|needed| needed.route == *route);
        for &Needed { route, interface, purpose } in needed {
            if !own.iter().any(|(other, _)| *other == route) {
                outbox.push(Action::AddRoute(route));
                outbox.report(Report::RouteAdded { interface, route, purpose });
            }
        }
        for (route, of) in own.into_iter().filter(|(route, _)| !is(route)) {
            if of.is_none() && adopting {
                self.own.push((route, of));
                continue;
            }
            // One that only leads another way was replaced by the new one.
            if !needed.iter().any(|needed| needed.route.same_place(&route)) {
                outbox.push(Action::RemoveRoute(route));
                outbox.report(Report::RouteRemoved { interface: of.map(|of| of.0), route });
            }
        }
        for needed in needed {
            self.own.push((needed.route, Some((needed.interface, needed.purpose))));
        }
    }
}

impl Routes {
    /// The routes that there have to be.
    pub fn needed(&self, context: &Context, devices: &Devices) -> Vec<Needed> {
        let mut list: Vec<Needed> = Vec::new();
        let mut need = |needed: Needed| {
            // Two tunnels may have an endpoint in common.
            if !list.iter().any(|other| other.route.same_place(&needed.route)) {
                list.push(needed);
            }
        };
        let answer = context.routes;
        for device in dialing(context, devices) {
            let interface = device.interface;
            // Packets that are marked are led by rules of the owner's, not by the main table.
            let marked = device.fwmark != 0;
            let peers = device.present_peers().filter(|peer| !marked && context.settings.dials(peer.id));
            for peer in peers {
                for endpoint in peer.goals() {
                    let route = endpoint_route(context, interface, peer, endpoint);
                    route
                        .into_iter()
                        .for_each(|route| need(Needed { route, interface, purpose: Purpose::Endpoint }));
                }
            }
            if self.asks_in_vain(context, device) {
                let servers = answer.servers.iter().filter(|&&(_, into)| into == interface);
                for route in servers.filter_map(|&(server, _)| around(server, answer)) {
                    need(Needed { route, interface, purpose: Purpose::NameServer });
                }
            }
            if refuses(context, device) {
                let others = |of: &Interface| devices.get(of).is_some_and(|other| refuses(context, other));
                let through = answer.through.iter().filter(|through| {
                    through.interfaces.contains(&interface) && through.interfaces.iter().all(others)
                });
                for route in through.filter_map(unreachable) {
                    need(Needed { route, interface, purpose: Purpose::Unreachable });
                }
            }
        }
        list
    }

    /// Does nobody answer on it, and is a name of its peers not answered either since that is so? Then the question may
    /// have gone into this very tunnel. A route that there is for that stays until somebody answers: the next question
    /// needs it, too.
    fn asks_in_vain(&self, context: &Context, device: &Device) -> bool {
        let detour = Some((device.interface, Purpose::NameServer));
        let led_around = self.own.iter().any(|(_, of)| *of == detour);
        let lost = |peer: &Peer| {
            let silent = peer.dialed.as_ref().and_then(|dialed| dialed.silent());
            let Some((_, since)) = silent.filter(|_| peer.is_lost(context.now)) else { return false };
            let hosts = context.settings.peer(peer.id).map_or(&[][..], |section| &section.endpoints);
            led_around || hosts.iter().any(|candidate| context.names.is_unknown(&candidate.host, since))
        };
        device.up && device.present_peers().any(lost)
    }
}

fn refuses(context: &Context, device: &Device) -> bool {
    device.present() && device.dead && context.settings.refuses(device.interface)
}

/// A host route that WireGuard's packets to an endpoint need, if they do.
fn endpoint_route(
    context: &Context,
    interface: Interface,
    peer: &Peer,
    endpoint: IpAddr,
) -> Option<OwnRoute> {
    let answer = context.routes;
    // What lies in the tunnel's own networks stays there, whoever says that it is an endpoint.
    let led = answer.leads(endpoint, interface) && !answer.is_inside(endpoint);
    let source = answer.sources.iter().find(|(target, _)| *target == endpoint);
    let source = source.and_then(|&(_, source)| source);
    if !led && source.is_none() {
        return None;
    }
    match around(endpoint, answer) {
        Some(route) => Some(OwnRoute { source, ..route }),
        // Without any uplink it leads nowhere: anything is better than a tunnel that carries itself. But a peer that is heard
        // has a way that is not known here.
        None if led && peer.is_lost(context.now) => {
            let metric = if endpoint.is_ipv4() { 0 } else { IPV6_METRIC };
            Some(OwnRoute {
                to: Prefix::host(endpoint),
                from: None,
                metric,
                via: Via::Unreachable,
                source: None,
            })
        }
        None => None,
    }
}

/// A host route that keeps to the way that everything else takes.
fn around(target: IpAddr, answer: &RouteAnswer) -> Option<OwnRoute> {
    let uplink = answer.uplinks[usize::from(target.is_ipv6())]?;
    // The router itself is a neighbour.
    let gateway = uplink.gateway.filter(|&gateway| gateway != target);
    // What the kernel makes of 0, so that the route reads back the same.
    let metric = if target.is_ipv4() { 0 } else { IPV6_METRIC };
    let via = Via::By(Hop { gateway, ..uplink });
    Some(OwnRoute { to: Prefix::host(target), from: None, metric, via, source: None })
}

/// The route that counts in place of the one into the tunnel. Metric 1 can't be undercut; nobody uses it.
fn unreachable(through: &Through) -> Option<OwnRoute> {
    let metric = through.metric.checked_sub(1).filter(|&metric| metric > 0)?;
    Some(OwnRoute { to: through.to, from: through.from, metric, via: Via::Unreachable, source: None })
}

fn dialing<'a>(context: &'a Context, devices: &'a Devices) -> impl Iterator<Item = &'a Device> {
    devices.values().filter(|device| device.present() && context.settings.dials_on(device.interface))
}

/// Where the peers that are dialed are or may be, each address once.
fn targets(context: &Context, devices: &Devices) -> Vec<IpAddr> {
    let mut targets = Vec::new();
    let mut add = |ip: IpAddr| {
        if !targets.contains(&ip) {
            targets.push(ip);
        }
    };
    for section in context.settings.all_dialed() {
        let Some(device) = devices.get(&section.tunnel).filter(|device| device.present()) else {
            continue;
        };
        context.named(section).iter().for_each(|endpoint| add(endpoint.ip()));
        if let Some(peer) = device.peers.get(&section.public_key) {
            peer.goals().into_iter().for_each(&mut add);
        }
    }
    targets
}
