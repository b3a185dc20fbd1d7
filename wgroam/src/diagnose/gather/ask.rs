// SPDX-License-Identifier: GPL-2.0-only
//! Asks the tunnel itself: does anything come back, and how large may it be?

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Gatherer, TICK, now};
use crate::diagnose::judge::{LEAST_MTU, SESSION};
use crate::diagnose::{Echoed, Leads, PeerFacts};
use crate::linux::thread::pause;
use crate::linux::trace;
use crate::model::{Device, Peer};

/// An echo request is repeated after so long.
const REPEAT: Duration = Duration::from_secs(1);

/// A peer that only listens acknowledges data after 10 s (KEEPALIVE_TIMEOUT).
const SESSION_PATIENCE: Duration = Duration::from_millis(10_500);

/// A handshake begins at most 5.3 s after the last one (REKEY_TIMEOUT and its jitter).
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(6);

/// What does not answer an echo within so long of a sign of life will not.
const ECHO_PATIENCE: Duration = Duration::from_secs(2);

/// The sizes that are tried differ by so much at least, in bytes.
const MTU_STEP: u16 = 4;

impl Gatherer<'_> {
    /// Sends echo requests, or without a target anything, until something comes back.
    pub(super) fn ask(&mut self, device: &Device, facts: &mut PeerFacts, mtu: Option<u16>) {
        let before = facts.peer;
        let age = before.last_handshake.map(|last| now().saturating_sub(last.seconds));
        let alive = age.is_some_and(|age| age < SESSION);
        // Nothing can be expected of who has to call, nor of who is nowhere, or behind a route that leads elsewhere.
        let Some(endpoint) = before.endpoint else { return };
        let leads = facts.ways.iter().find(|(to, _)| *to == endpoint);
        if !facts.dialed && !alive || leads.is_some_and(|(_, leads)| !matches!(leads, Leads::By(..))) {
            return;
        }
        let begun = Instant::now();
        let mut until = begun
            + match (facts.dialed, alive) {
                (false, _) => ECHO_PATIENCE,
                (true, true) => SESSION_PATIENCE,
                (true, false) => HANDSHAKE_PATIENCE,
            };
        let mut next = begun;
        while Instant::now() < until {
            if Instant::now() >= next {
                next += REPEAT;
                self.look(device, facts);
                let new = facts.peer.last_handshake != before.last_handshake;
                if !facts.heard && (new || facts.peer.rx_bytes > before.rx_bytes) {
                    facts.heard = true;
                    until = until.min(Instant::now() + ECHO_PATIENCE);
                }
                match self.send(device, facts, 0) {
                    true => facts.echo = Echoed::Silent,
                    // There is nothing to see but a handshake.
                    false if facts.heard || alive => break,
                    false if next == begun + REPEAT => {
                        let Peer { public_key, keepalive, .. } = before;
                        let _ = self.wireguard.poke(device.interface, &public_key, keepalive);
                    }
                    false => {}
                }
            }
            pause(TICK);
            if self.replied(device, facts, 0) {
                (facts.heard, facts.echo) = (true, Echoed::Answered);
                break;
            }
        }
        self.look(device, facts);
        if facts.echo == Echoed::Answered {
            facts.largest = mtu.map(|mtu| self.largest(device, facts, mtu));
        } else if facts.dialed && !facts.heard {
            let by = |(to, leads): &(SocketAddr, Leads)| matches!(leads, Leads::By(..)).then_some(*to);
            // The endpoint of now stands first.
            let to = facts.ways.iter().find_map(by);
            facts.trace = to.and_then(|to| Some((to, trace::trace(to, device.fwmark).ok()?)));
        }
    }

    /// What WireGuard says of the peer now.
    fn look(&mut self, device: &Device, facts: &mut PeerFacts) {
        let Ok((device, _)) = self.wireguard.device(device.interface) else { return };
        if let Some(peer) = device.peers.iter().find(|peer| peer.public_key == facts.peer.public_key) {
            facts.peer = *peer;
        }
    }

    /// Sends an echo request of this size. False: it can't be sent, and why is noted, or there is nobody to ask.
    fn send(&mut self, device: &Device, facts: &mut PeerFacts, size: u16) -> bool {
        let (Some((target, _)), Some(echo)) = (facts.target, &mut self.echo) else { return false };
        match echo.send_sized(device.interface, target, size, size.into()) {
            Ok(()) => true,
            // It is too large for a way that is known.
            Err(_) if size > 0 => true,
            Err(error) => {
                facts.echo = Echoed::Failed(error.to_string());
                false
            }
        }
    }

    /// Has a reply come from the target to a request of this size?
    fn replied(&mut self, device: &Device, facts: &PeerFacts, size: u16) -> bool {
        let Some(echo) = &mut self.echo else { return false };
        while let Ok(Some(reply)) = echo.next() {
            let from = Some(reply.source) == facts.target.map(|(target, _)| target);
            if from && reply.ifindex == device.ifindex && reply.token == size {
                return true;
            }
        }
        false
    }

    /// Does a packet of this size come back? Two are sent.
    fn passes(&mut self, device: &Device, facts: &mut PeerFacts, size: u16, patience: Duration) -> bool {
        for _ in 0..2 {
            self.send(device, facts, size);
            let begun = Instant::now();
            while begun.elapsed() < patience {
                if self.replied(device, facts, size) {
                    return true;
                }
                pause(TICK);
            }
        }
        false
    }

    /// The largest packet that comes back; 0 if none does that IPv6 needs.
    fn largest(&mut self, device: &Device, facts: &mut PeerFacts, mtu: u16) -> u16 {
        let begun = Instant::now();
        self.passes(device, facts, 0, REPEAT);
        let patience = (begun.elapsed() * 4).clamp(REPEAT / 5, REPEAT);
        if self.passes(device, facts, mtu, patience) {
            return mtu;
        }
        if mtu <= LEAST_MTU || !self.passes(device, facts, LEAST_MTU, patience) {
            return 0;
        }
        let (mut passes, mut lost) = (LEAST_MTU, mtu);
        while lost - passes > MTU_STEP {
            let middle = passes.midpoint(lost);
            match self.passes(device, facts, middle, patience) {
                true => passes = middle,
                false => lost = middle,
            }
        }
        passes - passes % MTU_STEP
    }
}
