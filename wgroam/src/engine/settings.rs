// SPDX-License-Identifier: GPL-2.0-only
//! The configuration as the engine asks it.

use crate::config::{self, Config};
use crate::model::{Interface, Peer, PublicKey};
use crate::sorted::SortedMap;

/// A [`Config`] with an index.
#[derive(Debug)]
pub(super) struct Settings {
    config: Config,
    peers: SortedMap<(Interface, PublicKey), usize>,
}

impl Settings {
    pub fn new(config: Config) -> Self {
        let indexed = config.peers.iter().enumerate();
        let peers = indexed.map(|(at, peer)| ((peer.tunnel, peer.public_key), at)).collect();
        Self { config, peers }
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

    /// The peer's section.
    pub fn peer(&self, interface: Interface, peer: PublicKey) -> Option<&config::Peer> {
        self.peers.get(&(interface, peer)).map(|&at| &self.config.peers[at])
    }

    /// The keepalive that a poke leaves behind: what the peer has, else what its section says, else none.
    pub fn keepalive(&self, interface: Interface, peer: &Peer) -> u16 {
        let configured = || self.peer(interface, peer.public_key)?.keepalive;
        if peer.keepalive > 0 { peer.keepalive } else { configured().unwrap_or(0) }
    }
}
