// SPDX-License-Identifier: GPL-2.0-only
//! The interfaces whose initiations are verified: one responder for each, found by the port that a packet was for.

use crate::initiation::{INITIATION_LENGTH, Responder, Timestamp, Verdict};
use crate::lists;
use crate::model::{Device, Interface, PrivateKey, PublicKey};

/// The responders of all interfaces: a few. One holds its interface's private key, for as long as that is watched.
#[derive(Default)]
pub struct Watched(Vec<Entry>);

struct Entry {
    interface: Interface,
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
        let known = self.0.iter().find(|entry| entry.interface == device.interface);
        let known = known.map(|entry| entry.responder.public_key());
        if known.is_none() || known != device.public_key {
            self.remove(device.interface);
            let entry = Entry { interface: device.interface, responder: Responder::new(&key), port: 0 };
            self.0.push(entry);
        }
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.interface == device.interface) {
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
        let before = self.0.len();
        lists::keep(&mut self.0, |entry| entry.interface != interface);
        self.0.len() < before
    }

    /// The ports to listen on; one may be there twice.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        for entry in self.0.iter().filter(|entry| entry.port != 0) {
            ports.push(entry.port);
        }
        ports
    }

    /// Where the interface listens.
    pub fn port(&self, interface: Interface) -> Option<u16> {
        self.0.iter().find(|entry| entry.interface == interface).map(|entry| entry.port)
    }

    /// What the packet for this port proves, and to which interface it was. None: nobody listens there any more.
    ///
    /// Several interfaces may have the port, of which one is up and listens: mac1 says whose the packet is.
    pub fn verify(&mut self, port: u16, packet: &[u8; INITIATION_LENGTH]) -> Option<(Interface, Verdict)> {
        let mut refused = None;
        for entry in self.0.iter_mut().filter(|entry| entry.port == port) {
            match entry.responder.verify(packet) {
                Verdict::WrongKey => refused = refused.or(Some((entry.interface, Verdict::WrongKey))),
                verdict => return Some((entry.interface, verdict)),
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use blake2::digest::{Digest, KeyInit, Mac, consts::U16};
    use blake2::{Blake2s256, Blake2sMac};

    use super::*;

    /// A packet that anybody can make who knows the public key: mac1 is right.
    fn packet_for(key: &PublicKey) -> [u8; INITIATION_LENGTH] {
        let mut packet = [0; INITIATION_LENGTH];
        packet[0] = 1;
        let mac1_key = Blake2s256::new().chain_update(b"mac1----").chain_update(key.0).finalize();
        let mut mac1 = <Blake2sMac<U16> as KeyInit>::new_from_slice(&mac1_key).unwrap();
        Mac::update(&mut mac1, &packet[..116]);
        packet[116..132].copy_from_slice(&mac1.finalize().into_bytes());
        packet
    }

    #[test]
    fn of_two_interfaces_with_one_port_the_packet_is_its_addressees() {
        let mut watched = Watched::default();
        let keys = [1, 2].map(|number| PrivateKey::new(&[number; 32]));
        let public_keys = keys.each_ref().map(PublicKey::from);
        for (name, key) in ["wg0", "wg1"].into_iter().zip(keys) {
            let device = Device {
                interface: name.parse().unwrap(),
                ifindex: 1,
                up: name == "wg1",
                public_key: Some(PublicKey::from(&key)),
                listen_port: 51820,
                fwmark: 0,
                peers: Vec::new(),
            };
            watched.update(&device, Some(key), |_| None);
        }
        let mut heard = |key| {
            let (interface, verdict) = watched.verify(51820, &packet_for(key))?;
            Some((interface.to_string(), verdict))
        };
        let refused = Verdict::Forged { claimed: None };
        assert_eq!(heard(&public_keys[0]), Some(("wg0".into(), refused)));
        assert_eq!(heard(&public_keys[1]), Some(("wg1".into(), refused)));
        assert_eq!(heard(&PublicKey([9; 32])), Some(("wg0".into(), Verdict::WrongKey)));
    }
}
