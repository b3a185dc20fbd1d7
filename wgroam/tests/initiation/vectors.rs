// SPDX-License-Identifier: GPL-2.0-only
//! What wireguard-go and Linux really sent (tests/vectors/README.md says how it was recorded).

use base64ct::{Base64, Encoding};
use wgroam::initiation::{Responder, Timestamp, Verdict};
use wgroam::model::{PrivateKey, PublicKey};

use crate::initiator::{LENGTH, label};

/// What one implementation sent.
struct Recording {
    name: &'static str,
    /// Whole seconds since 1970: begin and end of the recording.
    recorded: &'static str,
    peer: &'static [u8],
    peer_preshared: &'static [u8],
    stranger: &'static [u8],
    wrong_server: &'static [u8],
}

macro_rules! recording {
    ($folder:literal) => {
        Recording {
            name: $folder,
            recorded: include_str!(concat!("../vectors/", $folder, "/recorded")),
            peer: include_bytes!(concat!("../vectors/", $folder, "/peer.bin")),
            peer_preshared: include_bytes!(concat!("../vectors/", $folder, "/peer-preshared.bin")),
            stranger: include_bytes!(concat!("../vectors/", $folder, "/stranger.bin")),
            wrong_server: include_bytes!(concat!("../vectors/", $folder, "/wrong-server.bin")),
        }
    };
}

const RECORDINGS: [Recording; 2] = [recording!("wireguard-go"), recording!("linux-6.1")];

fn key(name: &str) -> PrivateKey {
    let line = include_str!("../vectors/keys").lines().find_map(|line| line.strip_prefix(name));
    let mut bytes = [0; 32];
    Base64::decode(line.unwrap().trim(), &mut bytes).unwrap();
    PrivateKey::new(&bytes)
}

fn public(name: &str) -> PublicKey {
    PublicKey::from(&key(name))
}

fn server() -> Responder {
    let mut server = Responder::new(&key("server"));
    server.set_peers([public("peer")].into_iter());
    server
}

fn authentic_time(server: &mut Responder, packet: &[u8], name: &str) -> Timestamp {
    match server.verify(packet) {
        Verdict::Authentic { peer, timestamp } if peer == public("peer") => timestamp,
        verdict => panic!("{name}: {verdict:?}"),
    }
}

#[test]
fn recorded_initiations_of_a_peer_are_authentic_once() {
    for recording in RECORDINGS {
        let mut server = server();
        assert!(recording.peer.len() >= 2 * LENGTH);
        let packets = || recording.peer.chunks(LENGTH).chain(recording.peer_preshared.chunks(LENGTH));
        let times: Vec<_> =
            packets().map(|packet| authentic_time(&mut server, packet, recording.name)).collect();
        assert!(times.is_sorted(), "{}: {times:?}", recording.name);
        for packet in packets() {
            let verdict = server.verify(packet);
            assert!(matches!(verdict, Verdict::Replay { .. }), "{}: {verdict:?}", recording.name);
        }
    }
}

#[test]
fn the_label_is_the_time_of_the_recording() {
    for recording in RECORDINGS {
        let mut server = server();
        let (begin, end) = recording.recorded.trim().split_once(' ').unwrap();
        let begin = Timestamp(label(begin.parse().unwrap(), 0));
        let end = Timestamp(label(end.parse::<u64>().unwrap() + 1, 0));
        for packet in recording.peer.chunks(LENGTH) {
            let time = authentic_time(&mut server, packet, recording.name);
            assert!(begin <= time && time <= end, "{}: {begin} {time} {end}", recording.name);
        }
    }
}

#[test]
fn recorded_initiations_tell_the_time_between_them() {
    for recording in RECORDINGS {
        let mut server = server();
        let times: Vec<_> = (recording.peer.chunks(LENGTH))
            .map(|packet| authentic_time(&mut server, packet, recording.name))
            .collect();
        // REKEY_TIMEOUT is 5 s, up to a third of a second later (timers.c), plus a loaded machine.
        for pair in times.windows(2) {
            let between = pair[1].since(&pair[0]).as_secs_f64();
            assert!((4.9..7.0).contains(&between), "{}: {between} s", recording.name);
        }
    }
}

#[test]
fn recorded_initiations_of_others_are_told_apart() {
    for recording in RECORDINGS {
        let mut server = server();
        let claimed = public("stranger");
        for packet in recording.stranger.chunks(LENGTH) {
            assert_eq!(server.verify(packet), Verdict::UnknownPeer { claimed }, "{}", recording.name);
        }
        for packet in recording.wrong_server.chunks(LENGTH) {
            assert_eq!(server.verify(packet), Verdict::WrongKey, "{}", recording.name);
        }
    }
}

#[test]
fn the_other_server_takes_what_was_meant_for_it() {
    for recording in RECORDINGS {
        let mut other = Responder::new(&key("other-server"));
        other.set_peers([public("peer")].into_iter());
        for packet in recording.wrong_server.chunks(LENGTH) {
            authentic_time(&mut other, packet, recording.name);
        }
    }
}
