// SPDX-License-Identifier: GPL-2.0-only
//! A model of the kernel's WireGuard with one peer: what it sends and when, what it takes, where it thinks the peer is.
//! Written along drivers/net/wireguard/{timers,send,receive,noise,netlink,device}.c of Linux 6.1, function for function;
//! the cryptography is symbolic (a session is a number that only its two ends know).

// By path, so that tests/attacker can share this file.
#[path = "wireguard/receive.rs"]
mod receive;
#[path = "wireguard/send.rs"]
mod send;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use wgroam::model::{Device, Interface, Peer, PublicKey, WallTime};

use super::rng::Rng;

/// Time since the world began.
pub type Time = Duration;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

// messages.h
const REKEY_TIMEOUT: Duration = secs(5);
const REKEY_JITTER_MILLIS: u64 = 333;
const REKEY_AFTER: Duration = secs(120);
const REJECT_AFTER: Duration = secs(180);
const KEEPALIVE_TIMEOUT: Duration = secs(10);
/// One second / INITIATIONS_PER_SECOND.
const INITIATION_SPACING: Duration = Duration::from_millis(20);
const MAX_TIMER_HANDSHAKES: u32 = 90 / 5;
const MAX_STAGED: usize = 128;

const INITIATION_BYTES: u64 = 148;
const RESPONSE_BYTES: u64 = 92;
const DATA_BYTES: u64 = 32;

/// What travels inside the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    Keepalive,
    Ping(u64),
    Pong(u64),
    /// Data that nobody answers: so many bytes, as WireGuard counts them. Only tests/attacker sends it.
    #[allow(dead_code)]
    Load(u64),
}

impl Payload {
    fn bytes(self) -> u64 {
        match self {
            Payload::Keepalive => DATA_BYTES,
            Payload::Ping(_) | Payload::Pong(_) => DATA_BYTES + 96,
            Payload::Load(bytes) => bytes,
        }
    }
}

/// What travels outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `genuine`: made with the private key of `from`.
    Initiation {
        from: PublicKey,
        to: PublicKey,
        timestamp: u64,
        handshake: u64,
        genuine: bool,
    },
    Response {
        handshake: u64,
        session: u64,
    },
    Data {
        session: u64,
        /// By the end that began the session: each direction has a key of its own.
        by_initiator: bool,
        counter: u64,
        payload: Payload,
    },
    Noise,
}

/// A datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub body: Body,
}

#[derive(Clone, Copy, Debug)]
struct Keypair {
    session: u64,
    initiator: bool,
    born: Time,
    sent: u64,
    received: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    RetransmitHandshake,
    SendKeepalive,
    NewHandshake,
    ZeroKeys,
    PersistentKeepalive,
}

/// An interface with one peer.
#[derive(Debug)]
pub struct WireGuard {
    pub interface: Interface,
    pub ifindex: u32,
    pub key: PublicKey,
    pub port: u16,
    pub up: bool,
    pub peer: Option<PublicKey>,
    pub endpoint: Option<SocketAddr>,
    pub keepalive: u16,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub last_handshake: Option<WallTime>,
    /// Datagrams to send: the destination and what is in it.
    pub outbox: Vec<(SocketAddr, Body)>,
    /// Decrypted payloads for the host.
    pub inbox: Vec<Payload>,
    /// wgroam's, not its own: the next initiation to the first address goes to the others, too, until then.
    pub copies: Option<(SocketAddr, Vec<SocketAddr>, Time)>,
    /// The newest timestamp of an initiation that it took. Linux tells nobody.
    pub newest: u64,
    handshake: Option<u64>,
    last_taken_initiation: Option<Time>,
    last_sent_handshake: Option<Time>,
    attempts: u32,
    need_another_keepalive: bool,
    sent_last_minute: bool,
    current: Option<Keypair>,
    previous: Option<Keypair>,
    next: Option<Keypair>,
    staged: Vec<Payload>,
    timers: BTreeMap<Timer, Time>,
    rng: Rng,
}

