// SPDX-License-Identifier: GPL-2.0-only
//! The onlooker: he sees and keeps every packet, and sends what he has, from whatever address.

use std::net::SocketAddr;

use super::rng::Rng;
use super::script::{Seen, Source, Which};
use super::wireguard::{Body, Packet};

pub fn home() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 66], 6666))
}

/// What he has of one victim: packets that were on their way to it.
#[derive(Default)]
pub struct Recordings {
    /// The one with the oldest timestamp first. Only the victim can read it; he knows when he recorded them, which mostly is
    /// the same order.
    initiations: Vec<(u64, Packet)>,
    /// Up to here they were sent as [`Which::Next`].
    next: usize,
    last: Option<Packet>,
    others: Vec<Packet>,
}

const OTHERS: usize = 16;

impl Recordings {
    pub fn keep(&mut self, packet: Packet) {
        match packet.body {
            Body::Initiation { timestamp, .. } => {
                let at = self.initiations.partition_point(|&(other, _)| other <= timestamp);
                self.initiations.insert(at, (timestamp, packet));
                // What is new and older than what he sent has no effect any more.
                self.next += usize::from(at < self.next);
                self.last = Some(packet);
            }
            _ if self.others.len() < OTHERS => self.others.push(packet),
            _ => self.others[0] = packet,
        }
    }

    /// Those from the nth on, each with the time from the first one, in nanoseconds.
    pub fn tape(&self, nth: u64) -> Vec<(u64, Packet)> {
        if self.initiations.is_empty() {
            return Vec::new();
        }
        let from = &self.initiations[(nth % self.initiations.len() as u64) as usize..];
        let begun = from[0].0;
        from.iter().map(|&(timestamp, packet)| (timestamp - begun, packet)).collect()
    }

    /// Those that say they are made later than now, each with the time until then.
    pub fn due(&self, now: u64) -> Vec<(u64, Packet)> {
        let later = self.initiations.iter().filter(|&&(timestamp, _)| timestamp >= now);
        later.map(|&(timestamp, packet)| (timestamp - now, packet)).collect()
    }

    /// The one that is asked for, if he has it.
    pub fn choose(&mut self, which: Which) -> Option<Packet> {
        let nth = |packets: usize, n: u64| (packets > 0).then(|| (n % packets as u64) as usize);
        match which {
            Which::Next => {
                let (_, packet) = self.initiations.get(self.next)?;
                self.next += 1;
                Some(*packet)
            }
            Which::Any(n) => nth(self.initiations.len(), n).map(|at| self.initiations[at].1),
            Which::Last => self.last,
            Which::Other(n) => nth(self.others.len(), n).map(|at| self.others[at]),
        }
    }
}

/// The source address that he writes. `peer`: where the victim's peer is, and was.
pub fn source(
    source: Source,
    recorded: &Packet,
    victim: SocketAddr,
    peer: SocketAddr,
    earlier: &[SocketAddr],
) -> SocketAddr {
    match source {
        Source::Own => home(),
        Source::Present => peer,
        Source::Earlier(_) if earlier.is_empty() => peer,
        Source::Earlier(n) => earlier[(n % earlier.len() as u64) as usize],
        Source::Victims => victim,
        Source::Same => recorded.source,
    }
}

/// What he calls a packet that this end sends.
pub fn kind(sender: usize, body: &Body) -> Seen {
    match body {
        Body::Initiation { .. } => Seen::Initiation(sender),
        Body::Response { .. } => Seen::Response(sender),
        Body::Data { .. } | Body::Noise => Seen::Data(sender),
    }
}

/// Whether a packet is lost, or comes late: chance of the network, not of the attacker.
pub fn lost(rng: &mut Rng, loss: u64) -> bool {
    loss > 0 && rng.below(1000) < loss
}
