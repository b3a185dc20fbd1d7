// SPDX-License-Identifier: GPL-2.0-only
//! What survives an interface, and by the state file a restart: where each peer was last proven to be, from which WAN
//! its candidates were good, and the newest timestamp of it.

use std::net::SocketAddr;
use std::time::Duration;

use super::constants::*;
use super::peer::{PeerId, usable};
use crate::initiation::Timestamp;
use crate::lists;
use crate::model::{Interface, PublicKey, WallTime};
use crate::sorted::SortedMap;

/// What survives a restart: one entry for each peer that was ever authenticated. The daemon keeps it in the state
/// file and hands it back to [`Engine::new`](super::Engine::new).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The interface the peer belongs to.
    pub interface: Interface,
    /// Who it is.
    pub peer: PublicKey,
    /// The last endpoint that authenticated packets came from.
    pub endpoint: Option<SocketAddr>,
    /// When that was last confirmed, by our clock.
    pub confirmed: WallTime,
    /// The newest initiation timestamp seen of it.
    pub newest: Option<Timestamp>,
    /// Of a peer that is dialed: the candidate that was good last, for each WAN, the latest first; [`GOOD_MAX`]
    /// at most.
    pub good: Vec<(Interface, SocketAddr)>,
}

#[derive(Debug, Default)]
struct Entry {
    endpoint: Option<SocketAddr>,
    confirmed: WallTime,
    newest: Option<Timestamp>,
    /// Did WireGuard take one that bore it, or an older one, while we watched? Only then it is handed on: what a recording
    /// says is nothing to keep.
    proven: bool,
    /// The candidate that was good last, for each WAN, the latest first.
    good: Vec<(Interface, SocketAddr)>,
}

/// How much a change matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Changed {
    Nothing,
    Details,
    Endpoint,
}

/// All that is remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: SortedMap<PeerId, Entry>,
    /// The newest time in it.
    latest: WallTime,
}

impl Memory {
    /// From the state file. An endpoint that nobody can have is left out.
    pub fn new(remembered: Vec<Remembered>) -> Self {
        let mut memory = Self::default();
        for mut r in remembered {
            memory.latest = memory.latest.max(r.confirmed);
            lists::keep(&mut r.good, |&(_, endpoint)| usable(endpoint));
            let entry = Entry {
                endpoint: r.endpoint.filter(|&endpoint| usable(endpoint)),
                confirmed: r.confirmed,
                newest: r.newest,
                proven: r.newest.is_some(),
                good: r.good,
            };
            *memory.entry(PeerId { interface: r.interface, key: r.peer }) = entry;
        }
        memory
    }

    /// For the state file: by interface and key.
    pub fn list(&self) -> Vec<Remembered> {
        let mut list = Vec::new();
        for (id, entry) in self.entries.iter().filter(|(_, entry)| entry.endpoint.is_some() || entry.proven) {
            list.push(Remembered {
                interface: id.interface,
                peer: id.key,
                endpoint: entry.endpoint,
                confirmed: entry.confirmed,
                newest: entry.newest.filter(|_| entry.proven),
                good: entry.good.clone(),
            });
        }
        list
    }

    /// Where the peer was last proven to be.
    pub fn endpoint(&self, id: PeerId) -> Option<SocketAddr> {
        self.entries.get(&id)?.endpoint
    }

    /// By how much a clock that shows this is behind the newest time that is remembered.
    pub fn ahead_of(&self, wall: WallTime) -> Duration {
        self.latest.since(wall)
    }

    /// The same for what is remembered of one peer.
    pub fn confirmed_ahead_of(&self, id: PeerId, wall: WallTime) -> Duration {
        self.entries.get(&id).map_or(Duration::ZERO, |entry| entry.confirmed.since(wall))
    }

    /// It is this late, and no later: the clock ran ahead when what is remembered as later was.
    pub fn set_back(&mut self, wall: WallTime) -> Changed {
        self.latest = wall;
        self.entries.values_mut().for_each(|entry| entry.confirmed = entry.confirmed.min(wall));
        Changed::Details
    }

