// SPDX-License-Identifier: GPL-2.0-only
//! What is taken over from OpenWrt's package `network`: the peers of WireGuard interfaces that have an `endpoint_host`.
//! It belongs to netifd and not to us, so what is wrong with it is a warning; and there are keys in it, so nothing is
//! read but [`OPTIONS`].
//!
//! As netifd's handler of `proto wireguard` reads it (wireguard-tools/files/wireguard.sh, on main wireguard.uc): the
//! sections of type `wireguard_NAME` belong to `config interface 'NAME'`; those with `disabled` and those without
//! `public_key` are skipped; the port is 51820 if none is given. netifd itself (config.c) skips interfaces with
//! `disabled '1'`. One with `auto '0'` comes up when its owner says so, hence its peers count.

use std::net::IpAddr;

use super::finding::{Finding, What};
use super::load::{Loaded, MAX_WARNINGS};
use super::typed::Typed;
use super::uci::{Parsed, Section, Value};
use super::{Candidate, Config, Family, Peer, value};
use crate::lists;
use crate::model::{Interface, PeerId};
use crate::sorted::SortedMap;

/// The package.
pub(super) const PACKAGE: &str = "network";

/// All that is looked at; neither `private_key` nor `preshared_key`.
pub(super) const OPTIONS: &[&str] = &[
    "proto",
    "disabled",
    "listen_port",
    "nohostroute",
    "public_key",
    "endpoint_host",
    "endpoint_port",
    "persistent_keepalive",
    "description",
];

/// What the handlers take when there is no `endpoint_port`.
const DEFAULT_PORT: u16 = 51820;

/// How much of a description serves as a name.
const LONGEST_NAME: usize = 40;

const ASKED_ONCE: &str = "a name here is asked for only when the interface comes up, and while it has no answer the \
    interface does not come up at all. Safer: list endpoint in a peer section of /etc/config/wgroam, and no \
    endpoint_host here";
const HOST_ROUTE: &str = "netifd adds a route to the endpoint that it found first, and takes the interface down together \
    with the WAN of that route. Unless the tunnel carries the default route: option nohostroute '1'";

/// Does the text have this package?
pub(super) fn is_in(parsed: &Parsed) -> bool {
    parsed.packages.iter().any(|package| package.name == PACKAGE)
}

/// Takes over the peers that have an `endpoint_host`. A text with a mistake says nothing, as with libuci.
pub(super) fn take_over(parsed: &mut Parsed, source: &str, loaded: &mut Loaded) {
    let mut reader = Typed::new(source, false);
    // Broken package lines come here only from a file that is all network's.
    let broken = if parsed.elsewhere.is_empty() { &mut parsed.mistakes } else { &mut parsed.elsewhere };
    if !broken.is_empty() {
        let (line, mistake) = broken.swap_remove(0);
        loaded.warnings.push(Finding::new(source, line, None, None, What::Elsewhere(mistake)));
        loaded.network = None;
        return;
    }
    let package = parsed.packages.iter().find(|package| package.name == PACKAGE);
    let sections = package.map_or(&[][..], |package| &package.sections);
    let interfaces: SortedMap<Interface, &Section> = sections.iter().filter_map(interface).collect();
    let (mut peers, mut places): (Vec<Peer>, Vec<&Section>) = (Vec::new(), Vec::new());
    let mut seen: SortedMap<PeerId, usize> = SortedMap::new();
    let watched = Watched::new(&loaded.config);
    for section in sections {
        let tunnel = section.kind.strip_prefix("wireguard_").and_then(|name| name.parse().ok());
        let Some(tunnel) = tunnel.filter(|tunnel| watched.has(*tunnel)) else { continue };
        let Some(&interface) = interfaces.get(&tunnel) else { continue };
        let Some(peer) = peer(&mut reader, section, tunnel) else { continue };
        advise(&mut loaded.advice, source, &peer, section, interface);
        // As with wg, the last of two counts.
        match seen.get(&peer.id()) {
            Some(&first) => (peers[first], places[first]) = (peer, section),
            None => {
                seen.insert(peer.id(), peers.len());
                peers.push(peer);
                places.push(section);
            }
        }
    }
    let notes = &mut loaded.notes;
    // An earlier text may have had some.
    loaded.config.interfaces.clear();
    loaded.config.listen_ports.clear();
    for (name, section) in interfaces.iter() {
        loaded.config.interfaces.push(*name);
        // 0 is any, as is none.
        if let Some(port) = text(section, "listen_port").and_then(|text| value::port(text).ok()) {
            loaded.config.listen_ports.push((*name, port));
        }
    }
    loaded.config.take_over(&peers, &mut |number, peer| {
        if notes.len() < MAX_WARNINGS {
            let (section, name) = (places[number], peer.name.clone());
            let what = match peers[number].endpoints.first() {
                Some(candidate) if peer.endpoints == peers[number].endpoints => {
                    What::TakenOver { name, interface: peer.tunnel, candidate: candidate.clone() }
                }
                _ => What::Overruled { name },
            };
            let line = section.get("endpoint_host").map_or(section.line, |setting| setting.line);
            notes.push(Finding::new(source, line, Some(section), Some("endpoint_host"), what));
        }
    });
    let room = MAX_WARNINGS.saturating_sub(loaded.warnings.len());
    reader.mistakes.truncate(room);
    loaded.warnings.append(&mut reader.mistakes);
    loaded.network = Some(peers);
}

