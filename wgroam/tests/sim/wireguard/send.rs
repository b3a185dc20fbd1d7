// SPDX-License-Identifier: GPL-2.0-only
//! What WireGuard sends, and what it keeps until it can.

use std::time::Duration;

use wgroam::model::WallTime;

use super::{
    Body, INITIATION_BYTES, KEEPALIVE_TIMEOUT, Payload, REJECT_AFTER, REKEY_AFTER, REKEY_JITTER_MILLIS,
    REKEY_TIMEOUT, Time, Timer, WireGuard,
};

impl WireGuard {
    fn jitter(&mut self) -> Duration {
        Duration::from_millis(self.rng.below(REKEY_JITTER_MILLIS))
    }

    /// send.c: wg_packet_send_queued_handshake_initiation and wg_packet_send_handshake_initiation.
    pub(super) fn send_initiation(&mut self, now: Time, wall: WallTime, retry: bool) {
        if !retry {
            self.attempts = 0;
        }
        let Some(to) = self.peer else { return };
        if self.last_sent_handshake.is_some_and(|last| now < last + REKEY_TIMEOUT) {
            return;
        }
        self.last_sent_handshake = Some(now);
        let handshake = self.rng.next();
        self.handshake = Some(handshake);
        // timekeeping: the kernel rounds to 2^24 ns, so that the clock is not told too well.
        let timestamp = (wall.seconds * 1_000_000_000 + u64::from(wall.nanos)) & !0xff_ffff;
        self.authenticated_traversal(now);
        self.timers.remove(&Timer::SendKeepalive);
        self.send(
            Body::Initiation { from: self.key, to, timestamp, handshake, genuine: true },
            INITIATION_BYTES,
        );
        let jitter = self.jitter();
        self.timers.insert(Timer::RetransmitHandshake, now + REKEY_TIMEOUT + jitter);
    }

    pub(super) fn send(&mut self, body: Body, bytes: u64) {
        if let Some(endpoint) = self.endpoint {
            self.tx_bytes += bytes;
            self.outbox.push((endpoint, body));
        }
    }

    /// send.c: wg_packet_send_keepalive.
    pub(super) fn send_keepalive(&mut self, now: Time, wall: WallTime) {
        if self.staged.is_empty() {
            self.staged.push(Payload::Keepalive);
        }
        self.send_staged(now, wall);
    }

    /// send.c: wg_packet_send_staged_packets and wg_packet_create_data_done.
    pub(super) fn send_staged(&mut self, now: Time, wall: WallTime) {
        if self.staged.is_empty() {
            return;
        }
        if self.current.is_none_or(|keys| now >= keys.born + REJECT_AFTER) {
            self.send_initiation(now, wall, false);
            return;
        }
        for payload in std::mem::take(&mut self.staged) {
            let Some(keys) = &mut self.current else { return };
            keys.sent += 1;
            let (session, by_initiator, counter) = (keys.session, keys.initiator, keys.sent);
            let stale = keys.initiator && now >= keys.born + REKEY_AFTER;
            self.authenticated_traversal(now);
            self.timers.remove(&Timer::SendKeepalive);
            self.send(Body::Data { session, by_initiator, counter, payload }, payload.bytes());
            if payload != Payload::Keepalive {
                let jitter = self.jitter();
                self.timers
                    .entry(Timer::NewHandshake)
                    .or_insert(now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter);
            }
            if stale {
                self.send_initiation(now, wall, false);
            }
        }
    }
}
