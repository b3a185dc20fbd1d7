// SPDX-License-Identifier: GPL-2.0-only
//! Every verdict, on initiations that snow made.

use std::time::Duration;

use wgroam::initiation::{Responder, Timestamp, Verdict};
use wgroam::model::{PrivateKey, PublicKey};

use crate::initiator::{Initiator, LENGTH, label, public, sign};

const SERVER: [u8; 32] = [0x11; 32];
const PEER: [u8; 32] = [0x22; 32];
const STRANGER: [u8; 32] = [0x33; 32];

fn peer() -> PublicKey {
    PublicKey(public(&PEER))
}

fn server() -> Responder {
    let mut server = Responder::new(&PrivateKey::new(&SERVER));
    server.set_peers([peer()].into_iter());
    server
}

fn from_peer() -> Initiator {
    Initiator::new(PEER, public(&SERVER))
}

fn authentic(seconds: u64) -> Verdict {
    Verdict::Authentic { peer: peer(), timestamp: Timestamp(label(seconds, 0)) }
}

#[test]
fn the_public_key_is_the_one_that_snow_computes() {
    assert_eq!(server().public_key().0, public(&SERVER));
    assert_eq!(PublicKey::from(&PrivateKey::new(&PEER)), peer());
}

#[test]
fn an_initiation_of_a_peer_is_authentic() {
    assert_eq!(server().verify(&from_peer().initiation(label(1000, 0))), authentic(1000));
}

#[test]
fn the_preshared_key_plays_no_part() {
    let with_psk = Initiator { psk: [0x99; 32], ..from_peer() };
    assert_eq!(server().verify(&with_psk.initiation(label(1000, 0))), authentic(1000));
}

#[test]
fn mac2_and_the_sender_index_are_not_looked_at() {
    let mut packet = from_peer().initiation(label(1000, 0));
    packet[132..].fill(0xff);
    packet[4..8].fill(0xff);
    sign(&mut packet, &public(&SERVER));
    assert_eq!(server().verify(&packet), authentic(1000));
}

#[test]
fn the_same_packet_again_is_a_replay() {
    let mut server = server();
    let packet = from_peer().initiation(label(1000, 0));
    assert_eq!(server.verify(&packet), authentic(1000));
    let replay =
        Verdict::Replay { peer: peer(), timestamp: Timestamp(label(1000, 0)), behind: Duration::ZERO };
    assert_eq!(server.verify(&packet), replay);
    // A fresh packet with the same time is no fresher.
    assert_eq!(server.verify(&from_peer().initiation(label(1000, 0))), replay);
}

#[test]
fn a_clock_that_went_back_is_told_by_how_much() {
    let mut server = server();
    server.verify(&from_peer().initiation(label(1000, 500_000_000)));
    let timestamp = Timestamp(label(990, 0));
    let behind = Duration::from_millis(10_500);
    assert_eq!(
        server.verify(&from_peer().initiation(timestamp.0)),
        Verdict::Replay { peer: peer(), timestamp, behind }
    );
    assert_eq!(server.newest(&peer()), Some(Timestamp(label(1000, 500_000_000))));
    assert_eq!(server.verify(&from_peer().initiation(label(1001, 0))), authentic(1001));
}

#[test]
fn a_time_of_zero_is_never_fresh() {
    let timestamp = Timestamp::default();
    let verdict = server().verify(&from_peer().initiation(timestamp.0));
    assert_eq!(verdict, Verdict::Replay { peer: peer(), timestamp, behind: Duration::ZERO });
}

#[test]
fn a_hostile_clock_of_a_peer_does_not_panic() {
    let mut server = server();
    let last = Timestamp([0xff; 12]);
    assert_eq!(
        server.verify(&from_peer().initiation(last.0)),
        Verdict::Authentic { peer: peer(), timestamp: last }
    );
    let verdict = server.verify(&from_peer().initiation([0; 12]));
    assert!(matches!(verdict, Verdict::Replay { behind: Duration::MAX, .. }), "{verdict:?}");
}

#[test]
fn remembered_times_are_not_fresh() {
    let mut server = server();
    server.remember(&peer(), Timestamp(label(1000, 0)));
    server.remember(&peer(), Timestamp(label(900, 0)));
    let verdict = server.verify(&from_peer().initiation(label(1000, 0)));
    assert!(matches!(verdict, Verdict::Replay { .. }), "{verdict:?}");
    assert_eq!(server.verify(&from_peer().initiation(label(1000, 1))), {
        Verdict::Authentic { peer: peer(), timestamp: Timestamp(label(1000, 1)) }
    });
    server.remember(&PublicKey(public(&STRANGER)), Timestamp(label(1, 0)));
    assert_eq!(server.newest(&PublicKey(public(&STRANGER))), None);
}

