// SPDX-License-Identifier: GPL-2.0-only
//! An anchor with 5,000 peers, and a flood: what they cost in memory and time. The allocator counts.

// Test code: a panic is the way to fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use wgroam::config::Config;
use wgroam::engine::constants::*;
use wgroam::engine::{Action, Engine, Event};
use wgroam::initiation::{Timestamp, Verdict};
use wgroam::model::{Device, Interface, Peer, PublicKey, WallTime};
use wgroam::wan::WanChange;

/// The system's allocator, with a count of the bytes that are in use.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);
/// One test at a time: they share the count.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: hands everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PEERS: u32 = 5000;

fn wg0() -> Interface {
    "wg0".parse().unwrap()
}

fn key(n: u32) -> PublicKey {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    PublicKey(key)
}

fn address(n: u32) -> std::net::SocketAddr {
    (n.wrapping_add(0x0a00_0001).to_be_bytes(), 51820).into()
}

fn device(rx_bytes: u64, moved: u32) -> Device {
    let peer = |n: u32| Peer {
        public_key: key(n),
        endpoint: Some(address(n + moved)),
        last_handshake: Some(wall(0)),
        rx_bytes,
        tx_bytes: rx_bytes,
        keepalive: 25,
    };
    let peers = (0..PEERS).map(peer).collect();
    Device { interface: wg0(), ifindex: 7, up: true, public_key: None, listen_port: 51820, fwmark: 0, peers }
}

fn wall(seconds: u64) -> WallTime {
    WallTime { seconds: 1_700_000_000 + seconds, nanos: 0 }
}

/// An engine with 5,000 peers that moved `moves` times.
fn crowded(start: Instant, moves: u32) -> (Engine, Instant) {
    let mut engine = Engine::new(Config::default(), vec![], start);
    engine.handle_event(start, Event::DeviceUp { interface: wg0() });
    let mut now = start;
    for n in 0..=moves {
        now += Duration::from_secs(5);
        let device = device(1000 + u64::from(n), n);
        engine.handle_event(now, Event::Snapshot { device, wall: wall(5 * u64::from(n)) });
        while engine.poll_action().is_some() {}
    }
    (engine, now)
}

#[test]
fn five_thousand_peers_fit_into_ten_megabytes() {
    let _alone = ALONE.lock();
    // After 16 moves a history is as long as it gets.
    for moves in [0, 2, 20] {
        let before = IN_USE.load(Ordering::Relaxed);
        let (engine, now) = crowded(Instant::now(), moves);
        let used = IN_USE.load(Ordering::Relaxed) - before;
        println!("{PEERS} peers, each moved {moves} times: {} KB", used / 1024);
        assert!(used < 10_000_000, "{used} bytes");
        assert_eq!(engine.status(now).devices[0].peers.len(), PEERS as usize);
    }
}

/// What this thread has used: a busy machine does not count.
fn processor_time() -> Duration {
    Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap())
}

#[test]
fn a_snapshot_and_a_status_of_five_thousand_peers_take_milliseconds() {
    let _alone = ALONE.lock();
    let (mut engine, now) = crowded(Instant::now(), 2);
    let snapshot = device(2000, 2);
    let begin = processor_time();
    engine.handle_event(now + Duration::from_secs(5), Event::Snapshot { device: snapshot, wall: wall(15) });
    let looked = processor_time() - begin;
    let begin = processor_time();
    let status = engine.status(now + Duration::from_secs(5));
    let told = processor_time() - begin;
    println!("snapshot {looked:?}, status {told:?}");
    assert_eq!(status.devices[0].peers.len(), PEERS as usize);
    // Also without optimization.
    assert!(told < Duration::from_millis(100), "{told:?}");
    assert!(looked < Duration::from_millis(200), "{looked:?}");
}

#[test]
fn five_thousand_pokes_are_paced() {
    let _alone = ALONE.lock();
    let (mut engine, start) = crowded(Instant::now(), 2);
    let change = WanChange::Up("eth0".parse().unwrap());
    engine.handle_event(start, Event::WanChanged(change));
    let mut pokes = Vec::new();
    let mut now = start;
    let end = start + Duration::from_millis(2800);
    loop {
        while let Some(action) = engine.poll_action() {
            match action {
                Action::TakeSnapshot { .. } => {
                    engine.handle_event(now, Event::Snapshot { device: device(1002, 2), wall: wall(15) });
                }
                Action::Poke { peer, .. } => pokes.push((now - start, peer)),
                _ => {}
            }
        }
        match engine.next_deadline() {
            Some(next) if next <= end => now = next,
            _ => break,
        }
        engine.handle_timeout(now);
    }
    let tick = |n: u32| PACE_TICK * n;
    for n in 0..140 {
        let within = pokes.iter().filter(|(when, _)| (tick(n)..tick(n + 1)).contains(when)).count();
        assert!(within <= PACE_POKES as usize, "{within} pokes in tick {n}");
    }
    let poked: std::collections::BTreeSet<_> = pokes.iter().map(|(_, peer)| *peer).collect();
    println!("{} peers poked, {} pokes in all", poked.len(), pokes.len());
    assert_eq!(poked.len(), PEERS as usize, "everybody's first poke comes before the repeats");
}

#[test]
fn a_flood_of_hostile_packets_leaves_no_trace_in_memory() {
    let _alone = ALONE.lock();
    let (mut engine, now) = crowded(Instant::now(), 2);
    let deadline = engine.next_deadline();
    let mut hostile = |from: u32, to: u32| {
        for n in from..to {
            let mut claimed = [0; 32];
            claimed[..4].copy_from_slice(&n.to_be_bytes());
            let verdict = match n % 5 {
                0 => Verdict::UnknownPeer { claimed: PublicKey(claimed) },
                1 => Verdict::Forged { claimed: Some(key(n % PEERS)) },
                2 => Verdict::WrongKey,
                3 => Verdict::Replay {
                    peer: key(n % PEERS),
                    timestamp: Timestamp([0; 12]),
                    behind: Duration::ZERO,
                },
                _ => Verdict::Malformed,
            };
            let passed = Duration::from_micros(u64::from(n) * 10);
            let event = Event::Initiation { interface: wg0(), source: address(n), verdict };
            engine.handle_event(now + passed, event);
            while let Some(action) = engine.poll_action() {
                assert!(matches!(action, Action::Report(_)), "{action:?}");
            }
        }
        (engine.next_deadline(), IN_USE.load(Ordering::Relaxed))
    };
    let (_, before) = hostile(0, 1000);
    let begin = Instant::now();
    let (after, used) = hostile(1000, 200_000);
    println!("{:?} for 199,000 hostile packets, {} bytes more", begin.elapsed(), used - before);
    assert_eq!(after, deadline, "nothing is planned");
    assert!((used - before).abs() < 10_000, "{} bytes more", used - before);
}
