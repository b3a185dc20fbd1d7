// SPDX-License-Identifier: GPL-2.0-only
//! What there is to say about a configuration: file, line, section, option, what was found, what is allowed.

use std::fmt;

use super::Candidate;
use super::uci::{Mistake, Quoted, Section};
use crate::model::{Interface, NotAKey, NotAnInterface};

/// One mistake, or one thing worth a warning. Shown as
/// `/etc/config/wgroam:12: peer 'home', option 'family': 'ipv5' is not known; allowed: any, ipv4, ipv6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, or whatever the text came from.
    pub source: String,
    /// From 1; 0 when it is about the text as a whole.
    pub line: u32,
    /// The section: type and name.
    pub section: Option<String>,
    /// The option or list.
    pub option: Option<String>,
    /// What is the matter.
    pub what: What,
}

/// A [`Finding`] that stops nobody.
pub type Warning = Finding;

/// What is the matter with a place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The text is not UCI.
    Syntax(Mistake),
    /// A word that is none of those allowed.
    NotOneOf {
        /// What was found.
        found: String,
        /// What would have been right.
        allowed: &'static str,
    },
    /// A value outside its range, or not of its kind.
    BadValue {
        /// What was found.
        found: String,
        /// Why it can't be, and what can.
        reason: &'static str,
    },
    /// A public key that is none.
    BadKey(String),
    /// An interface's name that is none.
    BadInterface(String),
    /// Several values where one is wanted.
    Several(usize),
    /// A `tunnel` section without a name.
    TunnelWithoutName,
    /// An option that has to be there is not.
    Required {
        /// A line to write.
        example: &'static str,
    },
    /// The peer's tunnel has no section, though other tunnels have.
    NoSuchTunnel {
        /// What the peer names.
        found: String,
        /// The tunnels there are.
        known: Vec<String>,
    },
    /// Another section says the same thing.
    Twice {
        /// What is there twice.
        what: &'static str,
        /// The first section.
        first: String,
        /// The line of the first.
        line: u32,
    },
    /// An option nobody knows: a warning.
    UnknownOption {
        /// The one that may have been meant.
        similar: Option<&'static str>,
        /// Those that there are.
        known: String,
    },
    /// A section type nobody knows: a warning.
    UnknownSection {
        /// The one that may have been meant.
        similar: Option<&'static str>,
    },
    /// A `wgroam` section that is not called globals: a warning.
    NotGlobals,
    /// The text of package network is not UCI: a warning, it is netifd's.
    Elsewhere(Mistake),
    /// Package network can't be read at all: a warning.
    NotRead(String),
    /// A peer of package network is dialed: no mistake, for the owner to know.
    TakenOver {
        /// What it is called.
        name: String,
        /// Its tunnel.
        interface: Interface,
        /// Where it is looked for.
        candidate: Candidate,
    },
    /// It is not, since it has candidates in package wgroam: no mistake either.
    Overruled {
        /// What it is called there.
        name: String,
    },
    /// What is known to go wrong with what stands here.
    Advice(&'static str),
    /// A text with other packages only: a warning.
    OtherPackages(String),
}

impl Finding {
    pub(super) fn new(
        source: &str,
        line: u32,
        section: Option<&Section>,
        option: Option<&str>,
        what: What,
    ) -> Self {
        let (section, option) = (section.map(describe), option.map(str::to_owned));
        Self { source: source.to_owned(), line, section, option, what }
    }
}

/// `peer 'home'`, or `peer @peer[1]`, counting from 0, for an anonymous one.
pub(super) fn describe(section: &Section) -> String {
    match &section.name {
        Some(name) => format!("{} '{name}'", section.kind),
        None => format!("{} @{}[{}]", section.kind, section.kind, section.index),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        match (&self.section, &self.option) {
            (Some(section), Some(option)) => write!(f, "{section}, option '{option}': ")?,
            (Some(section), None) => write!(f, "{section}: ")?,
            _ => (),
        }
        self.what.fmt(f)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            What::Syntax(mistake) => mistake.fmt(f),
            What::NotOneOf { found, allowed } => {
                write!(f, "{} is not known; allowed: {allowed}", Quoted(found))
            }
            What::BadValue { found, reason } => write!(f, "{}: {reason}", Quoted(found)),
            What::BadKey(found) => write!(f, "{} is no key: {NotAKey}", Quoted(found)),
            What::BadInterface(found) => {
                write!(f, "{} is no interface name: {NotAnInterface}", Quoted(found))
            }
            What::Several(count) => write!(f, "has {count} values; allowed: one, written with option"),
            What::TunnelWithoutName => {
                f.write_str("has no name; write the interface's name behind the type: config tunnel 'wg0'")
            }
            What::Required { example } => write!(f, "is missing; add a line: {example}"),
            What::NoSuchTunnel { found, known } => write!(
                f,
                "tunnel {} has no section; allowed: {}, or add: config tunnel {0}",
                Quoted(found),
                known.join(", ")
            ),
            What::Twice { what, first, line } => {
                write!(f, "has {what} {first} (line {line}); remove one of the two sections")
            }
            What::UnknownOption { similar: Some(similar), .. } => {
                write!(f, "is not known and has no effect; did you mean '{similar}'?")
            }
            What::UnknownOption { similar: None, known } => {
                write!(f, "is not known and has no effect; known here: {known}")
            }
            What::UnknownSection { similar } => {
                f.write_str("sections of this type are not known and have no effect; ")?;
                match similar {
                    Some(similar) => write!(f, "did you mean '{similar}'?"),
                    None => f.write_str("known: wgroam, tunnel, peer"),
                }
            }
            What::NotGlobals => f.write_str(
                "has no effect; the section of this type is called globals: config wgroam 'globals'",
            ),
            What::Elsewhere(mistake) => {
                write!(f, "{mistake}. Until this is right, nothing new is taken over from package network")
            }
            What::NotRead(error) => write!(
                f,
                "can't be read: {error}. wgroam does not connect to the peers with an endpoint_host there; make it \
                 readable, or list them in /etc/config/wgroam"
            ),
            What::TakenOver { name, interface, candidate } => {
                write!(f, "peer '{name}' of {interface} is dialed at {candidate}")
            }
            What::Overruled { name } => {
                write!(f, "not used: peer '{name}' of package wgroam has its own endpoints")
            }
            What::Advice(advice) => f.write_str(advice),
            What::OtherPackages(names) => {
                write!(f, "holds package {names} and no package 'wgroam'; defaults apply")
            }
        }
    }
}

/// All that is wrong with one text; at least one mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// What has to be put right, in the order of the lines.
    pub mistakes: Vec<Finding>,
    /// There may be more: reading stopped after `MAX_MISTAKES`.
    pub more: bool,
    /// What was noticed besides.
    pub warnings: Vec<Finding>,
}

impl fmt::Display for Errors {
    /// One line for each, without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (position, mistake) in self.mistakes.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        if self.more {
            f.write_str("\nthere may be more mistakes; put these right first")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
