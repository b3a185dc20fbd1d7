// SPDX-License-Identifier: GPL-2.0-only
//! The configuration: UCI text in, a typed [`Config`] or errors that name line and remedy out. No files here beyond
//! reading it; what an option *does* is the engine's business.

mod finding;
mod load;
pub(crate) mod network;
mod typed;
pub mod uci;
mod value;

pub use finding::{Errors, Finding, Warning, What};
pub use load::{Error, Loaded, MAX_BYTES, PACKAGE, is_openwrts, parse, read};

use std::fmt;
use std::net::IpAddr;

use crate::model::{Interface, PeerId, PublicKey};

/// Everything that /etc/config/wgroam can say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The section `config wgroam 'globals'`.
    pub globals: Globals,
    /// The `tunnel` sections. Empty: every WireGuard interface is watched.
    pub tunnels: Vec<Tunnel>,
    /// The `peer` sections.
    pub peers: Vec<Peer>,
    /// WireGuard interfaces of package network, each once, in order; those that are disabled are not among them.
    pub interfaces: Vec<Interface>,
    /// Those of them that have a listen port there, which is how others find them, in order.
    pub listen_ports: Vec<(Interface, u16)>,
}

/// The section `config wgroam 'globals'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// Off: the daemon ends at once, with success.
    pub enabled: bool,
    /// What reaches the log.
    pub log_level: LogLevel,
    /// Keep the last good endpoints on flash too.
    pub persist: bool,
    /// Devices whose changes count; empty: whatever carries a default route.
    pub wan: Vec<Interface>,
}

impl Default for Globals {
    fn default() -> Self {
        Self { enabled: true, log_level: LogLevel::Info, persist: true, wan: Vec::new() }
    }
}

/// `option log_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// A section `config tunnel NAME`; its name is the WireGuard interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The WireGuard interface.
    pub interface: Interface,
    /// Off: wgroam leaves the interface alone.
    pub enabled: bool,
    /// Refuse at once what a dead tunnel can't carry.
    pub unreachable: bool,
    /// May the source port change?
    pub rotate_port: RotatePort,
}

/// `option rotate_port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RotatePort {
    Auto,
    Never,
    Always,
}

/// A section `config peer NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The section's name: what a person calls this peer.
    pub name: String,
    /// The interface it belongs to.
    pub tunnel: Interface,
    /// Who it is.
    pub public_key: PublicKey,
    /// Where it may be found, best first. Empty: it comes to us.
    pub endpoints: Vec<Candidate>,
    /// Which addresses of a name are tried.
    pub family: Family,
    /// What a poke restores when the peer has no keepalive, in seconds.
    pub keepalive: Option<u16>,
    /// Echo target inside the tunnel.
    pub probe: Option<IpAddr>,
    /// Seconds from one probe to the next without any evidence, 1 to 3600; 0: only on evidence.
    pub probe_interval: u16,
    /// May the peer be removed and added again, as the last resort?
    pub readd: bool,
}

impl Peer {
    /// Which peer it is about.
    pub fn id(&self) -> PeerId {
        PeerId { interface: self.tunnel, key: self.public_key }
    }
}

/// One entry of `list endpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// A name, or an address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// `option family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Family {
    Any,
    Ipv4,
    Ipv6,
}

impl Family {
    /// Does it leave room for this address?
    pub fn takes(self, ip: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::Ipv4 => ip.is_ipv4(),
            Family::Ipv6 => ip.is_ipv6(),
        }
    }
}
