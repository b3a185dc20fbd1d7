// SPDX-License-Identifier: GPL-2.0-only
//! Packets under way: what the ends send, what the attacker sees and sends, and what becomes of it where it arrives.

use std::time::Duration;

use wgroam::engine::Event;

use super::attacker::{kind, lost, source};
use super::script::{ROAMER, Shot, Source, Tap};
use super::wireguard::{Body, Packet, Payload};
use super::world::{Coming, World, name};

/// One way, and the way of an attacker who is quick or not.
const LATENCY: Duration = Duration::from_millis(20);
const QUICK: Duration = Duration::from_millis(8);
const SLOW: Duration = Duration::from_millis(25);

/// What he plays of a tape at most.
const TAPE: usize = 8;
const TAPE_LASTS: Duration = Duration::from_secs(600);

impl World {
    /// Sends what WireGuard has to send, and answers pings.
    pub(super) fn flush(&mut self, host: usize) {
        let (now, wall) = (self.now, self.hosts[host].wall(self.now));
        while !self.hosts[host].wireguard.inbox.is_empty() {
            let router = &mut self.hosts[host];
            match router.wireguard.inbox.remove(0) {
                Payload::Ping(n) => router.wireguard.transmit(now, wall, Payload::Pong(n)),
                Payload::Pong(_) => router.answered = router.answered.or(Some(now)),
                Payload::Keepalive | Payload::Load(_) => {}
            }
        }
        self.hosts[host].note(now);
        let outbox = std::mem::take(&mut self.hosts[host].wireguard.outbox);
        let mut all = Vec::new();
        for (destination, body) in outbox {
            all.push((destination, body));
            let copies = self.hosts[host].wireguard.copies_of(now, destination, &body);
            if !copies.is_empty() {
                let (instant, router) = (self.instant(), &mut self.hosts[host]);
                let (interface, peer) = (router.wireguard.interface, router.wireguard.peer);
                if let (Some(daemon), Some(peer)) = (&mut router.daemon, peer) {
                    daemon.engine.handle_event(instant, Event::InitiationCopied { interface, peer });
                }
            }
            all.extend(copies.into_iter().map(|copy| (copy, body)));
        }
        for (destination, body) in all {
            let router = &mut self.hosts[host];
            router.sent_to(now, destination);
            let packet = Packet { source: router.address, destination, body };
            if let Body::Initiation { handshake, .. } = body {
                self.referee.made(handshake, packet.source, Some(now));
            }
            self.tell_story(|_| format!("{} sends {body:?} to {destination}", name(host)));
            self.overhear(host, packet);
            let stopped = host == ROAMER && self.unheard;
            // What comes after the attack is compared, and may not hang on luck.
            let loss = if self.over.is_some() { 0 } else { self.script.loss };
            if !stopped && !lost(&mut self.rng, loss) {
                self.at(now + LATENCY, Coming::Arrival(packet));
            }
        }
    }

    /// The attacker sees it.
    fn overhear(&mut self, sender: usize, packet: Packet) {
        self.recordings[1 - sender].keep(packet);
        if !self.attacking {
            return;
        }
        let seen = kind(sender, &packet.body);
        for at in 0..self.reflexes.len() {
            let reflex = &mut self.reflexes[at];
            if reflex.on == seen && reflex.times > 0 {
                reflex.times -= 1;
                let (after, shot) = (reflex.after, reflex.shot);
                self.at(self.now + after, Coming::Shot(shot));
            }
        }
    }

    /// The attacker sends something.
    pub(super) fn shoot(&mut self, shot: Shot) {
        if !self.attacking {
            return;
        }
        let Some(recorded) = self.recordings[shot.victim].choose(shot.which) else { return };
        self.send_again(shot.victim, recorded, shot.source);
    }

    /// He plays a tape: what was recorded, as far apart as it says.
    pub(super) fn play_tape(&mut self, tape: Vec<(u64, Packet)>, first: usize, sources: [Source; 2]) {
        for (number, (after, packet)) in tape.into_iter().enumerate().take(TAPE) {
            let source = sources[usize::from(number >= first)];
            let after = Duration::from_nanos(after);
            if after < TAPE_LASTS {
                self.at(self.now + after, Coming::Again(packet, source));
            }
        }
    }

    /// A recording, from that address.
    pub(super) fn send_again(&mut self, victim: usize, recorded: Packet, from: Source) {
        if !self.attacking {
            return;
        }
        let (host, peer) = (&self.hosts[victim], &self.hosts[1 - victim]);
        let source = source(from, &recorded, host.address, peer.address, &peer.earlier);
        let packet = Packet { source, destination: host.address, body: recorded.body };
        self.tell_story(|_| {
            format!("the attacker sends {:?} to {} from {source}", packet.body, name(victim))
        });
        let latency = if self.script.quick { QUICK } else { SLOW };
        self.at(self.now + latency, Coming::Arrival(packet));
    }

    pub(super) fn arrive(&mut self, packet: Packet) {
        let Some(host) = self.hosts.iter().position(|host| host.address == packet.destination) else {
            return;
        };
        let now = self.now;
        let wall = self.hosts[host].wall(now);
        let let_in = self.hosts[host].lets_in(now, packet.source, &packet.body);
        if let_in {
            let wireguard = &mut self.hosts[host].wireguard;
            let before = wireguard.rx_bytes;
            wireguard.receive(now, wall, &packet);
            if wireguard.rx_bytes > before {
                self.hosts[host].alone = Some(packet.source);
                self.referee.took(host, &packet);
                self.tell_story(|_| format!("WireGuard of {} takes it from {}", name(host), packet.source));
            }
        }
        if matches!(packet.body, Body::Initiation { .. }) && self.hosts[host].daemon.is_some() {
            let late = match self.hosts[host].tap {
                Tap::Sees => Some(0),
                Tap::Rests => Some(self.rng.below(20)),
                Tap::Flooded if self.rng.below(5) == 0 => Some(self.rng.below(3000)),
                Tap::Flooded => {
                    self.hosts[host].dropped = true;
                    None
                }
                Tap::Blind => None,
            };
            match late {
                Some(0) => self.hear(host, packet),
                Some(late) => self.at(now + Duration::from_millis(late), Coming::Heard(host, packet)),
                None => self.tell_story(|_| format!("the daemon of {} does not see it", name(host))),
            }
        }
        self.flush(host);
    }

    /// The daemon verifies an initiation.
    pub(super) fn hear(&mut self, host: usize, packet: Packet) {
        let Body::Initiation { from, timestamp, .. } = packet.body else { return };
        let Some(daemon) = self.hosts[host].daemon.as_mut().filter(|daemon| daemon.listens) else { return };
        // What an end itself made is nobody's call here.
        if from != super::host::KEYS[1 - host] {
            return;
        }
        let verdict = daemon.verify(from, timestamp);
        self.referee.heard(host, packet.source, &packet.body, &verdict);
        self.tell_story(|_| format!("the daemon of {} hears {verdict:?} from {}", name(host), packet.source));
        let interface = super::host::interface();
        self.tell(host, Event::Initiation { interface, source: packet.source, verdict });
    }
}