impl WireGuard {
    /// wgroam is asked to copy the next initiation.
    pub fn copy(&mut self, now: Time, home: SocketAddr, to: Vec<SocketAddr>) {
        self.copies = Some((home, to, now + wgroam::engine::constants::COPY_FOR));
    }

    /// A message leaves the router: where it goes, too.
    pub fn copies_of(&mut self, now: Time, to: SocketAddr, body: &Body) -> Vec<SocketAddr> {
        let initiation = matches!(body, Body::Initiation { .. });
        let copies = self.copies.take_if(|(home, _, until)| now >= *until || (initiation && *home == to));
        copies.filter(|&(.., until)| now < until).map_or(Vec::new(), |(_, to, _)| to)
    }

    pub fn new(interface: Interface, ifindex: u32, key: PublicKey, port: u16, rng: Rng) -> Self {
        Self {
            interface,
            ifindex,
            key,
            port,
            up: false,
            peer: None,
            endpoint: None,
            keepalive: 0,
            rx_bytes: 0,
            tx_bytes: 0,
            last_handshake: None,
            outbox: Vec::new(),
            copies: None,
            inbox: Vec::new(),
            newest: 0,
            handshake: None,
            last_taken_initiation: None,
            last_sent_handshake: None,
            attempts: 0,
            need_another_keepalive: false,
            sent_last_minute: false,
            current: None,
            previous: None,
            next: None,
            staged: Vec::new(),
            timers: BTreeMap::new(),
            rng,
        }
    }

    /// The jitter of what it sends from now on is another one; 0 leaves it as it is. For the attacker (tests/attacker).
    #[allow(dead_code)]
    pub fn reroll(&mut self, luck: u64) {
        self.rng.0 ^= luck.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// What netlink would tell.
    pub fn device(&self) -> Device {
        let peer = self.peer.map(|public_key| Peer {
            public_key,
            endpoint: self.endpoint,
            last_handshake: self.last_handshake,
            rx_bytes: self.rx_bytes,
            tx_bytes: self.tx_bytes,
            keepalive: self.keepalive,
        });
        Device {
            interface: self.interface,
            ifindex: self.ifindex,
            up: self.up,
            public_key: Some(self.key),
            listen_port: self.port,
            fwmark: 0,
            peers: peer.into_iter().collect(),
        }
    }

    /// Is there a session that both ends could use now?
    pub fn shares_session(&self, now: Time, other: &WireGuard) -> bool {
        let fresh = |keys: &&Keypair| now < keys.born + REJECT_AFTER;
        let Some(ours) = self.current.as_ref().filter(fresh) else { return false };
        let theirs = [&other.current, &other.previous, &other.next];
        theirs.into_iter().flatten().filter(fresh).any(|keys| keys.session == ours.session)
    }

    /// device.c: wg_open, wg_stop.
    pub fn set_link(&mut self, now: Time, wall: WallTime, up: bool) {
        if std::mem::replace(&mut self.up, up) == up {
            return;
        }
        if up {
            self.send_staged(now, wall);
            if self.keepalive > 0 {
                self.send_keepalive(now, wall);
            }
        } else {
            (self.current, self.previous, self.next, self.handshake) = (None, None, None, None);
            self.last_sent_handshake = None;
            self.timers.clear();
            self.staged.clear();
        }
    }

    /// netlink.c: set_peer, the endpoint. What was staged is sent, and without a session that is an initiation.
    pub fn set_endpoint(&mut self, now: Time, wall: WallTime, endpoint: SocketAddr) {
        self.endpoint = Some(endpoint);
        if self.up {
            self.send_staged(now, wall);
        }
    }

    /// netlink.c: set_peer, the keepalive.
    pub fn set_keepalive(&mut self, now: Time, wall: WallTime, seconds: u16) {
        let send = self.keepalive == 0 && seconds > 0 && self.up;
        self.keepalive = seconds;
        if send {
            self.send_keepalive(now, wall);
        }
        if self.up {
            self.send_staged(now, wall);
        }
    }

    /// What wgroam does for a poke.
    pub fn poke(&mut self, now: Time, wall: WallTime, keepalive: u16) {
        self.set_keepalive(now, wall, 0);
        self.set_keepalive(now, wall, keepalive.max(1));
        if keepalive == 0 {
            self.set_keepalive(now, wall, 0);
        }
    }

    /// netlink.c: set_peer with WGPEER_F_REMOVE_ME, and again as a new one (peer.c: wg_peer_create).
    pub fn readd(&mut self, now: Time, wall: WallTime, endpoint: Option<SocketAddr>) {
        self.endpoint = endpoint.or(self.endpoint);
        (self.current, self.previous, self.next, self.handshake) = (None, None, None, None);
        (self.last_sent_handshake, self.last_taken_initiation, self.last_handshake) = (None, None, None);
        (self.rx_bytes, self.tx_bytes, self.newest) = (0, 0, 0);
        self.timers.clear();
        self.staged.clear();
        let keepalive = std::mem::take(&mut self.keepalive);
        self.set_keepalive(now, wall, keepalive);
    }

    /// device.c: wg_xmit. Without an endpoint the host gets an error (EDESTADDRREQ), and nothing is kept.
    pub fn transmit(&mut self, now: Time, wall: WallTime, payload: Payload) {
        if self.up && self.peer.is_some() && self.endpoint.is_some() {
            if self.staged.len() >= MAX_STAGED {
                self.staged.remove(0);
            }
            self.staged.push(payload);
            self.send_staged(now, wall);
        }
    }

    /// When [`Self::expire`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.values().min().copied()
    }