    /// Where the peer was good last: by this WAN, else by any.
    pub fn best(&self, id: PeerId, wan: Option<Interface>) -> Option<SocketAddr> {
        let entry = self.entries.get(&id)?;
        let good = &entry.good;
        let here = good.iter().find(|&&(other, _)| Some(other) == wan);
        here.map(|&(_, endpoint)| endpoint).or(entry.endpoint)
    }

    /// The newest timestamp seen of the peer.
    pub fn newest(&self, id: PeerId) -> Option<Timestamp> {
        self.entries.get(&id)?.newest
    }

    /// Authenticated traffic came from there. An entry's time never goes back: while our clock is behind, what is newer
    /// must not be taken for older.
    pub fn confirm(&mut self, id: PeerId, endpoint: SocketAddr, wall: WallTime) -> Changed {
        self.latest = self.latest.max(wall);
        let entry = self.entry(id);
        let confirmed = wall.max(entry.confirmed);
        let moved = entry.endpoint != Some(endpoint);
        if !moved && confirmed.since(entry.confirmed) < CONFIRM_STEP {
            return Changed::Nothing;
        }
        entry.endpoint = Some(endpoint);
        entry.confirmed = confirmed;
        if moved { Changed::Endpoint } else { Changed::Details }
    }

    /// Something authenticated came from this candidate, by this WAN.
    pub fn note_good(&mut self, id: PeerId, wan: Interface, endpoint: SocketAddr) -> Changed {
        let good = &mut self.entry(id).good;
        if good.first() == Some(&(wan, endpoint)) {
            return Changed::Nothing;
        }
        lists::keep(good, |&(other, _)| other != wan);
        good.insert(0, (wan, endpoint));
        good.truncate(GOOD_MAX);
        Changed::Details
    }

    /// An authentic initiation bore this timestamp.
    pub fn note_newest(&mut self, id: PeerId, timestamp: Timestamp) -> Changed {
        let entry = self.entry(id);
        if entry.newest >= Some(timestamp) {
            return Changed::Nothing;
        }
        entry.newest = Some(timestamp);
        if entry.proven { Changed::Details } else { Changed::Nothing }
    }

    /// WireGuard took the initiation that bore this one: whatever bears an older one is a replay, now and after a restart.
    pub fn prove(&mut self, id: PeerId, timestamp: Timestamp) -> Changed {
        match self.entries.get_mut(&id) {
            Some(entry) if !entry.proven && entry.newest >= Some(timestamp) => {
                entry.proven = true;
                Changed::Details
            }
            _ => Changed::Nothing,
        }
    }

    fn entry(&mut self, id: PeerId) -> &mut Entry {
        let key = id;
        if self.entries.len() >= MEMORY_MAX && !self.entries.contains_key(&key) {
            let mut oldest: Option<(WallTime, PeerId)> = None;
            for (&id, entry) in self.entries.iter() {
                if oldest.is_none_or(|(confirmed, _)| entry.confirmed < confirmed) {
                    oldest = Some((entry.confirmed, id));
                }
            }
            if let Some((_, oldest)) = oldest {
                self.entries.remove(&oldest);
            }
        }
        self.entries.get_or_insert_with(key, Entry::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: [u8; 32]) -> PeerId {
        PeerId { interface: "wg0".parse().unwrap(), key: PublicKey(key) }
    }

    fn at(seconds: u64) -> WallTime {
        WallTime { seconds, nanos: 0 }
    }

    #[test]
    fn it_never_grows_over_its_bound_and_forgets_the_oldest() {
        let mut memory = Memory::default();
        for n in 0..MEMORY_MAX as u64 + 10 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            memory.confirm(id(key), ([192, 0, 2, 1], 1).into(), at(n + 1));
        }
        let list = memory.list();
        assert_eq!(list.len(), MEMORY_MAX);
        assert_eq!(list[0].confirmed, at(11));
    }

    #[test]
    fn a_timestamp_that_wireguard_was_not_seen_to_take_is_not_handed_on() {
        let mut memory = Memory::default();
        memory.note_newest(id([1; 32]), Timestamp([1; 12]));
        assert!(memory.list().is_empty());
        assert_eq!(memory.prove(id([1; 32]), Timestamp([1; 12])), Changed::Details);
        assert_eq!(memory.list()[0].newest, Some(Timestamp([1; 12])));
    }
}
