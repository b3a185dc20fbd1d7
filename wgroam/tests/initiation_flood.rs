// SPDX-License-Identifier: GPL-2.0-only
//! A million hostile packets. In a process of its own, because it watches its memory.

#![allow(clippy::unwrap_used)] // Helpers of tests too.

#[path = "initiation/initiator.rs"]
mod initiator;

use std::fs;

use initiator::{Initiator, LENGTH, Noise, label, public};
use wgroam::initiation::{Responder, Timestamp, Verdict};
use wgroam::model::{PrivateKey, PublicKey};

const SERVER: [u8; 32] = [0x11; 32];
const PEER: [u8; 32] = [0x22; 32];
const STRANGER: [u8; 32] = [0x33; 32];

/// How many of 1000 packets cost a DH. Each is some 50 us, so a million of them would be a minute.
const DEAR_IN_1000: u64 = 200;

/// Resident pages of this process (proc(5): statm, the second number).
fn resident_pages() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

/// How often each verdict was given.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    authentic: u64,
    replay: u64,
    unknown_peer: u64,
    forged: u64,
    claimed: u64,
    wrong_key: u64,
    malformed: u64,
}

impl Counts {
    fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Authentic { .. } => &mut self.authentic,
            Verdict::Replay { .. } => &mut self.replay,
            Verdict::UnknownPeer { .. } => &mut self.unknown_peer,
            Verdict::Forged { claimed: None } => &mut self.forged,
            Verdict::Forged { claimed: Some(_) } => &mut self.claimed,
            Verdict::WrongKey => &mut self.wrong_key,
            Verdict::Malformed => &mut self.malformed,
        } += 1;
    }
}

/// What the attacker has at hand: packets overheard and made before.
struct Attacker {
    noise: Noise,
    server: [u8; 32],
    overheard: Vec<[u8; LENGTH]>,
    claims: Vec<[u8; LENGTH]>,
    strangers: Vec<[u8; LENGTH]>,
    wrong_server: Vec<[u8; LENGTH]>,
}

impl Attacker {
    /// The next packet, and where it should be counted.
    fn packet(&mut self, expected: &mut Counts) -> ([u8; LENGTH], usize) {
        let pick = |list: &[[u8; LENGTH]], number: u64| list[number as usize % list.len()];
        let number = self.noise.number() >> 8;
        let mut random = [0; LENGTH];
        self.noise.fill(&mut random);
        if number % 1000 < DEAR_IN_1000 {
            match number % 4 {
                0 => {
                    expected.forged += 1;
                    return (self.noise.signed_garbage(&self.server), LENGTH);
                }
                1 => {
                    expected.replay += 1;
                    return (pick(&self.overheard, number / 4), LENGTH);
                }
                2 => {
                    expected.claimed += 1;
                    return (pick(&self.claims, number / 4), LENGTH);
                }
                _ => {
                    expected.unknown_peer += 1;
                    return (pick(&self.strangers, number / 4), LENGTH);
                }
            }
        }
        match number % 5 {
            0 => {
                expected.malformed += 1;
                random[0] = 4;
                (random, LENGTH)
            }
            1 => {
                expected.malformed += 1;
                (random, number as usize / 5 % LENGTH)
            }
            2 => {
                expected.wrong_key += 1;
                random[..4].copy_from_slice(&[1, 0, 0, 0]);
                (random, LENGTH)
            }
            3 => {
                expected.wrong_key += 1;
                (pick(&self.wrong_server, number / 5), LENGTH)
            }
            _ => {
                // An overheard one with one bit flipped, mac1 or what it covers, behind the type.
                expected.wrong_key += 1;
                let mut packet = pick(&self.overheard, number / 5);
                let bit = 32 + number as usize / 40 % (100 * 8);
                packet[bit / 8] ^= 1 << (bit % 8);
                (packet, LENGTH)
            }
        }
    }
}

#[test]
fn a_million_hostile_packets_change_nothing() {
    let public_server = public(&SERVER);
    let peer = PublicKey(public(&PEER));
    let mut server = Responder::new(&PrivateKey::new(&SERVER));
    server.set_peers([peer].into_iter());

    let make = |initiator: Initiator| -> Vec<_> {
        (0..50u32).map(|number| initiator.initiation(label(1000, number))).collect()
    };
    let mut attacker = Attacker {
        noise: Noise(1),
        server: public_server,
        overheard: make(Initiator::new(PEER, public_server)),
        // Newer than all that the peer sent: only the proof is missing.
        claims: make(Initiator::claiming(peer.0, public_server))
            .into_iter()
            .chain(
                (0..50)
                    .map(|number| Initiator::claiming(peer.0, public_server).initiation(label(9999, number))),
            )
            .collect(),
        strangers: make(Initiator::new(STRANGER, public_server)),
        wrong_server: make(Initiator::new(PEER, public(&STRANGER))),
    };
    let newest = Timestamp(label(1000, 49));
    for packet in &attacker.overheard {
        assert!(matches!(server.verify(packet), Verdict::Authentic { .. }));
    }
    assert_eq!(server.newest(&peer), Some(newest));

    let (mut given, mut expected) = (Counts::default(), Counts::default());
    let mut flood = |count: u32| {
        for _ in 0..count {
            let (packet, length) = attacker.packet(&mut expected);
            given.add(server.verify(&packet[..length]));
        }
    };
    // The first thousand bring in pages of the program.
    flood(1_000);
    let before = resident_pages();
    flood(999_000);
    let after = resident_pages();

    assert_eq!(given.authentic, 0);
    assert_eq!(given, expected);
    assert_eq!(server.newest(&peer), Some(newest));
    assert!(after * 10 <= before * 11, "resident pages: {before} before, {after} after");
    println!("resident pages: {before} before, {after} after; {given:?}");

    // And the peer itself still gets through.
    let fresh = Initiator::new(PEER, public_server).initiation(label(1001, 0));
    assert!(matches!(server.verify(&fresh), Verdict::Authentic { .. }));
}
