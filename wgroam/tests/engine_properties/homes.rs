// SPDX-License-Identifier: GPL-2.0-only
//! The sixth rule, as far as one machine can see it: what is tried is taken back. Home is the endpoint that proved itself, or
//! that somebody else set; and the source port that the interface was set up with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wgroam::engine::Reason;
use wgroam::model::{Device, Interface, PublicKey};

use super::draw::Key;

/// Elsewhere for so long at the most, and this much longer while it is not its turn to be poked.
const AWAY: Duration = Duration::from_millis(2_300);
const TURN: Duration = Duration::from_secs(1);
/// Where a call came from: for so long at the least, and at the most, if nothing comes from there.
const CALLED: Duration = Duration::from_secs(6);
const CALLED_MOST: Duration = Duration::from_millis(6_500);

/// What is where.
#[derive(Default)]
pub struct Homes {
    stays: BTreeMap<Key, Stay>,
    ports: BTreeMap<Interface, Port>,
}

/// An endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    home: Option<SocketAddr>,
    /// What was home before WireGuard lost it, or before somebody moved it at the very moment at which we did.
    lost: Option<SocketAddr>,
    /// What WireGuard has, as far as can be seen.
    here: Option<SocketAddr>,
    /// We set that, as a try, and nothing has come from there.
    tried: Option<Instant>,
    /// It was home before, so that it has to go back.
    left: bool,
    /// A call moved it, from there and then.
    called: Option<(SocketAddr, Instant)>,
    /// And one more came from there, which may tell that it is there.
    again: bool,
    /// It was taken back from there; who calls from there once more is believed.
    doubted: Option<SocketAddr>,
}

/// A source port.
#[derive(Clone, Debug)]
struct Port {
    /// Those that it may go back to: as it was set up, or as package network says.
    first: Vec<u16>,
    here: u16,
    /// The kernel chooses one that was not seen yet.
    chosen: bool,
    /// We changed it, and nothing has come in since.
    tried: Option<Instant>,
    /// Something came that may be no answer.
    unclear: bool,
}

/// What came from a peer, as a look shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    None,
    /// It may be a recording of a call, or what a call led to.
    Unclear,
    /// The far end of the session sends from there.
    Proof,
}

impl Stay {
    fn at_home(here: SocketAddr) -> Self {
        Self { home: Some(here), here: Some(here), ..Self::default() }
    }
}

impl Homes {
    /// Where the engine may believe that the peer is.
    pub fn here(&self, at: Key) -> Option<SocketAddr> {
        self.stays.get(&at)?.here
    }

    /// Is it elsewhere than home, by our doing?
    pub fn is_away(&self, at: Key) -> bool {
        self.stays.get(&at).is_some_and(|stay| stay.tried.is_some() && stay.left)
    }

    /// The port that it was set up with, as far as is known.
    pub fn first_port(&self, interface: Interface) -> Option<u16> {
        self.ports.get(&interface)?.first.first().copied()
    }

    pub fn port_is_away(&self, interface: Interface) -> bool {
        self.ports.get(&interface).is_some_and(|port| port.tried.is_some())
    }

    /// An endpoint is set. `proven`: an endpoint that the peer was at in an earlier life.
    pub fn set(&mut self, now: Instant, at: Key, endpoint: SocketAddr, reason: Reason, proven: bool) {
        let stay = self.stays.entry(at).or_default();
        let goes_home = stay.home == Some(endpoint);
        match reason {
            Reason::Returned => {
                let lost = stay.lost == Some(endpoint);
                let called = stay.called.filter(|&(from, when)| from == endpoint && now >= when + CALLED);
                let any = lost || called.is_some() || (proven && !stay.left);
                let home = if any { Some(endpoint) } else { stay.home };
                assert_eq!(Some(endpoint), home, "taken back to where it was not before: {stay:?}");
                let doubted = if called.is_some() { stay.here } else { stay.doubted };
                *stay = Stay { doubted, ..Stay::at_home(endpoint) };
            }
            Reason::Initiation => {
                let from = stay.here.filter(|_| stay.doubted != Some(endpoint));
                let called = from.map(|from| (from, now));
                *stay = Stay { called, doubted: stay.doubted, ..Stay::at_home(endpoint) };
            }
            _ if goes_home => (stay.here, stay.tried, stay.left) = (Some(endpoint), None, false),
            _ => {
                assert!(
                    stay.tried.is_none() || !stay.left,
                    "from one trial into the next, without the endpoint of before: {stay:?}"
                );
                stay.left = stay.home.is_some() && stay.here == stay.home;
                (stay.here, stay.tried, stay.called) = (Some(endpoint), Some(now), None);
            }
        }
    }