impl Config {
    /// Takes over peers of package network; those of interfaces that are not watched are left out. What a `peer` section
    /// of package wgroam says wins, option by option: the endpoint is only taken over when that section has none, for
    /// whoever adds a probe there does not mean to stop being connected. `tell` gets the number of each, and what became
    /// of it.
    pub fn take_over(&mut self, peers: &[Peer], tell: &mut dyn FnMut(usize, &Peer)) {
        let watched = Watched::new(self);
        let own = self.peers.iter().enumerate();
        let own: SortedMap<PeerId, usize> = own.map(|(number, peer)| (peer.id(), number)).collect();
        for (number, taken) in peers.iter().enumerate().filter(|(_, peer)| watched.has(peer.tunnel)) {
            match own.get(&taken.id()) {
                Some(&at) => {
                    let peer = &mut self.peers[at];
                    if peer.endpoints.is_empty() {
                        peer.endpoints.clone_from(&taken.endpoints);
                    }
                    peer.keepalive = peer.keepalive.or(taken.keepalive);
                    tell(number, peer);
                }
                None => {
                    self.peers.push(taken.clone());
                    tell(number, taken);
                }
            }
        }
    }
}

/// The interfaces that count: without any tunnel section all. Sorted, for there may be many.
struct Watched {
    all: bool,
    enabled: Vec<Interface>,
}

impl Watched {
    fn new(config: &Config) -> Self {
        let mut enabled = Vec::new();
        for tunnel in config.tunnels.iter().filter(|tunnel| tunnel.enabled) {
            enabled.push(tunnel.interface);
        }
        lists::sort_list(&mut enabled);
        Self { all: config.tunnels.is_empty(), enabled }
    }

    fn has(&self, interface: Interface) -> bool {
        self.all || self.enabled.binary_search(&interface).is_ok()
    }
}

/// A WireGuard interface that netifd knows, by its name.
pub fn interface(section: &Section) -> Option<(Interface, &Section)> {
    let wireguard = section.kind == "interface" && text(section, "proto") == Some("wireguard");
    if !wireguard || is_off(section) {
        return None;
    }
    Some((section.name.as_ref()?.parse().ok()?, section))
}

/// Is this section switched off?
pub fn is_off(section: &Section) -> bool {
    text(section, "disabled").is_some_and(|word| value::boolean(word) == Ok(true))
}

fn peer(reader: &mut Typed, section: &Section, tunnel: Interface) -> Option<Peer> {
    if is_off(section) || section.get("public_key").is_none() || section.get("endpoint_host").is_none() {
        return None;
    }
    let public_key = reader.option(section, "public_key", value::key);
    let host = reader.option(section, "endpoint_host", value::host);
    let port = match section.get("endpoint_port") {
        Some(_) => reader.option(section, "endpoint_port", value::port),
        None => Some(DEFAULT_PORT),
    };
    Some(Peer {
        name: name(section),
        tunnel,
        public_key: public_key?,
        endpoints: vec![Candidate { host: host?, port: port? }],
        family: Family::Any,
        // wg takes "off" as well, and complains itself about what it does not take.
        keepalive: text(section, "persistent_keepalive").and_then(|text| value::keepalive(text).ok()),
        probe: None,
        probe_interval: 0,
        readd: false,
    })
}

/// What a person calls the peer: LuCI asks for a description, and gives its sections no name.
pub fn name(section: &Section) -> String {
    let description = text(section, "description").unwrap_or_default();
    let description: String = description.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    match (&*description, &section.name) {
        ("", Some(name)) => name.clone(),
        ("", None) => format!("@{}[{}]", section.kind, section.index),
        (description, _) => description.to_owned(),
    }
}

/// Each advice once.
fn advise(advice: &mut Vec<Finding>, source: &str, peer: &Peer, section: &Section, interface: &Section) {
    let mut add = |section: &Section, option: Option<&str>, text| {
        if advice.iter().all(|given| given.what != What::Advice(text)) {
            let line = option.and_then(|name| section.get(name)).map_or(section.line, |setting| setting.line);
            advice.push(Finding::new(source, line, Some(section), option, What::Advice(text)));
        }
    };
    if peer.endpoints.iter().any(|candidate| candidate.host.parse::<IpAddr>().is_err()) {
        add(section, Some("endpoint_host"), ASKED_ONCE);
    }
    if text(interface, "nohostroute") != Some("1") {
        add(interface, None, HOST_ROUTE);
    }
}

fn text<'a>(section: &'a Section, option: &str) -> Option<&'a str> {
    match &section.get(option)?.value {
        Value::One(text) => Some(text),
        Value::List(_) => None,
    }
}
