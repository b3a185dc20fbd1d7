// SPDX-License-Identifier: GPL-2.0-only
//! What the engine wants done.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::Report;
use crate::model::{Interface, PublicKey};
use crate::routing::{OwnRoute, RouteQuery};

/// Something to be done outside. Each is carried out at once and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell WireGuard where the peer is. Never changes anything else of it, and creates no peer.
    SetEndpoint {
        /// On this interface.
        interface: Interface,
        /// Of this peer.
        peer: PublicKey,
        /// To this address.
        endpoint: SocketAddr,
        /// Because of this.
        reason: Reason,
    },
    /// Tell WireGuard again where the peer is, so that it forgets the source address that it sent from so far: the one
    /// of a WAN that is no more. `endpoint` is what the last look showed, so nothing moves.
    ClearSource {
        /// On this interface.
        interface: Interface,
        /// Of this peer.
        peer: PublicKey,
        /// The endpoint that it has.
        endpoint: SocketAddr,
    },
    /// Make WireGuard send an authenticated packet now: the keepalive goes to 0 and back on.
    Poke {
        /// On this interface.
        interface: Interface,
        /// To this peer.
        peer: PublicKey,
        /// The persistent keepalive to leave behind, in seconds, 0 = off.
        keepalive: u16,
        /// Because of this.
        reason: Reason,
    },
    /// Read the device and bring an [`super::Event::Snapshot`].
    TakeSnapshot {
        /// This one.
        interface: Interface,
    },
    /// Look up this name, both families, and bring an [`super::Event::Resolved`]. Never asked again before the answer,
    /// unless that is long overdue; never a literal address.
    Resolve {
        /// The name.
        host: String,
    },
    /// Send one echo request through the tunnel (ICMP or ICMPv6, bound to the interface). Each reply is brought as
    /// [`super::Event::ProbeReply`]; that none comes is for the engine to notice.
    Probe {
        /// Through this interface.
        interface: Interface,
        /// To find out about this peer.
        peer: PublicKey,
        /// To this address inside the tunnel.
        target: IpAddr,
        /// Comes back with the reply.
        token: u16,
    },
    /// Have WireGuard listen on another port, which is the source port, too.
    SetPort {
        /// On this interface.
        interface: Interface,
        /// On this one; 0: the kernel chooses one that is free.
        port: u16,
    },
    /// Remove the peer and add it again as it is (allowed IPs, keepalive, preshared key, endpoint unless told another), in
    /// one message.
    ReaddPeer {
        /// On this interface.
        interface: Interface,
        /// This peer.
        peer: PublicKey,
        /// There, for this reason, and not where it is. Part of the same message: told before, the one that is removed may
        /// call there, and then the other end takes no call of the new one for 20 ms (INITIATIONS_PER_SECOND).
        endpoint: Option<(SocketAddr, Reason)>,
    },
    /// Send one packet of data through the tunnel that its far end is likely to answer at once (an ICMPv6 echo request with
    /// hop limit 1): what the LAN would send, if it were not refused. Nothing waits for a reply; bytes that come in tell.
    Wake {
        /// Through this interface.
        interface: Interface,
        /// To this address, which is routed through it.
        target: IpAddr,
    },
    /// WireGuard's next initiation that leaves for `home` goes to these addresses, too, from the same port: bit for bit the
    /// same packet. So who is there answers, WireGuard takes the answer and goes there by itself, and nothing was changed for
    /// the others. Off when that initiation has left, or after [`super::constants::COPY_FOR`]; replaces what was asked
    /// for on behalf of this peer before.
    CopyInitiation {
        /// From this interface.
        interface: Interface,
        /// On behalf of this peer.
        peer: PublicKey,
        /// Where WireGuard sends it.
        home: SocketAddr,
        /// Where it goes, too.
        to: Vec<SocketAddr>,
        /// The mark that packets of this interface bear, 0 = none.
        mark: u32,
    },
    /// Find out what the main table says, and bring an [`super::Event::Routes`] at once: what comes after this in the queue
    /// may hang on it.
    QueryRoutes(RouteQuery),
    /// Add a route of ours, or lead one of ours that is in the same place another way. Nobody else's is touched.
    AddRoute(OwnRoute),
    /// Remove a route of ours.
    RemoveRoute(OwnRoute),
    /// The interface is gone or not ours any more: forget its private key, and listen for it no longer.
    Forget {
        /// This one.
        interface: Interface,
    },
    /// [`super::Engine::memory`] changed: keep it.
    Remember,
    /// Tell whoever watches.
    Report(Report),
}

/// Why an endpoint is what it is, or why a packet is sent. Seen in logs, status and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An authentic, fresh initiation came from there.
    Initiation,
    /// WireGuard itself learned it from an authenticated packet.
    Learned,
    /// It was there when we first looked: from the owner's configuration, or learned before our time.
    Found,
    /// The last good endpoint, from memory: the interface or the peer had none.
    Remembered,
    /// The configuration names it, or an address of a name that it names.
    Candidate,
    /// Nothing answered where it was tried: back to where it was.
    Returned,
    /// The peer is silent: see [`super::Evidence`].
    Silence,
    /// Our own WAN changed.
    WanChanged,
    /// The interface came back.
    DeviceReturned,
    /// The wall clock was set.
    ClockStepped,
    /// The owner asked.
    Command,
}

impl Reason {
    /// One lower-case word for machines: logs, JSON, hook scripts.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Initiation => "initiation",
            Reason::Learned => "learned",
            Reason::Found => "found",
            Reason::Remembered => "remembered",
            Reason::Candidate => "candidate",
            Reason::Returned => "returned",
            Reason::Silence => "silence",
            Reason::WanChanged => "wan-changed",
            Reason::DeviceReturned => "device-returned",
            Reason::ClockStepped => "clock-stepped",
            Reason::Command => "command",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Reason::Initiation => "it proved itself from there",
            Reason::Learned => "WireGuard learned it from an authenticated packet",
            Reason::Found => "it was set when wgroam first looked",
            Reason::Remembered => "the last good endpoint, from memory",
            Reason::Candidate => "the configuration says it may be there",
            Reason::Returned => "nothing answered elsewhere: back to where it was",
            Reason::Silence => "it is silent",
            Reason::WanChanged => "our own WAN changed",
            Reason::DeviceReturned => "the interface came back",
            Reason::ClockStepped => "the clock was set",
            Reason::Command => "the owner asked",
        })
    }
}
