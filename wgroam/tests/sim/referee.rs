// SPDX-License-Identifier: GPL-2.0-only
//! The referee: what an engine may do to a tunnel, judged by what is true in the world and not by what the engine knows.
//!
//! 1. An endpoint is only set where a name stands for it, or where the peer proved to be.
//! 2. A session that works is not touched: neither its endpoint nor its port changes, and its peer is not added anew.
//! 3. What WireGuard learned and carries traffic is not overwritten: the same, whoever set the endpoint.
//! 4. A name that is never answered holds nobody up: that is for the journeys to see, in which some peers have one.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wgroam::engine::{Action, Reason};
use wgroam::model::PublicKey;

use super::wireguard::{Body, Packet, Time};
use super::world::{OTHER_PORT, PORT, R1, R2, STRAY, World};

/// Who heard from the peer so lately knows that it answers: a look at the device is no older.
const LATELY: Duration = Duration::from_millis(900);

/// A tunnel that has worked for so long, with pings in it, is known to work, even if some of them got lost.
const WORKING: Duration = Duration::from_secs(4);

/// And WireGuard answers whatever it gets within 10 s (KEEPALIVE_TIMEOUT). Who hears nothing for longer can't know better:
/// the answer got lost.
const ANSWERS: Duration = Duration::from_secs(11);

/// The engine takes half of that for enough when the WAN changed lately (DEAD_AFTER_WAN, WAN_RECENT).
const ANSWERS_AFTER_WAN: Duration = Duration::from_secs(5);
/// The same for its source port.
const ANSWERS_PORT: Duration = Duration::from_secs(7);
const WAN_RECENT: Duration = Duration::from_secs(31);

/// What it keeps its eye on.
#[derive(Debug, Default)]
pub struct Referee {
    /// What home.example ever stood for.
    pub named: BTreeSet<IpAddr>,
    /// Where each host's peer proved to be, and when it was last heard in a session.
    proved: [BTreeSet<SocketAddr>; 2],
    answered: [Option<Time>; 2],
    /// When R1's engine heard of a change of WAN.
    pub wan_changed: Option<Time>,
    /// Since when R1's pings get through.
    works_since: Option<Time>,
    /// What was done against the rules.
    pub fouls: Vec<String>,
    /// What was judged.
    pub judged: usize,
}

impl Referee {
    /// The host's interface was created anew: what was heard before is void.
    pub fn begin(&mut self, host: usize) {
        (self.answered[host], self.works_since) = (None, None);
    }

    /// WireGuard of this host took the packet.
    pub fn heard(&mut self, now: Time, host: usize, packet: &Packet) {
        self.proved[host].insert(packet.source);
        if !matches!(packet.body, Body::Initiation { .. }) {
            self.answered[host] = Some(now);
        }
    }
}

/// The peer that is changed.
pub fn concerns(action: &Action) -> Option<PublicKey> {
    match action {
        Action::SetEndpoint { peer, .. }
        | Action::ClearSource { peer, .. }
        | Action::Poke { peer, .. }
        | Action::Probe { peer, .. }
        | Action::ReaddPeer { peer, .. } => Some(*peer),
        _ => None,
    }
}

impl World {
    /// Would a ping of R1 get to R2?
    fn works(&self) -> bool {
        let [Some(ours), Some(theirs)] = [R1, R2].map(|host| self.hosts[host].wireguard.as_ref()) else {
            return false;
        };
        let Some(destination) = ours.endpoint.filter(|endpoint| self.hosts[R2].is_at(endpoint.ip())) else {
            return false;
        };
        let source = SocketAddr::new(self.hosts[R1].address, ours.port);
        let passes = self.lets_pass(&Packet { source, destination, body: Body::Noise });
        let there = [theirs.port, OTHER_PORT].contains(&destination.port());
        let up = ours.up && theirs.up && !self.swallowed.contains(&ours.port);
        up && there && passes && ours.shares_session(self.now, theirs)
    }

    pub fn note_whether_it_works(&mut self) {
        let works = self.works();
        self.referee.works_since = works.then(|| self.referee.works_since.unwrap_or(self.now));
    }

    /// Is this allowed now?
    pub fn judge(&mut self, host: usize, action: &Action) {
        self.note_whether_it_works();
        let now = self.now;
        let Some(wireguard) = &self.hosts[host].wireguard else { return };
        let referee = &mut self.referee;
        if concerns(action) == Some(STRAY) && !matches!(action, Action::Poke { .. }) {
            // Nobody ever said where it is.
            referee.fouls.push(format!("rule 1, {now:?}: {action:?}"));
            return;
        }
        let set = match action {
            Action::SetEndpoint { endpoint, reason, .. } => Some((*endpoint, *reason)),
            Action::ReaddPeer { endpoint, .. } => *endpoint,
            _ => None,
        };
        let believed = set.is_none_or(|(endpoint, reason)| match reason {
            Reason::Candidate => {
                referee.named.contains(&endpoint.ip()) && [PORT, OTHER_PORT].contains(&endpoint.port())
            }
            Reason::Remembered | Reason::Initiation => referee.proved[host].contains(&endpoint),
            // What was tried is taken back.
            Reason::Returned => self.hosts[host].endpoints.contains(&endpoint),
            _ => false,
        });
        if !believed {
            referee.fouls.push(format!("rule 1, {now:?}: {action:?}"));
        }
        let changes = match action {
            Action::SetEndpoint { endpoint, .. } => wireguard.endpoint.is_some_and(|old| old != *endpoint),
            Action::ReaddPeer { .. } => {
                let asked_for = self.hosts[host].config.peers.iter().any(|peer| peer.readd);
                if !asked_for && wireguard.rx_bytes > 0 {
                    referee.fouls.push(format!("added anew though heard, {now:?}: {action:?}"));
                }
                true
            }
            Action::SetPort { .. } => true,
            _ => return,
        };
        referee.judged += 1;
        let answered = |within| referee.answered[host].is_some_and(|when| now < when + within);
        let lately = answered(LATELY);
        let works = referee.works_since.is_some_and(|since| now >= since + WORKING);
        let moved = referee.wan_changed.is_some_and(|when| now < when + WAN_RECENT);
        // Another source port takes nothing from a session: the next packet says where to. It goes back at any time.
        let within = match action {
            Action::SetPort { port, .. } if *port != 0 => return,
            _ if moved => ANSWERS_AFTER_WAN,
            Action::SetPort { .. } => ANSWERS_PORT,
            _ => ANSWERS,
        };
        let works = host == R1 && works && answered(within);
        if changes && (lately || works) {
            referee.fouls.push(format!("rule 2 or 3, {now:?}, it works: {action:?}"));
        }
    }
}
