// SPDX-License-Identifier: GPL-2.0-only
//! What a decision about a device or a peer may rest on beside the device and the peer: all of it is only read.

use std::net::{IpAddr, SocketAddr};

use super::device::Ticks;
use super::instant::Instant;
use super::memory::Memory;
use super::names::Names;
use super::peer::{PeerId, usable};
use super::settings::Settings;
use crate::config;
use crate::lists;
use crate::model::Interface;
use crate::routing::RouteAnswer;

/// The moment, and what is known at it.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub now: Instant,
    pub ticks: &'a Ticks,
    pub settings: &'a Settings,
    pub names: &'a Names,
    pub memory: &'a Memory,
    pub routes: &'a RouteAnswer,
    /// Addresses that are this machine's own, and its links' broadcast addresses; sorted.
    pub own: &'a [IpAddr],
    /// The device that carries the best default route.
    pub wan: Option<Interface>,
}

impl Context<'_> {
    /// Can somebody else be at this endpoint? What the owner wrote as an address, or as `localhost`, is his: a
    /// relay on this machine, say.
    pub fn takes(&self, section: Option<&config::Peer>, endpoint: SocketAddr) -> bool {
        let written =
            || section.is_some_and(|section| section.endpoints.iter().any(|other| is(other, endpoint)));
        usable(endpoint) && (!self.is_ours(endpoint.ip()) || written())
    }

    /// Where the peer was good last, by this WAN or by any.
    pub fn proven(&self, id: PeerId) -> Option<SocketAddr> {
        let section = self.settings.peer(id);
        self.memory.best(id, self.wan).filter(|&endpoint| self.takes(section, endpoint))
    }

    /// Where a peer that is dialed may be, the likeliest first: where it was good last, whatever its names say today; then
    /// what they say, candidate by candidate; last what lies in a network of a tunnel's own. Each once.
    pub fn candidates(&self, section: &config::Peer) -> Vec<SocketAddr> {
        let proven = self.proven(section.id());
        let proven = proven.filter(|endpoint| section.family.takes(endpoint.ip()));
        let mut list = Vec::new();
        if let Some(proven) = proven {
            list.push(proven);
        }
        let named = self.named(section);
        // No sort: it would be 8 KB of code on mips.
        for last in [false, true] {
            for &endpoint in &named {
                if self.routes.is_inside(endpoint.ip()) == last && !list.contains(&endpoint) {
                    list.push(endpoint);
                }
            }
        }
        list
    }

    /// What its candidates stand for.
    pub fn named(&self, section: &config::Peer) -> Vec<SocketAddr> {
        let mut all = self.names.endpoints(section);
        lists::keep(&mut all, |&endpoint| self.takes(Some(section), endpoint));
        all
    }

    /// Is this host the only candidate that stands for the endpoint?
    pub fn only(&self, section: &config::Peer, endpoint: SocketAddr, host: &str) -> bool {
        let mut candidates = section.endpoints.iter();
        candidates.all(|candidate| {
            let stands = || self.names.lookup(&candidate.host).0.contains(&endpoint.ip());
            candidate.host == host || candidate.port != endpoint.port() || !stands()
        })
    }

    /// Is this an address of this machine?
    pub fn is_ours(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.own.binary_search(&ip).is_ok()
    }
}

fn is(candidate: &config::Candidate, endpoint: SocketAddr) -> bool {
    let here = candidate.host == "localhost" && endpoint.ip().is_loopback();
    (here || candidate.host.parse() == Ok(endpoint.ip())) && candidate.port == endpoint.port()
}
