// SPDX-License-Identifier: GPL-2.0-only
//! The referee knows who made each initiation, when and from where. It shares no code with the engine.
//!
//! 1. An endpoint that wgroam sets on account of an initiation is one from which the peer itself sent that very one, just
//!    now, and WireGuard took nothing newer. Or the peer has no endpoint: a recording may fill a void.
//! 2. Otherwise wgroam sets what the configuration names, what it remembers where there is none, and what it replaced.
//! 3. All else that an initiation leads to is a poke, and pokes have limits.
//! 4. After the attack the ends reach each other as soon as without wgroam (judged in play.rs).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use wgroam::engine::constants::{CLEAR_WITHIN, POKE_BURST, POKE_REFILL, POKE_SPACING};
use wgroam::engine::{Action, Reason};
use wgroam::initiation::Verdict;

use super::host::WALL;
use super::script::Section;
use super::wireguard::{Body, Packet, Time};
use super::world::{World, name};

/// What is older than this is a recording: the time that wgroam allows between what it hears and what it does, and the way.
const FRESH: Duration = Duration::from_secs(11);

/// What was done against the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An old recording moved the endpoint to where the peer never sent it from.
    Recording,
    /// A copy did, that came before what it is a copy of; both were heard before the endpoint was set.
    Copy,
    /// The peer sent it from there, but long ago, and has left.
    Old,
    /// WireGuard had taken a newer one, and the peer is elsewhere.
    Outdated,
    /// Nobody ever called from there.
    Invented,
    /// Remembered as proven, though no more than an initiation came from there, and that may have been a recording.
    Memory,
    /// Set for a reason that does not hold.
    Reason,
    /// A step that no initiation may lead to.
    Step,
    /// More pokes than the limits allow.
    Pokes,
    /// The ends reach each other later than without wgroam, or never.
    Worse,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    source: SocketAddr,
    /// None: before the play.
    at: Option<Time>,
}

/// An initiation that the daemon heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    host: usize,
    source: SocketAddr,
    handshake: u64,
    timestamp: u64,
    authentic: bool,
}

/// A bucket of pokes, as full as the limits make it.
#[derive(Clone, Copy, Debug, Default)]
struct Pokes {
    last: Option<Time>,
    /// Below zero: too many.
    left: f64,
}

#[derive(Debug, Default)]
pub struct Referee {
    made: BTreeMap<u64, Made>,
    heard: Vec<Heard>,
    /// Whence WireGuard of each end took something that only a session has: responses and data.
    sessions: [Vec<SocketAddr>; 2],
    /// By how many seconds the peer's clock was off in initiations that WireGuard of each end took: by these it may be
    /// expected.
    clocks: [Vec<i64>; 2],
    /// The owner set what wgroam was just trying: nobody can see that he did, and it is taken back.
    pub same_as_owner: bool,
    pokes: [Pokes; 2],
    pub fouls: Vec<(Kind, String)>,
    /// Endpoints set on a fresh initiation; in a void on a recording; on a copy whose original nobody heard.
    pub moved: usize,
    pub voids: usize,
    pub relayed: usize,
    /// Set on a recording whose time had come, made by a clock that was ahead.
    pub due: usize,
    /// Remembered endpoints from which no more than an initiation ever came.
    pub believed: usize,
    pub poked: usize,
    /// Done on what had changed just before.
    pub raced: usize,
    /// Worse than without wgroam, and that without any attack.
    pub regardless: usize,
}

impl Referee {
    pub fn made(&mut self, handshake: u64, source: SocketAddr, at: Option<Time>) {
        self.made.insert(handshake, Made { source, at });
    }

    pub fn heard(&mut self, host: usize, source: SocketAddr, packet: &Body, verdict: &Verdict) {
        let Body::Initiation { handshake, timestamp, .. } = *packet else { return };
        let authentic = matches!(verdict, Verdict::Authentic { .. });
        self.heard.push(Heard { host, source, handshake, timestamp, authentic });
    }