    /// timers.c: wg_expired_*.
    pub fn expire(&mut self, now: Time, wall: WallTime) {
        while let Some(timer) = self.timers.iter().find(|&(_, &at)| at <= now).map(|(&timer, _)| timer) {
            self.timers.remove(&timer);
            match timer {
                Timer::RetransmitHandshake if self.attempts > MAX_TIMER_HANDSHAKES => {
                    self.timers.remove(&Timer::SendKeepalive);
                    self.staged.clear();
                    self.timers.entry(Timer::ZeroKeys).or_insert(now + 3 * REJECT_AFTER);
                }
                Timer::RetransmitHandshake => {
                    self.attempts += 1;
                    self.send_initiation(now, wall, true);
                }
                Timer::SendKeepalive => {
                    self.send_keepalive(now, wall);
                    if std::mem::take(&mut self.need_another_keepalive) {
                        self.timers.insert(Timer::SendKeepalive, now + KEEPALIVE_TIMEOUT);
                    }
                }
                Timer::NewHandshake => self.send_initiation(now, wall, false),
                Timer::ZeroKeys => (self.current, self.previous, self.next) = (None, None, None),
                Timer::PersistentKeepalive if self.keepalive > 0 => self.send_keepalive(now, wall),
                Timer::PersistentKeepalive => {}
            }
        }
    }

    /// timers.c: wg_timers_any_authenticated_packet_traversal.
    fn authenticated_traversal(&mut self, now: Time) {
        if self.keepalive > 0 {
            self.timers.insert(Timer::PersistentKeepalive, now + secs(u64::from(self.keepalive)));
        }
    }

    fn authenticated_receipt(&mut self, now: Time) {
        self.timers.remove(&Timer::NewHandshake);
        self.authenticated_traversal(now);
    }

    fn handshake_complete(&mut self, wall: WallTime) {
        self.timers.remove(&Timer::RetransmitHandshake);
        self.attempts = 0;
        self.sent_last_minute = false;
        self.last_handshake = Some(wall);
    }

    fn keys(&mut self, now: Time, session: u64, initiator: bool) -> Keypair {
        self.timers.insert(Timer::ZeroKeys, now + 3 * REJECT_AFTER);
        Keypair { session, initiator, born: now, sent: 0, received: 0 }
    }
}
