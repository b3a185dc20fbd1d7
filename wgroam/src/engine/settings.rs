// SPDX-License-Identifier: GPL-2.0-only
//! The configuration as the engine asks it.

use crate::config::{self, Config, RotatePort};
use crate::model::{Interface, Peer, PublicKey};
use crate::sorted::SortedMap;

/// A [`Config`] with an index.
#[derive(Debug)]
pub(super) struct Settings {
    config: Config,
    peers: SortedMap<(Interface, PublicKey), usize>,
    /// Those that we go to: few, where there may be thousands.
    gone_to: Vec<usize>,
}

impl Settings {
    pub fn new(config: Config) -> Self {
        let indexed = config.peers.iter().enumerate();
        let peers = indexed.map(|(at, peer)| ((peer.tunnel, peer.public_key), at)).collect();
        let mut settings = Self { config, peers, gone_to: Vec::new() };
        let peers = settings.config.peers.iter();
        let goes = |peer: &config::Peer| !peer.endpoints.is_empty() && settings.watches(peer.tunnel);
        settings.gone_to = peers.enumerate().filter(|(_, peer)| goes(peer)).map(|(at, _)| at).collect();
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
    pub fn peer(&self, interface: Interface, peer: PublicKey) -> Option<&config::Peer> {
        self.peers.get(&(interface, peer)).map(|&at| &self.config.peers[at])
    }

    /// The section of a peer that we go to, or probe.
    pub fn chased(&self, interface: Interface, peer: PublicKey) -> Option<&config::Peer> {
        self.peer(interface, peer).filter(|section| !section.endpoints.is_empty() || section.probe.is_some())
    }

    /// Peers that we go to.
    pub fn gone_to(&self) -> impl Iterator<Item = &config::Peer> {
        self.gone_to.iter().filter_map(|&at| self.config.peers.get(at))
    }

    /// Do we go to anybody on this interface?
    pub fn chases(&self, interface: Interface) -> bool {
        self.gone_to().any(|peer| peer.tunnel == interface)
    }

    /// Is the LAN to be refused when nobody on this interface answers?
    pub fn refuses(&self, interface: Interface) -> bool {
        let tunnel = self.config.tunnels.iter().find(|tunnel| tunnel.interface == interface);
        tunnel.is_none_or(|tunnel| tunnel.unreachable)
    }

    /// The names and addresses of all peers that we go to.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.gone_to().flat_map(|peer| &peer.endpoints).map(|candidate| candidate.host.as_str())
    }

    /// May the source port of the interface change, as far as these, its peers, are concerned? Not when somebody may
    /// rely on it: whoever is not chased has to find us where we are. Whether the port was configured can't be seen.
    pub fn rotates(&self, interface: Interface, mut peers: impl Iterator<Item = PublicKey>) -> bool {
        let mut tunnels = self.config.tunnels.iter();
        let awaited = |peer: &config::Peer| peer.tunnel == interface && peer.endpoints.is_empty();
        let chased = |key| self.peer(interface, key).is_some_and(|peer| !peer.endpoints.is_empty());
        match tunnels.find(|tunnel| tunnel.interface == interface).map(|tunnel| tunnel.rotate_port) {
            Some(RotatePort::Always) => true,
            Some(RotatePort::Never) => false,
            Some(RotatePort::Auto) | None => !self.config.peers.iter().any(awaited) && peers.all(chased),
        }
    }

    /// The keepalive that a poke leaves behind: what the peer has, else what its section says, else none.
    pub fn keepalive(&self, interface: Interface, peer: &Peer) -> u16 {
        let configured = || self.peer(interface, peer.public_key)?.keepalive;
        if peer.keepalive > 0 { peer.keepalive } else { configured().unwrap_or(0) }
    }
}
