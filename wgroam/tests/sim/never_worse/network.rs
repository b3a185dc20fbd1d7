// SPDX-License-Identifier: GPL-2.0-only
//! What leaves a router, and whether and where it arrives.

use std::net::SocketAddr;

use wgroam::engine::Event;

use super::plan::{R1, chance};
use super::router::{inside_address, interface, key, port};
use super::world::{Due, How, Lost, PROBE, QUESTION, WAKE, World};
use crate::wireguard::{Body, Packet, Payload};
use crate::world::PORT;

fn handshake(body: &Body) -> Option<&'static str> {
    match body {
        Body::Initiation { .. } => Some("initiation"),
        Body::Response { .. } => Some("response"),
        _ => None,
    }
}

impl World<'_> {
    /// Sends what WireGuard has to send, and answers pings.
    pub(super) fn flush(&mut self, number: usize, tunnel: usize) {
        let (now, wall) = (self.now, self.routers[number].wall(self.now));
        let own = &mut self.routers[number].tunnels[tunnel];
        let peer = own.peer;
        let Some(wireguard) = &mut own.wireguard else { return };
        if wireguard.inbox.is_empty() && wireguard.outbox.is_empty() {
            return;
        }
        let mut pongs = Vec::new();
        for payload in std::mem::take(&mut wireguard.inbox) {
            match payload {
                Payload::Ping(n) => wireguard.transmit(now, wall, Payload::Pong(n)),
                Payload::Pong(n) => pongs.push(n),
                Payload::Keepalive | Payload::Load(_) => {}
            }
        }
        let (from, outbox) = (wireguard.port, std::mem::take(&mut wireguard.outbox));
        for (to, body) in outbox {
            self.leave(number, peer, from, to, body);
            let router = &mut self.routers[number];
            if router.sends(now, to.ip())
                && let Some(wireguard) = &mut router.tunnels[tunnel].wireguard
            {
                let copies = wireguard.copies_of(now, to, &body);
                if !copies.is_empty() {
                    let (interface, peer) = (interface(tunnel), key(peer));
                    self.tell(number, Event::InitiationCopied { interface, peer });
                }
                for copy in copies {
                    self.leave(number, peer, from, copy, body);
                }
            }
        }
        for n in pongs {
            self.may_ask_time(number);
            match n {
                // The far end's answer: that bytes came in is all that counts.
                WAKE => {}
                n if n >= QUESTION => self.asked_inside((n - QUESTION) as usize),
                n if n >= PROBE => {
                    let (interface, token) = (interface(tunnel), (n - PROBE) as u16);
                    self.tell(number, Event::ProbeReply { interface, target: inside_address(peer), token });
                }
                n => self.pong(n),
            }
        }
    }

    fn leave(&mut self, number: usize, peer: usize, from: u16, to: SocketAddr, body: Body) {
        let (now, seed) = (self.now, self.plan.seed);
        if matches!(body, Body::Initiation { .. }) {
            self.calls.push((now, number));
        }
        let router = &mut self.routers[number];
        let first = port(&router.end, seed ^ number as u64, 1, 0);
        let itself = to.ip().is_loopback() || router.own_addresses().contains(&to.ip());
        if itself || !router.leaves(now, to.ip()) || (now < router.swallowed && from == first) {
            return self.lose(number, peer, &body, How::NoWay);
        }
        let source = router.nat.outbound(now, SocketAddr::new(router.nat.inside, from), to);
        let passes =
            now >= router.portal && (now >= self.blocked || (to.port() != PORT && source.port() != PORT));
        // The same loss befalls the same packet in each play, whatever else was sent.
        let kind = match body {
            Body::Initiation { .. } => 1,
            Body::Response { .. } => 2,
            Body::Data { payload: Payload::Ping(n), .. } => 8 + 4 * n,
            Body::Data { payload: Payload::Pong(n), .. } => 9 + 4 * n,
            _ => 3,
        };
        let luck = chance(seed ^ self.luck, now, kind << 2 | number as u64) % 1000 < self.plan.loss;
        if !passes || luck {
            return self.lose(number, peer, &body, if passes { How::Luck } else { How::NoWay });
        }
        if let Some(kind) = handshake(&body) {
            self.note(|_| format!("        {kind} from R{} {source} to {to}", number + 1));
        }
        self.after(self.plan.latency, Due::Arrival(Packet { source, destination: to, body }));
    }

    /// A packet is lost. Of handshakes it is kept: WireGuard makes one in 5 s.
    fn lose(&mut self, one: usize, other: usize, body: &Body, how: How) {
        let far = if one == R1 { other } else { one };
        if how == How::Luck && matches!(body, Body::Data { payload: Payload::Keepalive, .. }) {
            self.lost.push(Lost { at: self.now, far, how: How::Keepalive });
        }
        if let Some(kind) = handshake(body) {
            self.note(|_| format!("        {kind} between R{} and R{} came to nothing", one + 1, other + 1));
            self.lost.push(Lost { at: self.now, far, how });
        }
    }

    pub(super) fn arrive(&mut self, mut packet: Packet) {
        let now = self.now;
        let there = self.routers.iter().position(|router| router.nat.address == packet.destination.ip());
        let Some(number) = there.filter(|&there| now >= self.routers[there].off) else {
            return self.lose_on_the_way(&packet, None);
        };
        let router = &mut self.routers[number];
        let inside = router.nat.inbound(now, packet.source, packet.destination.port());
        let Some(inside) = inside.filter(|_| now >= router.portal) else {
            return self.lose_on_the_way(&packet, Some(number));
        };
        packet.destination = inside;
        let listens = |tunnel: &usize| {
            let wireguard = router.tunnels[*tunnel].wireguard.as_ref();
            wireguard.is_some_and(|wireguard| wireguard.port == inside.port())
        };
        let Some(tunnel) = (0..router.tunnels.len()).find(listens) else {
            return self.lose_on_the_way(&packet, Some(number));
        };
        let wall = router.wall(now);
        let peer = router.tunnels[tunnel].peer;
        let outside = router.nat.address;
        let Some(wireguard) = &mut router.tunnels[tunnel].wireguard else { return };
        let past = matches!(packet.body, Body::Initiation { timestamp, .. } if timestamp <= wireguard.newest);
        let received = wireguard.rx_bytes;
        // The model's sessions have one key for both directions; WireGuard's have two, and it takes nothing of its own.
        if packet.source.ip() != outside {
            wireguard.receive(now, wall, &packet);
        }
        let taken = wireguard.rx_bytes > received;
        if !taken {
            let how = match packet.body {
                Body::Response { .. } => How::Crossed,
                _ if past => How::Past,
                _ => How::NoWay,
            };
            self.lose(number, peer, &packet.body, how);
        }
        let verdict = match self.routers[number].engine {
            Some(_) => self.routers[number].verify(tunnel, &packet.body),
            None => None,
        };
        self.flush(number, tunnel);
        if let Some(verdict) = verdict {
            let event = Event::Initiation { interface: interface(tunnel), source: packet.source, verdict };
            self.tell(number, event);
        }
    }

    fn lose_on_the_way(&mut self, packet: &Packet, to: Option<usize>) {
        let from = self.routers.iter().position(|router| router.nat.address == packet.source.ip());
        match (from, to) {
            (Some(R1), Some(far)) | (Some(far), _) if far != R1 => {
                self.lose(R1, far, &packet.body, How::NoWay)
            }
            _ => {
                for far in 1..self.routers.len() {
                    self.lose(R1, far, &packet.body, How::NoWay);
                }
            }
        }
    }
}
