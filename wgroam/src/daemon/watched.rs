// SPDX-License-Identifier: GPL-2.0-only
//! The interfaces whose initiations are verified: one responder for each, found by the port that a packet was for.

use crate::initiation::{INITIATION_LENGTH, Responder, Timestamp, Verdict};
use crate::model::{Device, Interface, PrivateKey, PublicKey};
use crate::sorted::SortedMap;

/// Responders by interface. A responder holds its interface's private key, for as long as the interface is watched.
#[derive(Default)]
pub struct Watched {
    responders: SortedMap<Interface, Entry>,
}

struct Entry {
    responder: Responder,
    port: u16,
}

impl Watched {
    /// Takes over what a look at the device showed; `newest` is the newest timestamp remembered of a peer. Returns
    /// true when the ports changed.
    pub fn update(
        &mut self,
        device: &Device,
        key: Option<PrivateKey>,
        newest: impl Fn(&PublicKey) -> Option<Timestamp>,
    ) -> bool {
        let before = self.ports();
        let Some(key) = key else {
            self.remove(device.interface);
            return before != self.ports();
        };
        let known = self.responders.get(&device.interface).map(|entry| entry.responder.public_key());
        if known.is_none() || known != device.public_key {
            let entry = Entry { responder: Responder::new(&key), port: 0 };
            self.responders.insert(device.interface, entry);
        }
        if let Some(entry) = self.responders.get_mut(&device.interface) {
            entry.port = device.listen_port;
            entry.responder.set_peers(device.peers.iter().map(|peer| peer.public_key));
            for peer in &device.peers {
                if let Some(newest) = newest(&peer.public_key) {
                    entry.responder.remember(&peer.public_key, newest);
                }
            }
        }
        before != self.ports()
    }

    /// The interface is gone; its key is wiped. Returns true when it was there.
    pub fn remove(&mut self, interface: Interface) -> bool {
        self.responders.remove(&interface).is_some()
    }

    /// The ports to listen on, sorted.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> =
            self.responders.values().map(|entry| entry.port).filter(|port| *port != 0).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// What the packet for this port proves, and to which interface it was. None: nobody listens there any more.
    pub fn verify(&mut self, port: u16, packet: &[u8; INITIATION_LENGTH]) -> Option<(Interface, Verdict)> {
        let (interface, entry) = self.responders.iter_mut().find(|(_, entry)| entry.port == port)?;
        Some((*interface, entry.responder.verify(packet)))
    }
}
