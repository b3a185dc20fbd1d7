// SPDX-License-Identifier: GPL-2.0-only
//! A main table that leads each endpoint into wg1, if that is asked about, and what the engine adds to it. What it
//! adds is for something that the last answer said, and it only removes what is there.

use std::net::IpAddr;

use wgroam::model::Interface;
use wgroam::routing::{Hop, Led, OwnRoute, Prefix, RouteAnswer, RouteQuery, Through, Via};

use super::draw::interface;

const UPLINK: Hop = Hop { ifindex: 2, gateway: None };

#[derive(Default)]
pub struct Table {
    last: RouteAnswer,
    pub own: Vec<OwnRoute>,
}

impl Table {
    pub fn ways(&mut self, question: RouteQuery) -> RouteAnswer {
        let all = Prefix::new(IpAddr::from([0x2000, 0, 0, 0, 0, 0, 0, 0]), 3);
        // Two routes to the same differ in metric.
        let metric = |interface: Interface| 1000 + u32::from(interface.as_str().as_bytes()[2]);
        let through = |&interface: &Interface| Through {
            interfaces: vec![interface],
            to: all,
            from: None,
            metric: 10 * metric(interface),
        };
        let into = question.tunnels.iter().copied().find(|&tunnel| tunnel == interface(1));
        let led = |&target: &IpAddr| Some(Led { target, interface: into?, inside: false });
        self.last = RouteAnswer {
            led: question.targets.iter().filter_map(led).collect(),
            through: question.tunnels.iter().map(through).collect(),
            targets: question.targets,
            own: self.own.clone(),
            uplinks: [Some(UPLINK), None],
            ..RouteAnswer::default()
        };
        self.last.clone()
    }

    pub fn add(&mut self, route: OwnRoute) {
        let around = |Led { target, .. }: &Led| {
            let way = if target.is_ipv4() { Via::By(UPLINK) } else { Via::Unreachable };
            route.to == Prefix::host(*target) && route.from.is_none() && route.via == way
        };
        let refusal = |way: &Through| {
            let place = (route.to, route.from, route.metric + 1) == (way.to, way.from, way.metric);
            place && route.via == Via::Unreachable
        };
        let led = self.last.led.iter().any(around);
        assert!(led || self.last.through.iter().any(refusal), "a route that nothing asks for: {route}");
        assert!(!self.own.contains(&route), "{route} is there");
        self.own.retain(|other| !other.same_place(&route));
        self.own.push(route);
    }

    pub fn remove(&mut self, route: &OwnRoute) {
        assert!(self.own.contains(route), "{route} is not there");
        self.own.retain(|other| other != route);
    }
}
