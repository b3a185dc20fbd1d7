// SPDX-License-Identifier: GPL-2.0-only
//! What a packet costs the verifier, by its class, and how that compares to the bare primitives that it can't do
//! without. `cargo bench --bench initiation` prints divan's statistics and then the ratios; with `-- --ratios`, the ratios only.

#![allow(clippy::unwrap_used)] // A panic is what a bench wants.

#[path = "../tests/initiation/initiator.rs"]
mod initiator;

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use blake2::digest::{FixedOutput, KeyInit, Update, consts::U16};
use blake2::{Blake2s256, Blake2sMac};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305};
use initiator::{Initiator, Noise, label, public};
use wgroam::initiation::{Responder, Verdict};
use wgroam::model::{PrivateKey, PublicKey};
use x25519_dalek::StaticSecret;

const SERVER: [u8; 32] = [0x11; 32];
const PEER: [u8; 32] = [0x22; 32];
const STRANGER: [u8; 32] = [0x33; 32];

/// How many authentic packets are made before the measurement. When they are used up, a new responder takes them
/// again, at the cost of two DH.
const AUTHENTIC_PACKETS: u32 = 2000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    /// Keyed BLAKE2s-128 over 116 bytes: the least that tells a packet for us from noise.
    BareMac1,
    BareX25519,
    /// What a packet with a good mac1 costs at least: mac1, the key schedule up to the static key, one DH, one AEAD.
    BareToStatic,
    /// What proof costs at least when ss is known: mac1, the whole key schedule, one DH, two AEAD.
    BareToTimestamp,
    Malformed,
    WrongMac1,
    Garbage,
    Stranger,
    FalseClaim,
    Replay,
    Authentic,
    FirstAuthentic,
}

const CASES: [Case; 12] = [
    Case::BareMac1,
    Case::BareX25519,
    Case::BareToStatic,
    Case::BareToTimestamp,
    Case::Malformed,
    Case::WrongMac1,
    Case::Garbage,
    Case::Stranger,
    Case::FalseClaim,
    Case::Replay,
    Case::Authentic,
    Case::FirstAuthentic,
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Case::BareMac1 => "bare: mac1",
            Case::BareX25519 => "bare: X25519",
            Case::BareToStatic => "bare: X25519, 1 AEAD, hashes",
            Case::BareToTimestamp => "bare: X25519, 2 AEAD, hashes",
            Case::Malformed => "refused: malformed",
            Case::WrongMac1 => "refused: wrong mac1",
            Case::Garbage => "refused: good mac1, then garbage",
            Case::Stranger => "refused: unknown peer",
            Case::FalseClaim => "refused: claims to be a peer",
            Case::Replay => "refused: replay",
            Case::Authentic => "authentic",
            Case::FirstAuthentic => "authentic, first of its peer",
        })
    }
}

fn server() -> Responder {
    let mut server = Responder::new(&PrivateKey::new(&SERVER));
    server.set_peers([PublicKey(public(&PEER))].into_iter());
    server
}

/// The primitives in the number and on the lengths of an initiation, without a protocol around them.
fn bare(hmacs: u32, aeads: &[usize]) -> impl FnMut() + use<> {
    let aeads = aeads.to_vec();
    let secret = StaticSecret::from(SERVER);
    let point = x25519_dalek::PublicKey::from(public(&PEER));
    let mut packet = [0x44; 116];
    move || {
        let mac = Blake2sMac::<U16>::new(&SERVER.into()).chain(black_box(&packet)).finalize_fixed();
        packet[..16].copy_from_slice(&mac);
        // HMAC is two hashes of two blocks each.
        for _ in 0..2 * hmacs {
            let hash = Blake2s256::default().chain(black_box(&packet[..96])).finalize_fixed();
            packet[..32].copy_from_slice(&hash);
        }
        let shared = secret.diffie_hellman(black_box(&point));
        let cipher = ChaCha20Poly1305::new(shared.as_bytes().into());
        for &length in &aeads {
            // H_i := Hash(H_i || ...), which the tag covers.
            let hash = Blake2s256::default().chain(black_box(&packet[..80])).finalize_fixed();
            let buffer = (&mut packet[..length]).into();
            let opened = cipher.decrypt_inout_detached(&[0; 12].into(), &hash, buffer, &[0; 16].into());
            // A wrong tag saves deciphering, some 64 bytes of key stream.
            black_box(opened.is_err());
        }
    }
}

