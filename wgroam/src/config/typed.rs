// SPDX-License-Identifier: GPL-2.0-only
//! Sections to a typed [`Config`]. A mistyped *name* is a warning, since a typo must not take a router off the net;
//! a value that can't be, or two sections that contradict each other, are mistakes.

use super::finding::{Errors, Finding, What, describe};
use super::load::{Loaded, MAX_MISTAKES, MAX_WARNINGS, PACKAGE};
use super::uci::{Parsed, Section, Setting, Value};
use super::{Config, Family, Globals, Peer, RotatePort, Tunnel, value};
use crate::model::{Interface, PeerId};
use crate::sorted::SortedMap;

const GLOBALS_OPTIONS: &[&str] = &["enabled", "log_level", "persist", "wan"];
const TUNNEL_OPTIONS: &[&str] = &["enabled", "interface", "unreachable", "rotate_port"];
const PEER_OPTIONS: &[&str] =
    &["tunnel", "public_key", "endpoint", "family", "keepalive", "probe", "probe_interval", "readd"];
const SECTION_TYPES: &[&str] = &["wgroam", "tunnel", "peer"];

/// Reads the sections of package `wgroam`; what is said about them begins with `source`.
#[inline(never)]
pub(super) fn read(parsed: &mut Parsed, source: &str) -> Result<Loaded, Errors> {
    let mut reader = Typed::new(source, !parsed.mistakes.is_empty());
    for (line, mistake) in std::mem::take(&mut parsed.mistakes) {
        reader.mistakes.push(Finding::new(source, line, None, None, What::Syntax(mistake)));
    }
    let config = reader.config(parsed);
    let Typed { mut mistakes, mut warnings, .. } = reader;
    // By line, and not as the checks happened to run: that is how a person goes through the file.
    sort(&mut mistakes);
    sort(&mut warnings);
    if mistakes.is_empty() {
        return Ok(Loaded { config, warnings, ..Loaded::default() });
    }
    let more = mistakes.len() >= MAX_MISTAKES;
    Err(Errors { mistakes, more, warnings })
}

