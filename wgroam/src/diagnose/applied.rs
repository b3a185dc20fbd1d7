// SPDX-License-Identifier: GPL-2.0-only
//! Does WireGuard have the peers that OpenWrt's /etc/config/network describes, and no others? netifd compares the sections
//! of interfaces when it reloads, on 24.10 and 25.12 not those of peers: what was edited there may not be in force. Pure.

use super::judge::Judge;
use super::site::Described;
use super::{text, told};
use crate::model::{Device, PublicKey};
use crate::routing::Prefix;

const FILE: &str = "/etc/config/network";

/// So many are called by name.
const NAMED: usize = 3;

impl Judge<'_> {
    /// The peers of /etc/config/network, if it is what describes the interface; those that are switched off are among them.
    fn described(&self) -> Option<&[Described]> {
        self.facts.site.as_ref()?.peers.as_deref()
    }

    /// What /etc/config/network says of a peer, if it has one of that key.
    pub fn described_peer(&self, key: &PublicKey) -> Option<&Described> {
        self.described()?.iter().find(|peer| peer.public_key == *key)
    }

    /// Is this the key of a peer that some configuration has? Then whoever calls with it is that one, and no other.
    pub fn is_known(&self, key: &str) -> bool {
        let missing = self.facts.missing.iter().map(|(_, missing)| missing);
        let described = self.described().unwrap_or_default().iter().map(|peer| &peer.public_key);
        missing.chain(described).any(|known| known.to_string() == key)
    }

    /// Whoever calls with this key of a peer that WireGuard does not have, in words.
    pub fn calls(&self, key: &PublicKey) -> String {
        let daemon = self.facts.daemon.as_deref().unwrap_or_default();
        told::caller(daemon, key)
            .map(|source| format!("; it calls from {source}, in vain"))
            .unwrap_or_default()
    }

    /// Has WireGuard got what is described?
    pub(super) fn applied(&mut self, device: &Device) {
        let Some(described) = self.described() else { return };
        let on = || described.iter().filter(|peer| !peer.disabled);
        let (mut seen, mut twice) = (Vec::new(), false);
        for peer in on() {
            let (name, key) = (&peer.name, &peer.public_key);
            if !has(device, key) {
                let calls = self.calls(key);
                seen.push(format!(
                    "{name} ({}) stands in {FILE}, and WireGuard does not have it{calls}",
                    key.short()
                ));
                continue;
            }
            let Some((_, allowed)) = self.facts.allowed.iter().find(|(known, _)| known == key) else {
                continue;
            };
            let lacks: Vec<&Prefix> =
                peer.allowed.iter().filter(|prefix| !allowed.contains(prefix)).collect();
            if lacks.is_empty() {
                continue;
            }
            let also = |other: &&Described| {
                other.public_key != *key && lacks.iter().all(|prefix| other.allowed.contains(prefix))
            };
            let other = on().find(also).map(|other| {
                twice = true;
                format!(": {} has the same, and WireGuard gives them to one peer alone", other.name)
            });
            let lacks = list(lacks.iter().map(ToString::to_string).collect());
            seen.push(format!(
                "{name} has allowed IPs in {FILE} that it does not have in WireGuard, {lacks}{}",
                other.unwrap_or_default()
            ));
        }
        if seen.is_empty() {
            let compared = self.facts.allowed.len();
            let some = match on().count() > compared {
                true => format!(", and of {compared} of them the allowed IPs"),
                false => text(""),
            };
            return self.ok("applied", format!("WireGuard has the peers of {FILE}{some}"));
        }
        let apply = self.apply();
        let remedy = match twice {
            true => format!("let each network stand in the section of one peer, then: {apply}"),
            false => apply,
        };
        self.bad("applied", list(seen), remedy);
    }

    /// Is anybody let in who is not described, any more or yet?
    pub(super) fn let_in(&mut self) {
        let (Some(described), Ok(device)) = (self.described(), &self.facts.device) else { return };
        let is_on = |key: &PublicKey| described.iter().any(|peer| peer.public_key == *key && !peer.disabled);
        let undescribed = device.peers.iter().map(|peer| peer.public_key).filter(|key| !is_on(key));
        let say = |key: PublicKey| match self.described_peer(&key) {
            Some(peer) => {
                format!("{} ({}) is let in though {FILE} has it switched off", peer.name, key.short())
            }
            None => format!("{key} is let in though {FILE} does not name it"),
        };
        let mut seen: Vec<String> = undescribed.map(say).collect();
        for peer in described.iter().filter(|peer| !peer.disabled) {
            let allowed = self.facts.allowed.iter().find(|(known, _)| *known == peer.public_key);
            let surplus =
                allowed.map(|(_, allowed)| allowed.iter().filter(|prefix| !peer.allowed.contains(prefix)));
            let surplus: Vec<String> = surplus.into_iter().flatten().map(ToString::to_string).collect();
            if !surplus.is_empty() {
                let name = &peer.name;
                seen.push(format!(
                    "{name} has allowed IPs in WireGuard that {FILE} does not give it, {}",
                    list(surplus)
                ));
            }
        }
        if seen.is_empty() {
            return self.ok("let-in", format!("nobody is let in whom {FILE} does not name"));
        }
        let name = self.facts.interface;
        let remedy = format!(
            "if it was taken out there: {}; one that is to stay needs a section `config wireguard_{name}` there",
            self.apply()
        );
        self.bad("let-in", list(seen), remedy);
    }

    /// What has WireGuard take over /etc/config/network, on every release.
    pub fn apply(&self) -> String {
        format!("wgroam-setup apply {}", self.facts.interface)
    }

    /// A peer that wgroam's configuration has and WireGuard has not, for another reason than that it is not applied.
    pub(super) fn missing(&mut self) -> bool {
        let name = self.facts.interface;
        let unapplied = |key: &PublicKey| self.described_peer(key).is_some_and(|peer| !peer.disabled);
        let missing: Vec<_> = self.facts.missing.iter().filter(|(_, key)| !unapplied(key)).collect();
        let Some((first, key)) = missing.first() else { return false };
        let (seen, remedy) = if self.described_peer(key).is_some() {
            (
                format!("{first} ({key}) is switched off in {FILE}"),
                format!("take `option disabled` out of its section there, then: {}", self.apply()),
            )
        } else {
            let names = missing.iter().map(|(name, key)| format!("{name} ({key})")).collect();
            let calls = self.calls(key);
            let remedy = match &*calls {
                "" => format!(
                    "make the keys the same: public_key in the configuration, and `wg show {name} peers`; the right one is \
                     what `wg show` says of itself there"
                ),
                // So the key is right.
                _ => self.words(
                    format!("give it a section `config wireguard_{name}` with that key in {FILE}, then: {}", self.apply()),
                    format!("wg set {name} peer {key} allowed-ips ADDRESSES, and make it lasting where {name} is configured"),
                ),
            };
            (format!("{name} has no peer with the key of {}{calls}", list(names)), remedy)
        };
        self.bad("peers", seen, remedy);
        true
    }

    /// The remedy where an interface has no peer at all; none: it is told already that those there are were not applied.
    pub(super) fn no_peer(&self) -> Option<String> {
        let name = self.facts.interface;
        if self.described().is_some_and(|described| described.iter().any(|peer| !peer.disabled)) {
            return None;
        }
        Some(self.words(
            format!("add a section `config wireguard_{name}` to {FILE}, then: {}", self.apply()),
            format!("wg set {name} peer KEY allowed-ips ADDRESSES"),
        ))
    }
}

fn has(device: &Device, key: &PublicKey) -> bool {
    device.peers.iter().any(|peer| peer.public_key == *key)
}

/// The first of them, and how many more there are.
fn list(mut words: Vec<String>) -> String {
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    let more = match more {
        0 => text(""),
        more => format!(", and {more} more"),
    };
    words.join(", ") + &more
}

#[cfg(test)]
mod tests;
