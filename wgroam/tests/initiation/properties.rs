// SPDX-License-Identifier: GPL-2.0-only
//! No damaged, cut, extended, random or old packet is ever authentic.

use std::sync::LazyLock;

use proptest::prelude::*;
use wgroam::initiation::{Responder, Timestamp, Verdict};
use wgroam::model::{PrivateKey, PublicKey};

use crate::initiator::{Initiator, LENGTH, MAC1, label, public, sign};

const SERVER: [u8; 32] = [0x11; 32];
const PEER: [u8; 32] = [0x22; 32];
static PUBLIC_SERVER: LazyLock<[u8; 32]> = LazyLock::new(|| public(&SERVER));
static PUBLIC_PEER: LazyLock<[u8; 32]> = LazyLock::new(|| public(&PEER));

fn server() -> Responder {
    let mut server = Responder::new(&PrivateKey::new(&SERVER));
    server.set_peers([PublicKey(*PUBLIC_PEER)].into_iter());
    server
}

fn initiation(seconds: u64) -> [u8; LENGTH] {
    Initiator::new(PEER, *PUBLIC_SERVER).initiation(label(seconds, 0))
}

fn is_authentic(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Authentic { .. })
}

/// The bits that the verifier can't read for lack of a key (mac2).
const MAC2: std::ops::Range<usize> = MAC1 + 16..LENGTH;

#[test]
fn no_flipped_bit_is_authentic() {
    let mut server = server();
    let packet = initiation(1000);
    for bit in 0..MAC2.start * 8 {
        let mut damaged = packet;
        damaged[bit / 8] ^= 1 << (bit % 8);
        let verdict = server.verify(&damaged);
        let expected = if bit < 32 { Verdict::Malformed } else { Verdict::WrongKey };
        assert_eq!(verdict, expected, "bit {bit}");
    }
    assert!(is_authentic(server.verify(&packet)));
}

#[test]
fn no_flipped_bit_is_authentic_even_with_mac1_mended() {
    let mut server = server();
    let packet = initiation(1000);
    let claimed = Some(PublicKey(*PUBLIC_PEER));
    for bit in 64..MAC1 * 8 {
        let mut damaged = packet;
        damaged[bit / 8] ^= 1 << (bit % 8);
        sign(&mut damaged, &PUBLIC_SERVER);
        let verdict = server.verify(&damaged);
        // The timestamp is the last field: whoever damages only it has got as far as the claim. X25519 ignores the
        // top bit of the ephemeral key, but the hash does not.
        let expected = if bit < 88 * 8 { None } else { claimed };
        assert_eq!(verdict, Verdict::Forged { claimed: expected }, "bit {bit}");
    }
    assert!(is_authentic(server.verify(&packet)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_bytes_are_authentic(
        changes in prop::collection::vec((4..MAC1, 1..=255u8), 1..20),
        mend in any::<bool>(),
    ) {
        let packet = initiation(1000);
        let mut damaged = packet;
        for (position, change) in changes {
            damaged[position] ^= change;
        }
        // Twice the same change is none; the sender's index is free to choose.
        prop_assume!(damaged[8..] != packet[8..]);
        if mend {
            sign(&mut damaged, &PUBLIC_SERVER);
        }
        prop_assert!(!is_authentic(server().verify(&damaged)));
    }

    #[test]
    fn no_other_length_is_anything(length in 0..4 * LENGTH, filler in any::<u8>()) {
        prop_assume!(length != LENGTH);
        let mut packet = initiation(1000).to_vec();
        packet.resize(length, filler);
        prop_assert_eq!(server().verify(&packet), Verdict::Malformed);
    }

    #[test]
    fn no_random_packet_is_authentic(
        bytes in prop::collection::vec(any::<u8>(), LENGTH),
        initiation_type in any::<bool>(),
        mend in any::<bool>(),
    ) {
        let mut packet: [u8; LENGTH] = bytes.try_into().unwrap();
        if initiation_type {
            packet[..4].copy_from_slice(&[1, 0, 0, 0]);
        }
        if mend {
            sign(&mut packet, &PUBLIC_SERVER);
        }
        prop_assert!(!is_authentic(server().verify(&packet)));
    }

    #[test]
    fn no_random_bytes_panic(packet in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!is_authentic(server().verify(&packet)));
    }

    /// In whatever order packets arrive, exactly those are authentic that are newer than all before.
    #[test]
    fn only_what_is_newer_than_all_before_is_authentic(times in prop::collection::vec(1..20u64, 1..12)) {
        let mut server = server();
        let mut newest = 0;
        for time in times {
            let verdict = server.verify(&initiation(time));
            prop_assert_eq!(is_authentic(verdict), time > newest, "{:?}", verdict);
            if time <= newest {
                let behind = std::time::Duration::from_secs(newest - time);
                let timestamp = Timestamp(label(time, 0));
                let peer = PublicKey(*PUBLIC_PEER);
                prop_assert_eq!(verdict, Verdict::Replay { peer, timestamp, behind });
            }
            newest = newest.max(time);
            prop_assert_eq!(server.newest(&PublicKey(*PUBLIC_PEER)), Some(Timestamp(label(newest, 0))));
        }
    }

    #[test]
    fn precheck_and_verify_agree(
        bytes in prop::collection::vec(any::<u8>(), LENGTH - 1..=LENGTH + 1),
        initiation_type in any::<bool>(),
        mend in any::<bool>(),
    ) {
        let mut packet = bytes;
        if initiation_type {
            packet[..4].copy_from_slice(&[1, 0, 0, 0]);
        }
        if let (true, Ok(packet)) = (mend, <&mut [u8; LENGTH]>::try_from(&mut packet[..])) {
            sign(packet, &PUBLIC_SERVER);
        }
        let verdict = server().verify(&packet);
        match server().precheck(&packet) {
            Err(refused) => prop_assert_eq!(refused, verdict),
            Ok(()) => prop_assert!(!matches!(verdict, Verdict::Malformed | Verdict::WrongKey)),
        }
    }

    #[test]
    fn labels_read_back_as_they_were_written(bytes in any::<[u8; 12]>()) {
        let text = Timestamp(bytes).to_string();
        prop_assert_eq!(text.parse(), Ok(Timestamp(bytes)));
    }

    #[test]
    fn the_time_between_labels_never_panics(a in any::<[u8; 12]>(), b in any::<[u8; 12]>()) {
        let (a, b) = (Timestamp(a), Timestamp(b));
        prop_assert!(a.since(&b).is_zero() || b.since(&a).is_zero());
    }
}
