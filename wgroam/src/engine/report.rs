// SPDX-License-Identifier: GPL-2.0-only
//! What the engine tells whoever watches: the log, `wgroam watch`, hook scripts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Reason, ResolveError};
use crate::initiation::Verdict;
use crate::model::{Interface, PublicKey};
use crate::routing::{OwnRoute, Purpose};
use crate::wan::WanChange;

/// One thing worth telling. Repetitions are counted in the status, not told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// An interface is watched from now on.
    DeviceFound {
        /// Its name.
        interface: Interface,
        /// How many peers it has.
        peers: usize,
    },
    /// An interface that was watched is gone.
    DeviceGone {
        /// Its name.
        interface: Interface,
    },
    /// The interface was created anew; what its peers had taught it is lost.
    DeviceReturned {
        /// Its name.
        interface: Interface,
    },
    /// A peer's endpoint is another one now, whoever changed it.
    Moved {
        /// On this interface.
        interface: Interface,
        /// This peer.
        peer: PublicKey,
        /// Where it was.
        old: Option<SocketAddr>,
        /// Where it is.
        new: SocketAddr,
        /// Why we believe it.
        reason: Reason,
    },
    /// A peer was sent an authenticated packet.
    Poked {
        /// On this interface.
        interface: Interface,
        /// This peer.
        peer: PublicKey,
        /// Why.
        reason: Reason,
    },
    /// A packet that must not be believed.
    Stranger {
        /// For this interface.
        interface: Interface,
        /// From here.
        source: SocketAddr,
        /// What was wrong.
        verdict: Verdict,
    },
    /// An authentic initiation arrived, and WireGuard did not take it: a firewall, or an interface that is down.
    NotTaken {
        /// For this interface.
        interface: Interface,
        /// From this peer.
        peer: PublicKey,
        /// From here.
        source: SocketAddr,
        /// Is the link up? No: that is why.
        up: bool,
    },
    /// A step of the recovery is taken, because a peer that is dialed is silent.
    Step {
        /// On this interface.
        interface: Interface,
        /// For this peer.
        peer: PublicKey,
        /// What is done.
        step: Step,
        /// What says that it is silent.
        evidence: Evidence,
        /// How long it has been silent by then.
        after: Duration,
    },
    /// Something authenticated came from a peer that was silent.
    Recovered {
        /// On this interface.
        interface: Interface,
        /// From this peer.
        peer: PublicKey,
        /// The step after which it came. None: before any.
        step: Option<Step>,
        /// What had said that it is silent.
        evidence: Evidence,
        /// How long it was silent.
        took: Duration,
    },
    /// What a name stands for changed, or it can't be resolved any more. The addresses are in the order in which they
    /// are tried.
    Name {
        /// The name.
        host: String,
        /// What it stands for now, or why that is not known.
        answer: Result<Vec<IpAddr>, ResolveError>,
    },
    /// A route of ours was added, or leads another way now.
    RouteAdded {
        /// For this tunnel.
        interface: Interface,
        /// The route.
        route: OwnRoute,
        /// What it is for.
        purpose: Purpose,
    },
    /// A route of ours was removed, or lost.
    RouteRemoved {
        /// It was for this tunnel; none when an earlier run left it behind.
        interface: Option<Interface>,
        /// The route.
        route: OwnRoute,
    },
    /// Our own WAN changed.
    WanChanged(WanChange),
    /// The wall clock was set.
    ClockStepped,
    /// Our own clock looks wrong, or does not any more.
    OwnClock {
        /// By how much it is behind the newest time that we remember; None: not any more.
        behind: Option<Duration>,
    },
}

/// What is done about a silent peer, the cheapest first. Docs: how-it-decides.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Sent it an authenticated packet.
    Poke,
    /// Had WireGuard forget the source address that it sends from, and poked.
    ClearSource,
    /// Sent an echo request through the tunnel.
    Probe,
    /// Set another address, and poked.
    Try(SocketAddr),
    /// Changed our source port, and poked: to this one, or to one that the kernel chose (0).
    ChangePort(u16),
    /// Nothing answered: went back to this endpoint, and to the port of before.
    GoBack(SocketAddr),
    /// Removed the peer and added it again.
    Readd,
    /// Nothing helped: wait for this long, then begin again.
    Rest(Duration),
}

impl Step {
    /// One lower-case word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Step::Poke => "poke",
            Step::ClearSource => "clear-source",
            Step::Probe => "probe",
            Step::Try(_) => "try",
            Step::ChangePort(0) => "rotate-port",
            Step::ChangePort(_) => "restore-port",
            Step::GoBack(_) => "go-back",
            Step::Readd => "readd",
            Step::Rest(_) => "rest",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Step::Poke => f.write_str("poked it"),
            Step::ClearSource => f.write_str("cleared the source address and poked it"),
            Step::Probe => f.write_str("probed through the tunnel"),
            Step::Try(endpoint) => write!(f, "tried {endpoint}"),
            Step::ChangePort(0) => f.write_str("took another source port"),
            Step::ChangePort(port) => write!(f, "went back to source port {port}"),
            Step::GoBack(endpoint) => write!(f, "went back to {endpoint}"),
            Step::Readd => f.write_str("removed and added it again"),
            Step::Rest(time) => write!(f, "nothing helped, next round in {} s", time.as_secs()),
        }
    }
}

/// What says that a peer is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// It never completed a handshake with this interface.
    NoHandshake,
    /// Something was sent that it has to answer, and nothing authenticated came.
    Unanswered,
    /// A probe came to nothing.
    Probe,
    /// Our own WAN changed, and nothing authenticated came since.
    WanChanged,
}

impl Evidence {
    /// One lower-case word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Evidence::NoHandshake => "no-handshake",
            Evidence::Unanswered => "unanswered",
            Evidence::Probe => "probe",
            Evidence::WanChanged => "wan-changed",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Evidence::NoHandshake => "no handshake so far",
            Evidence::Unanswered => "what we send is not answered",
            Evidence::Probe => "a probe was not answered",
            Evidence::WanChanged => "our own WAN changed",
        })
    }
}
