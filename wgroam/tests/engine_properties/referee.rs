// SPDX-License-Identifier: GPL-2.0-only
//! The rules of the design that never bend, and the bounds, asked of each action.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use wgroam::engine::constants::{COPIES, POKE_BURST, POKE_REFILL, POKE_SPACING};
use wgroam::engine::{Reason, Report, Step};
use wgroam::model::{Interface, Peer, PublicKey};
use wgroam::routing::OwnRoute;

use super::book::TURN;
use super::court::Court;
use super::draw::Key;

const SECOND: Duration = Duration::from_secs(1);

impl Court {
    /// Rules 1 and 3.
    pub fn judge_set(&mut self, at: Key, endpoint: SocketAddr, reason: Reason) {
        let last = self.looked.get(&at).expect("only peers that are there are touched");
        let leaves = self.leaving || !self.watched(at.0);
        assert!(leaves || self.devices[&at.0].up, "nothing is set while the link is down");
        let here = self.homes.here(at);
        assert_ne!(here, Some(endpoint), "it is there already");
        let [good, named] = self.best.get(&at).copied().unwrap_or_default();
        let proven = good == Some(endpoint) || named == Some(endpoint);
        // What somebody else set may be what he likes.
        if reason != Reason::Returned {
            assert!(self.book.takes(at, endpoint), "nobody else can be at {endpoint}");
        }
        match reason {
            Reason::Remembered => {
                assert!(proven, "{endpoint} was not good last: {good:?}, {named:?}");
                assert_eq!(here, None, "an endpoint that is there is not overwritten from memory");
            }
            Reason::Initiation => {
                let call = self.proof.last(at).expect("no authentic initiation");
                assert_eq!(endpoint, call.source, "not where the last authentic initiation came from");
                let void = last.peer.endpoint.is_none();
                assert!(void || call.fresh, "what may be a recording only fills a void");
                let late = call.age.is_some_and(|age| age > call.most);
                assert!(void || !late, "moved by a recording that is {:?} old", call.age);
                let before = self.called.get(&at).copied().flatten();
                if let Some(before) = before.filter(|before| before.ifindex == last.ifindex) {
                    assert!(last.peer.rx_bytes <= before.peer.rx_bytes, "the old endpoint carries traffic");
                    // A peer that was removed and added has none.
                    let same = last.peer.last_handshake == before.peer.last_handshake;
                    assert!(same || last.peer.last_handshake.is_none(), "WireGuard took it");
                }
            }
            Reason::Candidate => self.judge_candidate(at, endpoint, proven),
            Reason::Returned => {}
            other => panic!("an endpoint set because {other}"),
        }
        self.homes.set(self.now, at, endpoint, reason, proven);
        self.book.set(self.now, at, endpoint);
    }

    /// An initiation goes elsewhere, too: only to candidates, from where WireGuard is, and to no crowd. Who answers there takes
    /// the session with him, so the one of now has to be silent.
    pub fn judge_copy(&mut self, at: Key, home: SocketAddr, to: &[SocketAddr]) {
        assert_eq!(self.homes.here(at), Some(home), "WireGuard is elsewhere");
        assert!(!self.homes.is_away(at), "{home} is not its home");
        let tries = self.tries.remove(&at).unwrap_or_default();
        // The address of now loses nothing to it.
        self.hasty.remove(&at);
        assert!(to.iter().all(|to| tries.contains(to)) && tries.len() == to.len(), "{to:?} is not {tries:?}");
        let news = to.iter().any(|&endpoint| self.book.is_news(at, endpoint));
        let silent = news || self.book.may_leave(self.now, at);
        assert!(silent, "copied {:?} after its last sign of life", self.now - self.book.tales[&at].life);
        let list = self.book.list(self.now, at, TURN);
        let [good, named] = self.best.get(&at).copied().unwrap_or_default();
        for &endpoint in to {
            assert_ne!(endpoint, home, "it goes there anyway");
            assert!(self.book.takes(at, endpoint), "nobody else can be at {endpoint}");
            let proven = good == Some(endpoint) || named == Some(endpoint);
            assert!(list.contains(&endpoint) || proven, "{endpoint} is no candidate, which are {list:?}");
        }
        assert!((1..=COPIES).contains(&to.len()), "copies to {to:?}");
    }

    /// Rules 1, 2 and 3 for an address of the configuration, or one that proved itself.
    fn judge_candidate(&self, at: Key, endpoint: SocketAddr, proven: bool) {
        let (now, book) = (self.now, &self.book);
        let list = book.list(now, at, TURN);
        assert!(
            list.contains(&endpoint) || proven,
            "{endpoint} is no candidate of {:?}, which are {list:?}",
            book.section(at)
        );
        let tale = &book.tales[&at];
        if tale.seen.endpoint.is_none() {
            return;
        }
        let news = book.is_news(at, endpoint);
        assert!(book.may_leave(now, at) || news, "moved {:?} after its last sign of life", now - tale.life);
        if book.alive(now, at) {
            let poked = tale.pokes > 0 || news || book.is_stale(now, at);
            assert!(poked, "another address before a poke");
        }
    }