/// By insertion: they are few, and those of a line stay as they were.
fn sort(findings: &mut [Finding]) {
    for end in 1..findings.len() {
        let mut at = end;
        while at > 0 && findings[at].line < findings[at - 1].line {
            findings.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// Reads options, and collects what is wrong with them.
pub(super) struct Typed<'a> {
    source: &'a str,
    /// Lines could not be read: what seems to be missing may stand there.
    half_read: bool,
    pub mistakes: Vec<Finding>,
    warnings: Vec<Finding>,
}

/// The tunnels as peers refer to them. Maps, so that a hostile file can't make reading quadratic.
#[derive(Default)]
struct KnownTunnels<'a> {
    by_interface: SortedMap<Interface, &'a Section>,
    interfaces: Vec<Interface>,
    /// Where in `interfaces` the section of this name has its own.
    by_name: SortedMap<String, usize>,
    /// Every `tunnel` section could be read: a peer that refers to none of them is lost indeed.
    complete: bool,
}

impl<'a> Typed<'a> {
    pub fn new(source: &'a str, half_read: bool) -> Self {
        let (mistakes, warnings) = (Vec::new(), Vec::new());
        Self { source, half_read, mistakes, warnings }
    }

    fn config(&mut self, parsed: &'a Parsed) -> Config {
        let mut config = Config::default();
        let Some(package) = parsed.packages.iter().find(|package| package.name == PACKAGE) else {
            let others = |name: &str| name != super::network::PACKAGE;
            if !parsed.packages.is_empty() && parsed.packages.iter().all(|package| others(&package.name)) {
                let mut names = String::new();
                for package in &parsed.packages {
                    let comma = if names.is_empty() { "" } else { ", " };
                    names += &format!("{comma}'{}'", package.name);
                }
                self.warning(None, None, 0, What::OtherPackages(names));
            }
            return config;
        };
        let of_kind = |kind| package.sections.iter().filter(move |section| section.kind == kind);
        for section in &package.sections {
            self.warn_of_unknown(section);
        }
        if let Some(globals) = self.find_globals(of_kind("wgroam")) {
            config.globals = self.globals(globals);
        }
        let mut tunnels = KnownTunnels::default();
        for section in of_kind("tunnel") {
            if let Some(tunnel) = self.tunnel(section, &tunnels) {
                tunnels.by_interface.insert(tunnel.interface, section);
                if let Some(name) = &section.name {
                    tunnels.by_name.insert(name.clone(), tunnels.interfaces.len());
                }
                tunnels.interfaces.push(tunnel.interface);
                config.tunnels.push(tunnel);
            }
        }
        tunnels.complete = !self.half_read && of_kind("tunnel").count() == config.tunnels.len();
        let mut peers = Vec::new();
        for section in of_kind("peer") {
            peers.push(section);
        }
        let mut seen: SortedMap<PeerId, usize> = SortedMap::new();
        for (number, &section) in peers.iter().enumerate() {
            let Some(peer) = self.peer(section, &tunnels) else { continue };
            match seen.get(&peer.id()) {
                Some(&first) => self.twice(section, "the same public key and tunnel as", peers[first]),
                None => {
                    seen.insert(peer.id(), number);
                    config.peers.push(peer);
                }
            }
        }
        config
    }

    /// A mistake of an option, or of the section as a whole.
    fn mistake(&mut self, section: &Section, option: Option<&str>, line: u32, what: What) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(Finding::new(self.source, line, Some(section), option, what));
        }
    }

    fn warning(&mut self, section: Option<&Section>, option: Option<&str>, line: u32, what: What) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Finding::new(self.source, line, section, option, what));
        }
    }

    fn twice(&mut self, section: &Section, what: &'static str, first: &Section) {
        let what = What::Twice { what, first: describe(first), line: first.line };
        self.mistake(section, None, section.line, what);
    }

    fn warn_of_unknown(&mut self, section: &Section) {
        let options = match section.kind.as_str() {
            "wgroam" => GLOBALS_OPTIONS,
            "tunnel" => TUNNEL_OPTIONS,
            "peer" => PEER_OPTIONS,
            _ if self.warnings.len() >= MAX_WARNINGS => return,
            kind => {
                let what = What::UnknownSection { similar: similar(kind, SECTION_TYPES) };
                self.warning(Some(section), None, section.line, what);
                return;
            }
        };
        for setting in &section.options {
            match options.iter().find(|known| **known == setting.name) {
                None if self.warnings.len() >= MAX_WARNINGS => (),
                None => {
                    let what = What::UnknownOption {
                        similar: similar(&setting.name, options),
                        known: options.join(", "),
                    };
                    self.warning(Some(section), Some(&setting.name), setting.line, what);
                }
                Some(_) => (),
            }
        }
    }

    /// `config wgroam 'globals'`, or else the anonymous `config wgroam`.
    fn find_globals(&mut self, sections: impl Iterator<Item = &'a Section>) -> Option<&'a Section> {
        let mut found: Option<&Section> = None;
        for section in sections {
            match (section.name.as_deref(), found) {
                (Some("globals") | None, None) => found = Some(section),
                (Some("globals") | None, Some(first)) => self.twice(section, "the same purpose as", first),
                (Some(_), _) => {
                    self.warning(Some(section), None, section.line, What::NotGlobals);
                }
            }
        }
        found
    }

    fn globals(&mut self, section: &Section) -> Globals {
        let default = Globals::default();
        Globals {
            enabled: self.option(section, "enabled", value::boolean).unwrap_or(default.enabled),
            log_level: self.option(section, "log_level", value::log_level).unwrap_or(default.log_level),
            persist: self.option(section, "persist", value::boolean).unwrap_or(default.persist),
            wan: self.list(section, "wan", value::interface),
        }
    }

    fn tunnel(&mut self, section: &'a Section, before: &KnownTunnels<'a>) -> Option<Tunnel> {
        let enabled = self.option(section, "enabled", value::boolean).unwrap_or(true);
        let unreachable = self.option(section, "unreachable", value::boolean).unwrap_or(true);
        let rotate_port = self.option(section, "rotate_port", value::rotate_port).unwrap_or(RotatePort::Auto);
        let interface = match (section.get("interface"), &section.name) {
            (Some(_), _) => self.option(section, "interface", value::interface)?,
            (None, Some(name)) => match value::interface(name) {
                Ok(interface) => interface,
                Err(what) => {
                    self.mistake(section, None, section.line, what);
                    return None;
                }
            },
            (None, None) => {
                self.mistake(section, None, section.line, What::TunnelWithoutName);
                return None;
            }
        };
        if let Some(first) = before.by_interface.get(&interface) {
            self.twice(section, "the same interface as", first);
            return None;
        }
        Some(Tunnel { interface, enabled, unreachable, rotate_port })
    }

    fn peer(&mut self, section: &Section, tunnels: &KnownTunnels) -> Option<Peer> {
        let tunnel = self.peer_tunnel(section, tunnels);
        let public_key = match section.get("public_key") {
            Some(_) => self.option(section, "public_key", value::key),
            None => {
                self.required(
                    section,
                    "public_key",
                    "option public_key with the peer's key, as wg show prints it",
                );
                None
            }
        };
        let endpoints = self.list(section, "endpoint", value::candidate);
        let family = self.option(section, "family", value::family).unwrap_or(Family::Any);
        let keepalive = self.option(section, "keepalive", value::keepalive);
        let probe = self.option(section, "probe", value::address);
        let interval = self.option(section, "probe_interval", value::probe_interval);
        let readd = self.option(section, "readd", value::boolean).unwrap_or(false);
        let name = match &section.name {
            Some(name) => name.clone(),
            None => format!("@{}[{}]", section.kind, section.index),
        };
        Some(Peer {
            name,
            tunnel: tunnel?,
            public_key: public_key?,
            endpoints,
            family,
            keepalive,
            probe,
            probe_interval: interval.unwrap_or(0),
            readd,
        })
    }

    /// The interface that a peer belongs to. It names the tunnel's section or, where that has another name, its
    /// interface.
    fn peer_tunnel(&mut self, section: &Section, tunnels: &KnownTunnels) -> Option<Interface> {
        let Some(setting) = section.get("tunnel") else {
            self.required(section, "tunnel", "option tunnel 'wg0', with the name of the interface");
            return None;
        };
        let found = self.single(section, setting)?;
        if let Some(&number) = tunnels.by_name.get(found) {
            return Some(tunnels.interfaces[number]);
        }
        let interface = self.option(section, "tunnel", value::interface)?;
        let known = &tunnels.by_interface;
        if known.is_empty() || !tunnels.complete || known.contains_key(&interface) {
            return Some(interface);
        }
        let mut some = Vec::new();
        for interface in known.keys().take(8) {
            some.push(interface.to_string());
        }
        let what = What::NoSuchTunnel { found: found.to_owned(), known: some };
        self.mistake(section, Some("tunnel"), setting.line, what);
        None
    }

    fn required(&mut self, section: &Section, option: &str, example: &'static str) {
        if !self.half_read {
            self.mistake(section, Some(option), section.line, What::Required { example });
        }
    }

    /// The one value of an option; a list of one entry will do.
    fn single<'s>(&mut self, section: &Section, setting: &'s Setting) -> Option<&'s str> {
        match &setting.value {
            Value::One(text) => Some(text),
            Value::List(entries) => match entries.as_slice() {
                [(text, _)] => Some(text),
                several => {
                    self.mistake(section, Some(&setting.name), setting.line, What::Several(several.len()));
                    None
                }
            },
        }
    }

    /// The one value of the option of this name, and its line.
    #[inline(never)]
    fn text<'s>(&mut self, section: &'s Section, name: &str) -> Option<(&'s str, u32)> {
        let setting = section.get(name)?;
        Some((self.single(section, setting)?, setting.line))
    }

    /// Reads an option; None when it is not there, or wrong (and then said so).
    pub fn option<T>(
        &mut self,
        section: &Section,
        name: &str,
        read: impl Fn(&str) -> Result<T, What>,
    ) -> Option<T> {
        let (text, line) = self.text(section, name)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(what) => {
                self.mistake(section, Some(name), line, what);
                None
            }
        }
    }

    /// Reads a list. An `option` in its place may hold several values between blanks, as elsewhere on OpenWrt.
    fn list<T>(&mut self, section: &Section, name: &str, read: impl Fn(&str) -> Result<T, What>) -> Vec<T> {
        let Some(setting) = section.get(name) else { return Vec::new() };
        let entries = entries(setting);
        let mut values = Vec::with_capacity(entries.len());
        for (text, line) in entries {
            match read(text) {
                Ok(value) => values.push(value),
                Err(what) => self.mistake(section, Some(name), line, what),
            }
        }
        values
    }
}

