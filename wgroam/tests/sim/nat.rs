// SPDX-License-Identifier: GPL-2.0-only
//! A masquerading router as Linux's conntrack makes it: a mapping for each pair of inside source and outside
//! destination, and only that destination gets back in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::rng::Rng;
use super::wireguard::Time;

/// nf_conntrack_udp_timeout and nf_conntrack_udp_timeout_stream.
const UNREPLIED: Duration = Duration::from_secs(30);
const REPLIED: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
struct Mapping {
    outside: u16,
    expires: Time,
    replied: bool,
}

/// The box.
#[derive(Debug)]
pub struct Nat {
    pub address: IpAddr,
    mappings: BTreeMap<(SocketAddr, SocketAddr), Mapping>,
    rng: Rng,
}

impl Nat {
    pub fn new(address: IpAddr, rng: Rng) -> Self {
        Self { address, mappings: BTreeMap::new(), rng }
    }

    /// It forgets everything: a reboot, a carrier's whim. New mappings get new ports.
    pub fn forget(&mut self) {
        self.mappings.clear();
    }

    /// A datagram from inside: the source that the world sees.
    pub fn outbound(&mut self, now: Time, source: SocketAddr, destination: SocketAddr) -> SocketAddr {
        self.mappings.retain(|_, mapping| mapping.expires > now);
        let outside = 20_000 + self.rng.below(40_000) as u16;
        let new = Mapping { outside, expires: now, replied: false };
        let mapping = self.mappings.entry((source, destination)).or_insert(new);
        mapping.expires = now + if mapping.replied { REPLIED } else { UNREPLIED };
        SocketAddr::new(self.address, mapping.outside)
    }

    /// A datagram from outside to one of our ports: who gets it.
    pub fn inbound(&mut self, now: Time, source: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.mappings.retain(|_, mapping| mapping.expires > now);
        let found = |(key, mapping): &(&(SocketAddr, SocketAddr), &mut Mapping)| {
            key.1 == source && mapping.outside == port
        };
        let ((inside, _), mapping) = self.mappings.iter_mut().find(found)?;
        (mapping.replied, mapping.expires) = (true, now + REPLIED);
        Some(*inside)
    }
}