    pub fn judge_clear(&self, at: Key, endpoint: SocketAddr) {
        let last = self.looked.get(&at).expect("only peers that are there are touched");
        assert_eq!(last.peer.endpoint, Some(endpoint), "clearing the source moves nothing");
        let tale = &self.book.tales[&at];
        let wan = self.book.wan_within(self.now, at.0, 12 * SECOND);
        // Repeats that were overdue come then: the last one 2 s after the first.
        let risen = self.book.risen.get(&at.0).is_some_and(|&when| self.now <= when + 3 * SECOND + TURN);
        // It may have had to wait for its turn while the peer came back.
        let waited = !tale.silent && tale.was_silent.is_some_and(|when| self.now <= when + TURN);
        // When it could act on a change is not known of a device that answers late.
        assert!(
            !self.answers
                || wan
                || self.book.commanded_within(self.now, at.0, TURN)
                || risen
                || waited
                || (tale.silent && (tale.pokes > 0 || !self.book.alive(self.now, at))),
            "the source is cleared without a reason"
        );
    }

    pub fn judge_poke(&mut self, at: Key, keepalive: u16, reason: Reason) {
        let peer = self.looked[&at].peer;
        let configured = self.book.section(at).and_then(|section| section.keepalive).unwrap_or(0);
        let expected = if peer.keepalive == 0 { configured } else { peer.keepalive };
        assert_eq!(keepalive, expected, "a poke leaves the keepalive as it was");
        if reason == Reason::Initiation {
            let late = self.late.get(&at).and_then(|late| late.1);
            let late = late.is_some_and(|there| self.now <= there + TURN);
            assert!(late || self.called.contains_key(&at), "no authentic initiation");
        }
        if reason == Reason::Silence {
            let silent = self.book.tales[&at].was_silent;
            assert!(
                silent.is_some_and(|when| self.now <= when + TURN),
                "poked for a silence that there is not"
            );
        }
        if let Some(tale) = self.book.tales.get_mut(&at) {
            tale.pokes += 1;
        }
        let pokes = self.poked.entry(at).or_default();
        if let Some(&last) = pokes.last() {
            assert!(self.now >= last + POKE_SPACING, "two pokes within {:?}", self.now - last);
        }
        pokes.push(self.now);
        let recent = pokes.iter().filter(|&&when| self.now - when < Duration::from_secs(60)).count();
        let bound = POKE_BURST + 60 / POKE_REFILL.as_secs() as u32 + 1;
        assert!(recent <= bound as usize, "{recent} pokes within a minute");
    }

    /// Rule 2: who is removed has no session to lose, or proved silent and the owner allows it.
    pub fn judge_readd(&mut self, at: Key) {
        let tale = self.book.tales.get(&at).expect("only peers that are there are touched");
        let blank = tale.seen.last_handshake.is_none() && tale.seen.rx_bytes == 0;
        let allowed = self.book.section(at).is_some_and(|section| section.readd);
        let dead = allowed && self.book.may_leave(self.now, at);
        assert!(blank || dead, "re-added {:?} after its last sign of life", self.now - tale.life);
        self.book.readded(self.now, at);
    }

    /// Rule 2: another source port is for when nothing works. Rule 6: and it is taken back.
    pub fn judge_port(&mut self, interface: Interface, port: u16) {
        if port == 0 {
            assert!(self.devices[&interface].up, "nothing is set while the link is down");
            let first = self.homes.first_port(interface).expect("only what was looked at is touched");
            assert!(self.book.rotates(interface, first), "somebody relies on the port");
            assert!(!self.proof.reaches_us(self.now, interface), "a peer calls us by the port");
            for (&at, tale) in self.book.peers(interface) {
                assert!(
                    self.book.is_hopeless(self.now, at),
                    "another port {:?} after a sign of life of {at:?}",
                    self.now - tale.life
                );
            }
        }
        self.homes.set_port(self.now, interface, port, self.book.listen_port(interface));
        self.book.set_port(self.now, interface);
    }

    /// Rule 5: four are on their way at the most, and none without a reason.
    pub fn judge_probe(&mut self, at: Key, target: IpAddr, token: u16) {
        let section = self.book.section(at).expect("only of the configuration");
        assert_eq!(section.probe, Some(target));
        let tale = &self.book.tales[&at];
        let owes = tale.owes && self.now >= tale.life + Duration::from_millis(1500);
        let reason = tale.silent || owes || tale.untested || section.probe_interval > 0;
        assert!(reason, "probed without evidence or interval, and not for the first time in a session");
        let open = self.book.probed(self.now, at, token);
        assert!(open <= 4, "{open} probes within a second");
    }