/// The values of a list, and the line of each. One function for lists of all types.
#[inline(never)]
fn entries(setting: &Setting) -> Vec<(&str, u32)> {
    let mut list = Vec::new();
    match &setting.value {
        Value::One(text) => text.split_whitespace().for_each(|word| list.push((word, setting.line))),
        Value::List(entries) => entries.iter().for_each(|(text, line)| list.push((text.as_str(), *line))),
    }
    list
}

/// The known word that may have been meant: a typing mistake or two away, or with `-` for `_` or in capitals.
fn similar(found: &str, known: &[&'static str]) -> Option<&'static str> {
    let found = found.to_ascii_lowercase().replace('-', "_");
    let distances = known.iter().map(|word| (distance(&found, word), *word));
    let (distance, word) = distances.min_by_key(|(distance, _)| *distance)?;
    let near = distance <= 2 && distance < word.len() / 2;
    // `endpoints`, `key`, `port`: a part of the word is as good as a slip of the finger.
    let part = found.len() >= 3 && (has(word, &found) || has(&found, word));
    if near || part {
        return Some(word);
    }
    known.iter().copied().find(|word| found.len() >= 3 && has(word, &found))
}

/// Is that a part of the word? The standard library's search is made for long texts, and 1,700 bytes on mips.
fn has(word: &str, part: &str) -> bool {
    part.is_empty() || word.as_bytes().windows(part.len()).any(|piece| piece == part.as_bytes())
}

/// How many letters must be added, dropped, replaced or swapped with their neighbour to come from one word to the
/// other (optimal string alignment). Words longer than the longest option by far are as far away as can be.
fn distance(from: &str, to: &str) -> usize {
    const LONGEST: usize = 24;
    let (from, to) = (from.as_bytes(), to.as_bytes());
    if from.len() > LONGEST || to.len() > LONGEST {
        return usize::MAX;
    }
    let mut table = [[0; LONGEST + 1]; LONGEST + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
                let mut best = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                    best = best.min(table[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    table[from.len()][to.len()]
}
