// SPDX-License-Identifier: GPL-2.0-only
//! The network's side: what leaves a router, and whether and where it arrives.

use std::net::SocketAddr;
use std::time::Duration;

use wgroam::engine::Event;

use super::doing::PROBE;
use super::wireguard::{Body, Packet, Payload};
use super::world::{Happening, KEYS, OTHER_PORT, R1, R2, World};

/// One way. A round trip of 40 ms.
const LATENCY: Duration = Duration::from_millis(20);

impl World {
    /// Sends what WireGuard has to send, and answers pings.
    pub(super) fn flush(&mut self, host: usize) {
        let (now, wall) = (self.now, self.hosts[host].wall(self.now));
        let router = &mut self.hosts[host];
        let Some(wireguard) = &mut router.wireguard else { return };
        let mut probed = Vec::new();
        for payload in std::mem::take(&mut wireguard.inbox) {
            match payload {
                Payload::Ping(_) if router.mute => {}
                Payload::Ping(n) => wireguard.transmit(now, wall, Payload::Pong(n)),
                Payload::Pong(n) if n >= PROBE => probed.push((n - PROBE) as u16),
                Payload::Pong(_) => router.pongs.push(now),
                Payload::Keepalive | Payload::Load(_) => {}
            }
        }
        router.endpoints.extend(wireguard.endpoint);
        let (interface, port) = (wireguard.interface, wireguard.port);
        let own = SocketAddr::new(router.address, port);
        let outbox = std::mem::take(&mut wireguard.outbox);
        let mut reached = router.reached.clone();
        reached.retain(|_, local| router.address == local.ip() || router.more.contains(&local.ip()));
        for token in probed {
            let event = Event::ProbeReply { interface, target: "fd00::1".parse().unwrap(), token };
            self.at(now, Happening::Told(host, event));
        }
        let mut all = Vec::new();
        for (destination, body) in outbox {
            all.push((destination, body));
            let router = &mut self.hosts[host];
            if router.leaves(destination.ip())
                && let Some(wireguard) = &mut router.wireguard
            {
                let copies = wireguard.copies_of(now, destination, &body);
                if let (Some(peer), false) = (wireguard.peer, copies.is_empty()) {
                    let event = Event::InitiationCopied { interface, peer };
                    self.at(now, Happening::Told(host, event));
                }
                all.extend(copies.into_iter().map(|copy| (copy, body)));
            }
        }
        for (destination, body) in all {
            let leaves = self.hosts[host].leaves(destination.ip());
            if !leaves || (host == R1 && self.swallowed.contains(&port)) {
                continue;
            }
            let source = reached.get(&destination).copied().unwrap_or(own);
            if host == R1 && matches!(body, Body::Initiation { .. }) {
                self.recorded.push(body);
            }
            let source = match &mut self.nat {
                Some(nat) if host == R1 => nat.outbound(now, source, destination),
                _ => source,
            };
            self.send(Packet { source, destination, body });
        }
    }

    /// Puts a datagram onto the network.
    pub fn send(&mut self, packet: Packet) {
        let (bad_luck, passes) = (self.rng.below(1000) < self.loss, self.lets_pass(&packet));
        let lost = bad_luck || !passes;
        let of_r1 = match packet.body {
            Body::Initiation { from, .. } => from == KEYS[R1],
            Body::Response { .. } => true,
            _ => false,
        };
        self.lost_handshakes += usize::from(bad_luck && passes && of_r1);
        if self.lose_next > 0 {
            self.lose_next -= 1;
        } else if !lost {
            self.at(self.now + LATENCY, Happening::Arrival(packet));
        }
    }

    /// Filters near R1, in both directions.
    pub fn lets_pass(&self, packet: &Packet) -> bool {
        let ports = [packet.source.port(), packet.destination.port()];
        let v6 = packet.source.is_ipv6() || packet.destination.is_ipv6();
        let filtered = ports.iter().any(|port| self.blocked_ports.contains(port));
        let dead = self.no_udp || (v6 && self.no_ipv6);
        !filtered && !dead
    }

    pub(super) fn arrive(&mut self, packet: Packet) {
        let now = self.now;
        let mut packet = packet;
        if let Some(nat) = self.nat.as_mut().filter(|nat| nat.address == packet.destination.ip()) {
            let Some(inside) = nat.inbound(now, packet.source, packet.destination.port()) else { return };
            packet.destination = inside;
        }
        let Some(host) = self.hosts.iter().position(|host| host.is_at(packet.destination.ip())) else {
            return;
        };
        let router = &mut self.hosts[host];
        let wall = router.wall(now);
        let to = packet.destination.port();
        let forwarded = host == R2 && to == OTHER_PORT;
        let Some(wireguard) = router.wireguard.as_mut().filter(|wg| forwarded || wg.port == to) else {
            return;
        };
        if host == R2 {
            router.reached.insert(packet.source, packet.destination);
        }
        let interface = wireguard.interface;
        let blocked = !router.firewall_open && matches!(packet.body, Body::Initiation { .. });
        if !blocked {
            let received = wireguard.rx_bytes;
            wireguard.receive(now, wall, &packet);
            if wireguard.rx_bytes > received {
                self.referee.heard(now, host, &packet);
            }
        }
        let verdict = router.verify(&packet.body);
        self.flush(host);
        if let Some(verdict) = verdict {
            self.tell(host, Event::Initiation { interface, source: packet.source, verdict });
        }
    }
}