    /// Rule 4: one question for a name at a time, and one a second.
    pub fn judge_question(&mut self, host: &str) {
        let now = self.now;
        let (before, open) = self.book.asks(now, host).expect("only names of the configuration");
        if let Some(before) = before {
            assert!(now >= before + SECOND, "{host} twice within {:?}", now - before);
            assert!(!open || now >= before + 30 * SECOND, "two open questions for {host}");
        }
        let asked = self.asked.entry(host.to_string()).or_default();
        asked.push(now);
        let event = self.book.event.max(self.book.news);
        let recent = asked.iter().filter(|&&when| when > event && now - when < 60 * SECOND).count();
        assert!(recent <= 60, "{recent} questions for {host} within a minute");
    }

    /// Rule 5: looks are rationed.
    pub fn judge_look(&mut self, interface: Interface) {
        let looks = self.looks.entry(interface).or_default();
        looks.push_back(self.now);
        while looks.front().is_some_and(|&first| self.now >= first + SECOND) {
            looks.pop_front();
        }
        assert!(looks.len() <= 40, "{} looks at {interface} within a second", looks.len());
    }

    /// What is sent in the LAN's place: while it is refused, for a session that may live.
    pub fn judge_wake(&mut self, interface: Interface, target: IpAddr) {
        assert!(self.table.is_refused(interface, target), "data in the place of a LAN that is let through");
        let wall = self.wall();
        let lasts = |peer: &&Peer| peer.last_handshake.is_some_and(|then| wall.since(then) < 182 * SECOND);
        let sessions = self.devices[&interface].peers.iter().filter(lasts).count();
        let wakes = self.wakes.entry(interface).or_default();
        wakes.push_back(self.now);
        while wakes.front().is_some_and(|&first| self.now >= first + Duration::from_millis(250)) {
            wakes.pop_front();
        }
        assert!(wakes.len() <= sessions, "{} of them in 250 ms for {sessions} sessions", wakes.len());
    }

    /// The LAN is refused only where nobody answers on any of the interfaces that the route leads into.
    pub fn judge_route(&mut self, route: OwnRoute) {
        let Some(way) = self.table.add(route) else { return };
        for interface in way.interfaces {
            assert!(self.devices[&interface].up, "refused for a link that is down");
            assert!(
                self.book.given_up(self.now, interface),
                "refused, though {interface} may answer: {route}"
            );
        }
    }

    /// ... and only as long as that is so.
    pub fn judge_refusals(&self) {
        for way in self.table.refusals() {
            let lives = way.interfaces.iter().find(|&&interface| self.book.lives(self.now, interface));
            assert_eq!(lives, None, "refused, though it answers");
        }
    }

    /// What is tried at one moment is one address, unless an initiation is copied.
    pub fn judge_tries(&mut self) {
        let crowd = self.tries.iter().find(|(_, tries)| tries.len() > 1);
        assert_eq!(crowd, None, "several addresses at once, and no copy goes there");
        self.tries.clear();
        assert!(self.hasty.is_empty(), "the address before had only {:?}", self.hasty);
    }

    /// Each address has a second to answer before the endpoint moves on, unless something new is known. Those that get copies
    /// have it together.
    fn judge_try(&mut self, at: Key, endpoint: SocketAddr) {
        let tries = self.tries.entry(at).or_default();
        tries.push(endpoint);
        if tries.len() > 1 {
            return;
        }
        let (now, event, news) = (self.now, self.book.event, self.book.news);
        let Some(tale) = self.book.tales.get_mut(&at) else { panic!("a step for nobody") };
        let begun = Some(event.max(news).max(tale.life)).max(tale.moved);
        let void = tale.seen.endpoint.is_none();
        let tried = tale.tried.replace(now).filter(|&tried| Some(tried) > begun && !void);
        if let Some(tried) = tried.filter(|&tried| now < tried + SECOND) {
            self.hasty.insert(at, now - tried);
        }
    }

    /// Cheapest first: the last resorts come when each address had its chance.
    pub fn judge_report(&mut self, report: &Report) {
        let Report::Step { interface, peer, step, .. } = report else { return };
        let at: (Interface, PublicKey) = (*interface, *peer);
        if let Step::Try(endpoint) = step {
            self.judge_try(at, *endpoint);
            self.book.chosen(at, *endpoint);
        }
        if !matches!(step, Step::Readd | Step::Rest(_)) {
            return;
        }
        let readd = self.book.section(at).is_some_and(|section| section.readd);
        assert!(*step != Step::Readd || readd, "nobody allowed to re-add it");
        let list = self.book.list(self.now, at, Duration::ZERO);
        let Some(tale) = self.book.tales.get_mut(&at) else { panic!("a step for nobody") };
        let left: Vec<_> = list.iter().filter(|endpoint| !tale.had.contains(endpoint)).collect();
        assert!(left.is_empty(), "{step:?} before {left:?}");
        if matches!(step, Step::Rest(_)) {
            tale.had.clear();
            assert!(!self.homes.is_away(at), "rests elsewhere than at home");
        }
    }
}
