// SPDX-License-Identifier: GPL-2.0-only
//! One peer in the referee's book.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wgroam::model::Peer;

const SECOND: Duration = Duration::from_secs(1);

/// What the referee knows of a peer. All "since" is since its last sign of life.
#[derive(Debug)]
pub struct Tale {
    pub seen: Peer,
    pub life: Instant,
    /// Did its section say where it may be, at the last look?
    pub dialed: bool,
    /// A look showed that, and it is not only new.
    pub lived: bool,
    pub session: Option<Instant>,
    pub sent: u64,
    pub pokes: u64,
    /// Something was sent that it has to answer.
    pub owes: bool,
    /// It called, and that led to nothing: the first time.
    pub called: Option<Instant>,
    /// Addresses that its names stand for since then, and did not before.
    pub news: BTreeSet<SocketAddr>,
    /// A session began, and the target of its probes was not asked in it.
    pub untested: bool,
    /// One of them is being tried.
    pub chosen: Option<SocketAddr>,
    /// There was a reason to call it silent.
    pub silent: bool,
    /// When there was one the last time, also before the last sign of life.
    pub was_silent: Option<Instant>,
    /// When it was last allowed to try another way.
    pub may_leave: Option<Instant>,
    /// Endpoints that it had in this round.
    pub had: BTreeSet<SocketAddr>,
    /// The last endpoint that was a candidate's.
    pub origin: Option<SocketAddr>,
    pub probes: Vec<(u16, Instant)>,
    /// The target of the probes has answered before.
    pub answers_probes: bool,
    pub readded: Option<Instant>,
    /// When we last set its endpoint or its port: what was on its way to another place is void. And when somebody else did.
    pub left: Option<Instant>,
    pub moved: Option<Instant>,
    /// When an address was last tried.
    pub tried: Option<Instant>,
}

impl Tale {
    pub fn new(now: Instant, seen: Peer, session: Option<Instant>) -> Self {
        Self {
            seen,
            life: now,
            dialed: false,
            lived: false,
            session,
            sent: 0,
            pokes: 0,
            owes: false,
            called: None,
            news: BTreeSet::new(),
            untested: false,
            chosen: None,
            silent: false,
            was_silent: None,
            may_leave: None,
            had: seen.endpoint.into_iter().collect(),
            origin: None,
            probes: Vec::new(),
            answers_probes: false,
            readded: None,
            left: None,
            moved: None,
            tried: None,
        }
    }

    pub fn lived(&mut self, now: Instant) {
        (self.life, self.lived) = (now, true);
        (self.sent, self.pokes, self.owes, self.silent) = (0, 0, false, false);
        (self.may_leave, self.called, self.chosen) = (None, None, None);
        self.news.clear();
        self.had = self.seen.endpoint.into_iter().collect();
        self.probes.clear();
    }

    /// Probes that came to nothing.
    pub fn lost(&self, now: Instant) -> usize {
        self.probes.iter().filter(|&&(_, when)| now >= when + SECOND).count()
    }

    pub fn look(&mut self, now: Instant, peer: &Peer, session: Option<Instant>, risen: bool) {
        let before = std::mem::replace(&mut self.seen, *peer);
        let rise = |new: u64, old: u64| if new < old { new } else { new - old };
        let (sent, received) = (rise(peer.tx_bytes, before.tx_bytes), rise(peer.rx_bytes, before.rx_bytes));
        let shaken = peer.last_handshake.is_some() && peer.last_handshake != before.last_handshake;
        let calls = !shaken && calls_only(peer, received);
        if risen {
            self.session = None;
        }
        if shaken || peer.last_handshake.is_none() || received > 0 {
            self.session = session;
        }
        self.had.extend(peer.endpoint);
        self.untested |= shaken;
        if shaken || (received > 0 && !calls) {
            return self.lived(now);
        }
        if received > 0 {
            self.called.get_or_insert(now);
        }
        self.sent += sent;
        let beats = (now - self.life).as_secs().checked_div(u64::from(peer.keepalive)).unwrap_or(0);
        self.owes |= self.sent > 32 * (self.pokes + beats) || (self.session.is_none() && sent > 0);
    }
}

/// Did nothing come that a session alone can have sent? Without any handshake that is so however much came.
pub fn calls_only(peer: &Peer, received: u64) -> bool {
    peer.last_handshake.is_none() || received == 148 || received == 296
}
