// SPDX-License-Identifier: GPL-2.0-only
//! What stands between a router and the Internet: nothing, a NAT, one that forwards a port, or a carrier's. As Linux's
//! conntrack does it: a mapping for each pair of inside source and outside destination, and only that destination gets back in.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::plan::{Place, chance};
use crate::wireguard::Time;
use crate::world::{OTHER_PORT, PORT};

/// nf_conntrack_udp_timeout and nf_conntrack_udp_timeout_stream.
const UNREPLIED: Duration = Duration::from_secs(30);
const REPLIED: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
struct Mapping {
    inside: SocketAddr,
    far: SocketAddr,
    outside: u16,
    expires: Time,
    replied: bool,
}

#[derive(Debug)]
pub struct Nat {
    place: Place,
    /// The router behind it, and what the Internet sees.
    pub inside: IpAddr,
    pub address: IpAddr,
    seed: u64,
    forgot: u64,
    mappings: Vec<Mapping>,
}

impl Nat {
    pub fn new(place: Place, inside: IpAddr, address: IpAddr, seed: u64) -> Self {
        Self { place, inside, address, seed, forgot: 0, mappings: Vec::new() }
    }

    /// It forgets everything, and a carrier's chooses other ports.
    pub fn forget(&mut self) {
        self.forgot += 1;
        self.mappings.clear();
    }

    /// A datagram from inside: the source that the world sees.
    pub fn outbound(&mut self, now: Time, inside: SocketAddr, far: SocketAddr) -> SocketAddr {
        self.mappings.retain(|mapping| mapping.expires > now);
        let known = self.mappings.iter_mut().find(|mapping| (mapping.inside, mapping.far) == (inside, far));
        if let Some(mapping) = known {
            mapping.expires = now + if mapping.replied { REPLIED } else { UNREPLIED };
            return SocketAddr::new(self.address, mapping.outside);
        }
        let taken = |port| self.mappings.iter().any(|mapping| (mapping.outside, mapping.far) == (port, far));
        let keeps = self.place != Place::Carrier && !taken(inside.port());
        let about = u64::from(inside.port()) << 32 | u64::from(far.port());
        let other = || 20_000 + (chance(self.seed, Time::from_micros(self.forgot), about) % 40_000) as u16;
        let outside = if keeps { inside.port() } else { other() };
        self.mappings.push(Mapping { inside, far, outside, expires: now + UNREPLIED, replied: false });
        SocketAddr::new(self.address, outside)
    }

    /// A datagram from outside to one of its ports: who gets it.
    pub fn inbound(&mut self, now: Time, far: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.mappings.retain(|mapping| mapping.expires > now);
        let known = self.mappings.iter().position(|mapping| (mapping.outside, mapping.far) == (port, far));
        if let Some(at) = known {
            // An answer goes back to where the last question came from, also where the same two talk by two ports.
            self.mappings[..=at].rotate_right(1);
            let mapping = &mut self.mappings[0];
            (mapping.replied, mapping.expires) = (true, now + REPLIED);
            return Some(mapping.inside);
        }
        let to = match self.place {
            _ if port == OTHER_PORT && self.place.callable() => PORT,
            Place::Public => port,
            Place::Forwarded if port == PORT => port,
            _ => return None,
        };
        let inside = SocketAddr::new(self.inside, to);
        let new = Mapping { inside, far, outside: port, expires: now + UNREPLIED, replied: false };
        self.mappings.insert(0, new);
        Some(inside)
    }
}