    /// WireGuard of this end took it.
    pub fn took(&mut self, host: usize, packet: &Packet) {
        if let Body::Initiation { handshake, timestamp, .. } = packet.body
            && let Some(at) = self.made[&handshake].at
        {
            let off = (timestamp / 1_000_000_000) as i64 - (WALL + at.as_secs()) as i64;
            if !self.clocks[host].contains(&off) {
                self.clocks[host].push(off);
            }
        }
        let session = matches!(packet.body, Body::Response { .. } | Body::Data { .. });
        if session && !self.sessions[host].contains(&packet.source) {
            self.sessions[host].push(packet.source);
        }
    }

    fn poke(&mut self, now: Time, host: usize) -> Result<(), String> {
        self.poked += 1;
        let burst = f64::from(POKE_BURST);
        let pokes = &mut self.pokes[host];
        let since = pokes.last.map(|last| now - last);
        let refilled = since.map_or(burst, |since| since.as_secs_f64() / POKE_REFILL.as_secs_f64());
        pokes.left = (pokes.left + refilled).min(burst) - 1.0;
        pokes.last = Some(now);
        match since {
            Some(since) if since < POKE_SPACING => Err(format!("{since:?} after the one before")),
            // A hair's breadth for the arithmetic.
            _ if pokes.left < -0.01 => Err("the limit is used up".into()),
            _ => Ok(()),
        }
    }
}

impl World {
    fn foul(&mut self, kind: Kind, host: usize, words: String) {
        self.tell_story(|_| format!("FOUL of {}: {kind:?}: {words}", name(host)));
        self.referee.fouls.push((kind, words));
    }

    /// May it take this step?
    fn require(&mut self, allowed: bool, host: usize, action: &Action) {
        if !allowed {
            let endpoint = self.hosts[host].wireguard.endpoint;
            self.foul(Kind::Step, host, format!("it has {endpoint:?}: {action:?}"));
        }
    }

    /// A daemon that starts has forgotten its pokes.
    pub(super) fn judge_start(&mut self, host: usize) {
        self.referee.pokes[host] = Pokes::default();
        self.referee.heard.retain(|heard| heard.host != host);
    }

    /// Is this allowed now?
    pub(super) fn judge(&mut self, host: usize, action: &Action) {
        let endpoint = self.hosts[host].wireguard.endpoint;
        match action {
            Action::SetEndpoint { endpoint, reason, .. } => self.judge_endpoint(host, *endpoint, *reason),
            Action::ReaddPeer { endpoint: set, .. } => {
                let section = self.script.sections[host];
                // What comes in after the look that it rests on can't be known.
                let heard = self.hosts[host].heard.is_some_and(|since| self.now > since + CLEAR_WITHIN);
                let dials = matches!(section, Section::ByAddress | Section::ByName);
                self.require(dials && (!heard || self.script.readd), host, action);
                if let Some((endpoint, reason)) = set {
                    self.judge_endpoint(host, *endpoint, *reason);
                }
            }
            Action::ClearSource { endpoint: cleared, .. } => {
                let moves = endpoint != Some(*cleared) && !self.just_changed(host);
                self.require(!moves, host, action);
            }
            Action::SetPort { .. } => self.require(false, host, action),
            Action::Poke { keepalive, .. } => {
                self.require(*keepalive == self.hosts[host].wireguard.keepalive, host, action);
                if let Err(words) = self.referee.poke(self.now, host) {
                    self.foul(Kind::Pokes, host, words);
                }
            }
            _ => {}
        }
    }

    /// Did the endpoint change since a poke that waits for its turn was decided on? Then it could not be known.
    fn just_changed(&mut self, host: usize) -> bool {
        let just = self.now <= self.hosts[host].since.1 + POKE_SPACING;
        self.referee.raced += usize::from(just);
        just
    }

