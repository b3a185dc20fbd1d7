// SPDX-License-Identifier: GPL-2.0-only
//! Is the model of WireGuard true? Each case was measured with the real kernel (Linux 6.1); the same play has
//! to give the same silence here, without any wgroam.

use std::time::Duration;

use super::wireguard::Time;
use super::world::{R1, R2, World};

const NOBODY: [bool; 2] = [false, false];
const PING: Duration = Duration::from_millis(200);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn between(silence: Option<Duration>, low: f64, high: f64) {
    let silence = silence.expect("it recovers").as_secs_f64();
    assert!((low..=high).contains(&silence), "{silence} s of silence, measured: {low} to {high}");
}

/// A tunnel in use from this end, until just now.
fn in_use(seed: u64, by: usize) -> World {
    let mut world = World::new(seed, 25, NOBODY);
    world.run(secs(1));
    world.ping(by, PING);
    world.run(secs(30));
    assert!(world.hosts[by].pongs.last().is_some_and(|&pong| pong > world.now - secs(1)), "the tunnel works");
    world
}

fn forget_mappings(world: &mut World) {
    world.nat.as_mut().unwrap().forget();
}

#[test]
fn r1_sends_all_the_time_and_the_mapping_changes() {
    let mut world = in_use(1, R1);
    forget_mappings(&mut world);
    between(world.run_until_answer(R1, secs(60)), 0.0, 0.8);
}

#[test]
fn r2_pings_and_the_mapping_changes() {
    for seed in 0..20 {
        let mut world = in_use(seed, R2);
        forget_mappings(&mut world);
        between(world.run_until_answer(R2, secs(60)), 14.8, 15.6);
    }
}

#[test]
fn an_idle_tunnel_waits_for_the_next_keepalive() {
    let mut longest = Time::ZERO;
    for seed in 0..50 {
        let mut world = World::new(seed, 25, NOBODY);
        world.run(secs(30) + Duration::from_millis(seed * 500));
        forget_mappings(&mut world);
        world.ping(R2, PING);
        let silence = world.run_until_answer(R2, secs(60));
        between(silence, 0.0, 25.5);
        longest = longest.max(silence.unwrap());
    }
    assert!(longest > secs(23), "up to 25 s were measured, {longest:?} here");
}

#[test]
fn without_a_keepalive_it_waits_for_ever_and_a_poke_heals_it() {
    let mut world = World::new(1, 0, NOBODY);
    world.ping(R1, PING);
    world.run(secs(5));
    world.hush();
    world.run(secs(20));
    forget_mappings(&mut world);
    world.ping(R2, PING);
    assert_eq!(world.run_until_answer(R2, secs(300)), None);

    let mut world = World::new(1, 0, NOBODY);
    world.ping(R1, PING);
    world.run(secs(5));
    world.hush();
    world.run(secs(20));
    forget_mappings(&mut world);
    world.ping(R2, PING);
    world.run(secs(5));
    let (now, wall) = (world.now, Default::default());
    world.wireguard(R1).poke(now, wall, 0);
    between(world.run_until_answer(R2, secs(60)), 0.0, 0.4);
}

#[test]
fn r2_moves_and_r1_is_reachable() {
    for seed in 0..20 {
        let mut world = World::new(seed, 25, NOBODY);
        world.nat = None;
        world.run(secs(1));
        world.ping(R1, PING);
        world.run(secs(30));
        world.hosts[R2].address = [198, 51, 100, 3].into();
        between(world.run_until_answer(R1, secs(60)), 14.8, 15.6);
    }
}

#[test]
fn r2_moves_and_r1_is_behind_nat() {
    let mut world = in_use(1, R1);
    world.hosts[R2].address = [198, 51, 100, 3].into();
    assert_eq!(world.run_until_answer(R1, secs(600)), None);
}

/// Setting the same keepalive sends nothing; 25 -> 0 -> 25 sends one packet.
#[test]
fn a_poke_is_one_packet() {
    let mut world = World::new(1, 25, NOBODY);
    world.run(secs(3));
    let (now, wall) = (world.now, Default::default());
    let wireguard = world.wireguard(R1);
    wireguard.set_keepalive(now, wall, 25);
    assert_eq!(wireguard.outbox.len(), 0);
    wireguard.poke(now, wall, 25);
    assert_eq!(wireguard.outbox.len(), 1);
}
