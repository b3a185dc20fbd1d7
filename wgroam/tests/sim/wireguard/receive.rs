// SPDX-License-Identifier: GPL-2.0-only
//! What WireGuard takes, and what follows from it.

use std::net::SocketAddr;

use wgroam::model::WallTime;

use super::{
    Body, INITIATION_BYTES, INITIATION_SPACING, KEEPALIVE_TIMEOUT, Keypair, Packet, Payload, REJECT_AFTER,
    REKEY_TIMEOUT, RESPONSE_BYTES, Time, Timer, WireGuard,
};

impl WireGuard {
    /// receive.c.
    pub fn receive(&mut self, now: Time, wall: WallTime, packet: &Packet) {
        if !self.up {
            return;
        }
        match packet.body {
            Body::Initiation { from, to, timestamp, handshake, genuine } => {
                // noise.c: wg_noise_handshake_consume_initiation.
                let flood = self.last_taken_initiation.is_some_and(|last| now < last + INITIATION_SPACING);
                let valid = genuine && to == self.key && Some(from) == self.peer && timestamp > self.newest;
                if valid && !flood {
                    (self.newest, self.last_taken_initiation) = (timestamp, Some(now));
                    self.on_initiation(now, packet.source, handshake);
                }
            }
            Body::Response { handshake, session } if self.handshake == Some(handshake) => {
                self.endpoint = Some(packet.source);
                self.rx_bytes += RESPONSE_BYTES;
                self.handshake = None;
                self.previous = self.next.take().or(self.current);
                self.current = Some(self.keys(now, session, true));
                self.handshake_complete(wall);
                self.send_keepalive(now, wall);
                self.authenticated_receipt(now);
            }
            Body::Data { session, by_initiator, counter, payload } => {
                self.on_data(now, wall, packet.source, (session, by_initiator), counter, payload)
            }
            Body::Response { .. } | Body::Noise => {}
        }
    }

    fn on_initiation(&mut self, now: Time, source: SocketAddr, handshake: u64) {
        self.endpoint = Some(source);
        self.rx_bytes += INITIATION_BYTES;
        self.last_sent_handshake = Some(now);
        let session = self.rng.next();
        // noise.c: add_new_keypair, as responder.
        self.previous = None;
        self.next = Some(self.keys(now, session, false));
        self.handshake = None;
        self.timers.remove(&Timer::SendKeepalive);
        self.send(Body::Response { handshake, session }, RESPONSE_BYTES);
        self.authenticated_receipt(now);
    }

    fn on_data(
        &mut self,
        now: Time,
        wall: WallTime,
        source: SocketAddr,
        (session, by_initiator): (u64, bool),
        counter: u64,
        payload: Payload,
    ) {
        let slots = [&mut self.current, &mut self.previous, &mut self.next];
        let its = |keys: &&mut Keypair| keys.session == session && keys.initiator != by_initiator;
        let Some(keys) = slots.into_iter().flatten().find(its) else { return };
        if now >= keys.born + REJECT_AFTER || counter <= keys.received {
            return;
        }
        keys.received = counter;
        let (initiator, born) = (keys.initiator, keys.born);
        self.endpoint = Some(source);
        self.rx_bytes += payload.bytes();
        if self.next.is_some_and(|next| next.session == session) {
            // noise.c: wg_noise_received_with_keypair.
            self.previous = self.current;
            self.current = self.next.take();
            self.handshake_complete(wall);
            self.send_staged(now, wall);
        }
        let last_minute = REJECT_AFTER - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
        if initiator && now >= born + last_minute && !self.sent_last_minute {
            self.sent_last_minute = true;
            self.send_initiation(now, wall, false);
        }
        self.authenticated_receipt(now);
        if payload != Payload::Keepalive {
            self.need_another_keepalive |= self.timers.contains_key(&Timer::SendKeepalive);
            self.timers.entry(Timer::SendKeepalive).or_insert(now + KEEPALIVE_TIMEOUT);
            self.inbox.push(payload);
        }
    }
}