    fn judge_endpoint(&mut self, host: usize, endpoint: SocketAddr, reason: Reason) {
        let now = self.now;
        let void = self.hosts[host].wireguard.endpoint.is_none();
        let peer = &self.hosts[1 - host];
        let was_there = peer.address == endpoint || peer.earlier.contains(&endpoint);
        match reason {
            Reason::Initiation => self.judge_initiation(host, endpoint, void),
            Reason::Candidate => {
                // One that the configuration names, or one that proved itself.
                if self.script.sections[host] == Section::Awaited {
                    self.foul(Kind::Reason, host, format!("no name means {endpoint}"));
                } else if !was_there && !self.referee.sessions[host].contains(&endpoint) {
                    self.foul(Kind::Memory, host, format!("nothing but initiations came from {endpoint}"));
                }
            }
            Reason::Returned => {
                if !self.hosts[host].had.contains(&endpoint) {
                    self.foul(Kind::Reason, host, format!("it never was at {endpoint}"));
                }
            }
            Reason::Remembered if !void && self.just_changed(host) => {}
            Reason::Remembered if !void => {
                self.foul(Kind::Reason, host, format!("{now:?}: {endpoint} from memory, where there is one"));
            }
            Reason::Remembered => {
                let known = was_there || self.referee.sessions[host].contains(&endpoint);
                self.referee.believed += usize::from(!known);
            }
            _ => self.foul(Kind::Reason, host, format!("{reason:?}: {endpoint}")),
        }
    }

    fn judge_initiation(&mut self, host: usize, endpoint: SocketAddr, void: bool) {
        let now = self.now;
        let calls = self.referee.heard.iter().filter(|heard| heard.host == host);
        let Some(call) = calls.rev().find(|heard| heard.authentic && heard.source == endpoint).copied()
        else {
            return self.foul(Kind::Invented, host, format!("nobody called from {endpoint}"));
        };
        let made = self.referee.made[&call.handshake];
        let fresh = made.at.is_some_and(|at| now <= at + FRESH);
        let there = self.hosts[1 - host].address == endpoint;
        let newest = self.hosts[host].wireguard.newest;
        let older = |at: Option<Time>| match at {
            Some(at) => format!("{:?} ago", now - at),
            None => "before the play".into(),
        };
        // Made by a clock that was ahead of the one that the peer showed since, and sent when its time had come: nobody can
        // tell that from a call of now. That WireGuard took something newer meanwhile can't be known if nobody heard it (what
        // was heard makes this one a replay).
        let timestamp = Duration::from_nanos(call.timestamp);
        let expected = |off: &i64| Duration::from_secs(WALL.saturating_add_signed(*off)) + now;
        let mut clocks = self.referee.clocks[host].iter().chain(&[0]).map(expected);
        let due = !fresh && clocks.any(|expected| expected.abs_diff(timestamp) < FRESH);
        if void {
            self.referee.voids += usize::from(!fresh || made.source != endpoint);
        } else if due && !there {
            self.referee.due += 1;
        } else if made.source != endpoint && !there {
            let original = |heard: &Heard| {
                heard.host == host && heard.handshake == call.handshake && heard.source == made.source
            };
            let words = format!("{endpoint}: made {} at {}", older(made.at), made.source);
            if !fresh {
                self.foul(Kind::Recording, host, words);
            } else if self.referee.heard.iter().any(original) {
                self.foul(Kind::Copy, host, words);
            } else {
                // Whoever passes on what does not arrive itself is believed by WireGuard, too.
                self.referee.relayed += 1;
            }
        } else if there {
            self.referee.moved += 1;
        } else if !fresh {
            self.foul(Kind::Old, host, format!("{endpoint}: it called from there {}", older(made.at)));
        } else if call.timestamp <= newest {
            self.foul(Kind::Outdated, host, format!("{endpoint}: WireGuard took a newer one"));
        } else {
            self.referee.moved += 1;
        }
    }
}