    /// Another source port is set.
    pub fn set_port(&mut self, now: Instant, interface: Interface, told: u16, configured: Option<u16>) {
        let port = self.ports.get_mut(&interface).expect("only what was looked at is touched");
        if told == 0 {
            assert!(port.tried.is_none(), "another port before the first one was taken back");
            (port.tried, port.chosen, port.unclear) = (Some(now), true, false);
            port.first.extend(configured);
        } else {
            assert!(port.tried.is_some(), "port {told} while nothing is to be taken back: {port:?}");
            assert!(port.first.contains(&told), "port {told} was not before: {port:?}");
            (port.here, port.tried, port.chosen) = (told, None, false);
        }
    }

    /// A call came from there.
    pub fn called_again(&mut self, at: Key, source: SocketAddr) {
        if let Some(stay) = self.stays.get_mut(&at) {
            stay.again |= stay.called.is_some() && stay.here == Some(source);
        }
    }

    /// A reply to a probe came from the peer.
    pub fn replied(&mut self, at: Key) {
        if let Some(stay) = self.stays.get_mut(&at) {
            (stay.tried, stay.left, stay.called) = (None, false, None);
        }
    }

    /// A peer shows itself, as it was at `asked` at the earliest. `answer`: something came that is more than calls.
    pub fn look(&mut self, asked: Instant, at: Key, endpoint: Option<SocketAddr>, life: Life, answer: bool) {
        let stay = self.stays.entry(at).or_default();
        match endpoint {
            // Somebody else's doing, or WireGuard's own; or something came from there.
            Some(endpoint) if stay.here != Some(endpoint) || life != Life::None => {
                let race = stay.tried.is_some_and(|when| asked <= when);
                *stay = Stay { lost: stay.home.filter(|_| race), ..Stay::at_home(endpoint) };
            }
            Some(_) => {}
            None => *stay = Stay { lost: stay.home.or(stay.lost), ..Stay::default() },
        }
        if let Some(port) = self.ports.get_mut(&at.0) {
            port.unclear |= life == Life::Unclear;
            if answer {
                port.tried = None;
            }
        }
    }

    /// A device shows itself, before its peers.
    pub fn look_at_device(&mut self, device: &Device, recreated: bool) {
        if recreated {
            self.ports.remove(&device.interface);
            self.stays.retain(|at, _| at.0 != device.interface);
        }
        let there: BTreeSet<PublicKey> = device.peers.iter().map(|peer| peer.public_key).collect();
        self.stays.retain(|at, _| at.0 != device.interface || there.contains(&at.1));
        let first = || Port {
            first: vec![device.listen_port],
            here: device.listen_port,
            chosen: false,
            tried: None,
            unclear: false,
        };
        let port = self.ports.entry(device.interface).or_insert_with(first);
        if std::mem::take(&mut port.chosen) {
            port.here = device.listen_port;
        }
        if port.here != device.listen_port {
            *port = first();
        }
    }

    /// Nothing can be done about this interface, or could not until now: the time does not count.
    pub fn suspend(&mut self, now: Instant, interface: Interface) {
        let stays = self.stays.iter_mut().filter(|(at, _)| at.0 == interface);
        let tried = stays.map(|(_, stay)| {
            stay.called = None;
            &mut stay.tried
        });
        let port = self.ports.get_mut(&interface).map(|port| &mut port.tried);
        tried.chain(port).flatten().for_each(|since| *since = now);
    }

    /// Who is elsewhere for too long. `can`: can anything be done about it? `waits`: is it not its turn to be poked? `round`:
    /// what a round takes at the most.
    pub fn check(
        &self,
        now: Instant,
        can: impl Fn(Interface) -> bool,
        waits: impl Fn(Key) -> bool,
        round: impl Fn(Interface) -> Duration,
    ) {
        for (&at, stay) in self.stays.iter().filter(|(at, _)| can(at.0)) {
            let most = AWAY + if waits(at) { TURN } else { Duration::ZERO };
            let late = stay.tried.is_some_and(|since| stay.left && now > since + most);
            assert!(!late, "{at:?} is not back home: {stay:?}");
            let turn = most - AWAY;
            let late = !stay.again && stay.called.is_some_and(|(_, when)| now > when + CALLED_MOST + turn);
            assert!(!late, "{at:?} is where nothing came from but a call: {stay:?}");
        }
        for (&interface, port) in self.ports.iter().filter(|(interface, _)| can(**interface)) {
            let late = port.tried.is_some_and(|since| !port.unclear && now > since + round(interface));
            assert!(!late, "the port of {interface} is not back: {port:?}");
        }
    }
}
