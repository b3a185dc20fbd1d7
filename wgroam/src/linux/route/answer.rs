// SPDX-License-Identifier: GPL-2.0-only
//! Answers questions about routes: what the main table says, and what the kernel, which knows all tables and rules,
//! says of single addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::name_servers;
use super::RouteMonitor;
use super::lookup::{self, Lookup};
use super::message::Kind;
use crate::model::Interface;
use crate::routing::{OwnRoute, Prefix, RouteAnswer, RouteQuery, is_private};

impl RouteMonitor {
    /// Adds to what the main table says ([`super::super::own_routes::OwnRoutes::survey`]) all else that was asked for.
    /// `files` say who the name servers are ([`name_servers::FILES`]). A lookup that fails counts as "nowhere".
    pub fn complete(&mut self, query: &RouteQuery, files: &[&str], answer: &mut RouteAnswer) {
        answer.uplinks = self.uplinks();
        for server in if query.servers { name_servers::read(files) } else { Vec::new() } {
            if let Some(tunnel) = self.tunnel_to(server, query, answer) {
                answer.servers.push((server, tunnel));
            }
        }
        for &target in &query.targets {
            if let Some(source) = self.other_source(target, query, answer) {
                answer.sources.push((target, source));
            }
        }
    }

    /// The tunnel that questions to this name server go into, routes of ours aside.
    fn tunnel_to(&mut self, server: IpAddr, query: &RouteQuery, answer: &RouteAnswer) -> Option<Interface> {
        // With a route of ours to it, the address beside it shows where it went without.
        let ours = own_route(server, answer).is_some();
        let tunnel = match self.ask(if ours { neighbour(server) } else { server }, 0) {
            Some(way) => self.name_of(way.ifindex).filter(|link| query.tunnels.contains(link)),
            // Nowhere: what leads into a tunnel that is dead may be refused.
            None => {
                let refused = answer.through.iter().find(|through| through.to.contains(server));
                refused.and_then(|through| through.interfaces.first().copied())
            }
        };
        tunnel.or_else(|| query.tunnels.first().copied().filter(|_| ours))
    }

    /// Would the kernel send to the target from an address of a tunnel, although not through one? Then: from where
    /// instead, if there is an address. It is the same with and without a route of ours that gives a source.
    fn other_source(
        &mut self,
        target: IpAddr,
        query: &RouteQuery,
        answer: &RouteAnswer,
    ) -> Option<Option<IpAddr>> {
        let ours = own_route(target, answer);
        let given = ours.and_then(|own| own.source);
        let uplink = answer.uplinks[usize::from(target.is_ipv6())].map(|hop| hop.ifindex);
        // The kernel's choice; unknown where a route of ours has chosen.
        let (by, chosen) = if given.is_some() {
            (uplink?, None)
        } else {
            // Led around the tunnel, it goes by the uplink.
            let led = ours.is_none() && answer.led.iter().any(|led| led.target == target);
            let way = self.ask(target, if led { uplink? } else { 0 }).filter(|way| !way.local)?;
            (way.ifindex, Some(way.source?))
        };
        let mut of_tunnel = chosen.is_none();
        let mut best = None;
        for own in &self.now.addresses {
            let Some(known) = self.now.link(own.ifindex) else { continue };
            if known.tunnel || query.tunnels.contains(&known.link.interface) {
                if own.ifindex == by {
                    return None;
                }
                of_tunnel |= chosen == Some(own.ip);
            } else if own.global && own.ip.is_ipv6() == target.is_ipv6() && known.link.up {
                let there = own.ifindex == by;
                // Of its own addresses the link has, the kernel chooses one (RFC 6724, rule 5; inet_select_addr).
                of_tunnel &= !(there && chosen.is_none());
                // What another VPN gave us is no better.
                let rank = (!there, is_private(own.ip), given != Some(own.ip));
                if known.link.kind != Some(Kind::Tun) && best.is_none_or(|(other, _)| rank < other) {
                    best = Some((rank, own.ip));
                }
            }
        }
        of_tunnel.then_some(best.map(|(_, ip)| ip))
    }

    fn ask(&mut self, to: IpAddr, by: u32) -> Option<Lookup> {
        let mut found = None;
        let asked = self.questions.ask(lookup::question(to, None, 0, by), &mut |message| {
            found = lookup::read(message)?.or(found);
            Ok(())
        });
        asked.ok().and(found)
    }
}

/// Our route to this address alone.
fn own_route(to: IpAddr, answer: &RouteAnswer) -> Option<&OwnRoute> {
    let to = Prefix::host(to);
    answer.own.iter().find(|own| own.to == to)
}

/// The address beside it: what leads to one leads to the other, but for routes to one alone.
fn neighbour(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() ^ 1).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() ^ 1).into(),
    }
}