impl Case {
    /// The work of one packet, ready to be repeated. Each run checks its verdict: a bench of the wrong path is worse
    /// than none.
    fn task(self) -> Box<dyn FnMut()> {
        let mut server = server();
        let public_server = server.public_key().0;
        let peer = PublicKey(public(&PEER));
        let honest = Initiator::new(PEER, public_server);
        let mut packet = honest.initiation(label(1000, 0));
        let mut refused = |packet: [u8; 148], is_expected: fn(&Verdict) -> bool| -> Box<dyn FnMut()> {
            let mut server = std::mem::replace(&mut server, self::server());
            Box::new(move || assert!(is_expected(&server.verify(black_box(&packet)))))
        };
        match self {
            Case::BareMac1 => Box::new(move || {
                let key = black_box(&SERVER).into();
                let mac = Blake2sMac::<U16>::new(key).chain(black_box(&packet[..116])).finalize_fixed();
                black_box(mac);
            }),
            Case::BareX25519 => {
                let secret = StaticSecret::from(SERVER);
                let point = x25519_dalek::PublicKey::from(peer.0);
                Box::new(move || {
                    black_box(secret.diffie_hellman(black_box(&point)));
                })
            }
            // Kdf1 is two HMAC, Kdf2 three.
            Case::BareToStatic => Box::new(bare(2 + 3, &[32])),
            Case::BareToTimestamp => Box::new(bare(2 + 3 + 3, &[32, 12])),
            Case::Malformed => {
                packet[0] = 4;
                refused(packet, |verdict| *verdict == Verdict::Malformed)
            }
            Case::WrongMac1 => {
                packet[120] ^= 1;
                refused(packet, |verdict| *verdict == Verdict::WrongKey)
            }
            Case::Garbage => refused(Noise(1).signed_garbage(&public_server), |verdict| {
                *verdict == Verdict::Forged { claimed: None }
            }),
            Case::Stranger => {
                refused(Initiator::new(STRANGER, public_server).initiation(label(1000, 0)), |verdict| {
                    matches!(verdict, Verdict::UnknownPeer { .. })
                })
            }
            Case::FalseClaim => {
                refused(Initiator::claiming(peer.0, public_server).initiation(label(1000, 0)), |verdict| {
                    matches!(verdict, Verdict::Forged { claimed: Some(_) })
                })
            }
            Case::Replay => {
                server.verify(&packet);
                Box::new(move || {
                    assert!(matches!(server.verify(black_box(&packet)), Verdict::Replay { .. }));
                })
            }
            Case::Authentic => {
                let make = |number| honest.initiation(label(1000, number));
                let packets: Vec<_> = (0..AUTHENTIC_PACKETS).map(make).collect();
                let mut next = packets.len();
                Box::new(move || {
                    if next == packets.len() {
                        server = self::server();
                        next = 0;
                    }
                    let verdict = server.verify(black_box(&packets[next]));
                    assert!(matches!(verdict, Verdict::Authentic { .. }));
                    next += 1;
                })
            }
            Case::FirstAuthentic => Box::new(move || {
                server.set_peers([].into_iter());
                server.set_peers([peer].into_iter());
                let verdict = server.verify(black_box(&packet));
                assert!(matches!(verdict, Verdict::Authentic { .. }));
            }),
        }
    }
}

#[divan::bench(args = CASES)]
fn packet(bencher: divan::Bencher, case: Case) {
    bencher.bench_local(case.task());
}

/// Runs all cases in turns, so that a busy machine slows all of them, and takes each one's fastest round: whatever else
/// the machine does only makes a round slower.
fn ratios() {
    const ROUNDS: usize = 60;
    const ROUND: Duration = Duration::from_millis(10);
    let mut tasks: Vec<_> = CASES.iter().map(|case| (*case, case.task(), f64::INFINITY)).collect();
    for _ in 0..ROUNDS {
        for (_, task, fastest) in &mut tasks {
            let (start, mut count) = (Instant::now(), 0u32);
            while start.elapsed() < ROUND {
                // Looking at the clock costs as much as three malformed packets.
                (0..32).for_each(|_| task());
                count += 32;
            }
            *fastest = fastest.min(start.elapsed().as_secs_f64() / f64::from(count));
        }
    }
    let seconds = |wanted: Case| tasks.iter().find(|(case, ..)| *case == wanted).unwrap().2;
    println!(
        "\n{:34}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "one packet", "us", "per second", "of mac1", "of X25519", "of bare *"
    );
    for &(case, _, time) in &tasks {
        // What this class can't do without.
        let floor = match case {
            Case::Malformed | Case::BareMac1 | Case::BareX25519 => None,
            Case::WrongMac1 => Some(seconds(Case::BareMac1)),
            Case::Garbage | Case::Stranger | Case::BareToStatic => Some(seconds(Case::BareToStatic)),
            Case::FirstAuthentic => Some(seconds(Case::BareToTimestamp) + seconds(Case::BareX25519)),
            _ => Some(seconds(Case::BareToTimestamp)),
        };
        println!(
            "{case:34}{:12.3}{:12.0}{:12.2}{:12.3}{:>12}",
            time * 1e6,
            1.0 / time,
            time / seconds(Case::BareMac1),
            time / seconds(Case::BareX25519),
            floor.map_or_else(|| "-".to_owned(), |floor| format!("{:.3}", time / floor)),
        );
    }
    println!(
        "* the bare primitives that this class needs: mac1; X25519, 1 AEAD and hashes; X25519, 2 AEAD and \
         hashes (and one more X25519 for the first)"
    );
}

fn main() {
    if !std::env::args().any(|argument| argument == "--ratios") {
        divan::main();
    }
    // `cargo test --benches` wants to see that it runs, and no figures.
    if !std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        ratios();
    }
}
