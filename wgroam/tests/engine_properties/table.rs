// SPDX-License-Identifier: GPL-2.0-only
//! A main table that leads each endpoint into wg1, if that is asked about, and what the engine adds to it. What it
//! adds is for something that the last answer said, and it only removes what is there.

use std::net::{IpAddr, Ipv4Addr};

use wgroam::model::Interface;
use wgroam::routing::{Hop, Led, OwnRoute, Prefix, RouteAnswer, RouteQuery, Through, Via};

use super::draw::{address, interface};

const UPLINK: Hop = Hop { ifindex: 2, gateway: None };
/// A name server that is led into wg1.
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 53));

pub struct Table {
    last: RouteAnswer,
    own: Vec<OwnRoute>,
    /// Tunnels have nothing in common: no route that leads into all of them, no name server nor endpoint in one.
    pub apart: bool,
    /// Removed by somebody else, and not added again since.
    stolen: Vec<OwnRoute>,
}

impl Table {
    pub fn new() -> Self {
        Self { last: RouteAnswer::default(), own: Vec::new(), apart: false, stolen: Vec::new() }
    }

    pub fn ways(&mut self, question: RouteQuery) -> RouteAnswer {
        let metric = |interface: Interface| 1000 + u32::from(interface.as_str().as_bytes()[2]);
        // Two routes to the same differ in metric.
        let through = |&interface: &Interface| Through {
            interfaces: vec![interface],
            to: all(),
            from: None,
            metric: 10 * metric(interface),
        };
        // One leads into all of them.
        let spread = Through { interfaces: question.tunnels.clone(), to: all(), from: None, metric: 9000 };
        let spread = Some(spread).filter(|_| !self.apart);
        let into = question.tunnels.iter().copied().find(|&tunnel| tunnel == interface(1) && !self.apart);
        // One of them lies in a network of the tunnel's own.
        let inside = |target: IpAddr| target == address(2).ip();
        let led = |&target: &IpAddr| Some(Led { target, interface: into?, inside: inside(target) });
        let server = |tunnel| (SERVER, tunnel);
        self.last = RouteAnswer {
            led: question.targets.iter().filter_map(led).collect(),
            through: question.tunnels.iter().map(through).chain(spread).collect(),
            targets: question.targets,
            own: self.own.clone(),
            uplinks: [Some(UPLINK), None],
            servers: into.filter(|_| question.servers).map(server).into_iter().collect(),
            ..RouteAnswer::default()
        };
        self.last.clone()
    }

    /// Somebody removes one of our routes.
    pub fn steal(&mut self, n: usize) -> bool {
        let stolen = (n < self.own.len()).then(|| self.own.remove(n));
        self.stolen.extend(stolen);
        stolen.is_some()
    }

    /// Returns what is refused from now on.
    pub fn add(&mut self, route: OwnRoute) -> Option<Through> {
        let around = |Led { target, inside, .. }: &Led| {
            let way = if target.is_ipv4() { Via::By(UPLINK) } else { Via::Unreachable };
            route.to == Prefix::host(*target) && route.from.is_none() && route.via == way && !inside
        };
        let server = |(server, _): &(IpAddr, Interface)| {
            route.to == Prefix::host(*server) && route.from.is_none() && route.via == Via::By(UPLINK)
        };
        let led = self.last.led.iter().any(around) || self.last.servers.iter().any(server);
        let refused = self.last.through.iter().find(|way| refuses(&route, way));
        assert!(led || refused.is_some(), "a route that nothing asks for: {route}");
        assert!(!self.own.contains(&route), "{route} is there");
        self.own.retain(|other| !other.same_place(&route));
        self.stolen.retain(|other| *other != route);
        self.own.push(route);
        refused.cloned()
    }

    pub fn remove(&mut self, route: &OwnRoute) {
        assert!(self.own.contains(route) || self.stolen.contains(route), "{route} is not there");
        self.own.retain(|other| other != route);
    }

    /// Is the LAN refused where only this interface leads there, as far as the engine can know?
    pub fn is_refused(&self, interface: Interface, target: IpAddr) -> bool {
        let known = |way: &Through| self.own.iter().chain(&self.stolen).any(|route| refuses(route, way));
        let mut ways = self.last.through.iter();
        ways.any(|way| way.interfaces == [interface] && way.to.contains(target) && known(way))
    }

    /// What is refused now.
    pub fn refusals(&self) -> impl Iterator<Item = &Through> {
        self.last.through.iter().filter(|way| self.own.iter().any(|route| refuses(route, way)))
    }
}

fn all() -> Prefix {
    Prefix::new(IpAddr::from([0x2000, 0, 0, 0, 0, 0, 0, 0]), 3)
}

/// Does our route stand in for this one?
fn refuses(route: &OwnRoute, way: &Through) -> bool {
    let place = (route.to, route.from, route.metric + 1) == (way.to, way.from, way.metric);
    place && route.via == Via::Unreachable
}
