// SPDX-License-Identifier: GPL-2.0-only
//! The configuration as the engine asks it.

use super::constants::{CONVENTIONAL, EPHEMERAL};
use super::context::Context;
use super::peer::PeerId;
use crate::config::{self, Config, RotatePort};
use crate::model::{Interface, Peer};
use crate::sorted::SortedMap;

/// A [`Config`] with an index.
#[derive(Debug)]
pub(super) struct Settings {
    pub config: Config,
    peers: SortedMap<PeerId, usize>,
    /// Those that are dialed: few, where there may be thousands.
    dials: Vec<usize>,
}

impl Settings {
    pub fn new(config: Config) -> Self {
        let mut settings = Self { config, peers: SortedMap::new(), dials: Vec::new() };
        for (at, peer) in settings.config.peers.iter().enumerate() {
            settings.peers.insert(peer.id(), at);
            if !peer.endpoints.is_empty() && settings.watches(peer.tunnel) {
                settings.dials.push(at);
            }
        }
        settings
    }

    /// Is this interface ours to watch? Without any tunnel section each is.
    pub fn watches(&self, interface: Interface) -> bool {
        let tunnels = &self.config.tunnels;
        tunnels.is_empty() || tunnels.iter().any(|tunnel| tunnel.interface == interface && tunnel.enabled)
    }

    /// Interfaces that the configuration wants watched by name.
    pub fn named(&self) -> impl Iterator<Item = Interface> {
        self.config.tunnels.iter().filter(|tunnel| tunnel.enabled).map(|tunnel| tunnel.interface)
    }

    /// Is it expected back when it is gone? By a section about it or a peer of it, here or in package network.
    pub fn expects(&self, interface: Interface) -> bool {
        let Config { interfaces, tunnels, peers, .. } = &self.config;
        interfaces.contains(&interface)
            || tunnels.iter().any(|tunnel| tunnel.interface == interface)
            || peers.iter().any(|peer| peer.tunnel == interface)
    }

    /// The peer's section.
    pub fn peer(&self, id: PeerId) -> Option<&config::Peer> {
        self.peers.get(&id).map(|&at| &self.config.peers[at])
    }

    /// The section of a peer that is dialed, or probed.
    pub fn dialed(&self, id: PeerId) -> Option<&config::Peer> {
        self.peer(id).filter(|section| !section.endpoints.is_empty() || section.probe.is_some())
    }

    /// Is it dialed?
    pub fn dials(&self, id: PeerId) -> bool {
        self.peer(id).is_some_and(|section| !section.endpoints.is_empty())
    }

    /// Peers that are dialed.
    pub fn all_dialed(&self) -> impl Iterator<Item = &config::Peer> {
        self.dials.iter().filter_map(|&at| self.config.peers.get(at))
    }

    /// Is anybody dialed on this interface?
    pub fn dials_on(&self, interface: Interface) -> bool {
        self.all_dialed().any(|peer| peer.tunnel == interface)
    }

    /// Is the LAN to be refused when nobody on this interface answers?
    pub fn refuses(&self, interface: Interface) -> bool {
        let tunnel = self.config.tunnels.iter().find(|tunnel| tunnel.interface == interface);
        tunnel.is_none_or(|tunnel| tunnel.unreachable)
    }

    /// The names and addresses of all peers that are dialed.
    pub fn hosts(&self) -> Vec<&str> {
        let mut hosts = Vec::new();
        for peer in self.all_dialed() {
            for candidate in &peer.endpoints {
                hosts.push(candidate.host.as_str());
            }
        }
        hosts
    }

    /// The port that the interface is set up with, where package network says so.
    pub fn listen_port(&self, interface: Interface) -> Option<u16> {
        let set = self.config.listen_ports.iter().find(|(of, _)| *of == interface);
        set.map(|&(_, port)| port)
    }

    /// May the source port of the interface change, as far as these, its peers, are concerned? Not when somebody may
    /// rely on it: a port that was set up, and not chosen by the kernel; a peer that is not dialed, which has to find us where we are. One whose names
    /// stand for this router itself is such a peer.
    pub fn changes_port(
        &self,
        context: &Context,
        interface: Interface,
        port: u16,
        mut peers: impl Iterator<Item = PeerId>,
    ) -> bool {
        let mut tunnels = self.config.tunnels.iter();
        let awaited = |peer: &config::Peer| peer.tunnel == interface && peer.endpoints.is_empty();
        let elsewhere = |section: &config::Peer| {
            let all = context.names.endpoints(section);
            !section.endpoints.is_empty() && !all.iter().any(|endpoint| context.is_ours(endpoint.ip()))
        };
        match tunnels.find(|tunnel| tunnel.interface == interface).map(|tunnel| tunnel.rotate_port) {
            Some(RotatePort::Always) => true,
            Some(RotatePort::Never) => false,
            Some(RotatePort::Auto) | None => {
                self.listen_port(interface).is_none()
                    && EPHEMERAL.contains(&port)
                    && !CONVENTIONAL.contains(&port)
                    && !self.config.peers.iter().any(awaited)
                    && peers.all(|id| self.peer(id).is_some_and(elsewhere))
            }
        }
    }

    /// The keepalive that a poke leaves behind: what the peer has, else what its section says, else none.
    pub fn keepalive(&self, interface: Interface, peer: &Peer) -> u16 {
        let configured = || self.peer(PeerId { interface, key: peer.public_key })?.keepalive;
        if peer.keepalive > 0 { peer.keepalive } else { configured().unwrap_or(0) }
    }
}