#[test]
fn a_peer_that_stays_keeps_its_newest_time_and_one_that_goes_loses_it() {
    let mut server = server();
    let packet = from_peer().initiation(label(1000, 0));
    assert_eq!(server.verify(&packet), authentic(1000));

    let other = PublicKey(public(&STRANGER));
    server.set_peers([other, peer(), peer()].into_iter());
    assert!(matches!(server.verify(&packet), Verdict::Replay { .. }));

    server.set_peers([other].into_iter());
    assert_eq!(server.verify(&packet), Verdict::UnknownPeer { claimed: peer() });

    server.set_peers([other, peer()].into_iter());
    assert_eq!(server.verify(&packet), authentic(1000));
}

#[test]
fn a_stranger_is_named_by_its_key() {
    let stranger = Initiator::new(STRANGER, public(&SERVER));
    assert_eq!(
        server().verify(&stranger.initiation(label(1000, 0))),
        Verdict::UnknownPeer { claimed: PublicKey(public(&STRANGER)) }
    );
}

#[test]
fn an_initiation_for_another_server_has_the_wrong_key() {
    let dialled_wrong = Initiator::new(PEER, public(&STRANGER));
    assert_eq!(server().verify(&dialled_wrong.initiation(label(1000, 0))), Verdict::WrongKey);
}

#[test]
fn an_initiation_for_another_server_with_our_mac1_is_forged() {
    let mut packet = Initiator::new(PEER, public(&STRANGER)).initiation(label(1000, 0));
    sign(&mut packet, &public(&SERVER));
    assert_eq!(server().verify(&packet), Verdict::Forged { claimed: None });
}

#[test]
fn who_knows_both_public_keys_can_claim_to_be_a_peer_and_is_found_out() {
    let mut server = server();
    let forger = Initiator::claiming(peer().0, public(&SERVER));
    assert_eq!(server.verify(&forger.initiation(label(9999, 0))), Verdict::Forged { claimed: Some(peer()) });
    assert_eq!(server.newest(&peer()), None);
    assert_eq!(server.verify(&from_peer().initiation(label(1000, 0))), authentic(1000));
}

#[test]
fn a_low_order_ephemeral_key_is_refused() {
    // Everything else is right: the peer made it. The kernel drops it too.
    let weak = Initiator { weak_ephemeral: true, ..from_peer() };
    let verdict = server().verify(&weak.initiation(label(1000, 0)));
    assert_eq!(verdict, Verdict::Forged { claimed: None });
}

#[test]
fn a_configured_low_order_peer_proves_nothing() {
    // ss is zero, so whoever claims this key knows it.
    let mut server = server();
    server.set_peers([PublicKey([0; 32])].into_iter());
    let verdict = server.verify(&Initiator::claiming([0; 32], public(&SERVER)).initiation(label(1000, 0)));
    assert_eq!(verdict, Verdict::Forged { claimed: Some(PublicKey([0; 32])) });
}

#[test]
fn other_messages_and_lengths_are_malformed() {
    let server = server();
    let packet = from_peer().initiation(label(1000, 0));
    assert_eq!(server.precheck(&packet), Ok(()));
    for position in 0..4 {
        let mut other = packet;
        other[position] ^= 2;
        sign(&mut other, &public(&SERVER));
        assert_eq!(server.precheck(&other), Err(Verdict::Malformed));
    }
    let long = [&packet[..], &[0]].concat();
    for other in [&packet[..0], &packet[..1], &packet[..LENGTH - 1], &long] {
        assert_eq!(server.precheck(other), Err(Verdict::Malformed));
    }
}

#[test]
fn five_thousand_peers_are_told_apart() {
    let privates: Vec<[u8; 32]> = (0..5000u32)
        .map(|number| std::array::from_fn(|index| number.to_le_bytes()[index % 4] ^ index as u8))
        .collect();
    let peers: Vec<PublicKey> =
        privates.iter().map(|private| PublicKey::from(&PrivateKey::new(private))).collect();
    let mut server = server();
    server.set_peers(peers.iter().copied());
    for number in [0, 1, 2500, 4999] {
        let packet = Initiator::new(privates[number], public(&SERVER)).initiation(label(1000, 0));
        let timestamp = Timestamp(label(1000, 0));
        assert_eq!(server.verify(&packet), Verdict::Authentic { peer: peers[number], timestamp });
    }
}

#[test]
fn debug_shows_no_secret() {
    let mut server = server();
    server.verify(&from_peer().initiation(label(1000, 0)));
    let shown = format!("{server:?} {server:#?} {:?}", PrivateKey::new(&SERVER));
    // 0x11 = 17: neither hexadecimal, nor decimal, nor base64 of the private key.
    for secret in ["1111", "17, 17", "ERER"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("hidden") && shown.contains("peers: 1"), "{shown}");
}
