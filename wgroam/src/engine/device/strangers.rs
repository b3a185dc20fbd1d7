// SPDX-License-Identifier: GPL-2.0-only
//! Those whose packets are not believed, in a table that no flood can grow. Each kind has its share; within it an
//! entry is only replaced when nothing came for [`STRANGER_IDLE`], and the one with the fewest packets goes first. So
//! whoever keeps knocking (a router with the wrong key does, every 5 s) stays visible through a flood.

use std::net::{IpAddr, SocketAddr};

use super::super::StrangerStatus;
use super::super::constants::*;
use super::super::instant::Instant;
use crate::initiation::Verdict;
use crate::lists;
use crate::model::PublicKey;

/// What makes two packets the same stranger. Never the source where a key tells more: sources are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    WrongKey(IpAddr),
    Unknown(PublicKey),
    Forged(Option<PublicKey>),
    Replay(PublicKey),
}

impl Who {
    /// None for what gets no entry.
    fn of(source: SocketAddr, verdict: &Verdict) -> Option<Who> {
        match *verdict {
            Verdict::Authentic { .. } | Verdict::Malformed => None,
            Verdict::WrongKey => Some(Who::WrongKey(source.ip())),
            Verdict::UnknownPeer { claimed } => Some(Who::Unknown(claimed)),
            Verdict::Forged { claimed } => Some(Who::Forged(claimed)),
            Verdict::Replay { peer, .. } => Some(Who::Replay(peer)),
        }
    }

    fn same_kind(&self, other: &Who) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn share(&self) -> usize {
        match self {
            Who::WrongKey(_) => STRANGERS_WRONG_KEY,
            Who::Unknown(_) => STRANGERS_UNKNOWN,
            Who::Forged(_) => STRANGERS_FORGED,
            Who::Replay(_) => STRANGERS_REPLAY,
        }
    }
}

#[derive(Clone, Debug)]
struct Stranger {
    source: SocketAddr,
    verdict: Verdict,
    packets: u64,
    first: Instant,
    last: Instant,
}

/// The table of one device.
#[derive(Debug, Default)]
pub(in crate::engine) struct Strangers {
    /// Few enough to look at each.
    entries: Vec<(Who, Stranger)>,
    /// Packets that have no entry (any more).
    pub forgotten: u64,
}

impl Strangers {
    /// Notes a packet. True when its entry is new.
    pub fn note(&mut self, now: Instant, source: SocketAddr, verdict: &Verdict) -> bool {
        let Some(key) = Who::of(source, verdict) else {
            self.forgotten = self.forgotten.saturating_add(1);
            return false;
        };
        if let Some((_, known)) = self.entries.iter_mut().find(|(who, _)| *who == key) {
            known.packets = known.packets.saturating_add(1);
            (known.source, known.verdict, known.last) = (source, *verdict, now);
            return false;
        }
        if !self.make_room(now, &key) {
            self.forgotten = self.forgotten.saturating_add(1);
            return false;
        }
        let stranger = Stranger { source, verdict: *verdict, packets: 1, first: now, last: now };
        self.entries.push((key, stranger));
        true
    }

    fn make_room(&mut self, now: Instant, key: &Who) -> bool {
        let mut kin = 0;
        let mut least: Option<(u64, Instant, usize)> = None;
        for (at, (_, s)) in self.entries.iter().enumerate().filter(|(_, (other, _))| other.same_kind(key)) {
            kin += 1;
            let rank = (s.packets, s.last, at);
            if now >= s.last + STRANGER_IDLE && least.is_none_or(|least| rank < least) {
                least = Some(rank);
            }
        }
        if kin < key.share() {
            return true;
        }
        let Some((.., least)) = least else { return false };
        let (_, gone) = self.entries.remove(least);
        self.forgotten = self.forgotten.saturating_add(gone.packets);
        true
    }

    /// Somebody became a peer: nothing strange about that key any more.
    pub fn acquit(&mut self, peer: &PublicKey) {
        lists::keep(&mut self.entries, |(who, _)| *who != Who::Unknown(*peer));
    }

    /// For the status, the latest first.
    pub fn list(&self, now: Instant) -> Vec<StrangerStatus> {
        let mut list: Vec<StrangerStatus> = Vec::new();
        for (_, Stranger { source, verdict, packets, first, last }) in &self.entries {
            let first_age = now.saturating_duration_since(*first);
            let last_age = now.saturating_duration_since(*last);
            let place = list.iter().take_while(|later| later.last_age <= last_age).count();
            let (source, verdict, packets) = (*source, *verdict, *packets);
            list.insert(place, StrangerStatus { source, verdict, packets, first_age, last_age });
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn unknown(n: u32) -> Verdict {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        Verdict::UnknownPeer { claimed: PublicKey(key) }
    }

    fn source(n: u32) -> SocketAddr {
        SocketAddr::from((n.to_be_bytes(), 4444))
    }

    #[test]
    fn a_flood_of_every_kind_fills_its_share_and_no_more() {
        let now = Instant::now();
        let mut table = Strangers::default();
        for n in 0..10_000 {
            table.note(now, source(n), &Verdict::WrongKey);
            table.note(now, source(n), &unknown(n));
            table.note(now, source(n), &Verdict::Forged { claimed: None });
            table.note(now, source(n), &Verdict::Malformed);
        }
        assert_eq!(table.list(now).len(), STRANGERS_WRONG_KEY + STRANGERS_UNKNOWN + 1);
        let counted: u64 = table.list(now).iter().map(|s| s.packets).sum();
        assert_eq!(counted + table.forgotten, 40_000);
    }

    #[test]
    fn who_keeps_knocking_stays_through_a_flood() {
        let start = Instant::now();
        let mut table = Strangers::default();
        for n in 0..500_u32 {
            let now = start + Duration::from_secs(5) * n;
            table.note(now, source(7), &unknown(7));
            for flood in 0..20 {
                table.note(now, source(n), &unknown(1000 + 20 * n + flood));
            }
        }
        let now = start + Duration::from_secs(2500);
        assert!(table.list(now).iter().any(|s| s.verdict == unknown(7) && s.packets == 500));
    }

    #[test]
    fn one_who_knocked_often_outlasts_those_who_knocked_once() {
        let start = Instant::now();
        let mut table = Strangers::default();
        for _ in 0..100 {
            table.note(start, source(7), &unknown(7));
        }
        for n in 0..1000_u32 {
            table.note(start + STRANGER_IDLE * n, source(n), &unknown(1000 + n));
        }
        assert!(table.list(start).iter().any(|s| s.verdict == unknown(7)));
    }
}
